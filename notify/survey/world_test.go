package survey_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/ledger"
	"guanjia/internal/staff"
	"guanjia/notify"
	"guanjia/notify/survey"
)

// house is the sample company with its jobs running. Nothing is sent by itself:
// a test plays the vendors.
type house struct {
	*worldtest.World
}

func newHouse(t testing.TB, w *worldtest.World) *house {
	t.Helper()
	h := &house{w}
	if err := w.Jobs.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.Jobs.Stop(ctx); err != nil {
			t.Errorf("stop jobs: %v", err)
		}
	})
	return h
}

func each(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) { test(t, newHouse(t, w)) })
}

func (h *house) settle(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.Jobs.Settle(ctx); err != nil {
		t.Fatalf("settle jobs: %v", err)
	}
}

func (h *house) advance(t testing.TB, d time.Duration) {
	t.Helper()
	h.Clock.Advance(d)
	if err := h.Jobs.Restart(t.Context()); err != nil {
		t.Fatalf("restart jobs: %v", err)
	}
	h.settle(t)
}

// as is a member of the staff by role.
func (h *house) as(t testing.TB, role staff.Role) survey.By {
	t.Helper()
	for _, m := range h.Sample.Staff {
		if staff.Role(m.Role) == role {
			return notify.AsMember(m, "console")
		}
	}
	t.Fatalf("the sample has nobody with the role %s", role)
	return survey.By{}
}

func at(s string) survey.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", s, time.FixedZone("CST", 8*3600))
	if err != nil {
		panic(err)
	}
	return survey.Time{Time: t}
}

func halfYear() survey.Draft {
	return survey.Draft{Kind: "periodic", Title: "2026年上半年服务评价", Scope: survey.Scope{Buildings: []string{"3", "4"}}, EndsAt: at("2026-03-12 18:00")}
}

func (h *house) compose(t testing.TB, d survey.Draft) survey.Survey {
	t.Helper()
	s, err := h.Surveys.Compose(t.Context(), h.as(t, staff.RoleCSSupervisor), d)
	if err != nil {
		t.Fatalf("compose: %v", err)
	}
	return s
}

func (h *house) approve(t testing.TB, s survey.Survey) survey.Survey {
	t.Helper()
	out, err := h.Surveys.Approve(t.Context(), h.as(t, staff.RoleCSManager), s.ID)
	if err != nil {
		t.Fatalf("approve: %v %v", err, s.Problems)
	}
	h.settle(t)
	return out
}

// running composes and approves a survey.
func (h *house) running(t testing.TB, d survey.Draft) survey.Survey {
	t.Helper()
	return h.approve(t, h.compose(t, d))
}

func (h *house) results(t testing.TB, id string) survey.Results {
	t.Helper()
	r, err := h.Surveys.Results(t.Context(), sample.CompanyID, id, survey.ResultFilter{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (h *house) invitations(t testing.TB, id string) []survey.Invitation {
	t.Helper()
	var all []survey.Invitation
	cursor := ""
	for {
		list, next, err := h.Surveys.Invitations(t.Context(), sample.CompanyID, id, cursor, 500, true)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list...)
		if next == "" {
			return all
		}
		cursor = next
	}
}

// linked are the invitations with a page.
func (h *house) linked(t testing.TB, id string) []survey.Invitation {
	t.Helper()
	var out []survey.Invitation
	for _, i := range h.invitations(t, id) {
		if i.Link != "" && i.Channel == survey.ChannelTemplate {
			out = append(out, i)
		}
	}
	return out
}

func tokenOf(link string) string {
	return strings.TrimPrefix(link, worldtest.PublicURL+survey.PagePath)
}

func (h *house) submit(t testing.TB, token string, f survey.Form) survey.Outcome {
	t.Helper()
	out, err := h.Surveys.Submit(t.Context(), token, f)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func scores(kv ...string) survey.Form {
	f := survey.Form{Scores: map[string]string{}}
	for i := 0; i+1 < len(kv); i += 2 {
		f.Scores[kv[i]] = kv[i+1]
	}
	return f
}

func (h *house) up(t testing.TB, phone, text string) (taken bool) {
	t.Helper()
	inTx(t, h.DB, func(ctx context.Context, tx *db.Tx) error {
		var err error
		taken, err = h.Surveys.UplinkTx(ctx, tx, survey.Uplink{CompanyID: sample.CompanyID, Phone: phone, Content: text})
		return err
	})
	return taken
}

func inTx(t testing.TB, d *db.DB, f func(ctx context.Context, tx *db.Tx) error) {
	t.Helper()
	if err := d.InTx(t.Context(), "test", f); err != nil {
		t.Fatal(err)
	}
}

// closedCase opens a case for a home and lets staff handle and close it.
func (h *house) closedCase(t testing.TB, home worldtest.Home, kind string, followed bool) desk.Case {
	t.Helper()
	by := h.As(t, "yangguang")
	o := desk.Open{CompanyID: sample.CompanyID, ProjectID: h.Sample.Project.ID, Kind: kind, Category: "engineering", Text: "厨房水管漏水", Mode: "call_in",
		Unit: home.Unit, ResidentID: home.ResidentID, ResidentName: home.Name, Phone: home.Phone}
	if followed {
		o.AccountID, o.OpenID = sample.AccountID, home.OpenID
	}
	c, err := h.Desk.Open(t.Context(), by, o)
	if err == nil {
		c, err = h.Desk.Claim(t.Context(), by, c.ID)
	}
	if err == nil {
		c, err = h.Desk.Handle(t.Context(), by, c.ID, "已经修好")
	}
	if err == nil {
		c, err = h.Desk.Close(t.Context(), by, c.ID, desk.FollowUpSolved)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.settle(t)
	return c
}

// about gives the invitation of a case.
func (h *house) about(t testing.TB, c desk.Case) survey.Invitation {
	t.Helper()
	kind := survey.AfterCase
	if c.Kind == "inquiry" {
		kind = survey.AfterInquiry
	}
	list, _, err := h.Surveys.List(t.Context(), sample.CompanyID, survey.Filter{Kinds: []survey.Kind{kind}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		for _, i := range h.invitations(t, s.ID) {
			if i.CaseNo == c.No {
				return i
			}
		}
	}
	t.Fatalf("case %s has no invitation", c.No)
	return survey.Invitation{}
}

// asks are the deliveries that ask about a case.
func (h *house) asks(t testing.TB, c desk.Case) []ledger.Delivery {
	t.Helper()
	list, err := h.Ledger.ByRef(t.Context(), h.DB, survey.RefAsk, h.about(t, c).ID)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (h *house) latest(t testing.TB, id string) desk.Case {
	t.Helper()
	c, err := h.Desk.ByID(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refused wants a refusal with a code.
func refused(t testing.TB, err error, code string) *survey.Refused {
	t.Helper()
	var r *survey.Refused
	if !errors.As(err, &r) || r.Code != code {
		t.Fatalf("got %v, want a refusal %s", err, code)
	}
	if r.Message == "" {
		t.Errorf("refusal %s says nothing", code)
	}
	return r
}

func hasProblem(list []survey.Problem, field string) bool {
	for _, p := range list {
		if p.Field == field && p.Message != "" {
			return true
		}
	}
	return false
}

func (h *house) scope() estate.Scope { return estate.Scope{ProjectID: h.Sample.Project.ID} }

func (h *house) options() estate.AudienceOptions {
	return estate.AudienceOptions{OptOutClass: "survey", Channels: []string{"template", "sms"}}
}
