package console_test

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/ledger"
	"guanjia/notify"
)

// outage are the fields of an emergency that lacks nothing.
func outage(change ...string) url.Values {
	form := url.Values{"kind": {"emergency_outage"}, "topic": {"outage_water"}, "buildings": {"3", "4"}, "reason": {"主管爆裂抢修"},
		"ends_at": {"2026-03-02T18:00"}, "channels": {"sms", "template"}}
	for i := 0; i+1 < len(change); i += 2 {
		form.Del(change[i])
		if change[i+1] != "" {
			form.Set(change[i], change[i+1])
		}
	}
	return form
}

func wantAll(t *testing.T, p page, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(p.body, part) {
			t.Errorf("%s (%d) lacks %q", p.path, p.status, part)
		}
	}
}

func wantNone(t *testing.T, p page, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(p.body, part) {
			t.Errorf("%s must not show %q", p.path, part)
		}
	}
}

func TestNoticeOnItsPages(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.signIn("yangguang")
	wantAll(t, b.get("/console/notices"), "发通知", "还没有通知")
	wantAll(t, b.get("/console/notices/new"), "突发停水停电停气", "恢复通知", "值班经理可直接确认")
	wantAll(t, b.get("/console/notices/new?kind=emergency_outage"), "3栋", "全小区", "还差", `id="p-reason"`)
	wantAll(t, b.post("/console/notices/preview", outage()), "内容齐全", "主管爆裂抢修突发停水", "158 个号码", "约 14.22 元", "计 2 条")
	bad := b.post("/console/notices/preview", outage("reason", "", "channels", "template", "buildings", ""))
	wantAll(t, bad, "还差", "请写明原因", "必须发短信", "请选择楼栋", `<span class="trouble" id="p-reason">请写明`)
	if p := b.post("/console/notices", outage("buildings", "")); !strings.Contains(p.body, "请选择楼栋") || strings.HasPrefix(p.path, "/console/notices/T") {
		t.Errorf("a notice for nobody in particular is kept: %s", p.path)
	}
	wantAll(t, b.post("/console/notices/preview", outage("buildings", "", "whole", "1")), "内容齐全", "全小区")

	p := b.post("/console/notices", outage("reason", ""))
	if p.path != "/console/notices/T0001" {
		t.Fatalf("the draft is at %s", p.path)
	}
	wantAll(t, p, "还差 1 项", "请写明原因", "作废")
	wantNone(t, p, "确认发送给")
	wantAll(t, b.post("/console/notices/T0001/approve", nil), "请写明原因")
	wantAll(t, b.get("/console/notices/T0001/edit"), "修改 T0001", `value="3" checked`)
	form := outage()
	form.Set("no", "T0001")
	p = b.post("/console/notices", form)
	wantAll(t, p, "确认发送给 116 户", "主管爆裂抢修", "T0001")

	b.client = b.newClient()
	b.signIn("liqiang") // a technician
	p = b.get("/console/notices/T0001")
	wantAll(t, p, "请值班经理确认发送")
	wantNone(t, p, "确认发送给", `href="/console/notices/T0001/edit"`)
	wantAll(t, b.post("/console/notices/T0001/approve", nil), "alert")
	b.client = b.newClient()
	b.signIn("yangguang")
	p = b.post("/console/notices/T0001/approve", nil)
	wantAll(t, p, "发送中", "<strong>0</strong> / 116 户已通知到", `every 1s`, "3栋", "待发 158", "暂停", "发恢复通知", "待部门负责人补批")
	wantAll(t, b.post("/console/notices/T0001/approve", nil), "alert") // twice
	wantAll(t, b.post("/console/notices/T0001/pause", nil), "已暂停", "继续发送")
	wantAll(t, b.post("/console/notices/T0001/resume", nil), "发送中")
	wantAll(t, b.get("/console/notices/new?kind=restored&of=T0001"), `value="T0001"`, "供水", "3栋")
	wantAll(t, b.get("/console/notices/T0001/print"), "对客通知凭证", "批准", "杨光", "116", "主管爆裂抢修")
	wantAll(t, b.get("/console/publications?month=2026-03"), "对客信息发布一览表", "T0001", "杨光", "待补批")
	wantAll(t, b.post("/console/publications/T0001/tick", url.Values{"form": {"poster"}, "words": {"3栋大堂"}}), "已完成", "3栋大堂", "✓ 杨光")
	wantAll(t, b.post("/console/publications/T0001/complete", url.Values{"words": {"已归档"}}), "已归档")
	wantAll(t, b.post("/console/publications/T0001/tick", url.Values{"form": {"sms"}}), "alert") // counted, not ticked
	b.client = b.newClient()
	b.signIn("qianjin")
	wantAll(t, b.post("/console/notices/T0001/endorse", nil), "补批", "钱进")
	for path, kind := range map[string]string{"/console/notices/T0001/evidence.xlsx": "notice-T0001.xlsx", "/console/publications.xlsx?month=2026-03": "publications-2026-03.xlsx"} {
		if p := b.get(path); p.status != http.StatusOK || !strings.HasPrefix(p.body, "PK") || !strings.Contains(p.header.Get("Content-Disposition"), kind) {
			t.Errorf("%s: %d %v", path, p.status, p.header)
		}
	}
	for _, path := range []string{"/console/notices/T0099", "/console/notices/T0099/print", "/console/notices/T0099/calls", "/console/notices/nothing"} {
		if p := b.get(path); p.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, p.status)
		}
	}
}

