package desk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"guanjia/internal/db"
)

// ErrStale says that another hand moved the case between reading and writing.
// Nothing was written; the caller reads again.
var ErrStale = errors.New("desk: case was changed meanwhile")

// ErrNotFound says that no such case exists in this company.
var ErrNotFound = errors.New("desk: no such case")

const caseColumns = `id, company_id, project_id, no, state, kind, category, topic, priority, level, danger,
	queue_id, unit_id, unit, building, resident_id, resident_name, conversation_id, account_id, openid, phone,
	owner_id, owner_name, summary, body, mode, measures, follow_up, rating, rating_text, urges,
	opened_at, promised_at, accept_by, accepted_at, first_reply_at, handled_at, closed_at, escalated_at, version`

type scanner interface{ Scan(dest ...any) error }

func scanCase(s scanner) (Case, error) {
	var c Case
	var opened, promised, accept, accepted, replied, handled, closed, escalated db.Time
	err := s.Scan(&c.ID, &c.CompanyID, &c.ProjectID, &c.No, &c.State, &c.Kind, &c.Category, &c.Topic, &c.Priority, &c.Level, &c.Danger,
		&c.QueueID, &c.UnitID, &c.Unit, &c.Building, &c.ResidentID, &c.ResidentName, &c.ConversationID, &c.AccountID, &c.OpenID, &c.Phone,
		&c.OwnerID, &c.OwnerName, &c.Summary, &c.Text, &c.Mode, &c.Measures, &c.FollowUp, &c.Rating, &c.RatingText, &c.Urges,
		&opened, &promised, &accept, &accepted, &replied, &handled, &closed, &escalated, &c.Version)
	c.OpenedAt, c.PromisedAt, c.AcceptBy, c.AcceptedAt = opened.Time, promised.Time, accept.Time, accepted.Time
	c.FirstReplyAt, c.HandledAt, c.ClosedAt, c.EscalatedAt = replied.Time, handled.Time, closed.Time, escalated.Time
	return c, err
}

func queryCases(ctx context.Context, q db.Querier, query string, args ...any) ([]Case, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("desk: read cases: %w", err)
	}
	defer rows.Close()
	var cases []Case
	for rows.Next() {
		c, err := scanCase(rows)
		if err != nil {
			return nil, fmt.Errorf("desk: read cases: %w", err)
		}
		cases = append(cases, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("desk: read cases: %w", err)
	}
	return cases, nil
}

