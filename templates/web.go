package templates

import (
	"embed"
	"io/fs"
)

//go:embed web
var web embed.FS

// Web returns the pages for browsers: web/console (staff).
func Web() fs.FS { return web }
