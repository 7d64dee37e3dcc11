package conversation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"guanjia/internal/clock"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

var start = time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)

// room is a store on a fresh database with a clock that stands still.
type room struct {
	*conversation.Conversations
	db  *db.DB
	clk *clock.Manual
}

func open(t testing.TB, d *db.DB) room {
	t.Helper()
	clk := clock.NewManual(start)
	return room{another(t, d, clk), d, clk}
}

// another is one more node on the same database.
func another(t testing.TB, d *db.DB, clk clock.Clock) *conversation.Conversations {
	t.Helper()
	c := conversation.New(d, clk, slog.New(slog.DiscardHandler), conversation.Options{})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func text(openID, id, words string) conversation.Inbound {
	return conversation.Inbound{
		CompanyID: "c1", AccountID: "a1", OpenID: openID, Kind: conversation.KindMessage, Type: "text",
		Text: words, MsgID: id, DedupeKey: "wx|msg|" + id, NonceKey: "a1|1|" + id,
		Raw: []byte("<xml>" + id + words + "</xml>"), SentAt: start,
	}
}

func event(openID, name, key string) conversation.Inbound {
	return conversation.Inbound{
		CompanyID: "c1", AccountID: "a1", OpenID: openID, Kind: conversation.KindEvent, Type: "event", Event: name,
		EventKey: key, DedupeKey: "wx|evt|" + openID + name + key, Raw: []byte("<xml/>"), SentAt: start,
	}
}

func (r room) must(t testing.TB, in conversation.Inbound) conversation.Message {
	t.Helper()
	m, _, err := r.Receive(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func words(s string) conversation.Answer {
	return conversation.Answer{Kind: conversation.AnswerText, Text: s}
}

// saveTurn runs SaveTurnTx in a transaction of its own.
func (r room) saveTurn(ctx context.Context, turn conversation.Turn) (carrier string, err error) {
	err = r.db.InTx(ctx, "test.turn", func(ctx context.Context, tx *db.Tx) error {
		carrier, err = r.SaveTurnTx(ctx, tx, turn)
		return err
	})
	return carrier, err
}

func TestReceiveKeepsEverything(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		in := text("oA", "1", "三栋电梯又坏了\n👌🏼")
		in.MenuID, in.Clicked, in.MediaID, in.EventKey = "101", true, "m", "k"
		in.Detail = conversation.Detail{
			ToUserName: "gh_1", Place: &conversation.Place{Latitude: "1.5", Longitude: "2"},
			Consent: []conversation.Subscription{{TemplateID: "T", Status: "accept"}},
		}
		in.Raw = []byte("<xml>\x02 a \x00 \xff</xml>")
		got := r.must(t, in)
		stored, seen, err := r.Receive(t.Context(), in)
		if err != nil || !seen {
			t.Fatalf("seen %v, %v", seen, err)
		}
		if diff := cmp.Diff(got, stored); diff != "" {
			t.Errorf("-returned +stored\n%s", diff)
		}
		in.Hash, in.ReceivedAt = stored.Hash, start
		if diff := cmp.Diff(in, stored.Inbound); diff != "" {
			t.Errorf("-given +stored\n%s", diff)
		}
		if stored.Answered || stored.Carrier != "" || stored.ConversationID == "" {
			t.Errorf("a new message is %+v", stored)
		}
	})
}

// The platform's three tries may arrive at once, on three nodes: one message.
func TestReceiveInParallelIsOneRow(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		nodes := []*conversation.Conversations{r.Conversations, another(t, d, r.clk), another(t, d, r.clk)}
		const messages, tries = 20, 3
		type result struct {
			id   string
			seen bool
		}
		results := make([][]result, messages)
		var wg sync.WaitGroup
		var mu sync.Mutex
		for i := range messages {
			for n := range tries {
				wg.Go(func() {
					in := text(fmt.Sprintf("o%d", i%4), fmt.Sprint(i), "hello")
					m, seen, err := nodes[n].Receive(t.Context(), in)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					results[i] = append(results[i], result{m.ID, seen})
				})
			}
		}
		wg.Wait()
		for i, rs := range results {
			fresh := 0
			for _, r := range rs {
				if r.id != rs[0].id {
					t.Errorf("message %d has two rows", i)
				}
				if !r.seen {
					fresh++
				}
			}
			if fresh != 1 {
				t.Errorf("message %d was new %d times", i, fresh)
			}
		}
		if got := count(t, d, "messages"); got != messages {
			t.Errorf("%d rows", got)
		}
		if got := count(t, d, "conversations"); got != 4 {
			t.Errorf("%d conversations", got)
		}
	})
}

