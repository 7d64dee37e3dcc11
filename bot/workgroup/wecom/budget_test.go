package wecom

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBudgetKeepsASpare(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)
	b := newBudget(func() time.Time { return now }, perMinute, perHour)
	for i := range perMinute - spareMinute {
		left, _, ok := b.take("chat", spareMinute, spareHour)
		if !ok || left != perMinute-spareMinute-1-i {
			t.Fatalf("card %d: left %d, %v", i, left, ok)
		}
		now = now.Add(time.Second)
	}
	if _, wait, ok := b.take("chat", spareMinute, spareHour); ok || wait != 38*time.Second {
		t.Errorf("a card beyond the allowance: wait %s, %v", wait, ok)
	}
	for i := range spareMinute {
		if _, _, ok := b.take("chat", 0, 0); !ok {
			t.Errorf("answer %d found no room", i)
		}
	}
	if _, _, ok := b.take("chat", 0, 0); ok {
		t.Error("more than the vendor allows")
	}
	if _, _, ok := b.take("another", spareMinute, spareHour); !ok {
		t.Error("chats share an allowance")
	}
}

func TestBudgetOfAnHour(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)
	b := newBudget(func() time.Time { return now }, perMinute, perHour)
	for range perHour {
		if _, _, ok := b.take("chat", 0, 0); !ok {
			t.Fatal("refused within the hour's allowance")
		}
		now = now.Add(3 * time.Second)
	}
	if _, wait, ok := b.take("chat", 0, 0); ok || wait != 10*time.Minute {
		t.Errorf("wait %s, %v", wait, ok)
	}
	now = now.Add(10 * time.Minute)
	if _, _, ok := b.take("chat", 0, 0); !ok {
		t.Error("refused after the wait it named")
	}
}

func TestBudgetBlocked(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)
	b := newBudget(func() time.Time { return now }, perMinute, perHour)
	b.block("chat", time.Minute)
	if _, wait, ok := b.take("chat", 0, 0); ok || wait != time.Minute {
		t.Errorf("wait %s, %v", wait, ok)
	}
	now = now.Add(2 * time.Hour)
	b.take("other", 0, 0)
	if len(b.chats) != 1 {
		t.Errorf("%d chats kept", len(b.chats))
	}
}

// TestBudgetNeverExceeds: whatever comes when, no minute holds more than 30 and
// no hour more than 1000, and the wait that is named is enough.
func TestBudgetNeverExceeds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)
		b := newBudget(func() time.Time { return now }, perMinute, perHour)
		var sent []time.Time
		steps := rapid.SliceOfN(rapid.IntRange(0, 4000), 1, 400).Draw(t, "pauses in ms")
		for _, ms := range steps {
			now = now.Add(time.Duration(ms) * time.Millisecond)
			_, wait, ok := b.take("chat", 0, 0)
			if !ok {
				now = now.Add(wait)
				if _, _, ok = b.take("chat", 0, 0); !ok {
					t.Fatalf("still refused after the wait of %s", wait)
				}
			}
			sent = append(sent, now)
			inMinute := 0
			for _, at := range sent {
				if at.After(now.Add(-time.Minute)) {
					inMinute++
				}
			}
			if inMinute > perMinute {
				t.Fatalf("%d in a minute", inMinute)
			}
		}
	})
}
