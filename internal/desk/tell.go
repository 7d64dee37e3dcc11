package desk

import (
	"context"
	"strings"
	"time"

	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/wording"
)

// Purposes of the template and SMS catalogue that stand in when words can't go
// as a service message: they say only that an answer waits.
const (
	purposeAnswerWaiting = "answer_waiting"
	purposeHandled       = "case_handled"
)

// Option is a choice offered under a message, with a numeric id as the msgmenu needs it.
type Option struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// telling says how words go to the resident.
type telling struct {
	class     ledger.Class
	notBefore time.Time
	options   []Option
	by        string // shown in the timeline
}

// tellTx puts words for the resident of a case on their way: as a service
// message, by template message once the window is closed, by SMS where he does
// not follow. It answers "" when the resident has no address at all.
func (d *Desk) tellTx(ctx context.Context, tx *db.Tx, c Case, text wording.Text, t telling) (string, error) {
	_, dir, err := d.settings(ctx, c.CompanyID)
	if err != nil {
		return "", err
	}
	hops, err := d.hops(dir, c, t)
	if err != nil || len(hops) == 0 {
		return "", err
	}
	first := hops[0]
	lane := ledger.LaneReply
	if c.Emergency() {
		lane = ledger.LaneEmergency
	}
	id, err := d.ledger.PutTx(ctx, tx, ledger.New{
		CompanyID: c.CompanyID, Channel: first.Channel, AccountID: first.AccountID, Address: first.Address,
		Lane: lane, Class: t.class, Plan: hops[1:], Text: text, Payload: first.Payload,
		RefKind: "case", RefID: c.ID, RefRev: c.Version, OrderKey: orderKey(c), NotBefore: t.notBefore,
	})
	if err != nil {
		return "", err
	}
	if c.ConversationID == "" {
		return id, nil
	}
	return id, d.conversations.AppendTx(ctx, tx, conversation.Outbound{
		ConversationID: c.ConversationID, Kind: conversation.AnswerText, Text: text.String(), By: t.by, DeliveryID: id,
	})
}

// orderKey keeps what one resident is told in the order in which it was said.
func orderKey(c Case) string {
	if c.ConversationID != "" {
		return "conversation:" + c.ConversationID
	}
	return "case:" + c.ID
}

// hops lists the ways to the resident of a case, best first. The ways after
// the first say only that an answer waits: their texts are the vendors' templates.
func (d *Desk) hops(dir *company.Directory, c Case, t telling) ([]ledger.Hop, error) {
	purpose := purposeAnswerWaiting
	if c.State == StateHandled {
		purpose = purposeHandled
	}
	var hops []ledger.Hop
	if c.OpenID != "" {
		hops = append(hops, ledger.Hop{Channel: ledger.ChannelService, AccountID: c.AccountID, Address: c.OpenID,
			Payload: ledger.HopPayload(map[string]any{"options": t.options})})
		msg, err := d.book.Template(purpose, wording.Vars{"case_no": c.No, "summary": c.Summary,
			"time": d.clock.Now().In(shanghai).Format("2006年1月2日 15:04")})
		if err != nil {
			return nil, err
		}
		hops = append(hops, ledger.Hop{Channel: ledger.ChannelTemplate, AccountID: c.AccountID, Address: c.OpenID,
			Payload: ledger.HopPayload(map[string]any{"purpose": purpose, "fields": msg.Data})})
	}
	account, ok := dir.SMSOf(c.CompanyID)
	if !ok || c.Phone == "" || account.Templates[purpose] == "" {
		return hops, nil
	}
	owner, _ := dir.Company(c.CompanyID)
	sms, err := d.book.SMS(purpose, wording.Vars{"case_no": c.No, "phone": owner.Settings.ServicePhone})
	if err != nil {
		return nil, err
	}
	return append(hops, ledger.Hop{Channel: ledger.ChannelSMS, AccountID: account.ID, Address: c.Phone,
		Payload: ledger.HopPayload(map[string]any{"purpose": purpose, "params": sms.Params})}), nil
}

