package conversation

import "sync"

// knownSessions is how many sessions a node remembers.
const knownSessions = 20_000

// sessionCache remembers sessions, so that most turns don't read the row. It
// may be older than the row, which another node may have written: sessions are
// written by compare-and-set on the version that was read, so that a turn on an
// old one is stale, drops it from here and runs again. Two generations, as in
// idCache.
type sessionCache struct {
	mu         sync.Mutex
	size       int
	young, old map[string]Session
}

func newSessionCache(size int) *sessionCache {
	return &sessionCache{size: max(size/2, 1), young: map[string]Session{}}
}

func (c *sessionCache) get(conversationID string) (Session, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.young[conversationID]; ok {
		return s, true
	}
	s, ok := c.old[conversationID]
	return s, ok
}

// put keeps a session unless a later one is known: what a slow reader brings
// must not replace what was written meanwhile.
func (c *sessionCache) put(s Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range []map[string]Session{c.young, c.old} {
		if have, ok := m[s.ConversationID]; ok && have.Version > s.Version {
			return
		}
	}
	if len(c.young) >= c.size {
		c.old, c.young = c.young, make(map[string]Session, c.size)
	}
	c.young[s.ConversationID] = s
}

func (c *sessionCache) drop(conversationID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, conversationID)
	delete(c.old, conversationID)
}
