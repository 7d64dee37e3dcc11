package survey

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/db"
)

const surveyColumns = `id, company_id, no, project_id, kind, state, anonymous, count_by, draft, facts, form, author, author_name,
	approved_by, approver_name, held, created_at, approved_at, starts_at, ends_at, started_at, remind_at, closed_at, version`

// facts is what is known about a survey besides its fields; stored with it.
type facts struct {
	Project  string    `json:"project"`
	Place    string    `json:"place"`
	Audience Audience  `json:"audience"`
	Segments int       `json:"segments"`
	CostFen  int       `json:"cost_fen"`
	Problems []Problem `json:"problems"`
	Warnings []Problem `json:"warnings"`
	Filled   []string  `json:"filled"`
	Preview  Preview   `json:"preview"`
	// LastSent is when an invitation last left the state waiting.
	LastSent time.Time `json:"last_sent,omitzero"`

	held bool
}

func scanSurvey(row interface{ Scan(...any) error }) (Survey, error) {
	var (
		x                         Survey
		draft, known, form, count string
		anonymous                 bool // as the draft says
		times                     [7]db.Time
	)
	err := row.Scan(&x.ID, &x.CompanyID, &x.No, &x.ProjectID, &x.Kind, &x.State, &anonymous, &count, &draft, &known, &form, &x.Author, &x.AuthorName,
		&x.ApprovedBy, &x.ApproverName, &x.facts.held, &times[0], &times[1], &times[2], &times[3], &times[4], &times[5], &times[6], &x.version)
	if err != nil {
		return Survey{}, err
	}
	held := x.facts.held
	if err := json.Unmarshal([]byte(draft), &x.Draft); err != nil {
		return Survey{}, fmt.Errorf("decode draft: %w", err)
	}
	if err := json.Unmarshal([]byte(known), &x.facts); err != nil {
		return Survey{}, fmt.Errorf("decode facts: %w", err)
	}
	if x.Form, err = decodeForm(form); err != nil {
		return Survey{}, err
	}
	x.facts.held = held
	x.CreatedAt, x.ApprovedAt, x.StartsAt, x.EndsAt = Time{Time: times[0].Time}, Time{Time: times[1].Time}, Time{Time: times[2].Time}, Time{Time: times[3].Time}
	x.StartedAt, x.RemindAt, x.ClosedAt = Time{Time: times[4].Time}, Time{Time: times[5].Time}, Time{Time: times[6].Time}
	x.show()
	return x, nil
}

// show copies what was found out to where readers look.
func (x *Survey) show() {
	f := x.facts
	x.ProjectName, x.Place, x.Audience, x.Segments, x.CostFen = f.Project, f.Place, f.Audience, f.Segments, f.CostFen
	x.Problems, x.Warnings, x.Filled, x.Preview, x.FormVersion = f.Problems, f.Warnings, f.Filled, f.Preview, x.Form.ID()
	if x.Audience.Skipped == nil {
		x.Audience.Skipped = map[string]int{}
	}
	if x.Problems == nil {
		x.Problems = []Problem{}
	}
	if x.Warnings == nil {
		x.Warnings = []Problem{}
	}
}

