package workgroup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"guanjia/bot/workgroup"
	"guanjia/internal/calendar"
	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/desk"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/estate"
	"guanjia/internal/ledger"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
	"guanjia/internal/telemetry/telemetrytest"
	"guanjia/internal/wording"
	"guanjia/templates"
)

// house is the work group on the real rooms below it.
type house struct {
	db     *db.DB
	clock  *clock.Manual
	desk   *desk.Desk
	ledger *ledger.Ledger
	router *workgroup.Router
	log    *telemetrytest.Log
	ours   desk.Case // in the queue of wrEng
	theirs desk.Case
	danger desk.Case
}

func build(t *testing.T, d *db.DB) *house {
	t.Helper()
	ctx := t.Context()
	sealer, err := company.NewSealer(bytes.Repeat([]byte{7}, company.KeySize))
	must(t, err)
	book, err := wording.Load(templates.FS())
	must(t, err)
	h := &house{db: d, clock: clock.NewManual(time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)), log: telemetrytest.Capture(t)}
	companies := company.New(d, sealer)
	chosen := company.DefaultSettings()
	chosen.Hotline = "0571-88880000"
	settings := func(string) company.Settings { return chosen }
	people := staff.New(d, h.clock, sealer, settings)
	h.ledger = ledger.Open(d, h.clock, h.log.Logger)
	queues := queue.New(d, redistest.Embedded(t, h.clock).Client(), nil, h.clock, h.log.Logger, nil)
	conversations := conversation.New(d, h.clock, h.log.Logger, conversation.Options{})
	t.Cleanup(func() { must(t, conversations.Close(context.Background())) })
	days, err := calendar.New(calendar.Default())
	must(t, err)
	homes := estate.New(d, h.clock, sealer, settings)
	h.desk = desk.New(desk.Deps{
		DB: d, Clock: h.clock, Ledger: h.ledger, Queues: queues, Staff: people, Estate: homes, Companies: companies,
		Conversations: conversations, Calendar: func(string) *calendar.Calendar { return days }, Book: book, Log: h.log.Logger,
	})
	queues.BindRows(h.desk)

	must(t, d.InTx(ctx, "seed", func(ctx context.Context, tx *db.Tx) error {
		if err := companies.CreateTx(ctx, tx, company.Company{ID: "c1", Name: "阳光物业", Short: "阳光物业", Settings: chosen}); err != nil {
			return err
		}
		if err := companies.PutSMSTx(ctx, tx, company.SMSAccount{ID: "sms1", CompanyID: "c1", AccessKeyID: "ak", AccessKeySecret: "sk", Sign: "阳光物业", CallbackSecret: "cb"}); err != nil {
			return err
		}
		if err := homes.PutTx(ctx, tx, estate.Batch{Projects: []estate.Project{{ID: "p1", CompanyID: "c1", Name: "阳光花园"}}}); err != nil {
			return err
		}
		for _, q := range []queue.Queue{
			{ID: "q-eng", CompanyID: "c1", ProjectID: "p1", Line: "engineering", Name: "工程维修"},
			{ID: "q-sec", CompanyID: "c1", ProjectID: "p1", Line: "order_security", Name: "秩序维护"},
		} {
			if err := queues.PutTx(ctx, tx, q); err != nil {
				return err
			}
		}
		for _, m := range []staff.Member{
			{CompanyID: "c1", UserID: "zhang", Name: "张师傅", Role: string(staff.RoleTechnician), Phone: "13900000001", OnDuty: true},
			{CompanyID: "c1", UserID: "li", Name: "李师傅", Role: string(staff.RoleTechnician), Phone: "13900000002", OnDuty: true},
			{CompanyID: "c1", UserID: "xiao", Name: "小陈", Role: string(staff.RoleTechnician), Trainee: true, OnDuty: true},
			{CompanyID: "c1", UserID: "wang", Name: "王主管", Role: string(staff.RoleSupervisor), OnDuty: true},
			{CompanyID: "c1", UserID: "men", Name: "门岗", Role: string(staff.RoleTechnician), OnDuty: true},
		} {
			if err := people.PutTx(ctx, tx, m); err != nil {
				return err
			}
			q := "q-eng"
			if m.UserID == "men" {
				q = "q-sec"
			}
			if err := people.PutQueueMemberTx(ctx, tx, staff.QueueMember{CompanyID: "c1", QueueID: q, UserID: m.UserID}); err != nil {
				return err
			}
		}
		_, err := people.PutGroupTx(ctx, tx, "admin", staff.WorkGroup{CompanyID: "c1", BotID: "b1", ChatID: "wrEng", Name: "工程群", QueueID: "q-eng"})
		return err
	}))
	_, err = companies.Directory(ctx) // loaded at start, as the program does
	must(t, err)
	h.ours = h.open(t, desk.Open{Category: "engineering", Text: "三栋电梯又坏了，老人下不了楼，你们管不管"})
	h.theirs = h.open(t, desk.Open{Category: "order_security", Text: "门禁坏了"})
	h.danger = h.open(t, desk.Open{Category: "engineering", Danger: "lift_trapped", Text: "电梯困人了，快来"})

	h.router, err = workgroup.NewRouter(workgroup.Deps{
		Desk: h.desk, Book: book, ValidCaseNo: desk.ValidNo, Now: h.clock.Now, Log: h.log.Logger,
		Staff: workgroup.NewPeople(workgroup.PeopleDeps{DB: d, Clock: h.clock, Staff: people, Queues: queues, Companies: companies, Ledger: h.ledger, Book: book}),
	})
	must(t, err)
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *house) open(t *testing.T, o desk.Open) desk.Case {
	t.Helper()
	o.CompanyID, o.ProjectID, o.Kind, o.Mode, o.Unit = "c1", "p1", "complaint", "wechat", "3-2-1201"
	o.AccountID, o.OpenID, o.SourceID = "wx1", "oResidentOfTheTest", o.Text
	p, err := h.desk.Prepare(t.Context(), "c1")
	must(t, err)
	var c desk.Case
	must(t, h.db.InTx(t.Context(), "open", func(ctx context.Context, tx *db.Tx) error {
		c, err = h.desk.OpenTx(ctx, tx, p, desk.By{CompanyID: "c1", Resident: true}, o)
		return err
	}))
	return c
}

