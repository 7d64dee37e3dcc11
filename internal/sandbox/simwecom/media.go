package simwecom

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
)

// media is a file, sent by a bot, an app or a member.
type media struct {
	id    string
	owner string // bot_id, webhook key or corp; empty: sent by a member
	kind  string
	name  string
	data  []byte
	at    time.Time
	key   []byte // of a member's file on its way to a bot
}

// The vendor's sizes in bytes.
var mediaSizes = map[string]int{"image": 10 << 20, "video": 10 << 20, "voice": 2 << 20, "file": 20 << 20}

const (
	maxChunk  = 512 << 10
	maxChunks = 100
	minFile   = 5
	linkLives = 5 * time.Minute
)

// upload is a file that a bot sends in pieces.
type upload struct {
	kind, name, md5 string
	size, chunks    int
	at              time.Time
	parts           map[int][]byte
}

func (m *media) page() string { return "/sim/wecom/media/" + m.id }

// findMedia finds what its owner may still send; s.mu is held.
func (s *Sim) findMedia(owner, id string) *media {
	m := s.media[id]
	if m == nil || m.owner != owner || s.core.Now().Sub(m.at) > mediaLives {
		return nil
	}
	return m
}

func (s *Sim) storeMedia(m *media) *media {
	m.id = newID("")
	m.at = s.core.Now()
	s.media[m.id] = m
	return m
}

func (s *Sim) uploadInit(b *bot, f frame) (any, *refusal) {
	var in struct {
		Type   string `json:"type"`
		Name   string `json:"filename"`
		Size   int    `json:"total_size"`
		Chunks int    `json:"total_chunks"`
		MD5    string `json:"md5"`
	}
	if bad := decode(f.Body, &in); bad != nil {
		return nil, bad
	}
	limit, ok := mediaSizes[in.Type]
	switch {
	case !ok:
		return nil, refuse(codeBadMsgType, "type invalid")
	case in.Name == "":
		return nil, refuse(codeBadParam, "filename missing")
	case in.Size < minFile || in.Size > limit:
		return nil, refuse(codeTooLong, "total_size out of limit")
	case in.Chunks < 1 || in.Chunks > maxChunks || in.Size > in.Chunks*maxChunk:
		return nil, refuse(codeBadParam, "total_chunks invalid")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !b.upRate.take(s.core.Now()) {
		return nil, refuse(codeQuota, "%s", errmsg(codeQuota))
	}
	id := newID("up")
	b.uploads[id] = &upload{kind: in.Type, name: in.Name, md5: in.MD5, size: in.Size, chunks: in.Chunks, at: s.core.Now(), parts: map[int][]byte{}}
	return map[string]any{"upload_id": id}, nil
}

func (s *Sim) uploadChunk(b *bot, f frame) (any, *refusal) {
	var in struct {
		ID    string `json:"upload_id"`
		Index *int   `json:"chunk_index"`
		Data  string `json:"base64_data"`
	}
	if bad := decode(f.Body, &in); bad != nil {
		return nil, bad
	}
	data, err := base64.StdEncoding.DecodeString(in.Data)
	if err != nil || len(data) == 0 || len(data) > maxChunk {
		return nil, refuse(codeBadParam, "base64_data invalid")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	up := s.uploadOf(b, in.ID)
	switch {
	case up == nil:
		return nil, refuse(codeBadParam, "upload_id unknown or expired")
	case in.Index == nil || *in.Index < 0 || *in.Index > up.chunks:
		return nil, refuse(codeBadParam, "chunk_index invalid")
	}
	up.parts[*in.Index] = data
	return nil, nil
}

func (s *Sim) uploadOf(b *bot, id string) *upload {
	up := b.uploads[id]
	if up == nil || s.core.Now().Sub(up.at) > uploadLives {
		return nil
	}
	return up
}

func (s *Sim) uploadFinish(b *bot, f frame) (any, *refusal) {
	var in struct {
		ID string `json:"upload_id"`
	}
	if bad := decode(f.Body, &in); bad != nil {
		return nil, bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	up := s.uploadOf(b, in.ID)
	if up == nil {
		return nil, refuse(codeBadParam, "upload_id unknown or expired")
	}
	data, ok := up.join()
	if !ok {
		return nil, refuse(codeBadParam, "chunks missing")
	}
	sum := md5.Sum(data)
	if up.md5 != "" && up.md5 != hex.EncodeToString(sum[:]) {
		return nil, refuse(codeBadParam, "md5 mismatch")
	}
	delete(b.uploads, in.ID)
	m := s.storeMedia(&media{owner: b.BotID, kind: up.kind, name: up.name, data: data})
	return map[string]any{"type": m.kind, "media_id": m.id, "created_at": m.at.Unix()}, nil
}

// join puts the pieces together; the vendor's texts count them from 1, its code
// from 0, so either will do.
func (u *upload) join() ([]byte, bool) {
	from := 0
	if _, zero := u.parts[0]; !zero {
		from = 1
	}
	var all []byte
	for i := from; i < from+u.chunks; i++ {
		part, ok := u.parts[i]
		if !ok {
			return nil, false
		}
		all = append(all, part...)
	}
	return all, len(all) == u.size && len(u.parts) == u.chunks
}

// fromMember keeps a picture of a member and the key under which a bot gets it.
func (s *Sim) fromMember(kind, name string, data []byte) *media {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return s.storeMedia(&media{kind: kind, name: name, data: data, key: key})
}

// link is where the bot fetches a member's file, for five minutes. Under the
// vendor it is a storage host; here it is whatever address the bot reached us by.
func (m *media) link(host string) map[string]any {
	return map[string]any{
		"url":    fmt.Sprintf("http://%s/openws.work.weixin.qq.com/media/%s", host, m.id),
		"aeskey": base64.StdEncoding.EncodeToString(m.key),
	}
}

// serveLink gives a bot a member's file: AES-256-CBC, the IV is the key's first 16
// bytes, padded to 32 (PKCS#7).
func (s *Sim) serveLink(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	m := s.media[chi.URLParam(r, "id")]
	now := s.core.Now()
	s.mu.Unlock()
	if m == nil || m.key == nil {
		http.NotFound(w, r)
		return
	}
	if now.Sub(m.at) > linkLives {
		http.Error(w, "Request has expired", http.StatusForbidden)
		return
	}
	sealed, err := seal(m.key, m.data)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": m.name}))
	_, _ = w.Write(sealed) // a bot that has gone will ask again
}

func seal(key, data []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	n := 32 - len(data)%32
	padded := append(bytes.Clone(data), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(block, key[:16]).CryptBlocks(padded, padded)
	return padded, nil
}

// servePage shows a picture on the sandbox's page.
func (s *Sim) servePage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	m := s.media[chi.URLParam(r, "id")]
	s.mu.Unlock()
	if m == nil {
		http.NotFound(w, r)
		return
	}
	typ := http.DetectContentType(m.data)
	if m.kind != "image" || (typ != "image/png" && typ != "image/jpeg" && typ != "image/gif" && typ != "image/webp") {
		typ = "application/octet-stream" // never a page that the browser would run
	}
	w.Header().Set("Content-Type", typ)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "private, max-age=3600")
	_, _ = w.Write(m.data)
}