func count(t testing.TB, d *db.DB, table string) (n int) {
	t.Helper()
	if err := d.QueryRowContext(t.Context(), "select count(*) from "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReceiveRefusesReplayedSignature(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		first := text("oA", "1", "hello")
		r.must(t, first)
		other := another(t, d, r.clk) // knows nothing of what the first node saw

		sameID := first
		sameID.Raw = []byte("<xml>other words</xml>")
		otherID := text("oA", "2", "hello")
		otherID.NonceKey = first.NonceKey
		for name, in := range map[string]conversation.Inbound{"same message id": sameID, "other message id": otherID} {
			if _, _, err := other.Receive(t.Context(), in); !errors.Is(err, conversation.ErrReplayed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		// A retry may be signed anew.
		again := first
		again.NonceKey = "a1|2|anew"
		if _, seen, err := other.Receive(t.Context(), again); err != nil || !seen {
			t.Errorf("signed anew: seen %v, %v", seen, err)
		}
		if got := count(t, d, "messages"); got != 1 {
			t.Errorf("%d rows", got)
		}
	})
}

// One message that the database refuses must not take its neighbours along.
func TestReceiveSurvivesABadNeighbour(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				in := text("oA", fmt.Sprint(i), "hello")
				if i%4 == 0 { // longer than an index entry may be, on PostgreSQL
					in.DedupeKey = strings.Repeat(fmt.Sprintf("%d-%x", i, i*7919), 9000)
				}
				_, _, err := r.Receive(t.Context(), in)
				if bad := i%4 == 0; !bad && err != nil {
					t.Errorf("a good message: %v", err)
				}
			})
		}
		wg.Wait()
		if got := count(t, d, "messages"); got < 30 {
			t.Errorf("%d rows", got)
		}
	})
}

func TestQuietPushesAreSettledAtOnce(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		in := event("oA", "LOCATION", "")
		in.Quiet = true
		m := r.must(t, in)
		if !m.Answered || !m.Answer.Empty() {
			t.Errorf("quiet message %+v", m)
		}
		if left, err := r.Unanswered(t.Context(), -time.Hour, 10); err != nil || len(left) != 0 {
			t.Errorf("the sweep found %d, %v", len(left), err)
		}
	})
}

func TestPushWithoutSender(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		in := conversation.Inbound{AccountID: "a1", CompanyID: "c1", DedupeKey: "wx|raw|1", Kind: conversation.KindMessage, Type: "undecodable", Raw: []byte("\x00garbage"), Quiet: true}
		if m := r.must(t, in); m.ConversationID != "" {
			t.Errorf("it got conversation %s", m.ConversationID)
		}
		if got := count(t, d, "conversations"); got != 0 {
			t.Errorf("%d conversations", got)
		}
	})
}

func TestSaveTurn(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		live := r.must(t, text("oA", "1", "a"))
		late := r.must(t, text("oA", "2", "b"))
		answer := conversation.Answer{Kind: "text", Text: "请选择", Options: []conversation.Option{{ID: "101", Text: "满意"}}}

		carrier, err := r.saveTurn(ctx, conversation.Turn{MessageID: live.ID, Answer: answer, Live: true})
		if err != nil || carrier != conversation.CarrierExchange {
			t.Errorf("live: %q, %v", carrier, err)
		}
		carrier, err = r.saveTurn(ctx, conversation.Turn{MessageID: late.ID, Answer: answer})
		if err != nil || carrier != conversation.CarrierService {
			t.Errorf("late: %q, %v", carrier, err)
		}
		if _, err := r.saveTurn(ctx, conversation.Turn{MessageID: live.ID, Answer: words("other"), Live: true}); !errors.Is(err, conversation.ErrAnswered) {
			t.Errorf("second answer: %v", err)
		}
		if _, err := r.saveTurn(ctx, conversation.Turn{MessageID: "no such"}); !errors.Is(err, conversation.ErrUnknownMessage) {
			t.Errorf("unknown message: %v", err)
		}
		m, seen, err := r.Receive(ctx, text("oA", "1", "a"))
		if err != nil || !seen || !m.Answered || m.Carrier != conversation.CarrierExchange {
			t.Errorf("retry: %+v, seen %v, %v", m, seen, err)
		}
		if diff := cmp.Diff(answer, m.Answer); diff != "" {
			t.Errorf("-saved +stored\n%s", diff)
		}
	})
}