// say has a member speak in a chat and checks what is answered.
func (h *house) say(t *testing.T, from, text string, wants ...string) string {
	t.Helper()
	return h.message(t, workgroup.Message{From: from, Text: "@管家 " + text}, wants...)
}

func (h *house) message(t *testing.T, m workgroup.Message, wants ...string) string {
	t.Helper()
	m.BotName, m.At = "管家", h.clock.Now()
	if m.Chat.ID == "" {
		m.Chat = workgroup.Chat{CompanyID: "c1", BotID: "b1", ID: "wrEng"}
	}
	a, err := h.router.Message(t.Context(), m)
	if err != nil {
		t.Fatalf("%q: %v", m.Text, err)
	}
	for _, want := range wants {
		if !strings.Contains(a.Text, want) {
			t.Errorf("%s said %q; the answer %q lacks %q", m.From, m.Text, a.Text, want)
		}
	}
	h.clock.Advance(time.Second)
	return a.Text
}

func (h *house) state(t *testing.T, c desk.Case) desk.Case {
	t.Helper()
	now, err := h.desk.ByID(t.Context(), c.ID)
	must(t, err)
	return now
}

// told gives what is on its way to the resident of a case.
func (h *house) told(t *testing.T, c desk.Case) (texts []string) {
	t.Helper()
	all, err := h.ledger.ByRef(t.Context(), h.db, "case", c.ID)
	must(t, err)
	for _, d := range all {
		if d.Channel == ledger.ChannelService {
			texts = append(texts, string(d.State)+": "+d.Text)
		}
	}
	return texts
}

func TestACaseInTheGroup(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := build(t, d)
		no := "#" + h.ours.No
		h.say(t, "zhang", "待接单", "工程维修", no, "#"+h.danger.No)
		h.say(t, "zhang", "接单 "+no, "张师傅")
		h.say(t, "zhang", "接单 "+no, "张师傅")
		h.say(t, "li", "接单 "+no, "张师傅", "不用再接")
		h.say(t, "men", no+" 我来", "权限")
		h.say(t, "zhang", no+" 师傅十分钟到", "5 秒", "撤回 "+no)
		h.say(t, "zhang", "撤回 "+no, "已撤回")
		h.say(t, "zhang", "撤回 "+no, "来不及")
		h.say(t, "zhang", no+" 师傅五分钟到")
		h.say(t, "zhang", no+" 这个我不清楚", "不清楚")
		h.say(t, "zhang", no+" 备注 已联系厂家", "住户看不到")
		h.say(t, "zhang", "我的", no)
		h.say(t, "zhang", "完成 "+no, "处理措施")
		h.say(t, "zhang", "完成 "+no+" 更换门机皮带", "办结")
		h.say(t, "zhang", "完成 "+no+" 更换门机皮带", "已办结")
		h.say(t, "zhang", no+" 还有事吗", "已办结")
		if c := h.state(t, h.ours); c.State != desk.StateHandled || c.OwnerID != "zhang" || c.Measures != "更换门机皮带" {
			t.Errorf("case %+v", c)
		}
		told := strings.Join(h.told(t, h.ours), "\n")
		for _, want := range []string{"cancelled: ", "师傅十分钟到", "planned: ", "师傅五分钟到", "更换门机皮带", "张师傅"} {
			if !strings.Contains(told, want) {
				t.Errorf("the resident is told %q without %q", told, want)
			}
		}
		for _, never := range []string{"已联系厂家", "不清楚", "我来", "还有事吗"} {
			if strings.Contains(told, never) {
				t.Errorf("the resident must not read %q: %q", never, told)
			}
		}
		h.log.NoLeak(t, "师傅五分钟到", "oResidentOfTheTest")
	})
}

