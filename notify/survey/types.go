package survey

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"guanjia/internal/db"
	"guanjia/notify"
)

// What surveys share with notices.
type (
	// By is who acts.
	By = notify.By
	// Time is a moment as drafts write it.
	Time = notify.Time
	// Scope says whom a survey is for, within its project; empty: all of it.
	Scope = notify.Scope
	// Problem keeps a draft from being approved.
	Problem = notify.Problem
	// Preview is an invitation as it will be read.
	Preview = notify.Preview
	// Counts are numbers by a code.
	Counts = notify.Counts
	// Refused is a rule's no; its Status is the HTTP status that fits.
	Refused = notify.Refused
)

// Reference kinds of deliveries: the invitations of a survey and its reminders
// (id: the survey's), and what a single person is asked (id: the invitation's).
const (
	RefSurvey   = "survey"
	RefReminder = "survey_reminder"
	RefAsk      = "survey_ask"
	RefAlarm    = "survey_alarm"
)

// Kind of a survey.
type Kind string

// The kinds. Those after a case or an inquiry stand all the time, one a
// project, and are not composed by anybody.
const (
	AfterCase    Kind = "after_case"
	AfterInquiry Kind = "after_inquiry"
	Periodic     Kind = "periodic"
	Event        Kind = "event"
)

// Standing tells whether a survey of this kind runs without being started.
func (k Kind) Standing() bool { return k == AfterCase || k == AfterInquiry }

// State of a survey (interfaces, section 2).
type State string

// The states.
const (
	Drafted   State = "draft"
	Approved  State = "approved" // sample frozen, waits for its start or the permitted hours
	Running   State = "running"
	Closed    State = "closed"
	Cancelled State = "cancelled"
)

// What an answer counts for (Draft.Count).
const (
	CountPerson = "person"
	CountHome   = "home"
)

// Channels that invitations may take (Draft.Channels).
const (
	ChannelTemplate = "template"
	ChannelSMS      = "sms"
	ChannelChat     = "chat" // asked in the open conversation; not for drafts
)

// Sample says who of a scope is asked. The zero Sample is everybody.
type Sample struct {
	// Share of the households, more than 0 and at most 1.
	Share float64 `json:"share,omitempty" yaml:"share,omitempty"`
	// Seed makes the choice repeatable; drawn when it is 0.
	Seed int64 `json:"seed,omitempty" yaml:"seed,omitempty"`
	// PerBuilding is how many households of each building are asked.
	PerBuilding int `json:"per_building,omitempty" yaml:"per_building,omitempty"`
}

// Draft is a survey as somebody writes it: the fields of POST /api/v1/surveys
// and of SURVEY.yaml.
type Draft struct {
	Kind          string  `json:"kind" yaml:"kind"` // periodic, event
	Title         string  `json:"title" yaml:"title"`
	Project       string  `json:"project,omitempty" yaml:"project,omitempty"` // id or name; the only one when empty
	Scope         Scope   `json:"scope" yaml:"scope,omitempty"`
	Questionnaire string  `json:"questionnaire,omitempty" yaml:"questionnaire,omitempty"` // half_year when empty
	Count         string  `json:"count,omitempty" yaml:"count,omitempty"`                 // person, home
	Sample        *Sample `json:"sample,omitempty" yaml:"sample,omitempty"`
	Anonymous     bool    `json:"anonymous" yaml:"anonymous,omitempty"`
	StartsAt      Time    `json:"starts_at" yaml:"starts_at,omitempty"` // at once when empty
	EndsAt        Time    `json:"ends_at" yaml:"ends_at,omitempty"`
	// RemindAfterDays: nil takes the company's setting, 0 reminds nobody.
	RemindAfterDays *int     `json:"remind_after_days,omitempty" yaml:"remind_after_days,omitempty"`
	Channels        []string `json:"channels,omitempty" yaml:"channels,omitempty"` // template, sms
	// SkipStaff leaves out the homes of staff; nil takes the company's setting.
	SkipStaff *bool `json:"skip_staff,omitempty" yaml:"skip_staff,omitempty"`
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

// ReadYAML reads a draft from SURVEY.yaml.
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
		return nil, fmt.Errorf("survey: read draft: %w", err)
	}
	if len(raw) > maxDraft {
		return nil, &Refused{Code: notify.RefusedDraft, Message: "问卷内容过长"}
	}
	return raw, nil
}

func unreadable(err error) *Refused {
	var wrong *json.UnmarshalTypeError
	r := &Refused{Code: notify.RefusedDraft, Message: "内容读不出来：" + err.Error()}
	if errors.As(err, &wrong) {
		r.Field = wrong.Field
	}
	if _, rest, ok := strings.Cut(err.Error(), "unknown field \""); ok {
		r.Field = strings.TrimSuffix(rest, "\"")
		r.Message = "不认识的字段 " + r.Field
	}
	return r
}

