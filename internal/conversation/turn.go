package conversation

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"guanjia/internal/db"
)

// Session returns the memory of a dialogue; Version 0 when there is none. It
// may come from this node's memory and be older than the row: write only by
// compare-and-set, and after ErrStale the next call reads the row.
func (c *Conversations) Session(ctx context.Context, q db.Querier, conversationID string) (Session, error) {
	if s, ok := c.sessions.get(conversationID); ok {
		return s, nil
	}
	s := Session{ConversationID: conversationID}
	var data string
	err := q.QueryRowContext(ctx, `select version, state, data from sessions where conversation_id = $1`,
		conversationID).Scan(&s.Version, &s.State, &data)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Session{}, fmt.Errorf("read session: %w", err)
	}
	if err == nil {
		s.Data = json.RawMessage(data)
	}
	// What a transaction reads may be its own and rolled back.
	if !db.InTransaction(ctx) {
		c.sessions.put(s)
	}
	return s, nil
}

// SaveTurnTx stores the answer of a message and, when given, the session, and
// decides the carrier unless somebody has: CarrierExchange when live,
// CarrierService otherwise. When the carrier it returns is CarrierService and
// the answer isn't empty, the caller puts the delivery into the ledger in the
// same transaction. ErrAnswered: another turn was faster. ErrStale: the session
// changed since it was read. After either the transaction must be rolled back.
func (c *Conversations) SaveTurnTx(ctx context.Context, tx *db.Tx, t Turn) (carrier string, err error) {
	wish := CarrierService
	if t.Live {
		wish = CarrierExchange
	}
	err = tx.QueryRowContext(ctx, `
		insert into answers (message_id, carrier, decided_at, answered_at, kind, body, options)
		select message_id, cast($2 as text), `+db.TimeParam(tx, "$3")+`, `+db.TimeParam(tx, "$4")+`,
		       cast($5 as text), cast($6 as text), cast($7 as text)
		from unsettled where message_id = $1
		on conflict (message_id) do update
		set answered_at = excluded.answered_at, kind = excluded.kind, body = excluded.body, options = excluded.options
		where answers.answered_at is null
		returning carrier`,
		t.MessageID, wish, machineNow(), db.At(c.clk.Now()), t.Answer.storedKind(), storable(t.Answer.Text),
		optionsText(t.Answer.Options)).Scan(&carrier)
	if errors.Is(err, sql.ErrNoRows) {
		_, err := c.message(ctx, tx, t.MessageID)
		if err == nil {
			err = ErrAnswered
		}
		return "", fmt.Errorf("save turn: %w", err)
	}
	if err != nil {
		return "", fmt.Errorf("save turn: %w", err)
	}
	if carrier == CarrierService || t.Answer.Empty() {
		tx.AfterCommit(func(context.Context) { c.done.add(t.MessageID) })
	}
	if t.Session == nil {
		return carrier, nil
	}
	if err := c.saveSession(ctx, tx, *t.Session); err != nil {
		return "", fmt.Errorf("save turn: %w", err)
	}
	return carrier, nil
}

// SaveSessionTx writes a session outside a turn (a case was closed, a survey
// opened a question). ErrStale as in SaveTurnTx.
func (c *Conversations) SaveSessionTx(ctx context.Context, tx *db.Tx, s Session) error {
	return c.saveSession(ctx, tx, s)
}

func (c *Conversations) saveSession(ctx context.Context, tx *db.Tx, s Session) error {
	data := storable(string(s.Data))
	if data == "" {
		data = "{}"
	}
	query := `
		update sessions set version = version + 1, state = $3, data = $4, updated_at = $5
		where conversation_id = $1 and version = $2`
	if s.Version == 0 {
		query = `
		insert into sessions (conversation_id, version, state, data, updated_at)
		values ($1, $2 + 1, $3, $4, $5)
		on conflict (conversation_id) do nothing`
	}
	n, err := affected(tx.ExecContext(ctx, query, s.ConversationID, s.Version, storable(s.State), data, db.At(c.clk.Now())))
	if err != nil {
		return fmt.Errorf("write session: %w", err)
	}
	if n == 0 {
		c.sessions.drop(s.ConversationID)
		return ErrStale
	}
	s.Version, s.Data = s.Version+1, json.RawMessage(data)
	tx.AfterCommit(func(context.Context) { c.sessions.put(s) })
	return nil
}
