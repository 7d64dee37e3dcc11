package simwecom_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"guanjia/internal/sandbox/simcore"
)

func TestSubscribe(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.dial()
	if got := code(b.send("aibot_send_msg", push("wrEngine", 2, "markdown", markdown("x")))); got != 846609 {
		t.Errorf("before subscribing: %d, want 846609", got)
	}
	for _, secret := range []string{"", "wrong"} {
		if got := code(b.send("aibot_subscribe", map[string]any{"bot_id": "bot1", "secret": secret})); got != 853000 {
			t.Errorf("secret %q: %d, want 853000", secret, got)
		}
	}
	if got := code(b.send("aibot_subscribe", map[string]any{"bot_id": "bot1", "secret": "botsecret"})); got != 0 {
		t.Errorf("subscribe: %d", got)
	}
	a := b.send("ping", nil)
	if code(a) != 0 {
		t.Errorf("ping: %v", a)
	}
	if _, has := a["cmd"]; has {
		t.Error("an acknowledgement carries a cmd")
	}
	if got := code(b.send("aibot_dance", map[string]any{})); got != 40058 {
		t.Errorf("unknown cmd: %d", got)
	}
}

func TestOneSocketABot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	old := r.connect()
	fresh := r.connect()
	f := old.next()
	if e := body(f)["event"].(map[string]any)["eventtype"]; f["cmd"] != "aibot_event_callback" || e != "disconnected_event" {
		t.Errorf("the older socket was told %v", f)
	}
	old.closed()
	if out := r.say(engine, "zhang", "@管家 帮助"); out["heard"] != true {
		t.Error("the newer socket does not hear")
	}
	fresh.next()
}

func TestSubscriptionFrequency(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.dial()
	limited := false
	for range 60 {
		if c := code(b.send("aibot_subscribe", map[string]any{"bot_id": "bot1", "secret": "botsecret"})); c == 45009 {
			limited = true
			break
		}
	}
	if !limited {
		t.Error("a loop of subscriptions was never refused")
	}
}

func TestHearsOnlyItsName(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	for _, c := range []struct {
		text  string
		heard bool
	}{
		{"谁去看看电梯", false},
		{"管家 你好", false},
		{"@李四 你去", false},
		{"@管家婆 你好", false}, // the longer name is another bot, which isn't connected
		{"@管家 接单 #100231", true},
		{"大家看 @管家 帮助", true},
	} {
		t.Run(c.text, func(t *testing.T) {
			if strings.Contains(c.text, "管家婆") {
				// Waiting for a bot that isn't there takes five seconds of the machine.
				r.faults(simcore.Fault{Target: "wecom.callback", Kind: simcore.FaultDrop})
				defer r.faults()
				done := make(chan map[string]any, 1)
				go func() { done <- r.say(engine, "zhang", c.text) }()
				b.nothing()
				if out := <-done; out["heard"] != false {
					t.Errorf("heard: %v", out)
				}
				return
			}
			out := r.say(engine, "zhang", c.text)
			if out["heard"] != c.heard {
				t.Fatalf("heard = %v, want %v", out["heard"], c.heard)
			}
			if !c.heard {
				b.nothing()
				return
			}
			m := body(b.next())
			if m["chatid"] != "wrEngine" || m["chattype"] != "group" || m["msgtype"] != "text" || m["aibotid"] != "bot1" {
				t.Errorf("callback: %v", m)
			}
			if got := m["text"].(map[string]any)["content"]; got != c.text {
				t.Errorf("content %q, want the literal words", got)
			}
			if m["from"].(map[string]any)["userid"] != "zhang" || m["msgid"] == "" {
				t.Errorf("sender or msgid: %v", m)
			}
			if _, has := m["response_url"]; has {
				t.Error("response_url belongs to the URL mode")
			}
		})
	}
}

