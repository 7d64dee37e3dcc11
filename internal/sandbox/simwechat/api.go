package simwechat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/sandbox/simcore"
)

const (
	host         = "/api.weixin.qq.com"
	maxAPIBody   = 12 << 20 // an image of 10 MB and its envelope
	ridsKept     = 500
	ridBodyKept  = 2048
	jsonType     = "application/json; encoding=utf-8"
	stablePerMin = 10_000 // calls of stable_token a minute
)

// messages are WeChat's words for its codes; callers must not depend on them.
var messages = map[int]string{
	-1:    "system error",
	40001: "invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r",
	40002: "invalid grant_type",
	40003: "invalid openid",
	40004: "invalid media type",
	40007: "invalid media_id",
	40008: "invalid message type",
	40013: "invalid appid",
	40014: "invalid access_token",
	40018: "invalid button name size",
	40029: "invalid code",
	40030: "invalid refresh_token",
	40032: "invalid openid list size",
	40035: "invalid parameter",
	40037: "invalid template_id",
	40053: "invalid action info",
	40066: "invalid url",
	40125: "invalid appsecret",
	40163: "code been used",
	40164: "invalid ip, not in whitelist",
	40200: "invalid account type",
	41001: "access_token missing",
	41002: "appid missing",
	41004: "appsecret missing",
	41006: "media_id missing",
	41008: "missing code",
	42001: "access_token expired",
	43001: "require GET method",
	43002: "require POST method",
	43004: "require subscribe",
	43019: "require remove blacklist",
	43101: "user refuse to accept the msg",
	44001: "empty media data",
	44002: "empty post data",
	44004: "empty content",
	45001: "media size out of limit",
	45002: "content size out of limit",
	45008: "article size out of limit",
	45009: "reach max api daily quota limit",
	45011: "api minute-quota reach limit, must slower, retry next minute",
	45015: "response out of time limit or subscription is canceled",
	45047: "out of response count limit",
	45072: "typing command invalid",
	45080: "typing not in 30s of interaction",
	45081: "typing repeated",
	46003: "menu no exist",
	47001: "data format error",
	47003: "argument invalid!",
	48006: "forbid to clear quota because of reaching the limit",
	76003: "invalid cgi_path",
}

// apiError is a WeChat answer with an errcode.
type apiError struct {
	code int
	text string
}

func (e *apiError) Error() string { return strconv.Itoa(e.code) }

func errc(code int) error { return &apiError{code: code, text: messages[code]} }

func errf(code int, format string, args ...any) error {
	return &apiError{code: code, text: fmt.Sprintf(format, args...)}
}

// call is one authenticated API call.
type call struct {
	acct  *account
	path  string
	query url.Values
	body  []byte
	r     *http.Request
}

// json decodes the body as WeChat does: empty is 44002, broken 47001.
func (c *call) json(v any) error {
	if len(c.body) == 0 {
		return errc(44002)
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		return errc(47001)
	}
	return nil
}

type endpoint struct {
	method  string // "" both
	path    string
	target  string // of faults and counters
	open    bool   // no access_token
	perDay  int64  // quota of a verified account; 0: none
	testDay int64  // of a test account
	match   func(*call) simcore.Match
	do      func(*call) (any, error)
}

