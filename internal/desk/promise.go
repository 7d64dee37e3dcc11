package desk

import (
	"context"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// latestPromise is how far ahead a date may lie: what takes longer is a plan
// and no promise.
const latestPromise = 90 * 24 * time.Hour

// Promise tells the resident a new time by which the matter is done. A date
// that is put off, and all the more one that has passed, is explained to him in
// the same message, or there is no new one.
func (d *Desk) Promise(ctx context.Context, by By, caseID string, at time.Time, reason string) (Case, error) {
	reason = tidy(reason)
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	if err := d.authorize(ctx, d.db, by, staff.RightReply, c); err != nil {
		return Case{}, err
	}
	if err := d.mine(ctx, d.db, by, c); err != nil {
		return Case{}, err
	}
	now := d.clock.Now()
	if !at.After(now) || at.Sub(now) > latestPromise {
		return Case{}, &Refused{Code: RefusedPromise, Field: "at", Args: map[string]string{"case_no": c.No}}
	}
	if reason != "" {
		if err := d.book.Guard(reason); err != nil {
			return Case{}, heldBack(err, c, "reason")
		}
	}
	return d.move(ctx, by, caseID, ActionPromise, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		putOff := at.After(c.PromisedAt) || d.clock.Now().After(c.PromisedAt)
		if putOff && reason == "" {
			return Event{}, &Refused{Code: RefusedExplain, Field: "reason", Args: map[string]string{"case_no": c.No}}
		}
		c.PromisedAt = at
		key, vars := "case.promised", wording.Vars{"case_no": c.No, "promised": wording.When(at, d.clock.Now()), "staff": c.OwnerName}
		if reason != "" {
			key, vars["reason"] = "case.promise_moved", reason
		}
		text, err := d.book.Say(key, vars)
		if err != nil {
			return Event{}, err
		}
		id, err := d.tellTx(ctx, tx, *c, text, telling{class: ledger.ClassReply, by: by.Name})
		if err != nil {
			return Event{}, err
		}
		if by.Via != "group" {
			vars := wording.Vars{"case_no": c.No, "staff": by.Name, "promised": wording.When(at, d.clock.Now())}
			if err := d.groupTx(ctx, tx, *c, "group.promised", vars); err != nil {
				return Event{}, err
			}
		}
		said := wording.When(at, now)
		if reason != "" {
			said += ": " + reason
		}
		return Event{Text: said, DeliveryID: id}, nil
	})
}

// Return gives a case back to its queue, with a reason, for another colleague
// to accept.
func (d *Desk) Return(ctx context.Context, by By, caseID, reason string) (Case, error) {
	reason = tidy(reason)
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	if reason == "" {
		return Case{}, &Refused{Code: RefusedExplain, Field: "reason", Args: map[string]string{"case_no": c.No}}
	}
	if err := d.authorize(ctx, d.db, by, staff.RightTransfer, c); err != nil {
		return Case{}, err
	}
	if err := d.mine(ctx, d.db, by, c); err != nil {
		return Case{}, err
	}
	settings, _, err := d.settings(ctx, by.CompanyID)
	if err != nil {
		return Case{}, err
	}
	return d.move(ctx, by, caseID, ActionReturn, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		c.OwnerID, c.OwnerName = "", ""
		c.AcceptBy, _ = d.deadlines(settings, c.CompanyID, d.clock.Now(), c.Priority)
		c.EscalatedAt = time.Time{}
		if err := d.cardsTx(ctx, tx, *c); err != nil {
			return Event{}, err
		}
		if by.Via == "group" {
			return Event{Text: reason}, nil
		}
		return Event{Text: reason}, d.groupTx(ctx, tx, *c, "group.returned", wording.Vars{"case_no": c.No, "staff": by.Name, "reason": truncate(reason, 100)})
	})
}
