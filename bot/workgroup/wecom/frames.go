package wecom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"guanjia/bot/workgroup"
)

// Commands of the socket (document 101463).
const (
	cmdSubscribe = "aibot_subscribe"
	cmdPing      = "ping"
	cmdMessage   = "aibot_msg_callback"
	cmdEvent     = "aibot_event_callback"
	cmdRespond   = "aibot_respond_msg"
	cmdWelcome   = "aibot_respond_welcome_msg"
	cmdUpdate    = "aibot_respond_update_msg"
	cmdSend      = "aibot_send_msg"
)

// Kinds of events.
const (
	eventEnter        = "enter_chat"
	eventClick        = "template_card_event"
	eventDisconnected = "disconnected_event"
)

// maxMarkdown is what the vendor takes in one markdown, in bytes.
const maxMarkdown = 20480

// frame is one message of the socket, either way. An ack has no cmd.
type frame struct {
	Cmd     string          `json:"cmd,omitempty"`
	Headers frameHeaders    `json:"headers"`
	Body    json.RawMessage `json:"body,omitempty"`
	ErrCode *int            `json:"errcode,omitempty"`
}

type frameHeaders struct {
	ReqID string `json:"req_id"`
}

var errFrame = errors.New("the frame is not the vendor's")

// decodeFrame reads one frame. Its error carries nothing of the frame.
func decodeFrame(raw []byte) (frame, error) {
	var f frame
	if err := json.Unmarshal(raw, &f); err != nil {
		return frame{}, fmt.Errorf("%w (%d bytes)", errFrame, len(raw))
	}
	return f, nil
}

func encodeFrame(cmd, reqID string, body any) ([]byte, error) {
	f := frame{Cmd: cmd, Headers: frameHeaders{ReqID: reqID}}
	if body != nil {
		b, err := encode(body)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", cmd, err)
		}
		f.Body = b
	}
	return encode(f)
}

// encode writes JSON with < and > as they are: the vendor's apps show an
// escaped one as it is written.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// content is what a message, a part of a mixed message or a quote holds.
type content struct {
	MsgType string `json:"msgtype"`
	Text    struct {
		Content string `json:"content"`
	} `json:"text"`
	Voice struct {
		Content string `json:"content"` // what was said, turned into text by the vendor
	} `json:"voice"`
	Markdown struct {
		Content string `json:"content"`
	} `json:"markdown"`
	Mixed struct {
		Items []content `json:"msg_item"`
	} `json:"mixed"`
}

// callback is the body of a message or an event.
type callback struct {
	content
	MsgID    string `json:"msgid"`
	ChatID   string `json:"chatid"`
	ChatType string `json:"chattype"`
	From     struct {
		UserID string `json:"userid"`
	} `json:"from"`
	Quote *content `json:"quote"`
	Event struct {
		EventType string     `json:"eventtype"`
		Card      *cardEvent `json:"template_card_event"`
		cardEvent            // a variant puts the fields here
	} `json:"event"`
}

type cardEvent struct {
	EventKey string `json:"event_key"`
	TaskID   string `json:"task_id"`
}

func decodeCallback(body json.RawMessage) (callback, error) {
	var c callback
	if err := json.Unmarshal(body, &c); err != nil {
		return callback{}, fmt.Errorf("%w: callback of %d bytes", errFrame, len(body))
	}
	return c, nil
}

// click gives the button that was pressed, from wherever it stands.
func (c callback) click() cardEvent {
	if c.Event.Card != nil {
		return *c.Event.Card
	}
	return c.Event.cardEvent
}

// chat gives the conversation: in a 1:1 chat its id is the member's.
func (c callback) chat() (id string, single bool) {
	if c.ChatType == "single" || c.ChatID == "" {
		return c.From.UserID, true
	}
	return c.ChatID, false
}

// words gives the text of a content and counts its pictures and files.
func (c content) words() (text string, images int) {
	switch c.MsgType {
	case "text":
		return c.Text.Content, 0
	case "voice":
		return c.Voice.Content, 0
	case "markdown":
		return c.Markdown.Content, 0
	case "mixed":
		var parts []string
		for _, item := range c.Mixed.Items {
			if item.MsgType == "mixed" {
				continue // doesn't occur, and must not nest
			}
			t, n := item.words()
			images += n
			if t != "" {
				parts = append(parts, t)
			}
		}
		return strings.Join(parts, "\n"), images
	case "image", "file", "video":
		return "", 1
	default:
		return "", 0
	}
}

// cardJSON is a button_interaction card in the vendor's form (document 101032).
func cardJSON(c workgroup.Card) map[string]any {
	title := map[string]any{"title": c.Title}
	if c.Desc != "" {
		title["desc"] = c.Desc
	}
	rows := make([]map[string]any, 0, len(c.Rows))
	for _, r := range c.Rows {
		value := r.Value
		if value == "" {
			value = "-"
		}
		rows = append(rows, map[string]any{"keyname": r.Key, "value": value})
	}
	buttons := make([]map[string]any, 0, len(c.Buttons))
	for _, b := range c.Buttons {
		buttons = append(buttons, map[string]any{"text": b.Text, "style": int(b.Style), "key": b.Key})
	}
	card := map[string]any{
		"card_type":   "button_interaction",
		"main_title":  title,
		"button_list": buttons,
		"task_id":     c.TaskID,
	}
	if len(rows) > 0 {
		card["horizontal_content_list"] = rows
	}
	if c.Note != "" {
		card["sub_title_text"] = c.Note
	}
	if len(c.Links) > 0 {
		jumps := make([]map[string]any, 0, len(c.Links))
		for _, l := range c.Links {
			jumps = append(jumps, map[string]any{"type": 1, "title": l.Text, "url": l.URL})
		}
		card["jump_list"] = jumps
	}
	return card
}

func markdownBody(text string) map[string]any {
	return map[string]any{"msgtype": "markdown", "markdown": map[string]any{"content": cutBytes(text, maxMarkdown)}}
}

func cardBody(c workgroup.Card) map[string]any {
	return map[string]any{"msgtype": "template_card", "template_card": cardJSON(c)}
}

// addressed adds the chat: always with its type, since the vendor otherwise
// guesses.
func addressed(body map[string]any, to workgroup.Chat) map[string]any {
	body["chatid"] = to.ID
	body["chat_type"] = 2
	if to.Single {
		body["chat_type"] = 1
	}
	return body
}

func updateBody(c workgroup.Card) map[string]any {
	return map[string]any{"response_type": "update_template_card", "template_card": cardJSON(c)}
}

// cutBytes shortens to at most n bytes without splitting a character.
func cutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "…"
	end := n - len(mark)
	for end > 0 && s[end]&0xC0 == 0x80 {
		end--
	}
	return s[:max(end, 0)] + mark
}
