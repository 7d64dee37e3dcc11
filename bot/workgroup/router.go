package workgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// Deps is what a Router stands on.
type Deps struct {
	Desk    Desk
	Staff   Staff
	Book    *wording.Book
	Notices *NoticeDesk // nil where there are none: 通知 is answered with help
	// ValidCaseNo tells whether digits are a case number (6 to 9 with a right
	// check digit).
	ValidCaseNo func(string) bool
	Now         func() time.Time // the product's clock
	Log         *slog.Logger
	// CaseLink gives the address of a case's page; nil: cards have no link.
	CaseLink func(caseNo string) string
	// Files counts the pictures and voice of a case; nil: none are kept.
	Files func(ctx context.Context, caseID string) (desk.Files, error)
}

// Router turns what members say and press into acts of the desk. It is a
// Handler; safe for concurrent use. Rights are the desk's business: a refusal
// comes back as *desk.Refused and is put into words here.
type Router struct {
	Deps
	cards *Cards
}

// NewRouter makes a Router. It fails when a text is missing that it will need.
func NewRouter(d Deps) (*Router, error) {
	if err := d.Book.MustHave(keys()...); err != nil {
		return nil, fmt.Errorf("work group: %w", err)
	}
	cards := NewCards(d.Desk, d.Staff, d.Book, d.Now)
	cards.link, cards.files = d.CaseLink, d.Files
	cards.notices = d.Notices
	return &Router{Deps: d, cards: cards}, nil
}

// Cards gives the drawer of cards, which the channel's sender uses as well.
func (r *Router) Cards() *Cards { return r.cards }

var _ Handler = (*Router)(nil)

// request is one message on its way through the router.
type request struct {
	Message
	cmd     Command
	by      desk.By
	member  staff.Member
	known   bool
	queueID string // the group's queue; empty in a 1:1 chat or an unbound group
	kase    desk.Case
}

// Message answers a message of a member. A refusal is an answer, not an error;
// an error means that the outcome isn't known or nothing could be done, and the
// channel asks again later with Again set.
func (r *Router) Message(ctx context.Context, m Message) (Answer, error) {
	q := &request{Message: m, cmd: Parse(m.Text, m.BotName)}
	text, err := r.answer(ctx, q)
	var refused *desk.Refused
	if errors.As(err, &refused) {
		text, err = r.refusal(ctx, q, refused)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("work group command %s: %w", q.cmd.Verb, err)
	}
	if m.Images > 0 && text != "" {
		note, err := r.say("group.images_not_sent")
		if err != nil {
			return Answer{}, err
		}
		text += "\n" + note
	}
	return Answer{Text: text}, nil
}

func (r *Router) answer(ctx context.Context, q *request) (string, error) {
	if len(q.Text) > MaxText && q.cmd.Verb != VerbNotice {
		return r.say("group.too_long", "max", strconv.Itoa(MaxText/bytesOfHan))
	}
	if err := r.identify(ctx, q); err != nil {
		return "", err
	}
	switch q.cmd.Verb {
	case VerbBindPhone:
		return r.startBind(ctx, q)
	case VerbCode:
		m, err := r.Staff.ConfirmBind(ctx, q.Chat.CompanyID, q.From, q.cmd.Code)
		if err != nil {
			return "", err
		}
		return r.say("group.member_bound", "staff", m.Name, "role", r.Book.Label("role", m.Role))
	case VerbHelp:
		return r.help(q)
	}
	if !q.known {
		return r.say("group.unbound_member", "bot", q.BotName)
	}
	return r.act(ctx, q)
}

// Ways in, as the history of a case names them. What is done in the group is
// answered there; of what is done in a 1:1 chat the desk tells the group.
const (
	viaGroup  = "group"
	viaSingle = "wecom"
)

// identify finds out who speaks and which queue the group belongs to.
func (r *Router) identify(ctx context.Context, q *request) error {
	m, ok, err := r.Staff.Member(ctx, q.Chat.CompanyID, q.From)
	if err != nil {
		return fmt.Errorf("look up member: %w", err)
	}
	q.member, q.known = m, ok
	q.by = desk.By{CompanyID: q.Chat.CompanyID, UserID: m.UserID, Name: m.Name, Via: viaGroup}
	if q.Chat.Single {
		q.by.Via = viaSingle
		return nil
	}
	queueID, _, err := r.Staff.QueueOf(ctx, q.Chat)
	if err != nil {
		return fmt.Errorf("look up group: %w", err)
	}
	q.queueID = queueID
	return nil
}

