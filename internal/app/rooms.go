package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"guanjia/bot"
	"guanjia/bot/intent"
	"guanjia/bot/knowledge"
	"guanjia/bot/wechat"
	"guanjia/bot/workgroup"
	"guanjia/bot/workgroup/wecom"
	"guanjia/internal/articles"
	"guanjia/internal/calendar"
	"guanjia/internal/company"
	"guanjia/internal/config"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/media"
	"guanjia/internal/queue"
	"guanjia/internal/register"
	"guanjia/internal/staff"
	"guanjia/internal/web/api"
	"guanjia/internal/web/console"
	"guanjia/internal/web/h5"
	"guanjia/internal/wechatapi"
	"guanjia/internal/wecomapi"
	"guanjia/internal/wording"
	"guanjia/notify"
	"guanjia/notify/deliver"
	"guanjia/notify/deliver/herald"
	"guanjia/notify/official"
	"guanjia/notify/sms"
	"guanjia/notify/survey"
	"guanjia/templates"
)

// stores are the rooms that only keep rows: what seed and doctor need as well.
type stores struct {
	sealer    *company.Sealer
	companies *company.Store
	estate    *estate.Estate
	staff     *staff.Staff
	queues    *queue.Queues
	book      *wording.Book
}

// rooms are the running parts of a node, joined.
type rooms struct {
	stores
	jobs          *jobs.Runner
	ledger        *ledger.Ledger
	conversations *conversation.Conversations
	spool         *conversation.Spool
	desk          *desk.Desk
	register      *register.Register
	notices       *notify.Notices
	surveys       *survey.Surveys
	articles      *articles.Articles
	scores        *intent.Scores
	noticeDesk    *workgroup.NoticeDesk
	engine        *bot.Engine
	sender        *deliver.Engine
	sms           *sms.Service
	channel       *wecom.Channel
	media         *media.Store
	wechatDoor    *wechatapi.Client

	callback   *wechat.Handler
	smsReports http.Handler
	api        *api.API
	console    http.Handler
	h5         http.Handler
}

func (a *App) openRooms(s *company.Sealer) (stores, error) {
	book, err := wording.Load(templates.FS())
	if err != nil {
		return stores{}, fmt.Errorf("texts: %w", err)
	}
	out := stores{sealer: s, companies: company.New(a.db, s), book: book}
	settings := settingsOf(out.companies)
	out.estate = estate.New(a.db, a.o.Clock, s, settings)
	out.staff = staff.New(a.db, a.o.Clock, s, settings)
	out.queues = queue.New(a.db, a.rdb, nil, a.o.Clock, a.log, queue.NewMetrics(a.metrics))
	return out, nil
}

// settingsOf answers a company's settings from memory; the defaults stand in
// for a company that is not known yet.
func settingsOf(c *company.Store) func(string) company.Settings {
	return func(id string) company.Settings {
		dir, err := c.Directory(context.Background())
		if err != nil {
			return company.DefaultSettings()
		}
		if found, ok := dir.Company(id); ok {
			return found.Settings
		}
		return company.DefaultSettings()
	}
}

