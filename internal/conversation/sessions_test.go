package conversation_test

import (
	"context"
	"errors"
	"testing"

	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

// Two nodes remember sessions; the one that remembers an old one is stale once
// and reads the row the next time, so no turn is lost and none counts twice.
func TestSessionRememberedByTwoNodes(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		one := open(t, d)
		two := room{another(t, d, one.clk), d, one.clk}
		id := one.must(t, text("oA", "1", "a")).ConversationID
		save := func(r room, msg string, s conversation.Session) error {
			s.State = msg
			_, err := r.saveTurn(t.Context(), conversation.Turn{MessageID: r.must(t, text("oA", msg, "a")).ID, Live: true, Session: &s})
			return err
		}
		read := func(r room) conversation.Session {
			s, err := r.Session(t.Context(), d, id)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		remembered := read(two) // version 0
		if err := save(one, "s1", read(one)); err != nil {
			t.Fatal(err)
		}
		if s := read(one); s.Version != 1 || s.State != "s1" {
			t.Fatalf("after writing: %+v", s)
		}
		if err := save(two, "s2", remembered); !errors.Is(err, conversation.ErrStale) {
			t.Fatalf("an old session was written: %v", err)
		}
		if s := read(two); s.Version != 1 || s.State != "s1" {
			t.Fatalf("after ErrStale the row is read, got %+v", s)
		}
		if err := save(two, "s3", read(two)); err != nil {
			t.Fatal(err)
		}
		// Forgetting starts from nothing, on the node that remembers more, too.
		if err := d.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error { return one.ForgetTx(ctx, tx, "a1", "oA") }); err != nil {
			t.Fatal(err)
		}
		if s := read(one); s.Version != 0 {
			t.Errorf("after forgetting: %+v", s)
		}
		if err := save(two, "s4", read(two)); !errors.Is(err, conversation.ErrStale) {
			t.Errorf("a forgotten session was written: %v", err)
		}
		if s := read(two); s.Version != 0 {
			t.Errorf("after forgetting, on the other node: %+v", s)
		}
	})
}
