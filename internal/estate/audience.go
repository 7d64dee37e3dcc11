package estate

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"guanjia/internal/db"
)

// Scope says whom a notice or a survey is for: places of one project, and
// which of their people. Buildings, Entrances and Units add up; all three empty
// mean the whole project. Codes may be written in any way that ParseBuilding,
// ParseEntrance and ParseUnitCode read.
type Scope struct {
	ProjectID string
	Buildings []string // 3
	Entrances []string // 3-2
	Units     []string // 3-2-1201
	// Floors narrows buildings and entrances, never a unit that is named: see
	// ParseFloors. Empty means all. A unit whose number tells no floor (a shop
	// 05) counts as on the ground floor.
	Floors string
	// Roles narrows the people; empty means everybody who lives or trades
	// there, which is the rule of the trade. With roles, a unit in
	// which nobody has one of them is not in the audience.
	Roles []string
	// WithVacant takes in vacant units whose people are known. A vacant
	// unit without people is never in the audience: nobody is there to be told.
	WithVacant bool
}

// Channels of an audience row.
const (
	AudienceSMS      = "sms"      // address: 11 digits
	AudienceTemplate = "template" // address: openid of the follower, on account_id
)

// Reasons why an address of the audience is not written to.
const (
	SkipDead   = "DEAD_NUMBER" // the carrier says that the number does not exist
	SkipOptOut = "OPT_OUT"     // the resident does not want it
)

// AudienceOptions says how the people of a scope may be reached.
type AudienceOptions struct {
	OptOutClass  string   // class of opt_outs that counts besides OptOutAll
	IgnoreOptOut bool     // emergencies: opt-outs are not asked
	Channels     []string // AudienceSMS, AudienceTemplate; empty means both
}

// AudienceCounts is the size of an audience. Addresses are counted once however
// many units or people they stand for.
type AudienceCounts struct {
	Households int            `json:"households"` // units, also those without people
	People     int            `json:"people"`
	SMS        int            `json:"sms"`      // phones that will be written to
	Template   int            `json:"template"` // followers that will be written to
	None       int            `json:"none"`     // households without any address to write to
	Skipped    map[string]int `json:"skipped"`  // addresses not written to, by reason
}

// Audience gives a SELECT and its arguments (parameters from $1) with one row
// for each unit, resident and address of the scope, as of now:
//
//	unit_id, unit, building, entrance, floor, resident_id, name, role,
//	channel, account_id, address, skip_code
//
// channel is AudienceSMS, AudienceTemplate, or ” with an empty address for a
// resident who cannot be reached by the channels asked for. A unit without
// people has one row with resident_id ”. skip_code is ” or a Skip constant.
// No row appears twice. What CheckScope would find fault with matches nothing.
//
// The statement stands alone or in a FROM, so that a snapshot of any size is
// one INSERT ... SELECT. It carries names, phones and openids: never log rows.
func (e *Estate) Audience(companyID string, s Scope, o AudienceOptions) (text string, args []any) {
	a := audienceQuery{db: e.db}
	company, project, now := a.param(companyID), a.param(s.ProjectID), a.param(e.now())
	// A place stands in both halves of the statement with the same parameters.
	within := "p.company_id = " + company + " AND p.project_id = " + project + a.place(s)
	people := within
	if !s.WithVacant {
		people += " AND NOT p.vacant"
	}
	if len(s.Roles) > 0 {
		people += " AND p.role " + a.list(s.Roles)
	}
	addresses := "a.resident_id = p.resident_id AND a.address IS NOT NULL AND a.company_id = " + company
	if len(o.Channels) > 0 {
		addresses += " AND a.channel " + a.list(o.Channels)
	}
	optOut, optOutJoin := "", ""
	if !o.IgnoreOptOut {
		class := a.param(o.OptOutClass)
		optOut = " WHEN o.resident_id IS NOT NULL THEN '" + SkipOptOut + "'"
		// Who opted out of every channel has opted out of each.
		of := func(channel string) string {
			return `SELECT resident_id, '` + channel + `' AS channel FROM opt_outs
				WHERE company_id = ` + company + ` AND class IN ('` + OptOutAll + `', ` + class + `) AND channel IN ('` + channel + `', '` + OptOutAll + `')`
		}
		optOutJoin = `
		LEFT JOIN (` + of(OptOutSMS) + ` UNION ` + of(OptOutWeChat) + `) o
		       ON o.resident_id = a.resident_id AND o.channel = a.opt_out_channel`
	}
	text = `
		SELECT p.unit_id, p.unit, p.building, p.entrance, p.floor, p.resident_id, p.name, p.role,
		       coalesce(a.channel, '') AS channel, coalesce(a.account_id, '') AS account_id, coalesce(a.address, '') AS address,
		       CASE WHEN a.dead THEN '` + SkipDead + `'` + optOut + ` ELSE '' END AS skip_code
		FROM audience p
		LEFT JOIN audience_addresses a ON ` + addresses + optOutJoin + `
		WHERE ` + people + ` AND (p.until IS NULL OR p.until > ` + now + `)`
	if len(s.Roles) == 0 {
		text += `
		UNION ALL
		SELECT p.unit_id, p.unit, p.building, p.entrance, p.floor, '', '', '', '', '', '', ''
		FROM (SELECT id AS unit_id, code AS unit, company_id, project_id, building, entrance, floor, vacant FROM units) p
		WHERE ` + within + ` AND NOT p.vacant
		  AND NOT EXISTS (SELECT 1 FROM homes h WHERE h.unit_id = p.unit_id AND (h.until IS NULL OR h.until > ` + now + `))`
	}
	return text, a.args
}

