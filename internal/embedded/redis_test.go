package embedded_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/embedded"
	"guanjia/internal/embedded/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the rooms rely on, on both.
func TestWhatWeUse(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := t.Context()
		t.Run("script", func(t *testing.T) {
			script := redis.NewScript(`
				if redis.call('EXISTS', KEYS[1]) == 1 then return redis.error_reply('TAKEN ' .. redis.call('GET', KEYS[1])) end
				redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
				return {ARGV[1], 7}`)
			res, err := script.Run(ctx, rdb, []string{"{c}:lease"}, "me", 60000).Slice()
			if err != nil || len(res) != 2 || res[0] != "me" || res[1] != int64(7) {
				t.Errorf("script: %v, %v", res, err)
			}
			if err := script.Run(ctx, rdb, []string{"{c}:lease"}, "you", 60000).Err(); err == nil || !strings.HasPrefix(err.Error(), "TAKEN me") {
				t.Errorf("second: %v", err)
			}
		})
		t.Run("pipeline", func(t *testing.T) {
			cmds, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
				for range 100 {
					p.Incr(ctx, "{c}:n")
				}
				return nil
			})
			if err != nil || cmds[99].(*redis.IntCmd).Val() != 100 {
				t.Errorf("pipeline of 100: %v", err)
			}
		})
		t.Run("sorted set", func(t *testing.T) {
			rdb.ZAdd(ctx, "{c}:z", redis.Z{Score: 2, Member: "b"}, redis.Z{Score: 1, Member: "a"}, redis.Z{Score: 1.5, Member: "ab"})
			got, err := rdb.ZRange(ctx, "{c}:z", 0, -1).Result()
			if err != nil || strings.Join(got, " ") != "a ab b" {
				t.Errorf("order %q, %v", got, err)
			}
		})
		t.Run("stream", func(t *testing.T) {
			read := make(chan []redis.XStream, 1)
			go func() {
				s, _ := rdb.XRead(ctx, &redis.XReadArgs{Streams: []string{"{c}:s", "0"}, Block: 10 * time.Second}).Result()
				read <- s
			}()
			if err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: "{c}:s", MaxLen: 10, Approx: true, Values: []string{"k", "v"}}).Err(); err != nil {
				t.Fatal(err)
			}
			if s := <-read; len(s) != 1 || s[0].Messages[0].Values["k"] != "v" {
				t.Errorf("stream: %v", s)
			}
		})
		t.Run("flush", func(t *testing.T) {
			if err := rdb.FlushAll(ctx).Err(); err != nil {
				t.Fatal(err)
			}
			if n, err := rdb.DBSize(ctx).Result(); n != 0 || err != nil {
				t.Errorf("%d keys, %v", n, err)
			}
		})
	})
}

func TestTimeoutsFollowTheClock(t *testing.T) {
	t.Parallel()
	clk := clock.NewManual(time.Date(2026, 1, 30, 0, 0, 0, 0, time.UTC))
	r := redistest.Embedded(t, clk)
	ctx, rdb := t.Context(), r.Client()
	rdb.Set(ctx, "token", "x", time.Hour)
	rdb.Set(ctx, "kept", "x", 0)
	exists := func(key string) bool { return rdb.Exists(ctx, key).Val() == 1 }
	clk.Advance(time.Hour - time.Second)
	if err := r.Advance(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if !exists("token") {
		t.Error("expired too early")
	}
	clk.Advance(time.Second)
	_ = r.Advance(ctx, 0)
	if exists("token") || !exists("kept") {
		t.Errorf("after an hour: token %t, kept %t", exists("token"), exists("kept"))
	}
	if now := rdb.Time(ctx).Val(); !now.Equal(clk.Now()) {
		t.Errorf("TIME says %s, the clock %s", now, clk.Now())
	}
	// Also without being told.
	rdb.Set(ctx, "token", "x", time.Minute)
	clk.Advance(time.Minute)
	for end := time.Now().Add(10 * time.Second); exists("token"); {
		if time.Now().After(end) {
			t.Fatal("never expired")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestEmbeddedIsLocked(t *testing.T) {
	t.Parallel()
	r := redistest.Embedded(t, clock.System())
	if !strings.HasPrefix(r.Addr(), "127.0.0.1:") {
		t.Errorf("listens on %s", r.Addr())
	}
	for _, password := range []string{"", "guess"} {
		c := redis.NewClient(&redis.Options{Addr: r.Addr(), Password: password, DisableIdentity: true, MaxRetries: -1})
		if err := c.Ping(t.Context()).Err(); err == nil {
			t.Errorf("entered with %q", password)
		}
		_ = c.Close()
	}
	c, err := embedded.OpenRedis(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Errorf("by its own URL: %v", err)
	}
	_ = c.Close()
}

func TestEmbeddedEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := embedded.StartRedis(ctx, clock.System())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// A stopped Redis is noticed at once, and its return too.
func TestRedisOutage(t *testing.T) {
	t.Parallel()
	server := redistest.NewServer(t)
	rdb := server.Client(t)
	ctx := t.Context()
	if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Stop(t)
	began := time.Now()
	if err := rdb.Get(ctx, "k").Err(); err == nil || errors.Is(err, redis.Nil) {
		t.Errorf("while away: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("noticing took %s", took)
	}
	server.Start(t)
	began = time.Now()
	for rdb.Ping(ctx).Err() != nil {
		if time.Since(began) > 5*time.Second {
			t.Fatal("not recovered")
		}
	}
	if err := rdb.Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("it kept something over the stop: %v", err)
	}
}
