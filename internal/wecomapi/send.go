package wecomapi

import (
	"context"
	"net/url"
	"strings"
)

// Limits of the vendor in bytes of UTF-8 (document 91770, 90236).
const (
	MaxText     = 2048 // webhook text, app text
	MaxMarkdown = 4096 // webhook markdown
)

// WebhookText is a text of a group webhook.
type WebhookText struct {
	Content  string   // at most MaxText bytes
	Mentions []string // userids that are rung, "@all" for everybody
	Mobiles  []string // phone numbers that are rung
}

// SendWebhookText posts a text into the group that the key belongs to. The
// vendor takes 20 a minute and key (then ClassThrottled). A text that is too
// long is ClassPermanent and not sent.
func (c *Client) SendWebhookText(ctx context.Context, key string, m WebhookText) error {
	const op = "webhook/send"
	if len(m.Content) > MaxText {
		return &Error{Op: op, Class: ClassPermanent, cause: ErrTooLong}
	}
	text := map[string]any{"content": m.Content}
	if len(m.Mentions) > 0 {
		text["mentioned_list"] = m.Mentions
	}
	if len(m.Mobiles) > 0 {
		text["mentioned_mobile_list"] = m.Mobiles
	}
	body := map[string]any{"msgtype": "text", "text": text}
	return c.call(ctx, op, "/cgi-bin/webhook/send", url.Values{"key": {key}}, body, nil)
}

// SendWebhookMarkdown posts markdown (at most MaxMarkdown bytes) into the
// group that the key belongs to.
func (c *Client) SendWebhookMarkdown(ctx context.Context, key, content string) error {
	const op = "webhook/send"
	if len(content) > MaxMarkdown {
		return &Error{Op: op, Class: ClassPermanent, cause: ErrTooLong}
	}
	body := map[string]any{"msgtype": "markdown", "markdown": map[string]any{"content": content}}
	return c.call(ctx, op, "/cgi-bin/webhook/send", url.Values{"key": {key}}, body, nil)
}

// AppText is a 1:1 text of the self-built app.
type AppText struct {
	To      []string // userids, at most 1000
	Content string   // at most MaxText bytes
	// Dedupe asks the vendor to drop the same text to the same people within
	// this many seconds (at most 4 hours), 0 for no check.
	DedupeSeconds int
}

// AppResult is what the vendor says of an accepted app message.
type AppResult struct {
	MsgID   string
	Invalid []string // receivers it doesn't know or may not reach
}

// SendAppText sends a 1:1 text. Receivers that cannot be reached are named in
// the result; when none can be, the error is ClassUnreachable (81013). Beyond
// 30 a minute and 1000 an hour for one member the vendor drops without a word.
func (c *Client) SendAppText(ctx context.Context, corp Corp, m AppText) (AppResult, error) {
	const op = "message/send"
	if len(m.Content) > MaxText {
		return AppResult{}, &Error{Op: op, Class: ClassPermanent, cause: ErrTooLong}
	}
	body := map[string]any{
		"touser":  strings.Join(m.To, "|"),
		"msgtype": "text",
		"agentid": corp.AgentID,
		"text":    map[string]any{"content": m.Content},
	}
	if m.DedupeSeconds > 0 {
		body["enable_duplicate_check"] = 1
		body["duplicate_check_interval"] = m.DedupeSeconds
	}
	var answer struct {
		MsgID       string `json:"msgid"`
		InvalidUser string `json:"invaliduser"`
		Unlicensed  string `json:"unlicenseduser"`
	}
	if err := c.withToken(ctx, corp, op, "/cgi-bin/message/send", nil, body, &answer); err != nil {
		return AppResult{}, err
	}
	invalid := strings.FieldsFunc(answer.InvalidUser+"|"+answer.Unlicensed, func(r rune) bool { return r == '|' })
	if len(m.To) > 0 && len(invalid) >= len(m.To) {
		return AppResult{MsgID: answer.MsgID, Invalid: invalid}, NewError(op, 81013)
	}
	return AppResult{MsgID: answer.MsgID, Invalid: invalid}, nil
}
