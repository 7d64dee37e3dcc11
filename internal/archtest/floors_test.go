package archtest

import (
	"slices"
	"testing"
)

// Floors of the house. Imports go down, never up, and sideways only where
// `beside` says so.
const (
	leaf    = 0 // pure or embedded files; for everyone above the foundations
	ground  = 1 // foundations: stores, jobs, settings, clock, telemetry
	records = 2 // shared records and the vendors' doors
	domain  = 3 // what the business is about
	cases   = 4 // use cases
	edges   = 5 // where bytes come in
	program = 6 // the program as a value
	command = 7 // main packages
)

// floors names every room. A package belongs to the longest entry that is its
// path or a folder above it; one without an entry fails the test.
var floors = map[string]int{
	"templates": leaf, "bot/intent": leaf, "bot/knowledge": leaf,

	"internal/db": ground, "internal/jobs": ground, "internal/embedded": ground,
	"internal/config": ground, "internal/clock": ground, "internal/telemetry": ground,

	"internal/conversation": records, "internal/ledger": records, "internal/company": records, "internal/media": records,
	"internal/wording": records, "internal/wechatapi": records, "internal/wecomapi": records,

	"internal/queue": domain, "internal/estate": domain, "internal/staff": domain, "internal/calendar": domain,
	"internal/desk": domain, "internal/register": domain, "internal/articles": domain,

	"bot": cases, "notify": cases, "notify/deliver": cases, "notify/official": cases, "notify/sms": cases, "notify/survey": cases,

	"bot/wechat": edges, "bot/workgroup": edges, "internal/web/console": edges, "internal/web/h5": edges, "internal/web/api": edges,

	"internal/app": program,
	// The sample company is data with a loader: it knows the rooms that it fills
	// and nothing of the program that calls it.
	"internal/app/sample": edges,

	"cmd": command,
}

// beside lists who may import a room of its own floor, and why.
var beside = map[string][]string{
	"internal/db":       {"internal/clock"},
	"internal/jobs":     {"internal/db", "internal/clock"},
	"internal/embedded": {"internal/clock", "internal/db"},
	// Words lie below all other records: the ledger takes nothing but wording.Text.
	"internal/ledger":       {"internal/wording"},
	"internal/conversation": {"internal/wording"},
	// Cases and registers stand on the other rooms of the domain.
	"internal/desk": {"internal/queue", "internal/estate", "internal/staff", "internal/calendar"},
	// Articles ask who may approve them and whether their place exists.
	"internal/articles": {"internal/estate", "internal/staff"},
	// Both leaves read residents' words: one table of traditional characters, one
	// way of fitting weights.
	"bot/knowledge": {"bot/intent"},
	// A family: senders know the types of the engine that runs them.
	"notify":          {"notify/deliver"},
	"notify/official": {"notify", "notify/deliver"},
	"notify/sms":      {"notify", "notify/deliver"},
	"notify/survey":   {"notify", "notify/deliver"},
}

// parents may import what lies below them in their own room: they are a front
// for their parts.
var parents = []string{"internal/sandbox"}

// room finds the entry of floors that a package belongs to.
func room(pkg string) (name string, ok bool) {
	for entry := range floors {
		if under(pkg, entry) && len(entry) > len(name) {
			name, ok = entry, true
		}
	}
	return name, ok
}

const simulators = "internal/sandbox"

// anywhere may import every room: the load generator measures them one by one.
const anywhere = "cmd/guanjia-load"

func TestImportsGoDown(t *testing.T) {
	t.Parallel()
	s := tree(t)
	used := map[[2]string]bool{}
	for _, f := range s.files {
		if f.test || helper(f.pkg) || f.pkg == "internal/archtest" || under(f.pkg, simulators) || under(f.pkg, anywhere) {
			continue
		}
		from, ok := room(f.pkg)
		if !ok {
			t.Errorf("%s: package %s has no floor; add it to the table of floors_test.go", f.path, f.pkg)
			continue
		}
		for _, target := range f.ours() {
			if why := refused(f.pkg, from, target, used); why != "" {
				t.Errorf("%s imports %s: %s", f.path, target, why)
			}
		}
	}
	// What a room may do beside the rule must be something that it does, or
	// something that a room does that isn't built yet.
	for from, list := range beside {
		for _, to := range list {
			if exists(s, from) && exists(s, to) && !used[[2]string{from, to}] && !promised(from, to) {
				t.Errorf("the exception %s -> %s of floors_test.go stands for nothing; remove it", from, to)
			}
		}
	}
}

