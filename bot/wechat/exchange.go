package wechat

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"guanjia/internal/conversation"
	"guanjia/internal/db"
)

// result is what the open exchange is answered with.
type result struct {
	answer conversation.Answer
	// messageID is set when the answer travels in the exchange as its carrier,
	// so that its end is to be noted.
	messageID string
	outcome   string // "" means reply or nothing, by the answer
	refused   *refusal
}

// flight is one push on its way through this node. Retries that arrive
// meanwhile wait for it instead of starting a second turn.
type flight struct {
	in     conversation.Inbound
	stored chan struct{} // closed when message is set
	done   chan struct{} // closed when res is set

	message conversation.Message
	res     result
	once    sync.Once
}

// finish sets the result; later calls change nothing.
func (f *flight) finish(res result) {
	f.once.Do(func() {
		f.res = res
		close(f.done)
	})
}

type flights struct {
	mu    sync.Mutex
	byKey map[string]*flight
}

// join returns the flight of a push and whether the caller has to fly it.
func (f *flights) join(in conversation.Inbound) (*flight, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if running, ok := f.byKey[in.DedupeKey]; ok {
		return running, false
	}
	started := &flight{in: in, stored: make(chan struct{}), done: make(chan struct{})}
	f.byKey[in.DedupeKey] = started
	return started, true
}

func (f *flights) leave(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byKey, key)
}

// exchange stores the push and runs its turn, and returns at the deadline at
// the latest. The turn goes on by itself then, and its answer travels as a
// service message.
func (h *Handler) exchange(ctx context.Context, in conversation.Inbound, deadline time.Time) result {
	f, mine := h.flights.join(in)
	if mine {
		h.running.Add(1)
		go h.fly(context.WithoutCancel(ctx), f, deadline)
	} else {
		h.metrics.retries.WithLabelValues().Inc()
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-f.done:
		return f.res
	case <-timer.C:
		return h.giveUp(ctx, f)
	}
}

// giveUpTimeout keeps the whole exchange below the platform's five seconds.
const giveUpTimeout = time.Second

// giveUp decides at the end of the budget who carries the answer.
func (h *Handler) giveUp(ctx context.Context, f *flight) result {
	select {
	case <-f.done:
		return f.res
	case <-f.stored:
	default:
		return result{refused: refuse(reasonStore, errors.New("neither row nor file within the budget"))}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpTimeout)
	defer cancel()
	won, stored, err := h.o.Conversations.GiveUpExchange(ctx, f.message.ID)
	if err != nil {
		// The push is kept. Should the turn choose the exchange, nobody notes
		// its end, and the sweep sends the answer.
		h.log.WarnContext(ctx, "the exchange could not be given up", slog.String("message", f.message.ID), slog.Any("error", err))
		return result{outcome: outcomeGivenUp}
	}
	if won || stored.Carrier == conversation.CarrierService {
		return result{outcome: outcomeGivenUp}
	}
	return fromRow(stored)
}

// fromRow is the answer that a stored message gets in an exchange.
func fromRow(m conversation.Message) result {
	if !m.Answered || m.Carrier != conversation.CarrierExchange {
		return result{}
	}
	return result{answer: m.Answer, messageID: m.ID}
}

// fly carries a push from its arrival to its answer. It outlives the request
// when the turn does.
func (h *Handler) fly(ctx context.Context, f *flight, deadline time.Time) {
	defer h.running.Done()
	defer h.flights.leave(f.in.DedupeKey)
	defer func() {
		if p := recover(); p != nil {
			h.log.ErrorContext(ctx, "a turn panicked", slog.Any("error", panicError(p)))
			f.finish(h.afterPanic(f))
		}
	}()
	m, seen, res := h.store(ctx, f.in)
	if res != nil {
		f.finish(*res)
		return
	}
	f.message = m
	close(f.stored)
	switch {
	case m.Answered || m.Carrier == conversation.CarrierService:
		if seen {
			h.metrics.retries.WithLabelValues().Inc()
		}
		f.finish(fromRow(m))
	case seen:
		h.metrics.retries.WithLabelValues().Inc()
		h.flySeen(ctx, f, deadline)
	case !answerable(m.Inbound):
		f.finish(result{})
		h.flyAside(ctx, m)
	default:
		f.finish(h.turn(ctx, m))
	}
}

// afterPanic acknowledges what is stored and refuses what isn't.
func (h *Handler) afterPanic(f *flight) result {
	select {
	case <-f.stored:
		return result{outcome: outcomeFailed}
	default:
		return result{refused: refuse(reasonPanic, nil)}
	}
}

