package estate

import (
	"context"

	"guanjia/internal/db"
)

// CancelBindTx drops the running request of a WeChat user to bind; a code that
// is on its way becomes worthless.
func (e *Estate) CancelBindTx(ctx context.Context, tx *db.Tx, companyID, openID string) error {
	return e.codes.CancelTx(ctx, tx, companyID, purposeHome, openID)
}

// BindTriesLeft tells how often the running request's code may still be tried.
func (e *Estate) BindTriesLeft(ctx context.Context, q db.Querier, companyID, openID string) (int, error) {
	return e.codes.TriesLeft(ctx, q, companyID, purposeHome, openID)
}
