package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/register"
	"guanjia/notify/deliver"
)

// Jobs of notices. One job a notice looks after it from approval to the last
// final row; it never makes one job a recipient.
const (
	JobRun    = "notify.run"
	JobRemind = "notify.remind"
)

// Parts of a notice's deliveries: the first ones of a large notice leave alone
// and are watched.
const (
	partCanary = "canary"
	partRest   = "rest"
)

// skipFallback marks a row of the audience whose phone is only asked when the
// template message of its resident fails. It is no delivery.
const skipFallback = "FALLBACK"

type jobArgs struct {
	ID string `json:"id"`
}

func (n *Notices) runJob(id string, at time.Time) jobs.Job {
	return jobs.Job{Kind: JobRun, Args: jobArgs{id}, RunAt: at, UniqueKey: id, Priority: 1}
}

// system is who acts when nobody does.
func system(companyID string) By {
	by := By{}
	by.CompanyID, by.Via, by.Trusted = companyID, "system", true
	return by
}

// Handle registers the jobs. Call it before the runner starts.
func (n *Notices) Handle(r *jobs.Runner) {
	r.Handle(JobRun, func(ctx context.Context, raw json.RawMessage) error {
		id, err := readArgs(raw)
		if err != nil {
			return err
		}
		again, err := n.step(ctx, id)
		if err != nil || again == 0 {
			return err
		}
		return jobs.Later(again)
	})
	r.Handle(JobRemind, func(ctx context.Context, raw json.RawMessage) error {
		id, err := readArgs(raw)
		if err != nil {
			return err
		}
		again, err := n.remind(ctx, id)
		if err != nil || again == 0 {
			return err
		}
		return jobs.Later(again)
	})
}

func readArgs(raw json.RawMessage) (string, error) {
	var a jobArgs
	if err := json.Unmarshal(raw, &a); err != nil || a.ID == "" {
		return "", jobs.Permanent(fmt.Errorf("notify: job without a notice"))
	}
	return a.ID, nil
}

// Ensure puts the jobs of every notice that is under way, should one be
// missing; call it at each start.
func (n *Notices) Ensure(ctx context.Context) error {
	list, err := manyNotices(ctx, n.DB, `state IN ('approved', 'sending', 'paused') ORDER BY id`)
	if err != nil {
		return err
	}
	reminders, err := manyNotices(ctx, n.DB, `remind_at IS NOT NULL AND state IN ('approved', 'sending', 'paused', 'finished') ORDER BY id`)
	if err != nil {
		return err
	}
	return n.DB.InTx(ctx, "notify.ensure", func(ctx context.Context, tx *db.Tx) error {
		for _, x := range list {
			if err := n.Jobs.PutTx(ctx, tx, n.runJob(x.ID, time.Time{})); err != nil {
				return err
			}
		}
		for _, x := range reminders {
			if err := n.Jobs.PutTx(ctx, tx, jobs.Job{Kind: JobRemind, Args: jobArgs{x.ID}, RunAt: x.RemindAt.Time, UniqueKey: x.ID}); err != nil {
				return err
			}
		}
		return nil
	})
}

// step takes a notice as far as it can go now and says when to look again;
// zero: never. Two at once do no harm: each change is a compare-and-set.
func (n *Notices) step(ctx context.Context, id string) (time.Duration, error) {
	for try := 0; ; try++ {
		again, err := n.stepOnce(ctx, id)
		if errors.Is(err, errStale) && try < changeRetries {
			continue
		}
		return again, err
	}
}

func (n *Notices) stepOnce(ctx context.Context, id string) (time.Duration, error) {
	x, ok, err := oneNotice(ctx, n.DB, `id = $1`, id)
	if err != nil || !ok {
		return 0, err
	}
	switch x.State {
	case Drafted, Cancelled, Finished:
		return 0, nil
	}
	if x.frozenAt.IsZero() {
		if x, err = n.freeze(ctx, x); err != nil {
			return 0, err
		}
	}
	if x.facts.PutTo < x.facts.Rows {
		if x, err = n.putAll(ctx, x); err != nil {
			return 0, err
		}
	}
	if x.State == Approved {
		if wait := x.SendAt.Sub(n.now()); wait > 0 {
			return wait, nil
		}
		if x, err = n.start(ctx, x); err != nil {
			return 0, err
		}
	}
	if x.State == Paused {
		return watchEvery(n.now().Sub(x.ApprovedAt.Time)), nil
	}
	if x.freedAt.IsZero() {
		return n.canary(ctx, x)
	}
	return n.finish(ctx, x)
}

