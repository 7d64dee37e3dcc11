package wording

import (
	"regexp"
	"strings"
	"unicode"
)

// guardFile is lexicon/guard.yaml.
type guardFile struct {
	// Phrases dismiss a resident.
	Phrases []struct {
		Say string `yaml:"say"`
		// Unless are regular expressions over the clause from the phrase on: a
		// question to the resident dismisses nobody.
		Unless []string `yaml:"unless"`
		// After are regular expressions that must not match just before it.
		After []string `yaml:"after"`
	} `yaml:"phrases"`
	// ReadBack are words that introduce the resident's own words in quotes.
	ReadBack []string `yaml:"read_back"`
}

// guard finds dismissive answers.
type guard struct {
	rules    []guardRule
	readBack *regexp.Regexp
}

type guardRule struct {
	phrase string
	say    *regexp.Regexp
	unless []*regexp.Regexp
	after  []*regexp.Regexp
}

func newGuard(f guardFile) (*guard, error) {
	g := &guard{}
	for _, p := range f.Phrases {
		r := guardRule{phrase: p.Say}
		var err error
		// Letters may be set apart by blanks or dots to get past: 不 知 道.
		if r.say, err = regexp.Compile(spread(p.Say)); err != nil {
			return nil, err
		}
		for _, u := range p.Unless {
			re, err := regexp.Compile(`^(?:` + u + `)`)
			if err != nil {
				return nil, err
			}
			r.unless = append(r.unless, re)
		}
		for _, a := range p.After {
			re, err := regexp.Compile(`(?:` + a + `)$`)
			if err != nil {
				return nil, err
			}
			r.after = append(r.after, re)
		}
		g.rules = append(g.rules, r)
	}
	words := make([]string, 0, len(f.ReadBack))
	for _, w := range f.ReadBack {
		words = append(words, regexp.QuoteMeta(w))
	}
	if len(words) > 0 {
		re, err := regexp.Compile(`(?:` + strings.Join(words, "|") + `)[^。！？\n]{0,12}?[“"「『‘'][^”"」』’']*[”"」』’']`)
		if err != nil {
			return nil, err
		}
		g.readBack = re
	}
	return g, nil
}

// spread lets fillers stand between the letters of a phrase. A phrase may hold
// alternatives in parentheses; those stay as they are.
func spread(say string) string {
	const filler = `[\s.·,，、*_\-~]{0,2}`
	var b strings.Builder
	last := false
	for _, r := range say {
		han := unicode.Is(unicode.Han, r)
		if han && last {
			b.WriteString(filler)
		}
		b.WriteRune(r)
		last = han
	}
	return b.String()
}

// check returns ErrHeld for the first dismissive phrase.
func (g *guard) check(s string) error {
	s = clean(s)
	if g.readBack != nil {
		s = g.readBack.ReplaceAllString(s, "")
	}
	for _, r := range g.rules {
		for _, m := range r.say.FindAllStringIndex(s, -1) {
			if !r.excused(s, m) {
				return ErrHeld{Phrase: r.phrase, Found: s[m[0]:m[1]]}
			}
		}
	}
	return nil
}

func (r guardRule) excused(s string, m []int) bool {
	rest := s[m[1]:]
	for _, u := range r.unless {
		if u.MatchString(rest) {
			return true
		}
	}
	before := s[:m[0]]
	for _, a := range r.after {
		if a.MatchString(before) {
			return true
		}
	}
	return false
}
