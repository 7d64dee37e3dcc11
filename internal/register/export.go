package register

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"

	"guanjia/templates"
)

// Publications is the name of the publication register in addresses and files.
const Publications = "publications"

// Format is a form in which a register is given out.
type Format string

// The formats.
const (
	JSON  Format = "json"
	Excel Format = "xlsx"
	HTML  Format = "html" // a page to print on A4
)

// ErrFormat: there is no such format.
var ErrFormat = errors.New("register: no such format; choose json, xlsx or html")

// ContentType is the media type of a format; empty when there is no such format.
func (f Format) ContentType() string {
	switch f {
	case JSON:
		return "application/json; charset=utf-8"
	case Excel:
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	case HTML:
		return "text/html; charset=utf-8"
	}
	return ""
}

// maxExport bounds the rows of one file: years of a large company.
const maxExport = 20_000

// ErrTooMany: the period holds more rows than one file takes.
var ErrTooMany = fmt.Errorf("register: more than %d rows; choose a shorter period", maxExport)

// chinaTime is the only zone of mainland China.
func chinaTime() *time.Location { return time.FixedZone("Asia/Shanghai", 8*3600) }

// ExportPublications writes the register of a period. The filter's page and
// limit are not asked: all rows come.
func (r *Register) ExportPublications(ctx context.Context, companyID string, f Filter, format Format, w io.Writer) error {
	if format.ContentType() == "" {
		return ErrFormat
	}
	var list []Publication
	f.Limit, f.Cursor = MaxPage, ""
	for {
		page, next, err := r.List(ctx, r.db, companyID, f)
		if err != nil {
			return err
		}
		if list = append(list, page...); len(list) > maxExport {
			return ErrTooMany
		}
		if f.Cursor = next; next == "" {
			break
		}
	}
	s, err := r.sheetOf(ctx, companyID, f, list)
	if err != nil {
		return err
	}
	switch format {
	case Excel:
		return s.writeExcel(w)
	case HTML:
		return s.writeHTML(w)
	}
	return s.writeJSON(w)
}

// exported is a register ready to be written, in words.
type exported struct {
	Title, Company, FormCode, Period, Printed string
	From, To                                  time.Time
	Rows                                      []exportedRow
	Source                                    []Publication
	label                                     func(code string) string
}

type exportedRow struct {
	Seq                                             int
	No, State, Project, Title, Kind, Summary, Scope string
	Forms, Author, Approved, Endorsed, Published    string
	Registered, Remark                              string
	Households, Reached, Delivered, Failed, Called  int
	FormLines                                       []formLine
}

type formLine struct {
	Name, Text string
	Done       bool
}

func (r *Register) sheetOf(ctx context.Context, companyID string, f Filter, list []Publication) (exported, error) {
	dir, err := r.companies.Directory(ctx)
	if err != nil {
		return exported{}, fmt.Errorf("register: export: %w", err)
	}
	owner, _ := dir.Company(companyID)
	s := exported{
		Company: owner.Name, FormCode: owner.Settings.FormCodes[Publications], From: f.From, To: f.To, Source: list, Printed: moment(r.clock.Now()),
		label: func(code string) string { return r.book.Label("publication_register", code) },
	}
	s.Title, s.Period = s.label("title"), period(f.From, f.To)
	for i, p := range list {
		s.Rows = append(s.Rows, r.rowOf(i+1, p, s.label))
	}
	return s, nil
}

func (r *Register) rowOf(seq int, p Publication, label func(string) string) exportedRow {
	row := exportedRow{
		Seq: seq, No: p.No, State: r.book.Label("publication_state", string(p.State)), Project: p.Project, Title: p.Title, Kind: r.book.Label("notice_kind", p.Kind),
		Summary: p.Summary, Scope: p.Scope, Author: p.Author.words(), Approved: p.Approval.words(), Endorsed: p.Endorsement.words(), Published: moment(p.PublishedAt),
		Registered: p.Registered.words(), Remark: strings.TrimSpace(p.Remark + " " + p.EndedWhy),
		Households: p.Counts.Households, Reached: p.Counts.Reached, Delivered: p.Counts.Delivered, Failed: p.Counts.Failed, Called: p.Counts.Called,
	}
	if p.EndorseDue && !p.Endorsement.Done() {
		row.Endorsed = label("endorse_due")
	}
	var forms []string
	for _, f := range p.Forms {
		line := formLine{Name: r.book.Label("publication_form", f.Form), Done: f.Done(), Text: strings.TrimSpace(f.Act.words() + " " + f.Detail)}
		row.FormLines = append(row.FormLines, line)
		mark := "□"
		if line.Done {
			mark = "☑"
		}
		forms = append(forms, strings.TrimSpace(mark+line.Name+" "+line.Text))
	}
	row.Forms = strings.Join(forms, "\n")
	return row
}

