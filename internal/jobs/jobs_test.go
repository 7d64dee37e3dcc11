package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/jobs"
	"guanjia/internal/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon bounds waiting in tests that are about something else than speed.
const soon = 3 * time.Minute

type args struct {
	N int `json:"n"`
}

// ledger remembers what handlers were given.
type ledger struct {
	mu   sync.Mutex
	seen []int
}

func (l *ledger) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, n)
}

func (l *ledger) list() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.seen)
}

func (l *ledger) handle(_ context.Context, raw json.RawMessage) error {
	var a args
	if err := json.Unmarshal(raw, &a); err != nil {
		return err
	}
	l.add(a.N)
	return nil
}

func newRunner(t *testing.T, d *db.DB, clk clock.Clock) *jobs.Runner {
	t.Helper()
	return jobs.New(d, clk, telemetrytest.Capture(t).Logger, jobs.Options{})
}

func start(t *testing.T, r *jobs.Runner) {
	t.Helper()
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, r) })
}

func stop(t *testing.T, r *jobs.Runner) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func put(t *testing.T, d *db.DB, r *jobs.Runner, js ...jobs.Job) {
	t.Helper()
	err := d.InTx(t.Context(), "put", func(ctx context.Context, tx *db.Tx) error {
		for _, j := range js {
			if err := r.PutTx(ctx, tx, j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func settle(t *testing.T, r *jobs.Runner) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := r.Settle(ctx); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestPutIsTransactional(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var l ledger
		r := newRunner(t, d, clock.System())
		r.Handle("note", l.handle)
		start(t, r)
		boom := errors.New("boom")
		err := d.InTx(t.Context(), "put", func(ctx context.Context, tx *db.Tx) error {
			if err := r.PutTx(ctx, tx, jobs.Job{Kind: "note", Args: args{1}}); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatal(err)
		}
		put(t, d, r, jobs.Job{Kind: "note", Args: args{2}})
		settle(t, r)
		if got := l.list(); !slices.Equal(got, []int{2}) {
			t.Errorf("ran %v, want [2]: a rolled-back job must not run", got)
		}
	})
}

func TestPutBeforeStartAndByAnotherNode(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var l ledger
		web := newRunner(t, d, clock.System()) // never started
		put(t, d, web, jobs.Job{Kind: "note", Args: args{1}}, jobs.Job{Kind: "other.kind", Args: args{9}})
		worker := newRunner(t, d, clock.System())
		worker.Handle("note", l.handle)
		start(t, worker)
		settle(t, worker) // leaves other.kind to those who know it
		put(t, d, web, jobs.Job{Kind: "note", Args: args{2}})
		eventually(t, "the job of another node", func() bool { return len(l.list()) == 2 })

		knows := newRunner(t, d, clock.System())
		knows.Handle("other.kind", l.handle)
		if d.Engine() == db.EngineSQLite {
			stop(t, worker) // one node
		}
		start(t, knows)
		settle(t, knows)
		if got := l.list(); !slices.Equal(got, []int{1, 2, 9}) {
			t.Errorf("ran %v, want [1 2 9]", got)
		}
	})
}

func TestTimersFollowTheClock(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var l ledger
		clk := clock.NewManual(begin)
		r := newRunner(t, d, clk)
		r.Handle("note", l.handle)
		start(t, r)
		put(t, d, r,
			jobs.Job{Kind: "note", Args: args{3}, RunAt: begin.Add(30 * 24 * time.Hour)},
			jobs.Job{Kind: "note", Args: args{2}, RunAt: begin.Add(3 * time.Second)},
			jobs.Job{Kind: "note", Args: args{1}, RunAt: begin.Add(-time.Hour)},
		)
		settle(t, r)
		if got := l.list(); !slices.Equal(got, []int{1}) {
			t.Fatalf("at the beginning ran %v, want [1]", got)
		}
		clk.Advance(2999 * time.Millisecond)
		settle(t, r)
		if got := l.list(); len(got) != 1 {
			t.Fatalf("a millisecond too early: %v", got)
		}
		clk.Advance(time.Millisecond)
		settle(t, r)
		if got := l.list(); !slices.Equal(got, []int{1, 2}) {
			t.Fatalf("after 3 s ran %v, want [1 2]", got)
		}
		clk.Advance(30 * 24 * time.Hour)
		if err := r.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		settle(t, r)
		if got := l.list(); !slices.Equal(got, []int{1, 2, 3}) {
			t.Fatalf("after 30 days ran %v, want [1 2 3]", got)
		}
	})
}

