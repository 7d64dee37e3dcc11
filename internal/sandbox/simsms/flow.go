package simsms

import (
	"strconv"
	"time"

	"guanjia/internal/sandbox/simcore"
)

// flowKey is what one allowance is counted by: for verification codes the
// signature and the phone, for all else also the template.
type flowKey struct{ account, sign, template, phone string }

// flow counts accepted submissions: minute and hour are clock windows of
// UTC+8, the day runs 24 hours from its first send.
type flow struct {
	minute, hour   int64
	minuteN, hourN int
	dayFrom        time.Time
	dayN           int
}

// flowDefaults are the vendor's limits for one phone by template type.
var flowDefaults = map[int]simcore.SMSFlow{
	typeCode:   {Minute: 1, Hour: 5, Day: 10},
	typeNotice: {Day: 50},
	typePromo:  {Day: 50},
}

// codesADay is how many verification codes a phone takes from all senders.
const codesADay = 40

func (a *account) flowOf(templateType int) simcore.SMSFlow {
	if f, ok := a.cfg.Flow[strconv.Itoa(templateType)]; ok {
		return f
	}
	return flowDefaults[templateType]
}

// turn forgets what belongs to past windows.
func (f *flow) turn(now time.Time) {
	// UTC+8 is whole hours from UTC, so its minutes and hours are UTC's.
	if m := now.Unix() / 60; f.minute != m {
		f.minute, f.minuteN = m, 0
	}
	if h := now.Unix() / 3600; f.hour != h {
		f.hour, f.hourN = h, 0
	}
	if now.Sub(f.dayFrom) >= 24*time.Hour || now.Before(f.dayFrom) {
		f.dayFrom, f.dayN = now, 0
	}
}

// over answers the vendor's words when another n would exceed a limit.
func (f *flow) over(l simcore.SMSFlow, n int) string {
	switch {
	case l.Minute > 0 && f.minuteN+n > l.Minute:
		return "触发分钟级流控Permits:" + strconv.Itoa(l.Minute)
	case l.Hour > 0 && f.hourN+n > l.Hour:
		return "触发小时级流控Permits:" + strconv.Itoa(l.Hour)
	case l.Day > 0 && f.dayN+n > l.Day:
		return "触发天级流控Permits:" + strconv.Itoa(l.Day)
	}
	return ""
}

func (f *flow) add() {
	f.minuteN++
	f.hourN++
	f.dayN++
}

func (s *Sim) flowKey(a *account, m *message) flowKey {
	k := flowKey{account: a.cfg.AccessKeyID, sign: m.sign, phone: m.phone}
	if m.kind != typeCode {
		k.template = m.template
	}
	return k
}

const flowsKept = 2_000_000

// controlled says which limit a message would exceed, counting those before
// it in the same call; s.mu is held.
func (s *Sim) controlled(a *account, list []*message, now time.Time) string {
	inCall := map[flowKey]int{}
	codes := map[string]int{}
	for _, m := range list {
		k := s.flowKey(a, m)
		inCall[k]++
		f := s.flows[k]
		if f == nil {
			f = &flow{}
		} else {
			f.turn(now)
		}
		if words := f.over(a.flowOf(m.kind), inCall[k]); words != "" {
			return words
		}
		if m.kind != typeCode {
			continue
		}
		codes[m.phone]++
		if p := s.phones[m.phone]; p != nil {
			p.turn(now)
			if words := p.over(simcore.SMSFlow{Day: codesADay}, codes[m.phone]); words != "" {
				return words
			}
		}
	}
	return ""
}

// count books an accepted message; s.mu is held.
func (s *Sim) count(a *account, m *message, now time.Time) {
	if len(s.flows) > flowsKept {
		for k, f := range s.flows {
			if now.Sub(f.dayFrom) >= 24*time.Hour {
				delete(s.flows, k)
			}
		}
	}
	book(s.flows, s.flowKey(a, m), now)
	if m.kind == typeCode {
		book(s.phones, m.phone, now)
	}
}

func book[K comparable](m map[K]*flow, k K, now time.Time) {
	f := m[k]
	if f == nil {
		f = &flow{}
		m[k] = f
	}
	f.turn(now)
	f.add()
}

// capped is the account's own limit a day and a month; s.mu is held.
func (a *account) capped(n int64, now time.Time) *codeError {
	local := now.In(china)
	if d := local.Year()*1000 + local.YearDay(); a.day != d {
		a.day, a.dayN = d, 0
	}
	if m := local.Year()*100 + int(local.Month()); a.month != m {
		a.month, a.monthN = m, 0
	}
	switch {
	case a.cfg.DayLimit > 0 && a.dayN+n > a.cfg.DayLimit:
		return business("isv.DAY_LIMIT_CONTROL", "触发日发送限额")
	case a.cfg.MonthLimit > 0 && a.monthN+n > a.cfg.MonthLimit:
		return business("isv.MONTH_LIMIT_CONTROL", "触发月发送限额")
	}
	a.dayN += n
	a.monthN += n
	return nil
}

const defaultQPS = 5000

// throttled counts calls in a second of the machine's clock; s.mu is held.
func (a *account) throttled() bool {
	limit := a.cfg.QPS
	if limit == 0 {
		limit = defaultQPS
	}
	if now := time.Now().Unix(); a.second != now {
		a.second, a.secondN = now, 0
	}
	a.secondN++
	return a.secondN > limit
}
