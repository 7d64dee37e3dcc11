package ledger_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/ledger"
)

// BenchmarkBulk puts a snapshot and compares it with the bare statement that
// any program would need:
//
//	go test ./internal/ledger -run - -bench Bulk -benchtime 1x
//
// GUANJIA_BENCH_ROWS sets the recipients on PostgreSQL (100000 unless told),
// SQLite has a tenth of them.
func BenchmarkBulk(b *testing.B) {
	rows := 100_000
	if n, err := strconv.Atoi(os.Getenv("GUANJIA_BENCH_ROWS")); err == nil {
		rows = n
	}
	b.Run("postgres", func(b *testing.B) { benchBulk(b, dbtest.Open(b, dbtest.Postgres(b)), rows) })
	b.Run("sqlite", func(b *testing.B) { benchBulk(b, dbtest.SQLite(b), rows/10) })
}

func benchBulk(b *testing.B, d *db.DB, n int) {
	ctx := b.Context()
	l := ledger.Open(d, clock.System(), slog.New(slog.DiscardHandler))
	b.Cleanup(l.Stop)
	exec := func(query string, args ...any) {
		if _, err := d.Writer().ExecContext(ctx, query, args...); err != nil {
			b.Fatal(err)
		}
	}
	exec(`create table frozen (id text primary key, account_id text not null, address text not null, skip_code text not null)`)
	exec(`insert into frozen
		with recursive n(i) as (select 1 union all select i + 1 from n where i < cast($1 as bigint))
		select 'n01980000000070008000000000000001s' || cast(1000000 + i as text), 'a1', cast(13000000000 + i as text), '' from n`, n)
	payload := map[string]any{"purpose": "outage_water", "params": map[string]string{
		"area": "3栋、4栋", "reason": "主管爆裂抢修", "until": "18:00", "phone": "0571-88880000",
	}}
	var bare, ours time.Duration
	for i := range b.N {
		exec(`delete from deliveries`)
		began := time.Now()
		exec(`insert into deliveries (
				id, root_id, hop, next_id, company_id, channel, account_id, source, address, lane, class,
				state, text_key, text, payload, plan, ref_kind, ref_id, ref_rev, part, order_key, supersede,
				due_at, lease_by, attempts, submissions, failures, code, created_at, updated_at)
			select id, id, 0, '', 'c1', 'sms', account_id, 'sms|a1', address, 'bulk', 'planned',
				'planned', '', '', cast($1 as text), '', 'notice', 'n1', 1, '', '', false,
				`+db.TimeParam(d, "$2")+`, '', 0, 0, 0, '', `+db.TimeParam(d, "$2")+`, `+db.TimeParam(d, "$2")+` from frozen`,
			db.RowsArg(payload), db.At(time.Now()))
		bare += time.Since(began)
		exec(`delete from deliveries`)
		if d.Engine() == db.EnginePostgres {
			exec(`vacuum deliveries`)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		began = time.Now()
		err := d.InTx(ctx, "bulk", func(ctx context.Context, tx *db.Tx) error {
			_, err := l.PutBulkTx(ctx, tx, ledger.Bulk{
				CompanyID: "c1", Channel: ledger.ChannelSMS, Lane: ledger.LaneBulk, Class: ledger.ClassPlanned,
				RefKind: "notice", RefID: fmt.Sprint("n", i), Payload: payload,
				Rows: `select id, account_id, address, skip_code, '' as plan from frozen where account_id = $1`, Args: []any{"a1"},
			})
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		ours += time.Since(began)
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/1024, "KiB_allocated")
	}
	b.ReportMetric(bare.Seconds()*1000/float64(b.N), "bare_ms")
	b.ReportMetric(ours.Seconds()*1000/float64(b.N), "ours_ms")
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "ratio")
}
