package conversation

import (
	"encoding/json"
	"errors"
	"reflect"
	"time"
)

// Kinds of what the platform pushes.
const (
	KindMessage = "message"
	KindEvent   = "event"
)

// Carriers of an answer. A message has none until somebody decides.
const (
	// CarrierExchange is the passive reply inside the open callback.
	CarrierExchange = "exchange"
	// CarrierService is a customer-service message through the ledger.
	CarrierService = "service"
)

// Errors a caller decides on.
var (
	// ErrReplayed says that the signed timestamp and nonce of this push have
	// already been used for another message.
	ErrReplayed = errors.New("timestamp and nonce were used before for another message")
	// ErrStale says that the session changed since it was read: read it again
	// and run the turn once more.
	ErrStale = errors.New("the session changed meanwhile")
	// ErrAnswered says that somebody else has already answered this message.
	ErrAnswered = errors.New("the message is already answered")
	// ErrExchangeOver is returned by SaveChat when the answer can no longer
	// travel in the exchange: use SaveTurnTx, together with the delivery.
	ErrExchangeOver = errors.New("the exchange is over")
	// ErrUnknownMessage says that there is no such message.
	ErrUnknownMessage = errors.New("no such message")
)

// Inbound is one push of the platform, decoded.
type Inbound struct {
	CompanyID string `json:"company_id"`
	AccountID string `json:"account_id"`
	OpenID    string `json:"openid"`

	Kind     string `json:"kind"`                // KindMessage or KindEvent
	Type     string `json:"type"`                // MsgType: text, image, voice, ... or event
	Event    string `json:"event,omitempty"`     // the platform's name, as it writes it
	EventKey string `json:"event_key,omitempty"` // the scene of a QR code comes without its prefix
	Text     string `json:"text,omitempty"`      // Content, without control characters
	MenuID   string `json:"menu_id,omitempty"`   // bizmsgmenuid of a clicked option
	// Clicked says that the text comes from a click on an option of a menu
	// message, even where the platform has mangled MenuID to 0 or left it out.
	Clicked bool   `json:"clicked,omitempty"`
	MediaID string `json:"media_id,omitempty"`
	MsgID   string `json:"msg_id,omitempty"`
	Detail  Detail `json:"detail,omitzero"` // what only some kinds carry

	// DedupeKey identifies the push among all retries of it; unique.
	DedupeKey string `json:"dedupe_key"`
	// NonceKey identifies the signed query (account, timestamp, nonce); unique.
	// Empty where there is none.
	NonceKey string `json:"nonce_key,omitempty"`
	// Hash is the SHA-256 of Raw in hex; Receive computes it when empty.
	Hash string `json:"hash,omitempty"`
	// Raw is the message as the platform wrote it, after decryption.
	Raw []byte `json:"raw,omitempty"`
	// Quiet marks kinds that are kept and never answered: they are stored as
	// settled, and no turn runs for them.
	Quiet bool `json:"quiet,omitempty"`

	SentAt time.Time `json:"sent_at"` // CreateTime, whole seconds
	// ReceivedAt is when the callback arrived. Receive sets it when zero, so a
	// replay from the spool keeps the time of the arrival.
	ReceivedAt time.Time `json:"received_at"`
}

// Detail holds the fields of the rarer kinds of message and event. Zero fields
// were not sent. Names follow section 1.6 and 1.7 of the platform's push format.
type Detail struct {
	ToUserName string `json:"to,omitempty"` // gh_ id of the account

	PicURL       string `json:"pic_url,omitempty"`
	Format       string `json:"format,omitempty"`
	Recognition  string `json:"recognition,omitempty"`
	MediaID16K   string `json:"media_id_16k,omitempty"`
	ThumbMediaID string `json:"thumb_media_id,omitempty"`
	MsgDataID    string `json:"msg_data_id,omitempty"`
	Idx          int    `json:"idx,omitempty"`

	Place *Place `json:"place,omitempty"`

	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	URL         string `json:"url,omitempty"`
	FileKey     string `json:"file_key,omitempty"`
	FileMD5     string `json:"file_md5,omitempty"`
	FileSize    int64  `json:"file_size,omitempty"`

	Ticket     string   `json:"ticket,omitempty"`
	MenuID     string   `json:"menu_id,omitempty"` // MenuId of VIEW events
	ScanType   string   `json:"scan_type,omitempty"`
	ScanResult string   `json:"scan_result,omitempty"`
	PicMD5     []string `json:"pic_md5,omitempty"`

	Status  string         `json:"status,omitempty"` // of TEMPLATESENDJOBFINISH, MASSSENDJOBFINISH
	Counts  *Counts        `json:"counts,omitempty"` // of MASSSENDJOBFINISH
	Consent []Subscription `json:"consent,omitempty"`

	UnionID    string `json:"unionid,omitempty"`
	AppID      string `json:"app_id,omitempty"`
	RevokeInfo string `json:"revoke_info,omitempty"`
	KfAccount  string `json:"kf_account,omitempty"`
	KfTo       string `json:"kf_to,omitempty"`
}

