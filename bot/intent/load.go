package intent

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

//go:embed data/*.yaml
var data embed.FS

// Classifier holds the compiled patterns. It is immutable and safe for
// concurrent use; build one and share it.
type Classifier struct {
	simple   map[rune]rune
	typos    map[rune][]typo
	whole    map[string]string // bare message -> intent
	strip    *matcher
	local    *matcher // dialect words
	standard [][]rune // by the number of the dialect word
	match    *matcher

	kinds   []dangerKind
	speaks  map[string][]int // suppressing and supporting cues by name
	intents []intentRules
	topics  []topicRule
	groups  []groupRule
	slots   *slotReader

	pinyin        map[string][]rune
	longestPinyin int

	cueKeys [][]uint32 // pattern id -> features
	digest  string
	model   *model // nil while training
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

// embeddedWeights are made by `guanjia train`.
//
//go:embed weights.bin
var embeddedWeights []byte

// New compiles the patterns and unpacks the weights. It fails when one of them
// is broken, naming file, line and reason.
func New(opts ...Option) (*Classifier, error) {
	o := options{weights: embeddedWeights}
	for _, opt := range opts {
		opt(&o)
	}
	sub, err := fs.Sub(data, "data")
	if err != nil {
		return nil, fmt.Errorf("open the patterns: %w", err)
	}
	c, err := load(sub, o.lexicon)
	if err != nil || o.bare {
		return c, err
	}
	if c.model, err = readModel(o.weights); err != nil {
		return nil, fmt.Errorf("read the weights: %w", err)
	}
	return c, nil
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
	c     *Classifier
	fsys  fs.FS
	extra fs.FS // of a company; nil for none
	err   error
}

func load(fsys, extra fs.FS) (*Classifier, error) {
	b := &builder{fsys: fsys, extra: extra, c: &Classifier{
		simple: map[rune]rune{}, typos: map[rune][]typo{}, whole: map[string]string{}, speaks: map[string][]int{},
	}}
	b.characters()
	vocab, words, intents, em := wordLists{}, wordLists{}, yaml.Node{}, emergencyFile{}
	topics := topicsFile{}
	b.read("vocab.yaml", &vocab)
	b.read("words.yaml", &words)
	b.read("emergency.yaml", &em)
	b.read("intents.yaml", &intents)
	b.read("topics.yaml", &topics)
	b.wholes()
	rules := b.ruleLists(&intents, words)
	maps.Copy(words, em.Extra)
	maps.Copy(words, vocab)
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
	b.dialects()
	b.letters()
	b.slotWords()
	if b.err != nil {
		return nil, b.err
	}
	b.c.match.build()
	if b.c.digest, err = digestOf(fsys, extra); err != nil {
		return nil, err
	}
	return b.c, nil
}

// read decodes a file strictly and lays the company's file of the same name over
// it: mappings are joined, lists made longer.
func (b *builder) read(file string, into any) {
	if b.err != nil {
		return
	}
	raw, err := fs.ReadFile(b.fsys, file)
	if err != nil {
		b.err = fmt.Errorf("read the patterns: %w", err)
		return
	}
	if err := strict(raw, into); err != nil {
		b.err = fmt.Errorf("read the patterns of %s: %w", file, err)
		return
	}
	if b.extra == nil {
		return
	}
	b.lay(file, raw, into)
}

// lay joins the company's file of the same name.
func (b *builder) lay(file string, raw []byte, into any) {
	more, err := fs.ReadFile(b.extra, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		b.err = fmt.Errorf("read the company's patterns: %w", err)
		return
	}
	alone := reflect.New(reflect.TypeOf(into).Elem())
	if err := strict(more, alone.Interface()); err != nil {
		b.err = fmt.Errorf("read the company's patterns of %s: %w", file, err)
		return
	}
	var base, added yaml.Node
	if err := errors.Join(yaml.Unmarshal(raw, &base), yaml.Unmarshal(more, &added)); err != nil {
		b.err = fmt.Errorf("read the company's patterns of %s: %w", file, err)
		return
	}
	if err := overlay(&base, &added); err != nil {
		b.err = fmt.Errorf("read the company's patterns of %s: %w", file, err)
		return
	}
	fresh := reflect.New(reflect.TypeOf(into).Elem())
	if err := base.Decode(fresh.Interface()); err != nil {
		b.err = fmt.Errorf("join the company's patterns of %s: %w", file, err)
		return
	}
	reflect.ValueOf(into).Elem().Set(fresh.Elem())
}

// strict decodes a file and refuses keys that nobody knows.
func strict(raw []byte, into any) error {
	if !utf8.Valid(raw) {
		return errors.New("line 1: the file is not UTF-8")
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	return dec.Decode(into)
}

// overlay joins added into base.
func overlay(base, added *yaml.Node) error {
	switch {
	case base.Kind != added.Kind:
		return fmt.Errorf("line %d: this is not of the kind of our own entry", added.Line)
	case base.Kind == yaml.DocumentNode:
		return overlay(base.Content[0], added.Content[0])
	case base.Kind == yaml.SequenceNode:
		base.Content = append(base.Content, added.Content...)
	case base.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(added.Content); i += 2 {
			at := 0
			for at < len(base.Content) && base.Content[at].Value != added.Content[i].Value {
				at += 2
			}
			if at >= len(base.Content) {
				base.Content = append(base.Content, added.Content[i], added.Content[i+1])
				continue
			}
			if err := overlay(base.Content[at+1], added.Content[i+1]); err != nil {
				return err
			}
		}
	default:
		base.Value = added.Value
	}
	return nil
}

func (b *builder) characters() {
	b.pairs("t2s-more.yaml")
	b.pairs("t2s.yaml")
	for from, to := range map[rune]rune{'，': ',', '。': '。', '！': '!', '？': '?', '；': ';', '：': ':', '、': ',', '－': '-', '–': '-', '—': '-', '‐': '-', '‑': '-', '−': '-', '﹣': '-', '○': '〇', '·': '.', '•': '.', '～': '~', '“': '"', '”': '"', '\u2018': '\'', '\u2019': '\''} {
		b.c.simple[from] = to
	}
	typos := b.misspellings()
	for _, wrong := range slices.SortedFunc(maps.Keys(typos), func(x, y string) int { return cmp.Or(len(y)-len(x), cmp.Compare(x, y)) }) {
		w, r := []rune(wrong), []rune(typos[wrong])
		if len(w) != len(r) {
			b.err = fmt.Errorf("typos.yaml: %s and its correction differ in length", wrong)
			return
		}
		b.c.typos[w[0]] = append(b.c.typos[w[0]], typo{w, r})
	}
}

// pairs reads aligned lines of characters.
func (b *builder) pairs(file string) {
	var pairs [][]string
	b.read(file, &pairs)
	for i, p := range pairs {
		if len(p) != 2 {
			b.err = fmt.Errorf("%s: group %d must have two lines", file, i+1)
			return
		}
		from, to := []rune(p[0]), []rune(p[1])
		if len(from) != len(to) {
			b.err = fmt.Errorf("%s: group %d (%s...) has lines of %d and %d characters", file, i+1, string(from[:min(3, len(from))]), len(from), len(to))
			return
		}
		for k := range from {
			if from[k] != to[k] {
				b.c.simple[from[k]] = to[k]
			}
		}
	}
}

// misspellings joins those that sound alike and the reviewed ones, which win.
func (b *builder) misspellings() map[string]string {
	var sound map[string][]string
	var typos map[string]string
	b.read("homophones.yaml", &sound)
	b.read("typos.yaml", &typos)
	all := map[string]string{}
	for right, list := range sound {
		for _, wrong := range list {
			if other, ok := all[wrong]; ok && other != right {
				b.err = fmt.Errorf("%s: %s stands for %s and %s", b.line("homophones.yaml", wrong), wrong, right, other)
				return nil
			}
			all[wrong] = right
		}
	}
	maps.Copy(all, typos)
	return all
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

// patterns compiles a list; keys are the features that its patterns stand for.
func (b *builder) patterns(file, where string, list []string, keys ...uint32) []int {
	ids := make([]int, 0, len(list))
	for _, src := range list {
		if b.err != nil {
			return nil
		}
		id, err := b.c.match.pattern(src)
		if err != nil {
			b.err = fmt.Errorf("%s: %s: %w", b.line(file, src), where, err)
			return nil
		}
		ids = append(ids, id)
		b.c.cueKeys = append(b.c.cueKeys, keys)
	}
	return ids
}

// line finds where a pattern stands, in the company's file or in ours.
func (b *builder) line(file, src string) string {
	for _, from := range []fs.FS{b.extra, b.fsys} {
		if from == nil {
			continue
		}
		raw, err := fs.ReadFile(from, file)
		if err != nil {
			continue
		}
		for i, l := range strings.Split(string(raw), "\n") {
			if strings.Contains(l, src) {
				return fmt.Sprintf("%s line %d", file, i+1)
			}
		}
	}
	return file
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
			d.patterns = append(d.patterns, b.patterns("emergency.yaml", name, list, keyOf('d', name))...)
		}
		b.c.kinds = append(b.c.kinds, d)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Suppress)) {
		list := f.Suppress[name]
		b.c.speaks[name] = b.patterns("emergency.yaml", name, list, keyOf('x', name))
	}
}

