package bot_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/estate"
)

// at most two questions to clear up a misunderstanding, then a person.
func TestTwoQuestionsThenAPerson(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	h := w.Bound(t, 0)
	wantAll(t, w.Say(t, h.OpenID, "嗯嗯那个"), "请问您是想报修")
	w.Clock.Advance(time.Minute)
	wantAll(t, w.Say(t, h.OpenID, "就是那个啊"), "没有完全理解")
	if n := len(w.Cases(t, h.OpenID)); n != 0 {
		t.Fatalf("%d cases after two questions", n)
	}
	w.Clock.Advance(time.Minute)
	answer := w.Say(t, h.OpenID, "哎呀就那个")
	c := w.OneCase(t, h.OpenID)
	wantAll(t, answer, "已请同事来帮您", "#"+c.No)
	if c.Kind != "inquiry" {
		t.Errorf("kind %s", c.Kind)
	}
	// What is understood in between starts the count anew, and so does time.
	other := w.Bound(t, 1)
	w.Say(t, other.OpenID, "嗯嗯那个")
	w.Say(t, other.OpenID, "就是那个啊")
	w.Clock.Advance(time.Hour)
	wantAll(t, w.Say(t, other.OpenID, "嗯嗯那个"), "请问您是想报修")
}

// who complains again about what is open presses it; no second case,
// whoever of the home writes, within the company's window.
func TestRepeatedComplaintJoins(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		h := w.Bound(t, 0)
		w.Say(t, h.OpenID, "楼上半夜装修太吵了,投诉")
		c := w.OneCase(t, h.OpenID)
		if c.Topic == "" {
			t.Fatal("the classifier names no topic for these words")
		}
		w.Clock.Advance(2 * time.Hour)
		answer := w.Say(t, h.OpenID, "楼上又在装修,吵死了,我要投诉")
		wantAll(t, answer, "#"+c.No)
		after := w.OneCase(t, h.OpenID)
		if after.Urges != 1 || after.Priority != desk.PriorityHigh {
			t.Errorf("urges %d, priority %s", after.Urges, after.Priority)
		}
		// Another matter is another case.
		w.Say(t, h.OpenID, "楼道垃圾没人扫,太脏了")
		if n := len(w.Cases(t, h.OpenID)); n != 2 {
			t.Errorf("%d cases after another matter", n)
		}
		w.Clock.Advance(w.Sample.Company.Settings.RepeatWindow)
		w.Say(t, h.OpenID, "楼上半夜装修太吵了,投诉")
		if n := len(w.Cases(t, h.OpenID)); n != 3 {
			t.Errorf("%d cases past the window, want 3", n)
		}
	})
}

// the family writes too.
func TestRepeatedByAnotherOfTheHome(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	h := w.Bound(t, 0)
	w.Say(t, h.OpenID, "厨房水管漏水,麻烦派人来修")
	c := w.OneCase(t, h.OpenID)
	const sister = "oSisterOfTheHome0000000000001"
	r, found, err := w.Estate.ResidentByOpenID(t.Context(), w.DB, sample.CompanyID, h.OpenID)
	if err != nil || !found {
		t.Fatalf("resident: %v", err)
	}
	bindToHome(t, w, sister, r)
	w.Clock.Advance(time.Hour)
	wantAll(t, w.Say(t, sister, "厨房水管漏水,麻烦派人来修"), "#"+c.No)
	if n := len(w.Cases(t, sister)); n != 0 {
		t.Errorf("%d cases of the sister's own", n)
	}
	wantAll(t, w.Say(t, sister, "怎么还没来"), "#"+c.No)
	if got := latest(t, w, c.No); got.Urges != 2 {
		t.Errorf("urges %d, want 2", got.Urges)
	}
}

func bindToHome(t testing.TB, w *worldtest.World, openID string, r estate.Resident) {
	t.Helper()
	err := w.DB.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `insert into bindings (id, company_id, account_id, openid, resident_id, bound_at) values ($1, $2, $3, $4, $5, $6)`,
			db.NewID(), sample.CompanyID, sample.AccountID, openID, r.ID, db.At(w.Clock.Now()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// salutation as chosen, part of the day, festival; no wishes while
// somebody is in danger.
func TestGreeting(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	h := w.Bound(t, 0)
	answer := w.Say(t, h.OpenID, "你好")
	wantAll(t, answer, "早上好", "祝您春节快乐") // the world begins on 2 March 2026, the 14th day
	if strings.Contains(answer, h.Name) {
		t.Errorf("addressed without having chosen how: %q", answer)
	}
	wantAll(t, w.Say(t, h.OpenID, "请叫我王女士"), "王女士")
	wantAll(t, w.Say(t, h.OpenID, "你好"), "王女士，您好")
	w.Say(t, h.OpenID, "电梯困人了,快来")
	if answer := w.Say(t, h.OpenID, "你好"); strings.Contains(answer, "春节") {
		t.Errorf("a merry day in danger: %q", answer)
	}
	other := w.Bound(t, 1)
	w.Clock.Advance(30 * 24 * time.Hour)
	if answer := w.Say(t, other.OpenID, "你好"); strings.Contains(answer, "祝您") {
		t.Errorf("a festival on an ordinary day: %q", answer)
	}
}
