package wording

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// SMSTemplate is one registered SMS text. Content is in the carrier's form, with
// ${var}; it is registered word for word.
type SMSTemplate struct {
	Purpose string
	Name    string
	Class   string // code, danger, notice, promo
	Content string
	Vars    []SMSVar
	// Survey marks a text that the carrier allows for asking how satisfied
	// somebody is: a neutral 服务回访 of class notice, or one of class promo.
	Survey bool
}

// SMSVar is a variable with the attribute it is registered with.
type SMSVar struct{ Name, Attr, Sample string }

// SMS is a rendered SMS: the parameters to submit and the words they make.
type SMS struct {
	Purpose string
	Params  map[string]string
	Text    Text
}

type smsEntry struct {
	tpl SMSTemplate
	pos string
}

// smsLimits are the longest values by attribute (Aliyun; the second-hand ones
// are the cautious reading of the vendor's page).
func smsLimit(attr string) int {
	switch attr {
	case "numberCaptcha":
		return 6
	case "phone_number2":
		return 15
	case "address":
		return 30
	case "other_number2", "time", "others":
		return 35
	}
	return 0
}

// SMS renders the SMS of a purpose.
func (b *Book) SMS(purpose string, vars Vars) (SMS, error) {
	e, ok := b.sms[purpose]
	if !ok {
		return SMS{}, ErrUnknownKey{Key: "sms." + purpose}
	}
	key := "sms." + purpose
	out := SMS{Purpose: purpose, Params: make(map[string]string, len(e.tpl.Vars))}
	body := e.tpl.Content
	pairs := make([]string, 0, 2*len(e.tpl.Vars))
	for _, v := range e.tpl.Vars {
		val := strings.ReplaceAll(clean(vars[v.Name]), "\n", " ")
		if val == "" {
			return SMS{}, ErrMissingVar{Key: key, Var: v.Name}
		}
		if v.Name == "case_no" && !isCaseNo(val) {
			return SMS{}, ErrBadVar{Key: key, Var: v.Name, Rule: "6 to 9 digits and nothing else"}
		}
		if rule := checkSMSValue(v.Attr, val); rule != "" {
			return SMS{}, ErrBadVar{Key: key, Var: v.Name, Rule: rule}
		}
		out.Params[v.Name] = val
		pairs = append(pairs, "${"+v.Name+"}", val)
	}
	out.Text = Text{key: key, s: strings.NewReplacer(pairs...).Replace(body)}
	return out, nil
}

func checkSMSValue(attr, v string) string {
	if n := utf8.RuneCountInString(v); n > smsLimit(attr) {
		return fmt.Sprintf("%d characters, at most %d", n, smsLimit(attr))
	}
	if r, ok := unsupported(v); !ok {
		return fmt.Sprintf("character %q cannot be sent by SMS", r)
	}
	if attr == "numberCaptcha" && (len(v) < 4 || digitsAt(v, 0) != len(v)) {
		return "4 to 6 digits"
	}
	if strings.Contains(v, "://") || strings.Contains(v, "www.") {
		return "an address cannot stand in a variable"
	}
	return ""
}

// unsupported finds the first character that carriers refuse: emoji, traditional
// characters and rare symbols are not in GB 2312.
func unsupported(s string) (rune, bool) {
	enc := simplifiedchinese.HZGB2312.NewEncoder()
	for _, r := range s {
		if r < 0x80 {
			continue
		}
		enc.Reset()
		if _, err := enc.String(string(r)); err != nil {
			return r, false
		}
	}
	return 0, true
}

// Segments counts what a carrier bills for an SMS: 70 characters, or 67 each
// when it takes several. The signature with its brackets counts.
func Segments(sign string, body Text) int {
	n := utf8.RuneCountInString("【"+sign+"】") + utf8.RuneCountInString(body.s)
	if n <= 70 {
		return 1
	}
	return (n + 66) / 67
}

// SMSCatalogue lists all SMS templates, sorted by purpose, for registration.
func (b *Book) SMSCatalogue() []SMSTemplate {
	out := make([]SMSTemplate, 0, len(b.sms))
	for _, k := range slices.Sorted(maps.Keys(b.sms)) {
		out = append(out, b.sms[k].tpl)
	}
	return out
}

// MessageTemplate is one template message as it stands in the account.
type MessageTemplate struct {
	Purpose string
	Title   string
	Fields  []MessageField
}

