package desk

import (
	"fmt"
	"time"
)

// Case is the record of one matter.
type Case struct {
	ID, CompanyID, ProjectID string
	No                       string // digits only
	State                    State
	Kind                     string // intent code: inquiry, complaint, repair, suggestion, help, praise
	Category                 string // one of the eleven, or empty
	Priority                 string // emergency, high, normal, low
	Level                    string // department, center, company
	Danger                   string // kind of emergency (lift_trapped ...), empty for none
	Topic                    string
	QueueID                  string
	UnitID, Unit             string // the home, and its code (3-2-1201) as it was at opening
	Building                 string // place said by the resident, when no home is bound
	ResidentID, ResidentName string
	ConversationID           string
	AccountID, OpenID        string // where the resident is told; empty when he does not write to us
	Phone                    string // where he is told by SMS; never logged
	OwnerID, OwnerName       string
	Summary, Text            string
	Mode                     string // contact mode of the glossary
	Measures                 string
	FollowUp                 string // solved, partly, not_solved, unreachable
	Rating                   int    // 1 to 5, 0 for none
	RatingText               string
	Urges                    int64
	OpenedAt, PromisedAt     time.Time
	AcceptBy                 time.Time
	AcceptedAt, FirstReplyAt time.Time
	HandledAt, ClosedAt      time.Time
	EscalatedAt              time.Time // since the case last got an acceptance limit; zero: not yet
	Version                  int64     // rises with every event; the revision of its card
}

// Emergency tells whether life, health or large damage is in danger.
func (c Case) Emergency() bool { return c.Priority == PriorityEmergency }

// Priorities of the glossary, section 9.
const (
	PriorityEmergency = "emergency"
	PriorityHigh      = "high"
	PriorityNormal    = "normal"
	PriorityLow       = "low"
)

// priorities in claim order; the index is the order in the queue.
var priorities = []string{PriorityEmergency, PriorityHigh, PriorityNormal, PriorityLow}

func priorityRank(p string) int {
	for i, x := range priorities {
		if x == p {
			return i
		}
	}
	return len(priorities) - 1
}

// Follow-up results of the glossary, section 9.
const (
	FollowUpSolved      = "solved"
	FollowUpPartly      = "partly"
	FollowUpNotSolved   = "not_solved"
	FollowUpUnreachable = "unreachable"
)

// Event is one line of a case's append-only history.
type Event struct {
	At         time.Time
	Kind       string
	ByID, By   string
	Via        string
	Text       string
	DeliveryID string
	Seq        int64
}

// By is who acts. For staff UserID is the userid; a resident acts with
// Resident set; the system acts with both empty.
type By struct {
	CompanyID string
	UserID    string
	Name      string
	Via       string // group, console, api, wechat, sms, system
	Resident  bool
	// Trusted marks a principal whose right was settled at the door, such as an
	// administrator's token that belongs to no member.
	Trusted bool
}

// Refusal codes. internal/wording has words for each under group.* and api.*.
const (
	RefusedUnknownCase  = "unknown_case"
	RefusedUnbound      = "unbound_member"
	RefusedNoRight      = "no_right"
	RefusedTrainee      = "trainee"
	RefusedTaken        = "taken"
	RefusedNotYours     = "not_yours"
	RefusedNotClaimed   = "not_claimed"
	RefusedState        = "state"
	RefusedCapacity     = "capacity"
	RefusedMeasures     = "need_measures"
	RefusedText         = "need_text"
	RefusedReason       = "need_reason"
	RefusedExplain      = "need_explanation"
	RefusedPromise      = "promise_time"
	RefusedNoDraft      = "no_draft"
	RefusedUnknownQueue = "unknown_queue"
	RefusedSameQueue    = "same_queue"
	RefusedUnknownStaff = "unknown_staff"
	RefusedFollowUp     = "need_follow_up"
	RefusedHeld         = "held_phrase"
	RefusedTooLong      = "too_long"
	RefusedTooLate      = "too_late"
	RefusedUnreachable  = "resident_unreachable"
	RefusedRating       = "rating"
	RefusedKind         = "kind"
	RefusedCategory     = "category"
	RefusedMode         = "mode"
	RefusedResident     = "unknown_resident"
)

// Refused is a rule's no: a code for machines and what the words need. It is
// not a fault; callers turn it into words or a 4xx and lose nothing.
type Refused struct {
	Code  string
	Field string
	Args  map[string]string
}

func (r *Refused) Error() string { return fmt.Sprintf("desk: refused: %s", r.Code) }

func refuse(code string, kv ...string) *Refused {
	r := &Refused{Code: code, Args: map[string]string{}}
	for i := 0; i+1 < len(kv); i += 2 {
		r.Args[kv[i]] = kv[i+1]
	}
	return r
}
