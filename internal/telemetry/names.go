package telemetry

import (
	"strings"
	"unicode"
)

// hardNames are words, or two words run together, whose values are never kept.
var hardNames = set(
	"secret", "secrets", "password", "passwd", "cookie", "authorization", "openid", "unionid",
	"aeskey", "accesskey", "apikey", "tokenkey", "idcard", "touser", "accesstoken",
)

// softNames are words whose values are not kept either, unless the last word
// of the name says that it is only counted or named: text_bytes, token_age.
var softNames = set(
	"phone", "phones", "mobile", "mobiles", "text", "texts", "content", "body", "token", "tokens", "signature",
)

// counted are such last words.
var counted = set("bytes", "len", "length", "count", "age", "ms", "s", "type", "kind", "limit", "id", "ids", "key")

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}

// isSecretName tells by the name of an attribute or of a JSON field whether
// its value must not be kept.
func isSecretName(name string) bool {
	words := wordsOf(name)
	soft := false
	for i, w := range words {
		if hardNames[w] || i > 0 && hardNames[words[i-1]+w] {
			return true
		}
		soft = soft || softNames[w]
	}
	return soft && !counted[words[len(words)-1]]
}

// wordsOf splits open_id, openId, OpenID and open-id alike, in lower case.
func wordsOf(name string) []string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			b.WriteByte(' ')
			continue
		case unicode.IsUpper(r) && i > 0 &&
			(unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Fields(b.String())
}
