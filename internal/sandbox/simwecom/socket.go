package simwecom

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"guanjia/internal/sandbox/simcore"
)

// Limits of a connection, on the machine's clock.
const (
	maxFrame     = 2 << 20 // an upload chunk takes about 700 KiB
	silentBefore = 30 * time.Second
	silentAfter  = 100 * time.Second // pings are due every 30 s
	writeWithin  = 5 * time.Second
	outBuffer    = 4096 // frames waiting for a slow reader before he is cut off
)

// conn is one WebSocket of a bot.
type conn struct {
	ws     *websocket.Conn
	out    chan outFrame
	cancel context.CancelFunc
	host   string // as the client addressed us, for links to media
	bot    *bot   // nil before aibot_subscribe; guarded by Sim.mu
}

type outFrame struct {
	data []byte
	last bool // close after it
}

// frame is what a bot sends.
type frame struct {
	Cmd     string          `json:"cmd"`
	Headers frameHeaders    `json:"headers"`
	Body    json.RawMessage `json:"body"`
}

type frameHeaders struct {
	ReqID string `json:"req_id"`
}

// ack answers a frame; it has no cmd.
type ack struct {
	Headers frameHeaders `json:"headers"`
	ErrCode int          `json:"errcode"`
	ErrMsg  string       `json:"errmsg"`
	Body    any          `json:"body,omitempty"`
}

func (s *Sim) serveSocket(w http.ResponseWriter, r *http.Request) {
	if f := s.core.Faults.Take("wecom.socket", simcore.Match{}, simcore.FaultHTTP); f != nil {
		s.core.Counters.Call("wecom.socket", simcore.FaultHTTP)
		http.Error(w, "bad gateway", min(max(f.Code.Int(http.StatusBadGateway), 400), 599))
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered
	}
	done := make(chan struct{})
	started := s.core.Go(func(ctx context.Context) {
		defer close(done)
		s.talk(ctx, ws, r.Host)
	})
	if !started {
		_ = ws.CloseNow()
		return
	}
	<-done
}

// talk serves one connection until it ends.
func (s *Sim) talk(ctx context.Context, ws *websocket.Conn, host string) {
	ctx, cancel := context.WithCancel(ctx)
	c := &conn{ws: ws, out: make(chan outFrame, outBuffer), cancel: cancel, host: host}
	ws.SetReadLimit(maxFrame)
	written := make(chan struct{})
	go func() {
		defer close(written)
		defer cancel()
		c.write(ctx)
	}()
	s.read(ctx, c)
	cancel()
	<-written
	_ = ws.CloseNow()
	s.mu.Lock()
	if b := c.bot; b != nil && b.conn == c {
		b.conn = nil
		b.online = make(chan struct{})
	}
	s.mu.Unlock()
}

func (c *conn) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-c.out:
			wctx, cancel := context.WithTimeout(ctx, writeWithin)
			err := c.ws.Write(wctx, websocket.MessageText, f.data)
			cancel()
			if err != nil {
				return
			}
			if f.last {
				_ = c.ws.CloseNow()
				return
			}
		}
	}
}

// send queues a frame; a client who doesn't read is cut off.
func (c *conn) send(data []byte, last bool) {
	select {
	case c.out <- outFrame{data, last}:
	default:
		c.cancel()
	}
}

func (s *Sim) read(ctx context.Context, c *conn) {
	for {
		s.mu.Lock()
		patience := silentBefore
		if c.bot != nil {
			patience = silentAfter
		}
		s.mu.Unlock()
		rctx, cancel := context.WithTimeout(ctx, patience)
		typ, data, err := c.ws.Read(rctx)
		cancel()
		if err != nil {
			return
		}
		var f frame
		if typ != websocket.MessageText || json.Unmarshal(data, &f) != nil {
			s.answer(c, "", refuse(codeBadParam, "invalid frame"), nil, false)
			continue
		}
		if f.Cmd == "" {
			continue // an acknowledgement of a callback; nobody waits for it
		}
		if !s.take(ctx, c, f) {
			return
		}
	}
}

