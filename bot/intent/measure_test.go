package intent_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"guanjia/bot/intent"
)

type utterance struct {
	ID, Text, Intent string
	Category, Topic  *string
	Emergency        bool
	Also             []string
	Note             string
}

func readLines[T any](t testing.TB, file string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatalf("open test data: %v", err)
	}
	defer func() { _ = f.Close() }()
	var out []T
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		var v T
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, v)
	}
	if err := sc.Err(); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return out
}

func classifier(t testing.TB) *intent.Classifier {
	t.Helper()
	c, err := intent.New()
	if err != nil {
		t.Fatalf("compile the patterns: %v", err)
	}
	return c
}

func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// share is a count of hits.
type share struct{ ok, n int }

func (s *share) add(ok bool) {
	s.n++
	if ok {
		s.ok++
	}
}

func (s share) rate() float64 {
	if s.n == 0 {
		return 0
	}
	return float64(s.ok) / float64(s.n)
}

func (s share) String() string { return fmt.Sprintf("%d/%d = %.1f %%", s.ok, s.n, 100*s.rate()) }

// TestUtterances measures the development set. It fails on a missed emergency,
// and below floors that a correct program is well above.
func TestUtterances(t *testing.T) {
	t.Parallel()
	c := classifier(t)
	var right, category, topic, recall, precision share
	traps := share{}
	byIntent := map[string]*share{}
	verbose := os.Getenv("INTENT_VERBOSE") != ""
	for _, u := range readLines[utterance](t, "utterances-dev.jsonl") {
		got := c.Classify(intent.Input{Text: u.Text})
		ok := got.Intent == u.Intent || slices.Contains(u.Also, got.Intent)
		right.add(ok)
		if byIntent[u.Intent] == nil {
			byIntent[u.Intent] = &share{}
		}
		byIntent[u.Intent].add(ok)
		if u.Category != nil && ok {
			category.add(got.Category == str(u.Category))
		}
		if u.Topic != nil {
			topic.add(got.Topic == str(u.Topic))
		}
		if u.Emergency {
			recall.add(got.Emergency)
			if !got.Emergency {
				t.Errorf("%s: missed emergency: %s", u.ID, u.Text)
			}
		}
		if got.Emergency {
			precision.add(u.Emergency)
		}
		if strings.HasPrefix(u.Note, "trap") {
			traps.add(!got.Emergency)
		}
		if verbose && (!ok || got.Emergency != u.Emergency || got.Category != str(u.Category) || got.Topic != str(u.Topic)) {
			t.Logf("%s %s\n   want %s/%s %v %s also %v\n   got  %s/%s %v(%s) %s also %v %.2f", u.ID, u.Text, u.Intent, str(u.Category), u.Emergency, str(u.Topic), u.Also, got.Intent, got.Category, got.Emergency, got.EmergencyKind, got.Topic, got.Also, got.Confidence)
		}
	}
	var sb strings.Builder
	w := tabwriter.NewWriter(&sb, 0, 4, 2, ' ', 0)
	for _, row := range []struct {
		name string
		s    share
	}{{"intent", right}, {"category (where the intent is right)", category}, {"topic (soft)", topic}, {"emergency recall", recall}, {"emergency precision", precision}, {"traps seen through", traps}} {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", row.name, row.s)
	}
	for _, k := range sortedKeys(byIntent) {
		_, _ = fmt.Fprintf(w, "  %s\t%s\n", k, *byIntent[k])
	}
	_ = w.Flush()
	t.Logf("development set\n%s", sb.String())
	for _, f := range []struct {
		name  string
		s     share
		floor float64
	}{{"intent", right, 0.80}, {"category", category, 0.80}, {"topic", topic, 0.55}, {"emergency precision", precision, 0.90}, {"traps", traps, 0.90}} {
		if f.s.rate() < f.floor {
			t.Errorf("%s: %s, below %.0f %%", f.name, f.s, 100*f.floor)
		}
	}
}

func sortedKeys(m map[string]*share) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
