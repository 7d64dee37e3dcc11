package articles

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"guanjia/bot/knowledge"
	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// Deps is what Articles stands on.
type Deps struct {
	DB      *db.DB
	Clock   clock.Clock
	Book    *wording.Book
	Staff   *staff.Staff
	Estate  *estate.Estate
	Matcher *knowledge.Matcher
	// Topics are the codes an article may carry; nil takes any.
	Topics []string
}

// Articles keeps and finds articles. Safe for concurrent use.
type Articles struct {
	Deps
	clock clock.Clock

	mu      sync.Mutex
	indexes map[string]*shelf // by company
}

// New builds Articles.
func New(d Deps) *Articles {
	return &Articles{Deps: d, clock: d.Clock, indexes: map[string]*shelf{}}
}

// Now is the moment by which articles are due or valid.
func (s *Articles) Now() time.Time { return s.clock.Now() }

// Act is an action on an article that needs no more than the version that was seen.
type Act func(ctx context.Context, p staff.Principal, id string, version int64) (Article, error)

// Review times: what a new article gets, and the longest that may be set.
const (
	reviewAfter = 365 * 24 * time.Hour
	reviewMost  = 3 * 365 * 24 * time.Hour
	maxCode     = 40
	maxScope    = 200 // buildings
)

// Head is what is said of an article beside its content.
type Head struct {
	Code     string    `json:"code"`
	Owner    string    `json:"owner"`
	ReviewAt time.Time `json:"review_at,omitzero"`
}

// Create writes a new article as a draft. Without an owner it is the author's,
// without a review date it is due in a year.
func (s *Articles) Create(ctx context.Context, p staff.Principal, h Head, c Content) (Article, error) {
	return s.in(ctx, "articles.create", func(ctx context.Context, tx *db.Tx) (Article, error) {
		return s.createTx(ctx, tx, p, h, c)
	})
}

func (s *Articles) createTx(ctx context.Context, tx *db.Tx, p staff.Principal, h Head, c Content) (Article, error) {
	if !p.May(staff.RightWriteArticle) {
		return Article{}, &Refused{Code: RefusedForbidden}
	}
	now := s.clock.Now()
	if h.Owner == "" {
		h.Owner = p.UserID()
	}
	if h.ReviewAt.IsZero() {
		h.ReviewAt = now.Add(reviewAfter)
	}
	c, err := s.checked(ctx, tx, p.CompanyID, c)
	if err != nil {
		return Article{}, err
	}
	if err := s.checkHead(ctx, tx, p, h, now); err != nil {
		return Article{}, err
	}
	id := db.NewID()
	if h.Code == "" {
		h.Code = "A" + strings.ToUpper(strings.ReplaceAll(id, "-", "")[20:])
	}
	a := Article{ID: id, CompanyID: p.CompanyID, Code: h.Code, Owner: h.Owner, ReviewAt: h.ReviewAt, Version: 1, Newest: written(c, 1, p, now)}
	res, err := tx.ExecContext(ctx, `
		insert into articles (id, company_id, code, owner, review_at, live, latest, retired_at, retired_by, version, created_at)
		values ($1, $2, $3, $4, $5, 0, 1, null, '', 1, $6)
		on conflict (company_id, code) do nothing`, a.ID, a.CompanyID, a.Code, a.Owner, db.At(a.ReviewAt), db.At(now))
	if err != nil {
		return Article{}, fmt.Errorf("articles: create: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		if err != nil {
			return Article{}, fmt.Errorf("articles: create: %w", err)
		}
		return Article{}, &Refused{Code: RefusedCode, Field: "code"}
	}
	return a, putVersionTx(ctx, tx, a.ID, a.Newest)
}

func written(c Content, n int64, p staff.Principal, now time.Time) Version {
	return Version{N: n, Content: c, Author: p.UserID(), AuthorName: p.Name(), WrittenAt: now}
}