// build makes every room and joins them. Nothing runs yet.
func (a *App) build(ctx context.Context) (*rooms, error) {
	sealer, err := a.sealer()
	if err != nil {
		return nil, err
	}
	r := &rooms{}
	if r.stores, err = a.openRooms(sealer); err != nil {
		return nil, err
	}
	// The callback must know its accounts while the database is away, so they
	// are read before anything is answered.
	if err := r.companies.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("read companies: %w", err)
	}
	r.ledger = ledger.Open(a.db, a.o.Clock, a.log)
	a.stack.push("ledger", func(context.Context) error { r.ledger.Stop(); return nil })
	r.jobs = jobs.New(a.db, a.o.Clock, a.log, jobs.Options{})
	if r.wechatDoor, err = wechatapi.New(wechatapi.Options{Bases: wechatBases(a.o.Config), Redis: a.rdb, Clock: a.o.Clock, Logger: a.log}); err != nil {
		return nil, err
	}
	a.stack.push("wechat door", func(context.Context) error { r.wechatDoor.Close(); return nil })
	r.media = media.New(media.Options{DB: a.db, Clock: a.o.Clock, Jobs: r.jobs, Download: downloads{r.companies, r.wechatDoor}.get, Log: a.log})
	r.media.Handle(r.jobs)
	r.conversations = conversation.New(a.db, a.o.Clock, a.log, conversation.Options{})
	a.stack.push("conversations", r.conversations.Close)
	if r.spool, err = conversation.OpenSpool(a.spoolDir(), sealer, a.log, 0); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	calendars := &calendars{companies: r.companies}
	r.desk = desk.New(desk.Deps{
		DB: a.db, Clock: a.o.Clock, Ledger: r.ledger, Queues: r.queues, Staff: r.staff, Estate: r.estate, Companies: r.companies,
		Conversations: r.conversations, Calendar: calendars.of, Book: r.book, Log: a.log, Points: a.o.Points,
		Link: a.caseLink(),
	})
	r.queues.BindRows(r.desk)
	r.ledger.OnFinal("desk", r.desk.UndeliveredTx)
	r.jobs.Handle(desk.JobClocks, r.desk.RunClocks(r.jobs))
	if err := a.buildNotices(r); err != nil {
		return nil, err
	}
	if err := a.buildSurveys(r); err != nil {
		return nil, err
	}
	if err := a.buildBot(r, calendars); err != nil {
		return nil, err
	}
	if err := a.buildSenders(r); err != nil {
		return nil, err
	}
	return r, a.buildWeb(r)
}

func (a *App) buildNotices(r *rooms) (err error) {
	r.register = register.New(a.db, a.o.Clock, r.book, r.companies)
	r.notices, err = notify.New(notify.Deps{
		DB: a.db, Clock: a.o.Clock, Ledger: r.ledger, Estate: r.estate, Staff: r.staff, Companies: r.companies, Register: r.register,
		Jobs: r.jobs, Book: r.book, Files: templates.FS(), Log: a.log, Points: a.o.Points,
	})
	if err != nil {
		return err
	}
	r.ledger.OnFinal("notify", r.notices.FinalTx)
	r.notices.Handle(r.jobs)
	return nil
}

func (a *App) buildSurveys(r *rooms) (err error) {
	if r.scores, err = intent.LoadScores(); err != nil {
		return fmt.Errorf("words for scores: %w", err)
	}
	r.surveys, err = survey.New(survey.Deps{
		DB: a.db, Clock: a.o.Clock, Ledger: r.ledger, Estate: r.estate, Staff: r.staff, Companies: r.companies, Conversations: r.conversations,
		Desk: r.desk, Queues: r.queues, Jobs: r.jobs, Book: r.book, Files: templates.FS(), Sealer: r.sealer, Outages: r.notices,
		Score: func(text string) survey.Reading {
			said := r.scores.Read(text)
			return survey.Reading{Score: said.Value, Words: said.Words, Sure: said.Value > 0}
		},
		PublicURL: a.o.Config.PublicURL, Log: a.log, Points: a.o.Points,
	})
	if err != nil {
		return err
	}
	r.surveys.Handle(r.jobs)
	r.desk.Listen(r.surveys)
	return nil
}

