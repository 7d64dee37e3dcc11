package main

import (
	"strings"

	"guanjia/internal/app"
)

type seedCmd struct {
	Sandbox   string `help:"Address of the simulators." required:"" placeholder:"URL"`
	Public    string `help:"Addresses at which the simulators reach the product; of several, the next is tried when one refuses." required:"" placeholder:"URL[,URL...]"`
	Residents int    `help:"How many residents the sample company has." placeholder:"N"`
}

func (s *seedCmd) Run(c *cli, o out, ctx runContext) error {
	cfg, err := c.load(o, map[string]string{"sandbox": s.Sandbox})
	if err != nil {
		return err
	}
	line, err := app.Seed(ctx, cfg, o.logger(cfg.LogLevel), app.SeedOptions{Sandbox: s.Sandbox, Public: strings.Split(s.Public, ","), Residents: s.Residents})
	if err != nil {
		return err
	}
	return o.ready(line)
}
