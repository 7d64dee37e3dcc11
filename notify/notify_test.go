package notify_test

import (
	"maps"
	"strings"
	"testing"

	"guanjia/internal/app/sample"
	"guanjia/internal/estate"
	"guanjia/internal/ledger"
	"guanjia/internal/staff"
	"guanjia/notify"
)

// The story, steps 5 to 7: an outage reaches every home, the home that it
// doesn't reach stands on the call list, residents are answered from it, and
// its end reaches exactly those who were told.
func TestAnOutageReachesEveryHome(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		duty := h.as(t, staff.RoleDutyManager)
		n := compose(t, h, duty, burst())
		if len(n.Problems) > 0 || n.No != "T0001" || n.State != notify.Drafted {
			t.Fatalf("draft %s %s: %v", n.No, n.State, problems(n))
		}
		want := h.expect("3", "4")
		if a := n.Audience; a.Households != want.households || a.People != want.people || a.SMS != want.phones || a.Template != want.followers {
			t.Errorf("audience %+v, want %+v", a, want)
		}
		if n.Segments < 1 || n.CostFen != (n.Audience.SMS*n.Segments*45+9)/10 {
			t.Errorf("%d segments cost %d fen", n.Segments, n.CostFen)
		}
		// Six parts, as the resident reads them.
		for _, part := range []string{"突发停水", "3栋、4栋", "3月2日 18:00", "主管爆裂抢修", "关好水龙头", "0571-00000024", "【青禾物业】"} {
			if !strings.Contains(n.Preview.SMS, part) {
				t.Errorf("the SMS doesn't say %s: %s", part, n.Preview.SMS)
			}
		}
		if !strings.Contains(n.Preview.Template, "主管爆裂抢修") {
			t.Errorf("template message: %s", n.Preview.Template)
		}

		// the duty manager alone, and his own; R-177: at once.
		n = approve(t, h, duty, n)
		if n.State != notify.Sending || !n.EndorseDue || n.StartedAt.IsZero() {
			t.Fatalf("after approval: %s, endorsement due %v", n.State, n.EndorseDue)
		}
		rows := h.rows(t, notify.RefNotice, n.ID)
		if got := addresses(rows); !maps.Equal(got, want.addresses) {
			t.Errorf("%d addresses are written to, want %d, each once", len(got), len(want.addresses))
		}
		for _, d := range rows {
			if d.Lane != ledger.LaneEmergency || d.Class != ledger.ClassDanger {
				t.Fatalf("lane %s, class %s", d.Lane, d.Class)
			}
		}

		// One number fails for good, and nobody at that home follows the account.
		lost := loneHome(t, h, "3")
		h.vendor(t, func(d ledger.Delivery) (bool, string) {
			if d.Address == lost.phone {
				return false, "INVALID_NUMBER"
			}
			return true, "DELIVERED"
		})
		calls, _, err := h.Calls(t.Context(), sample.CompanyID, n.ID, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, c := range calls {
			if c.Unit != lost.unit {
				continue
			}
			found = true
			if len(c.Residents) != 1 || c.Residents[0].Phone != lost.phone || len(c.Reasons) != 1 || c.Reasons[0].Code != "INVALID_NUMBER" || c.Reasons[0].Text != "空号" {
				t.Errorf("call list: %+v", c)
			}
		}
		if !found {
			t.Fatalf("%s doesn't stand on the call list", lost.unit)
		}
		r, _, err := h.Estate.ResidentByPhone(t.Context(), h.DB, sample.CompanyID, lost.phone)
		if err != nil || !r.PhoneDead {
			t.Errorf("the number is not noted as dead: %v", err)
		}
		p, err := h.Progress(t.Context(), sample.CompanyID, n.ID)
		if err != nil {
			t.Fatal(err)
		}
		if p.State != notify.Finished || p.Reach.Households != want.households || p.Reach.Reached != want.households-len(calls) {
			t.Errorf("progress: %s, reach %+v, %d on the call list", p.State, p.Reach, len(calls))
		}

		// Step 6.
		in3, in5 := home(t, h, "3"), home(t, h, "5")
		answer, ok, err := h.Active(t.Context(), sample.CompanyID, in3.Homes, "outage_water")
		if err != nil || !ok || !strings.Contains(answer.String(), "今天 18:00") || !strings.Contains(answer.String(), "主管爆裂") {
			t.Errorf("a resident of building 3 is told %q, %v", answer.String(), err)
		}
		if _, ok, _ := h.Active(t.Context(), sample.CompanyID, in5.Homes, "outage_water"); ok {
			t.Error("a resident of building 5 is answered from a notice that isn't his")
		}
		if _, ok, _ := h.Active(t.Context(), sample.CompanyID, in3.Homes, "outage_power"); ok {
			t.Error("no power is answered from a notice about water")
		}

		// Step 7: the end, to those who were told.
		d, err := h.ParseLine("恢复 "+n.No, h.Clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		back := compose(t, h, duty, d)
		if len(back.Problems) > 0 {
			t.Fatalf("restored: %v", problems(back))
		}
		back = approve(t, h, duty, back)
		told := maps.Clone(want.addresses)
		delete(told, "sms|"+lost.phone)
		if got := addresses(h.rows(t, notify.RefNotice, back.ID)); !maps.Equal(got, told) {
			t.Errorf("the end reaches %d addresses, want the %d that were told", len(got), len(told))
		}
		if !strings.Contains(back.Preview.SMS, "恢复供水") {
			t.Errorf("the end says %s", back.Preview.SMS)
		}
		if _, ok, _ := h.Active(t.Context(), sample.CompanyID, in3.Homes, "outage_water"); ok {
			t.Error("the outage is over, and the bot still answers from it")
		}
		again := compose(t, h, duty, notify.Draft{Kind: "restored", Of: n.No})
		if !hasProblem(again.Problems, "of") {
			t.Errorf("a second end: %v", problems(again))
		}
	})
}

type lone struct{ unit, phone string }

// loneHome is a home with one resident who is known by phone only.
func loneHome(t testing.TB, h *house, building string) lone {
	t.Helper()
	homesOf := map[string]int{}
	for hh := range h.Sample.Households() {
		for _, p := range hh.People {
			homesOf[p.ID]++
		}
	}
	for hh := range h.Sample.Households() {
		if hh.Unit.Building == building && hh.Unit.Entrance == "1" && !hh.Unit.Vacant && len(hh.People) == 1 && hh.People[0].Phone != "" && !hh.People[0].Bound() && homesOf[hh.People[0].ID] == 1 {
			return lone{hh.Unit.Code, hh.People[0].Phone}
		}
	}
	t.Fatalf("building %s has no such home", building)
	return lone{}
}

// home is a bound resident who lives in one building only.
func home(t testing.TB, h *house, building string) estate.Resident {
	t.Helper()
	for hh := range h.Sample.Households() {
		for _, p := range hh.People {
			if hh.Unit.Building != building || hh.Unit.Entrance != "1" || !p.Bound() {
				continue
			}
			r, ok, err := h.Estate.ResidentByOpenID(t.Context(), h.DB, sample.CompanyID, p.OpenID)
			if err != nil || !ok {
				t.Fatalf("resident: %v", err)
			}
			if len(r.Homes) == 1 {
				return r
			}
		}
	}
	t.Fatalf("nobody bound in building %s", building)
	return estate.Resident{}
}
