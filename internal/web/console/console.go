package console

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/chi/v5"

	"guanjia/internal/articles"
	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/media"
	"guanjia/internal/queue"
	"guanjia/internal/register"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
	"guanjia/notify"
	"guanjia/notify/survey"
)

// Deps is what the console stands on.
type Deps struct {
	DB        *db.DB
	Clock     clock.Clock
	Desk      *desk.Desk
	Staff     *staff.Staff
	Queues    *queue.Queues
	Companies *company.Store
	Estate    *estate.Estate     // nil: residents cannot be imported
	Media     *media.Store       // nil: cases have no pictures
	Articles  *articles.Articles // nil: no pages of the knowledge base
	Book      *wording.Book
	Log       *slog.Logger
	Files     fs.FS // templates.Web()
	Secure    bool  // cookies only over HTTPS
	// Notices and Register may be nil; then there are no pages of notices.
	Notices  *notify.Notices
	Register *register.Register
	// Surveys may be nil; then there are no pages of surveys.
	Surveys *survey.Surveys
}

// Console serves the pages.
type Console struct {
	Deps
	pages    map[string]*template.Template
	sessions *scs.SessionManager
}

// idle and lifetime of a sign-in: a shift and a day.
const (
	sessionIdle     = 8 * time.Hour
	sessionLifetime = 24 * time.Hour
)

// pageNames are the pages; each is layout.html with its own content.
var pageNames = []string{"login", "queues", "queue", "cases", "case", "import", "articles", "article", "unanswered", "problem"}

// New parses the pages; an error names the file.
func New(d Deps) (*Console, error) {
	// Not scs.New: it starts a store of its own whose sweeper can't be stopped for
	// sure, since it is told of its stop channel by the very goroutine it starts.
	manager := &scs.SessionManager{Store: sessions{d.DB}, Codec: scs.GobCodec{}}
	c := &Console{Deps: d, pages: map[string]*template.Template{}, sessions: manager}
	c.sessions.IdleTimeout, c.sessions.Lifetime = sessionIdle, sessionLifetime
	c.sessions.Cookie.Name = "guanjia_console"
	c.sessions.Cookie.Path = "/console"
	c.sessions.Cookie.HttpOnly = true
	c.sessions.Cookie.Persist = true
	c.sessions.Cookie.Secure = d.Secure
	c.sessions.Cookie.SameSite = http.SameSiteLaxMode
	c.sessions.ErrorFunc = func(w http.ResponseWriter, r *http.Request, err error) {
		d.Log.ErrorContext(r.Context(), "console session", "error", err)
		http.Error(w, d.Book.Label("console", "unavailable"), http.StatusServiceUnavailable)
	}
	names := pageNames
	if d.Notices != nil {
		names = slices.Concat(names, noticePages)
	}
	if d.Surveys != nil {
		names = slices.Concat(names, surveyPages)
	}
	for _, name := range names {
		t, err := template.New("layout.html").Funcs(c.funcs()).Funcs(c.noticeFuncs()).Funcs(c.surveyFuncs()).ParseFS(d.Files, "web/console/layout.html", "web/console/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("console: page %s: %w", name, err)
		}
		c.pages[name] = t
	}
	return c, nil
}

// Handler serves everything below /console.
func (c *Console) Handler() http.Handler {
	r := chi.NewRouter()
	guard := http.NewCrossOriginProtection()
	r.Use(headers, guard.Handler)
	r.Get("/assets/{file}", c.asset)
	r.Group(func(r chi.Router) {
		r.Use(c.sessions.LoadAndSave)
		r.Get("/login", c.showLogin)
		r.Post("/login", c.login)
		r.Post("/logout", c.logout)
		r.Group(func(r chi.Router) {
			r.Use(c.signedIn)
			r.Get("/", c.page(c.queuesPage))
			r.Get("/queues/{id}", c.page(c.queuePage))
			r.Get("/cases", c.page(c.casesPage))
			r.Get("/cases/{no}", c.page(c.casePage))
			r.Get("/cases/{no}/files/{id}", c.caseFile)
			r.Post("/cases/{no}/{action}", c.page(c.act))
			c.noticeRoutes(r)
			c.surveyRoutes(r)
			r.Get("/import", c.page(c.importPage))
			r.Post("/import", c.page(c.importFile))
			if c.Articles != nil {
				c.articleRoutes(r)
			}
		})
	})
	return r
}

