package wording

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Rules that a value can break (ValueProblem.Rule).
const (
	RuleEmpty     = "empty"     // nothing was said
	RuleLong      = "long"      // Have characters, at most Most
	RuleCharacter = "character" // Found cannot be sent
	RuleAddress   = "address"   // a link or a web address
	RulePhone     = "phone"     // a telephone number in a variable that takes none
	RuleMobile    = "mobile"    // a mobile number where only a landline, 400 or 95 number may stand
	RuleNumber    = "number"    // no telephone number
	RuleTime      = "time"      // no time that the vendor knows
	RuleDigits    = "digits"    // letters and digits only
	RuleHan       = "han"       // Han characters only
	RuleLines     = "lines"     // more than one line
	RuleForbidden = "forbidden" // Found is refused for the reason in Why
	RuleText      = "text"      // the whole text has Have characters, at most Most
	RuleUnknown   = "unknown"   // there is no such template
)

// ValueProblem is one value that the vendor would refuse when the text is sent.
// Found is part of what was written, for whoever wrote it: not for logs.
type ValueProblem struct {
	Var        string // "" for the text as a whole
	Rule       string
	Have, Most int
	Found, Why string
}

// maxSMS is the longest SMS with its signature, in characters.
const maxSMS = 500

// LintSMS renders the SMS of a purpose and names everything for which the
// carrier would refuse it with these values and this signature: length and form
// by the attribute of each variable, characters, links and telephone numbers in
// the wrong place, forbidden words, length of the whole. The SMS is of use only
// when there is no problem.
func (b *Book) LintSMS(purpose string, vars Vars, sign string) (SMS, []ValueProblem) {
	e, ok := b.sms[purpose]
	if !ok {
		return SMS{}, []ValueProblem{{Rule: RuleUnknown}}
	}
	var list []ValueProblem
	out := SMS{Purpose: purpose, Params: make(map[string]string, len(e.tpl.Vars))}
	var pairs []string
	for _, v := range e.tpl.Vars {
		val := strings.TrimSpace(clean(vars[v.Name]))
		list = append(list, b.lintSMSValue(v, val)...)
		out.Params[v.Name] = val
		pairs = append(pairs, "${"+v.Name+"}", val)
	}
	text := strings.NewReplacer(pairs...).Replace(e.tpl.Content)
	if n := utf8.RuneCountInString("【"+sign+"】") + utf8.RuneCountInString(text); n > maxSMS {
		list = append(list, ValueProblem{Rule: RuleText, Have: n, Most: maxSMS})
	}
	out.Text = Text{key: "sms." + purpose, s: text}
	return out, list
}

var (
	webAddress = regexp.MustCompile(`(?i)(https?:|://|www\.|[a-z0-9-]+\.(com|cn|net|org|top|vip|xyz|cc|link|info|me)([^a-z]|$))`)
	// A number that could be dialled: a mobile, a landline with its area code,
	// 400 and 95 numbers, or any seven digits in a row.
	dialled   = regexp.MustCompile(`1[3-9][0-9]{9}|0[0-9]{2,3}-[0-9]{7,8}|400-?[0-9]{3}-?[0-9]{4}|[0-9]{7,}`)
	mobileNo  = regexp.MustCompile(`^1[3-9][0-9]{9}$`)
	fixedNo   = regexp.MustCompile(`^[0-9]{2,4}(-?[0-9]{3,8}){1,3}$|^[0-9]{5,12}$`)
	smsMoment = regexp.MustCompile(`^[0-9月日时分点上下午晚早凌晨中夜/:：~～至到\-. ]*[0-9][0-9月日时分点上下午晚早凌晨中夜/:：~～至到\-. ]*$`)
	captcha   = regexp.MustCompile(`^[0-9]{4,6}$`)
	alnum     = regexp.MustCompile(`^[0-9A-Za-z]{1,35}$`)
)

func (b *Book) lintSMSValue(v SMSVar, val string) []ValueProblem {
	one := func(p ValueProblem) []ValueProblem { p.Var = v.Name; return []ValueProblem{p} }
	n, most := utf8.RuneCountInString(val), smsLimit(v.Attr)
	switch {
	case val == "":
		return one(ValueProblem{Rule: RuleEmpty})
	case strings.Contains(val, "\n"):
		return one(ValueProblem{Rule: RuleLines})
	case n > most:
		return one(ValueProblem{Rule: RuleLong, Have: n, Most: most})
	}
	if r, ok := unsupported(val); !ok {
		return one(ValueProblem{Rule: RuleCharacter, Found: string(r)})
	}
	if i := strings.IndexAny(val, "【】"); i >= 0 {
		return one(ValueProblem{Rule: RuleCharacter, Found: "【】"})
	}
	if webAddress.MatchString(val) {
		return one(ValueProblem{Rule: RuleAddress, Found: webAddress.FindString(val)})
	}
	switch v.Attr {
	case "numberCaptcha":
		if !captcha.MatchString(val) {
			return one(ValueProblem{Rule: RuleDigits})
		}
	case "other_number2":
		if !alnum.MatchString(val) {
			return one(ValueProblem{Rule: RuleDigits})
		}
	case "time":
		if !smsMoment.MatchString(val) {
			return one(ValueProblem{Rule: RuleTime})
		}
	case "phone_number2":
		digits := strings.ReplaceAll(val, "-", "")
		switch {
		case mobileNo.MatchString(digits):
			return one(ValueProblem{Rule: RuleMobile})
		case !fixedNo.MatchString(val) || len(digits) < 5 || len(digits) > 13:
			return one(ValueProblem{Rule: RuleNumber})
		}
		return nil
	default:
		if found := dialled.FindString(val); found != "" {
			return one(ValueProblem{Rule: RulePhone, Found: found})
		}
	}
	if p, bad := b.forbidden(val); bad {
		return one(p)
	}
	return nil
}

