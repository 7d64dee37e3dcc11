package deliver

import (
	"sync"
	"time"
)

// giveWayFor is how long a worker of a calm lane waits at most before a call
// while emergencies are being sent: its lane slows to a call a second and
// worker, and never stops.
const giveWayFor = time.Second

// urgency counts the emergencies that this node has in hand. The calm lanes
// give way to them, because the database, the machine and the vendor's answer
// are shared by all lanes, whatever workers each has.
type urgency struct {
	mu   sync.Mutex
	n    int
	calm chan struct{} // closed when n falls to zero; nil while it is zero
}

func (u *urgency) add(n int) {
	if n == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.n += n
	switch {
	case u.n > 0 && u.calm == nil:
		u.calm = make(chan struct{})
	case u.n == 0 && u.calm != nil:
		close(u.calm)
		u.calm = nil
	}
}

// giveWay returns when no emergency is in hand, or after a while.
func (u *urgency) giveWay(stop <-chan struct{}) {
	u.mu.Lock()
	calm := u.calm
	u.mu.Unlock()
	if calm == nil {
		return
	}
	timer := time.NewTimer(giveWayFor)
	defer timer.Stop()
	select {
	case <-calm:
	case <-stop:
	case <-timer.C:
	}
}
