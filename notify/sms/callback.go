package sms

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/ledger"
)

// Limits of a callback. The vendor waits 700 ms, then pushes again after 1, 5
// and 10 minutes, then never.
const (
	maxCallback = 1 << 20
	maxItems    = 1000
	storeBudget = 600 * time.Millisecond
	maxField    = 1000 // characters of any stored field
)

// ServeHTTP takes POST /sms/{company}/{secret}/report and /up. The secret in
// the path is all the vendor offers for protection: a wrong one is not found.
// What is taken is stored before it is acknowledged.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	acc, kind, ok := s.authorize(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	items, status := readItems(w, r)
	if status != http.StatusOK {
		s.o.Logger.WarnContext(r.Context(), "sms callback refused", "account", acc.ID, "kind", kind, "status", status)
		answer(w, status, 1, "refused")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeBudget)
	defer cancel()
	var err error
	if kind == "up" {
		err = s.storeUplinks(ctx, acc, items)
	} else {
		err = s.storeReports(ctx, acc, items)
	}
	if err != nil {
		// Not acknowledged: the vendor pushes again.
		s.o.Logger.ErrorContext(r.Context(), "sms callback not stored", "account", acc.ID, "kind", kind, "err", err)
		answer(w, http.StatusServiceUnavailable, 1, "try again")
		return
	}
	answer(w, http.StatusOK, 0, "接收成功")
}

func answer(w http.ResponseWriter, status, code int, msg string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Code int    `json:"code"`
		Msg  string `json:"msg"`
	}{code, msg})
}

// authorize reads company, secret and kind from the path. The comparison takes
// the same time whatever is wrong, also for a company that doesn't exist.
func (s *Service) authorize(r *http.Request) (acc company.SMSAccount, kind string, ok bool) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) != 4 || parts[0] != "sms" || (parts[3] != "report" && parts[3] != "up") {
		return company.SMSAccount{}, "", false
	}
	dir, err := s.o.Directory.Directory(r.Context())
	if err != nil {
		return company.SMSAccount{}, "", false
	}
	acc, known := dir.SMSOf(parts[1])
	want, got := sha256.Sum256([]byte(acc.CallbackSecret)), sha256.Sum256([]byte(parts[2]))
	same := subtle.ConstantTimeCompare(want[:], got[:]) == 1
	return acc, parts[3], known && same && acc.CallbackSecret != ""
}

// readItems reads the body: an array of objects, or one object.
func readItems(w http.ResponseWriter, r *http.Request) ([]json.RawMessage, int) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCallback))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, http.StatusRequestEntityTooLarge
	}
	if err != nil {
		return nil, http.StatusBadRequest
	}
	items, ok := splitItems(body)
	if !ok {
		return nil, http.StatusBadRequest
	}
	if len(items) > maxItems {
		return nil, http.StatusRequestEntityTooLarge
	}
	return items, http.StatusOK
}

func splitItems(body []byte) ([]json.RawMessage, bool) {
	if !utf8.Valid(body) || !shallow(body) {
		return nil, false
	}
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err == nil {
		return items, true
	}
	var one map[string]json.RawMessage
	if err := json.Unmarshal(body, &one); err != nil || one == nil {
		return nil, false
	}
	return []json.RawMessage{body}, true
}

