package simwecom_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"guanjia/internal/sandbox/simcore"
)

const api = "/qyapi.weixin.qq.com/cgi-bin"

func (r *rig) token() string {
	r.t.Helper()
	_, out := r.call("GET", api+"/gettoken?corpid=ww1&corpsecret=corpsecret", nil)
	if code(out) != 0 {
		r.t.Fatalf("gettoken: %v", out)
	}
	return out["access_token"].(string)
}

func (r *rig) app(path string, body any) map[string]any {
	r.t.Helper()
	method := "POST"
	if body == nil {
		method = "GET"
	}
	mark := "?"
	if strings.Contains(path, "?") {
		mark = "&"
	}
	_, out := r.call(method, api+path+mark+"access_token="+r.token(), body)
	return out
}

func (r *rig) hook(body any) int {
	r.t.Helper()
	_, out := r.call("POST", api+"/webhook/send?key=hook1", body)
	return code(out)
}

func TestToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, out := r.call("GET", api+"/gettoken?corpid=nobody&corpsecret=corpsecret", nil)
	if code(out) != 40013 {
		t.Errorf("corpid: %v", out)
	}
	_, out = r.call("GET", api+"/gettoken?corpid=ww1&corpsecret=wrong", nil)
	if code(out) != 40001 {
		t.Errorf("secret: %v", out)
	}
	first := r.token()
	if again := r.token(); again != first {
		t.Error("a token that is good is given again")
	}
	use := func(tok string) int {
		_, out := r.call("GET", api+"/user/get?userid=zhang&access_token="+tok, nil)
		return code(out)
	}
	for tok, want := range map[string]int{"": 41001, "made-up": 40014, first: 0} {
		if got := use(tok); got != want {
			t.Errorf("token %q: %d, want %d", tok, got, want)
		}
	}
	r.clock.Advance(2*time.Hour + time.Second)
	if got := use(first); got != 42001 {
		t.Errorf("after two hours: %d, want 42001", got)
	}
	if r.token() == first {
		t.Error("the old token is given again")
	}
	r.faults(simcore.Fault{Target: "wecom.token", Kind: "errcode", Code: "-1"})
	_, out = r.call("GET", api+"/gettoken?corpid=ww1&corpsecret=corpsecret", nil)
	if code(out) != -1 {
		t.Errorf("fault: %v", out)
	}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, out := r.call("POST", api+"/webhook/send?key=nope", map[string]any{"msgtype": "text", "text": markdown("x")}); code(out) != 93000 {
		t.Errorf("unknown key: %v", out)
	}
	png := []byte("\x89PNG\r\n\x1a\n")
	sum := md5.Sum(png)
	for name, c := range map[string]struct {
		body any
		want int
	}{
		"2048 bytes":        {map[string]any{"msgtype": "text", "text": markdown(strings.Repeat("x", 2048))}, 0},
		"2049 bytes":        {map[string]any{"msgtype": "text", "text": markdown(strings.Repeat("x", 2049))}, 45002},
		"markdown 4096":     {map[string]any{"msgtype": "markdown", "markdown": markdown(strings.Repeat("x", 4096))}, 0},
		"markdown 4097":     {map[string]any{"msgtype": "markdown", "markdown": markdown(strings.Repeat("x", 4097))}, 45002},
		"empty":             {map[string]any{"msgtype": "text", "text": markdown("")}, 40058},
		"stream":            {map[string]any{"msgtype": "stream"}, 40008},
		"not JSON":          {"hello", 40058},
		"buttons":           {map[string]any{"msgtype": "template_card", "template_card": card("t")}, 40058},
		"card no action":    {map[string]any{"msgtype": "template_card", "template_card": map[string]any{"card_type": "text_notice", "main_title": map[string]any{"title": "x"}}}, 42045},
		"card":              {map[string]any{"msgtype": "template_card", "template_card": map[string]any{"card_type": "text_notice", "main_title": map[string]any{"title": "x"}, "card_action": map[string]any{"type": 1, "url": "https://example.com"}}}, 0},
		"picture":           {map[string]any{"msgtype": "image", "image": map[string]any{"base64": base64.StdEncoding.EncodeToString(png), "md5": hex.EncodeToString(sum[:])}}, 0},
		"picture wrong md5": {map[string]any{"msgtype": "image", "image": map[string]any{"base64": base64.StdEncoding.EncodeToString(png), "md5": "0"}}, 40058},
		"nine articles":     {map[string]any{"msgtype": "news", "news": map[string]any{"articles": make([]map[string]any, 9)}}, 40058},
	} {
		if got := r.hook(c.body); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	_, last := r.chat(engine, 0)
	r.hook(map[string]any{"msgtype": "text", "text": map[string]any{"content": "电梯困人", "mentioned_list": []string{"li", "@all"}, "mentioned_mobile_list": []string{"13800000009"}}})
	items, _ := r.chat(engine, last)
	m := items[0]
	if m["from"].(map[string]any)["kind"] != "webhook" || m["type"] != "text" || m["text"] != "电梯困人" {
		t.Errorf("%v", m)
	}
	if got, _ := json.Marshal(m["mentions"]); string(got) != `["li","@all","zhang"]` {
		t.Errorf("mentions: %s", got)
	}
}

