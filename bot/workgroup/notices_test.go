package workgroup_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"guanjia/bot/workgroup"
	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/desk"
	"guanjia/internal/ledger"
	"guanjia/internal/staff"
	"guanjia/notify"
)

// office is a work group of the sample company on the real notices.
type office struct {
	t      *testing.T
	w      *worldtest.World
	router *workgroup.Router
	desk   *workgroup.NoticeDesk
	chat   workgroup.Chat
	n      int
}

func newOffice(t *testing.T, w *worldtest.World) *office {
	t.Helper()
	people := workgroup.NewPeople(workgroup.PeopleDeps{DB: w.DB, Clock: w.Clock, Staff: w.Staff, Queues: w.Queues, Companies: w.Companies, Ledger: w.Ledger, Book: w.Book})
	notices, err := workgroup.NewNoticeDesk(workgroup.NoticeDeps{Notices: w.Notices, Staff: people, DB: w.DB, Ledger: w.Ledger, Book: w.Book, Clock: w.Clock, Log: w.Logs.Logger})
	must(t, err)
	router, err := workgroup.NewRouter(workgroup.Deps{Desk: w.Desk, Staff: people, Book: w.Book, Notices: notices, ValidCaseNo: desk.ValidNo, Now: w.Clock.Now, Log: w.Logs.Logger})
	must(t, err)
	return &office{t: t, w: w, router: router, desk: notices, chat: workgroup.Chat{CompanyID: sample.CompanyID, BotID: w.Sample.Bot.BotID, ID: w.Sample.Groups[1].ChatID}}
}

// say has a member speak and gives the answer of the exchange.
func (o *office) say(from, text string, wants ...string) string {
	o.t.Helper()
	o.n++
	a, err := o.router.Message(o.t.Context(), workgroup.Message{ID: "m" + string(rune('a'+o.n)), Chat: o.chat, BotName: "管家", From: from, Text: "@管家 " + text, At: o.w.Clock.Now()})
	if err != nil {
		o.t.Fatalf("%q: %v", text, err)
	}
	for _, want := range wants {
		if !strings.Contains(a.Text, want) {
			o.t.Errorf("%s said %q; the answer %q lacks %q", from, text, a.Text, want)
		}
	}
	return a.Text
}

// put gives what the bot put into the chat for a notice, oldest first: words,
// or "card" for a card.
func (o *office) put(no string) (out []string) {
	o.t.Helper()
	for _, d := range o.deliveries(no) {
		if d.Channel == ledger.ChannelCard {
			out = append(out, "card")
			continue
		}
		out = append(out, d.Text)
	}
	return out
}

func (o *office) deliveries(no string) []ledger.Delivery {
	o.t.Helper()
	list, err := o.w.Ledger.ByRef(o.t.Context(), o.w.DB, workgroup.RefNoticeCard, o.notice(no).ID)
	must(o.t, err)
	return list
}

func (o *office) notice(no string) notify.Notice {
	o.t.Helper()
	x, err := o.w.Notices.ByNo(o.t.Context(), sample.CompanyID, no)
	must(o.t, err)
	return x
}

func (o *office) card(no string) workgroup.Card {
	o.t.Helper()
	c, err := o.router.Cards().Notice(o.t.Context(), sample.CompanyID, o.notice(no).ID, "01a2-x")
	must(o.t, err)
	return c
}

// press presses the button with these words on a card that was drawn before.
func (o *office) press(from string, c workgroup.Card, button string) workgroup.Card {
	o.t.Helper()
	for _, b := range c.Buttons {
		if b.Text == button {
			after, err := o.router.Click(o.t.Context(), workgroup.Click{Chat: o.chat, BotName: "管家", From: from, TaskID: c.TaskID, Key: b.Key, At: o.w.Clock.Now()})
			must(o.t, err)
			return after
		}
	}
	o.t.Fatalf("the card has no button %s: %+v", button, c.Buttons)
	return workgroup.Card{}
}

func rowsOf(c workgroup.Card) string {
	var parts []string
	for _, r := range c.Rows {
		parts = append(parts, r.Key+"="+r.Value)
	}
	return strings.Join(parts, " | ")
}

func wants(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s %q lacks %q", what, text, p)
		}
	}
}

const sentence = "通知 突发停水 3栋,4栋 主管爆裂抢修 预计18:00恢复"

