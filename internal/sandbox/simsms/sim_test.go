package simsms

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/sandbox/simcore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The vectors come from public pages and from the vendor's SDK.
func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	const secret = "testSecretForVectors0123456789"
	for name, c := range map[string]struct{ method, secret, query, body, want string }{
		"published": {"GET", "testSecret", "AccessKeyId=testId&Action=SendSms&Format=XML&OutId=123&PhoneNumbers=15300000001&RegionId=cn-hangzhou&SignName=%E9%98%BF%E9%87%8C%E4%BA%91%E7%9F%AD%E4%BF%A1%E6%B5%8B%E8%AF%95%E4%B8%93%E7%94%A8&SignatureMethod=HMAC-SHA1&SignatureNonce=45e25e9b-0a6f-4070-8c85-2956eda1b466&SignatureVersion=1.0&TemplateCode=SMS_71390007&TemplateParam=%7B%22customer%22%3A%22test%22%7D&Timestamp=2017-07-12T02%3A42%3A19Z&Version=2017-05-25", "", "zJDF+Lrzhj/ThnlvIToysFRq6t4="},
		"SendSms":   {"POST", secret, "AccessKeyId=testAccessKeyId&Action=SendSms&Format=JSON&OutId=b42-0001&PhoneNumbers=13800000001%2C13800000002&RegionId=cn-hangzhou&SignName=%E6%9F%90%E6%9F%90%E7%89%A9%E4%B8%9A&Signature=HumpOWyefQZ6xsHym%2B56Fky3%2BdI%3D&SignatureMethod=HMAC-SHA1&SignatureNonce=029b579dd86422a3231d4946261204f2&SignatureType=&SignatureVersion=1.0&TemplateCode=SMS_123456789&TemplateParam=%7B%22time%22%3A%228%E6%9C%881%E6%97%A5+09%3A00~18%3A00%22%2C%22area%22%3A%223%23%E6%A5%BC%2A%E5%85%A8%E9%83%A8%22%7D&Timestamp=2026-11-24T00%3A33%3A57Z&Version=2017-05-25", "", "HumpOWyefQZ6xsHym+56Fky3+dI="},
		"batch":     {"POST", secret, "AccessKeyId=testAccessKeyId&Action=SendBatchSms&Format=JSON&OutId=b42-0002&RegionId=cn-hangzhou&SignatureMethod=HMAC-SHA1&SignatureNonce=48dbe21881a49bf4d1789283ed6c4039&SignatureType=&SignatureVersion=1.0&TemplateCode=SMS_123456789&Timestamp=2026-11-24T00%3A33%3A57Z&Version=2017-05-25", "PhoneNumberJson=%5B%2213800000001%22%2C%2213800000002%22%5D&SignNameJson=%5B%22%E6%9F%90%E6%9F%90%E7%89%A9%E4%B8%9A%22%2C%22%E6%9F%90%E6%9F%90%E7%89%A9%E4%B8%9A%22%5D&TemplateParamJson=%5B%7B%22name%22%3A%22%E5%BC%A0%E4%B8%89%22%7D%2C%7B%22name%22%3A%22%E6%9D%8E%E5%9B%9B%22%7D%5D", "OvD3WQiVzFI9VXZEHS0TNQuFwLw="},
		"query":     {"POST", secret, "AccessKeyId=testAccessKeyId&Action=QuerySendDetails&CurrentPage=1&Format=JSON&PageSize=50&PhoneNumber=13800000001&RegionId=cn-hangzhou&SendDate=20260801&SignatureMethod=HMAC-SHA1&SignatureNonce=cffe030df5ac036833bf95c68d3303b6&SignatureType=&SignatureVersion=1.0&Timestamp=2026-11-24T00%3A33%3A57Z&Version=2017-05-25", "", "dteBj4MIGn0n3dA85Z+kRXj+4uA="},
		"token":     {"POST", "testStsSecret", "AccessKeyId=STS.testAccessKeyId&Action=SendSms&Format=JSON&OutId=b42-0003&PhoneNumbers=13800000001&RegionId=cn-hangzhou&SecurityToken=testSecurityToken%2B%2F%3D&SignName=%E6%9F%90%E6%9F%90%E7%89%A9%E4%B8%9A&SignatureMethod=HMAC-SHA1&SignatureNonce=5c0e1222f8befb80fe0c90b1cb1a3009&SignatureType=&SignatureVersion=1.0&TemplateCode=SMS_123456789&TemplateParam=%7B%22a%22%3A%22~%2A%2B+%22%7D&Timestamp=2026-11-24T02%3A07%3A53Z&Version=2017-05-25", "", "EYPPPkQ34HOBvPA7ntOkDQInuCY="},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(c.method, "/dysmsapi.aliyuncs.com/?"+c.query, strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			params, err := readParams(httptest.NewRecorder(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := sign(c.secret, stringToSign(c.method, params)); got != c.want {
				t.Errorf("signature %s, want %s\n%s", got, c.want, stringToSign(c.method, params))
			}
		})
	}
}

