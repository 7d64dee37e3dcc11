package wecom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"guanjia/bot/workgroup"
	"guanjia/internal/db"
	"guanjia/internal/telemetry"
	"guanjia/internal/wecomapi"
	"guanjia/internal/wording"
)

// Alarm says that a bot's socket was given up and a person must look.
type Alarm struct {
	BotID  string // our id
	Reason string // kicked, auth
	// Again is when the node tries once more by itself.
	Again time.Duration
}

// Options are what a Channel stands on. Bots, Lease, Store, Handler and Book are
// needed.
type Options struct {
	URL string // of the socket; wecomapi.Client.SocketURL
	// Bots gives all bots of the installation; it is asked at every renewal of
	// the lease, so it answers from memory.
	Bots    func(ctx context.Context) ([]Bot, error)
	Lease   Lease
	Owner   string // this node, unique in the installation
	Store   *Store
	Handler workgroup.Handler
	Book    *wording.Book
	Timing  Timing
	HTTP    *http.Client // for the handshake
	// Alarm is called when a socket is given up; it must not block.
	Alarm func(Alarm)
	// Up is called when a bot's socket is subscribed: what waits for it can
	// leave. It must not block.
	Up func(botID string)
	// Points hears the names of the points that an input passes (Point...), for
	// crash tests; nil in production.
	Points  func(name string)
	Log     *slog.Logger
	Metrics *telemetry.Registry
}

// Points that an input of a member passes, in this order. A crash at any of
// them loses nothing that was stored.
const (
	PointStored   = "group.stored"   // the message or click is a row
	PointActed    = "group.acted"    // the desk has done what it says
	PointHandled  = "group.handled"  // the answer is in the row
	PointAnswered = "group.answered" // the vendor has taken the answer
)

// Channel is the work group's StaffChannel by WeCom: it keeps the sockets of
// the bots whose lease this node has.
type Channel struct {
	o       Options
	metrics *metrics
	budget  *budget
	inbox   *inbox

	// troubles are what goes wrong at the moment, so that a database that is
	// away for an hour is one line in the log and not a thousand.
	renewing, sweeping trouble

	mu      sync.Mutex
	keepers map[string]*keeper
}

// trouble logs a failure when it begins and when it is over. It belongs to one
// goroutine.
type trouble struct{ on bool }

func (t *trouble) note(ctx context.Context, log *slog.Logger, what string, err error) {
	switch {
	case err != nil && !t.on:
		log.WarnContext(ctx, what, "error", err)
	case err == nil && t.on:
		log.InfoContext(ctx, "over: "+what)
	}
	t.on = err != nil
}

// keeper is one bot's socket and the goroutine that keeps it.
type keeper struct {
	bot    Bot
	socket *socket
	cancel context.CancelFunc
	done   chan struct{}
}

var _ workgroup.StaffChannel = (*Channel)(nil)

// New makes a Channel.
func New(o Options) *Channel {
	if o.HTTP == nil {
		o.HTTP = &http.Client{Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout: 3 * time.Second,
		}}
	}
	if o.Timing == (Timing{}) {
		o.Timing = DefaultTiming()
	}
	if o.Alarm == nil {
		o.Alarm = func(Alarm) {}
	}
	if o.Points == nil {
		o.Points = func(string) {}
	}
	if o.Up == nil {
		o.Up = func(string) {}
	}
	c := &Channel{
		o: o, metrics: newMetrics(o.Metrics), keepers: map[string]*keeper{},
		budget: newBudget(time.Now, perMinute, perHour),
	}
	c.inbox = newInbox(c)
	return c
}

// Caps implements workgroup.StaffChannel.
func (c *Channel) Caps() workgroup.Caps {
	return workgroup.Caps{Interactive: true, ClickBudget: 5 * time.Second, MaxText: maxMarkdown}
}

// Run keeps the sockets until ctx ends. Then it takes nothing new, finishes
// what is in hand for at most Timing.Drain, closes the sockets and gives up
// the leases, so that another node has them at once.
func (c *Channel) Run(ctx context.Context) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	c.inbox.start(base)

	var wg sync.WaitGroup
	wg.Go(func() { c.sweep(ctx) })
	renew := time.NewTicker(c.o.Timing.LeaseRenew)
	defer renew.Stop()
	c.renew(base)
	for {
		select {
		case <-renew.C:
			c.renew(base)
		case <-ctx.Done():
			wg.Wait()
			c.shutdown(base, stop)
			return nil
		}
	}
}

