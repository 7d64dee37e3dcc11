package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// serverFlags are those of every command that talks to a running server.
type serverFlags struct {
	Server string `help:"Address of the server." env:"GUANJIA_SERVER" placeholder:"URL"`
	Token  string `help:"API token; the variable keeps it out of the list of processes." env:"GUANJIA_TOKEN" placeholder:"TOKEN"`
}

// client calls the API of a running server.
type client struct {
	base, token string
	http        *http.Client
}

// clientTimeout is how long one call may take: a large file is read and compared
// in some seconds.
const clientTimeout = 10 * time.Minute

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 64 << 20

// client checks the flags. An address may leave out /api/v1.
func (s serverFlags) client() (*client, error) {
	if s.Server == "" {
		return nil, errors.New("no server: give --server or set GUANJIA_SERVER")
	}
	if s.Token == "" {
		return nil, errors.New("no token: set GUANJIA_TOKEN, or give --token")
	}
	u, err := url.Parse(s.Server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("server %q is no address; write it as https://guanjia.example.com", s.Server)
	}
	base := strings.TrimSuffix(strings.TrimSuffix(s.Server, "/"), "/api/v1")
	return &client{base: base + "/api/v1", token: s.Token, http: &http.Client{Timeout: clientTimeout}}, nil
}

// apiError is a refusal of the server.
type apiError struct {
	Status   int    `json:"-"`
	Code     string `json:"code"`
	Message  string `json:"message"`
	Field    string `json:"field"`
	Problems []struct {
		Field   string `json:"field"`
		Message string `json:"message"`
	} `json:"problems"`
}

func (e *apiError) Error() string {
	text := e.Message
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	for _, p := range e.Problems {
		text += "\n  " + p.Field + ": " + p.Message
	}
	return fmt.Sprintf("the server refuses (%s): %s", e.Code, text)
}

// call sends a request and decodes the JSON answer into v. The body is JSON,
// unless it is bytes, which go as kind.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body any, kind string, v any) error {
	raw, err := c.raw(ctx, method, path, query, body, kind)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("the server's answer to %s %s is not understood: %w", method, path, err)
	}
	return nil
}

// raw is call for answers that are no JSON.
func (c *client) raw(ctx context.Context, method, path string, query url.Values, body any, kind string) ([]byte, error) {
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		reader, kind = bytes.NewReader(raw), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reach the server: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	if len(raw) > maxAnswer {
		return nil, fmt.Errorf("the server's answer is larger than %d bytes", maxAnswer)
	}
	if res.StatusCode < 300 {
		return raw, nil
	}
	var refused struct{ Error *apiError }
	if err := json.Unmarshal(raw, &refused); err != nil || refused.Error == nil {
		return nil, fmt.Errorf("the server answers %s to %s %s; is this a Guanjia server?", res.Status, method, path)
	}
	refused.Error.Status = res.StatusCode
	return nil, refused.Error
}
