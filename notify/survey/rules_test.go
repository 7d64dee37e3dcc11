package survey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
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
	"guanjia/templates"
)

// Who is never asked stands there as skipped, with the reason: opted out, muted
// asked within the set days, staff's own homes.
func TestWhoIsNotAskedAndWhy(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		manager := h.as(t, staff.RoleCSManager)
		mourner, out := h.Bound(t, 0), h.Bound(t, 4)
		if err := h.Surveys.Mute(t.Context(), manager, survey.Mute{ResidentID: mourner.ResidentID, Kind: "bereavement", Until: at("2026-06-01 00:00")}); err != nil {
			t.Fatal(err)
		}
		inTx(t, h.DB, func(ctx context.Context, tx *db.Tx) error {
			// As 「退订」 in chat writes it.
			return h.Estate.OptOutTx(ctx, tx, sample.CompanyID, out.ResidentID, estate.OptOutAll, "optional", "wechat")
		})
		asked := h.PhoneOnly(t, 0)
		c := h.closedCase(t, asked, "repair", false) // asked today
		d := halfYear()
		d.Scope = survey.Scope{}
		s := h.running(t, d)
		reasons := map[string]string{}
		for _, i := range h.invitations(t, s.ID) {
			reasons[i.ResidentID] = i.SkipCode
			if (i.State == survey.InvitationSkipped) != (i.SkipCode != "") || i.SkipCode != "" && i.SkipText == i.SkipCode {
				t.Fatalf("invitation %s: %q %q", i.State, i.SkipCode, i.SkipText)
			}
		}
		for id, want := range map[string]string{mourner.ResidentID: survey.SkipMuted, out.ResidentID: survey.SkipOptOut, asked.ResidentID: survey.SkipLately} {
			if reasons[id] != want {
				t.Errorf("skipped for %q, want %s", reasons[id], want)
			}
		}
		r := h.results(t, s.ID)
		for _, code := range []string{survey.SkipMuted, survey.SkipOptOut, survey.SkipLately} {
			if r.Skipped[code] != s.Audience.Skipped[code] || r.Skipped[code] == 0 {
				t.Errorf("%s: %d in the results, %d announced", code, r.Skipped[code], s.Audience.Skipped[code])
			}
		}
		_ = c
		// The mourner's own case is not asked about either.
		if i := h.about(t, h.closedCase(t, mourner, "repair", true)); i.State != survey.InvitationSkipped || i.SkipCode != survey.SkipMuted {
			t.Errorf("mourner: %s %s", i.State, i.SkipCode)
		}
	})
}