func (a *App) buildBot(r *rooms, calendars *calendars) error {
	classifier, err := intent.New()
	if err != nil {
		return fmt.Errorf("classifier: %w", err)
	}
	festivals, err := calendar.LoadFestivals()
	if err != nil {
		return err
	}
	matcher, err := knowledge.New()
	if err != nil {
		return fmt.Errorf("knowledge: %w", err)
	}
	r.articles = articles.New(articles.Deps{DB: a.db, Clock: a.o.Clock, Book: r.book, Staff: r.staff, Estate: r.estate, Matcher: matcher})
	r.engine = bot.New(bot.Deps{
		Knowledge: r.articles, Outages: r.notices, Surveys: r.surveys, Scores: r.scores, Media: r.media, Festivals: festivals,
		DB: a.db, Clock: a.o.Clock, Classifier: classifier, Conversations: r.conversations, Companies: r.companies, Estate: r.estate,
		Desk: r.desk, Ledger: r.ledger, Book: r.book, Calendar: calendars.of, Log: a.log, Points: a.o.Points,
		TemplateResult: func(ctx context.Context, accountID, openID, msgID, status string) error {
			return r.ledger.Receipt(ctx, official.Result(accountID, openID, msgID, status))
		},
	})
	r.callback, err = wechat.New(wechat.Options{
		Accounts: accounts{r.companies}, Conversations: r.conversations, Spool: r.spool, Turner: r.engine, Clock: a.o.Clock, Log: a.log,
		Metrics: a.metrics, Freshness: a.o.Config.Freshness, Budget: a.o.Config.Budget,
	})
	if err != nil {
		return err
	}
	a.stack.push("callbacks in hand", r.callback.Drain)
	return nil
}

// accounts answers callback addresses from the directory in memory.
type accounts struct{ companies *company.Store }

func (a accounts) Account(ctx context.Context, path string) (company.WeChatAccount, bool) {
	dir, err := a.companies.Directory(ctx)
	if err != nil {
		return company.WeChatAccount{}, false
	}
	return dir.WeChatByPath(path)
}

func (a *App) buildSenders(r *rooms) error {
	c := a.o.Config
	wecomDoor, err := wecomapi.New(wecomapi.Options{QYAPI: c.WeComURL, Socket: c.WeComSocket, Redis: a.rdb, Logger: a.log})
	if err != nil {
		return err
	}
	a.stack.push("wecom door", func(context.Context) error { wecomDoor.Close(); return nil })
	base := ""
	if c.Sandbox {
		base = c.SMSURL
	}
	r.sms, err = sms.New(sms.Options{Base: base, Directory: r.companies, Ledger: r.ledger, DB: a.db, Clock: a.o.Clock, Logger: a.log,
		OnUplink: sms.Uplinks(r.estate, sms.OptOut(r.estate), r.surveyAnswers())})
	if err != nil {
		return err
	}
	a.stack.push("sms door", func(context.Context) error { r.sms.Close(); return nil })

	people := workgroup.NewPeople(workgroup.PeopleDeps{DB: a.db, Clock: a.o.Clock, Staff: r.staff, Queues: r.queues, Companies: r.companies, Ledger: r.ledger, Book: r.book})
	r.noticeDesk, err = workgroup.NewNoticeDesk(workgroup.NoticeDeps{Notices: r.notices, Staff: people, DB: a.db, Ledger: r.ledger, Book: r.book, Clock: a.o.Clock, Log: a.log})
	if err != nil {
		return err
	}
	r.noticeDesk.Handle(r.jobs)
	router, err := workgroup.NewRouter(workgroup.Deps{Notices: r.noticeDesk, Desk: r.desk, Staff: people, Book: r.book, ValidCaseNo: desk.ValidNo, Now: a.o.Clock.Now, Log: a.log,
		CaseLink: a.caseLink(), Files: r.filesOf(a.db)})
	if err != nil {
		return err
	}
	r.channel = wecom.New(wecom.Options{
		URL: wecomDoor.SocketURL(), Bots: bots{r.companies}.all, Lease: a.socketLease(), Owner: owner(c.Listen),
		Store: wecom.NewStore(a.db, a.o.Clock), Handler: router, Book: r.book, Log: a.log, Metrics: a.metrics, Points: a.o.Points,
		Up: func(string) { r.ledger.Wake(ledger.LaneCard); r.ledger.Wake(ledger.LaneEmergency) },
		Alarm: func(alarm wecom.Alarm) {
			a.log.Error("work-group bot needs a person", "bot", alarm.BotID, "reason", alarm.Reason)
		},
	})
	words := official.Options{API: r.wechatDoor, Directory: r.companies, Windows: r.conversations, Clock: a.o.Clock, Link: r.surveys.Link,
		NotFollowing: func(ctx context.Context, accountID, openID string) {
			if err := r.conversations.SetFollowing(ctx, accountID, openID, false, a.o.Clock.Now()); err != nil {
				a.log.WarnContext(ctx, "resident who left not noted", "error", err)
			}
		}}
	senders := []deliver.Sender{official.NewService(words), official.NewTemplate(words), r.sms,
		wecom.NewWebhookSender(wecomDoor, webhooks{r.companies}, router.Cards(), a.log)}
	if c.Has(config.RoleSocket) {
		senders = append(senders, wecom.NewCardSender(r.channel, router.Cards(), wecom.DefaultHintEvery), wecom.NewTextSender(r.channel))
	}
	crier, err := herald.New(herald.Deps{DB: a.db, Clock: a.o.Clock, Ledger: r.ledger, Companies: r.companies, Staff: r.staff, Queues: r.queues, Book: r.book, Log: a.log})
	if err != nil {
		return err
	}
	r.sender = deliver.New(r.ledger, senders, deliver.Options{Clock: a.o.Clock, Logger: a.log, Registry: a.metrics, Points: a.o.Points,
		Rates: deliver.Limits(r.companies), Redis: a.rdb, StateFile: a.stateFile(),
		Alarm: func(ctx context.Context, alarm deliver.Alarm) {
			a.log.ErrorContext(ctx, "vendor account stopped or back", "channel", alarm.Channel, "account", alarm.AccountID, "kind", string(alarm.Kind), "code", alarm.Code, "stopped", alarm.Open)
			crier.Alarm(ctx, alarm)
			r.notices.Trouble(ctx, alarm)
		},
		Held: r.notices.Held})
	return nil
}