func TestSessionCompareAndSet(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		m := r.must(t, text("oA", "1", "a"))
		s, err := r.Session(ctx, d, m.ConversationID)
		if err != nil || s.Version != 0 {
			t.Fatalf("%+v, %v", s, err)
		}
		save := func(id string, version int64, chat bool) error {
			next := conversation.Session{ConversationID: m.ConversationID, Version: version, State: "asking", Data: json.RawMessage(`{"step":"` + id + `"}`)}
			turn := conversation.Turn{MessageID: r.must(t, text("oA", id, "a")).ID, Answer: words("b"), Live: true, Session: &next}
			if chat {
				_, err := r.SaveChat(ctx, turn)
				return err
			}
			_, err := r.saveTurn(ctx, turn)
			return err
		}
		for i, step := range []struct {
			version int64
			chat    bool
			want    error
		}{
			{0, false, nil},
			{0, false, conversation.ErrStale},
			{0, true, conversation.ErrStale},
			{1, true, nil},
			{1, true, conversation.ErrStale},
			{2, false, nil},
			{2, false, conversation.ErrStale},
			{7, true, conversation.ErrStale},
		} {
			if err := save(fmt.Sprint("s", i), step.version, step.chat); !errors.Is(err, step.want) {
				t.Errorf("step %d: %v, want %v", i, err, step.want)
			}
		}
		s, err = r.Session(ctx, d, m.ConversationID)
		if err != nil || s.Version != 3 || s.State != "asking" || string(s.Data) != `{"step":"s5"}` {
			t.Errorf("%+v (%s), %v", s, s.Data, err)
		}
		// A stale turn has stored no answer: it is run again.
		if left, err := r.Unanswered(ctx, -time.Hour, 100); err != nil || len(left) != 6 {
			t.Errorf("%d unanswered, %v", len(left), err)
		}
	})
}

func TestSaveChat(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				m := r.must(t, text(fmt.Sprint("o", i), fmt.Sprint(i), "a"))
				turn := conversation.Turn{MessageID: m.ID, Answer: words(fmt.Sprint("answer ", i)), Live: true}
				if i%3 == 0 {
					turn.Session = &conversation.Session{ConversationID: m.ConversationID, State: "s"}
				}
				carrier, err := r.SaveChat(ctx, turn)
				if err != nil || carrier != conversation.CarrierExchange {
					t.Errorf("%q, %v", carrier, err)
				}
				if got, err := r.Message(ctx, m.ID); err != nil || got.Answer.Text != turn.Answer.Text {
					t.Errorf("stored %+v, %v", got.Answer, err)
				}
			})
		}
		wg.Wait()
		if got := count(t, d, "sessions"); got != 20 {
			t.Errorf("%d sessions", got)
		}
		m := r.must(t, text("oA", "late", "a"))
		if won, _, err := r.GiveUpExchange(ctx, m.ID); err != nil || !won {
			t.Fatalf("won %v, %v", won, err)
		}
		turn := conversation.Turn{MessageID: m.ID, Answer: words("late"), Live: true}
		if _, err := r.SaveChat(ctx, turn); !errors.Is(err, conversation.ErrExchangeOver) {
			t.Errorf("after giving up: %v", err)
		}
		turn.Live = false
		if _, err := r.SaveChat(ctx, turn); !errors.Is(err, conversation.ErrExchangeOver) {
			t.Errorf("not live: %v", err)
		}
		if carrier, err := r.saveTurn(ctx, turn); err != nil || carrier != conversation.CarrierService {
			t.Errorf("with a delivery: %q, %v", carrier, err)
		}
		if _, err := r.SaveChat(ctx, conversation.Turn{MessageID: m.ID, Answer: words("x"), Live: true}); !errors.Is(err, conversation.ErrAnswered) {
			t.Errorf("second answer: %v", err)
		}
		silent := r.must(t, event("oA", "unsubscribe", ""))
		if _, err := r.SaveChat(ctx, conversation.Turn{MessageID: silent.ID}); err != nil {
			t.Errorf("nothing to say, not live: %v", err)
		}
	})
}