func (r *Router) startBind(ctx context.Context, q *request) (string, error) {
	phone, ok := estate.NormalizePhone(q.cmd.Phone)
	if !ok {
		return "", &desk.Refused{Code: refusedBadPhone}
	}
	if err := r.Staff.StartBind(ctx, q.Chat.CompanyID, q.From, phone); err != nil {
		return "", err
	}
	return r.say("group.bind_code_sent", "bot", q.BotName, "phone_tail", phone[len(phone)-4:])
}

// act does what a known member wants.
func (r *Router) act(ctx context.Context, q *request) (string, error) {
	if q.cmd.Verb.ofNotices() {
		if r.Notices == nil {
			return r.help(q)
		}
		return r.Notices.answer(ctx, q)
	}
	switch q.cmd.Verb {
	case VerbBindQueue:
		return r.bindQueue(ctx, q)
	case VerbMine:
		return r.mine(ctx, q)
	case VerbWaiting:
		return r.waiting(ctx, q)
	}
	return r.caseCommand(ctx, q)
}

func (r *Router) bindQueue(ctx context.Context, q *request) (string, error) {
	if q.Chat.Single {
		return r.say("group.bind_in_group", "bot", q.BotName)
	}
	name, err := r.Staff.BindGroup(ctx, q.member, q.Chat, q.cmd.Queue)
	if err != nil {
		return "", err
	}
	return r.say("group.bound", "queue", name)
}

// help answers what isn't understood. Words that quote a case but name none
// are asked about, never sent (protocol 8.3: never guess).
func (r *Router) help(q *request) (string, error) {
	if quoted := r.quoted(q); quoted != "" && q.cmd.Text != "" {
		return r.say("group.quote_ask", "bot", q.BotName, "case_no", quoted)
	}
	text, err := r.say("group.help", "bot", q.BotName)
	if err != nil || r.Notices == nil {
		return text, err
	}
	more, err := r.say("group.notice_help")
	return text + "\n\n" + more, err
}

// quoted gives the one case number in the quoted words, if there is just one.
func (r *Router) quoted(q *request) string {
	var valid []string
	for _, no := range Numbers(q.Quote) {
		if r.ValidCaseNo(no) {
			valid = append(valid, no)
		}
	}
	if len(valid) != 1 {
		return ""
	}
	return valid[0]
}

// caseCommand does what belongs to one case.
func (r *Router) caseCommand(ctx context.Context, q *request) (string, error) {
	if q.cmd.No == "" {
		q.cmd.No = r.quoted(q) // a verb with a quoted case is explicit enough
	}
	if q.cmd.No == "" {
		return r.say("group.no_number")
	}
	if !r.ValidCaseNo(q.cmd.No) {
		return r.say("group.unknown_case")
	}
	if !q.Chat.Single && q.queueID == "" {
		return r.say("group.not_bound", "bot", q.BotName)
	}
	k, err := r.Desk.ByNo(ctx, q.Chat.CompanyID, q.cmd.No)
	if errors.Is(err, desk.ErrNotFound) {
		return r.say("group.unknown_case")
	}
	if err != nil {
		return "", fmt.Errorf("read case: %w", err)
	}
	q.kase = k
	done, err := r.alreadyDone(ctx, q)
	if err != nil {
		return "", err
	}
	if !done && !q.Chat.Single && k.QueueID != q.queueID {
		return r.say("group.other_group")
	}
	return r.onCase(ctx, q, done)
}

