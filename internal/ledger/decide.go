package ledger

import "time"

// change is what a result does to a delivery and its attempt. It is computed
// by pure functions from rows, and written by one function (apply).
type change struct {
	state   State
	attempt AttemptState
	code    string
	due     time.Time // of a planned one
	waits   time.Time // end of the wait for a receipt; zero: no wait
	check   time.Time // next look-up of the attempt; zero: none
	// submissions and failures replace the delivery's.
	submissions int64
	failures    int64
	// hop: the next way of the plan takes over.
	hop bool
}

// afterOutcome decides what follows the answer of a vendor.
func afterOutcome(d Delivery, a Attempt, o Outcome, now time.Time) change {
	c := change{code: o.Code, submissions: d.Submissions, failures: d.Failures}
	switch o.Kind {
	case OK:
		return accepted(c, d, a, now)
	case Ambiguous:
		return lost(c, d, a, now)
	case Throttled:
		c.attempt = AttemptRefused
		return again(c, d, now, max(o.RetryAfter, time.Second))
	case Quota, Money, Stop, Template:
		return held(c, d, o, now)
	case Retry, RefreshToken:
		return refused(c, d, o, now)
	case Permanent, Unreachable:
		c.attempt = AttemptRefused
		return failed(c, d, now)
	}
	// An outcome that nobody knows was made by a sender that is wrong: nothing
	// is known about the call.
	return lost(c, d, a, now)
}

func accepted(c change, d Delivery, a Attempt, now time.Time) change {
	c.state, c.attempt = Submitted, AttemptSubmitted
	c.submissions++
	c.failures = 0
	ch := channels[d.Channel]
	if ch.receipts {
		c.waits = now.Add(waitForReceipt)
	}
	if ch.lookup {
		c.check = nextLook(missingLooks, a.StartedAt, 0)
	}
	return c
}

// refused repeats a call that was provably not accepted, after a pause that
// grows, until the pauses of its lane are used up.
func refused(c change, d Delivery, o Outcome, now time.Time) change {
	c.attempt = AttemptRefused
	pauses := retriesOf(d.Lane)
	if d.Failures >= int64(len(pauses)) {
		return failed(c, d, now)
	}
	c.failures++
	return again(c, d, now, max(o.RetryAfter, pauses[d.Failures]))
}

// held waits until the account is in order again. Whoever cannot wait and has
// another way takes it.
func held(c change, d Delivery, o Outcome, now time.Time) change {
	c.attempt = AttemptRefused
	urgent := d.Class == ClassDanger || d.Class == ClassReply || d.Class == ClassCode
	if o.Kind == Template && (urgent || len(d.Plan) > 0) {
		return failed(c, d, now) // a template does not come back soon
	}
	if (urgent && len(d.Plan) > 0) || now.Sub(d.CreatedAt) >= longestHold {
		return failed(c, d, now)
	}
	return again(c, d, now, max(o.RetryAfter, time.Minute))
}

// again plans the delivery anew, unless it would then be too late.
func again(c change, d Delivery, now time.Time, pause time.Duration) change {
	c.state, c.due = Planned, now.Add(pause)
	if late(d, c.due) {
		c.state, c.due = Expired, time.Time{}
	}
	return c
}

func failed(c change, d Delivery, now time.Time) change {
	c.state = Failed
	c.hop = hopPossible(d, now)
	return c
}

func late(d Delivery, at time.Time) bool {
	return !d.ValidUntil.IsZero() && !at.Before(d.ValidUntil)
}

func hopPossible(d Delivery, now time.Time) bool {
	return len(d.Plan) > 0 && d.NextID == "" && !late(d, now)
}

// lost: nobody knows whether the vendor accepted. The table of follow.go says
// what that means for this channel and class.
func lost(c change, d Delivery, a Attempt, now time.Time) change {
	c.state, c.attempt = Unknown, AttemptUnknown
	c.submissions++
	c.waits = now.Add(waitForReceipt)
	f := followOf(d.Channel, d.Class)
	due := now.Add(repeatPause)
	switch f.repeat {
	case RepeatOnce, RepeatRevision:
		if c.submissions < f.most && !late(d, due) {
			return repeat(c, due)
		}
	case RepeatSameID:
		first := d.CalledAt
		if first.IsZero() {
			first = a.StartedAt
		}
		if c.submissions < f.most && due.Before(first.Add(f.within)) && !late(d, due) {
			return repeat(c, due)
		}
	case RepeatLookup, RepeatAbsent, RepeatLookOnly:
		c.check = nextLook(looksOf(d.Class), a.StartedAt, 0)
	case RepeatNever:
	}
	if pressing(d.Class) && !channels[d.Channel].lookup {
		// Nobody can be asked: a person shall not wait three days to be told.
		c.waits = now.Add(pressingWait)
	}
	// Danger does not wait for certainty when there is another way.
	c.hop = d.Class == ClassDanger && hopPossible(d, now)
	return c
}

func repeat(c change, due time.Time) change {
	c.state, c.due, c.waits = Planned, due, time.Time{}
	return c
}

