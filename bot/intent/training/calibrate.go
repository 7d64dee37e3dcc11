package training

import (
	"hash/fnv"
	"math"

	"guanjia/bot/intent"
)

// calibrate finds for each head the temperature at which its probabilities fit
// messages that were held back: one family in five, which are then trained on all
// the same. The file never depends on more than four digits of it.
func (s *set) calibrate(heads []intent.HeadWeights) {
	var rest, held []int
	for i, e := range s.examples {
		h := fnv.New32a()
		_, _ = h.Write([]byte(e.Author + " " + e.Family))
		if h.Sum32()%5 == 0 {
			held = append(held, i)
		} else {
			rest = append(rest, i)
		}
	}
	if len(held) < 50 {
		return
	}
	for k, h := range specs() {
		w, b := fit(s.rows(h, rest), len(s.keys), len(h.classes), h.recipe)
		heads[k].Temperature = temperature(s.rows(h, held), w, b, len(h.classes))
	}
}

func temperature(rows []row, w, bias []float64, classes int) float64 {
	best, least := 1.0, math.Inf(1)
	scores := make([][]float64, len(rows))
	for i, r := range rows {
		scores[i] = append([]float64(nil), bias...)
		for k, f := range r.features {
			for c, weight := range w[int(f)*classes : (int(f)+1)*classes] {
				scores[i][c] += float64(r.values[k] * weight)
			}
		}
	}
	p := make([]float64, classes)
	for t := 0.4; t < 3.01; t += 0.05 {
		loss := 0.0
		for i, r := range rows {
			for c, v := range scores[i] {
				p[c] = v / t
			}
			softmax(p)
			for _, target := range r.target {
				loss -= float64(target.part * math.Log(math.Max(p[target.class], 1e-9)))
			}
		}
		if loss < least {
			best, least = t, loss
		}
	}
	return math.Round(best*100) / 100
}
