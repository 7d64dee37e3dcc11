package desk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	engineering = "queue-engineering"
	service     = "queue-customer_service"
	groupOfEng  = "wrDemoEngineering01"
	groupOfCS   = "wrDemoCustomerService01"
)

// open opens a case of a bound resident as the bot does.
func open(t testing.TB, w *worldtest.World, n int, change func(*desk.Open)) desk.Case {
	t.Helper()
	h := w.Bound(t, n)
	m := w.Receive(t, inbound(h.OpenID, "厨房水管漏水"))
	o := desk.Open{
		CompanyID: sample.CompanyID, ProjectID: sample.ProjectID, Kind: "repair", Category: "engineering", Text: "厨房水管漏水", Mode: "wechat",
		Unit: h.Unit, ResidentID: h.ResidentID, ResidentName: h.Name, Phone: h.Phone,
		ConversationID: m.ConversationID, AccountID: sample.AccountID, OpenID: h.OpenID, SourceID: "message:" + m.ID,
	}
	if change != nil {
		change(&o)
	}
	c, err := w.Desk.Open(t.Context(), desk.By{CompanyID: sample.CompanyID, Via: "wechat", Resident: true}, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return c
}

func must(t testing.TB, c desk.Case, err error) desk.Case {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func reply(t testing.TB, w *worldtest.World, by desk.By, caseID, text string) (desk.Case, time.Duration) {
	t.Helper()
	c, hold, err := w.Desk.Reply(t.Context(), by, caseID, text)
	if err != nil {
		t.Fatalf("reply: %v", err)
	}
	return c, hold
}

// resident runs one of the resident's moves in a transaction, as the bot does.
func resident(t testing.TB, w *worldtest.World, c desk.Case, f func(ctx context.Context, tx *db.Tx, by desk.By, c desk.Case) (desk.Case, error)) (desk.Case, error) {
	t.Helper()
	c = latest(t, w, c)
	var after desk.Case
	err := w.DB.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error {
		var err error
		after, err = f(ctx, tx, desk.By{CompanyID: sample.CompanyID, Via: "wechat", Resident: true}, c)
		return err
	})
	return after, err
}

func latest(t testing.TB, w *worldtest.World, c desk.Case) desk.Case {
	t.Helper()
	now, err := w.Desk.ByNo(t.Context(), sample.CompanyID, c.No)
	return must(t, now, err)
}

func refusedWith(t testing.TB, err error, code string) *desk.Refused {
	t.Helper()
	var r *desk.Refused
	if !errors.As(err, &r) {
		t.Fatalf("error = %v, want the refusal %q", err, code)
	}
	if r.Code != code {
		t.Fatalf("refused with %q, want %q", r.Code, code)
	}
	return r
}

func queued(t testing.TB, w *worldtest.World, queueID string) []string {
	t.Helper()
	cases, source, err := w.Desk.Queue(t.Context(), sample.CompanyID, queueID, 100)
	if err != nil {
		t.Fatal(err)
	}
	if source != "redis" {
		t.Fatalf("queue read from %s", source)
	}
	numbers := make([]string, len(cases))
	for i, c := range cases {
		numbers[i] = c.No
	}
	return numbers
}

// heldBy gives whose hands Redis believes a case in, by what the reconciler would compare.
func inHand(t testing.TB, w *worldtest.World, queueID string) int {
	t.Helper()
	stats, err := w.Queues.Stats(t.Context(), sample.CompanyID)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stats {
		if s.QueueID == queueID {
			return s.InHand
		}
	}
	return 0
}

// toldGroup gives the lines of a case in a group, oldest first.
func toldGroup(t testing.TB, w *worldtest.World, c desk.Case, chatID string) string {
	t.Helper()
	var b strings.Builder
	for _, d := range w.Deliveries(t, "case", c.ID, ledger.ChannelGroup) {
		if d.Address == chatID {
			b.WriteString(d.Text + "\n")
		}
	}
	return b.String()
}

func TestStoryOfACase(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		c := open(t, w, 0, nil)
		if c.State != desk.StateDispatched || c.QueueID != engineering || c.Version != 1 {
			t.Fatalf("opened as %s in %s, version %d", c.State, c.QueueID, c.Version)
		}
		if got := queued(t, w, engineering); !slices.Equal(got, []string{c.No}) {
			t.Fatalf("queue = %v", got)
		}
		cards := w.Deliveries(t, "case", c.ID, ledger.ChannelCard)
		if len(cards) != 1 || cards[0].Address != groupOfEng || cards[0].Lane != ledger.LaneCard {
			t.Fatalf("cards = %v", cards)
		}
		zhang := w.As(t, "zhangwei")
		c, err := w.Desk.Claim(t.Context(), zhang, c.ID)
		c = must(t, c, err)
		if c.State != desk.StateAccepted || c.OwnerID != "zhangwei" || c.AcceptedAt.IsZero() {
			t.Fatalf("claimed: %s, owner %s", c.State, c.OwnerID)
		}
		if got := queued(t, w, engineering); len(got) != 0 {
			t.Fatalf("claimed case still waits: %v", got)
		}
		if inHand(t, w, engineering) != 1 {
			t.Fatal("claimed case is in nobody's hand")
		}
		c, hold := reply(t, w, zhang, c.ID, "师傅十分钟到")
		if c.State != desk.StateInProgress || hold != 5*time.Second || c.FirstReplyAt.IsZero() {
			t.Fatalf("replied: %s, hold %s", c.State, hold)
		}
		words := w.Deliveries(t, "case", c.ID, ledger.ChannelService)
		last := words[len(words)-1]
		// signed with the company and the member's name.
		if !strings.Contains(last.Text, "师傅十分钟到") || !strings.Contains(last.Text, "张伟") || !strings.Contains(last.Text, "青禾物业") {
			t.Fatalf("reply = %q", last.Text)
		}
		if got := last.DueAt.Sub(w.Clock.Now()); got != hold {
			t.Fatalf("reply leaves in %s, want %s", got, hold)
		}
		c, err = w.Desk.Handle(t.Context(), zhang, c.ID, "更换了水管")
		c = must(t, c, err)
		if c.State != desk.StateHandled || c.Measures != "更换了水管" {
			t.Fatalf("handled: %s %q", c.State, c.Measures)
		}
		if inHand(t, w, engineering) != 0 {
			t.Fatal("handled case still counts as in hand")
		}
		// no handled without a word to the resident, with the question.
		words = w.Deliveries(t, "case", c.ID, ledger.ChannelService)
		last = words[len(words)-1]
		if !strings.Contains(last.Text, "更换了水管") || !strings.Contains(last.Text, "解决了吗") || !strings.Contains(string(last.Payload), c.No+"1") {
			t.Fatalf("result = %q, payload %s", last.Text, last.Payload)
		}
		// once the chat is closed, a template and then an SMS say that the result is there.
		if len(last.Plan) != 2 || last.Plan[0].Channel != ledger.ChannelTemplate || last.Plan[1].Channel != ledger.ChannelSMS {
			t.Fatalf("ways after the chat = %v", last.Plan)
		}
		c, err = resident(t, w, c, w.Desk.SolvedTx)
		c = must(t, c, err)
		if c.State != desk.StateClosed || c.FollowUp != desk.FollowUpSolved || c.ClosedAt.IsZero() {
			t.Fatalf("solved: %s %s", c.State, c.FollowUp)
		}
		c, err = resident(t, w, c, func(ctx context.Context, tx *db.Tx, by desk.By, c desk.Case) (desk.Case, error) {
			return w.Desk.RateTx(ctx, tx, by, c, 5, "师傅很专业")
		})
		c = must(t, c, err)
		if c.Rating != 5 || c.State != desk.StateClosed {
			t.Fatalf("rated: %d %s", c.Rating, c.State)
		}
		// every change is an event, who, when, from which channel.
		events, err := w.Desk.Events(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for i, e := range events {
			kinds = append(kinds, e.Kind)
			if e.Seq != int64(i+1) || e.At.IsZero() || e.Via == "" {
				t.Errorf("event %d: %+v", i, e)
			}
		}
		if want := []string{"opened", "claimed", "replied", "handled", "solved", "rated"}; !slices.Equal(kinds, want) {
			t.Errorf("events = %v, want %v", kinds, want)
		}
		if c.Version != int64(len(events)) {
			t.Errorf("version %d after %d events", c.Version, len(events))
		}
	})
}

