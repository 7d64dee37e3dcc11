package bot

import (
	"context"
	"strings"
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
	session, err := t.opened(ctx)
	if err != nil {
		return step{}, err
	}
	running, found, err := t.runningDanger(ctx)
	if err != nil {
		return step{}, err
	}
	if found {
		return step{session: session, write: func(ctx context.Context, tx *db.Tx) (reply, error) { return t.moreDangerTx(ctx, tx, running) }}, nil
	}
	if t.read.Continues {
		// The words only press; what they press may be thought done.
		done, found, err := t.newestCase(ctx, func(c desk.Case) bool {
			return c.Danger != "" && (c.State == desk.StateHandled || c.State == desk.StateClosed) && t.e.Clock.Now().Sub(c.OpenedAt) < sameDanger
		})
		if err != nil {
			return step{}, err
		}
		if found {
			return t.again(done, desk.FollowUpNotSolved), nil
		}
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
	return step{session: session, write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		c, err := t.openTx(ctx, tx, prepared, open)
		if err != nil {
			return reply{}, err
		}
		key, vars := "danger.case", wording.Vars{"case_no": c.No}
		if place := t.placeOf(c); place != "" {
			key, vars["place"] = "danger.case_located", place
		}
		return t.dangerReply(c, key, vars)
	}}, nil
}

// moreDangerTx adds words to the running case of a danger; words that press
// ring those on duty again.
func (t *turn) moreDangerTx(ctx context.Context, tx *db.Tx, running desk.Case) (reply, error) {
	if !t.urging {
		c, err := t.e.Desk.LocateTx(ctx, tx, t.by(), running, "", t.saidHome(), t.said)
		if err != nil {
			return reply{}, err
		}
		return t.dangerReply(c, "danger.appended", wording.Vars{"case_no": c.No})
	}
	c, err := t.e.Desk.UrgeTx(ctx, tx, t.by(), running, t.said)
	if err != nil {
		return reply{}, err
	}
	status, err := t.statusLine(c)
	if err != nil {
		return reply{}, err
	}
	return t.dangerReply(c, "case.urged_danger", wording.Vars{"case_no": c.No, "status_line": status, "hotline": t.company.Settings.Hotline})
}

// placeOf is where those on duty are sent: the building the words name, else
// the home of the writer.
func (t *turn) placeOf(c desk.Case) string {
	if own, _, _ := strings.Cut(c.Unit, "-"); c.Building != "" && c.Building != own {
		return c.Building + t.e.Book.Label("card", "building")
	}
	return c.Unit
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

// dangerReply is the safety words, and below them what became of the message.
func (t *turn) dangerReply(c desk.Case, key string, vars wording.Vars) (reply, error) {
	safety, err := t.e.Book.Say(dangerKey(t.e.Book, c.Danger), wording.Vars{"hotline": t.company.Settings.Hotline})
	if err != nil {
		return reply{}, err
	}
	after, err := t.e.Book.Say(key, vars)
	if err != nil {
		return reply{}, err
	}
	text, err := t.e.Book.Join(safety, after)
	return reply{text: text, danger: true}, err
}
