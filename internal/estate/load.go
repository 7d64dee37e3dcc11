package estate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"guanjia/internal/db"
)

// Batch is places and people to be stored together. Order within a batch does
// not matter; what a row refers to is in this batch or an earlier one.
type Batch struct {
	Projects  []Project
	Buildings []Building
	Entrances []Entrance
	Units     []Unit
	Residents []Resident // their homes come as Homes
	Homes     []HomeRow
	Bindings  []Binding
}

// PutTx stores a batch by one statement a table. Keep a batch under some ten
// thousand rows: a transaction on SQLite holds every other writer up.
func (e *Estate) PutTx(ctx context.Context, tx *db.Tx, b Batch) error {
	for _, put := range []func(context.Context, *db.Tx, Batch) error{
		putProjects, putBuildings, putEntrances, putUnits, e.putResidents, putHomes, putBindings,
	} {
		if err := put(ctx, tx, b); err != nil {
			return err
		}
	}
	return nil
}

func putProjects(ctx context.Context, tx *db.Tx, b Batch) error {
	for _, p := range b.Projects {
		if _, err := tx.ExecContext(ctx, `INSERT INTO projects (id, company_id, name, service_center) VALUES ($1, $2, $3, $4)`,
			p.ID, p.CompanyID, p.Name, p.ServiceCenter); err != nil {
			return fmt.Errorf("estate: put project: %w", err)
		}
	}
	return nil
}

func putBuildings(ctx context.Context, tx *db.Tx, b Batch) error {
	type row struct {
		ID        string `json:"id"`
		CompanyID string `json:"company_id"`
		ProjectID string `json:"project_id"`
		Code      string `json:"code"`
	}
	rows := make([]row, len(b.Buildings))
	for i, v := range b.Buildings {
		rows[i] = row(v)
	}
	return bulk(ctx, tx, "buildings", rows, textCol("id"), textCol("company_id"), textCol("project_id"), textCol("code"))
}

func putEntrances(ctx context.Context, tx *db.Tx, b Batch) error {
	type row struct {
		ID         string `json:"id"`
		CompanyID  string `json:"company_id"`
		BuildingID string `json:"building_id"`
		Code       string `json:"code"`
	}
	rows := make([]row, len(b.Entrances))
	for i, v := range b.Entrances {
		rows[i] = row(v)
	}
	return bulk(ctx, tx, "entrances", rows, textCol("id"), textCol("company_id"), textCol("building_id"), textCol("code"))
}

func putUnits(ctx context.Context, tx *db.Tx, b Batch) error {
	type row struct {
		ID         string `json:"id"`
		CompanyID  string `json:"company_id"`
		ProjectID  string `json:"project_id"`
		EntranceID string `json:"entrance_id"`
		Building   string `json:"building"`
		Entrance   string `json:"entrance"`
		Room       string `json:"room"`
		Code       string `json:"code"`
		Floor      int    `json:"floor"`
		Kind       string `json:"kind"`
		Vacant     bool   `json:"vacant"`
	}
	rows := make([]row, len(b.Units))
	for i, v := range b.Units {
		rows[i] = row(v)
	}
	return bulk(ctx, tx, "units", rows, textCol("id"), textCol("company_id"), textCol("project_id"), textCol("entrance_id"),
		textCol("building"), textCol("entrance"), textCol("room"), textCol("code"), column{"floor", db.IntCol("floor")}, textCol("kind"), column{"vacant", db.BoolCol("vacant")})
}

func (e *Estate) putResidents(ctx context.Context, tx *db.Tx, b Batch) error {
	type row struct {
		ID        string  `json:"id"`
		CompanyID string  `json:"company_id"`
		Name      string  `json:"name"`
		Phone     *string `json:"phone"`
		UpdatedAt db.Time `json:"updated_at"`
	}
	now := e.now()
	rows := make([]row, len(b.Residents))
	for i, v := range b.Residents {
		rows[i] = row{ID: v.ID, CompanyID: v.CompanyID, Name: v.Name, UpdatedAt: now}
		if v.Phone != "" {
			rows[i].Phone = &b.Residents[i].Phone
		}
	}
	return bulk(ctx, tx, "residents", rows, textCol("id"), textCol("company_id"), textCol("name"), textCol("phone"), timeCol("updated_at"))
}