func (b *Book) forbidden(val string) (ValueProblem, bool) {
	for _, f := range b.carrier {
		if strings.Contains(val, f.Word) {
			return ValueProblem{Rule: RuleForbidden, Found: f.Word, Why: f.Why}, true
		}
	}
	if err := b.guard.check(val); err != nil {
		var held ErrHeld
		errors.As(err, &held)
		return ValueProblem{Rule: RuleForbidden, Found: held.Found, Why: "不能这样答复住户（R-083）"}, true
	}
	return ValueProblem{}, false
}

// LintTemplate renders the template message of a purpose and names everything
// for which the platform would refuse it. Unlike Template it cuts nothing: a
// field of 20 characters that would hold 21 is a problem, named by the variable
// that fills it.
func (b *Book) LintTemplate(purpose string, vars Vars) (Message, []ValueProblem) {
	e, ok := b.templates[purpose]
	if !ok {
		return Message{}, []ValueProblem{{Rule: RuleUnknown}}
	}
	var list []ValueProblem
	values := make(map[string]string, len(e.vars))
	for name := range e.vars {
		values[name] = dropForeignNumbers(strings.TrimSpace(clean(vars[name])))
	}
	out := Message{Purpose: purpose, Data: make(map[string]string, len(e.fields))}
	lines := []string{e.tpl.Title}
	for i, f := range e.tpl.Fields {
		var sb strings.Builder
		writeParts(&sb, e.fields[i], values)
		v := strings.TrimSpace(sb.String())
		out.Data[f.Key] = v
		lines = append(lines, f.Label+"："+v)
		if p, bad := b.lintField(f.Key, v, e.fields[i], values); bad {
			list = append(list, p)
		}
	}
	out.Text = Text{key: "wechat." + purpose, s: strings.Join(lines, "\n")}
	return out, list
}

// lintField checks one field. The blame is the last empty variable's, or the
// longest one's.
func (b *Book) lintField(key, v string, parts []part, values map[string]string) (ValueProblem, bool) {
	blamed := ""
	for _, p := range parts {
		if p.name == "" {
			continue
		}
		if values[p.name] == "" {
			return ValueProblem{Var: p.name, Rule: RuleEmpty}, true
		}
		if len(values[p.name]) > len(values[blamed]) {
			blamed = p.name
		}
	}
	bad := func(p ValueProblem) (ValueProblem, bool) { p.Var = blamed; return p, true }
	if strings.Contains(v, "\n") {
		return bad(ValueProblem{Rule: RuleLines})
	}
	n := utf8.RuneCountInString(v)
	switch t := fieldType(key); {
	case n == 0:
		return bad(ValueProblem{Rule: RuleEmpty})
	case (t == "thing" || t == "const") && n > 20:
		return bad(ValueProblem{Rule: RuleLong, Have: n, Most: 20})
	case t == "character_string" && !fieldASCII.MatchString(v):
		return bad(ValueProblem{Rule: RuleDigits, Have: n, Most: 32})
	case (t == "time" || t == "date") && !fieldTime.MatchString(v):
		return bad(ValueProblem{Rule: RuleTime})
	case t == "phone_number" && !fieldPhone.MatchString(v):
		return bad(ValueProblem{Rule: RuleNumber})
	case t == "phrase" && !fieldHan.MatchString(v):
		return bad(ValueProblem{Rule: RuleHan, Have: n, Most: 5})
	}
	if p, found := b.forbidden(v); found {
		return bad(p)
	}
	return ValueProblem{}, false
}

// SMSTemplateOf gives the registered SMS of a purpose.
func (b *Book) SMSTemplateOf(purpose string) (SMSTemplate, bool) {
	e, ok := b.sms[purpose]
	if !ok {
		return SMSTemplate{}, false
	}
	return e.tpl, true
}

// MessageTemplateOf gives the template message of a purpose.
func (b *Book) MessageTemplateOf(purpose string) (MessageTemplate, bool) {
	e, ok := b.templates[purpose]
	if !ok {
		return MessageTemplate{}, false
	}
	return e.tpl, true
}

// carrierWord is a word that a vendor refuses, and why, in Chinese.
type carrierWord struct {
	Word string `yaml:"word"`
	Why  string `yaml:"why"`
}

func (l *loader) loadCarrier() error {
	doc, err := l.parse(carrierPath)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("wording: %s is missing: it lists what carriers refuse", carrierPath)
	}
	if err != nil {
		return err
	}
	var f struct {
		Forbidden []carrierWord `yaml:"forbidden"`
	}
	if err := strict(doc, &f); err != nil {
		return fmt.Errorf("read %s: %w", carrierPath, err)
	}
	for _, w := range f.Forbidden {
		if strings.TrimSpace(w.Word) == "" || strings.TrimSpace(w.Why) == "" {
			l.complain(carrierPath, 0, w.Word, "has no word or no reason", "write both")
		}
		if slices.ContainsFunc(l.book.carrier, func(x carrierWord) bool { return x.Word == w.Word }) {
			l.complain(carrierPath, 0, w.Word, "stands twice", "keep one")
		}
		l.book.carrier = append(l.book.carrier, w)
	}
	return nil
}
