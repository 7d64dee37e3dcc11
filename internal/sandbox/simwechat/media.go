package simwechat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/sandbox/simcore"
)

const (
	mediaLife = 72 * time.Hour
	// mediaBytes bounds the files of one account; the oldest go first.
	mediaBytes = 128 << 20
)

// mediaLimits are the sizes that media/upload takes, in bytes.
var mediaLimits = map[string]int{"image": 10 << 20, "voice": 2 << 20, "video": 10 << 20, "thumb": 64 << 10}

// mediaSuffixes are the file kinds that media/upload takes.
var mediaSuffixes = map[string]string{
	"image": ".bmp .png .jpeg .jpg .gif", "voice": ".amr .mp3", "video": ".mp4", "thumb": ".jpg .jpeg",
}

type mediaFile struct {
	id, kind, name string
	body           []byte
	at             time.Time
}

// storeMedia keeps a file for three days and answers its media_id.
func (a *account) storeMedia(kind, name string, body []byte, now time.Time) string {
	f := &mediaFile{id: randomText(64), kind: kind, name: name, body: body, at: now}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.media[f.id] = f
	a.mediaOrder = append(a.mediaOrder, f)
	a.mediaSize += mediaWeight(f)
	for a.mediaSize > mediaBytes && len(a.mediaOrder) > 1 {
		oldest := a.mediaOrder[0]
		a.mediaOrder = a.mediaOrder[1:]
		a.mediaSize -= mediaWeight(oldest)
		delete(a.media, oldest.id)
	}
	return f.id
}

// mediaWeight counts an empty file too.
func mediaWeight(f *mediaFile) int { return len(f.body) + 512 }

func (a *account) mediaFile(id string, now time.Time) *mediaFile {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.media[id]
	if f == nil || now.Sub(f.at) >= mediaLife {
		return nil
	}
	return f
}

func (a *account) hasMedia(id string, now time.Time) bool { return a.mediaFile(id, now) != nil }

func (s *Sim) uploadMedia(c *call) (any, error) {
	kind := c.query.Get("type")
	limit, ok := mediaLimits[kind]
	if !ok {
		return nil, errc(40004)
	}
	name, body, err := formFile(c)
	if err != nil || len(body) == 0 {
		return nil, errc(44001)
	}
	if len(body) > limit {
		return nil, errc(45001)
	}
	suffix := strings.ToLower(path.Ext(name))
	if suffix == "" || !strings.Contains(mediaSuffixes[kind], suffix) {
		return nil, errc(40004)
	}
	now := s.core.Now()
	id := c.acct.storeMedia(kind, name, body, now)
	field := "media_id"
	if kind == "thumb" {
		field = "thumb_media_id"
	}
	return map[string]any{"type": kind, field: id, "created_at": now.Unix()}, nil
}

func formFile(c *call) (name string, body []byte, err error) {
	_, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil {
		return "", nil, fmt.Errorf("content type: %w", err)
	}
	form := multipart.NewReader(bytes.NewReader(c.body), params["boundary"])
	for {
		part, err := form.NextPart()
		if err != nil {
			return "", nil, errors.New("no file in the form")
		}
		if part.FileName() == "" {
			continue
		}
		body, err = io.ReadAll(part)
		return part.FileName(), body, err
	}
}

// getMedia answers the bytes, for a video an address in JSON, and an error
// as JSON with status 200: the caller has to look at the type.
func (s *Sim) getMedia(c *call) (any, error) {
	id := c.query.Get("media_id")
	if id == "" {
		return nil, errc(41006)
	}
	f := c.acct.mediaFile(id, s.core.Now())
	if f == nil {
		return nil, errc(40007)
	}
	if f.kind == "video" {
		return map[string]any{"video_url": pictureURL(c.r, c.acct, f.id)}, nil
	}
	return simcore.Response{
		Type: contentType(f), Body: f.body, Outcome: "ok",
		Header: http.Header{"Content-Disposition": {`attachment; filename="` + f.id + path.Ext(f.name) + `"`}},
	}, nil
}

func contentType(f *mediaFile) string {
	switch path.Ext(strings.ToLower(f.name)) {
	case ".png":
		return "image/png"
	case ".gif":
		return "image/gif"
	case ".amr":
		return "audio/amr"
	case ".mp3":
		return "audio/mpeg"
	case ".mp4":
		return "video/mp4"
	default:
		return "image/jpeg"
	}
}

// pictureURL is the PicUrl of a picture: on the host by which this simulator
// was just asked.
func pictureURL(r *http.Request, a *account, id string) string {
	return "http://" + r.Host + "/mmbiz.qpic.cn/" + a.cfg.AppID + "/" + id
}

func (s *Sim) servePicture(w http.ResponseWriter, r *http.Request) {
	a := s.account(chi.URLParam(r, "app"))
	if a == nil {
		http.NotFound(w, r)
		return
	}
	f := a.mediaFile(chi.URLParam(r, "id"), s.core.Now())
	if f == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", contentType(f))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(f.body) // a caller who has gone is not our trouble
}
