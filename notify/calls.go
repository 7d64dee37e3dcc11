package notify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/register"
	"guanjia/internal/staff"
)

// claimFor is how long a home on the call list stays with who took it; then
// somebody else may.
const claimFor = 30 * time.Minute

// ClaimCall takes a home of the call list: nobody else calls it meanwhile. unit
// may be written in any usual way. *Refused when it is another's, told, or not
// on the list.
func (n *Notices) ClaimCall(ctx context.Context, by By, id, unit string) (Household, error) {
	x, h, unitID, by, err := n.onList(ctx, by, id, unit)
	if err != nil {
		return Household{}, err
	}
	now := n.now()
	err = n.DB.InTx(ctx, "notify.claim_call", func(ctx context.Context, tx *db.Tx) error {
		// The row decides: it is free, or his, or was left lying.
		res, err := tx.ExecContext(ctx, `
			INSERT INTO notice_calls (notice_id, unit_id, unit, caller, caller_name, claimed_at, outcome, note) VALUES ($1, $2, $3, $4, $5, $6, '', '')
			ON CONFLICT (notice_id, unit_id) DO UPDATE SET caller = excluded.caller, caller_name = excluded.caller_name, claimed_at = excluded.claimed_at
			WHERE NOT notice_calls.outcome `+db.InStrings(tx, "$7")+`
			  AND (notice_calls.caller = '' OR notice_calls.caller = excluded.caller OR notice_calls.claimed_at <= $8)`,
			x.ID, unitID, h.Unit, by.UserID, by.Name, db.At(now), db.Strings(tx, n.kinds.Told), db.At(now.Add(-claimFor)))
		if err != nil {
			return fmt.Errorf("notify: claim a call: %w", err)
		}
		if taken, err := res.RowsAffected(); err != nil || taken == 0 {
			if err != nil {
				return fmt.Errorf("notify: claim a call: %w", err)
			}
			return n.refuse(RefusedCall, "unit", h.Unit, "who", h.CallerName)
		}
		return n.Staff.AuditTx(ctx, tx, staff.Entry{CompanyID: x.CompanyID, Actor: by.UserID, Action: "notice.call_claimed", Object: x.ID, Detail: h.Unit, At: now})
	})
	h.Caller, h.CallerName = by.UserID, by.Name
	return h, err
}

// TickCall notes what came of a call or visit (a code of Outcomes, or its
// word). A home that was told leaves the call list and counts as called; after
// the other outcomes it is free for the next try. Who ticks an unclaimed home
// claims it with that.
func (n *Notices) TickCall(ctx context.Context, by By, id, unit, outcome, note string) (Household, error) {
	code, ok := n.outcomeOf(outcome)
	if !ok {
		var words []string
		for _, o := range n.Outcomes() {
			words = append(words, o.Text)
		}
		return Household{}, n.refuse(RefusedOutcome, "outcomes", strings.Join(words, "、"))
	}
	x, h, unitID, by, err := n.onList(ctx, by, id, unit)
	if err != nil {
		return Household{}, err
	}
	now := n.now()
	caller, name := by.UserID, by.Name
	if !n.kinds.told(code) {
		caller, name = "", "" // the next one may try
	}
	err = n.DB.InTx(ctx, "notify.tick_call", func(ctx context.Context, tx *db.Tx) error {
		res, err := tx.ExecContext(ctx, `
			INSERT INTO notice_calls (notice_id, unit_id, unit, caller, caller_name, claimed_at, outcome, note, called_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $6)
			ON CONFLICT (notice_id, unit_id) DO UPDATE SET caller = excluded.caller, caller_name = excluded.caller_name, outcome = excluded.outcome,
				note = excluded.note, called_at = excluded.called_at
			WHERE NOT notice_calls.outcome `+db.InStrings(tx, "$9")+`
			  AND (notice_calls.caller = '' OR notice_calls.caller = $11 OR notice_calls.claimed_at <= $10)`,
			x.ID, unitID, h.Unit, caller, name, db.At(now), code, strings.TrimSpace(note), db.Strings(tx, n.kinds.Told), db.At(now.Add(-claimFor)), by.UserID)
		if err != nil {
			return fmt.Errorf("notify: tick a call: %w", err)
		}
		if done, err := res.RowsAffected(); err != nil || done == 0 {
			if err != nil {
				return fmt.Errorf("notify: tick a call: %w", err)
			}
			return n.refuse(RefusedCall, "unit", h.Unit, "who", h.CallerName)
		}
		if err := n.recordTx(ctx, tx, x, by, "called", h.Unit+" "+n.kinds.Outcomes[code]); err != nil {
			return err
		}
		if x.State != Finished || !n.kinds.told(code) {
			return nil
		}
		p, ok, err := n.Register.ByRef(ctx, tx, ref(x))
		if err != nil || !ok {
			return err
		}
		c := p.Counts
		c.Called++
		return n.Register.CountsTx(ctx, tx, register.Ref(ref(x)), c)
	})
	if err != nil {
		return h, err
	}
	n.mu.Lock()
	delete(n.reach, x.ID)
	n.mu.Unlock()
	h.Caller, h.CallerName, h.Outcome, h.CalledAt = caller, name, code, Time{now}
	return h, nil
}

func (n *Notices) outcomeOf(s string) (string, bool) {
	s = strings.TrimSpace(s)
	for code, word := range n.kinds.Outcomes {
		if s == code || s == word {
			return code, true
		}
	}
	return "", false
}

// onList finds a home on the call list of a notice, and checks who asks.
func (n *Notices) onList(ctx context.Context, by By, id, unit string) (Notice, Household, string, By, error) {
	by, err := n.fresh(ctx, by)
	if err != nil {
		return Notice{}, Household{}, "", by, err
	}
	if !by.may(staff.RightClaim) {
		return Notice{}, Household{}, "", by, n.refuse(RefusedForbidden, "what", "登记电话通知")
	}
	x, err := n.ByID(ctx, by.CompanyID, id)
	if err != nil {
		return x, Household{}, "", by, err
	}
	if code, ok := estate.ParseUnitCode(unit); ok {
		unit = code
	}
	list, ids, err := n.silent(ctx, x, "", unit, 1, false)
	if err != nil {
		return x, Household{}, "", by, err
	}
	if len(list) == 0 {
		return x, Household{}, "", by, n.refuse(RefusedCall, "unit", unit)
	}
	return x, list[0], ids[0], by, nil
}
