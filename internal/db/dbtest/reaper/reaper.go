// Package reaper ends a server that a test started, and removes its folder,
// when the test process ends, however it ends (also by SIGKILL). It serves
// dbtest and redistest.
package reaper

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// script waits for the end of its input, which the kernel brings about when
// the test process is gone. $1 is the folder, $2 the file with the server's
// process id, $3 the signal.
const script = `
cat >/dev/null
pid=$(head -n 1 "$2" 2>/dev/null)
if [ -n "$pid" ]; then
	kill "-$3" "$pid" 2>/dev/null
	n=0
	while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.05; n=$((n+1)); done
	kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$1"
`

// Reaper is the watching process.
type Reaper struct {
	cmd  *exec.Cmd
	pipe *os.File
}

// Watch arranges that, at the end of this process or at Close, the process
// named in pidFile gets the signal (TERM, QUIT) and dir is removed.
func Watch(dir, pidFile, signal string) (*Reaper, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	defer func() { _ = r.Close() }()
	// Not bound to a context: it must outlive us.
	cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", script, "reaper", dir, pidFile, signal)
	cmd.Stdin = r
	cmd.Dir = "/"
	// Of its own group, so that ctrl-C in a terminal spares it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	return &Reaper{cmd: cmd, pipe: w}, nil
}

// Close reaps now and returns when it is done.
func (r *Reaper) Close() error {
	if err := r.pipe.Close(); err != nil {
		return fmt.Errorf("reap: %w", err)
	}
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("reap: %w", err)
	}
	return nil
}
