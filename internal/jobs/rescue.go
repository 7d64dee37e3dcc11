package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"

	"guanjia/internal/db"
)

const (
	beatEvery = time.Second
	// lease is how long a runner is believed to be alive after its last sign
	// of life. All of it is measured by the machine's clock.
	lease = 6 * time.Second
	// rescueBatch bounds one look at running jobs.
	rescueBatch = 1000
)

// rescueLoop says that we are alive, and takes up the jobs of those who have
// died.
func (r *Runner) rescueLoop(ctx context.Context, run *running) {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	// After an outage everybody's sign of life is old. Only who has been able
	// to give one for a whole lease may judge the others.
	since := time.Now()
	failing := false
	for {
		err := r.beat(ctx, run.id)
		if err != nil {
			since = time.Now()
		} else {
			err = errors.Join(
				r.keepQueue(ctx, run),
				r.rescue(ctx, run, time.Since(since) >= lease),
			)
		}
		if failing = r.logOnce(ctx, failing, "job runner could not say that it is alive", err); ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// keepQueue keeps River's row of the queue when the injected clock is in the
// past: River writes the row by that clock, and removes it by the machine's
// when it is a day old.
func (r *Runner) keepQueue(ctx context.Context, run *running) error {
	now := time.Now()
	if now.Sub(r.clk.Now()) < time.Hour {
		return nil
	}
	_, err := run.exec.QueueCreateOrSetUpdatedAt(ctx, &riverdriver.QueueCreateOrSetUpdatedAtParams{
		Metadata: []byte("{}"), Name: river.QueueDefault, Now: &now,
	})
	if err != nil {
		return fmt.Errorf("keep the job queue: %w", err)
	}
	return nil
}

// beat says that runner id is alive.
func (r *Runner) beat(ctx context.Context, id string) error {
	_, err := r.d.ExecContext(ctx, `
		insert into job_runners (id, seen_at) values ($1, $2)
		on conflict (id) do update set seen_at = excluded.seen_at`, id, db.At(time.Now()))
	if err != nil {
		return fmt.Errorf("sign of life: %w", err)
	}
	return nil
}

// alone forgets all other runners. Embedded means one node, so whoever else is
// on the list died without leaving it.
func (r *Runner) alone(ctx context.Context, id string) error {
	if _, err := r.d.ExecContext(ctx, `delete from job_runners where id <> $1`, id); err != nil {
		return fmt.Errorf("forget dead job runners: %w", err)
	}
	return nil
}

// leave takes the runner off the list, so that others take up at once what it
// didn't finish. It is for a runner none of whose handlers runs any more; one
// that could not be stopped is left to the lease.
func (r *Runner) leave(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := r.d.ExecContext(ctx, `delete from job_runners where id = $1`, id); err != nil {
		r.log.InfoContext(ctx, "job runner left without saying so", slog.Any("error", err))
	}
}

// rescue makes running jobs available again whose runner has left or, if we
// may judge, has not been seen for a lease.
func (r *Runner) rescue(ctx context.Context, run *running, judge bool) error {
	stuck, err := run.exec.JobGetStuck(ctx, &riverdriver.JobGetStuckParams{
		Max:          rescueBatch,
		StuckHorizon: r.clk.Now().Add(neverRescue), // all
	})
	if err != nil {
		return fmt.Errorf("look for abandoned jobs: %w", err)
	}
	if len(stuck) == 0 {
		return nil
	}
	if judge {
		if err := r.bury(ctx); err != nil {
			return err
		}
	}
	alive, err := r.alive(ctx)
	if err != nil {
		return err
	}
	rescued := 0
	for _, job := range stuck {
		if len(job.AttemptedBy) == 0 || job.AttemptedAt == nil {
			continue
		}
		by := job.AttemptedBy[len(job.AttemptedBy)-1]
		if by == run.id || alive[by] {
			continue
		}
		if err := r.rescueJob(ctx, run, job); err != nil {
			return err
		}
		rescued++
	}
	if rescued == 0 {
		return nil
	}
	r.log.WarnContext(ctx, "jobs of a stopped process are run again", slog.Int("jobs", rescued))
	return notify(ctx, run.exec)
}

// rescueJob is a compare-and-set on the start that we saw, so that two
// rescuers cannot free a job that one of them has started meanwhile.
func (r *Runner) rescueJob(ctx context.Context, run *running, job *rivertype.JobRow) error {
	now := r.time.Now()
	trouble, err := json.Marshal(rivertype.AttemptError{At: now, Attempt: job.Attempt, Error: "the process stopped while the job was running"})
	if err != nil {
		return fmt.Errorf("rescue job: %w", err)
	}
	state, finalized := rivertype.JobStateAvailable, (*time.Time)(nil)
	if job.Attempt >= job.MaxAttempts {
		// It took the process down each time.
		state, finalized = rivertype.JobStateDiscarded, &now
		r.log.ErrorContext(ctx, "job is given up", attrs(job)...)
	}
	_, err = run.exec.JobRescueMany(ctx, &riverdriver.JobRescueManyParams{
		ID:           []int64{job.ID},
		Error:        [][]byte{trouble},
		FinalizedAt:  []*time.Time{finalized},
		ScheduledAt:  []time.Time{now},
		State:        []string{string(state)},
		StuckHorizon: job.AttemptedAt.Add(time.Millisecond), // the engines keep micro- or milliseconds
	})
	if err != nil {
		return fmt.Errorf("rescue job: %w", err)
	}
	return nil
}

// bury forgets runners that have not been seen for a lease.
func (r *Runner) bury(ctx context.Context) error {
	_, err := r.d.ExecContext(ctx, `delete from job_runners where seen_at < $1`, db.At(time.Now().Add(-lease)))
	if err != nil {
		return fmt.Errorf("forget dead job runners: %w", err)
	}
	return nil
}

func (r *Runner) alive(ctx context.Context) (map[string]bool, error) {
	rows, err := r.d.QueryContext(ctx, `select id from job_runners`)
	if err != nil {
		return nil, fmt.Errorf("list job runners: %w", err)
	}
	defer func() { _ = rows.Close() }()
	alive := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list job runners: %w", err)
		}
		alive[id] = true
	}
	return alive, rows.Err()
}
