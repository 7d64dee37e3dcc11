package simsms

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"sort"
)

// stringToSign is the RPC signature's canonical form (version 1.0): all
// parameters but Signature, also the empty ones, sorted by byte.
func stringToSign(method string, params url.Values) string {
	keys := make([]string, 0, len(params))
	for k := range params {
		if k != "Signature" {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	canon := make([]byte, 0, 1024)
	for i, k := range keys {
		if i > 0 {
			canon = append(canon, '&')
		}
		canon = appendEscaped(canon, k)
		canon = append(canon, '=')
		canon = appendEscaped(canon, params.Get(k))
	}
	out := make([]byte, 0, len(canon)*3/2+16)
	out = append(out, method+"&%2F&"...)
	return string(appendEscaped(out, string(canon)))
}

// sign is base64(HMAC-SHA1) with the secret and an ampersand as key.
func sign(secret, text string) string {
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func sameSignature(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

const upperHex = "0123456789ABCDEF"

// appendEscaped is RFC 3986 with upper-case hex.
func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~' {
			b = append(b, c)
			continue
		}
		b = append(b, '%', upperHex[c>>4], upperHex[c&15])
	}
	return b
}
