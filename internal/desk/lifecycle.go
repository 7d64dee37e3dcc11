package desk

import "slices"

// State is a case status of the glossary, section 9.
type State string

// Case states.
const (
	StateNew             State = "new"
	StateRegistered      State = "registered"
	StateDispatched      State = "dispatched"
	StateAccepted        State = "accepted"
	StateInProgress      State = "in_progress"
	StateWaitingResident State = "waiting_resident"
	StateOnHold          State = "on_hold"
	StateHandled         State = "handled"
	StateClosed          State = "closed"
	StateReopened        State = "reopened"
	StateWithdrawn       State = "withdrawn"
	StateVoid            State = "void"
)

// Action is something that happens to a case and may move its state; it is also
// the kind of the event that records it.
type Action string

// Actions, in the order of a case's life.
const (
	ActionOpen      Action = "opened"
	ActionAppend    Action = "resident_said"
	ActionUrge      Action = "urged"
	ActionClaim     Action = "claimed"
	ActionAssign    Action = "assigned"
	ActionReply     Action = "replied"
	ActionRecall    Action = "recalled"
	ActionNote      Action = "noted"
	ActionTransfer  Action = "transferred"
	ActionReturn    Action = "returned"
	ActionPromise   Action = "promised"
	ActionDraft     Action = "drafted"
	ActionApprove   Action = "draft_sent"
	ActionReject    Action = "draft_refused"
	ActionHandle    Action = "handled"
	ActionSolved    Action = "solved"
	ActionNotSolved Action = "not_solved"
	ActionPartly    Action = "partly"
	ActionRate      Action = "rated"
	ActionClose     Action = "closed"
	ActionWithdraw  Action = "withdrawn"
	ActionEscalate  Action = "escalated"
	ActionUndeliver Action = "not_delivered"
)

// move is one row of the life cycle: from any of these states the action leads
// to that state; an empty `to` keeps the state.
type move struct {
	from []State
	to   State
}

var (
	waiting = []State{StateDispatched, StateReopened}
	inHand  = []State{StateAccepted, StateInProgress, StateWaitingResident, StateOnHold}
	open    = slices.Concat([]State{StateNew, StateRegistered}, waiting, inHand)
	told    = []State{StateHandled, StateClosed}
	living  = slices.Concat(open, told)
)

// lifecycle is the whole life of a case. An action that stands here without the
// case's present state is refused; there is no other place that moves a case.
var lifecycle = map[Action]move{
	ActionOpen:      {from: nil, to: StateDispatched},
	ActionAppend:    {from: slices.Concat(open, []State{StateHandled})},
	ActionUrge:      {from: slices.Concat(open, []State{StateHandled})},
	ActionClaim:     {from: waiting, to: StateAccepted},
	ActionAssign:    {from: open, to: StateDispatched},
	ActionReply:     {from: inHand, to: StateInProgress},
	ActionRecall:    {from: living},
	ActionNote:      {from: slices.Concat(living, []State{StateWithdrawn})},
	ActionTransfer:  {from: open, to: StateDispatched},
	ActionReturn:    {from: inHand, to: StateDispatched},
	ActionPromise:   {from: inHand},
	ActionDraft:     {from: slices.Concat(waiting, inHand)},
	ActionApprove:   {from: inHand, to: StateInProgress},
	ActionReject:    {from: slices.Concat(waiting, inHand)},
	ActionHandle:    {from: inHand, to: StateHandled}, // with measures
	ActionSolved:    {from: []State{StateHandled}, to: StateClosed},
	ActionNotSolved: {from: told, to: StateReopened}, // within the reopen window
	ActionPartly:    {from: told, to: StateReopened},
	ActionRate:      {from: told},
	ActionClose:     {from: []State{StateHandled}, to: StateClosed}, // with a follow-up result
	ActionWithdraw:  {from: open, to: StateWithdrawn},
	ActionEscalate:  {from: open},
	ActionUndeliver: {from: slices.Concat(living, []State{StateWithdrawn})},
}

// next gives the state an action leads to, and whether the life cycle allows it.
func next(a Action, from State) (State, bool) {
	m, ok := lifecycle[a]
	if !ok || !slices.Contains(m.from, from) {
		return from, false
	}
	if m.to == "" {
		return from, true
	}
	return m.to, true
}

// KnownState tells whether s is a state of the glossary.
func KnownState(s State) bool {
	return slices.Contains(slices.Concat(living, []State{StateWithdrawn, StateVoid}), s)
}

// Open tells whether staff still have work to do on a case in this state.
func (s State) Open() bool { return slices.Contains(open, s) }

// Waiting tells whether a case in this state stands in its queue for anybody to claim.
func (s State) Waiting() bool { return slices.Contains(waiting, s) }

// InHand tells whether a member has accepted the case and works on it.
func (s State) InHand() bool { return slices.Contains(inHand, s) }