// Place is a position the resident sent, or the one a LOCATION event reports.
type Place struct {
	Latitude  string `json:"latitude"`
	Longitude string `json:"longitude"`
	Scale     string `json:"scale,omitempty"`
	Precision string `json:"precision,omitempty"`
	Label     string `json:"label,omitempty"`
	Name      string `json:"name,omitempty"`
}

// Counts is the result of a mass send.
type Counts struct {
	Total, Filter, Sent, Error int64
}

// Subscription is one entry of a subscription-message event.
type Subscription struct {
	TemplateID  string `json:"template_id"`
	Status      string `json:"status,omitempty"` // accept, reject
	PopupScene  string `json:"popup_scene,omitempty"`
	MsgID       string `json:"msg_id,omitempty"`
	ErrorCode   string `json:"error_code,omitempty"`
	ErrorStatus string `json:"error_status,omitempty"`
}

// IsZero reports whether the kind carried nothing beside the common fields.
func (d Detail) IsZero() bool { return reflect.ValueOf(d).IsZero() }

// Message is a stored push with what became of it.
type Message struct {
	ID             string
	ConversationID string
	Inbound

	Answered bool
	Answer   Answer
	// Carrier is "" while undecided, CarrierExchange or CarrierService.
	Carrier string
	// Tries counts how often the sweep has handed the message out.
	Tries int
}

// settleQuiet marks a push that nobody answers as answered with nothing.
func (m *Message) settleQuiet() {
	if m.Quiet {
		m.Answered, m.Carrier = true, CarrierExchange
	}
}

// Answer is what the account says to one message. The zero Answer says nothing
// (an empty `success`).
type Answer struct {
	Kind string `json:"kind,omitempty"` // "" none, AnswerText
	Text string `json:"text,omitempty"`
	// Options are choices offered with the text (a msgmenu as a service
	// message, lines of the text in a passive reply).
	Options []Option `json:"options,omitempty"`
}

// AnswerText is the kind of an answer in words.
const AnswerText = "text"

// Empty reports whether there is nothing to say.
func (a Answer) Empty() bool { return a.Kind == "" || (a.Text == "" && len(a.Options) == 0) }

// storedKind is "" for whatever says nothing, so that SQL can tell.
func (a Answer) storedKind() string {
	if a.Empty() {
		return ""
	}
	return a.Kind
}

// Option is one choice. IDs are digits only: the platform mangles others.
type Option struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Session is the memory of a dialogue. Version 0 means that there is none yet.
type Session struct {
	ConversationID string
	Version        int64
	State          string
	Data           json.RawMessage
}

// Turn is the result of one run of the dialogue on one message.
type Turn struct {
	MessageID string
	Answer    Answer
	// Session, when given, is written with compare-and-set on Version (the one
	// that was read); the stored version becomes Version+1.
	Session *Session
	// Live says that the callback is still open: an undecided carrier becomes
	// CarrierExchange, otherwise CarrierService.
	Live bool
}

// Outbound is something the account said outside an answer: a staff reply, a
// notice, a survey.
type Outbound struct {
	ConversationID string
	Kind           string // text, image, card, ...
	Text           string
	By             string // staff userid, or "bot"
	DeliveryID     string
}

// Authors of lines in the history.
const (
	FromResident = "resident"
	FromAccount  = "account"
	FromStaff    = "staff"
)

// Line is one line of the history, oldest first.
type Line struct {
	At   time.Time
	From string // FromResident, FromAccount, FromStaff
	By   string // staff userid where From is FromStaff
	Kind string
	Text string
}

// Window is what the account may still send to a resident as service messages.
type Window struct {
	Open  bool
	Left  int       // messages left over all open triggers
	Until time.Time // when the last open trigger ends; zero when closed
}
