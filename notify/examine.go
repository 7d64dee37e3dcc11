package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/ledger"
	"guanjia/internal/register"
	"guanjia/internal/wording"
)

// facts is what is known about a draft besides its fields; stored with it.
type facts struct {
	Project    string                `json:"project"` // name
	Place      string                `json:"place"`
	PlaceShort string                `json:"place_short"`
	What       string                `json:"what"`
	RemindWhat string                `json:"remind_what"`
	Root       string                `json:"root,omitempty"` // number of the first notice of its chain
	Rules      rules                 `json:"rules"`
	Audience   estate.AudienceCounts `json:"audience"`
	Segments   int                   `json:"segments"`
	CostFen    int                   `json:"cost_fen"`
	RemindFen  int                   `json:"remind_cost_fen"`
	Problems   []Problem             `json:"problems"`
	Warnings   []Problem             `json:"warnings"`
	Preview    Preview               `json:"preview"`
	Filled     []string              `json:"filled"`
	// CanaryTo is the number of the last row that leaves first; 0: all at once.
	CanaryTo int64 `json:"canary_to,omitempty"`
	// Rows is how many rows the frozen audience has, PutTo the number of the
	// last one whose delivery is written.
	Rows  int64 `json:"rows,omitempty"`
	PutTo int64 `json:"put_to,omitempty"`
}

// rules are those of a kind, or for one that answers another notice those of
// the first of its chain.
type rules struct {
	Emergency bool        `json:"emergency"` // the duty manager may approve it alone
	Endorse   bool        `json:"endorse"`
	Ignore    bool        `json:"ignore_quiet"`
	OptOut    string      `json:"opt_out"`
	Lane      ledger.Lane `json:"lane"`
	Contact   string      `json:"contact"`
}

func rulesOf(k *kind) rules {
	return rules{Emergency: k.Approve == "emergency", Endorse: k.Endorse, Ignore: k.Quiet == "ignore", OptOut: k.OptOut, Lane: k.Lane, Contact: k.Contact}
}

// examination is a draft completed and checked.
type examination struct {
	kind  *kind
	draft Draft
	facts facts

	projectID string
	of        *Notice // that it answers
	chain     []Notice

	sms, remindSMS   wording.SMS
	tmpl, remindTmpl wording.Message
}

// examiner carries what all steps of one examination need.
type examiner struct {
	n       *Notices
	company company.Company
	dir     *company.Directory
	now     time.Time
	count   bool
	x       *examination
	// self is the notice itself when it is examined again.
	self string
}

func (e *examiner) problem(field, key string, kv ...string) {
	e.x.facts.Problems = append(e.x.facts.Problems, Problem{field, e.n.words(key, kv...)})
}

func (e *examiner) warn(field, key string, kv ...string) {
	e.x.facts.Warnings = append(e.x.facts.Warnings, Problem{field, e.n.words(key, kv...)})
}

// fill completes a field that was not said.
func (e *examiner) fill(field string, into *string, value string) {
	if strings.TrimSpace(*into) != "" || value == "" {
		return
	}
	*into = value
	e.filled(field)
}

func (e *examiner) fillTime(field string, into *Time, value time.Time) {
	if !into.IsZero() || value.IsZero() {
		return
	}
	*into = Time{value}
	e.filled(field)
}

func (e *examiner) filled(field string) {
	if !slices.Contains(e.x.facts.Filled, field) {
		e.x.facts.Filled = append(e.x.facts.Filled, field)
	}
}

