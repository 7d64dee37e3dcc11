package db_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

func count(t *testing.T, q db.Querier, table string) int {
	t.Helper()
	var n int
	if err := q.QueryRowContext(t.Context(), `select count(*) from `+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAfterCommit(t *testing.T) {
	t.Parallel()
	type key struct{}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `create table t (id text primary key)`)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
		var order []string
		err := d.InTx(ctx, "test", func(ctx context.Context, tx *db.Tx) error {
			if !db.InTransaction(ctx) {
				t.Error("the context inside is not marked")
			}
			for _, name := range []string{"first", "second"} {
				tx.AfterCommit(func(ctx context.Context) {
					order = append(order, name)
					if db.InTransaction(ctx) {
						t.Error("the context after the commit is marked")
					}
					if ctx.Err() != nil || ctx.Value(key{}) != "kept" {
						t.Errorf("context after the commit: %v, %v", ctx.Err(), ctx.Value(key{}))
					}
					// The row is there, and a new transaction may begin.
					if n := count(t, d, "t"); n < 1 {
						t.Error("run before the commit")
					}
					if err := d.InTx(ctx, "nested", func(ctx context.Context, tx *db.Tx) error {
						_, err := tx.ExecContext(ctx, `insert into t (id) values ($1)`, name)
						return err
					}); err != nil {
						t.Error(err)
					}
				})
			}
			tx.AfterCommit(func(context.Context) { cancel(); panic("only mine") })
			tx.AfterCommit(func(ctx context.Context) {
				order = append(order, "third")
				if ctx.Err() != nil {
					t.Error("the end of the caller's context reaches work after the commit")
				}
			})
			_, err := tx.ExecContext(ctx, `insert into t (id) values ('row')`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"first", "second", "third"}; !slices.Equal(order, want) {
			t.Errorf("order %q, want %q", order, want)
		}
		if n := count(t, d, "t"); n != 3 {
			t.Errorf("%d rows, want 3", n)
		}
	})
}

func TestRollback(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	tests := []struct {
		name string
		end  func(context.Context, *db.Tx) error
	}{
		{"error", func(context.Context, *db.Tx) error { return boom }},
		{"panic", func(context.Context, *db.Tx) error { panic(boom) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dbtest.Run(t, func(t *testing.T, d *db.DB) {
				exec(t, d, `create table t (id text primary key)`)
				err := func() (err error) {
					defer func() {
						if p := recover(); p != nil {
							err = p.(error)
						}
					}()
					return d.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error {
						tx.AfterCommit(func(context.Context) { t.Error("run after a rollback") })
						if _, err := tx.ExecContext(ctx, `insert into t (id) values ('x')`); err != nil {
							return err
						}
						return tt.end(ctx, tx)
					})
				}()
				if !errors.Is(err, boom) {
					t.Errorf("error %v, want boom", err)
				}
				if n := count(t, d, "t"); n != 0 {
					t.Errorf("%d rows after a rollback", n)
				}
			})
		})
	}
}

func TestMarkedContextIsRefused(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		began := time.Now()
		batch := db.NewBatcher(1, 0, func(context.Context, []int) ([]int, error) { return []int{0}, nil })
		defer batch.Stop()
		err := d.InTx(t.Context(), "outer", func(ctx context.Context, tx *db.Tx) error {
			var n int
			_, execErr := d.ExecContext(ctx, `select 1`)
			_, queryErr := d.QueryContext(ctx, `select 1`) //nolint:rowserrcheck,sqlclosecheck // refused
			_, writerErr := d.Writer().QueryContext(ctx, `select 1`)
			_, writerExecErr := d.Writer().ExecContext(ctx, `select 1`)
			_, migrateErr := d.Migrate(ctx)
			_, batchErr := batch.Do(ctx, 1)
			errs := map[string]error{
				"exec": execErr, "query": queryErr, "writer query": writerErr, "writer exec": writerExecErr,
				"row":        d.QueryRowContext(ctx, `select 1`).Scan(&n),
				"writer row": d.Writer().QueryRowContext(ctx, `select 1`).Scan(&n),
				"ping":       d.Ping(ctx),
				"migrate":    migrateErr,
				"batch":      batchErr,
				"nested":     d.InTx(ctx, "inner", func(context.Context, *db.Tx) error { t.Error("ran"); return nil }),
			}
			for name, err := range errs {
				if !errors.Is(err, db.ErrNestedTx) {
					t.Errorf("%s inside a transaction: %v, want ErrNestedTx", name, err)
				}
			}
			// The transaction itself goes on.
			return tx.QueryRowContext(ctx, `select 1`).Scan(&n)
		})
		if err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("refusals took %s: something waited", took)
		}
	})
}

