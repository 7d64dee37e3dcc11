package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/wording"
)

// Asked is what somebody was asked last and has not answered to the end.
type Asked = conversation.Asked

// askedFor is for how long what was asked may be what a word answers.
const askedFor = 60 * 24 * time.Hour

// LastAsked gives what the reader behind an address (openid or phone) was asked
// last: whoever says a number answers the last question.
func (s *Surveys) LastAsked(ctx context.Context, q querier, companyID, address string) (Asked, bool, error) {
	if address == "" {
		return Asked{}, false, nil
	}
	return s.lastAsked(ctx, q, `i.address = $3`, companyID, address)
}

func (s *Surveys) lastAsked(ctx context.Context, q querier, whose, companyID, who string) (Asked, bool, error) {
	i, ok, err := oneInvitation(ctx, q, `i.company_id = $1 AND i.asked_at IS NOT NULL AND i.talked_at > $2 AND `+whose+`
		AND (i.state = 'asked' OR i.state = 'over' OR (i.state = 'answered' AND i.asking <> '')) ORDER BY i.talked_at DESC, i.id DESC LIMIT 1`,
		companyID, db.At(s.now().Add(-askedFor)), who)
	if err != nil || !ok {
		return Asked{}, false, err
	}
	return s.asked(ctx, q, i)
}

// askedBySMS is what a phone was asked last: by SMS from the first, or after the
// ways within WeChat to its owner had failed.
func (s *Surveys) askedBySMS(ctx context.Context, tx *db.Tx, u Uplink) (Asked, bool, error) {
	a, ok, err := s.LastAsked(ctx, tx, u.CompanyID, u.Phone)
	if err != nil || ok {
		return a, ok, err
	}
	if a, ok, err = s.answeredBefore(ctx, tx, u); err != nil || ok {
		return a, ok, err
	}
	r, ok, err := s.Estate.ResidentByPhone(ctx, tx, u.CompanyID, u.Phone)
	if err != nil || !ok {
		return Asked{}, false, err
	}
	return s.lastAsked(ctx, tx, `i.person = $3`, u.CompanyID, r.ID)
}

// OfMenu gives what a button's number is about, and the score that it says. The
// button of a question that has been answered changes the answer.
func (s *Surveys) OfMenu(ctx context.Context, q querier, companyID, openID, menuID string) (a Asked, score int, ok bool, err error) {
	no, score, ok := readMenuID(menuID)
	if !ok {
		return Asked{}, 0, false, nil
	}
	i, ok, err := oneInvitation(ctx, q, `i.company_id = $1 AND i.address = $2 AND i.ref_no = $3 AND i.asked_at IS NOT NULL ORDER BY i.asked_at DESC LIMIT 1`, companyID, openID, no)
	if err != nil {
		return Asked{}, 0, true, err
	}
	if !ok {
		return Asked{Over: true}, score, true, nil // another reader's, or very old
	}
	a, _, err = s.asked(ctx, q, i)
	return a, score, true, err
}

func (s *Surveys) asked(ctx context.Context, q querier, i invitation) (Asked, bool, error) {
	x, ok, err := oneSurvey(ctx, q, `id = $1`, i.surveyID)
	if err != nil || !ok {
		return Asked{}, false, err
	}
	c, _, err := s.settings(ctx, i.companyID)
	if err != nil {
		return Asked{}, false, err
	}
	question := asking(x.Form, i)
	return Asked{
		Invitation: i.id, CaseID: i.refID, CaseNo: i.refNo, At: i.talked.Time, Low: question.Low(), High: question.High(),
		Over: !s.openFor(x, i, c.Settings), Anonymous: x.Anonymous, Doubted: i.doubted, Answered: i.state == InvitationAnswered,
	}, true, nil
}

// asking is the question that a conversation is at.
func asking(form Questionnaire, i invitation) Question {
	if q, ok := form.Find(i.asking); ok {
		return q
	}
	return form.Overall()
}