// onCase does what a command says to its case, or only answers when done says
// that an earlier attempt did it.
func (r *Router) onCase(ctx context.Context, q *request, done bool) (string, error) {
	switch q.cmd.Verb {
	case VerbShow:
		return r.line(q.kase)
	case VerbClaim:
		return r.claim(ctx, q)
	case VerbReply:
		return r.reply(ctx, q, done)
	case VerbNote:
		return r.note(ctx, q, done)
	case VerbTransfer:
		return r.transfer(ctx, q, done)
	case VerbDone:
		return r.finish(ctx, q, done)
	case VerbRecall:
		if !done {
			if _, err := r.Desk.Recall(ctx, q.by, q.kase.ID); err != nil {
				return "", err
			}
		}
		return r.say("group.recalled", "case_no", q.kase.No)
	case VerbReturn, VerbPromise, VerbOverride, VerbApprove, VerbReject:
		return r.lead(ctx, q, done)
	default:
		return r.help(q)
	}
}

// lead does what is rarer: giving a case back, a new date, and what a colleague
// or supervisor decides about words.
func (r *Router) lead(ctx context.Context, q *request, done bool) (string, error) {
	switch q.cmd.Verb {
	case VerbReturn:
		if q.cmd.Text == "" {
			return r.say("group.return_how", "case_no", q.kase.No, "bot", q.BotName)
		}
		if !done {
			if _, err := r.Desk.Return(ctx, q.by, q.kase.ID, q.cmd.Text); err != nil {
				return "", err
			}
		}
		return r.say("group.returned", "case_no", q.kase.No, "staff", q.by.Name, "reason", plain(q.cmd.Text))
	case VerbPromise:
		return r.promise(ctx, q, done)
	case VerbOverride:
		if q.cmd.Text == "" {
			return r.say("group.override_how", "case_no", q.kase.No, "bot", q.BotName)
		}
		if done {
			return r.say("group.sending", "case_no", q.kase.No)
		}
		k, hold, err := r.Desk.Override(ctx, q.by, q.kase.ID, q.cmd.Text)
		if err != nil {
			return "", err
		}
		return r.sending(k, hold)
	case VerbApprove:
		if !done {
			if _, _, err := r.Desk.Approve(ctx, q.by, q.kase.ID); err != nil {
				return "", err
			}
		}
		return r.say("group.draft_sent", "case_no", q.kase.No, "staff", q.by.Name)
	default:
		if !done {
			if _, err := r.Desk.Reject(ctx, q.by, q.kase.ID, q.cmd.Text); err != nil {
				return "", err
			}
		}
		return r.say("group.draft_refused", "case_no", q.kase.No, "staff", q.by.Name, "reason", plain(q.cmd.Text))
	}
}

// promise sets a new date; one that can't be read is asked for, never guessed.
func (r *Router) promise(ctx context.Context, q *request, done bool) (string, error) {
	at, reason, ok := parseWhen(q.cmd.Text, r.Now())
	if !ok {
		return r.say("group.promise_how", "case_no", q.kase.No, "bot", q.BotName)
	}
	if !done {
		if _, err := r.Desk.Promise(ctx, q.by, q.kase.ID, at, reason); err != nil {
			return "", err
		}
	}
	return r.say("group.promised", "case_no", q.kase.No, "staff", q.by.Name, "promised", wording.When(at, r.Now()))
}

func (r *Router) claim(ctx context.Context, q *request) (string, error) {
	k, err := r.Desk.Claim(ctx, q.by, q.kase.ID)
	if err != nil {
		return "", err
	}
	text, err := r.say("group.claimed", "case_no", k.No, "staff", q.by.Name)
	if err != nil || q.cmd.Text == "" {
		return text, err
	}
	// Words behind 接单 go nowhere, and whoever wrote them must know it.
	more, err := r.say("group.claim_words", "bot", q.BotName, "case_no", k.No)
	return text + "\n" + more, err
}

func (r *Router) reply(ctx context.Context, q *request, done bool) (string, error) {
	if q.member.Trainee {
		return r.draft(ctx, q, done)
	}
	if done {
		return r.say("group.sending", "case_no", q.kase.No)
	}
	k, hold, err := r.Desk.Reply(ctx, q.by, q.kase.ID, q.cmd.Text)
	if err != nil {
		return "", err
	}
	return r.sending(k, hold)
}

