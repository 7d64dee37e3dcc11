package desk

import (
	"context"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/wording"
)

// AppendTx adds what the resident said to his open case and shows it to the group.
func (d *Desk) AppendTx(ctx context.Context, tx *db.Tx, by By, c Case, text string) (Case, error) {
	return d.applyTx(ctx, tx, c, by, ActionAppend, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		err := d.groupTx(ctx, tx, *c, "group.resident_said", wording.Vars{"case_no": c.No, "text": truncate(text, 200)})
		return Event{Text: tidy(text)}, err
	})
}

// LocateTx completes a case with the home the resident names afterwards.
func (d *Desk) LocateTx(ctx context.Context, tx *db.Tx, by By, c Case, unitID, unit, text string) (Case, error) {
	return d.applyTx(ctx, tx, c, by, ActionAppend, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		if c.Unit == "" {
			c.UnitID, c.Unit = unitID, unit
		}
		err := d.groupTx(ctx, tx, *c, "group.resident_said", wording.Vars{"case_no": c.No, "text": truncate(text, 200)})
		return Event{Text: tidy(text)}, err
	})
}

// Files counts what came with a case besides words.
type Files struct{ Images, Voices int64 }

// FilesTx notes that the resident sent a picture or voice with his open case,
// and shows it to the group with the count of all that is there by now. Of
// several in a row the group hears once.
func (d *Desk) FilesTx(ctx context.Context, tx *db.Tx, by By, c Case, said string, f Files) (Case, error) {
	return d.applyTx(ctx, tx, c, by, ActionAppend, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		return Event{Text: tidy(said)}, d.filesTx(ctx, tx, *c, f)
	})
}

// filesPause lets several pictures in a row become one line in the group.
const filesPause = 3 * time.Second

