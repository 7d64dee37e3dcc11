package notify_test

import (
	"strings"
	"testing"
	"time"

	"guanjia/internal/app/worldtest"
	"guanjia/internal/ledger"
	"guanjia/internal/staff"
	"guanjia/notify"
)

// TestRulesOfKinds: each rule with its row of the operating instructions. One
// world, since composing changes nothing but the number.
func TestRulesOfKinds(t *testing.T) {
	t.Parallel()
	h := newHouse(t, worldtest.Embedded(t))
	boss := h.as(t, staff.RoleDepartmentManager)
	with := func(d notify.Draft, f func(d *notify.Draft)) notify.Draft { f(&d); return d }
	soon := func(d *notify.Draft) { d.StartsAt, d.EndsAt = at("2026-03-02 14:00"), at("2026-03-02 15:30") }
	long := strings.Repeat("水", 21)
	for name, tt := range map[string]struct {
		draft   notify.Draft
		problem string // field, "" for none
		warning string
		says    string
	}{
		"planned, three days ahead":          {draft: planned()},
		"R-137 both by default":              {draft: planned()},
		"R-138 two hours, no reason":         {draft: with(planned(), func(d *notify.Draft) { soon(d); d.Reason = "" }), problem: "short_notice", says: "24"},
		"R-138 two hours, a stated reason":   {draft: with(planned(), soon), warning: "short_notice"},
		"R-138 already over":                 {draft: with(planned(), func(d *notify.Draft) { d.StartsAt = at("2026-03-02 09:00") }), problem: "starts_at"},
		"R-135 operation":                    {draft: notify.Draft{Kind: "operation", Topic: "pest_control", Scope: notify.Scope{Buildings: []string{"2"}}, Reason: "夏季灭蚊", StartsAt: at("2026-03-05 09:00"), EndsAt: at("2026-03-05 10:30")}},
		"R-139 meal":                         {draft: with(planned(), func(d *notify.Draft) { d.StartsAt, d.EndsAt = at("2026-03-05 11:30"), at("2026-03-05 14:00") }), warning: "starts_at", says: "11:00-13:00"},
		"R-139 night":                        {draft: with(planned(), func(d *notify.Draft) { d.StartsAt, d.EndsAt = at("2026-03-05 23:00"), at("2026-03-06 05:00") }), warning: "starts_at", says: "夜里"},
		"R-177 emergency without SMS":        {draft: with(burst(), func(d *notify.Draft) { d.Channels = []string{"template"} }), problem: "channels", says: "必须发短信"},
		"R-177 weather without SMS":          {draft: notify.Draft{Kind: "severe_weather", Title: "台风蓝色预警", Channels: []string{"template"}}, problem: "channels"},
		"weather":                            {draft: notify.Draft{Kind: "severe_weather", Title: "台风蓝色预警"}},
		"emergency without an end":           {draft: with(burst(), func(d *notify.Draft) { d.EndsAt = notify.Time{} }), warning: "ends_at"},
		"no topic":                           {draft: with(burst(), func(d *notify.Draft) { d.Topic = "" }), problem: "topic"},
		"topic in Chinese":                   {draft: with(burst(), func(d *notify.Draft) { d.Topic = "停水" })},
		"topic of another kind":              {draft: with(burst(), func(d *notify.Draft) { d.Topic = "parking" }), problem: "topic"},
		"no reason":                          {draft: with(burst(), func(d *notify.Draft) { d.Reason = "" }), problem: "reason"},
		"ends before it starts":              {draft: with(planned(), func(d *notify.Draft) { d.EndsAt = at("2026-03-05 08:00") }), problem: "ends_at"},
		"ended":                              {draft: with(burst(), func(d *notify.Draft) { d.StartsAt, d.EndsAt = at("2026-03-01 08:00"), at("2026-03-01 09:00") }), problem: "ends_at"},
		"unknown building":                   {draft: with(burst(), func(d *notify.Draft) { d.Scope.Buildings = []string{"3", "99"} }), problem: "scope.buildings", says: "99"},
		"bad floors":                         {draft: with(burst(), func(d *notify.Draft) { d.Scope.Floors = "很高" }), problem: "scope.floors"},
		"no such floor":                      {draft: with(burst(), func(d *notify.Draft) { d.Scope.Floors = "150" }), problem: "scope"},
		"unknown kind":                       {draft: notify.Draft{Kind: "party"}, problem: "kind"},
		"unknown project":                    {draft: with(burst(), func(d *notify.Draft) { d.Project = "别的小区" }), problem: "project"},
		"21 characters in a field of 20":     {draft: with(burst(), func(d *notify.Draft) { d.Reason = long }), problem: "reason", says: "21"},
		"21 characters by SMS alone":         {draft: with(burst(), func(d *notify.Draft) { d.Reason, d.Channels = long, []string{"sms"} })},
		"36 characters by SMS":               {draft: with(burst(), func(d *notify.Draft) { d.Reason, d.Channels = strings.Repeat("水", 36), []string{"sms"} }), problem: "reason", says: "36"},
		"title of 21":                        {draft: with(burst(), func(d *notify.Draft) { d.Title = long }), problem: "title"},
		"emoji":                              {draft: with(burst(), func(d *notify.Draft) { d.Reason = "水管爆了😱" }), problem: "reason", says: "😱"},
		"traditional character":              {draft: with(burst(), func(d *notify.Draft) { d.Reason = "水管爆裂搶修" }), problem: "reason"},
		"a mobile in the text":               {draft: with(burst(), func(d *notify.Draft) { d.Reason = "问王工13800000001" }), problem: "reason"},
		"a landline in the text":             {draft: with(burst(), func(d *notify.Draft) { d.Action = "请打0571-88886666" }), problem: "action"},
		"a link":                             {draft: with(burst(), func(d *notify.Draft) { d.Action = "看www.abc.com" }), problem: "action"},
		"forbidden content":                  {draft: with(burst(), func(d *notify.Draft) { d.Action = "请填写问卷" }), problem: "action", says: "问卷"},
		"R-083":                              {draft: with(burst(), func(d *notify.Draft) { d.Reason = "原因不清楚" }), problem: "reason"},
		"a mobile as contact":                {draft: with(burst(), func(d *notify.Draft) { d.Contact = "13800000001" }), problem: "contact", says: "手机号"},
		"words as contact":                   {draft: with(burst(), func(d *notify.Draft) { d.Contact = "找前台" }), problem: "contact"},
		"400 as contact":                     {draft: with(burst(), func(d *notify.Draft) { d.Contact = "400-820-8820" })},
		"unknown channel":                    {draft: with(burst(), func(d *notify.Draft) { d.Channels = []string{"sms", "fax"} }), problem: "channels"},
		"valid until yesterday":              {draft: with(burst(), func(d *notify.Draft) { d.ValidUntil = at("2026-03-01 09:00") }), problem: "valid_until"},
		"of for a kind that answers nothing": {draft: with(burst(), func(d *notify.Draft) { d.Of = "T0001" }), problem: "of"},
		"restored of nothing":                {draft: notify.Draft{Kind: "restored"}, problem: "of"},
		"restored of an unknown one":         {draft: notify.Draft{Kind: "restored", Of: "T9999"}, problem: "of"},
		"R-173 general":                      {draft: notify.Draft{Kind: "general", Title: "电梯年检", Reason: "本周电梯轮流停用", Scope: notify.Scope{Buildings: []string{"1"}}}},
		"R-173 briefing, whole project":      {draft: notify.Draft{Kind: "briefing", Reason: "二月工作简报已张贴"}, warning: "scope", says: "全小区"},
		"R-178 entrance, floors and roles": {draft: with(burst(), func(d *notify.Draft) {
			d.Scope = notify.Scope{Entrances: []string{"3-1"}, Floors: "2-", Roles: []string{"owner", "tenant"}}
		})},
		"unknown role":                          {draft: with(burst(), func(d *notify.Draft) { d.Scope.Roles = []string{"king"} }), problem: "scope.roles"},
		"sixty buildings don't fit, and do not": {draft: with(burst(), func(d *notify.Draft) { d.Scope.Units = []string{"3-1-101", "3-1-102", "3-1-201", "3-1-202", "3-1-301"} })},
	} {
		n := compose(t, h, boss, tt.draft)
		all := problems(n)
		switch {
		case tt.problem == "" && len(all) > 0:
			t.Errorf("%s: %v", name, all)
			continue
		case tt.problem != "" && !hasProblem(n.Problems, tt.problem):
			t.Errorf("%s: %v, want one with %s", name, all, tt.problem)
			continue
		case tt.warning != "" && !hasProblem(n.Warnings, tt.warning):
			t.Errorf("%s: warnings %v, want %s", name, n.Warnings, tt.warning)
		}
		var said strings.Builder
		for _, p := range append(n.Problems, n.Warnings...) {
			said.WriteString(p.Message)
			if p.Field == "" || !strings.ContainsAny(p.Message, "。") {
				t.Errorf("%s: %q says nothing of %q", name, p.Message, p.Field)
			}
		}
		if !strings.Contains(said.String(), tt.says) {
			t.Errorf("%s: %q doesn't say %q", name, said.String(), tt.says)
		}
		if tt.problem == "" {
			continue
		}
		// What has problems reaches nobody, whoever approves.
		_, err := h.Approve(t.Context(), h.as(t, staff.RoleCenterManager), n.ID)
		if err == nil {
			t.Errorf("%s: approved", name)
			continue
		}
		r := refused(t, err, notify.RefusedProblems)
		if r.Status() != 422 || len(r.Problems) == 0 {
			t.Errorf("%s: approval refused with %d and %v", name, r.Status(), r.Problems)
		}
		if rows := h.rows(t, notify.RefNotice, n.ID); len(rows) > 0 {
			t.Errorf("%s: %d deliveries", name, len(rows))
		}
	}
	// the same building lately.
	first := compose(t, h, boss, planned())
	approve(t, h, h.as(t, staff.RoleCenterManager), first)
	again := compose(t, h, boss, planned())
	if !hasProblem(again.Warnings, "scope") || !strings.Contains(again.Warnings[len(again.Warnings)-1].Message, first.No) {
		t.Errorf("warnings %v, want the outage lately", again.Warnings)
	}
}

