package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/config"
	"guanjia/internal/sandbox"
	"guanjia/internal/wording"
	"guanjia/templates"
)

// DemoOptions of StartDemo.
type DemoOptions struct {
	Listen, Sandbox string
	Data            string // folder that is kept; empty: a temporary one
	Postgres, Redis string // instead of the embedded pair
	Residents       int
	Now             time.Time // where the clock starts; zero: now
	Empty           bool      // without the sample company
	Log             *slog.Logger
	Environ         []string
	Points          func(name string)
}

// Demo is product and simulators in one process, on one clock.
type Demo struct {
	Ready sample.Ready
	App   *App
	Clock *clock.Adjustable
	stack *stack
}

// StartDemo brings everything up and returns once it accepts traffic.
func StartDemo(ctx context.Context, o DemoOptions) (demo *Demo, err error) {
	d := &Demo{stack: &stack{log: o.Log}, Clock: clock.NewAdjustable(o.Now)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Stop())
		}
	}()
	dir, err := d.dataDir(o.Data)
	if err != nil {
		return nil, err
	}
	sim := sandbox.New(sandbox.Options{Clock: d.Clock, Logger: o.Log, Advance: d.Clock.Advance})
	d.stack.push("simulators", sim.Stop)
	simAddr, err := sim.Start(ctx, o.Sandbox)
	if err != nil {
		return nil, err
	}
	cfg, err := demoConfig(o, dir, "http://"+simAddr)
	if err != nil {
		return nil, err
	}
	if _, err := Migrate(ctx, cfg, o.Log); err != nil {
		return nil, err
	}
	company, err := d.seedOnce(ctx, cfg, o)
	if err != nil {
		return nil, err
	}
	if d.App, err = New(Options{Config: cfg, Clock: d.Clock, Log: o.Log, Environ: o.Environ, Points: o.Points}); err != nil {
		return nil, err
	}
	// The world comes first: a bot that subscribes to simulators which don't
	// know it yet would count as a wrong secret.
	ln, err := reserve(ctx, cfg.Listen)
	if err != nil {
		return nil, err
	}
	d.App.o.Config.Listen = ln
	if cfg.PublicURL == "" {
		d.App.o.Config.PublicURL = "http://" + ln
	}
	if company != nil {
		if err := putWorld(ctx, "http://"+simAddr, company.World([]string{"http://" + ln})); err != nil {
			return nil, err
		}
	}
	if err := d.App.Start(ctx); err != nil {
		return nil, err
	}
	d.stack.push("product", func(context.Context) error { return d.App.Stop() })
	d.onAdvance(sim)
	d.Ready = sample.Ready{Ready: true, Listen: "http://" + d.App.Addr(), Sandbox: "http://" + simAddr}
	if company != nil {
		d.Ready = company.Ready("http://"+d.App.Addr(), "http://"+simAddr)
	}
	return d, nil
}

// Stop takes the product down, then the simulators, then the temporary folder.
func (d *Demo) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	return d.stack.unwind(ctx)
}

func (d *Demo) dataDir(given string) (string, error) {
	if given != "" {
		if err := os.MkdirAll(given, 0o700); err != nil {
			return "", fmt.Errorf("data folder: %w", err)
		}
		return given, nil
	}
	dir, err := os.MkdirTemp("", "guanjia-demo-")
	if err != nil {
		return "", fmt.Errorf("temporary folder: %w", err)
	}
	d.stack.push("temporary folder", func(context.Context) error { return os.RemoveAll(dir) })
	return dir, nil
}

// demoConfig makes the settings of a demo. A kept folder keeps its key, or its
// rows could not be opened the next time.
func demoConfig(o DemoOptions, dir, simulators string) (config.Config, error) {
	key, err := demoKey(filepath.Join(dir, "master.key"))
	if err != nil {
		return config.Config{}, err
	}
	flags := map[string]string{
		"listen": o.Listen, "sandbox": simulators, "data_dir": dir, "master_key": key,
		"database": "sqlite://" + filepath.Join(dir, "guanjia.db"),
	}
	if o.Postgres != "" {
		flags["database"] = o.Postgres
	}
	if o.Redis != "" {
		flags["redis"] = o.Redis
	}
	return config.Load("", nil, flags)
}

func demoKey(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		return string(b), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("key of the data folder: %w", err)
	}
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("draw a key: %w", err)
	}
	key := base64.StdEncoding.EncodeToString(raw)
	if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
		return "", fmt.Errorf("keep the key of the data folder: %w", err)
	}
	return key, nil
}

// seedOnce loads the sample company unless the folder or database has it; nil
// for an empty demo.
func (d *Demo) seedOnce(ctx context.Context, cfg config.Config, o DemoOptions) (*sample.Sample, error) {
	if o.Empty {
		return nil, nil
	}
	a, err := New(Options{Config: cfg, Clock: d.Clock, Log: o.Log})
	if err != nil {
		return nil, err
	}
	conn, err := openDB(ctx, cfg, o.Log)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	a.db = conn
	s, err := a.seed(ctx, o.Residents)
	if !errors.Is(err, ErrNotEmpty) {
		return s, err
	}
	known, err := company.New(conn, nil).Has(ctx, sample.CompanyID)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, errors.New("the database holds another company; the demo needs an empty one or its own")
	}
	book, err := wording.Load(templates.FS())
	if err != nil {
		return nil, err
	}
	return sample.Company(sample.Options{Residents: o.Residents, Book: book}), nil
}

// onAdvance settles what became due when the clock is moved: jobs, deliveries,
// receipts, and again, since one leads to another.
func (d *Demo) onAdvance(sim *sandbox.Server) {
	r := d.App.rooms
	d.Clock.OnAdvance("jobs", func(ctx context.Context, _ time.Duration) error {
		if err := r.jobs.Restart(ctx); err != nil {
			return err
		}
		return r.jobs.Settle(ctx)
	})
	for range 2 {
		d.Clock.OnAdvance("deliveries", func(ctx context.Context, _ time.Duration) error { return r.sender.Settle(ctx) })
		d.Clock.OnAdvance("simulators", sim.OnAdvance)
		d.Clock.OnAdvance("receipts", func(ctx context.Context, _ time.Duration) error { return r.sms.Settle(ctx) })
	}
}
