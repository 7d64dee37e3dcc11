package notify

import (
	"context"
	"slices"

	"guanjia/internal/db"
)

// Troubled names the buildings of a project in which an outage or an emergency
// that a notice tells of is going on right now; all means the whole project.
// People there are not asked how satisfied they are until it is over.
func (n *Notices) Troubled(ctx context.Context, companyID, projectID string) (buildings []string, all bool, err error) {
	list, err := manyNotices(ctx, n.DB, `company_id = $1 AND project_id = $2 AND over_at IS NULL AND approved_at IS NOT NULL AND id = chain_id
		AND starts_at <= $3 AND state <> 'cancelled' ORDER BY approved_at DESC LIMIT 200`, companyID, projectID, db.At(n.now().Add(startsSoon).AddDate(1, 0, 0)))
	if err != nil {
		return nil, false, err
	}
	for _, x := range list {
		k := n.kinds.Kinds[x.Kind]
		if k == nil || k.Topics != "outage" && !x.Emergency {
			continue
		}
		chain, err := n.chain(ctx, n.DB, x.ID)
		if err != nil {
			return nil, false, err
		}
		if !runs(effective(chain, ""), k, x, n.now()) {
			continue
		}
		touched := buildingsOf(x.Scope)
		if touched == nil {
			return nil, true, nil
		}
		buildings = append(buildings, touched...)
	}
	slices.Sort(buildings)
	return slices.Compact(buildings), false, nil
}

// Words says a scope in at most 30 characters: 3栋、4栋, 3至6栋, 全小区. roleWord
// gives the Chinese word of a role.
func (s Scope) Words(roleWord func(string) string) string {
	return placeOf(s, roleWord, longestPlace)
}