// examine completes a draft from kind, project and the notice that it answers,
// checks it against the rules of its kind and of the vendors, and counts whom it
// reaches when asked to. It writes nothing. filled are the fields that an
// earlier examination completed.
func (n *Notices) examine(ctx context.Context, companyID, self string, d Draft, filled []string, count bool) (*examination, error) {
	c, dir, err := n.settings(ctx, companyID)
	if err != nil {
		return nil, err
	}
	x := &examination{draft: tidy(d), facts: facts{Filled: slices.Clone(filled), Problems: []Problem{}, Warnings: []Problem{}}}
	e := &examiner{n: n, company: c, dir: dir, now: n.now(), count: count, x: x, self: self}
	k, ok := n.kinds.Kinds[x.draft.Kind]
	if !ok {
		e.problem("kind", "kind_unknown", "kind", x.draft.Kind, "kinds", n.kinds.names())
		return x, nil
	}
	x.kind, x.facts.Rules = k, rulesOf(k)
	for _, step := range []func(context.Context) error{e.answered, e.project, e.scope, e.topic} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	e.complete()
	e.required()
	e.times()
	e.channels()
	e.texts()
	return x, e.audience(ctx)
}

// tidy takes away what nobody meant: blanks, doubles.
func tidy(d Draft) Draft {
	for _, s := range []*string{&d.Kind, &d.Topic, &d.Project, &d.Title, &d.Reason, &d.Action, &d.Contact, &d.Of, &d.ShortNotice, &d.Scope.Floors} {
		*s = strings.TrimSpace(*s)
	}
	// The texts bring their own full stops.
	for _, s := range []*string{&d.Reason, &d.Action, &d.Title} {
		*s = strings.TrimRight(*s, "。．.；;，, ")
	}
	if d.Of != "" {
		d.Of = noticeNo(d.Of)
	}
	for _, l := range []*[]string{&d.Scope.Buildings, &d.Scope.Entrances, &d.Scope.Units, &d.Scope.Roles, &d.Channels, &d.Forms} {
		*l = once(*l)
	}
	return d
}

