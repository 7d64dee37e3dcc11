package survey

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/jobs"
)

// invitation is a row of survey_invitations.
type invitation struct {
	id, surveyID, companyID, person, residentID, name, unitID, unit, building string
	countKey, refID, refNo, channel, accountID, address, state, skip, asking  string
	doubted                                                                   bool
	created, asked, talked, reminded, answered                                db.Time
}

const invitationColumns = `i.id, i.survey_id, i.company_id, i.person, i.resident_id, i.name, i.unit_id, i.unit, i.building, i.count_key, i.ref_id, i.ref_no,
	i.channel, i.account_id, i.address, i.state, i.skip_code, i.asking, i.doubted, i.created_at, i.asked_at, i.talked_at, i.reminded_at, i.answered_at`

func scanInvitation(row interface{ Scan(...any) error }) (invitation, error) {
	var i invitation
	err := row.Scan(&i.id, &i.surveyID, &i.companyID, &i.person, &i.residentID, &i.name, &i.unitID, &i.unit, &i.building, &i.countKey, &i.refID, &i.refNo,
		&i.channel, &i.accountID, &i.address, &i.state, &i.skip, &i.asking, &i.doubted, &i.created, &i.asked, &i.talked, &i.reminded, &i.answered)
	return i, err
}

func oneInvitation(ctx context.Context, q querier, where string, args ...any) (invitation, bool, error) {
	i, err := scanInvitation(q.QueryRowContext(ctx, `SELECT `+invitationColumns+` FROM survey_invitations i WHERE `+where, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return invitation{}, false, nil
	}
	if err != nil {
		return invitation{}, false, fmt.Errorf("survey: read invitation: %w", err)
	}
	return i, true, nil
}

// until is when an invitation may no longer be answered: the end of the survey,
// or some days after a question about a case.
func until(x Survey, i invitation, s company.Settings) time.Time {
	if !x.Standing() {
		return x.EndsAt.Time
	}
	from := i.asked.Time
	if from.IsZero() {
		from = i.created.Time
	}
	return from.AddDate(0, 0, s.CaseAskDays)
}

// open tells whether an answer would count now.
func (s *Surveys) openFor(x Survey, i invitation, set company.Settings) bool {
	return x.State == Running && i.state != InvitationSkipped && s.now().Before(until(x, i, set))
}

// given is what somebody answers: some of the questions, and words.
type given struct {
	scores  map[string]int
	comment string
	// keep leaves what was answered before and is not answered now as it is: a
	// conversation answers one question at a time, a page all of them.
	keep    bool
	channel string
}

// saved says what became of an answer.
type saved struct {
	kind     OutcomeKind
	answerID string
	low      bool // a follow-up is due

	survey     Survey
	invitation invitation
}

type answer struct {
	id, scores, comment, building, month, followUp string
	overall                                        int
}

// saveTx is the one place that writes an answer: row, counts and the mark on
// the invitation, by the unique key of what counts once. The caller has checked
// that the survey is open and that the scores are in range.
func (s *Surveys) saveTx(ctx context.Context, tx *db.Tx, x Survey, i invitation, g given, set company.Settings) (saved, error) {
	if x.Anonymous {
		return s.saveSecretTx(ctx, tx, x, i, g)
	}
	old, was, err := answerTx(ctx, tx, x.ID, i.countKey)
	if err != nil {
		return saved{}, err
	}
	next := answer{id: db.NewID(), building: i.building, month: monthOf(s.now())}
	if !was {
		next.take(x.Form, nil, g)
		put, err := s.putAnswerTx(ctx, tx, x, i, next, g.channel)
		if err != nil {
			return saved{}, err
		}
		if !put {
			// Two of a home at the same instant: the other one's is there now.
			if old, was, err = answerTx(ctx, tx, x.ID, i.countKey); err != nil || !was {
				return saved{}, errors.Join(err, errStale)
			}
		}
	}
	out := saved{kind: Saved, answerID: next.id}
	if was {
		next.id, next.building, next.month, next.followUp = old.id, old.building, old.month, old.followUp
		next.take(x.Form, &old, g)
		_, err := tx.ExecContext(ctx, `UPDATE survey_answers SET scores = $2, overall = $3, comment = $4, changed_at = $5 WHERE id = $1`,
			next.id, next.scores, next.overall, next.comment, db.At(s.now()))
		if err != nil {
			return saved{}, fmt.Errorf("survey: change an answer: %w", err)
		}
		out = saved{kind: Changed, answerID: old.id}
	}
	var before *answer
	if was {
		before = &old
	}
	if err := countTx(ctx, tx, x, next.building, next.month, deltas(x.Form, before, next)); err != nil {
		return saved{}, err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE survey_invitations SET state = 'answered', answered_at = coalesce(answered_at, `+db.TimeParam(tx, "$2")+`) WHERE id = $1`, i.id, db.At(s.now())); err != nil {
		return saved{}, fmt.Errorf("survey: mark an invitation: %w", err)
	}
	if next.followUp == "" && len(lows(x.Form, next.scores, set.LowScore)) > 0 {
		out.low = true
		return out, s.Jobs.PutTx(ctx, tx, jobs.Job{Kind: JobLow, Args: jobArgs{out.answerID}, UniqueKey: out.answerID})
	}
	return out, nil
}

// take makes the answer that is kept, out of the one before and what is given.
func (a *answer) take(form Questionnaire, old *answer, g given) {
	scores := map[string]int{}
	if old != nil && g.keep {
		scores = readScores(old.scores)
	}
	for id, v := range g.scores {
		scores[id] = v
	}
	a.scores = writeScores(form, scores)
	a.overall = scores[form.Overall().ID]
	a.comment = g.comment
	if old != nil && g.keep {
		a.comment = join(old.comment, g.comment)
	}
}

func join(a, b string) string {
	switch {
	case a == "" || a == b:
		return b
	case b == "":
		return a
	}
	return cut(a+"\n"+b, maxComment)
}

func (s *Surveys) putAnswerTx(ctx context.Context, tx *db.Tx, x Survey, i invitation, a answer, channel string) (bool, error) {
	res, err := tx.ExecContext(ctx, `
		INSERT INTO survey_answers (id, survey_id, company_id, count_key, invitation_id, resident_id, building, unit, ref_no, form_id, channel, scores, overall,
			comment, month, follow_up, answered_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, '', $16)
		ON CONFLICT (survey_id, count_key) DO NOTHING`,
		a.id, x.ID, x.CompanyID, i.countKey, i.id, i.residentID, a.building, i.unit, i.refNo, x.Form.ID(), channel, a.scores, a.overall, a.comment, a.month, db.At(s.now()))
	if err != nil {
		return false, fmt.Errorf("survey: keep an answer: %w", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func answerTx(ctx context.Context, tx *db.Tx, surveyID, countKey string) (answer, bool, error) {
	var a answer
	err := tx.QueryRowContext(ctx, `SELECT id, scores, overall, comment, building, month, follow_up FROM survey_answers WHERE survey_id = $1 AND count_key = $2`+db.ForUpdate(tx),
		surveyID, countKey).Scan(&a.id, &a.scores, &a.overall, &a.comment, &a.building, &a.month, &a.followUp)
	if errors.Is(err, sql.ErrNoRows) {
		return a, false, nil
	}
	if err != nil {
		return a, false, fmt.Errorf("survey: read an answer: %w", err)
	}
	return a, true, nil
}

// saveSecretTx keeps an anonymous answer: that its link has been used, as a hash
// under a key that is not in the database; its scores as counts; its words as a
// row that says nothing else. Neither says which home or when, and nothing that
// names a person is touched. It cannot be changed, since nothing says whose it
// is.
func (s *Surveys) saveSecretTx(ctx context.Context, tx *db.Tx, x Survey, i invitation, g given) (saved, error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO survey_used (survey_id, hash) VALUES ($1, $2) ON CONFLICT DO NOTHING`, x.ID, s.usedHash(x.ID, i.countKey))
	if err != nil {
		return saved{}, fmt.Errorf("survey: mark a link as used: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return saved{kind: Again}, err
	}
	a := answer{comment: g.comment, overall: g.scores[x.Form.Overall().ID], scores: writeScores(x.Form, g.scores)}
	if a.comment != "" {
		if err := s.mixTx(ctx, tx, x, a); err != nil {
			return saved{}, err
		}
	}
	return saved{kind: Saved}, countTx(ctx, tx, x, "", "", deltas(x.Form, nil, a))
}

// mixed is how many words of an anonymous survey are written anew with each
// further ones, so that the place of a row tells nothing of its time.
const mixed = 200

// mixTx keeps anonymous words: those that are there and the new ones are written
// anew in random order under random keys.
func (s *Surveys) mixTx(ctx context.Context, tx *db.Tx, x Survey, a answer) error {
	rows, err := tx.QueryContext(ctx, `SELECT id, overall, comment FROM survey_answers WHERE survey_id = $1 ORDER BY id LIMIT $2`+db.ForUpdate(tx), x.ID, mixed)
	if err != nil {
		return fmt.Errorf("survey: read anonymous words: %w", err)
	}
	list, ids := []answer{a}, []string{}
	for rows.Next() {
		var o answer
		if err := rows.Scan(&o.id, &o.overall, &o.comment); err != nil {
			rows.Close()
			return fmt.Errorf("survey: read anonymous words: %w", err)
		}
		list, ids = append(list, o), append(ids, o.id)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("survey: read anonymous words: %w", err)
	}
	if err := shuffle(list); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM survey_answers WHERE id `+db.InStrings(tx, "$1"), db.Strings(tx, ids)); err != nil {
		return fmt.Errorf("survey: write anonymous words anew: %w", err)
	}
	type row struct {
		ID      string `json:"id"`
		Overall int    `json:"overall"`
		Comment string `json:"comment"`
	}
	put := make([]row, len(list))
	for i, o := range list {
		id, err := randomID()
		if err != nil {
			return err
		}
		put[i] = row{id, o.overall, o.comment}
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO survey_answers (id, survey_id, company_id, count_key, invitation_id, resident_id, building, unit, ref_no, form_id, channel, scores, overall, comment, month, follow_up)
		SELECT r.id, cast($2 as text), cast($3 as text), r.id, '', '', '', '', '', cast($4 as text), '', '', r.overall, r.comment, '', ''
		FROM `+db.Rows(tx, "$1", db.TextCol("id"), db.IntCol("overall"), db.TextCol("comment"))+` AS r`, db.RowsArg(put), x.ID, x.CompanyID, x.Form.ID())
	if err != nil {
		return fmt.Errorf("survey: keep anonymous words: %w", err)
	}
	return nil
}

// randomID has no time in it, unlike the keys of all other rows.
func randomID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("survey: random key: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

func shuffle(list []answer) error {
	for i := len(list) - 1; i > 0; i-- {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(i+1)))
		if err != nil {
			return fmt.Errorf("survey: shuffle: %w", err)
		}
		j := int(n.Int64())
		list[i], list[j] = list[j], list[i]
	}
	return nil
}

