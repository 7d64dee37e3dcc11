package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"guanjia/internal/db/dbtest"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/telemetry/telemetrytest"
)

// stoppablePostgres and stoppableRedis let a storm stop the tests' servers.
type stoppablePostgres struct {
	t *testing.T
	s *dbtest.Server
}

func (p stoppablePostgres) halt() error                 { p.s.Stop(p.t); return nil }
func (p stoppablePostgres) start(context.Context) error { p.s.Start(p.t); return nil }

type stoppableRedis struct {
	t *testing.T
	s *redistest.Server
}

func (r stoppableRedis) halt() error                 { r.s.Stop(r.t); return nil }
func (r stoppableRedis) start(context.Context) error { r.s.Start(r.t); return nil }

// testScene is an installation on the tests' servers.
func testScene(t *testing.T) (*scene, run) {
	t.Helper()
	pg, url := dbtest.NewServer(t)
	rd := redistest.NewServer(t)
	bin := filepath.Join(t.TempDir(), "guanjia")
	if said, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "guanjia/cmd/guanjia").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, said)
	}
	r := run{Context: context.WithoutCancel(t.Context()), log: telemetrytest.Capture(t).Logger, stdout: t.Output(), stderr: t.Output()}
	s, err := openScene(r, sceneOptions{postgres: url, redis: rd.URL(), binary: bin, residents: 500, nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	s.st.pg, s.st.rd = stoppablePostgres{t, pg}, stoppableRedis{t, rd}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s, r
}

// TestStorm: nodes are killed, Redis emptied and stopped, the database stopped
// and the socket dropped while residents write and members claim. The full
// runs are `guanjia-load crash`.
func TestStorm(t *testing.T) {
	t.Parallel()
	s, r := testScene(t)
	c := &crashCmd{Kills: 2, Messages: 240, Rate: 24, Seed: 1, Flushall: true, StopPostgres: 2, StopRedis: 1, DropSocket: true, Patience: 90}
	out, err := c.storm(r, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", out)
	if !out.clean() || out.OK == 0 || out.Cases == 0 || out.Kills != 2 || out.Flushes == 0 {
		t.Error("lost, doubled, different or not done at all")
	}
}

// TestPoints dies at a point of each kind. All of them: `guanjia-load crash --points`.
func TestPoints(t *testing.T) {
	t.Parallel()
	s, r := testScene(t)
	if err := s.nodes[0].start(); err != nil {
		t.Fatal(err)
	}
	ids, err := s.ctl.followers(r)
	if err != nil {
		t.Fatal(err)
	}
	chosen := map[string]bool{"turn.saved opened": true, "case.claimed.committed claimed": true, "case.claimed.written claimed": true, "delivery.called notice": true}
	n := 0
	for i, k := range killPoints() {
		if !chosen[k.point+" "+k.drive] {
			continue
		}
		n++
		f, err := (&dying{s: s, k: k, a: s.nodes[0], b: s.nodes[1], openID: ids[i]}).run(r)
		if err != nil {
			t.Fatalf("%s: %v", k.point, err)
		}
		if !f.Died || f.Lost != 0 || f.Doubled != 0 {
			t.Errorf("%+v", f)
		}
	}
	if n != len(chosen) {
		t.Errorf("%d of %d points are in the table", n, len(chosen))
	}
}

// TestEveryPointHasADrive keeps the table whole.
func TestEveryPointHasADrive(t *testing.T) {
	t.Parallel()
	for _, k := range killPoints() {
		if _, ok := drives()[k.drive]; !ok {
			t.Errorf("nothing drives %s (%s)", k.point, k.drive)
		}
	}
}
