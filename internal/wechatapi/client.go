package wechatapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/clock"
)

// Hosts of the platform, the keys of Options.Bases.
const (
	HostAPI  = "api.weixin.qq.com"
	HostMP   = "mp.weixin.qq.com"
	HostOpen = "open.weixin.qq.com"
)

// Account names one Official Account and its secret.
type Account struct {
	ID     string // ours
	AppID  string
	Secret string
}

// String keeps the secret out of anything that prints an account.
func (a Account) String() string { return "account " + a.ID }

// GoString does the same for %#v.
func (a Account) GoString() string { return a.String() }

// LogValue does the same for slog.
func (a Account) LogValue() slog.Value { return slog.StringValue(a.ID) }

// Options of a Client.
type Options struct {
	// Bases sends a host of the platform elsewhere, e.g.
	// {"api.weixin.qq.com": "http://127.0.0.1:8090/api.weixin.qq.com"}.
	// Hosts that are not named are reached over HTTPS as they are.
	Bases map[string]string
	// Redis shares tokens between nodes; nil for one node.
	Redis  redis.UniversalClient
	Clock  clock.Clock
	Logger *slog.Logger
}

// Client speaks to the platform for any number of accounts. Safe for use by
// several goroutines.
type Client struct {
	http      *http.Client
	transport *transport
	tokens    *tokens
	bases     map[string]*url.URL
	log       *slog.Logger
}

// New makes a Client. It fails only on a base address that is none.
func New(o Options) (*Client, error) {
	tr, err := newTransport(o.Bases)
	if err != nil {
		return nil, fmt.Errorf("wechat api: %w", err)
	}
	c := &Client{
		http: &http.Client{
			Transport: tr,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return ErrRedirect
			},
		},
		transport: tr,
		bases:     tr.bases,
		log:       o.Logger,
	}
	c.tokens = newTokens(o.Redis, o.Clock, o.Logger, c.fetchToken)
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.transport.close() }

// fetchToken asks for the stable token. force_refresh is never set: it kills
// the token that other systems of the company may use.
func (c *Client) fetchToken(ctx context.Context, a Account) (string, time.Duration, error) {
	const api = "token/stable"
	body := map[string]any{
		"grant_type": "client_credential", "appid": a.AppID, "secret": a.Secret, "force_refresh": false,
	}
	var out struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	err := c.post(ctx, api, "/cgi-bin/stable_token", nil, body, &out)
	if err != nil {
		var e *Error
		// The same code means "token refused" elsewhere and "AppSecret wrong" here.
		if errors.As(err, &e) && e.Class == ClassToken {
			e.Class, e.why = ClassAccount, "AppSecret wrong"
		}
		// Asking again for a token harms nobody.
		if errors.As(err, &e) && e.Class == ClassAmbiguous {
			e.Class = ClassRetry
		}
		return "", 0, err
	}
	if out.AccessToken == "" || out.ExpiresIn <= 0 {
		return "", 0, &Error{API: api, Code: CodeNotJSON, Class: ClassRetry, why: "answer without a token"}
	}
	return out.AccessToken, time.Duration(out.ExpiresIn) * time.Second, nil
}

// CheckToken fetches or reuses the account's token: the doctor's question
// whether the credentials and the address allow-list are right.
func (c *Client) CheckToken(ctx context.Context, a Account) error {
	_, err := c.tokens.get(ctx, a)
	return err
}

// authorized makes a call that needs the account's token. When the vendor
// refuses the token, it is replaced and the call repeated once: a refused call
// was not carried out.
func (c *Client) authorized(ctx context.Context, a Account, call func(token url.Values) error) error {
	for attempt := 0; ; attempt++ {
		token, err := c.tokens.get(ctx, a)
		if err != nil {
			return err
		}
		err = call(url.Values{"access_token": {token}})
		var e *Error
		if !errors.As(err, &e) || !isTokenCode(e.Code) {
			return err
		}
		c.tokens.refused(ctx, a.AppID, token)
		if attempt > 0 {
			return err
		}
	}
}

// post sends JSON and reads JSON. out may be nil.
func (c *Client) post(ctx context.Context, api, path string, query url.Values, in, out any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // the platform shows < literally
	if err := enc.Encode(in); err != nil {
		return ownError(api, 0, CodeRefused, "request cannot be encoded", nil)
	}
	return c.call(ctx, api, http.MethodPost, path, query, &buf, out)
}

func (c *Client) get(ctx context.Context, api, path string, query url.Values, out any) error {
	return c.call(ctx, api, http.MethodGet, path, query, nil, out)
}

func (c *Client) call(ctx context.Context, api, method, path string, query url.Values, body *bytes.Buffer, out any) error {
	r, err := c.request(ctx, method, path, query, body)
	if err != nil {
		return ownError(api, 0, CodeRefused, "request cannot be built", nil)
	}
	a, err := c.exchange(ctx, api, r, maxAnswer)
	if err != nil {
		return err
	}
	return decode(api, a, out)
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, body *bytes.Buffer) (*http.Request, error) {
	u := url.URL{Scheme: "https", Host: HostAPI, Path: path, RawQuery: query.Encode()}
	if body == nil {
		return http.NewRequestWithContext(ctx, method, u.String(), nil)
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	return r, nil
}

// decode reads errcode before anything else: HTTP 200 means nothing here.
// Success answers of several calls carry no errcode at all.
func decode(api string, a answer, out any) error {
	var head struct {
		ErrCode *int   `json:"errcode"`
		ErrMsg  string `json:"errmsg"`
	}
	jsonErr := json.Unmarshal(a.body, &head)
	if jsonErr == nil && head.ErrCode != nil && *head.ErrCode != CodeOK {
		return vendorError(api, a.status, *head.ErrCode, head.ErrMsg)
	}
	switch {
	case a.status == http.StatusTooManyRequests:
		e := ownError(api, a.status, CodeHTTP, "too many requests", nil)
		e.Class = ClassThrottled
		return e
	case a.status != http.StatusOK:
		return ownError(api, a.status, CodeHTTP, "", nil)
	case len(bytes.TrimSpace(a.body)) == 0:
		return ownError(api, a.status, CodeEmpty, "empty answer", nil)
	case jsonErr != nil && looksLikeJSON(a.body):
		// Cut off on its way: the call itself was carried out.
		e := ownError(api, a.status, CodeNotJSON, "answer cut off", nil)
		e.Class = ClassAmbiguous
		return e
	case jsonErr != nil:
		return ownError(api, a.status, CodeNotJSON, "", nil)
	}
	if out == nil {
		if head.ErrCode == nil {
			e := ownError(api, a.status, CodeNotJSON, "answer without errcode", nil)
			e.Class = ClassAmbiguous
			return e
		}
		return nil
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		e := ownError(api, a.status, CodeNotJSON, "answer of a wrong shape", nil)
		e.Class = ClassAmbiguous
		return e
	}
	return nil
}

func looksLikeJSON(b []byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) > 0 && (b[0] == '{' || b[0] == '[')
}
