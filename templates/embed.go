package templates

import (
	"embed"
	"io/fs"
)

//go:embed texts sms wechat lexicon
var files embed.FS

// FS returns the embedded files: texts/, sms/, wechat/ and lexicon/.
func FS() fs.FS { return files }
