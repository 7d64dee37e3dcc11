// Package worldtest puts the sample company into a database and joins the rooms
// from internal/desk up to bot on it, without sockets, senders or loops: the
// world in which those rooms and the edges above them are tested. Time stands
// still until a test moves it. Part of app (floor 6), for tests only.
package worldtest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/bot"
	"guanjia/bot/intent"
	"guanjia/bot/knowledge"
	"guanjia/internal/app/sample"
	"guanjia/internal/articles"
	"guanjia/internal/calendar"
	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/desk"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/estate"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/media"
	"guanjia/internal/queue"
	"guanjia/internal/register"
	"guanjia/internal/staff"
	"guanjia/internal/telemetry/telemetrytest"
	"guanjia/internal/wording"
	"guanjia/notify"
	"guanjia/notify/survey"
	"guanjia/templates"
)

// World is the sample company with its rooms. A test that needs a second node
// builds it with Node.
type World struct {
	DB            *db.DB
	Redis         redis.UniversalClient
	Clock         *clock.Manual
	Logs          *telemetrytest.Log
	Sample        *sample.Sample
	Book          *wording.Book
	Companies     *company.Store
	Estate        *estate.Estate
	Staff         *staff.Staff
	Queues        *queue.Queues
	Ledger        *ledger.Ledger
	Conversations *conversation.Conversations
	Desk          *desk.Desk
	Engine        *bot.Engine
	Surveys       *survey.Surveys
	Jobs          *jobs.Runner // not started: a test that needs its jobs starts it
	Register      *register.Register
	Notices       *notify.Notices
	Media         *media.Store
	Articles      *articles.Articles
	Files         *Files
	Calendar      func(companyID string) *calendar.Calendar

	messages *atomic.Int64
}

// PublicURL is what residents' links of a world begin with.
const PublicURL = "https://wy.example.test"

// Start is when a world begins: a Monday morning in working hours.
func Start() time.Time { return time.Date(2026, 3, 2, 10, 0, 0, 0, time.FixedZone("CST", 8*3600)) }

// Run runs test on both pairs, as parallel subtests "embedded" and "servers".
func Run(t *testing.T, test func(t *testing.T, w *World)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, Embedded(t))
	})
	t.Run("servers", func(t *testing.T) {
		t.Parallel()
		test(t, New(t, dbtest.Open(t, dbtest.Postgres(t)), redistest.NewServer(t).Client(t)))
	})
}

// Embedded is a world on the embedded pair.
func Embedded(t testing.TB) *World {
	t.Helper()
	return New(t, dbtest.SQLite(t), redistest.Embedded(t, clock.System()).Client())
}

// New loads the sample company into an empty, migrated database and joins the rooms.
func New(t testing.TB, d *db.DB, rdb redis.UniversalClient) *World {
	t.Helper()
	book, err := wording.Load(templates.FS())
	if err != nil {
		t.Fatalf("worldtest: texts: %v", err)
	}
	w := &World{
		DB: d, Redis: rdb, Clock: clock.NewManual(Start()), Logs: telemetrytest.Capture(t), Book: book,
		Sample: sample.Company(sample.Options{Book: book}), messages: &atomic.Int64{},
	}
	w.join(t)
	err = w.Sample.Load(t.Context(), sample.Rooms{
		DB: d, Companies: w.Companies, Estate: w.Estate, Staff: w.Staff, Queues: w.Queues, Articles: w.Articles, Followed: w.Conversations.PutFollowersTx,
	})
	if err != nil {
		t.Fatalf("worldtest: load sample: %v", err)
	}
	if err := w.Companies.Refresh(t.Context()); err != nil {
		t.Fatalf("worldtest: directory: %v", err)
	}
	return w
}

// Node is a second node of the same installation: its own rooms, the same
// database, Redis and clock.
func (w *World) Node(t testing.TB) *World {
	t.Helper()
	n := *w
	n.join(t)
	if err := n.Companies.Refresh(t.Context()); err != nil {
		t.Fatalf("worldtest: directory: %v", err)
	}
	return &n
}

