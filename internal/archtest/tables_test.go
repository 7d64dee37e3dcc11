package archtest

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// owners says which room a migration's tables belong to. A table belongs to one
// room; others ask through it.
var owners = map[string]string{
	"00005_jobs.sql":         "internal/jobs",
	"00010_company.sql":      "internal/company",
	"00020_estate.sql":       "internal/estate",
	"00030_staff.sql":        "internal/staff",
	"00040_queue.sql":        "internal/queue",
	"00045_workgroup.sql":    "bot/workgroup/wecom",
	"00050_conversation.sql": "internal/conversation",
	"00112_notice_chats.sql": "bot/workgroup",
	"00060_ledger.sql":       "internal/ledger",
	"00070_desk.sql":         "internal/desk",
	"00080_sessions.sql":     "internal/web/console",
	"00100_ledger_bulk.sql":  "internal/ledger",
	"00090_audience.sql":     "internal/estate",
	"00130_knowledge.sql":    "internal/articles",
	"00120_register.sql":     "internal/register",
	"00110_notice.sql":       "notify",
	"00140_survey.sql":       "notify/survey",
	"00150_media.sql":        "internal/media",
	"00155_desk.sql":         "internal/desk",
}

// strays are tables that stand in another room's migration.
var strays = map[string]string{
	// What residents send to the SMS number comes with the receipts, whose
	// tables are the ledger's.
	"sms_uplinks": "notify/sms",
}

// guests may name another room's table, and why.
var guests = map[[2]string]string{
	{"notify", "delivery_states"}: "reach joins a frozen audience with how far each delivery is, by the ledger's documented view",
}

var (
	createTable = regexp.MustCompile(`(?i)create\s+(?:table|view)\s+(?:if\s+not\s+exists\s+)?([a-z_]+)`)
	namesTable  = regexp.MustCompile(`(?i)\b(?:from|join|into|update)\s+([a-z_]+)`)
	isSQL       = regexp.MustCompile(`(?is)^[\s(]*(?:select|insert|update|delete|with)\s.*\b(?:from|into|set|values)\b`)
)

func TestTablesBelongToOneRoom(t *testing.T) {
	t.Parallel()
	s := tree(t)
	owner := tables(t, s)
	seen, used := 0, map[[2]string]bool{}
	for _, f := range s.files {
		if f.test || helper(f.pkg) || under(f.pkg, anywhere) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil || !isSQL.MatchString(text) {
				return true
			}
			for _, m := range namesTable.FindAllStringSubmatch(text, -1) {
				table := strings.ToLower(m[1])
				room, ours := owner[table]
				if !ours {
					continue
				}
				seen++
				key := [2]string{f.pkg, table}
				switch {
				case under(f.pkg, room):
				case guests[key] != "":
					used[key] = true
				default:
					t.Errorf("%s: names the table %s, which is %s's; ask through it", s.at(lit.Pos()), table, room)
				}
			}
			return true
		})
	}
	for key := range guests {
		if !used[key] {
			t.Errorf("tables_test.go lets %s name %s, which it doesn't; remove it", key[0], key[1])
		}
	}
	if seen < 50 {
		t.Fatalf("only %d names of tables found in SQL; the test looks at nothing", seen)
	}
}

// tables reads which room owns which table from the migrations.
func tables(t *testing.T, s *source) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.root, "internal/db/migrations/*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations found: %v", err)
	}
	owner := map[string]string{}
	for _, p := range files {
		room, ok := owners[filepath.Base(p)]
		if !ok {
			t.Errorf("%s belongs to no room; add it to tables_test.go", filepath.Base(p))
			continue
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range createTable.FindAllStringSubmatch(string(raw), -1) {
			table := strings.ToLower(m[1])
			owner[table] = room
			if other, ok := strays[table]; ok {
				owner[table] = other
			}
		}
	}
	return owner
}