// words are who and when.
func (a Act) words() string {
	return strings.TrimSpace(a.Name + " " + moment(a.At))
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(chinaTime()).Format("2006-01-02 15:04")
}

// period writes from and to as days; to is exclusive.
func period(from, to time.Time) string {
	day := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.In(chinaTime()).Format("2006-01-02")
	}
	if !to.IsZero() {
		to = to.Add(-time.Second)
	}
	return strings.Trim(day(from)+" 至 "+day(to), " ")
}

// excelColumns are the columns of the Excel file, their widths in characters.
var excelColumns = []struct {
	code  string
	width float64
	value func(exportedRow) any
}{
	{"seq", 6, func(r exportedRow) any { return r.Seq }},
	{"no", 9, func(r exportedRow) any { return r.No }},
	{"project", 14, func(r exportedRow) any { return r.Project }},
	{"kind", 12, func(r exportedRow) any { return r.Kind }},
	{"name", 24, func(r exportedRow) any { return r.Title }},
	{"summary", 40, func(r exportedRow) any { return r.Summary }},
	{"scope", 20, func(r exportedRow) any { return r.Scope }},
	{"forms", 34, func(r exportedRow) any { return r.Forms }},
	{"author", 22, func(r exportedRow) any { return r.Author }},
	{"approved", 22, func(r exportedRow) any { return r.Approved }},
	{"endorsed", 22, func(r exportedRow) any { return r.Endorsed }},
	{"published", 17, func(r exportedRow) any { return r.Published }},
	{"households", 8, func(r exportedRow) any { return r.Households }},
	{"reached", 10, func(r exportedRow) any { return r.Reached }},
	{"delivered", 10, func(r exportedRow) any { return r.Delivered }},
	{"failed", 11, func(r exportedRow) any { return r.Failed }},
	{"called", 13, func(r exportedRow) any { return r.Called }},
	{"registered", 22, func(r exportedRow) any { return r.Registered }},
	{"state", 9, func(r exportedRow) any { return r.State }},
	{"remark", 20, func(r exportedRow) any { return r.Remark }},
}

