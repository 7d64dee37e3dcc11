package simwecom_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-chi/chi/v5"
	"go.uber.org/goleak"

	"guanjia/internal/clock"
	"guanjia/internal/sandbox/simcore"
	"guanjia/internal/sandbox/simwecom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a bot, an app and two groups; in one of them nobody has spoken yet.
func world() simcore.World {
	return simcore.World{
		Bots:     []simcore.Bot{{BotID: "bot1", Secret: "botsecret", Name: "管家"}, {BotID: "bot2", Secret: "other", Name: "管家婆"}},
		Corps:    []simcore.Corp{{CorpID: "ww1", Secret: "corpsecret", AgentID: 1000002}},
		Webhooks: []simcore.Webhook{{Key: "hook1", ChatID: "wrEngine"}},
		Groups: []simcore.Group{
			{ChatID: "wrEngine", Name: "工程群", Members: []string{"zhang", "li"}, Spoken: true, Bots: []string{"bot1", "bot2"}},
			{ChatID: "wrQuiet", Name: "安静的群", Members: []string{"zhang"}},
			{ChatID: "wrOther", Name: "别家的群", Members: []string{"zhang"}, Spoken: true, Bots: []string{"bot2"}},
		},
		Staff: []simcore.Staff{{UserID: "zhang", Name: "张三", Phone: "13800000009"}, {UserID: "li", Name: "李四", Spoken: true}},
	}
}

// rig is the simulator behind HTTP with a clock that the test moves.
type rig struct {
	t     *testing.T
	clock *clock.Manual
	core  *simcore.Core
	sim   *simwecom.Sim
	url   string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	clk := clock.NewManual(time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC))
	core := simcore.New(clk, nil)
	sim := simwecom.New(core)
	if err := sim.LoadWorld(world()); err != nil {
		t.Fatal(err)
	}
	r := chi.NewRouter()
	sim.Routes(r)
	srv := httptest.NewServer(r)
	client := http.DefaultClient
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := core.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		client.CloseIdleConnections()
		srv.Close()
	})
	return &rig{t: t, clock: clk, core: core, sim: sim, url: srv.URL}
}

// call sends JSON and reads JSON.
func (r *rig) call(method, path string, body any) (int, map[string]any) {
	r.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			r.t.Fatal(err)
		}
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, r.url+path, in)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	out := map[string]any{}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, out
}

func (r *rig) faults(list ...simcore.Fault) {
	r.t.Helper()
	if err := r.core.Faults.Set(list); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) say(chat, from, text string) map[string]any {
	r.t.Helper()
	status, out := r.call("POST", chat+"/messages", map[string]any{"from": from, "text": text})
	if status != http.StatusOK {
		r.t.Fatalf("say: %d %v", status, out)
	}
	return out
}

// chat reads a chat from a number on.
func (r *rig) chat(path string, after int64) ([]map[string]any, int64) {
	r.t.Helper()
	_, out := r.call("GET", fmt.Sprintf("%s/chat?after=%d", path, after), nil)
	var items []map[string]any
	for _, it := range out["items"].([]any) {
		items = append(items, it.(map[string]any))
	}
	return items, int64(out["last_seq"].(float64))
}

// bot is a small aibot client.
type bot struct {
	t      *testing.T
	ws     *websocket.Conn
	mu     sync.Mutex
	waits  map[string]chan map[string]any
	pushed chan map[string]any // callbacks
	gone   chan struct{}       // closed when the line ends
	n      atomic.Int64
}

func (r *rig) dial() *bot {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(r.url, "http")+"/openws.work.weixin.qq.com", nil)
	if err != nil {
		r.t.Fatalf("dial: %v", err)
	}
	ws.SetReadLimit(1 << 22)
	b := &bot{t: r.t, ws: ws, waits: map[string]chan map[string]any{}, pushed: make(chan map[string]any, 100), gone: make(chan struct{})}
	go b.read()
	r.t.Cleanup(func() {
		_ = ws.CloseNow()
		<-b.gone
	})
	return b
}

