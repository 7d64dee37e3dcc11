package simwecom

import (
	"context"
	"encoding/json"
	"time"

	"guanjia/internal/sandbox/simcore"
)

// The kinds of callback a bot may answer.
type askKind int

const (
	askMessage askKind = iota
	askClick
	askEnter
)

// ask is a callback that was sent and may be answered by its req_id.
type ask struct {
	kind    askKind
	chat    *chat
	msgID   string
	at      time.Time // simulated
	wall    time.Time // machine
	closed  bool      // welcome given
	streams map[string]streamState
	click   *click
}

type streamState struct {
	seq      int64
	finished bool
}

// click is a pressed button that waits for its new card.
type click struct {
	seq      int64
	taskID   string
	closed   bool // replaced, or given up
	refused  *refusal
	replaced chan struct{} // closed when the new card is there
}

// callback is what the vendor sends to a bot.
type callback struct {
	Cmd     string       `json:"cmd"`
	Headers frameHeaders `json:"headers"`
	Body    any          `json:"body"`
}

// await waits until the bot has a connection, at most within; false if it has none.
func (s *Sim) await(ctx context.Context, botID string, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		s.mu.Lock()
		b := s.bot(botID)
		if b == nil {
			s.mu.Unlock()
			return false
		}
		if b.conn != nil {
			s.mu.Unlock()
			return true
		}
		online := b.online
		s.mu.Unlock()
		select {
		case <-online:
		case <-ctx.Done():
			return false
		case <-s.core.Context().Done():
			return false
		}
	}
}

// push sends a callback to the bot; false when it has no connection or the line
// swallowed it. The faults of wecom.callback apply.
func (s *Sim) push(b *bot, cmd string, body map[string]any, a *ask) bool {
	f := s.core.Faults.Take("wecom.callback", simcore.Match{ChatID: a.chat.id})
	if f == nil {
		ok := s.pushNow(b, cmd, body, a, false)
		s.core.Counters.Call("wecom.callback", pushOutcome(ok))
		return ok
	}
	s.core.Counters.Call("wecom.callback", f.Kind)
	switch f.Kind {
	case simcore.FaultDelay, simcore.FaultSlow:
		return s.core.Go(func(ctx context.Context) {
			s.core.Pause(ctx, f.Wait(time.Second))
			s.pushNow(b, cmd, body, a, false)
		})
	case simcore.FaultDuplicate:
		ok := s.pushNow(b, cmd, body, a, false)
		return s.pushNow(b, cmd, body, a, false) || ok
	case simcore.FaultDisconnect:
		return s.pushNow(b, cmd, body, a, true)
	default: // drop, and whatever else would keep it from arriving
		return false
	}
}

func pushOutcome(ok bool) string {
	if ok {
		return "ok"
	}
	return "no_connection"
}

// pushNow writes the frame and remembers its req_id, which stays valid when the
// bot reconnects. With last the line ends behind it.
func (s *Sim) pushNow(b *bot, cmd string, body map[string]any, a *ask, last bool) bool {
	reqID := newID("")
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.conn == nil {
		return false
	}
	again := *a
	again.at, again.wall = s.core.Now(), time.Now()
	again.streams = map[string]streamState{}
	b.remember(reqID, &again)
	data, err := json.Marshal(callback{Cmd: cmd, Headers: frameHeaders{reqID}, Body: body})
	if err != nil { // bodies are plain maps
		s.core.Log.Error("callback cannot be written", "error", err)
		return false
	}
	last = s.breaksLocked(b) || last
	b.conn.send(data, last)
	return true
}

func (b *bot) remember(reqID string, a *ask) {
	b.asks[reqID] = a
	b.askIDs = append(b.askIDs, reqID)
	if len(b.askIDs) <= keptAsks {
		return
	}
	delete(b.asks, b.askIDs[0])
	b.askIDs = b.askIDs[1:]
}
