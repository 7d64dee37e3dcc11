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

// surveyMorning is when the surveys' story begins: it moves the clock by days,
// and a fixed start keeps it off the ends of months.
var surveyMorning = time.Date(2026, 11, 9, 10, 0, 0, 0, time.FixedZone("CST", 8*3600))

func liveSurveys(t *testing.T, o app.DemoOptions) {
	t.Helper()
	o.Now = surveyMorning
	s := &storytest.Story{C: clientOf(t, startDemo(t, o))}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, step := range s.SurveySteps() {
		if err := step.Do(ctx); err != nil {
			t.Fatalf("step %s: %v", step.Name, err)
		}
		t.Log("step", step.Name)
	}
}

// TestSurveyStoryEmbedded lives steps 9 to 12 on the embedded pair.
func TestSurveyStoryEmbedded(t *testing.T) {
	t.Parallel()
	liveSurveys(t, app.DemoOptions{})
}

// TestSurveyStoryPostgresRedis lives them on real servers.
func TestSurveyStoryPostgresRedis(t *testing.T) {
	t.Parallel()
	_, url := dbtest.NewServer(t)
	liveSurveys(t, app.DemoOptions{Postgres: url, Redis: redistest.NewServer(t).URL()})
}
