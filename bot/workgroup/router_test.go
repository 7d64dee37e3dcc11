package workgroup

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"guanjia/internal/desk"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
	"guanjia/templates"
)

// The numbers of the tests' cases: valid by the desk's own check.
var (
	noOurs, noTheirs = validNo(10001), validNo(10002)
	noUnknown        = validNo(10009)
)

func validNo(n int) string {
	for d := '0'; d <= '9'; d++ {
		if no := itoa(n) + string(d); desk.ValidNo(no) {
			return no
		}
	}
	panic("no check digit fits")
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// fakeDesk keeps cases in memory and notes what was done to them.
type fakeDesk struct {
	mu     sync.Mutex
	cases  map[string]desk.Case // by number
	events map[string][]desk.Event
	did    []string
	refuse *desk.Refused
	fail   error
	now    func() time.Time
}

func (d *fakeDesk) ByNo(_ context.Context, companyID, no string) (desk.Case, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return desk.Case{}, d.fail
	}
	c, ok := d.cases[no]
	if !ok || c.CompanyID != companyID {
		return desk.Case{}, desk.ErrNotFound
	}
	return c, nil
}

func (d *fakeDesk) ByID(_ context.Context, id string) (desk.Case, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.cases {
		if c.ID == id {
			return c, nil
		}
	}
	return desk.Case{}, desk.ErrNotFound
}

func (d *fakeDesk) Events(_ context.Context, caseID string) ([]desk.Event, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]desk.Event(nil), d.events[caseID]...), nil
}

var verbOf = map[desk.Action]string{
	desk.ActionClaim: "claim", desk.ActionReply: "reply", desk.ActionNote: "note", desk.ActionTransfer: "transfer",
	desk.ActionHandle: "handle", desk.ActionRecall: "recall", desk.ActionDraft: "draft", desk.ActionApprove: "approve",
	desk.ActionReject: "reject", desk.ActionReturn: "return", desk.ActionPromise: "promise",
}

func (d *fakeDesk) act(by desk.By, caseID string, kind desk.Action, text string, f func(c *desk.Case)) (desk.Case, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		return desk.Case{}, d.refuse
	}
	for no, c := range d.cases {
		if c.ID != caseID {
			continue
		}
		if f != nil {
			f(&c)
		}
		c.Version++
		d.cases[no] = c
		d.did = append(d.did, strings.TrimSpace(verbOf[kind]+" #"+no+" "+by.UserID+" "+text))
		d.events[caseID] = append(d.events[caseID], desk.Event{At: d.now(), Kind: string(kind), ByID: by.UserID, Text: text})
		return c, nil
	}
	return desk.Case{}, &desk.Refused{Code: desk.RefusedUnknownCase}
}

func (d *fakeDesk) Claim(_ context.Context, by desk.By, caseID string) (desk.Case, error) {
	d.mu.Lock()
	for _, c := range d.cases {
		if c.ID != caseID {
			continue
		}
		if c.OwnerID != "" && c.OwnerID != by.UserID {
			d.mu.Unlock()
			return desk.Case{}, &desk.Refused{Code: desk.RefusedTaken, Args: map[string]string{"owner": c.OwnerName}}
		}
		if c.OwnerID == by.UserID && !c.State.Waiting() {
			d.mu.Unlock()
			return c, nil
		}
	}
	d.mu.Unlock()
	return d.act(by, caseID, desk.ActionClaim, "", func(c *desk.Case) {
		c.State, c.OwnerID, c.OwnerName = desk.StateAccepted, by.UserID, by.Name
	})
}

func (d *fakeDesk) Reply(_ context.Context, by desk.By, caseID, text string) (desk.Case, time.Duration, error) {
	c, err := d.act(by, caseID, desk.ActionReply, text, func(c *desk.Case) { c.State = desk.StateInProgress })
	hold := 5 * time.Second
	if c.Emergency() {
		hold = 0
	}
	return c, hold, err
}

func (d *fakeDesk) Override(_ context.Context, by desk.By, caseID, text string) (desk.Case, time.Duration, error) {
	if !members[by.UserID].May(staff.RightSupervise) {
		return desk.Case{}, 0, &desk.Refused{Code: desk.RefusedNoRight}
	}
	c, err := d.act(by, caseID, desk.ActionReply, text, nil)
	return c, 5 * time.Second, err
}

func (d *fakeDesk) Draft(_ context.Context, by desk.By, caseID, text string) (desk.Case, error) {
	return d.act(by, caseID, desk.ActionDraft, text, nil)
}

func (d *fakeDesk) Approve(_ context.Context, by desk.By, caseID string) (desk.Case, time.Duration, error) {
	history, _ := d.Events(context.Background(), caseID)
	if _, ok := desk.PendingDraft(history); !ok {
		return desk.Case{}, 0, &desk.Refused{Code: desk.RefusedNoDraft}
	}
	c, err := d.act(by, caseID, desk.ActionApprove, "", nil)
	return c, 5 * time.Second, err
}

func (d *fakeDesk) Reject(_ context.Context, by desk.By, caseID, reason string) (desk.Case, error) {
	return d.act(by, caseID, desk.ActionReject, reason, nil)
}

func (d *fakeDesk) Return(_ context.Context, by desk.By, caseID, reason string) (desk.Case, error) {
	return d.act(by, caseID, desk.ActionReturn, reason, nil)
}

func (d *fakeDesk) Promise(_ context.Context, by desk.By, caseID string, at time.Time, reason string) (desk.Case, error) {
	if reason == "" {
		return desk.Case{}, &desk.Refused{Code: desk.RefusedExplain}
	}
	return d.act(by, caseID, desk.ActionPromise, at.UTC().Format(time.RFC3339)+" "+reason, func(c *desk.Case) { c.PromisedAt = at })
}

func (d *fakeDesk) Note(_ context.Context, by desk.By, caseID, text string) (desk.Case, error) {
	return d.act(by, caseID, desk.ActionNote, text, nil)
}

func (d *fakeDesk) Transfer(_ context.Context, by desk.By, caseID, queueName, reason string) (desk.Case, error) {
	if queueName != "秩序维护" {
		return desk.Case{}, &desk.Refused{Code: desk.RefusedUnknownQueue, Args: map[string]string{"queue": queueName}}
	}
	return d.act(by, caseID, desk.ActionTransfer, queueName+": "+reason, func(c *desk.Case) { c.QueueID = "q-order" })
}

func (d *fakeDesk) Handle(_ context.Context, by desk.By, caseID, measures string) (desk.Case, error) {
	return d.act(by, caseID, desk.ActionHandle, measures, func(c *desk.Case) { c.State = desk.StateHandled })
}

func (d *fakeDesk) Recall(_ context.Context, by desk.By, caseID string) (desk.Case, error) {
	return d.act(by, caseID, desk.ActionRecall, "", nil)
}

func (d *fakeDesk) Mine(_ context.Context, by desk.By) ([]desk.Case, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []desk.Case
	for _, c := range d.cases {
		if c.OwnerID == by.UserID {
			out = append(out, c)
		}
	}
	return out, nil
}

func (d *fakeDesk) Waiting(_ context.Context, companyID, queueID string) ([]desk.Case, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []desk.Case
	for _, c := range d.cases {
		if c.CompanyID == companyID && c.QueueID == queueID && c.State.Waiting() {
			out = append(out, c)
		}
	}
	return out, nil
}

func (d *fakeDesk) done() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.did...)
}

// fakeStaff knows zhang (a technician), li, a supervisor and a trainee.
type fakeStaff struct {
	mu    sync.Mutex
	binds []string
}

var members = map[string]staff.Member{
	"zhang": {CompanyID: "c1", UserID: "zhang", Name: "张师傅", Role: string(staff.RoleTechnician)},
	"li":    {CompanyID: "c1", UserID: "li", Name: "李师傅", Role: string(staff.RoleTechnician)},
	"wang":  {CompanyID: "c1", UserID: "wang", Name: "王主管", Role: string(staff.RoleSupervisor)},
	"xiao":  {CompanyID: "c1", UserID: "xiao", Name: "小陈", Role: string(staff.RoleTechnician), Trainee: true},
}

func (s *fakeStaff) Member(_ context.Context, companyID, from string) (staff.Member, bool, error) {
	m, ok := members[from]
	return m, ok && companyID == "c1", nil
}

