package knowledge

import (
	"math"
	"slices"
)

// terms are what articles are compared by word for word: pairs of characters,
// and concepts.
func (r *reader) terms(in read) []uint32 {
	out := make([]uint32, 0, len(in.text)+len(in.concepts))
	for i := 1; i < len(in.text); i++ {
		if in.text[i] != ' ' && in.text[i-1] != ' ' {
			out = append(out, hash('b', uint32(in.text[i-1]), uint32(in.text[i])))
		}
	}
	for _, c := range in.concepts {
		if !r.concepts[c].Ask {
			// A concept says as much as three pairs of characters.
			out = append(out, r.conceptKey(c, -1), hash('c', nameKey(r.concepts[c].ID), 1), hash('c', nameKey(r.concepts[c].ID), 2))
			continue
		}
		out = append(out, r.conceptKey(c, -1))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// bm25 is an inverted file with Okapi weights. Articles are short and alike in
// length, so that length is left out.
type bm25 struct {
	n     int
	lists map[uint32][]posting
}

type posting struct {
	doc    int32
	weight float32
}

func newBM25(docs []map[uint32]float32) bm25 {
	x := bm25{n: len(docs), lists: map[uint32][]posting{}}
	for i, d := range docs {
		for key, w := range d {
			x.lists[key] = append(x.lists[key], posting{int32(i), w})
		}
	}
	return x
}

func (x bm25) rare(key uint32) float32 {
	n := len(x.lists[key])
	return float32(math.Log(1 + (float64(x.n-n)+0.5)/(float64(n)+0.5)))
}

// scores gives for each article which share of the question's weight it holds, 0 to 1.
func (x bm25) scores(terms []uint32) []float32 {
	out := make([]float32, x.n)
	var all float32
	for _, t := range terms {
		w := x.rare(t)
		all += w
		for _, p := range x.lists[t] {
			out[p.doc] += float32(w * p.weight)
		}
	}
	if all == 0 {
		return out
	}
	for i := range out {
		out[i] /= all
	}
	return out
}
