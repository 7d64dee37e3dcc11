package storytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Resident is a resident as the API shows him.
type Resident struct {
	ID, Name, Phone string
	OpenID          string
	Homes           []struct{ Unit, Building, Role string }
}

// in tells whether one of his homes is in one of the buildings.
func (r Resident) in(buildings ...string) bool {
	for _, h := range r.Homes {
		if slices.Contains(buildings, h.Building) {
			return true
		}
	}
	return false
}

// Notice is a notice as the API shows it.
type Notice struct {
	ID, No, State string
	Audience      struct{ Households, People, SMS, Template, None int }
	CostFen       int `json:"cost_fen"`
	Segments      int
	Problems      []struct{ Field, Message string }
	Preview       struct{ SMS, Template string }
	Counts        map[string]int
	ByChannel     map[string]map[string]int `json:"by_channel"`
	Reach         struct{ Households, Reached int }
	ApprovedBy    string `json:"approved_by"`
	EndorseDue    bool   `json:"endorse_due"`
}

// Household is a home that no message reached.
type Household struct {
	Unit      string
	Residents []struct{ Name, Phone string }
	Reasons   []struct{ Channel, Code string }
	Outcome   string
}

// outage is what steps 5 to 8 remember.
type outage struct {
	duty, chatid string
	residents    []Resident
	silent       Resident // phone only, alone in his home in building 3
	no           string
	card         GroupItem
	told         map[string]int64 // by channel and address: who was told of the outage
	before       map[string]int64
}

const noticeReason = "主管爆裂抢修"

// NoticeSteps are steps 5 to 8 of the story. They stand alone, so that they can
// be lived without the first four.
func (s *Story) NoticeSteps() []Step {
	return []Step{
		{"5a the bot shows the whole text, then a card with whom it reaches and what it costs", s.writesNotice},
		{"5b who may not confirm it sends nothing", s.mayNotConfirm},
		{"5c on 确认发送 SMS and template message go to exactly those households, each phone and follower once", s.confirmNotice},
		{"5d a number that fails for good stands on the call list within two seconds of its receipt", s.callList},
		{"5e the group works the call list off", s.callsOff},
		{"6 building 3 is answered from the notice, building 5 becomes a case", s.askWhy},
		{"7 restored reaches exactly those who were told", s.restored},
		{"8a the same by REST, refused without SMS", s.noticeByREST},
		{"8b the same from a page of the console with live progress", s.noticeByConsole},
	}
}

// all reads every resident.
func (c *Client) all(ctx context.Context) ([]Resident, error) {
	var out []Resident
	cursor := ""
	for {
		var page struct {
			Residents  []Resident
			NextCursor string `json:"next_cursor"`
		}
		status, err := c.API(ctx, c.Ready.APIToken, http.MethodGet, "/residents?limit=200&cursor="+url.QueryEscape(cursor), nil, &page)
		if err != nil || status != http.StatusOK {
			return nil, fmt.Errorf("residents: status %d: %w", status, err)
		}
		out = append(out, page.Residents...)
		if cursor = page.NextCursor; cursor == "" {
			return out, nil
		}
	}
}

// accepted counts what the simulators have accepted, by channel and address.
func (c *Client) accepted(ctx context.Context) (map[string]int64, error) {
	var out struct {
		Addresses []struct {
			Channel, Address string
			N                int64
		}
	}
	err := c.Sim(ctx, http.MethodGet, "/counters", nil, &out)
	n := map[string]int64{}
	for _, a := range out.Addresses {
		n[a.Channel+" "+a.Address] += a.N
	}
	return n, err
}

// Notice reads one notice.
func (c *Client) Notice(ctx context.Context, id string) (Notice, error) {
	var n Notice
	status, err := c.API(ctx, c.Ready.APIToken, http.MethodGet, "/notices/"+id, nil, &n)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("notice %s: status %d", id, status)
	}
	return n, err
}

