package intent

import (
	"strings"
	"unicode"
)

// maxRunes bounds what is read of one message: its beginning and its end. The
// platform takes 2048 bytes, so real messages are read whole.
const (
	maxHead = 1600
	maxTail = 800
)

// normalise brings a message into the form in which the patterns are written:
// half-width, lower case, simplified, without emoji and invisible characters,
// white space and repeated signs folded. It returns runes, because all positions
// are counted in characters.
func (c *Classifier) normalise(s string) []rune {
	s = shorten(s)
	out := make([]rune, 0, len(s))
	for _, r := range s {
		r, ok := c.fold(r)
		if !ok {
			continue
		}
		if n := len(out); n > 0 && out[n-1] == r && (r == ' ' || isSign(r)) && r != '#' {
			continue
		}
		out = append(out, r)
	}
	return c.repair([]rune(strings.TrimSpace(string(out))))
}

// shorten keeps the beginning and the end of a very long text without decoding
// the middle.
func shorten(s string) string {
	const utf8Max = 4
	if len(s) <= (maxHead+maxTail)*utf8Max {
		return strings.ToValidUTF8(s, " ")
	}
	return strings.ToValidUTF8(s[:maxHead*utf8Max], " ") + "\n" + strings.ToValidUTF8(s[len(s)-maxTail*utf8Max:], " ")
}

// spaced says that a message is written with a blank after each character, which
// would hide every word of it.
func spaced(rs []rune) bool {
	alone := 0
	for i := 1; i+1 < len(rs); i++ {
		if rs[i] == ' ' && unicode.Is(unicode.Han, rs[i-1]) && unicode.Is(unicode.Han, rs[i+1]) && (i < 2 || rs[i-2] == ' ' || i == 1) {
			alone++
		}
	}
	return alone >= 2 && alone*3 >= len(rs)
}

func squeeze(rs []rune) []rune {
	out := make([]rune, 0, len(rs))
	for _, r := range rs {
		if r != ' ' {
			out = append(out, r)
		}
	}
	return out
}

// fold maps one character; ok is false for what is dropped.
func (c *Classifier) fold(r rune) (rune, bool) {
	switch {
	case r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029':
		return '\n', true
	case unicode.IsSpace(r) || r == '\u3000':
		return ' ', true
	case r >= 0xff01 && r <= 0xff5e:
		r -= 0xfee0
	}
	if s, ok := c.simple[r]; ok {
		return s, true
	}
	switch {
	case r < 0x20 || r == 0x7f, unicode.Is(unicode.Cf, r), unicode.Is(unicode.Mn, r), unicode.Is(unicode.Co, r):
		return 0, false
	case isEmoji(r):
		return ' ', true
	}
	return unicode.ToLower(r), true
}

func isEmoji(r rune) bool {
	return r >= 0x1f000 && r <= 0x1faff || r >= 0x2600 && r <= 0x27bf || r >= 0x2b00 && r <= 0x2bff || r >= 0x1f1e6 && r <= 0x1f1ff
}

func isSign(r rune) bool { return strings.ContainsRune(",.。!?、…~;:-—", r) }

// repair mends common misspellings, longest first, and keeps the length so that
// positions stay true.
func (c *Classifier) repair(rs []rune) []rune {
	for i := 0; i < len(rs); i++ {
		for _, t := range c.typos[rs[i]] {
			if hasAt(rs, i, t.wrong) {
				copy(rs[i:], t.right)
				i += len(t.wrong) - 1
				break
			}
		}
	}
	return rs
}

type typo struct{ wrong, right []rune }

func hasAt(rs []rune, i int, w []rune) bool {
	if i+len(w) > len(rs) {
		return false
	}
	for k, r := range w {
		if rs[i+k] != r {
			return false
		}
	}
	return true
}

// bare is the message without signs, brackets and closing particles, for lists
// of whole messages.
func bare(rs []rune) string {
	var b strings.Builder
	for _, r := range rs {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '#' {
			b.WriteRune(r)
		}
	}
	s := b.String()
	for range 3 {
		t := strings.TrimRight(s, "啊呀哦嗯呢吧哈啦了噢喔嘛咯哟")
		if t == "" {
			break
		}
		s = t
	}
	return s
}

// dialect is the text in standard words, longest dialect word first. Its length
// may differ.
func (c *Classifier) dialect(rs []rune) []rune {
	_, hits := c.local.hits(rs)
	if len(hits) == 0 {
		return rs
	}
	best := make(map[int]hit, len(hits))
	for _, h := range hits {
		if b, ok := best[h.start]; !ok || h.end > b.end {
			best[h.start] = h
		}
	}
	out := make([]rune, 0, len(rs)+8)
	for i := 0; i < len(rs); {
		h, ok := best[i]
		if !ok || latinInside(rs, h) {
			out = append(out, rs[i])
			i++
			continue
		}
		out = append(out, c.standard[h.word]...)
		i = h.end
	}
	return out
}

// latinInside says that a word of letters is only a part of a longer one.
func latinInside(rs []rune, h hit) bool {
	return isLetter(rs[h.start]) && (h.start > 0 && isLetter(rs[h.start-1]) || h.end < len(rs) && isLetter(rs[h.end]))
}

// spelt reads words in pinyin: 「dian ti kun ren」. A run of letters counts when at
// least one of its words has two syllables and no more than half of it stays
// unread, so that English passes as it is.
func (c *Classifier) spelt(rs []rune) []rune {
	var out []rune
	for i := 0; i < len(rs); {
		end := i
		for end < len(rs) && (isLetter(rs[end]) || rs[end] == ' ' && end > i) {
			end++
		}
		for end > i && rs[end-1] == ' ' {
			end--
		}
		if end-i < 4 {
			end = max(end, i+1)
			out = append(out, rs[i:end]...)
			i = end
			continue
		}
		if words, ok := c.syllables(rs[i:end]); ok {
			out = append(out, words...)
		} else {
			out = append(out, rs[i:end]...)
		}
		i = end
	}
	return out
}

func (c *Classifier) syllables(rs []rune) ([]rune, bool) {
	var letters []byte
	for _, r := range rs {
		if r != ' ' {
			letters = append(letters, byte(r))
		}
	}
	var out []rune
	long, unread := false, 0
	for i := 0; i < len(letters); {
		n := min(c.longestPinyin, len(letters)-i)
		for n > 0 && c.pinyin[string(letters[i:i+n])] == nil {
			n--
		}
		if n == 0 {
			unread++
			i++
			continue
		}
		w := c.pinyin[string(letters[i:i+n])]
		long = long || len(w) > 1
		out = append(out, w...)
		i += n
	}
	return out, long && unread*2 <= len(letters)
}
