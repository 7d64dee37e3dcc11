package estate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"guanjia/internal/company/onetime"
	"guanjia/internal/db"
)

// Outcome is what became of a request to bind. On screen CodeSent and
// NotRegistered look alike.
type Outcome string

// Outcomes of StartBindTx.
const (
	// CodeSent: Phone and Code are to be sent by SMS.
	CodeSent Outcome = "code_sent"
	// NotRegistered: no SMS; staff get a review task. The resident is told
	// what he is told for CodeSent.
	NotRegistered Outcome = "not_registered"
	// TooSoon: the home had a code within the interval, or this WeChat user
	// has asked too often.
	TooSoon Outcome = "too_soon"
	// AlreadyBound: this WeChat user is the resident with that phone and home.
	AlreadyBound Outcome = "already_bound"
)

// BindStart is the answer of StartBindTx. Never print it: it carries a phone
// and a code.
type BindStart struct {
	Outcome Outcome
	BindID  string
	Unit    string // canonical code of the home asked for
	Phone   string // normalized
	Code    string // six digits, CodeSent only
}

// String keeps phone and code out of logs.
func (b BindStart) String() string { return "binding request: " + string(b.Outcome) }

// Format implements fmt.Formatter for every verb.
func (b BindStart) Format(f fmt.State, _ rune) { fmt.Fprint(f, b.String()) }

// What a caller decides on.
var (
	// ErrUnitCode: the home is not written as one.
	ErrUnitCode = errors.New("estate: not a unit code")
	// ErrPhone: the phone is no mainland mobile number.
	ErrPhone = errors.New("estate: not a mobile number")

	ErrNoCode      = onetime.ErrNoCode
	ErrWrongCode   = onetime.ErrWrongCode
	ErrCodeExpired = onetime.ErrExpired
)

const purposeHome = "home"

// StartBindTx begins to bind a WeChat user to a home. Whether the phone is
// registered for the home shows only in Outcome, and the same rows are written
// either way, so that neither the answer nor the next one tells.
func (e *Estate) StartBindTx(ctx context.Context, tx *db.Tx, companyID, accountID, openID, unitCode, phone string) (BindStart, error) {
	code, ok := ParseUnitCode(unitCode)
	if !ok {
		return BindStart{}, ErrUnitCode
	}
	number, ok := NormalizePhone(phone)
	if !ok {
		return BindStart{}, ErrPhone
	}
	start := BindStart{Unit: code, Phone: number}
	target, err := e.registered(ctx, tx, companyID, code, number)
	if err != nil {
		return BindStart{}, err
	}
	if target.residentID != "" {
		bound, err := e.isBound(ctx, tx, companyID, openID, target.residentID)
		if err != nil {
			return BindStart{}, err
		}
		if bound {
			start.Outcome = AlreadyBound
			return start, nil
		}
	}
	settings := e.settings(companyID)
	issued, err := e.codes.IssueTx(ctx, tx, onetime.Request{
		CompanyID: companyID, Purpose: purposeHome, Subject: openID, Scope: code, Target: target.residentID, Detail: target.unitID + "|" + accountID,
		Interval: settings.CodeInterval, TTL: settings.CodeTTL,
	})
	switch {
	case errors.Is(err, onetime.ErrTooSoon):
		start.Outcome = TooSoon
		return start, nil
	case err != nil:
		return BindStart{}, fmt.Errorf("estate: start binding: %w", err)
	}
	start.BindID, start.Code = issued.ID, issued.Code
	start.Outcome = CodeSent
	if target.residentID == "" {
		start.Outcome = NotRegistered
	}
	return start, nil
}

type bindTarget struct{ residentID, unitID string }

