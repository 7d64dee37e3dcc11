package simsms

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"guanjia/internal/sandbox/simcore"
)

// Template types.
const (
	typeCode   = 0
	typeNotice = 1
	typePromo  = 2
)

const (
	approved    = 1
	maxVariable = 35
	maxLength   = 500
)

var mobile = regexp.MustCompile(`^1[3-9][0-9]{9}$`)

// normalPhone takes the forms that the API takes and answers 11 digits.
func normalPhone(s string) (string, bool) {
	s = strings.TrimPrefix(strings.TrimSpace(s), "+")
	if len(s) > 11 {
		s = strings.TrimPrefix(strings.TrimPrefix(s, "00"), "86")
	}
	return s, mobile.MatchString(s)
}

var variable = regexp.MustCompile(`\$\{\s*([A-Za-z0-9_]+)\s*\}`)

// parseParam reads TemplateParam: an object of strings and nothing else.
func parseParam(raw string) (map[string]string, *codeError) {
	if raw == "" {
		return nil, nil
	}
	var values map[string]any
	if err := json.Unmarshal([]byte(raw), &values); err != nil {
		return nil, business("isv.INVALID_JSON_PARAM", "参数格式错误，请修改为字符串值")
	}
	out := make(map[string]string, len(values))
	for k, v := range values {
		s, ok := v.(string)
		if !ok {
			return nil, business("isv.INVALID_JSON_PARAM", "参数格式错误，请修改为字符串值")
		}
		out[k] = s
	}
	return out, nil
}

// render fills a template and applies the rules of its variables.
func render(t simcore.SMSTemplate, values map[string]string) (string, *codeError) {
	if t.Content == "" {
		// Registered by its code alone: show what came.
		b, err := json.Marshal(values)
		if err != nil {
			return "", business("isv.INVALID_JSON_PARAM", "参数格式错误，请修改为字符串值")
		}
		return string(b), nil
	}
	var failed *codeError
	body := variable.ReplaceAllStringFunc(t.Content, func(place string) string {
		name := variable.FindStringSubmatch(place)[1]
		v, ok := values[name]
		if !ok || v == "" {
			failed = business("isv.TEMPLATE_MISSING_PARAMETERS", "模板变量缺少对应参数值")
			return ""
		}
		if failed == nil {
			failed = checkVariable(t, name, v)
		}
		return v
	})
	if failed != nil {
		return "", failed
	}
	if unsupported(body) {
		return "", business("isv.UNSUPPORTED_CONTENT", "短信内容包含不支持的字符")
	}
	return body, nil
}

var (
	webAddress   = regexp.MustCompile(`(?i)(https?://|www\.|[a-z0-9-]+\.(com|cn|net|org|top|vip|xyz|cc|link)\b)`)
	mobileInside = regexp.MustCompile(`(^|[^0-9])1[3-9][0-9]{9}([^0-9]|$)`)
	landline     = regexp.MustCompile(`^[0-9-]{5,15}$`)
	smsTime      = regexp.MustCompile(`^[0-9月日时分点上下午晚早凌晨中夜/:：~～至到\-. ]+$`)
)

// attributes are the rules of a variable's declared kind.
var attributes = map[string]func(string) bool{
	"numberCaptcha":        regexp.MustCompile(`^[0-9]{4,6}$`).MatchString,
	"characterWithNumber2": regexp.MustCompile(`^[0-9A-Za-z]{4,6}$`).MatchString,
	"phone_number2": func(s string) bool {
		return mobile.MatchString(s) || landline.MatchString(s) && len(strings.ReplaceAll(s, "-", "")) <= 13
	},
	"time":                 smsTime.MatchString,
	"name":                 func(s string) bool { return between(s, 2, 5) && allHan(s) },
	"user_nick":            func(s string) bool { return between(s, 1, 20) },
	"unit_name":            func(s string) bool { return between(s, 1, 20) && allHan(s) },
	"address":              func(s string) bool { return between(s, 1, 30) },
	"license_plate_number": func(s string) bool { return between(s, 1, 10) },
	"money":                regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`).MatchString,
	"other_number2":        regexp.MustCompile(`^[0-9A-Za-z]{1,35}$`).MatchString,
	"pick_up_code":         regexp.MustCompile(`^[0-9A-Za-z-]{4,8}$`).MatchString,
	"tracking_number":      regexp.MustCompile(`^[0-9A-Za-z]{8,16}$`).MatchString,
	"link_param":           regexp.MustCompile(`^[0-9A-Za-z]{1,8}$`).MatchString,
}

// mayHavePhone are the kinds that may contain a telephone number.
var mayHavePhone = map[string]bool{"phone_number2": true, "other_number2": true}

func checkVariable(t simcore.SMSTemplate, name, v string) *codeError {
	if webAddress.MatchString(v) {
		return business("isv.PARAM_NOT_SUPPORT_URL", "变量不支持传入URL")
	}
	kind, declared := t.Rule[name]
	limit := maxVariable
	if kind == "address" {
		limit = 30
	}
	if utf8.RuneCountInString(v) > limit {
		return business("isv.PARAM_LENGTH_LIMIT", "参数超过长度限制")
	}
	if !declared {
		return nil
	}
	if rule, ok := attributes[kind]; ok && !rule(v) {
		return business("isv.TEMPLATE_PARAMS_ILLEGAL", "变量"+name+"不符合规范")
	}
	if !mayHavePhone[kind] && mobileInside.MatchString(v) {
		return business("isv.TEMPLATE_PARAMS_ILLEGAL", "变量"+name+"不支持传入电话号码")
	}
	return nil
}

func between(s string, low, high int) bool {
	n := utf8.RuneCountInString(s)
	return n >= low && n <= high
}

func allHan(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.Is(unicode.Han, r) }) < 0
}

// unsupported finds emoji and private-use characters; the vendor's list of
// rare characters is not published.
func unsupported(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return r >= 0x1F000 || r >= 0x2600 && r <= 0x27BF || r >= 0xE000 && r <= 0xF8FF || r == 0xFE0F || r == 0x200D || r == utf8.RuneError
	}) >= 0
}

// segments is what is billed: up to 70 characters with the signature are one,
// longer texts cost one for each 67. Zero: too long.
func segments(signName, body string) int {
	n := utf8.RuneCountInString(signName) + 2 + utf8.RuneCountInString(body)
	switch {
	case n > maxLength:
		return 0
	case n <= 70:
		return 1
	default:
		return (n + 66) / 67
	}
}