func (w *World) join(t testing.TB) {
	t.Helper()
	sealer, err := company.NewSealer(make([]byte, 32))
	if err != nil {
		t.Fatalf("worldtest: sealer: %v", err)
	}
	classifier, err := intent.New()
	if err != nil {
		t.Fatalf("worldtest: classifier: %v", err)
	}
	working, err := calendar.Parse(w.Sample.Company.Settings.Calendar)
	if err != nil {
		t.Fatalf("worldtest: calendar: %v", err)
	}
	settings := func(string) company.Settings { return w.Sample.Company.Settings }
	log := w.Logs.Logger
	w.Calendar = func(string) *calendar.Calendar { return working }
	w.Companies = company.New(w.DB, sealer)
	w.Estate = estate.New(w.DB, w.Clock, sealer, settings)
	w.Staff = staff.New(w.DB, w.Clock, sealer, settings)
	w.Queues = queue.New(w.DB, w.Redis, nil, w.Clock, log, nil)
	w.Ledger = ledger.Open(w.DB, w.Clock, log)
	t.Cleanup(w.Ledger.Stop)
	conversations := conversation.New(w.DB, w.Clock, log, conversation.Options{})
	w.Conversations = conversations
	t.Cleanup(func() {
		if err := conversations.Close(context.Background()); err != nil {
			t.Errorf("worldtest: close conversations: %v", err)
		}
	})
	w.Desk = desk.New(desk.Deps{
		DB: w.DB, Clock: w.Clock, Ledger: w.Ledger, Queues: w.Queues, Staff: w.Staff, Estate: w.Estate, Companies: w.Companies,
		Conversations: w.Conversations, Calendar: w.Calendar, Book: w.Book, Log: log,
	})
	w.Queues.BindRows(w.Desk)
	w.Ledger.OnFinal("desk", w.Desk.UndeliveredTx)
	if w.Files == nil {
		w.Files = &Files{bodies: map[string][]byte{}}
	}
	w.Media = media.New(media.Options{DB: w.DB, Clock: w.Clock, Jobs: w.Files, Download: w.Files.get, Log: log})
	festivals, err := calendar.LoadFestivals()
	if err != nil {
		t.Fatalf("worldtest: festivals: %v", err)
	}
	w.Jobs = jobs.New(w.DB, w.Clock, log, jobs.Options{})
	w.Register = register.New(w.DB, w.Clock, w.Book, w.Companies)
	w.Notices, err = notify.New(notify.Deps{DB: w.DB, Clock: w.Clock, Ledger: w.Ledger, Estate: w.Estate, Staff: w.Staff, Companies: w.Companies,
		Register: w.Register, Jobs: w.Jobs, Book: w.Book, Files: templates.FS(), Log: log})
	if err != nil {
		t.Fatalf("worldtest: notices: %v", err)
	}
	w.Notices.Handle(w.Jobs)
	w.Ledger.OnFinal("notify", w.Notices.FinalTx)
	scores, err := intent.LoadScores()
	if err != nil {
		t.Fatalf("worldtest: scores: %v", err)
	}
	w.Surveys, err = survey.New(survey.Deps{DB: w.DB, Clock: w.Clock, Ledger: w.Ledger, Estate: w.Estate, Staff: w.Staff, Companies: w.Companies,
		Conversations: w.Conversations, Desk: w.Desk, Queues: w.Queues, Jobs: w.Jobs, Book: w.Book, Files: templates.FS(), Sealer: sealer, Outages: w.Notices,
		Score: func(text string) survey.Reading {
			r := scores.Read(text)
			return survey.Reading{Score: r.Value, Words: r.Words, Sure: r.Value > 0}
		},
		PublicURL: PublicURL, Log: log})
	if err != nil {
		t.Fatalf("worldtest: surveys: %v", err)
	}
	w.Surveys.Handle(w.Jobs)
	w.Desk.Listen(w.Surveys)
	matcher, err := knowledge.New()
	if err != nil {
		t.Fatalf("worldtest: knowledge: %v", err)
	}
	w.Articles = articles.New(articles.Deps{DB: w.DB, Clock: w.Clock, Book: w.Book, Staff: w.Staff, Estate: w.Estate, Matcher: matcher})
	w.Engine = bot.New(bot.Deps{
		Knowledge: w.Articles,
		Outages:   w.Notices,
		Surveys:   w.Surveys,
		Scores:    scores,
		Media:     w.Media, Festivals: festivals,
		DB: w.DB, Clock: w.Clock, Classifier: classifier, Conversations: w.Conversations, Companies: w.Companies, Estate: w.Estate,
		Desk: w.Desk, Ledger: w.Ledger, Book: w.Book, Calendar: w.Calendar, Log: log,
		TemplateResult: func(context.Context, string, string, string, string) error { return nil },
	})
}

