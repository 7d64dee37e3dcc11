package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/ledger"
)

// Sender makes the calls of one channel.
type Sender interface {
	// Channel is the ledger's name of the channel.
	Channel() string
	// Accounts limits the sender to accounts, asked before every claim; nil
	// means any. A node serves a bot only while it holds the bot's socket.
	Accounts() []string
	// Send makes one call and classifies its outcome. It returns by the
	// deadline of ctx, never panics on purpose and repeats nothing that may
	// have been accepted.
	Send(ctx context.Context, d ledger.Delivery, a ledger.Attempt) ledger.Outcome
}

// Kill points, in the order in which a delivery passes them. Options.Points
// hears their names; a crash at any of them loses nothing.
const (
	PointClaimed  = "delivery.claimed"
	PointSending  = "delivery.sending"
	PointCalled   = "delivery.called"
	PointRecorded = "delivery.recorded"
)

// Options of an Engine. The zero value of each has a default.
type Options struct {
	Clock    clock.Clock
	Logger   *slog.Logger
	Registry prometheus.Registerer // nil: no metrics
	// Rates gives the calls a second of an account; nil or zero: no limit.
	Rates func(channel, accountID string) Rate
	// Redis shares the rates between nodes; nil: this node has them alone.
	Redis redis.UniversalClient
	// StateFile keeps how far this node saw the database come, beside its spool;
	// by it a restored backup is noticed. "": only Redis and memory tell.
	StateFile string
	// Nodes that send. While Redis is away each keeps to its part of a rate.
	Nodes int
	// Workers a lane.
	Workers map[ledger.Lane]int
	// CallTimeout ends a call; CallLease is when others take it for dead.
	CallTimeout time.Duration
	// Poll is how often an idle lane looks though nobody woke it.
	Poll time.Duration
	// Alarm hears when an account is stopped, and when it works again.
	Alarm func(ctx context.Context, a Alarm)
	// Held hears of a reference put as a bulk that the engine has held, because
	// what it sends is refused for a reason that all of it shares: the vendor's
	// template is withdrawn, or one refusal came again and again. Resuming it is
	// ledger.FreeTx.
	Held func(ctx context.Context, refKind, refID, code string)
	// Points hears the name of every kill point that is passed.
	Points func(name string)
}

const (
	defaultCallTimeout = 10 * time.Second
	defaultPoll        = time.Second
	// leaseMargin is what a call's lease exceeds its time-out by: the write of
	// the outcome must fit into it.
	leaseMargin = 10 * time.Second
	// claimLease is how long a claimed delivery may wait for a worker. Short,
	// because what a dead node had claimed waits as long; whoever waits longer
	// is told so when his call would begin, and drops it.
	claimLease = 20 * time.Second
	// longWait: whoever would wait longer for his account's rate is given back.
	longWait = 2 * time.Second
	// maintainEvery is the pace of the housekeeping.
	maintainEvery = time.Second
	// stopBudget: Run's own patience with calls in hand when its context ends.
	stopBudget = 8 * time.Second
)

// defaultWorkers are calls at the same time. A vendor that answers within
// 100 ms takes ten a second from each worker: the emergency lane must submit
// 5,000 within ten seconds. Idle workers cost nothing, and more of them make
// larger batches of what the ledger writes before and after the calls.
var defaultWorkers = map[ledger.Lane]int{
	ledger.LaneEmergency: 64,
	ledger.LaneReply:     16,
	ledger.LaneCard:      8,
	ledger.LaneNormal:    16,
	ledger.LaneBulk:      128,
}

// Engine runs the lanes. Make it with New, run it once with Run.
type Engine struct {
	l       *ledger.Ledger
	o       Options
	log     *slog.Logger
	senders map[string]Sender
	sources *sources
	shared  *shared // nil: one node
	m       *metrics

	stopping  chan struct{} // closed: take nothing new
	stopOnce  sync.Once
	done      chan struct{} // closed: Run has returned
	running   atomic.Bool
	kill      context.CancelFunc
	calls     context.Context
	inHand    atomic.Int64  // claimed, not yet recorded
	progress  atomic.Uint64 // counts everything that happened
	rounds    map[ledger.Lane]*atomic.Uint64
	urgent    urgency
	refusals  refusals
	guard     *guard
	guardTold atomic.Bool  // that nothing is sent
	lookedAt  atomic.Int64 // when the accounts' settings and days were read
}

