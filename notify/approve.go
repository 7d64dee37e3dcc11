package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/jobs"
	"guanjia/internal/register"
	"guanjia/internal/staff"
)

// refuse makes a refusal with its words.
func (n *Notices) refuse(code string, kv ...string) *Refused {
	return &Refused{Code: code, Message: n.words("refused_"+code, kv...)}
}

// Compose completes, checks, counts and prices a draft and stores it as one,
// problems and all, with its row of the publication register. Only who
// may write notices may: *Refused otherwise.
func (n *Notices) Compose(ctx context.Context, by By, d Draft) (Notice, error) {
	if !by.may(staff.RightWriteNotice) {
		return Notice{}, n.refuse(RefusedForbidden, "what", "拟写")
	}
	x, err := n.examine(ctx, by.CompanyID, "", d, nil, true)
	if err != nil {
		return Notice{}, err
	}
	var out Notice
	err = n.DB.InTx(ctx, "notify.compose", func(ctx context.Context, tx *db.Tx) error {
		out = Notice{ID: db.NewID(), CompanyID: by.CompanyID, State: Drafted, Author: by.UserID, AuthorName: by.Name, CreatedAt: Time{n.now()}, version: 1}
		var err error
		if out.No, err = nextNoTx(ctx, tx, by.CompanyID); err != nil {
			return err
		}
		x.into(&out)
		if err := insertTx(ctx, tx, out); err != nil {
			return err
		}
		if err := n.recordTx(ctx, tx, out, by, "drafted", out.Preview.words()); err != nil {
			return err
		}
		return n.Register.PublicationTx(ctx, tx, n.publication(out))
	})
	return out, err
}

func (p Preview) words() string {
	if p.SMS != "" {
		return p.SMS
	}
	return p.Template
}

// Revise replaces what a draft says. Only a draft can be revised; what was
// approved is changed by a notice that answers it.
func (n *Notices) Revise(ctx context.Context, by By, id string, d Draft) (Notice, error) {
	by, err := n.fresh(ctx, by)
	if err != nil {
		return Notice{}, err
	}
	x, err := n.examine(ctx, by.CompanyID, id, d, nil, true)
	if err != nil {
		return Notice{}, err
	}
	return n.change(ctx, by, id, "修改", func(ctx context.Context, tx *db.Tx, out *Notice) error {
		if !by.may(staff.RightWriteNotice) {
			return n.refuse(RefusedForbidden, "what", "修改")
		}
		if out.State != Drafted {
			return n.wrongState(*out, "修改")
		}
		// Who revised it has written it: he does not approve it (four eyes).
		out.Author, out.AuthorName = by.UserID, by.Name
		x.into(out)
		if err := updateDraftTx(ctx, tx, out); err != nil {
			return err
		}
		if err := n.recordTx(ctx, tx, *out, by, "drafted", out.Preview.words()); err != nil {
			return err
		}
		return n.Register.PublicationTx(ctx, tx, n.publication(*out))
	})
}

// recordTx writes a line of the notice's history and of the audit.
func (n *Notices) recordTx(ctx context.Context, tx *db.Tx, x Notice, by By, kind, text string) error {
	at := n.now()
	if err := eventTx(ctx, tx, x.ID, kind, by, at, text); err != nil {
		return err
	}
	actor := by.UserID
	if actor == "" {
		actor = "system"
	}
	return n.Staff.AuditTx(ctx, tx, staff.Entry{CompanyID: x.CompanyID, Actor: actor, Action: "notice." + kind, Object: x.ID, Detail: x.No, At: at})
}

func ref(x Notice) register.Ref {
	return register.Ref{CompanyID: x.CompanyID, Kind: register.RefNotice, ID: x.ID}
}

func (n *Notices) publication(x Notice) register.Publication {
	p := register.Publication{
		Ref: ref(x), No: x.No, ProjectID: x.ProjectID, Project: x.ProjectName, Title: x.Title, Kind: x.Kind, Topic: x.Topic,
		Summary: x.Preview.words(), Scope: x.Place, Author: register.Act{Person: register.Person{ID: x.Author, Name: x.AuthorName}, At: x.CreatedAt.Time},
	}
	for _, f := range append(slices.Clone(x.Channels), x.Forms...) {
		// What the draft says wrongly stands among its problems.
		if slices.Contains(register.Forms(), f) {
			p.Forms = append(p.Forms, register.Form{Form: f})
		}
	}
	return p
}

