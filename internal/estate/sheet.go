package estate

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Sheet is what an Excel file of a property company says: homes and their
// people, row by row.
type Sheet struct {
	Project string // name in the file's own column, when all rows agree
	Units   []SheetUnit
	Ignored []string // headers that the import has no use for
	Rows    int      // rows that were read, good and bad
	// Warnings are what the reader should know and what stops nothing.
	Warnings []RowProblem
}

// SheetUnit is one home of the file, of one or several rows.
type SheetUnit struct {
	Row                      int // the first
	Building, Entrance, Room string
	Floor                    int
	Kind                     string // "" when the file doesn't say
	Vacant                   *bool  // nil when the file doesn't say
	People                   []SheetPerson
}

// Code is the canonical code of the home.
func (u SheetUnit) Code() string { return u.Building + "-" + u.Entrance + "-" + u.Room }

// SheetPerson is a person of a home. A person with several phones stands there
// once for each, since a resident has one phone.
type SheetPerson struct {
	Row         int
	Name, Phone string // Phone: 11 digits, or empty
	Role        string
}

// RowProblem says what is wrong with a row of the file. Words for people are
// those of ImportWords; Vars may hold what stands in the file.
type RowProblem struct {
	Sheet  string // name of the worksheet, empty when there is only one
	Row    int    // as Excel counts, from 1
	Column string // letters and header, such as "E 手机"
	Code   string
	Vars   map[string]string
}

// Codes of a RowProblem that stops the import.
const (
	RowNoBuilding  = "no_building"
	RowBadBuilding = "bad_building"
	RowNoEntrance  = "no_entrance"
	RowBadEntrance = "bad_entrance"
	RowNoRoom      = "no_room"
	RowBadRoom     = "bad_room"
	RowDisagree    = "disagree" // the room column names another building or entrance
	RowBadPhone    = "bad_phone"
	RowShortPhone  = "short_phone" // scientific form, digits are lost
	RowNamePhones  = "name_phones" // as many names as phones, or one of either
	RowNoName      = "no_name"
	RowLongName    = "long_name"
	RowBadRole     = "bad_role"
	RowBadKind     = "bad_kind"
	RowBadFloor    = "bad_floor"
	RowDate        = "date"     // Excel has made a date of it
	RowFormula     = "formula"  // never calculated
	RowFault       = "fault"    // #REF! and the like
	RowProject     = "project"  // another project than the rows above, or than the one asked for
	RowTwoKinds    = "two_says" // two rows of one home disagree on vacancy or kind
)

// Codes of a RowProblem that is a warning.
const (
	RowLandline    = "landline"     // no SMS reaches it, so it is left out
	RowSamePhone   = "same_phone"   // the number stands with another name above
	RowParking     = "parking"      // no home: a parking space or store room
	RowNoEntrances = "no_entrances" // the file knows no entrances; all are entrance 1
	RowOccupancy   = "occupancy"    // word not known, so it is left out
)

// ReadSheet reads an .xlsx file of residents. Bad rows come as problems, all of
// them; then the file must not be applied. A file that cannot be read at all is
// a *FileError.
func ReadSheet(r io.Reader) (Sheet, []RowProblem, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxImportFile+1))
	if err != nil {
		return Sheet{}, nil, fmt.Errorf("estate: read import file: %w", err)
	}
	if len(b) > MaxImportFile {
		return Sheet{}, nil, &FileError{FileTooBig}
	}
	sheets, err := readWorkbook(b)
	if err != nil {
		return Sheet{}, nil, err
	}
	return readSheets(sheets)
}

func readSheets(sheets []worksheet) (Sheet, []RowProblem, error) {
	s := &sheetReader{units: map[string]int{}, phones: map[string]namedRow{}}
	headed := 0
	for _, w := range sheets {
		if len(w.rows) == 0 {
			continue
		}
		h, ok := findHeader(w)
		if !ok {
			continue
		}
		headed++
		s.read(w, h)
	}
	switch {
	case headed == 0:
		return Sheet{}, nil, &FileError{FileNoHeader}
	case s.out.Rows == 0:
		return Sheet{}, nil, &FileError{FileNoRows}
	}
	if headed == 1 { // its name says nothing
		for _, list := range [][]RowProblem{s.problems, s.out.Warnings} {
			for i := range list {
				list[i].Sheet = ""
			}
		}
	}
	return s.out, s.problems, nil
}

