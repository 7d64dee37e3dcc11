package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/config"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/staff"
)

func storesOf(t *testing.T, d *db.DB) stores {
	t.Helper()
	a, err := New(Options{Config: config.Config{MasterKey: bytes.Repeat([]byte{1}, 32)}, Clock: clock.NewManual(time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC)), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a.db = d
	sealer, err := a.sealer()
	if err != nil {
		t.Fatal(err)
	}
	rooms, err := a.openRooms(sealer)
	if err != nil {
		t.Fatal(err)
	}
	return rooms
}

// example is deploy/company.example.yaml with its secrets in a folder.
func example(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../deploy/company.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, m := range regexp.MustCompile(`/etc/guanjia/secrets/([a-z-]+)`).FindAllStringSubmatch(string(raw), -1) {
		secret := strings.Repeat(m[1]+"0", 8)
		if m[1] == "wechat-aes-key" {
			secret = strings.Repeat("a", 42) + "A"
		}
		if err := os.WriteFile(filepath.Join(dir, m[1]), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return strings.ReplaceAll(string(raw), "/etc/guanjia/secrets/", dir+"/")
}

func apply(t *testing.T, d *db.DB, text string, o ApplyOptions) (Applied, error) {
	t.Helper()
	f, err := readCompanyFile(strings.NewReader(text))
	if err != nil {
		return Applied{}, err
	}
	return applyCompany(context.Background(), d, storesOf(t, d), f, o)
}

func changes(a Applied) string {
	var b strings.Builder
	for _, c := range a.Changes {
		fmt.Fprintf(&b, "%s %s %s; ", c.Verb, c.What, c.Name)
	}
	return b.String()
}

func TestCompanyApply(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx, text := context.Background(), example(t)
		dry, err := apply(t, d, text, ApplyOptions{DryRun: true})
		if err != nil || len(dry.Changes) < 20 {
			t.Fatalf("dry run: %s, %v", changes(dry), err)
		}
		if any, err := storesOf(t, d).companies.Any(ctx); any || err != nil {
			t.Fatalf("a dry run made a company, %v", err)
		}
		done, err := apply(t, d, text, ApplyOptions{})
		if err != nil || changes(done) != changes(dry) {
			t.Fatalf("applied: %s, %v", changes(done), err)
		}
		rooms := storesOf(t, d)
		dir, err := rooms.companies.Directory(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := dir.Company("qinghe")
		account, okAccount := dir.WeChatByPath("qinghe")
		sms, okSMS := dir.SMSOf("qinghe")
		if c.Settings.Hotline != "010-88880000" || c.Settings.Capacity == 0 || !okAccount || !strings.HasPrefix(account.Secret, "wechat-secret0") || !okSMS || len(sms.CallbackSecret) < 16 {
			t.Errorf("company %s, account %v %t, sms %t", c.Settings.Hotline, account, okAccount, okSMS)
		}
		if len(done.Addresses) != 3 || done.Addresses[0].Name != "/wechat/qinghe" || !strings.HasSuffix(done.Addresses[2].Name, "/up") || len(done.Missing) == 0 {
			t.Errorf("addresses %v, missing %v", done.Addresses, done.Missing)
		}
		p, err := rooms.staff.Authenticate(ctx, "chenjing", strings.Repeat("console-chenjing0", 8))
		if err != nil || p.Member.Name != "陈静" || !p.May(staff.RightSupervise) {
			t.Errorf("sign-in: %v", err)
		}
		if p, ok, err := rooms.staff.ByToken(ctx, d, strings.Repeat("token-jiangnan0", 8)); !ok || err != nil || !p.May(staff.RightKeepResidents) {
			t.Errorf("token: %t, %v", ok, err)
		}
		queues, err := rooms.queues.All(ctx, d, "qinghe")
		if err != nil || len(queues) != 2 {
			t.Fatalf("queues %v, %v", queues, err)
		}

		again, err := apply(t, d, text, ApplyOptions{})
		if err != nil || len(again.Changes) > 0 {
			t.Errorf("the same file again: %s, %v", changes(again), err)
		}
		if again.Addresses[1] != done.Addresses[1] {
			t.Error("the drawn callback secret changed")
		}
		// Somebody is off duty, one leaves, a name, a setting and a password change.
		if err := d.InTx(ctx, "test", func(ctx context.Context, tx *db.Tx) error {
			return rooms.staff.SetOnDutyTx(ctx, tx, "qinghe", "zhangwei", false)
		}); err != nil {
			t.Fatal(err)
		}
		edited := strings.NewReplacer("010-88880000", "010-99990000", "name: 工程维修\n", "name: 维修\n", `phone: "13800000002"`, `phone: "13900000002"`,
			`{userid: yangguang, name: 杨光, role: duty_manager, phone: "13800000004"}`, `{userid: yangguang, name: 杨光, role: duty_manager, left: true}`).Replace(text)
		changed, err := apply(t, d, edited, ApplyOptions{ResetPasswords: true})
		want := "change company 青禾物业服务有限公司; change staff yangguang; change staff zhangwei; change queue 青禾花园 维修; change console user admin; change console user chenjing; "
		if err != nil || changes(changed) != want {
			t.Errorf("edited: %s, %v\nwant %s", changes(changed), err, want)
		}
		if m, ok, err := rooms.staff.ByUserID(ctx, d, "qinghe", "zhangwei"); !ok || err != nil || m.OnDuty || m.Phone != "13900000002" {
			t.Errorf("member %+v, %v", m, err)
		}
		// Another company can't take what is this one's, and gets nothing then.
		_, err = apply(t, d, strings.Replace(text, "id: qinghe ", "id: other  ", 1), ApplyOptions{})
		var problems FileProblems
		if !errors.As(err, &problems) || problems[0].Field != "wechat[0].path" {
			t.Errorf("another company with the same account: %v", err)
		}
		if has, err := rooms.companies.Has(ctx, "other"); has || err != nil {
			t.Errorf("half a company stands there, %v", err)
		}
	})
}

func TestCompanyFileProblems(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	for name, c := range map[string]struct{ text, want string }{
		"empty":         {"", "is empty"},
		"unknown key":   {"id: a1\nstaffs: []\n", "staffs"},
		"unknown inner": {"bots: [{bot_id: a, secret: {path: x}}]\n", "there is no key path"},
		"two documents": {"id: a1\n---\nid: a2\n", "more than one document"},
		"everything": {`
id: 青禾
short: 青
settings: {capacity: 0}
wechat: [{path: "a/b", app_id: "", original_id: x, mode: secret, secret: topsecret, token: {env: NO_SUCH}, encoding_aes_key: {file: /no/such/file}, templates: {no_such: x}}]
bots: [{bot_id: b, name: n, secret: {env: EMPTY}}]
corp: {corp_id: "", secret: {env: HELD, file: x}}
sms: {access_key_id: a, access_key_secret: {env: HELD}, sign: 【青】, callback_secret: {env: HELD}, templates: {no_such: TEMPLATE}}
staff:
  - {userid: a b, name: "", role: king, phone: "123"}
  - {userid: x, name: 甲, role: front_desk, phone: "13800000001"}
  - {userid: x, name: 乙, role: front_desk, phone: "13800000001"}
projects: [{name: p, queues: [{line: sea, name: "", members: [y, {userid: x, capacity: -1}], groups: [{chatid: c, bot: other}]}]}]
console_users: [{user: u, password: {env: HELD}}]
api_tokens: [{name: t, userid: nobody, token: {env: HELD}}]
`, `id: must be 2 to 40
name: is missing
settings: company settings: capacity is 0
wechat[0].path: must be
wechat[0].app_id: is missing
wechat[0].original_id: must be the gh_
wechat[0].secret: write no secret here
wechat[0].token: the variable NO_SUCH is not set
wechat[0].encoding_aes_key: open its file
wechat[0].mode: must be plain
wechat[0].templates.no_such: there is no such
bots[0].secret: the variable EMPTY is empty
corp.corp_id: is missing
corp.agent_id: must be the number
corp.secret: give file or env
sms.sign: write the signature without
sms.templates.no_such: there is no such SMS
sms.templates.no_such: must be the code
sms.callback_secret: must be 16
staff[0].userid: must be 1 to 64
staff[0].name: is missing
staff[0].role: there is no role "king"
staff[0].phone: is no mobile
staff[2].userid: x stands here twice
staff[2].phone: is another member's
console_users[0].userid: is missing
console_users[0].password: must have at least 10
api_tokens[0].userid: nobody does not stand
api_tokens[0].token: must have at least 32
projects[0].queues[0].line: there is no line "sea"
projects[0].queues[0].name: is missing
projects[0].queues[0].members[0]: y does not work here
projects[0].queues[0].members[1].capacity: must not be negative
projects[0].queues[0].groups[0].bot: other does not stand`},
	} {
		_, err := apply(t, d, c.text, ApplyOptions{Environ: []string{"EMPTY=", "HELD=held"}})
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		got := strings.Split(err.Error(), "\n")
		want := strings.Split(c.want, "\n")
		if name == "everything" && len(got) != len(want) {
			t.Errorf("%s: %d problems, want %d:\n%v", name, len(got), len(want), err)
			continue
		}
		for i, w := range want {
			if name != "everything" && strings.Contains(err.Error(), w) {
				continue
			}
			if !strings.Contains(got[min(i, len(got)-1)], w) {
				t.Errorf("%s: %q, want %q", name, got[min(i, len(got)-1)], w)
			}
		}
		if strings.Contains(err.Error(), "topsecret") || strings.Contains(err.Error(), "held\n") {
			t.Errorf("%s: a secret stands in the error", name)
		}
	}
}
