package wecom

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"guanjia/bot/workgroup"
	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/telemetry/telemetrytest"
	"guanjia/internal/wording"
	"guanjia/templates"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// texts are the real ones, loaded once.
var texts = sync.OnceValues(func() (*wording.Book, error) { return wording.Load(templates.FS()) })

// reaction is what the fake vendor does with one frame.
type reaction struct {
	dropBefore bool // close the connection, the frame not accepted
	dropAfter  bool // accept, then close without an ack
	noAck      bool // accept and say nothing
	code       int  // refuse with this errcode
}

// vendor is a small aibot server: one socket a bot, acks, callbacks on demand,
// and a reaction for every frame.
type vendor struct {
	t      *testing.T
	server *httptest.Server
	react  func(cmd string, n int) reaction // n counts frames of all connections from 1

	mu         sync.Mutex
	conn       *websocket.Conn
	frames     int
	subscribed int
	accepted   []frame
	html       bool
	changed    chan struct{}
	secret     string
}

func newVendor(t *testing.T) *vendor {
	t.Helper()
	v := &vendor{t: t, secret: "s3cr3t-of-the-bot", changed: make(chan struct{}), react: func(string, int) reaction { return reaction{} }}
	v.server = httptest.NewServer(http.HandlerFunc(v.serve))
	t.Cleanup(v.server.Close)
	return v
}

func (v *vendor) url() string { return "ws" + strings.TrimPrefix(v.server.URL, "http") }

func (v *vendor) note(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f()
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *vendor) serve(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	html := v.html
	v.mu.Unlock()
	if html {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>gateway</html>"))
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	conn.SetReadLimit(4 << 20)
	defer func() { _ = conn.CloseNow() }()
	for {
		_, raw, err := conn.Read(r.Context())
		if err != nil {
			v.note(func() {
				if v.conn == conn {
					v.conn = nil
				}
			})
			return
		}
		var f frame
		if json.Unmarshal(raw, &f) != nil {
			return
		}
		if !v.take(r.Context(), conn, f) {
			return
		}
	}
}

// take reacts to one frame; false ends the connection.
func (v *vendor) take(ctx context.Context, conn *websocket.Conn, f frame) bool {
	var re reaction
	v.note(func() {
		v.frames++
		re = v.react(f.Cmd, v.frames)
	})
	if re.dropBefore {
		return false
	}
	code := re.code
	if code == 0 && f.Cmd == cmdSubscribe {
		var body struct {
			Secret string `json:"secret"`
		}
		_ = json.Unmarshal(f.Body, &body)
		if body.Secret != v.secret {
			code = 40001
		}
	}
	if code == 0 {
		v.note(func() {
			v.accepted = append(v.accepted, f)
			if f.Cmd == cmdSubscribe {
				v.subscribed++
				if v.conn != nil && v.conn != conn {
					v.write(ctx, v.conn, event("kick", "", map[string]any{"eventtype": eventDisconnected}))
					_ = v.conn.CloseNow()
				}
				v.conn = conn
			}
		})
	}
	if re.dropAfter {
		return false
	}
	if !re.noAck {
		v.write(ctx, conn, map[string]any{"headers": f.Headers, "errcode": code, "errmsg": "says " + v.secret})
	}
	return true
}

func (v *vendor) write(ctx context.Context, conn *websocket.Conn, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		v.t.Error(err)
		return
	}
	_ = conn.Write(ctx, websocket.MessageText, raw)
}

// push sends raw bytes to the bot, waiting for a connection.
func (v *vendor) push(raw []byte) {
	v.t.Helper()
	v.until("a connection", func() bool { return v.conn != nil })
	v.mu.Lock()
	conn := v.conn
	v.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if conn != nil {
		_ = conn.Write(ctx, websocket.MessageText, raw)
	}
}

func (v *vendor) pushJSON(body any) {
	v.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		v.t.Fatal(err)
	}
	v.push(raw)
}

// until waits for a condition on the vendor's state, which it may read.
func (v *vendor) until(what string, ok func() bool) {
	v.t.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	for {
		v.mu.Lock()
		done, changed := ok(), v.changed
		v.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			v.t.Fatalf("the vendor never saw %s", what)
		}
	}
}

// drop closes the bot's connection from the vendor's side.
func (v *vendor) drop() {
	v.mu.Lock()
	conn := v.conn
	v.mu.Unlock()
	if conn != nil {
		_ = conn.CloseNow()
	}
}

// got gives the accepted frames of a command.
func (v *vendor) got(cmd string) []frame {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.count(cmd)
}

func (v *vendor) count(cmd string) []frame {
	var out []frame
	for _, f := range v.accepted {
		if f.Cmd == cmd {
			out = append(out, f)
		}
	}
	return out
}

func (v *vendor) untilGot(cmd string, n int) []frame {
	v.t.Helper()
	v.until(fmt.Sprintf("%d of %s", n, cmd), func() bool { return len(v.count(cmd)) >= n })
	return v.got(cmd)
}