// A timer is not late: River alone would look every five seconds.
func TestTimerIsPunctual(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		late := make(chan time.Duration, 1)
		r := newRunner(t, d, clock.System())
		due := time.Now().Add(1500 * time.Millisecond)
		r.Handle("timer", func(context.Context, json.RawMessage) error {
			late <- time.Since(due)
			return nil
		})
		start(t, r)
		put(t, d, r, jobs.Job{Kind: "timer", RunAt: due})
		select {
		case l := <-late:
			t.Logf("late by %s", l)
			if l < 0 {
				t.Errorf("%s too early", -l)
			}
			if l > 3*time.Second {
				t.Errorf("late by %s", l)
			}
		case <-time.After(soon):
			t.Fatal("the timer did not fire")
		}
	})
}

// A duty that comes round puts its successor. With the clock moved by 30 days
// it runs once for each day, and there is always exactly one successor.
func TestChainOverThirtyDays(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		clk := clock.NewAdjustable(begin)
		r := newRunner(t, d, clk)
		var (
			l       ledger
			running atomic.Int32
		)
		r.Handle("daily", func(ctx context.Context, raw json.RawMessage) error {
			if running.Add(1) > 1 {
				t.Error("two of one chain run at once")
			}
			var a args
			if err := json.Unmarshal(raw, &a); err != nil {
				return err
			}
			return d.InTx(ctx, "daily", func(ctx context.Context, tx *db.Tx) error {
				tx.AfterCommit(func(context.Context) { l.add(a.N) })
				defer running.Add(-1) // with the commit the successor may start
				return r.PutTx(ctx, tx, jobs.Job{
					Kind: "daily", UniqueKey: "project", Args: args{a.N + 1}, RunAt: begin.Add(time.Duration(a.N+1) * day),
				})
			})
		})
		start(t, r)
		// Every start checks that the chain lives.
		for range 3 {
			put(t, d, r, jobs.Job{Kind: "daily", UniqueKey: "project", Args: args{0}})
		}
		settle(t, r)
		clk.OnAdvance("jobs restart", func(ctx context.Context, _ time.Duration) error { return r.Restart(ctx) })
		clk.OnAdvance("jobs settle", func(ctx context.Context, _ time.Duration) error { return r.Settle(ctx) })
		ctx, cancel := context.WithTimeout(t.Context(), 3*soon)
		defer cancel()
		if err := clk.Advance(ctx, 30*day); err != nil {
			t.Fatal(err)
		}
		got := l.list()
		if len(got) != 31 || got[30] != 30 {
			t.Errorf("ran %v, want 0 to 30 once each", got)
		}
		if n := unfinished(t, d, "daily"); n != 1 {
			t.Errorf("%d unfinished, want the one successor", n)
		}
		put(t, d, r, jobs.Job{Kind: "daily", UniqueKey: "project", Args: args{0}})
		if n := unfinished(t, d, "daily"); n != 1 {
			t.Errorf("%d unfinished after a check, want 1", n)
		}
	})
}

func unfinished(t *testing.T, d *db.DB, kind string) int {
	t.Helper()
	var n int
	err := d.QueryRowContext(t.Context(), `
		select count(*) from river_job where kind = $1 and finalized_at is null`, kind).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestUniqueKey(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var l ledger
		clk := clock.NewManual(begin)
		r := newRunner(t, d, clk)
		r.Handle("note", l.handle)
		r.Handle("memo", l.handle)
		later := begin.Add(time.Hour)
		put(t, d, r,
			jobs.Job{Kind: "note", UniqueKey: "a", Args: args{1}, RunAt: later},
			jobs.Job{Kind: "note", UniqueKey: "a", Args: args{2}, RunAt: later}, // dropped
			jobs.Job{Kind: "note", UniqueKey: "b", Args: args{3}, RunAt: later},
			jobs.Job{Kind: "memo", UniqueKey: "a", Args: args{4}, RunAt: later},
			jobs.Job{Kind: "note", Args: args{5}, RunAt: later}, // no key: never dropped
			jobs.Job{Kind: "note", Args: args{5}, RunAt: later},
		)
		put(t, d, r, jobs.Job{Kind: "note", UniqueKey: "a", Args: args{6}, RunAt: later}) // another transaction
		start(t, r)
		clk.Set(later)
		settle(t, r)
		got := l.list()
		slices.Sort(got)
		if !slices.Equal(got, []int{1, 3, 4, 5, 5}) {
			t.Errorf("ran %v, want [1 3 4 5 5]", got)
		}
		put(t, d, r, jobs.Job{Kind: "note", UniqueKey: "a", Args: args{7}}) // the first has finished
		settle(t, r)
		if got := l.list(); got[len(got)-1] != 7 {
			t.Errorf("a finished job blocks its key: %v", got)
		}
	})
}

