package wechatapi

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/silenceper/wechat/v2/officialaccount/basic"
	"github.com/silenceper/wechat/v2/officialaccount/config"
	sdkcontext "github.com/silenceper/wechat/v2/officialaccount/context"
	"github.com/silenceper/wechat/v2/officialaccount/menu"
	"github.com/silenceper/wechat/v2/officialaccount/message"
	"github.com/silenceper/wechat/v2/officialaccount/oauth"
	"github.com/silenceper/wechat/v2/officialaccount/user"
)

// MaxTextBytes is the longest text of a service message, in UTF-8 bytes.
const MaxTextBytes = 2048

// SendText sends a service message (客服消息) of plain text. The platform gives
// no message id and no idempotency: after a ClassAmbiguous error nobody can
// say whether the resident has it.
func (c *Client) SendText(ctx context.Context, a Account, openID, text string) error {
	return c.customSend(ctx, a, message.NewCustomerTextMessage(openID, text))
}

// Choice is one option of a menu message. ID must be digits: letters come back
// as "0" or not at all when the option is chosen.
type Choice struct {
	ID   string
	Text string
}

// SendMenu sends a service message with options (msgmenu). A chosen option
// arrives as a text message with the option's id.
func (c *Client) SendMenu(ctx context.Context, a Account, openID, head string, list []Choice, tail string) error {
	m := &message.CustomerMessage{
		ToUser: openID, Msgtype: "msgmenu",
		Msgmenu: &message.MediaMsgmenu{HeadContent: head, TailContent: tail},
	}
	for _, ch := range list {
		if !isDigits(ch.ID) {
			return ownError("custom/send", 0, CodeRefused, "menu option id is not numeric", nil)
		}
		m.Msgmenu.List = append(m.Msgmenu.List, message.MsgmenuItem{ID: ch.ID, Content: ch.Text})
	}
	return c.customSend(ctx, a, m)
}

// SendImage sends an uploaded image as a service message.
func (c *Client) SendImage(ctx context.Context, a Account, openID, mediaID string) error {
	return c.customSend(ctx, a, message.NewCustomerImgMessage(openID, mediaID))
}

