package db_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

func engines(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	for _, e := range []db.Engine{db.EngineSQLite, db.EnginePostgres} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			test(t, dbtest.Empty(t, e))
		})
	}
}

func TestMigrateTwice(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, url string) {
		d := dbtest.Open(t, url)
		if err := d.CheckSchema(t.Context()); !errors.Is(err, db.ErrSchemaOlder) {
			t.Errorf("empty database: %v, want ErrSchemaOlder", err)
		}
		applied, err := d.Migrate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if names := strings.Join(applied, " "); !strings.Contains(names, "00005_jobs.sql") || !strings.Contains(names, "river_001") {
			t.Errorf("applied %s", names)
		}
		if err := d.CheckSchema(t.Context()); err != nil {
			t.Error(err)
		}
		again, err := d.Migrate(t.Context())
		if err != nil || len(again) != 0 {
			t.Errorf("second run applied %q, %v", again, err)
		}
	})
}

func TestMigrateFromTwoPlacesAtOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, url string) {
		const starters = 4
		var (
			wg    sync.WaitGroup
			mu    sync.Mutex
			seen  = map[string]int{}
			total int
		)
		for range starters {
			// Each has connections of its own, as a process would.
			d := dbtest.Open(t, url)
			wg.Go(func() {
				applied, err := d.Migrate(t.Context())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				total += len(applied)
				for _, name := range applied {
					seen[name]++
				}
			})
		}
		wg.Wait()
		for name, n := range seen {
			if n != 1 {
				t.Errorf("%s was applied %d times", name, n)
			}
		}
		if total == 0 {
			t.Error("nobody applied anything")
		}
	})
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, stmt string }{
		{"ours", `insert into schema_migrations (version_id, is_applied) values (99999, true)`},
		{"job engine's", `insert into river_migration (line, version) values ('main', 999)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dbtest.Run(t, func(t *testing.T, d *db.DB) {
				exec(t, d, tt.stmt)
				if err := d.CheckSchema(t.Context()); !errors.Is(err, db.ErrSchemaNewer) {
					t.Errorf("check: %v, want ErrSchemaNewer", err)
				}
				applied, err := d.Migrate(t.Context())
				if !errors.Is(err, db.ErrSchemaNewer) || len(applied) != 0 {
					t.Errorf("migrate: %q, %v, want ErrSchemaNewer and nothing done", applied, err)
				}
			})
		})
	}
}
