package sms_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/sandbox"
	"guanjia/internal/sandbox/simcore"
	"guanjia/notify/deliver"
	"guanjia/notify/sms"
)

const (
	rigKey    = "rigAccessKeyId"
	rigSecret = "rigSecret0123456789"
	rigPath   = "c4llb4ckS3cr3tOfTheCompany00"
	rigSign   = "桂苑物业"
)

// rig is the SMS side of the product, whole, against the simulator: every byte
// crosses HTTP both ways.
type rig struct {
	t       testing.TB
	db      *db.DB
	clk     *clock.Adjustable
	sim     *sandbox.Server
	simURL  string
	backURL string // where receipts come in
	handler http.Handler
	l       *ledger.Ledger
	s       *sms.Service
	dir     *company.Store
}

type rigOptions struct {
	workers int
	account func(a *simcore.SMSAccount)
	uplink  sms.UplinkFunc
}

func newRig(t testing.TB, d *db.DB, o rigOptions) *rig {
	t.Helper()
	r := &rig{t: t, db: d, clk: clock.NewAdjustable(time.Time{})}
	r.sim = sandbox.New(sandbox.Options{Clock: r.clk})
	addr, err := r.sim.Start(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.simURL = "http://" + addr
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.sim.Stop(ctx); err != nil {
			t.Errorf("stop simulators: %v", err)
		}
	})
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.handler.ServeHTTP(w, q) }))
	t.Cleanup(back.Close)
	r.backURL = back.URL
	r.world(o)
	r.open(o)
	return r
}

func (r *rig) world(o rigOptions) {
	acc := simcore.SMSAccount{
		AccessKeyID: rigKey, Secret: rigSecret, Signs: []simcore.SMSSign{{Name: rigSign}}, QPS: 100_000,
		Templates:  []simcore.SMSTemplate{{Code: "SMS_100", Name: "停水", Content: "您好，${area}因${reason}停水，预计${until}恢复。"}},
		ReportURLs: []string{r.backURL + "/sms/c1/" + rigPath + "/report"},
		UpURLs:     []string{r.backURL + "/sms/c1/" + rigPath + "/up"},
	}
	if o.account != nil {
		o.account(&acc)
	}
	if err := r.sim.LoadWorld(simcore.World{SMS: []simcore.SMSAccount{acc}}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) open(o rigOptions) {
	r.l = ledger.Open(r.db, r.clk, slog.New(slog.DiscardHandler))
	r.t.Cleanup(r.l.Stop)
	sealer, err := company.NewSealer(make([]byte, 32))
	if err != nil {
		r.t.Fatal(err)
	}
	r.dir = company.New(r.db, sealer)
	err = r.db.InTx(context.Background(), "seed", func(ctx context.Context, tx *db.Tx) error {
		err := r.dir.CreateTx(ctx, tx, company.Company{ID: "c1", Name: "物业", Short: "物业", Settings: company.DefaultSettings()})
		if err != nil {
			return err
		}
		return r.dir.PutSMSTx(ctx, tx, company.SMSAccount{
			ID: "s1", CompanyID: "c1", AccessKeyID: rigKey, AccessKeySecret: rigSecret, Sign: rigSign, CallbackSecret: rigPath,
			Templates: map[string]string{"outage": "SMS_100"},
		})
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.s, err = sms.New(sms.Options{
		Base: r.simURL + "/dysmsapi.aliyuncs.com", Workers: o.workers, Directory: r.dir, Ledger: r.l, DB: r.db,
		Clock: r.clk, OnUplink: o.uplink,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.s.Close)
	r.handler = r.s
}

var rigPayload = sms.Payload{Purpose: "outage", Params: map[string]string{"area": "3栋、4栋", "reason": "主管爆裂抢修", "until": "18:00"}}

// put snapshots n recipients whose phones begin with prefix (four digits).
func (r *rig) put(ref, prefix string, n int, change func(b *ledger.Bulk)) {
	r.t.Helper()
	b := ledger.Bulk{
		CompanyID: "c1", Channel: ledger.ChannelSMS, Lane: ledger.LaneBulk, Class: ledger.ClassPlanned,
		RefKind: "notice", RefID: ref, Payload: rigPayload,
		Rows: `with recursive n(i) as (select 1 union all select i + 1 from n where i < cast($2 as bigint))
			select cast($1 as text) || 's' || cast(1000000 + i as text) as id, 's1' as account_id,
				cast($3 as text) || substr(cast(10000000 + i as text), 2) as address, '' as skip_code, '' as plan from n`,
		Args: []any{ref, n, prefix},
	}
	if change != nil {
		change(&b)
	}
	err := r.db.InTx(context.Background(), "snapshot", func(ctx context.Context, tx *db.Tx) error {
		_, err := r.l.PutBulkTx(ctx, tx, b)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// engine runs until the test ends or stop is called.
func (r *rig) engine(o deliver.Options) (e *deliver.Engine, stop func()) {
	r.t.Helper()
	o.Clock = r.clk
	e = deliver.New(r.l, []deliver.Sender{r.s}, o)
	done := make(chan error, 1)
	go func() { done <- e.Run(context.Background()) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			r.t.Errorf("stop engine: %v", err)
		}
		if err := <-done; err != nil {
			r.t.Errorf("engine: %v", err)
		}
	}
	r.t.Cleanup(stop)
	return e, stop
}

// states counts the rows of a reference.
func (r *rig) states(ref string) map[ledger.State]int64 {
	r.t.Helper()
	list, err := r.l.Counts(context.Background(), r.db, "notice", ref)
	if err != nil {
		r.t.Fatal(err)
	}
	m := map[ledger.State]int64{}
	for _, c := range list {
		m[c.State] += c.N
	}
	return m
}

func say(m map[ledger.State]int64) string {
	var parts []string
	for _, s := range ledger.AllStates() {
		if m[s] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", s, m[s]))
		}
	}
	return strings.Join(parts, ", ")
}

// until waits for a condition of the world, not for a time.
func until(t testing.TB, what string, patience time.Duration, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: waited %s in vain", what, patience)
		}
	}
}