func TestUniqueKeyUnderRace(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := newRunner(t, d, clock.System())
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				err := d.InTx(t.Context(), "put", func(ctx context.Context, tx *db.Tx) error {
					return r.PutTx(ctx, tx, jobs.Job{Kind: "note", UniqueKey: "only", Args: args{i}})
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := unfinished(t, d, "note"); n != 1 {
			t.Errorf("%d jobs of one key", n)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var l ledger
		clk := clock.NewManual(begin)
		r := newRunner(t, d, clk)
		r.Handle("note", l.handle)
		start(t, r)
		later := begin.Add(time.Hour)
		put(t, d, r,
			jobs.Job{Kind: "note", UniqueKey: "a", Args: args{1}, RunAt: later},
			jobs.Job{Kind: "note", UniqueKey: "b", Args: args{2}, RunAt: later},
		)
		cancel := func(key string, fail error) error {
			return d.InTx(t.Context(), "cancel", func(ctx context.Context, tx *db.Tx) error {
				return errors.Join(r.CancelTx(ctx, tx, "note", key), fail)
			})
		}
		boom := errors.New("boom")
		if err := cancel("b", boom); !errors.Is(err, boom) { // rolled back
			t.Fatal(err)
		}
		for _, key := range []string{"a", "a", "nobody"} {
			if err := cancel(key, nil); err != nil {
				t.Fatalf("cancel %s: %v", key, err)
			}
		}
		// Cancel and put anew in one transaction: a moved deadline.
		err := d.InTx(t.Context(), "move", func(ctx context.Context, tx *db.Tx) error {
			if err := r.CancelTx(ctx, tx, "note", "b"); err != nil {
				return err
			}
			return r.PutTx(ctx, tx, jobs.Job{Kind: "note", UniqueKey: "b", Args: args{3}, RunAt: later})
		})
		if err != nil {
			t.Fatal(err)
		}
		clk.Set(later)
		settle(t, r)
		if got := l.list(); !slices.Equal(got, []int{3}) {
			t.Errorf("ran %v, want [3]", got)
		}
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		clk := clock.NewManual(begin)
		log := telemetrytest.Capture(t)
		r := jobs.New(d, clk, log.Logger, jobs.Options{MaxAttempts: 3})
		var fails, gone, panics, snoozes, permanent ledger
		r.Handle("mends", func(context.Context, json.RawMessage) error {
			fails.add(int(clk.Now().Sub(begin).Seconds()))
			if len(fails.list()) < 3 {
				return errors.New("not yet")
			}
			return nil
		})
		r.Handle("never", func(context.Context, json.RawMessage) error { gone.add(1); return errors.New("no") })
		r.Handle("panics", func(context.Context, json.RawMessage) error { panics.add(1); panic("oh") })
		r.Handle("permanent", func(context.Context, json.RawMessage) error {
			permanent.add(1)
			return fmt.Errorf("wrapped: %w", jobs.Permanent(errors.New("bad")))
		})
		r.Handle("snoozes", func(context.Context, json.RawMessage) error {
			snoozes.add(1)
			if len(snoozes.list()) < 6 { // more often than failures would be allowed
				return jobs.Later(time.Second)
			}
			return nil
		})
		start(t, r)
		for _, kind := range []string{"mends", "never", "panics", "permanent", "snoozes"} {
			put(t, d, r, jobs.Job{Kind: kind})
		}
		settle(t, r)
		for range 12 {
			clk.Advance(2 * time.Second)
			settle(t, r)
		}
		if got := fails.list(); len(got) != 3 || got[1] == 0 || got[2]-got[1] < got[1]-got[0] {
			t.Errorf("tried at seconds %v, want three tries with growing waits", got)
		}
		for _, tt := range []struct {
			name string
			l    *ledger
			want int
		}{{"never", &gone, 3}, {"panics", &panics, 3}, {"permanent", &permanent, 1}, {"snoozes", &snoozes, 6}} {
			if got := len(tt.l.list()); got != tt.want {
				t.Errorf("%s ran %d times, want %d", tt.name, got, tt.want)
			}
			if n := unfinished(t, d, tt.name); n != 0 {
				t.Errorf("%s is not finished", tt.name)
			}
		}
	})
}

// A process is stopped while a job runs: the context ends, the job runs again
// at the next start.
func TestStopAndStart(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := newRunner(t, d, clock.System())
		begun := make(chan struct{}, 1)
		var runs atomic.Int32
		r.Handle("long", func(ctx context.Context, _ json.RawMessage) error {
			if runs.Add(1) > 1 {
				return nil
			}
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		start(t, r)
		put(t, d, r, jobs.Job{Kind: "long"})
		<-begun
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := r.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop: %v, want that the time was over", err)
		}
		if err := r.Stop(t.Context()); err != nil {
			t.Errorf("second stop: %v", err)
		}
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the second run", func() bool { return runs.Load() == 2 })
		settle(t, r)
		if n := unfinished(t, d, "long"); n != 0 {
			t.Errorf("%d unfinished", n)
		}
	})
}

