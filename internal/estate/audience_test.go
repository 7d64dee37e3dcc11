package estate_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"guanjia/internal/db"
	"guanjia/internal/estate"
)

// newAudience adds to the estate of newSuite, in p1: 4-1-301 (Wang's second
// flat) has company by a shop without floor, a high floor, a vacant flat with a
// known owner and one without, and a flat of which nobody is known.
func newAudience(t *testing.T, s suite) {
	t.Helper()
	unit := func(id, code, kind string, vacant bool) estate.Unit {
		p := strings.Split(code, "-")
		return estate.Unit{
			ID: id, CompanyID: "c1", ProjectID: "p1", EntranceID: "e-p1", Building: p[0], Entrance: p[1], Room: p[2], Code: code,
			Floor: estate.FloorOf(p[2]), Kind: kind, Vacant: vacant,
		}
	}
	home := func(resident, unit, role string) estate.HomeRow {
		return estate.HomeRow{ID: resident + unit, CompanyID: "c1", ResidentID: resident, UnitID: unit, Role: role, Since: start.Add(-time.Hour)}
	}
	s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
		return s.PutTx(ctx, tx, estate.Batch{
			Units: []estate.Unit{
				unit("shop", "4-1-05", estate.KindShop, false), unit("high", "4-2-2201", estate.KindFlat, false),
				unit("empty1", "4-2-101", estate.KindFlat, true), unit("empty2", "4-2-102", estate.KindFlat, true), unit("nobody", "4-2-103", estate.KindFlat, false),
			},
			Residents: []estate.Resident{
				{ID: "keeper", CompanyID: "c1", Name: "店主", Phone: "13800000010"}, {ID: "top", CompanyID: "c1", Name: "高层", Phone: "13800000011"},
				{ID: "away", CompanyID: "c1", Name: "外住", Phone: "13800000012"},
			},
			Homes:    []estate.HomeRow{home("keeper", "shop", estate.RoleMerchant), home("top", "high", estate.RoleShortStay), home("away", "empty1", estate.RoleOwner)},
			Bindings: []estate.Binding{{ID: "bind2", CompanyID: "c1", AccountID: "a1", OpenID: "o-li-2", ResidentID: "li", BoundAt: start}, {ID: "bind3", CompanyID: "c1", AccountID: "a1", OpenID: "o-top", ResidentID: "top", BoundAt: start}},
		})
	})
}

