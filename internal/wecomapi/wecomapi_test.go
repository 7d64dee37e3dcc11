package wecomapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret   = "corp-secret-xyz"
	hookKey  = "693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa"
	theWords = "电梯困人了，住户电话 13800000001"
)

var corp = Corp{CorpID: "ww1", Secret: secret, AgentID: 1000002}

// qyapi is a small vendor: it hands out tokens and answers as it is told.
type qyapi struct {
	server *httptest.Server

	mu     sync.Mutex
	tokens int            // how many were fetched
	valid  string         // the one that is good
	calls  map[string]int // by path
	bodies []string
	query  url.Values
	answer func(path string) (status int, body string)
}

func newQYAPI(t *testing.T) *qyapi {
	t.Helper()
	v := &qyapi{calls: map[string]int{}}
	v.server = httptest.NewServer(http.HandlerFunc(v.serve))
	t.Cleanup(v.server.Close)
	return v
}

func (v *qyapi) serve(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	v.mu.Lock()
	defer v.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/prefix")
	v.calls[path]++
	v.bodies = append(v.bodies, string(raw))
	v.query = r.URL.Query()
	if v.answer != nil {
		if status, body := v.answer(path); status != 0 {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return
		}
	}
	switch {
	case path == "/cgi-bin/gettoken" && r.URL.Query().Get("corpsecret") != secret:
		_, _ = io.WriteString(w, `{"errcode":40001,"errmsg":"invalid credential `+r.URL.Query().Get("corpsecret")+`"}`)
	case path == "/cgi-bin/gettoken":
		v.tokens++
		v.valid = fmt.Sprint("token-number-", v.tokens)
		_, _ = io.WriteString(w, `{"errcode":0,"errmsg":"ok","access_token":"`+v.valid+`","expires_in":7200}`)
	case path == "/cgi-bin/webhook/send":
		_, _ = io.WriteString(w, `{"errcode":0,"errmsg":"ok"}`)
	case r.URL.Query().Get("access_token") != v.valid:
		_, _ = io.WriteString(w, `{"errcode":40014,"errmsg":"invalid access_token"}`)
	case path == "/cgi-bin/auth/getuserinfo":
		_, _ = io.WriteString(w, `{"errcode":0,"userid":"zhang"}`)
	case path == "/cgi-bin/batch/openuserid_to_userid":
		_, _ = io.WriteString(w, `{"errcode":0,"userid_list":[{"open_userid":"woA","userid":"zhang"},{"open_userid":"nobody asked","userid":"x"}],"invalid_open_userid_list":["li"]}`)
	default:
		_, _ = io.WriteString(w, `{"errcode":0,"msgid":"m1"}`)
	}
}

