package wechat

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testToken  = "spamtest"
	testAppID  = "wx2c2769f8efd9abc2"
	testOpenID = "oyORnuP8q7ou2gfYjqLzSIWZf0rs"
	testWords  = "电梯困人了快来"
	olderKey   = "0123456789012345678901234567890123456789abc"
)

var now = time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)

func account(mode string) company.WeChatAccount {
	return company.WeChatAccount{
		ID: "a1", CompanyID: "c1", Path: "demo", AppID: testAppID, Token: testToken,
		AESKey: commonKey, PrevAESKey: olderKey, Mode: mode, OriginalID: "gh_original",
	}
}

// directory holds one account, which tests may change.
type directory struct{ company.WeChatAccount }

func (d *directory) Account(_ context.Context, path string) (company.WeChatAccount, bool) {
	return d.WeChatAccount, path == d.Path
}

// dialogue answers as the engine does: it stores the answer and returns what
// was stored.
type dialogue struct {
	conversations *conversation.Conversations
	db            *db.DB
	// before runs at the beginning of each turn.
	before func(ctx context.Context, m conversation.Message, live bool) error
	silent bool

	turns atomic.Int64
	mu    sync.Mutex
	late  []string // message ids whose answers go by the service carrier
}

func (d *dialogue) Turn(ctx context.Context, m conversation.Message, live bool) (conversation.Answer, string, error) {
	d.turns.Add(1)
	if d.before != nil {
		if err := d.before(ctx, m, live); err != nil {
			return conversation.Answer{}, "", err
		}
	}
	answer := conversation.Answer{Kind: conversation.AnswerText, Text: "收到:" + m.Text + m.EventKey}
	if d.silent {
		answer = conversation.Answer{}
	}
	var carrier string
	err := d.db.InTx(ctx, "test.turn", func(ctx context.Context, tx *db.Tx) (err error) {
		carrier, err = d.conversations.SaveTurnTx(ctx, tx, conversation.Turn{MessageID: m.ID, Answer: answer, Live: live})
		return err
	})
	if errors.Is(err, conversation.ErrAnswered) {
		stored, err := d.conversations.Message(ctx, m.ID)
		return stored.Answer, stored.Carrier, err
	}
	if err == nil && carrier == conversation.CarrierService && !answer.Empty() {
		d.mu.Lock()
		d.late = append(d.late, m.ID)
		d.mu.Unlock()
	}
	return answer, carrier, err
}

func (d *dialogue) Away(_ context.Context, in conversation.Inbound) string {
	if strings.Contains(in.Text, "困人") {
		return "请保持镇定,不要扒门,24小时电话 010-12345678"
	}
	return "系统繁忙,已记下您的话"
}

// lateOnes are the messages whose answers left by the service carrier.
func (d *dialogue) lateOnes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.late)
}

