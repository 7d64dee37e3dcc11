package workgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
	"guanjia/notify"
)

// NoticeRoom is what the work group needs of notices: *notify.Notices, which
// decides every right and refuses with *notify.Refused.
type NoticeRoom interface {
	ParseLine(text string, now time.Time) (notify.Draft, error)
	Compose(ctx context.Context, by notify.By, d notify.Draft) (notify.Notice, error)
	Approve(ctx context.Context, by notify.By, id string) (notify.Notice, error)
	Cancel(ctx context.Context, by notify.By, id string) (notify.Notice, error)
	Pause(ctx context.Context, by notify.By, id string) (notify.Notice, error)
	Resume(ctx context.Context, by notify.By, id string) (notify.Notice, error)
	Endorse(ctx context.Context, by notify.By, id string) (notify.Notice, error)
	ByID(ctx context.Context, companyID, id string) (notify.Notice, error)
	ByNo(ctx context.Context, companyID, no string) (notify.Notice, error)
	Progress(ctx context.Context, companyID, id string) (notify.Progress, error)
	Calls(ctx context.Context, companyID, id, cursor string, limit int) ([]notify.Household, string, error)
	ClaimCall(ctx context.Context, by notify.By, id, unit string) (notify.Household, error)
	TickCall(ctx context.Context, by notify.By, id, unit, outcome, note string) (notify.Household, error)
	Outcomes() []notify.Choice
}

// NoticeDeps is what a NoticeDesk stands on.
type NoticeDeps struct {
	Notices NoticeRoom
	Staff   Staff
	DB      *db.DB
	Ledger  *ledger.Ledger
	Book    *wording.Book
	Clock   clock.Clock
	Log     *slog.Logger
}

// NoticeDesk is the notices of a work group: the sentence of a member, the text
// as the residents will read it, the card on which it is confirmed, the call
// list, and what the bot says by its own when a notice is through. Safe for
// concurrent use.
type NoticeDesk struct {
	d     NoticeDeps
	chats noticeChats
	say   func(key string, kv ...string) (string, error)
}

// NewNoticeDesk makes a NoticeDesk. It fails when a text is missing that it
// will need.
func NewNoticeDesk(d NoticeDeps) (*NoticeDesk, error) {
	if err := d.Book.MustHave(noticeKeys()...); err != nil {
		return nil, fmt.Errorf("work group notices: %w", err)
	}
	n := &NoticeDesk{d: d, chats: noticeChats{db: d.DB}}
	n.say = sayer(d.Book)
	return n, nil
}

// sayer renders texts from pairs of name and value.
func sayer(book *wording.Book) func(key string, kv ...string) (string, error) {
	return func(key string, kv ...string) (string, error) {
		text, err := book.Say(key, varsOf(kv))
		return text.String(), err
	}
}

func varsOf(kv []string) wording.Vars {
	vars := make(wording.Vars, len(kv)/2)
	for i := 0; i+1 < len(kv); i += 2 {
		vars[kv[i]] = kv[i+1]
	}
	return vars
}

// ofNotices are the verbs that a NoticeDesk answers.
func (v Verb) ofNotices() bool {
	switch v {
	case VerbNotice, VerbConfirm, VerbCancel, VerbPause, VerbResume, VerbEndorse, VerbProgress, VerbCalls, VerbCalling, VerbCalled:
		return true
	}
	return false
}

// answer does what a known member wants with notices.
func (n *NoticeDesk) answer(ctx context.Context, q *request) (string, error) {
	text, err := n.run(ctx, q)
	var refused *notify.Refused
	if errors.As(err, &refused) {
		return n.refusal(ctx, q, refused)
	}
	return text, err
}

