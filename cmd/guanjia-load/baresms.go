package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/dysmsapi"

	"guanjia/internal/app/sample"
	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/sandbox"
	"guanjia/internal/sandbox/simcore"
)

// What the bare loop sends with, to a simulator of its own.
const (
	bareKey, bareSecret = "LTAIload", "load-secret"
	bareSign            = "清河物业"
	bareTemplate        = "SMS_100"
)

// wired hides that a transport is *http.Transport: the SDK changes those.
type wired struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (w wired) RoundTrip(q *http.Request) (*http.Response, error) { return w.Transport.RoundTrip(q) }

// bareSMS sends n SMS by a plain loop over the SDK, without rows, limits or
// reading a receipt.
func bareSMS(ctx context.Context, log *slog.Logger, clients, n int) (s series, err error) {
	sim := sandbox.New(sandbox.Options{Logger: log})
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		defer cancel()
		err = errors.Join(err, sim.Stop(ctx))
	}()
	sink, stop, err := sinkOfReceipts(ctx)
	if err != nil {
		return s, err
	}
	defer stop()
	at, err := sim.Start(ctx, "127.0.0.1:0")
	if err != nil {
		return s, err
	}
	if err := sim.LoadWorld(simcore.World{SMS: []simcore.SMSAccount{{
		AccessKeyID: bareKey, Secret: bareSecret, Signs: []simcore.SMSSign{{Name: bareSign}}, ReportURLs: []string{sink},
		Templates: []simcore.SMSTemplate{{Code: bareTemplate, Content: "${area}停水，原因${reason}，预计${until}恢复。"}},
	}}}); err != nil {
		return s, err
	}
	tr := wired{&http.Transport{MaxIdleConnsPerHost: clients}}
	defer tr.CloseIdleConnections()
	dysmsapi.GetEndpointMap() // fills a table of the SDK, which its constructors race for
	parts := make([]series, clients)
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for i := range clients {
		wg.Go(func() {
			c, err := bareClient(tr, strings.TrimPrefix(at, "http://"))
			if err != nil {
				parts[i].errors, parts[i].first = 1, err
				return
			}
			for ctx.Err() == nil {
				k := next.Add(1)
				if k > int64(n) {
					return
				}
				parts[i].fire(ctx, time.Now(), func(context.Context) error { return bareSend(c, k) })
			}
		})
	}
	wg.Wait()
	s = joined(parts, time.Since(began))
	return s, errors.Join(s.first, ctx.Err())
}

func bareClient(tr http.RoundTripper, host string) (*dysmsapi.Client, error) {
	cfg := sdk.NewConfig().WithScheme("HTTP").WithTimeout(10 * time.Second).WithAutoRetry(false)
	cfg.Transport = tr
	c, err := dysmsapi.NewClientWithOptions("cn-hangzhou", cfg, credentials.NewStaticAKCredentialsProvider(bareKey, bareSecret))
	if err != nil {
		return nil, fmt.Errorf("client of the SDK: %w", err)
	}
	c.Domain = host + "/dysmsapi.aliyuncs.com"
	return c, nil
}

func bareSend(c *dysmsapi.Client, k int64) error {
	q := dysmsapi.CreateSendSmsRequest()
	q.PhoneNumbers, q.SignName, q.TemplateCode = "13"+strconv.FormatInt(900_000_000+k, 10), bareSign, bareTemplate
	q.TemplateParam, q.OutId = `{"area":"3栋、4栋","reason":"主管爆裂抢修","until":"18:00"}`, "load"+strconv.FormatInt(k, 10)
	res, err := c.SendSms(q)
	if err != nil {
		return fmt.Errorf("send by the SDK: %w", err)
	}
	if res.Code != "OK" {
		return fmt.Errorf("send by the SDK: refused with %s", res.Code)
	}
	return nil
}

// sinkOfReceipts takes receipts and does nothing with them.
func sinkOfReceipts(ctx context.Context) (url string, stop func(), err error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("sink of receipts: %w", err)
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, q.Body, 8<<20))
		_, _ = io.WriteString(w, `{"code":0,"msg":"ok"}`)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	return "http://" + ln.Addr().String() + "/report", func() { _ = srv.Close(); <-done }, nil
}

// bareSnapshot is the plain INSERT ... SELECT of the same people, by the
// product's own SELECT, into a table of the same shape.
func bareSnapshot(ctx context.Context, d *db.DB, channels []string) (took time.Duration, err error) {
	const table = `CREATE TABLE guanjia_load_audience (
		notice_id text NOT NULL, n bigint NOT NULL, send_n bigint NOT NULL, unit_id text NOT NULL, unit text NOT NULL, building text NOT NULL,
		entrance text NOT NULL, floor bigint NOT NULL, resident_id text NOT NULL, name text NOT NULL, role text NOT NULL, channel text NOT NULL,
		account_id text NOT NULL, address text NOT NULL, skip_code text NOT NULL, PRIMARY KEY (notice_id, n))`
	if _, err := d.ExecContext(ctx, table); err != nil {
		return 0, fmt.Errorf("table of the bare snapshot: %w", err)
	}
	defer func() {
		_, e := d.ExecContext(context.WithoutCancel(ctx), `DROP TABLE guanjia_load_audience`)
		err = errors.Join(err, e)
	}()
	rooms := estate.New(d, clock.System(), nil, func(string) company.Settings { return company.DefaultSettings() })
	rows, args := rooms.Audience(sample.CompanyID, estate.Scope{ProjectID: sample.ProjectID}, estate.AudienceOptions{Channels: channels})
	began := time.Now()
	_, err = d.ExecContext(ctx, `INSERT INTO guanjia_load_audience
		SELECT 'bare', row_number() OVER (), 0, r.unit_id, r.unit, r.building, r.entrance, r.floor, r.resident_id, r.name, r.role,
		       r.channel, r.account_id, r.address, r.skip_code
		FROM (`+rows+`) r`, args...)
	if err != nil {
		return 0, fmt.Errorf("bare snapshot: %w", err)
	}
	return time.Since(began), nil
}
