package conversation_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

// Protocol facts, section 3.2: 5 in 48 h after a message, 3 in 1 min after a
// click, a follow or a scan; the soonest to end is spent first.
func TestReplyWindows(t *testing.T) {
	t.Parallel()
	click := text("oA", "c", "满意")
	click.Clicked, click.MenuID = true, "101"
	tests := []struct {
		name   string
		pushes []conversation.Inbound
		wait   time.Duration
		left   int
		until  time.Duration
	}{
		{"nothing yet", nil, 0, 0, 0},
		{"message", []conversation.Inbound{text("oA", "1", "a")}, 0, 5, 48 * time.Hour},
		{"message, a day later", []conversation.Inbound{text("oA", "1", "a")}, 24 * time.Hour, 5, 48 * time.Hour},
		{"message, 48 h later", []conversation.Inbound{text("oA", "1", "a")}, 48 * time.Hour, 0, 0},
		{"two messages are one window", []conversation.Inbound{text("oA", "1", "a"), text("oA", "2", "a")}, 0, 5, 48 * time.Hour},
		{"follow", []conversation.Inbound{event("oA", "subscribe", "")}, 0, 3, time.Minute},
		{"follow, a minute later", []conversation.Inbound{event("oA", "subscribe", "")}, time.Minute, 0, 0},
		{"scan", []conversation.Inbound{event("oA", "SCAN", "x")}, 30 * time.Second, 3, time.Minute},
		{"menu", []conversation.Inbound{event("oA", "CLICK", "x")}, 0, 3, time.Minute},
		{"code scanned from the menu", []conversation.Inbound{event("oA", "scancode_waitmsg", "x")}, 0, 3, time.Minute},
		{"an option clicked is no message", []conversation.Inbound{click}, 0, 3, time.Minute},
		{"a link in the menu opens none", []conversation.Inbound{event("oA", "VIEW", "x")}, 0, 0, 0},
		{"unfollow opens none", []conversation.Inbound{event("oA", "unsubscribe", "")}, 0, 0, 0},
		{"message and menu add up", []conversation.Inbound{text("oA", "1", "a"), event("oA", "CLICK", "x")}, 0, 8, 48 * time.Hour},
		{"somebody else's message", []conversation.Inbound{text("oB", "1", "a")}, 0, 0, 0},
	}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		for i, tt := range tests {
			r := open(t, d)
			account := fmt.Sprint("account", i)
			for _, in := range tt.pushes {
				in.AccountID, in.NonceKey = account, ""
				in.DedupeKey = account + in.DedupeKey
				r.must(t, in)
			}
			r.clk.Advance(tt.wait)
			w, err := r.Window(t.Context(), d, account, "oA")
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			want := conversation.Window{Left: tt.left}
			if tt.left > 0 {
				want.Open, want.Until = true, start.Add(tt.until)
			}
			if w != want {
				t.Errorf("%s: got %+v, want %+v", tt.name, w, want)
			}
			for n := range tt.left + 1 {
				ok, err := r.SpendWindow(t.Context(), account, "oA")
				if err != nil || ok != (n < tt.left) {
					t.Errorf("%s: message %d may be sent: %v, %v", tt.name, n+1, ok, err)
				}
			}
		}
	})
}

func TestSpendWindowSoonestFirst(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		r.must(t, text("oA", "1", "a"))
		r.clk.Advance(time.Hour)
		r.must(t, event("oA", "CLICK", "x"))
		spend := func(want bool) {
			t.Helper()
			if ok, err := r.SpendWindow(ctx, "a1", "oA"); err != nil || ok != want {
				t.Errorf("spent %v, %v", ok, err)
			}
		}
		left := func(want int) {
			t.Helper()
			if w, err := r.Window(ctx, d, "a1", "oA"); err != nil || w.Left != want {
				t.Errorf("%d left, want %d, %v", w.Left, want, err)
			}
		}
		spend(true)
		spend(true)
		left(6)
		r.clk.Advance(time.Minute) // the click's window ends, the message's is whole
		left(5)
		spend(true)
		left(4)
		r.must(t, text("oA", "2", "a")) // a new message refills
		left(5)
		if err := r.CloseWindow(ctx, "a1", "oA"); err != nil { // the platform says no
			t.Fatal(err)
		}
		left(0)
		spend(false)
		r.clk.Advance(time.Second)
		r.must(t, text("oA", "3", "a"))
		left(5)
	})
}

func TestSpendWindowInParallel(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		other := another(t, d, r.clk)
		r.must(t, text("oA", "1", "a"))
		var wg sync.WaitGroup
		var mu sync.Mutex
		spent := 0
		for i := range 20 {
			wg.Go(func() {
				c := r.Conversations
				if i%2 == 0 {
					c = other
				}
				ok, err := c.SpendWindow(t.Context(), "a1", "oA")
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if ok {
					spent++
				}
			})
		}
		wg.Wait()
		if spent != 5 {
			t.Errorf("%d messages were sent where 5 are allowed", spent)
		}
	})
}