// Homes in a building with a running outage wait, then are asked.
func TestAnOutageLetsQuestionsWait(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		duty := h.as(t, staff.RoleDutyManager)
		n, err := h.Notices.Compose(t.Context(), duty, notify.Draft{Kind: "emergency_outage", Topic: "outage_water", Scope: notify.Scope{Buildings: []string{"3"}}, Reason: "主管爆裂抢修", EndsAt: at("2026-03-02 12:00")})
		if err == nil {
			n, err = h.Notices.Approve(t.Context(), duty, n.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		s := h.running(t, halfYear())
		if s.Audience.Waiting == 0 {
			t.Error("nobody is said to wait")
		}
		states := map[string]map[string]int{"3": {}, "4": {}}
		for _, i := range h.invitations(t, s.ID) {
			states[i.Building][i.State]++
			if i.State == survey.InvitationWaiting && i.SkipCode != survey.SkipOutage {
				t.Errorf("waits for %q", i.SkipCode)
			}
		}
		if states["3"][survey.InvitationAsked] != 0 || states["3"][survey.InvitationWaiting] == 0 || states["4"][survey.InvitationAsked] == 0 {
			t.Errorf("while the water is off: %v", states)
		}
		r, err := h.Notices.Compose(t.Context(), duty, notify.Draft{Kind: "restored", Of: n.No})
		if err == nil {
			_, err = h.Notices.Approve(t.Context(), duty, r.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		h.advance(t, 10*time.Minute)
		for _, i := range h.invitations(t, s.ID) {
			if i.State == survey.InvitationWaiting {
				t.Fatal("somebody still waits after the end")
			}
		}
	})
}

// The sample is the same for the same seed, of the size that was asked for, and
// spread over buildings by quota.
func TestSamples(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		homes := func(s survey.Sample) []string {
			d := halfYear()
			// It starts tomorrow, so that nobody has been asked when the next is frozen.
			d.Scope, d.Sample, d.StartsAt = survey.Scope{}, &s, at("2026-03-03 09:00")
			x := h.compose(t, d)
			if len(x.Problems) > 0 || x.Draft.Sample.Seed == 0 {
				t.Fatalf("%+v: %v", x.Draft.Sample, x.Problems)
			}
			x = h.approve(t, x)
			seen := map[string]bool{}
			var list []string
			for _, i := range h.invitations(t, x.ID) {
				if !seen[i.Unit] {
					seen[i.Unit] = true
					list = append(list, i.Unit)
				}
			}
			if len(list) != x.Audience.Households {
				t.Errorf("%d homes frozen, %d announced", len(list), x.Audience.Households)
			}
			slices.Sort(list)
			return list
		}
		all := homes(survey.Sample{Share: 1})
		a, b, c := homes(survey.Sample{Share: 0.2, Seed: 7}), homes(survey.Sample{Share: 0.2, Seed: 7}), homes(survey.Sample{Share: 0.2, Seed: 8})
		if !slices.Equal(a, b) || slices.Equal(a, c) {
			t.Errorf("seed 7 gives %d and %d homes, seed 8 the same: %v", len(a), len(b), slices.Equal(a, c))
		}
		// An owner of two flats stands in the first of them, so a few homes fewer may show.
		if want := (len(all) + 4) / 5; len(a) < want-4 || len(a) > want+4 {
			t.Errorf("a fifth of %d is %d", len(all), len(a))
		}
		per := map[string]int{}
		for _, u := range homes(survey.Sample{PerBuilding: 3, Seed: 3}) {
			building, _, _ := strings.Cut(u, "-")
			per[building]++
		}
		if len(per) != 6 || per["3"] < 2 || per["3"] > 4 {
			t.Errorf("quota of three: %v", per)
		}
	})
}

// One answer a home: two people at the same instant, and a double tap, count
// once (the unique key, not a check).
func TestAnswersCountOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		d := halfYear()
		d.Count = survey.CountHome
		s := h.running(t, d)
		byHome := map[string][]string{}
		for _, i := range h.linked(t, s.ID) {
			byHome[i.Unit] = append(byHome[i.Unit], tokenOf(i.Link))
		}
		var tokens []string
		for _, list := range byHome {
			if len(list) > 1 {
				tokens = list
				break
			}
		}
		if tokens == nil {
			for _, list := range byHome {
				tokens = []string{list[0], list[0]} // the same link in two hands
			}
		}
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				out, err := h.Surveys.Submit(context.Background(), tokens[n%len(tokens)], scores("overall", fmt.Sprint(4+n%2), "cleaning", "3"))
				if err != nil || out.Kind != survey.Saved && out.Kind != survey.Changed {
					t.Errorf("outcome %+v %v", out, err)
				}
			})
		}
		wg.Wait()
		if r := h.results(t, s.ID); r.Answered != 1 || r.Overall.N != 1 || len(r.By["category"]) != 1 || r.By["category"][0].N != 1 {
			t.Errorf("counted %+v", r)
		}
		// The other one of the home sees the answer that is there.
		v, err := h.Surveys.Page(t.Context(), tokens[1])
		if err != nil || v.State != survey.PageAnswered || v.Scores["cleaning"] != 3 || !v.Home {
			t.Errorf("page %+v %v", v, err)
		}
	})
}

