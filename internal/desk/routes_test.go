package desk_test

import (
	"context"
	"testing"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/staff"
)

// What a desk remembers of groups must not keep a card from a group that was
// bound a moment ago.
func TestCardReachesAGroupBoundAMomentAgo(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	first := open(t, w, 0, nil)
	if n := len(w.Deliveries(t, "case", first.ID, ledger.ChannelCard)); n != 1 {
		t.Fatalf("%d cards, want 1", n)
	}
	groups, err := w.Staff.GroupsOfQueue(t.Context(), w.DB, engineering)
	if err != nil {
		t.Fatal(err)
	}
	err = w.DB.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error {
		_, err := w.Staff.PutGroupTx(ctx, tx, "test", staff.WorkGroup{CompanyID: sample.CompanyID, BotID: groups[0].BotID, ChatID: "wrSecond", QueueID: engineering})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	second := open(t, w, 1, nil)
	if n := len(w.Deliveries(t, "case", second.ID, ledger.ChannelCard)); n != 2 {
		t.Errorf("%d cards after a second group was bound, want 2", n)
	}
}
