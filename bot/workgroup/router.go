package workgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Deps is what a Router stands on.
type Deps struct {
	Desk    Desk
	Staff   Staff
	Queues  Queues
	Words   Words
	Notices Notices // nil while there are none: 通知 is answered with help
	// ValidCaseNo tells whether digits are a case number (6 to 9 with a right
	// check digit).
	ValidCaseNo func(string) bool
	Now         func() time.Time
	Log         *slog.Logger
}

// Router turns what members say and press into acts of the desk. It is a
// Handler; safe for concurrent use. Rights are the desk's business: a refusal
// comes back as *Refused and is put into words here.
type Router struct {
	Deps
	cards *Cards
}

// NewRouter makes a Router.
func NewRouter(d Deps) *Router {
	return &Router{Deps: d, cards: NewCards(d.Desk, d.Queues, d.Words, d.Now)}
}

// Cards gives the drawer of cards, which the channel's sender uses as well.
func (r *Router) Cards() *Cards { return r.cards }

var _ Handler = (*Router)(nil)

// request is one message on its way through the router.
type request struct {
	Message
	cmd     Command
	by      By
	member  Member
	known   bool
	queueID string // the group's queue; empty in a 1:1 chat or an unbound group
	kase    Case
}

// Message answers a message of a member. A refusal is an answer, not an error;
// an error means that the outcome isn't known or nothing could be done, and the
// channel asks again later with Again set.
func (r *Router) Message(ctx context.Context, m Message) (Answer, error) {
	q := &request{Message: m, cmd: Parse(m.Text, m.BotName)}
	text, err := r.answer(ctx, q)
	var refused *Refused
	if errors.As(err, &refused) {
		text, err = r.refusal(q, refused)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("work group command %s: %w", q.cmd.Verb, err)
	}
	if m.Images > 0 && text != "" {
		note, err := r.Words.Say("group.images_not_sent", nil)
		if err != nil {
			return Answer{}, err
		}
		text += "\n" + note
	}
	return Answer{Text: text}, nil
}

func (r *Router) answer(ctx context.Context, q *request) (string, error) {
	if len(q.Text) > MaxText && q.cmd.Verb != VerbNotice {
		return r.say("group.too_long", "bytes", strconv.Itoa(len(q.Text)), "max", strconv.Itoa(MaxText))
	}
	if err := r.identify(ctx, q); err != nil {
		return "", err
	}
	switch q.cmd.Verb {
	case VerbBindPhone:
		if err := r.Staff.StartBind(ctx, q.Chat.CompanyID, q.From, q.cmd.Phone); err != nil {
			return "", err
		}
		return r.say("group.bind_code_sent", "bot", q.BotName)
	case VerbCode:
		m, err := r.Staff.ConfirmBind(ctx, q.Chat.CompanyID, q.From, q.cmd.Code)
		if err != nil {
			return "", err
		}
		return r.say("group.bound_member", "staff", m.Name)
	case VerbHelp:
		return r.help(q)
	}
	if !q.known {
		return r.say("group.unbound", "bot", q.BotName)
	}
	return r.act(ctx, q)
}

// identify finds out who speaks and which queue the group belongs to.
func (r *Router) identify(ctx context.Context, q *request) error {
	m, ok, err := r.Staff.Member(ctx, q.Chat.CompanyID, q.From)
	if err != nil {
		return fmt.Errorf("look up member: %w", err)
	}
	q.member, q.known = m, ok
	q.by = By{CompanyID: q.Chat.CompanyID, UserID: m.UserID, Name: m.Name, Via: "group"}
	if q.Chat.Single {
		return nil
	}
	queueID, _, err := r.Staff.Group(ctx, q.Chat)
	if err != nil {
		return fmt.Errorf("look up group: %w", err)
	}
	q.queueID = queueID
	return nil
}

