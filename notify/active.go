package notify

import (
	"context"
	"slices"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/wording"
)

// startsSoon is how long before its start an outage explains what a resident
// sees: valves are closed a little early.
const startsSoon = 10 * time.Minute

// Active answers a resident who asks why there is no water, from a notice that
// runs for one of his homes now: what, where, why, since when, until when (with
// the latest change), what to do, whom to call. ok is false when no notice
// explains it; then it is a case. topic is a code of the glossary.
func (n *Notices) Active(ctx context.Context, companyID string, homes []estate.Home, topic string) (text wording.Text, ok bool, err error) {
	if topic == "" || len(homes) == 0 {
		return wording.Text{}, false, nil
	}
	var projects []string
	for _, h := range homes {
		if !slices.Contains(projects, h.ProjectID) {
			projects = append(projects, h.ProjectID)
		}
	}
	// Only first notices of a chain: what changed is applied to them.
	list, err := manyNotices(ctx, n.DB, `company_id = $1 AND over_at IS NULL AND approved_at IS NOT NULL AND id = chain_id
		AND project_id `+db.InStrings(n.DB, "$2")+` AND topic = $3 AND starts_at <= $4 AND state <> 'cancelled' ORDER BY approved_at DESC LIMIT 200`,
		companyID, db.Strings(n.DB, projects), topic, db.At(n.now().Add(startsSoon).AddDate(1, 0, 0)))
	if err != nil {
		return wording.Text{}, false, err
	}
	for _, x := range list {
		k := n.kinds.Kinds[x.Kind]
		if k == nil || !k.Answers || !slices.ContainsFunc(homes, func(h estate.Home) bool { return h.ProjectID == x.ProjectID && covers(x.Scope, h.Unit, h.Building) }) {
			continue
		}
		chain, err := n.chain(ctx, n.DB, x.ID)
		if err != nil {
			return wording.Text{}, false, err
		}
		d := effective(chain, "")
		if !runs(d, k, x, n.now()) {
			continue
		}
		text, err := n.answer(x, d)
		return text, err == nil, err
	}
	return wording.Text{}, false, nil
}

// runs tells whether what a notice tells of is going on: from shortly before
// its start until it is restored, or until its end and the grace of its kind.
func runs(d Draft, k *kind, x Notice, now time.Time) bool {
	if d.StartsAt.After(now.Add(startsSoon)) {
		return false
	}
	end := d.EndsAt.Time
	if end.IsZero() {
		end = x.ApprovedAt.Add(k.ValidFor)
	}
	return now.Before(end.Add(k.Grace))
}

func (n *Notices) answer(x Notice, d Draft) (wording.Text, error) {
	now := n.now()
	what := x.facts.What
	if t, ok := n.kinds.topicOf(x.Topic); ok {
		what = t.What
	}
	vars := wording.Vars{"place": x.facts.PlaceShort, "reason": d.Reason, "what": what, "start": wording.When(d.StartsAt.Time, now), "action": d.Action, "phone": d.Contact}
	key := "notice.answer"
	switch {
	case d.EndsAt.IsZero():
		key = "notice.answer_open"
	case !now.Before(d.EndsAt.Time):
		key = "notice.answer_late"
	}
	if !d.EndsAt.IsZero() {
		vars["end"] = wording.When(d.EndsAt.Time, now)
	}
	return n.Book.Say(key, vars)
}
