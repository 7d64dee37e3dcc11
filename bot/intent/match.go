package intent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Gaps of the pattern language, in characters. No gap crosses a full stop.
const (
	farGap   = 20
	wideGap  = 8
	shortGap = 3
)

// matcher finds many words at once (Aho-Corasick) and from them the patterns.
//
// A pattern is words and {classes} in order. Between them * lets up to 8
// characters pass, ** up to 20 and ~ up to 3, none across the end of a sentence; without
// them the parts touch. ^ and $ bind to the beginning and the end of the message.
type matcher struct {
	nodes    []node
	words    [][]rune
	index    map[string]int // word -> id
	classes  map[string][]int
	patterns []pattern
	byFirst  map[int][]int // word id -> patterns that may begin with it
	inner    map[int]bool  // word ids that stand behind the first part of a pattern

	names    []string // classes by number
	memberOf [][]int  // word id -> numbers of its classes, filled by build
}

type node struct {
	next map[rune]int
	fail int
	out  []int // word ids that end here
}

type pattern struct {
	parts []patPart
	begin bool // ^
	end   bool // $
}

type patPart struct {
	words []int
	gap   int // what may stand before it
}

func newMatcher(classes map[string][]string) (*matcher, error) {
	m := &matcher{nodes: []node{{}}, index: map[string]int{}, classes: map[string][]int{}, byFirst: map[int][]int{}, inner: map[int]bool{}}
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		for _, w := range classes[name] {
			if w == "" {
				return nil, fmt.Errorf("class %s holds an empty word", name)
			}
			m.classes[name] = append(m.classes[name], m.word(w))
		}
	}
	return m, nil
}

// word enters a word and returns its id.
func (m *matcher) word(w string) int {
	if id, ok := m.index[w]; ok {
		return id
	}
	id := len(m.words)
	m.index[w] = id
	m.words = append(m.words, []rune(w))
	at := 0
	for _, r := range w {
		n, ok := m.nodes[at].next[r]
		if !ok {
			n = len(m.nodes)
			m.nodes = append(m.nodes, node{})
			if m.nodes[at].next == nil {
				m.nodes[at].next = map[rune]int{}
			}
			m.nodes[at].next[r] = n
		}
		at = n
	}
	m.nodes[at].out = append(m.nodes[at].out, id)
	return id
}

// pattern compiles one pattern and returns its id.
func (m *matcher) pattern(src string) (int, error) {
	p := pattern{}
	rest := src
	if strings.HasPrefix(rest, "^") {
		p.begin, rest = true, rest[1:]
	}
	if strings.HasSuffix(rest, "$") {
		p.end, rest = true, rest[:len(rest)-1]
	}
	gap := 0
	for rest != "" {
		switch rest[0] {
		case '*', '~':
			switch {
			case strings.HasPrefix(rest, "**"):
				gap, rest = farGap, rest[2:]
			case rest[0] == '*':
				gap, rest = wideGap, rest[1:]
			default:
				gap, rest = shortGap, rest[1:]
			}
			continue
		case '{':
			name, tail, ok := strings.Cut(rest[1:], "}")
			ids := m.classes[name]
			if !ok || len(ids) == 0 {
				return 0, fmt.Errorf("pattern %q: no class %q", src, name)
			}
			p.parts = append(p.parts, patPart{words: ids, gap: gap})
			rest = tail
		default:
			i := strings.IndexAny(rest, "*~{")
			if i < 0 {
				i = len(rest)
			}
			p.parts = append(p.parts, patPart{words: []int{m.word(rest[:i])}, gap: gap})
			rest = rest[i:]
		}
		gap = 0
	}
	if len(p.parts) == 0 {
		return 0, fmt.Errorf("pattern %q is empty", src)
	}
	id := len(m.patterns)
	m.patterns = append(m.patterns, p)
	for _, w := range p.parts[0].words {
		m.byFirst[w] = append(m.byFirst[w], id)
	}
	for _, part := range p.parts[1:] {
		for _, w := range part.words {
			m.inner[w] = true
		}
	}
	return id, nil
}

