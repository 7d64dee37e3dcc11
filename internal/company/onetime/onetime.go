package onetime

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/db"
)

// What a caller decides on.
var (
	// ErrTooSoon: the scope had a code a moment ago, or the subject has asked
	// too often within the hour.
	ErrTooSoon = errors.New("onetime: too soon for another code")
	// ErrNoCode: nothing is waiting for a code, or its tries are used up.
	ErrNoCode = errors.New("onetime: no code is waiting")
	// ErrWrongCode: another code was sent.
	ErrWrongCode = errors.New("onetime: wrong code")
	// ErrExpired: the code's time is over.
	ErrExpired = errors.New("onetime: code has expired")
)

const (
	// MaxTries is how often a code may be guessed; with six digits the odds
	// of a hit stay under 1 in 200,000.
	MaxTries = 5
	// MaxPerHour is how many codes one subject may ask for in an hour, so
	// that one WeChat user can neither probe an estate nor spend its money.
	MaxPerHour = 10
)

// MAC makes keyed digests; company.Sealer is one.
type MAC interface {
	MAC(purpose string, data []byte) []byte
}

// Codes issues and redeems codes. Safe for concurrent use.
type Codes struct {
	clock clock.Clock
	mac   MAC
}

// New builds a Codes.
func New(c clock.Clock, m MAC) *Codes { return &Codes{clock: c, mac: m} }

// Request asks for a code.
type Request struct {
	CompanyID string
	Purpose   string        // which table of targets: "home", "member"
	Subject   string        // who asks and must send the code: an openid, a WeCom user
	Scope     string        // what gets one code an interval: a home, a phone
	Target    string        // what the code proves; empty: nobody, no code will fit
	Detail    string        // given back with Target
	Interval  time.Duration // between two codes of a scope
	TTL       time.Duration // how long the code is good for
}

// Issued is a code to be sent. Code is empty when the request had no target.
type Issued struct{ ID, Code string }

// Redeemed is what a code proved.
type Redeemed struct{ ID, Target, Detail string }

