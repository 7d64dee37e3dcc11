package console

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/ledger"
	"guanjia/internal/register"
	"guanjia/internal/staff"
	"guanjia/notify"
)

// noticePages are the pages of notices.
var noticePages = []string{"notices", "noticeform", "notice", "noticecalls", "noticeprint", "publications"}

func (c *Console) noticeRoutes(r chi.Router) {
	if c.Notices == nil {
		return
	}
	r.Get("/notices", c.page(c.noticesPage))
	r.Get("/notices/new", c.page(c.newNotice))
	r.Post("/notices/preview", c.page(c.previewNotice))
	r.Post("/notices", c.page(c.saveNotice))
	r.Get("/notices/{no}", c.page(c.noticePage))
	r.Get("/notices/{no}/edit", c.page(c.editNotice))
	r.Get("/notices/{no}/calls", c.page(c.callsPage))
	r.Get("/notices/{no}/print", c.page(c.printNotice))
	r.Get("/notices/{no}/evidence.xlsx", c.file(c.noticeEvidence))
	r.Post("/notices/{no}/{action}", c.page(c.actOnNotice))
	r.Post("/notices/{no}/calls/{unit}/{action}", c.page(c.actOnCall))
	r.Get("/publications", c.page(c.publicationsPage))
	r.Get("/publications.xlsx", c.file(c.publicationsFile))
	r.Post("/publications/{no}/{action}", c.page(c.actOnPublication))
}

func noticeBy(p staff.Principal) notify.By { return notify.AsPrincipal(p, "console") }

// notFound makes a refusal of what isn't there the page that says so.
func notFound(err error) error {
	var refused *notify.Refused
	if errors.As(err, &refused) && refused.Code == notify.RefusedNotFound {
		return desk.ErrNotFound
	}
	return err
}

func (c *Console) findNotice(r *http.Request, p staff.Principal) (notify.Notice, error) {
	n, err := c.Notices.ByNo(r.Context(), p.CompanyID, strings.ToUpper(chi.URLParam(r, "no")))
	return n, notFound(err)
}

func (c *Console) noticesPage(r *http.Request, p staff.Principal) (shown, error) {
	q := r.URL.Query()
	f := notify.Filter{Cursor: q.Get("cursor"), Limit: 30}
	if s := q.Get("state"); s != "" {
		f.States = []notify.State{notify.State(s)}
	}
	list, next, err := c.Notices.List(r.Context(), p.CompanyID, f)
	var refused *notify.Refused
	if errors.As(err, &refused) {
		return shown{redirect: "/console/notices"}, nil
	}
	if err != nil {
		return shown{}, err
	}
	more := ""
	if next != "" {
		more = "/console/notices?" + url.Values{"state": {q.Get("state")}, "cursor": {next}}.Encode()
	}
	return shown{page: "notices", view: view{Title: "通知", Nav: "notices", Data: map[string]any{"List": list, "State": q.Get("state"), "More": more,
		"States": c.Book.Labels("notice_state"), "MayWrite": p.May(staff.RightWriteNotice), "Kinds": c.Notices.Kinds()}}}, nil
}

// form is a notice in the fields of the page.
type form struct {
	Draft     notify.Draft
	No        string // of the draft that is revised
	Kind      notify.KindInfo
	Kinds     []notify.KindInfo
	Projects  []estate.Project
	Buildings []estate.Building
	Whole     bool   // the whole project is meant
	More      string // entrances and units as typed
	Check     *notify.Notice
	Problems  map[string][]string // by field of the page
	Refused   string
}

// Has tells whether a list of the draft holds a value.
func (f form) Has(list []string, v string) bool { return slices.Contains(list, v) }

// Needs tells whether the kind requires a field.
func (f form) Needs(field string) bool { return slices.Contains(f.Kind.Required, field) }

// Completed tells whether a field that is left empty is filled by the kind.
func (f form) Completed(field string) bool {
	return !f.Needs(field) || f.Check != nil && slices.Contains(f.Check.Filled, field)
}

// Of is what stands beside a field.
func (f form) Of(field string) []string { return f.Problems[field] }

// When writes a time as the browser's field takes it.
func (f form) When(t notify.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(china).Format("2006-01-02T15:04")
}

