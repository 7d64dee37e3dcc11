package wechat

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"guanjia/internal/conversation"
)

const head = `<ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[oUser]]></FromUserName><CreateTime>1348831860</CreateTime>`

func message(kind, body string) string {
	return `<xml>` + head + `<MsgType><![CDATA[` + kind + `]]></MsgType>` + body + `</xml>`
}

func event(name, body string) string {
	return message("event", `<Event><![CDATA[`+name+`]]></Event>`+body)
}

var newlines = regexp.MustCompile(`</\w+>`)

func TestDecode(t *testing.T) {
	t.Parallel()
	base := func(kind string, change func(*conversation.Inbound)) conversation.Inbound {
		in := conversation.Inbound{
			Kind: conversation.KindMessage, Type: kind, OpenID: "oUser", MsgID: "1234567890123456",
			DedupeKey: "wxapp|msg|1234567890123456", SentAt: time.Unix(1348831860, 0).UTC(),
			Detail: conversation.Detail{ToUserName: "gh_1"},
		}
		change(&in)
		return in
	}
	anEvent := func(name, key string, change func(*conversation.Inbound)) conversation.Inbound {
		in := conversation.Inbound{
			Kind: conversation.KindEvent, Type: "event", Event: name, OpenID: "oUser",
			DedupeKey: "wxapp|evt|oUser|1348831860|" + key, SentAt: time.Unix(1348831860, 0).UTC(),
			Detail: conversation.Detail{ToUserName: "gh_1"},
		}
		if change != nil {
			change(&in)
		}
		return in
	}
	const msgID = `<MsgId>1234567890123456</MsgId>`
	tests := []struct {
		name, xml string
		want      conversation.Inbound
	}{
		{
			"text", message("text", `<Content><![CDATA[this is a test]]></Content>`+msgID),
			base("text", func(in *conversation.Inbound) { in.Text = "this is a test" }),
		},
		{
			"text from inside an article", message("text", `<Content><![CDATA[x]]></Content>`+msgID+`<MsgDataId>data</MsgDataId><Idx>2</Idx>`),
			base("text", func(in *conversation.Inbound) { in.Text, in.Detail.MsgDataID, in.Detail.Idx = "x", "data", 2 }),
		},
		{
			"click on an option", message("text", `<Content><![CDATA[满意]]></Content>`+msgID+`<bizmsgmenuid>101</bizmsgmenuid>`),
			base("text", func(in *conversation.Inbound) { in.Text, in.MenuID, in.Clicked = "满意", "101", true }),
		},
		{
			"click whose id was mangled", message("text", `<Content><![CDATA[满意]]></Content>`+msgID+`<bizmsgmenuid>0</bizmsgmenuid>`),
			base("text", func(in *conversation.Inbound) { in.Text, in.Clicked = "满意", true }),
		},
		{
			"image", message("image", `<PicUrl><![CDATA[this is a url]]></PicUrl><MediaId><![CDATA[media_id]]></MediaId>`+msgID),
			base("image", func(in *conversation.Inbound) { in.MediaID, in.Detail.PicURL = "media_id", "this is a url" }),
		},
		{
			"voice", message("voice", `<MediaId><![CDATA[m]]></MediaId><Format><![CDATA[amr]]></Format>`+msgID+`<Recognition><![CDATA[]]></Recognition><MediaId16K><![CDATA[m16]]></MediaId16K>`),
			base("voice", func(in *conversation.Inbound) {
				in.MediaID, in.Detail.Format, in.Detail.MediaID16K = "m", "amr", "m16"
			}),
		},
		{
			"video", message("video", `<MediaId><![CDATA[m]]></MediaId><ThumbMediaId><![CDATA[t]]></ThumbMediaId>`+msgID),
			base("video", func(in *conversation.Inbound) { in.MediaID, in.Detail.ThumbMediaID = "m", "t" }),
		},
		{
			"shortvideo", message("shortvideo", `<MediaId><![CDATA[m]]></MediaId><ThumbMediaId><![CDATA[t]]></ThumbMediaId>`+msgID),
			base("shortvideo", func(in *conversation.Inbound) { in.MediaID, in.Detail.ThumbMediaID = "m", "t" }),
		},
		{
			"location", message("location", `<Location_X>23.134521</Location_X><Location_Y>113.358803</Location_Y><Scale>20</Scale><Label><![CDATA[位置信息]]></Label>`+msgID),
			base("location", func(in *conversation.Inbound) {
				in.Detail.Place = &conversation.Place{Latitude: "23.134521", Longitude: "113.358803", Scale: "20", Label: "位置信息"}
			}),
		},
		{
			"link", message("link", `<Title><![CDATA[公众平台官网链接]]></Title><Description><![CDATA[d]]></Description><Url><![CDATA[url]]></Url>`+msgID),
			base("link", func(in *conversation.Inbound) {
				in.Detail.Title, in.Detail.Description, in.Detail.URL = "公众平台官网链接", "d", "url"
			}),
		},
		{
			"file", message("file", `<Title>a.pdf</Title><Description></Description><FileKey>k</FileKey><FileMd5>m</FileMd5><FileTotalLen>12</FileTotalLen>`+msgID),
			base("file", func(in *conversation.Inbound) {
				in.Detail.Title, in.Detail.FileKey, in.Detail.FileMD5, in.Detail.FileSize = "a.pdf", "k", "m", 12
			}),
		},
		{
			"unknown kind", message("hologram", msgID),
			base("hologram", func(in *conversation.Inbound) { in.Quiet = true }),
		},
		{"subscribe", event("subscribe", ""), anEvent("subscribe", "subscribe|||", nil)},
		{
			"subscribe by QR code", event("subscribe", `<EventKey><![CDATA[qrscene_123123]]></EventKey><Ticket><![CDATA[TICKET]]></Ticket>`),
			anEvent("subscribe", "subscribe|qrscene_123123||TICKET", func(in *conversation.Inbound) {
				in.EventKey, in.Detail.Ticket = "123123", "TICKET"
			}),
		},
		{"unsubscribe", event("unsubscribe", ""), anEvent("unsubscribe", "unsubscribe|||", nil)},
		{
			"SCAN", event("SCAN", `<EventKey><![CDATA[SCENE_VALUE]]></EventKey><Ticket><![CDATA[TICKET]]></Ticket>`),
			anEvent("SCAN", "SCAN|SCENE_VALUE||TICKET", func(in *conversation.Inbound) {
				in.EventKey, in.Detail.Ticket = "SCENE_VALUE", "TICKET"
			}),
		},
		{
			"LOCATION", event("LOCATION", `<Latitude>23.1</Latitude><Longitude>113.3</Longitude><Precision>119.3</Precision>`),
			anEvent("LOCATION", "LOCATION|||", func(in *conversation.Inbound) {
				in.Quiet = true
				in.Detail.Place = &conversation.Place{Latitude: "23.1", Longitude: "113.3", Precision: "119.3"}
			}),
		},
		{
			"CLICK", event("CLICK", `<EventKey><![CDATA[repair]]></EventKey>`),
			anEvent("CLICK", "CLICK|repair||", func(in *conversation.Inbound) { in.EventKey = "repair" }),
		},
		{
			"VIEW", event("VIEW", `<EventKey><![CDATA[https://example.com/?a=1&b=2]]></EventKey><MenuId>5</MenuId>`),
			anEvent("VIEW", "VIEW|https://example.com/?a=1&b=2||", func(in *conversation.Inbound) {
				in.EventKey, in.Quiet, in.Detail.MenuID = "https://example.com/?a=1&b=2", true, "5"
			}),
		},
		{
			"view_miniprogram", event("view_miniprogram", `<EventKey><![CDATA[pages/index]]></EventKey><MenuId>6</MenuId>`),
			anEvent("view_miniprogram", "view_miniprogram|pages/index||", func(in *conversation.Inbound) {
				in.EventKey, in.Quiet, in.Detail.MenuID = "pages/index", true, "6"
			}),
		},
		{
			"scancode_waitmsg", event("scancode_waitmsg", `<EventKey>k</EventKey><ScanCodeInfo><ScanType><![CDATA[qrcode]]></ScanType><ScanResult><![CDATA[2]]></ScanResult></ScanCodeInfo>`),
			anEvent("scancode_waitmsg", "scancode_waitmsg|k||", func(in *conversation.Inbound) {
				in.EventKey, in.Detail.ScanType, in.Detail.ScanResult = "k", "qrcode", "2"
			}),
		},
		{
			"scancode_push", event("scancode_push", `<EventKey>k</EventKey><ScanCodeInfo><ScanType>qrcode</ScanType><ScanResult>1</ScanResult></ScanCodeInfo>`),
			anEvent("scancode_push", "scancode_push|k||", func(in *conversation.Inbound) {
				in.EventKey, in.Detail.ScanType, in.Detail.ScanResult = "k", "qrcode", "1"
			}),
		},
		{
			"pic_weixin", event("pic_weixin", `<EventKey>k</EventKey><SendPicsInfo><Count>2</Count><PicList><item><PicMd5Sum><![CDATA[a]]></PicMd5Sum></item><item><PicMd5Sum>b</PicMd5Sum></item></PicList></SendPicsInfo>`),
			anEvent("pic_weixin", "pic_weixin|k||", func(in *conversation.Inbound) {
				in.EventKey, in.Quiet, in.Detail.PicMD5 = "k", true, []string{"a", "b"}
			}),
		},
		{
			"pic_sysphoto without pictures", event("pic_sysphoto", `<EventKey>k</EventKey>`),
			anEvent("pic_sysphoto", "pic_sysphoto|k||", func(in *conversation.Inbound) { in.EventKey, in.Quiet = "k", true }),
		},
		{
			"location_select", event("location_select", `<EventKey>k</EventKey><SendLocationInfo><Location_X>1</Location_X><Location_Y>2</Location_Y><Scale>15</Scale><Label>路</Label><Poiname>楼</Poiname></SendLocationInfo>`),
			anEvent("location_select", "location_select|k||", func(in *conversation.Inbound) {
				in.EventKey, in.Quiet = "k", true
				in.Detail.Place = &conversation.Place{Latitude: "1", Longitude: "2", Scale: "15", Label: "路", Name: "楼"}
			}),
		},
		{
			"TEMPLATESENDJOBFINISH", event("TEMPLATESENDJOBFINISH", `<MsgID>200163840</MsgID><Status><![CDATA[failed:user block]]></Status>`),
			anEvent("TEMPLATESENDJOBFINISH", "TEMPLATESENDJOBFINISH||200163840|", func(in *conversation.Inbound) {
				in.MsgID, in.Detail.Status = "200163840", "failed:user block"
			}),
		},
		{
			"MASSSENDJOBFINISH", event("MASSSENDJOBFINISH", `<MsgID>1</MsgID><Status>send success</Status><TotalCount>100</TotalCount><FilterCount>80</FilterCount><SentCount>75</SentCount><ErrorCount>5</ErrorCount><CopyrightCheckResult><Count>0</Count></CopyrightCheckResult>`),
			anEvent("MASSSENDJOBFINISH", "MASSSENDJOBFINISH||1|", func(in *conversation.Inbound) {
				in.MsgID, in.Detail.Status = "1", "send success"
				in.Detail.Counts = &conversation.Counts{Total: 100, Filter: 80, Sent: 75, Error: 5}
			}),
		},
		{
			"subscribe_msg_popup_event", event("subscribe_msg_popup_event", `<SubscribeMsgPopupEvent><List><TemplateId><![CDATA[T1]]></TemplateId><SubscribeStatusString>accept</SubscribeStatusString><PopupScene>2</PopupScene></List><List><TemplateId>T2</TemplateId><SubscribeStatusString>reject</SubscribeStatusString><PopupScene>2</PopupScene></List></SubscribeMsgPopupEvent>`),
			anEvent("subscribe_msg_popup_event", "subscribe_msg_popup_event|||", func(in *conversation.Inbound) {
				in.Detail.Consent = []conversation.Subscription{
					{TemplateID: "T1", Status: "accept", PopupScene: "2"}, {TemplateID: "T2", Status: "reject", PopupScene: "2"},
				}
			}),
		},
		{
			"subscribe_msg_change_event", event("subscribe_msg_change_event", `<SubscribeMsgChangeEvent><List><TemplateId>T1</TemplateId><SubscribeStatusString>reject</SubscribeStatusString></List></SubscribeMsgChangeEvent>`),
			anEvent("subscribe_msg_change_event", "subscribe_msg_change_event|||", func(in *conversation.Inbound) {
				in.Detail.Consent = []conversation.Subscription{{TemplateID: "T1", Status: "reject"}}
			}),
		},
		{
			"subscribe_msg_sent_event", event("subscribe_msg_sent_event", `<SubscribeMsgSentEvent><List><TemplateId>T1</TemplateId><MsgID>1700827132819554304</MsgID><ErrorCode>0</ErrorCode><ErrorStatus>success</ErrorStatus></List></SubscribeMsgSentEvent>`),
			anEvent("subscribe_msg_sent_event", "subscribe_msg_sent_event||1700827132819554304|", func(in *conversation.Inbound) {
				in.MsgID = "1700827132819554304"
				in.Detail.Consent = []conversation.Subscription{{TemplateID: "T1", MsgID: "1700827132819554304", ErrorCode: "0", ErrorStatus: "success"}}
			}),
		},
		{
			"user_authorization_revoke", event("user_authorization_revoke", `<OpenID>oResident</OpenID><AppID>wx13</AppID><RevokeInfo>205</RevokeInfo><UnionID>u</UnionID>`),
			anEvent("user_authorization_revoke", "user_authorization_revoke||||oResident|205", func(in *conversation.Inbound) {
				in.OpenID, in.Detail.AppID, in.Detail.RevokeInfo, in.Detail.UnionID = "oResident", "wx13", "205", "u"
			}),
		},
		{
			"kf_create_session", event("kf_create_session", `<KfAccount>a@b</KfAccount>`),
			anEvent("kf_create_session", "kf_create_session|||", func(in *conversation.Inbound) { in.Quiet, in.Detail.KfAccount = true, "a@b" }),
		},
		{
			"kf_switch_session", event("kf_switch_session", `<FromKfAccount>a@b</FromKfAccount><ToKfAccount>c@d</ToKfAccount>`),
			anEvent("kf_switch_session", "kf_switch_session|||", func(in *conversation.Inbound) {
				in.Quiet, in.Detail.KfAccount, in.Detail.KfTo = true, "a@b", "c@d"
			}),
		},
		{
			"unknown event", event("brand_new", `<Nested><Deep>1</Deep></Nested>`),
			anEvent("brand_new", "brand_new|||", func(in *conversation.Inbound) { in.Quiet = true }),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// Real pushes have a newline after each element.
			for _, doc := range []string{tt.xml, newlines.ReplaceAllString(tt.xml, "$0\n")} {
				got, err := decode([]byte(doc), "wxapp")
				if err != nil {
					t.Fatal(err)
				}
				if string(got.Raw) != doc {
					t.Error("the raw body is not what came in")
				}
				got.Raw = nil
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			}
		})
	}
}

