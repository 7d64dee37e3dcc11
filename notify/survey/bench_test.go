package survey_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/embedded/redistest"
	"guanjia/notify/survey"
)

// big is a world on PostgreSQL with n more homes in buildings 101 and up, one
// resident each, of whom half follow the account.
func big(b *testing.B, n int) *house {
	b.Helper()
	w := worldtest.New(b, dbtest.Open(b, dbtest.Postgres(b)), redistest.Embedded(b, clock.System()).Client())
	h := newHouse(b, w)
	inTx(b, h.DB, func(ctx context.Context, tx *db.Tx) error {
		for _, q := range []string{
			`INSERT INTO units (id, company_id, project_id, entrance_id, building, entrance, room, code, floor, kind, vacant)
			 SELECT 'bu' || g, u.company_id, u.project_id, u.entrance_id, cast(101 + g / 1000 as text), '1', cast(g as text), cast(101 + g / 1000 as text) || '-1-' || cast(g as text), 3, u.kind, false
			 FROM (SELECT * FROM units ORDER BY id LIMIT 1) u, generate_series(1, cast($1 as int)) g`,
			`INSERT INTO residents (id, company_id, name, phone, updated_at) SELECT 'br' || g, cast($2 as text), '住户', cast(13700000000 + g as text), cast($3 as timestamptz) FROM generate_series(1, cast($1 as int)) g`,
			`INSERT INTO homes (id, company_id, resident_id, unit_id, role, since) SELECT 'bh' || g, cast($2 as text), 'br' || g, 'bu' || g, 'owner', cast($3 as timestamptz) FROM generate_series(1, cast($1 as int)) g`,
			`INSERT INTO bindings (id, company_id, account_id, openid, resident_id, bound_at) SELECT 'bb' || g, cast($2 as text), cast($4 as text), 'obench' || g, 'br' || g, cast($3 as timestamptz) FROM generate_series(1, cast($1 as int), 2) g`,
		} {
			args := []any{n, sample.CompanyID, db.At(h.Clock.Now()), sample.AccountID}
			used := 1
			for i := 2; i <= 4; i++ {
				if strings.Contains(q, fmt.Sprintf("$%d", i)) {
					used = i
				}
			}
			if _, err := tx.ExecContext(ctx, q, args[:used]...); err != nil {
				return err
			}
		}
		return nil
	})
	if _, err := h.DB.ExecContext(b.Context(), `ANALYZE`); err != nil {
		b.Fatal(err)
	}
	return h
}

// BenchmarkFreeze compares the approval of a survey of 100,000 homes with the
// bare statement: one INSERT ... SELECT of the audience into the same table.
func BenchmarkFreeze(b *testing.B) {
	const homes = 100_000
	h := big(b, homes)
	for range b.N {
		d := halfYear()
		d.Scope = survey.Scope{}
		s := h.compose(b, d)
		text, args := h.Estate.Audience(sample.CompanyID, h.scope(), h.options())
		from := time.Now()
		_, err := h.DB.ExecContext(b.Context(), `
			INSERT INTO survey_invitations (id, survey_id, company_id, person, resident_id, name, unit_id, unit, building, count_key, ref_id, ref_no,
				channel, account_id, address, state, skip_code, asking, doubted, created_at)
			SELECT 'bare' || row_number() OVER (), 'bare', 'bare', resident_id || row_number() OVER (), resident_id, name, unit_id, unit, building, unit_id, '', '', channel, account_id, address, 'waiting', '', '', false, cast('2026-03-02' as timestamptz)
			FROM (`+text+`) a WHERE resident_id <> '' AND channel = 'sms'`, args...)
		bare := time.Since(from)
		if err != nil {
			b.Fatal(err)
		}
		from = time.Now()
		if _, err := h.Surveys.Approve(b.Context(), h.as(b, "cs_manager"), s.ID); err != nil {
			b.Fatal(err)
		}
		took := time.Since(from)
		b.ReportMetric(float64(bare.Milliseconds()), "bare-ms")
		b.ReportMetric(float64(took.Milliseconds()), "approve-ms")
		b.ReportMetric(took.Seconds()/bare.Seconds(), "times-bare")
		if _, err := h.DB.ExecContext(b.Context(), `DELETE FROM survey_invitations WHERE survey_id = 'bare'`); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkResults reads the results page of a survey with counts of a million
// answers: 100 buildings, 6 months, 12 categories, 5 scores.
func BenchmarkResults(b *testing.B) {
	w := worldtest.New(b, dbtest.Open(b, dbtest.Postgres(b)), redistest.Embedded(b, clock.System()).Client())
	h := newHouse(b, w)
	s := h.running(b, halfYear())
	_, err := h.DB.ExecContext(b.Context(), `
		INSERT INTO survey_counts (survey_id, category, building, month, score, n)
		SELECT $1, c, cast(bl as text), '2026-0' || m, sc, 334 FROM unnest(array['overall','order_security','cleaning','greening','customer_service','engineering','facilities_play','management','convenience','special_needs','culture','other']) c,
			generate_series(101, 200) bl, generate_series(1, 6) m, generate_series(1, 5) sc`, s.ID)
	if err == nil {
		_, err = h.DB.ExecContext(b.Context(), `INSERT INTO survey_counts (survey_id, category, building, month, score, n) SELECT $1, '#answers', cast(bl as text), '2026-0' || m, 0, 1670 FROM generate_series(101, 200) bl, generate_series(1, 6) m`, s.ID)
	}
	if err != nil {
		b.Fatal(err)
	}
	worst := time.Duration(0)
	for b.Loop() {
		from := time.Now()
		r, err := h.Surveys.Results(b.Context(), sample.CompanyID, s.ID, survey.ResultFilter{})
		if err != nil || r.Answered < 1_000_000 || len(r.By["building"]) < 100 {
			b.Fatalf("%d answers, %v", r.Answered, err)
		}
		worst = max(worst, time.Since(from))
	}
	b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
}
