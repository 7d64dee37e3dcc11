package wecom

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"guanjia/bot/workgroup"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/wecomapi"
)

func group() workgroup.Chat { return workgroup.Chat{CompanyID: "c1", BotID: "b1", ID: "wrEng"} }

func TestMessageIsStoredAndAnswered(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		v := newVendor(t)
		r := start(t, d, v, nil)
		r.up()
		v.pushJSON(message("m1", "@管家 #100016 好的\x00"))
		v.pushJSON(message("m1", "@管家 #100016 好的"))
		answers := v.untilGot(cmdRespond, 1)
		if answers[0].Headers.ReqID != "req-m1" {
			t.Errorf("answered as %q", answers[0].Headers.ReqID)
		}
		v.pushJSON(message("m2", "@管家 帮助"))
		v.untilGot(cmdRespond, 2)
		heard := r.handler.heard()
		if len(heard) != 2 || heard[0].Text != "@管家 #100016 好的" || heard[0].Chat != group() || heard[0].BotName != "管家" || heard[0].From != "zhang" {
			t.Errorf("heard %+v", heard)
		}
		eventually(t, "both noted as answered", func() bool { return open(t, d) == 0 })
	})
}

// open counts inputs whose story isn't over.
func open(t *testing.T, d *db.DB) (n int) {
	t.Helper()
	if err := d.QueryRowContext(context.Background(), `select count(*) from group_messages where answered_at is null`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOrderWithinAChat(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	r := start(t, dbtest.SQLite(t), v, nil)
	r.up()
	const n = 12
	for i := range n {
		v.pushJSON(message(fmt.Sprintf("m%02d", i), fmt.Sprintf("text %02d", i)))
	}
	v.untilGot(cmdRespond, n)
	for i, m := range r.handler.heard() {
		if want := fmt.Sprintf("text %02d", i); m.Text != want {
			t.Fatalf("heard %q as number %d", m.Text, i)
		}
	}
}

func TestClickReplacesTheCard(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	r := start(t, dbtest.SQLite(t), v, nil)
	r.up()
	v.pushJSON(press("k1", "claim.100016.1"))
	v.pushJSON(press("k1", "claim.100016.1"))
	f := v.untilGot(cmdUpdate, 1)[0]
	if f.Headers.ReqID != "req-k1" || !strings.Contains(string(f.Body), `"update_template_card"`) || !strings.Contains(string(f.Body), `"task_id":"case-100016-r1"`) {
		t.Errorf("frame %+v %s", f.Headers, f.Body)
	}
	// The flat form of an older client.
	v.pushJSON(event("req-k2", "k2", map[string]any{"eventtype": eventClick, "event_key": "done.100016.2", "task_id": "t"}))
	v.untilGot(cmdUpdate, 2)
	if len(r.handler.clicks) != 2 || r.handler.clicks[1].Key != "done.100016.2" || r.handler.clicks[0].TaskID != "case-100016-r1" {
		t.Errorf("clicks %+v", r.handler.clicks)
	}
}

func TestLostClickIsTold(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	r := start(t, dbtest.SQLite(t), v, nil)
	r.handler.onClick = func(context.Context, workgroup.Click) (workgroup.Card, error) {
		return workgroup.Card{}, errors.New("database away")
	}
	r.up()
	v.pushJSON(press("k1", "claim.100016.1"))
	f := v.untilGot(cmdSend, 1)[0]
	if text := markdownOf(t, f); !strings.Contains(text, "再点一次") {
		t.Errorf("said %q", text)
	}
	if len(v.got(cmdUpdate)) != 0 {
		t.Error("a card was replaced all the same")
	}
}

func TestFailedMessageIsTriedAgain(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	v := newVendor(t)
	r := start(t, d, v, nil)
	r.handler.onText = func(_ context.Context, m workgroup.Message, n int) (workgroup.Answer, error) {
		if n == 1 {
			return workgroup.Answer{}, errors.New("database away")
		}
		return workgroup.Answer{Text: fmt.Sprintf("again=%v", m.Again)}, nil
	}
	r.up()
	v.pushJSON(message("m1", "@管家 #100016 好的"))
	if text := markdownOf(t, v.untilGot(cmdRespond, 1)[0]); !strings.Contains(text, "已记下") {
		t.Errorf("said %q", text)
	}
	if text := markdownOf(t, v.untilGot(cmdRespond, 2)[1]); text != "again=true" {
		t.Errorf("said %q", text)
	}
	eventually(t, "noted as answered", func() bool { return open(t, d) == 0 })
}

func TestMessageThatNeverSucceedsIsGivenUp(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	v := newVendor(t)
	r := start(t, d, v, nil)
	r.handler.onText = func(context.Context, workgroup.Message, int) (workgroup.Answer, error) {
		r.clock.Advance(maxAge + time.Second)
		return workgroup.Answer{}, errors.New("always")
	}
	r.up()
	v.pushJSON(message("m1", "@管家 #100016 好的"))
	v.untilGot(cmdRespond, 2)
	if text := markdownOf(t, v.got(cmdRespond)[1]); !strings.Contains(text, "没有办成") {
		t.Errorf("said %q", text)
	}
	eventually(t, "noted as answered", func() bool { return open(t, d) == 0 })
}

func TestMessageThatCannotBeStoredIsTold(t *testing.T) {
	t.Parallel()
	file := dbtest.SQLiteFile(t)
	broken := dbtest.Open(t, file)
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	v := newVendor(t)
	r := start(t, dbtest.SQLite(t), v, func(o *Options) { o.Store = NewStore(broken, o.Store.clock) })
	r.up()
	v.pushJSON(message("m1", "@管家 #100016 师傅十分钟到"))
	if text := markdownOf(t, v.untilGot(cmdRespond, 1)[0]); !strings.Contains(text, "再发一次") {
		t.Errorf("said %q", text)
	}
	if len(r.handler.heard()) != 0 {
		t.Error("handled without having been stored")
	}
	if strings.Contains(r.log.Raw(), "师傅十分钟到") {
		t.Error("the member's words are in the log")
	}
}

// TestDatabaseAway: while PostgreSQL is stopped the socket stays, members are
// told, and afterwards all goes on; what was stored before is finished.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	server, url := dbtest.NewServer(t)
	d := dbtest.Open(t, url)
	v := newVendor(t)
	var stopping atomic.Bool
	begun, goOn := make(chan struct{}), make(chan struct{})
	r := start(t, d, v, func(o *Options) {
		o.Points = func(name string) {
			if name == PointActed && stopping.CompareAndSwap(true, false) {
				close(begun)
				<-goOn
			}
		}
	})
	r.up()
	v.pushJSON(message("m0", "before"))
	v.untilGot(cmdRespond, 1)
	stopping.Store(true)
	v.pushJSON(message("m1", "acted on, answer not stored"))
	<-begun
	server.Stop(t)
	close(goOn)
	v.pushJSON(message("m2", "never stored"))
	if text := markdownOf(t, v.untilGot(cmdRespond, 2)[1]); !strings.Contains(text, "再发一次") {
		t.Errorf("said %q", text)
	}
	server.Start(t)
	answers := v.untilGot(cmdRespond, 3)
	if text := markdownOf(t, answers[2]); text != "收到：acted on, answer not stored" {
		t.Errorf("said %q", text)
	}
	v.pushJSON(message("m3", "after"))
	v.untilGot(cmdRespond, 4)
	if heard := r.handler.heard(); len(heard) != 3 {
		t.Errorf("heard %+v", heard)
	}
	if v.subscribed != 1 || len(r.alarms) != 0 {
		t.Errorf("%d subscriptions: the socket was given up with the database", v.subscribed)
	}
	eventually(t, "all answered", func() bool { return open(t, d) == 0 })
}

// TestWorkOfADeadNode: what a killed node stored and did not finish is finished
// by the next holder of the socket.
func TestWorkOfADeadNode(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, workOfADeadNode)
}

