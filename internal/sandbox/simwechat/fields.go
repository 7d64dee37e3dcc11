package simwechat

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"guanjia/internal/sandbox/simcore"
)

var (
	keyForm   = regexp.MustCompile(`^([a-z_]+?)([0-9]*)$`)
	amount    = regexp.MustCompile(`^[¥$€£￥]?[0-9]{1,10}(\.[0-9]+)?元?$`)
	phone     = regexp.MustCompile(`^[0-9+\-() ]{1,17}$`)
	decimal   = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)
	letters   = regexp.MustCompile(`^[A-Za-z]{1,32}$`)
	clockPart = `(?:[01]?[0-9]|2[0-3])[:：][0-5][0-9](?:[:：][0-5][0-9])?`
	datePart  = `(?:[0-9]{4}[年/.-][0-9]{1,2}[月/.-][0-9]{1,2}日?|[0-9]{1,2}月[0-9]{1,2}日)`
	oneTime   = `(?:` + datePart + `\s*)?` + clockPart
	oneDate   = datePart + `(?:\s*` + clockPart + `)?`
	timeForm  = regexp.MustCompile(`^` + oneTime + `(?:\s*[~～]\s*` + oneTime + `)?$`)
	dateForm  = regexp.MustCompile(`^` + oneDate + `(?:\s*[~～]\s*(?:` + oneDate + `|` + clockPart + `))?$`)
)

// checkField says whether a value fits the type that its key names
// (thing2: type thing). WeChat counts characters in a way that it does not
// publish; code points are the usual reading.
func checkField(t simcore.WeChatTemplate, key, value string) bool {
	m := keyForm.FindStringSubmatch(key)
	if m == nil {
		return true
	}
	n := utf8.RuneCountInString(value)
	oneLine := !strings.ContainsAny(value, "\r\n")
	switch m[1] {
	case "thing":
		return n <= 20 && oneLine
	case "short_thing":
		return n <= 5 && oneLine
	case "character_string":
		return n <= 32 && oneLine && !has(value, isHan)
	case "time":
		return timeForm.MatchString(value)
	case "date":
		return dateForm.MatchString(value)
	case "amount":
		return amount.MatchString(value)
	case "phone_number":
		return phone.MatchString(value)
	case "car_number":
		return n <= 8 && oneLine
	case "name":
		return oneLine && (has(value, isHan) && n <= 10 || !has(value, isHan) && n <= 20)
	case "phrase":
		return n <= 5 && !has(value, func(r rune) bool { return !isHan(r) })
	case "number":
		return n <= 32 && decimal.MatchString(value)
	case "letter":
		return letters.MatchString(value)
	case "symbol":
		return n <= 5 && !has(value, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) })
	case "const":
		list, known := t.Values[key]
		return n <= 20 && oneLine && (!known || slices.Contains(list, value))
	case "enum":
		list, known := t.Values[key]
		return !known || slices.Contains(list, value)
	default:
		return true // keywords of the templates of before 2023
	}
}

func isHan(r rune) bool { return unicode.Is(unicode.Han, r) }

func has(s string, f func(rune) bool) bool { return strings.IndexFunc(s, f) >= 0 }
