package api

import (
	"bytes"
	"errors"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/register"
	"guanjia/internal/staff"
)

func (a *API) registerRoutes(r chi.Router) {
	r.Get("/registers/publications", a.publications)
}

// publications gives the publication register as JSON, Excel or printed page.
func (a *API) publications(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(principalKey{}).(staff.Principal)
	q := r.URL.Query()
	format := register.Format(q.Get("format"))
	if format == "" {
		format = register.JSON
	}
	from, to, err := periodOf(q.Get("from"), q.Get("to"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	var b bytes.Buffer // so that a failure halfway is an error and no half file
	err = a.register.ExportPublications(r.Context(), p.CompanyID, register.Filter{From: from, To: to, Project: q.Get("project"), Kind: q.Get("kind")}, format, &b)
	switch {
	case errors.Is(err, register.ErrFormat):
		err = badRequest("format", "must be json, xlsx or html")
	case errors.Is(err, register.ErrTooMany):
		err = &problem{status: http.StatusUnprocessableEntity, Code: "too_many", Message: "choose a shorter period", Field: "from"}
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", format.ContentType())
	if format == register.Excel {
		w.Header().Set("Content-Disposition", `attachment; filename="publications.xlsx"`)
	}
	_, _ = w.Write(b.Bytes()) // the reader has gone; there is nobody to tell
}

// periodOf reads from (inclusive) and to (inclusive as a day, exclusive as a
// moment). Days are those of China, the only zone there.
func periodOf(from, to string) (time.Time, time.Time, error) {
	f, _, err := dayOf("from", from)
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	t, day, err := dayOf("to", to)
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	if day {
		t = t.AddDate(0, 0, 1)
	}
	if !f.IsZero() && !t.IsZero() && !f.Before(t) {
		return time.Time{}, time.Time{}, badRequest("to", "must not lie before from")
	}
	return f, t, nil
}

func dayOf(field, s string) (t time.Time, day bool, err error) {
	if s == "" {
		return time.Time{}, false, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, false, nil
	}
	t, err = time.ParseInLocation("2006-01-02", s, time.FixedZone("Asia/Shanghai", 8*3600))
	if err != nil {
		return time.Time{}, false, badRequest(field, "must be a day (2026-03-01) or a time (RFC 3339)")
	}
	return t, true, nil
}