// watchEvery is how soon a notice of an age is looked at again: at once while it
// runs, rarely while it only waits for the last receipts.
func watchEvery(age time.Duration) time.Duration {
	switch {
	case age < time.Minute:
		return time.Second
	case age < 10*time.Minute:
		return 5 * time.Second
	case age < 2*time.Hour:
		return 30 * time.Second
	}
	return 5 * time.Minute
}

// freeze writes the audience as it is now, by one statement however many homes
// there are. Its deliveries follow in bites (putAll).
func (n *Notices) freeze(ctx context.Context, x Notice) (Notice, error) {
	p, c, err := n.planOf(ctx, &x)
	if err != nil {
		return x, err
	}
	if p.kind.EndsChain {
		for _, old := range p.chain {
			if _, err := n.Ledger.CancelRef(ctx, RefNotice, old.ID); err != nil {
				return x, fmt.Errorf("notify: end what nobody needs any more: %w", err)
			}
		}
	}
	large := c.Settings.Canary > 0 && c.Settings.CanaryFrom > 0 && x.Audience.SMS+x.Audience.Template >= c.Settings.CanaryFrom
	if large && !x.Emergency {
		p.canary = c.Settings.Canary
	}
	n.point("notice.freeze")
	begun := x
	err = n.DB.InTx(ctx, "notify.freeze", func(ctx context.Context, tx *db.Tx) error {
		x = begun
		return p.freezeTx(ctx, tx)
	})
	if err != nil {
		return begun, err
	}
	n.point("notice.frozen")
	return x, nil
}

// planOf gathers what freezing and putting need.
func (n *Notices) planOf(ctx context.Context, x *Notice) (*plan, company.Company, error) {
	k, ok := n.kinds.Kinds[x.Kind]
	if !ok {
		return nil, company.Company{}, jobs.Permanent(fmt.Errorf("notify: kind %q of an approved notice is unknown", x.Kind))
	}
	c, dir, err := n.settings(ctx, x.CompanyID)
	if err != nil {
		return nil, company.Company{}, err
	}
	p := &plan{n: n, x: x, kind: k, exam: &examination{kind: k, draft: x.Draft, facts: x.facts, projectID: x.ProjectID}}
	acc, _ := dir.SMSOf(x.CompanyID)
	p.smsAccount = acc.ID
	p.scope = (&examiner{n: n, company: c, x: p.exam}).estateScope()
	if x.OfID != "" {
		p.chain, err = n.toldChain(ctx, *x)
	}
	return p, c, err
}

// How many rows of the audience get their deliveries in one transaction. On
// SQLite a transaction holds every other writer up, so it stays below a tenth of
// a second.
const (
	biteSQLite   = 4_000
	bitePostgres = 200_000
)

// putAll writes the deliveries of a frozen audience, bite by bite; what a crash
// interrupts goes on after the last bite. The first ones leave while the rest is
// being written.
func (n *Notices) putAll(ctx context.Context, x Notice) (Notice, error) {
	p, _, err := n.planOf(ctx, &x)
	if err != nil {
		return x, err
	}
	bite := int64(bitePostgres)
	if n.DB.Engine() == db.EngineSQLite {
		bite = biteSQLite
	}
	for x.facts.PutTo < x.facts.Rows {
		begun := x
		err := n.DB.InTx(ctx, "notify.put", func(ctx context.Context, tx *db.Tx) error {
			x = begun
			from := x.facts.PutTo
			x.facts.PutTo = min(from+bite, x.facts.Rows)
			// The row first: of two who put the same bite, one stops here.
			if err := updateTx(ctx, tx, &x); err != nil {
				return err
			}
			return p.deliveriesTx(ctx, tx, from, x.facts.PutTo)
		})
		if err != nil {
			return begun, err
		}
		n.point("notice.put")
	}
	return x, nil
}

