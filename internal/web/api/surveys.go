package api

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/staff"
	"guanjia/notify/survey"
)

// surveyRoutes are the calls of surveys. {id} is a survey's id or its number.
func (a *API) surveyRoutes(r chi.Router) {
	if a.surveys == nil {
		return
	}
	r.Get("/surveys", a.handle(a.listSurveys))
	r.Post("/surveys", a.handle(a.composeSurvey))
	r.Get("/questionnaires", a.handle(a.questionnaires))
	r.Get("/surveys/{id}", a.handle(a.showSurvey))
	r.Put("/surveys/{id}", a.handle(a.reviseSurvey))
	r.Post("/surveys/{id}/approve", a.handle(a.onSurvey(a.surveys.Approve)))
	r.Post("/surveys/{id}/cancel", a.handle(a.onSurvey(a.surveys.Cancel)))
	r.Post("/surveys/{id}/close", a.handle(a.onSurvey(a.surveys.Close)))
	r.Get("/surveys/{id}/invitations", a.handle(a.surveyInvitations))
	r.Get("/surveys/{id}/comments", a.handle(a.surveyComments))
	r.Get("/surveys/{id}/events", a.handle(a.surveyEvents))
	r.Get("/surveys/{id}/results.xlsx", a.surveyExcel)
	r.Get("/survey-alarms", a.handle(a.surveyAlarms))
	r.Get("/mutes", a.handle(a.listMutes))
	r.Post("/mutes", a.handle(a.putMute))
}

type surveyAct func(ctx context.Context, by survey.By, id string) (survey.Survey, error)

// surveyView is a survey with its results. The fields of the results stand
// before those of the survey that have the same name.
type surveyView struct {
	survey.Survey
	Problems      []survey.Problem           `json:"problems"`
	Warnings      []survey.Problem           `json:"warnings"`
	Invited       int                        `json:"invited"`
	Answered      int                        `json:"answered"`
	ResponseRate  float64                    `json:"response_rate"`
	SatisfiedRate float64                    `json:"satisfied_rate"`
	Satisfaction  float64                    `json:"satisfaction"`
	Overall       survey.Figure              `json:"overall"`
	NPS           *survey.NPS                `json:"nps,omitempty"`
	By            map[string][]survey.Figure `json:"by"`
	Skipped       map[string]int             `json:"skipped"`
	Waiting       int                        `json:"waiting"`
	Reminded      int                        `json:"reminded"`
	Comments      int                        `json:"comments"`
	Hidden        bool                       `json:"hidden,omitempty"`
}

var surveyNumber = regexp.MustCompile(`^[Ss]\d{4,}$`)

func (a *API) findSurvey(r *http.Request, p staff.Principal) (survey.Survey, error) {
	id := chi.URLParam(r, "id")
	if surveyNumber.MatchString(id) {
		return a.surveys.ByNo(r.Context(), p.CompanyID, strings.ToUpper(id))
	}
	return a.surveys.ByID(r.Context(), p.CompanyID, id)
}

// viewSurvey reads the results of a survey, if it has any yet.
func (a *API) viewSurvey(r *http.Request, s survey.Survey, f survey.ResultFilter) (surveyView, error) {
	v := surveyView{Survey: s, Problems: listOf(s.Problems), Warnings: listOf(s.Warnings), By: map[string][]survey.Figure{}, Skipped: map[string]int{}}
	for _, by := range resultsBy {
		v.By[by] = []survey.Figure{}
	}
	if s.State == survey.Drafted {
		return v, nil
	}
	res, err := a.surveys.Results(r.Context(), s.CompanyID, s.ID, f)
	if err != nil {
		return v, err
	}
	v.State, v.Invited, v.Answered, v.ResponseRate = res.State, res.Invited, res.Answered, res.ResponseRate
	v.SatisfiedRate, v.Satisfaction, v.Overall, v.NPS = res.SatisfiedRate, res.Satisfaction, res.Overall, res.NPS
	v.Waiting, v.Reminded, v.Comments, v.Hidden = res.Waiting, res.Reminded, res.Comments, res.Hidden
	for by, list := range res.By {
		v.By[by] = listOf(list)
	}
	if res.Skipped != nil {
		v.Skipped = res.Skipped
	}
	return v, nil
}

