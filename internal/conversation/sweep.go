package conversation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"guanjia/internal/db"
)

// Spacing of the sweep's tries at one message, so that a message that always
// fails doesn't occupy it.
const (
	firstTries  = 3
	middleTries = 10
	middlePause = 30 * time.Second
	longPause   = 10 * time.Minute
)

// answeredAt is when the message of an unsettled row was answered. A scalar
// subquery and not a join, so that it stays one step into the primary key even
// in a plan that was made while answers was small.
const answeredAt = `(select a.answered_at from answers a where a.message_id = unsettled.message_id)`

// Unanswered hands out messages whose turn was begun longer than olderThan ago
// and that have no answer: the node died, or the turn failed. Handing out is a
// lease of olderThan (more after several tries), so that one node at a time
// works on a message; oldest first.
func (c *Conversations) Unanswered(ctx context.Context, olderThan time.Duration, limit int) ([]Message, error) {
	now := time.Now()
	w := c.db.Writer()
	claimed, err := idSet(w.QueryContext(ctx, `
		update unsettled
		set tries = tries + 1,
		    turn_at = case when tries < $3 then `+db.TimeParam(w, "$4")+`
		                   when tries < $5 then `+db.TimeParam(w, "$6")+`
		                   else `+db.TimeParam(w, "$7")+` end
		where message_id in (select message_id from unsettled where turn_at < $1 and `+answeredAt+` is null
		             order by turn_at limit $2`+db.SkipLocked(w)+`)
		returning message_id`,
		db.At(now.Add(-olderThan)), limit, firstTries, db.At(now), middleTries,
		db.At(now.Add(middlePause)), db.At(now.Add(longPause))))
	if err != nil {
		return nil, fmt.Errorf("claim unanswered messages: %w", err)
	}
	ms, err := c.some(ctx, w, slices.Collect(maps.Keys(claimed)))
	if err != nil {
		return nil, fmt.Errorf("read unanswered messages: %w", err)
	}
	return ms, nil
}

// TakeOver claims one message as Unanswered would, for the callback that sees a
// retry of a message whose first node has gone silent.
func (c *Conversations) TakeOver(ctx context.Context, messageID string, olderThan time.Duration) (bool, error) {
	now := time.Now()
	n, err := affected(c.db.ExecContext(ctx, `
		update unsettled set tries = tries + 1, turn_at = $3
		where message_id = $1 and turn_at < $2
		  and not exists (select 1 from answers a where a.message_id = unsettled.message_id)`,
		messageID, db.At(now.Add(-olderThan)), db.At(now)))
	if err != nil {
		return false, fmt.Errorf("take over message: %w", err)
	}
	return n > 0, nil
}

// LapsedExchangesTx moves answers that were meant for the exchange to the
// service carrier and returns them, when nobody has noted within olderThan that
// they were written: the node died between the commit and the last byte, and no
// retry came (architecture section 4). The caller plans their deliveries in the
// same transaction; oldest first.
func (c *Conversations) LapsedExchangesTx(ctx context.Context, tx *db.Tx, olderThan time.Duration, limit int) ([]Message, error) {
	before := db.At(time.Now().Add(-olderThan))
	lapsed, err := idSet(tx.QueryContext(ctx, `
		select message_id from unsettled
		where (select a.decided_at from answers a where a.message_id = unsettled.message_id and a.carrier = 'exchange'
		       and a.answered_at is not null and a.kind <> '') < $1
		order by turn_at limit $2`+db.SkipLocked(tx), before, limit))
	if err != nil {
		return nil, fmt.Errorf("find lapsed exchanges: %w", err)
	}
	var ms []Message
	if len(lapsed) > 0 {
		if ms, err = c.lapse(ctx, tx, slices.Collect(maps.Keys(lapsed))); err != nil {
			return nil, err
		}
	}
	// Whatever needs no exchange, but whose node died before it was settled.
	_, err = tx.ExecContext(ctx, `
		delete from unsettled
		where (select a.decided_at from answers a where a.message_id = unsettled.message_id
		       and a.answered_at is not null and (a.carrier = 'service' or a.kind = '')) < $1`, before)
	if err != nil {
		return nil, fmt.Errorf("settle answered messages: %w", err)
	}
	return ms, nil
}

// lapse gives answers to the service carrier and settles them: from now on the
// ledger is responsible.
func (c *Conversations) lapse(ctx context.Context, tx *db.Tx, ids []string) ([]Message, error) {
	_, err := tx.ExecContext(ctx, `update answers set carrier = 'service' where message_id `+db.InStrings(tx, "$1"),
		db.Strings(tx, ids))
	if err != nil {
		return nil, fmt.Errorf("end lapsed exchanges: %w", err)
	}
	_, err = tx.ExecContext(ctx, `delete from unsettled where message_id `+db.InStrings(tx, "$1"), db.Strings(tx, ids))
	if err != nil {
		return nil, fmt.Errorf("settle lapsed exchanges: %w", err)
	}
	ms, err := c.some(ctx, tx, ids)
	if err != nil {
		return nil, fmt.Errorf("read lapsed exchanges: %w", err)
	}
	return ms, nil
}
