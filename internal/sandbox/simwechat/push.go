package simwechat

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"guanjia/internal/sandbox/simcore"
	"guanjia/internal/sandbox/wxcrypt"
)

const (
	callbackTimeout = 5 * time.Second
	callbackTries   = 3
	// retryGap is the least time between the starts of two attempts, so that
	// three of them span what WeChat gives a server to come back.
	retryGap = 5 * time.Second

	// hangUpAfter is when a disconnect fault cuts the connection.
	hangUpAfter = 500 * time.Millisecond

	modePlain      = "plain"
	modeCompatible = "compatible"
	modeEncrypted  = "encrypted"

	faultNotice = "该公众号提供的服务出现故障，请稍后再试"
)

// push is one message or event on its way to the account's server.
type push struct {
	acct   *account
	u      *user
	msgID  string // of a message; empty for an event
	body   []byte
	event  string
	target string
	mode   string
	tamper string
	times  int // copies at once, instead of retries
	gap    time.Duration
	quiet  bool // the resident sees nothing of it
}

// Attempt is one try of a push.
type Attempt struct {
	Status    int    `json:"status"` // 0: no answer
	LatencyMS int64  `json:"latency_ms"`
	Reply     *Reply `json:"reply"`
	Error     string `json:"error,omitempty"`
	// Body is the undecrypted answer, clipped, where it was no valid reply.
	Body string `json:"body,omitempty"`
}

// Reply is a passive reply, decrypted.
type Reply struct {
	Type    string   `json:"type"`
	Text    string   `json:"text"`
	MediaID string   `json:"media_id,omitempty"`
	URL     string   `json:"url,omitempty"`
	Title   string   `json:"title,omitempty"`
	Options []Option `json:"options,omitempty"`
}

// Delivery answers a resident's action.
type Delivery struct {
	MsgID    string    `json:"msg_id"`
	Attempts []Attempt `json:"attempts"`
}

// pushStamp is what a replay repeats.
type pushStamp struct{ timestamp, nonce string }

// newPush builds the document with WeChat's own head.
func (s *Sim) newPush(u *user, msgID string, elements []element) *push {
	head := []element{
		cdata("ToUserName", u.acct.cfg.OriginalID), cdata("FromUserName", u.r.OpenID),
		plain("CreateTime", strconv.FormatInt(s.core.Now().Unix(), 10)),
	}
	if msgID != "" {
		elements = append(elements, plain("MsgId", msgID))
	}
	return &push{
		acct: u.acct, u: u, msgID: msgID, body: document(append(head, elements...)...),
		target: "wechat.callback", mode: u.acct.cfg.Mode, times: 1, gap: retryGap,
	}
}

func (s *Sim) nextMsgID() int64 { return s.msgID.Add(1) }

// result of one attempt.
type result int

const (
	resultFailed   result = iota // no usable answer: try again
	resultAnswered               // a reply, or rightly none
	resultBad                    // an answer that WeChat does not understand
)

// deliver pushes as WeChat does: up to three attempts of five seconds, the
// same message each time, then the fault notice.
func (s *Sim) deliver(ctx context.Context, p *push) []Attempt {
	if len(p.acct.cfg.CallbackURLs) == 0 {
		return []Attempt{}
	}
	if p.tamper != "" {
		return s.deliverTampered(ctx, p)
	}
	if p.times > 1 {
		return s.deliverCopies(ctx, p)
	}
	attempts := []Attempt{}
	for n := range callbackTries {
		began := time.Now()
		// WeChat may refresh timestamp and nonce of a retry; this one does.
		a, res := s.attempt(ctx, p, s.seal(p, s.stamp(p.acct)))
		attempts = append(attempts, a)
		switch {
		case res == resultAnswered:
			s.showReply(p, a.Reply)
			return attempts
		case res == resultBad:
			s.showFault(p)
			return attempts
		case n+1 < callbackTries:
			s.core.Pause(ctx, p.gap-time.Since(began))
		}
		if ctx.Err() != nil {
			return attempts
		}
	}
	s.showFault(p)
	return attempts
}

// deliverCopies sends the same bytes several times at once. Of the answers
// the resident sees one.
func (s *Sim) deliverCopies(ctx context.Context, p *push) []Attempt {
	sealed := s.seal(p, s.stamp(p.acct))
	attempts := make([]Attempt, p.times)
	results := make([]result, p.times)
	var wg sync.WaitGroup
	for i := range attempts {
		wg.Go(func() { attempts[i], results[i] = s.attempt(ctx, p, sealed) })
	}
	wg.Wait()
	shown := -1
	for i, res := range results {
		if res == resultAnswered && (shown < 0 || attempts[shown].Reply == nil && attempts[i].Reply != nil) {
			shown = i
		}
	}
	if shown < 0 {
		s.showFault(p)
	} else {
		s.showReply(p, attempts[shown].Reply)
	}
	return attempts
}