func oneCase(ctx context.Context, q db.Querier, where string, args ...any) (Case, error) {
	c, err := scanCase(q.QueryRowContext(ctx, `SELECT `+caseColumns+` FROM cases WHERE `+where, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return Case{}, ErrNotFound
	}
	if err != nil {
		return Case{}, fmt.Errorf("desk: read case: %w", err)
	}
	return c, nil
}

// insertTx stores a new case. ErrStale when its source already opened one.
func insertTx(ctx context.Context, tx *db.Tx, c Case, source, day string) error {
	var sourceID any
	if source != "" {
		sourceID = source
	}
	// The unique source_id decides who opens the case of a message when two nodes try.
	res, err := tx.ExecContext(ctx, `INSERT INTO cases (`+caseColumns+`, opened_day, source_id) VALUES (
		$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
		$26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42) ON CONFLICT DO NOTHING`,
		c.ID, c.CompanyID, c.ProjectID, c.No, string(c.State), c.Kind, c.Category, c.Topic, c.Priority, c.Level, c.Danger,
		c.QueueID, c.UnitID, c.Unit, c.Building, c.ResidentID, c.ResidentName, c.ConversationID, c.AccountID, c.OpenID, c.Phone,
		c.OwnerID, c.OwnerName, c.Summary, c.Text, c.Mode, c.Measures, c.FollowUp, c.Rating, c.RatingText, c.Urges,
		db.At(c.OpenedAt), db.At(c.PromisedAt), db.At(c.AcceptBy), db.At(c.AcceptedAt), db.At(c.FirstReplyAt), db.At(c.HandledAt), db.At(c.ClosedAt), db.At(c.EscalatedAt), c.Version,
		day, sourceID)
	if err != nil {
		return fmt.Errorf("desk: store case: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(ErrStale, err)
	}
	return nil
}

// updateTx writes what may change, if the row is still at the version before.
func updateTx(ctx context.Context, tx *db.Tx, c Case) error {
	res, err := tx.ExecContext(ctx, `UPDATE cases SET state = $1, category = $2, priority = $3, queue_id = $4, unit_id = $5, unit = $6,
		resident_id = $7, resident_name = $8, phone = $9, owner_id = $10, owner_name = $11, summary = $12, measures = $13, follow_up = $14,
		rating = $15, rating_text = $16, urges = $17, promised_at = $18, accept_by = $19, accepted_at = $20, first_reply_at = $21,
		handled_at = $22, closed_at = $23, escalated_at = $24, version = $25
		WHERE id = $26 AND version = $27`,
		string(c.State), c.Category, c.Priority, c.QueueID, c.UnitID, c.Unit,
		c.ResidentID, c.ResidentName, c.Phone, c.OwnerID, c.OwnerName, c.Summary, c.Measures, c.FollowUp,
		c.Rating, c.RatingText, c.Urges, db.At(c.PromisedAt), db.At(c.AcceptBy), db.At(c.AcceptedAt), db.At(c.FirstReplyAt),
		db.At(c.HandledAt), db.At(c.ClosedAt), db.At(c.EscalatedAt), c.Version, c.ID, c.Version-1)
	if err != nil {
		return fmt.Errorf("desk: change case: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("desk: change case: %w", err)
	}
	if n == 0 {
		return ErrStale
	}
	return nil
}

func eventTx(ctx context.Context, tx *db.Tx, c Case, from State, by By, e Event) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO case_events (case_id, seq, company_id, at, kind, by_id, by_name, via, body, delivery_id, from_state, to_state)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		c.ID, c.Version, c.CompanyID, db.At(e.At), e.Kind, by.UserID, by.Name, by.Via, e.Text, e.DeliveryID, string(from), string(c.State))
	if err != nil {
		return fmt.Errorf("desk: store event: %w", err)
	}
	return nil
}

// Events gives a case's history, oldest first.
func (d *Desk) Events(ctx context.Context, caseID string) ([]Event, error) {
	return events(ctx, d.db, caseID)
}

func events(ctx context.Context, q db.Querier, caseID string) ([]Event, error) {
	rows, err := q.QueryContext(ctx, `SELECT at, kind, by_id, by_name, via, body, delivery_id, seq FROM case_events WHERE case_id = $1 ORDER BY seq`, caseID)
	if err != nil {
		return nil, fmt.Errorf("desk: read events: %w", err)
	}
	defer rows.Close()
	var events []Event
	for rows.Next() {
		var e Event
		var at db.Time
		if err := rows.Scan(&at, &e.Kind, &e.ByID, &e.By, &e.Via, &e.Text, &e.DeliveryID, &e.Seq); err != nil {
			return nil, fmt.Errorf("desk: read events: %w", err)
		}
		e.At = at.Time
		events = append(events, e)
	}
	return events, rows.Err()
}

// ByNo finds a case by its number within a company; ErrNotFound otherwise.
func (d *Desk) ByNo(ctx context.Context, companyID, no string) (Case, error) {
	if !ValidNo(no) {
		return Case{}, ErrNotFound
	}
	return oneCase(ctx, d.db, `company_id = $1 AND no = $2`, companyID, no)
}

// ByID finds a case by its identifier; ErrNotFound otherwise.
func (d *Desk) ByID(ctx context.Context, id string) (Case, error) {
	return oneCase(ctx, d.db, `id = $1`, id)
}

// ByIDs gives the named cases in the order of the ids; unknown ones are left out.
func (d *Desk) ByIDs(ctx context.Context, ids []string) ([]Case, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := queryCases(ctx, d.db, `SELECT `+caseColumns+` FROM cases WHERE id `+db.InStrings(d.db, "$1"), db.Strings(d.db, ids))
	if err != nil {
		return nil, err
	}
	byID := make(map[string]Case, len(found))
	for _, c := range found {
		byID[c.ID] = c
	}
	ordered := make([]Case, 0, len(found))
	for _, id := range ids {
		if c, ok := byID[id]; ok {
			ordered = append(ordered, c)
		}
	}
	return ordered, nil
}

// OfConversation gives the latest cases of one conversation, newest first.
func (d *Desk) OfConversation(ctx context.Context, q db.Querier, conversationID string, limit int) ([]Case, error) {
	return queryCases(ctx, q, `SELECT `+caseColumns+` FROM cases WHERE conversation_id = $1 ORDER BY opened_at DESC, id DESC LIMIT $2`, conversationID, limit)
}

// OpenOfUnit gives the latest open cases of a home, whoever of it wrote, newest first.
func (d *Desk) OpenOfUnit(ctx context.Context, q db.Querier, companyID, unitID string, limit int) ([]Case, error) {
	return queryCases(ctx, q, `SELECT `+caseColumns+` FROM cases WHERE unit_id = $1 AND unit_id <> '' AND company_id = $2
		AND state IN ('dispatched', 'reopened', 'accepted', 'in_progress', 'waiting_resident', 'on_hold')
		ORDER BY opened_at DESC, id DESC LIMIT $3`, unitID, companyID, limit)
}

// OfResident gives the latest cases of one resident, newest first, whatever way they came in.
func (d *Desk) OfResident(ctx context.Context, q db.Querier, residentID string, limit int) ([]Case, error) {
	return queryCases(ctx, q, `SELECT `+caseColumns+` FROM cases WHERE resident_id = $1 ORDER BY opened_at DESC, id DESC LIMIT $2`, residentID, limit)
}

// Filter narrows List. Empty fields don't narrow.
type Filter struct {
	State    string
	QueueID  string
	OwnerID  string
	Resident []string // resident ids or openids, any of them
	Query    string   // in number, summary or home
	Cursor   string   // of the page before
	Limit    int      // 1 to 200; 50 when 0
}

// List gives a company's cases, newest first, a page at a time.
func (d *Desk) List(ctx context.Context, companyID string, f Filter) (cases []Case, cursor string, err error) {
	limit := f.Limit
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	where := []string{"company_id = $1"}
	args := []any{companyID}
	add := func(clause string, v any) {
		args = append(args, v)
		where = append(where, strings.ReplaceAll(clause, "$$", fmt.Sprintf("$%d", len(args))))
	}
	if f.State != "" {
		add("state = $$", f.State)
	}
	if f.QueueID != "" {
		add("queue_id = $$", f.QueueID)
	}
	if f.OwnerID != "" {
		add("owner_id = $$", f.OwnerID)
	}
	if len(f.Resident) > 0 {
		add("(resident_id "+db.InStrings(d.db, "$$")+" OR openid "+db.InStrings(d.db, "$$")+")", db.Strings(d.db, f.Resident))
	}
	if f.Query != "" {
		add(`(no LIKE $$ ESCAPE '\' OR summary LIKE $$ ESCAPE '\' OR unit LIKE $$ ESCAPE '\')`, "%"+db.LikeEscape(strings.TrimPrefix(f.Query, "#"))+"%")
	}
	if at, id, ok := strings.Cut(f.Cursor, "_"); ok {
		opened, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			return nil, "", &Refused{Code: "cursor", Field: "cursor"}
		}
		args = append(args, db.At(opened), id)
		where = append(where, fmt.Sprintf("(opened_at, id) < ($%d, $%d)", len(args)-1, len(args)))
	} else if f.Cursor != "" {
		return nil, "", &Refused{Code: "cursor", Field: "cursor"}
	}
	args = append(args, limit+1)
	cases, err = queryCases(ctx, d.db, `SELECT `+caseColumns+` FROM cases WHERE `+strings.Join(where, " AND ")+
		fmt.Sprintf(` ORDER BY opened_at DESC, id DESC LIMIT $%d`, len(args)), args...)
	if err != nil {
		return nil, "", err
	}
	if len(cases) > limit {
		cases = cases[:limit]
		last := cases[limit-1]
		cursor = last.OpenedAt.UTC().Format(time.RFC3339Nano) + "_" + last.ID
	}
	return cases, cursor, nil
}

