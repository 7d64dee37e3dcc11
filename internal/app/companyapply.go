package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/config"
	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
)

// ApplyOptions of ApplyCompany.
type ApplyOptions struct {
	File           io.Reader // company.yaml
	Environ        []string  // for secrets that stand in variables
	DryRun         bool      // check and compare only
	ResetPasswords bool      // give known console users the file's password again
}

// Applied is what ApplyCompany did, or would do.
type Applied struct {
	Changes []AppliedChange
	// Addresses are what is to be entered at the vendors, as paths below the
	// public address. Those of the SMS account hold a secret.
	Addresses []AppliedChange
	Missing   []string // purposes without a template: such messages cannot be sent
}

// AppliedChange is one line of it.
type AppliedChange struct{ Verb, What, Name string }

// Verbs of an AppliedChange.
const (
	verbCreate = "create"
	verbChange = "change"
)

// ApplyCompany enters a company, or brings it up to what the file says: company,
// accounts, projects, queues, staff, groups, console users, tokens, in one
// transaction. What the file doesn't name stays. The same file again changes
// nothing. Everything that is wrong with the file comes as one FileProblems.
func ApplyCompany(ctx context.Context, c config.Config, log *slog.Logger, o ApplyOptions) (Applied, error) {
	f, err := readCompanyFile(o.File)
	if err != nil {
		return Applied{}, err
	}
	if c.Database == "" {
		return Applied{}, errNoDatabase
	}
	if len(c.MasterKey) == 0 {
		return Applied{}, config.Problems{{Name: "master_key", From: "default", What: "must be set to the key that the nodes have; credentials are sealed with it"}}
	}
	a, err := New(Options{Config: c, Clock: clock.System(), Log: log})
	if err != nil {
		return Applied{}, err
	}
	d, err := openDB(ctx, c, log)
	if err != nil {
		return Applied{}, err
	}
	defer d.Close()
	if err := d.CheckSchema(ctx); err != nil {
		return Applied{}, err
	}
	a.db = d
	sealer, err := a.sealer()
	if err != nil {
		return Applied{}, err
	}
	rooms, err := a.openRooms(sealer)
	if err != nil {
		return Applied{}, err
	}
	return applyCompany(ctx, d, rooms, f, o)
}

func applyCompany(ctx context.Context, d *db.DB, rooms stores, f companyFile, o ApplyOptions) (Applied, error) {
	if err := rooms.companies.Refresh(ctx); err != nil {
		return Applied{}, err
	}
	dir, err := rooms.companies.Directory(ctx)
	if err != nil {
		return Applied{}, err
	}
	known, exists := dir.Company(f.ID)
	settings := company.DefaultSettings()
	if exists {
		settings = known.Settings
	}
	plan, err := check(f, rooms.book, o.Environ, settings)
	if err != nil {
		return Applied{}, err
	}
	ap := &applier{stores: rooms, db: d, plan: plan, dir: dir, reset: o.ResetPasswords, known: known, exists: exists}
	if err := ap.prepare(ctx); err != nil {
		return Applied{}, err
	}
	if o.DryRun {
		return ap.out, nil
	}
	err = d.InTx(ctx, "company.apply", func(ctx context.Context, tx *db.Tx) error {
		for _, step := range ap.steps {
			if err := step(ctx, tx); err != nil {
				return err
			}
		}
		if len(ap.steps) == 0 {
			return nil
		}
		return rooms.staff.AuditTx(ctx, tx, staff.Entry{CompanyID: f.ID, Actor: "system", Action: "company.apply", Object: f.ID, Detail: fmt.Sprintf("%d changes", len(ap.out.Changes))})
	})
	if db.IsUnique(err) {
		err = fmt.Errorf("something in the file (an app id, a phone, a token) belongs to another company or person already: %w", err)
	}
	if err != nil {
		return Applied{}, err
	}
	return ap.out, nil
}

// applier compares a checked file with what is stored and gathers the steps.
type applier struct {
	stores
	db     *db.DB
	plan   companyPlan
	dir    *company.Directory
	known  company.Company
	exists bool
	reset  bool

	out   Applied
	steps []func(ctx context.Context, tx *db.Tx) error
}

