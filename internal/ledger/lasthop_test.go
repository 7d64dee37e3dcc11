package ledger_test

import (
	"context"
	"testing"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/ledger"
)

// A node dies after the vendor refused the last way for good, before that is
// written: the refusal is lost with it. Staff learn within minutes all the same
// that the words did not arrive.
func TestDeathWhileRecordingTheLastFailure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		channel ledger.Channel
		class   ledger.Class
		within  time.Duration
	}{
		{ledger.ChannelSMS, ledger.ClassReply, 2 * time.Minute},
		{ledger.ChannelSMS, ledger.ClassDanger, 4 * time.Minute},
		{ledger.ChannelService, ledger.ClassReply, time.Minute},
		{ledger.ChannelService, ledger.ClassDanger, time.Minute},
		{ledger.ChannelTemplate, ledger.ClassReply, time.Minute},
	} {
		t.Run(tt.channel+" "+string(tt.class), func(t *testing.T) {
			run(t, func(b *bench) {
				id := b.put(sms(func(n *ledger.New) {
					n.Channel, n.Class, n.Lane = tt.channel, tt.class, ledger.LaneReply
				}))
				b.start(b.take(ledger.LaneReply)) // the vendor refuses, and the node dies
				b.exec(`update deliveries set lease_until = $1`, db.At(time.Now().Add(-time.Second)))

				next := newBench(t, b.db)
				next.clk = b.clk
				next.l = ledger.Open(b.db, b.clk, b.quiet())
				t.Cleanup(next.l.Stop)
				var told []ledger.State
				next.l.OnFinal("staff", func(_ context.Context, _ *db.Tx, d ledger.Delivery) error {
					told = append(told, d.State)
					return nil
				})
				if _, err := next.l.RecoverStale(b.ctx); err != nil {
					t.Fatal(err)
				}
				began := b.clk.Now()
				for b.clk.Now().Sub(began) < 10*time.Minute && len(told) == 0 {
					b.clk.Advance(5 * time.Second)
					next.refuseAndLook()
				}
				took := b.clk.Now().Sub(began)
				if len(told) != 1 || told[0] != ledger.Failed || took > tt.within {
					t.Fatalf("after %s: told %v, delivery is %s", took, told, b.get(id).State)
				}
			})
		})
	}
}

// refuseAndLook does what the living node does: repeats what is planned, which
// the vendor refuses again, and asks about what is unknown.
func (b *bench) refuseAndLook() {
	b.t.Helper()
	for _, d := range b.claim(ledger.LaneReply, 10) {
		b.record(b.start(d), ledger.Permanent, "")
	}
	list, err := b.l.Lookups(b.ctx, ledger.ChannelSMS, 10)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, u := range list {
		if _, err := b.l.Checked(b.ctx, u.Attempt, ledger.Check{Found: ledger.FoundAbsent}); err != nil {
			b.t.Fatal(err)
		}
	}
}

// Where nobody can be asked and nothing may be repeated, the wait for a result
// is short as long as somebody waits.
func TestPressingUnknownEndsSoon(t *testing.T) {
	run(t, func(b *bench) {
		id := b.put(sms(func(n *ledger.New) {
			n.Channel, n.Class, n.Lane = ledger.ChannelSubscribe, ledger.ClassReply, ledger.LaneReply
		}))
		b.send(ledger.LaneReply, ledger.Ambiguous, "")
		b.want(id, ledger.Unknown)
		b.clk.Advance(16 * time.Minute)
		if n, err := b.l.Lapse(b.ctx); err != nil || n != 1 {
			t.Fatalf("ended %d, %v", n, err)
		}
		b.want(id, ledger.NoReceipt)
	})
}
