package desk

import (
	"context"
	"fmt"

	"guanjia/internal/db"
)

// Listener hears of closings and ratings, inside the transaction that makes
// them: what it writes is there if and only if they are. It is how every closed
// case is asked about, and how a rating becomes an answer that is counted.
type Listener interface {
	// ClosedTx hears that a case has been closed.
	ClosedTx(ctx context.Context, tx *db.Tx, by By, c Case) error
	// ReopenedTx hears that a case lives again.
	ReopenedTx(ctx context.Context, tx *db.Tx, by By, c Case) error
	// RatedTx hears of a rating; c carries it.
	RatedTx(ctx context.Context, tx *db.Tx, by By, c Case) error
}

// Listen registers who hears. Call it before anything runs.
func (d *Desk) Listen(l Listener) { d.listener = l }

// tellListenerTx tells of what an action made of a case.
func (d *Desk) tellListenerTx(ctx context.Context, tx *db.Tx, by By, a Action, from State, c Case) error {
	if d.listener == nil {
		return nil
	}
	var err error
	switch {
	case a == ActionRate:
		err = d.listener.RatedTx(ctx, tx, by, c)
	case c.State == StateClosed && from != StateClosed:
		err = d.listener.ClosedTx(ctx, tx, by, c)
	case c.State == StateReopened && from != StateReopened:
		err = d.listener.ReopenedTx(ctx, tx, by, c)
	}
	if err != nil {
		return fmt.Errorf("desk: tell of a case that was %s: %w", a, err)
	}
	return nil
}

// TopicFollowUp marks the case in which somebody calls a resident who is not
// satisfied. It is not asked about in its turn.
const TopicFollowUp = "satisfaction_follow_up"

// EmergencyBuildings names the buildings of a project with an emergency that
// staff still work on.
func (d *Desk) EmergencyBuildings(ctx context.Context, q db.Querier, companyID, projectID string) ([]string, error) {
	cases, err := queryCases(ctx, q, `SELECT `+caseColumns+` FROM cases
		WHERE company_id = $1 AND project_id = $2 AND priority = 'emergency' AND state IN ('dispatched', 'reopened', 'accepted', 'in_progress', 'waiting_resident', 'on_hold')
		ORDER BY opened_at DESC LIMIT 200`, companyID, projectID)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, c := range cases {
		if b := c.place(); b != "" {
			list = append(list, b)
		}
	}
	return list, nil
}

// place is the building of a case: the one that was named, else its home's.
func (c Case) place() string {
	if c.Building != "" {
		return c.Building
	}
	for i, r := range c.Unit {
		if r == '-' {
			return c.Unit[:i]
		}
	}
	return ""
}

// ByIDTx reads a case of a company inside a transaction; ErrNotFound.
func (d *Desk) ByIDTx(ctx context.Context, tx *db.Tx, companyID, id string) (Case, error) {
	return oneCase(ctx, tx, `id = $1 AND company_id = $2`, id, companyID)
}

// ClosedSince lists cases that were closed in a stretch of time, oldest first.
func (d *Desk) ClosedSince(ctx context.Context, q db.Querier, companyID string, from, to db.Time, limit int) ([]Case, error) {
	return queryCases(ctx, q, `SELECT `+caseColumns+` FROM cases
		WHERE company_id = $1 AND state = 'closed' AND closed_at >= $2 AND closed_at < $3 ORDER BY closed_at LIMIT $4`, companyID, from, to, limit)
}