// node is one process with its callback.
type node struct {
	*Handler
	conversations *conversation.Conversations
	dialogue      *dialogue
	directory     *directory
	clk           *clock.Manual
	db            *db.DB
	logs          *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newNode(t testing.TB, d *db.DB, mode string, change func(*Options)) *node {
	t.Helper()
	logs := &lockedBuffer{}
	log := slog.New(slog.NewJSONHandler(logs, nil))
	clk := clock.NewManual(now)
	c := conversation.New(d, clk, log, conversation.Options{})
	n := &node{
		conversations: c, dialogue: &dialogue{conversations: c, db: d}, directory: &directory{account(mode)},
		clk: clk, db: d, logs: logs,
	}
	o := Options{
		Accounts: n.directory, Conversations: c, Turner: n.dialogue, Clock: clk, Log: log,
		// Wide, so that a busy machine doesn't decide the outcome of a test.
		Budget: 30 * time.Second, StoreTimeout: 20 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	n.Handler = h
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(h.Drain(ctx), c.Close(ctx)); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return n
}

// push is one POST of the platform; zero fields are filled in rightly.
type push struct {
	xml       string
	at        time.Time
	nonce     string
	key       string // "" means commonKey
	appID     string
	plain     bool   // send as plain text
	both      string // plain fields beside the ciphertext (compatible mode)
	signature string // "" means right, "-" absent
	msgSig    string
	tamper    func(body string) string
	path      string
}

var nonces atomic.Int64

func (p push) request(t testing.TB) *http.Request {
	t.Helper()
	setString := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	if p.at.IsZero() {
		p.at = now
	}
	setString(&p.nonce, "n"+strconv.FormatInt(nonces.Add(1), 10))
	setString(&p.key, commonKey)
	setString(&p.appID, testAppID)
	setString(&p.path, "/wechat/demo")
	timestamp := strconv.FormatInt(p.at.Unix(), 10)
	setString(&p.signature, Sign(testToken, timestamp, p.nonce))
	q := url.Values{"timestamp": {timestamp}, "nonce": {p.nonce}, "openid": {testOpenID}}
	if p.signature != "-" {
		q.Set("signature", p.signature)
	}
	body := p.xml
	if !p.plain {
		sealed, err := mustKey(t, p.key).Seal([]byte(p.xml), p.appID)
		if err != nil {
			t.Fatal(err)
		}
		setString(&p.msgSig, Sign(testToken, timestamp, p.nonce, sealed))
		q.Set("encrypt_type", "aes")
		if p.msgSig != "-" {
			q.Set("msg_signature", p.msgSig)
		}
		body = "<xml><ToUserName><![CDATA[gh_1]]></ToUserName>" + p.both + "<Encrypt><![CDATA[" + sealed + "]]></Encrypt></xml>"
	}
	if p.tamper != nil {
		body = p.tamper(body)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, p.path+"?"+q.Encode(), strings.NewReader(body))
	return r
}

func textPush(id, words string) push {
	return push{xml: "<xml><ToUserName><![CDATA[gh_1]]></ToUserName>\n<FromUserName><![CDATA[" + testOpenID + "]]></FromUserName>\n<CreateTime>" +
		strconv.FormatInt(now.Unix(), 10) + "</CreateTime>\n<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[" + words +
		"]]></Content>\n<MsgId>" + id + "</MsgId>\n</xml>"}
}

func eventPush(name, more string) push {
	return push{xml: "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[" + testOpenID + "]]></FromUserName><CreateTime>" +
		strconv.FormatInt(now.Unix(), 10) + "</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[" + name + "]]></Event>" + more + "</xml>"}
}

// reply is what the platform got, decrypted.
type reply struct {
	status int
	body   string // as it came
	to     string
	from   string
	text   string
}

func (n *node) post(t testing.TB, p push) reply {
	t.Helper()
	return n.serve(t, p.request(t))
}

func (n *node) serve(t testing.TB, r *http.Request) reply {
	t.Helper()
	w := httptest.NewRecorder()
	n.ServeHTTP(w, r)
	got := reply{status: w.Code, body: w.Body.String()}
	if w.Code != http.StatusOK || !strings.HasPrefix(got.body, "<xml>") {
		return got
	}
	doc := got.body
	var env struct{ Encrypt, MsgSignature, TimeStamp, Nonce string }
	if err := xml.Unmarshal([]byte(doc), &env); err != nil {
		t.Fatalf("reply %q: %v", doc, err)
	}
	if env.Encrypt != "" {
		if !SignatureOK(env.MsgSignature, testToken, env.TimeStamp, env.Nonce, env.Encrypt) {
			t.Error("the reply is signed wrongly")
		}
		ring, err := NewKeyring(testAppID, commonKey, olderKey)
		if err != nil {
			t.Fatal(err)
		}
		message, _, err := ring.Open(env.Encrypt)
		if err != nil {
			t.Fatalf("the reply does not open: %v", err)
		}
		doc = string(message)
	}
	var x replyXML
	if err := xml.Unmarshal([]byte(doc), &x); err != nil {
		t.Fatalf("reply %q: %v", doc, err)
	}
	if x.MsgType != "text" || x.CreateTime != now.Unix() {
		t.Errorf("reply %+v", x)
	}
	got.to, got.from, got.text = x.ToUserName, x.FromUserName, x.Content
	return got
}

func (n *node) rows(t testing.TB) (count int) {
	t.Helper()
	if err := n.db.QueryRowContext(t.Context(), "select count(*) from messages").Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}

func (n *node) refused(reason string) float64 {
	return testutil.ToFloat64(n.metrics.refusals.WithLabelValues(reason))
}

func (n *node) outcome(outcome string) float64 {
	return testutil.ToFloat64(n.metrics.outcomes.WithLabelValues(outcome))
}

// noLeak searches the log for what must never be in it.
func (n *node) noLeak(t testing.TB) {
	t.Helper()
	logs := n.logs.String()
	for _, secret := range []string{testOpenID, testWords, "电梯", testToken, commonKey, olderKey} {
		if strings.Contains(logs, secret) {
			t.Errorf("the log contains %q:\n%s", secret, logs)
		}
	}
}

func TestVerifyAddress(t *testing.T) {
	t.Parallel()
	n := newNode(t, dbtest.SQLite(t), company.ModeEncrypted, nil)
	get := func(token, echo string) *httptest.ResponseRecorder {
		q := url.Values{"signature": {Sign(token, "1409304348", "xxxxxx")}, "timestamp": {"1409304348"}, "nonce": {"xxxxxx"}, "echostr": {echo}}
		w := httptest.NewRecorder()
		n.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/wechat/demo?"+q.Encode(), nil))
		return w
	}
	if w := get(testToken, "4375120948345356249"); w.Code != 200 || w.Body.String() != "4375120948345356249" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := get("forged", "<script>"); w.Code != 403 || strings.Contains(w.Body.String(), "script") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := get(testToken, "<script>"); w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("echoed as %v", w.Header())
	}
	if n.outcome(outcomeVerified) != 2 || n.refused(reasonSignature) != 1 {
		t.Error("not counted")
	}
}

func TestAnswersInEveryMode(t *testing.T) {
	t.Parallel()
	plainFields := `<FromUserName><![CDATA[oSomebodyElse]]></FromUserName><Content><![CDATA[forged]]></Content>`
	tests := []struct {
		name, mode string
		change     func(*push)
		sealed     bool
	}{
		{"plain", company.ModePlain, func(p *push) { p.plain = true }, false},
		{"compatible", company.ModeCompatible, func(p *push) { p.both = plainFields }, true},
		{"compatible, still plain", company.ModeCompatible, func(p *push) { p.plain = true }, false},
		{"encrypted", company.ModeEncrypted, func(*push) {}, true},
		{"encrypted, previous key", company.ModeEncrypted, func(p *push) { p.key = olderKey }, true},
	}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		for i, tt := range tests {
			n := newNode(t, d, tt.mode, nil)
			p := textPush(fmt.Sprint(i), "您好")
			tt.change(&p)
			got := n.post(t, p)
			if got.status != 200 || got.text != "收到:您好" || got.to != testOpenID || got.from != "gh_1" {
				t.Errorf("%s: %+v", tt.name, got)
			}
			if sealed := strings.Contains(got.body, "<Encrypt>"); sealed != tt.sealed {
				t.Errorf("%s: the reply is sealed: %v", tt.name, sealed)
			}
		}
	})
}

