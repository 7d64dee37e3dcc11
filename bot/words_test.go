package bot_test

import (
	"strings"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/conversation"
	"guanjia/internal/desk"
	"guanjia/internal/wording"
)

// TestWords is the table of what each kind of message brings when nothing went
// before it: the words, and how many cases there are afterwards.
func TestWords(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	say := func(key string, vars wording.Vars) string {
		t.Helper()
		text, err := w.Book.Say(key, vars)
		if err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	hotline := w.Sample.Company.Settings.Hotline
	for i, tt := range []struct {
		name string
		in   conversation.Inbound
		want []string
		open int
		kind string
	}{
		{name: "thanks R-077", in: conversation.Inbound{Text: "谢谢"}, want: []string{"不客气,这是我们应该做的。"}},
		{name: "thanks with more", in: conversation.Inbound{Text: "好的,谢谢啊!"}, want: []string{"不客气,这是我们应该做的。"}},
		{name: "greeting R-075", in: conversation.Inbound{Text: "你好"}, want: []string{"您好", "早上好"}},
		{name: "farewell R-070", in: conversation.Inbound{Text: "再见"}, want: []string{say("farewell", nil)}},
		{name: "gift R-078", in: conversation.Inbound{Text: "给师傅准备了两条烟,请收下"}, want: []string{say("gift.refused", nil)}},
		{name: "help", in: conversation.Inbound{Text: "帮助"}, want: []string{"「查询」", hotline}},
		{name: "help full width", in: conversation.Inbound{Text: " 帮助。"}, want: []string{"「查询」"}},
		{name: "bind how", in: conversation.Inbound{Text: "绑定"}, want: []string{say("bind.how", nil)}},
		{name: "bind bad unit", in: conversation.Inbound{Text: "绑定 三楼东户 13800000001"}, want: []string{say("bind.bad_unit", nil)}},
		{name: "bind bad phone", in: conversation.Inbound{Text: "绑定 3-2-1201 1380000"}, want: []string{say("bind.bad_phone", nil)}},
		{name: "digits nobody asked for", in: conversation.Inbound{Text: "123456"}, want: []string{say("bind.no_code", nil)}},
		{name: "query nothing", in: conversation.Inbound{Text: "查询"}, want: []string{say("case.none", nil)}},
		{name: "query unknown", in: conversation.Inbound{Text: "查询 #100009"}, want: []string{say("case.unknown", nil)}},
		{name: "cancel nothing", in: conversation.Inbound{Text: "取消"}, want: []string{say("nothing_to_cancel", nil)}},
		{name: "take back nothing", in: conversation.Inbound{Text: "撤回"}, want: []string{say("nothing_to_cancel", nil)}},
		{name: "unsubscribe", in: conversation.Inbound{Text: "退订"}, want: []string{say("unsubscribe.done", nil)}},
		{name: "solved nothing", in: conversation.Inbound{Text: "已解决"}, want: []string{say("case.none", nil)}},
		{name: "rating nobody asked for", in: conversation.Inbound{Text: "5"}, want: []string{say("other.menu", nil)}},
		{name: "empty", in: conversation.Inbound{Text: " \n "}, want: []string{say("empty", nil)}},
		{name: "person", in: conversation.Inbound{Text: "人工"}, want: []string{"登记号 #"}, open: 1, kind: "inquiry"},
		{name: "urge nothing", in: conversation.Inbound{Text: "怎么还没来"}, want: []string{say("case.none", nil)}},
		{name: "repair", in: conversation.Inbound{Text: "厨房水管漏水,麻烦派人来修"}, want: []string{"工单号 #", "工程维修", "前回复您"}, open: 1, kind: "repair"},
		{name: "complaint R-207", in: conversation.Inbound{Text: "三栋电梯又坏了,老人下不了楼,你们管不管"}, want: []string{"抱歉", "工单号 #", "工程维修", "前回复您"}, open: 1, kind: "complaint"},
		{name: "suggestion", in: conversation.Inbound{Text: "建议在小区门口装一个快递柜"}, want: []string{"感谢您的建议", "#"}, open: 1, kind: "suggestion"},
		{name: "praise", in: conversation.Inbound{Text: "表扬一下王师傅,态度特别好"}, want: []string{"谢谢您的肯定"}, open: 1, kind: "praise"},
		{name: "unknown question R-082", in: conversation.Inbound{Text: "请问小区可以装太阳能板吗"}, want: []string{"需要向同事确认", "#"}, open: 1, kind: "inquiry"},
		{name: "danger R-142", in: conversation.Inbound{Text: "电梯困人了,快来"}, want: []string{"不要扒门", hotline, "紧急工单 #", "位置："}, open: 1, kind: "help"},
		{name: "abuse R-102", in: conversation.Inbound{Text: "你们都是废物"}, want: []string{say("abuse.calm", nil)}},
		{name: "voice", in: conversation.Inbound{Type: "voice", MediaID: "m1"}, want: []string{say("voice.please_type", nil)}},
		{name: "voice heard", in: conversation.Inbound{Type: "voice", Detail: conversation.Detail{Recognition: "谢谢"}}, want: []string{"不客气"}},
		{name: "image", in: conversation.Inbound{Type: "image", MediaID: "m2"}, want: []string{say("image.received", nil)}},
		{name: "location", in: conversation.Inbound{Type: "location"}, want: []string{say("location.received", nil)}},
		{name: "link", in: conversation.Inbound{Type: "link"}, want: []string{say("unsupported.media", nil)}},
		{name: "unknown kind", in: conversation.Inbound{Type: "hologram"}, want: []string{say("unsupported.media", nil)}},
		{name: "follow R-073", in: conversation.Inbound{Kind: conversation.KindEvent, Event: "subscribe"}, want: []string{"欢迎关注青禾物业服务有限公司", hotline}},
		{name: "scan", in: conversation.Inbound{Kind: conversation.KindEvent, Event: "SCAN"}, want: []string{"您好"}},
		{name: "menu bind", in: conversation.Inbound{Kind: conversation.KindEvent, Event: "CLICK", EventKey: "bind"}, want: []string{say("bind.how", nil)}},
		{name: "menu progress", in: conversation.Inbound{Kind: conversation.KindEvent, Event: "CLICK", EventKey: "progress"}, want: []string{say("case.none", nil)}},
		{name: "menu person", in: conversation.Inbound{Kind: conversation.KindEvent, Event: "CLICK", EventKey: "human"}, want: []string{"登记号 #"}, open: 1, kind: "inquiry"},
		{name: "menu contact", in: conversation.Inbound{Kind: conversation.KindEvent, Event: "CLICK", EventKey: "contact"}, want: []string{hotline}},
		{name: "menu old", in: conversation.Inbound{Kind: conversation.KindEvent, Event: "CLICK", EventKey: "gone"}, want: []string{hotline}},
		{name: "menu repair", in: conversation.Inbound{Kind: conversation.KindEvent, Event: "CLICK", EventKey: "repair"}, want: []string{say("other.menu", nil)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.OpenID = w.Bound(t, i).OpenID
			answer := w.Turn(t, tt.in)
			wantAll(t, answer.Text, tt.want...)
			cases := w.Cases(t, tt.in.OpenID)
			if len(cases) != tt.open {
				t.Fatalf("%d cases, want %d", len(cases), tt.open)
			}
			if tt.open == 1 && cases[0].Kind != tt.kind {
				t.Errorf("case of kind %s, want %s", cases[0].Kind, tt.kind)
			}
			if tt.open == 1 && tt.kind != "praise" && !strings.Contains(answer.Text, "#"+cases[0].No) {
				t.Errorf("answer %q does not tell the number %s (R-071)", answer.Text, cases[0].No)
			}
		})
	}
}

// TestSilence holds what is answered with nothing.
func TestSilence(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	for i, in := range []conversation.Inbound{
		{Kind: conversation.KindEvent, Event: "VIEW"},
		{Kind: conversation.KindEvent, Event: "LOCATION"},
		{Kind: conversation.KindEvent, Event: "TEMPLATESENDJOBFINISH"},
		{Kind: conversation.KindEvent, Event: "made_up"},
		{Kind: conversation.KindEvent, Event: "unsubscribe"},
	} {
		in.OpenID = w.Bound(t, i).OpenID
		if answer := w.Turn(t, in); !answer.Empty() {
			t.Errorf("%s is answered with %q", in.Event, answer.Text)
		}
	}
}

func TestOutsideWorkingHours(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	w.Clock.Set(time.Date(2026, 3, 2, 2, 0, 0, 0, time.FixedZone("CST", 8*3600)))
	h := w.Bound(t, 0)
	answer := w.Say(t, h.OpenID, "厨房水管漏水,麻烦派人来修")
	wantAll(t, answer, "非工作时间", "08:30", w.Sample.Company.Settings.Hotline)
	if c := w.OneCase(t, h.OpenID); c.PromisedAt.Sub(w.Clock.Now()) > 24*time.Hour {
		t.Errorf("answered by %s", c.PromisedAt)
	}
}

// TestBurst. Short messages in a row are one matter.
func TestBurst(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		h := w.Bound(t, 0)
		w.Say(t, h.OpenID, "厨房漏水")
		w.Clock.Advance(5 * time.Second)
		wantAll(t, w.Say(t, h.OpenID, "洗碗池下面一直在滴水"), "已补充到工单 #")
		w.Clock.Advance(5 * time.Second)
		wantAll(t, w.Say(t, h.OpenID, "尽快派人来修"), "#")
		c := w.OneCase(t, h.OpenID)
		if c.Text != "厨房漏水" || c.Version != 3 {
			t.Errorf("case %q, version %d: the later words are not with it", c.Text, c.Version)
		}
		w.Clock.Advance(time.Minute)
		w.Say(t, h.OpenID, "楼道垃圾没人扫,太脏了") // another matter
		if n := len(w.Cases(t, h.OpenID)); n != 2 {
			t.Errorf("%d cases after another matter, want 2", n)
		}
	})
}