func workOfADeadNode(t *testing.T, d *db.DB) {
	v := newVendor(t)
	r := start(t, d, v, nil)
	r.up()
	in := input{BotID: "b1", CompanyID: "c1", Kind: kindMessage, Chat: group(), From: "zhang", Text: "hello"}
	for i, reached := range []string{"stored", "handled"} {
		in.MsgID, in.ReqID = reached, "req-"+reached
		stored, fresh, err := r.store.add(t.Context(), in, "node-1", time.Hour)
		if err != nil || !fresh {
			t.Fatal(fresh, err)
		}
		if reached == "handled" {
			if err := r.store.handled(t.Context(), stored.ID, "the stored answer"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.ExecContext(t.Context(), `update group_messages set owner = 'the dead node' where id = $1`, stored.ID); err != nil {
			t.Fatal(err)
		}
		answer := markdownOf(t, v.untilGot(cmdRespond, i+1)[i])
		if reached == "handled" && answer != "the stored answer" {
			t.Errorf("said %q", answer)
		}
	}
	heard := r.handler.heard()
	if len(heard) != 1 || !heard[0].Again {
		t.Errorf("heard %+v", heard)
	}
	in.Kind, in.MsgID, in.ReqID = kindClick, "click", "req-click"
	if _, _, err := r.store.add(t.Context(), in, "the dead node", time.Hour); err != nil {
		t.Fatal(err)
	}
	if text := markdownOf(t, v.untilGot(cmdSend, 1)[0]); !strings.Contains(text, "再点一次") {
		t.Errorf("said %q", text)
	}
	eventually(t, "all answered", func() bool { return open(t, d) == 0 })
}

// TestDroppedAtEveryFrame drops the connection at each frame in turn, before
// and after the vendor accepted it. Nothing is lost; what is doubled are only
// answers and cards whose ack was lost (architecture section 4).
func TestDroppedAtEveryFrame(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for n := 1; n <= 6; n++ {
			t.Run(fmt.Sprintf("frame %d after=%v", n, after), func(t *testing.T) {
				t.Parallel()
				d := dbtest.SQLite(t)
				v := newVendor(t)
				v.react = func(_ string, i int) reaction {
					return reaction{dropBefore: i == n && !after, dropAfter: i == n && after}
				}
				r := start(t, d, v, nil)
				r.up()
				for i := range 3 {
					v.pushJSON(message(fmt.Sprintf("m%d", i), fmt.Sprint("text ", i)))
					pushed := false
					for !pushed { // what the ledger does with the outcomes
						err := r.channel.PushText(t.Context(), group(), fmt.Sprint("push ", i))
						pushed = err == nil || wecomapi.ClassOf(err) == wecomapi.ClassAmbiguous
						if !pushed {
							r.up()
						}
					}
				}
				if heard := r.handler.heard(); len(heard) > 3 {
					t.Errorf("a message was handled twice: %+v", heard)
				}
				eventually(t, "all that was stored is answered", func() bool { return open(t, d) == 0 })
				answers, heard := map[string]int{}, len(r.handler.heard())
				for _, f := range v.got(cmdRespond) {
					answers[f.Headers.ReqID]++
				}
				doubled := 0
				for _, k := range answers {
					doubled += k - 1
				}
				if len(answers) != heard || doubled > 1 || (doubled > 0 && !after) {
					t.Errorf("%d heard, answers %v", heard, answers)
				}
				sends := map[string]int{}
				for _, f := range v.got(cmdSend) {
					sends[markdownOf(t, f)]++
				}
				for text, k := range sends {
					if k != 1 {
						t.Errorf("%q was accepted %d times", text, k)
					}
				}
			})
		}
	}
}

func TestLostAckFindsAHalfOpenConnection(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	var deaf atomic.Bool
	v.react = func(cmd string, _ int) reaction {
		if cmd == cmdSubscribe {
			deaf.Store(false)
		}
		return reaction{noAck: deaf.Load()}
	}
	r := start(t, dbtest.SQLite(t), v, func(o *Options) { o.Timing.Ping, o.Timing.Ack = time.Hour, 300*time.Millisecond })
	r.up()
	deaf.Store(true)
	if class := wecomapi.ClassOf(r.channel.PushText(t.Context(), group(), "x")); class != wecomapi.ClassAmbiguous {
		t.Errorf("class %s", class)
	}
	// The heartbeat is an hour away; the missing ack alone must lead to a new connection.
	v.until("a second subscription", func() bool { return v.subscribed == 2 })
	r.up()
	eventually(t, "words on the new one", func() bool { return r.channel.PushText(t.Context(), group(), "y") == nil })
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	r := start(t, dbtest.SQLite(t), v, func(o *Options) { o.Timing.Ping = 10 * time.Millisecond })
	r.up()
	v.untilGot(cmdPing, 3)
	for _, f := range v.got(cmdPing) {
		if len(f.Body) != 0 || !strings.HasPrefix(f.Headers.ReqID, "ping_") {
			t.Errorf("ping %+v", f)
		}
	}
}

func TestNotSubscribedReconnectsAndSendsAgain(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	var refused atomic.Bool
	v.react = func(cmd string, _ int) reaction {
		if cmd == cmdSend && refused.CompareAndSwap(false, true) {
			return reaction{code: 846609}
		}
		return reaction{}
	}
	r := start(t, dbtest.SQLite(t), v, nil)
	r.up()
	if err := r.channel.PushText(t.Context(), group(), "x"); err != nil {
		t.Fatal(err)
	}
	if n := len(v.got(cmdSend)); n != 1 {
		t.Errorf("accepted %d times", n)
	}
	v.until("a second subscription", func() bool { return v.subscribed == 2 })
}

func TestKickedWhileHoldingTheLease(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	r := start(t, dbtest.SQLite(t), v, nil)
	r.up()
	// A stranger subscribes with the same bot.
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	stranger, _, err := websocket.Dial(ctx, v.url(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.CloseNow() }()
	raw, _ := encodeFrame(cmdSubscribe, "x", map[string]any{"bot_id": "bot", "secret": testBot.Secret})
	if err := stranger.Write(ctx, websocket.MessageText, raw); err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-r.alarms:
		if a.Reason != "kicked" || a.BotID != "b1" {
			t.Errorf("alarm %+v", a)
		}
	case <-ctx.Done():
		t.Fatal("no alarm")
	}
	// It doesn't fight: the stranger keeps the socket.
	if sleep(ctx, 300*time.Millisecond); v.subscribed != 2 {
		t.Errorf("%d subscriptions", v.subscribed)
	}
	if len(r.alarms) != 0 {
		t.Error("more than one alarm")
	}
	if down, ok := r.channel.Down("b1"); !ok || down == 0 {
		t.Error("the bot must count as down, and as kept")
	}
}

func TestRefusedSecret(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.secret = "another"
	r := start(t, dbtest.SQLite(t), v, nil)
	select {
	case a := <-r.alarms:
		if a.Reason != "auth" {
			t.Errorf("alarm %+v", a)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("no alarm")
	}
	v.mu.Lock()
	tries := v.frames
	v.mu.Unlock()
	if tries != 5 {
		t.Errorf("%d subscriptions tried", tries)
	}
	for _, secret := range []string{testBot.Secret, "another"} {
		if strings.Contains(r.log.Raw(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

func TestNetworkFailuresDoNotCountAsRefusals(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.react = func(_ string, n int) reaction { return reaction{dropBefore: n <= 12} }
	r := start(t, dbtest.SQLite(t), v, nil)
	r.up()
	if len(r.alarms) != 0 {
		t.Error("alarm for a bad line")
	}
}

func TestHTMLInPlaceOfASocket(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	v.html = true
	r := start(t, dbtest.SQLite(t), v, nil)
	eventually(t, "several tries", func() bool { return strings.Count(r.log.Raw(), "socket is down") >= 3 })
	if strings.Contains(r.log.Raw(), "gateway") || strings.Contains(r.log.Raw(), v.url()) {
		t.Error("the log repeats address or answer")
	}
	v.mu.Lock()
	v.html = false
	v.mu.Unlock()
	r.up()
}

func TestOddFrames(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	v := newVendor(t)
	r := start(t, d, v, nil)
	r.up()
	for _, raw := range []string{
		``, `null`, `[]`, `{`, `"x"`, `{"cmd":5}`, `{"cmd":"aibot_new_thing","headers":{"req_id":"r"}}`,
		`{"cmd":"aibot_msg_callback"}`, `{"cmd":"aibot_msg_callback","headers":{"req_id":"r"},"body":[]}`,
		`{"cmd":"aibot_msg_callback","headers":{"req_id":"r"},"body":{"msgid":"s","from":{"userid":"sys"},"msgtype":"text","text":{"content":"x"}}}`,
		`{"cmd":"aibot_event_callback","headers":{"req_id":"r"},"body":{"event":{"eventtype":"auth_change_event"}}}`,
		`{"cmd":"aibot_event_callback","headers":{"req_id":"r"},"body":{"event":{"eventtype":"feedback_event"}}}`,
		`{"headers":{"req_id":"nobody waits"},"errcode":0}`,
		`<html>`,
	} {
		v.push([]byte(raw))
	}
	big := message("big", strings.Repeat("长", 350_000)) // 1 MB
	v.pushJSON(big)
	v.untilGot(cmdRespond, 1)
	if v.subscribed != 1 {
		t.Errorf("%d subscriptions: an odd frame broke the connection", v.subscribed)
	}
	heard := r.handler.heard()
	if len(heard) != 1 || len(heard[0].Text) != 1_050_000 {
		t.Errorf("heard %d messages", len(heard))
	}
	var kept int
	if err := d.QueryRowContext(t.Context(), `select length(body) from group_messages where msgid = 'big'`).Scan(&kept); err != nil || kept != 350_000 {
		t.Errorf("kept %d characters, %v", kept, err)
	}
	// A frame beyond the limit breaks the connection, which is made anew.
	v.push([]byte(`{"cmd":"x","body":"` + strings.Repeat("a", maxFrame) + `"}`))
	v.until("a second subscription", func() bool { return v.subscribed == 2 })
}

func TestMixedAndQuotedMessages(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	r := start(t, dbtest.SQLite(t), v, nil)
	r.up()
	m := message("m1", "")
	body := m["body"].(map[string]any)
	body["msgtype"] = "mixed"
	body["mixed"] = map[string]any{"msg_item": []any{
		map[string]any{"msgtype": "text", "text": map[string]any{"content": "@管家 #100016 请看"}},
		map[string]any{"msgtype": "image", "image": map[string]any{"url": "http://x"}},
	}}
	body["quote"] = map[string]any{"msgtype": "markdown", "markdown": map[string]any{"content": "工单 #100016"}}
	v.pushJSON(m)
	m = message("m2", "")
	body = m["body"].(map[string]any)
	delete(body, "chatid")
	body["chattype"], body["msgtype"], body["voice"] = "single", "voice", map[string]any{"content": "我的"}
	v.pushJSON(m)
	v.untilGot(cmdRespond, 2)
	for _, got := range r.handler.heard() {
		switch got.Chat.Single {
		case false:
			if got.Text != "@管家 #100016 请看" || got.Images != 1 || got.Quote != "工单 #100016" {
				t.Errorf("mixed: %+v", got)
			}
		case true:
			if got.Text != "我的" || got.Chat.ID != "zhang" {
				t.Errorf("voice: %+v", got)
			}
		}
	}
}

func TestWelcome(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	r := start(t, dbtest.SQLite(t), v, nil)
	r.up()
	v.pushJSON(event("req-w", "w1", map[string]any{"eventtype": eventEnter}))
	f := v.untilGot(cmdWelcome, 1)[0]
	if f.Headers.ReqID != "req-w" || !strings.Contains(string(f.Body), "接单") {
		t.Errorf("frame %s", f.Body)
	}
}

func TestExpiredExchangeIsPushed(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	v := newVendor(t)
	v.react = func(cmd string, _ int) reaction {
		if cmd == cmdRespond {
			return reaction{code: 846605}
		}
		return reaction{}
	}
	r := start(t, d, v, nil)
	r.up()
	v.pushJSON(message("m1", "x"))
	if text := markdownOf(t, v.untilGot(cmdSend, 1)[0]); text != "收到：x" {
		t.Errorf("said %q", text)
	}
	eventually(t, "noted as answered", func() bool { return open(t, d) == 0 })
}

func TestPushIsRefusedInsideATransaction(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	v := newVendor(t)
	r := start(t, d, v, nil)
	r.up()
	err := d.InTx(t.Context(), "test", func(ctx context.Context, _ *db.Tx) error {
		return r.channel.PushText(ctx, group(), "x")
	})
	if !errors.Is(err, wecomapi.ErrInTransaction) || len(v.got(cmdSend)) != 0 {
		t.Errorf("err = %v", err)
	}
}

func TestStopFinishesWhatIsInHand(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	v := newVendor(t)
	r := start(t, d, v, nil)
	begun, goOn := make(chan struct{}), make(chan struct{})
	r.handler.onText = func(context.Context, workgroup.Message, int) (workgroup.Answer, error) {
		close(begun)
		<-goOn
		return workgroup.Answer{Text: "done"}, nil
	}
	r.up()
	v.pushJSON(message("m1", "x"))
	<-begun
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.stop()
	}()
	eventually(t, "draining", r.channel.inbox.draining)
	v.pushJSON(message("m2", "y")) // only stored, for the next holder
	eventually(t, "m2 stored", func() bool { return open(t, d) == 2 })
	close(goOn)
	<-stopped
	if got := v.got(cmdRespond); len(got) != 1 || markdownOf(t, got[0]) != "done" {
		t.Errorf("answers %v", got)
	}
	var owners int
	if err := d.QueryRowContext(t.Context(), `select count(*) from bot_sockets`).Scan(&owners); err != nil || owners != 0 {
		t.Errorf("%d leases left, %v", owners, err)
	}
	next := start(t, d, v, func(o *Options) { o.Owner = "node-2" })
	next.up()
	v.untilGot(cmdRespond, 2)
	if heard := next.handler.heard(); len(heard) != 1 || heard[0].Text != "y" {
		t.Errorf("heard %+v", heard)
	}
}

// TestOnlyOneNodeHoldsTheSocket: the second waits, takes over when the first is
// gone, and neither raises an alarm.
func TestOnlyOneNodeHoldsTheSocket(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		v := newVendor(t)
		one := start(t, d, v, nil)
		one.up()
		two := start(t, d, v, func(o *Options) { o.Owner = "node-2" })
		sleep(t.Context(), 600*time.Millisecond)
		if v.subscribed != 1 || len(two.channel.Held()) != 0 || len(two.channel.sending()) != 0 {
			t.Errorf("%d subscriptions, second holds %v", v.subscribed, two.channel.Held())
		}
		// The first loses its lease without knowing: the second takes over, the
		// first is kicked, sees why, and keeps still.
		if _, err := d.ExecContext(t.Context(), `update bot_sockets set owner = 'node-2'`); err != nil {
			t.Fatal(err)
		}
		two.up()
		eventually(t, "the first lets go", func() bool { return len(one.channel.Held()) == 0 })
		if len(one.alarms)+len(two.alarms) != 0 {
			t.Error("alarm for an orderly change")
		}
		two.stop()
		one.up()
	})
}
