package training

import (
	"cmp"
	"fmt"
	"slices"

	intenttraining "guanjia/bot/intent/training"
	"guanjia/bot/knowledge"
)

// judged is what an index chose for a question of an author whom its weights
// never saw, and whether that is right.
type judged struct {
	question Question
	signs    [knowledge.NumSigns]float64
	right    bool // the chosen article answers the question
	some     bool // some article of the index answers it
	chosen   string
}

// crossed reads the questions of each author by weights made from all others.
// Each is asked of the whole set of articles, and of two halves, so that many
// questions have no article although the words are near.
func (t *trainer) crossed() (whole, halves []judged, err error) {
	for _, author := range authors(t.questions) {
		var train, test []Question
		for _, q := range t.questions {
			if q.Author == author {
				test = append(test, q)
			} else {
				train = append(train, q)
			}
		}
		if len(train) == 0 {
			return nil, nil, fmt.Errorf("there must be questions of two authors at least, so that nobody is measured by his own")
		}
		w, err := t.fitKinds(train)
		if err != nil {
			return nil, nil, err
		}
		file, err := w.Pack()
		if err != nil {
			return nil, nil, err
		}
		m, err := knowledge.WithWeights(file)
		if err != nil {
			return nil, nil, err
		}
		sets := [][]knowledge.Article{t.articles, nil, nil}
		for i, a := range t.articles {
			sets[1+i%2] = append(sets[1+i%2], a)
		}
		for n, set := range sets {
			x, err := m.Build(set)
			if err != nil {
				return nil, nil, err
			}
			got := judge(x, test, set, t.answers)
			if n == 0 {
				whole = append(whole, got...)
			} else {
				halves = append(halves, got...)
			}
		}
	}
	return whole, halves, nil
}

func authors(questions []Question) []string {
	var out []string
	for _, q := range questions {
		if !slices.Contains(out, q.Author) {
			out = append(out, q.Author)
		}
	}
	return out
}

func judge(x *knowledge.Index, questions []Question, set []knowledge.Article, answers map[string][]string) []judged {
	answered := map[string]bool{}
	for _, a := range set {
		for _, k := range answers[a.ID] {
			answered[k] = true
		}
	}
	out := make([]judged, 0, len(questions))
	for _, q := range questions {
		c := x.Choose(q.Text)
		if c.Best < 0 {
			continue
		}
		id := x.Article(c.Best)
		out = append(out, judged{q, c.Signs, slices.Contains(answers[id], q.Kind), answered[q.Kind], id})
	}
	return out
}

// fitRank fits the logistic model over the signs.
func fitRank(rows []judged) knowledge.Rank {
	n := int32(knowledge.NumSigns)
	samples := make([]intenttraining.Sample, len(rows))
	for i, r := range rows {
		s := intenttraining.Sample{Weight: weightOf(r.question.Author)}
		for f := range n {
			s.Features = append(s.Features, f)
			s.Values = append(s.Values, r.signs[f])
		}
		if r.right {
			s.Class = 1
		}
		samples[i] = s
	}
	w, bias := intenttraining.Fit(samples, int(n), 2, intenttraining.Recipe{Rounds: 40, Rate: 0.05, Decay: 1e-5, Seed: 11})
	rank := knowledge.Rank{Bias: bias[1] - bias[0]}
	for f := range int(n) {
		rank.Weights = append(rank.Weights, w[2*f+1]-w[2*f])
	}
	return rank
}

// developmentAuthor wrote questions in the manner of residents who ask for what
// an article says; the threshold is chosen on them. The other authors wrote
// harder ones, to teach words.
const developmentAuthor = "k"

func weightOf(author string) float64 {
	if author == developmentAuthor {
		return 2
	}
	return 0.5
}

func score(r knowledge.Rank, signs []float64) float64 {
	sum := r.Bias
	for i, s := range signs {
		sum += float64(r.Weights[i] * s)
	}
	return knowledge.Logistic(sum)
}

// maxWrong is the share of all questions of the development author that may be
// answered wrongly; the mark is below 1 %.
const maxWrong = 0.02

func developing(rows []judged) []judged {
	var out []judged
	for _, r := range rows {
		if r.question.Author == developmentAuthor {
			out = append(out, r)
		}
	}
	return out
}

// threshold is the lowest score above which no more than maxWrong of the rows
// are answered wrongly.
func threshold(r knowledge.Rank, rows []judged) float64 {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b judged) int { return cmp.Compare(score(r, b.signs[:]), score(r, a.signs[:])) })
	wrong, limit := 0, 1.0
	for _, row := range rows {
		if !row.right {
			wrong++
		}
		if float64(wrong) > maxWrong*float64(len(rows)) {
			break
		}
		limit = score(r, row.signs[:])
	}
	return limit
}
