package bot

import (
	"context"
	"strconv"
	"strings"
	"time"

	"guanjia/bot/intent"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/wording"
)

// burst is how long further words of one writer about one thing are taken as
// more of the same matter.
const burst = 3 * time.Minute

// matter opens a case for a complaint, repair, suggestion, request for help or
// praise, or adds the words to the case the writer opened a moment ago.
func (t *turn) matter(ctx context.Context) (step, error) {
	r, err := t.who(ctx)
	if err != nil {
		return step{}, err
	}
	// Read before the cases: a case that another node opens in between makes
	// this session stale, and the turn runs again.
	session, err := t.opened(ctx)
	if err != nil {
		return step{}, err
	}
	if c, found, err := t.newestCase(ctx, t.sameMatter); err != nil {
		return step{}, err
	} else if found {
		return t.more(c, session)
	}
	if c, found, err := t.repeated(ctx, r); err != nil {
		return step{}, err
	} else if found {
		return t.pressAgain(c, session), nil
	}
	prepared, err := t.e.Desk.Prepare(ctx, t.m.CompanyID)
	if err != nil {
		return step{}, err
	}
	open := t.opening(r, t.read.Intent)
	return step{session: session, write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		c, err := t.openTx(ctx, tx, prepared, open)
		if err != nil {
			return reply{}, err
		}
		return t.openedReply(c)
	}}, nil
}

// openTx opens a case and gives it what the writer sent a moment ago without words.
func (t *turn) openTx(ctx context.Context, tx *db.Tx, p desk.Prepared, open desk.Open) (desk.Case, error) {
	c, err := t.e.Desk.OpenTx(ctx, tx, p, t.by(), open)
	if err != nil || t.e.Media == nil || t.e.Clock.Now().Sub(t.memory.FilesAt) > talkAge {
		return c, err
	}
	_, err = t.e.Media.AttachTx(ctx, tx, t.m.ConversationID, c.ID, t.memory.FilesAt.Add(-talkAge))
	return c, err
}

// repeated finds the open case that these words are about once more: the same
// matter in the same home, whoever of it wrote, within the company's window
// . Topics must be said and equal, or the words the same: joining two
// matters loses one.
func (t *turn) repeated(ctx context.Context, r *estate.Resident) (desk.Case, bool, error) {
	window := t.company.Settings.RepeatWindow
	if window <= 0 || !presses[t.read.Intent] {
		return desk.Case{}, false, nil
	}
	same := func(c desk.Case) bool {
		if !c.State.Open() || c.Emergency() || !presses[c.Kind] || c.Topic == desk.TopicBinding || t.e.Clock.Now().Sub(c.OpenedAt) > window {
			return false
		}
		if said := t.read.Slots.Building; said != "" && c.Building != "" && said != c.Building {
			return false
		}
		return t.read.Topic != "" && t.read.Topic == c.Topic && (unsaid(t.read.Category) || unsaid(c.Category) || t.read.Category == c.Category) ||
			t.said == c.Text
	}
	c, found, err := t.newestCase(ctx, same)
	if err != nil || found || r == nil {
		return c, found, err
	}
	return t.homeCase(ctx, r, same)
}

// presses are the kinds of matters that are told again because nothing happens.
var presses = map[string]bool{intent.IntentComplaint: true, intent.IntentRepair: true, intent.IntentHelp: true}

// homeCase gives the newest open case of the resident's home that fits.
func (t *turn) homeCase(ctx context.Context, r *estate.Resident, fits func(desk.Case) bool) (desk.Case, bool, error) {
	home, ok := t.home(r)
	if !ok {
		return desk.Case{}, false, nil
	}
	cases, err := t.e.Desk.OpenOfUnit(ctx, t.e.DB, t.m.CompanyID, home.UnitID, 10)
	if err != nil {
		return desk.Case{}, false, err
	}
	for _, c := range cases {
		if c.Topic != desk.TopicBinding && fits(c) {
			return c, true, nil
		}
	}
	return desk.Case{}, false, nil
}

// pressAgain adds a repeated complaint to its case and presses it.
func (t *turn) pressAgain(c desk.Case, session *conversation.Session) step {
	return step{session: session, write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		after, err := t.e.Desk.UrgeTx(ctx, tx, t.by(), c, t.said)
		if err != nil {
			return reply{}, err
		}
		status, err := t.statusLine(after)
		if err != nil {
			return reply{}, err
		}
		return t.reply("case.repeated", wording.Vars{"case_no": after.No, "status_line": status})
	}}
}

