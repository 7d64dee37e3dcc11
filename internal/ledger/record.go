package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"guanjia/internal/db"
)

type recordItem struct {
	a Attempt
	o Outcome
}

type recordResult struct {
	d   Delivery
	err error
}

// Record writes the classified outcome of a call and what follows from it, and
// returns the delivery as it then is. A result that comes after the lease ran
// out, or after the receipt, still counts where it says more than is known.
func (l *Ledger) Record(ctx context.Context, a Attempt, o Outcome) (Delivery, error) {
	r, err := l.records.Do(ctx, recordItem{a, o})
	if err == nil {
		err = r.err
	}
	if err != nil {
		return Delivery{}, fmt.Errorf("record outcome: %w", err)
	}
	return r.d, nil
}

func (l *Ledger) recordBatch(ctx context.Context, items []recordItem) ([]recordResult, error) {
	ids, attemptIDs := make([]string, len(items)), make([]string, len(items))
	for i, it := range items {
		ids[i], attemptIDs[i] = it.a.DeliveryID, it.a.ID
	}
	var results []recordResult
	err := l.inTx(ctx, "record outcomes", len(items), func(ctx context.Context, tx *db.Tx, finish finishFunc) error {
		results = make([]recordResult, len(items))
		w, err := l.lockSet(ctx, tx, ids)
		if err != nil {
			return err
		}
		attempts, err := attemptsByID(ctx, tx, attemptIDs)
		if err != nil {
			return err
		}
		for i, it := range items {
			a, ok := attempts[it.a.ID]
			if _, locked := w.deliveries[it.a.DeliveryID]; !ok || !locked {
				results[i].err = ErrNotFound
				continue
			}
			if err := w.record(ctx, tx, a, it.o); err != nil {
				return err
			}
		}
		if err := w.flush(ctx, tx, finish); err != nil {
			return err
		}
		if err := l.earlyReceipts(ctx, tx, w, items, finish); err != nil {
			return err
		}
		if err := l.countDays(ctx, tx, items); err != nil {
			return err
		}
		for i, it := range items {
			results[i].d = w.deliveries[it.a.DeliveryID]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// record decides what one outcome changes.
func (w *writeSet) record(ctx context.Context, tx *db.Tx, a Attempt, o Outcome) error {
	d := w.deliveries[a.DeliveryID]
	c := afterOutcome(d, a, o, w.now)
	switch a.State {
	case AttemptSending:
		if a.N != d.Attempts || d.State != Sending {
			// The receipt or a look-up was faster: only the attempt is news.
			c = onlyAttempt(c, d)
		}
	case AttemptUnknown, AttemptAbsent:
		// Given up for dead, and here it is. Accepted or refused for good is
		// news; anything else is what is believed already.
		if c.attempt != AttemptSubmitted && c.state != Failed {
			return nil
		}
		c.submissions = d.Submissions
		if a.State == AttemptAbsent && c.attempt == AttemptSubmitted {
			c.submissions++
		}
		if a.N != d.Attempts || (d.State != Unknown && !(d.State == Planned && c.state == Submitted)) {
			c = onlyAttempt(c, d)
		}
	case AttemptSubmitted, AttemptRefused, AttemptDelivered, AttemptFailed:
		// Recorded before, or told by a receipt: keep the vendor's id.
		if o.VendorID != "" {
			w.setAttempt(attemptWrite{ID: a.ID, State: a.State, VendorID: o.VendorID, Check: db.At(a.CheckAt)})
		}
		return nil
	}
	_, err := w.apply(ctx, tx, d.ID, a, c, o)
	return err
}

// onlyAttempt keeps the delivery as it is.
func onlyAttempt(c change, d Delivery) change {
	c.state, c.due, c.waits, c.hop = d.State, d.DueAt, d.WaitsUntil, false
	c.code, c.failures = d.Code, d.Failures
	if c.attempt != AttemptSubmitted && c.attempt != AttemptUnknown {
		c.submissions = d.Submissions
	}
	return c
}

// takeHop plans the next way of a delivery that failed on this one. It stands
// in the same place of its order.
func (l *Ledger) takeHop(ctx context.Context, tx *db.Tx, d Delivery, now time.Time) (string, error) {
	hop := d.Plan[0]
	n := Delivery{
		ID: db.NewID(), RootID: d.RootID, Hop: d.Hop + 1, CompanyID: d.CompanyID, Channel: hop.Channel,
		AccountID: hop.AccountID, Source: sourceOf(hop.Channel, hop.AccountID) + tail(d.Source), Part: d.Part,
		Address: hop.Address, Lane: d.Lane, Class: d.Class, State: Planned,
		TextKey: d.TextKey, Text: d.Text, Payload: hop.Payload, Plan: d.Plan[1:],
		RefKind: d.RefKind, RefID: d.RefID, RefRev: d.RefRev, OrderKey: d.OrderKey,
		DueAt: now, ValidUntil: d.ValidUntil, CreatedAt: now, UpdatedAt: now,
	}
	if err := insertDelivery(ctx, tx, n); err != nil {
		return "", fmt.Errorf("plan next hop: %w", err)
	}
	tx.AfterCommit(func(context.Context) { l.announce(n.Lane) })
	return n.ID, nil
}

// housekeeping works in bites, so that no transaction is long.
const bite = 200

// RecoverStale takes care of what a dead worker left: claimed deliveries are
// planned again, calls of unknown result follow their rule. On SQLite, which
// serves one process, whatever another process claimed is stale at once.
func (l *Ledger) RecoverStale(ctx context.Context) (int, error) {
	stale, args := `lease_until < $2`, []any{bite, db.At(time.Now())}
	if l.db.Engine() == db.EngineSQLite {
		stale, args = `(lease_until < $2 or lease_by <> $3)`, append(args, l.id)
	}
	total := 0
	for {
		ids, err := l.ids(ctx, `
			select id from deliveries where state in ('claimed', 'sending') and `+stale+` limit $1`, args...)
		if err != nil {
			return total, fmt.Errorf("recover deliveries: %w", err)
		}
		for _, id := range ids {
			if err := l.recoverOne(ctx, id); err != nil {
				return total, fmt.Errorf("recover delivery: %w", err)
			}
			total++
		}
		if len(ids) < bite {
			return total, nil
		}
	}
}

func (l *Ledger) recoverOne(ctx context.Context, id string) error {
	return l.inTx(ctx, "recover delivery", 1, func(ctx context.Context, tx *db.Tx, finish finishFunc) error {
		w, err := l.lockSet(ctx, tx, []string{id})
		if err != nil {
			return err
		}
		d, ok := w.deliveries[id]
		if !ok {
			return ErrNotFound
		}
		var (
			until db.Time
			by    string
		)
		err = tx.QueryRowContext(ctx, `select lease_until, lease_by from deliveries where id = $1`, id).Scan(&until, &by)
		if err != nil {
			return err
		}
		foreign := l.db.Engine() == db.EngineSQLite && by != l.id
		if until.After(time.Now()) && !foreign {
			return nil // its worker lives
		}
		now := w.now
		switch d.State {
		case Claimed:
			_, err := tx.ExecContext(ctx, `
				update deliveries set state = 'planned', lease_until = null, lease_by = '', updated_at = $2
				where id = $1 and state = 'claimed'`, id, db.At(now))
			tx.AfterCommit(func(context.Context) { l.announce(d.Lane) })
			return err
		case Sending:
			var attemptID string
			err := tx.QueryRowContext(ctx, `select id from attempts where delivery_id = $1 and n = $2`,
				id, d.Attempts).Scan(&attemptID)
			if err != nil {
				return err
			}
			a, err := attemptByID(ctx, tx, attemptID)
			if err != nil {
				return err
			}
			o := Outcome{Kind: Ambiguous, Code: "no_result"}
			if _, err = w.apply(ctx, tx, id, a, afterOutcome(d, a, o, now), o); err != nil {
				return err
			}
			return w.flush(ctx, tx, finish)
		case Planned, Submitted, Delivered, Failed, Unknown, NoReceipt, Skipped, Expired, Cancelled:
		}
		return nil
	})
}

// any tells by a read whether a query finds something, so that the idle house
// takes no write lock every second. The query is ordered by the index it means:
// without, PostgreSQL reads a table whose statistics are old from its start.
func (l *Ledger) any(ctx context.Context, query string, args ...any) (bool, error) {
	var n int64
	err := l.db.QueryRowContext(ctx, `select count(*) from (`+query+` limit 1) as found`, args...).Scan(&n)
	return n > 0, err
}

// Expire ends what waits past its valid-until, and returns how many there were.
func (l *Ledger) Expire(ctx context.Context) (int, error) {
	some, err := l.any(ctx, `select 1 from deliveries where state = 'planned' and valid_until <= $1 order by valid_until`, db.At(l.clk.Now()))
	if err != nil || !some {
		return 0, err
	}
	return l.inBites(ctx, "expire deliveries", bites{size: bite}, func(ctx context.Context, tx *db.Tx, limit int) ([]Delivery, error) {
		return l.list(ctx, tx, `
			with picked as materialized (
				select d.id as pid from deliveries d where d.state = 'planned' and d.valid_until <= $1
				order by d.valid_until limit $2`+db.SkipLocked(tx)+`)
			update deliveries set state = 'expired', updated_at = $1, final_at = $1
			from picked where deliveries.id = picked.pid and `+still("planned")+`
			returning `+columns("deliveries"), db.At(l.clk.Now()), limit)
	})
}

// Lapse ends the wait for receipts and results that never came.
func (l *Ledger) Lapse(ctx context.Context) (int, error) {
	some, err := l.any(ctx, `select 1 from deliveries where waits_until <= $1 order by waits_until`, db.At(l.clk.Now()))
	if err != nil || !some {
		return 0, err
	}
	return l.inBites(ctx, "end the wait for receipts", bites{size: bite}, l.lapseBite)
}

func (l *Ledger) lapseBite(ctx context.Context, tx *db.Tx, limit int) ([]Delivery, error) {
	list, err := l.list(ctx, tx, `
		with picked as materialized (
			select d.id as pid from deliveries d where d.waits_until <= $1
			order by d.waits_until limit $2`+db.SkipLocked(tx)+`)
		update deliveries set state = 'no_receipt', waits_until = null, updated_at = $1, final_at = $1
		from picked where deliveries.id = picked.pid and deliveries.state in ('submitted', 'unknown')
		returning `+columns("deliveries"), db.At(l.clk.Now()), limit)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(list))
	for i, d := range list {
		ids[i] = d.ID
	}
	_, err = tx.ExecContext(ctx, `update attempts set check_at = null
		where delivery_id `+db.InStrings(tx, "$1")+` and check_at is not null`, db.Strings(tx, ids))
	if err != nil {
		return nil, fmt.Errorf("end look-ups: %w", err)
	}
	return list, nil
}

// bites bounds a piece of housekeeping.
type bites struct {
	size int // deliveries a transaction
	most int // transactions; zero: as many as it takes
}

// inBites runs f until it ends fewer deliveries than it might. After a failing
// listener it goes on one by one.
func (l *Ledger) inBites(ctx context.Context, name string, b bites, f func(ctx context.Context, tx *db.Tx, limit int) ([]Delivery, error)) (total int, err error) {
	limit := b.size
	for round := 1; ; round++ {
		n := 0
		err := l.inTx(ctx, name, limit, func(ctx context.Context, tx *db.Tx, finish finishFunc) error {
			list, err := f(ctx, tx, limit)
			if err != nil {
				return err
			}
			n = len(list)
			return finish(ctx, tx, list...)
		})
		var failed *listenerError
		if errors.As(err, &failed) && limit > 1 {
			limit = 1
			continue
		}
		if err != nil {
			return total, err
		}
		total += n
		if n < limit || round == b.most {
			return total, nil
		}
	}
}

func (l *Ledger) ids(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := l.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Due tells whether something is due, claimed or being sent right now: what a
// moved clock waits for.
func (l *Ledger) Due(ctx context.Context) (bool, error) {
	now := db.At(l.clk.Now())
	var one int
	err := l.db.QueryRowContext(ctx, `
		select 1 where exists (select 1 from deliveries where state in ('claimed', 'sending'))
		  or exists (select 1 from deliveries where state = 'planned' and due_at <= $1)
		  or exists (select 1 from receipts where try_at is not null and tries = 0)`, now).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for due deliveries: %w", err)
	}
	return true, nil
}
