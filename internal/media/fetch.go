package media

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"guanjia/internal/jobs"
)

// Pauses between two tries to fetch a file: half of its age, so that a short
// trouble is over soon and a long one is not asked about all the time.
const (
	minPause = 5 * time.Second
	maxPause = 30 * time.Minute
)

// Handle registers the job that fetches.
func (s *Store) Handle(r *jobs.Runner) { r.Handle(JobFetch, s.Fetch) }

// Fetch is the job: it ends when the file is here, gone or refused.
func (s *Store) Fetch(ctx context.Context, raw json.RawMessage) error {
	var args fetchArgs
	if err := json.Unmarshal(raw, &args); err != nil {
		return jobs.Permanent(fmt.Errorf("media: arguments of the job: %w", err))
	}
	w, err := s.wanted(ctx, args.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return jobs.Permanent(err)
	case err != nil:
		return err
	case w.State != StateWanted:
		return nil
	}
	body, err := s.o.Download(ctx, w.accountID, w.vendorID)
	age := s.o.Clock.Now().Sub(w.CreatedAt)
	switch {
	case errors.Is(err, ErrGone):
		return s.settle(ctx, w.ID, StateGone, "", "", 0)
	case errors.Is(err, ErrTooLarge) || len(body) > MaxBytes:
		return s.settle(ctx, w.ID, StateRefused, ReasonTooLarge, "", 0)
	case err != nil && age > keptFor:
		return s.settle(ctx, w.ID, StateGone, "", "", 0)
	case err != nil:
		s.o.Log.WarnContext(ctx, "a resident's file not fetched; it will be tried again", slog.String("media", w.ID), slog.Any("error", err))
		return jobs.Later(min(max(age/2, minPause), maxPause))
	}
	contentType := Sniff(w.Kind, body)
	if contentType == "" {
		return s.settle(ctx, w.ID, StateRefused, ReasonType, "", 0)
	}
	return s.put(ctx, w.ID, contentType, body)
}
