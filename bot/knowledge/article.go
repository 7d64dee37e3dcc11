package knowledge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Limits of an article, in characters. An answer goes into one WeChat text.
const (
	MaxQuestion  = 100
	MaxPhrasings = 50
	MaxAnswer    = 500
	maxID        = 64
)

// Article is one answer and how it is asked for.
type Article struct {
	ID        string   `json:"id"`
	Question  string   `json:"question"`
	Phrasings []string `json:"phrasings"`
	Answer    string   `json:"answer"`
	// Topic is one of the codes of the glossary; may be empty.
	Topic string `json:"topic,omitempty"`
}

// Check says what is wrong with an article, as one sentence for its author.
func (a Article) Check() error {
	count := utf8.RuneCountInString
	switch {
	case a.Question == "":
		return errors.New("the question is empty")
	case count(a.Question) > MaxQuestion:
		return fmt.Errorf("the question has %d characters, %d are allowed", count(a.Question), MaxQuestion)
	case a.Answer == "":
		return errors.New("the answer is empty")
	case count(a.Answer) > MaxAnswer:
		return fmt.Errorf("the answer has %d characters, %d are allowed", count(a.Answer), MaxAnswer)
	case len(a.Phrasings) > MaxPhrasings:
		return fmt.Errorf("%d phrasings, %d are allowed", len(a.Phrasings), MaxPhrasings)
	}
	for i, p := range a.Phrasings {
		if p == "" || count(p) > MaxQuestion {
			return fmt.Errorf("phrasing %d is empty or longer than %d characters", i+1, MaxQuestion)
		}
	}
	for _, s := range append([]string{a.Question, a.Answer}, a.Phrasings...) {
		if !utf8.ValidString(s) {
			return errors.New("the text is no valid UTF-8")
		}
	}
	return nil
}

// maxArticles bounds one file, maxArticleLine one line of it in bytes.
const (
	maxArticles    = 20000
	maxArticleLine = 1 << 20
)

// ReadArticles reads articles, one JSON object a line. The first wrong line is
// an error that says which and why; fields it does not know are passed over.
func ReadArticles(in io.Reader) ([]Article, error) {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, maxArticleLine)
	var out []Article
	line, seen := 0, map[string]int{}
	for sc.Scan() {
		line++
		raw := bytes.TrimPrefix(bytes.TrimSpace(sc.Bytes()), []byte("\ufeff"))
		if len(raw) == 0 {
			continue
		}
		var a Article
		if err := json.Unmarshal(raw, &a); err != nil {
			return nil, fmt.Errorf("line %d is no article: %w", line, err)
		}
		if a.ID == "" || len(a.ID) > maxID {
			return nil, fmt.Errorf("line %d: the id is empty or longer than %d bytes", line, maxID)
		}
		if before, ok := seen[a.ID]; ok {
			return nil, fmt.Errorf("line %d: the id %q stands in line %d already", line, a.ID, before)
		}
		seen[a.ID] = line
		if err := a.Check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if out = append(out, a); len(out) > maxArticles {
			return nil, fmt.Errorf("line %d: more than %d articles", line, maxArticles)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", line+1, err)
	}
	return out, nil
}