func TestOneSourceOpensOneCase(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		source := func(o *desk.Open) { o.SourceID = "request:demo:1" }
		first := open(t, w, 0, source)
		again := open(t, w, 0, source)
		if again.No != first.No {
			t.Errorf("a repeat opened #%s beside #%s", again.No, first.No)
		}
		var wg sync.WaitGroup
		numbers := make([]string, 8)
		node := w.Node(t)
		for i := range numbers {
			wg.Go(func() {
				d := w.Desk
				if i%2 == 1 {
					d = node.Desk
				}
				c, err := d.Open(t.Context(), desk.By{CompanyID: sample.CompanyID, Via: "api"},
					desk.Open{CompanyID: sample.CompanyID, Kind: "repair", Text: "灯不亮", Mode: "call_in", SourceID: "request:demo:2"})
				if err != nil {
					t.Errorf("open %d: %v", i, err)
				}
				numbers[i] = c.No
			})
		}
		wg.Wait()
		if slices.Sort(numbers); numbers[0] != numbers[len(numbers)-1] {
			t.Errorf("one request opened %v", slices.Compact(numbers))
		}
		if got := queued(t, w, service); len(got) != 1 {
			t.Errorf("queue holds %v", got)
		}
		other := open(t, w, 1, nil)
		if other.No == first.No {
			t.Error("two cases have one number")
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	good := desk.Open{CompanyID: sample.CompanyID, Kind: "repair", Category: "engineering", Text: "灯不亮", Mode: "call_in"}
	for _, tt := range []struct {
		code   string
		change func(*desk.Open)
	}{
		{desk.RefusedKind, func(o *desk.Open) { o.Kind = "urge" }},
		{desk.RefusedKind, func(o *desk.Open) { o.Kind = "" }},
		{desk.RefusedCategory, func(o *desk.Open) { o.Category = "plumbing" }},
		{desk.RefusedMode, func(o *desk.Open) { o.Mode = "fax" }},
		{desk.RefusedText, func(o *desk.Open) { o.Text = " \n" }},
	} {
		o := good
		tt.change(&o)
		_, err := w.Desk.Open(t.Context(), desk.By{CompanyID: sample.CompanyID}, o)
		refusedWith(t, err, tt.code)
	}
	c, err := w.Desk.Open(t.Context(), desk.By{CompanyID: sample.CompanyID}, good)
	must(t, c, err)
	complaint := good
	complaint.Kind, complaint.Category = "complaint", ""
	c, err = w.Desk.Open(t.Context(), desk.By{CompanyID: sample.CompanyID}, complaint)
	if c = must(t, c, err); c.Category != "other" {
		t.Errorf("R-011: complaint dispatched with category %q", c.Category)
	}
	complaint.Mode = "government"
	c, err = w.Desk.Open(t.Context(), desk.By{CompanyID: sample.CompanyID}, complaint)
	if c = must(t, c, err); c.Level != "company" {
		t.Errorf("R-003: level of a complaint from the government is %s", c.Level)
	}
}

func TestRouting(t *testing.T) {
	t.Parallel()
	// R-012, with the lines of the interfaces page.
	for category, line := range map[string]string{
		"order_security": "order_security", "cleaning": "environment", "greening": "environment", "engineering": "engineering",
		"facilities_play": "engineering", "customer_service": "customer_service", "management": "customer_service",
		"convenience": "customer_service", "special_needs": "customer_service", "culture": "customer_service", "other": "customer_service",
		"": "customer_service",
	} {
		if got := desk.LineFor(category, ""); got != line {
			t.Errorf("%s goes to %s, want %s", category, got, line)
		}
		if category != "" && !desk.ValidCategory(category) {
			t.Errorf("%s is no category", category)
		}
	}
	for danger, line := range map[string]string{"lift_trapped": "engineering", "fire": "order_security", "violence": "order_security", "gas_leak": "engineering"} {
		if got := desk.LineFor("customer_service", danger); got != line {
			t.Errorf("%s goes to %s, want %s", danger, got, line)
		}
	}
}

func TestSixtyFourClaimers(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) { claimRace(t, w) })
}

