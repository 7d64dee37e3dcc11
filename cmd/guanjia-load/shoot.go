package main

import (
	"context"
	"sync"
	"time"
)

// shot is one request. It returns an error when the request was not answered
// as it should be.
type shot func(ctx context.Context) error

// closedLoop lets n clients shoot one after the other, for d.
func closedLoop(ctx context.Context, n int, d time.Duration, fire shot) series {
	ctx, cancel := context.WithTimeout(ctx, d+lateShots)
	defer cancel()
	began := time.Now()
	end := began.Add(d)
	parts := make([]series, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for ctx.Err() == nil && time.Now().Before(end) {
				parts[i].fire(ctx, time.Now(), fire)
			}
		})
	}
	wg.Wait()
	return joined(parts, time.Since(began))
}

// openLoop shoots at a rate whatever the answers take. A shot's time counts
// from when it was due, so that a stall shows in all that waited for it.
func openLoop(ctx context.Context, n int, rate float64, d time.Duration, fire shot) series {
	ctx, cancel := context.WithTimeout(ctx, d+lateShots)
	defer cancel()
	began := time.Now()
	due := make(chan time.Time, n)
	parts := make([]series, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for at := range due {
				parts[i].fire(ctx, at, fire)
			}
		})
	}
	schedule(ctx, began, rate, d, due)
	close(due)
	wg.Wait()
	return joined(parts, time.Since(began))
}

// lateShots is how long answers are waited for after the end.
const lateShots = time.Minute

// schedule hands out the times at which shots are due. When everybody is busy
// it waits and hands out the time that was due.
func schedule(ctx context.Context, began time.Time, rate float64, d time.Duration, due chan<- time.Time) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		at := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if at.Sub(began) >= d {
			return
		}
		if wait := time.Until(at); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		select {
		case due <- at:
		case <-ctx.Done():
			return
		}
	}
}

func (s *series) fire(ctx context.Context, at time.Time, fire shot) {
	if err := fire(ctx); err != nil {
		s.errors++
		if s.first == nil {
			s.first = err
		}
		return
	}
	s.took = append(s.took, time.Since(at))
}

func joined(parts []series, lasted time.Duration) series {
	var all series
	for _, p := range parts {
		all.add(p)
	}
	all.lasted = lasted
	return all
}

// each runs f for every item, n at a time, and returns the first error.
func each[T any](ctx context.Context, n int, items []T, f func(ctx context.Context, item T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan T)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for item := range todo {
				if err := f(ctx, item); err != nil {
					cancel(err)
				}
			}
		})
	}
feed:
	for _, item := range items {
		select {
		case todo <- item:
		case <-ctx.Done():
			break feed
		}
	}
	close(todo)
	wg.Wait()
	return context.Cause(ctx)
}

// pause waits, or tells that ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
