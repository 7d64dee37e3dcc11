package bot

import (
	"context"
	"strconv"
	"time"

	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/wording"
)

// Surveys asks residents how satisfied they are, and takes what they say to it
// (notify/survey).
type Surveys interface {
	// LastAsked gives what a reader was asked last and has not answered to the end.
	LastAsked(ctx context.Context, q db.Querier, companyID, openID string) (conversation.Asked, bool, error)
	// OfMenu gives what a button's number is about and the score it says; ok is
	// false for the number of something else.
	OfMenu(ctx context.Context, q db.Querier, companyID, openID, menuID string) (a conversation.Asked, score int, ok bool, err error)
	// SayTx takes a score, with words or without, or words alone (a score out of
	// range), and gives the answer, with the next question in it.
	SayTx(ctx context.Context, tx *db.Tx, companyID, invitationID string, score int, words, channel string) (wording.Text, error)
	// StopTx ends the questions; what was answered stays.
	StopTx(ctx context.Context, tx *db.Tx, companyID, invitationID string) (wording.Text, error)
	// Title is how texts call what the question is about.
	Title(ctx context.Context, q db.Querier, companyID, invitationID string) (string, error)
}

// noScore is out of the range of every question.
const noScore = -1

// surveyChannel is how answers of the conversation are counted.
const surveyChannel = "chat"

// surveyed takes the message as the answer to how satisfied the writer is, when
// that is what he was asked last. Messages that cannot be one read no row.
func (t *turn) surveyed(ctx context.Context) (step, bool, error) {
	if t.e.Surveys == nil || t.e.Scores == nil {
		return step{}, false, nil
	}
	if t.m.MenuID != "" {
		if s, ok, err := t.pressed(ctx); err != nil || ok {
			return s, ok, err
		}
	}
	read := t.e.Scores.Read(t.said)
	number, isNumber := shortNumber(t.said)
	stop := t.said == "结束" || t.said == "停止"
	if read.Value == 0 && !isNumber && !stop {
		return step{}, false, nil
	}
	a, ok, err := t.e.Surveys.LastAsked(ctx, t.e.DB, t.m.CompanyID, t.m.OpenID)
	if err != nil {
		return step{}, false, err
	}
	if ok && isNumber {
		// An answer from an article asks too, and numbers may judge it.
		_, m, err := t.remembered(ctx)
		if err != nil || m.AnsweredAt.After(a.At) {
			return step{}, false, err
		}
	}
	c, found, err := t.rateable(ctx)
	if err != nil {
		return step{}, false, err
	}
	if !ok && found && isNumber {
		return step{}, false, nil // as before: a rating, unless an article asked since
	}
	switch {
	case stop:
		if !ok || a.CaseID != "" || a.Over || !a.Answered {
			return step{}, false, nil
		}
		return t.saying(func(ctx context.Context, tx *db.Tx) (wording.Text, error) {
			return t.e.Surveys.StopTx(ctx, tx, t.m.CompanyID, a.Invitation)
		}), true, nil
	case ok && a.CaseID == "" && (!found || a.At.After(asked(c))):
		if !isNumber {
			number = read.Value
		}
		return t.answering(a, number, read.Words), true, nil
	case read.Value == 0:
		return step{}, false, nil
	case ok && a.CaseID != "" && !a.Over && (!found || c.ID == a.CaseID || a.At.After(asked(c))):
		s, err := t.rateOf(ctx, a.CaseID, read.Value, read.Words)
		return s, true, err
	case found:
		return t.rateCase(c, read.Value, read.Words), true, nil
	case ok && a.Over:
		s, err := t.over(ctx, a)
		return s, true, err
	}
	return step{}, false, nil
}

// asked is when the rating of a case was asked for.
func asked(c desk.Case) time.Time {
	if c.ClosedAt.After(c.HandledAt) {
		return c.ClosedAt
	}
	return c.HandledAt
}

// shortNumber reads what may answer a question from 0 to 10; the message is
// nothing but that number.
func shortNumber(s string) (int, bool) {
	if len(s) == 0 || len(s) > 2 {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && s[0] != '+' && s[0] != '-'
}

// pressed takes a button of a question about a case. Old menus stay there for
// ever; one whose time has passed gets thanks and counts nothing.
func (t *turn) pressed(ctx context.Context) (step, bool, error) {
	a, score, ok, err := t.e.Surveys.OfMenu(ctx, t.e.DB, t.m.CompanyID, t.m.OpenID, t.m.MenuID)
	if err != nil || !ok {
		return step{}, false, err
	}
	if a.Over || a.CaseID == "" {
		s, err := t.over(ctx, a)
		return s, true, err
	}
	s, err := t.rateOf(ctx, a.CaseID, score, "")
	return s, true, err
}

func (t *turn) over(ctx context.Context, a conversation.Asked) (step, error) {
	vars := wording.Vars{}
	if a.Invitation != "" {
		title, err := t.e.Surveys.Title(ctx, t.e.DB, t.m.CompanyID, a.Invitation)
		if err != nil {
			return step{}, err
		}
		vars["title"] = title
	}
	return t.say("survey.over", vars)
}

// rateOf rates the case that the question named.
func (t *turn) rateOf(ctx context.Context, caseID string, score int, words string) (step, error) {
	c, err := t.e.Desk.ByID(ctx, caseID)
	if err != nil {
		return step{}, err
	}
	return t.rateCase(c, score, words), nil
}

func (t *turn) answering(a conversation.Asked, score int, words string) step {
	return t.saying(func(ctx context.Context, tx *db.Tx) (wording.Text, error) {
		if score < a.Low || score > a.High {
			score, words = noScore, t.said
		}
		return t.e.Surveys.SayTx(ctx, tx, t.m.CompanyID, a.Invitation, score, words, surveyChannel)
	})
}

func (t *turn) saying(f func(ctx context.Context, tx *db.Tx) (wording.Text, error)) step {
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		text, err := f(ctx, tx)
		return reply{text: text}, err
	}}
}

// doubtAge is for how long words that nobody understands may be meant as the
// answer to how satisfied somebody is.
const doubtAge = 24 * time.Hour

// doubtful takes words that nobody understands as the answer to what the writer
// was asked last: what he meant is asked once, then they are kept as words.
func (t *turn) doubtful(ctx context.Context) (step, bool, error) {
	if t.e.Surveys == nil {
		return step{}, false, nil
	}
	a, ok, err := t.e.Surveys.LastAsked(ctx, t.e.DB, t.m.CompanyID, t.m.OpenID)
	if err != nil || !ok || a.Over || a.Anonymous || t.e.Clock.Now().Sub(a.At) > doubtAge {
		return step{}, false, err
	}
	_, m, err := t.remembered(ctx)
	if err != nil || m.AskedAt.After(a.At) {
		return step{}, false, err // something else was asked since
	}
	return t.answering(a, noScore, ""), true, nil
}
