package wecomapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/db"
)

// The vendor's addresses, used when Options leave them empty.
const (
	DefaultQYAPI     = "https://qyapi.weixin.qq.com"
	DefaultSocket    = "wss://openws.work.weixin.qq.com"
	DefaultAuthorize = "https://open.weixin.qq.com"
	DefaultLogin     = "https://login.work.weixin.qq.com"
)

// maxAnswer is how much of an answer is read, in bytes. The vendor's answers
// to the calls made here are far smaller.
const maxAnswer = 1 << 20

// Options configure a Client. The zero value speaks to the vendor without
// sharing tokens.
type Options struct {
	// Base addresses: scheme, host and an optional path prefix, without the
	// final slash. Empty means the vendor's.
	QYAPI, Socket, Authorize, Login string
	// Timeout of one call, 10 s when zero.
	Timeout time.Duration
	// Redis shares access tokens between nodes; nil keeps them in this process.
	Redis redis.UniversalClient
	// Transport carries the requests, a transport of its own when nil.
	Transport http.RoundTripper
	Logger    *slog.Logger
}

// Client speaks to qyapi. It is safe for use by several goroutines.
type Client struct {
	qyapi, socket, authorize, login string
	http                            *http.Client
	timeout                         time.Duration
	tokens                          *tokens
	log                             *slog.Logger
}

// New makes a client. It refuses a base address that isn't an absolute URL.
func New(o Options) (*Client, error) {
	c := &Client{timeout: o.Timeout, log: o.Logger}
	if c.timeout <= 0 {
		c.timeout = 10 * time.Second
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	for _, b := range []struct {
		name, given, vendor string
		schemes             string
		to                  *string
	}{
		{"qyapi", o.QYAPI, DefaultQYAPI, "http https", &c.qyapi},
		{"socket", o.Socket, DefaultSocket, "ws wss", &c.socket},
		{"authorize", o.Authorize, DefaultAuthorize, "http https", &c.authorize},
		{"login", o.Login, DefaultLogin, "http https", &c.login},
	} {
		base, err := checkBase(b.given, b.vendor, b.schemes)
		if err != nil {
			return nil, fmt.Errorf("wecom base address %s: %w", b.name, err)
		}
		*b.to = base
	}
	transport := o.Transport
	if transport == nil {
		transport = newTransport()
	}
	c.http = &http.Client{
		Transport: transport,
		// A redirect would carry the token to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.tokens = newTokens(c, o.Redis)
	return c, nil
}

// SocketURL is the address of the aibot socket.
func (c *Client) SocketURL() string { return c.socket }

// Close releases idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func checkBase(given, vendor, schemes string) (string, error) {
	if given == "" {
		return vendor, nil
	}
	u, err := url.Parse(given)
	if err != nil || u.Host == "" {
		return "", errors.New("not an absolute URL")
	}
	if !strings.Contains(" "+schemes+" ", " "+u.Scheme+" ") {
		return "", fmt.Errorf("scheme must be one of: %s", schemes)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("must carry neither user, query nor fragment")
	}
	return strings.TrimRight(given, "/"), nil
}

func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   3 * time.Second,
		MaxIdleConns:          32,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       60 * time.Second,
		ExpectContinueTimeout: time.Second,
		ForceAttemptHTTP2:     true,
	}
}

// status is the head of every answer.
type status struct {
	ErrCode *int `json:"errcode"`
}

// call does one request and reads its errcode before anything else. query
// holds what must never be seen in an error; body is sent as JSON, a GET when
// nil. An answer that isn't JSON with an errcode is never success.
func (c *Client) call(ctx context.Context, op, path string, query url.Values, body, answer any) error {
	if db.InTransaction(ctx) {
		return &Error{Op: op, Class: ClassRetry, cause: ErrInTransaction}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	// What fails before the first byte of the request is written was provably
	// not accepted; all that fails later may have been.
	var written atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { written.Store(true) },
	})
	req, err := c.request(ctx, path, query, body)
	if err != nil {
		return &Error{Op: op, Class: ClassPermanent, cause: errors.New("the request cannot be built")}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.transportError(op, written.Load())
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &Error{Op: op, Class: ClassAmbiguous, cause: ErrNoAnswer}
	}
	return readAnswer(op, resp.StatusCode, raw, answer)
}

func (c *Client) request(ctx context.Context, path string, query url.Values, body any) (*http.Request, error) {
	method, payload := http.MethodGet, []byte(nil)
	if body != nil {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false) // the vendor's apps show < verbatim
		if err := enc.Encode(body); err != nil {
			return nil, err
		}
		method, payload = http.MethodPost, buf.Bytes()
	}
	req, err := http.NewRequestWithContext(ctx, method, c.qyapi+path+"?"+query.Encode(), bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	return req, nil
}

// transportError leaves out the error of net/http: it prints the whole
// address, and with it the token or key.
func (c *Client) transportError(op string, written bool) error {
	if !written {
		return &Error{Op: op, Class: ClassRetry, cause: ErrNoConnection}
	}
	return &Error{Op: op, Class: ClassAmbiguous, cause: ErrNoAnswer}
}

// readAnswer decides whether an answer means success. HTTP's status serves
// only where the vendor's own is missing: a 4xx never reached the function
// that sends, anything else may have.
func readAnswer(op string, httpStatus int, raw []byte, answer any) error {
	var s status
	if err := json.Unmarshal(raw, &s); err != nil || s.ErrCode == nil {
		class := ClassAmbiguous
		if httpStatus >= 400 && httpStatus < 500 {
			class = ClassRetry
		}
		return &Error{Op: op, Class: class, cause: fmt.Errorf("%w (http %d, %d bytes)", ErrNotJSON, httpStatus, len(raw))}
	}
	if *s.ErrCode != 0 {
		return NewError(op, *s.ErrCode)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return &Error{Op: op, Class: ClassAmbiguous, cause: ErrNotJSON}
	}
	return nil
}
