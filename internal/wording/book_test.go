package wording_test

import (
	"errors"
	"io/fs"
	"maps"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"guanjia/internal/wording"
	"guanjia/templates"
)

func book(t testing.TB) *wording.Book {
	t.Helper()
	b, err := wording.Load(templates.FS())
	if err != nil {
		t.Fatalf("load the texts: %v", err)
	}
	return b
}

// Every text renders, keeps its limit, dismisses nobody and shows no
// other number than its case's.
func TestEveryTextRenders(t *testing.T) {
	t.Parallel()
	b := book(t)
	number := regexp.MustCompile(`#[0-9]{6,9}`)
	for _, key := range b.Names() {
		e, ok := b.Describe(key)
		if !ok {
			t.Errorf("%s does not render", key)
			continue
		}
		limit := wording.MaxReply
		if e.Audience == wording.Staff {
			limit = wording.MaxGroup
		}
		if len(e.Sample) > limit {
			t.Errorf("%s has %d bytes, at most %d", key, len(e.Sample), limit)
		}
		if e.Audience == wording.Resident {
			if err := b.Guard(e.Sample); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
		for _, n := range number.FindAllString(e.Sample, -1) {
			if n != "#20931088" {
				t.Errorf("%s shows %s", key, n)
			}
		}
	}
}

// Names that other rooms rely on.
func TestKeysOfTheEngine(t *testing.T) {
	t.Parallel()
	b := book(t)
	for _, kind := range b.Labels("danger") {
		if err := b.MustHave("danger." + kind.Code); err != nil {
			t.Error(err)
		}
	}
	if err := b.MustHave("greeting.follow", "case.nothing"); err == nil || !strings.Contains(err.Error(), "case.nothing") {
		t.Errorf("MustHave = %v, want the missing key named", err)
	}
}

// a thank-you is answered with exactly these words.
func TestThanksIsExact(t *testing.T) {
	t.Parallel()
	got, err := book(t).Say("thanks", nil)
	if err != nil || got.String() != "不客气,这是我们应该做的。" {
		t.Errorf("thanks = %q, %v", got, err)
	}
}

// an unfilled variable blocks sending.
func TestSayRefusesWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := book(t)
	full := wording.Vars{"case_no": "20931088", "line": "工程维修", "next_time": "今天 15:30"}
	if _, err := b.Say("case.opened", full); err != nil {
		t.Fatalf("with all variables: %v", err)
	}
	for name := range full {
		for _, bad := range []string{"", " ", "\u200b\x00\n"} {
			vars := maps.Clone(full)
			vars[name] = bad
			_, err := b.Say("case.opened", vars)
			var missing wording.ErrMissingVar
			if !errors.As(err, &missing) || missing.Var != name {
				t.Errorf("%s=%q: %v, want ErrMissingVar", name, bad, err)
			}
		}
	}
	var unknown wording.ErrUnknownKey
	if _, err := b.Say("no.such", nil); !errors.As(err, &unknown) {
		t.Errorf("unknown key: %v", err)
	}
	var bad wording.ErrBadVar
	for _, no := range []string{"#20931088", "12345", "1234567890", "12345x"} {
		if _, err := b.Say("case.closed", wording.Vars{"case_no": no}); !errors.As(err, &bad) {
			t.Errorf("case number %q: %v, want ErrBadVar", no, err)
		}
	}
}

func TestOptionalPartsFallAway(t *testing.T) {
	t.Parallel()
	b := book(t)
	for _, tc := range []struct {
		key  string
		vars wording.Vars
		want string
	}{
		{"bind.done", wording.Vars{"unit": "3-2-1201"}, "绑定成功！您的房屋是 3-2-1201。"},
		{"bind.done", wording.Vars{"unit": "3-2-1201", "name": "王女士"}, "王女士，绑定成功！"},
		{"case.rated_thanks", nil, "感谢您的评价，我们已转告"},
	} {
		got, err := b.Say(tc.key, tc.vars)
		if err != nil || !strings.HasPrefix(got.String(), tc.want) {
			t.Errorf("%s: %q, %v, want it to begin with %q", tc.key, got, err, tc.want)
		}
	}
}

// A resident's number in his own words must not look like a case of ours.
func TestForeignNumbersLoseTheirHash(t *testing.T) {
	t.Parallel()
	b := book(t)
	got, err := b.Say("group.resident_said", wording.Vars{"case_no": "20931088", "text": "我的 #123456 呢，##1234567，3#楼"})
	if err != nil {
		t.Fatal(err)
	}
	if s := got.String(); strings.Contains(s, "#123456") || strings.Contains(s, "#1234567") || !strings.Contains(s, "123456") || !strings.Contains(s, "3#楼") || !strings.Contains(s, "#20931088") {
		t.Errorf("got %q", s)
	}
}

