package company

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// Company is a property company (物业公司), the tenant of the installation.
type Company struct {
	ID, Name, Short string
	Settings        Settings
}

// Modes of the Official Account's callback, as the vendor's console names them.
const (
	ModePlain      = "plain"
	ModeCompatible = "compatible"
	ModeEncrypted  = "encrypted"
)

// WeChatAccount is one Official Account (公众号, a verified service account).
type WeChatAccount struct {
	ID, CompanyID string
	Path          string // URL segment of its callback: /wechat/{Path}
	AppID         string
	Secret        string
	Token         string // signs callbacks
	AESKey        string // EncodingAESKey, 43 characters
	PrevAESKey    string // still accepted while the vendor's console rolls over
	Mode          string // ModePlain, ModeCompatible or ModeEncrypted
	OriginalID    string // gh_..., the ToUserName of callbacks
	// Templates maps a purpose of the catalogue to this account's template id.
	Templates map[string]string
}

// WeComBot is a group bot (智能机器人) in long-connection mode.
type WeComBot struct {
	ID, CompanyID, BotID, Secret string
	Name                         string // how members mention it: @Name
}

// WeComCorp is a self-built WeCom application.
type WeComCorp struct {
	ID, CompanyID, CorpID, Secret string
	AgentID                       int
}

// Webhook is a push-only robot (消息推送) of one group. Its key alone allows
// posting, so the key is a secret.
type Webhook struct {
	ID, CompanyID, Key, ChatID string
}

// SMSAccount is an Aliyun SMS account with the company's signature.
type SMSAccount struct {
	ID, CompanyID   string
	AccessKeyID     string
	AccessKeySecret string
	Sign            string // without 【】
	CallbackSecret  string // path segment of the receipt and uplink addresses
	// Templates maps a purpose of the catalogue to this account's SMS_ code.
	Templates map[string]string
}

// Accounts are printed and logged without their secrets, however they get
// there.

// LogValue implements slog.LogValuer.
func (a WeChatAccount) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", a.ID), slog.String("app_id", a.AppID), slog.String("mode", a.Mode))
}

// Format implements fmt.Formatter for every verb.
func (a WeChatAccount) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wechat account %s", a.ID) }

// LogValue implements slog.LogValuer.
func (b WeComBot) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", b.ID), slog.String("name", b.Name))
}

// Format implements fmt.Formatter for every verb.
func (b WeComBot) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wecom bot %s", b.ID) }

// LogValue implements slog.LogValuer.
func (c WeComCorp) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", c.ID), slog.Int("agent_id", c.AgentID))
}

// Format implements fmt.Formatter for every verb.
func (c WeComCorp) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wecom corp %s", c.ID) }

// LogValue implements slog.LogValuer.
func (w Webhook) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", w.ID), slog.String("chatid", w.ChatID))
}

// Format implements fmt.Formatter for every verb.
func (w Webhook) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "webhook %s", w.ID) }

// LogValue implements slog.LogValuer.
func (s SMSAccount) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", s.ID), slog.String("sign", s.Sign))
}

// Format implements fmt.Formatter for every verb.
func (s SMSAccount) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "sms account %s", s.ID) }

