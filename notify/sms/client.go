package sms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/dysmsapi"
)

const region = "cn-hangzhou"

// keys are the credentials of one account.
type keys struct{ id, secret string }

// client makes the three calls that the product needs. Workers take one of a
// fixed number of SDK clients each, because a shared one races.
type client struct {
	wire *wire
	idle chan *worker
	log  *slog.Logger
}

// worker is one SDK client, used by one goroutine at a time, for any account.
type worker struct {
	sdk  *dysmsapi.Client
	call *oneCall
	keys keys
}

// GetCredentials implements the SDK's provider.
func (w *worker) GetCredentials() (*credentials.Credentials, error) {
	return &credentials.Credentials{AccessKeyId: w.keys.id, AccessKeySecret: w.keys.secret, ProviderName: "company"}, nil
}

// GetProviderName implements the SDK's provider.
func (w *worker) GetProviderName() string { return "company" }

func newClient(base string, workers int, log *slog.Logger) (*client, error) {
	wire, err := newWire(base, workers)
	if err != nil {
		return nil, err
	}
	c := &client{wire: wire, idle: make(chan *worker, workers), log: log}
	for range workers {
		w, err := newWorker(wire)
		if err != nil {
			return nil, errors.New("sms client cannot be made")
		}
		c.idle <- w
	}
	return c, nil
}

// fillTables makes the SDK fill its own package-level table once: it does so
// without a lock in every constructor, which races when two services are made
// at the same time.
var fillTables = sync.OnceFunc(func() { dysmsapi.GetEndpointMap() })

func newWorker(next *wire) (*worker, error) {
	fillTables()
	w := &worker{call: &oneCall{wire: next}}
	cfg := sdk.NewConfig().WithScheme("HTTPS").WithTimeout(callTimeout).WithAutoRetry(false)
	cfg.Transport = w.call
	c, err := dysmsapi.NewClientWithOptions(region, cfg, w)
	if err != nil {
		return nil, err
	}
	c.Domain = domain
	w.sdk = c
	return w, nil
}

func (c *client) close() { c.wire.next.CloseIdleConnections() }

// failure is a call without a usable answer of the vendor. It never holds the
// SDK's text.
type failure struct {
	code string // the vendor's, when it sent one
	// message is the vendor's text for the code; looked at, never kept.
	message string
	reason  string
	wrote   bool // the request may have been carried out
}

func (f *failure) Error() string {
	if f.code != "" {
		return "sms: refused with " + f.code
	}
	return "sms: " + f.reason
}

// do runs one SDK call on a free worker.
func (c *client) do(ctx context.Context, k keys, f func(w *worker) error) (err error) {
	var w *worker
	select {
	case w = <-c.idle:
	case <-ctx.Done():
		return &failure{reason: "no_worker"}
	}
	defer func() { c.idle <- w }()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	w.keys = k
	w.call.begin(ctx)
	// The SDK panics on error bodies whose fields have an unexpected type.
	defer func() {
		if p := recover(); p != nil {
			c.log.WarnContext(ctx, "sms sdk panicked on an answer", "status", w.call.status)
			err = &failure{reason: "panic", wrote: true}
		}
	}()
	return w.classify(f(w))
}

func (w *worker) classify(err error) error {
	if err == nil {
		return nil
	}
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	f = &failure{reason: w.call.reason(), wrote: w.call.wrote.Load()}
	var server *sdkerrors.ServerError
	if errors.As(err, &server) {
		f.code, f.message = server.ErrorCode(), server.Message()
		f.wrote = true
	}
	return f
}

// sent is the answer to a submission.
type sent struct{ code, message, bizID string }

func (c *client) send(ctx context.Context, k keys, phone, sign, template, params, outID string) (sent, error) {
	var s sent
	err := c.do(ctx, k, func(w *worker) error {
		// A new request for each call: a reused one keeps old parameters.
		r := dysmsapi.CreateSendSmsRequest()
		r.PhoneNumbers, r.SignName, r.TemplateCode, r.TemplateParam, r.OutId = phone, sign, template, params, outID
		res, err := w.sdk.SendSms(r)
		if err != nil {
			return err
		}
		s = sent{res.Code, res.Message, res.BizId}
		return nil
	})
	return s, err
}

// detail is one row of a look-up.
type detail struct {
	outID   string
	status  int64 // 1 waiting, 2 failed, 3 delivered
	errCode string
	at      time.Time
}

const (
	statusWaiting   = 1
	statusFailed    = 2
	statusDelivered = 3
	pageSize        = 50
	mostPages       = 20 // a phone gets at most a few hundred SMS a day
)

// find looks a call up by phone and day, and goes through the pages until its
// out-id turns up. found is false when the vendor answered and doesn't have it.
func (c *client) find(ctx context.Context, k keys, phone, outID, day string) (d detail, found bool, err error) {
	for page := 1; page <= mostPages; page++ {
		var list []detail
		err = c.do(ctx, k, func(w *worker) error {
			var err error
			list, err = w.query(phone, day, page)
			return err
		})
		if err != nil {
			return detail{}, false, err
		}
		for _, d := range list {
			if d.outID == outID {
				return d, true, nil
			}
		}
		if len(list) < pageSize {
			return detail{}, false, nil
		}
	}
	return detail{}, false, nil
}

func (w *worker) query(phone, day string, page int) ([]detail, error) {
	r := dysmsapi.CreateQuerySendDetailsRequest()
	r.PhoneNumber, r.SendDate = phone, day
	r.PageSize, r.CurrentPage = requests.NewInteger(pageSize), requests.NewInteger(page)
	res, err := w.sdk.QuerySendDetails(r)
	if err != nil {
		return nil, err
	}
	switch res.Code {
	case "OK":
	case "DATA_NOT_EXIST", "isv.DATA_NOT_EXIST":
		return nil, nil
	default:
		return nil, &failure{code: res.Code, reason: "query refused", wrote: true}
	}
	list := make([]detail, 0, len(res.SmsSendDetailDTOs.SmsSendDetailDTO))
	for _, row := range res.SmsSendDetailDTOs.SmsSendDetailDTO {
		list = append(list, detail{
			outID: row.OutId, status: row.SendStatus, errCode: row.ErrCode, at: vendorTime(row.ReceiveDate),
		})
	}
	return list, nil
}

// vendorTime reads the vendor's zoneless times; the zero time when it is none.
func vendorTime(s string) time.Time {
	t, err := time.ParseInLocation(time.DateTime, s, chinaTime())
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// registered is a template as the vendor knows it.
type registered struct{ status, content string }

func (c *client) template(ctx context.Context, k keys, code string) (registered, error) {
	var t registered
	err := c.do(ctx, k, func(w *worker) error {
		r := dysmsapi.CreateGetSmsTemplateRequest()
		r.TemplateCode = code
		res, err := w.sdk.GetSmsTemplate(r)
		if err != nil {
			return err
		}
		if res.Code != "OK" {
			return &failure{code: res.Code, reason: "query refused", wrote: true}
		}
		t = registered{res.TemplateStatus, res.TemplateContent}
		return nil
	})
	return t, err
}

// paramsJSON writes variables as the vendor wants them: an object of strings.
func paramsJSON(params map[string]string) (string, error) {
	if len(params) == 0 {
		return "", nil
	}
	b, err := json.Marshal(params)
	if err != nil {
		return "", fmt.Errorf("sms parameters: %w", err)
	}
	return string(b), nil
}
