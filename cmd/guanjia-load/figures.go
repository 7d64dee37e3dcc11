package main

import (
	"math"
	"slices"
	"time"
)

// figures are what every mode prints. Times are in milliseconds.
type figures struct {
	Mode      string  `json:"mode"`
	Requests  int64   `json:"requests"`
	OK        int64   `json:"ok"`
	Errors    int64   `json:"errors"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P95       float64 `json:"p95_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	Lost      int64   `json:"lost"`
	Doubled   int64   `json:"doubled"`
}

// series is what one stretch of load gave.
type series struct {
	took   []time.Duration // of the good ones
	errors int64
	lasted time.Duration
	first  error // the first error, for stderr
}

func (s *series) add(o series) {
	s.took = append(s.took, o.took...)
	s.errors += o.errors
	s.lasted += o.lasted
	if s.first == nil {
		s.first = o.first
	}
}

func (s *series) figures(mode string) figures {
	f := figures{Mode: mode, OK: int64(len(s.took)), Errors: s.errors, Requests: int64(len(s.took)) + s.errors}
	if s.lasted > 0 {
		f.PerSecond = round(float64(len(s.took)) / s.lasted.Seconds())
	}
	if len(s.took) == 0 {
		return f
	}
	slices.Sort(s.took)
	at := func(share float64) float64 {
		return ms(s.took[min(len(s.took)-1, int(share*float64(len(s.took))))])
	}
	f.P50, f.P95, f.P99, f.Max = at(0.50), at(0.95), at(0.99), ms(s.took[len(s.took)-1])
	return f
}

func ms(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

func round(f float64) float64 { return math.Round(f*100) / 100 }

// ratio is a over b, or 0 where b is nothing.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return round(a / b)
}
