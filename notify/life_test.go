package notify_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/ledger"
	"guanjia/internal/staff"
	"guanjia/notify"
	"guanjia/notify/deliver"
)

// Two people approve at once, on two nodes: one wins, the other is told who it
// was, and everybody is written to once.
func TestTwoApproveAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		other := newHouse(t, h.Node(t))
		n := compose(t, h, h.as(t, staff.RoleDutyManager), burst())
		by := []notify.By{h.as(t, staff.RoleDutyManager), h.as(t, staff.RoleDepartmentManager), h.as(t, staff.RoleCenterManager)}
		errs := make([]error, 12)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				node := []*house{h, other}[i%2]
				_, errs[i] = node.Approve(context.WithoutCancel(t.Context()), by[i%3], n.ID)
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
				continue
			}
			if r := refused(t, err, notify.RefusedState); !strings.Contains(r.Message, n.No) {
				t.Errorf("the loser is told %s", r.Message)
			}
		}
		if won != 1 {
			t.Errorf("%d won", won)
		}
		if got := addresses(h.rows(t, notify.RefNotice, n.ID)); !maps.Equal(got, h.expect("3", "4").addresses) {
			t.Errorf("%d addresses", len(got))
		}
		events, err := h.Events(t.Context(), n.CompanyID, n.ID)
		if err != nil {
			t.Fatal(err)
		}
		approved := 0
		for _, e := range events {
			if e.Kind == "approved" {
				approved++
			}
		}
		if approved != 1 {
			t.Errorf("approved %d times in the history", approved)
		}
	})
}

// notice, reminder before the start, change, reminder at the new
// hour, restored: each once for every address.
func TestPlannedOutageFromNoticeToEnd(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.start(t)
		officer, boss := h.as(t, staff.RoleInformationOfficer), h.as(t, staff.RoleDepartmentManager)
		n := compose(t, h, officer, planned())
		if n.RemindCostFen == 0 {
			t.Error("the reminder costs nothing")
		}
		n = approve(t, h, boss, n)
		h.settle(t)
		want := h.expect("5-1").addresses
		if got := addresses(h.vendor(t, nil)); !maps.Equal(got, want) {
			t.Fatalf("the notice went to %d, want %d", len(got), len(want))
		}
		in5 := home(t, h, "5")
		if _, ok, _ := h.Active(t.Context(), n.CompanyID, in5.Homes, "outage_power"); ok {
			t.Error("answered three days before it starts")
		}

		// The time moves by a day: a change to those who were told, and the old
		// reminder is dropped.
		d, err := h.ParseLine("变更 "+n.No+" 改到3月6日9点到10点半 配件未到", h.Clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		change := compose(t, h, officer, d)
		if _, err := h.Approve(t.Context(), h.as(t, staff.RoleDutyManager), change.ID); err == nil {
			t.Error("the duty manager alone approves a change of planned work")
		}
		change = approve(t, h, boss, change)
		h.settle(t)
		if got := addresses(h.vendor(t, nil)); !maps.Equal(got, want) {
			t.Errorf("the change went to %d", len(got))
		}
		if !strings.Contains(change.Preview.SMS, "3月6日 09:00") || !strings.Contains(change.Preview.SMS, "配件未到") {
			t.Errorf("the change says %s", change.Preview.SMS)
		}
		h.advance(t, at("2026-03-05 07:30").Sub(h.Clock.Now()))
		if got := h.vendor(t, nil); len(got) > 0 {
			t.Errorf("%d reminders at the old hour", len(got))
		}
		h.advance(t, at("2026-03-06 07:00").Sub(h.Clock.Now())+time.Second)
		got := h.vendor(t, nil)
		if !maps.Equal(addresses(got), want) || got[0].RefKind != notify.RefReminder || !strings.Contains(got[0].Text, "3月6日") {
			t.Errorf("%d reminders", len(got))
		}
		h.advance(t, 2*time.Hour+time.Minute)
		answer, ok, err := h.Active(t.Context(), n.CompanyID, in5.Homes, "outage_power")
		if err != nil || !ok || !strings.Contains(answer.String(), "今天 10:30") {
			t.Errorf("during the work: %q %v %v", answer.String(), ok, err)
		}
		// It takes longer; the bot says the new end, and says so when that passes.
		d, err = h.ParseLine("延长 "+n.No+" 预计11:30恢复", h.Clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		longer := compose(t, h, officer, d)
		approve(t, h, boss, longer)
		h.settle(t)
		h.vendor(t, nil)
		if answer, _, _ = h.Active(t.Context(), n.CompanyID, in5.Homes, "outage_power"); !strings.Contains(answer.String(), "今天 11:30") {
			t.Errorf("after the extension: %q", answer.String())
		}
		h.advance(t, 3*time.Hour)
		if answer, ok, _ = h.Active(t.Context(), n.CompanyID, in5.Homes, "outage_power"); !ok || !strings.Contains(answer.String(), "收尾") {
			t.Errorf("past its end: %q", answer.String())
		}
		back := approve(t, h, boss, compose(t, h, officer, notify.Draft{Kind: "restored", Of: n.No}))
		h.settle(t)
		if got := addresses(h.vendor(t, nil)); !maps.Equal(got, want) {
			t.Errorf("restored went to %d", len(got))
		}
		h.advance(t, time.Minute)
		for _, id := range []string{n.ID, change.ID, longer.ID, back.ID} {
			if x, _ := h.ByID(t.Context(), n.CompanyID, id); x.State != notify.Finished {
				t.Errorf("%s is %s", x.No, x.State)
			}
		}
		p, _, err := h.reg.ByNo(t.Context(), h.DB, n.CompanyID, n.No)
		if err != nil || p.Counts.Households != h.expect("5-1").households || p.Counts.Delivered != len(want) || p.Counts.Reached == 0 || p.State != "superseded" {
			t.Errorf("register: %+v %s %v", p.Counts, p.State, err)
		}
	})
}

