package training

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math"
	"slices"

	intenttraining "guanjia/bot/intent/training"
	"guanjia/bot/knowledge"
)

// Train makes a weights file from the questions by kind in corpus, and from the
// articles of the sample company with corpus/answers.map, which say when an
// article was the right one. The same input gives the same bytes.
func Train(corpus fs.FS, articles []knowledge.Article) ([]byte, error) {
	t, err := open(corpus, articles)
	if err != nil {
		return nil, err
	}
	whole, halves, err := t.crossed()
	if err != nil {
		return nil, err
	}
	w, err := t.fitKinds(t.questions)
	if err != nil {
		return nil, err
	}
	w.Rank = fitRank(append(slices.Clone(whole), halves...))
	w.Rank.Threshold = threshold(w.Rank, developing(whole))
	w.Inputs = t.inputs
	return w.Pack()
}

// trainer holds what training reads.
type trainer struct {
	questions []Question
	articles  []knowledge.Article
	answers   map[string][]string // kinds by article
	vectors   *knowledge.Vectors
	inputs    string
}

func open(corpus fs.FS, articles []knowledge.Article) (*trainer, error) {
	t := &trainer{articles: articles}
	var err error
	if t.questions, err = ReadCorpus(corpus); err != nil {
		return nil, err
	}
	if t.answers, err = ReadAnswers(corpus); err != nil {
		return nil, err
	}
	if t.vectors, err = knowledge.NewVectors(); err != nil {
		return nil, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "concepts %s\n", t.vectors.Digest())
	for _, q := range t.questions {
		fmt.Fprintf(h, "%s\t%s\t%s\n", q.Author, q.Kind, q.Text)
	}
	for _, a := range articles {
		fmt.Fprintf(h, "%s %q %q %q %v\n", a.ID, a.Question, a.Phrasings, a.Answer, t.answers[a.ID])
	}
	t.inputs = hex.EncodeToString(h.Sum(nil))
	return t, nil
}

// minQuestions is in how many questions a feature must occur to be learnt.
const minQuestions = 1

// recipe was chosen by reading each author with the weights of the others.
var recipe = intenttraining.Recipe{Rounds: 30, Rate: 2, Decay: 5e-6, Seed: 7}

// smallWeight is below which share of the largest weight of the file a weight is
// left out, which halves the file.
const smallWeight = 1.0 / 127

// fitKinds fits the kind model on questions.
func (t *trainer) fitKinds(questions []Question) (knowledge.Weights, error) {
	kinds, err := knowledge.Kinds()
	if err != nil {
		return knowledge.Weights{}, err
	}
	w := knowledge.Weights{Examples: len(questions), Rank: knowledge.Rank{Weights: make([]float64, knowledge.NumSigns)}}
	column := map[string]int{}
	for i, k := range kinds {
		w.Kinds = append(w.Kinds, k.Code)
		column[k.Code] = i
	}
	vectors := make([][]knowledge.Feature, len(questions))
	counts := map[uint32]int{}
	for i, q := range questions {
		vectors[i] = t.vectors.Of(q.Text)
		for _, f := range vectors[i] {
			counts[f.Key]++
		}
	}
	for key, n := range counts {
		if n >= minQuestions {
			w.Keys = append(w.Keys, key)
		}
	}
	slices.Sort(w.Keys)
	number := make(map[uint32]int32, len(w.Keys))
	for i, k := range w.Keys {
		number[k] = int32(i)
	}
	samples := make([]intenttraining.Sample, len(questions))
	for i, q := range questions {
		s := intenttraining.Sample{Class: column[q.Kind], Weight: 1}
		for _, f := range vectors[i] {
			if n, ok := number[f.Key]; ok {
				s.Features = append(s.Features, n)
				s.Values = append(s.Values, float64(f.Value))
			}
		}
		samples[i] = s
	}
	w.W, w.Bias = intenttraining.Fit(samples, len(w.Keys), len(w.Kinds), recipe)
	largest := 0.0
	for _, v := range w.W {
		largest = math.Max(largest, math.Abs(v))
	}
	for i, v := range w.W {
		if math.Abs(v) < largest*smallWeight {
			w.W[i] = 0
		}
	}
	return w, nil
}
