package intent

import (
	"math"
	"slices"
	"strings"
	"unicode"
)

// featureVersion changes whenever a message gets other features than before; it
// is part of what weights are trained on.
const featureVersion = 1

// Feature is one property of a message. Key is a hash of its name.
type Feature struct {
	Key   uint32
	Value float32
}

// Longest sequence of characters that is a feature, and how much the lexicon
// counts against the characters.
const (
	maxGram       = 4
	gramWeight    = 2
	lexiconWeight = 2
)

// keyOf hashes the name of a feature (FNV-1a); it is never 0.
func keyOf(kind byte, parts ...string) uint32 {
	h := addKey(2166136261, rune(kind))
	for _, p := range parts {
		for _, r := range p {
			h = addKey(h, r)
		}
		h = addKey(h, '|')
	}
	return nonZero(h)
}

func addKey(h uint32, r rune) uint32 {
	for range 3 {
		h = (h ^ uint32(r&0xff)) * 16777619
		r >>= 8
	}
	return h
}

func nonZero(h uint32) uint32 {
	// FNV mixes the last bytes little.
	h ^= h >> 15
	h *= 2246822519
	h ^= h >> 13
	if h == 0 {
		return 1
	}
	return h
}

// IntentFeature is what the category head sees of the intent: the labelled one in
// training, the recognised one afterwards.
func IntentFeature(intent string) Feature { return Feature{keyOf('I', intent), 1} }

// keySet collects the features of one message.
type keySet struct{ grams, lexicon []uint32 }

func (k *keySet) add(kind byte, parts ...string) {
	k.lexicon = append(k.lexicon, keyOf(kind, parts...))
}

// features joins both groups, each scaled to a length of its own, so that a long
// message has no more say than a short one.
func (k *keySet) features() []Feature {
	out := make([]Feature, 0, len(k.grams)+len(k.lexicon))
	for _, g := range []struct {
		keys   []uint32
		weight float64
	}{{k.grams, gramWeight}, {k.lexicon, lexiconWeight}} {
		slices.Sort(g.keys)
		keys := slices.Compact(g.keys)
		if len(keys) == 0 {
			continue
		}
		v := float32(g.weight / math.Sqrt(float64(len(keys))))
		for _, key := range keys {
			out = append(out, Feature{key, v})
		}
	}
	return out
}

// vector turns a message that was read into features.
func (c *Classifier) vector(r *reading) []Feature {
	k := &keySet{grams: make([]uint32, 0, 4*len(r.text)+8), lexicon: make([]uint32, 0, 96)}
	shape := shapeOf(r)
	k.gramsOf(shape)
	k.form(shape, r)
	c.cues(k, r)
	c.classes(k, r)
	return k.features()
}

// Signs that stand for values in a message, so that no home, telephone or price
// is learnt by heart.
const (
	signHome  = 'H'
	signPhone = 'P'
	signCase  = 'N'
)

// shapeOf is the text as the character features see it: values as signs, numbers
// by their length, all pauses alike.
func shapeOf(r *reading) []rune {
	out := make([]rune, 0, len(r.text)+2)
	out = append(out, '^')
	put := func(x rune) {
		if x == ' ' && (out[len(out)-1] == ' ' || out[len(out)-1] == '^') {
			return
		}
		out = append(out, x)
	}
	for i := 0; i < len(r.text); i++ {
		if at := slices.IndexFunc(r.said, func(s saidValue) bool { return s.start == i && s.end > i }); at >= 0 {
			put(r.said[at].sign)
			i = r.said[at].end - 1
			continue
		}
		x := r.text[i]
		switch {
		case isDigit(x):
			n := 1
			for i+1 < len(r.text) && isDigit(r.text[i+1]) {
				i++
				n++
			}
			put(rune("0003366666666"[min(n, 12)]))
		case x == '!' || x == '?':
			put(x)
		case unicode.IsLetter(x):
			put(x)
		default:
			put(' ')
		}
	}
	if out[len(out)-1] == ' ' {
		out = out[:len(out)-1]
	}
	return append(withoutManners(out), '$')
}

// signManners stands for a thank-you behind a request, which is only manners.
const signManners = 'Z'

// mannersAfter is how many characters must stand before it.
const mannersAfter = 5

