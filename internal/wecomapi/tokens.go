package wecomapi

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// Corp is a self-built app of a corp: its identifiers and its secret.
type Corp struct {
	CorpID  string
	Secret  string
	AgentID int
}

const (
	// tokenMargin is how long before its end a token is renewed.
	tokenMargin = 5 * time.Minute
	// refreshLease is how long one node may take to fetch a token before
	// another tries.
	refreshLease = 12 * time.Second
	// refreshPoll is how often a node that waits for another's fetch looks.
	refreshPoll = 100 * time.Millisecond
	// redisBudget bounds one Redis call: a slow Redis must not hold up a text.
	redisBudget = 500 * time.Millisecond
)

//go:embed unlock.lua
var unlockLua string

var unlockScript = redis.NewScript(unlockLua)

// tokens keeps one access token an app, in this process and, when there is a
// Redis, shared by all nodes and fetched by one of them under a lease. The
// vendor hands out the same token until it ends, so two fetches at once do no
// harm; the lease keeps them rare, because fetching is rate-limited. Without
// Redis every node fetches its own.
type tokens struct {
	client *Client
	rdb    redis.UniversalClient

	mu   sync.Mutex
	apps map[string]*appToken
}

type appToken struct {
	mu    sync.Mutex // one fetch at a time in this process
	value string
	until time.Time // the machine's time: the vendor counts real seconds
}

func newTokens(c *Client, rdb redis.UniversalClient) *tokens {
	return &tokens{client: c, rdb: rdb, apps: map[string]*appToken{}}
}

// key names an app without showing its secret. Two secrets of one corp are two
// apps with tokens of their own.
func (t *tokens) key(c Corp) string {
	sum := sha256.Sum256([]byte(c.CorpID + "\x00" + c.Secret))
	return "guanjia:{wecom:" + hex.EncodeToString(sum[:12]) + "}:token"
}

func (t *tokens) app(key string) *appToken {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.apps[key]
	if a == nil {
		a = &appToken{}
		t.apps[key] = a
	}
	return a
}

// get returns a token that was not stale, the empty string meaning none is
// known to be. stale is a token the vendor has just refused.
func (t *tokens) get(ctx context.Context, c Corp, stale string) (string, error) {
	key := t.key(c)
	app := t.app(key)
	app.mu.Lock()
	defer app.mu.Unlock()
	if app.value != "" && app.value != stale && time.Now().Before(app.until) {
		return app.value, nil
	}
	value, until, err := t.obtain(ctx, c, key, stale)
	if err != nil {
		return "", err
	}
	app.value, app.until = value, until
	return value, nil
}

// obtain takes the shared token, or fetches one under the lease, or waits for
// the node that does.
func (t *tokens) obtain(ctx context.Context, c Corp, key, stale string) (string, time.Time, error) {
	if t.rdb == nil {
		return t.fetch(ctx, c)
	}
	owner := uuid.NewString()
	deadline := time.Now().Add(refreshLease)
	for {
		value, until, err := t.shared(ctx, key)
		if err != nil {
			return t.fetch(ctx, c) // Redis is away: each node for itself
		}
		if value != "" && value != stale {
			return value, until, nil
		}
		mine, err := t.lock(ctx, key, owner)
		if err != nil || time.Now().After(deadline) {
			return t.fetch(ctx, c)
		}
		if mine {
			return t.fetchShared(ctx, c, key, owner, stale)
		}
		if err := pause(ctx, refreshPoll); err != nil {
			return "", time.Time{}, &Error{Op: "gettoken", Class: ClassRetry, cause: ErrNoAnswer}
		}
	}
}

func (t *tokens) shared(ctx context.Context, key string) (string, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, redisBudget)
	defer cancel()
	pipe := t.rdb.Pipeline()
	value, left := pipe.Get(ctx, key), pipe.PTTL(ctx, key)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return "", time.Time{}, err
	}
	if value.Err() != nil || left.Val() <= 0 {
		return "", time.Time{}, nil
	}
	return value.Val(), time.Now().Add(left.Val()), nil
}

func (t *tokens) lock(ctx context.Context, key, owner string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, redisBudget)
	defer cancel()
	return t.rdb.SetNX(ctx, key+":lease", owner, refreshLease).Result()
}

func (t *tokens) fetchShared(ctx context.Context, c Corp, key, owner, stale string) (string, time.Time, error) {
	defer t.unlock(ctx, key, owner)
	// Another node may have fetched between our look and our lease.
	if value, until, err := t.shared(ctx, key); err == nil && value != "" && value != stale {
		return value, until, nil
	}
	value, until, err := t.fetch(ctx, c)
	if err != nil {
		return "", time.Time{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, redisBudget)
	defer cancel()
	if err := t.rdb.Set(ctx, key, value, time.Until(until)).Err(); err != nil {
		t.client.log.WarnContext(ctx, "wecom token not shared", "corp", c.CorpID)
	}
	return value, until, nil
}

func (t *tokens) unlock(ctx context.Context, key, owner string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisBudget)
	defer cancel()
	// A failure leaves the lease to lapse by itself.
	_ = unlockScript.Run(ctx, t.rdb, []string{key + ":lease"}, owner).Err()
}

func (t *tokens) fetch(ctx context.Context, c Corp) (string, time.Time, error) {
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	query := url.Values{"corpid": {c.CorpID}, "corpsecret": {c.Secret}}
	if err := t.client.call(ctx, "gettoken", "/cgi-bin/gettoken", query, nil, &answer); err != nil {
		var e *Error
		if errors.As(err, &e) && (e.Class == ClassToken || e.Class == ClassAmbiguous) {
			// Fetching changes nothing at the vendor, so a fetch without an
			// answer is simply tried again; a refused secret stops the app.
			class := ClassRetry
			if e.Class == ClassToken {
				class = ClassStop
			}
			return "", time.Time{}, &Error{Op: e.Op, Code: e.Code, Class: class, cause: e.cause}
		}
		return "", time.Time{}, err
	}
	if answer.AccessToken == "" {
		return "", time.Time{}, &Error{Op: "gettoken", Class: ClassRetry, cause: ErrNotJSON}
	}
	life := time.Duration(answer.ExpiresIn) * time.Second
	if life > 2*tokenMargin {
		life -= tokenMargin
	} else {
		life /= 2
	}
	return answer.AccessToken, time.Now().Add(life), nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withToken does a call that needs an app's token, and does it a second time
// with a fresh one when the vendor refuses the first: a refused token means
// that nothing was accepted.
func (c *Client) withToken(ctx context.Context, corp Corp, op, path string, query url.Values, body, answer any) error {
	stale := ""
	for try := 0; ; try++ {
		token, err := c.tokens.get(ctx, corp, stale)
		if err != nil {
			return err
		}
		q := url.Values{"access_token": {token}}
		for k, v := range query {
			q[k] = v
		}
		err = c.call(ctx, op, path, q, body, answer)
		if ClassOf(err) != ClassToken || try > 0 {
			return err
		}
		stale = token
	}
}
