package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"guanjia/internal/db"
)

// receiptTries: when a receipt that matches nothing is tried again (its answer
// may be on the way to the row), by the machine's clock.
var receiptTries = []time.Duration{2 * time.Second, 30 * time.Second, 10 * time.Minute}

// keepReceipts is how long one that never matched is kept to be looked at.
const keepReceipts = 72 * time.Hour

// Receipt takes one receipt at once. One that matches nothing yet is kept and
// tried again; one that never matches does nothing.
func (l *Ledger) Receipt(ctx context.Context, r Receipt) error {
	matched, err := l.applyReceipt(ctx, r, "")
	if err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	if matched {
		return nil
	}
	return l.putReceipts(ctx, []Receipt{r}, 1, time.Now().Add(receiptTries[0]))
}

// PutReceipts stores receipts durably in one statement, to be applied soon
// (ApplyReceipts): the vendor is answered as soon as it returns.
func (l *Ledger) PutReceipts(ctx context.Context, list []Receipt) error {
	if len(list) == 0 {
		return nil
	}
	if err := l.putReceipts(ctx, list, 0, time.Now()); err != nil {
		return err
	}
	select {
	case l.inbox <- struct{}{}:
	default:
	}
	return nil
}

func (l *Ledger) putReceipts(ctx context.Context, list []Receipt, tries int64, tryAt time.Time) error {
	type row struct {
		ID         string  `json:"id"`
		Channel    string  `json:"channel"`
		AccountID  string  `json:"account_id"`
		OutID      string  `json:"out_id"`
		VendorID   string  `json:"vendor_id"`
		Address    string  `json:"address"`
		OK         bool    `json:"ok"`
		Transient  bool    `json:"transient"`
		Confirmed  bool    `json:"confirmed"`
		Code       string  `json:"code"`
		At         db.Time `json:"at"`
		ReceivedAt db.Time `json:"received_at"`
		Tries      int64   `json:"tries"`
		TryAt      db.Time `json:"try_at"`
	}
	now := db.At(time.Now())
	rows := make([]row, len(list))
	for i, r := range list {
		rows[i] = row{
			db.NewID(), r.Channel, r.AccountID, r.OutID, r.VendorID, r.Address, r.OK, r.Transient,
			r.Confirmed, r.Code, db.At(r.At), now, tries, db.At(tryAt),
		}
	}
	_, err := l.db.ExecContext(ctx, `
		insert into receipts (id, channel, account_id, out_id, vendor_id, address, ok, transient, confirmed, code,
			at, received_at, tries, try_at)
		select r.id, r.channel, r.account_id, r.out_id, r.vendor_id, r.address, r.ok, r.transient, r.confirmed, r.code,
			r.at, r.received_at, r.tries, r.try_at
		from `+db.Rows(l.db, "$1", db.TextCol("id"), db.TextCol("channel"), db.TextCol("account_id"), db.TextCol("out_id"),
		db.TextCol("vendor_id"), db.TextCol("address"), db.BoolCol("ok"), db.BoolCol("transient"), db.BoolCol("confirmed"),
		db.TextCol("code"), db.TimeCol("at"), db.TimeCol("received_at"), db.IntCol("tries"), db.TimeCol("try_at"))+` as r`,
		db.RowsArg(rows))
	if err != nil {
		return fmt.Errorf("store receipts: %w", err)
	}
	return nil
}

type storedReceipt struct {
	id    string
	tries int64
	r     Receipt
}

// ApplyReceipts applies stored receipts whose time has come and returns how
// many it looked at. Nodes share the work.
func (l *Ledger) ApplyReceipts(ctx context.Context, limit int) (int, error) {
	list, err := l.claimReceipts(ctx, limit)
	if err != nil {
		return 0, fmt.Errorf("apply receipts: %w", err)
	}
	for i, s := range list {
		matched, err := l.applyReceipt(ctx, s.r, s.id)
		if err != nil {
			return i, fmt.Errorf("apply receipt: %w", err)
		}
		if matched {
			continue
		}
		var again time.Time
		if s.tries < int64(len(receiptTries)) {
			again = time.Now().Add(receiptTries[s.tries])
		}
		_, err = l.db.ExecContext(ctx, `update receipts set tries = tries + 1, try_at = $2 where id = $1`, s.id, db.At(again))
		if err != nil {
			return i, fmt.Errorf("keep receipt: %w", err)
		}
	}
	return len(list), nil
}

