package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"

	"guanjia/internal/db"
)

const (
	// promoteEvery is how late a timer may be. River's own scheduler looks
	// every five seconds of the machine's clock.
	promoteEvery = 200 * time.Millisecond
	promoteBatch = 1000
	settleEvery  = 15 * time.Millisecond
)

// promoteLoop makes jobs available when they become due.
func (r *Runner) promoteLoop(ctx context.Context, run *running) {
	ticker := time.NewTicker(promoteEvery)
	defer ticker.Stop()
	failing := false
	for {
		_, err := r.promote(ctx, run.exec)
		if failing = r.logOnce(ctx, failing, "due jobs could not be made available", err); ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// logOnce writes a warning when something begins to fail, and nothing while
// it goes on failing: the database may be away for an hour.
func (r *Runner) logOnce(ctx context.Context, failing bool, msg string, err error) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	if !failing {
		r.log.WarnContext(ctx, msg, slog.Any("error", err))
	}
	return true
}

// promote makes due jobs available and tells the nodes; it returns how many.
func (r *Runner) promote(ctx context.Context, exec riverdriver.Executor) (int, error) {
	total := 0
	for {
		n, err := r.promoteSome(ctx, exec)
		total += n
		if err != nil || n < promoteBatch {
			return total, err
		}
	}
}

func (r *Runner) promoteSome(ctx context.Context, exec riverdriver.Executor) (n int, err error) {
	tx, err := exec.Begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("promote jobs: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback(context.WithoutCancel(ctx))
		}
	}()
	now := r.time.Now()
	scheduled, err := tx.JobSchedule(ctx, &riverdriver.JobScheduleParams{Max: promoteBatch, Now: &now})
	if err != nil {
		return 0, fmt.Errorf("promote jobs: %w", err)
	}
	if len(scheduled) > 0 {
		if err := notify(ctx, tx); err != nil {
			return 0, err
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, fmt.Errorf("promote jobs: %w", err)
	}
	return len(scheduled), nil
}

// notify wakes the nodes, as an insert of River's would.
func notify(ctx context.Context, exec riverdriver.Executor) error {
	err := exec.NotifyMany(ctx, &riverdriver.NotifyManyParams{
		Topic:   "river_insert",
		Payload: []string{fmt.Sprintf(`{"queue": %q}`, river.QueueDefault)},
	})
	if err != nil {
		return fmt.Errorf("wake job runners: %w", err)
	}
	return nil
}

// Settle returns when no job of our kinds is due and unfinished, on any node:
// what was due has run, and so has what it put in turn if that was due too. A
// failed job that waits for its next try isn't due. Settle doesn't move the
// clock; call Restart before it, if it was moved.
func (r *Runner) Settle(ctx context.Context) error {
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	for {
		due, err := r.due(ctx)
		if err != nil {
			return fmt.Errorf("settle jobs: %w", err)
		}
		if !due {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("settle jobs: %w", ctx.Err())
		case <-ticker.C:
		}
	}
}

// due tells whether anything is due or running.
func (r *Runner) due(ctx context.Context) (bool, error) {
	run := r.current()
	if run == nil {
		return false, ErrNotStarted
	}
	if n, err := r.promote(ctx, run.exec); err != nil || n > 0 {
		return true, err
	}
	// One statement is one snapshot: a job that hands over is seen before or
	// after, never in between.
	rows, err := r.d.QueryContext(ctx, `
		select kind, state, scheduled_at from river_job where state in ('available', 'running')`)
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	now := r.time.Now()
	for rows.Next() {
		var (
			kind, state string
			at          db.Time
		)
		if err := rows.Scan(&kind, &state, &at); err != nil {
			return false, err
		}
		if _, known := r.handlers[kind]; !known {
			continue
		}
		if state == "running" || !at.After(now) {
			return true, nil
		}
	}
	return false, rows.Err()
}
