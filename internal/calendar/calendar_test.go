package calendar_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"guanjia/internal/calendar"
)

func office(t testing.TB) *calendar.Calendar {
	t.Helper()
	day := []string{"08:30-12:00", "13:30-17:30"}
	c, err := calendar.New(calendar.Spec{
		Week:    map[string][]string{"mon": day, "tue": day, "wed": day, "thu": day, "fri": day, "sat": {"09:00-12:00"}},
		Holiday: []string{},
		Days:    []calendar.Day{{Date: "2026-12-11", Name: "搬迁", Periods: []string{"10:00-11:00"}}},
	})
	if err != nil {
		t.Fatalf("build the calendar: %v", err)
	}
	return c
}

func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.ParseInLocation("2006-01-02 15:04", s, time.FixedZone("CST", 8*3600))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOpenAndNextOpening(t *testing.T) {
	t.Parallel()
	c := office(t)
	for _, tc := range []struct{ name, at, next string }{
		{"before work", "2026-11-25 07:00", "2026-11-25 08:30"},
		{"first minute", "2026-11-25 08:30", "2026-11-25 08:30"},
		{"morning", "2026-11-25 10:15", "2026-11-25 10:15"},
		{"end of the morning is outside", "2026-11-25 12:00", "2026-11-25 13:30"},
		{"evening", "2026-11-25 17:30", "2026-11-26 08:30"},
		{"saturday afternoon to monday", "2026-11-28 12:30", "2026-11-30 08:30"},
		{"holiday week", "2026-09-30 18:00", "2026-10-08 08:30"},
		{"make-up sunday works like a monday", "2026-09-20 09:00", "2026-09-20 09:00"},
		{"make-up saturday keeps its saturday hours", "2026-10-10 12:00", "2026-10-12 08:30"},
		{"own exception", "2026-12-11 08:30", "2026-12-11 10:00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := c.NextOpening(at(t, tc.at))
			if err != nil {
				t.Fatalf("NextOpening: %v", err)
			}
			if want := at(t, tc.next); !got.Equal(want) {
				t.Errorf("NextOpening(%s) = %s, want %s", tc.at, got, want)
			}
			if open := c.Open(at(t, tc.at)); open != (tc.at == tc.next) {
				t.Errorf("Open(%s) = %v", tc.at, open)
			}
		})
	}
}

// promises count working time over lunch, night, weekend and holiday.
func TestDeadline(t *testing.T) {
	t.Parallel()
	c := office(t)
	for _, tc := range []struct {
		name, from, want string
		work             time.Duration
	}{
		{"within the morning", "2026-11-25 09:00", "2026-11-25 10:00", time.Hour},
		{"over lunch", "2026-11-25 11:30", "2026-11-25 14:00", time.Hour},
		{"to the very end of the day", "2026-11-25 16:30", "2026-11-25 17:30", time.Hour},
		{"over night", "2026-11-25 17:00", "2026-11-26 09:00", time.Hour},
		{"from the night", "2026-11-25 02:00", "2026-11-25 09:30", time.Hour},
		{"friday evening to saturday", "2026-11-27 17:00", "2026-11-28 10:30", 2 * time.Hour},
		{"over the national holiday", "2026-09-30 17:00", "2026-10-08 10:00", 2 * time.Hour},
		{"nothing is due now", "2026-11-25 03:00", "2026-11-25 03:00", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := c.Deadline(at(t, tc.from), tc.work)
			if err != nil {
				t.Fatalf("Deadline: %v", err)
			}
			if want := at(t, tc.want); !got.Equal(want) {
				t.Errorf("Deadline(%s, %s) = %s, want %s", tc.from, tc.work, got, want)
			}
		})
	}
}

// an inquiry is answered within 24 hours whatever the hour it arrived.
func TestInquiryDeadlineIgnoresOfficeHours(t *testing.T) {
	t.Parallel()
	c := office(t)
	for _, from := range []string{"2026-11-25 02:00", "2026-11-28 23:59", "2026-10-01 00:00"} {
		if got := calendar.InquiryDeadline(at(t, from)).Sub(at(t, from)); got != 24*time.Hour {
			t.Errorf("InquiryDeadline(%s) is %s away, want 24 h", from, got)
		}
		if due := c.Sooner(at(t, from), 40*time.Hour); due.Sub(at(t, from)) > 24*time.Hour {
			t.Errorf("Sooner(%s) is %s away, want at most 24 h", from, due.Sub(at(t, from)))
		}
	}
	if got, want := c.Sooner(at(t, "2026-11-25 09:00"), time.Hour), at(t, "2026-11-25 10:00"); !got.Equal(want) {
		t.Errorf("Sooner in office hours = %s, want %s", got, want)
	}
}

