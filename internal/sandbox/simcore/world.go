package simcore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
)

// World is the body of PUT /sim/world: everything the vendors know before
// anybody calls. The simulators add to it what is registered later
// (POST /sim/residents, POST /sim/groups).
type World struct {
	Accounts  []Account    `json:"accounts"`
	Bots      []Bot        `json:"bots"`
	Corps     []Corp       `json:"corps"`
	Webhooks  []Webhook    `json:"webhooks"`
	SMS       []SMSAccount `json:"sms"`
	Residents []Resident   `json:"residents"`
	Groups    []Group      `json:"groups"`
	Staff     []Staff      `json:"staff"`
}

// Account is one WeChat Official Account (服务号).
type Account struct {
	AppID          string `json:"app_id"`
	Secret         string `json:"secret"`
	Token          string `json:"token"`
	EncodingAESKey string `json:"encoding_aes_key"` // 43 characters
	// Mode is how callbacks are sent: plain, compatible or encrypted.
	Mode         string           `json:"mode"`
	OriginalID   string           `json:"original_id"` // gh_...
	Templates    []WeChatTemplate `json:"templates"`
	CallbackURLs []string         `json:"callback_urls"`
	// Strictness is "production" (default: every limit) or "test_account"
	// (no field limits, msgmenu refused, small quotas).
	Strictness string `json:"strictness,omitempty"`
	// AllowedIPs guards the two token endpoints when it is not empty.
	AllowedIPs []string `json:"allowed_ips,omitempty"`
	// Quotas overrides a daily quota by path, e.g. "/cgi-bin/token".
	Quotas map[string]int64 `json:"quotas,omitempty"`
}

// WeChatTemplate is a template message or, with Kind "subscribe", a
// subscription notification. In JSON it may also be just the id.
type WeChatTemplate struct {
	TemplateID string `json:"template_id"`
	Kind       string `json:"kind,omitempty"` // template (default) | subscribe
	Title      string `json:"title,omitempty"`
	// Content is the vendor's form, one line a field: "故障：{{thing2.DATA}}".
	Content string `json:"content,omitempty"`
	Example string `json:"example,omitempty"`
	// Fields names the field keys when there is no Content.
	Fields []string `json:"fields,omitempty"`
	// Values lists the allowed values of const and enum fields by key.
	Values map[string][]string `json:"values,omitempty"`
	// Type of a subscription template: 2 one-time (default), 3 long-term.
	Type int `json:"type,omitempty"`
}

// UnmarshalJSON also takes a bare string as the id.
func (t *WeChatTemplate) UnmarshalJSON(b []byte) error {
	if s, ok, err := bareString(b); ok || err != nil {
		*t = WeChatTemplate{TemplateID: s}
		return err
	}
	type plain WeChatTemplate
	return json.Unmarshal(b, (*plain)(t))
}

var templateField = regexp.MustCompile(`\{\{\s*([A-Za-z_]+[0-9]*)\.DATA\s*\}\}`)

// Keys are the field keys in the order of the text; empty means unknown.
func (t WeChatTemplate) Keys() []string {
	if len(t.Fields) > 0 {
		return t.Fields
	}
	var keys []string
	for _, m := range templateField.FindAllStringSubmatch(t.Content, -1) {
		keys = append(keys, m[1])
	}
	return keys
}

// Bot is a WeCom group bot (智能机器人) in long-connection mode.
type Bot struct {
	BotID  string `json:"bot_id"`
	Secret string `json:"secret"`
	Name   string `json:"name"`
}

// Corp is a self-built WeCom application.
type Corp struct {
	CorpID         string   `json:"corp_id"`
	Secret         string   `json:"secret"`
	AgentID        int      `json:"agent_id"`
	Token          string   `json:"token,omitempty"`
	EncodingAESKey string   `json:"encoding_aes_key,omitempty"`
	CallbackURLs   []string `json:"callback_urls,omitempty"`
}

// Webhook is a push-only group robot (消息推送) of one group.
type Webhook struct {
	Key    string `json:"key"`
	ChatID string `json:"chatid"`
}

// SMSAccount is one Aliyun account with its registered texts.
type SMSAccount struct {
	AccessKeyID string        `json:"access_key_id"`
	Secret      string        `json:"secret"`
	Signs       []SMSSign     `json:"signs"`
	Templates   []SMSTemplate `json:"templates"`
	ReportURLs  []string      `json:"report_urls"`
	UpURLs      []string      `json:"up_urls"`
	// DayLimit and MonthLimit cap accepted submissions of the account; 0: none.
	DayLimit   int64 `json:"day_limit,omitempty"`
	MonthLimit int64 `json:"month_limit,omitempty"`
	// QPS caps calls a second on the machine's clock; 0 means the vendor's 5000.
	QPS int `json:"qps,omitempty"`
	// Flow overrides the flow control for one phone by template type
	// ("0", "1", "2"): submissions a minute, an hour, a day; 0: the vendor's default.
	Flow map[string]SMSFlow `json:"flow,omitempty"`
}

// SMSFlow is how many submissions one phone takes.
type SMSFlow struct {
	Minute int `json:"minute"`
	Hour   int `json:"hour"`
	Day    int `json:"day"`
}

