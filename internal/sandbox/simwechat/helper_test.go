package simwechat

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/sandbox/simcore"
	"guanjia/internal/sandbox/wxcrypt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testAppID  = "wx1234567890abcdef"
	testSecret = "secret-of-the-account"
	testToken  = "callbacktoken"
	testKey    = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	testGH     = "gh_0123456789ab"
	follower   = "oFollower00000000000000000_1"
	stranger   = "oStranger00000000000000000_2"
	tmplCase   = "TM_case_progress_0000000000000000000000000_"
	tmplSub    = "TM_subscription_00000000000000000000000000_"
)

// bench is a simulator with a callback server of the product's kind.
type bench struct {
	t      *testing.T
	sim    *Sim
	core   *simcore.Core
	clk    *clock.Manual
	url    string
	client *http.Client
	back   *callback
}

// callback is the account's server: it keeps what arrives and answers by f.
type callback struct {
	mu     sync.Mutex
	got    []received
	answer func(r received) (status int, body string)
}

type received struct {
	query   map[string]string
	raw     string
	msg     message
	sealed  bool
	refused string
}

type message struct {
	XMLName      xml.Name `xml:"xml"`
	ToUserName   string
	FromUserName string
	CreateTime   int64
	MsgType      string
	Content      string
	MsgId        int64
	Event        string
	EventKey     string
	Ticket       string
	MsgID        int64
	Status       string
	BizMenuID    string `xml:"bizmsgmenuid"`
	PicUrl       string
	MediaId      string
	Recognition  *string
	Encrypt      string
	Label        string
}

func (c *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	q := r.URL.Query()
	got := received{query: map[string]string{}, raw: string(body), sealed: q.Get("encrypt_type") == "aes"}
	for k := range q {
		got.query[k] = q.Get(k)
	}
	got.refused = c.open(&got, body)
	c.mu.Lock()
	c.got = append(c.got, got)
	answer := c.answer
	c.mu.Unlock()
	if got.refused != "" {
		http.Error(w, got.refused, http.StatusForbidden)
		return
	}
	status, out := http.StatusOK, "success"
	if answer != nil {
		status, out = answer(got)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, out)
}

func (c *callback) open(got *received, body []byte) string {
	if wxcrypt.Signature(testToken, got.query["timestamp"], got.query["nonce"]) != got.query["signature"] {
		return "signature"
	}
	var outer message
	if err := xml.Unmarshal(body, &outer); err != nil {
		return "xml"
	}
	if got.sealed {
		if wxcrypt.Signature(testToken, got.query["timestamp"], got.query["nonce"], outer.Encrypt) != got.query["msg_signature"] {
			return "msg_signature"
		}
		k, _ := wxcrypt.ParseKey(testKey)
		inner, id, err := k.Decrypt(outer.Encrypt)
		if err != nil {
			return "decrypt"
		}
		if id != testAppID {
			return "appid"
		}
		outer = message{}
		if err := xml.Unmarshal(inner, &outer); err != nil {
			return "inner xml"
		}
	}
	got.msg = outer
	return ""
}

func (c *callback) all() []received {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]received(nil), c.got...)
}

