package archtest

import (
	"bytes"
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// names are the exported names of an imported package that the file mentions.
func (f *file) names(importPath string) map[string]token.Pos {
	out := map[string]token.Pos{}
	f.uses(importPath, func(name string, pos token.Pos) { out[name] = pos })
	return out
}

// machineClock lists the files that read the machine's clock, and for what. All
// that a person or a rule sees goes by clock.Clock, which a demo moves.
var machineClock = map[string]string{
	"bot/wechat/admit.go":            "deadline of reading a body",
	"bot/wechat/exchange.go":         "the budget of an answer, which WeChat measures too",
	"bot/wechat/handler.go":          "deadline of writing, how long a callback took",
	"bot/wechat/replay.go":           "when the two generations of remembered nonces turn",
	"bot/workgroup/wecom/channel.go": "rate per chat, which WeCom measures",
	"bot/workgroup/wecom/inbox.go":   "what is left of WeCom's five seconds",
	"bot/workgroup/wecom/lease.go":   "lease of a socket",
	"bot/workgroup/wecom/senders.go": "rate per chat, age of an open card",
	"bot/workgroup/wecom/socket.go":  "heartbeat, how long the line is down, frame ids",
	"bot/workgroup/wecom/store.go":   "leases of what came in",

	"internal/app/stack.go":                  "how long a stop took",
	"internal/conversation/conversations.go": "leases of the sweeps",
	"internal/conversation/spool.go":         "age of a file by the file system's clock",
	"internal/conversation/sweep.go":         "leases of the sweeps",
	"internal/db/db.go":                      "since when a connection is suspect",
	"internal/db/postgres.go":                "pause between attempts to connect",
	"internal/db/tx.go":                      "how long a transaction took",
	"internal/desk/routes.go":                "age of what is remembered of queues and groups",
	"internal/jobs/rescue.go":                "heartbeat and lease of a runner",
	"internal/ledger/ledger.go":              "leases of claims",
	"internal/ledger/paths.go":               "age of what a claim saw",
	"internal/ledger/receipts.go":            "leases of look-ups, retries of receipts",
	"internal/ledger/record.go":              "stale leases",
	"internal/queue/queue.go":                "pause after Redis went away, stamps inside scripts",
	"internal/queue/reconcile.go":            "how long a rebuild took",
	"internal/wecomapi/tokens.go":            "life of a token, lease of its refresh",
	"internal/web/console/sessions.go":       "life of a sign-in, as the session library counts it",
	"notify/deliver/engine.go":               "how long a call took, rates",
	"notify/deliver/shared.go":               "life of places taken together in a shared rate",
	"notify/deliver/refusals.go":             "how long a held notice is no news",
	"notify/deliver/source.go":               "rates and breaker of an account",
	"notify/stopwatch.go":                    "how long a count took, which decides how long it is kept",

	"internal/sandbox/simsms/api.go":        "age of a request's signature, as the real service checks it",
	"internal/sandbox/simsms/flow.go":       "requests a second",
	"internal/sandbox/simsms/push.go":       "how long a callback took",
	"internal/sandbox/simsms/sim.go":        "when remembered nonces turn",
	"internal/sandbox/simwechat/push.go":    "how long a callback took, WeChat's five seconds",
	"internal/sandbox/simwecom/incoming.go": "WeCom's five seconds for an answer",
	"internal/sandbox/simwecom/outgoing.go": "WeCom's five seconds for an answer",
	"internal/sandbox/simwecom/socket.go":   "subscriptions a minute",
}

// ticking are the ways to ask the machine what time it is.
var ticking = []string{"Now", "Since", "Until"}

func TestMachineClockHasItsReasons(t *testing.T) {
	t.Parallel()
	s := tree(t)
	found := map[string]bool{}
	for _, f := range s.files {
		if f.test || helper(f.pkg) || f.pkg == "internal/clock" || under(f.pkg, anywhere) {
			continue
		}
		f.uses("time", func(name string, pos token.Pos) {
			switch {
			case name == "Sleep":
				t.Errorf("%s: time.Sleep can't be stopped; use clock.Clock.Sleep or a timer with select", s.at(pos))
			case slices.Contains(ticking, name):
				found[f.path] = true
				if machineClock[f.path] == "" {
					t.Errorf("%s: time.%s; take the time from clock.Clock, or list the file in manners_test.go with what it measures", s.at(pos), name)
				}
			}
		})
	}
	for p := range machineClock {
		if !found[p] {
			t.Errorf("manners_test.go lists %s, which doesn't ask the machine's clock any more; remove it", p)
		}
	}
}

// global names reach for something that the whole process shares.
var global = map[string][]string{
	"log/slog": {"Default", "SetDefault", "Debug", "Info", "Warn", "Error", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Log", "LogAttrs"},
	"github.com/prometheus/client_golang/prometheus": {"DefaultRegisterer", "DefaultGatherer", "MustRegister", "Register"},
	"net/http": {"DefaultServeMux", "Handle", "HandleFunc", "ListenAndServe", "ListenAndServeTLS"},
}

func TestNothingIsShared(t *testing.T) {
	t.Parallel()
	s := tree(t)
	for _, f := range s.files {
		if f.test || helper(f.pkg) {
			continue
		}
		for pkg, names := range global {
			f.uses(pkg, func(name string, pos token.Pos) {
				if slices.Contains(names, name) {
					t.Errorf("%s: %s.%s belongs to the whole process; take it from the constructor", s.at(pos), path.Base(pkg), name)
				}
			})
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: no init; a constructor says what it needs", s.at(fn.Pos()))
			}
		}
	}
}

func TestPackagesIntroduceThemselves(t *testing.T) {
	t.Parallel()
	docs, pkgs := map[string]string{}, map[string]bool{}
	for _, f := range tree(t).files {
		if f.test {
			continue
		}
		pkgs[f.pkg] = true
		if f.ast.Doc != nil {
			docs[f.pkg] += f.ast.Doc.Text()
		}
		for _, bad := range []string{"util", "utils", "common", "misc", "helpers", "shared", "base"} {
			if f.ast.Name.Name == bad {
				t.Errorf("%s: package %s says nothing; name what it is about", f.path, bad)
			}
		}
	}
	for pkg := range pkgs {
		switch doc := docs[pkg]; {
		case doc == "":
			t.Errorf("%s has no doc comment: its job, what it must not do, where it sits", pkg)
		case !strings.HasPrefix(doc, "Package ") && !strings.HasPrefix(doc, "Command "):
			t.Errorf("%s: the doc comment begins with %.30q, want Package or Command and the name", pkg, doc)
		}
	}
}

// top is what the root of the repository may hold, besides names that begin
// with a dot and what .gitignore names.
var top = []string{"cmd", "bot", "notify", "internal", "templates", "docs", "deploy", "go.mod", "go.sum", "README.md", "README.zh-CN.md", "LICENSE"}

func TestTopLevelIsFixed(t *testing.T) {
	t.Parallel()
	s := tree(t)
	ignored, err := os.ReadFile(filepath.Join(s.root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(s.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || slices.Contains(top, name) || matches(strings.Fields(string(ignored)), name) {
			continue
		}
		t.Errorf("%s stands at the top of the repository; its place is in one of %v", name, top)
	}
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(strings.Trim(p, "/"), name)
		return err == nil && ok
	})
}

// texts are the files in which a note to oneself would hide.
var texts = []string{".go", ".lua", ".sql", ".js", ".css", ".html", ".tmpl", ".yaml", ".yml", ".md", ".sh"}

func TestNothingIsLeftForLater(t *testing.T) {
	t.Parallel()
	s := tree(t)
	notes := [][]byte{[]byte("TO" + "DO"), []byte("FIX" + "ME"), []byte("XX" + "X:")}
	read := 0
	err := filepath.WalkDir(s.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" || d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains(texts, filepath.Ext(p)) {
			return nil
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		read++
		for i, line := range bytes.Split(raw, []byte("\n")) {
			for _, n := range notes {
				if bytes.Contains(line, n) {
					t.Errorf("%s:%d: %s; do it now, or file it where work is filed", p, i+1, n)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 100 {
		t.Fatalf("only %d files read; the walk is wrong", read)
	}
}
