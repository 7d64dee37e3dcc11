package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"guanjia/internal/app/storytest"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/embedded/redistest"
)

// binary builds the program once, as a user would run it.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "guanjia-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "guanjia")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// process is a child of the test: one guanjia command that runs until killed.
type process struct {
	t      *testing.T
	name   string
	args   []string
	env    []string
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	done   chan struct{}
}

// start runs the command and waits for its ready line.
func (p *process) start(into any) {
	p.t.Helper()
	path, err := binary()
	if err != nil {
		p.t.Fatal(err)
	}
	p.stderr = &bytes.Buffer{}
	p.cmd = exec.Command(path, p.args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	line, err := bufio.NewReaderSize(stdout, 1<<20).ReadBytes('\n')
	if err != nil {
		_ = p.cmd.Wait()
		p.t.Fatalf("%s printed no ready line: %v\n%s", p.name, err, p.stderr)
	}
	if err := json.Unmarshal(line, into); err != nil {
		p.t.Fatalf("ready line of %s: %v", p.name, err)
	}
	p.done = make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		_ = p.cmd.Wait()
		close(p.done)
	}()
}

// kill ends the process without warning.
func (p *process) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestStoryTwoServesKilledBetweenSteps is the production shape: sandbox, migrate,
// seed and two serve on PostgreSQL and Redis, one of them killed and restarted
// between any two steps of the story.
func TestStoryTwoServesKilledBetweenSteps(t *testing.T) {
	t.Parallel()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	pg, url := dbtest.NewServer(t)
	env := []string{"GUANJIA_DATABASE=" + url, "GUANJIA_REDIS=" + redistest.NewServer(t).URL(), "GUANJIA_MASTER_KEY=" + base64.StdEncoding.EncodeToString(key), "GUANJIA_LOG_LEVEL=warn"}

	sim := &process{t: t, name: "sandbox", args: []string{"sandbox", "--listen", "127.0.0.1:0"}}
	var simReady struct{ Sandbox string }
	sim.start(&simReady)
	t.Cleanup(sim.kill)

	runOnce(t, env, "migrate")
	nodes := []*process{}
	var addrs []string
	for i := range 2 {
		addr := freeAddr(t)
		addrs = append(addrs, "http://"+addr)
		nodes = append(nodes, &process{t: t, name: fmt.Sprintf("serve %d", i+1), args: []string{"serve", "--listen", addr},
			env: append([]string{"GUANJIA_SANDBOX=" + simReady.Sandbox, "GUANJIA_DATA_DIR=" + t.TempDir()}, env...)})
	}
	var ready storytest.Ready
	if err := json.Unmarshal(runOnce(t, env, "seed", "--sandbox", simReady.Sandbox, "--public", addrs[0]+","+addrs[1]), &ready); err != nil {
		t.Fatalf("ready line of seed: %v", err)
	}
	for _, n := range nodes {
		n.start(&struct{}{})
		t.Cleanup(n.kill)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range nodes {
				t.Logf("%s:\n%s", n.name, n.stderr)
			}
		}
	})

	client := storytest.NewClient(ready)
	client.Listen = addrs
	story := &storytest.Story{C: client,
		StopDB:  func() error { pg.Stop(t); return nil },
		StartDB: func() error { pg.Start(t); return nil }}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	for i, step := range story.Steps() {
		if err := step.Do(ctx); err != nil {
			t.Fatalf("step %s: %v", step.Name, err)
		}
		t.Log("step", step.Name)
		victim := nodes[i%2]
		victim.kill()
		victim.start(&struct{}{})
	}
	wait(t, addrs[0]+"/readyz")
}

// runOnce runs a command that ends by itself and gives what it printed.
func runOnce(t *testing.T, env []string, args ...string) []byte {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("%v: %v\n%s", args, err, failed.Stderr)
		}
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

func wait(t *testing.T, address string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		res, err := http.Get(address)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s is not ready", address)
}
