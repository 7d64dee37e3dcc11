package knowledge

import (
	"math"
	"slices"
)

// featureVersion changes whenever a text gets other features than before.
const featureVersion = 1

// Feature is one property of a text. Key is a hash of its name, never 0.
type Feature struct {
	Key   uint32
	Value float32
}

// conceptWeight is how much concepts count against characters.
const conceptWeight = 0.6

// read is a text with what was found in it.
type read struct {
	text     []rune
	concepts []int // ascending, each once
}

func (r *reader) read(s string) read {
	text := r.fold(s)
	found := r.words.find(text)
	var ids []int
	for _, f := range found {
		ids = append(ids, f.ids...)
	}
	slices.Sort(ids)
	return read{text: text, concepts: slices.Compact(ids)}
}

func hash(kind byte, parts ...uint32) uint32 {
	h := (uint32(2166136261) ^ uint32(kind)) * 16777619
	for _, p := range parts {
		for range 3 {
			h = (h ^ p&0xff) * 16777619
			p >>= 8
		}
	}
	h ^= h >> 15
	h *= 2246822519
	h ^= h >> 13
	if h == 0 {
		return 1
	}
	return h
}

// features are what the kind model sees: characters, and concepts alone and in
// pairs. Each group is scaled to a length of its own, so that a long question
// has no more say than a short one.
func (r *reader) features(in read) []Feature {
	grams := make([]uint32, 0, 4*len(in.text)+8)
	at := func(i int) uint32 {
		if i < 0 || i >= len(in.text) {
			return '^'
		}
		return uint32(in.text[i])
	}
	for i := range in.text {
		if in.text[i] == ' ' {
			continue
		}
		grams = append(grams, hash('1', at(i)), hash('2', at(i-1), at(i)), hash('3', at(i-1), at(i), at(i+1)), hash('s', at(i-1), at(i+1)))
		if i+1 == len(in.text) {
			grams = append(grams, hash('2', at(i), '^'))
		}
	}
	ideas := make([]uint32, 0, 16)
	for i, a := range in.concepts {
		ideas = append(ideas, r.conceptKey(a, -1))
		for _, b := range in.concepts[i+1:] {
			ideas = append(ideas, r.conceptKey(a, b))
		}
	}
	out := make([]Feature, 0, len(grams)+len(ideas))
	out = appendScaled(out, grams, 1)
	return appendScaled(out, ideas, conceptWeight)
}

func (r *reader) conceptKey(a, b int) uint32 {
	if b < 0 {
		return hash('c', nameKey(r.concepts[a].ID))
	}
	return hash('p', nameKey(r.concepts[a].ID), nameKey(r.concepts[b].ID))
}

func nameKey(id string) uint32 {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return h
}

func appendScaled(out []Feature, keys []uint32, weight float64) []Feature {
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if len(keys) == 0 {
		return out
	}
	v := float32(weight / math.Sqrt(float64(len(keys))))
	for _, k := range keys {
		out = append(out, Feature{k, v})
	}
	return out
}