// TestUnboundWriter: whoever is not bound is heard all the same, and asked where he lives.
func TestUnboundWriter(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	wantAll(t, w.Say(t, "oStranger1", "厨房水管漏水,麻烦派人来修"), "工单号 #", "房号")
	c := w.OneCase(t, "oStranger1")
	if c.QueueID != "queue-engineering" || c.Unit != "" {
		t.Fatalf("case in %s of %q", c.QueueID, c.Unit)
	}
	w.Say(t, "oStranger1", "3-2-1201")
	if got := latest(t, w, c.No); got.Unit != "3-2-1201" {
		t.Errorf("home %q after he named it", got.Unit)
	}
	wantAll(t, w.Say(t, "oStranger2", "电梯困人了"), "不要扒门", "把具体位置发给我")
	if c := w.OneCase(t, "oStranger2"); c.Danger != "lift_trapped" || c.QueueID != "queue-engineering" {
		t.Errorf("danger %q in %s", c.Danger, c.QueueID)
	}
}

func TestDanger(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		h := w.Bound(t, 0)
		first := w.Say(t, h.OpenID, "电梯困人了,快来")
		if !strings.HasPrefix(first, "请保持冷静") {
			t.Fatalf("safety words do not come first: %q", first)
		}
		c := w.OneCase(t, h.OpenID)
		wantAll(t, first, h.Unit, "#"+c.No)
		w.Clock.Advance(time.Minute)
		again := w.Say(t, h.OpenID, "电梯里有人被困,快救人")
		wantAll(t, again, "不要扒门", "已补充到紧急工单 #"+c.No)
		w.Clock.Advance(time.Minute)
		pressed := w.Say(t, h.OpenID, "怎么还没来") // means the lift, R-018
		wantAll(t, pressed, "不要扒门", "再次催促", "#"+c.No, w.Sample.Company.Settings.Hotline)
		if got := w.OneCase(t, h.OpenID); got.Urges != 1 {
			t.Errorf("%d urges", got.Urges)
		}
		w.Clock.Advance(time.Minute)
		wantAll(t, w.Say(t, h.OpenID, "不用处理了"), "平安", "#"+c.No)
		if got := w.OneCase(t, h.OpenID); !got.State.Open() {
			t.Errorf("a danger was taken back by a word: %s", got.State)
		}
		// Another danger is another case.
		w.Say(t, h.OpenID, "楼道着火了")
		if n := len(w.Cases(t, h.OpenID)); n != 2 {
			t.Errorf("%d cases after a fire, want 2", n)
		}
		if strings.Contains(w.Logs.Raw(), "电梯困人了") || strings.Contains(w.Logs.Raw(), h.OpenID) {
			t.Error("words or openid in the log")
		}
	})
}

