package simwecom

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"guanjia/internal/sandbox/simcore"
)

// appMessage is the body of message/send and appchat/send.
type appMessage struct {
	ToUser   string          `json:"touser"`
	ToParty  string          `json:"toparty"`
	ToTag    string          `json:"totag"`
	ChatID   string          `json:"chatid"`
	AgentID  json.RawMessage `json:"agentid"`
	MsgType  string          `json:"msgtype"`
	Text     *appText        `json:"text"`
	Markdown *appText        `json:"markdown"`
	TextCard *textCard       `json:"textcard"`
	Card     *templateCard   `json:"template_card"`
	Image    *mediaBody      `json:"image"`
	File     *mediaBody      `json:"file"`
	Voice    *mediaBody      `json:"voice"`
	Video    *mediaBody      `json:"video"`
}

type appText struct {
	Content   string   `json:"content"`
	Mentioned []string `json:"mentioned_list"`
}

type textCard struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Button      string `json:"btntxt"`
}

var (
	mentionForm = regexp.MustCompile(`<@([^<>@\s]+)>`)
	appChatID   = regexp.MustCompile(`^[0-9A-Za-z]{1,32}$`)
)

// messageSend is message/send: an app speaks to members one by one.
func (s *Sim) messageSend(q request) (map[string]any, *refusal) {
	var in appMessage
	if bad := decode(q.body, &in); bad != nil {
		return nil, bad
	}
	if bad := q.corp.checkAgent(in.AgentID); bad != nil {
		return nil, bad
	}
	it, bad := s.composeApp(q.corp, in, []string{"text", "markdown", "textcard", "template_card", "image", "file", "voice", "video"})
	if bad != nil {
		return nil, bad
	}
	to, invalid, bad := s.appReceivers(in)
	if bad != nil {
		return nil, bad
	}
	msgID := newID("")
	it.origin = msgID
	out := map[string]any{"invaliduser": strings.Join(invalid, "|"), "invalidparty": "", "invalidtag": "", "msgid": msgID}
	card := &appCard{at: s.core.Now(), card: in.Card}
	for _, id := range to {
		c := s.singles[id]
		if !c.takeApp(q.corp.CorpID, s.core.Now()) {
			s.core.Counters.Call("wecom.app_send", "dropped") // the vendor says nothing
			continue
		}
		seq := s.post(c, it)
		s.tally("app", id, it, "")
		p := place{c, seq, s.core.Now()}
		q.corp.sent[msgID] = append(q.corp.sent[msgID], sentMessage{p})
		card.places = append(card.places, p)
	}
	if in.Card != nil && interactive[in.Card.CardType] {
		code := newID("")
		q.corp.cards[code] = card
		out["response_code"] = code
	}
	return out, nil
}

// takeApp books one message of an app to a member: 30 a minute, 1,000 an hour.
func (c *chat) takeApp(corpID string, now time.Time) bool {
	w := c.appRate[corpID]
	if w == nil {
		w = &window{limits: []rate{{30, time.Minute}, {1000, time.Hour}}}
		c.appRate[corpID] = w
	}
	return w.take(now)
}

func (c *corp) checkAgent(raw json.RawMessage) *refusal {
	var id int
	if json.Unmarshal(raw, &id) != nil || id != c.AgentID {
		return refuse(codeBadAgent, "%s", errmsg(codeBadAgent))
	}
	return nil
}

func (s *Sim) appReceivers(in appMessage) (to, invalid []string, bad *refusal) {
	if in.ToUser == "@all" {
		for _, m := range s.staff {
			to = append(to, m.UserID)
		}
		return to, nil, nil
	}
	list := receivers(in.ToUser)
	if len(list) > 1000 {
		return nil, nil, refuse(codeBadParam, "touser has more than 1000 members")
	}
	if slices.Contains(receivers(in.ToParty), "1") {
		for _, m := range s.staff {
			list = append(list, m.UserID)
		}
	}
	for _, id := range list {
		switch {
		case slices.Contains(to, id):
		case s.singles[id] == nil:
			invalid = append(invalid, id)
		default:
			to = append(to, id)
		}
	}
	if len(to) == 0 {
		return nil, nil, refuse(codeNoReceivers, "%s", errmsg(codeNoReceivers))
	}
	return to, invalid, nil
}

