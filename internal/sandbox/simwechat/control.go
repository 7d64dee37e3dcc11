package simwechat

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/sandbox/simcore"
)

// control adds the /sim/ calls of residents.
func (s *Sim) control(r chi.Router) {
	r.Post("/sim/residents", s.createResident)
	r.Get("/sim/residents", s.listResidents)
	r.Get("/sim/residents/{openid}", s.withUser(s.getResident))
	r.Post("/sim/residents/{openid}/state", s.withUser(s.setState))
	r.Post("/sim/residents/{openid}/follow", s.withAction(s.follow))
	r.Post("/sim/residents/{openid}/unfollow", s.withAction(s.unfollow))
	r.Post("/sim/residents/{openid}/scan", s.withAction(s.scan))
	r.Post("/sim/residents/{openid}/menu", s.withAction(s.tapMenu))
	r.Post("/sim/residents/{openid}/messages", s.withAction(s.say))
	r.Post("/sim/residents/{openid}/consent", s.withAction(s.consent))
	r.Post("/sim/residents/{openid}/oauth", s.withUser(s.openPage))
	r.Get("/sim/residents/{openid}/chat", s.withUser(func(w http.ResponseWriter, r *http.Request, u *user) {
		simcore.ServeFeed(w, r, u.chat, nil)
	}))
	r.Get("/sim/residents/{openid}/media/{id}", s.withUser(s.residentMedia))
	r.Post("/sim/accounts/{app_id}/tokens", s.tokenTrouble)
}

