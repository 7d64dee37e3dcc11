package simwechat

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/sandbox/simcore"
)

func TestMessageAndPassiveReply(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{modePlain, modeCompatible, modeEncrypted} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(w *simcore.World) { w.Accounts[0].Mode = mode })
			b.back.replyWith(func(r received) (int, string) { return http.StatusOK, textReply(t, r, "您好") })
			d := b.act(follower, "messages", text("电梯坏了"))
			if len(d.Attempts) != 1 || d.Attempts[0].Status != 200 || d.Attempts[0].Reply == nil || d.Attempts[0].Reply.Text != "您好" {
				t.Fatalf("attempts: %+v", d)
			}
			got := b.back.all()[0]
			if got.msg.Content != "电梯坏了" || fmt.Sprint(got.msg.MsgId) != d.MsgID || got.query["openid"] != follower || got.sealed != (mode != modePlain) {
				t.Errorf("pushed %+v", got)
			}
			if mode == modeEncrypted && strings.Contains(got.raw, "CreateTime") {
				t.Errorf("the encrypted body shows its content: %s", got.raw)
			}
			chat := b.chat(follower)
			if len(chat) != 2 || chat[0].From != "resident" || chat[1].Kind != "passive" || chat[1].Text != "您好" {
				t.Errorf("chat %+v", chat)
			}
		})
	}
}

func TestBodyHasNewlineAfterEachElement(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w *simcore.World) { w.Accounts[0].Mode = modePlain })
	// The test's own server cannot read that document and refuses it.
	b.act(follower, "messages", map[string]any{"text": "a]]>b", "retry_gap_ms": 0})
	raw := b.back.all()[0].raw
	if !strings.Contains(raw, "</ToUserName>\n<FromUserName>") || !strings.HasSuffix(raw, "</MsgId>\n</xml>") {
		t.Errorf("body %q", raw)
	}
	if !strings.Contains(raw, "<![CDATA[a]]>b]]>") {
		t.Errorf("what people type must not be escaped: %q", raw)
	}
}

func TestRetriesWithTheSameMessage(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	n := 0
	b.back.replyWith(func(r received) (int, string) {
		if n++; n < 3 {
			return http.StatusInternalServerError, "boom"
		}
		return http.StatusOK, textReply(t, r, "third")
	})
	d := b.act(follower, "messages", map[string]any{"type": "text", "text": "hi", "retry_gap_ms": 0})
	if len(d.Attempts) != 3 || d.Attempts[0].Status != 500 || d.Attempts[2].Reply.Text != "third" {
		t.Fatalf("attempts %+v", d.Attempts)
	}
	got := b.back.all()
	if got[0].msg.MsgId != got[2].msg.MsgId || got[0].msg.CreateTime != got[2].msg.CreateTime {
		t.Error("a retry is not the same message")
	}
	if chat := b.chat(follower); len(chat) != 2 {
		t.Errorf("chat %+v", chat)
	}
}

func TestFaultNotice(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer   func(t *testing.T, r received) (int, string)
		attempts int
	}{
		"always 500":    {func(*testing.T, received) (int, string) { return 500, "" }, 3},
		"json":          {func(*testing.T, received) (int, string) { return 200, `{"a":1}` }, 1},
		"broken xml":    {func(*testing.T, received) (int, string) { return 200, "<xml><a>" }, 1},
		"empty content": {func(t *testing.T, r received) (int, string) { return 200, textReply(t, r, "") }, 1},
		"too long":      {func(t *testing.T, r received) (int, string) { return 200, textReply(t, r, strings.Repeat("好", 683)) }, 1},
		"not encrypted": {func(t *testing.T, r received) (int, string) {
			r.sealed = false
			return 200, textReply(t, r, "open")
		}, 1},
		"foreign app id": {func(t *testing.T, r received) (int, string) {
			r.sealed = false
			return 200, seal(t, textReply(t, r, "x"), "wxother", testToken)
		}, 1},
		"wrong signature": {func(t *testing.T, r received) (int, string) {
			r.sealed = false
			return 200, seal(t, textReply(t, r, "x"), testAppID, "othertoken")
		}, 1},
		"to somebody else": {func(t *testing.T, r received) (int, string) {
			r.msg.FromUserName = stranger
			return 200, textReply(t, r, "x")
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			b.back.replyWith(func(r received) (int, string) { return c.answer(t, r) })
			d := b.act(follower, "messages", map[string]any{"text": "hi", "retry_gap_ms": 0})
			if len(d.Attempts) != c.attempts || d.Attempts[0].Reply != nil {
				t.Errorf("attempts %+v", d.Attempts)
			}
			chat := b.chat(follower)
			if last := chat[len(chat)-1]; last.Kind != "fault" || last.From != "platform" {
				t.Errorf("the resident sees %+v", last)
			}
		})
	}
}

func TestQuietAnswers(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "success"} {
		b := newBench(t, nil)
		b.back.replyWith(func(received) (int, string) { return 200, body })
		d := b.act(follower, "messages", text("hi"))
		if len(d.Attempts) != 1 || d.Attempts[0].Reply != nil || len(b.chat(follower)) != 1 {
			t.Errorf("%q: %+v, chat %+v", body, d, b.chat(follower))
		}
	}
}

