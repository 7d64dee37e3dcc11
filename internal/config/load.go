package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

const envPrefix = "GUANJIA_"

// client settings that live beside the server's in the environment and are read by the commands.
var clientNames = []string{"server", "token", "config"}

// Problem is one bad setting: where it was found, what is wrong and what to do.
type Problem struct{ Name, From, What string }

func (p Problem) String() string { return fmt.Sprintf("%s (%s): %s", p.Name, p.From, p.What) }

// Problems are all bad settings of one start.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, x := range p {
		lines[i] = x.String()
	}
	return "settings: " + strings.Join(lines, "; ")
}

// Load reads the settings. path may be empty; environ is os.Environ(); flags
// are values given on the command line by name.
func Load(path string, environ []string, flags map[string]string) (Config, error) {
	values, from := map[string]string{}, map[string]string{}
	known := options()
	for _, o := range known {
		values[o.name], from[o.name] = o.fallback, "default"
	}
	var problems Problems
	put := func(name, value, source string) {
		if !slices.ContainsFunc(known, func(o option) bool { return o.name == name }) {
			problems = append(problems, Problem{Name: name, From: source, What: "there is no such setting; " + nearest(name, known)})
			return
		}
		values[name], from[name] = value, source
	}
	if path != "" {
		fileValues, err := readFile(path)
		if err != nil {
			return Config{}, err
		}
		for name, value := range fileValues {
			put(name, value, path)
		}
	}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		short := strings.ToLower(strings.TrimPrefix(name, envPrefix))
		if slices.Contains(clientNames, short) {
			continue
		}
		put(short, value, name)
	}
	for name, value := range flags {
		put(name, value, "--"+strings.ReplaceAll(name, "_", "-"))
	}
	var c Config
	for _, o := range known {
		if err := o.set(&c, values[o.name]); err != nil {
			problems = append(problems, Problem{Name: o.name, From: from[o.name], What: err.Error()})
		}
	}
	if len(problems) > 0 {
		slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Name, b.Name) })
		return Config{}, problems
	}
	return c, nil
}

func readFile(path string) (map[string]string, error) {
	k := koanf.New("/")
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("settings: the file %s does not exist", path)
		}
		return nil, fmt.Errorf("settings: read %s: %w", path, err)
	}
	out := map[string]string{}
	for _, name := range k.Keys() {
		switch v := k.Get(name).(type) {
		case []any:
			parts := make([]string, len(v))
			for i, x := range v {
				parts[i] = fmt.Sprint(x)
			}
			out[name] = strings.Join(parts, ",")
		case nil:
			out[name] = ""
		default:
			out[name] = fmt.Sprint(v)
		}
	}
	return out, nil
}

func nearest(name string, known []option) string {
	best, bestDistance := "", 1<<30
	for _, o := range known {
		if d := distance(name, o.name); d < bestDistance {
			best, bestDistance = o.name, d
		}
	}
	if bestDistance <= len(name)/2 {
		return "did you mean " + best + "?"
	}
	return "`guanjia doctor` lists them all"
}

// distance is the number of single letters to change, add or drop.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// RequireServer refuses a configuration that a serving node can't work with.
func (c Config) RequireServer() error {
	var problems Problems
	if c.Database == "" {
		problems = append(problems, Problem{"database", "default", "must be set; postgres://... for production, sqlite:///path for one node"})
	}
	if c.Redis == "" && strings.HasPrefix(c.Database, "postgres") {
		problems = append(problems, Problem{"redis", "default", "must be set with PostgreSQL: nodes share queues, limits and leases through it"})
	}
	if len(c.MasterKey) == 0 {
		problems = append(problems, Problem{"master_key", "default", "must be set; `openssl rand -base64 32` makes one, and every node needs the same"})
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// Help lists every setting with its default, for `guanjia doctor` and the README.
func Help() []string {
	var lines []string
	for _, o := range options() {
		fallback := o.fallback
		if fallback == "" {
			fallback = "-"
		}
		lines = append(lines, fmt.Sprintf("%s | %s%s | %s | %s", o.name, envPrefix, strings.ToUpper(o.name), fallback, o.help))
	}
	return lines
}

// Has tells whether this node plays a role.
func (c Config) Has(role string) bool { return slices.Contains(c.Roles, role) }
