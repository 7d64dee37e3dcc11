package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"guanjia/internal/db"
)

// Day is the vendors' day of a moment: their daily counts turn at midnight in
// China, whose offset has not changed since 1991.
func Day(at time.Time) string { return at.In(china()).Format(time.DateOnly) }

// NextDay is when that day ends.
func NextDay(at time.Time) time.Time {
	y, m, d := at.In(china()).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, china())
}

func china() *time.Location { return time.FixedZone("CST", 8*3600) }

// countDays adds what was or may have been accepted to its account's day. It is
// the last statement of its transaction, so that nodes wait shortly for each
// other's counts.
func (l *Ledger) countDays(ctx context.Context, tx *db.Tx, items []recordItem) error {
	type row struct {
		Source string `json:"source"`
		N      int64  `json:"n"`
	}
	var rows []row
	for _, it := range items {
		if it.o.Kind != OK && it.o.Kind != Ambiguous {
			continue
		}
		source := sourceOf(it.a.Channel, it.a.AccountID)
		i := slices.IndexFunc(rows, func(r row) bool { return r.Source == source })
		if i < 0 {
			rows = append(rows, row{Source: source})
			i = len(rows) - 1
		}
		rows[i].N++
	}
	if len(rows) == 0 {
		return nil
	}
	// In one order on every node.
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.Source, b.Source) })
	_, err := tx.ExecContext(ctx, `
		insert into account_days (source, day, n)
		select r.source, cast($2 as text), r.n from `+db.Rows(tx, "$1", db.TextCol("source"), db.IntCol("n"))+` as r
		where true
		on conflict (source, day) do update set n = account_days.n + excluded.n`, db.RowsArg(rows), Day(l.clk.Now()))
	if err != nil {
		return fmt.Errorf("count the account's day: %w", err)
	}
	return nil
}

// SentToday is how many submissions of an account were or may have been
// accepted on the vendors' day that is now.
func (l *Ledger) SentToday(ctx context.Context, channel Channel, accountID string) (int64, error) {
	var n int64
	err := l.db.QueryRowContext(ctx, `select n from account_days where source = $1 and day = $2`,
		sourceOf(channel, accountID), Day(l.clk.Now())).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the account's day: %w", err)
	}
	return n, nil
}
