package survey

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/wording"
)

// Jobs of surveys. One job looks after a survey from approval to its end; one
// asks after a single case; one opens the follow-up of a low score; one is the
// heartbeat, a chain that puts its successor.
const (
	JobRun   = "survey.run"
	JobAsk   = "survey.ask"
	JobLow   = "survey.low"
	JobWatch = "survey.watch"
)

type jobArgs struct {
	ID string `json:"id"`
}

// Handle registers the jobs. Call it before the runner starts.
func (s *Surveys) Handle(r *jobs.Runner) {
	for kind, f := range map[string]func(context.Context, string) (time.Duration, error){JobRun: s.step, JobAsk: s.ask, JobLow: s.low} {
		r.Handle(kind, func(ctx context.Context, raw json.RawMessage) error {
			var a jobArgs
			if err := json.Unmarshal(raw, &a); err != nil || a.ID == "" {
				return jobs.Permanent(fmt.Errorf("survey: job %s without an id", kind))
			}
			again, err := f(ctx, a.ID)
			if err != nil || again == 0 {
				return err
			}
			return jobs.Later(again)
		})
	}
	r.Handle(JobWatch, func(ctx context.Context, _ json.RawMessage) error {
		failed := s.watch(ctx)
		err := s.DB.InTx(ctx, "survey.next_watch", func(ctx context.Context, tx *db.Tx) error {
			return s.Jobs.PutTx(ctx, tx, s.nextWatch())
		})
		return errors.Join(failed, err)
	})
}

// Ensure puts the jobs of every survey and question that is under way, and the
// heartbeat, should one be missing; call it at each start.
func (s *Surveys) Ensure(ctx context.Context) error {
	list, err := manySurveys(ctx, s.DB, `state IN ('approved', 'running') AND standing = '' ORDER BY id`)
	if err != nil {
		return err
	}
	waiting, err := s.waitingAsks(ctx)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, "survey.ensure", func(ctx context.Context, tx *db.Tx) error {
		for _, x := range list {
			if err := s.Jobs.PutTx(ctx, tx, runJob(x.ID, time.Time{})); err != nil {
				return err
			}
		}
		for _, id := range waiting {
			if err := s.Jobs.PutTx(ctx, tx, askJob(id)); err != nil {
				return err
			}
		}
		return s.Jobs.PutTx(ctx, tx, s.nextWatch())
	})
}

// step takes a survey as far as it can go now and says when to look again;
// zero: never. Two at once do no harm: each change is a compare-and-set.
func (s *Surveys) step(ctx context.Context, id string) (time.Duration, error) {
	for try := 0; ; try++ {
		again, err := s.stepOnce(ctx, id)
		if errors.Is(err, errStale) && try < changeRetries {
			continue
		}
		return again, err
	}
}

// How soon a survey is looked at again while something of it waits for the end
// of an outage, and at least.
const (
	outageEvery = 5 * time.Minute
	stepEvery   = time.Hour
)

