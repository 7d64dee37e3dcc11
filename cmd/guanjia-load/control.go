package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/sandbox/simcore"
)

// control speaks to the simulators (/sim) and to the product's API.
type control struct {
	ready sample.Ready
	http  *http.Client
}

func newControl(ready sample.Ready) *control {
	return &control{ready: ready, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

func (c *control) close() { c.http.CloseIdleConnections() }

// chatItem is a line of a resident's chat.
type chatItem struct {
	Seq  int64     `json:"seq"`
	At   time.Time `json:"at"`
	From string    `json:"from"`
	Kind string    `json:"kind"`
	Text string    `json:"text"`
}

// pushed is what an action of a resident came back with.
type pushed struct {
	Attempts []struct {
		Status int    `json:"status"`
		Error  string `json:"error"`
		Reply  *struct {
			Text string `json:"text"`
		} `json:"reply"`
	} `json:"attempts"`
}

// acknowledged tells whether the product took the message in.
func (p pushed) acknowledged() bool {
	for _, a := range p.Attempts {
		if a.Status == http.StatusOK && a.Error == "" {
			return true
		}
	}
	return false
}

func (p pushed) reply() string {
	for _, a := range p.Attempts {
		if a.Reply != nil {
			return a.Reply.Text
		}
	}
	return ""
}

// caseView is a case as the API shows it.
type caseView struct {
	No     string  `json:"no"`
	State  string  `json:"state"`
	Queue  string  `json:"queue"`
	Owner  *string `json:"owner"`
	Events []struct {
		Kind string `json:"kind"`
		By   string `json:"by"`
		Text string `json:"text"`
	} `json:"events"`
}

func (c caseView) count(kind string) int {
	n := 0
	for _, e := range c.Events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// sim calls the control of the simulators.
func (c *control) sim(ctx context.Context, method, path string, in, out any) error {
	status, err := c.call(ctx, method, c.ready.Sandbox+"/sim"+path, "", in, out)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		return fmt.Errorf("simulators: %s %s: %w", method, strings.SplitN(path, "/", 3)[1], err)
	}
	return nil
}

// api calls the product at an address.
func (c *control) api(ctx context.Context, base, token, method, path string, in, out any) (int, error) {
	status, err := c.call(ctx, method, base+"/api/v1"+path, token, in, out)
	if err != nil {
		return status, fmt.Errorf("api: %w", err)
	}
	return status, nil
}

func (c *control) call(ctx context.Context, method, addr, token string, in, out any) (int, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, addr, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if out != nil && res.StatusCode/100 == 2 {
		if err := json.Unmarshal(raw, out); err != nil {
			return res.StatusCode, fmt.Errorf("answer is not as told: %w", err)
		}
	}
	return res.StatusCode, nil
}

func (c *control) say(ctx context.Context, openID, text string) (pushed, error) {
	var p pushed
	err := c.sim(ctx, http.MethodPost, "/residents/"+url.PathEscape(openID)+"/messages", map[string]any{"type": "text", "text": text}, &p)
	return p, err
}

func (c *control) chat(ctx context.Context, openID string, after int64) (items []chatItem, last int64, err error) {
	var out struct {
		Items   []chatItem `json:"items"`
		LastSeq int64      `json:"last_seq"`
	}
	err = c.sim(ctx, http.MethodGet, fmt.Sprintf("/residents/%s/chat?after=%d", url.PathEscape(openID), after), nil, &out)
	return out.Items, out.LastSeq, err
}

// followers are the residents who follow the account and are bound.
func (c *control) followers(ctx context.Context) ([]string, error) {
	var out struct {
		Residents []struct {
			OpenID    string   `json:"openid"`
			Following bool     `json:"following"`
			BoundTo   []string `json:"bound_to"`
		} `json:"residents"`
	}
	if err := c.sim(ctx, http.MethodGet, "/residents", nil, &out); err != nil {
		return nil, err
	}
	var ids []string
	for _, r := range out.Residents {
		if r.Following && len(r.BoundTo) > 0 {
			ids = append(ids, r.OpenID)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("the simulators know no resident who follows")
	}
	return ids, nil
}

func (c *control) counters(ctx context.Context) (simcore.Report, error) {
	var r simcore.Report
	err := c.sim(ctx, http.MethodGet, "/counters", nil, &r)
	return r, err
}

// outside counts what reached each resident outside an exchange.
func (c *control) outside(ctx context.Context) (map[string]int64, error) {
	r, err := c.counters(ctx)
	if err != nil {
		return nil, err
	}
	n := map[string]int64{}
	for _, a := range r.Addresses {
		switch a.Channel {
		case "service", "template":
			n[a.Address] += a.N
		}
	}
	return n, nil
}

func (c *control) cases(ctx context.Context, base, openID string) ([]caseView, error) {
	var out struct {
		Cases []caseView `json:"cases"`
	}
	status, err := c.api(ctx, base, c.ready.APIToken, http.MethodGet, "/cases?limit=50&resident="+url.QueryEscape(openID), nil, &out)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("api: list cases: status %d", status)
	}
	return out.Cases, err
}

func (c *control) kase(ctx context.Context, base, no string) (caseView, error) {
	var out caseView
	status, err := c.api(ctx, base, c.ready.APIToken, http.MethodGet, "/cases/"+no, nil, &out)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("api: case %s: status %d", no, status)
	}
	return out, err
}

// membersOf are the members who work in the group of a queue, whoever they are.
func (c *control) membersOf(queueID string) (chatID string, userIDs []string) {
	for _, g := range c.ready.Groups {
		if g.Queue == queueID {
			chatID = g.ChatID
		}
	}
	for _, s := range c.ready.Staff {
		for _, g := range s.Groups {
			if g == chatID && (s.Role == "technician" || s.Role == "line_head") {
				userIDs = append(userIDs, s.UserID)
			}
		}
	}
	return chatID, userIDs
}
