package simwechat

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"guanjia/internal/sandbox/simcore"
	"guanjia/internal/sandbox/wxcrypt"
)

const (
	chatLimit     = 1000    // items kept of one chat
	pushesAtOnce  = 256     // callbacks under way at once
	maxReplyBytes = 1 << 20 // of a callback's answer
)

// china is the time of quotas; WeChat's day is taken to be China's.
var china = time.FixedZone("CST", 8*3600)

// Sim is the simulator; it implements simcore.Module.
type Sim struct {
	core  *simcore.Core
	http  *http.Client
	slots chan struct{}
	msgID atomic.Int64
	ids   atomic.Int64

	mu       sync.RWMutex // the maps below, not what they point to
	start    simcore.World
	accounts map[string]*account // by app id
	order    []*account
	users    map[string]*user // by openid
	people   []*user
}

var _ simcore.Module = (*Sim)(nil)

// New makes an empty simulator.
func New(core *simcore.Core) *Sim {
	s := &Sim{
		core: core,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: callbackTimeout}).DialContext,
				MaxIdleConns:        2 * pushesAtOnce,
				MaxIdleConnsPerHost: pushesAtOnce,
				IdleConnTimeout:     90 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		slots: make(chan struct{}, pushesAtOnce),
	}
	s.msgID.Store(7250021412600020992)
	s.ids.Store(1)
	s.clear()
	core.Go(s.closeConnections)
	return s
}

// Name implements simcore.Module.
func (s *Sim) Name() string { return "wechat" }

// account is one Official Account.
type account struct {
	cfg  simcore.Account
	key  wxcrypt.Key
	next atomic.Uint64 // of the callback addresses

	mu         sync.Mutex
	templates  map[string]simcore.WeChatTemplate
	tokens     map[string]*token
	stable     *token
	legacy     *token
	force      forceState
	quotas     map[string]*quota
	clears     monthCount
	media      map[string]*mediaFile
	mediaOrder []*mediaFile // oldest first
	mediaSize  int
	scenes     map[string]scene // by ticket
	permanent  int
	menu       *menu
	sent       map[clientMsg]sentMsg // client_msg_id
	sentOrder  []sentMark
	codes      map[string]*oauthCode
	grants     map[string]*oauthGrant
	jsTicket   ticket
	lastPush   pushStamp // for the replay of a nonce
	rids       map[string]ridRecord
	ridOrder   []string
	followers  int
	remarks    map[string]string
}

// user is one WeChat user as one account knows him.
type user struct {
	acct *account
	chat *simcore.Feed[ChatItem]

	mu           sync.Mutex
	r            simcore.Resident
	subscribedAt time.Time
	scene        string // through which he came
	sceneKind    string
	buckets      [bucketKinds]bucket
	lastExchange time.Time
	typingUntil  time.Time
}

func (s *Sim) clear() {
	s.accounts = map[string]*account{}
	s.order = nil
	s.users = map[string]*user{}
	s.people = nil
}

