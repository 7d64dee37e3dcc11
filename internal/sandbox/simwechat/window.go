package simwechat

import "time"

// The kinds of bucket: each user action opens its own allowance.
const (
	bucketMessage = iota
	bucketMenu
	bucketFollow
	bucketScan
	bucketKinds
)

// allowances are WeChat's numbers since 2021: a message five in 48 hours,
// everything else three in a minute.
var allowances = [bucketKinds]struct {
	n    int
	life time.Duration
}{
	bucketMessage: {5, 48 * time.Hour},
	bucketMenu:    {3, time.Minute},
	bucketFollow:  {3, time.Minute},
	bucketScan:    {3, time.Minute},
}

// bucket is what is left of one allowance.
type bucket struct {
	left  int
	until time.Time
}

// refill is called with u.mu held.
func (u *user) refill(kind int, now time.Time) {
	a := allowances[kind]
	u.buckets[kind] = bucket{left: a.n, until: now.Add(a.life)}
	u.lastExchange = now
}

// spend takes one service message from the bucket that ends soonest:
// 45015 without an open one, 45047 when all open ones are empty.
// Called with u.mu held.
func (u *user) spend(now time.Time) error {
	var best *bucket
	open := false
	for i := range u.buckets {
		b := &u.buckets[i]
		if !now.Before(b.until) {
			continue
		}
		open = true
		if b.left > 0 && (best == nil || b.until.Before(best.until)) {
			best = b
		}
	}
	if !open {
		return errc(45015)
	}
	if best == nil {
		return errc(45047)
	}
	best.left--
	return nil
}

// Window is the allowance left, for the page: messages and until when.
type Window struct {
	Left  int    `json:"left"`
	Until string `json:"until"`
}

func (u *user) window(now time.Time) Window {
	u.mu.Lock()
	defer u.mu.Unlock()
	var w Window
	var last time.Time
	for _, b := range u.buckets {
		if now.Before(b.until) {
			w.Left += b.left
			if b.until.After(last) {
				last = b.until
			}
		}
	}
	if !last.IsZero() {
		w.Until = last.In(china).Format(timeFormat)
	}
	return w
}