// act does what a known member wants.
func (r *Router) act(ctx context.Context, q *request) (string, error) {
	switch q.cmd.Verb {
	case VerbBindQueue:
		return r.bindQueue(ctx, q)
	case VerbNotice:
		if r.Notices == nil {
			return r.help(q)
		}
		a, err := r.Notices.Notice(ctx, q.by, q.Message, q.cmd.Text)
		return a.Text, err
	case VerbConfirm, VerbCancel:
		if r.Notices == nil {
			return r.help(q)
		}
		a, err := r.Notices.Confirm(ctx, q.by, q.Message, q.cmd.Verb == VerbConfirm)
		return a.Text, err
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
	if q.cmd.Queue == "" {
		return r.say("group.need_queue", "bot", q.BotName)
	}
	name, err := r.Staff.BindGroup(ctx, q.by, q.Chat, q.cmd.Queue)
	if err != nil {
		return "", err
	}
	return r.say("group.bound_queue", "queue", name)
}

// help answers what isn't understood. Words that quote a case but name none
// are asked about, never sent (protocol 8.3: never guess).
func (r *Router) help(q *request) (string, error) {
	if quoted := r.quoted(q); quoted != "" && q.cmd.Text != "" {
		return r.say("group.quote_ask", "bot", q.BotName, "case_no", quoted)
	}
	return r.say("group.help", "bot", q.BotName)
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
		return r.say("group.need_no", "bot", q.BotName, "command", commandWord(q.cmd.Verb))
	}
	if !r.ValidCaseNo(q.cmd.No) {
		return r.say("group.bad_no", "digits", cut(q.cmd.No, 12))
	}
	if !q.Chat.Single && q.queueID == "" {
		return r.say("group.group_unbound", "bot", q.BotName)
	}
	k, err := r.Desk.ByNo(ctx, q.Chat.CompanyID, q.cmd.No)
	if errors.Is(err, ErrNotFound) {
		return r.say("group.unknown_case", "digits", q.cmd.No)
	}
	if err != nil {
		return "", fmt.Errorf("read case: %w", err)
	}
	q.kase = k
	if !q.Chat.Single && k.QueueID != q.queueID {
		return r.otherGroup(ctx, k)
	}
	return r.onCase(ctx, q)
}

func (r *Router) otherGroup(ctx context.Context, k Case) (string, error) {
	name, err := r.Queues.Name(ctx, k.QueueID)
	if err != nil {
		return "", fmt.Errorf("name queue: %w", err)
	}
	return r.say("group.other_group", "case_no", k.No, "queue", name)
}

func (r *Router) onCase(ctx context.Context, q *request) (string, error) {
	done, err := r.alreadyDone(ctx, q)
	if err != nil {
		return "", err
	}
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
	default:
		return r.help(q)
	}
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
		return r.say("group.reply_taken", "case_no", q.kase.No)
	}
	k, hold, err := r.Desk.Reply(ctx, q.by, q.kase.ID, q.cmd.Text)
	if err != nil {
		return "", err
	}
	if hold <= 0 {
		return r.say("group.reply_taken", "case_no", k.No)
	}
	seconds := int64((hold + time.Second - 1) / time.Second)
	return r.say("group.reply_held", "case_no", k.No, "seconds", strconv.FormatInt(seconds, 10), "bot", q.BotName)
}

// draft keeps a trainee's reply inside, where a colleague can read and send it
// drafts, never sends).
func (r *Router) draft(ctx context.Context, q *request, done bool) (string, error) {
	prefix, err := r.say("group.trainee_note")
	if err != nil {
		return "", err
	}
	if !done {
		if _, err := r.Desk.Note(ctx, q.by, q.kase.ID, prefix+q.cmd.Text); err != nil {
			return "", err
		}
	}
	return r.say("group.trainee_draft", "bot", q.BotName, "case_no", q.kase.No)
}

func (r *Router) note(ctx context.Context, q *request, done bool) (string, error) {
	if q.cmd.Text == "" {
		return r.say("group.need_text", "bot", q.BotName, "case_no", q.kase.No)
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
		return r.say("group.need_transfer", "bot", q.BotName, "case_no", q.kase.No)
	}
	k := q.kase
	if !done {
		var err error
		if k, err = r.Desk.Transfer(ctx, q.by, q.kase.ID, q.cmd.Queue, q.cmd.Reason); err != nil {
			return "", err
		}
	}
	name, err := r.Queues.Name(ctx, k.QueueID)
	if err != nil {
		return "", fmt.Errorf("name queue: %w", err)
	}
	return r.say("group.transferred", "case_no", k.No, "queue", name)
}

