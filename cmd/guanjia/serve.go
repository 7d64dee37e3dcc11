package main

import (
	"fmt"

	"guanjia/internal/app"
	"guanjia/internal/clock"
)

type serveCmd struct {
	Listen string `help:"Address to listen on; port 0 takes a free one." placeholder:"ADDR"`
	Roles  string `help:"What this node does: web, worker, socket; all by default." placeholder:"LIST"`
}

func (s *serveCmd) Run(c *cli, o out, ctx runContext) error {
	cfg, err := c.load(o, map[string]string{"listen": s.Listen, "roles": s.Roles})
	if err != nil {
		return err
	}
	if err := cfg.RequireServer(); err != nil {
		return err
	}
	a, err := app.New(app.Options{Config: cfg, Clock: clock.System(), Log: o.logger(cfg.LogLevel), Environ: o.environ})
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := o.ready(map[string]any{"ready": true, "listen": "http://" + a.Addr()}); err != nil {
		return err
	}
	<-ctx.Done()
	return a.Stop()
}
