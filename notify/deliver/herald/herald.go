// Package herald tells people that a vendor's account has stopped, or works
// again: deliver.Options.Alarm. It puts words into the work groups of customer
// service, by webhook where there is one, since that rings those on duty, else
// as a text of the bot, and never by the channel that is broken.
//
// It sends nothing itself: what it says is a delivery like all others.
package herald

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
	"guanjia/notify/deliver"
)

// Deps are what a Herald stands on.
type Deps struct {
	DB        *db.DB
	Clock     clock.Clock
	Ledger    *ledger.Ledger
	Companies deliver.Directory
	Staff     *staff.Staff
	Queues    *queue.Queues
	Book      *wording.Book
	Log       *slog.Logger
}

// Herald carries alarms to people.
type Herald struct{ d Deps }

// New makes a Herald. It fails when a text is missing.
func New(d Deps) (*Herald, error) {
	keys := []string{keyBack}
	for _, k := range texts {
		keys = append(keys, k)
	}
	if err := d.Book.MustHave(keys...); err != nil {
		return nil, err
	}
	return &Herald{d}, nil
}

const (
	refKind  = "account"
	keyBack  = "group.sending_back"
	lineDesk = "customer_service"
)

// texts says of each kind of trouble what people must do.
var texts = map[ledger.OutcomeKind]string{
	ledger.Money:     "group.sending_money",
	ledger.Stop:      "group.sending_stop",
	ledger.Quota:     "group.sending_quota",
	ledger.Template:  "group.sending_template",
	ledger.Permanent: "group.sending_template",
	ledger.Retry:     "group.sending_trouble",
	ledger.Ambiguous: "group.sending_trouble",
}

// Alarm is deliver.Options.Alarm. What fails is logged: whoever raises an alarm
// cannot do more about it.
func (h *Herald) Alarm(ctx context.Context, a deliver.Alarm) {
	if err := h.tell(ctx, a); err != nil {
		h.d.Log.ErrorContext(ctx, "alarm did not reach the work group",
			"channel", a.Channel, "account", a.AccountID, "kind", string(a.Kind), "err", err)
	}
}

func (h *Herald) tell(ctx context.Context, a deliver.Alarm) error {
	key := keyBack
	if a.Open {
		key = texts[a.Kind]
	}
	if key == "" {
		return nil
	}
	dir, err := h.d.Companies.Directory(ctx)
	if err != nil {
		return fmt.Errorf("read companies: %w", err)
	}
	companyID := owner(dir, a)
	if companyID == "" {
		return fmt.Errorf("no company has this account")
	}
	vars := wording.Vars{"channel": h.d.Book.Label("channel", a.Channel)}
	if a.Open {
		vars["code"] = a.Code
	}
	text, err := h.d.Book.Say(key, vars)
	if err != nil {
		return fmt.Errorf("words: %w", err)
	}
	return h.d.DB.InTx(ctx, "tell of a stopped account", func(ctx context.Context, tx *db.Tx) error {
		return h.put(ctx, tx, dir, companyID, a, text)
	})
}

// owner finds the company of an account; groups and webhooks name theirs.
func owner(dir *company.Directory, a deliver.Alarm) string {
	switch a.Channel {
	case ledger.ChannelSMS:
		acc, _ := dir.SMSByID(a.AccountID)
		return acc.CompanyID
	case ledger.ChannelService, ledger.ChannelTemplate, ledger.ChannelSubscribe:
		acc, _ := dir.WeChatByID(a.AccountID)
		return acc.CompanyID
	case ledger.ChannelCard, ledger.ChannelGroup:
		bot, _ := dir.BotByID(a.AccountID)
		return bot.CompanyID
	}
	return ""
}

// put writes a delivery for each group of customer service. Several nodes raise
// the same alarm: one that finds it told in this quarter of an hour is silent.
func (h *Herald) put(ctx context.Context, tx *db.Tx, dir *company.Directory, companyID string, a deliver.Alarm, text wording.Text) error {
	ref := refOf(a, h.d.Clock.Now().Unix()/(15*60))
	told, err := h.d.Ledger.ByRef(ctx, tx, refKind, ref)
	if err != nil || len(told) > 0 {
		return err
	}
	queues, err := h.d.Queues.All(ctx, tx, companyID)
	if err != nil {
		return err
	}
	said := 0
	for _, q := range queues {
		if q.Line != lineDesk {
			continue
		}
		groups, err := h.d.Staff.GroupsOfQueue(ctx, tx, q.ID)
		if err != nil {
			return err
		}
		for _, g := range groups {
			n, ok, err := h.way(ctx, tx, dir, a, g)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			n.CompanyID, n.Text, n.RefKind, n.RefID = companyID, text, refKind, ref
			if _, err := h.d.Ledger.PutTx(ctx, tx, n); err != nil {
				return err
			}
			said++
		}
	}
	if said == 0 {
		h.d.Log.ErrorContext(ctx, "no work group of customer service can be told that an account stopped",
			"company", companyID, "channel", a.Channel, "kind", string(a.Kind), "code", a.Code)
	}
	return nil
}

// refOf names an alarm: the account, what is wrong, and when.
func refOf(a deliver.Alarm, quarter int64) string {
	return strings.Join([]string{a.Channel, a.AccountID, string(a.Kind), a.Code, a.RefID, fmt.Sprint(a.Open), fmt.Sprint(quarter)}, ":")
}

// way chooses how a group is told: the webhook rings, the bot's text does not.
func (h *Herald) way(ctx context.Context, tx *db.Tx, dir *company.Directory, a deliver.Alarm, g staff.WorkGroup) (ledger.New, bool, error) {
	n := ledger.New{Lane: ledger.LaneEmergency, Class: ledger.ClassCard, Address: g.ChatID}
	hook, ok := dir.WebhookOfChat(g.CompanyID, g.ChatID)
	if ok && a.Channel != ledger.ChannelWebhook {
		n.Channel, n.AccountID = ledger.ChannelWebhook, hook.ID
		if !a.Open {
			return n, true, nil // good news wakes nobody
		}
		duty, err := h.d.Staff.OnDutyFor(ctx, tx, g.QueueID)
		if err != nil {
			return n, false, err
		}
		mentioned := make([]string, len(duty))
		for i, m := range duty {
			mentioned[i] = m.UserID
		}
		n.Payload = map[string]any{"mentioned": mentioned}
		n.Plan = []ledger.Hop{{Channel: ledger.ChannelGroup, AccountID: g.BotID, Address: g.ChatID}}
		return n, true, nil
	}
	if a.Channel == ledger.ChannelCard || a.Channel == ledger.ChannelGroup {
		return n, false, nil
	}
	n.Channel, n.AccountID = ledger.ChannelGroup, g.BotID
	return n, true, nil
}
