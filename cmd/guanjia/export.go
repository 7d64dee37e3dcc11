package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
)

type exportCmd struct {
	Register string `arg:"" help:"Register: publications (对客信息发布一览表)." enum:"publications"`
	From     string `help:"First day." placeholder:"2026-03-01"`
	To       string `help:"Last day." placeholder:"2026-03-31"`
	Project  string `help:"Project id." placeholder:"ID"`
	Format   string `help:"xlsx, json or html (a page to print on A4)." enum:"xlsx,json,html" default:"xlsx"`
	Out      string `help:"File to write; - is stdout. Default: a name made of register and period." short:"o" placeholder:"FILE"`
	serverFlags
}

func (e *exportCmd) Run(_ *cli, o out, ctx runContext) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	raw, err := c.raw(ctx, http.MethodGet, "/registers/"+e.Register, url.Values{"from": {e.From}, "to": {e.To}, "project": {e.Project}, "format": {e.Format}}, nil, "")
	if err != nil {
		return err
	}
	name := e.Out
	if name == "" {
		name = e.Register
		for _, part := range []string{e.From, e.To} {
			if part != "" {
				name += "-" + part
			}
		}
		name += "." + e.Format
	}
	if name == "-" {
		if _, err := o.stdout.Write(raw); err != nil {
			return fmt.Errorf("write the register: %w", err)
		}
		return nil
	}
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		return fmt.Errorf("write the register: %w", err)
	}
	fmt.Fprintln(o.stdout, name)
	return nil
}
