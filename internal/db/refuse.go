package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// ErrBareTime says that a statement got a time.Time as a parameter. The
// drivers' own formats sort wrongly on SQLite, so times go through At.
var ErrBareTime = errors.New("db: a time.Time is no parameter, use db.At")

// checkArgs finds times that would be written in a driver's own format.
func checkArgs(args []any) error {
	for i, a := range args {
		switch a.(type) {
		case time.Time, *time.Time, sql.NullTime, *sql.NullTime:
			return fmt.Errorf("parameter $%d: %w", i+1, ErrBareTime)
		}
	}
	return nil
}

// failedRow returns a row whose Scan gives err.
func failedRow(ctx context.Context, err error) *sql.Row {
	refuse := sql.OpenDB(refusal{err})
	// It has no connection that could still be needed; its goroutine ends.
	defer func() { _ = refuse.Close() }()
	return refuse.QueryRowContext(context.WithoutCancel(ctx), "")
}

// refusal is a connector whose connections cannot be had. It lets a method
// that must return a *sql.Row return one that carries our error.
type refusal struct{ err error }

func (r refusal) Connect(context.Context) (driver.Conn, error) { return nil, r.err }
func (r refusal) Driver() driver.Driver                        { return refusalDriver(r) }

type refusalDriver struct{ err error }

func (r refusalDriver) Open(string) (driver.Conn, error) { return nil, r.err }
