package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/staff"
	"guanjia/notify/survey"
)

// surveyPages are the pages of surveys.
var surveyPages = []string{"surveys", "surveyform", "survey", "surveywords"}

func (c *Console) surveyRoutes(r chi.Router) {
	if c.Surveys == nil {
		return
	}
	r.Get("/surveys", c.page(c.surveysPage))
	r.Post("/surveys", c.page(c.saveSurvey))
	r.Get("/surveys/new", c.page(c.newSurvey))
	r.Post("/surveys/alarms/{id}", c.page(c.settleAlarm))
	r.Get("/surveys/{no}", c.page(c.surveyPage))
	r.Get("/surveys/{no}/edit", c.page(c.editSurvey))
	r.Get("/surveys/{no}/words", c.page(c.wordsPage))
	r.Get("/surveys/{no}/results.xlsx", c.file(c.surveyFile))
	r.Post("/surveys/{no}/{action}", c.page(c.actOnSurvey))
}

func (c *Console) surveyFuncs() template.FuncMap {
	return template.FuncMap{
		"whynot": func(code string) string { return c.Book.Label("survey_skip", code) },
		// rate writes a share from 0 to 1 as percent with one place.
		"rate": func(v float64) string { return strconv.FormatFloat(v*100, 'f', 1, 64) },
		"mean": func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) },
		"bars": chartsOf,
		// asked are the people whom a survey writes to.
		"asked": func(a survey.Audience) int { return a.Template + a.SMS },
	}
}

func (c *Console) findSurvey(r *http.Request, p staff.Principal) (survey.Survey, error) {
	s, err := c.Surveys.ByNo(r.Context(), p.CompanyID, strings.ToUpper(chi.URLParam(r, "no")))
	return s, notFound(err)
}

func (c *Console) surveysPage(r *http.Request, p staff.Principal) (shown, error) {
	ctx, q := r.Context(), r.URL.Query()
	list, next, err := c.Surveys.List(ctx, p.CompanyID, survey.Filter{Cursor: q.Get("cursor"), Limit: 30})
	var refused *survey.Refused
	if errors.As(err, &refused) {
		return shown{redirect: "/console/surveys"}, nil
	}
	if err != nil {
		return shown{}, err
	}
	standing, _, err := c.Surveys.List(ctx, p.CompanyID, survey.Filter{Kinds: []survey.Kind{survey.AfterCase, survey.AfterInquiry}, Limit: 50})
	if err != nil {
		return shown{}, err
	}
	alarms, err := c.Surveys.Alarms(ctx, p.CompanyID)
	if err != nil {
		return shown{}, err
	}
	more := ""
	if next != "" {
		more = "/console/surveys?" + url.Values{"cursor": {next}}.Encode()
	}
	return shown{page: "surveys", view: view{Title: "满意度", Nav: "surveys", Data: map[string]any{"List": list, "Standing": standing, "Alarms": alarms, "More": more,
		"MayWrite": p.May(staff.RightWriteNotice), "MaySettle": p.May(staff.RightSupervise)}}}, nil
}

// surveyForm is a survey in the fields of the page.
type surveyForm struct {
	Draft     survey.Draft
	No        string // of the draft that is revised
	Forms     []survey.Questionnaire
	Projects  []estate.Project
	Buildings []estate.Building
	Share     string // of the homes, in percent
	Days      string // until the reminder
	Refused   string
}

// Has tells whether a list of the draft holds a value.
func (f surveyForm) Has(list []string, v string) bool { return slices.Contains(list, v) }

// When writes a time as the browser's field takes it.
func (f surveyForm) When(t survey.Time) string { return form{}.When(t) }

func (c *Console) newSurvey(r *http.Request, p staff.Principal) (shown, error) {
	return c.surveyFormPage(r, p, surveyForm{Draft: survey.Draft{Kind: string(survey.Periodic), Questionnaire: "half_year", Count: survey.CountHome,
		Channels: []string{survey.ChannelTemplate, survey.ChannelSMS}}})
}

