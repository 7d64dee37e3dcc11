package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"guanjia/internal/company"
	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// companyFile is a company as company.yaml says it (deploy/company.example.yaml).
type companyFile struct {
	ID           string         `yaml:"id"`
	Name         string         `yaml:"name"`
	Short        string         `yaml:"short"`
	Settings     map[string]any `yaml:"settings"`
	Projects     []fileProject  `yaml:"projects"`
	WeChat       []fileWeChat   `yaml:"wechat"`
	Bots         []fileBot      `yaml:"bots"`
	Corp         *fileCorp      `yaml:"corp"`
	Webhooks     []fileWebhook  `yaml:"webhooks"`
	SMS          *fileSMS       `yaml:"sms"`
	Staff        []fileMember   `yaml:"staff"`
	ConsoleUsers []fileUser     `yaml:"console_users"`
	APITokens    []fileToken    `yaml:"api_tokens"`
}

type fileProject struct {
	Name          string      `yaml:"name"`
	ServiceCenter string      `yaml:"service_center"`
	Queues        []fileQueue `yaml:"queues"`
}

type fileQueue struct {
	Line    string            `yaml:"line"`
	Name    string            `yaml:"name"`
	Members []fileQueueMember `yaml:"members"`
	Groups  []fileGroup       `yaml:"groups"`
}

// fileQueueMember is a userid, or one with a capacity of his own.
type fileQueueMember struct {
	UserID   string `yaml:"userid"`
	Capacity int    `yaml:"capacity"`
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (m *fileQueueMember) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		m.UserID = n.Value
		return nil
	}
	type plain fileQueueMember
	return decodeStrict(n, (*plain)(m), "userid", "capacity")
}

type fileGroup struct {
	ChatID string `yaml:"chatid"`
	Name   string `yaml:"name"`
	Bot    string `yaml:"bot"` // bot_id; the first bot when empty
}

type fileWeChat struct {
	Path       string            `yaml:"path"`
	AppID      string            `yaml:"app_id"`
	OriginalID string            `yaml:"original_id"`
	Mode       string            `yaml:"mode"`
	Secret     secretRef         `yaml:"secret"`
	Token      secretRef         `yaml:"token"`
	AESKey     secretRef         `yaml:"encoding_aes_key"`
	PrevAESKey secretRef         `yaml:"previous_encoding_aes_key"`
	Templates  map[string]string `yaml:"templates"`
}

type fileBot struct {
	BotID  string    `yaml:"bot_id"`
	Name   string    `yaml:"name"`
	Secret secretRef `yaml:"secret"`
}

type fileCorp struct {
	CorpID  string    `yaml:"corp_id"`
	AgentID int       `yaml:"agent_id"`
	Secret  secretRef `yaml:"secret"`
}

type fileWebhook struct {
	ChatID string    `yaml:"chatid"`
	Key    secretRef `yaml:"key"`
}

type fileSMS struct {
	AccessKeyID     string            `yaml:"access_key_id"`
	AccessKeySecret secretRef         `yaml:"access_key_secret"`
	Sign            string            `yaml:"sign"`
	CallbackSecret  secretRef         `yaml:"callback_secret"` // drawn when empty
	Templates       map[string]string `yaml:"templates"`
}

type fileMember struct {
	UserID  string `yaml:"userid"`
	Name    string `yaml:"name"`
	Role    string `yaml:"role"`
	Phone   string `yaml:"phone"`
	Trainee bool   `yaml:"trainee"`
	Left    bool   `yaml:"left"`
	WeComID string `yaml:"wecom_id"`
}

type fileUser struct {
	User     string    `yaml:"user"`
	UserID   string    `yaml:"userid"`
	Admin    bool      `yaml:"admin"`
	Password secretRef `yaml:"password"`
}

type fileToken struct {
	Name   string    `yaml:"name"`
	UserID string    `yaml:"userid"`
	Admin  bool      `yaml:"admin"`
	Token  secretRef `yaml:"token"`
}

// secretRef says where a secret stands: in a file or an environment variable,
// never in company.yaml itself, which is kept, copied and mailed about.
type secretRef struct {
	File string `yaml:"file"`
	Env  string `yaml:"env"`
	open bool   // somebody wrote the secret itself
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *secretRef) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		s.open = n.Tag != "!!null" && n.Value != ""
		return nil
	}
	type plain secretRef
	return decodeStrict(n, (*plain)(s), "file", "env")
}

// decodeStrict decodes a mapping that may have these keys only: KnownFields does
// not reach into a type's own decoder.
func decodeStrict(n *yaml.Node, into any, keys ...string) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: must be a mapping of %s", n.Line, strings.Join(keys, ", "))
	}
	for i := 0; i < len(n.Content); i += 2 {
		if !slices.Contains(keys, n.Content[i].Value) {
			return fmt.Errorf("line %d: there is no key %s here; use %s", n.Content[i].Line, n.Content[i].Value, strings.Join(keys, ", "))
		}
	}
	return n.Decode(into)
}

