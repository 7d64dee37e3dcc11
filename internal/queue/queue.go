package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/clock"
	"guanjia/internal/db"
)

// Times on the machine's clock.
const (
	callTimeout    = time.Second            // for one script; a claim must not hang
	downPause      = time.Second            // no call is tried for so long after a failure
	reconcileEvery = time.Minute            // comparison with the rows
	pingEvery      = time.Second            // watch for a lost and a new connection
	rebuildTimeout = 20 * time.Second       // for one company
	graceDefault   = 30 * time.Second       // after it a reservation without a row is an orphan
	maxEpochTries  = 4                      // calls again after Redis was emptied
	maxMoves       = 4                      // calls again because the case stood in another queue
	retryPause     = 200 * time.Millisecond // between tries to read the stream
)

// Metrics hears what the package does; nil is silence.
type Metrics interface {
	QueueRebuilt(took time.Duration) // Redis was emptied and filled from the rows
	QueueRepaired(differences int)   // a comparison found and mended differences
	QueueUnavailable()               // a call was answered with ErrUnavailable
	QueueCall(kind, result string)   // one script: push, claim... and its answer
}

// Queues are the staff queues of all companies. Safe for concurrent use.
type Queues struct {
	db      *db.DB
	rdb     redis.UniversalClient
	clock   clock.Clock
	log     *slog.Logger
	metrics Metrics
	lua     scripts
	grace   time.Duration
	timeout time.Duration // callTimeout, save in tests

	rowsMu sync.RWMutex
	rows   Rows

	flightsMu sync.Mutex
	flights   map[string]*flight // rebuilds under way, by company

	changed atomic.Uint64 // see Changed

	downUntil atomic.Int64  // unix ns; before it Redis is taken for away
	wasDown   atomic.Bool   // a call has failed since the last one that worked
	back      chan struct{} // Redis answers again
}

// flight is a rebuild that several callers wait for.
type flight struct {
	done chan struct{}
	err  error
}

// New builds the queues. rows may be nil and bound later, before the first use.
func New(d *db.DB, rdb redis.UniversalClient, rows Rows, clk clock.Clock, log *slog.Logger, m Metrics) *Queues {
	return &Queues{
		db: d, rdb: rdb, rows: rows, clock: clk, log: log, metrics: m, lua: loadScripts(), grace: graceDefault, timeout: callTimeout,
		flights: map[string]*flight{}, back: make(chan struct{}, 1),
	}
}

// BindRows joins the truth, for a caller that is built after the queues.
func (q *Queues) BindRows(rows Rows) {
	q.rowsMu.Lock()
	defer q.rowsMu.Unlock()
	q.rows = rows
}

func (q *Queues) truth() (Rows, error) {
	q.rowsMu.RLock()
	defer q.rowsMu.RUnlock()
	if q.rows == nil {
		return nil, errors.New("queue: rows are not bound")
	}
	return q.rows, nil
}

// Push lets a case wait in a queue; whoever had it in hand has it no more.
// Twice is once, and an older version than the known one does nothing.
func (q *Queues) Push(ctx context.Context, companyID, queueID string, it Item) error {
	_, err := q.run(ctx, companyID, "push", "", func(from string) call { return q.pushCall(companyID, queueID, it, from, "push") })
	return err
}

func (q *Queues) pushCall(companyID, queueID string, it Item, from, mode string) call {
	keys := caseKeys(companyID, it.CaseID, queueID)
	if from != "" {
		keys = append(keys, waitingKey(companyID, from), ageKey(companyID, from))
	}
	return call{q.lua.push, keys, []any{
		it.CaseID, queueID, it.Version, score(it), max(it.OpenedAt.UnixMilli(), 0), member(it), mode, nowMS(), q.grace.Milliseconds(), from,
	}}
}

// Remove says that at this version of its row the case does not wait any
// more. A member who has it in hand keeps it (see Done).
func (q *Queues) Remove(ctx context.Context, companyID, queueID, caseID string, version int64) error {
	_, err := q.run(ctx, companyID, "remove", queueID, func(from string) call {
		return call{q.lua.remove, caseKeys(companyID, caseID, from), []any{caseID, version, nowMS(), from}}
	})
	return err
}

// Reserve holds a waiting case for a member until the row has decided. version
// is that of the row the caller has read; capacity is how many cases the
// member may have in hand over all his queues, 0 for no limit. Errors:
// *TakenError, ErrCapacity, ErrGone, ErrUnavailable.
func (q *Queues) Reserve(ctx context.Context, companyID, queueID, caseID, userID string, version int64, capacity int) (Reservation, error) {
	reply, err := q.run(ctx, companyID, "claim", queueID, func(from string) call {
		return call{q.lua.claim, caseKeys(companyID, caseID, from), []any{caseID, queueID, userID, version, capacity, nowMS(), q.grace.Milliseconds(), from}}
	})
	if err != nil {
		return Reservation{}, err
	}
	r := Reservation{CompanyID: companyID, QueueID: queueID, CaseID: caseID, UserID: userID, Version: version}
	switch reply[0] {
	case "ok", "again":
		r.Again = reply[0] == "again"
		r.Version, err = strconv.ParseInt(reply[1], 10, 64)
		if err != nil {
			return Reservation{}, fmt.Errorf("queue: version of reservation: %w", err)
		}
		return r, nil
	case "taken":
		return Reservation{}, &TakenError{By: reply[1]}
	case "full":
		return Reservation{}, ErrCapacity
	default:
		return Reservation{}, ErrGone
	}
}

