package simwecom

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/sandbox/simcore"
)

// Sim is WeCom. Safe for concurrent use.
type Sim struct {
	core *simcore.Core

	mu    sync.Mutex // guards everything below, and what hangs on it
	start simcore.World
	state
}

// state is what LoadWorld replaces as a whole.
type state struct {
	bots     []*bot
	corps    []*corp
	webhooks map[string]*webhook
	groups   []*chat          // in the order they were made
	chats    map[string]*chat // groups by exact chatid
	singles  map[string]*chat // 1:1 chats by userid
	staff    []simcore.Staff
	media    map[string]*media
	cipher   bool // from.userid as wo... ciphertext
	cards    bool // quoting a card yields its text
}

// bot is one aibot in long-connection mode.
type bot struct {
	simcore.Bot

	conn    *conn
	online  chan struct{} // closed when conn becomes non-nil
	subs    window
	tasks   map[string]bool // every task_id ever used
	asks    map[string]*ask // by req_id
	askIDs  []string        // the same, oldest first
	frames  int             // frames of subscribed connections, both ways
	uploads map[string]*upload
	upRate  window
	greeted map[string]string // userid -> local day of the last enter_chat
}

// chat is a group or the 1:1 chat of one member, which all bots and apps share.
type chat struct {
	id      string
	name    string
	single  bool
	members []string
	bots    []string // empty: all
	spoken  map[string]bool
	feed    *simcore.Feed[Item]
	quota   map[string]*window // by bot
	appRate map[string]*window // by corp, 1:1 only
	app     bool               // made by appchat/create
	owner   string
}

type webhook struct {
	simcore.Webhook
	quota window
}

// The vendor's limits.
const (
	maxContent     = 20480            // bytes of markdown or stream content of a bot
	answerWithin   = 5 * time.Second  // card updates and welcomes
	respondWithin  = 24 * time.Hour   // answers to a message
	streamWithin   = 6 * time.Minute  // from the message to the last stream frame
	mediaLives     = 72 * time.Hour   //
	uploadLives    = 30 * time.Minute //
	keptAsks       = 50000            // callbacks remembered for a bot
	subscribeLimit = 30               // a minute, on the machine's clock
	maxMember      = 64 << 10         // bytes of what a member may type at once
)

// New makes WeCom without anybody in it.
func New(core *simcore.Core) *Sim {
	s := &Sim{core: core}
	s.state = emptyState()
	return s
}

func emptyState() state {
	return state{
		webhooks: map[string]*webhook{}, chats: map[string]*chat{}, singles: map[string]*chat{},
		media: map[string]*media{},
	}
}

// Name implements simcore.Module.
func (s *Sim) Name() string { return "wecom" }

// LoadWorld implements simcore.Module. Open sockets are closed: whose they are may
// have changed.
func (s *Sim) LoadWorld(w simcore.World) error {
	w = w.Clone()
	next, err := build(w)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.start = w
	old := s.state
	s.state = next
	s.mu.Unlock()
	hangUp(old)
	return nil
}

// Reset implements simcore.Module.
func (s *Sim) Reset(empty bool) {
	s.mu.Lock()
	next := emptyState()
	if !empty {
		if again, err := build(s.start.Clone()); err == nil { // it was good before
			next = again
		}
	}
	old := s.state
	s.state = next
	s.mu.Unlock()
	hangUp(old)
}

func hangUp(old state) {
	for _, b := range old.bots {
		if b.conn != nil {
			b.conn.cancel()
		}
	}
}

func build(w simcore.World) (state, error) {
	st := emptyState()
	for i, b := range w.Bots {
		field := fmt.Sprintf("bots[%d].", i)
		switch {
		case b.BotID == "":
			return st, &simcore.BadInput{Field: field + "bot_id", Message: "must not be empty"}
		case b.Secret == "":
			return st, &simcore.BadInput{Field: field + "secret", Message: "must not be empty"}
		case b.Name == "":
			return st, &simcore.BadInput{Field: field + "name", Message: "must not be empty: members address the bot by it"}
		case st.bot(b.BotID) != nil:
			return st, &simcore.BadInput{Field: field + "bot_id", Message: "is there twice"}
		}
		st.bots = append(st.bots, newBot(b))
	}
	for i, c := range w.Corps {
		field := fmt.Sprintf("corps[%d].", i)
		if c.CorpID == "" || c.Secret == "" {
			return st, &simcore.BadInput{Field: field + "corp_id", Message: "corp_id and secret must not be empty"}
		}
		if c.EncodingAESKey != "" && len(c.EncodingAESKey) != 43 {
			return st, &simcore.BadInput{Field: field + "encoding_aes_key", Message: "must have 43 characters"}
		}
		st.corps = append(st.corps, newCorp(c))
	}
	for i, m := range w.Staff {
		if m.UserID == "" {
			return st, &simcore.BadInput{Field: fmt.Sprintf("staff[%d].userid", i), Message: "must not be empty"}
		}
		if _, ok := st.singles[m.UserID]; ok {
			return st, &simcore.BadInput{Field: fmt.Sprintf("staff[%d].userid", i), Message: "is there twice"}
		}
		st.addStaff(m)
	}
	for i, g := range w.Groups {
		field := fmt.Sprintf("groups[%d].", i)
		if g.ChatID == "" {
			return st, &simcore.BadInput{Field: field + "chatid", Message: "must not be empty"}
		}
		if st.chats[g.ChatID] != nil {
			return st, &simcore.BadInput{Field: field + "chatid", Message: "is there twice"}
		}
		for _, m := range g.Members {
			if m == "" {
				return st, &simcore.BadInput{Field: field + "members", Message: "must not hold an empty userid"}
			}
			if _, ok := st.singles[m]; !ok {
				st.addStaff(simcore.Staff{UserID: m, Name: m})
			}
		}
		st.addGroup(g)
	}
	for i, h := range w.Webhooks {
		if h.Key == "" {
			return st, &simcore.BadInput{Field: fmt.Sprintf("webhooks[%d].key", i), Message: "must not be empty"}
		}
		st.webhooks[h.Key] = &webhook{Webhook: h, quota: window{limits: []rate{{20, time.Minute}}}}
	}
	return st, nil
}

