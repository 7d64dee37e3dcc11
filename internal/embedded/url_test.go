package embedded

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

func TestParseRedisURL(t *testing.T) {
	t.Parallel()
	tests := []struct {
		url  string
		want redis.UniversalOptions
	}{
		{"redis://localhost", redis.UniversalOptions{Addrs: []string{"localhost:6379"}}},
		{"redis://h:1/2", redis.UniversalOptions{Addrs: []string{"h:1"}, DB: 2}},
		{"redis://:p%40ss@h:1", redis.UniversalOptions{Addrs: []string{"h:1"}, Password: "p@ss"}},
		{"redis://me:x@[::1]:7/0", redis.UniversalOptions{Addrs: []string{"[::1]:7"}, Username: "me", Password: "x"}},
		{"redis://[::1]", redis.UniversalOptions{Addrs: []string{"[::1]:6379"}}},
		{"redis+sentinel://:x@a:1,b:2/mymaster/3", redis.UniversalOptions{Addrs: []string{"a:1", "b:2"}, MasterName: "mymaster", DB: 3, Password: "x", SentinelPassword: "x"}},
		{"redis+cluster://a:1,b,c:3", redis.UniversalOptions{Addrs: []string{"a:1", "b:6379", "c:3"}, IsClusterMode: true}},
	}
	for _, tt := range tests {
		got, err := parseRedisURL(tt.url)
		if err != nil {
			t.Errorf("%s: %v", tt.url, err)
			continue
		}
		if diff := cmp.Diff(summary(tt.want), summary(*got)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.url, diff)
		}
	}
	if got, err := parseRedisURL("rediss://h"); err != nil || got.TLSConfig == nil {
		t.Errorf("rediss: no TLS (%v)", err)
	}
}

// summary is what the test compares: options hold functions, too.
func summary(o redis.UniversalOptions) map[string]any {
	return map[string]any{
		"addrs": o.Addrs, "db": o.DB, "user": o.Username, "password": o.Password, "master": o.MasterName,
		"sentinel": o.SentinelPassword, "cluster": o.IsClusterMode,
	}
}

func TestParseRedisURLRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "localhost:6379", "http://:hunter2@h", "redis://:hunter2@", "redis://:hunter2@a,b", "redis://:hunter2@h/x", "redis://:hunter2@h/-1",
		"redis+sentinel://:hunter2@a:1", "redis+cluster://:hunter2@a/1", "redis+x://:hunter2@a", "redis://:hunter2%zz@a", "redis://:hunter2@h?db=1",
	} {
		_, err := OpenRedis(url)
		if err == nil {
			t.Errorf("%q was accepted", url)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func FuzzParseRedisURL(f *testing.F) {
	f.Add("redis://:p@h:1/2")
	f.Add("redis+sentinel://a,b/m/1")
	f.Fuzz(func(t *testing.T, url string) {
		o, err := parseRedisURL(url)
		if err == nil && (o == nil || len(o.Addrs) == 0) {
			t.Errorf("%q gave neither options nor an error", url)
		}
	})
}
