package conversation

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"guanjia/internal/db"
)

// GiveUpExchange ends the open exchange of a message whose turn isn't ready:
// won says that from now on the answer travels as a service message. Lost means
// that the turn has decided meanwhile; stored then carries the answer.
func (c *Conversations) GiveUpExchange(ctx context.Context, messageID string) (won bool, stored Message, err error) {
	n, err := affected(c.db.ExecContext(ctx, `
		insert into answers (message_id, carrier, decided_at, kind, body, options)
		select message_id, 'service', `+db.TimeParam(c.db, "$2")+`, '', '', '' from unsettled where message_id = $1
		on conflict (message_id) do nothing`,
		messageID, machineNow()))
	if err != nil {
		return false, Message{}, fmt.Errorf("give up the exchange: %w", err)
	}
	if n > 0 {
		return true, Message{}, nil
	}
	stored, err = c.Message(ctx, messageID)
	if err != nil {
		return false, Message{}, fmt.Errorf("give up the exchange: %w", err)
	}
	return false, stored, nil
}

// ExchangeDone notes that the answer of a message has been written into the
// open exchange, so that the sweep leaves it alone. It returns at once; the note
// is written with others within 10 ms, and again until it succeeds while the
// database is away.
func (c *Conversations) ExchangeDone(messageID string) { c.done.add(messageID) }

func (c *Conversations) flushDone(ctx context.Context, ids []string) error {
	_, err := c.db.ExecContext(ctx, `
		delete from unsettled where message_id `+db.InStrings(c.db, "$1")+`
		and `+answeredAt+` is not null`,
		db.Strings(c.db, ids))
	if err != nil {
		return fmt.Errorf("settle answered messages: %w", err)
	}
	return nil
}

const (
	doneLinger  = 10 * time.Millisecond
	doneRetry   = 250 * time.Millisecond
	doneTimeout = 5 * time.Second
	doneBatch   = 500
	// doneMost bounds the memory while the database is away; beyond it the
	// sweep answers by service message, better twice than never.
	doneMost = 100_000
)

// doneBuffer collects notes nobody waits for. Its goroutine lives only while
// there is something to write.
type doneBuffer struct {
	flush func(ctx context.Context, ids []string) error
	log   *slog.Logger

	mu      sync.Mutex
	ids     []string
	running bool
	stopped bool
	failing bool
	hurry   chan struct{} // closed by stop
	idle    chan struct{} // closed when the goroutine has ended after stop
}

func newDoneBuffer(flush func(ctx context.Context, ids []string) error, log *slog.Logger) *doneBuffer {
	return &doneBuffer{flush: flush, log: log, hurry: make(chan struct{}), idle: make(chan struct{})}
}

func (b *doneBuffer) add(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ids) >= doneMost || b.stopped {
		return
	}
	b.ids = append(b.ids, id)
	if !b.running {
		b.running = true
		go b.work()
	}
}

func (b *doneBuffer) work() {
	wait := doneLinger
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-b.hurry:
			timer.Stop()
		}
		ids := b.take()
		if ids == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), doneTimeout)
		err := b.flush(ctx, ids)
		cancel()
		b.note(err)
		wait = doneLinger
		if err != nil {
			wait = doneRetry
			if !b.putBack(ids) {
				return
			}
		}
	}
}

// take returns what is to be written, or nil and the end of the goroutine.
func (b *doneBuffer) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ids) == 0 {
		b.end()
		return nil
	}
	n := min(len(b.ids), doneBatch)
	ids := b.ids[:n:n]
	b.ids = b.ids[n:]
	return ids
}

// putBack keeps what could not be written, unless nobody will try again.
func (b *doneBuffer) putBack(ids []string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		b.end()
		return false
	}
	b.ids = append(ids, b.ids...)
	return true
}

func (b *doneBuffer) end() {
	b.running = false
	if b.stopped {
		close(b.idle)
	}
}

// note logs a failure when it begins and when it ends, not each time.
func (b *doneBuffer) note(err error) {
	switch {
	case err != nil && !b.failing:
		b.log.Warn("answered messages cannot be settled, trying again", slog.Any("error", err))
	case err == nil && b.failing:
		b.log.Info("answered messages are settled again")
	}
	b.failing = err != nil
}

func (b *doneBuffer) stop(ctx context.Context) error {
	b.mu.Lock()
	if !b.stopped {
		b.stopped = true
		close(b.hurry)
		if !b.running {
			close(b.idle)
		}
	}
	b.mu.Unlock()
	select {
	case <-b.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("settle answered messages: %w", ctx.Err())
	}
}
