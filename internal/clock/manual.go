package clock

import (
	"context"
	"sync"
	"time"
)

// Manual is a clock that stands still until it is moved. It is for tests.
type Manual struct {
	mu       sync.Mutex
	now      time.Time
	moved    chan struct{} // closed and replaced at each move
	sleepers int
	changed  chan struct{} // closed and replaced when sleepers changes
}

// NewManual returns a clock that shows start until it is moved.
func NewManual(start time.Time) *Manual {
	return &Manual{
		now:     start.Round(0).UTC(),
		moved:   make(chan struct{}),
		changed: make(chan struct{}),
	}
}

// Now implements Clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Set moves the clock to t, which may lie in the past, and wakes sleepers.
func (m *Manual) Set(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.move(t.Round(0).UTC())
}

// Advance moves the clock by d and wakes sleepers.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.move(m.now.Add(d))
}

func (m *Manual) move(t time.Time) {
	m.now = t
	close(m.moved)
	m.moved = make(chan struct{})
}

// Sleep implements Clock.
func (m *Manual) Sleep(ctx context.Context, d time.Duration) error {
	m.mu.Lock()
	until := m.now.Add(d)
	m.count(+1)
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.count(-1)
		m.mu.Unlock()
	}()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.mu.Lock()
		reached, moved := !m.now.Before(until), m.moved
		m.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
		}
	}
}

func (m *Manual) count(by int) {
	m.sleepers += by
	close(m.changed)
	m.changed = make(chan struct{})
}

// WaitSleepers returns when at least n goroutines are inside Sleep, or when
// ctx ends (with its error). A test calls it before it moves the clock.
func (m *Manual) WaitSleepers(ctx context.Context, n int) error {
	for {
		m.mu.Lock()
		enough, changed := m.sleepers >= n, m.changed
		m.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
