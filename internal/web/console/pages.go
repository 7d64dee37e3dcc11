package console

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/desk"
	"guanjia/internal/media"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// shown is a page to render; a redirect wins.
type shown struct {
	page     string
	view     view
	redirect string
}

// page runs a handler of a signed-in member.
func (c *Console) page(h func(r *http.Request, p staff.Principal) (shown, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, _ := r.Context().Value(principalKey{}).(staff.Principal)
		s, err := h(r, p)
		if errors.Is(err, desk.ErrNotFound) {
			c.render(w, r, http.StatusNotFound, "problem", view{Title: c.Book.Label("console", "problem"), User: p.Name(), Problem: c.Book.Label("console", "not_found")})
			return
		}
		if err != nil {
			c.unavailable(w, r, err)
			return
		}
		if s.redirect != "" {
			http.Redirect(w, r, s.redirect, http.StatusSeeOther)
			return
		}
		s.view.User, s.view.Import, s.view.Notices, s.view.Surveys, s.view.Articles = p.Name(), c.mayImport(p), c.Notices != nil, c.Surveys != nil, c.Articles != nil
		if dir, err := c.Companies.Directory(r.Context()); err == nil {
			owner, _ := dir.Company(p.CompanyID)
			s.view.Company = owner.Name
		}
		if !polls(r) {
			s.view.Notice = c.sessions.PopString(r.Context(), "notice")
			s.view.Problem = c.sessions.PopString(r.Context(), "problem")
		}
		c.render(w, r, http.StatusOK, s.page, s.view)
	}
}

// polls tells whether a page refreshes a part of itself: what is said once must
// wait for a page that shows it.
func polls(r *http.Request) bool { return r.Header.Get("HX-Request") != "" }

type queueRow struct {
	queue.Queue
	queue.Stat
}

func (c *Console) queuesPage(r *http.Request, p staff.Principal) (shown, error) {
	ctx := r.Context()
	queues, err := c.Queues.All(ctx, c.DB, p.CompanyID)
	if err != nil {
		return shown{}, err
	}
	stats, err := c.Queues.Stats(ctx, p.CompanyID)
	if err != nil {
		return shown{}, err
	}
	rows := make([]queueRow, len(queues))
	for i, q := range queues {
		rows[i].Queue = q
		for _, s := range stats {
			if s.QueueID == q.ID {
				rows[i].Stat = s
			}
		}
	}
	mine, err := c.Desk.Mine(ctx, actor(p))
	if err != nil {
		return shown{}, err
	}
	return shown{page: "queues", view: view{Title: c.Book.Label("console", "queues"), Nav: "queues", Data: map[string]any{"Queues": rows, "Mine": mine}}}, nil
}

// listed bounds the waiting cases on a page.
const listed = 100

func (c *Console) queuePage(r *http.Request, p staff.Principal) (shown, error) {
	ctx := r.Context()
	q, found, err := c.Queues.ByID(ctx, c.DB, chi.URLParam(r, "id"))
	if err != nil {
		return shown{}, err
	}
	if !found || q.CompanyID != p.CompanyID {
		return shown{}, desk.ErrNotFound
	}
	waiting, source, err := c.Desk.Queue(ctx, p.CompanyID, q.ID, listed)
	if err != nil {
		return shown{}, err
	}
	all, _, err := c.Desk.List(ctx, p.CompanyID, desk.Filter{QueueID: q.ID, Limit: listed})
	if err != nil {
		return shown{}, err
	}
	var inHand []desk.Case
	for _, k := range all {
		if k.State.InHand() {
			inHand = append(inHand, k)
		}
	}
	return shown{page: "queue", view: view{Title: q.Name, Nav: "queues", Data: map[string]any{"Queue": q, "Waiting": waiting, "InHand": inHand, "Source": source}}}, nil
}

func (c *Console) casesPage(r *http.Request, p staff.Principal) (shown, error) {
	q := r.URL.Query()
	f := desk.Filter{State: q.Get("state"), Query: q.Get("q"), Cursor: q.Get("cursor"), Limit: 50}
	cases, next, err := c.Desk.List(r.Context(), p.CompanyID, f)
	var refused *desk.Refused
	if errors.As(err, &refused) {
		return shown{redirect: "/console/cases"}, nil
	}
	if err != nil {
		return shown{}, err
	}
	more := ""
	if next != "" {
		more = "/console/cases?" + url.Values{"state": {f.State}, "q": {f.Query}, "cursor": {next}}.Encode()
	}
	return shown{page: "cases", view: view{Title: c.Book.Label("console", "cases"), Nav: "cases",
		Data: map[string]any{"Cases": cases, "State": f.State, "Query": f.Query, "More": more, "States": c.Book.Labels("state")}}}, nil
}