// sameMatter tells whether these words go on about a case opened a moment ago.
func (t *turn) sameMatter(c desk.Case) bool {
	// A case that the resident has just opened again was asked about anew.
	if !c.State.Open() || c.State != desk.StateReopened && t.e.Clock.Now().Sub(c.OpenedAt) > burst {
		return false
	}
	if c.Kind == "inquiry" || c.Kind == intent.IntentPraise || t.read.Intent == intent.IntentPraise {
		return false
	}
	if t.read.Topic != "" && c.Topic != "" && t.read.Topic != c.Topic {
		return false
	}
	return unsaid(t.read.Category) || unsaid(c.Category) || t.read.Category == c.Category
}

// unsaid tells whether a category says nothing about the matter.
func unsaid(category string) bool { return category == "" || category == "other" }

// more adds words to a running case, with the home if they name one that the
// case lacks.
func (t *turn) more(c desk.Case, session *conversation.Session) (step, error) {
	return step{session: session, write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		after, err := t.e.Desk.LocateTx(ctx, tx, t.by(), c, "", t.saidHome(), t.said)
		if err != nil {
			return reply{}, err
		}
		return t.reply("case.appended", wording.Vars{"case_no": after.No, "next_time": t.when(after.PromisedAt)})
	}}, nil
}

// opening is what the message says about a new case.
func (t *turn) opening(r *estate.Resident, kind string) desk.Open {
	o := desk.Open{
		CompanyID: t.m.CompanyID, Kind: kind, Category: t.read.Category, Topic: t.read.Topic, Text: t.said, Mode: "wechat",
		ConversationID: t.m.ConversationID, AccountID: t.m.AccountID, OpenID: t.m.OpenID, SourceID: "message:" + t.m.ID,
		Building: t.read.Slots.Building, Unit: t.saidHome(),
	}
	if t.read.Emotion {
		o.Priority = desk.PriorityHigh // strong emotion goes to a person sooner
	}
	if r == nil {
		return o
	}
	o.ResidentID, o.ResidentName, o.Phone = r.ID, r.Name, r.Phone
	if h, ok := t.home(r); ok {
		o.UnitID, o.Unit, o.ProjectID = h.UnitID, h.Unit, h.ProjectID
		if o.Building == "" {
			o.Building = h.Building
		}
	}
	return o
}

// home picks the resident's home the message is about: the one it names, else
// the first he is bound to.
func (t *turn) home(r *estate.Resident) (estate.Home, bool) {
	for _, h := range r.Homes {
		if t.read.Slots.Building != "" && h.Building == t.read.Slots.Building {
			return h, true
		}
	}
	if len(r.Homes) == 0 {
		return estate.Home{}, false
	}
	return r.Homes[0], true
}

// saidHome is the home as the message names it, empty unless building and room are there.
func (t *turn) saidHome() string {
	s := t.read.Slots
	if s.Building == "" || s.Room == "" {
		return ""
	}
	parts := []string{s.Building}
	if s.Entrance != "" {
		parts = append(parts, s.Entrance)
	}
	return strings.Join(append(parts, s.Room), "-")
}

// openedReply tells number, who handles it and when a person answers.
func (t *turn) openedReply(c desk.Case) (reply, error) {
	vars := wording.Vars{"case_no": c.No, "line": t.e.Book.Label("line", desk.LineFor(c.Category, c.Danger)), "next_time": t.when(c.PromisedAt), "summary": c.Summary, "unit": c.Unit}
	key := "case.opened"
	switch {
	case c.Kind == intent.IntentPraise:
		key = "praise.recorded"
	case c.Kind == intent.IntentSuggestion:
		key = "suggestion.recorded"
	case c.Unit == "" && c.ResidentID == "":
		key = "case.opened_unbound"
	case c.Kind == intent.IntentComplaint:
		key = "case.opened_complaint"
	}
	r, err := t.reply(key, vars)
	if err != nil {
		return reply{}, err
	}
	return t.around(r, c)
}

// urge presses the case the resident means: the one he numbers, else his newest
// open one; a second case is not made.
func (t *turn) urge(ctx context.Context) (step, error) {
	no := t.read.Slots.CaseNo
	meant := func(c desk.Case) bool { return (no == "" || c.No == no) && c.Kind != intent.IntentPraise }
	c, found, err := t.newestCase(ctx, func(c desk.Case) bool { return meant(c) && c.State.Open() })
	if err != nil {
		return step{}, err
	}
	if !found {
		// Nobody works on what is handled or closed: pressing it says that it
		// isn't solved.
		c, found, err = t.newestCase(ctx, func(c desk.Case) bool {
			return meant(c) && (c.State == desk.StateHandled || c.State == desk.StateClosed) && t.lately(c) &&
				(unsaid(t.read.Category) || unsaid(c.Category) || t.read.Category == c.Category)
		})
		if err != nil {
			return step{}, err
		}
		if found {
			return t.again(c, desk.FollowUpNotSolved), nil
		}
	}
	if !found {
		// Somebody else of the home may have told it.
		r, err := t.who(ctx)
		if err != nil {
			return step{}, err
		}
		if r != nil && no == "" {
			if c, found, err = t.homeCase(ctx, r, func(c desk.Case) bool { return meant(c) && c.State.Open() }); err != nil {
				return step{}, err
			}
		}
	}
	if !found {
		if t.read.Category != "" {
			t.read.Intent = intent.IntentComplaint
			return t.matter(ctx) // the words name a matter that no case knows yet
		}
		return t.say("case.none", nil)
	}
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		after, err := t.e.Desk.UrgeTx(ctx, tx, t.by(), c, t.said)
		if err != nil {
			return reply{}, err
		}
		status, err := t.statusLine(after)
		if err != nil {
			return reply{}, err
		}
		return t.reply("case.urged", wording.Vars{"case_no": after.No, "status_line": status})
	}}, nil
}

