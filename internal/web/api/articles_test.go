package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"guanjia/internal/staff"
)

func TestArticles(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	admin := c.admin()
	list := c.ok(http.MethodGet, "/articles?limit=20", admin, nil)
	if got := list["articles"].([]any); len(got) != 20 || list["next_cursor"] == "" {
		t.Fatalf("%d articles, cursor %v", len(got), list["next_cursor"])
	}
	made := c.call(http.MethodPost, "/articles", admin, map[string]any{"code": "B1", "question": "羽毛球场怎么预约?", "answer": "在公众号里选时段。", "phrasings": []string{"打羽毛球"}})
	if made.status != http.StatusCreated || made.body["state"] != "draft" || made.body["pending"] != true {
		t.Fatalf("created: %d %s", made.status, made.raw)
	}
	if a := c.ok(http.MethodPost, "/articles/B1/approve?version=1", admin, nil); a["state"] != "approved" {
		t.Errorf("approved: %v", a)
	}
	c.ok(http.MethodPut, "/articles/B1", admin, map[string]any{"question": "羽毛球场怎么预约?", "answer": "现在免费。", "version": 2})
	one := c.ok(http.MethodGet, "/articles/B1", admin, nil)
	if versions := one["versions"].([]any); len(versions) != 2 || one["pending"] != true {
		t.Errorf("after a change: %v", one)
	}
	c.ok(http.MethodPost, "/articles/B1/review", admin, map[string]any{})
	c.ok(http.MethodPost, "/articles/B1/retire", admin, nil)
	c.ok(http.MethodPost, "/articles/B1/restore", admin, nil)
	if got := c.ok(http.MethodGet, "/articles/unanswered", admin, nil); len(got["unanswered"].([]any)) != 0 {
		t.Errorf("unanswered: %v", got)
	}

	trainee := ""
	for _, m := range c.w.Sample.Staff {
		if m.Role == string(staff.RoleTrainee) {
			trainee = c.token(m.UserID)
		}
	}
	for _, tt := range []struct {
		name, method, path, token string
		body                      any
		status                    int
		code, field               string
	}{
		{"no such article", http.MethodGet, "/articles/none", admin, nil, 404, "not_found", ""},
		{"may not write", http.MethodPost, "/articles", trainee, map[string]any{"question": "问", "answer": "答"}, 403, "forbidden", ""},
		{"stale", http.MethodPost, "/articles/B1/retire?version=1", admin, nil, 409, "stale", ""},
		{"bad version", http.MethodPost, "/articles/B1/retire?version=x", admin, nil, 400, "bad_request", "version"},
		{"no answer", http.MethodPost, "/articles", admin, map[string]any{"question": "问"}, 422, "content", "answer"},
		{"unknown field", http.MethodPost, "/articles", admin, map[string]any{"questions": "问"}, 400, "bad_request", "questions"},
		{"dismissive", http.MethodPost, "/articles", admin, map[string]any{"question": "问", "answer": "不知道，你到别处去问吧"}, 422, "guard", "answer"},
		{"broken file", http.MethodPost, "/articles/import", admin, "{\"id\":\"Z\",\"question\":\"问\",\"answer\":\"答\"}\n{", 422, "bad_line", "line 2"},
	} {
		a := c.call(tt.method, tt.path, tt.token, tt.body)
		if a.status != tt.status || a.errorCode() != tt.code || a.errorField() != tt.field {
			t.Errorf("%s: %d %s", tt.name, a.status, a.raw)
		}
	}
	in := c.ok(http.MethodPost, "/articles/import?dry_run=1", admin, "{\"id\":\"Z\",\"question\":\"问\",\"answer\":\"答\"}\n")
	if in["new"] != float64(1) || in["applied"] != false {
		t.Errorf("dry run: %v", in)
	}
	if a := c.call(http.MethodGet, "/articles/Z", admin, nil); a.status != http.StatusNotFound {
		t.Errorf("a dry run left %s", a.raw)
	}
}

func TestArticlesAreExported(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/articles/export", nil)
	req.Header.Set("Authorization", "Bearer "+c.admin())
	rec := httptest.NewRecorder()
	c.router.ServeHTTP(rec, req)
	raw := rec.Body.String()
	if n := strings.Count(raw, "\n"); n != 60 || !strings.Contains(raw, `"id":"F001"`) {
		t.Errorf("%d lines: %.200s", n, raw)
	}
}
