package console

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/articles"
	"guanjia/internal/desk"
	"guanjia/internal/staff"
)

// articleRoutes mounts the pages of the knowledge base.
func (c *Console) articleRoutes(r chi.Router) {
	r.Get("/articles", c.page(c.articlesPage))
	r.Get("/articles/new", c.page(c.newArticlePage))
	r.Post("/articles/new", c.page(c.createArticle))
	r.Get("/articles/unanswered", c.page(c.gapsPage))
	r.Post("/articles/unanswered/{id}", c.page(c.settleGap))
	r.Get("/articles/export", c.exportArticles)
	r.Post("/articles/import", c.page(c.importArticles))
	r.Get("/articles/{id}", c.page(c.articlePage))
	r.Post("/articles/{id}/{action}", c.page(c.actOnArticle))
}

// articlesListed bounds one page of the list.
const articlesListed = 100

type articleRow struct {
	articles.Article
	Due bool
}

func (c *Console) articlesPage(r *http.Request, p staff.Principal) (shown, error) {
	q := r.URL.Query()
	f := articles.Filter{Query: q.Get("q"), Cursor: q.Get("cursor"), Limit: articlesListed}
	which := q.Get("which")
	switch which {
	case "due":
		f.Due = true
	case "pending":
		f.Pending = true
	case "mine":
		f.Owner = p.UserID()
	case string(articles.Draft), string(articles.Approved), string(articles.Retired):
		f.State = articles.State(which)
	}
	list, next, err := c.Articles.List(r.Context(), c.DB, p.CompanyID, f)
	if err != nil {
		return shown{}, err
	}
	rows := make([]articleRow, len(list))
	for i, a := range list {
		rows[i] = articleRow{a, a.ReviewDue(c.Clock.Now())}
	}
	more := ""
	if next != "" {
		more = "/console/articles?" + url.Values{"q": {f.Query}, "which": {which}, "cursor": {next}}.Encode()
	}
	return shown{page: "articles", view: view{Title: c.Book.Label("console", "articles"), Nav: "articles", Data: map[string]any{
		"Articles": rows, "Query": f.Query, "Which": which, "More": more,
		"MayWrite": p.May(staff.RightWriteArticle), "MayApprove": p.May(staff.RightApproveArticle),
	}}}, nil
}

// articleForm is what stands in the form of an article.
type articleForm struct {
	Head    articles.Head
	Content articles.Content
	Version int64
}

func (c *Console) newArticlePage(r *http.Request, p staff.Principal) (shown, error) {
	// A question that nobody could answer may be where an article begins.
	form := articleForm{Content: articles.Content{Question: r.URL.Query().Get("question")}}
	return c.showArticle(r, p, articles.Article{}, form, "")
}

func (c *Console) articlePage(r *http.Request, p staff.Principal) (shown, error) {
	a, err := c.Articles.ByID(r.Context(), c.DB, p.CompanyID, chi.URLParam(r, "id"))
	if err != nil {
		return shown{}, noSuchArticle(err)
	}
	return c.showArticle(r, p, a, articleForm{Head: articles.Head{Code: a.Code, Owner: a.Owner, ReviewAt: a.ReviewAt}, Content: a.Newest.Content, Version: a.Version}, "")
}

// showArticle renders an article with a form; refused says why what was typed
// was not taken.
func (c *Console) showArticle(r *http.Request, p staff.Principal, a articles.Article, form articleForm, refused string) (shown, error) {
	ctx := r.Context()
	projects, err := c.Articles.Estate.Projects(ctx, c.DB, p.CompanyID)
	if err != nil {
		return shown{}, err
	}
	data := map[string]any{
		"Article": a, "Form": form, "Refused": refused, "Projects": projects, "Topics": c.Book.Labels("topic"), "Due": a.ReviewDue(c.Clock.Now()),
		"MayWrite": p.May(staff.RightWriteArticle), "MayApprove": p.May(staff.RightApproveArticle),
	}
	title := c.Book.Label("console", "article_new")
	if a.ID != "" {
		title = a.Code
		if data["Versions"], err = c.Articles.Versions(ctx, c.DB, a.ID); err != nil {
			return shown{}, err
		}
		if data["Disliked"], err = c.Articles.Disliked(ctx, c.DB, a.ID, 20); err != nil {
			return shown{}, err
		}
	}
	return shown{page: "article", view: view{Title: title, Nav: "articles", Data: data}}, nil
}

