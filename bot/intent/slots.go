package intent

import (
	"strings"
)

// slotReader reads the values said in a message. It works on normalised text.
type slotReader struct {
	words map[string][][]rune
}

func (b *builder) slotWords() {
	var lists map[string][]string
	b.read("slots.yaml", &lists)
	r := &slotReader{words: map[string][][]rune{}}
	for name, list := range lists {
		for _, w := range list {
			r.words[name] = append(r.words[name], []rune(w))
		}
	}
	b.c.slots = r
}

// saidValue is where a value stands and by which sign the character features
// see it.
type saidValue struct {
	start, end int
	sign       rune
}

func (s *slotReader) read(text []rune) (Slots, []saidValue) {
	phone, phoneAt := s.phone(text)
	caseNo, caseAt := s.caseNo(text)
	// A number that was read is no home as well.
	rest := masked(text, phoneAt, caseAt)
	out := Slots{Phone: phone, CaseNo: caseNo}
	out.Building, out.Entrance, out.Room = s.home(rest)
	out.Rating = s.rating(rest)
	var said []saidValue
	for _, st := range phoneAt {
		said = append(said, saidValue{st.start, st.end, signPhone})
	}
	for _, st := range caseAt {
		said = append(said, saidValue{st.start, st.end, signCase})
	}
	for _, m := range s.homes(rest) {
		said = append(said, saidValue{m.start, m.end, signHome})
	}
	return out, said
}

type stretch struct{ start, end int }

func masked(text []rune, lists ...[]stretch) []rune {
	out := append([]rune(nil), text...)
	for _, list := range lists {
		for _, st := range list {
			for i := st.start; i < st.end; i++ {
				out[i] = blank
			}
		}
	}
	return out
}

// phone reads the last mainland mobile that isn't denied, and where all stand.
func (s *slotReader) phone(text []rune) (string, []stretch) {
	var best string
	var places []stretch
	for i := 0; i < len(text); {
		p, end, ok := mobileAt(text, i)
		if !ok {
			i++
			continue
		}
		places = append(places, stretch{i, end})
		if !s.lookBack(text, i, 1, s.words["phone_denied_before"]) && !s.phoneGone(text, end) {
			best = p
		}
		i = end
	}
	return best, places
}

// phoneGone says that the number before is denied: 13800000001不用了; not that of
// 别打 with another number behind it.
func (s *slotReader) phoneGone(text []rune, end int) bool {
	for _, w := range s.words["phone_denied_after"] {
		for g := 0; g <= 4 && end+g < len(text); g++ {
			after := end + g + len(w)
			if hasAt(text, end+g, w) && !crosses(text[end:end+g]) && !(after < len(text) && (isAnyDigit(text[after]) || text[after] == '+') && strings.HasSuffix(string(w), "打")) {
				return true
			}
		}
	}
	return false
}

// mobileAt reads eleven digits in any writing with separators between them, and
// a country code before.
func mobileAt(text []rune, i int) (string, int, bool) {
	if i > 0 && (isAnyDigit(text[i-1]) || isAnyDigit(text[i]) && i > 1 && text[i-1] == '-' && isAnyDigit(text[i-2])) {
		return "", 0, false
	}
	at := i
	if text[at] == '+' {
		at++
	}
	for _, code := range []string{"0086", "86"} {
		if hasAt(text, at, []rune(code)) {
			if p, end, ok := elevenDigits(text, skipJoint(text, at+len(code))); ok {
				return p, end, true
			}
		}
	}
	if at != i {
		return "", 0, false
	}
	return elevenDigits(text, i)
}

func elevenDigits(text []rune, i int) (string, int, bool) {
	digits := make([]rune, 0, 11)
	at := i
	for at < len(text) && len(digits) < 11 {
		if isAnyDigit(text[at]) {
			digits = append(digits, text[at])
			at++
			continue
		}
		next := skipJoint(text, at)
		if len(digits) == 0 || next == at || next >= len(text) || !isAnyDigit(text[next]) {
			return "", 0, false
		}
		at = next
	}
	p := spokenDigits(digits)
	if len(p) != 11 || p[0] != '1' || p[1] < '3' || at < len(text) && isAnyDigit(text[at]) {
		return "", 0, false
	}
	return p, at, true
}

func isAnyDigit(r rune) bool {
	if isDigit(r) {
		return true
	}
	_, ok := cnDigit(r)
	return ok && r != '两'
}

// skipJoint passes the separators people put into a telephone number.
func skipJoint(text []rune, i int) int {
	n := 0
	for i < len(text) && n < 3 && strings.ContainsRune(" -.()_", text[i]) {
		i++
		n++
	}
	return i
}

// caseNo reads the last 6 to 9 digits that are said to be a case.
func (s *slotReader) caseNo(text []rune) (string, []stretch) {
	best := ""
	var places []stretch
	for i := 0; i < len(text); {
		if !isAnyDigit(text[i]) || i > 0 && isAnyDigit(text[i-1]) {
			i++
			continue
		}
		end := i
		for end < len(text) && isAnyDigit(text[end]) {
			end++
		}
		no := spokenDigits(text[i:end])
		if len(no) >= 6 && len(no) <= 9 && (s.saidAsCase(text, i, end) || len(places) > 0 && s.lookBack(text, i, 1, s.words["corrects_case"])) {
			places = append(places, stretch{i, end})
			if !s.deniedBefore(text, i) && !s.lookAhead(text, end, 4, s.words["denies_after"]) {
				best = no
			}
		}
		i = end
	}
	return best, places
}

