package articles

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"guanjia/bot/knowledge"
	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// Asked is a question and who asks it.
type Asked struct {
	CompanyID, ConversationID string
	Text                      string
	Homes                     []estate.Home
}

// Found is the best article for a question.
type Found struct {
	// OK says that the article may answer; otherwise a person must be asked and
	// the rest only tells what came near.
	OK        bool
	ArticleID string
	Version   int64
	Code      string
	Topic     string
	Score     float64
	Answer    string // the article's words
}

// shelf holds the live articles of a company and the indexes built from them.
type shelf struct {
	stamp   int64
	until   time.Time // when an article begins or ceases to answer; zero: never
	only    string    // the only project that articles name, "" when there are several
	live    []Article
	byScope map[string]*knowledge.Index
}

// maxScopes bounds the indexes of one company; beyond it all are dropped and
// built as they are asked for.
const maxScopes = 256

// Find looks for the article that answers. It reads one row to see whether the
// index is still what the database holds.
func (s *Articles) Find(ctx context.Context, q db.Querier, in Asked) (Found, error) {
	x, byID, err := s.index(ctx, q, in)
	if err != nil {
		return Found{}, err
	}
	hit := x.Answer(in.Text)
	a, ok := byID[hit.ArticleID]
	if !ok {
		return Found{}, nil
	}
	return Found{OK: hit.OK, ArticleID: a.ID, Version: a.Live, Code: a.Code, Topic: a.Newest.Topic, Score: hit.Score, Answer: a.Newest.Answer}, nil
}

func (s *Articles) index(ctx context.Context, q db.Querier, in Asked) (*knowledge.Index, map[string]Article, error) {
	now, err := stamp(ctx, q, in.CompanyID)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.clock.Now()
	sh := s.indexes[in.CompanyID]
	if sh == nil || sh.stamp != now || !sh.until.IsZero() && !at.Before(sh.until) {
		if sh, err = s.fill(ctx, q, in.CompanyID, now, at); err != nil {
			return nil, nil, err
		}
		s.indexes[in.CompanyID] = sh
	}
	visible := map[string]Article{}
	var list []knowledge.Article
	for _, a := range sh.live {
		if a.Newest.reaches(in.Homes, sh.only) {
			visible[a.ID] = a
			list = append(list, a.Newest.matched(a.ID))
		}
	}
	key := scopeKey(list)
	if x, ok := sh.byScope[key]; ok {
		return x, visible, nil
	}
	x, err := s.Matcher.Build(list)
	if err != nil {
		return nil, nil, fmt.Errorf("articles: build index: %w", err)
	}
	if len(sh.byScope) >= maxScopes {
		clear(sh.byScope)
	}
	sh.byScope[key] = x
	return x, visible, nil
}

// scopeKey names a set of articles: residents who see the same ones share an index.
func scopeKey(list []knowledge.Article) string {
	ids := make([]string, len(list))
	for i, a := range list {
		ids[i] = a.ID
	}
	return strings.Join(ids, ",")
}

// fill reads what answers at a moment, and until when that stays so.
func (s *Articles) fill(ctx context.Context, q db.Querier, companyID string, stamp int64, at time.Time) (*shelf, error) {
	all, err := living(ctx, q, companyID)
	if err != nil {
		return nil, err
	}
	sh := &shelf{stamp: stamp, byScope: map[string]*knowledge.Index{}}
	projects := map[string]bool{}
	for _, a := range all {
		for _, t := range a.bounds() {
			if t.After(at) && (sh.until.IsZero() || t.Before(sh.until)) {
				sh.until = t
			}
		}
		if a.Newest.ProjectID != "" {
			projects[a.Newest.ProjectID] = true
			sh.only = a.Newest.ProjectID
		}
		if a.answersAt(at) {
			sh.live = append(sh.live, a)
		}
	}
	if len(projects) > 1 {
		sh.only = ""
	}
	return sh, nil
}

// Say makes the words of an answer from the article's, past the guard, with who
// may be asked when it doesn't help.
func (s *Articles) Say(f Found, phone string) (wording.Text, error) {
	return s.Book.Say("inquiry.answer", wording.Vars{"answer": f.Answer, "phone": phone})
}

// Verdict is what a resident thinks of an automatic answer.
type Verdict string

// The verdicts.
const (
	Helpful    Verdict = "helpful"
	NotHelpful Verdict = "not_helpful"
)

// Given is an automatic answer that went out.
type Given struct {
	ID, ArticleID, Question string
	No                      int64
	AnsweredAt              time.Time
	Verdict                 Verdict
	CaseNo                  string
}

// AnsweredTx notes that an article answered a question. no names the
// answer in its conversation.
func (s *Articles) AnsweredTx(ctx context.Context, tx *db.Tx, in Asked, f Found, no int64) error {
	_, err := tx.ExecContext(ctx, `
		insert into article_answers (id, company_id, conversation_id, no, article_id, article_version, question, score, answered_at, verdict, verdict_at, case_no)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', null, '')`,
		db.NewID(), in.CompanyID, in.ConversationID, no, f.ArticleID, f.Version, cut(in.Text), int64(f.Score*1000), db.At(s.clock.Now()))
	if err != nil {
		return fmt.Errorf("articles: note an answer: %w", err)
	}
	return nil
}

