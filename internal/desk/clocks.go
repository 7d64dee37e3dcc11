package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/wording"
)

// JobClocks is the duty that looks after overdue acceptances. It inserts its
// own successor, so the chain lives in the database and follows a moved clock.
const JobClocks = "desk.clocks"

// clocksEvery is how often overdue acceptances are looked for.
const clocksEvery = time.Minute

// escalateBatch bounds one run; the rest follows in the next.
const escalateBatch = 100

// EnsureClocks starts the chain of JobClocks if it does not live.
func (d *Desk) EnsureClocks(ctx context.Context, runner *jobs.Runner) error {
	return d.db.InTx(ctx, "desk.ensure_clocks", func(ctx context.Context, tx *db.Tx) error {
		return runner.PutTx(ctx, tx, d.nextClocks())
	})
}

func (d *Desk) nextClocks() jobs.Job {
	at := d.clock.Now().Add(clocksEvery).Truncate(clocksEvery)
	return jobs.Job{Kind: JobClocks, RunAt: at, UniqueKey: at.UTC().Format(time.RFC3339)}
}

// RunClocks escalates cases that nobody accepted in time and
// inserts its successor.
func (d *Desk) RunClocks(runner *jobs.Runner) jobs.Handler {
	return func(ctx context.Context, _ json.RawMessage) error {
		due, err := queryCases(ctx, d.db, `SELECT `+caseColumns+` FROM cases
			WHERE accept_by <= $1 AND state IN ('dispatched', 'reopened') AND escalated_at IS NULL ORDER BY accept_by LIMIT $2`,
			db.At(d.clock.Now()), escalateBatch)
		if err != nil {
			return err
		}
		var failed error
		for _, c := range due {
			if err := d.escalate(ctx, c); err != nil {
				failed = errors.Join(failed, err)
			}
		}
		err = d.db.InTx(ctx, "desk.next_clocks", func(ctx context.Context, tx *db.Tx) error {
			return runner.PutTx(ctx, tx, d.nextClocks())
		})
		return errors.Join(failed, err)
	}
}

// escalate raises a case that stood too long, once, and rings those on duty.
func (d *Desk) escalate(ctx context.Context, c Case) error {
	by := By{CompanyID: c.CompanyID, Via: "system"}
	_, err := d.move(ctx, by, c.ID, ActionEscalate, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		// Another node may have been faster, or a member have accepted.
		if !c.State.Waiting() || !c.EscalatedAt.IsZero() {
			return Event{}, refuse(RefusedState)
		}
		if rank := priorityRank(c.Priority); rank > priorityRank(PriorityHigh) {
			c.Priority = priorities[rank-1]
		}
		c.EscalatedAt = d.clock.Now()
		if err := d.ringTx(ctx, tx, *c); err != nil {
			return Event{}, err
		}
		return Event{}, d.groupTx(ctx, tx, *c, "group.overdue", wording.Vars{"case_no": c.No, "what": d.what(*c), "bot": d.botName(ctx, c.CompanyID)})
	})
	var refused *Refused
	if errors.As(err, &refused) {
		return nil
	}
	return err
}

// UndeliveredTx tells the group that words to the resident did not arrive by
// any way, so that a person calls. The ledger calls it in the
// transaction that ends a delivery (ledger.FinalFunc).
func (d *Desk) UndeliveredTx(ctx context.Context, tx *db.Tx, del ledger.Delivery) error {
	if del.RefKind != "case" || del.Reached() || del.NextID != "" || (del.Class != ledger.ClassReply && del.Class != ledger.ClassDanger) {
		return nil
	}
	if del.Channel == ledger.ChannelWebhook || del.State == ledger.Cancelled || del.State == ledger.Skipped {
		return nil
	}
	// The row is locked before it is read: a listener that fails is not run
	// again, so this move must not lose a race.
	if _, err := tx.ExecContext(ctx, `UPDATE cases SET version = version WHERE id = $1`, del.RefID); err != nil {
		return fmt.Errorf("desk: lock case: %w", err)
	}
	c, err := oneCase(ctx, tx, `id = $1 AND company_id = $2`, del.RefID, del.CompanyID)
	if errors.Is(err, ErrNotFound) {
		return nil // not ours
	}
	if err != nil {
		return err
	}
	by := By{CompanyID: del.CompanyID, Via: "system"}
	_, err = d.applyTx(ctx, tx, c, by, ActionUndeliver, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		err := d.groupTx(ctx, tx, *c, "group.not_delivered", wording.Vars{"case_no": c.No, "reason": d.book.Label("delivery", string(del.State))})
		return Event{Text: string(del.State), DeliveryID: del.ID}, err
	})
	return err
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
