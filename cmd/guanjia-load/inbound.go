package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"guanjia/internal/app"
	"guanjia/internal/app/sample"
	"guanjia/internal/db"
)

type inboundCmd struct {
	Ready     string  `help:"File with the ready line of a running product; without it the mode starts its own demo." type:"existingfile" placeholder:"FILE"`
	Rate      float64 `help:"Messages a second, whatever the answers take; without it as many as the clients get through." placeholder:"N"`
	Seconds   int     `help:"How long to measure." default:"10"`
	Warm      int     `help:"How long to push before measuring." default:"2"`
	Mix       string  `help:"chat: courtesies, answered from the words. case: each message opens a case." default:"chat" enum:"chat,case"`
	Clients   int     `help:"Connections that push." default:"32"`
	Bare      bool    `help:"Measure decoding, one insert and one Redis pipeline behind net/http, without the dialogue."`
	Compare   bool    `help:"Measure product and bare in turn on the same stores, and print the ratio."`
	Stored    int     `help:"Put so many closed cases into the database first." placeholder:"N"`
	Residents int     `help:"Residents of the demo's sample company." default:"2000"`
	Servers   bool    `help:"Start PostgreSQL and Redis from the programs installed on this machine."`
	Postgres  string  `help:"PostgreSQL for the demo or the bare measurement; a database of its own is made there." placeholder:"URL"`
	Redis     string  `help:"Redis for the same." placeholder:"URL"`
}

// inboundFigures are the figures of the mode.
type inboundFigures struct {
	figures
	Mix      string   `json:"mix"`
	Engine   string   `json:"engine"`
	Clients  int      `json:"clients"`
	Rate     float64  `json:"rate,omitempty"`
	Stored   int      `json:"stored"`
	Late     int64    `json:"late"`              // acknowledged without words in the exchange
	Checked  int64    `json:"checked,omitempty"` // residents whose cases were counted by the API
	BareOnly bool     `json:"bare_only,omitempty"`
	Bare     *figures `json:"bare,omitempty"`
	Ratio    float64  `json:"ratio,omitempty"` // product over bare, answers a second
}

// rounds are how often --compare changes sides, so that a machine that gets
// slower or faster meanwhile treats both alike.
const rounds = 4

func (c *inboundCmd) check() error {
	switch {
	case c.Clients < 1 || c.Seconds < 1:
		return errors.New("--clients and --seconds must be 1 or more")
	case c.Compare && (c.Bare || c.Rate > 0):
		return errors.New("--compare excludes --bare and --rate")
	case c.Ready != "" && (c.Servers || c.Stored > 0):
		return errors.New("--servers and --stored need a demo of our own, without --ready")
	case (c.Postgres == "") != (c.Redis == ""):
		return errors.New("--postgres and --redis go together")
	}
	return nil
}

// Run measures and prints.
func (c *inboundCmd) Run(r run) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	st, err := openStores(r, c.Servers, c.Postgres, c.Redis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	ready, stop, err := c.product(r, st)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	push, err := newPusher(ready.Account, ready.Listen, c.Clients)
	if err != nil {
		return err
	}
	defer push.close()
	out := inboundFigures{Mix: c.Mix, Engine: "embedded", Clients: c.Clients, Rate: c.Rate, Stored: c.Stored, BareOnly: c.Bare}
	if st.postgres != "" {
		out.Engine = "postgres+redis"
	}
	if err := c.measure(r, st, ready, push, &out); err != nil {
		return err
	}
	if err := r.print(out); err != nil {
		return err
	}
	if out.Lost > 0 || out.Doubled > 0 {
		return errFound
	}
	return nil
}

