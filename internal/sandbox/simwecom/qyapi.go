package simwecom

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/sandbox/simcore"
)

const (
	qyapi        = "/qyapi.weixin.qq.com/cgi-bin"
	maxQyapiBody = 24 << 20 // the largest file and some words
	tokenLives   = 7200 * time.Second
	codeLives    = 5 * time.Minute
	cardLives    = 72 * time.Hour // of a response_code
	recallWithin = 24 * time.Hour
)

// corp is one self-built app.
type corp struct {
	simcore.Corp

	token   string
	tokenAt time.Time
	codes   map[string]oauth         // OAuth, by code
	tickets map[string]oauth         // user_ticket
	cards   map[string]*appCard      // by response_code
	sent    map[string][]sentMessage // by msgid
	jsapi   map[string]string        // js tickets by kind
}

type oauth struct {
	userID string
	at     time.Time
}

type appCard struct {
	at     time.Time
	places []place
	card   *templateCard
}

type sentMessage struct{ place }

type place struct {
	chat *chat
	seq  int64
	at   time.Time
}

func newCorp(c simcore.Corp) *corp {
	return &corp{
		Corp: c, codes: map[string]oauth{}, tickets: map[string]oauth{}, cards: map[string]*appCard{},
		sent: map[string][]sentMessage{}, jsapi: map[string]string{},
	}
}

func (s *Sim) qyapiRoutes(r chi.Router) {
	r.Get(qyapi+"/gettoken", s.getToken)
	r.Post(qyapi+"/webhook/send", s.webhookSend)
	r.Post(qyapi+"/webhook/upload_media", s.webhookUpload)
	r.Post(qyapi+"/message/send", s.app("wecom.app_send", s.messageSend))
	r.Post(qyapi+"/message/update_template_card", s.app("wecom.app_send", s.updateTemplateCard))
	r.Post(qyapi+"/message/recall", s.app("wecom.app_send", s.recall))
	r.Post(qyapi+"/appchat/create", s.app("wecom.app_send", s.appchatCreate))
	r.Post(qyapi+"/appchat/update", s.app("wecom.app_send", s.appchatUpdate))
	r.Get(qyapi+"/appchat/get", s.app("wecom.app_send", s.appchatGet))
	r.Post(qyapi+"/appchat/send", s.app("wecom.app_send", s.appchatSend))
	r.Get(qyapi+"/auth/getuserinfo", s.app("wecom.token", s.getUserInfo))
	r.Post(qyapi+"/auth/getuserdetail", s.app("wecom.token", s.getUserDetail))
	r.Get(qyapi+"/user/get", s.app("wecom.token", s.userGet))
	r.Get(qyapi+"/user/simplelist", s.app("wecom.token", s.userList))
	r.Get(qyapi+"/department/list", s.app("wecom.token", departments))
	r.Get(qyapi+"/department/simplelist", s.app("wecom.token", departments))
	r.Post(qyapi+"/batch/openuserid_to_userid", s.app("wecom.token", s.openUserIDs))
	r.Get(qyapi+"/get_jsapi_ticket", s.app("wecom.token", s.ticket("jsapi")))
	r.Get(qyapi+"/ticket/get", s.app("wecom.token", s.ticket("agent_config")))
	r.Post(qyapi+"/media/upload", s.app("wecom.app_send", s.mediaUpload))
	r.Get(qyapi+"/media/get", s.mediaGet)
}

// reply is the vendor's JSON: errcode and errmsg besides what was asked for.
func reply(bad *refusal, body map[string]any) simcore.Response {
	out := map[string]any{"errcode": 0, "errmsg": "ok"}
	for k, v := range body {
		out[k] = v
	}
	if bad != nil {
		out["errcode"], out["errmsg"] = bad.code, bad.msg
	}
	return simcore.JSON(outcome(bad), out)
}

// failWith is the answer to a fault that demands a code.
func failWith(code simcore.Code) simcore.Response {
	n := code.Int(codeBusy)
	return reply(refuse(n, "%s", errmsg(n)), nil)
}

// request is a call with its body read.
type request struct {
	*http.Request
	body []byte
	corp *corp
}

// query is a URL parameter.
func (q request) query(name string) string { return q.URL.Query().Get(name) }

