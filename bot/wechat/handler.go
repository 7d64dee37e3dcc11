package wechat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/telemetry"
)

// Limits of a callback. The platform drops the connection after 5 s and tries
// three times in all.
const (
	maxBody          = 64 << 10
	defaultFreshness = 10 * time.Minute
	defaultBudget    = 2 * time.Second
	defaultStore     = 1500 * time.Millisecond
	defaultTurn      = 30 * time.Second
	defaultAside     = 16
	readTimeout      = 4 * time.Second
	writeTimeout     = 2 * time.Second
)

// Accounts finds the account of a callback address (the segment after /wechat/).
// It must answer from memory: it is asked while the database is away, too.
type Accounts interface {
	Account(ctx context.Context, path string) (company.WeChatAccount, bool)
}

// Turner runs the dialogue.
type Turner interface {
	// Turn answers a stored message and stores the answer. live says that the
	// callback is open; the carrier tells whether the answer travels in it.
	Turn(ctx context.Context, m conversation.Message, live bool) (a conversation.Answer, carrier string, err error)
	// Away gives the words for a push that could only be spooled: safety words
	// for a danger, else a fixed text; empty for none. It uses no database.
	Away(ctx context.Context, in conversation.Inbound) string
}

// Options are what a Handler works with. Conversations, Accounts, Turner, Clock
// and Log are required.
type Options struct {
	Accounts      Accounts
	Conversations *conversation.Conversations
	// Spool keeps pushes while the database is away. Without one such pushes
	// are refused with 503.
	Spool   *conversation.Spool
	Turner  Turner
	Clock   clock.Clock
	Log     *slog.Logger
	Metrics *telemetry.Registry // nil: a registry of its own

	// Freshness is how far the signed timestamp may be from now; 0 means 10
	// minutes (retries may reuse the first timestamp).
	Freshness time.Duration
	// Budget is the time from arrival to answer; 0 means 2 s, of the 5 the
	// platform grants.
	Budget time.Duration
	// StoreTimeout is how long the database may take to store a push before
	// the spool takes it; 0 means 1.5 s. It must be below Budget.
	StoreTimeout time.Duration
	// TurnTimeout bounds a turn that has outlived its callback; 0 means 30 s.
	TurnTimeout time.Duration
	// Aside is how many turns on events that were acknowledged first may run
	// at once; 0 means 16. What doesn't fit is left to the sweep.
	Aside int
}

// Handler serves GET and POST /wechat/{account}.
type Handler struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	nonces  *nonceGuard
	rings   keyrings
	flights flights
	aside   chan struct{}
	running sync.WaitGroup
}

// New checks the options and returns the handler.
func New(o Options) (*Handler, error) {
	if o.Accounts == nil || o.Conversations == nil || o.Turner == nil || o.Clock == nil || o.Log == nil {
		return nil, errors.New("wechat callback: accounts, conversations, turner, clock and log are required")
	}
	setDefault(&o.Freshness, defaultFreshness)
	setDefault(&o.Budget, defaultBudget)
	setDefault(&o.StoreTimeout, min(defaultStore, o.Budget*3/4))
	setDefault(&o.TurnTimeout, defaultTurn)
	if o.StoreTimeout >= o.Budget {
		return nil, fmt.Errorf("wechat callback: the store timeout %v must be below the budget %v", o.StoreTimeout, o.Budget)
	}
	if o.Aside <= 0 {
		o.Aside = defaultAside
	}
	if o.Metrics == nil {
		o.Metrics = telemetry.NewRegistry()
	}
	return &Handler{
		o: o, log: o.Log, metrics: newMetrics(o.Metrics, o.Spool), nonces: newNonceGuard(2 * o.Freshness),
		flights: flights{byKey: map[string]*flight{}}, aside: make(chan struct{}, o.Aside),
	}, nil
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d <= 0 {
		*d = v
	}
}

// Drain returns when the turns that have outlived their callbacks have ended,
// or when ctx ends; what is cut off is answered by the sweep. Stop the server
// first.
func (h *Handler) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		h.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for turns under way: %w", ctx.Err())
	}
}