// stateFile keeps how far this node saw the database come, beside its spool and
// not in it: every file there is a message.
func (a *App) stateFile() string { return strings.TrimSuffix(a.spoolDir(), "/") + ".beat" }

// surveyAnswers takes answers by SMS for the surveys.
func (r *rooms) surveyAnswers() sms.UplinkHandler {
	return sms.UplinkHandler{Name: "survey", Take: func(ctx context.Context, tx *db.Tx, u sms.Uplink, _ []estate.Resident) (bool, error) {
		return r.surveys.UplinkTx(ctx, tx, survey.Uplink{CompanyID: u.CompanyID, AccountID: u.AccountID, Phone: u.Phone, Content: u.Content})
	}}
}

// wechatBases are the addresses that stand in for WeChat's own.
func wechatBases(c config.Config) map[string]string {
	bases := map[string]string{wechatapi.HostAPI: c.WeChatURL}
	if c.WeChatPages != "" {
		bases[wechatapi.HostMP] = c.WeChatPages + "/" + wechatapi.HostMP
		bases[wechatapi.HostOpen] = c.WeChatPages + "/" + wechatapi.HostOpen
	}
	return bases
}

// caseLink gives the address of a case's page; nil without a public address.
func (a *App) caseLink() func(caseNo string) string {
	base := a.o.Config.PublicURL
	if base == "" {
		return nil
	}
	return func(caseNo string) string { return base + "/console/cases/" + caseNo }
}

// filesOf counts what came with a case, for its card.
func (r *rooms) filesOf(d *db.DB) func(ctx context.Context, caseID string) (desk.Files, error) {
	return func(ctx context.Context, caseID string) (desk.Files, error) {
		images, voices, err := r.media.CountTx(ctx, d, caseID)
		return desk.Files{Images: images, Voices: voices}, err
	}
}

// downloads gets residents' files from the account that they wrote to.
type downloads struct {
	companies *company.Store
	door      *wechatapi.Client
}

func (d downloads) get(ctx context.Context, accountID, vendorID string) ([]byte, error) {
	dir, err := d.companies.Directory(ctx)
	if err != nil {
		return nil, err
	}
	account, ok := dir.WeChatByID(accountID)
	if !ok {
		return nil, fmt.Errorf("account of the file is not in the directory")
	}
	m, err := d.door.MediaGet(ctx, wechatapi.Account{ID: account.ID, AppID: account.AppID, Secret: account.Secret}, vendorID)
	var vendor *wechatapi.Error
	switch {
	case errors.Is(err, wechatapi.ErrTooLarge):
		return nil, media.ErrTooLarge
	case errors.As(err, &vendor) && vendor.Class == wechatapi.ClassPermanent:
		return nil, media.ErrGone
	}
	return m.Body, err
}

