package survey

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/jobs"
	"guanjia/internal/staff"
)

// Compose completes, checks, counts and prices a draft and stores it as one,
// problems and all. Only who may write notices may: *Refused otherwise.
func (s *Surveys) Compose(ctx context.Context, by By, d Draft) (Survey, error) {
	if !may(by, staff.RightWriteNotice) {
		return Survey{}, s.refuse(refusedForbidden, "what", "拟写")
	}
	x, err := s.examine(ctx, by.CompanyID, d, true)
	if err != nil {
		return Survey{}, err
	}
	var out Survey
	err = s.DB.InTx(ctx, "survey.compose", func(ctx context.Context, tx *db.Tx) error {
		out = Survey{ID: db.NewID(), CompanyID: by.CompanyID, State: Drafted, Author: by.UserID, AuthorName: by.Name, CreatedAt: Time{Time: s.now()}, version: 1}
		x.into(&out)
		number, err := nextNoTx(ctx, tx, by.CompanyID)
		if err != nil {
			return err
		}
		out.No = formatNo(number)
		ok, err := insertTx(ctx, tx, out, number, "")
		if err != nil || !ok {
			return errors.Join(err, errStale)
		}
		return s.recordTx(ctx, tx, out, by, "drafted", out.Title)
	})
	return out, err
}

// Revise replaces what a draft says.
func (s *Surveys) Revise(ctx context.Context, by By, id string, d Draft) (Survey, error) {
	by, err := s.fresh(ctx, by)
	if err != nil {
		return Survey{}, err
	}
	x, err := s.examine(ctx, by.CompanyID, d, true)
	if err != nil {
		return Survey{}, err
	}
	return s.change(ctx, by, id, "修改", func(ctx context.Context, tx *db.Tx, out *Survey) error {
		if !may(by, staff.RightWriteNotice) {
			return s.refuse(refusedForbidden, "what", "修改")
		}
		if out.State != Drafted {
			return s.wrongState(*out, "修改")
		}
		// Who revised it has written it: he does not approve it.
		out.Author, out.AuthorName = by.UserID, by.Name
		x.into(out)
		if err := updateTx(ctx, tx, out); err != nil {
			return err
		}
		return s.recordTx(ctx, tx, *out, by, "drafted", out.Title)
	})
}

// recordTx writes a line of the survey's history and of the audit.
func (s *Surveys) recordTx(ctx context.Context, tx *db.Tx, x Survey, by By, kind, text string) error {
	at := s.now()
	if err := eventTx(ctx, tx, x.ID, kind, by, at, text); err != nil {
		return err
	}
	actor := by.UserID
	if actor == "" {
		actor = "system"
	}
	return s.Staff.AuditTx(ctx, tx, staff.Entry{CompanyID: x.CompanyID, Actor: actor, Action: "survey." + kind, Object: x.ID, Detail: x.No, At: at})
}

func (s *Surveys) wrongState(x Survey, what string) *Refused {
	return s.refuse(refusedState, "no", x.No, "state", s.Book.Label("survey_state", string(x.State)), "what", what)
}

