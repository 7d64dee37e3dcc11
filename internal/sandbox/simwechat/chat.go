package simwechat

import (
	"crypto/sha256"
	"encoding/hex"
	"html"
	"net/url"
	"regexp"
	"strings"
)

// ChatItem is one line of what a resident sees on his phone.
type ChatItem struct {
	Seq  int64  `json:"seq"`
	At   string `json:"at"`
	From string `json:"from"` // resident | account | platform
	// Kind: message | event | passive | service | template | subscribe | fault.
	Kind       string            `json:"kind"`
	Type       string            `json:"type"`
	Text       string            `json:"text"`
	Options    []Option          `json:"options"`
	TemplateID string            `json:"template_id"`
	Fields     map[string]string `json:"fields"`
	URL        string            `json:"url"`
	MediaID    string            `json:"media_id,omitempty"`
	Title      string            `json:"title,omitempty"`
}

// Option is something to tap: its id comes back as menu_id.
type Option struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// show appends to the chat.
func (s *Sim) show(u *user, it ChatItem) int64 {
	it.At = s.core.Now().In(china).Format(timeFormat)
	if it.Options == nil {
		it.Options = []Option{}
	}
	if it.Fields == nil {
		it.Fields = map[string]string{}
	}
	return u.chat.Append(func(seq int64) ChatItem {
		it.Seq = seq
		return it
	})
}

var (
	menuLink   = regexp.MustCompile(`<a\s+href\s*=\s*["']weixin://bizmsgmenu\?([^"']*)["'][^>]*>(.*?)</a>`)
	anyLink    = regexp.MustCompile(`<a\s+[^>]*href\s*=\s*["']([^"']*)["'][^>]*>(.*?)</a>`)
	outerSpace = "\r\n\t "
)

// readable turns the links of a text into what the phone shows: tappable
// words, and the first web address.
func readable(text string) (shown string, options []Option, link string) {
	shown = menuLink.ReplaceAllStringFunc(text, func(m string) string {
		part := menuLink.FindStringSubmatch(m)
		q, err := url.ParseQuery(html.UnescapeString(part[1]))
		if err != nil {
			return part[2]
		}
		options = append(options, Option{ID: q.Get("msgmenuid"), Text: q.Get("msgmenucontent")})
		return part[2]
	})
	if m := anyLink.FindStringSubmatch(shown); m != nil {
		link = html.UnescapeString(m[1])
	}
	shown = anyLink.ReplaceAllString(shown, "$2")
	return strings.Trim(shown, outerSpace), options, link
}

// accepted counts one thing that reached a person by a channel.
func (s *Sim) accepted(channel, openID, content string) {
	s.core.Counters.Address(channel, openID)
	sum := sha256.Sum256([]byte(content))
	s.core.Counters.Content(openID, hex.EncodeToString(sum[:]))
}
