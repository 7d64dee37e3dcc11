package sms

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the vendor's signature
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/ledger"
	"guanjia/internal/telemetry/telemetrytest"
	"guanjia/internal/wording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	keyID     = "testAccessKeyId"
	keySecret = "testSecretForVectors0123456789"
	phone     = "13800000001"
	callback  = "c4llb4ckS3cr3tOfTheCompany00"
)

// signature is the vendor's RPC signature, version 1, written from its
// description: what the SDK sends is compared with it.
func signature(method, secret string, params url.Values) string {
	names := make([]string, 0, len(params))
	for k := range params {
		if k != "Signature" {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	pairs := make([]string, len(names))
	for i, k := range names {
		pairs[i] = encode(k) + "=" + encode(params.Get(k))
	}
	m := hmac.New(sha1.New, []byte(secret+"&"))
	m.Write([]byte(method + "&" + encode("/") + "&" + encode(strings.Join(pairs, "&"))))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

func encode(s string) string {
	return strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(url.QueryEscape(s))
}

// TestSignatureVectors checks the reference against the published vector and
// against those recorded from the SDK.
func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	parse := func(q string) url.Values {
		v, err := url.ParseQuery(q)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	zero := url.Values{}
	for k, v := range map[string]string{
		"AccessKeyId": "testId", "Action": "SendSms", "Format": "XML", "OutId": "123", "PhoneNumbers": "15300000001",
		"RegionId": "cn-hangzhou", "SignName": "阿里云短信测试专用", "SignatureMethod": "HMAC-SHA1",
		"SignatureNonce": "45e25e9b-0a6f-4070-8c85-2956eda1b466", "SignatureVersion": "1.0", "TemplateCode": "SMS_71390007",
		"TemplateParam": `{"customer":"test"}`, "Timestamp": "2017-07-12T02:42:19Z", "Version": "2017-05-25",
	} {
		zero.Set(k, v)
	}
	batch := parse("AccessKeyId=testAccessKeyId&Action=SendBatchSms&Format=JSON&OutId=b42-0002&RegionId=cn-hangzhou&SignatureMethod=HMAC-SHA1&SignatureNonce=48dbe21881a49bf4d1789283ed6c4039&SignatureType=&SignatureVersion=1.0&TemplateCode=SMS_123456789&Timestamp=2026-11-24T00%3A33%3A57Z&Version=2017-05-25")
	for k, v := range parse("PhoneNumberJson=%5B%2213800000001%22%2C%2213800000002%22%5D&SignNameJson=%5B%22%E6%9F%90%E6%9F%90%E7%89%A9%E4%B8%9A%22%2C%22%E6%9F%90%E6%9F%90%E7%89%A9%E4%B8%9A%22%5D&TemplateParamJson=%5B%7B%22name%22%3A%22%E5%BC%A0%E4%B8%89%22%7D%2C%7B%22name%22%3A%22%E6%9D%8E%E5%9B%9B%22%7D%5D") {
		batch[k] = v
	}
	for name, c := range map[string]struct {
		method, secret, want string
		params               url.Values
	}{
		"published": {"GET", "testSecret", "zJDF+Lrzhj/ThnlvIToysFRq6t4=", zero},
		"SendSms": {"POST", keySecret, "HumpOWyefQZ6xsHym+56Fky3+dI=", parse(
			"AccessKeyId=testAccessKeyId&Action=SendSms&Format=JSON&OutId=b42-0001&PhoneNumbers=13800000001%2C13800000002&RegionId=cn-hangzhou&SignName=%E6%9F%90%E6%9F%90%E7%89%A9%E4%B8%9A&SignatureMethod=HMAC-SHA1&SignatureNonce=029b579dd86422a3231d4946261204f2&SignatureType=&SignatureVersion=1.0&TemplateCode=SMS_123456789&TemplateParam=%7B%22time%22%3A%228%E6%9C%881%E6%97%A5+09%3A00~18%3A00%22%2C%22area%22%3A%223%23%E6%A5%BC%2A%E5%85%A8%E9%83%A8%22%7D&Timestamp=2026-11-24T00%3A33%3A57Z&Version=2017-05-25",
		)},
		"SendBatchSms": {"POST", keySecret, "OvD3WQiVzFI9VXZEHS0TNQuFwLw=", batch},
		"QuerySendDetails": {"POST", keySecret, "dteBj4MIGn0n3dA85Z+kRXj+4uA=", parse(
			"AccessKeyId=testAccessKeyId&Action=QuerySendDetails&CurrentPage=1&Format=JSON&PageSize=50&PhoneNumber=13800000001&RegionId=cn-hangzhou&SendDate=20260801&SignatureMethod=HMAC-SHA1&SignatureNonce=cffe030df5ac036833bf95c68d3303b6&SignatureType=&SignatureVersion=1.0&Timestamp=2026-11-24T00%3A33%3A57Z&Version=2017-05-25",
		)},
		"STS": {"POST", "testStsSecret", "EYPPPkQ34HOBvPA7ntOkDQInuCY=", parse(
			"AccessKeyId=STS.testAccessKeyId&Action=SendSms&Format=JSON&OutId=b42-0003&PhoneNumbers=13800000001&RegionId=cn-hangzhou&SecurityToken=testSecurityToken%2B%2F%3D&SignName=%E6%9F%90%E6%9F%90%E7%89%A9%E4%B8%9A&SignatureMethod=HMAC-SHA1&SignatureNonce=5c0e1222f8befb80fe0c90b1cb1a3009&SignatureType=&SignatureVersion=1.0&TemplateCode=SMS_123456789&TemplateParam=%7B%22a%22%3A%22~%2A%2B+%22%7D&Timestamp=2026-11-24T02%3A07%3A53Z&Version=2017-05-25",
		)},
	} {
		if got := signature(c.method, c.secret, c.params); got != c.want {
			t.Errorf("%s: signature %s, want %s", name, got, c.want)
		}
	}
}

// vendor is Aliyun SMS: it checks the signature of every request and answers
// what the test says.
type vendor struct {
	*httptest.Server
	t     *testing.T
	mu    sync.Mutex
	calls []url.Values
	reply answerFunc
}

type answerFunc func(w http.ResponseWriter, r *http.Request, q url.Values)

// answer sets what is answered from now on.
func (v *vendor) answer(f answerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reply = f
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/dysmsapi.aliyuncs.com/" || r.Method != http.MethodPost {
		v.t.Errorf("%s %s", r.Method, r.URL.Path)
	}
	_ = r.ParseForm()
	q := r.Form
	if got := q.Get("Signature"); got != signature(r.Method, keySecret, q) {
		v.t.Errorf("signature of the SDK is %s, ours %s", got, signature(r.Method, keySecret, q))
	}
	v.mu.Lock()
	v.calls = append(v.calls, q)
	answer := v.reply
	v.mu.Unlock()
	answer(w, r, q)
}

func (v *vendor) count(action string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	for _, q := range v.calls {
		if q.Get("Action") == action {
			n++
		}
	}
	return n
}

type bench struct {
	t   *testing.T
	db  *db.DB
	clk *clock.Manual
	l   *ledger.Ledger
	v   *vendor
	s   *Service
	log *telemetrytest.Log
	acc company.SMSAccount
}

func newBench(t *testing.T, d *db.DB, hook UplinkFunc) *bench {
	t.Helper()
	b := &bench{t: t, db: d, clk: clock.NewManual(time.Date(2026, 11, 25, 1, 0, 0, 0, time.UTC)), log: telemetrytest.Capture(t)}
	b.v = &vendor{t: t, reply: func(w http.ResponseWriter, _ *http.Request, q url.Values) {
		fmt.Fprintf(w, `{"Code":"OK","Message":"OK","BizId":"biz^%s","RequestId":"R"}`, q.Get("OutId"))
	}}
	b.v.Server = httptest.NewServer(b.v)
	t.Cleanup(b.v.Close)
	b.l = ledger.Open(d, b.clk, slog.New(slog.DiscardHandler))
	t.Cleanup(b.l.Stop)
	b.acc = company.SMSAccount{
		ID: "s1", CompanyID: "c1", AccessKeyID: keyID, AccessKeySecret: keySecret, Sign: "某某物业", CallbackSecret: callback,
		Templates: map[string]string{"bind_code": "SMS_1", "outage": "SMS_2"},
	}
	var err error
	b.s, err = New(Options{
		Base: b.v.URL + "/dysmsapi.aliyuncs.com", Workers: 4, Directory: directory(t, d, b.acc), Ledger: b.l, DB: d,
		Clock: b.clk, Logger: b.log.Logger, OnUplink: hook,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.s.Close)
	return b
}

func directory(t *testing.T, d *db.DB, acc company.SMSAccount) *company.Store {
	t.Helper()
	sealer, err := company.NewSealer(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := company.New(d, sealer)
	err = d.InTx(t.Context(), "seed", func(ctx context.Context, tx *db.Tx) error {
		return errors.Join(
			s.CreateTx(ctx, tx, company.Company{ID: "c1", Name: "物业", Short: "物业", Settings: company.DefaultSettings()}),
			s.PutSMSTx(ctx, tx, acc))
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t *testing.T, f func(b *bench)) {
	t.Helper()
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) { f(newBench(t, d, nil)) })
}

func delivery(change func(d *ledger.Delivery)) ledger.Delivery {
	d := ledger.Delivery{
		ID: "d1", CompanyID: "c1", Channel: ledger.ChannelSMS, AccountID: "s1", Address: phone, Class: ledger.ClassCode,
		Payload: json.RawMessage(`{"purpose":"bind_code","params":{"code":"385012","minutes":"5"}}`),
	}
	if change != nil {
		change(&d)
	}
	return d
}

func TestSend(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t), nil)
	got := b.s.Send(t.Context(), delivery(nil), ledger.Attempt{OutID: "out1"})
	if got != (ledger.Outcome{Kind: ledger.OK, Code: "OK", VendorID: "biz^out1"}) {
		t.Fatalf("outcome %+v", got)
	}
	q := b.v.calls[0]
	for k, want := range map[string]string{
		"Action": "SendSms", "PhoneNumbers": phone, "SignName": "某某物业", "TemplateCode": "SMS_1",
		"TemplateParam": `{"code":"385012","minutes":"5"}`, "OutId": "out1", "AccessKeyId": keyID,
	} {
		if got := q.Get(k); got != want {
			t.Errorf("%s is %q, want %q", k, got, want)
		}
	}
}

// TestOutcomes goes through the vendor's answers: HTTP 200 and no error mean
// nothing.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t), nil)
	code := func(status int, code, message string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"Code":%q,"Message":%q,"RequestId":"R"}`, code, message)
		}
	}
	raw := func(status int, body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	danger := func(d *ledger.Delivery) { d.Class = ledger.ClassDanger }
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		change func(d *ledger.Delivery)
		kind   ledger.OutcomeKind
		code   string
		after  time.Duration
	}{
		{"balance", code(200, "isv.AMOUNT_NOT_ENOUGH", ""), nil, ledger.Money, "isv.AMOUNT_NOT_ENOUGH", 0},
		{"number", code(200, "isv.MOBILE_NUMBER_ILLEGAL", ""), nil, ledger.Unreachable, "isv.MOBILE_NUMBER_ILLEGAL", 0},
		{"sign", code(200, "isv.SMS_SIGNATURE_ILLEGAL", ""), nil, ledger.Stop, "isv.SMS_SIGNATURE_ILLEGAL", 0},
		{"parameters", code(200, "isv.TEMPLATE_PARAMS_ILLEGAL", ""), nil, ledger.Permanent, "isv.TEMPLATE_PARAMS_ILLEGAL", 0},
		{"unknown isv", code(200, "isv.NEW_THING", ""), nil, ledger.Permanent, "isv.NEW_THING", 0},
		{"unknown isp", code(200, "isp.NEW_THING", ""), nil, ledger.Retry, "isp.NEW_THING", 0},
		{"unknown", code(200, "Whatever", ""), nil, ledger.Ambiguous, "Whatever", 0},
		{"minute", code(200, "isv.BUSINESS_LIMIT_CONTROL", "触发分钟级流控Permits:1"), nil, ledger.Retry, "isv.BUSINESS_LIMIT_CONTROL", 61 * time.Second},
		{"hour", code(200, "isv.BUSINESS_LIMIT_CONTROL", "触发小时级流控Permits:5"), nil, ledger.Retry, "isv.BUSINESS_LIMIT_CONTROL", time.Hour + time.Second},
		{"day", code(200, "isv.BUSINESS_LIMIT_CONTROL", "触发天级流控Permits:10"), nil, ledger.Retry, "isv.BUSINESS_LIMIT_CONTROL", 24 * time.Hour},
		{"day limit", code(200, "isv.DAY_LIMIT_CONTROL", ""), nil, ledger.Quota, "isv.DAY_LIMIT_CONTROL", time.Hour},
		{"gateway", code(200, "isp.SYSTEM_ERROR", ""), nil, ledger.Ambiguous, "isp.SYSTEM_ERROR", 0},
		{"gateway, danger", code(200, "isp.SYSTEM_ERROR", ""), danger, ledger.Retry, "isp.SYSTEM_ERROR", 5 * time.Second},
		{"throttled", code(400, "Throttling.User", ""), nil, ledger.Throttled, "Throttling.User", time.Second},
		{"key", code(404, "InvalidAccessKeyId.NotFound", ""), nil, ledger.Stop, "InvalidAccessKeyId.NotFound", 0},
		{"missing", code(400, "MissingPhoneNumbers", ""), nil, ledger.Stop, "MissingPhoneNumbers", 0},
		{"internal", code(500, "InternalError", ""), nil, ledger.Ambiguous, "InternalError", 0},
		{"accepted without id", code(200, "OK", ""), nil, ledger.Ambiguous, "no_biz_id", 0},
		{"empty object", raw(200, `{}`), nil, ledger.Ambiguous, "no_code", 0},
		{"empty", raw(200, ``), nil, ledger.Ambiguous, "no_code", 0},
		{"html", raw(200, `<html>`), nil, ledger.Ambiguous, "bad_answer", 0},
		{"gateway html", raw(502, `<html>`), nil, ledger.Ambiguous, "http_502", 0},
		{"numeric code", raw(500, `{"Code":500}`), nil, ledger.Ambiguous, "panic", 0},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/dysmsapi.aliyuncs.com/", http.StatusTemporaryRedirect)
		}, nil, ledger.Ambiguous, "redirect", 0},
		{"closed", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.Close()
		}, nil, ledger.Ambiguous, "connection_lost", 0},
		{"huge", raw(200, `{"Code":"`+strings.Repeat("x", 2<<20)+`"}`), nil, ledger.Ambiguous, "bad_answer", 0},
		{"phone", nil, func(d *ledger.Delivery) { d.Address = "0571-1234" }, ledger.Unreachable, "bad_number", 0},
		{"payload", nil, func(d *ledger.Delivery) { d.Payload = nil }, ledger.Permanent, "bad_payload", 0},
		{"purpose", nil, func(d *ledger.Delivery) { d.Payload = json.RawMessage(`{"purpose":"x"}`) }, ledger.Permanent, "no_template", 0},
		{"long value", nil, func(d *ledger.Delivery) {
			d.Payload = json.RawMessage(`{"purpose":"outage","params":{"a":"` + strings.Repeat("长", 36) + `"}}`)
		}, ledger.Permanent, "bad_param", 0},
		{"account", nil, func(d *ledger.Delivery) { d.AccountID = "?" }, ledger.Stop, "no_account", 0},
	} {
		before := b.v.count("SendSms")
		b.v.answer(func(w http.ResponseWriter, r *http.Request, _ url.Values) { c.answer(w, r) })
		got := b.s.Send(t.Context(), delivery(c.change), ledger.Attempt{OutID: "o"})
		if got.Kind != c.kind || got.Code != c.code || got.RetryAfter != c.after {
			t.Errorf("%s: outcome %+v, want %s %s %v", c.name, got, c.kind, c.code, c.after)
		}
		calls := b.v.count("SendSms") - before
		if want := map[bool]int{true: 0, false: 1}[c.answer == nil]; calls != want {
			t.Errorf("%s: %d calls, want %d", c.name, calls, want)
		}
	}
	b.log.NoLeak(t, keySecret, phone, "385012")
}

func TestTimeoutIsAmbiguousNoListenerIsNot(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t), nil)
	b.v.answer(func(_ http.ResponseWriter, r *http.Request, _ url.Values) { <-r.Context().Done() })
	if _, err := b.s.o.Directory.Directory(t.Context()); err != nil { // warm: only the call may be slow
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if got := b.s.Send(ctx, delivery(nil), ledger.Attempt{}); got.Kind != ledger.Ambiguous || got.Code != "timeout" {
		t.Errorf("time-out: %+v", got)
	}
	b.s.Close()
	b.v.Close()
	if got := b.s.Send(t.Context(), delivery(nil), ledger.Attempt{}); got.Kind != ledger.Retry || got.Code != "no_connection" {
		t.Errorf("nobody listens: %+v", got)
	}
}

func TestManyWorkers(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t), nil)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			out := fmt.Sprintf("o%d", i)
			if got := b.s.Send(t.Context(), delivery(nil), ledger.Attempt{OutID: out}); got.VendorID != "biz^"+out {
				t.Errorf("outcome %+v", got)
			}
		})
	}
	wg.Wait()
}

// TestHTTPSOnly: without a simulator nothing leaves in the clear, and nothing
// goes anywhere but to the vendor.
func TestHTTPSOnly(t *testing.T) {
	t.Parallel()
	w, err := newWire("", 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{"http://dysmsapi.aliyuncs.com/", "https://dysmsapi-proxy.cn-beijing.aliyuncs.com/"} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, raw, nil)
		res, err := w.RoundTrip(r)
		if err == nil {
			_ = res.Body.Close()
		}
		if !errors.Is(err, errPlain) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	k, err := newWorker(w)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan *http.Request, 1)
	k.call.wire = roundTrip(func(r *http.Request) (*http.Response, error) {
		seen <- r
		return nil, errors.New("enough")
	})
	k.call.begin(t.Context())
	k.keys = keys{keyID, keySecret}
	_, _ = k.query(phone, "20260801", 1)
	if r := <-seen; r.URL.Scheme != "https" || r.URL.Host != domain {
		t.Errorf("the SDK goes to %s://%s", r.URL.Scheme, r.URL.Host)
	}
}

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRefusedInsideATransaction(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t), nil)
	if _, err := b.s.o.Directory.Directory(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := b.db.InTx(t.Context(), "t", func(ctx context.Context, _ *db.Tx) error {
		if got := b.s.Send(ctx, delivery(nil), ledger.Attempt{}); got.Kind != ledger.Retry || got.Code != "in_transaction" {
			t.Errorf("outcome %+v", got)
		}
		return nil
	})
	if err != nil || b.v.count("SendSms") != 0 {
		t.Errorf("err %v, %d calls", err, b.v.count("SendSms"))
	}
}

// put writes a delivery and takes it through a call with this outcome.
func (b *bench) put(class ledger.Class, kind ledger.OutcomeKind) (id, outID string) {
	b.t.Helper()
	err := b.db.InTx(b.t.Context(), "put", func(ctx context.Context, tx *db.Tx) error {
		var err error
		id, err = b.l.PutTx(ctx, tx, ledger.New{
			CompanyID: "c1", Channel: ledger.ChannelSMS, AccountID: "s1", Address: phone, Class: class,
			Payload: Payload{Purpose: "outage"},
		})
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	list, err := b.l.Claim(b.t.Context(), ledger.ClaimQuery{Lane: ledger.LaneNormal, Limit: 1, Lease: time.Minute})
	if err != nil || len(list) != 1 {
		b.t.Fatalf("claimed %d, err %v", len(list), err)
	}
	a, err := b.l.StartAttempt(b.t.Context(), list[0])
	if err != nil {
		b.t.Fatal(err)
	}
	o := ledger.Outcome{Kind: kind}
	if kind == ledger.OK {
		o.VendorID = "biz^" + a.OutID
	}
	if _, err := b.l.Record(b.t.Context(), a, o); err != nil {
		b.t.Fatal(err)
	}
	return id, a.OutID
}

func (b *bench) want(id string, s ledger.State) {
	b.t.Helper()
	d, err := b.l.ByID(b.t.Context(), b.db, id)
	if err != nil || d.State != s {
		b.t.Fatalf("state %s, err %v; want %s", d.State, err, s)
	}
}

func (b *bench) post(path, body string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, path, strings.NewReader(body))
	w := httptest.NewRecorder()
	b.s.ServeHTTP(w, r)
	return w
}

const reportPath, upPath = "/sms/c1/" + callback + "/report", "/sms/c1/" + callback + "/up"

func acknowledged(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"code":0,"msg":"接收成功"}` {
		t.Fatalf("answered %d %s", w.Code, w.Body.String())
	}
}

func TestReport(t *testing.T) {
	run(t, func(b *bench) {
		id, out := b.put(ledger.ClassPlanned, ledger.OK)
		body := `[{"phone_number":"` + phone + `","send_time":"2026-11-25 09:00:00","report_time":"2026-11-25 09:00:05","success":true,` +
			`"err_code":"DELIVERED","err_msg":"用户接收成功","sms_size":"1","biz_id":"biz^` + out + `","out_id":"` + out + `"}]`
		acknowledged(b.t, b.post(reportPath, body))
		acknowledged(b.t, b.post(reportPath, body)) // and again, as it happens
		if _, err := b.l.ApplyReceipts(b.t.Context(), 10); err != nil {
			b.t.Fatal(err)
		}
		b.want(id, ledger.Delivered)
	})
}

// TestLooseReports: numbers for texts, texts for booleans, fields missing.
func TestLooseReports(t *testing.T) {
	run(t, func(b *bench) {
		one, out1 := b.put(ledger.ClassPlanned, ledger.OK)
		two, out2 := b.put(ledger.ClassPlanned, ledger.OK)
		acknowledged(b.t, b.post(reportPath, `{"success":"true","out_id":"`+out1+`","sms_size":1,"phone_number":8613800000001}`))
		acknowledged(b.t, b.post(reportPath, `[{"success":1,"biz_id":"biz^`+out2+`","phone_number":"1380000****"},{"odd":1},7,null]`))
		acknowledged(b.t, b.post(reportPath, `[]`))
		if _, err := b.l.ApplyReceipts(b.t.Context(), 10); err != nil {
			b.t.Fatal(err)
		}
		b.want(one, ledger.Delivered)
		b.want(two, ledger.Delivered)
	})
}

func TestCallbackRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t), nil)
	deep := strings.Repeat("[", 50) + strings.Repeat("]", 50)
	many := "[" + strings.TrimSuffix(strings.Repeat(`{"out_id":"x"},`, 1001), ",") + "]"
	for name, c := range map[string]struct {
		method, path, body string
		want               int
	}{
		"wrong secret":  {"POST", "/sms/c1/wrong/report", "[]", 404},
		"no secret":     {"POST", "/sms/c1//report", "[]", 404},
		"other company": {"POST", "/sms/c2/" + callback + "/report", "[]", 404},
		"other kind":    {"POST", "/sms/c1/" + callback + "/x", "[]", 404},
		"short path":    {"POST", "/sms/c1", "[]", 404},
		"get":           {"GET", reportPath, "", 405},
		"no json":       {"POST", reportPath, "phone=1", 400},
		"empty":         {"POST", reportPath, "", 400},
		"text":          {"POST", reportPath, `"x"`, 400},
		"null":          {"POST", reportPath, `null`, 200},
		"deep":          {"POST", reportPath, deep, 400},
		"too many":      {"POST", reportPath, many, 413},
		"too large":     {"POST", reportPath, `["` + strings.Repeat("x", 1<<20) + `"]`, 413},
		"bad utf-8":     {"POST", reportPath, "[\"\xff\"]", 400},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body))
		w := httptest.NewRecorder()
		b.s.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", name, w.Code, c.want)
		}
		telemetrytest.NoLeak(t, w.Body.String(), callback)
	}
	b.log.NoLeak(t, callback, phone)
}

func TestNotStoredIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t), nil)
	if _, err := b.s.o.Directory.Directory(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.db.Close(); err != nil {
		t.Fatal(err)
	}
	if w := b.post(reportPath, `[{"out_id":"x","success":true}]`); w.Code != http.StatusServiceUnavailable {
		t.Errorf("reports answered %d", w.Code)
	}
	if w := b.post(upPath, `[{"phone_number":"`+phone+`","content":"R"}]`); w.Code != http.StatusServiceUnavailable {
		t.Errorf("answers answered %d", w.Code)
	}
}

func TestForgedFailureIsAskedFor(t *testing.T) {
	run(t, func(b *bench) {
		id, out := b.put(ledger.ClassPlanned, ledger.OK)
		var row atomic.Value
		b.v.answer(func(w http.ResponseWriter, _ *http.Request, q url.Values) {
			if q.Get("PhoneNumber") != phone || q.Get("SendDate") != "20261125" {
				b.t.Errorf("asked for %s on %s", q.Get("PhoneNumber"), q.Get("SendDate"))
			}
			fmt.Fprintf(w, `{"Code":"OK","TotalCount":1,"SmsSendDetailDTOs":{"SmsSendDetailDTO":[%s]}}`, row.Load())
		})
		forge := func() {
			acknowledged(b.t, b.post(reportPath, `[{"success":false,"err_code":"INVALID_NUMBER","out_id":"`+out+`","phone_number":"`+phone+`"}]`))
			if _, err := b.l.ApplyReceipts(b.t.Context(), 10); err != nil {
				b.t.Fatal(err)
			}
			b.want(id, ledger.Submitted)
			if err := b.s.Settle(b.t.Context()); err != nil {
				b.t.Fatal(err)
			}
		}
		row.Store(`{"SendStatus":1,"OutId":"` + out + `","ErrCode":""}`)
		forge()
		b.want(id, ledger.Submitted) // the vendor knows nothing of a failure
		row.Store(`{"SendStatus":2,"OutId":"` + out + `","ErrCode":"INVALID_NUMBER","ReceiveDate":"2026-11-25 09:00:03"}`)
		forge()
		b.want(id, ledger.Failed)
	})
}

