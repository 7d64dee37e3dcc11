package staff

import (
	"context"
	"errors"
	"fmt"

	"guanjia/internal/company/onetime"
	"guanjia/internal/db"
)

// Outcome is what became of a member's request to bind. In the chat CodeSent
// and NotRegistered look alike.
type Outcome string

// Outcomes of StartMemberBindTx.
const (
	CodeSent      Outcome = "code_sent"
	NotRegistered Outcome = "not_registered"
	TooSoon       Outcome = "too_soon"
)

// BindStart is the answer of StartMemberBindTx. Never print it: it carries a
// phone and a code.
type BindStart struct {
	Outcome Outcome
	BindID  string
	Phone   string
	Code    string // CodeSent only
}

// Format implements fmt.Formatter for every verb, without phone and code.
func (b BindStart) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "member binding: %s", b.Outcome) }

// What a caller decides on.
var (
	ErrNoCode      = onetime.ErrNoCode
	ErrWrongCode   = onetime.ErrWrongCode
	ErrCodeExpired = onetime.ErrExpired
)

const purposeMember = "member"

// StartMemberBindTx begins to bind the WeCom user who writes to the member
// with this phone (11 digits): the code goes to that phone.
func (s *Staff) StartMemberBindTx(ctx context.Context, tx *db.Tx, companyID, wecomID, phone string) (BindStart, error) {
	m, ok, err := s.byPhone(ctx, tx, companyID, phone)
	if err != nil {
		return BindStart{}, err
	}
	settings := s.settings(companyID)
	start := BindStart{Phone: phone}
	issued, err := s.codes.IssueTx(ctx, tx, onetime.Request{
		CompanyID: companyID, Purpose: purposeMember, Subject: wecomID, Scope: phone, Target: m.UserID,
		Interval: settings.CodeInterval, TTL: settings.CodeTTL,
	})
	switch {
	case errors.Is(err, onetime.ErrTooSoon):
		start.Outcome = TooSoon
		return start, nil
	case err != nil:
		return BindStart{}, fmt.Errorf("staff: start binding: %w", err)
	}
	start.BindID, start.Code, start.Outcome = issued.ID, issued.Code, CodeSent
	if !ok {
		start.Outcome = NotRegistered
	}
	return start, nil
}

// MemberBindPending tells whether a code from this WeCom user is awaited.
func (s *Staff) MemberBindPending(ctx context.Context, q db.Querier, companyID, wecomID string) (bool, error) {
	return s.codes.Pending(ctx, q, companyID, purposeMember, wecomID)
}

// ConfirmMemberBindTx binds the WeCom user who sends the code of his last
// request. After ErrNoCode, ErrWrongCode and ErrCodeExpired the caller commits
// all the same, since the spent try is in the transaction.
func (s *Staff) ConfirmMemberBindTx(ctx context.Context, tx *db.Tx, companyID, wecomID, code string) (Member, error) {
	proof, err := s.codes.RedeemTx(ctx, tx, companyID, purposeMember, wecomID, code)
	if err != nil {
		return Member{}, err
	}
	m, ok, err := s.ByUserID(ctx, tx, companyID, proof.Target)
	if err != nil {
		return Member{}, err
	}
	if !ok {
		return Member{}, ErrNoCode // left between code and confirmation
	}
	if err := s.PutWeComIDTx(ctx, tx, companyID, wecomID, m.UserID); err != nil {
		return Member{}, err
	}
	return m, s.AuditTx(ctx, tx, Entry{CompanyID: companyID, Actor: m.UserID, Action: "bind_member", Object: m.UserID})
}

// PutWeComIDTx stores how the vendor names a member.
func (s *Staff) PutWeComIDTx(ctx context.Context, tx *db.Tx, companyID, wecomID, userID string) error {
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO staff_wecom_ids (company_id, wecom_id, userid, bound_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (company_id, wecom_id) DO UPDATE SET userid = excluded.userid, bound_at = excluded.bound_at`,
		companyID, wecomID, userID, db.At(s.clock.Now())); err != nil {
		return fmt.Errorf("staff: bind member: %w", err)
	}
	return nil
}
