package survey

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
	"guanjia/notify"
)

// Troubles tells what is going on in a project right now: buildings with a
// running outage, or all of it.
type Troubles interface {
	Troubled(ctx context.Context, companyID, projectID string) (buildings []string, all bool, err error)
}

// Reading is what the understanding makes of words that answer a question of
// the five-point scale.
type Reading struct {
	Score int    // 0: no score is said
	Words string // what was said besides
	Sure  bool
}

// Deps is what Surveys stands on.
type Deps struct {
	DB            *db.DB
	Clock         clock.Clock
	Ledger        *ledger.Ledger
	Estate        *estate.Estate
	Staff         *staff.Staff
	Companies     *company.Store
	Conversations *conversation.Conversations
	Desk          *desk.Desk
	Queues        *queue.Queues
	Jobs          *jobs.Runner
	Book          *wording.Book
	Files         fs.FS // package templates: survey/*.yaml
	Sealer        *company.Sealer
	// Outages tells of running outages; nil: there are none.
	Outages Troubles
	// Score reads words as a score (bot/intent).
	Score func(text string) Reading
	// PublicURL is the address that residents reach, without a path; empty when
	// there is none, and then nobody is sent a page.
	PublicURL string
	Log       *slog.Logger
	Points    func(name string) // kill points of the crash tests; nil in production
}

// Surveys keeps the surveys of all companies. Safe for concurrent use.
type Surveys struct {
	Deps
	forms map[string]Questionnaire
	point func(string)
}

// New builds Surveys; it fails when a questionnaire or a text is wrong.
func New(d Deps) (*Surveys, error) {
	forms, err := loadForms(d.Files)
	if err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	s := &Surveys{Deps: d, forms: forms, point: d.Points}
	if s.point == nil {
		s.point = func(string) {}
	}
	if err := d.Book.MustHave(textKeys...); err != nil {
		return nil, fmt.Errorf("survey: %w", err)
	}
	return s, nil
}

// textKeys are the texts that are used by a computed name.
var textKeys = []string{
	"surveys.alarm_unasked", "surveys.alarm_stalled", "surveys.scope_unknown", "surveys.scope_bad", "surveys.scope_nobody",
	"surveys.refused_not_found", "surveys.refused_forbidden", "surveys.refused_problems", "surveys.refused_state",
	"survey.page_done", "survey.page_over", "survey.page_unknown",
}

// Purposes of the template and SMS catalogue.
const (
	purposeCase    = "survey_case"
	purposeInquiry = "survey_inquiry"
	purposeInvite  = "survey_invite"
	purposeRemind  = "survey_remind"
	purposeAgain   = "survey_again"
)

func (s *Surveys) now() time.Time { return s.Clock.Now() }

// localTime is the only zone of mainland China.
func localTime() *time.Location { return time.FixedZone("Asia/Shanghai", 8*3600) }

func monthOf(t time.Time) string { return t.In(localTime()).Format("2006-01") }

// words renders a text for staff. A text that does not render is a mistake of
// ours and is logged; the key stands in for it.
func (s *Surveys) words(key string, kv ...string) string { return s.say("surveys."+key, kv...) }

func (s *Surveys) say(key string, kv ...string) string {
	t, err := s.text(key, kv...)
	if err != nil {
		s.Log.Error("a text of surveys does not render", "key", key, "error", err)
		return key
	}
	return t.String()
}

func (s *Surveys) text(key string, kv ...string) (wording.Text, error) {
	vars := wording.Vars{}
	for i := 0; i+1 < len(kv); i += 2 {
		vars[kv[i]] = kv[i+1]
	}
	return s.Book.Say(key, vars)
}

func (s *Surveys) refuse(code string, kv ...string) *Refused {
	return &Refused{Code: code, Message: s.words("refused_"+code, kv...)}
}

func (s *Surveys) settings(ctx context.Context, companyID string) (company.Company, *company.Directory, error) {
	dir, err := s.Companies.Directory(ctx)
	if err != nil {
		return company.Company{}, nil, fmt.Errorf("survey: company settings: %w", err)
	}
	c, ok := dir.Company(companyID)
	if !ok {
		return company.Company{}, nil, fmt.Errorf("survey: company is not in the directory")
	}
	return c, dir, nil
}

// may tells whether somebody has a right: an administrator has all.
func may(by By, r staff.Right) bool { return by.Trusted || by.Member.May(r) }

// system is who acts when nobody does.
func system(companyID string) By {
	by := By{}
	by.CompanyID, by.Via, by.Trusted = companyID, "system", true
	return by
}

// fresh gives the actor with the rights that he has now.
func (s *Surveys) fresh(ctx context.Context, by By) (By, error) {
	if by.Trusted || by.UserID == "" {
		return by, nil
	}
	m, ok, err := s.Staff.ByUserID(ctx, s.DB, by.CompanyID, by.UserID)
	if err != nil {
		return by, fmt.Errorf("survey: read the member who acts: %w", err)
	}
	if !ok {
		m = staff.Member{}
	}
	by.Member = m
	return by, nil
}

// troubled names the buildings of a project whose people are not asked now:
// those with a running outage, or with an emergency that staff still work on.
func (s *Surveys) troubled(ctx context.Context, companyID, projectID string) (list []string, all bool, err error) {
	if s.Outages != nil {
		if list, all, err = s.Outages.Troubled(ctx, companyID, projectID); err != nil || all {
			return nil, all, err
		}
	}
	if s.Desk == nil {
		return list, false, nil
	}
	urgent, err := s.Desk.EmergencyBuildings(ctx, s.DB, companyID, projectID)
	if err != nil {
		return nil, false, err
	}
	list = append(slices.Clone(list), urgent...)
	slices.Sort(list)
	return slices.Compact(list), false, nil
}

// permitted gives the next moment, from at on, in which people may be asked.
func permitted(at time.Time, from, to string) time.Time {
	f, errF := time.Parse("15:04", from)
	u, errU := time.Parse("15:04", to)
	if errF != nil || errU != nil || !f.Before(u) {
		return at
	}
	local := at.In(localTime())
	y, m, d := local.Date()
	open := time.Date(y, m, d, f.Hour(), f.Minute(), 0, 0, localTime())
	end := time.Date(y, m, d, u.Hour(), u.Minute(), 0, 0, localTime())
	switch {
	case local.Before(open):
		return open
	case local.Before(end):
		return at
	}
	return open.AddDate(0, 0, 1)
}

// hoursEnd gives the end of the permitted hours that hold at a moment.
func hoursEnd(at time.Time, to string) time.Time {
	u, err := time.Parse("15:04", to)
	if err != nil {
		return at.Add(24 * time.Hour)
	}
	y, m, d := at.In(localTime()).Date()
	return time.Date(y, m, d, u.Hour(), u.Minute(), 0, 0, localTime())
}

// notFound, and the rest of the codes, are those of notices.
const (
	refusedNotFound  = notify.RefusedNotFound
	refusedForbidden = notify.RefusedForbidden
	refusedProblems  = notify.RefusedProblems
	refusedState     = notify.RefusedState
)
