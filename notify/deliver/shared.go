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
	ctx, cancel := context.WithTimeout(ctx, sharedPatience)
	defer cancel()
	urgent := 0
	if lane == ledger.LaneEmergency {
		urgent = 1
	}
	us, err := s.script.Run(ctx, s.rdb, rateKeys(src.channel, src.account),
		urgent, part.Microseconds(), whole.Microseconds(), src.burst, longWait.Microseconds()).Int64()
	if err != nil {
		return 0, false, fmt.Errorf("shared rate: %w", err)
	}
	if us < 0 {
		return time.Duration(-us) * time.Microsecond, false, nil
	}
	return time.Duration(us) * time.Microsecond, true, nil
}