// headers forbid what the pages never do.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// assets are the files a page may load.
var assets = map[string]string{
	"console.css": "text/css; charset=utf-8",
	"htmx.min.js": "text/javascript; charset=utf-8",
}

func (c *Console) asset(w http.ResponseWriter, r *http.Request) {
	name := chi.URLParam(r, "file")
	kind, ok := assets[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	b, err := fs.ReadFile(c.Files, "web/console/"+name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "max-age=3600")
	_, _ = w.Write(b) // the reader has gone
}

// view is what every page gets.
type view struct {
	Title    string
	User     string
	Company  string
	Nav      string
	Notice   string // what the last action did
	Problem  string // why the last action was refused
	Notices  bool   // there are pages of notices
	Import   bool   // residents may be imported
	Articles bool   // there is a knowledge base
	Surveys  bool   // there are pages of surveys
	Data     any
}

type principalKey struct{}

const sessionUser = "user"

// signedIn sends whoever has no session to the sign-in page.
func (c *Console) signedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := c.sessions.GetString(r.Context(), sessionUser)
		p, ok, err := c.Staff.PrincipalOf(r.Context(), c.DB, user)
		if err != nil {
			c.unavailable(w, r, err)
			return
		}
		if user == "" || !ok {
			if r.Header.Get("HX-Request") != "" {
				w.Header().Set("HX-Redirect", "/console/login")
				return
			}
			http.Redirect(w, r, "/console/login", http.StatusSeeOther)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, p)))
	})
}

func (c *Console) showLogin(w http.ResponseWriter, r *http.Request) {
	c.render(w, r, http.StatusOK, "login", view{Title: c.Book.Label("console", "login")})
}

func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	user := r.PostFormValue("user")
	_, err := c.Staff.Authenticate(r.Context(), user, r.PostFormValue("password"))
	switch {
	case errors.Is(err, staff.ErrSignIn):
		c.render(w, r, http.StatusUnauthorized, "login", view{Title: c.Book.Label("console", "login"), Problem: c.Book.Label("console", "wrong_password"), Data: user})
		return
	case errors.Is(err, staff.ErrLocked):
		c.render(w, r, http.StatusTooManyRequests, "login", view{Title: c.Book.Label("console", "login"), Problem: c.Book.Label("console", "locked"), Data: user})
		return
	case err != nil:
		c.unavailable(w, r, err)
		return
	}
	// A new token at sign-in, so that one planted before is worthless.
	if err := c.sessions.RenewToken(r.Context()); err != nil {
		c.unavailable(w, r, err)
		return
	}
	c.sessions.Put(r.Context(), sessionUser, user)
	http.Redirect(w, r, "/console/", http.StatusSeeOther)
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	if err := c.sessions.Destroy(r.Context()); err != nil {
		c.unavailable(w, r, err)
		return
	}
	http.Redirect(w, r, "/console/login", http.StatusSeeOther)
}

func (c *Console) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	c.Log.ErrorContext(r.Context(), "console page failed", "error", err)
	key, status := "failed", http.StatusInternalServerError
	if db.IsUnavailable(err) {
		key, status = "unavailable", http.StatusServiceUnavailable
	}
	c.render(w, r, status, "problem", view{Title: c.Book.Label("console", "problem"), Problem: c.Book.Label("console", key)})
}

func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, page string, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := c.pages[page].Execute(w, v); err != nil {
		c.Log.ErrorContext(r.Context(), "console page not written", "page", page, "error", err)
	}
}