// claimRace lets the members of a queue claim one case 64 times at once.
func claimRace(t *testing.T, w *worldtest.World) {
	t.Helper()
	c := open(t, w, 0, nil)
	members := []string{"zhangwei", "liqiang", "wangtao", "qianjin"}
	node := w.Node(t)
	desks := []*desk.Desk{w.Desk, node.Desk}
	var mu sync.Mutex
	won := map[string]int{}
	losers := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 64 {
		by := w.As(t, members[i%len(members)])
		wg.Go(func() {
			got, err := desks[i%2].Claim(t.Context(), by, c.ID)
			mu.Lock()
			defer mu.Unlock()
			var refused *desk.Refused
			switch {
			case err == nil && got.OwnerID == by.UserID:
				won[by.UserID]++
			case errors.As(err, &refused) && refused.Code == desk.RefusedTaken:
				losers[refused.Args["owner"]] = true
			default:
				t.Errorf("claim by %s: %v, owner %q", by.UserID, err, got.OwnerID)
			}
		})
	}
	wg.Wait()
	c = latest(t, w, c)
	if len(won) != 1 || won[c.OwnerID] != 16 {
		t.Fatalf("winners %v, owner %s", won, c.OwnerID)
	}
	if len(losers) != 1 || !losers[c.OwnerName] {
		t.Errorf("losers were told %v, the owner is %s", losers, c.OwnerName)
	}
	if c.Version != 2 {
		t.Errorf("version %d, want one claim only", c.Version)
	}
	if told := w.Deliveries(t, "case", c.ID, ledger.ChannelService); len(told) != 1 {
		t.Errorf("the resident was told %d times who comes", len(told))
	}
}

func TestClaimWithoutRedis(t *testing.T) {
	t.Parallel()
	w := worldtest.New(t, dbSQLite(t), deadRedis(t))
	claimRace(t, w)
	c := open(t, w, 1, nil)
	cases, source, err := w.Desk.Queue(t.Context(), sample.CompanyID, engineering, 10)
	if err != nil || source != "rows" || len(cases) != 1 || cases[0].No != c.No {
		t.Fatalf("queue without Redis: %d cases from %s, %v", len(cases), source, err)
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	err := w.DB.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error {
		return w.Staff.PutQueueMemberTx(ctx, tx, queueMember(engineering, "liqiang", 2))
	})
	if err != nil {
		t.Fatal(err)
	}
	li := w.As(t, "liqiang")
	for i := range 2 {
		c, err := w.Desk.Claim(t.Context(), li, open(t, w, i, nil).ID)
		must(t, c, err)
	}
	third := open(t, w, 2, nil)
	_, err = w.Desk.Claim(t.Context(), li, third.ID)
	refusedWith(t, err, desk.RefusedCapacity)
	if got := queued(t, w, engineering); !slices.Equal(got, []string{third.No}) {
		t.Errorf("the refused case does not wait any more: %v", got)
	}
	c, err := w.Desk.Claim(t.Context(), w.As(t, "wangtao"), third.ID)
	must(t, c, err)
}

