package console

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/register"
	"guanjia/internal/staff"
)

// actOnPublication ticks a form off, or notes that the information
// officer has completed the row.
func (c *Console) actOnPublication(r *http.Request, p staff.Principal) (shown, error) {
	ctx := r.Context()
	if !p.May(staff.RightWriteNotice) {
		c.sessions.Put(ctx, "problem", c.Book.Label("console", "refused"))
		return shown{redirect: "/console/publications"}, nil
	}
	x, found, err := c.Register.ByNo(ctx, c.DB, p.CompanyID, strings.ToUpper(chi.URLParam(r, "no")))
	if err != nil {
		return shown{}, err
	}
	if !found {
		return shown{}, desk.ErrNotFound
	}
	r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	act := register.Act{Person: register.Person{ID: p.UserID(), Name: p.Name()}, At: c.Clock.Now()}
	action, words := chi.URLParam(r, "action"), strings.TrimSpace(r.PostFormValue("words"))
	if action != "tick" && action != "complete" {
		return shown{}, desk.ErrNotFound
	}
	err = c.DB.InTx(ctx, "console.publication", func(ctx context.Context, tx *db.Tx) error {
		if action == "complete" {
			return c.Register.RegisteredTx(ctx, tx, x.Ref, act, words)
		}
		if f := r.PostFormValue("form"); register.ByPerson(f) {
			return c.Register.TickFormTx(ctx, tx, x.Ref, register.Form{Form: f, Detail: words, Act: act})
		}
		return register.ErrForm
	})
	switch {
	case errors.Is(err, register.ErrForm):
		c.sessions.Put(ctx, "problem", c.Book.Label("console", "refused"))
	case err != nil:
		return shown{}, err
	default:
		c.sessions.Put(ctx, "notice", c.Book.Label("console", "done"))
	}
	return shown{redirect: "/console/publications?month=" + x.Author.At.In(china).Format("2006-01") + "#" + x.No}, nil
}

// byPerson are the forms that a person ticks off.
func byPerson() []string {
	var list []string
	for _, f := range register.Forms() {
		if register.ByPerson(f) {
			list = append(list, f)
		}
	}
	return list
}

// noticeFuncs are what the pages of notices may call.
func (c *Console) noticeFuncs() template.FuncMap {
	return template.FuncMap{
		"dict": func(kv ...any) map[string]any {
			m := make(map[string]any, len(kv)/2)
			for i := 0; i+1 < len(kv); i += 2 {
				if k, ok := kv[i].(string); ok {
					m[k] = kv[i+1]
				}
			}
			return m
		},
		"yuan":  func(fen int) string { return fmt.Sprintf("%d.%02d", fen/100, fen%100) },
		"chars": func(s string) int { return len([]rune(s)) },
		"forms": byPerson,
		"form":  func(code string) string { return c.Book.Label("publication_form", code) },
		"skip":  func(code string) string { return c.Book.Label("notice_skip", code) },
		"pausedwhy": func(code string) string {
			kind, detail, _ := strings.Cut(code, ":")
			return strings.TrimSpace(c.Book.Label("notice_paused", kind) + " " + detail)
		},
		"percent": func(n, of int) int {
			if of == 0 {
				return 0
			}
			return n * 100 / of
		},
		"outcome": func(code string) string {
			for _, x := range c.Notices.Outcomes() {
				if x.Code == code {
					return x.Text
				}
			}
			return code
		},
		"date": func(t time.Time) string {
			if t.IsZero() {
				return "—"
			}
			return t.In(china).Format("2006-01-02 15:04")
		},
	}
}
