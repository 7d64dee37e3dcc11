package conversation

import (
	"context"
	"errors"
	"fmt"

	"guanjia/internal/db"
)

// chatSaved is the outcome for one member of a batch.
type chatSaved struct{ err error }

// SaveChat is SaveTurnTx for a turn that writes nothing else: many callers
// share one statement (and with sessions one transaction). It only stores an
// answer that still travels in the exchange: ErrExchangeOver says that the
// callback has given up (or that t isn't live), so the delivery has to be
// planned with the turn, by SaveTurnTx. Answers without words are stored
// whatever the carrier. On success the carrier is CarrierExchange. ErrAnswered and ErrStale as in SaveTurnTx.
func (c *Conversations) SaveChat(ctx context.Context, t Turn) (carrier string, err error) {
	if !t.Live && !t.Answer.Empty() {
		return "", ErrExchangeOver
	}
	r, err := c.chat.Do(ctx, t)
	if err == nil {
		err = r.err
	}
	if err != nil {
		return "", fmt.Errorf("save chat: %w", err)
	}
	return CarrierExchange, nil
}

// answerRow is an answer as it travels in the update's one argument.
type answerRow struct {
	MID     string `json:"mid"`
	Kind    string `json:"akind"`
	Text    string `json:"atext"`
	Options string `json:"aoptions"`
	CID     string `json:"cid"`  // conversation of the session, or ""
	Version int64  `json:"vers"` // of the session as it was read
	State   string `json:"state"`
	Data    string `json:"data"`
}

func (c *Conversations) saveChatBatch(ctx context.Context, items []Turn) ([]chatSaved, error) {
	saved, err := c.saveChats(ctx, items)
	if err == nil {
		return saved, nil
	}
	// A session changed between two statements, or one row is refused: each
	// for itself then.
	if len(items) == 1 || db.IsUnavailable(err) || ctx.Err() != nil {
		if errors.Is(err, ErrStale) {
			return []chatSaved{{err: ErrStale}}, nil
		}
		return nil, err
	}
	saved = make([]chatSaved, len(items))
	for i := range items {
		one, err := c.saveChats(ctx, items[i:i+1])
		if err != nil {
			saved[i].err = err
			continue
		}
		saved[i] = one[0]
	}
	return saved, nil
}

// saveChats writes the batch: one statement without sessions, a transaction of
// two with them.
func (c *Conversations) saveChats(ctx context.Context, items []Turn) ([]chatSaved, error) {
	rows := make([]answerRow, len(items))
	taken := map[string]bool{} // a session is written once a batch
	sessions := false
	later := map[int]bool{}
	for i, t := range items {
		rows[i] = answerRow{
			MID: t.MessageID, Kind: t.Answer.storedKind(), Text: storable(t.Answer.Text),
			Options: optionsText(t.Answer.Options),
		}
		if t.Session == nil {
			continue
		}
		sessions = true
		if taken[t.Session.ConversationID] {
			later[i] = true
			continue
		}
		taken[t.Session.ConversationID] = true
		rows[i].CID, rows[i].Version = t.Session.ConversationID, t.Session.Version
		rows[i].State, rows[i].Data = storable(t.Session.State), storable(string(t.Session.Data))
		if rows[i].Data == "" {
			rows[i].Data = "{}"
		}
	}
	var stored map[string]bool
	var err error
	if !sessions {
		stored, err = c.storeAnswers(ctx, c.db.Writer(), rows, later)
	} else {
		err = c.db.InTx(ctx, "conversation.chat", func(ctx context.Context, tx *db.Tx) error {
			stored, err = c.storeAnswers(ctx, tx, rows, later)
			if err != nil {
				return err
			}
			return c.storeSessions(ctx, tx, rows, stored)
		})
	}
	for id := range taken {
		c.sessions.drop(id)
	}
	if err != nil {
		return nil, err
	}
	out := make([]chatSaved, len(items))
	for i, t := range items {
		switch {
		case later[i]:
			// Two turns read the same version; the second is stale by now.
			out[i].err = ErrStale
		case !stored[t.MessageID]:
			out[i].err = c.whyNotStored(ctx, t)
		case t.Answer.Empty():
			c.done.add(t.MessageID)
		}
	}
	return out, nil
}

// storeAnswers returns the messages whose answers got in. That a message exists
// isn't looked up here: its id comes from Receive.
func (c *Conversations) storeAnswers(ctx context.Context, q db.Querier, rows []answerRow, later map[int]bool) (map[string]bool, error) {
	list := make([]answerRow, 0, len(rows))
	for i, r := range rows {
		if !later[i] {
			list = append(list, r)
		}
	}
	res, err := q.QueryContext(ctx, `
		insert into answers (message_id, carrier, decided_at, answered_at, kind, body, options)
		select r.mid, 'exchange', `+db.TimeParam(q, "$2")+`, `+db.TimeParam(q, "$3")+`, r.akind, r.atext, r.aoptions
		from `+db.Rows(q, "$1", db.TextCol("mid"), db.TextCol("akind"), db.TextCol("atext"), db.TextCol("aoptions"),
		db.TextCol("cid"), db.IntCol("vers"))+` as r
		where r.cid = '' or r.vers = coalesce((select s.version from sessions s where s.conversation_id = r.cid), 0)
		on conflict (message_id) do update
		set answered_at = excluded.answered_at, kind = excluded.kind, body = excluded.body, options = excluded.options
		where answers.answered_at is null and excluded.kind = ''
		returning message_id`, db.RowsArg(list), machineNow(), db.At(c.clk.Now()))
	stored, err := idSet(res, err)
	if err != nil {
		return nil, fmt.Errorf("store answers: %w", err)
	}
	return stored, nil
}

// storeSessions writes the sessions of the answers that got in. All of them
// must succeed: one that doesn't was changed since the statement before.
func (c *Conversations) storeSessions(ctx context.Context, tx *db.Tx, rows []answerRow, stored map[string]bool) error {
	list := make([]answerRow, 0, len(rows))
	for _, r := range rows {
		if r.CID != "" && stored[r.MID] {
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		return nil
	}
	n, err := affected(tx.ExecContext(ctx, `
		insert into sessions (conversation_id, version, state, data, updated_at)
		select r.cid, r.vers + 1, r.state, r.data, `+db.TimeParam(tx, "$2")+`
		from `+db.Rows(tx, "$1", db.TextCol("cid"), db.IntCol("vers"), db.TextCol("state"), db.TextCol("data"))+` as r
		where true
		on conflict (conversation_id) do update
		set version = excluded.version, state = excluded.state, data = excluded.data, updated_at = excluded.updated_at
		where sessions.version = excluded.version - 1`, db.RowsArg(list), db.At(c.clk.Now())))
	if err != nil {
		return fmt.Errorf("store sessions: %w", err)
	}
	if n != int64(len(list)) {
		return ErrStale
	}
	return nil
}

// whyNotStored looks at the row that refused an answer.
func (c *Conversations) whyNotStored(ctx context.Context, t Turn) error {
	m, err := c.Message(ctx, t.MessageID)
	switch {
	case err != nil:
		return err
	case m.Answered:
		return ErrAnswered
	case m.Carrier != "" && !t.Answer.Empty():
		return ErrExchangeOver
	}
	return ErrStale
}
