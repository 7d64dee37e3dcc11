package calendar

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

//go:embed data/cn-holidays.yaml
var nationalHolidays []byte

// Minute counts minutes since the local day began, 0 to 1440.
type Minute int

// String writes the minute as 08:30; the end of the day is 24:00.
func (m Minute) String() string { return fmt.Sprintf("%02d:%02d", int(m)/60, int(m)%60) }

// ParseMinute reads 8:30, 08:30 and 24:00.
func ParseMinute(s string) (Minute, error) {
	h, m, ok := strings.Cut(s, ":")
	hour, okH := digits(h, 2)
	minute, okM := digits(m, 2)
	if !ok || !okH || !okM || len(m) != 2 || minute > 59 || hour*60+minute > 24*60 {
		return 0, fmt.Errorf("time of day %q: write it as 08:30, at most 24:00", s)
	}
	return Minute(hour*60 + minute), nil
}

func digits(s string, most int) (int, bool) {
	if s == "" || len(s) > most {
		return 0, false
	}
	n := 0
	for _, r := range []byte(s) {
		if r < '0' || r > '9' {
			return 0, false
		}
		n = n*10 + int(r-'0')
	}
	return n, true
}

// Period is one stretch of working time within a day. To is exclusive.
type Period struct{ From, To Minute }

// String writes 08:30-12:00.
func (p Period) String() string { return p.From.String() + "-" + p.To.String() }

// ParsePeriod reads 08:30-12:00.
func ParsePeriod(s string) (Period, error) {
	a, b, ok := strings.Cut(strings.ReplaceAll(s, " ", ""), "-")
	if !ok {
		return Period{}, fmt.Errorf("period %q: write it as 08:30-12:00", s)
	}
	from, err := ParseMinute(a)
	if err != nil {
		return Period{}, fmt.Errorf("period %q: %w", s, err)
	}
	to, err := ParseMinute(b)
	if err != nil {
		return Period{}, fmt.Errorf("period %q: %w", s, err)
	}
	if to <= from {
		return Period{}, fmt.Errorf("period %q: it ends before it begins; split one over midnight in two", s)
	}
	return Period{from, to}, nil
}

// Spec is a calendar as people write it, in JSON or YAML. Periods are texts such
// as "08:30-12:00"; days are "2026-10-01".
type Spec struct {
	// Zone is an IANA name; empty means Asia/Shanghai.
	Zone string `json:"zone,omitempty" yaml:"zone,omitempty"`
	// Week gives the hours of each weekday: mon tue wed thu fri sat sun. A day
	// that is left out is closed.
	Week map[string][]string `json:"week" yaml:"week"`
	// Holiday gives the hours on public holidays; nil leaves the weekday's
	// hours in force, an empty list closes the center.
	Holiday []string `json:"holiday" yaml:"holiday"`
	// Days are exceptions of this center; they win over public holidays.
	Days []Day `json:"days,omitempty" yaml:"days,omitempty"`
}

// Day is an exception: hours of its own, or closed when there are none.
type Day struct {
	Date    string   `json:"date" yaml:"date"`
	Name    string   `json:"name,omitempty" yaml:"name,omitempty"`
	Periods []string `json:"periods" yaml:"periods"`
}

// Default is the calendar of a service center that works every day from 08:30 to
// 18:00, holidays included.
func Default() Spec {
	day := []string{"08:30-18:00"}
	week := make(map[string][]string, 7)
	for _, n := range weekdayNames() {
		week[n] = day
	}
	return Spec{Week: week}
}

func weekdayNames() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

// Parse reads a Spec from JSON and builds it. Unknown fields are errors.
func Parse(data []byte) (*Calendar, error) {
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	var s Spec
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("read calendar: %w", err)
	}
	return New(s)
}

