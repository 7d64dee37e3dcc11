package embedded

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"guanjia/internal/clock"
)

// tick is how often the passing of time is told to the in-process Redis. A
// time-out is late by at most this much.
const tick = 250 * time.Millisecond

// Redis is an in-process Redis. Its time-outs run by the injected clock.
type Redis struct {
	server   *miniredis.Miniredis
	client   redis.UniversalClient
	clk      clock.Clock
	password string

	mu   sync.Mutex // guards last, and orders the steps of the server's clock
	last time.Time

	stop context.CancelFunc
	done chan struct{}
}

// StartRedis starts a Redis on a free port of the loopback interface. It lives
// until Close or the end of ctx.
//
// What it can't do: CONFIG (so no keyspace events), FUNCTION, CLIENT LIST,
// sharded pub/sub; Lua has no cmsgpack and no struct.
func StartRedis(ctx context.Context, clk clock.Clock) (*Redis, error) {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("start in-process redis: %w", err)
	}
	r := &Redis{
		server:   miniredis.NewMiniRedis(),
		clk:      clk,
		password: hex.EncodeToString(secret),
		last:     clk.Now(),
		done:     make(chan struct{}),
	}
	r.server.RequireAuth(r.password)
	r.server.SetTime(r.last)
	if err := r.server.Start(); err != nil {
		return nil, fmt.Errorf("start in-process redis: %w", err)
	}
	r.client = redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:           []string{r.server.Addr()},
		Password:        r.password,
		DisableIdentity: true,
	})
	if err := r.client.Ping(ctx).Err(); err != nil {
		_ = r.client.Close()
		r.server.Close()
		return nil, fmt.Errorf("start in-process redis: %w", err)
	}
	ctx, r.stop = context.WithCancel(ctx)
	go r.run(ctx)
	return r, nil
}

// Addr is the address it listens on, host:port.
func (r *Redis) Addr() string { return r.server.Addr() }

// Password is what AUTH wants.
func (r *Redis) Password() string { return r.password }

// URL is the address with the password, for OpenRedis.
func (r *Redis) URL() string { return "redis://:" + r.password + "@" + r.server.Addr() + "/0" }

// Client returns the client that belongs to r and is closed with it.
func (r *Redis) Client() redis.UniversalClient { return r.client }

// Advance lets time-outs catch up with the clock at once. The d that the clock
// was moved by is not needed, it fits clock.Adjustable.OnAdvance.
func (r *Redis) Advance(context.Context, time.Duration) error {
	r.catchUp()
	return nil
}

// Close ends the client, the server and all its connections.
func (r *Redis) Close() error {
	r.stop()
	<-r.done
	err := r.client.Close()
	r.server.Close()
	if err != nil {
		return fmt.Errorf("close in-process redis: %w", err)
	}
	return nil
}

// run tells the server how time passes. It looks at the injected clock in the
// rhythm of the machine's, so that a clock that stands still is no busy loop.
func (r *Redis) run(ctx context.Context) {
	defer close(r.done)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.catchUp()
		}
	}
}

func (r *Redis) catchUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clk.Now()
	if d := now.Sub(r.last); d > 0 {
		r.server.SetTime(now)
		r.server.FastForward(d)
		r.last = now
	}
}

// OpenRedis returns a client for
//
//	redis://[user:password@]host:port/db            one server (rediss:// with TLS)
//	redis+sentinel://[user:password@]host:port,host:port/master-name[/db]
//	redis+cluster://[user:password@]host:port,host:port
//
// It doesn't connect yet. Time-outs are short, because a resident waits:
// connecting 1 s, an answer 1 s, a free connection 2 s; one retry.
func OpenRedis(url string) (redis.UniversalClient, error) {
	o, err := parseRedisURL(url)
	if err != nil {
		return nil, fmt.Errorf("redis URL: %w", err)
	}
	o.DialTimeout = time.Second
	o.ReadTimeout = time.Second
	o.WriteTimeout = time.Second
	o.PoolTimeout = 2 * time.Second
	o.MaxRetries = 1
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	return redis.NewUniversalClient(o), nil
}

// LogRedis sends what the Redis library has to say into log, at level info:
// its errors reach the callers anyway. The library has one logger for the
// whole process, so the program calls this once, at its start.
func LogRedis(log *slog.Logger) { redis.SetLogger(redisLog{log}) }

type redisLog struct{ log *slog.Logger }

// Printf implements the library's logger.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.InfoContext(ctx, fmt.Sprintf(format, v...), slog.String("part", "go-redis"))
}
