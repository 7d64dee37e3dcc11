package wecom

import (
	"context"
	"fmt"
	"time"

	"guanjia/bot/workgroup"
	"guanjia/internal/clock"
	"guanjia/internal/db"
)

// Kinds of input.
const (
	kindMessage = "message"
	kindClick   = "click"
)

// input is a stored message or click.
type input struct {
	ID         string
	BotID      string // our id
	MsgID      string
	CompanyID  string
	Kind       string
	Chat       workgroup.Chat
	From       string
	Text       string
	Quote      string
	Images     int
	TaskID     string
	Button     string
	ReqID      string
	ReceivedAt time.Time // the product's clock
	Tries      int64
	Answer     string
	Handled    bool
}

// Store keeps what staff say and press, and what the bot did in a chat. Leases
// of inputs are by the machine's clock.
type Store struct {
	db    *db.DB
	clock clock.Clock
}

// NewStore makes a Store.
func NewStore(d *db.DB, c clock.Clock) *Store { return &Store{db: d, clock: c} }

// add stores an input; fresh is false when its msgid is there already. A fresh
// one is leased for the given time to owner, the node that handles it; the
// empty owner leaves it to the next look.
func (s *Store) add(ctx context.Context, in input, owner string, lease time.Duration) (stored input, fresh bool, err error) {
	in.ID, in.ReceivedAt, in.Tries = db.NewID(), s.clock.Now(), 1
	res, err := s.db.ExecContext(ctx, `
		insert into group_messages (id, bot_id, msgid, company_id, kind, chat_id, single, from_id, body, quote, images,
			task_id, button, req_id, received_at, tries, owner, leased_until)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1, $16, $17)
		on conflict (bot_id, msgid) do nothing`,
		in.ID, in.BotID, in.MsgID, in.CompanyID, in.Kind, in.Chat.ID, in.Chat.Single, in.From, in.Text, in.Quote, in.Images,
		in.TaskID, in.Button, in.ReqID, db.At(in.ReceivedAt), owner, db.At(time.Now().Add(lease)))
	if err != nil {
		return input{}, false, fmt.Errorf("store %s of a member: %w", in.Kind, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return input{}, false, fmt.Errorf("store %s of a member: %w", in.Kind, err)
	}
	return in, n == 1, nil
}

// handled stores the answer, before it is sent. An empty one ends the story.
func (s *Store) handled(ctx context.Context, id, answer string) error {
	now := db.At(s.clock.Now())
	var answered db.Time
	if answer == "" {
		answered = now
	}
	_, err := s.db.ExecContext(ctx, `update group_messages set answer = $2, handled_at = $3, answered_at = $4 where id = $1 and handled_at is null`,
		id, answer, now, answered)
	if err != nil {
		return fmt.Errorf("store answer: %w", err)
	}
	return nil
}

// answered ends the story of an input.
func (s *Store) answered(ctx context.Context, id string) error {
	_, err := s.db.ExecContext(ctx, `update group_messages set answered_at = $2 where id = $1 and answered_at is null`, id, db.At(s.clock.Now()))
	if err != nil {
		return fmt.Errorf("store that an answer was sent: %w", err)
	}
	return nil
}

// release lets an input be picked up again after d.
func (s *Store) release(ctx context.Context, id string, d time.Duration) error {
	_, err := s.db.ExecContext(ctx, `update group_messages set leased_until = $2 where id = $1 and answered_at is null`, id, db.At(time.Now().Add(d)))
	if err != nil {
		return fmt.Errorf("release input: %w", err)
	}
	return nil
}

const inputColumns = `id, bot_id, msgid, company_id, kind, chat_id, single, from_id, body, quote, images, task_id, button, req_id, received_at, tries, answer, handled_at`

// claim takes inputs of these bots that nobody works on and leases them to
// owner for the given time, oldest first. owner must keep the bots' sockets:
// what another node had in hand is then nobody's.
func (s *Store) claim(ctx context.Context, owner string, bots []string, lease time.Duration, limit int) ([]input, error) {
	if len(bots) == 0 {
		return nil, nil
	}
	found, err := s.due(ctx, owner, bots, limit)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var mine []input
	for _, in := range found {
		res, err := s.db.ExecContext(ctx, `
			update group_messages set tries = tries + 1, owner = $3, leased_until = $4
			where id = $1 and tries = $2 and answered_at is null`, in.ID, in.Tries, owner, db.At(time.Now().Add(lease)))
		if err != nil {
			return mine, fmt.Errorf("claim input: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			continue // another node was faster
		}
		in.Tries++
		mine = append(mine, in)
	}
	return mine, nil
}

func (s *Store) due(ctx context.Context, owner string, bots []string, limit int) ([]input, error) {
	rows, err := s.db.QueryContext(ctx, `
		select `+inputColumns+` from group_messages
		where answered_at is null and (leased_until < $1 or owner <> $2) and bot_id `+db.InStrings(s.db, "$3")+`
		order by received_at, id limit $4`, db.At(time.Now()), owner, db.Strings(s.db, bots), limit)
	if err != nil {
		return nil, fmt.Errorf("look for inputs left half done: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []input
	for rows.Next() {
		in, err := scanInput(rows)
		if err != nil {
			return nil, fmt.Errorf("look for inputs left half done: %w", err)
		}
		out = append(out, in)
	}
	return out, rows.Err()
}

type scanner interface{ Scan(dest ...any) error }

func scanInput(row scanner) (input, error) {
	var in input
	var received, handled db.Time
	err := row.Scan(&in.ID, &in.BotID, &in.MsgID, &in.CompanyID, &in.Kind, &in.Chat.ID, &in.Chat.Single, &in.From, &in.Text,
		&in.Quote, &in.Images, &in.TaskID, &in.Button, &in.ReqID, &received, &in.Tries, &in.Answer, &handled)
	in.ReceivedAt, in.Handled = received.Time, !handled.IsZero()
	in.Chat.CompanyID, in.Chat.BotID = in.CompanyID, in.BotID
	return in, err
}

// hintDue tells whether the hint line was last given in this chat longer than
// every ago, and notes that it is given now. Of two callers one gets true.
func (s *Store) hintDue(ctx context.Context, botID, chatID string, every time.Duration) (bool, error) {
	now := s.clock.Now()
	res, err := s.db.ExecContext(ctx, `
		insert into bot_chats (bot_id, chat_id, hint_at) values ($1, $2, $3)
		on conflict (bot_id, chat_id) do update set hint_at = excluded.hint_at
		where bot_chats.hint_at is null or bot_chats.hint_at <= $4`,
		botID, chatID, db.At(now), db.At(now.Add(-every)))
	if err != nil {
		return false, fmt.Errorf("note the hint of a chat: %w", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}
