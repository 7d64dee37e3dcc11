package wecom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"guanjia/bot/workgroup"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/ledger"
	"guanjia/internal/telemetry/telemetrytest"
	"guanjia/internal/wecomapi"
)

// fakeCards draws a card of any case; all of them wait in one queue.
type fakeCards struct {
	mu     sync.Mutex
	rev    map[string]int64
	urgent bool
	fail   error
}

func (c *fakeCards) Case(_ context.Context, caseID, suffix string) (workgroup.Card, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return workgroup.Card{}, c.fail
	}
	if c.rev[caseID] == 0 {
		c.rev[caseID] = 1
	}
	return workgroup.Card{
		TaskID: "case-" + caseID + "-r1-" + suffix, Title: "#" + caseID + " 漏水 · 3-2-1201", Urgent: c.urgent, CaseID: caseID, QueueID: "q", Rev: c.rev[caseID],
		Rows:    []workgroup.Row{{Key: "状态", Value: "已派单"}, {Key: "处理人"}},
		Buttons: []workgroup.Button{{Text: "接单", Key: "claim." + caseID + ".1", Style: workgroup.StylePrimary}},
	}, nil
}

func (c *fakeCards) Notice(_ context.Context, _, noticeID, suffix string) (workgroup.Card, error) {
	return workgroup.Card{TaskID: "notice-" + noticeID + "-r0-" + suffix, Title: noticeID + " 突发停水", Urgent: true,
		Buttons: []workgroup.Button{{Text: "确认发送", Key: "nsend." + noticeID + ".0", Style: workgroup.StylePrimary}}}, nil
}

func (c *fakeCards) Digest(_ context.Context, _, _, botName, suffix string) (workgroup.Card, map[string]int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	covered := map[string]int64{}
	for i := range 60 {
		covered[fmt.Sprint("case", i)] = 1
	}
	return workgroup.Card{TaskID: "list-" + suffix, Title: botName + " 60", Buttons: []workgroup.Button{{Text: "刷新", Key: "list", Style: workgroup.StylePlain}}}, covered, nil
}

func cardDelivery(id string) ledger.Delivery {
	return ledger.Delivery{
		ID: "d-" + id, CompanyID: "c1", Channel: ledger.ChannelCard, AccountID: "b1", Address: "wrEng", Lane: ledger.LaneCard, Class: ledger.ClassCard,
		RefKind: "case", RefID: id,
	}
}

func TestCardSender(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, sendCard)
}

func sendCard(t *testing.T, d *db.DB) {
	v := newVendor(t)
	r := start(t, d, v, nil)
	s := NewCardSender(r.channel, &fakeCards{rev: map[string]int64{}}, 8*time.Hour)
	if s.Accounts() == nil {
		t.Error("no accounts must not mean all accounts")
	}
	r.up()
	if got := s.Accounts(); len(got) != 1 || got[0] != "b1" {
		t.Errorf("accounts %v", got)
	}
	o := s.Send(t.Context(), cardDelivery("100016"), ledger.Attempt{OutID: "a1"})
	if o.Kind != ledger.OK || o.VendorID != "case-100016-r1-a1" {
		t.Fatalf("outcome %+v", o)
	}
	var body struct {
		ChatID   string `json:"chatid"`
		ChatType int    `json:"chat_type"`
		MsgType  string `json:"msgtype"`
		Card     struct {
			Type   string `json:"card_type"`
			TaskID string `json:"task_id"`
			Rows   []struct {
				Key   string `json:"keyname"`
				Value string `json:"value"`
			} `json:"horizontal_content_list"`
			Buttons []struct {
				Text  string `json:"text"`
				Style int    `json:"style"`
				Key   string `json:"key"`
			} `json:"button_list"`
		} `json:"template_card"`
	}
	if err := json.Unmarshal(v.untilGot(cmdSend, 1)[0].Body, &body); err != nil {
		t.Fatal(err)
	}
	if body.ChatID != "wrEng" || body.ChatType != 2 || body.MsgType != "template_card" || body.Card.Type != "button_interaction" ||
		body.Card.TaskID != "case-100016-r1-a1" || len(body.Card.Rows) != 2 || body.Card.Rows[1].Value == "" || body.Card.Buttons[0].Style != 1 {
		t.Errorf("body %+v", body)
	}
	// Once a shift the hint follows.
	if text := markdownOf(t, v.untilGot(cmdSend, 2)[1]); !strings.Contains(text, "@管家 接单 #号") {
		t.Errorf("hint %q", text)
	}
	s.Send(t.Context(), cardDelivery("100025"), ledger.Attempt{OutID: "a2"})
	if n := len(v.got(cmdSend)); n != 3 {
		t.Errorf("%d frames: the hint came twice in a shift", n)
	}
	r.clock.Advance(8 * time.Hour)
	s.Send(t.Context(), cardDelivery("100034"), ledger.Attempt{OutID: "a3"})
	if n := len(v.got(cmdSend)); n != 5 {
		t.Errorf("%d frames: no hint in the next shift", n)
	}
}

