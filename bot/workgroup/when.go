package workgroup

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// whenWords is a date as members type it: 明天12:00, 今天 18点, 11月30日 9:30,
// 11-30 14:00, 14:00, and what stands behind it.
var whenWords = regexp.MustCompile(`^(?:(今天|明天|后天|(?:\d{1,2})\s*(?:月|[-/.])\s*\d{1,2}\s*(?:日|号)?)\s*)?(上午|下午|晚上|中午)?\s*(\d{1,2})\s*(?:[:：点时]\s*(\d{1,2}|半)?)\s*分?\s*(?:前|之前|以前)?(.*)$`)

var dayMonth = regexp.MustCompile(`^(\d{1,2})\D+(\d{1,2})`)

// parseWhen reads a date off the head of a text; rest is what follows. A day of
// the year that has passed is next year's.
func parseWhen(text string, now time.Time) (at time.Time, rest string, ok bool) {
	zone := time.FixedZone("Asia/Shanghai", 8*3600)
	now = now.In(zone)
	m := whenWords.FindStringSubmatch(strings.TrimSpace(fold(strings.ReplaceAll(text, "\n", " "))))
	if m == nil {
		return time.Time{}, "", false
	}
	hour, minute := atoi(m[3]), 0
	switch {
	case m[4] == "半":
		minute = 30
	case m[4] != "":
		minute = atoi(m[4])
	}
	if (m[2] == "下午" || m[2] == "晚上" || m[2] == "中午" && hour < 11) && hour < 12 {
		hour += 12
	}
	if hour > 23 || minute > 59 {
		return time.Time{}, "", false
	}
	day := time.Date(now.Year(), now.Month(), now.Day(), hour, minute, 0, 0, zone)
	switch {
	case m[1] == "" || m[1] == "今天":
	case m[1] == "明天":
		day = day.AddDate(0, 0, 1)
	case m[1] == "后天":
		day = day.AddDate(0, 0, 2)
	default:
		d := dayMonth.FindStringSubmatch(m[1])
		month, date := atoi(d[1]), atoi(d[2])
		day = time.Date(now.Year(), time.Month(month), date, hour, minute, 0, 0, zone)
		if month < 1 || month > 12 || day.Day() != date {
			return time.Time{}, "", false
		}
		if day.Before(now.AddDate(0, -6, 0)) {
			day = day.AddDate(1, 0, 0)
		}
	}
	rest = strings.TrimFunc(strings.TrimLeftFunc(m[5], separator), unicode.IsSpace)
	return day, rest, true
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1 // the pattern lets digits through and nothing else
	}
	return n
}
