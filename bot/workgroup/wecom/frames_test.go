package wecom

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"guanjia/bot/workgroup"
)

func TestCutBytes(t *testing.T) {
	t.Parallel()
	for n := 3; n < 12; n++ {
		got := cutBytes("长长长长", n)
		if len(got) > n || !utf8.ValidString(got) {
			t.Errorf("%d: %q", n, got)
		}
	}
	if got := cutBytes("长", 3); got != "长" {
		t.Errorf("%q", got)
	}
}

func TestMarkdownIsCutToTheVendorsLimit(t *testing.T) {
	t.Parallel()
	body := markdownBody(strings.Repeat("长", 10_000))
	if n := len(body["markdown"].(map[string]any)["content"].(string)); n > maxMarkdown || n < maxMarkdown-3 {
		t.Errorf("%d bytes", n)
	}
}

func TestFramesShowSignsAsTheyAre(t *testing.T) {
	t.Parallel()
	raw, err := encodeFrame(cmdSend, "r", markdownBody("a<b>&c"))
	if err != nil || !strings.Contains(string(raw), "a<b>&c") {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestChatTypeIsAlwaysNamed(t *testing.T) {
	t.Parallel()
	for single, want := range map[bool]int{true: 1, false: 2} {
		if got := addressed(map[string]any{}, workgroup.Chat{ID: "x", Single: single})["chat_type"]; got != want {
			t.Errorf("single %v: %v", single, got)
		}
	}
}

// FuzzFrame: whatever the socket delivers is decoded or refused without a
// panic, and what is decoded can be stored.
func FuzzFrame(f *testing.F) {
	for _, v := range []any{
		message("m1", "@管家 #100016 好的"), press("k1", "claim.100016.1"), event("r", "e", map[string]any{"eventtype": eventDisconnected}),
		map[string]any{"headers": map[string]any{"req_id": "r"}, "errcode": 846609},
	} {
		raw, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"cmd":"aibot_msg_callback","headers":{"req_id":"r"},"body":{"msgid":"1","from":{"userid":"z"},"msgtype":"mixed","mixed":{"msg_item":[{"msgtype":"mixed","mixed":{"msg_item":[]}}]},"quote":{}}}`))
	f.Add([]byte("{\"cmd\":\"aibot_msg_callback\",\"body\":{\"msgtype\":\"text\",\"text\":{\"content\":\"\\u0000\\ud800\"}}}"))
	b := &inbox{}
	k := &keeper{bot: testBot}
	f.Fuzz(func(t *testing.T, raw []byte) {
		fr, err := decodeFrame(raw)
		if err != nil {
			if len(raw) > 20 && strings.Contains(err.Error(), string(raw)) {
				t.Fatal("the error repeats the frame")
			}
			return
		}
		cb, err := decodeCallback(fr.Body)
		if err != nil {
			return
		}
		for _, in := range []input{first(b.message(k, fr, cb)), first(b.click(k, fr, cb))} {
			for _, s := range []string{in.Text, in.Quote, in.From, in.MsgID, in.ReqID, in.Chat.ID, in.TaskID, in.Button} {
				if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
					t.Fatalf("%q cannot be stored", s)
				}
			}
		}
	})
}

func first(in input, _ bool) input { return in }
