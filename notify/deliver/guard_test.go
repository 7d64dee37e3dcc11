package deliver_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/ledger"
	"guanjia/notify/deliver"
)

// life runs a node until what it may send is sent, and ends it.
func (b *bench) life(o deliver.Options, vendor *fake, done func(e *deliver.Engine) bool) {
	b.t.Helper()
	l := ledger.Open(b.db, b.clk, slog.New(slog.DiscardHandler))
	defer l.Stop()
	o.Clock, o.Poll = b.clk, 20*time.Millisecond
	e := deliver.New(l, []deliver.Sender{vendor}, o)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(context.Background()) }()
	until(b.t, "the node's work", func() bool { return done(e) })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		b.t.Error(err)
	}
	if err := <-ended; err != nil {
		b.t.Error(err)
	}
}

func (b *bench) beat() int64 {
	b.t.Helper()
	now, _, err := b.l.ReadBeat(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return now.N
}

// restore does to the rows what a backup does: what was sent since waits again.
func (b *bench) restore(ref string, beat int64) {
	b.t.Helper()
	b.tx(func(ctx context.Context, tx *db.Tx) error {
		for _, q := range []string{
			`delete from attempts where delivery_id in (select id from deliveries where ref_id = $1)`,
			`update deliveries set state = 'planned', attempts = 0, submissions = 0, submitted_at = null, waits_until = null where ref_id = $1`,
		} {
			if _, err := tx.ExecContext(ctx, q, ref); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `update send_state set beat = $1`, beat)
		return err
	})
}

func TestRestoredBackupSendsNothingUntilReleased(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		for name, o := range map[string]deliver.Options{
			"known by its file": {StateFile: filepath.Join(t.TempDir(), "state", "beat.json")},
			"known by redis":    {Redis: redistest.Embedded(t, clock.System()).Client()},
		} {
			t.Run(name, func(t *testing.T) {
				b := newBench(t, d)
				b.t = t
				ref := "n" + name[len(name)-5:]
				vendor := &fake{channel: ledger.ChannelSMS}
				before := b.beat()
				b.bulk(ref, 20, nil)
				b.life(o, vendor, func(*deliver.Engine) bool { return b.states(ref)[ledger.Submitted] == 20 })
				if b.beat() <= before {
					t.Fatal("the beat did not move though something was sent")
				}
				b.restore(ref, before)

				b.life(o, vendor, func(e *deliver.Engine) bool {
					reason, locked := e.Locked()
					return locked && reason == ledger.LockRestored && e.InHand() == 0
				})
				// Also a node that knows nothing of the past keeps to the lock.
				b.life(deliver.Options{}, vendor, func(e *deliver.Engine) bool { _, locked := e.Locked(); return locked })
				if n := vendor.count(); n != 20 {
					t.Fatalf("%d calls, the restored 20 were sent again", n-20)
				}
				b.tx(func(ctx context.Context, tx *db.Tx) error {
					was, err := b.l.ReleaseSendingTx(ctx, tx)
					if err == nil && (!was.Locked || was.Reason != ledger.LockRestored) {
						t.Errorf("released %+v", was)
					}
					return err
				})
				b.life(o, vendor, func(*deliver.Engine) bool { return b.states(ref)[ledger.Submitted] == 20 })
				if n := vendor.count(); n != 40 {
					t.Fatalf("%d calls after the release, want 40", n)
				}
			})
		}
	})
}

func TestDropWhatWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	b.bulk("n1", 30, nil)
	b.bulk("n2", 3, func(k *ledger.Bulk) { k.NotBefore = b.clk.Now().Add(time.Hour) })
	if n, err := b.l.DropWaiting(t.Context(), b.clk.Now()); err != nil || n != 30 {
		t.Fatalf("dropped %d, %v", n, err)
	}
	if s := b.states("n2"); s[ledger.Planned] != 3 {
		t.Fatalf("what is planned for later: %v", s)
	}
}

// Redis that was emptied and a node without a file know nothing, and a database
// that nobody knows is believed.
func TestUnknownDatabaseIsBelieved(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	rdb := redistest.Embedded(t, clock.System()).Client()
	vendor := &fake{channel: ledger.ChannelSMS}
	b.bulk("n1", 5, nil)
	b.life(deliver.Options{Redis: rdb}, vendor, func(*deliver.Engine) bool { return b.states("n1")[ledger.Submitted] == 5 })
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	b.restore("n1", 1)
	b.life(deliver.Options{Redis: rdb}, vendor, func(*deliver.Engine) bool { return b.states("n1")[ledger.Submitted] == 5 })
}

// A database that goes back under a living node is noticed too.
func TestRestoreUnderALivingNode(t *testing.T) {
	t.Parallel()
	b := newBench(t, dbtest.SQLite(t))
	vendor := &fake{channel: ledger.ChannelSMS}
	e := b.start(deliver.Options{Poll: 20 * time.Millisecond}, vendor)
	b.bulk("n1", 5, nil)
	until(t, "all sent", func() bool { return vendor.count() == 5 })
	until(t, "the beat moved", func() bool { return b.beat() > 1 })
	b.tx(func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `update send_state set beat = 0`)
		return err
	})
	until(t, "sending is locked", func() bool { _, locked := e.Locked(); return locked })
}