func (c *Console) newNotice(r *http.Request, p staff.Principal) (shown, error) {
	q := r.URL.Query()
	d := notify.Draft{Kind: q.Get("kind"), Of: q.Get("of")}
	if d.Of != "" {
		if old, err := c.Notices.ByNo(r.Context(), p.CompanyID, d.Of); err == nil {
			d.Topic, d.Project = old.Topic, old.ProjectID
		}
	}
	return c.formPage(r, p, d, form{})
}

func (c *Console) editNotice(r *http.Request, p staff.Principal) (shown, error) {
	n, err := c.findNotice(r, p)
	if err != nil {
		return shown{}, err
	}
	if n.State != notify.Drafted {
		return shown{redirect: "/console/notices/" + n.No}, nil
	}
	s := n.Scope
	return c.formPage(r, p, n.Draft, form{No: n.No, Whole: len(s.Buildings)+len(s.Entrances)+len(s.Units) == 0, More: strings.Join(slices.Concat(s.Entrances, s.Units), "、")})
}

// formPage shows a form with what is known of its draft.
func (c *Console) formPage(r *http.Request, p staff.Principal, d notify.Draft, f form) (shown, error) {
	ctx := r.Context()
	f.Draft, f.Kinds = d, c.Notices.Kinds()
	for _, k := range f.Kinds {
		if k.Code == d.Kind {
			f.Kind = k
		}
	}
	if f.Kind.Code == "" {
		f.Draft.Kind = ""
	}
	if len(f.Draft.Channels) == 0 {
		f.Draft.Channels = f.Kind.Channels
	}
	var err error
	if f.Projects, err = c.Estate.Projects(ctx, c.DB, p.CompanyID); err != nil {
		return shown{}, err
	}
	project := d.Project
	if project == "" && len(f.Projects) > 0 {
		project = f.Projects[0].ID
	}
	if f.Buildings, err = c.Estate.Buildings(ctx, c.DB, p.CompanyID, project); err != nil {
		return shown{}, err
	}
	if f.Kind.Code != "" && f.Check == nil {
		if err := c.examine(ctx, p, &f); err != nil {
			return shown{}, err
		}
	}
	return shown{page: "noticeform", view: view{Title: "发通知", Nav: "notices", Data: f}}, nil
}

// examine asks what is wrong with a form and how it will read. A place that was
// left open is asked for: on this page an empty scope is an oversight.
func (c *Console) examine(ctx context.Context, p staff.Principal, f *form) error {
	n, err := c.Notices.Examine(ctx, noticeBy(p), f.Draft)
	var refused *notify.Refused
	if errors.As(err, &refused) {
		f.Refused = refused.Message
		return nil
	}
	if err != nil {
		return err
	}
	if f.placeless() {
		n.Audience, n.CostFen = estate.AudienceCounts{}, 0
		n.Problems = append(n.Problems, notify.Problem{Field: "scope", Message: "请选择楼栋；通知全小区请勾选「全小区」。"})
	}
	f.Check, f.Problems = &n, map[string][]string{}
	for _, x := range n.Problems {
		field, _, _ := strings.Cut(x.Field, ".")
		f.Problems[field] = append(f.Problems[field], x.Message)
	}
	return nil
}

// placeless tells whether a form says nothing about whom it is for.
func (f form) placeless() bool {
	s := f.Draft.Scope
	return !f.Kind.Answer && !f.Whole && len(s.Buildings)+len(s.Entrances)+len(s.Units) == 0
}

// maxForm bounds a form, in bytes.
const maxForm = 64 << 10

var (
	listMarks    = regexp.MustCompile(`[,，、;；\s]+`)
	entranceCode = regexp.MustCompile(`^[^-]+-[^-]+$`)
)