func truncate(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// loudTx rings those on duty in one group by webhook, since the bot's own
// channel can't mention anybody (protocol, fact 13).
func (d *Desk) loudTx(ctx context.Context, tx *db.Tx, c Case, chatID string) error {
	_, dir, err := d.settings(ctx, c.CompanyID)
	if err != nil {
		return err
	}
	hook, ok := dir.WebhookOfChat(c.CompanyID, chatID)
	if !ok {
		d.log.WarnContext(ctx, "group has no webhook, an emergency can't ring there", "case_no", c.No)
		return nil
	}
	duty, err := d.staff.OnDutyFor(ctx, tx, c.QueueID)
	if err != nil {
		return err
	}
	mentions := make([]string, len(duty))
	for i, m := range duty {
		mentions[i] = m.UserID
	}
	text, err := d.book.Say("group.loud", wording.Vars{"case_no": c.No, "what": d.what(c), "where": d.where(c), "said": c.Summary})
	if err != nil {
		return err
	}
	_, err = d.ledger.PutTx(ctx, tx, ledger.New{
		CompanyID: c.CompanyID, Channel: ledger.ChannelWebhook, AccountID: hook.ID, Address: chatID, Lane: ledger.LaneEmergency, Class: ledger.ClassDanger,
		Text: text, Payload: map[string]any{"mentioned": mentions}, RefKind: "case", RefID: c.ID, RefRev: c.Version, OrderKey: "loud:" + chatID,
	})
	return err
}

// ringTx rings those on duty in every group of the case's queue.
func (d *Desk) ringTx(ctx context.Context, tx *db.Tx, c Case) error {
	groups, err := d.staff.GroupsOfQueue(ctx, tx, c.QueueID)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := d.loudTx(ctx, tx, c, g.ChatID); err != nil {
			return err
		}
	}
	return nil
}

// what names the matter of a case for staff: the danger, or what kind of case it is.
func (d *Desk) what(c Case) string {
	if c.Danger != "" {
		return d.book.Label("danger", c.Danger)
	}
	return d.book.Label("intent", c.Kind)
}

// where names the place of a case for staff; empty when it is not known.
func (d *Desk) where(c Case) string { return c.Where(d.book) }

// Where names the place of a case; empty when it is not known. A building that
// the resident names comes before his own home: he may report the lift of
// another house.
func (c Case) Where(book *wording.Book) string {
	own, _, _ := strings.Cut(c.Unit, "-")
	if c.Building != "" && c.Building != own {
		return c.Building + book.Label("card", "building")
	}
	return c.Unit
}

// botName is what members call the bot in a group.
func (d *Desk) botName(ctx context.Context, companyID string) string {
	settings, dir, err := d.settings(ctx, companyID)
	if err != nil {
		return company.DefaultSettings().BotName
	}
	if bot, ok := dir.BotOf(companyID); ok && bot.Name != "" {
		return bot.Name
	}
	return settings.BotName
}

// groupTx writes one line into every work group of the case's queue: a card
// can't be edited after five seconds, so what happened elsewhere is said below it.
func (d *Desk) groupTx(ctx context.Context, tx *db.Tx, c Case, key string, vars wording.Vars) error {
	text, err := d.book.Say(key, vars)
	if err != nil {
		return err
	}
	groups, err := d.staff.GroupsOfQueue(ctx, tx, c.QueueID)
	if err != nil {
		return err
	}
	for _, g := range groups {
		_, err := d.ledger.PutTx(ctx, tx, ledger.New{
			CompanyID: c.CompanyID, Channel: ledger.ChannelGroup, AccountID: g.BotID, Address: g.ChatID, Lane: ledger.LaneCard, Class: ledger.ClassOther,
			Text: text, RefKind: "case", RefID: c.ID, RefRev: c.Version, OrderKey: "group:" + g.ChatID + ":" + c.ID,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