func (c *Console) editSurvey(r *http.Request, p staff.Principal) (shown, error) {
	s, err := c.findSurvey(r, p)
	if err != nil {
		return shown{}, err
	}
	if s.State != survey.Drafted {
		return shown{redirect: "/console/surveys/" + s.No}, nil
	}
	f := surveyForm{Draft: s.Draft, No: s.No}
	if s.Sample != nil && s.Sample.Share > 0 {
		f.Share = strconv.FormatFloat(s.Sample.Share*100, 'f', -1, 64)
	}
	if s.RemindAfterDays != nil {
		f.Days = strconv.Itoa(*s.RemindAfterDays)
	}
	return c.surveyFormPage(r, p, f)
}

func (c *Console) surveyFormPage(r *http.Request, p staff.Principal, f surveyForm) (shown, error) {
	for _, q := range c.Surveys.Forms() {
		if !survey.Kind(q.Code).Standing() {
			f.Forms = append(f.Forms, q)
		}
	}
	var err error
	if f.Projects, err = c.Estate.Projects(r.Context(), c.DB, p.CompanyID); err != nil {
		return shown{}, err
	}
	project := f.Draft.Project
	if project == "" && len(f.Projects) > 0 {
		project = f.Projects[0].ID
	}
	if f.Buildings, err = c.Estate.Buildings(r.Context(), c.DB, p.CompanyID, project); err != nil {
		return shown{}, err
	}
	return shown{page: "surveyform", view: view{Title: "发起调查", Nav: "surveys", Data: f}}, nil
}

// readSurveyForm reads the fields of the page; what is no number is said by
// field, nothing is guessed.
func readSurveyForm(r *http.Request) (surveyForm, string) {
	v := func(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }
	at := func(name string) (t survey.Time) {
		// What the browser's field cannot write stays empty and is asked for.
		_ = t.UnmarshalJSON([]byte(strconv.Quote(v(name))))
		return t
	}
	d := survey.Draft{Kind: v("kind"), Title: v("title"), Project: v("project"), Questionnaire: v("questionnaire"), Count: v("count"),
		Anonymous: v("anonymous") != "", StartsAt: at("starts_at"), EndsAt: at("ends_at"), Channels: r.PostForm["channels"]}
	d.Scope.Buildings = r.PostForm["buildings"]
	f := surveyForm{No: v("no"), Share: v("share"), Days: v("days")}
	wrong := ""
	if f.Share != "" {
		n, err := strconv.ParseFloat(strings.TrimSuffix(f.Share, "%"), 64)
		if err != nil || n <= 0 || n > 100 {
			wrong = "抽样比例请填 1 到 100 的数字，全部住户请留空。"
		} else if n < 100 {
			d.Sample = &survey.Sample{Share: n / 100}
		}
	}
	if f.Days != "" {
		n, err := strconv.Atoi(f.Days)
		if err != nil || n < 0 || n > 90 {
			wrong = "提醒天数请填 0 到 90 的整数，0 表示不提醒。"
		} else {
			d.RemindAfterDays = &n
		}
	}
	f.Draft = d
	return f, wrong
}

func (c *Console) saveSurvey(r *http.Request, p staff.Principal) (shown, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return shown{redirect: "/console/surveys/new"}, nil
	}
	f, wrong := readSurveyForm(r)
	if wrong != "" {
		f.Refused = wrong
		return c.surveyFormPage(r, p, f)
	}
	s, err := c.storeSurvey(r.Context(), p, f)
	var refused *survey.Refused
	if errors.As(err, &refused) {
		f.Refused = refused.Message
		return c.surveyFormPage(r, p, f)
	}
	if err != nil {
		return shown{}, err
	}
	return shown{redirect: "/console/surveys/" + s.No}, nil
}

