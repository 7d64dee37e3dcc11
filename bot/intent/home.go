package intent

import (
	"slices"
	"strings"
)

// mention is one home, or a part of one, said in a message.
type mention struct {
	building, entrance, room string
	start, end               int
	gateLike                 bool // 四门 without more: an entrance only beside another part
	speaker                  bool
	other                    bool // the home above, opposite, next door
	deniedBefore             bool
	deniedAfter              bool
}

// homes finds all mentions from left to right.
func (s *slotReader) homes(text []rune) []mention {
	var out []mention
	for i := 0; i < len(text); {
		m, ok := s.homeAt(text, i)
		if !ok {
			i++
			continue
		}
		if !s.excluded(text, m) {
			from := 0
			if len(out) > 0 {
				from = out[len(out)-1].end
			}
			out = append(out, s.judge(text, m, from))
		}
		i = m.end
	}
	return s.joined(text, dropGates(out))
}

// dropGates removes 四门 where nothing else of a home is said.
func dropGates(ms []mention) []mention {
	solid := false
	for _, m := range ms {
		solid = solid || !m.gateLike
	}
	if solid {
		return ms
	}
	return nil
}

// joined puts a room and the building behind it together: 五零三(十栋).
func (s *slotReader) joined(text []rune, ms []mention) []mention {
	for i := 0; i+1 < len(ms); i++ {
		a, b := &ms[i], &ms[i+1]
		onlyRoom := a.room != "" && a.building == "" && a.entrance == ""
		between := strings.Trim(string(text[a.end:b.start]), " ,([")
		if onlyRoom && b.building != "" && b.room == "" && between == "" && b.start-a.end <= 2 {
			b.room, b.start = a.room, a.start
			b.speaker = b.speaker || a.speaker
			return s.joined(text, append(ms[:i:i], ms[i+1:]...))
		}
	}
	return ms
}

// homeAt tries the writings of a home at one place, the longest first.
func (s *slotReader) homeAt(text []rune, i int) (mention, bool) {
	if i > 0 && (isDigit(text[i-1]) && isDigit(text[i]) || isLetter(text[i-1]) && (isLetter(text[i]) || isDigit(text[i])) || isCN(text[i-1]) && isCN(text[i])) {
		return mention{}, false
	}
	for _, try := range []func([]rune, int) (mention, bool){labelled, compact, s.worded, s.entranceFirst, s.roomAlone} {
		if m, ok := try(text, i); ok {
			return m, true
		}
	}
	return mention{}, false
}

// labelled reads 楼号7 and 单元2, the label before the number. It begins at the
// number.
func labelled(text []rune, i int) (mention, bool) {
	n, ok := numberAt(text, i)
	if !ok {
		return mention{}, false
	}
	at := i
	for at > 0 && strings.ContainsRune(": 是为", text[at-1]) && i-at < 2 {
		at--
	}
	v, ok := n.ordinal()
	if !ok || len(v) > 2 || n.end < len(text) && (isSeparator(text[n.end]) || isLetter(text[n.end])) || hasUnit(text, n.end) {
		return mention{}, false
	}
	ends := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool {
			rs := []rune(w)
			return at >= len(rs) && hasAt(text, at-len(rs), rs)
		})
	}
	switch {
	case hasAt(text, n.end, []rune("单元")) || hasAt(text, n.end, []rune("栋")) || hasAt(text, n.end, []rune("号楼")):
		return mention{}, false
	case ends("楼号", "栋号", "楼栋", "楼栋号", "幢号"):
		return mention{building: v, start: i, end: n.end}, true
	case ends("单元号") || ends("单元") && at != i && (at < 3 || !isDigit(text[at-3]) && !isCN(text[at-3])):
		return mention{entrance: v, start: i, end: n.end}, true
	case ends(",单元", " 单元"):
		return mention{entrance: v, start: i, end: n.end}, true
	}
	return mention{}, false
}

// block reads the number of a building: 3, 十二, a, b2, k1.
func block(text []rune, i int) (string, int, bool) {
	if i < len(text) && isLetter(text[i]) {
		end := i + 1
		for end < len(text) && isDigit(text[end]) && end-i < 3 {
			end++
		}
		if end < len(text) && (isLetter(text[end]) || isDigit(text[end])) {
			return "", 0, false
		}
		return strings.ToUpper(string(text[i:end])), end, true
	}
	n, ok := numberAt(text, i)
	if !ok {
		return "", 0, false
	}
	v, ok := n.ordinal()
	return v, n.end, ok
}

