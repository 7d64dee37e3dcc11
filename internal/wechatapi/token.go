package wechatapi

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/silenceper/wechat/v2/credential"
	"golang.org/x/sync/singleflight"

	"guanjia/internal/clock"
)

//go:embed invalidate.lua
var invalidateSource string

//go:embed release.lua
var releaseSource string

// Numbers of the token handle. stable_token gives the same token to everybody
// until five minutes before its end, then a new one while both work; so a
// margin below five minutes never uses a dead token and seldom asks twice.
const (
	tokenMargin   = 2 * time.Minute
	leaseLife     = 8 * time.Second       // longer than one fetch may take
	leaseWait     = 3 * time.Second       // for another node to finish its fetch
	leaseLook     = 50 * time.Millisecond // how often to look meanwhile
	redisPatience = 500 * time.Millisecond
)

// tokens holds one access token an account and shares it between nodes through
// Redis. Redis is a convenience here: without it every node asks for itself,
// and stable_token gives all of them the same token.
type tokens struct {
	rdb   redis.UniversalClient // may be nil
	clk   clock.Clock
	log   *slog.Logger
	fetch func(ctx context.Context, a Account) (token string, lifetime time.Duration, err error)

	flight     singleflight.Group
	invalidate *redis.Script
	release    *redis.Script

	mu   sync.Mutex
	held map[string]heldToken // by AppID
}

type heldToken struct {
	token   string
	expires time.Time // by the product's clock, like the vendor's own
}

func newTokens(rdb redis.UniversalClient, clk clock.Clock, log *slog.Logger,
	fetch func(context.Context, Account) (string, time.Duration, error),
) *tokens {
	return &tokens{
		rdb: rdb, clk: clk, log: log, fetch: fetch,
		invalidate: redis.NewScript(invalidateSource),
		release:    redis.NewScript(releaseSource),
		held:       make(map[string]heldToken),
	}
}

func tokenKey(appID string) string { return "wechat:{" + appID + "}:token" }
func leaseKey(appID string) string { return "wechat:{" + appID + "}:token-lease" }

// get returns a token with some life left.
func (t *tokens) get(ctx context.Context, a Account) (string, error) {
	if token, ok := t.fromMemory(a.AppID); ok {
		return token, nil
	}
	// One look-up at a time for an account. It goes on when its first caller
	// gives up, because others wait for it.
	done := t.flight.DoChan(a.AppID, func() (any, error) {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseWait+callTimeout)
		defer cancel()
		return t.obtain(own, a)
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return "", r.Err
		}
		return r.Val.(string), nil
	case <-ctx.Done():
		return "", transportError("token/stable", ctx.Err(), false)
	}
}

func (t *tokens) fromMemory(appID string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := t.held[appID]
	if !ok || !t.clk.Now().Before(h.expires) {
		return "", false
	}
	return h.token, true
}

// obtain asks Redis, then the vendor under the lease.
func (t *tokens) obtain(ctx context.Context, a Account) (string, error) {
	if token, ok := t.fromMemory(a.AppID); ok {
		return token, nil
	}
	if token, ok := t.fromRedis(ctx, a.AppID); ok {
		return token, nil
	}
	lease, mine := t.lease(ctx, a.AppID)
	if !mine {
		if token, ok := t.waitForOther(ctx, a.AppID); ok {
			return token, nil
		}
		// The other node is slow or dead. Asking ourselves does no harm.
	}
	if lease != "" {
		defer t.unlease(ctx, a.AppID, lease)
	}
	token, life, err := t.fetch(ctx, a)
	if err != nil {
		return "", err
	}
	t.keep(ctx, a.AppID, token, life)
	return token, nil
}

func (t *tokens) keep(ctx context.Context, appID, token string, life time.Duration) {
	margin := min(tokenMargin, life/10)
	expires := t.clk.Now().Add(life - margin)
	t.mu.Lock()
	t.held[appID] = heldToken{token: token, expires: expires}
	t.mu.Unlock()
	if t.rdb == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, redisPatience)
	defer cancel()
	_, err := t.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, tokenKey(appID), "token", token, "expires", expires.UnixMilli())
		p.PExpire(ctx, tokenKey(appID), life-margin)
		return nil
	})
	if err != nil {
		t.log.Warn("access token not shared: redis away", "app_id", appID)
	}
}

func (t *tokens) fromRedis(ctx context.Context, appID string) (string, bool) {
	if t.rdb == nil {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, redisPatience)
	defer cancel()
	var row struct {
		Token   string `redis:"token"`
		Expires int64  `redis:"expires"`
	}
	if err := t.rdb.HGetAll(ctx, tokenKey(appID)).Scan(&row); err != nil || row.Token == "" {
		return "", false
	}
	expires := time.UnixMilli(row.Expires)
	if !t.clk.Now().Before(expires) {
		return "", false
	}
	t.mu.Lock()
	t.held[appID] = heldToken{token: row.Token, expires: expires}
	t.mu.Unlock()
	return row.Token, true
}

// lease takes the right to fetch. Without Redis everybody has it.
func (t *tokens) lease(ctx context.Context, appID string) (value string, mine bool) {
	if t.rdb == nil {
		return "", true
	}
	ctx, cancel := context.WithTimeout(ctx, redisPatience)
	defer cancel()
	var b [12]byte
	_, _ = rand.Read(b[:])
	value = hex.EncodeToString(b[:])
	ok, err := t.rdb.SetNX(ctx, leaseKey(appID), value, leaseLife).Result()
	if err != nil {
		return "", true
	}
	if !ok {
		return "", false
	}
	return value, true
}

func (t *tokens) unlease(ctx context.Context, appID, value string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisPatience)
	defer cancel()
	_ = t.release.Run(ctx, t.rdb, []string{leaseKey(appID)}, value).Err() // it lapses by itself
}

// waitForOther looks until the node that holds the lease has stored a token,
// has given up, or takes too long.
func (t *tokens) waitForOther(ctx context.Context, appID string) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	tick := time.NewTicker(leaseLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", false
		case <-tick.C:
		}
		if token, ok := t.fromRedis(ctx, appID); ok {
			return token, true
		}
		n, err := t.rdb.Exists(ctx, leaseKey(appID)).Result()
		if err != nil || n == 0 {
			// Released between our two looks: look once more, then fetch.
			return t.fromRedis(ctx, appID)
		}
	}
}

// refused forgets a token that the vendor refused, unless somebody has
// replaced it already: of many workers that fail together one fetches.
func (t *tokens) refused(ctx context.Context, appID, token string) {
	t.mu.Lock()
	if t.held[appID].token == token {
		delete(t.held, appID)
	}
	t.mu.Unlock()
	if t.rdb == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, redisPatience)
	defer cancel()
	err := t.invalidate.Run(ctx, t.rdb, []string{tokenKey(appID)}, token).Err()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.log.Warn("refused access token stays in redis until it ends: redis away", "app_id", appID)
	}
}

// Handle gives the account's shared token to code that speaks the SDK's own
// interface.
func (c *Client) Handle(a Account) credential.AccessTokenContextHandle { return handle{c, a} }

type handle struct {
	c *Client
	a Account
}

// GetAccessToken implements credential.AccessTokenHandle.
func (h handle) GetAccessToken() (string, error) {
	return h.GetAccessTokenContext(context.Background())
}

// GetAccessTokenContext implements credential.AccessTokenContextHandle.
func (h handle) GetAccessTokenContext(ctx context.Context) (string, error) {
	return h.c.tokens.get(ctx, h.a)
}
