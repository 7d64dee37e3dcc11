package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/web/console"
	"guanjia/templates"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// browser is somebody before the console.
type browser struct {
	t      *testing.T
	w      *worldtest.World
	server *httptest.Server
	client *http.Client
}

func open(t *testing.T) *browser {
	t.Helper()
	w := worldtest.Embedded(t)
	c, err := console.New(console.Deps{DB: w.DB, Clock: w.Clock, Desk: w.Desk, Staff: w.Staff, Queues: w.Queues, Companies: w.Companies, Estate: w.Estate,
		Book: w.Book, Log: w.Logs.Logger, Files: templates.Web(), Notices: w.Notices, Register: w.Register, Articles: w.Articles})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/console/", http.StripPrefix("/console", c.Handler()))
	b := &browser{t: t, w: w, server: httptest.NewServer(mux)}
	t.Cleanup(b.server.Close)
	b.client = b.newClient()
	return b
}

func (b *browser) newClient() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}
}

// page is what came back, redirects followed.
type page struct {
	status int
	path   string
	body   string
	header http.Header
}

func (b *browser) send(req *http.Request) page {
	b.t.Helper()
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	var body strings.Builder
	if _, err := fmt.Fprint(&body, readAll(b.t, res)); err != nil {
		b.t.Fatal(err)
	}
	p := page{status: res.StatusCode, path: res.Request.URL.Path, body: body.String(), header: res.Header}
	if strings.HasPrefix(p.header.Get("Content-Type"), "text/html") && !strings.HasSuffix(strings.TrimSpace(p.body), "</html>") {
		b.t.Errorf("%s: the page is cut off: a template failed", p.path)
	}
	return p
}

func (b *browser) get(path string) page {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.server.URL+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.send(req)
}

func (b *browser) post(path string, form url.Values, header ...string) page {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.server.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return b.send(req)
}

func (b *browser) signIn(user string) page {
	b.t.Helper()
	return b.post("/console/login", url.Values{"user": {user}, "password": {sample.ConsolePassword}})
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	b := open(t)
	for _, path := range []string{"/console/", "/console/cases", "/console/cases/100009", "/console/queues/queue-engineering"} {
		if p := b.get(path); p.path != "/console/login" || p.status != http.StatusOK {
			t.Errorf("%s without a sign-in leads to %s, %d", path, p.path, p.status)
		}
	}
	if p := b.post("/console/cases/100009/claim", nil); p.path != "/console/login" {
		t.Errorf("an action without a sign-in leads to %s", p.path)
	}
	p := b.post("/console/login", url.Values{"user": {"zhangwei"}, "password": {"wrong"}})
	if p.status != http.StatusUnauthorized || !strings.Contains(p.body, "用户名或密码不对") || !strings.Contains(p.body, `value="zhangwei"`) || strings.Contains(p.body, "wrong\"") {
		t.Errorf("wrong password: %d %s", p.status, p.body)
	}
	if p := b.post("/console/login", url.Values{"user": {"nobody"}, "password": {"wrong"}}); p.status != http.StatusUnauthorized || !strings.Contains(p.body, "用户名或密码不对") {
		t.Errorf("unknown user: %d: the answer tells who exists", p.status)
	}
	if p = b.signIn("zhangwei"); p.status != http.StatusOK || p.path != "/console/" || !strings.Contains(p.body, "张伟") || !strings.Contains(p.body, "青禾物业") {
		t.Fatalf("signed in: %d at %s", p.status, p.path)
	}
	at, err := url.Parse(b.server.URL + "/console/")
	if err != nil {
		t.Fatal(err)
	}
	before := b.client.Jar.Cookies(at)
	if len(before) != 1 {
		t.Fatalf("%d cookies", len(before))
	}
	if n := rows(t, b.w, `SELECT count(*) FROM console_sessions WHERE token_hash = $1`, before[0].Value); n != 0 {
		t.Error("the session table holds the token itself")
	}
	// A new sign-in has a new token, so that a planted one is worthless.
	b.signIn("zhangwei")
	if after := b.client.Jar.Cookies(at); after[0].Value == before[0].Value {
		t.Error("the token outlived a sign-in")
	}
	token := b.client.Jar.Cookies(at)[0]
	if p := b.post("/console/logout", nil); p.path != "/console/login" {
		t.Errorf("signed out at %s", p.path)
	}
	b.client.Jar.SetCookies(at, []*http.Cookie{token})
	if p := b.get("/console/"); p.path != "/console/login" {
		t.Error("the old cookie still works after signing out")
	}

	var last page
	for range 12 {
		last = b.post("/console/login", url.Values{"user": {"liqiang"}, "password": {"guess"}})
	}
	if last.status != http.StatusTooManyRequests || !strings.Contains(last.body, "输错次数过多") {
		t.Errorf("after 12 guesses: %d", last.status)
	}
	if p := b.signIn("liqiang"); p.status != http.StatusTooManyRequests {
		t.Errorf("the right password while locked: %d", p.status)
	}
	b.w.Logs.NoLeak(t, sample.ConsolePassword, token.Value)
}