func once(list []string) []string {
	var out []string
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// noticeNo gives a number its usual form: t12 and T0012 are T0012. What is none
// stays as it is.
func noticeNo(s string) string {
	rest, ok := strings.CutPrefix(strings.ToUpper(strings.TrimSpace(s)), "T")
	if !ok {
		return s
	}
	v, err := strconv.Atoi(strings.TrimSpace(rest))
	if err != nil || v <= 0 {
		return s
	}
	return formatNo(int64(v))
}

func formatNo(n int64) string { return fmt.Sprintf("T%04d", n) }

// answered reads the notice that this one answers and takes from it what was
// not said: topic, project, scope, times, reason, action, contact, channels.
func (e *examiner) answered(ctx context.Context) error {
	x, d := e.x, &e.x.draft
	if !x.kind.Answer {
		if d.Of != "" {
			e.problem("of", "of_wrong", "kind", x.kind.Name)
		}
		return nil
	}
	if d.Of == "" {
		return nil
	}
	of, ok, err := e.n.byNo(ctx, e.n.DB, e.company.ID, d.Of)
	if err != nil {
		return err
	}
	if !ok {
		e.problem("of", "of_unknown", "value", d.Of)
		return nil
	}
	if x.chain, err = e.n.chain(ctx, e.n.DB, of.chainID); err != nil {
		return err
	}
	x.of = &of
	root := x.chain[0]
	rk := e.n.kinds.Kinds[root.Kind]
	switch {
	case of.State == Drafted:
		e.problem("of", "of_draft", "no", of.No)
	case of.over && of.ID != e.self:
		e.problem("of", "of_over", "no", of.No)
	case rk == nil || rk.Topics == "any" || x.kind.EndsChain && rk.Topics != "outage":
		e.problem("of", "of_kind", "no", of.No, "kind", e.kindName(root.Kind))
	}
	if rk != nil {
		r := rulesOf(rk)
		r.Endorse = false
		x.facts.Rules = r
	}
	x.facts.Root = root.No
	eff := effective(x.chain, e.self)
	d.Project, d.Scope, x.projectID = root.ProjectID, eff.Scope, root.ProjectID
	e.fill("topic", &d.Topic, eff.Topic)
	e.fill("reason", &d.Reason, eff.Reason)
	if !x.kind.EndsChain {
		e.fillTime("starts_at", &d.StartsAt, eff.StartsAt.Time)
		e.fillTime("ends_at", &d.EndsAt, eff.EndsAt.Time)
		e.fill("action", &d.Action, eff.Action)
	}
	e.fill("contact", &d.Contact, eff.Contact)
	if len(d.Channels) == 0 {
		d.Channels = slices.Clone(eff.Channels)
		e.filled("channels")
	}
	for _, f := range x.kind.Changes {
		if f == "starts_at" && !d.StartsAt.Equal(eff.StartsAt.Time) || f == "ends_at" && !d.EndsAt.Equal(eff.EndsAt.Time) {
			return nil
		}
	}
	if len(x.kind.Changes) > 0 {
		e.problem(x.kind.Changes[len(x.kind.Changes)-1], "of_same", "no", of.No)
	}
	return nil
}

// effective is what a chain of notices says in the end: the first one with the
// approved changes applied.
func effective(chain []Notice, except string) Draft {
	d := chain[0].Draft
	for _, c := range chain[1:] {
		if c.ID == except || c.ApprovedAt.IsZero() || c.State == Cancelled || c.Kind == "restored" {
			continue
		}
		d.StartsAt, d.EndsAt, d.Reason, d.Action, d.Contact = c.StartsAt, c.EndsAt, c.Reason, c.Action, c.Contact
	}
	return d
}

func (e *examiner) kindName(code string) string {
	if k, ok := e.n.kinds.Kinds[code]; ok {
		return k.Name
	}
	return code
}

func (e *examiner) project(ctx context.Context) error {
	d := &e.x.draft
	list, err := e.n.Estate.Projects(ctx, e.n.DB, e.company.ID)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
		if d.Project != "" && (p.ID == d.Project || p.Name == d.Project) || d.Project == "" && len(list) == 1 {
			if d.Project == "" {
				e.filled("project")
			}
			d.Project, e.x.projectID, e.x.facts.Project = p.ID, p.ID, p.Name
			return nil
		}
	}
	if d.Project == "" {
		e.problem("project", "project_missing", "projects", strings.Join(names, "、"))
		return nil
	}
	e.problem("project", "project_unknown", "value", d.Project)
	return nil
}

func (e *examiner) scope(ctx context.Context) error {
	x, d := e.x, &e.x.draft
	if x.of == nil && x.projectID != "" && !x.kind.Answer {
		list, err := e.n.Estate.CheckScope(ctx, e.n.DB, e.company.ID, e.estateScope())
		if err != nil {
			return err
		}
		for _, p := range list {
			field := "scope"
			if p.Field != "scope" {
				field = "scope." + p.Field
			}
			e.problem(field, "scope_"+scopeReason(p.Reason), "value", p.Value, "project", x.facts.Project)
		}
	}
	word := func(role string) string { return e.n.Book.Label("home_role", role) }
	x.facts.Place, x.facts.PlaceShort = placeOf(d.Scope, word, longestPlace), placeOf(d.Scope, word, longestPlaceShort)
	return nil
}

func scopeReason(r string) string {
	switch r {
	case estate.ScopeUnknown, estate.ScopeBad, estate.ScopeNobody:
		return r
	}
	return estate.ScopeUnknown
}

func (e *examiner) estateScope() estate.Scope {
	s := e.x.draft.Scope
	return estate.Scope{ProjectID: e.x.projectID, Buildings: s.Buildings, Entrances: s.Entrances, Units: s.Units, Floors: s.Floors, Roles: s.Roles, WithVacant: e.company.Settings.NotifyVacant}
}