func (s exported) writeExcel(w io.Writer) (err error) {
	f := excelize.NewFile()
	defer func() { err = errors.Join(err, f.Close()) }()
	const sheet = "Sheet1"
	if err := f.SetSheetName(sheet, s.Title); err != nil {
		return fmt.Errorf("register: write Excel: %w", err)
	}
	head, err := f.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}, Alignment: &excelize.Alignment{Horizontal: "center", WrapText: true}})
	if err != nil {
		return fmt.Errorf("register: write Excel: %w", err)
	}
	wrap, err := f.NewStyle(&excelize.Style{Alignment: &excelize.Alignment{Vertical: "top", WrapText: true}})
	if err != nil {
		return fmt.Errorf("register: write Excel: %w", err)
	}
	landscape, a4 := "landscape", 9
	if err := f.SetPageLayout(s.Title, &excelize.PageLayoutOptions{Orientation: &landscape, Size: &a4}); err != nil {
		return fmt.Errorf("register: write Excel: %w", err)
	}
	out, err := f.NewStreamWriter(s.Title)
	if err != nil {
		return fmt.Errorf("register: write Excel: %w", err)
	}
	for i, c := range excelColumns {
		if err := out.SetColWidth(i+1, i+1, c.width); err != nil {
			return fmt.Errorf("register: write Excel: %w", err)
		}
	}
	heading := make([]any, len(excelColumns))
	for i, c := range excelColumns {
		heading[i] = excelize.Cell{StyleID: head, Value: s.label(c.code)}
	}
	lines := [][]any{
		{excelize.Cell{StyleID: head, Value: "《" + s.Title + "》"}},
		{s.label("company") + "：" + s.Company, nil, nil, nil, s.label("period") + "：" + s.Period, nil, nil, s.label("form_code") + "：" + s.FormCode},
		heading,
	}
	for _, r := range s.Rows {
		line := make([]any, len(excelColumns))
		for i, c := range excelColumns {
			line[i] = excelize.Cell{StyleID: wrap, Value: c.value(r)}
		}
		lines = append(lines, line)
	}
	for i, line := range lines {
		at, err := excelize.CoordinatesToCellName(1, i+1)
		if err != nil {
			return fmt.Errorf("register: write Excel: %w", err)
		}
		if err := out.SetRow(at, line); err != nil {
			return fmt.Errorf("register: write Excel: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("register: write Excel: %w", err)
	}
	if err := f.Write(w); err != nil {
		return fmt.Errorf("register: write Excel: %w", err)
	}
	return nil
}

func (s exported) writeHTML(w io.Writer) error {
	t, err := template.New("publications.html").Funcs(template.FuncMap{"l": s.label}).ParseFS(templates.Web(), "web/print/publications.html")
	if err != nil {
		return fmt.Errorf("register: print page: %w", err)
	}
	if err := t.Execute(w, s); err != nil {
		return fmt.Errorf("register: write print page: %w", err)
	}
	return nil
}

// JSON names of a publication.
type (
	actJSON struct {
		By   string `json:"by"`
		Name string `json:"name"`
		At   string `json:"at"`
	}
	formJSON struct {
		Form   string `json:"form"`
		Done   bool   `json:"done"`
		At     string `json:"at,omitempty"`
		By     string `json:"by,omitempty"`
		Name   string `json:"name,omitempty"`
		Detail string `json:"detail,omitempty"`
	}
	publicationJSON struct {
		Seq         int        `json:"seq"`
		No          string     `json:"no"`
		Ref         string     `json:"ref"`
		RefID       string     `json:"ref_id"`
		Project     string     `json:"project"`
		Title       string     `json:"title"`
		Kind        string     `json:"kind"`
		Topic       string     `json:"topic"`
		Summary     string     `json:"summary"`
		Scope       string     `json:"scope"`
		State       State      `json:"state"`
		Author      *actJSON   `json:"author"`
		Approved    *actJSON   `json:"approved"`
		EndorseDue  bool       `json:"endorse_due"`
		Endorsed    *actJSON   `json:"endorsed"`
		PublishedAt string     `json:"published_at"`
		Registered  *actJSON   `json:"registered"`
		EndedAt     string     `json:"ended_at"`
		EndedWhy    string     `json:"ended_why"`
		Households  int        `json:"households"`
		Reached     int        `json:"reached"`
		Delivered   int        `json:"delivered"`
		Failed      int        `json:"failed"`
		Called      int        `json:"called"`
		Remark      string     `json:"remark"`
		Forms       []formJSON `json:"forms"`
	}
)

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(chinaTime()).Format(time.RFC3339)
}

func actOf(a Act) *actJSON {
	if !a.Done() {
		return nil
	}
	return &actJSON{By: a.Person.ID, Name: a.Name, At: stamp(a.At)}
}

func (s exported) writeJSON(w io.Writer) error {
	rows := make([]publicationJSON, len(s.Source))
	for i, p := range s.Source {
		forms := make([]formJSON, len(p.Forms))
		for j, f := range p.Forms {
			forms[j] = formJSON{Form: f.Form, Done: f.Done(), At: stamp(f.At), By: f.Person.ID, Name: f.Name, Detail: f.Detail}
		}
		rows[i] = publicationJSON{
			Seq: i + 1, No: p.No, Ref: p.Ref.Kind, RefID: p.Ref.ID, Project: p.Project, Title: p.Title, Kind: p.Kind, Topic: p.Topic, Summary: p.Summary, Scope: p.Scope,
			State: p.State, Author: actOf(p.Author), Approved: actOf(p.Approval), EndorseDue: p.EndorseDue, Endorsed: actOf(p.Endorsement), PublishedAt: stamp(p.PublishedAt),
			Registered: actOf(p.Registered), EndedAt: stamp(p.EndedAt), EndedWhy: p.EndedWhy, Households: p.Counts.Households, Reached: p.Counts.Reached,
			Delivered: p.Counts.Delivered, Failed: p.Counts.Failed, Called: p.Counts.Called, Remark: p.Remark, Forms: forms,
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{
		"register": Publications, "title": s.Title, "form_code": s.FormCode, "company": s.Company, "from": stamp(s.From), "to": stamp(s.To), "publications": rows,
	}); err != nil {
		return fmt.Errorf("register: write JSON: %w", err)
	}
	return nil
}
