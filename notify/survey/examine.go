package survey

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/wording"
)

// longestSurvey bounds how long one survey runs.
const longestSurvey = 184 * 24 * time.Hour

// examination is a draft completed and checked.
type examination struct {
	draft     Draft
	facts     facts
	form      Questionnaire
	projectID string
	invite    texts4
}

// texts4 are the texts that a survey sends.
type texts4 struct {
	sms, remindSMS   wording.SMS
	tmpl, remindTmpl wording.Message
}

type examiner struct {
	s       *Surveys
	company company.Company
	dir     *company.Directory
	now     time.Time
	x       *examination
}

func (e *examiner) problem(field, key string, kv ...string) {
	p := Problem{Field: field, Message: e.s.words(key, kv...)}
	if !slices.Contains(e.x.facts.Problems, p) {
		e.x.facts.Problems = append(e.x.facts.Problems, p)
	}
}

func (e *examiner) warn(field, key string, kv ...string) {
	e.x.facts.Warnings = append(e.x.facts.Warnings, Problem{Field: field, Message: e.s.words(key, kv...)})
}

func (e *examiner) filled(field string) {
	if !slices.Contains(e.x.facts.Filled, field) {
		e.x.facts.Filled = append(e.x.facts.Filled, field)
	}
}

// examine completes a draft, checks it, and counts whom it would ask when asked
// to. It writes nothing.
func (s *Surveys) examine(ctx context.Context, companyID string, d Draft, count bool) (*examination, error) {
	c, dir, err := s.settings(ctx, companyID)
	if err != nil {
		return nil, err
	}
	x := &examination{draft: tidy(d), facts: facts{Problems: []Problem{}, Warnings: []Problem{}, Filled: []string{}}}
	e := &examiner{s: s, company: c, dir: dir, now: s.now(), x: x}
	e.kind()
	if err := e.place(ctx); err != nil {
		return nil, err
	}
	e.sample()
	e.times()
	e.channels()
	e.x.invite = e.texts()
	if !count {
		return x, nil
	}
	return x, e.audience(ctx)
}

// tidy takes away what nobody meant: blanks, doubles.
func tidy(d Draft) Draft {
	for _, s := range []*string{&d.Kind, &d.Title, &d.Project, &d.Questionnaire, &d.Count, &d.Scope.Floors} {
		*s = strings.TrimSpace(*s)
	}
	for _, l := range []*[]string{&d.Scope.Buildings, &d.Scope.Entrances, &d.Scope.Units, &d.Scope.Roles, &d.Channels} {
		var out []string
		for _, v := range *l {
			if v = strings.TrimSpace(v); v != "" && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
		*l = out
	}
	if d.Sample != nil {
		own := *d.Sample
		d.Sample = &own
	}
	return d
}

func (e *examiner) kind() {
	d := &e.x.draft
	if d.Kind == "" {
		d.Kind = string(Periodic)
		e.filled("kind")
	}
	if k := Kind(d.Kind); k != Periodic && k != Event {
		e.problem("kind", "kind_unknown", "kind", d.Kind)
	}
	if d.Questionnaire == "" {
		d.Questionnaire = halfYear
		e.filled("questionnaire")
	}
	form, ok := e.s.forms[d.Questionnaire]
	if !ok || Kind(form.Code).Standing() {
		var names []string
		for _, q := range e.s.Forms() {
			names = append(names, q.Code)
		}
		e.problem("questionnaire", "form_unknown", "value", d.Questionnaire, "forms", strings.Join(names, "、"))
	}
	e.x.form = form
	switch n := utf8.RuneCountInString(d.Title); {
	case n == 0:
		e.problem("title", "title_missing")
	case n > maxTitle:
		e.problem("title", "title_long", "most", strconv.Itoa(maxTitle))
	}
	if d.Count == "" {
		d.Count = CountPerson
		e.filled("count")
	}
	if d.Count != CountPerson && d.Count != CountHome {
		e.problem("count", "count_unknown")
	}
	if d.Anonymous && d.Count == CountHome {
		e.problem("count", "anonymous_home")
	}
}

func (e *examiner) place(ctx context.Context) error {
	d := &e.x.draft
	list, err := e.s.Estate.Projects(ctx, e.s.DB, e.company.ID)
	if err != nil {
		return fmt.Errorf("survey: projects: %w", err)
	}
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
		if d.Project != "" && (p.ID == d.Project || p.Name == d.Project) || d.Project == "" && len(list) == 1 {
			d.Project, e.x.projectID, e.x.facts.Project = p.ID, p.ID, p.Name
		}
	}
	e.x.facts.Place = d.Scope.Words(func(role string) string { return e.s.Book.Label("home_role", role) })
	if e.x.projectID == "" {
		if d.Project == "" {
			e.problem("project", "project_missing", "projects", strings.Join(names, "、"))
			return nil
		}
		e.problem("project", "project_unknown", "value", d.Project)
		return nil
	}
	bad, err := e.s.Estate.CheckScope(ctx, e.s.DB, e.company.ID, e.scope())
	if err != nil {
		return fmt.Errorf("survey: check scope: %w", err)
	}
	for _, p := range bad {
		field, reason := "scope", p.Reason
		if p.Field != "scope" {
			field = "scope." + p.Field
		}
		if reason != estate.ScopeBad && reason != estate.ScopeNobody {
			reason = estate.ScopeUnknown
		}
		e.problem(field, "scope_"+reason, "value", p.Value, "project", e.x.facts.Project)
	}
	return nil
}

