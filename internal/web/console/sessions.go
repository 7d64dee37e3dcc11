package console

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"guanjia/internal/db"
)

// sessions keeps sign-ins in rows for alexedwards/scs. Only the hash of a token
// is stored: whoever reads the table can't sign in with it. Expiry goes by the
// machine's clock, as the cookie's does.
type sessions struct{ db *db.DB }

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// FindCtx implements scs.CtxStore.
func (s sessions) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	var data string
	err := s.db.QueryRowContext(ctx, `SELECT data FROM console_sessions WHERE token_hash = $1 AND expires_at > $2`,
		hashOf(token), db.At(time.Now())).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("console: find session: %w", err)
	}
	b, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, false, fmt.Errorf("console: decode session: %w", err)
	}
	return b, true, nil
}

// CommitCtx implements scs.CtxStore.
func (s sessions) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO console_sessions (token_hash, data, expires_at) VALUES ($1, $2, $3)
		ON CONFLICT (token_hash) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at`,
		hashOf(token), base64.StdEncoding.EncodeToString(b), db.At(expiry))
	if err != nil {
		return fmt.Errorf("console: store session: %w", err)
	}
	return nil
}

// DeleteCtx implements scs.CtxStore.
func (s sessions) DeleteCtx(ctx context.Context, token string) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM console_sessions WHERE token_hash = $1 OR expires_at < $2`, hashOf(token), db.At(time.Now())); err != nil {
		return fmt.Errorf("console: delete session: %w", err)
	}
	return nil
}

// Find, Commit and Delete complete scs.Store; scs calls the variants with a context.
func (s sessions) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit implements scs.Store.
func (s sessions) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

// Delete implements scs.Store.
func (s sessions) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }
