package wecom_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/bot/workgroup"
	"guanjia/bot/workgroup/wecom"
	"guanjia/internal/clock"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/desk"
	"guanjia/internal/ledger"
	"guanjia/internal/sandbox/simcore"
	"guanjia/internal/sandbox/simwecom"
	"guanjia/internal/staff"
	"guanjia/internal/telemetry/telemetrytest"
	"guanjia/internal/wecomapi"
	"guanjia/internal/wording"
	"guanjia/templates"
)

// These tests run the channel against the product's own simulator, which
// enforces what the vendor enforces: the card's schema, the five seconds of a
// click, the allowance of a chat, one socket a bot.

// oneCase is a desk with a single case.
type oneCase struct {
	workgroup.Desk // what isn't needed here
	mu             sync.Mutex
	c              desk.Case
	also           []desk.Case // that wait in the same queue
	said           []string
}

func newOneCase() *oneCase {
	no := ""
	for n := 100010; no == ""; n++ {
		if desk.ValidNo(fmt.Sprint(n)) {
			no = fmt.Sprint(n)
		}
	}
	return &oneCase{c: desk.Case{
		ID: "case-1", CompanyID: "c1", No: no, State: desk.StateDispatched, QueueID: "q", Unit: "3-2-1201", Version: 1, Priority: desk.PriorityNormal,
		Summary: "三栋电梯又坏了，老人下不了楼，你们管不管，已经第三次了，再不来我就投诉", ResidentName: "王女士",
	}}
}

func (d *oneCase) ByNo(_ context.Context, _, no string) (desk.Case, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if no != d.c.No {
		return desk.Case{}, desk.ErrNotFound
	}
	return d.c, nil
}

func (d *oneCase) ByID(context.Context, string) (desk.Case, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.c, nil
}

func (d *oneCase) Events(context.Context, string) ([]desk.Event, error) { return nil, nil }

func (d *oneCase) Claim(_ context.Context, by desk.By, _ string) (desk.Case, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.c.OwnerID {
	case "":
		d.c.OwnerID, d.c.OwnerName, d.c.State = by.UserID, by.Name, desk.StateAccepted
		d.c.Version++
	case by.UserID:
	default:
		return desk.Case{}, &desk.Refused{Code: desk.RefusedTaken, Args: map[string]string{"owner": d.c.OwnerName}}
	}
	return d.c, nil
}

func (d *oneCase) Reply(_ context.Context, _ desk.By, _, text string) (desk.Case, time.Duration, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = append(d.said, text)
	return d.c, 0, nil
}

func (d *oneCase) Waiting(context.Context, string, string) ([]desk.Case, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]desk.Case{d.c}, d.also...), nil
}

func (d *oneCase) heard() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.said...)
}

type twoMembers struct{ workgroup.Staff }

func (twoMembers) Member(_ context.Context, _, from string) (staff.Member, bool, error) {
	names := map[string]string{"zhang": "张师傅", "li": "李师傅"}
	return staff.Member{CompanyID: "c1", UserID: from, Name: names[from], Role: string(staff.RoleTechnician)}, names[from] != "", nil
}

func (twoMembers) QueueOf(context.Context, workgroup.Chat) (string, bool, error) {
	return "q", true, nil
}

func (twoMembers) QueueName(context.Context, string, string) (string, error) {
	return "工程维修", nil
}

type rig struct {
	t       *testing.T
	url     string
	core    *simcore.Core
	channel *wecom.Channel
	desk    *oneCase
	cards   *wecom.CardSender
	texts   *wecom.TextSender
	log     *telemetrytest.Log
}

var book = sync.OnceValues(func() (*wording.Book, error) { return wording.Load(templates.FS()) })

