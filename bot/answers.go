package bot

import (
	"context"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"guanjia/bot/intent"
	"guanjia/internal/articles"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/desk"
)

// missed is a question with the article that came nearest.
type missed struct {
	asked articles.Asked
	near  articles.Found
}

// Last digits of the choices below an answer from an article.
const (
	choiceHelpful    = "1"
	choiceNotHelpful = "2"
)

// fromArticle answers from an article that knows, and asks whether that
// helped; ok is false when a person must be asked.
func (t *turn) fromArticle(ctx context.Context) (s step, ok bool, err error) {
	if t.e.Knowledge == nil {
		return step{}, false, nil
	}
	asked := articles.Asked{CompanyID: t.m.CompanyID, ConversationID: t.m.ConversationID, Text: t.said}
	r, err := t.who(ctx)
	if err != nil {
		return step{}, false, err
	}
	if r != nil {
		asked.Homes = r.Homes
	}
	found, err := t.e.Knowledge.Find(ctx, t.e.DB, asked)
	if err != nil {
		return step{}, false, err
	}
	if !found.OK {
		t.unanswered = &missed{asked, found}
		return step{}, false, nil
	}
	s, err = t.answerWith(ctx, asked, found)
	return s, true, err
}

func (t *turn) answerWith(ctx context.Context, asked articles.Asked, found articles.Found) (step, error) {
	text, err := t.e.Knowledge.Say(found, t.company.Settings.ServicePhone)
	if err != nil {
		return step{}, err
	}
	now := t.e.Clock.Now()
	_, m, err := t.remembered(ctx)
	if err != nil {
		return step{}, err
	}
	no := max(m.AnswerNo+1, now.UnixMilli())
	session, err := t.keep(ctx, func(m *memory) {
		m.Asked, m.AskedAt = 0, time.Time{}
		m.AnswerNo, m.AnsweredAt = no, now
	})
	if err != nil {
		return step{}, err
	}
	said := reply{text: text, options: []conversation.Option{
		{ID: strconv.FormatInt(no, 10) + choiceHelpful, Text: t.e.Book.Label("verdict", string(articles.Helpful))},
		{ID: strconv.FormatInt(no, 10) + choiceNotHelpful, Text: t.e.Book.Label("verdict", string(articles.NotHelpful))},
	}}
	return step{session: session, write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		return said, t.e.Knowledge.AnsweredTx(ctx, tx, asked, found, no)
	}}, nil
}

// verdictID is the id of a choice below an answer: its number and the last digit.
var verdictID = regexp.MustCompile(`^(\d{13,17})([12])$`)

// verdicts are what residents write about an answer that they just got.
var verdicts = map[string]articles.Verdict{
	"有用": articles.Helpful, "有帮助": articles.Helpful, "有用的": articles.Helpful, "很有用": articles.Helpful, "有帮助的": articles.Helpful, "帮到了": articles.Helpful,
	"没用": articles.NotHelpful, "没有用": articles.NotHelpful, "无用": articles.NotHelpful, "没帮助": articles.NotHelpful, "没有帮助": articles.NotHelpful,
	"不是我要问的": articles.NotHelpful, "不是问这个": articles.NotHelpful, "不是这个": articles.NotHelpful, "答非所问": articles.NotHelpful, "没有解答": articles.NotHelpful,
	"没解答": articles.NotHelpful, "没回答": articles.NotHelpful, "没帮到": articles.NotHelpful, "没有帮到": articles.NotHelpful,
}

// doubtful may be said of an answer or of a case: whatever was asked last.
var doubtful = map[string]articles.Verdict{
	"1": articles.Helpful, "已解决": articles.Helpful, "解决了": articles.Helpful,
	"2": articles.NotHelpful, "未解决": articles.NotHelpful, "没解决": articles.NotHelpful, "没有解决": articles.NotHelpful,
}