func TestNoticeFromOneSentence(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		o := newOffice(t, w)
		if a := o.say("yangguang", sentence); a != "" {
			t.Errorf("answered beside text and card: %q", a)
		}
		put := o.put("T0001")
		if len(put) != 2 || put[1] != "card" {
			t.Fatalf("put %q", put)
		}
		x := o.notice("T0001")
		wants(t, "text", put[0], "T0001", x.Preview.SMS, "突发停水", "18:00", "确认发送", strings.Split(x.Preview.Template, "\n")[1])
		sent := o.deliveries("T0001")
		if sent[0].OrderKey == "" || sent[0].OrderKey != sent[1].OrderKey {
			t.Error("the card may overtake the text")
		}
		card := o.card("T0001")
		wants(t, "card", card.Title+rowsOf(card), "T0001", "116 户", "158 人", "158 个号码", "120 人关注", "14.22 元")
		o.say("wuxiao", "确认发送", "权限", "杨光") // a trainee
		if c := o.press("liqiang", card, "确认发送"); len(c.Note) == 0 || o.notice("T0001").State != notify.Drafted {
			t.Errorf("a technician confirmed: %+v", c)
		}
		after := o.press("yangguang", card, "确认发送")
		if after.TaskID != card.TaskID || o.notice("T0001").State != notify.Sending {
			t.Errorf("card %+v of %s", after, o.notice("T0001").State)
		}
		wants(t, "card", after.Title+after.Note+rowsOf(after), "已由杨光确认", "触达=0/116 户", "确认人=杨光 10:00", "待部门负责人补批")
		again := o.press("qianjin", card, "确认发送") // a stale card, a second hand
		wants(t, "stale card", again.Note, "发送", "杨光")
		o.say("yangguang", "确认发送", "T0001", "不用再操作")
		o.say("yangguang", "取消", "没有等待确认的通知") // what is on its way is not stopped by a word alone
		o.say("yangguang", "进度 T0001", "0/116 户", "待发 158")
		wants(t, "endorsed", rowsOf(o.press("qianjin", after, "补批")), "补批=钱进")
		paused := o.press("yangguang", after, "暂停")
		wants(t, "paused", paused.Desc, "已暂停")
		o.press("yangguang", paused, "继续发送")
		o.say("yangguang", "暂停 T0001", "已由杨光暂停")
		o.say("yangguang", "取消 T0001", "已由杨光取消")
		if s := o.notice("T0001").State; s != notify.Cancelled {
			t.Errorf("state %s", s)
		}
		if b := o.card("T0001").Buttons; len(b) != 1 || b[0].Style != workgroup.StyleGrey {
			t.Errorf("buttons of a cancelled notice: %+v", b)
		}
	})
}

func TestNoticeAsksForWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	o := newOffice(t, w)
	o.say("yangguang", "通知", "例如", "@管家 通知 突发停水 3栋,4栋 主管爆裂抢修 预计18:00恢复", "恢复 T0012")
	o.say("yangguang", "通知 突发停水 主管爆裂抢修")
	put := o.put("T0001")
	wants(t, "text", put[0], "还不能发", "哪些楼", "@管家 通知 突发停水 主管爆裂抢修 【3栋,4栋】")
	card := o.card("T0001")
	wants(t, "card", card.Desc+rowsOf(card)+card.Note, "缺 1 项", "还缺=影响范围", "重发")
	for _, b := range card.Buttons {
		if b.Text == "确认发送" {
			t.Error("what is incomplete offers to be sent")
		}
	}
	o.say("yangguang", "确认发送", "还不能发", "哪些楼")
	o.say("yangguang", sentence, "T0001 已作废")
	if s := o.notice("T0001").State; s != notify.Cancelled {
		t.Errorf("the first draft is %s", s)
	}
	o.say("chenjing", "通知 计划停电 5栋 配电房检修 后天9点到11点")
	o.say("yangguang", "确认发送", "T0002", "T0003", "带上编号")
	o.say("yangguang", "确认发送 T0003", "可以请这些同事来操作")
	o.say("qianjin", "确认发送 T0003", "已由钱进确认")
	o.say("yangguang", "确认发送", "T0002", "已由杨光确认")
	if put := o.put("T0002"); put[len(put)-1] != "card" || len(put) != 3 {
		t.Errorf("no card of the present state after a confirmation in words: %q", put)
	}
	o.say("yangguang", "确认发送 T0099", "没有 T0099")
	o.say("liqiang", sentence, "权限", "可以请这些同事来操作")
	o.say("stranger", sentence, "绑定 手机号")
	o.say("yangguang", "帮助", "发通知", "电话名单 T0012")
}

// TestNoticeIsReadBeforeItIsSent: a draft that is revised elsewhere is not sent
// by the button that was drawn before.
func TestNoticeIsReadBeforeItIsSent(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	o := newOffice(t, w)
	o.say("yangguang", sentence)
	card := o.card("T0001")
	x := o.notice("T0001")
	x.Draft.Reason = "水泵故障抢修"
	by := notify.AsMember(member(t, w, "yangguang"), "console")
	_, err := w.Notices.Revise(t.Context(), by, x.ID, x.Draft)
	must(t, err)
	after := o.press("yangguang", card, "确认发送")
	if s := o.notice("T0001").State; s != notify.Drafted {
		t.Fatalf("sent unread: %s", s)
	}
	wants(t, "note", after.Note, "改过")
	put := o.put("T0001")
	wants(t, "text", put[len(put)-1], "水泵故障抢修")
	o.press("yangguang", after, "确认发送")
	if s := o.notice("T0001").State; s != notify.Sending {
		t.Errorf("state %s after reading", s)
	}
}

