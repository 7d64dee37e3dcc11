package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// noticeAudience is whom a notice reaches, as the API counts.
type noticeAudience struct {
	Households int64 `json:"households"`
	People     int64 `json:"people"`
	SMS        int64 `json:"sms"`
	Template   int64 `json:"template"`
	None       int64 `json:"none"`
}

// messages is how many distinct addresses there are.
func (a noticeAudience) messages() int64 { return a.SMS + a.Template }

// noticeView is a notice as the API shows it.
type noticeView struct {
	ID       string         `json:"id"`
	No       string         `json:"no"`
	State    string         `json:"state"`
	Audience noticeAudience `json:"audience"`
	Problems []struct {
		Field string `json:"field"`
	} `json:"problems"`
	Counts    map[string]int64            `json:"counts"`
	ByChannel map[string]map[string]int64 `json:"by_channel"`
	PausedWhy string                      `json:"paused_why"`
}

// onWay are the states before a vendor has taken a message.
var onWay = []string{"planned", "claimed", "sending"}

// written is how many deliveries there are.
func (n noticeView) written() int64 { return sumOf(n.Counts, nil) }

// open is how many have not left.
func (n noticeView) open() int64 { return sumOf(n.Counts, onWay) }

// sumOf adds the counts of the states; nil: of all.
func sumOf(counts map[string]int64, states []string) int64 {
	var all int64
	for state, n := range counts {
		if states == nil || slices.Contains(states, state) {
			all += n
		}
	}
	return all
}

// statusError is an answer that is not the one hoped for.
type statusError struct {
	what   string
	status int
}

func (e *statusError) Error() string { return fmt.Sprintf("api: %s: status %d", e.what, e.status) }

// compose writes a draft and refuses one that has problems.
func (c *control) compose(ctx context.Context, base string, draft any) (noticeView, error) {
	var n noticeView
	status, err := c.api(ctx, base, c.ready.APIToken, http.MethodPost, "/notices", draft, &n)
	if err == nil && status != http.StatusCreated {
		err = &statusError{"compose a notice", status}
	}
	if err == nil && len(n.Problems) > 0 {
		err = fmt.Errorf("%w: the notice has problems: %v", errWords, n.Problems)
	}
	return n, err
}

// approve lets a manager approve.
func (c *control) approve(ctx context.Context, base, id string) error {
	token := ""
	for _, s := range c.ready.Staff {
		if s.Role == "department_manager" || s.Role == "center_manager" || s.Role == "cs_manager" {
			token = c.ready.Tokens[s.UserID]
			break
		}
	}
	if token == "" {
		return fmt.Errorf("%w: no manager may approve", errWords)
	}
	status, err := c.api(ctx, base, token, http.MethodPost, "/notices/"+id+"/approve", nil, nil)
	if err == nil && status != http.StatusOK {
		err = &statusError{"approve a notice", status}
	}
	return err
}

func (c *control) notice(ctx context.Context, base, id string) (noticeView, error) {
	var n noticeView
	status, err := c.api(ctx, base, c.ready.APIToken, http.MethodGet, "/notices/"+id, nil, &n)
	if err == nil && status != http.StatusOK {
		err = &statusError{"read a notice", status}
	}
	return n, err
}

// frozen tells whether the audience is fixed.
func (c *control) frozen(ctx context.Context, base, id string) (bool, error) {
	var out struct {
		Events []struct {
			Kind string `json:"kind"`
		} `json:"events"`
	}
	status, err := c.api(ctx, base, c.ready.APIToken, http.MethodGet, "/notices/"+id+"/events", nil, &out)
	if err == nil && status != http.StatusOK {
		err = &statusError{"read a notice's events", status}
	}
	for _, e := range out.Events {
		if e.Kind == "frozen" {
			return true, err
		}
	}
	return false, err
}

// smsSeq is the number of the last SMS that the simulator accepted: cheap to
// ask, by a phone that nobody has.
func (c *control) smsSeq(ctx context.Context) (int64, error) {
	var out struct {
		LastSeq int64 `json:"last_seq"`
	}
	err := c.sim(ctx, http.MethodGet, "/sms?phone=19900000000&after=0", nil, &out)
	return out.LastSeq, err
}

