package intent

import (
	"strconv"
	"strings"
)

// cnDigit maps Chinese digits in all writings; tens and hundreds are not digits.
func cnDigit(r rune) (byte, bool) {
	switch r {
	case '零', '〇':
		return '0', true
	case '一', '幺', '壹':
		return '1', true
	case '二', '两', '贰':
		return '2', true
	case '三', '叁':
		return '3', true
	case '四', '肆':
		return '4', true
	case '五', '伍':
		return '5', true
	case '六', '陆':
		return '6', true
	case '七', '柒':
		return '7', true
	case '八', '捌':
		return '8', true
	case '九', '玖':
		return '9', true
	}
	return 0, false
}

func isCN(r rune) bool {
	if _, ok := cnDigit(r); ok {
		return true
	}
	return r == '十' || r == '拾' || r == '百' || r == '千' || r == '廿'
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' }

// cnNumber reads a Chinese whole number below 10000: 十二, 二十, 一百零三, 八.
func cnNumber(rs []rune) (int, bool) {
	total, digit, seen := 0, -1, false
	for _, r := range rs {
		if d, ok := cnDigit(r); ok {
			if digit > 0 {
				return 0, false // two digits in a row are spoken digits
			}
			digit, seen = int(d-'0'), true
			continue
		}
		unit := map[rune]int{'十': 10, '拾': 10, '百': 100, '千': 1000, '廿': 20}[r]
		if unit == 0 {
			return 0, false
		}
		if r == '廿' {
			total += 20
		} else {
			if digit <= 0 {
				digit = 1
			}
			total += digit * unit
		}
		digit, seen = -1, true
	}
	if digit > 0 {
		total += digit
	}
	return total, seen
}

// cnRoom reads a room as people say it: 一二零幺, 十二零一, 一千二百零一.
func cnRoom(rs []rune) (string, bool) {
	spoken := make([]byte, 0, len(rs))
	for _, r := range rs {
		d, ok := cnDigit(r)
		if !ok {
			spoken = nil
			break
		}
		spoken = append(spoken, d)
	}
	if len(spoken) == 3 || len(spoken) == 4 {
		return string(spoken), true
	}
	if spoken != nil || len(rs) < 3 {
		return "", false
	}
	// Floor as a number, then two spoken digits: 十二 零一.
	if floor, ok := cnNumber(rs[:len(rs)-2]); ok && floor >= 10 && floor < 100 && !strings.ContainsAny(string(rs), "百千") {
		a, okA := cnDigit(rs[len(rs)-2])
		b, okB := cnDigit(rs[len(rs)-1])
		if okA && okB {
			return strconv.Itoa(floor) + string([]byte{a, b}), true
		}
	}
	if n, ok := cnNumber(rs); ok && n >= 100 && n < 10000 {
		return strconv.Itoa(n), true
	}
	return "", false
}

// number is a run of digits or of Chinese numerals at a place in the text.
type number struct {
	start, end int
	cn         bool
	rs         []rune
}

func numberAt(text []rune, i int) (number, bool) {
	n := number{start: i, end: i}
	if i >= len(text) {
		return n, false
	}
	in := isDigit
	if isCN(text[i]) {
		in, n.cn = isCN, true
	}
	for n.end < len(text) && in(text[n.end]) {
		n.end++
	}
	n.rs = text[i:n.end]
	return n, n.end > i
}

// ordinal reads the number of a building or an entrance, 1 to 199.
func (n number) ordinal() (string, bool) {
	if !n.cn {
		v := strings.TrimLeft(string(n.rs), "0")
		return v, v != "" && len(n.rs) <= 3 && len(v) <= 3
	}
	v, ok := cnNumber(n.rs)
	if !ok {
		// Spoken digits: 一二 as 12.
		s := spokenDigits(n.rs)
		return s, len(s) == 2 && s[0] != '0'
	}
	return strconv.Itoa(v), v > 0 && v < 200
}

// room reads a room number of three or four digits.
func (n number) room() (string, bool) {
	if !n.cn {
		return string(n.rs), len(n.rs) == 3 || len(n.rs) == 4
	}
	return cnRoom(n.rs)
}

// spokenDigits turns digits in any writing into ASCII; empty if there is another
// numeral among them.
func spokenDigits(rs []rune) string {
	out := make([]byte, 0, len(rs))
	for _, r := range rs {
		if isDigit(r) {
			out = append(out, byte(r))
			continue
		}
		d, ok := cnDigit(r)
		if !ok {
			return ""
		}
		out = append(out, d)
	}
	return string(out)
}