func withoutManners(shape []rune) []rune {
	for _, tail := range []string{"谢谢你们了", "谢谢你们", "谢谢您了", "谢谢您", "谢谢你", "谢谢了", "谢谢啦", "谢谢啊", "谢谢哦", "谢谢哈", "谢谢", "多谢了", "多谢", "感谢", "辛苦了", "麻烦了", "拜托了", "拜托"} {
		w := []rune(tail)
		at := len(shape) - len(w)
		for at > 0 && (shape[len(shape)-1] == '!' || shape[len(shape)-1] == '?') {
			shape, at = shape[:len(shape)-1], at-1
		}
		if at > mannersAfter && hasAt(shape, at, w) {
			return append(shape[:at], signManners)
		}
	}
	return shape
}

func (k *keySet) gramsOf(shape []rune) {
	for i := range shape {
		h := addKey(2166136261, 'c')
		for n := 0; n < maxGram && i+n < len(shape); n++ {
			h = addKey(h, shape[i+n])
			k.grams = append(k.grams, nonZero(h))
		}
		// One character left open: 灯_亮 is 灯不亮 and 灯没亮.
		if i+2 < len(shape) {
			k.grams = append(k.grams, nonZero(addKey(addKey(addKey(2166136261, 's'), shape[i]), shape[i+2])))
		}
	}
}

// form describes length, signs and the last word.
func (k *keySet) form(shape []rune, r *reading) {
	n := len(shape) - 2
	size := "0"
	for _, step := range []struct {
		to   int
		name string
	}{{2, "1"}, {4, "2"}, {7, "3"}, {11, "4"}, {16, "5"}, {24, "6"}, {40, "7"}, {80, "8"}} {
		if n <= step.to {
			size = step.name
			break
		}
	}
	k.add('L', size)
	s := string(shape)
	for _, sign := range []string{"?", "!", "H", "P", "N", "0", "3", "6", " "} {
		if strings.Contains(s, sign) {
			k.add('F', sign)
		}
	}
	if r.slots.Rating > 0 {
		k.add('F', "rating")
	}
	if strings.Count(s, " ") > 2 {
		k.add('F', "clauses")
	}
	latin := 0
	for _, x := range shape {
		if isLetter(x) {
			latin++
		}
	}
	if latin*2 > n && n > 0 {
		k.add('F', "latin")
	}
	// What stands at the end of a clause asks or tells.
	for i, x := range shape {
		if i > 0 && (x == ' ' || x == '$' || x == '?' || x == '!') {
			k.add('E', string(shape[max(0, i-1):i]))
			if i > 1 {
				k.add('E', string(shape[i-2:i]))
			}
		}
	}
}

// cues are the patterns that match, by the rule they stand for.
func (c *Classifier) cues(k *keySet, r *reading) {
	for id, keys := range c.cueKeys {
		if r.got.has(id) {
			k.lexicon = append(k.lexicon, keys...)
		}
	}
	if r.danger.kind != nil {
		k.add('D', r.danger.kind.kind)
		k.add('D', "any")
	}
	if r.danger.settled {
		k.add('D', "settled")
	}
	if r.danger.mentions {
		k.add('D', "mentions")
	}
	if r.ruled.Intent != "" {
		k.add('R', r.ruled.Intent)
		for _, also := range r.ruled.Also {
			k.add('R', "also", also)
		}
		if r.ruled.Confidence > 0.8 {
			k.add('R', "sure", r.ruled.Intent)
		}
	}
	if r.about.topic != "" {
		k.add('T', r.about.topic)
		k.add('T', "category", r.about.category)
	}
}

// classes are the word classes of the message, and which follows which.
func (c *Classifier) classes(k *keySet, r *reading) {
	hits := longest(r.hits, c.match)
	last := []int(nil)
	for i, h := range hits {
		for _, n := range c.match.memberOf[h.word] {
			name := c.match.names[n]
			k.add('C', name)
			if i == 0 {
				k.add('C', "first", name)
			}
			for _, before := range last {
				k.add('B', c.match.names[before], name)
			}
			if i > 1 {
				for _, before := range c.match.memberOf[hits[i-2].word] {
					k.add('G', c.match.names[before], name)
				}
			}
		}
		last = c.match.memberOf[h.word]
	}
}

// longest keeps the words of a class that no longer one covers, from left to right.
func longest(hits []hit, m *matcher) []hit {
	var out []hit
	for _, h := range hits {
		if len(m.memberOf[h.word]) == 0 {
			continue
		}
		for len(out) > 0 && out[len(out)-1].start >= h.start {
			out = out[:len(out)-1]
		}
		if len(out) > 0 && out[len(out)-1].end >= h.end {
			continue
		}
		if len(out) > 0 && h.start < out[len(out)-1].end {
			continue
		}
		out = append(out, h)
	}
	return out
}
