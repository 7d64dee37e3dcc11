package desk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"guanjia/internal/calendar"
	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/ledger"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// Deps is what a Desk stands on.
type Deps struct {
	DB            *db.DB
	Clock         clock.Clock
	Ledger        *ledger.Ledger
	Queues        *queue.Queues
	Staff         *staff.Staff
	Estate        *estate.Estate
	Companies     *company.Store
	Conversations *conversation.Conversations
	Calendar      func(companyID string) *calendar.Calendar
	Book          *wording.Book
	Log           *slog.Logger
	// Link gives the address of a case's page, for a line in a group; nil when
	// the program has no public address.
	Link   func(caseNo string) string
	Points func(name string) // kill points of the crash tests; nil in production
}

// Desk keeps the cases of all companies. Safe for concurrent use.
type Desk struct {
	db            *db.DB
	clock         clock.Clock
	ledger        *ledger.Ledger
	queues        *queue.Queues
	staff         *staff.Staff
	estate        *estate.Estate
	companies     *company.Store
	conversations *conversation.Conversations
	calendar      func(companyID string) *calendar.Calendar
	book          *wording.Book
	log           *slog.Logger
	link          func(caseNo string) string
	point         func(string)

	listener Listener // of closings and ratings; nil: nobody

	numbersMu sync.Mutex
	numbers   map[string]block
	cached    routesCache
}

type block struct{ next, end int64 }

// New builds a Desk.
func New(d Deps) *Desk {
	point := d.Points
	if point == nil {
		point = func(string) {}
	}
	return &Desk{
		db: d.DB, clock: d.Clock, ledger: d.Ledger, queues: d.Queues, staff: d.Staff, estate: d.Estate, companies: d.Companies,
		conversations: d.Conversations, calendar: d.Calendar, book: d.Book, log: d.Log, link: d.Link, point: point, numbers: map[string]block{},
		cached: routesCache{of: map[string]routes{}},
	}
}

// staleRetries is how often a move is tried again after losing a race for the row.
const staleRetries = 6

// change is what one action does to a case inside its transaction. It edits c,
// puts what must be told, and returns the event's text and delivery.
type change func(ctx context.Context, tx *db.Tx, c *Case) (Event, error)

// move runs one action on one case in a transaction of its own, reading again
// when another hand was faster.
func (d *Desk) move(ctx context.Context, by By, caseID string, a Action, f change) (Case, error) {
	var out Case
	for try := 0; ; try++ {
		err := d.db.InTx(ctx, "desk."+string(a), func(ctx context.Context, tx *db.Tx) error {
			c, err := oneCase(ctx, tx, `id = $1 AND company_id = $2`, caseID, by.CompanyID)
			if err != nil {
				return err
			}
			out, err = d.applyTx(ctx, tx, c, by, a, f)
			return err
		})
		if errors.Is(err, ErrStale) && try < staleRetries {
			continue
		}
		if errors.Is(err, ErrNotFound) {
			return Case{}, refuse(RefusedUnknownCase)
		}
		return out, err
	}
}

// applyTx is the one place that moves a case: the life cycle is asked, the
// change made, row and event written by compare-and-set, the queue told after
// the commit.
func (d *Desk) applyTx(ctx context.Context, tx *db.Tx, c Case, by By, a Action, f change) (Case, error) {
	from, before := c.State, c
	to, ok := next(a, from)
	if !ok {
		return c, refuse(RefusedState, "case_no", c.No, "state", string(from), "owner", c.OwnerName)
	}
	c.State = to
	c.Version++
	e, err := f(ctx, tx, &c)
	if err != nil {
		return before, err
	}
	e.At = d.clock.Now()
	e.Kind = string(a)
	if err := updateTx(ctx, tx, c); err != nil {
		return before, err
	}
	if err := eventTx(ctx, tx, c, from, by, e); err != nil {
		return before, err
	}
	if err := d.tellListenerTx(ctx, tx, by, a, from, c); err != nil {
		return before, err
	}
	d.point("case." + string(a) + ".written")
	tx.AfterCommit(func(ctx context.Context) {
		d.point("case." + string(a) + ".committed")
		d.syncQueue(ctx, before, c)
	})
	return c, nil
}

