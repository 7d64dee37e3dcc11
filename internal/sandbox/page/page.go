package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"time"
)

//go:embed static
var files embed.FS

// contentPolicy lets the page load only what this handler serves and talk only to
// the address it came from: a simulator must not depend on the internet.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// asset is one embedded file, ready to be served.
type asset struct {
	body        []byte
	contentType string
	etag        string
}

// Handler serves the page at "/" and its files under "/page/". Every other path
// is answered with 404, so it may be mounted as the catch-all of the sandbox.
func Handler() http.Handler {
	assets, err := load(files)
	if err != nil {
		// The files are compiled in: failing to read them is a broken binary.
		panic("sandbox page: " + err.Error())
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve(w, r, assets)
	})
}

func load(fsys fs.FS) (map[string]asset, error) {
	assets := make(map[string]asset)
	err := fs.WalkDir(fsys, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		assets[address(name)] = asset{
			body:        body,
			contentType: contentType(name),
			etag:        `"` + hex.EncodeToString(sum[:8]) + `"`,
		}
		return nil
	})
	return assets, err
}

// address turns an embedded name into the path it is served at.
func address(name string) string {
	if name == "static/index.html" {
		return "/"
	}
	return "/page/" + name[len("static/"):]
}

func contentType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		// The machine's own table may call it application/javascript or, worse,
		// text/plain, which browsers refuse for modules.
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return mime.TypeByExtension(ext)
	}
}

func serve(w http.ResponseWriter, r *http.Request, assets map[string]asset) {
	a, ok := assets[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	// Always revalidated: a newer binary on the same port must not meet old scripts.
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}
