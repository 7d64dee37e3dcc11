package deliver

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"guanjia/internal/ledger"
)

// Rate limits the calls of one account on one channel.
type Rate struct {
	PerSecond float64 // zero: no limit
	Burst     int     // at least 1
	// Reserved is the share that only the emergency lane may use, 0 to 1;
	// zero means a fifth.
	Reserved float64
	// PerDay is how many submissions a day of the vendors (UTC+8) may have been
	// accepted before all lanes but the emergency one wait for the next day; the
	// reserved share is kept from them. Zero: no cap.
	PerDay int64
}

// Alarm says that an account was stopped, or works again. A person must act on
// ledger.Money and ledger.Stop.
type Alarm struct {
	Channel   string
	AccountID string
	Kind      ledger.OutcomeKind
	Code      string
	Open      bool // false: it works again
	// RefKind and RefID name the bulk that was held, when it is not the account
	// that is in trouble.
	RefKind string
	RefID   string
}

// Numbers of the breaker and the rate, by the machine's clock.
const (
	defaultReserved = 0.2
	// haltPause: how long an account rests before one call tries it again.
	haltPause = 60 * time.Second
	// quotaPause: an account whose allowance ends at midnight is tried now and
	// then all the same, since an operator may raise it.
	quotaPause = 10 * time.Minute
	// troublePause: the same after calls that failed one after the other.
	troublePause = 5 * time.Second
	// troubleAfter calls in a row without an answer open the breaker.
	troubleAfter = 8
	// sameRefusal: so many refusals in a row with one code are no longer the
	// fault of single deliveries.
	sameRefusal = 5
	// slowest: a throttled account keeps at least this part of its rate.
	slowest = 1.0 / 64
	// sameThrottle: refusals within it are of one burst.
	sameThrottle = 500 * time.Millisecond
	// recovery: the part of the full rate that comes back a second.
	recovery = 0.05
	// lookAtDay is how old the count of a day may be.
	lookAtDay = time.Second
	// codeDayCap is the code of the alarm when our own daily cap is reached.
	codeDayCap = "our_day_cap"
	// unlimitedStart: the rate that a throttled account without a configured
	// rate is taken to have had.
	unlimitedStart = 50
)

// sources holds what is known about every account.
type sources struct {
	rates func(channel, accountID string) Rate
	mu    sync.Mutex
	list  map[string]*source
}

func newSources(rates func(channel, accountID string) Rate) *sources {
	if rates == nil {
		rates = func(string, string) Rate { return Rate{} }
	}
	return &sources{rates: rates, list: make(map[string]*source)}
}

func (s *sources) get(channel, accountID string) *source {
	key := ledger.Source{Channel: channel, AccountID: accountID}.Key()
	s.mu.Lock()
	defer s.mu.Unlock()
	src, ok := s.list[key]
	if !ok {
		src = newSource(channel, accountID, s.rates(channel, accountID))
		s.list[key] = src
	}
	return src
}

// all lists what is known.
func (s *sources) all() []*source {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*source, 0, len(s.list))
	for _, src := range s.list {
		list = append(list, src)
	}
	return list
}

// closed lists the sources that a lane must not claim now, and when the first
// of them opens (zero: none is closed).
func (s *sources) closed(lane ledger.Lane) (keys []string, opens time.Duration) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, src := range s.list {
		wait := src.blocked(lane, now)
		if wait <= 0 {
			continue
		}
		keys = append(keys, key)
		if opens == 0 || wait < opens {
			opens = wait
		}
	}
	return keys, opens
}

// source is one account on one channel: its rate and its breaker.
type source struct {
	channel, account string
	mu               sync.Mutex
	full             float64 // configured rate, 0 without
	burst            int
	reserved         float64
	perDay           int64 // configured cap, 0 without
	today            int64 // counted of it
	todayAt          time.Time
	dayEnds          time.Duration // until the day turns, when it was counted
	capped           bool          // the alarm about it is given
	// urgent is the account's whole rate, for emergencies; rest is what the
	// other lanes may use of it. An emergency takes its place from rest too, so
	// that both together keep the account's rate, and never waits for places
	// that others have taken ahead.
	urgent, rest *rate.Limiter
	now          float64   // current rate, 0 for unlimited
	credits      [2]credit // calm lanes, emergencies
	share        float64   // of the rate that this node may use alone, 1 while nodes share it
	raisedAt     time.Time
	halvedAt     time.Time

	halted  bool // money or stop: emergencies wait too
	until   time.Time
	probing bool // one call is trying it
	kind    ledger.OutcomeKind
	code    string
	silent  int // calls in a row without an answer
	refused int // refusals in a row with the same code
	refuse  string
}