// Two turns of one resident in one batch: one session version, one winner.
func TestSaveChatOneSessionManyTurns(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		var turns []conversation.Turn
		for i := range 30 {
			m := r.must(t, text("oA", fmt.Sprint(i), "a"))
			turns = append(turns, conversation.Turn{
				MessageID: m.ID, Answer: words("x"), Live: true,
				Session: &conversation.Session{ConversationID: m.ConversationID, State: fmt.Sprint(i)},
			})
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i, turn := range turns {
			wg.Go(func() {
				var err error
				if i%2 == 0 {
					_, err = r.SaveChat(ctx, turn)
				} else {
					_, err = r.saveTurn(ctx, turn)
				}
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if !errors.Is(err, conversation.ErrStale) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s, err := r.Session(ctx, d, r.must(t, text("oA", "0", "a")).ConversationID)
		if won != 1 || err != nil || s.Version != 1 {
			t.Errorf("%d winners, version %d, %v", won, s.Version, err)
		}
		if left, err := r.Unanswered(ctx, -time.Hour, 100); err != nil || len(left) != 29 {
			t.Errorf("%d unanswered, %v", len(left), err)
		}
	})
}

// The carrier is decided exactly once, whoever is faster.
func TestCarrierIsDecidedOnce(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		for i := range 40 {
			m := r.must(t, text("oA", fmt.Sprint(i), "a"))
			turn := conversation.Turn{MessageID: m.ID, Answer: words("x"), Live: true}
			var saved, given string
			var wg sync.WaitGroup
			wg.Go(func() {
				if i%2 == 0 {
					carrier, err := r.saveTurn(ctx, turn)
					if err != nil {
						t.Error(err)
					}
					saved = carrier
					return
				}
				carrier, err := r.SaveChat(ctx, turn)
				if errors.Is(err, conversation.ErrExchangeOver) {
					carrier, err = r.saveTurn(ctx, turn)
				}
				if err != nil {
					t.Error(err)
				}
				saved = carrier
			})
			wg.Go(func() {
				won, stored, err := r.GiveUpExchange(ctx, m.ID)
				if err != nil {
					t.Error(err)
				}
				given = conversation.CarrierService
				if !won {
					given = stored.Carrier
					if !stored.Answered || stored.Answer.Text != "x" {
						t.Errorf("lost to a message without answer: %+v", stored)
					}
				}
			})
			wg.Wait()
			if saved != given || saved == "" {
				t.Errorf("turn says %q, callback says %q", saved, given)
			}
		}
	})
}

func TestUnansweredIsALease(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		other := another(t, d, r.clk)
		for i := range 10 {
			in := text("oA", fmt.Sprint(i), "a")
			in.ReceivedAt = start.Add(-time.Duration(i) * time.Minute)
			r.must(t, in)
		}
		if young, err := r.Unanswered(ctx, time.Minute, 100); err != nil || len(young) != 0 {
			t.Fatalf("a turn that has just begun was swept: %d, %v", len(young), err)
		}
		begun := db.At(time.Now().Add(-10 * time.Minute)) // the machine's clock decides
		if _, err := d.ExecContext(ctx, "update unsettled set turn_at = $1", begun); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		handed := map[string]int{}
		for _, c := range []*conversation.Conversations{r.Conversations, other, r.Conversations, other} {
			wg.Go(func() {
				ms, err := c.Unanswered(ctx, time.Minute, 3)
				if err != nil {
					t.Error(err)
				}
				for i, m := range ms {
					if m.Tries != 1 || m.Text != "a" {
						t.Errorf("handed out %+v", m)
					}
					if i > 0 && m.ReceivedAt.Before(ms[i-1].ReceivedAt) {
						t.Error("not the oldest first")
					}
					mu.Lock()
					handed[m.ID]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for id, n := range handed {
			if n != 1 {
				t.Errorf("message %s was handed out %d times", id, n)
			}
		}
		if len(handed) == 0 {
			t.Error("nothing was handed out")
		}
	})
}

func TestUnansweredSpacesItsTries(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		r.must(t, text("oA", "1", "a"))
		tries := 0
		for range 20 {
			ms, err := r.Unanswered(t.Context(), -time.Second, 10)
			if err != nil {
				t.Fatal(err)
			}
			tries += len(ms)
		}
		// Three at once, then half a minute of silence.
		if tries != 4 {
			t.Errorf("a failing message was tried %d times in a row", tries)
		}
	})
}

