package training

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// labelledRow is a line of a labelled file, as the development data has them.
type labelledRow struct {
	ID        string   `json:"id"`
	Text      string   `json:"text"`
	History   []string `json:"history"`
	Intent    string   `json:"intent"`
	Category  *string  `json:"category"`
	Topic     *string  `json:"topic"`
	Emergency bool     `json:"emergency"`
	Also      []string `json:"also"`
}

// maxRow is the longest line of a labelled file in bytes.
const maxRow = 4 << 20

// ReadLabelled reads messages with labels: JSON lines with id, text, intent,
// category, emergency, topic, also and perhaps history, or a file of the corpus
// when its name ends in .tsv. A wrong line is an error that names it.
func ReadLabelled(name string, raw []byte) ([]Example, error) {
	author := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
	if filepath.Ext(name) == ".tsv" {
		return readLines(author, raw)
	}
	var out []Example
	sc := bufio.NewScanner(bytes.NewReader(raw))
	sc.Buffer(nil, maxRow)
	for n := 1; sc.Scan(); n++ {
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		var r labelledRow
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		e := Example{Author: author, Family: r.ID, Text: r.Text, History: r.History, Intent: r.Intent, Also: r.Also, Emergency: r.Emergency}
		if r.Category != nil {
			e.Category = *r.Category
		}
		if r.Topic != nil {
			e.Topic = *r.Topic
		}
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, e)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("after %d lines: %w", len(out), err)
	}
	return out, nil
}
