package conversation

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"guanjia/internal/db"
)

// storedColumns are what scanMessage reads.
const storedColumns = `id, conversation_id, company_id, account_id, openid, kind, type, event, event_key, body,
	menu_id, media_id, msg_id, detail, raw, hash, dedupe_key, coalesce(nonce_key, ''), opens, sent_at, received_at,
	tries, answered_at, answer_kind, answer_text, answer_options, coalesce(carrier, '')`

func scanMessage(rows *sql.Rows) (Message, error) {
	var (
		m                   Message
		detail, raw, opens  string
		options             string
		sent, received, ans db.Time
	)
	err := rows.Scan(&m.ID, &m.ConversationID, &m.CompanyID, &m.AccountID, &m.OpenID, &m.Kind, &m.Type, &m.Event,
		&m.EventKey, &m.Text, &m.MenuID, &m.MediaID, &m.MsgID, &detail, &raw, &m.Hash, &m.DedupeKey, &m.NonceKey,
		&opens, &sent, &received, &m.Tries, &ans, &m.Answer.Kind, &m.Answer.Text, &options, &m.Carrier)
	if err != nil {
		return Message{}, fmt.Errorf("scan message: %w", err)
	}
	m.SentAt, m.ReceivedAt, m.Answered = sent.Time, received.Time, !ans.IsZero()
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
	found, err := collect(q.QueryContext(ctx, `select `+storedColumns+` from messages where `+where, args...))
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
	m, found, err := c.one(ctx, q, "id = $1", id)
	if err == nil && !found {
		err = ErrUnknownMessage
	}
	return m, err
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