// audienceQuery collects the parameters of one statement.
type audienceQuery struct {
	db   *db.DB
	args []any
}

func (a *audienceQuery) param(v any) string {
	a.args = append(a.args, v)
	return "$" + strconv.Itoa(len(a.args))
}

func (a *audienceQuery) list(v []string) string {
	return db.InStrings(a.db, a.param(db.Strings(a.db, v)))
}

// place is the condition of the places in a scope, over columns building,
// entrance, floor and unit of p.
func (a *audienceQuery) place(s Scope) string {
	floors := a.floors(s.Floors)
	if len(s.Buildings)+len(s.Entrances)+len(s.Units) == 0 {
		return floors
	}
	var any []string
	if len(s.Buildings) > 0 {
		any = append(any, "p.building "+a.list(canonical(s.Buildings, ParseBuilding))+floors)
	}
	if len(s.Entrances) > 0 {
		entrances := canonical(s.Entrances, ParseEntrance)
		buildings := make([]string, len(entrances))
		for i, e := range entrances {
			buildings[i], _, _ = strings.Cut(e, "-")
		}
		// The building alone is what the index can use.
		any = append(any, "p.building "+a.list(buildings)+" AND p.building || '-' || p.entrance "+a.list(entrances)+floors)
	}
	if len(s.Units) > 0 {
		any = append(any, "p.unit "+a.list(canonical(s.Units, ParseUnitCode)))
	}
	return " AND (" + strings.Join(any, " OR ") + ")"
}

func (a *audienceQuery) floors(text string) string {
	ranges, ok := ParseFloors(text)
	if !ok {
		return " AND 1 = 0"
	}
	if len(ranges) == 0 {
		return ""
	}
	const floor = "CASE WHEN p.floor = 0 THEN 1 ELSE p.floor END"
	var any []string
	for _, r := range ranges {
		any = append(any, floor+" BETWEEN "+strconv.Itoa(r.From)+" AND "+strconv.Itoa(r.To))
	}
	return " AND (" + strings.Join(any, " OR ") + ")"
}

// canonical gives the codes in the writing of the tables; what is none stays
// and matches nothing.
func canonical(list []string, parse func(string) (string, bool)) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = s
		if code, ok := parse(s); ok {
			out[i] = code
		}
	}
	return out
}

// CountAudience counts what Audience gives, by one statement.
func (e *Estate) CountAudience(ctx context.Context, q db.Querier, companyID string, s Scope, o AudienceOptions) (AudienceCounts, error) {
	text, args := e.Audience(companyID, s, o)
	var c AudienceCounts
	var reachable, dead, optOut int
	// Three passes over narrow rows, one for each thing that is counted once:
	// count(DISTINCT ...) would sort a million wide rows for each figure.
	err := q.QueryRowContext(ctx, `
		WITH a AS MATERIALIZED (SELECT unit_id, resident_id, channel, address, skip_code FROM (`+text+`) w)
		SELECT u.n, p.n, d.sms, d.template, u.reachable, d.dead, d.opt_out
		FROM (SELECT count(*) AS n, coalesce(sum(sent), 0) AS reachable
		      FROM (SELECT max(CASE WHEN channel <> '' AND skip_code = '' THEN 1 ELSE 0 END) AS sent FROM a GROUP BY unit_id) x) u,
		     (SELECT count(*) AS n FROM (SELECT resident_id FROM a WHERE resident_id <> '' GROUP BY resident_id) x) p,
		     (SELECT coalesce(sum(CASE WHEN channel = '`+AudienceSMS+`' AND skip_code = '' THEN 1 ELSE 0 END), 0) AS sms,
		             coalesce(sum(CASE WHEN channel = '`+AudienceTemplate+`' AND skip_code = '' THEN 1 ELSE 0 END), 0) AS template,
		             coalesce(sum(CASE WHEN skip_code = '`+SkipDead+`' THEN 1 ELSE 0 END), 0) AS dead,
		             coalesce(sum(CASE WHEN skip_code = '`+SkipOptOut+`' THEN 1 ELSE 0 END), 0) AS opt_out
		      FROM (SELECT channel, address, skip_code FROM a WHERE channel <> '' GROUP BY channel, address, skip_code) x) d`, args...).
		Scan(&c.Households, &c.People, &c.SMS, &c.Template, &reachable, &dead, &optOut)
	if err != nil {
		return AudienceCounts{}, fmt.Errorf("estate: count audience: %w", err)
	}
	c.None = c.Households - reachable
	c.Skipped = map[string]int{}
	if dead > 0 {
		c.Skipped[SkipDead] = dead
	}
	if optOut > 0 {
		c.Skipped[SkipOptOut] = optOut
	}
	return c, nil
}