// Links that are cut off, guessed, of another purpose, expired; forms that are
// wrong. A GET changes nothing.
func TestBadLinksAndForms(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		s := h.running(t, halfYear())
		page := h.linked(t, s.ID)[0]
		token := tokenOf(page.Link)
		for _, bad := range []string{"", "x", token[:len(token)-1], token + "A", token[:10], strings.Repeat("A", len(token)), strings.Repeat("A", 5000), token[:5] + "_" + token[6:], "../" + token, "\x00"} {
			v, err := h.Surveys.Page(t.Context(), bad)
			if err != nil || v.State != survey.PageUnknown || v.Message == "" || v.Title != "" && len(v.Form.Sections) > 0 {
				t.Errorf("%.20q: %+v %v", bad, v.State, err)
			}
			if out := h.submit(t, bad, scores("overall", "5")); out.Kind != survey.NoLink {
				t.Errorf("%.20q: %+v", bad, out)
			}
		}
		for range 3 { // a preview robot
			if v, err := h.Surveys.Page(t.Context(), token); err != nil || v.State != survey.PageOpen {
				t.Fatalf("%+v %v", v.State, err)
			}
		}
		long := scores("overall", "5")
		long.Comment = strings.Repeat("好", 5000)
		for name, f := range map[string]survey.Form{
			"q.overall": scores("overall", "0"), "q.overall 6": scores("overall", "6"), "q.overall 55": scores("overall", "55"), "q.overall -1": scores("overall", "-1"),
			"q.overall five": scores("overall", "五"), "q.overall missing": scores("cleaning", "5"), "q.overall +5": scores("overall", "+5"), "q.cleaning": scores("overall", "5", "cleaning", "9"),
			"q.recommend": scores("overall", "5", "recommend", "11"), "q.nothing": scores("overall", "5", "nothing", "5"), "comment": long,
		} {
			field, _, _ := strings.Cut(name, " ")
			if out := h.submit(t, token, f); out.Kind != survey.BadForm || !hasProblem(out.Problems, field) {
				t.Errorf("%s: %+v", name, out)
			}
		}
		if r := h.results(t, s.ID); r.Answered != 0 || r.Overall.N != 0 {
			t.Errorf("counted %+v", r)
		}
		ok := scores("overall", "5")
		ok.Comment = "好\x00\r\n" + strings.Repeat("谢", 990)
		if out := h.submit(t, token, ok); out.Kind != survey.Saved {
			t.Errorf("outcome %+v", out)
		}
		// Nobody but an administrator sees links, and no link works after the end.
		list, _, err := h.Surveys.Invitations(t.Context(), sample.CompanyID, s.ID, "", 5, false)
		if err != nil || list[0].Link != "" {
			t.Errorf("link %q %v", list[0].Link, err)
		}
		if _, err := h.Surveys.Close(t.Context(), h.as(t, staff.RoleCSManager), s.ID); err != nil {
			t.Fatal(err)
		}
		if v, err := h.Surveys.Page(t.Context(), token); err != nil || v.State != survey.PageOver {
			t.Errorf("after the end: %+v %v", v.State, err)
		}
	})
}