// New checks a Spec and builds its calendar. Errors name the field and what to
// write instead.
func New(s Spec) (*Calendar, error) {
	zone, err := loadZone(s.Zone)
	if err != nil {
		return nil, err
	}
	c := &Calendar{zone: zone, days: map[date][]Period{}, names: map[date]string{}, covered: map[int]bool{}}
	if err := c.setWeek(s.Week); err != nil {
		return nil, err
	}
	if err := c.setHolidays(s.Holiday); err != nil {
		return nil, err
	}
	for _, d := range s.Days {
		if err := c.setDay(d); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func loadZone(name string) (*time.Location, error) {
	if name == "" || name == "Asia/Shanghai" {
		// Mainland China has had one fixed offset since 1991; a fixed zone spares
		// the program the zone files that minimal images lack.
		return time.FixedZone("Asia/Shanghai", 8*3600), nil
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("calendar zone %q: %w; write an IANA name such as Asia/Shanghai", name, err)
	}
	return z, nil
}

func (c *Calendar) setWeek(week map[string][]string) error {
	names := weekdayNames()
	for n, texts := range week {
		i := slices.Index(names, n)
		if i < 0 {
			return fmt.Errorf("calendar week: unknown day %q; use one of %s", n, strings.Join(names, " "))
		}
		ps, err := parsePeriods(texts)
		if err != nil {
			return fmt.Errorf("calendar week %s: %w", n, err)
		}
		c.week[i] = ps
	}
	return nil
}

func (c *Calendar) setDay(d Day) error {
	t, err := time.ParseInLocation(time.DateOnly, d.Date, c.zone)
	if err != nil {
		return fmt.Errorf("calendar day %q: write it as 2026-10-01", d.Date)
	}
	ps, err := parsePeriods(d.Periods)
	if err != nil {
		return fmt.Errorf("calendar day %s: %w", d.Date, err)
	}
	c.days[dateOf(t)], c.names[dateOf(t)] = ps, d.Name
	return nil
}

func parsePeriods(texts []string) ([]Period, error) {
	ps := make([]Period, 0, len(texts))
	for _, t := range texts {
		p, err := ParsePeriod(t)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	slices.SortFunc(ps, func(a, b Period) int { return int(a.From - b.From) })
	for i := 1; i < len(ps); i++ {
		if ps[i].From < ps[i-1].To {
			return nil, fmt.Errorf("periods %s and %s overlap", ps[i-1], ps[i])
		}
	}
	return ps, nil
}

// holidayFile is the form of data/cn-holidays.yaml.
type holidayFile struct {
	Years []struct {
		Year int `yaml:"year"`
		// Announced is false while only the statutory days are known.
		Announced bool `yaml:"announced"`
		Holidays  []struct {
			Name string `yaml:"name"`
			From string `yaml:"from"`
			To   string `yaml:"to"`
		} `yaml:"holidays"`
		// MakeUp are weekend days on which people work.
		MakeUp []string `yaml:"make_up"`
	} `yaml:"years"`
}

func (c *Calendar) setHolidays(hours []string) error {
	closed := hours != nil
	ps, err := parsePeriods(hours)
	if err != nil {
		return fmt.Errorf("calendar holiday: %w", err)
	}
	var f holidayFile
	if err := yaml.Unmarshal(nationalHolidays, &f); err != nil {
		return fmt.Errorf("read the public holidays: %w", err)
	}
	for _, y := range f.Years {
		c.covered[y.Year] = y.Announced
		for _, h := range y.Holidays {
			if err := c.setRange(h.Name, h.From, h.To, ps, closed); err != nil {
				return err
			}
		}
		for _, m := range y.MakeUp {
			t, err := time.ParseInLocation(time.DateOnly, m, c.zone)
			if err != nil {
				return fmt.Errorf("make-up day %q: %w", m, err)
			}
			// A make-up day is worked like a Monday; a center that works on
			// weekends anyway keeps its own hours.
			if len(c.week[t.Weekday()]) == 0 {
				c.days[dateOf(t)] = c.week[time.Monday]
			}
			c.names[dateOf(t)] = "调休上班"
		}
	}
	return nil
}

func (c *Calendar) setRange(name, from, to string, ps []Period, replace bool) error {
	a, err := time.ParseInLocation(time.DateOnly, from, c.zone)
	if err != nil {
		return fmt.Errorf("holiday %s: %w", name, err)
	}
	b, err := time.ParseInLocation(time.DateOnly, to, c.zone)
	if err != nil {
		return fmt.Errorf("holiday %s: %w", name, err)
	}
	if b.Before(a) || b.Sub(a) > 31*24*time.Hour {
		return fmt.Errorf("holiday %s: from %s to %s is no holiday", name, from, to)
	}
	for d := a; !d.After(b); d = d.AddDate(0, 0, 1) {
		c.names[dateOf(d)] = name
		if replace {
			c.days[dateOf(d)] = ps
		}
	}
	return nil
}
