package sms_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/ledger"
	"guanjia/internal/sandbox/simcore"
	"guanjia/notify/deliver"
)

// ask makes a call of the simulators' control interface.
func (r *rig) ask(method, path string, in, out any) {
	r.t.Helper()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			r.t.Fatal(err)
		}
	}
	q, err := http.NewRequestWithContext(context.Background(), method, r.simURL+path, &body)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("%s %s: %s", method, path, res.Status)
	}
	if out != nil {
		if err := json.NewDecoder(res.Body).Decode(out); err != nil {
			r.t.Fatal(err)
		}
	}
}

type fault struct {
	Target string  `json:"target"`
	Kind   string  `json:"kind"`
	Share  float64 `json:"share"`
	Seed   int     `json:"seed"`
	Code   string  `json:"code,omitempty"`
	MS     int     `json:"ms,omitempty"`
	Match  any     `json:"match,omitempty"`
}

// text is a line of the simulator's inbox.
type text struct {
	Phone   string `json:"phone"`
	OutID   string `json:"out_id"`
	BizID   string `json:"biz_id"`
	State   string `json:"state"`
	ErrCode string `json:"err_code"`
}

func (r *rig) inbox() []text {
	r.t.Helper()
	var page struct {
		Items []text `json:"items"`
	}
	r.ask(http.MethodGet, "/sim/sms", nil, &page)
	return page.Items
}

// settle lets simulators and product do all that is due by their clock.
func (r *rig) settle(e *deliver.Engine) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for range 3 {
		if err := r.sim.Settle(ctx); err != nil {
			r.t.Fatal(err)
		}
		if err := r.s.Settle(ctx); err != nil {
			r.t.Fatal(err)
		}
		if err := e.Settle(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) advance(d time.Duration) {
	r.t.Helper()
	if err := r.clk.Advance(context.Background(), d); err != nil {
		r.t.Fatal(err)
	}
}

// Every fifth call is accepted and not answered, every tenth throttled, every
// twentieth receipt lost, some phones dead. Seventy-two hours later no row is
// left without a final state, nobody has it twice, and every count is the
// vendor's.
func TestBroadcastUnderFaults(t *testing.T) {
	t.Parallel()
	for engine, n := range map[string]int{"sqlite": 2000, "postgres": 500} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var d *db.DB
			if engine == "sqlite" {
				d = dbtest.SQLite(t)
			} else {
				d = dbtest.Open(t, dbtest.Postgres(t))
			}
			broadcastUnderFaults(newRig(t, d, rigOptions{}), int64(n))
		})
	}
}

func broadcastUnderFaults(r *rig, n int64) {
	t := r.t
	r.ask(http.MethodPut, "/sim/faults", []fault{
		{Target: "sms.send", Kind: simcore.FaultTimeoutAfterAccept, Share: 0.2, Seed: 1, MS: 5},
		{Target: "sms.send", Kind: simcore.FaultErrcode, Share: 0.1, Seed: 2, Code: "Throttling.User"},
		{Target: "sms.send", Kind: simcore.FaultReceipt, Share: 0.03, Seed: 3, Code: "INVALID_NUMBER"},
		{Target: "sms.report", Kind: simcore.FaultDrop, Share: 0.05, Seed: 4},
		{Target: "sms.report", Kind: simcore.FaultDuplicate, Share: 0.05, Seed: 5},
	}, nil)
	r.put("n1", "1390", int(n), nil)
	e, _ := r.engine(deliver.Options{Rates: func(string, string) deliver.Rate { return deliver.Rate{PerSecond: 50_000, Burst: 1000} }})
	until(t, "every call is made", 3*time.Minute, func() bool {
		s := r.states("n1")
		return s[ledger.Planned]+s[ledger.Claimed]+s[ledger.Sending] == 0
	})
	for _, step := range []time.Duration{
		2 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 6 * time.Minute, 20 * time.Minute,
		2 * time.Hour, 24 * time.Hour, 46 * time.Hour,
	} {
		r.advance(step)
		r.settle(e)
	}
	got := r.states("n1")
	for s := range got {
		if !s.Final() {
			t.Errorf("%d deliveries are left %s", got[s], s)
		}
	}
	vendors, seen := map[string]int64{}, map[string]bool{}
	for _, x := range r.inbox() {
		vendors[x.State]++
		if seen[x.Phone] {
			t.Errorf("a phone has it twice")
		}
		seen[x.Phone] = true
	}
	if int64(len(seen)) != n {
		t.Errorf("the vendor has %d phones, want %d", len(seen), n)
	}
	if got[ledger.Delivered] != vendors["delivered"] || got[ledger.Failed] != vendors["failed"] || vendors["submitted"] != 0 {
		t.Errorf("ours: %s; the vendor's: %v", say(got), vendors)
	}
	if got[ledger.Failed] == 0 || got[ledger.Delivered] == 0 {
		t.Errorf("the faults did not bite: %s", say(got))
	}
	r.compareCalls()
}

