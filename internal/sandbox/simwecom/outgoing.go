package simwecom

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// outbound is the body of every command by which a bot speaks.
type outbound struct {
	ChatID   string        `json:"chatid"`
	ChatType int           `json:"chat_type"` // 1 single, 2 group, 0 guess
	MsgType  string        `json:"msgtype"`
	Text     *textBody     `json:"text"`
	Markdown *textBody     `json:"markdown"`
	Card     *templateCard `json:"template_card"`
	Stream   *streamBody   `json:"stream"`
	Image    *mediaBody    `json:"image"`
	File     *mediaBody    `json:"file"`
	Voice    *mediaBody    `json:"voice"`
	Video    *mediaBody    `json:"video"`
}

type textBody struct {
	Content string `json:"content"`
}

type mediaBody struct {
	MediaID string `json:"media_id"`
}

type streamBody struct {
	ID      string `json:"id"`
	Finish  bool   `json:"finish"`
	Content string `json:"content"`
	Items   []struct {
		MsgType string `json:"msgtype"`
	} `json:"msg_item"`
}

// What a command may carry.
var (
	sendTypes    = []string{"markdown", "template_card", "file", "image", "voice", "video"}
	respondTypes = []string{"stream", "template_card", "stream_with_template_card", "markdown", "file", "image", "voice", "video"}
	welcomeTypes = []string{"text", "template_card"}
)