// put adds a step when something is new or differs.
func (a *applier) put(exists, same bool, what, name string, step func(ctx context.Context, tx *db.Tx) error) {
	if exists && same {
		return
	}
	verb := verbCreate
	if exists {
		verb = verbChange
	}
	a.out.Changes = append(a.out.Changes, AppliedChange{verb, what, name})
	a.steps = append(a.steps, step)
}

func (a *applier) prepare(ctx context.Context) error {
	c := a.plan.company
	a.put(a.exists, sameCompany(a.known, c), "company", c.Name, func(ctx context.Context, tx *db.Tx) error {
		if a.exists {
			return a.companies.UpdateTx(ctx, tx, c)
		}
		return a.companies.CreateTx(ctx, tx, c)
	})
	for _, prepare := range []func(context.Context) error{a.accounts, a.sms, a.people, a.projects, a.users, a.tokens} {
		if err := prepare(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sameCompany compares by what is stored, so that an empty map is a missing one.
func sameCompany(a, b company.Company) bool {
	x, errX := json.Marshal(a.Settings)
	y, errY := json.Marshal(b.Settings)
	return errX == nil && errY == nil && a.Name == b.Name && a.Short == b.Short && string(x) == string(y)
}

// errForeign says that an account is another company's.
func errForeign(what, name, id string) error {
	return FileProblems{{what, fmt.Sprintf("%s belongs to the company %s", name, id)}}
}

func sameMap(a, b map[string]string) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

func (a *applier) accounts(context.Context) error {
	for i, w := range a.plan.wechats {
		old, exists := a.dir.WeChatByPath(w.Path)
		if exists && old.CompanyID != w.CompanyID {
			return errForeign(fmt.Sprintf("wechat[%d].path", i), w.Path, old.CompanyID)
		}
		w.ID = cmp.Or(old.ID, db.NewID())
		same := sameMap(old.Templates, w.Templates)
		old.Templates = w.Templates
		a.put(exists, same && reflect.DeepEqual(old, w), "wechat account", w.Path, func(ctx context.Context, tx *db.Tx) error { return a.companies.PutWeChatTx(ctx, tx, w) })
		a.address("WeChat", "/wechat/"+w.Path)
		for _, t := range a.book.TemplateCatalogue() {
			if w.Templates[t.Purpose] == "" {
				a.out.Missing = append(a.out.Missing, "wechat "+w.Path+" "+t.Purpose)
			}
		}
	}
	for i, b := range a.plan.bots {
		old, exists := a.dir.BotByID(b.BotID)
		if exists && old.CompanyID != b.CompanyID {
			return errForeign(fmt.Sprintf("bots[%d].bot_id", i), b.BotID, old.CompanyID)
		}
		b.ID = cmp.Or(old.ID, db.NewID())
		a.put(exists, old == b, "bot", b.Name, func(ctx context.Context, tx *db.Tx) error { return a.companies.PutBotTx(ctx, tx, b) })
	}
	if a.plan.corp != nil {
		c := *a.plan.corp
		old, exists := a.dir.CorpOf(c.CompanyID)
		c.ID = cmp.Or(old.ID, db.NewID())
		a.put(exists, old == c, "wecom application", c.CorpID, func(ctx context.Context, tx *db.Tx) error { return a.companies.PutCorpTx(ctx, tx, c) })
	}
	for _, w := range a.plan.webhooks {
		old, exists := a.dir.WebhookOfChat(w.CompanyID, w.ChatID)
		w.ID = cmp.Or(old.ID, db.NewID())
		a.put(exists, old == w, "webhook", w.ChatID, func(ctx context.Context, tx *db.Tx) error { return a.companies.PutWebhookTx(ctx, tx, w) })
	}
	return nil
}

func (a *applier) address(vendor, path string) {
	a.out.Addresses = append(a.out.Addresses, AppliedChange{"", vendor, path})
}

func (a *applier) sms(context.Context) error {
	if a.plan.sms == nil {
		return nil
	}
	s := *a.plan.sms
	old, exists := a.dir.SMSOf(s.CompanyID)
	s.ID = cmp.Or(old.ID, db.NewID())
	s.CallbackSecret = cmp.Or(s.CallbackSecret, old.CallbackSecret)
	if s.CallbackSecret == "" {
		drawn, err := staff.NewToken()
		if err != nil {
			return err
		}
		s.CallbackSecret = drawn
	}
	same := sameMap(old.Templates, s.Templates)
	old.Templates = s.Templates
	a.put(exists, same && reflect.DeepEqual(old, s), "sms account", s.Sign, func(ctx context.Context, tx *db.Tx) error { return a.companies.PutSMSTx(ctx, tx, s) })
	for _, end := range []string{"report", "up"} {
		a.address("Aliyun", "/sms/"+s.CompanyID+"/"+s.CallbackSecret+"/"+end)
	}
	for _, t := range a.book.SMSCatalogue() {
		if s.Templates[t.Purpose] == "" {
			a.out.Missing = append(a.out.Missing, "sms "+t.Purpose)
		}
	}
	return nil
}

func (a *applier) people(ctx context.Context) error {
	here, err := a.staff.All(ctx, a.db, a.plan.company.ID)
	if err != nil {
		return err
	}
	old := map[string]staff.Member{}
	for _, m := range here {
		old[m.UserID] = m
	}
	// Whoever leaves goes first: his phone may be another's now.
	for _, left := range []bool{true, false} {
		for _, m := range a.plan.staff {
			if m.Left != left {
				continue
			}
			was, exists := old[m.UserID]
			if left && !exists {
				continue // left before, or never came
			}
			if exists {
				m.OnDuty = was.OnDuty // his own or the roster's word
			}
			m.Trainee = m.Trainee || staff.Role(m.Role) == staff.RoleTrainee
			a.put(exists, was == m, "staff", m.UserID, func(ctx context.Context, tx *db.Tx) error { return a.staff.PutTx(ctx, tx, m) })
		}
	}
	for _, m := range a.plan.file.Staff {
		if m.WeComID == "" || m.Left {
			continue
		}
		was, ok, err := a.staff.ByWeComID(ctx, a.db, a.plan.company.ID, m.WeComID)
		if err != nil {
			return err
		}
		a.put(ok, was.UserID == m.UserID, "wecom id of", m.UserID, func(ctx context.Context, tx *db.Tx) error {
			return a.staff.PutWeComIDTx(ctx, tx, a.plan.company.ID, m.WeComID, m.UserID)
		})
	}
	return nil
}

func (a *applier) projects(ctx context.Context) error {
	id := a.plan.company.ID
	projects, err := a.estate.Projects(ctx, a.db, id)
	if err != nil {
		return err
	}
	queues, err := a.queues.All(ctx, a.db, id)
	if err != nil {
		return err
	}
	for _, f := range a.plan.file.Projects {
		p := estate.Project{ID: db.NewID(), CompanyID: id, Name: f.Name, ServiceCenter: f.ServiceCenter}
		exists, same := false, false
		for _, old := range projects {
			if old.Name == f.Name {
				p.ID, exists = old.ID, true
				same = old == p
			}
		}
		a.put(exists, same, "project", p.Name, func(ctx context.Context, tx *db.Tx) error { return a.estate.PutProjectTx(ctx, tx, p) })
		for _, fq := range f.Queues {
			q := queue.Queue{ID: db.NewID(), CompanyID: id, ProjectID: p.ID, Line: fq.Line, Name: fq.Name}
			exists, same := false, false
			for _, old := range queues {
				if old.ProjectID == p.ID && old.Line == fq.Line {
					q.ID, exists = old.ID, true
					same = old == q
				}
			}
			a.put(exists, same, "queue", p.Name+" "+q.Name, func(ctx context.Context, tx *db.Tx) error { return a.queues.PutTx(ctx, tx, q) })
			if err := a.queue(ctx, q, fq); err != nil {
				return err
			}
		}
	}
	return nil
}

// queue prepares members and groups of a queue.
func (a *applier) queue(ctx context.Context, q queue.Queue, f fileQueue) error {
	for _, m := range f.Members {
		capacity, exists, err := a.staff.Capacity(ctx, a.db, q.ID, m.UserID)
		if err != nil {
			return err
		}
		a.put(exists, capacity == m.Capacity, "member of "+q.Name, m.UserID, func(ctx context.Context, tx *db.Tx) error {
			return a.staff.PutQueueMemberTx(ctx, tx, staff.QueueMember{CompanyID: q.CompanyID, QueueID: q.ID, UserID: m.UserID, Capacity: m.Capacity})
		})
	}
	for _, g := range f.Groups {
		bot := cmp.Or(g.Bot, a.plan.bots[0].BotID)
		old, exists, err := a.staff.GroupByChat(ctx, a.db, bot, g.ChatID)
		if err != nil {
			return err
		}
		a.put(exists, old.QueueID == q.ID, "group of "+q.Name, cmp.Or(g.Name, g.ChatID), func(ctx context.Context, tx *db.Tx) error {
			_, err := a.staff.PutGroupTx(ctx, tx, "system", staff.WorkGroup{CompanyID: q.CompanyID, BotID: bot, ChatID: g.ChatID, Name: g.Name, QueueID: q.ID})
			return err
		})
	}
	return nil
}

func (a *applier) users(ctx context.Context) error {
	for i, u := range a.plan.file.ConsoleUsers {
		old, exists, err := a.staff.PrincipalOf(ctx, a.db, u.User)
		if err != nil {
			return err
		}
		if exists && old.CompanyID != a.plan.company.ID {
			return errForeign(fmt.Sprintf("console_users[%d].user", i), u.User, old.CompanyID)
		}
		// A password is given once, since its owner may have another by now.
		if exists && !a.reset && old.Member.UserID == u.UserID && old.Admin == u.Admin {
			continue
		}
		hash, err := a.staff.HashPassword(ctx, a.plan.password[u.User])
		if err != nil {
			return fmt.Errorf("console user %s: %w", u.User, err)
		}
		a.put(exists, false, "console user", u.User, func(ctx context.Context, tx *db.Tx) error {
			return a.staff.PutConsoleUserTx(ctx, tx, staff.ConsoleUser{Username: u.User, CompanyID: a.plan.company.ID, UserID: u.UserID, Admin: u.Admin, PasswordHash: hash})
		})
	}
	return nil
}

func (a *applier) tokens(ctx context.Context) error {
	for i, t := range a.plan.file.APITokens {
		secret := a.plan.tokens[i]
		old, exists, err := a.staff.ByToken(ctx, a.db, secret)
		if err != nil {
			return err
		}
		if exists && (old.CompanyID != a.plan.company.ID || old.Admin != t.Admin || old.Member.UserID != t.UserID) {
			return FileProblems{{fmt.Sprintf("api_tokens[%d].token", i), "is in use for somebody else; draw another"}}
		}
		a.put(exists, true, "api token", t.Name, func(ctx context.Context, tx *db.Tx) error {
			return a.staff.PutTokenTx(ctx, tx, staff.Token{CompanyID: a.plan.company.ID, UserID: t.UserID, Admin: t.Admin, Name: t.Name}, secret)
		})
	}
	return nil
}

// Write prints what was done, or would be.
func (r Applied) Write(w io.Writer, dryRun bool) {
	for _, c := range r.Changes {
		fmt.Fprintf(w, "%s %s %s\n", c.Verb, c.What, c.Name)
	}
	switch {
	case len(r.Changes) == 0:
		fmt.Fprintln(w, "nothing to change")
	case dryRun:
		fmt.Fprintf(w, "%d changes; nothing was done (--dry-run)\n", len(r.Changes))
	default:
		fmt.Fprintf(w, "%d changes done; running nodes know them within a minute\n", len(r.Changes))
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(w, "without a template, such messages cannot be sent: %s\n", strings.Join(r.Missing, ", "))
	}
	if len(r.Addresses) > 0 && !dryRun {
		fmt.Fprintln(w, "enter at the vendors, below your public address:")
		for _, a := range r.Addresses {
			fmt.Fprintf(w, "  %s %s\n", a.What, a.Name)
		}
	}
}
