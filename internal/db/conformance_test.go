package db_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func exec(t *testing.T, q db.Querier, query string, args ...any) {
	t.Helper()
	if _, err := q.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func TestParametersKeepTheirNumbers(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		// Other SQLite drivers bind by first appearance and swap these.
		var a, b, c int
		err := d.QueryRowContext(t.Context(), `select cast($2 as bigint), cast($1 as bigint), cast($2 as bigint) + cast($1 as bigint)`, 1, 2).Scan(&a, &b, &c)
		if err != nil {
			t.Fatal(err)
		}
		if a != 2 || b != 1 || c != 3 {
			t.Errorf("select $2, $1, $2+$1 = %d, %d, %d; want 2, 1, 3", a, b, c)
		}
	})
}

func TestTimesSortAndCompare(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		exec(t, d, `create table moments (name text primary key, at timestamptz)`)
		shanghai := time.FixedZone("CST", 8*3600)
		moments := map[string]time.Time{
			"a whole second":  noon,
			"a tenth later":   noon.Add(100 * time.Millisecond),
			"a micro more":    noon.Add(100*time.Millisecond + time.Microsecond),
			"east, one later": noon.Add(time.Second).In(shanghai),
			"before the year": time.Date(2025, 12, 31, 23, 59, 59, 999999000, time.UTC),
		}
		for name, at := range moments {
			exec(t, d, `insert into moments (name, at) values ($1, $2)`, name, db.At(at))
		}
		exec(t, d, `insert into moments (name, at) values ('never', $1)`, db.Time{})

		rows, err := d.QueryContext(ctx, `select name, at from moments order by at nulls last, name`)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for rows.Next() {
			var (
				name string
				at   db.Time
			)
			if err := rows.Scan(&name, &at); err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
			if want := moments[name]; !at.Equal(want) {
				t.Errorf("%s came back as %s, want %s", name, at, want)
			}
			if !at.IsZero() && at.Location() != time.UTC {
				t.Errorf("%s came back in %s", name, at.Location())
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		want := []string{"before the year", "a whole second", "a tenth later", "a micro more", "east, one later", "never"}
		if !slices.Equal(names, want) {
			t.Errorf("order %q, want %q", names, want)
		}

		var n int
		err = d.QueryRowContext(ctx, `select count(*) from moments where at > $1 and at <= $2`,
			db.At(noon.In(shanghai)), db.At(noon.Add(time.Second))).Scan(&n)
		if err != nil || n != 3 {
			t.Errorf("later than noon: %d, %v; want 3", n, err)
		}
		var last, def, given db.Time
		err = d.QueryRowContext(ctx, `
			select max(at),
			       (select coalesce(at, `+db.TimeParam(d, "$1")+`) from moments where name = 'never'),
			       `+db.TimeParam(d, "$1")+`
			from moments`, db.At(noon)).Scan(&last, &def, &given)
		if err != nil {
			t.Fatal(err)
		}
		if !last.Equal(noon.Add(time.Second)) || !def.Equal(noon) || !given.Equal(noon) {
			t.Errorf("max %s, coalesce %s, parameter %s", last, def, given)
		}
		var back db.Time
		err = d.Writer().QueryRowContext(ctx, `update moments set at = $1 where name = 'never' returning at`, db.At(noon)).Scan(&back)
		if err != nil || !back.Equal(noon) {
			t.Errorf("returning: %s, %v", back, err)
		}
	})
}

func TestErrorsAreRecognised(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `create table parents (id text primary key, code text)`)
		exec(t, d, `create unique index parents_code on parents (code)`)
		exec(t, d, `create table children (id text primary key, parent_id text not null references parents (id))`)
		exec(t, d, `insert into parents (id, code) values ('p', 'c')`)
		tests := []struct {
			name, stmt                      string
			unique, foreignKey, unavailable bool
		}{
			{"primary key", `insert into parents (id, code) values ('p', 'd')`, true, false, false},
			{"unique index", `insert into parents (id, code) values ('q', 'c')`, true, false, false},
			{"foreign key", `insert into children (id, parent_id) values ('x', 'nobody')`, false, true, false},
			{"not null", `insert into children (id, parent_id) values ('x', null)`, false, false, false},
			{"nonsense", `insert into nowhere (id) values ('x')`, false, false, false},
		}
		for _, tt := range tests {
			_, err := d.ExecContext(t.Context(), tt.stmt)
			if err == nil {
				t.Errorf("%s: no error", tt.name)
			}
			if db.IsUnique(err) != tt.unique || db.IsForeignKey(err) != tt.foreignKey || db.IsUnavailable(err) != tt.unavailable {
				t.Errorf("%s: unique %t, foreign key %t, unavailable %t: %v",
					tt.name, db.IsUnique(err), db.IsForeignKey(err), db.IsUnavailable(err), err)
			}
		}
	})
}

