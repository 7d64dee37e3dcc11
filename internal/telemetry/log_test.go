package telemetry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"guanjia/internal/telemetry"
	"guanjia/internal/telemetry/telemetrytest"
)

const (
	phone  = "13800000001"
	openid = "oABCDEFGHIJKLMNOPQRSTUVWX-_1"
)

func TestScrub(t *testing.T) {
	t.Parallel()
	const m = "[redacted]"
	tests := []struct{ in, want string }{
		{"call " + phone, "call " + m},
		{"+86 138 0000 0001, 138-0000-0002", m + ", " + m},
		{"13800000001,13900000002;15500000003", m + "," + m + ";" + m},
		{"手机13800000001。", "手机" + m + "。"},
		{`Get "https://api.weixin.qq.com/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=abc": EOF`,
			`Get "https://api.weixin.qq.com/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=` + m + `": EOF`},
		{"access_token=ABC&type=x", "access_token=" + m + "&type=x"},
		{`{"access_token":"ABC","expires_in":7200}`, `{"access_token":"` + m + `","expires_in":7200}`},
		{`{"touser":"` + openid + `"}`, `{"touser":"` + m + `"}`},
		{"to " + openid + ".", "to " + m + "."},
		{"Authorization: Bearer abc.def", "Authorization: Bearer " + m},
		{"postgres://u:pw@h/db", "postgres://u:" + m + "@h/db"},
		{"redis://:pw@h", "redis://:" + m + "@h"},
		// What must stay readable.
		{"errcode: 40001, code=45015, code: 0", "errcode: 40001, code=45015, code: 0"},
		{"decode: unexpected end; design: x; primary key: id; token is missing", "decode: unexpected end; design: x; primary key: id; token is missing"},
		{`{"Code":"isv.AMOUNT_NOT_ENOUGH","Message":"OK"}`, `{"Code":"isv.AMOUNT_NOT_ENOUGH","Message":"OK"}`},
		{`{"code":"493021"}`, `{"code":"` + m + `"}`},
		{"/h5/cb?code=0a1b&state=x", "/h5/cb?code=" + m + "&state=x"},
		{"corpsecret=abc&corpid=ww1", "corpsecret=" + m + "&corpid=ww1"},
		{"AccessKeySecret: abc", "AccessKeySecret: " + m},
		{"SQLSTATE 23505", "SQLSTATE 23505"},
		{"case #1234567 of queue q1", "case #1234567 of queue q1"},
		{"took 1234567890123 ns", "took 1234567890123 ns"},
		{"2026-11-25T12:00:00.123456Z", "2026-11-25T12:00:00.123456Z"},
		{"0193c2a4-13a0-7000-8000-1380000000ab", "0193c2a4-13a0-7000-8000-1380000000ab"},
		{"order-processing-and-more-words", "order-processing-and-more-words"},
		{"3-2-1201", "3-2-1201"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := telemetry.Scrub(tt.in); got != tt.want {
			t.Errorf("Scrub(%q)\n got %q\nwant %q", tt.in, got, tt.want)
		}
		if got := telemetry.Scrub(tt.want); got != tt.want {
			t.Errorf("scrubbing twice changes %q to %q", tt.want, got)
		}
	}
}

type secretive struct{ Name, OpenID, Phone string }

func (s secretive) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", s.Name), slog.String("openid", s.OpenID), slog.String("phone", s.Phone))
}

type plain struct {
	Phone string `json:"phone"`
	Note  string `json:"note"`
	N     int    `json:"n"`
}

func TestHandlerRedacts(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	log := telemetry.NewLogger(&b, slog.LevelInfo)
	words := "三栋电梯又坏了"
	log.With("token", "tok-1").WithGroup("case").With("text", words, "no", 1234567).InfoContext(t.Context(), "from "+phone,
		"openid", openid, "access_token", "tok-2", "Secret", []byte("sec"), "empty_text", "",
		"err", fmt.Errorf("send to %s: %w", phone, errors.New("secret=abc")),
		slog.Group("resident", "phone", phone, "unit", "3-2-1201"),
		"value", secretive{"n", openid, phone}, "plain", plain{phone, "call " + phone, 5}, "list", []string{"x", phone},
		"number", int64(13800000001), "text_bytes", 21, "took", 3*time.Second, "nothing", nil,
	)
	log.DebugContext(t.Context(), "not written")
	line := b.String()
	for _, secret := range []string{phone, openid, "tok-1", "tok-2", "sec\"", "abc", words, "not written", "c2Vj"} {
		if strings.Contains(line, secret) {
			t.Errorf("%q got into the log: %s", secret, line)
		}
	}
	var rec struct {
		Msg  string
		Case map[string]any
	}
	if err := json.Unmarshal([]byte(line), &rec); err != nil {
		t.Fatalf("not one JSON line: %v\n%s", err, line)
	}
	resident, _ := rec.Case["resident"].(map[string]any)
	if rec.Case["no"] != 1234567.0 || rec.Case["text_bytes"] != 21.0 || rec.Case["took"] != 3e9 || resident["unit"] != "3-2-1201" || rec.Case["empty_text"] != "" {
		t.Errorf("too much was taken out: %s", line)
	}
	telemetrytest.NoLeak(t, line)
}

