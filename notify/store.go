package notify

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/estate"
)

const noticeColumns = `id, company_id, no, project_id, state, emergency, of_id, chain_id, draft, facts, author, author_name,
	approved_by, approver_name, endorsed_by, endorser_name, endorse_due, paused_why, valid_until, created_at, approved_at,
	endorsed_at, send_at, frozen_at, started_at, freed_at, finished_at, cancelled_at, remind_at, over_at, version`

func scanNotice(row interface{ Scan(...any) error }) (Notice, error) {
	var (
		n            Notice
		draft, facts string
		times        [11]db.Time
		over         db.Time
	)
	err := row.Scan(&n.ID, &n.CompanyID, &n.No, &n.ProjectID, &n.State, &n.Emergency, &n.OfID, &n.chainID, &draft, &facts, &n.Author, &n.AuthorName,
		&n.ApprovedBy, &n.ApproverName, &n.EndorsedBy, &n.EndorserName, &n.EndorseDue, &n.PausedWhy, &times[0], &times[1], &times[2],
		&times[3], &times[4], &times[5], &times[6], &times[7], &times[8], &times[9], &times[10], &over, &n.version)
	if err != nil {
		return Notice{}, err
	}
	if err := json.Unmarshal([]byte(draft), &n.Draft); err != nil {
		return Notice{}, fmt.Errorf("decode draft: %w", err)
	}
	if err := json.Unmarshal([]byte(facts), &n.facts); err != nil {
		return Notice{}, fmt.Errorf("decode facts: %w", err)
	}
	n.validUntil, n.CreatedAt, n.ApprovedAt, n.EndorsedAt, n.SendAt = times[0].Time, Time{times[1].Time}, Time{times[2].Time}, Time{times[3].Time}, Time{times[4].Time}
	n.frozenAt, n.StartedAt, n.freedAt, n.FinishedAt = times[5].Time, Time{times[6].Time}, times[7].Time, Time{times[8].Time}
	n.CancelledAt, n.RemindAt, n.over = Time{times[9].Time}, Time{times[10].Time}, !over.IsZero()
	n.show()
	return n, nil
}

func oneNotice(ctx context.Context, q querier, where string, args ...any) (Notice, bool, error) {
	n, err := scanNotice(q.QueryRowContext(ctx, `SELECT `+noticeColumns+` FROM notices WHERE `+where, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return Notice{}, false, nil
	}
	if err != nil {
		return Notice{}, false, fmt.Errorf("notify: read notice: %w", err)
	}
	return n, true, nil
}

func manyNotices(ctx context.Context, q querier, where string, args ...any) ([]Notice, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+noticeColumns+` FROM notices WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("notify: read notices: %w", err)
	}
	defer rows.Close()
	var list []Notice
	for rows.Next() {
		n, err := scanNotice(rows)
		if err != nil {
			return nil, fmt.Errorf("notify: read notices: %w", err)
		}
		list = append(list, n)
	}
	return list, rows.Err()
}

func (n *Notices) byNo(ctx context.Context, q querier, companyID, no string) (Notice, bool, error) {
	return oneNotice(ctx, q, `company_id = $1 AND no = $2`, companyID, noticeNo(no))
}

// chain gives a notice and all that answer it, the first one first.
func (n *Notices) chain(ctx context.Context, q querier, chainID string) ([]Notice, error) {
	list, err := manyNotices(ctx, q, `chain_id = $1 ORDER BY created_at, id`, chainID)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b Notice) int {
		if (a.ID == chainID) != (b.ID == chainID) {
			return cmp.Compare(boolInt(b.ID == chainID), boolInt(a.ID == chainID))
		}
		return a.ApprovedAt.Compare(b.ApprovedAt.Time)
	})
	if len(list) == 0 {
		return nil, fmt.Errorf("notify: the chain of a notice is empty")
	}
	return list, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// nextNoTx draws the next number of a company.
func nextNoTx(ctx context.Context, tx *db.Tx, companyID string) (string, error) {
	var last int64
	err := tx.QueryRowContext(ctx, `
		INSERT INTO notice_numbers (company_id, last) VALUES ($1, 1)
		ON CONFLICT (company_id) DO UPDATE SET last = notice_numbers.last + 1
		RETURNING last`, companyID).Scan(&last)
	if err != nil {
		return "", fmt.Errorf("notify: draw a number: %w", err)
	}
	return formatNo(last), nil
}

func insertTx(ctx context.Context, tx *db.Tx, n Notice) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO notices (id, company_id, no, project_id, kind, topic, state, emergency, of_id, chain_id, draft, facts, author, author_name,
			approved_by, approver_name, endorsed_by, endorser_name, endorse_due, paused_why, starts_at, ends_at, created_at, version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, '', '', '', '', false, '', $15, $16, $17, 1)`,
		n.ID, n.CompanyID, n.No, n.ProjectID, n.Kind, n.Topic, string(n.State), n.Emergency, n.OfID, n.chainID, encode(n.Draft), encode(n.facts),
		n.Author, n.AuthorName, db.At(n.StartsAt.Time), db.At(n.EndsAt.Time), db.At(n.CreatedAt.Time))
	if err != nil {
		return fmt.Errorf("notify: store notice: %w", err)
	}
	return nil
}