func TestReplyHoldAndRecall(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		c := open(t, w, 0, nil)
		zhang, li := w.As(t, "zhangwei"), w.As(t, "liqiang")
		// Whoever answers first has the case.
		c, _ = reply(t, w, zhang, c.ID, "十分钟到")
		if c.OwnerID != "zhangwei" {
			t.Fatalf("owner = %q", c.OwnerID)
		}
		_, err := w.Desk.Recall(t.Context(), li, c.ID)
		refusedWith(t, err, desk.RefusedTooLate) // his own words only
		reply(t, w, zhang, c.ID, "二十分钟到")
		for _, want := range []string{"二十分钟到", "十分钟到"} {
			c, err = w.Desk.Recall(t.Context(), zhang, c.ID)
			c = must(t, c, err)
			events, err := w.Desk.Events(t.Context(), c.ID)
			if err != nil {
				t.Fatal(err)
			}
			d, err := w.Ledger.ByID(t.Context(), w.DB, events[len(events)-1].DeliveryID)
			if err != nil || d.State != ledger.Cancelled || !strings.HasPrefix(d.Text, want) {
				t.Fatalf("recalled %q in state %s (%v), want %q cancelled", d.Text, d.State, err, want)
			}
		}
		_, err = w.Desk.Recall(t.Context(), zhang, c.ID)
		refusedWith(t, err, desk.RefusedTooLate)

		reply(t, w, zhang, c.ID, "马上到")
		w.Clock.Advance(6 * time.Second)
		taken, err := w.Ledger.Claim(t.Context(), ledger.ClaimQuery{Lane: ledger.LaneReply, Channels: []ledger.Channel{ledger.ChannelService}, Limit: 10, Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if len(taken) == 0 {
			t.Fatal("nothing to send")
		}
		for _, d := range taken {
			a, err := w.Ledger.StartAttempt(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Ledger.Record(t.Context(), a, ledger.Outcome{Kind: ledger.OK}); err != nil {
				t.Fatal(err)
			}
		}
		taken, err = w.Ledger.Claim(t.Context(), ledger.ClaimQuery{Lane: ledger.LaneReply, Channels: []ledger.Channel{ledger.ChannelService}, Limit: 10, Lease: time.Minute})
		if err != nil || len(taken) != 1 {
			t.Fatalf("the reply is not on its way: %d, %v", len(taken), err)
		}
		_, err = w.Desk.Recall(t.Context(), zhang, c.ID)
		refusedWith(t, err, desk.RefusedTooLate)
	})
}

func TestEmergency(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	w.Clock.Set(time.Date(2026, 3, 2, 2, 0, 0, 0, time.FixedZone("CST", 8*3600))) // 02:00, nobody works
	ordinary := open(t, w, 0, nil)
	c := open(t, w, 1, func(o *desk.Open) { o.Danger, o.Kind = "lift_trapped", "help" })
	// office hours do not apply.
	if got := c.AcceptBy.Sub(w.Clock.Now()); got != 2*time.Minute || c.PromisedAt.Sub(w.Clock.Now()) != 5*time.Minute {
		t.Errorf("accept in %s, answer in %s", got, c.PromisedAt.Sub(w.Clock.Now()))
	}
	if !ordinary.AcceptBy.After(time.Date(2026, 3, 2, 0, 30, 0, 0, time.UTC)) { // 08:30 in China
		t.Errorf("an ordinary case of the night is due at %s", ordinary.AcceptBy)
	}
	if got := queued(t, w, engineering); !slices.Equal(got, []string{c.No, ordinary.No}) {
		t.Errorf("queue = %v, want danger first", got)
	}
	loud := w.Deliveries(t, "case", c.ID, ledger.ChannelWebhook)
	if len(loud) != 1 || loud[0].Lane != ledger.LaneEmergency || !strings.Contains(string(loud[0].Payload), `"yangguang"`) {
		t.Fatalf("loud text = %v", loud)
	}
	if len(w.Deliveries(t, "case", ordinary.ID, ledger.ChannelWebhook)) != 0 {
		t.Error("an ordinary case rings")
	}
	// The reply to an emergency is not held.
	_, hold := reply(t, w, w.As(t, "zhangwei"), c.ID, "已在路上")
	if hold != 0 {
		t.Errorf("held for %s", hold)
	}
	words := w.Deliveries(t, "case", c.ID, ledger.ChannelService)
	if d := words[len(words)-1]; d.DueAt.After(w.Clock.Now()) || d.Lane != ledger.LaneEmergency {
		t.Errorf("reply due %s in lane %s", d.DueAt, d.Lane)
	}
	// Urging an emergency rings again.
	_, err := resident(t, w, c, func(ctx context.Context, tx *db.Tx, by desk.By, c desk.Case) (desk.Case, error) {
		return w.Desk.UrgeTx(ctx, tx, by, c, "怎么还没来")
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(w.Deliveries(t, "case", c.ID, ledger.ChannelWebhook)); n != 2 {
		t.Errorf("rang %d times, want 2", n)
	}
	// A danger is not taken back by a word.
	_, err = resident(t, w, c, func(ctx context.Context, tx *db.Tx, by desk.By, c desk.Case) (desk.Case, error) {
		return w.Desk.WithdrawTx(ctx, tx, by, c, "撤回")
	})
	refusedWith(t, err, desk.RefusedState)
}

func TestInquiryIsAnsweredWithinADay(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	for _, at := range []string{"2026-03-02T02:00:00+08:00", "2026-03-02T17:59:00+08:00", "2026-02-17T12:00:00+08:00", "2026-10-01T20:00:00+08:00"} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		w.Clock.Set(when)
		c := open(t, w, 0, func(o *desk.Open) { o.Kind, o.Category, o.Priority = "inquiry", "customer_service", desk.PriorityLow })
		if got := c.PromisedAt.Sub(when); got <= 0 || got > 24*time.Hour {
			t.Errorf("asked at %s, answered within %s", at, got)
		}
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	c := open(t, w, 0, nil)
	ctx := t.Context()
	inQueue := func(by desk.By, code string) {
		t.Helper()
		_, err := w.Desk.Claim(ctx, by, c.ID)
		refusedWith(t, err, code)
		_, _, err = w.Desk.Reply(ctx, by, c.ID, "好的")
		refusedWith(t, err, code)
		_, err = w.Desk.Transfer(ctx, by, c.ID, "环境", "走错")
		refusedWith(t, err, code)
		_, err = w.Desk.Handle(ctx, by, c.ID, "修好了")
		refusedWith(t, err, code)
	}
	trainee := w.As(t, "wuxiao")
	inQueue(trainee, desk.RefusedTrainee)
	inQueue(w.As(t, "madong"), desk.RefusedNoRight)  // works on another queue
	inQueue(w.As(t, "shenqiu"), desk.RefusedNoRight) // finance may only write notes
	stranger := desk.By{CompanyID: sample.CompanyID, UserID: "nobody", Name: "某人", Via: "group"}
	inQueue(stranger, desk.RefusedUnbound)
	_, err := w.Desk.Note(ctx, stranger, c.ID, "看过")
	refusedWith(t, err, desk.RefusedUnbound)
	_, err = w.Desk.Assign(ctx, w.As(t, "liqiang"), c.ID, "wangtao") // a technician names nobody
	refusedWith(t, err, desk.RefusedNoRight)
	other := desk.By{CompanyID: "another", UserID: "zhangwei", Name: "张伟", Via: "group"}
	_, err = w.Desk.Claim(ctx, other, c.ID)
	refusedWith(t, err, desk.RefusedUnknownCase) // another company's member sees nothing
	if after := latest(t, w, c); after.Version != 1 {
		t.Fatalf("a refused action left a trace: version %d", after.Version)
	}

	// A trainee of the queue writes notes.
	own := open(t, w, 1, func(o *desk.Open) { o.Category, o.Kind = "customer_service", "inquiry" })
	_, err = w.Desk.Claim(ctx, trainee, own.ID)
	refusedWith(t, err, desk.RefusedTrainee)
	noted, err := w.Desk.Note(ctx, trainee, own.ID, "草稿")
	must(t, noted, err)

	// A supervisor acts on any queue; the owner and he may finish, colleagues not.
	c, err = w.Desk.Claim(ctx, w.As(t, "liqiang"), c.ID)
	c = must(t, c, err)
	_, err = w.Desk.Handle(ctx, w.As(t, "wangtao"), c.ID, "修好了")
	r := refusedWith(t, err, desk.RefusedNotYours)
	if r.Args["owner"] != "李强" {
		t.Errorf("refusal names %q", r.Args["owner"])
	}
	_, err = w.Desk.Transfer(ctx, w.As(t, "wangtao"), c.ID, "环境", "走错")
	refusedWith(t, err, desk.RefusedNotYours)
	c, err = w.Desk.Handle(ctx, w.As(t, "yangguang"), c.ID, "修好了")
	must(t, c, err)
}

func TestMandatoryWords(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	ctx := t.Context()
	zhang := w.As(t, "zhangwei")
	c := open(t, w, 0, nil)
	_, err := w.Desk.Handle(ctx, zhang, c.ID, "修好了")
	refusedWith(t, err, desk.RefusedNotClaimed)
	c, err = w.Desk.Claim(ctx, zhang, c.ID)
	c = must(t, c, err)
	_, err = w.Desk.Handle(ctx, zhang, c.ID, " \n ")
	refusedWith(t, err, desk.RefusedMeasures)
	_, _, err = w.Desk.Reply(ctx, zhang, c.ID, "\t")
	refusedWith(t, err, desk.RefusedText)
	_, err = w.Desk.Note(ctx, zhang, c.ID, "")
	refusedWith(t, err, desk.RefusedText)
	_, err = w.Desk.Transfer(ctx, zhang, c.ID, "环境", "")
	refusedWith(t, err, desk.RefusedReason)
	_, _, err = w.Desk.Reply(ctx, zhang, c.ID, "这个我不清楚，你到别处去问吧")
	if r := refusedWith(t, err, desk.RefusedHeld); r.Args["phrase"] == "" {
		t.Error("the refusal does not name the phrase")
	}
	_, err = w.Desk.Handle(ctx, zhang, c.ID, "这事不归我们管")
	refusedWith(t, err, desk.RefusedHeld) // measures are read by the resident
	_, _, err = w.Desk.Reply(ctx, zhang, c.ID, strings.Repeat("很长", 1000))
	refusedWith(t, err, desk.RefusedTooLong)
	for _, id := range []string{"", "no-such"} {
		_, err = w.Desk.Claim(ctx, zhang, id)
		refusedWith(t, err, desk.RefusedUnknownCase)
	}
	if after := latest(t, w, c); after.Version != c.Version {
		t.Fatalf("a refused action left a trace: version %d", after.Version)
	}
	if n := len(w.Deliveries(t, "case", c.ID, ledger.ChannelService)); n != 1 { // who comes
		t.Fatalf("%d messages left", n)
	}
}

func TestCloseNeedsFollowUp(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	ctx := t.Context()
	zhang := w.As(t, "zhangwei")
	handled := func(n int) desk.Case {
		c, err := w.Desk.Claim(ctx, zhang, open(t, w, n, nil).ID)
		c = must(t, c, err)
		_, err = w.Desk.Close(ctx, zhang, c.ID, desk.FollowUpSolved)
		refusedWith(t, err, desk.RefusedState) // not before it is handled
		c, err = w.Desk.Handle(ctx, zhang, c.ID, "修好了")
		return must(t, c, err)
	}
	for i, tt := range []struct {
		result string
		state  desk.State
	}{
		{desk.FollowUpSolved, desk.StateClosed},
		{desk.FollowUpUnreachable, desk.StateClosed},
		{desk.FollowUpPartly, desk.StateReopened},
		{desk.FollowUpNotSolved, desk.StateReopened},
	} {
		c := handled(i)
		for _, bad := range []string{"", "done", "5"} {
			_, err := w.Desk.Close(ctx, zhang, c.ID, bad)
			refusedWith(t, err, desk.RefusedFollowUp)
		}
		c, err := w.Desk.Close(ctx, zhang, c.ID, tt.result)
		c = must(t, c, err)
		if c.State != tt.state || c.FollowUp != tt.result {
			t.Errorf("%s: %s, follow-up %q", tt.result, c.State, c.FollowUp)
		}
		if c.State == desk.StateReopened && (c.OwnerID != "" || !slices.Contains(queued(t, w, engineering), c.No)) {
			t.Errorf("%s: reopened case does not wait for anybody", tt.result)
		}
	}
}

func TestReopenWindow(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	ctx := t.Context()
	closed := func(n int) desk.Case {
		c, err := w.Desk.Claim(ctx, w.As(t, "zhangwei"), open(t, w, n, nil).ID)
		c = must(t, c, err)
		c, err = w.Desk.Handle(ctx, w.As(t, "zhangwei"), c.ID, "修好了")
		c = must(t, c, err)
		c, err = resident(t, w, c, w.Desk.SolvedTx)
		return must(t, c, err)
	}
	again := func(c desk.Case) (desk.Case, error) {
		return resident(t, w, c, func(ctx context.Context, tx *db.Tx, by desk.By, c desk.Case) (desk.Case, error) {
			return w.Desk.NotSolvedTx(ctx, tx, by, c, desk.FollowUpNotSolved)
		})
	}
	first, second := closed(0), closed(1)
	w.Clock.Advance(7 * 24 * time.Hour) // the default window, R-098
	c, err := again(first)
	c = must(t, c, err)
	if c.State != desk.StateReopened || c.Priority != desk.PriorityHigh || !c.ClosedAt.IsZero() || c.OwnerID != "" {
		t.Errorf("reopened: %+v", c)
	}
	if !c.PromisedAt.After(w.Clock.Now()) || !c.AcceptBy.After(w.Clock.Now()) {
		t.Errorf("reopened with the old limits: answer %s, accept %s", c.PromisedAt, c.AcceptBy)
	}
	w.Clock.Advance(time.Second)
	_, err = again(second)
	refusedWith(t, err, desk.RefusedTooLate)
	if s := latest(t, w, second).State; s != desk.StateClosed {
		t.Errorf("refused reopening left it %s", s)
	}
}

func TestUrgeRaises(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	first := open(t, w, 0, nil)
	low := open(t, w, 1, func(o *desk.Open) { o.Priority = desk.PriorityLow })
	urge := func(c desk.Case) desk.Case {
		after, err := resident(t, w, c, func(ctx context.Context, tx *db.Tx, by desk.By, c desk.Case) (desk.Case, error) {
			return w.Desk.UrgeTx(ctx, tx, by, c, "怎么还没来")
		})
		return must(t, after, err)
	}
	for i, want := range []string{desk.PriorityNormal, desk.PriorityHigh, desk.PriorityHigh} { // R-018, never to emergency
		if c := urge(low); c.Priority != want || c.Urges != int64(i+1) {
			t.Errorf("after urge %d: %s, %d urges", i+1, c.Priority, c.Urges)
		}
	}
	told := toldGroup(t, w, low, groupOfEng)
	if strings.Count(told, "催办") != 3 || !strings.Contains(told, "怎么还没来") {
		t.Errorf("group was told %q", told)
	}
	if got := queued(t, w, engineering); len(got) != 2 || !slices.Contains(got, first.No) {
		t.Errorf("queue = %v, want no second case", got)
	}
}

func TestLowRating(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	ctx := t.Context()
	c, err := w.Desk.Claim(ctx, w.As(t, "zhangwei"), open(t, w, 0, nil).ID)
	c = must(t, c, err)
	c, err = w.Desk.Handle(ctx, w.As(t, "zhangwei"), c.ID, "修好了")
	c = must(t, c, err)
	w.Clock.Advance(48 * time.Hour)
	rate := func(n int) (desk.Case, error) {
		return resident(t, w, c, func(ctx context.Context, tx *db.Tx, by desk.By, c desk.Case) (desk.Case, error) {
			return w.Desk.RateTx(ctx, tx, by, c, n, "")
		})
	}
	for _, n := range []int{0, 6, -1} {
		_, err := rate(n)
		refusedWith(t, err, desk.RefusedRating)
	}
	after, err := rate(2)
	after = must(t, after, err)
	if after.State != desk.StateHandled || !after.PromisedAt.After(w.Clock.Now()) {
		t.Errorf("after 2: %s, a person calls at %s, now %s", after.State, after.PromisedAt, w.Clock.Now())
	}
	after, err = rate(4) // a good rating says that it is over
	if after = must(t, after, err); after.State != desk.StateClosed || after.Rating != 4 {
		t.Errorf("after 4: %s, %d", after.State, after.Rating)
	}
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		ctx := t.Context()
		c := open(t, w, 0, nil)
		zhang := w.As(t, "zhangwei")
		zhang.Via = "console"
		c, err := w.Desk.Claim(ctx, zhang, c.ID)
		c = must(t, c, err)
		_, err = w.Desk.Transfer(ctx, zhang, c.ID, "水电部", "不是我们的")
		refusedWith(t, err, desk.RefusedUnknownQueue)
		_, err = w.Desk.Transfer(ctx, zhang, c.ID, "工程维修", "不是我们的")
		refusedWith(t, err, desk.RefusedSameQueue)
		w.Clock.Advance(time.Hour)
		c, err = w.Desk.Transfer(ctx, zhang, c.ID, "客户服务", "住户要问费用")
		c = must(t, c, err)
		if c.QueueID != service || c.State != desk.StateDispatched || c.OwnerID != "" || !c.AcceptBy.After(w.Clock.Now()) {
			t.Fatalf("transferred: %+v", c)
		}
		if got := queued(t, w, service); !slices.Equal(got, []string{c.No}) || len(queued(t, w, engineering)) != 0 || inHand(t, w, engineering) != 0 {
			t.Errorf("queues after the transfer: service %v, in hand of engineering %d", got, inHand(t, w, engineering))
		}
		if told := toldGroup(t, w, c, groupOfCS); !strings.Contains(told, "工程维修") || !strings.Contains(told, "住户要问费用") {
			t.Errorf("the new group was told %q", told)
		}
		if told := toldGroup(t, w, c, groupOfEng); !strings.Contains(told, "转派") {
			t.Errorf("the old group was told %q", told)
		}
		// the other side must accept.
		_, err = w.Desk.Claim(ctx, w.As(t, "liqiang"), c.ID)
		refusedWith(t, err, desk.RefusedNoRight)
		c, err = w.Desk.Claim(ctx, w.As(t, "liumin"), c.ID)
		must(t, c, err)
	})
}

func TestAssign(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	ctx := t.Context()
	c := open(t, w, 0, nil)
	head := w.As(t, "zhangwei")
	for _, to := range []string{"", "nobody", "wuxiao", "madong", "shenqiu"} { // none of them could accept it
		_, err := w.Desk.Assign(ctx, head, c.ID, to)
		refusedWith(t, err, desk.RefusedUnknownStaff)
	}
	c, err := w.Desk.Assign(ctx, head, c.ID, "liqiang")
	c = must(t, c, err)
	if c.State != desk.StateDispatched || c.OwnerID != "liqiang" || len(queued(t, w, engineering)) != 0 {
		t.Fatalf("assigned: %s, owner %s, queue %v", c.State, c.OwnerID, queued(t, w, engineering))
	}
	if told := toldGroup(t, w, c, groupOfEng); !strings.Contains(told, "李强") {
		t.Errorf("group was told %q", told)
	}
	_, err = w.Desk.Claim(ctx, w.As(t, "wangtao"), c.ID)
	if r := refusedWith(t, err, desk.RefusedTaken); r.Args["owner"] != "李强" {
		t.Errorf("taken by %q", r.Args["owner"])
	}
	c, err = w.Desk.Claim(ctx, w.As(t, "liqiang"), c.ID)
	if c = must(t, c, err); c.State != desk.StateAccepted {
		t.Errorf("accepted: %s", c.State)
	}
	again, err := w.Desk.Claim(ctx, w.As(t, "liqiang"), c.ID)
	if again = must(t, again, err); again.Version != c.Version {
		t.Errorf("claiming one's own again moved it to version %d", again.Version)
	}
	mine, err := w.Desk.Mine(ctx, w.As(t, "liqiang"))
	if err != nil || len(mine) != 1 || mine[0].No != c.No {
		t.Errorf("mine = %d, %v", len(mine), err)
	}
}

func TestPlaceOfAnEmergency(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	h := w.Bound(t, 0) // lives in building 1
	c := open(t, w, 0, func(o *desk.Open) { o.Danger, o.Building = "lift_trapped", "3" })
	own := open(t, w, 0, func(o *desk.Open) { o.Danger, o.Building = "lift_trapped", "1" })
	if text := w.Deliveries(t, "case", c.ID, ledger.ChannelWebhook)[0].Text; !strings.Contains(text, "3栋") || strings.Contains(text, h.Unit) {
		t.Errorf("sent to the wrong house: %q", text)
	}
	if text := w.Deliveries(t, "case", own.ID, ledger.ChannelWebhook)[0].Text; !strings.Contains(text, h.Unit) {
		t.Errorf("the home is missing: %q", text)
	}
}

func TestUndeliveredWords(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		c := open(t, w, 0, func(o *desk.Open) { o.OpenID, o.ConversationID = "", "" }) // by SMS only
		c, err := w.Desk.Claim(t.Context(), w.As(t, "zhangwei"), c.ID)
		c = must(t, c, err)
		taken, err := w.Ledger.Claim(t.Context(), ledger.ClaimQuery{Lane: ledger.LaneReply, Channels: []ledger.Channel{ledger.ChannelSMS}, Limit: 10, Lease: time.Minute})
		if err != nil || len(taken) != 1 {
			t.Fatalf("to send: %d, %v", len(taken), err)
		}
		a, err := w.Ledger.StartAttempt(t.Context(), taken[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Ledger.Record(t.Context(), a, ledger.Outcome{Kind: ledger.Unreachable, Code: "MOBILE_DEAD"}); err != nil {
			t.Fatal(err)
		}
		// the group is told, so that a person calls.
		if told := toldGroup(t, w, c, groupOfEng); !strings.Contains(told, "没有送到") || !strings.Contains(told, c.No) {
			t.Errorf("group was told %q", told)
		}
		events, err := w.Desk.Events(t.Context(), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if e := events[len(events)-1]; e.Kind != "not_delivered" || e.DeliveryID != taken[0].ID {
			t.Errorf("last event: %+v", e)
		}
	})
}

// TestControlCharacters: PostgreSQL stores no zero character; typed words lose it.
func TestControlCharacters(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		const dirt = "灯\x00不\x1b亮\xff\n请看"
		c := open(t, w, 0, func(o *desk.Open) { o.Text = dirt })
		if c.Text != "灯不亮\n请看" {
			t.Errorf("text = %q", c.Text)
		}
		zhang := w.As(t, "zhangwei")
		c, err := w.Desk.Note(t.Context(), zhang, c.ID, dirt)
		c = must(t, c, err)
		c, err = resident(t, w, c, func(ctx context.Context, tx *db.Tx, by desk.By, c desk.Case) (desk.Case, error) {
			return w.Desk.AppendTx(ctx, tx, by, c, dirt)
		})
		c = must(t, c, err)
		c, _ = reply(t, w, zhang, c.ID, dirt)
		c, err = w.Desk.Handle(t.Context(), zhang, c.ID, dirt)
		c = must(t, c, err)
		c, err = resident(t, w, c, func(ctx context.Context, tx *db.Tx, by desk.By, c desk.Case) (desk.Case, error) {
			return w.Desk.RateTx(ctx, tx, by, c, 5, dirt)
		})
		if c = must(t, c, err); c.RatingText != "灯不亮\n请看" {
			t.Errorf("rating = %q", c.RatingText)
		}
	})
}