// LoadWorld implements simcore.Module.
func (s *Sim) LoadWorld(w simcore.World) error {
	accounts, order, err := buildAccounts(w.Accounts)
	if err != nil {
		return err
	}
	users := make(map[string]*user, len(w.Residents))
	people := make([]*user, 0, len(w.Residents))
	now := s.core.Now()
	for i, r := range w.Residents {
		field := fmt.Sprintf("residents[%d].", i)
		if r.OpenID == "" {
			return &simcore.BadInput{Field: field + "openid", Message: "is empty"}
		}
		if users[r.OpenID] != nil {
			return &simcore.BadInput{Field: field + "openid", Message: "comes twice"}
		}
		acct := accounts[r.AppID]
		if r.AppID == "" && len(order) > 0 {
			acct = order[0]
		}
		if acct == nil {
			return &simcore.BadInput{Field: field + "app_id", Message: "no such account in this world"}
		}
		u := newUser(acct, r)
		if r.Following {
			u.subscribedAt, u.sceneKind = now, "ADD_SCENE_SEARCH"
			acct.followers++
		}
		users[r.OpenID] = u
		people = append(people, u)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start, s.accounts, s.order, s.users, s.people = w, accounts, order, users, people
	return nil
}

func buildAccounts(list []simcore.Account) (map[string]*account, []*account, error) {
	accounts := make(map[string]*account, len(list))
	order := make([]*account, 0, len(list))
	for i, cfg := range list {
		field := fmt.Sprintf("accounts[%d].", i)
		if cfg.Mode == "" {
			cfg.Mode = modePlain
			if cfg.EncodingAESKey != "" {
				cfg.Mode = modeEncrypted
			}
		}
		switch {
		case cfg.AppID == "":
			return nil, nil, &simcore.BadInput{Field: field + "app_id", Message: "is empty"}
		case accounts[cfg.AppID] != nil:
			return nil, nil, &simcore.BadInput{Field: field + "app_id", Message: "comes twice"}
		case cfg.Mode != modePlain && cfg.Mode != modeCompatible && cfg.Mode != modeEncrypted:
			return nil, nil, &simcore.BadInput{Field: field + "mode", Message: "must be plain, compatible or encrypted"}
		case cfg.Strictness != "" && cfg.Strictness != "production" && cfg.Strictness != "test_account":
			return nil, nil, &simcore.BadInput{Field: field + "strictness", Message: "must be production or test_account"}
		}
		a := &account{
			cfg: cfg, templates: map[string]simcore.WeChatTemplate{}, tokens: map[string]*token{}, quotas: map[string]*quota{},
			media: map[string]*mediaFile{}, scenes: map[string]scene{}, sent: map[clientMsg]sentMsg{},
			codes: map[string]*oauthCode{}, grants: map[string]*oauthGrant{}, rids: map[string]ridRecord{}, remarks: map[string]string{},
		}
		if cfg.EncodingAESKey != "" {
			key, err := wxcrypt.ParseKey(cfg.EncodingAESKey)
			if err != nil {
				return nil, nil, &simcore.BadInput{Field: field + "encoding_aes_key", Message: err.Error()}
			}
			a.key = key
		}
		if cfg.Mode != modePlain && !a.key.Valid() {
			return nil, nil, &simcore.BadInput{Field: field + "encoding_aes_key", Message: "is needed in mode " + cfg.Mode}
		}
		for j, address := range cfg.CallbackURLs {
			if !simcore.IsAddress(address) {
				return nil, nil, &simcore.BadInput{Field: fmt.Sprintf("%scallback_urls[%d]", field, j), Message: "is no http address"}
			}
		}
		for _, t := range cfg.Templates {
			a.templates[t.TemplateID] = t
		}
		accounts[cfg.AppID] = a
		order = append(order, a)
	}
	return accounts, order, nil
}

func newUser(acct *account, r simcore.Resident) *user {
	if r.Consents == nil {
		r.Consents = map[string]int{}
	}
	if r.BoundTo == nil {
		r.BoundTo = []string{}
	}
	r.AppID = acct.cfg.AppID
	return &user{acct: acct, r: r, chat: simcore.NewFeed[ChatItem](chatLimit)}
}

// WriteWorld implements simcore.Module.
func (s *Sim) WriteWorld(w *simcore.World) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	w.Residents = make([]simcore.Resident, 0, len(s.people))
	for _, u := range s.people {
		w.Residents = append(w.Residents, u.snapshot())
	}
}

// Reset implements simcore.Module.
func (s *Sim) Reset(empty bool) {
	if empty {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.clear()
		s.start = simcore.World{}
		return
	}
	s.mu.RLock()
	w := s.start.Clone()
	s.mu.RUnlock()
	if err := s.LoadWorld(w); err != nil {
		s.core.Log.Error("reset the WeChat simulator", "error", err)
	}
}

func (u *user) snapshot() simcore.Resident {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.r
	r.Consents = make(map[string]int, len(u.r.Consents))
	for k, v := range u.r.Consents {
		r.Consents[k] = v
	}
	r.BoundTo = append([]string{}, u.r.BoundTo...)
	return r
}

func (u *user) following() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.r.Following
}

func (s *Sim) account(appID string) *account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.accounts[appID]
}

// userOf finds a user of an account: an openid of another one is unknown.
func (s *Sim) userOf(a *account, openID string) *user {
	u := s.user(openID)
	if u == nil || u.acct != a {
		return nil
	}
	return u
}

func (s *Sim) user(openID string) *user {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.users[openID]
}

func (s *Sim) usersOf(a *account) []*user {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*user
	for _, u := range s.people {
		if u.acct == a {
			out = append(out, u)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].r.OpenID < out[j].r.OpenID })
	return out
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// randomText is n characters of WeChat's identifier alphabet.
func randomText(n int) string {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic(fmt.Sprintf("simwechat: random bytes: %v", err)) // never happens on Go 1.24 and later
	}
	for i := range b {
		b[i] = alphabet[b[i]&63]
	}
	return string(b)
}

func randomDigits(n int) string {
	var sb strings.Builder
	for range n {
		d, err := rand.Int(rand.Reader, big.NewInt(10))
		if err != nil {
			panic(fmt.Sprintf("simwechat: random bytes: %v", err))
		}
		sb.WriteByte(byte('0' + d.Int64()))
	}
	return sb.String()
}
