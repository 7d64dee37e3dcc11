package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"guanjia/internal/config"
)

var errNoDatabase = errors.New("setting database is missing; give --config or GUANJIA_DATABASE")

// Migrate brings the schema of the configured database up to date and names
// what it applied.
func Migrate(ctx context.Context, c config.Config, log *slog.Logger) ([]string, error) {
	if c.Database == "" {
		return nil, errNoDatabase
	}
	d, err := openDB(ctx, c, log)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	applied, err := d.Migrate(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	return applied, nil
}