// What a column is.
type columnKind int

const (
	colNone columnKind = iota
	colProject
	colBuilding
	colEntrance
	colRoom
	colFloor
	colName
	colPhone
	colRole
	colOccupancy
	colVacant // 是否空置: yes means vacant
	colKind
)

// headers are the words by which property companies call their columns, after
// headerWord has made them plain.
var headers = map[columnKind][]string{
	colProject:  {"项目", "项目名称", "小区", "小区名称", "楼盘", "楼盘名称", "园区", "所属项目", "所属小区"},
	colBuilding: {"楼栋", "楼号", "栋号", "楼栋号", "幢", "幢号", "栋", "座", "座号", "楼座", "楼幢", "楼宇", "号楼", "楼", "楼栋名称", "楼宇名称", "所属楼栋", "栋座", "楼栋/座", "栋数", "大楼"},
	colEntrance: {"单元", "单元号", "门洞", "门洞号", "单元门", "门", "梯号", "梯", "单元名称", "所属单元", "楼门"},
	colRoom:     {"房号", "室号", "房间", "房间号", "房间号码", "房屋", "房屋编号", "房屋号", "房屋编码", "房屋地址", "房产", "门牌号", "门牌", "室", "户号", "房产编号", "房间编号", "铺号", "商铺号", "房屋坐落", "门号", "单元房号", "房屋名称", "住址", "地址"},
	colFloor:    {"楼层", "层", "层数", "所在楼层", "所在层", "层号"},
	colName:     {"姓名", "名字", "名称", "联系人", "客户", "户主", "人员", "住户", "业主", "租户", "租客", "承租人", "商户", "店主", "产权人", "家属", "成员", "家庭成员", "本人"},
	colPhone:    {"手机", "手机号", "手机号码", "电话", "电话号码", "联系电话", "联系方式", "联系手机", "移动电话", "备用电话", "备用手机", "联系号码", "手机电话", "电话手机", "号码", "其他电话", "紧急联系电话", "联系人电话"},
	colRole:     {"与业主关系", "与户主关系", "与产权人关系", "关系", "身份", "类型", "类别", "角色", "人员身份", "人员类型", "人员类别", "住户身份", "性质", "属性"},
	colOccupancy: {"入住状态", "状态", "居住状态", "入住情况", "居住情况", "房屋状态", "使用状态", "房屋状况", "使用情况", "是否入住", "入住", "房态", "占用状态", "房间状态",
		"住户状态"},
	colVacant: {"是否空置", "空置", "空置状态", "是否空置房"},
	colKind:   {"房屋类型", "房产类型", "物业类型", "业态", "房屋用途", "用途", "房屋性质", "房间类型", "产品类型", "房屋类别", "物业性质"},
}

// owners of a name or phone column: 业主姓名, 租户电话.
var columnRoles = []struct{ word, role string }{
	{"承租人", RoleTenant}, {"租户", RoleTenant}, {"租客", RoleTenant}, {"租赁人", RoleTenant}, {"租住人", RoleTenant},
	{"商户", RoleMerchant}, {"店主", RoleMerchant}, {"商铺经营者", RoleMerchant}, {"经营者", RoleMerchant},
	{"家庭成员", RoleFamily}, {"家属", RoleFamily}, {"同住人", RoleFamily}, {"配偶", RoleFamily},
	{"暂住户", RoleShortStay}, {"暂住人", RoleShortStay}, {"短租客", RoleShortStay},
	{"业主", RoleOwner}, {"产权人", RoleOwner}, {"户主", RoleOwner}, {"房东", RoleOwner}, {"房主", RoleOwner},
}

// neutral words before name and phone say nothing about the role.
var neutralWords = []string{"住户", "客户", "业户", "居民", "人员", "主要", "第一", "第二", "本人"}

type headerColumn struct {
	kind  columnKind
	role  string // of a name or phone column, "" when it says none
	label string // letters and header
}

type header struct {
	row     int // index in rows
	columns map[int]headerColumn
	groups  []personGroup
	ignored []string
}

