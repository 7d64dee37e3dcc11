package wecom

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"guanjia/bot/workgroup"
	"guanjia/internal/ledger"
	"guanjia/internal/wecomapi"
)

// Cards draws what a card delivery refers to, at the moment of sending.
type Cards interface {
	Case(ctx context.Context, caseID, suffix string) (workgroup.Card, error)
	Notice(ctx context.Context, companyID, noticeID, suffix string) (workgroup.Card, error)
	Digest(ctx context.Context, companyID, queueID, botName, suffix string) (card workgroup.Card, covered map[string]int64, err error)
}

const (
	// socketPause is after how long a delivery looks for the socket again.
	socketPause = 2 * time.Second
	// longPause is the same once it has been gone for long.
	longPause = 15 * time.Second
	// coveredFor is how long a digest stands for the cards it stood in for.
	coveredFor = 30 * time.Minute
	// DefaultHintEvery is about one shift.
	DefaultHintEvery = 8 * time.Hour
	// hintRoom is how much of a minute must be left for a hint.
	hintRoom = 10
)

// CardSender sends deliveries of channel card: the card of one case or notice
// into one chat. AccountID is the bot, Address the chat's id, RefID the case or
// the notice.
type CardSender struct {
	channel   *Channel
	cards     Cards
	hintEvery time.Duration
	log       *slog.Logger

	mu      sync.Mutex
	covered map[string]cover // by chat and case
}

type cover struct {
	rev   int64
	until time.Time
}

// NewCardSender makes a CardSender. hintEvery is how often, by the product's
// clock, a card is followed by the line that tells how to answer; 0 never.
func NewCardSender(c *Channel, cards Cards, hintEvery time.Duration) *CardSender {
	return &CardSender{channel: c, cards: cards, hintEvery: hintEvery, log: c.o.Log, covered: map[string]cover{}}
}

// Channel is "card".
func (s *CardSender) Channel() string { return string(ledger.ChannelCard) }

// Accounts are the bots that this node can serve: never nil, which would mean
// all.
func (s *CardSender) Accounts() []string { return s.channel.sending() }

// Send draws the case's card as it is now and sends it, or finds that a digest
// has told of it, or sends a digest when the chat's allowance has room for one
// more and more than this one waits.
func (s *CardSender) Send(ctx context.Context, d ledger.Delivery, a ledger.Attempt) ledger.Outcome {
	if o, down := s.channel.notUp(d); down {
		return o
	}
	card, err := draw(ctx, s.cards, d, a.OutID)
	if err != nil {
		s.log.WarnContext(ctx, "card not drawn", "delivery", d.ID, "error", err)
		return ledger.Outcome{Kind: ledger.Retry, Code: "not_drawn"}
	}
	chat := chatOf(d)
	if !card.Urgent && s.isCovered(chat, card) {
		return ledger.Outcome{Kind: ledger.OK, VendorID: "digest"}
	}
	spareM, spareH := spareMinute, spareHour
	if card.Urgent || d.Lane == ledger.LaneEmergency {
		spareM, spareH = 0, 0
	}
	left, wait, ok := s.channel.budget.take(chat.ID, spareM, spareH)
	if !ok {
		return ledger.Outcome{Kind: ledger.Throttled, Code: "chat_allowance", RetryAfter: wait}
	}
	if left == 0 && !card.Urgent {
		if o, sent := s.digest(ctx, chat, card, a); sent {
			return o
		}
	}
	if err := s.channel.PushCard(ctx, chat, card); err != nil {
		return outcome(err)
	}
	if left > hintRoom && card.CaseID != "" {
		s.hint(ctx, chat)
	}
	return ledger.Outcome{Kind: ledger.OK, VendorID: card.TaskID}
}

// draw draws the card that a delivery refers to.
func draw(ctx context.Context, cards Cards, d ledger.Delivery, suffix string) (workgroup.Card, error) {
	if d.RefKind == workgroup.RefNoticeCard {
		return cards.Notice(ctx, d.CompanyID, d.RefID, suffix)
	}
	return cards.Case(ctx, d.RefID, suffix)
}

// digest sends one card for all that waits in the queue, if that is more than
// this case.
func (s *CardSender) digest(ctx context.Context, chat workgroup.Chat, card workgroup.Card, a ledger.Attempt) (ledger.Outcome, bool) {
	list, covered, err := s.cards.Digest(ctx, chat.CompanyID, card.QueueID, s.channel.botName(chat.BotID), a.OutID)
	if err != nil {
		s.log.WarnContext(ctx, "digest not drawn; the single card goes", "error", err)
		return ledger.Outcome{}, false
	}
	if _, has := covered[card.CaseID]; !has || len(covered) < 2 {
		return ledger.Outcome{}, false
	}
	if err := s.channel.PushCard(ctx, chat, list); err != nil {
		return outcome(err), true
	}
	s.cover(chat, covered)
	s.channel.metrics.digests.WithLabelValues().Inc()
	return ledger.Outcome{Kind: ledger.OK, VendorID: list.TaskID}, true
}