func (e *examiner) scope() estate.Scope { return scopeOf(e.x.projectID, e.x.draft.Scope) }

func scopeOf(projectID string, s Scope) estate.Scope {
	return estate.Scope{ProjectID: projectID, Buildings: s.Buildings, Entrances: s.Entrances, Units: s.Units, Floors: s.Floors, Roles: s.Roles}
}

func (e *examiner) sample() {
	s := e.x.draft.Sample
	if s == nil {
		return
	}
	switch {
	case s.Share != 0 && s.PerBuilding != 0:
		e.problem("sample", "sample_both")
	case s.Share == 0 && s.PerBuilding == 0, s.Share < 0, s.Share > 1, s.Share > 0 && s.Share < 1e-6, s.Share != s.Share:
		if s.PerBuilding == 0 {
			e.problem("sample.share", "sample_share")
		}
	}
	if s.PerBuilding < 0 {
		e.problem("sample.per_building", "sample_quota")
	}
	if s.Seed < 0 {
		e.problem("sample.seed", "sample_seed")
	}
	if s.Seed == 0 {
		s.Seed = drawSeed()
		e.filled("sample.seed")
	}
}

// drawSeed draws a number that people can read out.
func drawSeed() int64 {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 1 // the system's source does not fail
	}
	return int64(binary.BigEndian.Uint32(b[:])%999_999) + 1
}

func (e *examiner) times() {
	d, s := &e.x.draft, e.company.Settings
	begin := e.now
	if d.StartsAt.After(e.now) {
		begin = d.StartsAt.Time
	}
	if d.EndsAt.IsZero() {
		end := begin.AddDate(0, 0, s.SurveyDays).In(localTime())
		y, m, day := end.Date()
		d.EndsAt = Time{Time: hoursEnd(time.Date(y, m, day, 0, 0, 0, 0, localTime()), s.SurveyTo)}
		e.filled("ends_at")
	}
	switch {
	case !d.EndsAt.After(begin):
		e.problem("ends_at", "ends_before")
	case d.EndsAt.Sub(e.now) > 2*longestSurvey, d.EndsAt.Sub(begin) > longestSurvey:
		e.problem("ends_at", "ends_far")
	}
	if d.RemindAfterDays == nil {
		days := s.SurveyRemindDays
		d.RemindAfterDays = &days
		e.filled("remind_after_days")
		if d.EndsAt.Sub(begin) <= time.Duration(days)*24*time.Hour {
			days = 0 // too short to remind anybody
		}
		return
	}
	if n := *d.RemindAfterDays; n < 0 || n > 0 && d.EndsAt.Sub(begin) <= time.Duration(n)*24*time.Hour {
		e.problem("remind_after_days", "remind_bad", "days", strconv.Itoa(int(d.EndsAt.Sub(begin)/(24*time.Hour))))
	}
	if at := permitted(begin, s.SurveyFrom, s.SurveyTo); !at.Equal(begin) {
		e.warn("starts_at", "warn_hours", "at", wording.When(at, e.now))
	}
}