func message(msgid, text string) map[string]any {
	return map[string]any{
		"cmd": cmdMessage, "headers": map[string]any{"req_id": "req-" + msgid},
		"body": map[string]any{
			"msgid": msgid, "aibotid": "bot", "chatid": "wrEng", "chattype": "group", "from": map[string]any{"userid": "zhang"},
			"msgtype": "text", "text": map[string]any{"content": text},
		},
	}
}

func event(reqID, msgid string, e map[string]any) map[string]any {
	return map[string]any{
		"cmd": cmdEvent, "headers": map[string]any{"req_id": reqID},
		"body": map[string]any{
			"msgid": msgid, "aibotid": "bot", "chatid": "wrEng", "chattype": "group", "from": map[string]any{"userid": "zhang"},
			"msgtype": "event", "event": e,
		},
	}
}

func press(msgid, key string) map[string]any {
	return event("req-"+msgid, msgid, map[string]any{
		"eventtype":           eventClick,
		"template_card_event": map[string]any{"card_type": "button_interaction", "event_key": key, "task_id": "case-100016-r1"},
	})
}

// handler is a workgroup.Handler that notes what it is given.
type handler struct {
	mu       sync.Mutex
	messages []workgroup.Message
	clicks   []workgroup.Click
	onText   func(ctx context.Context, m workgroup.Message, n int) (workgroup.Answer, error)
	onClick  func(ctx context.Context, c workgroup.Click) (workgroup.Card, error)
}

func (h *handler) Message(ctx context.Context, m workgroup.Message) (workgroup.Answer, error) {
	h.mu.Lock()
	h.messages = append(h.messages, m)
	n, f := len(h.messages), h.onText
	h.mu.Unlock()
	if f != nil {
		return f(ctx, m, n)
	}
	return workgroup.Answer{Text: "收到：" + m.Text}, nil
}

func (h *handler) Click(ctx context.Context, c workgroup.Click) (workgroup.Card, error) {
	h.mu.Lock()
	h.clicks = append(h.clicks, c)
	f := h.onClick
	h.mu.Unlock()
	if f != nil {
		return f(ctx, c)
	}
	return workgroup.Card{TaskID: c.TaskID, Title: "#100016", Buttons: []workgroup.Button{{Text: "完成", Key: "k", Style: workgroup.StylePrimary}}}, nil
}

func (h *handler) heard() []workgroup.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]workgroup.Message(nil), h.messages...)
}

// quick are times for tests.
func quick() Timing {
	return Timing{
		Ping: 200 * time.Millisecond, Ack: 10 * time.Second, Write: 10 * time.Second, Dial: 10 * time.Second,
		BackoffMin: 5 * time.Millisecond, BackoffMax: 40 * time.Millisecond, AuthTries: 5, Pause: time.Hour,
		LeaseTTL: 5 * time.Second, LeaseRenew: 100 * time.Millisecond, Sweep: 50 * time.Millisecond,
		Handle: 20 * time.Second, Click: 10 * time.Second, Drain: 10 * time.Second, WebhookAfter: time.Minute,
	}
}

type rig struct {
	vendor  *vendor
	channel *Channel
	handler *handler
	log     *telemetrytest.Log
	alarms  chan Alarm
	clock   *clock.Manual
	store   *Store
	stop    func()
}

var testBot = Bot{ID: "b1", CompanyID: "c1", BotID: "bot", Secret: "s3cr3t-of-the-bot", Name: "管家"}

// start runs a channel against a vendor on a database.
func start(t *testing.T, d *db.DB, v *vendor, change func(*Options)) *rig {
	t.Helper()
	book, err := texts()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{vendor: v, handler: &handler{}, log: telemetrytest.Capture(t), alarms: make(chan Alarm, 16)}
	r.clock = clock.NewManual(time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC))
	r.store = NewStore(d, r.clock)
	o := Options{
		URL: v.url(), Bots: func(context.Context) ([]Bot, error) { return []Bot{testBot}, nil },
		Lease: NewRowLease(d), Owner: "node-1", Store: r.store, Handler: r.handler, Book: book, Timing: quick(),
		HTTP: v.server.Client(), Alarm: func(a Alarm) { r.alarms <- a }, Log: r.log.Logger,
	}
	if change != nil {
		change(&o)
	}
	r.channel = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.channel.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Error("the channel doesn't stop")
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *rig) up() {
	r.vendor.t.Helper()
	r.vendor.until("a subscription", func() bool { return r.vendor.conn != nil })
	eventually(r.vendor.t, "socket up", func() bool { down, ok := r.channel.Down("b1"); return ok && down == 0 })
}

// eventually waits for what no channel tells of.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		}
	}
}

func markdownOf(t *testing.T, f frame) string {
	t.Helper()
	var body struct {
		Markdown struct {
			Content string `json:"content"`
		} `json:"markdown"`
	}
	if err := json.Unmarshal(f.Body, &body); err != nil {
		t.Fatal(err)
	}
	return body.Markdown.Content
}