func TestUpsertReturning(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `create table counters (id text primary key, n bigint not null, open boolean not null)`)
		exec(t, d, `create unique index one_open on counters (n) where open`)
		const upsert = `
			insert into counters (id, n, open) values ($1, $2, $3)
			on conflict (id) do update set n = counters.n + excluded.n
			returning n, open`
		for i, want := range []int{5, 10} {
			var (
				n    int
				open bool
			)
			if err := d.Writer().QueryRowContext(t.Context(), upsert, "a", 5, true).Scan(&n, &open); err != nil {
				t.Fatal(err)
			}
			if n != want || !open {
				t.Errorf("upsert %d: n = %d, open = %t; want %d, true", i, n, open, want)
			}
		}
		// A partial index as target, and nothing returned on a conflict.
		var id string
		err := d.Writer().QueryRowContext(t.Context(), `
			insert into counters (id, n, open) values ($1, $2, $3)
			on conflict (n) where open do nothing returning id`, "b", 10, true).Scan(&id)
		if !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("conflict: %q, %v; want no rows", id, err)
		}
	})
}

func TestInStrings(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `create table words (w text primary key)`)
		all := []string{`plain`, `"quoted"`, `it's`, `{curly,comma}`, `back\slash`, `三栋 😀`, `null`, ``}
		for _, w := range all {
			exec(t, d, `insert into words (w) values ($1)`, w)
		}
		tests := []struct {
			in   []string
			want int
		}{
			{all, len(all)}, {all[1:3], 2}, {[]string{"absent", `"quoted"`}, 1}, {[]string{}, 0}, {nil, 0},
		}
		for _, tt := range tests {
			var n int
			err := d.QueryRowContext(t.Context(), `select count(*) from words where $1 = 1 and w `+db.InStrings(d, "$2"),
				1, db.Strings(d, tt.in)).Scan(&n)
			if err != nil || n != tt.want {
				t.Errorf("in %q: %d, %v; want %d", tt.in, n, err, tt.want)
			}
		}
	})
}

func TestRowsInsertAndUpdate(t *testing.T) {
	t.Parallel()
	type row struct {
		ID   string  `json:"id"`
		N    int64   `json:"n"`
		OK   bool    `json:"ok"`
		At   db.Time `json:"at"`
		Note *string `json:"note"`
		F    float64 `json:"f"`
	}
	cols := []db.Col{db.TextCol("id"), db.IntCol("n"), db.BoolCol("ok"), db.TimeCol("at"), db.TextCol("note"), db.FloatCol("f")}
	note := `"三栋" \ 'x' 😀`
	in := []row{
		{"a", 9007199254740993, true, db.At(noon), &note, 1.5},
		{"b", -1, false, db.Time{}, nil, 0},
		{"c", 0, true, db.At(noon.Add(time.Microsecond)), &note, -2},
	}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		exec(t, d, `create table things (id text primary key, n bigint, ok boolean, at timestamptz, note text, f double precision)`)
		insert := `insert into things (id, n, ok, at, note, f)
			select r.id, r.n, r.ok, r.at, r.note, r.f from ` + db.Rows(d, "$1", cols...) + ` as r where true
			on conflict (id) do nothing`
		res, err := d.ExecContext(ctx, insert, db.RowsArg(in))
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := res.RowsAffected(); n != 3 {
			t.Errorf("inserted %d, want 3", n)
		}
		exec(t, d, insert, db.RowsArg([]row(nil)))
		exec(t, d, `update things set n = r.n, at = r.at from `+db.Rows(d, "$1", db.TextCol("id"), db.IntCol("n"), db.TimeCol("at"))+
			` as r where things.id = r.id and things.ok = $2`, db.RowsArg([]row{{ID: "b", N: 7}, {ID: "c", N: 8, At: db.At(noon)}}), true)

		rows, err := d.QueryContext(ctx, `select id, n, ok, at, note, f from things order by id`)
		if err != nil {
			t.Fatal(err)
		}
		var out []row
		for rows.Next() {
			var r row
			if err := rows.Scan(&r.ID, &r.N, &r.OK, &r.At, &r.Note, &r.F); err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		if len(out) != 3 {
			t.Fatalf("%d rows", len(out))
		}
		want := slices.Clone(in)
		want[2].N, want[2].At = 8, db.At(noon)
		for i := range want {
			got := out[i]
			same := got.ID == want[i].ID && got.N == want[i].N && got.OK == want[i].OK && got.At.Equal(want[i].At.Time) && got.F == want[i].F
			if !same || (got.Note == nil) != (want[i].Note == nil) || got.Note != nil && *got.Note != *want[i].Note {
				t.Errorf("row %d: %+v, want %+v", i, got, want[i])
			}
		}
	})
}

