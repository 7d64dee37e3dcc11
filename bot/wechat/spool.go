package wechat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"guanjia/internal/conversation"
	"guanjia/internal/db"
)

// replayEvery is how often a spool with content is tried.
const replayEvery = time.Second

// Run replays the spool until ctx ends: at the start, and every second while
// there is something in it.
func (h *Handler) Run(ctx context.Context) {
	if h.o.Spool == nil {
		return
	}
	ticker := time.NewTicker(replayEvery)
	defer ticker.Stop()
	for {
		if _, err := h.ReplaySpool(ctx); err != nil && ctx.Err() == nil && !db.IsUnavailable(err) {
			h.log.ErrorContext(ctx, "the spool could not be replayed", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// ReplaySpool stores what is spooled, in the order of arrival, runs the turns
// (their answers travel as service messages) and returns how many messages were
// new. A turn that fails is left to the sweep.
func (h *Handler) ReplaySpool(ctx context.Context) (stored int, err error) {
	if h.o.Spool == nil || h.o.Spool.Len() == 0 {
		return 0, nil
	}
	var fresh []conversation.Message
	err = h.o.Spool.Replay(ctx, func(ctx context.Context, in conversation.Inbound) error {
		storeCtx, cancel := context.WithTimeout(ctx, h.o.StoreTimeout)
		defer cancel()
		m, seen, err := h.o.Conversations.Receive(storeCtx, in)
		switch {
		case err == nil:
			if !seen && !m.Answered {
				fresh = append(fresh, m)
			}
			return nil
		case db.IsUnavailable(err) || ctx.Err() != nil:
			return err
		}
		return fmt.Errorf("%w: %w", conversation.ErrPutAside, err)
	})
	if len(fresh) > 0 {
		h.log.InfoContext(ctx, "spooled messages were stored", slog.Int("n", len(fresh)), slog.Int("left", h.o.Spool.Len()))
	}
	for _, m := range fresh {
		if turnErr := h.turnLater(ctx, m); turnErr != nil {
			h.log.ErrorContext(ctx, "a turn failed, the sweep will try again",
				slog.String("message", m.ID), slog.Any("error", turnErr))
		}
	}
	return len(fresh), err
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
