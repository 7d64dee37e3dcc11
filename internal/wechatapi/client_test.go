package wechatapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/silenceper/wechat/v2/officialaccount/menu"
	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/telemetry/telemetrytest"
	"guanjia/internal/wechatapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "s3cr3tOfTheAccount0123456789abcd"
	openID = "oAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

var account = wechatapi.Account{ID: "acc", AppID: "wx0000000000000001", Secret: secret}

// platform answers like api.weixin.qq.com: tokens of its own, then what the
// test says.
type platform struct {
	*httptest.Server
	mu      sync.Mutex
	tokens  int      // given out
	good    string   // the token that is valid
	seen    []string // "METHOD /path"
	bodies  []string
	answer  http.HandlerFunc
	onToken http.HandlerFunc
}

func newPlatform(t *testing.T, answer http.HandlerFunc) *platform {
	t.Helper()
	p := &platform{answer: answer}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/api.weixin.qq.com")
	if !ok {
		http.Error(w, "not rewritten", http.StatusTeapot)
		return
	}
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.seen = append(p.seen, r.Method+" "+path)
	if path == "/cgi-bin/stable_token" {
		defer p.mu.Unlock()
		if p.onToken != nil {
			p.onToken(w, r)
			return
		}
		p.tokens++
		p.good = fmt.Sprintf("81_token%d", p.tokens)
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":7200}`, p.good)
		return
	}
	p.bodies = append(p.bodies, string(body))
	good := p.good
	p.mu.Unlock()
	if !strings.HasPrefix(path, "/sns/") && r.URL.Query().Get("access_token") != good {
		fmt.Fprint(w, `{"errcode":40001,"errmsg":"invalid credential rid: 65eac940-1a79c8dc-1be683b5"}`)
		return
	}
	p.answer(w, r)
}

func (p *platform) count(call string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, s := range p.seen {
		if s == call {
			n++
		}
	}
	return n
}

func (p *platform) lastBody() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bodies[len(p.bodies)-1]
}

func (p *platform) killToken() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good = "81_another"
}