// Receive stores a message of a resident as the callback does. What the test
// leaves empty is filled in.
func (w *World) Receive(t testing.TB, in conversation.Inbound) conversation.Message {
	t.Helper()
	n := w.messages.Add(1)
	in.CompanyID, in.AccountID = sample.CompanyID, sample.AccountID
	if in.Kind == "" {
		in.Kind = conversation.KindMessage
	}
	if in.Kind == conversation.KindMessage && in.Type == "" {
		in.Type = "text"
	}
	if in.DedupeKey == "" {
		in.MsgID = fmt.Sprint(n)
		in.DedupeKey = fmt.Sprintf("test:%d", n)
	}
	in.SentAt = w.Clock.Now()
	m, _, err := w.Conversations.Receive(t.Context(), in)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return m
}

// Say lets a resident write and gives the answer in the open exchange.
func (w *World) Say(t testing.TB, openID, text string) string {
	t.Helper()
	return w.Turn(t, conversation.Inbound{OpenID: openID, Text: text}).Text
}

// Turn lets the engine answer one message in the open exchange.
func (w *World) Turn(t testing.TB, in conversation.Inbound) conversation.Answer {
	t.Helper()
	answer, carrier, err := w.Engine.Turn(t.Context(), w.Receive(t, in), true)
	if err != nil {
		t.Fatalf("turn: %v", err)
	}
	if carrier != conversation.CarrierExchange {
		t.Fatalf("carrier = %q, want the open exchange", carrier)
	}
	return answer
}

// Cases gives the cases of a conversation, newest first.
func (w *World) Cases(t testing.TB, openID string) []desk.Case {
	t.Helper()
	id, found, err := w.Conversations.ConversationID(t.Context(), w.DB, sample.AccountID, openID)
	if err != nil {
		t.Fatalf("conversation: %v", err)
	}
	if !found {
		return nil
	}
	cases, err := w.Desk.OfConversation(t.Context(), w.DB, id, 100)
	if err != nil {
		t.Fatalf("cases: %v", err)
	}
	return cases
}

// OneCase gives the only case of a conversation.
func (w *World) OneCase(t testing.TB, openID string) desk.Case {
	t.Helper()
	cases := w.Cases(t, openID)
	if len(cases) != 1 {
		t.Fatalf("cases of the conversation = %d, want 1", len(cases))
	}
	return cases[0]
}

// Deliveries gives what left because of a reference, of one channel.
func (w *World) Deliveries(t testing.TB, refKind, refID string, channel ledger.Channel) []ledger.Delivery {
	t.Helper()
	all, err := w.Ledger.ByRef(t.Context(), w.DB, refKind, refID)
	if err != nil {
		t.Fatalf("deliveries: %v", err)
	}
	var of []ledger.Delivery
	for _, d := range all {
		if d.Channel == channel {
			of = append(of, d)
		}
	}
	return of
}

// Home is a home of the sample with a resident who follows and is bound.
type Home struct{ Unit, Building, ResidentID, Name, OpenID, Phone string }

// Bound gives the n-th bound resident of the sample who lives in one home only.
func (w *World) Bound(t testing.TB, n int) Home {
	t.Helper()
	seen := map[string]int{}
	for h := range w.Sample.Households() {
		for _, p := range h.People {
			seen[p.ID]++
		}
	}
	for h := range w.Sample.Households() {
		for _, p := range h.People {
			if !p.Bound() || seen[p.ID] > 1 {
				continue
			}
			if n == 0 {
				return Home{Unit: h.Unit.Code, Building: h.Unit.Building, ResidentID: p.ID, Name: p.Name, OpenID: p.OpenID, Phone: p.Phone}
			}
			n--
		}
	}
	t.Fatal("the sample has no such bound resident")
	return Home{}
}

// PhoneOnly gives the n-th resident of the sample who is known by phone only.
func (w *World) PhoneOnly(t testing.TB, n int) Home {
	t.Helper()
	for h := range w.Sample.Households() {
		for _, p := range h.People {
			if p.Bound() || p.Phone == "" {
				continue
			}
			if n == 0 {
				return Home{Unit: h.Unit.Code, Building: h.Unit.Building, ResidentID: p.ID, Name: p.Name, Phone: p.Phone}
			}
			n--
		}
	}
	t.Fatal("the sample has no such resident")
	return Home{}
}

// As is a member of the staff acting in a work group.
func (w *World) As(t testing.TB, userID string) desk.By {
	t.Helper()
	for _, m := range w.Sample.Staff {
		if m.UserID == userID {
			return desk.By{CompanyID: sample.CompanyID, UserID: userID, Name: m.Name, Via: "group"}
		}
	}
	t.Fatalf("the sample has no member %s", userID)
	return desk.By{}
}