func (b *builder) rules(list []namedRules) {
	for _, n := range list {
		r := intentRules{intent: n.intent}
		for i, f := range n.rules {
			keys := []uint32{keyOf('r', n.intent, strconv.Itoa(i))}
			if f.W > 0 {
				keys = append(keys, keyOf('r', n.intent))
			}
			r.rules = append(r.rules, weighted{f.W, b.patterns("intents.yaml", n.intent, f.Any, keys...)})
		}
		b.c.intents = append(b.c.intents, r)
	}
}

func (b *builder) topics(f topicsFile) {
	for _, name := range slices.Sorted(maps.Keys(f.Topics)) {
		t := f.Topics[name]
		b.c.topics = append(b.c.topics, topicRule{name, t.Category, t.W, b.patterns("topics.yaml", name, t.Any, keyOf('t', name), keyOf('t', "category", t.Category))})
	}
	for _, g := range f.Groups {
		b.c.groups = append(b.c.groups, groupRule{g.Category, b.patterns("topics.yaml", "groups", g.Any, keyOf('g', g.Category))})
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

// dialects reads the words of dialect.yaml; the order of the file doesn't matter.
func (b *builder) dialects() {
	var words map[string]string
	b.read("dialect.yaml", &words)
	m, err := newMatcher(nil)
	if err != nil {
		b.err = err
		return
	}
	for _, w := range slices.Sorted(maps.Keys(words)) {
		m.word(w)
		b.c.standard = append(b.c.standard, []rune(words[w]))
	}
	m.build()
	b.c.local = m
}

// letters reads the pinyin of words.
func (b *builder) letters() {
	b.c.pinyin = map[string][]rune{}
	var words map[string]string
	b.read("pinyin.yaml", &words)
	for letters, w := range words {
		b.c.pinyin[letters] = []rune(w)
		b.c.longestPinyin = max(b.c.longestPinyin, len(letters))
	}
}