func (r *Router) finish(ctx context.Context, q *request, done bool) (string, error) {
	if q.cmd.Text == "" {
		return r.say("group.need_measures", "bot", q.BotName, "case_no", q.kase.No)
	}
	if !done {
		if _, err := r.Desk.Handle(ctx, q.by, q.kase.ID, q.cmd.Text); err != nil {
			return "", err
		}
	}
	return r.say("group.handled", "case_no", q.kase.No, "staff", q.by.Name)
}

// eventOf is the kind of event that a verb leaves on its case.
var eventOf = map[Verb]string{
	VerbReply:    "reply",
	VerbNote:     "note",
	VerbTransfer: "transfer",
	VerbDone:     "handle",
	VerbRecall:   "recall",
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
		kind = "note"
	}
	events, err := r.Desk.Events(ctx, q.kase.ID)
	if err != nil {
		return false, fmt.Errorf("read history: %w", err)
	}
	for _, e := range events {
		if e.Kind != kind || e.ByID != q.by.UserID || e.At.Before(q.At.Truncate(time.Microsecond)) {
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
	if q.cmd.Verb == VerbRecall {
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
		return r.say("group.mine_none", "staff", q.by.Name)
	}
	lines, err := r.lines(cases)
	if err != nil {
		return "", err
	}
	return r.say("group.mine", "staff", q.by.Name, "count", strconv.Itoa(len(cases)), "list", lines)
}

func (r *Router) waiting(ctx context.Context, q *request) (string, error) {
	queues := []string{q.queueID}
	if q.Chat.Single {
		var err error
		if queues, err = r.Staff.QueuesOf(ctx, q.Chat.CompanyID, q.by.UserID); err != nil {
			return "", fmt.Errorf("look up queues: %w", err)
		}
	} else if q.queueID == "" {
		return r.say("group.group_unbound", "bot", q.BotName)
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
		return r.say("group.no_queue", "staff", q.by.Name)
	}
	return strings.Join(parts, "\n\n"), nil
}

func (r *Router) waitingIn(ctx context.Context, q *request, queueID string) (string, error) {
	cases, err := r.Desk.Waiting(ctx, q.Chat.CompanyID, queueID)
	if err != nil {
		return "", fmt.Errorf("list waiting cases: %w", err)
	}
	name, err := r.Queues.Name(ctx, queueID)
	if err != nil {
		return "", fmt.Errorf("name queue: %w", err)
	}
	if len(cases) == 0 {
		return r.say("group.waiting_none", "queue", name)
	}
	lines, err := r.lines(cases)
	if err != nil {
		return "", err
	}
	return r.say("group.waiting", "queue", name, "count", strconv.Itoa(len(cases)), "list", lines)
}

func (r *Router) lines(cases []Case) (string, error) {
	var lines []string
	for i, k := range cases {
		if i == maxLines {
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

func (r *Router) line(k Case) (string, error) {
	owner := k.OwnerName
	if owner == "" {
		owner = r.Words.Name("card", "no_owner")
	}
	return r.say("group.line",
		"case_no", k.No, "what", plain(cut(r.cards.what(k), maxValue)), "where", plain(r.cards.where(k)),
		"state", r.Words.Name("state", string(k.State)), "owner", plain(owner))
}

func (r *Router) say(key string, kv ...string) (string, error) {
	vars := make(map[string]string, len(kv)/2)
	for i := 0; i+1 < len(kv); i += 2 {
		vars[kv[i]] = kv[i+1]
	}
	return r.Words.Say(key, vars)
}

// refusals maps a rule's no to its words; a code that isn't here has words
// that name no detail.
var refusals = map[string]struct {
	key  string
	vars []string
}{
	"unknown_case":         {"group.unknown_case", []string{"digits"}},
	"unbound_member":       {"group.unbound", []string{"bot"}},
	"no_right":             {"group.no_right", []string{"case_no"}},
	"trainee":              {"group.trainee", []string{"case_no"}},
	"taken":                {"group.taken", []string{"case_no", "owner"}},
	"not_yours":            {"group.not_yours", []string{"case_no", "owner"}},
	"not_claimed":          {"group.not_claimed", []string{"case_no", "bot"}},
	"state":                {"group.wrong_state", []string{"case_no", "state"}},
	"capacity":             {"group.capacity", []string{"case_no"}},
	"need_measures":        {"group.need_measures", []string{"case_no", "bot"}},
	"need_text":            {"group.need_text", []string{"case_no", "bot"}},
	"need_reason":          {"group.need_transfer", []string{"case_no", "bot"}},
	"unknown_queue":        {"group.unknown_queue", []string{"queue"}},
	"same_queue":           {"group.same_queue", []string{"case_no", "queue"}},
	"held_phrase":          {"group.held_phrase", []string{"case_no", "phrase"}},
	"too_long":             {"group.too_long_signed", []string{"case_no"}},
	"too_late":             {"group.too_late", []string{"case_no"}},
	"resident_unreachable": {"group.resident_unreachable", []string{"case_no"}},
	"bad_phone":            {"group.bad_phone", nil},
	"no_code":              {"group.no_code", []string{"bot"}},
	"wrong_code":           {"group.wrong_code", nil},
	"code_expired":         {"group.code_expired", []string{"bot"}},
	"too_soon":             {"group.too_soon", nil},
	"may_not_bind":         {"group.may_not_bind", nil},
}

func (r *Router) refusal(q *request, refused *Refused) (string, error) {
	words, ok := refusals[refused.Code]
	if !ok {
		r.Log.Warn("refusal without words", slog.String("code", refused.Code))
		return r.say("group.refused")
	}
	var kv []string
	for _, name := range words.vars {
		kv = append(kv, name, r.refusalVar(q, refused, name))
	}
	return r.say(words.key, kv...)
}

func (r *Router) refusalVar(q *request, refused *Refused, name string) string {
	switch name {
	case "bot":
		return q.BotName
	case "case_no":
		if q.kase.No != "" {
			return q.kase.No
		}
		return q.cmd.No
	case "digits":
		return cut(q.cmd.No, 12)
	case "queue":
		if refused.Args["queue"] != "" {
			return plain(refused.Args["queue"])
		}
		return plain(q.cmd.Queue)
	case "state":
		return r.Words.Name("state", refused.Args["state"])
	default:
		return plain(refused.Args[name])
	}
}

// commandWord is what a member types for a verb.
func commandWord(v Verb) string {
	for _, w := range verbs {
		if w.verb == v {
			return w.word
		}
	}
	return ""
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
	k, err := r.Desk.ByNo(ctx, c.Chat.CompanyID, no)
	if err != nil {
		return Card{}, fmt.Errorf("read case: %w", err)
	}
	q.kase = k
	note, err := r.press(ctx, q, verb, rev)
	var refused *Refused
	if errors.As(err, &refused) {
		note, err = r.refusal(q, refused)
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
	return r.cards.list(ctx, q.queueID, cases, taskID)
}

// press does what a button says and returns a note for the new card. rev is
// the state in which the member saw the case; what he wants is asked of the
// present one, so an old card can do no more than a new one.
func (r *Router) press(ctx context.Context, q *request, verb string, rev int64) (string, error) {
	if rev != q.kase.Version {
		r.Log.InfoContext(ctx, "click on an older card", slog.String("case_no", q.kase.No), slog.Int64("seen", rev), slog.Int64("now", q.kase.Version))
	}
	if !q.known {
		return "", &Refused{Code: "unbound_member"}
	}
	if !q.Chat.Single && q.kase.QueueID != q.queueID {
		return r.otherGroup(ctx, q.kase)
	}
	switch verb {
	case keyClaim:
		return r.pressClaim(ctx, q)
	case keyTransfer:
		if !q.kase.State.Open() {
			return "", nil
		}
		return r.say("group.click_transfer", "bot", q.BotName, "case_no", q.kase.No)
	case keyDone:
		if !q.kase.State.InHand() {
			return "", nil
		}
		return r.say("group.click_done", "bot", q.BotName, "case_no", q.kase.No)
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
		return r.say("group.claimed", "case_no", k.No, "staff", q.by.Name)
	}
	if now, readErr := r.Desk.ByNo(ctx, q.Chat.CompanyID, q.kase.No); readErr == nil {
		q.kase = now
	}
	return "", err
}