func (s *CardSender) cover(chat workgroup.Chat, covered map[string]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for k, c := range s.covered {
		if now.After(c.until) {
			delete(s.covered, k)
		}
	}
	for id, rev := range covered {
		s.covered[chatKey(chat)+"/"+id] = cover{rev: rev, until: now.Add(coveredFor)}
	}
}

func (s *CardSender) isCovered(chat workgroup.Chat, card workgroup.Card) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.covered[chatKey(chat)+"/"+card.CaseID]
	return ok && card.Rev <= c.rev && time.Now().Before(c.until)
}

// hint tells once a shift how to answer, as a line that can be quoted.
func (s *CardSender) hint(ctx context.Context, chat workgroup.Chat) {
	if s.hintEvery <= 0 || chat.Single {
		return
	}
	due, err := s.channel.o.Store.hintDue(ctx, chat.BotID, chat.ID, s.hintEvery)
	if err != nil || !due {
		return
	}
	k := s.channel.keeper(chat.BotID)
	if k == nil {
		return
	}
	text := s.channel.inbox.words(k, "group.hint")
	if _, _, ok := s.channel.budget.take(chat.ID, spareMinute, spareHour); !ok || text == "" {
		return
	}
	if err := s.channel.PushText(ctx, chat, text); err != nil {
		s.log.InfoContext(ctx, "hint not sent", "error", err)
	}
}

// TextSender sends deliveries of channel group: words into a chat, as markdown.
type TextSender struct{ channel *Channel }

// NewTextSender makes a TextSender.
func NewTextSender(c *Channel) *TextSender { return &TextSender{channel: c} }

// Channel is "group".
func (s *TextSender) Channel() string { return string(ledger.ChannelGroup) }

// Accounts are the bots that this node can serve, never nil.
func (s *TextSender) Accounts() []string { return s.channel.sending() }

// Send sends the delivery's words.
func (s *TextSender) Send(ctx context.Context, d ledger.Delivery, _ ledger.Attempt) ledger.Outcome {
	if o, down := s.channel.notUp(d); down {
		return o
	}
	chat := chatOf(d)
	spareM, spareH := spareMinute, spareHour
	if d.Lane == ledger.LaneEmergency || d.Lane == ledger.LaneReply {
		spareM, spareH = 0, 0
	}
	if _, wait, ok := s.channel.budget.take(chat.ID, spareM, spareH); !ok {
		return ledger.Outcome{Kind: ledger.Throttled, Code: "chat_allowance", RetryAfter: wait}
	}
	if err := s.channel.PushText(ctx, chat, d.Text); err != nil {
		return outcome(err)
	}
	return ledger.Outcome{Kind: ledger.OK}
}

// notUp gives what becomes of a delivery while its bot has no connection: it
// waits, unless it is an emergency with another way and the connection has
// been gone for too long.
func (c *Channel) notUp(d ledger.Delivery) (ledger.Outcome, bool) {
	down, kept := c.Down(d.AccountID)
	switch {
	case !kept:
		// Another node has the socket now; it claims the delivery.
		return ledger.Outcome{Kind: ledger.Throttled, Code: "other_node", RetryAfter: time.Second}, true
	case down == 0:
		return ledger.Outcome{}, false
	case d.Lane == ledger.LaneEmergency && down > c.o.Timing.WebhookAfter && len(d.Plan) > 0:
		return ledger.Outcome{Kind: ledger.Unreachable, Code: "socket_down"}, true
	case down > c.o.Timing.WebhookAfter:
		return ledger.Outcome{Kind: ledger.Throttled, Code: "socket_down", RetryAfter: longPause}, true
	default:
		return ledger.Outcome{Kind: ledger.Throttled, Code: "socket_down", RetryAfter: socketPause}, true
	}
}

func (c *Channel) botName(id string) string {
	if k := c.keeper(id); k != nil {
		return k.bot.Name
	}
	return ""
}

func chatOf(d ledger.Delivery) workgroup.Chat {
	id, single := strings.CutPrefix(d.Address, workgroup.SinglePrefix)
	return workgroup.Chat{CompanyID: d.CompanyID, BotID: d.AccountID, ID: id, Single: single}
}

