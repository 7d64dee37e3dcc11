package desk

import (
	"context"
	"slices"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// Draft keeps a reply that its writer may not send himself (R-093: a trainee
// drafts, never sends) and shows it to his colleagues, one of whom sends it
// (Approve) or says why not (Reject). A newer draft stands for the older one.
func (d *Desk) Draft(ctx context.Context, by By, caseID, text string) (Case, error) {
	text = tidy(text)
	if text == "" {
		return Case{}, &Refused{Code: RefusedText, Field: "text"}
	}
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	if err := d.authorize(ctx, d.db, by, staff.RightNote, c); err != nil {
		return Case{}, err
	}
	// The guard speaks to whoever wrote the words, not to whoever approves them.
	if err := d.book.Guard(text); err != nil {
		return Case{}, heldBack(err, c, "text")
	}
	return d.move(ctx, by, caseID, ActionDraft, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		if by.Via == "group" {
			return Event{Text: text}, nil // shown there by the answer
		}
		return Event{Text: text}, d.groupTx(ctx, tx, *c, "group.draft", wording.Vars{"case_no": c.No, "staff": by.Name, "text": truncate(text, 300)})
	})
}

// Approve sends the draft that waits, signed by who wrote it. The case is the
// approver's if it was nobody's.
func (d *Desk) Approve(ctx context.Context, by By, caseID string) (c Case, hold time.Duration, err error) {
	draft, err := d.pending(ctx, by, caseID)
	if err != nil {
		return Case{}, 0, err
	}
	return d.send(ctx, by, caseID, saying{action: ActionApprove, text: draft.Text, name: draft.By, check: func(ctx context.Context, tx *db.Tx) error {
		return d.stillWaits(ctx, tx, caseID, draft)
	}})
}

// Reject lays the draft that waits aside, with a reason for its writer.
func (d *Desk) Reject(ctx context.Context, by By, caseID, reason string) (Case, error) {
	reason = tidy(reason)
	draft, err := d.pending(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Case{}, err
	}
	if err := d.authorize(ctx, d.db, by, staff.RightReply, c); err != nil {
		return Case{}, err
	}
	return d.move(ctx, by, caseID, ActionReject, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		if err := d.stillWaits(ctx, tx, caseID, draft); err != nil {
			return Event{}, err
		}
		if by.Via == "group" {
			return Event{Text: reason}, nil
		}
		return Event{Text: reason}, d.groupTx(ctx, tx, *c, "group.draft_refused",
			wording.Vars{"case_no": c.No, "staff": by.Name, "reason": truncate(reason, 100)})
	})
}

// pending gives the draft that waits for a colleague.
func (d *Desk) pending(ctx context.Context, by By, caseID string) (Event, error) {
	c, err := d.read(ctx, by, caseID)
	if err != nil {
		return Event{}, err
	}
	all, err := d.Events(ctx, caseID)
	if err != nil {
		return Event{}, err
	}
	draft, ok := PendingDraft(all)
	if !ok {
		return Event{}, refuse(RefusedNoDraft, "case_no", c.No)
	}
	return draft, nil
}

// stillWaits refuses a draft that a colleague has meanwhile sent or laid aside,
// or for which a newer one stands: nobody approves words that he has not read.
func (d *Desk) stillWaits(ctx context.Context, tx *db.Tx, caseID string, draft Event) error {
	all, err := events(ctx, tx, caseID)
	if err != nil {
		return err
	}
	if now, ok := PendingDraft(all); !ok || now.Seq != draft.Seq {
		return refuse(RefusedNoDraft)
	}
	return nil
}

// PendingDraft finds the draft in a history that waits to be approved.
func PendingDraft(history []Event) (Event, bool) {
	for _, e := range slices.Backward(history) {
		switch Action(e.Kind) {
		case ActionDraft:
			return e, true
		case ActionApprove, ActionReject:
			return Event{}, false
		}
	}
	return Event{}, false
}
