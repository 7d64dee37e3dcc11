package wechatapi

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

// Limits of one call. The platform answers within a second or so; a worker
// that waits longer is a worker that sends nothing.
const (
	dialTimeout  = 3 * time.Second
	callTimeout  = 6 * time.Second
	maxAnswer    = 1 << 20  // of an API call
	maxMedia     = 12 << 20 // of a downloaded photo or voice; the platform allows 10 MB
	idlePerHost  = 64
	idleLifetime = 30 * time.Second // shorter than the other side's, which would leave a doubt
)

// transport rewrites the vendor's addresses to the configured ones and refuses
// what must not happen. It is the only way out of this package.
type transport struct {
	next  http.RoundTripper
	bases map[string]*url.URL // vendor's host -> where to go instead
}

// newTransport checks the base addresses: "https://host/prefix", no query.
func newTransport(bases map[string]string) (*transport, error) {
	t := &transport{
		next: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: callTimeout,
			MaxIdleConns:          idlePerHost,
			MaxIdleConnsPerHost:   idlePerHost,
			IdleConnTimeout:       idleLifetime,
			ForceAttemptHTTP2:     true,
		},
		bases: make(map[string]*url.URL, len(bases)),
	}
	for host, raw := range bases {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" {
			return nil, fmt.Errorf("base address of %s must be http(s)://host[/prefix]", host)
		}
		t.bases[host] = u
	}
	return t, nil
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if db.InTransaction(r.Context()) {
		closeBody(r.Body)
		return nil, ErrInTransaction
	}
	if base, ok := t.bases[r.URL.Host]; ok {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host, r.Host = base.Scheme, base.Host, ""
		r.URL.Path = strings.TrimSuffix(base.Path, "/") + r.URL.Path
		r.URL.RawPath = ""
	} else if r.URL.Scheme != "https" {
		closeBody(r.Body)
		return nil, errPlain
	}
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		closeBody(res.Body)
		return nil, ErrRedirect
	}
	return res, nil
}

var errPlain = errors.New("vendor call over plain http refused")

func (t *transport) close() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func closeBody(b io.Closer) {
	if b != nil {
		_ = b.Close()
	}
}

// answer is what came back, read within the limit.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// exchange makes one HTTP request and reads its answer. When it fails, the
// error says whether the request can have been carried out: a connection that
// was never made, or a request of which not a byte was written, is safe to
// repeat; everything later is ambiguous.
func (c *Client) exchange(ctx context.Context, api string, r *http.Request, limit int64) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// Headers first: from here on the vendor may have seen the request.
		WroteHeaders: func() { wrote.Store(true) },
	})
	res, err := c.http.Do(r.WithContext(ctx))
	if err != nil {
		return answer{}, transportError(api, err, wrote.Load())
	}
	defer closeBody(res.Body)
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return answer{}, transportError(api, err, true)
	}
	if int64(len(body)) > limit {
		return answer{}, ownError(api, res.StatusCode, CodeNotJSON, "answer too large", ErrTooLarge)
	}
	return answer{status: res.StatusCode, header: res.Header, body: body}, nil
}

// transportError keeps nothing of the original text: *url.Error prints the
// address with the token in it.
func transportError(api string, err error, wrote bool) *Error {
	for _, refused := range []error{ErrInTransaction, errPlain} {
		if errors.Is(err, refused) {
			return ownError(api, 0, CodeRefused, refused.Error(), refused)
		}
	}
	if errors.Is(err, ErrRedirect) {
		// Something in between answered, not the platform.
		e := ownError(api, 0, CodeRefused, ErrRedirect.Error(), ErrRedirect)
		e.Class = ClassAccount
		return e
	}
	e := ownError(api, 0, CodeTransport, "", nil)
	switch {
	case errors.Is(err, context.Canceled):
		e.cause, e.why = context.Canceled, "given up"
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		e.cause, e.why = context.DeadlineExceeded, "no answer in time"
	default:
		e.why = "connection failed"
	}
	if !wrote {
		e.Class = ClassRetry
		e.why += " before the request was sent"
	}
	return e
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
