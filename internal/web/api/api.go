package api

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/articles"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/queue"
	"guanjia/internal/register"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
	"guanjia/notify"
	"guanjia/notify/survey"
)

// Deps is what the API stands on.
type Deps struct {
	DB     *db.DB
	Desk   *desk.Desk
	Estate *estate.Estate
	Staff  *staff.Staff
	Queues *queue.Queues
	Book   *wording.Book
	Log    *slog.Logger
	// Notices may be nil; then there are no calls of notices.
	Notices *notify.Notices
	// Articles may be nil; then there are no calls of the knowledge base.
	Articles *articles.Articles
	// Surveys may be nil; then there are no calls of surveys.
	Surveys *survey.Surveys
	// Register may be nil; then there are no calls of the registers.
	Register *register.Register
}

// API serves /api/v1.
type API struct {
	db     *db.DB
	desk   *desk.Desk
	estate *estate.Estate
	staff  *staff.Staff
	queues *queue.Queues
	book   *wording.Book
	log    *slog.Logger

	articles *articles.Articles
	notices  *notify.Notices
	register *register.Register
	surveys  *survey.Surveys
}

// New builds the API.
func New(d Deps) *API {
	return &API{db: d.DB, desk: d.Desk, estate: d.Estate, staff: d.Staff, queues: d.Queues, book: d.Book, log: d.Log, register: d.Register, articles: d.Articles, notices: d.Notices, surveys: d.Surveys}
}

// Routes mounts the API below the given router.
func (a *API) Routes(r chi.Router) {
	r.Get("/openapi.json", a.describe)
	r.Group(func(r chi.Router) {
		r.Use(a.readable, a.authenticate)
		r.Get("/cases", a.handle(a.listCases))
		r.Post("/cases", a.handle(a.openCase))
		r.Get("/cases/{no}", a.handle(a.showCase))
		r.Post("/cases/{no}/claim", a.handle(a.onCase(a.claim)))
		r.Post("/cases/{no}/reply", a.handle(a.onCase(a.reply)))
		r.Post("/cases/{no}/note", a.handle(a.onCase(a.note)))
		r.Post("/cases/{no}/assign", a.handle(a.onCase(a.assign)))
		r.Post("/cases/{no}/transfer", a.handle(a.onCase(a.transfer)))
		r.Post("/cases/{no}/handle", a.handle(a.onCase(a.markHandled)))
		r.Post("/cases/{no}/close", a.handle(a.onCase(a.closeCase)))
		r.Get("/queues", a.handle(a.listQueues))
		r.Get("/queues/{id}/cases", a.handle(a.queueCases))
		r.Get("/residents", a.handle(a.listResidents))
		a.importRoutes(r)
		if a.register != nil {
			a.registerRoutes(r)
		}
		a.noticeRoutes(r)
		a.surveyRoutes(r)
		if a.articles != nil {
			a.articleRoutes(r)
		}
	})
	r.NotFound(func(w http.ResponseWriter, r *http.Request) { a.fail(w, r, errNotFound) })
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, &problem{status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "this address takes another method"})
	})
}

// result is what a handler answers.
type result struct {
	status int
	body   any
}

func ok(body any) result { return result{status: http.StatusOK, body: body} }

type handler func(r *http.Request, p staff.Principal) (result, error)

type principalKey struct{}

// handle wraps a handler: JSON out, refusals into statuses.
func (a *API) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, _ := r.Context().Value(principalKey{}).(staff.Principal)
		res, err := h(r, p)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		write(w, res.status, res.body)
	}
}

// readable refuses addresses whose values no row can hold: PostgreSQL takes
// neither broken UTF-8 nor a zero character.
func (a *API) readable(next http.Handler) http.Handler {
	fine := func(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fine(r.URL.Path) {
			a.fail(w, r, errNotFound)
			return
		}
		for name, values := range r.URL.Query() {
			if !fine(name) || slices.ContainsFunc(values, func(s string) bool { return !fine(s) }) {
				a.fail(w, r, badRequest(strings.ToValidUTF8(name, ""), "holds characters that are no text"))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// authenticate settles who calls by the bearer token.
func (a *API) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !found || token == "" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			a.fail(w, r, errUnauthorized)
			return
		}
		p, ok, err := a.staff.ByToken(r.Context(), a.db, token)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		if !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			a.fail(w, r, errUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, p)))
	})
}

// actor is the principal as the desk knows him. An administrator's token that
// belongs to no member acts in its own right.
func actor(p staff.Principal) desk.By {
	return desk.By{CompanyID: p.CompanyID, UserID: p.Member.UserID, Name: p.Name(), Via: "api", Trusted: p.Admin}
}

func routeOf(r *http.Request) string {
	if c := chi.RouteContext(r.Context()); c != nil {
		return c.RoutePattern()
	}
	return ""
}
