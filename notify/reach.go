package notify

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/register"
)

// reachCache keeps a counted reach for a moment, and for longer the longer it
// took to count: a page that asks every second costs a million rows once in a
// while.
type reachCache struct {
	list []BuildingReach
	at   time.Time // product's clock
	took time.Duration
	over bool // counted when every row was final
}

// Bounds of how long a counted reach is good for.
const (
	reachFor     = time.Second
	reachForMost = 30 * time.Second
	mostCached   = 1000
)

// Progress counts how far a notice is. State finished is counted too: it is
// there as soon as every row is final.
func (n *Notices) Progress(ctx context.Context, companyID, id string) (Progress, error) {
	x, err := n.ByID(ctx, companyID, id)
	if err != nil {
		return Progress{}, err
	}
	p := Progress{
		ID: x.ID, No: x.No, State: x.State, PausedWhy: x.PausedWhy, Counts: Counts{}, ByChannel: map[string]Counts{}, CostFen: x.CostFen,
		StartedAt: x.StartedAt, FinishedAt: x.FinishedAt, Reach: Reach{Households: x.Audience.Households}, ByBuilding: []BuildingReach{},
	}
	for _, c := range x.Channels {
		p.ByChannel[c] = Counts{}
	}
	if x.frozenAt.IsZero() {
		return p, nil
	}
	counts, err := n.Ledger.Counts(ctx, n.DB, RefNotice, x.ID)
	if err != nil {
		return Progress{}, fmt.Errorf("notify: count deliveries: %w", err)
	}
	open := false
	for _, c := range counts {
		if p.ByChannel[c.Channel] == nil {
			p.ByChannel[c.Channel] = Counts{}
		}
		p.Counts[string(c.State)] += int(c.N)
		p.ByChannel[c.Channel][string(c.State)] += int(c.N)
		open = open || !(ledger.Delivery{Channel: c.Channel, State: c.State}).Settled()
	}
	if !open && x.State == Sending && x.facts.PutTo == x.facts.Rows {
		p.State, p.FinishedAt = Finished, Time{n.now()}
	}
	if p.Reminder, err = n.reminderCounts(ctx, x); err != nil {
		return Progress{}, err
	}
	if p.ByBuilding, err = n.buildings(ctx, x, !open); err != nil {
		return Progress{}, err
	}
	p.Reach = sum(p.ByBuilding)
	return p, nil
}

func (n *Notices) reminderCounts(ctx context.Context, x Notice) (Counts, error) {
	counts, err := n.Ledger.Counts(ctx, n.DB, RefReminder, x.ID)
	if err != nil {
		return nil, fmt.Errorf("notify: count reminders: %w", err)
	}
	var out Counts
	for _, c := range counts {
		if out == nil {
			out = Counts{}
		}
		out[string(c.State)] += int(c.N)
	}
	return out, nil
}

func sum(list []BuildingReach) Reach {
	var r Reach
	for _, b := range list {
		r.Households += b.Households
		r.Reached += b.Reached
		r.Called += b.Called
	}
	return r
}

// buildings gives the reach by building, counted at most once a second and
// notice. Once over, when every row is final, it is counted anew: what says that
// it is finished must not show the reach of a moment ago.
func (n *Notices) buildings(ctx context.Context, x Notice, over bool) ([]BuildingReach, error) {
	now := n.now()
	n.mu.Lock()
	c := n.reach[x.ID]
	n.mu.Unlock()
	if c != nil && (c.over || !over) {
		if age := now.Sub(c.at); age >= 0 && age < min(max(reachFor, 10*c.took), reachForMost) {
			return slices.Clone(c.list), nil
		}
	}
	list, took, err := n.countReach(ctx, x)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.reach) >= mostCached {
		clear(n.reach)
	}
	n.reach[x.ID] = &reachCache{list: list, at: now, took: took, over: over}
	return slices.Clone(list), nil
}