// sendMsg is aibot_send_msg: a push nobody asked for.
func (s *Sim) sendMsg(b *bot, f frame) (any, *refusal) {
	var o outbound
	if bad := decode(f.Body, &o); bad != nil {
		return nil, bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, bad := s.target(b, o)
	if bad != nil {
		return nil, bad
	}
	it, bad := s.compose(b, o, sendTypes)
	if bad != nil {
		return nil, bad
	}
	if !c.take(b.BotID, s.core.Now()) {
		return nil, refuse(codeQuota, "%s", errmsg(codeQuota))
	}
	s.accept(b, c, it, "")
	return nil, nil
}

// target finds the conversation a push is for; s.mu is held.
func (s *Sim) target(b *bot, o outbound) (*chat, *refusal) {
	if o.ChatID == "" {
		return nil, refuse(codeBadParam, "chatid missing")
	}
	var c *chat
	switch o.ChatType {
	case 0, 2:
		c = s.chats[o.ChatID]
		if c == nil && o.ChatType == 0 {
			c = s.single(o.ChatID)
		}
	case 1:
		c = s.single(o.ChatID)
	default:
		return nil, refuse(codeBadParam, "chat_type invalid")
	}
	switch {
	case c == nil:
		return nil, refuse(codeBadChat, "%s", errmsg(codeBadChat))
	case !c.has(b.BotID):
		return nil, refuse(codeNotInChat, "%s", errmsg(codeNotInChat))
	case !c.spoken[b.BotID]:
		return nil, refuse(codeNotAllowed, "%s", errmsg(codeNotAllowed))
	}
	return c, nil
}

// single finds a 1:1 chat by the userid a bot knows, plain or ciphertext.
func (s *Sim) single(id string) *chat {
	if c := s.singles[id]; c != nil && !s.cipher {
		return c
	}
	if plain, ok := plainID(id); ok {
		return s.singles[plain]
	}
	return nil
}

// compose checks a message and turns it into an item; s.mu is held.
func (s *Sim) compose(b *bot, o outbound, allowed []string) (Item, *refusal) {
	it := Item{From: From{Kind: "bot", ID: b.BotID}, botID: b.BotID}
	if !slices.Contains(allowed, o.MsgType) {
		return it, refuse(codeBadMsgType, "%s", errmsg(codeBadMsgType))
	}
	switch o.MsgType {
	case "text", "markdown":
		body := o.Markdown
		if o.MsgType == "text" {
			body = o.Text
		}
		if body == nil || body.Content == "" {
			return it, refuse(codeBadParam, "%s.content missing", o.MsgType)
		}
		if len(body.Content) > maxContent {
			return it, refuse(codeBadParam, "%s.content exceed max length %d", o.MsgType, maxContent)
		}
		it.Type, it.Text = o.MsgType, body.Content
	case "template_card":
		if bad := s.takeCard(b, o.Card); bad != nil {
			return it, bad
		}
		it.Type, it.Card, it.raw = "card", o.Card.draw(), o.Card
	case "stream", "stream_with_template_card":
		if o.Stream == nil || o.Stream.ID == "" {
			return it, refuse(codeBadParam, "stream.id missing")
		}
		if len(o.Stream.Content) > maxContent {
			return it, refuse(codeBadParam, "stream.content exceed max length %d", maxContent)
		}
		if len(o.Stream.Items) > 10 || len(o.Stream.Items) > 0 && !o.Stream.Finish {
			return it, refuse(codeBadParam, "stream.msg_item: at most 10, and only with finish")
		}
		it.Type, it.Text, it.stream = "markdown", o.Stream.Content, o.Stream.ID
		if o.MsgType == "stream_with_template_card" && o.Card != nil {
			if bad := s.takeCard(b, o.Card); bad != nil {
				return it, bad
			}
			it.Card, it.raw = o.Card.draw(), o.Card
		}
	default:
		body := map[string]*mediaBody{"image": o.Image, "file": o.File, "voice": o.Voice, "video": o.Video}[o.MsgType]
		if body == nil || body.MediaID == "" {
			return it, refuse(codeBadParam, "%s.media_id missing", o.MsgType)
		}
		m := s.findMedia(b.BotID, body.MediaID)
		if m == nil || m.kind != o.MsgType {
			return it, refuse(codeBadMedia, "%s", errmsg(codeBadMedia))
		}
		it.Type, it.Text, it.media = o.MsgType, m.name, m.id
		if o.MsgType == "image" {
			it.ImageURL = m.page()
		}
	}
	return it, nil
}

// takeCard checks a card and its task_id, which must be new for this bot.
func (s *Sim) takeCard(b *bot, card *templateCard) *refusal {
	if bad := card.check(byBot); bad != nil {
		return bad
	}
	if card.TaskID != "" && b.tasks[card.TaskID] {
		return refuse(codeBadParam, "template_card.task_id already used")
	}
	return nil
}

// accept puts a checked message into the chat and counts it. by is the req_id that
// it answers, empty for a push.
func (s *Sim) accept(b *bot, c *chat, it Item, by string) int64 {
	if it.raw != nil && it.raw.TaskID != "" {
		b.tasks[it.raw.TaskID] = true
	}
	seq := s.post(c, it)
	s.tally(c.channel(), c.id, it, by)
	return seq
}

// tally counts an accepted message by address and content. A card counts without
// its task_id, which a repeated card must change; an answer counts together with
// what it answers, because two questions may well have the same answer.
func (s *Sim) tally(channel, address string, it Item, by string) {
	s.core.Counters.Address(channel, address)
	content := it.Type + "\n" + it.Text + "\n" + it.media
	if it.raw != nil {
		bare := *it.raw
		bare.TaskID = ""
		data, err := json.Marshal(bare)
		if err != nil { // plain data
			s.core.Log.Error("card cannot be counted", "error", err)
			return
		}
		content += "\n" + string(data)
	}
	if len(it.Mentions) > 0 {
		content += "\n@" + strings.Join(it.Mentions, ",")
	}
	sum := sha256.Sum256([]byte(by + "\x00" + content))
	s.core.Counters.Content(address, hex.EncodeToString(sum[:]))
}

// respondMsg is aibot_respond_msg: an answer to a message within 24 hours.
func (s *Sim) respondMsg(b *bot, f frame) (any, *refusal) {
	var o outbound
	if bad := decode(f.Body, &o); bad != nil {
		return nil, bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := b.asks[f.Headers.ReqID]
	now := s.core.Now()
	if a == nil || a.kind != askMessage || now.Sub(a.at) > respondWithin {
		return nil, refuse(codeBadReqID, "%s", errmsg(codeBadReqID))
	}
	if !a.chat.has(b.BotID) {
		return nil, refuse(codeNotInChat, "%s", errmsg(codeNotInChat))
	}
	it, bad := s.compose(b, o, respondTypes)
	if bad != nil {
		return nil, bad
	}
	if it.stream != "" {
		if now.Sub(a.at) > streamWithin || a.streams[it.stream].finished {
			return nil, refuse(codeStreamOver, "%s", errmsg(codeStreamOver))
		}
		if open, ok := a.streams[it.stream]; ok {
			a.chat.feed.Update(open.seq, func(old *Item) {
				old.Text = it.Text
				if it.Card != nil {
					old.Card, old.raw = it.Card, it.raw
				}
				old.Rev++
			})
			a.streams[it.stream] = streamState{open.seq, o.Stream.Finish}
			return nil, nil
		}
	}
	if !a.chat.take(b.BotID, now) {
		return nil, refuse(codeQuota, "%s", errmsg(codeQuota))
	}
	seq := s.accept(b, a.chat, it, a.msgID)
	if it.stream != "" {
		a.streams[it.stream] = streamState{seq, o.Stream.Finish}
	}
	return nil, nil
}

// respondWelcome is aibot_respond_welcome_msg: only to enter_chat, within 5 s, once.
func (s *Sim) respondWelcome(b *bot, f frame) (any, *refusal) {
	var o outbound
	if bad := decode(f.Body, &o); bad != nil {
		return nil, bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := b.asks[f.Headers.ReqID]
	if a == nil || a.kind != askEnter || a.closed || a.late(s.core.Now()) {
		return nil, refuse(codeBadReqID, "%s", errmsg(codeBadReqID))
	}
	it, bad := s.compose(b, o, welcomeTypes)
	if bad != nil {
		return nil, bad
	}
	if !a.chat.take(b.BotID, s.core.Now()) {
		return nil, refuse(codeQuota, "%s", errmsg(codeQuota))
	}
	a.closed = true
	s.accept(b, a.chat, it, a.msgID)
	return nil, nil
}

// respondUpdate is aibot_respond_update_msg: the new card after a click, within
// 5 s, once.
func (s *Sim) respondUpdate(b *bot, f frame) (any, *refusal) {
	var in struct {
		ResponseType string        `json:"response_type"`
		UserIDs      []string      `json:"userids"`
		Card         *templateCard `json:"template_card"`
	}
	if bad := decode(f.Body, &in); bad != nil {
		return nil, bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := b.asks[f.Headers.ReqID]
	if a == nil || a.kind != askClick || a.click.closed || a.late(s.core.Now()) {
		return nil, refuse(codeBadReqID, "%s", errmsg(codeBadReqID))
	}
	bad := in.Card.check(byBot)
	switch {
	case in.ResponseType != "update_template_card":
		bad = refuse(codeBadParam, "response_type invalid")
	case bad != nil:
	case in.Card.TaskID != a.click.taskID:
		bad = refuse(codeBadParam, "template_card.task_id isn't that of the event")
	}
	if bad != nil {
		a.click.refused = bad
		return nil, bad
	}
	a.click.closed = true
	a.chat.feed.Update(a.click.seq, func(it *Item) {
		it.Rev++
		if len(in.UserIDs) == 0 {
			it.Card, it.raw, it.Views = in.Card.draw(), in.Card, nil
			return
		}
		views := make(map[string]*Card, len(it.Views)+len(in.UserIDs))
		for u, v := range it.Views { // readers may hold the old map
			views[u] = v
		}
		for _, u := range in.UserIDs {
			if plain, ok := plainID(u); ok {
				u = plain
			}
			views[u] = in.Card.draw()
		}
		it.Views = views
	})
	close(a.click.replaced)
	return nil, nil
}

// chatOf tells which conversation a frame is about, for faults that match one.
func (s *Sim) chatOf(b *bot, f frame) string {
	var o struct {
		ChatID string `json:"chatid"`
	}
	_ = json.Unmarshal(f.Body, &o) // a bad body is refused where it is used
	if o.ChatID != "" {
		return o.ChatID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := b.asks[f.Headers.ReqID]; a != nil && a.chat != nil {
		return a.chat.id
	}
	return ""
}

func itoa(n int) string { return strconv.Itoa(n) }

// late says whether an answer comes after the five seconds, by either clock.
func (a *ask) late(now time.Time) bool {
	return time.Since(a.wall) > answerWithin || now.Sub(a.at) > answerWithin
}
