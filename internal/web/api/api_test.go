package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/goleak"

	"guanjia/internal/app/worldtest"
	"guanjia/internal/desk"
	"guanjia/internal/web/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client calls the API of a world as a program would.
type client struct {
	t      *testing.T
	w      *worldtest.World
	router chi.Router
}

func newClient(t *testing.T) *client {
	t.Helper()
	w := worldtest.Embedded(t)
	a := api.New(api.Deps{DB: w.DB, Desk: w.Desk, Estate: w.Estate, Staff: w.Staff, Queues: w.Queues, Book: w.Book, Log: w.Logs.Logger, Register: w.Register, Articles: w.Articles, Notices: w.Notices})
	r := chi.NewRouter()
	r.Route("/api/v1", a.Routes)
	return &client{t: t, w: w, router: r}
}

// answer is a decoded answer with its status.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func (a answer) errorCode() string {
	e, _ := a.body["error"].(map[string]any)
	code, _ := e["code"].(string)
	return code
}

func (a answer) errorField() string {
	e, _ := a.body["error"].(map[string]any)
	field, _ := e["field"].(string)
	return field
}

// call sends body, a string as it is and anything else as JSON, with a token.
func (c *client) call(method, path, token string, body any) answer {
	c.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		r = strings.NewReader(string(raw))
	}
	req := httptest.NewRequestWithContext(c.t.Context(), method, "/api/v1"+path, r)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	c.router.ServeHTTP(rec, req)
	a := answer{status: rec.Code, header: rec.Header(), raw: rec.Body.String()}
	if err := json.Unmarshal(rec.Body.Bytes(), &a.body); err != nil {
		c.t.Fatalf("%s %s answers no JSON: %q", method, path, a.raw)
	}
	if got := rec.Header().Get("Content-Type"); got != "application/json; charset=utf-8" {
		c.t.Errorf("%s %s: content type %q", method, path, got)
	}
	return a
}

// ok is a call that must succeed.
func (c *client) ok(method, path, token string, body any) map[string]any {
	c.t.Helper()
	a := c.call(method, path, token, body)
	want := http.StatusOK
	if method == http.MethodPost && path == "/cases" {
		want = http.StatusCreated
	}
	if a.status != want {
		c.t.Fatalf("%s %s: %d %s", method, path, a.status, a.raw)
	}
	return a.body
}

func (c *client) admin() string { return c.w.Sample.AdminToken() }

func (c *client) token(userID string) string { return c.w.Sample.Token(userID) }

// opened is the number of a case opened by the administrator for the n-th bound resident.
func (c *client) opened(n int) string {
	c.t.Helper()
	h := c.w.Bound(c.t, n)
	body := c.ok(http.MethodPost, "/cases", c.admin(), map[string]any{
		"resident": h.ResidentID, "kind": "repair", "category": "engineering", "text": "厨房水管漏水", "mode": "call_in"})
	return body["no"].(string)
}

