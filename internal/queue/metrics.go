package queue

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"guanjia/internal/telemetry"
)

// answers are what the scripts may say, by kind of call; every series exists
// from the start, so that a zero is seen as one.
func answers() map[string][]string {
	return map[string][]string{
		"push":    {"ok", "same", "old", "moved", "epoch"},
		"claim":   {"ok", "again", "taken", "full", "gone", "moved", "epoch"},
		"hold":    {"ok", "old", "full", "moved", "epoch"},
		"remove":  {"ok", "held", "old", "moved", "epoch"},
		"release": {"ok", "no", "epoch"},
		"done":    {"ok", "no", "epoch"},
		"list":    {"ok", "epoch"},
		"stats":   {"ok", "epoch"},
	}
}

type prometheusMetrics struct {
	calls                          *prometheus.CounterVec
	rebuilt, repaired, unavailable prometheus.Counter
	took                           prometheus.Observer
}

// NewMetrics registers the queues' metrics.
func NewMetrics(r *telemetry.Registry) Metrics {
	var series [][]string
	for kind, results := range answers() {
		for _, result := range results {
			series = append(series, []string{kind, result})
		}
	}
	return prometheusMetrics{
		calls:       r.Counter("queue_calls_total", "Calls of the staff queues in Redis by kind and answer.", []string{"kind", "result"}, series...),
		rebuilt:     r.Counter("queue_rebuilds_total", "Times that a company's queues were filled from the rows because Redis was empty.", nil).WithLabelValues(),
		repaired:    r.Counter("queue_repairs_total", "Entries that a comparison with the rows has mended.", nil).WithLabelValues(),
		unavailable: r.Counter("queue_unavailable_total", "Calls that were answered without Redis.", nil).WithLabelValues(),
		took:        r.Histogram("queue_rebuild_seconds", "Time to fill a company's queues from the rows.", nil).WithLabelValues(),
	}
}

func (m prometheusMetrics) QueueRebuilt(took time.Duration) {
	m.rebuilt.Inc()
	m.took.Observe(took.Seconds())
}
func (m prometheusMetrics) QueueRepaired(differences int) { m.repaired.Add(float64(differences)) }
func (m prometheusMetrics) QueueUnavailable()             { m.unavailable.Inc() }
func (m prometheusMetrics) QueueCall(kind, result string) {
	m.calls.WithLabelValues(kind, result).Inc()
}
