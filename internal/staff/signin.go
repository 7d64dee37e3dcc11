package staff

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/alexedwards/argon2id"

	"guanjia/internal/db"
)

// argon is the cost of a password: 19 MiB and two passes, OWASP's smallest
// recommendation, because hashes are made inside a program of 100 MB.
var argon = &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// dummyHash has the cost of a real one. An unknown user's password is compared
// with it; the answer is not looked at.
const dummyHash = "$argon2id$v=19$m=19456,t=2,p=1$E4DxVqcUoS6EsOxuk0H8yQ$IaMQxKB6Li6p96BEFnYZb7nM135k/VLgFEWkF/ZRXi0"

// Sign-in limits, ours: after freeFailures wrong passwords in a row a user
// waits, twice as long each time, at most maxLock.
const (
	freeFailures = 5
	firstLock    = 30 * time.Second
	maxLock      = 15 * time.Minute
	maxPassword  = 256 // bytes
)

// What a caller decides on.
var (
	// ErrSignIn: user or password is wrong; which one is not told.
	ErrSignIn = errors.New("staff: user or password is wrong")
	// ErrLocked: too many wrong passwords, for a while.
	ErrLocked = errors.New("staff: too many attempts, wait a while")
	// ErrPassword: the password may not be used.
	ErrPassword = errors.New("staff: a password has 10 to 256 bytes")
)

// HashPassword makes the text that is stored for a password.
func (s *Staff) HashPassword(ctx context.Context, password string) (string, error) {
	if len(password) < 10 || len(password) > maxPassword {
		return "", ErrPassword
	}
	if err := s.takeTurn(ctx); err != nil {
		return "", err
	}
	defer s.giveTurn()
	h, err := argon2id.CreateHash(password, argon)
	if err != nil {
		return "", fmt.Errorf("staff: hash password: %w", err)
	}
	return h, nil
}

func (s *Staff) takeTurn(ctx context.Context) error {
	select {
	case s.hashing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("staff: wait for a hash: %w", ctx.Err())
	}
}

func (s *Staff) giveTurn() { <-s.hashing }