func TestWebhookRate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	say := func() int { return r.hook(map[string]any{"msgtype": "text", "text": markdown("x")}) }
	for i := range 20 {
		if c := say(); c != 0 {
			t.Fatalf("message %d: %d", i+1, c)
		}
	}
	if c := say(); c != 45009 {
		t.Errorf("message 21: %d, want 45009", c)
	}
	r.clock.Advance(time.Minute + time.Second)
	if c := say(); c != 0 {
		t.Errorf("a minute later: %d", c)
	}
}

func TestBotsDoNotHearBots(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	r.hook(map[string]any{"msgtype": "text", "text": markdown("@管家 帮助")})
	b.nothing()
}

func TestAppMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	send := func(change map[string]any) map[string]any {
		m := map[string]any{"touser": "zhang|nobody", "agentid": 1000002, "msgtype": "text", "text": markdown("有新工单")}
		for k, v := range change {
			m[k] = v
		}
		return r.app("/message/send", m)
	}
	out := send(nil)
	if code(out) != 0 || out["invaliduser"] != "nobody" || out["msgid"] == "" {
		t.Fatalf("%v", out)
	}
	items, last := r.chat("/sim/staff/zhang", 0)
	if len(items) != 1 || items[0]["from"].(map[string]any)["kind"] != "app" || items[0]["text"] != "有新工单" {
		t.Errorf("%v", items)
	}
	for name, c := range map[string]struct {
		change map[string]any
		want   int
	}{
		"all bad":         {map[string]any{"touser": "nobody"}, 81013},
		"agent as string": {map[string]any{"agentid": "1000002"}, 40056},
		"other agent":     {map[string]any{"agentid": 1}, 40056},
		"too long":        {map[string]any{"text": markdown(strings.Repeat("x", 2049))}, 45002},
		"stream":          {map[string]any{"msgtype": "stream"}, 40008},
		"textcard":        {map[string]any{"msgtype": "textcard", "textcard": map[string]any{"title": "t", "description": "d", "url": "https://example.com"}}, 0},
		"textcard no url": {map[string]any{"msgtype": "textcard", "textcard": map[string]any{"title": "t", "description": "d"}}, 40058},
	} {
		if got := code(send(c.change)); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := code(r.app("/message/recall", map[string]any{"msgid": out["msgid"]})); got != 0 {
		t.Errorf("recall: %d", got)
	}
	if items, _ = r.chat("/sim/staff/zhang", last); items[len(items)-1]["recalled"] != true {
		t.Errorf("recalled: %v", items)
	}
	if got := code(r.app("/message/recall", map[string]any{"msgid": out["msgid"]})); got == 0 {
		t.Error("recalled twice")
	}
	// More than 30 a minute to one member are dropped without a word.
	r.clock.Advance(time.Hour)
	for range 40 {
		if c := code(send(map[string]any{"touser": "li"})); c != 0 {
			t.Fatalf("%d", c)
		}
	}
	if items, _ = r.chat("/sim/staff/li", 0); len(items) != 30 {
		t.Errorf("%d arrived, want 30", len(items))
	}
}

func TestAppCard(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	send := func() string {
		out := r.app("/message/send", map[string]any{"touser": "zhang", "agentid": 1000002, "msgtype": "template_card", "template_card": card("t")})
		c, _ := out["response_code"].(string)
		return c
	}
	update := func(c string) int {
		return code(r.app("/message/update_template_card", map[string]any{"userids": []string{"zhang"}, "agentid": 1000002, "response_code": c, "button": map[string]any{"replace_name": "已接单"}}))
	}
	c := send()
	if c == "" {
		t.Fatal("no response_code")
	}
	_, last := r.chat("/sim/staff/zhang", 0)
	if got := update(c); got != 0 {
		t.Errorf("update: %d", got)
	}
	items, _ := r.chat("/sim/staff/zhang", last)
	if len(items) != 1 || len(items[0]["card"].(map[string]any)["buttons"].([]any)) != 0 {
		t.Errorf("%v", items)
	}
	if got := update(c); got == 0 {
		t.Error("a response_code works once")
	}
	c = send()
	r.clock.Advance(73 * time.Hour)
	if got := update(c); got == 0 {
		t.Error("a response_code lives 72 hours")
	}
}