// A template that was taken away keeps a notice from being approved (and from
// being composed without a problem), and says which.
func TestTemplateTakenAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t, worldtest.Embedded(t))
	duty := h.as(t, staff.RoleDutyManager)
	n := compose(t, h, duty, burst())
	acc := h.Sample.SMS
	delete(acc.Templates, "notice_emergency")
	t.Cleanup(func() { acc.Templates["notice_emergency"] = "SMS_1" })
	putSMS(t, h, acc)
	_, err := h.Approve(t.Context(), duty, n.ID)
	r := refused(t, err, notify.RefusedProblems)
	if !hasProblem(r.Problems, "channels") || !strings.Contains(r.Message, "notice_emergency") {
		t.Errorf("refused with %q", r.Message)
	}
	later := compose(t, h, duty, burst())
	if !hasProblem(later.Problems, "channels") {
		t.Errorf("composed with %v", problems(later))
	}
}

func TestWhoMayWriteAndApprove(t *testing.T) {
	t.Parallel()
	h := newHouse(t, worldtest.Embedded(t))
	ctx := t.Context()
	duty, boss, officer := h.as(t, staff.RoleDutyManager), h.as(t, staff.RoleDepartmentManager), h.as(t, staff.RoleInformationOfficer)
	desk, trainee := h.as(t, staff.RoleFrontDesk), h.as(t, staff.RoleTrainee)
	for _, by := range []notify.By{desk, trainee} {
		_, err := h.Compose(ctx, by, burst())
		refused(t, err, notify.RefusedForbidden)
	}
	n := compose(t, h, officer, planned())
	for _, by := range []notify.By{duty, officer, desk} {
		_, err := h.Approve(ctx, by, n.ID)
		if r := refused(t, err, notify.RefusedForbidden); r.Status() != 403 {
			t.Errorf("status %d", r.Status())
		}
	}
	if got, _ := h.ByID(ctx, n.CompanyID, n.ID); got.State != notify.Drafted || len(h.rows(t, notify.RefNotice, n.ID)) > 0 {
		t.Error("R-176: it left without approval")
	}
	approve(t, h, boss, n)
	_, err := h.Approve(ctx, h.as(t, staff.RoleCenterManager), n.ID)
	if r := refused(t, err, notify.RefusedState); r.Status() != 409 || !strings.Contains(r.Message, boss.Name) {
		t.Errorf("twice: %d %s", r.Status(), r.Message)
	}
	// Nobody approves his own but in an emergency.
	own := compose(t, h, boss, planned())
	_, err = h.Approve(ctx, boss, own.ID)
	if r := refused(t, err, notify.RefusedOwn); r.Status() != 403 {
		t.Errorf("status %d", r.Status())
	}
	emergency := approve(t, h, boss, compose(t, h, boss, burst()))
	if emergency.EndorseDue {
		t.Error("the department manager's own approval is to be endorsed")
	}
	// approval afterwards, once, by who may.
	sent := approve(t, h, duty, compose(t, h, duty, burst()))
	_, err = h.Endorse(ctx, duty, sent.ID)
	refused(t, err, notify.RefusedForbidden)
	got, err := h.Endorse(ctx, boss, sent.ID)
	if err != nil || got.EndorseDue || got.EndorserName != boss.Name {
		t.Errorf("endorsed: %v %+v", err, got.EndorserName)
	}
	_, err = h.Endorse(ctx, boss, sent.ID)
	refused(t, err, notify.RefusedState)
	p, ok, err := h.reg.ByNo(ctx, h.DB, sent.CompanyID, sent.No)
	if err != nil || !ok || p.Approval.Name != duty.Name || p.Endorsement.Name != boss.Name || !p.EndorseDue || p.PublishedAt.IsZero() {
		t.Errorf("register: %+v, %v", p, err)
	}
	// Another company sees nothing of it.
	stranger := boss
	stranger.CompanyID, stranger.Member.CompanyID = "other", "other"
	_, err = h.Approve(ctx, stranger, own.ID)
	refused(t, err, notify.RefusedNotFound)
}

