package bot

import (
	"context"

	"guanjia/internal/db"
	"guanjia/internal/desk"
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
		return t.greet()
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

// media keeps a picture, place or file with the case it belongs to, and asks
// for words where there is none. A voice message can't be read (protocol fact 10).
func (t *turn) media(ctx context.Context) (step, error) {
	switch t.m.Type {
	case "voice":
		if t.m.Detail.Recognition == "" {
			return t.say("voice.please_type", wording.Vars{"hotline": t.company.Settings.Hotline})
		}
		t.m.Type, t.m.Text = "text", t.m.Detail.Recognition
		return t.decide(ctx)
	case "image", "video", "shortvideo", "location":
		c, found, err := t.newestCase(ctx, func(c desk.Case) bool { return c.State.Open() })
		if err != nil {
			return step{}, err
		}
		if !found && t.m.Type == "location" {
			return t.say("location.received", nil)
		}
		if !found {
			return t.say("image.received", nil)
		}
		t.said = t.e.Book.Label("media", t.m.Type)
		if t.m.Detail.Place != nil && t.m.Detail.Place.Label != "" {
			t.said += " " + t.m.Detail.Place.Label
		}
		return t.more(c, nil)
	default:
		return t.say("unsupported.media", wording.Vars{"hotline": t.company.Settings.Hotline})
	}
}
