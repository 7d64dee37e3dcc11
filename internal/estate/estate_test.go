package estate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/estate"
)

type suite struct {
	*estate.Estate
	db    *db.DB
	clock *clock.Manual
}

var start = time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)

// newSuite has two companies. c1 has two projects: in p1 Wang owns 3-2-1201
// and 4-1-301, Li and his tenant Zhao live in 3-2-1202; p2 has a 3-2-1201 too.
func newSuite(t *testing.T, d *db.DB) suite {
	t.Helper()
	sealer, err := company.NewSealer(bytes.Repeat([]byte{1}, company.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	s := suite{db: d, clock: clock.NewManual(start)}
	s.Estate = estate.New(d, s.clock, sealer, nil)
	companies := company.New(d, sealer)
	unit := func(id, project, code string) estate.Unit {
		p := strings.Split(code, "-")
		return estate.Unit{
			ID: id, CompanyID: "c1", ProjectID: project, EntranceID: "e-" + project, Building: p[0], Entrance: p[1], Room: p[2], Code: code,
			Floor: estate.FloorOf(p[2]), Kind: estate.KindFlat,
		}
	}
	home := func(resident, unit, role string, until time.Time) estate.HomeRow {
		return estate.HomeRow{ID: resident + unit, CompanyID: "c1", ResidentID: resident, UnitID: unit, Role: role, Since: start.Add(-time.Hour), Until: until}
	}
	s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
		for _, id := range []string{"c1", "c2"} {
			if err := companies.CreateTx(ctx, tx, company.Company{ID: id, Settings: company.DefaultSettings()}); err != nil {
				return err
			}
		}
		return s.PutTx(ctx, tx, estate.Batch{
			Projects:  []estate.Project{{ID: "p1", CompanyID: "c1", Name: "青禾花园"}, {ID: "p2", CompanyID: "c1", Name: "云锦苑"}},
			Buildings: []estate.Building{{ID: "b1", CompanyID: "c1", ProjectID: "p1", Code: "3"}, {ID: "b10", CompanyID: "c1", ProjectID: "p1", Code: "10"}, {ID: "b2", CompanyID: "c1", ProjectID: "p2", Code: "3"}},
			Entrances: []estate.Entrance{{ID: "e-p1", CompanyID: "c1", BuildingID: "b1", Code: "2"}, {ID: "e-p2", CompanyID: "c1", BuildingID: "b2", Code: "2"}},
			Units:     []estate.Unit{unit("u1", "p1", "3-2-1201"), unit("u2", "p1", "3-2-1202"), unit("u3", "p1", "4-1-301"), unit("u4", "p2", "3-2-1201")},
			Residents: []estate.Resident{
				{ID: "wang", CompanyID: "c1", Name: "王晓梅", Phone: "13800000001"}, {ID: "li", CompanyID: "c1", Name: "李强", Phone: "13800000002"},
				{ID: "zhao", CompanyID: "c1", Name: "赵明", Phone: "13800000003"}, {ID: "gone", CompanyID: "c1", Name: "钱一", Phone: "13800000004"},
				{ID: "other", CompanyID: "c1", Name: "孙二", Phone: "13800000005"}, {ID: "child", CompanyID: "c1", Name: "王小"},
			},
			Homes: []estate.HomeRow{
				home("wang", "u1", estate.RoleOwner, time.Time{}), home("wang", "u3", estate.RoleOwner, time.Time{}),
				home("li", "u2", estate.RoleOwner, time.Time{}), home("zhao", "u2", estate.RoleTenant, start.Add(24*time.Hour)),
				home("gone", "u1", estate.RoleTenant, start.Add(-time.Minute)), home("other", "u4", estate.RoleOwner, time.Time{}),
				home("child", "u1", estate.RoleFamily, time.Time{}),
			},
			Bindings: []estate.Binding{{ID: "bind1", CompanyID: "c1", AccountID: "a1", OpenID: "o-li", ResidentID: "li", BoundAt: start}},
		})
	})
	return s
}

func (s suite) inTx(t testing.TB, f func(ctx context.Context, tx *db.Tx) error) {
	t.Helper()
	if err := s.db.InTx(context.Background(), "test", f); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, test func(t *testing.T, s suite)) {
	t.Helper()
	dbtest.Run(t, func(t *testing.T, d *db.DB) { test(t, newSuite(t, d)) })
}

