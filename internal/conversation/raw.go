package conversation

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// rawPrefix marks a raw body that no text column takes; XML never begins so.
const rawPrefix = "base64:"

// rawText is the form in which a raw body is stored: as it is when it is text.
func rawText(raw []byte) string {
	s := string(raw)
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 && !strings.HasPrefix(s, rawPrefix) {
		return s
	}
	return rawPrefix + base64.StdEncoding.EncodeToString(raw)
}

// rawBytes undoes rawText.
func rawBytes(s string) []byte {
	encoded, ok := strings.CutPrefix(s, rawPrefix)
	if !ok {
		return []byte(s)
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return []byte(s)
	}
	return b
}