// personGroup is a name column with the phone columns that belong to it.
type personGroup struct {
	name   int // -1: none
	phones []int
	role   string
}

// headerWord makes a header plain: 业主 姓名（必填）* is 业主姓名.
func headerWord(s string) string {
	s = fold(s)
	for _, pair := range [][2]string{{"(", ")"}, {"[", "]"}, {"【", "】"}, {"〔", "〕"}} {
		for {
			before, rest, opened := strings.Cut(s, pair[0])
			_, after, closed := strings.Cut(rest, pair[1])
			if !opened || !closed {
				break
			}
			s = before + after
		}
	}
	return strings.TrimRightFunc(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || strings.ContainsRune("*:：·.、_-", r) {
			return -1
		}
		return r
	}, s), func(r rune) bool { return unicode.IsDigit(r) || strings.ContainsRune("一二三①②③", r) })
}

// headerKind tells what a header names, and whose names or phones.
func headerKind(s string) (columnKind, string) {
	word := headerWord(s)
	for kind, words := range headers {
		if slices.Contains(words, word) {
			if kind == colName {
				return colName, roleOfColumn(word)
			}
			return kind, ""
		}
	}
	role := ""
	for _, c := range columnRoles {
		if rest, ok := strings.CutPrefix(word, c.word); ok && rest != "" {
			word, role = rest, c.role
			break
		}
	}
	for _, n := range neutralWords {
		word = strings.TrimPrefix(word, n)
	}
	for _, kind := range []columnKind{colName, colPhone} {
		if slices.Contains(headers[kind], word) {
			return kind, role
		}
	}
	if role == "" && slices.Contains(headers[colRole], word) {
		return colRole, ""
	}
	return colNone, ""
}

func roleOfColumn(word string) string {
	for _, c := range columnRoles {
		if c.word == word {
			return c.role
		}
	}
	return ""
}

// headerRows is how far down the row with the column names is looked for: above
// it stand titles, dates and who made the list.
const headerRows = 30

// findHeader looks for the row that names the columns: one names the room, and
// there are names, phones or the building.
func findHeader(w worksheet) (header, bool) {
	best, bestScore := header{}, 0
	for i, r := range w.rows[:min(len(w.rows), headerRows)] {
		h := header{row: i, columns: map[int]headerColumn{}}
		kinds := map[columnKind]int{}
		for col := range r.cells {
			text := r.at(col).text
			if text == "" {
				continue
			}
			kind, role := headerKind(text)
			if kind == colNone {
				h.ignored = append(h.ignored, text)
				continue
			}
			if role == "" && (kind == colName || kind == colPhone) && i > 0 {
				role = roleAbove(w, i, col)
			}
			if kinds[kind] > 0 && kind != colName && kind != colPhone {
				h.ignored = append(h.ignored, text)
				continue // a second building or room: the first is taken
			}
			kinds[kind]++
			h.columns[col] = headerColumn{kind, role, columnName(col) + " " + text}
		}
		if kinds[colRoom] == 0 || kinds[colName]+kinds[colPhone]+kinds[colBuilding] == 0 {
			continue
		}
		if len(kinds) > bestScore {
			best, bestScore = h, len(kinds)
		}
	}
	best.groups = groupColumns(best.columns)
	return best, bestScore > 0
}

// roleAbove reads the role from a heading that spans several columns (业主信息
// above 姓名 and 电话).
func roleAbove(w worksheet, i, col int) string {
	above := w.rows[i-1]
	text := above.at(col).text
	for _, m := range w.merges {
		if text == "" && m.fromRow == above.n && m.fromCol <= col && col <= m.toCol {
			text = above.at(m.fromCol).text
		}
	}
	word := headerWord(text)
	if len([]rune(word)) > 8 {
		return "" // the title of the whole list
	}
	for _, c := range columnRoles {
		if strings.HasPrefix(word, c.word) {
			return c.role
		}
	}
	return ""
}