// FileProblem is one thing that is wrong with company.yaml. Field is the place,
// such as wechat[0].mode.
type FileProblem struct{ Field, What string }

// FileProblems are all of them.
type FileProblems []FileProblem

func (p FileProblems) Error() string {
	lines := make([]string, len(p))
	for i, v := range p {
		lines[i] = v.Field + ": " + v.What
	}
	return strings.Join(lines, "\n")
}

// maxCompanyFile and maxSecretFile bound what is read, in bytes.
const (
	maxCompanyFile = 4 << 20
	maxSecretFile  = 64 << 10
)

func readCompanyFile(r io.Reader) (companyFile, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxCompanyFile+1))
	if err != nil {
		return companyFile{}, fmt.Errorf("read the company file: %w", err)
	}
	if len(raw) > maxCompanyFile {
		return companyFile{}, fmt.Errorf("the company file is larger than %d bytes", maxCompanyFile)
	}
	var f companyFile
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		if errors.Is(err, io.EOF) {
			return companyFile{}, errors.New("the company file is empty; deploy/company.example.yaml shows one")
		}
		return companyFile{}, fmt.Errorf("the company file cannot be read: %w", err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return companyFile{}, errors.New("the company file holds more than one document; one file is one company")
	}
	return f, nil
}

// companyPlan is a checked file with its secrets.
type companyPlan struct {
	file     companyFile
	company  company.Company
	wechats  []company.WeChatAccount // without ids
	bots     []company.WeComBot
	corp     *company.WeComCorp
	webhooks []company.Webhook
	sms      *company.SMSAccount
	staff    []staff.Member
	password map[string]string // console user -> password, where the file gives one
	tokens   []string          // secrets, as in the file's order
}

// checker gathers what is wrong.
type checker struct {
	environ []string
	found   FileProblems
}

func (c *checker) add(field, format string, args ...any) {
	c.found = append(c.found, FileProblem{field, fmt.Sprintf(format, args...)})
}

func (c *checker) need(field, value string) {
	if strings.TrimSpace(value) == "" {
		c.add(field, "is missing")
	}
}

// secret reads a secret from where it stands.
func (c *checker) secret(field string, s secretRef, required bool) string {
	switch {
	case s.open:
		c.add(field, "write no secret here; write {file: /path} or {env: NAME}")
	case s.File != "" && s.Env != "":
		c.add(field, "give file or env, not both")
	case s.File != "":
		b, err := readSecretFile(s.File)
		if err != nil {
			c.add(field, "%v", err)
			return ""
		}
		return c.filled(field, strings.TrimSpace(string(b)), "the file "+s.File)
	case s.Env != "":
		for _, e := range c.environ {
			if name, value, _ := strings.Cut(e, "="); name == s.Env {
				return c.filled(field, strings.TrimSpace(value), "the variable "+s.Env)
			}
		}
		c.add(field, "the variable %s is not set", s.Env)
	case required:
		c.add(field, "is missing; write {file: /path} or {env: NAME}")
	}
	return ""
}

func (c *checker) filled(field, value, where string) string {
	if value == "" {
		c.add(field, "%s is empty", where)
	}
	return value
}

func readSecretFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open its file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile))
	if err != nil {
		return nil, fmt.Errorf("read its file: %w", err)
	}
	return b, nil
}

