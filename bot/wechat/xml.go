package wechat

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a push. A real one has at most a few dozen elements, three deep.
const (
	maxDepth    = 8
	maxElements = 512
	maxName     = 64
)

// Errors of the decoder.
var (
	// ErrDoctype refuses any declaration: no push has one, and entities that
	// a document declares itself are how XML bombs work.
	ErrDoctype = errors.New("the document declares a DOCTYPE or an entity")
	// ErrTooComplex says that the document is deeper or longer than any push.
	ErrTooComplex = errors.New("the document is too deep or has too many elements")
	// ErrNotXML says that there is no element to begin with.
	ErrNotXML = errors.New("the document is not XML")
	// ErrTruncated says that the document ends inside an element.
	ErrTruncated = errors.New("the document ends too early")
)

// element is a decoded element. Text of elements with children is dropped.
type element struct {
	name     string
	text     string
	children []*element
}

// child returns the first child of that name, or nil. The first one counts: a
// resident's own words come late in a push and must not override its head.
func (e *element) child(name string) *element {
	if e == nil {
		return nil
	}
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// get returns the text of the first child of that name.
func (e *element) get(name string) string {
	if c := e.child(name); c != nil {
		return c.text
	}
	return ""
}

// all returns every child of that name.
func (e *element) all(name string) []*element {
	if e == nil {
		return nil
	}
	var out []*element
	for _, c := range e.children {
		if c.name == name {
			out = append(out, c)
		}
	}
	return out
}

// freeText names the elements that carry words of a person. The platform wraps
// them in CDATA without escaping, so they may contain `]]>`, control
// characters, even what looks like markup: they end at the *last* closing tag
// of their name, all others at the first.
func freeText(name string) bool {
	switch name {
	case "Content", "Title", "Description", "Label", "Poiname", "Recognition", "ScanResult":
		return true
	}
	return false
}

// parse decodes a push tolerantly. The platform writes documents that no
// conforming parser accepts; this one knows the only shape they have (elements,
// CDATA, text, the five entities) and bounds what it builds. A document that
// ends too early yields what was read and ErrTruncated.
func parse(doc string) (*element, error) {
	p := &parser{doc: doc}
	if err := p.prolog(); err != nil {
		return nil, err
	}
	return p.element(1)
}

type parser struct {
	doc      string
	pos      int
	elements int
}

func (p *parser) rest() string { return p.doc[p.pos:] }

// prolog skips a byte order mark, an XML declaration, comments and blanks.
func (p *parser) prolog() error {
	p.doc = strings.TrimPrefix(p.doc, "\ufeff")
	for {
		p.skipBlanks()
		switch rest := p.rest(); {
		case strings.HasPrefix(rest, "<?"):
			if !p.skipPast("?>") {
				return ErrNotXML
			}
		case strings.HasPrefix(rest, "<!--"):
			if !p.skipPast("-->") {
				return ErrNotXML
			}
		case strings.HasPrefix(rest, "<!"):
			return ErrDoctype
		case strings.HasPrefix(rest, "<"):
			return nil
		default:
			return ErrNotXML
		}
	}
}

// element reads the element that begins here.
func (p *parser) element(depth int) (*element, error) {
	p.elements++
	if depth > maxDepth || p.elements > maxElements {
		return nil, ErrTooComplex
	}
	name, empty, err := p.startTag()
	if err != nil {
		return nil, err
	}
	e := &element{name: name}
	if empty {
		return e, nil
	}
	if freeText(name) {
		e.text, err = p.freeText(name)
		return e, err
	}
	return e, p.content(e, depth)
}

// startTag reads `<Name attr="...">`; attributes are ignored.
func (p *parser) startTag() (name string, empty bool, err error) {
	end := strings.IndexByte(p.rest(), '>')
	if end < 0 {
		return "", false, ErrTruncated
	}
	tag := p.doc[p.pos+1 : p.pos+end]
	p.pos += end + 1
	if t, ok := strings.CutSuffix(tag, "/"); ok {
		tag, empty = t, true
	}
	if i := strings.IndexAny(tag, " \t\r\n"); i >= 0 {
		tag = tag[:i]
	}
	if !validName(tag) {
		return "", false, ErrNotXML
	}
	return tag, empty, nil
}

// content reads children, CDATA and text up to the end tag.
func (p *parser) content(e *element, depth int) error {
	var text strings.Builder
	for {
		next := strings.IndexByte(p.rest(), '<')
		if next < 0 {
			p.pos = len(p.doc)
			return ErrTruncated
		}
		text.WriteString(unescape(p.doc[p.pos : p.pos+next]))
		p.pos += next
		rest := p.rest()
		switch {
		case strings.HasPrefix(rest, cdataOpen):
			p.pos += len(cdataOpen)
			s, ok := p.until(cdataClose)
			text.WriteString(s)
			if !ok {
				return ErrTruncated
			}
		case strings.HasPrefix(rest, "<!--"):
			if !p.skipPast("-->") {
				return ErrTruncated
			}
		case strings.HasPrefix(rest, "<!"):
			return ErrDoctype
		case strings.HasPrefix(rest, "<?"):
			if !p.skipPast("?>") {
				return ErrTruncated
			}
		case strings.HasPrefix(rest, "</"):
			// The name isn't compared: a stray end tag inside free text is
			// handled there, elsewhere the platform writes none.
			if !p.skipPast(">") {
				return ErrTruncated
			}
			if len(e.children) == 0 {
				e.text = strings.TrimSpace(clean(text.String()))
			}
			return nil
		default:
			c, err := p.element(depth + 1)
			if c != nil {
				e.children = append(e.children, c)
			}
			if err != nil {
				return err
			}
		}
	}
}

const (
	cdataOpen  = "<![CDATA["
	cdataClose = "]]>"
)

// freeText reads the words of a person up to the last closing tag.
func (p *parser) freeText(name string) (string, error) {
	rest := p.rest()
	closing := "</" + name + ">"
	body, isCDATA := strings.CutPrefix(strings.TrimLeft(rest, " \t\r\n"), cdataOpen)
	if !isCDATA {
		s, ok := p.until(closing)
		if !ok {
			return clean(unescape(s)), ErrTruncated
		}
		if strings.Contains(s, "<!") {
			return "", ErrDoctype
		}
		return clean(unescape(s)), nil
	}
	skipped := len(rest) - len(body)
	if end := strings.LastIndex(body, cdataClose+closing); end >= 0 {
		p.pos += skipped + end + len(cdataClose) + len(closing)
		return clean(body[:end]), nil
	}
	// `<![CDATA[a]]>b</Content>`: the section was closed by the words
	// themselves; everything up to the end tag belongs to them.
	if end := strings.LastIndex(body, closing); end >= 0 {
		p.pos += skipped + end + len(closing)
		return clean(strings.TrimSuffix(strings.TrimRight(body[:end], " \t\r\n"), cdataClose)), nil
	}
	// No end tag at all: the words end where the platform goes on.
	for _, next := range []string{"<MsgId>", "</xml>"} {
		if end := strings.LastIndex(body, next); end >= 0 {
			p.pos += skipped + end
			s := strings.TrimRight(body[:end], " \t\r\n")
			return clean(strings.TrimSuffix(s, cdataClose)), nil
		}
	}
	p.pos = len(p.doc)
	return clean(body), ErrTruncated
}

// until returns what precedes the mark and moves past it; without the mark it
// returns the rest.
func (p *parser) until(mark string) (string, bool) {
	before, _, ok := strings.Cut(p.rest(), mark)
	if !ok {
		p.pos = len(p.doc)
		return before, false
	}
	p.pos += len(before) + len(mark)
	return before, true
}

func (p *parser) skipPast(mark string) bool {
	_, ok := p.until(mark)
	return ok
}

func (p *parser) skipBlanks() {
	p.pos = len(p.doc) - len(strings.TrimLeft(p.rest(), " \t\r\n"))
}

func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for _, r := range s {
		letter := r == '_' || (r|0x20 >= 'a' && r|0x20 <= 'z')
		digit := r == '-' || r == '.' || (r >= '0' && r <= '9')
		if !letter && !digit {
			return false
		}
	}
	return true
}