// product gives the ready line of the product that is measured, our own or another's.
func (c *inboundCmd) product(r run, st *stores) (ready sample.Ready, stop func() error, err error) {
	stop = func() error { return nil }
	if c.Ready != "" {
		raw, err := os.ReadFile(c.Ready)
		if err != nil {
			return ready, stop, fmt.Errorf("read the ready line: %w", err)
		}
		if err := json.Unmarshal(raw, &ready); err != nil {
			return ready, stop, fmt.Errorf("the ready line in %s is not as demo prints it: %w", c.Ready, err)
		}
		return ready, stop, nil
	}
	data := st.dir + "/demo"
	demo, err := app.StartDemo(r, app.DemoOptions{
		Listen: "127.0.0.1:0", Sandbox: "127.0.0.1:0", Data: data, Postgres: st.postgres, Redis: st.redis, Residents: c.Residents, Log: r.log,
	})
	if err != nil {
		return ready, stop, err
	}
	if c.Stored > 0 {
		address := st.postgres
		if address == "" {
			address = "sqlite://" + data + "/guanjia.db"
		}
		if err := storeCases(r, r.log, address, demo.Ready, c.Stored); err != nil {
			return ready, demo.Stop, errors.Join(err, demo.Stop())
		}
	}
	return demo.Ready, demo.Stop, nil
}

func (c *inboundCmd) measure(r run, st *stores, ready sample.Ready, push *pusher, out *inboundFigures) error {
	var bare *bareServer
	if c.Bare || c.Compare {
		var err error
		if bare, err = startBare(r, r.log, st, ready); err != nil {
			return err
		}
		defer bare.close()
	}
	ctl := newControl(ready)
	defer ctl.close()
	load, err := c.load(r, ctl, push)
	if err != nil {
		return err
	}
	var product, other series
	switch {
	case c.Bare:
		bareLoad := &caseLoad{push: push.at(bare.url), plain: true}
		c.shoot(r, c.Warm, bareLoad.fire)
		other = c.shoot(r, c.Seconds, bareLoad.fire)
		out.figures = other.figures("inbound")
		return other.first
	case c.Compare:
		bareLoad := &caseLoad{push: push.at(bare.url), plain: true}
		c.shoot(r, c.Warm, load.fire)
		c.shoot(r, c.Warm, bareLoad.fire)
		part := max(1, c.Seconds/rounds)
		for range rounds {
			product.add(c.shoot(r, part, load.fire))
			other.add(c.shoot(r, part, bareLoad.fire))
		}
		f := other.figures("bare")
		out.Bare = &f
	default:
		c.shoot(r, c.Warm, load.fire)
		product = c.shoot(r, c.Seconds, load.fire)
	}
	out.figures = product.figures("inbound")
	if out.Bare != nil {
		out.Ratio = ratio(out.PerSecond, out.Bare.PerSecond)
	}
	if product.first != nil {
		r.log.Warn("a push failed", "first", product.first, "errors", product.errors)
	}
	return load.settle(r, out)
}

func (c *inboundCmd) shoot(ctx context.Context, seconds int, fire shot) series {
	d := time.Duration(seconds) * time.Second
	if c.Rate > 0 {
		return openLoop(ctx, max(c.Clients, 4*c.Clients), c.Rate, d, fire)
	}
	return closedLoop(ctx, c.Clients, d, fire)
}

// load is a mix of messages with the books that are kept about it.
type load interface {
	fire(ctx context.Context) error
	settle(ctx context.Context, out *inboundFigures) error
}

func (c *inboundCmd) load(ctx context.Context, ctl *control, push *pusher) (load, error) {
	if c.Bare {
		return nil, nil //nolint:nilnil // nothing to keep books about
	}
	if c.Mix == "case" {
		return &caseLoad{push: push, ctl: ctl, open: map[string]bool{}}, nil
	}
	away, err := loadCourtesy()
	if err != nil {
		return nil, err
	}
	l := &chatLoad{push: push, ctl: ctl, away: away, late: map[string]int64{}}
	return l, l.prepare(ctx)
}

// chatLoad lets the followers of the sample company say courtesies.
type chatLoad struct {
	push *pusher
	ctl  *control
	away courtesyText

	openIDs []string
	n       atomic.Int64
	before  map[string]int64

	mu   sync.Mutex
	late map[string]int64 // messages whose answer is still to come, by openid
}

// prepare lets everybody speak once through the simulators: only then do they
// accept a service message, which an answer may have to travel by.
func (l *chatLoad) prepare(ctx context.Context) error {
	var err error
	if l.openIDs, err = l.ctl.followers(ctx); err != nil {
		return err
	}
	err = each(ctx, 16, l.openIDs, func(ctx context.Context, openID string) error {
		p, err := l.ctl.say(ctx, openID, "你好")
		if err == nil && p.reply() == "" {
			l.note(openID)
		}
		return err
	})
	if err != nil {
		return err
	}
	l.before = map[string]int64{}
	return nil
}

