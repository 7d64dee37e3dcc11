package deliver

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"guanjia/internal/ledger"
)

// metrics counts calls and results. All labels come from closed sets and stand
// at zero from the start.
type metrics struct {
	calls  *prometheus.CounterVec
	took   *prometheus.HistogramVec
	states *prometheus.CounterVec
	alarms *prometheus.CounterVec

	mu       sync.Mutex
	troubles map[string]bool
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "guanjia_delivery_calls_total",
			Help: "Calls of vendors by channel and classified outcome.",
		}, []string{"channel", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "guanjia_delivery_call_seconds",
			Help:    "Time of a vendor's call.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"channel"}),
		states: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "guanjia_delivery_states_total",
			Help: "States that deliveries got by the outcome of a call.",
		}, []string{"channel", "state"}),
		alarms: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "guanjia_delivery_stops_total",
			Help: "How often an account of a channel was stopped, by outcome.",
		}, []string{"channel", "outcome"}),
		troubles: make(map[string]bool),
	}
	for _, ch := range ledger.Channels() {
		m.took.WithLabelValues(ch)
		for _, k := range ledger.OutcomeKinds() {
			m.calls.WithLabelValues(ch, string(k))
			m.alarms.WithLabelValues(ch, string(k))
		}
		for _, s := range ledger.AllStates() {
			m.states.WithLabelValues(ch, string(s))
		}
	}
	if r != nil {
		r.MustRegister(m.calls, m.took, m.states, m.alarms)
	}
	return m
}

func (m *metrics) called(channel string, k ledger.OutcomeKind, took time.Duration) {
	m.calls.WithLabelValues(channel, string(k)).Inc()
	m.took.WithLabelValues(channel).Observe(took.Seconds())
}

func (m *metrics) state(channel string, s ledger.State) {
	m.states.WithLabelValues(channel, string(s)).Inc()
}

func (m *metrics) alarm(a Alarm) {
	if a.Open {
		m.alarms.WithLabelValues(a.Channel, string(a.Kind)).Inc()
	}
}

// trouble remembers whether something fails and tells whether that is news.
func (m *metrics) trouble(what string, now bool) (news bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	news = m.troubles[what] != now
	m.troubles[what] = now
	return news
}
