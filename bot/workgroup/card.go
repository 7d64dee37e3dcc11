package workgroup

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/desk"
	"guanjia/internal/wording"
)

// Limits of a card in characters, as the vendor's apps show them (document
// 101032). Longer texts are cut here, with an ellipsis, rather than there.
const (
	maxTitle  = 26
	maxDesc   = 30
	maxNote   = 112
	maxKey    = 5
	maxValue  = 26
	maxRows   = 6
	maxButton = 10
)

// Card is a card in no chat system's form.
type Card struct {
	// TaskID names this card for the whole life of the bot: [0-9A-Za-z_@-], at
	// most 128 bytes, new for each card that is sent. A replacement carries the
	// TaskID of the card it replaces.
	TaskID  string
	Title   string
	Desc    string
	Note    string // a longer line under the title
	Rows    []Row
	Buttons []Button // 1 to 6
	Links   []Link   // at most 3
	// Urgent cards may use what is kept back of a chat's allowance.
	Urgent bool
	// CaseID, QueueID and Rev say what the card shows; Rev is the case's version.
	CaseID  string
	QueueID string
	Rev     int64
}

// Row is one line of a card.
type Row struct{ Key, Value string }

// Link leads out of the chat, to a page that asks who opens it.
type Link struct{ Text, URL string }

// Button is one button of a card. Its Key says what to do, to which case, seen
// in which state.
type Button struct {
	Text  string
	Key   string
	Style Style
}

// Style is how a button looks.
type Style int

// Styles.
const (
	StylePrimary Style = iota + 1
	StylePlain
	StyleDanger
	StyleGrey
)

// Cards draws cards from what the desk has now. A card that is drawn late
// shows the present state, never the one of the moment when it was planned.
type Cards struct {
	desk    Desk
	staff   Staff
	book    *wording.Book
	now     func() time.Time
	notices *NoticeDesk // nil where there are none
	link    func(caseNo string) string
	files   func(ctx context.Context, caseID string) (desk.Files, error)
}

// NewCards makes Cards; now is the product's clock.
func NewCards(d Desk, s Staff, b *wording.Book, now func() time.Time) *Cards {
	return &Cards{desk: d, staff: s, book: b, now: now}
}

// Case draws the card of a case. suffix makes its TaskID new: the id of the
// vendor call that sends it.
func (c *Cards) Case(ctx context.Context, caseID, suffix string) (Card, error) {
	found, err := c.desk.ByID(ctx, caseID)
	if err != nil {
		return Card{}, fmt.Errorf("draw card: read case: %w", err)
	}
	return c.draw(ctx, found, TaskID(found, suffix), "")
}

// TaskID is the id of a card that shows this state of a case.
func TaskID(c desk.Case, suffix string) string {
	id := "case-" + c.No + "-r" + strconv.FormatInt(c.Version, 10)
	if suffix = safeID(suffix); suffix != "" {
		id += "-" + suffix
	}
	return id
}

