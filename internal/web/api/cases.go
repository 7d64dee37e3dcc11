package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/staff"
)

// caseView is a case as the interface page describes it.
type caseView struct {
	No         string       `json:"no"`
	State      desk.State   `json:"state"`
	Kind       string       `json:"kind"`
	Category   *string      `json:"category"`
	Priority   string       `json:"priority"`
	Queue      string       `json:"queue"`
	Unit       *string      `json:"unit"`
	Resident   *residentRef `json:"resident"`
	Owner      *string      `json:"owner"`
	Summary    string       `json:"summary"`
	OpenedAt   time.Time    `json:"opened_at"`
	PromisedAt *time.Time   `json:"promised_at"`
	Rating     *int         `json:"rating"`
	Danger     *string      `json:"danger"`
	Urges      int64        `json:"urges"`
	Measures   *string      `json:"measures"`
	FollowUp   *string      `json:"follow_up"`
	Mode       string       `json:"mode"`
	Version    int64        `json:"version"`
	Events     []eventView  `json:"events,omitempty"`
}

type residentRef struct {
	ID     string `json:"id"`
	OpenID string `json:"openid"`
	Name   string `json:"name"`
}

type eventView struct {
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	By       string    `json:"by"`
	ByID     string    `json:"by_id"`
	Via      string    `json:"via"`
	Text     string    `json:"text"`
	Delivery *string   `json:"delivery"`
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// local is how times are written: RFC 3339 with China's offset.
func local(t time.Time) time.Time { return t.In(time.FixedZone("", 8*3600)).Truncate(time.Millisecond) }

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	l := local(t)
	return &l
}

func viewOf(c desk.Case) caseView {
	v := caseView{
		No: c.No, State: c.State, Kind: c.Kind, Category: optional(c.Category), Priority: c.Priority, Queue: c.QueueID, Unit: optional(c.Unit),
		Owner: optional(c.OwnerID), Summary: c.Summary, OpenedAt: local(c.OpenedAt), PromisedAt: optionalTime(c.PromisedAt),
		Danger: optional(c.Danger), Urges: c.Urges, Measures: optional(c.Measures), FollowUp: optional(c.FollowUp), Mode: c.Mode, Version: c.Version,
	}
	if c.ResidentID != "" || c.OpenID != "" {
		v.Resident = &residentRef{ID: c.ResidentID, OpenID: c.OpenID, Name: c.ResidentName}
	}
	if c.Rating > 0 {
		v.Rating = &c.Rating
	}
	return v
}

func viewsOf(cases []desk.Case) []caseView {
	views := make([]caseView, len(cases))
	for i, c := range cases {
		views[i] = viewOf(c)
	}
	return views
}

func (a *API) listCases(r *http.Request, p staff.Principal) (result, error) {
	q := r.URL.Query()
	limit, err := limitOf(q.Get("limit"))
	if err != nil {
		return result{}, err
	}
	if s := q.Get("state"); s != "" && !desk.KnownState(desk.State(s)) {
		return result{}, badRequest("state", "is none of the case states")
	}
	f := desk.Filter{State: q.Get("state"), QueueID: q.Get("queue"), OwnerID: q.Get("owner"), Query: q.Get("q"), Cursor: q.Get("cursor"), Limit: limit}
	if who := q.Get("resident"); who != "" {
		f.Resident = []string{who}
		if phone, ok := estate.NormalizePhone(who); ok {
			res, found, err := a.estate.ResidentByPhone(r.Context(), a.db, p.CompanyID, phone)
			if err != nil {
				return result{}, err
			}
			if found {
				f.Resident = []string{res.ID}
			}
		}
	}
	cases, cursor, err := a.desk.List(r.Context(), p.CompanyID, f)
	if err != nil {
		return result{}, err
	}
	return ok(map[string]any{"cases": viewsOf(cases), "next_cursor": cursor}), nil
}

func limitOf(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 200 {
		return 0, badRequest("limit", "must be a number from 1 to 200")
	}
	return n, nil
}

func (a *API) showCase(r *http.Request, p staff.Principal) (result, error) {
	c, err := a.desk.ByNo(r.Context(), p.CompanyID, chi.URLParam(r, "no"))
	if err != nil {
		return result{}, err
	}
	return a.whole(r, c)
}

// whole is a case with its history.
func (a *API) whole(r *http.Request, c desk.Case) (result, error) {
	events, err := a.desk.Events(r.Context(), c.ID)
	if err != nil {
		return result{}, err
	}
	v := viewOf(c)
	v.Events = make([]eventView, len(events))
	for i, e := range events {
		v.Events[i] = eventView{At: local(e.At), Kind: e.Kind, By: e.By, ByID: e.ByID, Via: e.Via, Text: e.Text, Delivery: optional(e.DeliveryID)}
	}
	return ok(v), nil
}

type newCase struct {
	Resident  string `json:"resident"`
	Unit      string `json:"unit"`
	Kind      string `json:"kind"`
	Category  string `json:"category"`
	Text      string `json:"text"`
	Mode      string `json:"mode"`
	RequestID string `json:"request_id"` // repeats of one request open one case
}

