package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/register"
	"guanjia/internal/staff"
	"guanjia/notify"
	"guanjia/templates"
)

// house is the sample company with notices and their jobs. Nothing is sent by
// itself: a test plays the vendor with send.
type house struct {
	*worldtest.World
	*notify.Notices
	runner *jobs.Runner
	reg    *register.Register
}

func newHouse(t testing.TB, w *worldtest.World) *house {
	t.Helper()
	h := &house{World: w, runner: jobs.New(w.DB, w.Clock, w.Logs.Logger, jobs.Options{}), reg: register.New(w.DB, w.Clock, w.Book, w.Companies)}
	var err error
	h.Notices, err = notify.New(notify.Deps{
		DB: w.DB, Clock: w.Clock, Ledger: w.Ledger, Estate: w.Estate, Staff: w.Staff, Companies: w.Companies, Register: h.reg,
		Jobs: h.runner, Book: w.Book, Files: templates.FS(), Log: w.Logs.Logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Ledger.OnFinal("notify", h.FinalTx)
	h.Handle(h.runner)
	return h
}

// start runs the jobs.
func (h *house) start(t testing.TB) {
	t.Helper()
	if err := h.runner.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.runner.Stop(ctx); err != nil {
			t.Errorf("stop jobs: %v", err)
		}
	})
}

func each(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) { test(t, newHouse(t, w)) })
}

// as is a member of the staff by userid.
func (h *house) as(t testing.TB, role staff.Role) notify.By {
	t.Helper()
	for _, m := range h.Sample.Staff {
		if staff.Role(m.Role) == role {
			return notify.AsMember(m, "group")
		}
	}
	t.Fatalf("the sample has nobody with the role %s", role)
	return notify.By{}
}

func at(s string) notify.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", s, time.FixedZone("CST", 8*3600))
	if err != nil {
		panic(err)
	}
	return notify.Time{Time: t}
}

// burst is the outage of the story; the world begins on 2026-03-02 at 10:00.
func burst() notify.Draft {
	return notify.Draft{Kind: "emergency_outage", Topic: "outage_water", Scope: notify.Scope{Buildings: []string{"3", "4"}}, Reason: "主管爆裂抢修", EndsAt: at("2026-03-02 18:00")}
}

func planned() notify.Draft {
	return notify.Draft{Kind: "planned_outage", Topic: "outage_power", Scope: notify.Scope{Entrances: []string{"5-1"}}, Reason: "配电房检修", StartsAt: at("2026-03-05 09:00"), EndsAt: at("2026-03-05 10:30")}
}

func compose(t testing.TB, h *house, by notify.By, d notify.Draft) notify.Notice {
	t.Helper()
	n, err := h.Compose(t.Context(), by, d)
	if err != nil {
		t.Fatalf("compose: %v", err)
	}
	return n
}

func approve(t testing.TB, h *house, by notify.By, n notify.Notice) notify.Notice {
	t.Helper()
	out, err := h.Approve(t.Context(), by, n.ID)
	if err != nil {
		t.Fatalf("approve: %v %v", err, problems(n))
	}
	return out
}

// refused wants a refusal with a code.
func refused(t testing.TB, err error, code string) *notify.Refused {
	t.Helper()
	var r *notify.Refused
	if !errors.As(err, &r) || r.Code != code {
		t.Fatalf("got %v, want a refusal %s", err, code)
	}
	if r.Message == "" {
		t.Errorf("refusal %s says nothing", code)
	}
	return r
}

func problems(n notify.Notice) []string {
	var out []string
	for _, p := range n.Problems {
		out = append(out, p.Field+": "+p.Message)
	}
	return out
}

func hasProblem(list []notify.Problem, field string) bool {
	return slices.ContainsFunc(list, func(p notify.Problem) bool { return p.Field == field })
}

// step lets the job of a notice run as it would now, until it has nothing to do
// at once.
func (h *house) settle(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.runner.Settle(ctx); err != nil {
		t.Fatalf("settle jobs: %v", err)
	}
}

