package bot_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/ledger"
)

// codeFor is the code in the SMS that the last binding request sent, or "".
func codeFor(t *testing.T, w *worldtest.World, phone string) string {
	t.Helper()
	taken, err := w.Ledger.Claim(t.Context(), ledger.ClaimQuery{Lane: ledger.LaneReply, Channels: []ledger.Channel{ledger.ChannelSMS}, Limit: 10, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	code := ""
	for _, d := range taken {
		if d.Address != phone {
			continue
		}
		for i := 0; i+6 <= len(d.Text); i++ {
			if strings.Trim(d.Text[i:i+6], "0123456789") == "" {
				code = d.Text[i : i+6]
			}
		}
	}
	return code
}

func wrong(code string) string {
	if code[0] == '9' {
		return "1" + code[1:]
	}
	return "9" + code[1:]
}

func TestBinding(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		const me = "oNewcomer"
		home := w.PhoneOnly(t, 0)
		asked := "绑定 " + home.Unit + " " + home.Phone
		answer := w.Say(t, me, asked)
		wantAll(t, answer, home.Phone[7:])
		code := codeFor(t, w, home.Phone)
		if code == "" {
			t.Fatal("no code by SMS")
		}
		wantAll(t, w.Say(t, me, asked), "一分钟") // one code a minute for a home
		wantAll(t, w.Say(t, me, wrong(code)), "还可以试 4 次")
		wantAll(t, w.Say(t, me, code), "绑定成功", home.Unit)
		r, found, err := w.Estate.ResidentByOpenID(t.Context(), w.DB, sample.CompanyID, me)
		if err != nil || !found || r.ID != home.ResidentID {
			t.Fatalf("bound to %q (%t, %v), want %s", r.ID, found, err, home.ResidentID)
		}
		w.Clock.Advance(2 * time.Minute)
		wantAll(t, w.Say(t, me, asked), "已经绑定")
		// Unfollowing erases who he is; his next words are a stranger's.
		w.Turn(t, conversation.Inbound{OpenID: me, Kind: conversation.KindEvent, Event: "unsubscribe"})
		if _, found, err := w.Estate.ResidentByOpenID(t.Context(), w.DB, sample.CompanyID, me); err != nil || found {
			t.Errorf("still bound after unfollowing (%v)", err)
		}
		for _, secret := range []string{home.Phone, code, me} {
			if strings.Contains(w.Logs.Raw(), secret) {
				t.Error("the log holds phone, code or openid")
			}
		}
	})
}

func TestBindingExpires(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	home := w.PhoneOnly(t, 0)
	w.Say(t, "oLate", "绑定 "+home.Unit+" "+home.Phone)
	code := codeFor(t, w, home.Phone)
	w.Clock.Advance(5*time.Minute + time.Second)
	wantAll(t, w.Say(t, "oLate", code), "过期")

	w.Say(t, "oGuess", "绑定 "+home.Unit+" "+home.Phone)
	code = codeFor(t, w, home.Phone)
	for range 4 {
		w.Say(t, "oGuess", wrong(code))
	}
	wantAll(t, w.Say(t, "oGuess", wrong(code)), "这次绑定已停止")
	if got := w.Say(t, "oGuess", code); strings.Contains(got, "绑定成功") {
		t.Error("the right code counts after five wrong ones")
	}

	w.Clock.Advance(10 * time.Minute)
	w.Say(t, "oChanged", "绑定 "+home.Unit+" "+home.Phone)
	code = codeFor(t, w, home.Phone)
	wantAll(t, w.Say(t, "oChanged", "取消"), "已取消")
	if got := w.Say(t, "oChanged", code); strings.Contains(got, "绑定成功") {
		t.Error("a cancelled binding was completed")
	}
}

