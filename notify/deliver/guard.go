package deliver

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/ledger"
)

//go:embed beat.lua
var beatSource string

// beatKey keeps the highest beat of a database, by its name.
func beatKey(born string) string { return "guanjia:beat:{" + born + "}" }

// idleBeat is how often the beat moves while nothing is sent.
const idleBeat = 30

// guard keeps a restored backup from sending: what was sent since the backup
// stands in it as waiting. The database's beat is compared with the highest that
// was seen outside of it: in this process, in a small file of the node, and in
// Redis. Any of them is enough; a database that none of them knows is believed.
type guard struct {
	l      *ledger.Ledger
	file   string // "" for none
	rdb    redis.UniversalClient
	script *redis.Script

	locked atomic.Bool // also before the first look
	sent   atomic.Bool // something was sent since the last beat

	mu     sync.Mutex
	seen   ledger.Beat
	reason string
	rounds int
}

func newGuard(l *ledger.Ledger, file string, rdb redis.UniversalClient) *guard {
	g := &guard{l: l, file: file, rdb: rdb, script: redis.NewScript(beatSource)}
	g.locked.Store(true)
	return g
}

// begin compares before anything is claimed.
func (g *guard) begin(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, lock, err := g.l.ReadBeat(ctx)
	if err != nil {
		return err
	}
	return g.compare(ctx, b, lock)
}

// look compares again and moves the beat on when there is a reason to. It is
// called every second.
func (g *guard) look(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, lock, err := g.l.ReadBeat(ctx)
	if err != nil {
		return err
	}
	if err := g.compare(ctx, b, lock); err != nil || g.locked.Load() {
		return err
	}
	g.rounds++
	if !g.sent.Swap(false) && g.rounds%idleBeat != 0 {
		return nil
	}
	return g.step(ctx)
}

// end moves the beat on for the last time, so that a copy made before is known.
func (g *guard) end(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.locked.Load() || !g.sent.Swap(false) {
		return nil
	}
	return g.step(ctx)
}

func (g *guard) step(ctx context.Context) error {
	b, _, err := g.l.StepBeat(ctx)
	if err != nil {
		return err
	}
	return g.remember(ctx, b)
}

// compare decides whether this database is older than what was seen of it.
func (g *guard) compare(ctx context.Context, b ledger.Beat, lock ledger.SendLock) error {
	high := g.highest(ctx, b)
	if high > b.N && !lock.Locked {
		if err := g.l.LockSending(ctx, ledger.LockRestored, high); err != nil {
			return err
		}
		lock = ledger.SendLock{Locked: true, Reason: ledger.LockRestored}
	}
	g.reason = lock.Reason
	g.locked.Store(lock.Locked)
	if lock.Locked {
		return nil
	}
	if g.seen == b {
		return nil
	}
	return g.remember(ctx, b)
}

// highest is the highest beat of this database that was seen outside of it. A
// file that cannot be read and a Redis that is away know nothing.
func (g *guard) highest(ctx context.Context, b ledger.Beat) int64 {
	if g.seen.Born == b.Born && g.seen.N > 0 {
		return g.seen.N // this process saw what file and Redis did, or more
	}
	var high int64
	if was, err := readBeat(g.file); err == nil && was.Born == b.Born {
		high = was.N
	}
	if g.rdb != nil {
		ctx, cancel := context.WithTimeout(ctx, sharedPatience)
		defer cancel()
		if n, err := g.rdb.Get(ctx, beatKey(b.Born)).Int64(); err == nil && n > high {
			high = n
		}
	}
	return high
}

func (g *guard) remember(ctx context.Context, b ledger.Beat) error {
	g.seen = b
	if g.rdb != nil {
		ctx, cancel := context.WithTimeout(ctx, sharedPatience)
		defer cancel()
		// Redis may be away or emptied: the file and the next beat make good.
		_ = g.script.Run(ctx, g.rdb, []string{beatKey(b.Born)}, b.N).Err()
	}
	return writeBeat(g.file, b)
}

func readBeat(file string) (ledger.Beat, error) {
	if file == "" {
		return ledger.Beat{}, fs.ErrNotExist
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return ledger.Beat{}, err
	}
	var b ledger.Beat
	if err := json.Unmarshal(raw, &b); err != nil {
		return ledger.Beat{}, err
	}
	return b, nil
}

// writeBeat replaces the file whole, so that a crash leaves the old or the new.
func writeBeat(file string, b ledger.Beat) error {
	if file == "" {
		return nil
	}
	raw, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("write the beat: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("write the beat: %w", err)
	}
	fresh := file + ".new"
	if err := errors.Join(os.WriteFile(fresh, raw, 0o600), os.Rename(fresh, file)); err != nil {
		return fmt.Errorf("write the beat: %w", err)
	}
	return nil
}

// Locked tells whether nothing is sent because the database went back in time,
// and why: the question of readiness.
func (e *Engine) Locked() (reason string, locked bool) {
	if !e.guard.locked.Load() {
		return "", false
	}
	e.guard.mu.Lock()
	defer e.guard.mu.Unlock()
	return e.guard.reason, e.guard.reason != ""
}

// keepGuard looks at the beat. It tells when sending was locked or released.
func (e *Engine) keepGuard(ctx context.Context, look func(context.Context) error) {
	was := e.guard.locked.Load()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	e.tell(ctx, "look at the beat", look(ctx))
	reason, locked := e.Locked()
	switch now := e.guard.locked.Load(); {
	case locked && !e.guardTold.Swap(true):
		e.log.ErrorContext(ctx, "nothing is sent: the database is older than what was seen of it; look at what waits, then run `guanjia release`", "reason", reason)
	case !now && e.guardTold.Swap(false):
		e.log.WarnContext(ctx, "sending is released")
		fallthrough
	case was && !now:
		for _, lane := range ledger.Lanes() {
			e.l.Wake(lane)
		}
	}
}
