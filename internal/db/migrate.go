package db

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrationFiles embed.FS

// migrationLock is the key of the advisory lock under which one starter at a
// time migrates a PostgreSQL database. The number means nothing.
const migrationLock = 7_265_143_001

// lockRetry is how soon a second starter looks again whether the first has
// finished. goose's own lock would wait five seconds.
const lockRetry = 50 * time.Millisecond

var (
	// ErrSchemaOlder says that migrations are pending. Remedy: guanjia migrate.
	ErrSchemaOlder = errors.New("the database schema is older than this program: run `guanjia migrate`")
	// ErrSchemaNewer says that a newer program has migrated the database.
	// Remedy: start that version.
	ErrSchemaNewer = errors.New("the database schema is newer than this program: start the newer version, or restore a backup of the older schema")
)

// A Migrator keeps a schema that is not ours in the same database.
type Migrator interface {
	// Migrate brings the schema up to date and names what it applied.
	Migrate(ctx context.Context, s *sql.DB, e Engine) (applied []string, err error)
	// Check returns an error that is ErrSchemaOlder or ErrSchemaNewer when
	// the schema is not what this program expects.
	Check(ctx context.Context, s *sql.DB, e Engine) error
}

// Migrate brings the schema up to date and names what it applied, oldest
// first; nothing when there was nothing to do. It may be called by two
// starters at once: the second waits for the first. A schema that is newer
// than the program is refused with ErrSchemaNewer and left alone.
func (d *DB) Migrate(ctx context.Context) (applied []string, err error) {
	if InTransaction(ctx) {
		return nil, ErrNestedTx
	}
	unlock, err := d.lockMigration(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()

	// Without a lookout the program that is older would believe that all is
	// well, since all that it knows has been applied.
	if err := d.CheckSchema(ctx); err != nil && !errors.Is(err, ErrSchemaOlder) {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	applied, err = d.migrateOurs(ctx)
	if err != nil {
		return applied, fmt.Errorf("migrate: %w", err)
	}
	for _, m := range d.migrators {
		more, err := m.Migrate(ctx, d.writer, d.engine)
		applied = append(applied, more...)
		if err != nil {
			return applied, fmt.Errorf("migrate: %w", err)
		}
	}
	return applied, nil
}

func (d *DB) migrateOurs(ctx context.Context) ([]string, error) {
	p, err := d.goose()
	if err != nil || p == nil {
		return nil, err
	}
	results, err := p.Up(ctx)
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		results = partial.Applied
	}
	applied := make([]string, 0, len(results))
	for _, r := range results {
		applied = append(applied, path.Base(r.Source.Path))
	}
	return applied, err
}

// CheckSchema tells whether the schema is what this program expects; if not,
// the error is ErrSchemaOlder or ErrSchemaNewer, which name the remedy.
func (d *DB) CheckSchema(ctx context.Context) error {
	p, err := d.goose()
	if err != nil {
		return fmt.Errorf("check schema: %w", err)
	}
	if p != nil {
		if err := checkVersions(ctx, p); err != nil {
			return fmt.Errorf("check schema: %w", err)
		}
	}
	for _, m := range d.migrators {
		if err := m.Check(ctx, d.writer, d.engine); err != nil {
			return fmt.Errorf("check schema: %w", err)
		}
	}
	return nil
}

func checkVersions(ctx context.Context, p *goose.Provider) error {
	current, target, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case current > target:
		return fmt.Errorf("%w (schema %d, program %d)", ErrSchemaNewer, current, target)
	}
	pending, err := p.HasPending(ctx)
	switch {
	case err != nil:
		return err
	case pending:
		return fmt.Errorf("%w (schema %d, program %d)", ErrSchemaOlder, current, target)
	}
	return nil
}

// goose returns a migration run over our files, or nil when there are none.
func (d *DB) goose() (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	dialect := goose.DialectPostgres
	if d.engine == EngineSQLite {
		dialect = goose.DialectSQLite3
	}
	p, err := goose.NewProvider(dialect, d.writer, files,
		goose.WithTableName("schema_migrations"),
		goose.WithDisableGlobalRegistry(true),
		goose.WithAllowOutofOrder(true), // rooms own ranges of numbers
	)
	if errors.Is(err, goose.ErrNoMigrations) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return p, nil
}

// lockMigration waits until no other starter migrates this database.
func (d *DB) lockMigration(ctx context.Context) (unlock func() error, err error) {
	if d.engine == EngineSQLite {
		return d.lockMigrationSQLite(ctx)
	}
	conn, err := d.writer.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("take the migration lock: %w", err)
	}
	ticker := time.NewTicker(lockRetry)
	defer ticker.Stop()
	for {
		var got bool
		if err := conn.QueryRowContext(ctx, "select pg_try_advisory_lock($1)", int64(migrationLock)).Scan(&got); err != nil {
			return nil, errors.Join(fmt.Errorf("take the migration lock: %w", err), conn.Close())
		}
		if got {
			break
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for another migration: %w", ctx.Err()), conn.Close())
		}
	}
	return func() error {
		// The lock belongs to the session: if this fails, it goes with it.
		_, err := conn.ExecContext(context.WithoutCancel(ctx), "select pg_advisory_unlock($1)", int64(migrationLock))
		return errors.Join(err, conn.Close())
	}, nil
}

// lockMigrationSQLite holds an exclusive transaction on an empty database
// beside ours: a lock that works between processes wherever SQLite does. The
// file stays, since removing it would race with the next starter.
func (d *DB) lockMigrationSQLite(ctx context.Context) (unlock func() error, err error) {
	lock, err := sql.Open("sqlite", sqliteLockDSN(d.file+".migrate"))
	if err != nil {
		return nil, fmt.Errorf("take the migration lock: %w", err)
	}
	one(lock)
	tx, err := lock.BeginTx(ctx, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take the migration lock: %w", err), lock.Close())
	}
	return func() error { return errors.Join(tx.Rollback(), lock.Close()) }, nil
}