// TestStorm: sixty cases at once into one chat. Nobody exceeds the vendor's
// allowance, one digest stands for those that found no room, and an emergency
// still passes with a card of its own.
func TestStorm(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	r := start(t, dbtest.SQLite(t), v, nil)
	r.up()
	cards := &fakeCards{rev: map[string]int64{}}
	s := NewCardSender(r.channel, cards, 0)
	kinds := map[ledger.OutcomeKind]int{}
	var digests int
	for i := range 60 {
		o := s.Send(t.Context(), cardDelivery(fmt.Sprint("case", i)), ledger.Attempt{OutID: fmt.Sprint("a", i)})
		kinds[o.Kind]++
		if strings.HasPrefix(o.VendorID, "list-") {
			digests++
		}
	}
	if kinds[ledger.OK] != 60 || digests != 1 {
		t.Errorf("outcomes %v, %d digests", kinds, digests)
	}
	if n := len(v.got(cmdSend)); n != perMinute-spareMinute {
		t.Errorf("%d frames went out", n)
	}
	// A later change of a covered case is news, and waits for room.
	cards.mu.Lock()
	cards.rev["case50"] = 2
	cards.mu.Unlock()
	if o := s.Send(t.Context(), cardDelivery("case50"), ledger.Attempt{OutID: "b"}); o.Kind != ledger.Throttled || o.RetryAfter <= 0 {
		t.Errorf("outcome %+v", o)
	}
	cards.urgent = true
	d := cardDelivery("danger")
	d.Lane = ledger.LaneEmergency
	if o := s.Send(t.Context(), d, ledger.Attempt{OutID: "c"}); o.Kind != ledger.OK {
		t.Errorf("an emergency found no room: %+v", o)
	}
	// And a member is still answered.
	v.pushJSON(message("m1", "x"))
	v.untilGot(cmdRespond, 1)
}

func TestVendorRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		code int
		want ledger.OutcomeKind
	}{
		{93001, ledger.Unreachable}, {93006, ledger.Unreachable}, {93008, ledger.Unreachable}, {40008, ledger.Permanent},
		{45009, ledger.Throttled}, {-1, ledger.Retry}, {987654, ledger.Retry},
	} {
		t.Run(fmt.Sprint(tc.code), func(t *testing.T) {
			t.Parallel()
			v := newVendor(t)
			v.react = func(cmd string, _ int) reaction {
				if cmd == cmdSend {
					return reaction{code: tc.code}
				}
				return reaction{}
			}
			r := start(t, dbtest.SQLite(t), v, nil)
			r.up()
			s := NewTextSender(r.channel)
			d := ledger.Delivery{ID: "d", CompanyID: "c1", AccountID: "b1", Address: "wrEng", Lane: ledger.LaneCard, Text: "words of a resident"}
			o := s.Send(t.Context(), d, ledger.Attempt{})
			if o.Kind != tc.want || o.Code != fmt.Sprint(tc.code) {
				t.Errorf("outcome %+v", o)
			}
			if tc.code == 45009 {
				if o := s.Send(t.Context(), d, ledger.Attempt{}); o.Kind != ledger.Throttled || o.Code != "chat_allowance" {
					t.Errorf("the chat isn't kept quiet: %+v", o)
				}
			}
			r.log.NoLeak(t, "words of a resident", testBot.Secret)
		})
	}
}

func TestSocketDown(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	var down bool
	r := start(t, dbtest.SQLite(t), v, func(o *Options) { o.Timing.WebhookAfter = 300 * time.Millisecond })
	r.up()
	v.mu.Lock()
	v.html, down = true, true
	v.mu.Unlock()
	v.drop()
	eventually(t, "down", func() bool { d, _ := r.channel.Down("b1"); return d > 0 })
	s := NewCardSender(r.channel, &fakeCards{rev: map[string]int64{}}, 0)
	normal, danger := cardDelivery("1"), cardDelivery("2")
	danger.Lane, danger.Plan = ledger.LaneEmergency, []ledger.Hop{{Channel: ledger.ChannelWebhook, Address: "wrEng"}}
	if got := s.Accounts(); len(got) != 0 {
		t.Errorf("deliveries of a bot that is down for a moment must wait untouched, got %v", got)
	}
	for _, d := range []ledger.Delivery{normal, danger} {
		if o := s.Send(t.Context(), d, ledger.Attempt{}); o.Kind != ledger.Throttled {
			t.Errorf("down for a moment: %+v", o)
		}
	}
	eventually(t, "down for long", func() bool { d, _ := r.channel.Down("b1"); return d > 300*time.Millisecond })
	if got := s.Accounts(); len(got) != 1 {
		t.Errorf("accounts %v: emergencies could not take another way", got)
	}
	if o := s.Send(t.Context(), danger, ledger.Attempt{}); o.Kind != ledger.Unreachable {
		t.Errorf("an emergency must take another way: %+v", o)
	}
	if o := s.Send(t.Context(), normal, ledger.Attempt{}); o.Kind != ledger.Throttled || o.RetryAfter < 10*time.Second {
		t.Errorf("all else waits: %+v", o)
	}
	danger.Plan = nil
	if o := s.Send(t.Context(), danger, ledger.Attempt{}); o.Kind != ledger.Throttled {
		t.Errorf("without another way it waits: %+v", o)
	}
	danger.AccountID = "somebody else's"
	if o := s.Send(t.Context(), danger, ledger.Attempt{}); o.Kind != ledger.Throttled || o.Code != "other_node" {
		t.Errorf("outcome %+v", o)
	}
	_ = down
}

