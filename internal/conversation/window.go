package conversation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"guanjia/internal/db"
)

// Triggers of a reply window: what a resident did.
const (
	TriggerMessage = "message"
	TriggerClick   = "click"
	TriggerFollow  = "follow"
	TriggerScan    = "scan"
)

// Limit is how many service messages a trigger allows, and for how long.
type Limit struct {
	Messages int
	Within   time.Duration
}

// DefaultLimits are the platform's allowances (protocol facts, section 3.2):
// five messages within 48 hours after a message, three within a minute after a
// click on a menu, a follow or a scan.
func DefaultLimits() map[string]Limit {
	short := Limit{Messages: 3, Within: time.Minute}
	return map[string]Limit{
		TriggerMessage: {Messages: 5, Within: 48 * time.Hour},
		TriggerClick:   short,
		TriggerFollow:  short,
		TriggerScan:    short,
	}
}

const (
	eventSubscribe   = "subscribe"
	eventUnsubscribe = "unsubscribe"
)

// opens tells which window a push opens. A click on an option of a menu message
// arrives as text and counts as a click all the same.
func (in Inbound) opens() string {
	if in.OpenID == "" {
		return ""
	}
	if in.Kind == KindMessage {
		if in.Clicked {
			return TriggerClick
		}
		return TriggerMessage
	}
	switch in.Event {
	case eventSubscribe:
		return TriggerFollow
	case "SCAN":
		return TriggerScan
	case "CLICK", "scancode_push", "scancode_waitmsg":
		return TriggerClick
	}
	return ""
}

// bucket is one open window.
type bucket struct {
	kind     string
	openedAt db.Time
	until    time.Time
	left     int
}

// buckets returns the open windows that have something left, the one that ends
// first at the front. The newest event of a kind refills its kind.
//
// Each kind is one step into the index (conversation_id, received_at); the
// short kinds look back a minute only.
func (c *Conversations) buckets(ctx context.Context, q db.Querier, conversationID string) ([]bucket, error) {
	now := c.clk.Now()
	kinds := slices.Sorted(maps.Keys(c.limits))
	args := []any{conversationID}
	parts := make([]string, 0, len(kinds))
	for _, kind := range kinds {
		args = append(args, kind, db.At(now.Add(-c.limits[kind].Within)))
		n := len(args)
		parts = append(parts, fmt.Sprintf(`
			select * from (select opens, received_at from messages
			where conversation_id = $1 and opens = $%d and received_at > $%d
			order by received_at desc limit 1) as w%d`, n-1, n, n))
	}
	rows, err := q.QueryContext(ctx, `
		select o.opens, o.received_at, coalesce(s.spent, 0)
		from (`+strings.Join(parts, " union all ")+`) as o
		left join reply_windows s on s.conversation_id = $1 and s.kind = o.opens and s.opened_at >= o.received_at`, args...)
	if err != nil {
		return nil, fmt.Errorf("read reply windows: %w", err)
	}
	defer rows.Close()
	var out []bucket
	for rows.Next() {
		var b bucket
		var spent int
		if err := rows.Scan(&b.kind, &b.openedAt, &spent); err != nil {
			return nil, fmt.Errorf("read reply windows: %w", err)
		}
		limit := c.limits[b.kind]
		b.until = b.openedAt.Add(limit.Within)
		b.left = limit.Messages - spent
		if b.left > 0 && now.Before(b.until) {
			out = append(out, b)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read reply windows: %w", err)
	}
	slices.SortFunc(out, func(a, b bucket) int { return a.until.Compare(b.until) })
	return out, nil
}

// Window tells what may still be sent to a resident as service messages.
func (c *Conversations) Window(ctx context.Context, q db.Querier, accountID, openID string) (Window, error) {
	id, ok, err := c.ConversationID(ctx, q, accountID, openID)
	if err != nil || !ok {
		return Window{}, err
	}
	open, err := c.buckets(ctx, q, id)
	if err != nil || len(open) == 0 {
		return Window{}, err
	}
	w := Window{Open: true, Until: open[len(open)-1].until}
	for _, b := range open {
		w.Left += b.left
	}
	return w, nil
}

// SpendWindow takes one service message from the window that ends first; ok is
// false when none is left. Call it before the message is sent: two senders
// never take the same one. Not for use inside a transaction.
func (c *Conversations) SpendWindow(ctx context.Context, accountID, openID string) (ok bool, err error) {
	w := c.db.Writer()
	id, ok, err := c.ConversationID(ctx, w, accountID, openID)
	if err != nil || !ok {
		return false, err
	}
	open, err := c.buckets(ctx, w, id)
	if err != nil {
		return false, err
	}
	for _, b := range open {
		ok, err := c.spend(ctx, id, b, 1, c.limits[b.kind].Messages)
		if err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

// CloseWindow records that the platform refused (45015, 45047): whatever we
// counted, nothing is left until the resident does something.
func (c *Conversations) CloseWindow(ctx context.Context, accountID, openID string) error {
	w := c.db.Writer()
	id, ok, err := c.ConversationID(ctx, w, accountID, openID)
	if err != nil || !ok {
		return err
	}
	open, err := c.buckets(ctx, w, id)
	if err != nil {
		return err
	}
	for _, b := range open {
		limit := c.limits[b.kind].Messages
		if _, err := c.spend(ctx, id, b, limit, 2*limit); err != nil {
			return err
		}
	}
	return nil
}

// spend adds n to what is spent of a window, unless that would exceed most. A
// row about an older opening starts anew.
func (c *Conversations) spend(ctx context.Context, conversationID string, b bucket, n, most int) (bool, error) {
	res, err := c.db.ExecContext(ctx, `
		insert into reply_windows (conversation_id, kind, opened_at, spent) values ($1, $2, $3, $4)
		on conflict (conversation_id, kind) do update
		set spent = case when reply_windows.opened_at < excluded.opened_at then excluded.spent
		                 else reply_windows.spent + excluded.spent end,
		    opened_at = excluded.opened_at
		where reply_windows.opened_at < excluded.opened_at
		   or (reply_windows.opened_at = excluded.opened_at and reply_windows.spent + excluded.spent <= $5)`,
		conversationID, b.kind, b.openedAt, n, most)
	if err != nil {
		return false, fmt.Errorf("spend reply window: %w", err)
	}
	changed, err := res.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("spend reply window: %w", err)
	}
	return changed > 0, nil
}
