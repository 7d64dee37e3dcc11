package dbtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"guanjia/internal/db/dbtest/reaper"
)

const superuser = "guanjia"

// Server is a PostgreSQL that the test process started.
type Server struct {
	bin    string // folder of the binaries
	dir    string // temporary folder, also of the socket
	data   string
	port   int
	reaper *reaper.Reaper

	running     atomic.Bool
	once        sync.Once // makes the template
	templateErr error
	copying     sync.Mutex
	number      atomic.Int64
}

// NewServer starts a PostgreSQL for this test alone, which the test may Stop
// and Start again, and returns it with the URL of a migrated database. It is
// removed at the end of the test.
func NewServer(t testing.TB) (s *Server, url string) {
	t.Helper()
	if _, err := binaries(); err != nil {
		missing(t, err)
	}
	s, err := startServer()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		if err := s.reaper.Close(); err != nil {
			t.Errorf("dbtest: %v", err)
		}
	})
	if err := s.admin("create database app"); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	if err := migrate(patient(s.URL("app"))); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return s, s.URL("app")
}

// startServer makes a data folder and starts a server on it.
func startServer() (_ *Server, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "guanjia-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, data: filepath.Join(dir, "data")}
	s.reaper, err = reaper.Watch(dir, filepath.Join(s.data, "postmaster.pid"), "QUIT")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.reaper.Close())
		}
	}()
	if cred := credential(); cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			return nil, err
		}
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	if err := s.initdb(); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) initdb() error {
	err := s.command("initdb",
		"--pgdata", s.data, "--username", superuser, "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	if err != nil {
		return err
	}
	settings := fmt.Sprintf(`
# Nothing survives a power cut, but what was committed survives Kill.
fsync = off
full_page_writes = off
autovacuum = off
max_connections = 300
shared_buffers = 64MB
max_wal_size = 2GB
checkpoint_timeout = 1h
listen_addresses = '127.0.0.1'
port = %d
unix_socket_directories = '%s'
# Not UTC, so that a store which forgets the zone is found out.
timezone = 'Asia/Shanghai'
`, s.port, s.dir)
	f, err := os.OpenFile(filepath.Join(s.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(settings)
	return errors.Join(err, f.Close())
}

// command runs one of PostgreSQL's programs as a user that it accepts, without
// the variables that would lead it elsewhere.
func (s *Server) command(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...) //nolint:gosec // found by binaries
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + s.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential()}
	// Into a file, not a pipe: the server inherits it and would keep a pipe
	// open.
	out, err := os.CreateTemp(s.dir, name+"-*.log")
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(s.logFile())
		return fmt.Errorf("%s: %w\n%s%s", name, err, said, log)
	}
	return nil
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "server.log") }

// Start starts the server again, on the same port, and waits until it accepts
// connections.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
}

func (s *Server) start() error {
	if err := s.command("pg_ctl", "start", "--pgdata", s.data, "--log", s.logFile(), "--wait", "--silent"); err != nil {
		return err
	}
	s.running.Store(true)
	return nil
}

// Stop stops the server, telling its clients to go away (a fast shutdown), and
// waits until it has gone.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.stop(t, "fast")
}

// Kill ends the server without a word to its clients.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.stop(t, "immediate")
}

func (s *Server) stop(t testing.TB, mode string) {
	t.Helper()
	if !s.running.Swap(false) {
		return
	}
	if err := s.command("pg_ctl", "stop", "--pgdata", s.data, "--mode", mode, "--wait", "--silent"); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
}

// binaries finds the folder with PostgreSQL's programs, the newest first.
var binaries = sync.OnceValues(func() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(dirs, func(a, b string) int { return versionOf(b) - versionOf(a) })
	if p, err := exec.LookPath("initdb"); err == nil {
		dirs = append([]string{filepath.Dir(p)}, dirs...)
	}
	dirs = append(dirs, "/opt/homebrew/bin", "/usr/local/pgsql/bin")
	for _, dir := range dirs {
		if executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "pg_ctl")) {
			return dir, nil
		}
	}
	return "", errors.New("no initdb and pg_ctl in PATH or /usr/lib/postgresql/*/bin (Debian: apt-get install postgresql)")
})

func versionOf(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}

// credential is the user under which PostgreSQL runs when we are root, which
// it refuses: postgres if there is one, else nobody. nil means ourselves.
func credential() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	return &syscall.Credential{Uid: 65534, Gid: 65534}
}

// freePort asks the kernel. Another process could take the port before we use
// it; starting then fails loudly.
func freePort() (int, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
