// Package telemetrytest helps tests to look into logs: Capture keeps every
// line, and finds personal data and secrets in them.
package telemetrytest

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"guanjia/internal/telemetry"
)

// Log is a captured log. It is safe for use by several goroutines.
type Log struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	raw    bytes.Buffer
	Logger *slog.Logger
}

// Capture returns a logger of all levels whose lines are kept, both redacted
// as production writes them (String) and as the rooms wrote them (Raw). When
// the test fails, the redacted lines are printed.
func Capture(t testing.TB) *Log {
	t.Helper()
	l := &Log{}
	all := &slog.HandlerOptions{Level: slog.LevelDebug}
	l.Logger = slog.New(slog.NewMultiHandler(
		telemetry.Redact(slog.NewJSONHandler(locked{l, &l.buf}, all)),
		slog.NewJSONHandler(locked{l, &l.raw}, all),
	))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", l.String())
		}
	})
	return l
}

type locked struct {
	l *Log
	w *bytes.Buffer
}

func (w locked) Write(p []byte) (int, error) {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	return w.w.Write(p)
}

// String returns the lines as production would write them.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Raw returns the lines before redaction. A room that relies on redaction is
// not clean.
func (l *Log) Raw() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raw.String()
}

// NoLeak fails the test when one of secrets (a token, a phone, an openid, a
// message) is found in the lines before redaction, or anything that looks like
// a phone number or a token.
func (l *Log) NoLeak(t testing.TB, secrets ...string) {
	t.Helper()
	NoLeak(t, l.Raw(), secrets...)
}

// NoLeak fails the test when text contains one of secrets, or anything that
// looks like a phone number, an openid or a token.
func NoLeak(t testing.TB, text string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if s != "" && strings.Contains(text, s) {
			t.Errorf("found %q in:\n%s", s, text)
		}
	}
	for line := range strings.Lines(text) {
		if clean := telemetry.Scrub(line); clean != line {
			t.Errorf("personal data or a secret in a line:\n%swhich should have been\n%s", line, clean)
		}
	}
}
