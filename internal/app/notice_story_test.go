package app_test

import (
	"context"
	"testing"
	"time"

	"guanjia/internal/app"
	"guanjia/internal/app/storytest"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/embedded/redistest"
)

func liveNotices(t *testing.T, demo *app.Demo) {
	t.Helper()
	s := &storytest.Story{C: clientOf(t, demo)}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, step := range s.NoticeSteps() {
		if err := step.Do(ctx); err != nil {
			t.Fatalf("step %s: %v", step.Name, err)
		}
		t.Log("step", step.Name)
	}
}

// TestNoticeStoryEmbedded lives steps 5 to 8 on the embedded pair.
func TestNoticeStoryEmbedded(t *testing.T) {
	t.Parallel()
	liveNotices(t, startDemo(t, app.DemoOptions{}))
}

// TestNoticeStoryPostgresRedis lives them on real servers.
func TestNoticeStoryPostgresRedis(t *testing.T) {
	t.Parallel()
	_, url := dbtest.NewServer(t)
	liveNotices(t, startDemo(t, app.DemoOptions{Postgres: url, Redis: redistest.NewServer(t).URL()}))
}
