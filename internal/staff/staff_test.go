package staff_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/staff"
)

type suite struct {
	*staff.Staff
	db    *db.DB
	clock *clock.Manual
}

var start = time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)

func newSuite(t *testing.T, d *db.DB) suite {
	t.Helper()
	sealer, err := company.NewSealer(bytes.Repeat([]byte{1}, company.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	s := suite{db: d, clock: clock.NewManual(start)}
	s.Staff = staff.New(d, s.clock, sealer, nil)
	companies := company.New(d, sealer)
	s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
		for _, id := range []string{"c1", "c2"} {
			if err := companies.CreateTx(ctx, tx, company.Company{ID: id, Settings: company.DefaultSettings()}); err != nil {
				return err
			}
		}
		for _, m := range members() {
			if err := s.PutTx(ctx, tx, m); err != nil {
				return err
			}
		}
		for user, capacity := range map[string]int{"li": 3, "wang": 0, "wu": 0, "old": 0} {
			if err := s.PutQueueMemberTx(ctx, tx, staff.QueueMember{CompanyID: "c1", QueueID: "q1", UserID: user, Capacity: capacity}); err != nil {
				return err
			}
		}
		return nil
	})
	return s
}

func members() []staff.Member {
	return []staff.Member{
		{CompanyID: "c1", UserID: "li", Name: "李强", Role: string(staff.RoleTechnician), Phone: "13900000001", OnDuty: true},
		{CompanyID: "c1", UserID: "wang", Name: "王涛", Role: string(staff.RoleTechnician), Phone: "13900000002"},
		{CompanyID: "c1", UserID: "wu", Name: "吴晓", Role: string(staff.RoleTrainee), Phone: "13900000003", Trainee: true, OnDuty: true},
		{CompanyID: "c1", UserID: "yang", Name: "杨光", Role: string(staff.RoleDutyManager), Phone: "13900000004"},
		{CompanyID: "c1", UserID: "zhang", Name: "张伟", Role: string(staff.RoleLineHead), Phone: "13900000005", OnDuty: true},
		{CompanyID: "c1", UserID: "old", Name: "旧人", Role: string(staff.RoleTechnician), Phone: "13900000006", Left: true, OnDuty: true},
		{CompanyID: "c2", UserID: "li", Name: "另李", Role: string(staff.RoleFrontDesk), Phone: "13900000001", OnDuty: true},
	}
}

func (s suite) inTx(t testing.TB, f func(ctx context.Context, tx *db.Tx) error) {
	t.Helper()
	if err := s.db.InTx(context.Background(), "test", f); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, test func(t *testing.T, s suite)) {
	t.Helper()
	dbtest.Run(t, func(t *testing.T, d *db.DB) { test(t, newSuite(t, d)) })
}

func ids(ms []staff.Member) string {
	var out []string
	for _, m := range ms {
		out = append(out, m.UserID)
	}
	return strings.Join(out, " ")
}

func TestMembers(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		m, ok, err := s.ByUserID(ctx, s.db, "c1", "li")
		if d := cmp.Diff(members()[0], m); !ok || err != nil || d != "" {
			t.Errorf("%t, %v\n%s", ok, err, d)
		}
		if m, _, err := s.ByUserID(ctx, s.db, "c2", "li"); err != nil || m.Name != "另李" {
			t.Errorf("the other company's li is %s, %v", m.Name, err)
		}
		for _, gone := range []string{"old", "nobody"} {
			if _, ok, err := s.ByUserID(ctx, s.db, "c1", gone); ok || err != nil {
				t.Errorf("%s was found: %v", gone, err)
			}
		}
		if m, _, err := s.ByUserID(ctx, s.db, "c1", "wu"); err != nil || !m.Trainee {
			t.Errorf("wu is no trainee: %v", err)
		}
		all, err := s.All(ctx, s.db, "c1")
		if err != nil || ids(all) != "li wang wu yang zhang" {
			t.Errorf("all: %s, %v", ids(all), err)
		}
		queue, err := s.QueueMembers(ctx, s.db, "q1")
		if err != nil || ids(queue) != "li wang wu" {
			t.Errorf("queue: %s, %v", ids(queue), err)
		}
		if n, ok, err := s.Capacity(ctx, s.db, "q1", "li"); n != 3 || !ok || err != nil {
			t.Errorf("capacity %d, %t, %v", n, ok, err)
		}
		if ok, err := s.IsQueueMember(ctx, s.db, "q1", "yang"); ok || err != nil {
			t.Errorf("yang works on q1: %v", err)
		}
		if qs, err := s.QueuesOf(ctx, s.db, "c1", "li"); err != nil || fmt.Sprint(qs) != "[q1]" {
			t.Errorf("queues of li: %v, %v", qs, err)
		}
		err = s.db.InTx(ctx, "test", func(ctx context.Context, tx *db.Tx) error {
			return s.PutTx(ctx, tx, staff.Member{CompanyID: "c1", UserID: "x", Role: "wizard"})
		})
		if err == nil {
			t.Error("an unknown role was taken")
		}
	})
}

