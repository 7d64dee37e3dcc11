package knowledge

import (
	"fmt"
	"math"
	"slices"
)

// Matcher holds what all indexes share: the reader of texts and the model.
type Matcher struct {
	r *reader
	m *model
}

// New loads the embedded weights.
func New() (*Matcher, error) { return WithWeights(embeddedWeights) }

// WithWeights loads the content of a weights file instead of the embedded one.
func WithWeights(raw []byte) (*Matcher, error) {
	r, err := newReader()
	if err != nil {
		return nil, err
	}
	m, err := readModel(raw)
	if err != nil {
		return nil, fmt.Errorf("knowledge: weights: %w", err)
	}
	return &Matcher{r: r, m: m}, nil
}

// Index answers questions from a set of articles. Safe for concurrent use;
// never changes after Build.
type Index struct {
	*Matcher
	articles []entry
	words    bm25
	topics   []float32 // of each concept: how few articles name it
}

// entry is one article as it is compared.
type entry struct {
	id string
	// kinds says how much the article answers each kind; the largest is 1.
	kinds []float32
	// said and asks are the concepts of question, phrasings and answer.
	said map[int]bool
}

// Build indexes articles.
func (m *Matcher) Build(articles []Article) (*Index, error) {
	x := &Index{Matcher: m}
	seen := map[string]bool{}
	docs := make([]map[uint32]float32, 0, len(articles))
	for i, a := range articles {
		if a.ID == "" || seen[a.ID] {
			return nil, fmt.Errorf("knowledge: article %d has no id, or one used before", i+1)
		}
		seen[a.ID] = true
		if err := a.Check(); err != nil {
			return nil, fmt.Errorf("knowledge: article %s: %w", a.ID, err)
		}
		e, doc := m.entry(a)
		x.articles = append(x.articles, e)
		docs = append(docs, doc)
	}
	x.words = newBM25(docs)
	x.topics = m.rarity(x.articles)
	return x, nil
}

// Parts of an article and how much each counts.
const (
	questionPart = 2.0
	answerPart   = 0.7
	answerWord   = 0.8 // what a word of the answer counts against one of the question
)

// entry reads an article: which kinds it answers, and its words.
func (m *Matcher) entry(a Article) (entry, map[uint32]float32) {
	e := entry{id: a.ID, kinds: make([]float32, len(m.m.Kinds)), said: map[int]bool{}}
	doc := map[uint32]float32{}
	part := func(text string, kindPart, wordPart float32) {
		in := m.r.read(text)
		p, _ := m.m.kinds(m.r.features(in))
		for k, v := range p {
			e.kinds[k] += kindPart * v
		}
		for _, c := range in.concepts {
			e.said[c] = true
		}
		for _, key := range m.r.terms(in) {
			doc[key] = max(doc[key], wordPart)
		}
	}
	part(a.Question, questionPart, 1)
	for _, p := range a.Phrasings {
		part(p, 1, 1)
	}
	part(a.Answer, answerPart, answerWord)
	// An article answers its kind whole, and a second one only when much of it
	// speaks of that.
	for k := range e.kinds {
		if m.m.out[k] {
			e.kinds[k] = 0
		}
	}
	top := slices.Max(e.kinds)
	for k, v := range e.kinds {
		share := v / top
		if share < minShare {
			share = 0
		}
		e.kinds[k] = share
	}
	return e, doc
}

const minShare = 0.3

// rarity weighs each concept by how few articles name it.
func (m *Matcher) rarity(articles []entry) []float32 {
	out := make([]float32, len(m.r.concepts))
	for c := range out {
		n := 0
		for _, a := range articles {
			if a.said[c] {
				n++
			}
		}
		out[c] = float32(math.Log(1 + float64(len(articles)+1)/float64(n+1)))
	}
	return out
}

// Hit is what an index found for a question.
type Hit struct {
	// ArticleID is the best article; empty when there is none at all.
	ArticleID string
	// Score is how sure the article is right, 0 to 1.
	Score float64
	// OK says that the score passes the threshold: answer. Otherwise ask a person.
	OK bool
	// Kind is the kind of question that was read.
	Kind string
}

