package knowledge_test

import (
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"guanjia/bot/knowledge"
)

// sampleArticles are those of the sample company.
func sampleArticles(t testing.TB) []knowledge.Article {
	t.Helper()
	f, err := os.Open("../../internal/app/sample/data/faq.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := knowledge.ReadArticles(f)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func index(t testing.TB) *knowledge.Index {
	t.Helper()
	m, err := knowledge.New()
	if err != nil {
		t.Fatal(err)
	}
	x, err := m.Build(sampleArticles(t))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	x := index(t)
	for _, tt := range []struct{ question, want string }{
		{"前台几点上班", "F001"},
		{"您好，请问一下：物业费一平米多少钱？谢谢", "F003"},
		{"物業費一平米多少錢", "F003"},
		{"Ｆ栋停水会怎么通知", "F034"},
		{"对口初中是哪一所", ""},
		{"今天股票涨了没有", ""},
		{"讲个笑话", ""},
		{"", ""},
		{"???", ""},
		{"😀😀", ""},
		{"123456", ""},
		{"hello, how are you today", ""},
	} {
		hit := x.Answer(tt.question)
		got := ""
		if hit.OK {
			got = hit.ArticleID
		}
		if got != tt.want {
			t.Errorf("%q: %q at %.3f, want %q", tt.question, got, hit.Score, tt.want)
		}
	}
}

// Every article is found by its own question and phrasings, in the first place.
func TestArticlesAreFoundByTheirOwnWords(t *testing.T) {
	t.Parallel()
	x := index(t)
	asked, first := 0, 0
	for _, a := range sampleArticles(t) {
		for _, q := range append([]string{a.Question}, a.Phrasings...) {
			asked++
			if x.Answer(q).ArticleID == a.ID {
				first++
			}
		}
	}
	if float64(first) < 0.97*float64(asked) {
		t.Errorf("%d of %d own words lead to their article", first, asked)
	}
}

// Articles that no training ever named are found too.
func TestForeignArticles(t *testing.T) {
	t.Parallel()
	m, err := knowledge.New()
	if err != nil {
		t.Fatal(err)
	}
	x, err := m.Build([]knowledge.Article{
		{ID: "a", Question: "羽毛球场怎么预约?", Phrasings: []string{"打羽毛球", "球场开放时间"}, Answer: "在公众号「场馆」里选时段,每小时20元。"},
		{ID: "b", Question: "居住证明在哪里开?", Phrasings: []string{"开证明", "物业盖章"}, Answer: "带身份证到服务中心,当场办好。"},
		{ID: "c", Question: "可以借梯子和工具吗?", Phrasings: []string{"借工具", "借手推车"}, Answer: "前台登记后可借,当天归还。"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for q, want := range map[string]string{"打球要提前订场地吗": "a", "开个居住证明要带什么": "b", "能借个梯子用一下吗": "c", "门禁卡丢了怎么补": "", "房贷利率是多少": ""} {
		hit := x.Answer(q)
		if want != "" && hit.ArticleID != want || want == "" && hit.OK {
			t.Errorf("%q: %s at %.3f, answered %v; want %q", q, hit.ArticleID, hit.Score, hit.OK, want)
		}
	}
}

func TestReadArticlesNamesLineAndReason(t *testing.T) {
	t.Parallel()
	good := `{"id":"A","question":"问","answer":"答"}` + "\n"
	for _, tt := range []struct{ name, file, want string }{
		{"no JSON", good + "nonsense\n", "line 2 is no article"},
		{"cut off", good + `{"id":"B","question":`, "line 2"},
		{"no id", `{"question":"问","answer":"答"}`, "line 1: the id is empty"},
		{"twice", good + "\n" + good, `line 3: the id "A" stands in line 1`},
		{"no question", `{"id":"A","answer":"答"}`, "line 1: the question is empty"},
		{"no answer", `{"id":"A","question":"问"}`, "line 1: the answer is empty"},
		{"empty phrasing", `{"id":"A","question":"问","phrasings":[""],"answer":"答"}`, "phrasing 1"},
		{"long answer", `{"id":"A","question":"问","answer":"` + strings.Repeat("答", knowledge.MaxAnswer+1) + `"}`, "the answer has"},
	} {
		_, err := knowledge.ReadArticles(strings.NewReader(tt.file))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	list, err := knowledge.ReadArticles(strings.NewReader("\ufeff" + good + "\r\n"))
	if err != nil || len(list) != 1 {
		t.Errorf("a byte order mark and an empty line: %v, %v", list, err)
	}
}

func TestDamagedWeightsAreRefused(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("weights.bin")
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 2<<20 {
		t.Errorf("the weights have %d bytes, 2 MiB are allowed", len(raw))
	}
	flipped := append([]byte(nil), raw...)
	flipped[len(flipped)/2] ^= 1
	for name, file := range map[string][]byte{"empty": nil, "cut": raw[:len(raw)-1], "flipped": flipped, "foreign": []byte("something else\n"), "head only": raw[:80]} {
		if _, err := knowledge.WithWeights(file); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLongAndBrokenInputEnds(t *testing.T) {
	t.Parallel()
	x := index(t)
	for name, in := range map[string]string{
		"long": strings.Repeat("电梯坏了怎么办", 20000), "invalid": strings.Repeat("\xff\xfe", 50000), "marks": strings.Repeat("\u200b\u202e", 50000),
		"markup": strings.Repeat("<b>", 30000), "zero": strings.Repeat("\x00", 1000),
	} {
		start := time.Now()
		x.Answer(in)
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"物业费怎么交", "", "\xff", "😀", "停水\u202e通知", strings.Repeat("水", 500)} {
		f.Add(s)
	}
	x := index(f)
	f.Fuzz(func(t *testing.T, s string) {
		hit := x.Answer(s)
		if hit.Score < 0 || hit.Score > 1 || hit.OK && hit.ArticleID == "" {
			t.Errorf("%+v", hit)
		}
		if again := x.Answer(s); again != hit {
			t.Errorf("%+v, then %+v", hit, again)
		}
	})
}

func FuzzReadArticles(f *testing.F) {
	f.Add(`{"id":"A","question":"问","answer":"答"}`)
	f.Add("{}\n{")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := knowledge.ReadArticles(strings.NewReader(s))
		for _, a := range list {
			if err == nil && (a.ID == "" || !utf8.ValidString(a.Answer)) {
				t.Errorf("%+v was taken", a)
			}
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	x := index(b)
	for b.Loop() {
		x.Answer("早上六点能不能去健身房锻炼")
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := knowledge.New(); err != nil {
			b.Fatal(err)
		}
	}
}
