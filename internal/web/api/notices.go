package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/estate"
	"guanjia/internal/staff"
	"guanjia/notify"
)

// noticeRoutes are the calls of notices. {id} is a notice's id or its number.
func (a *API) noticeRoutes(r chi.Router) {
	if a.notices == nil {
		return
	}
	r.Get("/notices", a.handle(a.listNotices))
	r.Post("/notices", a.handle(a.composeNotice))
	r.Get("/notice-kinds", a.handle(a.noticeKinds))
	r.Get("/notices/{id}", a.handle(a.showNotice))
	r.Put("/notices/{id}", a.handle(a.reviseNotice))
	r.Post("/notices/{id}/approve", a.handle(a.onNotice(a.notices.Approve)))
	r.Post("/notices/{id}/cancel", a.handle(a.onNotice(a.notices.Cancel)))
	r.Post("/notices/{id}/pause", a.handle(a.onNotice(a.notices.Pause)))
	r.Post("/notices/{id}/resume", a.handle(a.onNotice(a.notices.Resume)))
	r.Post("/notices/{id}/endorse", a.handle(a.onNotice(a.notices.Endorse)))
	r.Get("/notices/{id}/deliveries", a.handle(a.noticeDeliveries))
	r.Get("/notices/{id}/unreached", a.handle(a.noticeUnreached))
	r.Get("/notices/{id}/calls", a.handle(a.noticeCalls))
	r.Get("/notices/{id}/events", a.handle(a.noticeEvents))
	r.Post("/notices/{id}/calls/{unit}/claim", a.handle(a.claimCall))
	r.Post("/notices/{id}/calls/{unit}/tick", a.handle(a.tickCall))
	r.Get("/notices/{id}/evidence", a.noticeEvidence)
}

type (
	noticeAct     func(ctx context.Context, by notify.By, id string) (notify.Notice, error)
	householdPage func(ctx context.Context, companyID, id, cursor string, limit int) ([]notify.Household, string, error)
)

// noticeView is a notice with how far it is. Its own fields stand before those
// of the notice that have the same name.
type noticeView struct {
	notify.Notice
	Problems   []notify.Problem         `json:"problems"`
	Warnings   []notify.Problem         `json:"warnings"`
	Counts     notify.Counts            `json:"counts"`
	ByChannel  map[string]notify.Counts `json:"by_channel"`
	Reach      notify.Reach             `json:"reach"`
	ByBuilding []notify.BuildingReach   `json:"by_building"`
	Reminder   notify.Counts            `json:"reminder,omitempty"`
	CostFen    int                      `json:"cost_fen"`
	PausedWhy  string                   `json:"paused_why,omitempty"`
}

// noticeBy is the principal as notices know him.
func noticeBy(p staff.Principal) notify.By { return notify.AsPrincipal(p, "api") }

// viewNotice reads how far a notice is.
func (a *API) viewNotice(r *http.Request, n notify.Notice) (noticeView, error) {
	v := noticeView{Notice: n, Problems: listOf(n.Problems), Warnings: listOf(n.Warnings), Counts: notify.Counts{}, CostFen: n.CostFen, PausedWhy: n.PausedWhy,
		ByChannel: map[string]notify.Counts{"sms": {}, "template": {}}, Reach: notify.Reach{Households: n.Audience.Households}, ByBuilding: []notify.BuildingReach{}}
	if n.State == notify.Drafted {
		return v, nil
	}
	p, err := a.notices.Progress(r.Context(), n.CompanyID, n.ID)
	if err != nil {
		return v, err
	}
	v.State, v.Reach, v.Reminder, v.CostFen = p.State, p.Reach, p.Reminder, p.CostFen
	v.StartedAt, v.FinishedAt, v.PausedWhy = p.StartedAt, p.FinishedAt, p.PausedWhy
	if p.Counts != nil {
		v.Counts = p.Counts
	}
	for channel, counts := range p.ByChannel {
		v.ByChannel[channel] = counts
	}
	v.ByBuilding = listOf(p.ByBuilding)
	return v, nil
}