func (s *Sim) endpoints() []endpoint {
	post, get := http.MethodPost, http.MethodGet
	return []endpoint{
		{method: get, path: "/cgi-bin/token", target: "wechat.token", open: true, perDay: 2000, testDay: 200, do: s.getToken},
		{method: post, path: "/cgi-bin/stable_token", target: "wechat.token", open: true, perDay: 500_000, testDay: 500_000, do: s.getStableToken},
		{method: post, path: "/cgi-bin/message/custom/send", target: "wechat.custom_send", perDay: 500_000, testDay: 50_000, match: toUser, do: s.customSend},
		{method: post, path: "/cgi-bin/message/custom/typing", target: "wechat.typing", perDay: 500_000, testDay: 50_000, match: toUser, do: s.typing},
		{method: post, path: "/cgi-bin/message/template/send", target: "wechat.template_send", perDay: 100_000, testDay: 100_000, match: toUser, do: s.templateSend},
		{method: get, path: "/cgi-bin/template/get_all_private_template", target: "wechat.template", perDay: 100_000, testDay: 1000, do: s.allTemplates},
		{method: post, path: "/cgi-bin/template/del_private_template", target: "wechat.template", perDay: 100_000, testDay: 1000, do: s.deleteTemplate},
		{method: post, path: "/cgi-bin/message/subscribe/bizsend", target: "wechat.subscribe_send", perDay: 100_000, testDay: 1000, match: toUser, do: s.bizSend},
		{method: post, path: "/cgi-bin/qrcode/create", target: "wechat.qrcode", perDay: 100_000, testDay: 10_000, do: s.createQR},
		{method: post, path: "/cgi-bin/menu/create", target: "wechat.menu", perDay: 1000, testDay: 100, do: s.createMenu},
		{method: get, path: "/cgi-bin/menu/get", target: "wechat.menu", perDay: 10_000, testDay: 1000, do: s.getMenu},
		{path: "/cgi-bin/menu/delete", target: "wechat.menu", perDay: 1000, testDay: 100, do: s.deleteMenu},
		{method: get, path: "/cgi-bin/get_current_selfmenu_info", target: "wechat.menu", perDay: 10_000, testDay: 1000, do: s.selfMenu},
		{method: get, path: "/cgi-bin/user/info", target: "wechat.user", perDay: 5_000_000, testDay: 500_000, match: queryUser, do: s.userInfo},
		{method: post, path: "/cgi-bin/user/info/batchget", target: "wechat.user", perDay: 5_000_000, testDay: 500_000, do: s.userBatch},
		{method: post, path: "/cgi-bin/user/info/updateremark", target: "wechat.user", perDay: 10_000, testDay: 100, do: s.updateRemark},
		{method: get, path: "/cgi-bin/user/get", target: "wechat.user", perDay: 500, testDay: 100, do: s.userList},
		{method: post, path: "/cgi-bin/media/upload", target: "wechat.media", perDay: 100_000, testDay: 500, do: s.uploadMedia},
		{method: get, path: "/cgi-bin/media/get", target: "wechat.media", perDay: 200_000, testDay: 1000, do: s.getMedia},
		{method: get, path: "/cgi-bin/media/get/jssdk", target: "wechat.media", perDay: 200_000, testDay: 1000, do: s.getMedia},
		{method: get, path: "/cgi-bin/ticket/getticket", target: "wechat.ticket", perDay: 1_000_000, testDay: 10_000, do: s.getTicket},
		{method: get, path: "/sns/oauth2/access_token", target: "wechat.oauth", open: true, do: s.oauthToken},
		{method: get, path: "/sns/oauth2/refresh_token", target: "wechat.oauth", open: true, do: s.oauthRefresh},
		{method: get, path: "/sns/userinfo", target: "wechat.oauth", open: true, do: s.oauthUser},
		{method: get, path: "/sns/auth", target: "wechat.oauth", open: true, do: s.oauthCheck},
		{method: post, path: "/cgi-bin/clear_quota", target: "wechat.quota", do: s.clearQuota},
		{method: post, path: "/cgi-bin/clear_quota/v2", target: "wechat.quota", open: true, do: s.clearQuotaBySecret},
		{method: post, path: "/cgi-bin/openapi/quota/get", target: "wechat.quota", do: s.getQuota},
		{method: post, path: "/cgi-bin/openapi/rid/get", target: "wechat.quota", do: s.getRID},
		{method: get, path: "/cgi-bin/getcallbackip", target: "wechat.ip", perDay: 100_000, testDay: 1000, do: s.callbackIPs},
		{method: get, path: "/cgi-bin/get_api_domain_ip", target: "wechat.ip", perDay: 100_000, testDay: 1000, do: s.callbackIPs},
	}
}

func toUser(c *call) simcore.Match {
	var v struct {
		ToUser string `json:"touser"`
	}
	_ = json.Unmarshal(c.body, &v) // a broken body is refused later, and matches nobody
	return simcore.Match{OpenID: v.ToUser}
}

func queryUser(c *call) simcore.Match { return simcore.Match{OpenID: c.query.Get("openid")} }

// Routes implements simcore.Module.
func (s *Sim) Routes(r chi.Router) {
	for _, e := range s.endpoints() {
		r.HandleFunc(host+e.path, s.serve(e))
	}
	r.HandleFunc(host+"/*", func(w http.ResponseWriter, r *http.Request) {
		s.core.Counters.Call("wechat.unknown", "40066")
		s.write(w, s.failure(nil, r, nil, errc(40066)))
	})
	r.Get("/mmbiz.qpic.cn/{app}/{id}", s.servePicture)
	r.Get("/mp.weixin.qq.com/cgi-bin/showqrcode", s.showCode)
	r.Get("/open.weixin.qq.com/connect/oauth2/authorize", s.authorize)
	s.control(r)
}