func (l *chatLoad) note(openID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late[openID]++
}

func (l *chatLoad) fire(ctx context.Context) error {
	n := int(l.n.Add(1))
	texts := courtesies()
	openID := l.openIDs[n%len(l.openIDs)]
	reply, err := l.push.text(ctx, openID, texts[(n/len(l.openIDs)+n)%len(texts)])
	if err == nil && (reply == "" || l.away.is(reply)) {
		l.note(openID)
	}
	return err
}

// settleTimeout is how long late answers are waited for: the sweep comes after
// 6 s, and an answer whose exchange broke after 20 s.
const settleTimeout = 45 * time.Second

func (l *chatLoad) settle(ctx context.Context, out *inboundFigures) error {
	l.mu.Lock()
	late := l.late
	l.mu.Unlock()
	for _, n := range late {
		out.Late += n
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		came, err := l.ctl.outside(ctx)
		if err != nil {
			return err
		}
		out.Lost, out.Doubled = balance(late, came)
		if out.Lost == 0 || !pause(ctx, 500*time.Millisecond) {
			return nil
		}
	}
}

// balance compares what is due with what came, resident by resident.
func balance(due, came map[string]int64) (lost, doubled int64) {
	for id, n := range due {
		lost += max(0, n-came[id])
	}
	for id, n := range came {
		doubled += max(0, n-due[id])
	}
	return lost, doubled
}

// caseLoad lets somebody new open a case with every message. Plain, it only
// wants an answer: the other end is the bare server.
type caseLoad struct {
	push  *pusher
	ctl   *control
	plain bool

	run  atomic.Pointer[string]
	n    atomic.Int64
	mu   sync.Mutex
	nos  []string
	who  []string        // who got a number
	open map[string]bool // acknowledged without a number
}

func (l *caseLoad) fire(ctx context.Context) error {
	run := l.run.Load()
	if run == nil {
		id := db.NewID()[24:]
		l.run.CompareAndSwap(nil, &id)
		run = l.run.Load()
	}
	n := int(l.n.Add(1))
	openID := fmt.Sprintf("oLoad%s%08d", *run, n)
	texts := matters()
	reply, err := l.push.text(ctx, openID, texts[n%len(texts)])
	if err != nil || l.plain {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if no := caseNo(reply); no != "" {
		l.nos, l.who = append(l.nos, no), append(l.who, openID)
		return nil
	}
	l.open[openID] = true
	return nil
}

// sampled is how many of those with a number are looked up.
const sampled = 200

// settle looks for the cases of those without a number, and for second cases
// among the others.
func (l *caseLoad) settle(ctx context.Context, out *inboundFigures) error {
	seen := map[string]bool{}
	for _, no := range l.nos {
		if seen[no] {
			out.Doubled++
		}
		seen[no] = true
	}
	var some []string
	for i := 0; i < len(l.who); i += max(1, len(l.who)/sampled) {
		some = append(some, l.who[i])
	}
	out.Late = int64(len(l.open))
	var doubled atomic.Int64
	base := l.ctl.ready.Listen
	if err := each(ctx, 8, some, func(ctx context.Context, openID string) error {
		found, err := l.ctl.cases(ctx, base, openID)
		if err == nil && len(found) != 1 {
			doubled.Add(int64(max(1, len(found)-1)))
		}
		return err
	}); err != nil {
		return err
	}
	out.Checked = int64(len(some) + len(l.open))
	for end := time.Now().Add(settleTimeout); len(l.open) > 0; {
		for openID := range l.open {
			found, err := l.ctl.cases(ctx, base, openID)
			if err != nil {
				return err
			}
			if len(found) > 0 {
				doubled.Add(int64(len(found) - 1))
				delete(l.open, openID)
			}
		}
		if time.Now().After(end) || !pause(ctx, time.Second) {
			break
		}
	}
	out.Lost += int64(len(l.open))
	out.Doubled += doubled.Load()
	return nil
}