// audience gives "unit resident channel address skip" lines, sorted.
func (s suite) audience(t *testing.T, scope estate.Scope, o estate.AudienceOptions) []string {
	t.Helper()
	text, args := s.Audience("c1", scope, o)
	rows, err := s.db.QueryContext(context.Background(), text, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	if got := strings.Join(columns, " "); got != "unit_id unit building entrance floor resident_id name role channel account_id address skip_code" {
		t.Fatalf("columns are %s", got)
	}
	out := []string{}
	for rows.Next() {
		var unitID, unit, building, entrance, resident, name, role, channel, account, address, skip string
		var floor int
		if err := rows.Scan(&unitID, &unit, &building, &entrance, &floor, &resident, &name, &role, &channel, &account, &address, &skip); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(unit, building+"-"+entrance+"-") || (channel == estate.AudienceTemplate) != (account == "a1") || (resident == "") != (role == "") || (resident == "") != (name == "") {
			t.Errorf("row does not fit together: %s in %s of %s, %q %q %q %q", unit, entrance, building, resident, role, channel, account)
		}
		out = append(out, strings.TrimRight(strings.Join([]string{unit, resident, channel, address, skip}, " "), " "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	for i := range max(len(out)-1, 0) {
		if out[i] == out[i+1] {
			t.Errorf("row twice: %s", out[i])
		}
	}
	return out
}

func TestAudienceByPlace(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		newAudience(t, s)
		const (
			child, wang, wang4 = "3-2-1201 child", "3-2-1201 wang sms 13800000001", "4-1-301 wang sms 13800000001"
			li, li1, li2, zhao = "3-2-1202 li sms 13800000002", "3-2-1202 li template o-li", "3-2-1202 li template o-li-2", "3-2-1202 zhao sms 13800000003"
			shop, top, topT    = "4-1-05 keeper sms 13800000010", "4-2-2201 top sms 13800000011", "4-2-2201 top template o-top"
			away, nobody       = "4-2-101 away sms 13800000012", "4-2-103"
		)
		for name, c := range map[string]struct {
			scope estate.Scope
			want  []string
		}{
			// owner, family, tenant, shop and short stay alike; who has moved out is not told.
			"project":             {estate.Scope{}, []string{child, wang, wang4, li, li1, li2, zhao, shop, top, topT, nobody}},
			"with vacant (R-025)": {estate.Scope{WithVacant: true, Buildings: []string{"4"}}, []string{wang4, shop, top, topT, away, nobody}},
			"building":            {estate.Scope{Buildings: []string{"三号楼"}}, []string{child, wang, li, li1, li2, zhao}},
			"two buildings":       {estate.Scope{Buildings: []string{"3", "4"}}, []string{child, wang, wang4, li, li1, li2, zhao, shop, top, topT, nobody}},
			"entrance":            {estate.Scope{Entrances: []string{"4栋1单元"}}, []string{wang4, shop}},
			"unit":                {estate.Scope{Units: []string{"4-2-2201"}}, []string{top, topT}},
			"places add up":       {estate.Scope{Entrances: []string{"4-2"}, Units: []string{"4-1-05"}}, []string{shop, top, topT, nobody}},
			"floor range":         {estate.Scope{Floors: "10-18"}, []string{child, wang, li, li1, li2, zhao}},
			"floors up":           {estate.Scope{Floors: "20-"}, []string{top, topT}},
			"ground floor shops":  {estate.Scope{Floors: "1"}, []string{shop, nobody}},
			"floors of a building, unit named": {
				estate.Scope{Buildings: []string{"4"}, Floors: "-3", Units: []string{"4-2-2201"}}, []string{wang4, shop, nobody, top, topT},
			},
			"role":           {estate.Scope{Roles: []string{estate.RoleTenant, estate.RoleMerchant}}, []string{zhao, shop}},
			"unknown place":  {estate.Scope{Buildings: []string{"77"}}, nil},
			"bad floors":     {estate.Scope{Floors: "三三两两"}, nil},
			"other project":  {estate.Scope{ProjectID: "p2"}, []string{"3-2-1201 other sms 13800000005"}},
			"no such estate": {estate.Scope{ProjectID: "p9"}, nil},
		} {
			if c.scope.ProjectID == "" {
				c.scope.ProjectID = "p1"
			}
			slices.Sort(c.want)
			if d := cmp.Diff(append([]string{}, c.want...), s.audience(t, c.scope, estate.AudienceOptions{})); d != "" {
				t.Errorf("%s:\n%s", name, d)
			}
		}
		text, args := s.Audience("c2", estate.Scope{ProjectID: "p1"}, estate.AudienceOptions{})
		var n int
		if err := s.db.QueryRowContext(context.Background(), "SELECT count(*) FROM ("+text+") a", args...).Scan(&n); err != nil || n != 0 {
			t.Errorf("another company sees %d rows, %v", n, err)
		}
	})
}

func TestAudienceByAddress(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		newAudience(t, s)
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			for _, o := range [][3]string{
				{"li", estate.OptOutSMS, estate.OptOutAll}, {"li", estate.OptOutWeChat, "notice"}, {"zhao", estate.OptOutSMS, "survey"}, {"top", estate.OptOutWeChat, estate.OptOutAll},
				{"top", estate.OptOutSMS, estate.OptOutAll},
			} {
				if err := s.OptOutTx(ctx, tx, "c1", o[0], o[1], o[2], "test"); err != nil {
					return err
				}
			}
			return s.MarkPhoneDeadTx(ctx, tx, "c1", "13800000011", "INVALID_NUMBER", start)
		})
		scope := estate.Scope{ProjectID: "p1", Units: []string{"3-2-1202", "4-2-2201"}}
		for name, c := range map[string]struct {
			o    estate.AudienceOptions
			want []string
		}{
			"notice": {
				estate.AudienceOptions{OptOutClass: "notice"},
				[]string{
					"3-2-1202 li sms 13800000002 OPT_OUT", "3-2-1202 li template o-li OPT_OUT", "3-2-1202 li template o-li-2 OPT_OUT", "3-2-1202 zhao sms 13800000003",
					"4-2-2201 top sms 13800000011 DEAD_NUMBER", "4-2-2201 top template o-top OPT_OUT",
				},
			},
			"survey": {
				estate.AudienceOptions{OptOutClass: "survey", Channels: []string{estate.AudienceTemplate}},
				[]string{"3-2-1202 li template o-li", "3-2-1202 li template o-li-2", "3-2-1202 zhao", "4-2-2201 top template o-top OPT_OUT"},
			},
			// An opt-out is never asked in an emergency; a dead number stays dead.
			"emergency": {
				estate.AudienceOptions{IgnoreOptOut: true, OptOutClass: "notice", Channels: []string{estate.AudienceSMS}},
				[]string{"3-2-1202 li sms 13800000002", "3-2-1202 zhao sms 13800000003", "4-2-2201 top sms 13800000011 DEAD_NUMBER"},
			},
		} {
			if d := cmp.Diff(c.want, s.audience(t, scope, c.o)); d != "" {
				t.Errorf("%s:\n%s", name, d)
			}
		}
	})
}