func TestAppchat(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	make := func(users ...string) map[string]any {
		return r.app("/appchat/create", map[string]any{"name": "夜班", "chatid": "night1", "userlist": users})
	}
	if c := code(make("zhang")); c != 86006 {
		t.Errorf("one member: %d", c)
	}
	if c := code(make("zhang", "nobody")); c != 86216 {
		t.Errorf("a stranger: %d", c)
	}
	if c := code(make("zhang", "li")); c != 0 {
		t.Fatalf("create: %d", c)
	}
	if c := code(make("zhang", "li")); c != 86215 {
		t.Errorf("twice: %d", c)
	}
	groups := func() int {
		_, out := r.call("GET", "/sim/groups", nil)
		return len(out["groups"].([]any))
	}
	if groups() != 3 {
		t.Error("a new app group shows before its first message")
	}
	if c := code(r.app("/appchat/send", map[string]any{"chatid": "night1", "msgtype": "template_card", "template_card": card("t")})); c != 40008 {
		t.Errorf("template_card: %d, want 40008", c)
	}
	if c := code(r.app("/appchat/send", map[string]any{"chatid": "night1", "msgtype": "text", "text": map[string]any{"content": "交接班 <@li>", "mentioned_list": []string{"zhang"}}})); c != 0 {
		t.Errorf("send: %d", c)
	}
	if groups() != 4 {
		t.Error("the group does not show")
	}
	items, _ := r.chat("/sim/groups/night1", 0)
	if got, _ := json.Marshal(items[0]["mentions"]); string(got) != `["zhang","li"]` {
		t.Errorf("mentions: %s", got)
	}
	if c := code(r.app("/appchat/send", map[string]any{"chatid": "wrEngine", "msgtype": "text", "text": markdown("x")})); c != 86003 {
		t.Errorf("an ordinary group: %d, want 86003", c)
	}
	r.app("/appchat/update", map[string]any{"chatid": "night1", "name": "早班"})
	out := r.app("/appchat/get?chatid=night1", nil)
	if out["chat_info"].(map[string]any)["name"] != "早班" {
		t.Errorf("%v", out)
	}
}

func TestOAuth(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	grant := func() string {
		_, out := r.call("POST", "/sim/staff/zhang/oauth", nil)
		return out["code"].(string)
	}
	c := grant()
	out := r.app("/auth/getuserinfo?code="+c, nil)
	if code(out) != 0 || out["userid"] != "zhang" {
		t.Errorf("%v", out)
	}
	detail := r.app("/auth/getuserdetail", map[string]any{"user_ticket": out["user_ticket"]})
	if detail["mobile"] != "13800000009" {
		t.Errorf("%v", detail)
	}
	if out = r.app("/auth/getuserinfo?code="+c, nil); code(out) != 40029 {
		t.Errorf("a code used twice: %v", out)
	}
	c = grant()
	r.clock.Advance(6 * time.Minute)
	if out = r.app("/auth/getuserinfo?code="+c, nil); code(out) != 40029 {
		t.Errorf("a code after five minutes: %v", out)
	}
}

func TestContacts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out := r.app("/user/get?userid=zhang", nil)
	if out["name"] != "张三" || out["mobile"] != nil {
		t.Errorf("%v", out)
	}
	if out = r.app("/user/get?userid=nobody", nil); code(out) != 60111 {
		t.Errorf("%v", out)
	}
	if out = r.app("/department/list", nil); len(out["department"].([]any)) != 1 {
		t.Errorf("%v", out)
	}
	if out = r.app("/user/simplelist?department_id=1", nil); len(out["userlist"].([]any)) != 2 {
		t.Errorf("%v", out)
	}
	if out = r.app("/ticket/get?type=agent_config", nil); out["ticket"] == "" {
		t.Errorf("%v", out)
	}
}

func TestAppMedia(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	f, _ := m.CreateFormFile("media", "a.jpg")
	_, _ = f.Write([]byte("a picture of a lift"))
	_ = m.Close()
	upload := func(path string) map[string]any {
		res, err := http.Post(r.url+path, m.FormDataContentType(), bytes.NewReader(form.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		out := map[string]any{}
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	out := upload(api + "/media/upload?type=image&access_token=" + r.token())
	if code(out) != 0 {
		t.Fatalf("%v", out)
	}
	if c := code(r.app("/message/send", map[string]any{"touser": "li", "agentid": 1000002, "msgtype": "image", "image": map[string]any{"media_id": out["media_id"]}})); c != 0 {
		t.Errorf("send: %d", c)
	}
	out = upload(api + "/webhook/upload_media?key=hook1&type=file")
	if c := r.hook(map[string]any{"msgtype": "file", "file": map[string]any{"media_id": out["media_id"]}}); c != 0 {
		t.Errorf("webhook file: %d", c)
	}
	if out = upload(api + "/webhook/upload_media?key=nope&type=file"); code(out) != 93000 {
		t.Errorf("%v", out)
	}
}
