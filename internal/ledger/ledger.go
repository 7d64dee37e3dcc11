package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/db"
)

// batchMost is how many calls of StartAttempt or Record share a transaction.
const batchMost = 128

// recordLinger is how long an outcome waits for others to be written with it.
// The calls are made; what waits is only what follows.
const recordLinger = 4 * time.Millisecond

// startLinger is the same before a call.
const startLinger = 2 * time.Millisecond

// Ledger is the book. Safe for use by several goroutines; one a process.
type Ledger struct {
	db  *db.DB
	clk clock.Clock
	log *slog.Logger
	id  string // of this process, in leases

	starts  *db.Batcher[startItem, startResult]
	records *db.Batcher[recordItem, recordResult]
	inflow  *db.Batcher[[]Receipt, struct{}]
	paths   paths

	mu      sync.Mutex
	woken   map[Lane]chan struct{}
	inbox   chan struct{}
	doubts  chan struct{}
	onWake  func(Lane)
	finals  []final
	telling bool          // a goroutine tells the other nodes
	untold  map[Lane]bool // what it has not told yet
	tellers sync.WaitGroup
}

type final struct {
	name string
	f    FinalFunc
}

// FinalFunc hears that the story of a delivery is over (Delivery.Settled). It
// runs inside the transaction that wrote the state, so that what it writes is
// there if and only if the state is. An error of it is logged and does not
// undo the state: the vendor has the message.
type FinalFunc func(ctx context.Context, tx *db.Tx, d Delivery) error

// Open makes the ledger on an open database.
func Open(d *db.DB, clk clock.Clock, log *slog.Logger) *Ledger {
	l := &Ledger{
		db: d, clk: clk, log: log, id: db.NewID(),
		woken: make(map[Lane]chan struct{}),
		inbox: make(chan struct{}, 1), doubts: make(chan struct{}, 1), untold: make(map[Lane]bool),
	}
	for _, lane := range Lanes() {
		l.woken[lane] = make(chan struct{}, 1)
	}
	l.starts = db.NewBatcher(batchMost, startLinger, apart(l.startBatch, func(err error) startResult { return startResult{err: err} }))
	l.records = db.NewBatcher(batchMost, recordLinger, apart(l.recordBatch, func(err error) recordResult { return recordResult{err: err} }))
	l.inflow = db.NewBatcher(batchMost, recordLinger, l.takeReceipts)
	return l
}

// apart runs a batch that failed once more item by item, so that one bad item
// fails alone. A database that is away is not asked again.
func apart[T, R any](run func(context.Context, []T) ([]R, error), failed func(error) R) func(context.Context, []T) ([]R, error) {
	return func(ctx context.Context, items []T) ([]R, error) {
		results, err := run(ctx, items)
		if err == nil || len(items) == 1 || db.IsUnavailable(err) || ctx.Err() != nil {
			return results, err
		}
		results = make([]R, len(items))
		for i, it := range items {
			one, err := run(ctx, []T{it})
			if err != nil {
				results[i] = failed(err)
				continue
			}
			results[i] = one[0]
		}
		return results, nil
	}
}

// OnWake registers what carries a wake-up to the other nodes (a message by
// LISTEN or Redis); they answer it with Wake. It runs in a goroutine of the
// ledger and holds nobody up; wake-ups that come meanwhile are told together.
// Call it before the first put.
func (l *Ledger) OnWake(f func(Lane)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onWake = f
}

// OnFinal registers who hears final results. Call it before the engine starts.
func (l *Ledger) OnFinal(name string, f FinalFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finals = append(l.finals, final{name, f})
}

// Wake tells this process that a lane has something to send.
func (l *Ledger) Wake(lane Lane) {
	ch, ok := l.woken[lane]
	if !ok {
		return
	}
	l.paths.forget(lane)
	signal(ch)
}

// Woken yields after Wake. One reader a lane.
func (l *Ledger) Woken(lane Lane) <-chan struct{} { return l.woken[lane] }

// Inbox yields after receipts were stored to be applied. One reader.
func (l *Ledger) Inbox() <-chan struct{} { return l.inbox }

// Doubts yields after a receipt came that the vendor must be asked about at
// once (Lookups). One reader.
func (l *Ledger) Doubts() <-chan struct{} { return l.doubts }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is known already
	}
}

// announce wakes a lane here and on the other nodes.
func (l *Ledger) announce(lane Lane) {
	l.Wake(lane)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.onWake == nil {
		return
	}
	l.untold[lane] = true
	if !l.telling {
		l.telling = true
		l.tellers.Go(l.tell)
	}
}