func TestStoryByAPI(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	h := c.w.Bound(t, 0)
	body := c.ok(http.MethodPost, "/cases", c.admin(), map[string]any{"resident": h.Phone, "kind": "repair", "category": "engineering", "text": "厨房水管漏水", "mode": "call_in"})
	no := body["no"].(string)
	if !desk.ValidNo(no) || body["state"] != "dispatched" || body["queue"] != "queue-engineering" || body["unit"] != h.Unit || body["owner"] != nil || body["rating"] != nil {
		t.Fatalf("opened: %v", body)
	}
	who := body["resident"].(map[string]any)
	if who["id"] != h.ResidentID || who["openid"] != h.OpenID || who["name"] != h.Name {
		t.Errorf("resident = %v", who)
	}
	for _, field := range []string{"no", "state", "kind", "category", "priority", "queue", "unit", "resident", "owner", "summary", "opened_at", "promised_at", "rating", "events"} {
		if _, there := body[field]; !there {
			t.Errorf("a case lacks %q", field)
		}
	}
	if at, err := time.Parse(time.RFC3339, body["opened_at"].(string)); err != nil || !at.Equal(c.w.Clock.Now()) {
		t.Errorf("opened_at = %v, %v", body["opened_at"], err)
	}

	zhang := c.token("zhangwei")
	if body = c.ok(http.MethodPost, "/cases/"+no+"/claim", zhang, nil); body["state"] != "accepted" || body["owner"] != "zhangwei" {
		t.Fatalf("claimed: %v", body)
	}
	if body = c.ok(http.MethodPost, "/cases/"+no+"/reply", zhang, map[string]any{"text": "十分钟到"}); body["state"] != "in_progress" {
		t.Fatalf("replied: %v", body["state"])
	}
	c.ok(http.MethodPost, "/cases/"+no+"/note", zhang, map[string]any{"text": "带了皮带"})
	if body = c.ok(http.MethodPost, "/cases/"+no+"/handle", zhang, map[string]any{"measures": "换了水管"}); body["state"] != "handled" {
		t.Fatalf("handled: %v", body["state"])
	}
	if body = c.ok(http.MethodPost, "/cases/"+no+"/close", zhang, map[string]any{"follow_up": "solved"}); body["state"] != "closed" || body["follow_up"] != "solved" {
		t.Fatalf("closed: %v", body)
	}
	body = c.ok(http.MethodGet, "/cases/"+no, zhang, nil)
	var kinds []string
	for _, e := range body["events"].([]any) {
		event := e.(map[string]any)
		kinds = append(kinds, event["kind"].(string))
		for _, field := range []string{"at", "kind", "by", "text", "delivery"} {
			if _, there := event[field]; !there {
				t.Errorf("an event lacks %q", field)
			}
		}
	}
	if want := []string{"opened", "claimed", "replied", "noted", "handled", "closed"}; !slices.Equal(kinds, want) {
		t.Errorf("events = %v", kinds)
	}
	if by := body["events"].([]any)[1].(map[string]any)["by"]; by != "张伟" {
		t.Errorf("claimed by %v: an action by a member's token counts as his", by)
	}
	// Nothing personal in the log.
	c.w.Logs.NoLeak(t, h.Phone, h.OpenID, "厨房水管漏水", "十分钟到", "带了皮带", "换了水管", zhang)
}