func TestSingleChatHearsAll(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	r.say("/sim/staff/zhang", "", "我的")
	m := body(b.next())
	if m["chattype"] != "single" || m["chatid"] != nil {
		t.Errorf("a 1:1 message carries %v", m)
	}
	if got := code(b.send("aibot_send_msg", push("zhang", 1, "markdown", markdown("在")))); got != 0 {
		t.Errorf("push after he spoke: %d", got)
	}
	items, _ := r.chat("/sim/staff/zhang", 0)
	if len(items) != 2 {
		t.Fatalf("chat: %v", items)
	}
}

func TestQuoteCarriesContentOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	b.send("aibot_send_msg", push("wrEngine", 2, "markdown", markdown("#100231 回复住户")))
	b.send("aibot_send_msg", push("wrEngine", 2, "template_card", card("t1")))
	quoted := func(seq int) map[string]any {
		_, out := r.call("POST", engine+"/messages", map[string]any{"from": "zhang", "text": "@管家 好的", "quote_seq": seq})
		if out["heard"] != true {
			t.Fatalf("%v", out)
		}
		q, _ := body(b.next())["quote"].(map[string]any)
		return q
	}
	q := quoted(1)
	if q["msgtype"] != "text" || q["text"].(map[string]any)["content"] != "#100231 回复住户" || len(q) != 2 {
		t.Errorf("quote of a markdown: %v", q)
	}
	if q := quoted(2); q != nil {
		t.Errorf("a quoted card gives %v", q)
	}
	r.call("PUT", "/sim/wecom", map[string]any{"quote_cards": true})
	if q := quoted(2); q == nil {
		t.Error("the switch for quoted cards does nothing")
	}
	if status, _ := r.call("POST", engine+"/messages", map[string]any{"from": "zhang", "text": "@管家 x", "quote_seq": 999}); status != http.StatusBadRequest {
		t.Errorf("quoting nothing: %d", status)
	}
}

