package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"guanjia/bot/intent"
	"guanjia/bot/intent/training"
)

type trainCmd struct {
	Corpus   string `help:"Directory of labelled messages (*.tsv)." default:"bot/intent/corpus" type:"path"`
	Lexicon  string `help:"Directory with a company's own words and patterns; see docs/understanding.md." type:"path" placeholder:"DIR"`
	Out      string `help:"Where the weights are written, and compared by --check." default:"bot/intent/weights.bin" type:"path"`
	Check    bool   `help:"Train and fail when the weights differ from the file; write nothing."`
	ByAuthor bool   `help:"Measure instead: for each author train on all others, and report what is made of his messages."`
	Only     string `help:"With --by-author: only these authors, by comma." placeholder:"NAMES"`
	Without  string `help:"With --by-author: leave these authors out altogether." placeholder:"NAMES"`

	Knowledge bool   `help:"Train the weights by which articles are found instead, from the questions by kind."`
	Questions string `help:"With --knowledge: directory of questions by kind." default:"bot/knowledge/corpus" type:"path"`
	Articles  string `help:"With --knowledge: the articles that answers.map of the corpus names." default:"internal/app/sample/data/faq.jsonl" type:"path"`
	Weights   string `help:"With --knowledge: where the weights are written, and compared by --check." default:"bot/knowledge/weights.bin" type:"path"`
}

func (t *trainCmd) Run(_ *cli, o out, _ runContext) error {
	if t.Knowledge {
		return t.knowledge(o)
	}
	dir := os.DirFS(t.Corpus)
	examples, err := training.ReadCorpus(dir)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	lexicon := lexiconOption(t.Lexicon)
	c, err := intent.New(append(lexicon, intent.Untrained())...)
	if err != nil {
		return err
	}
	if t.ByAuthor {
		without := strings.Split(t.Without, ",")
		examples = slices.DeleteFunc(training.Trainable(examples), func(e training.Example) bool { return slices.Contains(without, e.Author) })
		pairs, err := training.ByAuthor(c, examples, t.Only, func(file []byte) (*intent.Classifier, error) {
			return intent.New(append(lexicon, intent.WithWeights(file))...)
		})
		if err != nil {
			return err
		}
		training.Print(o.stdout, pairs)
		return nil
	}
	inputs, err := training.Inputs(c, dir)
	if err != nil {
		return err
	}
	file, err := training.Weights(c, examples, inputs)
	if err != nil {
		return err
	}
	if t.Check {
		return compareWeights(o, t.Out, file)
	}
	if err := os.WriteFile(t.Out, file, 0o644); err != nil {
		return fmt.Errorf("write the weights: %w", err)
	}
	fmt.Fprintf(o.stdout, "%d examples, %d bytes of weights in %s\n", len(examples), len(file), t.Out)
	return nil
}

func compareWeights(o out, path string, file []byte) error {
	have, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the weights: %w", err)
	}
	if !bytes.Equal(have, file) {
		return fmt.Errorf("%s is not what this corpus and lexicon give; run `guanjia train` and commit it", path)
	}
	fmt.Fprintf(o.stdout, "%s is what the corpus gives, byte for byte\n", path)
	return nil
}

func lexiconOption(dir string) []intent.Option {
	if dir == "" {
		return nil
	}
	return []intent.Option{intent.WithLexicon(os.DirFS(dir))}
}
