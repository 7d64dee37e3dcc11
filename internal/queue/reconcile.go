package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/db"
)

// Run watches the connection and compares Redis with the rows at start, after
// a reconnect and every minute, until ctx ends. It returns nil then.
func (q *Queues) Run(ctx context.Context) error {
	q.reconcileAll(ctx, "start")
	minute := time.NewTicker(reconcileEvery)
	defer minute.Stop()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	runID := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ping.C:
			if id := q.ping(ctx); id != runID && id != "" {
				if runID != "" {
					q.reconcileAll(ctx, "restart")
				}
				runID = id
			}
		case <-q.back:
			q.reconcileAll(ctx, "reconnect")
		case <-minute.C:
			q.reconcileAll(ctx, "minute")
		}
	}
}

// ping notes whether Redis answers and gives the id of the server's run, or ""
// where there is none to be had (a cluster has many, the in-process one none).
func (q *Queues) ping(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := q.rdb.Ping(ctx).Err(); err != nil {
		if !errors.Is(err, context.Canceled) {
			q.markDown()
		}
		return ""
	}
	q.markUp()
	if _, cluster := q.rdb.(*redis.ClusterClient); cluster {
		return ""
	}
	info, err := q.rdb.Info(ctx, "server").Result()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(info) {
		if id, ok := strings.CutPrefix(line, "run_id:"); ok {
			return strings.TrimSpace(id)
		}
	}
	return ""
}

func (q *Queues) reconcileAll(ctx context.Context, cause string) {
	companies, err := q.companies(ctx)
	if err != nil {
		if ctx.Err() == nil {
			q.log.WarnContext(ctx, "queues not compared with the rows", slog.String("cause", cause), slog.Any("error", err))
		}
		return
	}
	for _, id := range companies {
		n, err := q.reconcile(ctx, id)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			q.log.WarnContext(ctx, "queues not compared with the rows", slog.String("company", id), slog.String("cause", cause), slog.Any("error", err))
		case n > 0:
			q.log.InfoContext(ctx, "queues mended from the rows", slog.String("company", id), slog.String("cause", cause), slog.Int("differences", n))
		}
	}
}

// Rebuild fills Redis from the rows of a company and mends what differs.
func (q *Queues) Rebuild(ctx context.Context, companyID string) error {
	return q.rebuild(ctx, companyID)
}

// rebuild is Rebuild, shared by all callers in this process that need it at
// one moment. It goes on when one of them gives up.
func (q *Queues) rebuild(ctx context.Context, companyID string) error {
	q.flightsMu.Lock()
	f, ok := q.flights[companyID]
	if !ok {
		f = &flight{done: make(chan struct{})}
		q.flights[companyID] = f
	}
	q.flightsMu.Unlock()
	if ok {
		select {
		case <-f.done:
			return f.err
		case <-ctx.Done():
			return fmt.Errorf("queue: wait for rebuild: %w", ctx.Err())
		}
	}
	began := time.Now()
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), rebuildTimeout)
	n, err := q.reconcile(work, companyID)
	cancel()
	f.err = err
	q.flightsMu.Lock()
	delete(q.flights, companyID)
	q.flightsMu.Unlock()
	close(f.done)
	if err != nil {
		return err
	}
	q.log.InfoContext(ctx, "queues rebuilt from the rows", slog.String("company", companyID), slog.Int("entries", n), slog.Duration("took", time.Since(began)))
	if q.metrics != nil {
		q.metrics.QueueRebuilt(time.Since(began))
	}
	return nil
}

// seen is what Redis holds of a company at one moment.
type seen struct {
	epoch   bool
	waiting map[string]entry // by case; the last one wins where one stands twice
	extra   []entry          // further entries of a case
	held    map[string]Held
	count   map[string]string
}

type entry struct {
	queueID, caseID, member string
	version                 int64
}

// reconcile makes Redis say what the rows say and tells how much differed. If
// Redis is emptied in the middle of it, it begins again.
func (q *Queues) reconcile(ctx context.Context, companyID string) (int, error) {
	for range maxEpochTries {
		n, complete, err := q.compare(ctx, companyID)
		if err != nil || complete {
			return n, err
		}
	}
	return 0, q.unavailable(errors.New("redis is emptied again and again"))
}

