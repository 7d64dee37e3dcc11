package estate

import (
	"strings"
	"unicode"
)

// PhoneTrouble is a part of a cell that is no mobile number.
type PhoneTrouble struct {
	Code string // RowBadPhone, RowShortPhone or RowLandline
	Text string // as it stands there
}

// ParsePhones reads the mobile numbers of one cell, each once, in any usual
// writing: several with separators or glued together, with words beside them
// (13800000001(妻)), with +86, spaces, dashes, full-width digits, or in
// scientific form as long as no digit is lost.
func ParsePhones(text string) (phones []string, trouble []PhoneTrouble) {
	if len(text) > maxCell*4 {
		text = cutCell(text)
	}
	add := func(p string) {
		for _, known := range phones {
			if known == p {
				return
			}
		}
		phones = append(phones, p)
	}
	for _, piece := range phonePieces(text) {
		found, code := piecePhones(piece)
		for _, p := range found {
			add(p)
		}
		if code != "" {
			trouble = append(trouble, PhoneTrouble{code, piece})
		}
	}
	return phones, trouble
}

// phonePieces cuts a cell where people put something between two numbers.
func phonePieces(text string) []string {
	var out []string
	for _, p := range strings.FieldsFunc(text, func(r rune) bool {
		return strings.ContainsRune("/\\、,，;；|｜&\n\r\t／＼＆", r) || r == '或' || r == '和'
	}) {
		if p = strings.TrimSpace(p); p != "" && strings.ContainsFunc(fold(p), isDigit) {
			out = append(out, p)
		} else if p != "" && !isNothing(p) && !isLabel(p) {
			out = append(out, p)
		}
	}
	return out
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func isNothing(s string) bool {
	switch fold(s) {
	case "无", "-", "--", "空", "没有", "未知", "暂无", "不详", "—", "无电话", "未留":
		return true
	}
	return false
}

// isLabel tells whether a piece only says whose number stands beside it.
func isLabel(s string) bool {
	n := 0
	for _, r := range s {
		if !unicode.Is(unicode.Han, r) && !strings.ContainsRune("()（）:： ", r) {
			return false
		}
		n++
	}
	return n <= 4 && strings.ContainsAny(s, "妻夫父母儿女子爸妈爷奶配偶本人备用先生女士")
}

// piecePhones reads the numbers of a piece; code says what is wrong with it.
func piecePhones(piece string) (phones []string, code string) {
	if p, ok := NormalizePhone(piece); ok {
		return []string{p}, ""
	}
	s := fold(piece)
	if digits, ok := scientific(s); ok {
		if p, ok := NormalizePhone(digits); ok {
			return []string{p}, ""
		}
		return nil, RowShortPhone
	}
	// Words around it, and numbers one after the other.
	var runs []string
	var run strings.Builder
	flush := func() {
		if strings.ContainsFunc(run.String(), isDigit) {
			runs = append(runs, strings.TrimSpace(run.String()))
		}
		run.Reset()
	}
	for _, r := range s {
		if isDigit(r) || r == '+' || r == '-' || r == ' ' || r == '.' {
			run.WriteRune(r)
			continue
		}
		flush()
	}
	flush()
	for _, r := range runs {
		found, bad := runPhones(r)
		phones = append(phones, found...)
		if bad != "" && code == "" {
			code = bad
		}
	}
	if len(runs) == 0 {
		return nil, RowBadPhone
	}
	return phones, code
}

// runPhones reads a run of digits with the marks people write between them.
func runPhones(run string) (phones []string, code string) {
	if p, ok := NormalizePhone(run); ok {
		return []string{p}, ""
	}
	digits := strings.Map(func(r rune) rune {
		if isDigit(r) {
			return r
		}
		return -1
	}, run)
	// 13800000001 13900000002: as many times eleven digits as there are.
	if len(digits) > 11 && len(digits)%11 == 0 && len(digits) <= 55 {
		for i := 0; i < len(digits); i += 11 {
			p, ok := NormalizePhone(digits[i : i+11])
			if !ok {
				phones = nil
				break
			}
			phones = append(phones, p)
		}
		if phones != nil {
			return phones, ""
		}
	}
	// A landline and a mobile with a space between.
	if fields := strings.Fields(run); len(fields) > 1 && len(digits) > 11 {
		for _, f := range fields {
			p, ok := NormalizePhone(f)
			switch {
			case ok:
				phones = append(phones, p)
			case landline(f):
				code = RowLandline
			default:
				return nil, RowBadPhone
			}
		}
		return phones, code
	}
	if landline(run) {
		return nil, RowLandline
	}
	return nil, RowBadPhone
}

// landline tells whether a run of digits is a fixed or a service number.
func landline(run string) bool {
	digits := strings.Map(func(r rune) rune {
		if isDigit(r) {
			return r
		}
		return -1
	}, strings.TrimPrefix(strings.TrimSpace(run), "+86"))
	switch {
	case strings.HasPrefix(digits, "400") || strings.HasPrefix(digits, "800"):
		return len(digits) == 10
	case strings.HasPrefix(digits, "0"):
		return len(digits) >= 10 && len(digits) <= 12
	}
	return (len(digits) == 7 || len(digits) == 8) && digits[0] >= '2'
}

// scientific reads 1.3800000001E+10; ok when the text is of that form. Digits
// that the form has lost come as what is left, which is no phone.
func scientific(s string) (digits string, ok bool) {
	mantissa, exponent, found := strings.Cut(s, "E")
	if !found {
		return "", false
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	exponent = strings.TrimPrefix(exponent, "+")
	if whole == "" || exponent == "" || len(exponent) > 2 || !allDigits(whole) || !allDigits(fraction) || !allDigits(exponent) {
		return "", false
	}
	n := 0
	for _, r := range exponent {
		n = n*10 + int(r-'0')
	}
	if len(fraction) > n { // more digits than a whole number has
		fraction = strings.TrimRight(fraction, "0")
	}
	return whole + fraction, true
}