// caseIn brings a case into a state on the real ways.
func caseIn(t *testing.T, w *worldtest.World, n int, state desk.State) desk.Case {
	t.Helper()
	h := apart(t, w, n)
	w.Say(t, h.OpenID, "厨房水管漏水,麻烦派人来修")
	c := w.OneCase(t, h.OpenID)
	by := w.As(t, "zhangwei")
	must := func(next desk.Case, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		c = next
	}
	claim := func() { must(w.Desk.Claim(t.Context(), by, c.ID)) }
	handle := func() { claim(); must(w.Desk.Handle(t.Context(), by, c.ID, "换了水管接头")) }
	switch state {
	case desk.StateDispatched:
	case desk.StateAccepted:
		claim()
	case desk.StateInProgress:
		next, _, err := w.Desk.Reply(t.Context(), by, c.ID, "师傅十分钟到")
		must(next, err)
	case desk.StateHandled:
		handle()
	case desk.StateClosed:
		handle()
		w.Say(t, h.OpenID, "已解决")
		w.Say(t, h.OpenID, "5，师傅很专业")
	case desk.StateReopened:
		handle()
		w.Say(t, h.OpenID, "未解决")
	case desk.StateWithdrawn:
		w.Say(t, h.OpenID, "取消")
	default:
		// No way leads there yet; the page must show it all the same.
		if _, err := w.DB.ExecContext(t.Context(), `UPDATE cases SET state = $1 WHERE id = $2`, string(state), c.ID); err != nil {
			t.Fatal(err)
		}
	}
	now, err := w.Desk.ByID(t.Context(), c.ID)
	must(now, err)
	if c.State != state {
		t.Fatalf("case is %s, want %s", c.State, state)
	}
	return c
}