// SMSSign is a registered signature; in JSON it may be just the name.
type SMSSign struct {
	Name string `json:"sign_name"`
	// Status: 0 in review, 1 approved, 2 rejected, 10 cancelled. Absent: approved.
	Status *int `json:"status,omitempty"`
}

// UnmarshalJSON also takes a bare string as the name.
func (s *SMSSign) UnmarshalJSON(b []byte) error {
	if name, ok, err := bareString(b); ok || err != nil {
		*s = SMSSign{Name: name}
		return err
	}
	var v struct {
		SignName string `json:"sign_name"`
		Name     string `json:"name"`
		Status   *int   `json:"status"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*s = SMSSign{Name: first(v.SignName, v.Name), Status: v.Status}
	return nil
}

// SMSTemplate is a registered SMS text with ${variables}.
type SMSTemplate struct {
	Code string `json:"template_code"`
	Name string `json:"name,omitempty"`
	// Type: 0 verification code, 1 notification, 2 promotion. Absent: 1.
	Type    *int   `json:"type,omitempty"`
	Content string `json:"content"`
	// Rule gives a variable's attribute, e.g. {"code":"numberCaptcha"}.
	Rule map[string]string `json:"rule,omitempty"`
	// Status: 0 in review, 1 approved, 2 rejected, 10 cancelled. Absent: approved.
	Status *int `json:"status,omitempty"`
}

// UnmarshalJSON also takes a bare string as the code, and "code" for
// "template_code".
func (t *SMSTemplate) UnmarshalJSON(b []byte) error {
	if s, ok, err := bareString(b); ok || err != nil {
		*t = SMSTemplate{Code: s}
		return err
	}
	type plain SMSTemplate
	var v struct {
		plain
		Short string `json:"code"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*t = SMSTemplate(v.plain)
	t.Code = first(t.Code, v.Short)
	return nil
}

// Resident is a WeChat user. Phone and BoundTo are labels for the page; the
// simulators do nothing with them.
type Resident struct {
	OpenID    string   `json:"openid"`
	Nickname  string   `json:"nickname"`
	Following bool     `json:"following"`
	Phone     string   `json:"phone"`
	BoundTo   []string `json:"bound_to"`
	// AppID is the account this openid belongs to; empty: the first one.
	AppID string `json:"app_id,omitempty"`
	// Refuses: takes no template messages ("failed:user block").
	Refuses bool `json:"refuses,omitempty"`
	// Blacklisted by the account: service messages answer 43019.
	Blacklisted bool `json:"blacklisted,omitempty"`
	// Snapshot: OAuth gives the virtual user of a snapshot page.
	Snapshot bool   `json:"snapshot,omitempty"`
	UnionID  string `json:"unionid,omitempty"`
	// Consents are uses left of subscription templates, -1 without end.
	Consents map[string]int `json:"consents,omitempty"`
}

// UnmarshalJSON also takes bound_to as one string or null.
func (r *Resident) UnmarshalJSON(b []byte) error {
	type plain Resident
	v := struct {
		*plain
		BoundTo json.RawMessage `json:"bound_to"`
	}{plain: (*plain)(r)}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if len(v.BoundTo) == 0 {
		return nil
	}
	s, ok, err := bareString(v.BoundTo)
	if err != nil {
		return err
	}
	if ok {
		r.BoundTo = nil
		if s != "" {
			r.BoundTo = []string{s}
		}
		return nil
	}
	return json.Unmarshal(v.BoundTo, &r.BoundTo)
}

// Group is a WeCom group chat. Spoken says that somebody has already spoken
// to the bot there, without which the bot may not push into it.
type Group struct {
	ChatID  string   `json:"chatid"`
	Name    string   `json:"name"`
	Members []string `json:"members"`
	Spoken  bool     `json:"spoken"`
	// Bots that are in the group; empty: all.
	Bots []string `json:"bots,omitempty"`
}

// Staff is a WeCom user.
type Staff struct {
	UserID string `json:"userid"`
	Name   string `json:"name"`
	// Spoken: has opened the 1:1 chat with the bot.
	Spoken bool   `json:"spoken,omitempty"`
	Phone  string `json:"phone,omitempty"`
}

// Clone is a copy that shares nothing that a simulator changes.
func (w World) Clone() World {
	b, err := json.Marshal(w)
	if err != nil { // plain data always marshals
		panic(fmt.Sprintf("simcore: copy world: %v", err))
	}
	var c World
	if err := json.Unmarshal(b, &c); err != nil {
		panic(fmt.Sprintf("simcore: copy world: %v", err))
	}
	return c
}

// Filled has empty lists where there is nothing, for whoever reads the JSON.
func (w World) Filled() World {
	fill(&w.Accounts)
	fill(&w.Bots)
	fill(&w.Corps)
	fill(&w.Webhooks)
	fill(&w.SMS)
	fill(&w.Residents)
	fill(&w.Groups)
	fill(&w.Staff)
	return w
}

func fill[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}

// IsAddress says whether a callback address can be called.
func IsAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func bareString(b []byte) (string, bool, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '"' {
		return "", false, nil
	}
	var s string
	err := json.Unmarshal(b, &s)
	return s, true, err
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
