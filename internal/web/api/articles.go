package api

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/articles"
	"guanjia/internal/staff"
)

// articleRoutes mounts the knowledge base.
func (a *API) articleRoutes(r chi.Router) {
	r.Get("/articles", a.handle(a.listArticles))
	r.Post("/articles", a.handle(a.createArticle))
	r.Post("/articles/import", a.handle(a.importArticles))
	r.Get("/articles/export", a.exportArticles)
	r.Get("/articles/unanswered", a.handle(a.unanswered))
	r.Post("/articles/unanswered/{id}/settle", a.handle(a.settleUnanswered))
	r.Get("/articles/{id}", a.handle(a.showArticle))
	r.Put("/articles/{id}", a.handle(a.updateArticle))
	r.Post("/articles/{id}/approve", a.handle(a.onArticle(a.articles.Approve)))
	r.Post("/articles/{id}/retire", a.handle(a.onArticle(a.articles.Retire)))
	r.Post("/articles/{id}/restore", a.handle(a.onArticle(a.articles.Restore)))
	r.Post("/articles/{id}/review", a.handle(a.reviewArticle))
}

// articleStatus gives the status of a refusal of the knowledge base.
var articleStatus = map[string]int{
	articles.RefusedForbidden: http.StatusForbidden,
	articles.RefusedNotFound:  http.StatusNotFound,
	articles.RefusedState:     http.StatusConflict,
	articles.RefusedStale:     http.StatusConflict,
}

// articleProblem turns a refusal of the knowledge base into an error body; nil
// for other errors.
func (a *API) articleProblem(err error) *problem {
	var bad *articles.BadLine
	if errors.As(err, &bad) {
		return &problem{status: http.StatusUnprocessableEntity, Code: "bad_line", Field: "line " + strconv.Itoa(bad.Line), Message: bad.Reason}
	}
	var r *articles.Refused
	if !errors.As(err, &r) {
		return nil
	}
	status, ok := articleStatus[r.Code]
	if !ok {
		status = http.StatusUnprocessableEntity
	}
	message := a.book.Label("article_refused", r.Code)
	if r.Reason != "" {
		message += ": " + r.Reason
	}
	return &problem{status: status, Code: r.Code, Field: r.Field, Message: message}
}

type articleView struct {
	ID    string         `json:"id"`
	Code  string         `json:"code"`
	State articles.State `json:"state"`
	// Pending says that the newest version waits for approval.
	Pending   bool       `json:"pending"`
	ReviewDue bool       `json:"review_due"`
	Owner     string     `json:"owner"`
	ReviewAt  *time.Time `json:"review_at"`
	Version   int64      `json:"version"`
	articles.Content
	Author     string          `json:"author"`
	WrittenAt  time.Time       `json:"written_at"`
	ApprovedBy string          `json:"approved_by"`
	ApprovedAt *time.Time      `json:"approved_at"`
	Counts     articleCounts   `json:"counts"`
	Versions   []versionView   `json:"versions,omitempty"`
	Disliked   []dislikedQuote `json:"not_helpful_for,omitempty"`
}

type articleCounts struct {
	Answered   int `json:"answered"`
	Helpful    int `json:"helpful"`
	NotHelpful int `json:"not_helpful"`
}

type versionView struct {
	N int64 `json:"n"`
	articles.Content
	Author     string     `json:"author"`
	WrittenAt  time.Time  `json:"written_at"`
	ApprovedBy string     `json:"approved_by"`
	ApprovedAt *time.Time `json:"approved_at"`
	Live       bool       `json:"live"`
}

type dislikedQuote struct {
	Question string    `json:"question"`
	At       time.Time `json:"at"`
	CaseNo   string    `json:"case_no"`
}