// Unreached reads the homes of a notice that nothing reached.
func (c *Client) Unreached(ctx context.Context, id string) ([]Household, error) {
	var out struct{ Households []Household }
	_, err := c.API(ctx, c.Ready.APIToken, http.MethodGet, "/notices/"+id+"/unreached", nil, &out)
	return out.Households, err
}

// now is the product's time.
func (c *Client) now(ctx context.Context) (time.Time, error) {
	var out struct{ Now time.Time }
	err := c.Sim(ctx, http.MethodGet, "/clock", nil, &out)
	return out.Now.In(time.FixedZone("CST", 8*3600)), err
}

// cast picks who plays in steps 5 to 8.
func (s *Story) cast(ctx context.Context) error {
	o := &s.outage
	for _, m := range s.C.Ready.Staff {
		if m.Role == "duty_manager" && len(m.Groups) > 0 {
			o.duty, o.chatid = m.UserID, m.Groups[0]
		}
	}
	if o.duty == "" {
		return errors.New("no duty manager is in a group")
	}
	var err error
	if o.residents, err = s.C.all(ctx); err != nil {
		return err
	}
	at := map[string]int{}
	for _, r := range o.residents {
		for _, h := range r.Homes {
			at[h.Unit]++
		}
	}
	for _, r := range o.residents {
		if len(r.Homes) == 1 && r.in("3") && r.OpenID == "" && r.Phone != phone && at[r.Homes[0].Unit] == 1 {
			o.silent = r
			return nil
		}
	}
	return errors.New("nobody in building 3 has a phone only")
}

// addresses are those that a notice for buildings must reach, each once.
func (s *Story) addresses(buildings ...string) map[string]int64 {
	want := map[string]int64{}
	for _, r := range s.outage.residents {
		if !r.in(buildings...) {
			continue
		}
		if r.Phone != "" {
			want["sms "+r.Phone] = 1
		}
		if r.OpenID != "" {
			want["template "+r.OpenID] = 1
		}
	}
	return want
}

func (s *Story) writesNotice(ctx context.Context) error {
	if err := s.cast(ctx); err != nil {
		return err
	}
	o := &s.outage
	now, err := s.C.now(ctx)
	if err != nil {
		return err
	}
	end := now.Add(3 * time.Hour)
	when := end.Format("15:04")
	if end.Day() != now.Day() {
		when = "明天" + when
	}
	items, err := s.C.Group(ctx, o.chatid, 0)
	if err != nil {
		return err
	}
	seen := int64(0)
	if len(items) > 0 {
		seen = items[len(items)-1].Seq
	}
	if _, _, err := s.C.Speak(ctx, o.chatid, o.duty, "@"+s.C.Ready.Bot.Name+" 通知 突发停水 3栋,4栋 "+noticeReason+" 预计"+when+"恢复"); err != nil {
		return err
	}
	text, card, err := s.shown(ctx, seen)
	if err != nil {
		return err
	}
	o.card, o.no = card, noticeNo.FindString(card.Card.Title)
	n, err := s.C.Notice(ctx, o.no)
	if err != nil {
		return err
	}
	// The six parts: what, where, when, why, what to do, whom to call.
	if err := has(text.Text, n.Preview.SMS, "停水", "3栋", "4栋", end.Format("15:04"), noticeReason, "请", "电话"); err != nil {
		return fmt.Errorf("the text in the group: %w", err)
	}
	if len(n.Problems) > 0 || n.State != "draft" {
		return fmt.Errorf("the draft is %s with %v", n.State, n.Problems)
	}
	want := s.addresses("3", "4")
	sms := 0
	for a := range want {
		if strings.HasPrefix(a, "sms ") {
			sms++
		}
	}
	rows := ""
	for _, r := range card.Card.Rows {
		rows += r.Key + r.Value + "\n"
	}
	if n.Audience.SMS != sms || n.Audience.Template != len(want)-sms {
		return fmt.Errorf("the audience is %+v, want %d phones and %d followers", n.Audience, sms, len(want)-sms)
	}
	return has(rows, fmt.Sprint(n.Audience.Households, " 户"), fmt.Sprint(n.Audience.SMS, " 个号码"), fmt.Sprint(n.Audience.Template, " 人关注"),
		fmt.Sprintf("%d.%02d 元", n.CostFen/100, n.CostFen%100))
}

