package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type crashCmd struct {
	Postgres     string   `help:"PostgreSQL; a database of its own is made there." placeholder:"URL"`
	Redis        string   `help:"Redis; --flushall empties all of it." placeholder:"URL"`
	Servers      bool     `help:"Start PostgreSQL and Redis from the programs installed on this machine."`
	Binary       string   `help:"The guanjia program; built from the module when not given." type:"existingfile" placeholder:"PATH"`
	With         []string `help:"What goes on meanwhile: people write, and an emergency goes to all of them." default:"chats" enum:"chats,broadcast"`
	Kills        int      `help:"How often a node is killed and started again." placeholder:"N"`
	Messages     int      `help:"How many messages residents write." default:"1000"`
	Rate         float64  `help:"Messages a second." default:"50"`
	Seconds      int      `help:"How long the damage goes on when nobody writes." default:"60"`
	Residents    int      `help:"Residents of the sample company." default:"2000"`
	Nodes        int      `help:"How many nodes serve." default:"2"`
	Seed         uint64   `help:"Fixes when which node is killed." default:"1"`
	Flushall     bool     `help:"Empty Redis every second."`
	StopPostgres int      `help:"Stop PostgreSQL for so many seconds (with --servers)." placeholder:"S"`
	StopRedis    int      `help:"Stop Redis for so many seconds (with --servers)." placeholder:"S"`
	DropSocket   bool     `help:"Drop the work-group socket at every second frame."`
	Points       bool     `help:"Instead of all this, die once at every named kill point."`
	Only         string   `help:"With --points, only those whose name or drive contains this." placeholder:"TEXT"`
	Patience     int      `help:"Seconds to wait until everything has settled." default:"120"`
}

// crashFigures are the figures of the mode. Requests are messages, ok the
// acknowledged ones.
type crashFigures struct {
	figures
	Kills          int64 `json:"kills"`
	Flushes        int64 `json:"flushes,omitempty"`
	Cases          int64 `json:"cases"`
	LostAnswers    int64 `json:"lost_answers"`
	LostNotices    int64 `json:"lost_notices"`
	LostClaims     int64 `json:"lost_claims"`
	DoubledAnswers int64 `json:"doubled_answers"`
	DoubledCases   int64 `json:"doubled_cases"`
	DoubleClaims   int64 `json:"double_claims"`
	DoubledAllowed int64 `json:"doubled_allowed"` // by a kill between call and record
	OutIDs         int64 `json:"doubled_out_ids"`
	Courtesies     int64 `json:"away_texts"` // fixed texts while the database was away
	Claims         int64 `json:"claims"`
	QueueDiffers   int64 `json:"queue_differences"`
	CardsWaiting   int64 `json:"cards_waiting"` // for the allowance of their group
	CardsMissing   int64 `json:"cards_missing"`
	// Of the broadcast, by the simulators' counters.
	Recipients        int64   `json:"recipients,omitempty"`
	LostRecipients    int64   `json:"lost_recipients,omitempty"`
	DoubledRecipients int64   `json:"doubled_recipients,omitempty"`
	Notice            string  `json:"notice,omitempty"`  // its state in the end
	Remains           string  `json:"remains,omitempty"` // what had not settled in time
	SettledS          float64 `json:"settled_s"`
}

func (c *crashCmd) check() error {
	switch {
	case c.Messages < 1 || c.Rate <= 0 || c.Nodes < 1 || c.Seconds < 1:
		return errors.New("--messages, --rate, --seconds and --nodes must be above 0")
	case (c.StopPostgres > 0 || c.StopRedis > 0) && !c.Servers:
		return errors.New("--stop-postgres and --stop-redis need --servers: only what was started here is stopped here")
	}
	return nil
}