func newClient(t *testing.T, p *platform, clk clock.Clock, rdb redis.UniversalClient) *wechatapi.Client {
	t.Helper()
	c, err := wechatapi.New(wechatapi.Options{
		Bases: map[string]string{
			wechatapi.HostAPI:  p.URL + "/api.weixin.qq.com",
			wechatapi.HostMP:   p.URL + "/mp.weixin.qq.com",
			wechatapi.HostOpen: p.URL + "/open.weixin.qq.com",
		},
		Redis: rdb, Clock: clk, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func ok(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"errcode":0,"errmsg":"ok"}`) }

func TestCalls(t *testing.T) {
	t.Parallel()
	reply := ""
	p := newPlatform(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, reply) })
	c := newClient(t, p, clock.System(), nil)
	ctx := t.Context()

	reply = `{"errcode":0,"errmsg":"ok"}`
	if err := c.SendText(ctx, account, openID, "<b>&您好"); err != nil {
		t.Fatal(err)
	}
	wantJSON(t, p.lastBody(), `{"touser":"`+openID+`","msgtype":"text","text":{"content":"<b>&您好"}}`)
	if !strings.Contains(p.lastBody(), "<b>&") {
		t.Error("the platform shows escapes literally; they must not be sent")
	}

	err := c.SendMenu(ctx, account, openID, "满意吗", []wechatapi.Choice{{ID: "101", Text: "满意"}}, "谢谢")
	if err != nil {
		t.Fatal(err)
	}
	wantJSON(t, p.lastBody(), `{"touser":"`+openID+`","msgtype":"msgmenu","msgmenu":{"head_content":"满意吗","list":[{"id":"101","content":"满意"}],"tail_content":"谢谢"}}`)
	if err := c.SendMenu(ctx, account, openID, "?", []wechatapi.Choice{{ID: "yes", Text: "满意"}}, ""); wechatapi.ClassOf(err) != wechatapi.ClassPermanent {
		t.Errorf("letters as option id: %v", err)
	}

	if err := c.SendImage(ctx, account, openID, "m1"); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateMenu(ctx, account, []*menu.Button{new(menu.Button).SetClickButton("报修", "repair")}); err != nil {
		t.Fatal(err)
	}
	wantJSON(t, p.lastBody(), `{"button":[{"type":"click","name":"报修","key":"repair"}]}`)

	// An id above 2^53 keeps its last digits.
	reply = `{"errcode":0,"errmsg":"ok","msgid":3717005636572528642}`
	id, err := c.SendTemplate(ctx, account, wechatapi.Template{
		OpenID: openID, TemplateID: "tpl", URL: "https://x/h5", ClientID: "d1",
		Fields: map[string]string{"thing2": "电梯"},
	})
	if err != nil || id != "3717005636572528642" {
		t.Fatalf("msgid %q, err %v", id, err)
	}
	wantJSON(t, p.lastBody(), `{"touser":"`+openID+`","template_id":"tpl","url":"https://x/h5","client_msg_id":"d1","data":{"thing2":{"value":"电梯"}}}`)

	reply = `{"ticket":"gQ==","expire_seconds":60,"url":"http://weixin.qq.com/q/x"}`
	qr, err := c.QRCode(ctx, account, "scene1", time.Minute)
	if err != nil || qr.Ticket != "gQ==" || qr.Expires != time.Minute || qr.Image != p.URL+"/mp.weixin.qq.com/cgi-bin/showqrcode?ticket=gQ%3D%3D" {
		t.Fatalf("qr %+v, err %v", qr, err)
	}
	wantJSON(t, p.lastBody(), `{"expire_seconds":60,"action_name":"QR_STR_SCENE","action_info":{"scene":{"scene_str":"scene1"}}}`)
	if _, err := c.QRCode(ctx, account, "scene1", 0); err != nil || !strings.Contains(p.lastBody(), "QR_LIMIT_STR_SCENE") {
		t.Fatalf("permanent code: %s, err %v", p.lastBody(), err)
	}

	reply = `{"subscribe":1,"openid":"` + openID + `","subscribe_time":1700000000,"subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene_str":"s1"}`
	u, err := c.UserInfo(ctx, account, openID)
	if err != nil || !u.Following || u.QRScene != "s1" || u.SubscribedAt.Unix() != 1700000000 {
		t.Fatalf("user %+v, err %v", u, err)
	}

	reply = `{"access_token":"O","expires_in":7200,"openid":"` + openID + `","scope":"snsapi_base","is_snapshotuser":1}`
	v, err := c.OAuth(ctx, account, "code")
	if err != nil || v.OpenID != openID || !v.Snapshot {
		t.Fatalf("visitor %+v, err %v", v, err)
	}

	reply = `{"template_list":[{"template_id":"T1","title":"工单","content":"{{thing1.DATA}}"}]}`
	list, err := c.Templates(ctx, account)
	if err != nil || len(list) != 1 || list[0].ID != "T1" {
		t.Fatalf("templates %+v, err %v", list, err)
	}

	if p.count("POST /cgi-bin/stable_token") != 1 {
		t.Errorf("asked for %d tokens", p.count("POST /cgi-bin/stable_token"))
	}
	raw, err := c.OAuthURL(account, "https://x/h5?a=b", "s1")
	want := p.URL + "/open.weixin.qq.com/connect/oauth2/authorize?appid=wx0000000000000001&redirect_uri=https%3A%2F%2Fx%2Fh5%3Fa%3Db&response_type=code&scope=snsapi_base&state=s1#wechat_redirect"
	if err != nil || raw != want {
		t.Errorf("oauth address %s\nwant %s", raw, want)
	}
}

func wantJSON(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := errors.Join(json.Unmarshal([]byte(got), &g), json.Unmarshal([]byte(want), &w)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(w, g); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
}

func TestMedia(t *testing.T) {
	t.Parallel()
	var answer http.HandlerFunc
	p := newPlatform(t, func(w http.ResponseWriter, r *http.Request) { answer(w, r) })
	c := newClient(t, p, clock.System(), nil)

	answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/jpeg")
		w.Header().Set("Content-Disposition", `attachment; filename="m1.jpg"`)
		_, _ = w.Write([]byte{0xff, 0xd8, 0xff})
	}
	m, err := c.MediaGet(t.Context(), account, "m1")
	if err != nil || m.ContentType != "image/jpeg" || m.Name != "m1.jpg" || len(m.Body) != 3 {
		t.Fatalf("media %+v, err %v", m, err)
	}
	answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, `{"video_url":"http://v"}`)
	}
	if m, err := c.MediaGet(t.Context(), account, "m2"); err != nil || m.VideoURL != "http://v" {
		t.Fatalf("video %+v, err %v", m, err)
	}
	answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"errcode":40007,"errmsg":"invalid media_id"}`)
	}
	var e *wechatapi.Error
	if _, err := c.MediaGet(t.Context(), account, "m3"); !errors.As(err, &e) || e.Code != 40007 {
		t.Fatalf("expired media: %v", err)
	}
	answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/jpeg")
		_, _ = w.Write(make([]byte, 13<<20))
	}
	if _, err := c.MediaGet(t.Context(), account, "m4"); !errors.Is(err, wechatapi.ErrTooLarge) {
		t.Fatalf("huge media: %v", err)
	}
}