// topic settles what the notice is about. People may write the Chinese word.
func (e *examiner) topic(context.Context) error {
	x, d := e.x, &e.x.draft
	if code, ok := e.n.Book.Code("topic", d.Topic); ok {
		d.Topic = code
	}
	var allowed map[string]topic
	switch x.kind.Topics {
	case "outage":
		allowed = e.n.kinds.Topics
	case "operation":
		allowed = e.n.kinds.Operations
	}
	if d.Topic == "" {
		return nil
	}
	_, ok := allowed[d.Topic]
	if allowed == nil {
		ok = e.n.Book.Label("topic", d.Topic) != d.Topic
	}
	if ok || x.of != nil {
		return nil
	}
	var names []string
	for _, k := range sortedKeys(allowed) {
		names = append(names, allowed[k].What)
	}
	if allowed == nil {
		for _, l := range e.n.Book.Labels("topic") {
			names = append(names, l.Text)
		}
	}
	e.problem("topic", "topic_unknown", "value", d.Topic, "topics", strings.Join(names, "、"))
	return nil
}

// complete fills what kind, topic and project tell.
func (e *examiner) complete() {
	x, d, k := e.x, &e.x.draft, e.x.kind
	t, _ := e.n.kinds.topicOf(d.Topic)
	if t.What == "" && x.of != nil {
		t.What = x.of.facts.What
	}
	if k.Starts == "now" {
		e.fillTime("starts_at", &d.StartsAt, e.now.Truncate(time.Minute))
	}
	say := func(form string) string {
		for name, v := range map[string]string{"{what}": t.What, "{supply}": t.Supply, "{title}": d.Title} {
			if strings.Contains(form, name) {
				if v == "" {
					return ""
				}
				form = strings.ReplaceAll(form, name, v)
			}
		}
		return form
	}
	e.fill("title", &d.Title, say(k.Title))
	x.facts.What = say(k.What)
	x.facts.RemindWhat = x.facts.What
	if _, work := e.n.kinds.Operations[d.Topic]; work && x.facts.What != "" {
		x.facts.RemindWhat = "进行" + x.facts.What
	}
	if x.facts.What == "" {
		x.facts.What, x.facts.RemindWhat = d.Title, d.Title
	}
	action := t.Action
	if k.EndsChain {
		action = t.Back
	}
	e.fill("action", &d.Action, action)
	e.fill("action", &d.Action, k.Action)
	e.fill("reason", &d.Reason, k.Reason)
	contact := k.Contact
	if contact == inherit {
		contact = x.facts.Rules.Contact
	}
	s := e.company.Settings
	if contact == "hotline" {
		e.fill("contact", &d.Contact, s.Hotline)
	}
	e.fill("contact", &d.Contact, s.ServicePhone)
	e.fill("contact", &d.Contact, s.Hotline)
	if len(d.Channels) == 0 {
		d.Channels = slices.Clone(k.Channels)
		e.filled("channels")
	}
	if k.Answer && x.of != nil && x.facts.Rules.Lane == "" {
		x.facts.Rules.Lane = ledger.LaneNormal
	}
}

// required asks for what is still missing.
func (e *examiner) required() {
	d := e.x.draft
	has := map[string]bool{
		"of": d.Of != "", "topic": d.Topic != "", "title": d.Title != "", "starts_at": !d.StartsAt.IsZero(), "ends_at": !d.EndsAt.IsZero(),
		"reason": d.Reason != "", "action": d.Action != "", "contact": d.Contact != "",
		"scope": !slices.Contains(d.unsaid, "scope") || !d.Scope.whole() || e.x.of != nil,
	}
	for _, f := range e.x.kind.Required {
		if has[f] || e.hasProblem(f) || f != "of" && e.x.kind.Answer && d.Of == "" {
			continue
		}
		e.problem(f, "missing_"+f, "kind", e.x.kind.Name)
	}
}

func (e *examiner) hasProblem(field string) bool {
	return slices.ContainsFunc(e.x.facts.Problems, func(p Problem) bool { return p.Field == field })
}