// rightFor is the right that approving a notice takes.
func rightFor(x Notice) staff.Right {
	if x.Emergency {
		return staff.RightApproveEmergency
	}
	return staff.RightApproveNotice
}

// fresh gives the actor with the rights that he has now, so that a card that
// was shown yesterday gives nobody back what he lost since.
func (n *Notices) fresh(ctx context.Context, by By) (By, error) {
	if by.Trusted || by.UserID == "" {
		return by, nil
	}
	m, ok, err := n.Staff.ByUserID(ctx, n.DB, by.CompanyID, by.UserID)
	if err != nil {
		return by, fmt.Errorf("notify: read the member who acts: %w", err)
	}
	if !ok {
		m = staff.Member{}
	}
	by.Member = m
	return by, nil
}

// Approve sends a draft on its way: state, approval, register and job in one
// transaction. It examines the draft again, since time has passed and templates
// may have gone. Of two who approve at once one wins, the other is refused with
// the state and who it was. An emergency leaves before Approve returns.
func (n *Notices) Approve(ctx context.Context, by By, id string) (Notice, error) {
	by, err := n.fresh(ctx, by)
	if err != nil {
		return Notice{}, err
	}
	was, err := n.ByID(ctx, by.CompanyID, id)
	if err != nil {
		return Notice{}, err
	}
	if err := n.mayApprove(by, was); err != nil {
		return Notice{}, err
	}
	d := was.Draft
	if was.facts.asksScope() {
		d.unsaid = []string{"scope"}
	}
	x, err := n.examine(ctx, by.CompanyID, was.ID, d, was.Filled, false)
	if err != nil {
		return Notice{}, err
	}
	keepCounts(x, was)
	if len(x.facts.Problems) > 0 {
		return n.stillProblems(ctx, by, was, x)
	}
	c, _, err := n.settings(ctx, by.CompanyID)
	if err != nil {
		return Notice{}, err
	}
	var out Notice
	err = n.DB.InTx(ctx, "notify.approve", func(ctx context.Context, tx *db.Tx) error {
		out = was
		x.into(&out)
		return n.approveTx(ctx, tx, c, by, &out, x)
	})
	if errors.Is(err, errStale) {
		return n.lost(ctx, by, id, "批准")
	}
	if err != nil {
		return Notice{}, err
	}
	n.point("notice.approved")
	if !out.SendAt.After(n.now()) && out.facts.Rules.Ignore {
		// The job would do it within a fraction of a second; an emergency does
		// not wait for it. What fails here, the job does again.
		if _, err := n.step(ctx, out.ID); err != nil {
			n.Log.ErrorContext(ctx, "emergency notice not frozen at once; its job will", "notice", out.ID, "error", err)
		}
		return n.ByID(ctx, by.CompanyID, id)
	}
	return out, nil
}

// asksScope tells whether the draft came from one line that named no place.
func (f facts) asksScope() bool {
	for _, p := range f.Problems {
		if p.Field == "scope" {
			return true
		}
	}
	return false
}

// keepCounts carries over what was counted at drafting: the audience is frozen
// a moment later anyhow, and a million homes are not counted twice.
func keepCounts(x *examination, was Notice) {
	x.facts.Audience, x.facts.CostFen, x.facts.RemindFen = was.facts.Audience, was.facts.CostFen, was.facts.RemindFen
	for _, w := range was.facts.Warnings {
		if w.Field == "scope" {
			x.facts.Warnings = append(x.facts.Warnings, w)
		}
	}
}

func (n *Notices) mayApprove(by By, x Notice) error {
	if x.State != Drafted {
		return n.wrongState(x, "批准")
	}
	if !by.may(rightFor(x)) {
		return n.refuse(RefusedForbidden, "what", "批准")
	}
	// Four eyes, save in an emergency. An administrator who is no member of the
	// staff has no eyes of his own: the installation trusts him as a whole.
	if !x.Emergency && by.UserID == x.Author && !(by.Trusted && by.Member.UserID == "") {
		return n.refuse(RefusedOwn)
	}
	return nil
}

func (n *Notices) wrongState(x Notice, what string) *Refused {
	who := x.ApproverName
	if x.State == Cancelled {
		who = ""
	}
	return n.refuse(RefusedState, "no", x.No, "state", n.Book.Label("notice_state", string(x.State)), "who", who, "what", what)
}

