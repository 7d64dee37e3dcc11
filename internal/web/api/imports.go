package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/staff"
)

func (a *API) importRoutes(r chi.Router) {
	r.Post("/imports/residents", a.handle(a.importResidents))
}

// importResidents takes an .xlsx file as the body or as the multipart field
// "file". Bad rows are no error: the answer lists them and says that nothing was
// applied.
func (a *API) importResidents(r *http.Request, p staff.Principal) (result, error) {
	if !p.May(staff.RightKeepResidents) {
		return result{}, errForbidden
	}
	q := r.URL.Query()
	dryRun, err := flagOf(q.Get("dry_run"), "dry_run")
	if err != nil {
		return result{}, err
	}
	keep, err := flagOf(q.Get("keep"), "keep")
	if err != nil {
		return result{}, err
	}
	file, err := uploaded(r)
	if err != nil {
		return result{}, a.importRefused(err)
	}
	ctx := r.Context()
	report, err := a.estate.Import(ctx, a.book, p.CompanyID, estate.ImportTarget{Project: q.Get("project"), KeepMissing: keep}, file, !dryRun)
	if err != nil {
		return result{}, a.importRefused(err)
	}
	if report.Applied {
		if err := a.auditImport(ctx, p, report); err != nil {
			return result{}, err
		}
	}
	return ok(report), nil
}

// auditImport notes an import that is done; it names no person.
func (a *API) auditImport(ctx context.Context, p staff.Principal, r estate.ImportReport) error {
	return a.db.InTx(ctx, "audit import", func(ctx context.Context, tx *db.Tx) error {
		return a.staff.AuditTx(ctx, tx, staff.Entry{
			CompanyID: p.CompanyID, Actor: p.UserID(), Action: "import_residents", Object: r.Project.ID,
			Detail: "units " + strconv.Itoa(r.New.Units) + ", residents " + strconv.Itoa(r.New.Residents) + ", changed " + strconv.Itoa(r.Changed) + ", ended " + strconv.Itoa(r.Ended),
		})
	})
}

func (a *API) importRefused(err error) error {
	code, message, known := estate.ImportErrorWords(a.book, err)
	if !known {
		return err
	}
	status := http.StatusUnprocessableEntity
	switch {
	case code == estate.FileTooBig:
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, estate.ErrPlanStale), errors.Is(err, estate.ErrImportBusy):
		status = http.StatusConflict
	}
	field := "file"
	if errors.Is(err, estate.ErrWhichProject) {
		field = "project"
	}
	return &problem{status: status, Code: code, Message: message, Field: field}
}

func flagOf(s, field string) (bool, error) {
	switch s {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	}
	return false, badRequest(field, "must be 1 or 0")
}

// uploaded reads the file of a request, whole: the reader needs its end first.
func uploaded(r *http.Request) ([]byte, error) {
	body := io.Reader(http.MaxBytesReader(nil, r.Body, estate.MaxImportFile+64<<10))
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == "multipart/form-data" {
		if body, err = partOf(body, params["boundary"]); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(io.LimitReader(body, estate.MaxImportFile+1))
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig), len(b) > estate.MaxImportFile:
		return nil, &estate.FileError{Code: estate.FileTooBig}
	case err != nil:
		return nil, badRequest("file", "the upload broke off")
	}
	return b, nil
}

func partOf(body io.Reader, boundary string) (io.Reader, error) {
	parts := multipart.NewReader(body, boundary)
	for {
		part, err := parts.NextPart()
		var tooBig *http.MaxBytesError
		switch {
		case errors.As(err, &tooBig):
			return nil, &estate.FileError{Code: estate.FileTooBig}
		case err != nil:
			return nil, badRequest("file", "the form has no field named file")
		case part.FormName() == "file":
			return part, nil
		}
	}
}