func TestStaffReplyIsSigned(t *testing.T) {
	t.Parallel()
	b := book(t)
	sign := wording.Sign{Company: "示例物业", Name: "张师傅"}
	got, err := b.Staff("  师傅十分钟到\x00\u200b\r\n请稍等  ", sign)
	if err != nil {
		t.Fatal(err)
	}
	// company and name stand under the words.
	if want := "师傅十分钟到\n请稍等\n—— 示例物业 张师傅"; got.String() != want {
		t.Errorf("got %q, want %q", got, want)
	}
	sign.CaseNo = "20931088"
	if got, err = b.Staff("好的", sign); err != nil || !strings.Contains(got.String(), "#20931088") {
		t.Errorf("with a case number: %q, %v", got, err)
	}
	if _, err := b.Staff("好的", wording.Sign{Company: "示例物业"}); err == nil {
		t.Error("a reply without a name was taken")
	}
	var empty wording.ErrEmpty
	if _, err := b.Staff(" \u200b\n", sign); !errors.As(err, &empty) {
		t.Errorf("nothing typed: %v, want ErrEmpty", err)
	}
}

func TestStaffReplyKeepsTheLimit(t *testing.T) {
	t.Parallel()
	b := book(t)
	sign := wording.Sign{Company: "示例物业", Name: "张师傅"}
	_, err := b.Staff(strings.Repeat("水", 700), sign)
	var long wording.ErrTooLong
	if !errors.As(err, &long) {
		t.Fatalf("700 characters: %v, want ErrTooLong", err)
	}
	got, err := b.Staff(strings.Repeat("水", long.Chars), sign)
	if err != nil || len(got.String()) > wording.MaxReply {
		t.Errorf("%d characters: %d bytes, %v", long.Chars, len(got.String()), err)
	}
	if _, err := b.Staff(strings.Repeat("水", long.Chars+1), sign); err == nil {
		t.Errorf("%d characters were taken", long.Chars+1)
	}
}

// R-083, with the exceptions that its row names.
func TestGuard(t *testing.T) {
	t.Parallel()
	b := book(t)
	held := []string{
		"不知道", "不清楚", "这个我不清楚。", "不知道，你到别处去问吧", "我们也不知道什么时候修好",
		"不归我管", "这事不归我们物业管", "您到别处问问", "你去问别人吧", "不是我们负责的", "不关我们的事",
		"这个我们管不了", "您自己想办法", "不 知 道", "不·清·楚", "不晓得", "我没办法", "没空处理",
		"这是开发商的，跟我们没关系", "随便你投诉", "关我什么事", "师傅说他不清楚", "具体原因不清楚",
		"我\u200b不\u200b知道", "去别的地方问", "爱找谁找谁", "您说的「漏水」我不知道",
	}
	for _, s := range held {
		err := b.Guard(s)
		var h wording.ErrHeld
		if !errors.As(err, &h) {
			t.Errorf("%q passed", s)
			continue
		}
		if _, err := b.Staff(s, wording.Sign{Company: "示例物业", Name: "张师傅"}); !errors.As(err, &h) {
			t.Errorf("Staff took %q", s)
		}
		if _, err := b.Override(s, wording.Sign{Company: "示例物业", Name: "张师傅"}); err != nil {
			t.Errorf("Override refused %q: %v", s, err)
		}
	}
	passes := []string{
		"不知道您几点方便？", "不知道您下午三点是否在家", "抱歉,这个问题我需要向同事确认,请您稍等",
		"您说的「不知道找谁」我们记下了", "您反映“前台说不清楚”的情况已转主管", "照片不清楚，麻烦再拍一张",
		"如果您不清楚怎么操作，可以来前台", "您不知道密码的话我来帮您重置", "有不清楚的地方随时问我",
		"师傅十分钟到", "您不用自己想办法，我们派人来", "这件事我来管", "请您到一楼前台办理", "我们已查清楚原因",
		"不知道今天下午三点上门您方便吗", "没时间的话我们改约周六",
	}
	for _, s := range passes {
		if err := b.Guard(s); err != nil {
			t.Errorf("%q was held: %v", s, err)
		}
	}
}

