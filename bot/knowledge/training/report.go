package training

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"text/tabwriter"

	intenttraining "guanjia/bot/intent/training"
	"guanjia/bot/knowledge"
)

// Labelled is a question with the article that answers it, "" when none does.
type Labelled struct {
	ID       string
	Question string
	Article  string
}

// ReadLabelled reads questions, one JSON object a line: id, question, and
// article (an id, or null). A wrong line is an error that names line and reason.
func ReadLabelled(in io.Reader) ([]Labelled, error) {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 1<<20)
	var out []Labelled
	for n := 1; sc.Scan(); n++ {
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		var row struct {
			ID       string  `json:"id"`
			Question string  `json:"question"`
			Article  *string `json:"article"`
		}
		if err := json.Unmarshal(sc.Bytes(), &row); err != nil {
			return nil, fmt.Errorf("line %d is not {\"id\",\"question\",\"article\"}: %w", n, err)
		}
		if row.Question == "" {
			return nil, fmt.Errorf("line %d: the question is empty", n)
		}
		l := Labelled{ID: row.ID, Question: row.Question}
		if row.Article != nil {
			l.Article = *row.Article
		}
		out = append(out, l)
	}
	return out, sc.Err()
}

// outcome is a labelled question and what an index made of it.
type outcome struct {
	Labelled
	hit knowledge.Hit
}

func (o outcome) right() bool { return o.hit.OK && o.hit.ArticleID == o.Article && o.Article != "" }
func (o outcome) wrong() bool { return o.hit.OK && o.hit.ArticleID != o.Article }

// Report asks an index all questions and prints what came of it: the marks with
// n and the bounds of 95 % (Wilson), each article's hits, every wrong answer,
// every answerable question that went to a person, and what other thresholds
// would do.
func Report(w io.Writer, x *knowledge.Index, questions []Labelled, threshold float64) {
	rows := make([]outcome, len(questions))
	for i, q := range questions {
		rows[i] = outcome{q, x.Answer(q.Question)}
	}
	marks(w, rows)
	perArticle(w, rows)
	listed(w, "wrong answers", rows, outcome.wrong)
	listed(w, "answerable questions that went to a person", rows, func(o outcome) bool { return o.Article != "" && !o.hit.OK })
	thresholds(w, rows, threshold)
}

func marks(w io.Writer, rows []outcome) {
	var first, answered, wrong, none intenttraining.Share
	for _, r := range rows {
		wrong.N++
		if r.wrong() {
			wrong.OK++
		}
		if r.Article == "" {
			none.N++
			if !r.hit.OK {
				none.OK++
			}
			continue
		}
		answered.N++
		if r.right() {
			answered.OK++
		}
		first.N++
		if r.hit.ArticleID == r.Article {
			first.OK++
		}
	}
	fmt.Fprintf(w, "n %d\n\n", len(rows))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "right article answered, of answerable questions\t%s\n", answered)
	fmt.Fprintf(t, "right article in the first place, answered or not\t%s\n", first)
	fmt.Fprintf(t, "wrong answers, of all questions\t%s\n", wrong)
	fmt.Fprintf(t, "given to a person, of questions without an article\t%s\n", none)
	_ = t.Flush() // the reader has gone; the caller's next write tells
}

func perArticle(w io.Writer, rows []outcome) {
	type count struct{ asked, right, wrong int }
	counts := map[string]*count{}
	of := func(id string) *count {
		if counts[id] == nil {
			counts[id] = &count{}
		}
		return counts[id]
	}
	for _, r := range rows {
		if r.Article != "" {
			of(r.Article).asked++
		}
		if r.right() {
			of(r.Article).right++
		}
		if r.wrong() {
			of(r.hit.ArticleID).wrong++
		}
	}
	fmt.Fprintln(w, "\nby article")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "article\tasked\tanswered\twrongly given")
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		c := counts[id]
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\n", id, c.asked, c.right, c.wrong)
	}
	_ = t.Flush()
}

func listed(w io.Writer, title string, rows []outcome, which func(outcome) bool) {
	fmt.Fprintf(w, "\n%s\n", title)
	n := 0
	for _, r := range rows {
		if !which(r) {
			continue
		}
		n++
		fmt.Fprintf(w, "  %s %s: want %s, best %s at %.3f, read as %s\n", r.ID, r.Question, cmp.Or(r.Article, "none"), cmp.Or(r.hit.ArticleID, "none"), r.hit.Score, r.hit.Kind)
	}
	if n == 0 {
		fmt.Fprintln(w, "  none")
	}
}

func thresholds(w io.Writer, rows []outcome, now float64) {
	fmt.Fprintf(w, "\nthreshold (in force: %.4f)\n", now)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "threshold\tanswered right, of answerable\twrong, of all")
	steps := []float64{0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, now}
	slices.Sort(steps)
	for _, limit := range slices.Compact(steps) {
		var right, wrong intenttraining.Share
		for _, r := range rows {
			gives := r.hit.ArticleID != "" && r.hit.Score >= limit
			wrong.N++
			if gives && r.hit.ArticleID != r.Article {
				wrong.OK++
			}
			if r.Article == "" {
				continue
			}
			right.N++
			if gives && r.hit.ArticleID == r.Article {
				right.OK++
			}
		}
		fmt.Fprintf(t, "%.4f\t%s\t%s\n", limit, right, wrong)
	}
	_ = t.Flush()
}

// ByAuthor reads each author's questions with weights and a threshold made from
// all others, and prints what comes of it on the articles of the sample company.
func ByAuthor(w io.Writer, corpus fs.FS, articles []knowledge.Article) error {
	t, err := open(corpus, articles)
	if err != nil {
		return err
	}
	whole, halves, err := t.crossed()
	if err != nil {
		return err
	}
	for _, author := range authors(t.questions) {
		var others, own []judged
		for _, r := range append(slices.Clone(whole), halves...) {
			if r.question.Author != author {
				others = append(others, r)
			}
		}
		for _, r := range whole {
			if r.question.Author == author {
				own = append(own, r)
			}
		}
		curve(w, author, fitRank(others), own)
	}
	return nil
}

// curve prints which share of answerable questions is answered while wrong
// answers stay below each of some limits.
func curve(w io.Writer, author string, rank knowledge.Rank, rows []judged) {
	slices.SortStableFunc(rows, func(a, b judged) int { return cmp.Compare(score(rank, b.signs[:]), score(rank, a.signs[:])) })
	var first intenttraining.Share
	for _, r := range rows {
		if r.some {
			first.N++
		}
		if r.right {
			first.OK++
		}
	}
	fmt.Fprintf(w, "author %s, read by the others: n %d, right article in the first place %s\n", author, len(rows), first)
	for _, limit := range []float64{0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1} {
		wrong, at := 0, 1.0
		right := intenttraining.Share{N: first.N}
		for _, r := range rows {
			if !r.right {
				wrong++
			}
			if float64(wrong) > limit*float64(len(rows)) {
				break
			}
			if r.right {
				right.OK++
			}
			at = score(rank, r.signs[:])
		}
		fmt.Fprintf(w, "  wrong at most %.2f %%: answered %s from %.3f\n", 100*limit, right, at)
	}
}