// shallow refuses deep nesting before anything parses it.
func shallow(body []byte) bool {
	const deepest = 8
	depth, inString, escaped := 0, false, false
	for _, c := range body {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = c == '\\'
			inString = c != '"'
		case c == '"':
			inString = true
		case c == '[' || c == '{':
			if depth++; depth > deepest {
				return false
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return true
}

// loose is a JSON value that the vendor writes now as text, now as a number
// or a boolean.
type loose string

// UnmarshalJSON implements json.Unmarshaler.
func (l *loose) UnmarshalJSON(b []byte) error {
	s := string(b)
	if s == "null" {
		return nil
	}
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	s = strings.Map(func(r rune) rune {
		if r < 0x20 {
			return -1
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) > maxField {
		s = string([]rune(s)[:maxField])
	}
	*l = loose(s)
	return nil
}

type report struct {
	Phone      loose `json:"phone_number"`
	ReportTime loose `json:"report_time"`
	Success    loose `json:"success"`
	ErrCode    loose `json:"err_code"`
	BizID      loose `json:"biz_id"`
	OutID      loose `json:"out_id"`
}

func (s *Service) storeReports(ctx context.Context, acc company.SMSAccount, items []json.RawMessage) error {
	list := make([]ledger.Receipt, 0, len(items))
	odd := 0
	for _, raw := range items {
		var p report
		if err := json.Unmarshal(raw, &p); err != nil || (p.OutID == "" && p.BizID == "") {
			odd++
			continue
		}
		r := receiptFrom(acc.ID, p)
		list = append(list, r)
	}
	if odd > 0 {
		s.o.Logger.WarnContext(ctx, "sms receipts of an unknown shape dropped", "account", acc.ID, "n", odd)
	}
	if err := s.o.Ledger.PutReceipts(ctx, list); err != nil {
		return fmt.Errorf("store sms receipts: %w", err)
	}
	return nil
}

func receiptFrom(accountID string, p report) ledger.Receipt {
	phone := string(p.Phone)
	if n, ok := barePhone(phone); ok {
		phone = n
	} else {
		phone = "" // masked or foreign: the ids must do
	}
	code := string(p.ErrCode)
	return ledger.Receipt{
		Channel: ledger.ChannelSMS, AccountID: accountID, OutID: string(p.OutID), VendorID: string(p.BizID),
		Address: phone, OK: p.Success == "true" || p.Success == "1", Code: code,
		Transient: receiptOf(code) == receiptTransient, At: vendorTime(string(p.ReportTime)),
	}
}

// barePhone gives the eleven digits of a mainland mobile.
func barePhone(s string) (string, bool) {
	for _, prefix := range []string{"+86", "0086", "86"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok && mobile.MatchString(rest) {
			return rest, true
		}
	}
	return s, mobile.MatchString(s)
}

// Uplink is what a resident answered to an SMS.
type Uplink struct {
	ID         string
	CompanyID  string
	AccountID  string
	Phone      string
	Content    string
	DestCode   string
	ReceivedAt time.Time
}

// UplinkFunc hears an answer inside the transaction that marks it as handled:
// what it writes is there exactly once. What it tells is kept with the answer.
type UplinkFunc func(ctx context.Context, tx *db.Tx, u Uplink) (Handled, error)

// Handled says whose answer it was and who took it; empty where nobody knows.
type Handled struct {
	ResidentID string
	UnitID     string
	By         string
}

type uplink struct {
	Phone    loose `json:"phone_number"`
	Content  loose `json:"content"`
	SendTime loose `json:"send_time"`
	DestCode loose `json:"dest_code"`
	Sequence loose `json:"sequence_id"`
}

func (s *Service) storeUplinks(ctx context.Context, acc company.SMSAccount, items []json.RawMessage) error {
	type row struct {
		ID        string  `json:"id"`
		CompanyID string  `json:"company_id"`
		AccountID string  `json:"account_id"`
		Phone     string  `json:"phone"`
		Content   string  `json:"content"`
		DestCode  string  `json:"dest_code"`
		Sequence  string  `json:"sequence_id"`
		SentAt    string  `json:"sent_at"`
		At        db.Time `json:"received_at"`
	}
	now := db.At(s.o.Clock.Now())
	rows := make([]row, 0, len(items))
	for _, raw := range items {
		var u uplink
		if err := json.Unmarshal(raw, &u); err != nil {
			continue
		}
		phone, ok := barePhone(string(u.Phone))
		if !ok {
			continue
		}
		rows = append(rows, row{
			db.NewID(), acc.CompanyID, acc.ID, phone, string(u.Content), string(u.DestCode),
			string(u.Sequence), string(u.SendTime), now,
		})
	}
	if len(rows) < len(items) {
		s.o.Logger.WarnContext(ctx, "sms answers of an unknown shape dropped", "account", acc.ID, "n", len(items)-len(rows))
	}
	if len(rows) == 0 {
		return nil
	}
	_, err := s.o.DB.ExecContext(ctx, `
		insert into sms_uplinks (id, company_id, account_id, phone, content, dest_code, sequence_id, sent_at, received_at)
		select r.id, r.company_id, r.account_id, r.phone, r.content, r.dest_code, r.sequence_id, r.sent_at, r.received_at
		from `+db.Rows(s.o.DB, "$1", db.TextCol("id"), db.TextCol("company_id"), db.TextCol("account_id"),
		db.TextCol("phone"), db.TextCol("content"), db.TextCol("dest_code"), db.TextCol("sequence_id"),
		db.TextCol("sent_at"), db.TimeCol("received_at"))+` as r
		where true
		on conflict (account_id, sequence_id, phone, sent_at) do nothing`, db.RowsArg(rows))
	if err != nil {
		return fmt.Errorf("store sms answers: %w", err)
	}
	return nil
}

// mostTries is how often an answer is given to the hook before it is left to a
// person, and to the log.
const mostTries = 10

// handOn gives stored answers to the hook, one transaction each. One that the
// hook fails for waits behind the others.
func (s *Service) handOn(ctx context.Context) error {
	if s.o.OnUplink == nil {
		return nil
	}
	var failed error
	for {
		id, err := s.handOnOne(ctx)
		switch {
		case err == nil && id == "":
			return failed
		case err != nil && id == "":
			return errors.Join(failed, err)
		case err != nil:
			failed = errors.Join(failed, err)
			_, err := s.o.DB.ExecContext(ctx, `update sms_uplinks set tries = tries + 1 where id = $1`, id)
			if err != nil {
				return errors.Join(failed, err)
			}
			return failed // the next round begins with those that never failed
		}
	}
}

// handOnOne handles the answer that failed least and came first, and names it.
func (s *Service) handOnOne(ctx context.Context) (id string, err error) {
	// A cheap look first: the writer of SQLite is not taken for nothing.
	var waiting bool
	err = s.o.DB.QueryRowContext(ctx, `select exists (select 1 from sms_uplinks where handled_at is null and tries < $1)`, mostTries).Scan(&waiting)
	if err != nil || !waiting {
		return "", err
	}
	err = s.o.DB.InTx(ctx, "hand on sms answer", func(ctx context.Context, tx *db.Tx) error {
		id = ""
		u, ok, err := nextUplink(ctx, tx)
		if err != nil || !ok {
			return err
		}
		id = u.ID
		h, err := s.o.OnUplink(ctx, tx, u)
		if err != nil {
			return fmt.Errorf("hook: %w", err)
		}
		_, err = tx.ExecContext(ctx, `
			update sms_uplinks set handled_at = $2, resident_id = $3, unit_id = $4, handled_by = $5 where id = $1`,
			u.ID, db.At(s.o.Clock.Now()), h.ResidentID, h.UnitID, h.By)
		return err
	})
	return id, err
}

func nextUplink(ctx context.Context, tx *db.Tx) (u Uplink, ok bool, err error) {
	rows, err := tx.QueryContext(ctx, `
		select id, company_id, account_id, phone, content, dest_code, received_at from sms_uplinks
		where handled_at is null and tries < $1 order by tries, received_at limit 1`+db.SkipLocked(tx), mostTries)
	if err != nil {
		return Uplink{}, false, err
	}
	var at db.Time
	if rows.Next() {
		ok = true
		err = rows.Scan(&u.ID, &u.CompanyID, &u.AccountID, &u.Phone, &u.Content, &u.DestCode, &at)
	}
	u.ReceivedAt = at.Time
	return u, ok, errors.Join(err, rows.Err(), rows.Close())
}
