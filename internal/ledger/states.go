package ledger

// State of one delivery.
type State string

// The states. Submitted is not delivered.
const (
	Planned   State = "planned"
	Claimed   State = "claimed"
	Sending   State = "sending"
	Submitted State = "submitted"
	Delivered State = "delivered"
	Failed    State = "failed"
	Unknown   State = "unknown"    // the result of the call is not known
	NoReceipt State = "no_receipt" // the wait for a receipt or a result is over
	Skipped   State = "skipped"    // superseded, opted out, no address
	Expired   State = "expired"    // past its valid-until before it could be sent
	Cancelled State = "cancelled"
)

// AllStates in the order of the story.
func AllStates() []State {
	return []State{
		Planned, Claimed, Sending, Submitted, Delivered, Failed,
		Unknown, NoReceipt, Skipped, Expired, Cancelled,
	}
}

// transition is one allowed change of state. There is no other.
type transition struct {
	From, To State
	When     string
}

// transitions is the state machine of a delivery. A final state is one without
// a way out. The ways back to planned are those after which nothing can have
// been accepted, or where sending twice is better than never (follow.go).
var transitions = []transition{
	{Planned, Claimed, "a worker took it"},
	{Planned, Skipped, "a newer revision supersedes it, or its reader opted out"},
	{Planned, Expired, "valid_until passed"},
	{Planned, Cancelled, "withdrawn before anybody took it"},
	{Planned, Unknown, "the repeat of a call of unknown result is withdrawn"},
	{Planned, Submitted, "late result of an earlier call whose repeat is no longer needed"},
	{Planned, Delivered, "receipt for an earlier call whose repeat is no longer needed"},

	{Claimed, Planned, "the lease ran out, or the worker gave it back"},
	{Claimed, Sending, "the attempt is written"},
	{Claimed, Skipped, "superseded since it was taken"},
	{Claimed, Expired, "valid_until passed since it was taken"},
	{Claimed, Delivered, "receipt for an earlier call"},

	{Sending, Submitted, "accepted"},
	{Sending, Planned, "provably not accepted, or to be repeated after an unknown result"},
	{Sending, Failed, "refused for good"},
	{Sending, Unknown, "no answer, or the worker died during the call"},
	{Sending, Delivered, "the receipt was faster than the answer"},
	{Sending, Expired, "provably not accepted and past its valid_until"},

	{Submitted, Delivered, "receipt"},
	{Submitted, Failed, "confirmed receipt of a failure"},
	{Submitted, Planned, "confirmed transient failure of an emergency: sent once more"},
	{Submitted, NoReceipt, "72 hours without a receipt"},

	{Unknown, Submitted, "found by a look-up, or a late answer"},
	{Unknown, Delivered, "found by a look-up or receipt"},
	{Unknown, Failed, "found as failed, or a late answer"},
	{Unknown, Planned, "repeated by the rule of its channel and class"},
	{Unknown, NoReceipt, "72 hours without a result"},
}

// May tells whether a delivery may change from one state to the other.
func May(from, to State) bool {
	for _, t := range transitions {
		if t.From == from && t.To == to {
			return true
		}
	}
	return false
}

// Final tells whether nothing follows the state. Submitted is final on a
// channel without receipts: see Delivery.Settled.
func (s State) Final() bool {
	for _, t := range transitions {
		if t.From == s {
			return false
		}
	}
	return true
}

// AttemptState of one call.
type AttemptState string

// The states of an attempt.
const (
	AttemptSending   AttemptState = "sending"
	AttemptSubmitted AttemptState = "submitted"
	AttemptRefused   AttemptState = "refused" // provably not accepted
	AttemptUnknown   AttemptState = "unknown"
	AttemptAbsent    AttemptState = "absent" // proven by look-ups not to have been accepted
	AttemptDelivered AttemptState = "delivered"
	AttemptFailed    AttemptState = "failed" // accepted, and its receipt says failed
)

// Lane decides what is sent first. Each has workers of its own.
type Lane string

// The lanes, the most urgent first.
const (
	LaneEmergency Lane = "emergency"
	LaneReply     Lane = "reply"
	LaneCard      Lane = "card"
	LaneNormal    Lane = "normal"
	LaneBulk      Lane = "bulk"
)

// Lanes in their order.
func Lanes() []Lane { return []Lane{LaneEmergency, LaneReply, LaneCard, LaneNormal, LaneBulk} }

// Class decides what follows an unknown result.
type Class string

// The classes.
const (
	ClassDanger  Class = "danger"  // safety words, emergency notices: better twice than never
	ClassReply   Class = "reply"   // an answer to a resident
	ClassCode    Class = "code"    // a one-time code
	ClassCard    Class = "card"    // cards and texts into groups
	ClassPlanned Class = "planned" // planned outage, change, restored
	ClassSurvey  Class = "survey"
	ClassOther   Class = "other"
)

// Classes lists them all.
func Classes() []Class {
	return []Class{ClassDanger, ClassReply, ClassCode, ClassCard, ClassPlanned, ClassSurvey, ClassOther}
}

// Channel is a way to a reader.
type Channel = string

// The channels.
const (
	ChannelService   Channel = "service"
	ChannelTemplate  Channel = "template"
	ChannelSubscribe Channel = "subscribe"
	ChannelSMS       Channel = "sms"
	ChannelCard      Channel = "card"
	ChannelGroup     Channel = "group"
	ChannelWebhook   Channel = "webhook"
	ChannelApp       Channel = "app"
	ChannelCall      Channel = "call"
)

// channels says what a vendor tells us after it accepted something. Without a
// receipt, submitted is the end.
var channels = map[Channel]struct {
	receipts bool // a receipt or result event comes
	lookup   bool // the vendor can be asked
}{
	ChannelService:   {},
	ChannelTemplate:  {receipts: true},
	ChannelSubscribe: {},
	ChannelSMS:       {receipts: true, lookup: true},
	ChannelCard:      {},
	ChannelGroup:     {},
	ChannelWebhook:   {},
	ChannelApp:       {},
	ChannelCall:      {receipts: true},
}

// Channels lists them all.
func Channels() []Channel {
	return []Channel{
		ChannelService, ChannelTemplate, ChannelSubscribe, ChannelSMS, ChannelCard,
		ChannelGroup, ChannelWebhook, ChannelApp, ChannelCall,
	}
}
