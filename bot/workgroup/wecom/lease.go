package wecom

import (
	"context"
	"fmt"
	"slices"
	"time"

	"guanjia/internal/db"
)

// Lease says which node keeps which bot's socket.
type Lease interface {
	// Hold takes or extends the named leases for ttl and returns those that
	// owner has now. After an error nothing is known: a holder goes on, since
	// nobody else can take what cannot be asked for, and a newcomer waits.
	Hold(ctx context.Context, owner string, names []string, ttl time.Duration) (held []string, err error)
	// Release gives up those that owner has.
	Release(ctx context.Context, owner string, names []string) error
}

// RowLease keeps leases in the database: they outlive an emptied Redis, whose
// FLUSHALL would otherwise pass every socket from node to node. Times are the
// machine's, so nodes' clocks must agree within a few seconds; a node whose
// clock is ahead only takes over sooner.
type RowLease struct{ db *db.DB }

// NewRowLease makes a RowLease.
func NewRowLease(d *db.DB) *RowLease { return &RowLease{db: d} }

type leaseRow struct {
	BotID string `json:"bot_id"`
}

// Hold implements Lease by one statement: a row is written where there is
// none, where it is one's own, or where it has lapsed.
func (l *RowLease) Hold(ctx context.Context, owner string, names []string, ttl time.Duration) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	names = slices.Sorted(slices.Values(names)) // one order of locks for all nodes
	rows := make([]leaseRow, len(names))
	for i, n := range names {
		rows[i].BotID = n
	}
	w := l.db.Writer()
	now := time.Now()
	found, err := w.QueryContext(ctx, `
		insert into bot_sockets (bot_id, owner, until)
		select r.bot_id, $2, `+db.TimeParam(w, "$3")+`
		from `+db.Rows(w, "$1", db.TextCol("bot_id"))+` as r
		where true
		on conflict (bot_id) do update set owner = excluded.owner, until = excluded.until
		where bot_sockets.owner = excluded.owner or bot_sockets.until < $4
		returning bot_id`,
		db.RowsArg(rows), owner, db.At(now.Add(ttl)), db.At(now))
	if err != nil {
		return nil, fmt.Errorf("hold socket leases: %w", err)
	}
	defer func() { _ = found.Close() }()
	var held []string
	for found.Next() {
		var id string
		if err := found.Scan(&id); err != nil {
			return nil, fmt.Errorf("hold socket leases: %w", err)
		}
		held = append(held, id)
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("hold socket leases: %w", err)
	}
	return held, nil
}

// Release implements Lease.
func (l *RowLease) Release(ctx context.Context, owner string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	_, err := l.db.ExecContext(ctx, `delete from bot_sockets where owner = $1 and bot_id `+db.InStrings(l.db, "$2"),
		owner, db.Strings(l.db, names))
	if err != nil {
		return fmt.Errorf("release socket leases: %w", err)
	}
	return nil
}

// SoleNode is the lease of an installation that has one node: it holds all.
type SoleNode struct{}

// Hold implements Lease.
func (SoleNode) Hold(_ context.Context, _ string, names []string, _ time.Duration) ([]string, error) {
	return names, nil
}

// Release implements Lease.
func (SoleNode) Release(context.Context, string, []string) error { return nil }
