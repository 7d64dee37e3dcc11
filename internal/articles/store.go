package articles

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"guanjia/internal/db"
)

const articleColumns = `a.id, a.company_id, a.code, a.owner, a.review_at, a.live, a.retired_at, a.retired_by, a.version, ` + versionColumns

const versionColumns = `v.n, v.question, v.phrasings, v.answer, v.topic, v.project_id, v.buildings, v.valid_from, v.valid_until,
	v.author, v.author_name, v.written_at, v.approved_by, v.approver_name, v.approved_at`

const counted = `,
	(select count(*) from article_answers r where r.article_id = a.id),
	(select count(*) from article_answers r where r.article_id = a.id and r.verdict = 'helpful'),
	(select count(*) from article_answers r where r.article_id = a.id and r.verdict = 'not_helpful')`

type scanner interface{ Scan(...any) error }

func scanArticle(row scanner, counts bool) (Article, error) {
	var a Article
	var review, retired db.Time
	v := newVersionScan(&a.Newest)
	targets := append([]any{&a.ID, &a.CompanyID, &a.Code, &a.Owner, &review, &a.Live, &retired, &a.RetiredBy, &a.Version}, v.targets()...)
	if counts {
		targets = append(targets, &a.Answered, &a.Helpful, &a.NotHelpful)
	}
	if err := row.Scan(targets...); err != nil {
		return Article{}, err
	}
	a.ReviewAt, a.RetiredAt = review.Time, retired.Time
	return a, v.finish()
}

// versionScan reads a version whose times and lists need a second step.
type versionScan struct {
	v                              *Version
	phrasings, buildings           string
	from, until, written, approved db.Time
}

func newVersionScan(v *Version) *versionScan { return &versionScan{v: v} }

func (s *versionScan) targets() []any {
	v := s.v
	return []any{&v.N, &v.Question, &s.phrasings, &v.Answer, &v.Topic, &v.ProjectID, &s.buildings, &s.from, &s.until,
		&v.Author, &v.AuthorName, &s.written, &v.ApprovedBy, &v.ApproverName, &s.approved}
}

func (s *versionScan) finish() error {
	s.v.ValidFrom, s.v.ValidUntil, s.v.WrittenAt, s.v.ApprovedAt = s.from.Time, s.until.Time, s.written.Time, s.approved.Time
	if err := json.Unmarshal([]byte(s.phrasings), &s.v.Phrasings); err != nil {
		return fmt.Errorf("phrasings: %w", err)
	}
	if err := json.Unmarshal([]byte(s.buildings), &s.v.Buildings); err != nil {
		return fmt.Errorf("buildings: %w", err)
	}
	return nil
}

// Filter chooses articles of a list. Zero fields choose all.
type Filter struct {
	State State
	// Due asks for those whose review date has passed, Pending for those that
	// wait for approval.
	Due, Pending bool
	Owner, Topic string
	Query        string // part of code, question or answer
	Cursor       string // code of the last article before
	Limit        int    // 0 means 50, at most 500
}

// List gives articles by code, with their counts, and the cursor of the next page.
func (s *Articles) List(ctx context.Context, q db.Querier, companyID string, f Filter) ([]Article, string, error) {
	if f.Limit <= 0 {
		f.Limit = 50
	}
	f.Limit = min(f.Limit, 500)
	query := `select ` + articleColumns + counted + `
		from articles a join article_versions v on v.article_id = a.id and v.n = a.latest
		where a.company_id = $1 and a.code > $2`
	args := []any{companyID, f.Cursor}
	where := func(condition string, arg ...any) {
		query += " and " + strings.ReplaceAll(condition, "$?", fmt.Sprintf("$%d", len(args)+1))
		args = append(args, arg...)
	}
	switch f.State {
	case Draft:
		where("a.live = 0 and a.retired_at is null")
	case Approved:
		where("a.live > 0 and a.retired_at is null")
	case Retired:
		where("a.retired_at is not null")
	}
	if f.Due {
		where("a.live > 0 and a.retired_at is null and a.review_at <= $?", db.At(s.clock.Now()))
	}
	if f.Pending {
		where("a.live < a.latest and a.retired_at is null")
	}
	if f.Owner != "" {
		where("a.owner = $?", f.Owner)
	}
	if f.Topic != "" {
		where("v.topic = $?", f.Topic)
	}
	if f.Query != "" {
		where(`(lower(v.question) like $? escape '\' or lower(v.answer) like $? escape '\' or lower(v.phrasings) like $? escape '\' or lower(a.code) like $? escape '\')`,
			"%"+strings.ToLower(db.LikeEscape(f.Query))+"%")
	}
	query += fmt.Sprintf(" order by a.code limit %d", f.Limit+1)
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, "", fmt.Errorf("articles: list: %w", err)
	}
	defer rows.Close()
	var out []Article
	for rows.Next() {
		a, err := scanArticle(rows, true)
		if err != nil {
			return nil, "", fmt.Errorf("articles: list: %w", err)
		}
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("articles: list: %w", err)
	}
	if len(out) <= f.Limit {
		return out, "", nil
	}
	return out[:f.Limit], out[f.Limit-1].Code, nil
}