// "Bad input" of the callback: each refusal with its status, its counter, a log
// line without personal data, and nothing stored.
func TestRefusals(t *testing.T) {
	t.Parallel()
	bomb := `<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]>`
	tests := []struct {
		name   string
		mode   string // "" means encrypted
		change func(*push)
		status int
		reason string
	}{
		{"forged signature", "", func(p *push) { p.signature = strings.Repeat("0", 40) }, 403, reasonSignature},
		{"no signature", "", func(p *push) { p.signature = "-" }, 403, reasonSignature},
		{"forged message signature", "", func(p *push) { p.msgSig = strings.Repeat("0", 40) }, 403, reasonSignature},
		{"no message signature", "", func(p *push) { p.msgSig = "-" }, 403, reasonSignature},
		{"forged signature, plain", company.ModePlain, func(p *push) { p.plain, p.signature = true, strings.Repeat("0", 40) }, 403, reasonSignature},
		{"no signature, plain", company.ModePlain, func(p *push) { p.plain, p.signature = true, "-" }, 403, reasonSignature},
		{"body changed", "", func(p *push) {
			p.tamper = func(b string) string { return strings.Replace(b, "<Encrypt><![CDATA[", "<Encrypt><![CDATA[A", 1) }
		}, 403, reasonSignature},
		{"nonce with a blank", "", func(p *push) { p.nonce = "a b" }, 403, reasonSignature},
		{"endless nonce", "", func(p *push) { p.nonce = strings.Repeat("1", 65) }, 403, reasonSignature},
		{"eleven minutes old", "", func(p *push) { p.at = now.Add(-11 * time.Minute) }, 403, reasonStale},
		{"from the future", "", func(p *push) { p.at = now.Add(11 * time.Minute) }, 403, reasonStale},
		{"plain text where encryption is set", "", func(p *push) { p.plain = true }, 403, reasonPlaintext},
		{"plain text where nothing is set", "?", func(p *push) { p.plain = true }, 403, reasonPlaintext},
		{"foreign app id", "", func(p *push) { p.appID = "wxb11529c136998cb6" }, 403, reasonAppID},
		{"wrong key", "", func(p *push) { p.key = strings.Repeat("C", 43) }, 403, reasonCipher},
		{"65 KiB", "", func(p *push) { p.xml = strings.Repeat("x", 65<<10) }, 413, reasonSize},
		{"over 1 MiB", company.ModePlain, func(p *push) { p.plain, p.xml = true, strings.Repeat("x", 1<<20+1) }, 413, reasonSize},
		{"XML bomb outside", "", func(p *push) { p.tamper = func(b string) string { return bomb + b } }, 400, reasonDoctype},
		{"XML bomb inside", "", func(p *push) { p.xml = bomb + p.xml }, 400, reasonDoctype},
		{"XML bomb, plain", company.ModePlain, func(p *push) { p.plain, p.xml = true, bomb+p.xml }, 400, reasonDoctype},
		{"deep nesting", "", func(p *push) { p.tamper = func(string) string { return strings.Repeat("<a>", 5000) } }, 400, reasonComplex},
		{"deep nesting inside", "", func(p *push) { p.xml = strings.Repeat("<a>", 5000) }, 400, reasonComplex},
		{"cut outside", "", func(p *push) { p.tamper = func(b string) string { return b[:len(b)/2] } }, 400, reasonXML},
		{"cut, plain", company.ModePlain, func(p *push) { p.plain, p.xml = true, p.xml[:len(p.xml)-20] }, 400, reasonXML},
		{"nothing encrypted", "", func(p *push) { p.tamper = func(string) string { return "<xml></xml>" } }, 400, reasonIncomplete},
		{"no sender, plain", company.ModePlain, func(p *push) { p.plain, p.xml = true, "<xml><MsgType>text</MsgType></xml>" }, 400, reasonIncomplete},
		{"empty body", "", func(p *push) { p.tamper = func(string) string { return "" } }, 400, reasonXML},
		{"JSON", company.ModePlain, func(p *push) { p.plain, p.xml = true, `{"MsgType":"text"}` }, 400, reasonXML},
		{"unknown account", "", func(p *push) { p.path = "/wechat/nobody" }, 404, reasonAccount},
	}
	d := dbtest.SQLite(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mode := tt.mode
			if mode == "" {
				mode = company.ModeEncrypted
			}
			n := newNode(t, d, mode, nil)
			p := textPush("1", testWords)
			tt.change(&p)
			got := n.post(t, p)
			if got.status != tt.status {
				t.Errorf("status %d, want %d", got.status, tt.status)
			}
			if got.body != http.StatusText(tt.status)+"\n" {
				t.Errorf("the caller is told %q", got.body)
			}
			if n.refused(tt.reason) != 1 || n.outcome(outcomeRefused) != 1 {
				t.Errorf("not counted as %s", tt.reason)
			}
			if logs := n.logs.String(); !strings.Contains(logs, `"reason":"`+tt.reason+`"`) {
				t.Errorf("no log line: %s", logs)
			}
			n.noLeak(t)
			if n.dialogue.turns.Load() != 0 {
				t.Error("a turn ran")
			}
		})
	}
	t.Cleanup(func() {
		var rows int
		if err := d.QueryRowContext(context.Background(), "select count(*) from messages").Scan(&rows); err != nil || rows != 0 {
			t.Errorf("%d rows stored, %v", rows, err)
		}
	})
}