// socketLease is asked which bots' sockets this node has. The embedded database
// has one node, which need not wait for the lease of its own last life.
func (a *App) socketLease() wecom.Lease {
	if a.db.Engine() == db.EngineSQLite {
		return wecom.SoleNode{}
	}
	return wecom.NewRowLease(a.db)
}

// owner names this node in leases. A node that was killed and comes back at the
// same address has its sockets again at once, instead of waiting for its own
// lease to lapse; nobody else can listen there meanwhile.
func owner(listen string) string {
	host, err := os.Hostname()
	if err != nil || strings.HasSuffix(listen, ":0") {
		return db.NewID()
	}
	return host + "|" + listen
}

// bots lists the bots of all companies for the socket keeper.
type bots struct{ companies *company.Store }

func (b bots) all(ctx context.Context) ([]wecom.Bot, error) {
	dir, err := b.companies.Directory(ctx)
	if err != nil {
		return nil, err
	}
	var list []wecom.Bot
	for _, x := range dir.Bots() {
		// A bot is known by the vendor's id everywhere: in groups, deliveries and leases.
		list = append(list, wecom.Bot{ID: x.BotID, CompanyID: x.CompanyID, BotID: x.BotID, Secret: x.Secret, Name: x.Name})
	}
	return list, nil
}

// webhooks finds the key that posts into a group.
type webhooks struct{ companies *company.Store }

func (w webhooks) WebhookKey(ctx context.Context, companyID, _, chatID string) (string, bool, error) {
	dir, err := w.companies.Directory(ctx)
	if err != nil {
		return "", false, err
	}
	hook, ok := dir.WebhookOfChat(companyID, chatID)
	return hook.Key, ok, nil
}

func (a *App) buildWeb(r *rooms) error {
	r.smsReports = r.sms
	r.api = api.New(api.Deps{DB: a.db, Desk: r.desk, Estate: r.estate, Staff: r.staff, Queues: r.queues, Book: r.book, Log: a.log,
		Register: r.register, Notices: r.notices, Articles: r.articles, Surveys: r.surveys})
	pages, err := console.New(console.Deps{Notices: r.notices, Register: r.register, Surveys: r.surveys, Articles: r.articles, Estate: r.estate, DB: a.db, Clock: a.o.Clock, Desk: r.desk, Staff: r.staff, Queues: r.queues, Companies: r.companies,
		Media: r.media, Book: r.book, Log: a.log, Files: templates.Web(), Secure: !a.o.Config.Sandbox})
	if err != nil {
		return err
	}
	r.console = pages.Handler()
	residents, err := h5.New(h5.Deps{Surveys: r.surveys, Book: r.book, Log: a.log, Files: templates.Web()})
	if err != nil {
		return err
	}
	r.h5 = residents.Handler()
	return nil
}

// directoryEvery is how soon a node sees another node's change of a company.
const directoryEvery = 15 * time.Second

// startWork starts the loops of this node's roles.
func (a *App) startWork(ctx context.Context) error {
	r, c := a.rooms, a.o.Config
	a.stack.loop("company directory", func(ctx context.Context) { r.companies.Run(ctx, directoryEvery, a.log) })
	a.stack.loop("queue reconciler", func(ctx context.Context) {
		if err := r.queues.Run(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("queue reconciler ended", "error", err)
		}
	})
	a.stack.loop("wake-ups", func(ctx context.Context) { deliver.CarryWakes(ctx, a.rdb, r.ledger) })
	if c.Has(config.RoleWeb) {
		a.stack.loop("spool replay", r.callback.Run)
	}
	if c.Has(config.RoleWorker) {
		if err := a.startWorker(ctx, r); err != nil {
			return err
		}
	}
	if c.Has(config.RoleSocket) {
		a.stack.loop("wecom sockets", func(ctx context.Context) {
			if err := r.channel.Run(ctx); err != nil && ctx.Err() == nil {
				a.log.Error("wecom sockets ended", "error", err)
			}
		})
	}
	if c.Has(config.RoleWorker) || c.Has(config.RoleSocket) {
		a.runSender(r)
	}
	return nil
}