// ByID finds an article by its id or its code. *Refused{RefusedNotFound}.
func (s *Articles) ByID(ctx context.Context, q db.Querier, companyID, id string) (Article, error) {
	a, err := scanArticle(q.QueryRowContext(ctx, `select `+articleColumns+counted+`
		from articles a join article_versions v on v.article_id = a.id and v.n = a.latest
		where a.company_id = $1 and (a.id = $2 or a.code = $2)`, companyID, id), true)
	if errors.Is(err, sql.ErrNoRows) {
		return Article{}, &Refused{Code: RefusedNotFound}
	}
	if err != nil {
		return Article{}, fmt.Errorf("articles: read one: %w", err)
	}
	return a, nil
}

// Versions gives all versions of an article, newest first.
func (s *Articles) Versions(ctx context.Context, q db.Querier, articleID string) ([]Version, error) {
	rows, err := q.QueryContext(ctx, `select `+versionColumns+` from article_versions v where v.article_id = $1 order by v.n desc`, articleID)
	if err != nil {
		return nil, fmt.Errorf("articles: versions: %w", err)
	}
	defer rows.Close()
	var out []Version
	for rows.Next() {
		var v Version
		scan := newVersionScan(&v)
		if err := rows.Scan(scan.targets()...); err != nil {
			return nil, fmt.Errorf("articles: versions: %w", err)
		}
		if err := scan.finish(); err != nil {
			return nil, fmt.Errorf("articles: versions: %w", err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

func putVersionTx(ctx context.Context, tx *db.Tx, articleID string, v Version) error {
	_, err := tx.ExecContext(ctx, `
		insert into article_versions (article_id, n, question, phrasings, answer, topic, project_id, buildings, valid_from, valid_until,
			author, author_name, written_at, approved_by, approver_name, approved_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
		articleID, v.N, v.Question, list(v.Phrasings), v.Answer, v.Topic, v.ProjectID, list(v.Buildings), db.At(v.ValidFrom), db.At(v.ValidUntil),
		v.Author, v.AuthorName, db.At(v.WrittenAt), v.ApprovedBy, v.ApproverName, db.At(v.ApprovedAt))
	if err != nil {
		return fmt.Errorf("articles: write version: %w", err)
	}
	return nil
}

func list(v []string) string {
	if len(v) == 0 {
		return "[]"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "[]" // strings always marshal
	}
	return string(raw)
}

// changeTx stores the head of an article if nobody changed it meanwhile, and
// tells all nodes.
func (s *Articles) changeTx(ctx context.Context, tx *db.Tx, a *Article) error {
	res, err := tx.ExecContext(ctx, `
		update articles set owner = $3, review_at = $4, live = $5, latest = $6, retired_at = $7, retired_by = $8, version = $9
		where id = $1 and version = $2`,
		a.ID, a.Version, a.Owner, db.At(a.ReviewAt), a.Live, a.Newest.N, db.At(a.RetiredAt), a.RetiredBy, a.Version+1)
	if err != nil {
		return fmt.Errorf("articles: change: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("articles: change: %w", err)
	}
	if n == 0 {
		return &Refused{Code: RefusedStale}
	}
	a.Version++
	return touchTx(ctx, tx, a.CompanyID)
}

func touchTx(ctx context.Context, tx *db.Tx, companyID string) error {
	_, err := tx.ExecContext(ctx, `
		insert into article_stamps (company_id, stamp) values ($1, 1)
		on conflict (company_id) do update set stamp = article_stamps.stamp + 1`, companyID)
	if err != nil {
		return fmt.Errorf("articles: stamp: %w", err)
	}
	return nil
}

func stamp(ctx context.Context, q db.Querier, companyID string) (int64, error) {
	var n int64
	err := q.QueryRowContext(ctx, `select stamp from article_stamps where company_id = $1`, companyID).Scan(&n)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("articles: stamp: %w", err)
	}
	return n, nil
}

// living gives the live versions of a company with what bounds them in time.
func living(ctx context.Context, q db.Querier, companyID string) ([]Article, error) {
	rows, err := q.QueryContext(ctx, `select `+articleColumns+`
		from articles a join article_versions v on v.article_id = a.id and v.n = a.live
		where a.company_id = $1 and a.retired_at is null and a.live > 0
		order by a.code`, companyID)
	if err != nil {
		return nil, fmt.Errorf("articles: read live ones: %w", err)
	}
	defer rows.Close()
	var out []Article
	for rows.Next() {
		a, err := scanArticle(rows, false)
		if err != nil {
			return nil, fmt.Errorf("articles: read live ones: %w", err)
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

// bounds are the moments at which the article begins or ceases to answer.
func (a Article) bounds() []time.Time {
	var out []time.Time
	for _, t := range []time.Time{a.Newest.ValidFrom, a.Newest.ValidUntil, a.ReviewAt} {
		if !t.IsZero() {
			out = append(out, t)
		}
	}
	return out
}

// answersAt tells whether the live version answers at a moment.
func (a Article) answersAt(now time.Time) bool {
	v := a.Newest
	return (v.ValidFrom.IsZero() || !now.Before(v.ValidFrom)) &&
		(v.ValidUntil.IsZero() || now.Before(v.ValidUntil)) &&
		(a.ReviewAt.IsZero() || now.Before(a.ReviewAt))
}