// action is what a resident does, with the options of all such calls.
type action struct {
	Type   string          `json:"type"`
	Text   string          `json:"text"`
	MenuID json.RawMessage `json:"menu_id"`
	RawXML string          `json:"raw_xml"`

	Name   string `json:"name"`
	Base64 string `json:"base64"`

	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Scale     int     `json:"scale"`
	Label     string  `json:"label"`

	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`

	Scene      string `json:"scene"`
	Ticket     string `json:"ticket"`
	Key        string `json:"key"`
	TemplateID string `json:"template_id"`
	Accept     *bool  `json:"accept"`
	Times      int    `json:"times"`
	Mode       string `json:"mode"`
	Tamper     string `json:"tamper"`
	RetryGapMS *int64 `json:"retry_gap_ms"`
	MsgID      string `json:"msg_id"`
}

// UnmarshalJSON takes a scene as a string or a number.
func (a *action) UnmarshalJSON(b []byte) error {
	type open action
	v := struct {
		*open
		Scene json.RawMessage `json:"scene"`
		MsgID json.RawMessage `json:"msg_id"`
	}{open: (*open)(a)}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	a.Scene, a.MsgID = loose(v.Scene), loose(v.MsgID)
	return nil
}

func loose(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	if string(raw) == "null" {
		return ""
	}
	return string(raw)
}

func (s *Sim) withUser(f func(http.ResponseWriter, *http.Request, *user)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := url.PathUnescape(chi.URLParam(r, "openid"))
		u := s.user(id)
		if err != nil || u == nil {
			simcore.NotFound(w, "this openid")
			return
		}
		f(w, r, u)
	}
}

// withAction reads the options, and delivers the push that f builds. A nil
// push means that WeChat would send nothing.
func (s *Sim) withAction(f func(*http.Request, *user, *action) (*push, *refusal)) http.HandlerFunc {
	return s.withUser(func(w http.ResponseWriter, r *http.Request, u *user) {
		var in action
		if !simcore.ReadJSON(w, r, &in) {
			return
		}
		if refused := in.check(u); refused != nil {
			refused.write(w)
			return
		}
		p, refused := f(r, u, &in)
		if refused != nil {
			refused.write(w)
			return
		}
		d := Delivery{Attempts: []Attempt{}}
		if p != nil {
			p.tamper, d.MsgID = in.Tamper, p.msgID
			p.times = max(in.Times, 1)
			if in.Mode != "" {
				p.mode = in.Mode
			}
			if in.RetryGapMS != nil {
				p.gap = time.Duration(*in.RetryGapMS) * time.Millisecond
			}
			// A caller who hangs up does not stop the platform.
			d.Attempts = s.deliver(s.core.Context(), p)
		}
		simcore.WriteJSON(w, http.StatusOK, d)
	})
}

const maxCopies = 50

func (a *action) check(u *user) *refusal {
	switch {
	case a.Times < 0 || a.Times > maxCopies:
		return bad("times", "must be between 1 and 50")
	case !tampers[a.Tamper]:
		return bad("tamper", "must be signature, body, appid, key, stale or replay")
	case a.Mode != "" && a.Mode != modePlain && a.Mode != modeCompatible && a.Mode != modeEncrypted:
		return bad("mode", "must be plain, compatible or encrypted")
	case a.Mode != "" && a.Mode != modePlain && !u.acct.key.Valid():
		return bad("mode", "the account has no encoding_aes_key")
	case a.RetryGapMS != nil && (*a.RetryGapMS < 0 || *a.RetryGapMS > 60_000):
		return bad("retry_gap_ms", "must be between 0 and 60000")
	}
	return nil
}

// refusal is a /sim/ call that the simulated world does not allow.
type refusal struct {
	status               int
	code, message, field string
}

func (f *refusal) write(w http.ResponseWriter) {
	simcore.WriteError(w, f.status, f.code, f.message, f.field)
}

func bad(field, message string) *refusal {
	return &refusal{http.StatusBadRequest, "bad_request", message, field}
}

func notFollowing() *refusal {
	return &refusal{http.StatusConflict, "not_following", "this resident does not follow the account", ""}
}

func (s *Sim) createResident(w http.ResponseWriter, r *http.Request) {
	in := simcore.Resident{}
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	acct := s.accounts[in.AppID]
	if in.AppID == "" && len(s.order) > 0 {
		acct = s.order[0]
	}
	if acct == nil {
		simcore.WriteError(w, http.StatusConflict, "no_account", "this world has no such official account", "app_id")
		return
	}
	if in.OpenID == "" {
		in.OpenID = "o" + randomText(27)
	}
	if s.users[in.OpenID] != nil {
		simcore.WriteError(w, http.StatusConflict, "exists", "this openid exists", "openid")
		return
	}
	in.Following = false
	u := newUser(acct, in)
	s.users[in.OpenID] = u
	s.people = append(s.people, u)
	simcore.WriteJSON(w, http.StatusOK, map[string]string{"openid": in.OpenID})
}

func (s *Sim) listResidents(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	people := s.people[:len(s.people):len(s.people)]
	s.mu.RUnlock()
	q := r.URL.Query().Get("q")
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit <= 0 {
		limit = len(people)
	}
	list := make([]simcore.Resident, 0, min(limit, len(people)))
	for _, u := range people {
		if len(list) == limit {
			break
		}
		p := u.snapshot()
		if q != "" && !strings.Contains(p.Nickname+" "+p.Phone+" "+p.OpenID+" "+strings.Join(p.BoundTo, " "), q) {
			continue
		}
		list = append(list, p)
	}
	simcore.WriteJSON(w, http.StatusOK, map[string]any{"residents": list})
}

func (s *Sim) getResident(w http.ResponseWriter, _ *http.Request, u *user) {
	u.acct.mu.Lock()
	m := u.acct.menu
	u.acct.mu.Unlock()
	if m == nil {
		m = &menu{Button: []menuButton{}}
	}
	now := s.core.Now()
	u.mu.Lock()
	typing := now.Before(u.typingUntil)
	u.mu.Unlock()
	simcore.WriteJSON(w, http.StatusOK, map[string]any{
		"resident": u.snapshot(), "window": u.window(now), "menu": m, "typing": typing,
	})
}

// setState changes what the platform knows of a user: whether he refuses
// template messages, is on the account's blacklist, is a snapshot user, and
// the labels.
func (s *Sim) setState(w http.ResponseWriter, r *http.Request, u *user) {
	var in struct {
		Nickname    *string   `json:"nickname"`
		Phone       *string   `json:"phone"`
		BoundTo     *[]string `json:"bound_to"`
		Refuses     *bool     `json:"refuses"`
		Blacklisted *bool     `json:"blacklisted"`
		Snapshot    *bool     `json:"snapshot"`
	}
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	u.mu.Lock()
	set(&u.r.Nickname, in.Nickname)
	set(&u.r.Phone, in.Phone)
	set(&u.r.BoundTo, in.BoundTo)
	set(&u.r.Refuses, in.Refuses)
	set(&u.r.Blacklisted, in.Blacklisted)
	set(&u.r.Snapshot, in.Snapshot)
	u.mu.Unlock()
	simcore.WriteJSON(w, http.StatusOK, u.snapshot())
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (s *Sim) follow(_ *http.Request, u *user, in *action) (*push, *refusal) {
	now := s.core.Now()
	if in.Tamper == "" && !u.join(now, in.Scene) {
		return nil, nil
	}
	elements := []element{cdata("MsgType", "event"), cdata("Event", "subscribe")}
	key := ""
	if in.Scene != "" {
		key = "qrscene_" + in.Scene
		elements = append(elements, cdata("EventKey", key), cdata("Ticket", u.acct.ticketOf(in.Scene)))
	} else {
		elements = append(elements, cdata("EventKey", ""))
	}
	return s.event(u, in, "subscribe", key, elements), nil
}

// join makes the user a follower; false when he already is one.
func (u *user) join(now time.Time, sceneValue string) bool {
	u.mu.Lock()
	if u.r.Following {
		u.mu.Unlock()
		return false
	}
	u.r.Following, u.subscribedAt, u.scene, u.sceneKind = true, now, sceneValue, "ADD_SCENE_SEARCH"
	if sceneValue != "" {
		u.sceneKind = "ADD_SCENE_QR_CODE"
	}
	u.refill(bucketFollow, now)
	u.mu.Unlock()
	u.acct.mu.Lock()
	u.acct.followers++
	u.acct.mu.Unlock()
	return true
}

func (s *Sim) unfollow(_ *http.Request, u *user, in *action) (*push, *refusal) {
	u.mu.Lock()
	if !u.r.Following {
		u.mu.Unlock()
		return nil, nil
	}
	if in.Tamper == "" {
		u.r.Following = false
		u.buckets = [bucketKinds]bucket{}
	}
	u.mu.Unlock()
	if in.Tamper == "" {
		u.acct.mu.Lock()
		u.acct.followers--
		u.acct.mu.Unlock()
	}
	p := s.event(u, in, "unsubscribe", "", []element{cdata("MsgType", "event"), cdata("Event", "unsubscribe"), cdata("EventKey", "")})
	return p, nil
}

// scan is the resident's camera on a code of the account: a follower's SCAN,
// or the way by which a new one comes.
func (s *Sim) scan(r *http.Request, u *user, in *action) (*push, *refusal) {
	if in.Ticket != "" {
		u.acct.mu.Lock()
		sc, ok := u.acct.scenes[in.Ticket]
		u.acct.mu.Unlock()
		if !ok || !sc.permanent && !s.core.Now().Before(sc.until) {
			return nil, &refusal{http.StatusConflict, "code_expired", "this code is unknown or over", "ticket"}
		}
		in.Scene = sc.value
	}
	if in.Scene == "" {
		return nil, bad("scene", "is empty")
	}
	if !u.following() {
		return s.follow(r, u, in)
	}
	if in.Tamper == "" {
		u.mu.Lock()
		u.refill(bucketScan, s.core.Now())
		u.mu.Unlock()
	}
	return s.event(u, in, "SCAN", in.Scene, []element{
		cdata("MsgType", "event"), cdata("Event", "SCAN"), cdata("EventKey", in.Scene), cdata("Ticket", u.acct.ticketOf(in.Scene)),
	}), nil
}

func (s *Sim) tapMenu(_ *http.Request, u *user, in *action) (*push, *refusal) {
	if in.Key == "" {
		return nil, bad("key", "is empty")
	}
	if !u.following() {
		return nil, notFollowing()
	}
	// An unknown key is a button of a menu that the phone has not refreshed yet.
	b, _ := u.acct.button(in.Key)
	event, elements := "CLICK", []element{cdata("MsgType", "event")}
	switch b.Type {
	case "view":
		event = "VIEW"
		elements = append(elements, cdata("Event", event), cdata("EventKey", b.URL), plain("MenuId", "411217112"))
	case "miniprogram":
		event = "view_miniprogram"
		elements = append(elements, cdata("Event", event), cdata("EventKey", b.PagePath), plain("MenuId", "411217112"))
	case "scancode_push", "scancode_waitmsg":
		event = b.Type
		elements = append(elements, cdata("Event", event), cdata("EventKey", b.Key),
			inside("ScanCodeInfo", cdata("ScanType", "qrcode"), cdata("ScanResult", in.Text)))
	default:
		elements = append(elements, cdata("Event", event), cdata("EventKey", in.Key))
	}
	if in.Tamper == "" && event != "VIEW" && event != "view_miniprogram" {
		u.mu.Lock()
		u.refill(bucketMenu, s.core.Now())
		u.mu.Unlock()
	}
	return s.event(u, in, event, in.Key, elements), nil
}

// event shows the resident's act in his chat and builds its push.
func (s *Sim) event(u *user, in *action, name, key string, elements []element) *push {
	if in.Tamper == "" {
		s.show(u, ChatItem{From: "resident", Kind: "event", Type: name, Text: key})
	}
	p := s.newPush(u, "", elements)
	p.event = name
	return p
}

func (s *Sim) say(r *http.Request, u *user, in *action) (*push, *refusal) {
	if !u.following() {
		return nil, notFollowing()
	}
	if in.RawXML != "" {
		return s.sayRaw(u, in), nil
	}
	msgID := in.MsgID
	if msgID == "" {
		msgID = strconv.FormatInt(s.nextMsgID(), 10)
	}
	it := ChatItem{From: "resident", Kind: "message", Type: in.Type, Text: in.Text}
	elements, refused := s.content(r, u, in, &it)
	if refused != nil {
		return nil, refused
	}
	if in.Tamper == "" {
		s.show(u, it)
		kind := bucketMessage
		if loose(in.MenuID) != "" {
			kind = bucketMenu // a tapped option counts as a menu click
		}
		u.mu.Lock()
		u.refill(kind, s.core.Now())
		u.mu.Unlock()
	}
	return s.newPush(u, msgID, elements), nil
}

var digitsOnly = regexp.MustCompile(`^[0-9]+$`)

// content builds the elements of one message and what the chat shows.
func (s *Sim) content(r *http.Request, u *user, in *action, it *ChatItem) ([]element, *refusal) {
	kind := cdata("MsgType", in.Type)
	now := s.core.Now()
	switch in.Type {
	case "", "text":
		it.Type = "text"
		elements := []element{cdata("MsgType", "text"), cdata("Content", in.Text)}
		if id := loose(in.MenuID); id != "" {
			if !digitsOnly.MatchString(id) {
				id = "0" // letters do not survive the platform
			}
			elements = append(elements, plain("bizmsgmenuid", id))
		}
		return elements, nil
	case "image", "voice", "video", "shortvideo":
		body, err := base64.StdEncoding.DecodeString(in.Base64)
		if err != nil {
			return nil, bad("base64", "is not base64")
		}
		stored := map[string]string{"image": "image", "voice": "voice"}[in.Type]
		if stored == "" {
			stored = "video"
		}
		if len(body) > mediaLimits[stored] {
			return nil, bad("base64", "is larger than WeChat takes")
		}
		id := u.acct.storeMedia(stored, mediaName(in), body, now)
		it.MediaID, it.Text = id, in.Name
		switch in.Type {
		case "image":
			it.URL = pictureURL(r, u.acct, id)
			return []element{kind, cdata("PicUrl", it.URL), cdata("MediaId", id)}, nil
		case "voice":
			return []element{kind, cdata("MediaId", id), cdata("Format", "amr"), cdata("Recognition", "")}, nil
		default:
			return []element{kind, cdata("MediaId", id), cdata("ThumbMediaId", randomText(64))}, nil
		}
	case "location":
		it.Text = in.Label
		scale := in.Scale
		if scale == 0 {
			scale = 15
		}
		return []element{
			kind, plain("Location_X", strconv.FormatFloat(in.Latitude, 'f', 6, 64)),
			plain("Location_Y", strconv.FormatFloat(in.Longitude, 'f', 6, 64)), plain("Scale", strconv.Itoa(scale)), cdata("Label", in.Label),
		}, nil
	case "link":
		it.Text, it.Title, it.URL = in.Description, in.Title, in.URL
		return []element{kind, cdata("Title", in.Title), cdata("Description", in.Description), cdata("Url", in.URL)}, nil
	case "file":
		it.Text = in.Name
		return []element{
			kind, cdata("Title", in.Name), cdata("Description", ""), cdata("FileKey", randomText(32)),
			cdata("FileMd5", strings.Repeat("0", 32)), plain("FileTotalLen", strconv.Itoa(len(in.Base64)*3/4)),
		}, nil
	default:
		// A kind that nobody knows yet; the account has to live with it.
		return []element{kind, cdata("Content", in.Text)}, nil
	}
}

func mediaName(in *action) string {
	if in.Name != "" {
		return in.Name
	}
	return map[string]string{"image": "picture.jpg", "voice": "voice.amr"}[in.Type]
}

var (
	rawMsgID   = regexp.MustCompile(`<MsgId>\s*(?:<!\[CDATA\[)?([0-9]+)`)
	rawType    = regexp.MustCompile(`<MsgType>\s*(?:<!\[CDATA\[)?([A-Za-z_]+)`)
	rawEvent   = regexp.MustCompile(`<Event>\s*(?:<!\[CDATA\[)?([A-Za-z_]+)`)
	rawContent = regexp.MustCompile(`(?s)<Content>\s*(?:<!\[CDATA\[)?(.*?)(?:\]\]>)?\s*</Content>`)
)

// sayRaw pushes a document as it is given.
func (s *Sim) sayRaw(u *user, in *action) *push {
	p := s.newPush(u, "", nil)
	p.body = []byte(in.RawXML)
	p.msgID, p.event = firstGroup(rawMsgID, in.RawXML), firstGroup(rawEvent, in.RawXML)
	if in.Tamper != "" {
		return p
	}
	it := ChatItem{From: "resident", Kind: "message", Type: firstGroup(rawType, in.RawXML), Text: firstGroup(rawContent, in.RawXML)}
	if p.event != "" {
		it.Kind, it.Type = "event", p.event
	}
	s.show(u, it)
	u.mu.Lock()
	switch p.event {
	case "":
		u.refill(bucketMessage, s.core.Now())
	case "CLICK", "scancode_push", "scancode_waitmsg":
		u.refill(bucketMenu, s.core.Now())
	case "SCAN":
		u.refill(bucketScan, s.core.Now())
	}
	u.mu.Unlock()
	return p
}

func firstGroup(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

// consent is the resident's answer to a subscription popup.
func (s *Sim) consent(_ *http.Request, u *user, in *action) (*push, *refusal) {
	t, ok := u.acct.template(in.TemplateID)
	if !ok || t.Kind != "subscribe" {
		return nil, bad("template_id", "is no subscription template of this account")
	}
	accepted := in.Accept == nil || *in.Accept
	answer := "accept"
	u.mu.Lock()
	switch {
	case !accepted:
		answer = "reject"
		u.r.Consents[in.TemplateID] = 0
	case t.Type == 3:
		u.r.Consents[in.TemplateID] = -1
	default:
		u.r.Consents[in.TemplateID]++
	}
	u.mu.Unlock()
	return s.event(u, in, "subscribe_msg_popup_event", answer, []element{
		cdata("MsgType", "event"), cdata("Event", "subscribe_msg_popup_event"),
		inside("SubscribeMsgPopupEvent", inside("List",
			cdata("TemplateId", in.TemplateID), cdata("SubscribeStatusString", answer), plain("PopupScene", "1"))),
	}), nil
}

// openPage is the resident opening an H5 page with OAuth: the answer is the
// address that WeChat would send his browser to.
func (s *Sim) openPage(w http.ResponseWriter, r *http.Request, u *user) {
	var in struct {
		RedirectURI string `json:"redirect_uri"`
		State       string `json:"state"`
		Scope       string `json:"scope"`
	}
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	back, err := url.Parse(in.RedirectURI)
	if err != nil {
		simcore.WriteError(w, http.StatusBadRequest, "bad_request", "is no address", "redirect_uri")
		return
	}
	code := u.acct.newCode(u.r.OpenID, in.Scope, s.core.Now())
	simcore.WriteJSON(w, http.StatusOK, map[string]string{"code": code, "url": withCode(back, code, in.State)})
}

// residentMedia lets the page show a picture of the chat.
func (s *Sim) residentMedia(w http.ResponseWriter, r *http.Request, u *user) {
	f := u.acct.mediaFile(chi.URLParam(r, "id"), s.core.Now())
	if f == nil {
		simcore.NotFound(w, "this media_id")
		return
	}
	w.Header().Set("Content-Type", contentType(f))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(f.body) // a caller who has gone is not our trouble
}

// tokenTrouble is what happens to tokens without the product's doing:
// "expire" ends all, "fetch" is another system that asks for a legacy token.
func (s *Sim) tokenTrouble(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Do string `json:"do"`
	}
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	a := s.account(chi.URLParam(r, "app_id"))
	if a == nil {
		simcore.NotFound(w, "this app_id")
		return
	}
	now := s.core.Now()
	switch in.Do {
	case "expire":
		a.expireTokens(now)
	case "fetch":
		a.mu.Lock()
		if a.legacy != nil {
			a.legacy.until = now
		}
		a.legacy = a.newToken(now, tokenLife)
		a.mu.Unlock()
	default:
		simcore.WriteError(w, http.StatusBadRequest, "bad_request", "must be expire or fetch", "do")
		return
	}
	simcore.WriteJSON(w, http.StatusOK, map[string]bool{"ok": true})
}