func (s *Surveys) stepOnce(ctx context.Context, id string) (time.Duration, error) {
	x, ok, err := oneSurvey(ctx, s.DB, `id = $1`, id)
	if err != nil || !ok || x.State != Approved && x.State != Running {
		return 0, err
	}
	now := s.now()
	if !now.Before(x.EndsAt.Time) {
		_, err := s.change(ctx, system(x.CompanyID), x.ID, "结束", func(ctx context.Context, tx *db.Tx, x *Survey) error {
			if x.State != Approved && x.State != Running {
				return s.wrongState(*x, "结束")
			}
			return s.endTx(ctx, tx, x, system(x.CompanyID), Closed)
		})
		var no *Refused
		if err != nil && !errors.As(err, &no) {
			return 0, err
		}
		s.cancelRows(ctx, x)
		return 0, nil
	}
	if wait := x.StartsAt.Sub(now); wait > 0 {
		return wait, nil
	}
	c, dir, err := s.settings(ctx, x.CompanyID)
	if err != nil {
		return 0, err
	}
	open := permitted(now, c.Settings.SurveyFrom, c.Settings.SurveyTo)
	if open.After(now) {
		if err := s.hold(ctx, x, true); err != nil {
			return 0, err
		}
		return sooner(open.Sub(now), x.EndsAt.Sub(now)), nil
	}
	if err := s.hold(ctx, x, false); err != nil {
		return 0, err
	}
	w := &wave{s: s, id: x.ID, now: now}
	sign := ""
	if acc, ok := dir.SMSOf(c.ID); ok {
		w.smsAccount, sign = acc.ID, acc.Sign
	}
	w.texts, _ = s.render(c, x.Draft, x.ProjectName, sign)
	if w.troubled, w.all, err = s.troubled(ctx, x.CompanyID, x.ProjectID); err != nil {
		return 0, err
	}
	s.point("survey.wave")
	waiting, err := w.send(ctx)
	if err != nil {
		return 0, err
	}
	next, err := w.remind(ctx)
	if err != nil {
		return 0, err
	}
	s.point("survey.sent")
	again := sooner(stepEvery, hoursEnd(now, c.Settings.SurveyTo).Sub(now), x.EndsAt.Sub(now))
	if waiting > 0 {
		again = sooner(again, outageEvery)
	}
	if next > 0 {
		again = sooner(again, next)
	}
	return again, nil
}

func sooner(list ...time.Duration) time.Duration { return max(slices.Min(list), time.Second) }

// hold keeps a survey's deliveries from leaving outside the permitted hours.
func (s *Surveys) hold(ctx context.Context, x Survey, held bool) error {
	if x.facts.held == held {
		return nil
	}
	return s.DB.InTx(ctx, "survey.hold", func(ctx context.Context, tx *db.Tx) error {
		for _, kind := range []string{RefSurvey, RefReminder} {
			var err error
			if held {
				err = s.Ledger.HoldTx(ctx, tx, kind, x.ID, "hours")
			} else {
				err = s.Ledger.FreeTx(ctx, tx, kind, x.ID)
			}
			if err != nil {
				return err
			}
		}
		y, ok, err := oneSurvey(ctx, tx, `id = $1`, x.ID)
		if err != nil || !ok {
			return err
		}
		y.facts.held = held
		return updateTx(ctx, tx, &y)
	})
}

// wave is one look at a survey in permitted hours: it lets the invitations go
// that wait, and the reminders that are due.
type wave struct {
	s          *Surveys
	id         string
	smsAccount string
	texts      texts4
	troubled   []string
	all        bool
	now        time.Time
}

// lock reads the survey for a change; nothing to do when it has ended.
func (w *wave) lock(ctx context.Context, tx *db.Tx) (Survey, bool, error) {
	x, ok, err := oneSurvey(ctx, tx, `id = $1`, w.id)
	return x, ok && (x.State == Approved || x.State == Running), err
}

