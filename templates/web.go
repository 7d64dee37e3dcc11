package templates

import (
	"embed"
	"io/fs"
)

//go:embed web
var web embed.FS

// Web returns the pages for browsers: web/console (staff), web/h5 (residents) and web/print (paper).
func Web() fs.FS { return web }