// resultsBy are the sights that results are cut by.
var resultsBy = []string{"category", "building", "month"}

// resultFilter reads which part of the results is asked for.
func resultFilter(q url.Values) (survey.ResultFilter, error) {
	f := survey.ResultFilter{Category: q.Get("category"), Building: q.Get("building"), Month: q.Get("month")}
	if f.Month != "" && !monthPattern.MatchString(f.Month) {
		return f, badRequest("month", "write it as 2026-11")
	}
	if s := q.Get("score"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 5 {
			return f, badRequest("score", "is 1 to 5")
		}
		f.Score = n
	}
	return f, nil
}

var monthPattern = regexp.MustCompile(`^\d{4}-(0[1-9]|1[0-2])$`)

var surveyStates = []survey.State{survey.Drafted, survey.Approved, survey.Running, survey.Closed, survey.Cancelled}

var surveyKinds = []survey.Kind{survey.AfterCase, survey.AfterInquiry, survey.Periodic, survey.Event}

func (a *API) listSurveys(r *http.Request, p staff.Principal) (result, error) {
	q := r.URL.Query()
	limit, err := limitOf(q.Get("limit"))
	if err != nil {
		return result{}, err
	}
	f := survey.Filter{Project: q.Get("project"), Cursor: q.Get("cursor"), Limit: limit}
	for _, s := range q["state"] {
		if !slices.Contains(surveyStates, survey.State(s)) {
			return result{}, badRequest("state", "is none of the states of a survey")
		}
		f.States = append(f.States, survey.State(s))
	}
	for _, k := range q["kind"] {
		if !slices.Contains(surveyKinds, survey.Kind(k)) {
			return result{}, badRequest("kind", "is none of the kinds of a survey")
		}
		f.Kinds = append(f.Kinds, survey.Kind(k))
	}
	list, next, err := a.surveys.List(r.Context(), p.CompanyID, f)
	if err != nil {
		return result{}, err
	}
	for i := range list {
		list[i].Problems, list[i].Warnings = listOf(list[i].Problems), listOf(list[i].Warnings)
	}
	return ok(map[string]any{"surveys": listOf(list), "next_cursor": next}), nil
}

func surveyBy(p staff.Principal) survey.By { return noticeBy(p) }

func (a *API) composeSurvey(r *http.Request, p staff.Principal) (result, error) {
	draft, err := survey.ReadJSON(r.Body)
	if err != nil {
		return result{}, err
	}
	s, err := a.surveys.Compose(r.Context(), surveyBy(p), draft)
	if err != nil {
		return result{}, err
	}
	v, err := a.viewSurvey(r, s, survey.ResultFilter{})
	return result{status: http.StatusCreated, body: v}, err
}

func (a *API) reviseSurvey(r *http.Request, p staff.Principal) (result, error) {
	draft, err := survey.ReadJSON(r.Body)
	if err != nil {
		return result{}, err
	}
	s, err := a.findSurvey(r, p)
	if err != nil {
		return result{}, err
	}
	if s, err = a.surveys.Revise(r.Context(), surveyBy(p), s.ID, draft); err != nil {
		return result{}, err
	}
	v, err := a.viewSurvey(r, s, survey.ResultFilter{})
	return ok(v), err
}

func (a *API) questionnaires(*http.Request, staff.Principal) (result, error) {
	return ok(map[string]any{"questionnaires": listOf(a.surveys.Forms())}), nil
}