func (s *fakeStaff) QueueOf(_ context.Context, c Chat) (string, bool, error) {
	if c.ID == "wrEng" {
		return "q-eng", true, nil
	}
	return "", false, nil
}

func (s *fakeStaff) QueuesOf(context.Context, string, string) ([]string, error) {
	return []string{"q-eng", "q-order"}, nil
}

func (s *fakeStaff) QueueName(_ context.Context, _, id string) (string, error) {
	return map[string]string{"q-eng": "工程维修", "q-order": "秩序维护"}[id], nil
}

func (s *fakeStaff) QueueNames(context.Context, string) ([]string, error) {
	return []string{"工程维修", "秩序维护"}, nil
}

func (s *fakeStaff) WhoMay(_ context.Context, companyID string, right staff.Right) ([]staff.Member, error) {
	var list []staff.Member
	for _, m := range members {
		if companyID == "c1" && m.May(right) {
			list = append(list, m)
		}
	}
	return list, nil
}

func (s *fakeStaff) BindGroup(_ context.Context, by staff.Member, c Chat, name string) (string, error) {
	if !by.May(staff.RightBindGroup) {
		return "", &desk.Refused{Code: refusedMayNotBind}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.binds = append(s.binds, c.ID+"="+name)
	return name, nil
}

func (s *fakeStaff) StartBind(_ context.Context, _, from, phone string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.binds = append(s.binds, from+"="+phone)
	return nil
}

func (s *fakeStaff) ConfirmBind(_ context.Context, _, _, code string) (staff.Member, error) {
	if code != "385012" {
		return staff.Member{}, &desk.Refused{Code: refusedWrongCode}
	}
	return members["zhang"], nil
}

// texts are the real ones, loaded once.
var texts = sync.OnceValues(func() (*wording.Book, error) { return wording.Load(templates.FS()) })

type bench struct {
	router *Router
	desk   *fakeDesk
	staff  *fakeStaff
	log    *bytes.Buffer
	now    time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	book, err := texts()
	if err != nil {
		t.Fatalf("texts: %v", err)
	}
	b := &bench{staff: &fakeStaff{}, log: &bytes.Buffer{}, now: time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)}
	now := func() time.Time { return b.now }
	b.desk = &fakeDesk{now: now, events: map[string][]desk.Event{}, cases: map[string]desk.Case{
		noOurs: {
			ID: "id-ours", CompanyID: "c1", No: noOurs, State: desk.StateDispatched, QueueID: "q-eng", Kind: "complaint",
			Unit: "3-2-1201", Summary: "三栋电梯又坏了，老人下不了楼，你们管不管", ResidentName: "王女士", Priority: desk.PriorityNormal,
			PromisedAt: b.now.Add(time.Hour), Version: 3,
		},
		noTheirs: {ID: "id-theirs", CompanyID: "c1", No: noTheirs, State: desk.StateDispatched, QueueID: "q-order", Summary: "门禁坏了", Version: 1},
	}}
	b.router, err = NewRouter(Deps{
		Desk: b.desk, Staff: b.staff, Book: book, ValidCaseNo: desk.ValidNo, Now: now,
		Log: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) message(from, text string) Message {
	return Message{ID: "m1", Chat: Chat{CompanyID: "c1", BotID: "b1", ID: "wrEng"}, BotName: "管家", From: from, Text: text, At: b.now}
}

func (b *bench) say(t *testing.T, m Message) string {
	t.Helper()
	a, err := b.router.Message(t.Context(), m)
	if err != nil {
		t.Fatalf("%q: %v", m.Text, err)
	}
	return a.Text
}

func TestCommands(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, from, text string
		did              string // what the desk did, empty for nothing
		says             []string
	}{
		{"claim", "zhang", "@管家 接单 #" + noOurs, "claim #" + noOurs + " zhang", []string{"张师傅", "#" + noOurs}},
		{"claim with words", "zhang", "@管家 接单 #" + noOurs + " 马上到", "claim #" + noOurs + " zhang", []string{"没有发给住户"}},
		{"reply waits", "zhang", "@管家 #" + noOurs + " 师傅十分钟到", "reply #" + noOurs + " zhang 师傅十分钟到", []string{"5 秒", "撤回 #" + noOurs}},
		{"note", "zhang", "@管家 #" + noOurs + " 备注 已联系厂家", "note #" + noOurs + " zhang 已联系厂家", []string{"内部备注"}},
		{"note without words", "zhang", "@管家 备注 #" + noOurs, "", []string{"备注内容"}},
		{"transfer", "zhang", "@管家 转派 #" + noOurs + " 秩序维护 归门岗", "transfer #" + noOurs + " zhang 秩序维护: 归门岗", []string{"秩序维护", "张师傅"}},
		{"transfer without reason", "zhang", "@管家 转派 #" + noOurs + " 秩序维护", "", []string{"转派 #" + noOurs, "工程维修"}},
		{"transfer to nowhere", "zhang", "@管家 转派 #" + noOurs + " 财务部 归财务", "", []string{"财务部", "工程维修"}},
		{"done", "zhang", "@管家 完成 #" + noOurs + " 更换门机皮带", "handle #" + noOurs + " zhang 更换门机皮带", []string{"已由张师傅办结"}},
		{"done without measures (R-013)", "zhang", "@管家 完成 #" + noOurs, "", []string{"处理措施"}},
		{"recall", "zhang", "@管家 撤回 #" + noOurs, "recall #" + noOurs + " zhang", []string{"已撤回"}},
		{"show", "zhang", "@管家 #" + noOurs, "", []string{"#" + noOurs, "3-2-1201", "已派单"}},
		{"waiting", "zhang", "@管家 待接单", "", []string{"工程维修", "#" + noOurs}},
		{"mine, none", "zhang", "@管家 我的", "", []string{"没有工单"}},
		{"help", "zhang", "@管家 帮助", "", []string{"接单 #号"}},
		{"without a number nothing leaves", "zhang", "@管家 谢谢，马上来", "", []string{"接单 #号"}},
		{"verb without a number", "zhang", "@管家 接单", "", []string{"工单号"}},
		{"notice while there are none", "zhang", "@管家 通知 突发停水 3栋", "", []string{"接单 #号"}},
		{"confirm while there are none", "zhang", "@管家 确认发送", "", []string{"接单 #号"}},

		{"wrong check digit", "zhang", "@管家 接单 #" + noOurs[:len(noOurs)-1] + string(noOurs[len(noOurs)-1]^1), "", []string{"没有这个工单号"}},
		{"unknown number", "zhang", "@管家 #" + noUnknown + " 好的", "", []string{"没有这个工单号"}},
		{"case of another group", "zhang", "@管家 #" + noTheirs + " 师傅十分钟到", "", []string{"不在本群", "没有发给住户"}},
		{"claim of another group", "zhang", "@管家 接单 #" + noTheirs, "", []string{"不在本群"}},
		{"unbound member who answers", "stranger", "@管家 #" + noOurs + " 师傅十分钟到", "", []string{"绑定 手机号", "没有发给住户"}},
		{"5,000 characters", "zhang", "@管家 #" + noOurs + " " + strings.Repeat("长", 5000), "", []string{"太长", "没有发给住户"}},
		{"5,000 characters of an unbound member", "stranger", "@管家 #" + noOurs + " " + strings.Repeat("长", 5000), "", []string{"太长"}},

		{"trainee's reply is a draft (R-093)", "xiao", "@管家 #" + noOurs + " 我来看看", "draft #" + noOurs + " xiao 我来看看", []string{"小陈", "还没有发出", "我来看看", "同意 #" + noOurs}},
		{"nothing to approve", "zhang", "@管家 同意 #" + noOurs, "", []string{"没有等待确认的草稿"}},
		{"a case given back", "zhang", "@管家 退单 #" + noOurs + " 正在别处抢修", "return #" + noOurs + " zhang 正在别处抢修", []string{"退回队列", "正在别处抢修"}},
		{"a case given back for no reason", "zhang", "@管家 退单 #" + noOurs, "", []string{"退单原因"}},
		{"a new date with its reason (R-020)", "zhang", "@管家 改期 #" + noOurs + " 明天12:00 配件明天才到", "promise #" + noOurs + " zhang 2026-11-26T04:00:00Z 配件明天才到", []string{"明天 12:00"}},
		{"a new date without one (R-020)", "zhang", "@管家 改期 #" + noOurs + " 明天12:00", "", []string{"先向住户说明原因"}},
		{"no date", "zhang", "@管家 改期 #" + noOurs + " 过几天", "", []string{"请写明新的时间"}},
		{"held words let pass (R-083)", "wang", "@管家 放行 #" + noOurs + " 我不清楚您几点在家", "reply #" + noOurs + " wang 我不清楚您几点在家", []string{"发"}},
		{"held words by who may not (R-083)", "zhang", "@管家 放行 #" + noOurs + " 我不清楚", "", []string{"只有主管"}},
		{"bind queue needs the right", "zhang", "@管家 绑定 工程维修", "", []string{"主管"}},
		{"bind queue", "wang", "@管家 绑定 工程维修", "", []string{"已绑定队列「工程维修」"}},
		{"bind phone", "stranger", "@管家 绑定 13800000001", "", []string{"尾号 0001"}},
		{"bind bad phone", "stranger", "@管家 绑定 12800000001", "", []string{"不是有效的手机号"}},
		{"code", "stranger", "@管家 385012", "", []string{"绑定成功", "张师傅", "维修师傅"}},
		{"wrong code", "stranger", "@管家 000000", "", []string{"验证码不对"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			answer := b.say(t, b.message(tc.from, tc.text))
			for _, want := range tc.says {
				if !strings.Contains(answer, want) {
					t.Errorf("answer %q lacks %q", answer, want)
				}
			}
			if got := strings.Join(b.desk.done(), "; "); got != tc.did {
				t.Errorf("the desk did %q, want %q", got, tc.did)
			}
			if log := b.log.String(); strings.Contains(log, "13800000001") || strings.Contains(log, "师傅十分钟到") {
				t.Errorf("personal data in the log: %s", log)
			}
		})
	}
}

func TestSecondClaimLearnsWho(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.say(t, b.message("zhang", "@管家 接单 #"+noOurs))
	answer := b.say(t, b.message("li", "@管家 接单 #"+noOurs))
	if !strings.Contains(answer, "张师傅") {
		t.Errorf("the loser isn't told who has it: %q", answer)
	}
}

func TestEveryRefusalHasWords(t *testing.T) {
	t.Parallel()
	for _, code := range []string{
		desk.RefusedUnknownCase, desk.RefusedUnbound, desk.RefusedNoRight, desk.RefusedTrainee, desk.RefusedTaken,
		desk.RefusedNotYours, desk.RefusedNotClaimed, desk.RefusedState, desk.RefusedCapacity, desk.RefusedMeasures,
		desk.RefusedText, desk.RefusedReason, desk.RefusedUnknownQueue, desk.RefusedSameQueue, desk.RefusedHeld,
		desk.RefusedTooLong, desk.RefusedTooLate, desk.RefusedUnreachable, "something new",
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.desk.refuse = &desk.Refused{Code: code, Args: map[string]string{"owner": "李师傅", "phrase": "不清楚", "queue": "工程维修", "state": "closed"}}
			if answer := b.say(t, b.message("zhang", "@管家 #"+noOurs+" 好的")); answer == "" {
				t.Error("a refusal without words")
			}
		})
	}
}

func TestHandledStateIsNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.desk.refuse = &desk.Refused{Code: desk.RefusedState, Args: map[string]string{"state": "closed"}}
	if answer := b.say(t, b.message("zhang", "@管家 #"+noOurs+" 好的")); !strings.Contains(answer, "已结案") {
		t.Errorf("answer %q doesn't say why", answer)
	}
}

func TestFaultIsAnErrorWithoutWords(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.desk.fail = errors.New("database away")
	_, err := b.router.Message(t.Context(), b.message("zhang", "@管家 #"+noOurs+" 师傅十分钟到"))
	if err == nil || strings.Contains(err.Error(), "师傅十分钟到") {
		t.Errorf("err = %v", err)
	}
}

func TestQuotedCase(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.message("zhang", "@管家 好的，马上到")
	m.Quote = "工单 #" + noOurs + " 住户说：快来"
	if answer := b.say(t, m); !strings.Contains(answer, "没有发给住户") || !strings.Contains(answer, "#"+noOurs) {
		t.Errorf("words with a quote only must be asked about: %q", answer)
	}
	m.Text = "@管家 接单"
	b.say(t, m)
	if got := b.desk.done(); len(got) != 1 || got[0] != "claim #"+noOurs+" zhang" {
		t.Errorf("a verb with one quoted case is explicit: %v", got)
	}
	m.Quote += " #" + noTheirs
	m.Text = "@管家 撤回"
	if answer := b.say(t, m); !strings.Contains(answer, "工单号") {
		t.Errorf("two quoted cases must not be guessed between: %q", answer)
	}
}

func TestImagesAreNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.message("zhang", "@管家 #"+noOurs+" 请看")
	m.Images = 1
	if answer := b.say(t, m); !strings.Contains(answer, "图片没有转给住户") {
		t.Errorf("answer %q", answer)
	}
}

// TestAgain: a message whose first attempt got as far as the history does
// nothing more than answer, whatever was lost of that attempt.
func TestAgain(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"@管家 #" + noOurs + " 师傅十分钟到", "@管家 #" + noOurs + " 备注 已联系厂家", "@管家 完成 #" + noOurs + " 更换门机皮带",
		"@管家 撤回 #" + noOurs, "@管家 接单 #" + noOurs,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			m := b.message("zhang", text)
			b.say(t, m)
			m.Again = true
			if answer := b.say(t, m); answer == "" {
				t.Error("no answer")
			}
			if got := b.desk.done(); len(got) != 1 {
				t.Errorf("done %d times: %v", len(got), got)
			}
		})
	}
	t.Run("a transfer, which takes the case out of the group", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		m := b.message("zhang", "@管家 转派 #"+noOurs+" 秩序维护 归门岗")
		b.say(t, m)
		m.Again = true
		if answer := b.say(t, m); !strings.Contains(answer, "秩序维护") {
			t.Errorf("answer %q", answer)
		}
		if got := b.desk.done(); len(got) != 1 {
			t.Errorf("done %d times: %v", len(got), got)
		}
	})
	t.Run("what was said before is said again", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		b.say(t, b.message("zhang", "@管家 #"+noOurs+" 好的"))
		b.now = b.now.Add(time.Minute)
		m := b.message("zhang", "@管家 #"+noOurs+" 好的")
		m.Again = true
		b.say(t, m)
		if got := b.desk.done(); len(got) != 2 {
			t.Errorf("done %d times, want 2: %v", len(got), got)
		}
	})
}