// TestNotRegisteredLooksTheSame: nobody can try out whose phone lives where.
func TestNotRegisteredLooksTheSame(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	home, other := w.PhoneOnly(t, 0), w.PhoneOnly(t, 1)
	// The same tail, so that the answers may be compared as a whole.
	foreign := other.Phone[:7] + home.Phone[7:]
	if foreign == home.Phone {
		foreign = "1390000" + home.Phone[7:]
	}
	hear := func(openID, phone string, words ...string) []string {
		answers := []string{w.Say(t, openID, "绑定 "+home.Unit+" "+phone)}
		for _, s := range words {
			answers = append(answers, w.Say(t, openID, s))
		}
		return answers
	}
	words := []string{"000000", "查询", "取消", "撤回", "已解决"}
	unknown := hear("oUnknown", foreign, words...)
	task := w.OneCase(t, "oUnknown")
	if task.Topic != desk.TopicBinding || task.QueueID != "queue-customer_service" || strings.Contains(task.Text, foreign) {
		t.Fatalf("review task: topic %s in %s: %q", task.Topic, task.QueueID, task.Text)
	}
	if codeFor(t, w, foreign) != "" {
		t.Fatal("a code went to a phone that is not registered")
	}
	w.Clock.Advance(2 * time.Minute)
	known := hear("oKnown", home.Phone, words...)
	for i := range known {
		if known[i] != unknown[i] {
			t.Errorf("step %d: registered hears %q, not registered %q", i, known[i], unknown[i])
		}
	}
	if got := w.OneCase(t, "oUnknown"); !got.State.Open() {
		t.Errorf("the resident took back the task of staff: %s", got.State)
	}
}

// TestTwoNodesOneMatter: two messages of one resident at once on two nodes.
func TestTwoNodesOneMatter(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		node := w.Node(t)
		for i, words := range [][2]string{{"厨房漏水", "洗碗池下面一直在滴水"}, {"电梯困人了,快来", "电梯里困住人了"}, {"人工", "转人工"}} {
			h := w.Bound(t, i)
			messages := []conversation.Message{
				w.Receive(t, conversation.Inbound{OpenID: h.OpenID, Text: words[0]}),
				w.Receive(t, conversation.Inbound{OpenID: h.OpenID, Text: words[1]}),
			}
			var wg sync.WaitGroup
			for j, m := range messages {
				engine := w.Engine
				if j == 1 {
					engine = node.Engine
				}
				wg.Go(func() {
					if answer, _, err := engine.Turn(t.Context(), m, true); err != nil || answer.Empty() {
						t.Errorf("turn: %q, %v", answer.Text, err)
					}
				})
			}
			wg.Wait()
			if c := w.OneCase(t, h.OpenID); c.Version != 2 {
				t.Errorf("%v: version %d, want opened and added", words, c.Version)
			}
		}
	})
}

// TestOneMessageOneAnswer: a retry on another node gets the stored answer.
func TestOneMessageOneAnswer(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		node := w.Node(t)
		h := w.Bound(t, 0)
		m := w.Receive(t, conversation.Inbound{OpenID: h.OpenID, Text: "厨房水管漏水,麻烦派人来修"})
		answers := make([]string, 6)
		var wg sync.WaitGroup
		for i := range answers {
			engine := w.Engine
			if i%2 == 1 {
				engine = node.Engine
			}
			wg.Go(func() {
				answer, _, err := engine.Turn(t.Context(), m, true)
				if err != nil {
					t.Errorf("turn %d: %v", i, err)
				}
				answers[i] = answer.Text
			})
		}
		wg.Wait()
		for _, a := range answers {
			if a != answers[0] || a == "" {
				t.Errorf("answers differ: %q and %q", answers[0], a)
			}
		}
		w.OneCase(t, h.OpenID)
		if n := len(w.Deliveries(t, "message", m.ID, ledger.ChannelService)); n != 0 {
			t.Errorf("%d answers left by the ledger besides", n)
		}
	})
}