// Answer finds the article that answers a question.
func (x *Index) Answer(question string) Hit {
	c := x.Choose(question)
	h := Hit{Kind: c.Kind}
	if c.Best < 0 {
		return h
	}
	h.ArticleID = x.articles[c.Best].id
	h.Score = logistic(x.m.Rank.Bias, x.m.Rank.Weights, c.Signs[:])
	h.OK = h.Score >= x.m.Rank.Threshold
	return h
}

// Signs of the chosen article, for the logistic model that decides whether it
// is answered.
const (
	signKind    = iota // log of the probability that the question's kind is the article's
	signMargin         // by how much it beats the next article in that
	signWords          // BM25 against the best possible
	signAhead          // by how much it beats the next article in that
	signAsk            // share of what is asked (when, how much ...) that the article speaks of
	signTopic          // share of what the question is about that the article speaks of
	signOutside        // probability that no article answers
	signKnown          // share of the question that the model ever saw
	signLength         // characters, logarithm
	signAgree          // both ways give the same article
	NumSigns
)

// Choice is the best article with its signs, before the threshold.
type Choice struct {
	Best  int // number of the article, -1 for none
	Kind  string
	Signs [NumSigns]float64
}

// wordsPart is what the words weigh against the kind when articles are compared.
const wordsPart = 0.35

// Choose compares all articles with a question.
func (x *Index) Choose(question string) Choice {
	in := x.r.read(question)
	c := Choice{Best: -1}
	if len(in.text) == 0 || len(x.articles) == 0 {
		return c
	}
	p, known := x.m.kinds(x.r.features(in))
	top := 0
	var outsideP float32
	for k, v := range p {
		if v > p[top] {
			top = k
		}
		if x.m.out[k] {
			outsideP += v
		}
	}
	c.Kind = x.m.Kinds[top]
	words := x.words.scores(x.r.terms(in))
	byKind := make([]float32, len(x.articles))
	total := make([]float64, len(x.articles))
	for i, a := range x.articles {
		for k, v := range p {
			byKind[i] += float32(v * a.kinds[k])
		}
		total[i] = math.Log(float64(byKind[i])+smallest) + wordsPart*10*float64(words[i])
	}
	c.Best = best(total)
	b := c.Best
	c.Signs = [NumSigns]float64{
		signKind:    math.Log(float64(byKind[b]) + smallest),
		signMargin:  float64(byKind[b] - nextBest(byKind, b)),
		signWords:   float64(words[b]),
		signAhead:   float64(words[b] - nextBest(words, b)),
		signOutside: float64(outsideP),
		signKnown:   known,
		signLength:  math.Log(float64(len(in.text))),
	}
	c.Signs[signAsk], c.Signs[signTopic] = x.agreement(in, b)
	if best(byKind) == best(words) {
		c.Signs[signAgree] = 1
	}
	return c
}

const smallest = 1e-4

func best[T float32 | float64](list []T) int {
	at := 0
	for i, v := range list {
		if v > list[at] {
			at = i
		}
	}
	return at
}

func nextBest(list []float32, but int) float32 {
	var next float32
	for i, v := range list {
		if i != but && v > next {
			next = v
		}
	}
	return next
}

// agreement is which share of the question's concepts the article speaks of:
// what is asked for, and what it is about. One half where the question has none.
func (x *Index) agreement(in read, article int) (ask, topic float64) {
	var hit, all [2]float64
	for _, c := range in.concepts {
		i := 1
		if x.r.concepts[c].Ask {
			i = 0
		}
		w := float64(x.topics[c])
		all[i] += w
		if x.articles[article].said[c] {
			hit[i] += w
		}
	}
	share := func(i int) float64 {
		if all[i] == 0 {
			return 0.5
		}
		return hit[i] / all[i]
	}
	return share(0), share(1)
}

func logistic(bias float64, weights []float64, signs []float64) float64 {
	sum := bias
	for i, s := range signs {
		sum += float64(weights[i] * s)
	}
	return Logistic(sum)
}

// Logistic turns a sum into a probability.
func Logistic(sum float64) float64 { return 1 / (1 + math.Exp(-sum)) }

// Article gives the id of an article by its number in Choice.
func (x *Index) Article(i int) string { return x.articles[i].id }

// Len is the number of articles.
func (x *Index) Len() int { return len(x.articles) }

// Threshold is the score below which nothing is answered.
func (m *Matcher) Threshold() float64 { return m.m.Rank.Threshold }

// Inputs is the digest of what the weights were made from.
func (m *Matcher) Inputs() string { return m.m.Inputs }
