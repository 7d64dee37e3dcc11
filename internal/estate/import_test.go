package estate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/wording"
	"guanjia/templates"
)

func book(t testing.TB) *wording.Book {
	t.Helper()
	b, err := wording.Load(templates.FS())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// imported runs a file through Import and gives the changes as lines.
func (s suite) imported(t testing.TB, to estate.ImportTarget, apply bool, rows ...[]any) (estate.ImportReport, []string) {
	t.Helper()
	r, err := s.Import(context.Background(), book(t), "c1", to, workbook(t, append([][]any{{"房号", "姓名", "手机", "身份", "入住状态"}}, rows...)), apply)
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{}
	for _, c := range r.Changes {
		lines = append(lines, strings.Join(strings.Fields(strings.Join([]string{c.Kind, c.Unit, c.What, c.Name, c.Before, c.After}, " ")), " "))
	}
	return r, lines
}

// state writes who lives where in a project.
func (s suite) state(t testing.TB, project string) []string {
	t.Helper()
	rows, err := s.db.QueryContext(context.Background(), `
		SELECT u.code, u.kind, u.vacant, coalesce(h.role, ''), coalesce(r.name, ''), coalesce(r.phone, ''), coalesce(r.id, '')
		FROM units u LEFT JOIN homes h ON h.unit_id = u.id AND (h.until IS NULL OR h.until > $2) LEFT JOIN residents r ON r.id = h.resident_id
		WHERE u.project_id = $1`, project, db.At(s.clock.Now()))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var code, kind, role, name, phone, id string
		var vacant bool
		if err := rows.Scan(&code, &kind, &vacant, &role, &name, &phone, &id); err != nil {
			t.Fatal(err)
		}
		line := code
		if kind != estate.KindFlat {
			line += " " + kind
		}
		if vacant {
			line += " vacant"
		}
		if len(id) > 10 {
			id = "new"
		}
		out = append(out, strings.Join(strings.Fields(strings.Join([]string{line, role, name, phone, id}, " ")), " "))
	}
	slices.Sort(out)
	return out
}

func TestImportShowsAndMakesTheDifference(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		before := s.state(t, "p1")
		rows := [][]any{
			{"3-2-1201", "王晓梅", "13800000001", "业主", "已入住"},
			{"3-2-1201", "王小", "", "家属", ""},
			{"3-2-1202", "李强", "13900000002", "业主", ""}, // another number
			{"3-2-1202", "周新", "13900000003", "租户", ""}, // Zhao has left
			{"5-1-101", "王晓梅", "13800000001", "业主", "空置"},
			{"5-1-05", "好邻居便利店", "13900000005", "商户", ""},
		}
		wantChanges := []string{
			"changed 3-2-1202 phone 李强 138****0002 139****0002", "ended 3-2-1202 home 赵明 tenant", "new 3-2-1202 resident 周新 139****0003",
			"new 5-1-05 resident 好邻居便利店 139****0005", "new 5-1-05 unit", "new 5-1-101 home 王晓梅 owner", "new 5-1-101 unit",
		}
		dry, changes := s.imported(t, estate.ImportTarget{Project: "青禾花园"}, false, rows...)
		slices.Sort(changes)
		if d := cmp.Diff(wantChanges, changes); d != "" || dry.Applied || dry.Project.ID != "p1" || len(dry.Problems) > 0 {
			t.Errorf("preview of %+v %v:\n%s", dry.Project, dry.Problems, d)
		}
		if d := cmp.Diff(estate.ImportNew{Buildings: 1, Entrances: 1, Units: 2, Residents: 2, Homes: 3}, dry.New); d != "" || dry.Changed != 1 || dry.Ended != 1 || dry.Same != 3 {
			t.Errorf("%d changed, %d ended, %d same\n%s", dry.Changed, dry.Ended, dry.Same, d)
		}
		if d := cmp.Diff(before, s.state(t, "p1")); d != "" {
			t.Errorf("a dry run changed something:\n%s", d)
		}
		if !slices.ContainsFunc(dry.Changes, func(c estate.ImportChange) bool {
			return c.Text == "变更 3-2-1202 手机 李强 138****0002 → 139****0002"
		}) ||
			!slices.ContainsFunc(dry.Changes, func(c estate.ImportChange) bool { return c.Text == "迁出 3-2-1202 入住关系 赵明 租户" }) || !strings.Contains(dry.Summary, "预览") {
			t.Errorf("words: %s\n%+v", dry.Summary, dry.Changes)
		}
		done, _ := s.imported(t, estate.ImportTarget{Project: "p1"}, true, rows...)
		if !done.Applied || done.New != dry.New || done.Changed != 1 || done.Ended != 1 {
			t.Errorf("applied: %+v", done)
		}
		want := []string{
			"3-2-1201 family 王小 child", "3-2-1201 owner 王晓梅 13800000001 wang", "3-2-1202 owner 李强 13900000002 li", "3-2-1202 tenant 周新 13900000003 new",
			"4-1-301 owner 王晓梅 13800000001 wang", "5-1-05 shop merchant 好邻居便利店 13900000005 new", "5-1-101 vacant owner 王晓梅 13800000001 wang",
		}
		if d := cmp.Diff(want, s.state(t, "p1")); d != "" {
			t.Error(d)
		}
		// Bindings are kept, also of somebody with a new number.
		if r, ok, err := s.ResidentByOpenID(context.Background(), s.db, "c1", "o-li"); !ok || err != nil || r.ID != "li" || r.Phone != "13900000002" {
			t.Errorf("binding: %t, %v", ok, err)
		}
		again, changes := s.imported(t, estate.ImportTarget{Project: "p1"}, true, rows...)
		if len(changes) > 0 || again.New != (estate.ImportNew{}) || again.Changed+again.Ended != 0 || again.Same != 6 {
			t.Errorf("the same file again changes %v, %+v", changes, again)
		}
		var left int
		if err := s.db.QueryRowContext(context.Background(), `SELECT count(*) FROM import_staging`).Scan(&left); err != nil || left != 0 {
			t.Errorf("%d rows left in staging, %v", left, err)
		}
	})
}

