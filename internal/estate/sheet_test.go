package estate_test

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"guanjia/internal/estate"
)

// workbook writes rows as an Excel file.
func workbook(t testing.TB, rows [][]any, change ...func(f *excelize.File)) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	for i, r := range rows {
		at, _ := excelize.CoordinatesToCellName(1, i+1)
		if err := f.SetSheetRow("Sheet1", at, &r); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range change {
		c(f)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func problems(list []estate.RowProblem) string {
	var out []string
	for _, p := range list {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d %s %s", p.Row, strings.SplitN(p.Column, " ", 2)[0], p.Code)))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// homes writes a sheet as "code kind vacant: role name phone, ...".
func homes(s estate.Sheet) []string {
	out := []string{}
	for _, u := range s.Units {
		var people []string
		for _, p := range u.People {
			people = append(people, strings.TrimSpace(p.Role+" "+p.Name+" "+p.Phone))
		}
		vacant := ""
		if u.Vacant != nil {
			vacant = map[bool]string{true: "vacant", false: "lived in"}[*u.Vacant]
		}
		place := strings.Join(strings.Fields(fmt.Sprintf("%s/%d %s %s", u.Code(), u.Floor, u.Kind, vacant)), " ")
		out = append(out, strings.TrimSpace(place+": "+strings.Join(people, ", ")))
	}
	return out
}

func TestReadSheet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file     []byte
		want     []string
		problems string
		warnings string
		ignored  string
	}{
		"plain": {
			file: workbook(t, [][]any{
				{"楼栋", "单元", "房号", "姓名", "手机", "与业主关系", "面积", "入住状态"},
				{"3栋", "2单元", 1201, "王晓梅", 13800000001, "本人", 98.5, "已入住"},
				{"3", "2", "1201室", "李强", "138 0000 0002", "丈夫", 98.5, "自住"},
				{"三号楼", "二单元", "1202", "赵明", "+86 138-0000-0003", "租客", "", "出租"},
				{3, 2, "1203", "", "", "", 98, "空置"},
				{"3#", "2", "1204", "钱一", "", "暂住", 98, ""},
			}),
			want: []string{
				"3-2-1201/12 lived in: owner 王晓梅 13800000001, family 李强 13800000002", "3-2-1202/12 lived in: tenant 赵明 13800000003", "3-2-1203/12 vacant:",
				"3-2-1204/12: short_stay 钱一",
			},
			ignored: "面积",
		},
		"titles above, synonyms, full-width": {
			file: workbook(t, [][]any{
				{"青禾花园住户信息登记表"}, {"制表日期：2026年3月"}, {},
				{"序号", "楼号", "门洞", "室号（必填）", "业主姓名*", "联系电话1", "联系电话2", "房屋类型"},
				{1, "Ａ座", "１", "１２０１", "王 晓梅", "１３８０００００００１", "010-88886666", "住宅"},
				{2, "A座", "无", "商铺5", "好邻居便利店", 13800000002, 13800000003, "商铺"},
				{"合计", "", "2户"},
			}),
			want:     []string{"A-1-1201/12 flat: owner 王晓梅 13800000001", "A-1-05/0 shop: owner 好邻居便利店 13800000002, owner 好邻居便利店 13800000003"},
			warnings: "5 G landline", ignored: "序号",
		},
		"one column for the home": {
			file: workbook(t, [][]any{
				{"房号", "住户", "电话"},
				{"3-2-1201", "王晓梅", "13800000001"}, {"三栋二单元1202室", "李强/赵明", "13800000002、13800000003"}, {"５栋１２０１", "孙二", ""}, {"3-1203", "钱一", ""},
			}),
			want:     []string{"3-2-1201/12: owner 王晓梅 13800000001", "3-2-1202/12: owner 李强 13800000002, owner 赵明 13800000003", "5-1-1201/12: owner 孙二"},
			problems: "5 A bad_room", warnings: "4 A no_entrances",
		},
		"merged cells": {
			file: workbook(t, [][]any{
				{"楼栋", "单元", "房号", "姓名", "电话"},
				{"3栋", "2单元", "1201", "王晓梅", "13800000001"}, {"", "", "", "李强", "13800000002"}, {"", "", "1202", "赵明", "13800000003"},
			}, func(f *excelize.File) {
				for _, m := range [][2]string{{"A2", "A4"}, {"B2", "B4"}, {"C2", "C3"}} {
					_ = f.MergeCell("Sheet1", m[0], m[1])
				}
			}),
			want: []string{"3-2-1201/12: owner 王晓梅 13800000001, owner 李强 13800000002", "3-2-1202/12: owner 赵明 13800000003"},
		},
		"owners and tenants side by side": {
			file: workbook(t, [][]any{
				{"", "", "", "业主信息", "", "租户信息", ""},
				{"楼栋", "单元", "房号", "姓名", "电话", "姓名", "电话"},
				{"3", "2", "1201", "王晓梅", "13800000001", "赵明", "13800000003"},
				{"3", "2", "1202", "李强", "13800000002", "", ""},
			}, func(f *excelize.File) { _ = f.MergeCell("Sheet1", "D1", "E1"); _ = f.MergeCell("Sheet1", "F1", "G1") }),
			want: []string{"3-2-1201/12: owner 王晓梅 13800000001, tenant 赵明 13800000003", "3-2-1202/12: owner 李强 13800000002"},
		},
		"a family's one phone": {
			file: workbook(t, [][]any{
				{"房号", "姓名", "手机", "身份"}, {"3-2-1201", "王晓梅", "13800000001", "业主"}, {"3-2-1201", "李强", "13800000001", "业主家属"}, {"4-1-301", "王老", "13800000001", "业主"},
			}),
			want:     []string{"3-2-1201/12: owner 王晓梅 13800000001, family 李强", "4-1-301/3: owner 王老, owner 王晓梅 13800000001"},
			warnings: "3 C same_phone; 4 C same_phone",
		},
		"formulas, dates, faults": {
			file: workbook(t, [][]any{
				{"楼栋", "单元", "房号", "姓名", "手机"}, {"3", "2", "1201", "王晓梅", "13800000001"}, {"3", "2", "1202", "李强"}, {"3", "2", time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), "赵明", ""},
				{"3", "2", "1204", "钱一", ""},
			}, func(f *excelize.File) {
				_ = f.SetCellFormula("Sheet1", "E3", `"1380000"&"0002"`) // never calculated
				_ = f.SetCellFormula("Sheet1", "A2", "1+2")              // with its value, kept from before
				_ = f.SetCellValue("Sheet1", "A2", 3)
			}),
			want: []string{"3-2-1201/12: owner 王晓梅 13800000001", "3-2-1204/12: owner 钱一"}, problems: "3 E formula; 4 C date",
		},
		"every broken kind": {
			file: workbook(t, [][]any{
				{"楼栋", "单元", "房号", "姓名", "手机", "身份", "物业类型", "楼层"},
				{"", "2", "1201", "王", "", "", "", ""},
				{"幸福楼", "2", "1201", "王", "", "", "", ""},
				{"3", "", "1201", "王", "", "", "", ""},
				{"3", "后门", "1201", "王", "", "", "", ""},
				{"3", "2", "", "王", "", "", "", ""},
				{"3", "2", "楼上", "王", "", "", "", ""},
				{"3", "2", "4-1-101", "王", "", "", "", ""},
				{"3", "2", "1202", "王", "1380000000", "", "", ""},
				{"3", "2", "1203", "王", "1.38E+10", "", "", ""},
				{"3", "2", "1204", "", "13800000001", "", "", ""},
				{"3", "2", "1205", "王", "", "邻居", "", ""},
				{"3", "2", "1206", "王", "", "", "飞船", ""},
				{"3", "2", "1207", "王", "", "", "", "顶层"},
				{"3", "2", "1208", "王/李", "13800000001/13800000002/13800000003", "", "", ""},
				{"3", "2", "1209", strings.Repeat("长", 41), "", "", "", ""},
				{"3", "2", "1210", "王", "微信同号", "", "", ""},
				{"3", "2", "B车位12", "王", "13800000009", "", "", ""},
			}),
			want: []string{},
			problems: "10 E short_phone; 11 E no_name; 12 F bad_role; 13 G bad_kind; 14 H bad_floor; 15 D name_phones; 16 D long_name; 17 E bad_phone; " +
				"2 A no_building; 3 A bad_building; 4 B no_entrance; 5 B bad_entrance; 6 C no_room; 7 C bad_room; 8 C disagree; 9 E bad_phone",
			warnings: "18 C parking",
		},
		"two says": {
			file:     workbook(t, [][]any{{"房号", "姓名", "入住状态"}, {"3-2-1201", "王", "空置"}, {"3-2-1201", "李", "已入住"}, {"3-2-1202", "李", "不好说"}}),
			want:     []string{"3-2-1201/12 vacant: owner 王", "3-2-1202/12: owner 李"},
			problems: "3  two_says", warnings: "4 C occupancy",
		},
	} {
		s, bad, err := estate.ReadSheet(bytes.NewReader(c.file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(c.want, homes(s)); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
		if got := problems(bad); got != c.problems {
			t.Errorf("%s: problems\n%s, want\n%s", name, got, c.problems)
		}
		if got := problems(s.Warnings); got != c.warnings {
			t.Errorf("%s: warnings %s, want %s", name, got, c.warnings)
		}
		if got := strings.Join(s.Ignored, " "); got != c.ignored {
			t.Errorf("%s: ignored %q, want %q", name, got, c.ignored)
		}
	}
}

func TestSheetsOfABuildingEach(t *testing.T) {
	t.Parallel()
	file := workbook(t, [][]any{{"单元", "房号", "姓名"}, {1, 101, "王"}, {1, "x", "王"}}, func(f *excelize.File) {
		_ = f.SetSheetName("Sheet1", "3栋")
		_, _ = f.NewSheet("4栋")
		_ = f.SetSheetRow("4栋", "A1", &[]any{"单元", "房号", "姓名"})
		_ = f.SetSheetRow("4栋", "A2", &[]any{1, 101, "李"})
		_, _ = f.NewSheet("草稿")
		_ = f.SetSheetRow("草稿", "A1", &[]any{"单元", "房号", "姓名"})
		_ = f.SetSheetRow("草稿", "A2", &[]any{1, 101, "不读"})
		_ = f.SetSheetVisible("草稿", false)
	})
	s, bad, err := estate.ReadSheet(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"3-1-101/1: owner 王", "4-1-101/1: owner 李"}, homes(s)); d != "" {
		t.Error(d)
	}
	if len(bad) != 1 || bad[0].Sheet != "3栋" || bad[0].Row != 3 {
		t.Errorf("problems %+v", bad)
	}
}

// One report of all bad rows, however many.
func TestAThousandBadRows(t *testing.T) {
	t.Parallel()
	rows := [][]any{{"楼栋", "单元", "房号", "姓名", "手机"}}
	for i := range 1500 {
		phone := "1380000000"
		if i%3 == 0 {
			phone = fmt.Sprint(13800000000 + i)
		}
		rows = append(rows, []any{"3", "1", 100 + i, "王", phone})
	}
	s, bad, err := estate.ReadSheet(bytes.NewReader(workbook(t, rows)))
	if err != nil || len(bad) != 1000 || s.Rows != 1500 || len(s.Units) != 500 {
		t.Fatalf("%d problems in %d rows, %d homes, %v", len(bad), s.Rows, len(s.Units), err)
	}
	if p := bad[999]; p.Row != 1501 || p.Column != "E 手机" || p.Code != estate.RowBadPhone || p.Vars["value"] != "1380000000" {
		t.Errorf("last is %+v", p)
	}
}

func zipOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFilesThatAreNone(t *testing.T) {
	t.Parallel()
	encrypted := append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), []byte("xxE\x00n\x00c\x00r\x00y\x00p\x00t\x00e\x00d\x00P\x00a\x00c\x00k\x00a\x00g\x00e\x00")...)
	good := workbook(t, [][]any{{"房号", "姓名"}, {"3-2-1201", "王"}})
	sheet := func(data string) map[string]string {
		return map[string]string{
			"xl/workbook.xml":            `<workbook xmlns:r="r"><sheets><sheet name="a" r:id="r1"/></sheets></workbook>`,
			"xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="r1" Target="worksheets/sheet1.xml"/></Relationships>`,
			"xl/worksheets/sheet1.xml":   data,
		}
	}
	many := strings.Repeat(`<row><c t="inlineStr"><is><t>x</t></is></c></row>`, estate.MaxImportRows+1)
	for name, c := range map[string]struct {
		file []byte
		code string
	}{
		"nothing":       {nil, estate.FileEmpty},
		"photo":         {[]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), estate.FilePicture},
		"screenshot":    {[]byte("\x89PNG\r\n\x1a\n\x00\x00"), estate.FilePicture},
		"pdf":           {[]byte("%PDF-1.7"), estate.FilePDF},
		"old excel":     {[]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 Workbook"), estate.FileOldExcel},
		"with password": {encrypted, estate.FileEncrypted},
		"csv renamed":   {[]byte("楼栋,单元,房号\n3,2,1201\n"), estate.FileText},
		"csv in GBK":    {[]byte("\xc2\xa5\xb6\xb0,\xb7\xbf\xba\xc5\n3,1201\n"), estate.FileText},
		"web page":      {[]byte("<html><table><tr><td>房号</td></tr></table></html>"), estate.FileText},
		"other":         {[]byte("\x00\x01\x02\x03garbage"), estate.FileOther},
		"word":          {zipOf(t, map[string]string{"word/document.xml": "<w/>"}), estate.FileOther},
		"binary":        {zipOf(t, map[string]string{"xl/workbook.bin": "x"}), estate.FileBinary},
		"cut off":       {good[:len(good)-200], estate.FileBroken},
		"bad xml":       {zipOf(t, sheet(`<worksheet><sheetData><row><c></row>`)), estate.FileBroken},
		"no sheet":      {zipOf(t, map[string]string{"xl/workbook.xml": "<workbook/>"}), estate.FileBroken},
		"bad string":    {zipOf(t, sheet(`<worksheet><row><c t="s"><v>7</v></c></row></worksheet>`)), estate.FileBroken},
		"rows backward": {zipOf(t, sheet(`<worksheet><row r="5"><c><v>7</v></c></row><row r="4"><c><v>7</v></c></row></worksheet>`)), estate.FileBroken},
		"too many rows": {zipOf(t, sheet(`<worksheet><sheetData>`+many+`</sheetData></worksheet>`)), estate.FileRows},
		"bomb":          {zipOf(t, sheet(`<worksheet>`+strings.Repeat(" ", 97<<20)+`</worksheet>`)), estate.FileTooBig},
		"no header":     {workbook(t, [][]any{{"你好"}, {"3-2-1201", "王"}}), estate.FileNoHeader},
		"no rows":       {workbook(t, [][]any{{"房号", "姓名"}}), estate.FileNoRows},
		"empty":         {workbook(t, nil), estate.FileNoHeader},
		"a picture only": {workbook(t, nil, func(f *excelize.File) {
			_ = f.AddPictureFromBytes("Sheet1", "A1", &excelize.Picture{Extension: ".png", File: tinyPNG, Format: &excelize.GraphicOptions{}})
		}), estate.FileNoHeader},
	} {
		_, _, err := estate.ReadSheet(bytes.NewReader(c.file))
		var fileErr *estate.FileError
		if !errors.As(err, &fileErr) || fileErr.Code != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}

// tinyPNG is a picture of one point.
var tinyPNG = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\x9cc\xf8\xff\xff?\x00\x05\xfe\x02\xfe\xa75\x81\x84\x00\x00\x00\x00IEND\xaeB`\x82")

func TestParsePhones(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"13800000001": "13800000001", "+86 138 0000 0001": "13800000001", "86-13800000001": "13800000001", "0086 13800000001": "13800000001", "１３８－００００－０００１": "13800000001",
		"13800000001/13900000002": "13800000001 13900000002", "13800000001、13900000002": "13800000001 13900000002", "13800000001 13900000002": "13800000001 13900000002",
		"1380000000113900000002": "13800000001 13900000002", "13800000001（妻）13900000002（夫）": "13800000001 13900000002", "手机：13800000001": "13800000001",
		"13800000001;13800000001": "13800000001", "1.3800000001E+10": "13800000001", "1.3800000001E10": "13800000001", "13800000001\n13900000002": "13800000001 13900000002",
		"138 0000 0001 139 0000 0002": "13800000001 13900000002", "13800000001或13900000002": "13800000001 13900000002", "13800000001 / 无": "13800000001", "无": "", "-": "", "": "",
		"1.38E+10": "!short_phone", "1.38000E+10": "!short_phone", "010-88886666": "!landline", "88886666": "!landline", "400-800-1234": "!landline", "88886666/13800000001": "13800000001 !landline",
		"010-88886666 13800000001": "13800000001 !landline", "1380000000": "!bad_phone", "138000000011": "!bad_phone", "23800000001": "!bad_phone", "张三": "!bad_phone", "12345": "!bad_phone", "+1 6505551234": "!bad_phone",
		"13800000001 妻": "13800000001", "父 13800000001、母 13900000002": "13800000001 13900000002",
	} {
		phones, trouble := estate.ParsePhones(text)
		got := strings.Join(phones, " ")
		for _, p := range trouble {
			got += " !" + p.Code
		}
		if got = strings.TrimSpace(got); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}

func FuzzParsePhones(f *testing.F) {
	for _, s := range []string{"13800000001/13900000002", "1.38E+10", "手机：13800000001（妻）", "010-88886666 13800000001", "１３８", "\x00\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		phones, _ := estate.ParsePhones(s)
		for _, p := range phones {
			if n, ok := estate.NormalizePhone(p); !ok || n != p {
				t.Fatalf("%q gives %q, which is no phone", s, p)
			}
		}
		again, trouble := estate.ParsePhones(strings.Join(phones, "/"))
		if !slices.Equal(again, phones) || len(trouble) > 0 {
			t.Fatalf("%v is read again as %v, %v", phones, again, trouble)
		}
	})
}

// inline writes rows of text as the smallest Excel file there is.
func inline(t testing.TB, rows ...[]string) []byte {
	t.Helper()
	var data bytes.Buffer
	data.WriteString("<worksheet><sheetData>")
	for _, r := range rows {
		data.WriteString("<row>")
		for _, text := range r {
			data.WriteString(`<c t="inlineStr"><is><t>`)
			if err := xml.EscapeText(&data, []byte(text)); err != nil {
				t.Fatal(err)
			}
			data.WriteString("</t></is></c>")
		}
		data.WriteString("</row>")
	}
	data.WriteString("</sheetData></worksheet>")
	return zipOf(t, map[string]string{
		"xl/workbook.xml":            `<workbook xmlns:r="r"><sheets><sheet name="a" r:id="r1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="r1" Target="worksheets/sheet1.xml"/></Relationships>`,
		"xl/worksheets/sheet1.xml":   data.String(),
	})
}