func newClient(t *testing.T, v *qyapi, rdb redis.UniversalClient) (*Client, *telemetrytest.Log) {
	t.Helper()
	log := telemetrytest.Capture(t)
	c, err := New(Options{QYAPI: v.server.URL + "/prefix/", Redis: rdb, Logger: log.Logger, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, log
}

func TestBaseAddresses(t *testing.T) {
	t.Parallel()
	c, err := New(Options{})
	if err != nil || c.qyapi != DefaultQYAPI || c.SocketURL() != DefaultSocket {
		t.Errorf("%+v, %v", c, err)
	}
	for _, o := range []Options{
		{QYAPI: "qyapi.weixin.qq.com"}, {QYAPI: "ftp://x"}, {QYAPI: "https://u:p@x"}, {QYAPI: "https://x?y=1"}, {Socket: "https://x"}, {QYAPI: "http://%"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	v := newQYAPI(t)
	c, _ := newClient(t, v, nil)
	if err := c.SendWebhookText(t.Context(), hookKey, WebhookText{Content: "a<b", Mentions: []string{"zhang"}}); err != nil {
		t.Fatal(err)
	}
	var body struct {
		MsgType string `json:"msgtype"`
		Text    struct {
			Content   string   `json:"content"`
			Mentioned []string `json:"mentioned_list"`
		} `json:"text"`
	}
	if err := json.Unmarshal([]byte(v.bodies[0]), &body); err != nil {
		t.Fatal(err)
	}
	if body.MsgType != "text" || body.Text.Content != "a<b" || body.Text.Mentioned[0] != "zhang" || v.query.Get("key") != hookKey || !strings.Contains(v.bodies[0], "a<b") {
		t.Errorf("sent %s with %v", v.bodies[0], v.query)
	}
	if err := c.SendWebhookMarkdown(t.Context(), hookKey, "**x**"); err != nil || !strings.Contains(v.bodies[1], `"markdown"`) {
		t.Errorf("%v, %s", err, v.bodies[1])
	}
	for _, err := range []error{
		c.SendWebhookText(t.Context(), hookKey, WebhookText{Content: strings.Repeat("长", 700)}),
		c.SendWebhookMarkdown(t.Context(), hookKey, strings.Repeat("长", 1400)),
	} {
		if !errors.Is(err, ErrTooLong) || ClassOf(err) != ClassPermanent {
			t.Errorf("too long: %v", err)
		}
	}
	if v.calls["/cgi-bin/webhook/send"] != 2 {
		t.Error("a text that is too long was sent")
	}
}

// TestAnswers: HTTP 200 means nothing before errcode is read.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   Class
	}{
		{"ok", 200, `{"errcode":0}`, ClassNone},
		{"error code in a 200", 200, `{"errcode":93000,"errmsg":"invalid webhook url ` + hookKey + `"}`, ClassUnreachable},
		{"too fast", 200, `{"errcode":45009}`, ClassThrottled},
		{"busy", 200, `{"errcode":-1}`, ClassRetry},
		{"unknown code", 200, `{"errcode":1234567}`, ClassRetry},
		{"bad parameter", 200, `{"errcode":40058}`, ClassPermanent},
		{"untrusted address", 200, `{"errcode":60020}`, ClassStop},
		{"success in a 500", 500, `{"errcode":0}`, ClassNone},
		{"empty", 200, ``, ClassAmbiguous},
		{"html", 200, `<html>` + hookKey + `</html>`, ClassAmbiguous},
		{"json without errcode", 200, `{}`, ClassAmbiguous},
		{"errcode of another type", 200, `{"errcode":"0"}`, ClassAmbiguous},
		{"array", 200, `[]`, ClassAmbiguous},
		{"html 502", 502, `<html>`, ClassAmbiguous},
		{"html 404", 404, `<html>`, ClassRetry},
		{"redirect", 302, ``, ClassAmbiguous},
		{"endless", 200, strings.Repeat(" ", maxAnswer+10), ClassAmbiguous},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := newQYAPI(t)
			v.answer = func(string) (int, string) { return tc.status, tc.body }
			c, log := newClient(t, v, nil)
			err := c.SendWebhookText(t.Context(), hookKey, WebhookText{Content: theWords})
			if ClassOf(err) != tc.want {
				t.Errorf("class %q of %v, want %q", ClassOf(err), err, tc.want)
			}
			noLeak(t, log, err)
		})
	}
}

func noLeak(t *testing.T, log *telemetrytest.Log, err error) {
	t.Helper()
	log.NoLeak(t, secret, hookKey, theWords, "token-number")
	if err != nil {
		telemetrytest.NoLeak(t, err.Error()+fmt.Sprintf("%+v", err), secret, hookKey, theWords, "token-number", "127.0.0.1")
	}
}

func TestNoConnectionIsProvablyNotAccepted(t *testing.T) {
	t.Parallel()
	v := newQYAPI(t)
	c, log := newClient(t, v, nil)
	v.server.Close()
	err := c.SendWebhookText(t.Context(), hookKey, WebhookText{Content: theWords})
	if ClassOf(err) != ClassRetry || !errors.Is(err, ErrNoConnection) {
		t.Errorf("%v", err)
	}
	noLeak(t, log, err)
}