// verdict recognises what a resident thinks of an automatic answer.
func (t *turn) verdict(words string) (run, bool) {
	if t.e.Knowledge == nil {
		return nil, false
	}
	if m := verdictID.FindStringSubmatch(t.m.MenuID); m != nil {
		no, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return nil, false
		}
		v := articles.Helpful
		if m[2] == choiceNotHelpful {
			v = articles.NotHelpful
		}
		return func(ctx context.Context) (step, error) { return t.judge(ctx, no, v, (*turn).other) }, true
	}
	if t.m.MenuID != "" {
		return nil, false // a choice of another menu
	}
	if v, ok := verdicts[words]; ok {
		return func(ctx context.Context) (step, error) { return t.judgeLast(ctx, v, answerValid, (*turn).other) }, true
	}
	v, ok := doubtful[words]
	if !ok {
		return nil, false
	}
	return func(ctx context.Context) (step, error) {
		return t.judgeLast(ctx, v, talkAge, func(t *turn, ctx context.Context) (step, error) { return t.ofCase(ctx, words) })
	}, true
}

// ofCase takes words that were not about an answer as they are taken of a case.
func (t *turn) ofCase(ctx context.Context, words string) (step, error) {
	if rating, err := strconv.Atoi(words); err == nil {
		return t.rate(ctx, rating, "")
	}
	return t.followUp(ctx, "", followUps[words])
}

// judgeLast is judge for the last answer of the dialogue, when it is younger than
// age and no case has asked anything since; otherwise the words mean something else.
func (t *turn) judgeLast(ctx context.Context, v articles.Verdict, age time.Duration, otherwise func(*turn, context.Context) (step, error)) (step, error) {
	_, m, err := t.remembered(ctx)
	if err != nil {
		return step{}, err
	}
	if m.AnswerNo == 0 || t.e.Clock.Now().Sub(m.AnsweredAt) > age {
		return otherwise(t, ctx)
	}
	_, later, err := t.newestCase(ctx, func(c desk.Case) bool { return c.HandledAt.After(m.AnsweredAt) || c.ClosedAt.After(m.AnsweredAt) })
	if err != nil {
		return step{}, err
	}
	if later {
		return otherwise(t, ctx)
	}
	return t.judge(ctx, m.AnswerNo, v, otherwise)
}

// judge stores the verdict on an answer; a "no" brings a person to the question
// that was asked.
func (t *turn) judge(ctx context.Context, no int64, v articles.Verdict, otherwise func(*turn, context.Context) (step, error)) (step, error) {
	given, ok, err := t.e.Knowledge.Given(ctx, t.e.DB, t.m.ConversationID, no)
	if err != nil {
		return step{}, err
	}
	if !ok {
		return otherwise(t, ctx)
	}
	if v == articles.Helpful {
		return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
			if err := t.e.Knowledge.VerdictTx(ctx, tx, given, v, ""); err != nil {
				return reply{}, err
			}
			return t.reply("answer.helpful", nil)
		}}, nil
	}
	if given.CaseNo != "" {
		return t.status(ctx, given.CaseNo) // said again: a person has it already
	}
	t.said, t.read = given.Question, t.e.Classifier.Classify(intent.Input{Text: given.Question})
	s, err := t.consult(ctx, "answer.not_helpful", desk.LineCustomerService)
	if err != nil {
		return step{}, err
	}
	return t.disliking(s, given), nil
}

// disliking stores the "no" beside the case that it opened or went to.
func (t *turn) disliking(s step, given articles.Given) step {
	inner := s.write
	s.write = func(ctx context.Context, tx *db.Tx) (reply, error) {
		t.consulted = ""
		r := s.say
		if inner != nil {
			var err error
			if r, err = inner(ctx, tx); err != nil {
				return reply{}, err
			}
		}
		return r, t.e.Knowledge.VerdictTx(ctx, tx, given, articles.NotHelpful, t.consulted)
	}
	return s
}

// consultedTx keeps the number of the case that a question became, and lists the
// question for the owners of articles when none of them knew.
func (t *turn) consultedTx(ctx context.Context, tx *db.Tx, caseNo string) error {
	t.consulted = caseNo
	if t.unanswered == nil {
		return nil
	}
	return t.e.Knowledge.MissedTx(ctx, tx, t.unanswered.asked, t.unanswered.near, t.read.Topic, caseNo)
}

// shortest is how many characters unclear words need to be looked up as a question.
const shortest = 4

// unclear looks words that the classifier cannot place up as a question before
// the resident is asked what he means.
func (t *turn) unclear(ctx context.Context) (step, bool, error) {
	if t.read.Intent != intent.IntentOther || utf8.RuneCountInString(t.said) < shortest {
		return step{}, false, nil
	}
	s, ok, err := t.fromArticle(ctx)
	t.unanswered = nil // it was no question after all
	return s, ok, err
}
