package app_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"go.uber.org/goleak"

	"guanjia/internal/app"
	"guanjia/internal/app/storytest"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startDemo starts product and simulators on free ports and stops them with the test.
func startDemo(t *testing.T, o app.DemoOptions) *app.Demo {
	t.Helper()
	o.Listen, o.Sandbox, o.Data = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	logs := telemetrytest.Capture(t)
	o.Log = logs.Logger
	demo, err := app.StartDemo(t.Context(), o)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := demo.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return demo
}

func clientOf(t *testing.T, demo *app.Demo) *storytest.Client {
	t.Helper()
	raw, err := json.Marshal(demo.Ready)
	if err != nil {
		t.Fatal(err)
	}
	var ready storytest.Ready
	if err := json.Unmarshal(raw, &ready); err != nil {
		t.Fatal(err)
	}
	return storytest.NewClient(ready)
}

func live(t *testing.T, s *storytest.Story) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, step := range s.Steps() {
		if err := step.Do(ctx); err != nil {
			t.Fatalf("step %s: %v", step.Name, err)
		}
		t.Log("step", step.Name)
	}
}

// TestStoryEmbedded lives steps 1 to 4 on the embedded pair.
func TestStoryEmbedded(t *testing.T) {
	t.Parallel()
	live(t, &storytest.Story{C: clientOf(t, startDemo(t, app.DemoOptions{}))})
}

// TestStoryPostgresRedis lives them on real servers, the database stopped in step 4.
func TestStoryPostgresRedis(t *testing.T) {
	t.Parallel()
	pg, url := dbtest.NewServer(t)
	rs := redistest.NewServer(t)
	demo := startDemo(t, app.DemoOptions{Postgres: url, Redis: rs.URL()})
	live(t, &storytest.Story{C: clientOf(t, demo),
		StopDB:  func() error { pg.Stop(t); return nil },
		StartDB: func() error { pg.Start(t); return nil }})
}