// TestPressedAfterItsEnd: nobody works on what is handled, so pressing it opens
// it again and makes no second case.
func TestPressedAfterItsEnd(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	for i, words := range []string{"厨房水管漏水,麻烦派人来修", "电梯困人了,快来"} {
		h := w.Bound(t, i)
		c := handled(t, w, h.OpenID, words)
		w.Clock.Advance(10 * time.Minute)
		wantAll(t, w.Say(t, h.OpenID, "怎么还没来"), "重新处理", "#"+c.No)
		if got := w.OneCase(t, h.OpenID); got.State != desk.StateReopened || got.OwnerID != "" {
			t.Errorf("%s: %s, owner %q", words, got.State, got.OwnerID)
		}
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	for i, words := range []string{"取消", "撤回", "不用处理了", "不用处理了。"} {
		h := w.Bound(t, i)
		w.Say(t, h.OpenID, "厨房水管漏水,麻烦派人来修")
		c := w.OneCase(t, h.OpenID)
		wantAll(t, w.Say(t, h.OpenID, words), "撤回工单 #"+c.No)
		if got := w.OneCase(t, h.OpenID); got.State != desk.StateWithdrawn {
			t.Errorf("%s: %s", words, got.State)
		}
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	h, other := w.Bound(t, 0), w.Bound(t, 1)
	w.Say(t, h.OpenID, "厨房水管漏水,麻烦派人来修")
	first := w.OneCase(t, h.OpenID)
	wantAll(t, w.Say(t, h.OpenID, "查询"), "#"+first.No, "漏水", "等待接单")
	for _, words := range []string{"查询 #" + first.No, "查询#" + first.No, "查询 " + first.No, "查询 ＃" + first.No, first.No} {
		wantAll(t, w.Say(t, h.OpenID, words), "#"+first.No, "漏水")
	}
	// The case of somebody else is as unknown as one that is not there.
	unknown := w.Say(t, h.OpenID, "查询 #100010")
	if got := w.Say(t, other.OpenID, "查询 #"+first.No); got != unknown {
		t.Errorf("another resident hears %q", got)
	}
	w.Clock.Advance(time.Hour)
	w.Say(t, h.OpenID, "楼道垃圾没人扫,太脏了")
	second := w.Cases(t, h.OpenID)[0]
	wantAll(t, w.Say(t, h.OpenID, "查询"), "2 个", "#"+first.No, "#"+second.No)
}

func TestFollowUp(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	n := 0
	next := func() (worldtest.Home, desk.Case) {
		h := apart(t, w, n)
		n++
		return h, handled(t, w, h.OpenID, "厨房水管漏水,麻烦派人来修")
	}
	for _, tt := range []struct {
		words, menu string
		state       desk.State
		want        string
	}{
		{"已解决", "", desk.StateClosed, "1 到 5"},
		{"解决了", "", desk.StateClosed, "1 到 5"},
		{"部分解决", "", desk.StateReopened, "继续跟进"},
		{"未解决", "", desk.StateReopened, "重新处理"},
		{"没有解决", "", desk.StateReopened, "重新处理"},
		{"已解决", "1", desk.StateClosed, "1 到 5"},
		{"部分解决", "2", desk.StateReopened, "继续跟进"},
		{"未解决", "3", desk.StateReopened, "重新处理"},
	} {
		h, c := next()
		in := conversation.Inbound{OpenID: h.OpenID, Text: tt.words}
		if tt.menu != "" {
			in.MenuID = c.No + tt.menu
		}
		answer := w.Turn(t, in)
		wantAll(t, answer.Text, tt.want, "#"+c.No)
		if got := latest(t, w, c.No); got.State != tt.state {
			t.Errorf("%s %s: %s", tt.words, tt.menu, got.State)
		}
	}

	// Old menus stay clickable for ever: the number in the id decides.
	h, old := next()
	w.Turn(t, conversation.Inbound{OpenID: h.OpenID, Text: "已解决", MenuID: old.No + "1"})
	w.Say(t, h.OpenID, "4")
	w.Clock.Advance(time.Hour)
	fresh := handled(t, w, h.OpenID, "楼道垃圾没人扫,太脏了")
	w.Turn(t, conversation.Inbound{OpenID: h.OpenID, Text: "已解决", MenuID: old.No + "1"})
	if got := latest(t, w, fresh.No); got.State != desk.StateHandled {
		t.Errorf("an old menu answered for the new case: %s", got.State)
	}
	w.Clock.Advance(8 * 24 * time.Hour)
	wantAll(t, w.Turn(t, conversation.Inbound{OpenID: h.OpenID, Text: "未解决", MenuID: old.No + "3"}).Text, "已结案", "#"+old.No)
	if got := latest(t, w, old.No); got.State != desk.StateClosed { // past the window
		t.Errorf("reopened after the window: %s", got.State)
	}
	// The menu of somebody else's case does nothing.
	other := w.Bound(t, 50)
	w.Turn(t, conversation.Inbound{OpenID: other.OpenID, Text: "已解决", MenuID: fresh.No + "1"})
	if got := latest(t, w, fresh.No); got.State != desk.StateHandled {
		t.Errorf("a stranger closed the case: %s", got.State)
	}

	// Nobody asked yet: staff hear it, and the resident where it stands.
	early := w.Bound(t, 51)
	w.Say(t, early.OpenID, "厨房水管漏水,麻烦派人来修")
	wantAll(t, w.Say(t, early.OpenID, "已解决"), "#"+w.OneCase(t, early.OpenID).No)
	if c := w.OneCase(t, early.OpenID); c.Version != 2 || !c.State.Open() {
		t.Errorf("version %d, %s", c.Version, c.State)
	}
}

func TestRating(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	for i, tt := range []struct {
		words  string
		rating int
		text   string
		want   string
	}{
		{"5", 5, "", "感谢您的评价"},
		{"５", 5, "", "感谢您的评价"},
		{"4分", 4, "", "感谢您的评价"},
		{"3 星", 3, "", "感谢您的评价"},
		{"5，师傅很专业", 5, "师傅很专业", "感谢您的评价"},
		{"2", 2, "", "没能让您满意"},
		{"1 等了三天", 1, "等了三天", "没能让您满意"},
	} {
		h := w.Bound(t, i)
		c := handled(t, w, h.OpenID, "厨房水管漏水,麻烦派人来修")
		w.Say(t, h.OpenID, "已解决")
		wantAll(t, w.Say(t, h.OpenID, tt.words), tt.want)
		if got := latest(t, w, c.No); got.Rating != tt.rating || got.RatingText != tt.text {
			t.Errorf("%s: %d %q", tt.words, got.Rating, got.RatingText)
		}
		// thanks afterwards reopens nothing.
		if got := w.Say(t, h.OpenID, "谢谢"); got != "不客气,这是我们应该做的。" {
			t.Errorf("thanks: %q", got)
		}
		if got := w.OneCase(t, h.OpenID); got.State != desk.StateClosed {
			t.Errorf("thanks left it %s", got.State)
		}
	}
	// Long after, a digit means nothing.
	h := w.Bound(t, 20)
	c := handled(t, w, h.OpenID, "厨房水管漏水,麻烦派人来修")
	w.Say(t, h.OpenID, "已解决")
	w.Clock.Advance(30 * 24 * time.Hour)
	w.Say(t, h.OpenID, "1")
	if got := latest(t, w, c.No); got.Rating != 0 {
		t.Errorf("a digit a month later rated %d", got.Rating)
	}
}

// TestReopenedGoesOn: what the resident says after 未解决 belongs to that case.
func TestReopenedGoesOn(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	h := w.Bound(t, 0)
	c := handled(t, w, h.OpenID, "厨房水管漏水,麻烦派人来修")
	w.Clock.Advance(2 * time.Hour)
	w.Say(t, h.OpenID, "未解决")
	w.Clock.Advance(time.Minute)
	wantAll(t, w.Say(t, h.OpenID, "厨房还是漏水,水管接头没拧紧"), "#"+c.No)
	if got := w.OneCase(t, h.OpenID); got.No != c.No {
		t.Errorf("case %s", got.No)
	}
	// A closed matter that comes again is a new case.
	closed := w.Bound(t, 1)
	handled(t, w, closed.OpenID, "厨房水管漏水,麻烦派人来修")
	w.Say(t, closed.OpenID, "已解决")
	w.Clock.Advance(24 * time.Hour)
	w.Say(t, closed.OpenID, "厨房水管又漏水了,请派人来修")
	if n := len(w.Cases(t, closed.OpenID)); n != 2 {
		t.Errorf("%d cases, want a new one", n)
	}
	if newest := w.Cases(t, closed.OpenID)[0]; newest.State != desk.StateDispatched {
		t.Errorf("newest is %s", newest.State)
	}
}

func TestUrge(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	h := w.Bound(t, 0)
	w.Say(t, h.OpenID, "三栋电梯又坏了,老人下不了楼,你们管不管")
	c := w.OneCase(t, h.OpenID)
	w.Clock.Advance(time.Hour)
	wantAll(t, w.Say(t, h.OpenID, "怎么还没来"), "#"+c.No, "催办", "工程维修")
	claimed, err := w.Desk.Claim(t.Context(), w.As(t, "zhangwei"), c.ID)
	must(t, claimed, err)
	wantAll(t, w.Say(t, h.OpenID, "怎么还没来"), "#"+c.No, "张伟")
	if got := w.OneCase(t, h.OpenID); got.Urges != 2 { // no second case
		t.Errorf("%d urges", got.Urges)
	}
}

// TestAway answers without a database: R-142 by decision 9.
func TestAway(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	if err := w.DB.Close(); err != nil {
		t.Fatal(err)
	}
	hotline := w.Sample.Company.Settings.Hotline
	away := func(in conversation.Inbound) string {
		in.CompanyID = sample.CompanyID
		return w.Engine.Away(t.Context(), in)
	}
	danger := away(conversation.Inbound{Kind: conversation.KindMessage, Type: "text", Text: "电梯困人了,快来"})
	wantAll(t, danger, "不要扒门", hotline)
	plain := away(conversation.Inbound{Kind: conversation.KindMessage, Type: "text", Text: "厨房漏水"})
	wantAll(t, plain, "妥善保存", hotline)
	for _, answer := range []string{danger, plain} {
		if strings.Contains(answer, "#") {
			t.Errorf("%q shows a number although there is none", answer)
		}
	}
	wantAll(t, away(conversation.Inbound{Kind: conversation.KindMessage, Type: "image"}), hotline)
	wantAll(t, away(conversation.Inbound{Kind: conversation.KindEvent, Event: "subscribe"}), hotline)
	if got := away(conversation.Inbound{Kind: conversation.KindEvent, Event: "VIEW"}); got != "" {
		t.Errorf("an event is answered with %q", got)
	}
	if got := w.Engine.Away(t.Context(), conversation.Inbound{CompanyID: "unknown", Kind: conversation.KindMessage, Type: "text"}); got != "" {
		t.Errorf("an unknown company answers %q", got)
	}
}

func TestMediaJoinsTheCase(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	h := w.Bound(t, 0)
	w.Say(t, h.OpenID, "厨房水管漏水,麻烦派人来修")
	c := w.OneCase(t, h.OpenID)
	for _, kind := range []string{"image", "video", "shortvideo", "location"} {
		wantAll(t, w.Turn(t, conversation.Inbound{OpenID: h.OpenID, Type: kind}).Text, "#"+c.No)
	}
	if got := w.OneCase(t, h.OpenID); got.Version != 5 {
		t.Errorf("version %d", got.Version)
	}
}