// ServeHTTP implements http.Handler. Every request ends with exactly one
// outcome counted, and every refusal with a log line.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	ctx := r.Context()
	var account company.WeChatAccount
	defer func() {
		h.metrics.seconds.WithLabelValues().Observe(time.Since(began).Seconds())
		if p := recover(); p != nil {
			h.writeRefusal(ctx, w, account.ID, refuse(reasonPanic, panicError(p)))
		}
	}()
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		h.writeRefusal(ctx, w, "", refuse(reasonMethod, nil))
		return
	}
	account, ok := h.o.Accounts.Account(ctx, accountPath(r))
	if !ok {
		h.writeRefusal(ctx, w, "", refuse(reasonAccount, nil))
		return
	}
	if r.Method == http.MethodGet {
		h.verify(w, r, account)
		return
	}
	h.push(w, r, account, began)
}

// accountPath works with every router that fills path values (net/http, chi)
// and with none.
func accountPath(r *http.Request) string {
	if p := r.PathValue("account"); p != "" {
		return p
	}
	return path.Base(r.URL.Path)
}

// panicError says where, never what: a panic's value may quote the push.
func panicError(p any) error {
	return fmt.Errorf("panic of type %T\n%s", p, debug.Stack())
}

// verify answers the address check of the platform's console: echostr as it
// is, which an Official Account sends in plain even when it encrypts.
func (h *Handler) verify(w http.ResponseWriter, r *http.Request, account company.WeChatAccount) {
	q := readQuery(r)
	if !q.wellFormed() || !SignatureOK(q.signature, account.Token, q.timestamp, q.nonce) {
		h.writeRefusal(r.Context(), w, account.ID, refuse(reasonSignature, nil))
		return
	}
	h.metrics.outcomes.WithLabelValues(outcomeVerified).Inc()
	if err := writeBody(w, "text/plain; charset=utf-8", q.echo); err != nil {
		h.log.InfoContext(r.Context(), "the address check hung up", slog.Any("error", err))
	}
}

// push verifies, opens, stores and answers one push.
func (h *Handler) push(w http.ResponseWriter, r *http.Request, account company.WeChatAccount, began time.Time) {
	ctx := r.Context()
	in, sealed, f := h.admit(w, r, account)
	if f != nil {
		h.writeRefusal(ctx, w, account.ID, f)
		return
	}
	res := h.exchange(ctx, in, began.Add(h.o.Budget))
	if res.refused != nil {
		h.writeRefusal(ctx, w, account.ID, res.refused)
		return
	}
	body, contentType, outcome := success, "text/plain; charset=utf-8", outcomeNothing
	if text := content(res.answer); text != "" {
		var err error
		if body, err = h.body(account, in, sealed, text); err != nil {
			h.writeRefusal(ctx, w, account.ID, refuse(reasonKeys, err))
			return
		}
		contentType, outcome = "text/xml; charset=utf-8", outcomeReply
	}
	if res.outcome != "" {
		outcome = res.outcome
	}
	h.metrics.outcomes.WithLabelValues(outcome).Inc()
	err := ctx.Err()
	if err == nil {
		err = writeBody(w, contentType, body)
	}
	if err != nil {
		// Not noted as done: a retry gets the answer, or the sweep sends it.
		h.log.InfoContext(ctx, "an answer could not be written into the exchange",
			slog.String("account", account.ID), slog.Any("error", err))
		return
	}
	if res.messageID != "" {
		h.o.Conversations.ExchangeDone(res.messageID)
	}
}

// body builds the passive reply, sealed when the push was.
func (h *Handler) body(account company.WeChatAccount, in conversation.Inbound, sealed *envelope, text string) (string, error) {
	now := h.o.Clock.Now().Unix()
	from := in.Detail.ToUserName
	if from == "" {
		from = account.OriginalID
	}
	reply := passiveText(in.OpenID, from, now, text)
	if sealed == nil {
		return reply, nil
	}
	return sealedReply(sealed.key, account.AppID, account.Token, strconv.FormatInt(now, 10), sealed.nonce, reply)
}

// writeBody writes the whole answer and pushes it out, so that a broken
// connection is noticed here.
func writeBody(w http.ResponseWriter, contentType, body string) error {
	rc := http.NewResponseController(w)
	if err := rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("set the write deadline: %w", err)
	}
	head := w.Header()
	head.Set("Content-Type", contentType)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if _, err := io.WriteString(w, body); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("write the answer: %w", err)
	}
	// The connection may carry other handlers' answers afterwards.
	if err := rc.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("reset the write deadline: %w", err)
	}
	return nil
}