// compareCalls holds our attempts against the vendor's count of calls.
func (r *rig) compareCalls() {
	r.t.Helper()
	var counters struct {
		Calls []struct {
			Target, Outcome string
			N               int64
		} `json:"calls"`
		Duplicates struct {
			OutID []any `json:"out_id"`
		} `json:"duplicates"`
	}
	r.ask(http.MethodGet, "/sim/counters", nil, &counters)
	if len(counters.Duplicates.OutID) != 0 {
		r.t.Errorf("%d out-ids were accepted twice", len(counters.Duplicates.OutID))
	}
	theirs := map[string]int64{}
	for _, c := range counters.Calls {
		if c.Target == "sms.send" {
			theirs[c.Outcome] += c.N
		}
	}
	ours := map[string]int64{}
	rows, err := r.db.QueryContext(context.Background(), `select outcome, count(*) from attempts group by outcome`)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var kind string
		var n int64
		if err := rows.Scan(&kind, &n); err != nil {
			r.t.Fatal(err)
		}
		ours[kind] = n
	}
	for kind, outcome := range map[string]string{"ok": "ok", "throttled": "Throttling.User", "ambiguous": "timeout_after_accept"} {
		if ours[kind] != theirs[outcome] || ours[kind] == 0 {
			r.t.Errorf("%d attempts ended %s, the vendor counts %d %s", ours[kind], kind, theirs[outcome], outcome)
		}
	}
}

// A dead number is confirmed by the vendor as soon as its receipt says so: the
// home stands on the call list within two seconds (issue: figures of a notice).
func TestDeadNumberIsConfirmedAtOnce(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := newRig(t, d, rigOptions{})
		r.ask(http.MethodPut, "/sim/faults", []fault{
			{Target: "sms.send", Kind: simcore.FaultReceipt, Share: 1, Code: "INVALID_NUMBER", Match: map[string]string{"phone": "13900000002"}},
		}, nil)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = r.s.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		r.put("n1", "1390", 3, nil)
		r.engine(deliver.Options{})
		until(t, "the dead number is known", time.Minute, func() bool {
			s := r.states("n1")
			return s[ledger.Failed] == 1 && s[ledger.Delivered] == 2
		})
		var code string
		var receipt, final db.Time
		err := d.QueryRowContext(t.Context(), `
			select d.code, a.receipt_at, d.final_at from deliveries d join attempts a on a.delivery_id = d.id where d.state = 'failed'`).
			Scan(&code, &receipt, &final)
		if err != nil || code != "INVALID_NUMBER" {
			t.Fatalf("code %s, %v", code, err)
		}
		if took := final.Sub(receipt.Time); took > 2*time.Second {
			t.Errorf("%s from the receipt to its confirmation", took)
		}
	})
}

// Receipts that an attacker makes up, for strangers or for what is on its way,
// change nothing that counts.
func TestForgedAndStrangeReceipts(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.SQLite(t), rigOptions{})
	r.put("n1", "1390", 2, nil)
	e, _ := r.engine(deliver.Options{})
	until(t, "sent", time.Minute, func() bool { return len(r.inbox()) == 2 })
	mine := r.inbox()[0]
	for _, forged := range []map[string]any{
		{"ok": false, "err_code": "INVALID_NUMBER", "phone": mine.Phone, "forged": true},
		{"ok": true, "phone": "13999999999", "out_id": "nobody", "forged": true},
	} {
		r.ask(http.MethodPost, "/sim/sms/"+mine.BizID+"/report", forged, nil)
		r.ask(http.MethodPost, "/sim/sms/"+mine.BizID+"x/report", forged, nil)
	}
	r.advance(3 * time.Second)
	r.settle(e)
	r.advance(11 * time.Minute)
	r.settle(e)
	if s := r.states("n1"); s[ledger.Delivered] != 2 || s[ledger.Failed] != 0 {
		t.Fatalf("states %s", say(s))
	}
}

// Phones of every broken kind end as failed, each by itself, without a call.
func TestBrokenPhones(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.SQLite(t), rigOptions{})
	broken := []string{
		" ", "1", "1390000000", "139000000011", "12900000001", "23900000001", "1390000000a", "13900000001,13900000002",
		"+8613900000001x", "０１３９０００００００１", "0571-88880000", "13900000001\n", "null", "1390000 0001",
	}
	for i, phone := range broken {
		r.put(fmt.Sprintf("n%d", i), "1390", 1, func(b *ledger.Bulk) {
			b.Rows = `select cast($1 as text) || 'x' as id, 's1' as account_id, cast($2 as text) as address, '' as skip_code, '' as plan`
			b.Args = []any{fmt.Sprintf("n%d", i), phone}
		})
	}
	r.put("good", "1390", 3, nil)
	r.engine(deliver.Options{})
	until(t, "the good ones leave", time.Minute, func() bool { return len(r.inbox()) == 3 })
	for i, phone := range broken {
		ref := fmt.Sprintf("n%d", i)
		until(t, "broken ones end", time.Minute, func() bool { return r.states(ref)[ledger.Failed] == 1 })
		_ = phone
	}
	if n := len(r.inbox()); n != 3 {
		t.Errorf("%d texts, want 3", n)
	}
}
