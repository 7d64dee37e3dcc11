package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

const (
	// txTries is how often a transaction is tried when PostgreSQL ends it
	// because of a deadlock or a serialisation conflict.
	txTries = 4
	// longTx is when a transaction is worth a line in the log: on SQLite it
	// stops every other writer.
	longTx = 100 * time.Millisecond
)

// ErrCommitUnknown says that the connection broke while the commit was under
// way: the transaction may have been committed or not. After-commit work was
// not run. A caller repeats only what a unique key or a compare-and-set makes
// harmless.
var ErrCommitUnknown = errors.New("db: the outcome of the commit is not known")

// Tx is an open transaction. It belongs to one goroutine.
type Tx struct {
	tx     *sql.Tx
	engine Engine
	after  []func(ctx context.Context)
}

var _ Querier = (*Tx)(nil)

// Engine tells which dialect the transaction speaks.
func (t *Tx) Engine() Engine { return t.engine }

// SQL returns the transaction for the job engine's insert.
func (t *Tx) SQL() *sql.Tx { return t.tx }

// ExecContext runs one statement inside the transaction.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := checkArgs(args); err != nil {
		return nil, err
	}
	return t.tx.ExecContext(ctx, query, args...)
}

// QueryContext runs one statement inside the transaction. Close the rows
// before the next statement.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := checkArgs(args); err != nil {
		return nil, err
	}
	return t.tx.QueryContext(ctx, query, args...)
}

// QueryRowContext runs one statement inside the transaction.
func (t *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if err := checkArgs(args); err != nil {
		return failedRow(ctx, err)
	}
	return t.tx.QueryRowContext(ctx, query, args...)
}

// AfterCommit registers work that follows the commit: a push into a queue, a
// wake-up. Functions run in the order of registration, in the goroutine of
// InTx, before it returns, with a context that carries the values but neither
// the end nor the mark of the transaction's. After a rollback none runs. They
// are hints: a crash may swallow them, so the truth must be in the rows.
func (t *Tx) AfterCommit(f func(ctx context.Context)) {
	t.after = append(t.after, f)
}

type txMark struct{}

// InTransaction tells whether ctx lives inside InTx. Pools and the vendors'
// transports refuse such a context.
func InTransaction(ctx context.Context) bool {
	return ctx.Value(txMark{}) != nil
}

// InTx runs f in a transaction and commits when f returns nil; name appears in
// errors and logs. f gets a marked context (see InTransaction) and may be run
// again, when PostgreSQL ends the transaction because of a conflict: it must
// keep its effects inside tx. SQLite transactions take the write lock when
// they begin, so they are serial. On PostgreSQL the level is read committed:
// guard what was read by compare-and-set or by a locking read.
//
// An error of f or a panic rolls back. A marked ctx is refused with
// ErrNestedTx. See ErrCommitUnknown for a broken commit.
func (d *DB) InTx(ctx context.Context, name string, f func(ctx context.Context, tx *Tx) error) error {
	if InTransaction(ctx) {
		return fmt.Errorf("transaction %s: %w", name, ErrNestedTx)
	}
	var (
		tx  *Tx
		err error
	)
	for try := 1; ; try++ {
		tx, err = d.tryTx(ctx, name, f)
		if err == nil {
			break
		}
		if try == txTries || !isConflict(err) || ctx.Err() != nil {
			d.note(err)
			return fmt.Errorf("transaction %s: %w", name, err)
		}
		d.log.InfoContext(ctx, "transaction is tried again", slog.String("tx", name), slog.Int("try", try), slog.Any("error", err))
		if err := pause(ctx, try); err != nil {
			return fmt.Errorf("transaction %s: %w", name, err)
		}
	}
	d.runAfter(context.WithoutCancel(ctx), name, tx.after)
	return nil
}

func (d *DB) tryTx(ctx context.Context, name string, f func(ctx context.Context, tx *Tx) error) (_ *Tx, err error) {
	raw, err := d.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	began := time.Now()
	tx := &Tx{tx: raw, engine: d.engine}
	done := false
	defer func() {
		if !done { // f failed or panicked
			if rerr := raw.Rollback(); rerr != nil && !errors.Is(rerr, sql.ErrTxDone) && !IsUnavailable(rerr) {
				err = errors.Join(err, fmt.Errorf("rollback: %w", rerr))
			}
		}
		if took := time.Since(began); took > longTx && d.engine == EngineSQLite {
			d.log.WarnContext(ctx, "long write transaction", slog.String("tx", name), slog.Duration("took", took))
		}
	}()
	if err := f(context.WithValue(ctx, txMark{}, name), tx); err != nil {
		return nil, err
	}
	done = true
	if err := raw.Commit(); err != nil {
		if commitUnknown(err) {
			return nil, fmt.Errorf("commit: %w: %w", ErrCommitUnknown, err)
		}
		return nil, fmt.Errorf("commit: %w", err)
	}
	return tx, nil
}

// begin starts a transaction. A kept connection that turns out dead has
// carried nothing yet, so another one is tried.
func (d *DB) begin(ctx context.Context) (*sql.Tx, error) {
	for try := 0; ; try++ {
		tx, err := d.writer.BeginTx(ctx, nil)
		if err == nil || try > 0 || d.pg == nil || ctx.Err() != nil || !isBroken(err) {
			return tx, err
		}
		d.note(err) // from now on connections are tested before use
	}
}

func (d *DB) runAfter(ctx context.Context, name string, after []func(ctx context.Context)) {
	for _, f := range after {
		d.guarded(ctx, name, f)
	}
}

// guarded keeps a panic of one after-commit function from the others and from
// the caller, whose transaction is committed already.
func (d *DB) guarded(ctx context.Context, name string, f func(ctx context.Context)) {
	defer func() {
		if p := recover(); p != nil {
			d.log.ErrorContext(ctx, "after-commit function panicked",
				slog.String("tx", name), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		}
	}()
	f(ctx)
}

// pause waits a little, longer and with more jitter at each try.
func pause(ctx context.Context, try int) error {
	most := 10 * time.Millisecond << try
	timer := time.NewTimer(most/4 + rand.N(most)) //nolint:gosec // jitter
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