func (c *Console) storeSurvey(ctx context.Context, p staff.Principal, f surveyForm) (survey.Survey, error) {
	if f.No == "" {
		return c.Surveys.Compose(ctx, noticeBy(p), f.Draft)
	}
	old, err := c.Surveys.ByNo(ctx, p.CompanyID, f.No)
	if err != nil {
		return old, err
	}
	return c.Surveys.Revise(ctx, noticeBy(p), old.ID, f.Draft)
}

// surveyView is what the page of a survey shows.
type surveyView struct {
	S      survey.Survey
	R      survey.Results
	F      survey.ResultFilter
	Events []survey.Entry
	Live   bool
	// MayWrite and MayApprove say what the button row offers.
	MayWrite, MayApprove bool
}

func (c *Console) surveyPage(r *http.Request, p staff.Principal) (shown, error) {
	ctx := r.Context()
	s, err := c.findSurvey(r, p)
	if err != nil {
		return shown{}, err
	}
	q := r.URL.Query()
	v := surveyView{S: s, F: survey.ResultFilter{Category: q.Get("category"), Building: q.Get("building"), Month: q.Get("month")},
		MayWrite: p.May(staff.RightWriteNotice), MayApprove: p.May(staff.RightApproveNotice)}
	v.Live = s.State == survey.Approved || s.State == survey.Running && !s.Standing()
	if s.State != survey.Drafted {
		if v.R, err = c.Surveys.Results(ctx, p.CompanyID, s.ID, v.F); err != nil {
			return shown{}, err
		}
	}
	if v.Events, err = c.Surveys.Events(ctx, p.CompanyID, s.ID); err != nil {
		return shown{}, err
	}
	return shown{page: "survey", view: view{Title: s.No + " " + s.Title, Nav: "surveys", Data: v}}, nil
}

func (c *Console) actOnSurvey(r *http.Request, p staff.Principal) (shown, error) {
	s, err := c.findSurvey(r, p)
	if err != nil {
		return shown{}, err
	}
	acts := map[string]func(context.Context, survey.By, string) (survey.Survey, error){
		"approve": c.Surveys.Approve, "cancel": c.Surveys.Cancel, "close": c.Surveys.Close,
	}
	act, ok := acts[chi.URLParam(r, "action")]
	if !ok {
		return shown{}, desk.ErrNotFound
	}
	_, err = act(r.Context(), noticeBy(p), s.ID)
	return shown{redirect: "/console/surveys/" + s.No}, c.tell(r.Context(), err)
}

func (c *Console) settleAlarm(r *http.Request, p staff.Principal) (shown, error) {
	err := c.Surveys.Settle(r.Context(), noticeBy(p), chi.URLParam(r, "id"))
	return shown{redirect: "/console/surveys"}, c.tell(r.Context(), err)
}

// wordsListed bounds the words on one page.
const wordsListed = 50

// wordsPage shows what people wrote, behind one bar or all of them.
func (c *Console) wordsPage(r *http.Request, p staff.Principal) (shown, error) {
	s, err := c.findSurvey(r, p)
	if err != nil {
		return shown{}, err
	}
	q := r.URL.Query()
	f := survey.ResultFilter{Category: q.Get("category"), Building: q.Get("building"), Month: q.Get("month")}
	if n, err := strconv.Atoi(q.Get("score")); err == nil && n >= 1 && n <= 5 {
		f.Score = n
	}
	list, next, err := c.Surveys.Comments(r.Context(), p.CompanyID, s.ID, f, q.Get("cursor"), wordsListed)
	if err != nil {
		return shown{}, err
	}
	more := ""
	if next != "" {
		q.Set("cursor", next)
		more = "/console/surveys/" + s.No + "/words?" + q.Encode()
	}
	return shown{page: "surveywords", view: view{Title: s.No + " 住户的话", Nav: "surveys", Data: map[string]any{"S": s, "F": f, "List": list, "More": more, "Scores": []int{5, 4, 3, 2, 1}}}}, nil
}

