package desk_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/ledger"
)

// words are what the resident of a case is told as service messages, in order.
func words(t testing.TB, w *worldtest.World, c desk.Case) []string {
	t.Helper()
	var out []string
	for _, d := range w.Deliveries(t, "case", c.ID, ledger.ChannelService) {
		out = append(out, d.Text)
	}
	return out
}

// supervisor and trainee of the sample, whatever they are called.
func member(t testing.TB, w *worldtest.World, fits func(userID string) bool) desk.By {
	t.Helper()
	for _, m := range w.Sample.Staff {
		if fits(m.UserID) {
			return w.As(t, m.UserID)
		}
	}
	t.Fatal("the sample has nobody like that")
	return desk.By{}
}

// what dismisses is held; a supervisor may let it pass, and the audit
// keeps who did.
func TestOverride(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		c := open(t, w, 0, nil)
		chief := w.As(t, "yangguang")
		const held = "这个我不清楚"
		_, _, err := w.Desk.Reply(t.Context(), chief, c.ID, held)
		refusedWith(t, err, desk.RefusedHeld)
		worker := claimer(t, w)
		_, _, err = w.Desk.Override(t.Context(), worker, c.ID, held)
		refusedWith(t, err, desk.RefusedNoRight)
		if said := words(t, w, c); len(said) != 0 {
			t.Fatalf("the resident was told %q", said)
		}
		if _, _, err = w.Desk.Override(t.Context(), chief, c.ID, held); err != nil {
			t.Fatal(err)
		}
		said := words(t, w, c)
		if len(said) == 0 || !strings.Contains(said[len(said)-1], held) {
			t.Errorf("the resident was told %q", said)
		}
		if n := audits(t, w, c); n != 1 {
			t.Errorf("%d lines in the audit, want 1", n)
		}
		// Words that nobody would hold need no override and leave no trace.
		if _, _, err = w.Desk.Override(t.Context(), chief, c.ID, "师傅十分钟到"); err != nil {
			t.Fatal(err)
		}
		if n := audits(t, w, c); n != 1 {
			t.Errorf("%d lines in the audit after plain words", n)
		}
	})
}

func audits(t testing.TB, w *worldtest.World, c desk.Case) int {
	t.Helper()
	var n int
	err := w.DB.QueryRowContext(t.Context(), `select count(*) from audit_entries where action = 'override_guard' and object = $1 and actor = 'yangguang'`, c.ID).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// claimer is a member of the engineering queue who doesn't supervise.
func claimer(t testing.TB, w *worldtest.World) desk.By {
	t.Helper()
	members, err := w.Staff.QueueMembers(t.Context(), w.DB, engineering)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if m.Role == "technician" && !m.Trainee {
			return w.As(t, m.UserID)
		}
	}
	t.Fatal("the queue has no technician")
	return desk.By{}
}

// a trainee's words leave only when a colleague has approved these very words.
func TestDraft(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		c := open(t, w, 0, nil)
		trainee := trainee(t, w)
		colleague := claimer(t, w)
		_, _, err := w.Desk.Approve(t.Context(), colleague, c.ID)
		refusedWith(t, err, desk.RefusedNoDraft)
		_, _, err = w.Desk.Reply(t.Context(), trainee, c.ID, "师傅十分钟到")
		refusedWith(t, err, desk.RefusedTrainee)
		_, err = w.Desk.Draft(t.Context(), trainee, c.ID, "这个我不清楚")
		refusedWith(t, err, desk.RefusedHeld)
		if _, err = w.Desk.Draft(t.Context(), trainee, c.ID, "师傅十分钟到"); err != nil {
			t.Fatal(err)
		}
		_, _, err = w.Desk.Approve(t.Context(), trainee, c.ID)
		refusedWith(t, err, desk.RefusedTrainee)
		if _, err = w.Desk.Reject(t.Context(), colleague, c.ID, "请写明谁来"); err != nil {
			t.Fatal(err)
		}
		_, _, err = w.Desk.Approve(t.Context(), colleague, c.ID)
		refusedWith(t, err, desk.RefusedNoDraft)
		if said := words(t, w, c); len(said) != 0 {
			t.Fatalf("the resident was told %q", said)
		}
		if _, err = w.Desk.Draft(t.Context(), trainee, c.ID, "张师傅十分钟到"); err != nil {
			t.Fatal(err)
		}
		sent, _, err := w.Desk.Approve(t.Context(), colleague, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if sent.State != desk.StateInProgress || sent.OwnerID != colleague.UserID {
			t.Errorf("state %s, owner %s", sent.State, sent.OwnerID)
		}
		said := words(t, w, c)
		last := said[len(said)-1]
		if !strings.Contains(last, "张师傅十分钟到") || !strings.Contains(last, trainee.Name) {
			t.Errorf("the resident reads %q, want the words and the name of %s", last, trainee.Name)
		}
		_, _, err = w.Desk.Approve(t.Context(), colleague, c.ID)
		refusedWith(t, err, desk.RefusedNoDraft)
		// What a colleague approved can be recalled while it waits.
		if _, err = w.Desk.Recall(t.Context(), colleague, c.ID); err != nil {
			t.Error(err)
		}
	})
}