func TestCountAudience(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		newAudience(t, s)
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			if err := s.OptOutTx(ctx, tx, "c1", "zhao", estate.OptOutSMS, estate.OptOutAll, "test"); err != nil {
				return err
			}
			return s.MarkPhoneDeadTx(ctx, tx, "c1", "13800000010", "INVALID_NUMBER", start)
		})
		for name, c := range map[string]struct {
			o    estate.AudienceOptions
			want estate.AudienceCounts
		}{
			// Wang owns two flats and counts as one phone.
			"normal":    {estate.AudienceOptions{}, estate.AudienceCounts{Households: 6, People: 6, SMS: 3, Template: 3, None: 2, Skipped: map[string]int{"DEAD_NUMBER": 1, "OPT_OUT": 1}}},
			"emergency": {estate.AudienceOptions{IgnoreOptOut: true}, estate.AudienceCounts{Households: 6, People: 6, SMS: 4, Template: 3, None: 2, Skipped: map[string]int{"DEAD_NUMBER": 1}}},
			"template":  {estate.AudienceOptions{Channels: []string{"template"}}, estate.AudienceCounts{Households: 6, People: 6, Template: 3, None: 4, Skipped: map[string]int{}}},
		} {
			got, err := s.CountAudience(context.Background(), s.db, "c1", estate.Scope{ProjectID: "p1"}, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s:\n%s", name, d)
			}
		}
	})
}

func TestCheckScope(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		newAudience(t, s)
		for name, c := range map[string]struct {
			scope estate.Scope
			want  string
		}{
			"fine":            {estate.Scope{ProjectID: "p1", Buildings: []string{"3栋"}, Entrances: []string{"4-1"}, Units: []string{"4栋2单元2201室"}, Floors: "1-30"}, ""},
			"project":         {estate.Scope{ProjectID: "p1"}, ""},
			"no project":      {estate.Scope{}, "project  missing"},
			"unknown project": {estate.Scope{ProjectID: "p9"}, "project p9 unknown"},
			"unknown places": {
				estate.Scope{ProjectID: "p1", Buildings: []string{"3", "9"}, Entrances: []string{"4-9"}, Units: []string{"楼上"}},
				"buildings 9 unknown; entrances 4-9 unknown; units 楼上 unknown",
			},
			"floors and roles": {estate.Scope{ProjectID: "p1", Floors: "18-10", Roles: []string{"owner", "king"}}, "floors 18-10 bad; roles king bad"},
			"nobody":           {estate.Scope{ProjectID: "p1", Buildings: []string{"3"}, Floors: "20-"}, "scope  nobody"},
			"only vacant":      {estate.Scope{ProjectID: "p1", Units: []string{"4-2-102"}}, "scope  nobody"},
		} {
			problems, err := s.CheckScope(context.Background(), s.db, "c1", c.scope)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range problems {
				got = append(got, p.Field+" "+p.Value+" "+p.Reason)
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("%s: %q, want %q", name, strings.Join(got, "; "), c.want)
			}
		}
	})
}

func TestParseFloors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "[]", " ": "[]", "5": "[{5 5}]", "10-18": "[{10 18}]", "20-": "[{20 200}]", "-3": "[{1 3}]", "10至18层": "[{10 18}]", "１０～１８楼": "[{10 18}]",
		"1-3,5": "[{1 3} {5 5}]", "十层以上": "[{10 200}]", "3楼以下": "[{1 3}]", "5F": "[{5 5}]",
		"18-10": "no", "-": "no", ",": "no", "a": "no", "0": "no", "1-2-3": "no", "-3-5": "no", "999": "no", "5 个": "no", "层": "no",
	} {
		r, ok := estate.ParseFloors(text)
		got := "no"
		if ok {
			got = fmt.Sprint(r)
		}
		if got != want {
			t.Errorf("%q gives %s, want %s", text, got, want)
		}
	}
}