func (s *Sim) serve(e endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAPIBody))
		if err != nil {
			var tooBig *http.MaxBytesError
			if !errors.As(err, &tooBig) {
				return // the caller is gone
			}
			s.write(w, s.failure(nil, r, nil, errc(45001)))
			return
		}
		c := &call{path: e.path, query: r.URL.Query(), body: body, r: r}
		m := simcore.Match{}
		if e.match != nil {
			m = e.match(c)
		}
		s.core.Apply(w, r, e.target, m,
			func(code simcore.Code) simcore.Response {
				n := code.Int(-1)
				return s.failure(s.accountOfCall(c, e), r, body, errc(n))
			},
			func() simcore.Response { return s.answer(e, c) })
	}
}

// accountOfCall is whose error log a failed call belongs to; nil: nobody's.
func (s *Sim) accountOfCall(c *call, e endpoint) *account {
	if e.open {
		return nil
	}
	a, _, err := s.authenticate(c.query.Get("access_token"))
	if err != nil {
		return nil
	}
	return a
}

func (s *Sim) answer(e endpoint, c *call) simcore.Response {
	if e.method == http.MethodGet && c.r.Method != http.MethodGet {
		return s.failure(nil, c.r, c.body, errc(43001))
	}
	if e.method == http.MethodPost && c.r.Method != http.MethodPost {
		return s.failure(nil, c.r, c.body, errc(43002))
	}
	if !e.open {
		a, _, err := s.authenticate(c.query.Get("access_token"))
		if err != nil {
			return s.failure(nil, c.r, c.body, err)
		}
		c.acct = a
		if err := a.spendQuota(e, s.core.Now()); err != nil {
			return s.failure(a, c.r, c.body, err)
		}
	}
	v, err := e.do(c)
	if err != nil {
		return s.failure(c.acct, c.r, c.body, err)
	}
	if raw, ok := v.(simcore.Response); ok {
		return raw
	}
	p := simcore.JSON("ok", v)
	p.Type = jsonType
	return p
}

// failure is WeChat's error body; it remembers the rid for openapi/rid/get.
func (s *Sim) failure(a *account, r *http.Request, body []byte, err error) simcore.Response {
	var api *apiError
	if !errors.As(err, &api) {
		api = &apiError{code: -1, text: messages[-1]}
	}
	text := api.text
	if text == "" {
		text = "error"
	}
	rid := fmt.Sprintf("%08x-%08x-%08x", s.core.Now().Unix(), uint32(s.ids.Add(1)*2654435761), uint32(s.ids.Load()*40503))
	p := simcore.JSON(strconv.Itoa(api.code), map[string]any{"errcode": api.code, "errmsg": text + " rid: " + rid})
	p.Type = jsonType
	if a != nil {
		a.remember(rid, ridRecord{
			at: s.core.Now().Unix(), url: r.URL.Path, body: clip(body, ridBodyKept), answer: string(p.Body), ip: remoteIP(r),
		})
	}
	return p
}

func (s *Sim) write(w http.ResponseWriter, p simcore.Response) {
	w.Header().Set("Content-Type", p.Type)
	_, _ = w.Write(p.Body) // a caller who has gone is not our trouble
}

func clip(b []byte, n int) string { return string(b[:min(len(b), n)]) }

func remoteIP(r *http.Request) string {
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return ip
}

type ridRecord struct {
	at                    int64
	url, body, answer, ip string
}

func (a *account) remember(rid string, rec ridRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rids[rid] = rec
	a.ridOrder = append(a.ridOrder, rid)
	if len(a.ridOrder) > ridsKept {
		delete(a.rids, a.ridOrder[0])
		a.ridOrder = a.ridOrder[1:]
	}
}

func (s *Sim) getRID(c *call) (any, error) {
	var in struct {
		RID string `json:"rid"`
	}
	if err := c.json(&in); err != nil {
		return nil, err
	}
	c.acct.mu.Lock()
	rec, ok := c.acct.rids[in.RID]
	c.acct.mu.Unlock()
	if !ok {
		return nil, errf(76001, "rid not found")
	}
	return map[string]any{"errcode": 0, "errmsg": "ok", "request": map[string]any{
		"invoke_time": rec.at, "cost_in_ms": 1, "request_url": rec.url, "request_body": rec.body,
		"response_body": rec.answer, "client_ip": rec.ip,
	}}, nil
}