func (a *API) articleView(v articles.Article) articleView {
	return articleView{
		ID: v.ID, Code: v.Code, State: v.State(), Pending: v.Pending(), ReviewDue: v.ReviewDue(a.articles.Now()), Owner: v.Owner,
		ReviewAt: moment(v.ReviewAt), Version: v.Version, Content: v.Newest.Content, Author: v.Newest.Author, WrittenAt: v.Newest.WrittenAt,
		ApprovedBy: v.Newest.ApprovedBy, ApprovedAt: moment(v.Newest.ApprovedAt), Counts: articleCounts{v.Answered, v.Helpful, v.NotHelpful},
	}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (a *API) listArticles(r *http.Request, p staff.Principal) (result, error) {
	q := r.URL.Query()
	limit, err := limitOf(q.Get("limit"))
	if err != nil {
		return result{}, err
	}
	f := articles.Filter{State: articles.State(q.Get("state")), Due: q.Get("due") == "1", Pending: q.Get("pending") == "1",
		Owner: q.Get("owner"), Topic: q.Get("topic"), Query: q.Get("q"), Cursor: q.Get("cursor"), Limit: limit}
	list, next, err := a.articles.List(r.Context(), a.db, p.CompanyID, f)
	if err != nil {
		return result{}, err
	}
	views := make([]articleView, len(list))
	for i, v := range list {
		views[i] = a.articleView(v)
	}
	return ok(map[string]any{"articles": views, "next_cursor": next}), nil
}

func (a *API) showArticle(r *http.Request, p staff.Principal) (result, error) {
	ctx := r.Context()
	found, err := a.articles.ByID(ctx, a.db, p.CompanyID, chi.URLParam(r, "id"))
	if err != nil {
		return result{}, err
	}
	view := a.articleView(found)
	versions, err := a.articles.Versions(ctx, a.db, found.ID)
	if err != nil {
		return result{}, err
	}
	for _, v := range versions {
		view.Versions = append(view.Versions, versionView{N: v.N, Content: v.Content, Author: v.Author, WrittenAt: v.WrittenAt,
			ApprovedBy: v.ApprovedBy, ApprovedAt: moment(v.ApprovedAt), Live: v.N == found.Live})
	}
	disliked, err := a.articles.Disliked(ctx, a.db, found.ID, 20)
	if err != nil {
		return result{}, err
	}
	for _, d := range disliked {
		view.Disliked = append(view.Disliked, dislikedQuote{d.Question, d.AnsweredAt, d.CaseNo})
	}
	return ok(view), nil
}

// articleBody is what a program sends to write an article. Version, where it
// stands, is the version the writer saw.
type articleBody struct {
	articles.Head
	articles.Content
	Version int64 `json:"version"`
}

func (a *API) createArticle(r *http.Request, p staff.Principal) (result, error) {
	var body articleBody
	if err := decode(r, &body); err != nil {
		return result{}, err
	}
	made, err := a.articles.Create(r.Context(), p, body.Head, body.Content)
	if err != nil {
		return result{}, err
	}
	return result{status: http.StatusCreated, body: a.articleView(made)}, nil
}

func (a *API) updateArticle(r *http.Request, p staff.Principal) (result, error) {
	var body articleBody
	if err := decode(r, &body); err != nil {
		return result{}, err
	}
	now, err := a.articles.Update(r.Context(), p, chi.URLParam(r, "id"), body.Version, body.Head, body.Content)
	if err != nil {
		return result{}, err
	}
	return ok(a.articleView(now)), nil
}

// onArticle is an action without a body; ?version= guards against a change meanwhile.
func (a *API) onArticle(act articles.Act) handler {
	return func(r *http.Request, p staff.Principal) (result, error) {
		version, err := versionOf(r)
		if err != nil {
			return result{}, err
		}
		now, err := act(r.Context(), p, chi.URLParam(r, "id"), version)
		if err != nil {
			return result{}, err
		}
		return ok(a.articleView(now)), nil
	}
}

func versionOf(r *http.Request) (int64, error) {
	text := r.URL.Query().Get("version")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, badRequest("version", "must be the version that you saw")
	}
	return n, nil
}

func (a *API) reviewArticle(r *http.Request, p staff.Principal) (result, error) {
	var body struct {
		ReviewAt time.Time `json:"review_at"`
		Version  int64     `json:"version"`
	}
	if err := decode(r, &body); err != nil {
		return result{}, err
	}
	now, err := a.articles.Reviewed(r.Context(), p, chi.URLParam(r, "id"), body.Version, body.ReviewAt)
	if err != nil {
		return result{}, err
	}
	return ok(a.articleView(now)), nil
}

func (a *API) importArticles(r *http.Request, p staff.Principal) (result, error) {
	q := r.URL.Query()
	in, err := a.articles.ImportFile(r.Context(), p, http.MaxBytesReader(nil, r.Body, articles.MaxFile), q.Get("approve") == "1", q.Get("dry_run") == "1")
	if err != nil {
		return result{}, err
	}
	return ok(map[string]any{"new": in.New, "changed": in.Changed, "same": in.Same, "approved": in.Approved, "applied": q.Get("dry_run") != "1"}), nil
}

// exportArticles answers with JSON lines, which import takes again.
func (a *API) exportArticles(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(principalKey{}).(staff.Principal)
	var body bytes.Buffer
	if err := a.articles.Export(r.Context(), a.db, p.CompanyID, &body); err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson; charset=utf-8")
	_, _ = body.WriteTo(w) // the reader has gone
}

type gapView struct {
	ID       string    `json:"id"`
	Question string    `json:"question"`
	Topic    string    `json:"topic"`
	Nearest  string    `json:"nearest"`
	Owner    string    `json:"owner"`
	Score    float64   `json:"score"`
	CaseNo   string    `json:"case_no"`
	AskedAt  time.Time `json:"asked_at"`
}

func (a *API) unanswered(r *http.Request, p staff.Principal) (result, error) {
	q := r.URL.Query()
	limit, err := limitOf(q.Get("limit"))
	if err != nil {
		return result{}, err
	}
	gaps, next, err := a.articles.Gaps(r.Context(), a.db, p.CompanyID, q.Get("owner"), q.Get("cursor"), limit)
	if err != nil {
		return result{}, err
	}
	views := make([]gapView, len(gaps))
	for i, g := range gaps {
		views[i] = gapView(g)
	}
	return ok(map[string]any{"unanswered": views, "next_cursor": next}), nil
}

func (a *API) settleUnanswered(r *http.Request, p staff.Principal) (result, error) {
	if err := a.articles.Settle(r.Context(), p, chi.URLParam(r, "id")); err != nil {
		return result{}, err
	}
	return ok(map[string]any{"settled": true}), nil
}
