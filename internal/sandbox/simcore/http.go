package simcore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxControlBody bounds the bodies of /sim/ calls; a world of 100,000
// residents takes about 15 MiB.
const maxControlBody = 64 << 20

// hangFor is how long a time-out fault keeps a connection open when nobody
// gives up earlier and the fault names no time.
const hangFor = 30 * time.Second

// BadInput is a /sim/ body that cannot be taken.
type BadInput struct{ Field, Message string }

func (e *BadInput) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Response is what a vendor's endpoint answers.
type Response struct {
	Status int // 0: 200
	Type   string
	Header http.Header
	Body   []byte
	// Outcome is counted: "ok" or the vendor's code.
	Outcome string
}

// JSON is a Response from a value.
func JSON(outcome string, v any) Response {
	b, err := json.Marshal(v)
	if err != nil {
		return Response{Status: http.StatusInternalServerError, Type: "text/plain", Body: []byte(err.Error()), Outcome: "internal"}
	}
	return Response{Type: "application/json; encoding=utf-8", Body: b, Outcome: outcome}
}

func (p Response) write(w http.ResponseWriter) {
	for k, v := range p.Header {
		w.Header()[k] = v
	}
	if p.Type != "" {
		w.Header().Set("Content-Type", p.Type)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(p.Body)))
	w.WriteHeader(max(p.Status, http.StatusOK))
	_, _ = w.Write(p.Body) // a caller who has gone is not our trouble
}

// Apply answers one call of a vendor's HTTP endpoint: it takes the fault
// that strikes the target, runs do where the call is accepted, counts the
// outcome and writes the answer. The request's body must have been read
// before, else a caller who gives up is noticed late. fail makes the
// vendor's error body from a fault's code.
func (c *Core) Apply(w http.ResponseWriter, r *http.Request, target string, m Match, fail func(code Code) Response, do func() Response) {
	f := c.Faults.Take(target, m)
	if f == nil {
		p := do()
		c.Counters.Call(target, p.Outcome)
		p.write(w)
		return
	}
	switch f.Kind {
	case FaultErrcode:
		p := fail(f.Code)
		c.Counters.Call(target, p.Outcome)
		p.write(w)
	case FaultHTTP:
		status := f.Code.Int(http.StatusBadGateway)
		if status < 200 || status > 599 {
			status = http.StatusBadGateway
		}
		c.Counters.Call(target, "http_"+strconv.Itoa(status))
		Response{Status: status, Type: "text/html", Body: fmt.Appendf(nil,
			"<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n<center><h1>%d %s</h1></center>\r\n</body>\r\n</html>\r\n",
			status, http.StatusText(status), status, http.StatusText(status))}.write(w)
	case FaultTimeoutBefore:
		c.Counters.Call(target, f.Kind)
		c.hang(r.Context(), f)
	case FaultTimeoutAfterAccept:
		_ = do()
		c.Counters.Call(target, f.Kind)
		c.hang(r.Context(), f)
	case FaultSlow, FaultDelay:
		pause(r.Context(), f.Wait(time.Second))
		p := do()
		c.Counters.Call(target, p.Outcome)
		p.write(w)
	case FaultDuplicate:
		p := do()
		c.Counters.Call(target, p.Outcome)
		c.Counters.Call(target, do().Outcome)
		p.write(w)
	case FaultDisconnect:
		_ = do()
		c.Counters.Call(target, f.Kind)
		panic(http.ErrAbortHandler)
	default: // drop
		c.Counters.Call(target, f.Kind)
		panic(http.ErrAbortHandler)
	}
}

// hang keeps the caller waiting and then closes without an answer.
func (c *Core) hang(ctx context.Context, f *Fault) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	pause(ctx, f.Wait(hangFor))
	panic(http.ErrAbortHandler)
}

// ReadJSON reads the body of a /sim/ call; false after it has answered 400.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControlBody))
	if err == nil && len(b) == 0 {
		return true // every field of every call has a default
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err == nil {
		return true
	}
	var bad *BadInput
	if !errors.As(err, &bad) {
		bad = &BadInput{Message: err.Error()}
	}
	WriteError(w, http.StatusBadRequest, "bad_request", bad.Message, bad.Field)
	return false
}

// WriteJSON answers a /sim/ call.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	Response{Status: status, Type: "application/json; charset=utf-8", Body: b}.write(w)
}

// WriteError answers a /sim/ call with {"error":{"code","message","field"}}.
func WriteError(w http.ResponseWriter, status int, code, message, field string) {
	WriteJSON(w, status, map[string]any{"error": map[string]string{"code": code, "message": message, "field": field}})
}

// NotFound answers a /sim/ call about something that is not simulated.
func NotFound(w http.ResponseWriter, what string) {
	WriteError(w, http.StatusNotFound, "not_found", what+" is not known to the simulator", "")
}

// maxLongPoll bounds ?wait=.
const maxLongPoll = 25 * time.Second

// ServeFeed answers a GET ...?after= on a feed with {"items","last_seq"}.
// With wait=SECONDS it waits that long for the first item. read, when not
// nil, reads something narrower than the whole feed.
func ServeFeed[T any](w http.ResponseWriter, r *http.Request, f *Feed[T], read func(after int64) (items []T, last int64)) {
	if read == nil {
		read = f.After
	}
	after, err := strconv.ParseInt(defaultTo(r.URL.Query().Get("after"), "0"), 10, 64)
	if err != nil {
		WriteError(w, http.StatusBadRequest, "bad_request", "after must be a number", "after")
		return
	}
	n, err := strconv.ParseFloat(defaultTo(r.URL.Query().Get("wait"), "0"), 64)
	if err != nil || !(n >= 0) {
		WriteError(w, http.StatusBadRequest, "bad_request", "wait must be a number of seconds", "wait")
		return
	}
	items, last := read(after)
	if n > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), time.Duration(min(n, maxLongPoll.Seconds())*float64(time.Second)))
		defer cancel()
		for len(items) == 0 && ctx.Err() == nil {
			f.Wait(ctx, max(last, after))
			items, last = read(after)
		}
	}
	if items == nil {
		items = []T{}
	}
	WriteJSON(w, http.StatusOK, map[string]any{"items": items, "last_seq": last})
}

func defaultTo(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
