package conversation

import (
	"context"
	"log/slog"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/db"
)

// Options tune Conversations; the zero value suits production.
type Options struct {
	// Limits are the platform's allowances of service messages by trigger; nil
	// means DefaultLimits. They have changed more than once.
	Limits map[string]Limit
	// Batch is the most rows one statement carries; 0 means 128.
	Batch int
}

// Conversations is the room's store. It is safe for many callers at once;
// Receive, SaveChat and ExchangeDone share statements among them.
type Conversations struct {
	db     *db.DB
	clk    clock.Clock
	log    *slog.Logger
	limits map[string]Limit

	receive *db.Batcher[Inbound, received]
	chat    *db.Batcher[Turn, chatSaved]
	done    *doneBuffer
	known   *idCache

	sessions *sessionCache
}

const defaultBatch = 128

// New returns the store. Close it to flush what is buffered.
func New(d *db.DB, clk clock.Clock, log *slog.Logger, o Options) *Conversations {
	if o.Batch <= 0 {
		o.Batch = defaultBatch
	}
	if o.Limits == nil {
		o.Limits = DefaultLimits()
	}
	c := &Conversations{db: d, clk: clk, log: log, limits: o.Limits, known: newIDCache(knownConversations), sessions: newSessionCache(knownSessions)}
	c.receive = db.NewBatcher(o.Batch, 0, c.receiveBatch)
	c.chat = db.NewBatcher(o.Batch, 0, c.saveChatBatch)
	c.done = newDoneBuffer(c.flushDone, log)
	return c
}

// Close writes what is buffered. Receive and SaveChat refuse afterwards; what
// ExchangeDone could not write until ctx ends is left to the sweep.
func (c *Conversations) Close(ctx context.Context) error {
	c.receive.Stop()
	c.chat.Stop()
	return c.done.stop(ctx)
}

// machineNow is for leases only; see the package comment.
func machineNow() db.Time { return db.At(time.Now()) }
