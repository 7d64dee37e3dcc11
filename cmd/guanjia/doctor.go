package main

import (
	"errors"
	"fmt"

	"guanjia/internal/app"
)

type doctorCmd struct {
	Online bool `help:"Also ask WeChat, WeCom, Aliyun, database and Redis."`
}

var errDoctor = errors.New("at least one check failed")

func (d *doctorCmd) Run(c *cli, o out, ctx runContext) error {
	cfg, err := c.load(o, nil)
	if err != nil {
		return err
	}
	failed := false
	for _, check := range app.Doctor(ctx, cfg, o.logger(cfg.LogLevel), d.Online) {
		fmt.Fprintf(o.stdout, "%-5s %s: %s\n", check.Result, check.Name, check.Text)
		failed = failed || check.Result == app.CheckFail
	}
	if failed {
		return errDoctor
	}
	return nil
}