func (a *API) showSurvey(r *http.Request, p staff.Principal) (result, error) {
	f, err := resultFilter(r.URL.Query())
	if err != nil {
		return result{}, err
	}
	s, err := a.findSurvey(r, p)
	if err != nil {
		return result{}, err
	}
	v, err := a.viewSurvey(r, s, f)
	return ok(v), err
}

// onSurvey does something with the survey of the address and shows it after.
func (a *API) onSurvey(act surveyAct) handler {
	return func(r *http.Request, p staff.Principal) (result, error) {
		s, err := a.findSurvey(r, p)
		if err != nil {
			return result{}, err
		}
		if s, err = act(r.Context(), surveyBy(p), s.ID); err != nil {
			return result{}, err
		}
		v, err := a.viewSurvey(r, s, survey.ResultFilter{})
		return ok(v), err
	}
}

// surveyInvitations lists who was asked. A link answers in somebody's name, so
// only an administrator gets it.
func (a *API) surveyInvitations(r *http.Request, p staff.Principal) (result, error) {
	limit, err := limitOf(r.URL.Query().Get("limit"))
	if err != nil {
		return result{}, err
	}
	s, err := a.findSurvey(r, p)
	if err != nil {
		return result{}, err
	}
	list, next, err := a.surveys.Invitations(r.Context(), p.CompanyID, s.ID, r.URL.Query().Get("cursor"), limit, p.Admin)
	if err != nil {
		return result{}, err
	}
	for i := range list {
		if !seesNumbers(p) {
			list[i].Address = masked(list[i].Address)
		}
	}
	return ok(map[string]any{"invitations": listOf(list), "next_cursor": next}), nil
}

func (a *API) surveyComments(r *http.Request, p staff.Principal) (result, error) {
	limit, err := limitOf(r.URL.Query().Get("limit"))
	if err != nil {
		return result{}, err
	}
	f, err := resultFilter(r.URL.Query())
	if err != nil {
		return result{}, err
	}
	s, err := a.findSurvey(r, p)
	if err != nil {
		return result{}, err
	}
	list, next, err := a.surveys.Comments(r.Context(), p.CompanyID, s.ID, f, r.URL.Query().Get("cursor"), limit)
	return ok(map[string]any{"comments": listOf(list), "next_cursor": next}), err
}

func (a *API) surveyEvents(r *http.Request, p staff.Principal) (result, error) {
	s, err := a.findSurvey(r, p)
	if err != nil {
		return result{}, err
	}
	list, err := a.surveys.Events(r.Context(), p.CompanyID, s.ID)
	return ok(map[string]any{"events": listOf(list)}), err
}

// surveyExcel gives the results as Excel, written whole before the first byte
// leaves.
func (a *API) surveyExcel(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(principalKey{}).(staff.Principal)
	s, err := a.findSurvey(r, p)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	var file bytes.Buffer
	if err := a.surveys.WriteExcel(r.Context(), &file, p.CompanyID, s.ID); err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", excelType)
	w.Header().Set("Content-Disposition", `attachment; filename="survey-`+s.No+`.xlsx"`)
	_, _ = w.Write(file.Bytes()) // the reader has gone
}

func (a *API) surveyAlarms(r *http.Request, p staff.Principal) (result, error) {
	list, err := a.surveys.Alarms(r.Context(), p.CompanyID)
	return ok(map[string]any{"alarms": listOf(list)}), err
}

func (a *API) listMutes(r *http.Request, p staff.Principal) (result, error) {
	list, err := a.surveys.Mutes(r.Context(), surveyBy(p))
	return ok(map[string]any{"mutes": listOf(list)}), err
}

func (a *API) putMute(r *http.Request, p staff.Principal) (result, error) {
	var in survey.Mute
	if err := decode(r, &in); err != nil {
		return result{}, err
	}
	if err := a.surveys.Mute(r.Context(), surveyBy(p), in); err != nil {
		return result{}, err
	}
	return ok(map[string]any{"mute": in}), nil
}
