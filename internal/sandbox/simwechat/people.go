package simwechat

import (
	"encoding/json"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	userPage      = 10_000
	batchUsers    = 100
	permanentMost = 100_000
	sceneMost     = 30 * 24 * time.Hour
	sceneDefault  = 30 * time.Second
	ticketLife    = 7200 * time.Second
)

type scene struct {
	value     string
	number    bool
	permanent bool
	until     time.Time
}

type ticket struct {
	value string
	until time.Time
}

func (s *Sim) userInfo(c *call) (any, error) {
	u := s.userOf(c.acct, c.query.Get("openid"))
	if u == nil {
		return nil, errc(40003)
	}
	return u.info(c.acct.remark(u.r.OpenID)), nil
}

// info has no nickname and no picture: WeChat stopped giving them in 2021.
func (u *user) info(remark string) map[string]any {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.r.Following {
		return map[string]any{"subscribe": 0, "openid": u.r.OpenID, "tagid_list": []int{}}
	}
	m := map[string]any{
		"subscribe": 1, "openid": u.r.OpenID, "nickname": "", "sex": 0, "language": "zh_CN", "city": "", "province": "",
		"country": "", "headimgurl": "", "subscribe_time": u.subscribedAt.Unix(), "remark": remark, "groupid": 0,
		"tagid_list": []int{}, "subscribe_scene": u.sceneKind, "qr_scene": 0, "qr_scene_str": u.scene,
	}
	if u.r.UnionID != "" {
		m["unionid"] = u.r.UnionID
	}
	return m
}

func (a *account) remark(openID string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.remarks[openID]
}

func (s *Sim) userBatch(c *call) (any, error) {
	var in struct {
		List []struct {
			OpenID string `json:"openid"`
		} `json:"user_list"`
	}
	if err := c.json(&in); err != nil {
		return nil, err
	}
	if len(in.List) == 0 || len(in.List) > batchUsers {
		return nil, errc(40032)
	}
	list := make([]any, 0, len(in.List))
	for _, x := range in.List {
		u := s.userOf(c.acct, x.OpenID)
		if u == nil {
			return nil, errc(40003)
		}
		list = append(list, u.info(c.acct.remark(x.OpenID)))
	}
	return map[string]any{"user_info_list": list}, nil
}

func (s *Sim) updateRemark(c *call) (any, error) {
	var in struct {
		OpenID string `json:"openid"`
		Remark string `json:"remark"`
	}
	if err := c.json(&in); err != nil {
		return nil, err
	}
	if s.userOf(c.acct, in.OpenID) == nil {
		return nil, errc(40003)
	}
	if utf8.RuneCountInString(in.Remark) > 30 {
		return nil, errc(45002)
	}
	c.acct.mu.Lock()
	c.acct.remarks[in.OpenID] = in.Remark
	c.acct.mu.Unlock()
	return okBody(), nil
}

func (s *Sim) userList(c *call) (any, error) {
	var ids []string
	for _, u := range s.usersOf(c.acct) {
		if u.following() {
			ids = append(ids, u.r.OpenID)
		}
	}
	sort.Strings(ids)
	next := c.query.Get("next_openid")
	from := sort.Search(len(ids), func(i int) bool { return ids[i] > next })
	page := ids[from:min(from+userPage, len(ids))]
	out := map[string]any{"total": len(ids), "count": len(page), "next_openid": ""}
	if len(page) > 0 {
		out["data"] = map[string]any{"openid": page}
		out["next_openid"] = page[len(page)-1]
	}
	return out, nil
}

func (s *Sim) createQR(c *call) (any, error) {
	var in struct {
		Expire int64  `json:"expire_seconds"`
		Action string `json:"action_name"`
		Info   struct {
			Scene struct {
				ID  int64  `json:"scene_id"`
				Str string `json:"scene_str"`
			} `json:"scene"`
		} `json:"action_info"`
	}
	if err := c.json(&in); err != nil {
		return nil, err
	}
	sc := scene{value: in.Info.Scene.Str}
	switch in.Action {
	case "QR_SCENE", "QR_LIMIT_SCENE":
		sc.number, sc.value = true, json.Number(jsonInt(in.Info.Scene.ID)).String()
		if in.Info.Scene.ID < 1 || in.Info.Scene.ID > 1<<32-1 {
			return nil, errc(40053)
		}
	case "QR_STR_SCENE", "QR_LIMIT_STR_SCENE":
		if sc.value == "" {
			return nil, errc(40053)
		}
	default:
		return nil, errc(40053)
	}
	now := s.core.Now()
	life := time.Duration(in.Expire) * time.Second
	c.acct.mu.Lock()
	defer c.acct.mu.Unlock()
	if strings.Contains(in.Action, "LIMIT") {
		sc.permanent = true
		if c.acct.permanent >= permanentMost || sc.number && in.Info.Scene.ID > permanentMost || len(sc.value) > 64 {
			return nil, errc(40053)
		}
		c.acct.permanent++
	} else {
		if life <= 0 {
			life = sceneDefault
		}
		life = min(life, sceneMost)
		if !c.acct.testAccount() && len(sc.value) > 64 {
			return nil, errc(40053)
		}
		sc.until = now.Add(life)
	}
	id := "gQ" + randomText(92) + "=="
	c.acct.scenes[id] = sc
	out := map[string]any{"ticket": id, "url": "http://weixin.qq.com/q/" + randomText(22)}
	if !sc.permanent {
		out["expire_seconds"] = int64(life / time.Second)
	}
	return out, nil
}

