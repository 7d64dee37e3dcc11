package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"guanjia/internal/db"
)

// ClaimQuery says what a worker wants.
type ClaimQuery struct {
	Lane     Lane
	Channels []Channel // nil: all
	// Accounts limits a channel to accounts: those of a bot whose socket this
	// node holds. A channel that is not named takes all.
	Accounts map[Channel][]string
	// Except are accounts (Source.Key) that must wait: their breaker is open or
	// their rate is used up.
	Except []string
	Limit  int
	Lease  time.Duration // by the machine's clock
	Now    time.Time     // by the product's clock; zero: now
}

// Source is one account of a channel with something planned in a lane, or one
// reference of it that was put as a bulk.
type Source struct {
	Channel   Channel
	AccountID string
	Tail      string    // "kind:id" or "kind:id|part" of a bulk, else ""
	Due       time.Time // of its first delivery
}

// Key is what ClaimQuery.Except takes: the account, whatever the reference.
func (s Source) Key() string { return sourceOf(s.Channel, s.AccountID) }

// source is the column.
func (s Source) source() string {
	if s.Tail == "" {
		return s.Key()
	}
	return s.Key() + separator + s.Tail
}

func parseSource(key string) Source {
	channel, rest, _ := strings.Cut(key, separator)
	account, tail, _ := strings.Cut(rest, separator)
	return Source{Channel: channel, AccountID: account, Tail: tail}
}

// whole is the tail of the whole reference.
func (s Source) whole() string {
	ref, _, _ := strings.Cut(s.Tail, separator)
	return ref
}

