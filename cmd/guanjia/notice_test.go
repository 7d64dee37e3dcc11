package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"guanjia/internal/app"
	"guanjia/internal/telemetry/telemetrytest"
)

const noticeFile = `kind: emergency_outage
topic: outage_water
scope: {buildings: ["1"]}
reason: 主管爆裂抢修
`

// TestNoticeSend drives the command against a running demo, as step 8 of the
// story does.
func TestNoticeSend(t *testing.T) {
	t.Parallel()
	logs := telemetrytest.Capture(t)
	demo, err := app.StartDemo(t.Context(), app.DemoOptions{Listen: "127.0.0.1:0", Sandbox: "127.0.0.1:0", Data: t.TempDir(), Log: logs.Logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := demo.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	send := func(user, content, answer string, flags ...string) (code int, stdout, stderr string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "notice.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var outb, errb bytes.Buffer
		args := append([]string{"notice", "send", "--file", path, "--server", demo.Ready.Listen, "--token", demo.Ready.Tokens[user]}, flags...)
		code = run(args, out{stdin: strings.NewReader(answer), stdout: &outb, stderr: &errb})
		return code, outb.String(), errb.String()
	}
	for name, tc := range map[string]struct {
		user, content, answer string
		flags                 []string
		code                  int
		wants                 []string
	}{
		"asked and not wanted": {"yangguang", noticeFile, "n\n", nil, exitOK, []string{"主管爆裂抢修", "58 households", "yuan", "nothing was sent"}},
		"no answer at all":     {"yangguang", noticeFile, "", nil, exitOK, []string{"nothing was sent"}},
		"unknown key":          {"yangguang", noticeFile + "colour: red\n", "", nil, exitUsage, []string{"line 5", "colour"}},
		"no YAML":              {"yangguang", "kind: [", "", nil, exitUsage, []string{"line 1"}},
		"a time that is none":  {"yangguang", noticeFile + "ends_at: gestern\n", "", nil, exitUsage, []string{"line 5"}},
		"something is missing": {"yangguang", strings.Replace(noticeFile, "reason: 主管爆裂抢修\n", "", 1), "", []string{"--yes"}, exitFailure, []string{"Problem: reason"}},
		"may not write":        {"liqiang", noticeFile, "", []string{"--yes"}, exitFailure, []string{"forbidden"}},
		"may not approve":      {"chenjing", noticeFile, "", []string{"--yes"}, exitFailure, []string{"forbidden"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := send(tc.user, tc.content, tc.answer, tc.flags...)
			if code != tc.code {
				t.Errorf("exit %d, want %d\n%s%s", code, tc.code, stdout, stderr)
			}
			for _, want := range tc.wants {
				if !strings.Contains(stdout+stderr, want) {
					t.Errorf("%q is missing in\n%s%s", want, stdout, stderr)
				}
			}
		})
	}
	code, stdout, stderr := send("yangguang", noticeFile, "", "--yes", "--follow")
	if code != exitOK || !strings.Contains(stdout, "finished: 58 of 58 households reached") || strings.Contains(stdout, "[y/N]") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if code := run([]string{"notice", "send"}, out{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}); code != exitUsage {
		t.Errorf("without a file: exit %d", code)
	}
}
