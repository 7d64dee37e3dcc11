package api

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/estate"
	"guanjia/internal/staff"
)

// queueListed bounds how many waiting cases one call shows.
const queueListed = 200

type queueView struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Line    string `json:"line"`
	Waiting int    `json:"waiting"`
	OldestS int64  `json:"oldest_s"`
	InHand  int    `json:"in_hand"`
	Source  string `json:"source"`
}

func (a *API) listQueues(r *http.Request, p staff.Principal) (result, error) {
	ctx := r.Context()
	queues, err := a.queues.All(ctx, a.db, p.CompanyID)
	if err != nil {
		return result{}, err
	}
	stats, err := a.queues.Stats(ctx, p.CompanyID)
	if err != nil {
		return result{}, err
	}
	views := make([]queueView, len(queues))
	for i, q := range queues {
		views[i] = queueView{ID: q.ID, Name: q.Name, Line: q.Line, Source: "rows"}
		for _, s := range stats {
			if s.QueueID == q.ID {
				views[i].Waiting, views[i].OldestS, views[i].InHand, views[i].Source = int(s.Waiting), int64(s.OldestS), int(s.InHand), s.Source
			}
		}
	}
	return ok(map[string]any{"queues": views}), nil
}

func (a *API) queueCases(r *http.Request, p staff.Principal) (result, error) {
	ctx := r.Context()
	q, found, err := a.queues.ByID(ctx, a.db, chi.URLParam(r, "id"))
	if err != nil {
		return result{}, err
	}
	if !found || q.CompanyID != p.CompanyID {
		return result{}, errNotFound
	}
	cases, source, err := a.desk.Queue(ctx, p.CompanyID, q.ID, queueListed)
	if err != nil {
		return result{}, err
	}
	return ok(map[string]any{"cases": viewsOf(cases), "source": source}), nil
}

type residentView struct {
	ID     string     `json:"id"`
	Name   string     `json:"name"`
	Phone  string     `json:"phone"`
	OpenID *string    `json:"openid"`
	Homes  []homeView `json:"homes"`
}

type homeView struct {
	Unit     string `json:"unit"`
	Building string `json:"building"`
	Role     string `json:"role"`
}

func (a *API) listResidents(r *http.Request, p staff.Principal) (result, error) {
	q := r.URL.Query()
	limit, err := limitOf(q.Get("limit"))
	if err != nil {
		return result{}, err
	}
	f := estate.Filter{Unit: q.Get("unit"), Phone: q.Get("phone"), OpenID: q.Get("openid"), Cursor: q.Get("cursor"), Limit: limit}
	if f.Unit != "" {
		if code, okCode := estate.ParseUnitCode(f.Unit); okCode {
			f.Unit = code
		}
	}
	switch b := q.Get("bound"); b {
	case "":
	case "true", "1":
		yes := true
		f.Bound = &yes
	case "false", "0":
		no := false
		f.Bound = &no
	default:
		return result{}, badRequest("bound", "must be true or false")
	}
	residents, cursor, err := a.estate.Residents(r.Context(), a.db, p.CompanyID, f)
	if err != nil {
		return result{}, err
	}
	views := make([]residentView, len(residents))
	for i, res := range residents {
		homes := make([]homeView, len(res.Homes))
		for j, h := range res.Homes {
			homes[j] = homeView{Unit: h.Unit, Building: h.Building, Role: h.Role}
		}
		views[i] = residentView{ID: res.ID, Name: res.Name, Phone: res.Phone, OpenID: optional(res.OpenID), Homes: homes}
	}
	return ok(map[string]any{"residents": views, "next_cursor": cursor}), nil
}
