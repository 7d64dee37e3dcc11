package register

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/wording"
)

// Forms of publication.
const (
	FormPoster      = "poster"      // 张贴
	FormScreen      = "screen"      // 电子屏
	FormLoudspeaker = "loudspeaker" // 广播
	FormSMS         = "sms"
	FormTemplate    = "template"
)

// Forms lists the forms in the order of the printed register.
func Forms() []string {
	return []string{FormPoster, FormScreen, FormLoudspeaker, FormSMS, FormTemplate}
}

// ByPerson tells whether a form is done by somebody who ticks it off, and not
// by a delivery.
func ByPerson(form string) bool {
	return form == FormPoster || form == FormScreen || form == FormLoudspeaker
}

// State of a publication. It only goes forwards, as drafted, approved,
// published, and ends as withdrawn or superseded.
type State string

// The states.
const (
	Drafted    State = "drafted"
	Approved   State = "approved"
	Published  State = "published"
	Withdrawn  State = "withdrawn"
	Superseded State = "superseded" // a later version took its place
)

// Ref says what is published.
type Ref struct {
	CompanyID string
	Kind, ID  string // RefNotice and the notice's id
}

// RefNotice is the reference kind of notices.
const RefNotice = "notice"

// Person is who did something, by the name he had then.
type Person struct{ ID, Name string }

// Act is something that a person did; the zero Act was not done.
type Act struct {
	Person
	At time.Time
}

// Done tells whether the act was done.
func (a Act) Done() bool { return !a.At.IsZero() }

// Form is one form of publication; Done once it is ticked off.
type Form struct {
	Form   string
	Detail string // where, or the counts of a delivery
	Act
}

// Counts are what became of a publication.
type Counts struct {
	Households int // in scope
	Reached    int // of them, by at least one message
	Delivered  int // messages
	Failed     int
	Called     int // homes told by a person
}

// Publication is a row of the register.
type Publication struct {
	Ref
	RowID       string
	No          string // as people say it: T0012
	ProjectID   string
	Project     string // name
	Title       string
	Kind, Topic string // codes
	Summary     string // the words published, or their gist
	Scope       string // the affected area in words
	State       State
	Author      Act
	Approval    Act
	EndorseDue  bool // the department head is asked afterwards
	Endorsement Act
	Registered  Act // completed by the information officer
	PublishedAt time.Time
	EndedAt     time.Time
	EndedWhy    string
	Counts      Counts
	Remark      string
	Forms       []Form // in the order of Forms
}

// What a caller decides on.
var (
	// ErrNone: there is no row for the reference.
	ErrNone = errors.New("register: no such publication")
	// ErrForm: the form is none, or not one that a person ticks off.
	ErrForm = errors.New("register: no such form of publication")
)

// Register reads and writes the registers. Safe for concurrent use.
type Register struct {
	db        *db.DB
	clock     clock.Clock
	book      *wording.Book
	companies *company.Store
}

// New builds a Register.
func New(d *db.DB, c clock.Clock, b *wording.Book, companies *company.Store) *Register {
	return &Register{db: d, clock: c, book: b, companies: companies}
}

