package queue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOrderIsDangerThenPromiseThenAge(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newSuite(t, rdb)
		at := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
		for _, it := range []queue.Item{
			{CaseID: "late-promise", OpenedAt: at(0), PromisedAt: at(300), Version: 1},
			{CaseID: "younger", OpenedAt: at(20), PromisedAt: at(120), Version: 1},
			{CaseID: "older", OpenedAt: at(10), PromisedAt: at(120), Version: 1},
			{CaseID: "no-promise", OpenedAt: at(1), Version: 1},
			{CaseID: "danger-later", Danger: true, OpenedAt: at(50), PromisedAt: at(60), Version: 1},
			{CaseID: "danger", Danger: true, OpenedAt: at(55), PromisedAt: at(58), Version: 1},
		} {
			s.push(t, engineering, it)
		}
		s.expect(t, engineering, queue.SourceRedis, "danger", "danger-later", "older", "younger", "late-promise", "no-promise")
		front, _, err := s.List(context.Background(), companyID, engineering, 2)
		if err != nil || fmt.Sprint(front) != "[danger danger-later]" {
			t.Errorf("the front is %v, %v", front, err)
		}
	})
}

func TestPushIsIdempotentAndVersionDecides(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newSuite(t, rdb)
		a, b := item(1), item(2)
		s.push(t, engineering, a)
		s.push(t, engineering, b)
		s.push(t, engineering, a)
		s.expect(t, engineering, queue.SourceRedis, a.CaseID, b.CaseID)

		urged := a
		urged.Version, urged.PromisedAt = 3, b.PromisedAt.Add(time.Hour)
		s.push(t, engineering, urged)
		s.expect(t, engineering, queue.SourceRedis, b.CaseID, a.CaseID)

		late := a
		late.Version = 2 // overtaken on its way
		if err := s.Push(ctx, companyID, engineering, late); err != nil {
			t.Fatal(err)
		}
		s.expect(t, engineering, queue.SourceRedis, b.CaseID, a.CaseID)

		if err := s.Remove(ctx, companyID, engineering, a.CaseID, 4); err != nil {
			t.Fatal(err)
		}
		if err := s.Push(ctx, companyID, engineering, urged); err != nil { // a removed case does not come back by an old message
			t.Fatal(err)
		}
		s.expect(t, engineering, queue.SourceRedis, b.CaseID)
		if err := s.Remove(ctx, companyID, engineering, b.CaseID, 0); err != nil { // an old removal does nothing
			t.Fatal(err)
		}
		s.expect(t, engineering, queue.SourceRedis, b.CaseID)
		if st := s.stat(t, engineering); st.Waiting != 1 {
			t.Errorf("%d wait, want 1", st.Waiting)
		}
	})
}

func TestPushMovesACaseBetweenQueues(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newSuite(t, rdb)
		a := item(1)
		s.push(t, engineering, a)
		a.Version = 2
		s.push(t, service, a)
		s.expect(t, engineering, queue.SourceRedis)
		s.expect(t, service, queue.SourceRedis, a.CaseID)
		if e, v := s.stat(t, engineering), s.stat(t, service); e.Waiting != 0 || e.OldestS != 0 || v.Waiting != 1 {
			t.Errorf("figures are %+v and %+v", e, v)
		}
		// Removed with the name of a queue it has left: it is found all the same.
		if err := s.Remove(context.Background(), companyID, engineering, a.CaseID, 3); err != nil {
			t.Fatal(err)
		}
		s.truth.finish(a.CaseID)
		s.expect(t, service, queue.SourceRedis)
	})
}