// Update writes a new version, which waits for its approval while the live one
// goes on answering. version is the Version the writer saw.
func (s *Articles) Update(ctx context.Context, p staff.Principal, id string, version int64, h Head, c Content) (Article, error) {
	return s.changed(ctx, "articles.update", p, staff.RightWriteArticle, id, version, func(ctx context.Context, tx *db.Tx, a *Article) error {
		now := s.clock.Now()
		if a.State() == Retired {
			return &Refused{Code: RefusedState}
		}
		c, err := s.checked(ctx, tx, p.CompanyID, c)
		if err != nil {
			return err
		}
		if h.Owner != "" {
			a.Owner = h.Owner
		}
		if !h.ReviewAt.IsZero() {
			a.ReviewAt = h.ReviewAt
		}
		if err := s.checkHead(ctx, tx, p, Head{Code: a.Code, Owner: a.Owner, ReviewAt: h.ReviewAt}, now); err != nil {
			return err
		}
		if same(c, a.Newest.Content) {
			return nil
		}
		a.Newest = written(c, a.Newest.N+1, p, now)
		return putVersionTx(ctx, tx, a.ID, a.Newest)
	})
}

func same(a, b Content) bool {
	return a.Question == b.Question && slices.Equal(a.Phrasings, b.Phrasings) && a.Answer == b.Answer && a.Topic == b.Topic &&
		a.ProjectID == b.ProjectID && slices.Equal(a.Buildings, b.Buildings) && a.ValidFrom.Equal(b.ValidFrom) && a.ValidUntil.Equal(b.ValidUntil)
}

// Approve lets the newest version answer residents. A review date that
// has passed must be set anew first.
func (s *Articles) Approve(ctx context.Context, p staff.Principal, id string, version int64) (Article, error) {
	return s.changed(ctx, "articles.approve", p, staff.RightApproveArticle, id, version, func(ctx context.Context, tx *db.Tx, a *Article) error {
		if !a.Pending() {
			return &Refused{Code: RefusedState}
		}
		return s.approveTx(ctx, tx, p, a)
	})
}

func (s *Articles) approveTx(ctx context.Context, tx *db.Tx, p staff.Principal, a *Article) error {
	now := s.clock.Now()
	if !a.ReviewAt.IsZero() && !now.Before(a.ReviewAt) {
		return &Refused{Code: RefusedReview, Field: "review_at"}
	}
	a.Newest.ApprovedBy, a.Newest.ApproverName, a.Newest.ApprovedAt = p.UserID(), p.Name(), now
	a.Live = a.Newest.N
	_, err := tx.ExecContext(ctx, `update article_versions set approved_by = $3, approver_name = $4, approved_at = $5 where article_id = $1 and n = $2`,
		a.ID, a.Newest.N, a.Newest.ApprovedBy, a.Newest.ApproverName, db.At(now))
	if err != nil {
		return fmt.Errorf("articles: approve: %w", err)
	}
	return nil
}

// Retire takes an article out of use; what it answered stays on record.
func (s *Articles) Retire(ctx context.Context, p staff.Principal, id string, version int64) (Article, error) {
	return s.changed(ctx, "articles.retire", p, staff.RightApproveArticle, id, version, func(_ context.Context, _ *db.Tx, a *Article) error {
		if a.State() == Retired {
			return &Refused{Code: RefusedState}
		}
		a.RetiredAt, a.RetiredBy = s.clock.Now(), p.UserID()
		return nil
	})
}

// Restore brings a retired article back as it was.
func (s *Articles) Restore(ctx context.Context, p staff.Principal, id string, version int64) (Article, error) {
	return s.changed(ctx, "articles.restore", p, staff.RightApproveArticle, id, version, func(_ context.Context, _ *db.Tx, a *Article) error {
		if a.State() != Retired {
			return &Refused{Code: RefusedState}
		}
		a.RetiredAt, a.RetiredBy = time.Time{}, ""
		return nil
	})
}

// Reviewed says that somebody looked at the article and it still holds; it is
// due again at next, or in a year.
func (s *Articles) Reviewed(ctx context.Context, p staff.Principal, id string, version int64, next time.Time) (Article, error) {
	return s.changed(ctx, "articles.review", p, staff.RightWriteArticle, id, version, func(ctx context.Context, tx *db.Tx, a *Article) error {
		now := s.clock.Now()
		if next.IsZero() {
			next = now.Add(reviewAfter)
		}
		a.ReviewAt = next
		return s.checkHead(ctx, tx, p, Head{Code: a.Code, Owner: a.Owner, ReviewAt: next}, now)
	})
}

// in runs a change in a transaction of its own.
func (s *Articles) in(ctx context.Context, name string, run func(context.Context, *db.Tx) (Article, error)) (Article, error) {
	var a Article
	err := s.DB.InTx(ctx, name, func(ctx context.Context, tx *db.Tx) error {
		var err error
		a, err = run(ctx, tx)
		return err
	})
	if err != nil {
		return Article{}, err
	}
	return a, nil
}