// inquiry answers from the knowledge base, or opens a consult task with a time
// and says so.
func (t *turn) inquiry(ctx context.Context) (step, error) {
	if no := t.read.Slots.CaseNo; no != "" {
		return t.status(ctx, no)
	}
	if s, ok, err := t.fromArticle(ctx); err != nil || ok {
		return s, err
	}
	return t.consult(ctx, "inquiry.consult", "")
}

// handoff brings a person (interfaces: 人工).
func (t *turn) handoff(ctx context.Context) (step, error) {
	return t.consult(ctx, "handoff", desk.LineCustomerService)
}

// consult opens an inquiry for staff, or adds to the one that already waits.
func (t *turn) consult(ctx context.Context, key, line string) (step, error) {
	r, err := t.who(ctx)
	if err != nil {
		return step{}, err
	}
	session, err := t.opened(ctx)
	if err != nil {
		return step{}, err
	}
	now := t.e.Clock.Now()
	running, found, err := t.newestCase(ctx, func(c desk.Case) bool {
		return c.Kind == "inquiry" && c.State.Open() && now.Sub(c.OpenedAt) < burst
	})
	if err != nil {
		return step{}, err
	}
	if found {
		return t.more(running, session)
	}
	prepared, err := t.e.Desk.Prepare(ctx, t.m.CompanyID)
	if err != nil {
		return step{}, err
	}
	open := t.opening(r, "inquiry")
	open.Line = line
	if open.Category == "" {
		open.Category = "customer_service"
	}
	return step{session: session, write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		c, err := t.openTx(ctx, tx, prepared, open)
		if err != nil {
			return reply{}, err
		}
		if err := t.consultedTx(ctx, tx, c.No); err != nil {
			return reply{}, err
		}
		return t.reply(key, wording.Vars{"case_no": c.No, "when": t.when(c.PromisedAt)})
	}}, nil
}

// identity completes the newest case that lacks a home, or thanks for the information.
func (t *turn) identity(ctx context.Context) (step, error) {
	home := t.saidHome()
	if home == "" && t.read.Slots.Phone == "" {
		return t.other(ctx)
	}
	c, found, err := t.newestCase(ctx, func(c desk.Case) bool { return c.State.Open() && c.Kind != intent.IntentPraise })
	if err != nil {
		return step{}, err
	}
	if !found {
		return t.say("identity.noted", nil)
	}
	return t.more(c, nil)
}

// maxQuestions is how many questions clear up a misunderstanding before a
// person takes over.
const maxQuestions = 2

// other keeps loose words with the case of a moment ago; with none, it asks what
// is meant, at most twice, and then brings a person.
func (t *turn) other(ctx context.Context) (step, error) {
	now := t.e.Clock.Now()
	c, found, err := t.newestCase(ctx, func(c desk.Case) bool { return c.State.Open() && now.Sub(c.OpenedAt) < burst })
	if err != nil {
		return step{}, err
	}
	if found && (t.read.Intent == intent.IntentOther || t.read.Intent == intent.IntentIdentity) {
		return t.more(c, nil)
	}
	if s, ok, err := t.doubtful(ctx); err != nil || ok {
		return s, err
	}
	if s, ok, err := t.unclear(ctx); err != nil || ok {
		return s, err
	}
	_, m, err := t.remembered(ctx)
	if err != nil {
		return step{}, err
	}
	asked := m.Asked
	if now.Sub(m.AskedAt) > talkAge {
		asked = 0
	}
	if asked >= maxQuestions {
		return t.consult(ctx, "clarify.last", desk.LineCustomerService)
	}
	session, err := t.keep(ctx, func(m *memory) { m.Asked, m.AskedAt = asked+1, now })
	if err != nil {
		return step{}, err
	}
	s, err := t.say(clarifying[asked], nil)
	s.session = session
	return s, err
}

// clarifying are the questions, in their order.
var clarifying = [maxQuestions]string{"other.menu", "clarify.first"}