func TestDefaultWorksEveryDay(t *testing.T) {
	t.Parallel()
	c, err := calendar.New(calendar.Default())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"2026-10-01 09:00", "2026-11-29 17:59", "2026-02-17 08:30"} {
		if !c.Open(at(t, s)) {
			t.Errorf("the default calendar is closed at %s", s)
		}
	}
	if c.Open(at(t, "2026-11-29 18:00")) {
		t.Error("the default calendar is open at 18:00")
	}
	if got := c.DayName(at(t, "2026-10-03 12:00")); got != "国庆节" {
		t.Errorf("DayName = %q", got)
	}
	if !c.Covers(2026) || c.Covers(2027) || c.Covers(2040) {
		t.Error("Covers must be true for 2026 only")
	}
}

func TestWorkingIsTheInverseOfDeadline(t *testing.T) {
	t.Parallel()
	c := office(t)
	base := at(t, "2026-01-01 00:00")
	rapid.Check(t, func(t *rapid.T) {
		from := base.Add(time.Duration(rapid.IntRange(0, 400*24*60).Draw(t, "from")) * time.Minute)
		work := time.Duration(rapid.IntRange(1, 200*60).Draw(t, "work")) * time.Minute
		due, err := c.Deadline(from, work)
		if err != nil {
			t.Fatalf("Deadline: %v", err)
		}
		if got := c.Working(from, due); got != work {
			t.Fatalf("Working(%s, %s) = %s, want %s", from, due, got, work)
		}
		next, err := c.NextOpening(from)
		if err != nil || !c.Open(next) || next.Before(from) {
			t.Fatalf("NextOpening(%s) = %s, %v", from, next, err)
		}
	})
}

func TestNeverOpens(t *testing.T) {
	t.Parallel()
	c, err := calendar.New(calendar.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.NextOpening(at(t, "2026-11-25 09:00")); !errors.Is(err, calendar.ErrNeverOpens) {
		t.Errorf("NextOpening: %v, want ErrNeverOpens", err)
	}
	if _, err := c.Deadline(at(t, "2026-11-25 09:00"), time.Hour); !errors.Is(err, calendar.ErrNeverOpens) {
		t.Errorf("Deadline: %v, want ErrNeverOpens", err)
	}
}

func TestBadDataNamesTheRemedy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, json, want string }{
		{"weekday", `{"week":{"monday":["08:00-09:00"]}}`, "use one of sun mon"},
		{"period", `{"week":{"mon":["8 to 9"]}}`, "write it as 08:30-12:00"},
		{"minute", `{"week":{"mon":["08:60-09:00"]}}`, "write it as 08:30"},
		{"signed", `{"week":{"mon":["+8:00-09:00"]}}`, "write it as 08:30"},
		{"backwards", `{"week":{"mon":["18:00-09:00"]}}`, "split one over midnight"},
		{"overlap", `{"week":{"mon":["08:00-10:00","09:00-11:00"]}}`, "overlap"},
		{"past midnight", `{"week":{"mon":["08:00-24:30"]}}`, "at most 24:00"},
		{"day", `{"days":[{"date":"1 Oct","periods":[]}]}`, "write it as 2026-10-01"},
		{"zone", `{"zone":"Mars/Base"}`, "IANA name"},
		{"unknown field", `{"weeks":{}}`, "unknown field"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := calendar.Parse([]byte(tc.json))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Parse(%s) = %v, want an error with %q", tc.json, err, tc.want)
			}
		})
	}
}

// Around the clock is written as one whole day.
func TestRoundTheClock(t *testing.T) {
	t.Parallel()
	week := map[string][]string{}
	for _, d := range []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} {
		week[d] = []string{"00:00-24:00"}
	}
	c, err := calendar.New(calendar.Spec{Week: week})
	if err != nil {
		t.Fatal(err)
	}
	from := at(t, "2026-12-31 23:30")
	due, err := c.Deadline(from, 3*time.Hour)
	if err != nil || due.Sub(from) != 3*time.Hour {
		t.Errorf("Deadline = %s, %v", due, err)
	}
}
