package sms

import (
	"context"
	"fmt"
	"strings"

	"guanjia/internal/db"
	"guanjia/internal/estate"
)

// UplinkHandler is one who may take an answer by SMS. The first of a chain that
// takes it is the only one who hears it.
type UplinkHandler struct {
	// Name is kept with the answer: "opt_out", "survey".
	Name string
	// Take tells whether the answer was for it. people are the residents with
	// this phone, with their homes of today; none for a stranger.
	Take func(ctx context.Context, tx *db.Tx, u Uplink, people []estate.Resident) (taken bool, err error)
}

// People finds residents by phone.
type People interface {
	Residents(ctx context.Context, q db.Querier, companyID string, f estate.Filter) (list []estate.Resident, next string, err error)
}

// mostPeople share a phone: a family and its flats.
const mostPeople = 50

// Uplinks makes Options.OnUplink of a chain of handlers. Every answer is bound
// to the resident and home of its phone, whoever takes it, and kept when nobody
// does.
func Uplinks(people People, chain ...UplinkHandler) UplinkFunc {
	return func(ctx context.Context, tx *db.Tx, u Uplink) (Handled, error) {
		list, _, err := people.Residents(ctx, tx, u.CompanyID, estate.Filter{Phone: u.Phone, Limit: mostPeople})
		if err != nil {
			return Handled{}, fmt.Errorf("whose answer: %w", err)
		}
		var h Handled
		if len(list) > 0 {
			h.ResidentID = list[0].ID
			if len(list[0].Homes) > 0 {
				h.UnitID = list[0].Homes[0].UnitID
			}
		}
		for _, c := range chain {
			taken, err := c.Take(ctx, tx, u, list)
			if err != nil {
				return Handled{}, fmt.Errorf("%s: %w", c.Name, err)
			}
			if taken {
				h.By = c.Name
				break
			}
		}
		return h, nil
	}
}

// OptOuts writes opt-outs.
type OptOuts interface {
	OptOutTx(ctx context.Context, tx *db.Tx, companyID, residentID, channel, class, source string) error
}

// refusals are the words that end all SMS but emergencies. A text of that kind
// must name R; the carriers' own words are heard too.
var refusals = map[string]bool{"r": true, "td": true, "t": true, "n": true, "退订": true, "拒收": true, "取消": true, "不要再发": true}

// OptOut takes 「拒收请回复R」 at its word: everybody with this phone gets no SMS
// of choice any more. Emergencies do not ask: whoever knows the callback address
// could else silence a gas warning.
func OptOut(o OptOuts) UplinkHandler {
	return UplinkHandler{Name: "opt_out", Take: func(ctx context.Context, tx *db.Tx, u Uplink, people []estate.Resident) (bool, error) {
		if !refuses(u.Content) {
			return false, nil
		}
		for _, r := range people {
			if err := o.OptOutTx(ctx, tx, u.CompanyID, r.ID, estate.OptOutSMS, estate.OptOutAll, "uplink"); err != nil {
				return false, err
			}
		}
		return true, nil
	}}
}

// refuses reads a refusal in any width, with the marks that people put around it.
func refuses(content string) bool {
	word := strings.Map(func(r rune) rune {
		if r >= 0xff01 && r <= 0xff5e {
			r -= 0xfee0 // full width
		}
		if strings.ContainsRune(" \t\u3000.,!\"'()[]。，！“”‘’【】「」", r) {
			return -1
		}
		return r
	}, strings.TrimSpace(content))
	return refusals[strings.ToLower(word)]
}
