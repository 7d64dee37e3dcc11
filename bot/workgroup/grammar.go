package workgroup

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// MaxText is how long a command may be, in bytes of UTF-8. A resident's
// service message takes 2,048 bytes with the signature.
const MaxText = 2000

// Verb is what a member wants.
type Verb string

// Verbs of the work group (interfaces, section 3).
const (
	VerbHelp      Verb = "help"       // 帮助, and whatever isn't understood
	VerbShow      Verb = "show"       // #号 alone
	VerbClaim     Verb = "claim"      // 接单 #号
	VerbReply     Verb = "reply"      // #号 文字
	VerbNote      Verb = "note"       // #号 备注 文字
	VerbTransfer  Verb = "transfer"   // 转派 #号 队列名 原因
	VerbDone      Verb = "done"       // 完成 #号 措施
	VerbRecall    Verb = "recall"     // 撤回 #号
	VerbReturn    Verb = "return"     // 退单 #号 原因
	VerbPromise   Verb = "promise"    // 改期 #号 时间 原因
	VerbOverride  Verb = "override"   // 放行 #号 文字
	VerbApprove   Verb = "approve"    // 同意 #号
	VerbReject    Verb = "reject"     // 驳回 #号 原因
	VerbMine      Verb = "mine"       // 我的
	VerbWaiting   Verb = "waiting"    // 待接单
	VerbBindQueue Verb = "bind_queue" // 绑定 队列名
	VerbBindPhone Verb = "bind_phone" // 绑定 手机号
	VerbCode      Verb = "code"       // six digits alone
	VerbNotice    Verb = "notice"     // 通知 ...
	VerbConfirm   Verb = "confirm"    // 确认发送 [T号]
	VerbCancel    Verb = "cancel"     // 取消 [T号]
	VerbPause     Verb = "pause"      // 暂停 T号
	VerbResume    Verb = "resume"     // 继续 T号
	VerbEndorse   Verb = "endorse"    // 补批 T号
	VerbProgress  Verb = "progress"   // 进度 T号
	VerbCalls     Verb = "calls"      // 电话名单 T号
	VerbCalling   Verb = "calling"    // 我来打 T号 房号
	VerbCalled    Verb = "called"     // 已电话 T号 房号 结果
)

// Command is what a text says. Fields that the verb doesn't use are empty; a
// field that it needs and that is missing is empty, too, and the router says
// what to type.
type Command struct {
	Verb Verb
	// No is the digits after #, as typed: 1 or more of them, not checked.
	No string
	// Text is the words for the resident, the note, the measures, the notice,
	// or for VerbHelp what wasn't understood.
	Text string
	// Queue is the first word after 转派 or 绑定, Reason the rest.
	Queue, Reason string
	// Phone is what followed 绑定 when it looks like a number.
	Phone string
	// Code is six digits.
	Code string
	// Notice is the number of a notice, such as T0012; Unit the home behind it.
	Notice, Unit string
}

// verbs in the order in which they are tried: none is a prefix of an earlier one.
var verbs = []struct {
	word     string
	verb     Verb
	numbered bool // belongs to a case: may stand before or after its number
	alone    bool // stands alone: more words make it something else
	noticed  bool // belongs to a notice: its number may follow
}{
	{word: "接单", verb: VerbClaim, numbered: true},
	{word: "转派", verb: VerbTransfer, numbered: true},
	{word: "完成", verb: VerbDone, numbered: true},
	{word: "撤回", verb: VerbRecall, numbered: true},
	{word: "备注", verb: VerbNote, numbered: true},
	{word: "退单", verb: VerbReturn, numbered: true},
	{word: "改期", verb: VerbPromise, numbered: true},
	{word: "放行", verb: VerbOverride, numbered: true},
	{word: "同意", verb: VerbApprove, numbered: true},
	{word: "驳回", verb: VerbReject, numbered: true},
	{word: "我的", verb: VerbMine, alone: true},
	{word: "待接单", verb: VerbWaiting, alone: true},
	{word: "帮助", verb: VerbHelp, alone: true},
	{word: "绑定", verb: VerbBindQueue},
	{word: "通知", verb: VerbNotice},
	{word: "确认发送", verb: VerbConfirm, noticed: true},
	{word: "取消", verb: VerbCancel, noticed: true},
	{word: "暂停", verb: VerbPause, noticed: true},
	{word: "继续", verb: VerbResume, noticed: true},
	{word: "补批", verb: VerbEndorse, noticed: true},
	{word: "进度", verb: VerbProgress, noticed: true},
	{word: "电话名单", verb: VerbCalls, noticed: true},
	{word: "我来打", verb: VerbCalling, noticed: true},
	{word: "已电话", verb: VerbCalled, noticed: true},
}

