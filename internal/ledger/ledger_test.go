package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a ledger on a fresh database with a clock that stands still.
type bench struct {
	t   *testing.T
	ctx context.Context
	db  *db.DB
	clk *clock.Manual
	l   *ledger.Ledger
}

func newBench(t *testing.T, d *db.DB) *bench {
	t.Helper()
	clk := clock.NewManual(time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC))
	l := ledger.Open(d, clk, slog.New(slog.DiscardHandler))
	t.Cleanup(l.Stop)
	return &bench{t: t, ctx: t.Context(), db: d, clk: clk, l: l}
}

func run(t *testing.T, f func(b *bench)) {
	t.Helper()
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) { f(newBench(t, d)) })
}

// sms is a typical delivery; change makes it another.
func sms(change func(n *ledger.New)) ledger.New {
	n := ledger.New{
		CompanyID: "c1", Channel: ledger.ChannelSMS, AccountID: "a1", Address: "13800000001",
		Lane: ledger.LaneNormal, Class: ledger.ClassPlanned, Payload: map[string]string{"purpose": "outage"},
	}
	if change != nil {
		change(&n)
	}
	return n
}

func (b *bench) put(n ledger.New) string {
	b.t.Helper()
	var id string
	err := b.db.InTx(b.ctx, "test put", func(ctx context.Context, tx *db.Tx) error {
		var err error
		id, err = b.l.PutTx(ctx, tx, n)
		return err
	})
	if err != nil {
		b.t.Fatalf("put: %v", err)
	}
	return id
}

func (b *bench) claim(lane ledger.Lane, limit int) []ledger.Delivery {
	b.t.Helper()
	list, err := b.l.Claim(b.ctx, ledger.ClaimQuery{Lane: lane, Limit: limit, Lease: time.Minute})
	if err != nil {
		b.t.Fatalf("claim: %v", err)
	}
	return list
}

// take claims exactly one delivery.
func (b *bench) take(lane ledger.Lane) ledger.Delivery {
	b.t.Helper()
	list := b.claim(lane, 10)
	if len(list) != 1 {
		b.t.Fatalf("claimed %d deliveries, want 1", len(list))
	}
	return list[0]
}

func (b *bench) start(d ledger.Delivery) ledger.Attempt {
	b.t.Helper()
	a, err := b.l.StartAttempt(b.ctx, d)
	if err != nil {
		b.t.Fatalf("start attempt: %v", err)
	}
	return a
}

func (b *bench) record(a ledger.Attempt, kind ledger.OutcomeKind, vendorID string) ledger.Delivery {
	b.t.Helper()
	d, err := b.l.Record(b.ctx, a, ledger.Outcome{Kind: kind, VendorID: vendorID, Code: string(kind)})
	if err != nil {
		b.t.Fatalf("record: %v", err)
	}
	return d
}

// send takes the one due delivery through a call with this outcome.
func (b *bench) send(lane ledger.Lane, kind ledger.OutcomeKind, vendorID string) (ledger.Delivery, ledger.Attempt) {
	b.t.Helper()
	a := b.start(b.take(lane))
	return b.record(a, kind, vendorID), a
}

func (b *bench) get(id string) ledger.Delivery {
	b.t.Helper()
	d, err := b.l.ByID(b.ctx, b.db, id)
	if err != nil {
		b.t.Fatalf("read: %v", err)
	}
	return d
}

func (b *bench) want(id string, s ledger.State) ledger.Delivery {
	b.t.Helper()
	d := b.get(id)
	if d.State != s {
		b.t.Fatalf("state is %s (code %q), want %s", d.State, d.Code, s)
	}
	return d
}

func (b *bench) receipt(r ledger.Receipt) {
	b.t.Helper()
	if err := b.l.Receipt(b.ctx, r); err != nil {
		b.t.Fatalf("receipt: %v", err)
	}
}

// look takes the one due look-up and answers it.
func (b *bench) look(found ledger.Found, code string, transient bool) ledger.Delivery {
	b.t.Helper()
	list, err := b.l.Lookups(b.ctx, ledger.ChannelSMS, 10)
	if err != nil {
		b.t.Fatalf("look-ups: %v", err)
	}
	if len(list) != 1 {
		b.t.Fatalf("%d look-ups are due, want 1", len(list))
	}
	d, err := b.l.Checked(b.ctx, list[0].Attempt, ledger.Check{Found: found, Code: code, Transient: transient})
	if err != nil {
		b.t.Fatalf("checked: %v", err)
	}
	return d
}

func (b *bench) noLook() {
	b.t.Helper()
	list, err := b.l.Lookups(b.ctx, ledger.ChannelSMS, 10)
	if err != nil || len(list) != 0 {
		b.t.Fatalf("look-ups due: %d, err %v; want none", len(list), err)
	}
}

func TestStoryOfADelivery(t *testing.T) {
	run(t, func(b *bench) {
		id := b.put(sms(func(n *ledger.New) { n.RefKind, n.RefID = "notice", "n1" }))
		d := b.want(id, ledger.Planned)
		if d.RootID != id || string(d.Payload) != `{"purpose":"outage"}` {
			b.t.Fatalf("stored %+v", d)
		}
		d = b.take(ledger.LaneNormal)
		b.want(id, ledger.Claimed)
		if again := b.claim(ledger.LaneNormal, 10); len(again) != 0 {
			b.t.Fatal("claimed twice")
		}
		a := b.start(d)
		b.want(id, ledger.Sending)
		if len(a.OutID) == 0 || len(a.OutID) > 64 || a.N != 1 {
			b.t.Fatalf("attempt %+v", a)
		}
		d = b.record(a, ledger.OK, "biz-1")
		if d.State != ledger.Submitted || d.Settled() {
			b.t.Fatalf("after ok: %s, settled %v", d.State, d.Settled())
		}
		b.receipt(ledger.Receipt{Channel: ledger.ChannelSMS, AccountID: "a1", OutID: a.OutID, VendorID: "biz-1", OK: true, Code: "DELIVERED"})
		d = b.want(id, ledger.Delivered)
		if !d.Reached() || d.FinalAt.IsZero() || !d.WaitsUntil.IsZero() {
			b.t.Fatalf("after receipt: %+v", d)
		}
		counts, err := b.l.Counts(b.ctx, b.db, "notice", "n1")
		if err != nil || len(counts) != 1 || counts[0] != (ledger.Count{Channel: "sms", State: ledger.Delivered, N: 1}) {
			b.t.Fatalf("counts %v, err %v", counts, err)
		}
	})
}