func TestCallbackAddressesAreTriedInTurn(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w *simcore.World) {
		// Nobody listens on the first.
		w.Accounts[0].CallbackURLs = append([]string{"http://127.0.0.1:1/wechat/demo"}, w.Accounts[0].CallbackURLs...)
	})
	for range 4 {
		if d := b.act(follower, "messages", text("hi")); len(d.Attempts) != 1 || d.Attempts[0].Status != 200 {
			t.Fatalf("attempts %+v", d.Attempts)
		}
	}
}

func TestTimesAndTampering(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.back.replyWith(func(r received) (int, string) { return 200, textReply(t, r, "ok") })
	d := b.act(follower, "messages", map[string]any{"text": "hi", "times": 3})
	got := b.back.all()
	if len(d.Attempts) != 3 || len(got) != 3 || got[0].raw != got[2].raw || got[0].query["nonce"] != got[1].query["nonce"] {
		t.Fatalf("copies differ: %+v", d)
	}
	if chat := b.chat(follower); len(chat) != 2 {
		t.Fatalf("a resident sees one answer: %+v", chat)
	}
	for tamper, refusal := range map[string]string{"signature": "msg_signature", "body": "msg_signature", "appid": "appid", "key": "decrypt"} {
		d := b.act(follower, "messages", map[string]any{"text": "evil", "tamper": tamper})
		got := b.back.all()
		if last := got[len(got)-1]; last.refused != refusal && !(tamper == "key" && last.refused == "appid") {
			t.Errorf("%s: refused for %q, want %q", tamper, last.refused, refusal)
		}
		if len(d.Attempts) != 1 || d.Attempts[0].Status != http.StatusForbidden {
			t.Errorf("%s: %+v", tamper, d)
		}
	}
	last := b.back.all()[2]
	b.act(follower, "messages", map[string]any{"text": "other", "tamper": "replay"})
	all := b.back.all()
	replayed := all[len(all)-1]
	if replayed.query["nonce"] != last.query["nonce"] || replayed.query["timestamp"] != last.query["timestamp"] || replayed.msg.Content != "other" {
		t.Errorf("replay %+v", replayed)
	}
	b.act(follower, "messages", map[string]any{"text": "old", "tamper": "stale"})
	all = b.back.all()
	if stale := all[len(all)-1]; stale.query["timestamp"] >= last.query["timestamp"] || stale.refused != "" {
		t.Errorf("stale %+v", stale)
	}
	if chat := b.chat(follower); len(chat) != 2 {
		t.Errorf("an attack appears in the chat: %+v", chat)
	}
	if d := b.act(follower, "messages", map[string]any{"text": "hi", "mode": "plain"}); d.Attempts[0].Status != 200 {
		t.Errorf("plain: %+v", d)
	}
	all = b.back.all()
	if all[len(all)-1].sealed {
		t.Error("mode plain was sealed")
	}
}

func TestKindsOfMessage(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	picture := base64.StdEncoding.EncodeToString([]byte("\x89PNG bytes"))
	b.act(follower, "messages", map[string]any{"type": "image", "name": "leak.png", "base64": picture})
	b.act(follower, "messages", map[string]any{"type": "voice", "name": "v.amr", "base64": picture})
	b.act(follower, "messages", map[string]any{"type": "location", "latitude": 23.134521, "longitude": 113.358803, "label": "东门"})
	b.act(follower, "messages", map[string]any{"type": "text", "text": "满意", "menu_id": "101"})
	b.act(follower, "messages", map[string]any{"type": "text", "text": "满意", "menu_id": "abc"})
	b.act(follower, "messages", map[string]any{"type": "wholly_new", "text": "x"})
	raw := "<xml><ToUserName><![CDATA[gh]]></ToUserName><FromUserName><![CDATA[" + follower + "]]></FromUserName><CreateTime>5</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[raw]]></Content><MsgId>42</MsgId></xml>"
	d := b.act(follower, "messages", map[string]any{"raw_xml": raw})
	got := b.back.all()
	if got[0].msg.MsgType != "image" || got[0].msg.MediaId == "" || !strings.HasPrefix(got[0].msg.PicUrl, b.url) {
		t.Errorf("image %+v", got[0].msg)
	}
	resp, err := b.client.Get(got[0].msg.PicUrl)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "\x89PNG bytes" || resp.Header.Get("Content-Type") != "image/png" {
		t.Errorf("picture %q %s", body, resp.Header.Get("Content-Type"))
	}
	if got[1].msg.Recognition == nil || *got[1].msg.Recognition != "" {
		t.Errorf("voice carries no recognition today: %+v", got[1].msg)
	}
	if got[2].msg.Label != "东门" || got[3].msg.BizMenuID != "101" || got[4].msg.BizMenuID != "0" || got[5].msg.MsgType != "wholly_new" {
		t.Errorf("messages %+v", got)
	}
	if d.MsgID != "42" || got[6].msg.Content != "raw" || got[6].msg.ToUserName != "gh" {
		t.Errorf("raw: %+v %+v", d, got[6].msg)
	}
	if code, _ := b.api("/cgi-bin/media/get?media_id="+got[0].msg.MediaId, nil); code != 0 {
		t.Errorf("media/get: %d", code)
	}
}