// outcomes maps the vendor's error classes to what the ledger does.
var outcomes = map[wecomapi.Class]ledger.OutcomeKind{
	wecomapi.ClassNone:        ledger.OK,
	wecomapi.ClassRetry:       ledger.Retry,
	wecomapi.ClassToken:       ledger.RefreshToken,
	wecomapi.ClassPermanent:   ledger.Permanent,
	wecomapi.ClassUnreachable: ledger.Unreachable,
	wecomapi.ClassThrottled:   ledger.Throttled,
	wecomapi.ClassQuota:       ledger.Quota,
	wecomapi.ClassStop:        ledger.Stop,
	wecomapi.ClassReconnect:   ledger.Throttled,
	wecomapi.ClassAmbiguous:   ledger.Ambiguous,
}

func outcome(err error) ledger.Outcome {
	class := wecomapi.ClassOf(err)
	o := ledger.Outcome{Kind: outcomes[class]}
	if code := wecomapi.CodeOf(err); code != 0 {
		o.Code = strconv.Itoa(code)
	}
	switch {
	case class == wecomapi.ClassThrottled:
		o.RetryAfter = throttlePause
	case class == wecomapi.ClassReconnect:
		o.RetryAfter = socketPause
	case class == wecomapi.ClassRetry && o.Code == "":
		// There was no connection: no try was used up.
		o.Kind, o.Code, o.RetryAfter = ledger.Throttled, "no_connection", socketPause
	}
	return o
}

// Webhooks gives the key of a webhook: by its account, or else of the chat.
type Webhooks interface {
	WebhookKey(ctx context.Context, companyID, accountID, chatID string) (key string, ok bool, err error)
}

// WebhookSender sends deliveries of channel webhook: a text that rings those on
// duty, which a bot cannot. AccountID is the webhook or empty, Address the
// group's chat id, the payload {"mentioned":[userid]}. A delivery without words
// (the hop of a card) gets those of its card.
type WebhookSender struct {
	client *wecomapi.Client
	keys   Webhooks
	cards  Cards
	budget *budget
	log    *slog.Logger
}

// NewWebhookSender makes a WebhookSender. It needs no socket, so every node may
// send.
func NewWebhookSender(client *wecomapi.Client, keys Webhooks, cards Cards, log *slog.Logger) *WebhookSender {
	return &WebhookSender{client: client, keys: keys, cards: cards, log: log, budget: newBudget(time.Now, webhookPerMinute, perHour)}
}

// Channel is "webhook".
func (s *WebhookSender) Channel() string { return string(ledger.ChannelWebhook) }

// Accounts is nil: any webhook.
func (s *WebhookSender) Accounts() []string { return nil }

// WebhookPayload is the payload of a webhook delivery.
type WebhookPayload struct {
	Mentioned []string `json:"mentioned"` // userids, "@all" for everybody
}

// Send posts the text.
func (s *WebhookSender) Send(ctx context.Context, d ledger.Delivery, a ledger.Attempt) ledger.Outcome {
	key, ok, err := s.keys.WebhookKey(ctx, d.CompanyID, d.AccountID, d.Address)
	if err != nil {
		return ledger.Outcome{Kind: ledger.Retry, Code: "no_key"}
	}
	if !ok {
		return ledger.Outcome{Kind: ledger.Unreachable, Code: "no_webhook"}
	}
	var payload WebhookPayload
	if len(d.Payload) > 0 {
		if err := json.Unmarshal(d.Payload, &payload); err != nil {
			s.log.WarnContext(ctx, "payload of a webhook text not understood; nobody is rung", "delivery", d.ID)
		}
	}
	text := d.Text
	if text == "" {
		card, err := draw(ctx, s.cards, d, a.OutID)
		if err != nil {
			s.log.WarnContext(ctx, "card not drawn", "delivery", d.ID, "error", err)
			return ledger.Outcome{Kind: ledger.Retry, Code: "not_drawn"}
		}
		text = cardText(card)
	}
	if _, wait, ok := s.budget.take(key, 0, 0); !ok {
		return ledger.Outcome{Kind: ledger.Throttled, Code: "webhook_allowance", RetryAfter: wait}
	}
	err = s.client.SendWebhookText(ctx, key, wecomapi.WebhookText{Content: cutBytes(text, wecomapi.MaxText), Mentions: payload.Mentioned})
	if err != nil {
		return outcome(err)
	}
	return ledger.Outcome{Kind: ledger.OK}
}

// cardText says in plain words what a card shows.
func cardText(c workgroup.Card) string {
	lines := []string{c.Title}
	if c.Desc != "" {
		lines = append(lines, c.Desc)
	}
	for _, r := range c.Rows {
		lines = append(lines, r.Key+"："+r.Value)
	}
	return strings.Join(lines, "\n")
}
