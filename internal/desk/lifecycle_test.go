package desk_test

import (
	"strings"
	"testing"

	"guanjia/internal/desk"
)

// The life of a case as the glossary (section 4) and the requirements tell it,
// written down apart from the code: for every action and state, the state it
// leads to, "." for "stays", "-" for "refused".
//
// R-009 accept, R-012 transfer must be accepted anew, R-013 handled only from
// work, R-014 closed only after handled, R-018 urge, R-019 the resident decides,
// R-020 promise, R-093 drafts, R-098 reopen.
const life = `
               new        registered dispatched accepted    in_progress waiting_resident on_hold     handled  closed   reopened    withdrawn void
resident_said  .          .          .          .           .           .                .           .        -        .           -         -
urged          .          .          .          .           .           .                .           .        -        .           -         -
claimed        -          -          accepted   -           -           -                -           -        -        accepted    -         -
assigned       dispatched dispatched .          dispatched  dispatched  dispatched       dispatched  -        -        dispatched  -         -
replied        -          -          -          in_progress .           in_progress      in_progress -        -        -           -         -
recalled       .          .          .          .           .           .                .           .        .        .           -         -
noted          .          .          .          .           .           .                .           .        .        .           .         -
transferred    dispatched dispatched .          dispatched  dispatched  dispatched       dispatched  -        -        dispatched  -         -
returned       -          -          -          dispatched  dispatched  dispatched       dispatched  -        -        -           -         -
promised       -          -          -          .           .           .                .           -        -        -           -         -
drafted        -          -          .          .           .           .                .           -        -        .           -         -
draft_sent     -          -          -          in_progress .           in_progress      in_progress -        -        -           -         -
draft_refused  -          -          .          .           .           .                .           -        -        .           -         -
handled        -          -          -          handled     handled     handled          handled     -        -        -           -         -
solved         -          -          -          -           -           -                -           closed   -        -           -         -
not_solved     -          -          -          -           -           -                -           reopened reopened -           -         -
partly         -          -          -          -           -           -                -           reopened reopened -           -         -
rated          -          -          -          -           -           -                -           .        .        -           -         -
closed         -          -          -          -           -           -                -           closed   -        -           -         -
withdrawn      withdrawn  withdrawn  withdrawn  withdrawn   withdrawn   withdrawn        withdrawn   -        -        withdrawn   -         -
escalated      .          .          .          .           .           .                .           -        -        .           -         -
not_delivered  .          .          .          .           .           .                .           .        .        .           .         -
`

func TestLifeCycle(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(life), "\n")
	states := strings.Fields(lines[0])
	if len(states) != 12 || len(lines) != 23 {
		t.Fatalf("the table has %d states and %d actions", len(states), len(lines)-1)
	}
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		if len(cells) != len(states)+1 {
			t.Fatalf("line %q has %d cells", cells[0], len(cells))
		}
		for i, from := range states {
			want, allowed := cells[i+1], true
			switch want {
			case ".":
				want = from
			case "-":
				want, allowed = from, false
			}
			got, ok := desk.Next(desk.Action(cells[0]), desk.State(from))
			if ok != allowed || string(got) != want {
				t.Errorf("%s in %s: %s, allowed %t; want %s, allowed %t", cells[0], from, got, ok, want, allowed)
			}
		}
	}
	for _, from := range states {
		for _, a := range []desk.Action{"opened", "erased", ""} {
			if _, ok := desk.Next(a, desk.State(from)); ok {
				t.Errorf("%q is allowed in %s", a, from)
			}
		}
	}
}

func TestStateQuestions(t *testing.T) {
	t.Parallel()
	for state, want := range map[desk.State][3]bool{ // open, waiting, in hand
		desk.StateNew: {true, false, false}, desk.StateRegistered: {true, false, false},
		desk.StateDispatched: {true, true, false}, desk.StateReopened: {true, true, false},
		desk.StateAccepted: {true, false, true}, desk.StateInProgress: {true, false, true},
		desk.StateWaitingResident: {true, false, true}, desk.StateOnHold: {true, false, true},
		desk.StateHandled: {}, desk.StateClosed: {}, desk.StateWithdrawn: {}, desk.StateVoid: {},
	} {
		if got := [3]bool{state.Open(), state.Waiting(), state.InHand()}; got != want {
			t.Errorf("%s: open, waiting, in hand = %v, want %v", state, got, want)
		}
	}
}