// sending says that words are on their way, and how long they can be recalled.
func (r *Router) sending(k desk.Case, hold time.Duration) (string, error) {
	if hold <= 0 {
		return r.say("group.sending", "case_no", k.No)
	}
	seconds := int64((hold + time.Second - 1) / time.Second)
	return r.say("group.hold", "case_no", k.No, "seconds", strconv.FormatInt(seconds, 10))
}

// draft shows a trainee's reply to the group; a colleague sends it or not
// drafts, never sends).
func (r *Router) draft(ctx context.Context, q *request, done bool) (string, error) {
	if !done {
		if _, err := r.Desk.Draft(ctx, q.by, q.kase.ID, q.cmd.Text); err != nil {
			return "", err
		}
	}
	return r.say("group.draft", "case_no", q.kase.No, "staff", q.by.Name, "text", plain(q.cmd.Text))
}

func (r *Router) note(ctx context.Context, q *request, done bool) (string, error) {
	if q.cmd.Text == "" {
		return r.say("group.note_how", "case_no", q.kase.No)
	}
	if !done {
		if _, err := r.Desk.Note(ctx, q.by, q.kase.ID, q.cmd.Text); err != nil {
			return "", err
		}
	}
	return r.say("group.noted", "case_no", q.kase.No)
}

func (r *Router) transfer(ctx context.Context, q *request, done bool) (string, error) {
	if q.cmd.Queue == "" || q.cmd.Reason == "" {
		return r.transferHow(ctx, q)
	}
	k := q.kase
	if !done {
		var err error
		if k, err = r.Desk.Transfer(ctx, q.by, q.kase.ID, q.cmd.Queue, q.cmd.Reason); err != nil {
			return "", err
		}
	}
	name, err := r.Staff.QueueName(ctx, k.CompanyID, k.QueueID)
	if err != nil {
		return "", fmt.Errorf("name queue: %w", err)
	}
	return r.say("group.transferred", "case_no", k.No, "queue", name, "staff", q.by.Name)
}

func (r *Router) transferHow(ctx context.Context, q *request) (string, error) {
	names, err := r.Staff.QueueNames(ctx, q.Chat.CompanyID)
	if err != nil {
		return "", err
	}
	return r.say("group.transfer_how", "case_no", q.kase.No, "queues", strings.Join(names, "、"))
}

func (r *Router) finish(ctx context.Context, q *request, done bool) (string, error) {
	if q.cmd.Text == "" {
		return r.say("group.need_measures", "case_no", q.kase.No)
	}
	if !done {
		if _, err := r.Desk.Handle(ctx, q.by, q.kase.ID, q.cmd.Text); err != nil {
			return "", err
		}
	}
	return r.say("group.handled", "case_no", q.kase.No, "staff", q.by.Name)
}

// eventOf is the kind of event that a verb leaves on its case.
var eventOf = map[Verb]desk.Action{
	VerbReply:    desk.ActionReply,
	VerbNote:     desk.ActionNote,
	VerbTransfer: desk.ActionTransfer,
	VerbDone:     desk.ActionHandle,
	VerbRecall:   desk.ActionRecall,
	VerbReturn:   desk.ActionReturn,
	VerbPromise:  desk.ActionPromise,
	VerbOverride: desk.ActionReply,
	VerbApprove:  desk.ActionApprove,
	VerbReject:   desk.ActionReject,
}

// alreadyDone tells whether an earlier attempt at this message came as far as
// the case's history: the message then does nothing more than answer. Only a
// message whose earlier attempt ended unknown asks. Claiming needs no asking,
// since it is the same twice.
func (r *Router) alreadyDone(ctx context.Context, q *request) (bool, error) {
	kind, acts := eventOf[q.cmd.Verb]
	if !q.Again || !acts {
		return false, nil
	}
	if q.member.Trainee && q.cmd.Verb == VerbReply {
		kind = desk.ActionDraft
	}
	events, err := r.Desk.Events(ctx, q.kase.ID)
	if err != nil {
		return false, fmt.Errorf("read history: %w", err)
	}
	for _, e := range events {
		if e.Kind != string(kind) || e.ByID != q.by.UserID || e.At.Before(q.At.Truncate(time.Microsecond)) {
			continue
		}
		if words := q.words(); words == "" || strings.HasSuffix(e.Text, words) {
			return true, nil
		}
	}
	return false, nil
}

