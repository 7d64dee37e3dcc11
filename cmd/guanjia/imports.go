package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"guanjia/internal/estate"
)

type importCmd struct {
	Residents importResidentsCmd `cmd:"" help:"Buildings, units and residents from an Excel file, all or nothing."`
}

type importResidentsCmd struct {
	File    string `arg:"" help:"Excel file (.xlsx)." type:"existingfile" placeholder:"FILE.xlsx"`
	Project string `help:"Project, by id or name; a new name makes a new project. Default: the one the file names, or the only one." placeholder:"NAME"`
	DryRun  bool   `help:"Show the differences and change nothing."`
	Keep    bool   `help:"People whom the file no longer names keep their homes."`
	serverFlags
}

var errBadRows = errors.New("nothing was imported: put the rows above right and try again")

func (i *importResidentsCmd) Run(_ *cli, o out, ctx runContext) error {
	c, err := i.client()
	if err != nil {
		return err
	}
	f, err := os.Open(i.File)
	if err != nil {
		return fmt.Errorf("open the file: %w", err)
	}
	defer f.Close()
	file, err := io.ReadAll(io.LimitReader(f, estate.MaxImportFile+1))
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	query := url.Values{"project": {i.Project}}
	if i.DryRun {
		query.Set("dry_run", "1")
	}
	if i.Keep {
		query.Set("keep", "1")
	}
	var r estate.ImportReport
	if err := c.call(ctx, http.MethodPost, "/imports/residents", query, file, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", &r); err != nil {
		return err
	}
	return printImport(o.stdout, r)
}

// printImport writes a report as people read it, in the server's words.
func printImport(w io.Writer, r estate.ImportReport) error {
	line := func(p estate.ImportProblem, mark string) {
		place := p.Column
		if p.Row > 0 {
			place = fmt.Sprintf("%d %s", p.Row, p.Column)
		}
		if p.Sheet != "" {
			place = p.Sheet + " " + place
		}
		fmt.Fprintf(w, "%s %s: %s\n", mark, place, p.Message)
	}
	for _, p := range r.Problems {
		line(p, "✗")
	}
	for _, p := range r.Warnings {
		line(p, "!")
	}
	for _, c := range r.Changes {
		fmt.Fprintln(w, c.Text)
	}
	if len(r.Changes) == estate.MaxChanges {
		fmt.Fprintln(w, "...")
	}
	fmt.Fprintln(w, r.Summary)
	if len(r.Problems) > 0 {
		return errBadRows
	}
	return nil
}
