package bot

import (
	"context"
	"fmt"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/wording"
)

// Sweep times. A message without an answer is looked at once the platform's own
// retries are over; an answer whose exchange broke is sent as a service message
// when no retry came for it (architecture section 4, passive reply).
const (
	sweepEvery    = time.Second
	sweepAge      = 6 * time.Second
	lapsedAge     = 20 * time.Second
	sweepBatch    = 100
	sweepDeadline = 30 * time.Second
)

// Resume answers, until ctx ends, what was stored and never answered: a crash
// between storing and answering, a turn over its budget, a replayed spool.
func (e *Engine) Resume(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var last string
	for {
		err := e.Sweep(ctx)
		if msg := fmt.Sprint(err); err != nil && ctx.Err() == nil && msg != last {
			e.Log.ErrorContext(ctx, "sweep of unanswered messages failed", "error", err)
			last = msg
		} else if err == nil {
			last = ""
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Sweep is one pass of Resume.
func (e *Engine) Sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepDeadline)
	defer cancel()
	unanswered, err := e.Conversations.Unanswered(ctx, sweepAge, sweepBatch)
	if err != nil {
		return err
	}
	for _, m := range unanswered {
		if _, _, err := e.Turn(ctx, m, false); err != nil {
			e.Log.ErrorContext(ctx, "message could not be answered afterwards", "message", m.ID, "tries", m.Tries, "error", err)
		}
	}
	return e.sendLapsed(ctx)
}

// sendLapsed puts answers whose exchange broke into the ledger.
func (e *Engine) sendLapsed(ctx context.Context) error {
	return e.DB.InTx(ctx, "bot.lapsed", func(ctx context.Context, tx *db.Tx) error {
		lapsed, err := e.Conversations.LapsedExchangesTx(ctx, tx, lapsedAge, sweepBatch)
		if err != nil {
			return err
		}
		for _, m := range lapsed {
			if m.Answer.Empty() {
				continue
			}
			text, err := wording.Stored("stored", m.Answer.Text)
			if err != nil {
				return fmt.Errorf("bot: stored answer: %w", err)
			}
			if err := e.deliverTx(ctx, tx, m, reply{text: text, options: m.Answer.Options}); err != nil {
				return err
			}
		}
		return nil
	})
}
