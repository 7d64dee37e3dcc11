package estate

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/wording"
)

// ImportTarget says where a file goes.
type ImportTarget struct {
	// Project is an id or a name; a name that is new makes a new project. Empty
	// means the project that the file names, or the only one of the company.
	Project string
	// KeepMissing keeps the homes of people whom the file no longer names.
	// Otherwise their homes end, in those units only for which the file names
	// at least one person: what a file doesn't cover it doesn't touch.
	KeepMissing bool
}

// What a caller of PlanImport and ApplyImport decides on.
var (
	// ErrWhichProject: neither the caller nor the file says which of several
	// projects, or there is none yet.
	ErrWhichProject = errors.New("estate: the import names no project")
	// ErrPlanStale: another import came between plan and application; plan again.
	ErrPlanStale = errors.New("estate: another import came in between")
	// ErrImportBusy: this node reads another file at the moment.
	ErrImportBusy = errors.New("estate: another import is being read")
)

// Kinds of an ImportChange.
const (
	ChangeNew     = "new"
	ChangeChanged = "changed"
	ChangeEnded   = "ended"
)

// ImportChange is one difference between file and database, for the preview.
// Phones are shortened.
type ImportChange struct {
	Kind   string `json:"kind"` // a Change constant
	Unit   string `json:"unit"`
	What   string `json:"what"` // project, unit, vacant, kind, floor, resident, name, phone, home, role
	Name   string `json:"name,omitempty"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	Text   string `json:"text"` // the same in words
}

// ImportNew counts what an import adds.
type ImportNew struct {
	Projects  int `json:"projects"`
	Buildings int `json:"buildings"`
	Entrances int `json:"entrances"`
	Units     int `json:"units"`
	Residents int `json:"residents"`
	Homes     int `json:"homes"` // a person belongs to a unit
}

// Plan is what an import would do. Made by PlanImport, done by ApplyImport.
type Plan struct {
	CompanyID  string
	Project    Project
	NewProject bool
	New        ImportNew
	Changed    int // of units and people that are known
	Ended      int // people who belong to a unit no more
	Same       int // people found as they are
	Changes    []ImportChange

	version int64
	ops     []stagedRow
}

// Empty tells that there is nothing to do.
func (p Plan) Empty() bool { return len(p.ops) == 0 && !p.NewProject }

// Ops of a staged row.
const (
	opBuilding = "building"
	opEntrance = "entrance"
	opUnit     = "unit"
	opUnitSet  = "unit_set"
	opResident = "resident"
	opName     = "name"
	opPhone    = "phone"
	opHome     = "home"
	opRole     = "role"
	opEnd      = "end"
)

type stagedRow struct {
	N          int    `json:"n"`
	Op         string `json:"op"`
	ID         string `json:"id"`
	ParentID   string `json:"parent_id"`
	ResidentID string `json:"resident_id"`
	Code       string `json:"code"`
	Building   string `json:"building"`
	Entrance   string `json:"entrance"`
	Room       string `json:"room"`
	Floor      int    `json:"floor"`
	Kind       string `json:"kind"`
	Vacant     bool   `json:"vacant"`
	Name       string `json:"name"`
	Phone      string `json:"phone"`
	Role       string `json:"role"`
}

// PlanImport compares a sheet without problems with what is stored. It changes
// nothing.
func (e *Estate) PlanImport(ctx context.Context, companyID string, to ImportTarget, s Sheet) (Plan, error) {
	pl := &planner{plan: Plan{CompanyID: companyID}, keep: to.KeepMissing}
	var err error
	if pl.plan.version, err = e.importVersion(ctx, companyID); err != nil {
		return Plan{}, err
	}
	if pl.plan.Project, pl.plan.NewProject, err = e.importProject(ctx, companyID, to, s); err != nil {
		return Plan{}, err
	}
	if pl.plan.NewProject {
		pl.plan.New.Projects = 1
		pl.note(ChangeNew, "", "project", pl.plan.Project.Name, "", "")
	}
	if err := e.loadPlaces(ctx, pl); err != nil {
		return Plan{}, err
	}
	if err := e.loadPeople(ctx, pl, s); err != nil {
		return Plan{}, err
	}
	for _, u := range s.Units {
		pl.unit(u)
	}
	return pl.plan, nil
}

func (e *Estate) importVersion(ctx context.Context, companyID string) (v int64, err error) {
	err = e.db.QueryRowContext(ctx, `SELECT version FROM estate_versions WHERE company_id = $1`, companyID).Scan(&v)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("estate: plan import: %w", err)
	}
	return v, nil
}

func (e *Estate) importProject(ctx context.Context, companyID string, to ImportTarget, s Sheet) (Project, bool, error) {
	projects, err := e.Projects(ctx, e.db, companyID)
	if err != nil {
		return Project{}, false, err
	}
	want := cmp.Or(strings.TrimSpace(to.Project), s.Project)
	if want == "" {
		if len(projects) != 1 {
			return Project{}, false, ErrWhichProject
		}
		return projects[0], false, nil
	}
	for _, p := range projects {
		if p.ID == want || p.Name == want {
			return p, false, nil
		}
	}
	return Project{ID: db.NewID(), CompanyID: companyID, Name: want}, true, nil
}

// planner holds what is stored, as the plan would have it so far.
type planner struct {
	plan      Plan
	keep      bool
	buildings map[string]string  // code -> id
	entrances map[string]string  // building-entrance -> id
	units     map[string]Unit    // code -> unit
	homes     map[string][]*held // unit id -> those of today
	byPhone   map[string]*person
	inFile    map[string]bool // phones of the file
}

type person struct{ id, name, phone string }

type held struct {
	id, role string
	who      *person
	used     bool
}

func (e *Estate) loadPlaces(ctx context.Context, pl *planner) error {
	pl.buildings, pl.entrances, pl.units = map[string]string{}, map[string]string{}, map[string]Unit{}
	if pl.plan.NewProject {
		return nil
	}
	list, err := e.Buildings(ctx, e.db, pl.plan.CompanyID, pl.plan.Project.ID)
	if err != nil {
		return err
	}
	for _, b := range list {
		pl.buildings[b.Code] = b.ID
	}
	err = e.each(ctx, `SELECT b.code, x.code, x.id FROM entrances x JOIN buildings b ON b.id = x.building_id WHERE b.company_id = $1 AND b.project_id = $2`,
		func(scan func(...any) error) error {
			var building, entrance, id string
			if err := scan(&building, &entrance, &id); err != nil {
				return err
			}
			pl.entrances[building+"-"+entrance] = id
			return nil
		}, pl.plan.CompanyID, pl.plan.Project.ID)
	if err != nil {
		return err
	}
	return e.each(ctx, `SELECT `+unitColumns+` FROM units WHERE company_id = $1 AND project_id = $2`, func(scan func(...any) error) error {
		u, err := scanUnit(scan)
		pl.units[u.Code] = u
		return err
	}, pl.plan.CompanyID, pl.plan.Project.ID)
}

// phonesAtOnce bounds the list of one statement.
const phonesAtOnce = 5000

func (e *Estate) loadPeople(ctx context.Context, pl *planner, s Sheet) error {
	pl.homes, pl.byPhone, pl.inFile = map[string][]*held{}, map[string]*person{}, map[string]bool{}
	people := map[string]*person{}
	see := func(id, name, phone string) *person {
		p, known := people[id]
		if !known {
			p = &person{id, name, phone}
			people[id] = p
			if phone != "" {
				pl.byPhone[phone] = p
			}
		}
		return p
	}
	err := e.each(ctx, `
		SELECT h.id, h.role, h.unit_id, r.id, r.name, coalesce(r.phone, '')
		FROM homes h JOIN units u ON u.id = h.unit_id JOIN residents r ON r.id = h.resident_id
		WHERE u.company_id = $1 AND u.project_id = $2 AND (h.until IS NULL OR h.until > $3)
		ORDER BY h.id`, func(scan func(...any) error) error {
		var h held
		var unitID, id, name, phone string
		if err := scan(&h.id, &h.role, &unitID, &id, &name, &phone); err != nil {
			return err
		}
		h.who = see(id, name, phone)
		pl.homes[unitID] = append(pl.homes[unitID], &h)
		return nil
	}, pl.plan.CompanyID, pl.plan.Project.ID, e.now())
	if err != nil {
		return err
	}
	var phones []string
	for _, u := range s.Units {
		for _, p := range u.People {
			if p.Phone != "" && !pl.inFile[p.Phone] {
				pl.inFile[p.Phone] = true
				phones = append(phones, p.Phone)
			}
		}
	}
	for part := range slices.Chunk(phones, phonesAtOnce) {
		if err := e.each(ctx, `SELECT id, name, phone FROM residents WHERE company_id = $1 AND phone `+db.InStrings(e.db, "$2"), func(scan func(...any) error) error {
			var id, name, phone string
			err := scan(&id, &name, &phone)
			if err == nil {
				see(id, name, phone)
			}
			return err
		}, pl.plan.CompanyID, db.Strings(e.db, part)); err != nil {
			return err
		}
	}
	return nil
}

func (e *Estate) each(ctx context.Context, query string, f func(scan func(...any) error) error, args ...any) error {
	rows, err := e.db.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("estate: plan import: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return fmt.Errorf("estate: plan import: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("estate: plan import: %w", err)
	}
	return nil
}

func (pl *planner) op(r stagedRow) {
	r.N = len(pl.plan.ops)
	pl.plan.ops = append(pl.plan.ops, r)
}

func (pl *planner) note(kind, unit, what, name, before, after string) {
	pl.plan.Changes = append(pl.plan.Changes, ImportChange{Kind: kind, Unit: unit, What: what, Name: name, Before: before, After: after})
}

func (pl *planner) changed(unit, what, name, before, after string) {
	pl.plan.Changed++
	pl.note(ChangeChanged, unit, what, name, before, after)
}

func (pl *planner) unit(s SheetUnit) {
	u := pl.place(s)
	homes := pl.homes[u.ID]
	// Who has a phone is known by it; the others are then sought by name among
	// those who are left.
	for _, withPhone := range []bool{true, false} {
		for _, p := range s.People {
			if (p.Phone != "") == withPhone {
				homes = pl.person(u, homes, p)
			}
		}
	}
	pl.homes[u.ID] = homes
	if len(s.People) == 0 || pl.keep {
		return
	}
	for _, h := range homes {
		if !h.used {
			h.used = true
			pl.op(stagedRow{Op: opEnd, ID: h.id})
			pl.plan.Ended++
			pl.note(ChangeEnded, u.Code, "home", h.who.name, h.role, "")
		}
	}
}

// place finds or makes the unit with its entrance and building.
func (pl *planner) place(s SheetUnit) Unit {
	if u, ok := pl.units[s.Code()]; ok {
		return pl.known(u, s)
	}
	building, ok := pl.buildings[s.Building]
	if !ok {
		building = db.NewID()
		pl.buildings[s.Building] = building
		pl.plan.New.Buildings++
		pl.op(stagedRow{Op: opBuilding, ID: building, Code: s.Building})
	}
	entrance, ok := pl.entrances[s.Building+"-"+s.Entrance]
	if !ok {
		entrance = db.NewID()
		pl.entrances[s.Building+"-"+s.Entrance] = entrance
		pl.plan.New.Entrances++
		pl.op(stagedRow{Op: opEntrance, ID: entrance, ParentID: building, Code: s.Entrance})
	}
	u := Unit{ID: db.NewID(), EntranceID: entrance, Building: s.Building, Entrance: s.Entrance, Room: s.Room, Code: s.Code(), Floor: s.Floor, Kind: cmp.Or(s.Kind, KindFlat)}
	if s.Vacant != nil {
		u.Vacant = *s.Vacant
	}
	if s.Kind == "" && slices.ContainsFunc(s.People, func(p SheetPerson) bool { return p.Role == RoleMerchant }) {
		u.Kind = KindShop
	}
	pl.units[u.Code] = u
	pl.plan.New.Units++
	pl.note(ChangeNew, u.Code, "unit", "", "", "")
	pl.op(stagedRow{Op: opUnit, ID: u.ID, ParentID: entrance, Code: u.Code, Building: u.Building, Entrance: u.Entrance, Room: u.Room, Floor: u.Floor, Kind: u.Kind, Vacant: u.Vacant})
	return u
}

// known brings a stored unit up to what the file says of it.
func (pl *planner) known(u Unit, s SheetUnit) Unit {
	was := u
	if s.Vacant != nil {
		u.Vacant = *s.Vacant
	}
	u.Kind = cmp.Or(s.Kind, u.Kind)
	u.Floor = cmp.Or(s.Floor, u.Floor)
	if u == was {
		return u
	}
	if u.Vacant != was.Vacant {
		pl.changed(u.Code, "vacant", "", vacancy(was.Vacant), vacancy(u.Vacant))
	}
	if u.Kind != was.Kind {
		pl.changed(u.Code, "kind", "", was.Kind, u.Kind)
	}
	if u.Floor != was.Floor {
		pl.changed(u.Code, "floor", "", fmt.Sprint(was.Floor), fmt.Sprint(u.Floor))
	}
	pl.units[u.Code] = u
	pl.op(stagedRow{Op: opUnitSet, ID: u.ID, Floor: u.Floor, Kind: u.Kind, Vacant: u.Vacant})
	return u
}

func vacancy(v bool) string {
	if v {
		return "vacant"
	}
	return "occupied"
}

// person finds or makes the resident and his place in the unit.
func (pl *planner) person(u Unit, homes []*held, p SheetPerson) []*held {
	who := pl.find(homes, p)
	fresh := who == nil
	if fresh {
		who = &person{id: db.NewID(), name: p.Name, phone: p.Phone}
		if p.Phone != "" {
			pl.byPhone[p.Phone] = who
		}
		pl.plan.New.Residents++
		pl.note(ChangeNew, u.Code, "resident", p.Name, "", shortPhone(p.Phone))
		pl.op(stagedRow{Op: opResident, ID: who.id, Name: p.Name, Phone: p.Phone})
	} else {
		pl.bring(u, who, p)
	}
	for _, h := range homes {
		if h.who != who {
			continue
		}
		h.used = true
		if h.role == p.Role {
			pl.plan.Same++
			return homes
		}
		pl.changed(u.Code, "role", who.name, h.role, p.Role)
		h.role = p.Role
		pl.op(stagedRow{Op: opRole, ID: h.id, Role: p.Role})
		return homes
	}
	h := &held{id: db.NewID(), role: p.Role, who: who, used: true}
	pl.plan.New.Homes++
	if !fresh {
		pl.note(ChangeNew, u.Code, "home", who.name, "", p.Role)
	}
	pl.op(stagedRow{Op: opHome, ID: h.id, ParentID: u.ID, ResidentID: who.id, Role: p.Role})
	return append(homes, h)
}

// find looks for the resident that a row means: by his phone anywhere in the
// company, or by his name in this unit when his old number is gone from the file.
func (pl *planner) find(homes []*held, p SheetPerson) *person {
	if who := pl.byPhone[p.Phone]; p.Phone != "" && who != nil {
		return who
	}
	var byName *person
	for _, h := range homes {
		if h.used || h.who.name != p.Name {
			continue
		}
		if h.who.phone == "" {
			return h.who
		}
		if byName == nil && (p.Phone == "" || !pl.inFile[h.who.phone]) {
			byName = h.who
		}
	}
	return byName
}

// bring brings a known resident up to what the file says of him. His bindings
// stay: he is the same person with another number or another spelling. A file
// that no longer gives his number takes none away.
func (pl *planner) bring(u Unit, who *person, p SheetPerson) {
	if who.name != p.Name {
		pl.changed(u.Code, "name", p.Name, who.name, p.Name)
		who.name = p.Name
		pl.op(stagedRow{Op: opName, ID: who.id, Name: p.Name})
	}
	if p.Phone != "" && who.phone != p.Phone {
		pl.changed(u.Code, "phone", p.Name, shortPhone(who.phone), shortPhone(p.Phone))
		delete(pl.byPhone, who.phone)
		who.phone = p.Phone
		pl.byPhone[p.Phone] = who
		pl.op(stagedRow{Op: opPhone, ID: who.id, Phone: p.Phone})
	}
}

// shortPhone shows enough of a phone to know it again.
func shortPhone(p string) string {
	if len(p) < 8 {
		return p
	}
	return p[:3] + "****" + p[len(p)-4:]
}

// stageAtOnce is how many rows one transaction stages: a transaction on SQLite
// holds every other writer up.
const stageAtOnce = 500

// ApplyImport does what a plan says, all of it or nothing: it stages the changes
// in small transactions and moves them into the tables by one. ErrPlanStale when
// another import came in between.
func (e *Estate) ApplyImport(ctx context.Context, p Plan) error {
	if p.Empty() {
		return nil
	}
	id := db.NewID()
	if err := e.cleanStaging(ctx, p.CompanyID); err != nil {
		return err
	}
	for part := range slices.Chunk(p.ops, stageAtOnce) {
		if err := e.stage(ctx, id, p.CompanyID, part); err != nil {
			return err
		}
	}
	err := e.db.InTx(ctx, "import residents", func(ctx context.Context, tx *db.Tx) error { return e.swap(ctx, tx, id, p) })
	if db.IsUnique(err) {
		// Somebody was added by another way meanwhile.
		err = ErrPlanStale
	}
	if dropErr := e.dropStaging(context.WithoutCancel(ctx), id); err == nil {
		err = dropErr
	}
	return err
}

func (e *Estate) stage(ctx context.Context, id, companyID string, part []stagedRow) error {
	err := e.db.InTx(ctx, "stage import", func(ctx context.Context, tx *db.Tx) error {
		const list = `n, op, id, parent_id, resident_id, code, building, entrance, room, floor, kind, vacant, name, phone, role`
		_, err := tx.ExecContext(ctx, `
			INSERT INTO import_staging (import_id, company_id, staged_at, `+list+`)
			SELECT cast($2 as text), cast($3 as text), `+db.TimeParam(tx, "$4")+`, `+list+`
			FROM `+db.Rows(tx, "$1", db.IntCol("n"), db.TextCol("op"), db.TextCol("id"), db.TextCol("parent_id"), db.TextCol("resident_id"), db.TextCol("code"),
			db.TextCol("building"), db.TextCol("entrance"), db.TextCol("room"), db.IntCol("floor"), db.TextCol("kind"), db.BoolCol("vacant"), db.TextCol("name"),
			db.TextCol("phone"), db.TextCol("role"))+` AS r`, db.RowsArg(part), id, companyID, e.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("estate: stage import: %w", err)
	}
	return nil
}

// swap moves the staged rows into the tables. One statement a kind, in the order
// in which rows refer to each other.
func (e *Estate) swap(ctx context.Context, tx *db.Tx, id string, p Plan) error {
	res, err := tx.ExecContext(ctx, `
		INSERT INTO estate_versions (company_id, version) VALUES ($1, 1)
		ON CONFLICT (company_id) DO UPDATE SET version = estate_versions.version + 1 WHERE estate_versions.version = $2`, p.CompanyID, p.version)
	if err != nil {
		return fmt.Errorf("estate: apply import: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(ErrPlanStale, err)
	}
	if p.NewProject {
		if err := putProjects(ctx, tx, Batch{Projects: []Project{p.Project}}); err != nil {
			return err
		}
	}
	company, project, now := p.CompanyID, p.Project.ID, e.now()
	for _, s := range []struct {
		op, text string
		args     []any
	}{
		{opBuilding, `INSERT INTO buildings (id, company_id, project_id, code) SELECT id, company_id, cast($2 as text), code FROM import_staging WHERE import_id = $1 AND op = 'building'`, []any{project}},
		{opEntrance, `INSERT INTO entrances (id, company_id, building_id, code) SELECT id, company_id, parent_id, code FROM import_staging WHERE import_id = $1 AND op = 'entrance'`, nil},
		{opUnit, `INSERT INTO units (id, company_id, project_id, entrance_id, building, entrance, room, code, floor, kind, vacant)
			SELECT id, company_id, cast($2 as text), parent_id, building, entrance, room, code, floor, kind, vacant FROM import_staging WHERE import_id = $1 AND op = 'unit'`, []any{project}},
		{opUnitSet, `UPDATE units SET floor = s.floor, kind = s.kind, vacant = s.vacant
			FROM import_staging s WHERE s.import_id = $1 AND s.op = 'unit_set' AND units.id = s.id AND units.company_id = $2`, []any{company}},
		// Two people may exchange their numbers: all old ones go first.
		{opPhone, `UPDATE residents SET phone = NULL FROM import_staging s WHERE s.import_id = $1 AND s.op = 'phone' AND residents.id = s.id AND residents.company_id = $2`, []any{company}},
		{opPhone, `UPDATE residents SET phone = s.phone, phone_dead_at = NULL, phone_dead_code = '', updated_at = $3
			FROM import_staging s WHERE s.import_id = $1 AND s.op = 'phone' AND residents.id = s.id AND residents.company_id = $2`, []any{company, now}},
		{opName, `UPDATE residents SET name = s.name, updated_at = $3
			FROM import_staging s WHERE s.import_id = $1 AND s.op = 'name' AND residents.id = s.id AND residents.company_id = $2`, []any{company, now}},
		{opResident, `INSERT INTO residents (id, company_id, name, phone, updated_at)
			SELECT id, company_id, name, nullif(phone, ''), ` + db.TimeParam(tx, "$2") + ` FROM import_staging WHERE import_id = $1 AND op = 'resident'`, []any{now}},
		{opRole, `UPDATE homes SET role = s.role FROM import_staging s WHERE s.import_id = $1 AND s.op = 'role' AND homes.id = s.id AND homes.company_id = $2`, []any{company}},
		{opEnd, `UPDATE homes SET until = $3 FROM import_staging s WHERE s.import_id = $1 AND s.op = 'end' AND homes.id = s.id AND homes.company_id = $2`, []any{company, now}},
		{opHome, `INSERT INTO homes (id, company_id, resident_id, unit_id, role, since)
			SELECT id, company_id, resident_id, parent_id, role, ` + db.TimeParam(tx, "$2") + ` FROM import_staging WHERE import_id = $1 AND op = 'home'`, []any{now}},
	} {
		if !slices.ContainsFunc(p.ops, func(r stagedRow) bool { return r.Op == s.op }) {
			continue
		}
		if _, err := tx.ExecContext(ctx, s.text, append([]any{id}, s.args...)...); err != nil {
			return fmt.Errorf("estate: apply import, %s: %w", s.op, err)
		}
	}
	return nil
}

func (e *Estate) dropStaging(ctx context.Context, id string) error {
	for {
		res, err := e.db.ExecContext(ctx, `DELETE FROM import_staging WHERE import_id = $1 AND n IN (SELECT n FROM import_staging WHERE import_id = $1 LIMIT 2000)`, id)
		if err != nil {
			return fmt.Errorf("estate: clear the staging of an import: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
	}
}

// staleStaging is after how long what an import left behind is cleared: it
// died on the way.
const staleStaging = 24 * time.Hour

func (e *Estate) cleanStaging(ctx context.Context, companyID string) error {
	var ids []string
	if err := e.each(ctx, `SELECT DISTINCT import_id FROM import_staging WHERE company_id = $1 AND staged_at < $2`, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return err
	}, companyID, db.At(e.clock.Now().Add(-staleStaging))); err != nil {
		return err
	}
	for _, id := range ids {
		if err := e.dropStaging(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// ImportWords says what is wrong with a row or a file as people read it.
func ImportWords(b *wording.Book, code string, vars map[string]string) string {
	key := "import." + code
	if !b.Has(key) {
		return code
	}
	text, err := b.Say(key, vars)
	if err != nil {
		return code
	}
	return text.String()
}

// ImportErrorWords says why a whole import was refused, and by which code; false
// for an error that is none of the uploader's.
func ImportErrorWords(b *wording.Book, err error) (code, message string, ok bool) {
	var file *FileError
	switch {
	case errors.As(err, &file):
		code = file.Code
	case errors.Is(err, ErrWhichProject):
		code = "which_project"
	case errors.Is(err, ErrPlanStale):
		code = "stale"
	case errors.Is(err, ErrImportBusy):
		code = "busy"
	default:
		return "", "", false
	}
	return code, ImportWords(b, code, nil), true
}

// changeText writes a change as people read it.
func changeText(b *wording.Book, c ImportChange) string {
	value := func(v string) string {
		switch c.What {
		case "role", "home":
			return b.Label("home_role", v)
		case "vacant", "kind":
			return b.Label("import_value", v)
		}
		return v
	}
	parts := []string{b.Label("import_change", c.Kind), c.Unit, b.Label("import_what", c.What), c.Name}
	switch {
	case c.Before != "" && c.After != "":
		parts = append(parts, value(c.Before)+" → "+value(c.After))
	case c.Before+c.After != "":
		parts = append(parts, value(c.Before+c.After))
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

// ImportReport is the answer to an import or its preview, for API and pages.
type ImportReport struct {
	Project  ImportedProject `json:"project"`
	Rows     int             `json:"rows"`
	New      ImportNew       `json:"new"`
	Changed  int             `json:"changed"`
	Ended    int             `json:"ended"`
	Same     int             `json:"same"`
	Problems []ImportProblem `json:"problems"`
	Warnings []ImportProblem `json:"warnings"`
	Ignored  []string        `json:"ignored"`
	Changes  []ImportChange  `json:"changes"` // at most MaxChanges
	Applied  bool            `json:"applied"`
	Summary  string          `json:"summary"` // the counts in words
}

// ImportedProject is the project that a file goes to.
type ImportedProject struct {
	ID   string `json:"id"` // empty while it is new
	Name string `json:"name"`
	New  bool   `json:"new"`
}

// ImportProblem is a RowProblem in words.
type ImportProblem struct {
	Sheet   string `json:"sheet,omitempty"`
	Row     int    `json:"row"`
	Column  string `json:"column"`
	Message string `json:"message"`
}

// MaxChanges bounds the changes that a report lists; its counts are of all.
const MaxChanges = 1000

// Import reads a file and plans; it applies when asked to and nothing is wrong.
// A *FileError, ErrWhichProject, ErrPlanStale and ErrImportBusy are for the
// caller's words (ImportErrorWords). A node reads one file at a time: a large one
// takes some hundred megabytes of memory while it is read.
func (e *Estate) Import(ctx context.Context, b *wording.Book, companyID string, to ImportTarget, file []byte, apply bool) (ImportReport, error) {
	if !e.importing.TryLock() {
		return ImportReport{}, ErrImportBusy
	}
	defer e.importing.Unlock()
	sheet, problems, err := ReadSheet(bytes.NewReader(file))
	if err != nil {
		return ImportReport{}, err
	}
	r := ImportReport{Rows: sheet.Rows, Ignored: append([]string{}, sheet.Ignored...), Changes: []ImportChange{}}
	r.Problems, r.Warnings = inWords(b, problems), inWords(b, sheet.Warnings)
	if len(problems) > 0 {
		// What the good rows alone would change misleads: who stands in a bad
		// row would seem to have moved away.
		return r, r.sum(b)
	}
	plan, err := e.PlanImport(ctx, companyID, to, sheet)
	if err != nil {
		return ImportReport{}, err
	}
	r.Project = ImportedProject{ID: plan.Project.ID, Name: plan.Project.Name, New: plan.NewProject}
	if sheet.Project != "" && sheet.Project != plan.Project.Name {
		r.Problems = append(r.Problems, ImportProblem{Message: ImportWords(b, RowProject, map[string]string{"value": sheet.Project, "project": plan.Project.Name})})
	}
	r.New, r.Changed, r.Ended, r.Same = plan.New, plan.Changed, plan.Ended, plan.Same
	for _, c := range plan.Changes[:min(len(plan.Changes), MaxChanges)] {
		c.Text = changeText(b, c)
		r.Changes = append(r.Changes, c)
	}
	if apply && len(r.Problems) == 0 {
		if err := e.ApplyImport(ctx, plan); err != nil {
			return ImportReport{}, err
		}
		r.Applied = true
	}
	if plan.NewProject && !r.Applied {
		r.Project.ID = ""
	}
	return r, r.sum(b)
}

// sum writes the summary.
func (r *ImportReport) sum(b *wording.Book) error {
	key := "import.summary_preview"
	switch {
	case len(r.Problems) > 0:
		key = "import.summary_bad"
	case r.Applied:
		key = "import.summary_done"
	}
	vars := wording.Vars{"project": r.Project.Name, "rows": strconv.Itoa(r.Rows), "problems": strconv.Itoa(len(r.Problems))}
	for name, n := range map[string]int{
		"units": r.New.Units, "residents": r.New.Residents, "homes": r.New.Homes, "changed": r.Changed, "ended": r.Ended, "same": r.Same,
	} {
		vars[name] = strconv.Itoa(n)
	}
	text, err := b.Say(key, vars)
	if err != nil {
		return fmt.Errorf("estate: sum up an import: %w", err)
	}
	r.Summary = text.String()
	return nil
}

func inWords(b *wording.Book, list []RowProblem) []ImportProblem {
	out := make([]ImportProblem, len(list))
	for i, p := range list {
		out[i] = ImportProblem{Sheet: p.Sheet, Row: p.Row, Column: p.Column, Message: ImportWords(b, p.Code, p.Vars)}
	}
	return out
}
