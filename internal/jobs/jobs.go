package jobs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivertype"

	"guanjia/internal/clock"
	"guanjia/internal/db"
)

const (
	// fetchCooldown bounds how many jobs a second one node starts:
	// Workers/fetchCooldown. River's default of 100 ms would cap it at 10
	// rounds a second.
	fetchCooldown = 10 * time.Millisecond
	// fetchPoll is how soon a job is found whose notification was lost.
	fetchPoll = 500 * time.Millisecond
	// neverRescue switches River's rescuer off: it compares the time a job
	// was started with the injected clock, and with the clock moved it starts
	// running jobs a second time. See rescue.go for ours.
	neverRescue = 100 * 365 * 24 * time.Hour

	keepFinished  = time.Hour
	keepDiscarded = 30 * 24 * time.Hour
)

// Job is work to be done.
type Job struct {
	// Kind names the handler: two or more characters, letters, digits, dots,
	// hyphens and underscores.
	Kind string
	// Args are handed to the handler as JSON. No personal data, no secrets:
	// keys of rows.
	Args any
	// RunAt is when the job becomes due by the injected clock; the zero time
	// and the past mean at once.
	RunAt time.Time
	// UniqueKey, when not empty, admits at most one unfinished job with this
	// kind and key; a further one is dropped silently.
	UniqueKey string
	// Priority is 1 (first) to 4; 0 means 2.
	Priority int
}

// Handler does the work of one kind. nil means done; an error means that it
// is tried again later (see Options), unless it is made by Permanent or Later.
type Handler func(ctx context.Context, args json.RawMessage) error

// Options tune a Runner. Zero values are replaced by the defaults named.
type Options struct {
	Workers     int           // jobs at the same time on this node; 16
	MaxAttempts int           // tries before a job is given up; 25
	Timeout     time.Duration // of one try; 5 minutes
}

// Permanent marks an error that no further try will mend: the job is given up.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Later asks for another try after d, by the injected clock, without counting
// this one as a failure.
func Later(d time.Duration) error { return river.JobSnooze(max(d, 0)) }

// ErrNotStarted is returned by what needs a started Runner.
var ErrNotStarted = errors.New("jobs: runner is not started")

// Runner puts jobs into the database and works on them.
type Runner struct {
	d    *db.DB
	clk  clock.Clock
	time riverTime
	log  *slog.Logger
	o    Options

	insert    *river.Client[*sql.Tx] // for PutTx; never started
	insertErr error

	handlers map[string]Handler

	life sync.Mutex // one Start, Stop, Restart at a time
	mu   sync.Mutex // guards run
	run  *running   // nil while stopped
}

// running is what lives between Start and Stop.
type running struct {
	id       string
	client   *river.Client[*sql.Tx]
	exec     riverdriver.Executor
	listener *pgxpool.Pool // nil on SQLite
	cancel   context.CancelFunc
	loops    sync.WaitGroup
}

// New returns a Runner that can put jobs; register handlers, then Start it to
// work on them.
func New(d *db.DB, clk clock.Clock, log *slog.Logger, o Options) *Runner {
	if o.Workers <= 0 {
		o.Workers = 16
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = 25
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Minute
	}
	r := &Runner{d: d, clk: clk, time: newRiverTime(clk, d.Engine()), log: log, o: o, handlers: map[string]Handler{}}
	cfg := r.config()
	// Notifications are held back to one in a cooldown; a job committed
	// shortly after another one must not wait for the poll.
	cfg.FetchCooldown = time.Millisecond
	r.insert, r.insertErr = river.NewClient(r.driver(nil), cfg)
	return r
}

// Handle registers h for jobs of this kind. Call it before Start. It panics
// when the kind is taken or no valid name (mistakes of the programmer).
func (r *Runner) Handle(kind string, h Handler) {
	r.life.Lock()
	defer r.life.Unlock()
	if _, taken := r.handlers[kind]; taken {
		panic("jobs: kind " + kind + " has a handler already")
	}
	r.handlers[kind] = h
}

// config is what all our River clients share.
func (r *Runner) config() *river.Config {
	return &river.Config{
		Logger:      quiet(r.log),
		MaxAttempts: r.o.MaxAttempts,
		Test:        river.TestConfig{Time: r.time},
	}
}

func (r *Runner) driver(listener *pgxpool.Pool) riverdriver.Driver[*sql.Tx] {
	switch {
	case r.d.Engine() == db.EngineSQLite:
		return riversqlite.New(r.d.SQL())
	case listener == nil:
		return riverdatabasesql.New(r.d.SQL())
	}
	return riverdatabasesql.NewWithPgxListener(r.d.SQL(), listener)
}