// TestAnswers: HTTP 200 means nothing before errcode is read, and what cannot
// be understood is never taken for success.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		status int
		body   string
		class  wechatapi.Class
		code   int
	}{
		{"busy", 200, `{"errcode":-1,"errmsg":"system error"}`, wechatapi.ClassRetry, -1},
		{"window", 200, `{"errcode":45015,"errmsg":"response out of time limit"}`, wechatapi.ClassWindow, 45015},
		{"allowance", 200, `{"errcode":45047,"errmsg":"out of response count limit"}`, wechatapi.ClassWindow, 45047},
		{"not following", 200, `{"errcode":43004,"errmsg":"require subscribe"}`, wechatapi.ClassRecipient, 43004},
		{"quota", 200, `{"errcode":45009,"errmsg":"reach max api daily quota limit"}`, wechatapi.ClassQuota, 45009},
		{"minute", 200, `{"errcode":45011,"errmsg":"api minute-quota reach limit"}`, wechatapi.ClassThrottled, 45011},
		{"template", 200, `{"errcode":40037,"errmsg":"invalid template_id"}`, wechatapi.ClassTemplate, 40037},
		{"permission", 200, `{"errcode":48001,"errmsg":"api unauthorized"}`, wechatapi.ClassAccount, 48001},
		{"unknown code", 200, `{"errcode":99999,"errmsg":"?"}`, wechatapi.ClassPermanent, 99999},
		{"code with status 500", 500, `{"errcode":45015,"errmsg":""}`, wechatapi.ClassWindow, 45015},
		{"empty", 200, ``, wechatapi.ClassAmbiguous, wechatapi.CodeEmpty},
		{"no errcode", 200, `{}`, wechatapi.ClassAmbiguous, wechatapi.CodeNotJSON},
		{"cut off", 200, `{"errcode":0,"err`, wechatapi.ClassAmbiguous, wechatapi.CodeNotJSON},
		{"html", 200, `<html>maintenance</html>`, wechatapi.ClassRetry, wechatapi.CodeNotJSON},
		{"gateway", 502, `<html>Bad Gateway</html>`, wechatapi.ClassRetry, wechatapi.CodeHTTP},
		{"too many", 429, ``, wechatapi.ClassThrottled, wechatapi.CodeHTTP},
		{"huge", 200, strings.Repeat("x", 2<<20), wechatapi.ClassRetry, wechatapi.CodeNotJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlatform(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			err := newClient(t, p, clock.System(), nil).SendText(t.Context(), account, openID, "x")
			var e *wechatapi.Error
			if !errors.As(err, &e) || e.Class != c.class || e.Code != c.code {
				t.Fatalf("got %v, want class %s code %d", err, c.class, c.code)
			}
			if p.count("POST /cgi-bin/message/custom/send") != 1 {
				t.Error("repeated by itself")
			}
		})
	}
}

func TestDetailsOfAnError(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"errcode":47003,"errmsg":"argument invalid! data.thing3.value invalid rid: 65eac940-1a79c8dc-1be683b5"}`)
	})
	_, err := newClient(t, p, clock.System(), nil).SendTemplate(t.Context(), account, wechatapi.Template{})
	var e *wechatapi.Error
	if !errors.As(err, &e) || e.RID != "65eac940-1a79c8dc-1be683b5" || e.Field != "thing3" {
		t.Fatalf("error %+v", e)
	}
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, ok)
	c := newClient(t, p, clock.System(), nil)
	if err := c.SendText(t.Context(), account, openID, "1"); err != nil {
		t.Fatal(err)
	}
	p.killToken()
	if err := c.SendText(t.Context(), account, openID, "2"); err != nil {
		t.Fatalf("after the token died: %v", err)
	}
	if n := p.count("POST /cgi-bin/message/custom/send"); n != 3 {
		t.Errorf("%d sends, want 3: one refused", n)
	}
	// A platform that refuses every token is asked twice, not for ever.
	q := newPlatform(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"errcode":42001,"errmsg":"access_token expired"}`)
	})
	err := newClient(t, q, clock.System(), nil).SendText(t.Context(), account, openID, "3")
	if wechatapi.ClassOf(err) != wechatapi.ClassToken {
		t.Fatalf("error %v", err)
	}
	if n := q.count("POST /cgi-bin/message/custom/send"); n != 2 {
		t.Errorf("%d sends, want 2", n)
	}
}

