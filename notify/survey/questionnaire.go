package survey

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"guanjia/internal/desk"
)

// Types of a question.
const (
	// Scale is the five-point scale of the glossary: 1 非常不满意 to 5 非常满意.
	Scale = "scale"
	// NPSQuestion is 0 to 10: would you recommend us.
	NPSQuestion = "nps"
)

// CategoryOverall and CategoryNPS stand beside the eleven categories in counts.
const (
	CategoryOverall = "overall"
	CategoryNPS     = "nps"
)

// Question is one line of a page.
type Question struct {
	ID   string `json:"id" yaml:"id"`
	Text string `json:"text" yaml:"text"`
	Type string `json:"type" yaml:"type"` // scale when empty
	// Overall marks the one question whose answer stands for the whole.
	Overall  bool `json:"overall,omitempty" yaml:"overall,omitempty"`
	Required bool `json:"required,omitempty" yaml:"required,omitempty"`

	// Category that it counts for: that of its section, CategoryOverall or
	// CategoryNPS.
	Category string `json:"category" yaml:"-"`
}

// Low and High are the bounds of its scores.
func (q Question) Low() int {
	if q.Type == NPSQuestion {
		return 0
	}
	return 1
}

// High is the best score.
func (q Question) High() int {
	if q.Type == NPSQuestion {
		return 10
	}
	return 5
}

// Section groups questions of a category (requirements section 10).
type Section struct {
	Category  string     `json:"category" yaml:"category"` // one of the eleven, or overall
	Title     string     `json:"title" yaml:"title"`
	Questions []Question `json:"questions" yaml:"questions"`
}

// Questionnaire is one file of templates/survey.
type Questionnaire struct {
	Code    string `json:"code" yaml:"code"`
	Version int    `json:"version" yaml:"version"`
	Title   string `json:"title" yaml:"title"`
	// Intro stands above the questions; Thanks below the sent page.
	Intro    string    `json:"intro" yaml:"intro"`
	Thanks   string    `json:"thanks" yaml:"thanks"`
	Sections []Section `json:"sections" yaml:"sections"`
	// Comment asks for free text; empty: none.
	Comment string `json:"comment" yaml:"comment"`

	// Hash of the file, so that a version that was edited in place is another one.
	Hash string `json:"hash" yaml:"-"`
}

// ID names the version that an answer was given to: half_year.1.3fa9c2d1.
func (q Questionnaire) ID() string { return fmt.Sprintf("%s.%d.%s", q.Code, q.Version, q.Hash) }

// Questions lists all questions in order.
func (q Questionnaire) Questions() []Question {
	var all []Question
	for _, s := range q.Sections {
		all = append(all, s.Questions...)
	}
	return all
}

// Find gives a question by its id.
func (q Questionnaire) Find(id string) (Question, bool) {
	for _, x := range q.Questions() {
		if x.ID == id {
			return x, true
		}
	}
	return Question{}, false
}

// Overall gives the question that stands for the whole: the marked one, else
// the first of the scale.
func (q Questionnaire) Overall() Question {
	all := q.Questions()
	for _, x := range all {
		if x.Overall {
			return x
		}
	}
	for _, x := range all {
		if x.Type == Scale {
			return x
		}
	}
	return Question{}
}

// Bounds of a questionnaire.
const (
	maxQuestions = 60
	maxTitle     = 20 // what a template message's thing takes
	maxText      = 60
)

var (
	goodID = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
)

// BadFile is one finding in a questionnaire.
type BadFile struct {
	File   string
	Line   int
	What   string
	Remedy string
}

func (b BadFile) Error() string {
	return fmt.Sprintf("%s:%d: %s; %s", b.File, b.Line, b.What, b.Remedy)
}

// loadForms reads all questionnaires of survey/*.yaml, by code.
func loadForms(fsys fs.FS) (map[string]Questionnaire, error) {
	files, err := fs.Glob(fsys, "survey/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("survey: list questionnaires: %w", err)
	}
	forms := map[string]Questionnaire{}
	var bad []error
	for _, name := range files {
		raw, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("survey: read questionnaire: %w", err)
		}
		q, err := ParseQuestionnaire(name, raw)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		if want := strings.TrimSuffix(path.Base(name), ".yaml"); q.Code != want {
			bad = append(bad, BadFile{name, 1, "the code is " + q.Code, "name it as its file, " + want})
			continue
		}
		forms[q.Code] = q
	}
	for _, code := range []string{string(AfterCase), string(AfterInquiry), halfYear} {
		if _, ok := forms[code]; !ok && len(bad) == 0 {
			bad = append(bad, BadFile{"survey/" + code + ".yaml", 1, "is missing", "ship it; it is the default of its kind"})
		}
	}
	return forms, errors.Join(bad...)
}

// halfYear is the questionnaire of a draft that names none.
const halfYear = "half_year"

// ParseQuestionnaire reads one questionnaire. The error joins a BadFile for
// everything that is wrong with it: equal ids, no questions, unknown keys.
func ParseQuestionnaire(file string, raw []byte) (Questionnaire, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return Questionnaire{}, BadFile{file, 1, "is not YAML: " + err.Error(), "mend it"}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(raw)))
	dec.KnownFields(true)
	var q Questionnaire
	if err := dec.Decode(&q); err != nil {
		return Questionnaire{}, BadFile{file, lineOf(err), "is not readable: " + err.Error(), "use code, version, title, intro, thanks, sections and comment"}
	}
	c := &checker{file: file, doc: &doc}
	c.check(&q)
	if len(c.bad) > 0 {
		return Questionnaire{}, errors.Join(c.bad...)
	}
	sum := sha256.Sum256(raw)
	q.Hash = hex.EncodeToString(sum[:4])
	return q, nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

