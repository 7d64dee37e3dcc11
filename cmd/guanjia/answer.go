package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"guanjia/bot/knowledge"
	"guanjia/bot/knowledge/training"
)

type answerCmd struct {
	Articles string `help:"Articles, one JSON object a line: id, question, phrasings, answer." required:"" type:"path" placeholder:"FILE"`
	Report   string `help:"Questions with their article (or null), one JSON object a line: print what comes of them instead." type:"path" placeholder:"FILE"`
}

type answerIn struct {
	ID       string `json:"id"`
	Question string `json:"question"`
}

type answerOut struct {
	ID        string  `json:"id"`
	ArticleID *string `json:"article_id"`
	Score     float64 `json:"score"`
}

func (a *answerCmd) Run(_ *cli, o out, _ runContext) error {
	articles, err := readArticles(a.Articles)
	if err != nil {
		return err
	}
	matcher, err := knowledge.New()
	if err != nil {
		return err
	}
	index, err := matcher.Build(articles)
	if err != nil {
		return err
	}
	if a.Report != "" {
		return a.report(o, matcher, index)
	}
	return answerLines(o, index)
}

func (a *answerCmd) report(o out, matcher *knowledge.Matcher, index *knowledge.Index) error {
	f, err := os.Open(a.Report)
	if err != nil {
		return fmt.Errorf("read the questions: %w", err)
	}
	defer f.Close()
	questions, err := training.ReadLabelled(f)
	if err != nil {
		return fmt.Errorf("%s %w", a.Report, err)
	}
	training.Report(o.stdout, index, questions, matcher.Threshold())
	return nil
}

func answerLines(o out, index *knowledge.Index) error {
	in := bufio.NewScanner(o.stdin)
	in.Buffer(make([]byte, 64<<10), maxLine)
	w := bufio.NewWriter(o.stdout)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for n := 1; in.Scan(); n++ {
		if len(in.Bytes()) == 0 {
			continue
		}
		var row answerIn
		if err := json.Unmarshal(in.Bytes(), &row); err != nil {
			return fmt.Errorf("line %d is not {\"id\",\"question\"}: %w", n, err)
		}
		hit := index.Answer(row.Question)
		answer := answerOut{ID: row.ID, Score: hit.Score}
		if hit.OK {
			answer.ArticleID = &hit.ArticleID
		}
		if err := enc.Encode(answer); err != nil {
			return fmt.Errorf("print line %d: %w", n, err)
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("read stdin: %w", err)
	}
	return w.Flush()
}