func TestCallListPage(t *testing.T) {
	t.Parallel()
	b := open(t)
	w := b.w
	silent := w.PhoneOnly(t, 20)
	b.signIn("yangguang")
	b.post("/console/notices", outage("buildings", "", "more", silent.Unit))
	b.post("/console/notices/T0001/approve", nil)
	fail(t, b)
	path := "/console/notices/T0001/calls"
	wantAll(t, b.get(path), silent.Unit, silent.Name, "tel:"+silent.Phone, "我来打", "记下结果")
	b.client = b.newClient()
	b.signIn("wuxiao") // a trainee
	wantNone(t, b.get(path), silent.Phone)
	if p := b.get("/console/notices/T0001/evidence.xlsx"); p.status != http.StatusNotFound {
		t.Errorf("a trainee gets every number: %d", p.status)
	}
	b.client = b.newClient()
	b.signIn("liqiang")
	wantAll(t, b.post(path+"/"+silent.Unit+"/claim", nil), "李强 正在联系")
	wantAll(t, b.post(path+"/"+silent.Unit+"/tick", url.Values{"outcome": {"nonsense"}}), "alert")
	wantAll(t, b.post(path+"/"+silent.Unit+"/tick", url.Values{"outcome": {"called"}, "note": {"本人"}}), "没有需要电话通知的住户")
	wantAll(t, b.get(path+"?all=1"), silent.Unit, "已电话通知", "李强")
}

// fail lets the vendor refuse all emergencies for good.
func fail(t *testing.T, b *browser) {
	t.Helper()
	for {
		list, err := b.w.Ledger.Claim(t.Context(), ledger.ClaimQuery{Lane: ledger.LaneEmergency, Limit: 50, Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return
		}
		for _, d := range list {
			a, err := b.w.Ledger.StartAttempt(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.w.Ledger.Record(t.Context(), a, ledger.Outcome{Kind: ledger.Unreachable, Code: "INVALID_NUMBER"}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestNoticePictures keeps pictures of the pages where GUANJIA_PICTURES says.
func TestNoticePictures(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("GUANJIA_PICTURES")
	if folder == "" {
		t.Skip("set GUANJIA_PICTURES to a folder to get pictures of the pages")
	}
	b := open(t)
	b.signIn("yangguang")
	b.picture(folder, "notice-kinds", b.get("/console/notices/new").body)
	b.picture(folder, "notice-form", b.post("/console/notices/preview", outage("reason", "", "channels", "template")).body)
	b.picture(folder, "notice-draft", b.post("/console/notices", outage()).body)
	b.post("/console/notices", outage("buildings", "5", "topic", "outage_power", "reason", ""))
	b.post("/console/notices/T0001/approve", nil)
	fail(t, b)
	list, _, err := b.w.Notices.List(t.Context(), sample.CompanyID, notify.Filter{})
	if err != nil || len(list) != 2 {
		t.Fatalf("%d notices, %v", len(list), err)
	}
	b.post("/console/notices/T0001/calls/3-1-101/claim", nil)
	for name, path := range map[string]string{"notices": "/console/notices", "notice": "/console/notices/T0001", "notice-problems": "/console/notices/T0002",
		"notice-calls": "/console/notices/T0001/calls", "notice-print": "/console/notices/T0001/print", "publications": "/console/publications?month=2026-03"} {
		b.picture(folder, name, b.get(path).body)
	}
}