func (a *API) openCase(r *http.Request, p staff.Principal) (result, error) {
	if !p.Admin {
		m, found, err := a.staff.ByUserID(r.Context(), a.db, p.CompanyID, p.Member.UserID)
		if err != nil {
			return result{}, err
		}
		if !found || m.Trainee {
			return result{}, errForbidden
		}
	}
	var in newCase
	if err := decode(r, &in); err != nil {
		return result{}, err
	}
	open := desk.Open{CompanyID: p.CompanyID, Kind: in.Kind, Category: in.Category, Text: in.Text, Mode: in.Mode}
	if in.RequestID != "" {
		open.SourceID = "request:" + p.CompanyID + ":" + in.RequestID
	}
	if err := a.whose(r, p, in, &open); err != nil {
		return result{}, err
	}
	c, err := a.desk.Open(r.Context(), actor(p), open)
	if err != nil {
		return result{}, err
	}
	res, err := a.whole(r, c)
	res.status = http.StatusCreated
	return res, err
}

// whose fills in the resident or the home that a registration names.
func (a *API) whose(r *http.Request, p staff.Principal, in newCase, open *desk.Open) error {
	ctx := r.Context()
	switch {
	case in.Resident != "":
		res, found, err := a.findResident(r, p, in.Resident)
		if err != nil {
			return err
		}
		if !found {
			return &desk.Refused{Code: desk.RefusedResident, Field: "resident"}
		}
		open.ResidentID, open.ResidentName, open.Phone, open.OpenID, open.AccountID = res.ID, res.Name, res.Phone, res.OpenID, res.AccountID
		if len(res.Homes) > 0 {
			h := res.Homes[0]
			open.UnitID, open.Unit, open.Building, open.ProjectID = h.UnitID, h.Unit, h.Building, h.ProjectID
		}
		return nil
	case in.Unit != "":
		code, okCode := estate.ParseUnitCode(in.Unit)
		if !okCode {
			return badRequest("unit", "must be a home such as 3-2-1201")
		}
		u, found, err := a.estate.UnitByCode(ctx, a.db, p.CompanyID, code)
		if err != nil {
			return err
		}
		if !found {
			return &problem{status: http.StatusUnprocessableEntity, Code: "unknown_unit", Message: "there is no such home", Field: "unit"}
		}
		open.UnitID, open.Unit, open.Building, open.ProjectID = u.ID, u.Code, u.Building, u.ProjectID
		return nil
	default:
		return badRequest("resident", "name a resident or a unit")
	}
}

// findResident looks a resident up by id, openid or phone.
func (a *API) findResident(r *http.Request, p staff.Principal, who string) (estate.Resident, bool, error) {
	ctx := r.Context()
	if phone, isPhone := estate.NormalizePhone(who); isPhone {
		return a.estate.ResidentByPhone(ctx, a.db, p.CompanyID, phone)
	}
	for _, look := range []func() (estate.Resident, bool, error){
		func() (estate.Resident, bool, error) { return a.estate.ResidentByID(ctx, a.db, p.CompanyID, who) },
		func() (estate.Resident, bool, error) { return a.estate.ResidentByOpenID(ctx, a.db, p.CompanyID, who) },
	} {
		res, found, err := look()
		if err != nil || found {
			return res, found, err
		}
	}
	return estate.Resident{}, false, nil
}

// onCase finds the case of the address before an action on it.
func (a *API) onCase(act func(r *http.Request, by desk.By, c desk.Case) (desk.Case, error)) handler {
	return func(r *http.Request, p staff.Principal) (result, error) {
		c, err := a.desk.ByNo(r.Context(), p.CompanyID, chi.URLParam(r, "no"))
		if err != nil {
			return result{}, err
		}
		if c, err = act(r, actor(p), c); err != nil {
			return result{}, err
		}
		return a.whole(r, c)
	}
}

func (a *API) claim(r *http.Request, by desk.By, c desk.Case) (desk.Case, error) {
	if by.UserID == "" {
		return c, errForbidden // a token of nobody can't have a case in hand
	}
	return a.desk.Claim(r.Context(), by, c.ID)
}

func (a *API) reply(r *http.Request, by desk.By, c desk.Case) (desk.Case, error) {
	var in struct {
		Text string `json:"text"`
	}
	if err := decode(r, &in); err != nil {
		return c, err
	}
	after, _, err := a.desk.Reply(r.Context(), by, c.ID, in.Text)
	return after, err
}

func (a *API) note(r *http.Request, by desk.By, c desk.Case) (desk.Case, error) {
	var in struct {
		Text string `json:"text"`
	}
	if err := decode(r, &in); err != nil {
		return c, err
	}
	return a.desk.Note(r.Context(), by, c.ID, in.Text)
}

func (a *API) assign(r *http.Request, by desk.By, c desk.Case) (desk.Case, error) {
	var in struct {
		To string `json:"to"`
	}
	if err := decode(r, &in); err != nil {
		return c, err
	}
	return a.desk.Assign(r.Context(), by, c.ID, in.To)
}

func (a *API) transfer(r *http.Request, by desk.By, c desk.Case) (desk.Case, error) {
	var in struct {
		Queue  string `json:"queue"`
		Reason string `json:"reason"`
	}
	if err := decode(r, &in); err != nil {
		return c, err
	}
	return a.desk.Transfer(r.Context(), by, c.ID, in.Queue, in.Reason)
}

func (a *API) markHandled(r *http.Request, by desk.By, c desk.Case) (desk.Case, error) {
	var in struct {
		Measures string `json:"measures"`
	}
	if err := decode(r, &in); err != nil {
		return c, err
	}
	return a.desk.Handle(r.Context(), by, c.ID, in.Measures)
}

func (a *API) closeCase(r *http.Request, by desk.By, c desk.Case) (desk.Case, error) {
	var in struct {
		FollowUp string `json:"follow_up"`
	}
	if err := decode(r, &in); err != nil {
		return c, err
	}
	return a.desk.Close(r.Context(), by, c.ID, in.FollowUp)
}
