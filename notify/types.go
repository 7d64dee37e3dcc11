package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/staff"
)

// RefNotice and RefReminder are the reference kinds of a notice's deliveries;
// the reference id is the notice's. The reminder before planned work is counted
// apart from the notice.
const (
	RefNotice   = "notice"
	RefReminder = "notice_reminder"
)

// Time is a moment in a draft: RFC 3339, or without a zone (2026-03-02 14:00)
// for local time, which is what people write into a file.
type Time struct{ time.Time }

// localTime is the only zone of mainland China.
func localTime() *time.Location { return time.FixedZone("Asia/Shanghai", 8*3600) }

// timeForms are tried in this order; those without a zone are local.
var timeForms = []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05", "2006/1/2 15:04"}

func parseTime(s string) (Time, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Time{}, nil
	}
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, s, localTime()); err == nil {
			return Time{t}, nil
		}
	}
	return Time{}, fmt.Errorf("not a time; write it as 2026-03-02T14:00:00+08:00 or 2026-03-02 14:00")
}

// MarshalJSON implements json.Marshaler: local time with its offset, or null.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.In(localTime()).Format(time.RFC3339))
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a time is a text: %w", err)
	}
	if s == nil {
		*t = Time{}
		return nil
	}
	var err error
	*t, err = parseTime(*s)
	return err
}

// UnmarshalYAML implements yaml.Unmarshaler. The library's own reading would
// take a time without a zone for UTC.
func (t *Time) UnmarshalYAML(n *yaml.Node) error {
	var err error
	if n.Tag == "!!null" {
		*t = Time{}
		return nil
	}
	if *t, err = parseTime(n.Value); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}

// Scope says whom a notice is for, within its project. An empty scope
// is the whole project.
type Scope struct {
	Buildings []string `json:"buildings,omitempty" yaml:"buildings,omitempty"`
	Entrances []string `json:"entrances,omitempty" yaml:"entrances,omitempty"` // "3-2"
	Units     []string `json:"units,omitempty" yaml:"units,omitempty"`         // "3-2-1201"
	Floors    string   `json:"floors,omitempty" yaml:"floors,omitempty"`       // "10-18", "20-", "-3", "5"
	Roles     []string `json:"roles,omitempty" yaml:"roles,omitempty"`         // owner, tenant, ...; empty: everybody
}

// whole tells whether no place is named.
func (s Scope) whole() bool {
	return len(s.Buildings)+len(s.Entrances)+len(s.Units) == 0 && s.Floors == ""
}

// Draft is a notice as somebody writes it: the fields of POST /api/v1/notices
// and of NOTICE.yaml (interfaces, section 2). What is empty is filled from kind
// and project, or becomes a Problem.
type Draft struct {
	Kind       string   `json:"kind" yaml:"kind"`
	Topic      string   `json:"topic,omitempty" yaml:"topic,omitempty"`
	Project    string   `json:"project,omitempty" yaml:"project,omitempty"` // id or name; the only one when empty
	Scope      Scope    `json:"scope" yaml:"scope,omitempty"`
	Title      string   `json:"title,omitempty" yaml:"title,omitempty"`
	StartsAt   Time     `json:"starts_at" yaml:"starts_at,omitempty"`
	EndsAt     Time     `json:"ends_at" yaml:"ends_at,omitempty"`
	Reason     string   `json:"reason,omitempty" yaml:"reason,omitempty"`
	Action     string   `json:"action,omitempty" yaml:"action,omitempty"`
	Contact    string   `json:"contact,omitempty" yaml:"contact,omitempty"`
	ValidUntil Time     `json:"valid_until" yaml:"valid_until,omitempty"`
	Channels   []string `json:"channels,omitempty" yaml:"channels,omitempty"` // sms, template
	// Of is the number of the notice that a restored, change or extension
	// answers; its audience is those who were told.
	Of string `json:"of,omitempty" yaml:"of,omitempty"`
	// ShortNotice is why planned work is announced later than its lead time
	// . Where it is empty, a stated Reason counts.
	ShortNotice string `json:"short_notice,omitempty" yaml:"short_notice,omitempty"`
	// Forms are further forms of publication (poster, screen, loudspeaker:
	// R-174), ticked off by a person in the register.
	Forms []string `json:"forms,omitempty" yaml:"forms,omitempty"`

	// unsaid are fields that whoever wrote one line must still say: an empty
	// scope in a file is the whole project, in a chat it was forgotten.
	unsaid []string
}

// maxDraft bounds what is read, in bytes.
const maxDraft = 256 << 10