func (c *Client) customSend(ctx context.Context, a Account, m *message.CustomerMessage) error {
	return c.authorized(ctx, a, func(q url.Values) error {
		return c.post(ctx, "custom/send", "/cgi-bin/message/custom/send", q, m, nil)
	})
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// Template is one template message.
type Template struct {
	OpenID     string
	TemplateID string
	URL        string            // page to open; may be empty
	Fields     map[string]string // "thing2" -> words
	// ClientID makes repeats harmless: for one openid the platform sends one
	// message an id, for ten minutes.
	ClientID string
}

// SendTemplate sends a template message and returns the platform's message id,
// under which its result event comes. Accepted is not delivered.
func (c *Client) SendTemplate(ctx context.Context, a Account, t Template) (msgID string, err error) {
	m := &message.TemplateMessage{
		ToUser: t.OpenID, TemplateID: t.TemplateID, URL: t.URL, ClientMsgID: t.ClientID,
		Data: make(map[string]*message.TemplateDataItem, len(t.Fields)),
	}
	for name, value := range t.Fields {
		m.Data[name] = &message.TemplateDataItem{Value: value}
	}
	// The SDK's struct always carries an empty mini program, which production
	// ignores today; what is not meant is not sent.
	body := struct {
		*message.TemplateMessage
		MiniProgram *struct{} `json:"miniprogram,omitempty"`
	}{TemplateMessage: m}
	// The id exceeds 2^53: it is never a float.
	var out struct {
		MsgID json.Number `json:"msgid"`
	}
	err = c.authorized(ctx, a, func(q url.Values) error {
		return c.post(ctx, "template/send", "/cgi-bin/message/template/send", q, body, &out)
	})
	if err != nil {
		return "", err
	}
	return out.MsgID.String(), nil
}

// CreateMenu replaces the account's menu. At most three buttons of at most
// five each; clients show it within five minutes.
func (c *Client) CreateMenu(ctx context.Context, a Account, buttons []*menu.Button) error {
	body := struct {
		Button []*menu.Button `json:"button"`
	}{buttons}
	return c.authorized(ctx, a, func(q url.Values) error {
		return c.post(ctx, "menu/create", "/cgi-bin/menu/create", q, body, nil)
	})
}

// QR is a parametric code. Image is the address of its picture.
type QR struct {
	Ticket  string
	URL     string
	Image   string
	Expires time.Duration // zero: never
}

// QRCode creates a code with a scene of at most 64 characters. life zero makes
// a permanent one (100,000 in all); else at most 30 days.
func (c *Client) QRCode(ctx context.Context, a Account, scene string, life time.Duration) (QR, error) {
	req := basic.NewLimitQrRequest(scene)
	if life > 0 {
		req = basic.NewTmpQrRequest(life, scene)
	}
	var out basic.Ticket
	err := c.authorized(ctx, a, func(q url.Values) error {
		return c.post(ctx, "qrcode/create", "/cgi-bin/qrcode/create", q, req, &out)
	})
	if err != nil {
		return QR{}, err
	}
	image := url.URL{
		Scheme: "https", Host: HostMP, Path: "/cgi-bin/showqrcode",
		RawQuery: url.Values{"ticket": {out.Ticket}}.Encode(),
	}
	return QR{
		Ticket: out.Ticket, URL: out.URL, Image: c.public(&image),
		Expires: time.Duration(out.ExpireSeconds) * time.Second,
	}, nil
}

// public applies the configured base to an address that a browser will open.
func (c *Client) public(u *url.URL) string {
	if base, ok := c.bases[u.Host]; ok {
		u.Scheme, u.Host = base.Scheme, base.Host
		u.Path = strings.TrimSuffix(base.Path, "/") + u.Path
	}
	return u.String()
}

// Media is a downloaded file.
type Media struct {
	ContentType string
	Name        string
	Body        []byte
	// VideoURL stands in for the body of a video, which the platform gives as
	// an address.
	VideoURL string
}

// MediaGet downloads what a resident sent. The platform keeps it three days;
// 40007 (ClassPermanent) means unknown or expired.
func (c *Client) MediaGet(ctx context.Context, a Account, mediaID string) (Media, error) {
	const api = "media/get"
	var m Media
	err := c.authorized(ctx, a, func(q url.Values) error {
		q.Set("media_id", mediaID)
		r, err := c.request(ctx, http.MethodGet, "/cgi-bin/media/get", q, nil)
		if err != nil {
			return ownError(api, 0, CodeRefused, "request cannot be built", nil)
		}
		ans, err := c.exchange(ctx, api, r, maxMedia)
		if err != nil {
			return err
		}
		m, err = readMedia(api, ans)
		return err
	})
	return m, err
}

// readMedia decides by content type: failures come as JSON with status 200.
func readMedia(api string, a answer) (Media, error) {
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	if kind == "application/json" || strings.HasPrefix(kind, "text/") || a.status != http.StatusOK || len(a.body) == 0 {
		var out struct {
			VideoURL string `json:"video_url"`
		}
		if err := decode(api, a, &out); err != nil {
			return Media{}, err
		}
		if out.VideoURL == "" {
			return Media{}, ownError(api, a.status, CodeNotJSON, "neither file nor address", nil)
		}
		return Media{ContentType: kind, VideoURL: out.VideoURL}, nil
	}
	_, params, _ := mime.ParseMediaType(a.header.Get("Content-Disposition"))
	return Media{ContentType: kind, Name: params["filename"], Body: a.body}, nil
}

// User is what the platform still tells about a follower. It gives no nickname
// and no picture.
type User struct {
	OpenID       string
	Following    bool
	SubscribedAt time.Time
	UnionID      string
	Scene        string
	QRScene      string
}

// UserInfo asks for one user.
func (c *Client) UserInfo(ctx context.Context, a Account, openID string) (User, error) {
	var out user.Info
	err := c.authorized(ctx, a, func(q url.Values) error {
		q.Set("openid", openID)
		q.Set("lang", "zh_CN")
		return c.get(ctx, "user/info", "/cgi-bin/user/info", q, &out)
	})
	if err != nil {
		return User{}, err
	}
	u := User{
		OpenID: out.OpenID, Following: out.Subscribe != 0, UnionID: out.UnionID,
		Scene: out.SubscribeScene, QRScene: out.QrSceneStr,
	}
	if u.QRScene == "" && out.QrScene != 0 {
		u.QRScene = strconv.Itoa(out.QrScene)
	}
	if out.SubscribeTime > 0 {
		u.SubscribedAt = time.Unix(int64(out.SubscribeTime), 0).UTC()
	}
	return u, nil
}

// OAuthURL is the address that asks WeChat who the visitor is (snsapi_base: no
// question is shown). state is at most 128 letters and digits.
func (c *Client) OAuthURL(a Account, redirect, state string) (string, error) {
	o := oauth.NewOauth(&sdkcontext.Context{Config: &config.Config{AppID: a.AppID}})
	raw, err := o.GetRedirectURL(redirect, "snsapi_base", state)
	if err != nil {
		return "", ownError("oauth2/authorize", 0, CodeRefused, "address cannot be built", nil)
	}
	base, ok := c.bases[HostOpen]
	if !ok {
		return raw, nil
	}
	// The order of the parameters matters to clients: only the front is replaced.
	front := strings.TrimSuffix(base.String(), "/")
	return front + strings.TrimPrefix(raw, "https://"+HostOpen), nil
}

// Visitor is who opened a page inside WeChat.
type Visitor struct {
	OpenID string
	// Snapshot marks the throw-away identity of a preview page. It must never
	// be bound to a home.
	Snapshot bool
}

// OAuth exchanges the code of a visit, once. ClassOAuth: send him round again.
func (c *Client) OAuth(ctx context.Context, a Account, code string) (Visitor, error) {
	const api = "sns/oauth2"
	q := url.Values{"appid": {a.AppID}, "secret": {a.Secret}, "code": {code}, "grant_type": {"authorization_code"}}
	var out oauth.ResAccessToken
	if err := c.get(ctx, api, "/sns/oauth2/access_token", q, &out); err != nil {
		return Visitor{}, err
	}
	if out.OpenID == "" {
		return Visitor{}, ownError(api, http.StatusOK, CodeNotJSON, "answer without an openid", nil)
	}
	return Visitor{OpenID: out.OpenID, Snapshot: out.IsSnapShotUser == 1}, nil
}

// TemplateInfo is one template of the account.
type TemplateInfo struct {
	ID      string
	Title   string
	Content string // "{{thing1.DATA}}\n..."
}

// Templates lists the account's templates: the doctor compares them with ours.
func (c *Client) Templates(ctx context.Context, a Account) ([]TemplateInfo, error) {
	var out struct {
		List []message.TemplateItem `json:"template_list"`
	}
	err := c.authorized(ctx, a, func(q url.Values) error {
		return c.get(ctx, "template/get_all", "/cgi-bin/template/get_all_private_template", q, &out)
	})
	if err != nil {
		return nil, err
	}
	list := make([]TemplateInfo, 0, len(out.List))
	for _, t := range out.List {
		list = append(list, TemplateInfo{ID: t.TemplateID, Title: t.Title, Content: t.Content})
	}
	return list, nil
}