// Parse reads what a member typed. name is the bot's display name; a mention
// of it is dropped wherever it stands, any other mention only at the head,
// since the vendor gives the text with a literal "@name" and no list of
// mentions. Full-width forms and invisible characters make no difference to
// what is recognised; words for people keep the form in which they were typed.
//
// Parse never fails: what it doesn't understand is VerbHelp with the text.
func Parse(text, name string) Command {
	rest := dropMentions(clean(text), name)
	if no, after, ok := cutNumber(rest); ok {
		return numbered(no, after)
	}
	for _, v := range verbs {
		after, ok := cutWord(rest, v.word)
		if !ok {
			continue
		}
		switch {
		case v.numbered:
			if no, tail, found := cutNumber(after); found {
				return withNumber(v.verb, no, tail)
			}
			if no, tail, found := cutBareNumber(after); found {
				return withNumber(v.verb, no, tail)
			}
			if !boundary(after) {
				continue // 完成了吗: a sentence, no command
			}
			return withNumber(v.verb, "", after)
		case v.alone:
			if strings.TrimFunc(after, skippable) != "" {
				continue
			}
			return Command{Verb: v.verb}
		case v.noticed:
			c, ok := ofNotice(v.verb, after)
			if !ok {
				continue // 继续努力: a sentence, no command
			}
			return c
		case v.verb == VerbBindQueue:
			return bind(after)
		default:
			return Command{Verb: v.verb, Text: strings.TrimFunc(after, unicode.IsSpace)}
		}
	}
	if code := fold(strings.TrimSpace(rest)); len(code) == 6 && digits(code) == 6 {
		return Command{Verb: VerbCode, Code: code}
	}
	return Command{Verb: VerbHelp, Text: strings.TrimSpace(rest)}
}

// numbered reads what follows a leading case number: a verb that belongs to a
// case, or words for the resident.
func numbered(no, rest string) Command {
	for _, v := range verbs {
		if !v.numbered {
			continue
		}
		after, ok := cutWord(rest, v.word)
		if !ok || !boundary(after) {
			continue
		}
		// 接单, 撤回 and 同意 take no words. With words behind them this is a
		// sentence for the resident that happens to begin like a command, and
		// doing the one thing while dropping the other would lose it.
		if (v.verb == VerbClaim || v.verb == VerbRecall || v.verb == VerbApprove) && strings.TrimFunc(after, skippable) != "" {
			continue
		}
		return withNumber(v.verb, no, after)
	}
	words := strings.TrimFunc(strings.TrimLeftFunc(rest, separator), unicode.IsSpace)
	if words == "" {
		return Command{Verb: VerbShow, No: no}
	}
	return Command{Verb: VerbReply, No: no, Text: words}
}

func withNumber(v Verb, no, rest string) Command {
	words := strings.TrimFunc(strings.TrimLeftFunc(rest, separator), unicode.IsSpace)
	c := Command{Verb: v, No: no}
	switch v {
	case VerbTransfer:
		c.Queue, c.Reason = firstWord(words)
	case VerbRecall, VerbApprove:
		// nothing more to read
	default:
		c.Text = words
	}
	return c
}