func TestDecodeOddTexts(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, content, want string }{
		{"control characters", "<Content><![CDATA[电\x02梯\x14坏了]]></Content>", "电梯坏了"},
		{"control characters without CDATA", "<Content>a\x02b\x14</Content>", "ab"},
		{"NUL and DEL", "<Content><![CDATA[a\x00b\x7f]]></Content>", "ab"},
		{"line breaks and tabs stay", "<Content><![CDATA[a\n\tb]]></Content>", "a\n\tb"},
		{"end of CDATA inside", "<Content><![CDATA[a]]>b</status>]]></Content>", "a]]>b</status>"},
		{"end of CDATA inside and none behind", "<Content><![CDATA[a]]>b</status></Content>", "a]]>b</status>"},
		{"no end tag", "<Content><![CDATA[a]]>b</status>", "a]]>b</status>"},
		{"entities in CDATA are text", "<Content><![CDATA[&lt;b&gt; &amp;]]></Content>", "&lt;b&gt; &amp;"},
		{"the five entities", "<Content>&lt;&gt;&amp;&quot;&apos;</Content>", `<>&"'`},
		{"numbered characters", "<Content>&#26085;&#x672c;</Content>", "日本"},
		{"unknown entities stay", "<Content>&lol9; &nbsp; & &;</Content>", "&lol9; &nbsp; & &;"},
		{"nothing expands twice", "<Content>&amp;lt;</Content>", "&lt;"},
		{"numbers that are no characters", "<Content>&#xD800;&#x110000;&#99999999;</Content>", "&#xD800;&#x110000;&#99999999;"},
		{"a numbered control character", "<Content>a&#2;b</Content>", "ab"},
		{"broken UTF-8", "<Content><![CDATA[a\xff\xfeb]]></Content>", "a\ufffdb"},
		{"emoji", "<Content><![CDATA[好的👌🏼]]></Content>", "好的👌🏼"},
		{"empty", "<Content><![CDATA[]]></Content>", ""},
		{"empty element", "<Content/>", ""},
		{"DOCTYPE as words", "<Content><![CDATA[<!DOCTYPE x [<!ENTITY a \"b\">]>]]></Content>", `<!DOCTYPE x [<!ENTITY a "b">]>`},
		{"comment in front", "<!-- c --><Content><![CDATA[a]]></Content>", "a"},
		{"attribute", "<Content type=\"x\"><![CDATA[a]]></Content>", "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in, err := decode([]byte(message("text", tt.content+"<MsgId>77</MsgId>")), "wxapp")
			if err != nil {
				t.Fatal(err)
			}
			if in.Text != tt.want {
				t.Errorf("got %q, want %q", in.Text, tt.want)
			}
			if in.MsgID != "77" {
				t.Errorf("message id %q: the words swallowed what follows", in.MsgID)
			}
		})
	}
}