// readForm reads the fields of the page.
func (c *Console) readForm(r *http.Request) form {
	v := func(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }
	at := func(name string) (t notify.Time) {
		// What the browser's field cannot write stays empty and is asked for.
		_ = t.UnmarshalJSON([]byte(strconv.Quote(v(name))))
		return t
	}
	d := notify.Draft{
		Kind: v("kind"), Topic: v("topic"), Project: v("project"), Title: v("title"), StartsAt: at("starts_at"), EndsAt: at("ends_at"), Reason: v("reason"),
		Action: v("action"), Contact: v("contact"), ValidUntil: at("valid_until"), Channels: r.PostForm["channels"], Of: v("of"), ShortNotice: v("short_notice"), Forms: r.PostForm["forms"],
	}
	f := form{No: v("no"), Whole: v("whole") != "", More: v("more")}
	for _, k := range c.Notices.Kinds() {
		if k.Code == d.Kind {
			f.Kind = k
		}
	}
	if !f.Whole {
		d.Scope.Buildings = r.PostForm["buildings"]
		for _, place := range listMarks.Split(f.More, -1) {
			switch {
			case place == "":
			case entranceCode.MatchString(place):
				d.Scope.Entrances = append(d.Scope.Entrances, place)
			default:
				d.Scope.Units = append(d.Scope.Units, place)
			}
		}
	}
	d.Scope.Floors = v("floors")
	f.Draft = d
	return f
}

// previewNotice shows the form again with what is wrong and how it reads: the
// page takes from it what changes.
func (c *Console) previewNotice(r *http.Request, p staff.Principal) (shown, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return shown{redirect: "/console/notices/new"}, nil
	}
	f := c.readForm(r)
	return c.formPage(r, p, f.Draft, f)
}

// saveNotice stores the draft, new or revised, problems and all.
func (c *Console) saveNotice(r *http.Request, p staff.Principal) (shown, error) {
	ctx := r.Context()
	r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return shown{redirect: "/console/notices/new"}, nil
	}
	f := c.readForm(r)
	if f.placeless() {
		return c.formPage(r, p, f.Draft, f)
	}
	n, err := c.store(ctx, p, f)
	var refused *notify.Refused
	if errors.As(err, &refused) {
		c.sessions.Put(ctx, "problem", refused.Message)
		return c.formPage(r, p, f.Draft, f)
	}
	if err != nil {
		return shown{}, err
	}
	return shown{redirect: "/console/notices/" + n.No}, nil
}

func (c *Console) store(ctx context.Context, p staff.Principal, f form) (notify.Notice, error) {
	if f.No == "" {
		return c.Notices.Compose(ctx, noticeBy(p), f.Draft)
	}
	old, err := c.Notices.ByNo(ctx, p.CompanyID, f.No)
	if err != nil {
		return old, err
	}
	return c.Notices.Revise(ctx, noticeBy(p), old.ID, f.Draft)
}

// noticeView is what the page of a notice shows.
type noticeView struct {
	N        notify.Notice
	P        notify.Progress
	Events   []notify.Event
	Channels []channelRow
	Kind     string
	Left     int // homes that a person must tell
	Live     bool
	// Rights of who looks.
	MayApprove, MayEndorse, MayWrite, Own bool
}

// channelRow is how far one way is.
type channelRow struct {
	Name                                string
	Delivered, Open, Waiting, Lost, Not int
}

// All is the number of its deliveries.
func (r channelRow) All() int { return r.Delivered + r.Open + r.Waiting + r.Lost + r.Not }

func channelRows(c *Console, p notify.Progress) (rows []channelRow) {
	for _, name := range []string{ledger.ChannelSMS, ledger.ChannelTemplate} {
		n, ok := p.ByChannel[name]
		if !ok {
			continue
		}
		row := channelRow{Name: c.Book.Label("channel", name), Delivered: n["delivered"], Open: n["submitted"] + n["unknown"],
			Waiting: n["planned"] + n["claimed"] + n["sending"], Lost: n["failed"] + n["no_receipt"] + n["expired"], Not: n["skipped"] + n["cancelled"]}
		rows = append(rows, row)
	}
	return rows
}

