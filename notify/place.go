package notify

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"guanjia/internal/calendar"
	"guanjia/internal/estate"
)

// Longest place in an SMS (attribute address) and in a template message (thing).
const (
	longestPlace      = 30
	longestPlaceShort = 20
)

// placeOf says a scope in words, in at most the given characters: 3栋、4栋,
// 3至6栋, 3栋2单元, 全小区. What is too long is summed up: each reader is told
// because his home is in it.
func placeOf(s Scope, roleWord func(string) string, most int) string {
	var parts []string
	parts = append(parts, buildingWords(canonical(s.Buildings, estate.ParseBuilding))...)
	parts = append(parts, entranceWords(canonical(s.Entrances, estate.ParseEntrance))...)
	units := canonical(s.Units, estate.ParseUnitCode)
	for _, u := range units {
		parts = append(parts, unitWords(u))
	}
	tail := floorWords(s.Floors)
	if len(s.Roles) > 0 {
		var roles []string
		for _, r := range s.Roles {
			roles = append(roles, roleWord(r))
		}
		tail += strings.Join(roles, "、")
	}
	if len(parts) == 0 {
		parts = []string{"全小区"}
	}
	whole := strings.Join(parts, "、") + tail
	if utf8.RuneCountInString(whole) <= most {
		return whole
	}
	sum := strconv.Itoa(len(s.Buildings)) + "栋楼"
	switch {
	case len(s.Buildings) > 0 && len(s.Entrances)+len(units) > 0:
		sum = "多处"
	case len(s.Entrances) > 0 && len(units) == 0:
		sum = strconv.Itoa(len(s.Entrances)) + "个单元"
	case len(units) > 0 && len(s.Entrances) == 0:
		sum = strconv.Itoa(len(units)) + "户"
	case len(s.Entrances)+len(units) > 0:
		sum = "多处"
	}
	for _, try := range []string{parts[0] + "等" + sum + tail, parts[0] + "等" + sum, "您家所在范围"} {
		if utf8.RuneCountInString(try) <= most {
			return try
		}
	}
	return "您家所在范围"
}

// canonical gives codes as the tables write them, sorted as people count, once each.
func canonical(list []string, parse func(string) (string, bool)) []string {
	var out []string
	for _, s := range list {
		if code, ok := parse(s); ok {
			s = code
		}
		out = append(out, s)
	}
	slices.SortFunc(out, byCount)
	return slices.Compact(out)
}

