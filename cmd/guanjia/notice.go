package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"guanjia/notify"
)

type noticeCmd struct {
	Send noticeSendCmd `cmd:"" help:"Compose a notice from a file, show it with its audience and cost, and send it."`
}

type noticeSendCmd struct {
	serverFlags
	File   string `help:"The notice (YAML; the fields of POST /api/v1/notices)." required:"" placeholder:"NOTICE.yaml"`
	Yes    bool   `help:"Approve without asking, where the token may."`
	Follow bool   `help:"Show the progress until the notice is finished."`
}

// noticeAnswer is the part of the API's notice that the command shows.
type noticeAnswer struct {
	ID, No, State, Title, Place string
	Audience                    struct{ Households, People, SMS, Template, None int }
	CostFen                     int `json:"cost_fen"`
	Segments                    int
	Problems, Warnings          []notify.Problem
	Preview                     notify.Preview
	Counts                      map[string]int
	Reach                       notify.Reach
	PausedWhy                   string `json:"paused_why"`
}

func (c *noticeSendCmd) Run(_ *cli, o out, ctx runContext) error {
	draft, err := readNotice(c.File)
	if err != nil {
		return err
	}
	api, err := c.client()
	if err != nil {
		return usage{err}
	}
	var n noticeAnswer
	if err := api.call(ctx, http.MethodPost, "/notices", nil, draft, "", &n); err != nil {
		return err
	}
	showNotice(o.stdout, n)
	if len(n.Problems) > 0 {
		return fmt.Errorf("%s is kept as a draft and cannot be sent: %d problems", n.No, len(n.Problems))
	}
	if !c.Yes {
		yes, err := ask(o, fmt.Sprintf("Send %s to %d households? [y/N] ", n.No, n.Audience.Households))
		if err != nil {
			return err
		}
		if !yes {
			fmt.Fprintf(o.stdout, "%s is kept as a draft; nothing was sent.\n", n.No)
			return nil
		}
	}
	if err := api.call(ctx, http.MethodPost, "/notices/"+n.ID+"/approve", nil, nil, "", &n); err != nil {
		return err
	}
	fmt.Fprintf(o.stdout, "%s approved (%s)\n", n.No, n.State)
	if !c.Follow {
		return nil
	}
	return follow(ctx, o.stdout, api, n)
}

// usage is a wrong use of the command.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// readNotice reads a file as strictly as the API reads JSON.
func readNotice(path string) (notify.Draft, error) {
	f, err := os.Open(path)
	if err != nil {
		return notify.Draft{}, usage{fmt.Errorf("read the notice: %w", err)}
	}
	defer f.Close()
	d, err := notify.ReadYAML(f)
	var refused *notify.Refused
	if errors.As(err, &refused) {
		return d, usage{fmt.Errorf("%s: %s", path, refused.Message)}
	}
	return d, err
}

func showNotice(w io.Writer, n noticeAnswer) {
	fmt.Fprintf(w, "%s %s (%s)\n", n.No, n.Title, n.Place)
	for _, p := range []struct{ name, text string }{{"SMS", n.Preview.SMS}, {"Template message", n.Preview.Template}} {
		if p.text != "" {
			fmt.Fprintf(w, "\n%s:\n  %s\n", p.name, strings.ReplaceAll(p.text, "\n", "\n  "))
		}
	}
	a := n.Audience
	fmt.Fprintf(w, "\nAudience: %d households, %d people; %d phones (%d segments each), %d followers; %d households without any address\n",
		a.Households, a.People, a.SMS, n.Segments, a.Template, a.None)
	fmt.Fprintf(w, "Cost: about %d.%02d yuan\n", n.CostFen/100, n.CostFen%100)
	for _, p := range n.Warnings {
		fmt.Fprintf(w, "Note: %s\n", p.Message)
	}
	for _, p := range n.Problems {
		fmt.Fprintf(w, "Problem: %s: %s\n", p.Field, p.Message)
	}
}

// ask reads one answer; nothing, or the end of the input, is no.
func ask(o out, question string) (bool, error) {
	fmt.Fprint(o.stdout, question)
	line, err := bufio.NewReader(o.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	fmt.Fprintln(o.stdout)
	return slices.Contains([]string{"y", "yes", "是"}, strings.ToLower(strings.TrimSpace(line))), nil
}

// followEvery is how often the progress is asked for.
const followEvery = time.Second

// follow prints a line whenever something has changed, until the notice is
// finished; a cancelled one is a failure.
func follow(ctx context.Context, w io.Writer, api *client, n noticeAnswer) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	last := ""
	for {
		if err := api.call(ctx, http.MethodGet, "/notices/"+n.ID, nil, nil, "", &n); err != nil {
			return err
		}
		line := fmt.Sprintf("%s %s: %d of %d households reached; %s", n.No, n.State, n.Reach.Reached, n.Reach.Households, countLine(n.Counts))
		if n.PausedWhy != "" {
			line += " (" + n.PausedWhy + ")"
		}
		if line != last {
			fmt.Fprintln(w, line)
			last = line
		}
		switch notify.State(n.State) {
		case notify.Finished:
			return nil
		case notify.Cancelled:
			return fmt.Errorf("%s was cancelled", n.No)
		}
		n.Counts, n.PausedWhy = nil, ""
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func countLine(counts map[string]int) string {
	states := make([]string, 0, len(counts))
	for s := range counts {
		states = append(states, s)
	}
	sort.Strings(states)
	for i, s := range states {
		states[i] = fmt.Sprintf("%s %d", s, counts[s])
	}
	return strings.Join(states, ", ")
}