func TestNoWayToTheResident(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	c := open(t, w, 0, func(o *desk.Open) { o.OpenID, o.ConversationID, o.Phone = "", "", "" })
	_, _, err := w.Desk.Reply(t.Context(), w.As(t, "zhangwei"), c.ID, "十分钟到")
	refusedWith(t, err, desk.RefusedUnreachable)
	c = latest(t, w, c)
	c, err = w.Desk.Handle(t.Context(), w.As(t, "zhangwei"), c.ID, "修好了，当面告知")
	must(t, c, err)
}

func TestBindingTaskTellsNobody(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	c := open(t, w, 0, func(o *desk.Open) { o.Topic, o.Kind, o.Category = desk.TopicBinding, "inquiry", "customer_service" })
	c, err := w.Desk.Claim(t.Context(), w.As(t, "liumin"), c.ID)
	c = must(t, c, err)
	if told := w.Deliveries(t, "case", c.ID, ledger.ChannelService); len(told) != 0 {
		t.Errorf("told %q", told[0].Text)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		ctx := t.Context()
		var want []string
		for i := range 7 {
			if i%2 == 0 {
				w.Clock.Advance(time.Second) // some are opened at the same moment
			}
			c := open(t, w, i, func(o *desk.Open) { o.Text = fmt.Sprintf("第%d号 100%%_漏水", i) })
			want = append(want, c.No)
		}
		var got []string
		cursor := ""
		for page := 0; ; page++ {
			cases, next, err := w.Desk.List(ctx, sample.CompanyID, desk.Filter{Limit: 3, Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cases {
				got = append(got, c.No)
			}
			if cursor = next; next == "" {
				break
			}
			if page > 3 {
				t.Fatal("pages without end")
			}
		}
		slices.Sort(want)
		if sorted := slices.Sorted(slices.Values(got)); !slices.Equal(sorted, want) {
			t.Errorf("pages hold %v, want %v", sorted, want)
		}
		for query, n := range map[string]int{"": 7, want[0]: 1, "#" + want[0]: 1, "第3号": 1, "100%_": 7, "100__": 0, "没有": 0, `\`: 0} {
			cases, _, err := w.Desk.List(ctx, sample.CompanyID, desk.Filter{Query: query})
			if err != nil || len(cases) != n {
				t.Errorf("query %q: %d cases, %v; want %d", query, len(cases), err, n)
			}
		}
		h := w.Bound(t, 2)
		for _, who := range []string{h.ResidentID, h.OpenID} {
			cases, _, err := w.Desk.List(ctx, sample.CompanyID, desk.Filter{Resident: []string{who}})
			if err != nil || len(cases) != 1 {
				t.Errorf("of one resident: %d, %v", len(cases), err)
			}
		}
		for _, f := range []desk.Filter{{State: "closed"}, {QueueID: service}, {OwnerID: "zhangwei"}} {
			if cases, _, err := w.Desk.List(ctx, sample.CompanyID, f); err != nil || len(cases) != 0 {
				t.Errorf("%+v: %d, %v", f, len(cases), err)
			}
		}
		if cases, _, err := w.Desk.List(ctx, "another", desk.Filter{}); err != nil || len(cases) != 0 {
			t.Errorf("another company sees %d, %v", len(cases), err)
		}
		for _, bad := range []string{"x", "x_y", "_"} {
			_, _, err := w.Desk.List(ctx, sample.CompanyID, desk.Filter{Cursor: bad})
			refusedWith(t, err, "cursor")
		}
	})
}
