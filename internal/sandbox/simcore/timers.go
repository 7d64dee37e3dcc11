package simcore

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Timers runs functions when the simulated clock reaches a moment. One
// goroutine waits for the next moment, whatever the number of timers; each
// due function runs in a goroutine of its own. Settle answers when all that
// was due has run, which lets a moved clock be observed.
type Timers struct {
	core *Core

	mu      sync.Mutex
	queue   timerQueue
	seq     uint64
	running int
	idle    chan struct{} // closed when running falls to zero; nil while nobody waits
	waiting bool          // the waiting goroutine lives
	cancel  context.CancelFunc
}

type timer struct {
	at  time.Time
	seq uint64
	f   func(ctx context.Context)
}

type timerQueue []*timer

func (q timerQueue) Len() int { return len(q) }
func (q timerQueue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q timerQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *timerQueue) Push(x any)   { *q = append(*q, x.(*timer)) }
func (q *timerQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}

func newTimers(c *Core) *Timers { return &Timers{core: c} }

// After runs f once the simulated clock has gone on by d.
func (t *Timers) After(d time.Duration, f func(ctx context.Context)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq++
	it := &timer{at: t.core.Now().Add(d), seq: t.seq, f: f}
	heap.Push(&t.queue, it)
	if t.queue[0] != it {
		return
	}
	if t.waiting {
		t.cancel() // wait for the earlier moment instead
		return
	}
	t.waiting = t.core.Go(t.wait)
	t.cancel = func() {}
}

// Clear forgets all timers that have not started.
func (t *Timers) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = nil
}

// Len is the number of timers that have not started.
func (t *Timers) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue)
}

func (t *Timers) wait(ctx context.Context) {
	for {
		t.mu.Lock()
		t.startDue()
		if len(t.queue) == 0 || ctx.Err() != nil {
			t.waiting = false
			t.mu.Unlock()
			return
		}
		d := t.queue[0].at.Sub(t.core.Now())
		nap, cancel := context.WithCancel(ctx)
		t.cancel = cancel
		t.mu.Unlock()
		// Its error only says that an earlier timer came or that all ends.
		_ = t.core.Clock.Sleep(nap, d)
		cancel()
	}
}

// startDue starts everything whose moment has come; t.mu is held.
func (t *Timers) startDue() {
	now := t.core.Now()
	for len(t.queue) > 0 && !t.queue[0].at.After(now) {
		it := heap.Pop(&t.queue).(*timer)
		t.running++
		started := t.core.Go(func(ctx context.Context) {
			defer t.ended()
			it.f(ctx)
		})
		if !started {
			t.running--
		}
	}
}

func (t *Timers) ended() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	if t.running == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// Settle starts what is due by now and answers when nothing due is left
// unfinished, or with the error of ctx.
func (t *Timers) Settle(ctx context.Context) error {
	for {
		t.mu.Lock()
		t.startDue()
		if t.running == 0 {
			t.mu.Unlock()
			return nil
		}
		if t.idle == nil {
			t.idle = make(chan struct{})
		}
		idle := t.idle
		t.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
