package db

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrStopped is returned by Do after Stop.
var ErrStopped = errors.New("db: batcher is stopped")

// Batcher is a group commit: callers that want to write one row each at the
// same time share one statement. A batch starts as soon as the previous one
// has finished, so that a lone caller doesn't wait and a crowd is bundled by
// the time the database takes.
type Batcher[T, R any] struct {
	max    int
	linger time.Duration
	run    func(ctx context.Context, items []T) ([]R, error)

	mu      sync.Mutex
	waiting []*call[T, R]
	running bool
	stopped bool
	full    chan struct{} // signalled when a lingering batch has become full
	idle    chan struct{} // closed when stopped and nothing runs any more
}

type call[T, R any] struct {
	ctx  context.Context
	item T
	res  R
	err  error
	done chan struct{}
}

// NewBatcher returns a batcher that calls run with 1 to max items. run returns
// one result for each item, in order, or an error for all of them; an error
// that concerns one item belongs into its result. A linger above 0 lets a
// batch that isn't full wait that long for more; 0 suits nearly everything.
func NewBatcher[T, R any](max int, linger time.Duration, run func(ctx context.Context, items []T) ([]R, error)) *Batcher[T, R] {
	if max < 1 {
		max = 1
	}
	return &Batcher[T, R]{max: max, linger: linger, run: run, full: make(chan struct{}, 1), idle: make(chan struct{})}
}

// Do hands item over and waits for its result or for the end of ctx. When ctx
// ends while the batch is under way, the item may have been written all the
// same. The batch itself ends with the last of its callers.
func (b *Batcher[T, R]) Do(ctx context.Context, item T) (R, error) {
	var none R
	if InTransaction(ctx) {
		return none, ErrNestedTx
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	c := &call[T, R]{ctx: ctx, item: item, done: make(chan struct{})}
	b.mu.Lock()
	if b.stopped {
		b.mu.Unlock()
		return none, ErrStopped
	}
	b.waiting = append(b.waiting, c)
	if len(b.waiting) >= b.max {
		select {
		case b.full <- struct{}{}:
		default:
		}
	}
	if !b.running {
		b.running = true
		go b.work()
	}
	b.mu.Unlock()

	select {
	case <-c.done:
		return c.res, c.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// Stop refuses new items and returns when those handed over are written.
func (b *Batcher[T, R]) Stop() {
	b.mu.Lock()
	if !b.stopped {
		b.stopped = true
		if !b.running {
			close(b.idle)
		}
	}
	b.mu.Unlock()
	<-b.idle
}

// work runs batches until nobody waits.
func (b *Batcher[T, R]) work() {
	for {
		b.wait()
		batch := b.take()
		if batch == nil {
			return
		}
		b.runBatch(batch)
	}
}

// wait lets a batch fill up, when a linger is set.
func (b *Batcher[T, R]) wait() {
	if b.linger <= 0 {
		return
	}
	b.mu.Lock()
	enough := len(b.waiting) >= b.max || len(b.waiting) == 0 || b.stopped
	b.mu.Unlock()
	if enough {
		return
	}
	timer := time.NewTimer(b.linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.full:
	}
}

// take returns the next batch without those whose callers have gone, or nil
// (and the worker's end) when there is none.
func (b *Batcher[T, R]) take() []*call[T, R] {
	b.mu.Lock()
	defer b.mu.Unlock()
	var batch []*call[T, R]
	for len(b.waiting) > 0 && len(batch) < b.max {
		c := b.waiting[0]
		b.waiting[0] = nil
		b.waiting = b.waiting[1:]
		if c.ctx.Err() != nil {
			continue // its Do has returned
		}
		batch = append(batch, c)
	}
	if len(batch) > 0 {
		return batch
	}
	b.waiting = nil
	b.running = false
	if b.stopped {
		close(b.idle)
	}
	return nil
}

func (b *Batcher[T, R]) runBatch(batch []*call[T, R]) {
	items := make([]T, len(batch))
	for i, c := range batch {
		items[i] = c.item
	}
	ctx, cancel := together(batch)
	defer cancel()
	results, err := b.guarded(ctx, items)
	if err == nil && len(results) != len(items) {
		err = fmt.Errorf("db: batch of %d items gave %d results", len(items), len(results))
	}
	for i, c := range batch {
		if err != nil {
			c.err = err
		} else {
			c.res = results[i]
		}
		close(c.done)
	}
}

// guarded turns a panic of run into an error: it would otherwise kill the
// program from a goroutine whose callers could have handled it.
func (b *Batcher[T, R]) guarded(ctx context.Context, items []T) (_ []R, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("db: batch panicked: %v", p)
		}
	}()
	return b.run(ctx, items)
}

// together returns a context with the values of the first caller's that ends
// when every caller has gone.
func together[T, R any](batch []*call[T, R]) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(batch[0].ctx))
	var (
		mu   sync.Mutex
		left = len(batch)
	)
	stops := make([]func() bool, len(batch))
	for i, c := range batch {
		stops[i] = context.AfterFunc(c.ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