func TestEmergencyReplyDoesNotWait(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite(t))
	h.say(t, "zhang", "#"+h.danger.No+" 已到现场，请不要扒门", "正在把回复发给住户")
}

func TestRefusalsInTheGroup(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite(t))
	no := "#" + h.ours.No
	h.say(t, "zhang", "#"+h.theirs.No+" 好的", "不在本群", "没有发给住户")
	h.say(t, "stranger", no+" 好的", "绑定 手机号")
	h.say(t, "men", no+" 好的", "权限")
	h.say(t, "xiao", "接单 "+no, "实习")
	h.say(t, "xiao", no+" 我来看看", "实习同事小陈", "同意 #")
	h.say(t, "xiao", "完成 "+no+" 修好了", "实习")
	h.say(t, "zhang", "完成 "+no+" 修好了", "接单")
	h.say(t, "zhang", "转派 "+no+" 财务部 归财务", "财务部", "秩序维护")
	h.say(t, "zhang", "转派 "+no+" 工程维修 再看看", "本来就在")
	h.say(t, "zhang", "转派 "+no+" 秩序维护", "队列名 原因")
	if c := h.state(t, h.ours); c.State != desk.StateDispatched || c.OwnerID != "" || c.QueueID != "q-eng" {
		t.Errorf("case %+v", c)
	}
	if told := h.told(t, h.ours); len(told) != 0 {
		t.Errorf("the resident is told %v", told)
	}
	events, err := h.desk.Events(t.Context(), h.ours.ID)
	must(t, err)
	if last := events[len(events)-1]; last.Kind != string(desk.ActionDraft) || !strings.Contains(last.Text, "我来看看") {
		t.Errorf("a trainee's draft is kept for a colleague (R-093): %+v", last)
	}
	h.say(t, "zhang", "转派 "+no+" 秩序维护 归门岗", "秩序维护")
	h.say(t, "zhang", no+" 好的", "不在本群")
}

// TestAgainOnTheRealDesk: a message whose answer was lost does nothing twice.
func TestAgainOnTheRealDesk(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite(t))
	no := "#" + h.ours.No
	for _, text := range []string{"接单 " + no, no + " 师傅十分钟到", no + " 备注 已联系厂家", "完成 " + no + " 更换门机皮带"} {
		m := workgroup.Message{
			From: "zhang", Text: "@管家 " + text, BotName: "管家", At: h.clock.Now(),
			Chat: workgroup.Chat{CompanyID: "c1", BotID: "b1", ID: "wrEng"},
		}
		for range 3 {
			h.clock.Advance(time.Second)
			if a, err := h.router.Message(t.Context(), m); err != nil || a.Text == "" {
				t.Fatalf("%q: %q, %v", text, a.Text, err)
			}
			m.Again = true
		}
	}
	events, err := h.desk.Events(t.Context(), h.ours.ID)
	must(t, err)
	n := map[string]int{}
	for _, e := range events {
		n[e.Kind]++
	}
	for _, kind := range []desk.Action{desk.ActionClaim, desk.ActionReply, desk.ActionNote, desk.ActionHandle} {
		if n[string(kind)] != 1 {
			t.Errorf("%d events of %s", n[string(kind)], kind)
		}
	}
}

func TestTransferAgainOnTheRealDesk(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite(t))
	m := workgroup.Message{
		From: "zhang", Text: "@管家 转派 #" + h.ours.No + " 秩序维护 归门岗", BotName: "管家", At: h.clock.Now(),
		Chat: workgroup.Chat{CompanyID: "c1", BotID: "b1", ID: "wrEng"},
	}
	for range 2 {
		h.clock.Advance(time.Second)
		if a, err := h.router.Message(t.Context(), m); err != nil || !strings.Contains(a.Text, "转派到「秩序维护」") {
			t.Fatalf("%q, %v", a.Text, err)
		}
		m.Again = true
	}
}

