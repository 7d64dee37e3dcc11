package ledger

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestStateTable holds the table to what the design says of the states.
func TestStateTable(t *testing.T) {
	t.Parallel()
	final := []State{Delivered, Failed, NoReceipt, Skipped, Expired, Cancelled}
	for _, s := range AllStates() {
		if got, want := s.Final(), slices.Contains(final, s); got != want {
			t.Errorf("%s: final is %v, want %v", s, got, want)
		}
		reached := s == Planned
		for _, tr := range transitions {
			reached = reached || tr.To == s
		}
		if !reached {
			t.Errorf("%s can never be reached", s)
		}
	}
	seen := map[[2]State]bool{}
	for _, tr := range transitions {
		if !slices.Contains(AllStates(), tr.From) || !slices.Contains(AllStates(), tr.To) || tr.When == "" || tr.From == tr.To {
			t.Errorf("bad row %+v", tr)
		}
		if seen[[2]State{tr.From, tr.To}] {
			t.Errorf("twice: %s to %s", tr.From, tr.To)
		}
		seen[[2]State{tr.From, tr.To}] = true
	}
	if May(Cancelled, Planned) || May(Planned, Sending) || !May(Sending, Unknown) {
		t.Error("the table is read wrongly")
	}
}

// TestSettled: submitted is the end where the vendor gives no receipt.
func TestSettled(t *testing.T) {
	t.Parallel()
	for ch, want := range map[Channel]bool{
		ChannelService: true, ChannelSubscribe: true, ChannelCard: true, ChannelGroup: true, ChannelWebhook: true,
		ChannelApp: true, ChannelTemplate: false, ChannelSMS: false, ChannelCall: false,
	} {
		d := Delivery{Channel: ch, State: Submitted}
		if d.Settled() != want || d.Reached() != want {
			t.Errorf("%s: settled %v reached %v", ch, d.Settled(), d.Reached())
		}
	}
	if len(channels) != len(Channels()) {
		t.Error("a channel is missing from the list")
	}
}

// TestEveryChannelAndClassHasARule: nothing falls to the default by accident.
func TestEveryChannelAndClassHasARule(t *testing.T) {
	t.Parallel()
	for _, ch := range Channels() {
		for _, class := range Classes() {
			f := followOf(ch, class)
			if f.most < 1 {
				t.Errorf("%s %s: at most %d submissions", ch, class, f.most)
			}
			if (f.repeat == RepeatLookup || f.repeat == RepeatAbsent || f.repeat == RepeatLookOnly) && !channels[ch].lookup {
				t.Errorf("%s %s: is to be looked up, and the vendor cannot be asked", ch, class)
			}
		}
	}
}

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func drawDelivery(t *rapid.T, states ...State) (Delivery, Attempt) {
	attempts := rapid.Int64Range(1, 8).Draw(t, "attempts")
	d := Delivery{
		Channel:     rapid.SampledFrom(Channels()).Draw(t, "channel"),
		Class:       rapid.SampledFrom(Classes()).Draw(t, "class"),
		Lane:        rapid.SampledFrom(Lanes()).Draw(t, "lane"),
		State:       rapid.SampledFrom(states).Draw(t, "state"),
		Attempts:    attempts,
		Submissions: rapid.Int64Range(0, attempts).Draw(t, "submissions"),
		Failures:    rapid.Int64Range(0, 12).Draw(t, "failures"),
		CreatedAt:   noon.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "age")) * time.Hour),
		CalledAt:    noon.Add(-time.Duration(rapid.IntRange(0, 40).Draw(t, "called")) * time.Minute),
	}
	if rapid.Bool().Draw(t, "hop") {
		d.Plan = []Hop{{Channel: ChannelSMS}}
	}
	if rapid.Bool().Draw(t, "valid") {
		d.ValidUntil = noon.Add(time.Duration(rapid.IntRange(-5, 60).Draw(t, "until")) * time.Minute)
	}
	a := Attempt{
		N:         rapid.Int64Range(1, attempts).Draw(t, "n"),
		State:     rapid.SampledFrom([]AttemptState{AttemptSending, AttemptSubmitted, AttemptUnknown, AttemptAbsent, AttemptRefused}).Draw(t, "attempt"),
		StartedAt: noon.Add(-time.Duration(rapid.IntRange(0, 7200).Draw(t, "started")) * time.Second),
		CheckN:    rapid.Int64Range(0, 6).Draw(t, "checks"),
		AbsentN:   rapid.Int64Range(0, 4).Draw(t, "absent"),
	}
	if a.AbsentN > 0 {
		a.AbsentSince = noon.Add(-time.Duration(rapid.IntRange(0, 3600).Draw(t, "since")) * time.Second)
	}
	return d, a
}