func TestFollowScanMenu(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	if status, _ := b.do(http.MethodPost, "/sim/residents/"+stranger+"/messages", text("hi")); status != http.StatusConflict {
		t.Errorf("a stranger wrote: %d", status)
	}
	b.act(stranger, "scan", map[string]any{"scene": "b3"})
	b.act(stranger, "scan", map[string]any{"scene": "b3"})
	b.wantCode(0, "/cgi-bin/menu/create", map[string]any{"button": []any{
		map[string]any{"type": "click", "name": "报修", "key": "REPAIR"},
		map[string]any{"type": "view", "name": "网站", "url": "https://example.com/a"},
	}})
	b.act(stranger, "menu", map[string]any{"key": "REPAIR"})
	b.act(stranger, "menu", map[string]any{"key": "https://example.com/a"})
	b.act(stranger, "unfollow", map[string]any{})
	if d := b.act(stranger, "unfollow", map[string]any{}); len(d.Attempts) != 0 {
		t.Errorf("unfollowed twice: %+v", d)
	}
	b.act(stranger, "follow", map[string]any{})
	var events []string
	for _, r := range b.back.all() {
		events = append(events, r.msg.Event+":"+r.msg.EventKey)
	}
	want := "subscribe:qrscene_b3 SCAN:b3 CLICK:REPAIR VIEW:https://example.com/a unsubscribe: subscribe:"
	if got := strings.Join(events, " "); got != want {
		t.Errorf("events %s\nwant   %s", got, want)
	}
	if first := b.back.all(); first[0].msg.Ticket == "" || first[0].msg.Ticket != first[1].msg.Ticket {
		t.Error("the ticket of a code changed")
	}
}

func TestAllowances(t *testing.T) {
	t.Parallel()
	const send = "/cgi-bin/message/custom/send"
	b := newBench(t, nil)
	b.wantCode(45015, send, service(follower, "unasked"))
	b.act(follower, "messages", text("hi"))
	for i := range 5 {
		b.wantCode(0, send, service(follower, fmt.Sprint("answer ", i)))
	}
	b.wantCode(45047, send, service(follower, "sixth"))
	b.act(follower, "menu", map[string]any{"key": "X"})
	for i := range 3 {
		b.wantCode(0, send, service(follower, fmt.Sprint("click ", i)))
	}
	b.wantCode(45047, send, service(follower, "fourth"))
	b.act(follower, "messages", text("again"))
	b.wantCode(0, send, service(follower, "renewed"))
	b.advance(48*time.Hour - time.Second)
	b.wantCode(0, send, service(follower, "just in time"))
	b.advance(time.Second)
	b.wantCode(45015, send, service(follower, "too late"))
	b.act(follower, "messages", map[string]any{"text": "满意", "menu_id": "7"})
	b.wantCode(0, send, service(follower, "thanks"))
	b.advance(time.Minute)
	b.wantCode(45015, send, service(follower, "a tapped option opens a minute only"))
	b.act(stranger, "follow", map[string]any{})
	b.wantCode(0, send, service(stranger, "welcome"))
	b.act(stranger, "unfollow", map[string]any{})
	b.wantCode(45015, send, service(stranger, "gone"))
}

func TestServiceMessageRules(t *testing.T) {
	t.Parallel()
	const send = "/cgi-bin/message/custom/send"
	b := newBench(t, nil)
	b.act(follower, "messages", text("hi"))
	menu := map[string]any{"touser": follower, "msgtype": "msgmenu", "msgmenu": map[string]any{
		"head_content": "解决了吗？", "list": []any{map[string]any{"id": "101", "content": "已解决"}, map[string]any{"id": 102, "content": "未解决"}},
	}}
	for name, c := range map[string]struct {
		want int64
		body any
	}{
		"unknown openid":  {40003, service("oNobody", "x")},
		"empty":           {44004, service(follower, "")},
		"2049 bytes":      {45002, service(follower, strings.Repeat("a", 2049))},
		"unknown kind":    {40008, map[string]any{"touser": follower, "msgtype": "poem"}},
		"unknown picture": {40007, map[string]any{"touser": follower, "msgtype": "image", "image": map[string]string{"media_id": "x"}}},
		"two articles": {45008, map[string]any{"touser": follower, "msgtype": "news", "news": map[string]any{
			"articles": []any{map[string]string{"title": "a"}, map[string]string{"title": "b"}},
		}}},
		"no body":   {44002, ""},
		"no json":   {47001, "{"},
		"the limit": {0, service(follower, strings.Repeat("a", 2048))},
		"a menu":    {0, menu},
		"with link": {0, service(follower, `请评价 <a href="weixin://bizmsgmenu?msgmenucontent=满意&msgmenuid=9">满意</a> <a href="https://e.cn/p">看这里</a>`)},
	} {
		if code, out := b.api(send, c.body); code != c.want {
			t.Errorf("%s: errcode %d, want %d: %v", name, code, c.want, out)
		}
	}
	var options []Option
	var link string
	for _, it := range b.chat(follower) {
		options = append(options, it.Options...)
		link += it.URL
	}
	if len(options) != 3 || link != "https://e.cn/p" {
		t.Errorf("options %+v, link %q", options, link)
	}
	test := newBench(t, func(w *simcore.World) { w.Accounts[0].Strictness = "test_account" })
	test.act(follower, "messages", text("hi"))
	test.wantCode(40200, send, menu)
}