// groupColumns puts each phone column with the name column it belongs to: the
// one of the same role, or the nearest to the left.
func groupColumns(columns map[int]headerColumn) []personGroup {
	order := make([]int, 0, len(columns))
	for col := range columns {
		order = append(order, col)
	}
	slices.Sort(order)
	var groups []personGroup
	for _, col := range order {
		if columns[col].kind == colName {
			groups = append(groups, personGroup{name: col, role: columns[col].role})
		}
	}
	for _, col := range order {
		c := columns[col]
		if c.kind != colPhone {
			continue
		}
		at := -1
		for i, g := range groups {
			same := g.role == c.role
			if c.role == "" {
				same = g.name >= 0 && g.name < col || at < 0
			}
			if same {
				at = i
			}
		}
		if at < 0 && len(groups) == 1 && groups[0].role == "" {
			at = 0
			groups[0].role = c.role
		}
		if at < 0 {
			groups = append(groups, personGroup{name: -1, role: c.role})
			at = len(groups) - 1
		}
		groups[at].phones = append(groups[at].phones, col)
	}
	return groups
}

type namedRow struct {
	name string
	row  int
}

type sheetReader struct {
	out      Sheet
	problems []RowProblem
	units    map[string]int      // code -> index in out.Units
	phones   map[string]namedRow // phone -> who had it first
	warned   bool                // that there are no entrances
	// of the sheet that is being read
	sheet       string
	header      header
	sheetPlace  string // building, when the sheet's name is one
	noEntrances bool
}

func (s *sheetReader) read(w worksheet, h header) {
	s.sheet, s.header, s.sheetPlace = w.name, h, ""
	if code, ok := ParseBuilding(w.name); ok && strings.ContainsAny(w.name, "栋幢座楼#") {
		s.sheetPlace = code
	}
	for _, text := range h.ignored {
		if !slices.Contains(s.out.Ignored, text) {
			s.out.Ignored = append(s.out.Ignored, text)
		}
	}
	_, hasEntrance := s.column(colEntrance)
	s.noEntrances = !hasEntrance
	rows := spread(w.rows[h.row+1:], w.merges, h)
	for _, r := range rows {
		s.row(r)
	}
}

func (s *sheetReader) column(kind columnKind) (int, bool) {
	at, found := -1, false
	for col, c := range s.header.columns {
		if c.kind == kind {
			at, found = col, true
		}
	}
	return at, found
}

// spread writes the value of a merged range into the rows it spans. A phone is
// spread only to a row that has the same name.
func spread(rows []row, merges []mergedRange, h header) []row {
	if len(rows) == 0 {
		return nil
	}
	byRow := make(map[int]int, len(rows))
	for i := range rows {
		rows[i].cells = slices.Clone(rows[i].cells)
		byRow[rows[i].n] = i
	}
	last := rows[len(rows)-1].n
	for _, phones := range []bool{false, true} {
		for _, m := range merges {
			c, known := h.columns[m.fromCol]
			if !known || m.fromRow == m.toRow || (c.kind == colPhone) != phones {
				continue
			}
			top, ok := byRow[m.fromRow]
			if !ok {
				continue
			}
			value := rows[top].at(m.fromCol)
			if value == (cell{}) {
				continue
			}
			for n := m.fromRow + 1; n <= min(m.toRow, last); n++ {
				i, ok := byRow[n]
				if !ok {
					continue // an empty row stays empty
				}
				if phones && !sameNames(rows[top], rows[i], h) {
					continue
				}
				for len(rows[i].cells) <= m.fromCol {
					rows[i].cells = append(rows[i].cells, cell{})
				}
				rows[i].cells[m.fromCol] = value
			}
		}
	}
	return rows
}

func sameNames(a, b row, h header) bool {
	for _, g := range h.groups {
		if g.name >= 0 && a.at(g.name).text != b.at(g.name).text {
			return false
		}
	}
	return true
}

// footers begin rows below the list that are no home.
var footers = []string{"合计", "总计", "小计", "备注", "制表", "说明", "注:", "注：", "填表", "审核", "统计", "日期"}

