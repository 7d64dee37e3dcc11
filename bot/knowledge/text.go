package knowledge

import (
	"slices"
	"strings"
	"unicode"
)

// Longest question that is read, in characters: its beginning and its end.
const (
	maxHead = 160
	maxTail = 80
)

// fold brings a text into the form that is compared: half-width, lower case,
// simplified, signs as single blanks, numbers as one 0, without emoji and
// invisible characters and without words of politeness.
func (r *reader) fold(s string) []rune {
	out := make([]rune, 0, min(len(s), 4*(maxHead+maxTail)))
	for _, x := range shorten(s) {
		x = r.plain(x)
		switch {
		case x < 0:
			continue
		case x == ' ' && (len(out) == 0 || out[len(out)-1] == ' '):
			continue
		case x == '0' && len(out) > 0 && out[len(out)-1] == '0':
			continue
		}
		out = append(out, x)
	}
	out = r.politeness(out)
	for len(out) > 0 && out[len(out)-1] == ' ' {
		out = out[:len(out)-1]
	}
	return out
}

// shorten keeps the beginning and the end of a very long text without decoding
// the middle.
func shorten(s string) string {
	const utf8Max = 4
	if len(s) <= (maxHead+maxTail)*utf8Max {
		return strings.ToValidUTF8(s, " ")
	}
	return strings.ToValidUTF8(s[:maxHead*utf8Max], " ") + " " + strings.ToValidUTF8(s[len(s)-maxTail*utf8Max:], " ")
}

// plain maps one character; negative for what is dropped.
func (r *reader) plain(x rune) rune {
	if x >= 0xff01 && x <= 0xff5e {
		x -= 0xfee0
	}
	if s, ok := r.simple[x]; ok {
		x = s
	}
	switch {
	case unicode.IsDigit(x):
		return '0'
	case unicode.IsLetter(x):
		return unicode.ToLower(x)
	case unicode.In(x, unicode.Cf, unicode.Mn, unicode.Me, unicode.Co, unicode.Cs):
		return -1
	case unicode.Is(unicode.So, x) || unicode.Is(unicode.Sk, x):
		return -1
	}
	return ' '
}

// politeness takes out what says nothing; a text of nothing else is kept.
func (r *reader) politeness(text []rune) []rune {
	out := make([]rune, 0, len(text))
	for i := 0; i < len(text); {
		n := r.fillers.longest(text[i:])
		if n == 0 {
			out = append(out, text[i])
			i++
			continue
		}
		i += n
		if len(out) > 0 && out[len(out)-1] != ' ' {
			out = append(out, ' ')
		}
	}
	if !slices.ContainsFunc(out, func(x rune) bool { return x != ' ' }) {
		return text
	}
	if out[0] == ' ' {
		out = out[1:]
	}
	return out
}

// trie finds listed words in a text.
type trie struct {
	next map[rune]*trie
	ids  []int
}

func (t *trie) add(word string, id int) {
	at := t
	for _, x := range word {
		if at.next == nil {
			at.next = map[rune]*trie{}
		}
		if at.next[x] == nil {
			at.next[x] = &trie{}
		}
		at = at.next[x]
	}
	if !slices.Contains(at.ids, id) {
		at.ids = append(at.ids, id)
	}
}

// longest is the length of the longest word at the beginning of text, 0 for none.
func (t *trie) longest(text []rune) int {
	n := 0
	for i, x := range text {
		if t = t.next[x]; t == nil {
			break
		}
		if len(t.ids) > 0 {
			n = i + 1
		}
	}
	return n
}

// span is a word found in a text.
type span struct {
	from, to int
	ids      []int
}

// find gives the words of a text that lie in no longer word.
func (t *trie) find(text []rune) []span {
	var out []span
	for i := range text {
		at, best := t, span{}
		for k := i; k < len(text); k++ {
			if at = at.next[text[k]]; at == nil {
				break
			}
			if len(at.ids) > 0 {
				best = span{i, k + 1, at.ids}
			}
		}
		if best.to == 0 || len(out) > 0 && best.to <= out[len(out)-1].to {
			continue
		}
		out = append(out, best)
	}
	return out
}
