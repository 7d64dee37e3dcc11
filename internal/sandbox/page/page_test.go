package page_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"guanjia/internal/sandbox/page"
)

func get(t *testing.T, h http.Handler, method, path string, header ...string) *http.Response {
	t.Helper()
	req := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result()
}

func TestHandler(t *testing.T) {
	t.Parallel()
	h := page.Handler()
	for _, c := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/page/app.css", 200, "text/css; charset=utf-8"},
		{"GET", "/page/js/main.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/page/icon.svg", 200, "image/svg+xml"},
		{"POST", "/", 405, ""},
		{"GET", "/page/", 404, ""},
		{"GET", "/page/../page.go", 404, ""},
		{"GET", "/cgi-bin/token", 404, ""},
	} {
		res := get(t, h, c.method, c.path)
		if res.StatusCode != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, res.StatusCode, c.status)
		}
		if c.kind != "" && res.Header.Get("Content-Type") != c.kind {
			t.Errorf("%s: %q", c.path, res.Header.Get("Content-Type"))
		}
	}
	res := get(t, h, "GET", "/")
	if !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Error("the page may load from anywhere")
	}
	again := get(t, h, "GET", "/", "If-None-Match", res.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("the same page again: %d, want 304", again.StatusCode)
	}
}

var (
	asset    = regexp.MustCompile(`(?:src|href)="(/[^"]+)"`)
	imported = regexp.MustCompile(`from "\./([^"]+)"`)
	outside  = regexp.MustCompile(`(?i)(?:https?:)?//[a-z0-9-]+\.[a-z]`)
	call     = regexp.MustCompile(`fetch\(([^,)]+)`)
)

// The page must work without the internet and use nothing but the control calls.
func TestNothingFromOutside(t *testing.T) {
	t.Parallel()
	h := page.Handler()
	index, _ := io.ReadAll(get(t, h, "GET", "/").Body)
	for _, m := range asset.FindAllStringSubmatch(string(index), -1) {
		if res := get(t, h, "GET", m[1]); res.StatusCode != 200 {
			t.Errorf("the page names %s, which isn't there", m[1])
		}
	}
	calls := 0
	err := filepath.WalkDir("static", func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if filepath.Ext(name) != ".svg" { // a namespace looks like an address
			if m := outside.Find(b); m != nil {
				t.Errorf("%s names the outside address %s", name, m)
			}
		}
		for _, m := range imported.FindAllSubmatch(b, -1) {
			if res := get(t, h, "GET", "/page/js/"+string(m[1])); res.StatusCode != 200 {
				t.Errorf("%s imports %s, which isn't there", name, m[1])
			}
		}
		for _, m := range call.FindAllSubmatch(b, -1) {
			calls++
			if string(m[1]) != `"/sim/" + path` {
				t.Errorf("%s calls %s", name, m[1])
			}
		}
		if strings.Contains(string(b), "innerHTML") || strings.Contains(string(b), "insertAdjacentHTML") {
			t.Errorf("%s reads text as HTML", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls != 1 {
		t.Errorf("%d places call the simulators, want the one in api.js", calls)
	}
}
