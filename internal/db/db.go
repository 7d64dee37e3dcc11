package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Engine names a database engine.
type Engine string

// The engines.
const (
	EnginePostgres Engine = "postgres"
	EngineSQLite   Engine = "sqlite"
)

// Options say which database to open.
type Options struct {
	// URL is postgres://... (or postgresql://...), sqlite:///abs/file, or the
	// path of a SQLite file, which is created when it doesn't exist. A
	// PostgreSQL that isn't reached within a second counts as away, unless the
	// URL says connect_timeout=<seconds>.
	URL string
	// MaxConns limits the connections: to PostgreSQL altogether (at least 4;
	// the job engine's listener has one more), to SQLite for reading (there
	// is always one for writing). 0 means 20 and 4.
	MaxConns int
	// Logger hears about slow transactions and failed after-commit work. Nil
	// means silence.
	Logger *slog.Logger
	// Migrators bring the schemas of others (the job engine) up to date
	// beside ours. Migrate and CheckSchema include them.
	Migrators []Migrator
}

// Querier runs statements: a *DB (autocommit), its Writer, or a *Tx.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	Engine() Engine
}

var (
	// ErrNestedTx says that a *DB was used with a context that lives inside
	// a transaction: use the *Tx.
	ErrNestedTx = errors.New("db: this context is inside a transaction, use the Tx")
	// ErrClosed says that the database was closed by us.
	ErrClosed = errors.New("db: closed")
)

// DB is an open database. Its methods are safe for use by several goroutines
// and refuse a context that is inside a transaction with ErrNestedTx.
type DB struct {
	engine    Engine
	log       *slog.Logger
	migrators []Migrator

	writer *sql.DB // PostgreSQL: the pool; SQLite: the one writing connection
	reader *sql.DB // PostgreSQL: the same pool; SQLite: query_only connections

	pg     *postgres // nil on SQLite
	file   string    // path of the SQLite file
	closed atomic.Bool
	once   sync.Once
	err    error
}

var _ Querier = (*DB)(nil)

// Open opens the database that o.URL names. On SQLite the file is created; on
// PostgreSQL no connection is made yet, so that a program can start while the
// database is away (see Ping).
func Open(ctx context.Context, o Options) (*DB, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &DB{log: log, migrators: o.Migrators}
	var err error
	switch {
	case strings.HasPrefix(o.URL, "postgres://"), strings.HasPrefix(o.URL, "postgresql://"):
		err = d.openPostgres(ctx, o)
	case o.URL == "":
		err = errors.New("no database URL given")
	default:
		err = d.openSQLite(ctx, o)
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return d, nil
}

// Close closes all connections and waits until running statements have ended.
func (d *DB) Close() error {
	d.once.Do(func() {
		d.closed.Store(true)
		var errs []error
		if d.reader != d.writer {
			errs = append(errs, d.reader.Close())
		}
		errs = append(errs, d.writer.Close())
		if d.pg != nil {
			d.pg.pool.Close()
		}
		d.err = errors.Join(errs...)
	})
	return d.err
}

// Engine tells which dialect d speaks.
func (d *DB) Engine() Engine { return d.engine }

// Ping asks the database for a sign of life.
func (d *DB) Ping(ctx context.Context) error {
	var one int
	if err := d.QueryRowContext(ctx, "select 1").Scan(&one); err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

// ExecContext runs one statement and commits it.
func (d *DB) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := admit(ctx, args); err != nil {
		return nil, err
	}
	res, err := d.writer.ExecContext(ctx, query, args...)
	d.note(err)
	return res, err
}

// QueryContext runs one statement that only reads. On SQLite it goes to a
// connection that refuses to write; for INSERT ... RETURNING see Writer.
func (d *DB) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := admit(ctx, args); err != nil {
		return nil, err
	}
	rows, err := d.reader.QueryContext(ctx, query, args...)
	d.note(err)
	return rows, err
}

// QueryRowContext is QueryContext for at most one row.
func (d *DB) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if err := admit(ctx, args); err != nil {
		return failedRow(ctx, err)
	}
	row := d.reader.QueryRowContext(ctx, query, args...)
	d.note(row.Err())
	return row
}

// Writer returns a Querier for single autocommit statements that write and
// return rows. Close the rows soon: on SQLite they hold the only writing
// connection.
func (d *DB) Writer() Querier { return writer{d} }

type writer struct{ d *DB }

func (w writer) Engine() Engine { return w.d.engine }

func (w writer) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return w.d.ExecContext(ctx, query, args...)
}

func (w writer) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := admit(ctx, args); err != nil {
		return nil, err
	}
	rows, err := w.d.writer.QueryContext(ctx, query, args...)
	w.d.note(err)
	return rows, err
}

func (w writer) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if err := admit(ctx, args); err != nil {
		return failedRow(ctx, err)
	}
	row := w.d.writer.QueryRowContext(ctx, query, args...)
	w.d.note(row.Err())
	return row
}

// SQL returns the handle that writes. It exists for libraries that bring
// their own statements (the job engine); rooms use the methods of DB.
func (d *DB) SQL() *sql.DB { return d.writer }

// admit refuses what would hang or be stored wrongly.
func admit(ctx context.Context, args []any) error {
	if InTransaction(ctx) {
		return ErrNestedTx
	}
	return checkArgs(args)
}

// note remembers that the server was lost, so that for a while connections
// are tested before they are used again.
func (d *DB) note(err error) {
	if err == nil || d.pg == nil || !IsUnavailable(err) {
		return
	}
	d.pg.suspect.Store(time.Now().UnixNano())
}
