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
	if err := l.PutReceipts(ctx, []Receipt{r}); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	return nil
}

// PutReceipts takes receipts durably, those of many pushes together: when it
// returns, each is either applied or stored to be tried again, and the vendor
// may be answered.
func (l *Ledger) PutReceipts(ctx context.Context, list []Receipt) error {
	if len(list) == 0 {
		return nil
	}
	_, err := l.inflow.Do(ctx, list)
	return err
}

// applyPatience is how long receipts may take to be applied before they are
// only stored: the vendor waits 700 ms for its answer.
const applyPatience = 300 * time.Millisecond

// takeReceipts applies receipts as they come, and stores what fits no call yet,
// or everything when that doesn't work now.
func (l *Ledger) takeReceipts(ctx context.Context, pushes [][]Receipt) ([]struct{}, error) {
	var list []storedReceipt
	for _, p := range pushes {
		for _, r := range p {
			list = append(list, storedReceipt{r: r})
		}
	}
	done := make([]struct{}, len(pushes))
	patient, cancel := context.WithTimeout(ctx, applyPatience)
	matched, err := l.applyAll(patient, list)
	cancel()
	if err == nil {
		return done, l.keepUnmatched(ctx, list, matched)
	}
	all := make([]Receipt, len(list))
	for i, s := range list {
		all[i] = s.r
	}
	if err := l.putReceipts(ctx, all, 0, time.Now()); err != nil {
		return nil, err
	}
	signal(l.inbox)
	return done, nil
}