// The first 20 of a large notice go alone; a text that is blocked is stopped
// there, and a person may let it go on.
func TestCanary(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		c := h.Sample.Company
		c.Settings.CanaryFrom = 50
		inTx(t, h.DB, func(ctx context.Context, tx *db.Tx) error { return h.Companies.UpdateTx(ctx, tx, c) })
		if err := h.Companies.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.start(t)
		officer, boss := h.as(t, staff.RoleInformationOfficer), h.as(t, staff.RoleDepartmentManager)
		want := h.expect("5-1").addresses
		good := approve(t, h, boss, compose(t, h, officer, planned()))
		h.settle(t)
		if got := h.vendor(t, nil); len(got) != 20 {
			t.Fatalf("%d left first, want 20", len(got))
		}
		h.advance(t, 2*time.Second)
		if got := h.vendor(t, nil); len(got) != len(want)-20 {
			t.Errorf("%d followed, want %d", len(got), len(want)-20)
		}
		if got := addresses(h.rows(t, notify.RefNotice, good.ID)); !maps.Equal(got, want) {
			t.Errorf("%d addresses", len(got))
		}

		bad := approve(t, h, boss, compose(t, h, officer, planned()))
		h.settle(t)
		h.vendor(t, func(ledger.Delivery) (bool, string) { return false, "CONTENT_KEYWORD" })
		h.advance(t, 2*time.Second)
		x, err := h.ByID(t.Context(), bad.CompanyID, bad.ID)
		if err != nil || x.State != notify.Paused || x.PausedWhy != "canary:CONTENT_KEYWORD" {
			t.Fatalf("%s %s %v", x.State, x.PausedWhy, err)
		}
		if got := h.vendor(t, nil); len(got) > 0 {
			t.Errorf("%d left while it was paused", len(got))
		}
		_, err = h.Resume(t.Context(), h.as(t, staff.RoleDutyManager), bad.ID)
		refused(t, err, notify.RefusedForbidden)
		if _, err = h.Resume(t.Context(), boss, bad.ID); err != nil {
			t.Fatal(err)
		}
		if got := h.vendor(t, nil); len(got) != len(want)-20 {
			t.Errorf("%d left after it was resumed, want %d", len(got), len(want)-20)
		}

		// Dead numbers alone stop nothing.
		dead := approve(t, h, boss, compose(t, h, officer, planned()))
		h.settle(t)
		h.vendor(t, func(ledger.Delivery) (bool, string) { return false, "MOBILE_NOT_ON_SERVICE" })
		h.advance(t, 2*time.Second)
		if x, _ := h.ByID(t.Context(), dead.CompanyID, dead.ID); x.State != notify.Sending {
			t.Errorf("%s %s", x.State, x.PausedWhy)
		}
	})
}