// homeRows is a SELECT with one row a home of a notice: whether a message
// reached it, by which way, and whether something is still open. Parameter $1 is
// the notice. A hop is a further row with the same root.
func homeRows(fallback bool) string {
	reached, open, sms := `s.reached`, `s.settled = false`, `s.reached AND a.channel = 'sms'`
	if fallback {
		const hops = `FROM delivery_states h WHERE h.root_id = s.id AND h.hop > 0`
		reached = `(s.reached OR EXISTS (SELECT 1 ` + hops + ` AND h.reached))`
		open = `(s.settled = false OR EXISTS (SELECT 1 ` + hops + ` AND h.settled = false))`
		sms = `(s.reached AND a.channel = 'sms' OR EXISTS (SELECT 1 ` + hops + ` AND h.reached))`
	}
	flag := func(cond string) string { return `max(CASE WHEN ` + cond + ` THEN 1 ELSE 0 END)` }
	return `
		SELECT a.unit_id, min(a.unit) AS unit, min(a.building) AS building, ` + flag(reached) + ` AS reached, ` + flag(open) + ` AS open,
		       ` + flag(sms) + ` AS sms, ` + flag(`s.reached AND a.channel = 'template'`) + ` AS template
		FROM notice_audience a LEFT JOIN delivery_states s ON s.id = ` + deliveryID("a") + `
		WHERE a.notice_id = $1 GROUP BY a.unit_id`
}

func (n Notice) hasFallback(k *kind) bool {
	return k != nil && k.Fallback == ledger.ChannelSMS && !slices.Contains(n.Channels, ledger.ChannelSMS)
}

func (n *Notices) homes(x Notice) string { return homeRows(x.hasFallback(n.kinds.Kinds[x.Kind])) }

func (n *Notices) countReach(ctx context.Context, x Notice) ([]BuildingReach, time.Duration, error) {
	watch := n.stopwatch()
	rows, err := n.DB.QueryContext(ctx, `
		SELECT h.building, count(*), sum(h.reached), sum(h.sms), sum(h.template),
		       sum(CASE WHEN h.reached = 0 AND c.outcome `+db.InStrings(n.DB, "$2")+` THEN 1 ELSE 0 END)
		FROM (`+n.homes(x)+`) h LEFT JOIN notice_calls c ON c.notice_id = $1 AND c.unit_id = h.unit_id
		GROUP BY h.building`, x.ID, db.Strings(n.DB, n.kinds.Told))
	if err != nil {
		return nil, 0, fmt.Errorf("notify: count reach: %w", err)
	}
	defer rows.Close()
	list := []BuildingReach{}
	for rows.Next() {
		var b BuildingReach
		if err := rows.Scan(&b.Building, &b.Households, &b.Reached, &b.SMS, &b.Template, &b.Called); err != nil {
			return nil, 0, fmt.Errorf("notify: count reach: %w", err)
		}
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b BuildingReach) int { return byCount(a.Building, b.Building) })
	return list, watch(), rows.Err()
}

// registerCounts are the numbers of the publication register.
type registerCounts struct {
	register.Counts
	detail map[string]string
}

func (n *Notices) registerCounts(ctx context.Context, x Notice) (registerCounts, error) {
	out := registerCounts{detail: map[string]string{}}
	counts, err := n.Ledger.Counts(ctx, n.DB, RefNotice, x.ID)
	if err != nil {
		return out, fmt.Errorf("notify: count deliveries: %w", err)
	}
	by := map[string][2]int{}
	for _, c := range counts {
		v := by[c.Channel]
		v[1] += int(c.N)
		if (ledger.Delivery{Channel: c.Channel, State: c.State}).Reached() {
			v[0] += int(c.N)
			out.Delivered += int(c.N)
		} else if c.State != ledger.Skipped && c.State != ledger.Cancelled {
			out.Failed += int(c.N)
		}
		by[c.Channel] = v
	}
	for ch, v := range by {
		out.detail[ch] = strconv.Itoa(v[0]) + "/" + strconv.Itoa(v[1])
	}
	list, _, err := n.countReach(ctx, x)
	r := sum(list)
	out.Households, out.Reached, out.Called = r.Households, r.Reached, r.Called
	return out, err
}

// Deliveries gives a page of what left or is to leave, by id; next is empty at
// the end.
func (n *Notices) Deliveries(ctx context.Context, companyID, id, cursor string, limit int) (list []Delivery, next string, err error) {
	x, err := n.ByID(ctx, companyID, id)
	if err != nil {
		return nil, "", err
	}
	limit = pageOf(limit)
	page, err := n.Ledger.PageByRef(ctx, n.DB, RefNotice, x.ID, cursor, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("notify: read deliveries: %w", err)
	}
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].ID
	}
	list, err = n.describe(ctx, x, page)
	return list, next, err
}