func isSeparator(r rune) bool { return strings.ContainsRune("-/.#_杠", r) }

// compact reads 3-2-1201, 3#2-1201, 3/2/1201, 3.2.1201, 3 2 1201 and 3-1201.
func compact(text []rune, i int) (mention, bool) {
	if i > 0 && (isSeparator(text[i-1]) || isDigit(text[i-1])) {
		return mention{}, false
	}
	b, at, ok := block(text, i)
	if !ok || at-i > 3 || !isLetter(text[i]) && !isCN(text[i]) && at-i > 2 {
		return mention{}, false
	}
	first, at, ok := separator(text, at)
	if !ok {
		return mention{}, false
	}
	n, ok := numberAt(text, at)
	if !ok {
		return mention{}, false
	}
	letter := isLetter(text[i])
	if e, ok := n.ordinal(); ok && len(e) <= 2 && (n.cn || len(n.rs) <= 2) {
		second, at, ok := separator(text, n.end)
		if !ok || (first == ' ') != (second == ' ') {
			return mention{}, false
		}
		r, end, ok := roomAt(text, at)
		if !ok || first == ' ' && !closed(text, end) {
			return mention{}, false
		}
		return mention{building: b, entrance: e, room: r, start: i, end: end}, true
	}
	// Two parts: only with a hyphen or #, and never for letters, which name
	// parking spaces.
	r, end, ok := roomAt(text, at)
	if !ok || letter || first != '-' && first != '#' || len(b) > 2 {
		return mention{}, false
	}
	return mention{building: b, room: r, start: i, end: end}, true
}

// separator reads one separator with blanks around it.
func separator(text []rune, i int) (rune, int, bool) {
	at := i
	for at < len(text) && text[at] == ' ' {
		at++
	}
	if at < len(text) && isSeparator(text[at]) {
		sep := text[at]
		at++
		if sep == '#' && at < len(text) && text[at] == '-' {
			at++ // 10#-2-703
		}
		for at < len(text) && text[at] == ' ' {
			at++
		}
		return sep, at, true
	}
	return ' ', at, at > i && at < len(text)
}

// roomAt reads a room of three or four digits, perhaps with a letter, that no
// further digit or unit follows.
func roomAt(text []rune, i int) (string, int, bool) {
	n, ok := numberAt(text, i)
	if !ok {
		return "", 0, false
	}
	r, ok := n.room()
	if !ok {
		// 14B: a floor and a letter.
		if n.cn || len(n.rs) > 2 || n.end >= len(text) || !strings.ContainsRune("abcdeh", text[n.end]) {
			return "", 0, false
		}
		r = string(n.rs)
	}
	end := n.end
	if end < len(text) && isLetter(text[end]) && !(end+1 < len(text) && isLetter(text[end+1])) {
		r += strings.ToUpper(string(text[end]))
		end++
	}
	if end < len(text) && (isDigit(text[end]) || isSeparator(text[end]) && end+1 < len(text) && isDigit(text[end+1])) {
		return "", 0, false
	}
	if hasUnit(text, end) {
		return "", 0, false
	}
	for _, w := range []string{"号房", "室", "房", "号"} {
		if hasAt(text, end, []rune(w)) && !hasAt(text, end, []rune("房东")) && !hasAt(text, end, []rune("房租")) && !hasAt(text, end, []rune("号楼")) {
			return r, end + len([]rune(w)), true
		}
	}
	return r, end, true
}

// hasUnit says that a number counts something.
func hasUnit(text []rune, i int) bool {
	for _, w := range []string{"元", "块", "毛", "路", "米", "斤", "公斤", "克", "度", "年", "月", "天", "分", "人", "平", "次", "件", "个", "户", "点", "时", "秒", "升", "瓦", "%", "层", "栋", "岁", "楼", "名", "台", "条", "张", "页", "步", "转", "折", "集", "期", "兆", "w", "k", "只", "多", "来块", "号线", "公里", "万", "亿", "寸", "式", "块钱", ":", "款", "班", "届"} {
		if hasAt(text, i, []rune(w)) {
			return true
		}
	}
	return false
}

func closed(text []rune, i int) bool { return i >= len(text) || !isDigit(text[i]) }

// worded reads 三栋二单元1201, b座, 3号楼506, 16#405, and what follows.
func (s *slotReader) worded(text []rune, i int) (mention, bool) {
	b, at, ok := block(text, i)
	if !ok {
		return mention{}, false
	}
	for at < len(text) && text[at] == ' ' {
		at++
	}
	end, ok := s.buildingWord(text, i, at)
	if !ok {
		return mention{}, false
	}
	m := mention{building: b, start: i, end: end}
	m.entrance, m.room, m.end = s.rest(text, end)
	return m, true
}