// changed reads an article, lets change alter it, and stores it. version 0 takes
// whatever is there.
func (s *Articles) changed(ctx context.Context, name string, p staff.Principal, right staff.Right, id string, version int64,
	change func(context.Context, *db.Tx, *Article) error,
) (Article, error) {
	if !p.May(right) {
		return Article{}, &Refused{Code: RefusedForbidden}
	}
	return s.in(ctx, name, func(ctx context.Context, tx *db.Tx) (Article, error) {
		a, err := s.ByID(ctx, tx, p.CompanyID, id)
		if err != nil {
			return Article{}, err
		}
		if version != 0 && a.Version != version {
			return Article{}, &Refused{Code: RefusedStale}
		}
		if err := change(ctx, tx, &a); err != nil {
			return Article{}, err
		}
		return a, s.changeTx(ctx, tx, &a)
	})
}

// checked trims a content and says what is wrong with it.
func (s *Articles) checked(ctx context.Context, q db.Querier, companyID string, c Content) (Content, error) {
	c.Question, c.Answer = strings.TrimSpace(c.Question), strings.TrimSpace(c.Answer)
	phrasings := make([]string, 0, len(c.Phrasings))
	for _, p := range c.Phrasings {
		if p = strings.TrimSpace(p); p != "" {
			phrasings = append(phrasings, p)
		}
	}
	c.Phrasings = phrasings
	if err := c.matched("new").Check(); err != nil {
		return c, &Refused{Code: RefusedContent, Field: "answer", Reason: err.Error()}
	}
	if strings.ContainsRune(c.Question+c.Answer+strings.Join(c.Phrasings, ""), 0) {
		return c, &Refused{Code: RefusedContent, Field: "answer", Reason: "the text holds a zero character"}
	}
	if err := s.Book.Guard(c.Answer); err != nil {
		return c, &Refused{Code: RefusedGuard, Field: "answer"}
	}
	if c.Topic != "" && len(s.Topics) > 0 && !slices.Contains(s.Topics, c.Topic) {
		return c, &Refused{Code: RefusedContent, Field: "topic", Reason: "no topic has that code"}
	}
	if !c.ValidFrom.IsZero() && !c.ValidUntil.IsZero() && !c.ValidFrom.Before(c.ValidUntil) {
		return c, &Refused{Code: RefusedValid, Field: "valid_until"}
	}
	if c.ProjectID == "" && len(c.Buildings) > 0 || len(c.Buildings) > maxScope {
		return c, &Refused{Code: RefusedProject, Field: "buildings"}
	}
	if c.ProjectID == "" {
		return c, nil
	}
	return c, s.checkPlace(ctx, q, companyID, c)
}

func (s *Articles) checkPlace(ctx context.Context, q db.Querier, companyID string, c Content) error {
	_, ok, err := s.Estate.ProjectByID(ctx, q, companyID, c.ProjectID)
	if err != nil {
		return err
	}
	if !ok {
		return &Refused{Code: RefusedProject, Field: "project"}
	}
	known, err := s.Estate.Buildings(ctx, q, companyID, c.ProjectID)
	if err != nil {
		return err
	}
	for _, b := range c.Buildings {
		if !slices.ContainsFunc(known, func(k estate.Building) bool { return k.Code == b }) {
			return &Refused{Code: RefusedProject, Field: "buildings"}
		}
	}
	return nil
}

func (s *Articles) checkHead(ctx context.Context, q db.Querier, p staff.Principal, h Head, now time.Time) error {
	if len(h.Code) > maxCode || strings.ContainsFunc(h.Code, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) {
		return &Refused{Code: RefusedCode, Field: "code"}
	}
	if !h.ReviewAt.IsZero() && (!h.ReviewAt.After(now) || h.ReviewAt.Sub(now) > reviewMost) {
		return &Refused{Code: RefusedReview, Field: "review_at"}
	}
	if h.Owner == p.UserID() {
		return nil
	}
	_, ok, err := s.Staff.ByUserID(ctx, q, p.CompanyID, h.Owner)
	if err != nil {
		return err
	}
	if !ok {
		return &Refused{Code: RefusedOwner, Field: "owner"}
	}
	return nil
}