func oneSurvey(ctx context.Context, q querier, where string, args ...any) (Survey, bool, error) {
	x, err := scanSurvey(q.QueryRowContext(ctx, `SELECT `+surveyColumns+` FROM surveys WHERE `+where, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return Survey{}, false, nil
	}
	if err != nil {
		return Survey{}, false, fmt.Errorf("survey: read survey: %w", err)
	}
	return x, true, nil
}

func manySurveys(ctx context.Context, q querier, where string, args ...any) ([]Survey, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+surveyColumns+` FROM surveys WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("survey: read surveys: %w", err)
	}
	defer rows.Close()
	var list []Survey
	for rows.Next() {
		x, err := scanSurvey(rows)
		if err != nil {
			return nil, fmt.Errorf("survey: read surveys: %w", err)
		}
		list = append(list, x)
	}
	return list, rows.Err()
}

// nextNoTx draws the next number of a company.
func nextNoTx(ctx context.Context, tx *db.Tx, companyID string) (int64, error) {
	var last int64
	err := tx.QueryRowContext(ctx, `
		INSERT INTO survey_numbers (company_id, last) VALUES ($1, 1)
		ON CONFLICT (company_id) DO UPDATE SET last = survey_numbers.last + 1
		RETURNING last`, companyID).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("survey: draw a number: %w", err)
	}
	return last, nil
}

func formatNo(n int64) string { return fmt.Sprintf("S%04d", n) }

// numberOf reads a number in any usual writing: s12, S0012.
func numberOf(no string) (int64, bool) {
	rest, ok := strings.CutPrefix(strings.ToUpper(strings.TrimSpace(no)), "S")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	return n, err == nil && n > 0
}

// insertTx writes a new survey and tells whether it is there by this call: of
// two that make the same standing survey one does.
func insertTx(ctx context.Context, tx *db.Tx, x Survey, number int64, standing string) (bool, error) {
	res, err := tx.ExecContext(ctx, `
		INSERT INTO surveys (id, company_id, no, number, project_id, kind, state, standing, anonymous, count_by, draft, facts, form, form_id,
			author, author_name, approved_by, approver_name, held, created_at, approved_at, starts_at, ends_at, started_at, version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, '', '', false, $17, $18, $19, $20, $21, 1)
		ON CONFLICT DO NOTHING`,
		x.ID, x.CompanyID, x.No, number, x.ProjectID, kindColumn(x), string(x.State), standing, x.Anonymous, countColumn(x), encode(x.Draft), encode(x.facts),
		encodeForm(x.Form), x.Form.ID(), x.Author, x.AuthorName, db.At(x.CreatedAt.Time), db.At(x.ApprovedAt.Time), db.At(x.StartsAt.Time),
		db.At(x.EndsAt.Time), db.At(x.StartedAt.Time))
	if err != nil {
		return false, fmt.Errorf("survey: store survey: %w", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// kindColumn and countColumn keep a draft whose kind or count nobody knows
// within what the table takes; the draft keeps what was written, and its
// problems say what is wrong.
func kindColumn(x Survey) string {
	if k := Kind(x.Kind); k == Event || k.Standing() && x.State != Drafted {
		return x.Kind
	}
	return string(Periodic)
}

func countColumn(x Survey) string {
	if x.Count == CountHome {
		return CountHome
	}
	return CountPerson
}

// errStale: another hand changed the survey since it was read.
var errStale = errors.New("survey: the survey was changed meanwhile")

// updateTx writes a survey by compare-and-set on its version.
func updateTx(ctx context.Context, tx *db.Tx, x *Survey) error {
	res, err := tx.ExecContext(ctx, `
		UPDATE surveys SET project_id = $3, kind = $4, state = $5, anonymous = $6, count_by = $7, draft = $8, facts = $9, form = $10, form_id = $11,
			author = $12, author_name = $13, approved_by = $14, approver_name = $15, held = $16, approved_at = $17, starts_at = $18, ends_at = $19,
			started_at = $20, remind_at = $21, closed_at = $22, version = version + 1
		WHERE id = $1 AND version = $2`,
		x.ID, x.version, x.ProjectID, kindColumn(*x), string(x.State), x.Anonymous, countColumn(*x), encode(x.Draft), encode(x.facts), encodeForm(x.Form), x.Form.ID(),
		x.Author, x.AuthorName, x.ApprovedBy, x.ApproverName, x.facts.held, db.At(x.ApprovedAt.Time), db.At(x.StartsAt.Time), db.At(x.EndsAt.Time),
		db.At(x.StartedAt.Time), db.At(x.RemindAt.Time), db.At(x.ClosedAt.Time))
	if err != nil {
		return fmt.Errorf("survey: change survey: %w", err)
	}
	changed, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("survey: change survey: %w", err)
	}
	if changed == 0 {
		return errStale
	}
	x.version++
	return nil
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("survey: encode: " + err.Error()) // our own structs always do
	}
	return string(b)
}

// Entry is one line of a survey's history.
type Entry struct {
	At   Time   `json:"at"`
	Kind string `json:"kind"`
	By   string `json:"by"`
	Name string `json:"name"`
	Via  string `json:"via"`
	Text string `json:"text"`
}

func eventTx(ctx context.Context, tx *db.Tx, surveyID, kind string, by By, at time.Time, text string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO survey_events (id, survey_id, at, kind, by_user, by_name, via, text) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		db.NewID(), surveyID, db.At(at), kind, by.UserID, by.Name, by.Via, text)
	if err != nil {
		return fmt.Errorf("survey: write history: %w", err)
	}
	return nil
}

// Events gives the history of a survey, oldest first.
func (s *Surveys) Events(ctx context.Context, companyID, id string) ([]Entry, error) {
	rows, err := s.DB.QueryContext(ctx, `
		SELECT e.at, e.kind, e.by_user, e.by_name, e.via, e.text FROM survey_events e JOIN surveys s ON s.id = e.survey_id
		WHERE e.survey_id = $1 AND s.company_id = $2 ORDER BY e.id`, id, companyID)
	if err != nil {
		return nil, fmt.Errorf("survey: read history: %w", err)
	}
	defer rows.Close()
	list := []Entry{}
	for rows.Next() {
		var e Entry
		var at db.Time
		if err := rows.Scan(&at, &e.Kind, &e.By, &e.Name, &e.Via, &e.Text); err != nil {
			return nil, fmt.Errorf("survey: read history: %w", err)
		}
		e.At = Time{Time: at.Time}
		list = append(list, e)
	}
	return list, rows.Err()
}

// ByID finds a survey of a company; a *Refused when there is none.
func (s *Surveys) ByID(ctx context.Context, companyID, id string) (Survey, error) {
	x, ok, err := oneSurvey(ctx, s.DB, `company_id = $1 AND id = $2`, companyID, id)
	if err == nil && !ok {
		err = s.refuse(refusedNotFound)
	}
	return x, err
}

// ByNo finds a survey by its number, in any usual writing (s12, S0012).
func (s *Surveys) ByNo(ctx context.Context, companyID, no string) (Survey, error) {
	n, ok := numberOf(no)
	if !ok {
		return Survey{}, s.refuse(refusedNotFound)
	}
	x, ok, err := oneSurvey(ctx, s.DB, `company_id = $1 AND number = $2`, companyID, n)
	if err == nil && !ok {
		err = s.refuse(refusedNotFound)
	}
	return x, err
}

// List gives surveys, newest first; next is empty at the end.
func (s *Surveys) List(ctx context.Context, companyID string, f Filter) (list []Survey, next string, err error) {
	limit := f.Limit
	if limit <= 0 || limit > 200 {
		limit = 50
	}
	where, args := `company_id = $1`, []any{companyID}
	param := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	if f.Cursor != "" {
		where += ` AND id < ` + param(f.Cursor)
	}
	if f.Project != "" {
		where += ` AND project_id = ` + param(f.Project)
	}
	if len(f.Kinds) == 0 {
		where += ` AND standing = ''`
	} else {
		where += ` AND kind ` + db.InStrings(s.DB, param(db.Strings(s.DB, texts(f.Kinds))))
	}
	if len(f.States) > 0 {
		where += ` AND state ` + db.InStrings(s.DB, param(db.Strings(s.DB, texts(f.States))))
	}
	list, err = manySurveys(ctx, s.DB, where+` ORDER BY id DESC LIMIT `+param(limit+1), args...)
	if err != nil {
		return nil, "", err
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID
	}
	return list, next, nil
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}