// ReadJSON reads a draft; unknown keys and wrong types are a *Refused that
// names the field.
func ReadJSON(r io.Reader) (Draft, error) {
	raw, err := readLimited(r)
	if err != nil {
		return Draft{}, err
	}
	var d Draft
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return Draft{}, unreadable(err)
	}
	return d, nil
}

// ReadYAML reads a draft from NOTICE.yaml.
func ReadYAML(r io.Reader) (Draft, error) {
	raw, err := readLimited(r)
	if err != nil {
		return Draft{}, err
	}
	var d Draft
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&d); err != nil {
		return Draft{}, unreadable(err)
	}
	return d, nil
}

func readLimited(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxDraft+1))
	if err != nil {
		return nil, fmt.Errorf("notify: read draft: %w", err)
	}
	if len(raw) > maxDraft {
		return nil, &Refused{Code: RefusedDraft, Message: "通知内容过长"}
	}
	return raw, nil
}

// unreadable tells what could not be read. The library's words name keys and
// types, not values, save for a bad time, whose words are ours.
func unreadable(err error) *Refused {
	var wrong *json.UnmarshalTypeError
	r := &Refused{Code: RefusedDraft, Message: "通知读不出来：" + err.Error()}
	if errors.As(err, &wrong) {
		r.Field = wrong.Field
	}
	if _, rest, ok := strings.Cut(err.Error(), "unknown field \""); ok {
		r.Field = strings.TrimSuffix(rest, "\"")
		r.Message = "不认识的字段 " + r.Field
	}
	return r
}

// State of a notice (interfaces, section 2).
type State string

// The states.
const (
	Drafted   State = "draft"
	Approved  State = "approved" // waits for its hour, or for its audience to be frozen
	Sending   State = "sending"
	Paused    State = "paused"
	Finished  State = "finished"
	Cancelled State = "cancelled"
)

// Problem is one thing that keeps a draft from being approved, or, as a
// warning, one that its author should know. Field is a field of the draft.
type Problem struct {
	Field   string `json:"field"`
	Message string `json:"message"` // for people, in Chinese, with what to change
}

// Preview is the notice as it will be read.
type Preview struct {
	SMS      string `json:"sms"`
	Template string `json:"template"`
}

// Notice is one notice.
type Notice struct {
	ID        string `json:"id"`
	No        string `json:"no"` // T0012
	CompanyID string `json:"-"`
	ProjectID string `json:"project_id"`
	State     State  `json:"state"`
	// Draft is what was written, completed from kind and project.
	Draft
	Place     string                `json:"place"`     // the scope in words
	Emergency bool                  `json:"emergency"` // of a kind that the duty manager may approve alone
	Audience  estate.AudienceCounts `json:"audience"`
	Segments  int                   `json:"segments"` // of one SMS
	CostFen   int                   `json:"cost_fen"`
	Problems  []Problem             `json:"problems"`
	Warnings  []Problem             `json:"warnings"`
	// Filled are the fields that were completed from kind, project or the
	// notice that it answers.
	Filled []string `json:"filled"`
	// RemindCostFen is what the reminder before the start will cost besides.
	RemindCostFen int     `json:"remind_cost_fen,omitempty"`
	Preview       Preview `json:"preview"`
	OfID          string  `json:"of_id,omitempty"`

	Author       string `json:"author"` // userid
	AuthorName   string `json:"author_name"`
	ApprovedBy   string `json:"approved_by,omitempty"`
	ApproverName string `json:"approver_name,omitempty"`
	// EndorsedBy is the department manager's approval of an emergency that the
	// duty manager sent. EndorseDue: it is still to be given.
	EndorsedBy   string `json:"endorsed_by,omitempty"`
	EndorserName string `json:"endorser_name,omitempty"`
	EndorseDue   bool   `json:"endorse_due,omitempty"`
	// PausedWhy says why it is paused: "person", "canary:CODE", "account:CODE".
	PausedWhy string `json:"paused_why,omitempty"`

	CreatedAt   Time `json:"created_at"`
	ApprovedAt  Time `json:"approved_at"`
	EndorsedAt  Time `json:"endorsed_at"`
	SendAt      Time `json:"send_at"`    // the end of quiet hours, or the approval
	StartedAt   Time `json:"started_at"` // when its deliveries were free to leave
	FinishedAt  Time `json:"finished_at"`
	CancelledAt Time `json:"cancelled_at"`
	RemindAt    Time `json:"remind_at"`

	ProjectName string `json:"project_name"`

	facts      facts
	chainID    string
	over       bool
	frozenAt   time.Time
	freedAt    time.Time
	validUntil time.Time
	version    int64
}

// By is who acts: a member or an administrator, or the house itself.
type By struct {
	desk.By
	Member staff.Member // empty for an administrator who is no member
}

