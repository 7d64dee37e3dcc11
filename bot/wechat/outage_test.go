package wechat

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/db/dbtest"
)

func openSpool(t testing.TB, most int64) *conversation.Spool {
	t.Helper()
	sealer, err := company.NewSealer(bytes.Repeat([]byte{7}, company.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	s, err := conversation.OpenSpool(t.TempDir(), sealer, slog.New(slog.DiscardHandler), most)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// startAgain returns when the database takes statements again.
func startAgain(t testing.TB, server *dbtest.Server, n *node) {
	t.Helper()
	server.Start(t)
	deadline := time.Now().Add(30 * time.Second)
	for n.db.Ping(t.Context()) != nil {
		if time.Now().After(deadline) {
			t.Fatal("the database does not come back")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Architecture, decision 9: with the database stopped a message is sealed into
// the spool and answered with fixed words, danger with its safety words; back
// again, each is stored and answered exactly once.
func TestDatabaseStopped(t *testing.T) {
	t.Parallel()
	server, url := dbtest.NewServer(t)
	d := dbtest.Open(t, url)
	spool := openSpool(t, 0)
	n := newNode(t, d, company.ModeEncrypted, func(o *Options) { o.Spool = spool })
	before := textPush("before", "您好")
	before.nonce = "fixed"
	if got := n.post(t, before); got.text != "收到:您好" {
		t.Fatalf("%+v", got)
	}

	server.Stop(t)
	if got := n.post(t, textPush("1", testWords)); !strings.Contains(got.text, "24小时电话") {
		t.Errorf("danger: %+v", got)
	}
	retry := textPush("2", "水管漏了")
	retry.nonce = "retried"
	for range 3 {
		if got := n.post(t, retry); got.text != "系统繁忙,已记下您的话" {
			t.Errorf("other words: %+v", got)
		}
	}
	if got := n.post(t, before); got.status != 200 || got.text == "" {
		t.Errorf("a retry of what is stored: %+v", got)
	}
	changed := retry
	changed.xml = textPush("2", "别的话").xml
	if got := n.post(t, changed); got.status != 403 {
		t.Errorf("a replayed signature: %+v", got)
	}
	if got := n.post(t, eventPush("TEMPLATESENDJOBFINISH", "<MsgID>1</MsgID><Status>success</Status>")); got.body != success {
		t.Errorf("a result: %+v", got)
	}
	// Four messages; a retry that meets its predecessor is not spooled again.
	spooled := spool.Len()
	if n.outcome(outcomeAway) == 0 || spooled < 4 || spooled > 6 {
		t.Errorf("%v away, %d spooled", n.outcome(outcomeAway), spooled)
	}
	if _, err := n.ReplaySpool(t.Context()); err == nil || spool.Len() != spooled {
		t.Errorf("replayed into a stopped database: %v, %d left", err, spool.Len())
	}
	n.noLeak(t)

	startAgain(t, server, n)
	var stored int
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 2 { // two replays at once
		wg.Go(func() {
			fresh, err := n.ReplaySpool(t.Context())
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			stored += fresh
		})
	}
	wg.Wait()
	if stored != 3 || spool.Len() != 0 || spool.Bad() != 0 || n.rows(t) != 4 {
		t.Errorf("%d stored, %d left, %d bad, %d rows", stored, spool.Len(), spool.Bad(), n.rows(t))
	}
	if late := n.dialogue.lateOnes(); len(late) != 3 {
		t.Errorf("%d answers by the service carrier", len(late))
	}
	if left, err := n.conversations.Unanswered(t.Context(), -time.Hour, 10); err != nil || len(left) != 0 {
		t.Errorf("%d unanswered, %v", len(left), err)
	}
	if got := n.post(t, textPush("after", "好了吗")); got.text != "收到:好了吗" {
		t.Errorf("afterwards: %+v", got)
	}
}

// The database goes away between the row and the answer: the words are kept, a
// courtesy goes out, the answer follows.
func TestDatabaseStopsDuringTheTurn(t *testing.T) {
	t.Parallel()
	server, url := dbtest.NewServer(t)
	n := newNode(t, dbtest.Open(t, url), company.ModeEncrypted, nil)
	n.dialogue.before = func(_ context.Context, _ conversation.Message, live bool) error {
		if live {
			server.Stop(t)
		}
		return nil
	}
	if got := n.post(t, textPush("1", testWords)); !strings.Contains(got.text, "24小时电话") {
		t.Errorf("%+v", got)
	}
	startAgain(t, server, n)
	left, err := n.conversations.Unanswered(t.Context(), -time.Hour, 10)
	if err != nil || len(left) != 1 {
		t.Fatalf("%d unanswered, %v", len(left), err)
	}
	if _, carrier, err := n.dialogue.Turn(t.Context(), left[0], false); err != nil || carrier != conversation.CarrierService {
		t.Errorf("%q, %v", carrier, err)
	}
}

// What can be kept nowhere is not acknowledged: the platform tries again.
func TestSpoolFull(t *testing.T) {
	t.Parallel()
	server, url := dbtest.NewServer(t)
	n := newNode(t, dbtest.Open(t, url), company.ModeEncrypted, func(o *Options) { o.Spool = openSpool(t, 2000) })
	server.Kill(t)
	refused := 0
	for i := range 10 {
		switch got := n.post(t, textPush(fmt.Sprint(i), testWords)); got.status {
		case 200:
		case 503:
			refused++
		default:
			t.Errorf("%+v", got)
		}
	}
	if refused == 0 || n.refused(reasonStore) != float64(refused) {
		t.Errorf("%d refused, %v counted", refused, n.refused(reasonStore))
	}
	n.noLeak(t)
}

// Run replays by itself.
func TestRunReplays(t *testing.T) {
	t.Parallel()
	spool := openSpool(t, 0)
	n := newNode(t, dbtest.SQLite(t), company.ModeEncrypted, func(o *Options) { o.Spool = spool })
	in, err := decode([]byte(textPush("1", "您好").xml), testAppID)
	if err != nil {
		t.Fatal(err)
	}
	in.CompanyID, in.AccountID, in.ReceivedAt = "c1", "a1", now.Add(-time.Hour)
	if err := spool.Put(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		n.Run(ctx)
		close(done)
	}()
	deadline := time.Now().Add(10 * time.Second)
	for len(n.dialogue.lateOnes()) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("nothing was replayed")
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	<-done
	m, err := n.conversations.Message(t.Context(), n.dialogue.lateOnes()[0])
	if err != nil || !m.ReceivedAt.Equal(now.Add(-time.Hour)) {
		t.Errorf("received at %v, %v", m.ReceivedAt, err)
	}
}
