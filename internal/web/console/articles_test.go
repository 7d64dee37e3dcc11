package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"guanjia/internal/staff"
)

func TestArticlePages(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.w.Say(t, b.w.Bound(t, 0).OpenID, "对口初中是哪一所?")
	b.signIn("admin")
	list := b.get("/console/articles")
	for _, want := range []string{"知识库", "F001", "服务中心的办公时间是什么?", "使用中"} {
		if !strings.Contains(list.body, want) {
			t.Errorf("the list lacks %q", want)
		}
	}
	gaps := b.get("/console/articles/unanswered")
	if !strings.Contains(gaps.body, "对口初中是哪一所?") || !strings.Contains(gaps.body, "写成条目") {
		t.Error("the question that nobody could answer isn't listed")
	}

	form := url.Values{"code": {"B1"}, "question": {"羽毛球场怎么预约?"}, "phrasings": {"打羽毛球\r\n订场地"}, "answer": {"不知道，你到别处去问吧"}, "valid_until": {"2027-01-01"}}
	refused := b.post("/console/articles/new", form)
	if !strings.Contains(refused.body, "请换个说法") || !strings.Contains(refused.body, "订场地") || !strings.Contains(refused.body, "2027-01-01") {
		t.Error("a refused article doesn't say why, or loses what was typed")
	}
	form.Set("answer", "在公众号里选时段。")
	made := b.post("/console/articles/new", form)
	if made.status != http.StatusOK || !strings.Contains(made.body, "待批准") {
		t.Fatalf("created: %d at %s", made.status, made.path)
	}
	if got := b.post(made.path+"/approve", url.Values{"version": {"1"}}); !strings.Contains(got.body, "使用中") {
		t.Error("an approved article isn't in use")
	}
	if got := b.post(made.path+"/retire", url.Values{"version": {"1"}}); !strings.Contains(got.body, "请刷新后再改") {
		t.Error("a stale action isn't refused")
	}
	if got := b.get("/console/articles?which=due"); !strings.Contains(got.body, "没有符合的条目") {
		t.Error("articles are due that are not")
	}
	if got := b.get("/console/articles/none"); got.status != http.StatusNotFound {
		t.Errorf("no such article: %d", got.status)
	}
	if n := rows(t, b.w, `select count(*) from article_versions where buildings = '[]' and phrasings = '["打羽毛球","订场地"]'`); n != 1 {
		t.Error("the phrasings of the form weren't kept, one a line")
	}
}

func TestTraineesOnlyReadArticles(t *testing.T) {
	t.Parallel()
	b := open(t)
	for _, m := range b.w.Sample.Staff {
		if m.Role == string(staff.RoleTrainee) {
			b.signIn(m.UserID)
			break
		}
	}
	if page := b.get("/console/articles/F001"); page.status != http.StatusOK || strings.Contains(page.body, "<textarea") {
		t.Errorf("the page of a trainee: %d", page.status)
	}
	if page := b.post("/console/articles/new", url.Values{"question": {"问"}, "answer": {"答"}}); !strings.Contains(page.body, "没有这项权限") {
		t.Error("a trainee may write")
	}
}