func TestPauseResumeCancel(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		h.start(t)
		officer, boss := h.as(t, staff.RoleInformationOfficer), h.as(t, staff.RoleDepartmentManager)
		n := approve(t, h, boss, compose(t, h, officer, planned()))
		h.settle(t)
		got, err := h.Pause(ctx, officer, n.ID) // its author may stop it
		if err != nil || got.State != notify.Paused {
			t.Fatalf("pause: %s %v", got.State, err)
		}
		if sent := h.vendor(t, nil); len(sent) > 0 {
			t.Errorf("%d left while it was paused", len(sent))
		}
		_, err = h.Pause(ctx, officer, n.ID)
		refused(t, err, notify.RefusedState)
		_, err = h.Resume(ctx, officer, n.ID)
		refused(t, err, notify.RefusedForbidden)
		if got, err = h.Resume(ctx, boss, n.ID); err != nil || got.State != notify.Sending {
			t.Fatalf("resume: %s %v", got.State, err)
		}
		// Balance gone midway: paused with the reason; nothing is lost.
		acc, _ := directory(t, h).SMSOf(n.CompanyID)
		h.Trouble(ctx, deliver.Alarm{Channel: "sms", AccountID: acc.ID, Kind: ledger.Money, Code: "isv.AMOUNT_NOT_ENOUGH", Open: true})
		if got, _ = h.ByID(ctx, n.CompanyID, n.ID); got.State != notify.Paused || got.PausedWhy != "account:isv.AMOUNT_NOT_ENOUGH" {
			t.Fatalf("trouble: %s %s", got.State, got.PausedWhy)
		}
		h.Trouble(ctx, deliver.Alarm{Channel: "sms", AccountID: acc.ID, Kind: ledger.Money, Code: "OK", Open: false})
		if _, err = h.Resume(ctx, boss, n.ID); err != nil {
			t.Fatal(err)
		}
		want := h.expect("5-1").addresses
		claimed, err := h.Ledger.Claim(ctx, ledger.ClaimQuery{Lane: ledger.LaneNormal, Limit: 3, Lease: time.Minute})
		if err != nil || len(claimed) != 3 {
			t.Fatalf("claimed %d: %v", len(claimed), err)
		}
		a, err := h.Ledger.StartAttempt(ctx, claimed[0])
		if err != nil {
			t.Fatal(err)
		}
		if got, err = h.Cancel(ctx, boss, n.ID); err != nil || got.State != notify.Cancelled {
			t.Fatalf("cancel: %s %v", got.State, err)
		}
		// What was under way ends as it ends; nothing else leaves.
		if _, err := h.Ledger.Record(ctx, a, ledger.Outcome{Kind: ledger.OK, VendorID: "v", Code: "OK"}); err != nil {
			t.Fatal(err)
		}
		for _, d := range claimed[1:] {
			if _, err := h.Ledger.StartAttempt(ctx, d); err == nil {
				t.Error("a claimed row is sent after the cancellation")
			}
		}
		p, err := h.Progress(ctx, n.CompanyID, n.ID)
		if err != nil || p.Counts["cancelled"] < len(want)-3 || p.Counts["submitted"] != 1 {
			t.Errorf("%v %v", p.Counts, err)
		}
		_, err = h.Cancel(ctx, boss, n.ID)
		refused(t, err, notify.RefusedState)
		// A draft is cancelled by its author, and gone from the register's running ones.
		d := compose(t, h, officer, planned())
		if got, err = h.Cancel(ctx, officer, d.ID); err != nil || got.State != notify.Cancelled {
			t.Errorf("cancel a draft: %v", err)
		}
		_, err = h.Approve(ctx, boss, d.ID)
		refused(t, err, notify.RefusedState)
		if row, _, _ := h.reg.ByNo(ctx, h.DB, n.CompanyID, d.No); row.State != "withdrawn" {
			t.Errorf("register: %s", row.State)
		}
	})
}