func TestResidents(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		yes, no := true, false
		for name, c := range map[string]struct {
			filter estate.Filter
			want   string
		}{
			"all":               {estate.Filter{}, "child gone li other wang zhao"},
			"unit":              {estate.Filter{Unit: "3-2-1202"}, "li zhao"},
			"unit, spelled":     {estate.Filter{Unit: "三栋二单元1202室"}, "li zhao"},
			"unit, two estates": {estate.Filter{Unit: "3-2-1201"}, "child other wang"}, // gone has moved out
			"unit in project":   {estate.Filter{Unit: "3-2-1201", Project: "p2"}, "other"},
			"unknown unit":      {estate.Filter{Unit: "9-9-999"}, ""},
			"no unit at all":    {estate.Filter{Unit: "upstairs"}, ""},
			"phone":             {estate.Filter{Phone: "+86 138-0000-0002"}, "li"},
			"no phone at all":   {estate.Filter{Phone: "abc"}, ""},
			"openid":            {estate.Filter{OpenID: "o-li"}, "li"},
			"bound":             {estate.Filter{Bound: &yes}, "li"},
			"not bound":         {estate.Filter{Bound: &no, Unit: "3-2-1202"}, "zhao"},
			"project":           {estate.Filter{Project: "p1"}, "child li wang zhao"},
			"id":                {estate.Filter{ID: "wang"}, "wang"},
		} {
			list, next, err := s.Residents(context.Background(), s.db, "c1", c.filter)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var ids []string
			for _, r := range list {
				ids = append(ids, r.ID)
			}
			if got := strings.Join(ids, " "); got != c.want || next != "" {
				t.Errorf("%s: got %q, next %q; want %q", name, got, next, c.want)
			}
			if list, _, err := s.Residents(context.Background(), s.db, "c2", c.filter); len(list) != 0 || err != nil {
				t.Errorf("%s: another company sees %d residents, %v", name, len(list), err)
			}
		}
		r, ok, err := s.ResidentByID(context.Background(), s.db, "c1", "wang")
		want := estate.Resident{ID: "wang", CompanyID: "c1", Name: "王晓梅", Phone: "13800000001", Homes: []estate.Home{
			{UnitID: "u1", Unit: "3-2-1201", ProjectID: "p1", Building: "3", Role: estate.RoleOwner},
			{UnitID: "u3", Unit: "4-1-301", ProjectID: "p1", Building: "4", Role: estate.RoleOwner},
		}}
		if d := cmp.Diff(want, r); !ok || err != nil || d != "" {
			t.Errorf("%t, %v\n%s", ok, err, d)
		}
	})
}

func TestResidentsByPages(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		var got []string
		f := estate.Filter{Limit: 2}
		for range 10 {
			list, next, err := s.Residents(context.Background(), s.db, "c1", f)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range list {
				got = append(got, r.ID)
			}
			if next == "" {
				break
			}
			f.Cursor = next
		}
		if strings.Join(got, " ") != "child gone li other wang zhao" {
			t.Errorf("pages give %v", got)
		}
	})
}

func TestTenantLosesTheHomeOnTheDay(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		if r, _, err := s.ResidentByID(ctx, s.db, "c1", "zhao"); err != nil || len(r.Homes) != 1 {
			t.Fatalf("before: %+v, %v", r, err)
		}
		s.clock.Set(start.Add(25 * time.Hour))
		if r, _, err := s.ResidentByID(ctx, s.db, "c1", "zhao"); err != nil || len(r.Homes) != 0 {
			t.Errorf("after: %+v, %v", r, err)
		}
	})
}

func TestUnits(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		u, ok, err := s.UnitByCode(ctx, s.db, "c1", "3栋2单元1202")
		if !ok || err != nil || u.ID != "u2" || u.Floor != 12 || u.Building != "3" {
			t.Errorf("unit is %+v, %t, %v", u, ok, err)
		}
		if _, _, err := s.UnitByCode(ctx, s.db, "c1", "3-2-1201"); !errors.Is(err, estate.ErrAmbiguousUnit) {
			t.Errorf("a code of two projects gives %v, want ErrAmbiguousUnit", err)
		}
		if _, ok, err := s.UnitByCode(ctx, s.db, "c1", "7-1-101"); ok || err != nil {
			t.Errorf("an unknown code gives %t, %v", ok, err)
		}
		if u, ok, err := s.UnitByID(ctx, s.db, "c1", "u4"); !ok || err != nil || u.ProjectID != "p2" {
			t.Errorf("by id: %+v, %t, %v", u, ok, err)
		}
		if _, ok, err := s.UnitByID(ctx, s.db, "c2", "u4"); ok || err != nil {
			t.Errorf("another company sees the unit: %v", err)
		}
		ps, err := s.Projects(ctx, s.db, "c1")
		if err != nil || len(ps) != 2 {
			t.Errorf("projects: %v, %v", ps, err)
		}
		if p, ok, err := s.ProjectByID(ctx, s.db, "c1", "p1"); !ok || err != nil || p.Name != "青禾花园" {
			t.Errorf("project: %+v, %t, %v", p, ok, err)
		}
		bs, err := s.Buildings(ctx, s.db, "c1", "p1")
		if err != nil || len(bs) != 2 || bs[0].Code != "3" || bs[1].Code != "10" {
			t.Errorf("buildings are not in the order people count: %v, %v", bs, err)
		}
	})
}

