package notify_test

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"strconv"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/estate"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/register"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
	"guanjia/notify"
	"guanjia/templates"
)

// bigHouse is the sample company with many residents, without conversations
// and desk.
func bigHouse(t testing.TB, d *db.DB, residents int) *house {
	t.Helper()
	book, err := wording.Load(templates.FS())
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := company.NewSealer(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	clk := clock.NewManual(worldtest.Start())
	s := sample.Company(sample.Options{Book: book, Residents: residents})
	settings := func(string) company.Settings { return s.Company.Settings }
	log := slog.New(slog.DiscardHandler)
	w := &worldtest.World{DB: d, Clock: clk, Sample: s, Book: book}
	w.Companies = company.New(d, sealer)
	w.Estate = estate.New(d, clk, sealer, settings)
	w.Staff = staff.New(d, clk, sealer, settings)
	w.Ledger = ledger.Open(d, clk, log)
	t.Cleanup(w.Ledger.Stop)
	load(t, w)
	if err := w.Companies.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := &house{World: w, runner: jobs.New(d, clk, log, jobs.Options{}), reg: register.New(d, clk, book, w.Companies)}
	h.Notices, err = notify.New(notify.Deps{
		DB: d, Clock: clk, Ledger: w.Ledger, Estate: w.Estate, Staff: w.Staff, Companies: w.Companies, Register: h.reg,
		Jobs: h.runner, Book: book, Files: templates.FS(), Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// load puts the sample without its queues, which need Redis.
func load(t testing.TB, w *worldtest.World) {
	t.Helper()
	ctx := t.Context()
	s := w.Sample
	inTx(t, w.DB, func(ctx context.Context, tx *db.Tx) error {
		if err := w.Companies.CreateTx(ctx, tx, s.Company); err != nil {
			return err
		}
		if err := w.Companies.PutWeChatTx(ctx, tx, s.Account); err != nil {
			return err
		}
		if err := w.Companies.PutSMSTx(ctx, tx, s.SMS); err != nil {
			return err
		}
		for _, m := range s.Staff {
			if err := w.Staff.PutTx(ctx, tx, m); err != nil {
				return err
			}
		}
		return w.Estate.PutTx(ctx, tx, estate.Batch{Projects: []estate.Project{s.Project}})
	})
	var b estate.Batch
	buildings, entrances, people := map[string]bool{}, map[string]bool{}, map[string]bool{}
	flush := func() {
		if err := w.DB.InTx(ctx, "test.load", func(ctx context.Context, tx *db.Tx) error { return w.Estate.PutTx(ctx, tx, b) }); err != nil {
			t.Fatal(err)
		}
		b = estate.Batch{}
	}
	since := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for hh := range s.Households() {
		u := hh.Unit
		bid := "b-" + u.Building
		if !buildings[bid] {
			buildings[bid] = true
			b.Buildings = append(b.Buildings, estate.Building{ID: bid, CompanyID: sample.CompanyID, ProjectID: sample.ProjectID, Code: u.Building})
		}
		if !entrances[u.EntranceID] {
			entrances[u.EntranceID] = true
			b.Entrances = append(b.Entrances, estate.Entrance{ID: u.EntranceID, CompanyID: sample.CompanyID, BuildingID: bid, Code: u.Entrance})
		}
		b.Units = append(b.Units, u)
		for _, p := range hh.People {
			b.Homes = append(b.Homes, estate.HomeRow{ID: "h-" + u.Code + p.ID, CompanyID: sample.CompanyID, ResidentID: p.ID, UnitID: u.ID, Role: p.Role, Since: since})
			if people[p.ID] {
				continue
			}
			people[p.ID] = true
			b.Residents = append(b.Residents, estate.Resident{ID: p.ID, CompanyID: sample.CompanyID, Name: p.Name, Phone: p.Phone})
			if p.Bound() {
				b.Bindings = append(b.Bindings, estate.Binding{ID: "bind-" + p.ID, CompanyID: sample.CompanyID, AccountID: sample.AccountID, OpenID: p.OpenID, ResidentID: p.ID, BoundAt: since})
			}
		}
		if len(b.Units) >= 2000 {
			flush()
		}
	}
	flush()
}

// Ten thousand recipients on the embedded database: every address once, and no
// transaction that holds others up for long.
func TestTenThousandOnSQLite(t *testing.T) {
	t.Parallel()
	h := bigHouse(t, dbtest.SQLite(t), 10_000)
	duty := h.as(t, staff.RoleDutyManager)
	d := burst()
	d.Scope = notify.Scope{}
	n := compose(t, h, duty, d)
	from := time.Now()
	n = approve(t, h, duty, n)
	took := time.Since(from)
	rows := h.rows(t, notify.RefNotice, n.ID)
	want := n.Audience.SMS + n.Audience.Template
	if got := addresses(rows); len(got) != want || len(rows) != want || want < 9_000 {
		t.Fatalf("%d rows for %d addresses, want %d", len(rows), len(got), want)
	}
	if took > 10*time.Second { // a third of a second on an idle machine
		t.Errorf("approval took %s", took)
	}
	t.Logf("approved and frozen %d addresses in %s", want, took)
	from = time.Now()
	p, err := h.Progress(t.Context(), n.CompanyID, n.ID)
	if err != nil || p.Counts["planned"] != want {
		t.Fatalf("%v %v", p.Counts, err)
	}
	t.Logf("progress in %s", time.Since(from))
}

// BenchmarkSnapshot freezes the whole sample, beside a bare INSERT ... SELECT of
// the same deliveries. GUANJIA_BENCH_RESIDENTS says how many; run it with
// -benchtime 1x.
func BenchmarkSnapshot(b *testing.B) {
	residents, err := strconv.Atoi(os.Getenv("GUANJIA_BENCH_RESIDENTS"))
	if err != nil {
		residents = 10_000
	}
	for _, engine := range []db.Engine{db.EngineSQLite, db.EnginePostgres} {
		b.Run(string(engine), func(b *testing.B) {
			d := dbtest.SQLite(b)
			if engine == db.EnginePostgres {
				d = dbtest.Open(b, dbtest.Postgres(b))
			}
			h := bigHouse(b, d, residents)
			by := notify.By{}
			by.CompanyID, by.UserID, by.Trusted = sample.CompanyID, "admin", true
			for range b.N {
				draft := burst()
				draft.Scope = notify.Scope{}
				n := compose(b, h, by, draft)
				from := time.Now()
				n = approve(b, h, by, n)
				b.ReportMetric(float64(time.Since(from).Milliseconds()), "snapshot_ms")
				total := 0
				for _, v := range counted(b, h, n) {
					total += v
				}
				b.ReportMetric(float64(total), "rows")
				from = time.Now()
				bare(b, h)
				b.ReportMetric(float64(time.Since(from).Milliseconds()), "bare_ms")
				from = time.Now()
				if _, err := h.Progress(b.Context(), n.CompanyID, n.ID); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(from).Milliseconds()), "progress_ms")
			}
		})
	}
}

func counted(t testing.TB, h *house, n notify.Notice) map[string]int {
	t.Helper()
	p, err := h.Progress(t.Context(), n.CompanyID, n.ID)
	if err != nil {
		t.Fatal(err)
	}
	return maps.Clone(p.Counts)
}

// bare is the same audience written straight into deliveries.
func bare(t testing.TB, h *house) {
	t.Helper()
	text, args := h.Estate.Audience(sample.CompanyID, estate.Scope{ProjectID: sample.ProjectID}, estate.AudienceOptions{IgnoreOptOut: true})
	inTx(t, h.DB, func(ctx context.Context, tx *db.Tx) error {
		for _, ch := range []string{"sms", "template"} {
			n := len(args)
			all := append(append([]any{}, args...), ch, db.At(h.Clock.Now()))
			ph := func(i int) string { return "$" + strconv.Itoa(n+i) }
			_, err := tx.ExecContext(ctx, `
				insert into deliveries (id, root_id, hop, next_id, company_id, channel, account_id, source, address, lane, class, state, text_key, text, payload, plan,
					ref_kind, ref_id, ref_rev, part, order_key, supersede, due_at, lease_by, attempts, submissions, failures, code, created_at, updated_at)
				select 'bare' || r.channel || cast(row_number() over () as text), 'x', 0, '', 'demo', r.channel, r.account_id, r.channel || '|' || r.account_id, r.address,
					'bulk', 'other', 'planned', '', 'words', '{}', '', 'bare', 'bare', 0, '', '', false, `+db.TimeParam(tx, ph(2))+`, '', 0, 0, 0, '', `+db.TimeParam(tx, ph(2))+`, `+db.TimeParam(tx, ph(2))+`
				from (select distinct channel, account_id, address from (`+text+`) a where channel = `+ph(1)+`) r`, all...)
			if err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `delete from deliveries where ref_id = 'bare' and 1 = 0`)
		return err
	})
}
