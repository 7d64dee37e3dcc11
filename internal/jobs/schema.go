package jobs

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"guanjia/internal/db"
)

// Schema brings the job engine's tables up to date. Hand it to
// db.Options.Migrators.
type Schema struct{}

var _ db.Migrator = Schema{}

// keyIndex serves CancelTx. River has an index over a hash of the key only.
const keyIndex = `
	create index if not exists guanjia_job_key on river_job ((args ->> 'key'))
	where state in ('available', 'pending', 'retryable', 'running', 'scheduled')`

// Migrate implements db.Migrator. The caller holds the migration lock.
func (Schema) Migrate(ctx context.Context, s *sql.DB, e db.Engine) ([]string, error) {
	m, err := migrator(s, e)
	if err != nil {
		return nil, err
	}
	res, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return nil, fmt.Errorf("job engine's tables: %w", err)
	}
	applied := make([]string, 0, len(res.Versions))
	for _, v := range res.Versions {
		applied = append(applied, fmt.Sprintf("river_%03d", v.Version))
	}
	// After each run, since a migration may rebuild the table.
	if _, err := s.ExecContext(ctx, keyIndex); err != nil {
		return applied, fmt.Errorf("job engine's tables: %w", err)
	}
	return applied, nil
}

// Check implements db.Migrator.
func (Schema) Check(ctx context.Context, s *sql.DB, e db.Engine) error {
	m, err := migrator(s, e)
	if err != nil {
		return err
	}
	wants := 0
	for _, v := range m.AllVersions() {
		wants = max(wants, v.Version)
	}
	has, err := version(ctx, driverOf(s, e).GetExecutor())
	if err != nil {
		return fmt.Errorf("job engine's tables: %w", err)
	}
	switch {
	case has > wants:
		return fmt.Errorf("%w (job engine %d, program %d)", db.ErrSchemaNewer, has, wants)
	case has < wants:
		return fmt.Errorf("%w (job engine %d, program %d)", db.ErrSchemaOlder, has, wants)
	}
	return nil
}

// version is the newest migration in the database, 0 for none. River's own
// question fails on versions that it doesn't know.
func version(ctx context.Context, exec riverdriver.Executor) (int, error) {
	exists, err := exec.TableExists(ctx, &riverdriver.TableExistsParams{Table: "river_migration"})
	if err != nil || !exists {
		return 0, err
	}
	rows, err := exec.MigrationGetByLine(ctx, &riverdriver.MigrationGetByLineParams{Line: riverdriver.MigrationLineMain})
	if err != nil {
		return 0, err
	}
	newest := 0
	for _, row := range rows {
		newest = max(newest, row.Version)
	}
	return newest, nil
}

func migrator(s *sql.DB, e db.Engine) (*rivermigrate.Migrator[*sql.Tx], error) {
	m, err := rivermigrate.New(driverOf(s, e), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("job engine's tables: %w", err)
	}
	return m, nil
}

func driverOf(s *sql.DB, e db.Engine) riverdriver.Driver[*sql.Tx] {
	if e == db.EngineSQLite {
		return riversqlite.New(s)
	}
	return riverdatabasesql.New(s)
}