const (
	testID     = "testAccessKeyId"
	testSecret = "testSecret"
	testSign   = "某某物业"
	phoneA     = "13800000001"
	phoneB     = "13800000002"
)

type bench struct {
	t      *testing.T
	sim    *Sim
	core   *simcore.Core
	clk    *clock.Manual
	url    string
	client *http.Client
	mu     sync.Mutex
	pushed map[string][]map[string]any // by path
	answer func(path string, n int) (int, string)
	nonce  int
}

func number(n int) *int { return &n }

func newBench(t *testing.T, change func(*simcore.World)) *bench {
	t.Helper()
	b := &bench{t: t, pushed: map[string][]map[string]any{}, clk: clock.NewManual(time.Date(2026, 11, 25, 1, 0, 30, 0, time.UTC))}
	back := httptest.NewServer(http.HandlerFunc(b.receive))
	b.core = simcore.New(b.clk, nil)
	b.sim = New(b.core)
	w := simcore.World{SMS: []simcore.SMSAccount{{
		AccessKeyID: testID, Secret: testSecret, Signs: []simcore.SMSSign{{Name: testSign}, {Name: "审核中", Status: number(0)}},
		Templates: []simcore.SMSTemplate{
			{Code: "SMS_CODE", Type: number(typeCode), Content: "验证码${code}，5分钟内有效。", Rule: map[string]string{"code": "numberCaptcha"}},
			{Code: "SMS_NOTICE", Content: "${area}将于${time}停水，请储水。", Rule: map[string]string{"area": "address", "time": "time"}},
			{Code: "SMS_REVIEW", Content: "x${a}", Status: number(0)},
		},
		ReportURLs: []string{back.URL + "/report"}, UpURLs: []string{back.URL + "/up"},
	}}}
	if change != nil {
		change(&w)
	}
	if err := b.sim.LoadWorld(w); err != nil {
		t.Fatal(err)
	}
	r := chi.NewRouter()
	b.sim.Routes(r)
	server := httptest.NewServer(r)
	b.url, b.client = server.URL, server.Client()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.core.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		server.Close()
		back.Close()
	})
	return b
}

func (b *bench) receive(w http.ResponseWriter, r *http.Request) {
	var list []map[string]any
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		b.t.Errorf("pushed: %v", err)
	}
	b.mu.Lock()
	b.pushed[r.URL.Path] = append(b.pushed[r.URL.Path], list...)
	n, answer := len(b.pushed[r.URL.Path]), b.answer
	b.mu.Unlock()
	status, body := 200, `{"code":0,"msg":"接收成功"}`
	if answer != nil {
		status, body = answer(r.URL.Path, n)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func (b *bench) received(path string) []map[string]any {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]map[string]any(nil), b.pushed[path]...)
}