func (c *Console) createArticle(r *http.Request, p staff.Principal) (shown, error) {
	form, err := readArticle(r)
	if err != nil {
		return c.refusedArticle(r, p, articles.Article{}, form, err)
	}
	a, err := c.Articles.Create(r.Context(), p, form.Head, form.Content)
	if err != nil {
		return c.refusedArticle(r, p, articles.Article{}, form, err)
	}
	c.sessions.Put(r.Context(), "notice", c.Book.Label("console", "done"))
	return shown{redirect: "/console/articles/" + a.ID}, nil
}

// refusedArticle shows the form again with what was typed and why it was refused.
func (c *Console) refusedArticle(r *http.Request, p staff.Principal, a articles.Article, form articleForm, err error) (shown, error) {
	words, ok := c.articleWords(err)
	if !ok {
		return shown{}, err
	}
	return c.showArticle(r, p, a, form, words)
}

func (c *Console) articleWords(err error) (string, bool) {
	var bad *articles.BadLine
	if errors.As(err, &bad) {
		return c.Book.Label("console", "article_line") + strconv.Itoa(bad.Line) + ": " + bad.Reason, true
	}
	var refused *articles.Refused
	if !errors.As(err, &refused) {
		return "", false
	}
	words := c.Book.Label("article_refused", refused.Code)
	if refused.Reason != "" {
		words += "：" + refused.Reason
	}
	return words, true
}

// noSuchArticle turns the refusal into the page that says so.
func noSuchArticle(err error) error {
	var refused *articles.Refused
	if errors.As(err, &refused) && refused.Code == articles.RefusedNotFound {
		return desk.ErrNotFound
	}
	return err
}

// readArticle reads the form: one phrasing a line, buildings by comma, days as
// the browser writes them.
func readArticle(r *http.Request) (articleForm, error) {
	form := articleForm{
		Head: articles.Head{Code: strings.TrimSpace(r.PostFormValue("code")), Owner: strings.TrimSpace(r.PostFormValue("owner"))},
		Content: articles.Content{
			Question: r.PostFormValue("question"), Phrasings: strings.Split(strings.ReplaceAll(r.PostFormValue("phrasings"), "\r", ""), "\n"),
			Answer: strings.ReplaceAll(r.PostFormValue("answer"), "\r", ""), Topic: r.PostFormValue("topic"), ProjectID: r.PostFormValue("project"),
			Buildings: strings.FieldsFunc(r.PostFormValue("buildings"), func(x rune) bool { return x == ',' || x == '，' || x == '、' || x == ' ' }),
		},
	}
	form.Version, _ = strconv.ParseInt(r.PostFormValue("version"), 10, 64) // 0 takes whatever is there
	var err error
	for _, f := range []struct {
		name string
		into *time.Time
		code string
	}{{"review_at", &form.Head.ReviewAt, articles.RefusedReview}, {"valid_from", &form.Content.ValidFrom, articles.RefusedValid}, {"valid_until", &form.Content.ValidUntil, articles.RefusedValid}} {
		day := r.PostFormValue(f.name)
		if day == "" {
			continue
		}
		t, wrong := time.ParseInLocation("2006-01-02", day, china)
		if wrong != nil {
			err = &articles.Refused{Code: f.code, Field: f.name}
			continue
		}
		*f.into = t
	}
	return form, err
}

