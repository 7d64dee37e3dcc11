package deliver

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/ledger"
)

//go:embed gcra.lua
var gcraSource string

// sharedPatience is how long a call waits for Redis before the node limits
// itself alone.
const sharedPatience = 200 * time.Millisecond

// shared is the rate of each account that all nodes keep together in Redis.
type shared struct {
	rdb    redis.UniversalClient
	script *redis.Script
}

func newShared(rdb redis.UniversalClient) *shared {
	if rdb == nil {
		return nil
	}
	return &shared{rdb: rdb, script: redis.NewScript(gcraSource)}
}

// rateKeys name the account's two counters; its hash tag keeps them in one slot.
func rateKeys(channel, account string) []string {
	tag := "guanjia:rate:{" + channel + "|" + account + "}"
	return []string{tag + ":part", tag + ":whole"}
}

// take takes a place in the shared rate and says how long to wait for it; taken
// is false when the wait would be too long and no place was taken.
func (s *shared) take(ctx context.Context, src *source, lane ledger.Lane) (wait time.Duration, taken bool, err error) {
	whole, part := src.gaps()
	block := src.block(lane)
	ctx, cancel := context.WithTimeout(ctx, sharedPatience)
	defer cancel()
	urgent := 0
	if lane == ledger.LaneEmergency {
		urgent = 1
	}
	us, err := s.script.Run(ctx, s.rdb, rateKeys(src.channel, src.account),
		urgent, part.Microseconds(), whole.Microseconds(), src.burst, longWait.Microseconds(), block).Int64()
	if err != nil {
		return 0, false, fmt.Errorf("shared rate: %w", err)
	}
	if us < 0 {
		return time.Duration(-us) * time.Microsecond, false, nil
	}
	src.deposit(lane, block-1, time.Now())
	return time.Duration(us) * time.Microsecond, true, nil
}

// creditLife is how long places that were taken together stay good.
const creditLife = 250 * time.Millisecond

// block is how many places are taken at once: a hundredth of a second's, so that
// a fast account doesn't ask Redis before every call.
func (s *source) block(lane ledger.Lane) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	per := s.now
	if lane != ledger.LaneEmergency {
		per *= 1 - s.reserved
	}
	return min(max(1, int(per/100)), 64)
}

// spend uses a place that was taken earlier.
func (s *source) spend(lane ledger.Lane, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.credits[creditOf(lane)]
	if c.n == 0 || now.After(c.till) {
		c.n = 0
		return false
	}
	c.n--
	return true
}

func (s *source) deposit(lane ledger.Lane, n int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.credits[creditOf(lane)]
	if now.After(c.till) {
		c.n = 0
	}
	c.n, c.till = c.n+n, now.Add(creditLife)
}

// credit are places in the shared rate that this node has taken and not used.
type credit struct {
	n    int
	till time.Time // machine's clock
}

func creditOf(lane ledger.Lane) int {
	if lane == ledger.LaneEmergency {
		return 1
	}
	return 0
}