// IssueTx makes a code, or says ErrTooSoon. An earlier code of the subject for
// this purpose stops working.
func (c *Codes) IssueTx(ctx context.Context, tx *db.Tx, r Request) (Issued, error) {
	now := c.clock.Now()
	if err := c.limitTx(ctx, tx, r, now); err != nil {
		return Issued{}, err
	}
	if err := c.CancelTx(ctx, tx, r.CompanyID, r.Purpose, r.Subject); err != nil {
		return Issued{}, err
	}
	out := Issued{ID: db.NewID()}
	code, err := digits()
	if err != nil {
		return Issued{}, err
	}
	mac := c.digest(out.ID, code)
	if r.Target == "" {
		mac = "" // a digest that no code has
	} else {
		out.Code = code
	}
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO one_time_codes (id, company_id, purpose, subject, target, detail, code_mac, tries, issued_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)`,
		out.ID, r.CompanyID, r.Purpose, r.Subject, r.Target, r.Detail, mac, db.At(now), db.At(now.Add(r.TTL))); err != nil {
		return Issued{}, fmt.Errorf("onetime: store code: %w", err)
	}
	return out, nil
}

// limitTx takes the scope's turn. The upsert is the decision: of two requests
// at once one changes the row and the other does not.
func (c *Codes) limitTx(ctx context.Context, tx *db.Tx, r Request, now time.Time) error {
	var asked int64
	if err := tx.QueryRowContext(ctx, `
		SELECT count(*) FROM one_time_codes WHERE company_id = $1 AND subject = $2 AND purpose = $3 AND issued_at > $4`,
		r.CompanyID, r.Subject, r.Purpose, db.At(now.Add(-time.Hour))).Scan(&asked); err != nil {
		return fmt.Errorf("onetime: count codes: %w", err)
	}
	if asked >= MaxPerHour {
		return ErrTooSoon
	}
	res, err := tx.ExecContext(ctx, `
		INSERT INTO code_limits (company_id, scope, sent_at) VALUES ($1, $2, $3)
		ON CONFLICT (company_id, scope) DO UPDATE SET sent_at = excluded.sent_at WHERE code_limits.sent_at <= $4`,
		r.CompanyID, r.Purpose+":"+r.Scope, db.At(now), db.At(now.Add(-r.Interval)))
	if err != nil {
		return fmt.Errorf("onetime: take turn: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("onetime: take turn: %w", err)
	}
	if n == 0 {
		return ErrTooSoon
	}
	return nil
}

// RedeemTx checks the code that subject has sent. After ErrWrongCode,
// ErrExpired and ErrNoCode the caller commits all the same: the try that was
// spent is in the transaction.
func (c *Codes) RedeemTx(ctx context.Context, tx *db.Tx, companyID, purpose, subject, code string) (Redeemed, error) {
	now := c.clock.Now()
	var r Redeemed
	var mac string
	var expires db.Time
	// The try is spent before the code is compared, so that parallel guesses
	// cannot share one.
	err := tx.QueryRowContext(ctx, `
		UPDATE one_time_codes SET tries = tries + 1
		WHERE id = (SELECT id FROM one_time_codes
		            WHERE company_id = $1 AND subject = $2 AND purpose = $3 AND used_at IS NULL AND tries < $4
		            ORDER BY issued_at DESC, id DESC LIMIT 1)
		  AND used_at IS NULL AND tries < $4
		RETURNING id, target, detail, code_mac, expires_at`,
		companyID, subject, purpose, MaxTries).Scan(&r.ID, &r.Target, &r.Detail, &mac, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return Redeemed{}, ErrNoCode
	}
	if err != nil {
		return Redeemed{}, fmt.Errorf("onetime: find code: %w", err)
	}
	if !now.Before(expires.Time) {
		return Redeemed{}, ErrExpired
	}
	if subtle.ConstantTimeCompare([]byte(mac), []byte(c.digest(r.ID, code))) != 1 {
		return Redeemed{}, ErrWrongCode
	}
	if _, err := tx.ExecContext(ctx, `UPDATE one_time_codes SET used_at = $2 WHERE id = $1`, r.ID, db.At(now)); err != nil {
		return Redeemed{}, fmt.Errorf("onetime: use code: %w", err)
	}
	return r, nil
}

// Pending tells whether a code from subject would be looked at now: six digits
// mean something else otherwise.
func (c *Codes) Pending(ctx context.Context, q db.Querier, companyID, purpose, subject string) (bool, error) {
	var n int64
	if err := q.QueryRowContext(ctx, `
		SELECT count(*) FROM one_time_codes
		WHERE company_id = $1 AND subject = $2 AND purpose = $3 AND used_at IS NULL AND tries < $4 AND expires_at > $5`,
		companyID, subject, purpose, MaxTries, db.At(c.clock.Now())).Scan(&n); err != nil {
		return false, fmt.Errorf("onetime: look for a code: %w", err)
	}
	return n > 0, nil
}

// CancelTx makes the codes of subject worthless. They still count for
// MaxPerHour.
func (c *Codes) CancelTx(ctx context.Context, tx *db.Tx, companyID, purpose, subject string) error {
	if _, err := tx.ExecContext(ctx, `
		UPDATE one_time_codes SET tries = $4 WHERE company_id = $1 AND subject = $2 AND purpose = $3 AND used_at IS NULL`,
		companyID, subject, purpose, MaxTries); err != nil {
		return fmt.Errorf("onetime: cancel codes: %w", err)
	}
	return nil
}

// ForgetTx erases what is kept of a subject.
func (c *Codes) ForgetTx(ctx context.Context, tx *db.Tx, companyID, subject string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM one_time_codes WHERE company_id = $1 AND subject = $2`, companyID, subject); err != nil {
		return fmt.Errorf("onetime: forget: %w", err)
	}
	return nil
}

func (c *Codes) digest(id, code string) string {
	return hex.EncodeToString(c.mac.MAC("one time code", []byte(id+"|"+code)))
}

// digits are six decimal digits, each number as likely as any other.
func digits() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", fmt.Errorf("onetime: draw code: %w", err)
	}
	return fmt.Sprintf("%06d", n.Int64()), nil
}