func (c *Console) casePage(r *http.Request, p staff.Principal) (shown, error) {
	ctx := r.Context()
	k, err := c.Desk.ByNo(ctx, p.CompanyID, chi.URLParam(r, "no"))
	if err != nil {
		return shown{}, err
	}
	events, err := c.Desk.Events(ctx, k.ID)
	if err != nil {
		return shown{}, err
	}
	q, _, err := c.Queues.ByID(ctx, c.DB, k.QueueID)
	if err != nil {
		return shown{}, err
	}
	queues, err := c.Queues.All(ctx, c.DB, p.CompanyID)
	if err != nil {
		return shown{}, err
	}
	members, err := c.Staff.QueueMembers(ctx, c.DB, k.QueueID)
	if err != nil {
		return shown{}, err
	}
	// What was typed and refused stands in its form again.
	draft := map[string]string{}
	if action := c.sessions.GetString(ctx, "draft_of"); action != "" && !polls(r) {
		draft[action] = c.sessions.PopString(ctx, "draft")
		c.sessions.Remove(ctx, "draft_of")
	}
	var files []media.File
	if c.Media != nil {
		if files, err = c.Media.OfCase(ctx, c.DB, p.CompanyID, k.ID); err != nil {
			return shown{}, err
		}
	}
	pending, waits := desk.PendingDraft(events)
	last := events[len(events)-1]
	return shown{page: "case", view: view{Title: "#" + k.No, Nav: "cases", Data: map[string]any{
		"Case": k, "Events": events, "Queue": q, "Queues": queues, "Members": members, "Draft": draft,
		"Files": files, "Pending": pending, "PendingWaits": waits && !p.Member.Trainee, "Supervises": p.May(staff.RightSupervise),
		"Recallable": last.Kind == string(desk.ActionReply) && last.ByID == p.Member.UserID,
	}}}, nil
}

// act runs one action of the case page and shows the case again.
func (c *Console) act(r *http.Request, p staff.Principal) (shown, error) {
	ctx := r.Context()
	k, err := c.Desk.ByNo(ctx, p.CompanyID, chi.URLParam(r, "no"))
	if err != nil {
		return shown{}, err
	}
	by := actor(p)
	action := chi.URLParam(r, "action")
	switch action {
	case "claim":
		_, err = c.Desk.Claim(ctx, by, k.ID)
	case "reply":
		say := c.Desk.Reply
		if r.PostFormValue("override") != "" {
			say = c.Desk.Override
		}
		_, _, err = say(ctx, by, k.ID, r.PostFormValue("text"))
	case "draft":
		_, err = c.Desk.Draft(ctx, by, k.ID, r.PostFormValue("text"))
	case "approve":
		_, _, err = c.Desk.Approve(ctx, by, k.ID)
	case "reject":
		_, err = c.Desk.Reject(ctx, by, k.ID, r.PostFormValue("reason"))
	case "return":
		_, err = c.Desk.Return(ctx, by, k.ID, r.PostFormValue("reason"))
	case "promise":
		_, err = c.promise(ctx, by, k.ID, r.PostFormValue("at"), r.PostFormValue("reason"))
	case "recall":
		_, err = c.Desk.Recall(ctx, by, k.ID)
	case "note":
		_, err = c.Desk.Note(ctx, by, k.ID, r.PostFormValue("text"))
	case "assign":
		_, err = c.Desk.Assign(ctx, by, k.ID, r.PostFormValue("to"))
	case "transfer":
		_, err = c.Desk.Transfer(ctx, by, k.ID, r.PostFormValue("queue"), r.PostFormValue("reason"))
	case "handle":
		_, err = c.Desk.Handle(ctx, by, k.ID, r.PostFormValue("measures"))
	case "close":
		_, err = c.Desk.Close(ctx, by, k.ID, r.PostFormValue("follow_up"))
	default:
		return shown{}, desk.ErrNotFound
	}
	var refused *desk.Refused
	switch {
	case errors.As(err, &refused):
		c.sessions.Put(ctx, "problem", c.words(refused))
		if typed := r.PostFormValue(typedIn[action]); typed != "" {
			c.sessions.Put(ctx, "draft_of", action)
			c.sessions.Put(ctx, "draft", typed)
		}
	case err != nil:
		return shown{}, err
	default:
		c.sessions.Put(ctx, "notice", c.Book.Label("console", "done"))
	}
	return shown{redirect: "/console/cases/" + k.No}, nil
}