// afterCheck decides what follows a look-up of the attempt. ok is false when
// it changes nothing but the time of the next one (c.check).
// alone says that no other call of the delivery may have been accepted.
func afterCheck(d Delivery, a Attempt, found Check, alone bool, now time.Time) (c change, ok bool) {
	latest := a.N == d.Attempts
	c = change{
		state: d.State, attempt: a.State, code: d.Code, waits: d.WaitsUntil,
		submissions: d.Submissions, failures: d.Failures,
	}
	n := a.CheckN + 1 // this one counted
	switch found.Found {
	case FoundDelivered:
		c.attempt, c.code = AttemptDelivered, found.Code
		if May(d.State, Delivered) {
			c.state, c.waits = Delivered, time.Time{}
		}
		return c, true
	case FoundFailed:
		return afterFailure(c, d, latest, found.Code, found.Transient, now), true
	case FoundPending:
		if a.State == AttemptUnknown {
			c.attempt = AttemptSubmitted
			c.check = nextMissing(a, now)
			if latest && d.State == Unknown {
				c.state = Submitted
			}
			return c, true
		}
		c.check = nextMissing(a, now)
		return c, false
	case FoundAbsent, FoundNoAnswer:
	}
	if a.State != AttemptUnknown {
		c.check = nextMissing(a, now)
		return c, false
	}
	c.check = nextLook(looksOf(d.Class), a.StartedAt, n)
	return afterAbsence(c, d, a, found, alone, now)
}

// afterAbsence decides what follows a look-up that did not find a call of
// unknown result.
func afterAbsence(c change, d Delivery, a Attempt, found Check, alone bool, now time.Time) (change, bool) {
	latest, proven := a.N == d.Attempts, provenAbsent(d.Class, a, found, now)
	f := followOf(d.Channel, d.Class)
	switch f.repeat {
	case RepeatLookup:
		// Better twice than never: also when the look-up itself had no answer.
		if latest && d.State == Unknown && a.CheckN+1 >= quickLooks && d.Submissions < f.most && !late(d, now) {
			return repeat(c, now), true
		}
	case RepeatAbsent:
		if !latest || d.State != Unknown || !proven {
			return c, false
		}
		c.attempt = AttemptAbsent
		c.submissions-- // it was not accepted after all
		c.check = time.Time{}
		if d.Attempts <= f.most && !late(d, now) {
			return repeat(c, now), true
		}
		c.code = codeAbsent
		return failed(c, d, now), true
	case RepeatLookOnly:
	case RepeatNever, RepeatOnce, RepeatSameID, RepeatRevision:
		return c, false
	}
	if !proven {
		return c, false
	}
	// Not to be sent again, and not accepted: it ends here, so that a person
	// learns of it now and not after 72 hours.
	c.attempt, c.check = AttemptAbsent, time.Time{}
	if alone && d.State == Unknown {
		c.code, c.waits = codeAbsent, time.Time{}
		c.submissions--
		return failed(c, d, now), true
	}
	return c, true
}

// codeAbsent: the vendor does not know the call.
const codeAbsent = "absent"

// provenAbsent: at least two look-ups in a row without it, ten minutes apart; a
// minute where somebody waits.
func provenAbsent(class Class, a Attempt, found Check, now time.Time) bool {
	span := absentSpan
	if pressing(class) {
		span = absentSpanPressing
	}
	return found.Found == FoundAbsent && a.AbsentN+1 >= absentLooks &&
		!a.AbsentSince.IsZero() && now.Sub(a.AbsentSince) >= span
}

// pressing classes have somebody who waits, and staff who call when words did
// not arrive.
func pressing(class Class) bool { return class == ClassDanger || class == ClassReply }

// nextMissing is when to ask next about an accepted call: soon when a receipt
// nobody vouches for says that it failed, else by the plan for missing ones.
func nextMissing(a Attempt, now time.Time) time.Time {
	if a.ReceiptCode != "" && !a.ReceiptAt.IsZero() {
		if at := nextLook(doubtLooks, a.ReceiptAt, dueLooks(doubtLooks, a.ReceiptAt, now)); !at.IsZero() {
			return at
		}
	}
	return nextLook(missingLooks, a.StartedAt, dueLooks(missingLooks, a.StartedAt, now))
}

// dueLooks counts the look-ups of a plan whose time has come.
func dueLooks(plan []time.Duration, started, now time.Time) int64 {
	var n int64
	for _, after := range plan {
		if !now.Before(started.Add(after)) {
			n++
		}
	}
	return n
}

// afterFailure decides what follows the confirmed failure of an accepted call.
func afterFailure(c change, d Delivery, latest bool, code string, transient bool, now time.Time) change {
	c.attempt, c.code = AttemptFailed, code
	if !latest || (d.State != Submitted && d.State != Unknown && d.State != Sending) {
		return c // a newer call is under way or done: only the attempt changes
	}
	f := followOf(d.Channel, d.Class)
	if transient && f.repeat == RepeatLookup && d.Submissions < f.most && !late(d, now) && d.State != Sending {
		return repeat(c, now)
	}
	c.waits = time.Time{}
	return failed(c, d, now)
}

// afterReceipt decides what follows a receipt for the attempt. ok is false
// when it changes nothing but the time of the next look-up (c.check).
func afterReceipt(d Delivery, a Attempt, r Receipt, now time.Time) (c change, ok bool) {
	c = change{
		state: d.State, attempt: a.State, code: d.Code, check: a.CheckAt, waits: d.WaitsUntil,
		submissions: d.Submissions, failures: d.Failures,
	}
	if a.State == AttemptDelivered || a.State == AttemptFailed {
		return c, false // said before
	}
	switch {
	case r.OK:
		c.attempt, c.code, c.check = AttemptDelivered, r.Code, time.Time{}
		if May(d.State, Delivered) {
			c.state, c.waits = Delivered, time.Time{}
		}
		return c, true
	case r.Confirmed:
		c.check = time.Time{}
		return afterFailure(c, d, a.N == d.Attempts, r.Code, r.Transient, now), true
	case channels[d.Channel].lookup:
		// Anybody may have written it: ask the vendor.
		c.check = now
		return c, false
	}
	return c, false
}