// FuzzReadSheet puts outside bytes into the cells of a row, and reads outside
// bytes as a file.
func FuzzReadSheet(f *testing.F) {
	f.Add("3栋", "2单元", "1201", "王晓梅", "13800000001", "业主")
	f.Add("", "", "3-2-1201", "王/李", "1.38E+10", "租客")
	f.Add("A座", "无", "商铺5", "", "010-88886666", "?")
	f.Fuzz(func(t *testing.T, building, entrance, room, name, phone, role string) {
		file := inline(t, []string{"楼栋", "单元", "房号", "姓名", "手机", "身份"}, []string{building, entrance, room, name, phone, role})
		s, bad, err := estate.ReadSheet(bytes.NewReader(file))
		var fileErr *estate.FileError
		if err != nil && !errors.As(err, &fileErr) {
			t.Fatalf("an error that has no words: %v", err)
		}
		for _, p := range bad {
			if p.Row != 2 || p.Code == "" {
				t.Fatalf("a problem without its place: %+v", p)
			}
		}
		for _, u := range s.Units {
			if code, ok := estate.ParseUnitCode(u.Code()); !ok || code != u.Code() {
				t.Fatalf("home %q is not canonical", u.Code())
			}
			for _, p := range u.People {
				if p.Name == "" || !slices.Contains(estate.Roles, p.Role) {
					t.Fatalf("person without name or role: %q", p.Role)
				}
			}
		}
		_, _, err = estate.ReadSheet(strings.NewReader(building + room + phone))
		if !errors.As(err, &fileErr) {
			t.Fatalf("bytes that are no file: %v", err)
		}
	})
}
