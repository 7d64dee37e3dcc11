package storytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"
)

// Figure is one bar of the results.
type Figure struct {
	Key           string
	N             int
	SatisfiedRate float64 `json:"satisfied_rate"`
	Satisfaction  float64
	Low, High     float64
}

// Survey is a survey as the API shows it.
type Survey struct {
	ID, No, State, Kind string
	Audience            struct {
		Households, People, Template, SMS, None int
		Skipped                                 map[string]int
	}
	Problems          []struct{ Field, Message string }
	Preview           struct{ SMS, Template string }
	Invited, Answered int
	Waiting, Reminded int
	ResponseRate      float64 `json:"response_rate"`
	SatisfiedRate     float64 `json:"satisfied_rate"`
	Satisfaction      float64
	By                map[string][]Figure
}

// Invitation is one person who is asked, or not and why.
type Invitation struct {
	ID, Unit, Channel, Address, State string
	ResidentID                        string `json:"resident_id"`
	SkipCode                          string `json:"skip_code"`
	Link                              string
}

// poll is what steps 9 to 12 remember.
type poll struct {
	residents []Resident
	cast      map[string]bool // who has played: everybody has one part

	manager, author string // who approves, who writes
	technician      string
	chats           map[string]string // group by queue

	silent, chatty, paged, partly Resident // of step 9
	muted, refusing               Resident

	id       string
	asked    map[string]int64      // by channel and address
	invited  map[string]Invitation // of who is asked, by channel and address
	husband  Resident
	wife     Resident
	number   Resident        // answers in chat
	sms      Resident        // answers by SMS
	answered map[string]bool // homes
	page     string          // the husband's link
}

// Parts of the story that a setting could change, see SurveySteps.
const (
	remindDays = 3
	lateScore  = "5"
)

// SurveySteps are steps 9 to 12 of the story. They stand alone, like
// NoticeSteps, and move the clock.
func (s *Story) SurveySteps() []Step {
	return []Step{
		{"9a who does not follow is asked by SMS, and his answer is the rating of his case with his words", s.asksBySMS},
		{"9b a follower is asked in chat while the window is open; a 2 opens a follow-up in the right queue", s.asksInChat},
		{"9c with the window closed a template message opens a page", s.asksByPage},
		{"9d 部分解决 goes back to its queue, with a card in the group", s.partlySolved},
		{"10a the half-year survey says who would be asked how, and who not and why", s.composeSurvey},
		{"10b who may not approve approves nothing; approved at night, nothing leaves before the permitted hours", s.approveSurvey},
		{"10c in the morning everybody of the sample is asked once, nobody else", s.invites},
		{"11a the page: looking changes nothing, five faces without script, what is wrong counts nothing", s.opensPage},
		{"11b answered, changed, and once more by the wife: one home counts once", s.answersPage},
		{"11c another answers in chat by numbers", s.answersInChat},
		{"11d a third answers by SMS, a stranger does not", s.answersBySMS},
		{"12a who has not answered is reminded once, nobody else", s.reminds},
		{"12b the results by category, building and month, with intervals and n, and as Excel", s.results},
		{"12c after the end: thanks, and nothing is counted", s.surveyEnds},
	}
}

// Survey reads a survey.
func (c *Client) Survey(ctx context.Context, id string) (Survey, error) {
	var x Survey
	status, err := c.API(ctx, c.Ready.APIToken, http.MethodGet, "/surveys/"+id, nil, &x)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("survey %s: status %d", id, status)
	}
	return x, err
}

