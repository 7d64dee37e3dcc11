package notify

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"guanjia/internal/estate"
)

// Bounds of what one line may say.
const (
	maxLine   = 2000 // bytes
	maxPlaces = 300  // buildings, entrances or units
	maxRange  = 200  // of one range, such as 3-5栋
)

// ParseLine reads a notice from one line of a work group, with or without the
// word 通知 before it:
//
//	突发停水 3栋,4栋 主管爆裂抢修 预计18:00恢复
//	停电 5号楼 明天9点到11点 配电房检修
//	恢复 T0012
//	延长 T0012 预计20:00恢复
//
// Order and punctuation don't matter, full-width or not. What isn't said is
// left empty, so that Compose fills it or asks for it; a line that names no
// place is asked for one and never goes to everybody. It fails, with a
// *Refused, only for a line that says nothing or is too long.
func (n *Notices) ParseLine(text string, now time.Time) (Draft, error) {
	if len(text) > maxLine {
		return Draft{}, &Refused{Code: RefusedDraft, Message: n.words("line_empty")}
	}
	s := foldLine(text)
	if rest, ok := strings.CutPrefix(s, "通知"); ok {
		s = strings.TrimLeft(rest, " :,")
	}
	if s == "" {
		return Draft{}, &Refused{Code: RefusedDraft, Message: n.words("line_empty")}
	}
	l := &line{n: n, rest: s, now: now.In(localTime())}
	l.number()
	l.kind()
	l.labelled()
	l.times()
	l.places()
	l.contact()
	l.remaining()
	return l.d, nil
}

// line is a text that is taken apart: what was understood is cut out of rest.
type line struct {
	n    *Notices
	rest string
	now  time.Time
	d    Draft
}

// foldLine makes one writing of the many: full-width forms become plain,
// invisible characters go, blanks are single.
func foldLine(s string) string {
	s = norm.NFKC.String(strings.ToValidUTF8(s, ""))
	var b strings.Builder
	blank := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			blank = true
			continue
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			continue
		case strings.ContainsRune("‐‑‒–—―−", r):
			r = '-'
		case r == '～' || r == '〜':
			r = '~'
		case r == '。' || r == ';':
			r = ','
		}
		if blank && b.Len() > 0 {
			b.WriteByte(' ')
		}
		blank = false
		b.WriteRune(r)
	}
	return b.String()
}

// cut takes the bytes from i to j out of what remains.
func (l *line) cut(i, j int) string {
	got := l.rest[i:j]
	l.rest = l.rest[:i] + " " + l.rest[j:]
	return got
}

var numberWord = regexp.MustCompile(`(?i)#?\bT ?([0-9]{1,8})\b`)

func (l *line) number() {
	m := numberWord.FindStringSubmatchIndex(l.rest)
	if m == nil {
		return
	}
	digits := l.rest[m[2]:m[3]]
	l.cut(m[0], m[1])
	l.d.Of = noticeNo("T" + digits)
}

// kind finds what kind of notice it is by the word that stands first. Among
// words that begin at the same place the longest wins.
func (l *line) kind() {
	best, at := heard{}, len(l.rest)
	for _, h := range l.n.kinds.words {
		k := l.n.kinds.Kinds[h.kind]
		if k.Answer && l.d.Of == "" && !startsWith(l.rest, h.word) {
			continue // 预计18:00恢复 is a time; only a line that begins with 恢复 is about it
		}
		if i := strings.Index(l.rest, h.word); i >= 0 && (i < at || i == at && len(h.word) > len(best.word)) {
			best, at = h, i
		}
	}
	// A notice that is answered is named; the word for how may stand anywhere.
	if l.d.Of != "" {
		for _, h := range l.n.kinds.words {
			if l.n.kinds.Kinds[h.kind].Answer && strings.Contains(l.rest, h.word) && (best.word == "" || !l.n.kinds.Kinds[best.kind].Answer) {
				best, at = h, strings.Index(l.rest, h.word)
			}
		}
	}
	if best.word == "" {
		l.d.Kind = "general"
		if l.d.Of != "" {
			l.d.Kind = ""
		}
		return
	}
	l.d.Kind, l.d.Topic = best.kind, best.topic
	switch {
	case best.weather:
		l.d.Title = l.cut(at, at+len(best.word))
		if !strings.Contains(l.d.Title, "天气") {
			l.d.Title += "天气预警"
		}
	case best.kind == "planned_outage" && l.n.isCause(best):
		// 清洗水箱 says what and why at once; it stays as the reason.
	default:
		l.cut(at, at+len(best.word))
	}
	if l.d.Topic == "" && l.n.kinds.Kinds[best.kind].Topics != "any" {
		l.topic()
	}
}