// A loud text mentions who can act now: members on duty, no trainee, and the
// duty manager whatever the roster says.
func TestOnDutyFor(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		duty, err := s.OnDutyFor(ctx, s.db, "q1")
		if err != nil || ids(duty) != "li yang" {
			t.Errorf("on duty: %s, %v; want li yang", ids(duty), err)
		}
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			return errors.Join(s.SetOnDutyTx(ctx, tx, "c1", "li", false), s.SetOnDutyTx(ctx, tx, "c1", "wang", true))
		})
		if duty, err = s.OnDutyFor(ctx, s.db, "q1"); err != nil || ids(duty) != "wang yang" {
			t.Errorf("after the change of shift: %s, %v; want wang yang", ids(duty), err)
		}
		// A queue with a group and no member still rings the duty manager.
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			_, err := s.PutGroupTx(ctx, tx, "system", staff.WorkGroup{CompanyID: "c1", BotID: "b", ChatID: "wrX", QueueID: "q2"})
			return err
		})
		if duty, err = s.OnDutyFor(ctx, s.db, "q2"); err != nil || ids(duty) != "yang" {
			t.Errorf("empty queue: %s, %v; want yang", ids(duty), err)
		}
	})
}

func TestRights(t *testing.T) {
	t.Parallel()
	all := []staff.Right{
		staff.RightClaim, staff.RightReply, staff.RightNote, staff.RightAssign, staff.RightTransfer, staff.RightHandle, staff.RightClose, staff.RightWaive,
		staff.RightBindGroup, staff.RightWriteNotice, staff.RightApproveNotice, staff.RightApproveEmergency, staff.RightSupervise, staff.RightAdmin,
		staff.RightWriteArticle, staff.RightApproveArticle,
	}
	for _, c := range []struct {
		role staff.Role
		want string
	}{
		{staff.RoleTrainee, "note"},
		{staff.RoleTechnician, "claim reply note transfer handle close write_article"},
		{staff.RoleFrontDesk, "claim reply note transfer handle close write_article"},
		{staff.RoleLineHead, "claim reply note assign transfer handle close bind_group write_notice write_article"},
		{staff.RoleInformationOfficer, "claim reply note transfer handle close write_notice write_article"},
		{staff.RoleDutyManager, "claim reply note assign transfer handle close waive bind_group write_notice approve_emergency supervise write_article approve_article"},
		{staff.RoleDepartmentManager, "claim reply note assign transfer handle close waive bind_group write_notice approve_notice approve_emergency supervise write_article approve_article"},
		{staff.RoleFinanceHead, "note"},
	} {
		var got []string
		for _, r := range all {
			if (staff.Member{Role: string(c.role)}).May(r) {
				got = append(got, string(r))
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s may %v, want %s", c.role, got, c.want)
		}
	}
	for _, role := range staff.Roles() {
		m := staff.Member{Role: string(role), Trainee: true}
		for _, r := range all {
			if m.May(r) && r != staff.RightNote {
				t.Errorf("a trainee called %s may %s", role, r)
			}
		}
		if (staff.Member{Role: string(role)}).May(staff.RightAdmin) {
			t.Errorf("%s is an administrator by his role", role)
		}
	}
	if (staff.Member{Role: "owners_committee"}).May(staff.RightNote) || (staff.Member{}).May(staff.RightNote) {
		t.Error("somebody without a role of ours has a right")
	}
	if !(staff.Principal{Admin: true}).May(staff.RightAdmin) || (staff.Principal{Member: staff.Member{Role: string(staff.RoleCenterManager)}}).May(staff.RightAdmin) {
		t.Error("administration is the administrator's")
	}
}

func TestWorkGroups(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		bind := func(by, chat, queue string) error {
			m, ok, err := s.ByUserID(ctx, s.db, "c1", by)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			return s.db.InTx(ctx, "test", func(ctx context.Context, tx *db.Tx) error {
				_, err := s.BindGroupTx(ctx, tx, m, staff.WorkGroup{CompanyID: "c1", BotID: "bot", ChatID: chat, Name: "工程群", QueueID: queue})
				return err
			})
		}
		for _, by := range []string{"li", "wu"} {
			if err := bind(by, "wrAbC", "q1"); !errors.Is(err, staff.ErrForbidden) {
				t.Errorf("%s bound a group: %v", by, err)
			}
		}
		if err := bind("zhang", "wrAbC", "q1"); err != nil {
			t.Fatal(err)
		}
		g, ok, err := s.GroupByChat(ctx, s.db, "bot", "wrAbC")
		if !ok || err != nil || g.QueueID != "q1" || g.Name != "工程群" {
			t.Errorf("group %+v, %t, %v", g, ok, err)
		}
		for _, other := range [][2]string{{"bot", "wrabc"}, {"another bot", "wrAbC"}} {
			if _, ok, err := s.GroupByChat(ctx, s.db, other[0], other[1]); ok || err != nil {
				t.Errorf("%v was found: %v", other, err)
			}
		}
		if err := bind("yang", "wrAbC", "q2"); err != nil { // moved to another queue
			t.Fatal(err)
		}
		moved, _, err := s.GroupByChat(ctx, s.db, "bot", "wrAbC")
		if err != nil || moved.QueueID != "q2" || moved.ID != g.ID {
			t.Errorf("bound again it is %+v, %v", moved, err)
		}
		if gs, err := s.GroupsOfQueue(ctx, s.db, "q1"); err != nil || len(gs) != 0 {
			t.Errorf("q1 still has %v, %v", gs, err)
		}
		if gs, err := s.GroupsOfQueue(ctx, s.db, "q2"); err != nil || len(gs) != 1 {
			t.Errorf("q2 has %v, %v", gs, err)
		}
		entries, err := s.Audit(ctx, s.db, "c1", 10)
		if err != nil || len(entries) != 2 || entries[0].Actor != "yang" || entries[1].Actor != "zhang" || entries[0].Action != "bind_group" {
			t.Errorf("audit says %+v, %v", entries, err)
		}
	})
}

