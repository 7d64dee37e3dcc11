package main

import (
	"fmt"

	"guanjia/internal/app"
)

type migrateCmd struct{}

func (m *migrateCmd) Run(c *cli, o out, ctx runContext) error {
	cfg, err := c.load(o, nil)
	if err != nil {
		return err
	}
	applied, err := app.Migrate(ctx, cfg, o.logger(cfg.LogLevel))
	if err != nil {
		return err
	}
	if len(applied) == 0 {
		fmt.Fprintln(o.stdout, "the schema is up to date")
	}
	for _, name := range applied {
		fmt.Fprintln(o.stdout, "applied", name)
	}
	return nil
}