// listOf writes an empty list where there is none: a program reads [] and not
// null.
func listOf[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// noticeStates are the states that a list can be asked for.
var noticeStates = []notify.State{notify.Drafted, notify.Approved, notify.Sending, notify.Paused, notify.Finished, notify.Cancelled}

var noticeNumber = regexp.MustCompile(`^[Tt]\d{4,}$`)

// findNotice reads the notice of the address.
func (a *API) findNotice(r *http.Request, p staff.Principal) (notify.Notice, error) {
	id := chi.URLParam(r, "id")
	if noticeNumber.MatchString(id) {
		return a.notices.ByNo(r.Context(), p.CompanyID, strings.ToUpper(id))
	}
	return a.notices.ByID(r.Context(), p.CompanyID, id)
}

func (a *API) listNotices(r *http.Request, p staff.Principal) (result, error) {
	q := r.URL.Query()
	limit, err := limitOf(q.Get("limit"))
	if err != nil {
		return result{}, err
	}
	f := notify.Filter{Kind: q.Get("kind"), Project: q.Get("project"), Cursor: q.Get("cursor"), Limit: limit}
	for _, s := range q["state"] {
		if !slices.Contains(noticeStates, notify.State(s)) {
			return result{}, badRequest("state", "is none of the states of a notice")
		}
		f.States = append(f.States, notify.State(s))
	}
	list, next, err := a.notices.List(r.Context(), p.CompanyID, f)
	if err != nil {
		return result{}, err
	}
	for i := range list {
		list[i].Problems, list[i].Warnings = listOf(list[i].Problems), listOf(list[i].Warnings)
	}
	return ok(map[string]any{"notices": listOf(list), "next_cursor": next}), nil
}

func (a *API) composeNotice(r *http.Request, p staff.Principal) (result, error) {
	draft, err := notify.ReadJSON(r.Body)
	if err != nil {
		return result{}, err
	}
	n, err := a.notices.Compose(r.Context(), noticeBy(p), draft)
	if err != nil {
		return result{}, err
	}
	v, err := a.viewNotice(r, n)
	return result{status: http.StatusCreated, body: v}, err
}

func (a *API) reviseNotice(r *http.Request, p staff.Principal) (result, error) {
	draft, err := notify.ReadJSON(r.Body)
	if err != nil {
		return result{}, err
	}
	n, err := a.findNotice(r, p)
	if err != nil {
		return result{}, err
	}
	if n, err = a.notices.Revise(r.Context(), noticeBy(p), n.ID, draft); err != nil {
		return result{}, err
	}
	v, err := a.viewNotice(r, n)
	return ok(v), err
}

func (a *API) noticeKinds(*http.Request, staff.Principal) (result, error) {
	return ok(map[string]any{"kinds": a.notices.Kinds(), "outcomes": a.notices.Outcomes()}), nil
}

func (a *API) showNotice(r *http.Request, p staff.Principal) (result, error) {
	n, err := a.findNotice(r, p)
	if err != nil {
		return result{}, err
	}
	v, err := a.viewNotice(r, n)
	return ok(v), err
}

// onNotice does something with the notice of the address and shows it after.
func (a *API) onNotice(act noticeAct) handler {
	return func(r *http.Request, p staff.Principal) (result, error) {
		n, err := a.findNotice(r, p)
		if err != nil {
			return result{}, err
		}
		if n, err = act(r.Context(), noticeBy(p), n.ID); err != nil {
			return result{}, err
		}
		v, err := a.viewNotice(r, n)
		return ok(v), err
	}
}

func (a *API) noticeDeliveries(r *http.Request, p staff.Principal) (result, error) {
	n, limit, err := a.pageOf(r, p)
	if err != nil {
		return result{}, err
	}
	list, next, err := a.notices.Deliveries(r.Context(), p.CompanyID, n.ID, r.URL.Query().Get("cursor"), limit)
	if err != nil {
		return result{}, err
	}
	if !seesNumbers(p) {
		for i := range list {
			list[i].Address = masked(list[i].Address)
		}
	}
	return ok(map[string]any{"deliveries": listOf(list), "next_cursor": next}), nil
}

func (a *API) noticeUnreached(r *http.Request, p staff.Principal) (result, error) {
	return a.households(r, p, a.notices.Unreached)
}

func (a *API) noticeCalls(r *http.Request, p staff.Principal) (result, error) {
	return a.households(r, p, a.notices.Calls)
}

// households gives a page of homes that no message reached.
func (a *API) households(r *http.Request, p staff.Principal, read householdPage) (result, error) {
	n, limit, err := a.pageOf(r, p)
	if err != nil {
		return result{}, err
	}
	list, next, err := read(r.Context(), p.CompanyID, n.ID, r.URL.Query().Get("cursor"), limit)
	if err != nil {
		return result{}, err
	}
	for i := range list {
		list[i] = shownHousehold(p, list[i])
	}
	return ok(map[string]any{"households": listOf(list), "next_cursor": next}), nil
}

func (a *API) pageOf(r *http.Request, p staff.Principal) (notify.Notice, int, error) {
	limit, err := limitOf(r.URL.Query().Get("limit"))
	if err != nil {
		return notify.Notice{}, 0, err
	}
	n, err := a.findNotice(r, p)
	return n, limit, err
}

// seesNumbers tells who gets addresses in full: whoever works alone, since he
// has to call.
func seesNumbers(p staff.Principal) bool { return p.May(staff.RightReply) }

func shownHousehold(p staff.Principal, h notify.Household) notify.Household {
	h.Residents, h.Reasons = listOf(h.Residents), listOf(h.Reasons)
	if seesNumbers(p) {
		return h
	}
	for i := range h.Residents {
		h.Residents[i].Phone = masked(h.Residents[i].Phone)
	}
	return h
}

// masked leaves of a number or openid what tells it from another.
func masked(s string) string {
	if len(s) < 8 {
		return ""
	}
	return s[:3] + "****" + s[len(s)-4:]
}

func (a *API) noticeEvents(r *http.Request, p staff.Principal) (result, error) {
	n, err := a.findNotice(r, p)
	if err != nil {
		return result{}, err
	}
	list, err := a.notices.Events(r.Context(), p.CompanyID, n.ID)
	return ok(map[string]any{"events": listOf(list)}), err
}

// callOf reads notice and home of the address of a call.
func (a *API) callOf(r *http.Request, p staff.Principal) (notify.Notice, string, error) {
	n, err := a.findNotice(r, p)
	if err != nil {
		return n, "", err
	}
	unit, isUnit := estate.ParseUnitCode(chi.URLParam(r, "unit"))
	if !isUnit {
		return n, "", errNotFound
	}
	return n, unit, nil
}

func (a *API) claimCall(r *http.Request, p staff.Principal) (result, error) {
	n, unit, err := a.callOf(r, p)
	if err != nil {
		return result{}, err
	}
	h, err := a.notices.ClaimCall(r.Context(), noticeBy(p), n.ID, unit)
	if err != nil {
		return result{}, err
	}
	return ok(shownHousehold(p, h)), nil
}

func (a *API) tickCall(r *http.Request, p staff.Principal) (result, error) {
	n, unit, err := a.callOf(r, p)
	if err != nil {
		return result{}, err
	}
	var in struct {
		Outcome string `json:"outcome"`
		Note    string `json:"note"`
	}
	if err := decode(r, &in); err != nil {
		return result{}, err
	}
	h, err := a.notices.TickCall(r.Context(), noticeBy(p), n.ID, unit, in.Outcome, in.Note)
	if err != nil {
		return result{}, err
	}
	return ok(shownHousehold(p, h)), nil
}

const excelType = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

// noticeEvidence gives the evidence file as Excel. It is written whole before
// the first byte leaves, so that a failure is a status and not half a file.
func (a *API) noticeEvidence(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(principalKey{}).(staff.Principal)
	var file bytes.Buffer
	name, err := a.writeEvidence(&file, r, p)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", excelType)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	_, _ = w.Write(file.Bytes()) // the reader has gone
}

func (a *API) writeEvidence(file *bytes.Buffer, r *http.Request, p staff.Principal) (string, error) {
	if !seesNumbers(p) {
		return "", errForbidden // it holds every address
	}
	n, err := a.findNotice(r, p)
	if err != nil {
		return "", err
	}
	e, err := a.notices.Evidence(r.Context(), p.CompanyID, n.ID)
	if err != nil {
		return "", err
	}
	return "notice-" + n.No + ".xlsx", e.WriteExcel(r.Context(), file)
}

// noticeProblem gives the error body of a refusal by the rules of notices.
func noticeProblem(err error) (*problem, bool) {
	var refused *notify.Refused
	if !errors.As(err, &refused) {
		return nil, false
	}
	p := &problem{status: refused.Status(), Code: refused.Code, Message: refused.Message, Field: refused.Field, Problems: refused.Problems}
	if p.Field == "" && len(refused.Problems) > 0 {
		p.Field = refused.Problems[0].Field
	}
	return p, true
}
