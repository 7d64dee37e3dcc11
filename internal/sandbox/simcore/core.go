package simcore

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
)

// Clock is what the simulators need of a clock; internal/clock.Clock is one.
type Clock interface {
	Now() time.Time
	// Sleep returns when the clock has reached now+d or ctx ends.
	Sleep(ctx context.Context, d time.Duration) error
}

// Module is one vendor's simulator.
type Module interface {
	// Name is for log lines: wechat, wecom, sms.
	Name() string
	// LoadWorld starts afresh with this world; a *BadInput refuses it and
	// leaves the module as it was.
	LoadWorld(w World) error
	// WriteWorld puts the present state of what the module owns into w.
	WriteWorld(w *World)
	// Reset goes back to the start state, which is that of the last
	// LoadWorld, or to nothing at all.
	Reset(empty bool)
	// Routes adds the vendor's endpoints (below the vendor's host as first
	// path segment) and the /sim/ calls of the module.
	Routes(r chi.Router)
}

// Core is what all modules share.
type Core struct {
	Clock    Clock
	Log      *slog.Logger
	Faults   *Faults
	Counters *Counters
	Timers   *Timers

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
	mu   sync.Mutex
	done bool
}

// New makes a core; Stop ends what was started with Go and the timers.
func New(clk Clock, log *slog.Logger) *Core {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Core{
		Clock: clk, Log: log, Faults: &Faults{}, Counters: NewCounters(),
		ctx: ctx, stop: stop,
	}
	c.Timers = newTimers(c)
	return c
}

// Now is the simulated time.
func (c *Core) Now() time.Time { return c.Clock.Now() }

// Context ends when the simulators stop.
func (c *Core) Context() context.Context { return c.ctx }

// Go runs f beside the callers until Stop; false when already stopped.
func (c *Core) Go(f func(ctx context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return false
	}
	c.wg.Go(func() { f(c.ctx) })
	return true
}

// Stop ends all background work and waits for it, at most until ctx ends.
func (c *Core) Stop(ctx context.Context) error {
	c.mu.Lock()
	c.done = true
	c.mu.Unlock()
	c.stop()
	ended := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause waits on the machine's clock: latencies of a network are not moved
// by a simulated day.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Pause waits d on the machine's clock, or until ctx ends.
func (c *Core) Pause(ctx context.Context, d time.Duration) { pause(ctx, d) }