// safeID keeps what a task id may hold, at most 64 bytes of it.
func safeID(s string) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() == 64 {
			break
		}
		if r < 0x80 && (r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// draw makes the card; note, when there is one, is what just happened.
func (c *Cards) draw(ctx context.Context, k desk.Case, taskID, note string) (Card, error) {
	queueName, err := c.staff.QueueName(ctx, k.CompanyID, k.QueueID)
	if err != nil {
		return Card{}, fmt.Errorf("draw card: read queue: %w", err)
	}
	card := Card{
		TaskID:  taskID,
		Title:   c.title(k),
		Rows:    c.rows(k, queueName),
		CaseID:  k.ID,
		QueueID: k.QueueID,
		Rev:     k.Version,
		Urgent:  k.Emergency(),
	}
	card.Buttons = c.buttons(k)
	if c.link != nil {
		card.Links = []Link{{Text: c.book.Label("card", "open"), URL: c.link(k.No)}}
	}
	desc, err := c.desc(ctx, k)
	if err != nil {
		return Card{}, err
	}
	switch {
	case note != "" && runes(note) <= maxDesc:
		card.Desc = note
	case note != "":
		card.Desc, card.Note = desc, cut(note, maxNote)
	default:
		card.Desc = desc
	}
	return card, nil
}

// title is "#<no> <what> · <where>"; what gives way when it is too long.
func (c *Cards) title(k desk.Case) string {
	head, tail := "#"+k.No+" ", ""
	if where := c.where(k); where != "" {
		tail = " · " + where
	}
	room := maxTitle - runes(head) - runes(tail)
	if room < 2 {
		return cut(head+c.what(k)+tail, maxTitle)
	}
	return head + cut(c.what(k), room) + tail
}

// what names a matter in few words: the danger, or how the resident began.
func (c *Cards) what(k desk.Case) string {
	switch {
	case k.Danger != "":
		return c.book.Label("danger", k.Danger)
	case k.Summary != "":
		return oneLine(k.Summary)
	default:
		return c.book.Label("intent", k.Kind)
	}
}

// where is the place that the desk sends people to.
func (c *Cards) where(k desk.Case) string {
	if where := k.Where(c.book); where != "" {
		return where
	}
	return c.book.Label("card", "nowhere")
}

// desc is what stands below the title: that it is urgent, and what pictures and
// voice there are.
func (c *Cards) desc(ctx context.Context, k desk.Case) (string, error) {
	var parts []string
	if k.Emergency() {
		parts = append(parts, c.book.Label("priority", desk.PriorityEmergency))
	}
	if c.files != nil {
		n, err := c.files(ctx, k.ID)
		if err != nil {
			return "", fmt.Errorf("draw card: count files: %w", err)
		}
		words, err := desk.FilesWords(c.book, n)
		if err != nil {
			return "", err
		}
		if words != "" {
			parts = append(parts, words)
		}
	}
	return cut(strings.Join(parts, " · "), maxDesc), nil
}

func (c *Cards) rows(k desk.Case, queueName string) []Row {
	who := k.ResidentName
	if who == "" {
		who = c.book.Label("card", "nobody")
	}
	owner := k.OwnerName
	if owner == "" {
		owner = c.book.Label("card", "no_owner")
	}
	due := c.book.Label("card", "no_limit")
	if !k.PromisedAt.IsZero() {
		due = wording.When(k.PromisedAt, c.now())
	}
	rows := []Row{
		{c.book.Label("card", "reporter"), who},
		{c.book.Label("card", "due"), due},
		{c.book.Label("card", "queue"), queueName},
		{c.book.Label("card", "state"), c.book.Label("state", string(k.State))},
		{c.book.Label("card", "owner"), owner},
		{c.book.Label("card", "summary"), oneLine(k.Summary)},
	}
	for i := range rows {
		rows[i] = Row{Key: cut(rows[i].Key, maxKey), Value: cut(rows[i].Value, maxValue)}
	}
	return rows
}

// Verbs of buttons.
const (
	keyClaim    = "claim"
	keyTransfer = "transfer"
	keyDone     = "done"
	keyShow     = "show"
	keyList     = "list"
)

// buttons offers what can be done in this state. A card must have one button
// at least, so a case that is over shows its state on a grey one.
func (c *Cards) buttons(k desk.Case) []Button {
	b := func(verb, text string, style Style) Button {
		return Button{Text: cut(text, maxButton), Key: buttonKey(verb, k), Style: style}
	}
	switch {
	case k.State.Waiting():
		return []Button{
			b(keyClaim, c.book.Label("button", "claim"), StylePrimary),
			b(keyTransfer, c.book.Label("button", "transfer"), StylePlain),
		}
	case k.State.InHand():
		return []Button{
			b(keyDone, c.book.Label("button", "handle"), StylePrimary),
			b(keyTransfer, c.book.Label("button", "transfer"), StylePlain),
		}
	default:
		return []Button{b(keyShow, c.book.Label("state", string(k.State)), StyleGrey)}
	}
}

// buttonKey carries verb, case and revision: a replaced card keeps its TaskID,
// so only the keys can tell which state the member saw.
func buttonKey(verb string, k desk.Case) string {
	return verb + "." + k.No + "." + strconv.FormatInt(k.Version, 10)
}

// parseKey reads a button's key.
func parseKey(key string) (verb, no string, rev int64, ok bool) {
	if key == keyList {
		return keyList, "", 0, true
	}
	parts := strings.Split(key, ".")
	if len(parts) != 3 {
		return "", "", 0, false
	}
	rev, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || rev < 0 {
		return "", "", 0, false
	}
	return parts[0], parts[1], rev, true
}

// parseTaskID reads the number of a case or notice out of a card's TaskID.
func parseTaskID(id string) (no string, ok bool) {
	parts := strings.Split(id, "-")
	if len(parts) < 3 || parts[0] != "case" && parts[0] != noticeTask || !strings.HasPrefix(parts[2], "r") {
		return "", false
	}
	return parts[1], true
}

// Notice draws the card of a notice.
func (c *Cards) Notice(ctx context.Context, companyID, noticeID, suffix string) (Card, error) {
	if c.notices == nil {
		return Card{}, fmt.Errorf("draw card: this work group has no notices")
	}
	return c.notices.Card(ctx, companyID, noticeID, suffix)
}

// Digest draws one card for all that waits in a queue: it stands for the cards
// that a chat's allowance has no room for. It returns what it stands for:
// version by case id.
func (c *Cards) Digest(ctx context.Context, companyID, queueID, botName, suffix string) (Card, map[string]int64, error) {
	cases, err := c.desk.Waiting(ctx, companyID, queueID)
	if err != nil {
		return Card{}, nil, fmt.Errorf("draw digest: %w", err)
	}
	covered := map[string]int64{}
	for _, k := range cases {
		if !k.Emergency() { // an emergency always has a card of its own
			covered[k.ID] = k.Version
		}
	}
	card, err := c.list(ctx, companyID, queueID, cases, "list-"+safeID(suffix), botName)
	return card, covered, err
}

func (c *Cards) list(ctx context.Context, companyID, queueID string, cases []desk.Case, taskID, botName string) (Card, error) {
	queueName, err := c.staff.QueueName(ctx, companyID, queueID)
	if err != nil {
		return Card{}, fmt.Errorf("draw list: read queue: %w", err)
	}
	title, err := c.book.Say("card.list_title", wording.Vars{"queue": queueName, "count": strconv.Itoa(len(cases))})
	if err != nil {
		return Card{}, err
	}
	hint, err := c.book.Say("card.list_hint", wording.Vars{"bot": botName})
	if err != nil {
		return Card{}, err
	}
	card := Card{TaskID: taskID, Title: cut(title.String(), maxTitle), Note: cut(hint.String(), maxNote), QueueID: queueID}
	for i, k := range cases {
		if i == maxRows {
			break
		}
		card.Rows = append(card.Rows, Row{
			Key:   cut(c.book.Label("priority", k.Priority), maxKey),
			Value: cut("#"+k.No+" "+c.what(k)+" · "+c.where(k), maxValue),
		})
	}
	card.Buttons = []Button{{Text: cut(c.book.Label("card", "refresh"), maxButton), Key: keyList, Style: StylePlain}}
	return card, nil
}

func runes(s string) int { return len([]rune(s)) }

// cut shortens to n characters.
func cut(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	if n <= 1 {
		return string(r[:max(n, 0)])
	}
	return string(r[:n-1]) + "…"
}

// oneLine makes words of a resident harmless in a card or a list: one line,
// and no "#" that could be taken for a case number of ours.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(clean(s)), " ")
	return strings.Map(func(r rune) rune {
		if foldRune(r) == '#' {
			return '＃'
		}
		return r
	}, s)
}

// plain makes words harmless inside markdown as well.
func plain(s string) string {
	return markdownEscaper.Replace(oneLine(s))
}

var markdownEscaper = strings.NewReplacer(
	"<", "＜", ">", "＞", "[", "［", "]", "］", "(", "（", ")", "）", "*", "＊", "_", "＿", "`", "＇", "~", "～", "|", "｜", "\\", "＼", "!", "！",
)
