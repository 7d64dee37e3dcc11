package queue_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/embedded/redistest"
	"guanjia/internal/queue"
)

// eventually asks again and again until f is content or the time is over.
func eventually(t testing.TB, within time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// running runs the reconciler until the test ends.
func (s *suite) running(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// equalsRows checks that Redis says what the rows say, figures included.
func (s *suite) equalsRows(ctx context.Context) error {
	waiting, _ := s.truth.WaitingCases(ctx, companyID) // the stand-in never fails
	held, _ := s.truth.HeldCases(ctx, companyID)
	want := map[string]map[string]bool{engineering: {}, service: {}}
	for _, r := range waiting {
		want[r.QueueID][r.CaseID] = true
	}
	inHand := map[string]int{}
	for _, h := range held {
		inHand[h.QueueID]++
	}
	for id, cases := range want {
		got, source, err := s.List(ctx, companyID, id, 1000)
		if err != nil || source != queue.SourceRedis {
			return fmt.Errorf("list of %s: from %q, %w", id, source, err)
		}
		if len(got) != len(cases) {
			return fmt.Errorf("%s has %d cases in Redis, %d in the rows", id, len(got), len(cases))
		}
		for _, c := range got {
			if !cases[c] {
				return fmt.Errorf("%s has %s in Redis, not in the rows", id, c)
			}
		}
	}
	stats, err := s.Stats(ctx, companyID)
	if err != nil {
		return err
	}
	for _, st := range stats {
		if st.Waiting != len(want[st.QueueID]) || st.InHand != inHand[st.QueueID] || st.Source != queue.SourceRedis {
			return fmt.Errorf("figures %+v; rows have %d waiting, %d in hand", st, len(want[st.QueueID]), inHand[st.QueueID])
		}
	}
	return nil
}

func TestEmptiedRedisIsFilledFromTheRowsAtOnce(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newSuite(t, rdb)
		for n := 1; n <= 6; n++ {
			s.push(t, engineering, item(n))
		}
		if won, err := s.take(ctx, engineering, item(2).CaseID, "li", 5); !won || err != nil {
			t.Fatal(won, err)
		}
		steps := map[string]func() error{
			"list": func() error { return s.equalsRows(ctx) },
			"push": func() error { s.push(t, engineering, item(7)); return s.equalsRows(ctx) },
			"claim": func() error {
				_, err := s.take(ctx, engineering, item(3).CaseID, "li", 5)
				return errors.Join(err, s.equalsRows(ctx))
			},
			"taken": func() error {
				var taken *queue.TakenError
				if _, err := s.Reserve(ctx, companyID, engineering, item(2).CaseID, "wang", 1, 0); !errors.As(err, &taken) || taken.By != "li" {
					return fmt.Errorf("claimer of a case in hand is told %w", err)
				}
				return nil
			},
			"full": func() error {
				if _, err := s.Reserve(ctx, companyID, engineering, item(4).CaseID, "li", 1, 1); !errors.Is(err, queue.ErrCapacity) {
					return fmt.Errorf("a full member is told %w", err)
				}
				return nil
			},
			"done": func() error {
				s.truth.finish(item(2).CaseID)
				return errors.Join(s.Done(ctx, companyID, "li", item(2).CaseID), s.equalsRows(ctx))
			},
		}
		for _, name := range []string{"list", "push", "claim", "taken", "full", "done"} {
			if err := rdb.FlushAll(ctx).Err(); err != nil {
				t.Fatal(err)
			}
			if err := steps[name](); err != nil {
				t.Errorf("%s after FLUSHALL: %v", name, err)
			}
		}
	})
}

func TestReconcileMendsWhatDiffers(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newSuite(t, rdb)
		for n := 1; n <= 5; n++ {
			s.push(t, engineering, item(n))
		}
		s.truth.open(engineering, item(6)) // committed, its push was lost
		if _, ok := s.truth.claim(item(1).CaseID, "li"); !ok {
			t.Fatal("claim by the row alone")
		}
		if _, ok := s.truth.claim(item(2).CaseID, "li"); !ok {
			t.Fatal("claim by the row alone")
		}
		s.truth.finish(item(2).CaseID)
		moved := s.truth.giveBack(item(3).CaseID, service)
		_ = moved // its push was lost too
		if err := rdb.ZAdd(ctx, "gj:{"+companyID+"}:q:wait:"+engineering, redis.Z{Score: 1, Member: "garbage"}).Err(); err != nil {
			t.Fatal(err)
		}
		if err := rdb.HSet(ctx, "gj:{"+companyID+"}:q:count", "u:li", 17).Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.equalsRows(ctx); err == nil {
			t.Fatal("the test has made no difference to mend")
		}
		if err := s.Rebuild(ctx, companyID); err != nil {
			t.Fatal(err)
		}
		if err := s.equalsRows(ctx); err != nil {
			t.Error(err)
		}
		if _, err := s.Reserve(ctx, companyID, engineering, item(4).CaseID, "li", 1, 2); err != nil {
			t.Errorf("li has one case in hand and may have two, but: %v", err)
		}
	})
}

