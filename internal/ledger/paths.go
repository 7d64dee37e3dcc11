package ledger

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// paths remembers, for a moment, how far claims have come. What was claimed
// leaves dead entries at the head of the index until the database cleans up,
// and each look from the beginning walks over all of them: through a million
// recipients that grows to a million steps a claim. All of it is a hint: it ends
// after pathLife, and nothing that must be claimed at once goes by it.
type paths struct {
	mu      sync.Mutex
	sources map[Lane]knownSources
	cursors map[string]cursor
}

type knownSources struct {
	list []Source
	till time.Time // machine's clock
}

// cursor is the last claimed row of a bulk.
type cursor struct {
	due  time.Time
	root string
	till time.Time // machine's clock
}

// pathLife is how long a claim may go by what an earlier one saw: for so long a
// delivery that is planned again behind the cursor, and a new reference in a
// busy lane, may wait.
const (
	pathLife       = time.Second
	pathLifeUrgent = 100 * time.Millisecond
)

func lifeOf(lane Lane) time.Duration {
	if lane == LaneBulk || lane == LaneNormal {
		return pathLife
	}
	return pathLifeUrgent
}

// sourcesOf is Sources, or what it said a moment ago while the lane is busy.
func (l *Ledger) sourcesOf(ctx context.Context, lane Lane) ([]Source, error) {
	if list, ok := l.paths.known(lane); ok {
		return l.withoutHeld(ctx, list) // a hold is never a hint
	}
	list, err := l.Sources(ctx, lane)
	if err != nil {
		return nil, err
	}
	l.paths.learn(lane, list)
	return slices.Clone(list), nil
}

func (p *paths) known(lane Lane) ([]Source, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.sources[lane]
	if !ok || time.Now().After(k.till) {
		return nil, false
	}
	return slices.Clone(k.list), true
}

func (p *paths) learn(lane Lane, list []Source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sources == nil {
		p.sources, p.cursors = make(map[Lane]knownSources), make(map[string]cursor)
	}
	p.sources[lane] = knownSources{list, time.Now().Add(lifeOf(lane))}
}

// forget makes the next claim of a lane look anew: the last one found less than
// it wanted.
func (p *paths) forget(lane Lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sources, lane)
}

// reset forgets everything: deliveries were given back or freed.
func (p *paths) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.sources)
	clear(p.cursors)
}

func (p *paths) cursor(lane Lane, s Source) (cursor, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.cursors[string(lane)+separator+s.source()]
	if !ok || time.Now().After(c.till) {
		return cursor{}, false
	}
	return c, true
}

// walked notes how far a claim came. full says that there is more behind it.
func (p *paths) walked(lane Lane, s Source, list []Delivery, full bool) {
	key := string(lane) + separator + s.source()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !full || len(list) == 0 {
		delete(p.cursors, key)
		return
	}
	last := slices.MaxFunc(list, func(a, b Delivery) int {
		if c := a.DueAt.Compare(b.DueAt); c != 0 {
			return c
		}
		return strings.Compare(a.RootID, b.RootID)
	})
	c, ok := p.cursors[key]
	if now := time.Now(); !ok || now.After(c.till) {
		c.till = now.Add(lifeOf(lane))
	}
	c.due, c.root = last.DueAt, last.RootID
	p.cursors[key] = c
}