func TestManyWorkersFetchOneToken(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, ok)
	c := newClient(t, p, clock.System(), nil)
	send := func() {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := c.SendText(t.Context(), account, openID, "x"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	send()
	if n := p.count("POST /cgi-bin/stable_token"); n != 1 {
		t.Errorf("%d tokens fetched, want 1", n)
	}
	p.killToken()
	send()
	if n := p.count("POST /cgi-bin/stable_token"); n != 2 {
		t.Errorf("%d tokens fetched after it died, want 2", n)
	}
}

func TestNodesShareTheToken(t *testing.T) {
	t.Parallel()
	redistest.Run(t, func(t *testing.T, rdb redis.UniversalClient) {
		p := newPlatform(t, ok)
		nodes := []*wechatapi.Client{
			newClient(t, p, clock.System(), rdb), newClient(t, p, clock.System(), rdb), newClient(t, p, clock.System(), rdb),
		}
		all := func() {
			var wg sync.WaitGroup
			for _, c := range nodes {
				for range 4 {
					wg.Go(func() {
						if err := c.SendText(t.Context(), account, openID, "x"); err != nil {
							t.Error(err)
						}
					})
				}
			}
			wg.Wait()
		}
		all()
		if n := p.count("POST /cgi-bin/stable_token"); n != 1 {
			t.Errorf("%d tokens for three nodes, want 1", n)
		}
		p.killToken()
		all()
		if n := p.count("POST /cgi-bin/stable_token"); n != 2 {
			t.Errorf("%d tokens after it died, want 2", n)
		}
		// Redis forgets everything: nobody notices.
		if err := rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		all()
	})
}

func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	dead := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { _ = dead.Close() })
	p := newPlatform(t, ok)
	if err := newClient(t, p, clock.System(), dead).SendText(t.Context(), account, openID, "x"); err != nil {
		t.Fatal(err)
	}
}

func TestTokenEnds(t *testing.T) {
	t.Parallel()
	clk := clock.NewManual(time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC))
	p := newPlatform(t, ok)
	c := newClient(t, p, clk, nil)
	for _, step := range []struct {
		advance time.Duration
		tokens  int
	}{{0, 1}, {time.Hour, 1}, {57 * time.Minute, 1}, {2 * time.Minute, 2}} {
		clk.Advance(step.advance)
		if err := c.CheckToken(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		if n := p.count("POST /cgi-bin/stable_token"); n != step.tokens {
			t.Errorf("at %v: %d tokens, want %d", clk.Now(), n, step.tokens)
		}
	}
}