// Run does the damage and counts it.
func (c *crashCmd) Run(r run) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	s, err := openScene(r, sceneOptions{
		servers: c.Servers, postgres: c.Postgres, redis: c.Redis, binary: c.Binary, residents: c.Residents, nodes: c.Nodes, settings: c.settings(),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if c.Points {
		return runPoints(r, s, c.Only)
	}
	out, err := c.storm(r, s)
	if err != nil {
		return err
	}
	if err := r.print(out); err != nil {
		return err
	}
	if !out.clean() {
		return errFound
	}
	return nil
}

// clean tells whether all is as it must be.
func (f crashFigures) clean() bool {
	return f.Lost == 0 && f.Doubled == 0 && f.CardsMissing == 0 && f.QueueDiffers == 0 && f.Remains == ""
}

// storm lets people write and claim while things break.
func (c *crashCmd) storm(r run, s *scene) (crashFigures, error) {
	out := crashFigures{figures: figures{Mode: "crash"}}
	for _, n := range s.nodes {
		if n.proc != nil {
			continue
		}
		if err := n.start(); err != nil {
			return out, err
		}
	}
	b, err := newBooks(r, s, c.Messages)
	if err != nil {
		return out, err
	}
	lasts := c.lasts()
	ctx, cancel := context.WithCancel(r)
	defer cancel()
	var wg sync.WaitGroup
	var failed firstError
	begin := func(f func(ctx context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				failed.set(err)
			}
		})
	}
	var told *broadcast
	if c.with("broadcast") {
		if told, err = startBroadcast(r, s, b, begin); err != nil {
			return out, err
		}
	}
	begin(func(ctx context.Context) error { return c.killNodes(ctx, s, b, lasts) })
	begin(func(ctx context.Context) error { return c.stopStores(ctx, s, lasts) })
	begin(func(ctx context.Context) error { return c.flush(ctx, s, b, lasts) })
	staff := make(chan struct{})
	go func() { defer close(staff); b.work(ctx, 4) }()
	if c.DropSocket {
		fault := []map[string]any{{"target": "wecom.socket", "kind": "disconnect", "share": 0.5, "seed": c.Seed}}
		if err := s.ctl.sim(ctx, http.MethodPut, "/faults", fault, nil); err != nil {
			return out, err
		}
	}
	var pushes series
	if c.with("chats") {
		pushes = openLoop(ctx, 64, c.Rate, lasts, b.write)
	}
	wg.Wait()
	close(b.nos)
	<-staff
	if err := errors.Join(failed.get(), r.Err()); err != nil {
		return out, err
	}
	if err := s.ctl.sim(r, http.MethodDelete, "/faults", nil, nil); err != nil {
		return out, err
	}
	out.figures = pushes.figures("crash")
	out.Requests, out.OK, out.Errors = b.n.Load(), b.acked.Load(), b.refused.Load()
	out.Kills, out.Flushes, out.Claims = int64(len(b.kills)), b.flushes.Load(), int64(len(b.claims))
	settling := time.Now()
	patience := time.Duration(c.Patience) * time.Second
	if told != nil {
		if err := told.finish(r, max(patience, broadcastPatience), &out); err != nil {
			return out, err
		}
	}
	out.Remains, out.QueueDiffers = s.quiet(r, patience)
	out.SettledS = round(time.Since(settling).Seconds())
	if err := b.judge(r, &out); err != nil || told == nil {
		return out, err
	}
	return out, told.judge(r, &out)
}

// with tells whether something goes on meanwhile.
func (c *crashCmd) with(what string) bool {
	return slices.Contains(c.With, what) || len(c.With) == 0 && what == "chats"
}

// lasts is how long the damage goes on.
func (c *crashCmd) lasts() time.Duration {
	if !c.with("chats") {
		return time.Duration(c.Seconds) * time.Second
	}
	return time.Duration(float64(c.Messages) / c.Rate * float64(time.Second))
}

// settings let a broadcast last as long as the damage, at any hour, and give a
// small notice the watched first messages that otherwise a large one has.
func (c *crashCmd) settings() map[string]any {
	if !c.with("broadcast") && !c.Points {
		return nil
	}
	set := map[string]any{"quiet_from": "00:00", "quiet_to": "00:00", "canary": 5, "canary_from": 20}
	if c.with("broadcast") {
		set["sms_per_second"] = int(float64(c.Residents)/c.lasts().Seconds()) + 1
		set["template_per_second"] = set["sms_per_second"]
	}
	return set
}

// firstError keeps the first of several.
type firstError struct {
	mu  sync.Mutex
	err error
}

func (f *firstError) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *firstError) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// killNodes kills a random node and starts it again, spread over the run.
func (c *crashCmd) killNodes(ctx context.Context, s *scene, b *books, lasts time.Duration) error {
	rnd := rand.New(rand.NewPCG(c.Seed, 7)) //nolint:gosec // to be repeated, not to be secret
	began := time.Now()
	for i := range c.Kills {
		at := began.Add(time.Duration((float64(i) + rnd.Float64()) / float64(c.Kills) * float64(lasts)))
		if !pause(ctx, time.Until(at)) {
			return ctx.Err()
		}
		n := s.nodes[rnd.IntN(len(s.nodes))]
		n.proc.kill()
		b.killed(time.Now())
		if !pause(ctx, time.Duration(200+rnd.IntN(800))*time.Millisecond) {
			return ctx.Err()
		}
		if err := n.startStubborn(ctx); err != nil {
			return fmt.Errorf("start %s again: %w", n.name, err)
		}
	}
	return nil
}