// An article with a dismissive answer doesn't get out either.
func TestArticleAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	var h wording.ErrHeld
	if _, err := book(t).Say("inquiry.answer", wording.Vars{"answer": "这个我们不清楚。"}); !errors.As(err, &h) {
		t.Errorf("got %v, want ErrHeld", err)
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	b := book(t)
	words, err := b.Say("danger.lift_trapped", wording.Vars{"hotline": "0571-00000000"})
	if err != nil {
		t.Fatal(err)
	}
	number, err := b.Say("danger.case", wording.Vars{"case_no": "20931088"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Join(words, wording.Text{}, number)
	if err != nil || got.String() != words.String()+"\n"+number.String() {
		t.Errorf("Join = %q, %v", got, err)
	}
	many := make([]wording.Text, 40)
	for i := range many {
		many[i] = words
	}
	var long wording.ErrTooLong
	if _, err := b.Join(many...); !errors.As(err, &long) {
		t.Errorf("40 texts: %v, want ErrTooLong", err)
	}
	if _, err := b.Join(); err == nil {
		t.Error("nothing was joined to something")
	}
}

// The binding SMS holds exactly one run of six digits.
func TestBindSMS(t *testing.T) {
	t.Parallel()
	b := book(t)
	sms, err := b.SMS("bind_code", wording.Vars{"code": "385012", "minutes": "5"})
	if err != nil {
		t.Fatal(err)
	}
	if runs := regexp.MustCompile(`[0-9]{6,}`).FindAllString(sms.Text.String(), -1); len(runs) != 1 || runs[0] != "385012" {
		t.Errorf("runs of digits: %v in %q", runs, sms.Text)
	}
	if n := wording.Segments("示例物业", sms.Text); n != 1 {
		t.Errorf("%d segments", n)
	}
}

func TestSMSRefusesWhatCarriersRefuse(t *testing.T) {
	t.Parallel()
	b := book(t)
	var bad wording.ErrBadVar
	for _, tc := range []struct {
		purpose string
		vars    wording.Vars
	}{
		{"bind_code", wording.Vars{"code": "12", "minutes": "5"}},
		{"bind_code", wording.Vars{"code": "12a456", "minutes": "5"}},
		{"danger", wording.Vars{"matter": "電梯困人", "hotline": "0571-00000000"}},
		{"danger", wording.Vars{"matter": "着火🔥", "hotline": "0571-00000000"}},
		{"danger", wording.Vars{"matter": strings.Repeat("火", 36), "hotline": "0571-00000000"}},
		{"danger", wording.Vars{"matter": "看 https://a.b", "hotline": "0571-00000000"}},
		{"answer_waiting", wording.Vars{"case_no": "12", "phone": "0571-00000000"}},
	} {
		if _, err := b.SMS(tc.purpose, tc.vars); !errors.As(err, &bad) {
			t.Errorf("%s: %v, want ErrBadVar", tc.purpose, err)
		}
	}
	for _, tpl := range b.SMSCatalogue() {
		vars := wording.Vars{}
		for _, v := range tpl.Vars {
			vars[v.Name] = v.Sample
		}
		sms, err := b.SMS(tpl.Purpose, vars)
		if err != nil {
			t.Errorf("%s: %v", tpl.Purpose, err)
		}
		// A notice says six things and may take two.
		most := 1
		if strings.HasPrefix(tpl.Purpose, "notice_") {
			most = 2
		}
		if n := wording.Segments("示例物业", sms.Text); n > most {
			t.Errorf("%s takes %d segments", tpl.Purpose, n)
		}
	}
}

func TestSegments(t *testing.T) {
	t.Parallel()
	b := book(t)
	text, err := b.Staff(strings.Repeat("水", 140), wording.Sign{Company: "甲", Name: "乙"})
	if err != nil {
		t.Fatal(err)
	}
	// 【签名】 is 4, the body 140 + newline + "—— 甲 乙" 6.
	if got := wording.Segments("签名", text); got != 3 {
		t.Errorf("Segments of 151 characters = %d, want 3", got)
	}
}

func TestTemplateMessage(t *testing.T) {
	t.Parallel()
	b := book(t)
	m, err := b.Template("answer_waiting", wording.Vars{
		"case_no": "20931088", "time": "2026年11月25日 15:01",
		"summary": "三栋电梯又坏了，老人下不了楼，你们到底管不管这件事情",
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, v := range m.Data {
		if strings.HasPrefix(key, "thing") && utf8.RuneCountInString(v) > 20 {
			t.Errorf("%s has %d characters", key, utf8.RuneCountInString(v))
		}
	}
	if m.Data["character_string1"] != "#20931088" {
		t.Errorf("case number field = %q", m.Data["character_string1"])
	}
	var bad wording.ErrBadVar
	if _, err := b.Template("answer_waiting", wording.Vars{"case_no": "20931088", "summary": "漏水", "time": "下午三点"}); !errors.As(err, &bad) {
		t.Errorf("a loose time: %v, want ErrBadVar", err)
	}
	for _, tpl := range b.TemplateCatalogue() {
		if c := tpl.Content(); strings.Count(c, ".DATA}}") != len(tpl.Fields) {
			t.Errorf("%s: content %q", tpl.Purpose, c)
		}
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	b := book(t)
	for _, tc := range []struct{ kind, code, want string }{
		{"state", "handled", "已办结"}, {"line", "engineering", "工程维修"}, {"priority", "emergency", "紧急"},
		{"role", "duty_manager", "值班经理"}, {"state", "strange", "strange"},
	} {
		if got := b.Label(tc.kind, tc.code); got != tc.want {
			t.Errorf("Label(%s, %s) = %q, want %q", tc.kind, tc.code, got, tc.want)
		}
	}
	if code, ok := b.Code("line", " 秩序维护 "); !ok || code != "order_security" {
		t.Errorf("Code = %q, %v", code, ok)
	}
	if got := len(b.Labels("category")); got != 11 {
		t.Errorf("%d categories, want the eleven of R-124 to R-134", got)
	}
	for _, l := range b.Labels("button") {
		if utf8.RuneCountInString(l.Text) > 10 {
			t.Errorf("button %s is too long", l.Text)
		}
	}
	for _, l := range b.Labels("row") {
		if utf8.RuneCountInString(l.Text) > 5 {
			t.Errorf("row label %s is too long", l.Text)
		}
	}
}

func TestWhen(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("CST", 8*3600)
	now := time.Date(2026, 11, 25, 22, 0, 0, 0, zone).UTC()
	at := func(y, m, d, h, mi int) time.Time { return time.Date(y, time.Month(m), d, h, mi, 0, 0, zone).UTC() }
	for _, tc := range []struct {
		at   time.Time
		want string
	}{
		{at(2026, 11, 25, 23, 30), "今天 23:30"}, {at(2026, 11, 26, 0, 5), "明天 00:05"}, {at(2026, 11, 27, 9, 0), "后天 09:00"},
		{at(2026, 11, 24, 9, 0), "昨天 09:00"}, {at(2026, 11, 30, 14, 0), "11月30日（周一） 14:00"}, {at(2027, 1, 4, 9, 0), "2027年1月4日（周一） 09:00"},
	} {
		if got := wording.When(tc.at, now); got != tc.want {
			t.Errorf("When = %q, want %q", got, tc.want)
		}
	}
	if got := wording.Between(at(2026, 11, 26, 14, 0), at(2026, 11, 26, 17, 0), now); got != "明天 14:00 至 17:00" {
		t.Errorf("Between = %q", got)
	}
}

// The lint names file, line, key and remedy for each kind of mistake.
func TestLint(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, file, content, want string }{
		{"unknown variable", "t", "a: {text: '您好{name}'}", "uses {name}"},
		{"unused variable", "t", "a: {text: 您好, vars: {name: x}}", "doesn't use it"},
		{"no sample", "t", "a: {text: '您好{name}', vars: {name: ''}}", "no sample"},
		{"a fixed number", "t", "a: {text: '您好 #123456'}", "#{case_no}"},
		{"a number of another kind", "t", "a: {text: '您好 #{no}', vars: {no: '1'}}", "only {case_no}"},
		{"a bare case number", "t", "a: {text: '您好 {case_no}', vars: {case_no: '123456'}}", "without #"},
		{"a dismissal", "t", "a: {text: 这个我不知道}", "say what happens next"},
		{"a cut text", "t", "a:\n    text: 工单 #{case_no} 好\n    vars: {case_no: '123456'}", "in quotes"},
		{"you", "t", "a: {text: 你好}", "write 您"},
		{"traditional", "t", "a: {text: 您好電梯}", "simplified"},
		{"emoji", "t", "a: {text: 您好😀}", "without emoji"},
		{"empty", "t", "a: {text: ' '}", "says nothing"},
		{"open brace", "t", "a: {text: '您好{name'}", "{ without a name"},
		{"open option", "t", "a: {text: '您好[[{name}', vars: {name: x}}", "[[ without ]]"},
		{"an option without a variable", "t", "a: {text: '您好[[啊]]'}", "holds no variable"},
		{"not called optional", "t", "a: {text: '您好[[{name}]]', vars: {name: x}}", "add it to optional"},
		{"optional outside", "t", "a: {text: '您好{name}', vars: {name: x}, optional: [name]}", "outside [[ ]]"},
		{"too long", "t", "a: {text: 您好您好, max: 5}", "does not render"},
		{"unknown field", "t", "a: {texts: 您好}", "use text, vars"},
		{"double key", "t", "a: {text: 您好}\n  a: {text: 您好}", "twice"},
		{"sms bracket", "s", "a: {name: a, class: code, content: '【甲】您好'}", "signature"},
		{"sms traditional", "s", "a: {name: a, class: code, content: 您好電梯}", "carriers refuse"},
		{"sms class", "s", "a: {name: a, class: x, content: 您好}", "unknown class"},
		{"sms variable", "s", "a: {name: a, class: code, content: '您好${x}'}", "attr and sample"},
		{"sms attribute", "s", "a: {name: a, class: code, content: '您好${x}', vars: [{name: x, attr: y, sample: z}]}", "unknown attribute"},
		{"template field", "w", "a: {title: 甲, fields: [{key: blob1, label: 甲, value: 乙}]}", "type and number"},
		{"template value", "w", "a: {title: 甲, fields: [{key: time1, label: 甲, value: 早上}]}", "does not render"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := wording.Load(broken(t, tc.file, tc.content))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Load = %v, want %q in it", err, tc.want)
			}
			var p wording.Problem
			if !errors.As(err, &p) || p.File == "" || p.Line == 0 || p.Key == "" || p.Remedy == "" {
				t.Errorf("the problem lacks its place or remedy: %+v", p)
			}
		})
	}
}

// broken is a small set of files with one mistake in it.
func broken(t testing.TB, kind, content string) fs.FS {
	t.Helper()
	guard, err := fs.ReadFile(templates.FS(), "lexicon/guard.yaml")
	if err != nil {
		t.Fatal(err)
	}
	reply := "  case.reply: {text: '{text} {company}{staff}', vars: {text: 好, company: 甲, staff: 乙}}\n"
	texts, sms, wechat := reply, "ok: {name: 甲, class: code, content: 您好}\n", "ok: {title: 甲, fields: [{key: thing1, label: 甲, value: 乙}]}\n"
	switch kind {
	case "t":
		texts += "  " + content + "\n"
	case "s":
		sms += content + "\n"
	case "w":
		wechat += content + "\n"
	}
	return fstest.MapFS{
		"lexicon/guard.yaml":    {Data: guard},
		"lexicon/carrier.yaml":  {Data: []byte("forbidden: [{word: 问卷, why: 不得做问卷}]\n")},
		"lexicon/names.yaml":    {Data: []byte("state: {new: 待受理}\n")},
		"texts/zh-CN/a.yaml":    {Data: []byte("audience: resident\ntexts:\n" + texts)},
		"sms/catalogue.yaml":    {Data: []byte(sms)},
		"wechat/catalogue.yaml": {Data: []byte(wechat)},
	}
}

// The small set itself is sound, so that TestLint fails for the mistake alone.
func TestLintPassesTheSmallSet(t *testing.T) {
	t.Parallel()
	if _, err := wording.Load(broken(t, "", "")); err != nil {
		t.Fatal(err)
	}
}

func FuzzStaff(f *testing.F) {
	for _, s := range []string{"师傅十分钟到", "不知道", "", "\x00\xff#123456", strings.Repeat("长", 700)} {
		f.Add(s)
	}
	b := book(f)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := b.Staff(s, wording.Sign{Company: "示例物业", Name: "张师傅"})
		if err != nil {
			return
		}
		if out := got.String(); !utf8.ValidString(out) || len(out) > wording.MaxReply || strings.ContainsAny(out, "\x00\r\u200b\u202e") {
			t.Errorf("unclean: %q", out)
		}
	})
}

func BenchmarkStaff(b *testing.B) {
	bk := book(b)
	text := strings.Repeat("您好，师傅十分钟到，不知道您方便吗", 10)
	for b.Loop() {
		if _, err := bk.Staff(text, wording.Sign{Company: "示例物业", Name: "张师傅"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSay(b *testing.B) {
	bk := book(b)
	vars := wording.Vars{"case_no": "20931088", "line": "工程维修", "next_time": "今天 15:30", "summary": "三栋电梯又坏了", "unit": "3-2-1201"}
	for b.Loop() {
		if _, err := bk.Say("case.opened", vars); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		book(b)
	}
}
