package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/config"
	"guanjia/internal/db"
	"guanjia/internal/embedded"
	"guanjia/internal/telemetry"
	"guanjia/internal/wechatapi"
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
		d.say("companies", CheckWarn, "there is none yet; `guanjia seed` loads a sample one")
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
	var homes int
	if err := conn.QueryRowContext(d.ctx, `SELECT count(*) FROM units`).Scan(&homes); err == nil && homes > embeddedHomes {
		d.say("size", CheckWarn, fmt.Sprintf("%d homes are too many for the embedded database; move to PostgreSQL and Redis above %d", homes, embeddedHomes))
	}
}

func (d *doctor) company(dir *company.Directory, c company.Company, rooms stores) {
	name := "company " + c.ID
	if c.Settings.Hotline == "" {
		d.say(name+" hotline", CheckFail, "the 24-hour number is missing; danger answers quote it")
	}
	if account, ok := dir.SMSOf(c.ID); ok {
		for _, p := range sms.CheckSettings(account, rooms.book.SMSCatalogue()) {
			d.say(name+" sms", CheckFail, p.Purpose+": "+p.What)
		}
	} else {
		d.say(name+" sms", CheckFail, "no SMS account: binding codes and emergency notices can't leave")
	}
	account, ok := dir.WeChatOf(c.ID)
	if !ok {
		d.say(name+" wechat", CheckFail, "no Official Account")
		return
	}
	door, err := wechatapi.New(wechatapi.Options{Bases: map[string]string{wechatapi.HostAPI: d.c.WeChatURL}, Clock: clock.System(), Logger: d.log})
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
	d.reach(name+" wecom", d.c.WeComURL)
	d.reach(name+" aliyun", d.c.SMSURL)
}

// reach asks whether a vendor's host answers at all; the answer itself is not looked at.
func (d *doctor) reach(name, base string) {
	ctx, cancel := context.WithTimeout(d.ctx, probeBudget)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/", nil)
	if err != nil {
		d.say(name, CheckFail, "the address can't be read")
		return
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.say(name, CheckFail, "the host does not answer; check network and proxy")
		return
	}
	_ = res.Body.Close()
	d.say(name, CheckOK, "the host answers")
}
