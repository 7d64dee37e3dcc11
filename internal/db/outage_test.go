package db_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

// Words must reach the spool within the five seconds of a callback, so a
// stopped database has to be noticed at once, and its return as well.
func TestPostgresOutage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		stop func(*dbtest.Server, testing.TB)
	}{
		{"stopped", (*dbtest.Server).Stop},
		{"killed", (*dbtest.Server).Kill},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, url := dbtest.NewServer(t)
			d := dbtest.Open(t, url)
			exec(t, d, `create table t (id text primary key)`)
			insert := func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				return d.InTx(ctx, "insert", func(ctx context.Context, tx *db.Tx) error {
					_, err := tx.ExecContext(ctx, `insert into t (id) values ($1)`, db.NewID())
					return err
				})
			}
			// Several kept connections, which the stop cuts.
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					if err := insert(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()

			tt.stop(server, t)
			for range 20 {
				wg.Go(func() {
					began := time.Now()
					err := insert()
					if !db.IsUnavailable(err) {
						t.Errorf("while the server is away: %v, want unavailable", err)
					}
					if took := time.Since(began); took > 2*time.Second {
						t.Errorf("noticing took %s", took)
					}
				})
			}
			wg.Wait()
			if err := d.Ping(t.Context()); !db.IsUnavailable(err) {
				t.Errorf("ping: %v", err)
			}

			server.Start(t)
			began := time.Now()
			for insert() != nil {
				if time.Since(began) > 5*time.Second {
					t.Fatalf("not recovered: %v", insert())
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Logf("recovered after %s", time.Since(began))
			for range 20 {
				wg.Go(func() {
					if err := insert(); err != nil {
						t.Errorf("after the recovery: %v", err)
					}
				})
			}
			wg.Wait()
			if n := count(t, d, "t"); n < 27 {
				t.Errorf("%d rows, want 27 or more", n)
			}
		})
	}
}

// A restart between two statements that no caller should notice: the kept
// connections are dead, and each is found out before it is used.
func TestRestartIsNotNoticedByTransactions(t *testing.T) {
	t.Parallel()
	server, url := dbtest.NewServer(t)
	d := dbtest.Open(t, url)
	exec(t, d, `create table t (id text primary key)`)
	server.Stop(t)
	server.Start(t)
	err := d.InTx(t.Context(), "insert", func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `insert into t (id) values ('x')`)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestConnectionLostInsideTransaction(t *testing.T) {
	t.Parallel()
	server, url := dbtest.NewServer(t)
	d := dbtest.Open(t, url)
	exec(t, d, `create table t (id text primary key)`)
	tries := 0
	err := d.InTx(t.Context(), "cut", func(ctx context.Context, tx *db.Tx) error {
		tries++
		if _, err := tx.ExecContext(ctx, `insert into t (id) values ('x')`); err != nil {
			return err
		}
		tx.AfterCommit(func(context.Context) { t.Error("run although the commit failed") })
		server.Kill(t)
		return nil
	})
	// Whether the commit arrived is decided by the connection, not known here.
	if !errors.Is(err, db.ErrCommitUnknown) || !db.IsUnavailable(err) || tries != 1 {
		t.Errorf("error %v after %d tries, want ErrCommitUnknown, unavailable, 1", err, tries)
	}
}

// A host that swallows packets: the second and later callers don't wait for a
// time-out each.
func TestSilentHostIsNoticedTogether(t *testing.T) {
	t.Parallel()
	// A listener that accepts and never says a word.
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	d := dbtest.Open(t, "postgres://u@"+l.Addr().String()+"/x?sslmode=disable")
	began := time.Now()
	var wg sync.WaitGroup
	for range 16 { // twice the pool
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			if err := d.Ping(ctx); !db.IsUnavailable(err) {
				t.Errorf("silent host: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("noticing took %s", took)
	}
}

func TestIsUnavailable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"an error of ours", errors.New("case is closed"), false},
		{"caller gone", context.Canceled, false},
		{"no answer in time", fmt.Errorf("query: %w", context.DeadlineExceeded), true},
		{"end of stream", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		{"shutting down", &pgconn.PgError{Code: "57P01"}, true},
		{"starting", &pgconn.PgError{Code: "57P03"}, true},
		{"statement cancelled", &pgconn.PgError{Code: "57014"}, false},
		{"too many connections", &pgconn.PgError{Code: "53300"}, true},
		{"disk full", &pgconn.PgError{Code: "53100"}, true},
		{"standby", &pgconn.PgError{Code: "25006"}, true},
		{"wrong password", &pgconn.PgError{Code: "28P01"}, true},
		{"unique", &pgconn.PgError{Code: "23505"}, false},
		{"syntax", &pgconn.PgError{Code: "42601"}, false},
		{"closed", db.ErrClosed, true},
		{"nested", db.ErrNestedTx, false},
	}
	for _, tt := range tests {
		if got := db.IsUnavailable(tt.err); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestClosedDatabaseIsUnavailable(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := d.Ping(t.Context()); !db.IsUnavailable(err) {
			t.Errorf("ping: %v", err)
		}
		err := d.InTx(t.Context(), "late", func(context.Context, *db.Tx) error { return nil })
		if !db.IsUnavailable(err) {
			t.Errorf("transaction: %v", err)
		}
	})
}

func TestOpenRefusesBadURLs(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "mysql://x", "sqlite://relative/path", "sqlite:///a?x=1", ":memory:", "file::memory:", "sqlite:",
		"postgres://u:hunter2@:port/", "/nonexistent-folder/x.db",
	} {
		d, err := db.Open(t.Context(), db.Options{URL: url})
		if err == nil {
			_ = d.Close()
			t.Errorf("%q was opened", url)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestFoldersWithOddNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a?b.db", "100%.db", "三栋 #1.db", "sp ace.db"} {
		file := filepath.Join(t.TempDir(), name)
		d := dbtest.Open(t, file)
		exec(t, d, `create table t (id text primary key)`)
		if n := count(t, d, "t"); n != 0 {
			t.Errorf("%s: %d", name, n)
		}
		if found, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*.db")); len(found) != 1 || found[0] != file {
			t.Errorf("%s became %q", name, found)
		}
	}
}