// composeApp checks an app's message; s.mu is held.
func (s *Sim) composeApp(app *corp, in appMessage, allowed []string) (Item, *refusal) {
	it := Item{From: From{Kind: "app", ID: app.CorpID}}
	if !slices.Contains(allowed, in.MsgType) {
		return it, refuse(codeBadMsgType, "%s", errmsg(codeBadMsgType))
	}
	switch in.MsgType {
	case "text", "markdown":
		body := in.Text
		if in.MsgType == "markdown" {
			body = in.Markdown
		}
		if body == nil || body.Content == "" {
			return it, refuse(codeBadParam, "%s.content missing", in.MsgType)
		}
		if len(body.Content) > 2048 {
			return it, refuse(codeTooLong, "%s", errmsg(codeTooLong))
		}
		it.Type, it.Text = in.MsgType, body.Content
		it.Mentions = append(slices.Clone(body.Mentioned), mentioned(body.Content)...)
	case "textcard":
		t := in.TextCard
		switch {
		case t == nil || t.Title == "" || t.Description == "":
			return it, refuse(codeBadParam, "textcard.title and description must not be empty")
		case utf8.RuneCountInString(t.Title) > 128 || utf8.RuneCountInString(t.Description) > 512:
			return it, refuse(codeTooLong, "%s", errmsg(codeTooLong))
		case !webURL(t.URL):
			return it, refuse(codeBadParam, "textcard.url invalid")
		}
		it.Type = "textcard"
		it.Card = &Card{
			Title: t.Title, Desc: t.Description, Rows: []CardRow{}, Buttons: []CardButton{}, Selects: []CardSelect{},
			Links: []CardLink{{Text: orElse(t.Button, "详情"), URL: t.URL}},
		}
		it.Text = t.Title + "\n" + t.Description
	case "template_card":
		if bad := in.Card.check(byApp); bad != nil {
			return it, bad
		}
		it.Type, it.Card, it.raw = "card", in.Card.draw(), in.Card
	default:
		body := map[string]*mediaBody{"image": in.Image, "file": in.File, "voice": in.Voice, "video": in.Video}[in.MsgType]
		if body == nil {
			return it, refuse(codeBadParam, "%s.media_id missing", in.MsgType)
		}
		m := s.findMedia(app.CorpID, body.MediaID)
		if m == nil || m.kind != in.MsgType {
			return it, refuse(codeBadMedia, "%s", errmsg(codeBadMedia))
		}
		it.Type, it.Text, it.media = in.MsgType, m.name, m.id
		if in.MsgType == "image" {
			it.ImageURL = m.page()
		}
	}
	return it, nil
}

