package simwechat

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

const (
	tokenLife    = 7200 * time.Second
	tokenOverlap = 5 * time.Minute
	forcesADay   = 20
	forceGap     = 30 * time.Second
	tokensKept   = 64 // dead tokens remembered to answer 42001 instead of 40001
)

type token struct {
	value string
	until time.Time
}

type forceState struct {
	day, n int
	last   time.Time
}

func (s *Sim) bySecret(appID, secret string) (*account, error) {
	if appID == "" {
		return nil, errc(41002)
	}
	if secret == "" {
		return nil, errc(41004)
	}
	a := s.account(appID)
	if a == nil {
		return nil, errc(40013)
	}
	if secret != a.cfg.Secret {
		return nil, errc(40125)
	}
	return a, nil
}

// tokenCaller is who asks a token endpoint; the IP allow-list guards only these.
func (s *Sim) tokenCaller(c *call, grant, appID, secret string) (*account, error) {
	if grant != "client_credential" {
		return nil, errc(40002)
	}
	a, err := s.bySecret(appID, secret)
	if err != nil {
		return nil, err
	}
	if ip := remoteIP(c.r); len(a.cfg.AllowedIPs) > 0 && !slices.Contains(a.cfg.AllowedIPs, ip) {
		return nil, errf(40164, "invalid ip %s ipv6 ::ffff:%s, not in whitelist", ip, ip)
	}
	c.acct = a
	for _, e := range s.endpoints() {
		if e.path == c.path {
			if err := a.spendQuota(e, s.core.Now()); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

// getToken gives a new token; the one before lives five minutes more at most.
func (s *Sim) getToken(c *call) (any, error) {
	a, err := s.tokenCaller(c, c.query.Get("grant_type"), c.query.Get("appid"), c.query.Get("secret"))
	if err != nil {
		return nil, err
	}
	now := s.core.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.legacy != nil && a.legacy.until.After(now.Add(tokenOverlap)) {
		a.legacy.until = now.Add(tokenOverlap)
	}
	a.legacy = a.newToken(now, tokenLife)
	return tokenBody(a.legacy.value, tokenLife), nil
}

// getStableToken gives the same token while it is good, a new one beside it
// within its last five minutes, and with force_refresh kills it.
func (s *Sim) getStableToken(c *call) (any, error) {
	var in struct {
		GrantType string `json:"grant_type"`
		AppID     string `json:"appid"`
		Secret    string `json:"secret"`
		Force     bool   `json:"force_refresh"`
	}
	if err := c.json(&in); err != nil {
		return nil, err
	}
	a, err := s.tokenCaller(c, in.GrantType, in.AppID, in.Secret)
	if err != nil {
		return nil, err
	}
	now := s.core.Now()
	if err := a.spendMinute(c.path, stablePerMin, now); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if in.Force && a.mayForce(now) {
		if a.stable != nil {
			a.stable.until = now
		}
		a.stable = a.newToken(now, tokenLife)
	}
	if a.stable == nil || a.stable.until.Sub(now) <= tokenOverlap {
		a.stable = a.newToken(now, tokenLife)
	}
	return tokenBody(a.stable.value, a.stable.until.Sub(now)), nil
}

func (a *account) mayForce(now time.Time) bool {
	if day := dayOf(now); a.force.day != day {
		a.force = forceState{day: day, last: a.force.last}
	}
	if a.force.n >= forcesADay || now.Sub(a.force.last) < forceGap {
		return false
	}
	a.force.n++
	a.force.last = now
	return true
}

func tokenBody(value string, life time.Duration) any {
	return map[string]any{"access_token": value, "expires_in": int(life / time.Second)}
}

// newToken is called with a.mu held.
func (a *account) newToken(now time.Time, life time.Duration) *token {
	if len(a.tokens) > tokensKept {
		for v, t := range a.tokens {
			if t.until.Before(now) {
				delete(a.tokens, v)
			}
		}
	}
	t := &token{value: fmt.Sprintf("%d_%s", 80+len(a.tokens)%20, randomText(133)), until: now.Add(life)}
	a.tokens[t.value] = t
	return t
}

var tokenForm = regexp.MustCompile(`^[0-9]{1,3}_[A-Za-z0-9_-]{100,500}$`)

// authenticate finds the account of an access_token: missing 41001, not one
// of ours 40001, over 42001.
func (s *Sim) authenticate(value string) (*account, *token, error) {
	if value == "" {
		return nil, nil, errc(41001)
	}
	if !tokenForm.MatchString(value) {
		return nil, nil, errc(40014)
	}
	now := s.core.Now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, a := range s.order {
		a.mu.Lock()
		t := a.tokens[value]
		over := t != nil && !now.Before(t.until)
		a.mu.Unlock()
		switch {
		case t == nil:
		case over:
			return nil, nil, errc(42001)
		default:
			return a, t, nil
		}
	}
	return nil, nil, errc(40001)
}

// expireTokens ends all tokens of an account at once.
func (a *account) expireTokens(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.tokens {
		if t.until.After(now) {
			t.until = now
		}
	}
	a.legacy, a.stable = nil, nil
}