var noticeNo = regexp.MustCompile(`T\d{4,}`)

// shown waits for the text of a notice and the card after it.
func (s *Story) shown(ctx context.Context, seen int64) (text, card GroupItem, err error) {
	err = Until(ctx, "text and card of the notice", func(ctx context.Context) (bool, error) {
		items, err := s.C.Group(ctx, s.outage.chatid, seen)
		text, card = GroupItem{}, GroupItem{}
		for _, it := range items {
			switch {
			case it.From.Kind != "bot":
			case it.Card != nil && noticeNo.MatchString(it.Card.Title):
				card = it
			case noticeNo.MatchString(it.Text) && strings.Contains(it.Text, "住户将看到"):
				text = it
			}
		}
		return text.Seq > 0 && card.Seq > 0, err
	})
	if err == nil && card.Seq < text.Seq {
		err = errors.New("the card came before the text")
	}
	return text, card, err
}

// press presses a button of the notice's card.
func (s *Story) press(ctx context.Context, userID string, card GroupItem, word string) error {
	for _, b := range card.Card.Buttons {
		if b.Text == word {
			status, err := s.C.Click(ctx, s.outage.chatid, userID, card.Seq, b.Key)
			if err == nil && status != "replaced" {
				err = fmt.Errorf("the click on %s was %s", word, status)
			}
			return err
		}
	}
	return fmt.Errorf("the card has no button %s", word)
}

func (s *Story) mayNotConfirm(ctx context.Context) error {
	o := &s.outage
	other := ""
	for _, m := range s.C.Ready.Staff {
		if (m.Role == "technician" || m.Role == "front_desk" || m.Role == "steward" || m.Role == "trainee") && slices.Contains(m.Groups, o.chatid) {
			other = m.UserID
		}
	}
	if other == "" {
		return errors.New("nobody in the group may not confirm")
	}
	if err := s.press(ctx, other, o.card, "确认发送"); err != nil {
		return err
	}
	n, err := s.C.Notice(ctx, o.no)
	if err == nil && n.State != "draft" {
		err = fmt.Errorf("after the click of %s it is %s", other, n.State)
	}
	return err
}

func (s *Story) confirmNotice(ctx context.Context) error {
	o := &s.outage
	err := s.C.Sim(ctx, http.MethodPut, "/faults", []map[string]any{{"target": "sms.report", "kind": "receipt", "share": 1,
		"match": map[string]any{"phone": o.silent.Phone}, "code": "INVALID_NUMBER"}}, nil)
	if err != nil {
		return err
	}
	if o.before, err = s.C.accepted(ctx); err != nil {
		return err
	}
	if err := s.press(ctx, o.duty, o.card, "确认发送"); err != nil {
		return err
	}
	o.told = s.addresses("3", "4")
	return s.reaches(ctx, o.no, o.before, o.told)
}

// reaches waits until a notice has left and says what differs from what should
// have been accepted: nothing missing, nothing twice, nobody else.
func (s *Story) reaches(ctx context.Context, no string, before, want map[string]int64) error {
	return Until(ctx, "exactly the audience of "+no+" told", func(ctx context.Context) (bool, error) {
		after, err := s.C.accepted(ctx)
		if err != nil {
			return false, err
		}
		for a, n := range want {
			if got := after[a] - before[a]; got > n {
				return false, fmt.Errorf("%.8s… got %d of %s, want %d", a, got, no, n)
			} else if got < n {
				return false, fmt.Errorf("%d of %d are not told yet", missing(after, before, want), len(want))
			}
		}
		for a := range after {
			if (strings.HasPrefix(a, "sms ") || strings.HasPrefix(a, "template ")) && want[a] == 0 && after[a] > before[a] {
				return false, fmt.Errorf("%.8s… is not in the audience of %s and was written to", a, no)
			}
		}
		return true, nil
	})
}