func pageOf(limit int) int {
	if limit <= 0 || limit > 500 {
		return 100
	}
	return limit
}

// describe adds home and out-id to rows of the ledger.
func (n *Notices) describe(ctx context.Context, x Notice, page []ledger.Delivery) ([]Delivery, error) {
	units, err := n.unitsOf(ctx, x.ID, page)
	if err != nil {
		return nil, err
	}
	list := make([]Delivery, 0, len(page))
	for _, d := range page {
		row, _ := rowOf(d.RootID)
		out := Delivery{ID: d.ID, Channel: d.Channel, Address: d.Address, Unit: units[row], State: string(d.State), Code: d.Code, At: Time{latest(d)}}
		if d.Attempts > 0 {
			attempts, err := n.Ledger.Attempts(ctx, n.DB, d.ID)
			if err != nil {
				return nil, fmt.Errorf("notify: read attempts: %w", err)
			}
			if len(attempts) > 0 {
				out.OutID = attempts[len(attempts)-1].OutID
			}
		}
		list = append(list, out)
	}
	return list, nil
}

func latest(d ledger.Delivery) time.Time {
	for _, t := range []time.Time{d.FinalAt, d.SubmittedAt, d.CalledAt} {
		if !t.IsZero() {
			return t
		}
	}
	return d.UpdatedAt
}

