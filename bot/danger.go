package bot

import (
	"context"
	"time"

	"guanjia/bot/intent"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/wording"
)

// sameDanger is how long further words of one writer about one danger belong to
// the case that is already running.
const sameDanger = 6 * time.Hour

// Away answers a message that could not be stored because the database is away:
// safety words and the 24-hour number for a danger, else a fixed text without a
// case number, since there is none (architecture, decision 9). It uses no
// database. Empty when even the company is not known.
func (e *Engine) Away(ctx context.Context, in conversation.Inbound) string {
	dir, err := e.Companies.Directory(ctx)
	if err != nil {
		return ""
	}
	c, ok := dir.Company(in.CompanyID)
	if !ok {
		return ""
	}
	vars := wording.Vars{"hotline": c.Settings.Hotline}
	if in.Kind == conversation.KindMessage && in.Type == "text" {
		if r := e.Classifier.Classify(intent.Input{Text: in.Text}); r.Emergency {
			if text, err := e.Book.Say(dangerKey(e.Book, r.EmergencyKind), vars); err == nil {
				return text.String()
			}
		}
	}
	if in.Kind == conversation.KindEvent && in.Event != "subscribe" {
		return ""
	}
	text, err := e.Book.Say("away", vars)
	if err != nil {
		return ""
	}
	return text.String()
}

func dangerKey(book *wording.Book, kind string) string {
	if key := "danger." + kind; kind != "" && book.Has(key) {
		return key
	}
	return "danger.generic"
}

// danger answers an emergency: safety words first, then the number of the case,
// which rings those on duty. More words about the same danger join the
// running case.
func (t *turn) danger(ctx context.Context) (step, error) {
	r, err := t.who(ctx)
	if err != nil {
		return step{}, err
	}
	session, err := t.e.Conversations.Session(ctx, t.e.DB, t.m.ConversationID)
	if err != nil {
		return step{}, err
	}
	running, found, err := t.runningDanger(ctx)
	if err != nil {
		return step{}, err
	}
	if found {
		return step{session: &session, write: func(ctx context.Context, tx *db.Tx) (reply, error) {
			c, err := t.e.Desk.AppendTx(ctx, tx, t.by(), running, t.said)
			if err != nil {
				return reply{}, err
			}
			return t.dangerReply(c)
		}}, nil
	}
	prepared, err := t.e.Desk.Prepare(ctx, t.m.CompanyID)
	if err != nil {
		return step{}, err
	}
	open := t.opening(r, "help")
	open.Danger, open.Category = t.read.EmergencyKind, t.read.Category
	if open.Danger == "" {
		open.Danger = "generic"
	}
	return step{session: &session, write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		c, err := t.e.Desk.OpenTx(ctx, tx, prepared, t.by(), open)
		if err != nil {
			return reply{}, err
		}
		return t.dangerReply(c)
	}}, nil
}

func (t *turn) runningDanger(ctx context.Context) (desk.Case, bool, error) {
	cases, err := t.e.Desk.OfConversation(ctx, t.e.DB, t.m.ConversationID, 5)
	if err != nil {
		return desk.Case{}, false, err
	}
	now := t.e.Clock.Now()
	for _, c := range cases {
		if c.State.Open() && c.Danger != "" && now.Sub(c.OpenedAt) < sameDanger &&
			(c.Danger == t.read.EmergencyKind || t.read.Continues || t.read.EmergencyKind == "" || t.read.EmergencyKind == intent.DangerGeneric) {
			return c, true, nil
		}
	}
	return desk.Case{}, false, nil
}

func (t *turn) dangerReply(c desk.Case) (reply, error) {
	safety, err := t.e.Book.Say(dangerKey(t.e.Book, c.Danger), wording.Vars{"hotline": t.company.Settings.Hotline})
	if err != nil {
		return reply{}, err
	}
	number, err := t.e.Book.Say("danger.case", wording.Vars{"case_no": c.No})
	if err != nil {
		return reply{}, err
	}
	text, err := t.e.Book.Join(safety, number)
	return reply{text: text, danger: true}, err
}
