package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	postgresConns = 20
	// minConns is what a migration needs: one holds the lock meanwhile.
	minConns = 4

	// connectTimeout is short because a WeChat callback has five seconds in
	// all, and the resident's words must still reach the spool. The URL may
	// set another one (connect_timeout, in seconds).
	connectTimeout = time.Second
	// connectPause is how long after a failed connection further ones fail at
	// once with the same error.
	connectPause = 200 * time.Millisecond
	// suspicion is how long after a lost connection every connection is
	// tested before use.
	suspicion = 10 * time.Second
)

// postgres is what only that engine needs.
type postgres struct {
	pool *pgxpool.Pool
	url  string
	// suspect is the machine's time in ns at which a connection was last
	// found dead.
	suspect atomic.Int64
}

func (d *DB) openPostgres(ctx context.Context, o Options) error {
	conns := o.MaxConns
	if conns <= 0 {
		conns = postgresConns
	}
	conns = max(conns, minConns)
	cfg, err := poolConfig(o.URL, conns)
	if err != nil {
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	d.engine = EnginePostgres
	d.pg = &postgres{pool: pool, url: o.URL}
	d.writer = sql.OpenDB(&gate{Connector: stdlib.GetPoolConnector(pool, stdlib.OptionShouldPing(d.pg.shouldPing))})
	// Idle connections stay with database/sql: with its default of none,
	// each statement would go through both pools. They return to the native
	// pool, which replaces old ones, after a while.
	d.writer.SetMaxOpenConns(conns)
	d.writer.SetMaxIdleConns(conns)
	d.writer.SetConnMaxIdleTime(5 * time.Minute)
	d.writer.SetConnMaxLifetime(time.Hour)
	d.reader = d.writer
	return nil
}

func (p *postgres) shouldPing(_ context.Context, s stdlib.ShouldPingParams) bool {
	return s.IdleDuration > time.Second || time.Now().UnixNano()-p.suspect.Load() < int64(suspicion)
}

// poolConfig parses a postgres URL and sets what this program needs: a short
// time to connect, UTC, and keep-alives that notice a vanished host.
func poolConfig(rawURL string, conns int) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(rawURL)
	if err != nil {
		// The error of pgx repeats the URL with its password taken out.
		return nil, fmt.Errorf("database URL: %w", err)
	}
	cfg.MaxConns = int32(min(conns, 1<<20)) //nolint:gosec // bounded
	cfg.MaxConnLifetime = time.Hour
	c := cfg.ConnConfig
	if !strings.Contains(rawURL, "connect_timeout=") {
		c.ConnectTimeout = connectTimeout
	}
	c.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 3,
	}}).DialContext
	params := map[string]string{
		"timezone":                            "UTC",
		"application_name":                    "guanjia",
		"idle_in_transaction_session_timeout": "60000",
	}
	for k, v := range params {
		if _, set := c.RuntimeParams[k]; !set {
			c.RuntimeParams[k] = v
		}
	}
	return cfg, nil
}

// ListenerPool opens a pool of one connection of its own, for a library that
// keeps it to LISTEN. The caller closes it. It is an error on SQLite.
func (d *DB) ListenerPool(ctx context.Context) (*pgxpool.Pool, error) {
	if d.pg == nil {
		return nil, fmt.Errorf("open listener pool: engine is %s", d.engine)
	}
	cfg, err := poolConfig(d.pg.url, 1)
	if err != nil {
		return nil, fmt.Errorf("open listener pool: %w", err)
	}
	// A listener's connection has nothing to read for hours.
	cfg.MaxConnIdleTime = time.Hour
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open listener pool: %w", err)
	}
	return pool, nil
}

// gate stands before the pool and remembers a failure to connect for
// connectPause. Without it a hundred waiting callers would learn one after
// another, each after a time-out of his own, that the server is away:
// database/sql opens connections for those who wait one at a time.
type gate struct {
	driver.Connector

	mu    sync.Mutex
	shut  time.Time // until when
	cause error
}

// Connect implements driver.Connector.
func (g *gate) Connect(ctx context.Context) (driver.Conn, error) {
	g.mu.Lock()
	shut, cause := time.Now().Before(g.shut), g.cause
	g.mu.Unlock()
	if shut {
		return nil, cause
	}
	conn, err := g.Connector.Connect(ctx)
	// A caller who ran out of his own time says nothing about the server.
	if err != nil && ctx.Err() == nil {
		g.mu.Lock()
		g.shut, g.cause = time.Now().Add(connectPause), err
		g.mu.Unlock()
	}
	return conn, err
}
