package intent

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"go.yaml.in/yaml/v3"
)

// Scores reads what people answer to a question of the five-point scale, by a
// small reviewed table (data/scores.yaml) and not by the trained model: a wrong
// score is counted, so what is doubtful is no score. Immutable, safe for
// concurrent use.
type Scores struct {
	words         map[string]int
	before, after []string // longest first
	units         []string
}

// Score is what an answer says.
type Score struct {
	Value int    // 1 to 5; 0 when none is said without doubt
	Words string // what was said besides
}

// LoadScores reads the table.
func LoadScores() (*Scores, error) {
	raw, err := data.ReadFile("data/scores.yaml")
	if err != nil {
		return nil, fmt.Errorf("intent: read scores: %w", err)
	}
	var file struct {
		Words  map[int][]string `yaml:"words"`
		Before []string         `yaml:"before"`
		After  []string         `yaml:"after"`
		Units  []string         `yaml:"units"`
	}
	dec := yaml.NewDecoder(strings.NewReader(string(raw)))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("intent: scores.yaml: %w", err)
	}
	s := &Scores{words: map[string]int{}, before: longestFirst(file.Before), after: longestFirst(file.After), units: file.Units}
	for value, list := range file.Words {
		if value < 1 || value > 5 {
			return nil, fmt.Errorf("intent: scores.yaml: %d is no score; write 1 to 5", value)
		}
		for _, w := range list {
			if other, ok := s.words[w]; ok {
				return nil, fmt.Errorf("intent: scores.yaml: %s stands for %d and for %d; keep one", w, other, value)
			}
			s.words[w] = value
		}
	}
	return s, nil
}

func longestFirst(list []string) []string {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}

// numberScore is a number that may be a score, with its unit; what follows is
// looked at by hand.
var numberScore = regexp.MustCompile(`^([1-5]|[一二三四五])(\.0)?(?: ?(分|颗星|星级|星)(好评)?)?`)

var hanDigits = map[string]int{"一": 1, "二": 2, "三": 3, "四": 4, "五": 5}

// longestScore bounds what may be an answer with words, in characters; what is
// longer is a matter of its own.
const longestScore = 300

// Read reads an answer. 「5」「五星」「5分 谢谢」「4.」「④」「挺好的」「一般般吧」
// are scores; 「55」「-1」「3栋没水」「好的」 are not.
func (s *Scores) Read(text string) Score {
	said := flatten(text)
	if said == "" || utf8.RuneCountInString(said) > longestScore {
		return Score{}
	}
	if v, rest, ok := s.number(said); ok {
		return Score{v, rest}
	}
	for _, p := range s.before {
		if rest, ok := strings.CutPrefix(said, p); ok {
			if v, words, ok := s.number(strings.TrimLeft(rest, " :")); ok {
				return Score{v, words}
			}
		}
	}
	first, rest := clause(said)
	if v := s.word(first); v > 0 {
		return Score{v, rest}
	}
	return Score{}
}

// flatten folds full width, circled and keycap digits, and takes signs away that
// stand around.
func flatten(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == 0xfe0f || r == 0x20e3 || r == 0x200d: // keycaps and joiners
			return -1
		case r >= '❶' && r <= '❺':
			return '1' + r - '❶'
		case r >= '➀' && r <= '➄':
			return '1' + r - '➀'
		case r >= '➊' && r <= '➎':
			return '1' + r - '➊'
		}
		return r
	}, text)
	text = norm.NFKC.String(text)
	text = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.So, r) || unicode.Is(unicode.Sk, r) || unicode.IsControl(r) && !unicode.IsSpace(r) {
			return ' ' // pictures say nothing that is sure
		}
		return r
	}, text)
	return strings.Trim(strings.Join(strings.Fields(text), " "), " 。.!！~〜、,，;；:：()（）[]【】\"'“”‘’「」?？…")
}

func isBreak(r rune) bool { return strings.ContainsRune(" ,，.。!！、;；:：~…?？\n", r) }

// clause cuts a text at its first sign.
func clause(s string) (first, rest string) {
	i := strings.IndexFunc(s, isBreak)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeftFunc(s[i:], isBreak)
}

// number reads a score in digits at the beginning.
func (s *Scores) number(said string) (v int, rest string, ok bool) {
	m := numberScore.FindStringSubmatch(said)
	if m == nil {
		return 0, "", false
	}
	rest = said[len(m[0]):]
	unit := m[3] != ""
	if v = hanDigits[m[1]]; v == 0 {
		v = int(m[1][0] - '0')
	} else if !unit && rest != "" {
		return 0, "", false // 一般, 三栋
	}
	r, _ := utf8.DecodeRuneInString(rest)
	if rest != "" && !isBreak(r) && !unit {
		return 0, "", false // 55, 3栋, 4师傅
	}
	if strings.HasPrefix(rest, ".") && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9' {
		return 0, "", false // 4.5
	}
	rest = strings.TrimLeftFunc(rest, isBreak)
	first, _ := utf8.DecodeRuneInString(rest)
	if unicode.IsDigit(first) || slices.ContainsFunc(s.units, func(u string) bool { return strings.HasPrefix(rest, u) }) {
		return 0, "", false // 4、5; 5分钟; 3 栋
	}
	return v, rest, true
}

// word reads a score in words.
func (s *Scores) word(said string) int {
	for {
		if v := s.words[said]; v > 0 {
			return v
		}
		short := said
		for _, a := range s.after {
			if rest, ok := strings.CutSuffix(said, a); ok {
				short = rest
				break
			}
		}
		if short == said {
			break
		}
		if short == "" {
			return 0
		}
		said = short
	}
	for _, b := range s.before {
		if rest, ok := strings.CutPrefix(said, b); ok && rest != "" {
			if v := s.words[rest]; v > 0 {
				return v
			}
		}
	}
	return 0
}
