package api_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"guanjia/internal/db"
	"guanjia/internal/register"
)

func excel(t *testing.T, rows ...[]any) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	for i, r := range append([][]any{{"楼栋", "单元", "房号", "姓名", "手机", "身份"}}, rows...) {
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

func number(v any) int {
	f, _ := v.(float64)
	return int(f)
}

func (c *client) auditOf(action string) int {
	c.t.Helper()
	var n int
	if err := c.w.DB.QueryRowContext(c.t.Context(), `SELECT count(*) FROM audit_entries WHERE action = $1`, action).Scan(&n); err != nil {
		c.t.Fatal(err)
	}
	return n
}

func TestImportResidents(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	good := excel(t, []any{"9", "1", "101", "王晓梅", "13700000001", "业主"}, []any{"9", "1", "102", "赵明", "13700000002", "租客"})
	dry := c.ok(http.MethodPost, "/imports/residents?project=新苑&dry_run=1", c.admin(), string(good))
	if dry["applied"] != false || number(dry["rows"]) != 2 || number(dry["new"].(map[string]any)["units"]) != 2 || dry["project"].(map[string]any)["new"] != true || c.auditOf("import_residents") != 0 {
		t.Errorf("dry run: %v", dry)
	}
	if list := c.ok(http.MethodGet, "/residents?phone=13700000001", c.admin(), nil)["residents"].([]any); len(list) != 0 {
		t.Error("a dry run changed something")
	}
	done := c.ok(http.MethodPost, "/imports/residents?project=新苑", c.admin(), string(good))
	if done["applied"] != true || c.auditOf("import_residents") != 1 {
		t.Errorf("applied: %v", done)
	}
	if list := c.ok(http.MethodGet, "/residents?phone=13700000001", c.admin(), nil)["residents"].([]any); len(list) != 1 {
		t.Errorf("residents: %v", list)
	}
	again := c.ok(http.MethodPost, "/imports/residents?project=新苑", c.admin(), string(good))
	if len(again["changes"].([]any)) != 0 || number(again["same"]) != 2 {
		t.Errorf("again: %v", again)
	}
	bad := c.ok(http.MethodPost, "/imports/residents?project=新苑", c.admin(), string(excel(t, []any{"9", "1", "103", "钱", "137", ""}, []any{"9", "1", "104", "钱", "13700000004", ""})))
	problems := bad["problems"].([]any)
	if bad["applied"] != false || len(problems) != 1 || number(problems[0].(map[string]any)["row"]) != 2 || !strings.Contains(problems[0].(map[string]any)["message"].(string), "不是手机号") {
		t.Errorf("bad rows: %v", bad)
	}
}

func TestImportRefusals(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	good := string(excel(t, []any{"9", "1", "101", "王晓梅", "13700000001", "业主"}))
	for name, x := range map[string]struct {
		path, token, body string
		status            int
		code, field       string
	}{
		"picture":             {"/imports/residents", c.admin(), "\x89PNG\r\n\x1a\n\x00", 422, "picture", "file"},
		"csv":                 {"/imports/residents", c.admin(), "楼栋,房号\n", 422, "text", "file"},
		"empty":               {"/imports/residents", c.admin(), "", 422, "empty", "file"},
		"too big":             {"/imports/residents", c.admin(), "PK\x03\x04" + strings.Repeat("x", 17<<20), 413, "too_big", "file"},
		"flag":                {"/imports/residents?dry_run=maybe", c.admin(), good, 400, "bad_request", "dry_run"},
		"front desk":          {"/imports/residents", c.token("liumin"), good, 403, "forbidden", ""},
		"information officer": {"/imports/residents?dry_run=1", c.token("jiangnan"), good, 200, "", ""},
		"nobody":              {"/imports/residents", "", good, 401, "unauthorized", ""},
	} {
		var body any = x.body
		a := c.call(http.MethodPost, x.path, x.token, body)
		if a.status != x.status || a.errorCode() != x.code || a.errorField() != x.field {
			t.Errorf("%s: %d %.300s", name, a.status, a.raw)
		}
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("file", "业主.xlsx")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(part, good)
	_ = w.Close()
	for kind, want := range map[string]int{w.FormDataContentType(): 200, "multipart/form-data; boundary=other": 400} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/imports/residents?dry_run=1", bytes.NewReader(form.Bytes()))
		req.Header.Set("Authorization", "Bearer "+c.admin())
		req.Header.Set("Content-Type", kind)
		rec := httptest.NewRecorder()
		c.router.ServeHTTP(rec, req)
		if rec.Code != want {
			t.Errorf("form %s: %d %s", kind, rec.Code, rec.Body)
		}
	}
}

func TestPublicationRegister(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	r := register.New(c.w.DB, c.w.Clock, c.w.Book, c.w.Companies)
	company := c.w.Sample.Company.ID
	if err := c.w.DB.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error {
		return r.PublicationTx(ctx, tx, register.Publication{Ref: register.Ref{CompanyID: company, Kind: register.RefNotice, ID: "n1"}, No: "T0001", Title: "停水", Kind: "planned_outage"})
	}); err != nil {
		t.Fatal(err)
	}
	day := c.w.Clock.Now().Format("2006-01-02")
	list := c.ok(http.MethodGet, "/registers/publications?from="+day+"&to="+day, c.admin(), nil)["publications"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["no"] != "T0001" {
		t.Errorf("the day's publications: %v", list)
	}
	if list := c.ok(http.MethodGet, "/registers/publications?to=2020-01-01", c.admin(), nil)["publications"].([]any); len(list) != 0 {
		t.Errorf("an old year's publications: %v", list)
	}
	for query, field := range map[string]string{"format=docx": "format", "from=yesterday": "from", "to=2026-13-01": "to", "from=2026-03-02&to=2026-03-01": "to"} {
		if a := c.call(http.MethodGet, "/registers/publications?"+query, c.admin(), nil); a.status != 400 || a.errorField() != field {
			t.Errorf("%s: %d %s", query, a.status, a.raw)
		}
	}
	for format, want := range map[string]string{"xlsx": "PK\x03\x04", "html": "<!doctype html>"} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/registers/publications?format="+format, nil)
		req.Header.Set("Authorization", "Bearer "+c.admin())
		rec := httptest.NewRecorder()
		c.router.ServeHTTP(rec, req)
		if rec.Code != 200 || !strings.HasPrefix(rec.Body.String(), want) || rec.Header().Get("Content-Type") != register.Format(format).ContentType() {
			t.Errorf("%s: %d %.40s", format, rec.Code, rec.Body)
		}
	}
}