// Scores are kept as |cleaning:4|greening:5|, in the order of the questionnaire.
func writeScores(form Questionnaire, scores map[string]int) string {
	var b strings.Builder
	for _, q := range form.Questions() {
		if v, ok := scores[q.ID]; ok {
			b.WriteString("|" + q.ID + ":" + strconv.Itoa(v))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return b.String() + "|"
}

func readScores(s string) map[string]int {
	out := map[string]int{}
	for part := range strings.SplitSeq(strings.Trim(s, "|"), "|") {
		id, v, ok := strings.Cut(part, ":")
		if n, err := strconv.Atoi(v); ok && err == nil {
			out[id] = n
		}
	}
	return out
}

// delta is by how much a count changes.
type delta struct {
	Category string `json:"category"`
	Score    int    `json:"score"`
	N        int    `json:"n"`
}

// Counts of our own beside the categories.
const (
	countAnswers  = "#answers"
	countComments = "#comments"
)

// deltas is what an answer adds to the counts, less what it added before.
func deltas(form Questionnaire, before *answer, after answer) []delta {
	n := map[delta]int{}
	add := func(a answer, by int) {
		for id, v := range readScores(a.scores) {
			if q, ok := form.Find(id); ok {
				n[delta{Category: q.Category, Score: v}] += by
			}
		}
		n[delta{Category: countAnswers}] += by
		if a.comment != "" {
			n[delta{Category: countComments}] += by
		}
	}
	if before != nil {
		add(*before, -1)
	}
	add(after, 1)
	var list []delta
	for d, by := range n {
		if by != 0 {
			d.N = by
			list = append(list, d)
		}
	}
	// Always in the same order, so that two answers never wait for each other.
	slices.SortFunc(list, func(a, b delta) int {
		return cmp.Or(strings.Compare(a.Category, b.Category), cmp.Compare(a.Score, b.Score))
	})
	return list
}

// countTx brings the counts up to date.
func countTx(ctx context.Context, tx *db.Tx, x Survey, building, month string, list []delta) error {
	if len(list) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO survey_counts (survey_id, category, building, month, score, n)
		SELECT cast($2 as text), r.category, cast($3 as text), cast($4 as text), r.score, r.n
		FROM `+db.Rows(tx, "$1", db.TextCol("category"), db.IntCol("score"), db.IntCol("n"))+` AS r WHERE true ORDER BY r.category, r.score
		ON CONFLICT (survey_id, category, building, month, score) DO UPDATE SET n = survey_counts.n + excluded.n`, db.RowsArg(list), x.ID, building, month)
	if err != nil {
		return fmt.Errorf("survey: count an answer: %w", err)
	}
	return nil
}

// lows are the questions of the scale with a low score, the overall one first.
func lows(form Questionnaire, scores string, low int) []Question {
	given, overall := readScores(scores), form.Overall().ID
	var list []Question
	for _, q := range form.Questions() {
		if v, ok := given[q.ID]; !ok || q.Type != Scale || v > low {
			continue
		}
		if q.ID == overall {
			list = slices.Insert(list, 0, q)
			continue
		}
		list = append(list, q)
	}
	return list
}

// low opens the case in which somebody calls a resident who is not satisfied:
// in the queue of the matter, with a card, limits and, in the end, words to the
// resident like any case. It may be tried again: one answer opens one.
func (s *Surveys) low(ctx context.Context, answerID string) (time.Duration, error) {
	_, err := s.followUp(ctx, answerID)
	return 0, err
}

func (s *Surveys) followUp(ctx context.Context, answerID string) (desk.Case, error) {
	var surveyID, scores, comment, followUp, invitationID string
	err := s.DB.QueryRowContext(ctx, `SELECT survey_id, scores, comment, follow_up, invitation_id FROM survey_answers WHERE id = $1`, answerID).
		Scan(&surveyID, &scores, &comment, &followUp, &invitationID)
	if errors.Is(err, sql.ErrNoRows) {
		return desk.Case{}, nil
	}
	if err != nil {
		return desk.Case{}, fmt.Errorf("survey: read the answer of a follow-up: %w", err)
	}
	x, okX, err := oneSurvey(ctx, s.DB, `id = $1`, surveyID)
	if err != nil {
		return desk.Case{}, err
	}
	i, okI, err := oneInvitation(ctx, s.DB, `i.id = $1`, invitationID)
	if err != nil || !okX || !okI {
		return desk.Case{}, err
	}
	if followUp != "" {
		return s.Desk.ByNo(ctx, x.CompanyID, followUp)
	}
	c, _, err := s.settings(ctx, x.CompanyID)
	if err != nil {
		return desk.Case{}, err
	}
	bad := lows(x.Form, scores, c.Settings.LowScore)
	if len(bad) == 0 {
		return desk.Case{}, nil // changed meanwhile
	}
	open, err := s.followUpOf(ctx, x, i, bad, readScores(scores), comment)
	if err != nil {
		return desk.Case{}, err
	}
	open.SourceID = "survey:" + answerID
	opened, err := s.Desk.Open(ctx, desk.By{CompanyID: x.CompanyID, Via: "system", Trusted: true}, open)
	if err != nil {
		return desk.Case{}, fmt.Errorf("survey: open the follow-up of a low score: %w", err)
	}
	_, err = s.DB.ExecContext(ctx, `UPDATE survey_answers SET follow_up = $2 WHERE id = $1`, answerID, opened.No)
	if err != nil {
		return opened, fmt.Errorf("survey: note the follow-up of a low score: %w", err)
	}
	return opened, nil
}

// followUpOf describes the follow-up: who, where, about what, in whose line.
func (s *Surveys) followUpOf(ctx context.Context, x Survey, i invitation, bad []Question, scores map[string]int, comment string) (desk.Open, error) {
	open := desk.Open{
		CompanyID: x.CompanyID, ProjectID: x.ProjectID, Kind: "help", Topic: desk.TopicFollowUp, Priority: desk.PriorityHigh, Mode: "wechat",
		UnitID: i.unitID, Unit: i.unit, Building: i.building, ResidentID: i.residentID, ResidentName: i.name, Category: "customer_service",
	}
	if i.channel == ChannelSMS {
		open.Mode = "sms"
	}
	about := x.Title
	if i.refID != "" {
		was, err := s.Desk.ByID(ctx, i.refID)
		if err != nil {
			return open, fmt.Errorf("survey: read the case of a low score: %w", err)
		}
		about = "工单 #" + was.No
		open.Category, open.ConversationID, open.AccountID, open.OpenID, open.Phone = was.Category, was.ConversationID, was.AccountID, was.OpenID, was.Phone
		open.Building = was.Building
	} else {
		if q := bad[0]; q.Category != CategoryOverall {
			open.Category = q.Category
		}
		var names []string
		for _, q := range bad {
			names = append(names, s.categoryName(q.Category))
		}
		about = strings.Join(slices.Compact(names), "、") + "（" + about + "）" // what a card has room for comes first
	}
	if err := s.reachable(ctx, i, &open); err != nil {
		return open, err
	}
	vars := []string{"score", s.Book.Label("satisfaction", strconv.Itoa(scores[bad[0].ID])), "about", about}
	if comment != "" {
		vars = append(vars, "words", comment)
	}
	open.Text = s.words("low_task", vars...)
	return open, nil
}

// reachable completes how the resident is told of the outcome.
func (s *Surveys) reachable(ctx context.Context, i invitation, open *desk.Open) error {
	if i.channel == ChannelSMS && open.Phone == "" {
		open.Phone = i.address
	}
	if i.channel != ChannelSMS && open.OpenID == "" {
		open.AccountID, open.OpenID = i.accountID, i.address
	}
	if i.residentID == "" || open.Phone != "" {
		return nil
	}
	r, ok, err := s.Estate.ResidentByID(ctx, s.DB, i.companyID, i.residentID)
	if err != nil {
		return fmt.Errorf("survey: read the resident of a low score: %w", err)
	}
	if ok {
		open.Phone = r.Phone
	}
	return nil
}

func (s *Surveys) categoryName(code string) string {
	switch code {
	case CategoryOverall, CategoryNPS:
		return s.Book.Label("survey_category", code)
	}
	return s.Book.Label("category", code)
}