func startsWith(s, word string) bool { return strings.HasPrefix(strings.TrimLeft(s, " ,"), word) }

// isCause tells whether a topic's word is rather its reason: all but those that
// contain 停, 断 or 没.
func (n *Notices) isCause(h heard) bool {
	return h.topic != "" && !strings.ContainsAny(h.word, "停断没跳") && n.kinds.Topics[h.topic].What != ""
}

// topic finds what an outage is about when the word for its kind didn't say.
func (l *line) topic() {
	for code, t := range l.n.kinds.Topics {
		for _, w := range append(slices.Clone(t.Words), t.What, t.Supply) {
			if i := strings.Index(l.rest, w); w != "" && i >= 0 {
				l.cut(i, i+len(w))
				l.d.Topic = code
				return
			}
		}
	}
}

const labelNames = `(标题|主题|原因|提示|请注意|提醒|联系电话|电话|说明) ?`

var (
	labelWord = regexp.MustCompile(labelNames + `: ?([^,:]+)`)
	lastLabel = regexp.MustCompile(labelNames + `$`)
)

// labelled reads parts that are named: 原因:主管爆裂.
func (l *line) labelled() {
	for {
		m := labelWord.FindStringSubmatchIndex(l.rest)
		if m == nil {
			return
		}
		end := m[5]
		if strings.HasPrefix(l.rest[end:], ":") {
			// The value runs up to the next label.
			if i := lastLabel.FindStringIndex(l.rest[m[4]:end]); i != nil && i[0] > 0 {
				end = m[4] + i[0]
			}
		}
		label, value := l.rest[m[2]:m[3]], strings.TrimSpace(l.rest[m[4]:end])
		switch label {
		case "标题", "主题":
			l.d.Title = value
		case "原因", "说明":
			l.d.Reason = value
		case "电话", "联系电话":
			l.d.Contact = value
		default:
			l.d.Action = value
		}
		l.cut(m[0], end)
	}
}

const (
	dayWord   = `(?:今天|今日|今晚|今早|明天|明日|明早|明晚|后天|大后天|(?:本|这|下)?(?:周|星期|礼拜)[一二三四五六日天]|(?:[0-9]{4}[年/.-])?[0-9]{1,2}[月/.-][0-9]{1,2}[日号]?|[0-9]{1,2}[日号])`
	partWord  = `(?:凌晨|清晨|早上|早晨|上午|中午|下午|傍晚|晚上|夜里|夜间|晚)`
	clockWord = `(?:[0-9]{1,2}:[0-9]{2}|(?:[0-9]{1,2}|[一二两三四五六七八九十]{1,3})(?:点|时)(?:半|一刻|三刻|整|[0-9]{1,2}分?)?)`
	momentPat = `(?:` + dayWord + `)? ?(?:` + partWord + `)? ?` + clockWord
)

var (
	stretch  = regexp.MustCompile(`(?:从|自)? ?(` + momentPat + `) ?(?:起|开始)? ?(?:到|至|-|~|—) ?(` + momentPat + `)(?:恢复|结束|完成|左右)?`)
	hours    = regexp.MustCompile(`(?:从|自)? ?((?:` + dayWord + `)? ?(?:` + partWord + `)? ?)([0-9]{1,2}) ?(?:到|至|-|~) ?([0-9]{1,2})(?:点|时)`)
	ending   = regexp.MustCompile(`(?:预计|预估|估计|约|大约|最晚|计划|延长|延|改|推迟)?(?:到|至|于|在)? ?(` + momentPat + `)(?:左右|前|之前|以前)? ?(?:恢复供水|恢复供电|恢复供气|恢复|完成|结束|来水|来电|通水|通电|修好|抢修完毕)`)
	expected = regexp.MustCompile(`(?:预计|预估|估计|最晚|延长到|延长至|延至|延到|推迟到|推迟至)(?:到|至|于|在)? ?(` + momentPat + `)`)
	moment   = regexp.MustCompile(`(?:从|自)? ?(` + momentPat + `)(?:起|开始|左右|许)?`)
	whenPart = regexp.MustCompile(`^(` + dayWord + `)? ?(` + partWord + `)? ?(` + clockWord + `)$`)
	fullDate = regexp.MustCompile(`^(?:([0-9]{4})[年/.-])?([0-9]{1,2})[月/.-]([0-9]{1,2})[日号]?$`)
	dayOnly  = regexp.MustCompile(`^([0-9]{1,2})[日号]$`)
)