// An anonymous answer cannot be joined to a person by anything in the database.
func TestAnonymousMeansAnonymous(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		d := halfYear()
		d.Scope, d.Anonymous = survey.Scope{}, true
		d.Channels = []string{"template", "sms"}
		if s := h.compose(t, d); !hasProblem(s.Problems, "channels") {
			t.Error("an anonymous survey by SMS is taken")
		}
		d.Channels = nil
		s := h.running(t, d)
		pages := h.invitations(t, s.ID)
		var tokens, people []string
		for _, i := range pages {
			if i.Link != "" {
				t.Fatal("the link of an anonymous survey is shown")
			}
			if i.State != survey.InvitationAsked {
				continue
			}
			link, err := h.Surveys.Link(ledger.Delivery{RootID: "t" + i.ID}, json.RawMessage(fmt.Sprintf(`{"expires":%d}`, s.EndsAt.Unix())))
			if err != nil {
				t.Fatal(err)
			}
			tokens, people = append(tokens, tokenOf(link)), append(people, i.ResidentID)
		}
		before := h.dump(t, s.ID)
		for n := range 4 {
			h.Clock.Advance(time.Minute)
			f := scores("overall", fmt.Sprint(1+n), "cleaning", "1")
			f.Comment = fmt.Sprintf("意见%d", n)
			if out := h.submit(t, tokens[n], f); out.Kind != survey.Saved || out.FollowUp != "" {
				t.Fatalf("outcome %+v", out)
			}
			if out := h.submit(t, tokens[n], f); out.Kind != survey.Again {
				t.Fatalf("a second answer: %+v", out)
			}
		}
		if r := h.results(t, s.ID); r.Answered != 4 || !r.Hidden || r.Overall.N != 0 || len(r.By["category"]) != 0 {
			t.Errorf("four answers show %+v", r)
		}
		if words, _, err := h.Surveys.Comments(t.Context(), sample.CompanyID, s.ID, survey.ResultFilter{}, "", 10); err != nil || len(words) != 0 {
			t.Errorf("four answers show %d words", len(words))
		}
		f := scores("overall", "5")
		f.Comment = "意见4"
		h.submit(t, tokens[4], f)
		r := h.results(t, s.ID)
		if r.Hidden || r.Overall.N != 5 || r.Satisfaction != 3 || len(r.By["category"]) != 1 || !r.By["category"][0].Hidden {
			t.Errorf("five answers show %+v", r)
		}
		// In chat nothing of it is taken.
		for _, i := range pages {
			if i.ResidentID == people[5] {
				if a := h.Say(t, i.Address, "5"); !strings.Contains(a, "匿名") {
					t.Errorf("in chat: %q", a)
				}
			}
		}
		if r := h.results(t, s.ID); r.Answered != 5 {
			t.Errorf("%d answers after a word in chat", r.Answered)
		}

		// The attempt to join, over every column of every table of the survey: no
		// row that names a person has changed since before the answers, save the
		// one who wrote in chat, and no row of an answer holds anything of a
		// person, an invitation, a home or a time.
		after := h.dump(t, s.ID)
		for table := range before {
			if table != "survey_answers" && table != "survey_used" && table != "survey_counts" && before[table] != after[table] {
				t.Errorf("table %s has changed by answers", table)
			}
		}
		secret := after["survey_answers"] + after["survey_used"] + after["survey_counts"]
		for n, i := range pages {
			for _, trace := range []string{i.ID, i.ResidentID, i.Address, i.Unit} {
				if trace != "" && strings.Contains(secret, trace) {
					t.Fatalf("invitation %d shows in the answers", n)
				}
			}
		}
		if strings.Contains(secret, "2026-03") {
			t.Error("an answer has a time")
		}
		// Nor does the order of rows: words are written anew in random order with each
		// further ones. Twice in the order of answers is one chance in 86,400.
		first := h.order(t, s.ID)
		f = scores("overall", "5")
		f.Comment = "意见5"
		h.submit(t, tokens[6], f)
		if second := h.order(t, s.ID); len(second) != 6 || first == "01234" && second == "012345" {
			t.Errorf("words stand in the order of answers: %s, %s", first, second)
		}
		// Who has answered is not reminded, and yet nothing tells which answer is his.
		h.advance(t, 3*24*time.Hour)
		reminders, err := h.Ledger.ByRef(t.Context(), h.DB, survey.RefReminder, s.ID)
		if err != nil || len(reminders) != len(tokens)-6 {
			t.Errorf("%d reminders for %d asked, %v", len(reminders), len(tokens), err)
		}
	})
}

// dump writes all rows of the tables of surveys, in the order in which the
// engine gives them.
func (h *house) dump(t testing.TB, surveyID string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for table, where := range map[string]string{
		"survey_invitations": "survey_id = $1", "survey_answers": "survey_id = $1", "survey_used": "survey_id = $1", "survey_counts": "survey_id = $1 AND category NOT LIKE '#%'",
		"survey_events": "survey_id = $1", "deliveries": "ref_id = $1",
	} {
		rows, err := h.DB.QueryContext(t.Context(), "SELECT * FROM "+table+" WHERE "+where, surveyID)
		if err != nil {
			t.Fatal(err)
		}
		cols, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for rows.Next() {
			values := make([]any, len(cols))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			for i, v := range values {
				if table == "survey_answers" && cols[i] == "survey_id" || table == "survey_answers" && cols[i] == "company_id" || cols[i] == "form_id" {
					continue
				}
				fmt.Fprintf(&b, "%v|", *(v.(*any)))
			}
			b.WriteString("\n")
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
		out[table] = b.String()
	}
	return out
}

// order gives the numbers of the words in the order of the table.
func (h *house) order(t testing.TB, surveyID string) string {
	t.Helper()
	rows, err := h.DB.QueryContext(t.Context(), `SELECT comment FROM survey_answers WHERE survey_id = $1`, surveyID)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var c string
		if err := rows.Scan(&c); err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.TrimPrefix(c, "意见"))
	}
	return b.String()
}

