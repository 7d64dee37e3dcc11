package wording

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Places of the files.
const (
	textDir     = "texts/zh-CN"
	smsDir      = "sms"
	templateDir = "wechat"
	guardPath   = "lexicon/guard.yaml"
	namesPath   = "lexicon/names.yaml"
	carrierPath = "lexicon/carrier.yaml"
)

// Problem is one finding of the lint.
type Problem struct {
	File   string
	Line   int
	Key    string
	What   string
	Remedy string
}

func (p Problem) Error() string {
	return fmt.Sprintf("%s:%d: %s: %s; %s", p.File, p.Line, p.Key, p.What, p.Remedy)
}

// loader collects all problems before it gives up, so that one run shows all.
type loader struct {
	fsys     fs.FS
	book     *Book
	problems []error
}

// Load reads and checks all files. The error joins every Problem found, each
// with file, line, key and remedy.
func Load(fsys fs.FS) (*Book, error) {
	l := &loader{fsys: fsys, book: &Book{
		entries: map[string]*entry{}, sms: map[string]*smsEntry{},
		templates: map[string]*templateEntry{}, labels: map[string][]Label{},
	}}
	if err := l.loadGuard(); err != nil {
		return nil, err
	}
	if err := l.loadCarrier(); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		dir  string
		load func(file string, doc *yaml.Node)
	}{{textDir, l.loadTexts}, {smsDir, l.loadSMS}, {templateDir, l.loadTemplates}} {
		if err := l.eachFile(step.dir, step.load); err != nil {
			return nil, err
		}
	}
	if err := l.loadNames(); err != nil {
		return nil, err
	}
	l.lint()
	if len(l.problems) > 0 {
		return nil, fmt.Errorf("wording: %d problems in the texts: %w", len(l.problems), errors.Join(l.problems...))
	}
	return l.book, nil
}

func (l *loader) complain(file string, line int, key, what, remedy string) {
	l.problems = append(l.problems, Problem{File: file, Line: line, Key: key, What: what, Remedy: remedy})
}

func (l *loader) eachFile(dir string, load func(file string, doc *yaml.Node)) error {
	files, err := fs.Glob(l.fsys, dir+"/*.yaml")
	if err != nil {
		return fmt.Errorf("list texts in %s: %w", dir, err)
	}
	if len(files) == 0 {
		return fmt.Errorf("wording: no files in %s; they belong into package templates", dir)
	}
	slices.Sort(files)
	for _, f := range files {
		doc, err := l.parse(f)
		if err != nil {
			return err
		}
		load(f, doc)
	}
	return nil
}

func (l *loader) parse(file string) (*yaml.Node, error) {
	data, err := fs.ReadFile(l.fsys, file)
	if err != nil {
		return nil, fmt.Errorf("read texts: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("read texts of %s: %w", file, err)
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("read texts of %s: it must be a mapping", file)
	}
	return doc.Content[0], nil
}

// strict decodes a node and refuses unknown fields.
func strict(n *yaml.Node, into any) error {
	raw, err := yaml.Marshal(n)
	if err != nil {
		return err
	}
	dec := yaml.NewDecoder(strings.NewReader(string(raw)))
	dec.KnownFields(true)
	return dec.Decode(into)
}

// pairs calls f for every key of a mapping, in order, and complains of doubles.
func (l *loader) pairs(file string, n *yaml.Node, f func(key string, line int, val *yaml.Node)) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if seen[k.Value] {
			l.complain(file, k.Line, k.Value, "stands twice", "keep one")
			continue
		}
		seen[k.Value] = true
		f(k.Value, k.Line, v)
	}
}

type textFile struct {
	Text     string            `yaml:"text"`
	Vars     map[string]string `yaml:"vars"`
	Optional []string          `yaml:"optional"`
	Guarded  []string          `yaml:"guarded"`
	Cut      map[string]int    `yaml:"cut"`
	Max      int               `yaml:"max"`
	Note     string            `yaml:"note"`
}

func (l *loader) loadTexts(file string, doc *yaml.Node) {
	audience := Audience("")
	l.pairs(file, doc, func(key string, line int, val *yaml.Node) {
		switch key {
		case "audience":
			audience = Audience(val.Value)
			if audience != Resident && audience != Staff {
				l.complain(file, line, key, "unknown audience", "write resident or staff, before texts")
			}
		case "texts":
			l.pairs(file, val, func(key string, line int, val *yaml.Node) { l.loadText(file, audience, key, line, val) })
		default:
			l.complain(file, line, key, "unknown field", "only audience and texts stand here")
		}
	})
}

