package h5

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/db"
	"guanjia/internal/wording"
	"guanjia/notify/survey"
)

// Surveys is what the pages need of notify/survey.
type Surveys interface {
	Page(ctx context.Context, token string) (survey.PageView, error)
	Submit(ctx context.Context, token string, f survey.Form) (survey.Outcome, error)
}

// Deps is what the pages stand on.
type Deps struct {
	Surveys Surveys
	Book    *wording.Book
	Log     *slog.Logger
	Files   fs.FS // templates.Web()
}

// Pages serves everything below /h5.
type Pages struct {
	Deps
	form, word *template.Template
	css        []byte
}

// maxForm bounds what a form may send, in bytes: sixty scores and 5,000
// characters, each percent-encoded, with room to spare.
const maxForm = 128 << 10

// New parses the pages; an error names the file.
func New(d Deps) (*Pages, error) {
	p := &Pages{Deps: d}
	funcs := template.FuncMap{"word": func(score int) string { return d.Book.Label("satisfaction", strconv.Itoa(score)) }}
	for name, into := range map[string]**template.Template{"survey": &p.form, "word": &p.word} {
		t, err := template.New("layout.html").Funcs(funcs).ParseFS(d.Files, "web/h5/layout.html", "web/h5/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("h5: page %s: %w", name, err)
		}
		*into = t
	}
	css, err := fs.ReadFile(d.Files, "web/h5/h5.css")
	if err != nil {
		return nil, fmt.Errorf("h5: style: %w", err)
	}
	p.css = css
	return p, nil
}

// Handler serves the pages.
func (p *Pages) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(headers)
	r.Get("/h5.css", p.style)
	r.Get("/s/{token}", p.show)
	r.Post("/s/{token}", p.take)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		p.say(w, r, http.StatusNotFound, words{Title: p.Book.Label("h5", "unknown"), Text: p.Book.Label("h5", "unknown_text")})
	})
	return r
}

// headers forbid what the pages never do. No referrer: the address is a link
// that opens the answer.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Robots-Tag", "noindex")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (p *Pages) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=86400")
	_, _ = w.Write(p.css) // the reader has gone
}

// words is a page that only says something.
type words struct {
	Title, Company, Text, FollowUp string
	// Back offers the form again, at the same address.
	Back bool
}

// page is the form as it is drawn.
type page struct {
	survey.PageView
	Sections []section
	Until    string
	// Problem stands on top when a form was refused; First is the field to mend
	// first, CommentProblem what is wrong with the free text.
	Problem, First, CommentProblem string
}

type section struct {
	Title string
	Lines []line
}

// line is one question with the choices of its scale.
type line struct {
	ID, Text, Problem string
	Required, NPS     bool
	Choices           []choice
}

type choice struct {
	Score   int
	Checked bool
}

func (p *Pages) show(w http.ResponseWriter, r *http.Request) {
	v, err := p.Surveys.Page(r.Context(), chi.URLParam(r, "token"))
	if err != nil {
		p.failed(w, r, err)
		return
	}
	if v.State != survey.PageOpen && v.State != survey.PageAnswered {
		p.say(w, r, statusOf(v.State), words{Title: p.titleOf(v), Company: v.Company, Text: v.Message})
		return
	}
	p.draw(w, r, http.StatusOK, v, nil, "")
}

func (p *Pages) titleOf(v survey.PageView) string {
	if v.Title != "" {
		return v.Title
	}
	return p.Book.Label("h5", "unknown")
}

// statusOf: a link that is none is not found; one that has ended still opens.
func statusOf(s survey.PageState) int {
	if s == survey.PageUnknown {
		return http.StatusNotFound
	}
	return http.StatusOK
}