func TestWhereABotMayPush(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	for name, c := range map[string]struct {
		msg  map[string]any
		want int
	}{
		"spoken group":        {push("wrEngine", 2, "markdown", markdown("好")), 0},
		"type guessed":        {push("wrEngine", 0, "markdown", markdown("好")), 0},
		"nobody spoke":        {push("wrQuiet", 2, "markdown", markdown("好")), 93001},
		"lower case":          {push("wrengine", 2, "markdown", markdown("好")), 93006},
		"unknown":             {push("wrNowhere", 2, "markdown", markdown("好")), 93006},
		"no chatid":           {push("", 2, "markdown", markdown("好")), 40058},
		"group as single":     {push("wrEngine", 1, "markdown", markdown("好")), 93006},
		"not in the group":    {push("wrOther", 2, "markdown", markdown("好")), 93008},
		"single never opened": {push("zhang", 1, "markdown", markdown("好")), 93001},
		"single opened":       {push("li", 1, "markdown", markdown("好")), 0},
		"bad chat_type":       {push("wrEngine", 7, "markdown", markdown("好")), 40058},
		"text":                {push("wrEngine", 2, "text", markdown("好")), 40008},
		"markdown_v2":         {push("wrEngine", 2, "markdown_v2", markdown("好")), 40008},
		"stream":              {push("wrEngine", 2, "stream", map[string]any{"id": "1"}), 40008},
		"no msgtype":          {map[string]any{"chatid": "wrEngine", "chat_type": 2}, 40008},
		"empty":               {push("wrEngine", 2, "markdown", markdown("")), 40058},
		"20480 bytes":         {push("wrEngine", 2, "markdown", markdown(strings.Repeat("x", 20480))), 0},
		"20481 bytes":         {push("wrEngine", 2, "markdown", markdown(strings.Repeat("x", 20481))), 40058},
		"wrong type of field": {map[string]any{"chatid": 5, "msgtype": "markdown"}, 40058},
		"unknown media":       {push("wrEngine", 2, "image", map[string]any{"media_id": "nope"}), 40007},
	} {
		if got := code(b.send("aibot_send_msg", c.msg)); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if out := r.say(quiet, "zhang", "@管家 绑定 客服"); out["heard"] != true {
		t.Fatal("not heard")
	}
	if got := code(b.send("aibot_send_msg", push("wrQuiet", 2, "markdown", markdown("好")))); got != 0 {
		t.Errorf("after somebody spoke: %d", got)
	}
}

func TestQuotaOfAConversation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	send := func() int { return code(b.send("aibot_send_msg", push("wrEngine", 2, "markdown", markdown("好")))) }
	r.say(engine, "zhang", "@管家 帮助")
	id := reqID(b.next())
	if c := code(b.as(id, "aibot_respond_msg", map[string]any{"msgtype": "markdown", "markdown": markdown("答")})); c != 0 {
		t.Fatalf("respond: %d", c)
	}
	for i := range 29 {
		if c := send(); c != 0 {
			t.Fatalf("message %d: %d", i+2, c)
		}
	}
	if c := send(); c != 45009 {
		t.Errorf("message 31 of a minute: %d, want 45009", c)
	}
	if c := code(b.as(id, "aibot_respond_msg", map[string]any{"msgtype": "markdown", "markdown": markdown("答")})); c != 45009 {
		t.Errorf("an answer beyond the quota: %d, replies and pushes count together", c)
	}
	if c := code(b.send("aibot_send_msg", push("li", 1, "markdown", markdown("好")))); c != 0 {
		t.Errorf("another conversation: %d", c)
	}
	r.clock.Advance(61 * time.Second)
	if c := send(); c != 0 {
		t.Errorf("a minute later: %d", c)
	}
	// 1,000 an hour: 31 are used.
	for sent := 31; sent < 1000; {
		for range 30 {
			if sent == 1000 {
				break
			}
			if c := send(); c == 45009 {
				break
			}
			sent++
		}
		r.clock.Advance(61 * time.Second)
	}
	if c := send(); c != 45009 {
		t.Errorf("message 1001 of an hour: %d, want 45009", c)
	}
	r.clock.Advance(time.Hour)
	if c := send(); c != 0 {
		t.Errorf("an hour later: %d", c)
	}
}

func TestRespondWindow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	r.say(engine, "zhang", "@管家 帮助")
	id := reqID(b.next())
	answer := map[string]any{"msgtype": "markdown", "markdown": markdown("好")}
	if c := code(b.send("aibot_respond_msg", answer)); c != 846605 {
		t.Errorf("made-up req_id: %d, want 846605", c)
	}
	if c := code(b.as(id, "aibot_respond_msg", map[string]any{"msgtype": "text", "text": markdown("好")})); c != 40008 {
		t.Errorf("text: %d, want 40008", c)
	}
	r.clock.Advance(23*time.Hour + 59*time.Minute)
	if c := code(b.as(id, "aibot_respond_msg", answer)); c != 0 {
		t.Errorf("within 24 hours: %d", c)
	}
	r.clock.Advance(2 * time.Minute)
	if c := code(b.as(id, "aibot_respond_msg", answer)); c != 846605 {
		t.Errorf("after 24 hours: %d, want 846605", c)
	}
}