func TestTyping(t *testing.T) {
	t.Parallel()
	const path = "/cgi-bin/message/custom/typing"
	on := map[string]string{"touser": follower, "command": "Typing"}
	b := newBench(t, nil)
	b.wantCode(45080, path, on)
	b.act(follower, "messages", text("hi"))
	b.wantCode(45072, path, map[string]string{"touser": follower, "command": "Sing"})
	b.wantCode(0, path, on)
	b.wantCode(45081, path, on)
	b.wantCode(0, "/cgi-bin/message/custom/send", service(follower, "answer"))
	b.wantCode(0, path, on)
	b.advance(31 * time.Second)
	b.wantCode(45080, path, on)
}

func TestTokens(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	check := func(tok string, want int64) {
		t.Helper()
		if code, out := b.raw(http.MethodGet, "/cgi-bin/user/get?access_token="+url.QueryEscape(tok), nil); code != want {
			t.Errorf("errcode %d, want %d: %v", code, want, out)
		}
	}
	legacy := func() string {
		_, out := b.raw(http.MethodGet, "/cgi-bin/token?grant_type=client_credential&appid="+testAppID+"&secret="+testSecret, nil)
		if _, has := out["errcode"]; has {
			t.Fatalf("a token carries no errcode: %v", out)
		}
		return out["access_token"].(string)
	}
	check("", 41001)
	check("nonsense", 40014)
	check("80_"+strings.Repeat("x", 133), 40001)
	stable := b.token()
	if again := b.token(); again != stable {
		t.Error("stable_token changed")
	}
	first := legacy()
	second := legacy()
	check(first, 0)
	check(second, 0)
	check(stable, 0)
	b.advance(5*time.Minute + time.Second)
	check(first, 42001)
	check(second, 0)
	b.advance(110 * time.Minute) // inside the last five minutes of the stable one
	next := b.token()
	if next == stable {
		t.Error("no new stable token in its last five minutes")
	}
	check(stable, 0)
	check(next, 0)
	b.advance(6 * time.Minute)
	check(stable, 42001)
	force := map[string]any{"grant_type": "client_credential", "appid": testAppID, "secret": testSecret, "force_refresh": true}
	_, out := b.raw(http.MethodPost, "/cgi-bin/stable_token", force)
	forced := out["access_token"].(string)
	if forced == next {
		t.Error("force_refresh gave the old one")
	}
	check(next, 42001)
	if _, out := b.raw(http.MethodPost, "/cgi-bin/stable_token", force); out["access_token"] != forced {
		t.Error("force_refresh within 30 s made a new one")
	}
	for query, want := range map[string]int64{
		"grant_type=x&appid=" + testAppID + "&secret=" + testSecret:               40002,
		"grant_type=client_credential&secret=x":                                   41002,
		"grant_type=client_credential&appid=" + testAppID:                         41004,
		"grant_type=client_credential&appid=wxother&secret=x":                     40013,
		"grant_type=client_credential&appid=" + testAppID + "&secret=wrongsecret": 40125,
	} {
		if code, out := b.raw(http.MethodGet, "/cgi-bin/token?"+query, nil); code != want {
			t.Errorf("%s: %d, want %d: %v", query, code, want, out)
		}
	}
	if status, _ := b.do(http.MethodPost, "/sim/accounts/"+testAppID+"/tokens", map[string]string{"do": "expire"}); status != 200 {
		t.Error("expire")
	}
	check(forced, 42001)
	guarded := newBench(t, func(w *simcore.World) { w.Accounts[0].AllowedIPs = []string{"10.0.0.1"} })
	if code, out := guarded.raw(http.MethodGet, "/cgi-bin/token?grant_type=client_credential&appid="+testAppID+"&secret="+testSecret, nil); code != 40164 {
		t.Errorf("ip: %v", out)
	}
}

var ridForm = regexp.MustCompile(` rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`)

func TestErrorsCarryRID(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	out := b.wantCode(40003, "/cgi-bin/user/info?openid=oNobody", nil)
	text := out["errmsg"].(string)
	if !ridForm.MatchString(text) {
		t.Fatalf("errmsg %q", text)
	}
	rid := text[strings.LastIndex(text, " ")+1:]
	if !strings.HasPrefix(rid, fmt.Sprintf("%08x", b.clk.Now().Unix())) {
		t.Errorf("rid %s does not begin with the time", rid)
	}
	b.wantCode(0, "/cgi-bin/openapi/rid/get", map[string]string{"rid": rid})
	b.wantCode(40066, "/cgi-bin/no/such", nil)
}

func tmpl(data map[string]any) map[string]any {
	fields := map[string]any{}
	for k, v := range data {
		fields[k] = map[string]any{"value": v}
	}
	return map[string]any{"touser": follower, "template_id": tmplCase, "url": "https://e.cn/c", "data": fields}
}

func goodData() map[string]any {
	return map[string]any{"thing2": "电梯维修", "time3": "2026-11-25 10:00", "character_string1": "123456"}
}

