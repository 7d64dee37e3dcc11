package wording

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	fixedNumber = regexp.MustCompile(`#[0-9]{6,9}`)
	hashVar     = regexp.MustCompile(`#\{([a-z_]+)\}`)
	smsVar      = regexp.MustCompile(`\$\{([a-z_]+)\}`)
)

// lint checks every text with its sample values.
func (l *loader) lint() {
	for _, k := range slices.Sorted(maps.Keys(l.book.entries)) {
		l.lintText(l.book.entries[k])
	}
	if l.book.entries[replyKey] == nil {
		l.complain(textDir, 0, replyKey, "is missing", "staff replies need it: {text} {company} {staff}")
	}
}

func (l *loader) lintText(e *entry) {
	complain := func(what, remedy string) { l.complain(e.file, e.line, e.key, what, remedy) }
	raw := literal(e.parts)
	if strings.TrimSpace(raw) == "" {
		complain("says nothing", "write a text or delete the key")
		return
	}
	used := variables(e.parts)
	l.lintVars(e, used)
	if fixedNumber.MatchString(raw) {
		complain("shows a # with 6 to 9 digits", "write #{case_no}, so that no number can be mistaken for a case")
	}
	for _, m := range hashVar.FindAllStringSubmatch(raw, -1) {
		if m[1] != "case_no" {
			complain("puts # before {"+m[1]+"}", "only {case_no} stands after #")
		}
	}
	if used["case_no"] && !strings.Contains(raw, "#{case_no}") {
		complain("shows a case number without #", "write #{case_no}")
	}
	if err := l.book.guard.check(raw); err != nil {
		complain(err.Error(), "say what happens next and when")
	}
	for _, r := range raw {
		if r != '\n' && unicode.IsControl(r) {
			complain("holds a control character", "delete it")
			break
		}
	}
	if e.audience == Resident {
		l.lintResident(e, raw)
	}
	sample, err := l.book.render(e, e.vars)
	if err != nil {
		complain("does not render with its samples: "+err.Error(), "shorten it or mend the samples")
		return
	}
	if strings.ContainsAny(sample, "{}") || strings.Contains(sample, "[[") {
		complain("leaves a brace in the text", "write {name} and [[ ]] in pairs")
	}
}

func (l *loader) lintVars(e *entry, used map[string]bool) {
	complain := func(what, remedy string) { l.complain(e.file, e.line, e.key, what, remedy) }
	for n := range used {
		if _, ok := e.vars[n]; !ok {
			complain("uses {"+n+"}, which vars doesn't list", "add it to vars with a sample")
		}
	}
	for n, sample := range e.vars {
		if !used[n] {
			complain("lists {"+n+"} and doesn't use it", "use it or delete it")
		}
		if strings.TrimSpace(sample) == "" {
			complain("gives {"+n+"} no sample", "write a sample value")
		}
	}
	for _, m := range []map[string]bool{e.optional, e.guarded} {
		for n := range m {
			if _, ok := e.vars[n]; !ok {
				complain("names {"+n+"}, which vars doesn't list", "add it to vars")
			}
		}
	}
	for n := range e.cuts {
		if _, ok := e.vars[n]; !ok {
			complain("cuts {"+n+"}, which vars doesn't list", "add it to vars")
		}
	}
	for _, p := range e.parts {
		if p.name != "" && e.optional[p.name] {
			complain("shows the optional {"+p.name+"} outside [[ ]]", "put [[ ]] around what falls away with it")
		}
		for n := range variables(p.opt) {
			if !e.optional[n] && !usedOutside(e.parts, n) {
				complain("leaves {"+n+"} out but doesn't call it optional", "add it to optional")
			}
		}
	}
}

func usedOutside(parts []part, name string) bool {
	return slices.ContainsFunc(parts, func(p part) bool { return p.name == name })
}

// lintResident keeps the tone: 您, no 小姐, nothing that carriers or eyes trip on.
func (l *loader) lintResident(e *entry, raw string) {
	complain := func(what, remedy string) { l.complain(e.file, e.line, e.key, what, remedy) }
	for word, better := range map[string]string{"你": "您", "小姐": "女士", "亲，": "您好，", "客户": "您", "业户": "住户"} {
		if strings.Contains(raw, word) {
			complain("says "+word, "write "+better)
		}
	}
	if r, ok := unsupported(raw); !ok {
		complain(fmt.Sprintf("holds %q, which is no common simplified character", r), "write it in simplified characters, without emoji")
	}
}

// literal gives the text back with its {names}, all optional parts shown.
func literal(parts []part) string {
	var sb strings.Builder
	for _, p := range parts {
		switch {
		case p.opt != nil:
			sb.WriteString(literal(p.opt))
		case p.name != "":
			sb.WriteString("{" + p.name + "}")
		default:
			sb.WriteString(p.lit)
		}
	}
	return sb.String()
}