func mentioned(text string) []string {
	var out []string
	for _, m := range mentionForm.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

func orElse(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// updateTemplateCard changes an app's card by its response_code, within 72 h, once.
func (s *Sim) updateTemplateCard(q request) (map[string]any, *refusal) {
	var in struct {
		UserIDs []string        `json:"userids"`
		AtAll   int             `json:"atall"`
		AgentID json.RawMessage `json:"agentid"`
		Code    string          `json:"response_code"`
		Button  *struct {
			ReplaceName string `json:"replace_name"`
		} `json:"button"`
		Card *templateCard `json:"template_card"`
	}
	if bad := decode(q.body, &in); bad != nil {
		return nil, bad
	}
	if bad := q.corp.checkAgent(in.AgentID); bad != nil {
		return nil, bad
	}
	sent := q.corp.cards[in.Code]
	if sent == nil || s.core.Now().Sub(sent.at) > cardLives {
		return nil, refuse(codeBadResponseCode, "%s", errmsg(codeBadResponseCode))
	}
	var next *Card
	switch {
	case in.Card != nil:
		if bad := in.Card.check(byApp); bad != nil {
			return nil, bad
		}
		next = in.Card.draw()
	case in.Button != nil && in.Button.ReplaceName != "":
		next = sent.card.draw()
		next.Buttons = []CardButton{}
		next.SubTitle = strings.TrimSpace(next.SubTitle + "\n" + in.Button.ReplaceName)
	default:
		return nil, refuse(codeBadParam, "button.replace_name or template_card missing")
	}
	delete(q.corp.cards, in.Code)
	for _, p := range sent.places {
		if in.AtAll == 0 && !slices.Contains(in.UserIDs, p.chat.id) {
			continue
		}
		p.chat.feed.Update(p.seq, func(it *Item) {
			it.Rev++
			it.Card = next
		})
	}
	return map[string]any{"invaliduser": []string{}}, nil
}

// recall takes back an app's message within 24 h.
func (s *Sim) recall(q request) (map[string]any, *refusal) {
	var in struct {
		MsgID string `json:"msgid"`
	}
	if bad := decode(q.body, &in); bad != nil {
		return nil, bad
	}
	sent := q.corp.sent[in.MsgID]
	if len(sent) == 0 || s.core.Now().Sub(sent[0].at) > recallWithin {
		return nil, refuse(codeBadParam, "invalid msgid")
	}
	delete(q.corp.sent, in.MsgID)
	for _, p := range sent {
		p.chat.feed.Update(p.seq, func(it *Item) {
			it.Rev++
			it.Type, it.Text, it.Card, it.raw, it.ImageURL = "text", "", nil, nil, ""
			it.Recalled = true
		})
	}
	return nil, nil
}

// appchatCreate makes a group that belongs to the app. Nobody sees it before the
// first message.
func (s *Sim) appchatCreate(q request) (map[string]any, *refusal) {
	var in struct {
		Name   string   `json:"name"`
		Owner  string   `json:"owner"`
		Users  []string `json:"userlist"`
		ChatID string   `json:"chatid"`
	}
	if bad := decode(q.body, &in); bad != nil {
		return nil, bad
	}
	if in.ChatID == "" {
		in.ChatID = newID("")
	}
	switch {
	case utf8.RuneCountInString(in.Name) > 50:
		return nil, refuse(codeBadParam, "name has more than 50 characters")
	case !appChatID.MatchString(in.ChatID):
		return nil, refuse(86001, "invalid chatid")
	case s.chats[in.ChatID] != nil:
		return nil, refuse(codeChatExists, "%s", errmsg(codeChatExists))
	case len(in.Users) < 2 || len(in.Users) > 2000:
		return nil, refuse(codeChatSize, "%s", errmsg(codeChatSize))
	}
	if u, ok := s.stranger(in.Users); ok {
		return nil, refuse(codeChatMember, "chat member invalid: %s", u)
	}
	if in.Owner == "" {
		in.Owner = in.Users[0]
	}
	if !slices.Contains(in.Users, in.Owner) {
		return nil, refuse(codeChatMember, "owner isn't a member")
	}
	c := newChat(in.ChatID, orElse(in.Name, "应用群"), slices.Clone(in.Users))
	c.app, c.owner = true, in.Owner
	s.chats[in.ChatID] = c
	return map[string]any{"chatid": in.ChatID}, nil
}

// appchat finds a group that an app made.
func (s *Sim) appchat(id string) (*chat, *refusal) {
	c := s.chats[id]
	if c == nil || !c.app {
		return nil, refuse(codeChatMissing, "%s", errmsg(codeChatMissing))
	}
	return c, nil
}

func (s *Sim) appchatUpdate(q request) (map[string]any, *refusal) {
	var in struct {
		ChatID string   `json:"chatid"`
		Name   string   `json:"name"`
		Owner  string   `json:"owner"`
		Add    []string `json:"add_user_list"`
		Remove []string `json:"del_user_list"`
	}
	if bad := decode(q.body, &in); bad != nil {
		return nil, bad
	}
	c, bad := s.appchat(in.ChatID)
	if bad != nil {
		return nil, bad
	}
	if u, ok := s.stranger(in.Add); ok {
		return nil, refuse(codeChatMember, "chat member invalid: %s", u)
	}
	members := slices.DeleteFunc(slices.Clone(c.members), func(m string) bool { return slices.Contains(in.Remove, m) })
	for _, m := range in.Add {
		if !slices.Contains(members, m) {
			members = append(members, m)
		}
	}
	if len(members) < 2 || len(members) > 2000 {
		return nil, refuse(codeChatSize, "%s", errmsg(codeChatSize))
	}
	owner := orElse(in.Owner, c.owner)
	if !slices.Contains(members, owner) {
		return nil, refuse(codeChatMember, "owner isn't a member")
	}
	c.members, c.owner, c.name = members, owner, orElse(in.Name, c.name)
	return nil, nil
}

func (s *Sim) appchatGet(q request) (map[string]any, *refusal) {
	c, bad := s.appchat(q.query("chatid"))
	if bad != nil {
		return nil, bad
	}
	return map[string]any{"chat_info": map[string]any{"chatid": c.id, "name": c.name, "owner": c.owner, "userlist": c.members}}, nil
}

func (s *Sim) appchatSend(q request) (map[string]any, *refusal) {
	var in appMessage
	if bad := decode(q.body, &in); bad != nil {
		return nil, bad
	}
	c, bad := s.appchat(in.ChatID)
	if bad != nil {
		return nil, bad
	}
	it, bad := s.composeApp(q.corp, in, []string{"text", "markdown", "textcard", "image", "file", "voice", "video"})
	if bad != nil {
		return nil, bad
	}
	if !slices.Contains(s.groups, c) {
		s.groups = append(s.groups, c) // now its members see it
	}
	s.post(c, it)
	s.tally("app", c.id, it, "")
	return nil, nil
}

var _ simcore.Module = (*Sim)(nil)