// riverTime lets River see the injected clock, cut to what the engine keeps of
// a time. River's drivers round to the nearest in some statements and cut in
// others, so that a job which is due now could be stored as one of the future.
type riverTime struct {
	clk  clock.Clock
	unit time.Duration
}

func newRiverTime(clk clock.Clock, e db.Engine) riverTime {
	if e == db.EngineSQLite {
		return riverTime{clk, time.Millisecond}
	}
	return riverTime{clk, time.Microsecond}
}

// Now implements rivertype.TimeGenerator.
func (t riverTime) Now() time.Time { return t.clk.Now().Truncate(t.unit) }

// NowOrNil implements rivertype.TimeGenerator.
func (t riverTime) NowOrNil() *time.Time {
	now := t.Now()
	return &now
}

// ceil is the first moment that the engine can keep which isn't before at.
func (t riverTime) ceil(at time.Time) time.Time {
	return at.UTC().Add(t.unit - 1).Truncate(t.unit)
}

// Start begins to work on jobs of the registered kinds; jobs of other kinds
// are left for nodes that know them. The end of ctx doesn't stop it, Stop does.
func (r *Runner) Start(ctx context.Context) error {
	r.life.Lock()
	defer r.life.Unlock()
	return r.start(ctx)
}

func (r *Runner) start(ctx context.Context) (err error) {
	if r.current() != nil {
		return errors.New("start jobs: already started")
	}
	run := &running{id: db.NewID()}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start jobs: %w", err)
			run.close()
		}
	}()
	if r.d.Engine() == db.EnginePostgres {
		if run.listener, err = r.d.ListenerPool(ctx); err != nil {
			return err
		}
	}
	driver := r.driver(run.listener)
	run.exec = driver.GetExecutor()
	if run.client, err = r.newClient(driver, run.id); err != nil {
		return err
	}
	if err := r.beat(ctx, run.id); err != nil {
		return err
	}
	if r.d.Engine() == db.EngineSQLite {
		if err := r.alone(ctx, run.id); err != nil {
			return err
		}
	}
	ctx = context.WithoutCancel(ctx)
	if err := run.client.Start(ctx); err != nil {
		return err
	}
	loopCtx, cancel := context.WithCancel(ctx)
	run.cancel = cancel
	run.loops.Go(func() { r.promoteLoop(loopCtx, run) })
	run.loops.Go(func() { r.rescueLoop(loopCtx, run) })
	r.set(run)
	return nil
}

func (r *Runner) newClient(driver riverdriver.Driver[*sql.Tx], id string) (*river.Client[*sql.Tx], error) {
	cfg := r.config()
	cfg.ID = id
	cfg.FetchCooldown = fetchCooldown
	cfg.FetchPollInterval = fetchPoll
	cfg.FetchOnlyKnownKinds = true
	cfg.JobTimeout = r.o.Timeout
	cfg.RescueStuckJobsAfter = neverRescue
	cfg.CompletedJobRetentionPeriod = keepFinished
	cfg.CancelledJobRetentionPeriod = keepFinished
	cfg.DiscardedJobRetentionPeriod = keepDiscarded
	cfg.RetryPolicy = retryPolicy{r.time}
	cfg.ErrorHandler = failures{r.log}
	if len(r.handlers) > 0 {
		cfg.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: r.o.Workers}}
		cfg.Workers = river.NewWorkers()
		for kind, h := range r.handlers {
			river.AddWorkerArgs(cfg.Workers, envelope{kind: kind}, &worker{handle: h})
		}
	}
	return river.NewClient(driver, cfg)
}

// Stop ends the work: no new job is started, running ones may finish until ctx
// ends, then their contexts are cancelled. What didn't finish runs again after
// the next Start. A Runner that isn't started is left as it is.
func (r *Runner) Stop(ctx context.Context) error {
	r.life.Lock()
	defer r.life.Unlock()
	return r.stop(ctx)
}

func (r *Runner) stop(ctx context.Context) error {
	run := r.current()
	if run == nil {
		return nil
	}
	r.set(nil)
	run.cancel()
	run.loops.Wait()
	err := run.client.Stop(ctx)
	gone := err == nil
	if !gone {
		hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		hardErr := run.client.StopAndCancel(hard)
		gone = hardErr == nil
		err = errors.Join(err, hardErr)
	}
	if gone {
		r.leave(context.WithoutCancel(ctx), run.id)
	}
	run.close()
	if err != nil {
		return fmt.Errorf("stop jobs: %w", err)
	}
	return nil
}

