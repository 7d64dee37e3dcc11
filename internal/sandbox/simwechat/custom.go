package simwechat

import (
	"encoding/json"
	"strings"
	"time"
)

const (
	textBytes       = 2048
	typingWindow    = 30 * time.Second
	typingLasts     = 15 * time.Second
	newsArticles    = 1
	menuOptionsMost = 50
)

// serviceMessage is the body of message/custom/send.
type serviceMessage struct {
	ToUser  string `json:"touser"`
	MsgType string `json:"msgtype"`
	Text    *struct {
		Content string `json:"content"`
	} `json:"text"`
	Image  *mediaRef `json:"image"`
	Voice  *mediaRef `json:"voice"`
	MPNews *mediaRef `json:"mpnews"`
	Video  *struct {
		MediaID      string `json:"media_id"`
		ThumbMediaID string `json:"thumb_media_id"`
		Title        string `json:"title"`
		Description  string `json:"description"`
	} `json:"video"`
	Music *struct {
		Title        string `json:"title"`
		Description  string `json:"description"`
		MusicURL     string `json:"musicurl"`
		ThumbMediaID string `json:"thumb_media_id"`
	} `json:"music"`
	News *struct {
		Articles []article `json:"articles"`
	} `json:"news"`
	MPNewsArticle *struct {
		ArticleID string `json:"article_id"`
	} `json:"mpnewsarticle"`
	MsgMenu *struct {
		Head string       `json:"head_content"`
		List []menuOption `json:"list"`
		Tail string       `json:"tail_content"`
	} `json:"msgmenu"`
	MiniProgramPage *struct {
		Title        string `json:"title"`
		AppID        string `json:"appid"`
		PagePath     string `json:"pagepath"`
		ThumbMediaID string `json:"thumb_media_id"`
	} `json:"miniprogrampage"`
	WXCard *struct {
		CardID string `json:"card_id"`
	} `json:"wxcard"`
}

type mediaRef struct {
	MediaID string `json:"media_id"`
}

type article struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`
	PicURL      string `json:"picurl"`
}

// menuOption takes its id as a string or a number, as WeChat does.
type menuOption struct {
	ID      json.RawMessage `json:"id"`
	Content string          `json:"content"`
}

func (o menuOption) id() string { return strings.Trim(string(o.ID), `"`) }

func (s *Sim) customSend(c *call) (any, error) {
	var m serviceMessage
	if err := c.json(&m); err != nil {
		return nil, err
	}
	u := s.userOf(c.acct, m.ToUser)
	if u == nil {
		return nil, errc(40003)
	}
	it, err := s.serviceItem(c.acct, &m)
	if err != nil {
		return nil, err
	}
	now := s.core.Now()
	u.mu.Lock()
	switch {
	case u.r.Blacklisted:
		err = errc(43019)
	case !u.r.Following:
		err = errc(45015)
	default:
		err = u.spend(now)
	}
	if err == nil {
		u.typingUntil = time.Time{}
	}
	u.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s.show(u, it)
	s.accepted("service", m.ToUser, it.Text)
	return okBody(), nil
}

// serviceItem checks a message and turns it into what the resident sees.
func (s *Sim) serviceItem(a *account, m *serviceMessage) (ChatItem, error) {
	it := ChatItem{From: "account", Kind: "service", Type: m.MsgType}
	switch {
	case m.MsgType == "text" && m.Text != nil:
		if err := checkText(m.Text.Content); err != nil {
			return it, err
		}
		it.Text, it.Options, it.URL = readable(m.Text.Content)
	case m.MsgType == "image" && m.Image != nil:
		it.MediaID = m.Image.MediaID
	case m.MsgType == "voice" && m.Voice != nil:
		it.MediaID = m.Voice.MediaID
	case m.MsgType == "mpnews" && m.MPNews != nil:
		it.MediaID = m.MPNews.MediaID
	case m.MsgType == "video" && m.Video != nil:
		it.MediaID, it.Title, it.Text = m.Video.MediaID, m.Video.Title, m.Video.Description
	case m.MsgType == "music" && m.Music != nil:
		it.MediaID, it.Title, it.Text, it.URL = m.Music.ThumbMediaID, m.Music.Title, m.Music.Description, m.Music.MusicURL
	case m.MsgType == "news" && m.News != nil:
		return newsItem(it, m.News.Articles)
	case m.MsgType == "mpnewsarticle" && m.MPNewsArticle != nil:
		it.Text = m.MPNewsArticle.ArticleID
		return it, nil
	case m.MsgType == "msgmenu" && m.MsgMenu != nil:
		if a.testAccount() {
			return it, errc(40200)
		}
		if len(m.MsgMenu.List) == 0 || len(m.MsgMenu.List) > menuOptionsMost {
			return it, errc(40035)
		}
		var size int
		for _, o := range m.MsgMenu.List {
			if o.Content == "" {
				return it, errc(44004)
			}
			it.Options = append(it.Options, Option{ID: o.id(), Text: o.Content})
			size += len(o.Content)
		}
		it.Text = strings.Trim(m.MsgMenu.Head+"\n"+m.MsgMenu.Tail, outerSpace)
		if size+len(it.Text) > textBytes {
			return it, errc(45002)
		}
		return it, nil
	case m.MsgType == "miniprogrampage" && m.MiniProgramPage != nil:
		it.Title, it.URL, it.MediaID = m.MiniProgramPage.Title, m.MiniProgramPage.PagePath, m.MiniProgramPage.ThumbMediaID
	case m.MsgType == "wxcard" && m.WXCard != nil:
		it.Text = m.WXCard.CardID
		return it, nil
	default:
		return it, errc(40008)
	}
	if m.MsgType != "text" && !a.hasMedia(it.MediaID, s.core.Now()) {
		return it, errc(40007)
	}
	return it, nil
}

func checkText(content string) error {
	if strings.Trim(content, outerSpace) == "" {
		return errc(44004)
	}
	if len(content) > textBytes {
		return errc(45002)
	}
	return nil
}

func newsItem(it ChatItem, list []article) (ChatItem, error) {
	if len(list) == 0 {
		return it, errc(44004)
	}
	if len(list) > newsArticles {
		return it, errc(45008)
	}
	it.Title, it.Text, it.URL = list[0].Title, list[0].Description, list[0].URL
	return it, nil
}

// typing shows 「对方正在输入」, which needs an exchange within 30 seconds.
func (s *Sim) typing(c *call) (any, error) {
	var in struct {
		ToUser  string `json:"touser"`
		Command string `json:"command"`
	}
	if err := c.json(&in); err != nil {
		return nil, err
	}
	u := s.userOf(c.acct, in.ToUser)
	if u == nil {
		return nil, errc(40003)
	}
	now := s.core.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case in.Command != "Typing" && in.Command != "CancelTyping":
		return nil, errc(45072)
	case u.lastExchange.IsZero() || now.Sub(u.lastExchange) > typingWindow:
		return nil, errc(45080)
	case in.Command == "Typing" && now.Before(u.typingUntil):
		return nil, errc(45081)
	case in.Command == "Typing":
		u.typingUntil = now.Add(typingLasts)
	default:
		u.typingUntil = time.Time{}
	}
	return okBody(), nil
}
