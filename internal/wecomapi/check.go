package wecomapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// CheckToken asks the vendor for an app's token and keeps nothing, for the
// doctor command: a nil error means that corp id and secret belong together.
func (c *Client) CheckToken(ctx context.Context, corp Corp) error {
	_, _, err := c.tokens.fetch(ctx, corp)
	return err
}

// CheckSocket opens the aibot socket and closes it again, for the doctor
// command. It does not subscribe: that would throw out the node that serves
// the bot.
func (c *Client) CheckSocket(ctx context.Context) error {
	const op = "socket"
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, c.socket, &websocket.DialOptions{HTTPClient: &http.Client{Transport: c.http.Transport}})
	if err != nil {
		status := 0
		if resp != nil {
			status = resp.StatusCode
		}
		return &Error{Op: op, Class: ClassRetry, cause: fmt.Errorf("%w (http %d)", ErrNoConnection, status)}
	}
	// A vendor that doesn't answer the goodbye must not hold the check up.
	timer := time.AfterFunc(time.Second, func() { _ = conn.CloseNow() })
	defer timer.Stop()
	_ = conn.Close(websocket.StatusNormalClosure, "")
	return nil
}
