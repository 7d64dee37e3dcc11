package sample_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"guanjia/internal/app/sample"
	"guanjia/internal/calendar"
	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/estate"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
	"guanjia/templates"
)

func demo(t testing.TB, residents int) *sample.Sample {
	t.Helper()
	book, err := wording.Load(templates.FS())
	if err != nil {
		t.Fatal(err)
	}
	return sample.Company(sample.Options{Residents: residents, Book: book})
}

// figures counts what interfaces section 1 asks of the sample company.
type figures struct {
	homes, residents, bound, phoneOnly, unboundHomes, twoFlats, tenants, shops int
}

func count(s *sample.Sample, building string) figures {
	var f figures
	for h := range s.Households() {
		if building != "" && h.Unit.Building != building {
			continue
		}
		f.homes++
		if h.Unit.Kind == estate.KindShop {
			f.shops++
		}
		anyBound, anyPhone := false, false
		for _, p := range h.People {
			anyBound = anyBound || p.Bound()
			anyPhone = anyPhone || p.Phone != ""
			if p.Known {
				f.twoFlats++
				continue
			}
			f.residents++
			if p.Bound() {
				f.bound++
			} else if p.Phone != "" {
				f.phoneOnly++
			}
			if p.Role == estate.RoleTenant {
				f.tenants++
			}
		}
		if anyPhone && !anyBound {
			f.unboundHomes++
		}
	}
	return f
}

func TestSampleHasWhatInterfacesPromise(t *testing.T) {
	t.Parallel()
	f := count(demo(t, 0), "")
	if f.homes < 300 || f.residents < 400 || f.bound < 250 || f.phoneOnly < 60 || f.unboundHomes < 20 || f.twoFlats < 2 || f.tenants < 2 || f.shops < 2 {
		t.Fatalf("sample company is too small: %+v", f)
	}
	for _, b := range []string{"3", "4", "5"} {
		if f := count(demo(t, 0), b); f.bound == 0 || f.phoneOnly == 0 || f.unboundHomes == 0 || f.twoFlats == 0 && b != "3" || f.tenants == 0 || f.shops == 0 {
			t.Errorf("building %s lacks a kind: %+v", b, f)
		}
	}
}

func TestTwoFlatOwnerSpansBuildings3And4(t *testing.T) {
	t.Parallel()
	where := map[string][]string{}
	for h := range demo(t, 0).Households() {
		for _, p := range h.People {
			where[p.ID] = append(where[p.ID], h.Unit.Building)
		}
	}
	for _, bs := range where {
		if slices.Equal(bs, []string{"3", "4"}) {
			return
		}
	}
	t.Fatal("no owner has flats in buildings 3 and 4")
}

func TestStoryHomeIsRegisteredAndNotBound(t *testing.T) {
	t.Parallel()
	for h := range demo(t, 0).Households() {
		if h.Unit.Code != "3-2-1201" {
			continue
		}
		if len(h.People) != 1 || h.People[0].Phone != "13800000001" || h.People[0].Bound() {
			t.Fatalf("the story's home is %+v", h)
		}
		return
	}
	t.Fatal("the story's home is missing")
}

func TestPeopleAreDistinctAndValid(t *testing.T) {
	t.Parallel()
	phones, openIDs, units := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for h := range demo(t, 3000).Households() {
		if code, ok := estate.ParseUnitCode(h.Unit.Code); !ok || code != h.Unit.Code || units[code] {
			t.Fatalf("unit code %q is wrong or repeated", h.Unit.Code)
		}
		units[h.Unit.Code] = true
		if h.Unit.Vacant && len(h.People) > 0 {
			t.Fatalf("vacant unit %s has people", h.Unit.Code)
		}
		for _, p := range h.People {
			if p.Known {
				continue
			}
			if n, ok := estate.NormalizePhone(p.Phone); !ok || n != p.Phone || phones[p.Phone] {
				t.Fatalf("phone %q is wrong or repeated", p.Phone)
			}
			phones[p.Phone] = true
			if p.Bound() && (len(p.OpenID) != 28 || openIDs[p.OpenID]) {
				t.Fatalf("openid %q is wrong or repeated", p.OpenID)
			}
			openIDs[p.OpenID] = true
		}
	}
}

func TestResidentsAreAsManyAsAskedFor(t *testing.T) {
	t.Parallel()
	base := count(demo(t, 0), "").residents
	for _, n := range []int{base + 1, 1000, 5000, 20_000} {
		if got := count(demo(t, n), "").residents; got != n {
			t.Errorf("asked for %d residents, got %d", n, got)
		}
	}
	if got := count(demo(t, 1), "").residents; got != base {
		t.Errorf("a small number gives %d residents; want the fixed part, %d", got, base)
	}
}

