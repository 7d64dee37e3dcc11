package company

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"guanjia/internal/db"
)

// Directory is every company and account of the installation at one moment.
// It is never changed once built, so readers need no lock.
type Directory struct {
	companies    map[string]Company
	order        []string
	weChatByID   map[string]WeChatAccount
	weChatByPath map[string]WeChatAccount
	weChatOf     map[string]WeChatAccount
	botByID      map[string]WeComBot
	botOf        map[string]WeComBot
	corpOf       map[string]WeComCorp
	webhooks     map[string]Webhook
	smsByID      map[string]SMSAccount
	smsOf        map[string]SMSAccount
}

// reloadTimeout bounds how long a caller waits for a newer directory when there
// is an older one: a callback has two seconds.
const reloadTimeout = 500 * time.Millisecond

// Directory gives the companies and accounts. It is read once and kept; a
// change made through this Store, or Refresh, has it read again. When that
// fails and an older one is there, callers get the older one, without trying
// in their turn: they go on while the database is away, and Run catches up.
func (s *Store) Directory(ctx context.Context) (*Directory, error) {
	have := s.cached.Load()
	if have == nil {
		return s.load(ctx)
	}
	// A transaction takes no second connection, so it sees what there is.
	if db.InTransaction(ctx) || !s.stale.CompareAndSwap(true, false) {
		return have, nil
	}
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	d, err := s.load(ctx)
	if err != nil {
		return have, nil //nolint:nilerr // the older one serves
	}
	return d, nil
}

// Refresh reads the directory again, so that what another node changed is seen.
func (s *Store) Refresh(ctx context.Context) error {
	_, err := s.load(ctx)
	return err
}

// Run refreshes the directory at the given interval of the machine's clock
// until ctx ends. A failure is logged when it begins and when it ends.
func (s *Store) Run(ctx context.Context, every time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := s.Refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			log.WarnContext(ctx, "company directory not refreshed; the last one stays in use", "error", err)
		}
		if err == nil && failing {
			log.InfoContext(ctx, "company directory refreshed again")
		}
		failing = err != nil
	}
}

func (s *Store) load(ctx context.Context) (*Directory, error) {
	s.loading.Lock() // so that an older reading never replaces a newer one
	defer s.loading.Unlock()
	d, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	s.cached.Store(d)
	return d, nil
}

func (s *Store) read(ctx context.Context) (*Directory, error) {
	d := &Directory{
		companies:  map[string]Company{},
		weChatByID: map[string]WeChatAccount{}, weChatByPath: map[string]WeChatAccount{}, weChatOf: map[string]WeChatAccount{},
		botByID: map[string]WeComBot{}, botOf: map[string]WeComBot{},
		corpOf: map[string]WeComCorp{}, webhooks: map[string]Webhook{},
		smsByID: map[string]SMSAccount{}, smsOf: map[string]SMSAccount{},
	}
	if err := s.readCompanies(ctx, d); err != nil {
		return nil, err
	}
	if err := s.readAccounts(ctx, d); err != nil {
		return nil, err
	}
	return d, nil
}