func (c *Console) noticePage(r *http.Request, p staff.Principal) (shown, error) {
	ctx := r.Context()
	n, err := c.findNotice(r, p)
	if err != nil {
		return shown{}, err
	}
	v := noticeView{N: n, Kind: c.kindName(n.Kind), MayWrite: p.May(staff.RightWriteNotice), MayEndorse: p.May(staff.RightApproveNotice)}
	v.MayApprove = p.May(staff.RightApproveNotice)
	if n.Emergency {
		v.MayApprove = p.May(staff.RightApproveEmergency)
	}
	v.Own = !n.Emergency && n.Author == p.UserID() && !p.Admin
	if v.P, err = c.Notices.Progress(ctx, p.CompanyID, n.ID); err != nil {
		return shown{}, err
	}
	v.N.State = v.P.State
	if v.Events, err = c.Notices.Events(ctx, p.CompanyID, n.ID); err != nil {
		return shown{}, err
	}
	v.Channels = channelRows(c, v.P)
	if v.P.State == notify.Finished {
		v.Left = v.P.Reach.Households - v.P.Reach.Reached - v.P.Reach.Called
	}
	v.Live = v.P.State == notify.Approved || v.P.State == notify.Sending || v.P.State == notify.Paused
	return shown{page: "notice", view: view{Title: n.No + " " + n.Title, Nav: "notices", Data: v}}, nil
}

func (c *Console) kindName(code string) string {
	for _, k := range c.Notices.Kinds() {
		if k.Code == code {
			return k.Name
		}
	}
	return code
}

// actOnNotice does what a button of the page says.
func (c *Console) actOnNotice(r *http.Request, p staff.Principal) (shown, error) {
	n, err := c.findNotice(r, p)
	if err != nil {
		return shown{}, err
	}
	acts := map[string]func(context.Context, notify.By, string) (notify.Notice, error){
		"approve": c.Notices.Approve, "cancel": c.Notices.Cancel, "pause": c.Notices.Pause, "resume": c.Notices.Resume, "endorse": c.Notices.Endorse,
	}
	act, ok := acts[chi.URLParam(r, "action")]
	if !ok {
		return shown{}, desk.ErrNotFound
	}
	_, err = act(r.Context(), noticeBy(p), n.ID)
	return shown{redirect: "/console/notices/" + n.No}, c.tell(r.Context(), err)
}

// tell keeps for the next page what came of an action.
func (c *Console) tell(ctx context.Context, err error) error {
	var refused *notify.Refused
	switch {
	case errors.As(err, &refused):
		words := refused.Message
		for _, x := range refused.Problems {
			words += " " + x.Message
		}
		c.sessions.Put(ctx, "problem", words)
		return nil
	case err != nil:
		return err
	}
	c.sessions.Put(ctx, "notice", c.Book.Label("console", "done"))
	return nil
}

// callsListed bounds the homes on one page of the call list.
const callsListed = 50

// callRow is a home with whether its numbers are shown.
type callRow struct {
	notify.Household
	Mine bool
}

func (c *Console) callsPage(r *http.Request, p staff.Principal) (shown, error) {
	ctx := r.Context()
	n, err := c.findNotice(r, p)
	if err != nil {
		return shown{}, err
	}
	all := r.URL.Query().Get("all") != ""
	read := c.Notices.Calls
	if all {
		read = c.Notices.Unreached
	}
	list, next, err := read(ctx, p.CompanyID, n.ID, r.URL.Query().Get("cursor"), callsListed)
	if err != nil {
		return shown{}, err
	}
	full := p.May(staff.RightReply)
	rows := make([]callRow, len(list))
	for i, h := range list {
		for j := range h.Residents {
			if !full {
				h.Residents[j].Phone = maskNumber(h.Residents[j].Phone)
			}
		}
		rows[i] = callRow{Household: h, Mine: h.Caller == p.UserID()}
	}
	more := ""
	if next != "" {
		v := url.Values{"cursor": {next}}
		if all {
			v.Set("all", "1")
		}
		more = "/console/notices/" + n.No + "/calls?" + v.Encode()
	}
	return shown{page: "noticecalls", view: view{Title: n.No + " 电话名单", Nav: "notices", Data: map[string]any{
		"N": n, "Rows": rows, "More": more, "All": all, "Full": full, "Outcomes": c.Notices.Outcomes()}}}, nil
}

// maskNumber leaves of a number what tells it from another.
func maskNumber(s string) string {
	if len(s) < 8 {
		return ""
	}
	return s[:3] + "****" + s[len(s)-4:]
}

