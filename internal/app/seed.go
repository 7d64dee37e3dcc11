package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/articles"
	"guanjia/internal/clock"
	"guanjia/internal/config"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
)

// SeedOptions of Seed.
type SeedOptions struct {
	Sandbox   string   // address of the simulators
	Public    []string // addresses of the product, as the simulators reach it
	Residents int
}

// ErrNotEmpty says that the database holds a company, so nothing is loaded over it.
var ErrNotEmpty = errors.New("the database already holds a company; seed only loads into an empty one")

// Seed loads the sample company into the configured database, hands the
// simulators their world and answers the ready line.
func Seed(ctx context.Context, c config.Config, log *slog.Logger, o SeedOptions) (sample.Ready, error) {
	if c.Database == "" {
		return sample.Ready{}, errNoDatabase
	}
	if len(c.MasterKey) == 0 {
		return sample.Ready{}, config.Problems{{Name: "master_key", From: "default", What: "must be set to the key that the nodes will have"}}
	}
	a, err := New(Options{Config: c, Clock: clock.System(), Log: log})
	if err != nil {
		return sample.Ready{}, err
	}
	d, err := openDB(ctx, c, log)
	if err != nil {
		return sample.Ready{}, err
	}
	defer d.Close()
	if err := d.CheckSchema(ctx); err != nil {
		return sample.Ready{}, err
	}
	a.db = d
	s, err := a.seed(ctx, o.Residents)
	if err != nil {
		return sample.Ready{}, err
	}
	if err := putWorld(ctx, o.Sandbox, s.World(o.Public)); err != nil {
		return sample.Ready{}, err
	}
	return s.Ready(strings.TrimSuffix(o.Public[0], "/"), strings.TrimSuffix(o.Sandbox, "/")), nil
}

// seed loads the sample company into a.db.
func (a *App) seed(ctx context.Context, residents int) (*sample.Sample, error) {
	sealer, err := a.sealer()
	if err != nil {
		return nil, err
	}
	rooms, err := a.openRooms(sealer)
	if err != nil {
		return nil, err
	}
	any, err := rooms.companies.Any(ctx)
	if err != nil {
		return nil, err
	}
	if any {
		return nil, ErrNotEmpty
	}
	talks := conversation.New(a.db, a.o.Clock, a.log, conversation.Options{})
	defer func() { _ = talks.Close(ctx) }() // nothing was received
	s := sample.Company(sample.Options{Residents: residents, Book: rooms.book})
	err = s.Load(ctx, sample.Rooms{DB: a.db, Companies: rooms.companies, Estate: rooms.estate, Staff: rooms.staff, Queues: rooms.queues,
		Articles: articles.New(articles.Deps{DB: a.db, Clock: a.o.Clock, Book: rooms.book, Staff: rooms.staff, Estate: rooms.estate}),
		Followed: func(ctx context.Context, tx *db.Tx, companyID, accountID string, openIDs []string, at time.Time) error {
			return talks.PutFollowersTx(ctx, tx, companyID, accountID, openIDs, at)
		}})
	return s, err
}

// worldTimeout bounds handing over a world; a big estate is tens of megabytes.
const worldTimeout = 2 * time.Minute

// putWorld hands the simulators what they simulate.
func putWorld(ctx context.Context, sandbox string, world any) error {
	body, err := json.Marshal(world)
	if err != nil {
		return fmt.Errorf("encode the world: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, worldTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, strings.TrimSuffix(sandbox, "/")+"/sim/world", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("address of the simulators: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("hand over the world: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		said, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		return fmt.Errorf("the simulators refuse the world: status %d: %s", res.StatusCode, said)
	}
	return nil
}
