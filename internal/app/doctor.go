package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/config"
	"guanjia/internal/db"
	"guanjia/internal/embedded"
	"guanjia/internal/estate"
	"guanjia/internal/telemetry"
	"guanjia/internal/wechatapi"
	"guanjia/internal/wecomapi"
	"guanjia/notify/sms"
)

// Results of a check.
const (
	CheckOK   = "ok"
	CheckWarn = "warn"
	CheckFail = "fail"
)

// Check is one line of doctor: what was looked at, how it stands, and the remedy.
type Check struct{ Name, Result, Text string }

// embeddedHomes is what the embedded pair is meant for (architecture, decision 2).
const embeddedHomes = 3000

// probeBudget bounds one question of doctor.
const probeBudget = 5 * time.Second

// templatesBudget bounds the questions about all templates of an account.
const templatesBudget = 30 * time.Second

// Doctor checks every setting; online it also asks the database, Redis and the
// vendors of every company.
func Doctor(ctx context.Context, c config.Config, log *slog.Logger, online bool) []Check {
	d := &doctor{ctx: ctx, c: c, log: log}
	d.settings()
	if online {
		d.stores()
	}
	return d.checks
}

type doctor struct {
	ctx    context.Context
	c      config.Config
	log    *slog.Logger
	checks []Check
}

func (d *doctor) say(name, result, text string) {
	d.checks = append(d.checks, Check{name, result, text})
}

func (d *doctor) settings() {
	var problems config.Problems
	if err := d.c.RequireServer(); errors.As(err, &problems) {
		for _, p := range problems {
			d.say("setting "+p.Name, CheckFail, p.What)
		}
	} else {
		d.say("settings", CheckOK, "complete")
	}
	if d.c.Sandbox {
		d.say("vendors", CheckWarn, "a vendor address is a simulator; nothing reaches a real resident")
	}
	if strings.HasPrefix(d.c.Listen, "127.") {
		d.say("listen", CheckWarn, "only this machine reaches "+d.c.Listen+"; set listen to 0.0.0.0:8080 behind an HTTPS proxy")
	}
	probe := filepath.Join(d.c.DataDir, ".doctor")
	if err := errors.Join(os.MkdirAll(d.c.DataDir, 0o700), os.WriteFile(probe, nil, 0o600), os.Remove(probe)); err != nil {
		d.say("data_dir", CheckFail, "can't be written; the spool needs it when the database is away")
	} else {
		d.say("data_dir", CheckOK, "can be written")
	}
}

func (d *doctor) stores() {
	if d.c.Database == "" {
		return
	}
	ctx, cancel := context.WithTimeout(d.ctx, probeBudget)
	defer cancel()
	conn, err := openDB(ctx, d.c, d.log)
	if err != nil {
		d.say("database", CheckFail, "does not answer; check address, user and that it runs")
		return
	}
	defer conn.Close()
	switch err := conn.CheckSchema(ctx); {
	case err == nil:
		d.say("database", CheckOK, "answers, schema up to date")
	case errors.Is(err, db.ErrSchemaOlder):
		d.say("database", CheckFail, "schema is older than this program; run `guanjia migrate`")
		return
	default:
		d.say("database", CheckFail, "schema is newer than this program; install the newer program")
		return
	}
	d.redis(ctx)
	d.companies(conn)
}

func (d *doctor) redis(ctx context.Context) {
	if d.c.Redis == "" {
		d.say("redis", CheckOK, "the in-process one: one node only")
		return
	}
	rdb, err := embedded.OpenRedis(d.c.Redis)
	if err != nil {
		d.say("redis", CheckFail, "the address can't be read")
		return
	}
	defer rdb.Close()
	if err := rdb.Ping(ctx).Err(); err != nil {
		d.say("redis", CheckFail, "does not answer; queues run on the rows alone until it does")
		return
	}
	d.say("redis", CheckOK, "answers")
}

func (d *doctor) companies(conn *db.DB) {
	sealer, err := company.NewSealer(d.c.MasterKey)
	if err != nil {
		d.say("master_key", CheckFail, "must be 32 bytes in base64")
		return
	}
	store := company.New(conn, sealer)
	dir, err := store.Directory(d.ctx)
	if err != nil {
		d.say("companies", CheckFail, "credentials can't be opened; is the master key the one they were sealed with?")
		return
	}
	if len(dir.Companies()) == 0 {
		d.say("companies", CheckWarn, "there is none yet; `guanjia company apply` enters one, `guanjia seed` loads a sample")
		return
	}
	d.size(conn)
	a := &App{o: Options{Config: d.c, Clock: clock.System(), Log: d.log}, db: conn, log: d.log, metrics: telemetry.NewRegistry()}
	rooms, err := a.openRooms(sealer)
	if err != nil {
		d.say("texts", CheckFail, err.Error())
		return
	}
	d.say("texts", CheckOK, "every text can be said")
	for _, c := range dir.Companies() {
		d.company(dir, c, rooms)
	}
}

