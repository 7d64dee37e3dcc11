package simwecom

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"

	"guanjia/internal/sandbox/simcore"
)

// hookMessage is the body of webhook/send.
type hookMessage struct {
	MsgType  string        `json:"msgtype"`
	Text     *hookText     `json:"text"`
	Markdown *textBody     `json:"markdown"`
	V2       *textBody     `json:"markdown_v2"`
	Image    *hookImage    `json:"image"`
	News     *hookNews     `json:"news"`
	File     *mediaBody    `json:"file"`
	Voice    *mediaBody    `json:"voice"`
	Card     *templateCard `json:"template_card"`
}

type hookText struct {
	Content string   `json:"content"`
	Users   []string `json:"mentioned_list"`
	Mobiles []string `json:"mentioned_mobile_list"`
}

type hookImage struct {
	Base64 string `json:"base64"`
	MD5    string `json:"md5"`
}

type hookNews struct {
	Articles []struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		URL         string `json:"url"`
		PicURL      string `json:"picurl"`
	} `json:"articles"`
}

const (
	maxHookText     = 2048 // bytes
	maxHookMarkdown = 4096
	maxHookImage    = 2 << 20
)

// webhookSend is the push-only robot of a group.
func (s *Sim) webhookSend(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	key := r.URL.Query().Get("key")
	s.mu.Lock()
	match := simcore.Match{}
	if h := s.webhooks[key]; h != nil {
		match.ChatID = h.ChatID
	}
	s.mu.Unlock()
	s.core.Apply(w, r, "wecom.webhook", match, failWith, func() simcore.Response {
		s.mu.Lock()
		defer s.mu.Unlock()
		return reply(s.hook(key, body), nil)
	})
}

func (s *Sim) hook(key string, body []byte) *refusal {
	h := s.webhooks[key]
	if h == nil {
		return refuse(codeBadKey, "%s", errmsg(codeBadKey))
	}
	c := s.chats[h.ChatID]
	if c == nil {
		return refuse(codeNotInChat, "%s", errmsg(codeNotInChat))
	}
	var in hookMessage
	if bad := decode(body, &in); bad != nil {
		return bad
	}
	it, bad := s.composeHook(key, in)
	if bad != nil {
		return bad
	}
	if !h.quota.take(s.core.Now()) {
		return refuse(codeQuota, "%s", errmsg(codeQuota))
	}
	it.From = From{Kind: "webhook", ID: h.ChatID}
	s.post(c, it)
	s.tally("webhook", c.id, it, "")
	return nil
}

func (s *Sim) composeHook(key string, in hookMessage) (Item, *refusal) {
	it := Item{Type: in.MsgType}
	switch in.MsgType {
	case "text":
		if in.Text == nil || in.Text.Content == "" {
			return it, refuse(codeBadParam, "text.content missing")
		}
		if len(in.Text.Content) > maxHookText {
			return it, refuse(codeTooLong, "%s", errmsg(codeTooLong))
		}
		it.Text = in.Text.Content
		it.Mentions = append(slices.Clone(in.Text.Users), s.byMobile(in.Text.Mobiles)...)
	case "markdown", "markdown_v2":
		body := in.Markdown
		if in.MsgType == "markdown_v2" {
			body = in.V2
		}
		if body == nil || body.Content == "" {
			return it, refuse(codeBadParam, "%s.content missing", in.MsgType)
		}
		if len(body.Content) > maxHookMarkdown {
			return it, refuse(codeTooLong, "%s", errmsg(codeTooLong))
		}
		it.Text = body.Content
		if in.MsgType == "markdown" { // the newer dialect has no mentions
			it.Mentions = mentioned(body.Content)
		}
	case "image":
		return s.composeHookImage(in.Image)
	case "news":
		if in.News == nil || len(in.News.Articles) < 1 || len(in.News.Articles) > 8 {
			return it, refuse(codeBadParam, "news.articles needs 1 to 8 items")
		}
		it.Card = &Card{Title: in.News.Articles[0].Title, Desc: in.News.Articles[0].Description, Rows: []CardRow{}, Buttons: []CardButton{}, Selects: []CardSelect{}}
		for _, a := range in.News.Articles {
			if a.Title == "" || !webURL(a.URL) {
				return it, refuse(codeBadParam, "news.articles.title and url must not be empty")
			}
			it.Card.Links = append(it.Card.Links, CardLink{Text: a.Title, URL: a.URL})
			it.Text += a.Title + "\n"
		}
	case "file", "voice":
		body := in.File
		if in.MsgType == "voice" {
			body = in.Voice
		}
		if body == nil {
			return it, refuse(codeBadParam, "%s.media_id missing", in.MsgType)
		}
		m := s.findMedia(key, body.MediaID)
		if m == nil || m.kind != in.MsgType {
			return it, refuse(codeBadMedia, "%s", errmsg(codeBadMedia))
		}
		it.Text, it.media = m.name, m.id
	case "template_card":
		if bad := in.Card.check(byWebhook); bad != nil {
			return it, bad
		}
		it.Type, it.Card, it.raw = "card", in.Card.draw(), in.Card
	default:
		return it, refuse(codeBadMsgType, "%s", errmsg(codeBadMsgType))
	}
	return it, nil
}

func (s *Sim) composeHookImage(in *hookImage) (Item, *refusal) {
	it := Item{Type: "image"}
	if in == nil {
		return it, refuse(codeBadParam, "image missing")
	}
	data, err := base64.StdEncoding.DecodeString(in.Base64)
	if err != nil || len(data) == 0 {
		return it, refuse(codeBadParam, "image.base64 invalid")
	}
	sum := md5.Sum(data)
	if hex.EncodeToString(sum[:]) != in.MD5 {
		return it, refuse(codeBadParam, "image.md5 mismatch")
	}
	if len(data) > maxHookImage {
		return it, refuse(codeTooLong, "%s", errmsg(codeTooLong))
	}
	m := s.fromMember("image", "image", data)
	it.ImageURL, it.media = m.page(), in.MD5
	return it, nil
}

// byMobile turns phone numbers into userids where the world knows them.
func (s *Sim) byMobile(list []string) []string {
	var out []string
	for _, phone := range list {
		i := slices.IndexFunc(s.staff, func(m simcore.Staff) bool { return m.Phone != "" && m.Phone == phone })
		if i >= 0 {
			phone = s.staff[i].UserID
		}
		out = append(out, phone)
	}
	return out
}

func (s *Sim) webhookUpload(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	key, kind := r.URL.Query().Get("key"), r.URL.Query().Get("type")
	s.core.Apply(w, r, "wecom.webhook", simcore.Match{}, failWith, func() simcore.Response {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.webhooks[key] == nil {
			return reply(refuse(codeBadKey, "%s", errmsg(codeBadKey)), nil)
		}
		if kind != "file" && kind != "voice" {
			return reply(refuse(codeBadMsgType, "invalid media type"), nil)
		}
		name, data, bad := readUpload(r, body)
		if bad == nil {
			bad = checkFile(kind, len(data))
		}
		if bad != nil {
			return reply(bad, nil)
		}
		m := s.storeMedia(&media{owner: key, kind: kind, name: name, data: data})
		return reply(nil, map[string]any{"type": kind, "media_id": m.id, "created_at": itoa(int(m.at.Unix()))})
	})
}
