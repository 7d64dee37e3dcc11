package main

import (
	"fmt"
	"time"

	"guanjia/internal/app"
)

type releaseCmd struct {
	DropWaiting bool `help:"Cancel what waits and is due before anything leaves: after a backup was restored, much of it left before."`
}

func (r *releaseCmd) Run(c *cli, o out, ctx runContext) error {
	cfg, err := c.load(o, nil)
	if err != nil {
		return err
	}
	done, err := app.Release(ctx, cfg, o.logger(cfg.LogLevel), app.ReleaseOptions{Drop: r.DropWaiting, By: "admin"})
	if err != nil {
		return err
	}
	if done.Dropped > 0 {
		fmt.Fprintln(o.stdout, "cancelled what waited:", done.Dropped)
	}
	fmt.Fprintf(o.stdout, "released: nothing had left since %s (%s); the nodes send again within a second\n",
		done.Was.At.Local().Format(time.DateTime), done.Was.Reason)
	return nil
}