// Invitations reads all invitations of a survey.
func (c *Client) Invitations(ctx context.Context, id string) ([]Invitation, error) {
	var all []Invitation
	cursor := ""
	for {
		var page struct {
			Invitations []Invitation
			NextCursor  string `json:"next_cursor"`
		}
		status, err := c.API(ctx, c.Ready.APIToken, http.MethodGet, "/surveys/"+id+"/invitations?limit=200&cursor="+url.QueryEscape(cursor), nil, &page)
		if err != nil || status != http.StatusOK {
			return nil, fmt.Errorf("invitations: status %d: %w", status, err)
		}
		all = append(all, page.Invitations...)
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
}

// advance moves the one clock of a demo.
func (c *Client) advance(ctx context.Context, d time.Duration) error {
	return c.Sim(ctx, http.MethodPost, "/clock", map[string]any{"advance_s": int64(d / time.Second)}, nil)
}

// goTo moves the clock on to the next time that it shows a time of day.
func (c *Client) goTo(ctx context.Context, hour, minute int) error {
	now, err := c.now(ctx)
	if err != nil {
		return err
	}
	at := time.Date(now.Year(), now.Month(), now.Day(), hour, minute, 0, 0, now.Location())
	if !at.After(now) {
		at = at.AddDate(0, 0, 1)
	}
	return c.advance(ctx, at.Sub(now)+time.Second)
}

// answerPage posts a survey's page as a browser does and gives what it shows.
func (c *Client) answerPage(ctx context.Context, link string, form url.Values) (int, string, error) {
	method, in := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, in = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, link, in)
	if err != nil {
		return 0, "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, string(raw), err
}

// play gives a part to somebody who has none yet and fits.
func (p *poll) play(what string, fits func(Resident) bool) (Resident, error) {
	for _, r := range p.residents {
		if !p.cast[r.ID] && len(r.Homes) == 1 && r.Phone != phone && fits(r) {
			p.cast[r.ID] = true
			return r, nil
		}
	}
	return Resident{}, errors.New("nobody is " + what)
}

// castSurvey picks who plays in steps 9 to 12.
func (s *Story) castSurvey(ctx context.Context) error {
	p := &s.poll
	p.cast, p.answered, p.chats = map[string]bool{}, map[string]bool{}, map[string]string{}
	var err error
	if p.residents, err = s.C.all(ctx); err != nil {
		return err
	}
	for _, g := range s.C.Ready.Groups {
		p.chats[g.Queue] = g.ChatID
	}
	for _, m := range s.C.Ready.Staff {
		switch m.Role {
		case "cs_manager":
			p.manager = m.UserID
		case "cs_supervisor":
			p.author = m.UserID
		case "technician":
			p.technician = m.UserID
		}
	}
	if p.manager == "" || p.author == "" || p.technician == "" {
		return errors.New("the staff of the survey is not complete")
	}
	follows := func(r Resident) bool { return r.OpenID != "" }
	silent := func(r Resident) bool { return r.OpenID == "" && r.Phone != "" }
	at := map[string][]Resident{}
	for _, r := range p.residents {
		for _, h := range r.Homes {
			at[h.Unit] = append(at[h.Unit], r)
		}
	}
	couple := func(r Resident) bool {
		two := at[r.Homes[0].Unit]
		return follows(r) && len(two) == 2 && follows(two[0]) && follows(two[1]) && len(two[0].Homes) == 1 && len(two[1].Homes) == 1
	}
	alone := func(f func(Resident) bool) func(Resident) bool {
		return func(r Resident) bool { return f(r) && len(at[r.Homes[0].Unit]) == 1 }
	}
	if p.husband, err = p.play("half of a couple that follows", couple); err != nil {
		return err
	}
	for _, r := range at[p.husband.Homes[0].Unit] {
		if r.ID != p.husband.ID {
			p.wife = r
			p.cast[r.ID] = true
		}
	}
	for _, part := range []struct {
		who  *Resident
		what string
		fits func(Resident) bool
	}{
		{&p.silent, "without WeChat", alone(silent)}, {&p.sms, "without WeChat, again", alone(silent)}, {&p.muted, "to be muted", alone(silent)},
		{&p.chatty, "following", alone(follows)}, {&p.paged, "following, again", alone(follows)}, {&p.partly, "following, still", alone(follows)},
		{&p.number, "following, at last", alone(follows)}, {&p.refusing, "following and leaving", alone(follows)},
	} {
		if *part.who, err = p.play(part.what, part.fits); err != nil {
			return err
		}
	}
	return nil
}

// does has a member do something with a case.
func (s *Story) does(ctx context.Context, userID, no, action string, in any) error {
	status, err := s.C.API(ctx, s.C.Ready.Tokens[userID], http.MethodPost, "/cases/"+no+"/"+action, in, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s of #%s by %s: status %d", action, no, userID, status)
	}
	return err
}

// mend works on a case until it is handled.
func (s *Story) mend(ctx context.Context, no string) error {
	p := &s.poll
	if err := s.does(ctx, p.technician, no, "claim", nil); err != nil {
		return err
	}
	return s.does(ctx, p.technician, no, "handle", map[string]any{"measures": "更换角阀并试水正常"})
}

// opened records a call of a resident as a case.
func (s *Story) opened(ctx context.Context, r Resident, text string) (string, error) {
	var k Case
	status, err := s.C.API(ctx, s.C.Ready.Tokens[s.poll.author], http.MethodPost, "/cases",
		map[string]any{"resident": r.ID, "kind": "repair", "category": "engineering", "text": text, "mode": "call_in"}, &k)
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("open a case: status %d", status)
	}
	return k.No, err
}

