package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/ledger"
)

// numbers makes n rows of a bulk; every tenth is skipped.
func numbers(n int) (rows string, args []any) {
	return `with recursive n(i) as (select 1 union all select i + 1 from n where i < cast($2 as bigint))
		select cast($1 as text) || '-' || cast(i as text) as id, 'a1' as account_id,
			cast(13800000000 + i as text) as address,
			case when i % 10 = 0 then 'OPT_OUT' else '' end as skip_code, '' as plan
		from n`, []any{"row", n}
}

func notice(n int, change func(b *ledger.Bulk)) ledger.Bulk {
	rows, args := numbers(n)
	b := ledger.Bulk{
		CompanyID: "c1", Channel: ledger.ChannelSMS, Lane: ledger.LaneBulk, Class: ledger.ClassPlanned,
		RefKind: "notice", RefID: "n1", Payload: map[string]string{"purpose": "outage"}, Rows: rows, Args: args,
	}
	if change != nil {
		change(&b)
	}
	return b
}

func (b *bench) bulk(k ledger.Bulk) int64 {
	b.t.Helper()
	var n int64
	b.tx(func(ctx context.Context, tx *db.Tx) (err error) {
		n, err = b.l.PutBulkTx(ctx, tx, k)
		return err
	})
	return n
}

func (b *bench) tx(f func(ctx context.Context, tx *db.Tx) error) {
	b.t.Helper()
	if err := b.db.InTx(b.ctx, "test", f); err != nil {
		b.t.Fatal(err)
	}
}

// counts gives the rows of a reference by state.
func (b *bench) counts(kind, id string) map[ledger.State]int64 {
	b.t.Helper()
	list, err := b.l.Counts(b.ctx, b.db, kind, id)
	if err != nil {
		b.t.Fatal(err)
	}
	m := make(map[ledger.State]int64)
	for _, c := range list {
		m[c.State] += c.N
	}
	return m
}

func TestBulk(t *testing.T) {
	run(t, func(b *bench) {
		due, until := b.clk.Now().Add(time.Hour), b.clk.Now().Add(2*time.Hour)
		n := b.bulk(notice(100, func(k *ledger.Bulk) {
			k.NotBefore, k.ValidUntil, k.RefRev = due, until, 7
		}))
		if n != 100 {
			t.Fatalf("put %d rows, want 100", n)
		}
		if got := b.counts("notice", "n1"); got[ledger.Planned] != 90 || got[ledger.Skipped] != 10 {
			t.Fatalf("states are %v", got)
		}
		skipped := b.get("row-10")
		if skipped.Code != "OPT_OUT" || !skipped.Settled() || skipped.FinalAt.IsZero() {
			t.Fatalf("skipped row is %+v", skipped)
		}
		if list := b.claim(ledger.LaneBulk, 10); len(list) != 0 {
			t.Fatal("claimed before its time")
		}
		b.clk.Advance(time.Hour)
		list := b.claim(ledger.LaneBulk, 1000)
		if len(list) != 90 {
			t.Fatalf("claimed %d, want 90", len(list))
		}
		d := list[0]
		if d.Channel != ledger.ChannelSMS || d.AccountID != "a1" || d.RefID != "n1" || d.RefRev != 7 ||
			d.Class != ledger.ClassPlanned || string(d.Payload) != `{"purpose":"outage"}` ||
			!d.ValidUntil.Equal(until) || d.RootID != d.ID {
			t.Fatalf("claimed %+v", d)
		}
	})
}

func TestBulkRefuses(t *testing.T) {
	run(t, func(b *bench) {
		for name, change := range map[string]func(k *ledger.Bulk){
			"no reference":       func(k *ledger.Bulk) { k.RefID = "" },
			"no words":           func(k *ledger.Bulk) { k.Payload = nil },
			"no rows":            func(k *ledger.Bulk) { k.Rows = " " },
			"no company":         func(k *ledger.Bulk) { k.CompanyID = "" },
			"separator in part":  func(k *ledger.Bulk) { k.Part = "a|b" },
			"unknown channel":    func(k *ledger.Bulk) { k.Channel = "pigeon" },
			"rows of wrong form": func(k *ledger.Bulk) { k.Rows, k.Args = "select 1 as id", nil },
		} {
			err := b.db.InTx(b.ctx, "test", func(ctx context.Context, tx *db.Tx) error {
				_, err := b.l.PutBulkTx(ctx, tx, notice(1, change))
				return err
			})
			if err == nil {
				t.Errorf("%s: taken", name)
			}
		}
	})
}