func newBot(b simcore.Bot) *bot {
	return &bot{
		Bot: b, online: make(chan struct{}), tasks: map[string]bool{}, asks: map[string]*ask{},
		subs:    window{limits: []rate{{subscribeLimit, time.Minute}}},
		uploads: map[string]*upload{}, upRate: window{limits: []rate{{30, time.Minute}, {1000, time.Hour}}},
		greeted: map[string]string{},
	}
}

func (st *state) bot(id string) *bot {
	for _, b := range st.bots {
		if b.BotID == id {
			return b
		}
	}
	return nil
}

func (st *state) addStaff(m simcore.Staff) {
	if m.Name == "" {
		m.Name = m.UserID
	}
	st.staff = append(st.staff, m)
	c := newChat(m.UserID, m.Name, []string{m.UserID})
	c.single = true
	if m.Spoken {
		c.speakAll(st.bots)
	}
	st.singles[m.UserID] = c
}

func (st *state) addGroup(g simcore.Group) *chat {
	c := newChat(g.ChatID, g.Name, slices.Clone(g.Members))
	c.bots = slices.Clone(g.Bots)
	if g.Spoken {
		c.speakAll(st.bots)
	}
	st.chats[g.ChatID] = c
	st.groups = append(st.groups, c)
	return c
}

func newChat(id, name string, members []string) *chat {
	return &chat{
		id: id, name: name, members: members, spoken: map[string]bool{},
		feed: simcore.NewFeed[Item](feedLimit), quota: map[string]*window{}, appRate: map[string]*window{},
	}
}

func (c *chat) speakAll(bots []*bot) {
	for _, b := range bots {
		if c.has(b.BotID) {
			c.spoken[b.BotID] = true
		}
	}
}

// has says whether the bot is in the chat.
func (c *chat) has(botID string) bool {
	return c.single || !c.app && (len(c.bots) == 0 || slices.Contains(c.bots, botID))
}

// take books a message of the bot in this conversation.
func (c *chat) take(botID string, now time.Time) bool {
	w := c.quota[botID]
	if w == nil {
		w = &window{limits: []rate{{30, time.Minute}, {1000, time.Hour}}}
		c.quota[botID] = w
	}
	return w.take(now)
}

func (c *chat) channel() string {
	if c.single {
		return "single"
	}
	return "group"
}

// WriteWorld implements simcore.Module.
func (s *Sim) WriteWorld(w *simcore.World) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Bots, w.Corps, w.Webhooks = []simcore.Bot{}, []simcore.Corp{}, []simcore.Webhook{}
	w.Groups, w.Staff = []simcore.Group{}, []simcore.Staff{}
	for _, b := range s.bots {
		w.Bots = append(w.Bots, b.Bot)
	}
	for _, c := range s.corps {
		w.Corps = append(w.Corps, c.Corp)
	}
	for _, h := range s.webhooks {
		w.Webhooks = append(w.Webhooks, h.Webhook)
	}
	slices.SortFunc(w.Webhooks, func(a, b simcore.Webhook) int { return strings.Compare(a.Key, b.Key) })
	for _, c := range s.groups {
		w.Groups = append(w.Groups, simcore.Group{
			ChatID: c.id, Name: c.name, Members: slices.Clone(c.members), Spoken: len(c.spoken) > 0, Bots: slices.Clone(c.bots),
		})
	}
	for _, m := range s.staff {
		m.Spoken = len(s.singles[m.UserID].spoken) > 0
		w.Staff = append(w.Staff, m)
	}
}

// Routes implements simcore.Module.
func (s *Sim) Routes(r chi.Router) {
	r.Get("/openws.work.weixin.qq.com", s.serveSocket)
	r.Get("/openws.work.weixin.qq.com/", s.serveSocket)
	s.qyapiRoutes(r)
	s.controlRoutes(r)
}

// post puts an item into a chat; s.mu is held.
func (s *Sim) post(c *chat, it Item) int64 {
	it.Rev = 1
	it.At = s.core.Now()
	if it.Mentions == nil {
		it.Mentions = []string{}
	}
	return c.feed.Append(func(seq int64) Item {
		it.Seq = seq
		return it
	})
}

// outward is a userid as the bot gets to see it.
func (s *Sim) outward(userid string) string {
	if !s.cipher {
		return userid
	}
	return cipherID(userid)
}

// cipherID stands for the vendor's ciphertext of a userid: opaque to a bot, and
// turned back by batch/openuserid_to_userid alone.
func cipherID(userid string) string {
	return "wo" + base64.RawURLEncoding.EncodeToString([]byte("sim:"+userid))
}

func plainID(open string) (string, bool) {
	body, ok := strings.CutPrefix(open, "wo")
	if !ok {
		return "", false
	}
	b, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(string(b), "sim:")
}

// newID makes an identifier with 128 random bits.
func newID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails since Go 1.24
	return prefix + hex.EncodeToString(b[:])
}

// newChatID makes one with capitals and small letters, as the vendor's are, so that
// a caller who changes the case is found out.
func newChatID() string {
	var b [20]byte
	_, _ = rand.Read(b[:])
	return "wrOg" + strings.NewReplacer("-", "x", "_", "Y").Replace(base64.RawURLEncoding.EncodeToString(b[:]))
}
