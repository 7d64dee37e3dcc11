package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/embedded"
	"guanjia/internal/jobs"
	"guanjia/internal/queue"
)

type queueCmd struct {
	Redis    string `help:"Redis to work on; keys of a company of its own are written there." placeholder:"URL"`
	Servers  bool   `help:"Start Redis from the program installed on this machine."`
	Claimers int    `help:"Members who claim at the same time." default:"64"`
	Seconds  int    `help:"How long to measure." default:"5"`
	Races    int    `help:"Cases that all members claim at once." default:"300"`
	Bare     bool   `help:"Measure one script call a step instead."`
	Compare  bool   `help:"Measure queue and bare in turn, and print the ratio."`
}

// queueFigures are the figures of the mode; a request is one push or one claim.
type queueFigures struct {
	figures
	Claimers     int      `json:"claimers"`
	Races        int      `json:"races"`
	DoubleClaims int64    `json:"double_claims"`
	NotClaimed   int64    `json:"not_claimed"`
	Bare         *figures `json:"bare,omitempty"`
	Ratio        float64  `json:"ratio,omitempty"`
}

// Run measures and prints.
func (c *queueCmd) Run(r run) (err error) {
	if c.Claimers < 1 || c.Seconds < 1 || c.Compare && c.Bare {
		return errors.New("--claimers and --seconds must be 1 or more, and --compare excludes --bare")
	}
	st, err := openQueueStores(r, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	rdb, err := embedded.OpenRedis(st.redis)
	if err != nil {
		return err
	}
	defer rdb.Close()
	y, err := newYard(r, st.dir, rdb)
	if err != nil {
		return err
	}
	defer y.close(r)
	out := queueFigures{Claimers: c.Claimers, Races: c.Races}
	if err := c.measure(r, y, rdb, &out); err != nil {
		return err
	}
	if err := r.print(out); err != nil {
		return err
	}
	if out.DoubleClaims > 0 || out.NotClaimed > 0 {
		return errFound
	}
	return nil
}

// openQueueStores needs no PostgreSQL: the rows stand in memory.
func openQueueStores(ctx context.Context, c *queueCmd) (*stores, error) {
	st, err := openStores(ctx, false, "", c.Redis)
	if err != nil {
		return nil, err
	}
	if c.Redis != "" {
		return st, nil
	}
	if !c.Servers {
		return nil, errors.Join(errors.New("give --redis URL, or --servers to start one"), st.close())
	}
	if err := st.startRedis(ctx); err != nil {
		return nil, errors.Join(err, st.close())
	}
	return st, nil
}

func (c *queueCmd) measure(ctx context.Context, y *yard, rdb redis.UniversalClient, out *queueFigures) error {
	d := time.Duration(c.Seconds) * time.Second
	bare := bareSteps(rdb)
	closedLoop(ctx, c.Claimers, d/5, bare)
	if c.Bare {
		s := closedLoop(ctx, c.Claimers, d, bare)
		out.figures = s.figures("queue")
		return s.first
	}
	closedLoop(ctx, c.Claimers, d/5, y.step)
	var steps, other series
	if c.Compare {
		for range rounds {
			steps.add(closedLoop(ctx, c.Claimers, d/rounds, y.step))
			other.add(closedLoop(ctx, c.Claimers, d/rounds, bare))
		}
		f := other.figures("bare")
		out.Bare = &f
	} else {
		steps = closedLoop(ctx, c.Claimers, d, y.step)
	}
	out.figures = steps.figures("queue")
	if out.Bare != nil {
		out.Ratio = ratio(out.PerSecond, out.Bare.PerSecond)
	}
	if steps.first != nil {
		return steps.first
	}
	var err error
	out.DoubleClaims, out.NotClaimed, err = y.race(ctx, c.Claimers, c.Races)
	return err
}

// bareSteps is what a step costs at least: one call of a script that does nothing.
func bareSteps(rdb redis.UniversalClient) shot {
	script := redis.NewScript(`return {'ok'}`)
	return func(ctx context.Context) error {
		return script.Run(ctx, rdb, []string{"{guanjia-load}:bare"}, 1, 2, 3).Err()
	}
}

// yard is internal/queue on a company of its own, with the rows in memory.
type yard struct {
	queues  *queue.Queues
	db      *db.DB
	rdb     redis.UniversalClient
	company string
	queue   string

	n       atomic.Int64
	pushed  chan string
	mu      sync.Mutex
	waiting map[string]queue.Row
	held    map[string]queue.Held
}

func newYard(r run, dir string, rdb redis.UniversalClient) (y *yard, err error) {
	d, err := db.Open(r, db.Options{URL: "sqlite://" + dir + "/queue.db", Logger: r.log, Migrators: []db.Migrator{jobs.Schema{}}})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if _, err := d.Migrate(r); err != nil {
		return nil, err
	}
	y = &yard{db: d, rdb: rdb, company: "load-" + db.NewID(), queue: "engineering", waiting: map[string]queue.Row{}, held: map[string]queue.Held{}, pushed: make(chan string, 4096)}
	y.queues = queue.New(d, rdb, y, clock.System(), r.log, nil)
	sealer, err := company.NewSealer(bytes.Repeat([]byte{1}, company.KeySize))
	if err != nil {
		return nil, err
	}
	err = d.InTx(r, "load.queue", func(ctx context.Context, tx *db.Tx) error {
		c := company.Company{ID: y.company, Name: "Load", Short: "Load", Settings: company.DefaultSettings()}
		if err := company.New(d, sealer).CreateTx(ctx, tx, c); err != nil {
			return err
		}
		return y.queues.PutTx(ctx, tx, queue.Queue{ID: y.queue, CompanyID: y.company, ProjectID: "p", Line: queue.LineEngineering, Name: "load"})
	})
	if err != nil {
		return nil, fmt.Errorf("make a queue: %w", err)
	}
	if err := y.queues.Rebuild(r, y.company); err != nil {
		return nil, err
	}
	return y, nil
}

// close takes our keys away and leaves the others.
func (y *yard) close(r run) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r), startTimeout)
	defer cancel()
	keys := y.rdb.Scan(ctx, 0, "*{"+y.company+"}*", 5000).Iterator()
	var found []string
	for keys.Next(ctx) {
		if found = append(found, keys.Val()); len(found) == 5000 {
			y.rdb.Unlink(ctx, found...)
			found = found[:0]
		}
	}
	if len(found) > 0 {
		y.rdb.Unlink(ctx, found...)
	}
	if err := errors.Join(keys.Err(), y.db.Close()); err != nil {
		r.log.Warn("keys of the run not removed", "error", err)
	}
}