// registered finds the resident who has the phone and lives in a home of the
// code, in whichever project of the company.
func (e *Estate) registered(ctx context.Context, q db.Querier, companyID, code, phone string) (bindTarget, error) {
	var t bindTarget
	err := q.QueryRowContext(ctx, `
		SELECT r.id, u.id FROM residents r
		JOIN homes h ON h.resident_id = r.id
		JOIN units u ON u.id = h.unit_id
		WHERE r.company_id = $1 AND r.phone = $2 AND u.code = $3 AND (h.until IS NULL OR h.until > $4)
		ORDER BY u.id LIMIT 1`, companyID, phone, code, e.now()).Scan(&t.residentID, &t.unitID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return bindTarget{}, fmt.Errorf("estate: look for registration: %w", err)
	}
	return t, nil
}

func (e *Estate) isBound(ctx context.Context, q db.Querier, companyID, openID, residentID string) (bool, error) {
	var n int64
	if err := q.QueryRowContext(ctx, `SELECT count(*) FROM bindings WHERE company_id = $1 AND openid = $2 AND resident_id = $3`,
		companyID, openID, residentID).Scan(&n); err != nil {
		return false, fmt.Errorf("estate: look for binding: %w", err)
	}
	return n > 0, nil
}

// BindPending tells whether a code from this WeChat user is awaited.
func (e *Estate) BindPending(ctx context.Context, q db.Querier, companyID, openID string) (bool, error) {
	return e.codes.Pending(ctx, q, companyID, purposeHome, openID)
}

// ConfirmBindTx binds the WeChat user who sends the code of his last request.
// After ErrNoCode, ErrWrongCode and ErrCodeExpired the caller commits all the
// same, since the spent try is in the transaction.
func (e *Estate) ConfirmBindTx(ctx context.Context, tx *db.Tx, companyID, openID, code string) (Resident, Home, error) {
	proof, err := e.codes.RedeemTx(ctx, tx, companyID, purposeHome, openID, code)
	if err != nil {
		return Resident{}, Home{}, err
	}
	unitID, accountID := cut(proof.Detail)
	if err := e.BindTx(ctx, tx, Binding{
		ID: db.NewID(), CompanyID: companyID, AccountID: accountID, OpenID: openID, ResidentID: proof.Target, BoundAt: e.clock.Now(),
	}); err != nil {
		return Resident{}, Home{}, err
	}
	r, ok, err := e.ResidentByID(ctx, tx, companyID, proof.Target)
	if err != nil {
		return Resident{}, Home{}, err
	}
	if !ok {
		return Resident{}, Home{}, ErrNoCode // moved out between code and confirmation
	}
	r.OpenID, r.AccountID = openID, accountID
	for _, h := range r.Homes {
		if h.UnitID == unitID {
			return r, h, nil
		}
	}
	return Resident{}, Home{}, ErrNoCode
}

func cut(detail string) (unitID, accountID string) {
	for i := range len(detail) {
		if detail[i] == '|' {
			return detail[:i], detail[i+1:]
		}
	}
	return detail, ""
}

// BindTx stores that a WeChat user is a resident; a WeChat user is one
// resident at a time, so an earlier binding of his is replaced.
func (e *Estate) BindTx(ctx context.Context, tx *db.Tx, b Binding) error {
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO bindings (id, company_id, account_id, openid, resident_id, bound_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (company_id, openid) DO UPDATE
		SET account_id = excluded.account_id, resident_id = excluded.resident_id, bound_at = excluded.bound_at`,
		b.ID, b.CompanyID, b.AccountID, b.OpenID, b.ResidentID, db.At(b.BoundAt)); err != nil {
		return fmt.Errorf("estate: bind: %w", err)
	}
	return nil
}

// UnbindTx erases what links a WeChat user to a resident: the platform demands
// it when he unfollows. What the property company knows of the resident by
// itself stays.
func (e *Estate) UnbindTx(ctx context.Context, tx *db.Tx, companyID, openID string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM bindings WHERE company_id = $1 AND openid = $2`, companyID, openID); err != nil {
		return fmt.Errorf("estate: unbind: %w", err)
	}
	return e.codes.ForgetTx(ctx, tx, companyID, openID)
}
