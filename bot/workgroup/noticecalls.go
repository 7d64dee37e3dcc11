package workgroup

import (
	"context"
	"strconv"
	"strings"

	"guanjia/internal/estate"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
	"guanjia/notify"
)

// maxCalls is how many homes one call list shows.
const maxCalls = 20

func (n *NoticeDesk) calls(ctx context.Context, q *request, x notify.Notice) (string, error) {
	text, err := n.callText(ctx, q, x)
	return text.String(), err
}

// callText is the call list of a notice: homes that no message reached. Phone
// numbers stand in full only in a 1:1 chat with somebody who works alone: what
// is in a group stays there for good.
func (n *NoticeDesk) callText(ctx context.Context, q *request, x notify.Notice) (wording.Text, error) {
	if x.State == notify.Drafted || x.State == notify.Approved {
		return n.d.Book.Say("group.notice_calls_early", varsOf([]string{"no", x.No, "state", n.stateWord(x.State)}))
	}
	homes, next, err := n.d.Notices.Calls(ctx, q.Chat.CompanyID, x.ID, "", maxCalls)
	if err != nil {
		return wording.Text{}, err
	}
	if len(homes) == 0 {
		return n.d.Book.Say("group.notice_calls_none", varsOf([]string{"no", x.No, "title", titleOf(x)}))
	}
	count, err := n.openCalls(ctx, x, len(homes), next)
	if err != nil {
		return wording.Text{}, err
	}
	texts := &textList{book: n.d.Book}
	texts.add("group.notice_calls_head", "no", x.No, "title", titleOf(x), "count", strconv.Itoa(count))
	full := q.Chat.Single && q.member.May(staff.RightReply)
	for _, h := range homes {
		texts.add("group.notice_calls_line", "unit", h.Unit, "who", people(h.Residents, full), "why", n.reasons(h.Reasons), "state", n.callState(h))
	}
	if count > len(homes) {
		texts.add("group.notice_calls_more", "count", strconv.Itoa(count-len(homes)))
	}
	texts.add("group.notice_calls_how", "no", x.No, "unit", homes[0].Unit, "bot", q.BotName)
	if !full {
		texts.add("group.notice_calls_phones", "no", x.No)
	}
	return texts.join()
}

// openCalls counts all homes on the list, of which listed are on its first page.
func (n *NoticeDesk) openCalls(ctx context.Context, x notify.Notice, listed int, next string) (int, error) {
	if next == "" {
		return listed, nil
	}
	p, err := n.d.Notices.Progress(ctx, x.CompanyID, x.ID)
	if err != nil {
		return 0, err
	}
	return max(listed, p.Reach.Households-p.Reach.Reached-p.Reach.Called), nil
}

// textList collects texts and joins them; the first failure wins.
type textList struct {
	book  *wording.Book
	texts []wording.Text
	err   error
}

func (l *textList) add(key string, kv ...string) {
	if l.err != nil {
		return
	}
	t, err := l.book.Say(key, varsOf(kv))
	l.texts, l.err = append(l.texts, t), err
}

func (l *textList) join() (wording.Text, error) {
	if l.err != nil {
		return wording.Text{}, l.err
	}
	return l.book.JoinGroup(l.texts...)
}

// people names those at a home, with the numbers that may be shown.
func people(list []notify.Person, full bool) string {
	var parts []string
	for _, p := range list {
		phone := p.Phone
		if !full {
			phone = maskPhone(phone)
		}
		parts = append(parts, strings.TrimSpace(p.Name+" "+phone))
	}
	return strings.Join(parts, "、")
}

// maskPhone leaves of a number what tells it from another: 138****0001.
func maskPhone(s string) string {
	if len(s) < 8 {
		return ""
	}
	return s[:3] + "****" + s[len(s)-4:]
}

func (n *NoticeDesk) reasons(list []notify.Reason) string {
	var parts []string
	for _, r := range list {
		if r.Channel == "" {
			parts = append(parts, r.Text)
			continue
		}
		parts = append(parts, n.d.Book.Label("channel", r.Channel)+"："+r.Text)
	}
	return strings.Join(parts, "；")
}

