package wecom

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/wecomapi"
)

var (
	_ Lease = (*RowLease)(nil)
	_ Lease = (*wecomapi.Lease)(nil)
	_ Lease = SoleNode{}
)

func TestRowLease(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) { leaseRules(t, NewRowLease(d)) })
}

func TestRedisLease(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) { leaseRules(t, wecomapi.NewLease(rdb)) })
}

// leaseRules are what every lease must keep.
func leaseRules(t *testing.T, l Lease) {
	ctx := t.Context()
	hold := func(owner string, ttl time.Duration, names ...string) []string {
		t.Helper()
		held, err := l.Hold(ctx, owner, names, ttl)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(held)
		return held
	}
	if got := hold("a", time.Hour, "x", "y"); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("free ones: %v", got)
	}
	if got := hold("b", time.Hour, "x", "y", "z"); !slices.Equal(got, []string{"z"}) {
		t.Errorf("taken ones: %v", got)
	}
	if got := hold("a", time.Hour, "x", "y"); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("extended: %v", got)
	}
	if err := l.Release(ctx, "b", []string{"x", "z"}); err != nil {
		t.Fatal(err)
	}
	if got := hold("c", time.Hour, "x", "z"); !slices.Equal(got, []string{"z"}) {
		t.Errorf("after a release of one's own and a foreign one: %v", got)
	}
	hold("a", time.Millisecond, "y")
	eventually(t, "a lapsed one is taken", func() bool { return len(hold("b", time.Hour, "y")) == 1 })
	if got := hold("a", time.Hour, "y"); len(got) != 0 {
		t.Errorf("lost one: %v", got)
	}
	if got := hold("a", time.Hour); len(got) != 0 {
		t.Errorf("none asked: %v", got)
	}
	t.Run("one of many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var winners []string
		for i := range 8 {
			wg.Go(func() {
				owner := fmt.Sprint("racer", i)
				held, err := l.Hold(context.Background(), owner, []string{"r1", "r2"}, time.Hour)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				for _, h := range held {
					winners = append(winners, h+owner)
				}
			})
		}
		wg.Wait()
		if len(winners) != 2 {
			t.Errorf("winners %v", winners)
		}
	})
}
