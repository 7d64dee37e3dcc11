package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"

	"guanjia/internal/app"
	"guanjia/internal/clock"
	"guanjia/internal/config"
)

// serveKilledCmd is `guanjia serve` that ends itself by SIGKILL when it passes
// a named point. The product knows the points, not the killing.
type serveKilledCmd struct {
	Listen string `placeholder:"ADDR"`
	Roles  string `placeholder:"LIST"`
	At     string `help:"Point at which the process ends; empty: never."`
	Nth    int64  `help:"At which pass." default:"1"`
}

// Run serves until it dies.
func (s *serveKilledCmd) Run(r run) error {
	flags := map[string]string{"listen": s.Listen}
	if s.Roles != "" {
		flags["roles"] = s.Roles
	}
	cfg, err := config.Load("", os.Environ(), flags)
	if err != nil {
		return err
	}
	if err := cfg.RequireServer(); err != nil {
		return err
	}
	a, err := app.New(app.Options{Config: cfg, Clock: clock.System(), Log: r.log, Environ: os.Environ(), Points: s.point()})
	if err != nil {
		return err
	}
	if err := a.Start(r); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := r.print(map[string]any{"ready": true, "listen": "http://" + a.Addr()}); err != nil {
		return err
	}
	<-r.Done()
	return a.Stop()
}

// point kills this process at the chosen pass. Whoever passes the point never
// comes back from it.
func (s *serveKilledCmd) point() func(string) {
	if s.At == "" {
		return nil
	}
	var passed atomic.Int64
	return func(name string) {
		if name != s.At || passed.Add(1) < s.Nth {
			return
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
