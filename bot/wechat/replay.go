package wechat

import (
	"sync"
	"time"
)

// maxNonces bounds the memory of the guard (some 150 bytes each, twice).
const maxNonces = 100_000

// nonceGuard remembers which message a signed query (account, timestamp, nonce)
// came with: the signature of a plain push does not cover its body, so a
// recorded query could carry other words. It is the quick and database-free
// half; the unique key of the row is the one that holds across nodes and
// restarts. It keeps two generations, each at least as long as a signature is
// fresh.
type nonceGuard struct {
	keep time.Duration

	mu         sync.Mutex
	young, old map[string]string
	turned     time.Time
}

func newNonceGuard(keep time.Duration) *nonceGuard {
	return &nonceGuard{keep: keep, young: map[string]string{}, turned: time.Now()}
}

// admit is false when the query was used for a message with another hash.
func (g *nonceGuard) admit(key, hash string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.turned) > g.keep || len(g.young) >= maxNonces {
		g.old, g.young, g.turned = g.young, map[string]string{}, time.Now()
	}
	for _, seen := range []map[string]string{g.young, g.old} {
		if h, ok := seen[key]; ok {
			return h == hash
		}
	}
	g.young[key] = hash
	return true
}
