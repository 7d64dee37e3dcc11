package dbtest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

const childVariable = "GUANJIA_DBTEST_CHILD"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A killed test process leaves no server and no folder behind.
func TestKilledProcessLeavesNothing(t *testing.T) {
	t.Parallel()
	if os.Getenv(childVariable) != "" {
		child(t)
		return
	}
	dbtest.Postgres(t) // skips where there is none
	tmp := t.TempDir()
	if err := os.Chmod(tmp, 0o755); err != nil { //nolint:gosec // the server's user must reach its folder
		t.Fatal(err)
	}
	for dir := filepath.Dir(tmp); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o755) //nolint:gosec // as above
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilledProcessLeavesNothing$") //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), childVariable+"=1", "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var url string
	for sc := bufio.NewScanner(out); url == "" && sc.Scan(); {
		_, _ = fmt.Sscanf(sc.Text(), "url %s", &url)
	}
	if url == "" {
		t.Fatalf("the child started no server: %v", cmd.Wait())
	}
	if found, _ := filepath.Glob(filepath.Join(tmp, "guanjia-pg-*")); len(found) != 1 {
		t.Errorf("folders of the child: %q", found)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for end := time.Now().Add(time.Minute); ; {
		found, _ := filepath.Glob(filepath.Join(tmp, "guanjia-pg-*"))
		if len(found) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("left behind: %q", found)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := dbtest.Open(t, url).Ping(t.Context()); !db.IsUnavailable(err) {
		t.Errorf("the server lives on: %v", err)
	}
}

func child(t *testing.T) {
	fmt.Println("url", dbtest.Postgres(t))
	select {} // until we are killed
}

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	for range 2 {
		dbtest.Run(t, func(t *testing.T, d *db.DB) {
			if err := d.CheckSchema(t.Context()); err != nil {
				t.Errorf("not migrated: %v", err)
			}
			if _, err := d.ExecContext(t.Context(), `create table mine (id text primary key)`); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServerStopsAndStarts(t *testing.T) {
	t.Parallel()
	s, url := dbtest.NewServer(t)
	d := dbtest.Open(t, url)
	if err := d.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Stop(t)
	if err := d.Ping(t.Context()); !db.IsUnavailable(err) {
		t.Errorf("stopped: %v", err)
	}
	s.Start(t)
	socket := dbtest.Open(t, s.SocketURL("app"))
	for end := time.Now().Add(time.Minute); ; {
		err := errors.Join(d.Ping(t.Context()), socket.Ping(t.Context()))
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func BenchmarkDatabase(b *testing.B) {
	began := time.Now()
	dbtest.Postgres(b)
	b.Logf("server, template and first database: %s", time.Since(began))
	b.Run("postgres", func(b *testing.B) {
		for b.Loop() {
			dbtest.Postgres(b)
		}
	})
	b.Run("sqlite", func(b *testing.B) {
		for b.Loop() {
			dbtest.SQLiteFile(b)
		}
	})
	b.Run("server", func(b *testing.B) {
		for b.Loop() {
			dbtest.NewServer(b)
		}
	})
}