// ofNotice reads what follows the verb of a notice: nothing, or the notice's
// number and, where a home is called, the home and what came of it.
func ofNotice(v Verb, rest string) (Command, bool) {
	c := Command{Verb: v}
	rest = strings.TrimLeftFunc(rest, separator)
	if rest == "" {
		return c, true
	}
	no, rest, ok := cutNoticeNo(rest)
	if !ok {
		return c, false
	}
	c.Notice = no
	rest = strings.TrimFunc(strings.TrimLeftFunc(rest, separator), unicode.IsSpace)
	if v == VerbCalling || v == VerbCalled {
		c.Unit, c.Text = firstWord(rest)
		return c, true
	}
	// More words would be dropped unseen: 取消 T0012 的短信 is no command.
	return c, rest == ""
}

// cutNoticeNo cuts T and 4 or more digits off the head.
func cutNoticeNo(s string) (no, rest string, ok bool) {
	r, size := decode(s)
	if f := foldRune(r); size == 0 || f != 'T' && f != 't' {
		return "", "", false
	}
	no, rest, ok = cutDigits(s[size:])
	if !ok || len(no) < 4 || !boundary(rest) {
		return "", "", false
	}
	return "T" + no, rest, true
}

func bind(rest string) Command {
	words := strings.TrimFunc(strings.TrimLeftFunc(rest, separator), unicode.IsSpace)
	if n := digits(fold(words)); n >= 7 {
		return Command{Verb: VerbBindPhone, Phone: fold(words)}
	}
	return Command{Verb: VerbBindQueue, Queue: words}
}

// digits counts the ASCII digits of s, -1 when it holds anything but digits,
// spaces, hyphens and a plus sign.
func digits(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			n++
		case unicode.IsSpace(r) || r == '-' || r == '+':
		default:
			return -1
		}
	}
	return n
}

func firstWord(s string) (word, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '，' || r == ',' || r == '：' || r == ':' })
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimFunc(strings.TrimLeftFunc(s[i:], separator), unicode.IsSpace)
}

// fold gives the compatibility form: full-width digits and signs become plain.
func fold(s string) string { return norm.NFKC.String(s) }

// foldRune folds one rune, or returns it as it is when its form is longer than
// one rune: no sign of the grammar is.
func foldRune(r rune) rune {
	switch r {
	case '♯', '⌗':
		return '#'
	}
	if r < 0x80 {
		return r
	}
	folded := []rune(norm.NFKC.String(string(r)))
	if len(folded) != 1 {
		return r
	}
	return folded[0]
}

// cutWord cuts a word off the head, after spaces.
func cutWord(s, word string) (rest string, ok bool) {
	s = strings.TrimLeftFunc(s, skippable)
	for _, want := range word {
		r, size := decode(s)
		if size == 0 || foldRune(r) != want {
			return "", false
		}
		s = s[size:]
	}
	return s, true
}

// cutNumber cuts "#" and digits off the head, however # is written.
func cutNumber(s string) (no, rest string, ok bool) {
	s = strings.TrimLeftFunc(s, skippable)
	r, size := decode(s)
	if size == 0 || foldRune(r) != '#' {
		return "", "", false
	}
	s = s[size:]
	// A keycap "#️⃣" carries two more signs; a doubled ## is a slip.
	s = strings.TrimLeftFunc(s, func(r rune) bool { return r == '\u20e3' || foldRune(r) == '#' || skippable(r) })
	return cutDigits(s)
}

// cutBareNumber cuts 6 to 9 digits without "#" off the head: only behind a
// verb, where they can mean nothing else.
func cutBareNumber(s string) (no, rest string, ok bool) {
	no, rest, ok = cutDigits(strings.TrimLeftFunc(s, skippable))
	if !ok || len(no) < 6 || len(no) > 9 {
		return "", "", false
	}
	return no, rest, true
}

func cutDigits(s string) (no, rest string, ok bool) {
	var b strings.Builder
	for s != "" {
		r, size := decode(s)
		d := foldRune(r)
		if d < '0' || d > '9' {
			break
		}
		b.WriteRune(d)
		s = s[size:]
	}
	if b.Len() == 0 {
		return "", "", false
	}
	return b.String(), s, true
}