// SayTx takes what somebody says to the question that he is at: a score, with
// words or without, or words alone (score below the question's lowest). It gives
// what is answered; the next question is in it. desk's rating of a case goes by
// desk.RateTx instead, which tells RatedTx.
func (s *Surveys) SayTx(ctx context.Context, tx *db.Tx, companyID, invitationID string, score int, words, channel string) (wording.Text, error) {
	x, i, c, err := s.lockTalk(ctx, tx, companyID, invitationID)
	if err != nil {
		return wording.Text{}, err
	}
	title := s.titleOf(x, i)
	switch {
	case !s.openFor(x, i, c.Settings):
		return s.text("survey.over", "title", title)
	case x.Anonymous:
		return s.text("survey.use_page", "title", title)
	}
	q := asking(x.Form, i)
	words = cut(cleanWords(words), maxComment)
	if score < q.Low() || score > q.High() {
		return s.doubtTx(ctx, tx, x, i, c, q, words, channel)
	}
	done, err := s.recordAnswerTx(ctx, tx, x, i, given{scores: map[string]int{q.ID: score}, comment: words, keep: true, channel: channel}, c.Settings)
	if err != nil {
		return wording.Text{}, err
	}
	thanks, err := s.thanks(done, title, q, score, c.Settings)
	if err != nil {
		return thanks, err
	}
	if channel == ChannelSMS {
		return thanks, s.talkTx(ctx, tx, i, "", false)
	}
	a, _, err := answerTx(ctx, tx, x.ID, i.countKey)
	if err != nil {
		return thanks, err
	}
	next, nth, ok := nextQuestion(x.Form, q, readScores(a.scores))
	if !ok {
		return thanks, s.talkTx(ctx, tx, i, "", false)
	}
	if err := s.talkTx(ctx, tx, i, next.ID, false); err != nil {
		return thanks, err
	}
	key := "survey.next"
	if next.Type == NPSQuestion {
		key = "survey.next_nps"
	}
	ask, err := s.text(key, "title", title, "done", strconv.Itoa(nth), "total", strconv.Itoa(len(x.Form.Questions())), "question", next.Text)
	if err != nil || !done.low {
		return ask, err
	}
	return s.Book.Join(thanks, ask)
}

func (s *Surveys) thanks(done saved, title string, q Question, score int, set company.Settings) (wording.Text, error) {
	if done.low || q.Type == Scale && score <= set.LowScore {
		return s.text("survey.thanks_low", "title", title)
	}
	return s.text("survey.thanks", "title", title)
}

// nextQuestion is the one after q that has no score yet; nth counts from 1.
func nextQuestion(form Questionnaire, q Question, scores map[string]int) (next Question, nth int, ok bool) {
	all := form.Questions()
	at := slices.IndexFunc(all, func(x Question) bool { return x.ID == q.ID })
	for n := at + 1; n < len(all); n++ {
		if _, has := scores[all[n].ID]; !has {
			return all[n], n + 1, true
		}
	}
	return Question{}, 0, false
}

// doubtTx asks once what was meant; after that the words are kept as they are.
func (s *Surveys) doubtTx(ctx context.Context, tx *db.Tx, x Survey, i invitation, c company.Company, q Question, words, channel string) (wording.Text, error) {
	title := s.titleOf(x, i)
	if !i.doubted {
		if err := s.talkTx(ctx, tx, i, i.asking, true); err != nil {
			return wording.Text{}, err
		}
		return s.text("survey.again", "title", title, "low", strconv.Itoa(q.Low()), "high", strconv.Itoa(q.High()))
	}
	if words != "" {
		if _, err := s.saveTx(ctx, tx, x, i, given{comment: words, keep: true, channel: channel}, c.Settings); err != nil {
			return wording.Text{}, err
		}
	}
	if err := s.talkTx(ctx, tx, i, "", true); err != nil {
		return wording.Text{}, err
	}
	return s.text("survey.words_kept", "title", title)
}

// StopTx ends the questions of a conversation; what was answered stays.
func (s *Surveys) StopTx(ctx context.Context, tx *db.Tx, companyID, invitationID string) (wording.Text, error) {
	x, i, _, err := s.lockTalk(ctx, tx, companyID, invitationID)
	if err != nil {
		return wording.Text{}, err
	}
	if err := s.talkTx(ctx, tx, i, "", i.doubted); err != nil {
		return wording.Text{}, err
	}
	return s.text("survey.stopped", "title", s.titleOf(x, i))
}

// talkTx notes where a conversation is. Nothing of it is kept of an anonymous
// survey.
func (s *Surveys) talkTx(ctx context.Context, tx *db.Tx, i invitation, at string, doubted bool) error {
	_, err := tx.ExecContext(ctx, `UPDATE survey_invitations SET asking = $2, doubted = $3, talked_at = $4 WHERE id = $1`, i.id, at, doubted, db.At(s.now()))
	if err != nil {
		return fmt.Errorf("survey: note where a conversation is: %w", err)
	}
	return nil
}

func (s *Surveys) lockTalk(ctx context.Context, tx *db.Tx, companyID, invitationID string) (x Survey, i invitation, c company.Company, err error) {
	i, ok, err := oneInvitation(ctx, tx, `i.company_id = $1 AND i.id = $2`+db.ForUpdate(tx), companyID, invitationID)
	if err != nil {
		return x, i, c, err
	}
	if ok {
		x, ok, err = oneSurvey(ctx, tx, `id = $1`, i.surveyID)
	}
	if err != nil {
		return x, i, c, err
	}
	if !ok {
		return x, i, c, errors.New("survey: an invitation that was asked is gone")
	}
	c, _, err = s.settings(ctx, companyID)
	return x, i, c, err
}