func (c *Console) actOnCall(r *http.Request, p staff.Principal) (shown, error) {
	n, err := c.findNotice(r, p)
	if err != nil {
		return shown{}, err
	}
	r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	unit := chi.URLParam(r, "unit")
	switch chi.URLParam(r, "action") {
	case "claim":
		_, err = c.Notices.ClaimCall(r.Context(), noticeBy(p), n.ID, unit)
	case "tick":
		_, err = c.Notices.TickCall(r.Context(), noticeBy(p), n.ID, unit, r.PostFormValue("outcome"), r.PostFormValue("note"))
	default:
		return shown{}, desk.ErrNotFound
	}
	return shown{redirect: "/console/notices/" + n.No + "/calls"}, c.tell(r.Context(), err)
}

func (c *Console) printNotice(r *http.Request, p staff.Principal) (shown, error) {
	n, err := c.findNotice(r, p)
	if err != nil {
		return shown{}, err
	}
	e, err := c.Notices.Evidence(r.Context(), p.CompanyID, n.ID)
	if err != nil {
		return shown{}, err
	}
	if !p.May(staff.RightReply) {
		for i := range e.Unreached {
			for j := range e.Unreached[i].Residents {
				e.Unreached[i].Residents[j].Phone = maskNumber(e.Unreached[i].Residents[j].Phone)
			}
		}
	}
	return shown{page: "noticeprint", view: view{Title: n.No + " 通知凭证", Nav: "notices", Data: map[string]any{
		"E": e, "Kind": c.kindName(n.Kind), "Channels": channelRows(c, e.Progress), "Now": c.Clock.Now()}}}, nil
}

// file runs a handler that gives a file.
func (c *Console) file(h func(r *http.Request, p staff.Principal, to *bytes.Buffer) (name string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, _ := r.Context().Value(principalKey{}).(staff.Principal)
		var b bytes.Buffer // whole before the first byte leaves: no half file
		name, err := h(r, p, &b)
		if errors.Is(err, desk.ErrNotFound) {
			c.render(w, r, http.StatusNotFound, "problem", view{Title: c.Book.Label("console", "problem"), User: p.Name(), Problem: c.Book.Label("console", "not_found")})
			return
		}
		if err != nil {
			c.unavailable(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
		w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
		_, _ = w.Write(b.Bytes()) // the reader has gone
	}
}

func (c *Console) noticeEvidence(r *http.Request, p staff.Principal, to *bytes.Buffer) (string, error) {
	if !p.May(staff.RightReply) {
		return "", desk.ErrNotFound // it holds every number
	}
	n, err := c.findNotice(r, p)
	if err != nil {
		return "", err
	}
	e, err := c.Notices.Evidence(r.Context(), p.CompanyID, n.ID)
	if err != nil {
		return "", err
	}
	return "notice-" + n.No + ".xlsx", e.WriteExcel(r.Context(), to)
}

// month gives the month that a page asks for, this one by default.
func (c *Console) month(r *http.Request) (from, to time.Time, word string) {
	at, err := time.ParseInLocation("2006-01", r.URL.Query().Get("month"), china)
	if err != nil {
		now := c.Clock.Now().In(china)
		at = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, china)
	}
	return at, at.AddDate(0, 1, 0), at.Format("2006-01")
}

func (c *Console) publicationsPage(r *http.Request, p staff.Principal) (shown, error) {
	from, to, word := c.month(r)
	list, _, err := c.Register.List(r.Context(), c.DB, p.CompanyID, register.Filter{From: from, To: to})
	if err != nil {
		return shown{}, err
	}
	return shown{page: "publications", view: view{Title: "对客信息发布一览表", Nav: "publications", Data: map[string]any{
		"List": list, "Month": word, "Forms": register.Forms(), "MayWrite": p.May(staff.RightWriteNotice)}}}, nil
}

func (c *Console) publicationsFile(r *http.Request, p staff.Principal, to *bytes.Buffer) (string, error) {
	from, until, word := c.month(r)
	err := c.Register.ExportPublications(r.Context(), p.CompanyID, register.Filter{From: from, To: until}, register.Excel, to)
	return "publications-" + word + ".xlsx", err
}