func TestRespondOutlivesAReconnect(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	r.say(engine, "zhang", "@管家 帮助")
	id := reqID(b.next())
	_ = b.ws.CloseNow()
	b.closed()
	again := r.connect()
	if c := code(again.as(id, "aibot_respond_msg", map[string]any{"msgtype": "markdown", "markdown": markdown("好")})); c != 0 {
		t.Errorf("answer over the new line: %d", c)
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	r.say(engine, "zhang", "@管家 帮助")
	id := reqID(b.next())
	stream := func(text string, finish bool) int {
		return code(b.as(id, "aibot_respond_msg", map[string]any{"msgtype": "stream", "stream": map[string]any{"id": "s1", "content": text, "finish": finish}}))
	}
	stream("一", false)
	_, last := r.chat(engine, 0)
	if c := stream("一二", false); c != 0 {
		t.Fatalf("second frame: %d", c)
	}
	items, _ := r.chat(engine, last)
	if len(items) != 1 || items[0]["text"] != "一二" || items[0]["rev"].(float64) != 2 {
		t.Errorf("a frame replaces the text in place: %v", items)
	}
	if c := stream("一二三", true); c != 0 {
		t.Errorf("finish: %d", c)
	}
	if c := stream("more", false); c != 846608 {
		t.Errorf("after finish: %d, want 846608", c)
	}
	r.say(engine, "zhang", "@管家 帮助")
	id = reqID(b.next())
	r.clock.Advance(6*time.Minute + time.Second)
	if c := stream("late", true); c != 846608 {
		t.Errorf("after six minutes: %d, want 846608", c)
	}
}

func TestWelcome(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	if _, out := r.call("POST", "/sim/staff/zhang/enter", nil); out["told"] != true {
		t.Fatalf("%v", out)
	}
	f := b.next()
	if body(f)["event"].(map[string]any)["eventtype"] != "enter_chat" {
		t.Fatalf("%v", f)
	}
	hello := map[string]any{"msgtype": "text", "text": markdown("你好")}
	if c := code(b.as(reqID(f), "aibot_respond_msg", map[string]any{"msgtype": "markdown", "markdown": markdown("x")})); c != 846605 {
		t.Errorf("respond_msg to an event: %d, want 846605", c)
	}
	if c := code(b.as(reqID(f), "aibot_respond_welcome_msg", hello)); c != 0 {
		t.Errorf("welcome: %d", c)
	}
	if c := code(b.as(reqID(f), "aibot_respond_welcome_msg", hello)); c != 846605 {
		t.Errorf("welcome twice: %d", c)
	}
	if _, out := r.call("POST", "/sim/staff/zhang/enter", nil); out["told"] != false {
		t.Error("enter_chat came twice on one day")
	}
	r.clock.Advance(24 * time.Hour)
	r.call("POST", "/sim/staff/zhang/enter", nil)
	f = b.next()
	r.clock.Advance(6 * time.Second)
	if c := code(b.as(reqID(f), "aibot_respond_welcome_msg", hello)); c != 846605 {
		t.Errorf("welcome after 5 s: %d, want 846605", c)
	}
}

func TestPictureReachesTheBotSealed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	picture := []byte("\x89PNG\r\n\x1a\nnot really a picture")
	_, out := r.call("POST", engine+"/messages", map[string]any{"from": "zhang", "text": "@管家 #100231 修好了", "image": base64.StdEncoding.EncodeToString(picture)})
	if out["heard"] != true {
		t.Fatalf("%v", out)
	}
	m := body(b.next())
	if m["msgtype"] != "mixed" || m["text"] != nil {
		t.Fatalf("text and picture: %v", m)
	}
	items := m["mixed"].(map[string]any)["msg_item"].([]any)
	img := items[1].(map[string]any)["image"].(map[string]any)
	res, err := http.Get(img["url"].(string))
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := io.ReadAll(res.Body)
	res.Body.Close()
	key, err := base64.StdEncoding.DecodeString(img["aeskey"].(string))
	if err != nil || len(key) != 32 {
		t.Fatalf("aeskey: %v", err)
	}
	block, _ := aes.NewCipher(key)
	cipher.NewCBCDecrypter(block, key[:16]).CryptBlocks(sealed, sealed)
	if n := int(sealed[len(sealed)-1]); string(sealed[:len(sealed)-n]) != string(picture) {
		t.Error("the picture does not open with its key")
	}
	// A picture alone cannot mention, so the group's bot hears nothing.
	_, out = r.call("POST", engine+"/messages", map[string]any{"from": "zhang", "image": base64.StdEncoding.EncodeToString(picture)})
	if out["heard"] != false {
		t.Error("a bare picture was heard in a group")
	}
	r.clock.Advance(6 * time.Minute)
	res, err = http.Get(img["url"].(string))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("the link after five minutes: %d", res.StatusCode)
	}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	for name, base := range map[string]int{"counted from 0": 0, "counted from 1": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			b := r.connect()
			data := []byte(strings.Repeat("照片", 1000))
			sum := md5.Sum(data)
			a := b.send("aibot_upload_media_init", map[string]any{"type": "image", "filename": "a.jpg", "total_size": len(data), "total_chunks": 2, "md5": hex.EncodeToString(sum[:])})
			up := body(a)["upload_id"]
			half := len(data) / 2
			for i, part := range [][]byte{data[:half], data[half:]} {
				if i == 1 {
					if c := code(b.send("aibot_upload_media_finish", map[string]any{"upload_id": up})); c != 40058 {
						t.Errorf("finish with a piece missing: %d", c)
					}
				}
				if c := code(b.send("aibot_upload_media_chunk", map[string]any{"upload_id": up, "chunk_index": i + base, "base64_data": base64.StdEncoding.EncodeToString(part)})); c != 0 {
					t.Fatalf("chunk: %d", c)
				}
			}
			a = b.send("aibot_upload_media_finish", map[string]any{"upload_id": up})
			if code(a) != 0 {
				t.Fatalf("finish: %v", a)
			}
			id := body(a)["media_id"]
			if c := code(b.send("aibot_send_msg", push("wrEngine", 2, "file", map[string]any{"media_id": id}))); c != 40007 {
				t.Errorf("an image sent as file: %d", c)
			}
			if c := code(b.send("aibot_send_msg", push("wrEngine", 2, "image", map[string]any{"media_id": id}))); c != 0 {
				t.Errorf("send: %d", c)
			}
			r.clock.Advance(73 * time.Hour)
			if c := code(b.send("aibot_send_msg", push("wrEngine", 2, "image", map[string]any{"media_id": id}))); c != 40007 {
				t.Errorf("after three days: %d", c)
			}
		})
	}
}

