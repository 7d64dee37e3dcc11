package simwechat

import (
	"bytes"
	"encoding/xml"
	"errors"
	"strings"

	"guanjia/internal/sandbox/wxcrypt"
)

// replyXML is a passive reply, open or sealed.
type replyXML struct {
	XMLName      xml.Name `xml:"xml"`
	Encrypt      string   `xml:"Encrypt"`
	MsgSignature string   `xml:"MsgSignature"`
	TimeStamp    string   `xml:"TimeStamp"`
	Nonce        string   `xml:"Nonce"`

	ToUserName   string `xml:"ToUserName"`
	FromUserName string `xml:"FromUserName"`
	CreateTime   int64  `xml:"CreateTime"`
	MsgType      string `xml:"MsgType"`
	Content      string `xml:"Content"`
	Image        struct {
		MediaID string `xml:"MediaId"`
	} `xml:"Image"`
	Voice struct {
		MediaID string `xml:"MediaId"`
	} `xml:"Voice"`
	Video struct {
		MediaID     string `xml:"MediaId"`
		Title       string `xml:"Title"`
		Description string `xml:"Description"`
	} `xml:"Video"`
	Music struct {
		Title        string `xml:"Title"`
		Description  string `xml:"Description"`
		MusicURL     string `xml:"MusicUrl"`
		ThumbMediaID string `xml:"ThumbMediaId"`
	} `xml:"Music"`
	ArticleCount int `xml:"ArticleCount"`
	Articles     struct {
		Item []struct {
			Title       string `xml:"Title"`
			Description string `xml:"Description"`
			URL         string `xml:"Url"`
		} `xml:"item"`
	} `xml:"Articles"`
}

// readReply reads an answer as WeChat does: nothing, "success", or a reply
// in the account's mode. An error is what makes the resident see the fault
// notice.
func (s *Sim) readReply(p *push, body []byte) (*Reply, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || string(body) == "success" {
		return nil, nil
	}
	x, err := parseReply(body)
	if err != nil {
		return nil, err
	}
	if x.Encrypt == "" {
		if p.mode == modeEncrypted {
			return nil, errors.New("reply not encrypted")
		}
		return s.checkReply(p, x)
	}
	if p.mode == modePlain {
		return nil, errors.New("encrypted reply to a plain message")
	}
	opened, err := p.acct.open(x)
	if err != nil {
		return nil, err
	}
	inner, err := parseReply(opened)
	if err != nil {
		return nil, err
	}
	return s.checkReply(p, inner)
}

func parseReply(body []byte) (*replyXML, error) {
	var x replyXML
	if err := xml.Unmarshal(body, &x); err != nil {
		return nil, errors.New("reply is no XML")
	}
	return &x, nil
}

// open verifies and decrypts a sealed reply.
func (a *account) open(x *replyXML) ([]byte, error) {
	if !wxcrypt.Equal(wxcrypt.Signature(a.cfg.Token, x.TimeStamp, x.Nonce, x.Encrypt), x.MsgSignature) {
		return nil, errors.New("signature of the reply is wrong")
	}
	msg, id, err := a.key.Decrypt(x.Encrypt)
	if err != nil {
		return nil, errors.New("reply cannot be decrypted")
	}
	if id != a.cfg.AppID {
		return nil, errors.New("app id of the reply is wrong")
	}
	return msg, nil
}

func (s *Sim) checkReply(p *push, x *replyXML) (*Reply, error) {
	switch {
	case x.ToUserName != p.u.r.OpenID:
		return nil, errors.New("ToUserName of the reply is wrong")
	case x.FromUserName != p.acct.cfg.OriginalID:
		return nil, errors.New("FromUserName of the reply is wrong")
	case x.CreateTime <= 0:
		return nil, errors.New("CreateTime of the reply is missing")
	}
	r := &Reply{Type: x.MsgType}
	switch x.MsgType {
	case "text":
		if strings.Trim(x.Content, outerSpace) == "" {
			return nil, errors.New("reply without content")
		}
		if len(x.Content) > textBytes {
			return nil, errors.New("reply is too long")
		}
		r.Text, r.Options, r.URL = readable(x.Content)
		return r, nil
	case "image":
		r.MediaID = x.Image.MediaID
	case "voice":
		r.MediaID = x.Voice.MediaID
	case "video":
		r.MediaID, r.Title, r.Text = x.Video.MediaID, x.Video.Title, x.Video.Description
	case "music":
		r.MediaID, r.Title, r.Text, r.URL = x.Music.ThumbMediaID, x.Music.Title, x.Music.Description, x.Music.MusicURL
	case "news":
		if len(x.Articles.Item) == 0 || x.ArticleCount != len(x.Articles.Item) {
			return nil, errors.New("ArticleCount is wrong")
		}
		if p.event == "" && len(x.Articles.Item) > newsArticles || len(x.Articles.Item) > 8 {
			return nil, errors.New("too many articles")
		}
		a := x.Articles.Item[0]
		r.Title, r.Text, r.URL = a.Title, a.Description, a.URL
		return r, nil
	case "transfer_customer_service":
		if p.event != "" {
			return nil, errors.New("an event cannot be handed to customer service")
		}
		return r, nil
	default:
		return nil, errors.New("unknown type of reply")
	}
	if !p.acct.hasMedia(r.MediaID, s.core.Now()) {
		return nil, errors.New("media_id of the reply is unknown")
	}
	return r, nil
}
