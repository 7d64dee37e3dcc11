package workgroup

import (
	"testing"
	"time"
)

func TestParseWhen(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("CST", 8*3600)
	now := time.Date(2026, 11, 25, 14, 30, 0, 0, zone).UTC()
	for _, tc := range []struct{ text, at, rest string }{
		{"明天12:00 配件明天才到货", "2026-11-26 12:00", "配件明天才到货"},
		{"明天 12：00，配件明天才到货", "2026-11-26 12:00", "配件明天才到货"},
		{"今天18点 正在路上", "2026-11-25 18:00", "正在路上"},
		{"今天18点半", "2026-11-25 18:30", ""},
		{"后天上午9点30分前 等厂家", "2026-11-27 09:30", "等厂家"},
		{"下午5点 排队中", "2026-11-25 17:00", "排队中"},
		{"11月30日 9:30 等配件", "2026-11-30 09:30", "等配件"},
		{"11-30 14:00 等配件", "2026-11-30 14:00", "等配件"},
		{"1月5号 10:00 等厂家", "2027-01-05 10:00", "等厂家"},
		{"１６：００ 等人", "2026-11-25 16:00", "等人"},
		{"14:00", "2026-11-25 14:00", ""}, // past: the desk refuses it
		{"配件明天才到", "", ""},
		{"2月30日 9:00 不存在的日子", "", ""},
		{"13月1日 9:00", "", ""},
		{"25:00", "", ""},
		{"明天", "", ""},
		{"", "", ""},
	} {
		at, rest, ok := parseWhen(tc.text, now)
		got := ""
		if ok {
			got = at.In(zone).Format("2006-01-02 15:04")
		}
		if got != tc.at || (ok && rest != tc.rest) {
			t.Errorf("%q: %q, %q; want %q, %q", tc.text, got, rest, tc.at, tc.rest)
		}
	}
}

func FuzzParseWhen(f *testing.F) {
	f.Add("明天12:00 配件")
	f.Add("11月30日9点半")
	now := time.Date(2026, 11, 25, 6, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		at, _, ok := parseWhen(text, now)
		if ok && (at.Before(now.AddDate(0, -7, 0)) || at.After(now.AddDate(1, 7, 0))) {
			t.Errorf("%q is read as %s", text, at)
		}
	})
}