// Opt-outs are spared, but never in an emergency; known dead numbers are
// skipped with their reason and their homes stand on the call list.
func TestSkipped(t *testing.T) {
	t.Parallel()
	h := newHouse(t, worldtest.Embedded(t))
	h.start(t)
	ctx := t.Context()
	lost := loneHome(t, h, "5")
	who, _, err := h.Estate.ResidentByPhone(ctx, h.DB, sample.CompanyID, lost.phone)
	if err != nil {
		t.Fatal(err)
	}
	inTx(t, h.DB, func(ctx context.Context, tx *db.Tx) error {
		return h.Estate.OptOutTx(ctx, tx, sample.CompanyID, who.ID, estate.OptOutSMS, estate.OptOutAll, "test")
	})
	n := approve(t, h, h.as(t, staff.RoleDepartmentManager), compose(t, h, h.as(t, staff.RoleInformationOfficer), planned()))
	if n.Audience.Skipped["OPT_OUT"] != 1 {
		t.Errorf("skipped %v", n.Audience.Skipped)
	}
	h.settle(t)
	h.vendor(t, nil)
	for _, d := range h.rows(t, notify.RefNotice, n.ID) {
		if d.Address == lost.phone && (d.State != ledger.Skipped || d.Code != "OPT_OUT") {
			t.Errorf("opted out: %s %s", d.State, d.Code)
		}
	}
	reasonAt(t, h, n, lost.unit, "OPT_OUT")

	// As the bot stores 退订: every channel, what isn't necessary.
	in1 := home(t, h, "1")
	inTx(t, h.DB, func(ctx context.Context, tx *db.Tx) error {
		return h.Estate.OptOutTx(ctx, tx, sample.CompanyID, in1.ID, estate.OptOutAll, "optional", "wechat")
	})
	g := compose(t, h, h.as(t, staff.RoleInformationOfficer), notify.Draft{Kind: "general", Title: "电梯年检", Reason: "本周电梯轮流停用", Scope: notify.Scope{Units: []string{in1.Homes[0].Unit}}})
	if g.Audience.Skipped["OPT_OUT"] != 1 {
		t.Errorf("a general notice skips %v", g.Audience.Skipped)
	}

	e := burst()
	e.Scope = planned().Scope
	sent := approve(t, h, h.as(t, staff.RoleDutyManager), compose(t, h, h.as(t, staff.RoleDutyManager), e))
	if !slices.ContainsFunc(h.rows(t, notify.RefNotice, sent.ID), func(d ledger.Delivery) bool { return d.Address == lost.phone && d.State == ledger.Planned }) {
		t.Error("an emergency spares who opted out")
	}
	h.vendor(t, func(d ledger.Delivery) (bool, string) { return d.Address != lost.phone, "INVALID_NUMBER" })
	reasonAt(t, h, sent, lost.unit, "INVALID_NUMBER")
	later := approve(t, h, h.as(t, staff.RoleDutyManager), compose(t, h, h.as(t, staff.RoleDutyManager), e))
	h.vendor(t, nil)
	reasonAt(t, h, later, lost.unit, "DEAD_NUMBER")
}

func reasonAt(t *testing.T, h *house, n notify.Notice, unit, code string) {
	t.Helper()
	list, _, err := h.Unreached(t.Context(), n.CompanyID, n.ID, "", 500)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if x.Unit == unit {
			if len(x.Reasons) != 1 || x.Reasons[0].Code != code || x.Reasons[0].Text == "" {
				t.Errorf("%s: %+v, want %s", unit, x.Reasons, code)
			}
			return
		}
	}
	t.Errorf("%s is not among %d homes that were not reached", unit, len(list))
}

// A template message that fails is followed by an SMS where the kind says so.
func TestFallback(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.start(t)
		in1 := home(t, h, "1")
		d := notify.Draft{Kind: "general", Title: "电梯年检", Reason: "本周电梯轮流停用", Scope: notify.Scope{Units: []string{in1.Homes[0].Unit}}}
		n := approve(t, h, h.as(t, staff.RoleDepartmentManager), compose(t, h, h.as(t, staff.RoleInformationOfficer), d))
		if n.CostFen != 0 || n.Preview.SMS != "" {
			t.Errorf("SMS of a notice without: %d fen", n.CostFen)
		}
		h.settle(t)
		sent := h.vendor(t, func(d ledger.Delivery) (bool, string) { return d.Channel == ledger.ChannelSMS, "user_block" })
		sent = append(sent, h.vendor(t, nil)...)
		byPhone := 0
		for _, d := range sent {
			if d.Channel == ledger.ChannelSMS {
				byPhone++
			}
		}
		if byPhone == 0 || byPhone != len(sent)-byPhone {
			t.Fatalf("%d of %d by SMS", byPhone, len(sent))
		}
		p, err := h.Progress(t.Context(), n.CompanyID, n.ID)
		if err != nil || p.Reach.Reached != 1 || p.State != notify.Finished || p.ByBuilding[0].SMS != 1 {
			t.Errorf("%+v %v", p, err)
		}
		list, _, err := h.Notices.Deliveries(t.Context(), n.CompanyID, n.ID, "", 0)
		if err != nil || len(list) != len(sent) {
			t.Fatalf("%d deliveries, %v", len(list), err)
		}
		for _, d := range list {
			if d.Unit != in1.Homes[0].Unit || d.OutID == "" || d.At.IsZero() {
				t.Errorf("%+v", d)
			}
		}
	})
}

