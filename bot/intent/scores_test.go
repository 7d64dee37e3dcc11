package intent

import (
	"testing"
	"unicode/utf8"
)

func readScores(t testing.TB) *Scores {
	t.Helper()
	s, err := LoadScores()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScoresAreReadFromAnswers(t *testing.T) {
	t.Parallel()
	s := readScores(t)
	for text, want := range map[string]Score{
		"5": {5, ""}, "５": {5, ""}, "④": {4, ""}, "4️⃣": {4, ""}, "❸": {3, ""}, "4.": {4, ""}, "4。": {4, ""}, "4.0": {4, ""}, "(4)": {4, ""}, "㈣": {4, ""},
		"五星": {5, ""}, "五": {5, ""}, "三分": {3, ""}, "5分": {5, ""}, "5星": {5, ""}, "5 分": {5, ""}, "5颗星": {5, ""}, "五星好评": {5, ""}, "5星好评": {5, ""},
		"5分 谢谢": {5, "谢谢"}, "5分谢谢": {5, "谢谢"}, "4 师傅很准时": {4, "师傅很准时"}, "4，师傅很准时": {4, "师傅很准时"}, "1,没人来": {1, "没人来"},
		"我打5分": {5, ""}, "给4星": {4, ""}, "评价：5": {5, ""},
		"挺好的": {4, ""}, "非常满意!!": {5, ""}, "非常满意！！": {5, ""}, "一般般吧": {3, ""}, "满意": {4, ""}, "不满意": {2, ""}, "非常不满意": {1, ""},
		"很满意，谢谢师傅": {5, "谢谢师傅"}, "太好了": {5, ""}, "我觉得还行": {3, ""}, "总体不错": {4, ""}, "太差了！": {1, ""}, "不怎么样": {2, ""}, "👍非常满意": {5, ""},
	} {
		if got := s.Read(text); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
	// What is doubtful is no score: it is asked about once.
	for _, text := range []string{
		"", " ", "。", "0", "6", "55", "-1", "+5", "10", "⑩", "5.5", "4.5分", "4-5", "4/5", "4、5", "3栋没水了", "3 栋没水了", "5分钟前来过", "5点来", "2天没人来", "4师傅很准时",
		"好的", "好", "可以", "行", "谢谢", "知道了", "没有不满意", "三栋漏水", "一楼灯坏了", "一直漏水", "👍", "不满意吗", "厨房水管漏水", "5个师傅", "2次了",
	} {
		if got := s.Read(text); got.Value != 0 {
			t.Errorf("%q is read as %d", text, got.Value)
		}
	}
}

func FuzzScores(f *testing.F) {
	s := readScores(f)
	for _, seed := range []string{"5", "四星", "5分 谢谢", "④", "\xff5", "4.\x00", "非常满意"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := s.Read(text)
		if got.Value < 0 || got.Value > 5 || got.Value == 0 && got.Words != "" || utf8.ValidString(text) && !utf8.ValidString(got.Words) {
			t.Errorf("%q: %+v", text, got)
		}
	})
}