func (n *NoticeDesk) run(ctx context.Context, q *request) (string, error) {
	if q.cmd.Verb == VerbNotice {
		return n.compose(ctx, q)
	}
	found, words, err := n.meant(ctx, q)
	if err != nil || words != "" {
		return words, err
	}
	switch q.cmd.Verb {
	case VerbConfirm:
		return n.confirm(ctx, q, found)
	case VerbCancel:
		return n.cancel(ctx, q, found)
	case VerbPause, VerbResume, VerbEndorse:
		_, text, err := n.move(ctx, q, found)
		return text, err
	case VerbCalls:
		return n.calls(ctx, q, found)
	case VerbCalling:
		return n.calling(ctx, q, found)
	case VerbCalled:
		return n.called(ctx, q, found)
	default:
		return n.progress(ctx, found)
	}
}

func (q *request) actor() notify.By { return notify.AsMember(q.member, q.by.Via) }

// meant gives the notice that a command is about: the one it names, else the
// one that waits in this chat, else the newest of this chat. words are the
// answer where there is no such notice.
func (n *NoticeDesk) meant(ctx context.Context, q *request) (found notify.Notice, words string, err error) {
	if q.cmd.Notice != "" {
		found, err = n.d.Notices.ByNo(ctx, q.Chat.CompanyID, q.cmd.Notice)
		if isRefused(err, notify.RefusedNotFound) {
			words, err = n.say("group.notice_unknown", "no", q.cmd.Notice)
		}
		return found, words, err
	}
	list, err := n.ofChat(ctx, q.Chat)
	if err != nil {
		return found, "", err
	}
	if q.cmd.Verb != VerbConfirm && q.cmd.Verb != VerbCancel {
		for _, x := range list {
			if x.State != notify.Drafted {
				return x, "", nil
			}
		}
		words, err = n.say("group.notice_need_no", "verb", verbWord(q.cmd.Verb))
		return found, words, err
	}
	return n.waiting(q, list)
}

// waiting picks the draft that 确认发送 and 取消 without a number mean. Where
// several wait, nothing is guessed: they go to thousands.
func (n *NoticeDesk) waiting(q *request, list []notify.Notice) (found notify.Notice, words string, err error) {
	var drafts []notify.Notice
	for _, x := range list {
		if x.State == notify.Drafted {
			drafts = append(drafts, x)
		}
	}
	switch {
	case len(drafts) == 1:
		return drafts[0], "", nil
	case len(drafts) > 1:
		var names []string
		for _, x := range drafts {
			names = append(names, x.No+" "+x.Title)
		}
		words, err = n.say("group.notice_which", "list", strings.Join(names, "、"))
		return found, words, err
	case len(list) > 0 && q.cmd.Verb == VerbConfirm && (q.Again || list[0].ApprovedAt.After(q.At.Add(-justNow))):
		// An earlier attempt, or a colleague a moment ago, was faster: the
		// answer is its present state.
		return list[0], "", nil
	case len(list) > 0 && q.Again && list[0].State == notify.Cancelled:
		return list[0], "", nil
	}
	// 取消 alone never stops what is on its way: that takes its number.
	words, err = n.say("group.notice_none")
	return found, words, err
}

// justNow is how long after somebody's confirmation a second one is answered
// with its state.
const justNow = 10 * time.Minute

func verbWord(v Verb) string {
	for _, x := range verbs {
		if x.verb == v {
			return x.word
		}
	}
	return string(v)
}

// ofChat gives the notices of a chat that are not over, the newest first.
func (n *NoticeDesk) ofChat(ctx context.Context, c Chat) ([]notify.Notice, error) {
	ids, err := n.chats.ofChat(ctx, c, maxOpen)
	if err != nil {
		return nil, err
	}
	var list []notify.Notice
	for _, id := range ids {
		x, err := n.d.Notices.ByID(ctx, c.CompanyID, id)
		if isRefused(err, notify.RefusedNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read notice of the chat: %w", err)
		}
		list = append(list, x)
	}
	return list, nil
}

// maxOpen bounds how many notices of a chat are looked through.
const maxOpen = 20