func TestCallList(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		duty, officer := h.as(t, staff.RoleDutyManager), h.as(t, staff.RoleFrontDesk)
		d := burst()
		d.Scope = notify.Scope{Entrances: []string{"3-1"}}
		n := approve(t, h, duty, compose(t, h, duty, d))
		h.vendor(t, func(ledger.Delivery) (bool, string) { return false, "MOBILE_NOT_ON_SERVICE" })
		first, next, err := h.Calls(ctx, n.CompanyID, n.ID, "", 10)
		if err != nil || len(first) != 10 || next == "" {
			t.Fatalf("%d %q %v", len(first), next, err)
		}
		second, _, err := h.Calls(ctx, n.CompanyID, n.ID, next, 10)
		if err != nil || len(second) == 0 || second[0].Unit <= first[9].Unit {
			t.Fatalf("second page %v", err)
		}
		unit := first[0].Unit
		// Two at once: one has it.
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, by := range []notify.By{duty, officer} {
			wg.Go(func() { _, errs[i] = h.ClaimCall(ctx, by, n.ID, unit) })
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("claimed by both or none: %v", errs)
		}
		has, waits := duty, officer
		if errs[0] != nil {
			has, waits = officer, duty
		}
		_, err = h.TickCall(ctx, waits, n.ID, unit, "called", "")
		refused(t, err, notify.RefusedCall)
		_, err = h.TickCall(ctx, has, n.ID, unit, "moved to the moon", "")
		refused(t, err, notify.RefusedOutcome)
		if _, err = h.TickCall(ctx, has, n.ID, unit, "无人接听", ""); err != nil {
			t.Fatal(err)
		}
		if got, err := h.TickCall(ctx, waits, n.ID, unit, "called", "老人接的"); err != nil || got.Outcome != "called" {
			t.Fatalf("%+v %v", got, err)
		}
		_, err = h.ClaimCall(ctx, has, n.ID, unit)
		refused(t, err, notify.RefusedCall)
		if list, _, _ := h.Calls(ctx, n.CompanyID, n.ID, "", 500); slices.ContainsFunc(list, func(x notify.Household) bool { return x.Unit == unit }) {
			t.Error("told, and still on the call list")
		}
		p, err := h.Progress(ctx, n.CompanyID, n.ID)
		if err != nil || p.Reach.Called != 1 || p.Reach.Reached != 0 {
			t.Errorf("%+v %v", p.Reach, err)
		}
		// Left lying, it is free for the next.
		if _, err := h.ClaimCall(ctx, duty, n.ID, first[1].Unit); err != nil {
			t.Fatal(err)
		}
		h.Clock.Advance(31 * time.Minute)
		if _, err := h.ClaimCall(ctx, officer, n.ID, first[1].Unit); err != nil {
			t.Errorf("left lying: %v", err)
		}
		_, err = h.ClaimCall(ctx, officer, n.ID, "5-1-101")
		refused(t, err, notify.RefusedCall)
		_, err = h.ClaimCall(ctx, h.as(t, staff.RoleTrainee), n.ID, first[2].Unit)
		refused(t, err, notify.RefusedForbidden)
		audit, err := h.Staff.Audit(ctx, h.DB, n.CompanyID, 100)
		if err != nil || !slices.ContainsFunc(audit, func(e staff.Entry) bool { return e.Action == "notice.called" }) {
			t.Errorf("no call in the audit: %v", err)
		}
	})
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	h := newHouse(t, worldtest.Embedded(t))
	ctx := t.Context()
	duty := h.as(t, staff.RoleDutyManager)
	n := approve(t, h, duty, compose(t, h, duty, burst()))
	lost := loneHome(t, h, "3")
	h.vendor(t, func(d ledger.Delivery) (bool, string) { return d.Address != lost.phone, "INVALID_NUMBER" })
	e, err := h.Evidence(ctx, n.CompanyID, n.ID)
	if err != nil {
		t.Fatal(err)
	}
	if e.Publication.No != n.No || e.Notice.ApproverName != duty.Name || len(e.Events) < 3 || e.Progress.Counts["delivered"] == 0 {
		t.Errorf("%+v", e.Progress)
	}
	var out bytes.Buffer
	if err := e.WriteExcel(ctx, &out); err != nil {
		t.Fatal(err)
	}
	f, err := excelize.OpenReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := ""
	for _, name := range f.GetSheetList() {
		rows, err := f.GetRows(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "逐条送达" && len(rows) != len(h.rows(t, notify.RefNotice, n.ID))+1 {
			t.Errorf("%d rows of deliveries", len(rows))
		}
		for _, r := range rows {
			all += strings.Join(r, "|") + "\n"
		}
	}
	for _, part := range []string{n.No, duty.Name, "批准", "突发停水", lost.unit, lost.phone, "空号", "已送达", "主管爆裂抢修"} {
		if !strings.Contains(all, part) {
			t.Errorf("the workbook doesn't say %s", part)
		}
	}
}

