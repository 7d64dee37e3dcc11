package training

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"guanjia/bot/knowledge"
)

func sampleArticles(t testing.TB) []knowledge.Article {
	t.Helper()
	f, err := os.Open("../../../internal/app/sample/data/faq.jsonl")
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

func trained(t testing.TB) *trainer {
	t.Helper()
	tr, err := open(os.DirFS("../corpus"), sampleArticles(t))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// The weights in the repo are made from the corpus in the repo.
func TestWeightsAreThoseOfTheCorpus(t *testing.T) {
	t.Parallel()
	m, err := knowledge.New()
	if err != nil {
		t.Fatal(err)
	}
	if m.Inputs() != trained(t).inputs {
		t.Error("corpus, concepts or articles have changed since the weights were made: run `guanjia train --knowledge`")
	}
}

// An author whose questions no training saw is understood: the floor below what
// was measured (docs/understanding.md).
func TestHeldOutAuthor(t *testing.T) {
	t.Parallel()
	tr := trained(t)
	var train, test []Question
	for _, q := range tr.questions {
		if q.Author == developmentAuthor {
			test = append(test, q)
		} else {
			train = append(train, q)
		}
	}
	w, err := tr.fitKinds(train)
	if err != nil {
		t.Fatal(err)
	}
	file, err := w.Pack()
	if err != nil {
		t.Fatal(err)
	}
	m, err := knowledge.WithWeights(file)
	if err != nil {
		t.Fatal(err)
	}
	x, err := m.Build(tr.articles)
	if err != nil {
		t.Fatal(err)
	}
	some, right := 0, 0
	for _, r := range judge(x, test, tr.articles, tr.answers) {
		if r.some {
			some++
		}
		if r.right {
			right++
		}
	}
	if some < 500 || float64(right) < 0.92*float64(some) {
		t.Errorf("%d of %d questions lead to their article", right, some)
	}
}

// The same corpus gives the same bytes. Two authors are enough to tell.
func TestTrainingIsDeterministic(t *testing.T) {
	t.Parallel()
	corpus := fstest.MapFS{}
	for _, name := range []string{"k.tsv", "m.tsv", answersFile} {
		raw, err := os.ReadFile("../corpus/" + name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.SplitAfter(raw, []byte("\n"))
		if name != answersFile {
			lines = slices.DeleteFunc(lines, func(l []byte) bool {
				return !bytes.HasPrefix(l, []byte("fees.")) && !bytes.HasPrefix(l, []byte("out."))
			})
		}
		corpus[name] = &fstest.MapFile{Data: bytes.Join(lines, nil)}
	}
	first, err := Train(corpus, sampleArticles(t))
	if err != nil {
		t.Fatal(err)
	}
	second, err := Train(corpus, sampleArticles(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two trainings differ")
	}
}

func TestBrokenCorpusNamesLineAndReason(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, want string }{
		{"unknown kind", "# a comment\nno.kind\t问\n", "x.tsv line 2: no kind is called"},
		{"one column", "hours.office\n", "x.tsv line 1: want two columns"},
		{"three columns", "hours.office\ta\tb\n", "x.tsv line 1: want two columns"},
		{"nothing", "#\n", "no question to train on"},
	} {
		_, err := ReadCorpus(fstest.MapFS{"x.tsv": {Data: []byte(tt.file)}})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := ReadLabelled(strings.NewReader("{\"id\":\"1\",\"question\":\"问\",\"article\":null}\n{")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("broken questions: %v", err)
	}
}

func TestReportNamesWhatWentWrong(t *testing.T) {
	t.Parallel()
	m, err := knowledge.New()
	if err != nil {
		t.Fatal(err)
	}
	x, err := m.Build(sampleArticles(t))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	Report(&out, x, []Labelled{{"1", "前台几点上班", "F001"}, {"2", "前台几点上班", "F002"}, {"3", "对口初中是哪一所", ""}, {"4", "对口初中是哪一所", "F003"}}, m.Threshold())
	for _, want := range []string{
		"n 4", "1/3 = 33.3 %", "wrong answers, of all questions                     1/4", "1/1 = 100.0 %",
		"2 前台几点上班: want F002, best F001", "4 对口初中是哪一所: want F003", "in force",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}