// buildingWord checks the word behind the number of a building.
func (s *slotReader) buildingWord(text []rune, start, at int) (int, bool) {
	word := ""
	for _, w := range []string{"号楼", "号栋", "#楼", "#栋", "栋", "幢", "橦", "座", "动", "懂", "洞", "冻", "撞", "#"} {
		if hasAt(text, at, []rune(w)) {
			word = w
			break
		}
	}
	end := at + len([]rune(word))
	switch word {
	case "":
		return 0, false
	case "#":
		return end, at-start <= 2 && hashIsBuilding(text, end)
	case "动", "懂", "洞", "冻", "撞":
		return end, isHomePart(text, end)
	case "座", "栋", "幢":
		if quantity(text, start, end, word) {
			return 0, false
		}
	}
	return end, true
}

// hashIsBuilding tells 16#405 from 92# petrol and 3# lift.
func hashIsBuilding(text []rune, i int) bool {
	n, ok := numberAt(text, i)
	if ok {
		if _, isRoom := n.room(); isRoom && closed(text, n.end) {
			return true
		}
		return isHomePart(text, i)
	}
	return i >= len(text) || strings.ContainsRune(" ,。楼", text[i])
}

// isHomePart says that an entrance or a room follows.
func isHomePart(text []rune, i int) bool {
	n, ok := numberAt(text, i)
	if !ok {
		return i < len(text) && text[i] == '楼'
	}
	if _, ok := n.room(); ok {
		return true
	}
	_, ok = entranceWord(text, n.end)
	return ok || n.end < len(text) && isSeparator(text[n.end])
}

// quantity tells 两座楼 and 一栋楼没睡 from the building 一栋.
func quantity(text []rune, start, end int, word string) bool {
	n := string(text[start : end-len([]rune(word))])
	n = strings.TrimSpace(n)
	if end < len(text) && text[end] != '楼' && isHomePart(text, end) {
		return false
	}
	if n == "两" || start > 0 && strings.ContainsRune("这那哪每整几好有共", text[start-1]) {
		return true
	}
	if end >= len(text) || text[end] != '楼' {
		return word == "座" && (end < len(text) && strings.ContainsRune("位山桥塔城椅沙车轿房坟庙亭", text[end]) ||
			slices.ContainsFunc([]string{"大山", "大桥", "的车", "的观光", "的沙发", "电动", "小山", "商务"}, func(w string) bool { return hasAt(text, end, []rune(w)) }) ||
			start > 0 && strings.ContainsRune("排车厢", text[start-1]))
	}
	if n == "一" || word == "座" {
		return true
	}
	for _, w := range []string{"都", "之间", "中间", "当中", "的人", "全", "没", "里的", "一起"} {
		if hasAt(text, end+1, []rune(w)) {
			return true
		}
	}
	return false
}

// skip passes what may stand between the parts of a home.
func skip(text []rune, i int) int {
	for i < len(text) && strings.ContainsRune(" ,的-/.楼", text[i]) {
		if text[i] == '楼' && i+1 < len(text) && !isDigit(text[i+1]) && !isCN(text[i+1]) && text[i+1] != ' ' {
			return i
		}
		i++
	}
	return i
}

// rest reads entrance and room behind a building.
func (s *slotReader) rest(text []rune, end int) (entrance, room string, at int) {
	at = end
	i := skip(text, at)
	if n, ok := numberAt(text, i); ok {
		if w, ok := entranceWord(text, n.end); ok {
			if v, ok := n.ordinal(); ok {
				entrance, at = v, w
				i = skip(text, at)
			}
		} else if v, ok := n.ordinal(); ok && len(v) <= 2 && n.end < len(text) && isSeparator(text[n.end]) && text[n.end] != '.' {
			// 3号楼2-1201
			if r, e, ok := roomAt(text, n.end+1); ok {
				return v, r, e
			}
		}
	}
	if f, ok := floor(text, i); ok {
		i = skip(text, f)
	}
	if r, e, ok := roomAt(text, i); ok {
		return entrance, r, e
	}
	return entrance, "", at
}

// entranceWord reads 单元, 门洞, 门; not the 门 of 门禁 and 门卫.
func entranceWord(text []rune, i int) (int, bool) {
	for i < len(text) && text[i] == ' ' {
		i++
	}
	for _, w := range []string{"单元门洞", "单元", "门洞", "门栋"} {
		if hasAt(text, i, []rune(w)) {
			return i + len([]rune(w)), true
		}
	}
	if i < len(text) && text[i] == '门' && (i+1 >= len(text) || !strings.ContainsRune("禁卫岗口铃锁诊课心思店面缝道框把票牌外厅", text[i+1])) {
		return i + 1, true
	}
	return 0, false
}