// A notice whose node died between approval and snapshot goes on elsewhere.
func TestEnsure(t *testing.T) {
	t.Parallel()
	h := newHouse(t, worldtest.Embedded(t))
	n := approve(t, h, h.as(t, staff.RoleDepartmentManager), compose(t, h, h.as(t, staff.RoleInformationOfficer), planned()))
	if len(h.rows(t, notify.RefNotice, n.ID)) > 0 {
		t.Fatal("frozen before its job ran")
	}
	for range 2 {
		if err := h.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h.start(t)
	h.settle(t)
	if got := addresses(h.rows(t, notify.RefNotice, n.ID)); !maps.Equal(got, h.expect("5-1").addresses) {
		t.Errorf("%d addresses", len(got))
	}
	// Time runs away before anything left: rows expire, none is sent late.
	h.advance(t, 96*time.Hour)
	if sent := h.vendor(t, nil); len(sent) > 0 {
		t.Errorf("%d left after it was over", len(sent))
	}
	if _, err := h.Ledger.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.advance(t, 10*time.Minute)
	if x, _ := h.ByID(t.Context(), n.CompanyID, n.ID); x.State != notify.Finished {
		t.Errorf("%s", x.State)
	}
}

// the warning sign, with photo and time, before the work begins.
func TestChecklist(t *testing.T) {
	t.Parallel()
	h := newHouse(t, worldtest.Embedded(t))
	ctx := t.Context()
	officer, cleaner := h.as(t, staff.RoleInformationOfficer), h.as(t, staff.RoleSteward)
	n := compose(t, h, officer, notify.Draft{Kind: "operation", Topic: "pest_control", Scope: notify.Scope{Entrances: []string{"2-1"}}, Reason: "夏季灭蚊", StartsAt: at("2026-03-05 09:00"), EndsAt: at("2026-03-05 10:30")})
	refused(t, h.CheckItem(ctx, cleaner, n.ID, "警示标识已树立", "media/1"), notify.RefusedState)
	n = approve(t, h, h.as(t, staff.RoleDepartmentManager), n)
	refused(t, h.BeginWork(ctx, cleaner, n.ID), notify.RefusedState)
	refused(t, h.CheckItem(ctx, cleaner, n.ID, "警示标识已树立", ""), notify.RefusedCall)
	refused(t, h.CheckItem(ctx, cleaner, n.ID, "别的", "media/1"), notify.RefusedCall)
	refused(t, h.CheckItem(ctx, h.as(t, staff.RoleTrainee), n.ID, "警示标识已树立", "media/1"), notify.RefusedForbidden)
	if err := h.CheckItem(ctx, cleaner, n.ID, "警示标识已树立", "media/1"); err != nil {
		t.Fatal(err)
	}
	if err := h.BeginWork(ctx, cleaner, n.ID); err != nil {
		t.Fatal(err)
	}
	items, begun, err := h.Checklist(ctx, n.CompanyID, n.ID)
	if err != nil || !begun || len(items) != 1 || !items[0].Done || items[0].Proof != "media/1" || items[0].Name != cleaner.Name || items[0].At.IsZero() {
		t.Errorf("%+v %v %v", items, begun, err)
	}
}