func TestTemplateFields(t *testing.T) {
	t.Parallel()
	const send = "/cgi-bin/message/template/send"
	b := newBench(t, nil)
	with := func(k string, v any) map[string]any {
		d := goodData()
		d[k] = v
		return tmpl(d)
	}
	for name, c := range map[string]struct {
		body map[string]any
		text string
	}{
		"21 characters": {with("thing2", strings.Repeat("梯", 21)), "argument invalid! data.thing2.value invalid"},
		"newline":       {with("thing2", "a\nb"), "argument invalid! data.thing2.value invalid"},
		"empty":         {with("thing2", " "), "argument invalid! data.thing2.value is empty"},
		"han in string": {with("character_string1", "单号1"), "argument invalid! data.character_string1.value invalid"},
		"no time":       {with("time3", "明天"), "argument invalid! data.time3.value invalid"},
		"missing":       {tmpl(map[string]any{"thing2": "x", "time3": "10:00"}), "argument invalid! data.character_string1.value is empty"},
	} {
		code, out := b.api(send, c.body)
		if code != 47003 || !strings.HasPrefix(fmt.Sprint(out["errmsg"]), c.text) {
			t.Errorf("%s: %d %v", name, code, out["errmsg"])
		}
	}
	b.wantCode(0, send, with("thing2", strings.Repeat("梯", 20)))
	b.wantCode(0, send, with("first", "dropped silently"))
	bad := tmpl(goodData())
	bad["template_id"] = "other"
	b.wantCode(40037, send, bad)
	bad["template_id"] = tmplSub
	b.wantCode(40037, send, bad)
	bad = tmpl(goodData())
	bad["touser"] = stranger
	b.wantCode(43004, send, bad)
	test := newBench(t, func(w *simcore.World) { w.Accounts[0].Strictness = "test_account" })
	test.wantCode(0, send, with("thing2", strings.Repeat("梯", 50)))
}

func TestFieldTypes(t *testing.T) {
	t.Parallel()
	tpl := simcore.WeChatTemplate{Values: map[string][]string{"const3": {"已派单"}, "enum4": {"是"}}}
	for _, c := range []struct {
		key, value string
		want       bool
	}{
		{"time1", "15:01", true}, {"time1", "2019年10月1日 15:01", true}, {"time1", "2023-11-23 14:10:29", true},
		{"time1", "2026-11-25 09:00~2026-11-25 18:00", true}, {"time1", "25:00", false}, {"time1", "2019年10月1日", false},
		{"date1", "2019年10月1日", true}, {"date1", "2019年10月1日 15:01~18:00", true}, {"date1", "soon", false},
		{"amount1", "¥100.5元", true}, {"amount1", "12345678901", false}, {"amount1", "一百", false},
		{"phone_number1", "+86-0766-66888866", true}, {"phone_number1", "123456789012345678", false},
		{"car_number1", "粤A8Z888挂", true}, {"car_number1", "粤A8Z8888挂挂", false},
		{"name1", "张三", true}, {"name1", "张三李四王五赵六钱七孙", false}, {"name1", "Alexander Hamilton", true},
		{"phrase1", "已接单", true}, {"phrase1", "已接单了哦哦", false}, {"phrase1", "ok", false},
		{"number1", "12.5", true}, {"number1", "12a", false}, {"letter1", "abc", true}, {"letter1", "a1", false},
		{"symbol1", "+-", true}, {"symbol1", "a", false}, {"const3", "已派单", true}, {"const3", "其他", false}, {"const5", "无清单", true},
		{"enum4", "是", true}, {"enum4", "否", false}, {"short_thing1", "五个字以内", true}, {"short_thing1", "六个字以上了", false},
		{"character_string9", strings.Repeat("a", 32), true}, {"character_string9", strings.Repeat("a", 33), false},
		{"keyword1", "anything at all, as in old templates", true},
	} {
		if got := checkField(tpl, c.key, c.value); got != c.want {
			t.Errorf("%s %q: %v, want %v", c.key, c.value, got, c.want)
		}
	}
}