// floor passes 12楼 and 九层.
func floor(text []rune, i int) (int, bool) {
	n, ok := numberAt(text, i)
	if ok && n.end < len(text) && (text[n.end] == '楼' || text[n.end] == '层') {
		return n.end + 1, true
	}
	return 0, false
}

// entranceFirst reads 2单元102 and 四门.
func (s *slotReader) entranceFirst(text []rune, i int) (mention, bool) {
	n, ok := numberAt(text, i)
	if !ok {
		return mention{}, false
	}
	v, ok := n.ordinal()
	if !ok || len(v) > 2 {
		return mention{}, false
	}
	end, ok := entranceWord(text, n.end)
	if !ok {
		return mention{}, false
	}
	m := mention{entrance: v, start: i, end: end}
	m.gateLike = text[end-1] == '门'
	at := skip(text, end)
	if f, ok := floor(text, at); ok {
		at = skip(text, f)
	}
	if r, e, ok := roomAt(text, at); ok {
		m.room, m.end, m.gateLike = r, e, false
	}
	return m, true
}

// roomAlone reads 1201室, 房号1305, 咱家201, 我十二零一.
func (s *slotReader) roomAlone(text []rune, i int) (mention, bool) {
	if !isDigit(text[i]) && !isCN(text[i]) {
		return mention{}, false
	}
	r, end, ok := roomAt(text, i)
	if !ok || i > 0 && (isSeparator(text[i-1]) || text[i-1] == ':' && i > 1 && isDigit(text[i-2])) {
		return mention{}, false
	}
	m := mention{room: r, start: i, end: end}
	if hasAt(text, end-1, []rune("室")) || hasAt(text, end-1, []rune("房")) && !s.lookBack(text, i, 4, s.words["not_home"]) {
		return m, true
	}
	letter := isLetter(text[end-1]) && hasAt(text, end, []rune("的"))
	if letter || s.lookAhead(text, end, 0, s.words["room_suffix"]) || s.lookBack(text, i, 1, s.words["room_prefix"]) || s.bracketBuilding(text, end) || s.afterCorrection(text, i) || s.lookBack(text, i, 12, s.words["room_word"]) && s.lookBack(text, i, 1, s.words["is_or_not"]) {
		return m, true
	}
	return mention{}, false
}

// bracketBuilding says that the building follows the room: 五零三(十栋).
func (s *slotReader) bracketBuilding(text []rune, end int) bool {
	i := end
	for i < len(text) && strings.ContainsRune(" ([,", text[i]) {
		i++
	}
	if i == end || i-end > 2 || i >= len(text) {
		return false
	}
	_, at, ok := block(text, i)
	if !ok {
		return false
	}
	_, ok = s.buildingWord(text, i, at)
	return ok
}

func (s *slotReader) afterCorrection(text []rune, i int) bool {
	return s.lookBack(text, i, 1, s.words["corrects"])
}

// lookBack says that one of the words ends at most gap characters before i.
func (s *slotReader) lookBack(text []rune, i, gap int, words [][]rune) bool {
	for _, w := range words {
		for g := 0; g <= gap; g++ {
			if at := i - g - len(w); at >= 0 && hasAt(text, at, w) && !crosses(text[at+len(w):i]) {
				return true
			}
		}
	}
	return false
}

// lookAhead says that one of the words begins at most gap characters after i.
func (s *slotReader) lookAhead(text []rune, i, gap int, words [][]rune) bool {
	for _, w := range words {
		for g := 0; g <= gap && i+g < len(text); g++ {
			if hasAt(text, i+g, w) && !crosses(text[i:i+g]) {
				return true
			}
		}
	}
	return false
}

// crosses says that a sentence ends in between.
func crosses(between []rune) bool {
	for _, r := range between {
		if r == '。' || r == '!' || r == '?' || r == '\n' || r == ';' {
			return true
		}
	}
	return false
}

// excluded knows what looks like a home and is none: parcels, books, parking.
func (s *slotReader) excluded(text []rune, m mention) bool {
	worded := m.building != "" && hasBuildingWord(text[m.start:m.end])
	if m.entrance != "" && m.building == "" && (s.lookAhead(text, m.end, 4, s.words["textbook"]) || s.lookBack(text, m.start, 4, s.words["textbook"])) {
		return true
	}
	if worded {
		return s.lookBack(text, m.start, 0, s.words["not_building"])
	}
	return s.lookBack(text, m.start, 6, s.words["not_home"]) || s.lookAhead(text, m.end, 4, s.words["not_home_after"])
}

