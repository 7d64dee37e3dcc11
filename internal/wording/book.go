package wording

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Audience says who reads a text; rules and limits follow from it.
type Audience string

// Audiences.
const (
	Resident Audience = "resident"
	Staff    Audience = "staff"
)

// replyKey is the wrapper of what staff type.
const replyKey = "case.reply"

// Book holds all texts, catalogues and names, checked. It is immutable and safe
// for concurrent use.
type Book struct {
	entries   map[string]*entry
	sms       map[string]*smsEntry
	templates map[string]*templateEntry
	labels    map[string][]Label
	guard     *guard
	carrier   []carrierWord
}

// Label is one code and its Chinese name.
type Label struct{ Code, Text string }

type entry struct {
	key      string
	audience Audience
	file     string
	line     int
	parts    []part
	vars     map[string]string // name -> sample
	optional map[string]bool
	guarded  map[string]bool
	cuts     map[string]int
	max      int
	note     string
}

// part is a literal, a variable, or a stretch that is left out when one of its
// variables is empty.
type part struct {
	lit  string
	name string
	opt  []part
}

// Entry describes a text for documents and tests.
type Entry struct {
	Key      string
	Audience Audience
	Vars     []string
	Optional []string
	Sample   string
	Note     string
}

// Say renders a text. It fails with ErrUnknownKey, ErrMissingVar,
// ErrBadVar, ErrHeld or ErrTooLong; values that the text doesn't use are ignored.
func (b *Book) Say(key string, vars Vars) (Text, error) {
	e, ok := b.entries[key]
	if !ok {
		return Text{}, ErrUnknownKey{Key: key}
	}
	s, err := b.render(e, vars)
	if err != nil {
		return Text{}, err
	}
	return Text{key: key, s: s}, nil
}

func (b *Book) render(e *entry, vars Vars) (string, error) {
	values := make(map[string]string, len(e.vars))
	for name := range e.vars {
		v, err := b.value(e, name, vars[name])
		if err != nil {
			return "", err
		}
		values[name] = v
	}
	var sb strings.Builder
	writeParts(&sb, e.parts, values)
	s := strings.TrimSpace(sb.String())
	if s == "" {
		return "", ErrEmpty{Key: e.key}
	}
	if len(s) > e.max {
		return "", tooLong(e.key, len(s), e.max)
	}
	return s, nil
}

func (b *Book) value(e *entry, name, raw string) (string, error) {
	v := clean(raw)
	if v == "" {
		if e.optional[name] {
			return "", nil
		}
		return "", ErrMissingVar{Key: e.key, Var: name}
	}
	if name == "case_no" {
		if !isCaseNo(v) {
			return "", ErrBadVar{Key: e.key, Var: name, Rule: "6 to 9 digits and nothing else"}
		}
		return v, nil
	}
	if e.guarded[name] {
		if err := b.guard.check(v); err != nil {
			return "", err
		}
	}
	return cut(dropForeignNumbers(v), e.cuts[name]), nil
}

func writeParts(sb *strings.Builder, parts []part, values map[string]string) {
	for _, p := range parts {
		switch {
		case p.opt != nil:
			if filled(p.opt, values) {
				writeParts(sb, p.opt, values)
			}
		case p.name != "":
			sb.WriteString(values[p.name])
		default:
			sb.WriteString(p.lit)
		}
	}
}

func filled(parts []part, values map[string]string) bool {
	for _, p := range parts {
		if p.name != "" && values[p.name] == "" {
			return false
		}
	}
	return true
}

func tooLong(key string, have, most int) ErrTooLong {
	return ErrTooLong{Key: key, Bytes: have, Max: most, Chars: most / 3}
}

// Staff signs what a staff member typed for a resident and passes it by
// the guard. It fails with ErrEmpty, ErrHeld or ErrTooLong (2048 bytes
// with the signature); ErrTooLong.Chars says how many characters may be typed.
func (b *Book) Staff(text string, sign Sign) (Text, error) {
	text = clean(text)
	if text == "" {
		return Text{}, ErrEmpty{Key: replyKey}
	}
	// Length first: the guard reads only what could be sent at all.
	t, err := b.signed(text, sign)
	if err != nil {
		return Text{}, err
	}
	if err := b.guard.check(text); err != nil {
		return Text{}, err
	}
	return t, nil
}