func TestTemplateResult(t *testing.T) {
	t.Parallel()
	const send = "/cgi-bin/message/template/send"
	b := newBench(t, nil)
	body := tmpl(goodData())
	body["client_msg_id"] = "out-1"
	first := b.wantCode(0, send, body)["msgid"].(json.Number)
	if n, err := first.Int64(); err != nil || n <= 1<<53 {
		t.Errorf("msgid %s should exceed 2^53", first)
	}
	if again := b.wantCode(0, send, body)["msgid"].(json.Number); again != first {
		t.Error("the same client_msg_id was sent twice")
	}
	b.advance(time.Second)
	got := b.back.all()
	if len(got) != 1 || got[0].msg.Event != "TEMPLATESENDJOBFINISH" || fmt.Sprint(got[0].msg.MsgID) != first.String() || got[0].msg.Status != "success" {
		t.Fatalf("result %+v", got)
	}
	chat := b.chat(follower)
	if len(chat) != 1 || chat[0].Kind != "template" || chat[0].Fields["thing2"] != "电梯维修" || chat[0].URL != "https://e.cn/c" || !strings.Contains(chat[0].Text, "事项：电梯维修") {
		t.Fatalf("chat %+v", chat)
	}
	b.advance(10 * time.Minute)
	if again := b.wantCode(0, send, body)["msgid"].(json.Number); again == first {
		t.Error("client_msg_id is good for ten minutes only")
	}
	if dup := b.core.Counters.Report().Duplicates.OutID; len(dup) != 1 || dup[0].N != 2 {
		t.Errorf("duplicates %+v", dup)
	}

	for name, c := range map[string]struct {
		fault  simcore.Fault
		events int
		status string
	}{
		"receipt":   {simcore.Fault{Kind: simcore.FaultReceipt, Code: "failed:user block"}, 1, "failed:user block"},
		"dropped":   {simcore.Fault{Kind: simcore.FaultDrop}, 0, ""},
		"duplicate": {simcore.Fault{Kind: simcore.FaultDuplicate}, 2, "success"},
		"late":      {simcore.Fault{Kind: simcore.FaultDelay, MS: 60_000}, 1, "success"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			c.fault.Target = "wechat.template_result"
			c.fault.Match = simcore.Match{OpenID: follower}
			b.fault(c.fault)
			b.wantCode(0, send, tmpl(goodData()))
			b.advance(time.Second)
			if name == "late" {
				if n := len(b.back.all()); n != 0 {
					t.Errorf("%d events before their time", n)
				}
				b.advance(time.Minute)
			}
			got := b.back.all()
			if len(got) != c.events {
				t.Fatalf("%d events, want %d", len(got), c.events)
			}
			for _, r := range got {
				if r.msg.Status != c.status {
					t.Errorf("status %q, want %q", r.msg.Status, c.status)
				}
			}
		})
	}
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	const send = "/cgi-bin/message/subscribe/bizsend"
	b := newBench(t, nil)
	body := map[string]any{"touser": stranger, "template_id": tmplSub, "page": "https://e.cn", "data": map[string]any{"thing1": map[string]string{"value": "好了"}}}
	b.wantCode(43101, send, body)
	b.act(stranger, "consent", map[string]any{"template_id": tmplSub})
	out := b.wantCode(0, send, body)
	if _, has := out["msgid"]; has {
		t.Error("bizsend answers no msgid")
	}
	b.wantCode(43101, send, body)
	b.advance(time.Second)
	got := b.back.all()
	if len(got) != 2 || got[0].msg.Event != "subscribe_msg_popup_event" || got[1].msg.Event != "subscribe_msg_sent_event" {
		t.Errorf("events %+v", got)
	}
	if chat := b.chat(stranger); chat[len(chat)-1].Kind != "subscribe" {
		t.Errorf("a subscription reaches one who does not follow: %+v", chat)
	}
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w *simcore.World) {
		w.Accounts[0].Quotas = map[string]int64{"/cgi-bin/user/get": 2}
	})
	b.wantCode(0, "/cgi-bin/user/get", nil)
	b.wantCode(0, "/cgi-bin/user/get", nil)
	b.wantCode(45009, "/cgi-bin/user/get", nil)
	out := b.wantCode(0, "/cgi-bin/openapi/quota/get", map[string]string{"cgi_path": "/cgi-bin/user/get"})
	if q := out["quota"].(map[string]any); fmt.Sprintf("%v %v %v", q["daily_limit"], q["used"], q["remain"]) != "2 2 0" {
		t.Errorf("quota %v", q)
	}
	b.wantCode(76003, "/cgi-bin/openapi/quota/get", map[string]string{"cgi_path": "/x"})
	for range 10 {
		b.wantCode(0, "/cgi-bin/clear_quota", map[string]string{"appid": testAppID})
	}
	b.wantCode(0, "/cgi-bin/user/get", nil)
	b.wantCode(48006, "/cgi-bin/clear_quota", map[string]string{"appid": testAppID})
	b.wantCode(0, "/cgi-bin/user/get", nil)
	b.wantCode(45009, "/cgi-bin/user/get", nil)
	b.advance(15 * time.Hour) // 01:00 UTC is 09:00 in China; midnight has passed
	b.wantCode(0, "/cgi-bin/user/get", nil)
}

