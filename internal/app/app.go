package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/config"
	"guanjia/internal/db"
	"guanjia/internal/embedded"
	"guanjia/internal/jobs"
	"guanjia/internal/telemetry"
)

// Options of New.
type Options struct {
	Config  config.Config
	Clock   clock.Clock
	Log     *slog.Logger
	Environ []string
	// Points hears the names of kill points (crash tests); nil in production.
	Points func(name string)
	// Redis replaces the configured one: the demo's in-process server.
	Redis redis.UniversalClient
}

// App is the program. Start and Stop may each be called once.
type App struct {
	o       Options
	log     *slog.Logger
	stack   *stack
	metrics *telemetry.Registry

	db    *db.DB
	rdb   redis.UniversalClient
	rooms *rooms

	mu      sync.Mutex
	addr    string
	metaddr string
	serving bool
}

// New checks the options. Nothing is opened before Start.
func New(o Options) (*App, error) {
	if o.Clock == nil || o.Log == nil {
		return nil, errors.New("app: clock and log are required")
	}
	return &App{o: o, log: o.Log, stack: &stack{log: o.Log}, metrics: telemetry.NewRegistry()}, nil
}

// Addr is the address that is listened on, host:port, after Start.
func (a *App) Addr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.addr
}

// Start brings everything up and returns once traffic is accepted. On failure
// what was started is taken down again.
func (a *App) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			stop, cancel := a.stopContext()
			defer cancel()
			err = errors.Join(err, a.stack.unwind(stop))
		}
	}()
	if err := a.openStores(ctx); err != nil {
		return err
	}
	if a.rooms, err = a.build(ctx); err != nil {
		return err
	}
	if err := a.startWork(ctx); err != nil {
		return err
	}
	return a.listen(ctx)
}

// openStores opens the pair of engines and checks the schema.
func (a *App) openStores(ctx context.Context) error {
	d, err := openDB(ctx, a.o.Config, a.log)
	if err != nil {
		return err
	}
	a.db = d
	a.stack.push("database", func(context.Context) error { return d.Close() })
	if err := d.CheckSchema(ctx); err != nil {
		return err
	}
	switch {
	case a.o.Redis != nil:
		a.rdb = a.o.Redis
	case a.o.Config.Redis != "":
		embedded.LogRedis(a.log)
		rdb, err := embedded.OpenRedis(a.o.Config.Redis)
		if err != nil {
			return err
		}
		a.rdb = rdb
		a.stack.push("redis", func(context.Context) error { return rdb.Close() })
	default:
		own, err := embedded.StartRedis(ctx, a.o.Clock)
		if err != nil {
			return err
		}
		a.rdb = own.Client()
		a.stack.push("embedded redis", func(context.Context) error { return own.Close() })
		if adjustable, ok := a.o.Clock.(*clock.Adjustable); ok {
			adjustable.OnAdvance("embedded redis", own.Advance)
		}
	}
	return nil
}

func openDB(ctx context.Context, c config.Config, log *slog.Logger) (*db.DB, error) {
	return db.Open(ctx, db.Options{URL: c.Database, MaxConns: c.MaxConns, Logger: log, Migrators: []db.Migrator{jobs.Schema{}}})
}

func (a *App) sealer() (*company.Sealer, error) {
	s, err := company.NewSealer(a.o.Config.MasterKey)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return s, nil
}

func (a *App) spoolDir() string { return filepath.Join(a.o.Config.DataDir, "spool") }

// Stop takes nothing new, finishes what is in hand within the budget, and
// cancels the rest.
func (a *App) Stop() error {
	a.mu.Lock()
	a.serving = false
	a.mu.Unlock()
	ctx, cancel := a.stopContext()
	defer cancel()
	return a.stack.unwind(ctx)
}

func (a *App) stopContext() (context.Context, context.CancelFunc) {
	budget := a.o.Config.StopBudget
	if budget <= 0 {
		budget = 10 * time.Second
	}
	return context.WithTimeout(context.Background(), budget)
}

// listen opens the public address, and the second one for metrics if set.
func (a *App) listen(ctx context.Context) error {
	addr, err := a.serve(ctx, "public listener", a.o.Config.Listen, a.publicRoutes())
	if err != nil {
		return err
	}
	if a.o.Config.MetricsListen != "" {
		metaddr, err := a.serve(ctx, "metrics listener", a.o.Config.MetricsListen, a.innerRoutes())
		if err != nil {
			return err
		}
		a.metaddr = metaddr
	}
	a.mu.Lock()
	a.addr, a.serving = addr, true
	a.mu.Unlock()
	return nil
}

func (a *App) serve(ctx context.Context, name, listen string, h http.Handler) (string, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", listen, err)
	}
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("listener ended", "listener", name, "error", err)
		}
	}()
	a.stack.push(name, func(stop context.Context) error {
		// Half the budget belongs to requests in hand; the other half to what they wait for.
		patience, cancel := context.WithTimeout(stop, a.o.Config.StopBudget/2)
		defer cancel()
		if err := srv.Shutdown(patience); err != nil {
			_ = srv.Close()
		}
		<-done
		return nil
	})
	return ln.Addr().String(), nil
}