// times reads when it begins and ends.
func (l *line) times() {
	restored := l.n.kinds.Kinds[l.d.Kind] != nil && l.n.kinds.Kinds[l.d.Kind].EndsChain
	if m := l.timeMatch(stretch); m != nil {
		from, okFrom := l.moment(l.rest[m[2]:m[3]], time.Time{})
		to, okTo := l.moment(l.rest[m[4]:m[5]], from)
		if okFrom && okTo {
			l.cut(m[0], m[1])
			l.d.StartsAt, l.d.EndsAt = Time{from}, Time{to}
			return
		}
	}
	if m := l.timeMatch(hours); m != nil {
		from, okFrom := l.moment(l.rest[m[2]:m[3]]+l.rest[m[4]:m[5]]+"点", time.Time{})
		to, okTo := l.moment(l.rest[m[6]:m[7]]+"点", from)
		if okFrom && okTo {
			l.cut(m[0], m[1])
			l.d.StartsAt, l.d.EndsAt = Time{from}, Time{to}
			return
		}
	}
	if !restored {
		for _, re := range []*regexp.Regexp{ending, expected} {
			m := l.timeMatch(re)
			if m == nil {
				continue
			}
			text := l.rest[m[2]:m[3]]
			at, ok := l.moment(text, time.Time{})
			if !ok {
				continue
			}
			l.cut(m[0], m[1])
			// An end without a day that has passed is tomorrow's.
			if !at.After(l.now) && !namesDay(text) {
				at = at.AddDate(0, 0, 1)
			}
			l.d.EndsAt = Time{at}
			break
		}
	}
	if m := l.timeMatch(moment); m != nil {
		text := l.rest[m[2]:m[3]]
		if at, ok := l.moment(text, time.Time{}); ok {
			l.cut(m[0], m[1])
			if k := l.n.kinds.Kinds[l.d.Kind]; k != nil && k.Lead && !at.After(l.now) && !namesDay(text) {
				at = at.AddDate(0, 0, 1)
			}
			if k := l.n.kinds.Kinds[l.d.Kind]; k != nil && l.d.EndsAt.IsZero() && len(k.Changes) == 1 && k.Changes[0] == "ends_at" {
				l.d.EndsAt = Time{at} // 延长到20点
				return
			}
			l.d.StartsAt = Time{at}
		}
	}
}

// timeMatch finds a time that isn't the tail of a longer number.
func (l *line) timeMatch(re *regexp.Regexp) []int {
	for from := 0; from < len(l.rest); {
		m := re.FindStringSubmatchIndex(l.rest[from:])
		if m == nil {
			return nil
		}
		for i := range m {
			if m[i] >= 0 {
				m[i] += from
			}
		}
		before, _ := utf8.DecodeLastRuneInString(l.rest[:m[0]])
		after, _ := utf8.DecodeRuneInString(l.rest[m[1]:])
		if !isDigit(before) && before != '-' && !isDigit(after) {
			return m
		}
		from = m[1]
	}
	return nil
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func namesDay(s string) bool {
	m := whenPart.FindStringSubmatch(strings.TrimSpace(s))
	return m != nil && m[1] != ""
}

// moment reads a time of day with its day; after is the beginning of the
// stretch that it ends, whose day and half of the day it shares when it names
// none of its own.
func (l *line) moment(text string, after time.Time) (time.Time, bool) {
	m := whenPart.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return time.Time{}, false
	}
	day, part, clock := m[1], m[2], m[3]
	base := l.now
	if !after.IsZero() {
		base = after
	}
	y, mo, d := base.Date()
	if day != "" {
		var ok bool
		if y, mo, d, ok = l.day(day); !ok {
			return time.Time{}, false
		}
		if part == "" && strings.HasSuffix(day, "晚") {
			part = "晚上"
		}
	}
	hour, minute, ok := clockOf(clock)
	if !ok {
		return time.Time{}, false
	}
	switch part {
	case "下午", "傍晚", "晚上", "晚", "夜里", "夜间":
		if hour < 12 && !(hour < 6 && (part == "夜里" || part == "夜间")) {
			hour += 12
		}
	case "中午":
		if hour < 4 {
			hour += 12
		}
	case "":
		if !after.IsZero() && day == "" && hour < 12 && after.Hour() >= 12 && hour+12 > after.Hour() && !strings.HasPrefix(clock, "0") {
			hour += 12 // 下午2点到5点
		}
	}
	at := time.Date(y, mo, d, hour, minute, 0, 0, localTime())
	if !after.IsZero() && day == "" && !at.After(after) {
		at = at.AddDate(0, 0, 1) // 22点到2点
	}
	return at, true
}