// advance moves the clock and lets due jobs run.
func (h *house) advance(t testing.TB, d time.Duration) {
	t.Helper()
	h.Clock.Advance(d)
	if err := h.runner.Restart(t.Context()); err != nil {
		t.Fatalf("restart jobs: %v", err)
	}
	h.settle(t)
}

// vendor plays the vendors: every delivery that is due is accepted and receipted
// as verdict says; nil delivers all.
func (h *house) vendor(t testing.TB, verdict func(ledger.Delivery) (ok bool, code string)) (sent []ledger.Delivery) {
	t.Helper()
	ctx := t.Context()
	for _, lane := range ledger.Lanes() {
		for {
			list, err := h.Ledger.Claim(ctx, ledger.ClaimQuery{Lane: lane, Channels: []string{ledger.ChannelSMS, ledger.ChannelTemplate}, Limit: 500, Lease: time.Minute})
			if err != nil {
				t.Fatalf("claim: %v", err)
			}
			if len(list) == 0 {
				break
			}
			for _, d := range list {
				a, err := h.Ledger.StartAttempt(ctx, d)
				if err != nil {
					t.Fatalf("start attempt: %v", err)
				}
				if _, err := h.Ledger.Record(ctx, a, ledger.Outcome{Kind: ledger.OK, VendorID: "v-" + a.OutID, Code: "OK"}); err != nil {
					t.Fatalf("record: %v", err)
				}
				ok, code := true, "DELIVERED"
				if verdict != nil {
					ok, code = verdict(d)
				}
				if code == "" {
					sent = append(sent, d)
					continue // no receipt yet
				}
				r := ledger.Receipt{Channel: d.Channel, AccountID: d.AccountID, OutID: a.OutID, VendorID: "v-" + a.OutID, Address: d.Address, OK: ok, Code: code, At: h.Clock.Now(), Confirmed: true}
				if err := h.Ledger.Receipt(ctx, r); err != nil {
					t.Fatalf("receipt: %v", err)
				}
				sent = append(sent, d)
			}
		}
	}
	return sent
}

// expect counts, from the sample itself, what an audience must be.
type expected struct {
	households, people, phones, followers int
	addresses                             map[string]int // channel+address -> 1
}

func (h *house) expect(places ...string) expected {
	e := expected{addresses: map[string]int{}}
	people := map[string]bool{}
	for hh := range h.Sample.Households() {
		if hh.Unit.Vacant || !slices.Contains(places, hh.Unit.Building) && !slices.Contains(places, hh.Unit.Building+"-"+hh.Unit.Entrance) {
			continue
		}
		e.households++
		for _, p := range hh.People {
			people[p.ID] = true
			if p.Phone != "" {
				e.addresses["sms|"+p.Phone] = 1
			}
			if p.Bound() {
				e.addresses["template|"+p.OpenID] = 1
			}
		}
	}
	e.people = len(people)
	for a := range e.addresses {
		if a[0] == 's' {
			e.phones++
		} else {
			e.followers++
		}
	}
	return e
}

func (h *house) rows(t testing.TB, kind, id string) []ledger.Delivery {
	t.Helper()
	list, err := h.Ledger.ByRef(t.Context(), h.DB, kind, id)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// addresses counts rows by channel and address.
func addresses(list []ledger.Delivery) map[string]int {
	out := map[string]int{}
	for _, d := range list {
		out[d.Channel+"|"+d.Address]++
	}
	return out
}

func inTx(t testing.TB, d *db.DB, f func(ctx context.Context, tx *db.Tx) error) {
	t.Helper()
	if err := d.InTx(t.Context(), "test", f); err != nil {
		t.Fatal(err)
	}
}

var _ = fmt.Sprint
var _ = sample.CompanyID

func putSMS(t testing.TB, h *house, acc company.SMSAccount) {
	t.Helper()
	inTx(t, h.DB, func(ctx context.Context, tx *db.Tx) error { return h.Companies.PutSMSTx(ctx, tx, acc) })
	if err := h.Companies.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func directory(t testing.TB, h *house) *company.Directory {
	t.Helper()
	d, err := h.Companies.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}
