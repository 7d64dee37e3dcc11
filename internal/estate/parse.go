package estate

import (
	"strconv"
	"strings"
	"unicode"
)

// UnitRef is a home as somebody wrote it; Entrance may be empty (3栋1201).
type UnitRef struct{ Building, Entrance, Room string }

// Code is the canonical writing, building-entrance-room.
func (r UnitRef) Code() string { return r.Building + "-" + r.Entrance + "-" + r.Room }

// ParseUnitCode reads a complete home in any usual writing and gives the
// canonical code: 3-2-1201, 3#2-1201, 3栋2单元1201室, 三栋二单元一二零一,
// ３－２－１２０１ are all "3-2-1201". The whole text must be the home.
func ParseUnitCode(s string) (code string, ok bool) {
	ref, ok := ParseUnit(s)
	if !ok || ref.Entrance == "" {
		return "", false
	}
	return ref.Code(), true
}

// maxUnitText is longer than any home is written; more is not looked at.
const maxUnitText = 64

// ParseUnit is ParseUnitCode for homes that may lack their entrance.
func ParseUnit(s string) (UnitRef, bool) {
	if len(s) > maxUnitText*4 {
		return UnitRef{}, false
	}
	parts, ok := unitParts(fold(s))
	if !ok {
		return UnitRef{}, false
	}
	var ref UnitRef
	switch len(parts) {
	case 2:
		// Two bare numbers (3-1201) may be a building and a room or an
		// entrance and a room; only a building that is called one counts.
		if parts[0].mark != markBuilding {
			return UnitRef{}, false
		}
		ref = UnitRef{Building: parts[0].value, Room: parts[1].room()}
	case 3:
		ref = UnitRef{Building: parts[0].value, Entrance: parts[1].value, Room: parts[2].room()}
	default:
		return UnitRef{}, false
	}
	if !fits(parts) || !validBuilding(ref.Building) || !validEntrance(ref.Entrance) || !validRoom(ref.Room) {
		return UnitRef{}, false
	}
	return ref, true
}

// What stands behind a number and says what it is.
const (
	markNone = iota
	markBuilding
	markEntrance
	markRoom
	markDash // a separator that says nothing
)

// unitMarks in the order they are tried: the longer first.
var unitMarks = []struct {
	text string
	mark int
}{
	{"号楼", markBuilding}, {"号院", markBuilding}, {"栋楼", markBuilding},
	{"单元", markEntrance}, {"门洞", markEntrance}, {"号门", markEntrance},
	{"栋", markBuilding}, {"幢", markBuilding}, {"座", markBuilding}, {"楼", markBuilding}, {"#", markBuilding},
	{"门", markEntrance},
	{"室", markRoom}, {"房", markRoom}, {"号", markRoom},
	{"-", markDash}, {"/", markDash}, {".", markDash}, {"_", markDash}, {" ", markDash}, {",", markDash}, {"、", markDash},
}

type unitPart struct {
	value string
	mark  int
	zero  bool // written with a zero before it
}

// room is the value as a room number: a shop 05 keeps its zero, since one digit
// is no room and 3-2-5 may be a date.
func (p unitPart) room() string {
	if p.zero && len(p.value) == 1 && p.value != "0" {
		return "0" + p.value
	}
	return p.value
}

// unitParts cuts folded text into numbers with their marks. Anything that is
// neither makes it no home.
func unitParts(s string) ([]unitPart, bool) {
	var parts []unitPart
	for s != "" {
		n := 0
		for _, r := range s {
			if !isCodeRune(r) {
				break
			}
			n += len(string(r))
		}
		if n == 0 || len(parts) == 3 {
			return nil, false
		}
		p := unitPart{value: codeValue(s[:n]), zero: n > 1 && s[0] == '0'}
		s = s[n:]
		p.mark, s = cutMarks(s)
		if p.value == "" {
			return nil, false
		}
		parts = append(parts, p)
	}
	return parts, true
}

// cutMarks takes the marks behind a number: "栋 ", "#-", "室".
func cutMarks(s string) (int, string) {
	mark := markNone
	for again := true; again && s != ""; {
		again = false
		for _, m := range unitMarks {
			rest, ok := strings.CutPrefix(s, m.text)
			if !ok {
				continue
			}
			if mark != markNone && mark != markDash && m.mark != markDash {
				return mark, s // "栋单元": a number is missing
			}
			if m.mark != markDash || mark == markNone {
				mark = m.mark
			}
			s, again = rest, true
			break
		}
	}
	return mark, s
}

// fits checks that marks stand where they may.
func fits(parts []unitPart) bool {
	allowed := [][]int{{markBuilding, markDash}, {markEntrance, markDash}, {markRoom, markNone}}
	if len(parts) == 2 {
		allowed = [][]int{{markBuilding}, {markRoom, markNone}}
	}
	for i, p := range parts {
		ok := false
		for _, m := range allowed[i] {
			ok = ok || p.mark == m
		}
		if !ok {
			return false
		}
	}
	return true
}

