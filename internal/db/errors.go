package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLSTATE codes that a decision hangs on (PostgreSQL, appendix A).
const (
	stateUnique        = "23505"
	stateForeignKey    = "23503"
	stateSerialization = "40001"
	stateDeadlock      = "40P01"
	stateReadOnly      = "25006" // after a fail-over we talk to a standby
	stateIOError       = "58030"
)

// IsUnique tells whether err is the violation of a unique index or a primary
// key.
func IsUnique(err error) bool {
	if code, ok := sqlState(err); ok {
		return code == stateUnique
	}
	code, ok := sqliteCode(err)
	return ok && (code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// IsForeignKey tells whether err is the violation of a foreign key.
func IsForeignKey(err error) bool {
	if code, ok := sqlState(err); ok {
		return code == stateForeignKey
	}
	code, ok := sqliteCode(err)
	return ok && code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

// IsUnavailable tells whether err means that the database cannot be used now:
// not reached, refused, lost on the way, shutting down or starting, out of
// connections or space, read-only, closed, or no answer before the deadline.
// The same call may succeed later. A cancelled context isn't counted: then
// the caller has gone, not the database.
func IsUnavailable(err error) bool {
	if err == nil {
		return false
	}
	if code, ok := sqlState(err); ok {
		return unavailableState(code)
	}
	if code, ok := sqliteCode(err); ok {
		return unavailableSQLite(code)
	}
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &connect), isBroken(err):
		return !errors.Is(err, context.Canceled) || errors.Is(err, ErrCommitUnknown)
	case errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, ErrClosed), isClosed(err),
		errors.Is(err, puddle.ErrClosedPool), errors.Is(err, puddle.ErrNotAvailable):
		return true
	}
	return false
}

func unavailableState(code string) bool {
	switch code[:2] {
	case "08", "53": // connection exceptions; insufficient resources
		return true
	case "57": // operator intervention, but not 57014, a cancelled statement
		return strings.HasPrefix(code, "57P")
	case "28", "3D": // refused at the door: password, or no such database
		return true
	}
	return code == stateReadOnly || code == stateIOError
}

func unavailableSQLite(code int) bool {
	switch code & 0xff { // the primary code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}

// isBroken tells whether the connection, not the statement, failed.
func isBroken(err error) bool {
	var netErr net.Error
	switch {
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return true
	case errors.As(err, &netErr):
		return true
	}
	if code, ok := sqlState(err); ok {
		return strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "08")
	}
	// pgconn has no exported value for a connection that it closed itself.
	return err != nil && strings.HasSuffix(err.Error(), "conn closed")
}

// isClosed recognises the unexported error of a closed *sql.DB.
func isClosed(err error) bool {
	return strings.HasSuffix(err.Error(), "sql: database is closed")
}

// isConflict tells whether PostgreSQL ended a transaction that would succeed
// when run again, or another process kept SQLite's lock.
func isConflict(err error) bool {
	if errors.Is(err, ErrCommitUnknown) {
		return false
	}
	if code, ok := sqlState(err); ok {
		return code == stateSerialization || code == stateDeadlock
	}
	code, ok := sqliteCode(err)
	return ok && code&0xff == sqlite3.SQLITE_BUSY
}

// commitUnknown tells whether a failed commit may have happened all the same.
func commitUnknown(err error) bool {
	if _, ok := sqliteCode(err); ok {
		return false
	}
	return isBroken(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func sqlState(err error) (string, bool) {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && len(pg.Code) == 5 {
		return pg.Code, true
	}
	return "", false
}

func sqliteCode(err error) (int, bool) {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code(), true
	}
	return 0, false
}