func TestSingleChat(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite(t))
	alone := workgroup.Chat{CompanyID: "c1", BotID: "b1", ID: "zhang", Single: true}
	h.message(t, workgroup.Message{Chat: alone, From: "zhang", Text: "待接单"}, "#"+h.ours.No)
	h.message(t, workgroup.Message{Chat: alone, From: "zhang", Text: "接单 #" + h.ours.No}, "张师傅")
	h.message(t, workgroup.Message{Chat: alone, From: "zhang", Text: "接单 #" + h.theirs.No}, "权限")
	// The group is told of what was done outside it.
	all, err := h.ledger.ByRef(t.Context(), h.db, "case", h.ours.ID)
	must(t, err)
	found := false
	for _, d := range all {
		found = found || (d.Channel == ledger.ChannelGroup && strings.Contains(d.Text, "张师傅"))
	}
	if !found {
		t.Error("the group doesn't learn of a claim made in a 1:1 chat")
	}
}

func TestBindings(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := build(t, d)
		fresh := workgroup.Chat{CompanyID: "c1", BotID: "b1", ID: "wrNew"}
		in := func(from, text string, wants ...string) {
			t.Helper()
			h.message(t, workgroup.Message{Chat: fresh, From: from, Text: "@管家 " + text}, wants...)
		}
		in("zhang", "#"+h.ours.No+" 好的", "还没有绑定队列")
		in("zhang", "待接单", "还没有绑定队列")
		in("zhang", "绑定 工程维修", "主管")
		in("wang", "绑定 财务部", "工程维修")
		in("wang", "绑定 工程维修", "已绑定队列「工程维修」")
		in("zhang", "待接单", "#"+h.ours.No)
		in("wang", "绑定 秩序维护队列", "已绑定队列「秩序维护」")
		in("zhang", "#"+h.ours.No+" 好的", "不在本群")

		// A member whom WeCom names by a ciphertext binds by a code.
		cipher := "woCiphertextOfZhang"
		h.say(t, cipher, "接单 #"+h.ours.No, "绑定 手机号")
		h.say(t, cipher, "绑定 12345678", "不是有效的手机号")
		unknown := h.say(t, "woSomebody", "绑定 13700000009", "尾号 0009")
		known := h.say(t, cipher, "绑定 139 0000 0001", "尾号 0001")
		if strings.ReplaceAll(unknown, "0009", "0001") != known {
			t.Error("the answer tells whether a phone is registered")
		}
		h.say(t, cipher, "绑定 13900000001", "一分钟")
		var code string
		for _, x := range h.codes(t) {
			code = x
		}
		if len(h.codes(t)) != 1 {
			t.Fatalf("codes sent to %d phones", len(h.codes(t)))
		}
		h.say(t, cipher, wrong(code), "验证码不对")
		h.say(t, cipher, code, "绑定成功", "张师傅")
		h.say(t, cipher, code, "没有等待确认")
		h.say(t, cipher, "接单 #"+h.ours.No, "张师傅")
		h.log.NoLeak(t, code, "13900000001")
	})
}

// codes gives the codes on their way, by phone.
func (h *house) codes(t *testing.T) map[string]string {
	t.Helper()
	rows, err := h.db.QueryContext(t.Context(), `select address, payload from deliveries where channel = 'sms'`)
	must(t, err)
	defer func() { _ = rows.Close() }()
	out := map[string]string{}
	for rows.Next() {
		var phone string
		var raw []byte
		must(t, rows.Scan(&phone, &raw))
		var p struct {
			Params map[string]string `json:"params"`
		}
		must(t, json.Unmarshal(raw, &p))
		out[phone] = p.Params["code"]
	}
	must(t, rows.Err())
	return out
}

func wrong(code string) string {
	last := code[len(code)-1]
	return code[:len(code)-1] + string('0'+(last-'0'+1)%10)
}

func TestCardOfTheRealDesk(t *testing.T) {
	t.Parallel()
	h := build(t, dbtest.SQLite(t))
	card, err := h.router.Cards().Case(t.Context(), h.danger.ID, "a1")
	must(t, err)
	if !card.Urgent || card.Title != "#"+h.danger.No+" 电梯困人 · 3-2-1201" || card.Desc != "紧急" {
		t.Errorf("card %+v", card)
	}
	_, covered, err := h.router.Cards().Digest(t.Context(), "c1", "q-eng", "管家", "a2")
	must(t, err)
	if len(covered) != 1 || covered[h.ours.ID] != h.ours.Version {
		t.Errorf("covered %v", covered)
	}
}
