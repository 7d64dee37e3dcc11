package bot_test

import (
	"strings"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/conversation"
)

// every automatic answer asks whether it helped, the answer to that is
// kept, and a "no" brings a person.
func TestAutomaticAnswersAskWhetherTheyHelped(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		people := []string{w.Bound(t, 0).OpenID, w.Bound(t, 1).OpenID, w.Bound(t, 2).OpenID, w.Bound(t, 3).OpenID}
		said := func(openID string) (conversation.Answer, string) {
			a := w.Turn(t, conversation.Inbound{OpenID: openID, Text: "物业费标准是多少?"})
			wantAll(t, a.Text, "2.8元", "人工", w.Sample.Company.Settings.ServicePhone, "有用吗")
			if len(a.Options) != 2 {
				t.Fatalf("options = %v, want 有用 and 没用", a.Options)
			}
			return a, a.Options[1].ID
		}
		verdicts := func(v string) int {
			return count(t, w, `select count(*) from article_answers where verdict = $1`, v)
		}

		// By words.
		said(people[0])
		wantAll(t, w.Say(t, people[0], "有用"), "谢谢您的反馈")
		if n := verdicts("helpful"); n != 1 {
			t.Errorf("%d helpful answers are kept, want 1", n)
		}
		if len(w.Cases(t, people[0])) != 0 {
			t.Error("a helpful answer opened a case")
		}

		// By the menu, once and again.
		_, no := said(people[1])
		a := w.Turn(t, conversation.Inbound{OpenID: people[1], Text: "没用", MenuID: no})
		wantAll(t, a.Text, "抱歉没能帮到您", "同事")
		cases := w.Cases(t, people[1])
		if len(cases) != 1 || cases[0].Kind != "inquiry" || !strings.Contains(cases[0].Text, "物业费标准") {
			t.Fatalf("cases = %+v, want the question as an inquiry", cases)
		}
		w.Turn(t, conversation.Inbound{OpenID: people[1], Text: "没用", MenuID: no})
		if again := w.Cases(t, people[1]); len(again) != 1 {
			t.Errorf("said twice, %d cases", len(again))
		}
		if n := verdicts("not_helpful"); n != 1 {
			t.Errorf("%d unhelpful answers are kept, want 1", n)
		}
		if n := count(t, w, `select count(*) from article_answers where case_no = $1`, cases[0].No); n != 1 {
			t.Error("the answer does not name the case that followed")
		}

		// By a digit, and thanks in between are only thanks.
		said(people[2])
		w.Say(t, people[2], "谢谢")
		wantAll(t, w.Say(t, people[2], "2"), "抱歉没能帮到您")

		// Without an answer before, the same words are no verdict.
		w.Say(t, people[3], "没用")
		if n := verdicts("not_helpful"); n != 2 {
			t.Errorf("%d unhelpful answers are kept, want 2", n)
		}
	})
}

// A case that asks after the answer is what digits mean.
func TestDigitsRateTheCaseThatAskedLast(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	who := w.Bound(t, 0).OpenID
	w.Turn(t, conversation.Inbound{OpenID: who, Text: "访客停车怎么收费?"})
	w.Clock.Advance(time.Minute)
	c := handled(t, w, who, "家里厨房水龙头漏水")
	w.Say(t, who, "2")
	if got := latest(t, w, c.No); got.Rating != 2 {
		t.Errorf("rating = %d, want 2", got.Rating)
	}
	if n := count(t, w, `select count(*) from article_answers where verdict <> ''`); n != 0 {
		t.Error("the digit was taken for a verdict on the answer")
	}
}

// what no article answers goes to a person, and to the list of what is missing.
func TestUnknownQuestionsGoToAPerson(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	who := w.Bound(t, 0).OpenID
	answer := w.Say(t, who, "对口初中是哪一所?")
	cases := w.Cases(t, who)
	if len(cases) != 1 || cases[0].Kind != "inquiry" {
		t.Fatalf("answer %q, cases %+v", answer, cases)
	}
	gaps, _, err := w.Articles.Gaps(t.Context(), w.DB, sample.CompanyID, "", "", 10)
	if err != nil || len(gaps) != 1 || gaps[0].CaseNo != cases[0].No || gaps[0].Question != "对口初中是哪一所?" {
		t.Errorf("gaps = %+v, %v", gaps, err)
	}
}

// An emergency never gets an article, whatever article speaks of it.
func TestEmergenciesGetNoArticle(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	for i, words := range []string{"我被困在电梯里了怎么办", "家里闻到燃气味怎么办", "楼道着火了 怎么办"} {
		who := w.Bound(t, i).OpenID
		w.Say(t, who, words)
		if c := w.Cases(t, who); len(c) != 1 || !c[0].Emergency() {
			t.Errorf("%q: cases %+v, want an emergency", words, c)
		}
	}
	if n := count(t, w, `select count(*) from article_answers`); n != 0 {
		t.Errorf("%d answers from articles to emergencies", n)
	}
}