// rated waits until a case has a rating.
func (s *Story) rated(ctx context.Context, no string, score int) error {
	return Until(ctx, fmt.Sprintf("rating %d of #%s", score, no), func(ctx context.Context) (bool, error) {
		k, err := s.C.Case(ctx, no)
		return err == nil && k.Rating != nil && *k.Rating == score, err
	})
}

// said waits until the survey that stands for cases has a case's words.
func (s *Story) said(ctx context.Context, no, words string) error {
	return Until(ctx, "the words of #"+no, func(ctx context.Context) (bool, error) {
		var list struct{ Surveys []Survey }
		if _, err := s.C.API(ctx, s.C.Ready.APIToken, http.MethodGet, "/surveys?kind=after_case", nil, &list); err != nil || len(list.Surveys) == 0 {
			return false, err
		}
		var out struct {
			Comments []struct {
				Text   string
				CaseNo string `json:"case_no"`
			}
		}
		_, err := s.C.API(ctx, s.C.Ready.APIToken, http.MethodGet, "/surveys/"+list.Surveys[0].ID+"/comments", nil, &out)
		for _, c := range out.Comments {
			if c.CaseNo == no && c.Text == words {
				return true, nil
			}
		}
		return false, err
	})
}

// followedUp waits for the case in which somebody calls a resident, in a queue,
// with its card in the queue's group.
func (s *Story) followedUp(ctx context.Context, r Resident, queue string, known ...string) (no string, err error) {
	who := r.OpenID
	if who == "" {
		who = r.ID
	}
	err = Until(ctx, "the follow-up in "+queue, func(ctx context.Context) (bool, error) {
		cases, err := s.C.Cases(ctx, who)
		for _, k := range cases {
			if !slices.Contains(known, k.No) && k.Queue == queue && k.State == "dispatched" && k.Priority == "high" {
				no = k.No
			}
		}
		return no != "", err
	})
	if err != nil {
		return "", err
	}
	return no, s.carded(ctx, queue, no, 0)
}

// carded waits for a card of a case in the group of a queue.
func (s *Story) carded(ctx context.Context, queue, no string, after int64) error {
	return Until(ctx, "the card of #"+no, func(ctx context.Context) (bool, error) {
		items, err := s.C.Group(ctx, s.poll.chats[queue], after)
		return slices.ContainsFunc(items, func(it GroupItem) bool { return it.Card != nil && strings.Contains(it.Card.Title, "#"+no) }), err
	})
}

// up lets a phone answer by SMS.
func (s *Story) up(ctx context.Context, number, text string) error {
	return s.C.Sim(ctx, http.MethodPost, "/sms/up", map[string]any{"phone": number, "text": text}, nil)
}

// lastSMS waits for an SMS to a phone that contains parts.
func (s *Story) lastSMS(ctx context.Context, number string, parts ...string) error {
	return Until(ctx, "the SMS with "+strings.Join(parts, ", "), func(ctx context.Context) (bool, error) {
		inbox, err := s.C.Inbox(ctx, number, 0)
		return slices.ContainsFunc(inbox, func(m SMS) bool { return has(m.Text, parts...) == nil }), err
	})
}

func (s *Story) asksBySMS(ctx context.Context) error {
	if err := s.castSurvey(ctx); err != nil {
		return err
	}
	p := &s.poll
	// People are asked between 9 and 20 o'clock: the story begins in the morning.
	now, err := s.C.now(ctx)
	if err != nil {
		return err
	}
	if now.Hour() < 9 || now.Hour() >= 19 {
		if err := s.C.goTo(ctx, 9, 30); err != nil {
			return err
		}
	}
	no, err := s.opened(ctx, p.silent, "厨房水管漏水")
	if err != nil {
		return err
	}
	if err := s.mend(ctx, no); err != nil {
		return err
	}
	if err := s.does(ctx, p.technician, no, "close", map[string]any{"follow_up": "solved"}); err != nil {
		return err
	}
	if err := s.lastSMS(ctx, p.silent.Phone, "服务回访", no, "1至5"); err != nil {
		return err
	}
	if err := s.up(ctx, p.silent.Phone, "4 师傅很准时"); err != nil {
		return err
	}
	if err := s.rated(ctx, no, 4); err != nil {
		return err
	}
	return s.said(ctx, no, "师傅很准时")
}

