package official

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"guanjia/internal/ledger"
	"guanjia/internal/wechatapi"
)

// TemplatePayload is the payload of a template message.
type TemplatePayload struct {
	// Purpose names the template in the catalogue; the account's settings say
	// which template id serves it.
	Purpose string `json:"purpose"`
	// Fields by the platform's key: "thing2" -> words.
	Fields map[string]string `json:"fields"`
	URL    string            `json:"url,omitempty"`
	// Link asks Options.Link for an address of this delivery alone, made when it
	// is sent and stored nowhere: such as the signed link of a survey.
	Link json.RawMessage `json:"link,omitempty"`
}

// TemplateSender sends template messages (模板消息). Accepted is not delivered:
// the platform pushes a result event.
type TemplateSender struct{ o Options }

// NewTemplate makes the sender of channel "template".
func NewTemplate(o Options) *TemplateSender { return &TemplateSender{o} }

// Channel implements deliver.Sender.
func (s *TemplateSender) Channel() string { return ledger.ChannelTemplate }

// Accounts implements deliver.Sender: any.
func (s *TemplateSender) Accounts() []string { return nil }

// Send implements deliver.Sender. The platform's client_msg_id is the
// delivery's id, so that every attempt of a delivery carries the same one and
// a repeat within ten minutes reaches nobody twice.
func (s *TemplateSender) Send(ctx context.Context, d ledger.Delivery, _ ledger.Attempt) ledger.Outcome {
	var p TemplatePayload
	if err := json.Unmarshal(d.Payload, &p); err != nil || p.Purpose == "" || len(p.Fields) == 0 {
		return ledger.Outcome{Kind: ledger.Permanent, Code: codePayload, NoCall: true}
	}
	if field := badField(p.Fields); field != "" {
		return ledger.Outcome{Kind: ledger.Permanent, Code: "field:" + field, NoCall: true}
	}
	if len(p.Link) > 0 {
		var err error
		if p.URL, err = s.o.link(d, p.Link); err != nil {
			return ledger.Outcome{Kind: ledger.Permanent, Code: codeLink, NoCall: true}
		}
	}
	account, o, ok := s.o.account(ctx, d.AccountID)
	if !ok {
		return o
	}
	id, o, ok := s.templateID(ctx, d.AccountID, p.Purpose)
	if !ok {
		return o
	}
	msgID, err := s.o.API.SendTemplate(ctx, account, wechatapi.Template{
		OpenID: d.Address, TemplateID: id, URL: p.URL, Fields: p.Fields,
		ClientID: clientID(d.ID),
	})
	s.o.noteFollowing(ctx, d, err)
	out := outcomeOf(err, s.o.Clock.Now())
	out.VendorID = msgID
	return out
}

// codeLink: no link could be made for a message that needs one.
const codeLink = "no_link"

func (o Options) link(d ledger.Delivery, payload json.RawMessage) (string, error) {
	if o.Link == nil {
		return "", errors.New("nobody makes links")
	}
	return o.Link(d, payload)
}

func (s *TemplateSender) templateID(ctx context.Context, accountID, purpose string) (string, ledger.Outcome, bool) {
	dir, err := s.o.Directory.Directory(ctx)
	if err != nil {
		return "", ledger.Outcome{Kind: ledger.Retry, Code: codeStore, NoCall: true}, false
	}
	acc, ok := dir.WeChatByID(accountID)
	if !ok || acc.Templates[purpose] == "" {
		return "", ledger.Outcome{Kind: ledger.Permanent, Code: codeTemplate, NoCall: true}, false
	}
	return acc.Templates[purpose], ledger.Outcome{}, true
}

// Result turns the status of a TEMPLATESENDJOBFINISH event into the receipt
// for the ledger. msgID is the event's MsgID. The event comes by a signed
// push, so it counts as confirmed. Unknown statuses count as failed.
func Result(accountID, openID, msgID, status string) ledger.Receipt {
	r := ledger.Receipt{
		Channel: ledger.ChannelTemplate, AccountID: accountID, Address: openID,
		VendorID: msgID, Confirmed: true,
	}
	s := strings.ToLower(strings.TrimSpace(status))
	if before, after, found := strings.Cut(s, ":"); found {
		s = strings.TrimSpace(before) + ":" + strings.TrimSpace(after)
	}
	switch {
	case s == "success":
		r.OK, r.Code = true, "success"
	case strings.HasPrefix(s, "failed:user block"):
		r.Code = "user_block"
	case strings.HasPrefix(s, "failed:system failed"), strings.HasPrefix(s, "failed:system fail"):
		r.Code = "system_failed"
	case strings.HasPrefix(s, "failed:freq limit"):
		r.Code = "freq_limit"
	default:
		r.Code = "failed"
	}
	return r
}