// Given finds an answer of a conversation by its number.
func (s *Articles) Given(ctx context.Context, q db.Querier, conversationID string, no int64) (Given, bool, error) {
	rows, err := q.QueryContext(ctx, `
		select id, article_id, question, no, answered_at, verdict, case_no from article_answers
		where conversation_id = $1 and no = $2`, conversationID, no)
	if err != nil {
		return Given{}, false, fmt.Errorf("articles: find an answer: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return Given{}, false, rows.Err()
	}
	var g Given
	var at db.Time
	if err := rows.Scan(&g.ID, &g.ArticleID, &g.Question, &g.No, &at, &g.Verdict, &g.CaseNo); err != nil {
		return Given{}, false, fmt.Errorf("articles: find an answer: %w", err)
	}
	g.AnsweredAt = at.Time
	return g, true, rows.Err()
}

// VerdictTx notes what the resident thinks; caseNo is the case that a "no"
// brought. The last word counts.
func (s *Articles) VerdictTx(ctx context.Context, tx *db.Tx, g Given, v Verdict, caseNo string) error {
	_, err := tx.ExecContext(ctx, `update article_answers set verdict = $2, verdict_at = $3, case_no = case when $4 = '' then case_no else $4 end where id = $1`,
		g.ID, string(v), db.At(s.clock.Now()), caseNo)
	if err != nil {
		return fmt.Errorf("articles: note a verdict: %w", err)
	}
	return nil
}

// MissedTx notes a question that went to a person, for the owners of articles.
func (s *Articles) MissedTx(ctx context.Context, tx *db.Tx, in Asked, near Found, topic, caseNo string) error {
	if near.Topic != "" && topic == "" {
		topic = near.Topic
	}
	_, err := tx.ExecContext(ctx, `
		insert into article_gaps (id, company_id, question, topic, nearest, score, case_no, asked_at, settled_by, settled_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, '', null)`,
		db.NewID(), in.CompanyID, cut(in.Text), topic, near.ArticleID, int64(near.Score*1000), caseNo, db.At(s.clock.Now()))
	if err != nil {
		return fmt.Errorf("articles: note a missing answer: %w", err)
	}
	return nil
}

// maxKept bounds the question that is kept with an answer, in characters.
const maxKept = 300

func cut(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
	if r := []rune(s); len(r) > maxKept {
		return string(r[:maxKept])
	}
	return s
}

// Gap is a question that no article answered.
type Gap struct {
	ID, Question, Topic string
	Nearest, Owner      string // code of the nearest article, and whose it is
	Score               float64
	CaseNo              string
	AskedAt             time.Time
}

// Gaps lists the open ones, newest first. owner "" lists all, otherwise those
// nearest to that owner's articles.
func (s *Articles) Gaps(ctx context.Context, q db.Querier, companyID, owner, cursor string, limit int) ([]Gap, string, error) {
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, 500)
	rows, err := q.QueryContext(ctx, fmt.Sprintf(`
		select g.id, g.question, g.topic, coalesce(a.code, ''), coalesce(a.owner, ''), g.score, g.case_no, g.asked_at
		from article_gaps g left join articles a on a.id = g.nearest
		where g.company_id = $1 and g.settled_at is null and ($2 = '' or a.owner = $2) and ($3 = '' or g.id < $3)
		order by g.id desc limit %d`, limit+1), companyID, owner, cursor)
	if err != nil {
		return nil, "", fmt.Errorf("articles: missing answers: %w", err)
	}
	defer rows.Close()
	var out []Gap
	for rows.Next() {
		var g Gap
		var at db.Time
		var score int64
		if err := rows.Scan(&g.ID, &g.Question, &g.Topic, &g.Nearest, &g.Owner, &score, &g.CaseNo, &at); err != nil {
			return nil, "", fmt.Errorf("articles: missing answers: %w", err)
		}
		g.AskedAt, g.Score = at.Time, float64(score)/1000
		out = append(out, g)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("articles: missing answers: %w", err)
	}
	if len(out) <= limit {
		return out, "", nil
	}
	return out[:limit], out[limit-1].ID, nil
}

// Settle takes a question off the list: an article says it now, or none is to.
func (s *Articles) Settle(ctx context.Context, p staff.Principal, id string) error {
	if !p.May(staff.RightWriteArticle) {
		return &Refused{Code: RefusedForbidden}
	}
	return s.DB.InTx(ctx, "articles.settle", func(ctx context.Context, tx *db.Tx) error {
		res, err := tx.ExecContext(ctx, `update article_gaps set settled_by = $3, settled_at = $4 where id = $1 and company_id = $2 and settled_at is null`,
			id, p.CompanyID, p.UserID(), db.At(s.clock.Now()))
		if err != nil {
			return fmt.Errorf("articles: settle: %w", err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return fmt.Errorf("articles: settle: %w", err)
		}
		if n == 0 {
			return &Refused{Code: RefusedNotFound}
		}
		return nil
	})
}

// Disliked lists the questions for which residents called an article's answer no
// help, newest first.
func (s *Articles) Disliked(ctx context.Context, q db.Querier, articleID string, limit int) ([]Given, error) {
	rows, err := q.QueryContext(ctx, fmt.Sprintf(`
		select id, article_id, question, no, answered_at, verdict, case_no from article_answers
		where article_id = $1 and verdict = 'not_helpful' order by answered_at desc limit %d`, max(1, min(limit, 200))), articleID)
	if err != nil {
		return nil, fmt.Errorf("articles: disliked answers: %w", err)
	}
	defer rows.Close()
	var out []Given
	for rows.Next() {
		var g Given
		var at db.Time
		if err := rows.Scan(&g.ID, &g.ArticleID, &g.Question, &g.No, &at, &g.Verdict, &g.CaseNo); err != nil {
			return nil, fmt.Errorf("articles: disliked answers: %w", err)
		}
		g.AnsweredAt = at.Time
		out = append(out, g)
	}
	slices.SortStableFunc(out, func(a, b Given) int { return b.AnsweredAt.Compare(a.AnsweredAt) })
	return out, rows.Err()
}