func newRig(t *testing.T) *rig {
	t.Helper()
	// The allowance of a chat is counted by the product on the machine's clock
	// and by the simulator on its own, so that clock runs.
	core := simcore.New(clock.System(), nil)
	sim := simwecom.New(core)
	err := sim.LoadWorld(simcore.World{
		Bots:   []simcore.Bot{{BotID: "bot1", Secret: "botsecret", Name: "管家"}},
		Groups: []simcore.Group{{ChatID: "wrEng", Name: "工程群", Members: []string{"zhang", "li", "stranger"}, Spoken: true, Bots: []string{"bot1"}}},
		Staff:  []simcore.Staff{{UserID: "zhang", Name: "张三"}, {UserID: "li", Name: "李四"}, {UserID: "stranger", Name: "王五"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	router := chi.NewRouter()
	sim.Routes(router)
	server := httptest.NewServer(router)
	r := &rig{t: t, url: server.URL, core: core, desk: newOneCase(), log: telemetrytest.Capture(t)}
	words, err := book()
	if err != nil {
		t.Fatal(err)
	}
	handler, err := workgroup.NewRouter(workgroup.Deps{
		Desk: r.desk, Staff: twoMembers{}, Book: words, ValidCaseNo: desk.ValidNo, Now: clock.System().Now, Log: r.log.Logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	d := dbtest.SQLite(t)
	door, err := wecomapi.New(wecomapi.Options{Socket: "ws" + strings.TrimPrefix(server.URL, "http") + "/openws.work.weixin.qq.com"})
	if err != nil {
		t.Fatal(err)
	}
	timing := wecom.DefaultTiming()
	timing.Ack, timing.Sweep, timing.BackoffMin, timing.BackoffMax = 2*time.Second, 100*time.Millisecond, 10*time.Millisecond, 100*time.Millisecond
	r.channel = wecom.New(wecom.Options{
		URL: door.SocketURL(), Lease: wecom.SoleNode{}, Owner: "n", Store: wecom.NewStore(d, clock.System()), Handler: handler, Book: words,
		Timing: timing, HTTP: server.Client(), Log: r.log.Logger,
		Bots: func(context.Context) ([]wecom.Bot, error) {
			return []wecom.Bot{{ID: "b1", CompanyID: "c1", BotID: "bot1", Secret: "botsecret", Name: "管家"}}, nil
		},
	})
	r.cards, r.texts = wecom.NewCardSender(r.channel, handler.Cards(), 0), wecom.NewTextSender(r.channel)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.channel.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		stopCtx, stop := context.WithTimeout(context.Background(), 20*time.Second)
		defer stop()
		if err := core.Stop(stopCtx); err != nil {
			t.Errorf("stop the simulator: %v", err)
		}
		door.Close()
		server.Close()
	})
	r.until("a connection", r.up)
	return r
}

func (r *rig) up() bool {
	down, ok := r.channel.Down("b1")
	return ok && down == 0
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			r.t.Fatalf("never: %s", what)
		}
	}
}

type item struct {
	Seq  int64  `json:"seq"`
	Rev  int64  `json:"rev"`
	Type string `json:"type"`
	Text string `json:"text"`
	From struct {
		Kind string `json:"kind"`
	} `json:"from"`
	Card struct {
		Title   string `json:"title"`
		Desc    string `json:"desc"`
		TaskID  string `json:"task_id"`
		Rows    []struct{ Key, Value string }
		Buttons []struct{ Key, Text string }
	} `json:"card"`
}

func (r *rig) http(method, path string, body, answer any) {
	r.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, r.url+path, bytes.NewReader(raw))
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err = io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, raw, err)
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		r.t.Fatal(err)
	}
}

// chat gives what the bot put into the group.
func (r *rig) chat() (items []item) {
	r.t.Helper()
	var answer struct {
		Items []item `json:"items"`
	}
	r.http(http.MethodGet, "/sim/groups/wrEng/chat?after=0", nil, &answer)
	for _, it := range answer.Items {
		if it.From.Kind == "bot" {
			items = append(items, it)
		}
	}
	return items
}

func (r *rig) say(from, text string) {
	r.t.Helper()
	var answer struct {
		Heard bool `json:"heard"`
	}
	r.http(http.MethodPost, "/sim/groups/wrEng/messages", map[string]any{"from": from, "text": text}, &answer)
}

func (r *rig) click(from string, seq int64, key string) (status string) {
	r.t.Helper()
	var answer struct {
		Status string `json:"status"`
	}
	r.http(http.MethodPost, "/sim/groups/wrEng/clicks", map[string]any{"from": from, "seq": seq, "key": key}, &answer)
	return answer.Status
}

func (r *rig) sendCard(n int) ledger.Outcome {
	return r.cards.Send(context.Background(), ledger.Delivery{
		ID: "d", CompanyID: "c1", Channel: ledger.ChannelCard, AccountID: "b1", Address: "wrEng", Lane: ledger.LaneCard, RefKind: "case", RefID: "case-1",
	}, ledger.Attempt{OutID: fmt.Sprint("out-", n)})
}

func (r *rig) fault(f simcore.Fault) {
	r.t.Helper()
	if err := r.core.Faults.Set([]simcore.Fault{f}); err != nil {
		r.t.Fatal(err)
	}
}

func TestCardThroughTheSimulator(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if o := r.sendCard(1); o.Kind != ledger.OK {
		t.Fatalf("the simulator refuses the card: %+v", o)
	}
	card := r.chat()[0]
	if !strings.HasPrefix(card.Card.Title, "#"+r.desk.c.No+" ") || len(card.Card.Rows) != 6 || len(card.Card.Buttons) != 2 || card.Card.Buttons[0].Text != "接单" {
		t.Fatalf("card %+v", card.Card)
	}
	key := card.Card.Buttons[0].Key
	if got := r.click("zhang", card.Seq, key); got != "replaced" {
		t.Fatalf("click: %s", got)
	}
	replaced := r.chat()[0]
	if replaced.Seq != card.Seq || replaced.Rev <= card.Rev || replaced.Card.Buttons[0].Text != "完成" {
		t.Errorf("card %+v", replaced)
	}
	for _, from := range []string{"zhang", "li", "stranger"} { // second, late and unbound
		if got := r.click(from, card.Seq, replaced.Card.Buttons[0].Key); got != "replaced" {
			t.Errorf("click of %s: %s", from, got)
		}
	}
	if r.desk.c.OwnerID != "zhang" || r.desk.c.Version != 2 {
		t.Errorf("case %+v", r.desk.c)
	}
	if o := r.sendCard(2); o.Kind != ledger.OK {
		t.Errorf("the same case once more: %+v", o)
	}
}

