package official

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/ledger"
	"guanjia/internal/wechatapi"
)

// Windows keeps the residents' reply windows.
type Windows interface {
	// SpendWindow takes one service message from the allowance; ok is false
	// when there is none.
	SpendWindow(ctx context.Context, accountID, openID string) (ok bool, err error)
}

// Directory knows the companies' accounts.
type Directory interface {
	Directory(ctx context.Context) (*company.Directory, error)
}

// ServicePayload is the payload of a service message besides its text.
type ServicePayload struct {
	// Options become a menu message, or numbered lines where the account may
	// not send one.
	Options []ServiceOption `json:"options,omitempty"`
}

// ServiceOption is one choice. ID must be digits for a menu message.
type ServiceOption struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Options of the senders.
type Options struct {
	API       *wechatapi.Client
	Directory Directory
	Windows   Windows
	Clock     clock.Clock
	// NotFollowing hears of a resident who turns out not to follow; may be nil.
	NotFollowing func(ctx context.Context, accountID, openID string)
	// Link makes the address of a template message that carries a link of its
	// own (TemplatePayload.Link); may be nil.
	Link func(d ledger.Delivery, payload json.RawMessage) (string, error)
}

// Service sends customer-service messages (客服消息).
type Service struct{ o Options }

// NewService makes the sender of channel "service".
func NewService(o Options) *Service { return &Service{o} }

// Channel implements deliver.Sender.
func (s *Service) Channel() string { return ledger.ChannelService }

// Accounts implements deliver.Sender: any.
func (s *Service) Accounts() []string { return nil }

// Codes of our own, for outcomes without a call.
const (
	codeNoAccount = "no_account"
	codeWindow    = "window_closed"
	codePayload   = "bad_payload"
	codeTooLong   = "too_long"
	codeTemplate  = "no_template"
	codeStore     = "store_away"
	codeMenus     = 40200 // this account may not send menu messages
)

// Send implements deliver.Sender.
func (s *Service) Send(ctx context.Context, d ledger.Delivery, a ledger.Attempt) ledger.Outcome {
	account, o, ok := s.o.account(ctx, d.AccountID)
	if !ok {
		return o
	}
	var p ServicePayload
	if len(d.Payload) > 0 {
		if err := json.Unmarshal(d.Payload, &p); err != nil {
			return ledger.Outcome{Kind: ledger.Permanent, Code: codePayload, NoCall: true}
		}
	}
	if d.Text == "" || len(withNumbers(d.Text, p.Options)) > wechatapi.MaxTextBytes {
		return ledger.Outcome{Kind: ledger.Permanent, Code: codeTooLong, NoCall: true}
	}
	if o, ok := s.spend(ctx, d, a); !ok {
		return o
	}
	err := s.send(ctx, account, d, p)
	s.o.noteFollowing(ctx, d, err)
	return outcomeOf(err, s.o.Clock.Now())
}

// spend takes the message from the reply window, once for every call that the
// platform may have counted.
func (s *Service) spend(ctx context.Context, d ledger.Delivery, a ledger.Attempt) (ledger.Outcome, bool) {
	if a.N > 1 && d.Submissions == 0 {
		return ledger.Outcome{}, true // spent for an earlier call that the platform refused
	}
	ok, err := s.o.Windows.SpendWindow(ctx, d.AccountID, d.Address)
	switch {
	case err != nil && d.Class != ledger.ClassDanger:
		return ledger.Outcome{Kind: ledger.Retry, Code: codeStore, NoCall: true}, false
	case !ok && d.Class != ledger.ClassDanger:
		return ledger.Outcome{Kind: ledger.Unreachable, Code: codeWindow, NoCall: true}, false
	}
	// Danger asks the platform itself: our count may lag behind a message that
	// is still in the spool, and a refusal costs nothing.
	return ledger.Outcome{}, true
}

func (s *Service) send(ctx context.Context, account wechatapi.Account, d ledger.Delivery, p ServicePayload) error {
	if !menuPossible(p.Options) {
		return s.o.API.SendText(ctx, account, d.Address, withNumbers(d.Text, p.Options))
	}
	list := make([]wechatapi.Choice, len(p.Options))
	for i, o := range p.Options {
		list[i] = wechatapi.Choice{ID: o.ID, Text: o.Text}
	}
	err := s.o.API.SendMenu(ctx, account, d.Address, d.Text, list, "")
	var e *wechatapi.Error
	if errors.As(err, &e) && e.Code == codeMenus {
		// Refused for the kind of message, so it was not sent.
		return s.o.API.SendText(ctx, account, d.Address, withNumbers(d.Text, p.Options))
	}
	return err
}

// menuPossible: the platform returns only numeric ids of chosen options.
func menuPossible(options []ServiceOption) bool {
	for _, o := range options {
		if o.ID == "" || strings.Trim(o.ID, "0123456789") != "" {
			return false
		}
	}
	return len(options) > 0
}

// withNumbers writes options as lines "1. ..." below the text.
func withNumbers(text string, options []ServiceOption) string {
	if len(options) == 0 {
		return text
	}
	var b strings.Builder
	b.WriteString(text)
	for i, o := range options {
		fmt.Fprintf(&b, "\n%d. %s", i+1, o.Text)
	}
	return b.String()
}

// account finds the sending account. A directory that cannot be read is no
// fault of the delivery; an account that is not there is one of the settings.
func (o Options) account(ctx context.Context, id string) (wechatapi.Account, ledger.Outcome, bool) {
	dir, err := o.Directory.Directory(ctx)
	if err != nil {
		return wechatapi.Account{}, ledger.Outcome{Kind: ledger.Retry, Code: codeStore, NoCall: true}, false
	}
	acc, ok := dir.WeChatByID(id)
	if !ok {
		return wechatapi.Account{}, ledger.Outcome{Kind: ledger.Stop, Code: codeNoAccount}, false
	}
	return wechatapi.Account{ID: acc.ID, AppID: acc.AppID, Secret: acc.Secret}, ledger.Outcome{}, true
}

func (o Options) noteFollowing(ctx context.Context, d ledger.Delivery, err error) {
	var e *wechatapi.Error
	if o.NotFollowing == nil || !errors.As(err, &e) || e.Class != wechatapi.ClassRecipient {
		return
	}
	if e.Code == wechatapi.CodeNotFollower || e.Code == 50005 {
		o.NotFollowing(ctx, d.AccountID, d.Address)
	}
}
