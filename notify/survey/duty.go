package survey

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// Times of the heartbeat: how often it beats, how long a closed case may be
// without a question, how far back it looks, and how long a survey may have
// invitations waiting without one leaving.
const (
	watchEvery  = 5 * time.Minute
	unaskedFor  = 10 * time.Minute
	unaskedBack = 48 * time.Hour
	stalledFor  = 2 * time.Hour
	watchLimit  = 500
)

// Kinds of alarms.
const (
	AlarmUnasked = "unasked"
	AlarmStalled = "stalled"
)

func (s *Surveys) nextWatch() jobs.Job {
	at := s.now().Add(watchEvery).Truncate(watchEvery)
	return jobs.Job{Kind: JobWatch, RunAt: at, UniqueKey: at.UTC().Format(time.RFC3339)}
}

// watch is the heartbeat: a closed case that nobody was asked about, and a
// survey whose invitations have stopped, are alarms on the supervisor's page and
// in the group of customer service. It mends what it can: a question whose job
// is gone gets it again.
func (s *Surveys) watch(ctx context.Context) error {
	dir, err := s.Companies.Directory(ctx)
	if err != nil {
		return fmt.Errorf("survey: company directory: %w", err)
	}
	var failed error
	for _, c := range dir.Companies() {
		if err := s.watchCases(ctx, c.ID); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return errors.Join(failed, s.watchSurveys(ctx), s.Ensure(ctx))
}

func (s *Surveys) watchCases(ctx context.Context, companyID string) error {
	now := s.now()
	since, err := s.watchedSince(ctx, companyID, now)
	if err != nil {
		return err
	}
	cases, err := s.Desk.ClosedSince(ctx, s.DB, companyID, db.At(since), db.At(now.Add(-unaskedFor)), watchLimit)
	if err != nil {
		return err
	}
	ids := make([]string, len(cases))
	for i, c := range cases {
		ids[i] = c.ID
	}
	known := map[string]bool{}
	rows, err := s.DB.QueryContext(ctx, `SELECT ref_id FROM survey_invitations WHERE company_id = $1 AND ref_id `+db.InStrings(s.DB, "$2"), companyID, db.Strings(s.DB, ids))
	if err != nil {
		return fmt.Errorf("survey: look for questions: %w", err)
	}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			rows.Close()
			return fmt.Errorf("survey: look for questions: %w", err)
		}
		known[id] = true
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("survey: look for questions: %w", err)
	}
	var failed error
	for _, c := range cases {
		if known[c.ID] {
			continue
		}
		failed = errors.Join(failed, s.raise(ctx, companyID, c.ProjectID, AlarmUnasked, c.No, "case_no", c.No))
	}
	return failed
}

// watchedSince is from when closed cases are looked at: two days back, and not
// before the first question was ever put, so that an installation that is
// brought up to date isn't flooded.
func (s *Surveys) watchedSince(ctx context.Context, companyID string, now time.Time) (time.Time, error) {
	var first db.Time
	err := s.DB.QueryRowContext(ctx, `SELECT min(created_at) FROM surveys WHERE company_id = $1 AND standing <> ''`, companyID).Scan(&first)
	if err != nil {
		return now, fmt.Errorf("survey: look for the first question: %w", err)
	}
	since := now.Add(-unaskedBack)
	if first.IsZero() || first.After(since) {
		if first.IsZero() {
			return since, nil
		}
		return first.Time, nil
	}
	return since, nil
}

func (s *Surveys) watchSurveys(ctx context.Context) error {
	list, err := manySurveys(ctx, s.DB, `state IN ('approved', 'running') AND standing = '' ORDER BY id`)
	if err != nil {
		return err
	}
	now := s.now()
	var failed error
	for _, x := range list {
		c, _, err := s.settings(ctx, x.CompanyID)
		if err != nil {
			return err
		}
		// Since when something could have left: the start, the last that left, or
		// this morning.
		since := x.StartsAt.Time
		for _, t := range []time.Time{x.facts.LastSent, x.ApprovedAt.Time, permitted(midnight(now), c.Settings.SurveyFrom, c.Settings.SurveyTo)} {
			if t.After(since) {
				since = t
			}
		}
		stalled := 0
		if permitted(now, c.Settings.SurveyFrom, c.Settings.SurveyTo).Equal(now) && now.Sub(since) >= stalledFor {
			if stalled, err = s.stuck(ctx, x, now); err != nil {
				failed = errors.Join(failed, err)
				continue
			}
		}
		if stalled == 0 {
			failed = errors.Join(failed, s.calm(ctx, x.CompanyID, AlarmStalled, x.No))
			continue
		}
		failed = errors.Join(failed, s.raise(ctx, x.CompanyID, x.ProjectID, AlarmStalled, x.No, "no", x.No, "title", x.Title, "count", strconv.Itoa(stalled)))
	}
	return failed
}