// syncQueue brings Redis in line with a committed move. Its failure loses
// nothing: the reconciler compares the queue with the rows.
func (d *Desk) syncQueue(ctx context.Context, before, after Case) {
	var err error
	switch {
	case after.waits():
		// Pushing again moves it within its queue when its priority rose, or to another.
		err = d.queues.Push(ctx, after.CompanyID, after.QueueID, itemOf(after))
	case after.State.Open() && (after.OwnerID != before.OwnerID || after.State != before.State):
		err = d.queues.Hold(ctx, after.CompanyID, after.QueueID, after.ID, after.OwnerID, after.Version, 0)
	case !after.State.Open() && before.waits():
		err = d.queues.Remove(ctx, before.CompanyID, before.QueueID, before.ID, after.Version)
	case !after.State.Open() && before.State.Open() && before.OwnerID != "":
		err = d.queues.Done(ctx, after.CompanyID, before.OwnerID, after.ID)
	}
	if err != nil && !errors.Is(err, queue.ErrGone) {
		d.log.WarnContext(ctx, "queue not told of a case; the reconciler will", "case_no", after.No, "error", err)
	}
}

// waits tells whether a case stands in its queue for anybody to claim.
func (c Case) waits() bool { return c.State.Waiting() && c.OwnerID == "" }

func itemOf(c Case) queue.Item {
	return queue.Item{CaseID: c.ID, Danger: c.Danger != "", Priority: priorityRank(c.Priority), PromisedAt: c.PromisedAt, OpenedAt: c.OpenedAt, Version: c.Version}
}

// WaitingCases and HeldCases are the truth that the queues are rebuilt from (queue.Rows).
func (d *Desk) WaitingCases(ctx context.Context, companyID string) ([]queue.Row, error) {
	cases, err := queryCases(ctx, d.db, `SELECT `+caseColumns+` FROM cases
		WHERE company_id = $1 AND state IN ('dispatched', 'reopened') AND owner_id = ''`, companyID)
	if err != nil {
		return nil, err
	}
	rows := make([]queue.Row, len(cases))
	for i, c := range cases {
		rows[i] = queue.Row{QueueID: c.QueueID, Item: itemOf(c)}
	}
	return rows, nil
}

// HeldCases gives the open cases that a member has in hand.
func (d *Desk) HeldCases(ctx context.Context, companyID string) ([]queue.Held, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT queue_id, id, owner_id, version FROM cases
		WHERE company_id = $1 AND owner_id <> '' AND state IN ('dispatched', 'reopened', 'accepted', 'in_progress', 'waiting_resident', 'on_hold')`, companyID)
	if err != nil {
		return nil, fmt.Errorf("desk: read held cases: %w", err)
	}
	defer rows.Close()
	var held []queue.Held
	for rows.Next() {
		var h queue.Held
		if err := rows.Scan(&h.QueueID, &h.CaseID, &h.UserID, &h.Version); err != nil {
			return nil, fmt.Errorf("desk: read held cases: %w", err)
		}
		held = append(held, h)
	}
	return held, rows.Err()
}

// Queue gives the waiting cases of a queue in claim order, read from Redis, or
// from the rows while Redis is away; source tells which.
func (d *Desk) Queue(ctx context.Context, companyID, queueID string, limit int) (cases []Case, source string, err error) {
	ids, source, err := d.queues.List(ctx, companyID, queueID, limit)
	if err != nil {
		return nil, "", fmt.Errorf("desk: list queue: %w", err)
	}
	cases, err = d.ByIDs(ctx, ids)
	return cases, source, err
}

// Waiting gives what stands in a queue for the group's 待接单.
func (d *Desk) Waiting(ctx context.Context, companyID, queueID string) ([]Case, error) {
	cases, _, err := d.Queue(ctx, companyID, queueID, 20)
	return cases, err
}

func (d *Desk) settings(ctx context.Context, companyID string) (company.Settings, *company.Directory, error) {
	dir, err := d.companies.Directory(ctx)
	if err != nil {
		return company.Settings{}, nil, fmt.Errorf("desk: company settings: %w", err)
	}
	c, ok := dir.Company(companyID)
	if !ok {
		return company.Settings{}, nil, fmt.Errorf("desk: company is not in the directory")
	}
	return c.Settings, dir, nil
}

// shanghai is the local day of every report; China has one time zone.
var shanghai = time.FixedZone("CST", 8*3600)

func localDay(t time.Time) string { return t.In(shanghai).Format(time.DateOnly) }