// Another answers in chat by numbers: one question after the other; doubt is
// asked once, then kept as words; a case's rating and a survey's are never
// mixed up.
func TestASurveyInChat(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		home, other := h.Bound(t, 0), h.Bound(t, 4)
		d := halfYear()
		d.Scope = survey.Scope{}
		s := h.running(t, d)
		if a := h.Say(t, home.OpenID, "4."); !strings.Contains(a, "2/13") || !strings.Contains(a, "秩序") || !strings.Contains(a, s.Title) {
			t.Fatalf("after the first number: %q", a)
		}
		if a := h.Say(t, home.OpenID, "5分 谢谢"); !strings.Contains(a, "3/13") {
			t.Errorf("after the second: %q", a)
		}
		if a := h.Say(t, home.OpenID, "9"); !strings.Contains(a, "1 至 5") {
			t.Errorf("out of range: %q", a)
		}
		if a := h.Say(t, home.OpenID, "非常满意!!"); !strings.Contains(a, "4/13") {
			t.Errorf("words: %q", a)
		}
		if a := h.Say(t, home.OpenID, "结束"); !strings.Contains(a, "谢谢") {
			t.Errorf("at the end: %q", a)
		}
		r := h.results(t, s.ID)
		if r.Answered != 1 || r.Satisfaction != 4 || len(r.By["category"]) != 2 {
			t.Errorf("results %+v", r)
		}
		// The case that is closed after the survey asked last: the number is its rating.
		c := h.closedCase(t, other, "repair", true)
		if a := h.Say(t, other.OpenID, "3"); strings.Contains(a, "/13") {
			t.Errorf("a rating of a case is taken for the survey: %q", a)
		}
		if got := h.latest(t, c.ID); got.Rating != 3 {
			t.Errorf("rating %d", got.Rating)
		}
		// And now the survey is what is left.
		if a := h.Say(t, other.OpenID, "五星"); !strings.Contains(a, "2/13") {
			t.Errorf("the survey afterwards: %q", a)
		}
	})
}

// A heartbeat: a survey whose invitations stop, and a closed case without a
// question, are alarms.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		if err := h.Surveys.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := h.running(t, halfYear())
		c := h.closedCase(t, h.PhoneOnly(t, 0), "repair", false)
		if _, err := h.DB.ExecContext(t.Context(), `DELETE FROM survey_invitations WHERE ref_id = $1`, c.ID); err != nil {
			t.Fatal(err)
		}
		h.advance(t, 2*time.Hour+10*time.Minute) // nobody sends
		list, err := h.Surveys.Alarms(t.Context(), sample.CompanyID)
		if err != nil || len(list) != 2 {
			t.Fatalf("alarms %+v %v", list, err)
		}
		kinds := map[string]string{list[0].Kind: list[0].Ref, list[1].Kind: list[1].Ref}
		if kinds[survey.AlarmUnasked] != c.No || kinds[survey.AlarmStalled] != s.No {
			t.Errorf("alarms %v", kinds)
		}
		told := h.Deliveries(t, survey.RefAlarm, survey.AlarmStalled+":"+s.No, ledger.ChannelGroup)
		if len(told) == 0 || !strings.Contains(told[0].Text, "告警") {
			t.Error("the group is not told")
		}
		h.advance(t, 10*time.Minute)
		if again := h.Deliveries(t, survey.RefAlarm, survey.AlarmStalled+":"+s.No, ledger.ChannelGroup); len(again) != len(told) {
			t.Error("the group is told twice")
		}
	})
}

// 「部分解决」 brings the case back to its queue with a card; a question that has
// not left is taken back.
func TestPartlySolvedComesBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		home := h.Bound(t, 0)
		h.Say(t, home.OpenID, "您好")
		c := h.closedCase(t, home, "repair", true)
		h.Say(t, home.OpenID, "部分解决")
		got := h.latest(t, c.ID)
		if got.State != desk.StateReopened || got.AcceptBy.IsZero() {
			t.Errorf("state %s", got.State)
		}
		if cards := h.Deliveries(t, "case", c.ID, ledger.ChannelCard); len(cards) == 0 {
			t.Error("no card")
		}
	})
}

