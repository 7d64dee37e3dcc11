package herald_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/ledger"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
	"guanjia/notify/deliver"
	"guanjia/notify/deliver/herald"
	"guanjia/templates"
)

type bench struct {
	t *testing.T
	d *db.DB
	l *ledger.Ledger
	h *herald.Herald
}

// newBench has a company with an SMS account, an engineering group, and a group
// of customer service, with a webhook when asked for.
func newBench(t *testing.T, d *db.DB, webhook bool) *bench {
	t.Helper()
	clk, quiet := clock.NewManual(time.Date(2026, 11, 25, 1, 0, 0, 0, time.UTC)), slog.New(slog.DiscardHandler)
	sealer, err := company.NewSealer(make([]byte, company.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	book, err := wording.Load(templates.FS())
	if err != nil {
		t.Fatal(err)
	}
	companies, people := company.New(d, sealer), staff.New(d, clk, sealer, nil)
	queues := queue.New(d, nil, nil, clk, quiet, nil)
	b := &bench{t: t, d: d, l: ledger.Open(d, clk, quiet)}
	t.Cleanup(b.l.Stop)
	err = d.InTx(t.Context(), "seed", func(ctx context.Context, tx *db.Tx) error {
		errs := errors.Join(
			companies.CreateTx(ctx, tx, company.Company{ID: "c1", Name: "物业", Short: "物业", Settings: company.DefaultSettings()}),
			companies.PutSMSTx(ctx, tx, company.SMSAccount{ID: "s1", CompanyID: "c1", AccessKeyID: "k", AccessKeySecret: "s", Sign: "某某物业", CallbackSecret: "x"}),
			companies.PutBotTx(ctx, tx, company.WeComBot{ID: "b1", CompanyID: "c1", BotID: "bot1", Secret: "s", Name: "管家"}),
		)
		if webhook {
			errs = errors.Join(errs, companies.PutWebhookTx(ctx, tx, company.Webhook{ID: "w1", CompanyID: "c1", ChatID: "desk", Key: "k"}))
		}
		for line, chat := range map[string]string{"customer_service": "desk", "engineering": "eng"} {
			errs = errors.Join(errs, queues.PutTx(ctx, tx, queue.Queue{ID: "q-" + line, CompanyID: "c1", ProjectID: "p1", Line: line, Name: line}))
			_, err := people.PutGroupTx(ctx, tx, "test", staff.WorkGroup{ID: "g-" + chat, CompanyID: "c1", BotID: "bot1", ChatID: chat, Name: chat, QueueID: "q-" + line})
			errs = errors.Join(errs, err)
		}
		return errs
	})
	if err != nil {
		t.Fatal(err)
	}
	b.h, err = herald.New(herald.Deps{DB: d, Clock: clk, Ledger: b.l, Companies: companies, Staff: people, Queues: queues, Book: book, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// said is what waits to be sent.
func (b *bench) said() []ledger.Delivery {
	b.t.Helper()
	var list []ledger.Delivery
	for _, lane := range ledger.Lanes() {
		got, err := b.l.Claim(b.t.Context(), ledger.ClaimQuery{Lane: lane, Limit: 100, Lease: time.Minute})
		if err != nil {
			b.t.Fatal(err)
		}
		list = append(list, got...)
	}
	return list
}

// SMS broke: customer service is rung in its group, once however many nodes
// cry, and never by SMS.
func TestAlarmReachesAPersonByAnotherWay(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		b := newBench(t, d, true)
		broke := deliver.Alarm{Channel: ledger.ChannelSMS, AccountID: "s1", Kind: ledger.Money, Code: "isv.AMOUNT_NOT_ENOUGH", Open: true}
		for range 3 {
			b.h.Alarm(t.Context(), broke)
		}
		list := b.said()
		if len(list) != 1 || list[0].Channel != ledger.ChannelWebhook || list[0].Address != "desk" || list[0].Lane != ledger.LaneEmergency {
			t.Fatalf("said %+v", list)
		}
		if !strings.Contains(list[0].Text, "余额不足") || !strings.Contains(list[0].Text, "短信") || len(list[0].Plan) != 1 {
			t.Errorf("words %q, plan %v", list[0].Text, list[0].Plan)
		}
		broke.Open = false
		b.h.Alarm(t.Context(), broke)
		if list := b.said(); len(list) != 1 || !strings.Contains(list[0].Text, "恢复") {
			t.Errorf("good news: %+v", list)
		}
	})
}

func TestAlarmWithoutWebhook(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t), false)
	for _, kind := range []ledger.OutcomeKind{ledger.Money, ledger.Stop, ledger.Quota, ledger.Template, ledger.Permanent, ledger.Retry, ledger.Ambiguous} {
		b.h.Alarm(t.Context(), deliver.Alarm{Channel: ledger.ChannelSMS, AccountID: "s1", Kind: kind, Code: "x", Open: true})
		if list := b.said(); len(list) != 1 || list[0].Channel != ledger.ChannelGroup || list[0].AccountID != "bot1" {
			t.Errorf("%s: said %+v", kind, list)
		}
	}
	// The group itself is broken, and there is no other way: nothing is queued there.
	b.h.Alarm(t.Context(), deliver.Alarm{Channel: ledger.ChannelGroup, AccountID: "bot1", Kind: ledger.Stop, Code: "x", Open: true})
	b.h.Alarm(t.Context(), deliver.Alarm{Channel: ledger.ChannelSMS, AccountID: "nobody's", Kind: ledger.Stop, Code: "x", Open: true})
	if list := b.said(); len(list) != 0 {
		t.Errorf("said %+v", list)
	}
}