// take handles one frame with the faults that strike it; false ends the
// connection.
func (s *Sim) take(ctx context.Context, c *conn, f frame) bool {
	s.mu.Lock()
	b := c.bot
	s.mu.Unlock()
	hit := s.core.Faults.Take("wecom.socket", simcore.Match{}, simcore.FaultErrcode, simcore.FaultDrop, simcore.FaultSlow,
		simcore.FaultDelay, simcore.FaultTimeoutBefore, simcore.FaultTimeoutAfterAccept, simcore.FaultDuplicate)
	silent := false
	if hit != nil {
		s.core.Counters.Call("wecom.socket", hit.Kind)
		switch hit.Kind {
		case simcore.FaultErrcode:
			code := hit.Code.Int(codeNotSubscribed)
			s.answer(c, f.Headers.ReqID, refuse(code, "%s", errmsg(code)), nil, false)
			return true
		case simcore.FaultDrop, simcore.FaultTimeoutBefore:
			return true // the half-open line: bytes go nowhere
		case simcore.FaultTimeoutAfterAccept:
			silent = true
		case simcore.FaultDuplicate:
			s.command(ctx, c, f, true)
		default:
			s.core.Pause(ctx, hit.Wait(time.Second))
		}
	}
	alive := s.command(ctx, c, f, silent)
	if alive && b != nil && s.breaks(b) {
		// The frame was taken; its answer may or may not have left.
		return false
	}
	return alive
}

// breaks counts a frame of the bot and says whether the line breaks after it.
func (s *Sim) breaks(b *bot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.breaksLocked(b)
}

// breaksLocked is breaks with s.mu held: wecom.socket/disconnect strikes every
// frame, or every n-th with code n.
func (s *Sim) breaksLocked(b *bot) bool {
	b.frames++
	for _, a := range s.core.Faults.List() {
		if a.Target != "wecom.socket" || a.Kind != simcore.FaultDisconnect {
			continue
		}
		if every := a.Code.Int(1); every > 1 && b.frames%every != 0 {
			return false
		}
		if s.core.Faults.Take("wecom.socket", simcore.Match{}, simcore.FaultDisconnect) == nil {
			return false
		}
		s.core.Counters.Call("wecom.socket", simcore.FaultDisconnect)
		return true
	}
	return false
}

// answer acknowledges a frame.
func (s *Sim) answer(c *conn, reqID string, r *refusal, body any, last bool) {
	a := ack{Headers: frameHeaders{reqID}, ErrMsg: "ok", Body: body}
	if r != nil {
		a.ErrCode, a.ErrMsg = r.code, r.msg
	}
	data, err := json.Marshal(a)
	if err != nil { // bodies are plain maps
		s.core.Log.Error("acknowledgement cannot be written", "error", err)
		return
	}
	c.send(data, last)
}

// command carries out one frame; false ends the connection.
func (s *Sim) command(ctx context.Context, c *conn, f frame, silent bool) bool {
	if f.Headers.ReqID == "" && f.Cmd != "ping" {
		s.answer(c, "", refuse(codeBadParam, "headers.req_id missing"), nil, false)
		return true
	}
	if f.Cmd == "aibot_subscribe" {
		return s.subscribe(c, f)
	}
	s.mu.Lock()
	b := c.bot
	kicked := b != nil && b.conn != c
	s.mu.Unlock()
	if kicked {
		return false
	}
	if b == nil {
		s.core.Counters.Call("wecom.socket", "not_subscribed")
		s.answer(c, f.Headers.ReqID, refuse(codeNotSubscribed, "%s", errmsg(codeNotSubscribed)), nil, false)
		return true
	}
	switch f.Cmd {
	case "ping":
		if !silent {
			s.answer(c, f.Headers.ReqID, nil, nil, false)
		}
		return true
	case "aibot_send_msg":
		return s.outgoing(ctx, c, b, f, "wecom.send", silent, s.sendMsg)
	case "aibot_respond_msg":
		return s.outgoing(ctx, c, b, f, "wecom.respond", silent, s.respondMsg)
	case "aibot_respond_welcome_msg":
		return s.outgoing(ctx, c, b, f, "wecom.respond", silent, s.respondWelcome)
	case "aibot_respond_update_msg":
		return s.outgoing(ctx, c, b, f, "wecom.update_card", silent, s.respondUpdate)
	case "aibot_upload_media_init":
		return s.outgoing(ctx, c, b, f, "wecom.send", silent, s.uploadInit)
	case "aibot_upload_media_chunk":
		return s.outgoing(ctx, c, b, f, "wecom.send", silent, s.uploadChunk)
	case "aibot_upload_media_finish":
		return s.outgoing(ctx, c, b, f, "wecom.send", silent, s.uploadFinish)
	}
	s.answer(c, f.Headers.ReqID, refuse(codeBadParam, "unknown cmd"), nil, false)
	return true
}

