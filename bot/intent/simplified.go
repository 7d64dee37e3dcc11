package intent

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Simplified gives the table of traditional characters and their simplified form
// (data/t2s.yaml), for bot/knowledge, which reads residents' words too.
func Simplified() (map[rune]rune, error) {
	raw, err := data.ReadFile("data/t2s.yaml")
	if err != nil {
		return nil, fmt.Errorf("intent: read t2s.yaml: %w", err)
	}
	var pairs [][]string
	if err := yaml.Unmarshal(raw, &pairs); err != nil {
		return nil, fmt.Errorf("intent: t2s.yaml: %w", err)
	}
	table := map[rune]rune{}
	for i, p := range pairs {
		if len(p) != 2 {
			return nil, fmt.Errorf("intent: t2s.yaml: group %d must have two lines", i+1)
		}
		from, to := []rune(p[0]), []rune(p[1])
		if len(from) != len(to) {
			return nil, fmt.Errorf("intent: t2s.yaml: group %d has lines of %d and %d characters", i+1, len(from), len(to))
		}
		for k := range from {
			if from[k] != to[k] {
				table[from[k]] = to[k]
			}
		}
	}
	return table, nil
}