func TestImportRules(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		// A unit without people in the file ends nobody's home; a file that
		// doesn't name a unit leaves it alone; 3-2-1201 of the other project too.
		s.imported(t, estate.ImportTarget{Project: "p1"}, true, []any{"3-2-1201", "", "", "", "空置"})
		if got := s.state(t, "p1"); !slices.Contains(got, "3-2-1201 vacant owner 王晓梅 13800000001 wang") || !slices.Contains(got, "3-2-1202 tenant 赵明 13800000003 zhao") {
			t.Errorf("after a file without people: %v", got)
		}
		// Kept on request.
		r, _ := s.imported(t, estate.ImportTarget{Project: "p1", KeepMissing: true}, true, []any{"3-2-1202", "李强", "13800000002", "业主", ""})
		if r.Ended != 0 || !slices.Contains(s.state(t, "p1"), "3-2-1202 tenant 赵明 13800000003 zhao") {
			t.Errorf("a kept home ended: %+v", r)
		}
		// A role changes, a dead number that is renewed lives, an old one that
		// the file lacks stays.
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			return s.MarkPhoneDeadTx(ctx, tx, "c1", "13800000003", "INVALID_NUMBER", start)
		})
		s.imported(t, estate.ImportTarget{Project: "p1"}, true, []any{"3-2-1202", "李强", "", "家属", ""}, []any{"3-2-1202", "赵明", "13900000003", "业主", ""})
		got := s.state(t, "p1")
		if !slices.Contains(got, "3-2-1202 family 李强 13800000002 li") || !slices.Contains(got, "3-2-1202 owner 赵明 13900000003 zhao") {
			t.Errorf("after the change of roles: %v", got)
		}
		if r, _, err := s.ResidentByID(context.Background(), s.db, "c1", "zhao"); err != nil || r.PhoneDead {
			t.Errorf("a new number is taken for dead, %v", err)
		}
		// Another name for a known number renames; nobody is doubled.
		s.imported(t, estate.ImportTarget{Project: "p1"}, true, []any{"3-2-1202", "李强强", "13800000002", "业主", ""})
		if got := s.state(t, "p1"); !slices.Contains(got, "3-2-1202 owner 李强强 13800000002 li") {
			t.Errorf("after the renaming: %v", got)
		}
		if got := s.state(t, "p2"); len(got) != 1 {
			t.Errorf("the other project: %v", got)
		}
	})
}

