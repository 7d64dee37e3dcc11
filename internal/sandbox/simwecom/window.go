package simwecom

import "time"

// window counts what happened lately, for the vendor's frequency limits: at most
// limits[i].n events within limits[i].d. The zero value with limits is ready.
type window struct {
	limits []rate
	times  []time.Time // ascending
}

type rate struct {
	n int
	d time.Duration
}

// take books one event at now, or says no. An event that was refused counts for
// nothing.
func (w *window) take(now time.Time) bool {
	longest := time.Duration(0)
	for _, l := range w.limits {
		longest = max(longest, l.d)
	}
	w.forget(now.Add(-longest))
	for _, l := range w.limits {
		if w.since(now.Add(-l.d)) >= l.n {
			return false
		}
	}
	w.times = append(w.times, now)
	return true
}

func (w *window) since(t time.Time) int {
	n := 0
	for i := len(w.times) - 1; i >= 0 && w.times[i].After(t); i-- {
		n++
	}
	return n
}

func (w *window) forget(before time.Time) {
	i := 0
	for i < len(w.times) && !w.times[i].After(before) {
		i++
	}
	w.times = append(w.times[:0], w.times[i:]...)
}