func (s *Sim) callbackIPs(*call) (any, error) {
	return map[string]any{"ip_list": []string{"127.0.0.1", "::1"}}, nil
}

func okBody() map[string]any { return map[string]any{"errcode": 0, "errmsg": "ok"} }

// quota is one path's counter of one day in China.
type quota struct {
	day    int
	used   int64
	limit  int64
	minute int64
	inMin  int64
}

type monthCount struct {
	month int
	n     int
}

func dayOf(t time.Time) int {
	t = t.In(china)
	return t.Year()*1000 + t.YearDay()
}

func (a *account) testAccount() bool { return a.cfg.Strictness == "test_account" }

func (a *account) limitOf(e endpoint) int64 {
	if n, ok := a.cfg.Quotas[e.path]; ok {
		return n
	}
	if a.testAccount() {
		return e.testDay
	}
	if e.path == "/cgi-bin/message/template/send" {
		// Raised with 100,000, a million and ten million followers.
		limit := e.perDay
		for step := 100_000; a.followers >= step && step <= 10_000_000; step *= 10 {
			limit *= 10
		}
		return limit
	}
	return e.perDay
}

func (a *account) spendQuota(e endpoint, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	limit := a.limitOf(e)
	if limit == 0 {
		return nil
	}
	q := a.quotas[e.path]
	if q == nil {
		q = &quota{}
		a.quotas[e.path] = q
	}
	if day := dayOf(now); q.day != day {
		q.day, q.used = day, 0
	}
	q.limit = limit
	if q.used >= limit {
		return errc(45009)
	}
	q.used++
	return nil
}

// spendMinute is the limit a minute of stable_token.
func (a *account) spendMinute(path string, limit int64, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.quotas[path]
	if q == nil {
		q = &quota{}
		a.quotas[path] = q
	}
	if m := now.Unix() / 60; q.minute != m {
		q.minute, q.inMin = m, 0
	}
	if q.inMin >= limit {
		return errc(45011)
	}
	q.inMin++
	return nil
}

func (s *Sim) getQuota(c *call) (any, error) {
	var in struct {
		Path string `json:"cgi_path"`
	}
	if err := c.json(&in); err != nil {
		return nil, err
	}
	for _, e := range s.endpoints() {
		if e.path != in.Path {
			continue
		}
		c.acct.mu.Lock()
		defer c.acct.mu.Unlock()
		limit, used := c.acct.limitOf(e), int64(0)
		if q := c.acct.quotas[e.path]; q != nil && q.day == dayOf(s.core.Now()) {
			used = q.used
		}
		return map[string]any{"errcode": 0, "errmsg": "ok", "quota": map[string]int64{
			"daily_limit": limit, "used": used, "remain": max(limit-used, 0),
		}}, nil
	}
	return nil, errc(76003)
}

const clearsAMonth = 10

func (s *Sim) clearQuota(c *call) (any, error) {
	var in struct {
		AppID string `json:"appid"`
	}
	if err := c.json(&in); err != nil {
		return nil, err
	}
	if in.AppID != c.acct.cfg.AppID {
		return nil, errc(40013)
	}
	return c.acct.clearQuotas(s.core.Now())
}

func (s *Sim) clearQuotaBySecret(c *call) (any, error) {
	in := struct {
		AppID     string `json:"appid"`
		AppSecret string `json:"appsecret"`
	}{c.query.Get("appid"), c.query.Get("appsecret")}
	if in.AppID == "" {
		if err := c.json(&in); err != nil {
			return nil, err
		}
	}
	a, err := s.bySecret(in.AppID, in.AppSecret)
	if err != nil {
		return nil, err
	}
	return a.clearQuotas(s.core.Now())
}

func (a *account) clearQuotas(now time.Time) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	local := now.In(china)
	month := local.Year()*100 + int(local.Month())
	if a.clears.month != month {
		a.clears = monthCount{month: month}
	}
	if a.clears.n >= clearsAMonth {
		return nil, errc(48006)
	}
	a.clears.n++
	a.quotas = map[string]*quota{}
	return okBody(), nil
}