// New makes an engine for the channels of the senders.
func New(l *ledger.Ledger, senders []Sender, o Options) *Engine {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = defaultCallTimeout
	}
	if o.Poll <= 0 {
		o.Poll = defaultPoll
	}
	if o.Alarm == nil {
		o.Alarm = func(context.Context, Alarm) {}
	}
	if o.Held == nil {
		o.Held = func(context.Context, string, string, string) {}
	}
	if o.Points == nil {
		o.Points = func(string) {}
	}
	e := &Engine{
		l: l, o: o, log: o.Logger, senders: make(map[string]Sender, len(senders)),
		sources: newSources(o.Rates), shared: newShared(o.Redis), m: newMetrics(o.Registry),
		stopping: make(chan struct{}), done: make(chan struct{}),
	}
	for _, s := range senders {
		e.senders[s.Channel()] = s
	}
	e.guard = newGuard(l, o.StateFile, o.Redis)
	e.rounds = make(map[ledger.Lane]*atomic.Uint64, len(ledger.Lanes()))
	for _, lane := range ledger.Lanes() {
		e.rounds[lane] = new(atomic.Uint64)
	}
	e.calls, e.kill = context.WithCancel(context.Background())
	return e
}

// Run works until Stop or the end of ctx, and returns when every call in hand
// is recorded. It may be run once.
func (e *Engine) Run(ctx context.Context) error {
	if !e.running.CompareAndSwap(false, true) {
		return errors.New("deliver: engine was run before")
	}
	defer close(e.done)
	defer e.kill()

	e.keepGuard(ctx, e.guard.begin)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		e.tell(ctx, "look at the beat", e.guard.end(ctx))
	}()
	// What a former life of this process left is taken care of before anything
	// new is claimed.
	e.maintain(ctx, true)

	var wg sync.WaitGroup
	for _, lane := range ledger.Lanes() {
		n := e.o.Workers[lane]
		if n <= 0 {
			n = defaultWorkers[lane]
		}
		r := &runner{e: e, lane: lane, workers: n}
		wg.Go(func() { r.run(ctx) })
	}
	wg.Go(func() { e.keepHouse(ctx) })
	finished := make(chan struct{})
	go func() {
		wg.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
	}
	e.takeNothing()
	select {
	case <-finished:
		return nil
	case <-time.After(stopBudget):
	}
	e.kill()
	<-finished
	return nil
}

func (e *Engine) takeNothing() { e.stopOnce.Do(func() { close(e.stopping) }) }

// Stop ends the engine in three steps: it takes nothing new, lets the calls in
// hand finish until ctx ends, then cancels them. A cancelled call is recorded
// as of unknown result.
func (e *Engine) Stop(ctx context.Context) error {
	e.takeNothing()
	if !e.running.Load() {
		e.kill()
		return nil
	}
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
	}
	e.kill()
	select {
	case <-e.done:
		return nil
	case <-time.After(leaseMargin):
		return fmt.Errorf("deliver: %d deliveries still in hand", e.inHand.Load())
	}
}

// InHand is how many deliveries are claimed or being sent by this process.
func (e *Engine) InHand() int64 { return e.inHand.Load() }