func TestUsersQRTicketMenu(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	out := b.wantCode(0, "/cgi-bin/user/info?openid="+follower, nil)
	if out["nickname"] != "" || out["subscribe"].(json.Number) != "1" {
		t.Errorf("info %v", out)
	}
	if out := b.wantCode(0, "/cgi-bin/user/info?openid="+stranger, nil); out["subscribe"].(json.Number) != "0" || len(out) != 3 {
		t.Errorf("a stranger's info %v", out)
	}
	if out := b.wantCode(0, "/cgi-bin/user/get", nil); out["total"].(json.Number) != "1" {
		t.Errorf("get %v", out)
	}
	qr := map[string]any{"expire_seconds": 60, "action_name": "QR_STR_SCENE", "action_info": map[string]any{"scene": map[string]any{"scene_str": "home-7"}}}
	out = b.wantCode(0, "/cgi-bin/qrcode/create", qr)
	if _, has := out["errcode"]; has || out["ticket"] == "" {
		t.Errorf("qr %v", out)
	}
	shown := func() int {
		resp, err := b.client.Get(b.url + "/mp.weixin.qq.com/cgi-bin/showqrcode?ticket=" + url.QueryEscape(out["ticket"].(string)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if shown() != http.StatusOK {
		t.Error("a code has no picture")
	}
	b.act(stranger, "scan", map[string]any{"ticket": out["ticket"]})
	if got := b.back.all(); got[0].msg.EventKey != "qrscene_home-7" {
		t.Errorf("scan %+v", got[0].msg)
	}
	b.advance(time.Minute)
	if shown() != http.StatusNotFound {
		t.Error("an old code is still shown")
	}
	if status, _ := b.do(http.MethodPost, "/sim/residents/"+stranger+"/scan", map[string]any{"ticket": out["ticket"]}); status != http.StatusConflict {
		t.Errorf("an old code was scanned: %d", status)
	}
	qr["action_name"], qr["action_info"] = "QR_LIMIT_STR_SCENE", map[string]any{"scene": map[string]any{"scene_str": strings.Repeat("x", 65)}}
	b.wantCode(40053, "/cgi-bin/qrcode/create", qr)
	tk := b.wantCode(0, "/cgi-bin/ticket/getticket?type=jsapi", nil)
	if again := b.wantCode(0, "/cgi-bin/ticket/getticket?type=jsapi", nil); again["ticket"] != tk["ticket"] {
		t.Error("the ticket changed within its life")
	}
	b.wantCode(46003, "/cgi-bin/menu/get", nil)
	long := map[string]any{"button": []any{map[string]any{"type": "click", "name": "一二三四五六", "key": "K"}}}
	b.wantCode(40018, "/cgi-bin/menu/create", long)
}

func TestMedia(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	var form bytes.Buffer
	mw := multipart.NewWriter(&form)
	part, err := mw.CreateFormFile("media", "a.jpg")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write([]byte("jpeg"))
	_ = mw.Close()
	resp, err := b.client.Post(b.url+host+"/cgi-bin/media/upload?type=image&access_token="+b.token(), mw.FormDataContentType(), &form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var up struct {
		MediaID string `json:"media_id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&up); err != nil || up.MediaID == "" {
		t.Fatalf("upload: %v", err)
	}
	get, err := b.client.Get(b.url + host + "/cgi-bin/media/get?media_id=" + up.MediaID + "&access_token=" + b.token())
	if err != nil {
		t.Fatal(err)
	}
	defer get.Body.Close()
	if body, _ := io.ReadAll(get.Body); string(body) != "jpeg" || !strings.Contains(get.Header.Get("Content-Disposition"), up.MediaID+".jpg") {
		t.Errorf("get %q %v", body, get.Header)
	}
	b.act(follower, "messages", text("hi"))
	image := map[string]any{"touser": follower, "msgtype": "image", "image": map[string]string{"media_id": up.MediaID}}
	b.wantCode(0, "/cgi-bin/message/custom/send", image)
	b.advance(72 * time.Hour)
	b.wantCode(40007, "/cgi-bin/media/get?media_id="+up.MediaID, nil)
}

func TestOAuth(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	_, out := b.do(http.MethodPost, "/sim/residents/"+follower+"/oauth", map[string]string{"redirect_uri": "https://p.cn/h5?a=1", "state": "s1"})
	back, err := url.Parse(out["url"].(string))
	if err != nil || back.Query().Get("state") != "s1" || back.Query().Get("a") != "1" {
		t.Fatalf("url %v", out)
	}
	path := "/sns/oauth2/access_token?grant_type=authorization_code&appid=" + testAppID + "&secret=" + testSecret + "&code="
	code, grant := b.raw(http.MethodGet, path+back.Query().Get("code"), nil)
	if code != 0 || grant["openid"] != follower {
		t.Fatalf("grant %v", grant)
	}
	if code, _ := b.raw(http.MethodGet, path+back.Query().Get("code"), nil); code != 40163 {
		t.Errorf("used code: %d", code)
	}
	if code, _ := b.raw(http.MethodGet, path+"nonsense", nil); code != 40029 {
		t.Errorf("bad code: %d", code)
	}
	if code, _ := b.raw(http.MethodGet, "/sns/auth?openid="+follower+"&access_token="+grant["access_token"].(string), nil); code != 0 {
		t.Errorf("auth: %d", code)
	}
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := b.client.Get(b.url + "/open.weixin.qq.com/connect/oauth2/authorize?appid=" + testAppID +
		"&redirect_uri=https%3A%2F%2Fp.cn%2F&response_type=code&scope=snsapi_base&state=x&sim_openid=" + follower)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusFound || !strings.HasPrefix(resp.Header.Get("Location"), "https://p.cn/?code=") {
		t.Errorf("authorize %d %s", resp.StatusCode, resp.Header.Get("Location"))
	}
}

func TestAPIFaults(t *testing.T) {
	t.Parallel()
	const send = "/cgi-bin/message/custom/send"
	one := func(kind, code string) simcore.Fault {
		return simcore.Fault{Target: "wechat.custom_send", Kind: kind, Times: 1, MS: 20, Code: simcore.Code(code), Match: simcore.Match{OpenID: follower}}
	}
	for name, c := range map[string]struct {
		fault    simcore.Fault
		status   int
		code     int64
		accepted int
	}{
		"errcode":       {one(simcore.FaultErrcode, "-1"), 200, -1, 0},
		"http":          {one(simcore.FaultHTTP, "502"), 502, 0, 0},
		"before":        {one(simcore.FaultTimeoutBefore, ""), 0, 0, 0},
		"after accept":  {one(simcore.FaultTimeoutAfterAccept, ""), 0, 0, 1},
		"slow":          {one(simcore.FaultSlow, ""), 200, 0, 1},
		"drop":          {one(simcore.FaultDrop, ""), 0, 0, 0},
		"disconnect":    {one(simcore.FaultDisconnect, ""), 0, 0, 1},
		"done twice":    {one(simcore.FaultDuplicate, ""), 200, 0, 2},
		"somebody else": {simcore.Fault{Target: "wechat.custom_send", Kind: simcore.FaultDrop, Match: simcore.Match{OpenID: stranger}}, 200, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			b.act(follower, "messages", text("hi"))
			path := host + send + "?access_token=" + b.token()
			b.fault(c.fault)
			status, out := b.do(http.MethodPost, path, service(follower, "answer"))
			if status != c.status {
				t.Errorf("status %d, want %d: %v", status, c.status, out)
			}
			if n, _ := out["errcode"].(json.Number); c.code != 0 && n.String() != fmt.Sprint(c.code) {
				t.Errorf("errcode %v, want %d", out, c.code)
			}
			if n := len(b.chat(follower)) - 1; n != c.accepted {
				t.Errorf("%d accepted, want %d", n, c.accepted)
			}
			if name == "somebody else" {
				return
			}
			before := len(b.chat(follower))
			b.wantCode(0, send, service(follower, "the fault is spent"))
			if len(b.chat(follower)) != before+1 {
				t.Error("the call after the fault was not accepted")
			}
		})
	}
}

func TestCallbackFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind            string
		attempts, heard int
	}{
		"lost on the way":  {simcore.FaultDrop, 2, 1},
		"answer lost":      {simcore.FaultDisconnect, 2, 2},
		"doubled":          {simcore.FaultDuplicate, 1, 2},
		"late":             {simcore.FaultDelay, 1, 1},
		"never got there":  {simcore.FaultTimeoutBefore, 2, 1},
		"timed out within": {simcore.FaultTimeoutAfterAccept, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			b.back.replyWith(func(r received) (int, string) { return 200, textReply(t, r, "ok") })
			ms := int64(10)
			if c.kind == simcore.FaultDisconnect {
				ms = 3000 // the server of this test must have heard it
			}
			b.fault(simcore.Fault{Target: "wechat.callback", Kind: c.kind, Times: 1, MS: ms})
			d := b.act(follower, "messages", map[string]any{"text": "hi", "retry_gap_ms": 0})
			if len(d.Attempts) != c.attempts || len(b.back.all()) != c.heard {
				t.Errorf("%d attempts, want %d; heard %d, want %d", len(d.Attempts), c.attempts, len(b.back.all()), c.heard)
			}
			if chat := b.chat(follower); len(chat) != 2 || chat[1].Text != "ok" {
				t.Errorf("chat %+v", chat)
			}
		})
	}
}

func TestWorldIsRefusedWithItsField(t *testing.T) {
	t.Parallel()
	core := simcore.New(clock.System(), nil)
	t.Cleanup(func() { _ = core.Stop(t.Context()) })
	for field, w := range map[string]simcore.World{
		"accounts[0].app_id":           {Accounts: []simcore.Account{{}}},
		"accounts[0].encoding_aes_key": {Accounts: []simcore.Account{{AppID: "a", EncodingAESKey: "short"}}},
		"accounts[0].mode":             {Accounts: []simcore.Account{{AppID: "a", Mode: "loud"}}},
		"residents[0].app_id":          {Residents: []simcore.Resident{{OpenID: "o"}}},
	} {
		err := (&Sim{core: core}).LoadWorld(w)
		bad, ok := err.(*simcore.BadInput)
		if !ok || bad.Field != field {
			t.Errorf("%v, want field %s", err, field)
		}
	}
}

func FuzzReply(f *testing.F) {
	core := simcore.New(clock.System(), nil)
	s := &Sim{core: core}
	acct, _, err := buildAccounts([]simcore.Account{{AppID: testAppID, Token: testToken, EncodingAESKey: testKey, OriginalID: testGH}})
	if err != nil {
		f.Fatal(err)
	}
	u := newUser(acct[testAppID], simcore.Resident{OpenID: follower})
	f.Add("success", modeEncrypted)
	f.Add("<xml><Encrypt>x</Encrypt></xml>", modeEncrypted)
	f.Add("<xml><ToUserName>"+follower+"</ToUserName><FromUserName>"+testGH+"</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content>a</Content></xml>", modePlain)
	f.Fuzz(func(t *testing.T, body, mode string) {
		r, err := s.readReply(&push{acct: acct[testAppID], u: u, mode: mode}, []byte(body))
		if err == nil && r != nil && r.Type == "" {
			t.Errorf("a reply without a type was taken: %q", body)
		}
	})
}