// deliverTampered sends what an attacker would: once, and the resident, who
// did nothing, sees nothing.
func (s *Sim) deliverTampered(ctx context.Context, p *push) []Attempt {
	attempts := []Attempt{}
	st := s.newStamp()
	if p.tamper == tamperReplay {
		p.acct.mu.Lock()
		st = p.acct.lastPush
		p.acct.mu.Unlock()
		if st.nonce == "" { // nothing to repeat yet: the genuine message comes first
			st = s.stamp(p.acct)
			genuine := *p
			genuine.tamper = ""
			a, _ := s.attempt(ctx, &genuine, s.seal(&genuine, st))
			attempts = append(attempts, a)
			p.body = bytes.Replace(p.body, []byte("</MsgId>"), []byte("1</MsgId>"), 1)
		}
	}
	if p.tamper == tamperStale {
		if n, err := strconv.ParseInt(st.timestamp, 10, 64); err == nil {
			st.timestamp = strconv.FormatInt(n-3600, 10)
		}
	}
	a, _ := s.attempt(ctx, p, s.seal(p, st))
	return append(attempts, a)
}

func (s *Sim) newStamp() pushStamp {
	return pushStamp{timestamp: strconv.FormatInt(s.core.Now().Unix(), 10), nonce: randomDigits(10)}
}

func (s *Sim) stamp(a *account) pushStamp {
	st := s.newStamp()
	a.mu.Lock()
	a.lastPush = st
	a.mu.Unlock()
	return st
}

const (
	tamperSignature = "signature"
	tamperBody      = "body"
	tamperAppID     = "appid"
	tamperKey       = "key"
	tamperStale     = "stale"
	tamperReplay    = "replay"
)

var tampers = map[string]bool{
	"": true, tamperSignature: true, tamperBody: true, tamperAppID: true, tamperKey: true, tamperStale: true, tamperReplay: true,
}

// sealed is a push as it goes over the wire.
type sealed struct {
	query url.Values
	body  []byte
}

func (s *Sim) seal(p *push, st pushStamp) sealed {
	cfg := &p.acct.cfg
	q := url.Values{
		"signature": {wxcrypt.Signature(cfg.Token, st.timestamp, st.nonce)},
		"timestamp": {st.timestamp}, "nonce": {st.nonce}, "openid": {p.u.r.OpenID},
	}
	if p.mode == modePlain {
		body := p.body
		switch p.tamper {
		case tamperSignature:
			q.Set("signature", flip(q.Get("signature")))
		case tamperBody:
			body = bytes.Replace(body, []byte("</xml>"), []byte("<Tampered>1</Tampered></xml>"), 1)
		}
		return sealed{q, body}
	}
	key, appID := p.acct.key, cfg.AppID
	if p.tamper == tamperKey {
		key = foreignKey()
	}
	if p.tamper == tamperAppID {
		appID = "wx0000000000000000"
	}
	encrypted, err := key.Encrypt(p.body, appID)
	if err != nil { // the key was checked with the world
		s.core.Log.Error("encrypt a callback", "error", err)
	}
	q.Set("encrypt_type", "aes")
	q.Set("msg_signature", wxcrypt.Signature(cfg.Token, st.timestamp, st.nonce, encrypted))
	if p.tamper == tamperSignature {
		q.Set("msg_signature", flip(q.Get("msg_signature")))
	}
	if p.tamper == tamperBody {
		encrypted = flip(encrypted)
	}
	if p.mode == modeCompatible {
		open := bytes.TrimSuffix(p.body, []byte("</xml>"))
		return sealed{q, append(bytes.Clone(open), []byte(string(cdata("Encrypt", encrypted))+"\n</xml>")...)}
	}
	return sealed{q, document(cdata("ToUserName", cfg.OriginalID), cdata("Encrypt", encrypted))}
}

// flip changes one character in the middle to another of the same kind.
func flip(s string) string {
	if s == "" {
		return s
	}
	b := []byte(s)
	i := len(b) / 2
	if b[i] == 'a' {
		b[i] = 'b'
	} else {
		b[i] = 'a'
	}
	return string(b)
}

func foreignKey() wxcrypt.Key {
	k, err := wxcrypt.ParseKey(strings.Repeat("Z", 43))
	if err != nil {
		panic("simwechat: " + err.Error()) // a constant
	}
	return k
}