// PublicationTx puts a row into the register when something is drafted, or
// brings the row of a draft up to date; forms that are no longer planned and not
// ticked off go. Of p it takes what a draft has: reference, number, project,
// title, kind, topic, summary, scope, author and the names of its forms. Once a
// publication is approved, its row is left alone and nothing is an error.
func (r *Register) PublicationTx(ctx context.Context, tx *db.Tx, p Publication) error {
	at := p.Author.At
	if at.IsZero() {
		at = r.clock.Now()
	}
	var id string
	err := tx.QueryRowContext(ctx, `
		INSERT INTO publications (id, company_id, ref_kind, ref_id, no, project_id, project, title, kind, topic, summary, scope,
		                          state, author_id, author_name, drafted_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'drafted', $13, $14, $15)
		ON CONFLICT (company_id, ref_kind, ref_id) DO UPDATE
		SET no = excluded.no, project_id = excluded.project_id, project = excluded.project, title = excluded.title, kind = excluded.kind,
		    topic = excluded.topic, summary = excluded.summary, scope = excluded.scope
		WHERE publications.state = 'drafted'
		RETURNING id`,
		db.NewID(), p.CompanyID, p.Ref.Kind, p.ID, p.No, p.ProjectID, p.Project, p.Title, p.Kind, p.Topic, p.Summary, p.Scope,
		p.Author.ID, p.Author.Name, db.At(at)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("register: put publication: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM publication_forms WHERE publication_id = $1 AND done_at IS NULL`, id); err != nil {
		return fmt.Errorf("register: put publication: %w", err)
	}
	for _, f := range p.Forms {
		if !slices.Contains(Forms(), f.Form) {
			return fmt.Errorf("register: put publication: %q: %w", f.Form, ErrForm)
		}
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO publication_forms (publication_id, form, detail) VALUES ($1, $2, $3) ON CONFLICT (publication_id, form) DO NOTHING`,
			id, f.Form, f.Detail); err != nil {
			return fmt.Errorf("register: put publication: %w", err)
		}
	}
	return nil
}

// ApprovedTx notes who approved and when; the first approval stays.
// endorseDue: the department head is asked afterwards.
func (r *Register) ApprovedTx(ctx context.Context, tx *db.Tx, ref Ref, by Act, endorseDue bool) error {
	return r.update(ctx, tx, ref, "approval", `
		UPDATE publications SET state = CASE WHEN state = 'drafted' THEN 'approved' ELSE state END,
		       approved_by = $4, approved_name = $5, approved_at = $6, endorse_due = $7
		WHERE company_id = $1 AND ref_kind = $2 AND ref_id = $3 AND approved_at IS NULL`, by.ID, by.Name, db.At(by.At), endorseDue)
}

// EndorsedTx notes the department head's approval that came afterwards.
func (r *Register) EndorsedTx(ctx context.Context, tx *db.Tx, ref Ref, by Act) error {
	return r.update(ctx, tx, ref, "endorsement", `
		UPDATE publications SET endorsed_by = $4, endorsed_name = $5, endorsed_at = $6
		WHERE company_id = $1 AND ref_kind = $2 AND ref_id = $3 AND endorsed_at IS NULL`, by.ID, by.Name, db.At(by.At))
}

// PublishedTx notes when the first message left; the first time stays.
func (r *Register) PublishedTx(ctx context.Context, tx *db.Tx, ref Ref, at time.Time) error {
	return r.update(ctx, tx, ref, "publication", `
		UPDATE publications SET state = CASE WHEN state IN ('drafted', 'approved') THEN 'published' ELSE state END, published_at = $4
		WHERE company_id = $1 AND ref_kind = $2 AND ref_id = $3 AND published_at IS NULL`, db.At(at))
}

// CountsTx replaces the counts of what became of it.
func (r *Register) CountsTx(ctx context.Context, tx *db.Tx, ref Ref, c Counts) error {
	return r.update(ctx, tx, ref, "counts", `
		UPDATE publications SET households = $4, reached = $5, delivered = $6, failed = $7, called = $8
		WHERE company_id = $1 AND ref_kind = $2 AND ref_id = $3`, c.Households, c.Reached, c.Delivered, c.Failed, c.Called)
}

// EndedTx notes that it was withdrawn, or that a later version took its place
// (why: in words, such as the number of that version). The first end stays.
func (r *Register) EndedTx(ctx context.Context, tx *db.Tx, ref Ref, state State, at time.Time, why string) error {
	if state != Withdrawn && state != Superseded {
		return fmt.Errorf("register: a publication does not end as %s", state)
	}
	return r.update(ctx, tx, ref, "end", `
		UPDATE publications SET state = $4, ended_at = $5, ended_why = $6
		WHERE company_id = $1 AND ref_kind = $2 AND ref_id = $3 AND ended_at IS NULL`, string(state), db.At(at), why)
}

// RegisteredTx notes that the information officer has completed the row
// with a remark of his; again replaces.
func (r *Register) RegisteredTx(ctx context.Context, tx *db.Tx, ref Ref, by Act, remark string) error {
	return r.update(ctx, tx, ref, "registration", `
		UPDATE publications SET registered_by = $4, registered_name = $5, registered_at = $6, remark = $7
		WHERE company_id = $1 AND ref_kind = $2 AND ref_id = $3`, by.ID, by.Name, db.At(by.At), remark)
}

// TickFormTx ticks a form off with time, person and detail (where the poster
// hangs, how many messages left), also one that was not planned. Again replaces.
func (r *Register) TickFormTx(ctx context.Context, tx *db.Tx, ref Ref, f Form) error {
	if !slices.Contains(Forms(), f.Form) {
		return fmt.Errorf("register: tick %q: %w", f.Form, ErrForm)
	}
	res, err := tx.ExecContext(ctx, `
		INSERT INTO publication_forms (publication_id, form, done_at, done_by, done_name, detail)
		SELECT id, `+text("$4")+`, `+db.TimeParam(tx, "$5")+`, `+text("$6")+`, `+text("$7")+`, `+text("$8")+` FROM publications
		WHERE company_id = $1 AND ref_kind = $2 AND ref_id = $3
		ON CONFLICT (publication_id, form) DO UPDATE
		SET done_at = excluded.done_at, done_by = excluded.done_by, done_name = excluded.done_name, detail = excluded.detail`,
		ref.CompanyID, ref.Kind, ref.ID, f.Form, db.At(f.At), f.Person.ID, f.Name, f.Detail)
	if err != nil {
		return fmt.Errorf("register: tick a form of publication: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(ErrNone, err)
	}
	return nil
}

func text(param string) string { return "cast(" + param + " as text)" }

// update runs a statement on the row of a reference. A statement that finds
// nothing to do on a row that exists is no error, since every caller may come
// twice.
func (r *Register) update(ctx context.Context, tx *db.Tx, ref Ref, what, statement string, args ...any) error {
	res, err := tx.ExecContext(ctx, statement, append([]any{ref.CompanyID, ref.Kind, ref.ID}, args...)...)
	if err != nil {
		return fmt.Errorf("register: note the %s of a publication: %w", what, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("register: note the %s of a publication: %w", what, err)
	}
	if n > 0 {
		return nil
	}
	if _, ok, err := r.ByRef(ctx, tx, ref); err != nil || !ok {
		return errors.Join(ErrNone, err)
	}
	return nil
}

// Filter selects publications; what is empty is not asked for.
type Filter struct {
	From, To time.Time // drafted from (inclusive) to (exclusive)
	Project  string    // id
	Kind     string
	Cursor   string // next of the last page
	Limit    int    // 1 to MaxPage, 0 means MaxPage
}

// MaxPage bounds one page of List.
const MaxPage = 500

const columns = `id, company_id, ref_kind, ref_id, no, project_id, project, title, kind, topic, summary, scope, state, author_id, author_name, drafted_at,
	approved_by, approved_name, approved_at, endorse_due, endorsed_by, endorsed_name, endorsed_at, published_at,
	registered_by, registered_name, registered_at, ended_at, ended_why, households, reached, delivered, failed, called, remark`

func scan(row func(...any) error) (Publication, error) {
	var p Publication
	var drafted, approved, endorsed, published, registered, ended db.Time
	err := row(&p.RowID, &p.CompanyID, &p.Ref.Kind, &p.ID, &p.No, &p.ProjectID, &p.Project, &p.Title, &p.Kind, &p.Topic, &p.Summary, &p.Scope, &p.State,
		&p.Author.ID, &p.Author.Name, &drafted, &p.Approval.ID, &p.Approval.Name, &approved, &p.EndorseDue, &p.Endorsement.ID, &p.Endorsement.Name, &endorsed,
		&published, &p.Registered.ID, &p.Registered.Name, &registered, &ended, &p.EndedWhy,
		&p.Counts.Households, &p.Counts.Reached, &p.Counts.Delivered, &p.Counts.Failed, &p.Counts.Called, &p.Remark)
	p.Author.At, p.Approval.At, p.Endorsement.At, p.PublishedAt = drafted.Time, approved.Time, endorsed.Time, published.Time
	p.Registered.At, p.EndedAt = registered.Time, ended.Time
	return p, err
}

// ByRef finds the row of a reference.
func (r *Register) ByRef(ctx context.Context, q db.Querier, ref Ref) (Publication, bool, error) {
	p, err := scan(q.QueryRowContext(ctx, `SELECT `+columns+` FROM publications WHERE company_id = $1 AND ref_kind = $2 AND ref_id = $3`,
		ref.CompanyID, ref.Kind, ref.ID).Scan)
	return r.one(ctx, q, p, err)
}

// ByNo finds the newest row with a number as people say it.
func (r *Register) ByNo(ctx context.Context, q db.Querier, companyID, no string) (Publication, bool, error) {
	p, err := scan(q.QueryRowContext(ctx, `
		SELECT `+columns+` FROM publications WHERE company_id = $1 AND no = $2 ORDER BY id DESC LIMIT 1`, companyID, strings.ToUpper(no)).Scan)
	return r.one(ctx, q, p, err)
}

func (r *Register) one(ctx context.Context, q db.Querier, p Publication, err error) (Publication, bool, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return Publication{}, false, nil
	}
	if err != nil {
		return Publication{}, false, fmt.Errorf("register: find publication: %w", err)
	}
	list := []Publication{p}
	if err := addForms(ctx, q, list); err != nil {
		return Publication{}, false, err
	}
	return list[0], true, nil
}

// List gives the rows of a company in the order they were drafted; next is
// empty at the end.
func (r *Register) List(ctx context.Context, q db.Querier, companyID string, f Filter) (list []Publication, next string, err error) {
	limit := f.Limit
	if limit <= 0 || limit > MaxPage {
		limit = MaxPage
	}
	args := []any{companyID}
	where := []string{"company_id = $1"}
	and := func(condition string, v any) {
		args = append(args, v)
		where = append(where, condition+"$"+strconv.Itoa(len(args)))
	}
	if !f.From.IsZero() {
		and("drafted_at >= ", db.At(f.From))
	}
	if !f.To.IsZero() {
		and("drafted_at < ", db.At(f.To))
	}
	if f.Project != "" {
		and("project_id = ", f.Project)
	}
	if f.Kind != "" {
		and("kind = ", f.Kind)
	}
	if f.Cursor != "" {
		// A row stands behind the cursor's row by time, then by id.
		args = append(args, f.Cursor)
		where = append(where, "(drafted_at, id) > (SELECT drafted_at, id FROM publications WHERE company_id = $1 AND id = $"+strconv.Itoa(len(args))+")")
	}
	args = append(args, limit+1)
	rows, err := q.QueryContext(ctx, `
		SELECT `+columns+` FROM publications WHERE `+strings.Join(where, " AND ")+` ORDER BY drafted_at, id LIMIT $`+strconv.Itoa(len(args)), args...)
	if err != nil {
		return nil, "", fmt.Errorf("register: list publications: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		p, err := scan(rows.Scan)
		if err != nil {
			return nil, "", fmt.Errorf("register: list publications: %w", err)
		}
		list = append(list, p)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("register: list publications: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].RowID
	}
	return list, next, addForms(ctx, q, list)
}

func addForms(ctx context.Context, q db.Querier, list []Publication) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]string, len(list))
	at := make(map[string]int, len(list))
	for i, p := range list {
		ids[i], at[p.RowID] = p.RowID, i
	}
	rows, err := q.QueryContext(ctx, `
		SELECT publication_id, form, done_at, done_by, done_name, detail FROM publication_forms WHERE publication_id `+db.InStrings(q, "$1"), db.Strings(q, ids))
	if err != nil {
		return fmt.Errorf("register: read forms of publication: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var f Form
		var done db.Time
		if err := rows.Scan(&id, &f.Form, &done, &f.Person.ID, &f.Name, &f.Detail); err != nil {
			return fmt.Errorf("register: read forms of publication: %w", err)
		}
		f.At = done.Time
		p := &list[at[id]]
		p.Forms = append(p.Forms, f)
	}
	for i := range list {
		slices.SortFunc(list[i].Forms, func(a, b Form) int {
			return slices.Index(Forms(), a.Form) - slices.Index(Forms(), b.Form)
		})
	}
	return rows.Err()
}
