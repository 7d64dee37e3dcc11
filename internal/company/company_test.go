package company_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const aesKey = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"

func sealer(t testing.TB, b byte) *company.Sealer {
	t.Helper()
	s, err := company.NewSealer(bytes.Repeat([]byte{b}, company.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every secret of a company carries this mark, so that a leak can be searched for.
const mark = "S3CR3T"

func accounts() (company.WeChatAccount, company.WeComBot, company.WeComCorp, company.Webhook, company.SMSAccount) {
	return company.WeChatAccount{
			ID: "a1", CompanyID: "c1", Path: "demo", AppID: "wx1", Secret: mark + "1", Token: mark + "2", AESKey: aesKey, PrevAESKey: mark + "3",
			Mode: company.ModeEncrypted, OriginalID: "gh_1", Templates: map[string]string{"answer_waiting": "T1"},
		},
		company.WeComBot{ID: "b1", CompanyID: "c1", BotID: "aib1", Secret: mark + "4", Name: "管家"},
		company.WeComCorp{ID: "k1", CompanyID: "c1", CorpID: "ww1", Secret: mark + "5", AgentID: 7},
		company.Webhook{ID: "w1", CompanyID: "c1", Key: mark + "6", ChatID: "wrAbC"},
		company.SMSAccount{
			ID: "s1", CompanyID: "c1", AccessKeyID: "LTAI1", AccessKeySecret: mark + "7", Sign: "青禾物业", CallbackSecret: mark + "8",
			Templates: map[string]string{"bind_code": "SMS_1"},
		}
}

func fill(t testing.TB, d *db.DB, s *company.Store) {
	t.Helper()
	a, b, k, w, m := accounts()
	err := d.InTx(context.Background(), "test", func(ctx context.Context, tx *db.Tx) error {
		settings := company.DefaultSettings()
		settings.Hotline = "0571-00000024"
		return errors.Join(
			s.CreateTx(ctx, tx, company.Company{ID: "c1", Name: "青禾物业服务有限公司", Short: "青禾物业", Settings: settings}),
			s.PutWeChatTx(ctx, tx, a), s.PutBotTx(ctx, tx, b), s.PutCorpTx(ctx, tx, k), s.PutWebhookTx(ctx, tx, w), s.PutSMSTx(ctx, tx, m))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		s := company.New(d, sealer(t, 1))
		if any, err := s.Any(ctx); any || err != nil {
			t.Fatalf("an empty installation has a company: %t, %v", any, err)
		}
		fill(t, d, s)
		if any, err := s.Any(ctx); !any || err != nil {
			t.Fatalf("the company is not seen: %t, %v", any, err)
		}
		dir, err := s.Directory(ctx)
		if err != nil {
			t.Fatal(err)
		}
		a, b, k, w, m := accounts()
		check := func(what string, want, got any, ok bool) {
			t.Helper()
			// Field by field: the types print without secrets.
			wantJSON, _ := json.Marshal(want)
			gotJSON, _ := json.Marshal(got)
			if !ok || !bytes.Equal(wantJSON, gotJSON) {
				t.Errorf("%s is %s, %t; want %s", what, gotJSON, ok, wantJSON)
			}
		}
		c, ok := dir.Company("c1")
		if !ok || c.Settings.Hotline != "0571-00000024" || c.Short != "青禾物业" || len(dir.Companies()) != 1 {
			t.Errorf("company is %+v, %t", c, ok)
		}
		v, ok := dir.WeChatByPath("demo")
		check("account by path", a, v, ok)
		v, ok = dir.WeChatByID("a1")
		check("account by id", a, v, ok)
		v, ok = dir.WeChatOf("c1")
		check("account of company", a, v, ok)
		bot, ok := dir.BotByID("aib1")
		check("bot by id", b, bot, ok)
		bot, ok = dir.BotOf("c1")
		check("bot of company", b, bot, ok)
		corp, ok := dir.CorpOf("c1")
		check("corp", k, corp, ok)
		hook, ok := dir.WebhookOfChat("c1", "wrAbC")
		check("webhook", w, hook, ok)
		if _, ok := dir.WebhookOfChat("c1", "wrabc"); ok {
			t.Error("chat ids must be compared with their case")
		}
		sms, ok := dir.SMSOf("c1")
		check("sms of company", m, sms, ok)
		sms, ok = dir.SMSByID("s1")
		check("sms by id", m, sms, ok)
		if len(dir.Bots()) != 1 || len(dir.WeChats()) != 1 || len(dir.SMSAccounts()) != 1 {
			t.Error("lists are incomplete")
		}
		if _, ok := dir.WeChatByPath("other"); ok {
			t.Error("an unknown path was found")
		}
	})
}

func TestDirectorySeesChangesAndOutlivesTheDatabase(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	ctx := context.Background()
	s := company.New(d, sealer(t, 1))
	other := company.New(d, sealer(t, 1)) // another node
	fill(t, d, s)
	if _, err := s.Directory(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Directory(ctx); err != nil {
		t.Fatal(err)
	}
	settings := company.DefaultSettings()
	settings.Hotline = "400-000"
	err := d.InTx(ctx, "test", func(ctx context.Context, tx *db.Tx) error {
		return s.UpdateTx(ctx, tx, company.Company{ID: "c1", Name: "N", Short: "S", Settings: settings})
	})
	if err != nil {
		t.Fatal(err)
	}
	hotline := func(s *company.Store) string {
		t.Helper()
		dir, err := s.Directory(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := dir.Company("c1")
		return c.Settings.Hotline
	}
	if got := hotline(s); got != "400-000" {
		t.Errorf("own change is not seen: %q", got)
	}
	if err := other.Refresh(ctx); err != nil || hotline(other) != "400-000" {
		t.Errorf("another node's change is not seen after a refresh: %q, %v", hotline(other), err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Refresh(ctx); err == nil {
		t.Error("a refresh without database must say so")
	}
	began := time.Now()
	for range 1000 {
		hotline(s)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a thousand look-ups without database took %s: each has tried it", took)
	}
	if got := hotline(s); got != "400-000" {
		t.Errorf("without database the directory says %q", got)
	}
}

func TestRunRefreshesUntilTheEnd(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	s, writer := company.New(d, sealer(t, 1)), company.New(d, sealer(t, 1))
	fill(t, d, writer)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, 5*time.Millisecond, slog.New(slog.DiscardHandler))
	}()
	if _, err := s.Directory(ctx); err != nil {
		t.Fatal(err)
	}
	settings := company.DefaultSettings()
	settings.BotName = "小管"
	err := d.InTx(ctx, "test", func(ctx context.Context, tx *db.Tx) error {
		return writer.UpdateTx(ctx, tx, company.Company{ID: "c1", Settings: settings})
	})
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		dir, err := s.Directory(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if c, _ := dir.Company("c1"); c.Settings.BotName == "小管" {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the change of another node never arrived")
		}
	}
	cancel()
	<-done
}

func TestSecretsAreSealedInRows(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		fill(t, d, company.New(d, sealer(t, 1)))
		rows, err := d.QueryContext(ctx, `SELECT kind, address || settings || sealed FROM channel_accounts`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		n := 0
		for rows.Next() {
			var kind, all string
			if err := rows.Scan(&kind, &all); err != nil {
				t.Fatal(err)
			}
			n++
			if strings.Contains(all, mark) || strings.Contains(all, aesKey) {
				t.Errorf("a secret of the %s account lies open in its row", kind)
			}
		}
		if err := rows.Err(); err != nil || n != 5 {
			t.Fatalf("%d rows, %v", n, err)
		}
		_, err = company.New(d, sealer(t, 2)).Directory(ctx)
		if !errors.Is(err, company.ErrSealed) {
			t.Errorf("another master key gives %v, want ErrSealed", err)
		}
		if strings.Contains(fmt.Sprint(err), mark) {
			t.Error("the error tells a secret")
		}
	})
}

func TestSealedRowsCannotBeSwapped(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	ctx := context.Background()
	s := company.New(d, sealer(t, 1))
	fill(t, d, s)
	if _, err := d.ExecContext(ctx, `
		UPDATE channel_accounts SET sealed = (SELECT sealed FROM channel_accounts WHERE kind = 'wecom_corp') WHERE kind = 'wecom_bot'`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Directory(ctx); !errors.Is(err, company.ErrSealed) {
		t.Errorf("a secret moved to another row opens: %v", err)
	}
}

func TestPrintingTellsNoSecret(t *testing.T) {
	t.Parallel()
	a, b, k, w, m := accounts()
	var buf bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&buf, nil))
	for _, v := range []any{a, b, k, w, m, &a, &b, &k, &w, &m} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
			fmt.Fprintf(&buf, verb, v)
		}
		log.Info("account", "value", v)
	}
	if strings.Contains(buf.String(), mark) || strings.Contains(buf.String(), aesKey) {
		t.Errorf("a secret was printed: %s", buf.String())
	}
}

func TestAccountsAreChecked(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	s := company.New(d, sealer(t, 1))
	fill(t, d, s)
	for name, change := range map[string]func(*company.WeChatAccount){
		"unknown mode":     func(a *company.WeChatAccount) { a.Mode = "secret" },
		"short key":        func(a *company.WeChatAccount) { a.AESKey = "short" },
		"key not base64":   func(a *company.WeChatAccount) { a.AESKey = strings.Repeat("!", 43) },
		"path taken":       func(a *company.WeChatAccount) { a.ID = "a2" },
		"no key, encryted": func(a *company.WeChatAccount) { a.AESKey = "" },
	} {
		a, _, _, _, _ := accounts()
		change(&a)
		err := d.InTx(context.Background(), "test", func(ctx context.Context, tx *db.Tx) error { return s.PutWeChatTx(ctx, tx, a) })
		if err == nil {
			t.Errorf("%s was taken", name)
		} else if strings.Contains(err.Error(), mark) {
			t.Errorf("%s: the error tells a secret", name)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := company.DefaultSettings()
	if err := s.Check(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), `"reply_hold":"5s"`) || !strings.Contains(string(b), `"emergency":"2m0s"`) {
		t.Errorf("durations are not written as text: %s", b)
	}
	var back company.Settings
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, back); d != "" {
		t.Error(d)
	}
	some := company.DefaultSettings()
	if err := json.Unmarshal([]byte(`{"reply_hold":"0s","capacity":3}`), &some); err != nil {
		t.Fatal(err)
	}
	if some.ReplyHold != 0 || some.Capacity != 3 || some.CodeTTL != s.CodeTTL || some.FirstReply["high"] != s.FirstReply["high"] {
		t.Errorf("what was not said has not kept its default: %+v", some)
	}
	for _, bad := range []string{`{"reply_hodl":"5s"}`, `{"reply_hold":5}`, `{"reply_hold":"soon"}`} {
		v := company.DefaultSettings()
		if err := json.Unmarshal([]byte(bad), &v); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	for name, change := range map[string]func(*company.Settings){
		"hold of an hour":   func(s *company.Settings) { s.ReplyHold = time.Hour },
		"no code interval":  func(s *company.Settings) { s.CodeInterval = 0 },
		"no first reply":    func(s *company.Settings) { delete(s.FirstReply, "high") },
		"reply in two days": func(s *company.Settings) { s.FirstReply["low"] = 48 * time.Hour },
		"quiet hours":       func(s *company.Settings) { s.QuietTo = "7 am" },
		"no capacity":       func(s *company.Settings) { s.Capacity = 0 },
	} {
		v := company.DefaultSettings()
		change(&v)
		if err := v.Check(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestSealer(t *testing.T) {
	t.Parallel()
	s := sealer(t, 1)
	a, err := s.Seal([]byte("plain"), []byte("place"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Seal([]byte("plain"), []byte("place"))
	if err != nil || bytes.Equal(a, b) {
		t.Errorf("sealed twice it is the same (%v): a nonce was used again", err)
	}
	if p, err := s.Open(a, []byte("place")); err != nil || string(p) != "plain" {
		t.Errorf("opens as %q, %v", p, err)
	}
	damaged := bytes.Clone(a)
	damaged[len(damaged)-1] ^= 1
	for name, try := range map[string]func() error{
		"another place": func() error { _, err := s.Open(a, []byte("elsewhere")); return err },
		"another key":   func() error { _, err := sealer(t, 2).Open(a, []byte("place")); return err },
		"damage":        func() error { _, err := s.Open(damaged, []byte("place")); return err },
		"nothing":       func() error { _, err := s.Open(nil, []byte("place")); return err },
		"short":         func() error { _, err := s.Open(a[:10], []byte("place")); return err },
	} {
		if err := try(); !errors.Is(err, company.ErrSealed) {
			t.Errorf("%s gives %v, want ErrSealed", name, err)
		}
	}
	if _, err := company.NewSealer([]byte("short")); err == nil {
		t.Error("a short master key was taken")
	}
	if bytes.Equal(s.MAC("a", []byte("x")), s.MAC("b", []byte("x"))) || bytes.Equal(s.MAC("a", []byte("x")), sealer(t, 2).MAC("a", []byte("x"))) {
		t.Error("digests do not depend on purpose and key")
	}
}

func FuzzOpen(f *testing.F) {
	s, err := company.NewSealer(bytes.Repeat([]byte{1}, company.KeySize))
	if err != nil {
		f.Fatal(err)
	}
	good, err := s.Seal([]byte("x"), []byte("y"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := s.Open(b, []byte("y")); err == nil && !bytes.Equal(b, good) {
			t.Errorf("%x opened as %q", b, p)
		}
	})
}