func (b *bench) params(action string, more map[string]string) url.Values {
	b.nonce++
	p := url.Values{
		"AccessKeyId": {testID}, "Action": {action}, "Format": {"JSON"}, "RegionId": {"cn-hangzhou"}, "SignatureMethod": {"HMAC-SHA1"},
		"SignatureNonce": {fmt.Sprint("nonce", b.nonce)}, "SignatureType": {""}, "SignatureVersion": {"1.0"},
		"Timestamp": {time.Now().UTC().Format(timestampForm)}, "Version": {version},
	}
	for k, v := range more {
		p.Set(k, v)
	}
	return p
}

func (b *bench) send(p url.Values, secret string) (int, map[string]any) {
	b.t.Helper()
	p.Set("Signature", sign(secret, stringToSign(http.MethodPost, p)))
	resp, err := b.client.Post(b.url+"/dysmsapi.aliyuncs.com/?"+p.Encode(), "application/x-www-form-urlencoded", nil)
	if err != nil {
		return 0, map[string]any{"Code": err.Error()}
	}
	defer resp.Body.Close()
	out := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		out["Code"] = "no json"
	}
	return resp.StatusCode, out
}

func (b *bench) call(action string, more map[string]string) map[string]any {
	b.t.Helper()
	_, out := b.send(b.params(action, more), testSecret)
	return out
}

func (b *bench) notice(phone, out string) map[string]any {
	b.t.Helper()
	return b.call("SendSms", map[string]string{
		"PhoneNumbers": phone, "SignName": testSign, "TemplateCode": "SMS_NOTICE", "OutId": out, "TemplateParam": `{"area":"3栋","time":"8月1日 09:00"}`,
	})
}

func (b *bench) code(phone string) map[string]any {
	b.t.Helper()
	return b.call("SendSms", map[string]string{
		"PhoneNumbers": phone, "SignName": testSign, "TemplateCode": "SMS_CODE", "TemplateParam": `{"code":"123456"}`,
	})
}

func (b *bench) details(phone string) []any {
	b.t.Helper()
	out := b.call("QuerySendDetails", map[string]string{
		"PhoneNumber": phone, "SendDate": b.clk.Now().In(china).Format("20060102"), "PageSize": "50", "CurrentPage": "1",
	})
	if out["Code"] != "OK" {
		b.t.Fatalf("query: %v", out)
	}
	return out["SmsSendDetailDTOs"].(map[string]any)["SmsSendDetailDTO"].([]any)
}

func (b *bench) advance(d time.Duration) {
	b.t.Helper()
	b.clk.Advance(d)
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	if err := b.core.Timers.Settle(ctx); err != nil {
		b.t.Fatalf("settle: %v", err)
	}
}

