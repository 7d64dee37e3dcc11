package deliver

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/ledger"
)

// wakeChannel carries lane names between nodes. Publishing reaches every node
// of a Cluster, so it needs no hash tag.
const wakeChannel = "guanjia:wake"

// publishTimeout bounds what a put may wait for Redis; the poll finds a
// delivery a second later without it.
const publishTimeout = 200 * time.Millisecond

// CarryWakes tells the other nodes when a lane has something to send, until ctx
// ends: a card put on a node without the bot's socket must not wait for a poll.
// Call it before the first put.
func CarryWakes(ctx context.Context, rdb redis.UniversalClient, l *ledger.Ledger) {
	l.OnWake(func(lane ledger.Lane) {
		ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
		defer cancel()
		_ = rdb.Publish(ctx, wakeChannel, string(lane)).Err() // see publishTimeout
	})
	sub := rdb.Subscribe(ctx, wakeChannel)
	defer sub.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-sub.Channel():
			if !ok {
				return
			}
			l.Wake(ledger.Lane(m.Payload))
		}
	}
}
