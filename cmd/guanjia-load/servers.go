package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx" for a server's own database

	"guanjia/internal/db"
	"guanjia/internal/embedded"
)

// server is a PostgreSQL or Redis that this process started from the programs
// installed on the machine, and may stop and start again.
type server struct {
	name   string
	bin    string
	args   []string
	dir    string
	cred   *syscall.Credential
	stop   syscall.Signal
	answer func(ctx context.Context) error

	proc *process
}

// startTimeout is how long a server may take until it answers.
const startTimeout = time.Minute

func (s *server) start(ctx context.Context) error {
	cmd := exec.Command(s.bin, s.args...) //nolint:gosec,noctx // found by us; ended by halt
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + s.dir}
	cmd.SysProcAttr = childAttr(s.cred)
	log, err := os.OpenFile(filepath.Join(s.dir, s.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", s.name, err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if s.proc, err = launch(cmd); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := s.answer(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.proc.done:
			return fmt.Errorf("%s ended at once, see %s", s.name, log.Name())
		default:
		}
		if !pause(ctx, 20*time.Millisecond) {
			return errors.Join(fmt.Errorf("%s does not answer: %w", s.name, err), s.halt())
		}
	}
}

// halt ends the server and waits until it has gone.
func (s *server) halt() error {
	if s.proc == nil {
		return nil
	}
	err := s.proc.end(s.stop, 30*time.Second)
	s.proc = nil
	if err != nil {
		return fmt.Errorf("stop %s: %w", s.name, err)
	}
	return nil
}

const superuser = "guanjia"

// newPostgres makes a cluster in dir and starts a server on it, as it comes: a
// commit is on disk when it is acknowledged.
func newPostgres(ctx context.Context, dir string) (*server, string, error) {
	bin, err := postgresBinaries()
	if err != nil {
		return nil, "", err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, "", err
	}
	data := filepath.Join(dir, "postgres")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, "", fmt.Errorf("folder of PostgreSQL: %w", err)
	}
	cred := unprivileged()
	if cred != nil {
		for _, p := range []string{dir, data} {
			if err := os.Chown(p, int(cred.Uid), int(cred.Gid)); err != nil {
				return nil, "", fmt.Errorf("folder of PostgreSQL: %w", err)
			}
		}
	}
	init := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--pgdata", data, "--username", superuser, //nolint:gosec // found by us
		"--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	init.Dir, init.SysProcAttr = dir, &syscall.SysProcAttr{Credential: cred}
	init.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + dir}
	if said, err := init.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("initdb: %w: %.500s", err, said)
	}
	s := &server{name: "postgres", bin: filepath.Join(bin, "postgres"), dir: dir, cred: cred, stop: syscall.SIGINT, args: []string{
		"-D", data, "-p", strconv.Itoa(port), "-k", "", "-h", "127.0.0.1", "-c", "max_connections=200", "-c", "shared_buffers=256MB",
		"-c", "max_wal_size=4GB", "-c", "log_min_messages=fatal",
	}}
	address := postgresURL(port, "postgres")
	s.answer = func(ctx context.Context) error { return sqlDo(ctx, address, "select 1") }
	if err := s.start(ctx); err != nil {
		return nil, "", err
	}
	return s, address, nil
}

func postgresURL(port int, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

func newRedis(ctx context.Context, dir string) (*server, string, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, "", fmt.Errorf("redis-server is not installed (Debian: apt-get install redis-server): %w", err)
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, "", err
	}
	address := "redis://127.0.0.1:" + strconv.Itoa(port) + "/0"
	s := &server{name: "redis", bin: bin, dir: dir, stop: syscall.SIGTERM, args: []string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, "--save", "", "--appendonly", "no", "--loglevel", "warning",
	}}
	s.answer = func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return err // before the client of Redis complains aloud
		}
		_ = conn.Close()
		rdb, err := embedded.OpenRedis(address)
		if err != nil {
			return err
		}
		defer rdb.Close()
		return rdb.Ping(ctx).Err()
	}
	if err := s.start(ctx); err != nil {
		return nil, "", err
	}
	return s, address, nil
}

