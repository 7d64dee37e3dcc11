package archtest

import (
	"strings"
	"testing"
)

// libraries says where a foreign package may be imported outside of tests, so
// that a vendor's quirks and a store's names stay behind one door.
var libraries = []struct {
	prefix string
	rooms  []string
	why    string
}{
	{"github.com/silenceper/wechat", []string{"internal/wechatapi", "internal/wecomapi"}, "WeChat's SDK stays behind the doors: its errors carry tokens"},
	{"github.com/aliyun/", []string{"notify/sms"}, "Aliyun's SDK stays in notify/sms"},
	{"github.com/riverqueue/", []string{"internal/jobs"}, "only internal/jobs knows the job engine"},
	{"github.com/alicebob/miniredis", []string{"internal/embedded"}, "the in-process Redis is internal/embedded's"},
	{"modernc.org/sqlite", []string{"internal/db"}, "rooms write portable SQL on internal/db"},
	// The job engine listens on a connection of its own.
	{"github.com/jackc/pgx", []string{"internal/db", "internal/jobs"}, "rooms write portable SQL on internal/db"},
	{"github.com/pressly/goose", []string{"internal/db"}, "migrations are internal/db's"},
	{"github.com/redis/go-redis", []string{
		"internal/queue", "internal/embedded",
		"internal/wechatapi", "internal/wecomapi", // leases of tokens
		"notify/deliver",        // rates and wake-ups
		"internal/conversation", // cache of sessions
		"internal/app",          // hands the client on
	}, "Redis is fast and disposable: only who can do without it may hold it"},
	{"github.com/alecthomas/kong", []string{"cmd"}, "flags belong to the commands"},
	{"github.com/knadh/koanf", []string{"internal/config"}, "settings are read in internal/config"},
	{"github.com/chromedp/", nil, "browsers are for tests"},
	{"go.uber.org/goleak", nil, "for tests"},
	{"pgregory.net/rapid", nil, "for tests"},
	{"github.com/google/go-cmp", nil, "for tests"},
	{"github.com/stretchr/testify", nil, "tests use the standard library and go-cmp"},
	{"testing", nil, "for tests"},
	{"log", nil, "logs go through log/slog, with a logger that was handed in"},
	{"unsafe", nil, "nothing here is worth it"},
}

func TestLibrariesStayBehindTheirDoors(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range tree(t).files {
		for target := range f.imports {
			for _, l := range libraries {
				if target != l.prefix && !(strings.HasPrefix(target, l.prefix) && strings.Contains(l.prefix, "/")) {
					continue
				}
				seen[l.prefix] = true
				if !f.test && !helper(f.pkg) && !under(f.pkg, anywhere) && !underAny(f.pkg, l.rooms) {
					t.Errorf("%s imports %s: %s", f.path, target, l.why)
				}
			}
		}
	}
	for _, must := range []string{"github.com/silenceper/wechat", "github.com/aliyun/", "github.com/riverqueue/", "github.com/redis/go-redis"} {
		if !seen[must] {
			t.Errorf("nothing imports %s; the test looks at nothing", must)
		}
	}
}

// TestWeChatRootStaysOut: the root of WeChat's SDK sets the global logger to
// debug and prints messages.
func TestWeChatRootStaysOut(t *testing.T) {
	t.Parallel()
	for _, f := range tree(t).files {
		if _, ok := f.imports["github.com/silenceper/wechat/v2"]; ok {
			t.Errorf("%s imports the root of WeChat's SDK, which prints what residents write; import its parts", f.path)
		}
	}
}

// pure lists what a leaf must not import: it gives the same answer for the same
// text, whenever and wherever.
var impure = []string{"time", "net", "net/http", "database/sql", "math/rand", "math/rand/v2", "log/slog", "os", "os/exec"}

// seeded may import a source of chance: it gives the same numbers every time.
var seeded = map[string]string{
	"bot/intent/training/fit.go": "dropout drawn from a fixed seed, so that training again gives the same weights",
}

func TestLeavesArePure(t *testing.T) {
	t.Parallel()
	for _, f := range tree(t).files {
		r, ok := room(f.pkg)
		if f.test || !ok || floors[r] != leaf {
			continue
		}
		for _, name := range impure {
			if seeded[f.path] != "" && strings.HasPrefix(name, "math/rand") {
				continue
			}
			if _, has := f.imports[name]; has {
				t.Errorf("%s imports %s: a leaf asks neither clock nor network nor machine", f.path, name)
			}
		}
	}
}

// serves may take an HTTP request below floor 4.
var serves = map[string]string{
	"internal/telemetry": "its handler prints the figures",
}

func TestRulesKnowNoHTTPHandler(t *testing.T) {
	t.Parallel()
	for _, f := range tree(t).files {
		r, ok := room(f.pkg)
		if f.test || helper(f.pkg) || !ok || floors[r] > domain || serves[r] != "" {
			continue
		}
		for name := range f.names("net/http") {
			if strings.HasPrefix(name, "Handler") || name == "ResponseWriter" || name == "ServeMux" || name == "Server" {
				t.Errorf("%s uses http.%s: requests end on floor 5", f.path, name)
			}
		}
	}
}

func underAny(pkg string, rooms []string) bool {
	for _, r := range rooms {
		if under(pkg, r) {
			return true
		}
	}
	return false
}