func (s *sheetReader) row(r row) {
	first, filled := "", 0
	for col := range s.header.columns {
		if r.at(col) != (cell{}) {
			filled++
		}
	}
	for _, c := range r.cells {
		if c.text != "" {
			first = c.text
			break
		}
	}
	if filled == 0 || slices.ContainsFunc(footers, func(f string) bool { return strings.HasPrefix(strings.ReplaceAll(first, " ", ""), f) }) {
		return
	}
	roomCol, _ := s.column(colRoom)
	if kind, _ := headerKind(r.at(roomCol).text); kind == colRoom {
		return // the header, repeated on every printed page
	}
	s.out.Rows++
	before := len(s.problems)
	s.refuseBroken(r)
	if len(s.problems) > before {
		return
	}
	if s.parking(r) {
		return
	}
	s.project(r)
	unit, ok := s.place(r)
	unit.Kind = s.kind(r, unit.Kind)
	unit.Vacant = s.vacant(r)
	people := s.people(r, unit.Kind)
	if !ok || len(s.problems) > before {
		return
	}
	unit.Row = r.n
	s.add(unit, people)
}

func (s *sheetReader) problem(r row, col int, code string, vars ...string) {
	s.problems = append(s.problems, s.about(r, col, code, vars))
}

func (s *sheetReader) warn(r row, col int, code string, vars ...string) {
	s.out.Warnings = append(s.out.Warnings, s.about(r, col, code, vars))
}

func (s *sheetReader) about(r row, col int, code string, vars []string) RowProblem {
	p := RowProblem{Sheet: s.sheet, Row: r.n, Code: code, Vars: map[string]string{}}
	if c, ok := s.header.columns[col]; ok {
		p.Column = c.label
	}
	for i := 0; i+1 < len(vars); i += 2 {
		p.Vars[vars[i]] = vars[i+1]
	}
	return p
}

// refuseBroken refuses cells whose value nobody can know.
func (s *sheetReader) refuseBroken(r row) {
	cols := make([]int, 0, len(s.header.columns))
	for col := range s.header.columns {
		cols = append(cols, col)
	}
	slices.Sort(cols)
	for _, col := range cols {
		c := r.at(col)
		switch {
		case c.noValue:
			s.problem(r, col, RowFormula)
		case c.fault:
			s.problem(r, col, RowFault, "value", c.text)
		case c.date:
			s.problem(r, col, RowDate)
		}
	}
}

func (s *sheetReader) text(r row, kind columnKind) (string, int) {
	col, ok := s.column(kind)
	if !ok {
		return "", -1
	}
	return strings.TrimSpace(r.at(col).text), col
}

// parking tells whether a row is a parking space or a store room, which people
// keep in the same list.
func (s *sheetReader) parking(r row) bool {
	for _, kind := range []columnKind{colKind, colRoom, colBuilding} {
		text, col := s.text(r, kind)
		for _, word := range []string{"车位", "车库", "储藏", "储物", "地下室"} {
			if strings.Contains(text, word) {
				s.warn(r, col, RowParking, "value", text)
				return true
			}
		}
	}
	return false
}

func (s *sheetReader) project(r row) {
	text, col := s.text(r, colProject)
	switch {
	case text == "":
	case s.out.Project == "":
		s.out.Project = text
	case s.out.Project != text:
		s.problem(r, col, RowProject, "value", text, "project", s.out.Project)
	}
}

