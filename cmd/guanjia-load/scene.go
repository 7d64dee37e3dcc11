package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/internal/app/sample"
	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/embedded"
	"guanjia/internal/queue"
)

// sceneOptions say what a scene is made of.
type sceneOptions struct {
	servers         bool
	postgres, redis string
	binary          string // of guanjia; built when empty
	residents       int
	nodes           int
	settings        map[string]any // of the sample company, instead of its own
}

// scene is a whole installation as production has it: simulators, which live
// through everything, and nodes, which do not, each a process of its own.
type scene struct {
	log     *slog.Logger
	st      *stores
	bin     string
	self    string
	environ []string
	sandbox *process
	nodes   []*node
	ctl     *control

	// The same stores, seen from outside.
	db     *db.DB
	rdb    redis.UniversalClient
	queues *queue.Queues
}

// node is one `guanjia serve`, dead or alive.
type node struct {
	s      *scene
	name   string
	listen string
	proc   *process
}

func (n *node) url() string { return "http://" + n.listen }

func openScene(r run, o sceneOptions) (s *scene, err error) {
	s = &scene{log: r.log, bin: o.binary}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.st, err = openStores(r, o.servers, o.postgres, o.redis); err != nil {
		return s, err
	}
	if s.st.postgres == "" || s.st.redis == "" {
		return s, errors.New("give --postgres and --redis, or --servers to start them")
	}
	if s.self, err = os.Executable(); err != nil {
		return s, fmt.Errorf("find our own program: %w", err)
	}
	if s.bin == "" {
		if s.bin, err = build(r, s.st.dir); err != nil {
			return s, err
		}
	}
	for i := range o.nodes {
		port, err := freePort(r)
		if err != nil {
			return s, err
		}
		s.nodes = append(s.nodes, &node{s: s, name: "node" + strconv.Itoa(i+1), listen: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))})
	}
	if err := s.found(o.residents); err != nil {
		return s, err
	}
	if err := s.look(r); err != nil {
		return s, err
	}
	return s, s.settle(r, o.settings)
}

// settle changes settings of the company before a node reads them.
func (s *scene) settle(ctx context.Context, settings map[string]any) error {
	if len(settings) == 0 {
		return nil
	}
	var raw []byte
	if err := s.db.QueryRowContext(ctx, `SELECT settings FROM companies WHERE id = $1`, sample.CompanyID).Scan(&raw); err != nil {
		return fmt.Errorf("read settings of the company: %w", err)
	}
	all := map[string]any{}
	if err := json.Unmarshal(raw, &all); err != nil {
		return fmt.Errorf("settings of the company: %w", err)
	}
	maps.Copy(all, settings)
	raw, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("settings of the company: %w", err)
	}
	if _, err := s.db.ExecContext(ctx, `UPDATE companies SET settings = $1 WHERE id = $2`, string(raw), sample.CompanyID); err != nil {
		return fmt.Errorf("write settings of the company: %w", err)
	}
	return nil
}

// build compiles guanjia from the module that we were started in.
func build(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "guanjia")
	said, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "guanjia/cmd/guanjia").CombinedOutput() //nolint:gosec // a path of ours
	if err != nil {
		return "", fmt.Errorf("build guanjia (run inside its module, or give --binary): %w: %.500s", err, said)
	}
	return bin, nil
}

// found starts the simulators and fills the empty database.
func (s *scene) found(residents int) error {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("draw a key: %w", err)
	}
	var line []byte
	var err error
	s.environ = withoutOurs(os.Environ())
	if s.sandbox, line, err = launchReady(s.st.dir, "sandbox", s.environ, s.bin, "sandbox", "--listen", "127.0.0.1:0"); err != nil {
		return err
	}
	var up struct{ Sandbox string }
	if err := json.Unmarshal(line, &up); err != nil {
		return fmt.Errorf("ready line of the simulators: %w", err)
	}
	s.environ = append(s.environ, "GUANJIA_DATABASE="+s.st.postgres, "GUANJIA_REDIS="+s.st.redis, "GUANJIA_SANDBOX="+up.Sandbox,
		"GUANJIA_MASTER_KEY="+base64.StdEncoding.EncodeToString(key), "GUANJIA_LOG_LEVEL=info")
	if _, err := runChild(s.st.dir, s.environ, s.bin, "migrate"); err != nil {
		return err
	}
	var urls []string
	for _, n := range s.nodes {
		urls = append(urls, n.url())
	}
	line, err = runChild(s.st.dir, s.environ, s.bin, "seed", "--sandbox", up.Sandbox, "--public", strings.Join(urls, ","), "--residents", strconv.Itoa(residents))
	if err != nil {
		return err
	}
	var ready sample.Ready
	if err := json.Unmarshal(line, &ready); err != nil {
		return fmt.Errorf("ready line of seed: %w", err)
	}
	s.ctl = newControl(ready)
	return nil
}

// look opens the stores from outside, to compare them in the end.
func (s *scene) look(ctx context.Context) (err error) {
	if s.db, err = db.Open(ctx, db.Options{URL: s.st.postgres, MaxConns: 4, Logger: s.log}); err != nil {
		return err
	}
	if s.rdb, err = embedded.OpenRedis(s.st.redis); err != nil {
		return err
	}
	// Without rows bound to it, so that it never fills Redis itself.
	s.queues = queue.New(s.db, s.rdb, nil, clock.System(), s.log, nil)
	return nil
}