// times checks when it is, whether it is announced early enough, and
// whom it troubles most.
func (e *examiner) times() {
	x, d, k := e.x, e.x.draft, e.x.kind
	starts, ends := d.StartsAt.Time, d.EndsAt.Time
	switch {
	case !starts.IsZero() && !ends.IsZero() && !ends.After(starts):
		e.problem("ends_at", "ends_before")
	case !ends.IsZero() && !ends.After(e.now) && !k.EndsChain:
		e.problem("ends_at", "ends_past")
	}
	if starts.After(e.now.AddDate(1, 0, 0)) {
		e.problem("starts_at", "starts_far")
	}
	if k.EndsChain && starts.After(e.now.Add(10*time.Minute)) {
		e.problem("starts_at", "starts_future")
	}
	if k.Lead && !starts.IsZero() {
		e.lead(starts)
	}
	sendAt := e.sendAt()
	if v := d.ValidUntil.Time; !v.IsZero() && !v.After(e.now) {
		e.problem("valid_until", "valid_past")
	} else if until := e.validUntil(sendAt); sendAt.After(e.now) && !until.After(sendAt) {
		e.problem("valid_until", "valid_short", "at", wording.When(sendAt, e.now))
	} else if sendAt.After(e.now) {
		e.warn("starts_at", "warn_quiet", "at", wording.When(sendAt, e.now))
	}
	if k.SMSOpen != "" && ends.IsZero() && !starts.IsZero() {
		e.warn("ends_at", "warn_open")
	}
	if (k.Lead || x.of != nil && !x.facts.Rules.Emergency && !k.EndsChain) && ends.After(starts) {
		if at, ok := overlaps(e.n.kinds.meals, starts, ends); ok {
			e.warn("starts_at", "warn_meal", "at", at)
		}
		if _, ok := overlaps(e.n.kinds.night, starts, ends); ok {
			e.warn("starts_at", "warn_night")
		}
	}
}

// lead: planned work is announced a day ahead, or its author says why not.
func (e *examiner) lead(starts time.Time) {
	d, lead := e.x.draft, e.company.Settings.NoticeLead
	hours := strconv.Itoa(int(lead / time.Hour))
	switch {
	case !starts.After(e.now):
		e.problem("starts_at", "starts_past")
	case starts.Sub(e.now) >= lead:
	case d.ShortNotice != "", d.Reason != "" && !slices.Contains(e.x.facts.Filled, "reason"):
		e.warn("short_notice", "warn_short", "hours", hours)
	default:
		e.problem("short_notice", "lead", "hours", hours, "starts", wording.When(starts, e.now))
	}
}

// sendAt is when it would leave if it were approved now: at once, or when quiet
// hours end, unless what it tells of begins before.
func (e *examiner) sendAt() time.Time {
	s := e.company.Settings
	end, quiet := quietEnd(e.now, s.QuietFrom, s.QuietTo)
	if !quiet || e.x.facts.Rules.Ignore {
		return e.now
	}
	if st := e.x.draft.StartsAt.Time; st.After(e.now) && !st.After(end) {
		return e.now
	}
	return end
}

// validUntil is the moment after which nothing of it leaves.
func (e *examiner) validUntil(sendAt time.Time) time.Time {
	d := e.x.draft
	switch {
	case !d.ValidUntil.IsZero():
		return d.ValidUntil.Time
	case !d.EndsAt.IsZero() && !e.x.kind.EndsChain:
		return d.EndsAt.Time
	}
	return sendAt.Add(e.x.kind.ValidFor)
}

func (e *examiner) channels() {
	x, d := e.x, e.x.draft
	for _, c := range d.Channels {
		if c != ledger.ChannelSMS && c != ledger.ChannelTemplate {
			e.problem("channels", "channel_unknown", "value", c)
		}
	}
	for _, f := range d.Forms {
		if !register.ByPerson(f) {
			e.problem("forms", "form_unknown", "value", f)
		}
	}
	if x.kind.SMSNeeded && !e.has(ledger.ChannelSMS) {
		e.problem("channels", "sms_required", "kind", x.kind.Name)
	}
}