// unitsOf finds the homes of deliveries by the number in their ids.
func (n *Notices) unitsOf(ctx context.Context, noticeID string, page []ledger.Delivery) (map[int64]string, error) {
	type ask struct {
		N int64 `json:"n"`
	}
	var asked []ask
	for _, d := range page {
		if row, ok := rowOf(d.RootID); ok {
			asked = append(asked, ask{row})
		}
	}
	units := map[int64]string{}
	if len(asked) == 0 {
		return units, nil
	}
	rows, err := n.DB.QueryContext(ctx, `SELECT a.n, a.unit FROM `+db.Rows(n.DB, "$2", db.IntCol("n"))+` AS r JOIN notice_audience a ON a.notice_id = $1 AND a.n = r.n`,
		noticeID, db.RowsArg(asked))
	if err != nil {
		return nil, fmt.Errorf("notify: find the homes of deliveries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var row int64
		var unit string
		if err := rows.Scan(&row, &unit); err != nil {
			return nil, fmt.Errorf("notify: find the homes of deliveries: %w", err)
		}
		units[row] = unit
	}
	return units, rows.Err()
}

// Unreached gives a page of the homes that no message reached and none can any
// more, with who lives there and why each way failed; by building and home.
func (n *Notices) Unreached(ctx context.Context, companyID, id, cursor string, limit int) (list []Household, next string, err error) {
	return n.unreached(ctx, companyID, id, cursor, limit, false)
}

// Calls is the call list: the homes of Unreached that nobody has told yet.
func (n *Notices) Calls(ctx context.Context, companyID, id, cursor string, limit int) (list []Household, next string, err error) {
	return n.unreached(ctx, companyID, id, cursor, limit, true)
}

func (n *Notices) unreached(ctx context.Context, companyID, id, cursor string, limit int, untold bool) ([]Household, string, error) {
	x, err := n.ByID(ctx, companyID, id)
	if err != nil {
		return nil, "", err
	}
	limit = pageOf(limit)
	list, ids, err := n.silent(ctx, x, cursor, "", limit+1, untold)
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(list) > limit {
		list, ids = list[:limit], ids[:limit]
		next = list[limit-1].Unit
	}
	if err := n.addReasons(ctx, x, list, ids); err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// silent finds homes that nothing reached and nothing is on its way to.
func (n *Notices) silent(ctx context.Context, x Notice, cursor, unit string, limit int, untold bool) ([]Household, []string, error) {
	where := `h.reached = 0 AND h.open = 0 AND h.unit > $2`
	args := []any{x.ID, cursor}
	if unit != "" {
		args = append(args, unit)
		where += ` AND h.unit = $` + strconv.Itoa(len(args))
	}
	if untold {
		args = append(args, db.Strings(n.DB, n.kinds.Told))
		where += ` AND NOT coalesce(c.outcome, '') ` + db.InStrings(n.DB, "$"+strconv.Itoa(len(args)))
	}
	args = append(args, limit)
	rows, err := n.DB.QueryContext(ctx, `
		SELECT h.unit_id, h.unit, h.building, coalesce(c.caller, ''), coalesce(c.caller_name, ''), coalesce(c.outcome, ''), c.called_at
		FROM (`+n.homes(x)+`) h LEFT JOIN notice_calls c ON c.notice_id = $1 AND c.unit_id = h.unit_id
		WHERE `+where+` ORDER BY h.unit LIMIT $`+strconv.Itoa(len(args)), args...)
	if err != nil {
		return nil, nil, fmt.Errorf("notify: list homes that were not reached: %w", err)
	}
	defer rows.Close()
	list, ids := []Household{}, []string{}
	for rows.Next() {
		h := Household{Residents: []Person{}, Reasons: []Reason{}}
		var id string
		var at db.Time
		if err := rows.Scan(&id, &h.Unit, &h.Building, &h.Caller, &h.CallerName, &h.Outcome, &at); err != nil {
			return nil, nil, fmt.Errorf("notify: list homes that were not reached: %w", err)
		}
		h.CalledAt = Time{at.Time}
		list, ids = append(list, h), append(ids, id)
	}
	return list, ids, rows.Err()
}

// addReasons tells who lives in these homes and why each way failed.
func (n *Notices) addReasons(ctx context.Context, x Notice, list []Household, ids []string) error {
	if len(list) == 0 {
		return nil
	}
	at := map[string]int{}
	for i, id := range ids {
		at[id] = i
	}
	rows, err := n.DB.QueryContext(ctx, `
		SELECT a.unit_id, a.resident_id, a.name, a.channel, a.address, a.skip_code, coalesce(s.state, ''), coalesce(s.code, '')
		FROM notice_audience a LEFT JOIN delivery_states s ON s.id = `+deliveryID("a")+`
		WHERE a.notice_id = $1 AND a.unit_id `+db.InStrings(n.DB, "$2")+` ORDER BY a.n`, x.ID, db.Strings(n.DB, ids))
	if err != nil {
		return fmt.Errorf("notify: read why homes were not reached: %w", err)
	}
	type person struct {
		unit     int
		resident string
	}
	seen := map[person]int{} // place in Residents
	var lacking []person
	for rows.Next() {
		var unit, resident, name, channel, address, skip, state, code string
		if err := rows.Scan(&unit, &resident, &name, &channel, &address, &skip, &state, &code); err != nil {
			rows.Close()
			return fmt.Errorf("notify: read why homes were not reached: %w", err)
		}
		h := &list[at[unit]]
		if resident != "" {
			p := person{at[unit], resident}
			i, ok := seen[p]
			if !ok {
				i = len(h.Residents)
				seen[p] = i
				h.Residents = append(h.Residents, Person{Name: name})
				lacking = append(lacking, p)
			}
			if channel == ledger.ChannelSMS {
				h.Residents[i].Phone = address
			}
		}
		if skip == skipFallback {
			continue
		}
		r := n.reason(channel, skip, state, code)
		if !slices.Contains(h.Reasons, r) {
			h.Reasons = append(h.Reasons, r)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("notify: read why homes were not reached: %w", err)
	}
	rows.Close()
	// A kind without SMS froze no phones; a person who calls needs them.
	for _, p := range lacking {
		who := &list[p.unit].Residents[seen[p]]
		if who.Phone != "" {
			continue
		}
		r, ok, err := n.Estate.ResidentByID(ctx, n.DB, x.CompanyID, p.resident)
		if err != nil {
			return err
		}
		if ok {
			who.Phone = r.Phone
		}
	}
	return nil
}

// reason says in Chinese why a way did not reach.
func (n *Notices) reason(channel, skip, state, code string) Reason {
	r := Reason{Channel: channel, Code: code}
	switch {
	case skip != "":
		r.Code = skip
	case channel != "" && (code == "" || state == "no_receipt" || state == "expired" || state == "cancelled"):
		r.Code = state
	}
	if text, ok := n.kinds.Reasons[r.Code]; ok {
		r.Text = text
		return r
	}
	r.Text = n.Book.Label("delivery", state)
	if r.Code != "" {
		r.Text += "（" + strings.TrimSpace(r.Code) + "）"
	}
	return r
}