// close ends whatever lives. Logs of a failed run are in the temporary folder
// until then.
func (s *scene) close() error {
	var errs []error
	for _, n := range s.nodes {
		if n.proc != nil {
			n.proc.kill()
		}
	}
	if s.sandbox != nil {
		s.sandbox.kill()
	}
	if s.ctl != nil {
		s.ctl.close()
	}
	if s.rdb != nil {
		errs = append(errs, s.rdb.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.st != nil {
		errs = append(errs, s.st.close())
	}
	return errors.Join(errs...)
}

// start brings the node up as production has it.
func (n *node) start() error {
	return n.launch(n.s.bin, "serve", "--listen", n.listen)
}

// startKilled brings the node up so that it dies at a point.
func (n *node) startKilled(point string, nth int, roles string) error {
	args := []string{"--log-level", "info", "serve-killed", "--listen", n.listen, "--at", point, "--nth", strconv.Itoa(nth)}
	if roles != "" {
		args = append(args, "--roles", roles)
	}
	return n.launch(n.s.self, args...)
}

func (n *node) launch(bin string, args ...string) (err error) {
	environ := append(n.s.environ[:len(n.s.environ):len(n.s.environ)], "GUANJIA_DATA_DIR="+filepath.Join(n.s.st.dir, n.name))
	n.proc, _, err = launchReady(n.s.st.dir, n.name, environ, bin, args...)
	return err
}

// startStubborn brings the node up however long its stores are away.
func (n *node) startStubborn(ctx context.Context) error {
	for {
		err := n.start()
		if err == nil {
			return nil
		}
		if !pause(ctx, time.Second) {
			return err
		}
	}
}

// stop ends the node as an operator does.
func (n *node) stop() error {
	if n.proc == nil {
		return nil
	}
	err := n.proc.end(syscall.SIGTERM, 20*time.Second)
	n.proc = nil
	return err
}

// openDeliveries counts what is still on its way to residents, or to those at
// the addresses.
func (s *scene) openDeliveries(ctx context.Context, addresses ...string) (int64, error) {
	query := `SELECT count(*) FROM deliveries
		WHERE channel IN ('service', 'template', 'sms') AND state IN ('planned', 'claimed', 'sending', 'unknown')`
	if len(addresses) == 0 {
		return s.countRows(ctx, query)
	}
	return s.countRows(ctx, query+` AND address `+db.InStrings(s.db, "$1"), db.Strings(s.db, addresses))
}

// unanswered counts messages that are not yet out of the product's hands.
func (s *scene) unanswered(ctx context.Context) (int64, error) {
	return s.countRows(ctx, `SELECT count(*) FROM unsettled`)
}

func (s *scene) countRows(ctx context.Context, query string, args ...any) (int64, error) {
	var n int64
	if err := s.db.QueryRowContext(ctx, query, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count rows: %w", err)
	}
	return n, nil
}

// queueDifferences compares every queue in Redis with the rows.
func (s *scene) queueDifferences(ctx context.Context) (int64, error) {
	var n int64
	for _, q := range s.ctl.ready.Queues {
		inRedis, source, err := s.queues.List(ctx, sample.CompanyID, q.ID, 1_000_000)
		if err != nil {
			return 0, fmt.Errorf("read a queue: %w", err)
		}
		if source != queue.SourceRedis {
			return 0, errors.New("read a queue: Redis does not answer for it")
		}
		rows, err := s.waiting(ctx, q.ID)
		if err != nil {
			return 0, err
		}
		for _, id := range inRedis {
			if !rows[id] {
				n++
			}
			delete(rows, id)
		}
		n += int64(len(rows))
	}
	return n, nil
}

func (s *scene) waiting(ctx context.Context, queueID string) (map[string]bool, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id FROM cases
		WHERE company_id = $1 AND queue_id = $2 AND owner_id = '' AND state IN ('dispatched', 'reopened')`, sample.CompanyID, queueID)
	if err != nil {
		return nil, fmt.Errorf("read waiting cases: %w", err)
	}
	defer rows.Close()
	ids := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("read waiting cases: %w", err)
		}
		ids[id] = true
	}
	return ids, rows.Err()
}

// quiet waits until nothing is on its way to a resident and the queues equal
// their rows, or patience ends. The problem that remained is returned, "" for none.
func (s *scene) quiet(ctx context.Context, patience time.Duration, addresses ...string) (remains string, differences int64) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		remains, differences = s.restless(ctx, addresses...)
		if remains == "" || !pause(ctx, 500*time.Millisecond) {
			return remains, differences
		}
	}
}

func (s *scene) restless(ctx context.Context, addresses ...string) (string, int64) {
	if n, err := s.unanswered(ctx); err != nil || n > 0 {
		return fmt.Sprintf("%d messages unsettled (%v)", n, err), 0
	}
	if n, err := s.openDeliveries(ctx, addresses...); err != nil || n > 0 {
		return fmt.Sprintf("%d deliveries on their way (%v)", n, err), 0
	}
	n, err := s.queueDifferences(ctx)
	if err != nil {
		return err.Error(), 0
	}
	if n > 0 {
		return fmt.Sprintf("queues differ from rows in %d places", n), n
	}
	return "", 0
}