// app wraps a call that needs the app's access_token.
func (s *Sim) app(target string, do func(q request) (map[string]any, *refusal)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, ok := readBody(w, r)
		if !ok {
			return
		}
		s.core.Apply(w, r, target, matchOf(body), failWith, func() simcore.Response {
			s.mu.Lock()
			defer s.mu.Unlock()
			c, bad := s.corpOf(r.URL.Query().Get("access_token"))
			if bad != nil {
				return reply(bad, nil)
			}
			out, bad := do(request{r, body, c})
			return reply(bad, out)
		})
	}
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQyapiBody))
	if err != nil {
		http.Error(w, "request entity too large", http.StatusRequestEntityTooLarge)
		return nil, false
	}
	return body, true
}

// matchOf lets a fault pick calls by chatid or receiver.
func matchOf(body []byte) simcore.Match {
	var v struct {
		ChatID string `json:"chatid"`
		ToUser string `json:"touser"`
	}
	_ = json.Unmarshal(body, &v) // a bad body is refused where it is used
	if v.ChatID == "" {
		v.ChatID = v.ToUser
	}
	return simcore.Match{ChatID: v.ChatID}
}

// corpOf finds the app by its token; s.mu is held.
func (s *Sim) corpOf(token string) (*corp, *refusal) {
	if token == "" {
		return nil, refuse(codeNoToken, "%s", errmsg(codeNoToken))
	}
	for _, c := range s.corps {
		if c.token != token {
			continue
		}
		if s.core.Now().Sub(c.tokenAt) >= tokenLives {
			return nil, refuse(codeTokenExpired, "%s", errmsg(codeTokenExpired))
		}
		return c, nil
	}
	return nil, refuse(codeBadToken, "%s", errmsg(codeBadToken))
}

// getToken gives the app's token: the same one until it is too old.
func (s *Sim) getToken(w http.ResponseWriter, r *http.Request) {
	s.core.Apply(w, r, "wecom.token", simcore.Match{}, failWith, func() simcore.Response {
		s.mu.Lock()
		defer s.mu.Unlock()
		id, secret := r.URL.Query().Get("corpid"), r.URL.Query().Get("corpsecret")
		known := slices.ContainsFunc(s.corps, func(c *corp) bool { return c.CorpID == id })
		if !known {
			return reply(refuse(codeBadCorpID, "%s", errmsg(codeBadCorpID)), nil)
		}
		i := slices.IndexFunc(s.corps, func(c *corp) bool { return c.CorpID == id && c.Secret == secret })
		if i < 0 {
			return reply(refuse(codeBadSecret, "%s", errmsg(codeBadSecret)), nil)
		}
		c, now := s.corps[i], s.core.Now()
		if c.token == "" || now.Sub(c.tokenAt) >= tokenLives {
			c.token, c.tokenAt = newID(""), now
		}
		left := int((tokenLives - now.Sub(c.tokenAt)).Seconds())
		return reply(nil, map[string]any{"access_token": c.token, "expires_in": left})
	})
}

// oauthCode gives the code that WeCom would hand to the app's page when this member
// opens it.
func (s *Sim) oauthCode(w http.ResponseWriter, r *http.Request, c *chat) {
	var in struct {
		CorpID string `json:"corp_id"`
	}
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, app := range s.corps {
		if in.CorpID == "" || app.CorpID == in.CorpID {
			code := newID("")
			app.codes[code] = oauth{c.id, s.core.Now()}
			simcore.WriteJSON(w, http.StatusOK, map[string]any{"code": code, "corp_id": app.CorpID})
			return
		}
	}
	simcore.NotFound(w, "corp")
}

func (s *Sim) getUserInfo(q request) (map[string]any, *refusal) {
	o, ok := q.corp.codes[q.query("code")]
	delete(q.corp.codes, q.query("code"))
	if !ok || s.core.Now().Sub(o.at) > codeLives {
		return nil, refuse(codeBadCode, "%s", errmsg(codeBadCode))
	}
	ticket := newID("")
	q.corp.tickets[ticket] = oauth{o.userID, s.core.Now()}
	return map[string]any{"userid": o.userID, "user_ticket": ticket}, nil
}

func (s *Sim) getUserDetail(q request) (map[string]any, *refusal) {
	var in struct {
		Ticket string `json:"user_ticket"`
	}
	if bad := decode(q.body, &in); bad != nil {
		return nil, bad
	}
	o, ok := q.corp.tickets[in.Ticket]
	if !ok || s.core.Now().Sub(o.at) > 30*time.Minute {
		return nil, refuse(codeBadParam, "invalid user_ticket")
	}
	m, _ := s.member(o.userID)
	return map[string]any{"userid": o.userID, "gender": "0", "avatar": "", "mobile": m.Phone, "email": ""}, nil
}

func (s *Sim) member(id string) (simcore.Staff, bool) {
	i := slices.IndexFunc(s.staff, func(m simcore.Staff) bool { return m.UserID == id })
	if i < 0 {
		return simcore.Staff{}, false
	}
	return s.staff[i], true
}