// tell carries wake-ups to the other nodes until none is left.
func (l *Ledger) tell() {
	for {
		l.mu.Lock()
		f := l.onWake
		var lanes []Lane
		for _, lane := range Lanes() { // the urgent ones first
			if l.untold[lane] {
				lanes = append(lanes, lane)
			}
		}
		clear(l.untold)
		if len(lanes) == 0 {
			l.telling = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		for _, lane := range lanes {
			f(lane)
		}
	}
}

// PutTx writes a delivery that leaves once the transaction is committed and
// its time has come. It returns the delivery's id.
func (l *Ledger) PutTx(ctx context.Context, tx *db.Tx, n New) (string, error) {
	d, err := l.draft(n)
	if err != nil {
		return "", fmt.Errorf("put delivery: %w", err)
	}
	if err := insertDelivery(ctx, tx, d); err != nil {
		return "", fmt.Errorf("put delivery: %w", err)
	}
	if n.Supersede && !n.First {
		if err := l.supersede(ctx, tx, d); err != nil {
			return "", err
		}
	}
	tx.AfterCommit(func(context.Context) { l.announce(d.Lane) })
	return d.ID, nil
}

var (
	errIncomplete = errors.New("company, channel, account and address are needed")
	errNoWords    = errors.New("neither words nor payload")
	errUnknown    = errors.New("unknown channel, lane or class")
)

func (l *Ledger) draft(n New) (Delivery, error) {
	now := l.clk.Now()
	if n.Lane == "" {
		n.Lane = LaneNormal
	}
	if n.Class == "" {
		n.Class = ClassOther
	}
	if n.CompanyID == "" || n.AccountID == "" || n.Address == "" {
		return Delivery{}, errIncomplete
	}
	if strings.Contains(n.AccountID, separator) {
		return Delivery{}, errSeparator
	}
	if !known(n) {
		return Delivery{}, fmt.Errorf("%w: %s, %s, %s", errUnknown, n.Channel, n.Lane, n.Class)
	}
	for _, h := range n.Plan {
		if _, ok := channels[h.Channel]; !ok || h.AccountID == "" || h.Address == "" {
			return Delivery{}, fmt.Errorf("hop %s: %w", h.Channel, errIncomplete)
		}
	}
	var payload json.RawMessage
	if n.Payload != nil {
		b, err := json.Marshal(n.Payload)
		if err != nil {
			return Delivery{}, fmt.Errorf("payload: %w", err)
		}
		payload = b
	}
	if n.Text.String() == "" && len(payload) == 0 {
		return Delivery{}, errNoWords
	}
	due := n.NotBefore
	if due.IsZero() {
		due = now
	}
	id := db.NewID()
	return Delivery{
		ID: id, RootID: id, CompanyID: n.CompanyID, Channel: n.Channel, AccountID: n.AccountID,
		Source: sourceOf(n.Channel, n.AccountID), Address: n.Address, Lane: n.Lane, Class: n.Class, State: Planned,
		TextKey: n.Text.Key(), Text: n.Text.String(), Payload: payload, Plan: n.Plan,
		RefKind: n.RefKind, RefID: n.RefID, RefRev: n.RefRev, OrderKey: n.OrderKey,
		Supersede: n.Supersede, DueAt: due, ValidUntil: n.ValidUntil, CreatedAt: now, UpdatedAt: now,
	}, nil
}

func known(n New) bool {
	_, ok := channels[n.Channel]
	if !ok {
		return false
	}
	lane, class := false, false
	for _, v := range Lanes() {
		lane = lane || v == n.Lane
	}
	for _, v := range Classes() {
		class = class || v == n.Class
	}
	return lane && class
}

// supersede skips what a newer revision makes pointless: older ones that still
// wait, or the new one itself when a still newer one exists.
func (l *Ledger) supersede(ctx context.Context, tx *db.Tx, d Delivery) error {
	const which = `supersede = true and ref_kind = $1 and ref_id = $2 and channel = $3
	           and account_id = $4 and address = $5`
	newer := false
	err := tx.QueryRowContext(ctx, `
		select exists (select 1 from deliveries where `+which+` and ref_rev > $6
		               and state not in ('cancelled', 'skipped', 'expired'))`,
		d.RefKind, d.RefID, d.Channel, d.AccountID, d.Address, d.RefRev).Scan(&newer)
	if err != nil {
		return fmt.Errorf("supersede deliveries: %w", err)
	}
	own := `and ref_rev < $6`
	if newer {
		own = `and ref_rev <= $6`
	}
	rows, err := tx.QueryContext(ctx, `
		update deliveries set state = 'skipped', code = 'superseded', updated_at = $7, final_at = $7
		where `+which+` `+own+` and state = 'planned'
		returning `+columns("deliveries"),
		d.RefKind, d.RefID, d.Channel, d.AccountID, d.Address, d.RefRev, db.At(l.clk.Now()))
	if err != nil {
		return fmt.Errorf("supersede deliveries: %w", err)
	}
	skipped, err := scanDeliveries(rows)
	if err != nil {
		return fmt.Errorf("supersede deliveries: %w", err)
	}
	return l.finish(ctx, tx, skipped...)
}

// CancelTx withdraws a delivery that nobody has taken yet; so does a hop of
// its plan that still waits. It tells whether there was one.
func (l *Ledger) CancelTx(ctx context.Context, tx *db.Tx, deliveryID string) (bool, error) {
	rows, err := tx.QueryContext(ctx, `
		update deliveries set state = 'cancelled', code = 'withdrawn', updated_at = $2, final_at = $2
		where root_id = $1 and state = 'planned' and submissions = 0 and (id = $1 or hop > 0)
		returning `+columns("deliveries"),
		deliveryID, db.At(l.clk.Now()))
	if err != nil {
		return false, fmt.Errorf("cancel delivery: %w", err)
	}
	list, err := scanDeliveries(rows)
	if err != nil {
		return false, fmt.Errorf("cancel delivery: %w", err)
	}
	if err := l.finish(ctx, tx, list...); err != nil {
		return false, err
	}
	return len(list) > 0, nil
}

// CancelRefTx withdraws everything of a reference that nobody has taken yet
// and returns how many there were.
func (l *Ledger) CancelRefTx(ctx context.Context, tx *db.Tx, refKind, refID string) (int, error) {
	rows, err := tx.QueryContext(ctx, `
		update deliveries set state = 'cancelled', code = 'withdrawn', updated_at = $3, final_at = $3
		where ref_kind = $1 and ref_id = $2 and state = 'planned' and submissions = 0
		returning `+columns("deliveries"),
		refKind, refID, db.At(l.clk.Now()))
	if err != nil {
		return 0, fmt.Errorf("cancel deliveries: %w", err)
	}
	list, err := scanDeliveries(rows)
	if err != nil {
		return 0, fmt.Errorf("cancel deliveries: %w", err)
	}
	return len(list), l.finish(ctx, tx, list...)
}

// finish is called with deliveries that have just got a state: those whose
// story is over are told to the listeners, and whoever waited behind them in
// their order is woken.
func (l *Ledger) finish(ctx context.Context, tx *db.Tx, list ...Delivery) error {
	l.mu.Lock()
	finals := l.finals
	l.mu.Unlock()
	for _, d := range list {
		if d.OrderKey != "" && d.State != Planned {
			tx.AfterCommit(func(context.Context) { l.announce(d.Lane) })
		}
		if !d.Settled() {
			continue
		}
		for _, f := range finals {
			if err := f.f(ctx, tx, d); err != nil {
				return &listenerError{name: f.name, err: err}
			}
		}
	}
	return nil
}

// listenerError marks the failure of a listener, after which the state is
// written without it.
type listenerError struct {
	name string
	err  error
}

func (e *listenerError) Error() string { return "listener " + e.name + ": " + e.err.Error() }
func (e *listenerError) Unwrap() error { return e.err }

// inTx runs f for n deliveries. When a listener fails for a single one, f runs
// once more without listeners; for several, the error is returned, and the
// caller goes on one by one, so that the others are heard.
func (l *Ledger) inTx(ctx context.Context, name string, n int, f func(ctx context.Context, tx *db.Tx, finish finishFunc) error) error {
	err := l.db.InTx(ctx, name, func(ctx context.Context, tx *db.Tx) error {
		// A broadcast grows these tables faster than statistics follow.
		if err := db.PreferIndexes(ctx, tx); err != nil {
			return err
		}
		return f(ctx, tx, l.finish)
	})
	var failed *listenerError
	if !errors.As(err, &failed) || n > 1 {
		return err
	}
	l.log.ErrorContext(ctx, "a listener of final results failed, the result is written without it",
		"listener", failed.name, "err", failed.err)
	return l.db.InTx(ctx, name, func(ctx context.Context, tx *db.Tx) error {
		return f(ctx, tx, func(context.Context, *db.Tx, ...Delivery) error { return nil })
	})
}

type finishFunc func(ctx context.Context, tx *db.Tx, list ...Delivery) error

// ByID reads one delivery.
func (l *Ledger) ByID(ctx context.Context, q db.Querier, id string) (Delivery, error) {
	d, err := scanDelivery(q.QueryRowContext(ctx, `select `+columns("d")+` from deliveries d where d.id = $1`, id))
	if err != nil {
		return Delivery{}, fmt.Errorf("read delivery: %w", err)
	}
	return d, nil
}

// Chain reads a delivery and the hops that followed it, in order.
func (l *Ledger) Chain(ctx context.Context, q db.Querier, rootID string) ([]Delivery, error) {
	return l.list(ctx, q, `select `+columns("d")+` from deliveries d
		where d.id = $1 or (d.root_id = $1 and d.hop > 0) order by d.hop`, rootID)
}

// ByRef reads what belongs to a reference, oldest first.
func (l *Ledger) ByRef(ctx context.Context, q db.Querier, refKind, refID string) ([]Delivery, error) {
	return l.list(ctx, q, `select `+columns("d")+` from deliveries d
		where d.ref_kind = $1 and d.ref_id = $2 order by d.root_id, d.hop`, refKind, refID)
}

// PageByRef reads a page of what belongs to a reference, after the id of the
// last one seen ("" for the first page).
func (l *Ledger) PageByRef(ctx context.Context, q db.Querier, refKind, refID, after string, limit int) ([]Delivery, error) {
	return l.list(ctx, q, `select `+columns("d")+` from deliveries d
		where d.ref_kind = $1 and d.ref_id = $2 and d.id > $3 order by d.id limit $4`,
		refKind, refID, after, limit)
}

func (l *Ledger) list(ctx context.Context, q db.Querier, query string, args ...any) ([]Delivery, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	list, err := scanDeliveries(rows)
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	return list, nil
}

// Attempts reads the calls of a delivery, oldest first.
func (l *Ledger) Attempts(ctx context.Context, q db.Querier, deliveryID string) ([]Attempt, error) {
	rows, err := q.QueryContext(ctx, `select `+attemptColumns("a")+` from attempts a
		where a.delivery_id = $1 order by a.n`, deliveryID)
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	list, err := scanAttempts(rows)
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	return list, nil
}

// Count is how many deliveries of a channel are in a state.
type Count struct {
	Channel Channel
	State   State
	N       int64
}

// Counts counts the deliveries of a reference by channel and state.
func (l *Ledger) Counts(ctx context.Context, q db.Querier, refKind, refID string) ([]Count, error) {
	return counts(ctx, q, `select channel, state, count(*) from deliveries
		where ref_kind = $1 and ref_id = $2 group by channel, state order by channel, state`, refKind, refID)
}

// Open counts what is not settled, by channel and state: the backlog. It reads
// only the indexes of what is open.
func (l *Ledger) Open(ctx context.Context, q db.Querier) ([]Count, error) {
	return counts(ctx, q, `
		select channel, state, count(*) from deliveries where state = 'planned' group by channel, state
		union all
		select channel, state, count(*) from deliveries where state in ('claimed', 'sending') group by channel, state
		union all
		select channel, state, count(*) from deliveries where waits_until is not null group by channel, state`)
}

func counts(ctx context.Context, q db.Querier, query string, args ...any) ([]Count, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("count deliveries: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var list []Count
	for rows.Next() {
		var c Count
		if err := rows.Scan(&c.Channel, &c.State, &c.N); err != nil {
			return nil, fmt.Errorf("count deliveries: %w", err)
		}
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count deliveries: %w", err)
	}
	return list, nil
}

// Stop waits for writes under way and refuses new ones.
func (l *Ledger) Stop() {
	l.starts.Stop()
	l.records.Stop()
	l.inflow.Stop()
	l.tellers.Wait()
}

// outID makes the id of an attempt: 32 characters that say nothing and sort by
// time. Vendors limit it to 64.
func outID() string { return strings.ReplaceAll(db.NewID(), "-", "") }

// sourceOf is what is claimed and throttled together. Deliveries of a bulk have
// the tail of their reference behind it (tailOf), so that a reference is held
// and shared out by itself.
func sourceOf(channel Channel, accountID string) string { return channel + separator + accountID }

// tail is what of a source names a reference, with the separator before it.
func tail(source string) string {
	_, rest, _ := strings.Cut(source, separator)
	if i := strings.Index(rest, separator); i >= 0 {
		return rest[i:]
	}
	return ""
}

func (l *Ledger) leaseEnd(lease time.Duration) db.Time { return db.At(time.Now().Add(lease)) }
