package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"guanjia/internal/db"
)

// hold is one row of delivery_holds.
type hold struct {
	kind, id, part string
	reason         string
	withdrawn      bool
}

// tailOf names a reference, or a part of it, in sources and holds.
func tailOf(kind, id, part string) string {
	if part == "" {
		return kind + ":" + id
	}
	return kind + ":" + id + separator + part
}

// HoldTx keeps everything of a reference from leaving. It costs one row,
// however many deliveries there are, and is asked for on every node at the
// next claim and before every call: once the transaction is committed, only
// calls that are under way still end. Holding twice keeps the first reason.
func (l *Ledger) HoldTx(ctx context.Context, tx *db.Tx, refKind, refID, reason string) error {
	return l.hold(ctx, tx, hold{kind: refKind, id: refID, reason: reason})
}

// Hold is HoldTx in a transaction of its own.
func (l *Ledger) Hold(ctx context.Context, refKind, refID, reason string) error {
	return l.db.InTx(ctx, "hold deliveries", func(ctx context.Context, tx *db.Tx) error {
		return l.HoldTx(ctx, tx, refKind, refID, reason)
	})
}

// HoldPartTx is HoldTx for a part (Bulk.Part).
func (l *Ledger) HoldPartTx(ctx context.Context, tx *db.Tx, refKind, refID, part, reason string) error {
	return l.hold(ctx, tx, hold{kind: refKind, id: refID, part: part, reason: reason})
}

func (l *Ledger) hold(ctx context.Context, tx *db.Tx, h hold) error {
	if h.kind == "" || h.id == "" {
		return fmt.Errorf("hold deliveries: %w", errNoReference)
	}
	if strings.Contains(h.kind+h.id+h.part, separator) {
		return fmt.Errorf("hold deliveries: %w", errSeparator)
	}
	_, err := tx.ExecContext(ctx, `
		insert into delivery_holds (tail, ref_kind, ref_id, part, reason, withdrawn, held_at)
		values ($1, $2, $3, $4, $5, $6, $7)
		on conflict (tail) do update set withdrawn = delivery_holds.withdrawn or excluded.withdrawn,
			reason = case when excluded.withdrawn then excluded.reason else delivery_holds.reason end`,
		tailOf(h.kind, h.id, h.part), h.kind, h.id, h.part, h.reason, h.withdrawn, db.At(l.clk.Now()))
	if err != nil {
		return fmt.Errorf("hold deliveries: %w", err)
	}
	return nil
}

// FreeTx lifts the hold on a reference; a hold on a part of it stays. What was
// cancelled is never freed.
func (l *Ledger) FreeTx(ctx context.Context, tx *db.Tx, refKind, refID string) error {
	return l.FreePartTx(ctx, tx, refKind, refID, "")
}

// FreePartTx lifts the hold on a part (Bulk.Part), and wakes the lanes.
func (l *Ledger) FreePartTx(ctx context.Context, tx *db.Tx, refKind, refID, part string) error {
	_, err := tx.ExecContext(ctx, `delete from delivery_holds where tail = $1 and withdrawn = false`,
		tailOf(refKind, refID, part))
	if err != nil {
		return fmt.Errorf("free deliveries: %w", err)
	}
	tx.AfterCommit(func(context.Context) {
		l.paths.reset()
		for _, lane := range Lanes() {
			l.announce(lane)
		}
	})
	return nil
}

// Held says what is held and why.
type Held struct {
	RefKind   string
	RefID     string
	Part      string // "" for the whole reference
	Reason    string
	Withdrawn bool // cancelled
	HeldAt    time.Time
}

