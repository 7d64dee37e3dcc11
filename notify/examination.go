package notify

import (
	"context"

	"guanjia/internal/staff"
)

// Examine completes, checks, counts and prices a draft as Compose does, and
// stores nothing: what a form shows while somebody writes. Only who may write
// notices may: *Refused otherwise.
func (n *Notices) Examine(ctx context.Context, by By, d Draft) (Notice, error) {
	by, err := n.fresh(ctx, by)
	if err != nil {
		return Notice{}, err
	}
	if !by.may(staff.RightWriteNotice) {
		return Notice{}, n.refuse(RefusedForbidden, "what", "拟写")
	}
	x, err := n.examine(ctx, by.CompanyID, "", d, nil, true)
	if err != nil {
		return Notice{}, err
	}
	out := Notice{CompanyID: by.CompanyID, State: Drafted, Author: by.UserID, AuthorName: by.Name}
	x.into(&out)
	return out, nil
}
