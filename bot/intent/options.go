package intent

import "io/fs"

// Option changes what New builds.
type Option func(*options)

type options struct {
	lexicon fs.FS
	weights []byte
	bare    bool
}

// WithLexicon adds the words and patterns of a company to the embedded ones. The
// directory holds files of the same names and layouts as data/: those that are
// there extend ours, entry by entry; none is needed. Examples belong to the
// training, see docs/understanding.md.
func WithLexicon(dir fs.FS) Option { return func(o *options) { o.lexicon = dir } }

// WithWeights takes the content of a weights file instead of the embedded one.
func WithWeights(file []byte) Option { return func(o *options) { o.weights = file } }

// Untrained leaves the weights out: only rules decide. It is what the training
// starts from.
func Untrained() Option { return func(o *options) { o.bare = true } }
