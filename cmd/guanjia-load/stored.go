package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/db"
	"guanjia/internal/desk"
)

// firstStored is the running number of the first stored case, above all that
// the product hands out in a run.
const firstStored = 50_000_000

// conversationsShare is how many stored cases share a conversation.
const conversationsShare = 10

// storeCases puts n closed cases, with what a closed case has, into the
// database: the message that opened it, its answer, its history.
func storeCases(ctx context.Context, log *slog.Logger, address string, ready sample.Ready, n int) error {
	d, err := db.Open(ctx, db.Options{URL: address, MaxConns: 4, Logger: log})
	if err != nil {
		return err
	}
	defer d.Close()
	batch := 5000
	if d.Engine() == db.EngineSQLite {
		batch = 500 // a write transaction there is not to last
	}
	began := time.Now()
	for from := 0; from < n; from += batch {
		rows := storedRows(ready, from, min(batch, n-from), began)
		if err := d.InTx(ctx, "load.store", func(ctx context.Context, tx *db.Tx) error { return insertStored(ctx, tx, rows) }); err != nil {
			return fmt.Errorf("store closed cases: %w", err)
		}
		if (from/batch)%20 == 19 {
			log.Info("closed cases stored", "n", from+batch, "of", n)
		}
	}
	if d.Engine() == db.EnginePostgres {
		// The planner would learn it by itself, only later.
		if _, err := d.ExecContext(ctx, "ANALYZE"); err != nil {
			return fmt.Errorf("analyze: %w", err)
		}
	}
	log.Info("closed cases stored", "n", n, "seconds", time.Since(began).Seconds())
	return nil
}

// storedRow is one closed case and the rows beside it.
type storedRow struct {
	ID             string  `json:"id"`
	No             string  `json:"no"`
	Queue          string  `json:"queue_id"`
	ConversationID string  `json:"conversation_id"`
	OpenID         string  `json:"openid"`
	ResidentID     string  `json:"resident_id"`
	MessageID      string  `json:"mid"`
	Text           string  `json:"body"`
	OpenedAt       db.Time `json:"opened_at"`
	ClosedAt       db.Time `json:"closed_at"`
	Day            string  `json:"day"`
	First          bool    `json:"first"` // of its conversation
}

func storedCols() []db.Col {
	return []db.Col{db.TextCol("id"), db.TextCol("no"), db.TextCol("queue_id"), db.TextCol("conversation_id"), db.TextCol("openid"),
		db.TextCol("resident_id"), db.TextCol("mid"), db.TextCol("body"), db.TimeCol("opened_at"), db.TimeCol("closed_at"), db.TextCol("day"), db.BoolCol("first")}
}

func storedRows(ready sample.Ready, from, n int, now time.Time) []storedRow {
	texts := matters()
	rows := make([]storedRow, n)
	for i := range rows {
		k := from + i
		talk := k / conversationsShare
		opened := now.Add(-time.Duration(k%1_000_000+10_000) * time.Minute / 2)
		rows[i] = storedRow{
			ID: db.NewID(), No: checked(firstStored + int64(k)), Queue: ready.Queues[k%len(ready.Queues)].ID,
			ConversationID: fmt.Sprintf("stored-%09d", talk), OpenID: fmt.Sprintf("oStored%09d", talk), ResidentID: fmt.Sprintf("stored-%09d", talk),
			MessageID: db.NewID(), Text: texts[k%len(texts)], OpenedAt: db.At(opened),
			ClosedAt: db.At(opened.Add(time.Duration(30+rand.IntN(600)) * time.Minute)), //nolint:gosec // no secret
			Day:      opened.Format(time.DateOnly), First: k%conversationsShare == 0,
		}
	}
	return rows
}

// checked appends the check digit.
func checked(n int64) string {
	s := strconv.FormatInt(n, 10)
	for digit := range 10 {
		if no := s + strconv.Itoa(digit); desk.ValidNo(no) {
			return no
		}
	}
	panic("every number has one right check digit")
}

func insertStored(ctx context.Context, tx *db.Tx, rows []storedRow) error {
	from := ` from ` + db.Rows(tx, "$1", storedCols()...) + ` as r `
	company := "'" + sample.CompanyID + "'"
	account := "'" + sample.AccountID + "'"
	for what, statement := range map[string]string{
		"conversations": `insert into conversations (id, company_id, account_id, openid, following, following_at, opened_at)
			select r.conversation_id, ` + company + `, ` + account + `, r.openid, true, r.opened_at, r.opened_at` + from + `where r.first`,
		"messages": `insert into messages (id, conversation_id, company_id, account_id, openid, kind, type, event, event_key, body, menu_id,
			media_id, msg_id, detail, raw, hash, dedupe_key, nonce_key, opens, quiet, sent_at, received_at)
			select r.mid, r.conversation_id, ` + company + `, ` + account + `, r.openid, 'message', 'text', '', '', r.body, '', '', r.mid, '', r.body,
			r.mid, r.mid, r.mid, 'message', false, r.opened_at, r.opened_at` + from + `where true`,
		"answers": `insert into answers (message_id, carrier, decided_at, answered_at, kind, body, options)
			select r.mid, 'exchange', r.opened_at, r.opened_at, 'text', r.body, ''` + from + `where true`,
		"cases": `insert into cases (id, company_id, project_id, no, state, kind, category, priority, queue_id, resident_id, conversation_id,
			account_id, openid, owner_id, summary, body, mode, measures, follow_up, rating, opened_at, opened_day, promised_at, accept_by,
			accepted_at, handled_at, closed_at, source_id, version)
			select r.id, ` + company + `, '` + sample.ProjectID + `', r.no, 'closed', 'repair', 'engineering', 'normal', r.queue_id, r.resident_id,
			r.conversation_id, ` + account + `, r.openid, 'stored', r.body, r.body, 'wechat', r.body, 'solved', 5, r.opened_at, r.day, r.closed_at,
			r.closed_at, r.opened_at, r.closed_at, r.closed_at, r.mid, 4` + from + `where true`,
		"events": `insert into case_events (case_id, seq, company_id, at, kind, body, from_state, to_state)
			select r.id, 1, ` + company + `, r.opened_at, 'opened', r.body, 'new', 'dispatched'` + from + `where true union all
			select r.id, 4, ` + company + `, r.closed_at, 'closed', r.body, 'handled', 'closed'` + from + `where true`,
	} {
		if _, err := tx.ExecContext(ctx, statement, db.RowsArg(rows)); err != nil {
			return errors.Join(fmt.Errorf("insert %s", what), err)
		}
	}
	return nil
}
