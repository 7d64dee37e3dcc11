package notify

import "time"

// stopwatch measures how long a count takes on this machine, which decides how
// long its result is kept.
func (n *Notices) stopwatch() func() time.Duration {
	from := time.Now()
	return func() time.Duration { return time.Since(from) }
}