// Settings is what a company may choose. DefaultSettings gives every default;
// the source names hardly a number (requirements section 21), so the defaults
// are ours unless a row is cited.
type Settings struct {
	// Hotline answers day and night. It stands in safety words.
	Hotline string `json:"hotline"`
	// ServicePhone is the service center's number in working hours.
	ServicePhone string `json:"service_phone"`
	// BotName is how the bot calls itself to residents.
	BotName string `json:"bot_name"`
	// Calendar is the service center's calendar in the form of package
	// calendar; empty means that package's default.
	Calendar json.RawMessage `json:"calendar,omitempty"`

	// ReplyHold keeps a reply to a resident back so that 撤回 can stop it;
	// an emergency's reply is not held.
	ReplyHold time.Duration `json:"-"`
	// CodeInterval is how long a home waits for its next binding code.
	CodeInterval time.Duration `json:"-"`
	// CodeTTL is how long a code is good for.
	CodeTTL time.Duration `json:"-"`
	// ReopenWindow is how long after closing a resident may reopen a case.
	ReopenWindow time.Duration `json:"-"`
	// RepeatWindow is how long after its opening a home's words about the same
	// matter join the open case instead of opening another; 0 for never.
	RepeatWindow time.Duration `json:"-"`
	// ChatAllowance, ChatWindow: service messages allowed after a resident's message.
	ChatAllowance int           `json:"chat_allowance"`
	ChatWindow    time.Duration `json:"-"`
	// EventAllowance, EventWindow: the same after a click, follow or scan.
	EventAllowance int           `json:"event_allowance"`
	EventWindow    time.Duration `json:"-"`
	// FirstReply is the time to the first human answer by priority code
	// (24 h at most: R-140); AcceptLimit the time until a named owner
	// accepts.
	FirstReply  map[string]time.Duration `json:"-"`
	AcceptLimit map[string]time.Duration `json:"-"`
	// QuietFrom and QuietTo bound the quiet hours as local time 22:00
	// equal means none. Emergencies ignore them.
	QuietFrom string `json:"quiet_from"`
	QuietTo   string `json:"quiet_to"`
	// Capacity is how many cases a member may hold when his queue says nothing.
	Capacity int `json:"capacity"`
	// NotifyVacant sends notices to vacant units too.
	NotifyVacant bool `json:"notify_vacant"`
	// FormCodes are the form numbers printed on registers, by register name
	// (publications: VK-WY/TX08-K05-F2).
	FormCodes map[string]string `json:"form_codes"`

	// NoticeLead is how long before its start planned work is announced.
	NoticeLead time.Duration `json:"-"`
	// EndorseEmergency asks for the department manager's approval after the duty
	// manager sent an emergency notice alone.
	EndorseEmergency bool `json:"endorse_emergency"`
	// SMSPriceLi is the price of one SMS segment in li (厘, a tenth of a fen).
	SMSPriceLi int `json:"sms_price_li"`
	// Canary is how many messages of a large notice leave first and are watched;
	// CanaryFrom is from how many messages on a notice counts as large. An
	// emergency has no canary.
	Canary     int `json:"canary"`
	CanaryFrom int `json:"canary_from"`

	// SurveyFrom and SurveyTo bound the local hours in which people are asked how
	// satisfied they are. The source contains no procedure of surveys, so
	// all of these are ours.
	SurveyFrom string `json:"survey_from"`
	SurveyTo   string `json:"survey_to"`
	// SurveyRestDays is for how many days who was asked, by whatever survey, is
	// not asked by another one; CaseRestDays the same before a question after a
	// case, which is about that case alone.
	SurveyRestDays int `json:"survey_rest_days"`
	CaseRestDays   int `json:"case_rest_days"`
	// SurveyRemindDays is after how many days who has not answered is reminded,
	// once; 0 for never. A survey may say otherwise.
	SurveyRemindDays int `json:"survey_remind_days"`
	// SurveyDays is how long a survey runs that says no end; CaseAskDays how
	// long a question after a case may be answered.
	SurveyDays  int `json:"survey_days"`
	CaseAskDays int `json:"case_ask_days"`
	// LowScore and worse open a follow-up.
	LowScore int `json:"low_score"`
	// SurveyGroup is how many answers an anonymous survey needs before it shows
	// a figure.
	SurveyGroup int `json:"survey_group"`
	// SurveySkipStaff leaves the homes of staff out of surveys.
	SurveySkipStaff bool `json:"survey_skip_staff"`

	// SMSPerSecond and TemplatePerSecond are how many calls a second an account
	// makes; 0 for no limit of our own. The vendors take 5,000 SMS a second and
	// account, and name no number for template messages.
	SMSPerSecond      int `json:"sms_per_second"`
	TemplatePerSecond int `json:"template_per_second"`
	// SMSPerDay and TemplatePerDay are how many submissions a day (UTC+8) an
	// account may make; 0 for no limit of our own. The vendor sets 100,000
	// template messages a day until the account has 100,000 followers; the cap of
	// an SMS account is chosen in its console.
	SMSPerDay      int64 `json:"sms_per_day"`
	TemplatePerDay int64 `json:"template_per_day"`
	// ReservedPercent is the part of all four that only emergencies may use.
	ReservedPercent int `json:"reserved_percent"`
}

// DefaultSettings are the defaults of every setting, in this one place.
func DefaultSettings() Settings {
	return Settings{
		BotName:        "小助手",
		ReplyHold:      5 * time.Second,
		CodeInterval:   time.Minute,
		CodeTTL:        5 * time.Minute,
		ReopenWindow:   7 * 24 * time.Hour,
		RepeatWindow:   72 * time.Hour,
		ChatAllowance:  5,
		ChatWindow:     48 * time.Hour,
		EventAllowance: 3,
		EventWindow:    time.Minute,
		FirstReply: map[string]time.Duration{
			"emergency": 5 * time.Minute, "high": 30 * time.Minute, "normal": 2 * time.Hour, "low": 24 * time.Hour,
		},
		AcceptLimit: map[string]time.Duration{
			"emergency": 2 * time.Minute, "high": 10 * time.Minute, "normal": 30 * time.Minute, "low": 4 * time.Hour,
		},
		QuietFrom: "22:00",
		QuietTo:   "07:00",
		Capacity:  20,
		FormCodes: map[string]string{"publications": "VK-WY/TX08-K05-F2"},

		NoticeLead:       24 * time.Hour,
		EndorseEmergency: true,
		SMSPriceLi:       45,
		Canary:           20,
		CanaryFrom:       500,

		SurveyFrom:       "09:00",
		SurveyTo:         "20:00",
		SurveyRestDays:   30,
		SurveyRemindDays: 3,
		SurveyDays:       14,
		CaseAskDays:      7,
		LowScore:         2,
		SurveyGroup:      5,

		SMSPerSecond:      4000,
		TemplatePerSecond: 200,
		TemplatePerDay:    100_000,
		ReservedPercent:   10,
	}
}
