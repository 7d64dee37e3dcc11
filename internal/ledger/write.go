package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"guanjia/internal/db"
)

// deliveryWrite and attemptWrite are rows of one bulk update.
type deliveryWrite struct {
	ID          string  `json:"id"`
	Was         State   `json:"was"` // compare-and-set
	State       State   `json:"state"`
	Code        string  `json:"code"`
	Due         db.Time `json:"due"`
	Waits       db.Time `json:"waits"`
	Submissions int64   `json:"submissions"`
	Failures    int64   `json:"failures"`
	Submitted   db.Time `json:"submitted"`
	Final       db.Time `json:"final"`
	NextID      string  `json:"next_id"`
	Updated     db.Time `json:"updated"`
}

type attemptWrite struct {
	ID          string       `json:"id"`
	State       AttemptState `json:"state"`
	Outcome     string       `json:"outcome"`   // '' keeps what is there; so do the next three
	VendorID    string       `json:"vendor_id"` //
	Code        string       `json:"code"`
	ReceiptCode string       `json:"receipt_code"`
	ReceiptAt   db.Time      `json:"receipt_at"` // null keeps what is there
	Check       db.Time      `json:"check_at"`
	Ended       db.Time      `json:"ended"`
}

// writeSet gathers the consequences of many results and writes them with two
// statements. It works on deliveries that the transaction has locked.
type writeSet struct {
	l          *Ledger
	now        time.Time
	deliveries map[string]Delivery // as they will be
	dirty      map[string]deliveryWrite
	attempts   map[string]attemptWrite
	changed    []Delivery // got another state, in order
}

// lockSet locks deliveries in the order of their ids, whoever locks them.
func (l *Ledger) lockSet(ctx context.Context, tx *db.Tx, ids []string) (*writeSet, error) {
	list, err := l.list(ctx, tx, `select `+columns("d")+` from deliveries d
		where d.id `+db.InStrings(tx, "$1")+` order by d.id`+db.ForUpdate(tx), db.Strings(tx, ids))
	if err != nil {
		return nil, err
	}
	w := &writeSet{
		l: l, now: l.clk.Now(), deliveries: make(map[string]Delivery, len(list)),
		dirty: make(map[string]deliveryWrite), attempts: make(map[string]attemptWrite),
	}
	for _, d := range list {
		w.deliveries[d.ID] = d
	}
	return w, nil
}

// apply takes a change of a locked delivery and its attempt into the set.
func (w *writeSet) apply(ctx context.Context, tx *db.Tx, id string, a Attempt, c change, o Outcome) (Delivery, error) {
	d := w.deliveries[id]
	if c.state != d.State && !May(d.State, c.state) {
		return d, fmt.Errorf("delivery %s may not change from %s to %s", d.ID, d.State, c.state)
	}
	w.setAttempt(attemptWrite{
		ID: a.ID, State: c.attempt, Outcome: string(o.Kind), VendorID: o.VendorID, Code: o.Code,
		Check: db.At(c.check), Ended: db.At(w.now),
	})
	was := d.State
	d.State, d.Code, d.WaitsUntil, d.UpdatedAt = c.state, c.code, c.waits, w.now
	d.Submissions, d.Failures = c.submissions, c.failures
	if c.state == Planned && !c.due.IsZero() {
		d.DueAt = c.due
	}
	if c.attempt == AttemptSubmitted && d.SubmittedAt.IsZero() {
		d.SubmittedAt = w.now
	}
	if d.Settled() && d.FinalAt.IsZero() {
		d.FinalAt = w.now
	}
	if c.hop {
		next, err := w.l.takeHop(ctx, tx, d, w.now)
		if err != nil {
			return d, err
		}
		d.NextID = next
	}
	w.setDelivery(was, d)
	if d.State == was {
		return d, nil
	}
	w.changed = append(w.changed, d)
	if d.State == Planned && !d.DueAt.After(w.now) {
		tx.AfterCommit(func(context.Context) { w.l.announce(d.Lane) })
	}
	return d, nil
}

func (w *writeSet) setDelivery(was State, d Delivery) {
	if earlier, again := w.dirty[d.ID]; again {
		was = earlier.Was
	}
	w.deliveries[d.ID] = d
	w.dirty[d.ID] = deliveryWrite{
		d.ID, was, d.State, d.Code, db.At(d.DueAt), db.At(d.WaitsUntil), d.Submissions, d.Failures,
		db.At(d.SubmittedAt), db.At(d.FinalAt), d.NextID, db.At(d.UpdatedAt),
	}
}