// place reads where a row is: from three columns, or from a room that says more.
func (s *sheetReader) place(r row) (SheetUnit, bool) {
	building, buildingCol := s.text(r, colBuilding)
	entrance, entranceCol := s.text(r, colEntrance)
	room, roomCol := s.text(r, colRoom)
	if buildingCol < 0 {
		building = s.sheetPlace
	}
	if room == "" {
		s.problem(r, roomCol, RowNoRoom)
		return SheetUnit{}, false
	}
	var u SheetUnit
	room, u.Kind = shopRoom(room)
	full, isFull := ParseUnit(room)
	if ref, ok := ParseEntrance(building); ok && entrance == "" { // 3栋2单元 in one cell
		building, entrance, _ = strings.Cut(ref, "-")
	}
	if building != "" {
		code, ok := ParseBuilding(building)
		if !ok {
			s.problem(r, buildingCol, RowBadBuilding, "value", building)
			return u, false
		}
		u.Building = code
	}
	if e, ok := entranceCode(entrance); ok {
		u.Entrance = e
	} else {
		s.problem(r, entranceCol, RowBadEntrance, "value", entrance)
		return u, false
	}
	switch {
	case isFull:
		if u.Building != "" && u.Building != full.Building || u.Entrance != "" && full.Entrance != "" && u.Entrance != full.Entrance {
			s.problem(r, roomCol, RowDisagree, "value", room)
			return u, false
		}
		u.Building, u.Room = full.Building, full.Room
		if full.Entrance != "" {
			u.Entrance = full.Entrance
		}
	case u.Building == "":
		if buildingCol < 0 {
			s.problem(r, roomCol, RowBadRoom, "value", room)
		} else {
			s.problem(r, buildingCol, RowNoBuilding)
		}
		return u, false
	default:
		// 2-1201 in the room's column holds the entrance.
		if ref, ok := ParseUnit(u.Building + "-" + room); ok {
			if u.Entrance != "" && u.Entrance != ref.Entrance {
				s.problem(r, roomCol, RowDisagree, "value", room)
				return u, false
			}
			u.Entrance, u.Room = ref.Entrance, ref.Room
			break
		}
		parts, ok := placeParts(room)
		if !ok || len(parts) != 1 || parts[0].mark != markNone && parts[0].mark != markRoom {
			s.problem(r, roomCol, RowBadRoom, "value", room)
			return u, false
		}
		u.Room = parts[0].room()
		if len(u.Room) == 1 && u.Kind == KindShop {
			u.Room = "0" + u.Room
		}
	}
	if u.Entrance == "" {
		if !s.noEntrances && entrance == "" {
			s.problem(r, entranceCol, RowNoEntrance)
			return u, false
		}
		u.Entrance = "1"
		if !s.warned {
			s.warned = true
			s.warn(r, roomCol, RowNoEntrances)
		}
	}
	if !validRoom(u.Room) {
		s.problem(r, roomCol, RowBadRoom, "value", room)
		return u, false
	}
	if !validBuilding(u.Building) || !validEntrance(u.Entrance) {
		s.problem(r, roomCol, RowBadRoom, "value", room)
		return u, false
	}
	u.Floor = FloorOf(u.Room)
	if text, col := s.text(r, colFloor); text != "" {
		ranges, ok := ParseFloors(text)
		if !ok || len(ranges) != 1 || ranges[0].From != ranges[0].To {
			s.problem(r, col, RowBadFloor, "value", text)
			return u, false
		}
		u.Floor = ranges[0].From
	}
	return u, true
}

// shopRoom takes the words off a shop's number: 商铺05 is 05.
func shopRoom(room string) (string, string) {
	for _, word := range []string{"商铺", "底商", "门面", "店铺", "铺"} {
		if rest, ok := strings.CutPrefix(room, word); ok && rest != "" {
			return strings.Trim(rest, "-— "), KindShop
		}
	}
	return room, ""
}

// entranceCode reads an entrance cell. 无, - and / say that a building has none,
// which is entrance 1.
func entranceCode(s string) (string, bool) {
	switch fold(s) {
	case "":
		return "", true
	case "无", "-", "/", "--", "没有", "0":
		return "1", true
	}
	parts, ok := placeParts(s)
	if !ok || len(parts) != 1 || parts[0].mark != markNone && parts[0].mark != markEntrance || !validEntrance(parts[0].value) {
		return "", false
	}
	return parts[0].value, true
}

func (s *sheetReader) kind(r row, known string) string {
	text, col := s.text(r, colKind)
	switch {
	case text == "":
		return known
	case containsAny(text, "商铺", "商业", "门面", "底商", "店铺", "写字楼", "办公", "商用", "商务"):
		return KindShop
	case containsAny(text, "住宅", "公寓", "别墅", "洋房", "高层", "住房", "居住", "多层", "复式", "普通", "商住", "室", "房"):
		return KindFlat
	}
	s.problem(r, col, RowBadKind, "value", text)
	return known
}

func containsAny(s string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
}

