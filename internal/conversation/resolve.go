package conversation

import (
	"context"
	"fmt"
	"sync"

	"guanjia/internal/db"
)

// knownConversations is how many ids a node remembers, so that a message costs
// no look-up. At some 150 bytes each that is 15 MB at most.
const knownConversations = 100_000

// who names a resident at an account.
type who struct{ account, openid string }

// idCache maps residents to conversation ids; conversations are never deleted,
// so nothing in it goes stale. It keeps two generations: when the young one is
// full it becomes the old one.
type idCache struct {
	mu         sync.Mutex
	size       int
	young, old map[who]string
}

func newIDCache(size int) *idCache {
	return &idCache{size: max(size/2, 1), young: map[who]string{}}
}

func (c *idCache) get(w who) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, ok := c.young[w]; ok {
		return id, true
	}
	id, ok := c.old[w]
	if ok {
		c.put(w, id)
	}
	return id, ok
}

func (c *idCache) add(w who, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(w, id)
}

func (c *idCache) put(w who, id string) {
	if len(c.young) >= c.size {
		c.old, c.young = c.young, make(map[who]string, c.size)
	}
	c.young[w] = id
}

// conversationRow is a conversation to be found or made.
type conversationRow struct {
	ID        string  `json:"id"`
	CompanyID string  `json:"company_id"`
	AccountID string  `json:"account_id"`
	OpenID    string  `json:"openid"`
	OpenedAt  db.Time `json:"opened_at"`
}

// resolve returns the conversation id of each item, making those that don't
// exist yet. A push without an openid belongs to no conversation ("").
func (c *Conversations) resolve(ctx context.Context, items []Inbound) ([]string, error) {
	ids := make([]string, len(items))
	wanted := map[who]conversationRow{}
	for i, in := range items {
		w := who{in.AccountID, storable(in.OpenID)}
		if w.openid == "" {
			continue
		}
		if id, ok := c.known.get(w); ok {
			ids[i] = id
			continue
		}
		wanted[w] = conversationRow{
			ID: db.NewID(), CompanyID: in.CompanyID, AccountID: w.account, OpenID: w.openid,
			OpenedAt: db.At(in.ReceivedAt),
		}
	}
	if len(wanted) == 0 {
		return ids, nil
	}
	found, err := c.findOrOpen(ctx, wanted)
	if err != nil {
		return nil, err
	}
	for w, id := range found {
		c.known.add(w, id)
	}
	for i, in := range items {
		if ids[i] == "" {
			ids[i] = found[who{in.AccountID, storable(in.OpenID)}]
		}
	}
	return ids, nil
}

// findOrOpen looks first: after a restart most residents have a conversation.
func (c *Conversations) findOrOpen(ctx context.Context, wanted map[who]conversationRow) (map[who]string, error) {
	found := make(map[who]string, len(wanted))
	if err := c.find(ctx, wanted, found); err != nil || len(found) == len(wanted) {
		return found, err
	}
	var missing []conversationRow
	for w, row := range wanted {
		if _, ok := found[w]; !ok {
			missing = append(missing, row)
		}
	}
	_, err := c.db.ExecContext(ctx, `
		insert into conversations (id, company_id, account_id, openid, following, opened_at)
		select id, company_id, account_id, openid, true, opened_at
		from `+db.Rows(c.db, "$1", db.TextCol("id"), db.TextCol("company_id"), db.TextCol("account_id"),
		db.TextCol("openid"), db.TimeCol("opened_at"))+` as r
		where true
		on conflict (account_id, openid) do nothing`, db.RowsArg(missing))
	if err != nil {
		return nil, fmt.Errorf("open conversations: %w", err)
	}
	// Read again instead of RETURNING: another node may have been faster.
	if err := c.find(ctx, wanted, found); err != nil {
		return nil, err
	}
	if len(found) != len(wanted) {
		return nil, fmt.Errorf("open conversations: %d of %d found", len(found), len(wanted))
	}
	return found, nil
}

func (c *Conversations) find(ctx context.Context, wanted map[who]conversationRow, found map[who]string) error {
	list := make([]conversationRow, 0, len(wanted))
	for w, row := range wanted {
		if _, ok := found[w]; !ok {
			list = append(list, row)
		}
	}
	w := c.db.Writer()
	// A scalar subquery, not a join: it is one step into the unique index,
	// whatever plan was made while the table was still empty.
	rows, err := w.QueryContext(ctx, `
		select (select c.id from conversations c where c.account_id = r.account_id and c.openid = r.openid),
		       r.account_id, r.openid
		from `+db.Rows(w, "$1", db.TextCol("account_id"), db.TextCol("openid"))+` as r`, db.RowsArg(list))
	if err != nil {
		return fmt.Errorf("find conversations: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id *string
		var w who
		if err := rows.Scan(&id, &w.account, &w.openid); err != nil {
			return fmt.Errorf("find conversations: %w", err)
		}
		if id != nil {
			found[w] = *id
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("find conversations: %w", err)
	}
	return nil
}

// ConversationID returns the conversation of a resident at an account.
func (c *Conversations) ConversationID(ctx context.Context, q db.Querier, accountID, openID string) (string, bool, error) {
	if id, ok := c.known.get(who{accountID, openID}); ok {
		return id, true, nil
	}
	rows, err := q.QueryContext(ctx, `select id from conversations where account_id = $1 and openid = $2`, accountID, openID)
	if err != nil {
		return "", false, fmt.Errorf("find conversation: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return "", false, fmt.Errorf("find conversation: %w", err)
		}
		return "", false, nil
	}
	var id string
	if err := rows.Scan(&id); err != nil {
		return "", false, fmt.Errorf("find conversation: %w", err)
	}
	// Not remembered: inside a transaction the row may yet be rolled back.
	return id, true, rows.Err()
}
