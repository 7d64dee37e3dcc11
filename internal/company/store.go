package company

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"guanjia/internal/db"
)

// Store reads and writes companies and their accounts. Safe for concurrent use.
type Store struct {
	db     *db.DB
	sealer *Sealer

	loading sync.Mutex
	cached  atomic.Pointer[Directory]
	stale   atomic.Bool
}

// New builds a Store.
func New(d *db.DB, s *Sealer) *Store { return &Store{db: d, sealer: s} }

// Any tells whether the installation holds a company.
func (s *Store) Any(ctx context.Context) (bool, error) {
	var n int64
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT id FROM companies LIMIT 1) AS one`).Scan(&n); err != nil {
		return false, fmt.Errorf("company: look for a company: %w", err)
	}
	return n > 0, nil
}

// CreateTx adds a company; its settings are checked.
func (s *Store) CreateTx(ctx context.Context, tx *db.Tx, c Company) error {
	settings, err := settingsText(c.Settings)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO companies (id, name, short, settings) VALUES ($1, $2, $3, $4)`,
		c.ID, c.Name, c.Short, settings); err != nil {
		return fmt.Errorf("company: create: %w", err)
	}
	s.renew(tx)
	return nil
}

// UpdateTx changes names and settings of a company.
func (s *Store) UpdateTx(ctx context.Context, tx *db.Tx, c Company) error {
	settings, err := settingsText(c.Settings)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE companies SET name = $2, short = $3, settings = $4 WHERE id = $1`,
		c.ID, c.Name, c.Short, settings); err != nil {
		return fmt.Errorf("company: update: %w", err)
	}
	s.renew(tx)
	return nil
}

func settingsText(s Settings) (string, error) {
	if err := s.Check(); err != nil {
		return "", err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("company: write settings: %w", err)
	}
	return string(b), nil
}

// renew makes the next Directory read again once tx is committed.
func (s *Store) renew(tx *db.Tx) {
	tx.AfterCommit(func(context.Context) { s.stale.Store(true) })
}

// An account is one row of channel_accounts: what it is found by in the open,
// what opens doors sealed. The sealed parts of each kind:
type (
	weChatSecrets struct{ Secret, Token, AESKey, PrevAESKey string }
	oneSecret     struct{ Secret string }
	smsSecrets    struct{ AccessKeySecret, CallbackSecret string }
)

// The open parts of each kind:
type (
	weChatOpen struct {
		Path, AppID, Mode, OriginalID string
		Templates                     map[string]string
	}
	botOpen  struct{ BotID, Name string }
	corpOpen struct {
		CorpID  string
		AgentID int
	}
	webhookOpen struct{ ChatID string }
	smsOpen     struct {
		AccessKeyID, Sign string
		Templates         map[string]string
	}
)

// Kinds of account.
const (
	kindWeChat  = "wechat"
	kindBot     = "wecom_bot"
	kindCorp    = "wecom_corp"
	kindWebhook = "wecom_webhook"
	kindSMS     = "sms"
)

// PutWeChatTx adds or replaces an Official Account. Its path and app id are
// unique in the installation.
func (s *Store) PutWeChatTx(ctx context.Context, tx *db.Tx, a WeChatAccount) error {
	switch a.Mode {
	case ModePlain:
	case ModeCompatible, ModeEncrypted:
		if key, err := base64.StdEncoding.DecodeString(a.AESKey + "="); len(a.AESKey) != 43 || err != nil || len(key) != 32 {
			return fmt.Errorf("company: encoding_aes_key of account %s must be the 43 characters shown in the vendor's console", a.ID)
		}
	default:
		return fmt.Errorf("company: mode %q of account %s; choose plain, compatible or encrypted", a.Mode, a.ID)
	}
	return s.putTx(ctx, tx, kindWeChat, a.ID, a.CompanyID, "path:"+a.Path,
		weChatOpen{a.Path, a.AppID, a.Mode, a.OriginalID, a.Templates},
		weChatSecrets{a.Secret, a.Token, a.AESKey, a.PrevAESKey})
}

// PutBotTx adds or replaces a group bot; a bot belongs to one company.
func (s *Store) PutBotTx(ctx context.Context, tx *db.Tx, b WeComBot) error {
	return s.putTx(ctx, tx, kindBot, b.ID, b.CompanyID, b.BotID, botOpen{b.BotID, b.Name}, oneSecret{b.Secret})
}

// PutCorpTx adds or replaces a WeCom application.
func (s *Store) PutCorpTx(ctx context.Context, tx *db.Tx, c WeComCorp) error {
	return s.putTx(ctx, tx, kindCorp, c.ID, c.CompanyID, c.CompanyID, corpOpen{c.CorpID, c.AgentID}, oneSecret{c.Secret})
}

// PutWebhookTx adds or replaces the webhook of a group; a group has one.
func (s *Store) PutWebhookTx(ctx context.Context, tx *db.Tx, w Webhook) error {
	return s.putTx(ctx, tx, kindWebhook, w.ID, w.CompanyID, w.CompanyID+":"+w.ChatID, webhookOpen{w.ChatID}, oneSecret{w.Key})
}

// PutSMSTx adds or replaces the SMS account of a company; a company has one.
func (s *Store) PutSMSTx(ctx context.Context, tx *db.Tx, a SMSAccount) error {
	return s.putTx(ctx, tx, kindSMS, a.ID, a.CompanyID, a.CompanyID,
		smsOpen{a.AccessKeyID, a.Sign, a.Templates}, smsSecrets{a.AccessKeySecret, a.CallbackSecret})
}

func (s *Store) putTx(ctx context.Context, tx *db.Tx, kind, id, companyID, address string, open, secret any) error {
	plain, err := json.Marshal(secret)
	if err != nil {
		return fmt.Errorf("company: write %s account: %w", kind, err)
	}
	sealed, err := s.sealer.Seal(plain, place(kind, id, companyID))
	if err != nil {
		return err
	}
	public, err := json.Marshal(open)
	if err != nil {
		return fmt.Errorf("company: write %s account: %w", kind, err)
	}
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO channel_accounts (id, company_id, kind, address, settings, sealed) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET address = excluded.address, settings = excluded.settings, sealed = excluded.sealed`,
		id, companyID, kind, address, string(public), base64.StdEncoding.EncodeToString(sealed)); err != nil {
		return fmt.Errorf("company: put %s account: %w", kind, err)
	}
	s.renew(tx)
	return nil
}

// place is what a sealed account is bound to.
func place(kind, id, companyID string) []byte {
	return []byte("channel_accounts|" + kind + "|" + id + "|" + companyID)
}