func TestHoldAndFree(t *testing.T) {
	run(t, func(b *bench) {
		b.bulk(notice(20, nil))
		ordinary := b.put(sms(func(n *ledger.New) { n.RefKind, n.RefID, n.Lane = "notice", "n1", ledger.LaneBulk }))
		other := b.put(sms(func(n *ledger.New) { n.RefKind, n.RefID, n.Lane = "notice", "n2", ledger.LaneBulk }))
		first := b.claim(ledger.LaneBulk, 4)
		b.tx(func(ctx context.Context, tx *db.Tx) error { return b.l.HoldTx(ctx, tx, "notice", "n1", "paused") })

		held := 0
		for _, d := range first {
			_, err := b.l.StartAttempt(b.ctx, d)
			switch {
			case d.ID == other && err == nil:
			case d.ID != other && errors.Is(err, ledger.ErrHeld):
				held++
				b.want(d.ID, ledger.Planned)
			default:
				t.Fatalf("start of %s: %v", d.ID, err)
			}
		}
		if held == 0 {
			t.Fatal("nothing of the reference had been claimed; the test looks at nothing")
		}
		for _, d := range b.claim(ledger.LaneBulk, 100) {
			if d.RefID == "n1" {
				t.Fatalf("claimed %s of a held reference", d.ID)
			}
		}
		b.want(ordinary, ledger.Planned)
		if holds, err := b.l.Holds(b.ctx, b.db, "notice", "n1"); err != nil || len(holds) != 1 || holds[0].Reason != "paused" {
			t.Fatalf("holds %v, %v", holds, err)
		}
		b.tx(func(ctx context.Context, tx *db.Tx) error { return b.l.FreeTx(ctx, tx, "notice", "n1") })
		if list := b.claim(ledger.LaneBulk, 100); len(list) != 19 {
			t.Fatalf("claimed %d after the hold, want 18 of the bulk and one", len(list))
		}
	})
}

// the canary leaves, the rest waits until it is freed.
func TestCanary(t *testing.T) {
	run(t, func(b *bench) {
		part := func(name, cond string, held bool) ledger.Bulk {
			return notice(100, func(k *ledger.Bulk) {
				k.Part, k.Held = name, held
				k.Rows = `select r.* from (` + k.Rows + `) as r where r.address ` + cond + ` '13800000020'`
			})
		}
		b.bulk(part("canary", "<=", false))
		b.bulk(part("rest", ">", true))
		if list := b.claim(ledger.LaneBulk, 1000); len(list) != 18 {
			t.Fatalf("claimed %d, want the 18 of the canary", len(list))
		}
		// Pausing and resuming the whole leaves the part's own hold alone.
		b.tx(func(ctx context.Context, tx *db.Tx) error { return b.l.HoldTx(ctx, tx, "notice", "n1", "paused") })
		b.tx(func(ctx context.Context, tx *db.Tx) error { return b.l.FreeTx(ctx, tx, "notice", "n1") })
		if list := b.claim(ledger.LaneBulk, 1000); len(list) != 0 {
			t.Fatalf("claimed %d of the rest", len(list))
		}
		b.tx(func(ctx context.Context, tx *db.Tx) error { return b.l.FreePartTx(ctx, tx, "notice", "n1", "rest") })
		if list := b.claim(ledger.LaneBulk, 1000); len(list) != 72 {
			t.Fatalf("claimed %d of the rest, want 72", len(list))
		}
	})
}

func TestCancelRef(t *testing.T) {
	run(t, func(b *bench) {
		b.bulk(notice(2500, nil))
		taken := b.claim(ledger.LaneBulk, 3)
		running := b.start(taken[0])
		n, err := b.l.CancelRef(b.ctx, "notice", "n1")
		if err != nil || n != 2250-3 {
			t.Fatalf("cancelled %d, %v; want 2247", n, err)
		}
		// A call that was under way comes back to be repeated: it is not.
		b.record(running, ledger.Retry, "")
		if _, err := b.l.StartAttempt(b.ctx, taken[1]); !errors.Is(err, ledger.ErrHeld) {
			t.Fatalf("start after the cancellation: %v", err)
		}
		if err := b.l.Release(b.ctx, time.Time{}, taken[2]); err != nil {
			t.Fatal(err)
		}
		if n, err := b.l.CancelWithdrawn(b.ctx); err != nil || n != 3 {
			t.Fatalf("housekeeping cancelled %d, %v; want 3", n, err)
		}
		if got := b.counts("notice", "n1"); got[ledger.Cancelled] != 2250 || got[ledger.Skipped] != 250 || len(got) != 2 {
			t.Fatalf("states are %v", got)
		}
		// What was cancelled stays so.
		b.tx(func(ctx context.Context, tx *db.Tx) error { return b.l.FreeTx(ctx, tx, "notice", "n1") })
		if holds, err := b.l.Holds(b.ctx, b.db, "notice", "n1"); err != nil || len(holds) != 1 || !holds[0].Withdrawn {
			t.Fatalf("holds %v, %v", holds, err)
		}
	})
}

