package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"guanjia/notify/survey"
)

type surveyCmd struct {
	Send surveySendCmd `cmd:"" help:"Compose a survey from a file, show whom it would ask, and start it."`
}

type surveySendCmd struct {
	serverFlags
	File   string `help:"The survey (YAML; the fields of POST /api/v1/surveys)." required:"" placeholder:"SURVEY.yaml"`
	Yes    bool   `help:"Approve without asking, where the token may."`
	Follow bool   `help:"Show the answers as they come in, until the survey is closed."`
}

// surveyAnswer is the part of the API's survey that the command shows.
type surveyAnswer struct {
	ID, No, State, Title, Place string
	Audience                    survey.Audience
	CostFen                     int `json:"cost_fen"`
	Problems, Warnings          []survey.Problem
	Preview                     survey.Preview
	Invited, Answered, Waiting  int
	SatisfiedRate               float64 `json:"satisfied_rate"`
	Satisfaction                float64
	Hidden                      bool
}

func (c *surveySendCmd) Run(_ *cli, o out, ctx runContext) error {
	draft, err := readSurvey(c.File)
	if err != nil {
		return err
	}
	api, err := c.client()
	if err != nil {
		return usage{err}
	}
	var s surveyAnswer
	if err := api.call(ctx, http.MethodPost, "/surveys", nil, draft, "", &s); err != nil {
		return err
	}
	showSurvey(o.stdout, s)
	if len(s.Problems) > 0 {
		return fmt.Errorf("%s is kept as a draft and cannot be started: %d problems", s.No, len(s.Problems))
	}
	if !c.Yes {
		yes, err := ask(o, fmt.Sprintf("Start %s and ask %d people? [y/N] ", s.No, s.Audience.Template+s.Audience.SMS))
		if err != nil {
			return err
		}
		if !yes {
			fmt.Fprintf(o.stdout, "%s is kept as a draft; nobody is asked.\n", s.No)
			return nil
		}
	}
	if err := api.call(ctx, http.MethodPost, "/surveys/"+s.ID+"/approve", nil, nil, "", &s); err != nil {
		return err
	}
	fmt.Fprintf(o.stdout, "%s approved (%s)\n", s.No, s.State)
	if !c.Follow {
		return nil
	}
	return followSurvey(ctx, o.stdout, api, s)
}

// readSurvey reads a file as strictly as the API reads JSON.
func readSurvey(path string) (survey.Draft, error) {
	f, err := os.Open(path)
	if err != nil {
		return survey.Draft{}, usage{fmt.Errorf("read the survey: %w", err)}
	}
	defer f.Close()
	d, err := survey.ReadYAML(f)
	var refused *survey.Refused
	if errors.As(err, &refused) {
		return d, usage{fmt.Errorf("%s: %s", path, refused.Message)}
	}
	return d, err
}

func showSurvey(w io.Writer, s surveyAnswer) {
	fmt.Fprintf(w, "%s %s (%s)\n", s.No, s.Title, s.Place)
	for _, p := range []struct{ name, text string }{{"Template message", s.Preview.Template}, {"SMS", s.Preview.SMS}} {
		if p.text != "" {
			fmt.Fprintf(w, "\n%s:\n  %s\n", p.name, strings.ReplaceAll(p.text, "\n", "\n  "))
		}
	}
	a := s.Audience
	fmt.Fprintf(w, "\nAudience: %d households; %d people by template message, %d by SMS, %d not asked\n", a.Households, a.Template, a.SMS, a.None)
	reasons := make([]string, 0, len(a.Skipped))
	for code, n := range a.Skipped {
		reasons = append(reasons, fmt.Sprintf("  not asked, %s: %d", code, n))
	}
	slices.Sort(reasons)
	for _, r := range reasons {
		fmt.Fprintln(w, r)
	}
	fmt.Fprintf(w, "Cost: about %d.%02d yuan\n", s.CostFen/100, s.CostFen%100)
	for _, p := range s.Warnings {
		fmt.Fprintf(w, "Note: %s\n", p.Message)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "Problem: %s: %s\n", p.Field, p.Message)
	}
}

// followSurvey prints a line whenever something has changed, until the survey
// is closed; a cancelled one is a failure.
func followSurvey(ctx context.Context, w io.Writer, api *client, s surveyAnswer) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	last := ""
	for {
		if err := api.call(ctx, http.MethodGet, "/surveys/"+s.ID, nil, nil, "", &s); err != nil {
			return err
		}
		line := fmt.Sprintf("%s %s: %d of %d answered, %d wait to be asked", s.No, s.State, s.Answered, s.Invited, s.Waiting)
		if s.Answered > 0 && !s.Hidden {
			line += fmt.Sprintf("; satisfied %.1f%%, mean %.2f", 100*s.SatisfiedRate, s.Satisfaction)
		}
		if line != last {
			fmt.Fprintln(w, line)
			last = line
		}
		switch survey.State(s.State) {
		case survey.Closed:
			return nil
		case survey.Cancelled:
			return fmt.Errorf("%s was cancelled", s.No)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