func (c *Console) surveyFile(r *http.Request, p staff.Principal, to *bytes.Buffer) (string, error) {
	s, err := c.findSurvey(r, p)
	if err != nil {
		return "", err
	}
	return "survey-" + s.No + ".xlsx", c.Surveys.WriteExcel(r.Context(), to, p.CompanyID, s.ID)
}

// chart is a row of bars drawn from figures: for every figure the five scores
// as parts of one bar, in tones that stay apart in grey print, and the interval
// of the satisfied share above it.
type chart struct {
	chartLayout
	Rows   []chartRow
	Height int
}

// chartLayout is where a chart has what, in units of its picture. There is one
// for wide screens and paper and one for a phone, where a name stands above its
// bar; the style shows either.
type chartLayout struct {
	Class            string
	Width            int
	Head             int // height of the head line
	left, wide, step int // where bars begin, how long they are, from row to row
	text, bar        int // from the top of a row to the foot of its words and to its bar
	Thick            int
	NameX            int
	RateX            int // right ends of the columns of numbers
	MeanX            int
	CountX           int
}

var (
	wideChart  = chartLayout{Width: 720, Head: 20, left: 150, wide: 400, step: 34, text: 23, bar: 8, Thick: 20, NameX: 142, RateX: 614, MeanX: 662, CountX: 718}
	smallChart = chartLayout{Class: "small", Width: 400, Head: 22, wide: 400, step: 72, text: 24, bar: 38, Thick: 26, RateX: 258, MeanX: 318, CountX: 400}
)

type chartRow struct {
	survey.Figure
	Y, TextY, InY int
	Parts         []chartPart
	Low, High     float64 // ends of the interval
	LineY         int
	FewX          int
	Link          string
}

type chartPart struct {
	Score int
	X, W  float64
	Share string // empty where the part is too narrow for words
	TextX float64
}

// chartsOf draws figures in every layout. no, by and f say what is behind each
// bar: the words.
func chartsOf(list []survey.Figure, no, by string, f survey.ResultFilter) []chart {
	return []chart{wideChart.draw(list, no, by, f), smallChart.draw(list, no, by, f)}
}

func (l chartLayout) draw(list []survey.Figure, no, by string, f survey.ResultFilter) chart {
	ch := chart{chartLayout: l, Height: l.Head + l.step*len(list) + 4}
	for i, fig := range list {
		top := l.Head + i*l.step
		row := chartRow{Figure: fig, Y: top + l.bar, TextY: top + l.text, InY: top + l.bar + l.Thick - 5, LineY: top + l.bar - 3, FewX: l.left, Link: linkOf(no, by, fig.Key, f)}
		if !fig.Hidden && fig.N > 0 {
			row.Parts = l.partsOf(fig)
			// Satisfied are the two best scores, drawn from the right: so is the interval.
			row.Low, row.High = float64(l.left)+float64(l.wide)*(1-fig.High), float64(l.left)+float64(l.wide)*(1-fig.Low)
		}
		ch.Rows = append(ch.Rows, row)
	}
	return ch
}

func (l chartLayout) partsOf(fig survey.Figure) []chartPart {
	var parts []chartPart
	x := float64(l.left)
	for i, n := range fig.Scores {
		if n == 0 {
			continue
		}
		w := float64(l.wide) * float64(n) / float64(fig.N)
		p := chartPart{Score: i + 1, X: x, W: w, TextX: x + w/2}
		if w >= 38 {
			p.Share = fmt.Sprintf("%.0f%%", 100*float64(n)/float64(fig.N))
		}
		parts = append(parts, p)
		x += w
	}
	return parts
}

func linkOf(no, by, key string, f survey.ResultFilter) string {
	q := url.Values{}
	for name, v := range map[string]string{"category": f.Category, "building": f.Building, "month": f.Month} {
		if v != "" {
			q.Set(name, v)
		}
	}
	q.Set(by, key)
	return "/console/surveys/" + no + "/words?" + q.Encode()
}
