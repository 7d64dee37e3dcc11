package simwechat

import (
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	codeLife    = 5 * time.Minute
	refreshLife = 30 * 24 * time.Hour
	snsPerMin   = 50_000
	oauthKept   = 10_000
)

type oauthCode struct {
	openID, scope string
	until         time.Time
	used          bool
}

type oauthGrant struct {
	openID, scope string
	access        string
	accessUntil   time.Time
	refreshUntil  time.Time
}

// newCode is what the authorize page sends back with the resident.
func (a *account) newCode(openID, scope string, now time.Time) string {
	if scope == "" {
		scope = "snsapi_base"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.codes) > oauthKept {
		clear(a.codes)
	}
	code := "0" + randomText(31)
	a.codes[code] = &oauthCode{openID: openID, scope: scope, until: now.Add(codeLife)}
	return code
}

func (s *Sim) oauthToken(c *call) (any, error) {
	if c.query.Get("grant_type") != "authorization_code" {
		return nil, errc(40002)
	}
	a, err := s.bySecret(c.query.Get("appid"), c.query.Get("secret"))
	if err != nil {
		return nil, err
	}
	now := s.core.Now()
	if err := a.spendMinute(c.path, snsPerMin, now); err != nil {
		return nil, err
	}
	value := c.query.Get("code")
	if value == "" {
		return nil, errc(41008)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	code := a.codes[value]
	switch {
	case code == nil || !now.Before(code.until):
		return nil, errc(40029)
	case code.used:
		return nil, errc(40163)
	}
	code.used = true
	if len(a.grants) > oauthKept {
		clear(a.grants)
	}
	g := &oauthGrant{
		openID: code.openID, scope: code.scope, access: "90_" + randomText(100),
		accessUntil: now.Add(tokenLife), refreshUntil: now.Add(refreshLife),
	}
	refresh := "90_" + randomText(100)
	a.grants[refresh] = g
	out := map[string]any{
		"access_token": g.access, "expires_in": int(tokenLife / time.Second), "refresh_token": refresh,
		"openid": g.openID, "scope": g.scope,
	}
	if u := s.user(g.openID); u != nil {
		u.mu.Lock()
		if u.r.Snapshot {
			out["is_snapshotuser"] = 1
		}
		if u.r.UnionID != "" && g.scope == "snsapi_userinfo" {
			out["unionid"] = u.r.UnionID
		}
		u.mu.Unlock()
	}
	return out, nil
}

func (s *Sim) oauthRefresh(c *call) (any, error) {
	a := s.account(c.query.Get("appid"))
	if a == nil {
		return nil, errc(40013)
	}
	now := s.core.Now()
	refresh := c.query.Get("refresh_token")
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.grants[refresh]
	if g == nil {
		return nil, errc(40030)
	}
	if !now.Before(g.refreshUntil) {
		return nil, errf(42002, "refresh_token expired")
	}
	g.access, g.accessUntil = "90_"+randomText(100), now.Add(tokenLife)
	return map[string]any{
		"access_token": g.access, "expires_in": int(tokenLife / time.Second), "refresh_token": refresh,
		"openid": g.openID, "scope": g.scope,
	}, nil
}

// grantOf finds who an OAuth access token speaks for.
func (s *Sim) grantOf(c *call) (*oauthGrant, error) {
	access, openID := c.query.Get("access_token"), c.query.Get("openid")
	now := s.core.Now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, a := range s.order {
		a.mu.Lock()
		for _, g := range a.grants {
			if g.access != access || access == "" {
				continue
			}
			found, over := *g, !now.Before(g.accessUntil)
			a.mu.Unlock()
			if over {
				return nil, errc(42001)
			}
			if found.openID != openID {
				return nil, errc(40003)
			}
			return &found, nil
		}
		a.mu.Unlock()
	}
	return nil, errc(40001)
}

func (s *Sim) oauthUser(c *call) (any, error) {
	g, err := s.grantOf(c)
	if err != nil {
		return nil, err
	}
	if g.scope != "snsapi_userinfo" {
		return nil, errf(48001, "api unauthorized")
	}
	out := map[string]any{
		"openid": g.openID, "nickname": "", "sex": 0, "province": "", "city": "", "country": "", "headimgurl": "", "privilege": []string{},
	}
	if u := s.user(g.openID); u != nil {
		out["nickname"] = u.snapshot().Nickname
	}
	return out, nil
}

func (s *Sim) oauthCheck(c *call) (any, error) {
	if _, err := s.grantOf(c); err != nil {
		return nil, err
	}
	return okBody(), nil
}

// authorizePage lets a person choose who opens the link, since a browser
// outside WeChat is nobody.
var authorizePage = template.Must(template.New("authorize").Parse(`<!doctype html><html lang="zh-CN"><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>微信网页授权（模拟）</title>
<body><h1>以谁的身份打开？</h1><ul>{{range .}}<li><a href="{{.Link}}">{{.Name}}</a></li>{{end}}</ul></body></html>`))

const authorizeMost = 200

// authorize is the open.weixin.qq.com page: with sim_openid it sends that
// resident back at once, without it asks who it is.
func (s *Sim) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a := s.account(q.Get("appid"))
	back, err := url.Parse(q.Get("redirect_uri"))
	scope := q.Get("scope")
	if a == nil || err != nil || back.Host == "" || (back.Scheme != "http" && back.Scheme != "https") ||
		q.Get("response_type") != "code" || (scope != "snsapi_base" && scope != "snsapi_userinfo") {
		http.Error(w, "redirect_uri 参数错误", http.StatusBadRequest)
		return
	}
	if id := q.Get("sim_openid"); id != "" {
		if s.userOf(a, id) == nil {
			http.Error(w, "unknown sim_openid", http.StatusNotFound)
			return
		}
		http.Redirect(w, r, withCode(back, a.newCode(id, scope, s.core.Now()), q.Get("state")), http.StatusFound)
		return
	}
	type choice struct{ Name, Link string }
	var list []choice
	for _, u := range s.usersOf(a) {
		if len(list) == authorizeMost {
			break
		}
		one := r.URL.Query()
		one.Set("sim_openid", u.r.OpenID)
		p := u.snapshot()
		list = append(list, choice{
			Name: strings.TrimSpace(p.Nickname + " " + strings.Join(p.BoundTo, " ")),
			Link: "?" + one.Encode(),
		})
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := authorizePage.Execute(w, list); err != nil {
		s.core.Log.Debug("authorize page", "error", err)
	}
}

func withCode(back *url.URL, code, state string) string {
	u := *back
	q := u.Query()
	q.Set("code", code)
	q.Set("state", state)
	u.RawQuery = q.Encode()
	return u.String()
}