// toldChain are the notices of a chain that had been approved before this one.
func (n *Notices) toldChain(ctx context.Context, x Notice) ([]Notice, error) {
	chain, err := n.chain(ctx, n.DB, x.chainID)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(chain, func(c Notice) bool { return c.ID == x.ID || c.ApprovedAt.IsZero() || c.frozenAt.IsZero() }), nil
}

// plan is one freeze.
type plan struct {
	n          *Notices
	x          *Notice
	kind       *kind
	exam       *examination
	scope      estate.Scope
	chain      []Notice
	smsAccount string
	canary     int
}

func (p *plan) freezeTx(ctx context.Context, tx *db.Tx) error {
	x, n := p.x, p.n
	now := n.now()
	x.frozenAt = now
	if p.canary == 0 {
		x.freedAt = now
	}
	started := x.State == Approved && !x.SendAt.After(now)
	if started {
		x.State, x.StartedAt = Sending, Time{now}
	}
	if err := p.audienceTx(ctx, tx); err != nil {
		return err
	}
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(n), 0) FROM notice_audience WHERE notice_id = $1`, x.ID).Scan(&x.facts.Rows); err != nil {
		return fmt.Errorf("notify: count the frozen rows: %w", err)
	}
	if p.canary > 0 {
		if err := p.canaryTx(ctx, tx); err != nil {
			return err
		}
	}
	if err := updateTx(ctx, tx, x); err != nil {
		return err
	}
	if err := eventTx(ctx, tx, x.ID, "frozen", system(x.CompanyID), now, strconv.FormatInt(x.facts.Rows, 10)); err != nil {
		return err
	}
	if started {
		return n.startedTx(ctx, tx, *x)
	}
	return nil
}

// audienceTx writes who is told: one statement, and one that lets an address
// that stands for several homes be served by one delivery.
func (p *plan) audienceTx(ctx context.Context, tx *db.Tx) error {
	rows, args := p.rows(tx)
	param := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	id, acc, sms := param(p.x.ID), param(p.smsAccount), "a.skip_code"
	if p.exam.fallback() {
		sms = `CASE WHEN a.channel = 'sms' AND a.skip_code = '' THEN '` + skipFallback + `' ELSE a.skip_code END`
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO notice_audience (notice_id, n, send_n, unit_id, unit, building, entrance, floor, resident_id, name, role, channel, account_id, address, skip_code)
		SELECT cast(`+id+` as text), a.n, a.n, a.unit_id, a.unit, a.building, a.entrance, a.floor, a.resident_id, a.name, a.role, a.channel,
		       CASE WHEN a.channel = 'sms' THEN cast(`+acc+` as text) ELSE a.account_id END, a.address, `+sms+`
		FROM (SELECT row_number() OVER () AS n, r.* FROM (`+rows+`) r) a`, args...)
	if err != nil {
		return fmt.Errorf("notify: freeze audience: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE notice_audience SET send_n = m.first
		FROM (SELECT channel, account_id, address, min(n) AS first FROM notice_audience
		      WHERE notice_id = $1 AND address <> '' GROUP BY channel, account_id, address HAVING count(*) > 1) m
		WHERE notice_audience.notice_id = $1 AND notice_audience.channel = m.channel AND notice_audience.account_id = m.account_id
		  AND notice_audience.address = m.address AND notice_audience.n <> m.first`, p.x.ID)
	if err != nil {
		return fmt.Errorf("notify: join the homes of an address: %w", err)
	}
	return nil
}

// rows is the SELECT of the audience: of the scope, or of those who were told.
func (p *plan) rows(q querier) (string, []any) {
	if p.x.OfID != "" {
		rows, args := toldRows(q, p.chain, !p.kind.EndsChain)
		args = append(args, db.Strings(q, p.x.Channels))
		return `SELECT t.*, '' AS skip_code FROM (` + rows + ` AND a.channel ` + db.InStrings(q, "$"+strconv.Itoa(len(args))) + `) t`, args
	}
	o := p.exam.options()
	if p.exam.fallback() {
		o.Channels = append(slices.Clone(o.Channels), estate.AudienceSMS)
	}
	return p.n.Estate.Audience(p.x.CompanyID, p.scope, o)
}

// canaryTx finds the last row of those that leave first.
func (p *plan) canaryTx(ctx context.Context, tx *db.Tx) error {
	err := tx.QueryRowContext(ctx, `
		SELECT coalesce(max(n), 0) FROM (
			SELECT n FROM notice_audience WHERE notice_id = $1 AND n = send_n AND skip_code = '' AND channel <> '' ORDER BY n LIMIT $2) c`,
		p.x.ID, p.canary).Scan(&p.x.facts.CanaryTo)
	if err != nil {
		return fmt.Errorf("notify: choose the first rows: %w", err)
	}
	return nil
}

// deliveriesTx puts the deliveries of the rows after from up to to.
func (p *plan) deliveriesTx(ctx context.Context, tx *db.Tx, from, to int64) error {
	for _, b := range p.bulks(from, to) {
		if _, err := p.n.Ledger.PutBulkTx(ctx, tx, b); err != nil {
			return err
		}
	}
	return nil
}

// bulks are the deliveries of every channel, and of either part where the first
// rows go alone.
func (p *plan) bulks(from, to int64) []ledger.Bulk {
	r := p.n.render(p.exam)
	var list []ledger.Bulk
	for _, ch := range p.x.Channels {
		b := ledger.Bulk{
			CompanyID: p.x.CompanyID, Channel: ch, Lane: p.exam.facts.laneFor(p.kind), Class: p.kind.Class, RefKind: RefNotice, RefID: p.x.ID,
			NotBefore: p.x.SendAt.Time, ValidUntil: p.x.validUntil,
		}
		planned, args := `''`, []any{p.x.ID, ch}
		fallback := ""
		switch ch {
		case ledger.ChannelSMS:
			b.Text, b.Payload = r.sms.Text, smsPayload(r.sms.Purpose, r.sms.Params)
		default:
			b.Text, b.Payload = r.tmpl.Text, templatePayload(r.tmpl.Purpose, r.tmpl.Data)
			if p.exam.fallback() {
				// The phone is digits, so it may stand in the JSON as it is.
				planned = `CASE WHEN f.address IS NULL THEN '' ELSE cast($3 as text) || f.address || cast($4 as text) END`
				fallback = ` LEFT JOIN (SELECT resident_id, min(address) AS address FROM notice_audience
					WHERE notice_id = $1 AND channel = 'sms' AND skip_code = '` + skipFallback + `' GROUP BY resident_id) f ON f.resident_id = a.resident_id`
				before, after := p.hop(r)
				args = append(args, before, after)
			}
		}
		b.Rows = `SELECT ` + deliveryID("a") + ` AS id, a.account_id, a.address, a.skip_code, ` + planned + ` AS plan
			FROM notice_audience a` + fallback + ` WHERE a.notice_id = $1 AND a.channel = $2 AND a.n = a.send_n`
		after, upTo := "$"+strconv.Itoa(len(args)+1), "$"+strconv.Itoa(len(args)+2)
		b.Rows += ` AND a.n > ` + after + ` AND a.n <= ` + upTo
		first := p.x.facts.CanaryTo
		if from < first {
			c := b
			c.Part, c.Args = partCanary, append(slices.Clone(args), from, min(to, first))
			list = append(list, c)
		}
		if to > first {
			c := b
			c.Args = append(slices.Clone(args), max(from, first), to)
			if first > 0 {
				c.Part, c.Held = partRest, p.x.freedAt.IsZero()
			}
			list = append(list, c)
		}
	}
	return list
}

func (f facts) laneFor(k *kind) ledger.Lane {
	if k.Lane == "" {
		return ledger.LaneNormal
	}
	return k.Lane
}

// hop is the JSON of the SMS that follows a failed template message, before and
// after the phone.
func (p *plan) hop(r rendered) (before, after string) {
	const place = "00000000000"
	text := ledger.PlanJSON(ledger.Hop{Channel: ledger.ChannelSMS, AccountID: p.smsAccount, Address: place, Payload: ledger.HopPayload(smsPayload(r.sms.Purpose, r.sms.Params))})
	before, after, _ = strings.Cut(text, place)
	return before, after
}

// smsPayload and templatePayload are what the senders of these channels take.
func smsPayload(purpose string, params map[string]string) any {
	return map[string]any{"purpose": purpose, "params": params}
}

func templatePayload(purpose string, fields map[string]string) any {
	return map[string]any{"purpose": purpose, "fields": fields}
}

// start lets a notice that waited for its hour be seen as on its way. Its rows
// carry the hour themselves.
func (n *Notices) start(ctx context.Context, x Notice) (Notice, error) {
	begun := x
	err := n.DB.InTx(ctx, "notify.start", func(ctx context.Context, tx *db.Tx) error {
		x = begun
		x.State, x.StartedAt = Sending, Time{n.now()}
		if err := updateTx(ctx, tx, &x); err != nil {
			return err
		}
		return n.startedTx(ctx, tx, x)
	})
	return x, err
}

func (n *Notices) startedTx(ctx context.Context, tx *db.Tx, x Notice) error {
	if err := n.Register.PublishedTx(ctx, tx, ref(x), x.StartedAt.Time); err != nil {
		return err
	}
	return eventTx(ctx, tx, x.ID, "started", system(x.CompanyID), x.StartedAt.Time, "")
}

// Times of the watch over the first rows, and what share of them may fail for
// reasons that are not their number's own.
const (
	canaryEvery = time.Second
	canaryWait  = 15 * time.Second
	canaryBad   = 0.2
)

// canary looks at the first rows of a large notice and lets the rest follow, or
// pauses it: a text that carriers block is found out with twenty and not with a
// million.
func (n *Notices) canary(ctx context.Context, x Notice) (time.Duration, error) {
	rows, err := n.DB.QueryContext(ctx, `
		SELECT s.state, s.code, s.settled, count(*) FROM notice_audience a JOIN delivery_states s ON s.id = `+deliveryID("a")+`
		WHERE a.notice_id = $1 AND a.n <= $2 AND a.n = a.send_n AND a.skip_code = '' AND a.channel <> ''
		GROUP BY s.state, s.code, s.settled`, x.ID, x.facts.CanaryTo)
	if err != nil {
		return 0, fmt.Errorf("notify: look at the first rows: %w", err)
	}
	defer rows.Close()
	var total, called, settled, bad int
	code := ""
	for rows.Next() {
		var state, c string
		var done bool
		var count int
		if err := rows.Scan(&state, &c, &done, &count); err != nil {
			return 0, fmt.Errorf("notify: look at the first rows: %w", err)
		}
		total += count
		if !slices.Contains(pendingStates, state) {
			called += count
		}
		if done {
			settled += count
		}
		if state == "failed" && !slices.Contains(n.kinds.Personal, c) {
			bad += count
			code = c
		}
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("notify: look at the first rows: %w", err)
	}
	rows.Close()
	switch waited := n.now().Sub(x.StartedAt.Time); {
	case bad > 0 && float64(bad) > canaryBad*float64(total):
		return n.stopCanary(ctx, x, code)
	case settled == total, waited >= canaryWait && 2*called >= total:
		return n.free(ctx, x)
	}
	return canaryEvery, nil
}

func (n *Notices) stopCanary(ctx context.Context, x Notice, code string) (time.Duration, error) {
	err := n.DB.InTx(ctx, "notify.stop_canary", func(ctx context.Context, tx *db.Tx) error {
		x := x
		return n.pauseTx(ctx, tx, &x, system(x.CompanyID), pausedCanary+":"+code)
	})
	if err == nil {
		n.Log.ErrorContext(ctx, "notice paused: its first messages failed", "notice", x.ID, "code", code)
	}
	return canaryEvery, err
}

func (n *Notices) free(ctx context.Context, x Notice) (time.Duration, error) {
	err := n.DB.InTx(ctx, "notify.free", func(ctx context.Context, tx *db.Tx) error {
		x := x
		x.freedAt = n.now()
		if err := updateTx(ctx, tx, &x); err != nil {
			return err
		}
		if err := n.Ledger.FreePartTx(ctx, tx, RefNotice, x.ID, partRest); err != nil {
			return err
		}
		return eventTx(ctx, tx, x.ID, "canary", system(x.CompanyID), n.now(), "")
	})
	n.point("notice.freed")
	return canaryEvery, err
}

// finish ends a notice when all its rows are final: counted, never set.
func (n *Notices) finish(ctx context.Context, x Notice) (time.Duration, error) {
	open, err := n.open(ctx, x)
	if err != nil {
		return 0, err
	}
	if open {
		return watchEvery(n.now().Sub(x.StartedAt.Time)), nil
	}
	counts, err := n.registerCounts(ctx, x)
	if err != nil {
		return 0, err
	}
	err = n.DB.InTx(ctx, "notify.finish", func(ctx context.Context, tx *db.Tx) error {
		x := x
		x.State, x.FinishedAt = Finished, Time{n.now()}
		if err := updateTx(ctx, tx, &x); err != nil {
			return err
		}
		if err := n.tickedTx(ctx, tx, x, counts); err != nil {
			return err
		}
		return eventTx(ctx, tx, x.ID, "finished", system(x.CompanyID), n.now(), "")
	})
	return 0, err
}

// tickedTx completes the row of the register: the counts, and the forms that
// are deliveries.
func (n *Notices) tickedTx(ctx context.Context, tx *db.Tx, x Notice, c registerCounts) error {
	if err := n.Register.CountsTx(ctx, tx, ref(x), c.Counts); err != nil {
		return err
	}
	for _, ch := range x.Channels {
		f := register.Form{Form: ch, Detail: c.detail[ch], Act: register.Act{Person: register.Person{ID: "system", Name: "系统"}, At: n.now()}}
		if err := n.Register.TickFormTx(ctx, tx, ref(x), f); err != nil {
			return err
		}
	}
	return nil
}

// open tells whether a row of a notice is not settled yet.
func (n *Notices) open(ctx context.Context, x Notice) (bool, error) {
	counts, err := n.Ledger.Counts(ctx, n.DB, RefNotice, x.ID)
	if err != nil {
		return false, fmt.Errorf("notify: count what is open: %w", err)
	}
	for _, c := range counts {
		if !(ledger.Delivery{Channel: c.Channel, State: c.State}).Settled() {
			return true, nil
		}
	}
	return false, nil
}

// remind writes the reminder before the start for everybody who was told
// once, since its hour is taken from the row in the same transaction.
func (n *Notices) remind(ctx context.Context, id string) (time.Duration, error) {
	x, ok, err := oneNotice(ctx, n.DB, `id = $1`, id)
	if err != nil || !ok || x.RemindAt.IsZero() || x.State == Cancelled || x.over {
		return 0, err
	}
	now := n.now()
	if !x.StartsAt.After(now) {
		return 0, nil
	}
	if wait := x.RemindAt.Sub(now); wait > 0 {
		return wait, nil
	}
	if x.frozenAt.IsZero() || x.State == Paused {
		return time.Minute, nil
	}
	k, ok := n.kinds.Kinds[x.Kind]
	if !ok {
		return 0, nil
	}
	r := n.render(&examination{kind: k, draft: x.Draft, facts: x.facts})
	err = n.DB.InTx(ctx, "notify.remind", func(ctx context.Context, tx *db.Tx) error {
		x := x
		x.RemindAt = Time{}
		if err := updateTx(ctx, tx, &x); err != nil {
			return err
		}
		for _, ch := range x.Channels {
			if _, err := n.Ledger.PutBulkTx(ctx, tx, n.reminder(tx, x, k, r, ch)); err != nil {
				return err
			}
		}
		return eventTx(ctx, tx, x.ID, "reminded", system(x.CompanyID), now, r.remindSMS.Text.String())
	})
	if errors.Is(err, errStale) {
		return time.Second, nil
	}
	return 0, err
}

func (n *Notices) reminder(q querier, x Notice, k *kind, r rendered, ch string) ledger.Bulk {
	b := ledger.Bulk{
		CompanyID: x.CompanyID, Channel: ch, Lane: ledger.LaneNormal, Class: k.Class, RefKind: RefReminder, RefID: x.ID, ValidUntil: x.StartsAt.Time,
		Text: r.remindTmpl.Text, Payload: templatePayload(r.remindTmpl.Purpose, r.remindTmpl.Data),
	}
	if ch == ledger.ChannelSMS {
		b.Text, b.Payload = r.remindSMS.Text, smsPayload(r.remindSMS.Purpose, r.remindSMS.Params)
	}
	states := append(slices.Clone(toldStates), pendingStates...)
	b.Rows = `SELECT 'r' || ` + deliveryID("a") + ` AS id, a.account_id, a.address, '' AS skip_code, '' AS plan
		FROM notice_audience a JOIN delivery_states s ON s.id = ` + deliveryID("a") + `
		WHERE a.notice_id = $1 AND a.channel = $2 AND a.n = a.send_n AND a.skip_code = '' AND s.state ` + db.InStrings(q, "$3")
	b.Args = []any{x.ID, ch, db.Strings(q, states)}
	return b
}

// FinalTx hears from the ledger that the story of a delivery is over
// (ledger.OnFinal). A confirmed "no such number" is noted, so that the next
// notice skips the number and its home is called.
func (n *Notices) FinalTx(ctx context.Context, tx *db.Tx, d ledger.Delivery) error {
	if d.RefKind != RefNotice && d.RefKind != RefReminder {
		return nil
	}
	if d.State != ledger.Failed || d.Channel != ledger.ChannelSMS || !slices.Contains(n.kinds.Dead, d.Code) {
		return nil
	}
	return n.Estate.MarkPhoneDeadTx(ctx, tx, d.CompanyID, d.Address, d.Code, n.now())
}

// Trouble hears that an account was stopped for its balance, its signature or
// its templates (deliver.Options.Alarm) and pauses what goes through it, so
// that a person looks before a notice goes on. Emergencies are not paused: the
// sender tries the account again and again for them.
func (n *Notices) Trouble(ctx context.Context, a deliver.Alarm) {
	if !a.Open || a.Kind != ledger.Money && a.Kind != ledger.Stop {
		return
	}
	list, err := manyNotices(ctx, n.DB, `state = 'sending' AND emergency = false ORDER BY id`)
	if err != nil {
		n.Log.ErrorContext(ctx, "notices of a stopped account not found", "account", a.AccountID, "error", err)
		return
	}
	for _, x := range list {
		if !slices.Contains(x.Channels, a.Channel) || !n.uses(ctx, x.CompanyID, a) {
			continue
		}
		_, err := n.change(ctx, system(x.CompanyID), x.ID, "暂停", func(ctx context.Context, tx *db.Tx, x *Notice) error {
			if x.State != Sending {
				return n.wrongState(*x, "暂停")
			}
			return n.pauseTx(ctx, tx, x, system(x.CompanyID), pausedAccount+":"+a.Code)
		})
		var no *Refused
		if err != nil && !errors.As(err, &no) {
			n.Log.ErrorContext(ctx, "notice of a stopped account not paused", "notice", x.ID, "error", err)
		}
	}
}

// Held hears that the sender has held what a notice sends, because the vendor
// refuses all of it for one reason (deliver.Options.Held): the notice says so,
// and goes on when somebody resumes it.
func (n *Notices) Held(ctx context.Context, refKind, id, code string) {
	if refKind != RefNotice {
		return
	}
	x, ok, err := oneNotice(ctx, n.DB, `id = $1`, id)
	if err != nil || !ok {
		n.Log.ErrorContext(ctx, "notice that was held not found", "notice", id, "error", err)
		return
	}
	_, err = n.change(ctx, system(x.CompanyID), id, "暂停", func(ctx context.Context, tx *db.Tx, x *Notice) error {
		if x.State != Sending {
			return n.wrongState(*x, "暂停")
		}
		return n.pauseTx(ctx, tx, x, system(x.CompanyID), pausedHeld+":"+code)
	})
	var no *Refused
	if err != nil && !errors.As(err, &no) {
		n.Log.ErrorContext(ctx, "notice that was held not paused", "notice", id, "error", err)
	}
}

// uses tells whether an account is the company's.
func (n *Notices) uses(ctx context.Context, companyID string, a deliver.Alarm) bool {
	_, dir, err := n.settings(ctx, companyID)
	if err != nil {
		return false
	}
	switch a.Channel {
	case ledger.ChannelSMS:
		acc, ok := dir.SMSByID(a.AccountID)
		return ok && acc.CompanyID == companyID
	case ledger.ChannelTemplate:
		acc, ok := dir.WeChatByID(a.AccountID)
		return ok && acc.CompanyID == companyID
	}
	return false
}