func (p *Pages) take(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		var large *http.MaxBytesError
		status := http.StatusBadRequest
		if errors.As(err, &large) {
			status = http.StatusRequestEntityTooLarge
		}
		p.say(w, r, status, words{Title: p.Book.Label("h5", "unreadable"), Text: p.Book.Label("h5", "unreadable_text"), Back: true})
		return
	}
	token := chi.URLParam(r, "token")
	form := read(r)
	out, err := p.Surveys.Submit(r.Context(), token, form)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	if out.Kind != survey.BadForm {
		p.done(w, r, token, out)
		return
	}
	v, err := p.Surveys.Page(r.Context(), token)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	p.draw(w, r, http.StatusUnprocessableEntity, kept(v, form), out.Problems, out.Message)
}

// read takes the fields q.<id> and comment; a field given twice counts as its
// last value, as a browser would send it.
func read(r *http.Request) survey.Form {
	f := survey.Form{Scores: map[string]string{}}
	for name, values := range r.PostForm {
		if id, ok := strings.CutPrefix(name, "q."); ok && len(values) > 0 {
			f.Scores[id] = values[len(values)-1]
		}
	}
	f.Comment = r.PostForm.Get("comment")
	return f
}

// kept lets what somebody has filled in stand in the form that is shown again.
func kept(v survey.PageView, f survey.Form) survey.PageView {
	v.Scores = map[string]int{}
	for id, s := range f.Scores {
		if n, err := strconv.Atoi(s); err == nil {
			v.Scores[id] = n
		}
	}
	v.Comment = f.Comment
	return v
}

func (p *Pages) done(w http.ResponseWriter, r *http.Request, token string, out survey.Outcome) {
	v, err := p.Surveys.Page(r.Context(), token)
	if err != nil {
		// The answer is stored; the page about it need not say more than that.
		v = survey.PageView{}
	}
	said := words{Title: p.Book.Label("h5", string(out.Kind)), Company: v.Company, Text: out.Message, Back: v.State == survey.PageAnswered}
	if out.FollowUp != "" {
		said.FollowUp = out.FollowUp
	}
	status := http.StatusOK
	if out.Kind == survey.NoLink {
		status = http.StatusNotFound
	}
	p.say(w, r, status, said)
}

func (p *Pages) draw(w http.ResponseWriter, r *http.Request, status int, v survey.PageView, problems []survey.Problem, problem string) {
	wrong := map[string]string{}
	for _, x := range problems {
		wrong[x.Field] = x.Message
	}
	out := page{PageView: v, Problem: problem, CommentProblem: wrong["comment"]}
	if len(problems) > 0 {
		out.First = problems[0].Field
	}
	// One line says it where the one is part of the other.
	if strings.Contains(v.About, v.Title) {
		out.Title, out.About = v.About, ""
	}
	if !v.Until.IsZero() {
		out.Until = wording.Day(v.Until)
	}
	for _, s := range v.Form.Sections {
		part := section{Title: s.Title}
		for _, q := range s.Questions {
			l := line{ID: q.ID, Text: q.Text, Required: q.Required, NPS: q.Type == survey.NPSQuestion, Problem: wrong["q."+q.ID]}
			given, said := v.Scores[q.ID]
			for n := q.Low(); n <= q.High(); n++ {
				l.Choices = append(l.Choices, choice{Score: n, Checked: said && given == n})
			}
			part.Lines = append(part.Lines, l)
		}
		out.Sections = append(out.Sections, part)
	}
	p.write(w, r, status, p.form, out)
}

func (p *Pages) say(w http.ResponseWriter, r *http.Request, status int, said words) {
	p.write(w, r, status, p.word, said)
}

func (p *Pages) failed(w http.ResponseWriter, r *http.Request, err error) {
	p.Log.ErrorContext(r.Context(), "survey page failed", "error", err)
	status := http.StatusInternalServerError
	if db.IsUnavailable(err) {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
	}
	p.say(w, r, status, words{Title: p.Book.Label("h5", "unavailable"), Text: p.Book.Label("h5", "unavailable_text"), Back: true})
}

const retryAfter = 30 * time.Second

func (p *Pages) write(w http.ResponseWriter, r *http.Request, status int, t *template.Template, data any) {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		p.Log.ErrorContext(r.Context(), "survey page not drawn", "error", err)
		http.Error(w, p.Book.Label("h5", "unavailable_text"), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the reader has gone
}