func isRefused(err error, code string) bool {
	var r *notify.Refused
	return errors.As(err, &r) && r.Code == code
}

// compose drafts a notice from a sentence. Text and card go through the ledger,
// one after the other, so that nobody confirms what he has not seen.
func (n *NoticeDesk) compose(ctx context.Context, q *request) (string, error) {
	if strings.TrimSpace(q.cmd.Text) == "" {
		return n.say("group.notice_empty", "bot", q.BotName)
	}
	// A message is stored once and may be handled again after a crash.
	if done, err := n.chats.ofMessage(ctx, q.ID); err != nil || done {
		return "", err
	}
	draft, err := n.d.Notices.ParseLine(q.cmd.Text, n.d.Clock.Now())
	var refused *notify.Refused
	if errors.As(err, &refused) && refused.Code != notify.RefusedForbidden {
		return n.say("group.notice_unread", "why", refused.Message, "bot", q.BotName)
	}
	if err != nil {
		return "", err
	}
	made, err := n.d.Notices.Compose(ctx, q.actor(), draft)
	if err != nil {
		return "", err
	}
	replaced, err := n.supersede(ctx, q, made)
	if err != nil {
		return "", err
	}
	text, err := n.draftText(q, made)
	if err != nil {
		return "", err
	}
	err = n.d.DB.InTx(ctx, "workgroup.notice", func(ctx context.Context, tx *db.Tx) error {
		if err := n.chats.putTx(ctx, tx, made.ID, q, n.d.Clock.Now()); err != nil {
			return err
		}
		if err := n.sayTx(ctx, tx, q.Chat, made.ID, text); err != nil {
			return err
		}
		return n.cardTx(ctx, tx, q.Chat, made.ID)
	})
	if err != nil {
		return "", fmt.Errorf("show notice: %w", err)
	}
	return replaced, nil
}

