package intent_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"guanjia/bot/intent"
)

// Sentences that the product is told by.
func TestStory(t *testing.T) {
	t.Parallel()
	c := classifier(t)
	got := c.Classify(intent.Input{Text: "三栋电梯又坏了,老人下不了楼,你们管不管"})
	if got.Emergency || got.Category != "engineering" || got.Slots.Building != "3" || got.Intent != intent.IntentComplaint && got.Intent != intent.IntentRepair {
		t.Errorf("the broken lift: %+v", got)
	}
	for text, want := range map[string]string{
		"怎么还没来": intent.IntentUrge, "谢谢": intent.IntentThanks, "你好": intent.IntentGreeting, "已解决": intent.IntentRating,
		"未解决": intent.IntentRating, "5": intent.IntentRating, "转人工": intent.IntentHandoff, "退订": intent.IntentUnsubscribe,
		"再见": intent.IntentFarewell, "3-2-1201": intent.IntentIdentity, "": intent.IntentOther, "???": intent.IntentOther, "[图片]": intent.IntentOther,
	} {
		if got := c.Classify(intent.Input{Text: text}); got.Intent != want || got.Emergency {
			t.Errorf("%q: %+v, want %s", text, got, want)
		}
	}
	for _, text := range []string{"电梯困人了,快来", "电梯困人了，快来！！", "電梯困人了快來", "电 梯 困 人 了", "电梯\u200b困人了", "【急】电梯困人"} {
		if got := c.Classify(intent.Input{Text: text}); !got.Emergency || got.EmergencyKind != intent.DangerLiftTrapped || got.Intent != intent.IntentHelp || got.Category != "engineering" {
			t.Errorf("%q: %+v, want the lift emergency", text, got)
		}
	}
}

// A short message stands in the light of what was said before.
func TestHistory(t *testing.T) {
	t.Parallel()
	c := classifier(t)
	for _, tc := range []struct {
		history []string
		text    string
		danger  string
		intent  string
	}{
		{[]string{"一进屋好浓的煤气味"}, "还没来", intent.DangerGasLeak, intent.IntentUrge},
		{[]string{"一进屋好浓的煤气味"}, "怎么还没人来", intent.DangerGasLeak, intent.IntentUrge},
		{[]string{"电梯困人了"}, "8栋2单元", intent.DangerLiftTrapped, intent.IntentHelp},
		{[]string{"电梯困人了", "8栋2单元"}, "还有个老太太", intent.DangerLiftTrapped, intent.IntentHelp},
		{[]string{"电梯困人了"}, "谢谢", "", intent.IntentThanks},
		{[]string{"电梯困人了"}, "出来了，没事了", "", ""},
		{[]string{"楼下着火了", "火灭了，虚惊一场"}, "还没来", "", intent.IntentUrge},
		{[]string{"电梯困人了"}, "请问物业费可以微信交吗", "", intent.IntentInquiry},
		{[]string{"厨房漏水"}, "还没来", "", intent.IntentUrge},
	} {
		got := c.Classify(intent.Input{Text: tc.text, History: tc.history})
		if got.EmergencyKind != tc.danger || got.Emergency != (tc.danger != "") || tc.intent != "" && got.Intent != tc.intent {
			t.Errorf("%q after %v: %+v", tc.text, tc.history, got)
		}
	}
	if got := c.Classify(intent.Input{Text: "还没来", History: []string{"厨房漏水"}}); got.Topic != "leak" || got.Category != "engineering" || !got.Continues {
		t.Errorf("urging a leak: %+v", got)
	}
}

func TestLabelsAreKnown(t *testing.T) {
	t.Parallel()
	c := classifier(t)
	intents := []string{
		"inquiry", "complaint", "repair", "suggestion", "help", "praise", "urge", "thanks", "greeting", "farewell", "gift",
		"handoff", "rating", "identity", "unsubscribe", "abuse", "spam", "chitchat", "other",
	}
	categories := []string{
		"", "order_security", "cleaning", "greening", "customer_service", "engineering", "facilities_play", "management",
		"convenience", "special_needs", "culture", "other",
	}
	for _, u := range readLines[utterance](t, "utterances-dev.jsonl") {
		got := c.Classify(intent.Input{Text: u.Text})
		if !slices.Contains(intents, got.Intent) || !slices.Contains(categories, got.Category) {
			t.Errorf("%s: unknown label in %+v", u.ID, got)
		}
		if got.Confidence < 0 || got.Confidence > 1 || got.Emergency != (got.EmergencyKind != "") {
			t.Errorf("%s: %+v", u.ID, got)
		}
	}
}

// Hundred thousand characters take bounded time: only beginning and end are read.
func TestLongText(t *testing.T) {
	t.Parallel()
	c := classifier(t)
	for _, unit := range []string{"电梯", "水", "三", "1", "#", "3-2-1201 ", "不是三栋", "\xff\xfe", "煤气味 没有 "} {
		got := c.Classify(intent.Input{Text: strings.Repeat(unit, 100_000/max(1, utf8.RuneCountInString(unit)))})
		if got.Intent == "" {
			t.Errorf("%q: no intent", unit)
		}
	}
	if got := c.Classify(intent.Input{Text: strings.Repeat("啦", 100_000) + "。电梯困人了，快来"}); !got.Emergency {
		t.Error("the end of a long text is not read")
	}
}

func FuzzClassify(f *testing.F) {
	for _, s := range []string{
		"三栋电梯又坏了", "3-2-1201", "３＃２－１２０１", "十二零一", "一三九 零零零零 一一三六", "#905518", "5分", "不是三栋是五栋", "\xff\x00", "[微笑]",
		"电梯困人了", "两座楼", "B2-117", "+86-157-0000-3090", "廿一栋", "百千十", "---", "四门", "(十栋)五零三", "1分都嫌多",
	} {
		f.Add(s, "煤气味")
	}
	c := classifier(f)
	f.Fuzz(func(t *testing.T, text, earlier string) {
		got := c.Classify(intent.Input{Text: text, History: []string{earlier}})
		s := got.Slots
		if got.Intent == "" || s.Rating < 0 || s.Rating > 5 {
			t.Errorf("%q: %+v", text, got)
		}
		if s.Phone != "" && (len(s.Phone) != 11 || s.Phone[0] != '1') {
			t.Errorf("%q: phone %q", text, s.Phone)
		}
		if s.CaseNo != "" && (len(s.CaseNo) < 6 || len(s.CaseNo) > 9) {
			t.Errorf("%q: case number %q", text, s.CaseNo)
		}
		for _, v := range []string{s.Building, s.Entrance, s.Room, s.Phone, s.CaseNo} {
			if strings.IndexFunc(v, func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'Z') }) >= 0 {
				t.Errorf("%q: value %q", text, v)
			}
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	c := classifier(b)
	rows := readLines[utterance](b, "utterances-dev.jsonl")
	for i := 0; b.Loop(); i++ {
		c.Classify(intent.Input{Text: rows[i%len(rows)].Text})
	}
}

func BenchmarkLongest(b *testing.B) {
	c := classifier(b)
	text := strings.Repeat("三栋二单元1201电梯坏了煤气味漏水不是五栋", 40)
	for b.Loop() {
		c.Classify(intent.Input{Text: text})
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		classifier(b)
	}
}