func TestOtherMethods(t *testing.T) {
	t.Parallel()
	n := newNode(t, dbtest.SQLite(t), company.ModeEncrypted, nil)
	w := httptest.NewRecorder()
	n.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/wechat/demo", nil))
	if w.Code != 405 || w.Header().Get("Allow") != "GET, POST" {
		t.Errorf("%d, %v", w.Code, w.Header())
	}
}

// A POST that carries echostr is a push.
func TestEchoInAPush(t *testing.T) {
	t.Parallel()
	n := newNode(t, dbtest.SQLite(t), company.ModeEncrypted, nil)
	r := textPush("1", "您好").request(t)
	r.URL.RawQuery += "&echostr=1234567"
	if got := n.serve(t, r); got.text != "收到:您好" {
		t.Errorf("%+v", got)
	}
}

// The platform is authentic, its XML is not: kept raw, acknowledged.
func TestUndecodableIsKept(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := newNode(t, d, company.ModeEncrypted, nil)
		for _, doc := range []string{"\x00\xff not xml", "<xml><FromUserName>", "<xml></xml>"} {
			if got := n.post(t, push{xml: doc}); got.status != 200 || got.body != success {
				t.Errorf("%q: %+v", doc, got)
			}
		}
		if n.rows(t) != 3 || n.dialogue.turns.Load() != 0 {
			t.Errorf("%d rows, %d turns", n.rows(t), n.dialogue.turns.Load())
		}
		n.noLeak(t)
	})
}