// MessageField is one typed field; Key is type and number, such as thing2.
type MessageField struct{ Key, Label, Value string }

// Content is the template text in the platform's own form.
func (t MessageTemplate) Content() string {
	var sb strings.Builder
	for _, f := range t.Fields {
		fmt.Fprintf(&sb, "%s:{{%s.DATA}}\n", f.Label, f.Key)
	}
	return sb.String()
}

// Message is a rendered template message. Text is the same in words, for the
// timeline.
type Message struct {
	Purpose string
	Data    map[string]string // field key -> value
	Text    Text
}

type templateEntry struct {
	tpl    MessageTemplate
	fields [][]part
	vars   map[string]string
}

// Template renders the template message of a purpose. Values of free text
// (thing) are cut to the platform's length; other values that break their type
// are refused with ErrBadVar.
func (b *Book) Template(purpose string, vars Vars) (Message, error) {
	e, ok := b.templates[purpose]
	if !ok {
		return Message{}, ErrUnknownKey{Key: "wechat." + purpose}
	}
	key := "wechat." + purpose
	values := make(map[string]string, len(e.vars))
	for name := range e.vars {
		v := strings.ReplaceAll(clean(vars[name]), "\n", " ")
		if v == "" {
			return Message{}, ErrMissingVar{Key: key, Var: name}
		}
		if name == "case_no" && !isCaseNo(v) {
			return Message{}, ErrBadVar{Key: key, Var: name, Rule: "6 to 9 digits and nothing else"}
		}
		if name != "case_no" {
			v = dropForeignNumbers(v)
		}
		values[name] = v
	}
	out := Message{Purpose: purpose, Data: make(map[string]string, len(e.fields))}
	lines := []string{e.tpl.Title}
	for i, f := range e.tpl.Fields {
		var sb strings.Builder
		writeParts(&sb, e.fields[i], values)
		v := fit(f.Key, strings.TrimSpace(sb.String()))
		if rule := checkField(f.Key, v); rule != "" {
			return Message{}, ErrBadVar{Key: key, Var: f.Key, Rule: rule}
		}
		out.Data[f.Key] = v
		lines = append(lines, f.Label+"："+v)
	}
	out.Text = Text{key: key, s: strings.Join(lines, "\n")}
	return out, nil
}

// fieldType is the field key without its number.
func fieldType(key string) string { return strings.TrimRight(key, "0123456789") }

func fit(key, v string) string {
	if fieldType(key) == "thing" {
		return cut(v, 20)
	}
	return v
}

const fieldMoment = `((\d{4}年\d{1,2}月\d{1,2}日 )?\d{1,2}:\d{2}|\d{4}-\d{2}-\d{2} \d{2}:\d{2}(:\d{2})?)`

var (
	// A moment, or two with ~ between them.
	fieldTime  = regexp.MustCompile(`^` + fieldMoment + `(~` + fieldMoment + `)?$`)
	fieldASCII = regexp.MustCompile(`^[\x21-\x7e]{1,32}$`)
	fieldPhone = regexp.MustCompile(`^[0-9+\-]{3,17}$`)
	fieldHan   = regexp.MustCompile(`^\p{Han}{1,5}$`)
)

// checkField names the rule of the platform that a value breaks, or nothing.
func checkField(key, v string) string {
	n := utf8.RuneCountInString(v)
	switch t := fieldType(key); {
	case n == 0:
		return "must not be empty"
	case t == "thing" && n > 20:
		return "at most 20 characters"
	case t == "character_string" && !fieldASCII.MatchString(v):
		return "at most 32 digits, letters and symbols, no Chinese"
	case t == "time" && !fieldTime.MatchString(v):
		return "a time such as 2026年10月1日 15:01"
	case t == "phone_number" && !fieldPhone.MatchString(v):
		return "at most 17 digits and symbols"
	case t == "phrase" && !fieldHan.MatchString(v):
		return "at most 5 Han characters"
	case t == "const" && n > 20:
		return "at most 20 characters"
	}
	return ""
}

// TemplateCatalogue lists all template messages, sorted by purpose.
func (b *Book) TemplateCatalogue() []MessageTemplate {
	out := make([]MessageTemplate, 0, len(b.templates))
	for _, k := range slices.Sorted(maps.Keys(b.templates)) {
		out = append(out, b.templates[k].tpl)
	}
	return out
}