func TestTakeOver(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		m := r.must(t, text("oA", "1", "a"))
		if ok, err := r.TakeOver(ctx, m.ID, time.Minute); err != nil || ok {
			t.Errorf("taken from a living node: %v, %v", ok, err)
		}
		if ok, err := r.TakeOver(ctx, m.ID, -time.Second); err != nil || !ok {
			t.Errorf("not taken from a dead node: %v, %v", ok, err)
		}
		if won, _, err := r.GiveUpExchange(ctx, m.ID); err != nil || !won {
			t.Fatal(won, err)
		}
		if ok, err := r.TakeOver(ctx, m.ID, -time.Second); err != nil || ok {
			t.Errorf("taken after the exchange was given up: %v, %v", ok, err)
		}
	})
}

func TestLapsedExchanges(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		save := func(id string, a conversation.Answer, live bool) string {
			m := r.must(t, text("oA", id, "a"))
			if _, err := r.saveTurn(ctx, conversation.Turn{MessageID: m.ID, Answer: a, Live: live}); err != nil {
				t.Fatal(err)
			}
			return m.ID
		}
		lost := save("lost", words("x"), true)
		done := save("done", words("x"), true)
		save("silent", conversation.Answer{}, true)
		save("service", words("x"), false)
		r.must(t, text("oA", "unanswered", "a"))
		r.ExchangeDone(done)

		lapsed := func(olderThan time.Duration) (ids []string) {
			t.Helper()
			err := r.db.InTx(ctx, "test.lapsed", func(ctx context.Context, tx *db.Tx) error {
				ms, err := r.LapsedExchangesTx(ctx, tx, olderThan, 10)
				for _, m := range ms {
					ids = append(ids, m.ID)
					if m.Carrier != conversation.CarrierService || m.Answer.Text != "x" {
						t.Errorf("lapsed %+v", m)
					}
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return ids
		}
		waitFor(t, func() bool {
			var n int
			err := d.QueryRowContext(ctx, "select count(*) from unsettled where message_id = $1", done).Scan(&n)
			return err == nil && n == 0
		})
		if got := lapsed(time.Minute); len(got) != 0 {
			t.Errorf("taken too early: %v", got)
		}
		if got := lapsed(-time.Second); len(got) != 1 || got[0] != lost {
			t.Errorf("got %v, want %s", got, lost)
		}
		if got := lapsed(-time.Second); len(got) != 0 {
			t.Errorf("taken twice: %v", got)
		}
		// A retry that comes now must not be answered in the exchange, too.
		if m, err := r.Message(ctx, lost); err != nil || m.Carrier != conversation.CarrierService {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// waitFor polls for something that a background goroutine brings about.
func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestExchangeDoneIsFlushedOnClose(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		c := conversation.New(d, r.clk, slog.New(slog.DiscardHandler), conversation.Options{})
		const n = 1200 // more than one statement carries
		turns := make([]string, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				m := r.must(t, text("oA", fmt.Sprint(i), "a"))
				if _, err := r.SaveChat(t.Context(), conversation.Turn{MessageID: m.ID, Answer: words("x"), Live: true}); err != nil {
					t.Error(err)
				}
				turns[i] = m.ID
			})
		}
		wg.Wait()
		for _, id := range turns {
			c.ExchangeDone(id)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var open int
		if err := d.QueryRowContext(t.Context(), "select count(*) from unsettled").Scan(&open); err != nil || open != 0 {
			t.Errorf("%d are still open, %v", open, err)
		}
		c.ExchangeDone("after the end") // must not start anything
	})
}

func TestFollowing(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		state := func() (following, known bool) {
			t.Helper()
			following, known, err := r.Following(ctx, d, "a1", "oA")
			if err != nil {
				t.Fatal(err)
			}
			return following, known
		}
		at := func(name string, seconds int) conversation.Inbound {
			in := event("oA", name, fmt.Sprint(seconds))
			in.SentAt = start.Add(time.Duration(seconds) * time.Second)
			return in
		}
		if f, known := state(); f || known {
			t.Errorf("an unknown resident: %v, %v", f, known)
		}
		r.must(t, at("subscribe", 1))
		if f, known := state(); !f || !known {
			t.Errorf("after the follow: %v, %v", f, known)
		}
		r.must(t, at("unsubscribe", 10))
		if f, _ := state(); f {
			t.Error("after the unfollow")
		}
		r.must(t, at("subscribe", 5)) // comes late
		if f, _ := state(); f {
			t.Error("an older event won")
		}
		r.must(t, at("subscribe", 20))
		if f, _ := state(); !f {
			t.Error("after following again")
		}
		if err := r.SetFollowing(ctx, "a1", "oA", false, start); err != nil {
			t.Fatal(err)
		}
		if f, _ := state(); !f {
			t.Error("an older refusal won")
		}
		if err := r.SetFollowing(ctx, "a1", "oA", false, start.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if f, _ := state(); f {
			t.Error("the platform's refusal was ignored")
		}
		r.must(t, text("oB", "1", "a"))
		if f, known, err := r.Following(ctx, d, "a1", "oB"); err != nil || !f || !known {
			t.Errorf("who writes follows: %v, %v, %v", f, known, err)
		}
	})
}

func TestRecent(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		say := func(id, said, answer string) conversation.Message {
			m := r.must(t, text("oA", id, said))
			r.clk.Advance(time.Second)
			if _, err := r.saveTurn(ctx, conversation.Turn{MessageID: m.ID, Answer: words(answer), Live: true}); err != nil {
				t.Fatal(err)
			}
			r.clk.Advance(time.Second)
			return m
		}
		m := say("1", "电梯坏了", "已派单")
		err := d.InTx(ctx, "test.append", func(ctx context.Context, tx *db.Tx) error {
			return r.AppendTx(ctx, tx, conversation.Outbound{ConversationID: m.ConversationID, Kind: "text", Text: "十分钟到", By: "zhang"})
		})
		if err != nil {
			t.Fatal(err)
		}
		r.clk.Advance(time.Second)
		r.must(t, event("oA", "LOCATION", "no line"))
		say("2", "怎么还没来", "已催办")
		r.must(t, text("oB", "3", "somebody else"))

		lines, err := r.Recent(ctx, d, m.ConversationID, 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range lines {
			got = append(got, l.From+l.By+":"+l.Text)
		}
		want := []string{"resident:电梯坏了", "account:已派单", "staffzhang:十分钟到", "resident:怎么还没来", "account:已催办"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if lines, err = r.Recent(ctx, d, m.ConversationID, 2); err != nil || len(lines) != 2 || lines[0].Text != "怎么还没来" {
			t.Errorf("the last two: %+v, %v", lines, err)
		}
		if !lines[0].At.Equal(start.Add(3 * time.Second)) {
			t.Errorf("said at %v", lines[0].At)
		}
	})
}

func TestForget(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		ctx := t.Context()
		m := r.must(t, text("oA", "1", "a"))
		s := &conversation.Session{ConversationID: m.ConversationID, State: "x"}
		if _, err := r.saveTurn(ctx, conversation.Turn{MessageID: m.ID, Live: true, Session: s}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.SpendWindow(ctx, "a1", "oA"); err != nil {
			t.Fatal(err)
		}
		err := d.InTx(ctx, "test.forget", func(ctx context.Context, tx *db.Tx) error { return r.ForgetTx(ctx, tx, "a1", "oA") })
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"sessions", "reply_windows"} {
			if got := count(t, d, table); got != 0 {
				t.Errorf("%d rows left in %s", got, table)
			}
		}
	})
}
