package survey_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/desk"
	"guanjia/internal/ledger"
	"guanjia/internal/staff"
	"guanjia/notify"
	"guanjia/notify/survey"
)

// Story step 9: a case of a resident who does not follow is closed, the
// question comes by SMS, and 「4 师傅很准时」 is its rating with his words.
func TestACaseIsAskedAboutBySMS(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		home := h.PhoneOnly(t, 0)
		c := h.closedCase(t, home, "repair", false)
		asks := h.asks(t, c)
		if len(asks) != 1 || asks[0].Channel != ledger.ChannelSMS || asks[0].Address != home.Phone || asks[0].Class != ledger.ClassSurvey {
			t.Fatalf("asked by %+v", asks)
		}
		if !strings.Contains(asks[0].Text, c.No) || !strings.Contains(asks[0].Text, "1至5") {
			t.Errorf("the question says %q", asks[0].Text)
		}
		if h.up(t, "13900009999", "5") {
			t.Error("words of a stranger are taken for an answer")
		}
		if !h.up(t, home.Phone, "4 师傅很准时") {
			t.Fatal("the answer is not taken")
		}
		if got := h.latest(t, c.ID); got.Rating != 4 || got.RatingText != "师傅很准时" {
			t.Errorf("rating %d %q", got.Rating, got.RatingText)
		}
		// A second number corrects the first; nothing is counted twice.
		h.up(t, home.Phone, "5")
		if got := h.latest(t, c.ID); got.Rating != 5 {
			t.Errorf("corrected rating is %d", got.Rating)
		}
		i := h.about(t, c)
		if i.State != survey.InvitationAnswered || i.AnsweredAt.IsZero() {
			t.Errorf("invitation is %s", i.State)
		}
		list, _, err := h.Surveys.List(t.Context(), sample.CompanyID, survey.Filter{Kinds: []survey.Kind{survey.AfterCase}})
		if err != nil || len(list) != 1 {
			t.Fatalf("%d standing surveys, %v", len(list), err)
		}
		r := h.results(t, list[0].ID)
		if r.Invited != 1 || r.Answered != 1 || r.Overall.N != 1 || r.SatisfiedRate != 1 || r.Satisfaction != 5 || r.Comments != 1 {
			t.Errorf("results %+v", r)
		}
		words, _, err := h.Surveys.Comments(t.Context(), sample.CompanyID, list[0].ID, survey.ResultFilter{}, "", 10)
		if err != nil || len(words) != 1 || words[0].Text != "师傅很准时" || words[0].CaseNo != c.No {
			t.Errorf("words %+v %v", words, err)
		}
	})
}

// an inquiry that staff answered is asked about too, by its own survey.
func TestAnInquiryIsAskedAbout(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		c := h.closedCase(t, h.PhoneOnly(t, 1), "inquiry", false)
		if asks := h.asks(t, c); len(asks) != 1 || !strings.Contains(asks[0].Text, "咨询") {
			t.Errorf("asked by %+v", asks)
		}
	})
}