// A killed process leaves its job in the state running. Another one takes it
// up once the lease is over; on SQLite, which has one node, at the next start.
func TestJobsOfAKilledProcess(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var l ledger
		r := newRunner(t, d, clock.System())
		r.Handle("note", l.handle)
		put(t, d, r, jobs.Job{Kind: "note", Args: args{1}}, jobs.Job{Kind: "note", Args: args{2}, UniqueKey: "k"})
		// What a kill leaves behind: started, by somebody last seen just now.
		kill(t, d)
		start(t, r)
		began := time.Now()
		eventually(t, "the rescue", func() bool { return len(l.list()) == 2 })
		t.Logf("rescued after %s", time.Since(began))
		settle(t, r)
		if got := l.list(); len(got) != 2 {
			t.Errorf("ran %v", got)
		}
	})
}

func kill(t *testing.T, d *db.DB) {
	t.Helper()
	by := `array['dead']`
	if d.Engine() == db.EngineSQLite {
		by = `jsonb('["dead"]')`
	}
	for _, stmt := range []string{
		`update river_job set state = 'running', attempt = 1, attempted_at = scheduled_at, attempted_by = ` + by,
	} {
		if _, err := d.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.ExecContext(t.Context(), `insert into job_runners (id, seen_at) values ('dead', $1)`, db.At(time.Now())); err != nil {
		t.Fatal(err)
	}
}

// A living node's long job is left alone by the others.
func TestLivingNodesKeepTheirJobs(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.Postgres(t))
	var runs atomic.Int32
	release, begun := make(chan struct{}), make(chan struct{}, 8)
	for range 3 {
		r := newRunner(t, d, clock.System())
		r.Handle("long", func(ctx context.Context, _ json.RawMessage) error {
			runs.Add(1)
			begun <- struct{}{}
			<-release
			return nil
		})
		start(t, r)
		if runs.Load() == 0 {
			put(t, d, r, jobs.Job{Kind: "long"})
			<-begun
		}
	}
	// Longer than a lease and a judgement.
	select {
	case <-begun:
		t.Error("the job was started a second time")
	case <-time.After(9 * time.Second):
	}
	close(release)
}

func TestThroughput(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		const n = 200
		var done atomic.Int32
		r := newRunner(t, d, clock.System())
		r.Handle("tick", func(context.Context, json.RawMessage) error { done.Add(1); return nil })
		began := time.Now()
		batch := make([]jobs.Job, 100)
		for i := range batch {
			batch[i] = jobs.Job{Kind: "tick"}
		}
		for range n / len(batch) {
			put(t, d, r, batch...)
		}
		inserted := time.Since(began)
		start(t, r)
		began = time.Now()
		eventually(t, "all jobs", func() bool { return done.Load() == n })
		t.Logf("%s: put %.0f/s, worked %.0f/s", d.Engine(), n/inserted.Seconds(), n/time.Since(began).Seconds())
		settle(t, r)
		if got := done.Load(); got != n {
			t.Errorf("%d runs of %d jobs", got, n)
		}
	})
}

func TestOutage(t *testing.T) {
	t.Parallel()
	server, url := dbtest.NewServer(t)
	d := dbtest.Open(t, url)
	var l ledger
	r := newRunner(t, d, clock.System())
	r.Handle("note", l.handle)
	start(t, r)
	put(t, d, r, jobs.Job{Kind: "note", Args: args{1}}, jobs.Job{Kind: "note", Args: args{2}, RunAt: time.Now().Add(time.Second)})
	eventually(t, "the first job", func() bool { return len(l.list()) == 1 })
	server.Stop(t)
	time.Sleep(2 * time.Second)
	server.Start(t)
	began := time.Now()
	eventually(t, "the timer that fell into the outage", func() bool { return len(l.list()) == 2 })
	t.Logf("timer fired %s after the return", time.Since(began))
	put(t, d, r, jobs.Job{Kind: "note", Args: args{3}})
	began = time.Now()
	eventually(t, "a job after the outage", func() bool { return len(l.list()) == 3 })
	t.Logf("new job ran after %s", time.Since(began))
}

// Settle must not take a job for one of the future because the engine rounded
// its time up.
func TestSettleWithRoundedTimes(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var l ledger
		clk := clock.NewManual(time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC))
		r := newRunner(t, d, clk)
		r.Handle("note", l.handle)
		start(t, r)
		for i, part := range []time.Duration{600 * time.Microsecond, 999 * time.Microsecond, 999999, 1} {
			clk.Set(clk.Now().Add(time.Second).Truncate(time.Second).Add(part))
			put(t, d, r, jobs.Job{Kind: "note", Args: args{i}})
			// A clock that stands still: the engine itself starts the job
			// once its own rounding admits it.
			settle(t, r)
			if got := l.list(); len(got) != i+1 {
				t.Fatalf("%s past the second: ran %v", part, got)
			}
		}
	})
}
