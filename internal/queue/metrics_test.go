package queue_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"guanjia/internal/clock"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/queue"
	"guanjia/internal/telemetry"
)

func TestMetricsBeginAtZeroAndKnowEveryAnswer(t *testing.T) {
	t.Parallel()
	reg := telemetry.NewRegistry()
	rdb := redistest.Embedded(t, clock.System()).Client()
	s := newSuite(t, rdb)
	s.Queues = queue.New(s.db, rdb, s.truth, s.clock, slog.New(slog.DiscardHandler), queue.NewMetrics(reg))
	page := func() string {
		t.Helper()
		w := httptest.NewRecorder()
		reg.Handler().ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil))
		return w.Body.String()
	}
	before := page()
	for _, want := range []string{`guanjia_queue_calls_total{kind="claim",result="full"} 0`, "\nguanjia_queue_rebuilds_total 0", `guanjia_queue_unavailable_total 0`} {
		if !strings.Contains(before, want) {
			t.Errorf("before anything happened %q is missing", want)
		}
	}
	s.push(t, engineering, item(1))
	if won, err := s.take(context.Background(), engineering, item(1).CaseID, "li", 1); !won || err != nil {
		t.Fatal(won, err)
	}
	if _, err := s.Reserve(context.Background(), companyID, engineering, item(1).CaseID, "wang", 1, 1); err == nil {
		t.Fatal("claimed twice")
	}
	after := page()
	for _, want := range []string{`kind="push",result="epoch"} 1`, `kind="push",result="same"} 1`, `kind="claim",result="ok"} 1`, `kind="claim",result="taken"} 1`, `guanjia_queue_rebuilds_total 1`} {
		if !strings.Contains(after, want) {
			t.Errorf("afterwards %q is missing", want)
		}
	}
	// No series came to be that was not there from the start.
	series := regexp.MustCompile(`(?m)^guanjia_queue_calls_total\{[^}]*\}`)
	if a, b := len(series.FindAllString(before, -1)), len(series.FindAllString(after, -1)); a != b {
		t.Error(fmt.Sprint(b-a, " answers of scripts are not in the list"))
	}
}