// Audience is who would be asked, and who not and why.
type Audience struct {
	Households int `json:"households"` // of the sample
	People     int `json:"people"`
	Template   int `json:"template"` // people asked by template message
	SMS        int `json:"sms"`      // people asked by SMS
	None       int `json:"none"`     // people not asked
	// Waiting are people in buildings with a running emergency or outage: they
	// are asked when it is over, and are counted in Template or SMS as well.
	Waiting int            `json:"waiting"`
	Skipped map[string]int `json:"skipped"` // people not asked, by reason
}

// Reasons why somebody is not asked (invitation state skipped).
const (
	SkipNoAddress = "NO_ADDRESS"
	SkipDead      = "DEAD_NUMBER"
	SkipOptOut    = "OPT_OUT"
	SkipMuted     = "MUTED"        // bereavement and the like
	SkipLately    = "ASKED_LATELY" // asked within the set days, by any survey
	SkipStaff     = "STAFF_HOME"
	SkipConsent   = "NO_CONSENT" // a 推广 SMS needs it
	SkipOutage    = "OUTAGE"     // the survey ended before the outage did
	SkipFollowUp  = "FOLLOW_UP"  // the follow-up of a low score is not asked about again
	SkipClosed    = "SURVEY_OVER"
)

// Survey is one survey.
type Survey struct {
	ID        string `json:"id"`
	No        string `json:"no"` // S0001
	CompanyID string `json:"-"`
	ProjectID string `json:"project_id"`
	State     State  `json:"state"`
	Draft
	ProjectName string    `json:"project_name"`
	Place       string    `json:"place"` // the scope in words
	FormVersion string    `json:"form_version"`
	Audience    Audience  `json:"audience"`
	Segments    int       `json:"segments"`
	CostFen     int       `json:"cost_fen"`
	Problems    []Problem `json:"problems"`
	Warnings    []Problem `json:"warnings"`
	Filled      []string  `json:"filled"`
	Preview     Preview   `json:"preview"`

	Author       string `json:"author"`
	AuthorName   string `json:"author_name"`
	ApprovedBy   string `json:"approved_by,omitempty"`
	ApproverName string `json:"approver_name,omitempty"`
	CreatedAt    Time   `json:"created_at"`
	ApprovedAt   Time   `json:"approved_at"`
	StartedAt    Time   `json:"started_at"`
	RemindAt     Time   `json:"remind_at"`
	ClosedAt     Time   `json:"closed_at"`

	// Form is the questionnaire in the version that this survey uses.
	Form Questionnaire `json:"-"`

	facts   facts
	version int64
}

// Standing tells whether it runs without end.
func (x Survey) Standing() bool { return Kind(x.Kind).Standing() }

// Filter selects surveys.
type Filter struct {
	States  []State
	Kinds   []Kind // empty: those that people compose
	Project string // id
	Cursor  string
	Limit   int // 1 to 200, 0 means 50
}

// Invitation is one person asked, or not asked and why.
type Invitation struct {
	ID         string `json:"id"`
	Resident   string `json:"resident"` // name
	ResidentID string `json:"resident_id"`
	Unit       string `json:"unit"`
	Building   string `json:"building"`
	CaseNo     string `json:"case_no,omitempty"`
	Channel    string `json:"channel"`
	Address    string `json:"address"`
	State      string `json:"state"` // waiting, asked, answered, skipped, over
	SkipCode   string `json:"skip_code,omitempty"`
	SkipText   string `json:"skip_text,omitempty"`
	Delivery   string `json:"delivery,omitempty"` // state of its delivery
	Link       string `json:"link,omitempty"`     // to an administrator, never of an anonymous survey
	AskedAt    Time   `json:"asked_at"`
	RemindedAt Time   `json:"reminded_at"`
	AnsweredAt Time   `json:"answered_at"` // never of an anonymous survey
}

// States of an invitation.
const (
	InvitationWaiting  = "waiting" // for its hour, or for the end of an outage
	InvitationAsked    = "asked"
	InvitationAnswered = "answered"
	InvitationSkipped  = "skipped"
	InvitationOver     = "over"
)

// Figure is one bar: how many answered, how many of them are satisfied (满意率:
// 4 or 5), how satisfied they are on average (满意度, 1 to 5), and between which
// values the true share lies with 95 % confidence. Hidden: fewer answers than
// an anonymous survey may show.
type Figure struct {
	Key           string  `json:"key"`
	Name          string  `json:"name"`
	N             int     `json:"n"`
	SatisfiedRate float64 `json:"satisfied_rate"` // 0 to 1
	Low           float64 `json:"low"`            // Wilson interval of satisfied_rate
	High          float64 `json:"high"`
	Satisfaction  float64 `json:"satisfaction"` // 1 to 5
	MeanLow       float64 `json:"mean_low"`     // normal interval of satisfaction
	MeanHigh      float64 `json:"mean_high"`
	Scores        [5]int  `json:"scores"` // how many gave 1, 2, 3, 4, 5
	Hidden        bool    `json:"hidden,omitempty"`
}

