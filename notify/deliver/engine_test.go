package deliver_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/ledger"
	"guanjia/notify/deliver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a vendor: it counts what it was asked to send.
type fake struct {
	channel  string
	accounts []string
	answer   func(ctx context.Context, d ledger.Delivery, a ledger.Attempt) ledger.Outcome

	mu    sync.Mutex
	calls []ledger.Delivery
	ids   map[string]int // by delivery
	outs  map[string]int // by out-id
}

func (f *fake) Channel() string    { return f.channel }
func (f *fake) Accounts() []string { return f.accounts }

func (f *fake) Send(ctx context.Context, d ledger.Delivery, a ledger.Attempt) ledger.Outcome {
	f.mu.Lock()
	if f.ids == nil {
		f.ids, f.outs = map[string]int{}, map[string]int{}
	}
	f.calls = append(f.calls, d)
	f.ids[d.ID]++
	f.outs[a.OutID]++
	f.mu.Unlock()
	if f.answer != nil {
		return f.answer(ctx, d, a)
	}
	return ledger.Outcome{Kind: ledger.OK, VendorID: a.OutID}
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

func (f *fake) sent() []ledger.Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]ledger.Delivery(nil), f.calls...)
}

type bench struct {
	t   *testing.T
	db  *db.DB
	clk clock.Clock
	l   *ledger.Ledger
}

func newBench(t *testing.T, d *db.DB) *bench {
	t.Helper()
	b := &bench{t: t, db: d, clk: clock.System()}
	b.l = ledger.Open(d, b.clk, slog.New(slog.DiscardHandler))
	t.Cleanup(b.l.Stop)
	return b
}

func (b *bench) put(change func(n *ledger.New)) string {
	b.t.Helper()
	n := ledger.New{
		CompanyID: "c1", Channel: ledger.ChannelService, AccountID: "a1", Address: "o1",
		Lane: ledger.LaneReply, Class: ledger.ClassReply, Payload: 1,
	}
	if change != nil {
		change(&n)
	}
	var id string
	err := b.db.InTx(context.Background(), "put", func(ctx context.Context, tx *db.Tx) error {
		var err error
		id, err = b.l.PutTx(ctx, tx, n)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

func (b *bench) get(id string) ledger.Delivery {
	b.t.Helper()
	d, err := b.l.ByID(context.Background(), b.db, id)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// start runs an engine until the test ends.
func (b *bench) start(o deliver.Options, senders ...deliver.Sender) *deliver.Engine {
	b.t.Helper()
	o.Clock = b.clk
	e := deliver.New(b.l, senders, o)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- e.Run(ctx) }()
	b.t.Cleanup(func() {
		stop, stopped := context.WithTimeout(context.Background(), 5*time.Second)
		defer stopped()
		if err := e.Stop(stop); err != nil {
			b.t.Errorf("stop: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("run: %v", err)
		}
	})
	return e
}

// until waits for a condition of the world, not for a time.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("still not: %s", what)
		case <-tick.C:
		}
	}
}

func (b *bench) untilState(id string, s ledger.State) {
	b.t.Helper()
	until(b.t, "state "+string(s), func() bool { return b.get(id).State == s })
}

func run(t *testing.T, f func(b *bench)) {
	t.Helper()
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) { f(newBench(t, d)) })
}

func TestSendsWithoutPollingDelay(t *testing.T) {
	run(t, func(b *bench) {
		f := &fake{channel: ledger.ChannelService}
		b.start(deliver.Options{Poll: time.Hour, Registry: prometheus.NewRegistry()}, f)
		for i := range 3 {
			id := b.put(nil)
			b.untilState(id, ledger.Submitted)
			if f.count() != i+1 {
				b.t.Fatalf("%d calls", f.count())
			}
		}
	})
}

func TestHeldReplyLeavesInTime(t *testing.T) {
	run(t, func(b *bench) {
		f := &fake{channel: ledger.ChannelService}
		b.start(deliver.Options{}, f)
		due := b.clk.Now().Add(300 * time.Millisecond)
		id := b.put(func(n *ledger.New) { n.NotBefore = due })
		b.untilState(id, ledger.Submitted)
		if now := b.clk.Now(); now.Before(due) {
			b.t.Fatalf("sent %v too early", due.Sub(now))
		}
	})
}

func TestOrderPerAddress(t *testing.T) {
	run(t, func(b *bench) {
		var flaky atomic.Int64
		f := &fake{channel: ledger.ChannelService}
		f.answer = func(context.Context, ledger.Delivery, ledger.Attempt) ledger.Outcome {
			if flaky.Add(1) == 1 {
				return ledger.Outcome{Kind: ledger.Throttled, RetryAfter: 10 * time.Millisecond}
			}
			return ledger.Outcome{Kind: ledger.OK}
		}
		var want []string
		for range 5 {
			want = append(want, b.put(func(n *ledger.New) { n.OrderKey = "o1" }))
		}
		b.start(deliver.Options{}, f)
		b.untilState(want[4], ledger.Submitted)
		calls := f.sent()
		for i, id := range append([]string{want[0]}, want...) {
			if calls[i].ID != id {
				b.t.Fatalf("call %d was for another delivery", i)
			}
		}
	})
}

// TestEmergencyOvertakes: a full bulk lane does not delay an emergency.
func TestEmergencyOvertakes(t *testing.T) {
	run(t, func(b *bench) {
		gate := make(chan struct{})
		bulk := &fake{channel: ledger.ChannelTemplate}
		bulk.answer = func(ctx context.Context, _ ledger.Delivery, _ ledger.Attempt) ledger.Outcome {
			select {
			case <-gate:
			case <-ctx.Done():
			}
			return ledger.Outcome{Kind: ledger.OK}
		}
		urgent := &fake{channel: ledger.ChannelService}
		for range 100 {
			b.put(func(n *ledger.New) {
				n.Channel, n.Lane, n.Class = ledger.ChannelTemplate, ledger.LaneBulk, ledger.ClassSurvey
			})
		}
		b.start(deliver.Options{}, bulk, urgent)
		until(b.t, "the bulk lane is full", func() bool { return bulk.count() >= 16 })
		id := b.put(func(n *ledger.New) { n.Lane, n.Class = ledger.LaneEmergency, ledger.ClassDanger })
		b.untilState(id, ledger.Submitted)
		close(gate)
	})
}

func TestReservedShareOfTheRate(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	f := &fake{channel: ledger.ChannelService}
	for range 50 {
		b.put(func(n *ledger.New) { n.Lane, n.Class = ledger.LaneBulk, ledger.ClassSurvey })
	}
	b.start(deliver.Options{Rates: func(string, string) deliver.Rate {
		return deliver.Rate{PerSecond: 1, Burst: 2, Reserved: 0.9}
	}}, f)
	until(t, "bulk is held by its rate", func() bool { return f.count() >= 2 })
	id := b.put(func(n *ledger.New) { n.Lane, n.Class = ledger.LaneEmergency, ledger.ClassDanger })
	b.untilState(id, ledger.Submitted)
	if n := f.count(); n > 20 {
		t.Errorf("the emergency waited behind %d surveys", n)
	}
}

func TestMoneyStopsTheAccountAndItsOwnerHears(t *testing.T) {
	run(t, func(b *bench) {
		alarms := make(chan deliver.Alarm, 4)
		broke := &fake{channel: ledger.ChannelService}
		broke.answer = func(_ context.Context, d ledger.Delivery, _ ledger.Attempt) ledger.Outcome {
			if d.AccountID == "poor" {
				return ledger.Outcome{Kind: ledger.Money, Code: "isv.AMOUNT_NOT_ENOUGH"}
			}
			return ledger.Outcome{Kind: ledger.OK}
		}
		for range 100 {
			b.put(func(n *ledger.New) { n.AccountID = "poor" })
		}
		b.start(deliver.Options{
			Workers: map[ledger.Lane]int{ledger.LaneReply: 1},
			Alarm:   func(_ context.Context, a deliver.Alarm) { alarms <- a },
		}, broke)
		a := <-alarms
		if a.Kind != ledger.Money || a.AccountID != "poor" || !a.Open {
			b.t.Fatalf("alarm %+v", a)
		}
		rich := b.put(func(n *ledger.New) { n.AccountID = "rich" })
		b.untilState(rich, ledger.Submitted)
		poor := 0
		for _, d := range broke.sent() {
			if d.AccountID == "poor" {
				poor++
			}
		}
		if poor > 3 {
			b.t.Fatalf("%d calls for an account without money", poor)
		}
	})
}

