package storytest

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
)

// Ready is the part of the ready line that the story needs.
type Ready struct {
	Listen   string            `json:"listen"`
	Sandbox  string            `json:"sandbox"`
	APIToken string            `json:"api_token"`
	Tokens   map[string]string `json:"tokens"`
	Console  struct {
		User     string
		Password string
	} `json:"console"`
	Bot struct {
		Name string `json:"name"`
	} `json:"bot"`
	Queues []struct {
		ID, Name, Line string
	} `json:"queues"`
	Groups []struct {
		ChatID string `json:"chatid"`
		Name   string `json:"name"`
		Queue  string `json:"queue"`
	} `json:"groups"`
	Staff []struct {
		UserID string   `json:"userid"`
		Name   string   `json:"name"`
		Role   string   `json:"role"`
		Groups []string `json:"groups"`
	} `json:"staff"`
}

// Case is a case as the API shows it.
type Case struct {
	No       string
	State    string
	Kind     string
	Category *string
	Priority string
	Queue    string
	Unit     *string
	Owner    *string
	Summary  string
	Rating   *int
	Urges    int
	Measures *string
	Danger   *string
	Events   []struct{ Kind, By, Text string }
	Resident *struct{ ID, OpenID, Name string }
}

// Item is a line of a resident's chat.
type Item struct {
	Seq     int64
	From    string
	Kind    string
	Type    string
	Text    string
	URL     string
	Options []struct{ ID, Text string }
}

// GroupItem is a line of a work group.
type GroupItem struct {
	Seq  int64
	Rev  int64
	From struct {
		Kind   string
		UserID string `json:"userid"`
	}
	Type     string
	Text     string
	Mentions []string
	Card     *struct {
		TaskID  string `json:"task_id"`
		Title   string
		Desc    string
		Rows    []struct{ Key, Value string }
		Buttons []struct{ Key, Text string }
	}
}

// Sent is what a pushed message came back with.
type Sent struct {
	MsgID    string `json:"msg_id"`
	Attempts []struct {
		Status    int
		LatencyMS float64 `json:"latency_ms"`
		Reply     *struct{ Type, Text string }
	}
}

// Reply is the passive reply of the push, or "".
func (s Sent) Reply() string {
	for _, a := range s.Attempts {
		if a.Reply != nil {
			return a.Reply.Text
		}
	}
	return ""
}

// SMS is a message in the inbox.
type SMS struct {
	Seq                          int64
	Phone, Text, Template, State string
}

// Client speaks to a product and its simulators.
type Client struct {
	Ready  Ready
	Listen []string // addresses of the nodes; the next is tried when one refuses
	HTTP   *http.Client
}

// NewClient makes a client of a ready line.
func NewClient(r Ready) *Client {
	return &Client{Ready: r, Listen: []string{r.Listen}, HTTP: &http.Client{Timeout: 30 * time.Second}}
}

// API calls the REST interface with a token; out may be nil.
func (c *Client) API(ctx context.Context, token, method, path string, in, out any) (int, error) {
	var last error
	for _, base := range c.Listen {
		status, err := c.call(ctx, method, base+"/api/v1"+path, token, in, out)
		if err == nil {
			return status, nil
		}
		last = err
	}
	return 0, last
}

// Sim calls the control of the simulators; a status other than 2xx is an error.
func (c *Client) Sim(ctx context.Context, method, path string, in, out any) error {
	status, err := c.call(ctx, method, c.Ready.Sandbox+"/sim"+path, "", in, out)
	if err != nil {
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("%s /sim%s: status %d", method, path, status)
	}
	return nil
}

func (c *Client) call(ctx context.Context, method, addr, token string, in, out any) (int, error) {
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
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.HTTP.Do(req)
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
			return res.StatusCode, fmt.Errorf("%s: %w in %.200s", addr, err, raw)
		}
	}
	return res.StatusCode, nil
}

