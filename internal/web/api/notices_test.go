package api_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// outage is an emergency that lacks nothing.
func outage(change map[string]any) map[string]any {
	body := map[string]any{"kind": "emergency_outage", "topic": "outage_water", "scope": map[string]any{"buildings": []string{"3", "4"}},
		"reason": "主管爆裂抢修", "ends_at": "2026-03-02T18:00:00+08:00"}
	for k, v := range change {
		body[k] = v
	}
	return body
}

func TestNoticeFromDraftToApproval(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	duty := c.token("yangguang")
	made := c.call(http.MethodPost, "/notices", duty, outage(nil))
	if made.status != http.StatusCreated || made.body["state"] != "draft" || !strings.HasPrefix(made.body["no"].(string), "T") {
		t.Fatalf("%d %s", made.status, made.raw)
	}
	audience := made.body["audience"].(map[string]any)
	for _, name := range []string{"households", "people", "sms", "template"} {
		if audience[name].(float64) < 50 {
			t.Errorf("audience %s: %v", name, audience[name])
		}
	}
	preview := made.body["preview"].(map[string]any)
	for _, part := range []string{"3栋", "4栋", "主管爆裂抢修", "18:00"} {
		if !strings.Contains(preview["sms"].(string), part) {
			t.Errorf("preview lacks %s: %v", part, preview["sms"])
		}
	}
	if made.body["cost_fen"].(float64) <= 0 || made.body["segments"].(float64) < 1 || len(made.body["problems"].([]any)) != 0 {
		t.Errorf("price and problems: %s", made.raw)
	}
	id := made.body["id"].(string)
	for _, userID := range []string{"liqiang", "wuxiao"} { // a technician, a trainee
		if a := c.call(http.MethodPost, "/notices/"+id+"/approve", c.token(userID), nil); a.status != http.StatusForbidden {
			t.Errorf("%s approves: %d %s", userID, a.status, a.raw)
		}
	}
	if a := c.call(http.MethodPost, "/notices/"+id+"/pause", duty, nil); a.status != http.StatusConflict || a.errorCode() != "state" {
		t.Errorf("a draft is paused: %d %s", a.status, a.raw)
	}
	if a := c.call(http.MethodPost, "/notices/"+id+"/approve", duty, nil); a.status != http.StatusOK || a.body["state"] != "sending" || a.body["approved_by"] != "yangguang" {
		t.Fatalf("approve: %d %s", a.status, a.raw)
	}
	if a := c.call(http.MethodPost, "/notices/"+id+"/approve", duty, nil); a.status != http.StatusConflict {
		t.Errorf("approved twice: %d %s", a.status, a.raw)
	}
	if a := c.call(http.MethodGet, "/notices/"+made.body["no"].(string), duty, nil); a.body["id"] != id || a.body["reach"].(map[string]any)["households"] == nil || a.body["by_channel"].(map[string]any)["sms"] == nil {
		t.Errorf("by its number: %s", a.raw)
	}
	if a := c.call(http.MethodPost, "/notices/"+id+"/cancel", duty, nil); a.status != http.StatusOK || a.body["state"] != "cancelled" {
		t.Errorf("cancel: %d %s", a.status, a.raw)
	}
	kinds := []string{}
	for _, e := range c.call(http.MethodGet, "/notices/"+id+"/events", duty, nil).body["events"].([]any) {
		kinds = append(kinds, e.(map[string]any)["kind"].(string))
	}
	if !slices.Contains(kinds, "approved") || !slices.Contains(kinds, "cancelled") {
		t.Errorf("history %v", kinds)
	}
	list := c.call(http.MethodGet, "/notices?state=cancelled", duty, nil).body["notices"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["id"] != id {
		t.Errorf("the list has %d", len(list))
	}
}

func TestNoticeIsRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	duty := c.token("yangguang")
	for name, tc := range map[string]struct {
		body   any
		token  string
		status int
		field  string
	}{
		"unknown field":      {outage(map[string]any{"colour": "red"}), duty, http.StatusBadRequest, "colour"},
		"wrong type":         {outage(map[string]any{"reason": 7}), duty, http.StatusBadRequest, "reason"},
		"no JSON":            {"{", duty, http.StatusBadRequest, ""},
		"who may not write":  {outage(nil), c.token("liqiang"), http.StatusForbidden, ""},
		"nobody":             {outage(nil), "", http.StatusUnauthorized, ""},
		"an unreadable time": {outage(map[string]any{"ends_at": "gestern"}), duty, http.StatusBadRequest, ""},
	} {
		a := c.call(http.MethodPost, "/notices", tc.token, tc.body)
		if a.status != tc.status || tc.field != "" && a.errorField() != tc.field {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	// What is missing is told at once, and keeps it from being approved.
	for field, change := range map[string]map[string]any{
		"channels":        {"channels": []string{"template"}}, // an emergency without SMS
		"reason":          {"reason": ""},
		"scope.buildings": {"scope": map[string]any{"buildings": []string{"9"}}},
		"contact":         {"contact": "13800000001"},
	} {
		a := c.call(http.MethodPost, "/notices", duty, outage(change))
		found := false
		for _, p := range a.body["problems"].([]any) {
			found = found || p.(map[string]any)["field"] == field && p.(map[string]any)["message"] != ""
		}
		if a.status != http.StatusCreated || !found {
			t.Errorf("%s: %d %s", field, a.status, a.raw)
			continue
		}
		no := c.call(http.MethodPost, "/notices/"+a.body["id"].(string)+"/approve", duty, nil)
		if no.status != http.StatusUnprocessableEntity || no.errorField() != field || !strings.Contains(no.raw, `"problems":[`) {
			t.Errorf("%s: approved with %d %s", field, no.status, no.raw)
		}
	}
	for _, path := range []string{"/notices/T0999", "/notices/nothing", "/notices/T0999/deliveries", "/notices/T0999/calls"} {
		if a := c.call(http.MethodGet, path, duty, nil); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
	}
	if a := c.call(http.MethodGet, "/notices?state=odd", duty, nil); a.status != http.StatusBadRequest || a.errorField() != "state" {
		t.Errorf("odd state: %d %s", a.status, a.raw)
	}
	// a planned one is not the duty manager's to approve.
	planned := c.call(http.MethodPost, "/notices", duty, outage(map[string]any{"kind": "planned_outage", "starts_at": "2026-03-05T09:00:00+08:00", "ends_at": "2026-03-05T11:00:00+08:00"}))
	if a := c.call(http.MethodPost, "/notices/"+planned.body["id"].(string)+"/approve", duty, nil); a.status != http.StatusForbidden {
		t.Errorf("the duty manager approves a planned outage: %d %s", a.status, a.raw)
	}
	if a := c.call(http.MethodPost, "/notices/"+planned.body["id"].(string)+"/approve", c.token("qianjin"), nil); a.status != http.StatusOK {
		t.Errorf("the department manager does not: %d %s", a.status, a.raw)
	}
}

func TestNoticeEvidenceIsForWhoWorksAlone(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	made := c.call(http.MethodPost, "/notices", c.token("yangguang"), outage(nil))
	path := "/notices/" + made.body["no"].(string) + "/evidence"
	if a := c.call(http.MethodGet, path, c.token("wuxiao"), nil); a.status != http.StatusForbidden {
		t.Errorf("a trainee gets every number: %d", a.status)
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1"+path, nil)
	req.Header.Set("Authorization", "Bearer "+c.admin())
	rec := httptest.NewRecorder()
	c.router.ServeHTTP(rec, req)
	if rec.Code != http.StatusOK || !strings.HasPrefix(rec.Body.String(), "PK") || !strings.Contains(rec.Header().Get("Content-Disposition"), made.body["no"].(string)) {
		t.Errorf("evidence: %d %v", rec.Code, rec.Header())
	}
}