// complains lets a follower report something by chat.
func (s *Story) complains(ctx context.Context, r Resident, text string) (string, error) {
	sent, err := s.C.Say(ctx, r.OpenID, text)
	if err != nil {
		return "", err
	}
	m := caseNo.FindStringSubmatch(sent.Reply())
	if m == nil {
		return "", fmt.Errorf("no case number in %q", sent.Reply())
	}
	return m[1], nil
}

// shownTo waits for something in a resident's chat.
func (s *Story) shownTo(ctx context.Context, r Resident, what string, is func(Item) bool) (found Item, err error) {
	err = Until(ctx, what, func(ctx context.Context) (bool, error) {
		items, err := s.C.Chat(ctx, r.OpenID, 0)
		for _, it := range items {
			if it.From == "account" && is(it) {
				found = it
				return true, nil
			}
		}
		return false, err
	})
	return found, err
}

func (s *Story) asksInChat(ctx context.Context) error {
	p := &s.poll
	no, err := s.complains(ctx, p.chatty, "厨房水管漏水，请来修一下")
	if err != nil {
		return err
	}
	if err := s.mend(ctx, no); err != nil {
		return err
	}
	if err := s.does(ctx, p.technician, no, "close", map[string]any{"follow_up": "solved"}); err != nil {
		return err
	}
	ask, err := s.shownTo(ctx, p.chatty, "the question in chat", func(it Item) bool {
		return it.Kind == "service" && has(it.Text, "#"+no, "打分") == nil
	})
	if err != nil {
		return err
	}
	if len(ask.Options) != 5 {
		return fmt.Errorf("the question has %d buttons, want five", len(ask.Options))
	}
	if _, err := s.C.Say(ctx, p.chatty.OpenID, "2 来了两次才修好"); err != nil {
		return err
	}
	if err := s.rated(ctx, no, 2); err != nil {
		return err
	}
	if err := s.said(ctx, no, "来了两次才修好"); err != nil {
		return err
	}
	k, err := s.C.Case(ctx, no)
	if err != nil {
		return err
	}
	_, err = s.followedUp(ctx, p.chatty, k.Queue, no)
	return err
}

func (s *Story) asksByPage(ctx context.Context) error {
	p := &s.poll
	no, err := s.opened(ctx, p.paged, "阳台推拉门卡住")
	if err != nil {
		return err
	}
	if err := s.mend(ctx, no); err != nil {
		return err
	}
	if err := s.does(ctx, p.technician, no, "close", map[string]any{"follow_up": "solved"}); err != nil {
		return err
	}
	ask, err := s.shownTo(ctx, p.paged, "the template message with a page", func(it Item) bool { return it.Kind == "template" && strings.Contains(it.URL, "/h5/s/") })
	if err != nil {
		return err
	}
	if status, body, err := s.C.answerPage(ctx, ask.URL, nil); err != nil || status != http.StatusOK || has(body, "#"+no, `name="q.overall"`) != nil {
		return fmt.Errorf("the page of #%s: status %d: %w", no, status, err)
	}
	if k, err := s.C.Case(ctx, no); err != nil || k.Rating != nil {
		return fmt.Errorf("looking at the page rated #%s: %w", no, err)
	}
	status, body, err := s.C.answerPage(ctx, ask.URL, url.Values{"q.overall": {"5"}, "comment": {"门很顺了"}})
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("the answer of #%s: status %d: %w", no, status, err)
	}
	if err := has(body, "谢谢"); err != nil {
		return err
	}
	if err := s.rated(ctx, no, 5); err != nil {
		return err
	}
	return s.said(ctx, no, "门很顺了")
}

func (s *Story) partlySolved(ctx context.Context) error {
	p := &s.poll
	no, err := s.complains(ctx, p.partly, "卫生间水管漏水，请来修一下")
	if err != nil {
		return err
	}
	if err := s.mend(ctx, no); err != nil {
		return err
	}
	k, err := s.C.Case(ctx, no)
	if err != nil {
		return err
	}
	items, err := s.C.Group(ctx, p.chats[k.Queue], 0)
	if err != nil || len(items) == 0 {
		return fmt.Errorf("the group of %s is silent: %w", k.Queue, err)
	}
	if _, err := s.C.Say(ctx, p.partly.OpenID, "部分解决"); err != nil {
		return err
	}
	err = Until(ctx, "#"+no+" in its queue again", func(ctx context.Context) (bool, error) {
		waiting, _, err := s.C.Waiting(ctx, k.Queue)
		return slices.ContainsFunc(waiting, func(w Case) bool { return w.No == no && w.State == "reopened" }), err
	})
	if err != nil {
		return err
	}
	return s.carded(ctx, k.Queue, no, items[len(items)-1].Seq)
}

