package company

import (
	"context"
	"fmt"
)

// Has tells whether there is a company with this id.
func (s *Store) Has(ctx context.Context, id string) (bool, error) {
	var n int64
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM companies WHERE id = $1`, id).Scan(&n); err != nil {
		return false, fmt.Errorf("company: look up: %w", err)
	}
	return n > 0, nil
}