// errStale: another hand changed the notice since it was read.
var errStale = errors.New("notify: the notice was changed meanwhile")

// updateTx writes a notice by compare-and-set on its version.
func updateTx(ctx context.Context, tx *db.Tx, n *Notice) error {
	res, err := tx.ExecContext(ctx, `
		UPDATE notices SET state = $3, draft = $4, facts = $5, approved_by = $6, approver_name = $7, endorsed_by = $8, endorser_name = $9,
			endorse_due = $10, paused_why = $11, starts_at = $12, ends_at = $13, valid_until = $14, approved_at = $15, endorsed_at = $16,
			send_at = $17, frozen_at = $18, started_at = $19, freed_at = $20, finished_at = $21, cancelled_at = $22, remind_at = $23,
			emergency = $24, version = version + 1
		WHERE id = $1 AND version = $2`,
		n.ID, n.version, string(n.State), encode(n.Draft), encode(n.facts), n.ApprovedBy, n.ApproverName, n.EndorsedBy, n.EndorserName,
		n.EndorseDue, n.PausedWhy, db.At(n.StartsAt.Time), db.At(n.EndsAt.Time), db.At(n.validUntil), db.At(n.ApprovedAt.Time), db.At(n.EndorsedAt.Time),
		db.At(n.SendAt.Time), db.At(n.frozenAt), db.At(n.StartedAt.Time), db.At(n.freedAt), db.At(n.FinishedAt.Time), db.At(n.CancelledAt.Time), db.At(n.RemindAt.Time),
		n.Emergency)
	if err != nil {
		return fmt.Errorf("notify: change notice: %w", err)
	}
	changed, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("notify: change notice: %w", err)
	}
	if changed == 0 {
		return errStale
	}
	n.version++
	return nil
}

