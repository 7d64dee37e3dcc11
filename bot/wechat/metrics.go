package wechat

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"guanjia/internal/conversation"
	"guanjia/internal/telemetry"
)

type metrics struct {
	outcomes *prometheus.CounterVec   // one a callback
	refusals *prometheus.CounterVec   // one a refusal
	retries  *prometheus.CounterVec   // pushes seen before
	seconds  *prometheus.HistogramVec // from the arrival to the last byte
}

func newMetrics(r *telemetry.Registry, spool *conversation.Spool) *metrics {
	m := &metrics{
		outcomes: r.Counter("wechat_callbacks_total", "Callbacks by what became of them.", []string{"outcome"}, series(
			outcomeVerified, outcomeReply, outcomeNothing, outcomeGivenUp, outcomeFailed, outcomeAway, outcomeRefused)...),
		refusals: r.Counter("wechat_refusals_total", "Refused callbacks by reason.", []string{"reason"},
			series(slices.Sorted(maps.Keys(statuses))...)...),
		retries: r.Counter("wechat_retries_total", "Pushes that were stored already.", []string{}, []string{}),
		seconds: r.Histogram("wechat_callback_seconds", "Time to answer a callback.", []string{}, []string{}),
	}
	if spool != nil {
		r.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "guanjia", Name: "spool_messages",
				Help: "Messages that wait in the spool for the database."},
				func() float64 { return float64(spool.Len()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "guanjia", Name: "spool_bad_files",
				Help: "Spool files that were put aside and need an operator."},
				func() float64 { return float64(spool.Bad()) }),
		)
	}
	return m
}

func series(values ...string) [][]string {
	out := make([][]string, len(values))
	for i, v := range values {
		out[i] = []string{v}
	}
	return out
}
