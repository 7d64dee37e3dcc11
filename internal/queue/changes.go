package queue

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// blockFor is how long one read of the stream waits; it bounds how long Changes
// takes to end.
const blockFor = time.Second

// Changes gives the changes of a company's queues that come after the given
// position ("" for: from now on) until ctx ends; then the channel is closed.
// After a time without Redis, or when it was emptied, a ChangeReload says that
// something may be missing. It is meant for one reader a node and company.
func (q *Queues) Changes(ctx context.Context, companyID, after string) <-chan Change {
	out := make(chan Change)
	go q.follow(ctx, companyID, after, out)
	return out
}

func (q *Queues) follow(ctx context.Context, companyID, after string, out chan<- Change) {
	defer close(out)
	cut := false
	for ctx.Err() == nil {
		var batch []Change
		var err error
		if after == "" {
			after, err = q.lastChange(ctx, companyID)
		} else {
			batch, after, err = q.readChanges(ctx, companyID, after)
		}
		if errors.Is(err, redis.ErrClosed) {
			return
		}
		if err != nil {
			cut = true
			if !pause(ctx, retryPause) {
				return
			}
			continue
		}
		if cut {
			cut = false
			batch = append([]Change{{ID: after, Kind: ChangeReload}}, batch...)
		}
		for _, c := range batch {
			select {
			case out <- c:
				after = c.ID
			case <-ctx.Done():
				return
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// lastChange is the position of now.
func (q *Queues) lastChange(ctx context.Context, companyID string) (string, error) {
	last, err := q.rdb.XRevRangeN(ctx, changesKey(companyID), "+", "-", 1).Result()
	if err != nil {
		return "", err
	}
	if len(last) == 0 {
		return "0-0", nil
	}
	return last[0].ID, nil
}

// readChanges waits for what comes after a position. A stream that ends before
// that position was emptied since and counts from the start again.
func (q *Queues) readChanges(ctx context.Context, companyID, after string) (batch []Change, from string, err error) {
	streams, err := q.rdb.XRead(ctx, &redis.XReadArgs{
		Streams: []string{changesKey(companyID), after}, Count: 200, Block: blockFor,
	}).Result()
	if errors.Is(err, redis.Nil) {
		last, err := q.lastChange(ctx, companyID)
		if err != nil || !before(last, after) {
			return nil, after, err
		}
		return []Change{{ID: last, Kind: ChangeReload}}, last, nil
	}
	if err != nil {
		return nil, after, err
	}
	for _, s := range streams {
		for _, m := range s.Messages {
			batch = append(batch, changeOf(m))
		}
	}
	return batch, after, nil
}

// before compares two positions of a stream, milliseconds-number.
func before(a, b string) bool {
	ams, an := position(a)
	bms, bn := position(b)
	return ams < bms || ams == bms && an < bn
}

func position(id string) (ms, n uint64) {
	left, right, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(left, 10, 64) //nolint:errcheck // a foreign position is the beginning
	n, _ = strconv.ParseUint(right, 10, 64) //nolint:errcheck // as above
	return ms, n
}

func changeOf(m redis.XMessage) Change {
	text := func(field string) string { s, _ := m.Values[field].(string); return s } //nolint:errcheck // absent is empty
	version, _ := strconv.ParseInt(text("v"), 10, 64)                                //nolint:errcheck // absent is 0
	return Change{ID: m.ID, Kind: text("k"), QueueID: text("q"), CaseID: text("c"), UserID: text("u"), Version: version}
}
