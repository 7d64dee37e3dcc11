package archtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"guanjia/internal/config"
)

// TestSettingsAreDocumented holds the table of settings to the one in code.
func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	doc := readDoc(t, "docs/operations.md")
	for _, line := range config.Help() {
		parts := strings.SplitN(line, " | ", 4)
		if len(parts) != 4 {
			t.Fatalf("config.Help gives %q, want four parts", line)
		}
		fallback := "-"
		if parts[2] != "-" {
			fallback = "`" + parts[2] + "`"
		}
		row := fmt.Sprintf("| `%s` | %s | %s |", parts[0], fallback, parts[3])
		if !strings.Contains(doc, row) {
			t.Errorf("docs/operations.md misses the row\n%s", row)
		}
	}
}

// TestExampleSettingsLoad: the only thing that may be missing is the key file of
// the machine.
func TestExampleSettingsLoad(t *testing.T) {
	t.Parallel()
	_, err := config.Load(filepath.Join(tree(t).root, "deploy/guanjia.example.yaml"), nil, nil)
	var problems config.Problems
	if err == nil || !errors.As(err, &problems) || len(problems) != 1 || problems[0].Name != "master_key_file" {
		t.Fatalf("got %v, want only the key file to be missing", err)
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

// TestLinksLeadSomewhere looks at relative links of the pages people read.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	s, seen := tree(t), 0
	for _, page := range []string{"README.md", "README.zh-CN.md", "docs/architecture.md", "docs/operations.md"} {
		for _, m := range link.FindAllStringSubmatch(readDoc(t, page), -1) {
			seen++
			if _, err := os.Stat(filepath.Join(s.root, filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s, which isn't there", page, m[1])
			}
		}
	}
	if seen < 5 {
		t.Fatalf("only %d links found; the test looks at nothing", seen)
	}
}

// TestArchitectureNamesEveryRoom keeps the page that says how the house is laid
// out from falling behind it.
func TestArchitectureNamesEveryRoom(t *testing.T) {
	t.Parallel()
	s := tree(t)
	doc := readDoc(t, "docs/architecture.md")
	for name := range floors {
		if !exists(s, name) || name == "cmd" || name == "internal/app/sample" {
			continue
		}
		if !strings.Contains(doc, "`"+name+"`") && !strings.Contains(doc, "`"+strings.TrimPrefix(name, "internal/")+"`") {
			t.Errorf("docs/architecture.md doesn't name %s", name)
		}
	}
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(tree(t).root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
