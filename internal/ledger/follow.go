package ledger

import "time"

// Repeat says what may be done about a call whose result nobody knows.
type Repeat string

// The ways.
const (
	RepeatNever    Repeat = "never"     // wait for a receipt, else it stays unknown
	RepeatOnce     Repeat = "once"      // sent once more: better twice than never
	RepeatSameID   Repeat = "same_id"   // harmless: the vendor drops a second one with the same id
	RepeatRevision Repeat = "revision"  // sent again unless a newer revision supersedes it
	RepeatLookup   Repeat = "lookup"    // asked for; once more after the last quick look-up
	RepeatAbsent   Repeat = "if_absent" // asked for; again only when proven absent
	RepeatLookOnly Repeat = "look_only" // asked for, to know; never again
)

// follow is one rule: what follows `unknown`.
type follow struct {
	channel Channel
	class   Class // "" for all others
	repeat  Repeat
	// most submissions that were or may have been accepted, the first included.
	most int64
	// within is how long after the first call a repeat is harmless (RepeatSameID).
	within time.Duration
}

// follows is the table of the ways, first match wins: by what the vendor
// offers and by what a second message, or none, would do to its reader.
var follows = []follow{
	{ChannelService, ClassDanger, RepeatOnce, 2, 0},
	{ChannelService, ClassReply, RepeatOnce, 2, 0},
	{ChannelService, "", RepeatNever, 1, 0},
	{ChannelTemplate, "", RepeatSameID, 4, 10 * time.Minute},
	{ChannelSubscribe, "", RepeatNever, 1, 0},
	{ChannelCard, "", RepeatRevision, 5, 0},
	{ChannelGroup, "", RepeatRevision, 5, 0},
	{ChannelWebhook, "", RepeatRevision, 3, 0},
	{ChannelApp, "", RepeatRevision, 3, 0},
	{ChannelSMS, ClassDanger, RepeatLookup, 2, 0},
	{ChannelSMS, ClassPlanned, RepeatAbsent, 2, 0},
	{ChannelSMS, ClassCode, RepeatAbsent, 2, 0},
	{ChannelSMS, "", RepeatLookOnly, 1, 0},
	{ChannelCall, "", RepeatNever, 1, 0},
}

func followOf(channel Channel, class Class) follow {
	for _, f := range follows {
		if f.channel == channel && (f.class == class || f.class == "") {
			return f
		}
	}
	return follow{channel: channel, repeat: RepeatNever, most: 1}
}

// Times of the rules, all by the product's clock.
const (
	// repeatPause lets a vendor that did not answer draw breath.
	repeatPause = 2 * time.Second
	// waitForReceipt: then a submission without receipt becomes no_receipt.
	waitForReceipt = 72 * time.Hour
	// absentSpan: look-ups that prove absence lie at least this far apart.
	absentSpan = 10 * time.Minute
	// absentSpanPressing: the same where somebody waits.
	absentSpanPressing = time.Minute
	// pressingWait: how long somebody who waits, waits for a result that nobody
	// can be asked about.
	pressingWait = 15 * time.Minute
	// absentLooks: and there are at least this many of them.
	absentLooks = 2
	// quickLooks: after so many look-ups an emergency is sent once more.
	quickLooks = 2
	// longestHold: a delivery that an account's trouble held up that long fails.
	longestHold = 72 * time.Hour
)

// unknownLooks: when to ask for a submission of unknown result, counted from
// its call; pressingLooks the same where somebody waits. missingLooks: when to ask for a receipt that did not come.
// doubtLooks: when to ask again about a failure that an unsigned receipt tells,
// counted from the receipt; the first look-up follows it at once.
var (
	unknownLooks = []time.Duration{
		15 * time.Second, time.Minute, 5 * time.Minute, 12 * time.Minute, 30 * time.Minute,
	}
	pressingLooks = []time.Duration{
		15 * time.Second, time.Minute, 90 * time.Second, 5 * time.Minute, 12 * time.Minute, 30 * time.Minute,
	}
	missingLooks = []time.Duration{10 * time.Minute, 2 * time.Hour, 24 * time.Hour}
	doubtLooks   = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}
)

// looksOf is the plan for a call of unknown result.
func looksOf(class Class) []time.Duration {
	if pressing(class) {
		return pressingLooks
	}
	return unknownLooks
}

// nextLook is the time of the look-up that follows n done ones, the zero time
// when none does.
func nextLook(plan []time.Duration, started time.Time, n int64) time.Time {
	if n < 0 || n >= int64(len(plan)) {
		return time.Time{}
	}
	return started.Add(plan[n])
}

// retries: the pauses before a provably refused call is repeated. Afterwards
// the delivery fails, or its next hop takes over.
var (
	retriesUrgent = []time.Duration{
		time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
		time.Minute, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	}
	retriesReply = []time.Duration{
		time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
		2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	}
	retriesCalm = []time.Duration{
		5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour,
	}
)

func retriesOf(lane Lane) []time.Duration {
	switch lane {
	case LaneEmergency:
		return retriesUrgent
	case LaneReply, LaneCard:
		return retriesReply
	case LaneNormal, LaneBulk:
	}
	return retriesCalm
}