func TestImportOfAnEstate(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		r, _ := s.imported(t, estate.ImportTarget{Project: "新苑"}, false, []any{"1-1-101", "孙二", "13800000005", "业主", ""})
		if !r.Project.New || r.Project.ID != "" || r.New.Projects != 1 {
			t.Errorf("preview of a new project: %+v", r.Project)
		}
		r, _ = s.imported(t, estate.ImportTarget{Project: "新苑"}, true, []any{"1-1-101", "孙二", "13800000005", "业主", ""})
		if d := cmp.Diff([]string{"1-1-101 owner 孙二 13800000005 other"}, s.state(t, r.Project.ID)); d != "" {
			t.Errorf("who is known elsewhere in the company is the same person:\n%s", d)
		}
		for name, c := range map[string]struct {
			company, project string
			want             error
		}{"several projects, none named": {"c1", "", estate.ErrWhichProject}, "no project yet": {"c2", "", estate.ErrWhichProject}} {
			if _, err := s.Import(context.Background(), book(t), c.company, estate.ImportTarget{Project: c.project}, workbook(t, [][]any{{"房号", "姓名"}, {"1-1-101", "王"}}), false); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		// The file's own column names the project.
		r, err := s.Import(context.Background(), book(t), "c2", estate.ImportTarget{}, workbook(t, [][]any{{"项目", "房号", "姓名"}, {"南苑", "1-1-101", "王"}}), true)
		if err != nil || !r.Applied || r.Project.Name != "南苑" {
			t.Errorf("%+v, %v", r, err)
		}
		r, err = s.Import(context.Background(), book(t), "c2", estate.ImportTarget{Project: "北苑"}, workbook(t, [][]any{{"项目", "房号", "姓名"}, {"南苑", "1-1-101", "王"}}), true)
		if err != nil || r.Applied || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Message, "南苑") {
			t.Errorf("a file of another project: %+v, %v", r.Problems, err)
		}
	})
}

// All or nothing: a bad row, a plan that is out of date, a number that somebody
// else got meanwhile.
func TestImportIsAllOrNothing(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		before := s.state(t, "p1")
		r, _ := s.imported(t, estate.ImportTarget{Project: "p1"}, true, []any{"6-1-101", "好人", "13900000009", "业主", ""}, []any{"6-1-102", "坏人", "123", "业主", ""})
		want := []estate.ImportProblem{{Row: 3, Column: "C 手机", Message: "“123”不是手机号。手机号是 1 开头的 11 位数字，几个号码之间用 / 分开。"}}
		if d := cmp.Diff(want, r.Problems); d != "" || r.Applied {
			t.Error(d)
		}
		plan := func(phone string) estate.Plan {
			sheet, bad, err := estate.ReadSheet(bytes.NewReader(workbook(t, [][]any{{"房号", "姓名", "手机"}, {"6-1-101", "新人", phone}})))
			if err != nil || len(bad) > 0 {
				t.Fatalf("%v, %v", bad, err)
			}
			p, err := s.PlanImport(ctx, "c1", estate.ImportTarget{Project: "p1"}, sheet)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		taken := plan("13900000010")
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			return s.PutTx(ctx, tx, estate.Batch{Residents: []estate.Resident{{ID: "quick", CompanyID: "c1", Name: "快", Phone: "13900000010"}}})
		})
		if err := s.ApplyImport(ctx, taken); !errors.Is(err, estate.ErrPlanStale) {
			t.Errorf("a number that is taken: %v", err)
		}
		if d := cmp.Diff(before, s.state(t, "p1")); d != "" {
			t.Errorf("something was changed:\n%s", d)
		}
		first, second := plan("13900000011"), plan("13900000012")
		if err := s.ApplyImport(ctx, first); err != nil {
			t.Fatal(err)
		}
		if err := s.ApplyImport(ctx, second); !errors.Is(err, estate.ErrPlanStale) {
			t.Errorf("a plan that is out of date: %v", err)
		}
		var left int
		if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM import_staging`).Scan(&left); err != nil || left != 0 {
			t.Errorf("%d rows left in staging, %v", left, err)
		}
	})
}

// What an import that died left behind is cleared by the next one a day later.
func TestImportClearsWhatWasLeft(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		ctx := context.Background()
		if _, err := s.db.ExecContext(ctx, `
			INSERT INTO import_staging (import_id, n, company_id, staged_at, op, id, parent_id, resident_id, code, building, entrance, room, floor, kind, vacant, name, phone, role)
			VALUES ('old', 0, 'c1', $1, 'end', 'wangu1', '', '', '', '', '', '', 0, '', false, '', '', '')`, db.At(start)); err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{1, 0} {
			s.imported(t, estate.ImportTarget{Project: "p1"}, true, []any{fmt.Sprintf("7-1-10%d", i+1), "王", "", "", ""})
			var left int
			if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM import_staging`).Scan(&left); err != nil || left != want {
				t.Errorf("%d rows left in staging, want %d, %v", left, want, err)
			}
			s.clock.Set(start.Add(25 * time.Hour))
		}
		if got := s.state(t, "p1"); !slices.Contains(got, "3-2-1201 owner 王晓梅 13800000001 wang") {
			t.Errorf("what another import had staged was done: %v", got)
		}
	})
}

