package register_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/register"
	"guanjia/internal/wording"
	"guanjia/templates"
)

var start = time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC) // 09:00 in China

type suite struct {
	*register.Register
	db *db.DB
}

func run(t *testing.T, test func(t *testing.T, s suite)) {
	t.Helper()
	book, err := wording.Load(templates.FS())
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		sealer, err := company.NewSealer(bytes.Repeat([]byte{1}, company.KeySize))
		if err != nil {
			t.Fatal(err)
		}
		companies := company.New(d, sealer)
		s := suite{register.New(d, clock.NewManual(start), book, companies), d}
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			return errors.Join(companies.CreateTx(ctx, tx, company.Company{ID: "c1", Name: "青禾物业", Settings: company.DefaultSettings()}),
				companies.CreateTx(ctx, tx, company.Company{ID: "c2", Settings: company.DefaultSettings()}))
		})
		test(t, s)
	})
}

func (s suite) inTx(t testing.TB, f func(ctx context.Context, tx *db.Tx) error) {
	t.Helper()
	if err := s.db.InTx(context.Background(), "test", f); err != nil {
		t.Fatal(err)
	}
}

func ref(id string) register.Ref {
	return register.Ref{CompanyID: "c1", Kind: register.RefNotice, ID: id}
}

func act(id string, hours int) register.Act {
	return register.Act{Person: register.Person{ID: id, Name: "名" + id}, At: start.Add(time.Duration(hours) * time.Hour)}
}

func draft(id string) register.Publication {
	return register.Publication{
		Ref: ref(id), No: "T" + id, ProjectID: "p1", Project: "青禾花园", Title: "停水通知", Kind: "planned_outage", Topic: "outage_water",
		Summary: "清洗水箱", Scope: "3栋、4栋", Author: act("wang", 0), Forms: []register.Form{{Form: register.FormSMS}, {Form: register.FormPoster}},
	}
}

// The life of a row, each step twice.
func TestPublication(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		for range 2 {
			s.inTx(t, func(ctx context.Context, tx *db.Tx) error { return s.PublicationTx(ctx, tx, draft("0001")) })
		}
		again := draft("0001")
		again.Title, again.Forms, again.Author = "停水通知(更新)", []register.Form{{Form: register.FormTemplate}, {Form: register.FormSMS}}, act("li", 1)
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error { return s.PublicationTx(ctx, tx, again) })
		for _, boss := range []string{"zhao", "late"} {
			s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
				return errors.Join(
					s.ApprovedTx(ctx, tx, ref("0001"), act(boss, 2), true),
					s.PublicationTx(ctx, tx, draft("0001")), // too late: approved words stay
					s.EndorsedTx(ctx, tx, ref("0001"), act(boss, 5)),
					s.PublishedTx(ctx, tx, ref("0001"), start.Add(3*time.Hour)),
					s.CountsTx(ctx, tx, ref("0001"), register.Counts{Households: 10, Reached: 9, Delivered: 12, Failed: 2, Called: 1}),
					s.TickFormTx(ctx, tx, ref("0001"), register.Form{Form: register.FormPoster, Detail: "3栋大堂", Act: act("qian", 4)}),
					s.RegisteredTx(ctx, tx, ref("0001"), act("sun", 6), "已归档"),
					s.EndedTx(ctx, tx, ref("0001"), register.Superseded, start.Add(7*time.Hour), "T0002"),
				)
			})
		}
		got, ok, err := s.ByRef(context.Background(), s.db, ref("0001"))
		want := again
		want.RowID, want.State, want.Author = got.RowID, register.Superseded, act("wang", 0)
		want.Approval, want.EndorseDue, want.Endorsement = act("zhao", 2), true, act("zhao", 5)
		want.PublishedAt, want.EndedAt, want.EndedWhy = start.Add(3*time.Hour), start.Add(7*time.Hour), "T0002"
		want.Counts = register.Counts{Households: 10, Reached: 9, Delivered: 12, Failed: 2, Called: 1}
		want.Registered, want.Remark = act("sun", 6), "已归档"
		want.Forms = []register.Form{{Form: register.FormPoster, Detail: "3栋大堂", Act: act("qian", 4)}, {Form: register.FormSMS}, {Form: register.FormTemplate}}
		if d := cmp.Diff(want, got); !ok || err != nil || d != "" {
			t.Errorf("%t, %v\n%s", ok, err, d)
		}
		if byNo, ok, err := s.ByNo(context.Background(), s.db, "c1", "t0001"); !ok || err != nil || byNo.RowID != got.RowID {
			t.Errorf("by number: %+v, %t, %v", byNo, ok, err)
		}
		if _, ok, err := s.ByNo(context.Background(), s.db, "c2", "T0001"); ok || err != nil {
			t.Errorf("another company sees it: %v", err)
		}
	})
}