func TestCardNotDrawn(t *testing.T) {
	t.Parallel()
	v := newVendor(t)
	r := start(t, dbtest.SQLite(t), v, nil)
	r.up()
	s := NewCardSender(r.channel, &fakeCards{fail: errors.New("database away")}, 0)
	if o := s.Send(t.Context(), cardDelivery("1"), ledger.Attempt{}); o.Kind != ledger.Retry {
		t.Errorf("outcome %+v", o)
	}
}

type oneKey struct{ key string }

func (k oneKey) WebhookKey(_ context.Context, companyID, _, chatID string) (string, bool, error) {
	return k.key, companyID == "c1" && chatID == "wrEng", nil
}

func TestWebhookSender(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var bodies []string
	answer := `{"errcode":0,"errmsg":"ok"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies = append(bodies, r.URL.Query().Get("key")+" "+string(raw))
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	client, err := wecomapi.New(wecomapi.Options{QYAPI: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	log := telemetrytest.Capture(t)
	s := NewWebhookSender(client, oneKey{"hook-key-1"}, &fakeCards{rev: map[string]int64{}}, log.Logger)
	if s.Accounts() != nil {
		t.Error("any node may send")
	}
	d := ledger.Delivery{CompanyID: "c1", Address: "wrEng", Lane: ledger.LaneEmergency, Text: "【紧急】电梯困人 " + strings.Repeat("长", 2000), Payload: json.RawMessage(`{"mentioned":["zhang","duty"]}`)}
	if o := s.Send(t.Context(), d, ledger.Attempt{}); o.Kind != ledger.OK {
		t.Fatalf("outcome %+v", o)
	}
	var got struct {
		Text struct {
			Content   string   `json:"content"`
			Mentioned []string `json:"mentioned_list"`
		} `json:"text"`
	}
	key, raw, _ := strings.Cut(bodies[0], " ")
	if err := json.Unmarshal([]byte(raw), &got); err != nil {
		t.Fatal(err)
	}
	if key != "hook-key-1" || len(got.Text.Content) > wecomapi.MaxText || !strings.HasSuffix(got.Text.Content, "…") || strings.Join(got.Text.Mentioned, ",") != "zhang,duty" {
		t.Errorf("sent %s %+v", key, got)
	}
	// As the hop of a card it says what the card shows.
	d.Text, d.RefID = "", "100016"
	if o := s.Send(t.Context(), d, ledger.Attempt{}); o.Kind != ledger.OK || !strings.Contains(bodies[1], "#100016 漏水") {
		t.Errorf("outcome %+v, body %s", o, bodies[1])
	}
	answer = `{"errcode":93000,"errmsg":"invalid webhook hook-key-1"}`
	if o := s.Send(t.Context(), d, ledger.Attempt{}); o.Kind != ledger.Unreachable || o.Code != "93000" {
		t.Errorf("outcome %+v", o)
	}
	answer = `<html>`
	if o := s.Send(t.Context(), d, ledger.Attempt{}); o.Kind != ledger.Ambiguous {
		t.Errorf("outcome %+v", o)
	}
	d.Address = "wrUnknown"
	if o := s.Send(t.Context(), d, ledger.Attempt{}); o.Kind != ledger.Unreachable {
		t.Errorf("outcome %+v", o)
	}
	d.Address, answer = "wrEng", `{"errcode":0}`
	for range webhookPerMinute {
		s.Send(t.Context(), d, ledger.Attempt{})
	}
	if o := s.Send(t.Context(), d, ledger.Attempt{}); o.Kind != ledger.Throttled {
		t.Errorf("outcome %+v", o)
	}
	log.NoLeak(t, "hook-key-1")
}