// homesOf are the homes of n people.
func (c *control) homesOf(ctx context.Context, base string, n int) (units []string, people int, err error) {
	seen := map[string]bool{}
	cursor := ""
	for people < n {
		var page struct {
			Residents []struct {
				Homes []struct {
					Unit string `json:"unit"`
				} `json:"homes"`
			} `json:"residents"`
			NextCursor string `json:"next_cursor"`
		}
		status, err := c.api(ctx, base, c.ready.APIToken, http.MethodGet, "/residents?limit=200&cursor="+url.QueryEscape(cursor), nil, &page)
		if err == nil && status != http.StatusOK {
			err = &statusError{"list residents", status}
		}
		if err != nil {
			return nil, 0, err
		}
		for _, r := range page.Residents {
			if people == n {
				break
			}
			people++
			for _, h := range r.Homes {
				if !seen[h.Unit] {
					seen[h.Unit] = true
					units = append(units, h.Unit)
				}
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	return units, people, nil
}

// address is a phone or openid on a channel.
type address struct{ channel, to string }

// tally is what the simulators have accepted.
type tally struct {
	addresses map[address]int64
	repeated  int64 // how often an address got the same words or identifier again
}

func (c *control) counted(ctx context.Context) (tally, error) {
	r, err := c.counters(ctx)
	if err != nil {
		return tally{}, err
	}
	t := tally{addresses: map[address]int64{}}
	for _, a := range r.Addresses {
		if a.Channel == "sms" || a.Channel == "template" {
			t.addresses[address{a.Channel, a.Address}] += a.N
		}
	}
	for _, d := range r.Duplicates.Content {
		t.repeated += d.N - 1
	}
	for _, d := range r.Duplicates.OutID {
		t.repeated += d.N - 1
	}
	return t, nil
}

// since is what came after before.
func (t tally) since(before tally) (total, distinct int64) {
	for a, n := range t.addresses {
		if n -= before.addresses[a]; n > 0 {
			total, distinct = total+n, distinct+1
		}
	}
	return total, distinct
}

// watch follows a broadcast, and an emergency in its middle.
type watch struct {
	h   *house
	out *broadcastFigures
	sms int64 // the simulator's last SMS before

	urgent *noticeView
}

func (w *watch) prepareEmergency(ctx context.Context, people int) error {
	units, n, err := w.h.ctl.homesOf(ctx, w.h.base, people)
	if err != nil {
		return err
	}
	x, err := w.h.ctl.compose(ctx, w.h.base, map[string]any{
		"kind": "emergency_outage", "topic": "outage_power", "scope": map[string]any{"units": units}, "reason": "配电箱抢修",
	})
	if err != nil {
		return fmt.Errorf("emergency: %w", err)
	}
	w.urgent, w.out.Emergency = &x, &emergencyFigures{People: n, Messages: x.Audience.messages()}
	return nil
}

// run approves and returns the notice when all of it is final.
func (w *watch) run(ctx context.Context, n noticeView) (noticeView, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	var failed firstError
	also := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				failed.set(err)
				cancel()
			}
		})
	}
	began := time.Now()
	also(func() error { return w.h.ctl.approve(ctx, w.h.base, n.ID) })
	also(func() error { return w.freezes(ctx, n.ID, began) })
	also(func() error { return w.leaves(ctx, n, began) })
	final, err := w.finishes(ctx, n, began)
	if err != nil {
		cancel()
		wg.Wait()
		return final, errors.Join(failed.get(), err)
	}
	wg.Wait()
	return final, failed.get()
}

// freezes waits for the snapshot.
func (w *watch) freezes(ctx context.Context, id string, began time.Time) error {
	for {
		ok, err := w.h.ctl.frozen(ctx, w.h.base, id)
		if err != nil {
			return err
		}
		if ok {
			w.out.SnapshotMS = ms(time.Since(began))
			return nil
		}
		if !pause(ctx, 10*time.Millisecond) {
			return fmt.Errorf("wait for the snapshot: %w", ctx.Err())
		}
	}
}

// leaves waits for the first SMS, and approves the emergency when a fifth of
// them have left.
func (w *watch) leaves(ctx context.Context, n noticeView, began time.Time) error {
	for n.Audience.SMS > 0 {
		last, err := w.h.ctl.smsSeq(ctx)
		if err != nil {
			return err
		}
		sent := last - w.sms
		if sent > 0 && w.out.FirstSMSMS == 0 {
			w.out.FirstSMSMS = ms(time.Since(began))
		}
		if sent > 0 && (w.urgent == nil || sent >= n.Audience.SMS/5) {
			break
		}
		if !pause(ctx, 5*time.Millisecond) {
			return fmt.Errorf("wait for SMS: %w", ctx.Err())
		}
	}
	if w.urgent == nil {
		return nil
	}
	return w.alarm(ctx)
}

