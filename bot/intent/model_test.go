package intent

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

func TestBrokenWeights(t *testing.T) {
	t.Parallel()
	whole := bytes.Clone(embeddedWeights)
	turned := bytes.Clone(whole)
	turned[len(turned)/2] ^= 1
	older := bytes.Replace(whole, []byte(weightsMagic+" 1 "), []byte(weightsMagic+" 7 "), 1)
	for name, tc := range map[string]struct {
		file []byte
		want string
	}{
		"empty":     {nil, "line 1: this is no weights file"},
		"text":      {[]byte("hello\nworld\n"), "line 1: this is no weights file"},
		"cut off":   {whole[:len(whole)-3], "line 1: the checksum does not fit"},
		"one bit":   {turned, "line 1: the checksum does not fit"},
		"version":   {older, "line 1: weights of version 7, this program reads version 1"},
		"only head": {whole[:60], "line 1: this is no weights file"},
	} {
		_, err := New(WithWeights(tc.file))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestPackedWeightsComeBack(t *testing.T) {
	t.Parallel()
	heads := []HeadWeights{
		{Name: HeadIntent, Classes: []string{"a", "b", "c"}, Bias: []float64{0.5, 0, -1}, W: []float64{1, 0, -1, 0.25, 0.5, 0}, Temperature: 1},
		{Name: HeadCategory, Classes: []string{"x", None}, Bias: []float64{0, 0}, W: []float64{0, 0, 2, -2}, Temperature: 1},
		{Name: HeadTopic, Classes: []string{"x", None}, Bias: []float64{0, 0}, W: []float64{0, 0, 0, 0}, Temperature: 1},
		{Name: HeadEmergency, Classes: []string{"0", "1"}, Bias: []float64{0, 0}, W: []float64{-3, 3, 0, 0}, Temperature: 2},
	}
	file, err := PackWeights(ModelInfo{Inputs: "here", Examples: 2}, []uint32{7, 1 << 30}, heads)
	if err != nil {
		t.Fatalf("pack: %v", err)
	}
	m, err := readModel(file)
	if err != nil {
		t.Fatalf("unpack: %v", err)
	}
	sums := m.sums([]Feature{{7, 1}, {8, 5}})
	if g := m.head(HeadIntent, sums, nil); g[0].class != "a" || g[2].class != "c" || g[0].p < 0.75 {
		t.Errorf("intent: %+v", g)
	}
	if g := m.head(HeadEmergency, sums, nil); g[0].class != "1" || g[0].p < 0.94 || g[0].p > 0.96 {
		t.Errorf("emergency: %+v, want a probability of 1/(1+exp(-3))", g)
	}
	if m.row(8) != nil || m.info.Inputs != "here" {
		t.Errorf("a feature that isn't there: %v; %+v", m.row(8), m.info)
	}
	if _, err := PackWeights(ModelInfo{}, []uint32{9, 7}, heads); err == nil {
		t.Error("features out of order are packed")
	}
}

// Every file of the lexicon can be broken; the error names it, line and reason.
func TestBrokenLexicon(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ file, content, want string }{
		"no class":      {"intents.yaml", "repair:\n  - w: 3\n    any: [\"{nothing}*坏了\"]\n", `intents.yaml line 3: repair: pattern "{nothing}*坏了": no class "nothing"`},
		"unknown key":   {"topics.yaml", "topics:\n  lift: {category: engineering, weight: 3, any: [电梯]}\n", "line 2: field weight not found"},
		"no yaml":       {"words.yaml", "lift: [电梯\n", "words.yaml: yaml: line"},
		"not a list":    {"words.yaml", "lift: 电梯\n", "words.yaml: yaml: unmarshal errors:\n  line 1"},
		"empty word":    {"words.yaml", "lift: [\"\"]\n", "class lift holds an empty word"},
		"typo lengths":  {"typos.yaml", "电剃: 电梯子\n", "typos.yaml: 电剃 and its correction differ in length"},
		"pair lengths":  {"t2s.yaml", "- [電樓, 电]\n", "lines of 2 and 1 characters"},
		"two intents":   {"whole.yaml", "thanks: [你好]\n", "你好 stands under"},
		"not UTF-8":     {"words.yaml", "lift: [\xff\xfe]\n", "line 1: the file is not UTF-8"},
		"wrong kind":    {"emergency.yaml", "kinds:\n  fire: [着火]\n", "emergency.yaml: line 2: this is not of the kind of our own entry"},
		"empty pattern": {"emergency.yaml", "suppress:\n  drill: [\"^$\"]\n", "drill: pattern \"^$\" is empty"},
	} {
		_, err := New(WithLexicon(fstest.MapFS{tc.file: {Data: []byte(tc.content)}}), Untrained())
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v\n   want %s", name, err, tc.want)
		}
	}
}