func (b *bench) control(path string, in any) (int, map[string]any) {
	b.t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Post(b.url+path, "application/json", bytes.NewReader(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	out := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, out
}

func TestSendReceiptQuery(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	out := b.notice("+86"+phoneA, "out-1")
	biz, _ := out["BizId"].(string)
	if out["Code"] != "OK" || !strings.HasSuffix(biz, "^0") || out["RequestId"] == "" {
		t.Fatalf("send: %v", out)
	}
	items, _ := b.sim.feed.After(0)
	if len(items) != 1 || items[0].Text != "【某某物业】3栋将于8月1日 09:00停水，请储水。" || items[0].Segments != 1 || items[0].State != stateSubmitted {
		t.Fatalf("inbox %+v", items)
	}
	if rows := b.details(phoneA); len(rows) != 0 {
		t.Errorf("visible at once: %v", rows)
	}
	b.advance(999 * time.Millisecond)
	if n := len(b.received("/report")); n != 0 {
		t.Errorf("%d receipts before a second", n)
	}
	b.advance(time.Millisecond)
	got := b.received("/report")
	if len(got) != 1 || got[0]["biz_id"] != biz || got[0]["out_id"] != "out-1" || got[0]["success"] != true || got[0]["err_code"] != "DELIVERED" || got[0]["sms_size"] != "1" {
		t.Fatalf("receipts %v", got)
	}
	row := b.details(phoneA)[0].(map[string]any)
	if row["OutId"] != "out-1" || row["SendStatus"] != float64(3) || row["ErrCode"] != "DELIVERED" || row["SendDate"] != "2026-11-25 09:00:30" {
		t.Errorf("row %v", row)
	}
	r := b.core.Counters.Report()
	if len(r.Addresses) != 1 || r.Addresses[0] != (simcore.AddressCount{Channel: "sms", Address: phoneA, N: 1}) {
		t.Errorf("counters %+v", r)
	}
}

func TestGateway(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	ok := map[string]string{"PhoneNumbers": phoneA, "SignName": testSign, "TemplateCode": "SMS_NOTICE", "TemplateParam": `{"area":"3栋","time":"09:00"}`}
	with := func(k, v string) url.Values {
		p := b.params("SendSms", ok)
		p.Set(k, v)
		return p
	}
	for name, c := range map[string]struct {
		params url.Values
		secret string
		status int
		code   string
	}{
		"wrong secret":  {b.params("SendSms", ok), "other", 400, "SignatureDoesNotMatch"},
		"unknown key":   {with("AccessKeyId", "x"), testSecret, 404, "InvalidAccessKeyId.NotFound"},
		"old":           {with("Timestamp", time.Now().Add(-16*time.Minute).UTC().Format(timestampForm)), testSecret, 400, "InvalidTimeStamp.Expired"},
		"no time":       {with("Timestamp", "today"), testSecret, 400, "InvalidTimeStamp.Format"},
		"wrong version": {with("Version", "2015-01-01"), testSecret, 400, "InvalidVersion"},
		"no action":     {with("Action", "Dance"), testSecret, 404, "InvalidAction.NotFound"},
		"no phone":      {with("PhoneNumbers", ""), testSecret, 400, "MissingPhoneNumbers"},
		"no method":     {with("SignatureMethod", "MD5"), testSecret, 400, "IncompleteSignature"},
	} {
		status, out := b.send(c.params, c.secret)
		if status != c.status || out["Code"] != c.code {
			t.Errorf("%s: %d %v, want %d %s", name, status, out, c.status, c.code)
		}
		if c.code == "SignatureDoesNotMatch" && !strings.Contains(out["Message"].(string), "server string to sign is:POST&%2F&AccessKeyId") {
			t.Errorf("message %v", out["Message"])
		}
	}
	p := b.params("SendSms", ok)
	if _, out := b.send(p, testSecret); out["Code"] != "OK" {
		t.Fatalf("first: %v", out)
	}
	if status, out := b.send(p, testSecret); status != 400 || out["Code"] != "SignatureNonceUsed" {
		t.Errorf("again: %d %v", status, out)
	}
	slow := newBench(t, func(w *simcore.World) { w.SMS[0].QPS = 1 })
	throttled := false
	for range 4 { // at least two fall into one second
		throttled = throttled || slow.notice(phoneA, "")["Code"] == "Throttling.User"
	}
	if !throttled {
		t.Error("no throttling above the rate")
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	base := map[string]string{"PhoneNumbers": phoneA, "SignName": testSign, "TemplateCode": "SMS_NOTICE", "TemplateParam": `{"area":"3栋","time":"09:00"}`}
	for name, c := range map[string]struct{ key, value, code string }{
		"number":           {"PhoneNumbers", "12345", "isv.MOBILE_NUMBER_ILLEGAL"},
		"one bad of two":   {"PhoneNumbers", phoneA + ",1", "isv.MOBILE_NUMBER_ILLEGAL"},
		"too many":         {"PhoneNumbers", strings.Repeat(phoneA+",", 1000) + phoneA, "isv.MOBILE_COUNT_OVER_LIMIT"},
		"sign":             {"SignName", "别家物业", "isv.SMS_SIGNATURE_ILLEGAL"},
		"sign in review":   {"SignName", "审核中", "isv.SMS_SIGNATURE_ILLEGAL"},
		"template":         {"TemplateCode", "SMS_0", "isv.SMS_TEMPLATE_ILLEGAL"},
		"not approved":     {"TemplateCode", "SMS_REVIEW", "isv.SMS_TEMPLATE_ILLEGAL"},
		"no json":          {"TemplateParam", "{", "isv.INVALID_JSON_PARAM"},
		"number as value":  {"TemplateParam", `{"area":3,"time":"09:00"}`, "isv.INVALID_JSON_PARAM"},
		"missing":          {"TemplateParam", `{"area":"3栋"}`, "isv.TEMPLATE_MISSING_PARAMETERS"},
		"no param":         {"TemplateParam", "", "isv.TEMPLATE_MISSING_PARAMETERS"},
		"31 in an address": {"TemplateParam", `{"area":"` + strings.Repeat("栋", 31) + `","time":"09:00"}`, "isv.PARAM_LENGTH_LIMIT"},
		"no time":          {"TemplateParam", `{"area":"3栋","time":"soon"}`, "isv.TEMPLATE_PARAMS_ILLEGAL"},
		"year in a time":   {"TemplateParam", `{"area":"3栋","time":"2026年8月1日"}`, "isv.TEMPLATE_PARAMS_ILLEGAL"},
		"url":              {"TemplateParam", `{"area":"http://a.cn","time":"09:00"}`, "isv.PARAM_NOT_SUPPORT_URL"},
		"phone inside":     {"TemplateParam", `{"area":"找13800000009","time":"09:00"}`, "isv.TEMPLATE_PARAMS_ILLEGAL"},
		"emoji":            {"TemplateParam", `{"area":"3栋😀","time":"09:00"}`, "isv.UNSUPPORTED_CONTENT"},
		"out id":           {"OutId", strings.Repeat("x", 256), "isv.INVALID_PARAMETERS"},
		"good":             {"OutId", strings.Repeat("x", 255), "OK"},
	} {
		more := map[string]string{}
		for k, v := range base {
			more[k] = v
		}
		more[c.key] = c.value
		want := c.code
		if out := b.call("SendSms", more); out["Code"] != want {
			t.Errorf("%s: %v, want %s", name, out, want)
		}
	}
	items, _ := b.sim.feed.After(0)
	if len(items) != 1 {
		t.Errorf("%d texts were accepted, want 1", len(items))
	}
}

func TestFlowControl(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil) // starts at 30 seconds past the minute
	want := func(out map[string]any, words string) {
		t.Helper()
		if words == "" {
			if out["Code"] != "OK" {
				t.Errorf("%v, want OK", out)
			}
			return
		}
		if out["Code"] != "isv.BUSINESS_LIMIT_CONTROL" || out["Message"] != words {
			t.Errorf("%v, want %s", out, words)
		}
	}
	want(b.code(phoneA), "")
	want(b.code(phoneA), "触发分钟级流控Permits:1")
	want(b.code(phoneB), "")
	b.advance(29 * time.Second)
	want(b.code(phoneA), "触发分钟级流控Permits:1")
	b.advance(time.Second) // a clock window, not sixty seconds
	want(b.code(phoneA), "")
	for range 3 {
		b.advance(time.Minute)
		want(b.code(phoneA), "")
	}
	b.advance(time.Minute)
	want(b.code(phoneA), "触发小时级流控Permits:5")
	b.advance(time.Hour)
	for range 5 {
		want(b.code(phoneA), "")
		b.advance(time.Minute)
	}
	b.advance(time.Hour)
	want(b.code(phoneA), "触发天级流控Permits:10")
	b.advance(22 * time.Hour)
	want(b.code(phoneA), "")

	for range 50 {
		want(b.notice(phoneA, ""), "")
	}
	want(b.notice(phoneA, ""), "触发天级流控Permits:50")
	want(b.notice(phoneB, ""), "")
	capped := newBench(t, func(w *simcore.World) { w.SMS[0].DayLimit = 1 })
	want(capped.notice(phoneA, ""), "")
	if out := capped.notice(phoneB, ""); out["Code"] != "isv.DAY_LIMIT_CONTROL" {
		t.Errorf("day limit: %v", out)
	}
}

func TestSegments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, want int }{{64, 1}, {65, 2}, {128, 2}, {129, 3}, {154, 3}, {494, 8}, {495, 0}} {
		if got := segments("四字签名", strings.Repeat("字", c.body)); got != c.want {
			t.Errorf("%d characters: %d, want %d", c.body+6, got, c.want)
		}
	}
}