// has tells whether a channel is taken.
func (e *examiner) has(channel string) bool { return slices.Contains(e.x.draft.Channels, channel) }

// fallback tells whether a failed template message is followed by an SMS.
func (x *examination) fallback() bool {
	return x.kind.Fallback == ledger.ChannelSMS && !slices.Contains(x.draft.Channels, ledger.ChannelSMS)
}

// texts renders what will be read and names what vendors would refuse.
func (e *examiner) texts() {
	x, d, k := e.x, e.x.draft, e.x.kind
	r := e.n.render(x)
	open := d.EndsAt.IsZero()
	x.sms, x.tmpl = r.sms, r.tmpl
	if e.has(ledger.ChannelSMS) {
		e.smsAccount(pick(k.SMS, k.SMSOpen, open), r.smsProblems)
		x.facts.Segments = wording.Segments(e.sign(), r.sms.Text)
		x.facts.Preview.SMS = "【" + e.sign() + "】" + e.n.preview(x, r.sms.Purpose)
	} else if x.fallback() {
		e.smsAccount(k.SMS, r.smsProblems)
	}
	if e.has(ledger.ChannelTemplate) {
		e.wechatAccounts(r.tmpl.Purpose, r.tmplProblems)
		x.facts.Preview.Template = r.tmpl.Text.String()
	}
	if e.reminds() {
		x.remindSMS, x.remindTmpl = r.remindSMS, r.remindTmpl
		if e.has(ledger.ChannelSMS) {
			e.smsAccount(k.RemindSMS, nil)
		}
		if e.has(ledger.ChannelTemplate) {
			e.wechatAccounts(k.RemindTmpl, nil)
		}
	}
}

// reminds tells whether a reminder before the start still makes sense: when it
// would not follow the notice at once.
func (e *examiner) reminds() bool {
	d, k := e.x.draft, e.x.kind
	if e.x.of != nil && e.x.facts.Rules.Emergency {
		return false
	}
	return k.Remind > 0 && !d.StartsAt.IsZero() && d.StartsAt.Sub(e.now) >= 2*k.Remind
}

func pick(usual, open string, isOpen bool) string {
	if isOpen && open != "" {
		return open
	}
	return usual
}

func (e *examiner) sign() string {
	acc, _ := e.dir.SMSOf(e.company.ID)
	return acc.Sign
}

// rendered are all texts of a notice with their problems.
type rendered struct {
	sms, remindSMS            wording.SMS
	tmpl, remindTmpl          wording.Message
	smsProblems, tmplProblems []wording.ValueProblem
}

// render makes the texts out of the completed draft and its facts. It depends
// on nothing else, so that what was approved is what is sent.
func (n *Notices) render(x *examination) rendered {
	d, k := x.draft, x.kind
	open := d.EndsAt.IsZero()
	sms, tmpl := pick(k.SMS, k.SMSOpen, open), pick(k.Template, k.TemplOpen, open)
	vars := func(what string) wording.Vars {
		return wording.Vars{"place": x.facts.Place, "reason": d.Reason, "what": what, "start": smsTime(d.StartsAt.Time), "end": smsTime(d.EndsAt.Time), "action": d.Action, "phone": d.Contact}
	}
	fields := wording.Vars{"title": d.Title, "place": x.facts.PlaceShort, "reason": d.Reason, "start": longTime(d.StartsAt.Time), "period": period(d.StartsAt.Time, d.EndsAt.Time), "action": d.Action, "phone": d.Contact}
	var r rendered
	r.sms, r.smsProblems = n.Book.LintSMS(sms, vars(x.facts.What), "")
	r.tmpl, r.tmplProblems = n.Book.LintTemplate(tmpl, fields)
	if k.Remind > 0 {
		r.remindSMS, _ = n.Book.LintSMS(k.RemindSMS, vars(x.facts.RemindWhat), "")
		r.remindTmpl, _ = n.Book.LintTemplate(k.RemindTmpl, fields)
	}
	return r
}

