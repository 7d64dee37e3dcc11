package templates

import (
	"embed"
	"io/fs"
)

//go:embed texts sms wechat lexicon notice survey
var files embed.FS

// FS returns the embedded files: texts/, sms/, wechat/, lexicon/, notice/ and survey/.
func FS() fs.FS { return files }