func newSource(channel, account string, r Rate) *source {
	s := &source{channel: channel, account: account, share: 1}
	s.settings(r)
	s.now = s.full
	s.urgent = rate.NewLimiter(limitOf(s.now), s.burst)
	s.rest = rate.NewLimiter(limitOf(s.now*(1-s.reserved)), s.burst)
	return s
}

func (s *source) settings(r Rate) {
	s.full, s.burst, s.reserved, s.perDay = r.PerSecond, max(1, r.Burst), r.Reserved, r.PerDay
	if s.reserved <= 0 || s.reserved >= 1 {
		s.reserved = defaultReserved
	}
}

// configure takes changed settings over. A throttled account climbs to a new
// rate as it would have to the old one.
func (s *source) configure(r Rate, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	full, burst, reserved := s.full, s.burst, s.reserved
	s.settings(r)
	if s.full == full && s.burst == burst && s.reserved == reserved {
		return
	}
	if s.now == full || (s.full > 0 && s.now > s.full) {
		s.now = s.full
	}
	s.raisedAt = now
	s.urgent.SetBurstAt(now, s.burst)
	s.rest.SetBurstAt(now, s.burst)
	s.setRate(now)
}

// dayWanted tells whether the count of the day must be read again.
func (s *source) dayWanted(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.perDay > 0 && now.Sub(s.todayAt) >= lookAtDay
}

// setDay takes the count of the day, by which the account may have just reached
// its cap or have just come back; news is true then.
func (s *source) setDay(n int64, ends time.Duration, now time.Time) (a Alarm, news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.today, s.todayAt, s.dayEnds = n, now, ends
	full := s.dayFull()
	if full == s.capped {
		return Alarm{}, false
	}
	s.capped = full
	return Alarm{Channel: s.channel, AccountID: s.account, Kind: ledger.Quota, Code: codeDayCap, Open: full}, true
}

// dayFull tells whether the calm lanes have had their part of the day.
func (s *source) dayFull() bool {
	return s.perDay > 0 && float64(s.today) >= float64(s.perDay)*(1-s.reserved)
}

func limitOf(perSecond float64) rate.Limit {
	if perSecond <= 0 {
		return rate.Inf
	}
	return rate.Limit(perSecond)
}

// blocked says how long a lane must not claim from this source.
func (s *source) blocked(lane ledger.Lane, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.broken(lane, now); wait > 0 {
		return wait
	}
	if lane != ledger.LaneEmergency && s.dayFull() {
		return min(max(s.dayEnds, lookAtDay), 5*lookAtDay)
	}
	s.raise(now)
	lim := s.rest
	if lane == ledger.LaneEmergency {
		lim = s.urgent
	}
	if lim.Limit() == rate.Inf {
		return 0
	}
	if tokens := lim.TokensAt(now); tokens < 1 {
		return max(time.Millisecond, time.Duration((1-tokens)/float64(lim.Limit())*float64(time.Second)))
	}
	return 0
}

// broken says how long the breaker keeps a lane out. Emergencies pass a
// breaker that only hammering opened.
func (s *source) broken(lane ledger.Lane, now time.Time) time.Duration {
	if s.until.IsZero() || (!s.halted && lane == ledger.LaneEmergency) {
		return 0
	}
	if wait := s.until.Sub(now); wait > 0 {
		return wait
	}
	if s.probing {
		return 100 * time.Millisecond
	}
	return 0
}

// enter asks the breaker for one call; a wait above zero refuses it. After the
// pause exactly one call tries the account.
func (s *source) enter(lane ledger.Lane, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.broken(lane, now); wait > 0 {
		return wait
	}
	if lane != ledger.LaneEmergency && s.dayFull() {
		return lookAtDay
	}
	if !s.until.IsZero() {
		s.probing = true
	}
	return 0
}

// giveUp ends a call that was admitted and not made.
func (s *source) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing = false
}

// reserve takes a place in the account's rate and says when it comes. A wait
// longer than longWait hands it back, save for an emergency, which waits.
func (s *source) reserve(lane ledger.Lane, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raise(now)
	if lane == ledger.LaneEmergency {
		// Not more than a second's debt: the others must come back soon after.
		if s.rest.Limit() != rate.Inf && s.rest.TokensAt(now) > -float64(s.rest.Limit()) {
			s.rest.ReserveN(now, 1)
		}
		return s.urgent.ReserveN(now, 1).DelayFrom(now)
	}
	place := s.rest.ReserveN(now, 1)
	wait := place.DelayFrom(now)
	if wait > longWait {
		place.CancelAt(now)
	}
	return wait
}

