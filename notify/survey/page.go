package survey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/wording"
)

// maxComment bounds what a resident writes, in characters.
const maxComment = 1000

// Page gives what a link's page shows. It changes nothing: a preview robot, a
// forwarded link and a reload leave no trace. What is wrong with a link is a
// state, not an error.
func (s *Surveys) Page(ctx context.Context, token string) (PageView, error) {
	x, i, c, state, err := s.behind(ctx, s.DB, token)
	if err != nil {
		return PageView{}, err
	}
	v := PageView{State: state, Company: c.Name, Title: x.Form.Title, Intro: x.Form.Intro, Anonymous: x.Anonymous, Home: x.Count == CountHome, Form: x.Form}
	switch state {
	case PageUnknown:
		v.Message = s.say("survey.page_unknown")
		return v, nil
	case PageOver:
		v.Title, v.Message = s.about(x, i), s.say("survey.page_over")
		return v, nil
	}
	v.About, v.Until = s.about(x, i), until(x, i, c.Settings)
	if x.Title != "" && !x.Standing() {
		v.Title = x.Title
	}
	if x.Anonymous {
		var used bool
		err := s.DB.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM survey_used WHERE survey_id = $1 AND hash = $2)`, x.ID, s.usedHash(x.ID, i.countKey)).Scan(&used)
		if err != nil {
			return PageView{}, fmt.Errorf("survey: look for a used link: %w", err)
		}
		if used {
			v.State, v.Message = PageDone, s.say("survey.page_done")
		}
		return v, nil
	}
	var scores string
	err = s.DB.QueryRowContext(ctx, `SELECT scores, comment FROM survey_answers WHERE survey_id = $1 AND count_key = $2`, x.ID, i.countKey).Scan(&scores, &v.Comment)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return v, nil
	case err != nil:
		return PageView{}, fmt.Errorf("survey: read an answer: %w", err)
	}
	v.State, v.Scores = PageAnswered, readScores(scores)
	return v, nil
}

// behind finds what a token leads to.
func (s *Surveys) behind(ctx context.Context, q querier, token string) (x Survey, i invitation, c company.Company, state PageState, err error) {
	id, over, ok := s.readToken(token)
	if !ok {
		return x, i, c, PageUnknown, nil
	}
	if i, ok, err = oneInvitation(ctx, q, `i.id = $1`, id); err != nil || !ok {
		return x, i, c, PageUnknown, err
	}
	if x, ok, err = oneSurvey(ctx, q, `id = $1`, i.surveyID); err != nil || !ok {
		return x, i, c, PageUnknown, err
	}
	if c, _, err = s.settings(ctx, x.CompanyID); err != nil {
		return x, i, c, PageUnknown, err
	}
	if over || !s.openFor(x, i, c.Settings) {
		return x, i, c, PageOver, nil
	}
	return x, i, c, PageOpen, nil
}

// about says in words which case or survey an invitation is of.
func (s *Surveys) about(x Survey, i invitation) string {
	if i.refNo != "" {
		return s.say("survey.page_title_case", "case_no", i.refNo)
	}
	if x.Standing() {
		return x.Form.Title
	}
	return s.say("survey.page_title", "title", x.Title, "project", x.ProjectName)
}

// Submit takes what a page sends back. Nothing is counted unless all of it is
// right; a second time changes the answer, until the end.
func (s *Surveys) Submit(ctx context.Context, token string, f Form) (Outcome, error) {
	var out Outcome
	var done saved
	err := s.retry(func() error {
		return s.DB.InTx(ctx, "survey.submit", func(ctx context.Context, tx *db.Tx) error {
			out, done = Outcome{}, saved{}
			x, i, c, state, err := s.behind(ctx, tx, token)
			if err != nil {
				return err
			}
			switch state {
			case PageUnknown:
				out = Outcome{Kind: NoLink, Message: s.say("survey.page_unknown")}
				return nil
			case PageOver:
				out = Outcome{Kind: OverNow, Message: s.say("survey.page_over")}
				return nil
			}
			g, problems := s.readForm(x.Form, f)
			if len(problems) > 0 {
				out = Outcome{Kind: BadForm, Problems: problems, Message: problems[0].Message}
				return nil
			}
			g.channel = i.channel
			if done, err = s.recordAnswerTx(ctx, tx, x, i, g, c.Settings); err != nil {
				return err
			}
			out = s.outcome(done, x, i, c.Settings)
			return nil
		})
	})
	if err != nil {
		return Outcome{}, err
	}
	if done.low {
		opened, err := s.followUp(ctx, done.answerID)
		if err != nil {
			// Its job tries again; the answer is kept.
			s.Log.ErrorContext(ctx, "follow-up of a low score not opened at once; its job will", "error", err)
			return out, nil
		}
		out.FollowUp, out.PromisedAt = opened.No, opened.PromisedAt
		if opened.No != "" {
			out.Message = s.say("survey.thanks_low", "title", s.titleOf(done.survey, done.invitation), "next_time", wording.When(opened.PromisedAt, s.now()))
		}
	}
	return out, nil
}

func (s *Surveys) outcome(d saved, x Survey, i invitation, set company.Settings) Outcome {
	switch d.kind {
	case Again:
		return Outcome{Kind: Again, Message: s.say("survey.page_done")}
	case Changed:
		return Outcome{Kind: Changed, Message: s.say("survey.page_changed")}
	}
	if x.Anonymous {
		return Outcome{Kind: Saved, Message: s.say("survey.page_saved")}
	}
	return Outcome{Kind: Saved, Message: s.say("survey.page_saved", "until", until(x, i, set).In(localTime()).Format("1月2日 15:04"))}
}

// titleOf is how texts call what an invitation is about.
func (s *Surveys) titleOf(x Survey, i invitation) string {
	if i.refNo != "" {
		return s.Book.Label("card", "case") + " #" + i.refNo
	}
	if x.Title != "" {
		return x.Title
	}
	return x.Form.Title
}

// retry runs a transaction again after another hand was faster.
func (s *Surveys) retry(f func() error) error {
	for try := 0; ; try++ {
		err := f()
		if try < changeRetries && (errors.Is(err, errStale) || errors.Is(err, desk.ErrStale)) {
			continue
		}
		return err
	}
}

// readForm checks a form against its questionnaire: every score in its range,
// nothing unknown, the required ones there, words within bounds.
func (s *Surveys) readForm(form Questionnaire, f Form) (given, []Problem) {
	g := given{scores: map[string]int{}}
	var problems []Problem
	for _, q := range form.Questions() {
		raw := strings.TrimSpace(f.Scores[q.ID])
		if raw == "" {
			if q.Required {
				problems = append(problems, Problem{Field: "q." + q.ID, Message: s.say("survey.bad_missing")})
			}
			continue
		}
		v, err := strconv.Atoi(raw)
		if err != nil || v < q.Low() || v > q.High() || raw != strconv.Itoa(v) {
			problems = append(problems, Problem{Field: "q." + q.ID, Message: s.say("survey.bad_score", "low", strconv.Itoa(q.Low()), "high", strconv.Itoa(q.High()))})
			continue
		}
		g.scores[q.ID] = v
	}
	for id := range f.Scores {
		if _, ok := form.Find(id); !ok {
			problems = append(problems, Problem{Field: "q." + cut(id, 32), Message: s.say("survey.bad_question")})
		}
	}
	g.comment = cleanWords(f.Comment)
	if utf8.RuneCountInString(g.comment) > maxComment {
		problems = append(problems, Problem{Field: "comment", Message: s.say("survey.bad_comment", "most", strconv.Itoa(maxComment))})
	}
	if form.Comment == "" {
		g.comment = ""
	}
	return g, problems
}

// cleanWords takes out what no reader sees and what a database refuses.
func cleanWords(text string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\r\n", "\n"), "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) {
			return r
		}
		return -1
	}, text))
}

// recordAnswerTx keeps an answer, and for a case puts the rating on it: desk
// tells RatedTx in its turn, which finds nothing left to change.
func (s *Surveys) recordAnswerTx(ctx context.Context, tx *db.Tx, x Survey, i invitation, g given, set company.Settings) (saved, error) {
	done, err := s.saveTx(ctx, tx, x, i, g, set)
	done.survey, done.invitation = x, i
	score, rated := g.scores[x.Form.Overall().ID]
	if err != nil || i.refID == "" || !rated {
		return done, err
	}
	c, err := s.Desk.ByIDTx(ctx, tx, x.CompanyID, i.refID)
	if errors.Is(err, desk.ErrNotFound) {
		return done, nil
	}
	if err != nil {
		return done, fmt.Errorf("survey: read the case of an answer: %w", err)
	}
	if c.Rating == score && c.RatingText == g.comment {
		return done, nil
	}
	via := "wechat"
	if g.channel == ChannelSMS {
		via = "sms"
	}
	_, err = s.Desk.RateTx(ctx, tx, desk.By{CompanyID: x.CompanyID, Via: via, Resident: true}, c, score, g.comment)
	var refused *desk.Refused
	if errors.As(err, &refused) {
		return done, nil // reopened meanwhile: the answer stands, the case goes on
	}
	return done, err
}
