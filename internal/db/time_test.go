package db_test

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"guanjia/internal/db"
)

func TestTimeRoundTripKeepsOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.Custom(func(t *rapid.T) time.Time {
			zone := time.FixedZone("", rapid.IntRange(-12*3600, 14*3600).Draw(t, "zone"))
			us := rapid.Int64Range(1, 253402300799000000).Draw(t, "us") // until 9999
			return time.UnixMicro(us).In(zone)
		})
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		va, err := db.At(a).Value()
		if err != nil {
			t.Fatal(err)
		}
		vb, _ := db.At(b).Value()
		sa, sb := va.(string), vb.(string)
		if len(sa) != len(sb) || (sa < sb) != a.Before(b) || (sa == sb) != a.Equal(b) {
			t.Fatalf("%s and %s do not sort like %s and %s", sa, sb, a, b)
		}
		var back db.Time
		for _, src := range []any{sa, []byte(sa), a} {
			if err := back.Scan(src); err != nil || !back.Equal(a) || back.Location() != time.UTC {
				t.Fatalf("scan %T: %s, %v; want %s", src, back, err, a)
			}
		}
		text, err := json.Marshal(db.At(a))
		if err != nil || string(text) != `"`+sa+`"` {
			t.Fatalf("JSON %s, %v", text, err)
		}
		if err := json.Unmarshal(text, &back); err != nil || !back.Equal(a) {
			t.Fatalf("from JSON: %s, %v", back, err)
		}
	})
}

func TestTimeNull(t *testing.T) {
	t.Parallel()
	if v, err := (db.Time{}).Value(); v != nil || err != nil {
		t.Errorf("zero time: %v, %v; want NULL", v, err)
	}
	at := db.At(noon)
	if err := at.Scan(nil); err != nil || !at.IsZero() {
		t.Errorf("NULL: %s, %v", at, err)
	}
	text, err := json.Marshal(db.At(time.Time{}))
	if err != nil || string(text) != "null" {
		t.Errorf("zero time in JSON: %s, %v", text, err)
	}
	at = db.At(noon)
	if err := json.Unmarshal([]byte("null"), &at); err != nil || !at.IsZero() {
		t.Errorf("null: %s, %v", at, err)
	}
}

func TestTimeRefusesWhatIsNoTime(t *testing.T) {
	t.Parallel()
	for _, src := range []any{"", "yesterday", 12, 1.5, true, "2026-11-25"} {
		var at db.Time
		if err := at.Scan(src); err == nil {
			t.Errorf("scan %v: %s, want an error", src, at)
		}
	}
	var at db.Time
	if err := json.Unmarshal([]byte(`{"a":1}`), &at); err == nil {
		t.Error("an object became a time")
	}
}