func (s *Store) readCompanies(ctx context.Context, d *Directory) error {
	rows, err := s.db.QueryContext(ctx, `SELECT id, name, short, settings FROM companies ORDER BY id`)
	if err != nil {
		return fmt.Errorf("company: read companies: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		c := Company{Settings: DefaultSettings()}
		var settings []byte
		if err := rows.Scan(&c.ID, &c.Name, &c.Short, &settings); err != nil {
			return fmt.Errorf("company: read companies: %w", err)
		}
		if err := json.Unmarshal(settings, &c.Settings); err != nil {
			return fmt.Errorf("company: settings of %s: %w", c.ID, err)
		}
		d.companies[c.ID] = c
		d.order = append(d.order, c.ID)
	}
	return rows.Err()
}

func (s *Store) readAccounts(ctx context.Context, d *Directory) error {
	rows, err := s.db.QueryContext(ctx, `SELECT id, company_id, kind, settings, sealed FROM channel_accounts ORDER BY id`)
	if err != nil {
		return fmt.Errorf("company: read accounts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, companyID, kind, sealed string
		var open []byte
		if err := rows.Scan(&id, &companyID, &kind, &open, &sealed); err != nil {
			return fmt.Errorf("company: read accounts: %w", err)
		}
		if err := s.add(d, kind, id, companyID, open, sealed); err != nil {
			return fmt.Errorf("company: %s account %s: %w", kind, id, err)
		}
	}
	return rows.Err()
}

func (s *Store) add(d *Directory, kind, id, companyID string, open []byte, sealed string) error {
	box, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return ErrSealed
	}
	secret, err := s.sealer.Open(box, place(kind, id, companyID))
	if err != nil {
		return err
	}
	decode := func(o, s any) error {
		if err := json.Unmarshal(open, o); err != nil {
			return fmt.Errorf("settings: %w", err)
		}
		if err := json.Unmarshal(secret, s); err != nil {
			return ErrSealed // never the text: it is a secret
		}
		return nil
	}
	switch kind {
	case kindWeChat:
		var o weChatOpen
		var x weChatSecrets
		if err := decode(&o, &x); err != nil {
			return err
		}
		a := WeChatAccount{
			ID: id, CompanyID: companyID, Path: o.Path, AppID: o.AppID, Secret: x.Secret, Token: x.Token, AESKey: x.AESKey,
			PrevAESKey: x.PrevAESKey, Mode: o.Mode, OriginalID: o.OriginalID, Templates: o.Templates,
		}
		d.weChatByID[id], d.weChatByPath[o.Path] = a, a
		keepFirst(d.weChatOf, companyID, a)
	case kindBot:
		var o botOpen
		var x oneSecret
		if err := decode(&o, &x); err != nil {
			return err
		}
		b := WeComBot{ID: id, CompanyID: companyID, BotID: o.BotID, Secret: x.Secret, Name: o.Name}
		d.botByID[o.BotID] = b
		keepFirst(d.botOf, companyID, b)
	case kindCorp:
		var o corpOpen
		var x oneSecret
		if err := decode(&o, &x); err != nil {
			return err
		}
		d.corpOf[companyID] = WeComCorp{ID: id, CompanyID: companyID, CorpID: o.CorpID, Secret: x.Secret, AgentID: o.AgentID}
	case kindWebhook:
		var o webhookOpen
		var x oneSecret
		if err := decode(&o, &x); err != nil {
			return err
		}
		d.webhooks[companyID+"|"+o.ChatID] = Webhook{ID: id, CompanyID: companyID, Key: x.Secret, ChatID: o.ChatID}
	case kindSMS:
		var o smsOpen
		var x smsSecrets
		if err := decode(&o, &x); err != nil {
			return err
		}
		a := SMSAccount{
			ID: id, CompanyID: companyID, AccessKeyID: o.AccessKeyID, AccessKeySecret: x.AccessKeySecret,
			Sign: o.Sign, CallbackSecret: x.CallbackSecret, Templates: o.Templates,
		}
		d.smsByID[id], d.smsOf[companyID] = a, a
	default:
		return fmt.Errorf("unknown kind; this program is older than its database")
	}
	return nil
}

func keepFirst[V any](m map[string]V, key string, v V) {
	if _, ok := m[key]; !ok {
		m[key] = v
	}
}

// Company finds a company by id.
func (d *Directory) Company(id string) (Company, bool) { c, ok := d.companies[id]; return c, ok }

// Companies gives all companies, by id.
func (d *Directory) Companies() []Company {
	out := make([]Company, len(d.order))
	for i, id := range d.order {
		out[i] = d.companies[id]
	}
	return out
}

// WeChatByPath finds an account by the segment of its callback address.
func (d *Directory) WeChatByPath(path string) (WeChatAccount, bool) {
	a, ok := d.weChatByPath[path]
	return a, ok
}

// WeChatByID finds an account by our id.
func (d *Directory) WeChatByID(id string) (WeChatAccount, bool) {
	a, ok := d.weChatByID[id]
	return a, ok
}

// WeChatOf gives a company's (first) account.
func (d *Directory) WeChatOf(companyID string) (WeChatAccount, bool) {
	a, ok := d.weChatOf[companyID]
	return a, ok
}

// WeChats gives all Official Accounts, by path.
func (d *Directory) WeChats() []WeChatAccount {
	return sorted(d.weChatByID, func(a, b WeChatAccount) int { return strings.Compare(a.Path, b.Path) })
}

// BotByID finds a bot by the vendor's bot id.
func (d *Directory) BotByID(botID string) (WeComBot, bool) { b, ok := d.botByID[botID]; return b, ok }

// BotOf gives a company's (first) bot.
func (d *Directory) BotOf(companyID string) (WeComBot, bool) {
	b, ok := d.botOf[companyID]
	return b, ok
}

// Bots gives all bots.
func (d *Directory) Bots() []WeComBot {
	return sorted(d.botByID, func(a, b WeComBot) int { return strings.Compare(a.BotID, b.BotID) })
}

// CorpOf gives a company's WeCom application.
func (d *Directory) CorpOf(companyID string) (WeComCorp, bool) {
	c, ok := d.corpOf[companyID]
	return c, ok
}

// WebhookOfChat gives the webhook of a group; chat ids are case-sensitive.
func (d *Directory) WebhookOfChat(companyID, chatID string) (Webhook, bool) {
	w, ok := d.webhooks[companyID+"|"+chatID]
	return w, ok
}

// SMSOf gives a company's SMS account.
func (d *Directory) SMSOf(companyID string) (SMSAccount, bool) {
	a, ok := d.smsOf[companyID]
	return a, ok
}

// SMSByID finds an SMS account by our id.
func (d *Directory) SMSByID(id string) (SMSAccount, bool) { a, ok := d.smsByID[id]; return a, ok }

// SMSAccounts gives all SMS accounts.
func (d *Directory) SMSAccounts() []SMSAccount {
	return sorted(d.smsByID, func(a, b SMSAccount) int { return strings.Compare(a.ID, b.ID) })
}

func sorted[V any](m map[string]V, cmp func(a, b V) int) []V {
	out := make([]V, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	slices.SortFunc(out, cmp)
	return out
}