// preview shows the SMS with blanks where something is still missing.
func (n *Notices) preview(x *examination, purpose string) string {
	text := x.sms.Text.String()
	tpl, ok := n.Book.SMSTemplateOf(purpose)
	if !ok {
		return text
	}
	text = tpl.Content
	for _, v := range tpl.Vars {
		val := x.sms.Params[v.Name]
		if val == "" {
			val = "＿＿"
		}
		text = strings.ReplaceAll(text, "${"+v.Name+"}", val)
	}
	return text
}

// fieldOf says which field of the draft fills a variable.
var fieldOf = map[string]string{
	"place": "scope", "reason": "reason", "what": "title", "title": "title", "start": "starts_at", "end": "ends_at", "period": "ends_at", "action": "action", "phone": "contact",
}

func (e *examiner) smsAccount(purpose string, problems []wording.ValueProblem) {
	e.values(ledger.ChannelSMS, problems)
	acc, ok := e.dir.SMSOf(e.company.ID)
	if !ok {
		e.once("channels", "no_sms_account")
		return
	}
	if acc.Templates[purpose] == "" {
		tpl, _ := e.n.Book.SMSTemplateOf(purpose)
		e.once("channels", "no_sms_template", "name", tpl.Name, "purpose", purpose)
	}
}

func (e *examiner) wechatAccounts(purpose string, problems []wording.ValueProblem) {
	e.values(ledger.ChannelTemplate, problems)
	found := false
	for _, acc := range e.dir.WeChats() {
		if acc.CompanyID != e.company.ID {
			continue
		}
		found = true
		if acc.Templates[purpose] == "" {
			tpl, _ := e.n.Book.MessageTemplateOf(purpose)
			e.once("channels", "no_template", "name", tpl.Title, "purpose", purpose)
		}
	}
	if !found {
		e.once("channels", "no_wechat_account")
	}
}

// once adds a problem that is not there yet.
func (e *examiner) once(field, key string, kv ...string) {
	p := Problem{field, e.n.words(key, kv...)}
	if !slices.Contains(e.x.facts.Problems, p) {
		e.x.facts.Problems = append(e.x.facts.Problems, p)
	}
}

// values turns what the linter found into words. A missing value was asked for
// before.
func (e *examiner) values(channel string, problems []wording.ValueProblem) {
	ch := e.n.Book.Label("channel", channel)
	for _, p := range problems {
		field := fieldOf[p.Var]
		name := e.n.Book.Label("notice_field", field)
		kv := []string{"field", name, "channel", ch, "have", strconv.Itoa(p.Have), "most", strconv.Itoa(p.Most), "found", p.Found, "why", p.Why}
		switch p.Rule {
		case wording.RuleEmpty, wording.RuleUnknown:
		case wording.RuleDigits, wording.RuleHan, wording.RuleLines:
			e.once(field, "value_form", kv...)
		case wording.RuleText:
			e.once("title", "value_text", kv...)
		default:
			e.once(field, "value_"+p.Rule, kv...)
		}
	}
}