func TestReadDrafts(t *testing.T) {
	t.Parallel()
	d, err := notify.ReadYAML(strings.NewReader("kind: planned_outage\ntopic: outage_water\nscope: {buildings: ['3']}\nstarts_at: 2026-03-05 09:00\nends_at: 2026-03-05T11:00:00+08:00\nreason: 清洗水箱\n"))
	if err != nil || !d.StartsAt.Equal(at("2026-03-05 09:00").Time) || !d.EndsAt.Equal(at("2026-03-05 11:00").Time) {
		t.Errorf("%+v, %v", d, err)
	}
	for body, field := range map[string]string{
		`{"kind":"general","colour":"red"}`: "colour", `{"kind":5}`: "kind", `{"starts_at":"bald"}`: "", `{`: "", `[]`: "",
	} {
		_, err := notify.ReadJSON(strings.NewReader(body))
		if r := refused(t, err, notify.RefusedDraft); r.Field != field || r.Status() != 400 {
			t.Errorf("%s: field %q, status %d", body, r.Field, r.Status())
		}
	}
	_, err = notify.ReadYAML(strings.NewReader("kind: general\ncolour: red\n"))
	refused(t, err, notify.RefusedDraft)
	_, err = notify.ReadJSON(strings.NewReader(`{"title":"` + strings.Repeat("水", 200_000) + `"}`))
	refused(t, err, notify.RefusedDraft)
}