func (l *line) day(s string) (int, time.Month, int, bool) {
	add := func(n int) (int, time.Month, int, bool) {
		y, m, d := l.now.AddDate(0, 0, n).Date()
		return y, m, d, true
	}
	switch s {
	case "今天", "今日", "今晚", "今早":
		return add(0)
	case "明天", "明日", "明早", "明晚":
		return add(1)
	case "后天":
		return add(2)
	case "大后天":
		return add(3)
	}
	if m := fullDate.FindStringSubmatch(s); m != nil {
		year, _ := strconv.Atoi(m[1])
		month, _ := strconv.Atoi(m[2])
		d, _ := strconv.Atoi(m[3])
		if month < 1 || month > 12 || d < 1 || d > 31 {
			return 0, 0, 0, false
		}
		if m[1] == "" {
			year = l.now.Year()
			// A date long past is next year's.
			if time.Date(year, time.Month(month), d, 0, 0, 0, 0, localTime()).Before(l.now.AddDate(0, -6, 0)) {
				year++
			}
		}
		return year, time.Month(month), d, true
	}
	if m := dayOnly.FindStringSubmatch(s); m != nil {
		d, _ := strconv.Atoi(m[1])
		if d < 1 || d > 31 {
			return 0, 0, 0, false
		}
		y, mo, today := l.now.Date()
		if d < today {
			mo++
		}
		return y, mo, d, true
	}
	r, _ := utf8.DecodeLastRuneInString(s)
	weekday := strings.IndexRune("日一二三四五六", r)
	if r == '天' {
		weekday = 0
	}
	if weekday < 0 {
		return 0, 0, 0, false
	}
	weekday /= len("日")
	// A week begins on Monday.
	days := (weekday+6)%7 - (int(l.now.Weekday())+6)%7
	switch {
	case strings.HasPrefix(s, "下"):
		days += 7
	case days < 0:
		days += 7
	}
	return add(days)
}

var chineseHours = map[rune]int{'一': 1, '二': 2, '两': 2, '三': 3, '四': 4, '五': 5, '六': 6, '七': 7, '八': 8, '九': 9}

// clockOf reads 9:30, 9点, 9点半, 十二点一刻, 24点.
func clockOf(s string) (hour, minute int, ok bool) {
	if h, m, found := strings.Cut(s, ":"); found {
		hour, errH := strconv.Atoi(h)
		minute, errM := strconv.Atoi(m)
		return hour, minute, errH == nil && errM == nil && hour <= 24 && minute < 60
	}
	i := strings.IndexAny(s, "点时")
	if i < 0 {
		return 0, 0, false
	}
	head := s[:i]
	_, size := utf8.DecodeRuneInString(s[i:])
	tail := strings.TrimSuffix(s[i+size:], "分")
	hour, err := strconv.Atoi(head)
	if err != nil {
		hour = chineseHour(head)
	}
	switch tail {
	case "", "整":
	case "半":
		minute = 30
	case "一刻":
		minute = 15
	case "三刻":
		minute = 45
	default:
		if minute, err = strconv.Atoi(tail); err != nil {
			return 0, 0, false
		}
	}
	return hour, minute, hour >= 0 && hour <= 24 && minute < 60
}

