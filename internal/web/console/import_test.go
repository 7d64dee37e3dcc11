package console_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
)

func sheet(t *testing.T, rows ...[]any) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	for i, r := range append([][]any{{"楼栋", "单元", "房号", "业主姓名", "手机", "面积"}}, rows...) {
		at, _ := excelize.CoordinatesToCellName(1, i+1)
		if err := f.SetSheetRow("Sheet1", at, &r); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// upload sends the form of the import page; a nil file is none.
func (b *browser) upload(query string, file []byte, fields ...string) page {
	b.t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = w.WriteField(fields[i], fields[i+1])
	}
	if file != nil {
		part, err := w.CreateFormFile("file", "业主.xlsx")
		if err != nil {
			b.t.Fatal(err)
		}
		_, _ = part.Write(file)
	}
	_ = w.Close()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.server.URL+"/console/import"+query, &form)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	return b.send(req)
}

var seenMark = regexp.MustCompile(`seen=([0-9a-f]{64})`)

func TestImportPage(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.signIn("jiangnan") // the information officer
	if p := b.get("/console/"); !strings.Contains(p.body, `href="/console/import"`) {
		t.Error("the information officer finds no way to the import")
	}
	if p := b.get("/console/import"); p.status != http.StatusOK || !strings.Contains(p.body, "青禾花园") {
		t.Fatalf("page: %d", p.status)
	}
	file := sheet(t, []any{"9", "1", "101", "王<b>梅", "13700000001", 98}, []any{"9", "1", "102", "李强", "010-88886666", 98})
	p := b.upload("", file, "project", "新苑")
	for _, want := range []string{"这是预览", "将新建项目“新苑”", "新增 9-1-101 住户 王&lt;b&gt;梅 137****0001", "固定电话", "没有用到的列：面积", "确认导入"} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the preview lacks %q", want)
		}
	}
	count := func() int {
		return rows(t, b.w, `SELECT count(*) FROM units WHERE building = '9'`)
	}
	mark := seenMark.FindStringSubmatch(p.body)
	if mark == nil || count() != 0 {
		t.Fatalf("no button to apply, or %d units already", count())
	}
	// What was seen must be what is done: another file only shows itself.
	other := sheet(t, []any{"9", "1", "103", "赵明", "13700000003", 98})
	if p := b.upload("?seen="+mark[1], other, "project", "新苑"); !strings.Contains(p.body, "这是预览") || count() != 0 {
		t.Errorf("another file was applied by the mark of the first, %d units", count())
	}
	if p := b.upload("?seen="+mark[1], file, "project", "新苑"); !strings.Contains(p.body, "已导入") || strings.Contains(p.body, "确认导入") || count() != 2 {
		t.Errorf("applied: %d units", count())
	}
	if n := rows(t, b.w, `SELECT count(*) FROM audit_entries WHERE action = 'import_residents' AND actor = 'jiangnan'`); n != 1 {
		t.Errorf("%d lines in the audit", n)
	}
	if p := b.upload("", file, "project", "新苑"); !strings.Contains(p.body, "没有要改动的") || strings.Contains(p.body, "确认导入") {
		t.Error("the same file again has something to apply")
	}
	// Bad rows, and files that are none.
	p = b.upload("?seen="+mark[1], sheet(t, []any{"9", "1", "104", "赵明", "137", 98}), "project", "新苑")
	if !strings.Contains(p.body, "要改的地方（1）") || !strings.Contains(p.body, "不是手机号") || strings.Contains(p.body, "确认导入") || count() != 2 {
		t.Error("a bad row is not shown as one")
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{"picture": {[]byte("\x89PNG\r\n"), "是一张图片"}, "none": {nil, "请先选择要导入的 Excel 文件"}, "too big": {make([]byte, 17<<20), "文件太大"}} {
		if p := b.upload("", c.file, "project", "新苑"); p.status != http.StatusOK || !strings.Contains(p.body, c.want) {
			t.Errorf("%s: %d, no %q", name, p.status, c.want)
		}
	}
}

func TestImportPageIsForWhoKeepsResidents(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.signIn("liumin") // front desk
	if p := b.get("/console/"); strings.Contains(p.body, "/console/import") {
		t.Error("the front desk is shown the import")
	}
	if p := b.get("/console/import"); p.status != http.StatusNotFound {
		t.Errorf("the front desk gets the page: %d", p.status)
	}
	if p := b.upload("", sheet(t, []any{"9", "1", "101", "王", "", ""})); p.status != http.StatusNotFound {
		t.Errorf("the front desk imports: %d", p.status)
	}
}