// Quiet hours keep planned notices and spare no emergency.
func TestQuietHours(t *testing.T) {
	t.Parallel()
	h := newHouse(t, worldtest.Embedded(t))
	h.Clock.Set(at("2026-03-02 23:00").Time)
	h.start(t)
	n := approve(t, h, h.as(t, staff.RoleDepartmentManager), compose(t, h, h.as(t, staff.RoleInformationOfficer), planned()))
	h.settle(t)
	if n, _ = h.ByID(t.Context(), n.CompanyID, n.ID); n.State != notify.Approved || !n.SendAt.Equal(at("2026-03-03 07:00").Time) {
		t.Fatalf("in the night: %s, leaves at %s", n.State, n.SendAt)
	}
	frozen := addresses(h.rows(t, notify.RefNotice, n.ID))
	if len(frozen) == 0 {
		t.Error("its audience is not frozen at approval")
	}
	if sent := h.vendor(t, nil); len(sent) > 0 {
		t.Errorf("%d left in the night", len(sent))
	}
	e := approve(t, h, h.as(t, staff.RoleDutyManager), compose(t, h, h.as(t, staff.RoleDutyManager), notify.Draft{Kind: "emergency_outage", Topic: "outage_gas", Scope: notify.Scope{Buildings: []string{"3"}}, Reason: "管道抢修"}))
	if sent := h.vendor(t, nil); e.State != notify.Sending || len(sent) != e.Audience.SMS+e.Audience.Template {
		t.Errorf("the emergency: %s, %d left", e.State, len(sent))
	}
	h.advance(t, 8*time.Hour+time.Second)
	if sent := h.vendor(t, nil); len(sent) != len(frozen) {
		t.Errorf("in the morning %d left, want %d", len(sent), len(frozen))
	}
	if n, _ = h.ByID(t.Context(), n.CompanyID, n.ID); n.State != notify.Sending && n.State != notify.Finished {
		t.Errorf("in the morning: %s", n.State)
	}
}

var _ = ledger.LaneBulk