func TestMemberBinding(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		begin := func(wecomID, phone string) staff.BindStart {
			t.Helper()
			var b staff.BindStart
			s.inTx(t, func(ctx context.Context, tx *db.Tx) (err error) {
				b, err = s.StartMemberBindTx(ctx, tx, "c1", wecomID, phone)
				return err
			})
			return b
		}
		confirm := func(wecomID, code string) (m staff.Member, answer error) {
			t.Helper()
			s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
				m, answer = s.ConfirmMemberBindTx(ctx, tx, "c1", wecomID, code)
				if errors.Is(answer, staff.ErrNoCode) || errors.Is(answer, staff.ErrWrongCode) {
					return nil
				}
				return answer
			})
			return m, answer
		}
		if m, ok, err := s.ByWeComID(ctx, s.db, "c1", "li"); !ok || err != nil || m.UserID != "li" {
			t.Errorf("a plain userid gives %v, %t, %v", m, ok, err)
		}
		if _, ok, err := s.ByWeComID(ctx, s.db, "c1", "woCIPHER"); ok || err != nil {
			t.Errorf("an unknown ciphertext gives %t, %v", ok, err)
		}
		b := begin("woCIPHER", "13900000001")
		if b.Outcome != staff.CodeSent || len(b.Code) != 6 {
			t.Fatalf("outcome %s", b.Outcome)
		}
		if again := begin("woCIPHER", "13900000001"); again.Outcome != staff.TooSoon {
			t.Errorf("at once again: %s", again.Outcome)
		}
		if m, err := confirm("woCIPHER", b.Code); err != nil || m.UserID != "li" {
			t.Fatalf("bound to %v, %v", m, err)
		}
		if m, ok, err := s.ByWeComID(ctx, s.db, "c1", "woCIPHER"); !ok || err != nil || m.Name != "李强" {
			t.Errorf("the ciphertext gives %v, %t, %v", m, ok, err)
		}
		if _, ok, err := s.ByWeComID(ctx, s.db, "c2", "woCIPHER"); ok || err != nil {
			t.Errorf("bound in another company: %v", err)
		}
		for _, phone := range []string{"13900000006", "13800000001"} { // left; no member
			if b := begin("woX"+phone, phone); b.Outcome != staff.NotRegistered || b.Code != "" {
				t.Errorf("%s, want not_registered without a code", b.Outcome)
			}
		}
		if out := fmt.Sprintf("%v %+v %#v", b, b, b); strings.Contains(out, b.Code) || strings.Contains(out, "139") {
			t.Errorf("a binding prints %q", out)
		}
	})
}