// Two transactions read and then write the same row. Without a lock at the
// beginning SQLite fails one of them however long it may wait; PostgreSQL needs
// the locking read.
func TestReadThenWriteIsSerial(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `create table n (id text primary key, v bigint not null)`)
		exec(t, d, `insert into n (id, v) values ('a', 0)`)
		const workers, each = 8, 25
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range each {
					err := d.InTx(t.Context(), "count", func(ctx context.Context, tx *db.Tx) error {
						var v int
						if err := tx.QueryRowContext(ctx, `select v from n where id = 'a'`+db.ForUpdate(tx)).Scan(&v); err != nil {
							return err
						}
						_, err := tx.ExecContext(ctx, `update n set v = $1 where id = 'a'`, v+1)
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		var v int
		if err := d.QueryRowContext(t.Context(), `select v from n`).Scan(&v); err != nil || v != workers*each {
			t.Errorf("counted %d, %v; want %d", v, err, workers*each)
		}
	})
}

// Two handles on one SQLite file are two processes.
func TestTwoProcessesOnOneFile(t *testing.T) {
	t.Parallel()
	file := dbtest.SQLiteFile(t)
	a, b := dbtest.Open(t, file), dbtest.Open(t, file)
	exec(t, a, `create table n (id text primary key, v bigint not null)`)
	exec(t, a, `insert into n (id, v) values ('a', 0)`)
	var wg sync.WaitGroup
	for _, d := range []*db.DB{a, b} {
		wg.Go(func() {
			for range 50 {
				err := d.InTx(t.Context(), "count", func(ctx context.Context, tx *db.Tx) error {
					var v int
					if err := tx.QueryRowContext(ctx, `select v from n`).Scan(&v); err != nil {
						return err
					}
					_, err := tx.ExecContext(ctx, `update n set v = $1`, v+1)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var v int
	if err := b.QueryRowContext(t.Context(), `select v from n`).Scan(&v); err != nil || v != 100 {
		t.Errorf("counted %d, %v; want 100", v, err)
	}
}

func TestDeadlockIsTriedAgain(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.Postgres(t))
	exec(t, d, `create table n (id text primary key, v bigint not null)`)
	exec(t, d, `insert into n (id, v) values ('a', 0), ('b', 0)`)
	var (
		wg    sync.WaitGroup
		met   sync.WaitGroup
		mu    sync.Mutex
		tries int
		after int
	)
	met.Add(2)
	for _, ids := range [][]string{{"a", "b"}, {"b", "a"}} {
		wg.Go(func() {
			first := true
			err := d.InTx(t.Context(), "cross", func(ctx context.Context, tx *db.Tx) error {
				mu.Lock()
				tries++
				mu.Unlock()
				tx.AfterCommit(func(context.Context) { mu.Lock(); after++; mu.Unlock() })
				if _, err := tx.ExecContext(ctx, `update n set v = v + 1 where id = $1`, ids[0]); err != nil {
					return err
				}
				if first {
					first = false
					met.Done()
					met.Wait() // both hold one row and want the other
				}
				_, err := tx.ExecContext(ctx, `update n set v = v + 1 where id = $1`, ids[1])
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var sum int
	if err := d.QueryRowContext(t.Context(), `select cast(sum(v) as bigint) from n`).Scan(&sum); err != nil || sum != 4 {
		t.Errorf("sum %d, %v; want 4", sum, err)
	}
	if tries != 3 || after != 2 {
		t.Errorf("%d tries and %d after-commit runs, want 3 and 2", tries, after)
	}
}

func TestWithinTransactionDeadline(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `create table t (id text primary key)`)
		ctx, cancel := context.WithCancel(t.Context())
		err := d.InTx(ctx, "gone", func(ctx context.Context, tx *db.Tx) error {
			if _, err := tx.ExecContext(ctx, `insert into t (id) values ('x')`); err != nil {
				return err
			}
			cancel()
			_, err := tx.ExecContext(ctx, `insert into t (id) values ('y')`)
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want cancelled", err)
		}
		if db.IsUnavailable(err) {
			t.Error("a caller who has gone counts as an outage")
		}
		if n := count(t, d, "t"); n != 0 {
			t.Errorf("%d rows, want none", n)
		}
	})
}

func TestBareTimesAreRefused(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `create table t (at timestamptz)`)
		err := d.InTx(t.Context(), "times", func(ctx context.Context, tx *db.Tx) error {
			for _, q := range []db.Querier{d, d.Writer(), tx} {
				ctx := ctx
				if q != db.Querier(tx) {
					ctx = t.Context()
				}
				for _, arg := range []any{noon, &noon, sql.NullTime{Time: noon, Valid: true}} {
					_, execErr := q.ExecContext(ctx, `insert into t (at) values ($1)`, arg)
					_, queryErr := q.QueryContext(ctx, `select $1`, arg) //nolint:rowserrcheck,sqlclosecheck // refused
					var n int
					rowErr := q.QueryRowContext(ctx, `select count(*) from t where at > $1`, arg).Scan(&n)
					for name, err := range map[string]error{"exec": execErr, "query": queryErr, "row": rowErr} {
						if !errors.Is(err, db.ErrBareTime) {
							t.Errorf("%T, %s with a %T: %v, want ErrBareTime", q, name, arg, err)
						}
					}
				}
			}
			_, err := tx.ExecContext(ctx, `insert into t (at) values ($1)`, db.At(noon))
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