func (s suite) startBind(t testing.TB, openID, unit, phone string) estate.BindStart {
	t.Helper()
	var out estate.BindStart
	s.inTx(t, func(ctx context.Context, tx *db.Tx) (err error) {
		out, err = s.StartBindTx(ctx, tx, "c1", "a1", openID, unit, phone)
		return err
	})
	return out
}

func (s suite) confirm(t testing.TB, openID, code string) (r estate.Resident, h estate.Home, answer error) {
	t.Helper()
	s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
		r, h, answer = s.ConfirmBindTx(ctx, tx, "c1", openID, code)
		return nil // the spent try is kept
	})
	return r, h, answer
}

func TestBinding(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		b := s.startBind(t, "o-wang", "3栋2单元1201", "138 0000 0001")
		if b.Outcome != estate.CodeSent || b.Phone != "13800000001" || len(b.Code) != 6 || b.Unit != "3-2-1201" || b.BindID == "" {
			t.Fatalf("outcome %s", b.Outcome)
		}
		if again := s.startBind(t, "o-wang", "3-2-1201", "13800000001"); again.Outcome != estate.TooSoon || again.Code != "" {
			t.Errorf("within a minute: %s, want too_soon", again.Outcome)
		}
		if pending, err := s.BindPending(ctx, s.db, "c1", "o-wang"); !pending || err != nil {
			t.Errorf("code is awaited: %t, %v", pending, err)
		}
		wrong := "000000"
		if wrong == b.Code {
			wrong = "000001"
		}
		if _, _, err := s.confirm(t, "o-wang", wrong); !errors.Is(err, estate.ErrWrongCode) {
			t.Errorf("wrong code: %v", err)
		}
		if left, err := s.BindTriesLeft(ctx, s.db, "c1", "o-wang"); left != 4 || err != nil {
			t.Errorf("%d tries left, %v; want 4", left, err)
		}
		r, h, err := s.confirm(t, "o-wang", b.Code)
		if err != nil || r.ID != "wang" || h.Unit != "3-2-1201" || h.ProjectID != "p1" || len(r.Homes) != 2 {
			t.Fatalf("confirmed: %s, %+v, %v", r.ID, h, err)
		}
		r, ok, err := s.ResidentByOpenID(ctx, s.db, "c1", "o-wang")
		if !ok || err != nil || r.ID != "wang" || r.AccountID != "a1" {
			t.Errorf("bound to %s, %t, %v", r.ID, ok, err)
		}
		s.clock.Set(start.Add(2 * time.Minute))
		if b := s.startBind(t, "o-wang", "3-2-1201", "13800000001"); b.Outcome != estate.AlreadyBound {
			t.Errorf("binding again: %s, want already_bound", b.Outcome)
		}
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error { return s.UnbindTx(ctx, tx, "c1", "o-wang") })
		if _, ok, err := s.ResidentByOpenID(ctx, s.db, "c1", "o-wang"); ok || err != nil {
			t.Errorf("still bound after unfollowing: %v", err)
		}
		var n int64
		if err := s.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM bindings WHERE openid = 'o-wang') + (SELECT count(*) FROM one_time_codes WHERE subject = 'o-wang')`).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d rows still hold the openid, %v", n, err)
		}
		if r, ok, err := s.ResidentByID(ctx, s.db, "c1", "wang"); !ok || err != nil || r.Phone == "" {
			t.Errorf("the company's own record went with the binding: %v", err)
		}
	})
}

// A phone that is not registered, a home that does not exist, one that was
// left: nothing shows but in Outcome, for staff.
func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		for i, c := range []struct{ unit, phone string }{
			{"3-2-1202", "13900000000"}, // unknown phone
			{"4-1-301", "13800000002"},  // a resident's phone, another's home
			{"9-9-999", "13800000001"},  // no such home
			{"3-2-1201", "13800000004"}, // has moved out
		} {
			openID := fmt.Sprint("o", i)
			b := s.startBind(t, openID, c.unit, c.phone)
			if b.Outcome != estate.NotRegistered || b.Code != "" {
				t.Errorf("%s: %s, want not_registered without a code", c.unit, b.Outcome)
			}
			if again := s.startBind(t, openID+"x", c.unit, c.phone); again.Outcome != estate.TooSoon {
				t.Errorf("%s: a second request gives %s; a registered one would give too_soon", c.unit, again.Outcome)
			}
			if _, _, err := s.confirm(t, openID, "123456"); !errors.Is(err, estate.ErrWrongCode) {
				t.Errorf("%s: a guessed code gives %v; a registered one would give ErrWrongCode", c.unit, err)
			}
		}
		// The same code in another project of the company, told apart by the phone.
		b := s.startBind(t, "o-other", "3-2-1201", "13800000005")
		if b.Outcome != estate.TooSoon { // the home had a request above
			t.Errorf("outcome %s", b.Outcome)
		}
		s.clock.Set(start.Add(time.Minute))
		b = s.startBind(t, "o-other", "3-2-1201", "13800000005")
		if b.Outcome != estate.CodeSent {
			t.Fatalf("outcome %s", b.Outcome)
		}
		if r, h, err := s.confirm(t, "o-other", b.Code); err != nil || r.ID != "other" || h.ProjectID != "p2" {
			t.Errorf("bound to %s in %s, %v", r.ID, h.ProjectID, err)
		}
	})
}

func TestBindingRefusesNonsense(t *testing.T) {
	t.Parallel()
	s := newSuite(t, dbtest.SQLite(t))
	for _, c := range []struct {
		unit, phone string
		want        error
	}{{"upstairs", "13800000001", estate.ErrUnitCode}, {"3-2-1201", "0571-88000024", estate.ErrPhone}} {
		err := s.db.InTx(context.Background(), "test", func(ctx context.Context, tx *db.Tx) error {
			_, err := s.StartBindTx(ctx, tx, "c1", "a1", "o", c.unit, c.phone)
			return err
		})
		if !errors.Is(err, c.want) || strings.Contains(err.Error(), c.phone) {
			t.Errorf("%q gives %v, want %v and no phone", c.unit, err, c.want)
		}
	}
}

func TestBindStartPrintsNothing(t *testing.T) {
	t.Parallel()
	b := estate.BindStart{Outcome: estate.CodeSent, Phone: "13800000001", Code: "385012", Unit: "3-2-1201"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if out := fmt.Sprintf(verb, b); strings.Contains(out, "138") || strings.Contains(out, "385012") {
			t.Errorf("%s prints %q", verb, out)
		}
	}
}

func TestOneWeChatUserIsOneResident(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		b := s.startBind(t, "o-li", "3-2-1201", "13800000001") // bound as li so far
		if _, _, err := s.confirm(t, "o-li", b.Code); err != nil {
			t.Fatal(err)
		}
		r, ok, err := s.ResidentByOpenID(ctx, s.db, "c1", "o-li")
		if !ok || err != nil || r.ID != "wang" {
			t.Errorf("is %s, %t, %v; want wang", r.ID, ok, err)
		}
		if r, _, err := s.ResidentByID(ctx, s.db, "c1", "li"); err != nil || r.OpenID != "" {
			t.Errorf("li is still bound: %v", err)
		}
	})
}

func TestDeadPhonesAndOptOuts(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			return errors.Join(
				s.MarkPhoneDeadTx(ctx, tx, "c1", "13800000001", "INVALID_NUMBER", start),
				s.OptOutTx(ctx, tx, "c1", "li", estate.OptOutSMS, estate.OptOutAll, "sms"),
				s.OptOutTx(ctx, tx, "c1", "li", estate.OptOutSMS, estate.OptOutAll, "sms"))
		})
		if r, _, err := s.ResidentByID(ctx, s.db, "c1", "wang"); err != nil || !r.PhoneDead {
			t.Errorf("the phone is not marked: %v", err)
		}
		count := func() (n int64) {
			t.Helper()
			if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM opt_outs`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := count(); n != 1 {
			t.Errorf("%d opt-outs, want 1", n)
		}
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			return s.OptInTx(ctx, tx, "c1", "li", estate.OptOutSMS, estate.OptOutAll)
		})
		if n := count(); n != 0 {
			t.Errorf("%d opt-outs left", n)
		}
	})
}