// sweep looks for messages left half done until ctx ends.
func (c *Channel) sweep(ctx context.Context) {
	ticker := time.NewTicker(c.o.Timing.Sweep)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.inbox.sweep(ctx, c.Held())
		case <-ctx.Done():
			return
		}
	}
}

func (c *Channel) shutdown(ctx context.Context, stop context.CancelFunc) {
	c.inbox.drain(c.o.Timing.Drain)
	held := c.Held()
	for _, id := range held {
		c.drop(id)
	}
	releaseCtx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := c.o.Lease.Release(releaseCtx, c.o.Owner, held); err != nil {
		c.o.Log.WarnContext(ctx, "socket leases not released; they lapse by themselves", "error", err)
	}
	stop()
	c.inbox.wait()
}

// leaseBudget bounds one question for leases.
const leaseBudget = 2 * time.Second

// renew asks for all leases and makes the sockets fit. After a failure they
// stay as they are: whoever has a socket keeps it, since nobody else can take a
// lease that cannot be asked for.
func (c *Channel) renew(ctx context.Context) {
	byID, held, err := c.leases(ctx)
	c.renewing.note(ctx, c.o.Log, "socket leases not renewed; sockets stay as they are", err)
	if err != nil {
		return
	}
	for _, id := range c.Held() {
		k := c.keeper(id)
		if k == nil {
			continue
		}
		if b, known := byID[id]; !known || !slices.Contains(held, id) || b != k.bot {
			c.drop(id)
		}
	}
	for _, id := range held {
		c.keep(ctx, byID[id])
	}
}

// leases gives all bots and those whose lease this node has now.
func (c *Channel) leases(ctx context.Context) (byID map[string]Bot, held []string, err error) {
	bots, err := c.o.Bots(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read bots: %w", err)
	}
	byID = make(map[string]Bot, len(bots))
	names := make([]string, 0, len(bots))
	for _, b := range bots {
		byID[b.ID] = b
		names = append(names, b.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, leaseBudget)
	defer cancel()
	held, err = c.o.Lease.Hold(ctx, c.o.Owner, names, c.o.Timing.LeaseTTL)
	return byID, held, err
}

// keep starts a bot's socket unless it runs.
func (c *Channel) keep(ctx context.Context, b Bot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keepers[b.ID] != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	k := &keeper{bot: b, cancel: cancel, done: make(chan struct{})}
	k.socket = newSocket(b, c.o.URL, c.o.Timing, c.o.HTTP, c.o.Log, c.metrics)
	k.socket.onFrame = func(f frame) { c.inbox.receive(k, f) }
	k.socket.onUp = func() { c.o.Up(b.ID) }
	c.keepers[b.ID] = k
	c.metrics.up.WithLabelValues(b.ID).Set(0)
	go func() {
		defer close(k.done)
		c.serve(ctx, k)
	}()
}

// drop ends a bot's socket and waits until it is closed.
func (c *Channel) drop(id string) {
	c.mu.Lock()
	k := c.keepers[id]
	delete(c.keepers, id)
	c.mu.Unlock()
	if k == nil {
		return
	}
	k.cancel()
	<-k.done
	c.metrics.up.DeleteLabelValues(id)
}

// serve keeps one socket. A socket that was given up stays down: two holders
// that throw each other out serve nobody. It tries once more after a long
// pause, since a person may have put things right.
func (c *Channel) serve(ctx context.Context, k *keeper) {
	for {
		err := k.socket.run(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errKicked) && !c.ownLease(ctx, k.bot.ID) {
			// The new holder of the lease took over: all is as it should be,
			// and a later renewal drops this socket.
			if !c.awaitLease(ctx, k.bot.ID) {
				return
			}
			continue
		}
		reason := reasonOf(err)
		c.metrics.alarms.WithLabelValues(reason).Inc()
		c.o.Log.ErrorContext(ctx, "work group socket given up: a person must look",
			"bot", k.bot.ID, "reason", reason, "again_in", c.o.Timing.Pause.String())
		c.o.Alarm(Alarm{BotID: k.bot.ID, Reason: reason, Again: c.o.Timing.Pause})
		if !sleep(ctx, c.o.Timing.Pause) {
			return
		}
	}
}

// ownLease tells whether this node surely has the bot's lease.
func (c *Channel) ownLease(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, leaseBudget)
	defer cancel()
	held, err := c.o.Lease.Hold(ctx, c.o.Owner, []string{id}, c.o.Timing.LeaseTTL)
	return err == nil && slices.Contains(held, id)
}

