package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"guanjia/internal/db"
)

// broadcast is a notice that goes out while nodes die.
type broadcast struct {
	s      *scene
	notice noticeView
	before tally
	since  time.Time
}

// broadcastPatience is how long an emergency may take to be final after the
// last kill: a call whose outcome nobody knows is looked up until 90 s, sent
// once more, and has its receipt. plannedPatience is the same for planned work,
// which is sent again only when ten minutes have proven that nothing went out.
const (
	broadcastPatience = 5 * time.Minute
	plannedPatience   = 15 * time.Minute
)

// startBroadcast composes an emergency for everybody, as a storm wants it, and
// has it approved by whatever node lives.
func startBroadcast(ctx context.Context, s *scene, b *books, begin func(func(ctx context.Context) error)) (*broadcast, error) {
	t := &broadcast{s: s}
	if err := t.compose(ctx, s.nodes[0], map[string]any{"kind": "emergency_outage", "topic": "outage_power", "reason": "配电箱抢修"}); err != nil {
		return nil, err
	}
	for _, talk := range b.talks {
		talk.told = 1
	}
	begin(func(ctx context.Context) error { return t.approve(ctx) })
	return t, nil
}

func (t *broadcast) compose(ctx context.Context, n *node, draft map[string]any) (err error) {
	if t.before, err = t.s.ctl.counted(ctx); err != nil {
		return err
	}
	t.since = time.Now()
	t.notice, err = t.s.ctl.compose(ctx, n.url(), draft)
	return err
}

// approve goes from node to node until one says that it is approved.
func (t *broadcast) approve(ctx context.Context) error {
	for try := 0; ; try++ {
		err := t.s.ctl.approve(ctx, t.s.nodes[try%len(t.s.nodes)].url(), t.notice.ID)
		var status *statusError
		switch {
		case err == nil, errors.As(err, &status) && status.status == http.StatusConflict: // by the call whose node died
			return nil
		case errors.As(err, &status) && status.status < http.StatusInternalServerError, errors.Is(err, errWords):
			return err
		}
		if !pause(ctx, 250*time.Millisecond) {
			return err
		}
	}
}

// finished waits until all of the notice is final.
func (t *broadcast) finished(ctx context.Context, patience time.Duration) (noticeView, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last noticeView
	for try := 0; ; try++ {
		x, err := t.s.ctl.notice(ctx, t.s.nodes[try%len(t.s.nodes)].url(), t.notice.ID)
		if err == nil {
			last = x
		}
		if err == nil && x.State == "finished" && x.written() >= t.notice.Audience.messages() {
			return x, nil
		}
		if !pause(ctx, 500*time.Millisecond) {
			return last, fmt.Errorf("the notice is %s with %v", last.State, last.Counts)
		}
	}
}

// finish waits and notes what did not end.
func (t *broadcast) finish(ctx context.Context, patience time.Duration, out *crashFigures) error {
	x, err := t.finished(ctx, patience)
	out.Notice = x.State
	if err != nil {
		out.Notice = err.Error()
	}
	return ctx.Err()
}

// weigh compares the frozen audience with what the simulators accepted: every
// address once. What else the product sent to an address by the same channel
// meanwhile, answers and codes, is known from its rows.
func (t *broadcast) weigh(ctx context.Context) (due, lost, doubled int64, err error) {
	after, err := t.s.ctl.counted(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	others, err := t.addresses(ctx, `SELECT channel, address, count(*) FROM deliveries
		WHERE ref_id <> $1 AND channel IN ('sms', 'template') AND submitted_at >= $2 GROUP BY channel, address`, t.notice.ID, db.At(t.since))
	if err != nil {
		return 0, 0, 0, err
	}
	audience, err := t.addresses(ctx, `SELECT channel, address, count(*) FROM notice_audience
		WHERE notice_id = $1 AND channel <> '' AND address <> '' AND skip_code = '' GROUP BY channel, address`, t.notice.ID)
	if err != nil {
		return 0, 0, 0, err
	}
	for a := range audience {
		got := after.addresses[a] - t.before.addresses[a]
		if got == 0 {
			lost++
		}
		doubled += max(0, got-1-others[a])
	}
	// An audience that was never frozen is lost as a whole.
	due = max(int64(len(audience)), t.notice.Audience.messages())
	return due, lost + due - int64(len(audience)), doubled, nil
}

func (t *broadcast) addresses(ctx context.Context, query string, args ...any) (map[address]int64, error) {
	rows, err := t.s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read whom the broadcast reached: %w", err)
	}
	defer rows.Close()
	out := map[address]int64{}
	for rows.Next() {
		var a address
		var n int64
		if err := rows.Scan(&a.channel, &a.to, &n); err != nil {
			return nil, fmt.Errorf("read whom the broadcast reached: %w", err)
		}
		out[a] = n
	}
	return out, rows.Err()
}

// judge adds the broadcast to the figures of a storm. The simulator can be
// asked about every SMS and knows a template message again by its identifier, so
// that no kill excuses a double.
func (t *broadcast) judge(ctx context.Context, out *crashFigures) (err error) {
	if out.Recipients, out.LostRecipients, out.DoubledRecipients, err = t.weigh(ctx); err != nil {
		return err
	}
	out.Lost += out.LostRecipients
	out.Doubled += out.DoubledRecipients
	if out.Notice != "finished" && out.Remains == "" {
		out.Remains = out.Notice
	}
	return nil
}

// draft writes a notice of planned work for one building, which has its first
// messages watched and is sent again only after proof.
func (p *dying) draft(ctx context.Context, n *node) error {
	p.told = &broadcast{s: p.s}
	starts := time.Now().Add(30 * time.Hour).Truncate(time.Hour)
	return p.told.compose(ctx, n, map[string]any{
		"kind": "planned_outage", "topic": "outage_water", "scope": map[string]any{"buildings": []string{"3"}}, "reason": "水箱清洗",
		"starts_at": starts.Format(time.RFC3339), "ends_at": starts.Add(4 * time.Hour).Format(time.RFC3339),
	})
}

// verifyBroadcast waits until the notice is finished; what a kill at the
// approval kept from being written, the manager approves again.
func (p *dying) verifyBroadcast(ctx context.Context, f *pointFigures) error {
	if err := p.told.approve(ctx); err != nil {
		return err
	}
	if _, err := p.told.finished(ctx, plannedPatience); err != nil {
		f.Lost++
		f.Note = err.Error()
	}
	due, lost, doubled, err := p.told.weigh(ctx)
	if lost+doubled > 0 {
		f.Note += fmt.Sprintf("%d of %d lost, %d doubled; ", lost, due, doubled)
	}
	f.Lost, f.Doubled = f.Lost+lost, f.Doubled+doubled
	return err
}