func TestReserve(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newSuite(t, rdb)
		a, b := item(1), item(2)
		s.push(t, engineering, a)
		s.push(t, engineering, b)

		r, err := s.Reserve(ctx, companyID, engineering, a.CaseID, "li", 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.expect(t, engineering, queue.SourceRedis, b.CaseID)

		var taken *queue.TakenError
		if _, err := s.Reserve(ctx, companyID, engineering, a.CaseID, "wang", 1, 0); !errors.As(err, &taken) || taken.By != "li" {
			t.Errorf("second claimer is told %v, want that li has it", err)
		}
		again, err := s.Reserve(ctx, companyID, engineering, a.CaseID, "li", 1, 0)
		if err != nil || !again.Again {
			t.Errorf("claiming again gives %+v, %v", again, err)
		}
		if err := s.Release(ctx, again); err != nil { // must not undo the first
			t.Fatal(err)
		}
		if st := s.stat(t, engineering); st.InHand != 1 || st.Waiting != 1 {
			t.Errorf("figures are %+v", st)
		}

		if err := s.Release(ctx, r); err != nil {
			t.Fatal(err)
		}
		s.expect(t, engineering, queue.SourceRedis, a.CaseID, b.CaseID) // in its old place
		if st := s.stat(t, engineering); st.InHand != 0 || st.Waiting != 2 {
			t.Errorf("figures after release are %+v", st)
		}
		if err := s.Release(ctx, r); err != nil { // twice is once
			t.Fatal(err)
		}

		if err := s.Remove(ctx, companyID, engineering, b.CaseID, 2); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Reserve(ctx, companyID, engineering, b.CaseID, "li", 2, 0); !errors.Is(err, queue.ErrGone) {
			t.Errorf("a case that left gives %v, want ErrGone", err)
		}
		if _, err := s.Reserve(ctx, companyID, engineering, "unknown here", "li", 1, 0); err != nil {
			t.Errorf("a case that was never pushed gives %v; the row is to decide", err)
		}
	})
}

func TestReserveOfACaseThatMovedOn(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newSuite(t, rdb)
		a := item(1)
		s.push(t, engineering, a)
		a.Version = 2
		s.push(t, service, a)
		if _, err := s.Reserve(ctx, companyID, engineering, a.CaseID, "li", 1, 0); !errors.Is(err, queue.ErrGone) {
			t.Errorf("claimed from a queue it has left: %v, want ErrGone", err)
		}
		// The row is at 3 in engineering again, Redis has not heard of it yet.
		r, err := s.Reserve(ctx, companyID, engineering, a.CaseID, "li", 3, 0)
		if err != nil || r.Version != 3 {
			t.Fatalf("the row is newer than Redis: %+v, %v", r, err)
		}
		s.expect(t, service, queue.SourceRedis)
		if st := s.stat(t, engineering); st.InHand != 1 {
			t.Errorf("figures are %+v", st)
		}
	})
}

func TestCapacitySpansQueues(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newSuite(t, rdb)
		for n := 1; n <= 4; n++ {
			s.push(t, []string{engineering, service}[n%2], item(n))
		}
		queueOf := func(n int) string { return []string{engineering, service}[n%2] }
		for n := 1; n <= 2; n++ {
			if won, err := s.take(ctx, queueOf(n), item(n).CaseID, "li", 2); !won || err != nil {
				t.Fatalf("claim %d: %t, %v", n, won, err)
			}
		}
		if _, err := s.take(ctx, queueOf(3), item(3).CaseID, "li", 2); !errors.Is(err, queue.ErrCapacity) {
			t.Fatalf("a third case gives %v, want ErrCapacity", err)
		}
		s.expect(t, service, queue.SourceRedis, item(3).CaseID)
		if err := s.Done(ctx, companyID, "li", item(1).CaseID); err != nil {
			t.Fatal(err)
		}
		if err := s.Done(ctx, companyID, "li", item(1).CaseID); err != nil { // twice frees once
			t.Fatal(err)
		}
		if err := s.Done(ctx, companyID, "wang", item(2).CaseID); err != nil { // not his
			t.Fatal(err)
		}
		if won, err := s.take(ctx, queueOf(3), item(3).CaseID, "li", 2); !won || err != nil {
			t.Fatalf("after one is done: %t, %v", won, err)
		}
		if _, err := s.take(ctx, queueOf(4), item(4).CaseID, "li", 2); !errors.Is(err, queue.ErrCapacity) {
			t.Errorf("full again, but got %v", err)
		}
	})
}

func TestReturnedCaseFreesItsMember(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newSuite(t, rdb)
		a := item(1)
		s.push(t, engineering, a)
		if won, err := s.take(ctx, engineering, a.CaseID, "li", 1); !won || err != nil {
			t.Fatal(won, err)
		}
		back := s.truth.giveBack(a.CaseID, service)
		if err := s.Push(ctx, companyID, service, back); err != nil {
			t.Fatal(err)
		}
		s.expect(t, service, queue.SourceRedis, a.CaseID)
		if st := s.stat(t, engineering); st.InHand != 0 {
			t.Errorf("still in hand: %+v", st)
		}
		if won, err := s.take(ctx, service, a.CaseID, "li", 1); !won || err != nil {
			t.Errorf("the member is free again: %t, %v", won, err)
		}
	})
}