// awaitLease returns true once this node has the bot's lease (again), false
// when ctx ended first.
func (c *Channel) awaitLease(ctx context.Context, id string) bool {
	for sleep(ctx, c.o.Timing.LeaseRenew) {
		if c.ownLease(ctx, id) {
			return true
		}
	}
	return false
}

// Held gives the bots whose socket this node keeps, never nil: only their
// deliveries may be claimed here.
func (c *Channel) Held() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]string, 0, len(c.keepers))
	for id := range c.keepers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// sending gives the bots whose deliveries this node may claim now, never nil:
// those with a connection, and those that have had none for so long that
// emergencies take another way. The others' deliveries wait untouched.
func (c *Channel) sending() []string {
	ids := make([]string, 0, 4)
	for _, id := range c.Held() {
		if down, ok := c.Down(id); ok && (down == 0 || down > c.o.Timing.WebhookAfter) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Down tells for how long this node has had no connection for a bot that it
// keeps; 0 while there is one, false when it doesn't keep the bot.
func (c *Channel) Down(botID string) (time.Duration, bool) {
	k := c.keeper(botID)
	if k == nil {
		return 0, false
	}
	return k.socket.down(), true
}

func (c *Channel) keeper(id string) *keeper {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keepers[id]
}

// PushCard implements workgroup.StaffChannel. Errors are *wecomapi.Error.
func (c *Channel) PushCard(ctx context.Context, to workgroup.Chat, card workgroup.Card) error {
	return c.push(ctx, to, cardBody(card))
}

// PushText implements workgroup.StaffChannel. Errors are *wecomapi.Error.
func (c *Channel) PushText(ctx context.Context, to workgroup.Chat, markdown string) error {
	return c.push(ctx, to, markdownBody(markdown))
}

func (c *Channel) push(ctx context.Context, to workgroup.Chat, body map[string]any) error {
	if db.InTransaction(ctx) {
		return wecomapi.Fail(cmdSend, wecomapi.ClassRetry, wecomapi.ErrInTransaction)
	}
	k := c.keeper(to.BotID)
	if k == nil {
		return wecomapi.Fail(cmdSend, wecomapi.ClassRetry, wecomapi.ErrNoConnection)
	}
	_, err := k.socket.request(ctx, cmdSend, newReqID(cmdSend), addressed(body, to), 0)
	c.noteSpeed(to.ID, err)
	return err
}

// throttlePause is how long a chat stays quiet after the vendor said that it
// is too fast: its windows are a minute and an hour, and it doesn't say which.
const throttlePause = time.Minute

func (c *Channel) noteSpeed(chatID string, err error) {
	if wecomapi.ClassOf(err) == wecomapi.ClassThrottled {
		c.budget.block(chatID, throttlePause)
	}
}

// respond answers a message within its exchange (24 h). When the vendor no
// longer takes that, the answer is pushed.
func (c *Channel) respond(ctx context.Context, k *keeper, in input, markdown string) error {
	body := markdownBody(markdown)
	_, err := k.socket.request(ctx, cmdRespond, in.ReqID, body, c.o.Timing.Ack)
	if wecomapi.ClassOf(err) == wecomapi.ClassPermanent {
		_, err = k.socket.request(ctx, cmdSend, newReqID(cmdSend), addressed(markdownBody(markdown), in.Chat), c.o.Timing.Ack)
	}
	c.noteSpeed(in.Chat.ID, err)
	if err != nil {
		return fmt.Errorf("answer a member: %w", err)
	}
	return nil
}

func (c *Channel) update(ctx context.Context, k *keeper, in input, card workgroup.Card) error {
	_, err := k.socket.request(ctx, cmdUpdate, in.ReqID, updateBody(card), 0)
	c.noteSpeed(in.Chat.ID, err)
	if err != nil {
		return fmt.Errorf("replace a card: %w", err)
	}
	return nil
}
