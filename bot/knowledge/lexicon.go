package knowledge

import (
	"bytes"
	"embed"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"guanjia/bot/intent"
)

//go:embed data/*.yaml
var data embed.FS

// Kind is what a question may ask.
type Kind struct {
	Code string `yaml:"kind"`
	Asks string `yaml:"asks"`
}

// Outside tells whether no article answers questions of the kind.
func (k Kind) Outside() bool { return outside(k.Code) }

func outside(code string) bool {
	return strings.HasPrefix(code, "out.") || strings.HasPrefix(code, "none.")
}

// concept is a group of words that mean the same.
type concept struct {
	ID    string   `yaml:"id"`
	Ask   bool     `yaml:"ask"`
	Words []string `yaml:"words"`
}

// reader turns texts into features.
type reader struct {
	concepts []concept
	words    trie
	fillers  trie
	simple   map[rune]rune
}

func newReader() (*reader, error) {
	simple, err := intent.Simplified()
	if err != nil {
		return nil, err
	}
	r := &reader{simple: simple}
	if err := load("concepts.yaml", &r.concepts); err != nil {
		return nil, err
	}
	var fillers []string
	if err := load("fillers.yaml", &fillers); err != nil {
		return nil, err
	}
	for _, f := range fillers {
		r.fillers.add(f, 0)
	}
	seen := map[string]bool{}
	for i, c := range r.concepts {
		if c.ID == "" || seen[c.ID] || len(c.Words) == 0 {
			return nil, fmt.Errorf("knowledge: concepts.yaml: entry %d (%q) has no id, an id used before, or no words", i+1, c.ID)
		}
		seen[c.ID] = true
		for _, w := range c.Words {
			if w == "" {
				return nil, fmt.Errorf("knowledge: concepts.yaml: %s has an empty word", c.ID)
			}
			r.words.add(w, i)
		}
	}
	return r, nil
}

// Kinds lists the kinds of questions in the order of data/kinds.yaml.
func Kinds() ([]Kind, error) {
	var kinds []Kind
	if err := load("kinds.yaml", &kinds); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i, k := range kinds {
		if k.Code == "" || k.Asks == "" || seen[k.Code] {
			return nil, fmt.Errorf("knowledge: kinds.yaml: entry %d (%q) has no code, no description, or a code used before", i+1, k.Code)
		}
		seen[k.Code] = true
	}
	return kinds, nil
}

func load(name string, into any) error {
	raw, err := data.ReadFile("data/" + name)
	if err != nil {
		return fmt.Errorf("knowledge: read %s: %w", name, err)
	}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("knowledge: %s: %w", name, err)
	}
	return nil
}