// Restart stops and starts the engine, which is needed after the clock was
// moved: parts of it sleep on the machine's clock. Running jobs may finish.
func (r *Runner) Restart(ctx context.Context) error {
	r.life.Lock()
	defer r.life.Unlock()
	if r.current() == nil {
		return nil
	}
	if err := r.stop(ctx); err != nil {
		return fmt.Errorf("restart jobs: %w", err)
	}
	return r.start(ctx)
}

func (run *running) close() {
	if run.listener != nil {
		run.listener.Close()
	}
}

func (r *Runner) current() *running {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.run
}

func (r *Runner) set(run *running) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.run = run
}

// envelope is how all our jobs look to River.
type envelope struct {
	kind string
	Key  string          `json:"key,omitempty" river:"unique"`
	Args json.RawMessage `json:"args"`
}

// Kind implements river.JobArgs.
func (e envelope) Kind() string { return e.kind }

// unfinished are the states in which a job blocks another one of its key.
func unfinished() []rivertype.JobState {
	return []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
		rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}
}

// PutTx inserts j in the transaction; it can start once that is committed.
//
// A handler that puts a job of its own kind and key hands over: inside the
// same transaction its own job counts as finished, so that a chain neither
// breaks nor doubles. For that, ctx must come from the handler's. After the
// commit a successor that is due may start at once, so the handler returns.
func (r *Runner) PutTx(ctx context.Context, tx *db.Tx, j Job) error {
	if r.insertErr != nil {
		return fmt.Errorf("put job %s: %w", j.Kind, r.insertErr)
	}
	args, err := json.Marshal(j.Args)
	if err != nil {
		return fmt.Errorf("put job %s: arguments: %w", j.Kind, err)
	}
	opts := &river.InsertOpts{Priority: j.Priority}
	if opts.Priority == 0 {
		opts.Priority = 2
	}
	if j.RunAt.After(r.clk.Now()) {
		opts.ScheduledAt = r.time.ceil(j.RunAt)
	}
	if j.UniqueKey != "" {
		opts.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: unfinished()}
		if err := handOver(ctx, tx, j); err != nil {
			return fmt.Errorf("put job %s: %w", j.Kind, err)
		}
	}
	if _, err := r.insert.InsertTx(ctx, tx.SQL(), envelope{kind: j.Kind, Key: j.UniqueKey, Args: args}, opts); err != nil {
		return fmt.Errorf("put job %s: %w", j.Kind, err)
	}
	return nil
}

// handOver completes the job that runs in ctx when j is its successor.
func handOver(ctx context.Context, tx *db.Tx, j Job) error {
	own, ok := ctx.Value(ownJob{}).(*river.Job[envelope])
	if !ok || own.Kind != j.Kind || own.Args.Key != j.UniqueKey {
		return nil
	}
	_, err := river.JobCompleteTx[*riverdatabasesql.Driver](ctx, tx.SQL(), own)
	if err != nil && !errors.Is(err, rivertype.ErrNotFound) {
		return fmt.Errorf("hand over: %w", err)
	}
	return nil // not found: it was cancelled or handed over before
}

// CancelTx cancels the job of this kind and key if it has not been started. A
// running one goes on. No such job is no error.
func (r *Runner) CancelTx(ctx context.Context, tx *db.Tx, kind, uniqueKey string) error {
	if r.insertErr != nil {
		return fmt.Errorf("cancel job %s: %w", kind, r.insertErr)
	}
	ids, err := waiting(ctx, tx, kind, uniqueKey)
	if err != nil {
		return fmt.Errorf("cancel job %s: %w", kind, err)
	}
	for _, id := range ids {
		if _, err := r.insert.JobCancelTx(ctx, tx.SQL(), id); err != nil && !errors.Is(err, rivertype.ErrNotFound) {
			return fmt.Errorf("cancel job %s: %w", kind, err)
		}
	}
	return nil
}

// waiting finds jobs that have not been started. See schema.go for the index.
func waiting(ctx context.Context, tx *db.Tx, kind, key string) ([]int64, error) {
	rows, err := tx.QueryContext(ctx, `
		select id from river_job
		where args ->> 'key' = $1 and kind = $2
		  and state in ('available', 'pending', 'retryable', 'scheduled')`+db.ForUpdate(tx), key, kind)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