// Approve freezes the sample of a draft and lets it run: state, sample and job
// in one transaction of a few statements, however many homes there are. It
// examines the draft again, since time has passed and templates may have gone.
// Approving takes the right to approve notices. Who has it may approve what he
// wrote: four eyes are asked of notices, not of questions.
func (s *Surveys) Approve(ctx context.Context, by By, id string) (Survey, error) {
	by, err := s.fresh(ctx, by)
	if err != nil {
		return Survey{}, err
	}
	was, err := s.ByID(ctx, by.CompanyID, id)
	if err != nil {
		return Survey{}, err
	}
	switch {
	case was.State != Drafted:
		return was, s.wrongState(was, "批准")
	case !may(by, staff.RightApproveNotice):
		return was, s.refuse(refusedForbidden, "what", "批准")
	}
	x, err := s.examine(ctx, by.CompanyID, was.Draft, false)
	if err != nil {
		return Survey{}, err
	}
	// The homes were counted at drafting; the frozen rows are counted below.
	x.facts.Audience, x.facts.CostFen, x.facts.Filled = was.facts.Audience, was.facts.CostFen, was.facts.Filled
	if was.facts.Audience.Template+was.facts.Audience.SMS == 0 && len(x.facts.Problems) == 0 {
		(&examiner{s: s, x: x}).problem("scope", "nobody")
	}
	if len(x.facts.Problems) > 0 {
		return s.stillProblems(ctx, by, was, x)
	}
	c, dir, err := s.settings(ctx, by.CompanyID)
	if err != nil {
		return Survey{}, err
	}
	sample, err := s.sampleQuery(ctx, c, dir, x.projectID, x.draft)
	if err != nil {
		return Survey{}, err
	}
	var out Survey
	err = s.DB.InTx(ctx, "survey.approve", func(ctx context.Context, tx *db.Tx) error {
		out = was
		x.into(&out)
		now := s.now()
		out.State, out.ApprovedBy, out.ApproverName, out.ApprovedAt = Approved, by.UserID, by.Name, Time{Time: now}
		if out.StartsAt.Before(now) {
			out.StartsAt = Time{Time: now}
		}
		if err := s.freezeTx(ctx, tx, &out, sample); err != nil {
			return err
		}
		if err := updateTx(ctx, tx, &out); err != nil {
			return err
		}
		if err := s.recordTx(ctx, tx, out, by, "approved", strconv.Itoa(out.Audience.People)); err != nil {
			return err
		}
		return s.Jobs.PutTx(ctx, tx, runJob(out.ID, time.Time{}))
	})
	if errors.Is(err, errStale) {
		return s.lost(ctx, by, id, "批准")
	}
	if err != nil {
		return Survey{}, err
	}
	s.point("survey.approved")
	return out, nil
}

