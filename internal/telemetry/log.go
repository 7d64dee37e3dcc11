package telemetry

import (
	"context"
	"io"
	"log/slog"
)

// NewLogger returns a logger that writes JSON lines of at least level to w,
// redacted (see Redact).
func NewLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(Redact(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})))
}

// NewTextLogger is NewLogger for a person at a terminal.
func NewTextLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(Redact(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})))
}

// Redact returns a handler that passes records on to next after taking out
// what must not be kept:
//
//   - the value of an attribute whose name says phone, openid, text, secret,
//     token, password and the like (see names.go);
//   - in every other text, including the message and errors: mainland mobile
//     numbers, openids, and values after access_token=, secret=, sign= and
//     the like.
//
// Groups and values that are marshalled to JSON by slog are searched as well.
func Redact(next slog.Handler) slog.Handler { return &redactor{next: next} }

type redactor struct{ next slog.Handler }

func (r *redactor) Enabled(ctx context.Context, level slog.Level) bool {
	return r.next.Enabled(ctx, level)
}

func (r *redactor) Handle(ctx context.Context, rec slog.Record) error {
	clean := slog.NewRecord(rec.Time, rec.Level, Scrub(rec.Message), rec.PC)
	rec.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(redactAttr(a))
		return true
	})
	return r.next.Handle(ctx, clean)
}

func (r *redactor) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = redactAttr(a)
	}
	return &redactor{next: r.next.WithAttrs(clean)}
}

func (r *redactor) WithGroup(name string) slog.Handler {
	return &redactor{next: r.next.WithGroup(name)}
}

func redactAttr(a slog.Attr) slog.Attr {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		group := value.Group()
		clean := make([]slog.Attr, len(group))
		for i, g := range group {
			clean[i] = redactAttr(g)
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(clean...)}
	}
	if isSecretName(a.Key) {
		return slog.Attr{Key: a.Key, Value: slog.StringValue(masked(value))}
	}
	return slog.Attr{Key: a.Key, Value: scrubValue(value)}
}

// masked tells whether there was a value, never which.
func masked(v slog.Value) string {
	if v.Kind() == slog.KindString && v.String() == "" {
		return ""
	}
	return mask
}
