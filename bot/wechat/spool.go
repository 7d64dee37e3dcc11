package wechat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"guanjia/internal/conversation"
	"guanjia/internal/db"
)

// replayEvery is how often a spool with content is tried.
const replayEvery = time.Second

// A replay stores a round of messages and then runs their turns, some at once.
const (
	replayRound   = 500
	replayWorkers = 8
)

// Run replays the spool until ctx ends: at the start, and every second while
// there is something in it.
func (h *Handler) Run(ctx context.Context) {
	if h.o.Spool == nil {
		return
	}
	ticker := time.NewTicker(replayEvery)
	defer ticker.Stop()
	var last string // an error is logged when it changes, not each second
	for {
		_, err := h.ReplaySpool(ctx)
		if err == nil || db.IsUnavailable(err) || ctx.Err() != nil {
			last = ""
		} else if err.Error() != last {
			last = err.Error()
			h.log.ErrorContext(ctx, "the spool could not be replayed", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// errRound ends a round of a replay.
var errRound = errors.New("the round is full")

// ReplaySpool stores what is spooled, in the order of arrival, runs the turns
// (their answers travel as service messages) and returns how many messages were
// new. A turn that fails is left to the sweep.
func (h *Handler) ReplaySpool(ctx context.Context) (stored int, err error) {
	if h.o.Spool == nil {
		return 0, nil
	}
	for h.o.Spool.Len() > 0 {
		fresh, err := h.replayRound(ctx)
		stored += len(fresh)
		if len(fresh) > 0 {
			h.log.InfoContext(ctx, "spooled messages were stored", slog.Int("n", len(fresh)), slog.Int("left", h.o.Spool.Len()))
			h.turnAll(ctx, fresh)
		}
		if !errors.Is(err, errRound) {
			return stored, err
		}
	}
	return stored, nil
}

// replayRound stores at most replayRound new messages, which it returns.
func (h *Handler) replayRound(ctx context.Context) (fresh []conversation.Message, err error) {
	err = h.o.Spool.Replay(ctx, func(ctx context.Context, in conversation.Inbound) error {
		if len(fresh) == replayRound {
			return errRound
		}
		storeCtx, cancel := context.WithTimeout(ctx, h.o.StoreTimeout)
		defer cancel()
		m, seen, err := h.o.Conversations.Receive(storeCtx, in)
		switch {
		case err == nil:
			if !seen && !m.Answered {
				fresh = append(fresh, m)
			}
			return nil
		case errors.Is(err, conversation.ErrReplayed):
			return fmt.Errorf("%w: %w", conversation.ErrPutAside, err)
		case db.IsUnavailable(err) || errors.Is(err, db.ErrStopped) || ctx.Err() != nil:
			return err
		}
		return fmt.Errorf("%w: %w", conversation.ErrTryLater, err)
	})
	return fresh, err
}

// turnAll runs the turns of a round: those of one resident one after the other.
func (h *Handler) turnAll(ctx context.Context, fresh []conversation.Message) {
	byConversation := map[string][]conversation.Message{}
	for _, m := range fresh {
		byConversation[m.ConversationID] = append(byConversation[m.ConversationID], m)
	}
	places := make(chan struct{}, replayWorkers)
	var wg sync.WaitGroup
	for _, ms := range byConversation {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			for _, m := range ms {
				if err := h.turnLater(ctx, m); err != nil {
					h.log.ErrorContext(ctx, "a turn failed, the sweep will try again",
						slog.String("message", m.ID), slog.Any("error", err))
				}
			}
		})
	}
	wg.Wait()
}

// turnLater runs the turn on a message whose exchange is long over.
func (h *Handler) turnLater(ctx context.Context, m conversation.Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(errors.New("a turn panicked"), panicError(p))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, h.o.TurnTimeout)
	defer cancel()
	_, _, err = h.o.Turner.Turn(ctx, m, false)
	return err
}