func (d *Desk) filesTx(ctx context.Context, tx *db.Tx, c Case, f Files) error {
	files, err := FilesWords(d.book, f)
	if err != nil || files == "" {
		return err
	}
	vars := wording.Vars{"case_no": c.No, "files": files}
	if d.link != nil {
		vars["link"] = d.link(c.No)
	}
	text, err := d.book.Say("group.resident_files", vars)
	if err != nil {
		return err
	}
	groups, err := d.staff.GroupsOfQueue(ctx, tx, c.QueueID)
	if err != nil {
		return err
	}
	for _, g := range groups {
		_, err := d.ledger.PutTx(ctx, tx, ledger.New{
			CompanyID: c.CompanyID, Channel: ledger.ChannelGroup, AccountID: g.BotID, Address: g.ChatID, Lane: ledger.LaneCard, Class: ledger.ClassOther,
			Text: text, RefKind: "case_files", RefID: c.ID, RefRev: c.Version, Supersede: true, NotBefore: d.clock.Now().Add(filesPause),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// FilesWords says how many files there are, as a card and a line show it
// (附图片2张); empty for none.
func FilesWords(book *wording.Book, f Files) (string, error) {
	if f.Images == 0 && f.Voices == 0 {
		return "", nil
	}
	vars := wording.Vars{}
	if f.Images > 0 {
		vars["images"] = itoa(f.Images)
	}
	if f.Voices > 0 {
		vars["voices"] = itoa(f.Voices)
	}
	text, err := book.Say("card.files", vars)
	return text.String(), err
}

// UrgeTx presses an open case: the count and the priority rise, the group is
// told, those on duty are rung again for an emergency, and there is no second
// case. An unclaimed case moves up its queue.
func (d *Desk) UrgeTx(ctx context.Context, tx *db.Tx, by By, c Case, text string) (Case, error) {
	return d.applyTx(ctx, tx, c, by, ActionUrge, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		c.Urges++
		if rank := priorityRank(c.Priority); rank > priorityRank(PriorityHigh) {
			c.Priority = priorities[rank-1]
		}
		if c.Emergency() {
			if err := d.ringTx(ctx, tx, *c); err != nil {
				return Event{}, err
			}
		}
		err := d.groupTx(ctx, tx, *c, "group.urged", wording.Vars{"case_no": c.No, "count": itoa(c.Urges), "text": truncate(text, 100)})
		return Event{Text: tidy(text)}, err
	})
}

// SolvedTx records that the resident calls the problem solved and closes the case.
func (d *Desk) SolvedTx(ctx context.Context, tx *db.Tx, by By, c Case) (Case, error) {
	return d.applyTx(ctx, tx, c, by, ActionSolved, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		c.FollowUp, c.ClosedAt = FollowUpSolved, d.clock.Now()
		err := d.groupTx(ctx, tx, *c, "group.solved", wording.Vars{"case_no": c.No, "result": d.book.Label("follow_up", FollowUpSolved)})
		return Event{Text: FollowUpSolved}, err
	})
}

// NotSolvedTx opens a case again because the resident says that it is not, or
// only partly, solved.
func (d *Desk) NotSolvedTx(ctx context.Context, tx *db.Tx, by By, c Case, followUp string) (Case, error) {
	action := ActionNotSolved
	if followUp == FollowUpPartly {
		action = ActionPartly
	}
	return d.applyTx(ctx, tx, c, by, action, d.reopening(followUp))
}

func (d *Desk) reopen(ctx context.Context, by By, caseID, followUp string) (Case, error) {
	action := ActionNotSolved
	if followUp == FollowUpPartly {
		action = ActionPartly
	}
	return d.move(ctx, by, caseID, action, d.reopening(followUp))
}

func (d *Desk) reopening(followUp string) change {
	return func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		settings, _, err := d.settings(ctx, c.CompanyID)
		if err != nil {
			return Event{}, err
		}
		now := d.clock.Now()
		if !c.ClosedAt.IsZero() && now.Sub(c.ClosedAt) > settings.ReopenWindow {
			return Event{}, refuse(RefusedTooLate, "case_no", c.No)
		}
		c.FollowUp = followUp
		c.OwnerID, c.OwnerName = "", ""
		c.ClosedAt, c.HandledAt, c.EscalatedAt = time.Time{}, time.Time{}, time.Time{}
		if priorityRank(c.Priority) > priorityRank(PriorityHigh) {
			c.Priority = PriorityHigh // what comes back goes first
		}
		c.AcceptBy, c.PromisedAt = d.deadlines(settings, c.CompanyID, now, c.Priority)
		if err := d.cardsTx(ctx, tx, *c); err != nil {
			return Event{}, err
		}
		err = d.groupTx(ctx, tx, *c, "group.reopened", wording.Vars{"case_no": c.No, "text": d.book.Label("follow_up", followUp)})
		return Event{Text: followUp}, err
	}
}

// RateTx records the rating, 1 to 5. Rating a handled case also says that it is
// over, so it closes when the rating is 3 or more. A second rating replaces the
// first: people correct themselves.
func (d *Desk) RateTx(ctx context.Context, tx *db.Tx, by By, c Case, rating int, text string) (Case, error) {
	if rating < 1 || rating > 5 {
		return c, refuse(RefusedRating, "case_no", c.No)
	}
	if c.State == StateHandled && rating >= 3 {
		var err error
		if c, err = d.SolvedTx(ctx, tx, by, c); err != nil {
			return c, err
		}
	}
	return d.applyTx(ctx, tx, c, by, ActionRate, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		c.Rating, c.RatingText = rating, tidy(text)
		settings, _, err := d.settings(ctx, c.CompanyID)
		if err != nil {
			return Event{}, err
		}
		if rating <= settings.LowScore {
			// A person calls whoever is not satisfied; the answer says by when.
			_, c.PromisedAt = d.deadlines(settings, c.CompanyID, d.clock.Now(), PriorityHigh)
		}
		err = d.groupTx(ctx, tx, *c, "group.rated", wording.Vars{"case_no": c.No, "rating": d.book.Label("satisfaction", itoa(int64(rating))), "text": text})
		return Event{Text: itoa(int64(rating))}, err
	})
}

// WithdrawTx ends an open case because the resident takes it back. An emergency
// is not taken back by a word: a person looks first.
func (d *Desk) WithdrawTx(ctx context.Context, tx *db.Tx, by By, c Case, text string) (Case, error) {
	if c.Emergency() {
		return c, refuse(RefusedState, "case_no", c.No, "state", string(c.State))
	}
	return d.applyTx(ctx, tx, c, by, ActionWithdraw, func(ctx context.Context, tx *db.Tx, c *Case) (Event, error) {
		c.ClosedAt = d.clock.Now()
		err := d.groupTx(ctx, tx, *c, "group.withdrawn", wording.Vars{"case_no": c.No})
		return Event{Text: tidy(text)}, err
	})
}