func TestReconcileLeavesAFreshReservationAlone(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newSuite(t, rdb)
		s.push(t, engineering, item(1))
		r, err := s.Reserve(ctx, companyID, engineering, item(1).CaseID, "li", 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Rebuild(ctx, companyID); err != nil { // between reservation and row
			t.Fatal(err)
		}
		var taken *queue.TakenError
		if _, err := s.Reserve(ctx, companyID, engineering, item(1).CaseID, "wang", 1, 0); !errors.As(err, &taken) {
			t.Errorf("a comparison broke a reservation that is under way: %v", err)
		}
		if err := s.Release(ctx, r); err != nil {
			t.Fatal(err)
		}

		// One whose owner died before the row was written comes back.
		s.SetGrace(0)
		if _, err := s.Reserve(ctx, companyID, engineering, item(1).CaseID, "li", 1, 0); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "an orphaned reservation comes back", func() error {
			return errors.Join(s.Rebuild(ctx, companyID), s.equalsRows(ctx))
		})
	})
}

func TestNoDoubleClaimAmong64(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		const claimers, cases, capacity = 64, 120, 3
		ctx := context.Background()
		s := newSuite(t, rdb)
		s.SetTimeout(time.Minute)
		for n := range cases {
			s.push(t, engineering, item(n))
		}
		var wins [cases]atomic.Int32
		var reserved [cases]atomic.Int32
		var full atomic.Int32
		var wg sync.WaitGroup
		for u := range claimers {
			wg.Go(func() {
				user := fmt.Sprintf("user-%02d", u)
				rnd := rand.New(rand.NewPCG(1, uint64(u)))
				for _, n := range rnd.Perm(cases) {
					r, err := s.Reserve(ctx, companyID, engineering, item(n).CaseID, user, 1, capacity)
					var taken *queue.TakenError
					switch {
					case errors.As(err, &taken), errors.Is(err, queue.ErrGone):
						continue
					case errors.Is(err, queue.ErrCapacity):
						full.Add(1)
						return
					case err != nil:
						t.Errorf("reserve: %v", err)
						return
					}
					reserved[n].Add(1)
					if _, won := s.truth.claim(r.CaseID, user); won {
						wins[n].Add(1)
					}
				}
			})
		}
		wg.Wait()
		total := 0
		for n := range cases {
			if wins[n].Load() > 1 || reserved[n].Load() > 1 {
				t.Errorf("case %d was reserved %d times and claimed %d times", n, reserved[n].Load(), wins[n].Load())
			}
			total += int(wins[n].Load())
		}
		if total != cases {
			t.Errorf("%d of %d cases were claimed", total, cases)
		}
		held, _ := s.truth.HeldCases(ctx, companyID) // the stand-in never fails
		load := map[string]int{}
		for _, h := range held {
			load[h.UserID]++
		}
		for u, n := range load {
			if n > capacity {
				t.Errorf("%s has %d cases, may have %d", u, n, capacity)
			}
		}
	})
}

func TestFlushAllUnderLoad(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		const workers, perWorker = 8, 24
		ctx := context.Background()
		s := newSuite(t, rdb)
		s.running(t)
		stop := make(chan struct{})
		var flushes sync.WaitGroup
		flushes.Go(func() {
			tick := time.NewTicker(150 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					if err := rdb.FlushAll(ctx).Err(); err != nil {
						t.Errorf("flush: %v", err)
					}
				}
			}
		})
		var claimed atomic.Int32
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				user := fmt.Sprintf("user-%d", w)
				for i := range perWorker {
					it := item(w*perWorker + i)
					s.truth.open(engineering, it)
					if err := ignoreAway(s.Push(ctx, companyID, engineering, it)); err != nil {
						t.Errorf("push: %v", err)
					}
					if i%2 == 1 {
						continue // stays in the queue
					}
					won, err := s.take(ctx, engineering, it.CaseID, user, 0)
					if err != nil || !won {
						t.Errorf("claim of an own case: %t, %v", won, err)
						continue
					}
					claimed.Add(1)
					if i%4 == 0 {
						s.truth.finish(it.CaseID)
						if err := ignoreAway(s.Done(ctx, companyID, user, it.CaseID)); err != nil {
							t.Errorf("done: %v", err)
						}
					}
				}
			})
		}
		wg.Wait()
		close(stop)
		flushes.Wait()
		if claimed.Load() != workers*perWorker/2 {
			t.Errorf("%d cases were claimed, want %d", claimed.Load(), workers*perWorker/2)
		}
		eventually(t, 10*time.Second, "queues equal their rows", func() error { return s.equalsRows(ctx) })
	})
}

