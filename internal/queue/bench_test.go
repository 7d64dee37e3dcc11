package queue_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/clock"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/queue"
)

// BenchmarkPushClaim is one case pushed and claimed; "bare" is two calls of a
// script that does nothing, what the wire and the server cost anyway.
func BenchmarkPushClaim(b *testing.B) {
	for name, client := range map[string]func(b *testing.B) redis.UniversalClient{
		"redis":    func(b *testing.B) redis.UniversalClient { return redistest.NewServer(b).Client(b) },
		"embedded": func(b *testing.B) redis.UniversalClient { return redistest.Embedded(b, clock.System()).Client() },
	} {
		b.Run(name+"/queue", func(b *testing.B) { benchQueue(b, client(b), 0) })
		b.Run(name+"/queue-1000-waiting", func(b *testing.B) { benchQueue(b, client(b), 1000) })
		b.Run(name+"/bare", func(b *testing.B) { benchBare(b, client(b)) })
	}
}

func benchQueue(b *testing.B, rdb redis.UniversalClient, waiting int) {
	ctx := context.Background()
	s := newSuite(b, rdb)
	for n := range waiting {
		s.push(b, engineering, item(n))
	}
	if err := s.Rebuild(ctx, companyID); err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			it := queue.Item{CaseID: fmt.Sprintf("bench-%09d", i), OpenedAt: start, PromisedAt: start, Version: 1}
			if err := s.Push(ctx, companyID, engineering, it); err != nil {
				b.Errorf("push: %v", err)
				return
			}
			if _, err := s.Reserve(ctx, companyID, engineering, it.CaseID, "li", 1, 0); err != nil {
				b.Errorf("reserve: %v", err)
				return
			}
		}
	})
}

func benchBare(b *testing.B, rdb redis.UniversalClient) {
	ctx := context.Background()
	script := redis.NewScript(`return {'ok'}`)
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			for range 2 {
				if err := script.Run(ctx, rdb, []string{"k"}, 1, 2, 3).Err(); err != nil {
					b.Errorf("script: %v", err)
					return
				}
			}
		}
	})
}