// claimReceipts takes receipts for a minute by moving their next try away.
func (l *Ledger) claimReceipts(ctx context.Context, limit int) ([]storedReceipt, error) {
	w := l.db.Writer()
	now := time.Now()
	rows, err := w.QueryContext(ctx, `
		with picked as materialized (
			select r.id as pid from receipts r where r.try_at <= $2 order by r.try_at limit $3`+db.SkipLocked(w)+`)
		update receipts set try_at = $1 from picked where receipts.id = picked.pid
		returning id, tries, channel, account_id, out_id, vendor_id, address, ok, transient, confirmed, code, at`,
		db.At(now.Add(time.Minute)), db.At(now), limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []storedReceipt
	for rows.Next() {
		var (
			s  storedReceipt
			at db.Time
		)
		err := rows.Scan(&s.id, &s.tries, &s.r.Channel, &s.r.AccountID, &s.r.OutID, &s.r.VendorID, &s.r.Address,
			&s.r.OK, &s.r.Transient, &s.r.Confirmed, &s.r.Code, &at)
		if err != nil {
			return nil, err
		}
		s.r.At = at.Time
		list = append(list, s)
	}
	return list, rows.Err()
}

// applyReceipt finds the attempt and writes what follows; a stored receipt is
// deleted in the same transaction. matched is false when there is no attempt.
func (l *Ledger) applyReceipt(ctx context.Context, r Receipt, storedID string) (matched bool, err error) {
	a, err := l.attemptOf(ctx, l.db, r)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = l.inTx(ctx, "apply receipt", func(ctx context.Context, tx *db.Tx, finish finishFunc) error {
		if storedID != "" {
			if _, err := tx.ExecContext(ctx, `delete from receipts where id = $1`, storedID); err != nil {
				return fmt.Errorf("delete receipt: %w", err)
			}
		}
		_, err := l.receiptTx(ctx, tx, a.DeliveryID, a.ID, r, finish)
		return err
	})
	return err == nil, err
}

// attemptOf finds the call that a receipt speaks of. The vendor's claim must
// fit ours in channel and account, and in the address where it names one: a
// forged receipt that guesses an id moves nothing of somebody else.
func (l *Ledger) attemptOf(ctx context.Context, q db.Querier, r Receipt) (Attempt, error) {
	const fits = ` and a.channel = $2 and a.account_id = $3 and ($4 = '' or a.address = $4)`
	if r.OutID != "" {
		a, err := scanAttempt(q.QueryRowContext(ctx, `select `+attemptColumns("a")+` from attempts a
			where a.id = $1`+fits, r.OutID, r.Channel, r.AccountID, r.Address))
		if err == nil || !errors.Is(err, ErrNotFound) || r.VendorID == "" {
			return a, err
		}
	}
	if r.VendorID == "" {
		return Attempt{}, ErrNotFound
	}
	return scanAttempt(q.QueryRowContext(ctx, `select `+attemptColumns("a")+` from attempts a
		where a.vendor_id = $1 and a.vendor_id <> ''`+fits+` order by a.id limit 1`,
		r.VendorID, r.Channel, r.AccountID, r.Address))
}

func (l *Ledger) receiptTx(ctx context.Context, tx *db.Tx, deliveryID, attemptID string, r Receipt, finish finishFunc) (Delivery, error) {
	d, err := lock(ctx, tx, deliveryID)
	if err != nil {
		return Delivery{}, err
	}
	a, err := attemptByID(ctx, tx, attemptID)
	if err != nil {
		return d, err
	}
	now := l.clk.Now()
	c, ok := afterReceipt(d, a, r, now)
	at := r.At
	if at.IsZero() {
		at = now
	}
	_, err = tx.ExecContext(ctx, `update attempts set receipt_code = $2, receipt_at = $3, check_at = $4 where id = $1`,
		a.ID, r.Code, db.At(at), db.At(c.check))
	if err != nil {
		return d, fmt.Errorf("write receipt: %w", err)
	}
	if !ok {
		return d, nil
	}
	return l.apply(ctx, tx, d, a, c, Outcome{VendorID: r.VendorID}, now, finish)
}

// earlyReceipts applies what came for a vendor's id before the answer with
// that id was recorded.
func (l *Ledger) earlyReceipts(ctx context.Context, tx *db.Tx, d Delivery, attemptID, vendorID string, finish finishFunc) (Delivery, error) {
	rows, err := tx.QueryContext(ctx, `
		delete from receipts
		where vendor_id = $1 and channel = $2 and account_id = $3 and (address = '' or address = $4) and tries > 0
		returning ok, transient, confirmed, code, at`, vendorID, d.Channel, d.AccountID, d.Address)
	if err != nil {
		return d, fmt.Errorf("look for early receipts: %w", err)
	}
	var list []Receipt
	err = func() error {
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var at db.Time
			r := Receipt{Channel: d.Channel, AccountID: d.AccountID, VendorID: vendorID}
			if err := rows.Scan(&r.OK, &r.Transient, &r.Confirmed, &r.Code, &at); err != nil {
				return err
			}
			r.At = at.Time
			list = append(list, r)
		}
		return rows.Err()
	}()
	if err != nil {
		return d, fmt.Errorf("look for early receipts: %w", err)
	}
	for _, r := range list {
		if d, err = l.receiptTx(ctx, tx, d.ID, attemptID, r, finish); err != nil {
			return d, err
		}
	}
	return d, nil
}

