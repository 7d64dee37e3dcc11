package clock

import (
	"context"
	"time"
)

// A Clock tells the time and waits for it. Implementations are safe for use
// by several goroutines.
type Clock interface {
	// Now returns the current time in UTC.
	Now() time.Time
	// Sleep returns when the clock has reached Now()+d, be it that time
	// passed or that the clock was moved, or when ctx ends (with its error).
	// A d of zero or less returns at once.
	Sleep(ctx context.Context, d time.Duration) error
}

// System returns the machine's clock.
func System() Clock { return system{} }

type system struct{}

func (system) Now() time.Time { return time.Now().UTC() }

func (system) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