func chineseHour(s string) int {
	before, after, tens := strings.Cut(s, "十")
	value := func(s string, empty int) int {
		if s == "" {
			return empty
		}
		r, size := utf8.DecodeRuneInString(s)
		v, ok := chineseHours[r]
		if !ok || size != len(s) {
			return -100
		}
		return v
	}
	if !tens {
		return value(s, -1)
	}
	return value(before, 1)*10 + value(after, 0)
}

const (
	numPat    = `(?:[A-Za-z]?[0-9]{1,3}|[A-Za-z]|[一二三四五六七八九十]{1,3})`
	bldMark   = `(?:号楼|栋楼|号院|栋|幢|座|#楼?)`
	sepPat    = ` ?(?:,|、|/|和|及|与|至|到|-|~| ) ?`
	entMark   = `(?:单元|门洞|门)`
	roomPat   = `[0-9]{3,4}[A-Za-z]?`
	floorsPat = `(?:[0-9]{1,3} ?(?:-|~|至|到) ?[0-9]{1,3} ?(?:楼层|层)|[0-9]{1,3} ?(?:楼层|层)(?:及|以)?(?:以上|以下|上|下)?)`
)

var (
	wholeWord = regexp.MustCompile(`全小区|整个小区|全体住户|全体业主|全部楼栋|所有楼栋|小区全部|全区`)
	unitRange = regexp.MustCompile(numPat + `(?:` + bldMark + `|-)` + `[0-9]{1,2}(?:` + entMark + `|-)` + roomPat + `(?:室|号房|房|号)?`)
	entrances = regexp.MustCompile(`(` + numPat + `)` + bldMark + ` ?([0-9]{1,2}(?:` + sepPat + `[0-9]{1,2})*) ?` + entMark)
	entDash   = regexp.MustCompile(`(` + numPat + `)-([0-9]{1,2})` + entMark)
	buildings = regexp.MustCompile(numPat + bldMark + `?(?:` + sepPat + numPat + bldMark + `?)*`)
	oneBuild  = regexp.MustCompile(`(` + numPat + `)(` + bldMark + `)?`)
	floors    = regexp.MustCompile(floorsPat)
	hasMark   = regexp.MustCompile(bldMark)
	rangeSep  = regexp.MustCompile(`至|到|-|~`)
)

// places reads whom it is for: units, entrances, floors, buildings, in this
// order, since the longer writing holds the shorter one.
func (l *line) places() {
	s := &l.d.Scope
	whole := false
	if m := wholeWord.FindStringIndex(l.rest); m != nil {
		l.cut(m[0], m[1])
		whole = true
	}
	l.each(unitRange, func(text string) int {
		code, ok := estate.ParseUnitCode(text)
		if !ok {
			return 0
		}
		s.Units = append(s.Units, code)
		return len(text)
	})
	l.each(entDash, func(text string) int {
		m := entDash.FindStringSubmatch(text)
		code, ok := estate.ParseEntrance(m[1] + "-" + m[2])
		if !ok {
			return 0
		}
		s.Entrances = append(s.Entrances, code)
		return len(text)
	})
	l.each(entrances, func(text string) int {
		m := entrances.FindStringSubmatch(text)
		list, _ := expand(m[2])
		for _, e := range list {
			code, ok := estate.ParseEntrance(m[1] + "栋" + e + "单元")
			if !ok {
				return 0
			}
			s.Entrances = append(s.Entrances, code)
		}
		return len(text) * min(len(list), 1)
	})
	l.each(floors, func(text string) int {
		if _, ok := estate.ParseFloors(text); !ok {
			return 0
		}
		if s.Floors != "" {
			s.Floors += ","
		}
		s.Floors += strings.NewReplacer(" ", "", "及以上", "以上", "及以下", "以下").Replace(text)
		return len(text)
	})
	l.each(buildings, func(text string) int {
		if !hasMark.MatchString(text) {
			return 0
		}
		list, used := expand(text)
		s.Buildings = append(s.Buildings, list...)
		return used
	})
	s.Buildings, s.Entrances, s.Units = once(s.Buildings), once(s.Entrances), once(s.Units)
	if len(s.Buildings)+len(s.Entrances)+len(s.Units) > maxPlaces {
		s.Buildings, s.Entrances, s.Units = nil, nil, nil
	}
	if s.whole() && !whole && l.d.Of == "" {
		l.d.unsaid = append(l.d.unsaid, "scope")
	}
}