// newestCase gives the writer's newest case that fits. A bound resident's cases
// count whatever way they came in; the task about a binding that nobody
// registered is no case of his, or it would tell him what the screen does not.
func (t *turn) newestCase(ctx context.Context, fits func(desk.Case) bool) (desk.Case, bool, error) {
	cases, err := t.e.Desk.OfConversation(ctx, t.e.DB, t.m.ConversationID, 10)
	if err != nil {
		return desk.Case{}, false, err
	}
	for _, c := range cases {
		if c.Topic != desk.TopicBinding && fits(c) {
			return c, true, nil
		}
	}
	r, err := t.who(ctx)
	if err != nil || r == nil {
		return desk.Case{}, false, err
	}
	if cases, err = t.e.Desk.OfResident(ctx, t.e.DB, r.ID, 10); err != nil {
		return desk.Case{}, false, err
	}
	for _, c := range cases {
		if c.ConversationID != t.m.ConversationID && c.Topic != desk.TopicBinding && fits(c) {
			return c, true, nil
		}
	}
	return desk.Case{}, false, nil
}

// status tells the true state of one of the writer's own cases.
func (t *turn) status(ctx context.Context, no string) (step, error) {
	c, found, err := t.newestCase(ctx, func(c desk.Case) bool { return c.No == no })
	if err != nil {
		return step{}, err
	}
	if !found {
		return t.say("case.unknown", nil)
	}
	r, err := t.statusReply(c)
	return step{say: r}, err
}

// statusesListed is how many open cases one answer lists.
const statusesListed = 5

// statuses lists the writer's open cases, or tells where his newest one ended.
func (t *turn) statuses(ctx context.Context) (step, error) {
	var open []desk.Case
	if _, _, err := t.newestCase(ctx, func(c desk.Case) bool {
		if c.State.Open() && len(open) < statusesListed {
			open = append(open, c)
		}
		return false
	}); err != nil {
		return step{}, err
	}
	if len(open) < 2 {
		return t.progress(ctx)
	}
	head, err := t.e.Book.Say("case.status_many", wording.Vars{"count": itoa(len(open))})
	if err != nil {
		return step{}, err
	}
	texts := []wording.Text{head}
	for _, c := range open {
		line, err := t.e.Book.Say("case.status_line", wording.Vars{"case_no": c.No, "summary": c.Summary,
			"state": t.e.Book.Label("state_resident", string(c.State)), "promised": t.when(c.PromisedAt)})
		if err != nil {
			return step{}, err
		}
		texts = append(texts, line)
	}
	text, err := t.e.Book.Join(texts...)
	return step{say: reply{text: text}}, err
}

func (t *turn) statusReply(c desk.Case) (reply, error) {
	vars := wording.Vars{"case_no": c.No, "summary": c.Summary, "state": t.e.Book.Label("state_resident", string(c.State)), "owner": c.OwnerName}
	if c.State.Open() {
		vars["promised"] = t.when(c.PromisedAt)
	}
	return t.reply("case.status", vars)
}

// statusLine says in one line where an open case stands.
func (t *turn) statusLine(c desk.Case) (string, error) {
	key := "case.line_waiting"
	if c.OwnerName != "" {
		key = "case.line_owned"
	}
	text, err := t.e.Book.Say(key, wording.Vars{"state": t.e.Book.Label("state", string(c.State)), "owner": c.OwnerName,
		"line": t.e.Book.Label("line", desk.LineFor(c.Category, c.Danger)), "promised": t.when(c.PromisedAt)})
	return text.String(), err
}

// around puts what the moment asks for before and after a registration: an
// apology for one who is upset, and outside working hours when a person
// is there and which number answers now.
func (t *turn) around(r reply, c desk.Case) (reply, error) {
	texts := []wording.Text{r.text}
	if t.read.Emotion && c.Kind != intent.IntentPraise && c.Kind != intent.IntentComplaint {
		sorry, err := t.e.Book.Say("emotion.apology", nil)
		if err != nil {
			return reply{}, err
		}
		texts = []wording.Text{sorry, r.text}
	}
	now := t.e.Clock.Now()
	working := t.e.Calendar(t.m.CompanyID)
	if !working.Open(now) && c.Kind != intent.IntentPraise {
		opens, err := working.NextOpening(now)
		if err != nil {
			return reply{}, err
		}
		hours, err := t.e.Book.Say("case.opened_offhours", wording.Vars{"when": t.when(opens), "hotline": t.company.Settings.Hotline})
		if err != nil {
			return reply{}, err
		}
		texts = append(texts, hours)
	}
	text, err := t.e.Book.Join(texts...)
	return reply{text: text}, err
}

func (t *turn) when(at time.Time) string { return wording.When(at, t.e.Clock.Now()) }

func itoa(n int) string { return strconv.Itoa(n) }

// surname is how a person is addressed when only the name is known: the whole
// name, since the sex is never guessed (glossary section 10).
func surname(name string) string { return name }