func TestPutRefusesTheIncomplete(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	for name, change := range map[string]func(n *ledger.New){
		"no company": func(n *ledger.New) { n.CompanyID = "" },
		"no account": func(n *ledger.New) { n.AccountID = "" },
		"no address": func(n *ledger.New) { n.Address = "" },
		"no words":   func(n *ledger.New) { n.Payload = nil },
		"channel":    func(n *ledger.New) { n.Channel = "pigeon" },
		"lane":       func(n *ledger.New) { n.Lane = "fast" },
		"class":      func(n *ledger.New) { n.Class = "x" },
		"hop":        func(n *ledger.New) { n.Plan = []ledger.Hop{{Channel: "sms"}} },
	} {
		err := b.db.InTx(b.ctx, "t", func(ctx context.Context, tx *db.Tx) error {
			_, err := b.l.PutTx(ctx, tx, sms(change))
			return err
		})
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRolledBackPutLeavesNothing(t *testing.T) {
	run(t, func(b *bench) {
		boom := errors.New("boom")
		err := b.db.InTx(b.ctx, "t", func(ctx context.Context, tx *db.Tx) error {
			if _, err := b.l.PutTx(ctx, tx, sms(nil)); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			b.t.Fatalf("err %v", err)
		}
		select {
		case <-b.l.Woken(ledger.LaneNormal):
			b.t.Fatal("the lane was woken for nothing")
		default:
		}
		if list := b.claim(ledger.LaneNormal, 10); len(list) != 0 {
			b.t.Fatal("a rolled back delivery was claimed")
		}
	})
}

func TestPutWakesTheLane(t *testing.T) {
	run(t, func(b *bench) {
		told := make(chan ledger.Lane, 1)
		b.l.OnWake(func(l ledger.Lane) { told <- l })
		b.put(sms(nil))
		select {
		case <-b.l.Woken(ledger.LaneNormal):
		default:
			b.t.Fatal("lane not woken")
		}
		if l := <-told; l != ledger.LaneNormal {
			b.t.Fatalf("other nodes were told of lane %s", l)
		}
	})
}

func TestNotBefore(t *testing.T) {
	run(t, func(b *bench) {
		b.put(sms(func(n *ledger.New) { n.NotBefore = b.clk.Now().Add(5 * time.Second) }))
		list, next, err := b.l.ClaimNext(b.ctx, ledger.ClaimQuery{Lane: ledger.LaneNormal, Limit: 1, Lease: time.Minute})
		if err != nil || len(list) != 0 {
			b.t.Fatalf("claimed %d, err %v", len(list), err)
		}
		if in := next.Sub(b.clk.Now()); in != 5*time.Second {
			b.t.Fatalf("next in %v", in)
		}
		b.clk.Advance(5 * time.Second)
		b.take(ledger.LaneNormal)
	})
}

func TestOrderKey(t *testing.T) {
	run(t, func(b *bench) {
		ordered := func(n *ledger.New) { n.OrderKey = "openid-1" }
		first := b.put(sms(ordered))
		second := b.put(sms(ordered))
		free := b.put(sms(nil))
		list := b.claim(ledger.LaneNormal, 10)
		if len(list) != 2 || list[0].ID != first || list[1].ID != free {
			b.t.Fatalf("claimed %d deliveries", len(list))
		}
		if more := b.claim(ledger.LaneNormal, 10); len(more) != 0 {
			b.t.Fatal("the second was claimed while the first is under way")
		}
		// A retry of the first still keeps the second back.
		a := b.start(list[0])
		if d := b.record(a, ledger.Retry, ""); d.State != ledger.Planned {
			b.t.Fatalf("after retry: %s", d.State)
		}
		if more := b.claim(ledger.LaneNormal, 10); len(more) != 0 {
			b.t.Fatal("the second overtook a retry of the first")
		}
		b.clk.Advance(10 * time.Second)
		got := b.take(ledger.LaneNormal)
		if got.ID != first {
			b.t.Fatal("not the first")
		}
		for len(b.l.Woken(ledger.LaneNormal)) > 0 {
			<-b.l.Woken(ledger.LaneNormal)
		}
		b.record(b.start(got), ledger.OK, "x")
		select {
		case <-b.l.Woken(ledger.LaneNormal):
		default:
			b.t.Fatal("whoever waited behind was not woken")
		}
		if got := b.take(ledger.LaneNormal); got.ID != second {
			b.t.Fatal("not the second")
		}
	})
}

func TestOrderKeyHoldsAcrossHops(t *testing.T) {
	run(t, func(b *bench) {
		first := b.put(sms(func(n *ledger.New) {
			n.OrderKey = "k"
			n.Plan = []ledger.Hop{{Channel: ledger.ChannelTemplate, AccountID: "w1", Address: "o1", Payload: ledger.HopPayload("p")}}
		}))
		second := b.put(sms(func(n *ledger.New) { n.OrderKey = "k" }))
		d, _ := b.send(ledger.LaneNormal, ledger.Unreachable, "")
		if d.ID != first || d.State != ledger.Failed || d.NextID == "" {
			b.t.Fatalf("first: %s next %q", d.State, d.NextID)
		}
		hop := b.take(ledger.LaneNormal)
		if hop.ID != d.NextID || hop.Channel != ledger.ChannelTemplate || hop.RootID != first || hop.Hop != 1 || string(hop.Payload) != `"p"` {
			b.t.Fatalf("hop %+v", hop)
		}
		b.record(b.start(hop), ledger.OK, "m1")
		if d := b.take(ledger.LaneNormal); d.ID != second {
			b.t.Fatal("not the second")
		}
		chain, err := b.l.Chain(b.ctx, b.db, first)
		if err != nil || len(chain) != 2 || chain[1].ID != hop.ID {
			b.t.Fatalf("chain %v err %v", chain, err)
		}
	})
}

func TestFailedOneLetsTheNextPass(t *testing.T) {
	run(t, func(b *bench) {
		b.put(sms(func(n *ledger.New) { n.OrderKey = "k" }))
		second := b.put(sms(func(n *ledger.New) { n.OrderKey = "k" }))
		if d, _ := b.send(ledger.LaneNormal, ledger.Permanent, ""); d.State != ledger.Failed {
			b.t.Fatalf("first is %s", d.State)
		}
		if d := b.take(ledger.LaneNormal); d.ID != second {
			b.t.Fatal("not the second")
		}
	})
}

func TestFairAmongAccounts(t *testing.T) {
	run(t, func(b *bench) {
		for range 20 {
			b.put(sms(func(n *ledger.New) { n.AccountID = "big" }))
		}
		b.put(sms(func(n *ledger.New) { n.AccountID = "small" }))
		seen := map[string]int{}
		for _, d := range b.claim(ledger.LaneNormal, 6) {
			seen[d.AccountID]++
		}
		if seen["small"] != 1 || seen["big"] != 5 {
			// An even share of six is three; what the small one leaves is not
			// lost for long: the lane claims again while it has room.
			if seen["small"] != 1 || seen["big"] < 3 {
				b.t.Fatalf("claimed %v", seen)
			}
		}
	})
}

func TestClaimFilters(t *testing.T) {
	run(t, func(b *bench) {
		b.put(sms(func(n *ledger.New) { n.AccountID = "x" }))
		b.put(sms(func(n *ledger.New) { n.AccountID = "y" }))
		b.put(sms(func(n *ledger.New) { n.Channel, n.AccountID = ledger.ChannelCard, "bot1" }))
		b.put(sms(func(n *ledger.New) { n.Channel, n.AccountID = ledger.ChannelCard, "bot2" }))
		list, err := b.l.Claim(b.ctx, ledger.ClaimQuery{
			Lane: ledger.LaneNormal, Limit: 10, Lease: time.Minute,
			Channels: []string{"sms", "card"}, Accounts: map[string][]string{"card": {"bot2"}},
			Except: []string{ledger.Source{Channel: "sms", AccountID: "x"}.Key()},
		})
		if err != nil || len(list) != 2 {
			b.t.Fatalf("claimed %d, err %v", len(list), err)
		}
		for _, d := range list {
			if d.AccountID != "y" && d.AccountID != "bot2" {
				b.t.Errorf("claimed for %s", d.AccountID)
			}
		}
	})
}

func TestExpired(t *testing.T) {
	run(t, func(b *bench) {
		valid := func(n *ledger.New) { n.ValidUntil = b.clk.Now().Add(time.Minute) }
		id := b.put(sms(valid))
		late := b.put(sms(valid))
		claimed := b.claim(ledger.LaneNormal, 1)
		b.clk.Advance(time.Minute)
		if list := b.claim(ledger.LaneNormal, 10); len(list) != 0 {
			b.t.Fatal("claimed past its valid-until")
		}
		if n, err := b.l.Expire(b.ctx); err != nil || n != 1 {
			b.t.Fatalf("expired %d, err %v", n, err)
		}
		b.want(late, ledger.Expired)
		if _, err := b.l.StartAttempt(b.ctx, claimed[0]); !errors.Is(err, ledger.ErrNotNeeded) {
			b.t.Fatalf("start of an expired one: %v", err)
		}
		b.want(id, ledger.Expired)
	})
}

func TestCancel(t *testing.T) {
	run(t, func(b *bench) {
		cancel := func(id string) (ok bool) {
			err := b.db.InTx(b.ctx, "t", func(ctx context.Context, tx *db.Tx) error {
				var err error
				ok, err = b.l.CancelTx(ctx, tx, id)
				return err
			})
			if err != nil {
				b.t.Fatal(err)
			}
			return ok
		}
		id := b.put(sms(nil))
		if !cancel(id) {
			b.t.Fatal("not cancelled")
		}
		b.want(id, ledger.Cancelled)
		id = b.put(sms(nil))
		b.take(ledger.LaneNormal)
		if cancel(id) {
			b.t.Fatal("cancelled although a worker has it")
		}
	})
}

func TestSupersede(t *testing.T) {
	run(t, func(b *bench) {
		card := func(rev int64) ledger.New {
			return sms(func(n *ledger.New) {
				n.Channel, n.AccountID, n.Address, n.Class, n.Lane = ledger.ChannelCard, "bot", "chat", ledger.ClassCard, ledger.LaneCard
				n.RefKind, n.RefID, n.RefRev, n.Supersede = "case", "k1", rev, true
			})
		}
		one := b.put(card(1))
		two := b.put(card(2))
		if d := b.want(one, ledger.Skipped); d.Code != "superseded" {
			b.t.Fatalf("code %q", d.Code)
		}
		// One that comes too late is skipped itself.
		old := b.put(card(1))
		b.want(old, ledger.Skipped)
		got := b.take(ledger.LaneCard)
		if got.ID != two {
			b.t.Fatal("not the newest")
		}
		// While it is claimed a newer one is put: no call is made for it.
		three := b.put(card(3))
		if _, err := b.l.StartAttempt(b.ctx, got); !errors.Is(err, ledger.ErrNotNeeded) {
			b.t.Fatalf("start of a superseded one: %v", err)
		}
		b.want(two, ledger.Skipped)
		if got := b.take(ledger.LaneCard); got.ID != three {
			b.t.Fatal("not the third")
		}
	})
}

func TestRetriesEndAndTheNextHopTakesOver(t *testing.T) {
	run(t, func(b *bench) {
		id := b.put(sms(func(n *ledger.New) {
			n.Channel, n.AccountID, n.Address, n.Lane, n.Class = ledger.ChannelService, "w1", "o1", ledger.LaneReply, ledger.ClassReply
			n.Plan = []ledger.Hop{{Channel: ledger.ChannelTemplate, AccountID: "w1", Address: "o1"}}
		}))
		calls := 0
		for range 50 {
			d := b.get(id)
			if d.State != ledger.Planned {
				break
			}
			b.clk.Set(d.DueAt)
			b.send(ledger.LaneReply, ledger.Retry, "")
			calls++
		}
		d := b.want(id, ledger.Failed)
		if calls != 9 || d.NextID == "" {
			b.t.Fatalf("%d calls, next %q", calls, d.NextID)
		}
		b.want(d.NextID, ledger.Planned)
	})
}

func TestHeldAccount(t *testing.T) {
	run(t, func(b *bench) {
		id := b.put(sms(nil))
		for _, kind := range []ledger.OutcomeKind{ledger.Money, ledger.Stop, ledger.Quota} {
			b.send(ledger.LaneNormal, kind, "")
			b.want(id, ledger.Planned)
			b.clk.Advance(time.Minute)
		}
		b.clk.Advance(80 * time.Hour)
		b.send(ledger.LaneNormal, ledger.Stop, "")
		b.want(id, ledger.Failed)
	})
}

func TestUrgentTakesItsOtherWay(t *testing.T) {
	run(t, func(b *bench) {
		id := b.put(sms(func(n *ledger.New) {
			n.Class, n.Lane = ledger.ClassDanger, ledger.LaneEmergency
			n.Plan = []ledger.Hop{{Channel: ledger.ChannelTemplate, AccountID: "w1", Address: "o1"}}
		}))
		b.send(ledger.LaneEmergency, ledger.Money, "")
		d := b.want(id, ledger.Failed)
		b.want(d.NextID, ledger.Planned)
	})
}

// TestCrash walks every point at which a process can die and looks at what the
// next one finds.
func TestCrash(t *testing.T) {
	run(t, func(b *bench) {
		// Another process of the same product.
		other := ledger.Open(b.db, b.clk, slog.New(slog.DiscardHandler))
		defer other.Stop()
		expireLeases := func() {
			_, err := b.db.ExecContext(b.ctx, `update deliveries set lease_until = $1 where state in ('claimed', 'sending')`,
				db.At(time.Now().Add(-time.Second)))
			if err != nil {
				b.t.Fatal(err)
			}
		}
		recovered := func() {
			b.t.Helper()
			if _, err := other.RecoverStale(b.ctx); err != nil {
				b.t.Fatal(err)
			}
		}

		id := b.put(sms(nil))
		d := b.take(ledger.LaneNormal)
		if b.db.Engine() == db.EnginePostgres {
			recovered()
			b.want(id, ledger.Claimed) // its lease lives
		}
		expireLeases()
		recovered()
		b.want(id, ledger.Planned)
		if _, err := b.l.StartAttempt(b.ctx, d); !errors.Is(err, ledger.ErrNotClaimed) {
			b.t.Fatalf("the dead worker came back and may send: %v", err)
		}

		a := b.start(b.take(ledger.LaneNormal))
		expireLeases()
		recovered()
		b.want(id, ledger.Unknown)
		// The dead worker was only slow, and knows the answer.
		if d := b.record(a, ledger.OK, "biz"); d.State != ledger.Submitted || d.Submissions != 1 {
			b.t.Fatalf("late answer: %s, %d submissions", d.State, d.Submissions)
		}
	})
}

func TestUnknownByChannelAndClass(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	const never, again, looked = "never", "again", "looked up"
	for _, c := range []struct {
		channel string
		class   ledger.Class
		want    string
		most    int // submissions at last
	}{
		{ledger.ChannelService, ledger.ClassReply, again, 2},
		{ledger.ChannelService, ledger.ClassDanger, again, 2},
		{ledger.ChannelService, ledger.ClassSurvey, never, 1},
		{ledger.ChannelService, ledger.ClassOther, never, 1},
		{ledger.ChannelTemplate, ledger.ClassReply, again, 4},
		{ledger.ChannelTemplate, ledger.ClassSurvey, again, 4},
		{ledger.ChannelSubscribe, ledger.ClassDanger, never, 1},
		{ledger.ChannelCard, ledger.ClassCard, again, 5},
		{ledger.ChannelGroup, ledger.ClassReply, again, 5},
		{ledger.ChannelSMS, ledger.ClassDanger, looked, 1},
		{ledger.ChannelSMS, ledger.ClassPlanned, looked, 1},
		{ledger.ChannelSMS, ledger.ClassCode, looked, 1},
		{ledger.ChannelSMS, ledger.ClassSurvey, looked, 1},
	} {
		b := newBench(t, d)
		id := b.put(sms(func(n *ledger.New) {
			n.Channel, n.Class, n.Lane = c.channel, c.class, ledger.LaneReply
		}))
		submissions := 0
		for b.get(id).State == ledger.Planned && submissions < 20 {
			b.clk.Set(b.get(id).DueAt)
			b.send(ledger.LaneReply, ledger.Ambiguous, "")
			submissions++
		}
		got := b.want(id, ledger.Unknown)
		if submissions != c.most || int(got.Submissions) != c.most {
			t.Errorf("%s %s: %d submissions, want %d", c.channel, c.class, submissions, c.most)
		}
		attempts, err := b.l.Attempts(b.ctx, b.db, id)
		if err != nil {
			t.Fatal(err)
		}
		if last := attempts[len(attempts)-1]; (last.CheckAt.IsZero()) == (c.want == looked) {
			t.Errorf("%s %s: look-up at %v", c.channel, c.class, last.CheckAt)
		}
		// Nobody knows for 72 hours: then it is over.
		b.clk.Advance(73 * time.Hour)
		if _, err := b.l.Lapse(b.ctx); err != nil {
			t.Fatal(err)
		}
		b.want(id, ledger.NoReceipt)
	}
}

func TestTemplateIsNotRepeatedAfterTenMinutes(t *testing.T) {
	run(t, func(b *bench) {
		id := b.put(sms(func(n *ledger.New) { n.Channel = ledger.ChannelTemplate }))
		a := b.start(b.take(ledger.LaneNormal))
		b.clk.Advance(10 * time.Minute)
		if d := b.record(a, ledger.Ambiguous, ""); d.State != ledger.Unknown {
			b.t.Fatalf("state %s", d.State)
		}
		b.want(id, ledger.Unknown)
	})
}

func TestEmergencySMSUnknown(t *testing.T) {
	danger := func(n *ledger.New) { n.Class, n.Lane = ledger.ClassDanger, ledger.LaneEmergency }
	t.Run("absent: sent once more after the second look", func(t *testing.T) {
		run(t, func(b *bench) {
			id := b.put(sms(danger))
			b.send(ledger.LaneEmergency, ledger.Ambiguous, "")
			b.want(id, ledger.Unknown)
			b.noLook()
			b.clk.Advance(15 * time.Second)
			b.look(ledger.FoundAbsent, "", false)
			b.want(id, ledger.Unknown)
			b.clk.Advance(45 * time.Second)
			b.look(ledger.FoundAbsent, "", false)
			b.want(id, ledger.Planned)
			b.send(ledger.LaneEmergency, ledger.Ambiguous, "")
			b.want(id, ledger.Unknown)
			b.clk.Advance(15 * time.Second)
			// The first call is looked up no more than the second.
			list, err := b.l.Lookups(b.ctx, ledger.ChannelSMS, 10)
			if err != nil {
				b.t.Fatal(err)
			}
			for _, u := range list {
				if _, err := b.l.Checked(b.ctx, u.Attempt, ledger.Check{Found: ledger.FoundAbsent}); err != nil {
					b.t.Fatal(err)
				}
			}
			b.clk.Advance(time.Minute)
			list, _ = b.l.Lookups(b.ctx, ledger.ChannelSMS, 10)
			for _, u := range list {
				if _, err := b.l.Checked(b.ctx, u.Attempt, ledger.Check{Found: ledger.FoundAbsent}); err != nil {
					b.t.Fatal(err)
				}
			}
			// Neither was accepted: it ends, and staff are told.
			if d := b.want(id, ledger.Failed); d.Attempts != 2 || d.Code != "absent" {
				b.t.Fatalf("%d calls, code %s; want two and absent", d.Attempts, d.Code)
			}
		})
	})
	t.Run("look-ups without answer: sent once more", func(t *testing.T) {
		run(t, func(b *bench) {
			id := b.put(sms(danger))
			b.send(ledger.LaneEmergency, ledger.Ambiguous, "")
			b.clk.Advance(15 * time.Second)
			b.look(ledger.FoundNoAnswer, "", false)
			b.clk.Advance(45 * time.Second)
			b.look(ledger.FoundNoAnswer, "", false)
			b.want(id, ledger.Planned)
		})
	})
	t.Run("found: not sent again", func(t *testing.T) {
		run(t, func(b *bench) {
			id := b.put(sms(danger))
			b.send(ledger.LaneEmergency, ledger.Ambiguous, "")
			b.clk.Advance(15 * time.Second)
			b.look(ledger.FoundPending, "", false)
			b.want(id, ledger.Submitted)
			b.clk.Advance(10 * time.Minute)
			b.look(ledger.FoundDelivered, "DELIVERED", false)
			b.want(id, ledger.Delivered)
		})
	})
	t.Run("transient failure: sent once more, not twice", func(t *testing.T) {
		run(t, func(b *bench) {
			id := b.put(sms(danger))
			fail := func() {
				_, a := b.send(ledger.LaneEmergency, ledger.OK, "biz-"+b.get(id).Address)
				b.receipt(ledger.Receipt{Channel: "sms", AccountID: "a1", OutID: a.OutID, Code: "IS_CLOSE", Transient: true, Confirmed: true})
			}
			fail()
			b.want(id, ledger.Planned)
			fail()
			if d := b.want(id, ledger.Failed); d.Submissions != 2 {
				b.t.Fatalf("%d submissions", d.Submissions)
			}
		})
	})
	t.Run("a receipt for the first call spares the second", func(t *testing.T) {
		run(t, func(b *bench) {
			id := b.put(sms(danger))
			_, a := b.send(ledger.LaneEmergency, ledger.Ambiguous, "")
			b.clk.Advance(time.Minute)
			b.look(ledger.FoundAbsent, "", false)
			b.clk.Advance(time.Minute)
			b.look(ledger.FoundAbsent, "", false)
			b.want(id, ledger.Planned)
			b.receipt(ledger.Receipt{Channel: "sms", AccountID: "a1", OutID: a.OutID, OK: true, Code: "DELIVERED"})
			b.want(id, ledger.Delivered)
			if list := b.claim(ledger.LaneEmergency, 1); len(list) != 0 {
				b.t.Fatal("sent again although delivered")
			}
		})
	})
}

func TestPlannedSMSOnlyAfterProvenAbsence(t *testing.T) {
	run(t, func(b *bench) {
		id := b.put(sms(nil))
		b.send(ledger.LaneNormal, ledger.Ambiguous, "")
		start := b.clk.Now()
		for _, at := range []time.Duration{15 * time.Second, time.Minute, 5 * time.Minute} {
			b.clk.Set(start.Add(at))
			b.look(ledger.FoundAbsent, "", false)
			b.want(id, ledger.Unknown)
		}
		b.clk.Set(start.Add(12 * time.Minute))
		b.look(ledger.FoundAbsent, "", false)
		if d := b.want(id, ledger.Planned); d.Submissions != 0 {
			b.t.Fatalf("proven absent, yet %d submissions", d.Submissions)
		}
		b.send(ledger.LaneNormal, ledger.OK, "biz")
		b.want(id, ledger.Submitted)
	})
}

func TestSurveySMSIsNeverSentAgain(t *testing.T) {
	run(t, func(b *bench) {
		id := b.put(sms(func(n *ledger.New) { n.Class, n.Lane = ledger.ClassSurvey, ledger.LaneBulk }))
		b.send(ledger.LaneBulk, ledger.Ambiguous, "")
		start := b.clk.Now()
		for _, at := range []time.Duration{15 * time.Second, time.Minute, 5 * time.Minute} {
			b.clk.Set(start.Add(at))
			b.look(ledger.FoundAbsent, "", false)
			b.want(id, ledger.Unknown)
		}
		// Proven absent: over at once, and not sent again.
		b.clk.Set(start.Add(12 * time.Minute))
		b.look(ledger.FoundAbsent, "", false)
		b.want(id, ledger.Failed)
		b.clk.Advance(24 * time.Hour)
		b.noLook()
	})
}

func TestForgedReceipts(t *testing.T) {
	run(t, func(b *bench) {
		id := b.put(sms(func(n *ledger.New) {
			n.Plan = []ledger.Hop{{Channel: ledger.ChannelTemplate, AccountID: "w1", Address: "o1"}}
		}))
		_, a := b.send(ledger.LaneNormal, ledger.OK, "biz")
		b.noLook()
		// An unsigned failure changes nothing but causes a question.
		b.receipt(ledger.Receipt{Channel: "sms", AccountID: "a1", OutID: a.OutID, Code: "INVALID_NUMBER"})
		b.want(id, ledger.Submitted)
		b.look(ledger.FoundPending, "", false)
		b.want(id, ledger.Submitted)
		b.noLook()
		// Not for this account, this phone, this channel; and a made-up id.
		for _, r := range []ledger.Receipt{
			{Channel: "sms", AccountID: "a2", OutID: a.OutID, OK: true},
			{Channel: "sms", AccountID: "a1", OutID: a.OutID, Address: "13900000000", OK: true},
			{Channel: "template", AccountID: "a1", OutID: a.OutID, OK: true},
			{Channel: "sms", AccountID: "a1", OutID: "nonsense", VendorID: "nonsense", OK: true},
			{Channel: "sms", AccountID: "a1", OK: true},
		} {
			b.receipt(r)
			b.want(id, ledger.Submitted)
		}
		// The vendor confirms the failure: now it counts, once.
		b.receipt(ledger.Receipt{Channel: "sms", AccountID: "a1", OutID: a.OutID, Code: "INVALID_NUMBER"})
		b.look(ledger.FoundFailed, "INVALID_NUMBER", false)
		d := b.want(id, ledger.Failed)
		b.want(d.NextID, ledger.Planned)
		b.receipt(ledger.Receipt{Channel: "sms", AccountID: "a1", OutID: a.OutID, OK: true})
		b.want(id, ledger.Failed)
	})
}

func TestReceiptFasterThanTheAnswer(t *testing.T) {
	t.Run("by out-id", func(t *testing.T) {
		run(t, func(b *bench) {
			id := b.put(sms(nil))
			a := b.start(b.take(ledger.LaneNormal))
			b.receipt(ledger.Receipt{Channel: "sms", AccountID: "a1", OutID: a.OutID, OK: true, Code: "DELIVERED"})
			b.want(id, ledger.Delivered)
			if d := b.record(a, ledger.OK, "biz"); d.State != ledger.Delivered {
				b.t.Fatalf("the answer undid the receipt: %s", d.State)
			}
			// Again by the vendor's id: nothing happens.
			b.receipt(ledger.Receipt{Channel: "sms", AccountID: "a1", VendorID: "biz", OK: true})
			b.want(id, ledger.Delivered)
		})
	})
	t.Run("by vendor id", func(t *testing.T) {
		run(t, func(b *bench) {
			id := b.put(sms(func(n *ledger.New) { n.Channel, n.Address = ledger.ChannelTemplate, "o1" }))
			a := b.start(b.take(ledger.LaneNormal))
			b.receipt(ledger.Receipt{Channel: "template", AccountID: "a1", VendorID: "777", Address: "o1", OK: true, Confirmed: true})
			b.want(id, ledger.Sending)
			if d := b.record(a, ledger.OK, "777"); d.State != ledger.Delivered {
				b.t.Fatalf("the early event was lost: %s", d.State)
			}
		})
	})
	t.Run("event just between", func(t *testing.T) {
		run(t, func(b *bench) {
			id := b.put(sms(func(n *ledger.New) { n.Channel, n.Address = ledger.ChannelTemplate, "o1" }))
			a := b.start(b.take(ledger.LaneNormal))
			b.receipt(ledger.Receipt{Channel: "template", AccountID: "a1", VendorID: "778", OK: true, Confirmed: true})
			// As if the answer had been recorded at the same moment, unseen.
			if _, err := b.db.ExecContext(b.ctx, `update receipts set tries = 0`); err != nil {
				b.t.Fatal(err)
			}
			b.record(a, ledger.OK, "778")
			b.want(id, ledger.Submitted)
			if _, err := b.db.ExecContext(b.ctx, `update receipts set try_at = $1`, db.At(time.Now())); err != nil {
				b.t.Fatal(err)
			}
			if n, err := b.l.ApplyReceipts(b.ctx, 10); err != nil || n != 1 {
				b.t.Fatalf("applied %d, err %v", n, err)
			}
			b.want(id, ledger.Delivered)
		})
	})
}

func TestInbox(t *testing.T) {
	run(t, func(b *bench) {
		var ids []string
		var list []ledger.Receipt
		for range 3 {
			ids = append(ids, b.put(sms(nil)))
			_, a := b.send(ledger.LaneNormal, ledger.OK, "biz-"+db.NewID())
			r := ledger.Receipt{Channel: "sms", AccountID: "a1", OutID: a.OutID, Address: "13800000001", OK: true, Code: "DELIVERED"}
			list = append(list, r, r) // the vendor pushes twice
		}
		list = append(list, ledger.Receipt{Channel: "sms", AccountID: "a1", OutID: "nobody", OK: true})
		if err := b.l.PutReceipts(b.ctx, list); err != nil {
			b.t.Fatal(err)
		}
		for _, id := range ids {
			b.want(id, ledger.Delivered)
		}
		var left int
		if err := b.db.QueryRowContext(b.ctx, `select count(*) from receipts`).Scan(&left); err != nil || left != 1 {
			b.t.Fatalf("%d receipts left, err %v; want the unknown one", left, err)
		}
		if _, err := b.db.ExecContext(b.ctx, `update receipts set received_at = $1`, db.At(time.Now().Add(-100*time.Hour))); err != nil {
			b.t.Fatal(err)
		}
		if err := b.l.PruneReceipts(b.ctx); err != nil {
			b.t.Fatal(err)
		}
		if err := b.db.QueryRowContext(b.ctx, `select count(*) from receipts`).Scan(&left); err != nil || left != 0 {
			b.t.Fatalf("%d receipts left after pruning", left)
		}
	})
}

func TestMissingReceipt(t *testing.T) {
	run(t, func(b *bench) {
		id := b.put(sms(nil))
		b.send(ledger.LaneNormal, ledger.OK, "biz")
		start := b.clk.Now()
		for _, at := range []time.Duration{10 * time.Minute, 2 * time.Hour, 24 * time.Hour} {
			b.noLook()
			b.clk.Set(start.Add(at))
			b.look(ledger.FoundPending, "", false)
			b.want(id, ledger.Submitted)
		}
		b.clk.Set(start.Add(72 * time.Hour))
		b.noLook()
		if n, err := b.l.Lapse(b.ctx); err != nil || n != 1 {
			b.t.Fatalf("lapsed %d, err %v", n, err)
		}
		b.want(id, ledger.NoReceipt)
	})
}

func TestServiceIsSettledWhenSubmitted(t *testing.T) {
	run(t, func(b *bench) {
		var heard []ledger.Delivery
		b.l.OnFinal("test", func(_ context.Context, _ *db.Tx, d ledger.Delivery) error {
			heard = append(heard, d)
			return nil
		})
		id := b.put(sms(func(n *ledger.New) { n.Channel, n.Class = ledger.ChannelService, ledger.ClassReply }))
		b.send(ledger.LaneNormal, ledger.OK, "")
		if d := b.want(id, ledger.Submitted); !d.Settled() || !d.Reached() || d.FinalAt.IsZero() {
			b.t.Fatalf("not settled: %+v", d)
		}
		if len(heard) != 1 || heard[0].ID != id {
			b.t.Fatalf("heard of %d final results", len(heard))
		}
	})
}

func TestListenerWritesInTheSameTransaction(t *testing.T) {
	run(t, func(b *bench) {
		b.l.OnFinal("echo", func(ctx context.Context, tx *db.Tx, d ledger.Delivery) error {
			if d.Channel != ledger.ChannelService {
				return nil
			}
			_, err := b.l.PutTx(ctx, tx, sms(func(n *ledger.New) { n.Channel, n.Lane = ledger.ChannelGroup, ledger.LaneCard }))
			return err
		})
		b.put(sms(func(n *ledger.New) { n.Channel = ledger.ChannelService }))
		b.send(ledger.LaneNormal, ledger.OK, "")
		b.take(ledger.LaneCard)
	})
}

func TestFailingListenerDoesNotUndoTheResult(t *testing.T) {
	run(t, func(b *bench) {
		var poison string
		heard := map[string]bool{}
		b.l.OnFinal("broken", func(ctx context.Context, tx *db.Tx, d ledger.Delivery) error {
			if d.ID == poison {
				_, err := tx.ExecContext(ctx, `insert into nowhere values (1)`)
				return err
			}
			heard[d.ID] = true
			return nil
		})
		service := func(n *ledger.New) { n.Channel = ledger.ChannelService }
		poison = b.put(sms(service))
		b.send(ledger.LaneNormal, ledger.OK, "")
		b.want(poison, ledger.Submitted)

		// Among many it fails alone: the others are heard.
		valid := func(n *ledger.New) { n.ValidUntil = b.clk.Now().Add(time.Minute) }
		var ids []string
		for range 5 {
			ids = append(ids, b.put(sms(valid)))
		}
		poison = ids[2]
		b.clk.Advance(time.Hour)
		if n, err := b.l.Expire(b.ctx); err != nil || n != 5 {
			b.t.Fatalf("expired %d, err %v", n, err)
		}
		for _, id := range ids {
			b.want(id, ledger.Expired)
			if heard[id] == (id == poison) {
				b.t.Errorf("heard of %s: %v", id, heard[id])
			}
		}

		// The same for receipts that come together.
		ids = nil
		var list []ledger.Receipt
		for range 3 {
			ids = append(ids, b.put(sms(nil)))
			_, a := b.send(ledger.LaneNormal, ledger.OK, db.NewID())
			list = append(list, ledger.Receipt{Channel: "sms", AccountID: "a1", OutID: a.OutID, OK: true})
		}
		poison = ids[1]
		if err := b.l.PutReceipts(b.ctx, list); err != nil {
			b.t.Fatal(err)
		}
		if _, err := b.l.ApplyReceipts(b.ctx, 10); err != nil {
			b.t.Fatal(err)
		}
		for _, id := range ids {
			b.want(id, ledger.Delivered)
			if heard[id] == (id == poison) {
				b.t.Errorf("heard of %s: %v", id, heard[id])
			}
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	run(t, func(b *bench) {
		const n = 200
		for range n {
			b.put(sms(nil))
		}
		seen := make(chan string, 2*n)
		done := make(chan error, 8)
		for range 8 {
			go func() {
				for {
					list, err := b.l.Claim(b.ctx, ledger.ClaimQuery{Lane: ledger.LaneNormal, Limit: 7, Lease: time.Minute})
					if err != nil || len(list) == 0 {
						done <- err
						return
					}
					for _, d := range list {
						a, err := b.l.StartAttempt(b.ctx, d)
						if err != nil {
							done <- err
							return
						}
						seen <- d.ID
						if _, err := b.l.Record(b.ctx, a, ledger.Outcome{Kind: ledger.OK, VendorID: a.OutID}); err != nil {
							done <- err
							return
						}
					}
				}
			}()
		}
		for range 8 {
			if err := <-done; err != nil {
				b.t.Fatal(err)
			}
		}
		close(seen)
		ids := map[string]int{}
		for id := range seen {
			ids[id]++
		}
		left := b.claim(ledger.LaneNormal, n) // a claimer may have seen nothing while others held the rows
		if len(ids)+len(left) != n {
			b.t.Fatalf("%d sent, %d left, want %d", len(ids), len(left), n)
		}
		for id, k := range ids {
			if k != 1 {
				b.t.Fatalf("%s sent %d times", id, k)
			}
		}
	})
}

func TestPayloadOfAHop(t *testing.T) {
	t.Parallel()
	if got := ledger.HopPayload(map[string]int{"a": 1}); string(got) != `{"a":1}` || !json.Valid(got) {
		t.Fatalf("payload %s", got)
	}
}

// TestStress lets two processes claim, call, die, recover and hear receipts,
// doubled and forged, all at once. Afterwards nothing is lost and no rule on
// the number of submissions is broken.
func TestStress(t *testing.T) {
	run(t, func(b *bench) {
		const n = 60
		classes := []ledger.Class{ledger.ClassDanger, ledger.ClassPlanned, ledger.ClassSurvey}
		ids := make([]string, n)
		for i := range n {
			ids[i] = b.put(sms(func(d *ledger.New) {
				d.Class, d.Lane = classes[i%len(classes)], ledger.LaneNormal
				d.OrderKey = fmt.Sprint("k", i%20)
			}))
		}
		// On SQLite there is one process; there, the second is its other half.
		second := b.l
		if b.db.Engine() == db.EnginePostgres {
			second = ledger.Open(b.db, b.clk, slog.New(slog.DiscardHandler))
			defer second.Stop()
		}
		var wg sync.WaitGroup
		for w, l := range []*ledger.Ledger{b.l, second, b.l, second} {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(w), 7))
				for range 40 {
					if err := stressStep(b, l, rnd); err != nil {
						b.t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		// The world calms down: everything left is sent, looked up or given up.
		for range 200 {
			b.clk.Advance(30 * time.Minute)
			for {
				list := b.claim(ledger.LaneNormal, 50)
				for _, d := range list {
					b.record(b.start(d), ledger.OK, "calm-"+d.ID)
				}
				if len(list) == 0 {
					break
				}
			}
			looks, err := b.l.Lookups(b.ctx, ledger.ChannelSMS, 100)
			if err != nil {
				b.t.Fatal(err)
			}
			for _, u := range looks {
				if _, err := b.l.Checked(b.ctx, u.Attempt, ledger.Check{Found: ledger.FoundDelivered}); err != nil {
					b.t.Fatal(err)
				}
			}
			if _, err := b.l.Lapse(b.ctx); err != nil {
				b.t.Fatal(err)
			}
			for _, l := range []*ledger.Ledger{b.l, second} {
				if _, err := l.RecoverStale(b.ctx); err != nil {
					b.t.Fatal(err)
				}
			}
			if open, err := b.l.Open(b.ctx, b.db); err != nil {
				b.t.Fatal(err)
			} else if len(open) == 0 {
				break
			}
			_, err = b.db.ExecContext(b.ctx, `update deliveries set lease_until = $1 where lease_until is not null`, db.At(time.Now().Add(-time.Second)))
			if err != nil {
				b.t.Fatal(err)
			}
		}
		for _, id := range ids {
			d := b.get(id)
			if !d.State.Final() {
				b.t.Errorf("%s is left %s", d.Class, d.State)
			}
			if most := map[ledger.Class]int64{ledger.ClassDanger: 2, ledger.ClassPlanned: 2, ledger.ClassSurvey: 1}[d.Class]; d.Submissions > most {
				b.t.Errorf("%s was submitted %d times", d.Class, d.Submissions)
			}
		}
	})
}

func stressStep(b *bench, l *ledger.Ledger, rnd *rand.Rand) error {
	if rnd.IntN(4) == 0 {
		if _, err := l.RecoverStale(b.ctx); err != nil {
			return err
		}
	}
	list, err := l.Claim(b.ctx, ledger.ClaimQuery{Lane: ledger.LaneNormal, Limit: 3, Lease: time.Duration(rnd.IntN(20)) * time.Millisecond})
	if err != nil {
		return err
	}
	for _, d := range list {
		a, err := l.StartAttemptFor(b.ctx, d, time.Duration(rnd.IntN(20))*time.Millisecond)
		if errors.Is(err, ledger.ErrNotClaimed) || errors.Is(err, ledger.ErrNotNeeded) {
			continue
		}
		if err != nil {
			return err
		}
		vendorID := ""
		kind := []ledger.OutcomeKind{ledger.OK, ledger.OK, ledger.Ambiguous, ledger.Retry, ledger.Unreachable, "crash"}[rnd.IntN(6)]
		if kind == ledger.OK {
			vendorID = a.OutID
		}
		receipt := ledger.Receipt{Channel: "sms", AccountID: "a1", OutID: a.OutID, OK: rnd.IntN(2) == 0, Code: "x", Confirmed: rnd.IntN(2) == 0}
		if rnd.IntN(3) == 0 {
			if err := l.Receipt(b.ctx, receipt); err != nil {
				return err
			}
		}
		if kind == "crash" {
			continue
		}
		if _, err := l.Record(b.ctx, a, ledger.Outcome{Kind: kind, VendorID: vendorID}); err != nil {
			return err
		}
		if err := l.Receipt(b.ctx, receipt); err != nil {
			return err
		}
	}
	return nil
}