func TestAssignAndTransfer(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	no := c.opened(0)
	body := c.ok(http.MethodPost, "/cases/"+no+"/assign", c.admin(), map[string]any{"to": "liqiang"})
	if body["owner"] != "liqiang" || body["state"] != "dispatched" {
		t.Fatalf("assigned: %v", body)
	}
	taken := c.call(http.MethodPost, "/cases/"+no+"/claim", c.token("wangtao"), nil)
	if taken.status != http.StatusConflict || taken.errorCode() != "taken" || !strings.Contains(taken.raw, "李强") {
		t.Errorf("a second claimer: %d %s", taken.status, taken.raw)
	}
	for _, queue := range []string{"客户服务", "queue-environment", "order_security"} {
		if body = c.ok(http.MethodPost, "/cases/"+no+"/transfer", c.admin(), map[string]any{"queue": queue, "reason": "不是工程的事"}); body["owner"] != nil {
			t.Errorf("transferred to %s: %v", queue, body)
		}
	}
	if body["queue"] != "queue-order_security" {
		t.Errorf("queue = %v", body["queue"])
	}
}

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	no := c.opened(0)
	paths := map[string]string{"/cases": http.MethodGet, "/cases/" + no: http.MethodGet, "/queues": http.MethodGet,
		"/queues/queue-engineering/cases": http.MethodGet, "/residents": http.MethodGet, "/cases/" + no + "/claim": http.MethodPost}
	for path, method := range paths {
		for _, token := range []string{"", "wrong", c.admin() + "x"} {
			a := c.call(method, path, token, nil)
			if a.status != http.StatusUnauthorized || a.errorCode() != "unauthorized" || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s with a bad token: %d %s", path, a.status, a.raw)
			}
		}
	}
	for _, tt := range []struct {
		who, path string
		body      any
		code      string
	}{
		{"wuxiao", "/cases/" + no + "/claim", nil, "trainee"},
		{"wuxiao", "/cases/" + no + "/reply", map[string]any{"text": "好"}, "trainee"},
		{"wuxiao", "/cases", map[string]any{"unit": "1-1-101", "kind": "repair", "text": "灯不亮", "mode": "call_in"}, "forbidden"},
		{"madong", "/cases/" + no + "/claim", nil, "no_right"},
		{"liqiang", "/cases/" + no + "/assign", map[string]any{"to": "wangtao"}, "no_right"},
		{"liumin", "/cases/" + no + "/transfer", map[string]any{"queue": "环境", "reason": "错了"}, "no_right"},
	} {
		if a := c.call(http.MethodPost, tt.path, c.token(tt.who), tt.body); a.status != http.StatusForbidden || a.errorCode() != tt.code {
			t.Errorf("%s %s: %d %s, want 403 %s", tt.who, tt.path, a.status, a.raw, tt.code)
		}
	}
	// A token of nobody can't have a case in hand.
	if a := c.call(http.MethodPost, "/cases/"+no+"/claim", c.admin(), nil); a.status != http.StatusForbidden {
		t.Errorf("the administrator claims: %d %s", a.status, a.raw)
	}
}

