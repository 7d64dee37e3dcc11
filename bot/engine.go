package bot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"guanjia/bot/intent"
	"guanjia/internal/articles"
	"guanjia/internal/calendar"
	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/ledger"
	"guanjia/internal/media"
	"guanjia/internal/wording"
)

// Deps is what an Engine stands on.
type Deps struct {
	DB            *db.DB
	Clock         clock.Clock
	Classifier    *intent.Classifier
	Conversations *conversation.Conversations
	Companies     *company.Store
	Estate        *estate.Estate
	Desk          *desk.Desk
	Ledger        *ledger.Ledger
	Book          *wording.Book
	Calendar      func(companyID string) *calendar.Calendar
	Knowledge     *articles.Articles // nil: every question goes to a person
	Media         *media.Store       // nil: pictures and voice are noted and not kept
	Festivals     calendar.Festivals // the zero value has none
	// Surveys asks how satisfied residents are; nil: only ratings of cases.
	Surveys Surveys
	// Scores reads answers to that; needed with Surveys.
	Scores *intent.Scores
	// Outages answers residents from running notices; nil asks nobody.
	Outages Outages
	// TemplateResult hears what became of a template message.
	TemplateResult func(ctx context.Context, accountID, openID, msgID, status string) error
	Log            *slog.Logger
	Points         func(name string) // kill points of the crash tests; nil in production
}

// Engine answers residents. Safe for concurrent use.
type Engine struct {
	Deps
	point func(string)
}

// New builds an Engine.
func New(d Deps) *Engine {
	point := d.Points
	if point == nil {
		point = func(string) {}
	}
	return &Engine{Deps: d, point: point}
}

// raceRetries is how often a turn is run again after another hand changed the
// session or the case it was about.
const raceRetries = 5

// Turn runs the dialogue for one stored message and stores the answer. live
// says that the callback is still open; the carrier tells whether the answer is
// to travel in it. A message somebody else answered gives his stored answer.
func (e *Engine) Turn(ctx context.Context, m conversation.Message, live bool) (conversation.Answer, string, error) {
	for try := 0; ; try++ {
		answer, carrier, err := e.turn(ctx, m, live)
		switch {
		case err == nil:
			return answer, carrier, nil
		case errors.Is(err, conversation.ErrAnswered):
			return e.stored(ctx, m.ID)
		case (errors.Is(err, conversation.ErrStale) || errors.Is(err, desk.ErrStale)) && try < raceRetries:
			continue
		default:
			return conversation.Answer{}, "", fmt.Errorf("bot: turn: %w", err)
		}
	}
}

func (e *Engine) stored(ctx context.Context, messageID string) (conversation.Answer, string, error) {
	m, err := e.Conversations.Message(ctx, messageID)
	if err != nil {
		return conversation.Answer{}, "", fmt.Errorf("bot: read stored answer: %w", err)
	}
	return m.Answer, m.Carrier, nil
}

func (e *Engine) turn(ctx context.Context, m conversation.Message, live bool) (conversation.Answer, string, error) {
	t, err := e.newTurn(ctx, m)
	if err != nil {
		return conversation.Answer{}, "", err
	}
	s, err := t.decide(ctx)
	if err != nil {
		return conversation.Answer{}, "", err
	}
	e.point("turn.decided")
	if s.write == nil && live {
		answer, carrier, err := e.saveChat(ctx, m, s)
		if !errors.Is(err, conversation.ErrExchangeOver) {
			return answer, carrier, err
		}
	}
	return t.save(ctx, s, live)
}

// saveChat stores an answer that has no other effect, without a transaction of
// its own: most messages are of this kind.
func (e *Engine) saveChat(ctx context.Context, m conversation.Message, s step) (conversation.Answer, string, error) {
	answer := s.say.answer()
	carrier, err := e.Conversations.SaveChat(ctx, conversation.Turn{MessageID: m.ID, Answer: answer, Session: s.session, Live: true})
	return answer, carrier, err
}

// reply is what the bot says in one turn. A zero reply says nothing.
type reply struct {
	text    wording.Text
	options []conversation.Option
	danger  bool // safety words: sent once more rather than never
}

func (r reply) answer() conversation.Answer {
	if r.text.IsZero() {
		return conversation.Answer{}
	}
	return conversation.Answer{Kind: conversation.AnswerText, Text: r.text.String(), Options: r.options}
}

