package conversation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"guanjia/internal/db"
)

type followRow struct {
	ID        string  `json:"id"`
	Following bool    `json:"following"`
	At        db.Time `json:"at"`
}

// noteFollowing keeps who follows the account, with the event itself. The later
// event wins, in whatever order they arrive.
func (c *Conversations) noteFollowing(ctx context.Context, tx *db.Tx, conversations []string, items []Inbound) error {
	last := map[string]followRow{}
	for i, in := range items {
		if in.Kind != KindEvent || conversations[i] == "" || (in.Event != eventSubscribe && in.Event != eventUnsubscribe) {
			continue
		}
		row := followRow{ID: conversations[i], Following: in.Event == eventSubscribe, At: db.At(in.SentAt)}
		if prev, ok := last[row.ID]; !ok || !row.At.Before(prev.At.Time) {
			last[row.ID] = row
		}
	}
	if len(last) == 0 {
		return nil
	}
	rows := make([]followRow, 0, len(last))
	for _, row := range last {
		rows = append(rows, row)
	}
	_, err := tx.ExecContext(ctx, `
		update conversations set following = r.is_following, following_at = r.at
		from (select id as rid, following as is_following, at from `+
		db.Rows(tx, "$1", db.TextCol("id"), db.BoolCol("following"), db.TimeCol("at"))+` as x) as r
		where conversations.id = r.rid
		  and (conversations.following_at is null or conversations.following_at <= r.at)`, db.RowsArg(rows))
	if err != nil {
		return fmt.Errorf("note who follows: %w", err)
	}
	return nil
}

// Following tells whether a resident follows the account. Who has never been
// heard of is not known; who was heard of otherwise than by an event follows.
func (c *Conversations) Following(ctx context.Context, q db.Querier, accountID, openID string) (following, known bool, err error) {
	err = q.QueryRowContext(ctx, `select following from conversations where account_id = $1 and openid = $2`,
		accountID, openID).Scan(&following)
	if errors.Is(err, sql.ErrNoRows) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("look up who follows: %w", err)
	}
	return following, true, nil
}

// SetFollowing records what the platform said when we sent (43004: the
// receiver does not follow), unless an event since then says otherwise.
func (c *Conversations) SetFollowing(ctx context.Context, accountID, openID string, following bool, at time.Time) error {
	_, err := c.db.ExecContext(ctx, `
		update conversations set following = $3, following_at = $4
		where account_id = $1 and openid = $2 and (following_at is null or following_at <= $4)`,
		accountID, openID, following, db.At(at))
	if err != nil {
		return fmt.Errorf("record who follows: %w", err)
	}
	return nil
}

// ForgetTx erases the memory of a dialogue when a resident unfollows: the
// session and what was spent of the reply windows. What was said stays, since
// cases refer to it; the binding is erased by its own room.
func (c *Conversations) ForgetTx(ctx context.Context, tx *db.Tx, accountID, openID string) error {
	for _, table := range []string{"sessions", "reply_windows"} {
		_, err := tx.ExecContext(ctx, `delete from `+table+` where conversation_id in
			(select id from conversations where account_id = $1 and openid = $2)`, accountID, openID)
		if err != nil {
			return fmt.Errorf("forget %s: %w", table, err)
		}
	}
	tx.AfterCommit(func(context.Context) {
		if id, ok := c.known.get(who{accountID, openID}); ok {
			c.sessions.drop(id)
		}
	})
	return nil
}