// Mine gives the open cases in a member's hands, oldest promise first.
func (d *Desk) Mine(ctx context.Context, by By) ([]Case, error) {
	return queryCases(ctx, d.db, `SELECT `+caseColumns+` FROM cases
		WHERE company_id = $1 AND owner_id = $2 AND state IN ('dispatched', 'accepted', 'in_progress', 'waiting_resident', 'on_hold')
		ORDER BY promised_at NULLS LAST, opened_at LIMIT 50`, by.CompanyID, by.UserID)
}

// numbers hands out case numbers from blocks, so that openings running at once
// don't wait for one another on the counter's row.
const numberBlock = 64

func (d *Desk) takeNumber(ctx context.Context, companyID string) (string, error) {
	d.numbersMu.Lock()
	defer d.numbersMu.Unlock()
	b := d.numbers[companyID]
	if b.next == b.end {
		end, err := d.reserveNumbers(ctx, companyID)
		if err != nil {
			return "", err
		}
		b = block{next: end - numberBlock, end: end}
	}
	n := b.next
	b.next++
	d.numbers[companyID] = b
	if n > lastNumber {
		return "", fmt.Errorf("desk: case numbers of the company are used up")
	}
	return formatNumber(n), nil
}

func (d *Desk) reserveNumbers(ctx context.Context, companyID string) (int64, error) {
	var end int64
	err := d.db.Writer().QueryRowContext(ctx, `INSERT INTO case_numbers (company_id, next_no) VALUES ($1, $2)
		ON CONFLICT (company_id) DO UPDATE SET next_no = case_numbers.next_no + $3 RETURNING next_no`,
		companyID, firstNumber+numberBlock, numberBlock).Scan(&end)
	if err != nil {
		return 0, fmt.Errorf("desk: reserve case numbers: %w", err)
	}
	return end, nil
}