// Say lets a resident write.
func (c *Client) Say(ctx context.Context, openid, text string) (Sent, error) {
	return c.Push(ctx, openid, "messages", map[string]any{"type": "text", "text": text})
}

// Push lets a resident do anything the control knows.
func (c *Client) Push(ctx context.Context, openid, what string, in any) (Sent, error) {
	var s Sent
	err := c.Sim(ctx, http.MethodPost, "/residents/"+url.PathEscape(openid)+"/"+what, in, &s)
	return s, err
}

// Chat reads a resident's chat.
func (c *Client) Chat(ctx context.Context, openid string, after int64) ([]Item, error) {
	var out struct{ Items []Item }
	err := c.Sim(ctx, http.MethodGet, fmt.Sprintf("/residents/%s/chat?after=%d", url.PathEscape(openid), after), nil, &out)
	return out.Items, err
}

// Group reads a work group.
func (c *Client) Group(ctx context.Context, chatid string, after int64) ([]GroupItem, error) {
	var out struct{ Items []GroupItem }
	err := c.Sim(ctx, http.MethodGet, fmt.Sprintf("/groups/%s/chat?after=%d", url.PathEscape(chatid), after), nil, &out)
	return out.Items, err
}

// Speak lets a member speak in a group.
func (c *Client) Speak(ctx context.Context, chatid, userid, text string) (seq int64, heard bool, err error) {
	var out struct {
		Seq   int64
		Heard bool
	}
	err = c.Sim(ctx, http.MethodPost, "/groups/"+url.PathEscape(chatid)+"/messages", map[string]any{"from": userid, "text": text}, &out)
	return out.Seq, out.Heard, err
}

// Click presses a button of a card.
func (c *Client) Click(ctx context.Context, chatid, userid string, seq int64, key string) (string, error) {
	var out struct{ Status string }
	err := c.Sim(ctx, http.MethodPost, "/groups/"+url.PathEscape(chatid)+"/clicks", map[string]any{"from": userid, "seq": seq, "key": key}, &out)
	return out.Status, err
}

// Inbox reads the SMS of a phone.
func (c *Client) Inbox(ctx context.Context, phone string, after int64) ([]SMS, error) {
	var out struct{ Items []SMS }
	err := c.Sim(ctx, http.MethodGet, fmt.Sprintf("/sms?phone=%s&after=%d", phone, after), nil, &out)
	return out.Items, err
}

// Case reads one case.
func (c *Client) Case(ctx context.Context, no string) (Case, error) {
	var k Case
	status, err := c.API(ctx, c.Ready.APIToken, http.MethodGet, "/cases/"+no, nil, &k)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("case %s: status %d", no, status)
	}
	return k, err
}

// Cases reads the cases of a resident.
func (c *Client) Cases(ctx context.Context, resident string) ([]Case, error) {
	var out struct{ Cases []Case }
	_, err := c.API(ctx, c.Ready.APIToken, http.MethodGet, "/cases?resident="+url.QueryEscape(resident), nil, &out)
	return out.Cases, err
}

// Waiting reads a queue in claim order.
func (c *Client) Waiting(ctx context.Context, queue string) (cases []Case, source string, err error) {
	var out struct {
		Cases  []Case
		Source string
	}
	_, err = c.API(ctx, c.Ready.APIToken, http.MethodGet, "/queues/"+url.PathEscape(queue)+"/cases", nil, &out)
	return out.Cases, out.Source, err
}

// Until asks again until it gets a yes or ctx ends; the last problem is told.
func Until(ctx context.Context, what string, ask func(ctx context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	var last error
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		yes, err := ask(ctx)
		if yes && err == nil {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			if last != nil {
				return fmt.Errorf("%s did not happen: %w", what, last)
			}
			return fmt.Errorf("%s did not happen", what)
		case <-tick.C:
		}
	}
}

// has tells whether text contains all the parts.
func has(text string, parts ...string) error {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return fmt.Errorf("%q is missing in %q", p, text)
		}
	}
	return nil
}