func TestSameEveryTimeAndFixedPartDoesNotMove(t *testing.T) {
	t.Parallel()
	public := []string{"http://a"}
	if d := cmp.Diff(demo(t, 0).World(public), demo(t, 0).World(public), cmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
		t.Fatalf("the sample differs from itself:\n%s", d)
	}
	var small, big []sample.Household
	for h := range demo(t, 0).Households() {
		small = append(small, h)
	}
	for h := range demo(t, 2000).Households() {
		big = append(big, h)
	}
	if d := cmp.Diff(small, big[:len(small)]); d != "" {
		t.Fatalf("a bigger sample has another fixed part:\n%s", d)
	}
}

func TestTeams(t *testing.T) {
	t.Parallel()
	s := demo(t, 0)
	r := s.Ready("http://127.0.0.1:1", "http://127.0.0.1:2")
	roles := map[string]int{}
	inGroup := map[string][]string{}
	for _, m := range r.Staff {
		roles[m.Role]++
		for _, g := range m.Groups {
			inGroup[g] = append(inGroup[g], m.Role)
		}
		if r.Tokens[m.UserID] == "" {
			t.Errorf("%s has no token", m.UserID)
		}
	}
	// The roles of the requirements' section 20, without the owners' committee.
	for _, role := range strings.Fields(`quality_supervisor company_leader finance_head center_manager deputy_manager relation_specialist
		department_manager cs_supervisor department_cs_lead cs_manager customer_specialist customer_assistant front_desk information_officer
		line_head trainee duty_manager`) {
		if roles[role] == 0 {
			t.Errorf("nobody has the role %s", role)
		}
	}
	lines := map[string]bool{}
	for _, q := range r.Queues {
		lines[q.Line] = true
	}
	for _, g := range r.Groups {
		members := inGroup[g.ChatID]
		able := slices.DeleteFunc(slices.Clone(members), func(role string) bool { return role == "trainee" })
		if len(able) < 2 || !slices.Contains(members, "duty_manager") {
			t.Errorf("group %s has only %v", g.Name, members)
		}
	}
	if len(lines) != 4 || len(r.Groups) != 4 {
		t.Errorf("queues %v, %d groups; want four of each", lines, len(r.Groups))
	}
}

func TestCredentialsHaveTheVendorsForms(t *testing.T) {
	t.Parallel()
	r := demo(t, 0).Ready("http://h", "http://s")
	if !regexp.MustCompile(`^[0-9A-Za-z]{43}$`).MatchString(r.Account.EncodingAESKey) {
		t.Error("encoding_aes_key is not 43 letters and digits")
	}
	if !regexp.MustCompile(`^[0-9A-Za-z]{3,32}$`).MatchString(r.Account.Token) {
		t.Error("token is not 3 to 32 letters and digits")
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsAny(b, "\n") || !strings.HasPrefix(string(b), `{"ready":true,"listen":`) {
		t.Errorf("ready line is %s", b)
	}
}

func TestWorldKnowsFollowersAndTemplates(t *testing.T) {
	t.Parallel()
	s := demo(t, 0)
	b, err := json.Marshal(s.World([]string{"http://one", "http://two/"}))
	if err != nil {
		t.Fatal(err)
	}
	var w struct {
		Accounts []struct {
			CallbackURLs []string `json:"callback_urls"`
			Templates    []struct {
				TemplateID string `json:"template_id"`
			}
		}
		SMS []struct {
			Templates []struct {
				Code string `json:"template_code"`
				Type int
			}
		}
		Residents []struct {
			OpenID    string
			Following bool
			Phone     string
			BoundTo   []string `json:"bound_to"`
		}
		Groups []struct{ Spoken bool }
	}
	if err := json.Unmarshal(b, &w); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"http://one/wechat/demo", "http://two/wechat/demo"}, w.Accounts[0].CallbackURLs); d != "" {
		t.Error(d)
	}
	following, two, story := 0, 0, false
	for _, r := range w.Residents {
		if r.Following {
			following++
		}
		if len(r.BoundTo) == 2 {
			two++
		}
		story = story || r.Phone == "13800000001" && !r.Following && len(r.BoundTo) == 0
	}
	if f := count(s, ""); following != f.bound || two != f.twoFlats || !story {
		t.Errorf("%d follow, want %d; %d with two flats, want %d; story's resident there: %t", following, f.bound, two, f.twoFlats, story)
	}
	codes := map[string]bool{}
	for _, tpl := range w.SMS[0].Templates {
		codes[tpl.Code] = true
	}
	for purpose, code := range s.SMS.Templates {
		if !codes[code] {
			t.Errorf("the carrier does not know the template for %s", purpose)
		}
	}
	if s.SMS.Templates["bind_code"] == "" || s.Account.Templates["answer_waiting"] == "" || len(codes) != len(s.SMS.Templates) {
		t.Errorf("purposes: %v, %v", s.SMS.Templates, s.Account.Templates)
	}
	for _, tpl := range w.Accounts[0].Templates {
		if len(tpl.TemplateID) != 43 {
			t.Errorf("template id %q has not 43 characters", tpl.TemplateID)
		}
	}
	for _, g := range w.Groups {
		if !g.Spoken {
			t.Error("in a group nobody has spoken to the bot")
		}
	}
}