const password = "correct horse battery"

func (s suite) console(t testing.TB, username, userID string, admin bool) {
	t.Helper()
	hash, err := s.HashPassword(context.Background(), password)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,") {
		t.Errorf("hash is %s; want argon2id at 19 MiB", hash)
	}
	s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
		return s.PutConsoleUserTx(ctx, tx, staff.ConsoleUser{Username: username, CompanyID: "c1", UserID: userID, Admin: admin, PasswordHash: hash})
	})
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		s.console(t, "li@c1", "li", false)
		s.console(t, "root", "", true)
		s.console(t, "old", "old", false)
		p, err := s.Authenticate(ctx, "li@c1", password)
		if err != nil || p.CompanyID != "c1" || p.Member.UserID != "li" || p.Admin || p.UserID() != "li" || p.Name() != "李强" {
			t.Errorf("signed in: %+v, %v", p, err)
		}
		p, err = s.Authenticate(ctx, "root", password)
		if err != nil || !p.Admin || p.UserID() != "admin" {
			t.Errorf("administrator: %+v, %v", p, err)
		}
		for _, c := range [][2]string{
			{"li@c1", "wrong password"}, {"nobody", password}, {"", ""}, {"old", password}, {"li@c1", strings.Repeat("x", 10_000)}, {"li@c1' OR '1'='1", password},
		} {
			if _, err := s.Authenticate(ctx, c[0], c[1]); !errors.Is(err, staff.ErrSignIn) {
				t.Errorf("user %q: %v, want ErrSignIn", c[0], err)
			}
		}
		if p, ok, err := s.PrincipalOf(ctx, s.db, "li@c1"); !ok || err != nil || p.Member.UserID != "li" {
			t.Errorf("session of li: %t, %v", ok, err)
		}
		if _, ok, err := s.PrincipalOf(ctx, s.db, "old"); ok || err != nil {
			t.Errorf("the session of one who left goes on: %v", err)
		}
		for _, weak := range []string{"", "short", strings.Repeat("x", 257)} {
			if _, err := s.HashPassword(ctx, weak); !errors.Is(err, staff.ErrPassword) {
				t.Errorf("a password of %d bytes: %v, want ErrPassword", len(weak), err)
			}
		}
	})
}

