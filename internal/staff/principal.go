package staff

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"guanjia/internal/db"
)

// PrincipalOf gives who a signed-in console user is now; ok is false when he
// was removed or disabled since he signed in.
func (s *Staff) PrincipalOf(ctx context.Context, q db.Querier, username string) (p Principal, ok bool, err error) {
	var companyID, userID string
	var admin bool
	err = q.QueryRowContext(ctx, `SELECT company_id, userid, admin FROM console_users WHERE username = $1 AND NOT disabled`, username).
		Scan(&companyID, &userID, &admin)
	if errors.Is(err, sql.ErrNoRows) {
		return Principal{}, false, nil
	}
	if err != nil {
		return Principal{}, false, fmt.Errorf("staff: find console user: %w", err)
	}
	p, err = s.principal(ctx, q, companyID, userID, admin, "console")
	if errors.Is(err, ErrSignIn) {
		return Principal{}, false, nil
	}
	return p, err == nil, err
}