func TestThrottledAccountSlowsDown(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	var n atomic.Int64
	f := &fake{channel: ledger.ChannelService}
	f.answer = func(context.Context, ledger.Delivery, ledger.Attempt) ledger.Outcome {
		if n.Add(1) <= 3 {
			return ledger.Outcome{Kind: ledger.Throttled, Code: "Throttling.User"}
		}
		return ledger.Outcome{Kind: ledger.OK}
	}
	var ids []string
	for range 5 {
		ids = append(ids, b.put(nil))
	}
	b.start(deliver.Options{}, f)
	for _, id := range ids {
		b.untilState(id, ledger.Submitted)
	}
	if got := f.count(); got != 8 {
		t.Fatalf("%d calls, want 8", got)
	}
}

func TestPanickingSenderLeavesAnUnknownResult(t *testing.T) {
	run(t, func(b *bench) {
		f := &fake{channel: ledger.ChannelSubscribe}
		f.answer = func(context.Context, ledger.Delivery, ledger.Attempt) ledger.Outcome { panic("secret text") }
		id := b.put(func(n *ledger.New) { n.Channel = ledger.ChannelSubscribe })
		b.start(deliver.Options{}, f)
		b.untilState(id, ledger.Unknown)
	})
}

func TestAccountsAreAsked(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	f := &fake{channel: ledger.ChannelService, accounts: []string{"mine"}}
	other := b.put(func(n *ledger.New) { n.AccountID = "other" })
	mine := b.put(func(n *ledger.New) { n.AccountID = "mine" })
	unserved := b.put(func(n *ledger.New) { n.Channel = ledger.ChannelCard })
	e := b.start(deliver.Options{}, f)
	b.untilState(mine, ledger.Submitted)
	if err := e.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{other, unserved} {
		if s := b.get(id).State; s != ledger.Planned {
			t.Errorf("state %s of a delivery that this node does not serve", s)
		}
	}
}

// TestStopFinishesTheCallInHand: the first step takes nothing new, the second
// waits for calls, and what was claimed and not begun is given back.
func TestStopFinishesTheCallInHand(t *testing.T) {
	run(t, func(b *bench) {
		entered, leave := make(chan struct{}, 100), make(chan struct{})
		f := &fake{channel: ledger.ChannelService}
		f.answer = func(context.Context, ledger.Delivery, ledger.Attempt) ledger.Outcome {
			entered <- struct{}{}
			<-leave
			return ledger.Outcome{Kind: ledger.OK}
		}
		var ids []string
		for range 10 {
			ids = append(ids, b.put(nil))
		}
		e := deliver.New(b.l, []deliver.Sender{f}, deliver.Options{Clock: b.clk, Workers: map[ledger.Lane]int{ledger.LaneReply: 2}})
		done := make(chan error, 1)
		go func() { done <- e.Run(context.Background()) }()
		<-entered
		<-entered
		stopped := make(chan error, 1)
		go func() { stopped <- e.Stop(context.Background()) }()
		until(b.t, "what was not begun is given back", func() bool {
			planned := 0
			for _, id := range ids {
				if b.get(id).State == ledger.Planned {
					planned++
				}
			}
			return planned == 8
		})
		select {
		case <-stopped:
			b.t.Fatal("stopped with a call in hand")
		default:
		}
		close(leave)
		if err := <-stopped; err != nil {
			b.t.Fatal(err)
		}
		if err := <-done; err != nil {
			b.t.Fatal(err)
		}
		if f.count() != 2 {
			b.t.Fatalf("%d calls", f.count())
		}
		if err := e.Run(context.Background()); err == nil {
			b.t.Fatal("ran twice")
		}
	})
}

func TestStopCancelsWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	entered := make(chan struct{})
	f := &fake{channel: ledger.ChannelSubscribe}
	f.answer = func(ctx context.Context, _ ledger.Delivery, _ ledger.Attempt) ledger.Outcome {
		close(entered)
		<-ctx.Done()
		return ledger.Outcome{Kind: ledger.Ambiguous, Code: "cancelled"}
	}
	id := b.put(func(n *ledger.New) { n.Channel = ledger.ChannelSubscribe })
	e := deliver.New(b.l, []deliver.Sender{f}, deliver.Options{Clock: b.clk})
	done := make(chan error, 1)
	go func() { done <- e.Run(context.Background()) }()
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	<-done
	if s := b.get(id).State; s != ledger.Unknown {
		t.Fatalf("state %s", s)
	}
}

// TestKilledAtEveryPoint plays a process that dies at each kill point: its
// goroutine ends there and nothing after it happens. Another engine takes
// over; nothing is lost, and only calls of unknown result of a class that says
// so are made twice.
func TestKilledAtEveryPoint(t *testing.T) {
	for _, point := range []string{
		deliver.PointClaimed, deliver.PointSending, deliver.PointCalled, deliver.PointRecorded,
	} {
		for _, class := range []ledger.Class{ledger.ClassReply, ledger.ClassSurvey} {
			t.Run(point+" "+string(class), func(t *testing.T) {
				run(t, func(b *bench) { killedAt(b, point, class) })
			})
		}
	}
}

func killedAt(b *bench, point string, class ledger.Class) {
	f := &fake{channel: ledger.ChannelService}
	id := b.put(func(n *ledger.New) { n.Class = class })

	dead := ledger.Open(b.db, b.clk, slog.New(slog.DiscardHandler))
	hit, never := make(chan struct{}), make(chan struct{})
	var once sync.Once
	victim := deliver.New(dead, []deliver.Sender{f}, deliver.Options{Clock: b.clk, Points: func(name string) {
		if name != point {
			return
		}
		once.Do(func() { close(hit) })
		<-never // as good as dead
	}})
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan error, 1)
	go func() { gone <- victim.Run(ctx) }()
	<-hit
	cancel() // it claims nothing more, and its call in hand never ends

	// Its leases run out.
	_, err := b.db.ExecContext(context.Background(),
		`update deliveries set lease_until = $1 where state in ('claimed', 'sending')`, db.At(time.Now().Add(-time.Second)))
	if err != nil {
		b.t.Fatal(err)
	}
	e := b.start(deliver.Options{}, f)
	want := ledger.Submitted
	lost := point == deliver.PointSending || point == deliver.PointCalled
	if lost && class == ledger.ClassSurvey {
		want = ledger.Unknown
	}
	b.untilState(id, want)
	if err := e.Settle(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	calls := f.count()
	switch {
	case point == deliver.PointCalled && class == ledger.ClassReply:
		if calls != 2 {
			b.t.Errorf("%d calls: a reply of unknown result is sent once more", calls)
		}
	case point == deliver.PointSending && class == ledger.ClassSurvey:
		if calls != 0 {
			b.t.Errorf("%d calls: a survey whose call may have been made is not sent again", calls)
		}
	default:
		if calls != 1 {
			b.t.Errorf("%d calls, want 1", calls)
		}
	}
	close(never)
	<-gone
	dead.Stop()
}

func TestSettle(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	clk := clock.NewManual(time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC))
	b.clk = clk
	b.l = ledger.Open(b.db, clk, slog.New(slog.DiscardHandler))
	t.Cleanup(b.l.Stop)
	f := &fake{channel: ledger.ChannelService}
	e := b.start(deliver.Options{Poll: time.Hour}, f)
	var ids []string
	for i := range 20 {
		ids = append(ids, b.put(func(n *ledger.New) {
			n.NotBefore = clk.Now().Add(time.Hour + time.Duration(i)*time.Second)
		}))
	}
	clk.Advance(2 * time.Hour)
	if err := e.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if s := b.get(id).State; s != ledger.Submitted {
			t.Errorf("state %s after the clock was moved", s)
		}
	}
}

