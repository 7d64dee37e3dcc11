package telemetry

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

const (
	mask      = "[redacted]"
	openIDLen = 28
)

var (
	// mobile is a mainland mobile number that stands alone, perhaps with +86
	// and the usual spaces or hyphens. RE2 has no look-around, so the
	// neighbours are captured and written back.
	mobile = regexp.MustCompile(`(^|[^0-9A-Za-z])((?:\+?86[- ]?)?1[3-9][0-9][- ]?[0-9]{4}[- ]?[0-9]{4})($|[^0-9A-Za-z])`)

	// openID is the shape of WeChat's identifiers: o and 27 more characters.
	openID = regexp.MustCompile(`(^|[^0-9A-Za-z_-])(o[0-9A-Za-z_-]{27})($|[^0-9A-Za-z_-])`)

	// parameter is a secret in a URL, a form, JSON or an error of a vendor's
	// library. Words that are also everyday words of errors (code, key, sign)
	// count only before an equals sign or in JSON.
	parameter = regexp.MustCompile(`(?i)((?:^|[^0-9a-z])(?:` +
		`(?:access_?token|refresh_token|token|secret|corpsecret|appsecret|password|passwd|signature|msg_signature|accesskey(?:id|secret)|phonenumbers?|openid|touser|encoding_?aes_?key)["']?\s*(?:=|:|%3D)` +
		`|(?:sign|key|ticket|code)(?:=|%3D|["']\s*:))\s*["']?)([^\s"'&,;}\]]+)`)

	// bearer is an Authorization header.
	bearer = regexp.MustCompile(`(?i)(bearer\s+)[0-9A-Za-z._~+/=-]+`)

	// userinfo is the password inside a URL.
	userinfo = regexp.MustCompile(`([a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(@)`)
)

// Scrub takes phone numbers, openids and secrets out of s. It is meant for
// text that is going to be logged or returned in an error.
func Scrub(s string) string {
	// The cheap questions come first: most texts contain nothing of the kind,
	// and the patterns cost microseconds each.
	if strings.Contains(s, "earer") || strings.Contains(s, "EARER") {
		s = bearer.ReplaceAllString(s, "${1}"+mask)
	}
	if strings.Contains(s, "://") && strings.Contains(s, "@") {
		s = userinfo.ReplaceAllString(s, "${1}"+mask+"${2}")
	}
	if strings.ContainsAny(s, "=:") || strings.Contains(s, "%3D") || strings.Contains(s, "%3d") {
		s = parameter.ReplaceAllStringFunc(s, scrubParameter)
	}
	// Twice, since two numbers may share the character between them.
	for range 2 {
		if manyDigits(s) {
			s = mobile.ReplaceAllString(s, "${1}"+mask+"${3}")
		}
		if len(s) >= openIDLen {
			s = openID.ReplaceAllString(s, "${1}"+mask+"${3}")
		}
	}
	return s
}

func scrubParameter(m string) string {
	parts := parameter.FindStringSubmatch(m)
	if harmless.MatchString(parts[2]) {
		return m
	}
	return parts[1] + mask
}

// manyDigits tells whether s has enough digits for a mobile number.
func manyDigits(s string) bool {
	n := 0
	for i := range len(s) {
		if '0' <= s[i] && s[i] <= '9' {
			if n++; n == 11 {
				return true
			}
		}
	}
	return false
}

// harmless are values of words like code and key that say nothing: error codes
// (small numbers, Aliyun's isv. and isp.), null, what is masked already.
var harmless = regexp.MustCompile(`^(?:-?[0-9]{1,5}\.?|is[vp]\.[A-Z_]+|OK|null|nil|true|false|\[redacted.*)$`)

// scrubValue scrubs what slog would write as text or JSON. Numbers are left
// alone, except those that are a phone number.
func scrubValue(v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(Scrub(v.String()))
	case slog.KindInt64, slog.KindUint64:
		if s := v.String(); Scrub(s) != s {
			return slog.StringValue(mask)
		}
		return v
	case slog.KindAny:
		return scrubAny(v.Any())
	default:
		return v
	}
}

func scrubAny(x any) slog.Value {
	switch x := x.(type) {
	case nil:
		return slog.AnyValue(nil)
	case error:
		return slog.StringValue(Scrub(x.Error()))
	case fmt.Stringer:
		return slog.StringValue(Scrub(x.String()))
	case []byte:
		return slog.StringValue(Scrub(string(x)))
	}
	b, err := json.Marshal(x)
	if err != nil {
		return slog.StringValue(Scrub(fmt.Sprintf("%+v", x)))
	}
	clean, changed := scrubJSON(b)
	if !changed {
		return slog.AnyValue(x)
	}
	return slog.AnyValue(clean)
}

// scrubJSON goes through a JSON value by names and texts.
func scrubJSON(b []byte) (json.RawMessage, bool) {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, false
	}
	v, changed := scrubTree(v)
	if !changed {
		return nil, false
	}
	out, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`"` + mask + `"`), true
	}
	return out, true
}

func scrubTree(v any) (any, bool) {
	changed := false
	switch v := v.(type) {
	case string:
		s := Scrub(v)
		return s, s != v
	case float64:
		s := fmt.Sprintf("%.0f", v)
		if Scrub(s) != s {
			return mask, true
		}
		return v, false
	case []any:
		for i := range v {
			var c bool
			v[i], c = scrubTree(v[i])
			changed = changed || c
		}
		return v, changed
	case map[string]any:
		for k := range v {
			if isSecretName(k) {
				v[k], changed = mask, true
				continue
			}
			var c bool
			v[k], c = scrubTree(v[k])
			changed = changed || c
		}
		return v, changed
	}
	return v, false
}