func (e *examiner) channels() {
	d := &e.x.draft
	if len(d.Channels) == 0 {
		d.Channels = []string{ChannelTemplate, ChannelSMS}
		if d.Anonymous {
			d.Channels = []string{ChannelTemplate}
		}
		e.filled("channels")
	}
	for _, c := range d.Channels {
		if c != ChannelTemplate && c != ChannelSMS {
			e.problem("channels", "channel_unknown", "value", c)
		}
	}
	if d.Anonymous && slices.Contains(d.Channels, ChannelSMS) {
		e.problem("channels", "anonymous_sms")
	}
	if slices.Contains(d.Channels, ChannelSMS) {
		e.s.smsAllowed(e.dir, e.company.ID, []string{purposeInvite, purposeRemind}, e.problem)
	}
	if slices.Contains(d.Channels, ChannelTemplate) {
		e.wechat()
	}
}

// smsAllowed names what keeps a company from asking by SMS: no account, no
// registered text, or one that its carrier does not allow for this.
func (s *Surveys) smsAllowed(dir *company.Directory, companyID string, purposes []string, problem func(field, key string, kv ...string)) bool {
	acc, ok := dir.SMSOf(companyID)
	if !ok {
		problem("channels", "no_sms_account")
		return false
	}
	good := true
	for _, p := range purposes {
		tpl, known := s.Book.SMSTemplateOf(p)
		switch {
		case !known || !tpl.Survey:
			problem("channels", "sms_not_allowed", "name", tpl.Name, "purpose", p)
		case acc.Templates[p] == "":
			problem("channels", "no_sms_template", "name", tpl.Name, "purpose", p)
		default:
			continue
		}
		good = false
	}
	return good
}

// needsConsent tells whether an SMS goes only to those who consented to it.
func (s *Surveys) needsConsent(purpose string) bool {
	tpl, _ := s.Book.SMSTemplateOf(purpose)
	return tpl.Class == "promo"
}

func (e *examiner) wechat() {
	if e.s.PublicURL == "" {
		e.problem("channels", "no_link")
	}
	found := false
	for _, acc := range e.dir.WeChats() {
		if acc.CompanyID != e.company.ID {
			continue
		}
		found = true
		if acc.Templates[purposeInvite] == "" {
			tpl, _ := e.s.Book.MessageTemplateOf(purposeInvite)
			e.problem("channels", "no_template", "name", tpl.Title, "purpose", purposeInvite)
		}
	}
	if !found {
		e.problem("channels", "no_wechat_account")
	}
}

// texts renders what will be read and names what vendors would refuse.
func (e *examiner) texts() texts4 {
	d, f := e.x.draft, &e.x.facts
	sign := ""
	if acc, ok := e.dir.SMSOf(e.company.ID); ok {
		sign = acc.Sign
	}
	t, problems := e.s.render(e.company, d, f.Project, sign)
	for _, p := range problems {
		field := map[string]string{"title": "title", "end": "ends_at", "phone": "channels"}[p.Var]
		if field == "" {
			field = "title"
		}
		if !slices.ContainsFunc(f.Problems, func(x Problem) bool { return x.Field == field }) {
			why := p.Why
			if why == "" {
				why = p.Var + " " + p.Rule
			}
			e.problem(field, "value_bad", "value", why)
		}
	}
	if slices.Contains(d.Channels, ChannelSMS) {
		f.Preview.SMS = "【" + sign + "】" + t.sms.Text.String()
		f.Segments = wording.Segments(sign, t.sms.Text)
	}
	if slices.Contains(d.Channels, ChannelTemplate) {
		f.Preview.Template = t.tmpl.Text.String()
	}
	return t
}