func TestClaimSkipsLockedRows(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `create table work (id bigint primary key, by_whom text)`)
		const rows, workers = 200, 6
		for i := range rows {
			exec(t, d, `insert into work (id) values ($1)`, i)
		}
		claim := func(who string) (n int64, err error) {
			err = d.InTx(t.Context(), "claim", func(ctx context.Context, tx *db.Tx) error {
				res, err := tx.ExecContext(ctx, `update work set by_whom = $1 where id in (
					select id from work where by_whom is null order by id limit 5`+db.SkipLocked(tx)+`)`, who)
				if err != nil {
					return err
				}
				n, err = res.RowsAffected()
				return err
			})
			return n, err
		}
		totals := make(chan int64, workers)
		for i := range workers {
			go func() {
				var total int64
				for {
					n, err := claim(string(rune('a' + i)))
					if err != nil {
						t.Error(err)
					}
					if n == 0 || err != nil {
						totals <- total
						return
					}
					total += n
				}
			}()
		}
		var sum int64
		for range workers {
			sum += <-totals
		}
		if sum != rows {
			t.Errorf("claimed %d of %d: a row was claimed twice or never", sum, rows)
		}
	})
}

func TestPortableStatements(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `create table p (id text primary key, grp text, n bigint, doc text, at timestamptz)`)
		for i, id := range []string{"a", "b", "c", "d"} {
			exec(t, d, `insert into p (id, grp, n, doc, at) values ($1, $2, $3, $4, $5)`,
				id, []string{"x", "y"}[i%2], i, `{"k":{"v":"`+id+`"}}`, db.At(noon))
		}
		tests := []struct{ name, query, want string }{
			{"window", `select string_agg(id, ',') from (select id, row_number() over (partition by grp order by n desc) as r from p) as w where r = 1`, ""},
			{"filter", `select cast(count(*) filter (where grp = 'x') as text) from p`, "2"},
			{"cte", `with w as (select n from p where n > 1) select cast(sum(n) as text) from w`, "5"},
			{"recursive", `with recursive r as (select 1 as i union all select i + 1 from r where i < 4) select cast(max(i) as text) from r`, "4"},
			{"distinct from", `select cast(count(*) as text) from p where grp is distinct from 'x'`, "2"},
			{"row values", `select id from p where (grp, n) > ('x', 2) order by grp, n limit 1`, "b"},
			{"json", `select cast(doc as text) from p where id = 'a'`, `{"k":{"v":"a"}}`},
			{"nulls last", `select id from p order by case when id = 'a' then null else n end nulls last limit 1`, "b"},
			{"like", `select id from p where lower(id) like $1 escape '\' limit 1`, "c"},
		}
		for _, tt := range tests {
			var (
				got  string
				args []any
			)
			if tt.name == "like" {
				args = append(args, db.LikeEscape("c"))
			}
			if err := d.QueryRowContext(t.Context(), tt.query, args...).Scan(&got); err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			if tt.want != "" && got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
		var deleted string
		if err := d.Writer().QueryRowContext(t.Context(), `delete from p where id = 'd' returning id`).Scan(&deleted); err != nil || deleted != "d" {
			t.Errorf("delete returning: %q, %v", deleted, err)
		}
		exec(t, d, `with big as (select id from p where n >= $1) update p set grp = 'big' where id in (select id from big)`, 2)
		exec(t, d, `update p set grp = o.grp from p as o where o.id = 'a' and p.id = 'b'`)
		var grp string
		if err := d.QueryRowContext(t.Context(), `select grp from p where id = 'b'`).Scan(&grp); err != nil || grp != "x" {
			t.Errorf("update from: %q, %v", grp, err)
		}
	})
}

func TestLikeEscape(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `create table names (n text primary key)`)
		for _, n := range []string{"100%", "100x", "a_b", "axb", `c\d`} {
			exec(t, d, `insert into names (n) values ($1)`, n)
		}
		for in, want := range map[string]string{"100%": "100%", "a_b": "a_b", `c\d`: `c\d`} {
			var got string
			var n int
			err := d.QueryRowContext(t.Context(), `select max(n), count(*) from names where n like $1 escape '\'`, "%"+db.LikeEscape(in)+"%").Scan(&got, &n)
			if err != nil || got != want || n != 1 {
				t.Errorf("like %q: %q (%d), %v", in, got, n, err)
			}
		}
	})
}

func TestReadersCannotWrite(t *testing.T) {
	t.Parallel()
	d := dbtest.SQLite(t)
	exec(t, d, `create table w (id text primary key)`)
	rows, err := d.QueryContext(t.Context(), `insert into w (id) values ('x') returning id`)
	if err == nil {
		for rows.Next() {
		}
		err = errors.Join(rows.Err(), rows.Close())
	}
	if err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("a reader wrote: %v", err)
	}
}

func TestNewIDSorts(t *testing.T) {
	t.Parallel()
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = db.NewID()
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Error("identifiers are not unique and ascending")
	}
}