func TestUnknownKindsAreKeptAndAcknowledged(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := newNode(t, d, company.ModeEncrypted, nil)
		p := textPush("1", "x")
		p.xml = strings.Replace(p.xml, "[text]", "[hologram]", 1)
		for _, p := range []push{p, eventPush("brand_new", ""), eventPush("LOCATION", "<Latitude>1</Latitude>"), eventPush("VIEW", "<EventKey>u</EventKey>")} {
			if got := n.post(t, p); got.status != 200 || got.body != success {
				t.Errorf("%+v", got)
			}
		}
		if n.rows(t) != 4 || n.dialogue.turns.Load() != 0 {
			t.Errorf("%d rows, %d turns", n.rows(t), n.dialogue.turns.Load())
		}
	})
}

func TestEvents(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := newNode(t, d, company.ModeEncrypted, nil)
		if got := n.post(t, eventPush("CLICK", "<EventKey>repair</EventKey>")); got.text != "收到:repair" {
			t.Errorf("CLICK: %+v", got)
		}
		// Results are acknowledged first; the turn runs beside.
		release := make(chan struct{})
		n.dialogue.silent = true
		n.dialogue.before = func(context.Context, conversation.Message, bool) error { <-release; return nil }
		if got := n.post(t, eventPush("TEMPLATESENDJOBFINISH", "<MsgID>1</MsgID><Status>success</Status>")); got.body != success {
			t.Errorf("result: %+v", got)
		}
		close(release)
		if err := n.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n.dialogue.turns.Load() != 2 {
			t.Errorf("%d turns", n.dialogue.turns.Load())
		}
		if left, err := n.conversations.Unanswered(t.Context(), -time.Hour, 10); err != nil || len(left) != 0 {
			t.Errorf("%d unanswered, %v", len(left), err)
		}
	})
}

// More results than may run at once are left to the sweep, not lost.
func TestEventBurst(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := newNode(t, d, company.ModeEncrypted, func(o *Options) { o.Aside = 2 })
		release := make(chan struct{})
		n.dialogue.silent = true
		n.dialogue.before = func(context.Context, conversation.Message, bool) error { <-release; return nil }
		for i := range 10 {
			if got := n.post(t, eventPush("TEMPLATESENDJOBFINISH", fmt.Sprintf("<MsgID>%d</MsgID><Status>success</Status>", i))); got.body != success {
				t.Errorf("%+v", got)
			}
		}
		close(release)
		if err := n.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		left, err := n.conversations.Unanswered(t.Context(), -time.Hour, 100)
		if err != nil || int64(len(left))+n.dialogue.turns.Load() != 10 || len(left) < 8 {
			t.Errorf("%d unanswered, %d turns, %v", len(left), n.dialogue.turns.Load(), err)
		}
	})
}