func TestClicks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	click := func(from, key string) Card {
		t.Helper()
		card, err := b.router.Click(t.Context(), Click{Chat: Chat{CompanyID: "c1", BotID: "b1", ID: "wrEng"}, BotName: "管家", From: from, TaskID: "case-" + noOurs + "-r3-x", Key: key})
		if err != nil {
			t.Fatal(err)
		}
		if card.TaskID != "case-"+noOurs+"-r3-x" {
			t.Errorf("a replacement must keep the task id, got %q", card.TaskID)
		}
		return card
	}
	first := "claim." + noOurs + ".3"
	if c := click("stranger", first); !strings.Contains(c.Note+c.Desc, "绑定 手机号") {
		t.Errorf("unbound: %+v", c)
	}
	if c := click("zhang", first); !strings.Contains(c.Desc, "已由张师傅接单") || buttonTexts(c) != "完成 转派" {
		t.Errorf("claimed: %+v", c)
	}
	if c := click("zhang", first); buttonTexts(c) != "完成 转派" {
		t.Errorf("second click: %+v", c)
	}
	if c := click("li", first); !strings.Contains(c.Desc+c.Note, "张师傅") || rowOf(c, "处理人") != "张师傅" {
		t.Errorf("stale click of another: %+v", c)
	}
	if c := click("zhang", "transfer."+noOurs+".4"); !strings.Contains(c.Desc+c.Note, "@管家 转派 #"+noOurs) {
		t.Errorf("transfer: %+v", c)
	}
	if c := click("zhang", "done."+noOurs+".4"); !strings.Contains(c.Desc, "@管家 完成 #"+noOurs) {
		t.Errorf("done: %+v", c)
	}
	if got := b.desk.done(); len(got) != 1 {
		t.Errorf("six clicks did %v", got)
	}
	b.say(t, b.message("zhang", "@管家 完成 #"+noOurs+" 修好了"))
	if c := click("li", first); buttonTexts(c) != "已办结" {
		t.Errorf("click on a card of a handled case: %+v", c)
	}
	if _, err := b.router.Click(t.Context(), Click{Chat: Chat{CompanyID: "c1", BotID: "b1", ID: "wrEng"}, From: "zhang", TaskID: "x", Key: "y"}); !errors.Is(err, ErrUnknownCard) {
		t.Errorf("err = %v", err)
	}
}

