package training

// Sample is a row for Fit: its features by number with their values, its class,
// and how much it counts.
type Sample struct {
	Features []int32
	Values   []float64
	Class    int
	Weight   float64
}

// Recipe is how Fit goes about it: rounds over all samples, the rate of the
// first step, L2 decay, and the seed of the order.
type Recipe struct {
	Rounds int
	Rate   float64
	Decay  float64
	Seed   uint64
}

// Fit finds the weights (one row a feature, one column a class) of a multinomial
// logistic regression as the heads of the intent model are fitted, for
// bot/knowledge/training. The same samples give the same weights on every processor.
func Fit(samples []Sample, features, classes int, r Recipe) (w, bias []float64) {
	rows := make([]row, len(samples))
	for i, s := range samples {
		rows[i] = row{features: s.Features, values: s.Values, target: []share{{class: s.Class, part: 1}}, weight: s.Weight}
	}
	return fit(rows, features, classes, recipe{epochs: r.Rounds, rate: r.Rate, decay: r.Decay, seed: r.Seed})
}