func TestLookUpGoesThroughThePagesAndDays(t *testing.T) {
	run(t, func(b *bench) {
		b.clk.Set(time.Date(2026, 11, 24, 15, 58, 0, 0, time.UTC)) // 23:58 in China
		id, out := b.put(ledger.ClassPlanned, ledger.Ambiguous)
		var (
			mu    sync.Mutex
			asked []string
		)
		b.v.answer(func(w http.ResponseWriter, _ *http.Request, q url.Values) {
			mu.Lock()
			asked = append(asked, q.Get("SendDate")+"/"+q.Get("CurrentPage"))
			mu.Unlock()
			if q.Get("SendDate") == "20261124" {
				fmt.Fprint(w, `{"Code":"DATA_NOT_EXIST"}`)
				return
			}
			rows := make([]string, 50)
			for i := range rows {
				rows[i] = `{"SendStatus":3,"OutId":"other"}`
			}
			if q.Get("CurrentPage") == "2" {
				rows = []string{`{"SendStatus":3,"OutId":"` + out + `","ErrCode":"DELIVERED"}`}
			}
			fmt.Fprintf(w, `{"Code":"OK","TotalCount":"51","SmsSendDetailDTOs":{"SmsSendDetailDTO":[%s]}}`, strings.Join(rows, ","))
		})
		b.clk.Advance(15 * time.Second)
		if err := b.s.Settle(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		b.want(id, ledger.Delivered)
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(asked, " "); got != "20261124/1 20261125/1 20261125/2" {
			b.t.Errorf("asked %s", got)
		}
	})
}

func TestEmergencyIsSentAgainWhenTheVendorDoesNotAnswer(t *testing.T) {
	run(t, func(b *bench) {
		id, _ := b.put(ledger.ClassDanger, ledger.Ambiguous)
		b.v.answer(func(w http.ResponseWriter, _ *http.Request, _ url.Values) { w.WriteHeader(http.StatusBadGateway) })
		b.clk.Advance(15 * time.Second)
		if err := b.s.Settle(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		b.want(id, ledger.Unknown)
		b.clk.Advance(45 * time.Second)
		if err := b.s.Settle(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		b.want(id, ledger.Planned)
	})
}

func TestUplink(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var heard []Uplink
		fail := true
		b := newBench(t, d, func(_ context.Context, _ *db.Tx, u Uplink) (Handled, error) {
			if fail {
				return Handled{}, errors.New("not now")
			}
			heard = append(heard, u)
			return Handled{By: "test"}, nil
		})
		body := `[{"phone_number":"` + phone + `","content":"R","send_time":"2026-11-25 09:00:00","dest_code":"9001","sequence_id":123456},` +
			`{"phone_number":"?","content":"x"}]`
		acknowledged(t, b.post(upPath, body))
		acknowledged(t, b.post(upPath, body)) // pushed twice
		if err := b.s.Settle(t.Context()); err == nil {
			t.Fatal("the failing hook was not noticed")
		}
		fail = false
		for range 2 {
			if err := b.s.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if len(heard) != 1 || heard[0].Content != "R" || heard[0].Phone != phone || heard[0].CompanyID != "c1" {
			t.Fatalf("heard %+v", heard)
		}
		b.log.NoLeak(t, phone, callback)
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t), nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.s.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t), nil)
	catalogue := []wording.SMSTemplate{
		{Purpose: "bind_code", Content: "验证码${code}"},
		{Purpose: "outage", Content: "停水${time}"},
		{Purpose: "unset", Content: "x"},
	}
	var mu sync.Mutex
	answers := map[string]string{
		"SMS_1": `{"Code":"OK","TemplateStatus":"1","TemplateContent":"验证码${code}"}`,
		"SMS_2": `{"Code":"OK","TemplateStatus":"1","TemplateContent":"停电${time}"}`,
	}
	b.v.answer(func(w http.ResponseWriter, _ *http.Request, q url.Values) {
		fmt.Fprint(w, answers[q.Get("TemplateCode")])
	})
	set := func(a string) {
		mu.Lock()
		defer mu.Unlock()
		answers["SMS_2"] = a
	}
	find := func() string {
		var list []string
		for _, p := range b.s.CheckTemplates(t.Context(), b.acc, catalogue) {
			list = append(list, p.Purpose+": "+p.What)
		}
		return strings.Join(list, "; ")
	}
	if got := find(); got != "unset: no template code is set for this purpose; outage: is registered with other words than the catalogue has" {
		t.Errorf("problems %q", got)
	}
	set(`{"Code":"OK","TemplateStatus":"2","TemplateContent":"停水${time}"}`)
	if got := find(); !strings.Contains(got, "outage: was rejected") {
		t.Errorf("problems %q", got)
	}
	set(`{"Code":"isv.SMS_TEMPLATE_ILLEGAL"}`)
	if got := find(); !strings.Contains(got, "outage: could not be asked for: sms: refused with isv.SMS_TEMPLATE_ILLEGAL") {
		t.Errorf("problems %q", got)
	}
}

func TestCodesAreNamedOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]codeClass{}
	for class, codes := range sendCodes {
		for _, c := range codes {
			if other, twice := seen[c]; twice {
				t.Errorf("%s is both %s and %s", c, other, class)
			}
			seen[c] = class
		}
	}
	for code, want := range map[string]receiptClass{
		"DELIVERED": receiptDelivered, "DELIVRD": receiptDelivered, "": receiptPending, "IS_CLOSE": receiptTransient,
		"MOBILE_NOT_ON_SERVICE": receiptFailed, "new": receiptFailed,
	} {
		if got := receiptOf(code); got != want {
			t.Errorf("receipt %q is %s, want %s", code, got, want)
		}
	}
}

func FuzzCallback(f *testing.F) {
	f.Add([]byte(`[{"phone_number":"13800000001","success":true,"err_code":"DELIVERED","biz_id":"1^0","out_id":"o"}]`))
	f.Add([]byte(`{"success":"false","out_id":1}`))
	f.Add([]byte(`[[[[[[[[[[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		items, ok := splitItems(body)
		if !ok {
			return
		}
		for _, raw := range items {
			var p report
			if json.Unmarshal(raw, &p) == nil {
				r := receiptFrom("a", p)
				if r.Confirmed {
					t.Fatal("an unsigned receipt counts as confirmed")
				}
				if r.Address != "" && !mobile.MatchString(r.Address) {
					t.Fatalf("address %q", r.Address)
				}
			}
			var u uplink
			_ = json.Unmarshal(raw, &u)
		}
	})
}

func BenchmarkSend(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"Code":"OK","BizId":"b"}`)
	}))
	defer srv.Close()
	c, err := newClient(srv.URL, 1, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer c.close()
	for b.Loop() {
		if _, err := c.send(b.Context(), keys{keyID, keySecret}, phone, "签名", "SMS_1", `{"a":"b"}`, "o"); err != nil {
			b.Fatal(err)
		}
	}
}