// promised are exceptions that the plan of the house names, whether a room needs
// them today or not.
func promised(from, to string) bool {
	return floors[from] == ground || floors[from] == cases || to == "internal/wording"
}

func exists(s *source, pkg string) bool {
	return slices.ContainsFunc(s.files, func(f *file) bool { return f.pkg == pkg })
}

// refused says why a package may not import another, or "".
func refused(pkg, from, target string, used map[[2]string]bool) string {
	if under(target, simulators) {
		if under(pkg, "cmd") || pkg == "internal/app" {
			return ""
		}
		return "only the program and the commands know the simulators; everyone else meets them over HTTP"
	}
	to, ok := room(target)
	if !ok {
		return "the target has no floor; add it to the table of floors_test.go"
	}
	up, down := floors[from], floors[to]
	switch {
	case from == to:
		if under(pkg, target) || slices.Contains(parents, from) {
			return ""
		}
		return "a sub-package may import its parent, not the other way round"
	case slices.Contains(beside[from], to):
		used[[2]string{from, to}] = true
		return ""
	case up == leaf:
		return "a leaf imports no room"
	case down == leaf && up == ground:
		return "the foundations know no texts and no dialogue"
	case down > up:
		return "that is upwards; declare a small interface here and have internal/app join them"
	case down == up:
		return "that is sideways; declare a small interface here and have internal/app join them"
	}
	return ""
}

func TestSimulatorsKnowOnlyTheClock(t *testing.T) {
	t.Parallel()
	for _, f := range tree(t).files {
		if !under(f.pkg, simulators) || f.test {
			continue
		}
		for _, target := range f.ours() {
			if target != "internal/clock" && !under(target, simulators) {
				t.Errorf("%s imports %s: simulators stand for the vendors, who know nothing of our types", f.path, target)
			}
		}
	}
}

func TestHelpersOfTestsStayInTests(t *testing.T) {
	t.Parallel()
	for _, f := range tree(t).files {
		if f.test || helper(f.pkg) {
			continue
		}
		for _, target := range f.ours() {
			if helper(target) {
				t.Errorf("%s imports %s, which only tests may", f.path, target)
			}
		}
	}
}

// TestTheRulesBite holds the rule itself against imports that must be refused
// and such that must not.
func TestTheRulesBite(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pkg, target string
		fine        bool
	}{
		{"internal/desk", "internal/queue", true},
		{"internal/queue", "internal/desk", false},
		{"internal/estate", "internal/staff", false},
		{"internal/ledger", "internal/conversation", false},
		{"internal/ledger", "internal/wording", true},
		{"internal/db", "templates", false},
		{"internal/wording", "templates", true},
		{"bot", "bot/intent", true},
		{"bot/intent", "internal/clock", false},
		{"bot", "bot/wechat", false},
		{"bot", "notify", false},
		{"bot/workgroup", "bot/workgroup/wecom", false},
		{"bot/workgroup/wecom", "bot/workgroup", true},
		{"bot/wechat", "bot/workgroup", false},
		{"notify/deliver", "notify/sms", false},
		{"notify/sms", "notify/deliver", true},
		{"internal/app", "internal/sandbox", true},
		{"bot/wechat", "internal/sandbox/wxcrypt", false},
		{"internal/config", "internal/app", false},
	} {
		from, ok := room(tt.pkg)
		if !ok {
			t.Errorf("%s has no room", tt.pkg)
		}
		if why := refused(tt.pkg, from, tt.target, map[[2]string]bool{}); (why == "") != tt.fine {
			t.Errorf("%s -> %s: %q, want fine %v", tt.pkg, tt.target, why, tt.fine)
		}
	}
}
