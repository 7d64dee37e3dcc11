package conversation

import (
	"context"
	"fmt"
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

// Unanswered hands out messages whose turn was begun longer than olderThan ago
// and that have no answer: the node died, or the turn failed. Handing out is a
// lease of olderThan (more after several tries), so that one node at a time
// works on a message; oldest first.
func (c *Conversations) Unanswered(ctx context.Context, olderThan time.Duration, limit int) ([]Message, error) {
	now := time.Now()
	w := c.db.Writer()
	ms, err := collect(w.QueryContext(ctx, `
		update messages
		set tries = tries + 1,
		    turn_at = case when tries < $3 then `+db.TimeParam(w, "$4")+`
		                   when tries < $5 then `+db.TimeParam(w, "$6")+`
		                   else `+db.TimeParam(w, "$7")+` end
		where id in (select id from messages where answered_at is null and turn_at < $1
		             order by turn_at limit $2`+db.SkipLocked(w)+`)
		returning `+storedColumns,
		db.At(now.Add(-olderThan)), limit, firstTries, db.At(now), middleTries,
		db.At(now.Add(middlePause)), db.At(now.Add(longPause))))
	if err != nil {
		return nil, fmt.Errorf("claim unanswered messages: %w", err)
	}
	slices.SortStableFunc(ms, func(a, b Message) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
	return ms, nil
}

// TakeOver claims one message as Unanswered would, for the callback that sees a
// retry of a message whose first node has gone silent.
func (c *Conversations) TakeOver(ctx context.Context, messageID string, olderThan time.Duration) (bool, error) {
	now := time.Now()
	n, err := affected(c.db.ExecContext(ctx, `
		update messages set tries = tries + 1, turn_at = $3
		where id = $1 and answered_at is null and carrier is null and turn_at < $2`,
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
	now := time.Now()
	ms, err := collect(tx.QueryContext(ctx, `
		update messages set carrier = 'service', decided_at = $3
		where id in (select id from messages
		             where carrier = 'exchange' and answered_at is not null and not exchange_done and decided_at < $1
		             order by decided_at limit $2`+db.SkipLocked(tx)+`)
		  and carrier = 'exchange' and not exchange_done
		returning `+storedColumns,
		db.At(now.Add(-olderThan)), limit, db.At(now)))
	if err != nil {
		return nil, fmt.Errorf("take lapsed exchanges: %w", err)
	}
	slices.SortStableFunc(ms, func(a, b Message) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
	return ms, nil
}