// store keeps the push: as a row, or sealed in the spool. The result is set
// when the exchange ends here.
func (h *Handler) store(ctx context.Context, in conversation.Inbound) (m conversation.Message, seen bool, res *result) {
	in.ReceivedAt = h.o.Clock.Now()
	storeCtx, cancel := context.WithTimeout(ctx, h.o.StoreTimeout)
	m, seen, err := h.o.Conversations.Receive(storeCtx, in)
	cancel()
	switch {
	case err == nil:
		return m, seen, nil
	case errors.Is(err, conversation.ErrReplayed):
		return m, false, &result{refused: refuse(reasonReplay, nil)}
	case !db.IsUnavailable(err) || h.o.Spool == nil:
		return m, false, &result{refused: refuse(reasonStore, err)}
	}
	if spoolErr := h.o.Spool.Put(ctx, in); spoolErr != nil {
		return m, false, &result{refused: refuse(reasonStore, errors.Join(err, spoolErr))}
	}
	h.log.WarnContext(ctx, "the database is away, the push was spooled", slog.String("account", in.AccountID), slog.Any("error", err))
	return m, false, &result{answer: h.away(ctx, in), outcome: outcomeAway}
}

// away is the courtesy for a push that could not be answered; not the answer,
// which follows when the database is back.
func (h *Handler) away(ctx context.Context, in conversation.Inbound) conversation.Answer {
	if !answerable(in) {
		return conversation.Answer{}
	}
	text := h.o.Turner.Away(ctx, in)
	if text == "" {
		return conversation.Answer{}
	}
	return conversation.Answer{Kind: conversation.AnswerText, Text: text}
}

// answerable tells whether the resident waits for an answer in this exchange.
// All other events are acknowledged first: after a mass send thousands arrive
// within minutes.
func answerable(in conversation.Inbound) bool {
	if in.Quiet {
		return false
	}
	if in.Kind == conversation.KindMessage {
		return true
	}
	switch in.Event {
	case "subscribe", "SCAN", "CLICK", "scancode_waitmsg":
		return true
	}
	return false
}

// turn runs the dialogue on a stored message while the exchange is open.
func (h *Handler) turn(ctx context.Context, m conversation.Message) result {
	ctx, cancel := context.WithTimeout(ctx, h.o.TurnTimeout)
	defer cancel()
	answer, carrier, err := h.o.Turner.Turn(ctx, m, true)
	if err != nil {
		h.log.ErrorContext(ctx, "a turn failed, the sweep will try again", slog.String("message", m.ID), slog.Any("error", err))
		if db.IsUnavailable(err) {
			return result{answer: h.away(ctx, m.Inbound), outcome: outcomeAway}
		}
		return result{outcome: outcomeFailed}
	}
	if carrier != conversation.CarrierExchange {
		return result{}
	}
	return result{answer: answer, messageID: m.ID}
}

// flyAside runs the turn on an event nobody waits for, if there is room.
func (h *Handler) flyAside(ctx context.Context, m conversation.Message) {
	if m.Quiet {
		return
	}
	select {
	case h.aside <- struct{}{}:
	default:
		return // the sweep takes it
	}
	defer func() { <-h.aside }()
	ctx, cancel := context.WithTimeout(ctx, h.o.TurnTimeout)
	defer cancel()
	if _, _, err := h.o.Turner.Turn(ctx, m, false); err != nil {
		h.log.ErrorContext(ctx, "a turn failed, the sweep will try again", slog.String("message", m.ID), slog.Any("error", err))
	}
}

const (
	// peek is how often a retry looks for the answer of another node.
	peek = 50 * time.Millisecond
	// silence beyond the budget means that the other node is dead: alive, it
	// would have given up the exchange by then.
	silence = time.Second
)

// flySeen handles a retry of a push that has no answer yet and isn't flown by
// this node: it waits for the node that does, or takes over from a dead one.
func (h *Handler) flySeen(ctx context.Context, f *flight, deadline time.Time) {
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(giveUpTimeout))
	defer cancel()
	mine, err := h.o.Conversations.TakeOver(ctx, f.message.ID, h.o.Budget+silence)
	if err == nil && mine {
		f.finish(h.turn(context.WithoutCancel(ctx), f.message))
		return
	}
	ticker := time.NewTicker(peek)
	defer ticker.Stop()
	for {
		m, err := h.o.Conversations.Message(ctx, f.message.ID)
		if err == nil && (m.Answered || m.Carrier == conversation.CarrierService) {
			f.finish(fromRow(m))
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			f.finish(result{outcome: outcomeGivenUp})
			return
		}
	}
}
