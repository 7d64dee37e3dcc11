package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type client struct {
	t    *testing.T
	base string
	http *http.Client
}

func start(t *testing.T, o sandbox.Options) (*client, *sandbox.Server) {
	t.Helper()
	s := sandbox.New(o)
	addr, err := s.Start(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		h.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return &client{t, "http://" + addr, h}, s
}

func (c *client) do(method, path string, in any) (int, map[string]any) {
	c.t.Helper()
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			c.t.Fatal(err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	out := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		c.t.Fatalf("%s %s: %d: %v", method, path, resp.StatusCode, err)
	}
	return resp.StatusCode, out
}

func (c *client) ok(method, path string, in any) map[string]any {
	c.t.Helper()
	status, out := c.do(method, path, in)
	if status != http.StatusOK {
		c.t.Fatalf("%s %s: %d %v", method, path, status, out)
	}
	return out
}

func world(callback string) map[string]any {
	return map[string]any{
		"accounts": []any{map[string]any{
			"app_id": "wx1", "secret": "s", "token": "tok", "mode": "plain", "original_id": "gh_1", "templates": []any{"TM1"},
			"callback_urls": []string{callback},
		}},
		"bots":      []any{map[string]any{"bot_id": "b1", "secret": "s", "name": "管家"}},
		"corps":     []any{},
		"webhooks":  []any{map[string]any{"key": "k1", "chatid": "wr1"}},
		"sms":       []any{map[string]any{"access_key_id": "ak", "secret": "s", "signs": []any{"物业"}, "templates": []any{}, "report_urls": []any{}, "up_urls": []any{}}},
		"residents": []any{map[string]any{"openid": "oA", "nickname": "甲", "following": true, "phone": "13800000001", "bound_to": []string{"3-2-1201"}}},
		"groups":    []any{map[string]any{"chatid": "wr1", "name": "工程群", "members": []string{"zhang"}, "spoken": true}},
		"staff":     []any{map[string]any{"userid": "zhang", "name": "张三"}},
	}
}

// echo is a callback server that answers in plain mode.
func echo(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "MsgType><![CDATA[event") {
			_, _ = io.WriteString(w, "success")
			return
		}
		_, _ = io.WriteString(w, "<xml><ToUserName>"+r.URL.Query().Get("openid")+"</ToUserName><FromUserName>gh_1</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>您好</Content></xml>")
	}))
	t.Cleanup(s.Close)
	return s.URL + "/wechat/demo"
}

func TestWorldActionsCounters(t *testing.T) {
	t.Parallel()
	c, _ := start(t, sandbox.Options{})
	c.ok(http.MethodPut, "/sim/world", world(echo(t)))
	if people := c.ok(http.MethodGet, "/sim/residents", nil)["residents"].([]any); len(people) != 1 || people[0].(map[string]any)["bound_to"].([]any)[0] != "3-2-1201" {
		t.Fatalf("residents %v", people)
	}
	id := c.ok(http.MethodPost, "/sim/residents", map[string]any{"nickname": "乙"})["openid"].(string)
	if len(id) != 28 || id[0] != 'o' {
		t.Errorf("openid %q", id)
	}
	c.ok(http.MethodPost, "/sim/residents/"+id+"/follow", nil)
	out := c.ok(http.MethodPost, "/sim/residents/"+id+"/messages", map[string]any{"type": "text", "text": "在吗"})
	first := out["attempts"].([]any)[0].(map[string]any)
	if first["status"] != float64(200) || first["reply"].(map[string]any)["text"] != "您好" || out["msg_id"] == "" {
		t.Errorf("delivered %v", out)
	}
	chat := c.ok(http.MethodGet, "/sim/residents/"+id+"/chat?after=1", nil)
	if items := chat["items"].([]any); len(items) != 2 || chat["last_seq"] != float64(3) {
		t.Errorf("chat %v", chat)
	}
	calls := c.ok(http.MethodGet, "/sim/counters", nil)["calls"].([]any)
	if len(calls) != 1 || calls[0].(map[string]any)["n"] != float64(2) {
		t.Errorf("calls %v", calls)
	}
	got := c.ok(http.MethodGet, "/sim/world", nil)
	if n := len(got["residents"].([]any)); n != 2 || len(got["groups"].([]any)) != 1 || len(got["sms"].([]any)) != 1 {
		t.Errorf("world %v", got)
	}
	c.ok(http.MethodPost, "/sim/reset", nil)
	if n := len(c.ok(http.MethodGet, "/sim/residents", nil)["residents"].([]any)); n != 1 {
		t.Errorf("%d residents after reset", n)
	}
	c.ok(http.MethodPost, "/sim/reset?empty=1", nil)
	if got := c.ok(http.MethodGet, "/sim/world", nil); len(got["residents"].([]any)) != 0 || len(got["accounts"].([]any)) != 0 {
		t.Errorf("emptied world %v", got)
	}
}