func (l *loader) loadText(file string, audience Audience, key string, line int, val *yaml.Node) {
	var f textFile
	if err := strict(val, &f); err != nil {
		l.complain(file, line, key, "not readable: "+err.Error(), "use text, vars, optional, guarded, cut, max, note")
		return
	}
	for i := 1; i < len(val.Content); i += 2 {
		if c := val.Content[i].LineComment; c != "" {
			l.complain(file, line, key, "is cut off at \" #\", which begins a comment", "put the text in quotes")
		}
	}
	if other, ok := l.book.entries[key]; ok {
		l.complain(file, line, key, "is also in "+other.file, "keep one")
		return
	}
	parts, err := compile(f.Text)
	if err != nil {
		l.complain(file, line, key, err.Error(), "write {name} for a value and [[ ]] around what may be left out")
		return
	}
	e := &entry{
		key: key, audience: audience, file: file, line: line, parts: parts, vars: f.Vars,
		optional: set(f.Optional), guarded: set(f.Guarded), cuts: f.Cut, max: f.Max, note: f.Note,
	}
	if e.vars == nil {
		e.vars = map[string]string{}
	}
	if e.max == 0 {
		e.max = MaxReply
		if audience == Staff {
			e.max = MaxGroup
		}
	}
	l.book.entries[key] = e
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// compile splits a text into parts. {name} is a value, [[...]] may be left out.
func compile(s string) ([]part, error) {
	var out []part
	for s != "" {
		i := strings.IndexAny(s, "{[")
		if i < 0 {
			return append(out, part{lit: s}), nil
		}
		if s[i] == '[' && !strings.HasPrefix(s[i:], "[[") {
			out = append(out, part{lit: s[:i+1]})
			s = s[i+1:]
			continue
		}
		if i > 0 {
			out = append(out, part{lit: s[:i]})
			s = s[i:]
			continue
		}
		if s[0] == '[' {
			inner, rest, ok := strings.Cut(s[2:], "]]")
			if !ok {
				return nil, errors.New("[[ without ]]")
			}
			opt, err := compile(inner)
			if err != nil {
				return nil, err
			}
			if len(variables(opt)) == 0 {
				return nil, errors.New("[[ ]] holds no variable")
			}
			out, s = append(out, part{opt: opt}), rest
			continue
		}
		name, rest, ok := strings.Cut(s[1:], "}")
		if !ok || !isName(name) {
			return nil, errors.New("{ without a name and }")
		}
		out, s = append(out, part{name: name}), rest
	}
	return out, nil
}

func isName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && r != '_' {
			return false
		}
	}
	return s != ""
}

// variables lists the names used in parts, once each.
func variables(parts []part) map[string]bool {
	m := map[string]bool{}
	for _, p := range parts {
		if p.name != "" {
			m[p.name] = true
		}
		for n := range variables(p.opt) {
			m[n] = true
		}
	}
	return m
}

type smsFile struct {
	Name    string `yaml:"name"`
	Class   string `yaml:"class"`
	Content string `yaml:"content"`
	Survey  bool   `yaml:"survey"`
	Vars    []struct {
		Name   string `yaml:"name"`
		Attr   string `yaml:"attr"`
		Sample string `yaml:"sample"`
	} `yaml:"vars"`
}

func (l *loader) loadSMS(file string, doc *yaml.Node) {
	l.pairs(file, doc, func(key string, line int, val *yaml.Node) {
		var f smsFile
		if err := strict(val, &f); err != nil {
			l.complain(file, line, key, "not readable: "+err.Error(), "use name, class, content, vars, survey")
			return
		}
		e := &smsEntry{pos: fmt.Sprintf("%s:%d", file, line), tpl: SMSTemplate{Purpose: key, Name: f.Name, Class: f.Class, Content: f.Content, Survey: f.Survey}}
		for _, v := range f.Vars {
			e.tpl.Vars = append(e.tpl.Vars, SMSVar(v))
		}
		if _, ok := l.book.sms[key]; ok {
			l.complain(file, line, key, "stands twice", "keep one")
		}
		l.book.sms[key] = e
		l.lintSMS(file, line, e)
	})
}

type templateFile struct {
	Title  string `yaml:"title"`
	Fields []struct {
		Key   string `yaml:"key"`
		Label string `yaml:"label"`
		Value string `yaml:"value"`
	} `yaml:"fields"`
	Vars map[string]string `yaml:"vars"`
}

func (l *loader) loadTemplates(file string, doc *yaml.Node) {
	l.pairs(file, doc, func(key string, line int, val *yaml.Node) {
		var f templateFile
		if err := strict(val, &f); err != nil {
			l.complain(file, line, key, "not readable: "+err.Error(), "use title, fields, vars")
			return
		}
		e := &templateEntry{tpl: MessageTemplate{Purpose: key, Title: f.Title}, vars: f.Vars}
		used := map[string]bool{}
		for _, fld := range f.Fields {
			parts, err := compile(fld.Value)
			if err != nil {
				l.complain(file, line, key, fld.Key+": "+err.Error(), "write {name} for a value")
				return
			}
			for n := range variables(parts) {
				used[n] = true
			}
			e.fields = append(e.fields, parts)
			e.tpl.Fields = append(e.tpl.Fields, MessageField(fld))
		}
		l.book.templates[key] = e
		l.lintTemplate(file, line, e, used)
	})
}

func (l *loader) loadGuard() error {
	doc, err := l.parse(guardPath)
	if err != nil {
		return err
	}
	var f guardFile
	if err := strict(doc, &f); err != nil {
		return fmt.Errorf("read the guard of %s: %w", guardPath, err)
	}
	if l.book.guard, err = newGuard(f); err != nil {
		return fmt.Errorf("compile the guard of %s: %w", guardPath, err)
	}
	return nil
}

func (l *loader) loadNames() error {
	doc, err := l.parse(namesPath)
	if err != nil {
		return err
	}
	l.pairs(namesPath, doc, func(kind string, line int, val *yaml.Node) {
		if val.Kind != yaml.MappingNode || len(val.Content) == 0 {
			l.complain(namesPath, line, kind, "is no mapping", "write code: 中文 under it")
			return
		}
		texts := map[string]string{}
		l.pairs(namesPath, val, func(code string, line int, v *yaml.Node) {
			if strings.TrimSpace(v.Value) == "" {
				l.complain(namesPath, line, kind+"."+code, "has no word", "write its Chinese name")
			}
			if other, ok := texts[v.Value]; ok {
				l.complain(namesPath, line, kind+"."+code, "shares its word with "+other, "one word for one thing")
			}
			texts[v.Value] = code
			l.book.labels[kind] = append(l.book.labels[kind], Label{Code: code, Text: v.Value})
		})
	})
	return nil
}