func missing(after, before, want map[string]int64) (n int) {
	for a := range want {
		if after[a]-before[a] < want[a] {
			n++
		}
	}
	return n
}

func (s *Story) callList(ctx context.Context) error {
	o := &s.outage
	var failed, listed time.Time
	err := Until(ctx, "the home on the call list", func(ctx context.Context) (bool, error) {
		if failed.IsZero() {
			inbox, err := s.C.Inbox(ctx, o.silent.Phone, 0)
			if err != nil {
				return false, err
			}
			for _, m := range inbox {
				if m.State == "failed" {
					failed = time.Now()
				}
			}
		}
		homes, err := s.C.Unreached(ctx, o.no)
		for _, h := range homes {
			if h.Unit == o.silent.Homes[0].Unit {
				listed = time.Now()
				if len(h.Reasons) == 0 || h.Reasons[0].Code != "INVALID_NUMBER" || len(h.Residents) == 0 || h.Residents[0].Phone != o.silent.Phone {
					return false, fmt.Errorf("it stands there as %+v", h)
				}
			}
		}
		return !failed.IsZero() && !listed.IsZero(), err
	})
	if err != nil {
		return err
	}
	if late := listed.Sub(failed); late > 2*time.Second {
		return fmt.Errorf("it stands on the call list %s after its receipt", late)
	}
	return s.finished(ctx, o.no, func(n Notice) error {
		if n.Reach.Reached != n.Reach.Households-1 || n.ByChannel["sms"]["failed"] != 1 {
			return fmt.Errorf("reach %+v, counts %v", n.Reach, n.ByChannel)
		}
		return nil
	})
}