// render makes the texts out of a completed draft. It depends on nothing else,
// so that what was approved is what is sent.
func (s *Surveys) render(c company.Company, d Draft, project, sign string) (t texts4, problems []wording.ValueProblem) {
	sms := wording.Vars{"title": neutral(d.Title), "end": d.EndsAt.In(localTime()).Format("1月2日 15:04"), "phone": phoneOf(c.Settings)}
	tmpl := func(title, hint string) wording.Vars {
		return wording.Vars{"title": title, "project": cut(project, 20), "hint": hint, "end": d.EndsAt.In(localTime()).Format("2006年1月2日 15:04")}
	}
	var bad []wording.ValueProblem
	if slices.Contains(d.Channels, ChannelSMS) {
		t.sms, bad = s.Book.LintSMS(purposeInvite, sms, sign)
		problems = append(problems, bad...)
		t.remindSMS, bad = s.Book.LintSMS(purposeRemind, sms, sign)
		problems = append(problems, bad...)
	}
	if slices.Contains(d.Channels, ChannelTemplate) {
		for hint, into := range map[string]*wording.Message{"invite": &t.tmpl, "remind": &t.remindTmpl} {
			word := s.Book.Label("survey_hint", hint)
			// The linter knows the carriers' words, which are theirs alone: within
			// WeChat a survey is called what it is.
			*into, bad = s.Book.LintTemplate(purposeInvite, tmpl(neutral(d.Title), word))
			problems = append(problems, bad...)
			if named, err := s.Book.Template(purposeInvite, tmpl(d.Title, word)); err == nil {
				*into = named
			}
		}
	}
	return t, problems
}

// neutralWords are what carriers refuse in a notification, and what stands there
// instead: an SMS asks as a 服务回访, whatever the survey is called on its page.
var neutralWords = strings.NewReplacer("满意度问卷调查", "服务评价", "满意度调查问卷", "服务评价", "满意度调查", "服务评价", "问卷调查", "服务评价", "调查问卷", "服务评价",
	"满意度问卷", "服务评价", "调查", "评价", "问卷", "评价", "调研", "评价")

func neutral(title string) string { return neutralWords.Replace(title) }

func phoneOf(s company.Settings) string {
	if s.ServicePhone != "" {
		return s.ServicePhone
	}
	return s.Hotline
}

func cut(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n])
}

// audience counts who would be asked, and who not and why.
func (e *examiner) audience(ctx context.Context) error {
	x := e.x
	x.facts.Audience.Skipped = map[string]int{}
	if x.projectID == "" || len(x.facts.Problems) > 0 && hasField(x.facts.Problems, "scope") {
		return nil
	}
	q, err := e.s.sampleQuery(ctx, e.company, e.dir, x.projectID, x.draft)
	if err != nil {
		return err
	}
	if x.facts.Audience, err = e.s.countSample(ctx, e.s.DB, q); err != nil {
		return err
	}
	a := x.facts.Audience
	x.facts.CostFen = (a.SMS*x.facts.Segments*e.company.Settings.SMSPriceLi + 9) / 10
	if a.Template+a.SMS == 0 {
		e.problem("scope", "nobody")
	}
	if a.Waiting > 0 {
		e.warn("scope", "warn_waiting", "count", strconv.Itoa(a.Waiting))
	}
	return nil
}

func hasField(list []Problem, field string) bool {
	return slices.ContainsFunc(list, func(p Problem) bool { return strings.HasPrefix(p.Field, field) })
}

// into writes what was found out onto a survey.
func (x *examination) into(s *Survey) {
	s.Draft, s.ProjectID, s.Form = x.draft, x.projectID, x.form
	held, sent := s.facts.held, s.facts.LastSent
	s.facts = x.facts
	s.facts.held, s.facts.LastSent = held, sent
	s.show()
}