func TestPagesOfEveryState(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.signIn("zhangwei")
	for i, tt := range []struct {
		state   desk.State
		offered []string // actions on the page
		hidden  []string
	}{
		{desk.StateNew, []string{"reply", "note", "assign", "transfer"}, []string{"claim", "handle", "close"}},
		{desk.StateRegistered, []string{"note"}, []string{"claim", "handle", "close"}},
		{desk.StateDispatched, []string{"claim", "reply", "note", "assign", "transfer"}, []string{"handle", "close"}},
		{desk.StateAccepted, []string{"reply", "handle", "note", "assign", "transfer"}, []string{"claim", "close"}},
		{desk.StateInProgress, []string{"reply", "handle", "note"}, []string{"claim", "close"}},
		{desk.StateWaitingResident, []string{"reply", "handle", "note"}, []string{"claim", "close"}},
		{desk.StateOnHold, []string{"reply", "handle", "note"}, []string{"claim", "close"}},
		{desk.StateHandled, []string{"close", "note"}, []string{"claim", "reply", "handle", "assign", "transfer"}},
		{desk.StateClosed, []string{"note"}, []string{"claim", "reply", "handle", "close", "assign", "transfer"}},
		{desk.StateReopened, []string{"claim", "reply", "note"}, []string{"handle", "close"}},
		{desk.StateWithdrawn, []string{"note"}, []string{"claim", "reply", "handle", "close"}},
		{desk.StateVoid, nil, []string{"claim", "reply", "handle", "close"}},
	} {
		c := caseIn(t, b.w, i, tt.state)
		p := b.get("/console/cases/" + c.No)
		label := b.w.Book.Label("state", string(tt.state))
		if p.status != http.StatusOK || !strings.Contains(p.body, "#"+c.No) || !strings.Contains(p.body, label) || !strings.Contains(p.body, "厨房水管漏水") {
			t.Errorf("%s: %d, number or state missing", tt.state, p.status)
		}
		form := func(action string) bool {
			return strings.Contains(p.body, `action="/console/cases/`+c.No+"/"+action+`"`)
		}
		for _, a := range tt.offered {
			if !form(a) && !(a == "reply" && !c.State.Waiting() && !c.State.InHand()) {
				t.Errorf("%s: %s is not offered", tt.state, a)
			}
		}
		for _, a := range tt.hidden {
			if form(a) {
				t.Errorf("%s: %s is offered", tt.state, a)
			}
		}
		if p := b.get("/console/cases?state=" + string(tt.state)); !strings.Contains(p.body, "#"+c.No) {
			t.Errorf("%s: not in the list of its state", tt.state)
		}
		if p := b.get("/console/cases?q=" + c.No); !strings.Contains(p.body, "#"+c.No) {
			t.Errorf("%s: not found by number", tt.state)
		}
	}
	if p := b.get("/console/queues/queue-engineering"); p.status != http.StatusOK || !strings.Contains(p.body, "工程维修") {
		t.Errorf("queue page: %d", p.status)
	}
	for _, path := range []string{"/console/cases/100000", "/console/cases/abc", "/console/queues/nowhere"} {
		if p := b.get(path); p.status != http.StatusNotFound || !strings.Contains(p.body, "没有找到") {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	if p := b.get("/console/cases?cursor=broken"); p.status != http.StatusOK {
		t.Errorf("a broken page link: %d", p.status)
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.signIn("zhangwei")
	c := caseIn(t, b.w, 0, desk.StateDispatched)
	do := func(action, want string, kv ...string) {
		t.Helper()
		form := url.Values{}
		for i := 0; i+1 < len(kv); i += 2 {
			form.Set(kv[i], kv[i+1])
		}
		p := b.post("/console/cases/"+c.No+"/"+action, form)
		if p.status != http.StatusOK || p.path != "/console/cases/"+c.No || !strings.Contains(p.body, want) {
			t.Errorf("%s: %d at %s, misses %q", action, p.status, p.path, want)
		}
	}
	do("claim", "已完成")
	do("note", "带了工具箱", "text", "带了工具箱")
	do("reply", "师傅十分钟到", "text", "师傅十分钟到")
	do("reply", "会让住户觉得被推脱", "text", "我不清楚，你到别处去问吧")
	do("reply", "我不清楚，你到别处去问吧", "text", "我不清楚，你到别处去问吧")
	do("reply", "撤回刚才的回复", "text", "师傅已经出发")
	do("recall", "撤回回复")
	do("handle", "请填写处理措施", "measures", " ")
	do("handle", "已办结", "measures", "换了水管接头")
	do("close", "已结案", "follow_up", "solved")
	do("claim", "状态不允许")
	if p := b.post("/console/cases/"+c.No+"/erase", nil); p.status != http.StatusNotFound {
		t.Errorf("an unknown action: %d", p.status)
	}
	// What the resident typed is text on the page, never markup.
	h := b.w.Bound(t, 5)
	b.w.Say(t, h.OpenID, `厨房水管漏水<script>alert(1)</script>,麻烦派人来修`)
	if p := b.get("/console/cases/" + b.w.OneCase(t, h.OpenID).No); strings.Contains(p.body, "<script>alert") || !strings.Contains(p.body, "&lt;script&gt;") {
		t.Error("words of a resident became markup")
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.signIn("zhangwei")
	c := caseIn(t, b.w, 0, desk.StateDispatched)
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		if p := b.post("/console/cases/"+c.No+"/claim", nil, header...); p.status != http.StatusForbidden {
			t.Errorf("%v: %d", header, p.status)
		}
	}
	if now, err := b.w.Desk.ByID(t.Context(), c.ID); err != nil || now.Version != c.Version {
		t.Errorf("another site moved the case: version %d, %v", now.Version, err)
	}
	p := b.get("/console/")
	for name, want := range map[string]string{"Content-Security-Policy": "frame-ancestors 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store"} {
		if !strings.Contains(p.header.Get(name), want) {
			t.Errorf("%s: %q", name, p.header.Get(name))
		}
	}
	for name, kind := range map[string]string{"console.css": "text/css", "htmx.min.js": "text/javascript"} {
		if p := b.get("/console/assets/" + name); p.status != http.StatusOK || !strings.HasPrefix(p.header.Get("Content-Type"), kind) {
			t.Errorf("%s: %d %s", name, p.status, p.header.Get("Content-Type"))
		}
	}
	for _, name := range []string{"layout.html", "..%2fconsole.css", "case.html"} {
		if p := b.get("/console/assets/" + name); p.status != http.StatusNotFound {
			t.Errorf("%s is served: %d", name, p.status)
		}
	}
}

// TestDatabaseAway says so in words and shows no fault of its own.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.signIn("zhangwei")
	if err := b.w.DB.Close(); err != nil {
		t.Fatal(err)
	}
	if p := b.get("/console/"); p.status != http.StatusServiceUnavailable || !strings.Contains(p.body, "数据库暂时不可用") {
		t.Errorf("%d %s", p.status, p.body)
	}
}

// TestPictures looks whether a browser lays the pages out without scrolling
// sideways, and keeps pictures where GUANJIA_PICTURES says.
func TestPictures(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("GUANJIA_PICTURES")
	if folder == "" {
		t.Skip("set GUANJIA_PICTURES to a folder to get pictures of the pages")
	}
	b := open(t)
	w := b.w
	for i, state := range []desk.State{desk.StateDispatched, desk.StateAccepted, desk.StateInProgress, desk.StateHandled, desk.StateClosed, desk.StateReopened} {
		caseIn(t, w, i, state)
		w.Clock.Advance(7 * time.Minute)
	}
	danger := w.Bound(t, 9)
	w.Say(t, danger.OpenID, "电梯困人了,快来")
	w.Say(t, danger.OpenID, "怎么还没来")
	w.Clock.Advance(70 * time.Minute)
	busy, err := w.Desk.ByNo(t.Context(), sample.CompanyID, w.OneCase(t, w.Bound(t, 2).OpenID).No)
	if err != nil {
		t.Fatal(err)
	}
	err = w.DB.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error {
		busy, err = w.Desk.UrgeTx(ctx, tx, desk.By{CompanyID: sample.CompanyID, Via: "wechat", Resident: true}, busy, "怎么还没来,已经等了一个多小时了,老人孩子都在家")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.signIn("zhangwei")
	for name, path := range map[string]string{"queues": "/console/", "queue": "/console/queues/queue-engineering", "cases": "/console/cases",
		"case": "/console/cases/" + busy.No, "danger": "/console/cases/" + w.OneCase(t, danger.OpenID).No} {
		b.picture(folder, name, b.get(path).body)
	}
	b.client = b.newClient()
	b.picture(folder, "login", b.post("/console/login", url.Values{"user": {"zhangwei"}, "password": {"wrong"}}).body)
}

// picture renders a page that was fetched signed in: the browser itself has no
// session, so it gets the page as a file with the style inside.
func (b *browser) picture(folder, name, body string) {
	b.t.Helper()
	css := b.get("/console/assets/console.css").body
	body = strings.Replace(body, `<link rel="stylesheet" href="/console/assets/console.css">`, "<style>"+css+"</style>", 1)
	body = strings.Replace(body, `<script src="/console/assets/htmx.min.js" defer></script>`, "", 1)
	file := filepath.Join(b.t.TempDir(), name+".html")
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		b.t.Fatal(err)
	}
	for _, width := range []int{1440, 390} {
		shot := filepath.Join(folder, fmt.Sprintf("%s-%d.png", name, width))
		// A window below 500 px is not given; the narrow page stands in a frame.
		source := file
		if width < 500 {
			frame := filepath.Join(b.t.TempDir(), name+"-frame.html")
			page := fmt.Sprintf(`<!doctype html><body style="margin:0"><iframe src="file://%s" style="border:0;width:%dpx;height:1800px"></iframe>`, file, width)
			if err := os.WriteFile(frame, []byte(page), 0o600); err != nil {
				b.t.Fatal(err)
			}
			source = frame
		}
		cmd := exec.CommandContext(b.t.Context(), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
			"--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--allow-file-access-from-files",
			"--user-data-dir="+b.t.TempDir(), fmt.Sprintf("--window-size=%d,1800", max(width, 500)), "--screenshot="+shot, "file://"+source)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.t.Fatalf("picture of %s: %v\n%s", name, err, out)
		}
	}
}
