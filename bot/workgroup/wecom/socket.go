package wecom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"

	"guanjia/internal/db"
	"guanjia/internal/wecomapi"
)

// Bot is one aibot.
type Bot struct {
	ID        string // our id of the account
	CompanyID string
	BotID     string // the vendor's
	Secret    string
	Name      string // as members mention it
}

// Timing holds the socket's times, of the machine's clock.
type Timing struct {
	Ping         time.Duration // between heartbeats; the vendor wants 30 s
	Ack          time.Duration // how long an ack may take
	Write        time.Duration // how long writing a frame may take
	Dial         time.Duration
	BackoffMin   time.Duration
	BackoffMax   time.Duration
	AuthTries    int           // refused subscriptions in a row before the alarm
	Pause        time.Duration // after an alarm, before trying once more
	LeaseTTL     time.Duration
	LeaseRenew   time.Duration
	Sweep        time.Duration // between looks for messages left half done
	Handle       time.Duration // budget of one message
	Click        time.Duration // budget of one click; the vendor gives 5 s
	Drain        time.Duration // how long Run waits for work in hand when it ends
	WebhookAfter time.Duration // how long a socket is down before emergencies take another way
}

// DefaultTiming gives the times for the real vendor.
func DefaultTiming() Timing {
	return Timing{
		Ping: 30 * time.Second, Ack: 5 * time.Second, Write: 5 * time.Second, Dial: 10 * time.Second,
		BackoffMin: time.Second, BackoffMax: 30 * time.Second, AuthTries: 5, Pause: 30 * time.Minute,
		LeaseTTL: 6 * time.Second, LeaseRenew: 2 * time.Second, Sweep: 5 * time.Second,
		Handle: 20 * time.Second, Click: 4500 * time.Millisecond, Drain: 3 * time.Second,
		WebhookAfter: 60 * time.Second,
	}
}

// Reasons why a socket gave up.
var (
	errKicked = errors.New("another connection of this bot took over")
	errAuth   = errors.New("the vendor refuses this bot's subscription")
)

// maxFrame is the largest frame that is read, in bytes. A larger one breaks
// the connection, which is then made anew.
const maxFrame = 2 << 20

// missedPings is after how many unanswered heartbeats a connection counts as dead.
const missedPings = 2

// socket keeps one bot's connection. run connects, subscribes and reconnects;
// request sends a frame and waits for its ack. Callbacks are handed to onFrame,
// which must not block.
type socket struct {
	bot     Bot
	url     string
	t       Timing
	http    *http.Client
	log     *slog.Logger
	metrics *metrics
	onFrame func(frame) // takes callbacks
	onUp    func()      // hears of every subscription

	mu        sync.Mutex
	link      *link // nil while there is no subscribed connection
	changed   chan struct{}
	downSince time.Time
}

func newSocket(bot Bot, url string, t Timing, client *http.Client, log *slog.Logger, m *metrics) *socket {
	return &socket{
		bot: bot, url: url, t: t, http: client, log: log, metrics: m, onFrame: func(frame) {}, onUp: func() {},
		changed: make(chan struct{}), downSince: time.Now(),
	}
}

// link is one connection.
type link struct {
	conn  *websocket.Conn
	nudge chan struct{} // asks for a heartbeat at once
	done  chan struct{} // closed when the connection is over

	mu      sync.Mutex
	pending map[string]chan frame
	kicked  bool
	once    sync.Once
}

func newLink(conn *websocket.Conn) *link {
	return &link{conn: conn, nudge: make(chan struct{}, 1), done: make(chan struct{}), pending: map[string]chan frame{}}
}

// close ends the connection at once; whoever waits for an ack is told.
func (l *link) close() {
	l.once.Do(func() {
		close(l.done)
		_ = l.conn.CloseNow()
	})
}