func TestTokenEndpointRefuses(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]wechatapi.Class{
		40001: wechatapi.ClassAccount, 40125: wechatapi.ClassAccount, 40164: wechatapi.ClassAccount,
		-1: wechatapi.ClassRetry,
	} {
		p := newPlatform(t, ok)
		p.onToken = func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"errcode":%d,"errmsg":"invalid ip 1.2.3.4, secret %s"}`, code, secret)
		}
		err := newClient(t, p, clock.System(), nil).CheckToken(t.Context(), account)
		if wechatapi.ClassOf(err) != want {
			t.Errorf("code %d: %v", code, err)
		}
		telemetrytest.NoLeak(t, err.Error(), secret, "1.2.3.4")
	}
}

// TestCallLost tells what was certainly not carried out from what may have been.
func TestCallLost(t *testing.T) {
	t.Parallel()
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		p := newPlatform(t, ok)
		c := newClient(t, p, clock.System(), nil)
		if err := c.CheckToken(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		c.Close() // no idle connection is left
		p.Close()
		if err := c.SendText(t.Context(), account, openID, "x"); wechatapi.ClassOf(err) != wechatapi.ClassRetry {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("connection lost after the request", func(t *testing.T) {
		t.Parallel()
		p := newPlatform(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.Close()
		})
		err := newClient(t, p, clock.System(), nil).SendText(t.Context(), account, openID, "x")
		if wechatapi.ClassOf(err) != wechatapi.ClassAmbiguous {
			t.Fatalf("error %v", err)
		}
		if n := p.count("POST /cgi-bin/message/custom/send"); n != 1 {
			t.Fatalf("sent %d times", n)
		}
	})
	t.Run("no answer in time", func(t *testing.T) {
		t.Parallel()
		p := newPlatform(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		c := newClient(t, p, clock.System(), nil)
		err := c.SendText(ctx, account, openID, "x")
		if wechatapi.ClassOf(err) != wechatapi.ClassAmbiguous || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		t.Parallel()
		p := newPlatform(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		})
		err := newClient(t, p, clock.System(), nil).SendText(t.Context(), account, openID, "x")
		if !errors.Is(err, wechatapi.ErrRedirect) {
			t.Fatalf("error %v", err)
		}
		if len(p.seen) != 2 {
			t.Fatalf("followed: %v", p.seen)
		}
	})
}

func TestRefusedInsideATransaction(t *testing.T) {
	t.Parallel()
	p := newPlatform(t, ok)
	c := newClient(t, p, clock.System(), nil)
	d := dbtest.SQLite(t)
	err := d.InTx(t.Context(), "t", func(ctx context.Context, _ *db.Tx) error {
		return c.SendText(ctx, account, openID, "x")
	})
	if !errors.Is(err, wechatapi.ErrInTransaction) || len(p.seen) != 0 {
		t.Fatalf("error %v, calls %v", err, p.seen)
	}
}

// TestNothingLeaks goes down every path that ends in an error and searches its
// text for what must not be there.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	const text, code = "秘密的话", "oauthcode123"
	answers := map[string]http.HandlerFunc{
		"echo": func(w http.ResponseWriter, r *http.Request) {
			b, _ := json.Marshal(r.URL.String() + " " + secret + " " + openID + " " + text)
			fmt.Fprintf(w, `{"errcode":40013,"errmsg":%s}`, b)
		},
		"html":   func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>", r.URL, secret) },
		"status": func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.URL.String(), http.StatusBadGateway) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/x?"+r.URL.RawQuery, http.StatusFound)
		},
		"shape": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"errcode":"`+secret+`"}`) },
		"closed": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.Close()
		},
		"silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlatform(t, answer)
			log := telemetrytest.Capture(t)
			c, err := wechatapi.New(wechatapi.Options{
				Bases: map[string]string{wechatapi.HostAPI: p.URL + "/api.weixin.qq.com"},
				Clock: clock.System(), Logger: log.Logger,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var errs []error
			note := func(err error) {
				if err == nil {
					t.Error("no error")
					return
				}
				errs = append(errs, err)
			}
			try := func(f func(ctx context.Context) error) {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				note(f(ctx))
			}
			_ = c.CheckToken(t.Context(), account)
			try(func(ctx context.Context) error { return c.SendText(ctx, account, openID, text) })
			try(func(ctx context.Context) error {
				return c.SendMenu(ctx, account, openID, text, []wechatapi.Choice{{ID: "1", Text: text}}, "")
			})
			try(func(ctx context.Context) error {
				_, err := c.SendTemplate(ctx, account, wechatapi.Template{OpenID: openID, Fields: map[string]string{"thing1": text}})
				return err
			})
			try(func(ctx context.Context) error { _, err := c.UserInfo(ctx, account, openID); return err })
			try(func(ctx context.Context) error { _, err := c.MediaGet(ctx, account, "m"); return err })
			try(func(ctx context.Context) error { _, err := c.OAuth(ctx, account, code); return err })
			try(func(ctx context.Context) error { _, err := c.QRCode(ctx, account, "s", 0); return err })
			for _, err := range errs {
				for e := err; e != nil; e = errors.Unwrap(e) {
					telemetrytest.NoLeak(t, fmt.Sprintf("%v %+v %#v", e, e, e), secret, "81_token", "81_another", openID, text, code)
				}
			}
			log.NoLeak(t, secret, "81_token", openID, text, code)
		})
	}
	telemetrytest.NoLeak(t, fmt.Sprintf("%v %+v %#v %s", account, account, account, account), secret)
}

func TestBadBase(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"127.0.0.1:80", "ftp://x", "http://", "http://x?a=b"} {
		if _, err := wechatapi.New(wechatapi.Options{Bases: map[string]string{wechatapi.HostAPI: base}}); err == nil {
			t.Errorf("%q accepted", base)
		}
	}
}
