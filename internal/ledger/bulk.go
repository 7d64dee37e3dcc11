package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/wording"
)

// Bulk plans one delivery a row of a SELECT: the snapshot of a notice or an
// invitation, however many there are, by one statement.
type Bulk struct {
	CompanyID string
	Channel   Channel
	Lane      Lane
	Class     Class
	RefKind   string
	RefID     string
	RefRev    int64
	// Part names a part of the reference that is held and freed apart from the
	// rest, such as "canary" and "rest"; "" when it isn't divided. A part is
	// put by a Bulk of its own, whose Rows select its rows.
	Part string
	Text wording.Text // the same for every row
	// Payload is stored as JSON, the same for every row.
	Payload any
	// Rows is a SELECT with the columns id, account_id, address, skip_code and
	// plan; its parameters are numbered from $1 without a gap.
	//
	// id is unique in the book, at most 64 characters, and says nothing about
	// a person. A skip_code that isn't '' makes the row a skipped one with that
	// code: it stands in the book and never leaves. plan is the JSON of further
	// hops (PlanJSON) or ''.
	Rows string
	Args []any

	NotBefore  time.Time // zero: at once
	ValidUntil time.Time // zero: for ever
	// Held puts the hold on Part in the same transaction: nothing of it leaves
	// until it is freed.
	Held bool
}

// PlanJSON writes the hops of a plan as the column plan of Bulk.Rows takes it.
// It panics when a payload is not JSON, which is a mistake in the program.
func PlanJSON(hops ...Hop) string {
	if len(hops) == 0 {
		return ""
	}
	b, err := json.Marshal(hops)
	if err != nil {
		panic("ledger: plan: " + err.Error())
	}
	return string(b)
}

var (
	errNoReference = errors.New("a reference, with kind and id, is needed")
	errSeparator   = errors.New("a reference, part or account holds the separator |")
)

// separator stands between the pieces of a source, and so in none of them.
const separator = "|"

// PutBulkTx writes all rows of b and returns how many there were, the skipped
// ones among them. Listeners (OnFinal) do not hear of rows that are skipped
// here: whoever puts them knows. A bulk has no order keys and supersedes
// nothing.
func (l *Ledger) PutBulkTx(ctx context.Context, tx *db.Tx, b Bulk) (int64, error) {
	d, err := l.bulkDraft(b)
	if err != nil {
		return 0, fmt.Errorf("put deliveries: %w", err)
	}
	if b.Held {
		if err := l.hold(ctx, tx, hold{kind: b.RefKind, id: b.RefID, part: b.Part, reason: "put_held"}); err != nil {
			return 0, err
		}
	}
	p := params{first: len(b.Args)}
	now, due, valid := p.add(db.At(d.CreatedAt)), p.add(db.At(d.DueAt)), p.add(db.At(d.ValidUntil))
	query := `
		insert into deliveries (
			id, root_id, hop, next_id, company_id, channel, account_id, source, address, lane, class,
			state, text_key, text, payload, plan, ref_kind, ref_id, ref_rev, part, order_key, supersede,
			due_at, valid_until, lease_by, attempts, submissions, failures, code, created_at, updated_at, final_at)
		select r.id, r.id, 0, '', ` + p.text(d.CompanyID) + `, ` + p.text(d.Channel) + `, r.account_id,
			` + p.text(d.Channel+separator) + ` || r.account_id || ` + p.text(separator+tailOf(b.RefKind, b.RefID, b.Part)) + `,
			r.address, ` + p.text(string(d.Lane)) + `, ` + p.text(string(d.Class)) + `,
			case when r.skip_code = '' then 'planned' else 'skipped' end,
			` + p.text(d.TextKey) + `, ` + p.text(d.Text) + `, ` + p.text(string(d.Payload)) + `, r.plan,
			` + p.text(d.RefKind) + `, ` + p.text(d.RefID) + `, cast(` + p.add(d.RefRev) + ` as bigint), ` + p.text(b.Part) + `,
			'', false, ` + db.TimeParam(tx, due) + `, ` + db.TimeParam(tx, valid) + `, '', 0, 0, 0, r.skip_code,
			` + db.TimeParam(tx, now) + `, ` + db.TimeParam(tx, now) + `,
			case when r.skip_code = '' then null else ` + db.TimeParam(tx, now) + ` end
		from (` + b.Rows + `) as r`
	res, err := tx.ExecContext(ctx, query, append(append([]any{}, b.Args...), p.args...)...)
	if err != nil {
		return 0, fmt.Errorf("put deliveries: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("put deliveries: %w", err)
	}
	if !b.Held {
		tx.AfterCommit(func(context.Context) { l.announce(d.Lane) })
	}
	return n, nil
}

// bulkDraft checks what is the same for every row.
func (l *Ledger) bulkDraft(b Bulk) (Delivery, error) {
	if b.RefKind == "" || b.RefID == "" {
		return Delivery{}, errNoReference
	}
	if strings.Contains(b.RefKind+b.RefID+b.Part, separator) {
		return Delivery{}, errSeparator
	}
	if strings.TrimSpace(b.Rows) == "" {
		return Delivery{}, errIncomplete
	}
	return l.draft(New{
		// Account and address are each row's own.
		CompanyID: b.CompanyID, Channel: b.Channel, AccountID: "-", Address: "-", Lane: b.Lane, Class: b.Class,
		Text: b.Text, Payload: b.Payload, RefKind: b.RefKind, RefID: b.RefID, RefRev: b.RefRev,
		NotBefore: b.NotBefore, ValidUntil: b.ValidUntil,
	})
}

// params numbers the parameters that follow those of Bulk.Rows.
type params struct {
	first int
	args  []any
}

func (p *params) add(v any) string {
	p.args = append(p.args, v)
	return "$" + strconv.Itoa(p.first+len(p.args))
}

// text gives a parameter its type, which a SELECT list does not.
func (p *params) text(v string) string { return "cast(" + p.add(v) + " as text)" }