// Settle returns when what is due by the product's clock has been sent or can
// not be sent now: the question of a clock that was moved.
func (e *Engine) Settle(ctx context.Context) error {
	const look = 10 * time.Millisecond
	tick := time.NewTicker(look)
	defer tick.Stop()
	e.maintain(ctx, false)
	seen, rounds := e.progress.Load(), e.claimRounds()
	for {
		for _, lane := range ledger.Lanes() {
			e.l.Wake(lane)
		}
		due, err := e.l.Due(ctx)
		if err != nil {
			return fmt.Errorf("settle deliveries: %w", err)
		}
		idle := e.inHand.Load() == 0
		if !due && idle {
			return nil
		}
		if now := e.progress.Load(); now != seen || !idle {
			seen, rounds = now, e.claimRounds()
		}
		if e.lookedTwice(rounds) {
			return nil // held by a breaker, or nobody here serves its channel
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.done:
			return errors.New("settle deliveries: the engine has stopped")
		case <-tick.C:
		}
	}
}

// claimRounds is how often each lane has looked for something to do.
func (e *Engine) claimRounds() map[ledger.Lane]uint64 {
	m := make(map[ledger.Lane]uint64, len(e.rounds))
	for lane, n := range e.rounds {
		m[lane] = n.Load()
	}
	return m
}

// lookedTwice tells whether every lane has since then begun and finished a
// look of its own that found nothing.
func (e *Engine) lookedTwice(since map[ledger.Lane]uint64) bool {
	for lane, n := range e.rounds {
		if n.Load() < since[lane]+2 {
			return false
		}
	}
	return true
}

// keepHouse applies receipts as they come and does the ledger's periodic work.
func (e *Engine) keepHouse(ctx context.Context) {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-e.stopping:
			return
		case <-ctx.Done():
			return
		case <-e.l.Inbox():
			e.applyReceipts(ctx)
			continue
		case <-tick.C:
		}
		e.keepGuard(ctx, e.guard.look)
		e.maintain(ctx, n%5 == 0)
		if n%600 == 0 {
			e.tell(ctx, "prune receipts", e.l.PruneReceipts(ctx))
		}
	}
}

func (e *Engine) maintain(ctx context.Context, recoverStale bool) {
	if recoverStale {
		n, err := e.l.RecoverStale(ctx)
		e.tell(ctx, "recover deliveries", err)
		if n > 0 {
			e.log.WarnContext(ctx, "took over deliveries of a dead worker", "n", n)
		}
	}
	_, err := e.l.Expire(ctx)
	e.tell(ctx, "expire deliveries", err)
	_, err = e.l.CancelWithdrawn(ctx)
	e.tell(ctx, "cancel withdrawn deliveries", err)
	_, err = e.l.Lapse(ctx)
	e.tell(ctx, "end waits for receipts", err)
	e.applyReceipts(ctx)
}

func (e *Engine) applyReceipts(ctx context.Context) {
	const most = 200
	for {
		n, err := e.l.ApplyReceipts(ctx, most)
		e.tell(ctx, "apply receipts", err)
		if n > 0 {
			e.progress.Add(1)
		}
		if err != nil || n < most {
			return
		}
	}
}

// tell logs a failure of the database when it is news.
func (e *Engine) tell(ctx context.Context, what string, err error) {
	if err == nil || ctx.Err() != nil {
		if err == nil {
			e.m.trouble(what, false)
		}
		return
	}
	if e.m.trouble(what, true) {
		e.log.ErrorContext(ctx, "delivery: "+what+" failed", "err", err)
	}
}

// runner is one lane.
type runner struct {
	e       *Engine
	lane    ledger.Lane
	workers int
	queue   chan ledger.Delivery // claimed, waiting for a worker
	low     chan struct{}        // a worker sees the queue running dry
}

func (r *runner) run(ctx context.Context) {
	r.queue = make(chan ledger.Delivery, 2*r.workers)
	r.low = make(chan struct{}, 1)
	var wg sync.WaitGroup
	for range r.workers {
		wg.Go(r.work)
	}
	r.claimLoop(ctx)
	r.giveBack()
	close(r.queue)
	wg.Wait()
}

