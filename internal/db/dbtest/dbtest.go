package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx" for the server's own database

	"guanjia/internal/db"
	"guanjia/internal/jobs"
)

// conns limits each test's pool, so that many tests in parallel stay below the
// server's limit.
const conns = 8

// Run runs test on both engines, as parallel subtests "sqlite" and "postgres",
// each with a fresh migrated database that is closed at the end.
func Run(t *testing.T, test func(t *testing.T, d *db.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, Open(t, Postgres(t)))
	})
}

// SQLite returns a fresh migrated SQLite database in a temporary folder.
func SQLite(t testing.TB) *db.DB {
	t.Helper()
	return Open(t, SQLiteFile(t))
}

// SQLiteFile returns the path of a fresh migrated SQLite file, for a test that
// opens it itself or more than once.
func SQLiteFile(t testing.TB) string {
	t.Helper()
	template, err := sqliteTemplate()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	file := filepath.Join(t.TempDir(), "guanjia.db")
	if err := os.WriteFile(file, template, 0o600); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return file
}

// Empty returns the path of a SQLite file that doesn't exist yet, or the URL of
// an empty PostgreSQL database, for tests of migrations.
func Empty(t testing.TB, engine db.Engine) (url string) {
	t.Helper()
	if engine == db.EngineSQLite {
		return filepath.Join(t.TempDir(), "guanjia.db")
	}
	return patient(shared(t).newDatabase(t, "template0"))
}

// Postgres returns the URL of a fresh migrated PostgreSQL database, which is
// dropped at the end of the test. It skips (or, with CI=true, fails) the test
// where PostgreSQL isn't installed.
func Postgres(t testing.TB) (url string) {
	t.Helper()
	s := shared(t)
	template, err := s.template()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return patient(s.newDatabase(t, template))
}

// patient lets a test wait longer for a connection than production would: many
// tests on few cores are no outage.
func patient(url string) string { return url + "&connect_timeout=60" }

// Open opens url with the program's migrators and closes it at the end of the
// test.
func Open(t testing.TB, url string) *db.DB {
	t.Helper()
	d, err := open(url)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("dbtest: close: %v", err)
		}
	})
	return d
}

func open(url string) (*db.DB, error) {
	return db.Open(context.Background(), db.Options{
		URL:       url,
		MaxConns:  conns,
		Logger:    slog.New(slog.DiscardHandler),
		Migrators: []db.Migrator{jobs.Schema{}},
	})
}

// sqliteTemplate migrates one file per process and keeps its bytes.
var sqliteTemplate = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "guanjia-sqlite-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "template.db")
	if err := migrate(file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

func migrate(url string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d, err := open(url)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := d.Close(); err == nil {
			err = cerr
		}
	}()
	_, err = d.Migrate(ctx)
	return err
}

// sharedServer is the one PostgreSQL of this test process. It dies with it.
var sharedServer = sync.OnceValues(startServer)

func shared(t testing.TB) *Server {
	t.Helper()
	if _, err := binaries(); err != nil {
		missing(t, err)
	}
	s, err := sharedServer()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return s
}

// missing skips the test, or fails it where a pipeline runs.
func missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("dbtest: PostgreSQL is needed in the pipeline: %v", err)
	}
	t.Skipf("needs PostgreSQL: %v", err)
}

// admin runs one statement in the server's own database.
func (s *Server) admin(statement string) error {
	c, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := c.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// template migrates one database per server, from which the others are copied.
func (s *Server) template() (string, error) {
	const name = "guanjia_template"
	s.once.Do(func() {
		if s.templateErr = s.admin("create database " + name + " template template0"); s.templateErr != nil {
			return
		}
		s.templateErr = migrate(patient(s.URL(name)))
	})
	return name, s.templateErr
}

func (s *Server) newDatabase(t testing.TB, template string) (url string) {
	t.Helper()
	name := fmt.Sprintf("test_%d", s.number.Add(1))
	// Copying by file is faster than through the log for a small template.
	// Two copies at once of one template work, but the checkpoint they force
	// is shared when they come one after another.
	s.copying.Lock()
	err := s.admin("create database " + name + " template " + template + " strategy file_copy")
	s.copying.Unlock()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		if !s.running.Load() {
			return
		}
		if err := s.admin("drop database " + name + " with (force)"); err != nil {
			t.Errorf("dbtest: %v", err)
		}
	})
	return s.URL(name)
}

// URL is the address of one of the server's databases, over TCP on loopback.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(superuser),
		Host:     fmt.Sprintf("127.0.0.1:%d", s.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SocketURL is the address over the unix socket.
func (s *Server) SocketURL(database string) string {
	q := url.Values{"host": {s.dir}, "port": {fmt.Sprint(s.port)}, "sslmode": {"disable"}}
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + database, RawQuery: q.Encode()}
	return u.String()
}
