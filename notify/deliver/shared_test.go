package deliver

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/embedded/redistest"
	"guanjia/internal/ledger"
)

// TestSharedRate: two nodes together keep the rate of the account.
func TestSharedRate(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		rate := Rate{PerSecond: 1, Burst: 3, Reserved: 0.5} // the part: one call in two seconds
		a, b := newSource("sms", "acc", rate), newSource("sms", "acc", rate)
		s := newShared(rdb)
		take := func(src *source, lane ledger.Lane) (time.Duration, bool) {
			wait, taken, err := s.take(t.Context(), src, lane)
			if err != nil {
				t.Fatal(err)
			}
			return wait, taken
		}
		// The burst is there once, not once a node.
		for i, src := range []*source{a, b, a} {
			if wait, taken := take(src, ledger.LaneBulk); !taken || wait > 0 {
				t.Fatalf("call %d of the burst waits %v", i, wait)
			}
		}
		wait, taken := take(b, ledger.LaneBulk)
		if !taken || wait <= 0 || wait > longWait {
			t.Fatalf("after the burst: wait %v, taken %v", wait, taken)
		}
		if wait, taken := take(a, ledger.LaneBulk); taken || wait <= longWait {
			t.Fatalf("too far ahead: wait %v, taken %v", wait, taken)
		}
		// The emergency finds its own part untouched.
		if wait, taken := take(a, ledger.LaneEmergency); !taken || wait > 0 {
			t.Fatalf("the emergency waits %v", wait)
		}
		// Another account is not concerned.
		if wait, taken := take(newSource("sms", "other", rate), ledger.LaneBulk); !taken || wait > 0 {
			t.Fatalf("another account waits %v", wait)
		}
	})
}

func TestNodesAloneKeepToTheirPart(t *testing.T) {
	t.Parallel()
	dead := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { _ = dead.Close() })
	e := New(nil, nil, Options{Logger: slog.New(slog.DiscardHandler), Redis: dead, Nodes: 4})
	src := newSource("sms", "acc", Rate{PerSecond: 100, Burst: 1})
	if wait, ok := e.askNodes(context.Background(), ledger.LaneBulk, src); !ok || wait != 0 {
		t.Fatalf("wait %v, ok %v", wait, ok)
	}
	if got := float64(src.urgent.Limit()); got != 25 {
		t.Errorf("limit is %v, want a quarter of 100", got)
	}
	if !src.alone(1, time.Now()) || float64(src.urgent.Limit()) != 100 {
		t.Error("the whole rate does not come back")
	}
	// Without a rate nobody is asked.
	if _, ok := e.askNodes(context.Background(), ledger.LaneBulk, newSource("sms", "free", Rate{})); !ok {
		t.Error("an account without a rate was refused")
	}
}

func TestBreakerAndRate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := newSource("sms", "acc", Rate{PerSecond: 64, Burst: 1})
	ok := ledger.Outcome{Kind: ledger.OK}

	// Throttled: half, half again, not below a 64th, and slowly back.
	for range 10 {
		s.learn(ledger.Outcome{Kind: ledger.Throttled}, now) // of one burst
	}
	if s.now != 32 {
		t.Errorf("rate is %v after a burst of throttled calls, want 32", s.now)
	}
	for range 10 {
		now = now.Add(sameThrottle)
		s.learn(ledger.Outcome{Kind: ledger.Throttled}, now)
	}
	if s.now != 1 {
		t.Errorf("rate is %v after ten throttled calls, want 1", s.now)
	}
	s.raise(now.Add(10 * time.Second))
	if s.now < 32 || s.now > 34 {
		t.Errorf("rate is %v after ten seconds", s.now)
	}
	s.raise(now.Add(time.Minute))
	if s.now != 64 {
		t.Errorf("rate is %v after a minute", s.now)
	}

	// Money: everybody waits, then one call tries.
	a, news := s.learn(ledger.Outcome{Kind: ledger.Money, Code: "x"}, now)
	if !news || !a.Open || a.Kind != ledger.Money {
		t.Errorf("alarm %+v, news %v", a, news)
	}
	if _, news := s.learn(ledger.Outcome{Kind: ledger.Money, Code: "x"}, now); news {
		t.Error("the same alarm twice")
	}
	for _, lane := range ledger.Lanes() {
		if s.enter(lane, now) <= 0 {
			t.Errorf("lane %s gets through", lane)
		}
	}
	later := now.Add(haltPause)
	if s.enter(ledger.LaneBulk, later) != 0 {
		t.Error("nobody may try")
	}
	if s.enter(ledger.LaneBulk, later) <= 0 {
		t.Error("two try at once")
	}
	if a, news := s.learn(ok, later); !news || a.Open {
		t.Errorf("back: alarm %+v, news %v", a, news)
	}
	if s.enter(ledger.LaneBulk, later) != 0 {
		t.Error("still closed")
	}

	// No answers in a row: the others rest, emergencies go on.
	for range troubleAfter {
		s.learn(ledger.Outcome{Kind: ledger.Ambiguous}, later)
	}
	if s.enter(ledger.LaneReply, later) <= 0 || s.enter(ledger.LaneEmergency, later) != 0 {
		t.Error("a silent vendor: replies must rest, emergencies must not")
	}
	s.learn(ok, later)

	// A number that must wait is not the account's trouble.
	for range 2 * troubleAfter {
		s.learn(ledger.Outcome{Kind: ledger.Retry, RetryAfter: time.Minute}, later)
	}
	if s.enter(ledger.LaneReply, later) != 0 {
		t.Error("waiting numbers closed the account")
	}

	// Nor is what was refused before any call.
	for range 2 * sameRefusal {
		s.learn(ledger.Outcome{Kind: ledger.Permanent, Code: "too_long", NoCall: true}, later)
	}
	if s.enter(ledger.LaneReply, later) != 0 {
		t.Error("our own refusals closed the account")
	}

	// The same refusal of the vendor again and again is.
	for range sameRefusal {
		s.learn(ledger.Outcome{Kind: ledger.Permanent, Code: "isv.X"}, later)
	}
	if s.enter(ledger.LaneReply, later) <= 0 {
		t.Error("five equal refusals in a row went unnoticed")
	}
	if s.enter(ledger.LaneEmergency, later) != 0 {
		t.Error("emergencies must try all the same")
	}
}
