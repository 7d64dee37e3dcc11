package notify_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"guanjia/internal/app/worldtest"
	"guanjia/internal/wording"
	"guanjia/notify"
	"guanjia/templates"
)

// reader is a Notices that only reads lines.
func reader(t testing.TB) *notify.Notices {
	t.Helper()
	book, err := wording.Load(templates.FS())
	if err != nil {
		t.Fatal(err)
	}
	n, err := notify.New(notify.Deps{Book: book, Files: templates.FS()})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The world begins on Monday, 2026-03-02, at 10:00.
func TestParseLine(t *testing.T) {
	t.Parallel()
	n := reader(t)
	type want struct {
		kind, topic, title      string
		buildings               string
		entrances, units, floor string
		start, end              string
		reason, of, contact     string
		action                  string
	}
	for line, w := range map[string]want{
		"突发停水 3栋,4栋 主管爆裂抢修 预计18:00恢复":              {kind: "emergency_outage", topic: "outage_water", buildings: "3 4", end: "03-02 18:00", reason: "主管爆裂抢修"},
		"通知 突发停水 3栋,4栋 主管爆裂抢修 预计18:00恢复":           {kind: "emergency_outage", topic: "outage_water", buildings: "3 4", end: "03-02 18:00", reason: "主管爆裂抢修"},
		"通知：突发停水，３栋、４栋，主管爆裂抢修，预计１８：００恢复。":          {kind: "emergency_outage", topic: "outage_water", buildings: "3 4", end: "03-02 18:00", reason: "主管爆裂抢修"},
		"临时停气 3-5栋 管道抢修 预计晚上8点半恢复":                 {kind: "emergency_outage", topic: "outage_gas", buildings: "3 4 5", end: "03-02 20:30", reason: "管道抢修"},
		"突发停电 3栋至5栋和8栋 变压器故障 约2:00恢复":              {kind: "emergency_outage", topic: "outage_power", buildings: "3 4 5 8", end: "03-03 02:00", reason: "变压器故障"},
		"突发停水 全小区 市政爆管 预计18点恢复":                    {kind: "emergency_outage", topic: "outage_water", end: "03-02 18:00", reason: "市政爆管"},
		"突发停水 三号楼 水泵故障":                            {kind: "emergency_outage", topic: "outage_water", buildings: "3", reason: "水泵故障"},
		"停电 5号楼 明天9点到11点 配电房检修":                    {kind: "planned_outage", topic: "outage_power", buildings: "5", start: "03-03 09:00", end: "03-03 11:00", reason: "配电房检修"},
		"计划停水 1、2栋 3月5日9:00-11:30 清洗水箱":            {kind: "planned_outage", topic: "outage_water", buildings: "1 2", start: "03-05 09:00", end: "03-05 11:30", reason: "清洗水箱"},
		"停水 A座 后天上午9点至下午5点 水管改造 联系电话0571-88886666": {kind: "planned_outage", topic: "outage_water", buildings: "A", start: "03-04 09:00", end: "03-04 17:00", reason: "水管改造", contact: "0571-88886666"},
		"停电 6栋 今晚10点到明早6点 线路检修":                    {kind: "planned_outage", topic: "outage_power", buildings: "6", start: "03-02 22:00", end: "03-03 06:00", reason: "线路检修"},
		"停电 6栋 下午2点到5点 线路检修":                       {kind: "planned_outage", topic: "outage_power", buildings: "6", start: "03-02 14:00", end: "03-02 17:00", reason: "线路检修"},
		"停水 6栋 周四14-16点 换水表":                       {kind: "planned_outage", topic: "outage_water", buildings: "6", start: "03-05 14:00", end: "03-05 16:00", reason: "换水表"},
		"停水 6栋 下周一8:30到10:00 换水表":                  {kind: "planned_outage", topic: "outage_water", buildings: "6", start: "03-09 08:30", end: "03-09 10:00", reason: "换水表"},
		"突发停水 3栋2单元 立管漏水 预计15:00恢复":                {kind: "emergency_outage", topic: "outage_water", entrances: "3-2", end: "03-02 15:00", reason: "立管漏水"},
		"突发停水 3栋1、2单元 立管漏水":                        {kind: "emergency_outage", topic: "outage_water", entrances: "3-1 3-2", reason: "立管漏水"},
		"突发停水 3-2单元 立管漏水":                          {kind: "emergency_outage", topic: "outage_water", entrances: "3-2", reason: "立管漏水"},
		"突发停水 3-2-1201、3栋2单元1301室 支管漏水":            {kind: "emergency_outage", topic: "outage_water", units: "3-2-1201 3-2-1301", reason: "支管漏水"},
		"突发停水 3栋10-18层 加压泵故障":                      {kind: "emergency_outage", topic: "outage_water", buildings: "3", floor: "10-18层", reason: "加压泵故障"},
		"突发停水 3栋 20层以上 加压泵故障":                      {kind: "emergency_outage", topic: "outage_water", buildings: "3", floor: "20层以上", reason: "加压泵故障"},
		"突发停水 3栋 原因：水泵坏了 提示：请储水":                   {kind: "emergency_outage", topic: "outage_water", buildings: "3", reason: "水泵坏了", action: "请储水"},
		"突发停水 3栋 水泵坏了 请到5号门取水":                     {kind: "emergency_outage", topic: "outage_water", buildings: "3", reason: "水泵坏了", action: "请到5号门取水"},
		"突发停水 3栋 主管爆裂 2小时内恢复":                      {kind: "emergency_outage", topic: "outage_water", buildings: "3", reason: "主管爆裂，2小时内恢复"},
		"恢复 T0012":           {kind: "restored", of: "T0012"},
		"恢复T12":              {kind: "restored", of: "T0012"},
		"恢复供水 t0012 17:40":   {kind: "restored", of: "T0012", start: "03-02 17:40"},
		"T0012 恢复":           {kind: "restored", of: "T0012"},
		"延长 T0012 预计20:00恢复": {kind: "extension", of: "T0012", end: "03-02 20:00"},
		"延长 T0012 到20点 配件未到": {kind: "extension", of: "T0012", end: "03-02 20:00", reason: "配件未到"},
		"变更 T0012 改到明天9点到11点 配件未到": {kind: "change", of: "T0012", start: "03-03 09:00", end: "03-03 11:00", reason: "配件未到"},
		"台风 全小区 今晚8点起 预计明天8点结束":    {kind: "severe_weather", title: "台风天气预警", start: "03-02 20:00", end: "03-03 08:00"},
		"消杀 全小区 明天9点到11点 夏季灭蚊药":    {kind: "operation", topic: "pest_control", start: "03-03 09:00", end: "03-03 11:00", reason: "夏季灭蚊药"},
		"公告 全小区 电梯年检 本周电梯轮流停用":     {kind: "general", title: "电梯年检", reason: "本周电梯轮流停用"},
	} {
		d, err := n.ParseLine(line, worldtest.Start())
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		got := want{
			d.Kind, d.Topic, d.Title, strings.Join(d.Scope.Buildings, " "), strings.Join(d.Scope.Entrances, " "), strings.Join(d.Scope.Units, " "), d.Scope.Floors,
			short(d.StartsAt), short(d.EndsAt), d.Reason, d.Of, d.Contact, d.Action,
		}
		if got != w {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, w)
		}
	}
	for _, bad := range []string{"", "   ", "通知", "通知：", strings.Repeat("停水", 2000)} {
		if _, err := n.ParseLine(bad, worldtest.Start()); err == nil {
			t.Errorf("%.20q passes", bad)
		}
	}
}

