package db

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"time"
)

// timeLayout has a fixed width, so that text sorts as time does. PostgreSQL
// reads it as a timestamptz as it is.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// Time carries a time in and out of both engines: UTC, microseconds, the zero
// time is NULL. Every time that is a parameter or a scan target is a Time;
// the drivers' own formats sort wrongly on SQLite.
type Time struct{ time.Time }

var (
	_ driver.Valuer    = Time{}
	_ sql.Scanner      = (*Time)(nil)
	_ json.Marshaler   = Time{}
	_ json.Unmarshaler = (*Time)(nil)
)

// At wraps t, cut to microseconds (what the database keeps), in UTC.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{t.UTC().Truncate(time.Microsecond)}
}

// Value implements driver.Valuer.
func (t Time) Value() (driver.Value, error) {
	if t.IsZero() {
		return nil, nil
	}
	return t.UTC().Format(timeLayout), nil
}

// Scan implements sql.Scanner. It takes a time, a text that Value wrote, or
// NULL.
func (t *Time) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*t = Time{}
		return nil
	case time.Time:
		*t = At(v)
		return nil
	case string:
		return t.parse(v)
	case []byte:
		return t.parse(string(v))
	}
	return fmt.Errorf("scan time: cannot take a %T", src)
}

func (t *Time) parse(s string) error {
	// RFC 3339 reads our layout, and a foreign one with an offset as well;
	// PostgreSQL prints a timestamptz that was made text with a space.
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07", "2006-01-02 15:04:05.999999999Z07:00"} {
		v, err := time.Parse(layout, s)
		if err == nil {
			*t = At(v)
			return nil
		}
	}
	return fmt.Errorf("scan time: %q is no time of ours", s)
}

// MarshalJSON writes the text that Value writes, so that a Time may travel
// inside the argument of Rows.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.UTC().Format(timeLayout) + `"`), nil
}

// UnmarshalJSON reads what MarshalJSON writes, and any RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read time: %w", err)
	}
	if s == nil {
		*t = Time{}
		return nil
	}
	return t.parse(*s)
}