// actOnArticle runs one action of the article page.
func (c *Console) actOnArticle(r *http.Request, p staff.Principal) (shown, error) {
	ctx, id := r.Context(), chi.URLParam(r, "id")
	form, err := readArticle(r)
	if err == nil {
		switch chi.URLParam(r, "action") {
		case "update":
			_, err = c.Articles.Update(ctx, p, id, form.Version, form.Head, form.Content)
		case "approve":
			_, err = c.Articles.Approve(ctx, p, id, form.Version)
		case "retire":
			_, err = c.Articles.Retire(ctx, p, id, form.Version)
		case "restore":
			_, err = c.Articles.Restore(ctx, p, id, form.Version)
		case "review":
			_, err = c.Articles.Reviewed(ctx, p, id, form.Version, form.Head.ReviewAt)
		default:
			return shown{}, desk.ErrNotFound
		}
	}
	if err == nil {
		c.sessions.Put(ctx, "notice", c.Book.Label("console", "done"))
		return shown{redirect: "/console/articles/" + url.PathEscape(id)}, nil
	}
	if chi.URLParam(r, "action") == "update" {
		a, wrong := c.Articles.ByID(ctx, c.DB, p.CompanyID, id)
		if wrong != nil {
			return shown{}, noSuchArticle(wrong)
		}
		return c.refusedArticle(r, p, a, form, err)
	}
	words, ok := c.articleWords(err)
	if !ok || errors.Is(noSuchArticle(err), desk.ErrNotFound) {
		return shown{}, noSuchArticle(err)
	}
	c.sessions.Put(ctx, "problem", words)
	return shown{redirect: "/console/articles/" + url.PathEscape(id)}, nil
}

func (c *Console) gapsPage(r *http.Request, p staff.Principal) (shown, error) {
	q := r.URL.Query()
	owner := ""
	if q.Get("mine") != "" {
		owner = p.UserID()
	}
	gaps, next, err := c.Articles.Gaps(r.Context(), c.DB, p.CompanyID, owner, q.Get("cursor"), articlesListed)
	if err != nil {
		return shown{}, err
	}
	more := ""
	if next != "" {
		more = "/console/articles/unanswered?" + url.Values{"mine": {q.Get("mine")}, "cursor": {next}}.Encode()
	}
	return shown{page: "unanswered", view: view{Title: c.Book.Label("console", "unanswered"), Nav: "articles",
		Data: map[string]any{"Gaps": gaps, "Mine": owner != "", "More": more, "MayWrite": p.May(staff.RightWriteArticle)}}}, nil
}

func (c *Console) settleGap(r *http.Request, p staff.Principal) (shown, error) {
	err := c.Articles.Settle(r.Context(), p, chi.URLParam(r, "id"))
	if words, ok := c.articleWords(err); ok {
		c.sessions.Put(r.Context(), "problem", words)
	} else if err != nil {
		return shown{}, err
	}
	return shown{redirect: "/console/articles/unanswered"}, nil
}

func (c *Console) exportArticles(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(principalKey{}).(staff.Principal)
	var body bytes.Buffer
	if err := c.Articles.Export(r.Context(), c.DB, p.CompanyID, &body); err != nil {
		c.unavailable(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="articles.jsonl"`)
	_, _ = body.WriteTo(w) // the reader has gone
}

// importArticles takes a file; what it brings waits for approval.
func (c *Console) importArticles(r *http.Request, p staff.Principal) (shown, error) {
	ctx := r.Context()
	r.Body = http.MaxBytesReader(nil, r.Body, articles.MaxFile)
	file, _, err := r.FormFile("file")
	if err != nil {
		c.sessions.Put(ctx, "problem", c.Book.Label("console", "article_file"))
		return shown{redirect: "/console/articles"}, nil
	}
	defer file.Close()
	in, err := c.Articles.ImportFile(ctx, p, file, false, false)
	if words, ok := c.articleWords(err); ok {
		c.sessions.Put(ctx, "problem", words)
		return shown{redirect: "/console/articles"}, nil
	}
	if err != nil {
		return shown{}, err
	}
	text, err := c.Book.Say("article.imported", map[string]string{"new": strconv.Itoa(in.New), "changed": strconv.Itoa(in.Changed), "same": strconv.Itoa(in.Same)})
	if err != nil {
		return shown{}, err
	}
	c.sessions.Put(ctx, "notice", text.String())
	return shown{redirect: "/console/articles?which=pending"}, nil
}