// giveBack releases what is claimed and not begun, so that another node, or
// this one's next life, has it at once.
func (r *runner) giveBack() {
	var list []ledger.Delivery
	for {
		select {
		case d := <-r.queue:
			list = append(list, d)
			continue
		default:
		}
		break
	}
	if len(list) == 0 {
		return
	}
	r.e.inHand.Add(-int64(len(list)))
	if r.lane == ledger.LaneEmergency {
		r.e.urgent.add(-len(list))
	}
	ctx, cancel := context.WithTimeout(r.e.calls, 2*time.Second)
	defer cancel()
	if err := r.e.l.Release(ctx, time.Time{}, list...); err != nil {
		r.e.log.Warn("claimed deliveries wait for the end of their lease", "n", len(list), "err", err)
	}
}

func (r *runner) claimLoop(ctx context.Context) {
	for {
		room := cap(r.queue) - len(r.queue)
		wait := r.e.o.Poll
		if room >= r.workers || len(r.queue) == 0 {
			var n int
			n, wait = r.claim(ctx, room)
			if n > 0 && len(r.queue) < r.workers {
				wait = 0
			}
		}
		if !r.pause(ctx, wait) {
			return
		}
	}
}

// pause waits for a reason to claim: a wake-up, a dry queue, the time of the
// next planned delivery. false: the lane ends.
func (r *runner) pause(ctx context.Context, wait time.Duration) bool {
	select {
	case <-r.e.stopping:
		return false
	case <-ctx.Done():
		return false
	default:
	}
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-r.e.stopping:
		return false
	case <-ctx.Done():
		return false
	case <-r.e.l.Woken(r.lane):
	case <-r.low:
	case <-timer.C:
	}
	return true
}

// claim fills the queue and says how long to wait when it found too little.
func (r *runner) claim(ctx context.Context, room int) (n int, wait time.Duration) {
	e := r.e
	if e.guard.locked.Load() {
		e.rounds[r.lane].Add(1)
		return 0, e.o.Poll
	}
	q := ledger.ClaimQuery{
		Lane: r.lane, Limit: room, Lease: claimLease, Now: e.o.Clock.Now(),
		Accounts: make(map[string][]string), Channels: make([]string, 0, len(e.senders)),
	}
	for name, s := range e.senders {
		q.Channels = append(q.Channels, name)
		if accounts := s.Accounts(); accounts != nil {
			q.Accounts[name] = accounts
		}
	}
	slices.Sort(q.Channels)
	e.lookAtAccounts(ctx)
	var free time.Duration
	q.Except, free = e.sources.closed(r.lane)
	list, next, err := e.l.ClaimNext(ctx, q)
	e.tell(ctx, "claim deliveries", err)
	if r.lane == ledger.LaneEmergency {
		e.urgent.add(len(list))
	}
	for _, d := range list {
		e.inHand.Add(1)
		r.queue <- d // room was counted, and only this goroutine fills
	}
	if len(list) > 0 {
		e.progress.Add(1)
	}
	e.rounds[r.lane].Add(1)
	wait = e.o.Poll
	if !next.IsZero() {
		if in := next.Sub(q.Now); in > 0 && in < wait {
			wait = in
		}
	}
	if free > 0 && free < wait {
		wait = free
	}
	return len(list), wait
}

func (r *runner) work() {
	for d := range r.queue {
		if len(r.queue) < r.workers {
			select {
			case r.low <- struct{}{}:
			default:
			}
		}
		if r.lane == ledger.LaneBulk || r.lane == ledger.LaneNormal {
			r.e.urgent.giveWay(r.e.stopping)
		}
		r.e.deliver(r.lane, d)
		if r.lane == ledger.LaneEmergency {
			r.e.urgent.add(-1)
		}
		r.e.inHand.Add(-1)
		r.e.progress.Add(1)
	}
}

