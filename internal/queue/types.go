package queue

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Business lines (业务端口). environment is cleaning and greening.
const (
	LineCustomerService = "customer_service"
	LineEngineering     = "engineering"
	LineOrderSecurity   = "order_security"
	LineEnvironment     = "environment"
)

// Queue is a staff queue of a project and business line.
type Queue struct {
	ID, CompanyID, ProjectID, Line, Name string
}

// Item is a case that waits.
type Item struct {
	CaseID     string
	Danger     bool      // life, health or large damage is in danger: before all others
	Priority   int       // 0 emergency to 3 low; shown, not sorted by: the promise follows from it
	PromisedAt time.Time // zero sorts last
	OpenedAt   time.Time
	Version    int64 // of the case's row; 1 or more, below 2^53
}

// Rows is the truth that Redis is compared with. Both calls read committed
// rows and nothing else.
type Rows interface {
	// WaitingCases gives the cases that wait to be claimed.
	WaitingCases(ctx context.Context, companyID string) ([]Row, error)
	// HeldCases gives the open cases that a member has in hand.
	HeldCases(ctx context.Context, companyID string) ([]Held, error)
}

// Row is a waiting case and where it waits.
type Row struct {
	QueueID string
	Item
}

// Held is a case in a member's hands.
type Held struct {
	QueueID, CaseID, UserID string
	Version                 int64
}

// Reservation is a member's hold on a case until the row has decided.
type Reservation struct {
	CompanyID, QueueID, CaseID, UserID string
	Version                            int64
	// Again: the member held the case already. Releasing does nothing then,
	// since the earlier reservation or the row owns it.
	Again bool
}

// Stat is a queue in numbers.
type Stat struct {
	QueueID string
	Waiting int
	OldestS int64  // age of the oldest waiting case in seconds
	InHand  int    // cases claimed from it and not done
	Source  string // SourceRedis or SourceRows
}

// Sources of a list or figure.
const (
	SourceRedis = "redis"
	SourceRows  = "rows"
)

// Change is one line of a company's stream of changes.
type Change struct {
	ID      string // position in the stream, for Changes' after
	Kind    string // a Change... kind
	QueueID string
	CaseID  string
	UserID  string
	Version int64
}

// Kinds of Change.
const (
	ChangePushed   = "pushed"
	ChangeClaimed  = "claimed"
	ChangeReleased = "released"
	ChangeRemoved  = "removed"
	ChangeDone     = "done"
	ChangeHeld     = "held"
	// ChangeReload: the stream was cut (Redis emptied or out of reach);
	// whoever shows a queue reads it again.
	ChangeReload = "reload"
)

// What a caller decides on.
var (
	// ErrUnavailable: Redis cannot be reached; the row alone decides.
	ErrUnavailable = errors.New("queue: redis is unavailable")
	// ErrCapacity: the member has as many cases in hand as he may.
	ErrCapacity = errors.New("queue: member has as many cases in hand as he may")
	// ErrGone: the case has left the queue, or changed since the caller read it.
	ErrGone = errors.New("queue: case does not wait here any more")
)

// TakenError says who has the case.
type TakenError struct{ By string }

// Error implements error.
func (e *TakenError) Error() string { return fmt.Sprintf("queue: case is taken by %s", e.By) }