func TestSignInLocks(t *testing.T) {
	t.Parallel()
	s := newSuite(t, dbtest.SQLite(t))
	ctx := context.Background()
	s.console(t, "li", "li", false)
	for range 5 {
		if _, err := s.Authenticate(ctx, "li", "wrong password"); !errors.Is(err, staff.ErrSignIn) {
			t.Fatalf("wrong password: %v", err)
		}
	}
	if _, err := s.Authenticate(ctx, "li", password); !errors.Is(err, staff.ErrLocked) {
		t.Fatalf("after five wrong ones the right one gives %v, want ErrLocked", err)
	}
	s.clock.Set(start.Add(30 * time.Second))
	if _, err := s.Authenticate(ctx, "li", "wrong password"); !errors.Is(err, staff.ErrSignIn) {
		t.Fatalf("after the lock: %v", err)
	}
	s.clock.Set(start.Add(60 * time.Second))
	if _, err := s.Authenticate(ctx, "li", password); !errors.Is(err, staff.ErrLocked) {
		t.Fatalf("the second lock is not longer: %v", err)
	}
	s.clock.Set(start.Add(91 * time.Second))
	if _, err := s.Authenticate(ctx, "li", password); err != nil {
		t.Fatalf("after the second lock: %v", err)
	}
	if _, err := s.Authenticate(ctx, "li", "wrong password"); !errors.Is(err, staff.ErrSignIn) {
		t.Errorf("a success has not set the count back: %v", err)
	}
	entries, err := s.Audit(ctx, s.db, "c1", 10)
	if err != nil || len(entries) != 2 || entries[0].Action != "console.lock" {
		t.Errorf("audit says %+v, %v", entries, err)
	}
}

func TestHashesWaitForEachOther(t *testing.T) {
	t.Parallel()
	s := newSuite(t, dbtest.SQLite(t))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := s.HashPassword(context.Background(), password); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	release := s.TakeTurn()
	defer release()
	if _, err := s.HashPassword(ctx, password); !errors.Is(err, context.Canceled) {
		t.Errorf("while another hash is made, one who gives up gets %v", err)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		secret := map[string]string{}
		for _, tok := range []staff.Token{
			{ID: "t-li", CompanyID: "c1", UserID: "li", Name: "script"},
			{ID: "t-admin", CompanyID: "c1", Admin: true, Name: "admin"},
			{ID: "t-old", CompanyID: "c1", UserID: "old", Name: "old"},
			{ID: "t-short", CompanyID: "c1", UserID: "li", Name: "short", ExpiresAt: start.Add(time.Hour)},
		} {
			v, err := staff.NewToken()
			if err != nil {
				t.Fatal(err)
			}
			secret[tok.ID] = v
			s.inTx(t, func(ctx context.Context, tx *db.Tx) error { return s.PutTokenTx(ctx, tx, tok, v) })
		}
		if p, ok, err := s.ByToken(ctx, s.db, secret["t-li"]); !ok || err != nil || p.UserID() != "li" || p.Admin || p.CompanyID != "c1" {
			t.Errorf("li's token gives %+v, %t, %v", p, ok, err)
		}
		if p, ok, err := s.ByToken(ctx, s.db, secret["t-admin"]); !ok || err != nil || !p.Admin {
			t.Errorf("the administrator's token gives %+v, %t, %v", p, ok, err)
		}
		if _, ok, err := s.ByToken(ctx, s.db, secret["t-short"]); !ok || err != nil {
			t.Errorf("a token with an end: %t, %v", ok, err)
		}
		s.clock.Set(start.Add(time.Hour))
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error { return s.RevokeTokenTx(ctx, tx, "c1", "t-li") })
		for name, v := range map[string]string{
			"expired": secret["t-short"], "revoked": secret["t-li"], "left": secret["t-old"], "empty": "", "made up": "gj_x", "long": strings.Repeat("x", 5000),
		} {
			if _, ok, err := s.ByToken(ctx, s.db, v); ok || err != nil {
				t.Errorf("%s token works: %v", name, err)
			}
		}
		var stored string
		if err := s.db.QueryRowContext(ctx, `SELECT token_hash FROM api_tokens WHERE id = 't-admin'`).Scan(&stored); err != nil || stored == secret["t-admin"] || len(stored) != 64 {
			t.Errorf("stored is %q, %v", stored, err)
		}
	})
}

func TestMemberPrintsNoPhone(t *testing.T) {
	t.Parallel()
	m := members()[0]
	if out := fmt.Sprintf("%v %+v %#v %s", m, m, m, m); strings.Contains(out, m.Phone) {
		t.Errorf("a member prints %q", out)
	}
}
