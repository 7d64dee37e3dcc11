// Package redistest gives tests real Redis servers: the in-process one, and a
// redis-server that it starts itself from the binary installed on the machine,
// without persistence, in a temporary folder, on loopback.
//
// Where redis-server is missing, its tests are skipped with a reason; with
// CI=true they fail, so that a pipeline cannot quietly test half.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/clock"
	"guanjia/internal/db/dbtest/reaper"
	"guanjia/internal/embedded"
)

// Run runs test on the in-process Redis and on a real one, as parallel
// subtests "embedded" and "redis", each with an empty server of its own.
func Run(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, Embedded(t, clock.System()).Client())
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, NewServer(t).Client(t))
	})
}

// Embedded starts an in-process Redis that ends with the test.
func Embedded(t testing.TB, clk clock.Clock) *embedded.Redis {
	t.Helper()
	r, err := embedded.StartRedis(context.Background(), clk)
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("redistest: %v", err)
		}
	})
	return r
}

// Server is a redis-server that the test may stop and start again. It keeps
// nothing over a stop.
type Server struct {
	bin    string
	dir    string
	port   int
	reaper *reaper.Reaper
	up     bool
}

// NewServer starts a redis-server for this test alone. It is removed at the
// end of the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("redistest: Redis is needed in the pipeline: %v", err)
		}
		t.Skipf("needs Redis: %v (Debian: apt-get install redis-server)", err)
	}
	dir, err := os.MkdirTemp("", "guanjia-redis-")
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	s := &Server{bin: bin, dir: dir}
	if s.reaper, err = reaper.Watch(dir, s.pidFile(), "TERM"); err != nil {
		_ = os.RemoveAll(dir)
		t.Fatalf("redistest: %v", err)
	}
	t.Cleanup(func() {
		if err := s.reaper.Close(); err != nil {
			t.Errorf("redistest: %v", err)
		}
	})
	if s.port, err = freePort(); err != nil {
		t.Fatalf("redistest: %v", err)
	}
	s.Start(t)
	return s
}

// URL is the server's address for embedded.OpenRedis.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// Addr is the server's address, host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Client returns a client as production has it, closed at the end of the test.
func (s *Server) Client(t testing.TB) redis.UniversalClient {
	t.Helper()
	c, err := embedded.OpenRedis(s.URL())
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("redistest: %v", err)
		}
	})
	return c
}

func (s *Server) pidFile() string { return filepath.Join(s.dir, "redis.pid") }
func (s *Server) logFile() string { return filepath.Join(s.dir, "redis.log") }

// Start starts the server, empty, on the same port as before, and waits until
// it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if s.up {
		t.Fatal("redistest: redis-server is running already")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, //nolint:gosec // found in PATH
		"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.dir,
		"--save", "", "--appendonly", "no", "--daemonize", "yes", "--databases", "1",
		"--pidfile", s.pidFile(), "--logfile", s.logFile(), "--loglevel", "warning")
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("redistest: redis-server: %v\n%s", err, out)
	}
	if err := s.await(ctx); err != nil {
		log, _ := os.ReadFile(s.logFile())
		t.Fatalf("redistest: redis-server doesn't answer: %v\n%s", err, log)
	}
	s.up = true
}

// Stop ends the server, cutting all connections, and waits until it has gone.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if !s.up {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1, DisableIdentity: true})
	// The answer to a shutdown is the end of the connection.
	_ = c.ShutdownNoSave(ctx).Err()
	_ = c.Close()
	if err := s.awaitGone(ctx); err != nil {
		t.Fatalf("redistest: stop redis-server: %v", err)
	}
	s.up = false
}

// await returns when the server answers and has written its process id.
func (s *Server) await(ctx context.Context) error {
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1, DisableIdentity: true})
	defer func() { _ = c.Close() }()
	return poll(ctx, func() bool {
		if _, err := os.Stat(s.pidFile()); err != nil {
			return false
		}
		return c.Ping(ctx).Err() == nil
	})
}

// awaitGone returns when the server has removed its process id and its port.
func (s *Server) awaitGone(ctx context.Context) error {
	return poll(ctx, func() bool {
		if _, err := os.Stat(s.pidFile()); !errors.Is(err, os.ErrNotExist) {
			return false
		}
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.Addr())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
}

func poll(ctx context.Context, ok func() bool) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// freePort asks the kernel. Another process could take the port before we use
// it; starting then fails loudly.
func freePort() (int, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
