package notify

import (
	"context"
	"slices"
	"strings"

	"guanjia/internal/db"
	"guanjia/internal/staff"
)

// Item is one thing that must be done before announced work may begin, such as
// the warning sign, with who did it, when, and the photo.
type Item struct {
	Text  string `json:"text"`
	Done  bool   `json:"done"`
	Name  string `json:"name,omitempty"`
	At    Time   `json:"at"`
	Proof string `json:"proof,omitempty"` // where the photo is kept
}

// Checklist gives the items of a notice in the order of its kind, and whether
// the work has been marked as begun.
func (n *Notices) Checklist(ctx context.Context, companyID, id string) (items []Item, begun bool, err error) {
	x, err := n.ByID(ctx, companyID, id)
	if err != nil {
		return nil, false, err
	}
	events, err := n.Events(ctx, companyID, id)
	if err != nil {
		return nil, false, err
	}
	k := n.kinds.Kinds[x.Kind]
	if k == nil {
		return nil, false, nil
	}
	for _, text := range k.Checklist {
		item := Item{Text: text}
		for _, e := range events {
			if what, proof, _ := strings.Cut(e.Text, "\n"); e.Kind == "checked" && what == text {
				item = Item{Text: text, Done: true, Name: e.Name, At: e.At, Proof: proof}
			}
		}
		items = append(items, item)
	}
	begun = slices.ContainsFunc(events, func(e Event) bool { return e.Kind == "begun" })
	return items, begun, nil
}

// CheckItem ticks an item off, with the place of the photo that proves it.
func (n *Notices) CheckItem(ctx context.Context, by By, id, text, proof string) error {
	items, begun, err := n.Checklist(ctx, by.CompanyID, id)
	if err != nil {
		return err
	}
	known := slices.ContainsFunc(items, func(i Item) bool { return i.Text == text })
	if !known || begun || strings.TrimSpace(proof) == "" || strings.Contains(proof, "\n") {
		return &Refused{Code: RefusedCall, Field: "proof", Message: n.words("refused_item", "item", text)}
	}
	return n.note(ctx, by, id, "checked", text+"\n"+strings.TrimSpace(proof))
}

// BeginWork marks announced work as begun; refused while an item of its
// checklist is open.
func (n *Notices) BeginWork(ctx context.Context, by By, id string) error {
	items, begun, err := n.Checklist(ctx, by.CompanyID, id)
	if err != nil || begun {
		return err
	}
	for _, i := range items {
		if !i.Done {
			return &Refused{Code: RefusedState, Field: "checklist", Message: n.words("refused_begin", "item", i.Text)}
		}
	}
	return n.note(ctx, by, id, "begun", "")
}

func (n *Notices) note(ctx context.Context, by By, id, kind, text string) error {
	_, err := n.change(ctx, by, id, "登记", func(ctx context.Context, tx *db.Tx, x *Notice) error {
		if !by.may(staff.RightHandle) {
			return n.refuse(RefusedForbidden, "what", "登记")
		}
		if x.ApprovedAt.IsZero() || x.State == Cancelled {
			return n.wrongState(*x, "登记")
		}
		return n.recordTx(ctx, tx, *x, by, kind, text)
	})
	return err
}
