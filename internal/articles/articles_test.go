package articles_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/articles"
	"guanjia/internal/estate"
	"guanjia/internal/staff"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func who(role staff.Role) staff.Principal {
	return staff.Principal{CompanyID: sample.CompanyID, Member: staff.Member{CompanyID: sample.CompanyID, UserID: "test-" + string(role), Name: "测试", Role: string(role)}}
}

var (
	writer   = who(staff.RoleFrontDesk)
	approver = who(staff.RoleDutyManager)
	trainee  = who(staff.RoleTrainee)
)

func find(t testing.TB, w *worldtest.World, question string, homes ...estate.Home) articles.Found {
	t.Helper()
	f, err := w.Articles.Find(t.Context(), w.DB, articles.Asked{CompanyID: sample.CompanyID, ConversationID: "c", Text: question, Homes: homes})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func refusedWith(t testing.TB, err error, code string) {
	t.Helper()
	var r *articles.Refused
	if !errors.As(err, &r) || r.Code != code {
		t.Errorf("err = %v, want a refusal %q", err, code)
	}
}

// badminton is an article that the sample has none like.
var badminton = articles.Content{Question: "羽毛球场怎么预约?", Phrasings: []string{"打羽毛球", "羽毛球场地预约"}, Answer: "在公众号「场馆」里选时段，每小时20元。"}

const aboutBadminton = "羽毛球场怎么预约?"

// only what was approved answers, the old words until a change is approved.
func TestLifeOfAnArticle(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		ctx := t.Context()
		other := w.Node(t) // what changes here is seen there
		_, err := w.Articles.Create(ctx, trainee, articles.Head{}, badminton)
		refusedWith(t, err, articles.RefusedForbidden)
		a, err := w.Articles.Create(ctx, writer, articles.Head{Code: "B001"}, badminton)
		if err != nil || a.State() != articles.Draft || !a.Pending() {
			t.Fatalf("created %+v, %v", a, err)
		}
		_, err = w.Articles.Create(ctx, writer, articles.Head{Code: "B001"}, badminton)
		refusedWith(t, err, articles.RefusedCode)
		if f := find(t, other, aboutBadminton); f.OK {
			t.Error("a draft answers")
		}
		_, err = w.Articles.Approve(ctx, writer, a.ID, a.Version)
		refusedWith(t, err, articles.RefusedForbidden)
		if a, err = w.Articles.Approve(ctx, approver, a.ID, a.Version); err != nil || a.State() != articles.Approved {
			t.Fatalf("approved %+v, %v", a, err)
		}
		for _, node := range []*worldtest.World{w, other} {
			if f := find(t, node, aboutBadminton); !f.OK || f.ArticleID != a.ID {
				t.Fatalf("found %+v, want the approved article", f)
			}
		}

		changed := badminton
		changed.Answer = "现在每小时30元。"
		stale := a.Version
		if a, err = w.Articles.Update(ctx, writer, a.ID, a.Version, articles.Head{}, changed); err != nil || !a.Pending() {
			t.Fatalf("updated %+v, %v", a, err)
		}
		_, err = w.Articles.Update(ctx, writer, a.ID, stale, articles.Head{}, changed)
		refusedWith(t, err, articles.RefusedStale)
		if f := find(t, other, aboutBadminton); f.Answer != badminton.Answer {
			t.Errorf("before approval it says %q", f.Answer)
		}
		if a, err = w.Articles.Approve(ctx, approver, a.ID, 0); err != nil {
			t.Fatal(err)
		}
		if f := find(t, other, aboutBadminton); f.Answer != changed.Answer {
			t.Errorf("after approval it says %q", f.Answer)
		}
		versions, err := w.Articles.Versions(ctx, w.DB, a.ID)
		if err != nil || len(versions) != 2 || versions[1].Answer != badminton.Answer || versions[1].ApprovedBy != approver.UserID() {
			t.Errorf("versions %+v, %v", versions, err)
		}

		// Past its review date it answers nobody, until somebody looked at it.
		w.Clock.Advance(366 * 24 * time.Hour)
		if f := find(t, other, aboutBadminton); f.OK && f.ArticleID == a.ID {
			t.Error("an article whose review date has passed answers")
		}
		due, _, err := w.Articles.List(ctx, w.DB, sample.CompanyID, articles.Filter{Due: true, Query: "B001"})
		if err != nil || len(due) != 1 {
			t.Errorf("due: %d, %v", len(due), err)
		}
		if a, err = w.Articles.Reviewed(ctx, writer, a.ID, 0, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if f := find(t, other, aboutBadminton); !f.OK {
			t.Error("a reviewed article doesn't answer")
		}

		if a, err = w.Articles.Retire(ctx, approver, a.ID, a.Version); err != nil || a.State() != articles.Retired {
			t.Fatalf("retired %+v, %v", a, err)
		}
		if f := find(t, other, aboutBadminton); f.OK {
			t.Error("a retired article answers")
		}
		_, err = w.Articles.Update(ctx, writer, a.ID, 0, articles.Head{}, badminton)
		refusedWith(t, err, articles.RefusedState)
	})
}