// A draft with faults is stored with its problems and refused; a survey without
// anyone to ask says so.
func TestBadDrafts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		neg, long := -1, 400
		for field, change := range map[string]func(*survey.Draft){
			"title":                  func(d *survey.Draft) { d.Title = "" },
			"kind":                   func(d *survey.Draft) { d.Kind = "after_case" },
			"questionnaire":          func(d *survey.Draft) { d.Questionnaire = "yearly" },
			"project":                func(d *survey.Draft) { d.Project = "没有" },
			"scope.buildings":        func(d *survey.Draft) { d.Scope.Buildings = []string{"99"} },
			"count":                  func(d *survey.Draft) { d.Count = "family" },
			"sample.share":           func(d *survey.Draft) { d.Sample = &survey.Sample{Share: 1.5} },
			"sample":                 func(d *survey.Draft) { d.Sample = &survey.Sample{Share: 0.5, PerBuilding: 3} },
			"sample.seed":            func(d *survey.Draft) { d.Sample = &survey.Sample{Share: 0.5, Seed: -4} },
			"ends_at":                func(d *survey.Draft) { d.EndsAt = at("2026-03-01 10:00") },
			"remind_after_days":      func(d *survey.Draft) { d.RemindAfterDays = &neg },
			"remind_after_days long": func(d *survey.Draft) { d.RemindAfterDays = &long },
			"channels":               func(d *survey.Draft) { d.Channels = []string{"mail"} },
			"scope":                  func(d *survey.Draft) { d.Scope = survey.Scope{Buildings: []string{"1"}, Floors: "90"} },
		} {
			d := halfYear()
			change(&d)
			s := h.compose(t, d)
			field, _, _ = strings.Cut(field, " ")
			if !hasProblem(s.Problems, field) && !(field == "scope" && hasProblem(s.Problems, "scope")) {
				t.Errorf("%s: %v", field, s.Problems)
				continue
			}
			_, err := h.Surveys.Approve(t.Context(), h.as(t, staff.RoleCSManager), s.ID)
			if r := refused(t, err, notify.RefusedProblems); r.Status() != 422 {
				t.Errorf("status %d", r.Status())
			}
		}
	})
}

// A questionnaire with faults is refused with line and reason.
func TestQuestionnairesAreChecked(t *testing.T) {
	t.Parallel()
	const good = "code: x\nversion: 1\ntitle: 题\nsections:\n  - category: cleaning\n    title: 保洁\n    questions:\n      - {id: a, text: 问}\n"
	if q, err := survey.ParseQuestionnaire("survey/x.yaml", []byte(good)); err != nil || q.Overall().ID != "a" || q.ID() == "" {
		t.Fatalf("%+v %v", q, err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"equal ids":    {good + "      - {id: a, text: 再问}\n", "x.yaml:9: the id a stands in line 8 already"},
		"no questions": {"code: x\nversion: 1\ntitle: 题\nsections: []\n", "there are no questions"},
		"bad key":      {good + "colour: red\n", "x.yaml:9"},
		"bad category": {strings.Replace(good, "cleaning", "dirt", 1), "x.yaml:5: the category dirt"},
		"no version":   {strings.Replace(good, "version: 1", "version: 0", 1), "x.yaml:2"},
		"bad type":     {good + "      - {id: b, text: 问, type: stars}\n", "the type stars is unknown"},
		"no YAML":      {"\t:", "is not YAML"},
		"two overall":  {good + "      - {id: b, text: 问, overall: true}\n      - {id: c, text: 问, overall: true}\n", "several questions are marked overall"},
	} {
		if _, err := survey.ParseQuestionnaire("survey/x.yaml", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A questionnaire that is changed while a survey runs: the survey keeps its
// version, also in the hands of a program that ships another one.
func TestARunningSurveyKeepsItsVersion(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		s := h.running(t, halfYear())
		files := fstest.MapFS{}
		for _, name := range []string{"after_case", "after_inquiry", "half_year"} {
			raw, err := fs.ReadFile(templates.FS(), "survey/"+name+".yaml")
			if err != nil {
				t.Fatal(err)
			}
			files["survey/"+name+".yaml"] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(string(raw), "保洁质量", "楼道卫生"))}
		}
		deps := h.Surveys.Deps
		deps.Files = files
		newer, err := survey.New(deps)
		if err != nil {
			t.Fatal(err)
		}
		v, err := newer.Page(t.Context(), tokenOf(h.linked(t, s.ID)[0].Link))
		if err != nil || v.State != survey.PageOpen {
			t.Fatalf("%s %v", v.State, err)
		}
		if q, _ := v.Form.Find("cleaning"); !strings.Contains(q.Text, "保洁质量") || v.Form.ID() != s.FormVersion {
			t.Errorf("the running survey shows %q of %s", q.Text, v.Form.ID())
		}
		if forms := newer.Forms(); len(forms) != 1 || forms[0].ID() == s.FormVersion {
			t.Error("the changed questionnaire has the old version's id")
		}
	})
}