// send makes deliveries of the invitations that wait, save those in buildings
// with trouble, by one statement a channel, and says how many still wait. Who
// was muted or opted out since the approval is skipped.
func (w *wave) send(ctx context.Context) (waiting int, err error) {
	err = w.s.DB.InTx(ctx, "survey.send", func(ctx context.Context, tx *db.Tx) error {
		waiting = 0
		x, ok, err := w.lock(ctx, tx)
		if err != nil || !ok {
			return err
		}
		var any int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM survey_invitations WHERE survey_id = $1 AND state = 'waiting'`, x.ID).Scan(&any); err != nil {
			return fmt.Errorf("survey: look for invitations: %w", err)
		}
		if any == 0 && x.State == Running {
			return nil
		}
		started := x.State == Approved
		if started {
			x.State, x.StartedAt = Running, Time{Time: w.now}
			if x.RemindAfterDays != nil && *x.RemindAfterDays > 0 {
				x.RemindAt = Time{Time: w.now.AddDate(0, 0, *x.RemindAfterDays)}
			}
			if err := eventTx(ctx, tx, x.ID, "started", system(x.CompanyID), w.now, ""); err != nil {
				return err
			}
		}
		gone, err := w.askTx(ctx, tx, x)
		if err != nil {
			return err
		}
		if gone > 0 {
			x.facts.LastSent = w.now
		}
		waiting = any - int(gone)
		if gone > 0 || started {
			if err := w.s.recountTx(ctx, tx, x); err != nil {
				return err
			}
		}
		return updateTx(ctx, tx, &x)
	})
	return waiting, err
}

func (w *wave) askTx(ctx context.Context, tx *db.Tx, x Survey) (int64, error) {
	var gone int64
	res, err := tx.ExecContext(ctx, `
		UPDATE survey_invitations SET state = 'skipped', skip_code = '`+SkipMuted+`'
		WHERE survey_id = $1 AND state = 'waiting' AND resident_id IN (SELECT resident_id FROM mutes WHERE company_id = $2 AND until > $3)`,
		x.ID, x.CompanyID, db.At(w.now))
	if err != nil {
		return 0, fmt.Errorf("survey: skip the muted: %w", err)
	}
	if gone, err = res.RowsAffected(); err != nil {
		return 0, err
	}
	outs, outArgs := w.s.Estate.OptedOut(x.CompanyID, optOutClass, 2)
	if res, err = tx.ExecContext(ctx, `
		UPDATE survey_invitations SET state = 'skipped', skip_code = '`+SkipOptOut+`'
		WHERE survey_id = $1 AND state = 'waiting' AND resident_id || ':' || channel IN (`+outs+`)`, append([]any{x.ID}, outArgs...)...); err != nil {
		return 0, fmt.Errorf("survey: skip who opted out: %w", err)
	}
	left, err := res.RowsAffected()
	if err != nil {
		return 0, err
	}
	gone += left
	args := []any{x.ID, db.At(w.now)}
	where := ""
	switch {
	case w.all:
		where = ` AND 1 = 0`
	case len(w.troubled) > 0:
		args = append(args, db.Strings(tx, w.troubled))
		where = ` AND NOT building ` + db.InStrings(tx, "$3")
	}
	if res, err = tx.ExecContext(ctx, `UPDATE survey_invitations SET state = 'asked', skip_code = '', asked_at = $2, talked_at = $2 WHERE survey_id = $1 AND state = 'waiting'`+where, args...); err != nil {
		return 0, fmt.Errorf("survey: mark who is asked: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, err
	}
	// Those left wait for the end of an outage, and say so.
	if _, err := tx.ExecContext(ctx, `UPDATE survey_invitations SET skip_code = '`+SkipOutage+`' WHERE survey_id = $1 AND state = 'waiting' AND skip_code = ''`, x.ID); err != nil {
		return 0, fmt.Errorf("survey: mark who waits: %w", err)
	}
	if n == 0 {
		return gone, nil
	}
	for _, ch := range x.Channels {
		b := bulk(x, ch, RefSurvey, w.texts.sms, w.texts.tmpl)
		b.Rows, b.Args = w.rows(ch, `asked_at = $4`, prefixOf(ch, false)), []any{x.ID, ch, w.smsAccount, db.At(w.now)}
		if _, err := w.s.Ledger.PutBulkTx(ctx, tx, b); err != nil {
			return 0, err
		}
	}
	return gone + n, nil
}

// bulk is what all deliveries of a channel have in common. A class of its own
// keeps them from being sent again when nobody knows what became of them.
func bulk(x Survey, ch, ref string, sms wording.SMS, tmpl wording.Message) ledger.Bulk {
	b := ledger.Bulk{
		CompanyID: x.CompanyID, Channel: ch, Lane: ledger.LaneBulk, Class: ledger.ClassSurvey, RefKind: ref, RefID: x.ID, ValidUntil: x.EndsAt.Time, Text: tmpl.Text,
		Payload: map[string]any{"purpose": tmpl.Purpose, "fields": tmpl.Data, "link": linkPayload{Expires: x.EndsAt.Unix()}},
	}
	if ch == ChannelSMS {
		b.Text, b.Payload = sms.Text, map[string]any{"purpose": sms.Purpose, "params": sms.Params}
	}
	return b
}

// rows selects the deliveries of a channel.
func (w *wave) rows(ch, which, prefix string) string {
	return `SELECT '` + prefix + `' || id AS id, CASE WHEN channel = 'sms' THEN cast($3 as text) ELSE account_id END AS account_id, address, '' AS skip_code, '' AS plan
		FROM survey_invitations WHERE survey_id = $1 AND channel = $2 AND state = 'asked' AND ` + which
}

// prefixOf tells a delivery's channel and round apart; the rest of its id is the
// invitation's.
func prefixOf(ch string, reminder bool) string {
	switch {
	case ch == ChannelSMS && reminder:
		return "v"
	case ch == ChannelSMS:
		return "s"
	case reminder:
		return "u"
	}
	return "t"
}

// remind writes once more to who was asked the set days ago and has not
// answered, and says when the next becomes due.
func (w *wave) remind(ctx context.Context) (next time.Duration, err error) {
	err = w.s.DB.InTx(ctx, "survey.remind", func(ctx context.Context, tx *db.Tx) error {
		next = 0
		x, ok, err := w.lock(ctx, tx)
		if err != nil || !ok || x.RemindAfterDays == nil || *x.RemindAfterDays == 0 {
			return err
		}
		days := *x.RemindAfterDays
		var oldest db.Time
		if err := tx.QueryRowContext(ctx, `SELECT min(asked_at) FROM survey_invitations WHERE survey_id = $1 AND state = 'asked' AND reminded_at IS NULL`, x.ID).Scan(&oldest); err != nil {
			return fmt.Errorf("survey: look for reminders: %w", err)
		}
		if oldest.IsZero() {
			return nil
		}
		if due := oldest.AddDate(0, 0, days); due.After(w.now) {
			next = due.Sub(w.now)
			return nil
		}
		n, err := w.markReminders(ctx, tx, x, w.now.AddDate(0, 0, -days))
		if err != nil || n == 0 {
			return err
		}
		for _, ch := range x.Channels {
			b := bulk(x, ch, RefReminder, w.texts.remindSMS, w.texts.remindTmpl)
			b.Rows, b.Args = w.rows(ch, `reminded_at = $4`, prefixOf(ch, true)), []any{x.ID, ch, w.smsAccount, db.At(w.now)}
			if _, err := w.s.Ledger.PutBulkTx(ctx, tx, b); err != nil {
				return err
			}
		}
		if err := w.s.recountTx(ctx, tx, x); err != nil {
			return err
		}
		return eventTx(ctx, tx, x.ID, "reminded", system(x.CompanyID), w.now, strconv.FormatInt(n, 10))
	})
	return next, err
}

// markReminders marks who is reminded: asked before, not answered (nor anybody
// of his home where homes count), not muted since, and not opted out since.
// Rows that are due and not reminded are marked too, with no reminder to send,
// by leaving state asked: they would be looked at for ever otherwise.
func (w *wave) markReminders(ctx context.Context, tx *db.Tx, x Survey, before time.Time) (int64, error) {
	where := `survey_id = $1 AND state = 'asked' AND reminded_at IS NULL AND asked_at <= $2`
	if x.Anonymous {
		if err := w.markUsed(ctx, tx, x, where, before); err != nil {
			return 0, err
		}
	} else {
		// The home of somebody who answered counts as answered.
		if _, err := tx.ExecContext(ctx, `UPDATE survey_invitations SET state = 'over' WHERE `+where+`
			AND EXISTS (SELECT 1 FROM survey_answers a WHERE a.survey_id = $1 AND a.count_key = survey_invitations.count_key)`, x.ID, db.At(before)); err != nil {
			return 0, fmt.Errorf("survey: leave out who answered: %w", err)
		}
	}
	outs, args := w.s.Estate.OptedOut(x.CompanyID, optOutClass, 5)
	_, err := tx.ExecContext(ctx, `UPDATE survey_invitations SET state = 'over' WHERE `+where+` AND (
		resident_id IN (SELECT resident_id FROM mutes WHERE company_id = $3 AND until > $4)
		OR resident_id || ':' || channel IN (`+outs+`))`, append([]any{x.ID, db.At(before), x.CompanyID, db.At(w.now)}, args...)...)
	if err != nil {
		return 0, fmt.Errorf("survey: leave out who wants none: %w", err)
	}
	res, err := tx.ExecContext(ctx, `UPDATE survey_invitations SET reminded_at = $3 WHERE `+where, x.ID, db.At(before), db.At(w.now))
	if err != nil {
		return 0, fmt.Errorf("survey: mark who is reminded: %w", err)
	}
	return res.RowsAffected()
}

// usedBatch is how many invitations of an anonymous survey are compared with
// the used links at a time.
const usedBatch = 2000

// markUsed leaves out those of an anonymous survey whose link has been used. The
// hashes are made here, since their key is not in the database. That somebody
// answered shows afterwards by his not being reminded; what he answered does
// not, because nothing that is kept of an anonymous answer says where or when.
func (w *wave) markUsed(ctx context.Context, tx *db.Tx, x Survey, where string, before time.Time) error {
	used := map[string]bool{}
	rows, err := tx.QueryContext(ctx, `SELECT hash FROM survey_used WHERE survey_id = $1`, x.ID)
	if err != nil {
		return fmt.Errorf("survey: read used links: %w", err)
	}
	for rows.Next() {
		var h string
		if err := rows.Scan(&h); err != nil {
			rows.Close()
			return fmt.Errorf("survey: read used links: %w", err)
		}
		used[h] = true
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("survey: read used links: %w", err)
	}
	if len(used) == 0 {
		return nil
	}
	type due struct{ id, key string }
	var all []due
	rows, err = tx.QueryContext(ctx, `SELECT id, count_key FROM survey_invitations WHERE `+where, x.ID, db.At(before))
	if err != nil {
		return fmt.Errorf("survey: read who is due: %w", err)
	}
	for rows.Next() {
		var d due
		if err := rows.Scan(&d.id, &d.key); err != nil {
			rows.Close()
			return fmt.Errorf("survey: read who is due: %w", err)
		}
		all = append(all, d)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("survey: read who is due: %w", err)
	}
	for part := range slices.Chunk(all, usedBatch) {
		var ids []string
		for _, d := range part {
			if used[w.s.usedHash(x.ID, d.key)] {
				ids = append(ids, d.id)
			}
		}
		if _, err := tx.ExecContext(ctx, `UPDATE survey_invitations SET state = 'over' WHERE id `+db.InStrings(tx, "$1"), db.Strings(tx, ids)); err != nil {
			return fmt.Errorf("survey: leave out who answered: %w", err)
		}
	}
	return nil
}

// usedHash says that what counts once has been used, to who has the key alone.
func (s *Surveys) usedHash(surveyID, countKey string) string {
	return hex.EncodeToString(s.Sealer.MAC("survey.used."+surveyID, []byte(countKey)))
}

// recountTx brings the counts of a survey's invitations up to date, by one pass
// over them.
func (s *Surveys) recountTx(ctx context.Context, tx *db.Tx, x Survey) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM survey_counts WHERE survey_id = $1 AND (category IN ('#asked', '#waiting', '#reminded') OR category LIKE '#skip:%')`, x.ID); err != nil {
		return fmt.Errorf("survey: recount invitations: %w", err)
	}
	key := "id"
	if x.Count == CountHome {
		key = "count_key"
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO survey_counts (survey_id, category, building, month, score, n)
		SELECT survey_id, '#asked', building, '', 0, count(DISTINCT `+key+`) FROM survey_invitations WHERE survey_id = $1 AND asked_at IS NOT NULL GROUP BY survey_id, building
		UNION ALL
		SELECT survey_id, CASE WHEN state = 'waiting' THEN '#waiting' ELSE '#skip:' || skip_code END, building, '', 0, count(*) FROM survey_invitations
		WHERE survey_id = $1 AND state IN ('waiting', 'skipped') GROUP BY survey_id, CASE WHEN state = 'waiting' THEN '#waiting' ELSE '#skip:' || skip_code END, building
		UNION ALL
		SELECT survey_id, '#reminded', building, '', 0, count(*) FROM survey_invitations WHERE survey_id = $1 AND reminded_at IS NOT NULL GROUP BY survey_id, building`, x.ID)
	if err != nil {
		return fmt.Errorf("survey: recount invitations: %w", err)
	}
	return nil
}