// alarm approves the emergency and watches until all of it is submitted.
func (w *watch) alarm(ctx context.Context) error {
	e := w.out.Emergency
	last, err := w.h.ctl.smsSeq(ctx)
	if err != nil {
		return err
	}
	e.Amid = last - w.sms
	began := time.Now()
	approved := make(chan error, 1)
	go func() {
		err := w.h.ctl.approve(ctx, w.h.base, w.urgent.ID)
		e.ApproveMS = ms(time.Since(began))
		approved <- err
	}()
	for {
		written, left, err := w.h.progress(ctx, w.urgent.ID)
		if err != nil {
			return errors.Join(err, <-approved)
		}
		if e.FirstMS == 0 && left > 0 {
			e.FirstMS = ms(time.Since(began))
		}
		if written >= e.Messages && left == written {
			e.AllMS = ms(time.Since(began))
			return <-approved
		}
		select {
		case err := <-approved:
			if err != nil {
				return err
			}
			approved <- nil
		default:
		}
		if !pause(ctx, 20*time.Millisecond) {
			return errors.Join(fmt.Errorf("wait for the emergency: %w", ctx.Err()), <-approved)
		}
	}
}

// progress is how many deliveries there are and how many have left; of our own
// product by its rows, which costs it less than its page.
func (h *house) progress(ctx context.Context, id string) (written, left int64, err error) {
	if h.db == nil {
		x, err := h.ctl.notice(ctx, h.base, id)
		return x.written(), x.written() - x.open(), err
	}
	err = h.db.QueryRowContext(ctx, `SELECT count(*), count(submitted_at) FROM deliveries WHERE ref_kind = 'notice' AND ref_id = $1`, id).Scan(&written, &left)
	if err != nil {
		return 0, 0, fmt.Errorf("count deliveries: %w", err)
	}
	return written, left, nil
}

// finishes asks for the notice as its page does, less often the longer an
// answer takes.
func (w *watch) finishes(ctx context.Context, n noticeView, began time.Time) (noticeView, error) {
	for {
		asked := time.Now()
		x, err := w.h.ctl.notice(ctx, w.h.base, n.ID)
		if err != nil {
			return x, err
		}
		at := ms(asked.Sub(began))
		if due := n.Audience.messages(); x.written() >= due {
			if w.out.PlannedMS == 0 {
				w.out.PlannedMS = at
			}
			if x.open() == 0 && w.out.SubmittedMS == 0 {
				w.out.SubmittedMS = at
				w.out.SubmittedPerSec = ratio(float64(due), at/1000)
			}
		}
		switch x.State {
		case "finished":
			w.out.FinishedMS = at
			return x, nil
		case "paused", "cancelled":
			return x, fmt.Errorf("the notice is %s: %s", x.State, x.PausedWhy)
		}
		if !pause(ctx, max(250*time.Millisecond, 5*time.Since(asked))) {
			return x, fmt.Errorf("the notice does not finish (%s, %v): %w", x.State, x.Counts, ctx.Err())
		}
	}
}

// judge compares the rows with what the simulators accepted.
func (w *watch) judge(before, after tally, n, final noticeView) {
	total, distinct := after.since(before)
	due := n.Audience.messages()
	out := w.out
	out.Duplicates = after.repeated - before.repeated
	out.Doubled = total - distinct
	if w.urgent != nil {
		// Who is told of both got two messages, but not twice the same.
		due += w.urgent.Audience.messages()
		out.Doubled = out.Duplicates
	}
	out.Lost = max(0, due-(total-out.Doubled))
	out.Requests, out.OK, out.Submitted = due, total-out.Doubled, total
	out.States = final.Counts
	out.Delivered = final.Counts["delivered"]
	out.Receipts = sumOf(final.Counts, []string{"delivered", "failed"})
	out.Errors = sumOf(final.Counts, []string{"failed", "expired", "no_receipt", "cancelled"})
	out.PerSecond = ratio(float64(due), out.FinishedMS/1000)
}