func (s *slotReader) saidAsCase(text []rune, start, end int) bool {
	if s.lookBack(text, start, 6, s.words["not_case"]) {
		return false
	}
	if start > 0 && text[start-1] == '#' {
		return start < 2 || !isDigit(text[start-2])
	}
	if s.lookBack(text, start, 4, s.words["case_word"]) {
		return true
	}
	if s.lookBack(text, start, 10, s.words["case_word"]) && s.lookBack(text, start, 1, s.words["corrects_case"]) {
		return true
	}
	return s.lookAhead(text, end, 1, s.words["case_word_after"])
}

// rating reads a score of 1 to 5 by which the message answers. Of several the
// last counts; one off the scale, of another time or of another thing is none.
func (s *slotReader) rating(text []rune) int {
	if v, ok := s.scaleWord(text); ok {
		return v
	}
	best := 0
	for i := 0; i < len(text); {
		n, ok := numberAt(text, i)
		if !ok {
			i++
			continue
		}
		if v, ok := s.scoreAt(text, n); ok {
			best = v
		}
		i = n.end
	}
	return best
}

// scaleWord knows a message that is nothing but a step of the scale.
func (s *slotReader) scaleWord(text []rune) (int, bool) {
	switch bare(text) {
	case "非常满意", "很满意", "五星好评", "五星", "满分":
		return 5, true
	case "满意":
		return 4, true
	case "一般", "一般般":
		return 3, true
	case "不满意":
		return 2, true
	case "非常不满意", "很不满意":
		return 1, true
	}
	return 0, false
}

// scoreAt decides whether a number is a score.
func (s *slotReader) scoreAt(text []rune, n number) (int, bool) {
	v := 0
	switch {
	case len(n.rs) != 1:
		return 0, false
	case n.cn:
		num, ok := cnNumber(n.rs)
		if !ok {
			return 0, false
		}
		v = num
	default:
		v = int(n.rs[0] - '0')
	}
	if v < 1 || v > 5 {
		return 0, false
	}
	if n.start > 0 && (strings.ContainsRune(".-/#第点", text[n.start-1]) || isLetter(text[n.start-1])) {
		return 0, false
	}
	if n.start > 0 && text[n.start-1] == ':' && !s.lookBack(text, n.start-1, 0, s.words["rating_lead"]) {
		return 0, false
	}
	if n.end < len(text) && text[n.end] == '#' || s.lookBack(text, n.start, 0, s.words["denies_before"]) {
		return 0, false
	}
	clause := n.start
	for clause > 0 && !strings.ContainsRune(",。!?;", text[clause-1]) {
		clause--
	}
	if s.lookBack(text[clause:], n.start-clause, 6, s.words["not_rating_before"]) {
		return 0, false
	}
	rest := text[n.end:]
	switch {
	case onlySigns(rest):
		return v, onlySigns(text[:n.start]) || s.lookBack(text, n.start, 3, s.words["rating_lead"])
	case hasAt(rest, 0, []rune("星")):
		return v, s.lookAhead(text, n.end+1, 2, s.words["star_tail"]) || onlySigns(rest[1:]) || s.lookBack(text, n.start, 3, s.words["rating_lead"]) ||
			onlySigns(text[:n.start]) && len(rest) > 1 && strings.ContainsRune(",。! ~", rest[1])
	case hasAt(rest, 0, []rune("分")):
		return v, s.isScore(text, n)
	}
	return 0, false
}

// isScore tells 给3分 from 五分钟.
func (s *slotReader) isScore(text []rune, n number) bool {
	after := n.end + 1
	for _, w := range s.words["not_rating_after"] {
		if hasAt(text, after, w) {
			return false
		}
	}
	if s.lookBack(text, n.start, 3, s.words["rating_lead"]) {
		return true
	}
	clauseStart := n.start == 0 || strings.ContainsRune(",。!?; \n_…~", text[n.start-1])
	clauseEnd := after >= len(text) || strings.ContainsRune(",。!?; \n~…", text[after]) || hasAt(text, after, []rune("吧"))
	if hasAt(text, after, []rune("都嫌多")) {
		return true
	}
	return clauseStart && clauseEnd
}

func onlySigns(rs []rune) bool {
	for _, r := range rs {
		if isWordRune(r) && r != blank {
			return false
		}
	}
	return true
}

// addressOnly says that a message is nothing but a home.
func (s *slotReader) addressOnly(text []rune) bool {
	ms := s.homes(text)
	if len(ms) == 0 {
		return false
	}
	rest := masked(text, []stretch{{ms[0].start, ms[len(ms)-1].end}})
	left := strings.TrimFunc(string(rest), func(r rune) bool { return !isWordRune(r) || r == blank })
	for _, w := range s.words["address_filler"] {
		left = strings.ReplaceAll(left, string(w), "")
	}
	return onlySigns([]rune(left)) && (ms[0].building != "" || ms[0].room != "" && ms[0].entrance != "" || strings.Contains(string(text), "室"))
}
