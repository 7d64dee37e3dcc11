package wechatapi

import (
	"net/http"
	"strings"
	"testing"
)

// FuzzAnswer: whatever a platform or something in between answers, it is an
// error of ours without a word of the answer in it, or success with errcode 0.
func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"errcode":0,"errmsg":"ok"}`))
	f.Add(200, []byte(`{"errcode":45015,"errmsg":"secret-word rid: 65eac940-1a79c8dc-1be683b5"}`))
	f.Add(502, []byte(`<html>`))
	f.Add(200, []byte(``))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		body = append(body, " secret-word"...)
		for _, b := range [][]byte{body, body[:len(body)-len(" secret-word")]} {
			err := decode("x", answer{status: status, body: b}, nil)
			if err == nil {
				if status != http.StatusOK || !strings.Contains(string(b), "errcode") {
					t.Fatalf("success from status %d %q", status, b)
				}
				continue
			}
			if strings.Contains(err.Error(), "secret-word") {
				t.Fatalf("the answer leaks: %v", err)
			}
			if ClassOf(err) == "" {
				t.Fatal("no class")
			}
		}
		_, _ = readMedia("x", answer{status: status, header: http.Header{"Content-Type": {"image/jpeg"}}, body: body})
	})
}

// TestClassTable: a code stands in one row only, and every class is known.
func TestClassTable(t *testing.T) {
	t.Parallel()
	seen := map[int]Class{}
	for _, row := range classes {
		if row.means == "" || row.class == "" || len(row.codes) == 0 {
			t.Errorf("incomplete row %+v", row)
		}
		for _, c := range row.codes {
			if other, twice := seen[c]; twice {
				t.Errorf("code %d is both %s and %s", c, other, row.class)
			}
			seen[c] = row.class
		}
	}
	for _, c := range []int{40001, 40014, 42001} {
		if !isTokenCode(c) || seen[c] != ClassToken {
			t.Errorf("code %d does not replace the token", c)
		}
	}
}