// Sources lists who has something planned in a lane that may leave, and from
// when. It hops through the index from source to source, so it costs a few
// look-ups however long the backlog is.
func (l *Ledger) Sources(ctx context.Context, lane Lane) ([]Source, error) {
	rows, err := l.db.QueryContext(ctx, `
		with recursive s(source) as (
			select min(source) from deliveries where state = 'planned' and lane = $1
			union all
			select (select min(d.source) from deliveries d
			        where d.state = 'planned' and d.lane = $1 and d.source > s.source)
			from s where s.source is not null
		)
		select s.source, (select min(d.due_at) from deliveries d
		                  where d.state = 'planned' and d.lane = $1 and d.source = s.source)
		from s where s.source is not null`, string(lane))
	if err != nil {
		return nil, fmt.Errorf("list sources: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var list []Source
	for rows.Next() {
		var (
			key string
			due db.Time
		)
		if err := rows.Scan(&key, &due); err != nil {
			return nil, fmt.Errorf("list sources: %w", err)
		}
		if due.IsZero() {
			continue // claimed between the two looks
		}
		s := parseSource(key)
		s.Due = due.Time
		list = append(list, s)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("list sources: %w", err)
	}
	return l.withoutHeld(ctx, list)
}

// withoutHeld drops the sources of held references.
func (l *Ledger) withoutHeld(ctx context.Context, list []Source) ([]Source, error) {
	var tails []string
	for _, s := range list {
		if s.Tail != "" {
			tails = append(tails, s.Tail, s.whole())
		}
	}
	if len(tails) == 0 {
		return list, nil
	}
	held, err := heldTails(ctx, l.db, tails)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(s Source) bool {
		_, part := held[s.Tail]
		_, whole := held[s.whole()]
		return s.Tail != "" && (part || whole)
	}), nil
}

// Claim takes what is due, fairly among accounts, for the length of a lease.
// next is when something more becomes due: zero when nothing is planned.
// A delivery whose order key has an earlier one unfinished is not taken, nor
// one past its valid-until (Expire ends those).
func (l *Ledger) Claim(ctx context.Context, q ClaimQuery) (list []Delivery, err error) {
	list, _, err = l.ClaimNext(ctx, q)
	return list, err
}

// ClaimNext is Claim that also says when something more becomes due: the zero
// time when nothing else is planned for this query.
func (l *Ledger) ClaimNext(ctx context.Context, q ClaimQuery) (list []Delivery, next time.Time, err error) {
	now := q.Now
	if now.IsZero() {
		now = l.clk.Now()
	}
	sources, err := l.sourcesOf(ctx, q.Lane)
	if err != nil {
		return nil, time.Time{}, err
	}
	sources = slices.DeleteFunc(sources, func(s Source) bool { return !q.wants(s) })
	due := 0
	for _, s := range sources {
		if s.Due.After(now) {
			if next.IsZero() || s.Due.Before(next) {
				next = s.Due
			}
			continue
		}
		due++
	}
	for _, s := range sources {
		if s.Due.After(now) {
			continue
		}
		room := q.Limit - len(list)
		if room <= 0 {
			break
		}
		// An even share for each, and the rest of it for those after.
		share := max(1, (room+due-1)/due)
		due--
		got, err := l.claimSource(ctx, q, s, now, min(share, room))
		if err != nil {
			return nil, time.Time{}, err
		}
		list = append(list, got...)
	}
	if len(list) < q.Limit {
		l.paths.forget(q.Lane)
	}
	slices.SortFunc(list, func(a, b Delivery) int {
		if c := a.DueAt.Compare(b.DueAt); c != 0 {
			return c
		}
		return strings.Compare(a.RootID, b.RootID)
	})
	return list, next, nil
}

func (q ClaimQuery) wants(s Source) bool {
	if q.Channels != nil && !slices.Contains(q.Channels, s.Channel) {
		return false
	}
	if accounts, limited := q.Accounts[s.Channel]; limited && !slices.Contains(accounts, s.AccountID) {
		return false
	}
	return !slices.Contains(q.Except, s.Key())
}

func (l *Ledger) claimSource(ctx context.Context, q ClaimQuery, s Source, now time.Time, limit int) ([]Delivery, error) {
	w := l.db.Writer()
	args := []any{l.leaseEnd(q.Lease), l.id, db.At(now), string(q.Lane), s.source(), limit}
	further := ""
	switch at, ok := l.paths.cursor(q.Lane, s); {
	case s.Tail == "": // a bulk was asked for as a whole
		further = ` and not ` + isHeld("d")
	case ok:
		further = ` and (d.due_at, d.root_id) > (` + db.TimeParam(w, "$7") + `, $8)`
		args = append(args, db.At(at.due), at.root)
	}
	// Materialized, because PostgreSQL may run a sub-select with a limit once a
	// row and then claims far more than the limit (seen). The inner select walks
	// deliveries_due from the oldest and stops at the limit; the order check is one look into deliveries_order for each row
	// that has an order key.
	rows, err := w.QueryContext(ctx, `
		with picked as materialized (
			select d.id as pid from deliveries d
			where d.state = 'planned' and d.lane = $4 and d.source = $5 and d.due_at <= $3
			  and (d.valid_until is null or d.valid_until > $3)`+further+`
			  and (d.order_key = '' or not exists (
			        select 1 from deliveries e
			        where e.order_key = d.order_key and e.order_key <> '' and e.root_id < d.root_id
			          and e.state in ('planned', 'claimed', 'sending')))
			order by d.due_at, d.root_id
			limit $6`+db.SkipLocked(w)+`)
		update deliveries set state = 'claimed', lease_until = $1, lease_by = $2, updated_at = $3
		from picked where deliveries.id = picked.pid and `+still("planned")+`
		returning `+columns("deliveries"),
		args...)
	if err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	list, err := scanDeliveries(rows)
	if err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	if s.Tail != "" {
		l.paths.walked(q.Lane, s, list, len(list) == limit)
	}
	return list, nil
}

// Release gives claimed deliveries back unsent, to be due at the given time
// (zero: at once).
func (l *Ledger) Release(ctx context.Context, due time.Time, list ...Delivery) error {
	if len(list) == 0 {
		return nil
	}
	now := l.clk.Now()
	if due.IsZero() {
		due = now
	}
	ids := make([]string, len(list))
	for i, d := range list {
		ids[i] = d.ID
	}
	_, err := l.db.ExecContext(ctx, `
		update deliveries set state = 'planned', due_at = $1, lease_until = null, lease_by = '', updated_at = $2
		where id `+db.InStrings(l.db, "$3")+` and `+still("claimed")+` and lease_by = $4`,
		db.At(due), db.At(now), db.Strings(l.db, ids), l.id)
	if err != nil {
		return fmt.Errorf("release deliveries: %w", err)
	}
	return nil
}

type startItem struct {
	d     Delivery
	lease time.Duration
}

type startResult struct {
	a   Attempt
	err error
}

// StartAttempt writes the attempt as sending: from now on a crash leaves a
// call of unknown result. ErrNotClaimed and ErrNotNeeded mean: do not call.
func (l *Ledger) StartAttempt(ctx context.Context, d Delivery) (Attempt, error) {
	return l.StartAttemptFor(ctx, d, defaultCallLease)
}

// defaultCallLease is how long a call may take before it is taken for dead.
const defaultCallLease = 30 * time.Second

// StartAttemptFor is StartAttempt with the time after which the call is taken
// for dead; it must exceed the sender's own time-out.
func (l *Ledger) StartAttemptFor(ctx context.Context, d Delivery, lease time.Duration) (Attempt, error) {
	r, err := l.starts.Do(ctx, startItem{d, lease})
	if err == nil {
		err = r.err
	}
	if err != nil {
		return Attempt{}, fmt.Errorf("start attempt: %w", err)
	}
	return r.a, nil
}

// startBatch starts many attempts in one transaction of two statements.
func (l *Ledger) startBatch(ctx context.Context, items []startItem) ([]startResult, error) {
	var results []startResult
	err := l.inTx(ctx, "start attempts", len(items), func(ctx context.Context, tx *db.Tx, finish finishFunc) error {
		now := l.clk.Now()
		results = make([]startResult, len(items))
		if err := l.dropNeedless(ctx, tx, items, now, finish); err != nil {
			return err
		}
		numbers, err := l.markSending(ctx, tx, items, now)
		if err != nil {
			return err
		}
		var rows []attemptRow
		for i, it := range items {
			n, ok := numbers[it.d.ID]
			if !ok {
				results[i].err = l.whyNot(ctx, tx, it.d.ID, now)
				continue
			}
			delete(numbers, it.d.ID) // the same delivery twice in one batch
			a := Attempt{
				ID: outID(), DeliveryID: it.d.ID, N: n, Channel: it.d.Channel, AccountID: it.d.AccountID,
				Address: it.d.Address, State: AttemptSending, StartedAt: now,
			}
			a.OutID = a.ID
			results[i].a = a
			rows = append(rows, attemptRow{a.ID, a.DeliveryID, a.N, a.Channel, a.AccountID, a.Address, db.At(now)})
		}
		return insertAttempts(ctx, tx, rows)
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// markSending moves claimed deliveries of this process to sending and returns
// the number of each one's attempt.
func (l *Ledger) markSending(ctx context.Context, tx *db.Tx, items []startItem, now time.Time) (map[string]int64, error) {
	type row struct {
		ID    string  `json:"id"`
		Lease db.Time `json:"lease"`
	}
	arg := make([]row, len(items))
	for i, it := range items {
		arg[i] = row{it.d.ID, l.leaseEnd(it.lease)}
	}
	rows, err := tx.QueryContext(ctx, `
		update deliveries set state = 'sending', attempts = deliveries.attempts + 1,
			called_at = coalesce(called_at, `+db.TimeParam(tx, "$2")+`), lease_until = r.lease,
			updated_at = `+db.TimeParam(tx, "$2")+`
		from `+db.Rows(tx, "$1", db.TextCol("id"), db.TimeCol("lease"))+` as r
		where deliveries.id = r.id and `+still("claimed")+` and lease_by = $3
		  and not `+isHeld("deliveries")+`
		returning deliveries.id, attempts`,
		db.RowsArg(arg), db.At(now), l.id)
	if err != nil {
		return nil, fmt.Errorf("mark deliveries as sending: %w", err)
	}
	defer func() { _ = rows.Close() }()
	numbers := make(map[string]int64, len(items))
	for rows.Next() {
		var (
			id string
			n  int64
		)
		if err := rows.Scan(&id, &n); err != nil {
			return nil, fmt.Errorf("mark deliveries as sending: %w", err)
		}
		numbers[id] = n
	}
	return numbers, rows.Err()
}

// dropNeedless ends claimed deliveries that expired or were superseded since.
func (l *Ledger) dropNeedless(ctx context.Context, tx *db.Tx, items []startItem, now time.Time, finish finishFunc) error {
	var ids, revised []string
	for _, it := range items {
		if late(it.d, now) {
			ids = append(ids, it.d.ID)
		}
		if it.d.Supersede {
			revised = append(revised, it.d.ID)
		}
	}
	var ended []Delivery
	if len(ids) > 0 {
		list, err := l.list(ctx, tx, `
			update deliveries set state = 'expired', lease_until = null, updated_at = $1, final_at = $1
			where id `+db.InStrings(tx, "$2")+` and `+still("claimed")+` and lease_by = $3
			returning `+columns("deliveries"), db.At(now), db.Strings(tx, ids), l.id)
		if err != nil {
			return err
		}
		ended = append(ended, list...)
	}
	if len(revised) > 0 {
		list, err := l.list(ctx, tx, `
			update deliveries set state = 'skipped', code = 'superseded', lease_until = null, updated_at = $1, final_at = $1
			where id `+db.InStrings(tx, "$2")+` and `+still("claimed")+` and lease_by = $3
			  and exists (
				select 1 from deliveries e
				where e.ref_kind = deliveries.ref_kind and e.ref_id = deliveries.ref_id and e.supersede = true
				  and e.channel = deliveries.channel and e.account_id = deliveries.account_id
				  and e.address = deliveries.address and e.ref_rev > deliveries.ref_rev
				  and e.state not in ('cancelled', 'skipped', 'expired', 'failed'))
			returning `+columns("deliveries"), db.At(now), db.Strings(tx, revised), l.id)
		if err != nil {
			return err
		}
		ended = append(ended, list...)
	}
	return finish(ctx, tx, ended...)
}

// whyNot explains why a delivery may not be sent, and gives a held one back.
func (l *Ledger) whyNot(ctx context.Context, tx *db.Tx, id string, now time.Time) error {
	d, err := l.ByID(ctx, tx, id)
	if err != nil {
		return err
	}
	if d.State == Claimed {
		res, err := tx.ExecContext(ctx, `
			update deliveries set state = 'planned', lease_until = null, lease_by = '', updated_at = $2
			where id = $1 and state = 'claimed' and lease_by = $3 and `+isHeld("deliveries"), id, db.At(now), l.id)
		if err != nil {
			return fmt.Errorf("give held delivery back: %w", err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return fmt.Errorf("give held delivery back: %w", err)
		}
		if n == 1 {
			tx.AfterCommit(func(context.Context) { l.paths.reset() })
			return ErrHeld
		}
	}
	if d.State == Expired || d.State == Skipped || d.State == Delivered {
		return ErrNotNeeded
	}
	return ErrNotClaimed
}

type attemptRow struct {
	ID         string  `json:"id"`
	DeliveryID string  `json:"delivery_id"`
	N          int64   `json:"n"`
	Channel    string  `json:"channel"`
	AccountID  string  `json:"account_id"`
	Address    string  `json:"address"`
	StartedAt  db.Time `json:"started_at"`
}

func insertAttempts(ctx context.Context, tx *db.Tx, rows []attemptRow) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		insert into attempts (id, delivery_id, n, channel, account_id, address, state, outcome, vendor_id, code,
			started_at, receipt_code, check_n, absent_n)
		select r.id, r.delivery_id, r.n, r.channel, r.account_id, r.address, 'sending', '', '', '',
			r.started_at, '', 0, 0
		from `+db.Rows(tx, "$1", db.TextCol("id"), db.TextCol("delivery_id"), db.IntCol("n"), db.TextCol("channel"),
		db.TextCol("account_id"), db.TextCol("address"), db.TimeCol("started_at"))+` as r`, db.RowsArg(rows))
	if err != nil {
		return fmt.Errorf("write attempts: %w", err)
	}
	return nil
}