func TestSurvivesAStoppedDatabase(t *testing.T) {
	t.Parallel()
	srv, url := dbtest.NewServer(t)
	d := dbtest.Open(t, url)
	b := newBench(t, d)
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	f := &fake{channel: ledger.ChannelService}
	f.answer = func(context.Context, ledger.Delivery, ledger.Attempt) ledger.Outcome {
		entered <- struct{}{}
		<-leave
		return ledger.Outcome{Kind: ledger.OK}
	}
	id := b.put(func(n *ledger.New) { n.Class = ledger.ClassSurvey })
	b.start(deliver.Options{}, f)
	<-entered
	srv.Stop(t)
	close(leave) // the vendor answers while the database is away
	srv.Start(t)
	until(t, "the outcome is recorded", func() bool {
		got, err := b.l.ByID(context.Background(), b.db, id) // the server may still be starting
		return err == nil && got.State == ledger.Submitted
	})
	if f.count() != 1 {
		t.Fatalf("%d calls", f.count())
	}
}

func BenchmarkEngine(b *testing.B) {
	d := dbtest.SQLite(b)
	l := ledger.Open(d, clock.System(), slog.New(slog.DiscardHandler))
	defer l.Stop()
	err := d.InTx(context.Background(), "put", func(ctx context.Context, tx *db.Tx) error {
		for i := range b.N {
			_, err := l.PutTx(ctx, tx, ledger.New{
				CompanyID: "c", Channel: ledger.ChannelService, AccountID: "a", Address: fmt.Sprint(i),
				Lane: ledger.LaneBulk, Payload: 1,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	f := &fake{channel: ledger.ChannelService}
	e := deliver.New(l, []deliver.Sender{f}, deliver.Options{Workers: map[ledger.Lane]int{ledger.LaneBulk: 64}})
	b.ResetTimer()
	go func() { _ = e.Run(context.Background()) }()
	for f.count() < b.N {
		time.Sleep(time.Millisecond)
	}
	_ = e.Stop(context.Background())
}

// bulk puts n rows of a reference.
func (b *bench) bulk(ref string, n int, change func(k *ledger.Bulk)) {
	b.t.Helper()
	k := ledger.Bulk{
		CompanyID: "c1", Channel: ledger.ChannelSMS, Lane: ledger.LaneBulk, Class: ledger.ClassPlanned,
		RefKind: "notice", RefID: ref, Payload: 1,
		Rows: `with recursive n(i) as (select 1 union all select i + 1 from n where i < cast($2 as bigint))
			select cast($1 as text) || '-' || cast(i as text) as id, 's1' as account_id,
				cast(13800000000 + i as text) as address, '' as skip_code, '' as plan from n`,
		Args: []any{ref, n},
	}
	if change != nil {
		change(&k)
	}
	err := b.db.InTx(context.Background(), "bulk", func(ctx context.Context, tx *db.Tx) error {
		_, err := b.l.PutBulkTx(ctx, tx, k)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) states(ref string) map[ledger.State]int64 {
	b.t.Helper()
	list, err := b.l.Counts(context.Background(), b.db, "notice", ref)
	if err != nil {
		b.t.Fatal(err)
	}
	m := map[ledger.State]int64{}
	for _, c := range list {
		m[c.State] += c.N
	}
	return m
}

func (b *bench) tx(f func(ctx context.Context, tx *db.Tx) error) {
	b.t.Helper()
	if err := b.db.InTx(context.Background(), "test", f); err != nil {
		b.t.Fatal(err)
	}
}

// alarms gathers what an engine cries.
type alarms struct {
	mu   sync.Mutex
	list []deliver.Alarm
}

func (a *alarms) hear(_ context.Context, x deliver.Alarm) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, x)
}

func (a *alarms) count(match func(x deliver.Alarm) bool) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, x := range a.list {
		if match(x) {
			n++
		}
	}
	return n
}

// A template that is withdrawn midway stops its own broadcast and nothing else;
// after it is back, the rest is sent and nobody twice.
func TestWithdrawnTemplateHoldsItsBulk(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		b := newBench(t, d)
		var gone atomic.Bool
		var other atomic.Int64
		vendor := &fake{channel: ledger.ChannelSMS, answer: func(_ context.Context, d ledger.Delivery, a ledger.Attempt) ledger.Outcome {
			if d.RefID != "n1" {
				other.Add(1)
				return ledger.Outcome{Kind: ledger.OK, VendorID: a.OutID}
			}
			if gone.Load() {
				return ledger.Outcome{Kind: ledger.Template, Code: "isv.SMS_TEMPLATE_ILLEGAL"}
			}
			return ledger.Outcome{Kind: ledger.OK, VendorID: a.OutID}
		}}
		var heard alarms
		var held atomic.Int64
		gone.Store(true)
		b.start(deliver.Options{
			Workers: map[ledger.Lane]int{ledger.LaneBulk: 4}, Alarm: heard.hear, Poll: 20 * time.Millisecond,
			Held: func(_ context.Context, kind, id, code string) {
				if kind == "notice" && id == "n1" && code == "isv.SMS_TEMPLATE_ILLEGAL" {
					held.Add(1)
				}
			},
		}, vendor)
		b.bulk("n1", 60, nil)
		until(t, "the notice is held", func() bool { return held.Load() == 1 })
		b.bulk("n2", 10, nil)
		until(t, "the other notice leaves", func() bool { return other.Load() == 10 })
		got := b.states("n1")
		if got[ledger.Failed] != 0 || got[ledger.Submitted] != 0 {
			t.Fatalf("states of the held notice: %v", got)
		}
		if n := heard.count(func(x deliver.Alarm) bool { return x.Open && x.RefID == "n1" }); n != 1 {
			t.Fatalf("%d alarms, want one", n)
		}
		gone.Store(false)
		b.tx(func(ctx context.Context, tx *db.Tx) error {
			// What was refused waits a minute; the test does not.
			if _, err := tx.ExecContext(ctx, `update deliveries set due_at = created_at where state = 'planned'`); err != nil {
				return err
			}
			return b.l.FreeTx(ctx, tx, "notice", "n1")
		})
		until(t, "the rest is sent", func() bool { return b.states("n1")[ledger.Submitted] == 60 })
	})
}

// The same refusal five times is not five recipients' fault: the rest waits.
func TestSharedRefusalHoldsItsBulk(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	vendor := &fake{channel: ledger.ChannelSMS, answer: func(context.Context, ledger.Delivery, ledger.Attempt) ledger.Outcome {
		return ledger.Outcome{Kind: ledger.Permanent, Code: "isv.TEMPLATE_PARAMS_ILLEGAL"}
	}}
	var held atomic.Int64
	b.start(deliver.Options{
		Workers: map[ledger.Lane]int{ledger.LaneBulk: 2},
		Held:    func(context.Context, string, string, string) { held.Add(1) },
	}, vendor)
	b.bulk("n1", 200, nil)
	until(t, "the notice is held", func() bool { return held.Load() == 1 })
	until(t, "calls under way end", func() bool { s := b.states("n1"); return s[ledger.Sending]+s[ledger.Claimed] == 0 })
	got := b.states("n1")
	if got[ledger.Failed] < 5 || got[ledger.Failed] > 10 || got[ledger.Planned] != 200-got[ledger.Failed] {
		t.Fatalf("states %v: want five failed, or those under way, and the rest waiting", got)
	}
}

// Pause and cancel reach what workers already hold.
func TestPauseAndCancel(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		b := newBench(t, d)
		gate := make(chan struct{})
		vendor := &fake{channel: ledger.ChannelSMS, answer: func(ctx context.Context, _ ledger.Delivery, a ledger.Attempt) ledger.Outcome {
			select {
			case <-gate:
			case <-ctx.Done():
			}
			return ledger.Outcome{Kind: ledger.OK, VendorID: a.OutID}
		}}
		b.start(deliver.Options{Workers: map[ledger.Lane]int{ledger.LaneBulk: 4}, Poll: 20 * time.Millisecond}, vendor)
		b.bulk("n1", 100, nil)
		until(t, "calls are under way", func() bool { return vendor.count() == 4 })
		b.tx(func(ctx context.Context, tx *db.Tx) error { return b.l.HoldTx(ctx, tx, "notice", "n1", "paused") })
		close(gate)
		until(t, "what was claimed is given back", func() bool { return b.states("n1")[ledger.Planned] == 96 })
		if n := vendor.count(); n != 4 {
			t.Fatalf("%d calls after the pause, want the 4 under way", n)
		}
		if n, err := b.l.CancelRef(context.Background(), "notice", "n1"); err != nil || n != 96 {
			t.Fatalf("cancelled %d, %v", n, err)
		}
	})
}

