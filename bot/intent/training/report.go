package training

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"guanjia/bot/intent"
)

// Pair is a labelled message and what was made of it.
type Pair struct {
	Example Example
	Got     intent.Result
}

// IntentRight counts the intents of also as right.
func (p Pair) IntentRight() bool {
	return p.Got.Intent == p.Example.Intent || slices.Contains(p.Example.Also, p.Got.Intent)
}

// Classify reads all examples.
func Classify(c *intent.Classifier, examples []Example) []Pair {
	out := make([]Pair, len(examples))
	for i, e := range examples {
		out[i] = Pair{e, c.Classify(e.Input())}
	}
	return out
}

// Share is a count of hits among n.
type Share struct{ OK, N int }

func (s *Share) add(ok bool) {
	s.N++
	if ok {
		s.OK++
	}
}

// Rate is the share of hits, 0 where there is nothing.
func (s Share) Rate() float64 {
	if s.N == 0 {
		return 0
	}
	return float64(s.OK) / float64(s.N)
}

// Bounds are the limits between which the true rate lies with a confidence of
// 95 % (Wilson).
func (s Share) Bounds() (low, high float64) {
	if s.N == 0 {
		return 0, 1
	}
	const z = 1.96
	n, p := float64(s.N), s.Rate()
	mid := p + z*z/(2*n)
	half := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, (mid-half)/(1+z*z/n)), min(1, (mid+half)/(1+z*z/n))
}

func (s Share) String() string {
	if s.N == 0 {
		return "none"
	}
	low, high := s.Bounds()
	return fmt.Sprintf("%d/%d = %.1f %% (%.1f to %.1f)", s.OK, s.N, 100*s.Rate(), 100*low, 100*high)
}

// Summary holds the marks of a set of messages.
type Summary struct {
	Intent Share
	// Category counts where one is labelled, whether the intent is right or not.
	Category Share
	// Topic counts where one is labelled.
	Topic Share
	// Recall and Precision are those of emergencies.
	Recall, Precision Share
}

// Sum adds up the marks.
func Sum(pairs []Pair) Summary {
	var s Summary
	for _, p := range pairs {
		s.Intent.add(p.IntentRight())
		if p.Example.Category != "" {
			s.Category.add(p.Got.Category == p.Example.Category)
		}
		if p.Example.Topic != "" {
			s.Topic.add(p.Got.Topic == p.Example.Topic)
		}
		if p.Example.Emergency {
			s.Recall.add(p.Got.Emergency)
		}
		if p.Got.Emergency {
			s.Precision.add(p.Example.Emergency)
		}
	}
	return s
}

// Print writes the marks, one a line.
func (s Summary) Print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, l := range []struct {
		name string
		s    Share
	}{{"intent (also counts as right)", s.Intent}, {"category (where labelled)", s.Category}, {"topic (where labelled)", s.Topic}, {"emergencies found", s.Recall}, {"called emergency and is one", s.Precision}} {
		fmt.Fprintf(tw, "%s\t%s\n", l.name, l.s)
	}
	_ = tw.Flush()
}

// Print writes the whole report: marks, per class precision and recall,
// confusions, every missed emergency and false alarm, and calibration.
func Print(w io.Writer, pairs []Pair) {
	fmt.Fprintf(w, "%d messages; in brackets the limits of 95 %% confidence (Wilson)\n\n", len(pairs))
	Sum(pairs).Print(w)
	perClass(w, "intent", pairs, func(p Pair) (string, string) {
		if p.IntentRight() {
			return p.Got.Intent, p.Got.Intent
		}
		return p.Example.Intent, p.Got.Intent
	})
	perClass(w, "category", pairs, func(p Pair) (string, string) { return p.Example.Category, p.Got.Category })
	perClass(w, "topic", pairs, func(p Pair) (string, string) { return p.Example.Topic, p.Got.Topic })
	emergencies(w, pairs)
	calibration(w, pairs)
}

type counts struct{ right, labelled, given int }

func perClass(w io.Writer, name string, pairs []Pair, of func(Pair) (want, got string)) {
	by := map[string]*counts{}
	at := func(k string) *counts {
		if by[k] == nil {
			by[k] = &counts{}
		}
		return by[k]
	}
	wrong := map[[2]string]int{}
	for _, p := range pairs {
		want, got := named(of1(of(p))), named(of2(of(p)))
		at(want).labelled++
		at(got).given++
		if want == got {
			at(want).right++
		} else {
			wrong[[2]string{want, got}]++
		}
	}
	fmt.Fprintf(w, "\n%s\n", strings.ToUpper(name))
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "class\tn\trecall\tgiven\tprecision")
	for _, k := range slices.Sorted(maps.Keys(by)) {
		c := by[k]
		fmt.Fprintf(tw, "%s\t%d\t%s\t%d\t%s\n", k, c.labelled, percent(c.right, c.labelled), c.given, percent(c.right, c.given))
	}
	_ = tw.Flush()
	confusions(w, name, wrong)
}

