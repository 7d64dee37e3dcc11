package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"guanjia/internal/app"
	"guanjia/internal/app/sample"
	"guanjia/internal/db"
)

type broadcastCmd struct {
	Ready     string   `help:"File with the ready line of a running product; without it the mode starts its own." type:"existingfile" placeholder:"FILE"`
	Residents int      `help:"Residents of our own sample company, all of whom are told." default:"10000"`
	Channels  []string `help:"By what they are told." default:"sms,template" enum:"sms,template"`
	Kind      string   `help:"Kind of the notice. Only an emergency leaves in quiet hours of a product that is not ours." default:"general" enum:"general,emergency_outage"`
	Emergency int      `help:"Approve an emergency for so many people in the middle of it." placeholder:"N"`
	Canary    bool     `help:"Keep the first messages of a large notice watched; without it they all leave at once (with --servers or --postgres)."`
	Bare      bool     `help:"Measure a plain loop over Aliyun's SDK against a simulator of its own, without the product."`
	Compare   bool     `help:"Measure product and bare one after the other, the snapshot too, and print the ratios."`
	Clients   int      `help:"Goroutines of the bare loop." default:"32"`
	Servers   bool     `help:"Start PostgreSQL and Redis from the programs installed on this machine, and the product as processes of their own."`
	Postgres  string   `help:"PostgreSQL for the product; a database of its own is made there." placeholder:"URL"`
	Redis     string   `help:"Redis for the same." placeholder:"URL"`
	Binary    string   `help:"The guanjia program for --servers; built from the module when not given." type:"existingfile" placeholder:"PATH"`
	Patience  int      `help:"Seconds until everything must be final; by default 120 and one for every 50 people." placeholder:"S"`
}

// broadcastFigures are the figures of the mode. Requests are the messages that
// were due, ok those that the simulators accepted, per_second how many of them
// a second from the approval until the last receipt was processed. Lost and
// doubled are by the simulators' counters.
type broadcastFigures struct {
	figures
	Engine          string            `json:"engine"`
	Channels        []string          `json:"channels,omitempty"`
	Audience        *noticeAudience   `json:"audience,omitempty"`
	ComposeMS       float64           `json:"compose_ms,omitempty"`  // with the count of the audience
	SnapshotMS      float64           `json:"snapshot_ms,omitempty"` // from the approval until the audience is frozen
	BareSnapshotMS  float64           `json:"bare_snapshot_ms,omitempty"`
	SnapshotRatio   float64           `json:"snapshot_ratio,omitempty"` // product over bare
	PlannedMS       float64           `json:"planned_ms,omitempty"`     // until every delivery is a row
	FirstSMSMS      float64           `json:"first_sms_ms,omitempty"`   // until a simulator accepted the first SMS
	SubmittedMS     float64           `json:"submitted_ms,omitempty"`   // until all were submitted
	FinishedMS      float64           `json:"finished_ms,omitempty"`    // until all are final
	Submitted       int64             `json:"submitted"`
	SubmittedPerSec float64           `json:"submitted_per_second,omitempty"` // of the broadcast alone, without an emergency
	Delivered       int64             `json:"delivered"`
	Receipts        int64             `json:"receipts"`
	Duplicates      int64             `json:"duplicates"` // texts or identifiers that an address got twice
	States          map[string]int64  `json:"states,omitempty"`
	MemoryMB        float64           `json:"memory_mb,omitempty"` // highest resident memory
	MemoryOf        string            `json:"memory_of,omitempty"` // serve: the product alone; demo: with simulators and this program
	Emergency       *emergencyFigures `json:"emergency,omitempty"`
	BareOnly        bool              `json:"bare_only,omitempty"`
	Bare            *figures          `json:"bare,omitempty"`
	Ratio           float64           `json:"ratio,omitempty"` // product over bare, per_second
}

// emergencyFigures are times from the approval of an emergency.
type emergencyFigures struct {
	People    int     `json:"people"`
	Messages  int64   `json:"messages"`
	Amid      int64   `json:"amid"` // SMS of the broadcast that had left
	ApproveMS float64 `json:"approve_ms"`
	FirstMS   float64 `json:"first_ms"`
	AllMS     float64 `json:"all_ms"` // all submitted
}

