package training

import (
	"math"
	"math/rand/v2"
)

// row is one message for one head: its features by number and how much of each
// class it is.
type row struct {
	features []int32
	values   []float64
	target   []share
	weight   float64
}

type share struct {
	class int
	part  float64
}

// recipe is how a head is fitted.
type recipe struct {
	epochs int
	rate   float64 // of the first step; falls to 0 in a straight line
	decay  float64 // L2
	drop   float64 // share of the features that a step leaves out
	seed   uint64
}

// fit finds weights of a multinomial logistic regression by stochastic gradient
// descent. Products are rounded before they are added, so that every processor
// gets the same sums.
func fit(rows []row, features, classes int, r recipe) (w, bias []float64) {
	w, bias = make([]float64, features*classes), make([]float64, classes)
	if len(rows) == 0 {
		return w, bias
	}
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	dice := rand.NewPCG(r.seed, 20240601)
	p := make([]float64, classes)
	scale, step, steps := 1.0, 0, r.epochs*len(rows)
	var some row
	for range r.epochs {
		for i := len(order) - 1; i > 0; i-- {
			j := int(dice.Uint64() % uint64(i+1))
			order[i], order[j] = order[j], order[i]
		}
		for _, at := range order {
			x := rows[at]
			if r.drop > 0 {
				some.pick(x, r.drop, dice)
				x = some
			}
			copy(p, bias)
			for k, f := range x.features {
				v := float64(x.values[k] * scale)
				for c, weight := range w[int(f)*classes : (int(f)+1)*classes] {
					p[c] += float64(v * weight)
				}
			}
			softmax(p)
			for _, t := range x.target {
				p[t.class] -= t.part
			}
			rate := r.rate * float64(steps-step) / float64(steps)
			step++
			scale *= 1 - float64(rate*r.decay)
			gain := float64(rate*x.weight) / scale
			for k, f := range x.features {
				v := float64(x.values[k] * gain)
				own := w[int(f)*classes : (int(f)+1)*classes]
				for c, g := range p {
					own[c] -= float64(v * g)
				}
			}
			for c, g := range p {
				bias[c] -= float64(rate * 0.1 * g * x.weight)
			}
		}
	}
	for i := range w {
		w[i] *= scale
	}
	return w, bias
}

// pick keeps a random part of a row's features and makes up for the rest.
func (r *row) pick(from row, drop float64, dice *rand.PCG) {
	r.features, r.values, r.target, r.weight = r.features[:0], r.values[:0], from.target, from.weight
	limit := uint64(drop * (1 << 32))
	var bits uint64
	for k, f := range from.features {
		if k%2 == 0 {
			bits = dice.Uint64()
		} else {
			bits >>= 32
		}
		if bits&(1<<32-1) < limit {
			continue
		}
		r.features = append(r.features, f)
		r.values = append(r.values, from.values[k]/(1-drop))
	}
}

func softmax(p []float64) {
	top := p[0]
	for _, v := range p[1:] {
		top = max(top, v)
	}
	sum := 0.0
	for i, v := range p {
		p[i] = exp(v - top)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
}

// exp is e to the power of x, for x <= 0, by the same steps on every processor;
// the library's differs between them in the last bit.
func exp(x float64) float64 {
	const ln2 = 0.693147180559945309417232121458
	if x < -700 {
		return 0
	}
	k := math.Floor(x/ln2 + 0.5)
	r := x - float64(k*ln2)
	sum, term := 1.0, 1.0
	for n := 1; n <= 14; n++ {
		term = float64(term*r) / float64(n)
		sum += term
	}
	return math.Ldexp(sum, int(k))
}