// compare is one round of reconcile. An absent epoch is set at the end, so
// that until then every script refuses; complete is false when Redis lost its
// keys meanwhile.
//
// Redis is read first, the rows after it: whatever stood in Redis was
// committed before the rows are read, so an entry that the rows do not bear
// out was overtaken or is wrong. What changes in between is safe by the
// version that every repair carries.
func (q *Queues) compare(ctx context.Context, companyID string) (n int, complete bool, err error) {
	truth, err := q.truth()
	if err != nil {
		return 0, false, err
	}
	defs, err := q.All(ctx, q.db, companyID)
	if err != nil {
		return 0, false, err
	}
	mark := markKey(companyID, db.NewID())
	if err := q.failed(ctx, q.rdb.Set(ctx, mark, "1", rebuildTimeout).Err()); err != nil {
		return 0, false, err
	}
	have, err := q.look(ctx, companyID, defs)
	if err != nil {
		return 0, false, err
	}
	waiting, err := truth.WaitingCases(ctx, companyID)
	if err != nil {
		return 0, false, fmt.Errorf("queue: read waiting cases: %w", err)
	}
	held, err := truth.HeldCases(ctx, companyID)
	if err != nil {
		return 0, false, fmt.Errorf("queue: read held cases: %w", err)
	}
	if n, err = q.mend(ctx, companyID, have, waiting, held); err != nil {
		return n, false, err
	}
	if err := q.recount(ctx, companyID); err != nil {
		return n, false, err
	}
	if have.epoch && n > 0 && q.metrics != nil {
		q.metrics.QueueRepaired(n)
	}
	complete, err = q.beginEpoch(ctx, companyID, mark)
	return n, complete, err
}

// beginEpoch says that the keys are complete, if none was lost since mark. It
// tells readers of the stream to read the queues anew.
func (q *Queues) beginEpoch(ctx context.Context, companyID, mark string) (bool, error) {
	n, err := q.lua.epoch.Run(ctx, q.rdb, []string{epochKey(companyID), mark, changesKey(companyID)}, db.NewID()).Int()
	if err := q.failed(ctx, err); err != nil {
		return false, err
	}
	return n == 1, nil
}

func (q *Queues) look(ctx context.Context, companyID string, defs []Queue) (seen, error) {
	s := seen{waiting: map[string]entry{}}
	var epoch *redis.IntCmd
	var held, count *redis.MapStringStringCmd
	lists := make([]*redis.StringSliceCmd, len(defs))
	_, err := q.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		epoch = p.Exists(ctx, epochKey(companyID))
		held = p.HGetAll(ctx, heldKey(companyID))
		count = p.HGetAll(ctx, countKey(companyID))
		for i, d := range defs {
			lists[i] = p.ZRange(ctx, waitingKey(companyID, d.ID), 0, -1)
		}
		return nil
	})
	if err := q.failed(ctx, err); err != nil {
		return s, err
	}
	s.epoch = epoch.Val() == 1
	s.count = count.Val()
	s.held = make(map[string]Held, len(held.Val()))
	for id, v := range held.Val() {
		s.held[id] = splitHeld(id, v)
	}
	for i, d := range defs {
		for _, m := range lists[i].Val() {
			e := entry{queueID: d.ID, member: m}
			e.caseID, e.version = splitMember(m)
			if other, twice := s.waiting[e.caseID]; twice {
				s.extra = append(s.extra, other)
			}
			s.waiting[e.caseID] = e
		}
	}
	return s, nil
}

// failed turns the error of a plain command into ErrUnavailable.
func (q *Queues) failed(ctx context.Context, err error) error {
	if err == nil {
		q.markUp()
		return nil
	}
	if ctx.Err() == nil {
		q.markDown()
	}
	return q.unavailable(err)
}

// mend makes every difference good. A run of calls goes in one pipeline: after
// FLUSHALL every case of the company is in it.
func (q *Queues) mend(ctx context.Context, companyID string, have seen, waiting []Row, held []Held) (int, error) {
	var calls []mending
	for _, r := range waiting {
		e, ok := have.waiting[r.CaseID]
		if ok && e.queueID == r.QueueID && e.member == member(r.Item) {
			delete(have.waiting, r.CaseID)
			continue
		}
		if ok && e.version > r.Version {
			delete(have.waiting, r.CaseID) // changed while the rows were read
			continue
		}
		delete(have.waiting, r.CaseID)
		calls = append(calls, func(from string) call { return q.pushCall(companyID, r.QueueID, r.Item, from, "load") })
	}
	for _, h := range held {
		known, ok := have.held[h.CaseID]
		delete(have.held, h.CaseID)
		if ok && known.UserID == h.UserID && known.QueueID == h.QueueID {
			continue
		}
		delete(have.waiting, h.CaseID) // hold takes it out of its queue
		calls = append(calls, func(from string) call {
			if from == "" {
				from = h.QueueID
			}
			return q.holdCall(companyID, h, 0, from, "load")
		})
	}
	for _, e := range have.waiting {
		calls = append(calls, q.dropCall(companyID, e.queueID, e.caseID, "w", e.version, e.member))
	}
	for _, e := range have.extra {
		calls = append(calls, q.dropCall(companyID, e.queueID, e.caseID, "w", e.version, e.member))
	}
	for _, h := range have.held {
		calls = append(calls, q.dropCall(companyID, h.QueueID, h.CaseID, "h", h.Version, ""))
	}
	return q.mendAll(ctx, calls)
}