// stopStores takes the stores away one after the other, and gives them back.
func (c *crashCmd) stopStores(ctx context.Context, s *scene, lasts time.Duration) error {
	if c.StopPostgres == 0 && c.StopRedis == 0 {
		return nil
	}
	if !pause(ctx, lasts/4) {
		return ctx.Err()
	}
	for _, x := range []struct {
		server  stoppable
		seconds int
	}{{s.st.pg, c.StopPostgres}, {s.st.rd, c.StopRedis}} {
		if x.seconds == 0 {
			continue
		}
		if err := x.server.halt(); err != nil {
			return err
		}
		pause(ctx, time.Duration(x.seconds)*time.Second)
		if err := x.server.start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// flush empties Redis every second.
func (c *crashCmd) flush(ctx context.Context, s *scene, b *books, lasts time.Duration) error {
	if !c.Flushall {
		return nil
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	end := time.After(lasts)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return nil
		case <-tick.C:
			if err := s.rdb.FlushAll(ctx).Err(); err == nil {
				b.flushes.Add(1)
			}
		}
	}
}

// books are what residents wrote and staff did, to be compared in the end with
// what the simulators saw.
type books struct {
	s       *scene
	talks   []*talk
	away    courtesyText
	n       atomic.Int64
	acked   atomic.Int64
	refused atomic.Int64
	flushes atomic.Int64
	nos     chan string

	mu     sync.Mutex
	kills  []time.Time
	claims map[string]string // case number -> who was told that he has it
	twice  int64             // cases that two were told they have
}

// talk is one resident's side.
type talk struct {
	openID string
	after  int64 // last line of his chat before the run
	matter int   // the round in which he has a matter
	told   int64 // template messages of a broadcast, which are no answers

	mu                           sync.Mutex
	courtesies, unsureCourtesies int64 // acknowledged, and refused by all
	matters, unsureMatters       int64
}

func newBooks(ctx context.Context, s *scene, messages int) (*books, error) {
	away, err := loadCourtesy()
	if err != nil {
		return nil, err
	}
	ids, err := s.ctl.followers(ctx)
	if err != nil {
		return nil, err
	}
	b := &books{s: s, away: away, nos: make(chan string, messages), claims: map[string]string{}}
	for i, id := range ids {
		_, last, err := s.ctl.chat(ctx, id, 0)
		if err != nil {
			return nil, err
		}
		b.talks = append(b.talks, &talk{openID: id, after: last, matter: i % 2})
	}
	return b, nil
}

func (b *books) killed(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kills = append(b.kills, at)
}

// write lets the next resident write. A message that the product never
// acknowledged is no error: the platform shows the resident that it failed.
func (b *books) write(ctx context.Context) error {
	i := int(b.n.Add(1)) - 1
	t, round := b.talks[i%len(b.talks)], i/len(b.talks)
	isMatter := round == t.matter
	texts := courtesies()
	if isMatter {
		texts = matters()
	}
	p, err := b.s.ctl.say(ctx, t.openID, texts[i%len(texts)])
	if err != nil {
		return err
	}
	ok := p.acknowledged()
	t.note(isMatter, ok)
	if !ok {
		b.refused.Add(1)
		return nil
	}
	b.acked.Add(1)
	if no := caseNo(p.reply()); isMatter && no != "" {
		b.nos <- no
	}
	return nil
}

func (t *talk) note(isMatter, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case isMatter && ok:
		t.matters++
	case isMatter:
		t.unsureMatters++
	case ok:
		t.courtesies++
	default:
		t.unsureCourtesies++
	}
}

// work lets members race for every second case, and the winner finish it.
func (b *books) work(ctx context.Context, hands int) {
	var wg sync.WaitGroup
	for range hands {
		wg.Go(func() {
			i := 0
			for no := range b.nos {
				if i++; i%2 == 0 || ctx.Err() != nil {
					continue
				}
				b.claim(ctx, no)
			}
		})
	}
	wg.Wait()
}

func (b *books) claim(ctx context.Context, no string) {
	c, err := b.anyNode(ctx, func(base string) (caseView, error) { return b.s.ctl.kase(ctx, base, no) })
	if err != nil {
		return
	}
	_, members := b.s.ctl.membersOf(c.Queue)
	if len(members) < 2 {
		return
	}
	var told [2]bool
	var wg sync.WaitGroup
	for i := range told {
		wg.Go(func() { told[i] = b.act(ctx, members[i], no, "claim", nil, i) == http.StatusOK })
	}
	wg.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case told[0] && told[1]:
		b.twice++
	case told[0]:
		b.claims[no] = members[0]
	case told[1]:
		b.claims[no] = members[1]
	default:
		return
	}
	winner := members[0]
	if !told[0] {
		winner = members[1]
	}
	wg.Go(func() { b.act(ctx, winner, no, "handle", map[string]any{"measures": "已更换并试用正常"}, 0) })
}

// act tries again as long as a node dies under it, and tells the status.
func (b *books) act(ctx context.Context, member, no, action string, in any, first int) int {
	for try := range 40 {
		n := b.s.nodes[(first+try)%len(b.s.nodes)]
		status, err := b.s.ctl.api(ctx, n.url(), b.s.ctl.ready.Tokens[member], http.MethodPost, "/cases/"+no+"/"+action, in, nil)
		if err == nil && status < 500 {
			return status
		}
		if !pause(ctx, 250*time.Millisecond) {
			break
		}
	}
	return 0
}

// anyNode asks one node after the other until one answers.
func (b *books) anyNode(ctx context.Context, ask func(base string) (caseView, error)) (c caseView, err error) {
	for try := range 40 {
		if c, err = ask(b.s.nodes[try%len(b.s.nodes)].url()); err == nil {
			return c, nil
		}
		if !pause(ctx, 250*time.Millisecond) {
			break
		}
	}
	return c, err
}