// Override signs like Staff but lets a held phrase pass. The caller must hold
// the right to it and write the override to the audit.
func (b *Book) Override(text string, sign Sign) (Text, error) {
	text = clean(text)
	if text == "" {
		return Text{}, ErrEmpty{Key: replyKey}
	}
	return b.signed(text, sign)
}

func (b *Book) signed(text string, sign Sign) (Text, error) {
	e := b.entries[replyKey]
	frame := Vars{"text": "x", "company": sign.Company, "staff": sign.Name, "case_no": sign.CaseNo}
	bare, err := b.render(e, frame)
	if err != nil {
		return Text{}, err
	}
	// The typed words are not cut and keep their # numbers: a person means them.
	values := map[string]string{}
	for name := range e.vars {
		if name == "text" {
			continue
		}
		if values[name], err = b.value(e, name, frame[name]); err != nil {
			return Text{}, err
		}
	}
	values["text"] = text
	var sb strings.Builder
	writeParts(&sb, e.parts, values)
	s := strings.TrimSpace(sb.String())
	if len(s) > MaxReply {
		return Text{}, ErrTooLong{Key: replyKey, Bytes: len(s), Max: MaxReply, Chars: (MaxReply - len(bare)) / 3}
	}
	return Text{key: "staff", s: s}, nil
}

// Guard returns ErrHeld when a text dismisses the resident.
func (b *Book) Guard(text string) error { return b.guard.check(text) }

// Join puts texts under each other, for safety words with a case number below.
// Empty ones are left out; more than 2048 bytes are refused.
func (b *Book) Join(texts ...Text) (Text, error) { return join(MaxReply, texts) }

// JoinGroup puts texts for staff under each other; more than MaxGroup bytes are
// refused.
func (b *Book) JoinGroup(texts ...Text) (Text, error) { return join(MaxGroup, texts) }

func join(most int, texts []Text) (Text, error) {
	var lines, keys []string
	for _, t := range texts {
		if t.IsZero() {
			continue
		}
		lines, keys = append(lines, t.s), append(keys, t.key)
	}
	if len(lines) == 0 {
		return Text{}, ErrEmpty{Key: "join"}
	}
	s := strings.Join(lines, "\n")
	key := strings.Join(keys, "+")
	if len(s) > most {
		return Text{}, tooLong(key, len(s), most)
	}
	return Text{key: key, s: s}, nil
}

// MustHave fails unless all these texts exist; rooms call it at start with the
// keys they use.
func (b *Book) MustHave(keys ...string) error {
	var missing []string
	for _, k := range keys {
		if b.entries[k] == nil {
			missing = append(missing, k)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("wording: no text for %s; add them under templates/texts/", strings.Join(missing, ", "))
	}
	return nil
}

// Names lists the keys of all texts, sorted.
func (b *Book) Names() []string { return slices.Sorted(maps.Keys(b.entries)) }

// Describe returns what a text needs and how it reads with sample values.
func (b *Book) Describe(key string) (Entry, bool) {
	e, ok := b.entries[key]
	if !ok {
		return Entry{}, false
	}
	s, err := b.render(e, e.vars)
	if err != nil {
		return Entry{}, false
	}
	return Entry{
		Key: key, Audience: e.audience, Sample: s, Note: e.note,
		Vars: slices.Sorted(maps.Keys(e.vars)), Optional: slices.Sorted(maps.Keys(e.optional)),
	}, true
}

// Label returns the Chinese word for a code, such as Label("state", "handled").
// An unknown code comes back as it is: better an odd word than none.
func (b *Book) Label(kind, code string) string {
	for _, l := range b.labels[kind] {
		if l.Code == code {
			return l.Text
		}
	}
	return code
}

// Code returns the code for a Chinese word, the reverse of Label.
func (b *Book) Code(kind, text string) (string, bool) {
	text = strings.TrimSpace(text)
	for _, l := range b.labels[kind] {
		if l.Text == text {
			return l.Code, true
		}
	}
	return "", false
}

// Labels lists the codes and words of one kind in the order of the file.
func (b *Book) Labels(kind string) []Label { return slices.Clone(b.labels[kind]) }

// Kinds lists the kinds of labels, sorted.
func (b *Book) Kinds() []string { return slices.Sorted(maps.Keys(b.labels)) }
