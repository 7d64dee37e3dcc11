package ledger

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"guanjia/internal/wording"
)

// New is what a use case wants to leave.
type New struct {
	CompanyID string
	Channel   Channel
	AccountID string // the account, bot or webhook that sends
	Address   string // openid, phone, chat id: what the channel's sender takes
	Lane      Lane
	Class     Class
	// Plan lists the hops that take over one after the other when this one
	// fails for good.
	Plan []Hop
	// Text is what is read, rendered now. Channels whose words are rendered
	// when sent (cards) or filled into a vendor's template leave it empty and
	// bring a Payload.
	Text wording.Text
	// Payload is stored as JSON; its shape is the sender's (fields of a
	// template, options, card reference).
	Payload any
	RefKind string // what it belongs to: "case", "notice", "bind"
	RefID   string
	RefRev  int64
	// OrderKey: deliveries with the same key leave in the order in which they
	// were put, each after the one before is sent or has failed for good.
	OrderKey   string
	NotBefore  time.Time // zero: at once
	ValidUntil time.Time // zero: for ever
	// Supersede skips what still waits for the same reference and address with
	// a lower RefRev, and lets itself be skipped by a higher one.
	Supersede bool
	// First promises that the reference was made in this very transaction, so
	// that no other revision can stand in the book: the look for them is saved.
	First bool
}

// Hop is one further way of the same message.
type Hop struct {
	Channel   Channel         `json:"channel"`
	AccountID string          `json:"account_id"`
	Address   string          `json:"address"`
	Payload   json.RawMessage `json:"payload,omitempty"`
}

// HopPayload makes the payload of a Hop. It panics when v is not JSON, which
// is a mistake in the program.
func HopPayload(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("ledger: payload of a hop: " + err.Error())
	}
	return b
}

// Delivery is a row of the book.
type Delivery struct {
	ID        string
	RootID    string // the first hop's ID; its own when it is the first
	Hop       int64
	NextID    string // the hop that took over
	CompanyID string
	Channel   Channel
	AccountID string
	// Source is what is claimed, throttled and held together: the account, and
	// for one of a bulk its reference and part too.
	Source      string
	Address     string
	Lane        Lane
	Class       Class
	State       State
	TextKey     string
	Text        string
	Payload     json.RawMessage
	Plan        []Hop
	RefKind     string
	RefID       string
	RefRev      int64
	Part        string // of its reference (Bulk.Part)
	OrderKey    string
	Supersede   bool
	DueAt       time.Time
	ValidUntil  time.Time
	WaitsUntil  time.Time
	Attempts    int64
	Submissions int64
	Failures    int64
	Code        string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	CalledAt    time.Time
	SubmittedAt time.Time
	FinalAt     time.Time
}

// Settled tells whether the story of this hop is over: a final state, or
// submitted where the vendor gives no receipt.
func (d Delivery) Settled() bool {
	return d.State.Final() || (d.State == Submitted && !channels[d.Channel].receipts)
}

// Reached tells whether the reader has it, as far as one can know.
func (d Delivery) Reached() bool {
	return d.State == Delivered || (d.State == Submitted && !channels[d.Channel].receipts)
}

// Bulk names the reference and part of one that was put by PutBulkTx; "" for
// all others.
func (d Delivery) Bulk() string { return strings.TrimPrefix(tail(d.Source), separator) }

// LogValue shows what may stand in a log: no address, no words.
func (d Delivery) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", d.ID), slog.String("channel", d.Channel), slog.String("account", d.AccountID),
		slog.String("lane", string(d.Lane)), slog.String("class", string(d.Class)),
		slog.String("state", string(d.State)), slog.String("code", d.Code), slog.Int64("attempts", d.Attempts),
	)
}

// Attempt is one call of a vendor.
type Attempt struct {
	ID         string
	DeliveryID string
	OutID      string // unique, at most 64 characters, says nothing; the vendor echoes it where it can
	N          int64
	Channel    Channel
	AccountID  string
	Address    string
	State      AttemptState
	VendorID   string
	Code       string
	StartedAt  time.Time
	// CheckN counts the look-ups that were made.
	CheckN      int64
	CheckAt     time.Time
	AbsentN     int64
	AbsentSince time.Time
	// ReceiptCode and ReceiptAt are of the last receipt or look-up that named
	// a code, believed or not.
	ReceiptCode string
	ReceiptAt   time.Time
}

// OutcomeKind is the closed list of what a vendor's answer can mean.
type OutcomeKind string

// The outcomes.
const (
	OK           OutcomeKind = "ok"            // accepted
	Retry        OutcomeKind = "retry"         // provably not accepted, may work later
	RefreshToken OutcomeKind = "refresh_token" // provably not accepted, the token was refused
	Permanent    OutcomeKind = "permanent"     // our request is wrong
	Unreachable  OutcomeKind = "unreachable"   // this reader cannot be reached this way
	Quota        OutcomeKind = "quota"         // the account's allowance is used up
	Money        OutcomeKind = "money"         // the account's balance is used up
	Stop         OutcomeKind = "stop"          // the account is misconfigured or punished
	Ambiguous    OutcomeKind = "ambiguous"     // may have been accepted
	Throttled    OutcomeKind = "throttled"     // provably not accepted, too fast
	Template     OutcomeKind = "template"      // the vendor's template is gone or withdrawn: all that goes by it waits
)

// OutcomeKinds lists them all.
func OutcomeKinds() []OutcomeKind {
	return []OutcomeKind{
		OK, Retry, RefreshToken, Permanent, Unreachable, Quota, Money, Stop, Ambiguous, Throttled, Template,
	}
}

// Outcome is the classified result of a call.
type Outcome struct {
	Kind       OutcomeKind
	VendorID   string
	Code       string        // as the vendor wrote it; never its text
	RetryAfter time.Duration // zero: the ledger's own pauses
	// NoCall: it was decided before any call, for reasons of this delivery. It
	// says nothing about the account.
	NoCall bool
}

// Receipt is what a vendor says afterwards about a call. It is found by OutID
// where the vendor echoes it, else by VendorID (with Address where one vendor
// id stands for several addresses).
type Receipt struct {
	Channel   Channel
	AccountID string
	OutID     string
	VendorID  string
	Address   string
	OK        bool
	Code      string
	At        time.Time
	// Transient says that the failure may not come again.
	Transient bool
	// Confirmed says that it comes from the vendor for sure (signed push, or
	// our own look-up). An unconfirmed failure only causes a look-up.
	Confirmed bool
}

// Found is what a look-up says about a call.
type Found string

// The answers of a look-up.
const (
	FoundPending   Found = "pending" // accepted, no receipt yet
	FoundDelivered Found = "delivered"
	FoundFailed    Found = "failed"
	FoundAbsent    Found = "absent"    // the vendor doesn't know it
	FoundNoAnswer  Found = "no_answer" // the look-up itself failed
)

// Check is the result of a look-up.
type Check struct {
	Found     Found
	Code      string
	Transient bool
	At        time.Time
}

// Errors on which a caller decides.
var (
	// ErrNotClaimed: the delivery is no longer this worker's; drop it.
	ErrNotClaimed = errors.New("delivery is no longer claimed by this worker")
	// ErrNotNeeded: it expired or was superseded since it was claimed; drop it.
	ErrNotNeeded = errors.New("delivery is no longer needed")
	// ErrHeld: its reference is held; it has been given back, drop it.
	ErrHeld = errors.New("delivery is held")
	// ErrNotFound: there is no such delivery or attempt.
	ErrNotFound = errors.New("no such delivery")
)