// PruneReceipts deletes stored receipts that matched nothing for three days.
func (l *Ledger) PruneReceipts(ctx context.Context) error {
	_, err := l.db.ExecContext(ctx, `
		delete from receipts where id in (
			select id from receipts where received_at < $1 order by received_at limit $2)`,
		db.At(time.Now().Add(-keepReceipts)), 10*bite)
	if err != nil {
		return fmt.Errorf("prune receipts: %w", err)
	}
	return nil
}

// Lookup is a call that the vendor is to be asked about.
type Lookup struct {
	Attempt
	CompanyID string
	Class     Class
}

// lookupLease is how long a look-up may take, by the machine's clock.
const lookupLease = 30 * time.Second

// Lookups takes the calls of a channel whose time to be asked about has come:
// those of unknown result (Attempt.State AttemptUnknown) and those accepted
// whose receipt is missing or doubtful. Each is given to one caller; report
// with Checked.
func (l *Ledger) Lookups(ctx context.Context, channel Channel, limit int) ([]Lookup, error) {
	w := l.db.Writer()
	rows, err := w.QueryContext(ctx, `
		with picked as materialized (
			select a.id as pid from attempts a
			where a.channel = $2 and a.check_at <= $3 and (a.check_lease is null or a.check_lease < $4)
			order by a.check_at limit $5`+db.SkipLocked(w)+`)
		update attempts set check_lease = $1 from picked where attempts.id = picked.pid
		returning `+attemptColumns("attempts")+`,
			(select d.company_id from deliveries d where d.id = attempts.delivery_id),
			(select d.class from deliveries d where d.id = attempts.delivery_id)`,
		l.leaseEnd(lookupLease), channel, db.At(l.clk.Now()), db.At(time.Now()), limit)
	if err != nil {
		return nil, fmt.Errorf("list look-ups: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var list []Lookup
	for rows.Next() {
		var u Lookup
		a, err := scanAttempt(extraScan{rows, []any{&u.CompanyID, &u.Class}})
		if err != nil {
			return nil, fmt.Errorf("list look-ups: %w", err)
		}
		u.Attempt = a
		list = append(list, u)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list look-ups: %w", err)
	}
	return list, nil
}

// extraScan scans further columns behind those of a known list.
type extraScan struct {
	s     scanner
	extra []any
}

func (e extraScan) Scan(dest ...any) error { return e.s.Scan(append(dest, e.extra...)...) }

// Checked records what a look-up said and what follows from it.
func (l *Ledger) Checked(ctx context.Context, a Attempt, found Check) (Delivery, error) {
	var d Delivery
	err := l.inTx(ctx, "record look-up", func(ctx context.Context, tx *db.Tx, finish finishFunc) error {
		var err error
		if d, err = lock(ctx, tx, a.DeliveryID); err != nil {
			return err
		}
		a, err := attemptByID(ctx, tx, a.ID)
		if err != nil {
			return err
		}
		if a.State == AttemptDelivered || a.State == AttemptFailed {
			return nil // a receipt was faster
		}
		now := l.clk.Now()
		c, ok := afterCheck(d, a, found, now)
		absentN, absentSince := a.AbsentN, a.AbsentSince
		switch found.Found {
		case FoundAbsent:
			absentN++
			if absentSince.IsZero() {
				absentSince = now
			}
		case FoundPending, FoundDelivered, FoundFailed:
			absentN, absentSince = 0, time.Time{}
		case FoundNoAnswer: // says nothing either way
		}
		_, err = tx.ExecContext(ctx, `
			update attempts set check_n = check_n + 1, check_at = $2, check_lease = null, absent_n = $3, absent_since = $4,
				receipt_code = case when $5 = '' then receipt_code else $5 end
			where id = $1`, a.ID, db.At(c.check), absentN, db.At(absentSince), found.Code)
		if err != nil {
			return fmt.Errorf("write look-up: %w", err)
		}
		if !ok {
			return nil
		}
		d, err = l.apply(ctx, tx, d, a, c, Outcome{}, now, finish)
		return err
	})
	if err != nil {
		return Delivery{}, fmt.Errorf("record look-up: %w", err)
	}
	return d, nil
}
