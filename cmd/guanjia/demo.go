package main

import (
	"fmt"
	"time"

	"guanjia/internal/app"
)

type demoCmd struct {
	Listen    string `help:"Address of the product; port 0 takes a free one." default:"127.0.0.1:8080" placeholder:"ADDR"`
	Sandbox   string `help:"Address of the simulators and their page." default:"127.0.0.1:8090" placeholder:"ADDR"`
	Data      string `help:"Folder to keep the data in; without it a temporary one that is removed at the end." type:"path" placeholder:"DIR"`
	Postgres  string `help:"Use this PostgreSQL instead of the embedded database." placeholder:"URL"`
	Redis     string `help:"Use this Redis instead of the embedded one." placeholder:"URL"`
	Residents int    `help:"How many residents the sample company has." placeholder:"N"`
	Now       string `help:"Start the clock at this time (RFC 3339)." placeholder:"TIME"`
	Empty     bool   `help:"Without the sample company."`
	LogLevel  string `help:"debug, info, warn or error." default:"warn" enum:"debug,info,warn,error"`
}

func (d *demoCmd) Run(_ *cli, o out, ctx runContext) error {
	opts := app.DemoOptions{
		Listen: d.Listen, Sandbox: d.Sandbox, Data: d.Data, Postgres: d.Postgres, Redis: d.Redis,
		Residents: d.Residents, Empty: d.Empty, Log: o.logger(d.LogLevel), Environ: o.environ,
	}
	if d.Now != "" {
		now, err := time.Parse(time.RFC3339, d.Now)
		if err != nil {
			return fmt.Errorf("--now must be a time such as 2026-11-25T09:00:00+08:00")
		}
		opts.Now = now
	}
	demo, err := app.StartDemo(ctx, opts)
	if err != nil {
		return err
	}
	if err := o.ready(demo.Ready); err != nil {
		return err
	}
	fmt.Fprintf(o.stderr, "\n  打开 %s 体验:左边住户手机,中间工作群,右边短信。\n  Open %s\n\n", demo.Ready.Sandbox, demo.Ready.Sandbox)
	<-ctx.Done()
	return demo.Stop()
}