func validBuilding(s string) bool {
	digits := strings.TrimLeft(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	return len(s)-len(digits) <= 1 && len(digits) <= 3 && allDigits(digits) && s != ""
}

func validEntrance(s string) bool { return s == "" || len(s) <= 2 && allDigits(s) }

func validRoom(s string) bool {
	digits := strings.TrimRight(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	return len(s)-len(digits) <= 1 && len(digits) >= 2 && len(digits) <= 4 && allDigits(digits)
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// fold makes one writing of the many: full-width to ASCII, all dashes to one,
// spaces single and none at the ends, letters upper-case.
func fold(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	space := false
	for _, r := range strings.TrimSpace(s) {
		switch {
		case r >= '！' && r <= '～': // full-width forms stand 0xFEE0 above ASCII
			r -= 0xFEE0
		case strings.ContainsRune("‐‑‒–—―−－﹣ー", r):
			r = '-'
		case unicode.IsSpace(r):
			r = ' '
		case unicode.Is(unicode.Cf, r): // zero-width marks from copying
			continue
		}
		if r == ' ' {
			space = true
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// chineseDigits are digits as they are spoken and written.
var chineseDigits = map[rune]byte{
	'零': '0', '〇': '0', '○': '0', '一': '1', '幺': '1', '二': '2', '两': '2', '三': '3', '四': '4', '五': '5', '六': '6', '七': '7', '八': '8', '九': '9',
	'壹': '1', '贰': '2', '叁': '3', '肆': '4', '伍': '5', '陆': '6', '柒': '7', '捌': '8', '玖': '9',
}

func isCodeRune(r rune) bool {
	if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
		return true
	}
	if _, ok := chineseDigits[r]; ok {
		return true
	}
	return r == '十' || r == '拾' || r == '百' || r == '佰'
}

// codeValue turns digits in any writing into ASCII: 一二零一 and 十二零一 are
// 1201, 二十三 is 23. Leading zeros go, a lone zero stays.
// Impossible numbers give "".
func codeValue(s string) string {
	var out strings.Builder
	runes := []rune(s)
	for i := 0; i < len(runes); {
		j := i
		for j < len(runes) && isChinese(runes[j]) {
			j++
		}
		if j == i {
			out.WriteRune(runes[i])
			i++
			continue
		}
		n := chineseNumber(runes[i:j])
		if n == "" {
			return ""
		}
		out.WriteString(n)
		i = j
	}
	v := strings.TrimLeft(out.String(), "0")
	if v == "" {
		return "0"
	}
	return v
}

func isChinese(r rune) bool {
	_, ok := chineseDigits[r]
	return ok || r == '十' || r == '拾' || r == '百' || r == '佰'
}

// chineseNumber reads 一二零一 digit by digit, 十二 and 二百零五 as numbers, and
// 十二零一 as 12 followed by 01, the way rooms are spoken.
func chineseNumber(runes []rune) string {
	var out strings.Builder
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		d, digit := chineseDigits[r]
		next := rune(0)
		if i+1 < len(runes) {
			next = runes[i+1]
		}
		switch {
		case digit && (next == '百' || next == '佰'):
			n, used := hundreds(runes[i:])
			out.WriteString(n)
			i += used - 1
		case digit && (next == '十' || next == '拾'):
			n := int(d-'0') * 10
			i++
			if i+1 < len(runes) {
				if u, ok := chineseDigits[runes[i+1]]; ok && u != '0' {
					n += int(u - '0')
					i++
				}
			}
			out.WriteString(strconv.Itoa(n))
		case r == '十' || r == '拾':
			n := 10
			if u, ok := chineseDigits[next]; ok && u != '0' {
				n += int(u - '0')
				i++
			}
			out.WriteString(strconv.Itoa(n))
		case digit:
			out.WriteByte(d)
		default:
			return ""
		}
	}
	return out.String()
}

// hundreds reads 二百零五, 二百一十, 二百 at the start of runes; used counts runes.
func hundreds(runes []rune) (n string, used int) {
	v := int(chineseDigits[runes[0]]-'0') * 100
	used = 2
	if used < len(runes) && chineseDigits[runes[used]] == '0' && used+1 < len(runes) {
		if u, ok := chineseDigits[runes[used+1]]; ok {
			return strconv.Itoa(v + int(u-'0')), used + 2
		}
	}
	if used+1 < len(runes) {
		if t, ok := chineseDigits[runes[used]]; ok && (runes[used+1] == '十' || runes[used+1] == '拾') {
			v += int(t-'0') * 10
			used += 2
			if used < len(runes) {
				if u, ok := chineseDigits[runes[used]]; ok && u != '0' {
					v += int(u - '0')
					used++
				}
			}
		}
	}
	return strconv.Itoa(v), used
}

// NormalizePhone reads a mainland mobile number in any usual writing (+86,
// 0086, spaces, dashes, full-width digits) and gives its 11 digits. Whether
// the number exists only the carrier knows; prefixes go stale and numbers move
// between carriers, so none is checked beyond 1[3-9].
func NormalizePhone(s string) (string, bool) {
	if len(s) > maxUnitText*4 {
		return "", false
	}
	digits := make([]byte, 0, 16)
	plus := false
	for _, r := range fold(s) {
		switch {
		case r >= '0' && r <= '9':
			digits = append(digits, byte(r))
		case r == '+' && len(digits) == 0 && !plus:
			plus = true
		case r == ' ' || r == '-' || r == '(' || r == ')' || r == '.':
		default:
			return "", false
		}
	}
	d := string(digits)
	switch {
	case plus:
		d, plus = strings.CutPrefix(d, "86")
		if !plus {
			return "", false
		}
	case len(d) == 15:
		d = strings.TrimPrefix(d, "0086")
	case len(d) == 13:
		d = strings.TrimPrefix(d, "86")
	}
	if len(d) != 11 || d[0] != '1' || d[1] < '3' {
		return "", false
	}
	return d, true
}

// FloorOf reads the floor out of a room number: all but its last two digits
// (1201 is on 12, 301 on 3). 0 when the number tells none.
func FloorOf(room string) int {
	digits := strings.TrimRight(room, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if len(digits) < 3 {
		return 0
	}
	n, err := strconv.Atoi(digits[:len(digits)-2])
	if err != nil {
		return 0
	}
	return n
}