// A company's word is understood like ours, at once and without training.
func TestCompanyLexicon(t *testing.T) {
	t.Parallel()
	extra := fstest.MapFS{
		"words.yaml":     {Data: []byte("lift: [飞天梯]\n")},
		"vocab.yaml":     {Data: []byte("v_lift: [飞天梯]\n")},
		"emergency.yaml": {Data: []byte("kinds:\n  fire:\n    strong:\n      - [炉渣复燃]\n")},
		"typos.yaml":     {Data: []byte("飞天弟: 飞天梯\n")},
	}
	c, err := New(WithLexicon(extra))
	if err != nil {
		t.Fatalf("read the company's lexicon: %v", err)
	}
	for text, kind := range map[string]string{"飞天梯困人了": DangerLiftTrapped, "飞天弟困人了 快来": DangerLiftTrapped, "炉渣复燃了 快来": DangerFire} {
		if got := c.Classify(Input{Text: text}); got.EmergencyKind != kind {
			t.Errorf("%s: %+v", text, got)
		}
	}
	ours, err := New()
	if err != nil {
		t.Fatalf("read our lexicon: %v", err)
	}
	if c.Digest() == ours.Digest() {
		t.Error("the digest doesn't see the company's words")
	}
}

type refusing struct{}

func (refusing) Open(string) (fs.File, error) { return nil, errors.New("disk on fire") }

func TestUnreadableLexicon(t *testing.T) {
	t.Parallel()
	if _, err := New(WithLexicon(refusing{})); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("a directory that can't be read: %v", err)
	}
}

func TestReadings(t *testing.T) {
	t.Parallel()
	c, err := New()
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	for text, want := range map[string]string{
		"ＡＢＣ１２３！！": "abc123!", "電梯壞了": "电梯坏了", "电剃坏了": "电梯坏了", "漏\u200b水\u202e了": "漏水了",
		"煤汽味": "煤气味", "物液": "物业", "水管\xff爆了": "水管 爆了", "唔該睇下升降機": "谢谢看下电梯", "厕所莫得水": "厕所没有水",
		"啥辰光来": "什么时候来", "dian ti kun ren": "电梯困人", "jiuming": "救命", "wifi": "wifi", "停电提前通知": "停电提前通知", "著火了": "着火了",
	} {
		if got := string(c.read(text).text); got != want {
			t.Errorf("%q reads %q, want %q", text, got, want)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"電梯", "ｄｉａｎ ｔｉ", "\xff\xfe", "唔", "\u200b\u202e", "1 2 3", "😀", strings.Repeat("a ", 3000)} {
		f.Add(s)
	}
	c, err := New(Untrained())
	if err != nil {
		f.Fatalf("compile: %v", err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rs := c.normalise(s)
		if len(rs) > 2*(maxHead+maxTail)*4 {
			t.Errorf("%d characters of %d bytes", len(rs), len(s))
		}
		if out := string(c.dialect(c.spelt(rs))); !utf8.ValidString(out) {
			t.Errorf("%q becomes invalid", s)
		}
	})
}

func FuzzSlots(f *testing.F) {
	for _, s := range []string{"3栋不对是5栋", "三杠二杠一二零一", "楼号7,单元2", "14b的", "#123456#", "5分5分", "号楼号楼1", "单元单元", "+86+86138", "十百千零"} {
		f.Add(s)
	}
	c, err := New(Untrained())
	if err != nil {
		f.Fatalf("compile: %v", err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rs := c.normalise(s)
		got, said := c.slots.read(rs)
		for _, v := range said {
			if v.start < 0 || v.end > len(rs) || v.start > v.end {
				t.Errorf("%q: a value at %d to %d of %d", s, v.start, v.end, len(rs))
			}
		}
		if got.Rating < 0 || got.Rating > 5 || len(got.Room) > 5 || len(got.Entrance) > 3 || len(got.Building) > 4 {
			t.Errorf("%q: %+v", s, got)
		}
	})
}

func FuzzWeights(f *testing.F) {
	f.Add(embeddedWeights[:2000])
	f.Add([]byte(weightsMagic + " 1 00\n{}\n"))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		_, _ = readModel(raw)
		m := &model{info: modelInfo{Features: 3, Heads: []headInfo{{Name: "a", Classes: []string{"0", "1"}}}}, width: 2}
		_ = m.unpack(raw)
	})
}