func TestWithoutRedisTheRowsServe(t *testing.T) {
	t.Parallel()
	server := redistest.NewServer(t)
	ctx := context.Background()
	s := newSuite(t, server.Client(t))
	s.running(t)
	a, b, c := item(1), item(2), item(3)
	s.push(t, engineering, b)
	s.push(t, engineering, a)
	s.expect(t, engineering, queue.SourceRedis, a.CaseID, b.CaseID)
	server.Stop(t)

	began := time.Now()
	s.truth.open(engineering, c)
	if err := s.Push(ctx, companyID, engineering, c); !errors.Is(err, queue.ErrUnavailable) {
		t.Errorf("push without Redis gives %v, want ErrUnavailable", err)
	}
	s.expect(t, engineering, queue.SourceRows, a.CaseID, b.CaseID, c.CaseID)
	if st := s.stat(t, engineering); st.Waiting != 3 || st.Source != queue.SourceRows {
		t.Errorf("figures without Redis are %+v", st)
	}
	if won, err := s.take(ctx, engineering, a.CaseID, "li", 5); err != nil || !won {
		t.Errorf("claim without Redis: %t, %v", won, err)
	}
	for range 50 { // calls must not queue up behind a dead server
		if _, err := s.Reserve(ctx, companyID, engineering, b.CaseID, "li", 1, 0); !errors.Is(err, queue.ErrUnavailable) {
			t.Fatalf("reserve without Redis gives %v, want ErrUnavailable", err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("fifty calls without Redis took %s", took)
	}

	server.Start(t)
	eventually(t, 15*time.Second, "queues equal their rows after Redis is back", func() error { return s.equalsRows(ctx) })
	s.expect(t, engineering, queue.SourceRedis, b.CaseID, c.CaseID)
}

func TestRestartBetweenTwoCallsIsNoticed(t *testing.T) {
	t.Parallel()
	server := redistest.NewServer(t)
	ctx := context.Background()
	s := newSuite(t, server.Client(t))
	for n := 1; n <= 3; n++ {
		s.push(t, engineering, item(n))
	}
	server.Stop(t)
	server.Start(t)
	eventually(t, 15*time.Second, "the first call after a restart", func() error { return s.equalsRows(ctx) })
}

func TestChanges(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s := newSuite(t, rdb)
		s.push(t, engineering, item(1)) // before: the epoch begins
		before, err := rdb.XRevRangeN(ctx, "gj:{"+companyID+"}:q:changes", "+", "-", 1).Result()
		if err != nil || len(before) != 1 {
			t.Fatal(before, err)
		}
		changes := s.Changes(ctx, companyID, before[0].ID)
		next := func() queue.Change {
			t.Helper()
			select {
			case c := <-changes:
				return c
			case <-time.After(10 * time.Second):
				t.Fatal("no change arrived")
				return queue.Change{}
			}
		}
		s.push(t, engineering, item(2))
		if c := next(); c.Kind != queue.ChangePushed || c.CaseID != item(2).CaseID || c.QueueID != engineering || c.Version != 1 {
			t.Errorf("change is %+v", c)
		}
		if won, err := s.take(ctx, engineering, item(2).CaseID, "li", 0); !won || err != nil {
			t.Fatal(won, err)
		}
		if c := next(); c.Kind != queue.ChangeClaimed || c.UserID != "li" {
			t.Errorf("change is %+v", c)
		}
		if err := s.Done(ctx, companyID, "li", item(2).CaseID); err != nil {
			t.Fatal(err)
		}
		if c := next(); c.Kind != queue.ChangeDone {
			t.Errorf("change is %+v", c)
		}
		s.truth.finish(item(2).CaseID)
		if err := rdb.FlushAll(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		s.expect(t, engineering, queue.SourceRedis, item(1).CaseID)
		if c := next(); c.Kind != queue.ChangeReload {
			t.Errorf("after FLUSHALL the change is %+v, want a reload", c)
		}
		cancel()
		for range changes { // ends
		}
	})
}