// querySample is one statement that yields the people of a sample, each once:
// resident_id, name, unit_id, unit, building, channel, account_id, address,
// skip_code.
type querySample struct {
	text string
	args []any
	// troubled are buildings whose people wait; all: everybody does.
	troubled []string
	all      bool
}

// sampleQuery builds the statement of a survey's sample. Who is asked of a
// household is everybody who lives or trades there, each by one way:
// template message before SMS. The same seed over the same homes gives the same
// sample: homes are numbered by their code, the number is scrambled with the
// seed by steps that both engines compute alike, and the smallest are taken.
func (s *Surveys) sampleQuery(ctx context.Context, c company.Company, dir *company.Directory, projectID string, d Draft) (querySample, error) {
	var q querySample
	channels := []string{}
	for _, ch := range d.Channels {
		if ch == ChannelTemplate || ch == ChannelSMS {
			channels = append(channels, ch)
		}
	}
	people, args := s.Estate.Audience(c.ID, scopeOf(projectID, d.Scope), estate.AudienceOptions{OptOutClass: optOutClass, Channels: channels})
	param := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	staffHomes, err := s.staffHomes(ctx, c, d)
	if err != nil {
		return q, err
	}
	if q.troubled, q.all, err = s.troubled(ctx, c.ID, projectID); err != nil {
		return q, err
	}
	now := s.now()
	company := "cast(" + param(c.ID) + " as text)"
	with, where := `a AS MATERIALIZED (`+people+`)`, ""
	if d.Sample != nil {
		seed := "cast(" + param(d.Sample.Seed%2147483647) + " as bigint)"
		by, limit := "", ""
		if d.Sample.PerBuilding > 0 {
			by, limit = "PARTITION BY building ", "cast("+param(int64(d.Sample.PerBuilding))+" as bigint)"
		} else {
			limit = "(total * cast(" + param(int64(d.Sample.Share*1e6+0.5)) + " as bigint) + 999999) / 1000000"
		}
		with += `,
			u1 AS (SELECT unit_id, unit, building, row_number() OVER (ORDER BY unit) AS i, count(*) OVER () AS total FROM (SELECT DISTINCT unit_id, unit, building FROM a WHERE resident_id <> '') u),
			u2 AS (SELECT unit_id, unit, building, total, i, (i * 48271 + ` + seed + ` * 69621) % 2147483647 AS h FROM u1),
			u3 AS (SELECT unit_id, unit, building, total, i, (h * h) % 2147483647 AS h FROM u2),
			u4 AS (SELECT unit_id, unit, building, total, (h * 16807 + i) % 2147483647 AS h FROM u3),
			chosen AS MATERIALIZED (SELECT unit_id FROM (SELECT unit_id, total, row_number() OVER (` + by + `ORDER BY (h * h) % 2147483647, unit) AS place FROM u4) u WHERE place <= ` + limit + `)`
		where = ` AND unit_id IN (SELECT unit_id FROM chosen)`
	}
	consent := ""
	if slices.Contains(channels, ChannelSMS) && s.needsConsent(purposeInvite) {
		consent = ` WHEN channel = 'sms' AND resident_id NOT IN (SELECT resident_id FROM sms_consents WHERE company_id = ` + company + `) THEN '` + SkipConsent + `'`
	}
	homes := ""
	if len(staffHomes) > 0 {
		homes = ` WHEN b.unit_id ` + db.InStrings(s.DB, param(db.Strings(s.DB, staffHomes))) + ` THEN '` + SkipStaff + `'`
	}
	lately := ""
	if days := c.Settings.SurveyRestDays; days > 0 {
		lately = ` WHEN b.resident_id IN (SELECT person FROM survey_invitations WHERE company_id = ` + company + ` AND asked_at > ` + param(db.At(now.AddDate(0, 0, -days))) + `) THEN '` + SkipLately + `'`
	}
	q.text = `
		WITH ` + with + `,
		w AS (SELECT resident_id, name, unit_id, unit, building, channel, account_id, address,
		             CASE WHEN channel = '' THEN '` + SkipNoAddress + `' WHEN skip_code <> '' THEN skip_code` + consent + ` ELSE '' END AS skip_code
		      FROM a WHERE resident_id <> ''` + where + `),
		b AS (SELECT w.*, row_number() OVER (PARTITION BY resident_id ORDER BY
		             CASE WHEN skip_code = '' THEN CASE WHEN channel = 'template' THEN 0 ELSE 1 END WHEN channel <> '' THEN 2 ELSE 3 END, unit, address) AS place FROM w)
		SELECT b.resident_id, b.name, b.unit_id, b.unit, b.building, b.channel, b.account_id, b.address,
		       CASE WHEN b.resident_id IN (SELECT resident_id FROM mutes WHERE company_id = ` + company + ` AND until > ` + param(db.At(now)) + `) THEN '` + SkipMuted + `'` +
		homes + lately + ` ELSE b.skip_code END AS skip_code
		FROM b WHERE b.place = 1`
	q.args = args
	return q, nil
}

