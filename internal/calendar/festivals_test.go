package calendar_test

import (
	"testing"
	"time"

	"guanjia/internal/calendar"
)

// the festival of the day, by the local day.
func TestFestivals(t *testing.T) {
	t.Parallel()
	f, err := calendar.LoadFestivals()
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{
		"2026-01-01T00:00:00+08:00": "new_year",
		"2027-01-01T23:59:00+08:00": "new_year",
		"2026-01-02T00:00:00+08:00": "",
		"2025-12-31T15:59:00Z":      "", // 23:59 here
		"2025-12-31T16:00:00Z":      "new_year",
		"2026-02-15T12:00:00+08:00": "",
		"2026-02-16T12:00:00+08:00": "spring", // the eve
		"2026-03-02T12:00:00+08:00": "spring",
		"2026-03-03T12:00:00+08:00": "lantern",
		"2026-03-04T12:00:00+08:00": "",
		"2028-02-09T12:00:00+08:00": "lantern",
		"2026-09-25T12:00:00+08:00": "mid_autumn",
		"2028-10-03T12:00:00+08:00": "national",
		"2026-12-25T08:00:00+08:00": "christmas",
		"2031-02-01T08:00:00+08:00": "",
	} {
		moment, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.At(moment); got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
	if got := (calendar.Festivals{}).At(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)); got != "" {
		t.Errorf("no festivals, and yet %q", got)
	}
}
