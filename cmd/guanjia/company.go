package main

import (
	"fmt"
	"os"

	"guanjia/internal/app"
)

type companyCmd struct {
	Apply companyApplyCmd `cmd:"" help:"Enter a property company, or bring it up to what a file says."`
}

type companyApplyCmd struct {
	File           string `help:"The company (see deploy/company.example.yaml)." required:"" type:"existingfile" placeholder:"company.yaml"`
	DryRun         bool   `help:"Check the file and show what would change."`
	ResetPasswords bool   `help:"Give known console users the file's password again."`
}

func (a *companyApplyCmd) Run(c *cli, o out, ctx runContext) error {
	cfg, err := c.load(o, nil)
	if err != nil {
		return err
	}
	f, err := os.Open(a.File)
	if err != nil {
		return fmt.Errorf("open the company file: %w", err)
	}
	defer f.Close()
	done, err := app.ApplyCompany(ctx, cfg, o.logger(cfg.LogLevel), app.ApplyOptions{File: f, Environ: o.environ, DryRun: a.DryRun, ResetPasswords: a.ResetPasswords})
	if err != nil {
		return err
	}
	done.Write(o.stdout, a.DryRun)
	return nil
}