func putHomes(ctx context.Context, tx *db.Tx, b Batch) error {
	type row struct {
		ID         string  `json:"id"`
		CompanyID  string  `json:"company_id"`
		ResidentID string  `json:"resident_id"`
		UnitID     string  `json:"unit_id"`
		Role       string  `json:"role"`
		Since      db.Time `json:"since"`
		Until      db.Time `json:"until"`
	}
	rows := make([]row, len(b.Homes))
	for i, v := range b.Homes {
		rows[i] = row{v.ID, v.CompanyID, v.ResidentID, v.UnitID, v.Role, db.At(v.Since), db.At(v.Until)}
	}
	return bulk(ctx, tx, "homes", rows, textCol("id"), textCol("company_id"), textCol("resident_id"), textCol("unit_id"),
		textCol("role"), timeCol("since"), timeCol("until"))
}

func putBindings(ctx context.Context, tx *db.Tx, b Batch) error {
	type row struct {
		ID         string  `json:"id"`
		CompanyID  string  `json:"company_id"`
		AccountID  string  `json:"account_id"`
		OpenID     string  `json:"openid"`
		ResidentID string  `json:"resident_id"`
		BoundAt    db.Time `json:"bound_at"`
	}
	rows := make([]row, len(b.Bindings))
	for i, v := range b.Bindings {
		rows[i] = row{v.ID, v.CompanyID, v.AccountID, v.OpenID, v.ResidentID, db.At(v.BoundAt)}
	}
	return bulk(ctx, tx, "bindings", rows, textCol("id"), textCol("company_id"), textCol("account_id"), textCol("openid"),
		textCol("resident_id"), timeCol("bound_at"))
}

// column is a column of a bulk insert, of the same name in table and argument.
type column struct {
	name string
	col  db.Col
}

func textCol(name string) column { return column{name, db.TextCol(name)} }
func timeCol(name string) column { return column{name, db.TimeCol(name)} }

// bulk inserts rows by one statement.
func bulk[R any](ctx context.Context, tx *db.Tx, table string, rows []R, columns ...column) error {
	if len(rows) == 0 {
		return nil
	}
	names := make([]string, len(columns))
	cols := make([]db.Col, len(columns))
	for i, c := range columns {
		names[i], cols[i] = c.name, c.col
	}
	list := strings.Join(names, ", ")
	if _, err := tx.ExecContext(ctx, `INSERT INTO `+table+` (`+list+`) SELECT `+list+` FROM `+db.Rows(tx, "$1", cols...)+` AS r`,
		db.RowsArg(rows)); err != nil {
		return fmt.Errorf("estate: put %s: %w", table, err)
	}
	return nil
}

// MarkPhoneDeadTx notes that the carrier says a number does not exist, with its
// code. Notices then skip it and count the home as not reached.
func (e *Estate) MarkPhoneDeadTx(ctx context.Context, tx *db.Tx, companyID, phone, code string, at time.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE residents SET phone_dead_at = $3, phone_dead_code = $4 WHERE company_id = $1 AND phone = $2`,
		companyID, phone, db.At(at), code); err != nil {
		return fmt.Errorf("estate: mark phone: %w", err)
	}
	return nil
}

// Opt-out channels and the class that means every kind of message.
const (
	OptOutSMS    = "sms"
	OptOutWeChat = "wechat"
	OptOutAll    = "all"
)

// OptOutTx spares a resident messages of a class on a channel; twice is once.
func (e *Estate) OptOutTx(ctx context.Context, tx *db.Tx, companyID, residentID, channel, class, source string) error {
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO opt_outs (company_id, resident_id, channel, class, source, at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (resident_id, channel, class) DO NOTHING`,
		companyID, residentID, channel, class, source, e.now()); err != nil {
		return fmt.Errorf("estate: opt out: %w", err)
	}
	return nil
}

// OptInTx takes an opt-out back.
func (e *Estate) OptInTx(ctx context.Context, tx *db.Tx, companyID, residentID, channel, class string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM opt_outs WHERE company_id = $1 AND resident_id = $2 AND channel = $3 AND class = $4`,
		companyID, residentID, channel, class); err != nil {
		return fmt.Errorf("estate: opt in: %w", err)
	}
	return nil
}

// PutProjectTx adds a project or changes its name and service center.
func (e *Estate) PutProjectTx(ctx context.Context, tx *db.Tx, p Project) error {
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO projects (id, company_id, name, service_center) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, service_center = excluded.service_center WHERE projects.company_id = excluded.company_id`,
		p.ID, p.CompanyID, p.Name, p.ServiceCenter); err != nil {
		return fmt.Errorf("estate: put project: %w", err)
	}
	return nil
}