// unescape resolves the five entities and numbered characters; anything else
// stays as it is written. One pass, so nothing expands twice.
func unescape(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for {
		amp := strings.IndexByte(s, '&')
		if amp < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:amp])
		s = s[amp:]
		semi := strings.IndexByte(s[:min(len(s), 12)], ';')
		if semi < 0 {
			b.WriteByte('&')
			s = s[1:]
			continue
		}
		r, ok := entity(s[1:semi])
		if !ok {
			b.WriteByte('&')
			s = s[1:]
			continue
		}
		b.WriteRune(r)
		s = s[semi+1:]
	}
}

func entity(name string) (rune, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return 0, false
	}
	base := 10
	if h, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = h, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		return 0, false
	}
	return rune(n), true
}

// clean drops control characters, which keyboards and the platform let
// through, and mends broken UTF-8. Line breaks and tabs stay.
func clean(s string) string {
	if isClean(s) {
		return s
	}
	s = strings.ToValidUTF8(s, "\ufffd")
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return -1
		}
		return r
	}, s)
}

func isClean(s string) bool {
	for _, r := range s {
		if isControl(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

func isControl(r rune) bool {
	switch r {
	case '\n', '\r', '\t':
		return false
	case 0xfffe, 0xffff:
		return true
	}
	return r < 0x20 || (r >= 0x7f && r < 0xa0)
}