func TestOddFrames(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	ctx := context.Background()
	for _, odd := range []string{`not json`, `[]`, `{"cmd":5}`, `{"headers":null}`, `{"cmd":"aibot_send_msg"}`, `{"cmd":"aibot_send_msg","headers":{"req_id":"x"},"body":"a"}`} {
		if err := b.ws.Write(ctx, websocket.MessageText, []byte(odd)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.ws.Write(ctx, websocket.MessageBinary, []byte{1, 2}); err != nil {
		t.Fatal(err)
	}
	if c := code(b.send("ping", nil)); c != 0 {
		t.Errorf("the line does not survive odd frames: %d", c)
	}
}

func TestCipherUserIDs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	r.call("PUT", "/sim/wecom", map[string]any{"cipher_userids": true})
	r.say("/sim/staff/zhang", "", "我的")
	id := body(b.next())["from"].(map[string]any)["userid"].(string)
	if !strings.HasPrefix(id, "wo") || strings.Contains(id, "zhang") {
		t.Fatalf("userid %q", id)
	}
	if c := code(b.send("aibot_send_msg", push(id, 1, "markdown", markdown("在")))); c != 0 {
		t.Errorf("push to the ciphertext: %d", c)
	}
	_, tok := r.call("GET", "/qyapi.weixin.qq.com/cgi-bin/gettoken?corpid=ww1&corpsecret=corpsecret", nil)
	_, out := r.call("POST", "/qyapi.weixin.qq.com/cgi-bin/batch/openuserid_to_userid?access_token="+tok["access_token"].(string),
		map[string]any{"open_userid_list": []string{id, "zhang"}})
	list := out["userid_list"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["userid"] != "zhang" || len(out["invalid_open_userid_list"].([]any)) != 1 {
		t.Errorf("turned back: %v", out)
	}
}
