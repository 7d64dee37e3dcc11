package sms_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/dysmsapi"

	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/ledger"
	"guanjia/notify/deliver"
)

// BenchmarkBroadcast sends through the real SDK to the simulator, with
// receipts processed, and compares it with a bare loop of the SDK whose
// receipts go nowhere:
//
//	go test ./notify/sms -run - -bench Broadcast -benchtime 1x
//
// GUANJIA_BENCH_ROWS sets the recipients (5000 unless told).
func BenchmarkBroadcast(b *testing.B) {
	n := 5000
	if v, err := strconv.Atoi(os.Getenv("GUANJIA_BENCH_ROWS")); err == nil {
		n = v
	}
	for _, engine := range []string{"postgres", "sqlite"} {
		b.Run(engine, func(b *testing.B) {
			r := newRig(b, benchDB(b, engine), rigOptions{})
			for i := range b.N {
				bare := bareLoop(b, r, n, strconv.Itoa(1300+i%100))
				ours := ourLoop(b, r, n, strconv.Itoa(1500+i%100), "n"+strconv.Itoa(i))
				b.ReportMetric(bare, "bare/s")
				b.ReportMetric(ours, "ours/s")
				b.ReportMetric(ours/bare, "ratio")
			}
		})
	}
}

// BenchmarkEmergency approves an emergency in the middle of a running broadcast
// and measures the time to its first and its last accepted SMS:
//
//	go test ./notify/sms -run - -bench Emergency -benchtime 1x
//
// GUANJIA_BENCH_ROWS sets the recipients of the broadcast (50000 unless told).
func BenchmarkEmergency(b *testing.B) {
	n := 50_000
	if v, err := strconv.Atoi(os.Getenv("GUANJIA_BENCH_ROWS")); err == nil {
		n = v
	}
	const urgent = 5000
	r := newRig(b, benchDB(b, "postgres"), rigOptions{})
	r.put("n1", "1390", n, nil)
	_, stop := r.engine(deliver.Options{})
	sent := func(ref string) int64 {
		var k int64
		err := r.db.QueryRowContext(b.Context(), `
			select count(*) from deliveries where ref_kind = 'notice' and ref_id = $1 and submitted_at is not null`, ref).Scan(&k)
		if err != nil {
			b.Fatal(err)
		}
		return k
	}
	until(b, "the broadcast runs", time.Minute, func() bool { time.Sleep(50 * time.Millisecond); return sent("n1") > 1000 })
	began := time.Now()
	r.put("n2", "1500", urgent, func(k *ledger.Bulk) { k.Lane, k.Class = ledger.LaneEmergency, ledger.ClassDanger })
	b.ReportMetric(time.Since(began).Seconds(), "snapshot_s")
	until(b, "first", time.Minute, func() bool { return sent("n2") > 0 })
	b.ReportMetric(time.Since(began).Seconds(), "first_s")
	until(b, "all", 5*time.Minute, func() bool { time.Sleep(50 * time.Millisecond); return sent("n2") == urgent })
	b.ReportMetric(time.Since(began).Seconds(), "all_s")
	b.ReportMetric(float64(sent("n1")), "broadcast_sent")
	stop()
}

// benchDB is a fresh database, or the empty one that GUANJIA_BENCH_DB names,
// whose settings and statistics are then at hand.
func benchDB(b *testing.B, engine string) *db.DB {
	b.Helper()
	if engine == "sqlite" {
		return dbtest.SQLite(b)
	}
	url := os.Getenv("GUANJIA_BENCH_DB")
	if url == "" {
		url = dbtest.Postgres(b)
	}
	d := dbtest.Open(b, url)
	if _, err := d.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return d
}

func ourLoop(b *testing.B, r *rig, n int, prefix, ref string) float64 {
	b.Helper()
	r.handler = r.s
	r.put(ref, prefix, n, nil)
	began := time.Now()
	_, stop := r.engine(deliver.Options{})
	until(b, "all delivered", 5*time.Minute, func() bool {
		time.Sleep(200 * time.Millisecond)
		return r.states(ref)[ledger.Delivered] == int64(n)
	})
	took := time.Since(began)
	stop()
	return float64(n) / took.Seconds()
}

type outside struct{ *http.Transport }

func (o outside) RoundTrip(q *http.Request) (*http.Response, error) { return o.Transport.RoundTrip(q) }

func bareLoop(b *testing.B, r *rig, n int, prefix string) float64 {
	b.Helper()
	var receipts atomic.Int64
	r.handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		receipts.Add(int64(len(body)))
		_, _ = io.WriteString(w, `{"code":0,"msg":"ok"}`)
	})
	const workers = 32
	tr := outside{&http.Transport{MaxIdleConnsPerHost: workers}}
	defer tr.CloseIdleConnections()
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	began := time.Now()
	dysmsapi.GetEndpointMap()
	for range workers {
		wg.Go(func() {
			cfg := sdk.NewConfig().WithScheme("HTTP").WithTimeout(5 * time.Second)
			cfg.Transport = tr
			c, err := dysmsapi.NewClientWithOptions("cn-hangzhou", cfg, credentials.NewStaticAKCredentialsProvider(rigKey, rigSecret))
			if err != nil {
				b.Error(err)
				return
			}
			c.Domain = r.simURL[len("http://"):] + "/dysmsapi.aliyuncs.com"
			for {
				i := next.Add(1)
				if i > int64(n) {
					return
				}
				q := dysmsapi.CreateSendSmsRequest()
				q.PhoneNumbers, q.SignName, q.TemplateCode = prefix+strconv.FormatInt(10_000_000+i, 10)[1:], rigSign, "SMS_100"
				q.TemplateParam, q.OutId = `{"area":"3栋、4栋","reason":"主管爆裂抢修","until":"18:00"}`, prefix+strconv.FormatInt(i, 10)
				res, err := c.SendSms(q)
				if err != nil || res.Code != "OK" {
					b.Errorf("send: %v %+v", err, res)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	// The receipts of the last calls come a second later.
	time.Sleep(1200 * time.Millisecond)
	if err := r.sim.Settle(context.Background()); err != nil || receipts.Load() == 0 {
		b.Errorf("receipts of the bare loop: %d bytes, %v", receipts.Load(), err)
	}
	return float64(n) / took.Seconds()
}
