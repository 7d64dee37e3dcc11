package desk

import (
	"context"
	"sync"
	"time"

	"guanjia/internal/queue"
	"guanjia/internal/staff"
)

// routesFor is how soon this node sees a queue or group that another node made.
// What this node changes it sees at once (Queues.Changed, Staff.GroupsChanged).
const routesFor = 2 * time.Second

// routes are a company's queues and the work groups that get their cards, as
// they were a moment ago: an opening needs them, and they hardly ever change.
type routes struct {
	queues []queue.Queue
	groups map[string][]staff.WorkGroup // by queue

	readAt     time.Time
	queuesSeen uint64
	groupsSeen uint64
}

type routesCache struct {
	mu sync.Mutex
	of map[string]routes
}

// routes gives a company's routes. It must not be called inside a transaction.
func (d *Desk) routes(ctx context.Context, companyID string) (routes, error) {
	// Counted before reading: what changes meanwhile is read again next time.
	queuesSeen, groupsSeen := d.queues.Changed(), d.staff.GroupsChanged()
	d.cached.mu.Lock()
	r, ok := d.cached.of[companyID]
	d.cached.mu.Unlock()
	if ok && r.queuesSeen == queuesSeen && r.groupsSeen == groupsSeen && time.Since(r.readAt) < routesFor {
		return r, nil
	}
	r = routes{groups: map[string][]staff.WorkGroup{}, readAt: time.Now(), queuesSeen: queuesSeen, groupsSeen: groupsSeen}
	var err error
	if r.queues, err = d.queues.All(ctx, d.db, companyID); err != nil {
		return routes{}, err
	}
	groups, err := d.staff.Groups(ctx, d.db, companyID)
	if err != nil {
		return routes{}, err
	}
	for _, g := range groups {
		r.groups[g.QueueID] = append(r.groups[g.QueueID], g)
	}
	d.cached.mu.Lock()
	d.cached.of[companyID] = r
	d.cached.mu.Unlock()
	return r, nil
}