// stuck counts what should have left: invitations that wait for no outage, and
// deliveries that stand planned.
func (s *Surveys) stuck(ctx context.Context, x Survey, now time.Time) (int, error) {
	var n int
	err := s.DB.QueryRowContext(ctx, `SELECT count(*) FROM survey_invitations WHERE survey_id = $1 AND state = 'waiting' AND skip_code = ''`, x.ID).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("survey: count what is stuck: %w", err)
	}
	counts, err := s.Ledger.Counts(ctx, s.DB, RefSurvey, x.ID)
	if err != nil {
		return 0, fmt.Errorf("survey: count what is stuck: %w", err)
	}
	for _, c := range counts {
		if c.State == ledger.Planned {
			n += int(c.N)
		}
	}
	return n, nil
}

func midnight(t time.Time) time.Time {
	y, m, d := t.In(localTime()).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, localTime())
}

// raise opens an alarm, once, and tells the group of customer service.
func (s *Surveys) raise(ctx context.Context, companyID, projectID, kind, ref string, vars ...string) error {
	text, err := s.text("surveys.alarm_"+kind, vars...)
	if err != nil {
		return err
	}
	queues, err := s.Queues.All(ctx, s.DB, companyID)
	if err != nil {
		return fmt.Errorf("survey: queues: %w", err)
	}
	return s.DB.InTx(ctx, "survey.alarm", func(ctx context.Context, tx *db.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO survey_alarms (id, company_id, kind, ref, text, opened_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (company_id, kind, ref) DO UPDATE SET text = excluded.text, opened_at = excluded.opened_at, closed_at = NULL WHERE survey_alarms.closed_at IS NOT NULL AND excluded.kind = '`+AlarmStalled+`'`,
			db.NewID(), companyID, kind, ref, text.String(), db.At(s.now()))
		if err != nil {
			return fmt.Errorf("survey: raise an alarm: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		for _, q := range queues {
			if q.Line != desk.LineCustomerService || projectID != "" && q.ProjectID != projectID {
				continue
			}
			if err := s.tellGroupsTx(ctx, tx, companyID, q.ID, kind+":"+ref, text); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Surveys) tellGroupsTx(ctx context.Context, tx *db.Tx, companyID, queueID, ref string, text wording.Text) error {
	groups, err := s.Staff.GroupsOfQueue(ctx, tx, queueID)
	if err != nil {
		return fmt.Errorf("survey: groups of an alarm: %w", err)
	}
	for _, g := range groups {
		_, err := s.Ledger.PutTx(ctx, tx, ledger.New{
			CompanyID: companyID, Channel: ledger.ChannelGroup, AccountID: g.BotID, Address: g.ChatID, Lane: ledger.LaneCard, Class: ledger.ClassOther,
			Text: text, RefKind: RefAlarm, RefID: ref,
		})
		if err != nil {
			return fmt.Errorf("survey: tell of an alarm: %w", err)
		}
	}
	return nil
}

// calm closes an alarm whose cause is over.
func (s *Surveys) calm(ctx context.Context, companyID, kind, ref string) error {
	_, err := s.DB.ExecContext(ctx, `UPDATE survey_alarms SET closed_at = $4 WHERE company_id = $1 AND kind = $2 AND ref = $3 AND closed_at IS NULL`, companyID, kind, ref, db.At(s.now()))
	if err != nil {
		return fmt.Errorf("survey: close an alarm: %w", err)
	}
	return nil
}

// Alarms lists what a supervisor must look at, newest first.
func (s *Surveys) Alarms(ctx context.Context, companyID string) ([]Alarm, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT id, kind, ref, text, opened_at FROM survey_alarms WHERE company_id = $1 AND closed_at IS NULL ORDER BY opened_at DESC, id DESC LIMIT 200`, companyID)
	if err != nil {
		return nil, fmt.Errorf("survey: read alarms: %w", err)
	}
	defer rows.Close()
	list := []Alarm{}
	for rows.Next() {
		var a Alarm
		var at db.Time
		if err := rows.Scan(&a.ID, &a.Kind, &a.Ref, &a.Text, &at); err != nil {
			return nil, fmt.Errorf("survey: read alarms: %w", err)
		}
		a.OpenedAt = Time{Time: at.Time}
		list = append(list, a)
	}
	return list, rows.Err()
}

// Settle closes an alarm that somebody has looked at.
func (s *Surveys) Settle(ctx context.Context, by By, id string) error {
	if !may(by, staff.RightSupervise) {
		return s.refuse(refusedForbidden, "what", "处理告警、管理")
	}
	return s.DB.InTx(ctx, "survey.settle", func(ctx context.Context, tx *db.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE survey_alarms SET closed_at = $3 WHERE company_id = $1 AND id = $2 AND closed_at IS NULL`, by.CompanyID, id, db.At(s.now()))
		if err != nil {
			return fmt.Errorf("survey: close an alarm: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, s.refuse(refusedNotFound))
		}
		return s.Staff.AuditTx(ctx, tx, staff.Entry{CompanyID: by.CompanyID, Actor: by.UserID, Action: "survey.alarm_settled", Object: id, At: s.now()})
	})
}

// Mute keeps a resident from being asked until a moment, such as after a
// bereavement. Who may see it is who may supervise.
func (s *Surveys) Mute(ctx context.Context, by By, m Mute) error {
	if !may(by, staff.RightSupervise) {
		return s.refuse(refusedForbidden, "what", "暂停")
	}
	if m.Kind == "" {
		m.Kind = "other"
	}
	return s.DB.InTx(ctx, "survey.mute", func(ctx context.Context, tx *db.Tx) error {
		if _, ok, err := s.Estate.ResidentByID(ctx, tx, by.CompanyID, m.ResidentID); err != nil || !ok {
			return errors.Join(err, s.refuse(refusedNotFound))
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO mutes (company_id, resident_id, kind, until, by_user, at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (company_id, resident_id, kind) DO UPDATE SET until = excluded.until, by_user = excluded.by_user, at = excluded.at`,
			by.CompanyID, m.ResidentID, m.Kind, db.At(m.Until.Time), by.UserID, db.At(s.now()))
		if err != nil {
			return fmt.Errorf("survey: mute: %w", err)
		}
		// The audit says that it was done, not why: access to the reason is limited.
		return s.Staff.AuditTx(ctx, tx, staff.Entry{CompanyID: by.CompanyID, Actor: by.UserID, Action: "survey.mute", Object: m.ResidentID, At: s.now()})
	})
}

// Mutes lists who is not asked at present.
func (s *Surveys) Mutes(ctx context.Context, by By) ([]Mute, error) {
	if !may(by, staff.RightSupervise) {
		return nil, s.refuse(refusedForbidden, "what", "查看")
	}
	rows, err := s.DB.QueryContext(ctx, `SELECT resident_id, kind, until, by_user FROM mutes WHERE company_id = $1 AND until > $2 ORDER BY until LIMIT 1000`, by.CompanyID, db.At(s.now()))
	if err != nil {
		return nil, fmt.Errorf("survey: read mutes: %w", err)
	}
	defer rows.Close()
	list := []Mute{}
	for rows.Next() {
		var m Mute
		var until db.Time
		if err := rows.Scan(&m.ResidentID, &m.Kind, &until, &m.By); err != nil {
			return nil, fmt.Errorf("survey: read mutes: %w", err)
		}
		m.Until = Time{Time: until.Time}
		list = append(list, m)
	}
	return list, rows.Err()
}

// muted tells whether a resident must not be asked now.
func (s *Surveys) muted(ctx context.Context, q querier, companyID, residentID string) (yes bool, err error) {
	err = q.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM mutes WHERE company_id = $1 AND resident_id = $2 AND until > $3)`, companyID, residentID, db.At(s.now())).Scan(&yes)
	if err != nil {
		return false, fmt.Errorf("survey: read mutes: %w", err)
	}
	return yes, nil
}

// ConsentTx keeps that a resident agreed to SMS of the class 推广, and where.
func (s *Surveys) ConsentTx(ctx context.Context, tx *db.Tx, companyID, residentID, source string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO sms_consents (company_id, resident_id, source, at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (company_id, resident_id) DO UPDATE SET source = excluded.source, at = excluded.at`, companyID, residentID, source, db.At(s.now()))
	if err != nil {
		return fmt.Errorf("survey: keep a consent: %w", err)
	}
	return nil
}

func (s *Surveys) consented(ctx context.Context, companyID, residentID string) (yes bool, err error) {
	err = s.DB.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sms_consents WHERE company_id = $1 AND resident_id = $2)`, companyID, residentID).Scan(&yes)
	if err != nil {
		return false, fmt.Errorf("survey: read consents: %w", err)
	}
	return yes, nil
}
