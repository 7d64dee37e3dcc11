package deliver

import (
	"sync"
	"time"
)

// refusals counts, for each bulk, how often the same refusal came in a row: some
// are a single row's fault, the same one five times is not.
type refusals struct {
	mu   sync.Mutex
	list map[string]refusal
}

type refusal struct {
	code string
	n    int
	held time.Time // machine's clock
}

// quietAfterHold: calls that were under way when a bulk was held say the same
// again, and are not news.
const quietAfterHold = 30 * time.Second

// again counts one and tells whether it is one too many.
func (r *refusals) again(bulk, code string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.list[bulk]
	if was.code != code {
		was = refusal{code: code}
	}
	was.n++
	r.put(bulk, was)
	return was.n >= sameRefusal
}

// first notes that a bulk is held for this reason and tells whether that is
// news.
func (r *refusals) first(bulk, code string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.list[bulk]
	if was.code == code && time.Since(was.held) < quietAfterHold {
		return false
	}
	r.put(bulk, refusal{code: code, held: time.Now()})
	return true
}

// forget begins to count anew after a call that went well.
func (r *refusals) forget(bulk string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if was, ok := r.list[bulk]; ok {
		was.n = 0
		r.list[bulk] = was
	}
}

func (r *refusals) put(bulk string, v refusal) {
	if r.list == nil {
		r.list = make(map[string]refusal)
	}
	r.list[bulk] = v
}
