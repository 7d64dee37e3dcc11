package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"guanjia/internal/db"
)

var deliveryColumns = []string{
	"id", "root_id", "hop", "next_id", "company_id", "channel", "account_id", "source", "address", "lane", "class",
	"state", "text_key", "text", "payload", "plan", "ref_kind", "ref_id", "ref_rev", "part", "order_key", "supersede",
	"due_at", "valid_until", "waits_until", "attempts", "submissions", "failures", "code",
	"created_at", "updated_at", "called_at", "submitted_at", "final_at",
}

var attemptColumnList = []string{
	"id", "delivery_id", "n", "channel", "account_id", "address", "state", "vendor_id", "code",
	"started_at", "check_n", "check_at", "absent_n", "absent_since", "receipt_code", "receipt_at",
}

func prefixed(table string, names []string) string {
	return table + "." + strings.Join(names, ", "+table+".")
}

// columns lists what scanDelivery reads, qualified by a table or its alias.
func columns(table string) string { return prefixed(table, deliveryColumns) }

func attemptColumns(table string) string { return prefixed(table, attemptColumnList) }

type scanner interface{ Scan(dest ...any) error }

func scanDelivery(s scanner) (Delivery, error) {
	var (
		d                                                               Delivery
		payload, plan                                                   string
		due, valid, waits, created, updated, called, submitted, finalAt db.Time
	)
	err := s.Scan(&d.ID, &d.RootID, &d.Hop, &d.NextID, &d.CompanyID, &d.Channel, &d.AccountID, &d.Source, &d.Address,
		&d.Lane, &d.Class, &d.State, &d.TextKey, &d.Text, &payload, &plan, &d.RefKind, &d.RefID, &d.RefRev, &d.Part,
		&d.OrderKey, &d.Supersede, &due, &valid, &waits, &d.Attempts, &d.Submissions, &d.Failures, &d.Code,
		&created, &updated, &called, &submitted, &finalAt)
	if errors.Is(err, sql.ErrNoRows) {
		return Delivery{}, ErrNotFound
	}
	if err != nil {
		return Delivery{}, err
	}
	if payload != "" {
		d.Payload = json.RawMessage(payload)
	}
	if plan != "" {
		if err := json.Unmarshal([]byte(plan), &d.Plan); err != nil {
			return Delivery{}, fmt.Errorf("plan of a delivery: %w", err)
		}
	}
	d.DueAt, d.ValidUntil, d.WaitsUntil = due.Time, valid.Time, waits.Time
	d.CreatedAt, d.UpdatedAt, d.CalledAt = created.Time, updated.Time, called.Time
	d.SubmittedAt, d.FinalAt = submitted.Time, finalAt.Time
	return d, nil
}

func scanDeliveries(rows *sql.Rows) ([]Delivery, error) {
	defer func() { _ = rows.Close() }()
	var list []Delivery
	for rows.Next() {
		d, err := scanDelivery(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, rows.Err()
}

func scanAttempt(s scanner) (Attempt, error) {
	var (
		a                                    Attempt
		started, check, absentSince, receipt db.Time
	)
	err := s.Scan(&a.ID, &a.DeliveryID, &a.N, &a.Channel, &a.AccountID, &a.Address, &a.State, &a.VendorID,
		&a.Code, &started, &a.CheckN, &check, &a.AbsentN, &absentSince, &a.ReceiptCode, &receipt)
	if errors.Is(err, sql.ErrNoRows) {
		return Attempt{}, ErrNotFound
	}
	if err != nil {
		return Attempt{}, err
	}
	a.OutID = a.ID
	a.StartedAt, a.CheckAt, a.AbsentSince, a.ReceiptAt = started.Time, check.Time, absentSince.Time, receipt.Time
	return a, nil
}

func scanAttempts(rows *sql.Rows) ([]Attempt, error) {
	defer func() { _ = rows.Close() }()
	var list []Attempt
	for rows.Next() {
		a, err := scanAttempt(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

func insertDelivery(ctx context.Context, q db.Querier, d Delivery) error {
	plan := ""
	if len(d.Plan) > 0 {
		b, err := json.Marshal(d.Plan)
		if err != nil {
			return fmt.Errorf("plan: %w", err)
		}
		plan = string(b)
	}
	_, err := q.ExecContext(ctx, `
		insert into deliveries (
			id, root_id, hop, next_id, company_id, channel, account_id, source, address, lane, class,
			state, text_key, text, payload, plan, ref_kind, ref_id, ref_rev, order_key, supersede,
			due_at, valid_until, lease_by, attempts, submissions, failures, code, created_at, updated_at, part)
		values ($1, $2, $3, '', $4, $5, $6, $7, $8, $9, $10,
			$11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
			$21, $22, '', 0, 0, 0, '', $23, $23, $24)`,
		d.ID, d.RootID, d.Hop, d.CompanyID, d.Channel, d.AccountID, d.Source, d.Address,
		string(d.Lane), string(d.Class), string(d.State), d.TextKey, d.Text, string(d.Payload), plan,
		d.RefKind, d.RefID, d.RefRev, d.OrderKey, d.Supersede,
		db.At(d.DueAt), db.At(d.ValidUntil), db.At(d.CreatedAt), d.Part)
	return err
}

func attemptByID(ctx context.Context, q db.Querier, id string) (Attempt, error) {
	return scanAttempt(q.QueryRowContext(ctx,
		`select `+attemptColumns("a")+` from attempts a where a.id = $1`, id))
}

// still compares the state of a delivery that was found by its id. The column
// stands in an expression so that PostgreSQL keeps to the id: by the state it
// would read the partial index of all that wait or are being sent, which holds
// the dead entries of a whole broadcast (measured: three quarters of the time of
// a call's first write).
func still(state State) string { return "deliveries.state || '' = '" + string(state) + "'" }