// mending builds a repair; from is the queue in which the case turned out to
// stand, or "".
type mending func(from string) call

func (q *Queues) dropCall(companyID, queueID, caseID, state string, version int64, m string) mending {
	return func(string) call {
		return call{q.lua.drop, caseKeys(companyID, caseID, queueID), []any{caseID, state, version, m, nowMS(), q.grace.Milliseconds()}}
	}
}

// mendChunk bounds one pipeline.
const mendChunk = 500

func (q *Queues) mendAll(ctx context.Context, todo []mending) (changed int, err error) {
	froms := make([]string, len(todo))
	for round := 0; len(todo) > 0; round++ {
		if round > maxMoves {
			return changed, nil // still moving: the next comparison sees to it
		}
		var again []mending
		var againFrom []string
		for start := 0; start < len(todo); start += mendChunk {
			end := min(start+mendChunk, len(todo))
			calls := make([]call, 0, end-start)
			for i := start; i < end; i++ {
				calls = append(calls, todo[i](froms[i]))
			}
			replies, err := q.evalMany(ctx, calls)
			if err != nil {
				return changed, err
			}
			for i, r := range replies {
				switch r[0] {
				case "ok":
					changed++
				case "moved":
					again = append(again, todo[start+i])
					againFrom = append(againFrom, r[1])
				}
			}
		}
		todo, froms = again, againFrom
	}
	return changed, nil
}

// evalMany runs scripts in one pipeline. A script that the server does not
// know yet is sent along once.
func (q *Queues) evalMany(ctx context.Context, calls []call) ([][]string, error) {
	replies := make([][]string, len(calls))
	missing := calls
	at := make([]int, len(calls))
	for i := range at {
		at[i] = i
	}
	for try := 0; len(missing) > 0; try++ {
		cmds := make([]*redis.Cmd, len(missing))
		_, err := q.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, c := range missing {
				if try == 0 {
					cmds[i] = p.EvalSha(ctx, c.script.Hash(), c.keys, c.args...)
				} else {
					cmds[i] = c.script.Eval(ctx, p, c.keys, c.args...)
				}
			}
			return nil
		})
		if err != nil && !redis.HasErrorPrefix(err, "NOSCRIPT") {
			return nil, q.failed(ctx, err)
		}
		var left []call
		var leftAt []int
		for i, cmd := range cmds {
			raw, err := cmd.Slice()
			if redis.HasErrorPrefix(err, "NOSCRIPT") && try == 0 {
				left, leftAt = append(left, missing[i]), append(leftAt, at[i])
				continue
			}
			if err != nil || len(raw) == 0 {
				return nil, fmt.Errorf("queue: mend: %w", err)
			}
			reply := make([]string, len(raw))
			for j, v := range raw {
				reply[j] = fmt.Sprint(v)
			}
			replies[at[i]] = reply
		}
		missing, at = left, leftAt
	}
	q.markUp()
	return replies, nil
}

// recount mends the numbers of cases in hand if they are not what the held
// cases say.
func (q *Queues) recount(ctx context.Context, companyID string) error {
	now, err := q.look(ctx, companyID, nil)
	if err != nil {
		return err
	}
	want := map[string]int{}
	for _, h := range now.held {
		want["u:"+h.UserID]++
		want["q:"+h.QueueID]++
	}
	same := len(want) == len(now.count)
	for field, n := range want {
		same = same && now.count[field] == fmt.Sprint(n)
	}
	if same {
		return nil
	}
	q.log.WarnContext(ctx, "numbers of cases in hand were wrong and are counted again", slog.String("company", companyID))
	err = q.lua.recount.Run(ctx, q.rdb, []string{heldKey(companyID), countKey(companyID)}).Err()
	return q.failed(ctx, err)
}