// setAttempt merges with what the set already knows of the attempt.
func (w *writeSet) setAttempt(a attemptWrite) {
	if was, again := w.attempts[a.ID]; again {
		a.Outcome, a.VendorID = or(a.Outcome, was.Outcome), or(a.VendorID, was.VendorID)
		a.Code, a.ReceiptCode = or(a.Code, was.Code), or(a.ReceiptCode, was.ReceiptCode)
		if a.ReceiptAt.IsZero() {
			a.ReceiptAt = was.ReceiptAt
		}
	}
	w.attempts[a.ID] = a
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// flush writes the set and tells the listeners.
func (w *writeSet) flush(ctx context.Context, tx *db.Tx, finish finishFunc) error {
	if err := w.flushAttempts(ctx, tx); err != nil {
		return err
	}
	if err := w.flushDeliveries(ctx, tx); err != nil {
		return err
	}
	return finish(ctx, tx, w.changed...)
}

func (w *writeSet) flushDeliveries(ctx context.Context, tx *db.Tx) error {
	rows := sortedValues(w.dirty)
	if len(rows) == 0 {
		return nil
	}
	// The lease stays with a worker who is calling right now.
	res, err := tx.ExecContext(ctx, `
		update deliveries set state = r.state, code = r.code, due_at = r.due, waits_until = r.waits,
			submissions = r.submissions, failures = r.failures, submitted_at = r.submitted, final_at = r.final,
			next_id = r.next_id, updated_at = r.updated,
			lease_until = case when r.state in ('claimed', 'sending') then deliveries.lease_until end,
			lease_by = case when r.state in ('claimed', 'sending') then deliveries.lease_by else '' end
		from `+db.Rows(tx, "$1", db.TextCol("id"), db.TextCol("was"), db.TextCol("state"), db.TextCol("code"),
		db.TimeCol("due"), db.TimeCol("waits"), db.IntCol("submissions"), db.IntCol("failures"),
		db.TimeCol("submitted"), db.TimeCol("final"), db.TextCol("next_id"), db.TimeCol("updated"))+` as r
		where deliveries.id = r.id and deliveries.state = r.was`, db.RowsArg(rows))
	if err != nil {
		return fmt.Errorf("write deliveries: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("write deliveries: %w", err)
	}
	if n != int64(len(rows)) {
		return fmt.Errorf("write deliveries: %d of %d changed under their lock", int64(len(rows))-n, len(rows))
	}
	return nil
}

func (w *writeSet) flushAttempts(ctx context.Context, tx *db.Tx) error {
	rows := sortedValues(w.attempts)
	if len(rows) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		update attempts set state = r.state,
			outcome = case when r.outcome = '' then attempts.outcome else r.outcome end,
			vendor_id = case when r.vendor_id = '' then attempts.vendor_id else r.vendor_id end,
			code = case when r.code = '' then attempts.code else r.code end,
			receipt_code = case when r.receipt_code = '' then attempts.receipt_code else r.receipt_code end,
			receipt_at = coalesce(r.receipt_at, attempts.receipt_at),
			check_at = r.check_at, check_lease = null, ended_at = coalesce(attempts.ended_at, r.ended)
		from `+db.Rows(tx, "$1", db.TextCol("id"), db.TextCol("state"), db.TextCol("outcome"), db.TextCol("vendor_id"),
		db.TextCol("code"), db.TextCol("receipt_code"), db.TimeCol("receipt_at"), db.TimeCol("check_at"),
		db.TimeCol("ended"))+` as r
		where attempts.id = r.id`, db.RowsArg(rows))
	if err != nil {
		return fmt.Errorf("write attempts: %w", err)
	}
	return nil
}

// sortedValues gives the rows in the order of their ids.
func sortedValues[V any](m map[string]V) []V {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	list := make([]V, len(keys))
	for i, k := range keys {
		list[i] = m[k]
	}
	return list
}

// attemptsByID reads attempts of locked deliveries.
func attemptsByID(ctx context.Context, q db.Querier, ids []string) (map[string]Attempt, error) {
	rows, err := q.QueryContext(ctx, `select `+attemptColumns("a")+` from attempts a
		where a.id `+db.InStrings(q, "$1"), db.Strings(q, ids))
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	list, err := scanAttempts(rows)
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	m := make(map[string]Attempt, len(list))
	for _, a := range list {
		m[a.ID] = a
	}
	return m, nil
}