func TestEveryImportCodeHasWords(t *testing.T) {
	t.Parallel()
	b := book(t)
	for _, code := range []string{
		estate.FileEmpty, estate.FileTooBig, estate.FileRows, estate.FilePicture, estate.FilePDF, estate.FileOldExcel, estate.FileEncrypted, estate.FileBinary, estate.FileText,
		estate.FileOther, estate.FileBroken, estate.FileNoHeader, estate.FileNoRows,
		estate.RowNoBuilding, estate.RowBadBuilding, estate.RowNoEntrance, estate.RowBadEntrance, estate.RowNoRoom, estate.RowBadRoom, estate.RowDisagree, estate.RowBadPhone,
		estate.RowShortPhone, estate.RowNamePhones, estate.RowNoName, estate.RowLongName, estate.RowBadRole, estate.RowBadKind, estate.RowBadFloor, estate.RowDate, estate.RowFormula,
		estate.RowFault, estate.RowProject, estate.RowTwoKinds, estate.RowLandline, estate.RowSamePhone, estate.RowParking, estate.RowNoEntrances, estate.RowOccupancy,
	} {
		if !b.Has("import." + code) {
			t.Errorf("import.%s has no words", code)
		}
	}
}

// How long the one transaction takes that others wait for:
// IMPORT_ROWS=10000 go test -run TestImportOfMany -v.
func TestImportOfMany(t *testing.T) {
	t.Parallel()
	n, _ := strconv.Atoi(os.Getenv("IMPORT_ROWS"))
	if n == 0 {
		n = 1500
	}
	rows := [][]any{{"楼栋", "单元", "房号", "姓名", "手机"}}
	for i := range n {
		rows = append(rows, []any{i/400 + 1, i/100%4 + 1, (i%100/4+1)*100 + i%4 + 1, "住户", strconv.Itoa(15000000000 + i)})
	}
	file := workbook(t, rows)
	run(t, func(t *testing.T, s suite) {
		begin := time.Now()
		sheet, bad, err := estate.ReadSheet(bytes.NewReader(file))
		if err != nil || len(bad) > 0 {
			t.Fatalf("%v, %v", bad, err)
		}
		read := time.Since(begin)
		begin = time.Now()
		plan, err := s.PlanImport(context.Background(), "c1", estate.ImportTarget{Project: "大苑"}, sheet)
		if err != nil {
			t.Fatal(err)
		}
		planned := time.Since(begin)
		begin = time.Now()
		longest := make(chan time.Duration)
		stop := make(chan struct{})
		go func() { // how long another writer waits
			var most time.Duration
			for {
				select {
				case <-stop:
					longest <- most
					return
				default:
				}
				begin := time.Now()
				if _, err := s.db.ExecContext(context.Background(), `UPDATE companies SET short = 'x' WHERE id = 'c2'`); err != nil {
					most = time.Hour
				}
				most = max(most, time.Since(begin))
			}
		}()
		err = s.ApplyImport(context.Background(), plan)
		applied := time.Since(begin)
		close(stop)
		t.Logf("%d rows: read %v, planned %v, applied %v; another writer waited at most %v", n, read, planned, applied, <-longest)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.CountAudience(context.Background(), s.db, "c1", estate.Scope{ProjectID: plan.Project.ID}, estate.AudienceOptions{})
		if err != nil || c.Households != n || c.SMS != n {
			t.Errorf("%+v, %v", c, err)
		}
	})
}