func TestThreeTriesAtOnceAreOneTurn(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := newNode(t, d, company.ModeEncrypted, nil)
		n.dialogue.before = func(context.Context, conversation.Message, bool) error {
			time.Sleep(20 * time.Millisecond)
			return nil
		}
		replies := make([]reply, 3)
		var wg sync.WaitGroup
		for i := range replies {
			r := textPush("77", "您好").request(t)
			wg.Go(func() { replies[i] = n.serve(t, r) })
		}
		wg.Wait()
		for _, got := range replies {
			if got.text != "收到:您好" {
				t.Errorf("%+v", got)
			}
		}
		if n.rows(t) != 1 || n.dialogue.turns.Load() != 1 {
			t.Errorf("%d rows, %d turns", n.rows(t), n.dialogue.turns.Load())
		}
	})
}

// Identical bytes are a retry, on this node, on another and after a restart.
func TestRetryGetsTheSameAnswer(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		p := textPush("77", "您好")
		p.nonce = "fixed"
		first := newNode(t, d, company.ModeEncrypted, nil)
		want := first.post(t, p)
		second := newNode(t, d, company.ModeEncrypted, nil)
		anew := p
		anew.nonce = "signed-anew"
		for name, got := range map[string]reply{
			"same node": first.post(t, p), "another node": second.post(t, p), "signed anew": second.post(t, anew),
		} {
			if got.text != want.text || got.text == "" {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
		if first.rows(t) != 1 || first.dialogue.turns.Load()+second.dialogue.turns.Load() != 1 {
			t.Errorf("%d rows, %d + %d turns", first.rows(t), first.dialogue.turns.Load(), second.dialogue.turns.Load())
		}
	})
}

// The same timestamp and nonce with another body are refused, also by a node
// that has not seen the first.
func TestReplayedNonceIsRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{company.ModePlain, company.ModeEncrypted} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dbtest.Run(t, func(t *testing.T, d *db.DB) {
				first := newNode(t, d, mode, nil)
				second := newNode(t, d, mode, nil)
				p := textPush("77", "您好")
				p.nonce, p.plain = "fixed", mode == company.ModePlain
				if got := first.post(t, p); got.text == "" {
					t.Fatalf("%+v", got)
				}
				otherWords, otherID := p, p
				otherWords.xml = textPush("77", "转账给我").xml
				otherID.xml = textPush("78", "转账给我").xml
				for _, n := range []*node{first, second} {
					for _, p := range []push{otherWords, otherID} {
						if got := n.post(t, p); got.status != 403 {
							t.Errorf("%+v", got)
						}
					}
					if n.refused(reasonReplay) != 2 {
						t.Errorf("counted %v times", n.refused(reasonReplay))
					}
				}
				if first.rows(t) != 1 {
					t.Errorf("%d rows", first.rows(t))
				}
			})
		})
	}
}

// Over the budget: empty success now, the answer by the service carrier, and a
// retry does not answer a second time.
func TestBudgetExceeded(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := newNode(t, d, company.ModeEncrypted, func(o *Options) { o.Budget, o.StoreTimeout = 1500*time.Millisecond, 1400*time.Millisecond })
		release := make(chan struct{})
		n.dialogue.before = func(context.Context, conversation.Message, bool) error { <-release; return nil }
		p := textPush("77", "您好")
		p.nonce = "fixed"
		if got := n.post(t, p); got.status != 200 || got.body != success {
			t.Errorf("%+v", got)
		}
		if got := n.post(t, p); got.status != 200 || got.body != success {
			t.Errorf("retry during the turn: %+v", got)
		}
		close(release)
		if err := n.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := n.post(t, p); got.status != 200 || got.body != success {
			t.Errorf("retry after the turn: %+v", got)
		}
		if late := n.dialogue.lateOnes(); len(late) != 1 || n.dialogue.turns.Load() != 1 {
			t.Errorf("late %v, %d turns", late, n.dialogue.turns.Load())
		}
		if n.outcome(outcomeGivenUp) != 2 {
			t.Errorf("given up %v times", n.outcome(outcomeGivenUp))
		}
	})
}

