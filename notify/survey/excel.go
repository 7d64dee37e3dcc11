package survey

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/xuri/excelize/v2"

	"guanjia/internal/wording"
)

// maxExcelComments bounds the words in a file, the newest first.
const maxExcelComments = 10000

// WriteExcel writes the results of a survey: the whole, each sight with n and
// its intervals, and what people wrote. Figures that an anonymous survey does
// not show are not in the file either.
func (s *Surveys) WriteExcel(ctx context.Context, w io.Writer, companyID, id string) error {
	x, err := s.ByID(ctx, companyID, id)
	if err != nil {
		return err
	}
	res, err := s.Results(ctx, companyID, x.ID, ResultFilter{})
	if err != nil {
		return err
	}
	f := excelize.NewFile()
	defer func() { _ = f.Close() }() // in memory
	sheet := excelSheet{file: f, book: s.Book}
	if err := sheet.results(x, res); err != nil {
		return err
	}
	if err := s.excelComments(ctx, &sheet, companyID, x.ID); err != nil {
		return err
	}
	if err := f.DeleteSheet("Sheet1"); err != nil {
		return fmt.Errorf("survey: write Excel: %w", err)
	}
	if err := f.Write(w); err != nil {
		return fmt.Errorf("survey: write Excel: %w", err)
	}
	return nil
}

func (s *Surveys) excelComments(ctx context.Context, sheet *excelSheet, companyID, id string) error {
	if err := sheet.begin(s.Book.Label("survey_sheet", "comments"), s.Book.Label("survey_sheet", "score"), s.Book.Label("survey_sheet", "words"), s.Book.Label("survey_sheet", "building"), s.Book.Label("survey_sheet", "month")); err != nil {
		return err
	}
	cursor := ""
	for n := 0; n < maxExcelComments; {
		list, next, err := s.Comments(ctx, companyID, id, ResultFilter{}, cursor, 200)
		if err != nil {
			return err
		}
		for _, c := range list {
			var score any
			if c.Score > 0 {
				score = c.Score
			}
			if err := sheet.row(score, c.Text, c.Building, c.Month); err != nil {
				return err
			}
		}
		if n += len(list); next == "" {
			return sheet.end()
		}
		cursor = next
	}
	return sheet.end()
}

// excelSheet writes rows downwards.
type excelSheet struct {
	file *excelize.File
	book *wording.Book
	out  *excelize.StreamWriter
	n    int
}

func (e *excelSheet) begin(name string, head ...any) error {
	if _, err := e.file.NewSheet(name); err != nil {
		return fmt.Errorf("survey: write Excel: %w", err)
	}
	out, err := e.file.NewStreamWriter(name)
	if err != nil {
		return fmt.Errorf("survey: write Excel: %w", err)
	}
	e.out, e.n = out, 0
	if err := out.SetColWidth(1, 2, 24); err != nil {
		return fmt.Errorf("survey: write Excel: %w", err)
	}
	return e.row(head...)
}

// row writes cells as values, never as formulas, whatever people wrote.
func (e *excelSheet) row(cells ...any) error {
	e.n++
	at, err := excelize.CoordinatesToCellName(1, e.n)
	if err != nil {
		return fmt.Errorf("survey: write Excel: %w", err)
	}
	if err := e.out.SetRow(at, cells); err != nil {
		return fmt.Errorf("survey: write Excel: %w", err)
	}
	return nil
}

func (e *excelSheet) end() error {
	if err := e.out.Flush(); err != nil {
		return fmt.Errorf("survey: write Excel: %w", err)
	}
	return nil
}

func (e *excelSheet) results(x Survey, res Results) error {
	word := func(code string) string { return e.book.Label("survey_sheet", code) }
	if err := e.begin(word("whole")); err != nil {
		return err
	}
	rows := [][]any{
		{word("no"), x.No}, {word("title"), x.Title}, {word("project"), x.ProjectName}, {word("state"), e.book.Label("survey_state", string(res.State))},
		{word("invited"), res.Invited}, {word("answered"), res.Answered}, {word("response_rate"), share(res.ResponseRate)},
	}
	if !res.Hidden {
		rows = append(rows, []any{word("satisfied_rate"), share(res.SatisfiedRate)}, []any{word("satisfaction"), share(res.Satisfaction)})
		if res.NPS != nil {
			rows = append(rows, []any{word("nps"), res.NPS.Score})
		}
	}
	for _, r := range rows {
		if err := e.row(r...); err != nil {
			return err
		}
	}
	if err := e.end(); err != nil {
		return err
	}
	for _, by := range []string{"category", "building", "month"} {
		if err := e.figures(word(by), res.By[by]); err != nil {
			return err
		}
	}
	return nil
}

func (e *excelSheet) figures(name string, list []Figure) error {
	word := func(code string) string { return e.book.Label("survey_sheet", code) }
	head := []any{name, "n", word("satisfied_rate"), word("low"), word("high"), word("satisfaction"), word("low"), word("high")}
	for score := 1; score <= 5; score++ {
		head = append(head, e.book.Label("satisfaction", fmt.Sprint(score)))
	}
	if err := e.begin(name, head...); err != nil {
		return err
	}
	for _, f := range list {
		if f.Hidden {
			if err := e.row(f.Name, word("few")); err != nil {
				return err
			}
			continue
		}
		cells := []any{f.Name, f.N, share(f.SatisfiedRate), share(f.Low), share(f.High), share(f.Satisfaction), share(f.MeanLow), share(f.MeanHigh)}
		for _, n := range f.Scores {
			cells = append(cells, n)
		}
		if err := e.row(cells...); err != nil {
			return err
		}
	}
	return e.end()
}

// share rounds to what somebody reads: four places.
func share(v float64) float64 { return math.Round(v*10000) / 10000 }