// A follower is asked in chat while the window is open, else by template message
// with a page; the page is the same model.
func TestAFollowerIsAskedInChatOrByPage(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		one, two := h.Bound(t, 0), h.Bound(t, 4)
		h.Say(t, one.OpenID, "您好")
		c := h.closedCase(t, one, "repair", true)
		asks := h.asks(t, c)
		if len(asks) != 1 || asks[0].Channel != ledger.ChannelService || len(asks[0].Plan) == 0 || asks[0].Plan[0].Channel != ledger.ChannelTemplate {
			t.Fatalf("asked by %+v", asks)
		}
		var p struct{ Options []desk.Option }
		if err := json.Unmarshal(asks[0].Payload, &p); err != nil || len(p.Options) != 5 {
			t.Fatalf("options %s", asks[0].Payload)
		}
		if a := h.Say(t, one.OpenID, "④"); !strings.Contains(a, "满意") {
			t.Errorf("answer %q", a)
		}
		if got := h.latest(t, c.ID); got.Rating != 4 {
			t.Errorf("rating %d", got.Rating)
		}

		d := h.closedCase(t, two, "repair", true)
		asks = h.asks(t, d)
		if len(asks) != 1 || asks[0].Channel != ledger.ChannelTemplate {
			t.Fatalf("asked by %+v", asks)
		}
		var payload struct{ Link json.RawMessage }
		if err := json.Unmarshal(asks[0].Payload, &payload); err != nil {
			t.Fatal(err)
		}
		link, err := h.Surveys.Link(asks[0], payload.Link)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(asks[0].Payload)+asks[0].Text, tokenOf(link)) {
			t.Error("the link is stored")
		}
		v, err := h.Surveys.Page(t.Context(), tokenOf(link))
		if err != nil || v.State != survey.PageOpen || !strings.Contains(v.About, d.No) {
			t.Fatalf("page %+v %v", v, err)
		}
		f := scores("overall", "2")
		f.Comment = "还在漏 <script>alert(1)</script>"
		out := h.submit(t, tokenOf(link), f)
		if out.Kind != survey.Saved || out.FollowUp == "" || out.PromisedAt.IsZero() || !strings.Contains(out.Message, "联系您") {
			t.Fatalf("outcome %+v", out)
		}
		got := h.latest(t, d.ID)
		if got.Rating != 2 || got.RatingText != f.Comment {
			t.Errorf("rating %d %q", got.Rating, got.RatingText)
		}
		follow, err := h.Desk.ByNo(t.Context(), sample.CompanyID, out.FollowUp)
		if err != nil || follow.Topic != desk.TopicFollowUp || follow.Priority != desk.PriorityHigh || follow.AcceptBy.IsZero() || follow.QueueID != got.QueueID ||
			!strings.Contains(follow.Text, d.No) || !strings.Contains(follow.Text, "还在漏") || follow.OpenID != two.OpenID {
			t.Errorf("follow-up %+v %v", follow, err)
		}
		cards := h.Deliveries(t, "case", follow.ID, ledger.ChannelCard)
		if len(cards) == 0 {
			t.Error("no card of the follow-up")
		}
		h.settle(t)
		// The follow-up is one, however often it is tried, and is itself not asked about.
		if again := h.submit(t, tokenOf(link), f); again.FollowUp != "" && again.FollowUp != out.FollowUp {
			t.Errorf("a second follow-up %s", again.FollowUp)
		}
	})
}

