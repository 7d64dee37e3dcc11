package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"guanjia/internal/db"
)

// Beat is how far the book has come. A copy of the database that was made
// earlier has a lower N: nodes keep the highest they saw outside of it, so that
// a restored backup is noticed before it repeats what was sent since.
type Beat struct {
	Born string // names the database; a copy has the same
	N    int64
}

// SendLock says that nothing leaves, since when and why.
type SendLock struct {
	Locked bool
	At     time.Time
	Reason string
}

// LockRestored is the reason of a lock on a database that went back in time.
const LockRestored = "restored"

// ReadBeat reads how far the book has come, and the lock.
func (l *Ledger) ReadBeat(ctx context.Context) (Beat, SendLock, error) {
	var (
		b    Beat
		lock SendLock
		at   db.Time
	)
	err := l.db.QueryRowContext(ctx, `select born, beat, locked_at, reason from send_state where id = 'one'`).
		Scan(&b.Born, &b.N, &at, &lock.Reason)
	if errors.Is(err, sql.ErrNoRows) {
		return l.bear(ctx)
	}
	if err != nil {
		return Beat{}, SendLock{}, fmt.Errorf("read the beat: %w", err)
	}
	lock.Locked, lock.At = !at.IsZero(), at.Time
	return b, lock, nil
}

// bear makes the row; of two nodes that start at once, one makes it.
func (l *Ledger) bear(ctx context.Context) (b Beat, lock SendLock, err error) {
	_, err = l.db.ExecContext(ctx, `
		insert into send_state (id, born, beat, reason) values ('one', $1, 1, '') on conflict (id) do nothing`, db.NewID())
	if err != nil {
		return Beat{}, SendLock{}, fmt.Errorf("begin the beat: %w", err)
	}
	err = l.db.QueryRowContext(ctx, `select born, beat from send_state where id = 'one'`).Scan(&b.Born, &b.N)
	if err != nil {
		return Beat{}, SendLock{}, fmt.Errorf("begin the beat: %w", err)
	}
	return b, SendLock{}, nil
}

// StepBeat moves the beat on, and reads the lock.
func (l *Ledger) StepBeat(ctx context.Context) (Beat, SendLock, error) {
	_, err := l.db.ExecContext(ctx, `update send_state set beat = beat + 1 where id = 'one'`)
	if err != nil {
		return Beat{}, SendLock{}, fmt.Errorf("move the beat on: %w", err)
	}
	return l.ReadBeat(ctx)
}

// LockSending stops everything that leaves, on every node within a second,
// until ReleaseSendingTx. seen is the highest beat that was seen outside of the
// database: it goes on from there, so that one release is enough.
func (l *Ledger) LockSending(ctx context.Context, reason string, seen int64) error {
	_, err := l.db.ExecContext(ctx, `
		update send_state set locked_at = coalesce(locked_at, `+db.TimeParam(l.db, "$1")+`), reason = $2,
			beat = case when beat < $3 then $3 else beat end
		where id = 'one'`, db.At(l.clk.Now()), reason, seen)
	if err != nil {
		return fmt.Errorf("lock sending: %w", err)
	}
	return nil
}

// ReleaseSendingTx lifts the lock and tells whether there was one.
func (l *Ledger) ReleaseSendingTx(ctx context.Context, tx *db.Tx) (was SendLock, err error) {
	var at db.Time
	err = tx.QueryRowContext(ctx, `select locked_at, reason from send_state where id = 'one'`).Scan(&at, &was.Reason)
	if errors.Is(err, sql.ErrNoRows) {
		return SendLock{}, nil
	}
	if err != nil {
		return SendLock{}, fmt.Errorf("release sending: %w", err)
	}
	was.Locked, was.At = !at.IsZero(), at.Time
	_, err = tx.ExecContext(ctx, `update send_state set locked_at = null, reason = '', beat = beat + 1 where id = 'one'`)
	if err != nil {
		return SendLock{}, fmt.Errorf("release sending: %w", err)
	}
	return was, nil
}

// DropWaiting cancels what waits to leave and was due before a moment, in
// bites, and returns how many: what a restored backup holds as waiting may have
// left before.
func (l *Ledger) DropWaiting(ctx context.Context, before time.Time) (int64, error) {
	n, err := l.inBites(ctx, "drop what waits", bites{size: cancelBite}, func(ctx context.Context, tx *db.Tx, limit int) ([]Delivery, error) {
		return l.list(ctx, tx, `
			with picked as materialized (
				select d.id as pid from deliveries d
				where d.state = 'planned' and d.submissions = 0 and d.due_at <= $1
				limit $2`+db.SkipLocked(tx)+`)
			update deliveries set state = 'cancelled', code = 'restored', updated_at = `+db.TimeParam(tx, "$3")+`,
				final_at = `+db.TimeParam(tx, "$3")+`
			from picked where deliveries.id = picked.pid and `+still("planned")+`
			returning `+columns("deliveries"), db.At(before), limit, db.At(l.clk.Now()))
	})
	return int64(n), err
}