// run keeps the socket up until ctx ends, or until it makes no sense to go on
// (errKicked, errAuth).
func (s *socket) run(ctx context.Context) error {
	backoff, refused := s.t.BackoffMin, 0
	for {
		subscribed, err := s.session(ctx)
		s.setLink(nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errKicked) {
			return err
		}
		if subscribed {
			backoff, refused = s.t.BackoffMin, 0
		}
		if errors.Is(err, errAuth) {
			if refused++; refused >= s.t.AuthTries {
				return err
			}
		}
		s.metrics.reconnects.WithLabelValues(reasonOf(err)).Inc()
		s.log.InfoContext(ctx, "work group socket is down", "bot", s.bot.ID, "reason", reasonOf(err), "again_in", backoff.String(), "error", err)
		if !sleep(ctx, jitter(backoff)) {
			return ctx.Err()
		}
		backoff = min(backoff*2, s.t.BackoffMax)
	}
}

// session is one connection from dial to its end.
func (s *socket) session(ctx context.Context) (subscribed bool, err error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return false, err
	}
	// Reading outlives ctx for the moment of the goodbye; l.close ends it.
	readCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l := newLink(conn)
	defer l.close()

	var wg sync.WaitGroup
	defer wg.Wait()
	defer l.close() // before the wait: it ends the reader
	readErr := make(chan error, 1)
	wg.Go(func() {
		readErr <- s.read(readCtx, l)
		l.close()
	})

	body := map[string]any{"bot_id": s.bot.BotID, "secret": s.bot.Secret}
	if _, err := s.requestOn(ctx, l, cmdSubscribe, newReqID(cmdSubscribe), body); err != nil {
		return false, s.subscribeError(l, err)
	}
	s.setLink(l)
	s.log.InfoContext(ctx, "work group socket is up", "bot", s.bot.ID)
	s.onUp()
	wg.Go(func() { s.heartbeat(ctx, l) })

	select {
	case <-ctx.Done():
		s.goodbye(l)
		return true, ctx.Err()
	case <-l.done:
	}
	if l.wasKicked() {
		return true, errKicked
	}
	select {
	case err := <-readErr:
		return true, err
	default:
		return true, errors.New("heartbeat went unanswered")
	}
}

// goodbye closes in an orderly way, so that the vendor knows at once.
func (s *socket) goodbye(l *link) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = l.conn.Close(websocket.StatusNormalClosure, "")
	}()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
		_ = l.conn.CloseNow()
		<-closed
	}
}

func (s *socket) subscribeError(l *link, err error) error {
	if l.wasKicked() {
		return errKicked
	}
	code := wecomapi.CodeOf(err)
	switch wecomapi.Classify(code) {
	case wecomapi.ClassNone: // no answer
		return err
	case wecomapi.ClassThrottled, wecomapi.ClassReconnect:
		return err
	}
	if code == -1 {
		return err
	}
	return fmt.Errorf("%w: errcode %d", errAuth, code)
}

func (s *socket) dial(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.t.Dial)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, s.url, &websocket.DialOptions{HTTPClient: s.http})
	if err != nil {
		status := 0
		if resp != nil {
			status = resp.StatusCode
		}
		// The library's error repeats the address and what answered there.
		return nil, fmt.Errorf("connect: %w (http %d)", wecomapi.ErrNoConnection, status)
	}
	conn.SetReadLimit(maxFrame)
	return conn, nil
}

// read takes frames until the connection ends. It blocks on nothing but the
// connection, so that acks always arrive.
func (s *socket) read(ctx context.Context, l *link) error {
	for {
		kind, raw, err := l.conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("read: closed with status %d", websocket.CloseStatus(err))
		}
		if kind != websocket.MessageText {
			s.metrics.frames.WithLabelValues("bad").Inc()
			continue
		}
		f, err := decodeFrame(raw)
		if err != nil {
			s.metrics.frames.WithLabelValues("bad").Inc()
			s.log.WarnContext(ctx, "work group socket: frame not understood", "bot", s.bot.ID, "bytes", len(raw))
			continue
		}
		s.route(ctx, l, f)
	}
}