// Story step 10 and 12: composed, counted, approved by another, frozen, sent in
// permitted hours, reminded once, closed.
func TestASurveyFromDraftToResults(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		s := h.compose(t, halfYear())
		if len(s.Problems) > 0 || s.No != "S0001" || s.State != survey.Drafted {
			t.Fatalf("draft %s %s: %v", s.No, s.State, s.Problems)
		}
		a := s.Audience
		if a.People == 0 || a.Template == 0 || a.SMS == 0 || a.Template+a.SMS+a.None != a.People || s.CostFen == 0 || s.Preview.SMS == "" || s.Preview.Template == "" {
			t.Fatalf("audience %+v, cost %d", a, s.CostFen)
		}
		_, err := h.Surveys.Approve(t.Context(), h.as(t, staff.RoleCSSupervisor), s.ID)
		refused(t, err, notify.RefusedForbidden)
		s = h.approve(t, s)
		_, err = h.Surveys.Approve(t.Context(), h.as(t, staff.RoleCSManager), s.ID)
		refused(t, err, notify.RefusedState)

		all := h.invitations(t, s.ID)
		if len(all) != a.People {
			t.Errorf("%d invitations for %d people", len(all), a.People)
		}
		asked := map[string]int{}
		for _, i := range all {
			if i.State == survey.InvitationAsked {
				asked[i.Channel+"|"+i.Address]++
			}
		}
		rows, err := h.Ledger.ByRef(t.Context(), h.DB, survey.RefSurvey, s.ID)
		if err != nil {
			t.Fatal(err)
		}
		sent := map[string]int{}
		for _, d := range rows {
			sent[d.Channel+"|"+d.Address]++
			if d.Class != ledger.ClassSurvey || d.Lane != ledger.LaneBulk {
				t.Fatalf("class %s, lane %s", d.Class, d.Lane)
			}
		}
		if !maps.Equal(asked, sent) || len(sent) != a.Template+a.SMS {
			t.Errorf("%d asked, %d sent, %d announced", len(asked), len(sent), a.Template+a.SMS)
		}

		// Two answer: one by page, one by SMS.
		pages := h.linked(t, s.ID)
		f := scores("overall", "5", "cleaning", "4", "recommend", "10")
		f.Comment = "保洁很好"
		if out := h.submit(t, tokenOf(pages[0].Link), f); out.Kind != survey.Saved {
			t.Fatalf("outcome %+v", out)
		}
		var phone string
		for _, i := range all {
			if i.Channel == survey.ChannelSMS && i.State == survey.InvitationAsked {
				phone = i.Address
			}
		}
		if !h.up(t, phone, "三分") {
			t.Fatal("the SMS is not taken")
		}
		r := h.results(t, s.ID)
		if r.Invited != len(sent) || r.Answered != 2 || r.SatisfiedRate != 0.5 || r.Satisfaction != 4 || r.NPS == nil || r.NPS.Score != 100 || len(r.By["category"]) != 1 || len(r.By["month"]) != 1 {
			t.Errorf("results %+v", r)
		}
		if f := r.Overall; f.N != 2 || !(f.Low > 0 && f.Low < 0.5 && f.High > 0.5 && f.High < 1) || f.MeanLow > 4 || f.MeanHigh < 4 {
			t.Errorf("intervals %+v", f)
		}
		behind, _, err := h.Surveys.Comments(t.Context(), sample.CompanyID, s.ID, survey.ResultFilter{Category: "cleaning", Score: 4}, "", 10)
		if err != nil || len(behind) != 1 || behind[0].Score != 4 {
			t.Errorf("words behind the bar %+v %v", behind, err)
		}

		// Three days on, who has not answered is reminded, once, and nobody else.
		h.advance(t, 3*24*time.Hour)
		reminders, err := h.Ledger.ByRef(t.Context(), h.DB, survey.RefReminder, s.ID)
		if err != nil || len(reminders) != len(sent)-2 {
			t.Errorf("%d reminders for %d without an answer, %v", len(reminders), len(sent)-2, err)
		}
		for _, d := range reminders {
			if d.Address == pages[0].Address || d.Address == phone {
				t.Error("somebody who answered is reminded")
			}
		}
		h.advance(t, 4*24*time.Hour)
		if more, _ := h.Ledger.ByRef(t.Context(), h.DB, survey.RefReminder, s.ID); len(more) != len(reminders) {
			t.Errorf("%d reminders in the end", len(more))
		}

		// He comes back and changes one answer; after the end he gets thanks.
		f.Scores["cleaning"] = "2"
		if out := h.submit(t, tokenOf(pages[0].Link), f); out.Kind != survey.Changed {
			t.Errorf("outcome %+v", out)
		}
		h.advance(t, 4*24*time.Hour)
		if s, err = h.Surveys.ByID(t.Context(), sample.CompanyID, s.ID); err != nil || s.State != survey.Closed {
			t.Fatalf("state %s %v", s.State, err)
		}
		if out := h.submit(t, tokenOf(pages[1].Link), f); out.Kind != survey.OverNow || out.Message == "" {
			t.Errorf("after the end: %+v", out)
		}
		h.up(t, phone, "1")
		r = h.results(t, s.ID)
		if r.Answered != 2 || r.Satisfaction != 4 || r.By["category"][0].Satisfaction != 2 {
			t.Errorf("after the end: %+v", r)
		}
	})
}

// Sent at 09:00 to 20:00: approved at night it waits, and nothing leaves after
// eight in the evening.
func TestNothingLeavesAtNight(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		h.advance(t, 11*time.Hour) // 21:00
		s := h.running(t, halfYear())
		if rows, _ := h.Ledger.ByRef(t.Context(), h.DB, survey.RefSurvey, s.ID); len(rows) != 0 {
			t.Fatalf("%d rows at night", len(rows))
		}
		h.advance(t, 12*time.Hour) // 09:00
		rows, _ := h.Ledger.ByRef(t.Context(), h.DB, survey.RefSurvey, s.ID)
		if len(rows) == 0 {
			t.Fatal("nothing in the morning")
		}
		h.advance(t, 11*time.Hour+time.Minute) // 20:01
		holds, err := h.Ledger.Holds(t.Context(), h.DB, survey.RefSurvey, s.ID)
		if err != nil || len(holds) == 0 {
			t.Errorf("not held in the evening: %v", err)
		}
		h.advance(t, 13*time.Hour)
		if holds, _ = h.Ledger.Holds(t.Context(), h.DB, survey.RefSurvey, s.ID); len(holds) != 0 {
			t.Error("still held in the morning")
		}
	})
}
