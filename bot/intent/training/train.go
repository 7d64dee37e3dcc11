package training

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"

	"guanjia/bot/intent"
)

// Weights trains on the examples, without those that are held back, and returns the content of a weights file. c is
// the untrained classifier whose lexicon makes the features.
func Weights(c *intent.Classifier, examples []Example, inputs string) ([]byte, error) {
	examples = Trainable(examples)
	if len(examples) == 0 {
		return nil, fmt.Errorf("there is no example to train on")
	}
	s := prepare(c, examples)
	heads := s.fitAll(s.all())
	s.calibrate(heads)
	return intent.PackWeights(intent.ModelInfo{Inputs: inputs, Examples: len(examples)}, s.keys, heads)
}

// Inputs is the digest of all that weights depend on: the corpus files, by name,
// and the lexicon of the classifier.
func Inputs(c *intent.Classifier, corpus fs.FS) (string, error) {
	names, err := fs.Glob(corpus, "*.tsv")
	if err != nil {
		return "", fmt.Errorf("list the corpus: %w", err)
	}
	slices.Sort(names)
	h := sha256.New()
	fmt.Fprintf(h, "lexicon %s\n", c.Digest())
	for _, name := range names {
		if name == HeldBack+".tsv" {
			continue
		}
		raw, err := fs.ReadFile(corpus, name)
		if err != nil {
			return "", fmt.Errorf("read the corpus: %w", err)
		}
		fmt.Fprintf(h, "%s %x\n", name, sha256.Sum256(raw))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// set is a corpus ready for fitting.
type set struct {
	examples []Example
	vectors  [][]intent.Feature
	keys     []uint32 // features that count, ascending
	number   map[uint32]int32
}

// minMessages is in how many messages a feature must occur to be learnt.
const minMessages = 2

func prepare(c *intent.Classifier, examples []Example) *set {
	s := &set{examples: examples, number: map[uint32]int32{}}
	counts := map[uint32]int{}
	for _, e := range examples {
		v := c.Vector(e.Input())
		s.vectors = append(s.vectors, v)
		for _, f := range v {
			counts[f.Key]++
		}
	}
	for key, n := range counts {
		if n >= minMessages {
			s.keys = append(s.keys, key)
		}
	}
	for _, in := range intent.Intents() {
		s.keys = append(s.keys, intent.IntentFeature(in).Key)
	}
	slices.Sort(s.keys)
	s.keys = slices.Compact(s.keys)
	for i, k := range s.keys {
		s.number[k] = int32(i)
	}
	return s
}

func (s *set) all() []int {
	out := make([]int, len(s.examples))
	for i := range out {
		out[i] = i
	}
	return out
}

func (s *set) base(i int) row {
	r := row{weight: 1}
	for _, f := range s.vectors[i] {
		if n, ok := s.number[f.Key]; ok {
			r.features = append(r.features, n)
			r.values = append(r.values, float64(f.Value))
		}
	}
	return r
}

// alsoPart is how much of a message belongs to the intents in also.
const alsoPart = 0.2

// Weight of a row with an emergency: missing one is the worst that can happen.
const emergencyWeight = 2

// standard is the recipe of all heads; it was chosen on held-back authors, where
// twice or half of any number makes little difference. What matters is that half of
// the features are left out at each step: without, the hand-written cues, which fit
// the messages they were written for too well, drown out the words.
func standard(seed uint64) recipe {
	return recipe{epochs: 30, rate: 0.5, decay: 1e-5, drop: 0.5, seed: seed}
}

// headSpec says what a head learns from a row; ok is false for rows that say nothing to it.
type headSpec struct {
	name    string
	classes []string
	recipe  recipe
	target  func(Example) (targets []string, ok bool)
	adjust  func(s *set, e Example, r *row)
}

func specs() []headSpec {
	orNone := func(list []string) []string { return append(slices.Clone(list), intent.None) }
	return []headSpec{
		{
			name: intent.HeadIntent, classes: append(intent.Intents(), intent.InDanger), recipe: standard(1),
			target: func(e Example) ([]string, bool) {
				first := e.Intent
				if e.Emergency && len(e.History) == 0 {
					first = intent.InDanger
				}
				return append([]string{first}, e.Also...), true
			},
		},
		{
			name: intent.HeadCategory, classes: orNone(intent.Categories()), recipe: standard(2),
			target: func(e Example) ([]string, bool) {
				return []string{named(e.Category)}, e.Category != "" || e.Intent == intent.IntentUrge
			},
			adjust: func(s *set, e Example, r *row) {
				f := intent.IntentFeature(e.Intent)
				if n, ok := s.number[f.Key]; ok {
					r.features, r.values = append(r.features, n), append(r.values, float64(f.Value))
				}
			},
		},
		{
			name: intent.HeadTopic, classes: orNone(intent.Topics()), recipe: standard(3),
			target: func(e Example) ([]string, bool) { return []string{named(e.Topic)}, true },
			adjust: func(_ *set, e Example, r *row) {
				if e.Topic == "" {
					r.weight = 0.5
				}
			},
		},
		{
			name: intent.HeadEmergency, classes: []string{"0", "1"}, recipe: standard(4),
			target: func(e Example) ([]string, bool) {
				if e.Emergency {
					return []string{"1"}, true
				}
				return []string{"0"}, true
			},
			adjust: func(_ *set, e Example, r *row) {
				if e.Emergency {
					r.weight = emergencyWeight
				}
			},
		},
	}
}

func named(s string) string {
	if s == "" {
		return intent.None
	}
	return s
}

// rows are those of the chosen examples that say something to a head.
func (s *set) rows(h headSpec, chosen []int) []row {
	var out []row
	for _, i := range chosen {
		e := s.examples[i]
		targets, ok := h.target(e)
		if !ok || len(e.History) > 0 && h.name != intent.HeadIntent {
			continue // what only the history tells is not to be read from the words
		}
		r := s.base(i)
		for k, t := range targets {
			part := 1.0
			switch {
			case len(targets) > 1 && k == 0:
				part = 1 - alsoPart
			case k > 0:
				part = alsoPart / float64(len(targets)-1)
			}
			r.target = append(r.target, share{slices.Index(h.classes, t), part})
		}
		if h.adjust != nil {
			h.adjust(s, e, &r)
		}
		out = append(out, r)
	}
	return out
}

func (s *set) fitAll(chosen []int) []intent.HeadWeights {
	var out []intent.HeadWeights
	for _, h := range specs() {
		w, b := fit(s.rows(h, chosen), len(s.keys), len(h.classes), h.recipe)
		out = append(out, intent.HeadWeights{Name: h.name, Classes: h.classes, W: w, Bias: b, Temperature: 1})
	}
	return out
}