// optOutClass is how opt_outs call what is of choice, as 「退订」 in chat says it:
// surveys are, as notices of convenience are.
const optOutClass = "optional"

// staffHomes are the homes of those who work for the company, by their phones,
// where the survey or the company wishes to leave them out.
func (s *Surveys) staffHomes(ctx context.Context, c company.Company, d Draft) ([]string, error) {
	skip := c.Settings.SurveySkipStaff
	if d.SkipStaff != nil {
		skip = *d.SkipStaff
	}
	if !skip {
		return nil, nil
	}
	members, err := s.Staff.All(ctx, s.DB, c.ID)
	if err != nil {
		return nil, fmt.Errorf("survey: read staff: %w", err)
	}
	var units []string
	for _, m := range members {
		if m.Phone == "" || m.Left {
			continue
		}
		r, ok, err := s.Estate.ResidentByPhone(ctx, s.DB, c.ID, m.Phone)
		if err != nil {
			return nil, fmt.Errorf("survey: read the homes of staff: %w", err)
		}
		if !ok {
			continue
		}
		for _, h := range r.Homes {
			units = append(units, h.UnitID)
		}
	}
	return units, nil
}

// countSample counts what a sample yields.
func (s *Surveys) countSample(ctx context.Context, q querier, sample querySample) (Audience, error) {
	a := Audience{Skipped: map[string]int{}}
	args := slices.Clone(sample.args)
	waits := "0"
	switch {
	case sample.all:
		waits = "1"
	case len(sample.troubled) > 0:
		args = append(args, db.Strings(q, sample.troubled))
		waits = "CASE WHEN building " + db.InStrings(q, "$"+strconv.Itoa(len(args))) + " THEN 1 ELSE 0 END"
	}
	// One scan: every household is counted by the first of its people.
	rows, err := q.QueryContext(ctx, `
		SELECT channel, skip_code, count(*), coalesce(sum(waits), 0), coalesce(sum(CASE WHEN k = 1 THEN 1 ELSE 0 END), 0)
		FROM (SELECT channel, skip_code, `+waits+` AS waits, row_number() OVER (PARTITION BY unit_id) AS k FROM (`+sample.text+`) x) y
		GROUP BY channel, skip_code`, args...)
	if err != nil {
		return a, fmt.Errorf("survey: count the sample: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var channel, skip string
		var n, waiting, homes int
		if err := rows.Scan(&channel, &skip, &n, &waiting, &homes); err != nil {
			return a, fmt.Errorf("survey: count the sample: %w", err)
		}
		a.People += n
		a.Households += homes
		switch {
		case skip != "":
			a.Skipped[skip] += n
			a.None += n
			continue
		case channel == ChannelTemplate:
			a.Template += n
		default:
			a.SMS += n
		}
		a.Waiting += waiting
	}
	return a, rows.Err()
}
