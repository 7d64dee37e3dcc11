package storytest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// Step is one step of the story.
type Step struct {
	Name string
	Do   func(ctx context.Context) error
}

// Story is a run of the story and what it remembers between steps.
type Story struct {
	C *Client

	// StopDB and StartDB take the database away and give it back; nil leaves
	// that part of step 4 out.
	StopDB, StartDB func() error

	openid  string
	no      string
	queue   string
	chatid  string
	members []string // two of the queue's group, no trainees
	card    int64
	seen    int64 // last line of the resident's chat that a step has looked at
	danger  string

	outage outage
	poll   poll
}

// home and phone of the resident who binds; the sample company has registered them.
const (
	home  = "3-2-1201"
	phone = "13800000001"
)

// Complaint is what the resident of the story writes.
const Complaint = "三栋电梯又坏了,老人下不了楼,你们管不管"

var (
	caseNo    = regexp.MustCompile(`#(\d{6,9})`)
	sixDigits = regexp.MustCompile(`\d{6,}`)
)

// Steps are steps 1 to 4 of the story, cut where a process may be killed.
func (s *Story) Steps() []Step {
	return []Step{
		{"1a follows and is greeted", s.follow},
		{"1b binds to a home with a code by SMS", s.bind},
		{"1c complains and gets number and next step in the same callback", s.complain},
		{"2a the case waits in its queue and its card is in the group", s.waits},
		{"2b a member claims it", s.claim},
		{"2c a second member learns who has it", s.secondClaim},
		{"2d talk stays in the group", s.talk},
		{"2e the resident reads the answer with the member's name", s.answer},
		{"3a asking again urges and opens nothing", s.urge},
		{"3b the member completes it with measures, the resident is asked", s.complete},
		{"3c the resident confirms and rates", s.rate},
		{"3d thanks are answered and reopen nothing", s.thank},
		{"4a danger: safety words at once, first in the queue, a loud card", s.alarm},
		{"4b the same while the database is stopped", s.alarmWithoutDB},
	}
}

func (s *Story) follow(ctx context.Context) error {
	var made struct{ OpenID string }
	if err := s.C.Sim(ctx, http.MethodPost, "/residents", map[string]any{"nickname": "王阿姨", "phone": phone}, &made); err != nil {
		return err
	}
	s.openid = made.OpenID
	sent, err := s.C.Push(ctx, s.openid, "follow", map[string]any{})
	if err != nil {
		return err
	}
	return has(sent.Reply(), "您好", "绑定")
}

func (s *Story) bind(ctx context.Context) error {
	before, err := s.C.Inbox(ctx, phone, 0)
	if err != nil {
		return err
	}
	sent, err := s.C.Say(ctx, s.openid, "绑定 "+home+" "+phone)
	if err != nil {
		return err
	}
	if err := has(sent.Reply(), "0001"); err != nil {
		return err
	}
	var code string
	err = Until(ctx, "the SMS with the code", func(ctx context.Context) (bool, error) {
		inbox, err := s.C.Inbox(ctx, phone, 0)
		if err != nil || len(inbox) <= len(before) {
			return false, err
		}
		runs := sixDigits.FindAllString(inbox[len(inbox)-1].Text, -1)
		if len(runs) != 1 || len(runs[0]) != 6 {
			return false, fmt.Errorf("the SMS has %d runs of six digits, want one", len(runs))
		}
		code = runs[0]
		return true, nil
	})
	if err != nil {
		return err
	}
	if sent, err = s.C.Say(ctx, s.openid, code); err != nil {
		return err
	}
	if err := has(sent.Reply(), "绑定成功", home); err != nil {
		return err
	}
	var list struct {
		Residents []struct {
			OpenID string
			Homes  []struct{ Unit string }
		}
	}
	if _, err := s.C.API(ctx, s.C.Ready.APIToken, http.MethodGet, "/residents?openid="+s.openid, nil, &list); err != nil {
		return err
	}
	if len(list.Residents) != 1 || len(list.Residents[0].Homes) == 0 || list.Residents[0].Homes[0].Unit != home {
		return fmt.Errorf("the API does not show the binding: %+v", list)
	}
	return nil
}

func (s *Story) complain(ctx context.Context) error {
	sent, err := s.C.Say(ctx, s.openid, Complaint)
	if err != nil {
		return err
	}
	m := caseNo.FindStringSubmatch(sent.Reply())
	if m == nil {
		return fmt.Errorf("no case number in the reply %q", sent.Reply())
	}
	s.no = m[1]
	if len(sent.Attempts) != 1 || sent.Attempts[0].LatencyMS > 3000 {
		return fmt.Errorf("the reply did not come in the first callback within three seconds: %+v", sent.Attempts)
	}
	return has(sent.Reply(), "工程维修", "回复您") // department and time of the first human reply
}