// Carriers refuse 问卷 and 调查 in a notification: the SMS is neutral whatever the
// survey is called.
func TestAnSMSAsksNeutrally(t *testing.T) {
	t.Parallel()
	h := newHouse(t, worldtest.Embedded(t))
	d := halfYear()
	d.Title = "2026年上半年满意度调查"
	s := h.compose(t, d)
	if len(s.Problems) > 0 || strings.Contains(s.Preview.SMS, "调查") || !strings.Contains(s.Preview.SMS, "2026年上半年服务评价") || !strings.Contains(s.Preview.Template, d.Title) || s.Segments != 1 {
		t.Errorf("%d segments %q / %q: %v", s.Segments, s.Preview.SMS, s.Preview.Template, s.Problems)
	}
	// A text that the catalogue does not mark is refused.
	tpl, ok := h.Book.SMSTemplateOf("notice_planned")
	if !ok || tpl.Survey {
		t.Error("a notice is marked as a question")
	}
}

// A low score of a category opens one follow-up, in the queue of that category;
// staff's own homes are left out on wish; what an SMS means is asked once, then
// its words are kept without a score.
func TestLowScoresDoubtsAndStaff(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, h *house) {
		yes, own := true, h.Bound(t, 0)
		colleague := h.Sample.Staff[0]
		colleague.Phone = own.Phone
		inTx(t, h.DB, func(ctx context.Context, tx *db.Tx) error { return h.Staff.PutTx(ctx, tx, colleague) })
		d := halfYear()
		d.Scope, d.SkipStaff = survey.Scope{}, &yes
		s := h.running(t, d)
		if s.Audience.Skipped[survey.SkipStaff] == 0 {
			t.Error("nobody is left out as staff")
		}
		for _, i := range h.invitations(t, s.ID) {
			if (i.Unit == own.Unit) != (i.SkipCode == survey.SkipStaff) {
				t.Errorf("%s: %s %q", i.Unit, i.State, i.SkipCode)
			}
		}
		page := h.linked(t, s.ID)[0]
		f := scores("overall", "5", "cleaning", "1", "greening", "2")
		f.Comment = "楼道没人扫"
		out := h.submit(t, tokenOf(page.Link), f)
		c, err := h.Desk.ByNo(t.Context(), sample.CompanyID, out.FollowUp)
		if err != nil || c.Category != "cleaning" || !strings.Contains(c.Text, "保洁") || !strings.Contains(c.Text, "绿化") || !strings.Contains(c.Text, f.Comment) {
			t.Fatalf("follow-up %+v %v", c, err)
		}
		q, _, err := h.Queues.ByID(t.Context(), h.DB, c.QueueID)
		if err != nil || q.Line != desk.LineEnvironment {
			t.Errorf("queue %s %v", q.Line, err)
		}
		f.Scores["greening"] = "1"
		if again := h.submit(t, tokenOf(page.Link), f); again.Kind != survey.Changed || again.FollowUp != "" {
			t.Errorf("a second follow-up: %+v", again)
		}

		var phone, id string
		for _, i := range h.invitations(t, s.ID) {
			if i.Channel == survey.ChannelSMS && i.State == survey.InvitationAsked {
				phone, id = i.Address, i.ID
			}
		}
		if !h.up(t, phone, "保安态度还可以但是晚上不见人") {
			t.Fatal("the SMS is not taken")
		}
		again, err := h.Ledger.ByRef(t.Context(), h.DB, survey.RefAsk, id)
		if err != nil || len(again) != 1 || !strings.Contains(again[0].Text, "没有看懂") {
			t.Fatalf("asked again by %+v %v", again, err)
		}
		h.up(t, phone, "就是晚上不见人")
		if again, _ = h.Ledger.ByRef(t.Context(), h.DB, survey.RefAsk, id); len(again) != 1 {
			t.Error("asked twice what was meant")
		}
		r := h.results(t, s.ID)
		if r.Answered != 2 || r.Overall.N != 1 || r.Comments != 2 {
			t.Errorf("results %+v", r)
		}
	})
}
