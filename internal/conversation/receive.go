package conversation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"guanjia/internal/db"
)

// received is the outcome for one member of a batch.
type received struct {
	m    Message
	seen bool
	err  error
}

// Receive stores a push. It returns once the row is committed: only then may
// the push be acknowledged. A push that is stored already (a retry, the same
// message on another node, a replay from the spool) is returned as it is
// stored, with the answer if there is one, and seen. ErrReplayed refuses a
// signed query that was used before with another message. When the error is
// db.IsUnavailable the row may or may not be there: keep the push in the Spool,
// the unique key takes care of repeats.
//
// In the common case it costs two inserts, shared with all callers of the same
// moment; the first message of a resident on this node costs up to two short
// statements more.
func (c *Conversations) Receive(ctx context.Context, in Inbound) (m Message, seen bool, err error) {
	if in.DedupeKey == "" || in.AccountID == "" {
		return Message{}, false, errors.New("receive: a push needs an account and a dedupe key")
	}
	if in.Hash == "" {
		sum := sha256.Sum256(in.Raw)
		in.Hash = hex.EncodeToString(sum[:])
	}
	now := db.At(c.clk.Now()).Time
	if in.ReceivedAt.IsZero() {
		in.ReceivedAt = now
	}
	if in.SentAt.IsZero() {
		in.SentAt = in.ReceivedAt
	}
	r, err := c.receive.Do(ctx, in)
	if err == nil {
		err = r.err
	}
	if err != nil {
		return Message{}, false, fmt.Errorf("receive: %w", err)
	}
	return r.m, r.seen, nil
}

// receiveBatch writes a batch with one insert. When the database refuses it
// for a reason that lies in one of the rows, each is tried alone, so that a
// neighbour's odd bytes harm nobody.
func (c *Conversations) receiveBatch(ctx context.Context, items []Inbound) ([]received, error) {
	out, err := c.insertAll(ctx, items)
	if err == nil || len(items) == 1 || db.IsUnavailable(err) || ctx.Err() != nil {
		return out, err
	}
	out = make([]received, len(items))
	for i := range items {
		one, err := c.insertAll(ctx, items[i:i+1])
		if err != nil {
			out[i].err = err
			continue
		}
		out[i] = one[0]
	}
	return out, nil
}

// messageRow is a new row as it travels in the insert's one argument.
type messageRow struct {
	ID             string  `json:"id"`
	ConversationID string  `json:"conversation_id"`
	CompanyID      string  `json:"company_id"`
	AccountID      string  `json:"account_id"`
	OpenID         string  `json:"openid"`
	Kind           string  `json:"kind"`
	Type           string  `json:"type"`
	Event          string  `json:"event"`
	EventKey       string  `json:"event_key"`
	Body           string  `json:"body"`
	MenuID         string  `json:"menu_id"`
	MediaID        string  `json:"media_id"`
	MsgID          string  `json:"msg_id"`
	Detail         string  `json:"detail"`
	Raw            string  `json:"raw"`
	Hash           string  `json:"hash"`
	DedupeKey      string  `json:"dedupe_key"`
	NonceKey       *string `json:"nonce_key"`
	Opens          string  `json:"opens"`
	Quiet          bool    `json:"quiet"`
	SentAt         db.Time `json:"sent_at"`
	ReceivedAt     db.Time `json:"received_at"`
}

const messageRowColumns = `id, conversation_id, company_id, account_id, openid, kind, type, event, event_key,
	body, menu_id, media_id, msg_id, detail, raw, hash, dedupe_key, nonce_key, opens, quiet, sent_at, received_at`

func messageCols() []db.Col {
	return []db.Col{
		db.TextCol("id"), db.TextCol("conversation_id"), db.TextCol("company_id"), db.TextCol("account_id"),
		db.TextCol("openid"), db.TextCol("kind"), db.TextCol("type"), db.TextCol("event"), db.TextCol("event_key"),
		db.TextCol("body"), db.TextCol("menu_id"), db.TextCol("media_id"), db.TextCol("msg_id"),
		db.TextCol("detail"), db.TextCol("raw"), db.TextCol("hash"), db.TextCol("dedupe_key"),
		db.TextCol("nonce_key"), db.TextCol("opens"), db.BoolCol("quiet"), db.TimeCol("sent_at"), db.TimeCol("received_at"),
	}
}

