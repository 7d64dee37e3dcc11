package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/queue"
)

const (
	companyID   = "company-1"
	engineering = "queue-engineering"
	service     = "queue-service"
)

// truth stands in for the cases' rows: state, owner and version of each, moved
// by compare-and-set as desk does.
type truth struct {
	mu    sync.Mutex
	cases map[string]*row
}

type row struct {
	queue.Row
	owner string
	gone  bool
}

func newTruth() *truth { return &truth{cases: map[string]*row{}} }

func (r *truth) WaitingCases(context.Context, string) ([]queue.Row, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []queue.Row
	for _, c := range r.cases {
		if c.owner == "" && !c.gone {
			out = append(out, c.Row)
		}
	}
	return out, nil
}

func (r *truth) HeldCases(context.Context, string) ([]queue.Held, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []queue.Held
	for id, c := range r.cases {
		if c.owner != "" && !c.gone {
			out = append(out, queue.Held{QueueID: c.QueueID, CaseID: id, UserID: c.owner, Version: c.Version})
		}
	}
	return out, nil
}

// open writes the row of a new case.
func (r *truth) open(queueID string, it queue.Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cases[it.CaseID] = &row{Row: queue.Row{QueueID: queueID, Item: it}}
}

// claim is the row's compare-and-set; ok tells who won.
func (r *truth) claim(id, user string) (version int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.cases[id]
	if c == nil || c.owner != "" || c.gone {
		return 0, false
	}
	c.owner = user
	c.Version++
	return c.Version, true
}

// finish takes the case out of its owner's hands for good.
func (r *truth) finish(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cases[id].gone = true
	r.cases[id].Version++
}

// giveBack returns the case to a queue.
func (r *truth) giveBack(id, queueID string) queue.Item {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.cases[id]
	c.owner, c.QueueID = "", queueID
	c.Version++
	return c.Item
}

func (r *truth) version(id string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cases[id].Version
}

// suite is a set of queues on a fresh database.
type suite struct {
	*queue.Queues
	truth *truth
	rdb   redis.UniversalClient
	clock *clock.Manual
	db    *db.DB
}

// start is when the tests' clock stands.
var start = time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)

func newSuite(t testing.TB, rdb redis.UniversalClient) *suite {
	t.Helper()
	return newSuiteOn(t, dbtest.SQLite(t), rdb)
}

func newSuiteOn(t testing.TB, d *db.DB, rdb redis.UniversalClient) *suite {
	t.Helper()
	s := &suite{truth: newTruth(), rdb: rdb, clock: clock.NewManual(start), db: d}
	s.Queues = queue.New(d, rdb, nil, s.clock, slog.New(slog.DiscardHandler), nil)
	s.BindRows(s.truth)
	sealer, err := company.NewSealer(bytes.Repeat([]byte{1}, company.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	store := company.New(d, sealer)
	err = d.InTx(context.Background(), "test.setup", func(ctx context.Context, tx *db.Tx) error {
		if err := store.CreateTx(ctx, tx, company.Company{ID: companyID, Name: "C", Short: "C", Settings: company.DefaultSettings()}); err != nil {
			return err
		}
		for id, line := range map[string]string{engineering: queue.LineEngineering, service: queue.LineCustomerService} {
			if err := s.PutTx(ctx, tx, queue.Queue{ID: id, CompanyID: companyID, ProjectID: "p", Line: line, Name: line}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// item is a case opened n minutes after start.
func item(n int) queue.Item {
	opened := start.Add(time.Duration(n) * time.Minute)
	return queue.Item{CaseID: fmt.Sprintf("case-%04d", n), Priority: 2, OpenedAt: opened, PromisedAt: opened.Add(2 * time.Hour), Version: 1}
}

// push opens the row and pushes it, as desk does after the commit.
func (s *suite) push(t testing.TB, queueID string, it queue.Item) {
	t.Helper()
	s.truth.open(queueID, it)
	if err := s.Push(context.Background(), companyID, queueID, it); err != nil {
		t.Fatalf("push %s: %v", it.CaseID, err)
	}
}

// take claims as desk does: reserve, row, release for the loser. won is what
// the row said.
func (s *suite) take(ctx context.Context, queueID, caseID, user string, capacity int) (won bool, err error) {
	r, reserveErr := s.Reserve(ctx, companyID, queueID, caseID, user, s.truth.version(caseID), capacity)
	var taken *queue.TakenError
	switch {
	case reserveErr == nil:
	case errors.As(reserveErr, &taken), errors.Is(reserveErr, queue.ErrCapacity), errors.Is(reserveErr, queue.ErrGone):
		return false, reserveErr
	case !errors.Is(reserveErr, queue.ErrUnavailable):
		return false, reserveErr
	}
	version, won := s.truth.claim(caseID, user)
	switch {
	case reserveErr == nil && !won:
		return false, s.Release(ctx, r)
	case won && reserveErr == nil:
		return true, ignoreAway(s.Remove(ctx, companyID, queueID, caseID, version))
	case won:
		return true, ignoreAway(s.Hold(ctx, companyID, queueID, caseID, user, version, 0))
	}
	return won, nil
}

func ignoreAway(err error) error {
	if errors.Is(err, queue.ErrUnavailable) {
		return nil
	}
	return err
}

// expect checks the front of a queue and where it was read.
func (s *suite) expect(t testing.TB, queueID, source string, want ...string) {
	t.Helper()
	got, from, err := s.List(context.Background(), companyID, queueID, 1000)
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	if from != source {
		t.Errorf("list was read from %s, want %s", from, source)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("queue is %v, want %v", got, want)
	}
}

// stat gives the figures of one queue.
func (s *suite) stat(t testing.TB, queueID string) queue.Stat {
	t.Helper()
	stats, err := s.Stats(context.Background(), companyID)
	if err != nil {
		t.Fatalf("stats: %v", err)
	}
	for _, st := range stats {
		if st.QueueID == queueID {
			return st
		}
	}
	t.Fatalf("no figures of %s in %v", queueID, stats)
	return queue.Stat{}
}
