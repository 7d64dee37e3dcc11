package workgroup

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/notify"
)

// Verbs of the buttons of a notice's card.
const (
	keySend    = "nsend"
	keyDrop    = "ndrop"
	keyPause   = "npause"
	keyResume  = "nresume"
	keyEndorse = "nendorse"
	keyCalls   = "ncalls"
	keyLook    = "nlook"
)

// pressed maps a button to the command that does the same.
var pressed = map[string]Verb{keySend: VerbConfirm, keyDrop: VerbCancel, keyPause: VerbPause, keyResume: VerbResume, keyEndorse: VerbEndorse}

// noticeTask is the prefix of the task ids of notices' cards.
const noticeTask = "notice"

// Card draws the card of a notice as it is now. suffix makes its TaskID new:
// the id of the vendor call that sends it.
func (n *NoticeDesk) Card(ctx context.Context, companyID, noticeID, suffix string) (Card, error) {
	x, err := n.d.Notices.ByID(ctx, companyID, noticeID)
	if err != nil {
		return Card{}, fmt.Errorf("draw card: read notice: %w", err)
	}
	return n.draw(ctx, x, noticeTask+"-"+x.No+"-r0-"+safeID(suffix), "")
}

// noticeKey is the key of a button: what to do, with which notice, and what it
// said when the button was drawn. A draft can be revised elsewhere meanwhile,
// and nobody sends what he has not read.
func noticeKey(verb string, x notify.Notice) string {
	return verb + "." + x.No + "." + strconv.FormatInt(contentOf(x), 10)
}

// contentOf tells two wordings or audiences of a notice apart.
func contentOf(x notify.Notice) int64 {
	sum := crc32.NewIEEE()
	for _, part := range []string{x.Preview.SMS, x.Preview.Template, x.Place, strconv.Itoa(x.Audience.Households)} {
		_, _ = sum.Write([]byte(part + "\x00")) // a hash takes everything
	}
	return int64(sum.Sum32())
}

// click answers a press on a notice's card: what the button says is done if it
// still can be, and the card of the present state comes back in any case.
func (n *NoticeDesk) click(ctx context.Context, q *request, verb string, seen int64, taskID string) (Card, error) {
	x, err := n.d.Notices.ByNo(ctx, q.Chat.CompanyID, q.cmd.No)
	if isRefused(err, notify.RefusedNotFound) {
		return Card{}, fmt.Errorf("click on a card of no notice: %w", ErrUnknownCard)
	}
	if err != nil {
		return Card{}, fmt.Errorf("read notice: %w", err)
	}
	note := ""
	switch {
	case !q.known:
		note, err = n.say("group.unbound_member", "bot", q.BotName)
	case verb == keyCalls:
		note, err = n.pushCalls(ctx, q, x)
	case verb == keySend && x.State == notify.Drafted && seen != contentOf(x):
		note, err = n.showAgain(ctx, q, x)
	case pressed[verb] != "":
		q.cmd = Command{Verb: pressed[verb], Notice: x.No}
		x, note, err = n.move(ctx, q, x)
	}
	var refused *notify.Refused
	if errors.As(err, &refused) {
		note, err = n.refusal(ctx, q, refused)
	}
	if err != nil {
		return Card{}, err
	}
	return n.draw(ctx, x, taskID, note)
}

// pushCalls puts the call list below the card that was pressed.
func (n *NoticeDesk) pushCalls(ctx context.Context, q *request, x notify.Notice) (string, error) {
	text, err := n.callText(ctx, q, x)
	if err != nil {
		return "", err
	}
	return "", n.d.DB.InTx(ctx, "workgroup.notice_calls", func(ctx context.Context, tx *db.Tx) error {
		return n.sayTx(ctx, tx, q.Chat, x.ID, text)
	})
}

// showAgain puts the text below a card that was drawn before the text changed.
func (n *NoticeDesk) showAgain(ctx context.Context, q *request, x notify.Notice) (string, error) {
	q.cmd = Command{Verb: VerbNotice}
	text, err := n.draftText(q, x)
	if err != nil {
		return "", err
	}
	err = n.d.DB.InTx(ctx, "workgroup.notice_again", func(ctx context.Context, tx *db.Tx) error {
		return n.sayTx(ctx, tx, q.Chat, x.ID, text)
	})
	if err != nil {
		return "", fmt.Errorf("show a changed notice: %w", err)
	}
	return n.say("card.notice_changed")
}

func (n *NoticeDesk) draw(ctx context.Context, x notify.Notice, taskID, note string) (Card, error) {
	card := Card{TaskID: taskID, Title: cut(x.No+" "+titleOf(x)+" · "+x.Place, maxTitle), Urgent: true, Desc: cut(n.desc(x), maxDesc)}
	var p notify.Progress
	if x.State != notify.Drafted {
		var err error
		if p, err = n.d.Notices.Progress(ctx, x.CompanyID, x.ID); err != nil {
			return Card{}, fmt.Errorf("draw card: read progress: %w", err)
		}
		card.Rows = n.sentRows(x, p)
	} else {
		card.Rows = n.draftRows(x)
	}
	for i := range card.Rows {
		card.Rows[i] = Row{Key: cut(card.Rows[i].Key, maxKey), Value: cut(card.Rows[i].Value, maxValue)}
	}
	card.Buttons = n.noticeButtons(x, p)
	if note == "" && x.State == notify.Drafted && len(x.Problems) > 0 {
		var err error
		if note, err = n.say("card.notice_note_missing"); err != nil {
			return Card{}, err
		}
	}
	card.Note = cut(strings.Join(strings.Fields(note), " "), maxNote)
	return card, nil
}

