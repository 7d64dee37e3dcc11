package bot

import (
	"context"

	"guanjia/bot/intent"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/media"
	"guanjia/internal/wording"
)

// Keys of the account's menu (CLICK events).
const (
	MenuBind     = "bind"
	MenuRepair   = "repair"
	MenuProgress = "progress"
	MenuHuman    = "human"
	MenuContact  = "contact"
)

// event answers what the platform reports. Most events are stored and answered
// with nothing.
func (t *turn) event(ctx context.Context) (step, error) {
	switch t.m.Event {
	case "subscribe":
		return t.say("greeting.follow", wording.Vars{"company": t.company.Name, "bot": t.company.Settings.BotName, "hotline": t.company.Settings.Hotline})
	case "SCAN":
		return t.greet(ctx)
	case "unsubscribe":
		return t.unfollow()
	case "CLICK":
		return t.click(ctx)
	case "TEMPLATESENDJOBFINISH":
		// Told outside the turn's transaction: a receipt said twice is harmless.
		return step{}, t.e.TemplateResult(ctx, t.m.AccountID, t.m.OpenID, t.m.MsgID, t.m.Detail.Status)
	}
	return step{}, nil
}

// unfollow forgets who the writer is, as the platform demands (protocol 1.7).
// His cases stay; they are the company's records.
func (t *turn) unfollow() (step, error) {
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		if err := t.e.Estate.UnbindTx(ctx, tx, t.m.CompanyID, t.m.OpenID); err != nil {
			return reply{}, err
		}
		return reply{}, t.e.Conversations.ForgetTx(ctx, tx, t.m.AccountID, t.m.OpenID)
	}}, nil
}

func (t *turn) click(ctx context.Context) (step, error) {
	switch t.m.EventKey {
	case MenuBind:
		return t.say("bind.how", nil)
	case MenuRepair:
		return t.say("other.menu", nil)
	case MenuProgress:
		return t.statuses(ctx)
	case MenuHuman:
		t.said = t.e.Book.Label("menu", MenuHuman)
		return t.handoff(ctx)
	default:
		return t.say("help", wording.Vars{"bot": t.company.Settings.BotName, "hotline": t.company.Settings.Hotline})
	}
}

// progress tells where the newest open case stands, else the newest of all.
func (t *turn) progress(ctx context.Context) (step, error) {
	c, found, err := t.newestCase(ctx, func(c desk.Case) bool { return c.State.Open() })
	if err == nil && !found {
		c, found, err = t.newestCase(ctx, func(desk.Case) bool { return true })
	}
	if err != nil {
		return step{}, err
	}
	if !found {
		return t.say("case.none", nil)
	}
	r, err := t.statusReply(c)
	return step{say: r}, err
}

// files are what the platform lets us download, by type of message.
var files = map[string]string{"image": media.KindImage, "voice": media.KindVoice}

// media keeps a picture, voice, place or film with the case it belongs to, and
// asks for words where there is none. A voice message can't be read (protocol
// fact 10), but a person can listen to it.
func (t *turn) media(ctx context.Context) (step, error) {
	switch t.m.Type {
	case "voice":
		if t.m.Detail.Recognition != "" {
			t.m.Type, t.m.Text = "text", t.m.Detail.Recognition
			return t.decide(ctx)
		}
	case "image", "video", "shortvideo", "location":
	default:
		return t.say("unsupported.media", wording.Vars{"hotline": t.company.Settings.Hotline})
	}
	c, found, err := t.newestCase(ctx, func(c desk.Case) bool { return c.State.Open() && c.Kind != intent.IntentPraise })
	if err != nil {
		return step{}, err
	}
	if !found {
		return t.looseMedia(ctx)
	}
	t.said = t.e.Book.Label("media", t.m.Type)
	if t.m.Detail.Place != nil && t.m.Detail.Place.Label != "" {
		t.said += " " + t.m.Detail.Place.Label
	}
	if !t.fetches() {
		return t.more(c, nil)
	}
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		if err := t.wantTx(ctx, tx, c.ID); err != nil {
			return reply{}, err
		}
		images, voices, err := t.e.Media.CountTx(ctx, tx, c.ID)
		if err != nil {
			return reply{}, err
		}
		after, err := t.e.Desk.FilesTx(ctx, tx, t.by(), c, t.said, desk.Files{Images: images, Voices: voices})
		if err != nil {
			return reply{}, err
		}
		return t.mediaReply(after)
	}}, nil
}

func (t *turn) mediaReply(c desk.Case) (reply, error) {
	if t.m.Type == "voice" {
		return t.reply("voice.kept", wording.Vars{"case_no": c.No})
	}
	return t.reply("case.appended", wording.Vars{"case_no": c.No, "next_time": t.when(c.PromisedAt)})
}

// fetches tells whether what came can be downloaded and kept.
func (t *turn) fetches() bool { return t.e.Media != nil && files[t.m.Type] != "" && t.m.MediaID != "" }

func (t *turn) wantTx(ctx context.Context, tx *db.Tx, caseID string) error {
	return t.e.Media.WantTx(ctx, tx, media.Want{
		CompanyID: t.m.CompanyID, AccountID: t.m.AccountID, ConversationID: t.m.ConversationID, CaseID: caseID,
		Kind: files[t.m.Type], VendorID: t.m.MediaID,
	})
}

// looseMedia keeps what belongs to no case yet for the one that is opened next.
func (t *turn) looseMedia(ctx context.Context) (step, error) {
	key := "image.received"
	switch t.m.Type {
	case "location":
		key = "location.received"
	case "voice":
		key = "voice.please_type"
	}
	r, err := t.reply(key, nil)
	if err != nil || !t.fetches() {
		return step{say: r}, err
	}
	session, err := t.keep(ctx, func(m *memory) { m.FilesAt = t.e.Clock.Now() })
	if err != nil {
		return step{}, err
	}
	return step{session: session, write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		return r, t.wantTx(ctx, tx, "")
	}}, nil
}