// connect dials and subscribes.
func (r *rig) connect() *bot {
	r.t.Helper()
	b := r.dial()
	if a := b.send("aibot_subscribe", map[string]any{"bot_id": "bot1", "secret": "botsecret"}); code(a) != 0 {
		r.t.Fatalf("subscribe: %v", a)
	}
	return b
}

func (b *bot) read() {
	defer close(b.gone)
	for {
		_, data, err := b.ws.Read(context.Background())
		if err != nil {
			return
		}
		var f map[string]any
		if json.Unmarshal(data, &f) != nil {
			continue
		}
		if f["cmd"] != nil {
			b.pushed <- f
			continue
		}
		id, _ := f["headers"].(map[string]any)["req_id"].(string)
		b.mu.Lock()
		w := b.waits[id]
		delete(b.waits, id)
		b.mu.Unlock()
		if w != nil {
			w <- f
		}
	}
}

// send sends a frame under a new req_id and waits for its acknowledgement, nil when
// none comes.
func (b *bot) send(cmd string, body any) map[string]any {
	b.t.Helper()
	return b.as(fmt.Sprintf("%s_%d", cmd, b.n.Add(1)), cmd, body)
}

func (b *bot) as(reqID, cmd string, body any) map[string]any {
	b.t.Helper()
	w := make(chan map[string]any, 1)
	b.mu.Lock()
	b.waits[reqID] = w
	b.mu.Unlock()
	b.write(map[string]any{"cmd": cmd, "headers": map[string]any{"req_id": reqID}, "body": body})
	select {
	case a := <-w:
		return a
	case <-b.gone:
		select {
		case a := <-w: // it came just before the line ended
			return a
		default:
			return nil
		}
	case <-time.After(time.Second):
		return nil
	}
}

func (b *bot) write(f any) {
	b.t.Helper()
	data, err := json.Marshal(f)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = b.ws.Write(ctx, websocket.MessageText, data) // a broken line shows as no acknowledgement
}

// next is the next callback.
func (b *bot) next() map[string]any {
	b.t.Helper()
	select {
	case f := <-b.pushed:
		return f
	case <-time.After(3 * time.Second):
		b.t.Fatal("no callback came")
		return nil
	}
}

func (b *bot) nothing() {
	b.t.Helper()
	select {
	case f := <-b.pushed:
		b.t.Fatalf("a callback came: %v", f)
	case <-time.After(50 * time.Millisecond):
	}
}

func (b *bot) closed() {
	b.t.Helper()
	select {
	case <-b.gone:
	case <-time.After(3 * time.Second):
		b.t.Fatal("the line is still open")
	}
}

func code(a map[string]any) int {
	if a == nil {
		return -999
	}
	return int(a["errcode"].(float64))
}

func reqID(f map[string]any) string { return f["headers"].(map[string]any)["req_id"].(string) }

func body(f map[string]any) map[string]any { return f["body"].(map[string]any) }

// card is a claim card with two buttons.
func card(task string) map[string]any {
	return map[string]any{
		"card_type": "button_interaction", "task_id": task,
		"main_title":              map[string]any{"title": "电梯故障 · 3-2-1201", "desc": "工程队列"},
		"horizontal_content_list": []any{map[string]any{"keyname": "报事人", "value": "王**"}},
		"button_list":             []any{map[string]any{"text": "接单", "key": "claim", "style": 1}, map[string]any{"text": "转派", "key": "transfer", "style": 2}},
		"jump_list":               []any{map[string]any{"type": 1, "title": "详情", "url": "https://example.com/1"}},
	}
}

func push(chatID string, chatType int, msgType string, content any) map[string]any {
	return map[string]any{"chatid": chatID, "chat_type": chatType, "msgtype": msgType, msgType: content}
}

func markdown(text string) map[string]any { return map[string]any{"content": text} }

const (
	engine = "/sim/groups/wrEngine"
	quiet  = "/sim/groups/wrQuiet"
)