// keepUnmatched stores receipts whose call is not known, once tried.
func (l *Ledger) keepUnmatched(ctx context.Context, list []storedReceipt, matched []bool) error {
	var strangers []Receipt
	for i, s := range list {
		if !matched[i] {
			strangers = append(strangers, s.r)
		}
	}
	if len(strangers) == 0 {
		return nil
	}
	return l.putReceipts(ctx, strangers, 1, time.Now().Add(receiptTries[0]))
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
	matched, err := l.applyAll(ctx, list)
	var failed *listenerError
	if errors.As(err, &failed) {
		matched, err = l.applyEach(ctx, list)
	}
	if err != nil {
		return 0, fmt.Errorf("apply receipts: %w", err)
	}
	for i, s := range list {
		if matched[i] {
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

// applyEach applies receipts one by one, after a listener failed for one of
// them.
func (l *Ledger) applyEach(ctx context.Context, list []storedReceipt) ([]bool, error) {
	matched := make([]bool, len(list))
	for i := range list {
		one, err := l.applyAll(ctx, list[i:i+1])
		if err != nil {
			return nil, err
		}
		matched[i] = one[0]
	}
	return matched, nil
}

// claimReceipts takes receipts for a minute by moving their next try away.
func (l *Ledger) claimReceipts(ctx context.Context, limit int) ([]storedReceipt, error) {
	w := l.db.Writer()
	now := time.Now()
	some, err := l.any(ctx, `select 1 from receipts where try_at <= $1 order by try_at`, db.At(now))
	if err != nil || !some {
		return nil, err
	}
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

// applyAll finds the attempts of receipts and writes what follows, in one
// transaction that also deletes the stored ones. matched tells which of them
// had an attempt.
func (l *Ledger) applyAll(ctx context.Context, list []storedReceipt) (matched []bool, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	err = l.inTx(ctx, "apply receipts", len(list), func(ctx context.Context, tx *db.Tx, finish finishFunc) error {
		matched = make([]bool, len(list))
		found, err := l.attemptsOf(ctx, tx, list)
		if err != nil || len(found) == 0 {
			return err
		}
		var deliveries, attemptIDs, stored []string
		for i, s := range list {
			a, ok := found[i]
			if !ok {
				continue
			}
			matched[i] = true
			deliveries, attemptIDs = append(deliveries, a.DeliveryID), append(attemptIDs, a.ID)
			if s.id != "" {
				stored = append(stored, s.id)
			}
		}
		if err := l.deleteReceipts(ctx, tx, stored); err != nil {
			return err
		}
		w, err := l.lockSet(ctx, tx, deliveries)
		if err != nil {
			return err
		}
		// Once more, as they are under the lock.
		attempts, err := attemptsByID(ctx, tx, attemptIDs)
		if err != nil {
			return err
		}
		for i := range list {
			if !matched[i] {
				continue
			}
			// What an earlier receipt of this batch made of it counts.
			a := attempts[found[i].ID]
			if a, err = w.receipt(ctx, tx, a, list[i].r); err != nil {
				return err
			}
			attempts[a.ID] = a
		}
		return w.flush(ctx, tx, finish)
	})
	return matched, err
}

func (l *Ledger) deleteReceipts(ctx context.Context, tx *db.Tx, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `delete from receipts where id `+db.InStrings(tx, "$1"), db.Strings(tx, ids))
	if err != nil {
		return fmt.Errorf("delete receipts: %w", err)
	}
	return nil
}

// receipt decides what one receipt changes and returns the attempt as it then
// is.
func (w *writeSet) receipt(ctx context.Context, tx *db.Tx, a Attempt, r Receipt) (Attempt, error) {
	d := w.deliveries[a.DeliveryID]
	c, ok := afterReceipt(d, a, r, w.now)
	at := r.At
	if at.IsZero() || !r.Confirmed { // an unsigned time steers nothing
		at = w.now
	}
	if !ok && c.check.Equal(w.now) {
		tx.AfterCommit(func(context.Context) { signal(w.l.doubts) })
	}
	if ok {
		if _, err := w.apply(ctx, tx, d.ID, a, c, Outcome{VendorID: r.VendorID}); err != nil {
			return a, err
		}
		a.State = c.attempt
	}
	a.CheckAt = c.check
	w.setAttempt(attemptWrite{
		ID: a.ID, State: a.State, ReceiptCode: r.Code, ReceiptAt: db.At(at), Check: db.At(c.check), Ended: w.attempts[a.ID].Ended,
	})
	return a, nil
}

// attemptsOf finds the calls that receipts speak of, by out-id first, then by
// the vendor's id. What the vendor claims must fit ours in channel and account,
// and in the address where it names one: a forged receipt that guesses an id
// moves nothing of somebody else.
func (l *Ledger) attemptsOf(ctx context.Context, q db.Querier, list []storedReceipt) (map[int]Attempt, error) {
	var outIDs, vendorIDs []string
	for _, s := range list {
		if s.r.OutID != "" {
			outIDs = append(outIDs, s.r.OutID)
		}
	}
	found := make(map[int]Attempt, len(list))
	byOut, err := l.attemptsWhere(ctx, q, `a.id`, outIDs)
	if err != nil {
		return nil, err
	}
	known := make(map[string]Attempt, len(byOut))
	for _, a := range byOut {
		known[a.ID] = a
	}
	for i, s := range list {
		a, ok := known[s.r.OutID]
		switch {
		case ok && s.r.fits(a):
			found[i] = a
		case s.r.VendorID != "":
			vendorIDs = append(vendorIDs, s.r.VendorID)
		}
	}
	byVendor, err := l.attemptsWhere(ctx, q, `a.vendor_id <> '' and a.vendor_id`, vendorIDs)
	if err != nil {
		return nil, err
	}
	// The platform's ids of different accounts might be the same.
	ofVendor := make(map[string][]Attempt, len(byVendor))
	for _, a := range byVendor {
		ofVendor[a.VendorID] = append(ofVendor[a.VendorID], a)
	}
	for i, s := range list {
		if _, ok := found[i]; ok || s.r.VendorID == "" {
			continue
		}
		for _, a := range ofVendor[s.r.VendorID] {
			if s.r.fits(a) {
				found[i] = a
				break
			}
		}
	}
	return found, nil
}

func (r Receipt) fits(a Attempt) bool {
	return r.Channel == a.Channel && r.AccountID == a.AccountID && (r.Address == "" || r.Address == a.Address)
}

func (l *Ledger) attemptsWhere(ctx context.Context, q db.Querier, column string, ids []string) ([]Attempt, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := q.QueryContext(ctx, `select `+attemptColumns("a")+` from attempts a
		where `+column+` `+db.InStrings(q, "$1")+` order by a.id`, db.Strings(q, ids))
	if err != nil {
		return nil, fmt.Errorf("find attempts: %w", err)
	}
	list, err := scanAttempts(rows)
	if err != nil {
		return nil, fmt.Errorf("find attempts: %w", err)
	}
	return list, nil
}

// earlyReceipts applies what came for a vendor's id before the answer with
// that id was recorded.
func (l *Ledger) earlyReceipts(ctx context.Context, tx *db.Tx, w *writeSet, items []recordItem, finish finishFunc) error {
	byVendor := make(map[string]string) // vendor id -> attempt
	var vendorIDs, sources []string
	for _, it := range items {
		if it.o.VendorID != "" && channels[it.a.Channel].receipts {
			byVendor[it.o.VendorID] = it.a.ID
			vendorIDs = append(vendorIDs, it.o.VendorID)
			sources = append(sources, sourceOf(it.a.Channel, it.a.AccountID))
		}
	}
	if len(vendorIDs) == 0 {
		return nil
	}
	var some bool
	err := tx.QueryRowContext(ctx, `select exists (select 1 from receipts where vendor_id <> '' and tries > 0 and vendor_id `+
		db.InStrings(tx, "$1")+`)`, db.Strings(tx, vendorIDs)).Scan(&some)
	if err != nil {
		return fmt.Errorf("look for early receipts: %w", err)
	}
	if !some {
		return nil
	}
	list, err := l.takeEarly(ctx, tx, vendorIDs, sources)
	if err != nil {
		return err
	}
	attemptIDs := make([]string, 0, len(list))
	for _, r := range list {
		attemptIDs = append(attemptIDs, byVendor[r.VendorID])
	}
	attempts, err := attemptsByID(ctx, tx, attemptIDs)
	if err != nil {
		return err
	}
	// The first set is written; a second one begins where it ended.
	late := &writeSet{l: l, now: w.now, deliveries: w.deliveries, dirty: map[string]deliveryWrite{}, attempts: map[string]attemptWrite{}}
	for _, r := range list {
		a := attempts[byVendor[r.VendorID]]
		if !r.fits(a) {
			continue // for another address: whoever made it up knew the id only
		}
		if a, err = late.receipt(ctx, tx, a, r); err != nil {
			return err
		}
		attempts[a.ID] = a
	}
	return late.flush(ctx, tx, finish)
}

func (l *Ledger) takeEarly(ctx context.Context, tx *db.Tx, vendorIDs, sources []string) ([]Receipt, error) {
	rows, err := tx.QueryContext(ctx, `
		delete from receipts
		where vendor_id <> '' and tries > 0 and vendor_id `+db.InStrings(tx, "$1")+`
		  and channel || '|' || account_id `+db.InStrings(tx, "$2")+`
		returning channel, account_id, vendor_id, address, ok, transient, confirmed, code, at`,
		db.Strings(tx, vendorIDs), db.Strings(tx, sources))
	if err != nil {
		return nil, fmt.Errorf("take early receipts: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var list []Receipt
	for rows.Next() {
		var (
			r  Receipt
			at db.Time
		)
		if err := rows.Scan(&r.Channel, &r.AccountID, &r.VendorID, &r.Address, &r.OK, &r.Transient, &r.Confirmed, &r.Code, &at); err != nil {
			return nil, fmt.Errorf("take early receipts: %w", err)
		}
		r.At = at.Time
		list = append(list, r)
	}
	return list, rows.Err()
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
	some, err := l.any(ctx, `select 1 from attempts where channel = $1 and check_at <= $2 order by channel, check_at`, channel, db.At(l.clk.Now()))
	if err != nil {
		return nil, fmt.Errorf("list look-ups: %w", err)
	}
	if !some {
		return nil, nil
	}
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
	err := l.inTx(ctx, "record look-up", 1, func(ctx context.Context, tx *db.Tx, finish finishFunc) error {
		w, err := l.lockSet(ctx, tx, []string{a.DeliveryID})
		if err != nil {
			return err
		}
		var locked bool
		if d, locked = w.deliveries[a.DeliveryID]; !locked {
			return ErrNotFound
		}
		a, err := attemptByID(ctx, tx, a.ID)
		if err != nil {
			return err
		}
		if a.State == AttemptDelivered || a.State == AttemptFailed {
			return nil // a receipt was faster
		}
		now := w.now
		alone, err := l.alone(ctx, tx, a)
		if err != nil {
			return err
		}
		c, ok := afterCheck(d, a, found, alone, now)
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
		if d, err = w.apply(ctx, tx, d.ID, a, c, Outcome{}); err != nil {
			return err
		}
		return w.flush(ctx, tx, finish)
	})
	if err != nil {
		return Delivery{}, fmt.Errorf("record look-up: %w", err)
	}
	return d, nil
}

// alone tells whether no other call of the delivery may have been accepted.
func (l *Ledger) alone(ctx context.Context, tx *db.Tx, a Attempt) (bool, error) {
	if a.State != AttemptUnknown {
		return false, nil // nobody asks
	}
	var other bool
	err := tx.QueryRowContext(ctx, `select exists (
		select 1 from attempts where delivery_id = $1 and id <> $2 and state not in ('refused', 'absent'))`,
		a.DeliveryID, a.ID).Scan(&other)
	if err != nil {
		return false, fmt.Errorf("look for other calls: %w", err)
	}
	return !other, nil
}