func (s *Sim) userGet(q request) (map[string]any, *refusal) {
	m, ok := s.member(q.query("userid"))
	if !ok {
		return nil, refuse(codeNoUser, "%s", errmsg(codeNoUser))
	}
	// Newer apps get neither mobile nor avatar here.
	return map[string]any{"userid": m.UserID, "name": m.Name, "department": []int{1}, "main_department": 1, "status": 1, "position": ""}, nil
}

func (s *Sim) userList(request) (map[string]any, *refusal) {
	list := make([]map[string]any, 0, len(s.staff))
	for _, m := range s.staff {
		list = append(list, map[string]any{"userid": m.UserID, "name": m.Name, "department": []int{1}})
	}
	return map[string]any{"userlist": list}, nil
}

func departments(request) (map[string]any, *refusal) {
	one := map[string]any{"id": 1, "name": "物业公司", "parentid": 0, "order": 1}
	return map[string]any{"department": []any{one}, "department_id": []any{one}}, nil
}

// openUserIDs turns ciphertext userids back; one that is plain already is listed as
// invalid.
func (s *Sim) openUserIDs(q request) (map[string]any, *refusal) {
	var in struct {
		List []string `json:"open_userid_list"`
	}
	if bad := decode(q.body, &in); bad != nil {
		return nil, bad
	}
	if len(in.List) == 0 || len(in.List) > 1000 {
		return nil, refuse(codeBadParam, "open_userid_list needs 1 to 1000 items")
	}
	good, invalid := []map[string]string{}, []string{}
	for _, open := range in.List {
		id, ok := plainID(open)
		if !ok || s.singles[id] == nil {
			invalid = append(invalid, open)
			continue
		}
		good = append(good, map[string]string{"open_userid": open, "userid": id})
	}
	return map[string]any{"userid_list": good, "invalid_open_userid_list": invalid}, nil
}

func (s *Sim) ticket(kind string) func(q request) (map[string]any, *refusal) {
	return func(q request) (map[string]any, *refusal) {
		if q.corp.jsapi[kind] == "" {
			q.corp.jsapi[kind] = newID("")
		}
		return map[string]any{"ticket": q.corp.jsapi[kind], "expires_in": 7200}, nil
	}
}

// readUpload reads the file of a multipart form. The vendor's SDKs name the field
// media.
func readUpload(r *http.Request, body []byte) (name string, data []byte, bad *refusal) {
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	if err := again.ParseMultipartForm(maxQyapiBody); err != nil {
		return "", nil, refuse(codeBadParam, "multipart form invalid")
	}
	defer func() { _ = again.MultipartForm.RemoveAll() }() // all in memory
	f, head, err := again.FormFile("media")
	if err != nil {
		return "", nil, refuse(codeBadParam, "media missing")
	}
	defer f.Close()
	data, err = io.ReadAll(f)
	if err != nil {
		return "", nil, refuse(codeBadParam, "media unreadable")
	}
	return head.Filename, data, nil
}

func checkFile(kind string, size int) *refusal {
	limit, ok := mediaSizes[kind]
	if !ok {
		return refuse(codeBadMsgType, "invalid media type")
	}
	if size < minFile || size > limit {
		return refuse(codeTooLong, "invalid media size")
	}
	return nil
}

func (s *Sim) mediaUpload(q request) (map[string]any, *refusal) {
	name, data, bad := readUpload(q.Request, q.body)
	if bad == nil {
		bad = checkFile(q.query("type"), len(data))
	}
	if bad != nil {
		return nil, bad
	}
	m := s.storeMedia(&media{owner: q.corp.CorpID, kind: q.query("type"), name: name, data: data})
	return map[string]any{"type": m.kind, "media_id": m.id, "created_at": itoa(int(m.at.Unix()))}, nil
}

func (s *Sim) mediaGet(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	c, bad := s.corpOf(r.URL.Query().Get("access_token"))
	var m *media
	if bad == nil {
		if m = s.findMedia(c.CorpID, r.URL.Query().Get("media_id")); m == nil {
			bad = refuse(codeBadMedia, "%s", errmsg(codeBadMedia))
		}
	}
	s.mu.Unlock()
	if bad != nil {
		simcore.WriteJSON(w, http.StatusOK, map[string]any{"errcode": bad.code, "errmsg": bad.msg})
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(m.data)
}

// receivers splits "a|b|c".
func receivers(s string) []string {
	var out []string
	for p := range strings.SplitSeq(s, "|") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}
