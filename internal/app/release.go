package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/config"
	"guanjia/internal/db"
	"guanjia/internal/ledger"
	"guanjia/internal/staff"
)

// ReleaseOptions of Release.
type ReleaseOptions struct {
	// Drop cancels what waits and is due: after a backup was restored, much of it
	// left before. What is planned for later stays.
	Drop bool
	// By is who does it, for the audit.
	By string
}

// Released is what Release found and did.
type Released struct {
	Was     ledger.SendLock
	Dropped int64
}

var errNotLocked = errors.New("sending is not locked; there is nothing to release")

// Release lets a database send again that was locked because it is older than
// what was seen of it, and writes that into every company's audit.
func Release(ctx context.Context, c config.Config, log *slog.Logger, o ReleaseOptions) (Released, error) {
	if c.Database == "" {
		return Released{}, errNoDatabase
	}
	d, err := openDB(ctx, c, log)
	if err != nil {
		return Released{}, err
	}
	defer d.Close()
	if err := d.CheckSchema(ctx); err != nil {
		return Released{}, err
	}
	a, err := New(Options{Config: c, Clock: clock.System(), Log: log})
	if err != nil {
		return Released{}, err
	}
	a.db = d
	sealer, err := a.sealer()
	if err != nil {
		return Released{}, err
	}
	rooms, err := a.openRooms(sealer)
	if err != nil {
		return Released{}, err
	}
	book := ledger.Open(d, clock.System(), log)
	defer book.Stop()
	return release(ctx, d, book, rooms, o)
}

func release(ctx context.Context, d *db.DB, book *ledger.Ledger, rooms stores, o ReleaseOptions) (Released, error) {
	_, lock, err := book.ReadBeat(ctx)
	if err != nil {
		return Released{}, err
	}
	if !lock.Locked {
		return Released{}, errNotLocked
	}
	var out Released
	if o.Drop { // while nothing leaves
		if out.Dropped, err = book.DropWaiting(ctx, clock.System().Now()); err != nil {
			return out, fmt.Errorf("drop what waits: %w", err)
		}
	}
	dir, err := rooms.companies.Directory(ctx)
	if err != nil {
		return out, fmt.Errorf("read companies: %w", err)
	}
	err = d.InTx(ctx, "release sending", func(ctx context.Context, tx *db.Tx) error {
		out.Was, err = book.ReleaseSendingTx(ctx, tx)
		if err != nil {
			return err
		}
		for _, company := range dir.Companies() {
			err := rooms.staff.AuditTx(ctx, tx, staff.Entry{
				CompanyID: company.ID, Actor: o.By, Action: "sending.release", Object: "sending",
				Detail: fmt.Sprintf("locked since %s (%s), %d dropped", lock.At.UTC().Format(time.RFC3339), lock.Reason, out.Dropped),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}