// step is what a turn does: say something that is known already, or write
// something and say what came of it.
type step struct {
	say reply
	// write runs inside the turn's transaction. What must be fetched before a
	// transaction was fetched by decide.
	write func(ctx context.Context, tx *db.Tx) (reply, error)
	// session, when set, is stored with compare-and-set: it keeps two messages
	// of one resident on two nodes from opening two cases of one matter.
	session *conversation.Session
}

// save runs the step in one transaction with the stored answer. When the
// exchange is over, the answer becomes a delivery in the same transaction.
func (t *turn) save(ctx context.Context, s step, live bool) (conversation.Answer, string, error) {
	var answer conversation.Answer
	var carrier string
	err := t.e.DB.InTx(ctx, "bot.turn", func(ctx context.Context, tx *db.Tx) error {
		r := s.say
		if s.write != nil {
			var err error
			if r, err = s.write(ctx, tx); err != nil {
				return err
			}
		}
		answer = r.answer()
		var err error
		carrier, err = t.e.Conversations.SaveTurnTx(ctx, tx, conversation.Turn{MessageID: t.m.ID, Answer: answer, Session: s.session, Live: live})
		if err != nil {
			return err
		}
		if carrier == conversation.CarrierService && !answer.Empty() {
			return t.e.deliverTx(ctx, tx, t.m, r)
		}
		return nil
	})
	if err == nil {
		t.e.point("turn.saved")
	}
	return answer, carrier, err
}

// deliverTx sends an answer through the ledger because the exchange is over.
func (e *Engine) deliverTx(ctx context.Context, tx *db.Tx, m conversation.Message, r reply) error {
	class, lane := ledger.ClassReply, ledger.LaneReply
	if r.danger {
		class, lane = ledger.ClassDanger, ledger.LaneEmergency
	}
	_, err := e.Ledger.PutTx(ctx, tx, ledger.New{
		CompanyID: m.CompanyID, Channel: ledger.ChannelService, AccountID: m.AccountID, Address: m.OpenID, Lane: lane, Class: class,
		Text: r.text, Payload: map[string]any{"options": r.options}, RefKind: "message", RefID: m.ID, OrderKey: "conversation:" + m.ConversationID,
		ValidUntil: e.Clock.Now().Add(answerValid),
	})
	return err
}

// answerValid is how long an answer that missed its exchange still makes sense:
// the platform's reply window.
const answerValid = 48 * time.Hour

// turn is one message with what has been read for it so far.
type turn struct {
	e       *Engine
	m       conversation.Message
	company company.Company
	dir     *company.Directory
	said    string // what the resident wrote, trimmed
	read    intent.Result
	urging  bool // the words alone press for something

	resident     *estate.Resident
	residentRead bool
	session      *conversation.Session
	memory       memory
	unanswered   *missed // a question that no article answered
	consulted    string  // number of the case that a question became
}

func (e *Engine) newTurn(ctx context.Context, m conversation.Message) (*turn, error) {
	dir, err := e.Companies.Directory(ctx)
	if err != nil {
		return nil, fmt.Errorf("company directory: %w", err)
	}
	c, ok := dir.Company(m.CompanyID)
	if !ok {
		return nil, fmt.Errorf("company of the message is not in the directory")
	}
	return &turn{e: e, m: m, company: c, dir: dir}, nil
}

// who gives the resident bound to the writer, if any; read once a turn.
func (t *turn) who(ctx context.Context) (*estate.Resident, error) {
	if t.residentRead {
		return t.resident, nil
	}
	r, ok, err := t.e.Estate.ResidentByOpenID(ctx, t.e.DB, t.m.CompanyID, t.m.OpenID)
	if err != nil {
		return nil, fmt.Errorf("resident: %w", err)
	}
	t.residentRead = true
	if ok {
		t.resident = &r
	}
	return t.resident, nil
}

func (t *turn) by() desk.By {
	return desk.By{CompanyID: t.m.CompanyID, Via: "wechat", Resident: true}
}

// say makes a step that only answers.
func (t *turn) say(key string, vars wording.Vars) (step, error) {
	r, err := t.reply(key, vars)
	return step{say: r}, err
}

func (t *turn) reply(key string, vars wording.Vars) (reply, error) {
	text, err := t.e.Book.Say(key, vars)
	return reply{text: text}, err
}