// Housekeeping ends a cancellation whose process died.
func TestHousekeepingCancels(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	b.bulk("n1", 50, nil)
	b.tx(func(ctx context.Context, tx *db.Tx) error { return b.l.WithdrawTx(ctx, tx, "notice", "n1") })
	vendor := &fake{channel: ledger.ChannelSMS}
	b.start(deliver.Options{}, vendor)
	until(t, "all are cancelled", func() bool { return b.states("n1")[ledger.Cancelled] == 50 })
	if vendor.count() != 0 {
		t.Fatal("something was sent")
	}
}

// The day's cap stops the calm lanes short of it, and leaves emergencies their part.
func TestDailyCap(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	vendor := &fake{channel: ledger.ChannelSMS}
	var heard alarms
	b.start(deliver.Options{
		Workers: map[ledger.Lane]int{ledger.LaneBulk: 2}, Alarm: heard.hear, Poll: 20 * time.Millisecond,
		Rates: func(string, string) deliver.Rate { return deliver.Rate{PerDay: 50, Reserved: 0.2} },
	}, vendor)
	b.bulk("n1", 200, nil)
	until(t, "the cap is told", func() bool {
		return heard.count(func(x deliver.Alarm) bool { return x.Open && x.Kind == ledger.Quota }) == 1
	})
	calm := vendor.count()
	if calm < 40 || calm > 45 {
		t.Fatalf("%d calls before the cap of 40", calm)
	}
	b.bulk("n2", 5, func(k *ledger.Bulk) { k.Lane, k.Class = ledger.LaneEmergency, ledger.ClassDanger })
	until(t, "emergencies leave", func() bool { return b.states("n2")[ledger.Submitted] == 5 })
	if n := vendor.count(); n != calm+5 {
		t.Fatalf("%d calls, want the emergencies only", n-calm)
	}
}

// A running broadcast gives way to an emergency.
func TestBroadcastGivesWay(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	var emergencies atomic.Int64
	vendor := &fake{channel: ledger.ChannelSMS, answer: func(_ context.Context, d ledger.Delivery, a ledger.Attempt) ledger.Outcome {
		if d.Lane == ledger.LaneEmergency {
			emergencies.Add(1)
		}
		return ledger.Outcome{Kind: ledger.OK, VendorID: a.OutID}
	}}
	b.start(deliver.Options{}, vendor)
	b.bulk("n1", 5000, nil)
	until(t, "the broadcast runs", func() bool { return vendor.count() > 100 })
	b.bulk("n2", 300, func(k *ledger.Bulk) { k.Lane, k.Class = ledger.LaneEmergency, ledger.ClassDanger })
	before := vendor.count()
	until(t, "all emergencies are out", func() bool { return emergencies.Load() == 300 })
	if others := vendor.count() - before - 300; others > 600 {
		t.Errorf("%d others left meanwhile; the emergency had to share", others)
	}
}
