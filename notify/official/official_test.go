package official

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

	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/ledger"
	"guanjia/internal/wechatapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// windows counts what was spent and has only so much.
type windows struct {
	mu    sync.Mutex
	left  int
	spent int
	err   error
}

func (w *windows) SpendWindow(context.Context, string, string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || w.left == 0 {
		return false, w.err
	}
	w.left--
	w.spent++
	return true, nil
}

type bench struct {
	o       Options
	w       *windows
	mu      sync.Mutex
	answers []string // of the platform, the last one stays
	bodies  []map[string]any
}

func newBench(t *testing.T, answers ...string) *bench {
	t.Helper()
	b := &bench{w: &windows{left: 5}, answers: answers}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "stable_token") {
			fmt.Fprint(w, `{"access_token":"T","expires_in":7200}`)
			return
		}
		raw, _ := io.ReadAll(r.Body)
		var body map[string]any
		_ = json.Unmarshal(raw, &body)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.bodies = append(b.bodies, body)
		answer := b.answers[0]
		if len(b.answers) > 1 {
			b.answers = b.answers[1:]
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(srv.Close)
	api, err := wechatapi.New(wechatapi.Options{
		Bases: map[string]string{wechatapi.HostAPI: srv.URL},
		Clock: clock.System(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	b.o = Options{API: api, Directory: directory(t), Windows: b.w, Clock: clock.System()}
	return b
}

// directory has the company of the tests.
func directory(t *testing.T) *company.Store {
	t.Helper()
	d := dbtest.SQLite(t)
	sealer, err := company.NewSealer(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := company.New(d, sealer)
	err = d.InTx(t.Context(), "seed", func(ctx context.Context, tx *db.Tx) error {
		return errors.Join(
			s.CreateTx(ctx, tx, company.Company{ID: "c1", Name: "物业", Short: "物业", Settings: company.DefaultSettings()}),
			s.PutWeChatTx(ctx, tx, company.WeChatAccount{
				ID: "w1", CompanyID: "c1", Path: "demo", AppID: "wx1", Secret: "s", Token: "token", Mode: company.ModePlain,
				OriginalID: "gh_1", AESKey: strings.Repeat("a", 43),
				Templates: map[string]string{"answer_waiting": "TPL"},
			}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (b *bench) calls() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.bodies)
}

const okAnswer = `{"errcode":0,"errmsg":"ok"}`

func message(change func(d *ledger.Delivery)) ledger.Delivery {
	d := ledger.Delivery{
		ID: "0190-ab", CompanyID: "c1", Channel: ledger.ChannelService, AccountID: "w1", Address: "oABC",
		Class: ledger.ClassReply, Text: "师傅十分钟到",
	}
	if change != nil {
		change(&d)
	}
	return d
}

func TestServiceSend(t *testing.T) {
	t.Parallel()
	options := json.RawMessage(`{"options":[{"id":"101","text":"已解决"},{"id":"102","text":"未解决"}]}`)
	words := json.RawMessage(`{"options":[{"id":"yes","text":"是"}]}`)
	for _, c := range []struct {
		name    string
		answers []string
		change  func(d *ledger.Delivery)
		attempt ledger.Attempt
		left    int
		want    ledger.Outcome
		calls   int
		spent   int
		check   func(t *testing.T, b *bench)
	}{
		{name: "text", want: ledger.Outcome{Kind: ledger.OK}, calls: 1, spent: 1, check: func(t *testing.T, b *bench) {
			if got := b.bodies[0]["text"].(map[string]any)["content"]; got != "师傅十分钟到" {
				t.Errorf("sent %v", got)
			}
		}},
		{name: "menu", change: func(d *ledger.Delivery) { d.Payload = options }, want: ledger.Outcome{Kind: ledger.OK}, calls: 1, spent: 1, check: func(t *testing.T, b *bench) {
			if b.bodies[0]["msgtype"] != "msgmenu" {
				t.Errorf("sent as %v", b.bodies[0]["msgtype"])
			}
		}},
		{
			name: "menu refused by the kind of account", change: func(d *ledger.Delivery) { d.Payload = options },
			answers: []string{`{"errcode":40200,"errmsg":"invalid account type"}`, okAnswer},
			want:    ledger.Outcome{Kind: ledger.OK}, calls: 2, spent: 1, check: func(t *testing.T, b *bench) {
				if got := b.bodies[1]["text"].(map[string]any)["content"]; got != "师傅十分钟到\n1. 已解决\n2. 未解决" {
					t.Errorf("sent %v", got)
				}
			},
		},
		{name: "options that cannot be a menu", change: func(d *ledger.Delivery) { d.Payload = words }, want: ledger.Outcome{Kind: ledger.OK}, calls: 1, spent: 1, check: func(t *testing.T, b *bench) {
			if b.bodies[0]["msgtype"] != "text" {
				t.Errorf("sent as %v", b.bodies[0]["msgtype"])
			}
		}},
		{name: "window closed", left: -5, want: ledger.Outcome{Kind: ledger.Unreachable, Code: "window_closed", NoCall: true}},
		{name: "danger asks the platform", left: -5, change: func(d *ledger.Delivery) { d.Class = ledger.ClassDanger }, want: ledger.Outcome{Kind: ledger.OK}, calls: 1},
		{name: "platform says window", answers: []string{`{"errcode":45015,"errmsg":"x"}`}, want: ledger.Outcome{Kind: ledger.Unreachable, Code: "45015"}, calls: 1, spent: 1},
		{name: "allowance", answers: []string{`{"errcode":45047,"errmsg":"x"}`}, want: ledger.Outcome{Kind: ledger.Unreachable, Code: "45047"}, calls: 1, spent: 1},
		{name: "busy", answers: []string{`{"errcode":-1,"errmsg":"x"}`}, want: ledger.Outcome{Kind: ledger.Retry, Code: "-1"}, calls: 1, spent: 1},
		{name: "repeat of a refused call spends nothing", attempt: ledger.Attempt{N: 2}, want: ledger.Outcome{Kind: ledger.OK}, calls: 1, spent: 0},
		{name: "repeat of a lost call spends again", attempt: ledger.Attempt{N: 2}, change: func(d *ledger.Delivery) { d.Submissions = 1 }, want: ledger.Outcome{Kind: ledger.OK}, calls: 1, spent: 1},
		{name: "permission", answers: []string{`{"errcode":48001,"errmsg":"x"}`}, want: ledger.Outcome{Kind: ledger.Stop, Code: "48001"}, calls: 1, spent: 1},
		{name: "empty answer", answers: []string{``}, want: ledger.Outcome{Kind: ledger.Ambiguous, Code: "-1004"}, calls: 1, spent: 1},
		{name: "token refused for good", answers: []string{`{"errcode":42001,"errmsg":"x"}`}, want: ledger.Outcome{Kind: ledger.RefreshToken, Code: "42001"}, calls: 2, spent: 1},
		{name: "no account", change: func(d *ledger.Delivery) { d.AccountID = "nobody" }, want: ledger.Outcome{Kind: ledger.Stop, Code: "no_account"}},
		{name: "too long", change: func(d *ledger.Delivery) { d.Text = strings.Repeat("长", 700) }, want: ledger.Outcome{Kind: ledger.Permanent, Code: "too_long", NoCall: true}},
		{name: "no words", change: func(d *ledger.Delivery) { d.Text = "" }, want: ledger.Outcome{Kind: ledger.Permanent, Code: "too_long", NoCall: true}},
		{name: "payload", change: func(d *ledger.Delivery) { d.Payload = json.RawMessage(`[1]`) }, want: ledger.Outcome{Kind: ledger.Permanent, Code: "bad_payload", NoCall: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.answers == nil {
				c.answers = []string{okAnswer}
			}
			b := newBench(t, c.answers...)
			b.w.left += c.left
			if c.attempt.N == 0 {
				c.attempt.N = 1
			}
			got := NewService(b.o).Send(t.Context(), message(c.change), c.attempt)
			if got != c.want {
				t.Errorf("outcome %+v, want %+v", got, c.want)
			}
			if b.calls() != c.calls || b.w.spent != c.spent {
				t.Errorf("%d calls, %d spent; want %d and %d", b.calls(), b.w.spent, c.calls, c.spent)
			}
			if c.check != nil && !t.Failed() {
				c.check(t, b)
			}
		})
	}
}

func TestWindowStoreAway(t *testing.T) {
	t.Parallel()
	b := newBench(t, okAnswer)
	b.w.err = errors.New("database away")
	got := NewService(b.o).Send(t.Context(), message(nil), ledger.Attempt{N: 1})
	if got.Kind != ledger.Retry || b.calls() != 0 {
		t.Errorf("outcome %+v, %d calls", got, b.calls())
	}
	// Emergencies leave all the same.
	got = NewService(b.o).Send(t.Context(), message(func(d *ledger.Delivery) { d.Class = ledger.ClassDanger }), ledger.Attempt{N: 1})
	if got.Kind != ledger.OK {
		t.Errorf("danger: outcome %+v", got)
	}
}

func TestNotFollowingIsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t, `{"errcode":43004,"errmsg":"require subscribe"}`)
	told := ""
	b.o.NotFollowing = func(_ context.Context, account, openID string) { told = account + " " + openID }
	NewService(b.o).Send(t.Context(), message(nil), ledger.Attempt{N: 1})
	if told != "w1 oABC" {
		t.Errorf("told %q", told)
	}
}

func TestQuotaWaitsForMidnightInChina(t *testing.T) {
	t.Parallel()
	b := newBench(t, `{"errcode":45009,"errmsg":"quota"}`)
	b.o.Clock = clock.NewManual(time.Date(2026, 11, 25, 14, 0, 0, 0, time.UTC)) // 22:00 there
	got := NewService(b.o).Send(t.Context(), message(nil), ledger.Attempt{N: 1})
	if got.Kind != ledger.Quota || got.RetryAfter != 2*time.Hour+30*time.Second {
		t.Errorf("outcome %+v", got)
	}
}

func template(fields string) ledger.Delivery {
	return message(func(d *ledger.Delivery) {
		d.Channel, d.Text = ledger.ChannelTemplate, ""
		d.Payload = json.RawMessage(`{"purpose":"answer_waiting","url":"https://x","fields":` + fields + `}`)
	})
}

func TestTemplateSend(t *testing.T) {
	t.Parallel()
	b := newBench(t, `{"errcode":0,"errmsg":"ok","msgid":3717005636572528642}`)
	s := NewTemplate(b.o)
	got := s.Send(t.Context(), template(`{"thing2":"电梯"}`), ledger.Attempt{N: 1})
	if got != (ledger.Outcome{Kind: ledger.OK, VendorID: "3717005636572528642"}) {
		t.Fatalf("outcome %+v", got)
	}
	if b.bodies[0]["template_id"] != "TPL" || b.bodies[0]["client_msg_id"] != "0190ab" || b.bodies[0]["url"] != "https://x" {
		t.Errorf("sent %v", b.bodies[0])
	}
	// A repeat carries the same id.
	s.Send(t.Context(), template(`{"thing2":"电梯"}`), ledger.Attempt{N: 2})
	if b.bodies[1]["client_msg_id"] != b.bodies[0]["client_msg_id"] {
		t.Error("the repeat has another client_msg_id")
	}
	for name, c := range map[string]struct {
		d    ledger.Delivery
		code string
	}{
		"field":      {template(`{"thing2":"` + strings.Repeat("长", 21) + `"}`), "field:thing2"},
		"no fields":  {template(`{}`), "bad_payload"},
		"no payload": {message(func(d *ledger.Delivery) { d.Payload = nil }), "bad_payload"},
		"purpose": {message(func(d *ledger.Delivery) {
			d.Payload = json.RawMessage(`{"purpose":"x","fields":{"thing1":"a"}}`)
		}), "no_template"},
	} {
		if got := s.Send(t.Context(), c.d, ledger.Attempt{N: 1}); got.Kind != ledger.Permanent || got.Code != c.code {
			t.Errorf("%s: outcome %+v", name, got)
		}
	}
	if b.calls() != 2 {
		t.Errorf("%d calls", b.calls())
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	good := map[string][]string{
		"thing1":            {"三栋电梯又坏了，老人下不了楼", "a 1 ！", strings.Repeat("字", 20)},
		"character_string1": {"#20931088", "T0012"},
		"time2":             {"15:01", "2019年10月1日 15:01", "2023-11-23 14:10:29", "2026年8月1日 09:00~18:00"},
		"date3":             {"2019年10月1日 15:01", "2019年10月1日", "2019-10-01"},
		"amount1":           {"¥100.00", "88元"},
		"phone_number1":     {"+86-0766-66888866", "0571-87654321"},
		"car_number1":       {"粤A8Z888挂"},
		"name1":             {"张三", "John Smith"},
		"phrase1":           {"已受理"},
		"number1":           {"12", "3.5"},
		"letter1":           {"abc"},
		"symbol1":           {"！"},
		"const3":            {"待处理"},
		"short_thing1":      {"水电维修"},
	}
	for key, values := range good {
		for _, v := range values {
			if !fieldOK(key, v) {
				t.Errorf("%s refuses %q", key, v)
			}
		}
	}
	bad := map[string][]string{
		"thing1":            {"", " ", strings.Repeat("字", 21), "a\nb"},
		"character_string1": {"编号1", strings.Repeat("1", 33)},
		"time2":             {"明天下午", ""},
		"date3":             {"10月1日"},
		"amount1":           {"一百", "¥12345678901"},
		"phone_number1":     {"电话", strings.Repeat("1", 18)},
		"car_number1":       {"粤A8Z888挂挂挂"},
		"name1":             {"一二三四五六七八九十一", "张3"},
		"phrase1":           {"已经受理了了", "ok"},
		"thing":             {"x"},
		"nothing7":          {"x"},
	}
	for key, values := range bad {
		for _, v := range values {
			if fieldOK(key, v) {
				t.Errorf("%s takes %q", key, v)
			}
		}
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]struct {
		ok   bool
		code string
	}{
		"success":                      {true, "success"},
		"Success":                      {true, "success"},
		"failed:user block":            {false, "user_block"},
		"failed: user block":           {false, "user_block"},
		"failed: system failed":        {false, "system_failed"},
		"failed:freq limit":            {false, "freq_limit"},
		"failed:something new for us ": {false, "failed"},
		"":                             {false, "failed"},
	} {
		r := Result("w1", "o1", "777", status)
		if r.OK != want.ok || r.Code != want.code || !r.Confirmed || r.VendorID != "777" || r.Channel != ledger.ChannelTemplate {
			t.Errorf("%q: %+v", status, r)
		}
	}
}

// TestEveryClassHasAnOutcome: a class that the door invents later must not
// become an outcome by chance.
func TestEveryClassHasAnOutcome(t *testing.T) {
	t.Parallel()
	for _, class := range []wechatapi.Class{
		wechatapi.ClassRetry, wechatapi.ClassToken, wechatapi.ClassAmbiguous, wechatapi.ClassThrottled,
		wechatapi.ClassQuota, wechatapi.ClassWindow, wechatapi.ClassRecipient, wechatapi.ClassOAuth,
		wechatapi.ClassDone, wechatapi.ClassPermanent, wechatapi.ClassTemplate, wechatapi.ClassAccount,
	} {
		if _, ok := outcomes[class]; !ok {
			t.Errorf("class %s has no outcome", class)
		}
	}
	if got := outcomeOf(errors.New("?"), time.Now()); got.Kind != ledger.Ambiguous {
		t.Errorf("a foreign error: %+v", got)
	}
}
