package sample

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"guanjia/internal/articles"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/estate"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
)

// Rooms are what Load stores into.
type Rooms struct {
	DB        *db.DB
	Companies *company.Store
	Estate    *estate.Estate
	Staff     *staff.Staff
	Queues    *queue.Queues
	// Articles takes the knowledge articles; nil leaves them out.
	Articles *articles.Articles
	// Followed notes that WeChat users follow an account; nil leaves it out.
	Followed func(ctx context.Context, tx *db.Tx, companyID, accountID string, openIDs []string, at time.Time) error
}

// chunk is how many homes go into one transaction: the fixed part fits into
// the first, so that the usual sample is loaded whole or not at all.
const chunk = buildings * baseEntrances * baseFloors * baseRooms

// Load stores the sample into an empty, migrated database. A bigger sample
// follows in transactions of a few hundred homes; when one fails the database
// is of no use.
func (s *Sample) Load(ctx context.Context, r Rooms) error {
	b := newBatcher()
	first := true
	flush := func() error {
		batch := b.take()
		err := r.DB.InTx(ctx, "sample.load", func(ctx context.Context, tx *db.Tx) error {
			if first {
				if err := s.loadCompany(ctx, tx, r); err != nil {
					return err
				}
			}
			return s.loadBatch(ctx, tx, r, batch)
		})
		first = false
		return err
	}
	for h := range s.Households() {
		b.add(h)
		if len(b.batch.Units) < chunk {
			continue
		}
		if err := flush(); err != nil {
			return fmt.Errorf("load sample company: %w", err)
		}
	}
	if len(b.batch.Units) > 0 {
		if err := flush(); err != nil {
			return fmt.Errorf("load sample company: %w", err)
		}
	}
	return nil
}

func (s *Sample) loadBatch(ctx context.Context, tx *db.Tx, r Rooms, b estate.Batch) error {
	if err := r.Estate.PutTx(ctx, tx, b); err != nil {
		return err
	}
	if r.Followed == nil || len(b.Bindings) == 0 {
		return nil
	}
	openIDs := make([]string, len(b.Bindings))
	for i, v := range b.Bindings {
		openIDs[i] = v.OpenID
	}
	return r.Followed(ctx, tx, CompanyID, AccountID, openIDs, boundAt())
}

func (s *Sample) loadCompany(ctx context.Context, tx *db.Tx, r Rooms) error {
	if err := r.Companies.CreateTx(ctx, tx, s.Company); err != nil {
		return err
	}
	if err := r.Companies.PutWeChatTx(ctx, tx, s.Account); err != nil {
		return err
	}
	if err := r.Companies.PutBotTx(ctx, tx, s.Bot); err != nil {
		return err
	}
	if err := r.Companies.PutCorpTx(ctx, tx, s.Corp); err != nil {
		return err
	}
	if err := r.Companies.PutSMSTx(ctx, tx, s.SMS); err != nil {
		return err
	}
	for _, w := range s.Webhooks {
		if err := r.Companies.PutWebhookTx(ctx, tx, w); err != nil {
			return err
		}
	}
	if err := r.Estate.PutTx(ctx, tx, estate.Batch{Projects: []estate.Project{s.Project}}); err != nil {
		return err
	}
	for _, q := range s.Queues {
		if err := r.Queues.PutTx(ctx, tx, q); err != nil {
			return err
		}
	}
	if err := s.loadStaff(ctx, tx, r); err != nil {
		return err
	}
	return s.loadArticles(ctx, tx, r)
}

// loadArticles lets the sample's articles answer from the first day; the
// customer service supervisor keeps them.
func (s *Sample) loadArticles(ctx context.Context, tx *db.Tx, r Rooms) error {
	if r.Articles == nil {
		return nil
	}
	for _, m := range s.Staff {
		if m.Role != string(staff.RoleCSSupervisor) {
			continue
		}
		_, err := r.Articles.ImportTx(ctx, tx, staff.Principal{CompanyID: CompanyID, Member: m}, bytes.NewReader(s.Articles()), true)
		return err
	}
	return errors.New("the sample has no customer service supervisor to keep its articles")
}

func (s *Sample) loadStaff(ctx context.Context, tx *db.Tx, r Rooms) error {
	for _, m := range s.Staff {
		if err := r.Staff.PutTx(ctx, tx, m); err != nil {
			return err
		}
		if err := r.Staff.PutConsoleUserTx(ctx, tx, staff.ConsoleUser{Username: m.UserID, CompanyID: CompanyID, UserID: m.UserID, PasswordHash: consoleHash}); err != nil {
			return err
		}
		token := staff.Token{CompanyID: CompanyID, UserID: m.UserID, Name: "demo"}
		if err := r.Staff.PutTokenTx(ctx, tx, token, s.Token(m.UserID)); err != nil {
			return err
		}
	}
	for _, m := range s.queueMembers {
		if err := r.Staff.PutQueueMemberTx(ctx, tx, m); err != nil {
			return err
		}
	}
	for _, g := range s.Groups {
		if _, err := r.Staff.PutGroupTx(ctx, tx, "system", g); err != nil {
			return err
		}
	}
	if err := r.Staff.PutConsoleUserTx(ctx, tx, staff.ConsoleUser{Username: ConsoleUser, CompanyID: CompanyID, Admin: true, PasswordHash: consoleHash}); err != nil {
		return err
	}
	return r.Staff.PutTokenTx(ctx, tx, staff.Token{CompanyID: CompanyID, Admin: true, Name: "demo administrator"}, s.AdminToken())
}

// batcher gathers households; buildings and entrances come with their first home.
type batcher struct {
	batch estate.Batch
	seen  map[string]bool
}

func newBatcher() *batcher { return &batcher{seen: map[string]bool{}} }

func (b *batcher) take() estate.Batch {
	out := b.batch
	b.batch = estate.Batch{}
	return out
}

func (b *batcher) add(h Household) {
	u := h.Unit
	if id := buildingID(u.Building); !b.seen[id] {
		b.seen[id] = true
		b.batch.Buildings = append(b.batch.Buildings, estate.Building{ID: id, CompanyID: CompanyID, ProjectID: ProjectID, Code: u.Building})
	}
	if !b.seen[u.EntranceID] {
		b.seen[u.EntranceID] = true
		b.batch.Entrances = append(b.batch.Entrances, estate.Entrance{ID: u.EntranceID, CompanyID: CompanyID, BuildingID: buildingID(u.Building), Code: u.Entrance})
	}
	b.batch.Units = append(b.batch.Units, u)
	for _, p := range h.People {
		b.batch.Homes = append(b.batch.Homes, estate.HomeRow{
			ID: "home-" + u.Code + "-" + p.ID, CompanyID: CompanyID, ResidentID: p.ID, UnitID: u.ID, Role: p.Role, Since: since(),
		})
		if p.Known {
			continue
		}
		b.batch.Residents = append(b.batch.Residents, estate.Resident{ID: p.ID, CompanyID: CompanyID, Name: p.Name, Phone: p.Phone})
		if p.Bound() {
			b.batch.Bindings = append(b.batch.Bindings, estate.Binding{
				ID: "binding-" + p.ID, CompanyID: CompanyID, AccountID: AccountID, OpenID: p.OpenID, ResidentID: p.ID, BoundAt: boundAt(),
			})
		}
	}
}