func (s *socket) route(ctx context.Context, l *link, f frame) {
	switch f.Cmd {
	case "":
		s.metrics.frames.WithLabelValues("ack").Inc()
		l.deliver(f)
	case cmdMessage:
		s.metrics.frames.WithLabelValues("message").Inc()
		s.onFrame(f)
	case cmdEvent:
		s.metrics.frames.WithLabelValues("event").Inc()
		if isDisconnected(f) {
			l.kick()
			return
		}
		s.onFrame(f)
	default:
		// Unknown commands may come with a later version of the vendor's.
		s.metrics.frames.WithLabelValues("unknown").Inc()
		s.log.DebugContext(ctx, "work group socket: unknown command", "bot", s.bot.ID)
	}
}

func isDisconnected(f frame) bool {
	c, err := decodeCallback(f.Body)
	return err == nil && c.Event.EventType == eventDisconnected
}

func (l *link) kick() {
	l.mu.Lock()
	l.kicked = true
	l.mu.Unlock()
	l.close()
}

func (l *link) wasKicked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kicked
}

// expect registers for the ack of a request; false when one is under way.
func (l *link) expect(reqID string) (<-chan frame, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, busy := l.pending[reqID]; busy {
		return nil, false
	}
	ch := make(chan frame, 1)
	l.pending[reqID] = ch
	return ch, true
}

func (l *link) forget(reqID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, reqID)
}

// deliver hands an ack to whoever waits for it; one that nobody waits for any
// more is dropped.
func (l *link) deliver(f frame) {
	l.mu.Lock()
	ch := l.pending[f.Headers.ReqID]
	delete(l.pending, f.Headers.ReqID)
	l.mu.Unlock()
	if ch != nil {
		ch <- f
	}
}

// heartbeat pings, and ends a connection that doesn't answer: one that is half
// open takes frames for minutes without anybody reading them.
func (s *socket) heartbeat(ctx context.Context, l *link) {
	ticker := time.NewTicker(s.t.Ping)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.nudge:
		case <-l.done:
			return
		case <-ctx.Done():
			return
		}
		if !s.alive(ctx, l) {
			l.close()
			return
		}
	}
}

func (s *socket) alive(ctx context.Context, l *link) bool {
	for range missedPings {
		if _, err := s.requestOn(ctx, l, cmdPing, newReqID(cmdPing), nil); err == nil {
			return true
		}
		select {
		case <-l.done:
			return false
		default:
		}
	}
	return false
}

// request sends a frame over the present connection and waits for the ack.
// Without a connection it waits for one as long as patience says. Errors are
// *wecomapi.Error: ClassRetry with ErrNoConnection when nothing was sent,
// ClassAmbiguous when it isn't known. 846609, which says that the socket only
// looks subscribed, makes it reconnect and send once more; the frame was
// provably not accepted.
func (s *socket) request(ctx context.Context, cmd, reqID string, body any, patience time.Duration) (frame, error) {
	if db.InTransaction(ctx) {
		return frame{}, wecomapi.Fail(cmd, wecomapi.ClassRetry, wecomapi.ErrInTransaction)
	}
	for try := 0; ; try++ {
		l, err := s.wait(ctx, patience)
		if err != nil {
			return frame{}, wecomapi.Fail(cmd, wecomapi.ClassRetry, wecomapi.ErrNoConnection)
		}
		ack, err := s.requestOn(ctx, l, cmd, reqID, body)
		class := wecomapi.ClassOf(err)
		if class == wecomapi.ClassReconnect {
			l.close()
			s.dropLink(l)
			if try == 0 {
				patience = max(patience, s.t.BackoffMin+s.t.Dial)
				continue
			}
		}
		if class == wecomapi.ClassAmbiguous {
			// An ack that doesn't come is the first sign of a half-open
			// connection: find out now, not at the next heartbeat.
			select {
			case l.nudge <- struct{}{}:
			default:
			}
		}
		return ack, err
	}
}