// AsMember is a member acting by a way ("group", "console", "api").
func AsMember(m staff.Member, via string) By {
	return By{By: desk.By{CompanyID: m.CompanyID, UserID: m.UserID, Name: m.Name, Via: via}, Member: m}
}

// AsPrincipal is who signed in to console or API.
func AsPrincipal(p staff.Principal, via string) By {
	return By{By: desk.By{CompanyID: p.CompanyID, UserID: p.UserID(), Name: p.Name(), Via: via, Trusted: p.Admin}, Member: p.Member}
}

// may tells whether he has a right: an administrator has all.
func (b By) may(r staff.Right) bool { return b.Trusted || b.Member.May(r) }

// Refusal codes.
const (
	RefusedNotFound  = "not_found" // 404
	RefusedForbidden = "forbidden" // 403: lacks the right, or approves his own
	RefusedOwn       = "own"       // 403: the author may not approve his own but in an emergency
	RefusedProblems  = "problems"  // 422: the draft has problems
	RefusedState     = "state"     // 409: its state does not allow it
	RefusedDraft     = "draft"     // 400: unreadable
	RefusedCall      = "call"      // 409: the call is another's, or done
	RefusedOutcome   = "outcome"   // 422: unknown outcome of a call
)

// Refused is a rule's no. Message is for people, in Chinese.
type Refused struct {
	Code     string
	Field    string
	Message  string
	Problems []Problem // RefusedProblems
}

func (r *Refused) Error() string { return "notify: refused: " + r.Code }

// Status is the HTTP status that fits.
func (r *Refused) Status() int {
	switch r.Code {
	case RefusedNotFound:
		return 404
	case RefusedForbidden, RefusedOwn:
		return 403
	case RefusedState, RefusedCall:
		return 409
	case RefusedDraft:
		return 400
	}
	return 422
}

// Counts are numbers of deliveries by state.
type Counts map[string]int

// Reach is how many households have it, over those in scope.
type Reach struct {
	Households int `json:"households"`
	Reached    int `json:"reached"`
	Called     int `json:"called"` // told by a person, from the call list
}

// BuildingReach is the reach of one building.
type BuildingReach struct {
	Building   string `json:"building"`
	Households int    `json:"households"`
	Reached    int    `json:"reached"`
	SMS        int    `json:"sms"`      // households reached by SMS
	Template   int    `json:"template"` // households reached by template message
	Called     int    `json:"called"`
}

// Progress is how far a notice is, counted from rows.
type Progress struct {
	ID         string            `json:"id"`
	No         string            `json:"no"`
	State      State             `json:"state"`
	PausedWhy  string            `json:"paused_why,omitempty"`
	Counts     Counts            `json:"counts"`
	ByChannel  map[string]Counts `json:"by_channel"`
	Reach      Reach             `json:"reach"`
	ByBuilding []BuildingReach   `json:"by_building"`
	Reminder   Counts            `json:"reminder,omitempty"`
	CostFen    int               `json:"cost_fen"`
	StartedAt  Time              `json:"started_at"`
	FinishedAt Time              `json:"finished_at"`
}

// Delivery is one row of what left.
type Delivery struct {
	ID      string `json:"id"`
	Channel string `json:"channel"`
	Address string `json:"address"`
	Unit    string `json:"unit"`
	State   string `json:"state"`
	OutID   string `json:"out_id"`
	Code    string `json:"code"`
	At      Time   `json:"at"`
}

// Person is someone at a home.
type Person struct {
	Name  string `json:"name"`
	Phone string `json:"phone"`
}

// Reason is why a way did not reach.
type Reason struct {
	Channel string `json:"channel"` // '' when there is no way at all
	Code    string `json:"code"`
	Text    string `json:"text"` // in Chinese
}

// Household is a home that has not been reached.
type Household struct {
	Unit      string   `json:"unit"`
	Building  string   `json:"building"`
	Residents []Person `json:"residents"`
	Reasons   []Reason `json:"reasons"`
	// The call list: who has taken it and what came of it.
	Caller     string `json:"caller,omitempty"` // userid
	CallerName string `json:"caller_name,omitempty"`
	Outcome    string `json:"outcome,omitempty"`
	CalledAt   Time   `json:"called_at"`
}

// Event is one line of a notice's history.
type Event struct {
	At   Time   `json:"at"`
	Kind string `json:"kind"`
	By   string `json:"by"`
	Name string `json:"name"`
	Via  string `json:"via"`
	Text string `json:"text"`
}

// Filter selects notices.
type Filter struct {
	States  []State
	Kind    string
	Project string // id
	Cursor  string
	Limit   int // 1 to 200, 0 means 50
}