// raise gives a throttled account its rate back, little by little.
func (s *source) raise(now time.Time) {
	top := s.top()
	if s.now <= 0 || s.now >= top || !now.After(s.raisedAt) {
		return
	}
	s.now = min(top, s.now+top*recovery*now.Sub(s.raisedAt).Seconds())
	s.raisedAt = now
	if s.now >= top && s.full <= 0 {
		s.now = 0 // unlimited again
	}
	s.setRate(now)
}

func (s *source) top() float64 {
	if s.full > 0 {
		return s.full
	}
	return unlimitedStart
}

func (s *source) setRate(now time.Time) {
	s.urgent.SetLimitAt(now, limitOf(s.now*s.share))
	s.rest.SetLimitAt(now, limitOf(s.now*s.share*(1-s.reserved)))
}

// alone sets which part of the rate this node keeps to while it cannot ask the
// others. It tells whether that is news.
func (s *source) alone(share float64, now time.Time) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.share == share {
		return false
	}
	s.share = share
	s.setRate(now)
	return true
}

// limited tells whether the account has a rate to share.
func (s *source) limited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full > 0
}

// gaps are the times between two calls of the current rate, whole and without
// the reserved share.
func (s *source) gaps() (whole, part time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	per := s.now
	if per <= 0 {
		per = s.top()
	}
	whole = time.Duration(float64(time.Second) / per)
	return whole, time.Duration(float64(whole) / (1 - s.reserved))
}

// halve slows the account down. Calls that were under way together are refused
// together: that is one sign, not many.
func (s *source) halve(now time.Time) {
	if now.Sub(s.halvedAt) < sameThrottle {
		return
	}
	s.halvedAt = now
	top := s.top()
	if s.now <= 0 {
		s.now = top
	}
	s.now = max(s.now/2, top*slowest)
	s.raisedAt = now
	s.setRate(now)
}

// learn draws the consequences of an outcome. news is true when the account
// has just been stopped or has just come back.
func (s *source) learn(o ledger.Outcome, now time.Time) (a Alarm, news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing = false
	if o.NoCall {
		return Alarm{}, false
	}
	s.count(o)
	if o.Kind == ledger.OK || o.Kind == ledger.Ambiguous {
		s.today++ // until it is read again
	}
	switch o.Kind {
	case ledger.Throttled:
		s.halve(now)
		return Alarm{}, false
	case ledger.Money, ledger.Stop:
		return s.open(o, now, haltPause, true)
	case ledger.Quota:
		return s.open(o, now, max(haltPause, min(o.RetryAfter, quotaPause)), true)
	case ledger.Permanent:
		if s.refused >= sameRefusal {
			return s.open(o, now, haltPause, false)
		}
		return Alarm{}, false
	case ledger.Retry, ledger.Ambiguous:
		if s.silent >= troubleAfter || (!s.until.IsZero() && !s.halted && o.RetryAfter == 0) {
			return s.open(o, now, troublePause, false)
		}
		return Alarm{}, false
	case ledger.OK:
		return s.close()
	case ledger.Unreachable, ledger.RefreshToken:
	case ledger.Template:
		// Other templates of the account are well: see Engine.holdRef.
		return Alarm{Channel: s.channel, AccountID: s.account, Kind: o.Kind, Code: o.Code, Open: true}, true
	}
	return Alarm{}, false
}

func (s *source) count(o ledger.Outcome) {
	switch o.Kind {
	case ledger.Retry, ledger.Ambiguous:
		// A retry with a time of its own concerns one reader, not the account.
		if o.RetryAfter == 0 {
			s.silent++
		}
	case ledger.OK, ledger.Permanent, ledger.Unreachable, ledger.Quota, ledger.Money, ledger.Stop,
		ledger.Throttled, ledger.RefreshToken, ledger.Template:
		s.silent = 0
	}
	switch {
	case o.Kind == ledger.Permanent && o.Code == s.refuse:
		s.refused++
	case o.Kind == ledger.Permanent:
		s.refused, s.refuse = 1, o.Code
	case o.Kind == ledger.OK:
		s.refused, s.refuse = 0, ""
	}
}

func (s *source) open(o ledger.Outcome, now time.Time, pause time.Duration, halt bool) (Alarm, bool) {
	news := s.until.IsZero() || s.kind != o.Kind || s.code != o.Code
	s.until, s.halted, s.kind, s.code = now.Add(pause), halt, o.Kind, o.Code
	return Alarm{Channel: s.channel, AccountID: s.account, Kind: o.Kind, Code: o.Code, Open: true}, news
}

func (s *source) close() (Alarm, bool) {
	if s.until.IsZero() {
		return Alarm{}, false
	}
	a := Alarm{Channel: s.channel, AccountID: s.account, Kind: s.kind, Code: s.code}
	s.until, s.halted, s.kind, s.code = time.Time{}, false, "", ""
	return a, true
}