func TestScopeAndValidity(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	ctx := t.Context()
	c := badminton
	c.ProjectID, c.Buildings = sample.ProjectID, []string{"3"}
	c.ValidFrom, c.ValidUntil = w.Clock.Now().Add(time.Hour), w.Clock.Now().Add(3*time.Hour)
	a, err := w.Articles.Create(ctx, writer, articles.Head{}, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Articles.Approve(ctx, approver, a.ID, 0); err != nil {
		t.Fatal(err)
	}
	three, four := estate.Home{ProjectID: sample.ProjectID, Building: "3"}, estate.Home{ProjectID: sample.ProjectID, Building: "4"}
	answers := func(homes ...estate.Home) bool {
		f := find(t, w, aboutBadminton, homes...)
		return f.OK && f.ArticleID == a.ID
	}
	if answers(three) {
		t.Error("it answers before it is valid")
	}
	w.Clock.Advance(2 * time.Hour)
	if !answers(three) || !answers(four, three) {
		t.Error("it doesn't answer its building")
	}
	if answers(four) || answers() {
		t.Error("it answers others than its building")
	}
	w.Clock.Advance(2 * time.Hour)
	if answers(three) {
		t.Error("it answers after it is valid")
	}
}

func TestContentIsChecked(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	with := func(change func(*articles.Content)) articles.Content {
		c := badminton
		change(&c)
		return c
	}
	for _, tt := range []struct {
		code string
		c    articles.Content
		h    articles.Head
	}{
		{articles.RefusedContent, with(func(c *articles.Content) { c.Question = " " }), articles.Head{}},
		{articles.RefusedContent, with(func(c *articles.Content) { c.Answer = strings.Repeat("长", 501) }), articles.Head{}},
		{articles.RefusedGuard, with(func(c *articles.Content) { c.Answer = "不知道，你到别处去问吧" }), articles.Head{}},
		{articles.RefusedProject, with(func(c *articles.Content) { c.ProjectID = "nowhere" }), articles.Head{}},
		{articles.RefusedProject, with(func(c *articles.Content) { c.Buildings = []string{"3"} }), articles.Head{}},
		{articles.RefusedProject, with(func(c *articles.Content) { c.ProjectID, c.Buildings = sample.ProjectID, []string{"99"} }), articles.Head{}},
		{articles.RefusedValid, with(func(c *articles.Content) { c.ValidFrom, c.ValidUntil = worldtest.Start(), worldtest.Start() }), articles.Head{}},
		{articles.RefusedCode, badminton, articles.Head{Code: "a b"}},
		{articles.RefusedOwner, badminton, articles.Head{Owner: "nobody"}},
		{articles.RefusedReview, badminton, articles.Head{ReviewAt: worldtest.Start().Add(-time.Hour)}},
	} {
		_, err := w.Articles.Create(t.Context(), writer, tt.h, tt.c)
		refusedWith(t, err, tt.code)
	}
}

func TestFilesGoOutAndIn(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		ctx := t.Context()
		list, _, err := w.Articles.List(ctx, w.DB, sample.CompanyID, articles.Filter{State: articles.Approved, Limit: 500})
		if err != nil || len(list) != 60 {
			t.Fatalf("the sample has %d articles in use, %v", len(list), err)
		}
		var file bytes.Buffer
		if err := w.Articles.Export(ctx, w.DB, sample.CompanyID, &file); err != nil {
			t.Fatal(err)
		}
		in, err := w.Articles.ImportFile(ctx, approver, bytes.NewReader(file.Bytes()), false, false)
		if err != nil || in.Same != 60 || in.New+in.Changed != 0 {
			t.Errorf("its own file: %+v, %v", in, err)
		}
		two := `{"id":"F001","question":"几点上班?","answer":"每天8:30至18:00。"}` + "\n" + `{"id":"N1","question":"羽毛球场怎么预约?","answer":"在公众号里选时段。"}`
		in, err = w.Articles.ImportFile(ctx, approver, strings.NewReader(two), true, true)
		if err != nil || in.New != 1 || in.Changed != 1 {
			t.Errorf("dry run: %+v, %v", in, err)
		}
		if _, err := w.Articles.ByID(ctx, w.DB, sample.CompanyID, "N1"); err == nil {
			t.Error("a dry run has left something")
		}
		if _, err = w.Articles.ImportFile(ctx, approver, strings.NewReader(two), true, false); err != nil {
			t.Fatal(err)
		}
		if f := find(t, w, aboutBadminton); f.Code != "N1" {
			t.Errorf("found %+v, want the imported article", f)
		}
		_, err = w.Articles.ImportFile(ctx, approver, strings.NewReader(two+"\n{"), true, false)
		var bad *articles.BadLine
		if !errors.As(err, &bad) || bad.Line != 3 {
			t.Errorf("a broken file: %v, want line 3", err)
		}
	})
}

func TestGapsAreSettled(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	w.Say(t, w.Bound(t, 0).OpenID, "对口初中是哪一所?")
	gaps, _, err := w.Articles.Gaps(t.Context(), w.DB, sample.CompanyID, "", "", 0)
	if err != nil || len(gaps) != 1 {
		t.Fatalf("gaps %+v, %v", gaps, err)
	}
	refusedWith(t, w.Articles.Settle(t.Context(), trainee, gaps[0].ID), articles.RefusedForbidden)
	if err := w.Articles.Settle(t.Context(), writer, gaps[0].ID); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, w.Articles.Settle(t.Context(), writer, gaps[0].ID), articles.RefusedNotFound)
}
