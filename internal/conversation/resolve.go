package conversation

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
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

// resolve returns the conversation ids that are known already, and the rows
// that openTx has to make. It looks first: after a restart most residents have
// a conversation.
func (c *Conversations) resolve(ctx context.Context, items []Inbound) (found map[who]string, missing []conversationRow, err error) {
	found = map[who]string{}
	wanted := map[who]conversationRow{}
	for _, in := range items {
		w := whoOf(in)
		if w.openid == "" {
			continue // it belongs to no conversation
		}
		if id, ok := c.known.get(w); ok {
			found[w] = id
			continue
		}
		wanted[w] = conversationRow{
			ID: db.NewID(), CompanyID: in.CompanyID, AccountID: w.account, OpenID: w.openid,
			OpenedAt: db.At(in.ReceivedAt),
		}
	}
	if len(wanted) == 0 {
		return found, nil, nil
	}
	looked := map[who]string{}
	if err := c.find(ctx, c.db.Writer(), wanted, looked); err != nil {
		return nil, nil, err
	}
	for w, row := range wanted {
		id, ok := looked[w]
		if !ok {
			missing = append(missing, row)
			continue
		}
		c.known.add(w, id)
		found[w] = id
	}
	// All nodes insert in one order, so that two of them don't wait for each
	// other in a circle.
	slices.SortFunc(missing, func(a, b conversationRow) int {
		return cmp.Or(strings.Compare(a.AccountID, b.AccountID), strings.Compare(a.OpenID, b.OpenID))
	})
	return found, missing, nil
}

func whoOf(in Inbound) who { return who{in.AccountID, storable(in.OpenID)} }

// openTx makes the missing conversations in the transaction of their first
// messages, and adds their ids to found.
func (c *Conversations) openTx(ctx context.Context, tx *db.Tx, missing []conversationRow, found map[who]string) error {
	if len(missing) == 0 {
		return nil
	}
	rows, err := tx.QueryContext(ctx, `
		insert into conversations (id, company_id, account_id, openid, following, opened_at)
		select id, company_id, account_id, openid, true, opened_at
		from `+db.Rows(tx, "$1", db.TextCol("id"), db.TextCol("company_id"), db.TextCol("account_id"),
		db.TextCol("openid"), db.TimeCol("opened_at"))+` as r
		where true
		on conflict (account_id, openid) do nothing
		returning id`, db.RowsArg(missing))
	opened, err := idSet(rows, err)
	if err != nil {
		return fmt.Errorf("open conversations: %w", err)
	}
	lost := map[who]conversationRow{} // another node was faster
	mine := map[who]string{}
	for _, row := range missing {
		w := who{row.AccountID, row.OpenID}
		if !opened[row.ID] {
			lost[w] = row
			continue
		}
		found[w], mine[w] = row.ID, row.ID
	}
	if len(lost) > 0 {
		theirs := map[who]string{}
		if err := c.find(ctx, tx, lost, theirs); err != nil {
			return err
		}
		if len(theirs) != len(lost) {
			return fmt.Errorf("open conversations: %d of %d found", len(theirs), len(lost))
		}
		maps.Copy(found, theirs)
	}
	tx.AfterCommit(func(context.Context) {
		for w, id := range mine {
			c.known.add(w, id)
			c.sessions.put(Session{ConversationID: id}) // nobody can have written one
		}
	})
	return nil
}

func (c *Conversations) find(ctx context.Context, q db.Querier, wanted map[who]conversationRow, found map[who]string) error {
	list := slices.Collect(maps.Values(wanted))
	// A scalar subquery, not a join: it is one step into the unique index,
	// whatever plan was made while the table was still empty.
	rows, err := q.QueryContext(ctx, `
		select (select c.id from conversations c where c.account_id = r.account_id and c.openid = r.openid),
		       r.account_id, r.openid
		from `+db.Rows(q, "$1", db.TextCol("account_id"), db.TextCol("openid"))+` as r`, db.RowsArg(list))
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