// TestMessageHandledAgain makes no second notice of one sentence.
func TestMessageHandledAgain(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	o := newOffice(t, w)
	m := workgroup.Message{ID: "same", Chat: o.chat, BotName: "管家", From: "yangguang", Text: "@管家 " + sentence, At: w.Clock.Now()}
	for range 3 {
		_, err := o.router.Message(t.Context(), m)
		must(t, err)
		m.Again = true
	}
	list, _, err := w.Notices.List(t.Context(), sample.CompanyID, notify.Filter{})
	must(t, err)
	if len(list) != 1 || len(o.put("T0001")) != 2 {
		t.Errorf("%d notices, put %q", len(list), o.put("T0001"))
	}
}

func TestCallListInTheGroup(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	o := newOffice(t, w)
	silent := w.PhoneOnly(t, 20)
	o.say("yangguang", "通知 突发停水 "+silent.Unit+" 主管爆裂抢修 预计18:00恢复")
	o.say("yangguang", "电话名单 T0001", "草稿", "还没有电话名单")
	o.say("yangguang", "确认发送", "1 户")
	fail(t, w)
	finish(t, w, o.notice("T0001").ID)
	must(t, o.desk.Watch(t.Context()))
	put := o.put("T0001")
	wants(t, "news", put[len(put)-1], "已发完", "0/1 户", "还有 1 户", "@管家 电话名单 T0001", "补批 T0001")
	list := o.say("liqiang", "电话名单 T0001", silent.Unit, silent.Name, silent.Phone[:3]+"****"+silent.Phone[7:], "单聊")
	if strings.Contains(list, silent.Phone) {
		t.Error("a number stands in full in a group")
	}
	group := o.chat
	o.chat = workgroup.Chat{CompanyID: group.CompanyID, BotID: group.BotID, ID: "liqiang", Single: true}
	o.say("liqiang", "电话名单 T0001", silent.Phone)
	o.chat = group
	o.say("liqiang", "我来打 T0001 "+silent.Unit, "李强联系")
	o.say("wangtao", "已电话 T0001 "+silent.Unit+" 已通知本人", "李强")
	o.say("liqiang", "已电话 T0001 "+silent.Unit, "结果")
	o.say("liqiang", "已电话 T0001 "+silent.Unit+" 嗯嗯", "结果")
	o.say("liqiang", "已电话 T0001 "+silent.Unit+" 没人接", "无人接听", "还剩 1 户")
	w.Clock.Advance(21 * time.Minute)
	must(t, o.desk.Watch(t.Context()))
	put = o.put("T0001")
	wants(t, "reminder", put[len(put)-1], "还有 1 户没有电话通知到")
	o.say("liqiang", "已电话 T0001 "+silent.Unit+" 本人已知晓", "已电话通知（李强）")
	o.say("liqiang", "电话名单 T0001", "没有需要电话通知的住户")
	n := len(o.put("T0001"))
	w.Clock.Advance(time.Hour)
	must(t, o.desk.Watch(t.Context()))
	if len(o.put("T0001")) != n {
		t.Errorf("reminded of a finished list: %q", o.put("T0001"))
	}
	w.Logs.NoLeak(t, silent.Phone, silent.Name)
}

func member(t *testing.T, w *worldtest.World, userID string) staff.Member {
	t.Helper()
	m, found, err := w.Staff.ByUserID(t.Context(), w.DB, sample.CompanyID, userID)
	must(t, err)
	if !found {
		t.Fatalf("no member %s", userID)
	}
	return m
}

// fail lets the vendor refuse all emergencies for good.
func fail(t *testing.T, w *worldtest.World) {
	t.Helper()
	for {
		list, err := w.Ledger.Claim(t.Context(), ledger.ClaimQuery{Lane: ledger.LaneEmergency, Limit: 50, Lease: time.Minute})
		must(t, err)
		if len(list) == 0 {
			return
		}
		for _, d := range list {
			a, err := w.Ledger.StartAttempt(t.Context(), d)
			must(t, err)
			if _, err := w.Ledger.Record(t.Context(), a, ledger.Outcome{Kind: ledger.Unreachable, Code: "INVALID_NUMBER"}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// finish waits for the notice's own job to see that all is through.
func finish(t *testing.T, w *worldtest.World, noticeID string) {
	t.Helper()
	must(t, w.Jobs.Start(t.Context()))
	t.Cleanup(func() { must(t, w.Jobs.Stop(context.Background())) })
	for range 100 {
		x, err := w.Notices.ByID(t.Context(), sample.CompanyID, noticeID)
		must(t, err)
		if x.State == notify.Finished {
			return
		}
		w.Clock.Advance(time.Second)
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the notice does not finish")
}