func (s *Story) composeSurvey(ctx context.Context) error {
	p := &s.poll
	status, err := s.C.API(ctx, s.C.Ready.Tokens[p.manager], http.MethodPost, "/mutes",
		map[string]any{"resident_id": p.muted.ID, "kind": "bereavement", "until": "2099-01-01T00:00:00+08:00"}, nil)
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("mute: status %d: %w", status, err)
	}
	if _, err := s.C.Say(ctx, p.refusing.OpenID, "退订"); err != nil {
		return err
	}
	now, err := s.C.now(ctx)
	if err != nil {
		return err
	}
	draft := map[string]any{"kind": "periodic", "title": "下半年满意度调查", "questionnaire": "half_year", "count": "home", "anonymous": false,
		"ends_at": now.AddDate(0, 0, 14).Format(time.RFC3339), "remind_after_days": remindDays, "channels": []string{"template", "sms"}}
	if status, err := s.C.API(ctx, s.C.Ready.Tokens[p.technician], http.MethodPost, "/surveys", draft, nil); err != nil || status != http.StatusForbidden {
		return fmt.Errorf("a technician composes with status %d: %w", status, err)
	}
	var x Survey
	if status, err = s.C.API(ctx, s.C.Ready.Tokens[p.author], http.MethodPost, "/surveys", draft, &x); err != nil || status != http.StatusCreated {
		return fmt.Errorf("compose: status %d: %w", status, err)
	}
	p.id = x.ID
	if x.State != "draft" || len(x.Problems) > 0 {
		return fmt.Errorf("the draft is %s with %v", x.State, x.Problems)
	}
	if err := has(x.Preview.SMS, "服务回访", "1至5"); err != nil {
		return err
	}
	if err := has(x.Preview.Template, "下半年满意度调查"); err != nil {
		return err
	}
	a := x.Audience
	if a.People != len(p.residents) || a.Template+a.SMS+a.None != a.People {
		return fmt.Errorf("the audience is %+v of %d people", a, len(p.residents))
	}
	// Three were asked about their case just now, one is in mourning, one wants none.
	if a.Skipped["ASKED_LATELY"] != 3 || a.Skipped["MUTED"] != 1 || a.Skipped["OPT_OUT"] != 1 || a.None != sum(a.Skipped) {
		return fmt.Errorf("who is not asked is %v of %d", a.Skipped, a.None)
	}
	return nil
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// survey does something with the survey as a member.
func (s *Story) survey(ctx context.Context, userID, action string, want int) error {
	status, err := s.C.API(ctx, s.C.Ready.Tokens[userID], http.MethodPost, "/surveys/"+s.poll.id+"/"+action, nil, nil)
	if err == nil && status != want {
		err = fmt.Errorf("%s by %s: status %d, want %d", action, userID, status, want)
	}
	return err
}

func (s *Story) approveSurvey(ctx context.Context) error {
	p := &s.poll
	if err := s.C.goTo(ctx, 20, 30); err != nil {
		return err
	}
	if err := s.survey(ctx, p.author, "approve", http.StatusForbidden); err != nil {
		return err
	}
	if err := s.survey(ctx, p.manager, "approve", http.StatusOK); err != nil {
		return err
	}
	if err := s.survey(ctx, p.manager, "approve", http.StatusConflict); err != nil {
		return err
	}
	list, err := s.C.Invitations(ctx, p.id)
	if err != nil {
		return err
	}
	p.asked, p.invited = map[string]int64{}, map[string]Invitation{}
	for _, i := range list {
		switch i.State {
		case "waiting":
			p.asked[i.Channel+" "+i.Address] = 1
			p.invited[i.Channel+" "+i.Address] = i
		case "skipped":
			if i.SkipCode == "" {
				return fmt.Errorf("the home %s is not asked and nobody knows why", i.Unit)
			}
		default:
			return fmt.Errorf("an invitation is %s at night", i.State)
		}
		if p.cast[i.ResidentID] {
			if err := p.rightly(i); err != nil {
				return err
			}
		}
	}
	before, err := s.C.accepted(ctx)
	if err != nil {
		return err
	}
	if err := s.C.advance(ctx, time.Hour); err != nil {
		return err
	}
	after, err := s.C.accepted(ctx)
	if err != nil {
		return err
	}
	if n := missing(after, before, p.asked); n != len(p.asked) {
		return fmt.Errorf("%d were asked at night", len(p.asked)-n)
	}
	return nil
}

