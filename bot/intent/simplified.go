package intent

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Simplified gives the tables of traditional characters and their simplified form
// (data/t2s.yaml, t2s-more.yaml), for bot/knowledge, which reads residents' words too.
func Simplified() (map[rune]rune, error) {
	table := map[rune]rune{}
	for _, name := range []string{"t2s-more.yaml", "t2s.yaml"} {
		if err := simplified(name, table); err != nil {
			return nil, fmt.Errorf("intent: %s: %w", name, err)
		}
	}
	return table, nil
}

func simplified(name string, table map[rune]rune) error {
	raw, err := data.ReadFile("data/" + name)
	if err != nil {
		return err
	}
	var pairs [][]string
	if err := yaml.Unmarshal(raw, &pairs); err != nil {
		return err
	}
	for i, p := range pairs {
		if len(p) != 2 {
			return fmt.Errorf("group %d must have two lines", i+1)
		}
		from, to := []rune(p[0]), []rune(p[1])
		if len(from) != len(to) {
			return fmt.Errorf("group %d has lines of %d and %d characters", i+1, len(from), len(to))
		}
		for k := range from {
			if from[k] != to[k] {
				table[from[k]] = to[k]
			}
		}
	}
	return nil
}