func TestArticlesAndCalendarAreReadable(t *testing.T) {
	t.Parallel()
	s := demo(t, 0)
	n := 0
	for sc := bufio.NewScanner(bytes.NewReader(s.Articles())); sc.Scan(); n++ {
		var a struct{ ID, Question, Answer string }
		if err := json.Unmarshal(sc.Bytes(), &a); err != nil || a.ID == "" || a.Question == "" || a.Answer == "" {
			t.Fatalf("article %d: %+v, %v", n, a, err)
		}
	}
	if n != 60 {
		t.Errorf("%d articles, want 60", n)
	}
	if _, err := calendar.Parse(s.Company.Settings.Calendar); err != nil {
		t.Error(err)
	}
}

func rooms(t testing.TB, d *db.DB) sample.Rooms {
	t.Helper()
	sealer, err := company.NewSealer(bytes.Repeat([]byte{7}, company.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	clk := clock.System()
	return sample.Rooms{
		DB: d, Companies: company.New(d, sealer), Estate: estate.New(d, clk, sealer, nil), Staff: staff.New(d, clk, sealer, nil),
		Queues: queue.New(d, nil, nil, clk, slog.New(slog.DiscardHandler), nil),
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		s := demo(t, 1500)
		r := rooms(t, d)
		followed := 0
		r.Followed = func(_ context.Context, _ *db.Tx, _, _ string, openIDs []string, _ time.Time) error {
			followed += len(openIDs)
			return nil
		}
		if err := s.Load(ctx, r); err != nil {
			t.Fatal(err)
		}
		want := count(s, "")
		if followed != want.bound {
			t.Errorf("%d followers were noted, want %d", followed, want.bound)
		}
		res, ok, err := r.Estate.ResidentByPhone(ctx, d, sample.CompanyID, "138 0000 0001")
		if err != nil || !ok || res.OpenID != "" || len(res.Homes) != 1 || res.Homes[0].Unit != "3-2-1201" {
			t.Fatalf("the story's resident is %+v, %t, %v", res, ok, err)
		}
		total, bound := 0, true
		f := estate.Filter{Bound: &bound, Limit: 500}
		for {
			list, next, err := r.Estate.Residents(ctx, d, sample.CompanyID, f)
			if err != nil {
				t.Fatal(err)
			}
			total += len(list)
			if next == "" {
				break
			}
			f.Cursor = next
		}
		if total != want.bound {
			t.Errorf("%d bound residents, want %d", total, want.bound)
		}
		p, ok, err := r.Staff.ByToken(ctx, d, s.Token("yangguang"))
		if err != nil || !ok || !p.May(staff.RightApproveEmergency) {
			t.Errorf("duty manager's token gives %+v, %t, %v", p, ok, err)
		}
		if p, err := r.Staff.Authenticate(ctx, sample.ConsoleUser, sample.ConsolePassword); err != nil || !p.Admin {
			t.Errorf("administrator signs in: %+v, %v", p, err)
		}
		dir, err := r.Companies.Directory(ctx)
		if err != nil {
			t.Fatal(err)
		}
		a, ok := dir.WeChatByPath("demo")
		if !ok || a.AESKey != s.Account.AESKey || a.Secret != s.Account.Secret {
			t.Error("the account came back changed")
		}
		for _, g := range s.Groups {
			duty, err := r.Staff.OnDutyFor(ctx, d, g.QueueID)
			if err != nil || !slices.ContainsFunc(duty, func(m staff.Member) bool { return m.UserID == "yangguang" }) {
				t.Errorf("on duty for %s: %v, %v", g.Name, duty, err)
			}
		}
		queues, err := r.Queues.All(ctx, d, sample.CompanyID)
		if err != nil || len(queues) != 4 {
			t.Errorf("queues: %v, %v", queues, err)
		}
	})
}