// Reasons of a ScopeProblem; what a person reads is made from them by the edge.
const (
	ScopeMissing = "missing" // no project
	ScopeUnknown = "unknown" // no such project, building, entrance or unit here
	ScopeBad     = "bad"     // not written as a floor range, a role
	ScopeNobody  = "nobody"  // places and floors are right, and no unit is there
)

// ScopeProblem says what is wrong with one value of a scope. Field is project,
// buildings, entrances, units, floors, roles, or scope for the whole.
type ScopeProblem struct{ Field, Value, Reason string }

// CheckScope finds what is wrong with a scope; nothing when it may be used.
func (e *Estate) CheckScope(ctx context.Context, q db.Querier, companyID string, s Scope) ([]ScopeProblem, error) {
	if s.ProjectID == "" {
		return []ScopeProblem{{"project", "", ScopeMissing}}, nil
	}
	if _, ok, err := e.ProjectByID(ctx, q, companyID, s.ProjectID); err != nil || !ok {
		return []ScopeProblem{{"project", s.ProjectID, ScopeUnknown}}, err
	}
	var out []ScopeProblem
	for _, c := range []struct {
		field, column string
		parse         func(string) (string, bool)
		values        []string
	}{
		{"buildings", "building", ParseBuilding, s.Buildings},
		{"entrances", "building || '-' || entrance", ParseEntrance, s.Entrances},
		{"units", "code", ParseUnitCode, s.Units},
	} {
		problems, err := e.unknownPlaces(ctx, q, companyID, s.ProjectID, c.field, c.column, c.values, c.parse)
		if err != nil {
			return nil, err
		}
		out = append(out, problems...)
	}
	if _, ok := ParseFloors(s.Floors); !ok {
		out = append(out, ScopeProblem{"floors", s.Floors, ScopeBad})
	}
	for _, role := range s.Roles {
		if !slices.Contains(Roles, role) {
			out = append(out, ScopeProblem{"roles", role, ScopeBad})
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	empty, err := e.nobody(ctx, q, companyID, s)
	if err != nil || !empty {
		return nil, err
	}
	return []ScopeProblem{{"scope", "", ScopeNobody}}, nil
}

// unknownPlaces names the values that stand for no unit of the project.
func (e *Estate) unknownPlaces(ctx context.Context, q db.Querier, companyID, projectID, field, column string, values []string, parse func(string) (string, bool)) ([]ScopeProblem, error) {
	if len(values) == 0 {
		return nil, nil
	}
	codes := canonical(values, parse)
	rows, err := q.QueryContext(ctx, `
		SELECT DISTINCT `+column+` FROM units WHERE company_id = $1 AND project_id = $2 AND `+column+` `+db.InStrings(q, "$3"),
		companyID, projectID, db.Strings(q, codes))
	if err != nil {
		return nil, fmt.Errorf("estate: check %s of a scope: %w", field, err)
	}
	defer rows.Close()
	known := map[string]bool{}
	for rows.Next() {
		var code string
		if err := rows.Scan(&code); err != nil {
			return nil, fmt.Errorf("estate: check %s of a scope: %w", field, err)
		}
		known[code] = true
	}
	var out []ScopeProblem
	for i, code := range codes {
		if !known[code] {
			out = append(out, ScopeProblem{field, values[i], ScopeUnknown})
		}
	}
	return out, rows.Err()
}

func (e *Estate) nobody(ctx context.Context, q db.Querier, companyID string, s Scope) (bool, error) {
	text, args := e.Audience(companyID, s, AudienceOptions{IgnoreOptOut: true})
	rows, err := q.QueryContext(ctx, `SELECT 1 FROM (`+text+`) a LIMIT 1`, args...)
	if err != nil {
		return false, fmt.Errorf("estate: look into a scope: %w", err)
	}
	defer rows.Close()
	return !rows.Next(), rows.Err()
}
