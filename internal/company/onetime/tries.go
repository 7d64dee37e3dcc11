package onetime

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"guanjia/internal/db"
)

// TriesLeft tells how often the newest code of subject may still be guessed; 0
// when there is none.
func (c *Codes) TriesLeft(ctx context.Context, q db.Querier, companyID, purpose, subject string) (int, error) {
	var tries int
	err := q.QueryRowContext(ctx, `
		SELECT tries FROM one_time_codes WHERE company_id = $1 AND subject = $2 AND purpose = $3 AND used_at IS NULL
		ORDER BY issued_at DESC, id DESC LIMIT 1`, companyID, subject, purpose).Scan(&tries)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("onetime: count tries: %w", err)
	}
	return max(0, MaxTries-tries), nil
}
