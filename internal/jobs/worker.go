package jobs

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// ownJob is the context key of the job that a handler is working on.
type ownJob struct{}

// worker lets River call a Handler.
type worker struct {
	river.WorkerDefaults[envelope]
	handle Handler
}

func (w *worker) Work(ctx context.Context, job *river.Job[envelope]) error {
	err := w.handle(context.WithValue(ctx, ownJob{}, job), job.Args.Args)
	var p permanent
	if errors.As(err, &p) {
		return river.JobCancel(err)
	}
	return err
}

const (
	retryFirst = time.Second
	retryMost  = time.Hour
)

// retryPolicy doubles the wait from a second to an hour, with a quarter of
// jitter, by the injected clock.
type retryPolicy struct{ time riverTime }

func (p retryPolicy) NextRetry(job *rivertype.JobRow) time.Time {
	wait := retryMost
	if n := len(job.Errors); n < 12 { // 2^12 s is more than an hour
		wait = min(retryMost, retryFirst<<n)
	}
	return p.time.Now().Add(wait - wait/8 + rand.N(wait/4)) //nolint:gosec // jitter
}

// failures writes failed tries to our log.
type failures struct{ log *slog.Logger }

func (f failures) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	var p permanent
	if errors.As(err, &p) || job.Attempt >= job.MaxAttempts {
		f.log.ErrorContext(ctx, "job is given up", attrs(job, slog.Any("error", err))...)
		return nil
	}
	f.log.WarnContext(ctx, "job failed and will be tried again", attrs(job, slog.Any("error", err))...)
	return nil
}

func (f failures) HandlePanic(ctx context.Context, job *rivertype.JobRow, panicVal any, trace string) *river.ErrorHandlerResult {
	f.log.ErrorContext(ctx, "job panicked", attrs(job, slog.Any("panic", panicVal), slog.String("stack", trace))...)
	return nil
}

func attrs(job *rivertype.JobRow, more ...any) []any {
	return append([]any{slog.String("kind", job.Kind), slog.Int64("job", job.ID), slog.Int("attempt", job.Attempt)}, more...)
}

// quiet passes River's warnings and errors on; its chatter below that isn't
// worth a line.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(atLeastWarn{log.Handler()}).With(slog.String("part", "river"))
}

type atLeastWarn struct{ slog.Handler }

func (h atLeastWarn) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h atLeastWarn) WithAttrs(a []slog.Attr) slog.Handler {
	return atLeastWarn{h.Handler.WithAttrs(a)}
}

func (h atLeastWarn) WithGroup(name string) slog.Handler {
	return atLeastWarn{h.Handler.WithGroup(name)}
}
