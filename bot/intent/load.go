package intent

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed data/*.yaml
var data embed.FS

// Classifier holds the compiled patterns. It is immutable and safe for
// concurrent use; build one and share it.
type Classifier struct {
	simple map[rune]rune
	typos  map[rune][]typo
	whole  map[string]string // bare message -> intent
	strip  *matcher
	match  *matcher

	kinds   []dangerKind
	speaks  map[string][]int // suppressing and supporting cues by name
	intents []intentRules
	topics  []topicRule
	groups  []groupRule
	slots   *slotReader
}

type dangerKind struct {
	kind, category, topic string
	patterns              []int
}

type intentRules struct {
	intent string
	rules  []weighted
}

type weighted struct {
	weight   int
	patterns []int
}

type topicRule struct {
	topic, category string
	weight          int
	patterns        []int
}

type groupRule struct {
	category string
	patterns []int
}

// New compiles the embedded patterns. It fails only when they are wrong, which
// a test excludes.
func New() (*Classifier, error) {
	sub, err := fs.Sub(data, "data")
	if err != nil {
		return nil, fmt.Errorf("open the patterns: %w", err)
	}
	return load(sub)
}

type (
	emergencyFile struct {
		Strip    [][]string `yaml:"strip"`
		Kinds    yaml.Node  `yaml:"kinds"`
		Extra    wordLists  `yaml:"extra"`
		Suppress wordLists  `yaml:"suppress"`
	}
	kindFile struct {
		Category string     `yaml:"category"`
		Topic    string     `yaml:"topic"`
		Strong   [][]string `yaml:"strong"`
	}
	ruleFile struct {
		W   int      `yaml:"w"`
		Any []string `yaml:"any"`
	}
	topicFile struct {
		Category string   `yaml:"category"`
		W        int      `yaml:"w"`
		Any      []string `yaml:"any"`
	}
	topicsFile struct {
		Topics map[string]topicFile `yaml:"topics"`
		Groups []struct {
			Category string   `yaml:"category"`
			Any      []string `yaml:"any"`
		} `yaml:"groups"`
	}
	wordLists map[string][]string
)

// builder keeps the first error, so that loading reads straight on.
type builder struct {
	c    *Classifier
	fsys fs.FS
	err  error
}

func load(fsys fs.FS) (*Classifier, error) {
	b := &builder{fsys: fsys, c: &Classifier{
		simple: map[rune]rune{}, typos: map[rune][]typo{}, whole: map[string]string{}, speaks: map[string][]int{},
	}}
	b.characters()
	words, intents, em := wordLists{}, yaml.Node{}, emergencyFile{}
	topics := topicsFile{}
	b.read("words.yaml", &words)
	b.read("emergency.yaml", &em)
	b.read("intents.yaml", &intents)
	b.read("topics.yaml", &topics)
	b.wholes()
	rules := b.ruleLists(&intents, words)
	maps.Copy(words, em.Extra)
	if b.err != nil {
		return nil, b.err
	}
	var err error
	if b.c.match, err = newMatcher(words); err != nil {
		return nil, fmt.Errorf("read the patterns: %w", err)
	}
	b.dangers(em)
	b.rules(rules)
	b.topics(topics)
	b.strips(em.Strip)
	b.slotWords()
	if b.err != nil {
		return nil, b.err
	}
	b.c.match.build()
	return b.c, nil
}

func (b *builder) read(file string, into any) {
	if b.err != nil {
		return
	}
	raw, err := fs.ReadFile(b.fsys, file)
	if err != nil {
		b.err = fmt.Errorf("read the patterns: %w", err)
		return
	}
	dec := yaml.NewDecoder(strings.NewReader(string(raw)))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		b.err = fmt.Errorf("read the patterns of %s: %w", file, err)
	}
}

func (b *builder) characters() {
	var pairs [][]string
	b.read("t2s.yaml", &pairs)
	for i, p := range pairs {
		if len(p) != 2 {
			b.err = fmt.Errorf("t2s.yaml: group %d must have two lines", i)
			return
		}
		from, to := []rune(p[0]), []rune(p[1])
		if len(from) != len(to) {
			b.err = fmt.Errorf("t2s.yaml: group %d has lines of %d and %d characters", i, len(from), len(to))
			return
		}
		for k := range from {
			if from[k] != to[k] {
				b.c.simple[from[k]] = to[k]
			}
		}
	}
	for from, to := range map[rune]rune{'，': ',', '。': '。', '！': '!', '？': '?', '；': ';', '：': ':', '、': ',', '－': '-', '–': '-', '—': '-', '‐': '-', '‑': '-', '−': '-', '﹣': '-', '○': '〇', '·': '.', '•': '.', '～': '~', '“': '"', '”': '"', '\u2018': '\'', '\u2019': '\''} {
		b.c.simple[from] = to
	}
	var typos map[string]string
	b.read("typos.yaml", &typos)
	for _, wrong := range slices.SortedFunc(maps.Keys(typos), func(x, y string) int { return len(y) - len(x) }) {
		w, r := []rune(wrong), []rune(typos[wrong])
		if len(w) != len(r) {
			b.err = fmt.Errorf("typos.yaml: %s and its correction differ in length", wrong)
			return
		}
		b.c.typos[w[0]] = append(b.c.typos[w[0]], typo{w, r})
	}
}

func (b *builder) wholes() {
	var whole map[string][]string
	b.read("whole.yaml", &whole)
	for intent, list := range whole {
		for _, w := range list {
			if other, ok := b.c.whole[w]; ok && other != intent {
				b.err = fmt.Errorf("whole.yaml: %s stands under %s and %s", w, other, intent)
				return
			}
			b.c.whole[w] = intent
		}
	}
}

type namedRules struct {
	intent string
	rules  []ruleFile
}

// ruleLists reads intents.yaml in its order; its extra classes join words.
func (b *builder) ruleLists(n *yaml.Node, words wordLists) []namedRules {
	var out []namedRules
	if n.Kind == yaml.DocumentNode {
		n = n.Content[0]
	}
	if b.err != nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		if name == "extra" {
			var extra wordLists
			if err := n.Content[i+1].Decode(&extra); err != nil {
				b.err = fmt.Errorf("intents.yaml: extra: %w", err)
				return nil
			}
			maps.Copy(words, extra)
			continue
		}
		var rules []ruleFile
		if err := n.Content[i+1].Decode(&rules); err != nil {
			b.err = fmt.Errorf("intents.yaml: %s: %w", name, err)
			return nil
		}
		out = append(out, namedRules{name, rules})
	}
	return out
}

func (b *builder) patterns(where string, list []string) []int {
	ids := make([]int, 0, len(list))
	for _, src := range list {
		if b.err != nil {
			return nil
		}
		id, err := b.c.match.pattern(src)
		if err != nil {
			b.err = fmt.Errorf("%s: %w", where, err)
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// dangers keeps the order of the file: of several kinds the first is reported.
func (b *builder) dangers(f emergencyFile) {
	for i := 0; i+1 < len(f.Kinds.Content); i += 2 {
		var k kindFile
		name := f.Kinds.Content[i].Value
		if err := f.Kinds.Content[i+1].Decode(&k); err != nil {
			b.err = fmt.Errorf("emergency.yaml: %s: %w", name, err)
			return
		}
		d := dangerKind{kind: name, category: k.Category, topic: k.Topic}
		for _, list := range k.Strong {
			d.patterns = append(d.patterns, b.patterns("emergency.yaml: "+name, list)...)
		}
		b.c.kinds = append(b.c.kinds, d)
	}
	for name, list := range f.Suppress {
		b.c.speaks[name] = b.patterns("emergency.yaml: "+name, list)
	}
}

func (b *builder) rules(list []namedRules) {
	for _, n := range list {
		r := intentRules{intent: n.intent}
		for _, f := range n.rules {
			r.rules = append(r.rules, weighted{f.W, b.patterns("intents.yaml: "+n.intent, f.Any)})
		}
		b.c.intents = append(b.c.intents, r)
	}
}

func (b *builder) topics(f topicsFile) {
	for _, name := range slices.Sorted(maps.Keys(f.Topics)) {
		t := f.Topics[name]
		b.c.topics = append(b.c.topics, topicRule{name, t.Category, t.W, b.patterns("topics.yaml: "+name, t.Any)})
	}
	for _, g := range f.Groups {
		b.c.groups = append(b.c.groups, groupRule{g.Category, b.patterns("topics.yaml: groups", g.Any)})
	}
}

func (b *builder) strips(lists [][]string) {
	m, err := newMatcher(nil)
	if err != nil {
		b.err = err
		return
	}
	for _, list := range lists {
		for _, w := range list {
			m.word(w)
		}
	}
	m.build()
	b.c.strip = m
}