// insertAll resolves the conversations and inserts the messages; whoever did
// not get in by a unique key finds the row that was there before.
func (c *Conversations) insertAll(ctx context.Context, items []Inbound) ([]received, error) {
	known, missing, err := c.resolve(ctx, items)
	if err != nil {
		return nil, err
	}
	conversations := make([]string, len(items))
	rows := make([]messageRow, len(items))
	var inserted map[string]bool
	err = c.db.InTx(ctx, "conversation.receive", func(ctx context.Context, tx *db.Tx) error {
		found := maps.Clone(known)
		if err := c.openTx(ctx, tx, missing, found); err != nil {
			return err
		}
		for i, in := range items {
			conversations[i] = found[whoOf(in)]
			rows[i] = newRow(in, conversations[i])
		}
		if err := c.noteFollowing(ctx, tx, conversations, items); err != nil {
			return err
		}
		if inserted, err = insertMessages(ctx, tx, rows); err != nil {
			return err
		}
		return insertUnsettled(ctx, tx, rows, inserted)
	})
	if err != nil {
		return nil, err
	}
	out := make([]received, len(items))
	for i, in := range items {
		if inserted[rows[i].ID] {
			out[i].m = Message{ID: rows[i].ID, ConversationID: conversations[i], Inbound: in}
			out[i].m.settleQuiet()
			continue
		}
		out[i].m, out[i].err = c.seenBefore(ctx, in)
		out[i].seen = out[i].err == nil
	}
	return out, nil
}

func newRow(in Inbound, conversationID string) messageRow {
	r := messageRow{
		ID: db.NewID(), ConversationID: conversationID,
		CompanyID: in.CompanyID, AccountID: in.AccountID, OpenID: storable(in.OpenID),
		Kind: in.Kind, Type: storable(in.Type), Event: storable(in.Event), EventKey: storable(in.EventKey),
		Body: storable(in.Text), MenuID: storable(in.MenuID), MediaID: storable(in.MediaID),
		MsgID: storable(in.MsgID), Raw: rawText(in.Raw), Hash: in.Hash, DedupeKey: storable(in.DedupeKey),
		Opens: in.opens(), Quiet: in.Quiet, SentAt: db.At(in.SentAt), ReceivedAt: db.At(in.ReceivedAt),
	}
	if !in.Detail.IsZero() {
		r.Detail = detailText(in.Detail)
	}
	if in.NonceKey != "" {
		key := storable(in.NonceKey)
		r.NonceKey = &key
	}
	return r
}

// insertMessages returns the ids that got in. All nodes insert in the order of
// the dedupe key, so that two of them with the same pushes don't wait for each
// other in a circle.
func insertMessages(ctx context.Context, tx *db.Tx, rows []messageRow) (map[string]bool, error) {
	ordered := slices.SortedFunc(slices.Values(rows), func(a, b messageRow) int { return strings.Compare(a.DedupeKey, b.DedupeKey) })
	res, err := tx.QueryContext(ctx, `
		insert into messages (`+messageRowColumns+`)
		select `+messageRowColumns+` from `+db.Rows(tx, "$1", messageCols()...)+` as r
		where true
		on conflict do nothing
		returning id`, db.RowsArg(ordered))
	inserted, err := idSet(res, err)
	if err != nil {
		return nil, fmt.Errorf("insert messages: %w", err)
	}
	return inserted, nil
}

// insertUnsettled makes the sweep responsible for what got in.
func insertUnsettled(ctx context.Context, tx *db.Tx, rows []messageRow, inserted map[string]bool) error {
	type row struct {
		ID string `json:"mid"`
	}
	list := make([]row, 0, len(rows))
	for _, r := range rows {
		if inserted[r.ID] && !r.Quiet {
			list = append(list, row{r.ID})
		}
	}
	if len(list) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		insert into unsettled (message_id, turn_at, tries)
		select r.mid, `+db.TimeParam(tx, "$2")+`, 0 from `+db.Rows(tx, "$1", db.TextCol("mid"))+` as r`,
		db.RowsArg(list), machineNow())
	if err != nil {
		return fmt.Errorf("insert messages under way: %w", err)
	}
	return nil
}

// seenBefore finds the row that kept a push out, and tells a retry from a
// replayed signature.
func (c *Conversations) seenBefore(ctx context.Context, in Inbound) (Message, error) {
	m, found, err := c.one(ctx, c.db.Writer(), "m.dedupe_key = $1", storable(in.DedupeKey))
	if err != nil {
		return Message{}, err
	}
	if !found || (in.NonceKey != "" && m.NonceKey == storable(in.NonceKey) && m.Hash != in.Hash) {
		return Message{}, ErrReplayed
	}
	return m, nil
}

// storable drops what PostgreSQL refuses in a text (NUL, broken UTF-8).
func storable(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

func detailText(d Detail) string {
	b, err := json.Marshal(d)
	if err != nil { // strings and numbers always marshal
		return ""
	}
	return string(b)
}