func (n *NoticeDesk) callState(h notify.Household) string {
	switch {
	case h.Outcome != "":
		return strings.TrimSpace(h.CallerName + " " + n.outcomeWord(h.Outcome))
	case h.CallerName != "":
		return h.CallerName + " 正在联系"
	}
	return ""
}

func (n *NoticeDesk) outcomeWord(code string) string {
	for _, c := range n.d.Notices.Outcomes() {
		if c.Code == code {
			return c.Text
		}
	}
	return code
}

func (n *NoticeDesk) calling(ctx context.Context, q *request, x notify.Notice) (string, error) {
	unit, ok := estate.ParseUnitCode(q.cmd.Unit)
	if !ok {
		return n.callHow(x)
	}
	if _, err := n.d.Notices.ClaimCall(ctx, q.actor(), x.ID, unit); err != nil {
		return "", err
	}
	return n.say("group.notice_calling", "no", x.No, "unit", unit, "staff", q.member.Name)
}

func (n *NoticeDesk) called(ctx context.Context, q *request, x notify.Notice) (string, error) {
	unit, ok := estate.ParseUnitCode(q.cmd.Unit)
	outcome, understood := outcomeOf(q.cmd.Text)
	if !ok || !understood {
		return n.callHow(x)
	}
	if _, err := n.d.Notices.TickCall(ctx, q.actor(), x.ID, unit, outcome, q.cmd.Text); err != nil {
		return "", err
	}
	rest := ""
	if p, err := n.d.Notices.Progress(ctx, x.CompanyID, x.ID); err == nil {
		if open := p.Reach.Households - p.Reach.Reached - p.Reach.Called; open > 0 {
			rest = strconv.Itoa(open)
		}
	}
	return n.say("group.notice_called", "no", x.No, "unit", unit, "outcome", n.outcomeWord(outcome), "staff", q.member.Name, "left", rest)
}

func (n *NoticeDesk) callHow(x notify.Notice) (string, error) {
	var words []string
	for _, c := range n.d.Notices.Outcomes() {
		words = append(words, c.Text)
	}
	return n.say("group.notice_call_how", "no", x.No, "outcomes", strings.Join(words, "、"))
}

// outcomeWords are how members say what came of a call; the first that is heard
// wins, so what went wrong stands before what went well.
var outcomeWords = []struct{ word, outcome string }{
	{"上门无人", "nobody_home"}, {"上门没人", "nobody_home"}, {"家里没人", "nobody_home"}, {"没人在家", "nobody_home"}, {"敲门没", "nobody_home"},
	{"空号", "wrong_number"}, {"错号", "wrong_number"}, {"号码不对", "wrong_number"}, {"号码错", "wrong_number"}, {"不是本人", "wrong_number"}, {"打错", "wrong_number"},
	{"无人接", "no_answer"}, {"没人接", "no_answer"}, {"没接", "no_answer"}, {"不接", "no_answer"}, {"未接", "no_answer"}, {"打不通", "no_answer"},
	{"关机", "no_answer"}, {"停机", "no_answer"}, {"占线", "no_answer"}, {"忙音", "no_answer"}, {"没通知到", "no_answer"}, {"没打通", "no_answer"},
	{"转告", "neighbour"}, {"邻居", "neighbour"}, {"家人", "neighbour"},
	{"上门", "visited"}, {"当面", "visited"},
	{"已通知", "called"}, {"通知到", "called"}, {"已告知", "called"}, {"已知晓", "called"}, {"已知道", "called"}, {"知道了", "called"}, {"接通", "called"},
	{"已电话", "called"}, {"打通", "called"}, {"已说", "called"},
}

// outcomeOf reads what came of a call. Words that say neither are not guessed:
// a home that counts as told is not called again.
func outcomeOf(words string) (string, bool) {
	folded := fold(words)
	for _, w := range outcomeWords {
		if strings.Contains(folded, w.word) {
			return w.outcome, true
		}
	}
	return "", false
}