// desc is the state, and what somebody must know about it.
func (n *NoticeDesk) desc(x notify.Notice) string {
	switch {
	case x.State == notify.Drafted && len(x.Problems) > 0:
		return "还不能发，缺 " + strconv.Itoa(len(x.Problems)) + " 项"
	case x.State == notify.Drafted && x.Emergency:
		return "紧急 · 确认后立即发出"
	default:
		return n.stateWord(x.State)
	}
}

func (n *NoticeDesk) rowWord(code string) string { return n.d.Book.Label("notice_card", code) }

func (n *NoticeDesk) draftRows(x notify.Notice) []Row {
	a := x.Audience
	rows := []Row{{n.rowWord("households"), fmt.Sprintf("%d 户 · %d 人", a.Households, a.People)}}
	if a.SMS > 0 || x.Segments > 0 {
		rows = append(rows, Row{n.rowWord("sms"), fmt.Sprintf("%d 个号码 · 每条计 %d 条", a.SMS, x.Segments)})
	}
	if a.Template > 0 {
		rows = append(rows, Row{n.rowWord("template"), fmt.Sprintf("%d 人关注", a.Template)})
	}
	if a.None > 0 {
		rows = append(rows, Row{n.rowWord("none"), fmt.Sprintf("%d 户（需电话或上门）", a.None)})
	}
	rows = append(rows, Row{n.rowWord("cost"), "约 " + Yuan(x.CostFen) + " 元"})
	if len(x.Problems) > 0 {
		rows = append(rows, Row{n.rowWord("missing"), n.missing(x.Problems)})
	}
	return rows
}

// missing names the fields that a draft lacks.
func (n *NoticeDesk) missing(list []notify.Problem) string {
	var names []string
	seen := map[string]bool{}
	for _, p := range list {
		field := fieldOf(p)
		if !seen[field] {
			seen[field] = true
			names = append(names, n.d.Book.Label("notice_field", field))
		}
	}
	return strings.Join(names, "、")
}

// fieldOf is the field that a problem is about: scope for scope.buildings.
func fieldOf(p notify.Problem) string {
	field, _, _ := strings.Cut(p.Field, ".")
	return field
}

func (n *NoticeDesk) sentRows(x notify.Notice, p notify.Progress) []Row {
	rows := []Row{{n.rowWord("reach"), fmt.Sprintf("%d/%d 户（%s%%）", p.Reach.Reached, p.Reach.Households, percent(p.Reach))}}
	for _, channel := range []string{ledger.ChannelSMS, ledger.ChannelTemplate} {
		if words := countWords(p.ByChannel[channel]); words != "" {
			rows = append(rows, Row{n.rowWord(channel), words})
		}
	}
	if rest := unreached(x, p); rest > 0 {
		rows = append(rows, Row{n.rowWord("left"), fmt.Sprintf("%d 户", rest)})
	}
	if x.ApproverName != "" {
		rows = append(rows, Row{n.rowWord("approver"), x.ApproverName + " " + clockOf(x.ApprovedAt)})
	}
	switch {
	case x.EndorserName != "":
		rows = append(rows, Row{n.rowWord("endorse"), x.EndorserName + " " + clockOf(x.EndorsedAt)})
	case x.EndorseDue:
		rows = append(rows, Row{n.rowWord("endorse"), "待部门负责人补批"})
	}
	return rows
}

// unreached counts the homes that a person must tell, once the messages are
// through.
func unreached(x notify.Notice, p notify.Progress) int {
	if x.State != notify.Finished {
		return 0
	}
	return p.Reach.Households - p.Reach.Reached - p.Reach.Called
}

func clockOf(t notify.Time) string {
	b, err := t.MarshalJSON()
	if err != nil || len(b) < 18 {
		return ""
	}
	return string(b[12:17]) // hours and minutes of the local time
}

// Yuan writes fen as yuan.
func Yuan(fen int) string { return fmt.Sprintf("%d.%02d", fen/100, fen%100) }

// noticeButtons offers what can be done in this state. A card must have one
// button at least.
func (n *NoticeDesk) noticeButtons(x notify.Notice, p notify.Progress) []Button {
	b := func(verb, word string, style Style) Button {
		return Button{Text: cut(n.rowWord(word), maxButton), Key: noticeKey(verb, x), Style: style}
	}
	var list []Button
	switch x.State {
	case notify.Drafted:
		if len(x.Problems) == 0 {
			list = append(list, b(keySend, "confirm", StylePrimary))
		}
		return append(list, b(keyDrop, "cancel", StylePlain))
	case notify.Approved:
		list = append(list, b(keyLook, "refresh", StylePrimary), b(keyDrop, "cancel", StylePlain))
	case notify.Sending:
		list = append(list, b(keyLook, "refresh", StylePrimary), b(keyPause, "pause", StylePlain))
	case notify.Paused:
		list = append(list, b(keyResume, "resume", StylePrimary), b(keyDrop, "cancel", StyleDanger), b(keyLook, "refresh", StylePlain))
	case notify.Finished:
		list = append(list, b(keyLook, "refresh", StylePlain))
		if unreached(x, p) > 0 {
			list = append([]Button{b(keyCalls, "calls", StylePrimary)}, list...)
		}
	default:
		return []Button{{Text: cut(n.stateWord(x.State), maxButton), Key: noticeKey(keyLook, x), Style: StyleGrey}}
	}
	if x.EndorseDue {
		list = append(list, b(keyEndorse, "endorse", StylePlain))
	}
	return list
}

// noticeNo tells whether a card's number is a notice's.
func noticeNo(no string) bool { return strings.HasPrefix(no, "T") }
