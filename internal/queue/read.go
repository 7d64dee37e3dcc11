package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// List gives the front of a queue in claim order, at most limit (1 to 1000)
// cases, and where it was read. Without Redis it is read from the rows.
func (q *Queues) List(ctx context.Context, companyID, queueID string, limit int) (ids []string, source string, err error) {
	limit = max(1, min(limit, 1000))
	reply, err := q.run(ctx, companyID, "list", "", func(string) call {
		return call{q.lua.list, []string{epochKey(companyID), waitingKey(companyID, queueID)}, []any{limit}}
	})
	if err == nil {
		ids = make([]string, 0, len(reply)-1)
		for _, m := range reply[1:] {
			id, _ := splitMember(m)
			ids = append(ids, id)
		}
		return ids, SourceRedis, nil
	}
	if !errors.Is(err, ErrUnavailable) {
		return nil, "", err
	}
	rows, err := q.waitingRows(ctx, companyID)
	if err != nil {
		return nil, "", err
	}
	rows = slices.DeleteFunc(rows, func(r Row) bool { return r.QueueID != queueID })
	slices.SortFunc(rows, func(a, b Row) int { return Less(a.Item, b.Item) })
	for _, r := range rows[:min(limit, len(rows))] {
		ids = append(ids, r.CaseID)
	}
	return ids, SourceRows, nil
}

// Less compares two cases in claim order: danger, then promise, then age. It is
// what the sorted set does in Redis.
func Less(a, b Item) int {
	return cmp.Or(cmp.Compare(score(a), score(b)), cmp.Compare(member(a), member(b)))
}

func (q *Queues) waitingRows(ctx context.Context, companyID string) ([]Row, error) {
	truth, err := q.truth()
	if err != nil {
		return nil, err
	}
	rows, err := truth.WaitingCases(ctx, companyID)
	if err != nil {
		return nil, fmt.Errorf("queue: read waiting cases: %w", err)
	}
	return rows, nil
}

// Stats gives the figures of a company's queues. Without Redis they are
// counted from the rows.
func (q *Queues) Stats(ctx context.Context, companyID string) ([]Stat, error) {
	all, err := q.All(ctx, q.db, companyID)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, nil
	}
	keys := []string{epochKey(companyID), countKey(companyID)}
	args := make([]any, len(all))
	for i, def := range all {
		keys = append(keys, waitingKey(companyID, def.ID), ageKey(companyID, def.ID))
		args[i] = def.ID
	}
	reply, err := q.run(ctx, companyID, "stats", "", func(string) call { return call{q.lua.stats, keys, args} })
	if errors.Is(err, ErrUnavailable) {
		return q.statsFromRows(ctx, companyID, all)
	}
	if err != nil {
		return nil, err
	}
	out := make([]Stat, len(all))
	for i, def := range all {
		part := reply[1+3*i : 4+3*i]
		out[i] = Stat{QueueID: def.ID, Source: SourceRedis}
		if out[i].Waiting, err = strconv.Atoi(part[0]); err != nil {
			return nil, fmt.Errorf("queue: read figures: %w", err)
		}
		if part[1] != "" {
			ms, err := strconv.ParseFloat(part[1], 64)
			if err != nil {
				return nil, fmt.Errorf("queue: read figures: %w", err)
			}
			out[i].OldestS = q.age(time.UnixMilli(int64(ms)))
		}
		if out[i].InHand, err = strconv.Atoi(part[2]); err != nil {
			return nil, fmt.Errorf("queue: read figures: %w", err)
		}
	}
	return out, nil
}

func (q *Queues) age(opened time.Time) int64 {
	return max(0, int64(q.clock.Now().Sub(opened)/time.Second))
}

func (q *Queues) statsFromRows(ctx context.Context, companyID string, all []Queue) ([]Stat, error) {
	truth, err := q.truth()
	if err != nil {
		return nil, err
	}
	waiting, err := truth.WaitingCases(ctx, companyID)
	if err != nil {
		return nil, fmt.Errorf("queue: read waiting cases: %w", err)
	}
	held, err := truth.HeldCases(ctx, companyID)
	if err != nil {
		return nil, fmt.Errorf("queue: read held cases: %w", err)
	}
	at := make(map[string]*Stat, len(all))
	out := make([]Stat, len(all))
	for i, def := range all {
		out[i] = Stat{QueueID: def.ID, Source: SourceRows}
		at[def.ID] = &out[i]
	}
	for _, r := range waiting {
		if s, ok := at[r.QueueID]; ok {
			s.Waiting++
			s.OldestS = max(s.OldestS, q.age(r.OpenedAt))
		}
	}
	for _, h := range held {
		if s, ok := at[h.QueueID]; ok {
			s.InHand++
		}
	}
	return out, nil
}