func TestBadWorldLeavesTheOldOne(t *testing.T) {
	t.Parallel()
	c, _ := start(t, sandbox.Options{})
	c.ok(http.MethodPut, "/sim/world", world(echo(t)))
	bad := world("http://127.0.0.1:1/")
	bad["residents"] = []any{map[string]any{"openid": "oNew", "nickname": "x"}}
	bad["sms"] = []any{map[string]any{"access_key_id": ""}}
	status, out := c.do(http.MethodPut, "/sim/world", bad)
	if status != http.StatusBadRequest || out["error"].(map[string]any)["field"] != "sms[0].access_key_id" {
		t.Fatalf("%d %v", status, out)
	}
	people := c.ok(http.MethodGet, "/sim/residents", nil)["residents"].([]any)
	if len(people) != 1 || people[0].(map[string]any)["openid"] != "oA" {
		t.Errorf("residents %v", people)
	}
}

func TestFaultsCall(t *testing.T) {
	t.Parallel()
	c, _ := start(t, sandbox.Options{})
	c.ok(http.MethodPut, "/sim/faults", []any{map[string]any{"target": "sms.send", "kind": "errcode", "code": "isv.DAY_LIMIT_CONTROL", "times": 2}})
	if list := c.ok(http.MethodGet, "/sim/faults", nil)["faults"].([]any); len(list) != 1 || list[0].(map[string]any)["struck"] != float64(0) {
		t.Errorf("faults %v", list)
	}
	if status, out := c.do(http.MethodPut, "/sim/faults", []any{map[string]any{"target": "sms.send", "kind": "bite"}}); status != http.StatusBadRequest || out["error"].(map[string]any)["field"] != "[0].kind" {
		t.Errorf("%d %v", status, out)
	}
	if list := c.ok(http.MethodDelete, "/sim/faults", nil)["faults"].([]any); len(list) != 0 {
		t.Errorf("faults %v", list)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	alone, _ := start(t, sandbox.Options{})
	if status, out := alone.do(http.MethodPost, "/sim/clock", map[string]any{"advance_s": 1}); status != http.StatusConflict {
		t.Errorf("alone: %d %v", status, out)
	}
	begin := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	clk := clock.NewAdjustable(begin)
	demo, s := start(t, sandbox.Options{Clock: clk, Advance: clk.Advance})
	clk.OnAdvance("sandbox", s.OnAdvance)
	if status, _ := demo.do(http.MethodPost, "/sim/clock", map[string]any{"advance_s": -1}); status != http.StatusBadRequest {
		t.Errorf("backwards: %d", status)
	}
	demo.ok(http.MethodPost, "/sim/clock", map[string]any{"advance_s": 86400})
	now, err := time.Parse(time.RFC3339Nano, demo.ok(http.MethodGet, "/sim/clock", nil)["now"].(string))
	if err != nil || now.Before(begin.Add(24*time.Hour)) {
		t.Errorf("now %v %v", now, err)
	}
}

func TestPageAndUnknownPaths(t *testing.T) {
	t.Parallel()
	c, _ := start(t, sandbox.Options{})
	resp, err := c.http.Get(c.base + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("page: %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	if status, out := c.do(http.MethodGet, "/api.weixin.qq.com/cgi-bin/none", nil); out["errcode"] != float64(40066) {
		t.Errorf("%d %v", status, out)
	}
}

func TestTakenAddress(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := sandbox.New(sandbox.Options{})
	if _, err := s.Start(t.Context(), ln.Addr().String()); err == nil {
		t.Error("started on an address in use")
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