// vacant reads whether anybody lives there; nil when the file doesn't say.
func (s *sheetReader) vacant(r row) *bool {
	yes, no := true, false
	if text, col := s.text(r, colVacant); text != "" {
		switch {
		case slices.Contains([]string{"是", "空置", "Y", "y", "1", "√", "有", "空"}, text):
			return &yes
		case slices.Contains([]string{"否", "不", "未空置", "N", "n", "0", "×", "无", "入住"}, text):
			return &no
		}
		s.warn(r, col, RowOccupancy, "value", text)
	}
	text, col := s.text(r, colOccupancy)
	switch {
	case text == "":
	case containsAny(text, "空置", "未入住", "未住", "空房", "空关", "待租", "待售", "未售", "未交", "未收房", "未领房", "无人") || slices.Contains([]string{"否", "N", "n", "空", "×"}, text):
		return &yes
	case containsAny(text, "入住", "自住", "出租", "租住", "常住", "已住", "居住", "装修", "在住", "营业", "使用", "暂住", "自用", "已收房", "已交") || slices.Contains([]string{"是", "Y", "y", "√", "住"}, text):
		return &no
	default:
		s.warn(r, col, RowOccupancy, "value", text)
	}
	return nil
}

// roleWords are how people call a role; a longer word stands before one that it
// contains.
var roleWords = []struct{ word, role string }{
	{"家属", RoleFamily}, {"家庭成员", RoleFamily}, {"同住", RoleFamily}, {"配偶", RoleFamily}, {"夫妻", RoleFamily}, {"妻", RoleFamily}, {"丈夫", RoleFamily}, {"老公", RoleFamily},
	{"老婆", RoleFamily}, {"父", RoleFamily}, {"母", RoleFamily}, {"儿", RoleFamily}, {"女", RoleFamily}, {"子女", RoleFamily}, {"亲属", RoleFamily}, {"亲戚", RoleFamily},
	{"家人", RoleFamily}, {"老人", RoleFamily}, {"孙", RoleFamily}, {"兄", RoleFamily}, {"弟", RoleFamily}, {"姐", RoleFamily}, {"妹", RoleFamily}, {"夫", RoleFamily},
	{"短租", RoleShortStay}, {"暂住", RoleShortStay}, {"临时", RoleShortStay},
	{"租", RoleTenant}, {"商户", RoleMerchant}, {"店主", RoleMerchant}, {"商铺", RoleMerchant}, {"商家", RoleMerchant}, {"经营", RoleMerchant}, {"店长", RoleMerchant}, {"老板", RoleMerchant},
	{"业主", RoleOwner}, {"产权", RoleOwner}, {"户主", RoleOwner}, {"本人", RoleOwner}, {"房东", RoleOwner}, {"房主", RoleOwner}, {"自住", RoleOwner}, {"购房人", RoleOwner},
	{"OWNER", RoleOwner}, {"FAMILY", RoleFamily}, {"TENANT", RoleTenant}, {"SHORT_STAY", RoleShortStay}, {"MERCHANT", RoleMerchant},
}

func parseRole(s string) (string, bool) {
	word := strings.ReplaceAll(fold(s), " ", "")
	// 业主家属 and 业主配偶 are family; 业主 alone or with a number is the owner.
	for _, w := range roleWords {
		if strings.Contains(word, w.word) {
			return w.role, true
		}
	}
	return "", false
}

// maxName is the longest name of a resident, in characters: company names of
// shops are long.
const maxName = 40

// people reads the persons of a row.
func (s *sheetReader) people(r row, kind string) []SheetPerson {
	role, said := "", false
	if text, col := s.text(r, colRole); text != "" {
		if role, said = parseRole(text); !said {
			s.problem(r, col, RowBadRole, "value", text)
			return nil
		}
	}
	var out []SheetPerson
	for _, g := range s.header.groups {
		own := g.role
		if said && (own == "" || len(s.header.groups) == 1) {
			own = role
		}
		if own == "" {
			own = RoleOwner
			if kind == KindShop {
				own = RoleMerchant
			}
		}
		out = append(out, s.group(r, g, own)...)
	}
	return out
}

