package estate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/company/onetime"
	"guanjia/internal/db"
)

// Estate reads and writes places and people. Safe for concurrent use.
type Estate struct {
	db       *db.DB
	clock    clock.Clock
	codes    *onetime.Codes
	settings func(companyID string) company.Settings

	importing sync.Mutex // one file at a time
}

// New builds an Estate. The settings of a company say how often and for how
// long a binding code is given; nil means the defaults for all.
func New(d *db.DB, c clock.Clock, s *company.Sealer, settings func(companyID string) company.Settings) *Estate {
	if settings == nil {
		settings = func(string) company.Settings { return company.DefaultSettings() }
	}
	return &Estate{db: d, clock: c, codes: onetime.New(c, s), settings: settings}
}

// Projects gives the projects of a company, by name.
func (e *Estate) Projects(ctx context.Context, q db.Querier, companyID string) ([]Project, error) {
	rows, err := q.QueryContext(ctx, `SELECT id, company_id, name, service_center FROM projects WHERE company_id = $1 ORDER BY name`, companyID)
	if err != nil {
		return nil, fmt.Errorf("estate: read projects: %w", err)
	}
	defer rows.Close()
	var out []Project
	for rows.Next() {
		var p Project
		if err := rows.Scan(&p.ID, &p.CompanyID, &p.Name, &p.ServiceCenter); err != nil {
			return nil, fmt.Errorf("estate: read projects: %w", err)
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// ProjectByID finds a project.
func (e *Estate) ProjectByID(ctx context.Context, q db.Querier, companyID, id string) (Project, bool, error) {
	var p Project
	err := q.QueryRowContext(ctx, `SELECT id, company_id, name, service_center FROM projects WHERE company_id = $1 AND id = $2`, companyID, id).
		Scan(&p.ID, &p.CompanyID, &p.Name, &p.ServiceCenter)
	return found(p, err, "project")
}

// Buildings gives the building codes of a project in the order people count.
func (e *Estate) Buildings(ctx context.Context, q db.Querier, companyID, projectID string) ([]Building, error) {
	rows, err := q.QueryContext(ctx, `
		SELECT id, company_id, project_id, code FROM buildings WHERE company_id = $1 AND project_id = $2 ORDER BY length(code), code`, companyID, projectID)
	if err != nil {
		return nil, fmt.Errorf("estate: read buildings: %w", err)
	}
	defer rows.Close()
	var out []Building
	for rows.Next() {
		var b Building
		if err := rows.Scan(&b.ID, &b.CompanyID, &b.ProjectID, &b.Code); err != nil {
			return nil, fmt.Errorf("estate: read buildings: %w", err)
		}
		out = append(out, b)
	}
	return out, rows.Err()
}

// CountUnits counts the units of all companies: how large the installation is.
func CountUnits(ctx context.Context, q db.Querier) (n int, err error) {
	if err := q.QueryRowContext(ctx, `SELECT count(*) FROM units`).Scan(&n); err != nil {
		return 0, fmt.Errorf("estate: count units: %w", err)
	}
	return n, nil
}

const unitColumns = `id, company_id, project_id, entrance_id, building, entrance, room, code, floor, kind, vacant`

func scanUnit(scan func(...any) error) (Unit, error) {
	var u Unit
	err := scan(&u.ID, &u.CompanyID, &u.ProjectID, &u.EntranceID, &u.Building, &u.Entrance, &u.Room, &u.Code, &u.Floor, &u.Kind, &u.Vacant)
	return u, err
}

// UnitByID finds a unit.
func (e *Estate) UnitByID(ctx context.Context, q db.Querier, companyID, id string) (Unit, bool, error) {
	u, err := scanUnit(q.QueryRowContext(ctx, `SELECT `+unitColumns+` FROM units WHERE company_id = $1 AND id = $2`, companyID, id).Scan)
	return found(u, err, "unit")
}

// UnitsByCode gives every unit of the company that bears the code, one a
// project at most. The code may be written in any way ParseUnitCode reads.
func (e *Estate) UnitsByCode(ctx context.Context, q db.Querier, companyID, code string) ([]Unit, error) {
	if c, ok := ParseUnitCode(code); ok {
		code = c
	}
	rows, err := q.QueryContext(ctx, `SELECT `+unitColumns+` FROM units WHERE company_id = $1 AND code = $2 ORDER BY project_id`, companyID, code)
	if err != nil {
		return nil, fmt.Errorf("estate: find units: %w", err)
	}
	defer rows.Close()
	var out []Unit
	for rows.Next() {
		u, err := scanUnit(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("estate: find units: %w", err)
		}
		out = append(out, u)
	}
	return out, rows.Err()
}

// UnitByCode finds the unit of a code; ErrAmbiguousUnit when several projects
// have it.
func (e *Estate) UnitByCode(ctx context.Context, q db.Querier, companyID, code string) (Unit, bool, error) {
	units, err := e.UnitsByCode(ctx, q, companyID, code)
	switch {
	case err != nil || len(units) == 0:
		return Unit{}, false, err
	case len(units) > 1:
		return Unit{}, false, ErrAmbiguousUnit
	}
	return units[0], true, nil
}

// ResidentByID finds a resident with his homes.
func (e *Estate) ResidentByID(ctx context.Context, q db.Querier, companyID, id string) (Resident, bool, error) {
	return e.one(ctx, q, companyID, Filter{ID: id})
}

// ResidentByOpenID finds the resident that a WeChat user is bound to.
func (e *Estate) ResidentByOpenID(ctx context.Context, q db.Querier, companyID, openID string) (Resident, bool, error) {
	if openID == "" {
		return Resident{}, false, nil
	}
	r, ok, err := e.one(ctx, q, companyID, Filter{OpenID: openID})
	r.OpenID = openID // the one asked about, also when a newer one exists
	return r, ok, err
}

// ResidentByPhone finds the resident with a phone, in any writing.
func (e *Estate) ResidentByPhone(ctx context.Context, q db.Querier, companyID, phone string) (Resident, bool, error) {
	if phone == "" {
		return Resident{}, false, nil
	}
	return e.one(ctx, q, companyID, Filter{Phone: phone})
}

func (e *Estate) one(ctx context.Context, q db.Querier, companyID string, f Filter) (Resident, bool, error) {
	f.Limit = 1
	rs, _, err := e.Residents(ctx, q, companyID, f)
	if err != nil || len(rs) == 0 {
		return Resident{}, false, err
	}
	return rs[0], true, nil
}

const (
	defaultPage = 100
	maxPage     = 500
)

// Residents lists residents by id; next is empty at the end. A phone or unit
// that is none finds nobody.
func (e *Estate) Residents(ctx context.Context, q db.Querier, companyID string, f Filter) (list []Resident, next string, err error) {
	limit := f.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	text, args, ok := residentsQuery(q, companyID, f, e.now(), limit+1)
	if !ok {
		return nil, "", nil
	}
	list, err = readResidents(ctx, q, text, args)
	if err != nil {
		return nil, "", err
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID
	}
	if err := e.addHomes(ctx, q, list); err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// residentsQuery builds the one statement of Residents. Each condition is
// answered by an index, so a page costs the same in an estate of a million.
func residentsQuery(q db.Querier, companyID string, f Filter, now db.Time, limit int) (text string, args []any, ok bool) {
	args = []any{companyID}
	param := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	where := []string{"r.company_id = $1"}
	if f.Cursor != "" {
		where = append(where, "r.id > "+param(f.Cursor))
	}
	if f.ID != "" {
		where = append(where, "r.id = "+param(f.ID))
	}
	if f.Phone != "" {
		phone, ok := NormalizePhone(f.Phone)
		if !ok {
			return "", nil, false
		}
		where = append(where, "r.phone = "+param(phone))
	}
	if f.OpenID != "" {
		where = append(where, "r.id IN (SELECT resident_id FROM bindings WHERE company_id = $1 AND openid = "+param(f.OpenID)+")")
	}
	if f.Unit != "" {
		code, ok := ParseUnitCode(f.Unit)
		if !ok {
			return "", nil, false
		}
		where = append(where, `r.id IN (SELECT h.resident_id FROM units u JOIN homes h ON h.unit_id = u.id
			WHERE u.company_id = $1 AND u.code = `+param(code)+` AND (h.until IS NULL OR h.until > `+param(now)+`))`)
	}
	if f.Project != "" {
		where = append(where, `EXISTS (SELECT 1 FROM homes h JOIN units u ON u.id = h.unit_id
			WHERE h.resident_id = r.id AND u.project_id = `+param(f.Project)+` AND (h.until IS NULL OR h.until > `+param(now)+`))`)
	}
	if f.Bound != nil {
		not := ""
		if !*f.Bound {
			not = "NOT "
		}
		where = append(where, not+`EXISTS (SELECT 1 FROM bindings b WHERE b.resident_id = r.id)`)
	}
	// The newest binding comes by two subqueries on one index: a join would
	// need LATERAL, which SQLite lacks.
	text = `
		SELECT r.id, r.company_id, r.name, coalesce(r.phone, ''), r.phone_dead_at,
		       coalesce((SELECT b.openid FROM bindings b WHERE b.resident_id = r.id ORDER BY b.bound_at DESC, b.id DESC LIMIT 1), ''),
		       coalesce((SELECT b.account_id FROM bindings b WHERE b.resident_id = r.id ORDER BY b.bound_at DESC, b.id DESC LIMIT 1), '')
		FROM residents r WHERE ` + strings.Join(where, " AND ") + ` ORDER BY r.id LIMIT ` + param(limit)
	return text, args, true
}

func readResidents(ctx context.Context, q db.Querier, text string, args []any) ([]Resident, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("estate: read residents: %w", err)
	}
	defer rows.Close()
	var out []Resident
	for rows.Next() {
		var r Resident
		var dead db.Time
		if err := rows.Scan(&r.ID, &r.CompanyID, &r.Name, &r.Phone, &dead, &r.OpenID, &r.AccountID); err != nil {
			return nil, fmt.Errorf("estate: read residents: %w", err)
		}
		r.PhoneDead = !dead.IsZero()
		out = append(out, r)
	}
	return out, rows.Err()
}

func (e *Estate) addHomes(ctx context.Context, q db.Querier, list []Resident) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]string, len(list))
	at := make(map[string]int, len(list))
	for i, r := range list {
		ids[i], at[r.ID] = r.ID, i
	}
	rows, err := q.QueryContext(ctx, `
		SELECT h.resident_id, u.id, u.code, u.project_id, u.building, h.role
		FROM homes h JOIN units u ON u.id = h.unit_id
		WHERE h.resident_id `+db.InStrings(q, "$1")+` AND (h.until IS NULL OR h.until > $2)
		ORDER BY u.code`, db.Strings(q, ids), e.now())
	if err != nil {
		return fmt.Errorf("estate: read homes: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var h Home
		if err := rows.Scan(&id, &h.UnitID, &h.Unit, &h.ProjectID, &h.Building, &h.Role); err != nil {
			return fmt.Errorf("estate: read homes: %w", err)
		}
		list[at[id]].Homes = append(list[at[id]].Homes, h)
	}
	return rows.Err()
}

func (e *Estate) now() db.Time { return db.At(e.clock.Now()) }

// found turns "no rows" into a plain false.
func found[T any](v T, err error, what string) (T, bool, error) {
	var none T
	if errors.Is(err, sql.ErrNoRows) {
		return none, false, nil
	}
	if err != nil {
		return none, false, fmt.Errorf("estate: find %s: %w", what, err)
	}
	return v, true, nil
}
