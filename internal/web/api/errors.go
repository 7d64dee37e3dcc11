package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/wording"
	"guanjia/notify"
)

// problem is the error body of every refused call.
type problem struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
	// Problems are all that is wrong with a notice (422).
	Problems []notify.Problem `json:"problems,omitempty"`
}

func (p *problem) Error() string { return "api: " + p.Code }

func badRequest(field, message string) *problem {
	return &problem{status: http.StatusBadRequest, Code: "bad_request", Message: message, Field: field}
}

var (
	errUnauthorized = &problem{status: http.StatusUnauthorized, Code: "unauthorized", Message: "send a valid token: Authorization: Bearer <token>"}
	errForbidden    = &problem{status: http.StatusForbidden, Code: "forbidden", Message: "this token may not do that"}
	errNotFound     = &problem{status: http.StatusNotFound, Code: "not_found", Message: "there is nothing at this address"}
)

// statusOf gives the status of a refusal by the rules of the desk; what is not
// listed conflicts with the case's present state.
var statusOf = map[string]int{
	desk.RefusedUnknownCase:  http.StatusNotFound,
	desk.RefusedUnbound:      http.StatusForbidden,
	desk.RefusedNoRight:      http.StatusForbidden,
	desk.RefusedTrainee:      http.StatusForbidden,
	desk.RefusedNotYours:     http.StatusForbidden,
	desk.RefusedMeasures:     http.StatusUnprocessableEntity,
	desk.RefusedText:         http.StatusUnprocessableEntity,
	desk.RefusedReason:       http.StatusUnprocessableEntity,
	desk.RefusedUnknownQueue: http.StatusUnprocessableEntity,
	desk.RefusedSameQueue:    http.StatusUnprocessableEntity,
	desk.RefusedUnknownStaff: http.StatusUnprocessableEntity,
	desk.RefusedFollowUp:     http.StatusUnprocessableEntity,
	desk.RefusedHeld:         http.StatusUnprocessableEntity,
	desk.RefusedTooLong:      http.StatusUnprocessableEntity,
	desk.RefusedKind:         http.StatusUnprocessableEntity,
	desk.RefusedCategory:     http.StatusUnprocessableEntity,
	desk.RefusedMode:         http.StatusUnprocessableEntity,
	desk.RefusedResident:     http.StatusUnprocessableEntity,
	desk.RefusedUnreachable:  http.StatusUnprocessableEntity,
	"cursor":                 http.StatusBadRequest,
}

func (a *API) problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var refused *desk.Refused
	if errors.As(err, &refused) {
		status, ok := statusOf[refused.Code]
		if !ok {
			status = http.StatusConflict
		}
		return &problem{status: status, Code: refused.Code, Message: a.words(refused), Field: refused.Field}
	}
	if p, ok := noticeProblem(err); ok {
		return p
	}
	if p := a.articleProblem(err); p != nil {
		return p
	}
	if errors.Is(err, desk.ErrNotFound) {
		return errNotFound
	}
	if db.IsUnavailable(err) {
		return &problem{status: http.StatusServiceUnavailable, Code: "unavailable", Message: "the database is away; try again shortly"}
	}
	return &problem{status: http.StatusInternalServerError, Code: "internal", Message: "something went wrong here; the log knows more"}
}

// words says a refusal as people read it, in the words of the work group.
func (a *API) words(r *desk.Refused) string {
	key := "api." + r.Code
	if !a.book.Has(key) {
		return r.Code
	}
	vars := wording.Vars{}
	for k, v := range r.Args {
		vars[k] = v
	}
	text, err := a.book.Say(key, vars)
	if err != nil {
		return r.Code
	}
	return text.String()
}

func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := a.problemOf(err)
	if p.status >= http.StatusInternalServerError {
		a.log.ErrorContext(r.Context(), "api call failed", "method", r.Method, "route", routeOf(r), "error", err)
	}
	write(w, p.status, map[string]any{"error": p})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the reader has gone; there is nobody to tell
}

// maxBody is the largest request body, in bytes.
const maxBody = 1 << 20

func decode(r *http.Request, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			return badRequest("", "the body holds more than one JSON value")
		}
		return nil
	}
	var kind *json.UnmarshalTypeError
	var tooBig *http.MaxBytesError
	switch {
	case errors.Is(err, io.EOF):
		return badRequest("", "the body is empty; send JSON")
	case errors.As(err, &tooBig):
		return &problem{status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "the body is larger than 1 MiB"}
	case errors.As(err, &kind) && kind.Field != "":
		return badRequest(kind.Field, "must be "+kind.Type.String())
	}
	// encoding/json has no type for this one.
	if name, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		if field, err := strconv.Unquote(name); err == nil {
			return badRequest(field, "there is no such field")
		}
	}
	return badRequest("", "the body is not the expected JSON")
}