// TestOutcomesKeepTheRules: whatever a vendor answers, the delivery moves along
// the table, is not sent after its end, is not sent more often than its rule
// says, and has a next way only when it failed.
func TestOutcomesKeepTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d, a := drawDelivery(t, Sending)
		o := Outcome{
			Kind:       rapid.SampledFrom(append(OutcomeKinds(), "nonsense")).Draw(t, "kind"),
			RetryAfter: time.Duration(rapid.IntRange(0, 7200).Draw(t, "after")) * time.Second,
		}
		c := afterOutcome(d, a, o, noon)
		if !May(Sending, c.state) {
			t.Fatalf("moves to %s", c.state)
		}
		if c.state == Planned {
			if !c.due.After(noon) {
				t.Fatal("repeated without a pause")
			}
			if late(d, c.due) {
				t.Fatal("planned past its valid-until")
			}
			if o.Kind == Ambiguous && c.submissions >= followOf(d.Channel, d.Class).most {
				t.Fatalf("%d submissions and a repeat", c.submissions)
			}
		}
		if c.hop && (len(d.Plan) == 0 || (c.state != Failed && d.Class != ClassDanger)) {
			t.Fatalf("next way from %s", c.state)
		}
		if c.state == Failed && !c.hop && len(d.Plan) > 0 && !late(d, noon) {
			t.Fatal("failed, and its next way was forgotten")
		}
		if accepted := o.Kind == OK || o.Kind == Ambiguous || o.Kind == "nonsense"; (c.submissions == d.Submissions+1) != accepted {
			t.Fatalf("%s: submissions from %d to %d", o.Kind, d.Submissions, c.submissions)
		}
		if (c.state == Unknown) && c.waits.IsZero() {
			t.Fatal("unknown for ever")
		}
	})
}

func TestLookUpsKeepTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d, a := drawDelivery(t, Submitted, Unknown, Planned, Sending, Delivered, Failed)
		d.Channel = ChannelSMS
		found := Check{
			Found:     rapid.SampledFrom([]Found{FoundPending, FoundDelivered, FoundFailed, FoundAbsent, FoundNoAnswer}).Draw(t, "found"),
			Transient: rapid.Bool().Draw(t, "transient"),
		}
		c, ok := afterCheck(d, a, found, rapid.Bool().Draw(t, "alone"), noon)
		if !ok {
			if c.state != d.State || c.attempt != a.State {
				t.Fatal("changes something and says that it doesn't")
			}
			return
		}
		if c.state != d.State && !May(d.State, c.state) {
			t.Fatalf("moves from %s to %s", d.State, c.state)
		}
		if c.state == Planned && d.State != Planned {
			f := followOf(d.Channel, d.Class)
			if f.repeat == RepeatLookOnly || f.repeat == RepeatNever {
				t.Fatalf("class %s is sent again", d.Class)
			}
			if a.N != d.Attempts {
				t.Fatal("sent again because of an old call")
			}
			if c.submissions >= f.most {
				t.Fatalf("%d submissions and a repeat", c.submissions)
			}
			if late(d, noon) {
				t.Fatal("sent again past its valid-until")
			}
		}
	})
}

func TestReceiptsKeepTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d, a := drawDelivery(t, AllStates()...)
		r := Receipt{
			OK: rapid.Bool().Draw(t, "ok"), Confirmed: rapid.Bool().Draw(t, "confirmed"), Transient: rapid.Bool().Draw(t, "transient"),
		}
		c, ok := afterReceipt(d, a, r, noon)
		if c.state != d.State && !May(d.State, c.state) {
			t.Fatalf("moves from %s to %s", d.State, c.state)
		}
		if d.State.Final() && c.state != d.State {
			t.Fatalf("a receipt moved a final %s", d.State)
		}
		if !r.OK && !r.Confirmed && (ok || c.state != d.State || c.hop || c.attempt != a.State) {
			t.Fatal("an unsigned failure did something")
		}
	})
}

func TestLookTimes(t *testing.T) {
	t.Parallel()
	if at := nextLook(unknownLooks, noon, 1); at != noon.Add(time.Minute) {
		t.Errorf("second look at %v", at)
	}
	for _, n := range []int64{-1, int64(len(unknownLooks))} {
		if at := nextLook(unknownLooks, noon, n); !at.IsZero() {
			t.Errorf("look %d at %v", n, at)
		}
	}
	if n := dueLooks(missingLooks, noon, noon.Add(3*time.Hour)); n != 2 {
		t.Errorf("%d looks are over after three hours", n)
	}
}
