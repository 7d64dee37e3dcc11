package media

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/jobs"
)

// Limits.
const (
	// MaxBytes is the largest file that is kept; the platform takes 10 MB.
	MaxBytes = 10 << 20
	// keptFor is how long the platform keeps what a resident sent.
	keptFor = 72 * time.Hour
	// chunkBytes is a row of a file, so that no write is long.
	chunkBytes = 256 << 10
)

// Kinds of files.
const (
	KindImage = "image"
	KindVoice = "voice"
)

// States of a file.
const (
	StateWanted  = "wanted"  // being fetched
	StateStored  = "stored"  // here
	StateGone    = "gone"    // the platform has it no more
	StateRefused = "refused" // too large, or not what it says it is
)

// Reasons of a refusal.
const (
	ReasonTooLarge = "too_large"
	ReasonType     = "type"
)

// Errors on which a caller decides.
var (
	// ErrGone: the platform doesn't know the file, or no more.
	ErrGone = errors.New("media: the platform has no such file")
	// ErrTooLarge: larger than MaxBytes.
	ErrTooLarge = errors.New("media: file is too large")
	// ErrNotFound: there is no such file in this company.
	ErrNotFound = errors.New("media: no such file")
)

// Download gets a file from the platform: ErrGone and ErrTooLarge are final,
// any other error is tried again.
type Download func(ctx context.Context, accountID, vendorID string) ([]byte, error)

// Runner takes jobs and works on them: *jobs.Runner.
type Runner interface {
	PutTx(ctx context.Context, tx *db.Tx, j jobs.Job) error
}

// Options are what a Store stands on.
type Options struct {
	DB       *db.DB
	Clock    clock.Clock
	Jobs     Runner
	Download Download
	Log      *slog.Logger
}

// Store keeps files. Safe for concurrent use.
type Store struct{ o Options }

// New makes a Store.
func New(o Options) *Store { return &Store{o} }

// Want is a file that a resident sent.
type Want struct {
	CompanyID, AccountID string
	ConversationID       string
	CaseID               string // empty: no case yet, see AttachTx
	Kind                 string
	VendorID             string
}

// File is what is known of a file.
type File struct {
	ID, CompanyID, CaseID string
	Kind, State, Reason   string
	ContentType           string
	Size                  int64
	CreatedAt             time.Time
}

// Shown tells whether a browser may show the file in the page: only pictures
// that can carry no script.
func (f File) Shown() bool { return f.State == StateStored && f.Kind == KindImage }

// Name is what the file is called when somebody saves it.
func (f File) Name() string { return f.ID + extensions[f.ContentType] }

// kinds are the content types that are kept, by kind.
var kinds = map[string][]string{
	KindImage: {"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp"},
	KindVoice: {"audio/amr", "audio/mpeg", "audio/speex"},
}

var extensions = map[string]string{
	"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "image/bmp": ".bmp",
	"audio/amr": ".amr", "audio/mpeg": ".mp3", "audio/speex": ".speex",
}

// Sniff gives the content type of a file by its first bytes; "" for a type that
// a kind doesn't have. What the platform or a name says is not believed.
func Sniff(kind string, body []byte) string {
	found := ""
	switch {
	case bytes.HasPrefix(body, []byte("#!AMR")):
		found = "audio/amr"
	case bytes.HasPrefix(body, []byte("Speex   ")):
		found = "audio/speex"
	case len(body) > 1 && body[0] == 0xff && body[1]&0xe0 == 0xe0:
		found = "audio/mpeg" // a frame without a tag before it
	default:
		found, _, _ = strings.Cut(http.DetectContentType(body), ";")
	}
	if kind == KindImage && bytes.HasPrefix(body, []byte{0xff, 0xd8, 0xff}) {
		found = "image/jpeg"
	}
	for _, t := range kinds[kind] {
		if t == found {
			return found
		}
	}
	return ""
}