// absent is a well-formed number that no case has.
func absent() string {
	for n := 900_000; ; n++ {
		if no := strconv.Itoa(n); desk.ValidNo(no) {
			return no
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	no, unclaimed := c.opened(0), c.opened(1)
	zhang := c.token("zhangwei")
	c.ok(http.MethodPost, "/cases/"+no+"/claim", zhang, nil)
	h := c.w.Bound(t, 2)
	good := func(change map[string]any) map[string]any {
		body := map[string]any{"resident": h.ResidentID, "kind": "repair", "category": "engineering", "text": "灯不亮", "mode": "call_in"}
		for k, v := range change {
			body[k] = v
		}
		return body
	}
	for _, tt := range []struct {
		name, method, path string
		body               any
		status             int
		code, field        string
	}{
		{"unknown number", http.MethodGet, "/cases/" + absent(), nil, 404, "not_found", ""},
		{"no number", http.MethodGet, "/cases/abc", nil, 404, "not_found", ""},
		{"wrong check digit", http.MethodGet, "/cases/" + no[:5] + string('0'+(no[5]-'0'+1)%10), nil, 404, "not_found", ""},
		{"claim of nothing", http.MethodPost, "/cases/" + absent() + "/claim", nil, 404, "not_found", ""},
		{"unknown queue", http.MethodGet, "/queues/nowhere/cases", nil, 404, "not_found", ""},
		{"unknown address", http.MethodGet, "/nothing", nil, 404, "not_found", ""},
		{"wrong method", http.MethodDelete, "/cases", nil, 405, "method_not_allowed", ""},
		{"empty body", http.MethodPost, "/cases/" + no + "/reply", "", 400, "bad_request", ""},
		{"no JSON", http.MethodPost, "/cases/" + no + "/reply", "{", 400, "bad_request", ""},
		{"two values", http.MethodPost, "/cases/" + no + "/reply", `{"text":"好"} {"text":"好"}`, 400, "bad_request", ""},
		{"unknown field", http.MethodPost, "/cases/" + no + "/reply", map[string]any{"txt": "好"}, 400, "bad_request", "txt"},
		{"wrong type", http.MethodPost, "/cases/" + no + "/reply", map[string]any{"text": 5}, 400, "bad_request", "text"},
		{"no object", http.MethodPost, "/cases/" + no + "/reply", `["好"]`, 400, "bad_request", ""},
		{"no text", http.MethodPost, "/cases/" + no + "/reply", map[string]any{"text": "  "}, 422, "need_text", "text"},
		{"held R-083", http.MethodPost, "/cases/" + no + "/reply", map[string]any{"text": "我不清楚，你到别处去问吧"}, 422, "held_phrase", "text"},
		{"too long", http.MethodPost, "/cases/" + no + "/reply", map[string]any{"text": strings.Repeat("长", 3000)}, 422, "too_long", "text"},
		{"empty note", http.MethodPost, "/cases/" + no + "/note", map[string]any{}, 422, "need_text", "text"},
		{"no measures R-013", http.MethodPost, "/cases/" + no + "/handle", map[string]any{}, 422, "need_measures", "measures"},
		{"held measures", http.MethodPost, "/cases/" + no + "/handle", map[string]any{"measures": "不归我们管"}, 422, "held_phrase", "measures"},
		{"not claimed", http.MethodPost, "/cases/" + unclaimed + "/handle", map[string]any{"measures": "修好了"}, 409, "not_claimed", ""},
		{"no follow-up R-014", http.MethodPost, "/cases/" + no + "/close", map[string]any{}, 422, "need_follow_up", "follow_up"},
		{"too early", http.MethodPost, "/cases/" + no + "/close", map[string]any{"follow_up": "solved"}, 409, "state", ""},
		{"to nobody", http.MethodPost, "/cases/" + no + "/assign", map[string]any{"to": "nobody"}, 422, "unknown_staff", "to"},
		{"no reason", http.MethodPost, "/cases/" + no + "/transfer", map[string]any{"queue": "环境"}, 422, "need_reason", "reason"},
		{"to nowhere", http.MethodPost, "/cases/" + no + "/transfer", map[string]any{"queue": "水电部", "reason": "错了"}, 422, "unknown_queue", "queue"},
		{"to itself", http.MethodPost, "/cases/" + no + "/transfer", map[string]any{"queue": "工程维修", "reason": "错了"}, 422, "same_queue", "queue"},
		{"wrong kind", http.MethodPost, "/cases", good(map[string]any{"kind": "urge"}), 422, "kind", "kind"},
		{"wrong category", http.MethodPost, "/cases", good(map[string]any{"category": "plumbing"}), 422, "category", "category"},
		{"wrong mode", http.MethodPost, "/cases", good(map[string]any{"mode": "fax"}), 422, "mode", "mode"},
		{"no words", http.MethodPost, "/cases", good(map[string]any{"text": ""}), 422, "need_text", "text"},
		{"nobody", http.MethodPost, "/cases", good(map[string]any{"resident": "13999999999"}), 422, "unknown_resident", "resident"},
		{"no home, nobody", http.MethodPost, "/cases", good(map[string]any{"resident": ""}), 400, "bad_request", "resident"},
		{"unknown home", http.MethodPost, "/cases", good(map[string]any{"resident": "", "unit": "9-9-9901"}), 422, "unknown_unit", "unit"},
		{"no home's form", http.MethodPost, "/cases", good(map[string]any{"resident": "", "unit": "somewhere"}), 400, "bad_request", "unit"},
		{"bad cursor", http.MethodGet, "/cases?cursor=x", nil, 400, "cursor", "cursor"},
		{"no text in a cursor", http.MethodGet, "/residents?cursor=%00", nil, 400, "bad_request", "cursor"},
		{"no text in a query", http.MethodGet, "/cases?q=%ff", nil, 400, "bad_request", "q"},
		{"no text in an address", http.MethodGet, "/queues/%00/cases", nil, 404, "not_found", ""},
		{"too large", http.MethodPost, "/cases/" + no + "/note", map[string]any{"text": strings.Repeat("长", 1<<19)}, 413, "too_large", ""},
		{"only control characters", http.MethodPost, "/cases/" + no + "/note", map[string]any{"text": "\x00\x01 "}, 422, "need_text", "text"},
		{"bad limit", http.MethodGet, "/cases?limit=0", nil, 400, "bad_request", "limit"},
		{"bad limit of residents", http.MethodGet, "/residents?limit=many", nil, 400, "bad_request", "limit"},
		{"bad state", http.MethodGet, "/cases?state=lost", nil, 400, "bad_request", "state"},
		{"bad bound", http.MethodGet, "/residents?bound=maybe", nil, 400, "bad_request", "bound"},
	} {
		a := c.call(tt.method, tt.path, zhang, tt.body)
		if a.status != tt.status || a.errorCode() != tt.code || a.errorField() != tt.field {
			t.Errorf("%s: %d %s, want %d %s on %q", tt.name, a.status, a.raw, tt.status, tt.code, tt.field)
		}
		if e, _ := a.body["error"].(map[string]any); e["message"] == "" || e["message"] == tt.code {
			t.Errorf("%s: message %q says nothing", tt.name, e["message"])
		}
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	var want []string
	for i := range 5 {
		c.w.Clock.Advance(time.Second)
		want = append(want, c.opened(i))
	}
	slices.Reverse(want) // newest first
	var got []string
	next := ""
	for range 4 {
		body := c.ok(http.MethodGet, "/cases?limit=2&cursor="+next, c.admin(), nil)
		for _, v := range body["cases"].([]any) {
			got = append(got, v.(map[string]any)["no"].(string))
		}
		if next = body["next_cursor"].(string); next == "" {
			break
		}
	}
	if !slices.Equal(got, want) || next != "" {
		t.Errorf("pages hold %v, want %v; at the end %q", got, want, next)
	}
	h := c.w.Bound(t, 3)
	for query, n := range map[string]int{
		"resident=" + h.ResidentID: 1, "resident=" + h.OpenID: 1, "resident=" + h.Phone: 1, "resident=13999999999": 0,
		"queue=queue-engineering": 5, "queue=queue-environment": 0, "state=dispatched": 5, "state=closed": 0, "q=" + want[0]: 1, "q=%23" + want[0]: 1, "owner=zhangwei": 0,
	} {
		if body := c.ok(http.MethodGet, "/cases?"+query, c.admin(), nil); len(body["cases"].([]any)) != n {
			t.Errorf("%s: %d cases, want %d", query, len(body["cases"].([]any)), n)
		}
	}

	// Claim order: danger first, however late it comes.
	danger := c.w.Bound(t, 9)
	c.w.Say(t, danger.OpenID, "电梯困人了,快来")
	body := c.ok(http.MethodGet, "/queues/queue-engineering/cases", c.admin(), nil)
	waiting := body["cases"].([]any)
	if body["source"] != "redis" || len(waiting) != 6 || waiting[0].(map[string]any)["no"] != c.w.OneCase(t, danger.OpenID).No || waiting[1].(map[string]any)["no"] != want[4] {
		t.Errorf("queue from %v: %v", body["source"], waiting)
	}
	c.ok(http.MethodPost, "/cases/"+want[0]+"/claim", c.token("zhangwei"), nil)
	queues := c.ok(http.MethodGet, "/queues", c.admin(), nil)["queues"].([]any)
	if len(queues) != 4 {
		t.Fatalf("%d queues", len(queues))
	}
	for _, v := range queues {
		q := v.(map[string]any)
		for _, field := range []string{"id", "name", "line", "waiting", "oldest_s", "in_hand", "source"} {
			if _, there := q[field]; !there {
				t.Errorf("a queue lacks %q", field)
			}
		}
		if q["line"] == "engineering" && (q["waiting"] != 5.0 || q["in_hand"] != 1.0 || q["source"] != "redis") {
			t.Errorf("engineering: %v", q)
		}
	}
}

func TestResidents(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	h, quiet := c.w.Bound(t, 0), c.w.PhoneOnly(t, 0)
	body := c.ok(http.MethodGet, "/residents?phone="+h.Phone, c.admin(), nil)
	list := body["residents"].([]any)
	if len(list) != 1 {
		t.Fatalf("by phone: %v", list)
	}
	r := list[0].(map[string]any)
	home := r["homes"].([]any)[0].(map[string]any)
	if r["id"] != h.ResidentID || r["openid"] != h.OpenID || r["phone"] != h.Phone || home["unit"] != h.Unit || home["building"] != h.Building || home["role"] == "" {
		t.Errorf("resident = %v", r)
	}
	if list = c.ok(http.MethodGet, "/residents?phone="+quiet.Phone, c.admin(), nil)["residents"].([]any); list[0].(map[string]any)["openid"] != nil {
		t.Errorf("openid of one who is not bound: %v", list[0])
	}
	for query, atLeast := range map[string]int{"openid=" + h.OpenID: 1, "unit=" + h.Unit: 1} {
		if got := len(c.ok(http.MethodGet, "/residents?"+query, c.admin(), nil)["residents"].([]any)); got < atLeast {
			t.Errorf("%s: %d", query, got)
		}
	}
	counted := map[string]int{}
	for _, bound := range []string{"true", "false"} {
		next := ""
		for range 20 {
			body := c.ok(http.MethodGet, "/residents?limit=200&bound="+bound+"&cursor="+next, c.admin(), nil)
			counted[bound] += len(body["residents"].([]any))
			if next = body["next_cursor"].(string); next == "" {
				break
			}
		}
	}
	if counted["true"] < 250 || counted["false"] < 60 {
		t.Errorf("residents by pages: %v", counted)
	}
}

// TestRepeatedRequest: a program that tries again opens no second case.
func TestRepeatedRequest(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	body := map[string]any{"unit": "1-1-101", "kind": "repair", "text": "灯不亮", "mode": "call_in", "request_id": "r-1"}
	first := c.ok(http.MethodPost, "/cases", c.token("liumin"), body)
	if again := c.ok(http.MethodPost, "/cases", c.token("liumin"), body); again["no"] != first["no"] {
		t.Errorf("opened %v and %v", first["no"], again["no"])
	}
	if first["resident"] != nil || first["unit"] != "1-1-101" {
		t.Errorf("a case of a home: %v", first)
	}
}

// TestDatabaseAway answers 503 and says so in the log without what was sent.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	if err := c.w.DB.Close(); err != nil {
		t.Fatal(err)
	}
	a := c.call(http.MethodGet, "/cases?resident=13800000001", c.admin(), nil)
	if a.status != http.StatusServiceUnavailable || a.errorCode() != "unavailable" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	c.w.Logs.NoLeak(t, "13800000001", c.admin())
	if !strings.Contains(c.w.Logs.String(), "api call failed") {
		t.Error("nothing in the log")
	}
}

// TestDescription: openapi.json lists what is mounted, and nothing else.
func TestDescription(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	body := c.call(http.MethodGet, "/openapi.json", "", nil).body // needs no token
	described := map[string]bool{}
	for path, v := range body["paths"].(map[string]any) {
		for method := range v.(map[string]any) {
			described[strings.ToUpper(method)+" "+path] = true
		}
	}
	mounted := map[string]bool{}
	err := chi.Walk(c.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if path := strings.TrimPrefix(route, "/api/v1"); path != "/openapi.json" {
			mounted[method+" "+path] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(mounted) < 13 {
		t.Fatalf("only %d routes are mounted; the test looks at nothing", len(mounted))
	}
	for route := range mounted {
		if !described[route] {
			t.Errorf("%s is mounted and not described", route)
		}
	}
	for route := range described {
		if !mounted[route] {
			t.Errorf("%s is described and not mounted", route)
		}
	}
}