// rightly checks whether those with a part of the story are asked, or not and why.
func (p *poll) rightly(i Invitation) error {
	want := map[string]string{p.silent.ID: "ASKED_LATELY", p.chatty.ID: "ASKED_LATELY", p.paged.ID: "ASKED_LATELY", p.muted.ID: "MUTED",
		p.refusing.ID: "OPT_OUT"}[i.ResidentID]
	if i.SkipCode != want {
		return fmt.Errorf("an invitation has skip code %q, want %q", i.SkipCode, want)
	}
	return nil
}

// askedOnce waits until exactly those who should have been written to once. The
// people of step 9 have open cases, about which they may hear in between.
func (s *Story) askedOnce(ctx context.Context, what string, before, want map[string]int64) error {
	p := &s.poll
	busy := map[string]bool{}
	for _, r := range []Resident{p.silent, p.chatty, p.paged, p.partly, p.husband} {
		busy["sms "+r.Phone], busy["template "+r.OpenID] = true, true
	}
	return Until(ctx, what, func(ctx context.Context) (bool, error) {
		after, err := s.C.accepted(ctx)
		if err != nil {
			return false, err
		}
		if n := missing(after, before, want); n > 0 {
			return false, fmt.Errorf("%d of %d have not been written to", n, len(want))
		}
		for a := range after {
			channel, _, _ := strings.Cut(a, " ")
			if got := after[a] - before[a]; (channel == "sms" || channel == "template") && !busy[a] && got > want[a] {
				return false, fmt.Errorf("%.14s… was written to %d times, want %d", a, got, want[a])
			}
		}
		return true, nil
	})
}

func (s *Story) invites(ctx context.Context) error {
	before, err := s.C.accepted(ctx)
	if err != nil {
		return err
	}
	if err := s.C.goTo(ctx, 9, 5); err != nil {
		return err
	}
	if err := s.askedOnce(ctx, "the whole sample asked", before, s.poll.asked); err != nil {
		return err
	}
	x, err := s.C.Survey(ctx, s.poll.id)
	if err != nil {
		return err
	}
	homes := map[string]bool{}
	for _, i := range s.poll.invited {
		homes[i.Unit] = true
	}
	if x.State != "running" || x.Invited != len(homes) || x.Waiting != 0 || x.Answered != 0 {
		return fmt.Errorf("it is %s with %d of %d homes asked, %d waiting, %d answered", x.State, x.Invited, len(homes), x.Waiting, x.Answered)
	}
	return nil
}

// counted waits until a survey has that many answers, and sees it stay there.
func (s *Story) counted(ctx context.Context, n int) error {
	return Until(ctx, fmt.Sprintf("%d answers", n), func(ctx context.Context) (bool, error) {
		x, err := s.C.Survey(ctx, s.poll.id)
		if err == nil && x.Answered != n {
			err = fmt.Errorf("%d are counted", x.Answered)
		}
		return err == nil, err
	})
}

// exactly reads the answers once; for what must not have been counted.
func (s *Story) exactly(ctx context.Context, n int) error {
	x, err := s.C.Survey(ctx, s.poll.id)
	if err == nil && x.Answered != n {
		err = fmt.Errorf("%d answers are counted, want %d", x.Answered, n)
	}
	return err
}

// linkOf finds the page that a resident's invitation opens.
func (s *Story) linkOf(ctx context.Context, r Resident) (string, error) {
	items, err := s.C.Chat(ctx, r.OpenID, 0)
	for _, it := range slices.Backward(items) {
		if it.Kind == "template" && strings.Contains(it.URL, "/h5/s/") {
			return it.URL, nil
		}
	}
	return "", errors.Join(err, errors.New("no template message with a page"))
}

func (s *Story) opensPage(ctx context.Context) error {
	p := &s.poll
	var err error
	if p.page, err = s.linkOf(ctx, p.husband); err != nil {
		return err
	}
	for range 2 {
		status, body, err := s.C.answerPage(ctx, p.page, nil)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("the page: status %d: %w", status, err)
		}
		if err := has(body, "下半年满意度调查", "非常满意", "非常不满意", `name="q.overall"`, `name="q.cleaning"`, `name="comment"`); err != nil {
			return err
		}
		if strings.Contains(body, "<script") {
			return errors.New("the page needs script")
		}
	}
	for what, form := range map[string]url.Values{
		"a six": {"q.overall": {"6"}}, "a zero": {"q.overall": {"0"}}, "a 55": {"q.overall": {"55"}}, "a minus one": {"q.overall": {"-1"}}, "nothing": {"comment": {"好"}},
		"5,000 characters": {"q.overall": {"5"}, "comment": {strings.Repeat("长", 5000)}},
	} {
		if status, _, err := s.C.answerPage(ctx, p.page, form); err != nil || status != http.StatusUnprocessableEntity {
			return fmt.Errorf("%s is answered with status %d: %w", what, status, err)
		}
	}
	for what, link := range map[string]string{"cut off": p.page[:len(p.page)-3], "guessed": p.page[:strings.LastIndex(p.page, "/")+1] + "abcdef"} {
		if status, _, err := s.C.answerPage(ctx, link, url.Values{"q.overall": {"5"}}); err != nil || status != http.StatusNotFound {
			return fmt.Errorf("a link that is %s: status %d: %w", what, status, err)
		}
	}
	return s.exactly(ctx, 0)
}