// audience counts whom it reaches and what that costs.
func (e *examiner) audience(ctx context.Context) error {
	x := e.x
	if !e.count || x.projectID == "" || e.hasProblem("scope") || e.hasProblem("scope.buildings") || e.hasProblem("scope.entrances") || e.hasProblem("scope.units") || e.hasProblem("scope.floors") || e.hasProblem("scope.roles") {
		return nil
	}
	var err error
	switch {
	case x.of != nil:
		x.facts.Audience, err = e.n.countTold(ctx, e.n.DB, x)
	case !x.kind.Answer:
		x.facts.Audience, err = e.n.Estate.CountAudience(ctx, e.n.DB, e.company.ID, e.estateScope(), x.options())
	default:
		return nil
	}
	if err != nil {
		return err
	}
	a := x.facts.Audience
	price := e.company.Settings.SMSPriceLi
	if e.has(ledger.ChannelSMS) {
		x.facts.CostFen = fen(a.SMS*x.facts.Segments, price)
		if e.reminds() {
			x.facts.RemindFen = fen(a.SMS*wording.Segments(e.sign(), x.remindSMS.Text), price)
		}
	}
	if x.of != nil {
		return nil
	}
	if x.draft.Scope.whole() {
		e.warn("scope", "warn_whole", "project", x.facts.Project, "households", strconv.Itoa(a.Households))
	}
	switch {
	case a.SMS+a.Template == 0:
		e.warn("scope", "warn_nobody")
	case a.None > 0:
		e.warn("scope", "warn_none", "households", strconv.Itoa(a.None))
	}
	return e.recent(ctx)
}

// fen is the price in whole fen, rounded up; li is a tenth of a fen.
func fen(segments, li int) int { return (segments*li + 9) / 10 }

// options says how the audience is asked for.
func (x *examination) options() estate.AudienceOptions {
	r := x.facts.Rules
	o := estate.AudienceOptions{Channels: x.draft.Channels}
	if r.OptOut == "ignore" {
		o.IgnoreOptOut = true
	} else {
		o.OptOutClass = r.OptOut
	}
	return o
}

// recent warns when one of the buildings had an outage not long ago.
func (e *examiner) recent(ctx context.Context) error {
	x := e.x
	if x.kind.Topics != "outage" || !x.kind.Lead {
		return nil
	}
	since := e.now.AddDate(0, 0, -e.n.kinds.RecentDays)
	list, err := e.n.outagesSince(ctx, e.n.DB, e.company.ID, x.projectID, since)
	if err != nil {
		return err
	}
	mine := buildingsOf(x.draft.Scope)
	for _, o := range list {
		if o.ID == e.self {
			continue
		}
		theirs := buildingsOf(o.Scope)
		place := ""
		switch {
		case mine == nil && theirs == nil:
			place = "全小区"
		case mine == nil:
			place = strings.Join(buildingWords(theirs), "、")
		default:
			var both []string
			for _, b := range mine {
				if theirs == nil || slices.Contains(theirs, b) {
					both = append(both, b)
				}
			}
			place = strings.Join(buildingWords(both), "、")
		}
		if place != "" {
			e.warn("scope", "warn_recent", "place", place, "no", o.No, "at", o.StartsAt.In(localTime()).Format("1月2日"))
			return nil
		}
	}
	return nil
}

// notice puts an examination into a notice.
func (x *examination) into(n *Notice) {
	n.Draft, n.facts = x.draft, x.facts
	n.ProjectID = x.projectID
	n.Emergency = x.facts.Rules.Emergency
	n.chainID = n.ID
	n.OfID = ""
	if x.of != nil {
		n.OfID, n.chainID = x.of.ID, x.of.chainID
	}
	n.show()
}

// show copies the stored facts to where readers look.
func (n *Notice) show() {
	f := n.facts
	n.Place, n.Audience, n.Segments, n.CostFen, n.RemindCostFen = f.Place, f.Audience, f.Segments, f.CostFen, f.RemindFen
	n.Problems, n.Warnings, n.Preview, n.Filled, n.ProjectName = f.Problems, f.Warnings, f.Preview, f.Filled, f.Project
	if n.Problems == nil {
		n.Problems = []Problem{}
	}
	if n.Warnings == nil {
		n.Warnings = []Problem{}
	}
	if n.Audience.Skipped == nil {
		n.Audience.Skipped = map[string]int{}
	}
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("notify: encode: " + err.Error())
	}
	return string(b)
}

// querier is what reads: the database or an open transaction.
type querier = db.Querier