func (a *App) startWorker(ctx context.Context, r *rooms) error {
	a.stack.loop("unanswered messages", r.engine.Resume)
	a.stack.loop("sms look-ups", func(ctx context.Context) {
		if err := r.sms.Run(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("sms look-ups ended", "error", err)
		}
	})
	if err := r.desk.EnsureClocks(ctx, r.jobs); err != nil {
		return fmt.Errorf("start duties: %w", err)
	}
	if err := r.notices.Ensure(ctx); err != nil {
		return fmt.Errorf("start notices: %w", err)
	}
	if err := r.surveys.Ensure(ctx); err != nil {
		return fmt.Errorf("start surveys: %w", err)
	}
	if err := r.noticeDesk.Ensure(ctx, r.jobs); err != nil {
		return fmt.Errorf("start notices of work groups: %w", err)
	}
	if err := r.jobs.Start(ctx); err != nil {
		return fmt.Errorf("start jobs: %w", err)
	}
	a.stack.push("jobs", r.jobs.Stop)
	return nil
}

func (a *App) runSender(r *rooms) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.sender.Run(context.Background()); err != nil {
			a.log.Error("sender ended", "error", err)
		}
	}()
	a.stack.push("sender", func(ctx context.Context) error {
		err := r.sender.Stop(ctx)
		<-done
		return err
	})
}

// dependencies tells how the sockets and the spool stand; neither makes a node
// unready: cards wait in the ledger, messages in the spool.
func (r *rooms) dependencies(ctx context.Context) []dependency {
	out := []dependency{{Name: "spool", OK: r.spool.Len() == 0, Detail: spoolDetail(r.spool.Len(), r.spool.Bad())}}
	if reason, locked := r.sender.Locked(); locked {
		out = append(out, dependency{Name: "sending", Detail: "locked (" + reason + "): the database is older than what was sent; look, then run guanjia release"})
	}
	list, err := bots{r.companies}.all(ctx)
	if err != nil {
		return out
	}
	for _, b := range list {
		// A node knows of the sockets that it holds; another node tells of its own.
		down, known := r.channel.Down(b.BotID)
		if !known {
			continue
		}
		d := dependency{Name: "wecom " + b.BotID, OK: down == 0}
		if down > 0 {
			d.Detail = "the socket is down for " + down.Truncate(time.Second).String()
		}
		out = append(out, d)
	}
	return out
}

func spoolDetail(waiting, bad int) string {
	if waiting == 0 && bad == 0 {
		return ""
	}
	return fmt.Sprintf("%d messages wait for the database, %d files need an operator", waiting, bad)
}

// calendars gives each company's working hours, parsed once.
type calendars struct {
	companies *company.Store
	mu        sync.Mutex
	parsed    map[string]*calendar.Calendar
}

// of answers the calendar of a company; one that can't be read was refused when
// it was saved, so the default stands in.
func (c *calendars) of(companyID string) *calendar.Calendar {
	raw := json.RawMessage(nil)
	if dir, err := c.companies.Directory(context.Background()); err == nil {
		found, _ := dir.Company(companyID)
		raw = found.Settings.Calendar
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parsed == nil {
		c.parsed = map[string]*calendar.Calendar{}
	}
	if cal, ok := c.parsed[string(raw)]; ok {
		return cal
	}
	cal, err := readCalendar(raw)
	if err != nil {
		cal, _ = readCalendar(nil)
	}
	c.parsed[string(raw)] = cal
	return cal
}

func readCalendar(raw json.RawMessage) (*calendar.Calendar, error) {
	if len(raw) == 0 {
		return calendar.New(calendar.Default())
	}
	cal, err := calendar.Parse(raw)
	if err != nil {
		return nil, errors.Join(errors.New("calendar of the company"), err)
	}
	return cal, nil
}
