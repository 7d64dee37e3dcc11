package estate_test

import (
	"strings"
	"testing"

	"guanjia/internal/estate"
)

func TestParseUnitCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"3-2-1201", "3-2-1201"},
		{" 3-2-1201 ", "3-2-1201"},
		{"3#2-1201", "3-2-1201"},
		{"3/2/1201", "3-2-1201"},
		{"3.2.1201", "3-2-1201"},
		{"3 2 1201", "3-2-1201"},
		{"3 - 2 - 1201", "3-2-1201"},
		{"3—2—1201", "3-2-1201"},
		{"3–2−1201", "3-2-1201"},
		{"３－２－１２０１", "3-2-1201"},
		{"3栋2单元1201", "3-2-1201"},
		{"3栋2单元1201室", "3-2-1201"},
		{"3栋 2单元 1201室", "3-2-1201"},
		{"3栋-2单元-1201", "3-2-1201"},
		{"3号楼2门1201", "3-2-1201"},
		{"3号楼2单元1201号", "3-2-1201"},
		{"3幢2单元1201房", "3-2-1201"},
		{"3座2单元1201", "3-2-1201"},
		{"三栋二单元一二零一", "3-2-1201"},
		{"三栋二单元一二〇一室", "3-2-1201"},
		{"三栋两单元幺二零幺", "3-2-1201"},
		{"三栋二单元十二零一", "3-2-1201"},
		{"十二栋一单元三零一", "12-1-301"},
		{"二十三栋1单元301", "23-1-301"},
		{"20栋1单元301", "20-1-301"},
		{"03-02-0301", "3-2-301"},
		{"A栋1单元301", "A-1-301"},
		{"b2-1-301", "B2-1-301"},
		{"Ｂ２栋1单元301", "B2-1-301"},
		{"4-1-05", "4-1-05"}, // a shop keeps its zero
		{"3-2-14B", "3-2-14B"},
		{"3-2-14b", "3-2-14B"},
		{"3\u200b-2-1201", "3-2-1201"},
		{"3栋2单元101", "3-2-101"},
		{"壹栋贰单元叁零壹", "1-2-301"},

		{"", ""},
		{"1201", ""},
		{"3-1201", ""},
		{"3栋1201", ""}, // complete without entrance only for ParseUnit
		{"3-2", ""},
		{"3-2-1201-5", ""},
		{"3-2-1201 13800000001", ""},
		{"2单元3栋1201", ""},
		{"3栋2栋1201", ""},
		{"3室2单元1201", ""},
		{"三栋电梯坏了", ""},
		{"3-2-12017", ""},
		{"3-2-1", ""},
		{"3-200-1201", ""},
		{"1234-2-1201", ""},
		{"ABC-2-1201", ""},
		{"3--1201", ""},
		{"-3-2-1201", ""},
		{"3栋单元1201", ""},
		{"3-2-ABCD", ""},
		{"#123456", ""},
		{"2026-11-25", ""}, // a date
		{strings.Repeat("3-2-1201", 100), ""},
	} {
		got, ok := estate.ParseUnitCode(c.in)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%q is read as %q, %t; want %q", c.in, got, ok, c.want)
		}
	}
}

func TestParseUnitWithoutEntrance(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]estate.UnitRef{
		"3栋1201":   {Building: "3", Room: "1201"},
		"3号楼1201室": {Building: "3", Room: "1201"},
		"3#1201":   {Building: "3", Room: "1201"},
	} {
		if got, ok := estate.ParseUnit(in); !ok || got != want {
			t.Errorf("%q is read as %+v, %t; want %+v", in, got, ok, want)
		}
	}
	if got, ok := estate.ParseUnit("3-1201"); ok {
		t.Errorf("3-1201 may be building or entrance, but is read as %+v", got)
	}
}

func TestNormalizePhone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"13800000001", "13800000001"},
		{" 138 0000 0001 ", "13800000001"},
		{"138-0000-0001", "13800000001"},
		{"+8613800000001", "13800000001"},
		{"+86 138 0000 0001", "13800000001"},
		{"008613800000001", "13800000001"},
		{"8613800000001", "13800000001"},
		{"１３８０００００００１", "13800000001"},
		{"＋86-138-0000-0001", "13800000001"},
		{"(+86)13800000001", "13800000001"},
		{"19900000001", "19900000001"},
		{"16600000001", "16600000001"},

		{"", ""},
		{"1380000000", ""},
		{"138000000011", ""},
		{"12800000001", ""},
		{"23800000001", ""},
		{"057188000024", ""},
		{"0571-88000024", ""},
		{"+85213800000", ""},
		{"+113800000001", ""},
		{"13800000001x", ""},
		{"1380000OOO1", ""},
		{"我的电话13800000001", ""},
		{"++8613800000001", ""},
		{strings.Repeat("1", 500), ""},
	} {
		got, ok := estate.NormalizePhone(c.in)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%q is read as %q, %t; want %q", c.in, got, ok, c.want)
		}
	}
}

func TestFloorOf(t *testing.T) {
	t.Parallel()
	for room, want := range map[string]int{"1201": 12, "301": 3, "101": 1, "3312": 33, "14B": 0, "1402B": 14, "05": 0, "": 0} {
		if got := estate.FloorOf(room); got != want {
			t.Errorf("room %q is on floor %d, want %d", room, got, want)
		}
	}
}

func FuzzParseUnitCode(f *testing.F) {
	for _, s := range []string{"3-2-1201", "三栋二单元十二零一", "3#2-1201", "百百百", "二百零五栋1单元301", "Ａ栋１单元１４Ｂ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		code, ok := estate.ParseUnitCode(s)
		if !ok {
			if code != "" {
				t.Errorf("%q is no unit but gives %q", s, code)
			}
			return
		}
		// What comes out is canonical: reading it again changes nothing.
		again, ok := estate.ParseUnitCode(code)
		if !ok || again != code {
			t.Errorf("%q gives %q, which is read as %q, %t", s, code, again, ok)
		}
	})
}

func FuzzNormalizePhone(f *testing.F) {
	for _, s := range []string{"13800000001", "+86 138 0000 0001", "0086", "１３８"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := estate.NormalizePhone(s)
		if !ok {
			return
		}
		if len(n) != 11 || n[0] != '1' || n[1] < '3' || strings.Trim(n, "0123456789") != "" {
			t.Errorf("%q gives %q", s, n)
		}
	})
}