func TestParsePlaces(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"3": "3", "3栋": "3", "三号楼": "3", "A座": "A", "A12": "A12", "12幢": "12", "3单元": "", "3-2": "", "": "", "楼": "", "1234": ""} {
		if got, _ := estate.ParseBuilding(text); got != want {
			t.Errorf("building %q gives %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"3-2": "3-2", "3栋2单元": "3-2", "三号楼一单元": "3-1", "A座2门": "A-2", "3": "", "3单元2栋": "", "3-2-1": "", "3栋2室": ""} {
		if got, _ := estate.ParseEntrance(text); got != want {
			t.Errorf("entrance %q gives %q, want %q", text, got, want)
		}
	}
}

func FuzzParseFloors(f *testing.F) {
	for _, s := range []string{"10-18", "20-", "-3", "十层以上", "1-3,5", "１０～１８楼", "--", ",,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ranges, ok := estate.ParseFloors(s)
		for _, r := range ranges {
			if !ok || r.From < 1 || r.From > r.To || r.To > 200 {
				t.Fatalf("%q gives %+v", s, r)
			}
			again, ok := estate.ParseFloors(strconv.Itoa(r.From) + "-" + strconv.Itoa(r.To))
			if !ok || len(again) != 1 || again[0] != r {
				t.Fatalf("%+v is not read as it is written: %v", r, again)
			}
		}
	})
}

// The snapshot of a million recipients is one statement; this one prints what
// it takes: AUDIENCE_ROWS=1000000 go test -run TestAudienceOfMany -v.
func TestAudienceOfMany(t *testing.T) {
	t.Parallel()
	n, _ := strconv.Atoi(os.Getenv("AUDIENCE_ROWS"))
	if n == 0 {
		n = 2000
	}
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		if s.db.Engine() != db.EnginePostgres {
			n = min(n, 20000)
		}
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			numbers := "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < " + strconv.Itoa(n) + ") "
			building := "cast(i / 1000 + 100 as text)"
			for _, text := range []string{
				`INSERT INTO units (id, company_id, project_id, entrance_id, building, entrance, room, code, floor, kind) ` + numbers +
					`SELECT 'm' || i, 'c1', 'p1', 'e-p1', ` + building + `, '1', cast(i % 1000 as text), ` + building + ` || '-1-' || (i % 1000), (i % 1000) / 30 + 1, 'flat' FROM n`,
				`INSERT INTO residents (id, company_id, name, phone, updated_at) ` + numbers + `SELECT 'r' || i, 'c1', '住户', cast(15000000000 + i as text), (SELECT max(updated_at) FROM residents) FROM n`,
				`INSERT INTO homes (id, company_id, resident_id, unit_id, role, since) ` + numbers + `SELECT 'h' || i, 'c1', 'r' || i, 'm' || i, 'owner', (SELECT max(updated_at) FROM residents) FROM n`,
				`INSERT INTO bindings (id, company_id, account_id, openid, resident_id, bound_at) ` + numbers + `SELECT 'b' || i, 'c1', 'a1', 'many-' || i, 'r' || i, (SELECT max(updated_at) FROM residents) FROM n WHERE i % 2 = 0`,
			} {
				if _, err := tx.ExecContext(ctx, text); err != nil {
					return err
				}
			}
			return nil
		})
		if _, err := s.db.ExecContext(ctx, "ANALYZE"); err != nil {
			t.Fatal(err)
		}
		for name, scope := range map[string]estate.Scope{"project": {ProjectID: "p1"}, "building": {ProjectID: "p1", Buildings: []string{"100"}}} {
			text, args := s.Audience("c1", scope, estate.AudienceOptions{OptOutClass: "notice"})
			begin := time.Now()
			s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
				_, err := tx.ExecContext(ctx, "CREATE TEMP TABLE many_"+name+" AS "+text, args...)
				return err
			})
			took := time.Since(begin)
			begin = time.Now()
			c, err := s.CountAudience(ctx, s.db, "c1", scope, estate.AudienceOptions{OptOutClass: "notice"})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s of %d: select into a table %v, count %v: %+v", name, n, took, time.Since(begin), c)
			if want := map[string]int{"project": n + 3, "building": min(n, 1000)}[name]; c.Households != want {
				t.Errorf("%s: %d households, want %d", name, c.Households, want)
			}
		}
	})
}
