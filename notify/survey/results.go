package survey

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"guanjia/internal/company"
	"guanjia/internal/db"
)

// z is the quantile of 95 % confidence.
const z = 1.959964

// figure makes a bar out of how many gave which score. low and high are the
// Wilson interval of the share (it holds for few answers and for all or none
// satisfied), the mean has the usual normal one.
func figure(key, name string, scores [5]int) Figure {
	f := Figure{Key: key, Name: name, Scores: scores}
	sum, squares, good := 0, 0, 0
	for i, n := range scores {
		v := i + 1
		f.N += n
		sum += v * n
		squares += v * v * n
		if v >= 4 { // 满意 and 非常满意
			good += n
		}
	}
	if f.N == 0 {
		return f
	}
	n := float64(f.N)
	p, mean := float64(good)/n, float64(sum)/n
	middle, half := (p+z*z/(2*n))/(1+z*z/n), z/(1+z*z/n)*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	f.SatisfiedRate, f.Low, f.High = round(p), round(max(middle-half, 0)), round(min(middle+half, 1))
	deviation := 0.0
	if f.N > 1 {
		deviation = math.Sqrt(max(float64(squares)-n*mean*mean, 0) / (n - 1))
	}
	f.Satisfaction = round(mean)
	f.MeanLow, f.MeanHigh = round(max(mean-z*deviation/math.Sqrt(n), 1)), round(min(mean+z*deviation/math.Sqrt(n), 5))
	return f
}