// Release gives a reservation back, so that the case waits again in its old
// place. It does nothing when the member holds the case for another reason.
func (q *Queues) Release(ctx context.Context, r Reservation) error {
	if r.Again {
		return nil
	}
	_, err := q.run(ctx, r.CompanyID, "release", r.QueueID, func(string) call {
		return call{q.lua.release, caseKeys(r.CompanyID, r.CaseID, r.QueueID), []any{r.CaseID, r.UserID, r.Version}}
	})
	return err
}

// Done frees a member from a case that he had in hand.
func (q *Queues) Done(ctx context.Context, companyID, userID, caseID string) error {
	_, err := q.run(ctx, companyID, "done", "", func(string) call {
		return call{q.lua.done, caseKeys(companyID, caseID, ""), []any{caseID, userID, nowMS()}}
	})
	return err
}

// Hold puts a case into a member's hands because its row says so: a supervisor
// assigned it, or it was claimed by the row alone. With a capacity above 0 it
// answers ErrCapacity for a member who is full; ErrGone when a newer version
// of the case is known.
func (q *Queues) Hold(ctx context.Context, companyID, queueID, caseID, userID string, version int64, capacity int) error {
	reply, err := q.run(ctx, companyID, "hold", queueID, func(from string) call {
		return q.holdCall(companyID, Held{QueueID: queueID, CaseID: caseID, UserID: userID, Version: version}, capacity, from, "hold")
	})
	if err != nil {
		return err
	}
	switch reply[0] {
	case "full":
		return ErrCapacity
	case "old":
		return ErrGone
	}
	return nil
}

func (q *Queues) holdCall(companyID string, h Held, capacity int, from, mode string) call {
	return call{q.lua.hold, caseKeys(companyID, h.CaseID, from), []any{h.CaseID, h.QueueID, h.UserID, h.Version, capacity, nowMS(), mode, from}}
}

// caseKeys are the keys that the scripts of common.lua share. Without a queue
// its two are left out.
func caseKeys(companyID, caseID, queueID string) []string {
	keys := make([]string, 0, 9)
	keys = append(keys, epochKey(companyID), heldKey(companyID), countKey(companyID), changesKey(companyID), caseKey(companyID, caseID))
	if queueID != "" {
		keys = append(keys, waitingKey(companyID, queueID), ageKey(companyID, queueID))
	}
	return keys
}

// nowMS is the machine's clock: reservations are leases.
func nowMS() int64 { return time.Now().UnixMilli() }

// run makes a call and makes it again when the case stands in another queue
// than was thought, or when Redis was emptied, after filling it from the rows.
func (q *Queues) run(ctx context.Context, companyID, kind, from string, build func(from string) call) ([]string, error) {
	moves, epochs := 0, 0
	for {
		reply, err := q.eval(ctx, build(from))
		if err != nil {
			return nil, err
		}
		q.count(kind, reply[0])
		switch reply[0] {
		case "moved":
			if moves++; moves > maxMoves {
				return nil, fmt.Errorf("queue: %s: case moves faster than it can be followed: %w", kind, ErrUnavailable)
			}
			from = reply[1]
		case "epoch":
			if epochs++; epochs > maxEpochTries {
				return nil, q.unavailable(errors.New("redis is emptied again and again"))
			}
			if err := q.rebuild(ctx, companyID); err != nil {
				return nil, err
			}
		default:
			return reply, nil
		}
	}
}

func (q *Queues) count(kind, result string) {
	if q.metrics != nil {
		q.metrics.QueueCall(kind, result)
	}
}

// eval runs a script once. Every failure of Redis is ErrUnavailable; after one,
// calls fail at once for downPause, so that nobody waits for a dead server.
func (q *Queues) eval(ctx context.Context, c call) ([]string, error) {
	if db.InTransaction(ctx) {
		return nil, fmt.Errorf("queue: called inside a transaction; use AfterCommit")
	}
	if time.Now().UnixNano() < q.downUntil.Load() {
		return nil, q.unavailable(errors.New("it failed a moment ago"))
	}
	callCtx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	raw, err := c.script.Run(callCtx, q.rdb, c.keys, c.args...).Slice()
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("queue: %w", ctx.Err())
		}
		var answer redis.Error
		if errors.As(err, &answer) && !transient(err) {
			return nil, fmt.Errorf("queue: script failed: %w", err)
		}
		q.markDown()
		return nil, q.unavailable(err)
	}
	q.markUp()
	reply := make([]string, len(raw))
	for i, v := range raw {
		reply[i] = fmt.Sprint(v)
	}
	if len(reply) == 0 {
		return nil, errors.New("queue: script answered nothing")
	}
	return reply, nil
}

// transient tells an answer of a server that cannot serve now from one about
// our own mistake.
func transient(err error) bool {
	for _, p := range []string{"LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "BUSY", "OOM", "NOREPLICAS", "UNBLOCKED"} {
		if redis.HasErrorPrefix(err, p) {
			return true
		}
	}
	return false
}

func (q *Queues) unavailable(err error) error {
	if q.metrics != nil {
		q.metrics.QueueUnavailable()
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func (q *Queues) markDown() {
	q.downUntil.Store(time.Now().Add(downPause).UnixNano())
	q.wasDown.Store(true)
}

func (q *Queues) markUp() {
	if !q.wasDown.Load() || !q.wasDown.CompareAndSwap(true, false) {
		return
	}
	q.downUntil.Store(0)
	select {
	case q.back <- struct{}{}:
	default:
	}
}