// Title gives how texts call what an invitation is about; empty for none.
func (s *Surveys) Title(ctx context.Context, q querier, companyID, invitationID string) (string, error) {
	i, ok, err := oneInvitation(ctx, q, `i.company_id = $1 AND i.id = $2`, companyID, invitationID)
	if err != nil || !ok {
		return "", err
	}
	x, ok, err := oneSurvey(ctx, q, `id = $1`, i.surveyID)
	if err != nil || !ok {
		return "", err
	}
	return s.titleOf(x, i), nil
}

// Uplink is what somebody answered to an SMS.
type Uplink struct {
	CompanyID, AccountID, Phone, Content string
}

// UplinkTx takes an answer by SMS, bound by phone to the question that was sent
// there last. taken tells whether it was one for surveys; words of a stranger,
// and of somebody who was asked nothing, are not. Whoever takes 「拒收请回复R」
// must have been asked before. What it writes is in the
// transaction that marks the SMS as handled, so it counts once.
func (s *Surveys) UplinkTx(ctx context.Context, tx *db.Tx, u Uplink) (taken bool, err error) {
	said := strings.TrimSpace(u.Content)
	a, ok, err := s.askedBySMS(ctx, tx, u)
	if err != nil || !ok {
		return false, err
	}
	if a.Over || a.Anonymous {
		return true, nil
	}
	r := s.Score(said)
	if !r.Sure || r.Score == 0 {
		return true, s.unclearTx(ctx, tx, u, a, said)
	}
	_, err = s.SayTx(ctx, tx, u.CompanyID, a.Invitation, r.Score, r.Words, ChannelSMS)
	return true, err
}

// answeredBefore is the last question that a phone has answered: a second
// number corrects the first.
func (s *Surveys) answeredBefore(ctx context.Context, tx *db.Tx, u Uplink) (Asked, bool, error) {
	if r := s.Score(u.Content); !r.Sure || r.Score == 0 {
		return Asked{}, false, nil
	}
	i, ok, err := oneInvitation(ctx, tx, `i.company_id = $1 AND i.address = $2 AND i.channel = 'sms' AND i.state = 'answered' AND i.talked_at > $3 ORDER BY i.talked_at DESC LIMIT 1`,
		u.CompanyID, u.Phone, db.At(s.now().Add(-askedFor)))
	if err != nil || !ok {
		return Asked{}, false, err
	}
	return s.asked(ctx, tx, i)
}

// unclearTx asks by SMS, once, what was meant, where the company has a text for
// it; after that, or else, the words are kept.
func (s *Surveys) unclearTx(ctx context.Context, tx *db.Tx, u Uplink, a Asked, said string) error {
	x, i, c, err := s.lockTalk(ctx, tx, u.CompanyID, a.Invitation)
	if err != nil {
		return err
	}
	dir, err := s.Companies.Directory(ctx)
	if err != nil {
		return fmt.Errorf("survey: company directory: %w", err)
	}
	acc, ok := dir.SMSOf(u.CompanyID)
	if !i.doubted && ok && acc.Templates[purposeAgain] != "" {
		sms, err := s.Book.SMS(purposeAgain, wording.Vars{"title": cut(strings.ReplaceAll(s.titleOf(x, i), "#", ""), 35), "phone": phoneOf(c.Settings)})
		if err == nil {
			if err := s.talkTx(ctx, tx, i, i.asking, true); err != nil {
				return err
			}
			_, err = s.Ledger.PutTx(ctx, tx, ledger.New{
				CompanyID: u.CompanyID, Channel: ledger.ChannelSMS, AccountID: acc.ID, Address: u.Phone, Lane: ledger.LaneNormal, Class: ledger.ClassSurvey,
				Text: sms.Text, Payload: map[string]any{"purpose": sms.Purpose, "params": sms.Params}, RefKind: RefAsk, RefID: i.id, RefRev: 1,
				ValidUntil: s.now().Add(24 * time.Hour),
			})
			return err
		}
		s.Log.ErrorContext(ctx, "the SMS that asks once more does not render", "error", err)
	}
	_, err = s.saveTx(ctx, tx, x, i, given{comment: cut(cleanWords(said), maxComment), keep: true, channel: ChannelSMS}, c.Settings)
	if err != nil {
		return err
	}
	return s.talkTx(ctx, tx, i, "", true)
}