func lineOf(err error) int {
	line := 1
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		_, _ = fmt.Sscan(m[1], &line)
	}
	return line
}

type checker struct {
	file string
	doc  *yaml.Node
	bad  []error
}

func (c *checker) complain(line int, what, remedy string) {
	c.bad = append(c.bad, BadFile{c.file, line, what, remedy})
}

// at finds the line of a value by its path of keys and indexes.
func (c *checker) at(path ...any) int {
	n, line := c.doc, 1
	if len(n.Content) > 0 {
		n = n.Content[0]
	}
	for _, p := range path {
		var next *yaml.Node
		switch p := p.(type) {
		case string:
			for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
				if n.Content[i].Value == p {
					next = n.Content[i+1]
				}
			}
		case int:
			if n.Kind == yaml.SequenceNode && p < len(n.Content) {
				next = n.Content[p]
			}
		}
		if next == nil {
			return line
		}
		n, line = next, next.Line
	}
	return line
}

func (c *checker) check(q *Questionnaire) {
	if !goodID.MatchString(q.Code) {
		c.complain(c.at("code"), "the code "+q.Code+" is not lower-case letters, digits and _", "write such as half_year")
	}
	if q.Version < 1 {
		c.complain(c.at("version"), "the version is missing or below 1", "count versions from 1, and up with every change")
	}
	c.text(c.at("title"), "title", q.Title, maxTitle, true)
	c.text(c.at("intro"), "intro", q.Intro, 200, false)
	c.text(c.at("thanks"), "thanks", q.Thanks, 200, false)
	c.text(c.at("comment"), "comment", q.Comment, maxText, false)
	seen, overall, scale, count := map[string]int{}, 0, 0, 0
	for i := range q.Sections {
		s := &q.Sections[i]
		at := c.at("sections", i)
		if s.Category != CategoryOverall && !desk.ValidCategory(s.Category) {
			c.complain(c.at("sections", i, "category"), "the category "+s.Category+" is not one of the eleven, nor overall", "take a code of the glossary")
		}
		c.text(at, "title of a section", s.Title, 30, true)
		if len(s.Questions) == 0 {
			c.complain(at, "a section has no questions", "give it one or take it out")
		}
		for j := range s.Questions {
			x := &s.Questions[j]
			line := c.at("sections", i, "questions", j, "id")
			count++
			if !goodID.MatchString(x.ID) {
				c.complain(line, "the id "+x.ID+" is not lower-case letters, digits and _", "write such as cleaning_lobby")
			}
			if first, ok := seen[x.ID]; ok {
				c.complain(line, fmt.Sprintf("the id %s stands in line %d already", x.ID, first), "give each question an id of its own")
			}
			seen[x.ID] = line
			c.text(line, "text of a question", x.Text, maxText, true)
			if x.Type == "" {
				x.Type = Scale
			}
			x.Category = s.Category
			switch x.Type {
			case NPSQuestion:
				x.Category = CategoryNPS
			case Scale:
				scale++
			default:
				c.complain(c.at("sections", i, "questions", j, "type"), "the type "+x.Type+" is unknown", "write scale or nps")
			}
			if x.Overall {
				overall++
				x.Category = CategoryOverall
				if x.Type != Scale {
					c.complain(line, "the overall question is not of the scale", "make it a scale question")
				}
			}
		}
	}
	switch {
	case count == 0:
		c.complain(c.at("sections"), "there are no questions", "write at least one")
	case scale == 0:
		c.complain(c.at("sections"), "no question is of the five-point scale", "write at least one")
	case count > maxQuestions:
		c.complain(c.at("sections"), fmt.Sprintf("there are %d questions", count), fmt.Sprintf("keep to %d", maxQuestions))
	}
	if overall > 1 {
		c.complain(c.at("sections"), "several questions are marked overall", "mark one")
	}
	nps := 0
	for _, x := range q.Questions() {
		if x.Type == NPSQuestion {
			nps++
		}
	}
	if nps > 1 {
		c.complain(c.at("sections"), "several questions are of type nps", "ask it once")
	}
}

func (c *checker) text(line int, what, s string, most int, needed bool) {
	switch n := utf8.RuneCountInString(s); {
	case needed && strings.TrimSpace(s) == "":
		c.complain(line, "the "+what+" is missing", "write it")
	case n > most:
		c.complain(line, fmt.Sprintf("the %s has %d characters", what, n), fmt.Sprintf("keep to %d", most))
	}
}

// encodeForm and decodeForm keep a questionnaire on the survey that uses it.
func encodeForm(q Questionnaire) string {
	b, err := json.Marshal(q)
	if err != nil {
		return "{}" // strings and numbers only
	}
	return string(b)
}

func decodeForm(s string) (Questionnaire, error) {
	var q Questionnaire
	if s == "" {
		return q, nil
	}
	if err := json.Unmarshal([]byte(s), &q); err != nil {
		return q, fmt.Errorf("survey: decode questionnaire: %w", err)
	}
	return q, nil
}

// Forms lists the questionnaires that a draft may name.
func (s *Surveys) Forms() []Questionnaire {
	var list []Questionnaire
	for _, q := range s.forms {
		if !Kind(q.Code).Standing() {
			list = append(list, q)
		}
	}
	slices.SortFunc(list, func(a, b Questionnaire) int { return strings.Compare(a.Code, b.Code) })
	return list
}
