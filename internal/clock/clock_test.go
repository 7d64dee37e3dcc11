package clock_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"guanjia/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 1, 30, 9, 0, 0, 0, time.FixedZone("CST", 8*3600))

func TestSleep(t *testing.T) {
	t.Parallel()
	clocks := map[string]func() clock.Clock{
		"system":     clock.System,
		"adjustable": func() clock.Clock { return clock.NewAdjustable(start) },
	}
	for name, make := range clocks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := make()
				began, shown := time.Now(), c.Now()
				if err := c.Sleep(t.Context(), time.Minute); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != time.Minute {
					t.Errorf("slept %s", took)
				}
				if moved := c.Now().Sub(shown); moved != time.Minute {
					t.Errorf("the clock moved by %s", moved)
				}
				if c.Now().Location() != time.UTC {
					t.Error("not in UTC")
				}
				for _, d := range []time.Duration{0, -time.Hour} {
					if err := c.Sleep(t.Context(), d); err != nil {
						t.Errorf("sleep %s: %v", d, err)
					}
				}
				if time.Since(began) != time.Minute {
					t.Error("a sleep of nothing took time")
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := c.Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("ended by its context: %v", err)
				}
				if err := c.Sleep(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("with a context that has ended: %v", err)
				}
			})
		})
	}
}

func TestAdjustableStartsWhereTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if got := clock.NewAdjustable(start).Now(); !got.Equal(start) {
			t.Errorf("shows %s, want %s", got, start)
		}
		if got := clock.NewAdjustable(time.Time{}).Now(); !got.Equal(time.Now()) {
			t.Errorf("shows %s, want the machine's time", got)
		}
	})
}

func TestAdvance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewAdjustable(start)
		var (
			mu    sync.Mutex
			order []string
		)
		note := func(s string) { mu.Lock(); order = append(order, s); mu.Unlock() }
		boom := errors.New("boom")
		c.OnAdvance("first", func(_ context.Context, d time.Duration) error {
			if got := c.Now(); !got.Equal(start.Add(d)) {
				t.Errorf("a hook sees %s, want the moved clock", got)
			}
			time.Sleep(time.Nanosecond) // the woken may run before us
			note("first")
			return boom
		})
		c.OnAdvance("second", func(context.Context, time.Duration) error { note("second"); return nil })
		var wg sync.WaitGroup
		for _, d := range []time.Duration{time.Hour, 30 * 24 * time.Hour, 31 * 24 * time.Hour} {
			wg.Go(func() {
				if err := c.Sleep(t.Context(), d); err != nil {
					t.Error(err)
				}
				note(d.String())
			})
		}
		synctest.Wait()
		err := c.Advance(t.Context(), 30*24*time.Hour)
		if !errors.Is(err, boom) {
			t.Errorf("advance: %v, want the hook's error", err)
		}
		mu.Lock()
		woken := slices.Sorted(slices.Values(order[:2]))
		hooks := order[2:]
		mu.Unlock()
		if !slices.Equal(woken, []string{"1h0m0s", "720h0m0s"}) || !slices.Equal(hooks, []string{"first", "second"}) {
			t.Errorf("woken %q, hooks %q", woken, hooks)
		}
		if err := c.Advance(t.Context(), -time.Second); !errors.Is(err, clock.ErrBackwards) {
			t.Errorf("backwards: %v", err)
		}
		wg.Wait() // the last one sleeps its remaining day
		if got := c.Now(); !got.Equal(start.Add(31*24*time.Hour).Add(0)) && got.Sub(start.Add(31*24*time.Hour)) > time.Second {
			t.Errorf("ends at %s", got)
		}
	})
}

func TestManual(t *testing.T) {
	t.Parallel()
	m := clock.NewManual(start)
	if !m.Now().Equal(start) || m.Now().Location() != time.UTC {
		t.Errorf("shows %s", m.Now())
	}
	woken := make(chan error, 2)
	go func() { woken <- m.Sleep(context.Background(), time.Hour) }()
	if err := m.WaitSleepers(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	m.Advance(time.Hour - 1)
	select {
	case err := <-woken:
		t.Fatalf("woken too early: %v", err)
	default:
	}
	m.Advance(1)
	if err := <-woken; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { woken <- m.Sleep(ctx, time.Hour) }()
	if err := m.WaitSleepers(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	m.Set(start) // backwards is allowed, and wakes nobody
	cancel()
	if err := <-woken; !errors.Is(err, context.Canceled) {
		t.Errorf("ended by its context: %v", err)
	}
	if err := m.WaitSleepers(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody sleeps: %v", err)
	}
}