// WaitingCases and HeldCases are the truth that Redis is filled from.
func (y *yard) WaitingCases(context.Context, string) ([]queue.Row, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	var rows []queue.Row
	for _, r := range y.waiting {
		rows = append(rows, r)
	}
	return rows, nil
}

// HeldCases implements queue.Rows.
func (y *yard) HeldCases(context.Context, string) ([]queue.Held, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	var held []queue.Held
	for _, h := range y.held {
		held = append(held, h)
	}
	return held, nil
}

func (y *yard) item() queue.Item {
	now := time.Now()
	return queue.Item{CaseID: fmt.Sprintf("load-%012d", y.n.Add(1)), Priority: 2, OpenedAt: now, PromisedAt: now.Add(time.Hour), Version: 1}
}

// step is one push or one claim of a case that somebody pushed before.
func (y *yard) step(ctx context.Context) error {
	select {
	case id := <-y.pushed:
		_, err := y.queues.Reserve(ctx, y.company, y.queue, id, "member-"+id[len(id)-2:], 1, 0)
		return err
	default:
	}
	it := y.item()
	if err := y.queues.Push(ctx, y.company, y.queue, it); err != nil {
		return err
	}
	select {
	case y.pushed <- it.CaseID:
	default: // enough wait; this one stays in the queue
	}
	return nil
}

// race lets everybody claim the same case at once, many times over.
func (y *yard) race(ctx context.Context, members, cases int) (doubled, nobody int64, err error) {
	for range cases {
		it := y.item()
		y.mu.Lock()
		y.waiting[it.CaseID] = queue.Row{QueueID: y.queue, Item: it}
		y.mu.Unlock()
		if err := y.queues.Push(ctx, y.company, y.queue, it); err != nil {
			return doubled, nobody, err
		}
		var won atomic.Int64
		errs := make([]error, members)
		var wg sync.WaitGroup
		for m := range members {
			wg.Go(func() {
				_, err := y.queues.Reserve(ctx, y.company, y.queue, it.CaseID, fmt.Sprintf("racer-%d", m), 1, 0)
				var taken *queue.TakenError
				switch {
				case err == nil:
					won.Add(1)
				case errors.As(err, &taken), errors.Is(err, queue.ErrGone):
				default:
					errs[m] = err
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return doubled, nobody, err
		}
		doubled += max(0, won.Load()-1)
		if won.Load() == 0 {
			nobody++
		}
	}
	return doubled, nobody, nil
}
