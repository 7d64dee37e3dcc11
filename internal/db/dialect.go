package db

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// NewID returns a new identifier: a UUIDv7 as text, which sorts by the
// machine's time of its making.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// SkipLocked is appended to a SELECT that claims rows: " FOR UPDATE SKIP
// LOCKED" on PostgreSQL, nothing on SQLite, where a transaction has the write
// lock from its beginning.
func SkipLocked(q Querier) string {
	if q.Engine() == EnginePostgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// ForUpdate is appended to a SELECT whose rows the transaction will change:
// " FOR UPDATE" on PostgreSQL, nothing on SQLite.
func ForUpdate(q Querier) string {
	if q.Engine() == EnginePostgres {
		return " FOR UPDATE"
	}
	return ""
}

// InStrings is the right side of a comparison of a text column with a list of
// any length that is one parameter:
//
//	"where id " + db.InStrings(q, "$3")   with the argument   db.Strings(q, ids)
func InStrings(q Querier, placeholder string) string {
	if q.Engine() == EnginePostgres {
		return "= ANY(cast(" + placeholder + " as text[]))"
	}
	return "IN (SELECT value FROM json_each(" + placeholder + "))"
}

// Strings is the argument for InStrings. An empty list matches nothing.
func Strings(q Querier, v []string) any {
	if v == nil {
		v = []string{}
	}
	if q.Engine() == EnginePostgres {
		return v
	}
	b, err := json.Marshal(v)
	if err != nil { // strings always marshal
		return "[]"
	}
	return string(b)
}

// TimeParam gives a time parameter its type where the statement doesn't (in a
// SELECT list, a CASE, a coalesce): cast($3 as timestamptz) on PostgreSQL, and
// text on SQLite, which would make the number 2026 of such a cast.
func TimeParam(q Querier, placeholder string) string {
	if q.Engine() == EnginePostgres {
		return "cast(" + placeholder + " as timestamptz)"
	}
	return "cast(" + placeholder + " as text)"
}

// PreferIndexes makes PostgreSQL reach rows by their indexes in the rest of the
// transaction, and plan each statement by the tables as they are now; it does
// nothing on SQLite, which always does so. It is for transactions that write
// lists (InStrings, Rows) into a table that grows fast: the planner doesn't know
// how short a list is, and a prepared statement keeps the plan that was right
// while the table was nearly empty. Measured: the first broadcast of a fresh
// database read the whole table for every batch.
func PreferIndexes(ctx context.Context, tx *Tx) error {
	if tx.Engine() != EnginePostgres {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		select set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_seqscan', 'off', true),
			set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
			set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true)`)
	if err != nil {
		return fmt.Errorf("prefer indexes: %w", err)
	}
	return nil
}

// Col is a column that Rows yields. Make it with TextCol, IntCol, BoolCol,
// TimeCol or FloatCol.
type Col struct{ name, pgType, sqliteType string }

// TextCol is a column of texts.
func TextCol(name string) Col { return Col{name, "text", "text"} }

// IntCol is a column of 64-bit integers.
func IntCol(name string) Col { return Col{name, "bigint", "integer"} }

// BoolCol is a column of booleans.
func BoolCol(name string) Col { return Col{name, "boolean", "integer"} }

// TimeCol is a column of times; its values are Time.
func TimeCol(name string) Col { return Col{name, "timestamptz", "text"} }

// FloatCol is a column of floating-point numbers.
func FloatCol(name string) Col { return Col{name, "double precision", "real"} }

// Rows is a FROM item that yields one row for each element of one argument
// (RowsArg), for inserts and updates of many rows by one statement:
//
//	type row struct {
//		ID string  `json:"id"`
//		At db.Time `json:"at"`
//	}
//	tx.ExecContext(ctx, `
//		update deliveries set sent_at = r.at
//		from `+db.Rows(tx, "$1", db.TextCol("id"), db.TimeCol("at"))+` as r
//		where deliveries.id = r.id`, db.RowsArg(rows))
//
// The caller gives the item its alias. A field that is absent or null is NULL.
// Column names are lower case and come from code, never from outside. An
// INSERT ... SELECT from it with ON CONFLICT needs a WHERE (write "where
// true"). The order of the rows is that of the argument, unless joined.
func Rows(q Querier, placeholder string, cols ...Col) string {
	if q.Engine() == EnginePostgres {
		defs := make([]string, len(cols))
		for i, c := range cols {
			defs[i] = c.name + " " + c.pgType
		}
		return "(select * from json_to_recordset(cast(" + placeholder + " as json)) as x(" + strings.Join(defs, ", ") + "))"
	}
	fields := make([]string, len(cols))
	for i, c := range cols {
		fields[i] = "cast(value ->> '" + c.name + "' as " + c.sqliteType + ") as " + c.name
	}
	return "(select " + strings.Join(fields, ", ") + " from json_each(" + placeholder + "))"
}

// RowsArg is the argument for Rows: a slice of structs (or maps) whose JSON
// names are the columns. It panics when v cannot be written as JSON, which is
// a mistake of the programmer.
func RowsArg(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("db: rows argument %T: %v", v, err))
	}
	if string(b) == "null" {
		return "[]"
	}
	return string(b)
}

// LikeEscape escapes what LIKE would take for a pattern. Write the pattern
// with ESCAPE '\', and compare lower(x) with a lower-case text: LIKE ignores
// the case of ASCII letters on SQLite only.
func LikeEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