func (s *Story) answersPage(ctx context.Context) error {
	p := &s.poll
	// What must be read on the page after each answer, and the answers then.
	send := func(link string, form url.Values, words ...string) error {
		status, body, err := s.C.answerPage(ctx, link, form)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("an answer: status %d: %w", status, err)
		}
		if err := has(body, words...); err != nil {
			return err
		}
		return s.exactly(ctx, 1)
	}
	script := "<script>alert(1)</script>"
	if err := send(p.page, url.Values{"q.overall": {"4"}, "q.cleaning": {"2"}, "q.recommend": {"9"}, "comment": {"楼道要常扫" + script}}, "跟进单号"); err != nil {
		return err
	}
	p.answered[p.husband.Homes[0].Unit] = true
	// The matter of the low score is cleaning, whatever the whole is worth.
	if _, err := s.followedUp(ctx, p.husband, "queue-environment"); err != nil {
		return err
	}
	_, body, err := s.C.answerPage(ctx, p.page, nil)
	if err != nil || strings.Contains(body, script) {
		return fmt.Errorf("words are shown as script: %w", err)
	}
	if err := has(body, "已经填过", `name="q.overall" value="4" checked`, `name="q.cleaning" value="2" checked`); err != nil {
		return err
	}
	if err := send(p.page, url.Values{"q.overall": {"5"}, "q.cleaning": {"2"}, "q.recommend": {"9"}, "comment": {"楼道要常扫"}}, "修改"); err != nil {
		return err
	}
	// His wife: by his link, then by her own.
	if err := send(p.page, url.Values{"q.overall": {"4"}, "q.cleaning": {"2"}}, "修改"); err != nil {
		return err
	}
	hers, err := s.linkOf(ctx, p.wife)
	if err != nil {
		return err
	}
	if _, body, err = s.C.answerPage(ctx, hers, nil); err != nil || has(body, "您家已经填过") != nil {
		return fmt.Errorf("her page does not know of his answer: %w", err)
	}
	return send(hers, url.Values{"q.overall": {"3"}, "q.cleaning": {"2"}, "q.recommend": {"9"}, "comment": {"楼道要常扫"}}, "修改")
}

func (s *Story) answersInChat(ctx context.Context) error {
	p := &s.poll
	for _, turn := range []struct{ say, hear string }{{"5", "2/13"}, {"④", "3/13"}, {"结束", "谢谢"}} {
		sent, err := s.C.Say(ctx, p.number.OpenID, turn.say)
		if err != nil {
			return err
		}
		if err := has(sent.Reply(), turn.hear); err != nil {
			return fmt.Errorf("%s: %w", turn.say, err)
		}
	}
	p.answered[p.number.Homes[0].Unit] = true
	return s.counted(ctx, 2)
}

func (s *Story) answersBySMS(ctx context.Context) error {
	p := &s.poll
	if err := s.lastSMS(ctx, p.sms.Phone, "服务回访"); err != nil {
		return err
	}
	if err := s.up(ctx, "13999999999", "5"); err != nil {
		return err
	}
	if err := s.up(ctx, p.sms.Phone, "4 保安很热心"); err != nil {
		return err
	}
	p.answered[p.sms.Homes[0].Unit] = true
	if err := s.counted(ctx, 3); err != nil {
		return err
	}
	return s.exactly(ctx, 3)
}

func (s *Story) reminds(ctx context.Context) error {
	p := &s.poll
	want := maps.Clone(p.asked)
	for a, i := range p.invited {
		if p.answered[i.Unit] {
			delete(want, a)
		}
	}
	before, err := s.C.accepted(ctx)
	if err != nil {
		return err
	}
	if err := s.C.advance(ctx, remindDays*24*time.Hour+time.Hour); err != nil {
		return err
	}
	if err := s.askedOnce(ctx, "all who have not answered reminded", before, want); err != nil {
		return err
	}
	if err := s.C.advance(ctx, (remindDays+1)*24*time.Hour); err != nil {
		return err
	}
	if err := s.askedOnce(ctx, "nobody reminded twice", before, want); err != nil {
		return err
	}
	x, err := s.C.Survey(ctx, p.id)
	if err == nil && x.Reminded != len(want) {
		err = fmt.Errorf("%d are reminded, want %d", x.Reminded, len(want))
	}
	return err
}