// A turn on another node: its answer is waited for.
func TestRetryWaitsForAnotherNode(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		first := newNode(t, d, company.ModeEncrypted, nil)
		second := newNode(t, d, company.ModeEncrypted, nil)
		started, release := make(chan struct{}), make(chan struct{})
		first.dialogue.before = func(context.Context, conversation.Message, bool) error {
			close(started)
			<-release
			return nil
		}
		p := textPush("77", "您好")
		p.nonce = "fixed"
		r1, r2 := p.request(t), p.request(t)
		var got1, got2 reply
		var wg sync.WaitGroup
		wg.Go(func() { got1 = first.serve(t, r1) })
		<-started
		wg.Go(func() { got2 = second.serve(t, r2) })
		time.Sleep(30 * time.Millisecond)
		close(release)
		wg.Wait()
		if got1.text != "收到:您好" || got2.text != got1.text || second.dialogue.turns.Load() != 0 {
			t.Errorf("%+v, %+v, %d turns on the second", got1, got2, second.dialogue.turns.Load())
		}
	})
}

// The first node died between storing and answering: a retry takes over, and
// without a retry the sweep finds the message.
func TestNodeDiesBeforeTheTurn(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := newNode(t, d, company.ModeEncrypted, func(o *Options) { o.Budget, o.StoreTimeout = 1500*time.Millisecond, 1400*time.Millisecond })
		in, err := decode([]byte(textPush("77", "您好").xml), testAppID)
		if err != nil {
			t.Fatal(err)
		}
		in.CompanyID, in.AccountID = "c1", "a1"
		m, _, err := n.conversations.Receive(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		// A young message belongs to a node that may live: no second turn.
		if got := n.post(t, textPush("77", "您好")); got.body != success || n.dialogue.turns.Load() != 0 {
			t.Errorf("%+v, %d turns", got, n.dialogue.turns.Load())
		}
		if m, err = n.conversations.Message(t.Context(), m.ID); err != nil || m.Carrier != conversation.CarrierService {
			t.Fatalf("%+v, %v", m, err)
		}
		// Another one whose node has been silent for long.
		in.MsgID, in.DedupeKey, in.NonceKey = "78", testAppID+"|msg|78", ""
		if _, _, err = n.conversations.Receive(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		old := db.At(time.Now().Add(-5 * time.Second))
		if _, err := d.ExecContext(t.Context(), "update unsettled set turn_at = $1", old); err != nil {
			t.Fatal(err)
		}
		if got := n.post(t, textPush("78", "您好")); got.text != "收到:您好" {
			t.Errorf("retry at a dead node's message: %+v", got)
		}
		left, err := n.conversations.Unanswered(t.Context(), time.Second, 10)
		if err != nil || len(left) != 1 || left[0].ID != m.ID {
			t.Errorf("the sweep found %d, %v", len(left), err)
		}
	})
}