// updateDraftTx writes what a draft is about, besides what updateTx writes.
func updateDraftTx(ctx context.Context, tx *db.Tx, n *Notice) error {
	if err := updateTx(ctx, tx, n); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE notices SET project_id = $2, kind = $3, topic = $4, of_id = $5, chain_id = $6, author = $7, author_name = $8 WHERE id = $1`,
		n.ID, n.ProjectID, n.Kind, n.Topic, n.OfID, n.chainID, n.Author, n.AuthorName)
	if err != nil {
		return fmt.Errorf("notify: change draft: %w", err)
	}
	return nil
}

func eventTx(ctx context.Context, tx *db.Tx, noticeID, kind string, by By, at time.Time, text string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO notice_events (id, notice_id, at, kind, by_user, by_name, via, text) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		db.NewID(), noticeID, db.At(at), kind, by.UserID, by.Name, by.Via, text)
	if err != nil {
		return fmt.Errorf("notify: write history: %w", err)
	}
	return nil
}

// Events gives the history of a notice, oldest first.
func (n *Notices) Events(ctx context.Context, companyID, id string) ([]Event, error) {
	rows, err := n.DB.QueryContext(ctx, `
		SELECT e.at, e.kind, e.by_user, e.by_name, e.via, e.text FROM notice_events e JOIN notices n ON n.id = e.notice_id
		WHERE e.notice_id = $1 AND n.company_id = $2 ORDER BY e.id`, id, companyID)
	if err != nil {
		return nil, fmt.Errorf("notify: read history: %w", err)
	}
	defer rows.Close()
	var list []Event
	for rows.Next() {
		var e Event
		var at db.Time
		if err := rows.Scan(&at, &e.Kind, &e.By, &e.Name, &e.Via, &e.Text); err != nil {
			return nil, fmt.Errorf("notify: read history: %w", err)
		}
		e.At = Time{at.Time}
		list = append(list, e)
	}
	return list, rows.Err()
}

// ByID finds a notice of a company; a *Refused when there is none.
func (n *Notices) ByID(ctx context.Context, companyID, id string) (Notice, error) {
	x, ok, err := oneNotice(ctx, n.DB, `company_id = $1 AND id = $2`, companyID, id)
	if err == nil && !ok {
		err = n.refuse(RefusedNotFound)
	}
	return x, err
}

// ByNo finds a notice by its number, in any usual writing (t12, T0012).
func (n *Notices) ByNo(ctx context.Context, companyID, no string) (Notice, error) {
	x, ok, err := n.byNo(ctx, n.DB, companyID, no)
	if err == nil && !ok {
		err = n.refuse(RefusedNotFound)
	}
	return x, err
}

// List gives notices, newest first; next is empty at the end.
func (n *Notices) List(ctx context.Context, companyID string, f Filter) (list []Notice, next string, err error) {
	limit := f.Limit
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	where, args := `company_id = $1`, []any{companyID}
	and := func(cond string, v any) {
		args = append(args, v)
		where += ` AND ` + strings.ReplaceAll(cond, "?", "$"+strconv.Itoa(len(args)))
	}
	if f.Cursor != "" {
		and(`id < ?`, f.Cursor)
	}
	if f.Kind != "" {
		and(`kind = ?`, f.Kind)
	}
	if f.Project != "" {
		and(`project_id = ?`, f.Project)
	}
	if len(f.States) > 0 {
		states := make([]string, len(f.States))
		for i, s := range f.States {
			states[i] = string(s)
		}
		args = append(args, db.Strings(n.DB, states))
		where += ` AND state ` + db.InStrings(n.DB, "$"+strconv.Itoa(len(args)))
	}
	args = append(args, limit+1)
	list, err = manyNotices(ctx, n.DB, where+` ORDER BY id DESC LIMIT $`+strconv.Itoa(len(args)), args...)
	if err != nil {
		return nil, "", err
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID
	}
	return list, next, nil
}

// outagesSince gives the outages of a project that were approved lately.
func (n *Notices) outagesSince(ctx context.Context, q querier, companyID, projectID string, since time.Time) ([]Notice, error) {
	var kinds []string
	for _, code := range sortedKeys(n.kinds.Kinds) {
		if k := n.kinds.Kinds[code]; k.Topics == "outage" && !k.Answer {
			kinds = append(kinds, code)
		}
	}
	return manyNotices(ctx, q, `company_id = $1 AND project_id = $2 AND approved_at IS NOT NULL AND starts_at >= $3 AND state <> 'cancelled'
		AND kind `+db.InStrings(q, "$4")+` ORDER BY starts_at DESC LIMIT 50`, companyID, projectID, db.At(since), db.Strings(q, kinds))
}

// toldStates are the states of a delivery after which its reader may have the
// message: whoever has not been told of an outage need not hear of its end.
var toldStates = []string{"submitted", "delivered", "unknown", "no_receipt", "sending"}

// pendingStates lead to one of them.
var pendingStates = []string{"planned", "claimed"}

// toldRows is a SELECT of the rows of a chain's audiences that were told, with
// the columns of notice_audience from unit_id on; parameters from $1. What a
// change is about goes also to those whose message is still on its way; the end
// of an outage does not, since what is on its way is withdrawn first.
func toldRows(q querier, chain []Notice, pending bool) (text string, args []any) {
	var ids []string
	for _, c := range chain {
		ids = append(ids, c.ID)
	}
	states := slices.Clone(toldStates)
	if pending {
		states = append(states, pendingStates...)
	}
	// The id of a delivery is made of its notice's and of its row's number.
	text = `
		SELECT DISTINCT a.unit_id, a.unit, a.building, a.entrance, a.floor, a.resident_id, a.name, a.role, a.channel, a.account_id, a.address
		FROM notice_audience a
		JOIN delivery_states s ON s.id = ` + deliveryID("a") + `
		WHERE a.notice_id ` + db.InStrings(q, "$1") + ` AND a.skip_code = '' AND a.channel <> '' AND s.state ` + db.InStrings(q, "$2")
	return text, []any{db.Strings(q, ids), db.Strings(q, states)}
}

// deliveryID is the SQL of a row's delivery id: the notice's id, a letter of
// the channel, and the row's number.
func deliveryID(alias string) string {
	return `replace(` + alias + `.notice_id, '-', '') || substr(` + alias + `.channel, 1, 1) || substr(cast(100000000 + ` + alias + `.send_n as text), 2)`
}

// rowOf reads the number of the row out of a delivery's id.
func rowOf(id string) (int64, bool) {
	i := strings.LastIndexAny(id, "st")
	if i < 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(id[i+1:], 10, 64)
	return n, err == nil
}

// countTold counts the audience of a notice that answers another one.
func (n *Notices) countTold(ctx context.Context, q querier, x *examination) (estate.AudienceCounts, error) {
	rows, args := toldRows(q, x.chain, true)
	c := estate.AudienceCounts{Skipped: map[string]int{}}
	args = append(args, db.Strings(q, x.draft.Channels))
	err := q.QueryRowContext(ctx, `
		WITH a AS MATERIALIZED (`+rows+` AND a.channel `+db.InStrings(q, "$3")+`)
		SELECT (SELECT count(*) FROM (SELECT DISTINCT unit_id FROM a) d),
		       (SELECT count(*) FROM (SELECT DISTINCT resident_id FROM a) d),
		       (SELECT count(*) FROM (SELECT DISTINCT address FROM a WHERE channel = 'sms') d),
		       (SELECT count(*) FROM (SELECT DISTINCT account_id, address FROM a WHERE channel = 'template') d)`, args...).
		Scan(&c.Households, &c.People, &c.SMS, &c.Template)
	if err != nil {
		return c, fmt.Errorf("notify: count those who were told: %w", err)
	}
	return c, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
