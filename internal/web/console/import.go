package console

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/staff"
)

// mayImport tells whether a member sees the import page.
func (c *Console) mayImport(p staff.Principal) bool {
	return c.Estate != nil && p.May(staff.RightKeepResidents)
}

func (c *Console) importPage(r *http.Request, p staff.Principal) (shown, error) {
	return c.showImport(r.Context(), p, "", "", "", nil)
}

// showImport renders the page: what was refused, or a report; seen is what the
// button that applies it carries.
func (c *Console) showImport(ctx context.Context, p staff.Principal, chosen, refused, seen string, report *estate.ImportReport) (shown, error) {
	if !c.mayImport(p) {
		return shown{}, desk.ErrNotFound
	}
	projects, err := c.Estate.Projects(ctx, c.DB, p.CompanyID)
	if err != nil {
		return shown{}, err
	}
	more := report != nil && len(report.Changes) == estate.MaxChanges
	return shown{page: "import", view: view{Title: c.Book.Label("console", "import"), Nav: "import", Data: map[string]any{
		"Projects": projects, "Chosen": chosen, "Refused": refused, "Seen": seen, "Report": report, "More": more,
	}}}, nil
}

// importFile previews a file; with the mark of the preview that somebody has
// seen, it applies the file, unless the preview would look otherwise by now.
func (c *Console) importFile(r *http.Request, p staff.Principal) (shown, error) {
	ctx := r.Context()
	if !c.mayImport(p) {
		return shown{}, desk.ErrNotFound
	}
	file, err := uploadedFile(r)
	chosen := r.PostFormValue("project")
	if err != nil {
		return c.importRefused(ctx, p, chosen, err)
	}
	to := estate.ImportTarget{Project: chosen, KeepMissing: r.PostFormValue("keep") == "1"}
	report, err := c.Estate.Import(ctx, c.Book, p.CompanyID, to, file, false)
	if err != nil {
		return c.importRefused(ctx, p, chosen, err)
	}
	mark, err := markOf(file, report)
	if err != nil {
		return shown{}, err
	}
	if seen := r.URL.Query().Get("seen"); seen == mark && len(report.Problems) == 0 {
		if report, err = c.Estate.Import(ctx, c.Book, p.CompanyID, to, file, true); err != nil {
			return c.importRefused(ctx, p, chosen, err)
		}
		if err := c.auditImport(ctx, p, report); err != nil {
			return shown{}, err
		}
	}
	if len(report.Problems) > 0 || report.Applied || len(report.Changes) == 0 {
		mark = ""
	}
	return c.showImport(ctx, p, chosen, "", mark, &report)
}

func (c *Console) importRefused(ctx context.Context, p staff.Principal, chosen string, err error) (shown, error) {
	_, message, ok := estate.ImportErrorWords(c.Book, err)
	switch {
	case errors.Is(err, errNoUpload):
		message = estate.ImportWords(c.Book, "no_file", nil)
	case !ok:
		return shown{}, err
	}
	return c.showImport(ctx, p, chosen, message, "", nil)
}

// auditImport notes an import that is done; it names no person.
func (c *Console) auditImport(ctx context.Context, p staff.Principal, r estate.ImportReport) error {
	return c.DB.InTx(ctx, "audit import", func(ctx context.Context, tx *db.Tx) error {
		return c.Staff.AuditTx(ctx, tx, staff.Entry{
			CompanyID: p.CompanyID, Actor: p.UserID(), Action: "import_residents", Object: r.Project.ID,
			Detail: "units " + strconv.Itoa(r.New.Units) + ", residents " + strconv.Itoa(r.New.Residents) + ", changed " + strconv.Itoa(r.Changed) + ", ended " + strconv.Itoa(r.Ended),
		})
	})
}

// markOf stands for a file and what it would change.
func markOf(file []byte, r estate.ImportReport) (string, error) {
	h := sha256.New()
	h.Write(file)
	if err := json.NewEncoder(h).Encode(r); err != nil {
		return "", fmt.Errorf("console: mark a preview: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

var errNoUpload = errors.New("console: no file was chosen")

// formRoom is what a form takes besides its file, in bytes.
const formRoom = 64 << 10

func uploadedFile(r *http.Request) ([]byte, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, estate.MaxImportFile+formRoom)
	err := r.ParseMultipartForm(estate.MaxImportFile + formRoom) // all in memory: nothing is left in a folder
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return nil, &estate.FileError{Code: estate.FileTooBig}
	case err != nil:
		return nil, errNoUpload
	}
	f, _, err := r.FormFile("file")
	if err != nil {
		return nil, errNoUpload
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("console: read the upload: %w", err)
	}
	return b, nil
}