// postgresBinaries finds the folder of PostgreSQL's programs, the newest first.
func postgresBinaries() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(dirs, func(a, b string) int {
		x, _ := strconv.Atoi(filepath.Base(filepath.Dir(a)))
		y, _ := strconv.Atoi(filepath.Base(filepath.Dir(b)))
		return y - x
	})
	if p, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			p = real
		}
		dirs = append([]string{filepath.Dir(p)}, dirs...)
	}
	for _, dir := range dirs {
		if isFile(filepath.Join(dir, "initdb")) && isFile(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "", errors.New("PostgreSQL is not installed: no initdb and postgres in PATH or /usr/lib/postgresql (Debian: apt-get install postgresql)")
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// unprivileged is the user that PostgreSQL runs as when we are root, which it
// refuses to be; nil means ourselves.
func unprivileged() *syscall.Credential {
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

// freePort finds a port below those that outgoing connections get, so that it
// is still free when a killed child comes back.
func freePort(ctx context.Context) (int, error) {
	for range 100 {
		port := 20000 + rand.IntN(10000) //nolint:gosec // no secret
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("find a port: %w", err)
		}
		return port, nil
	}
	return 0, errors.New("find a port: none of 100 between 20000 and 30000 is free")
}

func sqlDo(ctx context.Context, address, statement string) error {
	c, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.ExecContext(ctx, statement)
	return err
}

// ownDatabase makes a fresh database on the server of address, so that a run
// neither meets nor leaves another's rows. drop removes it.
func ownDatabase(ctx context.Context, address string) (own string, drop func() error, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", nil, errors.New("--postgres must be postgres://user:password@host/name")
	}
	name := "guanjia_load_" + db.NewID()[24:]
	if err := sqlDo(ctx, address, "create database "+name+" template template0"); err != nil {
		return "", nil, fmt.Errorf("make a database of our own: %w", err)
	}
	u.Path = "/" + name
	return u.String(), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		if err := sqlDo(ctx, address, "drop database "+name+" with (force)"); err != nil {
			return fmt.Errorf("drop the database of this run: %w", err)
		}
		return nil
	}, nil
}

// stoppable is a server that may be taken away and given back.
type stoppable interface {
	halt() error
	start(ctx context.Context) error
}

// stores are the pair of servers that a run works on, and how to end them.
type stores struct {
	postgres, redis string    // addresses; empty: the embedded ones
	pg, rd          stoppable // nil unless started by us
	dir             string
	closers         []func() error
}

// openStores starts servers when asked to, and makes a database of its own on
// a PostgreSQL.
func openStores(ctx context.Context, servers bool, postgres, redis string) (s *stores, err error) {
	s = &stores{postgres: postgres, redis: redis}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "guanjia-load-"); err != nil {
		return s, fmt.Errorf("temporary folder: %w", err)
	}
	s.closers = append(s.closers, func() error { return os.RemoveAll(s.dir) })
	if servers {
		if err := s.startServers(ctx); err != nil {
			return s, err
		}
	}
	if s.postgres == "" {
		return s, nil
	}
	own, drop, err := ownDatabase(ctx, s.postgres)
	if err != nil {
		return s, err
	}
	s.postgres = own
	if s.pg == nil {
		s.closers = append(s.closers, drop)
	}
	return s, nil
}

func (s *stores) startServers(ctx context.Context) error {
	if err := os.Chmod(s.dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user must reach its folder
		return fmt.Errorf("temporary folder: %w", err)
	}
	pg, address, err := newPostgres(ctx, s.dir)
	if err != nil {
		return err
	}
	s.pg, s.postgres = pg, address
	s.closers = append(s.closers, pg.halt)
	return s.startRedis(ctx)
}

func (s *stores) startRedis(ctx context.Context) error {
	rd, address, err := newRedis(ctx, s.dir)
	if err != nil {
		return err
	}
	s.rd, s.redis = rd, address
	s.closers = append(s.closers, rd.halt)
	return nil
}

func (s *stores) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}
