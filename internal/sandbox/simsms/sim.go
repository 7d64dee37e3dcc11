package simsms

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/sandbox/simcore"
)

const (
	smsKept      = 500_000 // texts remembered, over all accounts
	pushesAtOnce = 32
	nonceLife    = 15 * time.Minute
	noncesKept   = 1_000_000 // of one generation
)

// china is the zone of windows, dates and pushed times.
var china = time.FixedZone("CST", 8*3600)

// Sim is the simulator; it implements simcore.Module.
type Sim struct {
	core  *simcore.Core
	http  *http.Client
	slots chan struct{}
	ids   atomic.Int64
	feed  *simcore.Feed[Item]

	mu       sync.Mutex // all below
	start    simcore.World
	accounts map[string]*account // by access key id
	order    []*account
	byPhone  map[string][]*text
	byBiz    map[string][]*text
	kept     []*text // oldest first
	flows    map[flowKey]*flow
	phones   map[string]*flow // verification codes of all senders
	nonces   [2]map[string]struct{}
	turned   time.Time // when the nonces' generation changed
}

var _ simcore.Module = (*Sim)(nil)

// account is one Aliyun account.
type account struct {
	cfg       simcore.SMSAccount
	templates map[string]simcore.SMSTemplate
	signs     map[string]simcore.SMSSign
	next      atomic.Uint64 // of the report addresses
	day       int
	dayN      int64
	month     int
	monthN    int64
	second    int64 // of the machine's clock
	secondN   int
	pusher    pusher
}

// text is one SMS to one phone.
type text struct {
	seq       int64
	acct      *account
	phone     string
	sign      string
	template  string
	body      string
	segments  int
	outID     string
	bizID     string
	at        time.Time
	state     string
	errCode   string
	received  time.Time
	byHand    bool // a person has decided the receipt
	forgotten bool
}

// Item is one line of the SMS inbox.
type Item struct {
	Seq      int64  `json:"seq"`
	At       string `json:"at"`
	Phone    string `json:"phone"`
	Sign     string `json:"sign"`
	Template string `json:"template"`
	Text     string `json:"text"`
	Segments int    `json:"segments"`
	OutID    string `json:"out_id"`
	BizID    string `json:"biz_id"`
	State    string `json:"state"` // submitted | delivered | failed
	ErrCode  string `json:"err_code"`
}

const (
	stateSubmitted = "submitted"
	stateDelivered = "delivered"
	stateFailed    = "failed"
)

// New makes an empty simulator.
func New(core *simcore.Core) *Sim {
	s := &Sim{
		core: core,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: pushBudget}).DialContext,
				MaxIdleConns:        2 * pushesAtOnce,
				MaxIdleConnsPerHost: pushesAtOnce,
				IdleConnTimeout:     90 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		slots: make(chan struct{}, pushesAtOnce),
		feed:  simcore.NewFeed[Item](smsKept),
	}
	s.ids.Store(900619746936498440)
	s.clear()
	core.Go(func(ctx context.Context) {
		<-ctx.Done()
		s.http.CloseIdleConnections()
	})
	return s
}

// Name implements simcore.Module.
func (s *Sim) Name() string { return "sms" }

// clear is called with s.mu held, or before anybody knows s.
func (s *Sim) clear() {
	s.accounts = map[string]*account{}
	s.order = nil
	s.forget()
}

// forget drops what was sent and counted, not what is registered.
func (s *Sim) forget() {
	for _, t := range s.kept {
		t.forgotten = true
	}
	s.byPhone, s.byBiz, s.kept = map[string][]*text{}, map[string][]*text{}, nil
	s.flows, s.phones = map[flowKey]*flow{}, map[string]*flow{}
	s.nonces = [2]map[string]struct{}{{}, {}}
	s.turned = time.Now()
	s.feed.Clear()
}

// LoadWorld implements simcore.Module.
func (s *Sim) LoadWorld(w simcore.World) error {
	accounts := make(map[string]*account, len(w.SMS))
	order := make([]*account, 0, len(w.SMS))
	for i, cfg := range w.SMS {
		field := fmt.Sprintf("sms[%d].", i)
		if cfg.AccessKeyID == "" {
			return &simcore.BadInput{Field: field + "access_key_id", Message: "is empty"}
		}
		if accounts[cfg.AccessKeyID] != nil {
			return &simcore.BadInput{Field: field + "access_key_id", Message: "comes twice"}
		}
		for _, address := range slices.Concat(cfg.ReportURLs, cfg.UpURLs) {
			if !simcore.IsAddress(address) {
				return &simcore.BadInput{Field: field + "report_urls", Message: "is no http address"}
			}
		}
		a := &account{cfg: cfg, templates: map[string]simcore.SMSTemplate{}, signs: map[string]simcore.SMSSign{}}
		for j, t := range cfg.Templates {
			if t.Code == "" {
				return &simcore.BadInput{Field: fmt.Sprintf("%stemplates[%d].template_code", field, j), Message: "is empty"}
			}
			a.templates[t.Code] = t
		}
		for _, x := range cfg.Signs {
			a.signs[x.Name] = x
		}
		accounts[cfg.AccessKeyID] = a
		order = append(order, a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	s.start, s.accounts, s.order = w, accounts, order
	return nil
}

// WriteWorld implements simcore.Module: nothing of an account ever changes.
func (s *Sim) WriteWorld(*simcore.World) {}

// Reset implements simcore.Module.
func (s *Sim) Reset(empty bool) {
	if empty {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.clear()
		s.start = simcore.World{}
		return
	}
	s.mu.Lock()
	w := s.start.Clone()
	s.mu.Unlock()
	if err := s.LoadWorld(w); err != nil {
		s.core.Log.Error("reset the SMS simulator", "error", err)
	}
}

// Routes implements simcore.Module.
func (s *Sim) Routes(r chi.Router) {
	r.HandleFunc("/dysmsapi.aliyuncs.com", s.serve)
	r.HandleFunc("/dysmsapi.aliyuncs.com/", s.serve)
	r.Get("/sim/sms", s.inbox)
	r.Post("/sim/sms/up", s.reply)
	r.Post("/sim/sms/{biz_id}/report", s.reportByHand)
}

// remember keeps a new text; s.mu is held.
func (s *Sim) remember(t *text) {
	t.seq = s.feed.Append(func(seq int64) Item {
		return Item{
			Seq: seq, At: t.at.In(china).Format(timeFormat), Phone: t.phone, Sign: t.sign, Template: t.template, Text: t.body,
			Segments: t.segments, OutID: t.outID, BizID: t.bizID, State: t.state,
		}
	})
	s.byPhone[t.phone] = append(s.byPhone[t.phone], t)
	s.byBiz[t.bizID] = append(s.byBiz[t.bizID], t)
	s.kept = append(s.kept, t)
	if len(s.kept) > smsKept {
		old := s.kept[0]
		s.kept = s.kept[1:]
		old.forgotten = true
		drop(s.byPhone, old.phone, old)
		drop(s.byBiz, old.bizID, old)
	}
}

// drop removes what is the oldest of its key.
func drop(m map[string][]*text, key string, old *text) {
	list := m[key]
	for i, t := range list {
		if t != old {
			continue
		}
		list = append(list[:i:i], list[i+1:]...)
		break
	}
	if len(list) == 0 {
		delete(m, key)
		return
	}
	m[key] = list
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"