// deliver takes one claimed delivery through its call.
func (e *Engine) deliver(lane ledger.Lane, d ledger.Delivery) {
	e.o.Points(PointClaimed)
	ctx := e.calls
	src := e.sources.get(d.Channel, d.AccountID)
	if due, ok := e.admit(ctx, lane, src); !ok {
		e.release(ctx, d, due)
		return
	}
	a, err := e.l.StartAttemptFor(ctx, d, e.o.CallTimeout+leaseMargin)
	if err != nil {
		src.giveUp()
		if !errors.Is(err, ledger.ErrNotNeeded) && !errors.Is(err, ledger.ErrNotClaimed) && !errors.Is(err, ledger.ErrHeld) {
			e.tell(ctx, "start attempt", err)
			e.release(ctx, d, time.Time{})
		}
		return
	}
	e.tell(ctx, "start attempt", nil)
	e.guard.sent.Store(true)
	e.o.Points(PointSending)
	began := time.Now()
	o := e.call(ctx, d, a)
	e.o.Points(PointCalled)
	e.m.called(d.Channel, o.Kind, time.Since(began))
	if !e.holdRef(ctx, d, o) {
		e.learn(ctx, src, o)
	}
	e.record(d, a, o)
	e.o.Points(PointRecorded)
}

// admit waits for the account's breaker and rate. When that would take long,
// it says until when to put the delivery back.
func (e *Engine) admit(ctx context.Context, lane ledger.Lane, src *source) (due time.Time, ok bool) {
	if wait := src.enter(lane, time.Now()); wait > 0 {
		return e.o.Clock.Now().Add(wait), false
	}
	wait := src.reserve(lane, time.Now())
	if wait > longWait && lane != ledger.LaneEmergency {
		src.giveUp()
		return e.o.Clock.Now().Add(wait), false
	}
	if more, ok := e.askNodes(ctx, lane, src); !ok {
		src.giveUp()
		return e.o.Clock.Now().Add(more), false
	} else if more > wait {
		wait = more
	}
	if wait <= 0 {
		return time.Time{}, true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return time.Time{}, true
	case <-e.stopping:
	case <-ctx.Done():
	}
	src.giveUp()
	return time.Time{}, false
}

// askNodes takes a place in the rate that the nodes share. Without Redis this
// node keeps to its own part and emergencies leave all the same.
func (e *Engine) askNodes(ctx context.Context, lane ledger.Lane, src *source) (wait time.Duration, ok bool) {
	if e.shared == nil || !src.limited() || src.spend(lane, time.Now()) {
		return 0, true
	}
	wait, taken, err := e.shared.take(ctx, src, lane)
	if err != nil {
		if src.alone(1/float64(max(1, e.o.Nodes)), time.Now()) {
			e.log.WarnContext(ctx, "rates are not shared between nodes: redis is away", "channel", src.channel, "account", src.account)
		}
		return 0, true
	}
	src.alone(1, time.Now())
	return wait, taken || lane == ledger.LaneEmergency
}

func (e *Engine) release(ctx context.Context, d ledger.Delivery, due time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	e.tell(ctx, "release delivery", e.l.Release(ctx, due, d))
}

// call hands over to the sender. A sender that panics leaves a call of unknown
// result, like one that died.
func (e *Engine) call(ctx context.Context, d ledger.Delivery, a ledger.Attempt) (o ledger.Outcome) {
	ctx, cancel := context.WithTimeout(ctx, e.o.CallTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			// The value may hold what was being sent; the stack does not.
			e.log.ErrorContext(ctx, "sender panicked", "delivery", d, "stack", string(debug.Stack()))
			o = ledger.Outcome{Kind: ledger.Ambiguous, Code: "panic"}
		}
	}()
	s, ok := e.senders[d.Channel]
	if !ok {
		return ledger.Outcome{Kind: ledger.Retry, Code: "no_sender"}
	}
	return s.Send(ctx, d, a)
}

// lookAtAccounts takes changed settings over and reads how much of its day each
// account has used.
func (e *Engine) lookAtAccounts(ctx context.Context) {
	now := time.Now()
	at := e.lookedAt.Load()
	if now.UnixNano()-at < int64(lookAtDay) || !e.lookedAt.CompareAndSwap(at, now.UnixNano()) {
		return
	}
	for _, src := range e.sources.all() {
		src.configure(e.sources.rates(src.channel, src.account), now)
		if !src.dayWanted(now) {
			continue
		}
		n, err := e.l.SentToday(ctx, src.channel, src.account)
		e.tell(ctx, "read an account's day", err)
		if err != nil {
			continue
		}
		clk := e.o.Clock.Now()
		if alarm, news := src.setDay(n, ledger.NextDay(clk).Sub(clk), now); news {
			e.raise(ctx, alarm)
		}
	}
}

