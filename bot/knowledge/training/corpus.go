package training

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"guanjia/bot/knowledge"
)

// Question is one line of the corpus.
type Question struct {
	Author string // name of its file
	Kind   string
	Text   string
}

// answersFile says which article of the sample company answers which kind.
const answersFile = "answers.map"

// ReadCorpus reads all *.tsv files of a directory, by name. A wrong line is an
// error that names file, line and reason.
func ReadCorpus(dir fs.FS) ([]Question, error) {
	names, err := fs.Glob(dir, "*.tsv")
	if err != nil {
		return nil, fmt.Errorf("list the questions: %w", err)
	}
	slices.Sort(names)
	known, err := kindCodes()
	if err != nil {
		return nil, err
	}
	var out []Question
	for _, name := range names {
		rows, err := readPairs(dir, name)
		if err != nil {
			return nil, err
		}
		author := strings.TrimSuffix(path.Base(name), ".tsv")
		for _, r := range rows {
			if !known[r.left] {
				return nil, fmt.Errorf("%s line %d: no kind is called %.40q", name, r.line, r.left)
			}
			out = append(out, Question{Author: author, Kind: r.left, Text: r.right})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("there is no question to train on")
	}
	return out, nil
}

// ReadAnswers reads which kinds each article of the sample company answers.
func ReadAnswers(dir fs.FS) (map[string][]string, error) {
	known, err := kindCodes()
	if err != nil {
		return nil, err
	}
	rows, err := readPairs(dir, answersFile)
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, r := range rows {
		if !known[r.right] {
			return nil, fmt.Errorf("%s line %d: no kind is called %.40q", answersFile, r.line, r.right)
		}
		out[r.left] = append(out[r.left], r.right)
	}
	return out, nil
}

func kindCodes() (map[string]bool, error) {
	kinds, err := knowledge.Kinds()
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, k := range kinds {
		known[k.Code] = true
	}
	return known, nil
}

type pair struct {
	line        int
	left, right string
}

func readPairs(dir fs.FS, name string) ([]pair, error) {
	raw, err := fs.ReadFile(dir, name)
	if err != nil {
		return nil, fmt.Errorf("read the questions: %w", err)
	}
	var out []pair
	sc := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimRight(sc.Text(), "\r")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		left, right, ok := strings.Cut(line, "\t")
		if !ok || strings.TrimSpace(right) == "" || strings.Contains(right, "\t") {
			return nil, fmt.Errorf("%s line %d: want two columns with one tab between", name, n)
		}
		out = append(out, pair{n, left, right})
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}
