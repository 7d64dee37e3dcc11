package db

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	postgresConns = 20

	// connectTimeout is short because a WeChat callback has five seconds in
	// all, and the resident's words must still reach the spool.
	connectTimeout = time.Second
	// dialPause is how long after a failed dial further dials to the same
	// address fail at once with the same error, so that a hundred waiting
	// callers learn it together and not one after another.
	dialPause = 200 * time.Millisecond
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
	d.writer = stdlib.OpenDBFromPool(pool, stdlib.OptionShouldPing(d.pg.shouldPing))
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
	c.ConnectTimeout = connectTimeout
	c.DialFunc = newDialer().dial
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

// dialer connects, and remembers failures for dialPause.
type dialer struct {
	net net.Dialer

	mu     sync.Mutex
	failed map[string]failure // by address
}

type failure struct {
	at  time.Time
	err error
}

func newDialer() *dialer {
	return &dialer{
		net: net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 3,
		}},
		failed: map[string]failure{},
	}
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d.mu.Lock()
	f, known := d.failed[addr]
	d.mu.Unlock()
	if known && time.Since(f.at) < dialPause {
		return nil, f.err
	}
	conn, err := d.net.DialContext(ctx, network, addr)

	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.failed, addr)
		return conn, nil
	}
	// A caller who gave up says nothing about the server.
	if ctx.Err() != context.Canceled {
		d.failed[addr] = failure{at: time.Now(), err: err}
	}
	return nil, err
}