// holdRef holds a bulk whose rows are refused for a reason that they share. It
// tells whether the outcome is thereby dealt with, so that it says nothing about
// the account.
func (e *Engine) holdRef(ctx context.Context, d ledger.Delivery, o ledger.Outcome) bool {
	if d.Bulk() == "" {
		return false
	}
	hold := o.Kind == ledger.Template
	switch {
	case o.Kind == ledger.Permanent:
		hold = e.refusals.again(d.Bulk(), o.Code)
	case o.Kind == ledger.OK:
		e.refusals.forget(d.Bulk())
	}
	if !hold {
		return o.Kind == ledger.Permanent
	}
	ctx = context.WithoutCancel(ctx)
	err := e.l.Hold(ctx, d.RefKind, d.RefID, o.Code)
	e.tell(ctx, "hold a reference", err)
	if err != nil || !e.refusals.first(d.Bulk(), o.Code) {
		return true // another worker's call said the same a moment ago
	}
	e.o.Held(ctx, d.RefKind, d.RefID, o.Code)
	e.raise(ctx, Alarm{Channel: d.Channel, AccountID: d.AccountID, Kind: o.Kind, Code: o.Code, Open: true, RefKind: d.RefKind, RefID: d.RefID})
	return true
}

// record writes the outcome and does not give up while the database is away:
// what it knows is worth more than a guess after the lease.
func (e *Engine) record(d ledger.Delivery, a ledger.Attempt, o ledger.Outcome) {
	// A cancelled call is recorded all the same; only a lost process isn't.
	base := context.WithoutCancel(e.calls)
	const mostRefusals = 8
	pause := 50 * time.Millisecond
	var giveUp <-chan time.Time
	refusals := 0
	for {
		ctx, cancel := context.WithTimeout(base, 5*time.Second)
		after, err := e.l.Record(ctx, a, o)
		cancel()
		if err == nil {
			e.m.state(after.Channel, after.State)
			e.tell(base, "record outcome", nil)
			return
		}
		if errors.Is(err, ledger.ErrNotFound) {
			e.log.Error("attempt vanished", "delivery", d)
			return
		}
		e.tell(base, "record outcome", err)
		if !db.IsUnavailable(err) && !errors.Is(err, context.DeadlineExceeded) {
			if refusals++; refusals == mostRefusals {
				// Not the database's absence but something wrong: the lease ends
				// it as a call of unknown result.
				e.log.Error("outcome cannot be recorded", "delivery", d, "kind", o.Kind, "err", err)
				return
			}
		}
		if giveUp == nil && e.calls.Err() != nil {
			giveUp = time.After(3 * time.Second)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-giveUp:
			timer.Stop()
			e.log.Error("outcome could not be recorded before the end", "delivery", d, "kind", o.Kind)
			return
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// learn draws the consequences of an outcome for the whole account.
func (e *Engine) learn(ctx context.Context, src *source, o ledger.Outcome) {
	if alarm, news := src.learn(o, time.Now()); news {
		e.raise(ctx, alarm)
	}
}

// raise tells the log and whoever listens.
func (e *Engine) raise(ctx context.Context, alarm Alarm) {
	e.m.alarm(alarm)
	if alarm.Open {
		e.log.ErrorContext(ctx, "account stopped", "channel", alarm.Channel, "account", alarm.AccountID, "kind", alarm.Kind, "code", alarm.Code)
	} else {
		e.log.InfoContext(ctx, "account works again", "channel", alarm.Channel, "account", alarm.AccountID)
	}
	e.o.Alarm(context.WithoutCancel(ctx), alarm)
}
