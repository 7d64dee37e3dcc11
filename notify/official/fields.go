package official

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// fieldTypes are the platform's rules for the fields of a template, by type:
// the key of a field is its type and a number, "thing2". Accounts in test mode
// do not enforce them, production does with code 47003.
var fieldTypes = map[string]struct {
	most    int // code points
	pattern *regexp.Regexp
}{
	"thing":            {20, regexp.MustCompile(`^[^\r\n]+$`)},
	"character_string": {32, regexp.MustCompile(`^[\x21-\x7e]+$`)},
	"time":             {48, regexp.MustCompile(`^[0-9年月日:：~\-/ ]*[0-9]{1,2}[:：][0-9]{2}[0-9年月日:：~\-/ ]*$`)},
	"date":             {48, regexp.MustCompile(`^[0-9]{4}[年\-/][0-9]{1,2}[0-9年月日:：~\-/ ]*$`)},
	"amount":           {14, regexp.MustCompile(`^[¥￥$€£]?[0-9]{1,10}(\.[0-9]{1,2})?元?$`)},
	"phone_number":     {17, regexp.MustCompile(`^[0-9+\-() ]+$`)},
	"car_number":       {8, regexp.MustCompile(`^[\p{Han}A-Za-z0-9]+$`)},
	"name":             {20, regexp.MustCompile(`^[^\r\n0-9]+$`)},
	"phrase":           {5, regexp.MustCompile(`^\p{Han}+$`)},
	"number":           {32, regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)},
	"letter":           {32, regexp.MustCompile(`^[A-Za-z]+$`)},
	"symbol":           {5, regexp.MustCompile(`^[\p{P}\p{S}]+$`)},
	"const":            {20, regexp.MustCompile(`^[^\r\n]+$`)},
	"enum":             {20, regexp.MustCompile(`^[^\r\n]+$`)},
	"short_thing":      {5, regexp.MustCompile(`^[^\r\n]+$`)},
}

var fieldKey = regexp.MustCompile(`^([a-z_]+?)[0-9]{1,3}$`)

// badField names the first field (in the order of keys) that the platform
// would refuse, or "".
func badField(fields map[string]string) string {
	bad := ""
	for key, value := range fields {
		if !fieldOK(key, value) && (bad == "" || key < bad) {
			bad = key
		}
	}
	return bad
}

func fieldOK(key, value string) bool {
	m := fieldKey.FindStringSubmatch(key)
	if m == nil || strings.TrimSpace(value) == "" {
		return false
	}
	t, ok := fieldTypes[m[1]]
	if !ok || !t.pattern.MatchString(value) {
		return false
	}
	n := utf8.RuneCountInString(value)
	if m[1] == "name" && strings.ContainsFunc(value, isHan) {
		return n <= 10
	}
	return n <= t.most
}

func isHan(r rune) bool { return r >= 0x3400 && r <= 0x9fff }