// words is what a command leaves in the history.
func (q *request) words() string {
	if q.cmd.Verb == VerbTransfer {
		return q.cmd.Reason
	}
	switch q.cmd.Verb {
	case VerbRecall, VerbApprove, VerbPromise: // the last one's words are kept as a date
		return ""
	}
	return q.cmd.Text
}

// maxLines is how many cases one list shows.
const maxLines = 10

func (r *Router) mine(ctx context.Context, q *request) (string, error) {
	cases, err := r.Desk.Mine(ctx, q.by)
	if err != nil {
		return "", fmt.Errorf("list own cases: %w", err)
	}
	if len(cases) == 0 {
		return r.say("group.list_empty")
	}
	head, err := r.say("group.list_mine", "count", strconv.Itoa(len(cases)))
	if err != nil {
		return "", err
	}
	return r.list(head, cases)
}

func (r *Router) waiting(ctx context.Context, q *request) (string, error) {
	queues := []string{q.queueID}
	if q.Chat.Single {
		var err error
		if queues, err = r.Staff.QueuesOf(ctx, q.Chat.CompanyID, q.by.UserID); err != nil {
			return "", fmt.Errorf("look up queues: %w", err)
		}
	} else if q.queueID == "" {
		return r.say("group.not_bound", "bot", q.BotName)
	}
	var parts []string
	for _, id := range queues {
		part, err := r.waitingIn(ctx, q, id)
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return r.say("group.no_queue")
	}
	return strings.Join(parts, "\n\n"), nil
}

func (r *Router) waitingIn(ctx context.Context, q *request, queueID string) (string, error) {
	cases, err := r.Desk.Waiting(ctx, q.Chat.CompanyID, queueID)
	if err != nil {
		return "", fmt.Errorf("list waiting cases: %w", err)
	}
	name, err := r.Staff.QueueName(ctx, q.Chat.CompanyID, queueID)
	if err != nil {
		return "", fmt.Errorf("name queue: %w", err)
	}
	if len(cases) == 0 {
		return r.say("group.queue_empty", "queue", name)
	}
	head, err := r.say("group.list_of_queue", "queue", name, "count", strconv.Itoa(len(cases)))
	if err != nil {
		return "", err
	}
	return r.list(head, cases)
}

