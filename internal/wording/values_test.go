package wording_test

import (
	"strings"
	"testing"

	"guanjia/internal/wording"
)

func TestLintRefusesWhatVendorsRefuse(t *testing.T) {
	t.Parallel()
	b := book(t)
	good := wording.Vars{
		"place": "3栋、4栋", "reason": "主管爆裂抢修", "what": "突发停水", "start": "11月25日 14:20", "end": "11月25日 18:00", "action": "请储水备用", "phone": "0571-88886666",
		"title": "突发停水通知", "period": "2026年11月25日 14:20~2026年11月25日 18:00",
	}
	for name, tt := range map[string]struct {
		field, value string
		sms, tmpl    string // rule, "" for fine
	}{
		"as it should be":      {"reason", "主管爆裂抢修", "", ""},
		"nothing":              {"reason", " ", wording.RuleEmpty, wording.RuleEmpty},
		"20":                   {"reason", strings.Repeat("水", 20), "", ""},
		"21":                   {"reason", strings.Repeat("水", 21), "", wording.RuleLong},
		"35":                   {"reason", strings.Repeat("水", 35), "", wording.RuleLong},
		"36":                   {"reason", strings.Repeat("水", 36), wording.RuleLong, wording.RuleLong},
		"31 in an address":     {"place", strings.Repeat("栋", 31), wording.RuleLong, wording.RuleLong},
		"emoji":                {"reason", "爆了😱", wording.RuleCharacter, ""},
		"brackets":             {"reason", "【急】爆管", wording.RuleCharacter, ""},
		"link":                 {"reason", "看http://a.b", wording.RuleAddress, ""},
		"domain":               {"reason", "看abc.com吧", wording.RuleAddress, ""},
		"mobile":               {"reason", "找13800000001", wording.RulePhone, ""},
		"landline":             {"reason", "打0571-88886666", wording.RulePhone, ""},
		"400":                  {"reason", "打400-820-8820", wording.RulePhone, ""},
		"a home is no phone":   {"place", "3-2-1201等12户", "", ""},
		"two lines":            {"reason", "爆管\n抢修", wording.RuleLines, wording.RuleLines},
		"forbidden":            {"reason", "请填问卷", wording.RuleForbidden, wording.RuleForbidden},
		"R-083":                {"reason", "原因不清楚", wording.RuleForbidden, wording.RuleForbidden},
		"mobile as contact":    {"phone", "13800000001", wording.RuleMobile, ""},
		"words as contact":     {"phone", "前台", wording.RuleNumber, wording.RuleNumber},
		"95 number":            {"phone", "95598", "", ""},
		"400 as contact":       {"phone", "400-820-8820", "", ""},
		"two contacts":         {"phone", "0571-88886666 0571-88886667", wording.RuleLong, wording.RuleNumber},
		"a year in a time":     {"start", "2026年11月25日 14:20", wording.RuleTime, ""},
		"a weekday in a time":  {"start", "11月25日（周三） 14:20", wording.RuleTime, ""},
		"no time":              {"start", "很快", wording.RuleTime, ""},
		"a period that's none": {"period", "今天~明天", "", wording.RuleTime},
	} {
		vars := wording.Vars{}
		for k, v := range good {
			vars[k] = v
		}
		vars[tt.field] = tt.value
		_, sms := b.LintSMS("notice_emergency", vars, "示例物业")
		_, tmpl := b.LintTemplate("notice_outage", vars)
		for channel, c := range map[string]struct {
			list []wording.ValueProblem
			want string
		}{"sms": {sms, tt.sms}, "template": {tmpl, tt.tmpl}} {
			switch {
			case c.want == "" && len(c.list) > 0:
				t.Errorf("%s, %s: %+v", name, channel, c.list)
			case c.want != "" && (len(c.list) != 1 || c.list[0].Rule != c.want || c.list[0].Var != tt.field):
				t.Errorf("%s, %s: %+v, want %s of %s", name, channel, c.list, c.want, tt.field)
			}
		}
	}
	if _, list := b.LintSMS("no_such", good, ""); len(list) != 1 || list[0].Rule != wording.RuleUnknown {
		t.Errorf("unknown template: %+v", list)
	}
	text, list := b.LintSMS("notice_emergency", good, "示例物业")
	if len(list) > 0 || !strings.Contains(text.Text.String(), "3栋、4栋因主管爆裂抢修突发停水") {
		t.Errorf("%s %+v", text.Text, list)
	}
}

// FuzzLint: whatever is written, the linter answers, and what it passes the
// strict renderers pass too.
func FuzzLint(f *testing.F) {
	for _, s := range []string{"主管爆裂抢修", "", "😱", "\xff", "13800000001", strings.Repeat("长", 40), "a\nb", "#123456"} {
		f.Add(s)
	}
	b := book(f)
	f.Fuzz(func(t *testing.T, s string) {
		vars := wording.Vars{"place": s, "reason": s, "what": s, "start": "11月25日 14:20", "end": "11月25日 18:00", "action": s, "phone": "0571-88886666"}
		if _, list := b.LintSMS("notice_emergency", vars, "示例物业"); len(list) == 0 {
			if _, err := b.SMS("notice_emergency", vars); err != nil {
				t.Errorf("passed by the linter: %v", err)
			}
		}
		fields := wording.Vars{"title": s, "place": s, "period": "2026年11月25日 14:20", "reason": s, "action": s, "phone": "0571-88886666"}
		if _, list := b.LintTemplate("notice_outage", fields); len(list) == 0 {
			if _, err := b.Template("notice_outage", fields); err != nil {
				t.Errorf("passed by the linter: %v", err)
			}
		}
	})
}
