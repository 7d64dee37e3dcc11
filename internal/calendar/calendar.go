package calendar

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// InquiryLimit is the longest an inquiry may wait for its answer, counted on the
// clock and not in working hours: whatever the hour it arrived.
const InquiryLimit = 24 * time.Hour

// horizonDays bounds every search for an opening. A calendar that is closed for
// longer is a mistake in its data, not a holiday.
const horizonDays = 400

// ErrNeverOpens says that no working time lies within the search horizon.
var ErrNeverOpens = errors.New("calendar: no working time within 400 days")

// Calendar answers questions about one service center's working time. It is
// immutable and safe for concurrent use.
type Calendar struct {
	zone    *time.Location
	week    [7][]Period
	days    map[date][]Period
	names   map[date]string
	covered map[int]bool
}

// date is a calendar day in the calendar's own zone.
type date struct {
	year  int
	month time.Month
	day   int
}

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, m, d}
}

// Zone returns the zone in which days and hours are counted.
func (c *Calendar) Zone() *time.Location { return c.zone }

// Open reports whether someone works at that moment. The end of a period is
// outside it.
func (c *Calendar) Open(at time.Time) bool {
	at = at.In(c.zone)
	for _, s := range c.spans(at) {
		if !at.Before(s.from) && at.Before(s.to) {
			return true
		}
	}
	return false
}

// NextOpening returns at itself while open, otherwise the beginning of the next
// period. It fails with ErrNeverOpens when there is none within 400 days.
func (c *Calendar) NextOpening(at time.Time) (time.Time, error) {
	at = at.In(c.zone)
	for i := range horizonDays {
		for _, s := range c.spans(at.AddDate(0, 0, i)) {
			if !at.Before(s.to) {
				continue
			}
			if at.After(s.from) {
				return at, nil
			}
			return s.from, nil
		}
	}
	return time.Time{}, fmt.Errorf("find the opening after %s: %w", at.Format(time.DateTime), ErrNeverOpens)
}

// Deadline returns the moment at which the given working time has passed since
// from. Nothing or less is due at from. A deadline that falls on the end of a
// period stays there: the promise is for today, not for tomorrow morning.
func (c *Calendar) Deadline(from time.Time, working time.Duration) (time.Time, error) {
	from = from.In(c.zone)
	if working <= 0 {
		return from, nil
	}
	left := working
	idle := 0
	for i := 0; idle < horizonDays; i++ {
		idle++
		for _, s := range c.spans(from.AddDate(0, 0, i)) {
			start := later(s.from, from)
			have := s.to.Sub(start)
			if have <= 0 {
				continue
			}
			idle = 0
			if left <= have {
				return start.Add(left), nil
			}
			left -= have
		}
	}
	return time.Time{}, fmt.Errorf("count %s of work from %s: %w", working, from.Format(time.DateTime), ErrNeverOpens)
}

// Working returns how much working time lies between two moments; zero when to
// is not after from. It looks at most 400 days ahead.
func (c *Calendar) Working(from, to time.Time) time.Duration {
	from, to = from.In(c.zone), to.In(c.zone)
	var sum time.Duration
	for i := range horizonDays {
		day := from.AddDate(0, 0, i)
		if midnight(day, 0).After(to) {
			break
		}
		for _, s := range c.spans(day) {
			a, b := later(s.from, from), s.to
			if to.Before(b) {
				b = to
			}
			if b.After(a) {
				sum += b.Sub(a)
			}
		}
	}
	return sum
}

// InquiryDeadline returns the answer-by time of an inquiry: 24 hours on the
// clock, also across nights and holidays.
func InquiryDeadline(from time.Time) time.Time { return from.Add(InquiryLimit) }

// Sooner returns the earlier of a working-time deadline and the inquiry limit,
// for a promise of a first answer that must hold both.
func (c *Calendar) Sooner(from time.Time, working time.Duration) time.Time {
	limit := InquiryDeadline(from).In(c.zone)
	due, err := c.Deadline(from, working)
	if err != nil || due.After(limit) {
		return limit
	}
	return due
}

// DayName returns the name of a special day (国庆节, or 调休上班 for a make-up
// day), empty on an ordinary one.
func (c *Calendar) DayName(at time.Time) string { return c.names[dateOf(at.In(c.zone))] }

// Covers reports whether the announced public holidays of that year are known.
// Where they are not, the statutory days alone are used and doctor should warn.
func (c *Calendar) Covers(year int) bool { return c.covered[year] }

// Hours returns the periods of the day on which at falls, in order.
func (c *Calendar) Hours(at time.Time) []Period { return slices.Clone(c.periods(at.In(c.zone))) }

type span struct{ from, to time.Time }

func (c *Calendar) periods(day time.Time) []Period {
	if p, special := c.days[dateOf(day)]; special {
		return p
	}
	return c.week[day.Weekday()]
}

func (c *Calendar) spans(day time.Time) []span {
	ps := c.periods(day)
	out := make([]span, 0, len(ps))
	for _, p := range ps {
		out = append(out, span{midnight(day, p.From), midnight(day, p.To)})
	}
	return out
}

// midnight returns the wall-clock moment so many minutes after the day began. It
// goes through time.Date, so that a zone with daylight saving stays on the wall.
func midnight(day time.Time, m Minute) time.Time {
	y, mo, d := day.Date()
	return time.Date(y, mo, d, 0, int(m), 0, 0, day.Location())
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