// supersede drops the author's own drafts of this chat: who writes the sentence
// again means the new one. Answers to another notice stand beside it.
func (n *NoticeDesk) supersede(ctx context.Context, q *request, made notify.Notice) (string, error) {
	list, err := n.ofChat(ctx, q.Chat)
	if err != nil {
		return "", err
	}
	var lines []string
	for _, old := range list {
		if old.State != notify.Drafted || old.Author != made.Author || old.ID == made.ID || old.OfID != made.OfID {
			continue
		}
		_, err := n.d.Notices.Cancel(ctx, q.actor(), old.ID)
		var refused *notify.Refused
		if errors.As(err, &refused) {
			continue // a colleague has confirmed it meanwhile: it stays
		}
		if err != nil {
			return "", err
		}
		line, err := n.say("group.notice_replaced", "no", old.No)
		if err != nil {
			return "", err
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), nil
}

// draftText is the whole text as it will be read, or what is missing with the
// line to type.
func (n *NoticeDesk) draftText(q *request, x notify.Notice) (wording.Text, error) {
	if len(x.Problems) > 0 {
		return n.d.Book.Say("group.notice_incomplete", varsOf([]string{"no", x.No, "title", titleOf(x), "problems", problemLines(x.Problems),
			"line", repairLine(q.BotName, q.cmd.Text, x), "sms", quoteLines(x.Preview.SMS)}))
	}
	var warnings []string
	for _, w := range x.Warnings {
		warnings = append(warnings, w.Message)
	}
	return n.d.Book.Say("group.notice_draft", varsOf([]string{"no", x.No, "title", titleOf(x), "place", x.Place, "sms", quoteLines(x.Preview.SMS),
		"template", quoteLines(x.Preview.Template), "warnings", strings.Join(warnings, " ")}))
}

func titleOf(x notify.Notice) string {
	if x.Title != "" {
		return x.Title
	}
	return "通知"
}

func problemLines(list []notify.Problem) string {
	lines := make([]string, len(list))
	for i, p := range list {
		lines[i] = "· " + p.Message
	}
	return strings.Join(lines, "\n")
}

// quoteLines keeps a preview of several lines inside its quotation.
func quoteLines(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n> ") }

// gaps are what a member types for a missing field.
var gaps = []struct{ field, example string }{
	{"of", "T0012"}, {"topic", "停水"}, {"title", "标题"}, {"scope", "3栋,4栋"}, {"reason", "原因"}, {"starts_at", "明天9点"}, {"ends_at", "预计18:00恢复"},
}

// repairLine is the sentence with a gap for each part that is missing, ready to
// be copied and filled in. Empty when the sentence cannot mend it.
func repairLine(bot, said string, x notify.Notice) string {
	missing := map[string]bool{}
	for _, p := range x.Problems {
		missing[fieldOf(p)] = true
	}
	var parts []string
	for _, g := range gaps {
		if missing[g.field] {
			parts = append(parts, "【"+g.example+"】")
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "@" + bot + " " + verbWord(VerbNotice) + " " + strings.Join(strings.Fields(said), " ") + " " + strings.Join(parts, " ")
}

// confirm sends a notice and pushes its card anew, so that its present state
// stands at the end of the chat.
func (n *NoticeDesk) confirm(ctx context.Context, q *request, x notify.Notice) (string, error) {
	if x.State == notify.Drafted && len(x.Problems) > 0 {
		return n.say("group.notice_incomplete", "no", x.No, "title", titleOf(x), "problems", problemLines(x.Problems))
	}
	after, text, err := n.move(ctx, q, x)
	if err != nil || after.State == x.State {
		return text, err
	}
	err = n.d.DB.InTx(ctx, "workgroup.notice_card", func(ctx context.Context, tx *db.Tx) error {
		if err := n.chats.putTx(ctx, tx, x.ID, q, n.d.Clock.Now()); err != nil {
			return err
		}
		return n.cardTx(ctx, tx, q.Chat, x.ID)
	})
	if err != nil {
		// The notice is on its way; a missing card must not look like a failure.
		n.d.Log.WarnContext(ctx, "card of a confirmed notice not put", "notice", x.No, "error", err)
	}
	return text, nil
}

func (n *NoticeDesk) cancel(ctx context.Context, q *request, x notify.Notice) (string, error) {
	_, text, err := n.move(ctx, q, x)
	return text, err
}

// move does what verb and button alike want with a notice, and says what came
// of it. A second hand that comes too late hears how it stands.
func (n *NoticeDesk) move(ctx context.Context, q *request, x notify.Notice) (notify.Notice, string, error) {
	act, ok := n.acts()[q.cmd.Verb]
	if !ok {
		return x, "", fmt.Errorf("no act for the verb %s", q.cmd.Verb)
	}
	after, err := act(ctx, q.actor(), x.ID)
	if isRefused(err, notify.RefusedState) {
		if now, readErr := n.d.Notices.ByID(ctx, q.Chat.CompanyID, x.ID); readErr == nil {
			x = now
		}
		by := x.ApproverName
		if x.State == notify.Drafted || x.State == notify.Cancelled {
			by = ""
		}
		text, err := n.say("group.notice_already", "no", x.No, "state", n.stateWord(x.State), "by", by)
		return x, text, err
	}
	if err != nil {
		return x, "", err
	}
	text, err := n.moved(ctx, q, after)
	return after, text, err
}

func (n *NoticeDesk) acts() map[Verb]func(context.Context, notify.By, string) (notify.Notice, error) {
	return map[Verb]func(context.Context, notify.By, string) (notify.Notice, error){
		VerbConfirm: n.d.Notices.Approve, VerbCancel: n.d.Notices.Cancel, VerbPause: n.d.Notices.Pause,
		VerbResume: n.d.Notices.Resume, VerbEndorse: n.d.Notices.Endorse,
	}
}

func (n *NoticeDesk) moved(ctx context.Context, q *request, x notify.Notice) (string, error) {
	staffName := q.member.Name
	switch q.cmd.Verb {
	case VerbConfirm:
		at := ""
		if x.SendAt.After(n.d.Clock.Now().Add(time.Minute)) {
			at = wording.When(x.SendAt.Time, n.d.Clock.Now())
		}
		return n.say("group.notice_confirmed", "no", x.No, "title", titleOf(x), "households", strconv.Itoa(x.Audience.Households), "staff", staffName, "at", at)
	case VerbCancel:
		p, err := n.d.Notices.Progress(ctx, q.Chat.CompanyID, x.ID)
		if err == nil {
			if gone := left(p.Counts); gone > 0 {
				return n.say("group.notice_cancelled_late", "no", x.No, "staff", staffName, "submitted", strconv.Itoa(gone))
			}
		}
		return n.say("group.notice_cancelled", "no", x.No, "staff", staffName)
	case VerbPause:
		return n.say("group.notice_paused", "no", x.No, "staff", staffName)
	case VerbResume:
		return n.say("group.notice_resumed", "no", x.No, "staff", staffName)
	default:
		return n.say("group.notice_endorsed", "no", x.No, "staff", staffName)
	}
}

// left counts what has gone out and cannot be taken back.
func left(c notify.Counts) int {
	return c["sending"] + c["submitted"] + c["delivered"] + c["unknown"] + c["no_receipt"] + c["failed"]
}

func (n *NoticeDesk) stateWord(s notify.State) string {
	return n.d.Book.Label("notice_state", string(s))
}

// refusal puts a rule's no into words, with who may where somebody may not.
func (n *NoticeDesk) refusal(ctx context.Context, q *request, r *notify.Refused) (string, error) {
	why := r.Message
	if len(r.Problems) > 0 {
		why = strings.TrimSpace(why + "\n" + problemLines(r.Problems))
	}
	text, err := n.say("group.notice_refused", "why", why)
	if err != nil || r.Code != notify.RefusedForbidden && r.Code != notify.RefusedOwn {
		return text, err
	}
	names, err := n.whoMay(ctx, q)
	if err != nil || names == "" {
		return text, err
	}
	more, err := n.say("group.notice_who_may", "names", names)
	return text + "\n" + more, err
}

// whoMay names the members who may do what was refused.
func (n *NoticeDesk) whoMay(ctx context.Context, q *request) (string, error) {
	right := staff.RightApproveNotice
	switch q.cmd.Verb {
	case VerbNotice:
		right = staff.RightWriteNotice
	case VerbConfirm:
		if x, _, err := n.meant(ctx, q); err == nil && x.Emergency {
			right = staff.RightApproveEmergency
		}
	}
	all, err := n.d.Staff.WhoMay(ctx, q.Chat.CompanyID, right)
	if err != nil {
		return "", err
	}
	var names []string
	for _, m := range all {
		if m.UserID != q.member.UserID && len(names) < maxNamed {
			names = append(names, m.Name)
		}
	}
	return strings.Join(names, "、"), nil
}

// maxNamed bounds how many colleagues a refusal names.
const maxNamed = 5

func (n *NoticeDesk) progress(ctx context.Context, x notify.Notice) (string, error) {
	p, err := n.d.Notices.Progress(ctx, x.CompanyID, x.ID)
	if err != nil {
		return "", err
	}
	open := ""
	if rest := p.Reach.Households - p.Reach.Reached - p.Reach.Called; rest > 0 && x.State == notify.Finished {
		open = strconv.Itoa(rest)
	}
	return n.say("group.notice_progress", "no", x.No, "title", titleOf(x), "state", n.stateWord(x.State),
		"households", strconv.Itoa(p.Reach.Households), "reached", strconv.Itoa(p.Reach.Reached), "percent", percent(p.Reach),
		"sms", countWords(p.ByChannel[ledger.ChannelSMS]), "template", countWords(p.ByChannel[ledger.ChannelTemplate]), "left", open)
}

// percent is how many of a hundred homes are reached; a hundred is said only
// when none is left.
func percent(r notify.Reach) string {
	if r.Households == 0 {
		return "0"
	}
	return strconv.Itoa(r.Reached * 100 / r.Households)
}

// countWords says deliveries in the words of an office.
func countWords(c notify.Counts) string {
	var parts []string
	add := func(word string, states ...string) {
		sum := 0
		for _, s := range states {
			sum += c[s]
		}
		if sum > 0 {
			parts = append(parts, word+" "+strconv.Itoa(sum))
		}
	}
	add("送达", "delivered")
	add("等回执", "submitted", "unknown")
	add("待发", "planned", "claimed", "sending")
	add("未送达", "failed", "no_receipt", "expired")
	add("不发", "skipped", "cancelled")
	return strings.Join(parts, " · ")
}

// RefNoticeCard is the reference kind of what the bot says about a notice in a
// chat; the reference id is the notice's. It is not notify.RefNotice, whose
// deliveries are the residents'.
const RefNoticeCard = "notice_card"

// shownFor is how long text and card of a notice wait for the bot's socket.
const shownFor = 2 * time.Hour

// sayTx puts words into a chat, in one line with the notice's card.
func (n *NoticeDesk) sayTx(ctx context.Context, tx *db.Tx, c Chat, noticeID string, text wording.Text) error {
	_, err := n.d.Ledger.PutTx(ctx, tx, ledger.New{
		CompanyID: c.CompanyID, Channel: ledger.ChannelGroup, AccountID: c.BotID, Address: c.Address(), Lane: ledger.LaneReply, Class: ledger.ClassCard,
		Text: text, RefKind: RefNoticeCard, RefID: noticeID, OrderKey: "notice:" + noticeID, ValidUntil: n.d.Clock.Now().Add(shownFor),
	})
	return err
}

func (n *NoticeDesk) cardTx(ctx context.Context, tx *db.Tx, c Chat, noticeID string) error {
	_, err := n.d.Ledger.PutTx(ctx, tx, ledger.New{
		CompanyID: c.CompanyID, Channel: ledger.ChannelCard, AccountID: c.BotID, Address: c.Address(), Lane: ledger.LaneReply, Class: ledger.ClassCard,
		Payload: map[string]any{"notice": noticeID}, RefKind: RefNoticeCard, RefID: noticeID, OrderKey: "notice:" + noticeID, ValidUntil: n.d.Clock.Now().Add(shownFor),
	})
	return err
}

// SinglePrefix marks the address of a 1:1 chat, since a chat id alone doesn't
// tell a group from a person.
const SinglePrefix = "single:"

// Address is the chat as a delivery names it.
func (c Chat) Address() string {
	if c.Single {
		return SinglePrefix + c.ID
	}
	return c.ID
}

// noticeKeys are the texts that notices use, checked at start.
func noticeKeys() []string {
	return []string{
		"group.notice_empty", "group.notice_help", "group.notice_draft", "group.notice_incomplete", "group.notice_unread", "group.notice_replaced",
		"group.notice_none", "group.notice_which", "group.notice_need_no", "group.notice_unknown", "group.notice_confirmed", "group.notice_already",
		"group.notice_cancelled", "group.notice_cancelled_late", "group.notice_paused", "group.notice_resumed", "group.notice_endorsed",
		"group.notice_who_may", "group.notice_refused", "group.notice_progress", "group.notice_finished", "group.notice_endorse_due",
		"group.notice_stopped", "group.notice_calls_due", "group.notice_calls_head", "group.notice_calls_line", "group.notice_calls_more",
		"group.notice_calls_how", "group.notice_calls_phones", "group.notice_calls_none", "group.notice_calls_early", "group.notice_calling",
		"group.notice_called", "group.notice_call_how", "card.notice_note_missing", "card.notice_changed",
	}
}