var (
	companyID  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,39}$`)
	userName   = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)
	pathName   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	smsPurpose = regexp.MustCompile(`^SMS_[0-9]+$`)
)

// lines are the business lines that a queue may have.
var lines = []string{desk.LineCustomerService, desk.LineEngineering, desk.LineOrderSecurity, desk.LineEnvironment}

// check validates a file; settings are those that the file's stand on: the
// company's own, or the defaults.
func check(f companyFile, book *wording.Book, environ []string, settings company.Settings) (companyPlan, error) {
	c := &checker{environ: environ}
	p := companyPlan{file: f, password: map[string]string{}, company: company.Company{ID: f.ID, Name: strings.TrimSpace(f.Name), Short: strings.TrimSpace(f.Short)}}
	if !companyID.MatchString(f.ID) {
		c.add("id", "must be 2 to 40 lower-case letters, digits and dashes; it never changes")
	}
	c.need("name", f.Name)
	c.need("short", f.Short)
	p.company.Settings = c.settings(f.Settings, settings)
	c.accounts(&p, book)
	c.people(&p)
	c.projects(p)
	if len(c.found) > 0 {
		return companyPlan{}, c.found
	}
	return p, nil
}

func (c *checker) settings(given map[string]any, s company.Settings) company.Settings {
	if len(given) == 0 {
		return s
	}
	raw, err := json.Marshal(given)
	if err != nil {
		c.add("settings", "cannot be read: %v", err)
		return s
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		c.add("settings", "%v", err)
		return s
	}
	if err := s.Check(); err != nil {
		c.add("settings", "%v", err)
	}
	return s
}

func (c *checker) accounts(p *companyPlan, book *wording.Book) {
	f := p.file
	for i, w := range f.WeChat {
		at := fmt.Sprintf("wechat[%d].", i)
		if !pathName.MatchString(w.Path) {
			c.add(at+"path", "must be 1 to 64 letters, digits, - and _: it is the end of the address /wechat/...")
		}
		c.need(at+"app_id", w.AppID)
		if !strings.HasPrefix(w.OriginalID, "gh_") {
			c.add(at+"original_id", "must be the gh_... that the platform shows under account information")
		}
		a := company.WeChatAccount{
			CompanyID: f.ID, Path: w.Path, AppID: w.AppID, OriginalID: w.OriginalID, Mode: w.Mode, Templates: w.Templates,
			Secret: c.secret(at+"secret", w.Secret, true), Token: c.secret(at+"token", w.Token, true),
			AESKey: c.secret(at+"encoding_aes_key", w.AESKey, w.Mode != company.ModePlain), PrevAESKey: c.secret(at+"previous_encoding_aes_key", w.PrevAESKey, false),
		}
		if !slices.Contains([]string{company.ModePlain, company.ModeCompatible, company.ModeEncrypted}, w.Mode) {
			c.add(at+"mode", "must be plain, compatible or encrypted, as the platform's page says; choose encrypted")
		} else if w.Mode != company.ModePlain && a.AESKey != "" && len(a.AESKey) != 43 {
			c.add(at+"encoding_aes_key", "must be the 43 characters shown on the platform's page")
		}
		for purpose := range w.Templates {
			if _, ok := book.MessageTemplateOf(purpose); !ok {
				c.add(at+"templates."+purpose, "there is no such template message; known: %s", strings.Join(messagePurposes(book), ", "))
			}
		}
		p.wechats = append(p.wechats, a)
	}
	for i, b := range f.Bots {
		at := fmt.Sprintf("bots[%d].", i)
		c.need(at+"bot_id", b.BotID)
		c.need(at+"name", b.Name)
		p.bots = append(p.bots, company.WeComBot{CompanyID: f.ID, BotID: b.BotID, Name: b.Name, Secret: c.secret(at+"secret", b.Secret, true)})
	}
	if f.Corp != nil {
		c.need("corp.corp_id", f.Corp.CorpID)
		if f.Corp.AgentID <= 0 {
			c.add("corp.agent_id", "must be the number that WeCom shows for the application")
		}
		p.corp = &company.WeComCorp{CompanyID: f.ID, CorpID: f.Corp.CorpID, AgentID: f.Corp.AgentID, Secret: c.secret("corp.secret", f.Corp.Secret, true)}
	}
	for i, w := range f.Webhooks {
		at := fmt.Sprintf("webhooks[%d].", i)
		c.need(at+"chatid", w.ChatID)
		p.webhooks = append(p.webhooks, company.Webhook{CompanyID: f.ID, ChatID: w.ChatID, Key: c.secret(at+"key", w.Key, true)})
	}
	if f.SMS != nil {
		c.sms(p, book)
	}
}

func (c *checker) sms(p *companyPlan, book *wording.Book) {
	s := p.file.SMS
	c.need("sms.access_key_id", s.AccessKeyID)
	c.need("sms.sign", s.Sign)
	if strings.ContainsAny(s.Sign, "【】[]") {
		c.add("sms.sign", "write the signature without brackets")
	}
	for purpose, code := range s.Templates {
		if _, ok := book.SMSTemplateOf(purpose); !ok {
			c.add("sms.templates."+purpose, "there is no such SMS; `templates/sms/catalogue.yaml` lists them")
		}
		if !smsPurpose.MatchString(code) {
			c.add("sms.templates."+purpose, "must be the code that Aliyun shows, such as SMS_123456789")
		}
	}
	callback := c.secret("sms.callback_secret", s.CallbackSecret, false)
	if callback != "" && (len(callback) < 16 || !pathName.MatchString(callback)) {
		c.add("sms.callback_secret", "must be 16 to 64 letters, digits, - and _: it is part of an address")
	}
	p.sms = &company.SMSAccount{
		CompanyID: p.file.ID, AccessKeyID: s.AccessKeyID, AccessKeySecret: c.secret("sms.access_key_secret", s.AccessKeySecret, true), Sign: s.Sign,
		CallbackSecret: callback, Templates: s.Templates,
	}
}

func messagePurposes(book *wording.Book) []string {
	var out []string
	for _, t := range book.TemplateCatalogue() {
		out = append(out, t.Purpose)
	}
	return out
}

func (c *checker) people(p *companyPlan) {
	seen, phones := map[string]bool{}, map[string]bool{}
	for i, m := range p.file.Staff {
		at := fmt.Sprintf("staff[%d].", i)
		if !userName.MatchString(m.UserID) {
			c.add(at+"userid", "must be 1 to 64 letters, digits and . _ @ -, as in WeCom")
		}
		if seen[m.UserID] {
			c.add(at+"userid", "%s stands here twice", m.UserID)
		}
		seen[m.UserID] = true
		c.need(at+"name", m.Name)
		if !staff.KnownRole(staff.Role(m.Role)) {
			c.add(at+"role", "there is no role %q; choose one of %s", m.Role, strings.Join(roleNames(), ", "))
		}
		phone := ""
		if m.Phone != "" {
			n, ok := estate.NormalizePhone(m.Phone)
			switch {
			case !ok:
				c.add(at+"phone", "is no mobile number")
			case phones[n] && !m.Left:
				c.add(at+"phone", "is another member's number too")
			}
			phone, phones[n] = n, true
		}
		p.staff = append(p.staff, staff.Member{CompanyID: p.file.ID, UserID: m.UserID, Name: m.Name, Role: m.Role, Phone: phone, Trainee: m.Trainee, Left: m.Left, OnDuty: true})
	}
	users := map[string]bool{}
	for i, u := range p.file.ConsoleUsers {
		at := fmt.Sprintf("console_users[%d].", i)
		if !userName.MatchString(u.User) {
			c.add(at+"user", "must be 1 to 64 letters, digits and . _ @ -")
		}
		if users[u.User] {
			c.add(at+"user", "%s stands here twice", u.User)
		}
		users[u.User] = true
		c.who(at, u.UserID, u.Admin, seen)
		if password := c.secret(at+"password", u.Password, true); password != "" {
			if len(password) < 10 {
				c.add(at+"password", "must have at least 10 characters")
			}
			p.password[u.User] = password
		}
	}
	for i, t := range p.file.APITokens {
		at := fmt.Sprintf("api_tokens[%d].", i)
		c.need(at+"name", t.Name)
		c.who(at, t.UserID, t.Admin, seen)
		token := c.secret(at+"token", t.Token, true)
		if token != "" && len(token) < 32 {
			c.add(at+"token", "must have at least 32 characters; `openssl rand -hex 32` draws one")
		}
		p.tokens = append(p.tokens, token)
	}
}

// who checks whom a sign-in or token stands for.
func (c *checker) who(at, userID string, admin bool, staff map[string]bool) {
	switch {
	case userID == "" && !admin:
		c.add(at+"userid", "is missing; name a staff member, or set admin: true")
	case userID != "" && !staff[userID]:
		c.add(at+"userid", "%s does not stand under staff", userID)
	}
}

func roleNames() []string {
	var out []string
	for _, r := range staff.Roles() {
		out = append(out, string(r))
	}
	slices.Sort(out)
	return out
}

func (c *checker) projects(p companyPlan) {
	members := map[string]bool{}
	for _, m := range p.staff {
		members[m.UserID] = !m.Left
	}
	names := map[string]bool{}
	for i, pr := range p.file.Projects {
		at := fmt.Sprintf("projects[%d].", i)
		c.need(at+"name", pr.Name)
		if names[pr.Name] {
			c.add(at+"name", "%s stands here twice", pr.Name)
		}
		names[pr.Name] = true
		seen := map[string]bool{}
		for j, q := range pr.Queues {
			at := fmt.Sprintf("%squeues[%d].", at, j)
			if !slices.Contains(lines, q.Line) {
				c.add(at+"line", "there is no line %q; choose one of %s", q.Line, strings.Join(lines, ", "))
			}
			if seen[q.Line] {
				c.add(at+"line", "a project has one queue a line")
			}
			seen[q.Line] = true
			c.need(at+"name", q.Name)
			for k, m := range q.Members {
				if !members[m.UserID] {
					c.add(fmt.Sprintf("%smembers[%d]", at, k), "%s does not work here: not under staff, or left", m.UserID)
				}
				if m.Capacity < 0 {
					c.add(fmt.Sprintf("%smembers[%d].capacity", at, k), "must not be negative")
				}
			}
			for k, g := range q.Groups {
				at := fmt.Sprintf("%sgroups[%d].", at, k)
				c.need(at+"chatid", g.ChatID)
				if len(p.bots) == 0 {
					c.add(at+"bot", "a group needs a bot; there is none under bots")
				} else if g.Bot != "" && !slices.ContainsFunc(p.bots, func(b company.WeComBot) bool { return b.BotID == g.Bot }) {
					c.add(at+"bot", "%s does not stand under bots", g.Bot)
				}
			}
		}
	}
}