func short(t notify.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(time.FixedZone("CST", 8*3600)).Format("01-02 15:04")
}

func FuzzParseLine(f *testing.F) {
	for _, s := range []string{
		"突发停水 3栋,4栋 主管爆裂抢修 预计18:00恢复", "停电 5号楼 明天9点到11点 配电房检修", "恢复 T0012", "延长 T0012 预计20:00恢复",
		"停水 3-5栋,7栋2单元,3-2-1201 10-18层 今晚10点到明早6点", "台风 全小区", "\xff通知\x00", "１２栋－３０栋", "1-999栋", "99:99到88点",
	} {
		f.Add(s)
	}
	n := reader(f)
	now := worldtest.Start()
	f.Fuzz(func(t *testing.T, s string) {
		d, err := n.ParseLine(s, now)
		if err != nil {
			return
		}
		if len(d.Scope.Buildings)+len(d.Scope.Entrances)+len(d.Scope.Units) > 300 {
			t.Errorf("%d places", len(d.Scope.Buildings)+len(d.Scope.Entrances)+len(d.Scope.Units))
		}
		for _, v := range append(slices.Clone(d.Scope.Buildings), d.Title, d.Reason, d.Action, d.Contact, d.Of, d.Scope.Floors) {
			if !utf8.ValidString(v) || strings.ContainsAny(v, "\x00\n") {
				t.Errorf("unclean: %q", v)
			}
		}
		for _, at := range []notify.Time{d.StartsAt, d.EndsAt} {
			if y := at.Year(); !at.IsZero() && (y < 1 || y > 9999) {
				t.Errorf("year %d", y)
			}
		}
		if _, err := json.Marshal(d); err != nil {
			t.Errorf("draft is no JSON: %v", err)
		}
	})
}