func TestPhones(t *testing.T) {
	t.Parallel()
	for in, ok := range map[string]bool{
		phoneA: true, "+86" + phoneA: true, "0086" + phoneA: true, "86" + phoneA: true, " " + phoneA + " ": true,
		"1380000000": false, "138000000011": false, "12800000001": false, "": false, "1380000000a": false,
	} {
		got, valid := normalPhone(in)
		if valid != ok || ok && got != phoneA {
			t.Errorf("%q: %q %v", in, got, valid)
		}
	}
}

func TestBatchAndQueryPages(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	out := b.call("SendBatchSms", map[string]string{
		"PhoneNumberJson": `["` + phoneA + `","` + phoneB + `"]`, "SignNameJson": `["某某物业","某某物业"]`, "TemplateCode": "SMS_NOTICE",
		"TemplateParamJson": `[{"area":"3栋","time":"09:00"},{"area":"4栋","time":"10:00"}]`, "OutId": "b-1",
	})
	if out["Code"] != "OK" {
		t.Fatalf("batch: %v", out)
	}
	if out := b.call("SendBatchSms", map[string]string{"PhoneNumberJson": `["` + phoneA + `"]`, "SignNameJson": `[]`, "TemplateCode": "SMS_NOTICE"}); out["Code"] != "isv.INVALID_PARAMETERS" {
		t.Errorf("unequal lists: %v", out)
	}
	b.advance(time.Second)
	if got := b.received("/report"); len(got) != 2 || got[0]["biz_id"] != got[1]["biz_id"] {
		t.Errorf("receipts %v", got)
	}
	for i := range 6 {
		b.notice(phoneA, fmt.Sprint(i))
	}
	b.advance(2 * time.Second)
	page := b.call("QuerySendDetails", map[string]string{
		"PhoneNumber": phoneA, "SendDate": "20261125", "PageSize": "5", "CurrentPage": "2",
	})
	if n := len(page["SmsSendDetailDTOs"].(map[string]any)["SmsSendDetailDTO"].([]any)); n != 2 || page["TotalCount"] != float64(7) {
		t.Errorf("page %v", page)
	}
	for k, v := range map[string]string{"PageSize": "51", "SendDate": "20260101", "CurrentPage": "0"} {
		more := map[string]string{"PhoneNumber": phoneA, "SendDate": "20261125", "PageSize": "5", "CurrentPage": "1"}
		more[k] = v
		if out := b.call("QuerySendDetails", more); out["Code"] != "isv.INVALID_PARAMETERS" {
			t.Errorf("%s=%s: %v", k, v, out)
		}
	}
}

func TestReceiptPushesAreRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.answer = func(_ string, n int) (int, string) {
		if n < 4 {
			return 200, `{"code":"0"}` // the code must be a number
		}
		return 200, `{"code":0}`
	}
	b.notice(phoneA, "o")
	for i, wait := range []time.Duration{time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, time.Hour} {
		if i > 0 {
			b.advance(wait - time.Second)
		}
		if n := len(b.received("/report")); n != min(i, 4) {
			t.Fatalf("%d pushes before step %d", n, i)
		}
		b.advance(time.Second)
	}
	if n := len(b.received("/report")); n != 4 {
		t.Errorf("%d pushes, want 4", n)
	}
}

func TestSlowReceiverIsCutOff(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	release := make(chan struct{})
	b.answer = func(string, int) (int, string) {
		<-release
		return 200, `{"code":0}`
	}
	b.notice(phoneA, "o")
	began := time.Now()
	b.advance(time.Second)
	if took := time.Since(began); took < pushBudget || took > 5*time.Second {
		t.Errorf("waited %s for a receiver that hangs", took)
	}
	close(release)
	b.advance(time.Minute)
	if n := len(b.received("/report")); n != 2 {
		t.Errorf("%d pushes, want 2", n)
	}
}

func TestByHandForgedAndUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	biz := b.notice(phoneA, "o")["BizId"].(string)
	path := "/sim/sms/" + url.PathEscape(biz) + "/report"
	if status, out := b.control(path, map[string]any{"ok": false, "err_code": "MOBILE_IN_BLACK", "forged": true}); status != 200 {
		t.Fatalf("forged: %v", out)
	}
	b.advance(time.Second)
	got := b.received("/report")
	if len(got) != 2 || got[0]["err_code"] != "MOBILE_IN_BLACK" || got[1]["err_code"] != "DELIVERED" {
		t.Fatalf("receipts %v", got)
	}
	if row := b.details(phoneA)[0].(map[string]any); row["SendStatus"] != float64(3) {
		t.Errorf("a forged receipt changed the query: %v", row)
	}
	biz2 := b.notice(phoneA, "o2")["BizId"].(string)
	if status, _ := b.control("/sim/sms/"+url.PathEscape(biz2)+"/report", map[string]any{"ok": false, "err_code": "USER_REJECT"}); status != 200 {
		t.Fatal("by hand")
	}
	b.advance(time.Second)
	if n := len(b.received("/report")); n != 3 {
		t.Errorf("%d receipts: one by hand replaces the automatic one", n)
	}
	if row := b.details(phoneA)[0].(map[string]any); row["SendStatus"] != float64(2) || row["ErrCode"] != "USER_REJECT" {
		t.Errorf("row %v", row)
	}
	if status, _ := b.control("/sim/sms/1%5E0/report", map[string]any{}); status != http.StatusNotFound {
		t.Errorf("unknown: %d", status)
	}
	if status, out := b.control("/sim/sms/1%5E0/report", map[string]any{"forged": true, "phone": phoneB, "ok": false}); status != 200 || len(b.received("/report")) != 4 {
		t.Errorf("made up: %d %v", status, out)
	}
	if status, _ := b.control("/sim/sms/up", map[string]any{"phone": phoneA, "text": "R"}); status != 200 {
		t.Error("up")
	}
	up := b.received("/up")
	if len(up) != 1 || up[0]["content"] != "R" || up[0]["phone_number"] != phoneA || up[0]["sign_name"] != testSign || up[0]["sequence_id"] == "" {
		t.Errorf("uplink %v", up)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	set := func(b *bench, f simcore.Fault) {
		t.Helper()
		if err := b.core.Faults.Set([]simcore.Fault{f}); err != nil {
			t.Fatal(err)
		}
	}
	half := 0.5
	b := newBench(t, nil)
	set(b, simcore.Fault{Target: "sms.send", Kind: simcore.FaultTimeoutAfterAccept, Times: 1, MS: 20, Match: simcore.Match{Phone: phoneA}})
	if out := b.notice(phoneB, "b"); out["Code"] != "OK" {
		t.Errorf("another phone was struck: %v", out)
	}
	if out := b.notice(phoneA, "a"); out["Code"] == "OK" {
		t.Error("answered in spite of the fault")
	}
	b.advance(time.Second)
	if rows := b.details(phoneA); len(rows) != 1 || rows[0].(map[string]any)["OutId"] != "a" {
		t.Errorf("accepted without an answer, but not found: %v", rows)
	}
	set(b, simcore.Fault{Target: "sms.send", Kind: simcore.FaultErrcode, Code: "isv.AMOUNT_NOT_ENOUGH"})
	if out := b.notice(phoneB, ""); out["Code"] != "isv.AMOUNT_NOT_ENOUGH" {
		t.Errorf("errcode: %v", out)
	}
	set(b, simcore.Fault{Target: "sms.send", Kind: simcore.FaultErrcode, Code: "Throttling.User"})
	if status, out := b.send(b.params("SendSms", nil), testSecret); status != 400 || out["Code"] != "Throttling.User" {
		t.Errorf("gateway code: %d %v", status, out)
	}
	// Which phones fail is fixed by the seed, whatever the order.
	failed := func(order []int) string {
		b := newBench(t, nil)
		set(b, simcore.Fault{Target: "sms.report", Kind: simcore.FaultReceipt, Share: &half, Seed: 7, Code: "IS_CLOSE"})
		for _, i := range order {
			b.notice(fmt.Sprintf("138000001%02d", i), "")
		}
		b.advance(time.Second)
		var bad []string
		items, _ := b.sim.feed.After(0)
		for _, it := range items {
			if it.State == stateFailed {
				bad = append(bad, it.Phone)
			}
		}
		return fmt.Sprint(len(bad), sorted(bad))
	}
	forwards := failed([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	if backwards := failed([]int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}); forwards != backwards {
		t.Errorf("%s and %s", forwards, backwards)
	}
	if strings.HasPrefix(forwards, "0 ") || strings.HasPrefix(forwards, "10 ") {
		t.Errorf("a share of a half struck %s", forwards)
	}
}

func sorted(s []string) []string {
	for i := range s {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
	return s
}

func TestInboxOfOnePhone(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	inbox := func(query string) map[string]any {
		t.Helper()
		resp, err := b.client.Get(b.url + "/sim/sms" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		out := map[string]any{}
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := inbox("?phone=" + phoneA); len(out["items"].([]any)) != 0 || out["last_seq"] != float64(0) {
		t.Errorf("empty inbox %v", out)
	}
	b.notice(phoneA, "1")
	b.notice(phoneB, "2")
	if out := inbox("?phone=" + phoneB); len(out["items"].([]any)) != 1 || out["items"].([]any)[0].(map[string]any)["seq"] != float64(2) {
		t.Errorf("inbox %v", out)
	}
	waited := make(chan map[string]any, 1)
	go func() { waited <- inbox("?wait=20&after=2&phone=" + phoneA) }()
	b.notice(phoneB, "3") // wakes, but is not for this phone
	b.notice(phoneA, "4")
	if out := <-waited; len(out["items"].([]any)) != 1 || out["items"].([]any)[0].(map[string]any)["out_id"] != "4" {
		t.Errorf("waited for %v", out)
	}
	for _, query := range []string{"?after=x", "?wait=-1", "?wait=NaN"} {
		if out := inbox(query); out["error"] == nil {
			t.Errorf("%s: %v", query, out)
		}
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	if out := b.call("GetSmsTemplate", map[string]string{"TemplateCode": "SMS_CODE"}); out["TemplateStatus"] != "1" || out["TemplateContent"] != "验证码${code}，5分钟内有效。" {
		t.Errorf("template %v", out)
	}
	if out := b.call("QuerySmsTemplate", map[string]string{"TemplateCode": "SMS_REVIEW"}); out["TemplateStatus"] != float64(0) {
		t.Errorf("template %v", out)
	}
	if out := b.call("QuerySmsTemplate", map[string]string{"TemplateCode": "SMS_0"}); out["Code"] != "isv.SMS_TEMPLATE_ILLEGAL" {
		t.Errorf("template %v", out)
	}
	if out := b.call("QuerySmsSign", map[string]string{"SignName": testSign}); out["SignStatus"] != float64(1) {
		t.Errorf("sign %v", out)
	}
}

func FuzzStringToSign(f *testing.F) {
	f.Add("a=1&b=2", "c=3")
	f.Add("TemplateParam=%7B%22a%22%3A%22~%2A%2B+%22%7D", "")
	f.Fuzz(func(t *testing.T, query, body string) {
		r, err := http.NewRequest(http.MethodPost, "http://x/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.RawQuery = query
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		p, err := readParams(httptest.NewRecorder(), r)
		if err != nil {
			return
		}
		text := stringToSign(http.MethodPost, p)
		for i := range len(text) {
			if c := text[i]; c <= ' ' || c >= 0x7f {
				t.Fatalf("unescaped byte %q in %q", c, text)
			}
		}
	})
}