func jsonInt(n int64) string {
	b, err := json.Marshal(n)
	if err != nil {
		return "0"
	}
	return string(b)
}

// ticketOf finds the code of a scene, or makes one up: a resident may scan
// something that was printed long ago.
func (a *account) ticketOf(value string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, sc := range a.scenes {
		if sc.value == value {
			return id
		}
	}
	id := "gQ" + randomText(92) + "=="
	a.scenes[id] = scene{value: value, permanent: true}
	return id
}

func (s *Sim) getTicket(c *call) (any, error) {
	if t := c.query.Get("type"); t != "jsapi" && t != "wx_card" {
		return nil, errc(40035)
	}
	now := s.core.Now()
	c.acct.mu.Lock()
	defer c.acct.mu.Unlock()
	if !now.Before(c.acct.jsTicket.until) {
		c.acct.jsTicket = ticket{value: randomText(86), until: now.Add(ticketLife)}
	}
	return map[string]any{
		"errcode": 0, "errmsg": "ok", "ticket": c.acct.jsTicket.value,
		"expires_in": int(c.acct.jsTicket.until.Sub(now) / time.Second),
	}, nil
}

// menu is the account's menu.
type menu struct {
	Button []menuButton `json:"button"`
}

type menuButton struct {
	Type      string       `json:"type,omitempty"`
	Name      string       `json:"name"`
	Key       string       `json:"key,omitempty"`
	URL       string       `json:"url,omitempty"`
	AppID     string       `json:"appid,omitempty"`
	PagePath  string       `json:"pagepath,omitempty"`
	MediaID   string       `json:"media_id,omitempty"`
	ArticleID string       `json:"article_id,omitempty"`
	Sub       []menuButton `json:"sub_button,omitempty"`
}

func (s *Sim) createMenu(c *call) (any, error) {
	var m menu
	if err := c.json(&m); err != nil {
		return nil, err
	}
	if err := checkMenu(m); err != nil {
		return nil, err
	}
	c.acct.mu.Lock()
	c.acct.menu = &m
	c.acct.mu.Unlock()
	return okBody(), nil
}

func checkMenu(m menu) error {
	if len(m.Button) == 0 || len(m.Button) > 3 {
		return errf(40017, "invalid button size")
	}
	for _, b := range m.Button {
		if b.Name == "" || len(b.Name) > 16 {
			return errc(40018)
		}
		if len(b.Sub) == 0 {
			if err := checkButton(b); err != nil {
				return err
			}
			continue
		}
		if len(b.Sub) > 5 {
			return errf(40023, "invalid sub button size")
		}
		for _, sub := range b.Sub {
			if sub.Name == "" || len(sub.Name) > 60 {
				return errf(40025, "invalid sub button name size")
			}
			if err := checkButton(sub); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkButton(b menuButton) error {
	switch b.Type {
	case "click", "scancode_push", "scancode_waitmsg", "pic_sysphoto", "pic_photo_or_album", "pic_weixin", "location_select":
		if b.Key == "" || len(b.Key) > 128 {
			return errf(40019, "invalid button key size")
		}
	case "view":
		if b.URL == "" || len(b.URL) > 1024 {
			return errf(40020, "invalid button url size")
		}
	case "miniprogram":
		if b.URL == "" || b.AppID == "" || b.PagePath == "" {
			return errf(40020, "invalid button url size")
		}
	case "media_id", "view_limited", "article_id", "article_view_limited":
	default:
		return errf(40016, "invalid button type")
	}
	return nil
}

func (s *Sim) getMenu(c *call) (any, error) {
	c.acct.mu.Lock()
	defer c.acct.mu.Unlock()
	if c.acct.menu == nil {
		return nil, errc(46003)
	}
	return map[string]any{"menu": c.acct.menu}, nil
}

func (s *Sim) selfMenu(c *call) (any, error) {
	c.acct.mu.Lock()
	defer c.acct.mu.Unlock()
	if c.acct.menu == nil {
		return map[string]any{"is_menu_open": 0}, nil
	}
	return map[string]any{"is_menu_open": 1, "selfmenu_info": c.acct.menu}, nil
}

func (s *Sim) deleteMenu(c *call) (any, error) {
	c.acct.mu.Lock()
	c.acct.menu = nil
	c.acct.mu.Unlock()
	return okBody(), nil
}

// button finds a button by key or address.
func (a *account) button(key string) (menuButton, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.menu == nil {
		return menuButton{}, false
	}
	for _, b := range a.menu.Button {
		for _, x := range append([]menuButton{b}, b.Sub...) {
			if x.Key == key && key != "" || x.URL == key && key != "" {
				return x, true
			}
		}
	}
	return menuButton{}, false
}
