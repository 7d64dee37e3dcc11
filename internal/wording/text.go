package wording

import (
	"fmt"
	"strings"
	"time"
)

// MaxReply is the longest text of a passive reply or a service message, in bytes
// of UTF-8 (WeChat: 2048, counted after signing).
const MaxReply = 2048

// MaxGroup is the longest text for a work group, in bytes of UTF-8 (WeCom
// markdown of an aibot: 20480).
const MaxGroup = 20480

// Text is checked wording, ready to leave the house. The zero Text says nothing.
type Text struct{ key, s string }

// String returns the words.
func (t Text) String() string { return t.s }

// Key names the template that the words came from, or "staff".
func (t Text) Key() string { return t.key }

// IsZero reports whether there are no words.
func (t Text) IsZero() bool { return t.s == "" }

// Vars are the values for the variables of a text.
type Vars map[string]string

// Sign says who speaks in a reply that staff typed. CaseNo is optional.
type Sign struct {
	Company string
	Name    string
	CaseNo  string
}

// ErrUnknownKey names a text that no file defines.
type ErrUnknownKey struct{ Key string }

func (e ErrUnknownKey) Error() string {
	return fmt.Sprintf("wording: no text %q; add it under templates/", e.Key)
}

// ErrMissingVar names a variable that was not filled: such a text is not sent
//
type ErrMissingVar struct{ Key, Var string }

func (e ErrMissingVar) Error() string {
	return fmt.Sprintf("wording: text %s: variable {%s} is empty", e.Key, e.Var)
}

// ErrBadVar names a variable whose value breaks a rule of its channel.
type ErrBadVar struct{ Key, Var, Rule string }

func (e ErrBadVar) Error() string {
	return fmt.Sprintf("wording: text %s: variable {%s}: %s", e.Key, e.Var, e.Rule)
}

// ErrHeld says that a text dismisses the resident and is held. Phrase
// comes from our own list, where it may be a pattern; Found is the passage as it
// was typed, for whoever typed it, and never part of the error's words.
type ErrHeld struct{ Phrase, Found string }

func (e ErrHeld) Error() string {
	return fmt.Sprintf("wording: held because of the phrase %q; rephrase it", e.Phrase)
}

// ErrTooLong says that a text exceeds what its channel takes. Chars is a
// cautious count of Han characters that still fit.
type ErrTooLong struct {
	Key        string
	Bytes, Max int
	Chars      int
}

func (e ErrTooLong) Error() string {
	return fmt.Sprintf("wording: text %s has %d bytes, at most %d are taken", e.Key, e.Bytes, e.Max)
}

// ErrEmpty says that nothing was left to say.
type ErrEmpty struct{ Key string }

func (e ErrEmpty) Error() string { return fmt.Sprintf("wording: text %s is empty", e.Key) }

// clean takes out what a chat must not carry: control characters, zero-width and
// direction marks. Newlines stay; \r\n becomes \n.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\r', r == '\u2028', r == '\u2029':
			return '\n'
		case r == '\t':
			return ' '
		case r < 0x20, r >= 0x7f && r <= 0x9f:
			return -1
		case r >= 0x200b && r <= 0x200f && r != 0x200d, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x2069, r == 0xfeff:
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// dropForeignNumbers takes the # away from what looks like a case number, so
// that no text of ours shows another # with 6 to 9 digits than its own.
func dropForeignNumbers(s string) string {
	if !strings.ContainsRune(s, '#') {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '#' && digitsAt(s, i+hashes(s, i)) >= 6 {
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func hashes(s string, i int) int {
	n := 0
	for i+n < len(s) && s[i+n] == '#' {
		n++
	}
	return n
}

func digitsAt(s string, i int) int {
	n := 0
	for i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '9' {
		n++
	}
	return n
}

// isCaseNo reports 6 to 9 digits.
func isCaseNo(s string) bool { n := digitsAt(s, 0); return n == len(s) && n >= 6 && n <= 9 }

func cut(s string, runes int) string {
	r := []rune(s)
	if runes <= 0 || len(r) <= runes {
		return s
	}
	return string(r[:runes-1]) + "…"
}

// zone is the only one in mainland China; its offset has been fixed since 1991.
func zone() *time.Location { return time.FixedZone("Asia/Shanghai", 8*3600) }

// When writes a moment as residents read it: 今天 14:00, 明天 09:00, and with
// date and weekday when it is more than two days away.
func When(at, now time.Time) string {
	at, now = at.In(zone()), now.In(zone())
	clock := at.Format("15:04")
	switch days(now, at) {
	case -1:
		return "昨天 " + clock
	case 0:
		return "今天 " + clock
	case 1:
		return "明天 " + clock
	case 2:
		return "后天 " + clock
	}
	day := fmt.Sprintf("%d月%d日（%s）", at.Month(), at.Day(), weekday(at))
	if at.Year() != now.Year() {
		day = fmt.Sprintf("%d年%s", at.Year(), day)
	}
	return day + " " + clock
}

// Day writes a day as residents read it: 11月30日.
func Day(at time.Time) string {
	at = at.In(zone())
	return fmt.Sprintf("%d月%d日", at.Month(), at.Day())
}

// Between writes a stretch of time: 今天 14:00 至 17:00, or both days in full.
func Between(from, to, now time.Time) string {
	if days(from.In(zone()), to.In(zone())) == 0 {
		return When(from, now) + " 至 " + to.In(zone()).Format("15:04")
	}
	return When(from, now) + " 至 " + When(to, now)
}

func days(a, b time.Time) int {
	midnight := func(t time.Time) time.Time {
		y, m, d := t.Date()
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	}
	return int(midnight(b).Sub(midnight(a)).Hours() / 24)
}

func weekday(t time.Time) string {
	return [...]string{"周日", "周一", "周二", "周三", "周四", "周五", "周六"}[t.Weekday()]
}
