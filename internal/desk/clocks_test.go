package desk_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/queue"
)

func TestOverdueIsEscalatedOnce(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		run := w.Desk.RunClocks(jobs.New(w.DB, w.Clock, w.Logs.Logger, jobs.Options{}))
		node := w.Node(t)
		other := node.Desk.RunClocks(jobs.New(w.DB, w.Clock, w.Logs.Logger, jobs.Options{}))
		both := func() {
			t.Helper()
			var wg sync.WaitGroup
			for _, f := range []jobs.Handler{run, other, run} {
				wg.Go(func() {
					if err := f(t.Context(), nil); err != nil {
						t.Errorf("clocks: %v", err)
					}
				})
			}
			wg.Wait()
		}
		c := open(t, w, 0, func(o *desk.Open) { o.Priority = desk.PriorityLow })
		taken, err := w.Desk.Claim(t.Context(), w.As(t, "zhangwei"), open(t, w, 1, nil).ID)
		taken = must(t, taken, err)

		both()
		if got := latest(t, w, c); got.Version != 1 {
			t.Fatalf("escalated before its time: version %d", got.Version)
		}
		w.Clock.Set(c.AcceptBy)
		both()
		both()
		got := latest(t, w, c)
		if got.Version != 2 || got.Priority != desk.PriorityNormal || got.EscalatedAt.IsZero() {
			t.Fatalf("after the limit: version %d, %s", got.Version, got.Priority)
		}
		if told := toldGroup(t, w, c, groupOfEng); strings.Count(told, "超过接单时限") != 1 {
			t.Errorf("group was told %q", told)
		}
		if n := len(w.Deliveries(t, "case", c.ID, ledger.ChannelWebhook)); n != 1 {
			t.Errorf("rang %d times", n)
		}
		if got := latest(t, w, taken); !got.EscalatedAt.IsZero() {
			t.Error("a case in hand was escalated")
		}

		// A new limit, a new escalation: transferred and left again.
		c, err = w.Desk.Transfer(t.Context(), w.As(t, "zhangwei"), c.ID, "客户服务", "要问费用")
		c = must(t, c, err)
		both()
		if got := latest(t, w, c); got.Version != c.Version {
			t.Fatal("escalated right after the transfer")
		}
		w.Clock.Set(c.AcceptBy)
		both()
		if got := latest(t, w, c); got.Version != c.Version+1 || got.Priority != desk.PriorityHigh {
			t.Errorf("left again: version %d, %s", got.Version, got.Priority)
		}
	})
}

func TestClocksGoOn(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	runner := jobs.New(w.DB, w.Clock, w.Logs.Logger, jobs.Options{})
	for range 3 { // every start of a node
		if err := w.Desk.EnsureClocks(t.Context(), runner); err != nil {
			t.Fatal(err)
		}
	}
	waiting := func() (n int) {
		t.Helper()
		if err := w.DB.QueryRowContext(t.Context(), `SELECT count(*) FROM river_job WHERE kind = $1`, desk.JobClocks).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := waiting(); n != 1 {
		t.Fatalf("%d chains live", n)
	}
	w.Clock.Advance(desk.ClocksEvery)
	if err := w.Desk.RunClocks(runner)(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n := waiting(); n != 2 {
		t.Errorf("%d jobs after a run, want its successor", n)
	}
}

// TestUnboundWriter opens a case of somebody of whom neither home nor project is known.
func TestUnboundWriter(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	open := func(category string) desk.Case {
		t.Helper()
		c, err := w.Desk.Open(t.Context(), desk.By{CompanyID: sample.CompanyID},
			desk.Open{CompanyID: sample.CompanyID, Kind: "repair", Category: category, Text: "灯不亮", Mode: "call_in"})
		return must(t, c, err)
	}
	if c := open("engineering"); c.QueueID != engineering || c.ProjectID != sample.ProjectID {
		t.Errorf("one project: %s of %s", c.QueueID, c.ProjectID)
	}
	second := queue.Queue{ID: "queue-second", CompanyID: sample.CompanyID, ProjectID: "project-second", Line: "engineering", Name: "二期工程"}
	if err := w.DB.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error { return w.Queues.PutTx(ctx, tx, second) }); err != nil {
		t.Fatal(err)
	}
	if c := open("engineering"); c.QueueID != service {
		t.Errorf("two projects: %s, want customer service to ask", c.QueueID)
	}
	c, err := w.Desk.Open(t.Context(), desk.By{CompanyID: sample.CompanyID},
		desk.Open{CompanyID: sample.CompanyID, ProjectID: "project-second", Kind: "repair", Category: "cleaning", Text: "楼道脏", Mode: "call_in"})
	if c = must(t, c, err); c.QueueID != second.ID {
		t.Errorf("a project with one queue: %s", c.QueueID)
	}
}

func TestClocksWithoutRedis(t *testing.T) {
	t.Parallel()
	w := worldtest.New(t, dbSQLite(t), deadRedis(t))
	c := open(t, w, 0, nil)
	w.Clock.Advance(24 * time.Hour)
	if err := w.Desk.RunClocks(jobs.New(w.DB, w.Clock, w.Logs.Logger, jobs.Options{}))(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if latest(t, w, c).EscalatedAt.IsZero() {
		t.Error("not escalated")
	}
}
