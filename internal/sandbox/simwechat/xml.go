package simwechat

import (
	"bytes"
	"strings"
)

// element is one XML element of a push, already written. WeChat does not
// escape what people type, so neither does this: a text with "]]>" makes a
// broken document, as in production.
type element string

func cdata(name, value string) element {
	return element("<" + name + "><![CDATA[" + value + "]]></" + name + ">")
}

func plain(name, value string) element {
	return element("<" + name + ">" + value + "</" + name + ">")
}

func inside(name string, children ...element) element {
	var sb strings.Builder
	sb.WriteString("<" + name + ">")
	for _, c := range children {
		sb.WriteString(string(c) + "\n")
	}
	sb.WriteString("</" + name + ">")
	return element(sb.String())
}

// document is the push body: a newline after each element.
func document(elements ...element) []byte {
	var b bytes.Buffer
	b.WriteString("<xml>")
	for _, e := range elements {
		b.WriteString(string(e))
		b.WriteByte('\n')
	}
	b.WriteString("</xml>")
	return b.Bytes()
}