func TestTextLogger(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	telemetry.NewTextLogger(&b, slog.LevelInfo).InfoContext(t.Context(), "hello", "phone", phone)
	if !strings.Contains(b.String(), "hello") || strings.Contains(b.String(), phone) {
		t.Errorf("line %q", b.String())
	}
}

func TestCapture(t *testing.T) {
	t.Parallel()
	l := telemetrytest.Capture(t)
	l.Logger.Info("clean", "n", 1)
	l.NoLeak(t, phone)
	var fake recorder
	l.Logger.Info("dirty " + phone)
	l.NoLeak(&fake)
	l.NoLeak(&fake, "dirty")
	if fake.errors < 3 {
		t.Errorf("a leak was not found (%d)", fake.errors)
	}
	if strings.Contains(l.String(), phone) || !strings.Contains(l.Raw(), phone) {
		t.Error("String is not redacted, or Raw is")
	}
}

type recorder struct {
	testing.TB
	errors int
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.errors++ }

func TestRegistry(t *testing.T) {
	t.Parallel()
	r := telemetry.NewRegistry()
	c := r.Counter("deliveries_total", "Deliveries.", []string{"state"}, []string{"delivered"}, []string{"failed"})
	r.Gauge("queue_waiting", "Waiting.", nil, nil).WithLabelValues().Set(3)
	r.Histogram("callback_seconds", "Time.", []string{"mode"}, []string{"plain"})
	c.WithLabelValues("failed").Inc()
	rec := httptest.NewRecorder()
	r.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(context.Background(), "GET", "/metrics", nil))
	body, _ := io.ReadAll(rec.Result().Body)
	for _, want := range []string{
		`guanjia_deliveries_total{state="delivered"} 0`, `guanjia_deliveries_total{state="failed"} 1`,
		`guanjia_queue_waiting 3`, `guanjia_callback_seconds_count{mode="plain"} 0`, `go_goroutines`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

func FuzzScrub(f *testing.F) {
	for _, s := range []string{phone, openid, "secret=x", "{\"token\":\"a\"}", "https://u:p@h/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := telemetry.Scrub("a " + phone + " " + s)
		if strings.Contains(once, "a "+phone+" ") {
			t.Errorf("%q keeps the phone", s)
		}
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	secret := []string{
		"phone", "Phone", "resident_phone", "PhoneNumbers", "openid", "OpenID", "openId", "open_id", "from_openid", "text", "reply_text", "content",
		"body", "secret", "AccessKeySecret", "access_key_id", "token", "access_token", "accessToken", "apiToken", "encoding_aes_key", "EncodingAESKey",
		"password", "Authorization", "msg_signature", "touser", "id_card",
	}
	harmless := []string{
		"context", "unit", "text_bytes", "text_key", "token_age", "phone_count", "content_type", "body_limit", "nobody", "phonetic", "case_no",
		"message_id", "key", "code", "sign", "userid", "chatid", "err", "",
	}
	log := func(name string) string {
		var b strings.Builder
		telemetry.NewLogger(&b, slog.LevelInfo).Info("x", name, "value")
		return b.String()
	}
	for _, name := range secret {
		if strings.Contains(log(name), `"value"`) {
			t.Errorf("%s is kept", name)
		}
	}
	for _, name := range harmless {
		if !strings.Contains(log(name), `"value"`) {
			t.Errorf("%s is taken out", name)
		}
	}
}

func BenchmarkScrub(b *testing.B) {
	for name, s := range map[string]string{
		"word":  "message stored",
		"uuid":  "0193c2a4-13a0-7000-8000-1380000000ab",
		"error": `transaction turn: commit: dial tcp 127.0.0.1:5432: connect: connection refused`,
		"url":   `Post "https://api.weixin.qq.com/cgi-bin/message/custom/send?access_token=ABCDEF": context deadline exceeded`,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				telemetry.Scrub(s)
			}
		})
	}
}
