package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"guanjia/internal/db"
)

// PutTx adds a queue or renames it. A project has one queue a line.
func (q *Queues) PutTx(ctx context.Context, tx *db.Tx, def Queue) error {
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO queues (id, company_id, project_id, line, name) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name`,
		def.ID, def.CompanyID, def.ProjectID, def.Line, def.Name); err != nil {
		return fmt.Errorf("queue: put queue: %w", err)
	}
	tx.AfterCommit(func(context.Context) { q.changed.Add(1) })
	return nil
}

// Changed rises whenever this node has changed the queues there are: who
// remembers them reads again.
func (q *Queues) Changed() uint64 { return q.changed.Load() }

const columns = `id, company_id, project_id, line, name`

// ByID finds a queue; the caller checks whose it is.
func (q *Queues) ByID(ctx context.Context, qr db.Querier, id string) (Queue, bool, error) {
	return one(ctx, qr, `SELECT `+columns+` FROM queues WHERE id = $1`, id)
}

// ByLine finds the queue of a project's business line.
func (q *Queues) ByLine(ctx context.Context, qr db.Querier, companyID, projectID, line string) (Queue, bool, error) {
	return one(ctx, qr, `SELECT `+columns+` FROM queues WHERE company_id = $1 AND project_id = $2 AND line = $3`, companyID, projectID, line)
}

// ByName finds a queue of a project by its name.
func (q *Queues) ByName(ctx context.Context, qr db.Querier, companyID, projectID, name string) (Queue, bool, error) {
	return one(ctx, qr, `SELECT `+columns+` FROM queues WHERE company_id = $1 AND project_id = $2 AND name = $3`, companyID, projectID, name)
}

func one(ctx context.Context, qr db.Querier, query string, args ...any) (Queue, bool, error) {
	var d Queue
	err := qr.QueryRowContext(ctx, query, args...).Scan(&d.ID, &d.CompanyID, &d.ProjectID, &d.Line, &d.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return Queue{}, false, nil
	}
	if err != nil {
		return Queue{}, false, fmt.Errorf("queue: find queue: %w", err)
	}
	return d, true, nil
}

// All gives the queues of a company.
func (q *Queues) All(ctx context.Context, qr db.Querier, companyID string) ([]Queue, error) {
	rows, err := qr.QueryContext(ctx, `SELECT `+columns+` FROM queues WHERE company_id = $1 ORDER BY project_id, line`, companyID)
	if err != nil {
		return nil, fmt.Errorf("queue: list queues: %w", err)
	}
	defer rows.Close()
	var out []Queue
	for rows.Next() {
		var d Queue
		if err := rows.Scan(&d.ID, &d.CompanyID, &d.ProjectID, &d.Line, &d.Name); err != nil {
			return nil, fmt.Errorf("queue: list queues: %w", err)
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

func (q *Queues) companies(ctx context.Context) ([]string, error) {
	rows, err := q.db.QueryContext(ctx, `SELECT DISTINCT company_id FROM queues ORDER BY company_id`)
	if err != nil {
		return nil, fmt.Errorf("queue: list companies: %w", err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("queue: list companies: %w", err)
		}
		out = append(out, id)
	}
	return out, rows.Err()
}