func of1(a, _ string) string { return a }
func of2(_, b string) string { return b }

func percent(ok, n int) string {
	if n == 0 {
		return "-"
	}
	low, high := Share{ok, n}.Bounds()
	return fmt.Sprintf("%.1f %% (%.0f to %.0f)", 100*float64(ok)/float64(n), 100*low, 100*high)
}

// shownConfusions is how many pairs of classes are listed.
const shownConfusions = 15

func confusions(w io.Writer, name string, wrong map[[2]string]int) {
	if len(wrong) == 0 {
		return
	}
	keys := slices.SortedFunc(maps.Keys(wrong), func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(wrong[b], wrong[a]), cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	})
	fmt.Fprintf(w, "%s taken for another, most frequent first:\n", name)
	for _, k := range keys[:min(len(keys), shownConfusions)] {
		fmt.Fprintf(w, "  %3d  %s -> %s\n", wrong[k], k[0], k[1])
	}
}

func emergencies(w io.Writer, pairs []Pair) {
	var missed, false_ []Pair
	for _, p := range pairs {
		switch {
		case p.Example.Emergency && !p.Got.Emergency:
			missed = append(missed, p)
		case !p.Example.Emergency && p.Got.Emergency:
			false_ = append(false_, p)
		}
	}
	list := func(title string, ps []Pair) {
		fmt.Fprintf(w, "\n%s: %d\n", title, len(ps))
		for _, p := range ps {
			fmt.Fprintf(w, "  %s  %s\n", cmp.Or(p.Example.Family, "-"), line(p.Example))
		}
	}
	list("EMERGENCIES MISSED", missed)
	list("FALSE ALARMS", false_)
}

func line(e Example) string {
	s := strings.ReplaceAll(e.Text, "\n", " ")
	if len(e.History) > 0 {
		s += "  (after: " + strings.Join(e.History, " | ") + ")"
	}
	return s
}

// bins of confidence.
const bins = 10

func calibration(w io.Writer, pairs []Pair) {
	var n, ok [bins]int
	var sum [bins]float64
	for _, p := range pairs {
		b := min(int(p.Got.Confidence*bins), bins-1)
		n[b]++
		sum[b] += p.Got.Confidence
		if p.IntentRight() {
			ok[b]++
		}
	}
	fmt.Fprintf(w, "\nCALIBRATION of the intent\n")
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "confidence\tn\tmean\tright")
	for b := range bins {
		if n[b] > 0 {
			fmt.Fprintf(tw, "%.1f to %.1f\t%d\t%.3f\t%s\n", float64(b)/bins, float64(b+1)/bins, n[b], sum[b]/float64(n[b]), percent(ok[b], n[b]))
		}
	}
	_ = tw.Flush()
	fmt.Fprintf(w, "expected calibration error: %.3f\n", ECE(pairs))
}

// ECE is the expected calibration error of the intent's confidence.
func ECE(pairs []Pair) float64 {
	if len(pairs) == 0 {
		return 0
	}
	var n [bins]int
	var gap [bins]float64
	for _, p := range pairs {
		b := min(int(p.Got.Confidence*bins), bins-1)
		n[b]++
		gap[b] += p.Got.Confidence
		if p.IntentRight() {
			gap[b]--
		}
	}
	total := 0.0
	for b := range bins {
		total += math.Abs(gap[b])
	}
	return total / float64(len(pairs))
}

// ByAuthor trains once for each author on all others and reads his messages: what
// nobody who wrote them was learnt from. Authors are read in the order of names.
func ByAuthor(c *intent.Classifier, examples []Example, only string, weights func(file []byte) (*intent.Classifier, error)) ([]Pair, error) {
	var names []string
	for _, e := range examples {
		if !slices.Contains(names, e.Author) {
			names = append(names, e.Author)
		}
	}
	slices.Sort(names)
	var out []Pair
	for _, name := range names {
		if only != "" && !slices.Contains(strings.Split(only, ","), name) {
			continue
		}
		var rest, own []Example
		for _, e := range examples {
			if e.Author == name {
				own = append(own, e)
			} else {
				rest = append(rest, e)
			}
		}
		file, err := Weights(c, rest, "")
		if err != nil {
			return nil, fmt.Errorf("train without %s: %w", name, err)
		}
		trained, err := weights(file)
		if err != nil {
			return nil, fmt.Errorf("use the weights without %s: %w", name, err)
		}
		out = append(out, Classify(trained, own)...)
	}
	return out, nil
}