func TestTalkThroughTheSimulator(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.say("zhang", "今天谁值班")
	r.say("zhang", "@管家 谢谢")
	r.say("zhang", "@管家 #"+r.desk.c.No+" 师傅十分钟到")
	r.say("stranger", "@管家 #"+r.desk.c.No+" 我来答")
	r.say("zhang", "@管家 #"+r.desk.c.No+" "+strings.Repeat("长", 5000))
	r.until("four answers", func() bool { return len(r.chat()) == 4 })
	answers := r.chat()
	for i, want := range []string{"接单 #号", "#" + r.desk.c.No, "绑定 手机号", "太长"} {
		if !strings.Contains(answers[i].Text, want) {
			t.Errorf("answer %d: %q lacks %q", i, answers[i].Text, want)
		}
	}
	if said := r.desk.heard(); len(said) != 1 || said[0] != "师傅十分钟到" {
		t.Errorf("to the resident: %v", said)
	}
	r.log.NoLeak(t, "师傅十分钟到", "botsecret")
}

// TestFaultsOfTheSimulator injects what goes wrong with a real vendor. After
// each of them a member is answered once, and a card arrives.
func TestFaultsOfTheSimulator(t *testing.T) {
	t.Parallel()
	for _, f := range []simcore.Fault{
		{Target: "wecom.socket", Kind: "disconnect", Times: 2},
		{Target: "wecom.respond", Kind: "errcode", Times: 2},
		{Target: "wecom.respond", Kind: "disconnect", Times: 2},
		{Target: "wecom.respond", Kind: "timeout_before", Times: 1, MS: 10},
		{Target: "wecom.send", Kind: "disconnect", Times: 1},
		{Target: "wecom.send", Kind: "timeout_before", Times: 1, MS: 10},
		{Target: "wecom.send", Kind: "slow", Times: 2, MS: 200},
		{Target: "wecom.callback", Kind: "duplicate", Times: 2},
		{Target: "wecom.callback", Kind: "delay", Times: 1, MS: 100},
	} {
		t.Run(f.Target+" "+f.Kind, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.fault(f)
			r.say("zhang", "@管家 #"+r.desk.c.No+" 师傅十分钟到")
			r.until("an answer", func() bool { return len(r.texted()) > 0 })
			n := 0
			r.until("a card", func() bool {
				n++
				return r.sendCard(n).Kind == ledger.OK
			})
			if said := r.desk.heard(); len(said) != 1 {
				t.Errorf("said to the resident %d times", len(said))
			}
			if got := r.texted(); len(got) != 1 {
				t.Errorf("answered %d times: %+v", len(got), got)
			}
		})
	}
}

func (r *rig) texted() (texts []item) {
	for _, it := range r.chat() {
		if it.Type != "card" {
			texts = append(texts, it)
		}
	}
	return texts
}

// TestDigestThroughTheSimulator: the digest is a card that the vendor takes,
// and its button is answered.
func TestDigestThroughTheSimulator(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 20 {
		c := r.desk.c
		c.ID, c.No = fmt.Sprint("other-", i), fmt.Sprint(200000+i)
		r.desk.also = append(r.desk.also, c)
	}
	for n := range 50 {
		if o := r.sendCard(n); o.Kind != ledger.OK {
			t.Fatalf("card %d: %+v", n, o)
		}
	}
	items := r.chat()
	last := items[len(items)-1]
	if len(items) > 30 || !strings.Contains(last.Card.Title, "21") || len(last.Card.Rows) != 6 {
		t.Fatalf("%d items, last %+v", len(items), last.Card)
	}
	if got := r.click("zhang", last.Seq, last.Card.Buttons[0].Key); got != "replaced" {
		t.Errorf("click: %s", got)
	}
}

// TestStormThroughTheSimulator: the vendor's own count agrees that its
// allowance was kept.
func TestStormThroughTheSimulator(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sent := map[ledger.OutcomeKind]int{}
	for n := range 50 {
		sent[r.sendCard(n).Kind]++
	}
	if sent[ledger.OK] == 0 || sent[ledger.Throttled] == 0 || sent[ledger.OK] > 30 {
		t.Errorf("outcomes %v", sent)
	}
	for _, c := range r.core.Counters.Report().Calls {
		if strings.Contains(c.Outcome, "45009") {
			t.Errorf("the vendor had to refuse: %+v", c)
		}
	}
	r.say("zhang", "@管家 #"+r.desk.c.No)
	r.until("a member is still answered", func() bool { return len(r.texted()) == 1 })
}