// each hands every match of a pattern to f and cuts out the bytes that f took.
// A match that is the tail of a longer number or a time is passed over.
func (l *line) each(re *regexp.Regexp, f func(text string) int) {
	for from := 0; from < len(l.rest); {
		m := re.FindStringIndex(l.rest[from:])
		if m == nil {
			return
		}
		i := from + m[0]
		text := strings.TrimRight(l.rest[i:from+m[1]], " ,、/")
		before, _ := utf8.DecodeLastRuneInString(l.rest[:i])
		used := 0
		if !isDigit(before) && before != ':' {
			used = f(text)
		}
		if used == 0 {
			_, size := utf8.DecodeRuneInString(l.rest[i:])
			from = max(i+len(text), i+size)
			continue
		}
		l.cut(i, i+used)
		from = i
	}
}

// expand turns a list of buildings or entrances into codes: 3,4栋 and 3栋-5栋
// and 1、2. used is how many bytes belong to it: up to the last mark, unless
// none has one. Nothing is used of what is no such list.
func expand(text string) (out []string, used int) {
	marked := hasMark.MatchString(text)
	var pending []string // numbers that wait for a mark behind them
	pos, join := 0, ""
	for _, m := range oneBuild.FindAllStringSubmatchIndex(text, -1) {
		code, ok := estate.ParseBuilding(text[m[2]:m[3]])
		if !ok {
			return nil, 0
		}
		list := []string{code}
		if pos > 0 && rangeSep.MatchString(text[pos:m[0]]) {
			if list, ok = between(join, code); !ok {
				return nil, 0
			}
		}
		pending = append(pending, list...)
		join, pos = code, m[1]
		if !marked || m[4] >= 0 {
			out, pending, used = append(out, pending...), nil, m[1]
		}
		if len(out)+len(pending) > maxPlaces {
			return nil, 0
		}
	}
	return once(out), used
}

// between lists the numbers after a up to b.
func between(a, b string) ([]string, bool) {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	if errX != nil || errY != nil || y <= x || y-x > maxRange {
		return nil, false
	}
	var out []string
	for i := x + 1; i <= y; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out, true
}

var phoneWord = regexp.MustCompile(`(?:联系电话|咨询电话|电话|联系|咨询|请拨打|拨打|致电)? ?:? ?(0[0-9]{2,3}-?[0-9]{7,8}|400-?[0-9]{3}-?[0-9]{4}|1[3-9][0-9]{9}|95[0-9]{3,4})`)

func (l *line) contact() {
	m := l.timeMatch(phoneWord)
	if m == nil {
		return
	}
	if l.d.Contact == "" {
		l.d.Contact = l.rest[m[2]:m[3]]
	}
	l.cut(m[0], m[1])
}

// remaining takes what was not understood: what begins with 请 is what to do,
// the rest is the reason; of a general notice the first is the title.
func (l *line) remaining() {
	var words []string
	for _, w := range strings.FieldsFunc(l.rest, func(r rune) bool { return r == ' ' || r == ',' || r == '|' }) {
		w = strings.Trim(w, " :,-~!、")
		switch {
		case w == "" || filler[w]:
		case strings.HasPrefix(w, "请") && l.d.Action == "":
			l.d.Action = w
		case l.d.Kind == "general" && l.d.Title == "":
			l.d.Title = w
		default:
			words = append(words, strings.TrimPrefix(strings.TrimPrefix(w, "由于"), "因"))
		}
	}
	if l.d.Reason == "" {
		l.d.Reason = strings.Join(words, "，")
	}
}

// filler are words that say nothing once the times and places are taken out.
var filler = map[string]bool{
	"预计": true, "恢复": true, "从": true, "自": true, "起": true, "开始": true, "影响": true, "范围": true, "楼栋": true, "的": true, "和": true, "将": true, "于": true, "在": true, "进行": true,
	"到": true, "至": true, "改为": true, "改到": true, "延长到": true, "延至": true, "时间": true, "左右": true,
}
