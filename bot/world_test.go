package bot_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/desk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, c desk.Case, err error) desk.Case {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func latest(t testing.TB, w *worldtest.World, no string) desk.Case {
	t.Helper()
	c, err := w.Desk.ByNo(t.Context(), sample.CompanyID, no)
	return must(t, c, err)
}

// handled opens a case of a resident by his words and lets staff finish it.
func handled(t testing.TB, w *worldtest.World, openID, words string) desk.Case {
	t.Helper()
	w.Say(t, openID, words)
	c := w.Cases(t, openID)[0]
	by := w.As(t, "yangguang") // the duty manager acts on every queue
	c, err := w.Desk.Claim(t.Context(), by, c.ID)
	c = must(t, c, err)
	c, err = w.Desk.Handle(t.Context(), by, c.ID, "已经修好")
	return must(t, c, err)
}

// apart gives the n-th bound resident, counting one of each home: who lives
// together presses one case.
func apart(t testing.TB, w *worldtest.World, n int) worldtest.Home {
	t.Helper()
	homes := map[string]bool{}
	for i := 0; ; i++ {
		h := w.Bound(t, i)
		if homes[h.Unit] {
			continue
		}
		if len(homes) == n {
			return h
		}
		homes[h.Unit] = true
	}
}

func wantAll(t testing.TB, answer string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(answer, p) {
			t.Errorf("answer %q misses %q", answer, p)
		}
	}
}

func count(t testing.TB, w *worldtest.World, query string, args ...any) int {
	t.Helper()
	var n int
	if err := w.DB.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// crashed makes the stored message look like one whose node died a while ago.
func crashed(t testing.TB, w *worldtest.World, m conversation.Message, ago db.Time) {
	t.Helper()
	if _, err := w.DB.ExecContext(t.Context(), `update unsettled set turn_at = $1 where message_id = $2`, ago, m.ID); err != nil {
		t.Fatal(err)
	}
}