// A repeat that is withdrawn leaves a call of unknown result, whose receipt
// still counts.
func TestCancelOfARepeat(t *testing.T) {
	run(t, func(b *bench) {
		b.bulk(notice(1, func(k *ledger.Bulk) { k.Channel, k.Class = ledger.ChannelTemplate, ledger.ClassPlanned }))
		d, _ := b.send(ledger.LaneBulk, ledger.Ambiguous, "77")
		b.want(d.ID, ledger.Planned)
		if _, err := b.l.CancelRef(b.ctx, "notice", "n1"); err != nil {
			t.Fatal(err)
		}
		b.want(d.ID, ledger.Unknown)
		b.receipt(ledger.Receipt{Channel: ledger.ChannelTemplate, AccountID: "a1", VendorID: "77", OK: true, Confirmed: true, Code: "success"})
		b.want(d.ID, ledger.Delivered)
	})
}

// An interrupted cancellation is ended by whoever keeps house.
func TestCancellationSurvivesItsProcess(t *testing.T) {
	run(t, func(b *bench) {
		b.bulk(notice(30, nil))
		b.tx(func(ctx context.Context, tx *db.Tx) error { return b.l.WithdrawTx(ctx, tx, "notice", "n1") })
		if list := b.claim(ledger.LaneBulk, 100); len(list) != 0 {
			t.Fatal("claimed of a withdrawn reference")
		}
		other := newBench(t, b.db)
		if n, err := other.l.CancelWithdrawn(b.ctx); err != nil || n != 27 {
			t.Fatalf("the other process cancelled %d, %v", n, err)
		}
	})
}

// The hop of a bulk row stays with its reference.
func TestHopOfABulk(t *testing.T) {
	run(t, func(b *bench) {
		b.bulk(notice(1, func(k *ledger.Bulk) {
			k.Rows = `select r.id, r.account_id, r.address, r.skip_code, cast($3 as text) as plan from (` + k.Rows + `) as r`
			k.Args = append(k.Args, ledger.PlanJSON(ledger.Hop{Channel: ledger.ChannelTemplate, AccountID: "w1", Address: "o1", Payload: ledger.HopPayload(map[string]string{"purpose": "x"})}))
		}))
		b.send(ledger.LaneBulk, ledger.Permanent, "")
		b.tx(func(ctx context.Context, tx *db.Tx) error { return b.l.HoldTx(ctx, tx, "notice", "n1", "paused") })
		sources, err := b.l.Sources(b.ctx, ledger.LaneBulk)
		if err != nil || len(sources) != 0 {
			t.Fatalf("sources %v, %v: the hop must be held with its reference", sources, err)
		}
		b.tx(func(ctx context.Context, tx *db.Tx) error { return b.l.FreeTx(ctx, tx, "notice", "n1") })
		if d := b.take(ledger.LaneBulk); d.Channel != ledger.ChannelTemplate || d.Hop != 1 {
			t.Fatalf("claimed %+v", d)
		}
	})
}

func TestDeliveryStatesView(t *testing.T) {
	run(t, func(b *bench) {
		b.bulk(notice(4, nil))
		template := b.put(sms(func(n *ledger.New) { n.Channel, n.Lane = ledger.ChannelService, ledger.LaneReply }))
		b.send(ledger.LaneReply, ledger.OK, "")
		list := b.claim(ledger.LaneBulk, 2)
		a := b.start(list[0])
		b.record(a, ledger.OK, "biz")
		b.receipt(ledger.Receipt{Channel: ledger.ChannelSMS, AccountID: "a1", OutID: a.OutID, OK: true, Code: "DELIVERED"})
		reached := b.strings(`select id from delivery_states where reached = true order by id`)
		want := []string{list[0].ID, template}
		slices.Sort(want)
		if !slices.Equal(reached, want) {
			t.Fatalf("reached %v, want %v", reached, want)
		}
		// The view says of every state what the code says.
		for _, ch := range ledger.Channels() {
			for _, s := range ledger.AllStates() {
				id := fmt.Sprintf("v-%s-%s", ch, s)
				b.tx(func(ctx context.Context, tx *db.Tx) error {
					_, err := b.l.PutBulkTx(ctx, tx, notice(1, func(k *ledger.Bulk) { k.Channel, k.Args = ch, []any{id, 1} }))
					if err != nil {
						return err
					}
					_, err = tx.ExecContext(ctx, `update deliveries set state = $2 where id = $1`, id+"-1", string(s))
					return err
				})
				d := b.get(id + "-1")
				var gotReached, gotSettled bool
				err := b.db.QueryRowContext(b.ctx, `select reached, settled from delivery_states where id = $1`, d.ID).Scan(&gotReached, &gotSettled)
				if err != nil || gotReached != d.Reached() || gotSettled != d.Settled() {
					t.Errorf("%s %s: view says reached %v settled %v (%v), code %v %v", ch, s, gotReached, gotSettled, err, d.Reached(), d.Settled())
				}
			}
		}
	})
}

func (b *bench) strings(query string, args ...any) []string {
	b.t.Helper()
	rows, err := b.db.QueryContext(b.ctx, query, args...)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			b.t.Fatal(err)
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		b.t.Fatal(err)
	}
	return list
}

func (b *bench) exec(query string, args ...any) {
	b.t.Helper()
	if _, err := b.db.ExecContext(b.ctx, query, args...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
