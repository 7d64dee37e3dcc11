package sms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"guanjia/internal/db"
)

// domain is the vendor's address. It is pinned: the SDK's own table sends one
// region to an internal host.
const domain = "dysmsapi.aliyuncs.com"

const (
	dialTimeout = 2 * time.Second
	tlsTimeout  = 3 * time.Second
	callTimeout = 6 * time.Second
	maxAnswer   = 1 << 20
)

var (
	errRedirect = errors.New("redirect refused")
	errPlain    = errors.New("sms call outside https and the configured simulator refused")
	errTooLarge = errors.New("answer too large")
	errInTx     = errors.New("vendor call inside a database transaction")
)

// wire is the shared way out. It is no *http.Transport, so that the SDK, which
// rewrites such a one at every call, leaves it alone.
type wire struct {
	next *http.Transport
	base *url.URL // the simulator's address; nil: the vendor over HTTPS
}

func newWire(base string, workers int) (*wire, error) {
	w := &wire{next: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: tlsTimeout,
		MaxIdleConns:        workers,
		MaxIdleConnsPerHost: workers,
		IdleConnTimeout:     60 * time.Second,
		ForceAttemptHTTP2:   true,
	}}
	if base == "" {
		return w, nil
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" {
		return nil, errors.New("sms base address must be http(s)://host[/prefix]")
	}
	w.base = u
	return w, nil
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != domain || r.URL.Scheme != "https" {
		return nil, errPlain
	}
	r = r.Clone(r.Context())
	if w.base != nil {
		r.URL.Scheme, r.URL.Host, r.Host = w.base.Scheme, w.base.Host, ""
		r.URL.Path = strings.TrimSuffix(w.base.Path, "/") + r.URL.Path
		r.URL.RawPath = ""
	}
	res, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	// 307 and 308 would post the message a second time, to somebody else.
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		_ = res.Body.Close()
		return nil, errRedirect
	}
	res.Body = &limitedBody{ReadCloser: res.Body, left: maxAnswer}
	return res, nil
}

type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

// oneCall is the transport of one worker: the SDK takes no context, so the
// worker leaves it here, and reads here how far the request came.
type oneCall struct {
	wire   http.RoundTripper
	ctx    context.Context
	wrote  atomic.Bool
	status int
	cause  error
}

func (c *oneCall) begin(ctx context.Context) {
	c.ctx, c.status, c.cause = ctx, 0, nil
	c.wrote.Store(false)
}

// RoundTrip implements http.RoundTripper.
func (c *oneCall) RoundTrip(r *http.Request) (*http.Response, error) {
	if db.InTransaction(c.ctx) {
		c.cause = errInTx
		return nil, errInTx
	}
	ctx := httptrace.WithClientTrace(c.ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { c.wrote.Store(true) },
	})
	res, err := c.wire.RoundTrip(r.WithContext(ctx))
	if err != nil {
		c.cause = err
		return nil, err
	}
	c.status = res.StatusCode
	return res, nil
}

// reason names a transport failure in words that tell nothing.
func (c *oneCall) reason() string {
	switch {
	case errors.Is(c.cause, errInTx):
		return "in_transaction"
	case errors.Is(c.cause, errPlain):
		return "not_https"
	case errors.Is(c.cause, errRedirect):
		return "redirect"
	case errors.Is(c.cause, context.DeadlineExceeded), isTimeout(c.cause):
		return "timeout"
	case errors.Is(c.cause, context.Canceled):
		return "cancelled"
	case c.cause != nil && !c.wrote.Load():
		return "no_connection"
	case c.cause != nil:
		return "connection_lost"
	case c.status != 0 && c.status != http.StatusOK:
		return fmt.Sprintf("http_%d", c.status)
	}
	return "bad_answer"
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