func decode(s string) (rune, int) {
	for _, r := range s {
		return r, len(string(r))
	}
	return 0, 0
}

// boundary tells whether a verb ends here.
func boundary(rest string) bool {
	r, size := decode(rest)
	return size == 0 || separator(r)
}

// separator is what may stand between the parts of a command.
func separator(r rune) bool {
	switch foldRune(r) {
	case ',', ':', ';', '、', '。', '.', '-', '—':
		return true
	}
	return unicode.IsSpace(r)
}

// skippable is what may stand before a part and means nothing.
func skippable(r rune) bool { return separator(r) }

// clean drops what cannot be seen: control and format characters, save line
// ends, tabs, and the joiner that holds one emoji together.
func clean(s string) string {
	rs := []rune(strings.ToValidUTF8(s, "\uFFFD"))
	var b strings.Builder
	b.Grow(len(s))
	for i, r := range rs {
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case r == '\u200d':
			if i > 0 && i+1 < len(rs) && joins(rs[i-1]) && joins(rs[i+1]) {
				b.WriteRune(r)
			}
		case r == '\ufe0f':
			if i > 0 && joins(rs[i-1]) {
				b.WriteRune(r)
			}
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co) || (r >= '\ufe00' && r <= '\ufe0e') || r == '\u034f' || r == '\u115f' || r == '\u1160' || r == '\u3164' || r == '\uffa0':
		default:
			b.WriteRune(r)
		}
	}
	return strings.TrimFunc(b.String(), unicode.IsSpace)
}

// joins tells whether r is part of an emoji.
func joins(r rune) bool {
	return unicode.In(r, unicode.So, unicode.Sk) || r == '\ufe0f' || (r >= 0x1f000 && r <= 0x1faff)
}

// dropMentions drops every mention of the bot, and any mention at the head.
func dropMentions(s, name string) string {
	if name != "" {
		s = dropName(s, name)
	}
	for {
		s = strings.TrimLeftFunc(s, skippable)
		r, size := decode(s)
		if size == 0 || foldRune(r) != '@' {
			return s
		}
		end := strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || foldRune(r) == '#' })
		if end < 0 {
			return ""
		}
		s = s[end:]
	}
}

// dropName drops "@name" wherever it stands as a word of its own: at its end
// must come a space, the end, or the sign of a number.
func dropName(s, name string) string {
	var b strings.Builder
	for s != "" {
		r, size := decode(s)
		if foldRune(r) == '@' {
			if rest, ok := cutName(s[size:], name); ok {
				b.WriteByte(' ')
				s = rest
				continue
			}
		}
		b.WriteString(s[:size])
		s = s[size:]
	}
	return strings.TrimFunc(b.String(), unicode.IsSpace)
}

func cutName(s, name string) (rest string, ok bool) {
	for _, want := range name {
		r, size := decode(s)
		if size == 0 || foldRune(r) != foldRune(want) {
			return "", false
		}
		s = s[size:]
	}
	r, size := decode(s)
	return s, size == 0 || separator(r) || foldRune(r) == '#' || foldRune(r) == '@' || startsVerb(s)
}

// startsVerb lets "@管家接单 #123456" pass: the space is easily forgotten.
func startsVerb(s string) bool {
	for _, v := range verbs {
		if _, ok := cutWord(s, v.word); ok {
			return true
		}
	}
	return false
}

// Numbers gives the case numbers that stand in a text as "#" and 6 to 9
// digits, each once, in order.
func Numbers(text string) []string {
	var out []string
	seen := map[string]bool{}
	for s := clean(text); s != ""; {
		no, rest, ok := cutNumber(s)
		if ok && len(no) >= 6 && len(no) <= 9 {
			if !seen[no] {
				seen[no] = true
				out = append(out, no)
			}
			s = rest
			continue
		}
		_, size := decode(s)
		s = s[size:]
	}
	return out
}