// build links the automaton; no word may be entered afterwards.
func (m *matcher) build() {
	m.names = slices.Sorted(maps.Keys(m.classes))
	m.memberOf = make([][]int, len(m.words))
	for n, name := range m.names {
		for _, w := range m.classes[name] {
			m.memberOf[w] = append(m.memberOf[w], n)
		}
	}
	queue := []int{0}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, r := range slices.Sorted(maps.Keys(m.nodes[at].next)) {
			n := m.nodes[at].next[r]
			queue = append(queue, n)
			if at == 0 {
				continue
			}
			f := m.nodes[at].fail
			for f != 0 && !m.has(f, r) {
				f = m.nodes[f].fail
			}
			if to, ok := m.nodes[f].next[r]; ok && to != n {
				m.nodes[n].fail = to
			}
			m.nodes[n].out = append(m.nodes[n].out, m.nodes[m.nodes[n].fail].out...)
		}
	}
}

func (m *matcher) has(n int, r rune) bool {
	_, ok := m.nodes[n].next[r]
	return ok
}

// found is the set of patterns that match a text, one bit each.
type found []uint64

func (f found) has(id int) bool { return f[id>>6]&(1<<(id&63)) != 0 }

func (f found) add(id int) { f[id>>6] |= 1 << (id & 63) }

// anyOf says that one of the patterns matches.
func (f found) anyOf(patterns []int) bool {
	for _, id := range patterns {
		if f.has(id) {
			return true
		}
	}
	return false
}

// anyOfClass says that a word of the class was found.
func (m *matcher) anyOfClass(hits []hit, class string) bool {
	n, ok := slices.BinarySearch(m.names, class)
	if !ok {
		return false
	}
	for _, h := range hits {
		if slices.Contains(m.memberOf[h.word], n) {
			return true
		}
	}
	return false
}

// hit is one word at a place.
type hit struct{ word, start, end int }

// find returns all patterns that match. Time is linear in the text for the
// words, and bounded per hit for the patterns.
func (m *matcher) find(text []rune) found {
	got, _ := m.findAll(text)
	return got
}

// findAll returns the words as well, in the order of their ends.
func (m *matcher) findAll(text []rune) (found, []hit) {
	byWord, order := m.hits(text)
	frame := frameOf(text)
	got := make(found, len(m.patterns)/64+1)
	for _, h := range order {
		for _, id := range m.byFirst[h.word] {
			if !got.has(id) && m.matches(id, h, byWord, frame) {
				got.add(id)
			}
		}
	}
	return got, order
}

func (m *matcher) hits(text []rune) (map[int][]hit, []hit) {
	byWord := map[int][]hit{}
	var order []hit
	at := 0
	for i, r := range text {
		for at != 0 && !m.has(at, r) {
			at = m.nodes[at].fail
		}
		at = m.nodes[at].next[r]
		for _, w := range m.nodes[at].out {
			h := hit{word: w, start: i + 1 - len(m.words[w]), end: i + 1}
			if m.inner[w] {
				byWord[w] = append(byWord[w], h)
			}
			order = append(order, h)
		}
	}
	return byWord, order
}

// textFrame says where a message really begins and ends, without signs and
// closing particles, and where its sentences end.
type textFrame struct {
	begin, end int
	stops      []int
}

func frameOf(text []rune) textFrame {
	f := textFrame{end: len(text), stops: sentenceEnds(text)}
	for f.begin < len(text) && !isWordRune(text[f.begin]) {
		f.begin++
	}
	for f.end > f.begin && (!isWordRune(text[f.end-1]) || strings.ContainsRune("啊呀哦呢哈啦噢喔咯哟", text[f.end-1])) {
		f.end--
	}
	return f
}

func isWordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// sentenceEnds counts the ends of sentences before each position.
func sentenceEnds(text []rune) []int {
	stops := make([]int, len(text)+1)
	for i, r := range text {
		stops[i+1] = stops[i]
		if r == '。' || r == '!' || r == '?' || r == '\n' || r == ';' {
			stops[i+1]++
		}
	}
	return stops
}

func (m *matcher) matches(id int, first hit, byWord map[int][]hit, t textFrame) bool {
	p := m.patterns[id]
	stops := t.stops
	if p.begin && first.start > t.begin {
		return false
	}
	if len(p.parts) == 1 {
		return !p.end || first.end >= t.end
	}
	ends := []int{first.end}
	for _, part := range p.parts[1:] {
		var next []int
		for _, e := range ends {
			for _, w := range part.words {
				for _, h := range byWord[w] {
					if h.start < e || h.start > e+part.gap || stops[h.start] != stops[e] || slices.Contains(next, h.end) {
						continue
					}
					next = append(next, h.end)
				}
			}
		}
		if len(next) == 0 {
			return false
		}
		ends = next
	}
	return !p.end || slices.Max(ends) >= t.end
}