// templatesADay is what the platform takes of one account.
const templatesADay = 100_000

func (c *broadcastCmd) check() error {
	switch {
	case c.Residents < 1 || c.Clients < 1:
		return errors.New("--residents and --clients must be 1 or more")
	case c.Bare && (c.Compare || c.Ready != "" || c.Emergency > 0):
		return errors.New("--bare needs no product: it excludes --compare, --ready and --emergency")
	case c.Ready != "" && (c.Servers || c.Postgres != ""):
		return errors.New("--servers and --postgres need a product of our own, without --ready")
	case (c.Postgres == "") != (c.Redis == ""):
		return errors.New("--postgres and --redis go together")
	case slices.Contains(c.Channels, "template") && c.Residents > 2*templatesADay:
		return fmt.Errorf("the platform takes %d template messages a day; measure so many with --channels sms", templatesADay)
	}
	return nil
}

// Run measures and prints.
func (c *broadcastCmd) Run(r run) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	out := broadcastFigures{figures: figures{Mode: "broadcast"}, Engine: "none", BareOnly: c.Bare}
	if c.Bare {
		s, err := bareSMS(r, r.log, c.Clients, c.Residents)
		if err != nil {
			return err
		}
		out.figures = s.figures("broadcast")
		out.Submitted = out.OK
		return r.print(out)
	}
	h, err := c.house(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	out.Engine, out.MemoryOf, out.Channels = h.engine, h.memoryOf, c.Channels
	if err := c.measure(r, h, &out); err != nil {
		return err
	}
	if out.MemoryMB, err = h.memory(); err != nil {
		return err
	}
	if c.Compare {
		if err := c.compare(r, h, &out); err != nil {
			return err
		}
	}
	if err := r.print(out); err != nil {
		return err
	}
	if out.Lost > 0 || out.Doubled > 0 {
		return errFound
	}
	return nil
}

// house is a product with its simulators, ours or another's.
type house struct {
	ctl      *control
	base     string
	engine   string
	db       *db.DB // nil: another's
	memoryOf string
	pid      string // whose memory is ours
	closers  []func() error
}

func (h *house) close() error {
	var errs []error
	for i := len(h.closers) - 1; i >= 0; i-- {
		errs = append(errs, h.closers[i]())
	}
	return errors.Join(errs...)
}

func (c *broadcastCmd) house(r run) (*house, error) {
	switch {
	case c.Ready != "":
		return c.anothers()
	case c.Servers || c.Postgres != "":
		return c.processes(r)
	}
	return c.demo(r)
}

func (c *broadcastCmd) anothers() (*house, error) {
	raw, err := os.ReadFile(c.Ready)
	if err != nil {
		return nil, fmt.Errorf("read the ready line: %w", err)
	}
	var ready sample.Ready
	if err := json.Unmarshal(raw, &ready); err != nil {
		return nil, fmt.Errorf("the ready line in %s is not as demo prints it: %w", c.Ready, err)
	}
	h := &house{ctl: newControl(ready), base: ready.Listen, engine: "another's"}
	h.closers = append(h.closers, func() error { h.ctl.close(); return nil })
	return h, nil
}