// freezeTx writes the sample as it is now: one statement, and one that counts
// the skipped by reason.
func (s *Surveys) freezeTx(ctx context.Context, tx *db.Tx, x *Survey, sample querySample) error {
	args := append([]any{}, sample.args...)
	param := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	id, company, hex := param(x.ID), param(x.CompanyID), param(strings.ReplaceAll(x.ID, "-", ""))
	counted := "p.resident_id"
	if x.Count == CountHome {
		counted = "p.unit_id"
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO survey_invitations (id, survey_id, company_id, person, resident_id, name, unit_id, unit, building, count_key, ref_id, ref_no,
			channel, account_id, address, state, skip_code, asking, doubted, created_at)
		SELECT cast(`+hex+` as text) || substr(cast(100000000 + row_number() OVER () as text), 2), cast(`+id+` as text), cast(`+company+` as text), p.resident_id, p.resident_id, p.name, p.unit_id, p.unit, p.building,
		       `+counted+`, '', '', CASE WHEN p.skip_code = '' THEN p.channel ELSE '' END, p.account_id, p.address,
		       CASE WHEN p.skip_code = '' THEN 'waiting' ELSE 'skipped' END, p.skip_code, '', false, `+db.TimeParam(tx, param(db.At(s.now())))+`
		FROM (`+sample.text+`) p`, args...)
	if err != nil {
		return fmt.Errorf("survey: freeze the sample: %w", err)
	}
	return nil
}

// stillProblems stores what keeps a draft from being approved, and refuses.
func (s *Surveys) stillProblems(ctx context.Context, by By, was Survey, x *examination) (Survey, error) {
	out := was
	err := s.DB.InTx(ctx, "survey.refuse", func(ctx context.Context, tx *db.Tx) error {
		out = was
		x.into(&out)
		if err := updateTx(ctx, tx, &out); err != nil {
			return err
		}
		return s.recordTx(ctx, tx, out, by, "refused", wordsOf(out.Problems))
	})
	if errors.Is(err, errStale) {
		return s.lost(ctx, by, was.ID, "批准")
	}
	if err != nil {
		return Survey{}, err
	}
	r := s.refuse(refusedProblems, "no", out.No, "problems", wordsOf(out.Problems))
	r.Field, r.Problems = out.Problems[0].Field, out.Problems
	return out, r
}

func wordsOf(list []Problem) string {
	var b strings.Builder
	for _, p := range list {
		b.WriteString(p.Message)
	}
	return b.String()
}

// lost tells who was faster.
func (s *Surveys) lost(ctx context.Context, by By, id, what string) (Survey, error) {
	x, err := s.ByID(ctx, by.CompanyID, id)
	if err != nil {
		return Survey{}, err
	}
	return x, s.wrongState(x, what)
}

// mayHandle: who may approve a survey may stop it, and so may its author.
func mayHandle(by By, x Survey) bool {
	return may(by, staff.RightApproveNotice) || by.UserID != "" && by.UserID == x.Author && may(by, staff.RightWriteNotice)
}

// Cancel withdraws a survey: a draft is gone, of one under way nothing more
// leaves and no answer counts any more.
func (s *Surveys) Cancel(ctx context.Context, by By, id string) (Survey, error) {
	return s.stop(ctx, by, id, "取消", Cancelled)
}

// Close ends a survey before its time: nothing more leaves, and what is answered
// from now on is thanked for and not counted.
func (s *Surveys) Close(ctx context.Context, by By, id string) (Survey, error) {
	return s.stop(ctx, by, id, "结束", Closed)
}

func (s *Surveys) stop(ctx context.Context, by By, id, what string, to State) (Survey, error) {
	out, err := s.change(ctx, by, id, what, func(ctx context.Context, tx *db.Tx, x *Survey) error {
		if !mayHandle(by, *x) {
			return s.refuse(refusedForbidden, "what", what)
		}
		draft := x.State == Drafted && to == Cancelled
		if !draft && x.State != Approved && x.State != Running || x.Standing() {
			return s.wrongState(*x, what)
		}
		return s.endTx(ctx, tx, x, by, to)
	})
	if err != nil || out.ApprovedAt.IsZero() {
		return out, err
	}
	s.cancelRows(ctx, out)
	return out, nil
}

// endTx closes or cancels.
func (s *Surveys) endTx(ctx context.Context, tx *db.Tx, x *Survey, by By, to State) error {
	if !x.ApprovedAt.IsZero() {
		for _, kind := range []string{RefSurvey, RefReminder} {
			if err := s.Ledger.WithdrawTx(ctx, tx, kind, x.ID); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `
			UPDATE survey_invitations SET state = 'skipped', skip_code = CASE WHEN skip_code = '' THEN '`+SkipClosed+`' ELSE skip_code END WHERE survey_id = $1 AND state = 'waiting'`, x.ID); err != nil {
			return fmt.Errorf("survey: end what waits: %w", err)
		}
		if err := s.recountTx(ctx, tx, *x); err != nil {
			return err
		}
	}
	x.State, x.ClosedAt, x.RemindAt = to, Time{Time: s.now()}, Time{}
	if err := updateTx(ctx, tx, x); err != nil {
		return err
	}
	return s.recordTx(ctx, tx, *x, by, string(to), "")
}

// cancelRows ends the rows of the ledger; an interrupted one is ended by the
// ledger's housekeeping.
func (s *Surveys) cancelRows(ctx context.Context, x Survey) {
	for _, kind := range []string{RefSurvey, RefReminder} {
		if _, err := s.Ledger.CancelRef(ctx, kind, x.ID); err != nil {
			s.Log.WarnContext(ctx, "rows of an ended survey not ended yet; the housekeeping will", "survey", x.ID, "error", err)
		}
	}
}

// changeRetries is how often a change is tried again after losing a race.
const changeRetries = 5

// change runs f on a survey in a transaction of its own, reading again when
// another hand was faster.
func (s *Surveys) change(ctx context.Context, by By, id, what string, f func(ctx context.Context, tx *db.Tx, x *Survey) error) (Survey, error) {
	by, err := s.fresh(ctx, by)
	if err != nil {
		return Survey{}, err
	}
	for try := 0; ; try++ {
		var out Survey
		err := s.DB.InTx(ctx, "survey.change", func(ctx context.Context, tx *db.Tx) error {
			x, ok, err := oneSurvey(ctx, tx, `company_id = $1 AND id = $2`, by.CompanyID, id)
			if err != nil {
				return err
			}
			if !ok {
				return s.refuse(refusedNotFound)
			}
			out = x
			return f(ctx, tx, &out)
		})
		switch {
		case err == nil:
			return out, nil
		case errors.Is(err, errStale) && try < changeRetries:
			continue
		case errors.Is(err, errStale):
			return s.lost(ctx, by, id, what)
		}
		var no *Refused
		if errors.As(err, &no) {
			return out, err
		}
		return Survey{}, err
	}
}

func runJob(id string, at time.Time) jobs.Job {
	return jobs.Job{Kind: JobRun, Args: jobArgs{id}, RunAt: at, UniqueKey: id}
}
