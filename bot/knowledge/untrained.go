package knowledge

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Vectors turns texts into features without weights, for training.
type Vectors struct{ r *reader }

// NewVectors reads the concepts.
func NewVectors() (*Vectors, error) {
	r, err := newReader()
	if err != nil {
		return nil, err
	}
	return &Vectors{r}, nil
}

// Of gives the features of a text.
func (v *Vectors) Of(text string) []Feature { return v.r.features(v.r.read(text)) }

// KindOf gives the probabilities of all kinds for a text, in the order of Kinds.
func (m *Matcher) KindOf(text string) []float32 {
	p, _ := m.m.kinds(m.r.features(m.r.read(text)))
	return p
}

// Digest names concepts, words of politeness and kinds, and how features are made.
func (v *Vectors) Digest() string {
	h := sha256.New()
	fmt.Fprintf(h, "features %d\n", featureVersion)
	for _, name := range []string{"concepts.yaml", "fillers.yaml", "kinds.yaml"} {
		raw, err := data.ReadFile("data/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		fmt.Fprintf(h, "%s %x\n", name, sha256.Sum256(raw))
	}
	return hex.EncodeToString(h.Sum(nil))
}
