package sms

import (
	"context"
	"errors"
	"testing"

	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/estate"
)

func TestRefusalWords(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]bool{
		"R": true, "r": true, " Ｒ ": true, "【R】": true, "退订": true, "TD": true, "拒收。": true, "N": true,
		"RR": false, "5": false, "怎么退订": false, "": false, "停水吗": false,
	} {
		if got := refuses(word); got != want {
			t.Errorf("%q: refuses %v, want %v", word, got, want)
		}
	}
}

// household answers as the estate would.
type household struct{ out []string }

func (h *household) Residents(_ context.Context, _ db.Querier, _ string, f estate.Filter) ([]estate.Resident, string, error) {
	if f.Phone != phone {
		return nil, "", nil
	}
	return []estate.Resident{
		{ID: "wang", Homes: []estate.Home{{UnitID: "u1"}, {UnitID: "u2"}}}, {ID: "wang2", Homes: []estate.Home{{UnitID: "u3"}}},
	}, "", nil
}

func (h *household) OptOutTx(_ context.Context, _ *db.Tx, company, resident, channel, class, _ string) error {
	h.out = append(h.out, company+" "+resident+" "+channel+" "+class)
	return nil
}

// The first handler that takes an answer is the only one; each answer is bound
// to its home; one that fails lets the others pass.
func TestUplinkChain(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := &household{}
		var surveys []string
		survey := UplinkHandler{Name: "survey", Take: func(_ context.Context, _ *db.Tx, u Uplink, _ []estate.Resident) (bool, error) {
			surveys = append(surveys, u.Content)
			switch u.Content {
			case "poison":
				return false, errors.New("cannot be read")
			case "5":
				return true, nil
			}
			return false, nil
		}}
		b := newBench(t, d, Uplinks(h, OptOut(h), survey))
		for i, item := range []string{"poison", "R", "5", "怎么没水"} {
			body := `[{"phone_number":"` + phone + `","content":"` + item + `","send_time":"2026-11-25 09:00:00","sequence_id":` + string(rune('1'+i)) + `}]`
			acknowledged(t, b.post(upPath, body))
		}
		acknowledged(t, b.post(upPath, `[{"phone_number":"13999999999","content":"R","send_time":"x","sequence_id":9}]`))
		for range mostTries + 5 {
			_ = b.s.Settle(t.Context()) // the poisoned one fails again and again
		}
		if len(h.out) != 2 || h.out[0] != "c1 wang sms all" || h.out[1] != "c1 wang2 sms all" {
			t.Errorf("opt-outs %v", h.out)
		}
		got := map[string]string{}
		rows, err := d.QueryContext(t.Context(), `select content, phone, resident_id, unit_id, handled_by, tries, handled_at is not null from sms_uplinks`)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var content, from, resident, unit, by string
			var tries int64
			var handled bool
			if err := rows.Scan(&content, &from, &resident, &unit, &by, &tries, &handled); err != nil {
				t.Fatal(err)
			}
			if handled == (content == "poison") || (content == "poison") != (tries == mostTries) {
				t.Errorf("%s: handled %v after %d tries", content, handled, tries)
			}
			if from == phone {
				got[content] = resident + " " + unit + " " + by
			} else if resident != "" || by != "opt_out" {
				t.Errorf("a stranger's answer is bound to %q by %q", resident, by)
			}
		}
		for content, want := range map[string]string{"R": "wang u1 opt_out", "5": "wang u1 survey", "怎么没水": "wang u1 "} {
			if got[content] != want {
				t.Errorf("%s: %q, want %q", content, got[content], want)
			}
		}
	})
}
