package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"guanjia/internal/config"
)

func TestLaterSourcesWin(t *testing.T) {
	t.Parallel()
	path := write(t, "listen: 127.0.0.1:1000\nlog_level: warn\nroles: [web, worker]\n")
	c, err := config.Load(path, []string{"GUANJIA_LISTEN=127.0.0.1:2000", "OTHER=x", "GUANJIA_TOKEN=of-a-client"}, map[string]string{"log_level": "debug"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:2000" || c.LogLevel != "debug" || len(c.Roles) != 2 || c.WeChatURL != "https://api.weixin.qq.com" {
		t.Fatalf("got %+v", c)
	}
}

func TestBadSettingsAreNamedWithTheirRemedy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		file, want string
		env        []string
	}{
		"unknown key":          {file: "lisen: 127.0.0.1:1\n", want: "did you mean listen?"},
		"unknown variable":     {env: []string{"GUANJIA_LISTNE=127.0.0.1:1"}, want: "GUANJIA_LISTNE"},
		"no port":              {file: "listen: here\n", want: "host:port"},
		"short key":            {env: []string{"GUANJIA_MASTER_KEY=c2hvcnQ="}, want: "openssl rand"},
		"plain vendor address": {file: "wechat_url: http://api.weixin.qq.com\n", want: "https://"},
		"unknown role":         {file: "roles: web,boss\n", want: "one of web, worker, socket"},
		"budget over WeChat's": {file: "answer_budget: 6s\n", want: "100ms to 4s"},
		"database of no kind":  {file: "database: mysql://x\n", want: "postgres:// or sqlite://"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := ""
			if tt.file != "" {
				path = write(t, tt.file)
			}
			_, err := config.Load(path, tt.env, nil)
			var problems config.Problems
			if !errors.As(err, &problems) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want it to say %q", err, tt.want)
			}
		})
	}
}

func TestErrorsDoNotShowSecrets(t *testing.T) {
	t.Parallel()
	_, err := config.Load("", []string{"GUANJIA_MASTER_KEY=hunter2hunter2", "GUANJIA_DATABASE=mysql://user:hunter2@host/db"}, nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("error shows a secret or is missing: %v", err)
	}
}

func TestSandboxSetsTheVendors(t *testing.T) {
	t.Parallel()
	c, err := config.Load("", nil, map[string]string{"sandbox": "http://127.0.0.1:8090"})
	if err != nil {
		t.Fatal(err)
	}
	if c.WeChatURL != "http://127.0.0.1:8090/api.weixin.qq.com" || c.WeComSocket != "ws://127.0.0.1:8090/openws.work.weixin.qq.com" || !c.Sandbox {
		t.Fatalf("got %+v", c)
	}
}

func TestServerNeedsItsStores(t *testing.T) {
	t.Parallel()
	c, err := config.Load("", nil, map[string]string{"database": "postgres://h/db"})
	if err != nil {
		t.Fatal(err)
	}
	err = c.RequireServer()
	if err == nil || !strings.Contains(err.Error(), "redis") || !strings.Contains(err.Error(), "master_key") {
		t.Fatalf("got %v", err)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guanjia.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
