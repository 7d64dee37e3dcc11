package articles

import (
	"fmt"
	"slices"
	"time"

	"guanjia/bot/knowledge"
	"guanjia/internal/estate"
)

// State is where an article stands.
type State string

// The states. An approved article may have a newer version that waits (Pending).
const (
	Draft    State = "draft"
	Approved State = "approved"
	Retired  State = "retired"
)

// Content is what a version says, for whom, and how long. It is the body of the
// REST calls.
type Content struct {
	Question  string   `json:"question"`
	Phrasings []string `json:"phrasings"`
	Answer    string   `json:"answer"`
	Topic     string   `json:"topic"`
	// ProjectID limits it to a project, Buildings to buildings of that project.
	ProjectID  string    `json:"project"`
	Buildings  []string  `json:"buildings"`
	ValidFrom  time.Time `json:"valid_from,omitzero"`
	ValidUntil time.Time `json:"valid_until,omitzero"`
}

// Version is one version of an article.
type Version struct {
	N int64
	Content
	Author, AuthorName       string
	WrittenAt                time.Time
	ApprovedBy, ApproverName string
	ApprovedAt               time.Time
}

// Article is an article with its newest version.
type Article struct {
	ID, CompanyID string
	// Code is its name in files, like F001.
	Code  string
	Owner string // userid
	// ReviewAt is when somebody must look at it again; past it, it answers nobody.
	ReviewAt  time.Time
	Live      int64 // the version that answers, 0 for none
	RetiredAt time.Time
	RetiredBy string
	Version   int64
	Newest    Version
	// Helpful and NotHelpful count what residents said, Answered how often it went out.
	Answered, Helpful, NotHelpful int
}

// State tells where the article stands.
func (a Article) State() State {
	switch {
	case !a.RetiredAt.IsZero():
		return Retired
	case a.Live > 0:
		return Approved
	}
	return Draft
}

// Pending tells whether the newest version waits for its approval.
func (a Article) Pending() bool { return a.RetiredAt.IsZero() && a.Live < a.Newest.N }

// ReviewDue tells whether the review date has passed.
func (a Article) ReviewDue(now time.Time) bool {
	return a.State() == Approved && !a.ReviewAt.IsZero() && !now.Before(a.ReviewAt)
}

// reaches tells whether a version speaks to somebody with these homes. Who is
// not bound yet gets what holds for the whole company, and for a project when
// there is only one.
func (c Content) reaches(homes []estate.Home, only string) bool {
	if c.ProjectID == "" {
		return true
	}
	if len(homes) == 0 {
		return c.ProjectID == only && len(c.Buildings) == 0
	}
	return slices.ContainsFunc(homes, func(h estate.Home) bool {
		return h.ProjectID == c.ProjectID && (len(c.Buildings) == 0 || slices.Contains(c.Buildings, h.Building))
	})
}

func (c Content) matched(id string) knowledge.Article {
	return knowledge.Article{ID: id, Question: c.Question, Phrasings: c.Phrasings, Answer: c.Answer, Topic: c.Topic}
}

// Codes of Refused.
const (
	RefusedForbidden = "forbidden" // the member may not do that
	RefusedNotFound  = "not_found"
	RefusedState     = "state"    // not from the state the article is in
	RefusedStale     = "stale"    // somebody else changed it meanwhile
	RefusedContent   = "content"  // Field and Reason say what is wrong
	RefusedCode      = "code"     // the code is taken, empty or too long
	RefusedReview    = "review"   // the review date lies in the past or too far away
	RefusedGuard     = "guard"    // the answer says what we never say
	RefusedValid     = "validity" // it would end before it begins
	RefusedProject   = "project"  // no such project or building
	RefusedOwner     = "owner"    // nobody with that id works here
)

// Refused says why something was not done.
type Refused struct {
	Code   string
	Field  string
	Reason string // for RefusedContent: one sentence
}

func (r *Refused) Error() string {
	return fmt.Sprintf("articles: refused: %s %s %s", r.Code, r.Field, r.Reason)
}