func (c *callback) replyWith(f func(received) (int, string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = f
}

// textReply seals a passive text reply as the product does.
func textReply(t *testing.T, r received, text string) string {
	t.Helper()
	inner := fmt.Sprintf("<xml><ToUserName><![CDATA[%s]]></ToUserName><FromUserName><![CDATA[%s]]></FromUserName><CreateTime>1700000000</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[%s]]></Content></xml>",
		r.msg.FromUserName, r.msg.ToUserName, text)
	if !r.sealed {
		return inner
	}
	return seal(t, inner, testAppID, testToken)
}

func seal(t *testing.T, inner, appID, token string) string {
	t.Helper()
	k, err := wxcrypt.ParseKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	e, err := k.Encrypt([]byte(inner), appID)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("<xml><Encrypt><![CDATA[%s]]></Encrypt><MsgSignature><![CDATA[%s]]></MsgSignature><TimeStamp>1700000000</TimeStamp><Nonce><![CDATA[n]]></Nonce></xml>",
		e, wxcrypt.Signature(token, "1700000000", "n", e))
}

func newBench(t *testing.T, change func(*simcore.World)) *bench {
	t.Helper()
	back := &callback{}
	backServer := httptest.NewServer(back)
	clk := clock.NewManual(time.Date(2026, 11, 25, 1, 0, 0, 0, time.UTC))
	core := simcore.New(clk, nil)
	sim := New(core)
	w := simcore.World{
		Accounts: []simcore.Account{{
			AppID: testAppID, Secret: testSecret, Token: testToken, EncodingAESKey: testKey, Mode: modeEncrypted, OriginalID: testGH,
			CallbackURLs: []string{backServer.URL + "/wechat/demo"},
			Templates: []simcore.WeChatTemplate{
				{TemplateID: tmplCase, Title: "进度", Content: "事项：{{thing2.DATA}}\n时间：{{time3.DATA}}\n单号：{{character_string1.DATA}}"},
				{TemplateID: tmplSub, Kind: "subscribe", Content: "{{thing1.DATA}}"},
			},
		}},
		Residents: []simcore.Resident{
			{OpenID: follower, Nickname: "甲", Following: true, Phone: "13800000001", BoundTo: []string{"3-2-1201"}},
			{OpenID: stranger, Nickname: "乙"},
		},
	}
	if change != nil {
		change(&w)
	}
	if err := sim.LoadWorld(w); err != nil {
		t.Fatalf("load world: %v", err)
	}
	r := chi.NewRouter()
	sim.Routes(r)
	server := httptest.NewServer(r)
	b := &bench{t: t, sim: sim, core: core, clk: clk, url: server.URL, client: server.Client(), back: back}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := core.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		server.Close()
		backServer.Close()
	})
	return b
}

func (b *bench) do(method, path string, in any) (int, map[string]any) {
	b.t.Helper()
	var body io.Reader
	switch v := in.(type) {
	case nil:
	case string:
		body = strings.NewReader(v)
	default:
		raw, err := json.Marshal(in)
		if err != nil {
			b.t.Fatal(err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return 0, map[string]any{"error": err.Error()}
	}
	defer resp.Body.Close()
	out := map[string]any{}
	d := json.NewDecoder(resp.Body)
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		out["undecodable"] = err.Error()
	}
	return resp.StatusCode, out
}

// api calls WeChat and answers the errcode (0: none) and the body.
func (b *bench) api(path string, in any) (int64, map[string]any) {
	b.t.Helper()
	method := http.MethodPost
	if in == nil {
		method = http.MethodGet
	}
	glue := "?"
	if strings.Contains(path, "?") {
		glue = "&"
	}
	return b.raw(method, path+glue+"access_token="+b.token(), in)
}

func (b *bench) raw(method, path string, in any) (int64, map[string]any) {
	b.t.Helper()
	_, out := b.do(method, host+path, in)
	n, _ := out["errcode"].(json.Number)
	code, _ := n.Int64()
	return code, out
}

func (b *bench) token() string {
	b.t.Helper()
	_, out := b.raw(http.MethodPost, "/cgi-bin/stable_token", map[string]any{"grant_type": "client_credential", "appid": testAppID, "secret": testSecret})
	s, ok := out["access_token"].(string)
	if !ok {
		b.t.Fatalf("no token: %v", out)
	}
	return s
}

func (b *bench) wantCode(want int64, path string, in any) map[string]any {
	b.t.Helper()
	code, out := b.api(path, in)
	if code != want {
		b.t.Fatalf("%s: errcode %d, want %d: %v", path, code, want, out)
	}
	return out
}

// act is a resident's action; it fails the test when refused.
func (b *bench) act(openID, what string, in any) Delivery {
	b.t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Post(b.url+"/sim/residents/"+openID+"/"+what, "application/json", bytes.NewReader(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %d %s", what, resp.StatusCode, body)
	}
	var d Delivery
	if err := json.Unmarshal(body, &d); err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bench) chat(openID string) []ChatItem {
	b.t.Helper()
	items, _ := b.sim.user(openID).chat.After(0)
	return items
}

// advance moves the clock and lets everything due happen.
func (b *bench) advance(d time.Duration) {
	b.t.Helper()
	b.clk.Advance(d)
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	if err := b.core.Timers.Settle(ctx); err != nil {
		b.t.Fatalf("settle: %v", err)
	}
}

func (b *bench) fault(list ...simcore.Fault) {
	b.t.Helper()
	if err := b.core.Faults.Set(list); err != nil {
		b.t.Fatal(err)
	}
}

func text(s string) map[string]any { return map[string]any{"type": "text", "text": s} }

func service(openID, s string) map[string]any {
	return map[string]any{"touser": openID, "msgtype": "text", "text": map[string]string{"content": s}}
}
