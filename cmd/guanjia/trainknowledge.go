package main

import (
	"fmt"
	"os"

	"guanjia/bot/knowledge"
	"guanjia/bot/knowledge/training"
)

// knowledge trains what bot/knowledge finds articles by.
func (t *trainCmd) knowledge(o out) error {
	articles, err := readArticles(t.Articles)
	if err != nil {
		return err
	}
	if t.ByAuthor {
		return training.ByAuthor(o.stdout, os.DirFS(t.Questions), articles)
	}
	file, err := training.Train(os.DirFS(t.Questions), articles)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	if t.Check {
		return compareWeights(o, t.Weights, file)
	}
	if err := os.WriteFile(t.Weights, file, 0o644); err != nil {
		return fmt.Errorf("write the weights: %w", err)
	}
	fmt.Fprintf(o.stdout, "%d bytes of weights in %s\n", len(file), t.Weights)
	return nil
}

// readArticles reads a file of articles; an error names line and reason.
func readArticles(path string) ([]knowledge.Article, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the articles: %w", err)
	}
	defer f.Close()
	articles, err := knowledge.ReadArticles(f)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return articles, nil
}
