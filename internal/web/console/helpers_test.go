package console_test

import (
	"io"
	"net/http"
	"testing"

	"guanjia/internal/app/worldtest"
)

func readAll(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func rows(t *testing.T, w *worldtest.World, query string, args ...any) int {
	t.Helper()
	var n int
	if err := w.DB.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
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