func (s *Story) waits(ctx context.Context) error {
	k, err := s.C.Case(ctx, s.no)
	if err != nil {
		return err
	}
	if k.State != "dispatched" || k.Unit == nil || *k.Unit != home || k.Category == nil || *k.Category != "engineering" {
		return fmt.Errorf("the case is not as told: %+v", k)
	}
	s.queue = k.Queue
	err = Until(ctx, "the case in its queue in Redis", func(ctx context.Context) (bool, error) {
		waiting, source, err := s.C.Waiting(ctx, s.queue)
		if err != nil || source != "redis" {
			return false, err
		}
		for _, w := range waiting {
			if w.No == s.no {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	for _, g := range s.C.Ready.Groups {
		if g.Queue == s.queue {
			s.chatid = g.ChatID
		}
	}
	for _, m := range s.C.Ready.Staff {
		if m.Role == "technician" || m.Role == "line_head" {
			for _, g := range m.Groups {
				if g == s.chatid {
					s.members = append(s.members, m.UserID)
				}
			}
		}
	}
	if len(s.members) < 2 {
		return fmt.Errorf("the queue's group has %d members to act, want two", len(s.members))
	}
	return Until(ctx, "the card in the group", func(ctx context.Context) (bool, error) {
		card, err := s.cardOf(ctx, s.no)
		s.card = card.Seq
		return card.Card != nil, err
	})
}

// cardOf finds the newest card of a case in the group.
func (s *Story) cardOf(ctx context.Context, no string) (GroupItem, error) {
	items, err := s.C.Group(ctx, s.chatid, 0)
	var found GroupItem
	for _, it := range items {
		if it.Card != nil && strings.Contains(it.Card.Title, "#"+no) {
			found = it
		}
	}
	return found, err
}

// claim is done again by word when the click met a dead node: WeCom delivers a
// click once, and a tired technician tries again.
func (s *Story) claim(ctx context.Context) error {
	card, err := s.cardOf(ctx, s.no)
	if err != nil {
		return err
	}
	key := ""
	for _, b := range card.Card.Buttons {
		if b.Text == "接单" {
			key = b.Key
		}
	}
	if key == "" {
		return errors.New("the card has no button 接单")
	}
	if _, err := s.C.Click(ctx, s.chatid, s.members[0], card.Seq, key); err != nil {
		return err
	}
	again := 0
	return Until(ctx, "the claim", func(ctx context.Context) (bool, error) {
		k, err := s.C.Case(ctx, s.no)
		if err != nil {
			return false, err
		}
		if k.Owner == nil {
			if again++; again%20 == 0 {
				_, _, err = s.C.Speak(ctx, s.chatid, s.members[0], "@"+s.C.Ready.Bot.Name+" 接单 #"+s.no)
			}
			return false, err
		}
		return k.State == "accepted" && *k.Owner == s.members[0], nil
	})
}

func (s *Story) nameOf(userid string) string {
	for _, m := range s.C.Ready.Staff {
		if m.UserID == userid {
			return m.Name
		}
	}
	return userid
}

func (s *Story) secondClaim(ctx context.Context) error {
	if err := s.command(ctx, s.members[1], "接单 #"+s.no, "the loser learns who has it", s.no, s.nameOf(s.members[0])); err != nil {
		return err
	}
	k, err := s.C.Case(ctx, s.no)
	if err == nil && (k.Owner == nil || *k.Owner != s.members[0]) {
		err = errors.New("the second claim took the case away")
	}
	return err
}

// command speaks to the bot and waits for an answer with all the parts. A node
// may have been killed with the words in its hands, so they are said again, as
// a member would who hears nothing.
func (s *Story) command(ctx context.Context, userid, words, what string, parts ...string) error {
	seq, _, err := s.C.Speak(ctx, s.chatid, userid, "@"+s.C.Ready.Bot.Name+" "+words)
	if err != nil {
		return err
	}
	asked := 0
	return Until(ctx, what, func(ctx context.Context) (bool, error) {
		items, err := s.C.Group(ctx, s.chatid, seq)
		if err != nil {
			return false, err
		}
		for _, it := range items {
			if it.From.Kind == "bot" && has(it.Text, parts...) == nil {
				return true, nil
			}
		}
		if asked++; asked%80 == 0 {
			_, _, err = s.C.Speak(ctx, s.chatid, userid, "@"+s.C.Ready.Bot.Name+" "+words)
		}
		return false, err
	})
}

func (s *Story) talk(ctx context.Context) error {
	before, err := s.C.Chat(ctx, s.openid, 0)
	if err != nil {
		return err
	}
	_, heard, err := s.C.Speak(ctx, s.chatid, s.members[0], "中午吃什么")
	if err != nil {
		return err
	}
	if heard {
		return errors.New("the bot heard talk that does not address it")
	}
	if err := s.command(ctx, s.members[0], "师傅马上到", "help for words without a number", "用法"); err != nil {
		return err
	}
	after, err := s.C.Chat(ctx, s.openid, 0)
	if err != nil {
		return err
	}
	if len(after) != len(before) {
		return fmt.Errorf("talk left the group: %+v", after[len(before):])
	}
	return nil
}

func (s *Story) answer(ctx context.Context) error {
	if err := s.mark(ctx); err != nil {
		return err
	}
	if _, _, err := s.C.Speak(ctx, s.chatid, s.members[0], "@"+s.C.Ready.Bot.Name+" #"+s.no+" 师傅十分钟到"); err != nil {
		return err
	}
	asked := 0
	err := s.hears(ctx, "the answer with the member's name", func() error {
		if asked++; asked%120 == 0 {
			_, _, err := s.C.Speak(ctx, s.chatid, s.members[0], "@"+s.C.Ready.Bot.Name+" #"+s.no+" 师傅十分钟到")
			return err
		}
		return nil
	}, "师傅十分钟到", s.nameOf(s.members[0]))
	if err != nil {
		return err
	}
	k, err := s.C.Case(ctx, s.no)
	if err == nil && k.State != "in_progress" {
		err = fmt.Errorf("after the first reply the case is %s", k.State)
	}
	return err
}

// mark remembers the end of the resident's chat.
func (s *Story) mark(ctx context.Context) error {
	items, err := s.C.Chat(ctx, s.openid, 0)
	if len(items) > 0 {
		s.seen = items[len(items)-1].Seq
	}
	return err
}

// hears waits for words to the resident after the mark.
func (s *Story) hears(ctx context.Context, what string, meanwhile func() error, parts ...string) error {
	return Until(ctx, what, func(ctx context.Context) (bool, error) {
		items, err := s.C.Chat(ctx, s.openid, s.seen)
		if err != nil {
			return false, err
		}
		for _, it := range items {
			if it.From == "account" && it.Kind == "service" && has(it.Text, parts...) == nil {
				return true, nil
			}
		}
		return false, meanwhile()
	})
}

func (s *Story) urge(ctx context.Context) error {
	before, err := s.C.Cases(ctx, s.openid)
	if err != nil {
		return err
	}
	sent, err := s.C.Say(ctx, s.openid, "怎么还没来")
	if err != nil {
		return err
	}
	if err := has(sent.Reply(), "#"+s.no, "催"); err != nil {
		return err
	}
	after, err := s.C.Cases(ctx, s.openid)
	if err != nil {
		return err
	}
	if len(after) != len(before) {
		return fmt.Errorf("urging made a second case: %d before, %d after", len(before), len(after))
	}
	k, err := s.C.Case(ctx, s.no)
	if err == nil && k.Urges < 1 {
		err = errors.New("the case does not count the urging")
	}
	return err
}

func (s *Story) complete(ctx context.Context) error {
	if err := s.mark(ctx); err != nil {
		return err
	}
	words := "@" + s.C.Ready.Bot.Name + " 完成 #" + s.no + " 更换门机皮带并试运行正常"
	if _, _, err := s.C.Speak(ctx, s.chatid, s.members[0], words); err != nil {
		return err
	}
	asked := 0
	err := s.hears(ctx, "result and question", func() error {
		if asked++; asked%120 == 0 {
			_, _, err := s.C.Speak(ctx, s.chatid, s.members[0], words)
			return err
		}
		return nil
	}, "更换门机皮带", "解决")
	if err != nil {
		return err
	}
	k, err := s.C.Case(ctx, s.no)
	if err == nil && (k.State != "handled" || k.Measures == nil) {
		err = fmt.Errorf("after completion the case is %s", k.State)
	}
	return err
}

func (s *Story) rate(ctx context.Context) error {
	sent, err := s.C.Say(ctx, s.openid, "已解决")
	if err != nil {
		return err
	}
	if err := has(sent.Reply(), "1 到 5"); err != nil {
		return err
	}
	if k, err := s.C.Case(ctx, s.no); err != nil || k.State != "closed" {
		return fmt.Errorf("after 已解决 the case is %s: %w", k.State, err)
	}
	if sent, err = s.C.Say(ctx, s.openid, "5"); err != nil {
		return err
	}
	if err := has(sent.Reply(), "感谢"); err != nil {
		return err
	}
	k, err := s.C.Case(ctx, s.no)
	if err == nil && (k.Rating == nil || *k.Rating != 5) {
		err = errors.New("the rating is not on the case")
	}
	return err
}

func (s *Story) thank(ctx context.Context) error {
	sent, err := s.C.Say(ctx, s.openid, "谢谢")
	if err != nil {
		return err
	}
	if sent.Reply() != "不客气,这是我们应该做的。" {
		return fmt.Errorf("thanks were answered with %q", sent.Reply())
	}
	cases, err := s.C.Cases(ctx, s.openid)
	if err != nil {
		return err
	}
	for _, k := range cases {
		if k.No == s.no && k.State != "closed" {
			return fmt.Errorf("thanks moved the case to %s", k.State)
		}
	}
	if len(cases) != 1 {
		return fmt.Errorf("the resident has %d cases, want one", len(cases))
	}
	return nil
}

// Alarm is what a resident in a stuck lift writes.
const Alarm = "电梯困人了,快来"

// other finds a bound follower for the second part.
func (s *Story) other(ctx context.Context, skip int) (string, error) {
	var list struct {
		Residents []struct {
			OpenID    string
			Following bool
		}
	}
	if err := s.C.Sim(ctx, http.MethodGet, "/residents", nil, &list); err != nil {
		return "", err
	}
	for _, r := range list.Residents {
		if r.Following && r.OpenID != s.openid {
			if skip == 0 {
				return r.OpenID, nil
			}
			skip--
		}
	}
	return "", errors.New("nobody else follows the account")
}

func (s *Story) alarm(ctx context.Context) error {
	who, err := s.other(ctx, 3)
	if err != nil {
		return err
	}
	s.danger = who
	sent, err := s.C.Say(ctx, who, Alarm)
	if err != nil {
		return err
	}
	if err := safety(sent.Reply()); err != nil {
		return err
	}
	m := caseNo.FindStringSubmatch(sent.Reply())
	if m == nil {
		return fmt.Errorf("no case number in %q", sent.Reply())
	}
	k, err := s.C.Case(ctx, m[1])
	if err != nil {
		return err
	}
	if k.Priority != "emergency" {
		return fmt.Errorf("priority %s", k.Priority)
	}
	err = Until(ctx, "the emergency first in its queue", func(ctx context.Context) (bool, error) {
		waiting, _, err := s.C.Waiting(ctx, k.Queue)
		return err == nil && len(waiting) > 0 && waiting[0].No == k.No, err
	})
	if err != nil {
		return err
	}
	chatid := ""
	for _, g := range s.C.Ready.Groups {
		if g.Queue == k.Queue {
			chatid = g.ChatID
		}
	}
	return Until(ctx, "card and loud text in the group", func(ctx context.Context) (bool, error) {
		items, err := s.C.Group(ctx, chatid, 0)
		card, loud := false, false
		for _, it := range items {
			card = card || it.Card != nil && strings.Contains(it.Card.Title, "#"+k.No)
			loud = loud || it.From.Kind == "webhook" && strings.Contains(it.Text, "#"+k.No) && len(it.Mentions) > 0
		}
		return card && loud, err
	})
}

var hotline = regexp.MustCompile(`\d{3,4}-?\d{7,8}|400-?\d{3}-?\d{4}`)

// safety wants safety words before anything else, and the 24-hour number.
func safety(reply string) error {
	first, _, _ := strings.Cut(reply, "\n")
	if strings.Contains(first, "#") || first == "" {
		return fmt.Errorf("the reply does not begin with safety words: %q", reply)
	}
	if err := has(reply, "扒门"); err != nil {
		return err
	}
	if !hotline.MatchString(reply) {
		return fmt.Errorf("no 24-hour number in %q", reply)
	}
	return nil
}

func (s *Story) alarmWithoutDB(ctx context.Context) error {
	if s.StopDB == nil {
		return nil
	}
	who, err := s.other(ctx, 7)
	if err != nil {
		return err
	}
	before, err := s.C.Cases(ctx, who)
	if err != nil {
		return err
	}
	if err := s.StopDB(); err != nil {
		return err
	}
	sent, sayErr := s.C.Say(ctx, who, Alarm)
	if err := s.StartDB(); err != nil {
		return err
	}
	if sayErr != nil {
		return sayErr
	}
	if err := safety(sent.Reply()); err != nil {
		return err
	}
	return Until(ctx, "the spooled alarm as a case", func(ctx context.Context) (bool, error) {
		after, err := s.C.Cases(ctx, who)
		return err == nil && len(after) == len(before)+1, err
	})
}
