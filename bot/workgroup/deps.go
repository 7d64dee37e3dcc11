package workgroup

import (
	"context"
	"errors"
	"fmt"
	"time"
)

type State string

func (s State) Open() bool    { return s.Waiting() || s.InHand() }
func (s State) Waiting() bool { return s == "dispatched" || s == "reopened" }
func (s State) InHand() bool  { return s == "accepted" || s == "in_progress" }

const PriorityEmergency = "emergency"

type Case struct {
	ID, CompanyID, ProjectID string
	No                       string
	State                    State
	Kind                     string
	Category                 string
	Priority                 string
	Danger                   string
	QueueID                  string
	UnitID, Unit             string
	Building                 string
	ResidentID, ResidentName string
	OwnerID, OwnerName       string
	Summary                  string
	PromisedAt               time.Time
	Version                  int64
}

func (c Case) Emergency() bool { return c.Priority == PriorityEmergency }

type By struct {
	CompanyID, UserID, Name, Via string
}

type Event struct {
	At       time.Time
	Kind     string
	ByID, By string
	Text     string
}

type Refused struct {
	Code string
	Args map[string]string
}

func (r *Refused) Error() string { return fmt.Sprintf("refused: %s", r.Code) }

var ErrNotFound = errors.New("not found")

// Member is a member of staff.
type Member struct {
	UserID, Name string
	Trainee      bool
}

// Desk is what the work group does with cases.
type Desk interface {
	ByNo(ctx context.Context, companyID, no string) (Case, error)
	ByID(ctx context.Context, id string) (Case, error)
	Events(ctx context.Context, caseID string) ([]Event, error)
	Claim(ctx context.Context, by By, caseID string) (Case, error)
	Reply(ctx context.Context, by By, caseID, text string) (Case, time.Duration, error)
	Note(ctx context.Context, by By, caseID, text string) (Case, error)
	Transfer(ctx context.Context, by By, caseID, queueName, reason string) (Case, error)
	Handle(ctx context.Context, by By, caseID, measures string) (Case, error)
	Recall(ctx context.Context, by By, caseID string) (Case, error)
	Mine(ctx context.Context, by By) ([]Case, error)
	Waiting(ctx context.Context, companyID, queueID string) ([]Case, error)
}

// Queues names queues.
type Queues interface {
	Name(ctx context.Context, queueID string) (string, error)
}

// Staff is what the work group asks about people and groups, and how both are
// bound. Refusals are *Refused.
type Staff interface {
	Member(ctx context.Context, companyID, from string) (Member, bool, error)
	Group(ctx context.Context, c Chat) (queueID string, ok bool, err error)
	// QueuesOf names the queues a member works in, for 1:1 chats.
	QueuesOf(ctx context.Context, companyID, userID string) ([]string, error)
	BindGroup(ctx context.Context, by By, c Chat, queueName string) (name string, err error)
	StartBind(ctx context.Context, companyID, from, phone string) error
	ConfirmBind(ctx context.Context, companyID, from, code string) (Member, error)
}

// Notices is the part of notify that the work group drives.
type Notices interface {
	Notice(ctx context.Context, by By, m Message, text string) (Answer, error)
	Confirm(ctx context.Context, by By, m Message, yes bool) (Answer, error)
}

// Words says what there is to say.
type Words interface {
	Names
	Say(key string, vars map[string]string) (string, error)
}