// processes is what production has: the product's memory is then its own.
func (c *broadcastCmd) processes(r run) (*house, error) {
	settings := map[string]any{"quiet_from": "00:00", "quiet_to": "00:00", "template_per_second": 0, "template_per_day": 0}
	if !c.Canary {
		settings["canary"] = 0
	}
	s, err := openScene(r, sceneOptions{servers: c.Servers, postgres: c.Postgres, redis: c.Redis, binary: c.Binary, residents: c.Residents, nodes: 1, settings: settings})
	if err != nil {
		return nil, err
	}
	n := s.nodes[0]
	if err := n.start(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return &house{
		ctl: s.ctl, base: n.url(), engine: "postgres+redis", db: s.db, memoryOf: "serve",
		pid: strconv.Itoa(n.proc.cmd.Process.Pid), closers: []func() error{s.close},
	}, nil
}

// demo is the embedded pair in this process.
func (c *broadcastCmd) demo(r run) (*house, error) {
	st, err := openStores(r, false, "", "")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(st.dir, "demo")
	d, err := app.StartDemo(r, app.DemoOptions{
		Listen: "127.0.0.1:0", Sandbox: "127.0.0.1:0", Data: data, Residents: c.Residents, Now: awake(time.Now()), Log: r.log,
	})
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	h := &house{ctl: newControl(d.Ready), base: d.Ready.Listen, engine: "embedded", memoryOf: "demo", pid: "self"}
	h.closers = append(h.closers, st.close, d.Stop, func() error { h.ctl.close(); return nil })
	if h.db, err = db.Open(r, db.Options{URL: "sqlite://" + filepath.Join(data, "guanjia.db"), MaxConns: 2, Logger: r.log}); err != nil {
		return nil, errors.Join(err, h.close())
	}
	h.closers = append(h.closers, h.db.Close)
	return h, nil
}

// awake is now, or ten in the morning where people sleep now.
func awake(now time.Time) time.Time {
	local := now.In(time.FixedZone("CST", 8*3600))
	if h := local.Hour(); h >= 8 && h < 20 {
		return now
	}
	return time.Date(local.Year(), local.Month(), local.Day(), 10, 0, 0, 0, local.Location())
}

// memory is the highest resident memory of the product so far, in MB; 0 where
// the system does not tell.
func (h *house) memory() (float64, error) {
	if h.pid == "" {
		return 0, nil
	}
	raw, err := os.ReadFile("/proc/" + h.pid + "/status")
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read our memory: %w", err)
	}
	for line := range bytes.Lines(raw) {
		var kb float64
		if n, _ := fmt.Sscanf(string(line), "VmHWM: %f kB", &kb); n == 1 {
			return round(kb / 1024), nil
		}
	}
	return 0, nil
}

// measure composes, approves and watches.
func (c *broadcastCmd) measure(r run, h *house, out *broadcastFigures) error {
	patience := time.Duration(c.Patience) * time.Second
	if patience == 0 {
		patience = 2*time.Minute + time.Duration(c.Residents)*time.Second/50
	}
	ctx, cancel := context.WithTimeout(r, patience)
	defer cancel()
	before, err := h.ctl.counted(ctx)
	if err != nil {
		return err
	}
	w := &watch{h: h, out: out}
	if c.Emergency > 0 {
		if err := w.prepareEmergency(ctx, c.Emergency); err != nil {
			return err
		}
	}
	began := time.Now()
	n, err := h.ctl.compose(ctx, h.base, c.draft())
	if err != nil {
		return err
	}
	out.ComposeMS, out.Audience = ms(time.Since(began)), &n.Audience
	if w.sms, err = h.ctl.smsSeq(ctx); err != nil {
		return err
	}
	final, err := w.run(ctx, n)
	if err != nil {
		return err
	}
	after, err := h.ctl.counted(ctx)
	if err != nil {
		return err
	}
	w.judge(before, after, n, final)
	return nil
}

func (c *broadcastCmd) draft() map[string]any {
	if c.Kind == "emergency_outage" {
		return map[string]any{"kind": c.Kind, "topic": "outage_water", "reason": "主管爆裂抢修", "channels": c.Channels}
	}
	return map[string]any{"kind": c.Kind, "title": "小区道路清扫通知", "reason": "秋季落叶集中清扫", "channels": c.Channels}
}

// compare measures the same without the product.
func (c *broadcastCmd) compare(r run, h *house, out *broadcastFigures) error {
	if h.db != nil {
		took, err := bareSnapshot(r, h.db, c.Channels)
		if err != nil {
			return err
		}
		out.BareSnapshotMS, out.SnapshotRatio = ms(took), ratio(out.SnapshotMS, ms(took))
	}
	s, err := bareSMS(r, r.log, c.Clients, int(out.Requests))
	if err != nil {
		return err
	}
	f := s.figures("bare")
	out.Bare, out.Ratio = &f, ratio(out.PerSecond, f.PerSecond)
	return nil
}