// lost tells who was faster.
func (n *Notices) lost(ctx context.Context, by By, id, what string) (Notice, error) {
	x, err := n.ByID(ctx, by.CompanyID, id)
	if err != nil {
		return Notice{}, err
	}
	return x, n.wrongState(x, what)
}

// stillProblems stores what keeps a draft from being approved, and refuses.
func (n *Notices) stillProblems(ctx context.Context, by By, was Notice, x *examination) (Notice, error) {
	out := was
	err := n.DB.InTx(ctx, "notify.refuse", func(ctx context.Context, tx *db.Tx) error {
		out = was
		x.into(&out)
		if err := updateTx(ctx, tx, &out); err != nil {
			return err
		}
		return n.recordTx(ctx, tx, out, by, "refused", wordsOf(out.Problems))
	})
	if errors.Is(err, errStale) {
		return n.lost(ctx, by, was.ID, "批准")
	}
	if err != nil {
		return Notice{}, err
	}
	r := n.refuse(RefusedProblems, "no", out.No, "problems", wordsOf(out.Problems))
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

func (n *Notices) approveTx(ctx context.Context, tx *db.Tx, c company.Company, by By, out *Notice, x *examination) error {
	now := n.now()
	e := &examiner{n: n, company: c, now: now, x: x}
	out.State, out.ApprovedBy, out.ApproverName, out.ApprovedAt = Approved, by.UserID, by.Name, Time{now}
	out.SendAt = Time{e.sendAt()}
	out.validUntil = e.validUntil(out.SendAt.Time)
	out.EndorseDue = x.facts.Rules.Endorse && c.Settings.EndorseEmergency && !by.may(staff.RightApproveNotice)
	if e.reminds() {
		out.RemindAt = Time{n.remindAt(c.Settings.QuietFrom, c.Settings.QuietTo, out.StartsAt.Add(-x.kind.Remind), now)}
	}
	if err := updateTx(ctx, tx, out); err != nil {
		return err
	}
	if x.of != nil {
		if err := n.supersedeTx(ctx, tx, out, x); err != nil {
			return err
		}
	}
	if err := n.recordTx(ctx, tx, *out, by, "approved", out.Preview.words()); err != nil {
		return err
	}
	if err := n.Register.PublicationTx(ctx, tx, n.publication(*out)); err != nil {
		return err
	}
	if err := n.Register.ApprovedTx(ctx, tx, ref(*out), register.Act{Person: register.Person{ID: by.UserID, Name: by.Name}, At: now}, out.EndorseDue); err != nil {
		return err
	}
	if !out.RemindAt.IsZero() {
		if err := n.Jobs.PutTx(ctx, tx, jobs.Job{Kind: JobRemind, Args: jobArgs{out.ID}, RunAt: out.RemindAt.Time, UniqueKey: out.ID}); err != nil {
			return err
		}
	}
	return n.Jobs.PutTx(ctx, tx, n.runJob(out.ID, time.Time{}))
}

// remindAt keeps a reminder out of quiet hours: rather earlier than in the night.
func (n *Notices) remindAt(from, to string, at, now time.Time) time.Time {
	if end, quiet := quietEnd(at, from, to); quiet {
		f, errF := time.Parse("15:04", from)
		u, errU := time.Parse("15:04", to)
		if errF == nil && errU == nil {
			night := u.Sub(f)
			if night <= 0 {
				night += 24 * time.Hour
			}
			at = end.Add(-night - time.Hour)
		}
	}
	if at.Before(now) {
		return now
	}
	return at
}

// supersedeTx is what a restored, change or extension does to its chain: the
// reminders of what no longer holds go, the end of an outage ends all of it.
func (n *Notices) supersedeTx(ctx context.Context, tx *db.Tx, out *Notice, x *examination) error {
	now := db.At(n.now())
	if _, err := tx.ExecContext(ctx, `UPDATE notices SET remind_at = NULL WHERE chain_id = $1 AND id <> $2 AND remind_at IS NOT NULL`, out.chainID, out.ID); err != nil {
		return fmt.Errorf("notify: drop reminders: %w", err)
	}
	why := n.kindName(out.Kind) + " " + out.No
	if x.kind.EndsChain {
		res, err := tx.ExecContext(ctx, `UPDATE notices SET over_at = $2 WHERE id = $1 AND over_at IS NULL`, out.chainID, now)
		if err != nil {
			return fmt.Errorf("notify: end the chain: %w", err)
		}
		if changed, err := res.RowsAffected(); err != nil || changed == 0 {
			return errors.Join(err, n.refuse(RefusedState, "no", x.of.No, "state", "已恢复", "what", "再次恢复"))
		}
		if _, err := tx.ExecContext(ctx, `UPDATE notices SET over_at = $2 WHERE chain_id = $1 AND over_at IS NULL`, out.chainID, now); err != nil {
			return fmt.Errorf("notify: end the chain: %w", err)
		}
	}
	for _, c := range x.chain {
		if c.ID == out.ID || c.ApprovedAt.IsZero() {
			continue
		}
		if err := n.Ledger.WithdrawTx(ctx, tx, RefReminder, c.ID); err != nil {
			return err
		}
		if x.kind.EndsChain {
			// Whoever has not heard of the outage need not hear of it any more.
			if err := n.Ledger.WithdrawTx(ctx, tx, RefNotice, c.ID); err != nil {
				return err
			}
		}
		if err := n.Register.EndedTx(ctx, tx, ref(c), register.Superseded, n.now(), why); err != nil && !errors.Is(err, register.ErrNone) {
			return err
		}
	}
	return nil
}

func (n *Notices) kindName(code string) string {
	if k, ok := n.kinds.Kinds[code]; ok {
		return k.Name
	}
	return code
}

// Endorse is the department manager's approval of an emergency that the duty
// manager sent alone.
func (n *Notices) Endorse(ctx context.Context, by By, id string) (Notice, error) {
	return n.change(ctx, by, id, "补批", func(ctx context.Context, tx *db.Tx, x *Notice) error {
		if !by.may(staff.RightApproveNotice) {
			return n.refuse(RefusedForbidden, "what", "补批")
		}
		if !x.EndorseDue || x.ApprovedAt.IsZero() {
			return n.wrongState(*x, "补批")
		}
		now := n.now()
		x.EndorseDue, x.EndorsedBy, x.EndorserName, x.EndorsedAt = false, by.UserID, by.Name, Time{now}
		if err := updateTx(ctx, tx, x); err != nil {
			return err
		}
		if err := n.Register.EndorsedTx(ctx, tx, ref(*x), register.Act{Person: register.Person{ID: by.UserID, Name: by.Name}, At: now}); err != nil {
			return err
		}
		return n.recordTx(ctx, tx, *x, by, "endorsed", "")
	})
}

// Pause keeps everything of a notice that has not left from leaving, on every
// node within two seconds.
func (n *Notices) Pause(ctx context.Context, by By, id string) (Notice, error) {
	return n.change(ctx, by, id, "暂停", func(ctx context.Context, tx *db.Tx, x *Notice) error {
		if !n.mayHandle(by, *x) {
			return n.refuse(RefusedForbidden, "what", "暂停")
		}
		if x.State != Sending && x.State != Approved {
			return n.wrongState(*x, "暂停")
		}
		return n.pauseTx(ctx, tx, x, by, pausedByPerson)
	})
}

// Reasons of a pause.
const (
	pausedByPerson = "person"
	pausedCanary   = "canary"
	pausedAccount  = "account"
	pausedHeld     = "held"
)

// mayHandle: who may approve a notice may stop it, and so may its author.
func (n *Notices) mayHandle(by By, x Notice) bool {
	return by.may(rightFor(x)) || by.UserID != "" && by.UserID == x.Author && by.may(staff.RightWriteNotice)
}

func (n *Notices) pauseTx(ctx context.Context, tx *db.Tx, x *Notice, by By, why string) error {
	if err := n.Ledger.HoldTx(ctx, tx, RefNotice, x.ID, "paused"); err != nil {
		return err
	}
	if err := n.Ledger.HoldTx(ctx, tx, RefReminder, x.ID, "paused"); err != nil {
		return err
	}
	x.State, x.PausedWhy = Paused, why
	if err := updateTx(ctx, tx, x); err != nil {
		return err
	}
	return n.recordTx(ctx, tx, *x, by, "paused", why)
}

// Resume lets a paused notice go on: where its first rows are still watched,
// these alone.
func (n *Notices) Resume(ctx context.Context, by By, id string) (Notice, error) {
	return n.change(ctx, by, id, "继续", func(ctx context.Context, tx *db.Tx, x *Notice) error {
		if !by.may(rightFor(*x)) {
			return n.refuse(RefusedForbidden, "what", "继续")
		}
		if x.State != Paused {
			return n.wrongState(*x, "继续")
		}
		for _, kind := range []string{RefNotice, RefReminder} {
			if err := n.Ledger.FreeTx(ctx, tx, kind, x.ID); err != nil {
				return err
			}
		}
		if strings.HasPrefix(x.PausedWhy, pausedCanary) && x.freedAt.IsZero() {
			// A person has looked at what went wrong and takes it on himself.
			x.freedAt = n.now()
			if err := n.Ledger.FreePartTx(ctx, tx, RefNotice, x.ID, partRest); err != nil {
				return err
			}
		}
		x.State, x.PausedWhy = Sending, ""
		if x.StartedAt.IsZero() {
			x.State = Approved
		}
		if err := updateTx(ctx, tx, x); err != nil {
			return err
		}
		if err := n.recordTx(ctx, tx, *x, by, "resumed", ""); err != nil {
			return err
		}
		return n.Jobs.PutTx(ctx, tx, n.runJob(x.ID, time.Time{}))
	})
}

// Cancel withdraws a notice: a draft is gone, of one under way nothing more
// leaves. What has left is told by a further notice, not taken back.
func (n *Notices) Cancel(ctx context.Context, by By, id string) (Notice, error) {
	out, err := n.change(ctx, by, id, "取消", func(ctx context.Context, tx *db.Tx, x *Notice) error {
		if !n.mayHandle(by, *x) {
			return n.refuse(RefusedForbidden, "what", "取消")
		}
		if x.State == Cancelled || x.State == Finished && x.RemindAt.IsZero() {
			return n.wrongState(*x, "取消")
		}
		return n.cancelTx(ctx, tx, x, by)
	})
	if err != nil || out.ApprovedAt.IsZero() {
		return out, err
	}
	// From the commit on nothing leaves; this ends the rows. An interrupted one
	// is ended by the ledger's housekeeping.
	for _, kind := range []string{RefNotice, RefReminder} {
		if _, err := n.Ledger.CancelRef(ctx, kind, out.ID); err != nil {
			n.Log.WarnContext(ctx, "rows of a cancelled notice not ended yet; the housekeeping will", "notice", out.ID, "error", err)
		}
	}
	return out, nil
}

func (n *Notices) cancelTx(ctx context.Context, tx *db.Tx, x *Notice, by By) error {
	now := n.now()
	if !x.ApprovedAt.IsZero() {
		for _, kind := range []string{RefNotice, RefReminder} {
			if err := n.Ledger.WithdrawTx(ctx, tx, kind, x.ID); err != nil {
				return err
			}
		}
	}
	x.State, x.PausedWhy, x.CancelledAt, x.RemindAt = Cancelled, "", Time{now}, Time{}
	if err := updateTx(ctx, tx, x); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE notices SET over_at = $2 WHERE id = $1 AND over_at IS NULL`, x.ID, db.At(now)); err != nil {
		return fmt.Errorf("notify: end notice: %w", err)
	}
	if err := n.Register.EndedTx(ctx, tx, ref(*x), register.Withdrawn, now, by.Name); err != nil {
		return err
	}
	return n.recordTx(ctx, tx, *x, by, "cancelled", "")
}

// changeRetries is how often a change is tried again after losing a race.
const changeRetries = 5

// change runs f on a notice in a transaction of its own, reading again when
// another hand was faster.
func (n *Notices) change(ctx context.Context, by By, id, what string, f func(ctx context.Context, tx *db.Tx, x *Notice) error) (Notice, error) {
	by, err := n.fresh(ctx, by)
	if err != nil {
		return Notice{}, err
	}
	for try := 0; ; try++ {
		var out Notice
		err := n.DB.InTx(ctx, "notify.change", func(ctx context.Context, tx *db.Tx) error {
			x, ok, err := oneNotice(ctx, tx, `company_id = $1 AND id = $2`, by.CompanyID, id)
			if err != nil {
				return err
			}
			if !ok {
				return n.refuse(RefusedNotFound)
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
			return n.lost(ctx, by, id, what)
		}
		var no *Refused
		if errors.As(err, &no) {
			return out, err
		}
		return Notice{}, err
	}
}
