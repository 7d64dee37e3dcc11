package sms

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"unicode/utf8"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/db"
	"guanjia/internal/ledger"
)

// Payload is the payload of an SMS delivery.
type Payload struct {
	// Purpose names the template in the catalogue; the account's settings say
	// which registered template serves it.
	Purpose string            `json:"purpose"`
	Params  map[string]string `json:"params"`
}

// Directory knows the companies' accounts.
type Directory interface {
	Directory(ctx context.Context) (*company.Directory, error)
}

// Options of the package's parts.
type Options struct {
	// Base is the simulator's address, "http://127.0.0.1:8090/dysmsapi.aliyuncs.com";
	// empty: the vendor, over HTTPS only.
	Base      string
	Workers   int // calls at the same time; default 192: all that the lanes may make
	Directory Directory
	Ledger    *ledger.Ledger
	DB        *db.DB
	Clock     clock.Clock
	Logger    *slog.Logger
	// OnUplink hears what a resident answered, inside the transaction that
	// marks it as handled. nil: answers are only stored.
	OnUplink UplinkFunc
}

// Service is the SMS side of the product: Sender, look-ups, callbacks,
// template check.
type Service struct {
	o      Options
	client *client
}

// defaultWorkers is more than the lanes have together, so that an emergency
// never waits for a client behind a survey. A client costs next to nothing.
const defaultWorkers = 320

// New makes the service. It fails only on a base address that is none.
func New(o Options) (*Service, error) {
	if o.Workers <= 0 {
		o.Workers = defaultWorkers
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := newClient(o.Base, o.Workers, o.Logger)
	if err != nil {
		return nil, err
	}
	return &Service{o: o, client: c}, nil
}

// Close drops idle connections.
func (s *Service) Close() { s.client.close() }

// Channel implements deliver.Sender.
func (s *Service) Channel() string { return ledger.ChannelSMS }

// Accounts implements deliver.Sender: any.
func (s *Service) Accounts() []string { return nil }

// Codes of our own, for outcomes without a call.
const (
	codePayload   = "bad_payload"
	codeNumber    = "bad_number"
	codeParam     = "bad_param"
	codeTemplate  = "no_template"
	codeNoAccount = "no_account"
	codeStore     = "store_away"
	codeNoCode    = "no_code"
)

var mobile = regexp.MustCompile(`^1[3-9][0-9]{9}$`)

// longestParam is the longest value of a variable, in characters; each
// attribute may set less, which the catalogue checks when the text is made.
const longestParam = 35

// Send implements deliver.Sender: one number a call, so that code, id and
// error are this recipient's own.
func (s *Service) Send(ctx context.Context, d ledger.Delivery, a ledger.Attempt) ledger.Outcome {
	var p Payload
	if err := json.Unmarshal(d.Payload, &p); err != nil || p.Purpose == "" {
		return ledger.Outcome{Kind: ledger.Permanent, Code: codePayload, NoCall: true}
	}
	if !mobile.MatchString(d.Address) {
		return ledger.Outcome{Kind: ledger.Unreachable, Code: codeNumber, NoCall: true}
	}
	for _, v := range p.Params {
		if v == "" || utf8.RuneCountInString(v) > longestParam {
			return ledger.Outcome{Kind: ledger.Permanent, Code: codeParam, NoCall: true}
		}
	}
	acc, o, ok := s.account(ctx, d.AccountID)
	if !ok {
		return o
	}
	template := acc.Templates[p.Purpose]
	if template == "" {
		return ledger.Outcome{Kind: ledger.Permanent, Code: codeTemplate, NoCall: true}
	}
	params, err := paramsJSON(p.Params)
	if err != nil {
		return ledger.Outcome{Kind: ledger.Permanent, Code: codePayload, NoCall: true}
	}
	res, err := s.client.send(ctx, keys{acc.AccessKeyID, acc.AccessKeySecret}, d.Address, acc.Sign, template, params, a.OutID)
	return s.outcome(d, res, err)
}

// outcome: HTTP 200 and no error mean nothing; accepted is code OK with the
// vendor's id, and only that.
func (s *Service) outcome(d ledger.Delivery, res sent, err error) ledger.Outcome {
	now := s.o.Clock.Now()
	var f *failure
	switch {
	case errors.As(err, &f) && f.code != "":
		return outcomeOf(f.code, f.message, d.Class, now)
	case errors.As(err, &f) && !f.wrote:
		return ledger.Outcome{Kind: ledger.Retry, Code: f.reason}
	case errors.As(err, &f):
		return ledger.Outcome{Kind: ledger.Ambiguous, Code: f.reason}
	case err != nil:
		return ledger.Outcome{Kind: ledger.Ambiguous, Code: "unclassified"}
	case res.code == "":
		return ledger.Outcome{Kind: ledger.Ambiguous, Code: codeNoCode}
	case res.code == "OK" && res.bizID == "":
		return ledger.Outcome{Kind: ledger.Ambiguous, Code: "no_biz_id"}
	}
	o := outcomeOf(res.code, res.message, d.Class, now)
	if o.Kind == ledger.OK {
		o.VendorID = res.bizID
	}
	return o
}

func (s *Service) account(ctx context.Context, id string) (company.SMSAccount, ledger.Outcome, bool) {
	dir, err := s.o.Directory.Directory(ctx)
	if err != nil {
		return company.SMSAccount{}, ledger.Outcome{Kind: ledger.Retry, Code: codeStore, NoCall: true}, false
	}
	acc, ok := dir.SMSByID(id)
	if !ok {
		return company.SMSAccount{}, ledger.Outcome{Kind: ledger.Stop, Code: codeNoAccount}, false
	}
	return acc, ledger.Outcome{}, true
}
