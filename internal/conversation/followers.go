package conversation

import (
	"context"
	"fmt"
	"time"

	"guanjia/internal/db"
)

// PutFollowersTx notes WeChat users who follow an account since a time before
// this program knew of it: an import, or the sample company. Those already
// known stay as they are.
func (c *Conversations) PutFollowersTx(ctx context.Context, tx *db.Tx, companyID, accountID string, openIDs []string, since time.Time) error {
	rows := make([]conversationRow, len(openIDs))
	for i, id := range openIDs {
		rows[i] = conversationRow{ID: db.NewID(), CompanyID: companyID, AccountID: accountID, OpenID: id, OpenedAt: db.At(since)}
	}
	if _, err := tx.ExecContext(ctx, `
		insert into conversations (id, company_id, account_id, openid, following, following_at, opened_at)
		select id, company_id, account_id, openid, true, opened_at, opened_at
		from `+db.Rows(tx, "$1", db.TextCol("id"), db.TextCol("company_id"), db.TextCol("account_id"),
		db.TextCol("openid"), db.TimeCol("opened_at"))+` as r
		where true
		on conflict (account_id, openid) do nothing`, db.RowsArg(rows)); err != nil {
		return fmt.Errorf("put followers: %w", err)
	}
	return nil
}