func near(a, b float64) bool { return math.Abs(a-b) < 0.0005 }

func (s *Story) results(ctx context.Context) error {
	p := &s.poll
	x, err := s.C.Survey(ctx, p.id)
	if err != nil {
		return err
	}
	// 3 of the couple's home, 5 in chat, 4 by SMS: two of three are satisfied.
	if x.Answered != 3 || !near(x.SatisfiedRate, 2.0/3) || !near(x.Satisfaction, 4) || !near(x.ResponseRate, 3/float64(x.Invited)) {
		return fmt.Errorf("the whole is %d answers, %v, %v, %v", x.Answered, x.SatisfiedRate, x.Satisfaction, x.ResponseRate)
	}
	for sight, want := range map[string]map[string]int{
		"category": {"overall": 3, "cleaning": 1, "order_security": 1},
		"building": buildings(p.husband, p.number, p.sms),
	} {
		got := map[string]int{}
		for _, f := range x.By[sight] {
			if f.N > 0 {
				got[f.Key] = f.N
			}
			if f.Low < 0 || f.High > 1 || f.N > 0 && (f.Low > f.SatisfiedRate || f.High < f.SatisfiedRate || f.Low == f.High) {
				return fmt.Errorf("the interval of %s is %v to %v around %v", f.Key, f.Low, f.High, f.SatisfiedRate)
			}
		}
		for key, n := range want {
			if key != "overall" && got[key] != n {
				return fmt.Errorf("by %s: %v, want %d of %s", sight, got, n, key)
			}
		}
	}
	if len(x.By["month"]) == 0 {
		return errors.New("no months")
	}
	var words struct{ Comments []struct{ Text string } }
	if _, err := s.C.API(ctx, s.C.Ready.APIToken, http.MethodGet, "/surveys/"+p.id+"/comments", nil, &words); err != nil || len(words.Comments) != 2 {
		return fmt.Errorf("%d words behind the bars, want 2: %w", len(words.Comments), err)
	}
	return s.excel(ctx)
}

func buildings(who ...Resident) map[string]int {
	n := map[string]int{}
	for _, r := range who {
		n[r.Homes[0].Building]++
	}
	return n
}

// excel opens the results as a spreadsheet.
func (s *Story) excel(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.C.Listen[0]+"/api/v1/surveys/"+s.poll.id+"/results.xlsx", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.C.Ready.APIToken)
	res, err := s.C.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	f, err := excelize.OpenReader(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("results.xlsx: status %d: %w", res.StatusCode, err)
	}
	defer f.Close()
	var all strings.Builder
	for _, sheet := range f.GetSheetList() {
		rows, err := f.GetRows(sheet)
		if err != nil {
			return err
		}
		fmt.Fprintln(&all, rows)
	}
	return has(all.String(), "满意率", "满意度", "楼道要常扫", "保安很热心")
}

func (s *Story) surveyEnds(ctx context.Context) error {
	p := &s.poll
	if err := s.survey(ctx, p.manager, "close", http.StatusOK); err != nil {
		return err
	}
	status, body, err := s.C.answerPage(ctx, p.page, url.Values{"q.overall": {"1"}})
	if err != nil || status != http.StatusOK || has(body, "谢谢", "结束") != nil {
		return fmt.Errorf("a page after the end: status %d: %w", status, err)
	}
	if err := s.up(ctx, p.sms.Phone, "1"); err != nil {
		return err
	}
	for a := range p.asked {
		i := p.invited[a]
		if i.Channel != "template" || p.answered[i.Unit] || p.cast[i.ResidentID] {
			continue
		}
		sent, err := s.C.Say(ctx, i.Address, lateScore)
		if err != nil {
			return err
		}
		if err := has(sent.Reply(), "谢谢", "结束"); err != nil {
			return err
		}
		break
	}
	x, err := s.C.Survey(ctx, p.id)
	if err == nil && (x.State != "closed" || x.Answered != 3 || !near(x.Satisfaction, 4)) {
		err = fmt.Errorf("after the end it is %s with %d answers of %v", x.State, x.Answered, x.Satisfaction)
	}
	return err
}
