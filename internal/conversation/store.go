package conversation

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"guanjia/internal/db"
)

// storedColumns and storedTables are what scanMessage reads.
const (
	storedColumns = `m.id, m.conversation_id, m.company_id, m.account_id, m.openid, m.kind, m.type, m.event, m.event_key,
	m.body, m.menu_id, m.media_id, m.msg_id, m.detail, m.raw, m.hash, m.dedupe_key, coalesce(m.nonce_key, ''), m.opens,
	m.quiet, m.sent_at, m.received_at, coalesce(u.tries, 0), a.answered_at, coalesce(a.kind, ''), coalesce(a.body, ''),
	coalesce(a.options, ''), coalesce(a.carrier, '')`
	storedTables = `messages m left join answers a on a.message_id = m.id left join unsettled u on u.message_id = m.id`
)

func scanMessage(rows *sql.Rows) (Message, error) {
	var (
		m                   Message
		detail, raw, opens  string
		options             string
		sent, received, ans db.Time
	)
	err := rows.Scan(&m.ID, &m.ConversationID, &m.CompanyID, &m.AccountID, &m.OpenID, &m.Kind, &m.Type, &m.Event,
		&m.EventKey, &m.Text, &m.MenuID, &m.MediaID, &m.MsgID, &detail, &raw, &m.Hash, &m.DedupeKey, &m.NonceKey,
		&opens, &m.Quiet, &sent, &received, &m.Tries, &ans, &m.Answer.Kind, &m.Answer.Text, &options, &m.Carrier)
	if err != nil {
		return Message{}, fmt.Errorf("scan message: %w", err)
	}
	m.SentAt, m.ReceivedAt, m.Answered = sent.Time, received.Time, !ans.IsZero()
	m.settleQuiet()
	m.Raw = rawBytes(raw)
	m.Clicked = m.Kind == KindMessage && opens == TriggerClick
	if detail != "" {
		if err := json.Unmarshal([]byte(detail), &m.Detail); err != nil {
			return Message{}, fmt.Errorf("read detail of message %s: %w", m.ID, err)
		}
	}
	if options != "" {
		if err := json.Unmarshal([]byte(options), &m.Answer.Options); err != nil {
			return Message{}, fmt.Errorf("read options of message %s: %w", m.ID, err)
		}
	}
	return m, nil
}

// collect reads all messages of a result.
func collect(rows *sql.Rows, err error) ([]Message, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Message
	for rows.Next() {
		m, err := scanMessage(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

// one returns the message that a condition on unique columns names.
func (c *Conversations) one(ctx context.Context, q db.Querier, where string, args ...any) (Message, bool, error) {
	found, err := collect(q.QueryContext(ctx, `select `+storedColumns+` from `+storedTables+` where `+where, args...))
	if err != nil {
		return Message{}, false, fmt.Errorf("look up message: %w", err)
	}
	if len(found) == 0 {
		return Message{}, false, nil
	}
	return found[0], true, nil
}

// Message returns a stored message, or ErrUnknownMessage.
func (c *Conversations) Message(ctx context.Context, id string) (Message, error) {
	return c.message(ctx, c.db.Writer(), id)
}

func (c *Conversations) message(ctx context.Context, q db.Querier, id string) (Message, error) {
	m, found, err := c.one(ctx, q, "m.id = $1", id)
	if err == nil && !found {
		err = ErrUnknownMessage
	}
	return m, err
}

// some returns the messages of a list, the oldest first.
func (c *Conversations) some(ctx context.Context, q db.Querier, ids []string) ([]Message, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return collect(q.QueryContext(ctx, `
		select `+storedColumns+` from `+storedTables+`
		where m.id `+db.InStrings(q, "$1")+`
		order by m.received_at, m.id`, db.Strings(q, ids)))
}

// idSet reads a result of ids.
func idSet(rows *sql.Rows, err error) (map[string]bool, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ids := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids[id] = true
	}
	return ids, rows.Err()
}

// affected tells how many rows a statement changed.
func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func optionsText(o []Option) string {
	if len(o) == 0 {
		return ""
	}
	b, err := json.Marshal(o)
	if err != nil { // strings always marshal
		return ""
	}
	return storable(string(b))
}
