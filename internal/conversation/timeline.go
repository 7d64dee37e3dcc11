package conversation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"guanjia/internal/db"
)

// AppendTx puts something the account said outside an answer into the history.
func (c *Conversations) AppendTx(ctx context.Context, tx *db.Tx, o Outbound) error {
	if o.ConversationID == "" {
		return errors.New("append to history: no conversation")
	}
	if o.By == "" {
		o.By = byBot
	}
	_, err := tx.ExecContext(ctx, `
		insert into outbound (id, conversation_id, at, kind, body, by_id, delivery_id)
		values ($1, $2, $3, $4, $5, $6, $7)`,
		db.NewID(), o.ConversationID, db.At(c.clk.Now()), o.Kind, storable(o.Text), o.By, o.DeliveryID)
	if err != nil {
		return fmt.Errorf("append to history: %w", err)
	}
	return nil
}

// byBot is the author of what the program says by itself.
const byBot = "bot"

// Recent returns the last n lines of a conversation, oldest first: what the
// resident wrote, what was answered, what staff replied. Events are no lines.
func (c *Conversations) Recent(ctx context.Context, q db.Querier, conversationID string, n int) ([]Line, error) {
	// A message and its answer are one row and two lines.
	rows, err := q.QueryContext(ctx, `
		select at, said, reply_at, reply, by_id, kind from (
			select m.received_at as at, case when m.kind = 'message' then m.body else '' end as said,
			       a.answered_at as reply_at, coalesce(a.body, '') as reply, '' as by_id, m.type as kind
			from messages m left join answers a on a.message_id = m.id
			where m.conversation_id = $1 and (m.kind = 'message' or a.kind <> '')
			order by m.received_at desc limit $2) as m
		union all
		select at, said, reply_at, reply, by_id, kind from (
			select at, '' as said, at as reply_at, body as reply, by_id, kind
			from outbound where conversation_id = $1
			order by at desc limit $2) as o`, conversationID, n)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	defer rows.Close()
	var lines []Line
	for rows.Next() {
		var (
			at, replyAt           db.Time
			said, reply, by, kind string
		)
		if err := rows.Scan(&at, &said, &replyAt, &reply, &by, &kind); err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		if by == "" && (said != "" || kind != typeEvent) {
			lines = append(lines, Line{At: at.Time, From: FromResident, Kind: kind, Text: said})
		}
		if reply == "" {
			continue
		}
		line := Line{At: replyAt.Time, From: FromAccount, Kind: AnswerText, Text: reply}
		if by != "" && by != byBot {
			line.From, line.By = FromStaff, by
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return a.At.Compare(b.At) })
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return lines, nil
}

const typeEvent = "event"
