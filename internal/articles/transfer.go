package articles

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"guanjia/bot/knowledge"
	"guanjia/internal/db"
	"guanjia/internal/staff"
)

// line is an article in a file: the fields of data files, and ours. Unknown
// fields are passed over, so that files of other makers are read.
type line struct {
	ID string `json:"id"`
	Content
	Owner string `json:"owner,omitempty"`
	State State  `json:"state,omitempty"`
}

// Import is what became of a file.
type Import struct {
	New, Changed, Same int
	Approved           int
}

// BadLine says which line of a file is wrong, and why. Nothing of such a file is
// taken.
type BadLine struct {
	Line   int
	Reason string
	Err    error
}

func (e *BadLine) Error() string { return fmt.Sprintf("articles: line %d: %s", e.Line, e.Reason) }

func (e *BadLine) Unwrap() error { return e.Err }

// Limits of one file: articles, and bytes.
const (
	maxImport = 2000
	MaxFile   = 8 << 20
)

// ImportFile takes a file of articles, one JSON object a line, all of it or
// nothing. Known codes become new versions where something differs, unknown ones
// new articles. approve lets them answer at once, for who may. dry only counts.
func (s *Articles) ImportFile(ctx context.Context, p staff.Principal, in io.Reader, approve, dry bool) (Import, error) {
	lines, err := readLines(in)
	if err != nil {
		return Import{}, err
	}
	var out Import
	err = s.DB.InTx(ctx, "articles.import", func(ctx context.Context, tx *db.Tx) error {
		if out, err = s.importTx(ctx, tx, p, lines, approve); err != nil {
			return err
		}
		if dry {
			return errDry
		}
		return nil
	})
	if errors.Is(err, errDry) {
		err = nil
	}
	if err != nil {
		return Import{}, err
	}
	return out, nil
}

// ImportTx is ImportFile inside a transaction of the caller's, for setting up a
// company.
func (s *Articles) ImportTx(ctx context.Context, tx *db.Tx, p staff.Principal, in io.Reader, approve bool) (Import, error) {
	lines, err := readLines(in)
	if err != nil {
		return Import{}, err
	}
	return s.importTx(ctx, tx, p, lines, approve)
}

var errDry = errors.New("articles: nothing is kept of a dry run")

func readLines(in io.Reader) ([]line, error) {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 1<<20)
	var out []line
	n, seen := 0, map[string]int{}
	for sc.Scan() {
		n++
		raw := bytes.TrimPrefix(bytes.TrimSpace(sc.Bytes()), []byte("\ufeff"))
		if len(raw) == 0 {
			continue
		}
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			return nil, &BadLine{n, "this is no article in JSON: " + err.Error(), err}
		}
		if before, ok := seen[l.ID]; ok && l.ID != "" {
			return nil, &BadLine{n, fmt.Sprintf("the id %q stands in line %d already", l.ID, before), nil}
		}
		seen[l.ID] = n
		a := knowledge.Article{ID: l.ID, Question: l.Question, Phrasings: l.Phrasings, Answer: l.Answer}
		if err := a.Check(); err != nil {
			return nil, &BadLine{n, err.Error(), err}
		}
		if out = append(out, l); len(out) > maxImport {
			return nil, &BadLine{n, fmt.Sprintf("more than %d articles", maxImport), nil}
		}
	}
	if err := sc.Err(); err != nil {
		return nil, &BadLine{n + 1, err.Error(), err}
	}
	return out, nil
}

func (s *Articles) importTx(ctx context.Context, tx *db.Tx, p staff.Principal, lines []line, approve bool) (Import, error) {
	if !p.May(staff.RightWriteArticle) || approve && !p.May(staff.RightApproveArticle) {
		return Import{}, &Refused{Code: RefusedForbidden}
	}
	var out Import
	for n, l := range lines {
		a, err := s.importOne(ctx, tx, p, l, &out)
		if err != nil {
			var r *Refused
			if errors.As(err, &r) {
				return Import{}, &BadLine{n + 1, r.Code + " " + r.Field + " " + r.Reason, err}
			}
			return Import{}, err
		}
		if !approve || !a.Pending() {
			continue
		}
		out.Approved++
		if err := s.approveTx(ctx, tx, p, &a); err != nil {
			return Import{}, err
		}
		if err := s.changeTx(ctx, tx, &a); err != nil {
			return Import{}, err
		}
	}
	return out, nil
}

// importOne creates or changes the article of a line and counts it.
func (s *Articles) importOne(ctx context.Context, tx *db.Tx, p staff.Principal, l line, out *Import) (Article, error) {
	h := Head{Code: l.ID, Owner: l.Owner}
	a, err := s.ByID(ctx, tx, p.CompanyID, l.ID)
	var missing *Refused
	if l.ID == "" || errors.As(err, &missing) {
		out.New++
		return s.createTx(ctx, tx, p, h, l.Content)
	}
	if err != nil {
		return Article{}, err
	}
	c, err := s.checked(ctx, tx, p.CompanyID, l.Content)
	if err != nil {
		return Article{}, err
	}
	if same(c, a.Newest.Content) {
		out.Same++
		return a, nil
	}
	if a.State() == Retired {
		return Article{}, &Refused{Code: RefusedState}
	}
	out.Changed++
	a.Newest = written(c, a.Newest.N+1, p, s.clock.Now())
	if err := putVersionTx(ctx, tx, a.ID, a.Newest); err != nil {
		return Article{}, err
	}
	return a, s.changeTx(ctx, tx, &a)
}

// Export writes the articles that are not retired as a file that ImportFile reads.
func (s *Articles) Export(ctx context.Context, q db.Querier, companyID string, w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	cursor := ""
	for {
		list, next, err := s.List(ctx, q, companyID, Filter{Cursor: cursor, Limit: 500})
		if err != nil {
			return err
		}
		for _, a := range list {
			if a.State() == Retired {
				continue
			}
			if err := enc.Encode(line{ID: a.Code, Content: a.Newest.Content, Owner: a.Owner, State: a.State()}); err != nil {
				return fmt.Errorf("articles: export: %w", err)
			}
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
}
