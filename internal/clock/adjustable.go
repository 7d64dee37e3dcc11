package clock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrBackwards is returned for an attempt to turn a clock back: timers that
// have fired cannot be unfired, and the job engine would start running work
// again.
var ErrBackwards = errors.New("clock: cannot be turned back")

// Adjustable is a running clock with an offset that can be moved forwards. It
// serves `demo --now` and `POST /sim/clock`. The zero value is not usable, see
// NewAdjustable.
type Adjustable struct {
	advancing sync.Mutex // one Advance at a time, so that hooks see one order

	mu     sync.Mutex
	offset time.Duration
	moved  chan struct{} // closed and replaced at each move
	hooks  []hook
}

type hook struct {
	name string
	f    func(ctx context.Context, d time.Duration) error
}

// NewAdjustable returns a clock that shows start now and runs on from there.
// The zero time means the machine's time.
func NewAdjustable(start time.Time) *Adjustable {
	a := &Adjustable{moved: make(chan struct{})}
	if !start.IsZero() {
		// time.Until uses the wall clock here, since start carries no
		// monotonic reading.
		a.offset = time.Until(start.Round(0))
	}
	return a
}

// Now returns the machine's time plus the offset, in UTC.
func (a *Adjustable) Now() time.Time {
	a.mu.Lock()
	offset := a.offset
	a.mu.Unlock()
	return time.Now().Add(offset).UTC()
}

// Sleep implements Clock.
func (a *Adjustable) Sleep(ctx context.Context, d time.Duration) error {
	until := a.Now().Add(d)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		left, moved := a.left(until)
		if left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-moved:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// left tells how long until t, together with the channel that closes when the
// clock is moved; both of the same moment, so that no move is missed.
func (a *Adjustable) left(t time.Time) (time.Duration, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return t.Sub(time.Now().Add(a.offset)), a.moved
}

// OnAdvance registers what must happen when the clock is moved: restart the
// job engine, let stored time-outs lapse, wait for what became due. Hooks run
// one after another in the order of registration; name appears in errors.
func (a *Adjustable) OnAdvance(name string, f func(ctx context.Context, d time.Duration) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hooks = append(a.hooks, hook{name: name, f: f})
}

// Advance moves the clock forwards by d, wakes whoever sleeps, then runs the
// hooks in order and returns when all have returned. All hooks run even when
// one fails; their errors are joined. A negative d is ErrBackwards.
func (a *Adjustable) Advance(ctx context.Context, d time.Duration) error {
	if d < 0 {
		return ErrBackwards
	}
	a.advancing.Lock()
	defer a.advancing.Unlock()

	a.mu.Lock()
	a.offset += d
	close(a.moved)
	a.moved = make(chan struct{})
	hooks := append([]hook(nil), a.hooks...)
	a.mu.Unlock()

	var errs []error
	for _, h := range hooks {
		if err := h.f(ctx, d); err != nil {
			errs = append(errs, fmt.Errorf("clock advanced by %s, %s: %w", d, h.name, err))
		}
	}
	return errors.Join(errs...)
}