// A resident's words must not become the head of the push.
func TestWordsCannotForgeFields(t *testing.T) {
	t.Parallel()
	words := `x]]></Content><MsgId>1</MsgId><FromUserName><![CDATA[oSomebodyElse]]></FromUserName><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[unsubscribe]]></Event><Content><![CDATA[`
	in, err := decode([]byte(message("text", `<Content><![CDATA[`+words+`]]></Content><MsgId>77</MsgId>`)), "wxapp")
	if err != nil {
		t.Fatal(err)
	}
	if in.OpenID != "oUser" || in.Type != "text" || in.MsgID != "77" || in.Text != words {
		t.Errorf("forged: %+v", in)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	bomb := `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>` + message("text", "<Content>&lol2;</Content>")
	tests := []struct {
		name, doc string
		want      error
	}{
		{"empty", "", ErrNotXML},
		{"blanks", " \n ", ErrNotXML},
		{"JSON", `{"a":1}`, ErrNotXML},
		{"XML bomb", bomb, ErrDoctype},
		{"external entity", `<!DOCTYPE x SYSTEM "file:///etc/passwd">` + message("text", ""), ErrDoctype},
		{"DOCTYPE inside", `<xml><!DOCTYPE x>` + head + `</xml>`, ErrDoctype},
		{"entity inside words without CDATA", message("text", `<Content><!ENTITY a "b"></Content>`), ErrDoctype},
		{"too deep", strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100), ErrTooComplex},
		{"too many elements", "<xml>" + strings.Repeat("<a></a>", 2000) + "</xml>", ErrTooComplex},
		{"no end", `<xml>` + head, ErrTruncated},
		{"cut in a tag", `<xml><ToUser`, ErrTruncated},
		{"cut in CDATA", `<xml><ToUserName><![CDATA[gh_`, ErrTruncated},
		{"no sender", `<xml><CreateTime>1</CreateTime><MsgType>text</MsgType></xml>`, ErrIncomplete},
		{"no time", `<xml><FromUserName>o</FromUserName><MsgType>text</MsgType></xml>`, ErrIncomplete},
		{"time that is none", `<xml><FromUserName>o</FromUserName><CreateTime>soon</CreateTime><MsgType>text</MsgType></xml>`, ErrIncomplete},
		{"no type", `<xml><FromUserName>o</FromUserName><CreateTime>1</CreateTime></xml>`, ErrIncomplete},
		{"sender of 300 bytes", `<xml><FromUserName>` + strings.Repeat("o", 300) + `</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType></xml>`, ErrIncomplete},
		{"name that is none", `<xml><a$b></a$b></xml>`, ErrNotXML},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := decode([]byte(tt.doc), "wxapp"); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestDedupeKeys(t *testing.T) {
	t.Parallel()
	key := func(doc string) string {
		t.Helper()
		in, err := decode([]byte(doc), "wxapp")
		if err != nil {
			t.Fatal(err)
		}
		return in.DedupeKey
	}
	// Two results for one resident may share a second.
	a := key(event("TEMPLATESENDJOBFINISH", `<MsgID>1</MsgID><Status>success</Status>`))
	b := key(event("TEMPLATESENDJOBFINISH", `<MsgID>2</MsgID><Status>success</Status>`))
	if a == b {
		t.Error("two results share a key")
	}
	// A message without an id is known by its bytes.
	if a, b := key(message("text", "<Content>a</Content>")), key(message("text", "<Content>b</Content>")); a == b {
		t.Error("two messages without id share a key")
	}
	long := key(event("VIEW", `<EventKey>https://example.com/`+strings.Repeat("x", 5000)+`</EventKey>`))
	if len(long) > maxDedupeKey || long == key(event("VIEW", `<EventKey>https://example.com/`+strings.Repeat("x", 5001)+`</EventKey>`)) {
		t.Errorf("key of %d bytes", len(long))
	}
	withdraw := `<FromUserName>oPlatform</FromUserName><CreateTime>9</CreateTime><MsgType>event</MsgType><Event>user_authorization_revoke</Event>`
	if key(`<xml>`+withdraw+`<OpenID>o1</OpenID></xml>`) == key(`<xml>`+withdraw+`<OpenID>o2</OpenID></xml>`) {
		t.Error("two withdrawals in one second share a key")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(message("text", "<Content><![CDATA[a]]>b</status>]]></Content><MsgId>1</MsgId>"))
	f.Add(event("subscribe_msg_popup_event", `<SubscribeMsgPopupEvent><List><TemplateId>T</TemplateId></List></SubscribeMsgPopupEvent>`))
	f.Add(event("pic_weixin", `<SendPicsInfo><PicList><item><PicMd5Sum>b</PicMd5Sum></item></PicList></SendPicsInfo>`))
	f.Add(`<!DOCTYPE x [<!ENTITY a "b">]><xml>&a;</xml>`)
	f.Add(`<xml><Content><![CDATA[`)
	f.Add("\ufeff<?xml version='1.0'?><!-- c --><xml a='b'><x/>&#x41;</xml>")
	f.Fuzz(func(t *testing.T, doc string) {
		in, err := decode([]byte(doc), "wxapp")
		if err != nil {
			return
		}
		if in.OpenID == "" || in.Type == "" || in.DedupeKey == "" || len(in.DedupeKey) > maxDedupeKey {
			t.Errorf("incomplete: %+v", in)
		}
		for _, s := range []string{in.Text, in.EventKey, in.OpenID, in.Detail.Title, in.DedupeKey} {
			if !utf8.ValidString(s) || strings.ContainsRune(s, 0) || len(s) > len(doc)+maxDedupeKey {
				t.Errorf("bad text %q", s)
			}
		}
	})
}

func FuzzUnescape(f *testing.F) {
	f.Add("&lt;&amp;#x26;&lol;&")
	f.Fuzz(func(t *testing.T, s string) {
		if got := unescape(s); len(got) > len(s) {
			t.Errorf("%q grew to %q", s, got)
		}
	})
}
