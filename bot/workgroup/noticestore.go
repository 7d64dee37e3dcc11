package workgroup

import (
	"context"
	"fmt"
	"time"

	"guanjia/internal/db"
)

// noticeChats are the rows that say in which chat a notice was asked for, and
// what the chat has been told of it.
type noticeChats struct{ db *db.DB }

// chatNotice is one of them.
type chatNotice struct {
	noticeID  string
	chat      Chat
	botName   string
	createdAt time.Time
	told      string // the last state or reason that was told
	endorse   bool   // the department manager was asked
	reminders int64  // of the call list
	lookAt    time.Time
	done      bool
	version   int64
}

// putTx notes where a notice was asked for. A notice that was confirmed in a
// second chat stays with the first.
func (s noticeChats) putTx(ctx context.Context, tx *db.Tx, noticeID string, q *request, now time.Time) error {
	_, err := tx.ExecContext(ctx, `
		insert into notice_chats (notice_id, company_id, bot_id, chat_id, single, bot_name, message_id, created_at, told, endorse_told, reminders, look_at, done, version)
		values ($1, $2, $3, $4, $5, $6, $7, $8, '', false, 0, $9, false, 1)
		on conflict (notice_id) do nothing`,
		noticeID, q.Chat.CompanyID, q.Chat.BotID, q.Chat.ID, q.Chat.Single, q.BotName, q.ID, db.At(now), db.At(now))
	if err != nil {
		return fmt.Errorf("note the chat of a notice: %w", err)
	}
	return nil
}

// ofMessage tells whether a message has made a notice already.
func (s noticeChats) ofMessage(ctx context.Context, messageID string) (bool, error) {
	if messageID == "" {
		return false, nil
	}
	var n int
	err := s.db.QueryRowContext(ctx, `select count(*) from notice_chats where message_id = $1`, messageID).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for the notice of a message: %w", err)
	}
	return n > 0, nil
}

// ofChat gives the notices of a chat that are looked after, the newest first.
func (s noticeChats) ofChat(ctx context.Context, c Chat, limit int) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, `
		select notice_id from notice_chats where bot_id = $1 and chat_id = $2 and company_id = $3
		order by created_at desc, notice_id desc limit $4`, c.BotID, c.ID, c.CompanyID, limit)
	if err != nil {
		return nil, fmt.Errorf("list notices of a chat: %w", err)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list notices of a chat: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// open gives what must be looked at now.
func (s noticeChats) open(ctx context.Context, now time.Time, limit int) ([]chatNotice, error) {
	rows, err := s.db.QueryContext(ctx, `
		select notice_id, company_id, bot_id, chat_id, single, bot_name, created_at, told, endorse_told, reminders, look_at, version
		from notice_chats where not done and look_at <= $1 order by look_at limit $2`, db.At(now), limit)
	if err != nil {
		return nil, fmt.Errorf("list notices to look after: %w", err)
	}
	defer rows.Close()
	var list []chatNotice
	for rows.Next() {
		var x chatNotice
		var created, look db.Time
		if err := rows.Scan(&x.noticeID, &x.chat.CompanyID, &x.chat.BotID, &x.chat.ID, &x.chat.Single, &x.botName, &created, &x.told, &x.endorse,
			&x.reminders, &look, &x.version); err != nil {
			return nil, fmt.Errorf("list notices to look after: %w", err)
		}
		x.createdAt, x.lookAt = created.Time, look.Time
		list = append(list, x)
	}
	return list, rows.Err()
}

// changeTx writes what was told, unless another node was faster.
func (s noticeChats) changeTx(ctx context.Context, tx *db.Tx, was, now chatNotice) (bool, error) {
	res, err := tx.ExecContext(ctx, `
		update notice_chats set told = $1, endorse_told = $2, reminders = $3, look_at = $4, done = $5, version = version + 1
		where notice_id = $6 and version = $7`, now.told, now.endorse, now.reminders, db.At(now.lookAt), now.done, was.noticeID, was.version)
	if err != nil {
		return false, fmt.Errorf("note what a chat was told: %w", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func (s noticeChats) close(ctx context.Context, row chatNotice) error {
	if _, err := s.db.ExecContext(ctx, `update notice_chats set done = true where notice_id = $1`, row.noticeID); err != nil {
		return fmt.Errorf("close a notice of a chat: %w", err)
	}
	return nil
}
