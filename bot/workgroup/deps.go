package workgroup

import (
	"context"
	"time"

	"guanjia/internal/desk"
	"guanjia/internal/staff"
)

// Desk is what the work group does with cases: *desk.Desk, which decides every
// right and refuses with *desk.Refused.
type Desk interface {
	ByNo(ctx context.Context, companyID, no string) (desk.Case, error)
	ByID(ctx context.Context, id string) (desk.Case, error)
	Events(ctx context.Context, caseID string) ([]desk.Event, error)
	Claim(ctx context.Context, by desk.By, caseID string) (desk.Case, error)
	Reply(ctx context.Context, by desk.By, caseID, text string) (c desk.Case, hold time.Duration, err error)
	Override(ctx context.Context, by desk.By, caseID, text string) (c desk.Case, hold time.Duration, err error)
	Draft(ctx context.Context, by desk.By, caseID, text string) (desk.Case, error)
	Approve(ctx context.Context, by desk.By, caseID string) (c desk.Case, hold time.Duration, err error)
	Reject(ctx context.Context, by desk.By, caseID, reason string) (desk.Case, error)
	Return(ctx context.Context, by desk.By, caseID, reason string) (desk.Case, error)
	Promise(ctx context.Context, by desk.By, caseID string, at time.Time, reason string) (desk.Case, error)
	Note(ctx context.Context, by desk.By, caseID, text string) (desk.Case, error)
	Transfer(ctx context.Context, by desk.By, caseID, queueNameOrID, reason string) (desk.Case, error)
	Handle(ctx context.Context, by desk.By, caseID, measures string) (desk.Case, error)
	Recall(ctx context.Context, by desk.By, caseID string) (desk.Case, error)
	Mine(ctx context.Context, by desk.By) ([]desk.Case, error)
	Waiting(ctx context.Context, companyID, queueID string) ([]desk.Case, error)
}

// Staff is what the work group asks about people, groups and queues, and how
// people and groups are bound: *People. Its refusals are *desk.Refused.
type Staff interface {
	// Member finds whom the chat system names.
	Member(ctx context.Context, companyID, from string) (staff.Member, bool, error)
	// QueueOf gives the queue that a group is bound to.
	QueueOf(ctx context.Context, c Chat) (queueID string, ok bool, err error)
	// QueuesOf gives the queues that a member works in.
	QueuesOf(ctx context.Context, companyID, userID string) ([]string, error)
	// QueueName names a queue for people.
	QueueName(ctx context.Context, companyID, queueID string) (string, error)
	// QueueNames names all queues of a company.
	QueueNames(ctx context.Context, companyID string) ([]string, error)
	// BindGroup binds a group to a queue and gives the queue's name.
	BindGroup(ctx context.Context, by staff.Member, c Chat, queueName string) (string, error)
	// StartBind sends a code to a member's registered phone; phone is 11 digits.
	StartBind(ctx context.Context, companyID, from, phone string) error
	// WhoMay gives the members who have a right and may be asked to use it.
	WhoMay(ctx context.Context, companyID string, right staff.Right) ([]staff.Member, error)
	// ConfirmBind ends it.
	ConfirmBind(ctx context.Context, companyID, from, code string) (staff.Member, error)
}

// Refusals that the work group adds to those of the desk.
const (
	refusedBadPhone    = "bind_bad_phone"
	refusedTooSoon     = "bind_too_soon"
	refusedNoCode      = "bind_no_code"
	refusedWrongCode   = "bind_wrong_code"
	refusedCodeExpired = "bind_code_expired"
	refusedNoSMS       = "bind_unavailable"
	refusedMayNotBind  = "bind_needs_right"
	refusedBindQueue   = "bind_unknown_queue"
)
