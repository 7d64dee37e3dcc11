package wechat

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"guanjia/internal/conversation"
)

// success is the answer without words: no retry, nothing shown to the resident.
const success = "success"

// maxContent is the practical limit of a passive text in bytes of UTF-8.
const maxContent = 2048

// content renders an answer as a passive text: a passive reply has no menu, so
// the choices become lines of the text. Empty when there is nothing to say: an
// empty Content would show the resident a fault.
func content(a conversation.Answer) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(clean(a.Text)))
	for _, o := range a.Options {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("· " + clean(o.Text))
	}
	return shorten(b.String(), maxContent)
}

// shorten cuts at a character; only a text that no template of ours produces
// is ever that long.
func shorten(s string, limit int) string {
	const ellipsis = "…"
	if len(s) <= limit {
		return s
	}
	cut := limit - len(ellipsis)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + ellipsis
}

// passiveText is the XML of a passive text reply.
func passiveText(toUser, fromUser string, at int64, text string) string {
	var b strings.Builder
	b.Grow(len(text) + 256)
	b.WriteString("<xml>")
	writeCDATA(&b, "ToUserName", toUser)
	writeCDATA(&b, "FromUserName", fromUser)
	b.WriteString("<CreateTime>" + strconv.FormatInt(at, 10) + "</CreateTime>")
	writeCDATA(&b, "MsgType", "text")
	writeCDATA(&b, "Content", text)
	b.WriteString("</xml>")
	return b.String()
}

// sealedReply wraps a reply in the encrypted envelope.
func sealedReply(k *Key, appID, token, timestamp, nonce, message string) (string, error) {
	sealed, err := k.Seal([]byte(message), appID)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.Grow(len(sealed) + 256)
	b.WriteString("<xml>")
	writeCDATA(&b, "Encrypt", sealed)
	writeCDATA(&b, "MsgSignature", Sign(token, timestamp, nonce, sealed))
	b.WriteString("<TimeStamp>" + timestamp + "</TimeStamp>")
	writeCDATA(&b, "Nonce", nonce)
	b.WriteString("</xml>")
	return b.String(), nil
}

func writeCDATA(b *strings.Builder, name, text string) {
	b.WriteString("<" + name + "><![CDATA[")
	b.WriteString(strings.ReplaceAll(text, "]]>", "]]]]><![CDATA[>"))
	b.WriteString("]]></" + name + ">")
}