// list puts lines below a head. The lines are joined here and not by a text,
// since a text lets no "#" with digits through but that of its own case.
func (r *Router) list(head string, cases []desk.Case) (string, error) {
	lines := []string{head}
	for i, k := range cases {
		if i == maxLines {
			more, err := r.say("group.list_more", "count", strconv.Itoa(len(cases)-maxLines))
			if err != nil {
				return "", err
			}
			lines = append(lines, more)
			break
		}
		line, err := r.line(k)
		if err != nil {
			return "", err
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), nil
}

func (r *Router) line(k desk.Case) (string, error) {
	due := ""
	if !k.PromisedAt.IsZero() {
		due = wording.When(k.PromisedAt, r.Now())
	}
	return r.say("group.list_line", "case_no", k.No, "unit", plain(r.cards.where(k)), "summary", plain(r.cards.what(k)),
		"state", r.Book.Label("state", string(k.State)), "promised", due)
}

func (r *Router) say(key string, kv ...string) (string, error) {
	text, err := r.Book.Say(key, varsOf(kv))
	return text.String(), err
}

// bytesOfHan is what a Han character takes in UTF-8.
const bytesOfHan = 3

// refusals maps a rule's no to its words. A code that isn't here has words that
// name no detail.
var refusals = map[string]string{
	desk.RefusedUnknownCase:  "group.unknown_case",
	desk.RefusedUnbound:      "group.unbound_member",
	desk.RefusedNoRight:      "group.no_right",
	desk.RefusedTrainee:      "group.trainee_refused",
	desk.RefusedTaken:        "group.taken",
	desk.RefusedNotYours:     "group.not_yours",
	desk.RefusedNotClaimed:   "group.claim_first",
	desk.RefusedCapacity:     "group.capacity_full",
	desk.RefusedMeasures:     "group.need_measures",
	desk.RefusedText:         "group.need_text",
	desk.RefusedUnknownQueue: "group.queue_unknown",
	desk.RefusedSameQueue:    "group.queue_same",
	desk.RefusedHeld:         "group.held_phrase",
	desk.RefusedTooLong:      "group.too_long",
	desk.RefusedTooLate:      "group.recall_late",
	desk.RefusedUnreachable:  "group.unreachable",
	desk.RefusedExplain:      "group.need_explanation",
	desk.RefusedPromise:      "group.promise_time",
	desk.RefusedNoDraft:      "group.no_draft",
	refusedBadPhone:          "group.bind_bad_phone",
	refusedTooSoon:           "group.bind_too_soon",
	refusedNoCode:            "group.bind_no_code",
	refusedWrongCode:         "group.bind_wrong_code",
	refusedCodeExpired:       "group.member_code_expired",
	refusedNoSMS:             "group.bind_unavailable",
	refusedMayNotBind:        "group.bind_needs_right",
	refusedBindQueue:         "group.bind_unknown_queue",
}

// refusal puts a rule's no into words.
func (r *Router) refusal(ctx context.Context, q *request, refused *desk.Refused) (string, error) {
	key, ok := refusals[refused.Code]
	switch {
	case refused.Code == desk.RefusedState:
		// What cannot be done in this state depends on what was wanted.
		key = "group.closed_for_reply"
		if q.cmd.Verb == VerbClaim {
			key = "group.not_claimable"
		}
	case refused.Code == desk.RefusedNoRight && q.cmd.Verb == VerbOverride:
		key = "group.override_needs_right"
	case refused.Code == desk.RefusedReason:
		return r.transferHow(ctx, q)
	case refused.Code == desk.RefusedUnknownQueue:
		return r.unknownQueue(ctx, q, refused.Args["queue"])
	case !ok:
		r.Log.WarnContext(ctx, "refusal without words", slog.String("code", refused.Code))
		return r.say("group.refused")
	}
	owner := refused.Args["owner"]
	if owner == "" {
		owner = r.Book.Label("card", "colleague")
	}
	return r.say(key,
		"bot", q.BotName, "case_no", q.caseNo(), "by", owner,
		"state", r.Book.Label("state", q.state(refused)), "phrase", refused.Args["phrase"],
		"queue", plain(refused.Args["queue"]), "queues", refused.Args["queues"],
		"max", strconv.Itoa(maxReplyHan))
}

// maxReplyHan is how many Han characters of a reply surely fit beside the
// signature.
const maxReplyHan = 600

func (r *Router) unknownQueue(ctx context.Context, q *request, name string) (string, error) {
	names, err := r.Staff.QueueNames(ctx, q.Chat.CompanyID)
	if err != nil {
		return "", err
	}
	return r.say("group.queue_unknown", "queue", plain(name), "queues", strings.Join(names, "、"))
}

func (q *request) caseNo() string {
	if q.kase.No != "" {
		return q.kase.No
	}
	return q.cmd.No
}

func (q *request) state(refused *desk.Refused) string {
	if s := refused.Args["state"]; s != "" {
		return s
	}
	return string(q.kase.State)
}

// keys are the texts that the work group uses, checked at start.
func keys() []string {
	out := []string{
		"group.help", "group.bind_code_sent", "group.member_bound", "group.unbound_member", "group.bind_in_group", "group.bound",
		"group.quote_ask", "group.no_number", "group.unknown_case", "group.not_bound", "group.other_group", "group.claimed",
		"group.claim_words", "group.sending", "group.hold", "group.draft", "group.draft_sent", "group.draft_refused", "group.note_how",
		"group.noted", "group.transferred", "group.transfer_how", "group.need_measures", "group.handled", "group.recalled",
		"group.list_empty", "group.list_mine", "group.no_queue", "group.queue_empty", "group.list_of_queue", "group.list_more",
		"group.list_line", "group.too_long", "group.images_not_sent", "group.closed_for_reply", "group.not_claimable",
		"group.queue_unknown", "group.refused", "group.busy", "group.retrying", "group.gave_up", "group.click_lost", "group.stale_button", "group.hint",
		"group.returned", "group.return_how", "group.promised", "group.promise_how", "group.override_how", "group.override_needs_right",
		"card.files", "card.how_transfer", "card.how_done", "card.claimed", "card.list_title", "card.list_hint",
	}
	for _, key := range refusals {
		out = append(out, key)
	}
	return out
}

// Click answers a press on a button: it does what the button says if that can
// still be done, and in any case gives the card of the present state, so that
// a stale or doubled click only refreshes.
func (r *Router) Click(ctx context.Context, c Click) (Card, error) {
	verb, no, rev, ok := parseKey(c.Key)
	if !ok {
		if no, ok = parseTaskID(c.TaskID); !ok {
			return Card{}, fmt.Errorf("click on a card that isn't ours: %w", ErrUnknownCard)
		}
		verb = keyShow
	}
	q := &request{Message: Message{Chat: c.Chat, BotName: c.BotName, From: c.From, At: c.At}, cmd: Command{No: no}}
	if err := r.identify(ctx, q); err != nil {
		return Card{}, err
	}
	if verb == keyList {
		return r.refreshList(ctx, q, c.TaskID)
	}
	if r.Notices != nil && noticeNo(no) {
		return r.Notices.click(ctx, q, verb, rev, c.TaskID)
	}
	k, err := r.Desk.ByNo(ctx, c.Chat.CompanyID, no)
	if errors.Is(err, desk.ErrNotFound) {
		return Card{}, fmt.Errorf("click on a card of no case: %w", ErrUnknownCard)
	}
	if err != nil {
		return Card{}, fmt.Errorf("read case: %w", err)
	}
	q.kase = k
	note, err := r.press(ctx, q, verb, rev)
	var refused *desk.Refused
	if errors.As(err, &refused) {
		note, err = r.refusal(ctx, q, refused)
	}
	if err != nil {
		return Card{}, err
	}
	return r.cards.draw(ctx, q.kase, c.TaskID, note)
}

// ErrUnknownCard is returned for a click on a card that was never ours.
var ErrUnknownCard = errors.New("unknown card")

func (r *Router) refreshList(ctx context.Context, q *request, taskID string) (Card, error) {
	cases, err := r.Desk.Waiting(ctx, q.Chat.CompanyID, q.queueID)
	if err != nil {
		return Card{}, fmt.Errorf("list waiting cases: %w", err)
	}
	return r.cards.list(ctx, q.Chat.CompanyID, q.queueID, cases, taskID, q.BotName)
}

// press does what a button says and returns a note for the new card. rev is
// the state in which the member saw the case; what he wants is asked of the
// present one, so an old card can do no more than a new one.
func (r *Router) press(ctx context.Context, q *request, verb string, rev int64) (string, error) {
	if rev != q.kase.Version {
		r.Log.InfoContext(ctx, "click on an older card", slog.String("case_no", q.kase.No), slog.Int64("seen", rev), slog.Int64("now", q.kase.Version))
	}
	if !q.known {
		return "", &desk.Refused{Code: desk.RefusedUnbound}
	}
	if !q.Chat.Single && q.kase.QueueID != q.queueID {
		return r.say("group.other_group")
	}
	switch verb {
	case keyClaim:
		return r.pressClaim(ctx, q)
	case keyTransfer:
		if !q.kase.State.Open() {
			return "", nil
		}
		return r.say("card.how_transfer", "bot", q.BotName, "case_no", q.kase.No)
	case keyDone:
		if !q.kase.State.InHand() {
			return "", nil
		}
		return r.say("card.how_done", "bot", q.BotName, "case_no", q.kase.No)
	default:
		return "", nil
	}
}

// pressClaim claims. The second click of the one who has it changes nothing;
// whoever comes too late sees on the new card who was faster.
func (r *Router) pressClaim(ctx context.Context, q *request) (string, error) {
	k, err := r.Desk.Claim(ctx, q.by, q.kase.ID)
	if err == nil {
		q.kase = k
		return r.say("card.claimed", "staff", q.by.Name)
	}
	if now, readErr := r.Desk.ByNo(ctx, q.Chat.CompanyID, q.kase.No); readErr == nil {
		q.kase = now
	}
	return "", err
}
