package templates

import (
	"embed"
	"io/fs"
)

//go:embed texts sms wechat lexicon notice
var files embed.FS

// FS returns the embedded files: texts/, sms/, wechat/, lexicon/ and notice/.
func FS() fs.FS { return files }