// round keeps four digits, which is more than anybody reads.
func round(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// cell is one row of counts.
type cell struct {
	category, key string
	score, n      int
}

// cells sums the counts of a survey by category, score and one further column.
func (s *Surveys) cells(ctx context.Context, surveyID, column, where string, args ...any) ([]cell, error) {
	rows, err := s.DB.QueryContext(ctx, `
		SELECT category, k, score, sum(n) FROM (SELECT category, `+column+` AS k, score, n FROM survey_counts WHERE survey_id = $1`+where+`) c
		GROUP BY category, k, score`, append([]any{surveyID}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("survey: read counts: %w", err)
	}
	defer rows.Close()
	var list []cell
	for rows.Next() {
		var c cell
		if err := rows.Scan(&c.category, &c.key, &c.score, &c.n); err != nil {
			return nil, fmt.Errorf("survey: read counts: %w", err)
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// Results gives the figures of a survey, read from counts: their cost depends on
// buildings, months and categories, not on how many answered. A filter narrows
// all of them.
func (s *Surveys) Results(ctx context.Context, companyID, id string, f ResultFilter) (Results, error) {
	x, err := s.ByID(ctx, companyID, id)
	if err != nil {
		return Results{}, err
	}
	c, _, err := s.settings(ctx, companyID)
	if err != nil {
		return Results{}, err
	}
	r := Results{ID: x.ID, No: x.No, Kind: x.Kind, Title: x.Title, State: x.State, Anonymous: x.Anonymous, Skipped: map[string]int{}, By: map[string][]Figure{"category": {}, "building": {}, "month": {}}}
	where, args := narrow(f)
	all, err := s.cells(ctx, x.ID, `''`, where, args...)
	if err != nil {
		return Results{}, err
	}
	byBuilding, err := s.cells(ctx, x.ID, "building", where+` AND category = '`+barOf(f)+`'`, args...)
	if err != nil {
		return Results{}, err
	}
	byMonth, err := s.cells(ctx, x.ID, "month", where+` AND category = '`+barOf(f)+`'`, args...)
	if err != nil {
		return Results{}, err
	}
	s.totals(&r, all)
	small := 0
	if x.Anonymous {
		small = c.Settings.SurveyGroup
	}
	if r.Answered < small {
		r.Hidden, r.Comments = true, 0
		return r, nil
	}
	r.Overall = hide(figure(CategoryOverall, s.categoryName(CategoryOverall), overall(x.Form, all, barOf(f))), small)
	r.SatisfiedRate, r.Satisfaction = r.Overall.SatisfiedRate, r.Overall.Satisfaction
	r.NPS = nps(all, small)
	r.By["category"] = s.byCategory(all, small)
	r.By["building"] = bars(byBuilding, func(k string) string { return k + s.Book.Label("card", "building") }, small)
	r.By["month"] = bars(byMonth, func(k string) string { return k }, small)
	slices.SortFunc(r.By["building"], func(a, b Figure) int { return natural(a.Key, b.Key) })
	slices.SortFunc(r.By["month"], func(a, b Figure) int { return strings.Compare(a.Key, b.Key) })
	return r, nil
}

// barOf is the category whose scores buildings and months show.
func barOf(f ResultFilter) string {
	for _, c := range categoryOrder {
		if f.Category == c {
			return c
		}
	}
	return CategoryOverall
}

// narrow is the filter of counts. Rows of our own about invitations have no
// month.
func narrow(f ResultFilter) (where string, args []any) {
	add := func(cond string, v string) {
		if v != "" {
			args = append(args, v)
			where += strings.ReplaceAll(cond, "?", "$"+strconv.Itoa(len(args)+1))
		}
	}
	add(` AND building = ?`, f.Building)
	add(` AND (month = ? OR category LIKE '#%' AND month = '')`, f.Month)
	return where, args
}

func (s *Surveys) totals(r *Results, all []cell) {
	for _, c := range all {
		switch {
		case c.category == countAnswers:
			r.Answered += c.n
		case c.category == countComments:
			r.Comments += c.n
		case c.category == "#asked":
			r.Invited += c.n
		case c.category == "#waiting":
			r.Waiting += c.n
		case c.category == "#reminded":
			r.Reminded += c.n
		case strings.HasPrefix(c.category, "#skip:") && c.n > 0:
			r.Skipped[strings.TrimPrefix(c.category, "#skip:")] += c.n
		}
	}
	if r.Invited > 0 {
		r.ResponseRate = round(min(float64(r.Answered)/float64(r.Invited), 1))
	}
}

// overall are the scores that stand for the whole: those of the overall
// question, or of all questions where there is none, or of one category.
func overall(form Questionnaire, all []cell, category string) (scores [5]int) {
	marked := slices.ContainsFunc(form.Questions(), func(q Question) bool { return q.Category == CategoryOverall })
	for _, c := range all {
		if c.score < 1 || c.score > 5 || c.category == CategoryNPS || strings.HasPrefix(c.category, "#") {
			continue
		}
		if c.category == category || category == CategoryOverall && !marked {
			scores[c.score-1] += c.n
		}
	}
	return scores
}

// hide takes the figures away from a bar with fewer answers than may be shown.
func hide(f Figure, small int) Figure {
	if f.N >= small {
		return f
	}
	return Figure{Key: f.Key, Name: f.Name, Hidden: true}
}

func nps(all []cell, small int) *NPS {
	var n NPS
	for _, c := range all {
		if c.category != CategoryNPS {
			continue
		}
		n.N += c.n
		switch {
		case c.score >= 9:
			n.Promoters += c.n
		case c.score <= 6:
			n.Detractors += c.n
		}
	}
	if n.N == 0 || n.N < small {
		return nil
	}
	n.Score = int(math.Round(100 * float64(n.Promoters-n.Detractors) / float64(n.N)))
	return &n
}

// categoryOrder is that of requirements section 10.
var categoryOrder = []string{"order_security", "cleaning", "greening", "customer_service", "engineering", "facilities_play", "management",
	"convenience", "special_needs", "culture", "other"}

func (s *Surveys) byCategory(all []cell, small int) []Figure {
	scores := map[string]*[5]int{}
	for _, c := range all {
		if !slices.Contains(categoryOrder, c.category) || c.score < 1 || c.score > 5 {
			continue
		}
		if scores[c.category] == nil {
			scores[c.category] = &[5]int{}
		}
		scores[c.category][c.score-1] += c.n
	}
	list := []Figure{}
	for _, code := range categoryOrder {
		if v := scores[code]; v != nil {
			if f := figure(code, s.categoryName(code), *v); f.N > 0 {
				list = append(list, hide(f, small))
			}
		}
	}
	return list
}

func bars(cells []cell, name func(string) string, small int) []Figure {
	scores := map[string]*[5]int{}
	for _, c := range cells {
		if c.score < 1 || c.score > 5 || c.key == "" {
			continue
		}
		if scores[c.key] == nil {
			scores[c.key] = &[5]int{}
		}
		scores[c.key][c.score-1] += c.n
	}
	list := []Figure{}
	for key, v := range scores {
		if f := figure(key, name(key), *v); f.N > 0 {
			list = append(list, hide(f, small))
		}
	}
	return list
}

// natural sorts 2 before 10.
func natural(a, b string) int {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

// Comments gives the words behind a bar, newest first; next is empty at the end.
// Of an anonymous survey they come in no order, and only once there are enough.
func (s *Surveys) Comments(ctx context.Context, companyID, id string, f ResultFilter, cursor string, limit int) (list []Comment, next string, err error) {
	x, err := s.ByID(ctx, companyID, id)
	if err != nil {
		return nil, "", err
	}
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	if x.Anonymous {
		r, err := s.Results(ctx, companyID, id, ResultFilter{})
		if err != nil || r.Hidden {
			return []Comment{}, "", err
		}
	}
	where, args := `survey_id = $1 AND comment <> ''`, []any{id}
	add := func(cond string, v any) {
		args = append(args, v)
		where += ` AND ` + strings.ReplaceAll(cond, "?", "$"+strconv.Itoa(len(args)))
	}
	if cursor != "" {
		add(`id < ?`, cursor)
	}
	if f.Building != "" {
		add(`building = ?`, f.Building)
	}
	if f.Month != "" {
		add(`month = ?`, f.Month)
	}
	ids := questionsOf(x.Form, f.Category)
	if f.Category != "" && f.Category != CategoryOverall {
		var any []string
		for _, q := range ids {
			pattern := "%|" + q + ":"
			if f.Score > 0 {
				pattern += strconv.Itoa(f.Score) + "|"
			}
			args = append(args, pattern+"%")
			any = append(any, `scores LIKE $`+strconv.Itoa(len(args)))
		}
		if len(any) == 0 {
			return []Comment{}, "", nil
		}
		where += ` AND (` + strings.Join(any, " OR ") + `)`
	} else if f.Score > 0 {
		add(`overall = ?`, f.Score)
	}
	args = append(args, limit+1)
	rows, err := s.DB.QueryContext(ctx, `SELECT id, scores, overall, comment, building, unit, ref_no, month, answered_at FROM survey_answers
		WHERE `+where+` ORDER BY id DESC LIMIT $`+strconv.Itoa(len(args)), args...)
	if err != nil {
		return nil, "", fmt.Errorf("survey: read words: %w", err)
	}
	defer rows.Close()
	list = []Comment{}
	for rows.Next() {
		var c Comment
		var scores string
		var at db.Time
		if err := rows.Scan(&c.ID, &scores, &c.Score, &c.Text, &c.Building, &c.Unit, &c.CaseNo, &c.Month, &at); err != nil {
			return nil, "", fmt.Errorf("survey: read words: %w", err)
		}
		c.AnsweredAt = Time{Time: at.Time}
		if f.Category != "" && f.Category != CategoryOverall {
			given := readScores(scores)
			for _, q := range ids {
				if v, ok := given[q]; ok {
					c.Score = v
					break
				}
			}
		}
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("survey: read words: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID
	}
	return list, next, nil
}

func questionsOf(form Questionnaire, category string) []string {
	var ids []string
	for _, q := range form.Questions() {
		if q.Category == category {
			ids = append(ids, q.ID)
		}
	}
	return ids
}

// Invitations gives a page of who is asked, and who is not and why. links shows
// the address of each page: to an administrator only, and never of an anonymous
// survey, of which no time of an answer is shown either.
func (s *Surveys) Invitations(ctx context.Context, companyID, id, cursor string, limit int, links bool) (list []Invitation, next string, err error) {
	x, err := s.ByID(ctx, companyID, id)
	if err != nil {
		return nil, "", err
	}
	c, _, err := s.settings(ctx, companyID)
	if err != nil {
		return nil, "", err
	}
	if limit <= 0 || limit > 500 {
		limit = 100
	}
	rows, err := s.DB.QueryContext(ctx, `SELECT `+invitationColumns+` FROM survey_invitations i WHERE i.survey_id = $1 AND i.id > $2 ORDER BY i.id LIMIT $3`, id, cursor, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("survey: read invitations: %w", err)
	}
	var all []invitation
	for rows.Next() {
		i, err := scanInvitation(rows)
		if err != nil {
			rows.Close()
			return nil, "", fmt.Errorf("survey: read invitations: %w", err)
		}
		all = append(all, i)
	}
	if err := rows.Err(); err != nil {
		rows.Close()
		return nil, "", fmt.Errorf("survey: read invitations: %w", err)
	}
	rows.Close()
	if len(all) > limit {
		all = all[:limit]
		next = all[limit-1].id
	}
	states, err := s.deliveries(ctx, x, all)
	if err != nil {
		return nil, "", err
	}
	list = make([]Invitation, 0, len(all))
	for _, i := range all {
		list = append(list, s.shown(x, i, states[i.id], links, c.Settings))
	}
	return list, next, nil
}

func (s *Surveys) shown(x Survey, i invitation, delivery string, links bool, set company.Settings) Invitation {
	v := Invitation{
		ID: i.id, Resident: i.name, ResidentID: i.residentID, Unit: i.unit, Building: i.building, CaseNo: i.refNo, Channel: i.channel, Address: i.address,
		State: i.state, SkipCode: i.skip, Delivery: delivery, AskedAt: Time{Time: i.asked.Time}, RemindedAt: Time{Time: i.reminded.Time}, AnsweredAt: Time{Time: i.answered.Time},
	}
	if i.skip != "" {
		v.SkipText = s.Book.Label("survey_skip", i.skip)
	}
	if x.Anonymous {
		// Who has answered is nobody's business.
		v.AnsweredAt = Time{}
		if i.state == InvitationOver {
			v.State = InvitationAsked
		}
		return v
	}
	if links && i.state != InvitationSkipped && s.PublicURL != "" {
		if link, err := s.link(i.id, until(x, i, set)); err == nil {
			v.Link = link
		}
	}
	return v
}

// deliveries gives the state of the delivery of each invitation of a page.
func (s *Surveys) deliveries(ctx context.Context, x Survey, page []invitation) (map[string]string, error) {
	type pair struct {
		I string `json:"i"`
		D string `json:"d"`
	}
	var asked []pair
	states := map[string]string{}
	for _, i := range page {
		switch {
		case i.asked.IsZero() || i.channel == ChannelChat && i.refID == "":
		case i.refID != "":
			list, err := s.Ledger.ByRef(ctx, s.DB, RefAsk, i.id)
			if err != nil {
				return nil, fmt.Errorf("survey: read deliveries: %w", err)
			}
			if len(list) > 0 {
				states[i.id] = string(list[len(list)-1].State)
			}
		default:
			asked = append(asked, pair{i.id, prefixOf(i.channel, false) + i.id})
		}
	}
	if len(asked) == 0 {
		return states, nil
	}
	rows, err := s.DB.QueryContext(ctx, `SELECT r.i, s.state FROM `+db.Rows(s.DB, "$1", db.TextCol("i"), db.TextCol("d"))+` AS r JOIN delivery_states s ON s.id = r.d`, db.RowsArg(asked))
	if err != nil {
		return nil, fmt.Errorf("survey: read deliveries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, state string
		if err := rows.Scan(&id, &state); err != nil {
			return nil, fmt.Errorf("survey: read deliveries: %w", err)
		}
		states[id] = state
	}
	return states, rows.Err()
}