// Holds lists the holds of a reference, that on the whole first.
func (l *Ledger) Holds(ctx context.Context, q db.Querier, refKind, refID string) ([]Held, error) {
	rows, err := q.QueryContext(ctx, `
		select ref_kind, ref_id, part, reason, withdrawn, held_at from delivery_holds
		where ref_kind = $1 and ref_id = $2 order by part`, refKind, refID)
	if err != nil {
		return nil, fmt.Errorf("list holds: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var list []Held
	for rows.Next() {
		var (
			h  Held
			at db.Time
		)
		if err := rows.Scan(&h.RefKind, &h.RefID, &h.Part, &h.Reason, &h.Withdrawn, &at); err != nil {
			return nil, fmt.Errorf("list holds: %w", err)
		}
		h.HeldAt = at.Time
		list = append(list, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list holds: %w", err)
	}
	return list, nil
}

// heldTails tells which of these tails are held, and which of those for good.
func heldTails(ctx context.Context, q db.Querier, tails []string) (map[string]bool, error) {
	rows, err := q.QueryContext(ctx, `select tail, withdrawn from delivery_holds where tail `+db.InStrings(q, "$1"),
		db.Strings(q, tails))
	if err != nil {
		return nil, fmt.Errorf("look for holds: %w", err)
	}
	defer func() { _ = rows.Close() }()
	held := make(map[string]bool)
	for rows.Next() {
		var (
			tail      string
			withdrawn bool
		)
		if err := rows.Scan(&tail, &withdrawn); err != nil {
			return nil, fmt.Errorf("look for holds: %w", err)
		}
		held[tail] = withdrawn
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for holds: %w", err)
	}
	return held, nil
}

// isHeld is the same question beside a row of deliveries, which the statement
// names by this alias.
func isHeld(alias string) string {
	return `exists (
		select 1 from delivery_holds h
		where h.ref_kind = ` + alias + `.ref_kind and h.ref_id = ` + alias + `.ref_id and (h.part = '' or h.part = ` + alias + `.part))`
}

// cancelBite is how many deliveries one transaction of a cancellation ends.
const cancelBite = 1000

// cancelAtOnce is how many of them a round of the housekeeping makes.
const cancelAtOnce = 5

// CancelRef withdraws everything of a reference that nobody has taken yet, and
// returns how many it ended. It holds the reference first, so that nothing
// leaves any more from then on, and works in bites: when it is interrupted, the
// housekeeping of any node ends the rest, and so it does with what comes back
// later, such as a call that was to be repeated.
func (l *Ledger) CancelRef(ctx context.Context, refKind, refID string) (int64, error) {
	err := l.db.InTx(ctx, "withdraw deliveries", func(ctx context.Context, tx *db.Tx) error {
		return l.WithdrawTx(ctx, tx, refKind, refID)
	})
	if err != nil {
		return 0, err
	}
	return l.cancelPlanned(ctx, refKind, refID, 0)
}

// WithdrawTx is the first half of CancelRef: from its commit on nothing of the
// reference leaves, and the housekeeping cancels what waits. A use case calls
// it beside its own change of state.
func (l *Ledger) WithdrawTx(ctx context.Context, tx *db.Tx, refKind, refID string) error {
	return l.hold(ctx, tx, hold{kind: refKind, id: refID, reason: "withdrawn", withdrawn: true})
}

// cancelPlanned ends what of a withdrawn reference is planned, by at most that
// many transactions a channel (zero: all).
func (l *Ledger) cancelPlanned(ctx context.Context, refKind, refID string, most int) (total int64, err error) {
	for _, ch := range Channels() {
		n, err := l.inBites(ctx, "cancel deliveries", bites{cancelBite, most}, func(ctx context.Context, tx *db.Tx, limit int) ([]Delivery, error) {
			return l.cancelBite(ctx, tx, refKind, refID, ch, limit)
		})
		total += int64(n)
		if err != nil {
			return total, fmt.Errorf("cancel deliveries: %w", err)
		}
	}
	return total, nil
}

// cancelBite ends some of one channel. Equality on every column of
// deliveries_ref finds what is planned without passing what was cancelled
// before. What was or may have been accepted before waits for its receipt
// instead: only its repeat is withdrawn.
func (l *Ledger) cancelBite(ctx context.Context, tx *db.Tx, refKind, refID, channel string, limit int) ([]Delivery, error) {
	now := l.clk.Now()
	return l.list(ctx, tx, `
		with picked as materialized (
			select d.id as pid from deliveries d
			where d.ref_kind = $1 and d.ref_id = $2 and d.channel = $3 and d.state = 'planned'
			limit $4`+db.SkipLocked(tx)+`)
		update deliveries set
			state = case when submissions = 0 then 'cancelled' else 'unknown' end, code = 'withdrawn',
			waits_until = case when submissions = 0 then null else `+db.TimeParam(tx, "$6")+` end,
			updated_at = `+db.TimeParam(tx, "$5")+`,
			final_at = case when submissions = 0 then `+db.TimeParam(tx, "$5")+` end
		from picked where deliveries.id = picked.pid and `+still("planned")+`
		returning `+columns("deliveries"),
		refKind, refID, channel, limit, db.At(now), db.At(now.Add(waitForReceipt)))
}

// CancelWithdrawn ends what waits of withdrawn references: the rest of a
// cancellation whose process died, and what came back since. It looks only at
// references that have something planned, and does a part of the work at a
// time, so that other housekeeping doesn't wait.
func (l *Ledger) CancelWithdrawn(ctx context.Context) (int64, error) {
	list, err := l.withdrawn(ctx)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, h := range list {
		some, err := l.waits(ctx, h)
		if err != nil {
			return total, fmt.Errorf("look at withdrawn references: %w", err)
		}
		if !some {
			continue
		}
		n, err := l.cancelPlanned(ctx, h.RefKind, h.RefID, cancelAtOnce)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// waits tells whether something of a reference is planned.
func (l *Ledger) waits(ctx context.Context, h Held) (bool, error) {
	for _, ch := range Channels() {
		some, err := l.any(ctx, `select 1 from deliveries where ref_kind = $1 and ref_id = $2 and channel = $3 and state = 'planned'
			order by ref_kind, ref_id, channel, state`, h.RefKind, h.RefID, ch)
		if some || err != nil {
			return some, err
		}
	}
	return false, nil
}

// withdrawn lists the references that were withdrawn of late.
func (l *Ledger) withdrawn(ctx context.Context) ([]Held, error) {
	rows, err := l.db.QueryContext(ctx, `
		select ref_kind, ref_id from delivery_holds where withdrawn = true and held_at > $1 order by ref_kind, ref_id`,
		db.At(l.clk.Now().Add(-keepWithdrawn)))
	if err != nil {
		return nil, fmt.Errorf("list withdrawn references: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var list []Held
	for rows.Next() {
		var h Held
		if err := rows.Scan(&h.RefKind, &h.RefID); err != nil {
			return nil, fmt.Errorf("list withdrawn references: %w", err)
		}
		list = append(list, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list withdrawn references: %w", err)
	}
	return list, nil
}

// keepWithdrawn is how long a withdrawn reference is looked after: no call of
// it comes back later.
const keepWithdrawn = 2 * waitForReceipt