// PutConsoleUserTx adds a sign-in or replaces its password.
func (s *Staff) PutConsoleUserTx(ctx context.Context, tx *db.Tx, u ConsoleUser) error {
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO console_users (username, company_id, userid, admin, password_hash) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (username) DO UPDATE
		SET userid = excluded.userid, admin = excluded.admin, password_hash = excluded.password_hash, failures = 0, locked_until = NULL
		WHERE console_users.company_id = excluded.company_id`,
		u.Username, u.CompanyID, u.UserID, u.Admin, u.PasswordHash); err != nil {
		return fmt.Errorf("staff: put console user: %w", err)
	}
	return nil
}

// Authenticate signs in by user and password: ErrSignIn, ErrLocked, or who it
// is. An unknown user takes as long as a known one.
func (s *Staff) Authenticate(ctx context.Context, username, password string) (Principal, error) {
	if len(password) > maxPassword {
		return Principal{}, ErrSignIn
	}
	var u ConsoleUser
	var locked db.Time
	var disabled bool
	err := s.db.QueryRowContext(ctx, `
		SELECT username, company_id, userid, admin, password_hash, locked_until, disabled FROM console_users WHERE username = $1`, username).
		Scan(&u.Username, &u.CompanyID, &u.UserID, &u.Admin, &u.PasswordHash, &locked, &disabled)
	known := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Principal{}, fmt.Errorf("staff: find console user: %w", err)
	}
	if !known {
		u.PasswordHash = s.dummy
	}
	if known && s.clock.Now().Before(locked.Time) {
		return Principal{}, ErrLocked
	}
	match, err := s.compare(ctx, password, u.PasswordHash)
	if err != nil {
		return Principal{}, err
	}
	if !known {
		return Principal{}, ErrSignIn
	}
	if err := s.noteAttempt(ctx, u, match); err != nil {
		return Principal{}, err
	}
	if !match || disabled {
		return Principal{}, ErrSignIn
	}
	return s.principal(ctx, s.db, u.CompanyID, u.UserID, u.Admin, "console")
}

func (s *Staff) compare(ctx context.Context, password, hash string) (bool, error) {
	if err := s.takeTurn(ctx); err != nil {
		return false, err
	}
	defer s.giveTurn()
	match, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("staff: compare password: %w", err)
	}
	return match, nil
}

// noteAttempt counts wrong passwords in a row and locks for a while.
func (s *Staff) noteAttempt(ctx context.Context, u ConsoleUser, match bool) error {
	return s.db.InTx(ctx, "staff.sign_in", func(ctx context.Context, tx *db.Tx) error {
		if match {
			if _, err := tx.ExecContext(ctx, `UPDATE console_users SET failures = 0, locked_until = NULL WHERE username = $1 AND failures > 0`, u.Username); err != nil {
				return fmt.Errorf("staff: note sign-in: %w", err)
			}
			return nil
		}
		var failures int64
		if err := tx.QueryRowContext(ctx, `UPDATE console_users SET failures = failures + 1 WHERE username = $1 RETURNING failures`, u.Username).Scan(&failures); err != nil {
			return fmt.Errorf("staff: note failed sign-in: %w", err)
		}
		lock := lockFor(failures)
		if lock == 0 {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `UPDATE console_users SET locked_until = $2 WHERE username = $1`, u.Username, db.At(s.clock.Now().Add(lock))); err != nil {
			return fmt.Errorf("staff: lock console user: %w", err)
		}
		return s.AuditTx(ctx, tx, Entry{CompanyID: u.CompanyID, Actor: "system", Action: "console.lock", Object: u.Username, Detail: lock.String()})
	})
}

func lockFor(failures int64) time.Duration {
	lock := firstLock
	for n := int64(freeFailures); n < failures && lock < maxLock; n++ {
		lock *= 2
	}
	if failures < freeFailures {
		return 0
	}
	return min(lock, maxLock)
}

func (s *Staff) principal(ctx context.Context, q db.Querier, companyID, userID string, admin bool, via string) (Principal, error) {
	p := Principal{CompanyID: companyID, Admin: admin, Via: via}
	if userID == "" {
		return p, nil
	}
	m, ok, err := s.ByUserID(ctx, q, companyID, userID)
	if err != nil {
		return Principal{}, err
	}
	if !ok {
		return Principal{}, ErrSignIn // left the company
	}
	p.Member = m
	return p, nil
}

// NewToken draws the secret of an API token: 256 random bits.
func NewToken() (string, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("staff: draw token: %w", err)
	}
	return "gj_" + base64.RawURLEncoding.EncodeToString(b), nil
}

// PutTokenTx stores a token as a digest; the secret is shown once by whoever
// made it. A plain SHA-256 is enough, since a token is no password: it has 256
// bits.
func (s *Staff) PutTokenTx(ctx context.Context, tx *db.Tx, t Token, secret string) error {
	if t.ID == "" {
		t.ID = db.NewID()
	}
	if t.CreatedAt.IsZero() {
		t.CreatedAt = s.clock.Now()
	}
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO api_tokens (id, company_id, token_hash, userid, admin, name, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		t.ID, t.CompanyID, tokenHash(secret), t.UserID, t.Admin, t.Name, db.At(t.CreatedAt), db.At(t.ExpiresAt)); err != nil {
		return fmt.Errorf("staff: put token: %w", err)
	}
	return nil
}

// RevokeTokenTx ends a token.
func (s *Staff) RevokeTokenTx(ctx context.Context, tx *db.Tx, companyID, id string) error {
	if _, err := tx.ExecContext(ctx, `UPDATE api_tokens SET revoked_at = $3 WHERE company_id = $1 AND id = $2 AND revoked_at IS NULL`,
		companyID, id, db.At(s.clock.Now())); err != nil {
		return fmt.Errorf("staff: revoke token: %w", err)
	}
	return nil
}

func tokenHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// ByToken finds who acts by an API token.
func (s *Staff) ByToken(ctx context.Context, q db.Querier, secret string) (Principal, bool, error) {
	if secret == "" || len(secret) > maxPassword {
		return Principal{}, false, nil
	}
	var companyID, userID string
	var admin bool
	err := q.QueryRowContext(ctx, `
		SELECT company_id, userid, admin FROM api_tokens
		WHERE token_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)`,
		tokenHash(secret), db.At(s.clock.Now())).Scan(&companyID, &userID, &admin)
	if errors.Is(err, sql.ErrNoRows) {
		return Principal{}, false, nil
	}
	if err != nil {
		return Principal{}, false, fmt.Errorf("staff: find who a token belongs to: %w", err)
	}
	p, err := s.principal(ctx, q, companyID, userID, admin, "token")
	if errors.Is(err, ErrSignIn) {
		return Principal{}, false, nil
	}
	return p, err == nil, err
}
