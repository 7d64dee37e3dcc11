package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a child with somebody who waits for its end.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

func launch(cmd *exec.Cmd) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // a killed child has no good end
	}()
	return p, nil
}

// end signals and waits, and kills when that takes too long.
func (p *process) end(sig syscall.Signal, patience time.Duration) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	return fmt.Errorf("not ended within %s of %v, killed", patience, sig)
}

// kill ends it without a word, and waits until the kernel has taken its sockets.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// readyTimeout is how long a child may take until it prints its ready line.
const readyTimeout = 90 * time.Second

// launchReady starts a child and returns its first line of output. Its stderr
// goes to a file in dir.
func launchReady(dir, name string, environ []string, bin string, args ...string) (*process, []byte, error) {
	logPath := filepath.Join(dir, name+".log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("log of %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.Command(bin, args...) //nolint:gosec,noctx // our own program; ended by its caller
	cmd.Env, cmd.Dir, cmd.Stderr, cmd.SysProcAttr = environ, dir, log, childAttr(nil)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	cmd.Stdout = w
	p, err := launch(cmd)
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	lines := make(chan []byte, 1)
	go func() {
		defer r.Close()
		in := bufio.NewReader(r)
		line, _ := in.ReadBytes('\n')
		lines <- line
		_, _ = io.Copy(io.Discard, in)
	}()
	timer := time.NewTimer(readyTimeout)
	defer timer.Stop()
	select {
	case line := <-lines:
		if json.Valid(line) {
			return p, line, nil
		}
	case <-timer.C:
	}
	p.kill()
	return nil, nil, fmt.Errorf("%s did not become ready: %s", name, lastLines(logPath))
}

// runChild runs a program to its end and returns what it printed.
func runChild(dir string, environ []string, bin string, args ...string) ([]byte, error) {
	cmd := exec.Command(bin, args...) //nolint:gosec,noctx // our own program, which ends by itself
	cmd.Env, cmd.Dir, cmd.SysProcAttr = environ, dir, childAttr(nil)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %.500s", filepath.Base(bin), args[0], err, said.String())
	}
	return out, nil
}

func lastLines(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-1000):])
}

// withoutOurs is the environment without the product's settings.
func withoutOurs(environ []string) []string {
	var out []string
	for _, e := range environ {
		if !strings.HasPrefix(e, "GUANJIA_") {
			out = append(out, e)
		}
	}
	return out
}