func TestNoAnswerIsAmbiguous(t *testing.T) {
	t.Parallel()
	got := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(got)
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	log := telemetrytest.Capture(t)
	c, err := New(Options{QYAPI: server.URL, Logger: log.Logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-got
		cancel()
	}()
	err = c.SendWebhookText(ctx, hookKey, WebhookText{Content: theWords})
	if ClassOf(err) != ClassAmbiguous || !errors.Is(err, ErrNoAnswer) {
		t.Errorf("%v", err)
	}
	noLeak(t, log, err)
}

func TestRefusedInsideATransaction(t *testing.T) {
	t.Parallel()
	v := newQYAPI(t)
	c, _ := newClient(t, v, nil)
	d := dbtest.SQLite(t)
	err := d.InTx(t.Context(), "test", func(ctx context.Context, _ *db.Tx) error {
		return c.SendWebhookText(ctx, hookKey, WebhookText{Content: "x"})
	})
	if !errors.Is(err, ErrInTransaction) || v.calls["/cgi-bin/webhook/send"] != 0 {
		t.Errorf("%v", err)
	}
}

func TestAppText(t *testing.T) {
	t.Parallel()
	v := newQYAPI(t)
	c, log := newClient(t, v, nil)
	got, err := c.SendAppText(t.Context(), corp, AppText{To: []string{"zhang", "li"}, Content: "x", DedupeSeconds: 600})
	if err != nil || got.MsgID != "m1" {
		t.Fatalf("%+v, %v", got, err)
	}
	if body := v.bodies[len(v.bodies)-1]; !strings.Contains(body, `"touser":"zhang|li"`) || !strings.Contains(body, `"agentid":1000002`) {
		t.Errorf("sent %s", body)
	}
	v.answer = func(path string) (int, string) {
		if path == "/cgi-bin/message/send" {
			return 200, `{"errcode":0,"invaliduser":"zhang"}`
		}
		return 0, ""
	}
	if got, err := c.SendAppText(t.Context(), corp, AppText{To: []string{"zhang", "li"}, Content: "x"}); err != nil || len(got.Invalid) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.SendAppText(t.Context(), corp, AppText{To: []string{"zhang"}, Content: "x"}); ClassOf(err) != ClassUnreachable {
		t.Errorf("nobody reached: %v", err)
	}
	if v.tokens != 1 {
		t.Errorf("%d tokens fetched", v.tokens)
	}
	noLeak(t, log, nil)
}

func TestStaleTokenIsFetchedAgainOnce(t *testing.T) {
	t.Parallel()
	v := newQYAPI(t)
	c, log := newClient(t, v, nil)
	if _, err := c.SendAppText(t.Context(), corp, AppText{To: []string{"zhang"}, Content: "x"}); err != nil {
		t.Fatal(err)
	}
	v.mu.Lock()
	v.valid = "revoked"
	v.mu.Unlock()
	if _, err := c.SendAppText(t.Context(), corp, AppText{To: []string{"zhang"}, Content: "x"}); err != nil {
		t.Fatal(err)
	}
	if v.tokens != 2 {
		t.Errorf("%d tokens fetched", v.tokens)
	}
	// A vendor that refuses every token isn't asked for ever.
	v.answer = func(path string) (int, string) {
		if path == "/cgi-bin/message/send" {
			return 200, `{"errcode":42001}`
		}
		return 0, ""
	}
	_, err := c.SendAppText(t.Context(), corp, AppText{To: []string{"zhang"}, Content: "x"})
	if ClassOf(err) != ClassToken || v.tokens != 3 {
		t.Errorf("%v after %d tokens", err, v.tokens)
	}
	noLeak(t, log, err)
}

func TestWrongSecretStops(t *testing.T) {
	t.Parallel()
	v := newQYAPI(t)
	c, log := newClient(t, v, nil)
	_, err := c.SendAppText(t.Context(), Corp{CorpID: "ww1", Secret: "another-secret"}, AppText{To: []string{"zhang"}, Content: "x"})
	if ClassOf(err) != ClassStop || CodeOf(err) != 40001 {
		t.Errorf("%v", err)
	}
	noLeak(t, log, err)
	telemetrytest.NoLeak(t, err.Error(), "another-secret")
}

// TestTokenIsShared: many callers on two nodes fetch one token; a revoked one
// is replaced once for all.
func TestTokenIsShared(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		v := newQYAPI(t)
		one, _ := newClient(t, v, rdb)
		two, _ := newClient(t, v, rdb)
		all := func() {
			t.Helper()
			var wg sync.WaitGroup
			for _, c := range []*Client{one, two, one, two, one, two} {
				wg.Go(func() {
					if _, err := c.SendAppText(context.Background(), corp, AppText{To: []string{"zhang"}, Content: "x"}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		all()
		if v.tokens != 1 {
			t.Errorf("%d tokens fetched", v.tokens)
		}
		v.mu.Lock()
		v.valid = "revoked"
		v.mu.Unlock()
		all()
		if v.tokens != 2 {
			t.Errorf("%d tokens fetched after one was revoked", v.tokens)
		}
		if err := rdb.FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		all()
		if v.tokens != 2 {
			t.Errorf("%d tokens fetched after Redis was emptied", v.tokens)
		}
	})
}

func TestTokenWithoutRedis(t *testing.T) {
	t.Parallel()
	v := newQYAPI(t)
	gone := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:1"}, MaxRetries: -1, DialTimeout: 100 * time.Millisecond})
	t.Cleanup(func() { _ = gone.Close() })
	c, _ := newClient(t, v, gone)
	if _, err := c.SendAppText(t.Context(), corp, AppText{To: []string{"zhang"}, Content: "x"}); err != nil {
		t.Error(err)
	}
}

// TestKeysOfOneScriptShareASlot keeps the scripts usable on a Redis Cluster.
func TestKeysOfOneScriptShareASlot(t *testing.T) {
	t.Parallel()
	tok := newTokens(&Client{}, nil)
	key := tok.key(corp)
	if !strings.Contains(key, "{") || strings.Contains(key, secret) || key == tok.key(Corp{CorpID: "ww1", Secret: "other"}) {
		t.Errorf("key %s", key)
	}
	if !strings.Contains(leaseKey("bot"), "{lease:bot}") {
		t.Error(leaseKey("bot"))
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	v := newQYAPI(t)
	c, log := newClient(t, v, nil)
	if id, err := c.UserByCode(t.Context(), corp, "code-1"); err != nil || id != "zhang" {
		t.Errorf("%q, %v", id, err)
	}
	got, err := c.UserIDs(t.Context(), corp, []string{"woA", "li"})
	if err != nil || len(got) != 2 || got["woA"] != "zhang" || got["li"] != "li" {
		t.Errorf("%v, %v", got, err)
	}
	v.answer = func(path string) (int, string) {
		if path == "/cgi-bin/auth/getuserinfo" {
			return 200, `{"errcode":0,"openid":"oStranger"}`
		}
		return 0, ""
	}
	if _, err := c.UserByCode(t.Context(), corp, "code-2"); !errors.Is(err, ErrNotMember) {
		t.Errorf("%v", err)
	}
	for _, address := range []string{c.AuthorizeURL(corp, "https://x/y?z=1", "state-1"), c.LoginURL(corp, "https://x/y?z=1", "state-1")} {
		u, err := url.Parse(address)
		if err != nil || u.Query().Get("state") != "state-1" || u.Query().Get("redirect_uri") != "https://x/y?z=1" || u.Query().Get("agentid") != "1000002" || strings.Contains(address, secret) {
			t.Errorf("%s, %v", address, err)
		}
	}
	noLeak(t, log, err)
}

func TestClassifyIsTotal(t *testing.T) {
	t.Parallel()
	if Classify(0) != ClassNone || Classify(424242) != ClassRetry || Classify(846609) != ClassReconnect {
		t.Error("classes changed")
	}
	if ClassOf(errors.New("foreign")) != ClassAmbiguous {
		t.Error("an unknown failure may have been accepted")
	}
	if NewError("x", 0) != nil {
		t.Error("0 is no error")
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	v := newQYAPI(t)
	c, _ := newClient(t, v, nil)
	if err := c.CheckToken(t.Context(), corp); err != nil {
		t.Error(err)
	}
	err := c.CheckToken(t.Context(), Corp{CorpID: "ww1", Secret: "another-secret"})
	if ClassOf(err) != ClassStop {
		t.Errorf("%v", err)
	}
	telemetrytest.NoLeak(t, err.Error(), "another-secret")

	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		if _, raw, err := conn.Read(r.Context()); err == nil {
			t.Errorf("the check said %s", raw)
		}
	}))
	t.Cleanup(open.Close)
	for address, works := range map[string]bool{open.URL: true, v.server.URL: false} {
		c, err := New(Options{Socket: "ws" + strings.TrimPrefix(address, "http")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		if err := c.CheckSocket(t.Context()); (err == nil) != works {
			t.Errorf("works %v: %v", works, err)
		}
	}
}