// attempt makes one try under the faults of the callback.
func (s *Sim) attempt(ctx context.Context, p *push, m sealed) (Attempt, result) {
	var f *simcore.Fault
	if p.target == "wechat.callback" && p.tamper == "" {
		f = s.core.Faults.Take(p.target, simcore.Match{OpenID: p.u.r.OpenID})
	}
	if f == nil {
		return s.post(ctx, p, m)
	}
	switch f.Kind {
	case simcore.FaultDrop:
		s.core.Counters.Call(p.target, f.Kind)
		return Attempt{Error: f.Kind}, resultFailed
	case simcore.FaultTimeoutBefore:
		s.core.Pause(ctx, f.Wait(callbackTimeout))
		s.core.Counters.Call(p.target, f.Kind)
		return Attempt{Error: f.Kind, LatencyMS: f.Wait(callbackTimeout).Milliseconds()}, resultFailed
	case simcore.FaultTimeoutAfterAccept:
		// The server answers, and the answer is lost on the way back.
		a, _ := s.post(ctx, p, m)
		s.core.Counters.Call(p.target, f.Kind)
		return Attempt{Error: f.Kind, LatencyMS: a.LatencyMS}, resultFailed
	case simcore.FaultDisconnect:
		// The platform hangs up while the server is at work.
		cut, cancel := context.WithTimeout(ctx, f.Wait(hangUpAfter))
		defer cancel()
		a, _ := s.post(cut, p, m)
		s.core.Counters.Call(p.target, f.Kind)
		return Attempt{Error: f.Kind, LatencyMS: a.LatencyMS}, resultFailed
	case simcore.FaultSlow, simcore.FaultDelay:
		s.core.Pause(ctx, f.Wait(time.Second))
		return s.post(ctx, p, m)
	case simcore.FaultDuplicate:
		var second sync.WaitGroup
		second.Go(func() { s.post(ctx, p, m) })
		a, res := s.post(ctx, p, m)
		second.Wait()
		return a, res
	default:
		return s.post(ctx, p, m)
	}
}

// post sends to the next callback address, and to the one after it when that
// refuses the connection.
func (s *Sim) post(ctx context.Context, p *push, m sealed) (Attempt, result) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return Attempt{Error: "stopped"}, resultFailed
	}
	ctx, cancel := context.WithTimeout(ctx, callbackTimeout)
	defer cancel()
	urls := p.acct.cfg.CallbackURLs
	first := int(p.acct.next.Add(1)-1) % len(urls)
	began := time.Now()
	var a Attempt
	var res result
	for i := range urls {
		var refused bool
		a, res, refused = s.postTo(ctx, p, m, urls[(first+i)%len(urls)])
		if !refused {
			break
		}
	}
	a.LatencyMS = time.Since(began).Milliseconds()
	s.core.Counters.Call(p.target, outcomeOf(a, res))
	return a, res
}

func outcomeOf(a Attempt, res result) string {
	switch {
	case res == resultAnswered:
		return "ok"
	case res == resultBad:
		return "bad_reply"
	case a.Status != 0:
		return "http_" + strconv.Itoa(a.Status)
	default:
		return a.Error
	}
}

func (s *Sim) postTo(ctx context.Context, p *push, m sealed, address string) (a Attempt, res result, refused bool) {
	glue := "?"
	if strings.Contains(address, "?") {
		glue = "&"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address+glue+m.query.Encode(), bytes.NewReader(m.body))
	if err != nil {
		return Attempt{Error: "bad_url"}, resultFailed, false
	}
	req.Header.Set("Content-Type", "text/xml")
	req.Header.Set("User-Agent", "Mozilla/4.0")
	resp, err := s.http.Do(req)
	if err != nil {
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return Attempt{Error: "refused"}, resultFailed, true
		case errors.Is(err, context.DeadlineExceeded):
			return Attempt{Error: "timeout"}, resultFailed, false
		default:
			return Attempt{Error: "connection_lost"}, resultFailed, false
		}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReplyBytes))
	if err != nil {
		return Attempt{Status: resp.StatusCode, Error: "timeout"}, resultFailed, false
	}
	a.Status = resp.StatusCode
	if resp.StatusCode != http.StatusOK {
		a.Error, a.Body = "status", clip(body, ridBodyKept)
		return a, resultFailed, false
	}
	reply, err := s.readReply(p, body)
	if err != nil {
		a.Error, a.Body = err.Error(), clip(body, ridBodyKept)
		return a, resultBad, false
	}
	a.Reply = reply
	return a, resultAnswered, false
}

func (s *Sim) showReply(p *push, r *Reply) {
	if p.quiet || r == nil || !p.u.following() {
		return
	}
	s.show(p.u, ChatItem{
		From: "account", Kind: "passive", Type: r.Type, Text: r.Text, MediaID: r.MediaID, URL: r.URL, Title: r.Title, Options: r.Options,
	})
	s.accepted("passive", p.u.r.OpenID, r.Text)
}

func (s *Sim) showFault(p *push) {
	if p.quiet || !p.u.following() {
		return
	}
	s.show(p.u, ChatItem{From: "platform", Kind: "fault", Type: "text", Text: faultNotice})
}

func (s *Sim) closeConnections(ctx context.Context) {
	<-ctx.Done()
	s.http.CloseIdleConnections()
}