func TestPublicationRefusals(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error { return s.PublicationTx(ctx, tx, draft("0001")) })
		for name, c := range map[string]struct {
			do   func(ctx context.Context, tx *db.Tx) error
			want error
		}{
			"approve nothing": {func(ctx context.Context, tx *db.Tx) error { return s.ApprovedTx(ctx, tx, ref("9"), act("a", 0), false) }, register.ErrNone},
			"tick nothing": {func(ctx context.Context, tx *db.Tx) error {
				return s.TickFormTx(ctx, tx, ref("9"), register.Form{Form: register.FormScreen, Act: act("a", 0)})
			}, register.ErrNone},
			"unknown form": {func(ctx context.Context, tx *db.Tx) error {
				return s.TickFormTx(ctx, tx, ref("0001"), register.Form{Form: "pigeon", Act: act("a", 0)})
			}, register.ErrForm},
			"draft with an unknown form": {func(ctx context.Context, tx *db.Tx) error {
				p := draft("0002")
				p.Forms = []register.Form{{Form: "pigeon"}}
				return s.PublicationTx(ctx, tx, p)
			}, register.ErrForm},
		} {
			if err := s.db.InTx(context.Background(), "test", c.do); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if _, ok, err := s.ByRef(context.Background(), s.db, ref("0002")); ok || err != nil {
			t.Errorf("a refused draft left a row, %v", err)
		}
	})
}

func TestListPublications(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			for i := range 5 {
				p := draft(fmt.Sprintf("%04d", i))
				p.Author.At = start.Add(time.Duration(i/2) * 24 * time.Hour) // two of one moment
				if i == 3 {
					p.ProjectID, p.Kind = "p2", "general"
				}
				if err := s.PublicationTx(ctx, tx, p); err != nil {
					return err
				}
			}
			return nil
		})
		for name, c := range map[string]struct {
			filter register.Filter
			want   string
		}{
			"all":     {register.Filter{}, "T0000 T0001 T0002 T0003 T0004"},
			"pages":   {register.Filter{Limit: 2}, "T0000 T0001 T0002 T0003 T0004"},
			"from":    {register.Filter{From: start.Add(24 * time.Hour)}, "T0002 T0003 T0004"},
			"to":      {register.Filter{To: start.Add(24 * time.Hour)}, "T0000 T0001"},
			"project": {register.Filter{Project: "p2"}, "T0003"},
			"kind":    {register.Filter{Kind: "general"}, "T0003"},
		} {
			got, pages := "", 0
			for f := c.filter; pages < 10; pages++ {
				list, next, err := s.List(context.Background(), s.db, "c1", f)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range list {
					got += " " + p.No
				}
				if f.Cursor = next; next == "" {
					break
				}
			}
			if got != " "+c.want {
				t.Errorf("%s: got%s, want %s", name, got, c.want)
			}
		}
		if list, _, err := s.List(context.Background(), s.db, "c2", register.Filter{}); len(list) != 0 || err != nil {
			t.Errorf("another company sees %d rows, %v", len(list), err)
		}
	})
}
