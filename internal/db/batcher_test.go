package db_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

func double(_ context.Context, in []int) ([]int, error) {
	out := make([]int, len(in))
	for i, v := range in {
		out[i] = 2 * v
	}
	return out, nil
}

func TestBatcherBundlesWhileBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sizes []int // written by one batch after another
		b := db.NewBatcher(10, 0, func(ctx context.Context, in []int) ([]int, error) {
			sizes = append(sizes, len(in))
			time.Sleep(time.Second)
			return double(ctx, in)
		})
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 25 {
			wg.Go(func() {
				if got, err := b.Do(t.Context(), i); err != nil || got != 2*i {
					t.Errorf("Do(%d) = %d, %v", i, got, err)
				}
			})
			if i == 0 {
				synctest.Wait() // the first is under way, alone
			}
		}
		wg.Wait()
		if want := []int{1, 10, 10, 4}; !slices.Equal(sizes, want) {
			t.Errorf("batches %v, want %v", sizes, want)
		}
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("took %s, want 4 s: somebody waited without need", took)
		}
		b.Stop()
	})
}

func TestBatcherDoesNotWaitWhenIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := db.NewBatcher(10, 0, double)
		began := time.Now()
		for i := range 3 {
			if got, err := b.Do(t.Context(), i); err != nil || got != 2*i {
				t.Errorf("Do(%d) = %d, %v", i, got, err)
			}
		}
		if time.Since(began) != 0 {
			t.Error("a lone caller waited")
		}
		b.Stop()
	})
}

func TestBatcherLingers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		b := db.NewBatcher(3, 10*time.Millisecond, func(ctx context.Context, in []int) ([]int, error) {
			sizes = append(sizes, len(in))
			return double(ctx, in)
		})
		var wg sync.WaitGroup
		put := func() { wg.Go(func() { _, _ = b.Do(t.Context(), 1) }) }
		put()
		time.Sleep(5 * time.Millisecond)
		put()
		wg.Wait() // a pair, after the linger
		for range 3 {
			put()
		}
		synctest.Wait()
		wg.Wait() // full at once
		if !slices.Equal(sizes, []int{2, 3}) {
			t.Errorf("batches %v, want [2 3]", sizes)
		}
		b.Stop()
	})
}

func TestBatcherErrors(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	tests := []struct {
		name string
		run  func(context.Context, []int) ([]int, error)
		is   error
	}{
		{"error", func(context.Context, []int) ([]int, error) { return nil, boom }, boom},
		{"too few results", func(context.Context, []int) ([]int, error) { return nil, nil }, nil},
		{"panic", func(context.Context, []int) ([]int, error) { panic("no") }, nil},
	}
	for _, tt := range tests {
		b := db.NewBatcher(4, 0, tt.run)
		for range 2 { // it goes on after an error
			if _, err := b.Do(t.Context(), 1); err == nil || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		b.Stop()
	}
}

func TestBatcherCallersWhoGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var cancelled atomic.Int32
		var seen [][]int
		b := db.NewBatcher(10, 0, func(ctx context.Context, in []int) ([]int, error) {
			seen = append(seen, in)
			select {
			case <-ctx.Done():
				cancelled.Add(1)
				return nil, ctx.Err()
			case <-time.After(time.Second):
				return double(ctx, in)
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		put := func(ctx context.Context, v int, want error) {
			wg.Go(func() {
				if _, err := b.Do(ctx, v); !errors.Is(err, want) {
					t.Errorf("Do(%d): %v, want %v", v, err, want)
				}
			})
		}
		put(ctx, 1, context.Canceled) // alone in its batch: the batch ends with him
		synctest.Wait()
		put(ctx, 2, context.Canceled) // never begun
		put(t.Context(), 3, nil)
		synctest.Wait()
		cancel()
		wg.Wait()
		b.Stop()
		if cancelled.Load() != 1 || len(seen) != 2 || !slices.Equal(seen[1], []int{3}) {
			t.Errorf("%d cancelled, batches %v", cancelled.Load(), seen)
		}
	})
}

func TestBatcherStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Int32
		b := db.NewBatcher(2, 0, func(ctx context.Context, in []int) ([]int, error) {
			time.Sleep(time.Second)
			done.Add(int32(len(in)))
			return double(ctx, in)
		})
		for i := range 5 {
			go func() { _, _ = b.Do(context.Background(), i) }()
		}
		synctest.Wait()
		b.Stop()
		if done.Load() != 5 {
			t.Errorf("%d of 5 were written before Stop returned", done.Load())
		}
		if _, err := b.Do(t.Context(), 9); !errors.Is(err, db.ErrStopped) {
			t.Errorf("after Stop: %v", err)
		}
		b.Stop() // twice is fine
	})
}

func TestBatcherOnTheDatabase(t *testing.T) {
	t.Parallel()
	type row struct {
		ID string `json:"id"`
	}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `create table t (id text primary key)`)
		var batches atomic.Int32
		b := db.NewBatcher(100, 0, func(ctx context.Context, in []row) ([]bool, error) {
			batches.Add(1)
			rows, err := d.Writer().QueryContext(ctx, `insert into t (id) select r.id from `+
				db.Rows(d, "$1", db.TextCol("id"))+` as r where true on conflict (id) do nothing returning id`, db.RowsArg(in))
			if err != nil {
				return nil, err
			}
			defer func() { _ = rows.Close() }()
			fresh := map[string]bool{}
			for rows.Next() {
				var id string
				if err := rows.Scan(&id); err != nil {
					return nil, err
				}
				fresh[id] = true
			}
			out := make([]bool, len(in))
			for i, r := range in {
				out[i] = fresh[r.ID]
				delete(fresh, r.ID) // twice in one batch: the first wins
			}
			return out, rows.Err()
		})
		defer b.Stop()
		var (
			wg    sync.WaitGroup
			fresh atomic.Int32
		)
		for i := range 400 {
			wg.Go(func() {
				ok, err := b.Do(t.Context(), row{ID: string(rune('a' + i%200))})
				if err != nil {
					t.Error(err)
				}
				if ok {
					fresh.Add(1)
				}
			})
		}
		wg.Wait()
		if fresh.Load() != 200 || count(t, d, "t") != 200 {
			t.Errorf("%d fresh, %d rows, want 200", fresh.Load(), count(t, d, "t"))
		}
		if batches.Load() > 200 {
			t.Errorf("400 callers took %d statements", batches.Load())
		}
	})
}