func (l *loader) lintSMS(file string, line int, e *smsEntry) {
	t := e.tpl
	complain := func(what, remedy string) { l.complain(file, line, t.Purpose, what, remedy) }
	if t.Name == "" || utf8.RuneCountInString(t.Name) > 30 {
		complain("has a name of 0 or more than 30 characters", "name it for the registration")
	}
	if n := utf8.RuneCountInString(t.Content); n == 0 || n > 500 {
		complain("has 0 or more than 500 characters", "shorten the content")
	}
	if strings.ContainsAny(t.Content, "【】") {
		complain("holds 【 or 】", "the carrier puts the signature there")
	}
	if !slices.Contains([]string{"code", "danger", "notice", smsPromo}, t.Class) {
		complain("has an unknown class", "write code, danger, notice or promo")
	}
	l.lintSurvey(t, complain)
	if r, ok := unsupported(t.Content); !ok {
		complain(fmt.Sprintf("holds %q, which carriers refuse", r), "use simplified characters and plain signs")
	}
	if strings.Contains(t.Content, "你") {
		complain("says 你", "write 您")
	}
	if err := l.book.guard.check(t.Content); err != nil {
		complain(err.Error(), "say what happens next and when")
	}
	used := map[string]bool{}
	for _, m := range smsVar.FindAllStringSubmatch(t.Content, -1) {
		used[m[1]] = true
	}
	if strings.TrimSpace(smsVar.ReplaceAllString(t.Content, "")) == "" {
		complain("is all variables", "carriers want fixed words")
	}
	samples := Vars{}
	for _, v := range t.Vars {
		if !used[v.Name] {
			complain("lists ${"+v.Name+"} and doesn't use it", "use it or delete it")
		}
		if smsLimit(v.Attr) == 0 {
			complain("has an unknown attribute "+v.Attr, "use numberCaptcha, phone_number2, time, address, other_number2 or others")
		}
		delete(used, v.Name)
		samples[v.Name] = v.Sample
	}
	for n := range used {
		complain("uses ${"+n+"}, which vars doesn't list", "add it with attr and sample")
	}
	if _, err := l.book.SMS(t.Purpose, samples); err != nil {
		complain("does not render with its samples: "+err.Error(), "mend the samples")
	}
}

func (l *loader) lintTemplate(file string, line int, e *templateEntry, used map[string]bool) {
	t := e.tpl
	complain := func(what, remedy string) { l.complain(file, line, t.Purpose, what, remedy) }
	if t.Title == "" || len(t.Fields) == 0 {
		complain("lacks title or fields", "write both")
	}
	known := []string{"thing", "character_string", "time", "phone_number", "phrase", "const"}
	for _, f := range t.Fields {
		if !slices.Contains(known, fieldType(f.Key)) || fieldType(f.Key) == f.Key {
			complain("has the field "+f.Key, "write type and number, such as thing2")
		}
		if f.Label == "" {
			complain("has no label for "+f.Key, "write the label of the account's template")
		}
		if err := l.book.guard.check(f.Value); err != nil {
			complain(err.Error(), "say what happens next")
		}
	}
	for n := range used {
		if _, ok := e.vars[n]; !ok {
			complain("uses {"+n+"}, which vars doesn't list", "add it to vars with a sample")
		}
	}
	for n := range e.vars {
		if !used[n] {
			complain("lists {"+n+"} and doesn't use it", "use it or delete it")
		}
	}
	if _, err := l.book.Template(t.Purpose, e.vars); err != nil {
		complain("does not render with its samples: "+err.Error(), "mend the samples or shorten the fixed words")
	}
}

// smsPromo is the carrier's class 推广: only with consent, and it ends in how to
// refuse it.
const (
	smsPromo  = "promo"
	smsRefuse = "拒收请回复R"
)

// surveyWords are refused by carriers in a notification (通知).
var surveyWords = []string{"问卷", "调查", "好评", "调研", "投票", "抽奖", "有奖"}

// lintSurvey keeps questions of satisfaction within what carriers allow: a
// neutral 服务回访 in a notification, or a text of class 推广.
func (l *loader) lintSurvey(t SMSTemplate, complain func(what, remedy string)) {
	refuses := strings.HasSuffix(strings.TrimRight(t.Content, "。.！! "), smsRefuse)
	switch {
	case t.Class == smsPromo && !refuses:
		complain("is of class promo and does not end in "+smsRefuse, "end it so")
	case t.Class != smsPromo && strings.Contains(t.Content, smsRefuse):
		complain("holds "+smsRefuse+" and is not of class promo", "leave it out, or register it as 推广")
	}
	if !t.Survey {
		return
	}
	if t.Class != "notice" && t.Class != smsPromo {
		complain("asks how satisfied somebody is in class "+t.Class, "make it a notice or promo")
	}
	for _, w := range surveyWords {
		if t.Class == "notice" && strings.Contains(t.Content+t.Name, w) {
			complain("says "+w+", which carriers refuse in a notification", "ask neutrally, as a 服务回访")
		}
	}
}