func (s *sheetReader) group(r row, g personGroup, role string) []SheetPerson {
	names := splitNames(r.at(g.name).text)
	for _, n := range names {
		if len([]rune(n)) > maxName {
			s.problem(r, g.name, RowLongName, "most", strconv.Itoa(maxName))
			return nil
		}
	}
	var phones []string
	phoneCol := -1
	for _, col := range g.phones {
		if r.at(col).text == "" {
			continue
		}
		found, trouble := ParsePhones(r.at(col).text)
		for _, t := range trouble {
			if t.Code == RowLandline {
				s.warn(r, col, t.Code, "value", t.Text)
				continue
			}
			s.problem(r, col, t.Code, "value", t.Text)
		}
		for _, p := range found {
			if !slices.Contains(phones, p) {
				phones = append(phones, p)
			}
		}
		phoneCol = col
	}
	person := func(name, phone string) SheetPerson {
		return SheetPerson{Row: r.n, Name: name, Phone: phone, Role: role}
	}
	switch {
	case len(names) == 0 && len(phones) == 0:
		return nil
	case len(names) == 0:
		s.problem(r, max(g.name, phoneCol), RowNoName)
		return nil
	}
	var out []SheetPerson
	switch {
	case len(names) == len(phones):
		for i := range names {
			out = append(out, person(names[i], phones[i]))
		}
	case len(names) == 1 && len(phones) > 0:
		for _, p := range phones {
			out = append(out, person(names[0], p))
		}
	case len(phones) <= 1:
		for i, n := range names {
			phone := ""
			if i < len(phones) {
				phone = phones[i]
			}
			out = append(out, person(n, phone))
		}
	default:
		s.problem(r, g.name, RowNamePhones, "names", strconv.Itoa(len(names)), "phones", strconv.Itoa(len(phones)))
	}
	return out
}

// noName are cells that say that there is nobody.
var noName = []string{"无", "-", "--", "/", "空", "空置", "空房", "未知", "待定", "未入住", "—", "——"}

func splitNames(s string) []string {
	var out []string
	for _, n := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("/、,，;；\n\r|&", r) }) {
		n = strings.Join(strings.Fields(n), " ")
		if runes := []rune(n); len(runes) <= 5 && !containsLatin(n) {
			n = strings.ReplaceAll(n, " ", "") // 李 强, spread to the width of three characters
		}
		n = strings.ReplaceAll(strings.ReplaceAll(n, "\u3000", ""), "\x00", "")
		if n != "" && !slices.Contains(noName, n) && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func containsLatin(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < unicode.MaxASCII && unicode.IsLetter(r) })
}

// add puts a row's home and people to what is known of the home.
func (s *sheetReader) add(u SheetUnit, people []SheetPerson) {
	i, ok := s.units[u.Code()]
	if !ok {
		i = len(s.out.Units)
		s.units[u.Code()] = i
		s.out.Units = append(s.out.Units, u)
	}
	known := &s.out.Units[i]
	if ok {
		r := row{n: u.Row}
		if u.Vacant != nil && known.Vacant != nil && *u.Vacant != *known.Vacant || u.Kind != "" && known.Kind != "" && u.Kind != known.Kind {
			s.problem(r, -1, RowTwoKinds, "unit", u.Code(), "row", strconv.Itoa(known.Row))
			return
		}
		if known.Vacant == nil {
			known.Vacant = u.Vacant
		}
		if known.Kind == "" {
			known.Kind = u.Kind
		}
	}
	for _, p := range people {
		s.addPerson(known, p)
	}
}

// addPerson keeps a number with the name that had it first. Families share a
// number: whoever comes with it later is known by name, and the number serves
// the home all the same.
func (s *sheetReader) addPerson(u *SheetUnit, p SheetPerson) {
	if p.Phone != "" {
		first, known := s.phones[p.Phone]
		if !known {
			s.phones[p.Phone] = namedRow{p.Name, p.Row}
		} else if first.name != p.Name {
			phoneCol := -1
			for _, g := range s.header.groups {
				if len(g.phones) > 0 {
					phoneCol = g.phones[0]
				}
			}
			s.warn(row{n: p.Row}, phoneCol, RowSamePhone, "row", strconv.Itoa(first.row))
			u.put(SheetPerson{Row: p.Row, Name: p.Name, Role: p.Role})
			p.Name = first.name
		}
	}
	u.put(p)
}

// put adds a person unless he is there.
func (u *SheetUnit) put(p SheetPerson) {
	for i, known := range u.People {
		if p.Phone != "" && known.Phone == p.Phone {
			return
		}
		if known.Name == p.Name && (p.Phone == "" || known.Phone == "") {
			if known.Phone == "" {
				u.People[i].Phone = p.Phone
			}
			return
		}
	}
	u.People = append(u.People, p)
}
