package desk_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/db"
	"guanjia/internal/desk"
)

// TestRandomLives lets staff, residents and the clock do anything in any order
// to one case after another. Whatever is refused leaves no trace; whatever is
// done keeps row, events and queue in agreement.
func TestRandomLives(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	members := []string{"zhangwei", "liqiang", "wangtao", "yangguang", "wuxiao", "liumin"}
	queues := []string{"queue-engineering", "queue-customer_service", "queue-environment", "queue-order_security"}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		c := open(t, w, n%200, nil)
		resident := desk.By{CompanyID: sample.CompanyID, Via: "wechat", Resident: true}
		inTx := func(f func(ctx context.Context, tx *db.Tx, c desk.Case) error) error {
			return w.DB.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error { return f(ctx, tx, c) })
		}
		steps := rapid.IntRange(1, 14).Draw(rt, "steps")
		for range steps {
			by := w.As(t, rapid.SampledFrom(members).Draw(rt, "who"))
			action := rapid.SampledFrom([]string{"claim", "reply", "note", "assign", "transfer", "handle", "close", "recall",
				"append", "urge", "solved", "not solved", "rate", "withdraw"}).Draw(rt, "action")
			var err error
			switch action {
			case "claim":
				_, err = w.Desk.Claim(t.Context(), by, c.ID)
			case "reply":
				_, _, err = w.Desk.Reply(t.Context(), by, c.ID, "师傅十分钟到")
			case "note":
				_, err = w.Desk.Note(t.Context(), by, c.ID, "看过了")
			case "assign":
				_, err = w.Desk.Assign(t.Context(), by, c.ID, rapid.SampledFrom(members).Draw(rt, "to"))
			case "transfer":
				_, err = w.Desk.Transfer(t.Context(), by, c.ID, rapid.SampledFrom(queues).Draw(rt, "queue"), "不是我们的")
			case "handle":
				_, err = w.Desk.Handle(t.Context(), by, c.ID, "修好了")
			case "close":
				_, err = w.Desk.Close(t.Context(), by, c.ID, rapid.SampledFrom([]string{"solved", "partly", "not_solved", "unreachable"}).Draw(rt, "result"))
			case "recall":
				_, err = w.Desk.Recall(t.Context(), by, c.ID)
			case "append":
				err = inTx(func(ctx context.Context, tx *db.Tx, c desk.Case) error {
					_, err := w.Desk.AppendTx(ctx, tx, resident, c, "还有阳台")
					return err
				})
			case "urge":
				err = inTx(func(ctx context.Context, tx *db.Tx, c desk.Case) error {
					_, err := w.Desk.UrgeTx(ctx, tx, resident, c, "怎么还没来")
					return err
				})
			case "solved":
				err = inTx(func(ctx context.Context, tx *db.Tx, c desk.Case) error {
					_, err := w.Desk.SolvedTx(ctx, tx, resident, c)
					return err
				})
			case "not solved":
				err = inTx(func(ctx context.Context, tx *db.Tx, c desk.Case) error {
					_, err := w.Desk.NotSolvedTx(ctx, tx, resident, c, desk.FollowUpNotSolved)
					return err
				})
			case "rate":
				err = inTx(func(ctx context.Context, tx *db.Tx, c desk.Case) error {
					_, err := w.Desk.RateTx(ctx, tx, resident, c, rapid.IntRange(1, 5).Draw(rt, "rating"), "")
					return err
				})
			case "withdraw":
				err = inTx(func(ctx context.Context, tx *db.Tx, c desk.Case) error {
					_, err := w.Desk.WithdrawTx(ctx, tx, resident, c, "取消")
					return err
				})
			}
			var refused *desk.Refused
			if err != nil && !errors.As(err, &refused) {
				rt.Fatalf("%s by %s: %v", action, by.UserID, err)
			}
			before := c
			c = latest(t, w, c)
			if err != nil && action != "reply" && c.Version != before.Version { // a reply claims on its way
				rt.Fatalf("%s was refused (%v) and moved the case to version %d", action, err, c.Version)
			}
			checkCase(rt, t, w, c)
		}
	})
}

func checkCase(rt *rapid.T, t *testing.T, w *worldtest.World, c desk.Case) {
	events, err := w.Desk.Events(t.Context(), c.ID)
	if err != nil {
		rt.Fatal(err)
	}
	if c.Version != int64(len(events)) {
		rt.Fatalf("version %d, %d events", c.Version, len(events))
	}
	// The state follows from the events alone.
	state := desk.StateDispatched
	for _, e := range events[1:] {
		to, ok := desk.Next(desk.Action(e.Kind), state)
		if !ok {
			rt.Fatalf("event %s in state %s", e.Kind, state)
		}
		state = to
	}
	if state != c.State {
		rt.Fatalf("row says %s, the events %s", c.State, state)
	}
	switch {
	case c.State.InHand() && c.OwnerID == "":
		rt.Fatalf("%s without an owner", c.State)
	case c.State == desk.StateReopened && c.OwnerID != "":
		rt.Fatalf("reopened in the hands of %s", c.OwnerID)
	case c.State == desk.StateClosed && (c.Measures == "" || c.FollowUp == ""):
		rt.Fatalf("closed with measures %q and follow-up %q", c.Measures, c.FollowUp)
	case c.State == desk.StateHandled && c.Measures == "":
		rt.Fatal("handled without measures")
	}
	// Redis and rows agree: it waits where the row says, once, or nowhere.
	for _, q := range w.Sample.Queues {
		listed, _, err := w.Queues.List(t.Context(), sample.CompanyID, q.ID, 1000)
		if err != nil {
			rt.Fatal(err)
		}
		waits := c.State.Waiting() && c.OwnerID == "" && c.QueueID == q.ID
		if got := slices.Contains(listed, c.ID); got != waits {
			rt.Fatalf("%s: listed in Redis %t, row says %s owner %q queue %s", q.ID, got, c.State, c.OwnerID, c.QueueID)
		}
	}
}