func (s *socket) requestOn(ctx context.Context, l *link, cmd, reqID string, body any) (frame, error) {
	raw, err := encodeFrame(cmd, reqID, body)
	if err != nil {
		return frame{}, wecomapi.Fail(cmd, wecomapi.ClassPermanent, errFrame)
	}
	ack, ok := l.expect(reqID)
	if !ok {
		return frame{}, wecomapi.Fail(cmd, wecomapi.ClassRetry, errBusy)
	}
	defer l.forget(reqID)
	if ctx.Err() != nil {
		return frame{}, wecomapi.Fail(cmd, wecomapi.ClassRetry, wecomapi.ErrNoConnection)
	}
	// A caller who leaves must not tear a frame, and with it the connection.
	writeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.t.Write)
	err = l.conn.Write(writeCtx, websocket.MessageText, raw)
	cancel()
	if err != nil {
		l.close()
		return frame{}, wecomapi.Fail(cmd, wecomapi.ClassAmbiguous, wecomapi.ErrNoAnswer)
	}
	timer := time.NewTimer(s.t.Ack)
	defer timer.Stop()
	select {
	case f := <-ack:
		if f.ErrCode != nil && *f.ErrCode != 0 {
			return f, wecomapi.NewError(cmd, *f.ErrCode)
		}
		return f, nil
	case <-l.done:
		// The ack may have come in the same moment.
		select {
		case f := <-ack:
			if f.ErrCode == nil || *f.ErrCode == 0 {
				return f, nil
			}
			return f, wecomapi.NewError(cmd, *f.ErrCode)
		default:
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	return frame{}, wecomapi.Fail(cmd, wecomapi.ClassAmbiguous, wecomapi.ErrNoAnswer)
}

var errBusy = errors.New("an earlier frame of this request still waits for its ack")

// wait gives the present connection, or the next one within patience.
func (s *socket) wait(ctx context.Context, patience time.Duration) (*link, error) {
	var timeout <-chan time.Time
	for {
		s.mu.Lock()
		l, changed := s.link, s.changed
		s.mu.Unlock()
		if l != nil {
			select {
			case <-l.done:
			default:
				return l, nil
			}
		}
		if patience <= 0 {
			return nil, wecomapi.ErrNoConnection
		}
		if timeout == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			timeout = timer.C
		}
		// A link that is done is still set until its session has returned;
		// the change that follows wakes us.
		select {
		case <-changed:
		case <-timeout:
			return nil, wecomapi.ErrNoConnection
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *socket) setLink(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l == nil && s.link == nil {
		return
	}
	s.link = l
	if l == nil {
		s.downSince = time.Now()
	} else {
		s.downSince = time.Time{}
	}
	s.metrics.up.WithLabelValues(s.bot.ID).Set(upValue(l != nil))
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *socket) dropLink(l *link) {
	s.mu.Lock()
	same := s.link == l
	s.mu.Unlock()
	if same {
		s.setLink(nil)
	}
}

// down tells for how long there has been no connection, 0 while there is one.
func (s *socket) down() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != nil {
		return 0
	}
	return max(time.Since(s.downSince), 1)
}

func upValue(up bool) float64 {
	if up {
		return 1
	}
	return 0
}

func reasonOf(err error) string {
	switch {
	case errors.Is(err, errAuth):
		return "auth"
	case errors.Is(err, errKicked):
		return "kicked"
	case errors.Is(err, wecomapi.ErrNoConnection):
		return "connect"
	default:
		return "broken"
	}
}

// newReqID makes a request id as the vendor's own client does.
func newReqID(cmd string) string {
	return cmd + "_" + strconv.FormatInt(time.Now().UnixMilli(), 10) + "_" + strconv.FormatUint(rand.Uint64(), 36)
}

// jitter spreads d over 75 to 125 %, so that nodes and bots don't all come at once.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(rand.Int64N(int64(d)/2+1))
}

// sleep waits by the machine's clock; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