func hasBuildingWord(rs []rune) bool { return strings.ContainsAny(string(rs), "栋幢座楼橦动") }

// judge notes whose home it is and whether it is denied.
// Whoever speaks is named behind the home before, which ends at from.
func (s *slotReader) judge(text []rune, m mention, from int) mention {
	from = min(from, m.start)
	m.speaker = s.lookBack(text[from:], m.start-from, 3, s.words["speaker"])
	m.other = s.lookBack(text, m.start, 2, s.words["other_home"])
	m.deniedBefore = s.deniedBefore(text, m.start)
	// 前面那条手误 speaks of what was said before, not of this.
	m.deniedAfter = s.lookAhead(text, m.end, 4, s.words["denies_after"]) && !s.lookAhead(text, m.end, 1, s.words["earlier"])
	return m
}

// deniedBefore says 不是3栋; the comma of 不是,是8栋 keeps the denial from the 8.
func (s *slotReader) deniedBefore(text []rune, i int) bool {
	from := i
	for from > 0 && i-from < 2 && text[from-1] != ',' {
		from--
	}
	for at := from; at <= i; at++ {
		if s.lookBack(text, at, 0, s.words["denies_before"]) {
			return true
		}
	}
	return false
}

// home chooses the home of the message: the speaker's if it is said, otherwise
// the place of the matter; of corrected values the last that isn't denied.
func (s *slotReader) home(text []rune) (building, entrance, room string) {
	ms := s.homes(text)
	if len(ms) == 0 {
		return "", "", ""
	}
	denied := map[string]bool{}
	corrected := false
	for i, m := range ms {
		if !m.deniedBefore && !m.deniedAfter {
			continue
		}
		corrected = true
		for slot, v := range m.parts() {
			if v == "" {
				continue
			}
			if m.deniedAfter && !m.deniedBefore && i+1 < len(ms) && ms[i+1].parts()[slot] == "" {
				continue // only what the next one restates was wrong
			}
			if m.size() > 1 && repeated(ms, i, slot, v) {
				continue // what is said again in the right version wasn't wrong
			}
			denied[slot+v] = true
		}
	}
	if corrected {
		pick := func(slot string) string {
			for i := len(ms) - 1; i >= 0; i-- {
				if v := ms[i].parts()[slot]; v != "" && !denied[slot+v] {
					return v
				}
			}
			return ""
		}
		return pick("b"), pick("e"), pick("r")
	}
	best := ms[0]
	for _, m := range ms[1:] {
		if m.rank() >= best.rank() {
			best = m
		}
	}
	// A room that was named before with its building is the same.
	for _, m := range ms {
		if best.building == "" && best.room != "" && m.room == best.room && m.building != "" {
			best.building, best.entrance = m.building, first(best.entrance, m.entrance)
		}
	}
	// Parts said apart belong together when they don't contradict.
	for _, m := range ms {
		if m.other || best.other != m.other {
			continue
		}
		if best.building == "" && m.building != "" && m.room == "" {
			best.building, best.entrance = m.building, first(best.entrance, m.entrance)
		}
		onlyEntrance := m.entrance != "" && m.building == "" && m.room == ""
		if best.entrance == "" && onlyEntrance && best.start >= m.end && best.start-m.end <= nearby {
			best.entrance = m.entrance
		}
		if best.room == "" && m.room != "" && m.building == "" {
			best.room, best.entrance = m.room, first(best.entrance, m.entrance)
		}
	}
	return best.building, best.entrance, best.room
}

// nearby is how far, in characters, an entrance may stand before its room.
const nearby = 6

// repeated says that the next mention that isn't denied gives the same value.
func repeated(ms []mention, i int, slot, v string) bool {
	for _, m := range ms[i+1:] {
		if !m.deniedBefore && !m.deniedAfter {
			return m.parts()[slot] == v
		}
	}
	return false
}

// size counts the parts that are said.
func (m mention) size() int {
	n := 0
	for _, v := range m.parts() {
		if v != "" {
			n++
		}
	}
	return n
}

func (m mention) parts() map[string]string {
	return map[string]string{"b": m.building, "e": m.entrance, "r": m.room}
}

func (m mention) rank() int {
	switch {
	case m.speaker && !m.other:
		return 2
	case m.other:
		return 0
	}
	return 1
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