// TestOverBudget: an exchange that was given up is answered by a service message.
func TestOverBudget(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		for i, words := range []string{"谢谢", "厨房水管漏水,麻烦派人来修", "电梯困人了,快来"} {
			h := w.Bound(t, i)
			m := w.Receive(t, conversation.Inbound{OpenID: h.OpenID, Text: words})
			if won, _, err := w.Conversations.GiveUpExchange(t.Context(), m.ID); err != nil || !won {
				t.Fatalf("give up: %t, %v", won, err)
			}
			answer, carrier, err := w.Engine.Turn(t.Context(), m, true)
			if err != nil || carrier != conversation.CarrierService {
				t.Fatalf("carrier %q, %v", carrier, err)
			}
			sent := w.Deliveries(t, "message", m.ID, ledger.ChannelService)
			if len(sent) != 1 || sent[0].Text != answer.Text || sent[0].Address != h.OpenID {
				t.Fatalf("%s: deliveries %v", words, sent)
			}
			want := ledger.LaneReply
			if i == 2 {
				want = ledger.LaneEmergency
			}
			if sent[0].Lane != want {
				t.Errorf("%s leaves in lane %s", words, sent[0].Lane)
			}
			again, carrier, err := w.Engine.Turn(t.Context(), m, true)
			if err != nil || again.Text != answer.Text || carrier != conversation.CarrierService {
				t.Errorf("the retry: %q by %s, %v", again.Text, carrier, err)
			}
			if n := len(w.Deliveries(t, "message", m.ID, ledger.ChannelService)); n != 1 {
				t.Errorf("%d deliveries after the retry", n)
			}
		}
	})
}

// TestSweep: what a dead node stored is answered by another, once.
func TestSweep(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		node := w.Node(t)
		h := w.Bound(t, 0)
		m := w.Receive(t, conversation.Inbound{OpenID: h.OpenID, Text: "厨房水管漏水,麻烦派人来修"})
		sweep := func() {
			t.Helper()
			var wg sync.WaitGroup
			for _, e := range []*worldtest.World{w, node} {
				wg.Go(func() {
					if err := e.Engine.Sweep(t.Context()); err != nil {
						t.Errorf("sweep: %v", err)
					}
				})
			}
			wg.Wait()
		}
		sweep()
		if n := len(w.Cases(t, h.OpenID)); n != 0 {
			t.Fatalf("a message whose callback is still open was swept: %d cases", n)
		}
		crashed(t, w, m, db.At(time.Now().Add(-time.Minute)))
		sweep()
		sweep()
		c := w.OneCase(t, h.OpenID)
		sent := w.Deliveries(t, "message", m.ID, ledger.ChannelService)
		if len(sent) != 1 || !strings.Contains(sent[0].Text, "#"+c.No) {
			t.Fatalf("answers sent: %v", sent)
		}
	})
}

// TestLapsedExchange: an answer whose bytes never left goes out once as a service message.
func TestLapsedExchange(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		node := w.Node(t)
		h, done := w.Bound(t, 0), w.Bound(t, 1)
		lost := w.Receive(t, conversation.Inbound{OpenID: h.OpenID, Text: "厨房水管漏水,麻烦派人来修"})
		written := w.Receive(t, conversation.Inbound{OpenID: done.OpenID, Text: "楼道垃圾没人扫,太脏了"})
		for _, m := range []conversation.Message{lost, written} {
			if _, carrier, err := w.Engine.Turn(t.Context(), m, true); err != nil || carrier != conversation.CarrierExchange {
				t.Fatalf("turn: %s, %v", carrier, err)
			}
		}
		w.Conversations.ExchangeDone(written.ID)
		deadline := time.Now().Add(10 * time.Second)
		for count(t, w, `select count(*) from unsettled where message_id = $1`, written.ID) > 0 && time.Now().Before(deadline) {
			if err := w.Engine.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.DB.ExecContext(t.Context(), `update answers set decided_at = $1`, db.At(time.Now().Add(-time.Minute))); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			for _, e := range []*worldtest.World{w, node} {
				if err := e.Engine.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := len(w.Deliveries(t, "message", lost.ID, ledger.ChannelService)); n != 1 {
			t.Errorf("the lost answer left %d times", n)
		}
		if n := len(w.Deliveries(t, "message", written.ID, ledger.ChannelService)); n != 0 {
			t.Errorf("an answer that was written left %d times again", n)
		}
		w.OneCase(t, h.OpenID)
	})
}
