package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry is the program's own Prometheus registry; nothing registers at the
// global one.
type Registry struct{ *prometheus.Registry }

// NewRegistry returns a registry with the figures of the process and of the
// Go run-time.
func NewRegistry() *Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return &Registry{r}
}

// Counter registers a counter guanjia_<name>. Each of series is a set of label
// values that exists from the start with 0, so that a rate can be formed and
// an alarm can fire at the first event. Labels never carry personal data and
// have few values. It panics on a name that is taken (a mistake of the
// programmer).
func (r *Registry) Counter(name, help string, labels []string, series ...[]string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "guanjia", Name: name, Help: help}, labels)
	r.MustRegister(c)
	for _, s := range series {
		c.WithLabelValues(s...)
	}
	return c
}

// Gauge registers a gauge guanjia_<name>; see Counter.
func (r *Registry) Gauge(name, help string, labels []string, series ...[]string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "guanjia", Name: name, Help: help}, labels)
	r.MustRegister(g)
	for _, s := range series {
		g.WithLabelValues(s...)
	}
	return g
}

// Histogram registers a histogram guanjia_<name> of seconds from 1 ms to 10 s;
// see Counter.
func (r *Registry) Histogram(name, help string, labels []string, series ...[]string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "guanjia", Name: name, Help: help,
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10},
	}, labels)
	r.MustRegister(h)
	for _, s := range series {
		h.WithLabelValues(s...)
	}
	return h
}

// Handler serves the registry for GET /metrics.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.Registry, promhttp.HandlerOpts{})
}
