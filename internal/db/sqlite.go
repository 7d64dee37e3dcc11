package db

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

const (
	// sqliteBusy is how long a statement waits for another process (a
	// migration, a backup) that is writing.
	sqliteBusy = 10 * time.Second

	sqliteReaders = 4
)

func (d *DB) openSQLite(ctx context.Context, o Options) error {
	file, err := sqliteFile(o.URL)
	if err != nil {
		return err
	}
	d.engine, d.file = EngineSQLite, file

	// The writer: one connection, shared with the job engine. BEGIN takes the
	// write lock at once; a deferred read-then-write would fail with
	// SQLITE_BUSY_SNAPSHOT however long the busy timeout is.
	d.writer, err = sql.Open("sqlite", sqliteDSN(file, "_txlock=immediate"))
	if err != nil {
		return err
	}
	one(d.writer)
	// The file must exist and be in WAL mode before a reader opens it.
	if err := d.writer.PingContext(ctx); err != nil {
		_ = d.writer.Close()
		return fmt.Errorf("sqlite file %s: %w", file, err)
	}

	d.reader, err = sql.Open("sqlite", sqliteDSN(file, "_pragma=query_only(1)"))
	if err != nil {
		_ = d.writer.Close()
		return err
	}
	readers := o.MaxConns
	if readers <= 0 {
		readers = sqliteReaders
	}
	d.reader.SetMaxOpenConns(readers)
	d.reader.SetMaxIdleConns(readers)
	return nil
}

// one limits a pool to one connection that is kept.
func one(s *sql.DB) {
	s.SetMaxOpenConns(1)
	s.SetMaxIdleConns(1)
}

// sqliteDSN names the file with the settings that every connection needs. The
// busy timeout comes first: the pragma for WAL already needs a lock, and two
// starters would fail with "database is locked".
func sqliteDSN(file string, more ...string) string {
	settings := append([]string{
		fmt.Sprintf("_pragma=busy_timeout(%d)", sqliteBusy.Milliseconds()),
		"_pragma=journal_mode(WAL)",
		"_pragma=synchronous(NORMAL)",
		"_pragma=foreign_keys(1)",
		"_pragma=cache_size(-16000)", // 16 MB a connection
		"_pragma=temp_store(2)",      // in memory
	}, more...)
	return sqliteName(file) + "?" + strings.Join(settings, "&")
}

// sqliteFile takes the path out of a URL (sqlite:///abs/file, sqlite:file,
// file:...) or takes a bare path as it is, and makes it absolute.
func sqliteFile(raw string) (string, error) {
	file := raw
	if strings.HasPrefix(raw, "sqlite:") || strings.HasPrefix(raw, "file:") {
		u, err := url.Parse(raw)
		if err != nil {
			return "", fmt.Errorf("database URL: %w", err)
		}
		if u.Host != "" {
			return "", fmt.Errorf("database URL %q: write three slashes before an absolute path", raw)
		}
		if u.RawQuery != "" {
			return "", fmt.Errorf("database URL %q: parameters are not supported", raw)
		}
		file = u.Path
		if file == "" {
			file = u.Opaque
		}
	} else if i := strings.Index(raw, "://"); i >= 0 {
		return "", fmt.Errorf("database URL begins with %q: use postgres://, sqlite:/// or the path of a file", raw[:i+3])
	}
	if file == "" || strings.Contains(file, ":memory:") {
		return "", fmt.Errorf("database URL %q names no file (a database in memory cannot be shared by reader and writer)", raw)
	}
	return filepath.Abs(file)
}

// sqliteLockDSN opens a file that is only a lock. A migration may take minutes.
func sqliteLockDSN(file string) string {
	return sqliteName(file) + "?_pragma=busy_timeout(600000)&_txlock=exclusive"
}

// sqliteName escapes the path so that ? and % in a folder's name stay a name.
func sqliteName(file string) string {
	return "file:" + (&url.URL{Path: filepath.ToSlash(file)}).EscapedPath()
}