func TestHoldMovesACaseBetweenMembers(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newSuite(t, rdb)
		a, b := item(1), item(2)
		s.push(t, engineering, a)
		s.push(t, engineering, b)
		if err := s.Hold(ctx, companyID, engineering, a.CaseID, "li", 2, 1); err != nil { // assigned while it waited
			t.Fatal(err)
		}
		if err := s.Hold(ctx, companyID, engineering, b.CaseID, "li", 2, 1); !errors.Is(err, queue.ErrCapacity) {
			t.Errorf("assigned beyond capacity: %v", err)
		}
		s.expect(t, engineering, queue.SourceRedis, b.CaseID)
		if err := s.Hold(ctx, companyID, engineering, a.CaseID, "wang", 3, 1); err != nil { // assigned to another
			t.Fatal(err)
		}
		if err := s.Hold(ctx, companyID, engineering, a.CaseID, "zhao", 2, 0); !errors.Is(err, queue.ErrGone) { // overtaken
			t.Errorf("an old assignment gives %v, want ErrGone", err)
		}
		if err := s.Hold(ctx, companyID, engineering, b.CaseID, "li", 2, 1); err != nil {
			t.Errorf("li is free again, but: %v", err)
		}
		if st := s.stat(t, engineering); st.InHand != 2 || st.Waiting != 0 {
			t.Errorf("figures are %+v", st)
		}
	})
}

func TestStatsTellTheOldest(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newSuite(t, rdb)
		young, old := item(30), item(10)
		young.Danger = true // in front, but not the oldest
		s.push(t, engineering, young)
		s.push(t, engineering, old)
		s.clock.Set(start.Add(40 * time.Minute))
		want := queue.Stat{QueueID: engineering, Waiting: 2, OldestS: 30 * 60, Source: queue.SourceRedis}
		if d := cmp.Diff(want, s.stat(t, engineering)); d != "" {
			t.Error(d)
		}
		want = queue.Stat{QueueID: service, Source: queue.SourceRedis}
		if d := cmp.Diff(want, s.stat(t, service)); d != "" {
			t.Error(d)
		}
	})
}

func TestCompaniesDoNotMeet(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newSuite(t, rdb)
		s.push(t, engineering, item(1))
		if err := s.Push(ctx, "company-2", engineering, item(1)); err != nil {
			t.Fatal(err)
		}
		if err := s.Remove(ctx, "company-2", engineering, item(1).CaseID, 2); err != nil {
			t.Fatal(err)
		}
		s.expect(t, engineering, queue.SourceRedis, item(1).CaseID)
	})
}

func TestRefusesToWorkInsideATransaction(t *testing.T) {
	t.Parallel()
	s := newSuite(t, redistest.Embedded(t, clock.System()).Client())
	err := s.db.InTx(context.Background(), "test", func(ctx context.Context, _ *db.Tx) error {
		return s.Push(ctx, companyID, engineering, item(1))
	})
	if err == nil {
		t.Error("a push inside a transaction was taken; it could be rolled back")
	}
}

func TestDefinitions(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		s := newSuiteOn(t, d, nil)
		want := queue.Queue{ID: engineering, CompanyID: companyID, ProjectID: "p", Line: queue.LineEngineering, Name: "工程维修"}
		err := d.InTx(ctx, "test", func(ctx context.Context, tx *db.Tx) error { return s.PutTx(ctx, tx, want) })
		if err != nil {
			t.Fatal(err)
		}
		for name, find := range map[string]func() (queue.Queue, bool, error){
			"id":   func() (queue.Queue, bool, error) { return s.ByID(ctx, d, engineering) },
			"line": func() (queue.Queue, bool, error) { return s.ByLine(ctx, d, companyID, "p", queue.LineEngineering) },
			"name": func() (queue.Queue, bool, error) { return s.ByName(ctx, d, companyID, "p", "工程维修") },
		} {
			if got, ok, err := find(); err != nil || !ok || got != want {
				t.Errorf("by %s: %+v, %t, %v", name, got, ok, err)
			}
		}
		if _, ok, err := s.ByLine(ctx, d, "other", "p", queue.LineEngineering); ok || err != nil {
			t.Errorf("another company's queue was found: %v", err)
		}
		all, err := s.All(ctx, d, companyID)
		if err != nil || len(all) != 2 {
			t.Errorf("all: %v, %v", all, err)
		}
	})
}