func trainee(t testing.TB, w *worldtest.World) desk.By {
	t.Helper()
	members, err := w.Staff.QueueMembers(t.Context(), w.DB, engineering)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if m.Trainee {
			return w.As(t, m.UserID)
		}
	}
	// The sample's trainee works elsewhere: he is lent.
	by := member(t, w, func(id string) bool {
		m, ok, err := w.Staff.ByUserID(t.Context(), w.DB, sample.CompanyID, id)
		return err == nil && ok && m.Trainee
	})
	err = w.DB.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error {
		return w.Staff.PutQueueMemberTx(ctx, tx, queueMember(engineering, by.UserID, 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	return by
}

// a date that is put off is explained to the resident, or there is none.
func TestPromise(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	by := claimer(t, w)
	c := open(t, w, 0, nil)
	_, err := w.Desk.Promise(t.Context(), by, c.ID, w.Clock.Now().Add(time.Hour), "")
	refusedWith(t, err, desk.RefusedNotClaimed)
	c, err = w.Desk.Claim(t.Context(), by, c.ID)
	c = must(t, c, err)
	sooner := c.PromisedAt.Add(-10 * time.Minute)
	c, err = w.Desk.Promise(t.Context(), by, c.ID, sooner, "")
	if c = must(t, c, err); !c.PromisedAt.Equal(sooner) {
		t.Fatalf("promised at %s", c.PromisedAt)
	}
	later := c.PromisedAt.Add(24 * time.Hour)
	_, err = w.Desk.Promise(t.Context(), by, c.ID, later, "")
	refusedWith(t, err, desk.RefusedExplain)
	_, err = w.Desk.Promise(t.Context(), by, c.ID, later, "这个我不清楚")
	refusedWith(t, err, desk.RefusedHeld)
	c, err = w.Desk.Promise(t.Context(), by, c.ID, later, "配件明天才到货")
	c = must(t, c, err)
	said := words(t, w, c)
	if last := said[len(said)-1]; !strings.Contains(last, "配件明天才到货") || !strings.Contains(last, "明天") {
		t.Errorf("the resident reads %q", last)
	}
	// Once it is broken, no date without a reason, be it ever so soon.
	w.Clock.Advance(48 * time.Hour)
	_, err = w.Desk.Promise(t.Context(), by, c.ID, w.Clock.Now().Add(time.Hour), "")
	refusedWith(t, err, desk.RefusedExplain)
	_, err = w.Desk.Promise(t.Context(), by, c.ID, w.Clock.Now().Add(-time.Hour), "堵车")
	refusedWith(t, err, desk.RefusedPromise)
	_, err = w.Desk.Promise(t.Context(), by, c.ID, w.Clock.Now().Add(100*24*time.Hour), "堵车")
	refusedWith(t, err, desk.RefusedPromise)
}

// what is given back waits for another colleague, in the queue and on a card.
func TestReturn(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		by := claimer(t, w)
		c := open(t, w, 0, nil)
		c, err := w.Desk.Claim(t.Context(), by, c.ID)
		c = must(t, c, err)
		_, err = w.Desk.Return(t.Context(), by, c.ID, " ")
		refusedWith(t, err, desk.RefusedExplain)
		before := len(w.Deliveries(t, "case", c.ID, ledger.ChannelCard))
		c, err = w.Desk.Return(t.Context(), by, c.ID, "正在别处抢修")
		c = must(t, c, err)
		if c.State != desk.StateDispatched || c.OwnerID != "" || !c.AcceptBy.After(w.Clock.Now()) {
			t.Errorf("state %s, owner %q, accept by %s", c.State, c.OwnerID, c.AcceptBy)
		}
		if got := queued(t, w, engineering); len(got) != 1 || got[0] != c.No {
			t.Errorf("queue %v", got)
		}
		if n := len(w.Deliveries(t, "case", c.ID, ledger.ChannelCard)); n != before+1 {
			t.Errorf("%d cards, want one more than %d", n, before)
		}
		_, err = w.Desk.Return(t.Context(), by, c.ID, "再来")
		refusedWith(t, err, desk.RefusedNotClaimed)
	})
}
