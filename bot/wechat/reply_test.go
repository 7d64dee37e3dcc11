package wechat

import (
	"encoding/xml"
	"strings"
	"testing"
	"unicode/utf8"

	"guanjia/internal/conversation"
)

func TestContent(t *testing.T) {
	t.Parallel()
	option := func(s string) conversation.Option { return conversation.Option{ID: "1", Text: s} }
	tests := []struct {
		name string
		a    conversation.Answer
		want string
	}{
		{"nothing", conversation.Answer{}, ""},
		{"blanks are nothing", conversation.Answer{Kind: "text", Text: " \n"}, ""},
		{"words", conversation.Answer{Kind: "text", Text: "您好\n请讲"}, "您好\n请讲"},
		{"choices become lines", conversation.Answer{Kind: "text", Text: "问题解决了吗?", Options: []conversation.Option{option("已解决"), option("未解决")}}, "问题解决了吗?\n· 已解决\n· 未解决"},
		{"control characters", conversation.Answer{Kind: "text", Text: "a\x02b"}, "ab"},
	}
	for _, tt := range tests {
		if got := content(tt.a); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	long := content(conversation.Answer{Kind: "text", Text: strings.Repeat("管", 1000)})
	if len(long) > maxContent || !utf8.ValidString(long) || !strings.HasSuffix(long, "…") {
		t.Errorf("%d bytes", len(long))
	}
}

type replyXML struct {
	ToUserName, FromUserName, MsgType, Content string
	CreateTime                                 int64
}

func TestPassiveText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"您好", "a ]]> b", "]]>", "<xml>&amp;", "两行\n文字"} {
		var got replyXML
		if err := xml.Unmarshal([]byte(passiveText("oUser", "gh_1", 1348831860, text)), &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if want := (replyXML{"oUser", "gh_1", "text", text, 1348831860}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestSealedReply(t *testing.T) {
	t.Parallel()
	const appID = "wx2c2769f8efd9abc2"
	doc, err := sealedReply(mustKey(t, commonKey), appID, "token", "1411525903", "461056294", "<xml>reply</xml>")
	if err != nil {
		t.Fatal(err)
	}
	var env struct{ Encrypt, MsgSignature, TimeStamp, Nonce string }
	if err := xml.Unmarshal([]byte(doc), &env); err != nil {
		t.Fatal(err)
	}
	if !SignatureOK(env.MsgSignature, "token", env.TimeStamp, env.Nonce, env.Encrypt) || env.TimeStamp != "1411525903" || env.Nonce != "461056294" {
		t.Errorf("envelope %+v", env)
	}
	ring, err := NewKeyring(appID, commonKey, "")
	if err != nil {
		t.Fatal(err)
	}
	if message, _, err := ring.Open(env.Encrypt); err != nil || string(message) != "<xml>reply</xml>" {
		t.Errorf("opened to %q, %v", message, err)
	}
}
