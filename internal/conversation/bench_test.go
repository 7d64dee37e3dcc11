package conversation_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

// callers is how many callbacks arrive at the same time.
const callers = 32

func engines(b *testing.B, bench func(b *testing.B, d *db.DB)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, dbtest.SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { bench(b, dbtest.Open(b, dbtest.Postgres(b))) })
}

// parallel runs work from 32 goroutines; n counts upwards.
func parallel(b *testing.B, work func(ctx context.Context, n int64)) {
	b.Helper()
	var n atomic.Int64
	b.SetParallelism(callers / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			work(b.Context(), n.Add(1))
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "per_s")
}

// BenchmarkBareInsert is the yardstick: one insert of one row a message.
func BenchmarkBareInsert(b *testing.B) {
	engines(b, func(b *testing.B, d *db.DB) {
		parallel(b, func(ctx context.Context, n int64) {
			_, err := d.ExecContext(ctx, `
				insert into outbound (id, conversation_id, at, kind, body, by_id, delivery_id)
				values ($1, $2, $3, $4, $5, $6, $7)`,
				db.NewID(), fmt.Sprint("conversation", n%500), db.At(start), "text", "三栋电梯又坏了,老人下不了楼", "bot", fmt.Sprint(n))
			if err != nil {
				b.Error(err)
			}
		})
	})
}

// BenchmarkReceive stores a push of one of 500 residents.
func BenchmarkReceive(b *testing.B) {
	engines(b, func(b *testing.B, d *db.DB) {
		r := open(b, d)
		parallel(b, func(ctx context.Context, n int64) {
			if _, _, err := r.Receive(ctx, text(fmt.Sprint("o", n%500), fmt.Sprint(n), "三栋电梯又坏了,老人下不了楼")); err != nil {
				b.Error(err)
			}
		})
	})
}

// BenchmarkChat is the whole chat path of the store: receive, answer, note the
// end of the exchange.
func BenchmarkChat(b *testing.B) {
	engines(b, func(b *testing.B, d *db.DB) {
		r := open(b, d)
		parallel(b, func(ctx context.Context, n int64) {
			m, _, err := r.Receive(ctx, text(fmt.Sprint("o", n%500), fmt.Sprint(n), "三栋电梯又坏了,老人下不了楼"))
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := r.SaveChat(ctx, conversation.Turn{MessageID: m.ID, Answer: words("您好,已经收到"), Live: true}); err != nil {
				b.Error(err)
			}
			r.ExchangeDone(m.ID)
		})
	})
}

// BenchmarkChatTx is the same with a transaction for each turn, as a turn needs
// that writes anything else.
func BenchmarkChatTx(b *testing.B) {
	engines(b, func(b *testing.B, d *db.DB) {
		r := open(b, d)
		parallel(b, func(ctx context.Context, n int64) {
			m, _, err := r.Receive(ctx, text(fmt.Sprint("o", n%500), fmt.Sprint(n), "三栋电梯又坏了,老人下不了楼"))
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := r.saveTurn(ctx, conversation.Turn{MessageID: m.ID, Answer: words("您好,已经收到"), Live: true}); err != nil {
				b.Error(err)
			}
			r.ExchangeDone(m.ID)
		})
	})
}
