package wecom

import (
	"github.com/prometheus/client_golang/prometheus"

	"guanjia/internal/telemetry"
)

// metrics of the work group's channel. None carries a person or a chat.
type metrics struct {
	up         *prometheus.GaugeVec
	reconnects *prometheus.CounterVec
	alarms     *prometheus.CounterVec
	frames     *prometheus.CounterVec
	messages   *prometheus.CounterVec
	digests    *prometheus.CounterVec
}

// newMetrics registers the metrics; without a registry they count for nobody.
func newMetrics(r *telemetry.Registry) *metrics {
	if r == nil {
		r = telemetry.NewRegistry()
	}
	one := func(values ...string) [][]string {
		out := make([][]string, len(values))
		for i, v := range values {
			out[i] = []string{v}
		}
		return out
	}
	return &metrics{
		up:         r.Gauge("wecom_socket_up", "1 while this node has the bot's socket subscribed.", []string{"bot"}),
		reconnects: r.Counter("wecom_socket_reconnects_total", "Connections that ended, by reason.", []string{"reason"}, one("auth", "broken", "connect", "kicked")...),
		alarms:     r.Counter("wecom_socket_alarms_total", "Sockets that were given up until a person acts, by reason.", []string{"reason"}, one("auth", "kicked")...),
		frames:     r.Counter("wecom_socket_frames_total", "Frames that came in, by kind.", []string{"kind"}, one("ack", "bad", "event", "message", "unknown")...),
		messages:   r.Counter("workgroup_inputs_total", "Messages and clicks of staff, by result.", []string{"result"}, one("answered", "doubled", "failed", "given_up", "not_stored", "silent")...),
		digests:    r.Counter("workgroup_digests_total", "Digest cards sent in place of single ones.", nil, []string{}),
	}
}