// byCount sorts 2 before 10.
func byCount(a, b string) int {
	for a != "" && b != "" {
		na, ra := leadingNumber(a)
		nb, rb := leadingNumber(b)
		if na >= 0 && nb >= 0 {
			if na != nb {
				return na - nb
			}
			a, b = ra, rb
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func leadingNumber(s string) (int, string) {
	i := 0
	for i < len(s) && i < 9 && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	if i == 0 {
		return -1, s
	}
	n, err := strconv.Atoi(s[:i])
	if err != nil {
		return -1, s
	}
	return n, s[i:]
}

// buildingWords joins three and more consecutive numbers: 3至6栋.
func buildingWords(codes []string) []string {
	var out []string
	for i := 0; i < len(codes); {
		j := i
		for j+1 < len(codes) && follows(codes[j], codes[j+1]) {
			j++
		}
		if j-i >= 2 {
			out = append(out, codes[i]+"至"+codes[j]+"栋")
			i = j + 1
			continue
		}
		out = append(out, codes[i]+"栋")
		i++
	}
	return out
}

func follows(a, b string) bool {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	return errX == nil && errY == nil && y == x+1
}

func entranceWords(codes []string) []string {
	var out []string
	for _, c := range codes {
		b, e, ok := strings.Cut(c, "-")
		if !ok {
			out = append(out, c)
			continue
		}
		out = append(out, b+"栋"+e+"单元")
	}
	return out
}

func unitWords(code string) string {
	p := strings.Split(code, "-")
	if len(p) != 3 {
		return code
	}
	return p[0] + "栋" + p[1] + "单元" + p[2] + "室"
}

func floorWords(s string) string {
	ranges, ok := estate.ParseFloors(s)
	if !ok || len(ranges) == 0 {
		return ""
	}
	var out []string
	for _, r := range ranges {
		from, to := strconv.Itoa(r.From), strconv.Itoa(r.To)
		switch {
		case r.From == r.To:
			out = append(out, from+"层")
		case r.To >= 200:
			out = append(out, from+"层及以上")
		case r.From <= 1:
			out = append(out, to+"层及以下")
		default:
			out = append(out, from+"至"+to+"层")
		}
	}
	return strings.Join(out, "、")
}

// covers tells whether a home lies in a scope. Roles are not asked: whoever
// lives there may ask why there is no water.
func covers(s Scope, unitCode, building string) bool {
	if s.whole() {
		return true
	}
	p := strings.Split(unitCode, "-")
	if slices.Contains(canonical(s.Units, estate.ParseUnitCode), unitCode) {
		return true
	}
	if !onFloor(s.Floors, p[len(p)-1]) {
		return false
	}
	if len(s.Buildings)+len(s.Entrances)+len(s.Units) == 0 {
		return true
	}
	if slices.Contains(canonical(s.Buildings, estate.ParseBuilding), building) {
		return true
	}
	return len(p) == 3 && slices.Contains(canonical(s.Entrances, estate.ParseEntrance), p[0]+"-"+p[1])
}

func onFloor(floors, room string) bool {
	ranges, ok := estate.ParseFloors(floors)
	if !ok || len(ranges) == 0 {
		return true
	}
	f := max(estate.FloorOf(room), 1)
	return slices.ContainsFunc(ranges, func(r estate.FloorRange) bool { return r.From <= f && f <= r.To })
}

// buildingsOf names the buildings that a scope touches; nil means all.
func buildingsOf(s Scope) []string {
	if len(s.Buildings)+len(s.Entrances)+len(s.Units) == 0 {
		return nil
	}
	out := canonical(s.Buildings, estate.ParseBuilding)
	for _, c := range append(canonical(s.Entrances, estate.ParseEntrance), canonical(s.Units, estate.ParseUnitCode)...) {
		b, _, _ := strings.Cut(c, "-")
		out = append(out, b)
	}
	slices.SortFunc(out, byCount)
	return slices.Compact(out)
}

// Times as the channels take them.

// smsTime is a moment in an SMS: the vendor's attribute time takes no year and
// no weekday.
func smsTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(localTime()).Format("1月2日 15:04")
}

func longTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(localTime()).Format("2006年1月2日 15:04")
}

func period(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return ""
	}
	return longTime(from) + "~" + longTime(to)
}

// quietEnd tells when quiet hours that hold at a moment end; ok is false
// outside of them. from and to are local times such as 22:00.
func quietEnd(at time.Time, from, to string) (time.Time, bool) {
	if from == to {
		return time.Time{}, false
	}
	f, errF := time.Parse("15:04", from)
	u, errU := time.Parse("15:04", to)
	if errF != nil || errU != nil {
		return time.Time{}, false
	}
	local := at.In(localTime())
	y, m, d := local.Date()
	clock := func(day int, c time.Time) time.Time {
		return time.Date(y, m, d+day, c.Hour(), c.Minute(), 0, 0, localTime())
	}
	for _, day := range []int{-1, 0} {
		begin, end := clock(day, f), clock(day, u)
		if !end.After(begin) {
			end = clock(day+1, u)
		}
		if !local.Before(begin) && local.Before(end) {
			return end, true
		}
	}
	return time.Time{}, false
}

// overlaps names the first of the windows of a day that a stretch of time
// touches.
func overlaps(windows []calendar.Period, from, to time.Time) (string, bool) {
	from, to = from.In(localTime()), to.In(localTime())
	y, m, d := from.Date()
	for day := range 8 { // a week tells as much as a month
		midnight := time.Date(y, m, d+day, 0, 0, 0, 0, localTime())
		if !midnight.Before(to) {
			return "", false
		}
		for _, w := range windows {
			begin := midnight.Add(time.Duration(w.From) * time.Minute)
			end := midnight.Add(time.Duration(w.To) * time.Minute)
			if begin.Before(to) && from.Before(end) {
				return w.From.String() + "-" + w.To.String(), true
			}
		}
	}
	return "", false
}
