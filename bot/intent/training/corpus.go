package training

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"guanjia/bot/intent"
)

// Example is one labelled message.
type Example struct {
	// Author is the name of the file, Family what paraphrases share.
	Author, Family string
	Text           string
	History        []string
	Intent         string
	Also           []string
	// Category and Topic are empty where none applies.
	Category, Topic string
	Emergency       bool
}

// Input is the message as the classifier takes it.
func (e Example) Input() intent.Input { return intent.Input{Text: e.Text, History: e.History} }

// columns of a line: family, intent, category, emergency, topic, also, text and,
// where it matters, history.
const (
	minColumns = 7
	maxColumns = 8
)

// HeldBack is the author whose messages are never trained on: what is made of
// them is the honest figure. His file lies beside the others.
const HeldBack = "x"

// Trainable leaves out the author who is held back.
func Trainable(examples []Example) []Example {
	return slices.DeleteFunc(slices.Clone(examples), func(e Example) bool { return e.Author == HeldBack })
}

// ReadCorpus reads all *.tsv files of a directory, by name. A wrong line is an
// error that names file, line and reason.
func ReadCorpus(dir fs.FS) ([]Example, error) {
	names, err := fs.Glob(dir, "*.tsv")
	if err != nil {
		return nil, fmt.Errorf("list the corpus: %w", err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the corpus has no *.tsv file")
	}
	slices.Sort(names)
	var out []Example
	for _, name := range names {
		raw, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, fmt.Errorf("read the corpus: %w", err)
		}
		author := strings.TrimSuffix(path.Base(name), ".tsv")
		list, err := readLines(author, raw)
		if err != nil {
			return nil, fmt.Errorf("%s %w", name, err)
		}
		out = append(out, list...)
	}
	return out, nil
}

func readLines(author string, raw []byte) ([]Example, error) {
	var out []Example
	sc := bufio.NewScanner(bytes.NewReader(raw))
	sc.Buffer(nil, 1<<20)
	for n := 1; sc.Scan(); n++ {
		line := sc.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		e, err := parseLine(author, line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, e)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("after %d examples: %w", len(out), err)
	}
	return out, nil
}

func parseLine(author, line string) (Example, error) {
	if !utf8.ValidString(line) {
		return Example{}, fmt.Errorf("this is not UTF-8")
	}
	f := strings.Split(line, "\t")
	if len(f) < minColumns || len(f) > maxColumns {
		return Example{}, fmt.Errorf("%d columns, want family, intent, category, emergency, topic, also, text and perhaps history", len(f))
	}
	e := Example{Author: author, Family: f[0], Intent: f[1], Category: given(f[2]), Topic: given(f[4]), Text: f[6]}
	switch f[3] {
	case "0", "1":
		e.Emergency = f[3] == "1"
	default:
		return Example{}, fmt.Errorf("emergency is %.20q, want 0 or 1", f[3])
	}
	if also := given(f[5]); also != "" {
		e.Also = strings.Split(also, ",")
	}
	if len(f) == maxColumns {
		e.History = strings.Split(f[7], " | ")
	}
	return e, e.check()
}

func given(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

func (e Example) check() error {
	for _, in := range append([]string{e.Intent}, e.Also...) {
		if !slices.Contains(intent.Intents(), in) {
			return fmt.Errorf("no intent is called %.40q", in)
		}
	}
	if e.Category != "" && !slices.Contains(intent.Categories(), e.Category) {
		return fmt.Errorf("no category is called %.40q", e.Category)
	}
	if e.Topic != "" && !slices.Contains(intent.Topics(), e.Topic) {
		return fmt.Errorf("no topic is called %.40q", e.Topic)
	}
	return nil
}