// The node died after the turn and before the last byte: a retry gets the
// answer; without one the sweep sends it.
func TestNodeDiesBeforeTheReply(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := newNode(t, d, company.ModeEncrypted, nil)
		in, err := decode([]byte(textPush("77", "您好").xml), testAppID)
		if err != nil {
			t.Fatal(err)
		}
		in.CompanyID, in.AccountID = "c1", "a1"
		m, _, err := n.conversations.Receive(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if _, carrier, err := n.dialogue.Turn(t.Context(), m, true); err != nil || carrier != conversation.CarrierExchange {
			t.Fatal(carrier, err)
		}
		lapsed := func() (n2 int) {
			t.Helper()
			err := d.InTx(t.Context(), "test.lapsed", func(ctx context.Context, tx *db.Tx) error {
				ms, err := n.conversations.LapsedExchangesTx(ctx, tx, -time.Second, 10)
				n2 = len(ms)
				return errors.Join(err, errors.New("only looking"))
			})
			if !strings.Contains(err.Error(), "only looking") {
				t.Fatal(err)
			}
			return n2
		}
		if lapsed() != 1 {
			t.Error("the sweep does not see the open exchange")
		}
		if got := n.post(t, textPush("77", "您好")); got.text != "收到:您好" {
			t.Errorf("retry: %+v", got)
		}
		deadline := time.Now().Add(5 * time.Second)
		for lapsed() != 0 {
			if time.Now().After(deadline) {
				t.Fatal("the finished exchange was not noted")
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

func TestTurnFailsOrPanics(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := newNode(t, d, company.ModeEncrypted, nil)
		n.dialogue.before = func(_ context.Context, m conversation.Message, _ bool) error {
			if m.MsgID == "1" {
				panic("words: " + m.Text + m.OpenID)
			}
			return errors.New("a bug")
		}
		for _, id := range []string{"1", "2"} {
			if got := n.post(t, textPush(id, testWords)); got.status != 200 || got.body != success {
				t.Errorf("%+v", got)
			}
		}
		if n.outcome(outcomeFailed) != 2 {
			t.Errorf("counted %v", n.outcome(outcomeFailed))
		}
		n.noLeak(t)
		if left, err := n.conversations.Unanswered(t.Context(), -time.Hour, 10); err != nil || len(left) != 2 {
			t.Errorf("%d for the sweep, %v", len(left), err)
		}
	})
}

func TestPanicOfOursIsRefused(t *testing.T) {
	t.Parallel()
	n := newNode(t, dbtest.SQLite(t), company.ModeEncrypted, func(o *Options) { o.Accounts = panicking{} })
	if got := n.post(t, textPush("1", testWords)); got.status != 500 {
		t.Errorf("%+v", got)
	}
	if n.refused(reasonPanic) != 1 {
		t.Error("not counted")
	}
	n.noLeak(t)
}

type panicking struct{}

func (panicking) Account(context.Context, string) (company.WeChatAccount, bool) {
	panic("secret " + testToken)
}

// Nothing to say is never an empty Content, which would show a fault.
func TestNothingToSay(t *testing.T) {
	t.Parallel()
	n := newNode(t, dbtest.SQLite(t), company.ModeEncrypted, nil)
	n.dialogue.silent = true
	if got := n.post(t, textPush("1", "嗯")); got.status != 200 || got.body != success {
		t.Errorf("%+v", got)
	}
}

// A connection that stays half open ends at the read deadline, whatever the
// server's own time-outs.
func TestHalfOpenSocket(t *testing.T) {
	t.Parallel()
	n := newNode(t, dbtest.SQLite(t), company.ModeEncrypted, nil)
	server := httptest.NewServer(n)
	defer server.Close()
	r := textPush("1", "您好").request(t)
	body, send := io.Pipe()
	defer send.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+r.URL.RequestURI(), body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 1000
	go func() { _, _ = send.Write([]byte("<xml>")) }()
	began := time.Now()
	resp, err := server.Client().Do(req)
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("held for %v", took)
	}
	if n.refused(reasonBody) != 1 {
		t.Error("not counted")
	}
}

// Over a real server, keep-alive connections carry several pushes.
func TestOverTheWire(t *testing.T) {
	t.Parallel()
	n := newNode(t, dbtest.SQLite(t), company.ModeEncrypted, nil)
	server := httptest.NewServer(n)
	defer server.Close()
	for i := range 3 {
		r := textPush(fmt.Sprint(i), "您好").request(t)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Post(server.URL+r.URL.RequestURI(), "text/xml", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(answer), "<Encrypt>") || resp.ContentLength != int64(len(answer)) {
			t.Errorf("%d %q, %v", resp.StatusCode, answer, err)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{}); err == nil {
		t.Error("a handler of nothing was made")
	}
	d := dbtest.SQLite(t)
	n := newNode(t, d, company.ModePlain, nil)
	o := n.o
	o.Metrics, o.Budget, o.StoreTimeout = nil, time.Second, 2*time.Second
	if _, err := New(o); err == nil {
		t.Error("a store timeout above the budget was taken")
	}
}

// Vector C arrives as the official sample sends it: a compatible body.
func TestOfficialSampleOverHTTP(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	n := newNode(t, d, company.ModeCompatible, nil)
	n.clk.Set(time.Unix(1409735669, 0))
	q := url.Values{
		"signature": {Sign(testToken, "1409735669", "1320562132")}, "timestamp": {"1409735669"}, "nonce": {"1320562132"},
		"encrypt_type": {"aes"}, "msg_signature": {"5d197aaffba7e9b25a30732f161a50dee96bd5fa"},
	}
	body := `<xml><ToUserName><![CDATA[gh_10f6c3c3ac5a]]></ToUserName><FromUserName><![CDATA[oyORnuP8q7ou2gfYjqLzSIWZf0rs]]></FromUserName><CreateTime>1409735668</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[abcdteT]]></Content><MsgId>6054768590064713728</MsgId><Encrypt><![CDATA[` + vectorC + `]]></Encrypt></xml>`
	w := httptest.NewRecorder()
	n.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/wechat/demo?"+q.Encode(), strings.NewReader(body)))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "<Encrypt>") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}