func TestClickFromAnotherGroup(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	card, err := b.router.Click(t.Context(), Click{Chat: Chat{CompanyID: "c1", BotID: "b1", ID: "wrEng"}, From: "zhang", TaskID: "case-" + noTheirs + "-r1", Key: "claim." + noTheirs + ".1"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(card.Note, "不在本群") || len(b.desk.done()) != 0 {
		t.Errorf("card %+v, done %v", card, b.desk.done())
	}
}

func buttonTexts(c Card) string {
	var s []string
	for _, b := range c.Buttons {
		s = append(s, b.Text)
	}
	return strings.Join(s, " ")
}

func rowOf(c Card, key string) string {
	for _, r := range c.Rows {
		if r.Key == key {
			return r.Value
		}
	}
	return ""
}

func TestCard(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	card, err := b.router.Cards().Case(t.Context(), "id-ours", "out/1_ä-ok")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(card.Title, "#"+noOurs+" ") || !strings.HasSuffix(card.Title, " · 3-2-1201") || runes(card.Title) > maxTitle {
		t.Errorf("title %q", card.Title)
	}
	if want := "case-" + noOurs + "-r3-out1_-ok"; card.TaskID != want {
		t.Errorf("task id %q, want %q", card.TaskID, want)
	}
	var keys []string
	for _, r := range card.Rows {
		keys = append(keys, r.Key)
		if r.Value == "" || runes(r.Value) > maxValue {
			t.Errorf("row %+v", r)
		}
	}
	if got := strings.Join(keys, " "); got != "报事人 时限 队列 状态 处理人 摘要" {
		t.Errorf("rows %s", got)
	}
	if buttonTexts(card) != "接单 转派" {
		t.Errorf("buttons %s", buttonTexts(card))
	}
}

func TestCardHidesForeignNumbers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.desk.cases[noOurs]
	c.Summary = "上次的 #123456 没修好 [点这里](http://x) **急**"
	b.desk.cases[noOurs] = c
	card, err := b.router.Cards().Case(t.Context(), "id-ours", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range card.Rows {
		if strings.Contains(r.Value, "#1") {
			t.Errorf("a number that isn't this case's: %q", r.Value)
		}
	}
	if line := b.say(t, b.message("zhang", "@管家 #"+noOurs)); strings.ContainsAny(line, "[]*") || strings.Contains(line, "#123456") {
		t.Errorf("a resident's words are not harmless: %q", line)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 12 {
		no := validNo(20000 + i)
		b.desk.cases[no] = desk.Case{ID: "id" + no, CompanyID: "c1", No: no, State: desk.StateDispatched, QueueID: "q-eng", Summary: "漏水", Priority: desk.PriorityNormal, Version: int64(i + 1)}
	}
	danger := validNo(30000)
	b.desk.cases[danger] = desk.Case{ID: "danger", CompanyID: "c1", No: danger, State: desk.StateDispatched, QueueID: "q-eng", Danger: "lift_trapped", Priority: desk.PriorityEmergency, Version: 1}
	card, covered, err := b.router.Cards().Digest(t.Context(), "c1", "q-eng", "管家", "a1")
	if err != nil {
		t.Fatal(err)
	}
	if len(covered) != 13 || covered["danger"] != 0 {
		t.Errorf("an emergency must keep its own card: %v", covered)
	}
	if len(card.Rows) != maxRows || !strings.Contains(card.Title, "14") || len(card.Buttons) == 0 {
		t.Errorf("card %+v", card)
	}
}