// typedIn is the field of an action into which somebody types.
var typedIn = map[string]string{"reply": "text", "draft": "text", "note": "text", "handle": "measures", "transfer": "reason", "promise": "reason"}

// promise reads the moment as a form's date and time field writes it.
func (c *Console) promise(ctx context.Context, by desk.By, caseID, at, reason string) (desk.Case, error) {
	moment, err := time.ParseInLocation("2006-01-02T15:04", at, china)
	if err != nil {
		return desk.Case{}, &desk.Refused{Code: desk.RefusedPromise, Field: "at"}
	}
	return c.Desk.Promise(ctx, by, caseID, moment, reason)
}

// caseFile serves a picture or voice of a case: a picture to be shown, anything
// else to be saved. What it is was decided by its bytes when it was stored.
func (c *Console) caseFile(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(principalKey{}).(staff.Principal)
	ctx := r.Context()
	k, err := c.Desk.ByNo(ctx, p.CompanyID, chi.URLParam(r, "no"))
	if err != nil || c.Media == nil {
		http.NotFound(w, r)
		return
	}
	f, err := c.Media.ByID(ctx, c.DB, p.CompanyID, chi.URLParam(r, "id"))
	if err != nil || f.CaseID != k.ID || f.State != media.StateStored {
		http.NotFound(w, r)
		return
	}
	body, err := c.Media.Body(ctx, c.DB, f)
	if err != nil {
		c.unavailable(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.ContentType)
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	how := "inline"
	if !f.Shown() {
		how = "attachment"
	}
	h.Set("Content-Disposition", how+`; filename="`+f.Name()+`"`)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the reader has gone
}

func (c *Console) words(r *desk.Refused) string {
	text, err := c.Book.Say("api."+r.Code, wording.Vars(r.Args))
	if err != nil {
		return c.Book.Label("console", "refused")
	}
	return text.String()
}

func actor(p staff.Principal) desk.By {
	return desk.By{CompanyID: p.CompanyID, UserID: p.Member.UserID, Name: p.Name(), Via: "console", Trusted: p.Admin}
}

// funcs are what the pages may call.
func (c *Console) funcs() template.FuncMap {
	return template.FuncMap{
		"label": c.Book.Label,
		"when":  func(t time.Time) string { return c.when(t) },
		"day":   day,
		"stamp": func(t time.Time) string { return t.In(china).Format("01-02 15:04:05") },
		"late":  func(t time.Time) bool { return !t.IsZero() && c.Clock.Now().After(t) },
		"age":   age,
		"followups": func() []string {
			return []string{desk.FollowUpSolved, desk.FollowUpPartly, desk.FollowUpNotSolved, desk.FollowUpUnreachable}
		},
		"place": c.place,
		"said":  c.said,
		"line":  func(k desk.Case) string { return c.Book.Label("line", desk.LineFor(k.Category, k.Danger)) },
	}
}

// place is where the matter is: the writer's home, and the building he names
// when that is another one.
func (c *Console) place(k desk.Case) string {
	building := k.Building + c.Book.Label("card", "building")
	own, _, _ := strings.Cut(k.Unit, "-")
	switch {
	case k.Unit == "" && k.Building == "":
		return "—"
	case k.Unit == "":
		return building
	case k.Building == "" || k.Building == own:
		return k.Unit
	default:
		return building + "（" + k.Unit + "）"
	}
}

// said is an event's text as people read it: some keep a code.
func (c *Console) said(e desk.Event) string {
	switch desk.Action(e.Kind) {
	case desk.ActionSolved, desk.ActionNotSolved, desk.ActionPartly, desk.ActionClose:
		return c.Book.Label("follow_up", e.Text)
	case desk.ActionRate:
		return c.Book.Label("satisfaction", e.Text)
	case desk.ActionUndeliver:
		return c.Book.Label("delivery", e.Text)
	}
	return e.Text
}

var china = time.FixedZone("CST", 8*3600)

func (c *Console) when(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return wording.When(t, c.Clock.Now())
}

// day writes a day as date fields do; empty for none.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(china).Format("2006-01-02")
}

// age writes seconds the way a supervisor reads them.
func age(seconds int64) string {
	switch {
	case seconds <= 0:
		return "—"
	case seconds < 60:
		return fmt.Sprintf("%d 秒", seconds)
	case seconds < 3600:
		return fmt.Sprintf("%d 分钟", seconds/60)
	default:
		return fmt.Sprintf("%d 小时 %d 分", seconds/3600, seconds%3600/60)
	}
}