// finished waits for the end of a notice and checks it.
func (s *Story) finished(ctx context.Context, no string, check func(Notice) error) error {
	var n Notice
	err := Until(ctx, no+" finished", func(ctx context.Context) (bool, error) {
		var err error
		n, err = s.C.Notice(ctx, no)
		if err == nil && n.State != "finished" {
			err = fmt.Errorf("it is %s with %v", n.State, n.Counts)
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	return check(n)
}

func (s *Story) callsOff(ctx context.Context) error {
	o := &s.outage
	unit := o.silent.Homes[0].Unit
	if err := s.asks(ctx, "电话名单 "+o.no, unit, o.silent.Name, "****"); err != nil {
		return err
	}
	if err := s.asks(ctx, "已电话 "+o.no+" "+unit+" 已通知本人", unit, "已电话通知"); err != nil {
		return err
	}
	return s.asks(ctx, "电话名单 "+o.no, "没有需要电话通知的住户")
}

// asks has the duty manager say something to the bot and waits for the answer.
func (s *Story) asks(ctx context.Context, text string, parts ...string) error {
	o := &s.outage
	items, err := s.C.Group(ctx, o.chatid, 0)
	if err != nil {
		return err
	}
	seen := items[len(items)-1].Seq
	if _, _, err := s.C.Speak(ctx, o.chatid, o.duty, "@"+s.C.Ready.Bot.Name+" "+text); err != nil {
		return err
	}
	return Until(ctx, "the answer to "+text, func(ctx context.Context) (bool, error) {
		items, err := s.C.Group(ctx, o.chatid, seen)
		var last error
		for _, it := range items {
			if it.From.Kind == "bot" {
				if last = has(it.Text, parts...); last == nil {
					return true, nil
				}
			}
		}
		return false, errors.Join(err, last)
	})
}

// follower finds somebody who is bound to one home in a building.
func (s *Story) follower(building string, skip int) (Resident, error) {
	for _, r := range s.outage.residents {
		if r.OpenID != "" && len(r.Homes) == 1 && r.in(building) && r.Phone != phone {
			if skip == 0 {
				return r, nil
			}
			skip--
		}
	}
	return Resident{}, errors.New("nobody follows in building " + building)
}

// dry asks why there is no water and gives the answer, and how many cases that
// made.
func (s *Story) dry(ctx context.Context, r Resident) (string, int, error) {
	before, err := s.C.Cases(ctx, r.OpenID)
	if err != nil {
		return "", 0, err
	}
	sent, err := s.C.Say(ctx, r.OpenID, "怎么没水")
	if err != nil {
		return "", 0, err
	}
	after, err := s.C.Cases(ctx, r.OpenID)
	return sent.Reply(), len(after) - len(before), err
}

func (s *Story) askWhy(ctx context.Context) error {
	in, err := s.follower("3", 1)
	if err != nil {
		return err
	}
	reply, cases, err := s.dry(ctx, in)
	if err != nil {
		return err
	}
	if err := has(reply, noticeReason, "停水"); err != nil || cases != 0 {
		return fmt.Errorf("building 3 is answered with %q and %d cases: %w", reply, cases, err)
	}
	out, err := s.follower("5", 1)
	if err != nil {
		return err
	}
	reply, cases, err = s.dry(ctx, out)
	if err != nil {
		return err
	}
	if strings.Contains(reply, noticeReason) || !caseNo.MatchString(reply) || cases != 1 {
		return fmt.Errorf("building 5 is answered with %q and %d cases", reply, cases)
	}
	return nil
}

func (s *Story) restored(ctx context.Context) error {
	o := &s.outage
	if err := s.C.Sim(ctx, http.MethodDelete, "/faults", nil, nil); err != nil {
		return err
	}
	before, err := s.C.accepted(ctx)
	if err != nil {
		return err
	}
	items, err := s.C.Group(ctx, o.chatid, 0)
	if err != nil {
		return err
	}
	if _, _, err := s.C.Speak(ctx, o.chatid, o.duty, "@"+s.C.Ready.Bot.Name+" 通知 恢复 "+o.no); err != nil {
		return err
	}
	text, card, err := s.shown(ctx, items[len(items)-1].Seq)
	if err != nil {
		return err
	}
	if err := has(text.Text, "恢复", "3栋", "供水"); err != nil {
		return err
	}
	if err := s.asks(ctx, "确认发送", "已由", noticeNo.FindString(card.Card.Title)); err != nil {
		return err
	}
	// The number that does not exist was not told and is not written to again.
	told := maps.Clone(o.told)
	delete(told, "sms "+o.silent.Phone)
	if err := s.reaches(ctx, noticeNo.FindString(card.Card.Title), before, told); err != nil {
		return err
	}
	in, err := s.follower("4", 1)
	if err != nil {
		return err
	}
	if reply, cases, err := s.dry(ctx, in); err != nil || strings.Contains(reply, noticeReason) || cases != 1 {
		return fmt.Errorf("after the water is back, building 4 is answered with %q and %d cases: %w", reply, cases, err)
	}
	return nil
}

func (s *Story) noticeByREST(ctx context.Context) error {
	token := s.C.Ready.Tokens[s.outage.duty]
	body := map[string]any{"kind": "emergency_outage", "topic": "outage_power", "scope": map[string]any{"buildings": []string{"5"}}, "reason": "配电箱抢修", "channels": []string{"template"}}
	var n Notice
	status, err := s.C.API(ctx, token, http.MethodPost, "/notices", body, &n)
	if err != nil || status != http.StatusCreated || len(n.Problems) == 0 {
		return fmt.Errorf("an emergency without SMS: status %d, problems %v: %w", status, n.Problems, err)
	}
	if status, err = s.C.API(ctx, token, http.MethodPost, "/notices/"+n.ID+"/approve", nil, nil); err != nil || status != http.StatusUnprocessableEntity {
		return fmt.Errorf("an emergency without SMS is approved with status %d: %w", status, err)
	}
	delete(body, "channels")
	before, err := s.C.accepted(ctx)
	if err != nil {
		return err
	}
	n = Notice{}
	if status, err = s.C.API(ctx, token, http.MethodPost, "/notices", body, &n); err != nil || status != http.StatusCreated || len(n.Problems) != 0 {
		return fmt.Errorf("compose: status %d, problems %v: %w", status, n.Problems, err)
	}
	if status, err = s.C.API(ctx, token, http.MethodPost, "/notices/"+n.ID+"/approve", nil, nil); err != nil || status != http.StatusOK {
		return fmt.Errorf("approve: status %d: %w", status, err)
	}
	if status, err = s.C.API(ctx, token, http.MethodPost, "/notices/"+n.ID+"/approve", nil, nil); err != nil || status != http.StatusConflict {
		return fmt.Errorf("approve again: status %d: %w", status, err)
	}
	if err := s.reaches(ctx, n.No, before, s.addresses("5")); err != nil {
		return err
	}
	return s.finished(ctx, n.ID, func(n Notice) error {
		if n.Reach.Reached != n.Reach.Households || n.Counts["delivered"] != n.Audience.SMS+n.Audience.Template || !n.EndorseDue {
			return fmt.Errorf("reach %+v, counts %v, endorse due %v", n.Reach, n.Counts, n.EndorseDue)
		}
		return nil
	})
}

// browser is somebody before the console.
type browser struct {
	base string
	http *http.Client
}

// page asks for a page, or posts a form, and follows to what is shown.
func (b *browser) page(ctx context.Context, path string, form url.Values) (where, body string, err error) {
	method, in := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, in = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, b.base+path, in)
	if err != nil {
		return "", "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.http.Do(req)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d", path, res.StatusCode)
	}
	return res.Request.URL.Path, string(raw), err
}

var reachLine = regexp.MustCompile(`<strong>(\d+)</strong> / (\d+) 户已通知到`)

func (s *Story) noticeByConsole(ctx context.Context) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	b := &browser{base: s.C.Listen[0], http: &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: s.C.HTTP.Transport}}
	if _, _, err := b.page(ctx, "/console/login", url.Values{"user": {s.C.Ready.Console.User}, "password": {s.C.Ready.Console.Password}}); err != nil {
		return err
	}
	form := url.Values{"kind": {"emergency_outage"}, "topic": {"outage_gas"}, "buildings": {"6"}, "reason": {"调压箱抢修"}, "channels": {"sms", "template"}}
	_, preview, err := b.page(ctx, "/console/notices/preview", form)
	if err != nil {
		return err
	}
	if err := has(preview, "内容齐全", "调压箱抢修", "停气"); err != nil {
		return fmt.Errorf("the live check: %w", err)
	}
	before, err := s.C.accepted(ctx)
	if err != nil {
		return err
	}
	where, body, err := b.page(ctx, "/console/notices", form)
	if err != nil {
		return err
	}
	if err := has(body, "确认发送", "6栋"); err != nil {
		return fmt.Errorf("the draft's page: %w", err)
	}
	if _, body, err = b.page(ctx, where+"/approve", url.Values{}); err != nil {
		return err
	}
	if err := has(body, `hx-trigger="every 1s"`); err != nil && !strings.Contains(body, "已完成") {
		return fmt.Errorf("no live progress: %w", err)
	}
	if err := s.reaches(ctx, noticeNo.FindString(where), before, s.addresses("6")); err != nil {
		return err
	}
	return Until(ctx, "the page that shows every home reached", func(ctx context.Context) (bool, error) {
		_, body, err := b.page(ctx, where, nil)
		m := reachLine.FindStringSubmatch(body)
		if err != nil || m == nil {
			return false, err
		}
		if m[1] != m[2] || !strings.Contains(body, "已完成") {
			return false, fmt.Errorf("the page shows %s of %s", m[1], m[2])
		}
		return true, nil
	})
}