func (d *doctor) size(conn *db.DB) {
	if conn.Engine() != db.EngineSQLite {
		return
	}
	if homes, err := estate.CountUnits(d.ctx, conn); err == nil && homes > embeddedHomes {
		d.say("size", CheckWarn, fmt.Sprintf("%d homes are too many for the embedded database; move to PostgreSQL and Redis above %d", homes, embeddedHomes))
	}
}

func (d *doctor) company(dir *company.Directory, c company.Company, rooms stores) {
	name := "company " + c.ID
	if c.Settings.Hotline == "" {
		d.say(name+" hotline", CheckFail, "the 24-hour number is missing; danger answers quote it")
	}
	d.sms(name, dir, c, rooms)
	d.wecom(name, dir, c)
	account, ok := dir.WeChatOf(c.ID)
	if !ok {
		d.say(name+" wechat", CheckFail, "no Official Account")
		return
	}
	door, err := wechatapi.New(wechatapi.Options{Bases: wechatBases(d.c), Clock: clock.System(), Logger: d.log})
	if err != nil {
		d.say(name+" wechat", CheckFail, "the address can't be read")
		return
	}
	defer door.Close()
	ctx, cancel := context.WithTimeout(d.ctx, probeBudget)
	defer cancel()
	if err := door.CheckToken(ctx, wechatapi.Account{ID: account.ID, AppID: account.AppID, Secret: account.Secret}); err != nil {
		d.say(name+" wechat", CheckFail, err.Error())
	} else {
		d.say(name+" wechat", CheckOK, "gives a token")
	}
}

// sms asks Aliyun for every template of the account.
func (d *doctor) sms(name string, dir *company.Directory, c company.Company, rooms stores) {
	account, ok := dir.SMSOf(c.ID)
	if !ok {
		d.say(name+" sms", CheckFail, "no SMS account: binding codes and emergency notices can't leave")
		return
	}
	base := ""
	if d.c.Sandbox {
		base = d.c.SMSURL
	}
	door, err := sms.New(sms.Options{Base: base, Directory: rooms.companies, Clock: clock.System(), Logger: d.log})
	if err != nil {
		d.say(name+" sms", CheckFail, "the address can't be read")
		return
	}
	defer door.Close()
	ctx, cancel := context.WithTimeout(d.ctx, templatesBudget)
	defer cancel()
	problems := door.CheckTemplates(ctx, account, rooms.book.SMSCatalogue())
	for _, p := range problems {
		d.say(name+" sms", CheckFail, p.Purpose+": "+p.What)
	}
	if len(problems) == 0 {
		d.say(name+" sms", CheckOK, "signature and templates stand as they must")
	}
}

// wecom opens the bot's socket and asks for the application's token.
func (d *doctor) wecom(name string, dir *company.Directory, c company.Company) {
	door, err := wecomapi.New(wecomapi.Options{QYAPI: d.c.WeComURL, Socket: d.c.WeComSocket, Logger: d.log})
	if err != nil {
		d.say(name+" wecom", CheckFail, "the address can't be read")
		return
	}
	defer door.Close()
	ctx, cancel := context.WithTimeout(d.ctx, probeBudget)
	defer cancel()
	if _, ok := dir.BotOf(c.ID); !ok {
		d.say(name+" wecom bot", CheckFail, "no bot: work groups get no cards")
	} else if err := door.CheckSocket(ctx); err != nil {
		d.say(name+" wecom bot", CheckFail, err.Error()+"; check network and proxy")
	} else {
		d.say(name+" wecom bot", CheckOK, "the socket opens")
	}
	corp, ok := dir.CorpOf(c.ID)
	if !ok {
		return // cards and webhooks need no application
	}
	if err := door.CheckToken(ctx, wecomapi.Corp{CorpID: corp.CorpID, Secret: corp.Secret}); err != nil {
		d.say(name+" wecom app", CheckFail, err.Error())
	} else {
		d.say(name+" wecom app", CheckOK, "gives a token")
	}
}
