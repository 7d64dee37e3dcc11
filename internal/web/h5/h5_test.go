package h5_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"guanjia/internal/web/h5"
	"guanjia/internal/wording"
	"guanjia/notify/survey"
	"guanjia/templates"
)

// surveys answers what it is told to and remembers what was sent.
type surveys struct {
	view survey.PageView
	out  survey.Outcome
	err  error
	got  []survey.Form
}

func (s *surveys) Page(context.Context, string) (survey.PageView, error) { return s.view, s.err }

func (s *surveys) Submit(_ context.Context, _ string, f survey.Form) (survey.Outcome, error) {
	s.got = append(s.got, f)
	return s.out, s.err
}

func handler(t *testing.T, s *surveys) http.Handler {
	t.Helper()
	book, err := wording.Load(templates.FS())
	if err != nil {
		t.Fatal(err)
	}
	p, err := h5.New(h5.Deps{Surveys: s, Book: book, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Files: templates.Web()})
	if err != nil {
		t.Fatal(err)
	}
	return http.StripPrefix("/h5", p.Handler())
}

func open() survey.PageView {
	return survey.PageView{
		State: survey.PageOpen, Title: "物业服务满意度", Company: "示例物业", About: "2026年下半年满意度调查", Until: time.Date(2026, 11, 30, 20, 0, 0, 0, time.UTC),
		Form: survey.Questionnaire{Comment: "还有什么意见", Sections: []survey.Section{
			{Title: "总体评价", Questions: []survey.Question{{ID: "overall", Text: "总体满意吗", Required: true}}},
			{Title: "其他", Questions: []survey.Question{{ID: "recommend", Text: "愿意推荐吗", Type: survey.NPSQuestion}}},
		}},
	}
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func post(t *testing.T, h http.Handler, form url.Values) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/h5/s/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// the page is a plain form that works without script, five faces with
// words to a line, under 60 kB with everything.
func TestPageIsAPlainForm(t *testing.T) {
	t.Parallel()
	s := &surveys{view: open()}
	h := handler(t, s)
	code, page := get(t, h, "/h5/s/token")
	if code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	for _, want := range []string{
		`<form method="post">`, `name="q.overall" value="1"`, `name="q.overall" value="5"`, "非常不满意", "非常满意",
		`name="q.recommend" value="0"`, `name="q.recommend" value="10"`, `name="comment"`, "12月1日" /* 20:00 UTC is the next morning here */, "示例物业",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "onclick") {
		t.Error("the page needs script")
	}
	_, css := get(t, h, "/h5/h5.css")
	if n := len(page) + len(css); n > 60<<10 {
		t.Errorf("page and style are %d bytes, more than 60 kB", n)
	}
	if len(s.got) != 0 {
		t.Error("a GET has sent an answer: preview robots open links")
	}
}

func TestHalfYearPageIsSmall(t *testing.T) {
	t.Parallel()
	raw, err := fs.ReadFile(templates.FS(), "survey/half_year.yaml")
	if err != nil {
		t.Fatal(err)
	}
	v := open()
	if v.Form, err = survey.ParseQuestionnaire("half_year.yaml", raw); err != nil {
		t.Fatal(err)
	}
	_, page := get(t, handler(t, &surveys{view: v}), "/h5/s/token")
	if len(page) > 50<<10 {
		t.Errorf("the half-year page is %d bytes", len(page))
	}
}

func TestAnswersComeAsTheyWereSent(t *testing.T) {
	t.Parallel()
	s := &surveys{view: open(), out: survey.Outcome{Kind: survey.Saved, Message: "谢谢您的评价"}}
	s.view.State = survey.PageAnswered
	words := "<script>alert(1)</script>" + strings.Repeat("长", 5000)
	code, page := post(t, handler(t, s), url.Values{"q.overall": {"4"}, "q.recommend": {"10"}, "comment": {words}, "other": {"x"}})
	if code != http.StatusOK || !strings.Contains(page, "谢谢您的评价") || !strings.Contains(page, "修改") {
		t.Errorf("answer %d: %s", code, page)
	}
	if len(s.got) != 1 || s.got[0].Scores["overall"] != "4" || s.got[0].Scores["recommend"] != "10" || s.got[0].Comment != words || len(s.got[0].Scores) != 2 {
		t.Errorf("got %d forms", len(s.got))
	}
}

// A refused form is shown again with what was filled in and what is wrong.
func TestRefusedFormKeepsItsAnswers(t *testing.T) {
	t.Parallel()
	s := &surveys{view: open(), out: survey.Outcome{Kind: survey.BadForm, Message: "有一题没有答", Problems: []survey.Problem{{Field: "q.overall", Message: "请选择1到5"}}}}
	code, page := post(t, handler(t, s), url.Values{"q.overall": {"55"}, "q.recommend": {"7"}, "comment": {"<b>楼道灯</b>"}})
	if code != http.StatusUnprocessableEntity {
		t.Errorf("status %d", code)
	}
	for _, want := range []string{`href="#q.overall"`, `id="q.overall" class="wrong"`, "请选择1到5", `name="q.recommend" value="7" checked`, "&lt;b&gt;楼道灯&lt;/b&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestLinksThatLeadNowhere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		view survey.PageView
		err  error
		code int
		want string
	}{
		"cut off":   {view: survey.PageView{State: survey.PageUnknown, Message: "链接打不开"}, code: http.StatusNotFound, want: "链接打不开"},
		"ended":     {view: survey.PageView{State: survey.PageOver, Title: "满意度", Message: "调查已经结束,谢谢您"}, code: http.StatusOK, want: "已经结束"},
		"anonymous": {view: survey.PageView{State: survey.PageDone, Message: "您已经填过"}, code: http.StatusOK, want: "已经填过"},
		"database":  {err: errors.New("away"), code: http.StatusInternalServerError, want: "还没有保存"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &surveys{view: c.view, err: c.err}
			code, page := get(t, handler(t, s), "/h5/s/token")
			if code != c.code || !strings.Contains(page, c.want) || strings.Contains(page, "<form") {
				t.Errorf("%d: %s", code, page)
			}
		})
	}
	if code, _ := get(t, handler(t, &surveys{}), "/h5/s/a/b"); code != http.StatusNotFound {
		t.Errorf("a foreign address gave %d", code)
	}
}

func TestTooLargeFormIsRefused(t *testing.T) {
	t.Parallel()
	s := &surveys{view: open()}
	code, page := post(t, handler(t, s), url.Values{"comment": {strings.Repeat("长", 60000)}})
	if code != http.StatusRequestEntityTooLarge || !strings.Contains(page, "没有收到") || len(s.got) != 0 {
		t.Errorf("%d, %d forms: %s", code, len(s.got), page)
	}
}
