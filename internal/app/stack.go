package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// stack holds what must be undone, in reverse order of its doing. What fails to
// start unwinds through the same stack.
type stack struct {
	log   *slog.Logger
	mu    sync.Mutex
	items []undo
}

type undo struct {
	name string
	f    func(ctx context.Context) error
}

func (s *stack) push(name string, f func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, undo{name, f})
}

// unwind undoes everything, each step within what is left of ctx, and says
// what hung.
func (s *stack) unwind(ctx context.Context) error {
	s.mu.Lock()
	items := slices.Clone(s.items)
	s.items = nil
	s.mu.Unlock()
	var failed error
	for _, u := range slices.Backward(items) {
		began := time.Now()
		err := u.f(ctx)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("stop %s: %w", u.name, err))
		}
		if took := time.Since(began); took > time.Second {
			s.log.Warn("stopping took long", "part", u.name, "took", took.Round(time.Millisecond))
		}
	}
	return failed
}

// loop runs f in a goroutine until the stack unwinds, and waits for it then.
func (s *stack) loop(name string, f func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	s.push(name, func(stop context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-stop.Done():
			return stop.Err()
		}
	})
}
