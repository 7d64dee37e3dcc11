package notify

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/register"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// Deps is what Notices stands on.
type Deps struct {
	DB        *db.DB
	Clock     clock.Clock
	Ledger    *ledger.Ledger
	Estate    *estate.Estate
	Staff     *staff.Staff
	Companies *company.Store
	Register  *register.Register
	Jobs      *jobs.Runner
	Book      *wording.Book
	Files     fs.FS // package templates: notice/kinds.yaml
	Log       *slog.Logger
	Points    func(name string) // kill points of the crash tests; nil in production
}

// Notices keeps the notices of all companies. Safe for concurrent use.
type Notices struct {
	Deps
	kinds *catalogue
	point func(string)

	mu    sync.Mutex
	reach map[string]*reachCache // by notice
}

// New builds Notices; it fails when the kinds and the texts don't fit together.
func New(d Deps) (*Notices, error) {
	k, err := loadKinds(d.Files, d.Book)
	if err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	n := &Notices{Deps: d, kinds: k, point: d.Points, reach: map[string]*reachCache{}}
	if n.point == nil {
		n.point = func(string) {}
	}
	if err := d.Book.MustHave(textKeys...); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	return n, nil
}

// textKeys are the texts that are used by a computed name.
var textKeys = []string{
	"notice.missing_of", "notice.missing_topic", "notice.missing_title", "notice.missing_scope", "notice.missing_starts_at",
	"notice.missing_ends_at", "notice.missing_reason", "notice.missing_action", "notice.missing_contact",
	"notice.scope_unknown", "notice.scope_bad", "notice.scope_nobody",
	"notice.answer", "notice.answer_open", "notice.answer_late",
}

// words renders a text for staff. A text that does not render is a mistake of
// ours and is logged; the key stands in for it.
func (n *Notices) words(key string, kv ...string) string {
	vars := wording.Vars{}
	for i := 0; i+1 < len(kv); i += 2 {
		vars[kv[i]] = kv[i+1]
	}
	t, err := n.Book.Say("notice."+key, vars)
	if err != nil {
		n.Log.Error("a text of notices does not render", "key", key, "error", err)
		return key
	}
	return t.String()
}

func (n *Notices) settings(ctx context.Context, companyID string) (company.Company, *company.Directory, error) {
	dir, err := n.Companies.Directory(ctx)
	if err != nil {
		return company.Company{}, nil, fmt.Errorf("notify: company settings: %w", err)
	}
	c, ok := dir.Company(companyID)
	if !ok {
		return company.Company{}, nil, fmt.Errorf("notify: company is not in the directory")
	}
	return c, dir, nil
}

func (n *Notices) now() time.Time { return n.Clock.Now() }