// NPS is the net promoter score, -100 to 100.
type NPS struct {
	N          int `json:"n"`
	Promoters  int `json:"promoters"`  // 9 or 10
	Detractors int `json:"detractors"` // 0 to 6
	Score      int `json:"score"`
}

// Results of a survey: GET /api/v1/surveys/{id}.
type Results struct {
	ID            string              `json:"id"`
	No            string              `json:"no"`
	Kind          string              `json:"kind"`
	Title         string              `json:"title"`
	State         State               `json:"state"`
	Anonymous     bool                `json:"anonymous"`
	Invited       int                 `json:"invited"`  // people or homes asked, as the survey counts
	Answered      int                 `json:"answered"` // answers
	ResponseRate  float64             `json:"response_rate"`
	SatisfiedRate float64             `json:"satisfied_rate"`
	Satisfaction  float64             `json:"satisfaction"`
	Overall       Figure              `json:"overall"`
	NPS           *NPS                `json:"nps,omitempty"`
	By            map[string][]Figure `json:"by"` // category, building, month
	Skipped       map[string]int      `json:"skipped"`
	Waiting       int                 `json:"waiting"`
	Reminded      int                 `json:"reminded"`
	Comments      int                 `json:"comments"`
	Hidden        bool                `json:"hidden,omitempty"` // fewer answers than may be shown
}

// ResultFilter narrows results and comments. Empty fields take all.
type ResultFilter struct {
	Category string
	Building string
	Month    string // 2026-11
	Score    int    // comments only
}

// Comment is what somebody wrote, with the score he gave to the bar it stands
// behind. Of an anonymous survey only the words, the score and the month.
type Comment struct {
	ID         string `json:"id"`
	Score      int    `json:"score"` // 0: none
	Text       string `json:"text"`
	Building   string `json:"building,omitempty"`
	Unit       string `json:"unit,omitempty"`
	CaseNo     string `json:"case_no,omitempty"`
	Month      string `json:"month,omitempty"`
	AnsweredAt Time   `json:"answered_at"`
}

// PageState says what a resident's page shows.
type PageState string

// What a link leads to.
const (
	PageOpen     PageState = "open"
	PageAnswered PageState = "answered" // answered before; may be changed until the end
	PageDone     PageState = "done"     // anonymous and answered: thanks, nothing to change
	PageOver     PageState = "over"     // the survey or the link has ended: thanks, nothing counted
	PageUnknown  PageState = "unknown"  // no such link: cut off, guessed, or another purpose's
)

// PageView is what a resident's page shows. A GET makes it and changes nothing.
type PageView struct {
	State     PageState
	Title     string
	Company   string
	About     string // which case or survey this is about, in words
	Intro     string
	Anonymous bool
	Home      bool // one answer for the home
	Until     time.Time
	Form      Questionnaire
	Scores    map[string]int // given before, by question id
	Comment   string
	Message   string // what to say in the states other than open and answered
}

// Form is what a page sends back, as it came.
type Form struct {
	Scores  map[string]string // by question id
	Comment string
}

// OutcomeKind says what became of a form.
type OutcomeKind string

// What can become of a form.
const (
	Saved   OutcomeKind = "saved"
	Changed OutcomeKind = "changed"
	Again   OutcomeKind = "again"   // anonymous, answered before: nothing counted
	OverNow OutcomeKind = "over"    // nothing counted
	NoLink  OutcomeKind = "unknown" // nothing counted
	BadForm OutcomeKind = "invalid" // nothing counted, see Problems
)

// Outcome of a form. Message is for the resident.
type Outcome struct {
	Kind     OutcomeKind
	Message  string
	Problems []Problem // Field: q.<question id> or comment
	// FollowUp is the number of the case in which somebody will call, after a
	// low score; PromisedAt is by when.
	FollowUp   string
	PromisedAt time.Time
}

// Alarm is what a supervisor must look at: a closed case without a question, or
// a survey whose invitations have stopped.
type Alarm struct {
	ID       string `json:"id"`
	Kind     string `json:"kind"` // unasked, stalled
	Ref      string `json:"ref"`  // case number or survey number
	Text     string `json:"text"`
	OpenedAt Time   `json:"opened_at"`
}

// Mute keeps a person from being asked until a day.
type Mute struct {
	ResidentID string `json:"resident_id"`
	Kind       string `json:"kind"` // bereavement, illness, other
	Until      Time   `json:"until"`
	By         string `json:"by"`
}

// querier is what reads may run on.
type querier = db.Querier