// outgoing runs one command of a bot under the faults of its target.
func (s *Sim) outgoing(ctx context.Context, c *conn, b *bot, f frame, target string, silent bool,
	do func(b *bot, f frame) (any, *refusal),
) bool {
	hit := s.core.Faults.Take(target, simcore.Match{ChatID: s.chatOf(b, f)})
	if hit == nil {
		body, bad := do(b, f)
		s.count(target, bad)
		if !silent {
			s.answer(c, f.Headers.ReqID, bad, body, false)
		}
		return true
	}
	switch hit.Kind {
	case simcore.FaultErrcode, simcore.FaultHTTP:
		code := hit.Code.Int(codeBusy)
		bad := refuse(code, "%s", errmsg(code))
		s.count(target, bad)
		s.answer(c, f.Headers.ReqID, bad, nil, false)
	case simcore.FaultDrop, simcore.FaultTimeoutBefore:
		s.core.Counters.Call(target, hit.Kind)
	case simcore.FaultTimeoutAfterAccept:
		_, _ = do(b, f)
		s.core.Counters.Call(target, hit.Kind)
	case simcore.FaultDisconnect:
		_, _ = do(b, f)
		s.core.Counters.Call(target, hit.Kind)
		return false
	case simcore.FaultDuplicate:
		_, bad := do(b, f)
		s.count(target, bad)
		body, bad := do(b, f)
		s.count(target, bad)
		s.answer(c, f.Headers.ReqID, bad, body, false)
	default: // slow, delay
		s.core.Pause(ctx, hit.Wait(time.Second))
		body, bad := do(b, f)
		s.count(target, bad)
		s.answer(c, f.Headers.ReqID, bad, body, false)
	}
	return true
}

func (s *Sim) count(target string, bad *refusal) {
	s.core.Counters.Call(target, outcome(bad))
}

// subscribe opens the bot's line and ends the one it had.
func (s *Sim) subscribe(c *conn, f frame) bool {
	var in struct {
		BotID  string `json:"bot_id"`
		Secret string `json:"secret"`
	}
	bad := decode(f.Body, &in)
	var old *conn
	s.mu.Lock()
	b := s.bot(in.BotID)
	switch {
	case bad != nil:
	case b == nil || b.Secret != in.Secret:
		bad = refuse(codeBadBotSecret, "%s", errmsg(codeBadBotSecret))
	case !b.subs.take(time.Now()):
		bad = refuse(codeQuota, "%s", errmsg(codeQuota))
	default:
		if b.conn != nil && b.conn != c {
			old = b.conn
		}
		if b.conn == nil {
			close(b.online)
		}
		b.conn = c
		c.bot = b
		// Queued under the lock, so that no callback overtakes it.
		s.answer(c, f.Headers.ReqID, nil, nil, false)
	}
	s.mu.Unlock()
	s.core.Counters.Call("wecom.socket", "subscribe_"+outcome(bad))
	if bad != nil {
		s.answer(c, f.Headers.ReqID, bad, nil, false)
		return true
	}
	if old != nil {
		s.kick(old, b)
	}
	return true
}

// kick tells an older connection that a newer one has taken its place.
func (s *Sim) kick(old *conn, b *bot) {
	data, err := json.Marshal(callback{
		Cmd: "aibot_event_callback", Headers: frameHeaders{newID("")},
		Body: map[string]any{
			"msgid": newID(""), "create_time": s.core.Now().Unix(), "aibotid": b.BotID,
			"msgtype": "event", "event": map[string]any{"eventtype": "disconnected_event"},
		},
	})
	if err != nil {
		s.core.Log.Error("event cannot be written", "error", err)
		return
	}
	old.send(data, true)
}

func outcome(bad *refusal) string {
	if bad == nil {
		return "ok"
	}
	return itoa(bad.code)
}

func decode(body json.RawMessage, v any) *refusal {
	if len(body) == 0 {
		return refuse(codeBadParam, "body missing")
	}
	if err := json.Unmarshal(body, v); err != nil {
		return refuse(codeBadParam, "%s: %s", errmsg(codeBadParam), err.Error())
	}
	return nil
}
