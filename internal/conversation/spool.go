package conversation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"guanjia/internal/db"
)

// ErrSpoolFull says that the spool holds as much as it may: the push must not
// be acknowledged.
var ErrSpoolFull = errors.New("the spool is full")

// What Replay's function may wrap in its error.
var (
	// ErrPutAside: the message can never be stored; its file is put aside.
	ErrPutAside = errors.New("the message cannot be stored")
	// ErrTryLater: only this message was refused; its file stays for the next
	// replay, and the others get their turn.
	ErrTryLater = errors.New("the message could not be stored this time")
)

// Sealer encrypts what lies in the spool; aad binds it to its place.
type Sealer interface {
	Seal(plain, aad []byte) ([]byte, error)
	Open(sealed, aad []byte) ([]byte, error)
}

// DefaultSpoolBytes bounds the spool: some 100,000 messages.
const DefaultSpoolBytes int64 = 256 << 20

const (
	spoolSuffix     = ".msg"
	spoolTempSuffix = ".tmp"
	spoolBadSuffix  = ".bad"
)

// Spool keeps pushes in sealed files on this node while the database is away.
// A push is in it once Put has returned: file and folder have been synced. It
// is not a second truth: Replay moves its content into rows and empties it.
type Spool struct {
	dir    string
	sealer Sealer
	log    *slog.Logger
	most   int64

	replay sync.Mutex // one replay at a time
	mu     sync.Mutex // guards files and bytes
	files  map[string]int64
	bytes  int64
	bad    atomic.Int64
}

// OpenSpool opens (and makes) the folder dir, readable by this user only.
// maxBytes 0 means DefaultSpoolBytes. Files left by a former process count.
func OpenSpool(dir string, sealer Sealer, log *slog.Logger, maxBytes int64) (*Spool, error) {
	if maxBytes <= 0 {
		maxBytes = DefaultSpoolBytes
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the spool's folder: %w", err)
	}
	s := &Spool{dir: dir, sealer: sealer, log: log, most: maxBytes, files: map[string]int64{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the spool's folder: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // replayed by another process that shares the folder
		}
		if err != nil {
			return nil, fmt.Errorf("read the spool's folder: %w", err)
		}
		if err := s.adopt(info); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// unfinishedAge is when a temporary file is certainly nobody's any more.
const unfinishedAge = time.Minute

// adopt takes a file of a former process into account.
func (s *Spool) adopt(info os.FileInfo) error {
	switch filepath.Ext(info.Name()) {
	case spoolTempSuffix:
		// Never acknowledged: the process died before the rename.
		if time.Since(info.ModTime()) < unfinishedAge {
			return nil
		}
		if err := removeIfThere(filepath.Join(s.dir, info.Name())); err != nil {
			return fmt.Errorf("remove an unfinished spool file: %w", err)
		}
	case spoolBadSuffix:
		s.bad.Add(1)
	case spoolSuffix:
		s.files[info.Name()] = info.Size()
		s.bytes += info.Size()
	}
	return nil
}

// Put seals a push into the spool and returns when it is on the disk. Only
// then may it be acknowledged.
func (s *Spool) Put(ctx context.Context, in Inbound) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	plain, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("spool: write the message: %w", err)
	}
	// UUIDv7: the names sort by time of arrival.
	name := db.NewID() + spoolSuffix
	sealed, err := s.sealer.Seal(plain, []byte(name))
	if err != nil {
		return fmt.Errorf("spool: seal the message: %w", err)
	}
	size := int64(len(sealed))
	if err := s.reserve(size); err != nil {
		return err
	}
	err = s.write(name, sealed)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.bytes -= size
		return fmt.Errorf("spool: %w", err)
	}
	s.files[name] = size
	return nil
}

// reserve takes the space before the file is written, so that many writers at
// once don't exceed it.
func (s *Spool) reserve(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+size > s.most {
		return fmt.Errorf("spool: %d of %d bytes used by %d messages: %w", s.bytes, s.most, len(s.files), ErrSpoolFull)
	}
	s.bytes += size
	return nil
}

func (s *Spool) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= s.files[name]
	delete(s.files, name)
}

// write makes the file durable under a temporary name, renames it, and makes
// the rename durable.
func (s *Spool) write(name string, sealed []byte) error {
	path := filepath.Join(s.dir, name)
	temp := path + spoolTempSuffix
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	_, err = f.Write(sealed)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = s.syncDir()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write a file: %w", err), removeIfThere(temp), removeIfThere(path))
	}
	return nil
}

func (s *Spool) syncDir() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Len is how many messages wait in the spool.
func (s *Spool) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files)
}

// Bad is how many files could not be opened and were put aside (*.bad): damage
// or another master key. An operator must look at them.
func (s *Spool) Bad() int { return int(s.bad.Load()) }

// Replay hands each message to store in the order of arrival and removes its
// file once store has returned nil, that is, after the commit. An error of store
// ends the replay and is returned, the rest stays; see ErrPutAside and
// ErrTryLater for those that don't end it. A crash between commit and removal
// replays the message, which the unique key makes harmless. A file that doesn't
// open is put aside and counted.
func (s *Spool) Replay(ctx context.Context, store func(ctx context.Context, in Inbound) error) error {
	s.replay.Lock()
	defer s.replay.Unlock()
	var later error
	for _, name := range s.names() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("replay the spool: %w", err)
		}
		err := s.replayOne(ctx, name, store)
		switch {
		case err == nil:
		case errors.Is(err, ErrTryLater):
			later = err
		default:
			return errors.Join(later, err)
		}
	}
	return later
}

func (s *Spool) replayOne(ctx context.Context, name string, store func(ctx context.Context, in Inbound) error) error {
	in, err := s.read(name)
	if errors.Is(err, os.ErrNotExist) {
		s.forget(name) // replayed by another process that shares the folder
		return nil
	}
	if err != nil {
		return s.putAside(ctx, name, err)
	}
	err = store(ctx, in)
	if errors.Is(err, ErrPutAside) {
		return s.putAside(ctx, name, err)
	}
	if err != nil {
		return fmt.Errorf("replay the spool: %w", err)
	}
	if err := removeIfThere(filepath.Join(s.dir, name)); err != nil {
		return fmt.Errorf("remove a replayed spool file: %w", err)
	}
	s.forget(name)
	return nil
}

func (s *Spool) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.files))
	for name := range s.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *Spool) read(name string) (Inbound, error) {
	sealed, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return Inbound{}, err
	}
	plain, err := s.sealer.Open(sealed, []byte(name))
	if err != nil {
		return Inbound{}, err
	}
	var in Inbound
	if err := json.Unmarshal(plain, &in); err != nil {
		// The error of the decoder may quote the message.
		return Inbound{}, errors.New("the content is not a message")
	}
	return in, nil
}

// putAside renames a file that can't be used; it is never deleted, since it
// may be a resident's only word.
func (s *Spool) putAside(ctx context.Context, name string, why error) error {
	var perr *os.PathError
	if errors.As(why, &perr) {
		return fmt.Errorf("read a spool file: %w", why) // the disk, not the content
	}
	bad := strings.TrimSuffix(name, spoolSuffix) + spoolBadSuffix
	if err := os.Rename(filepath.Join(s.dir, name), filepath.Join(s.dir, bad)); err != nil {
		return fmt.Errorf("put a damaged spool file aside: %w", err)
	}
	s.forget(name)
	s.bad.Add(1)
	s.log.ErrorContext(ctx, "a spooled message cannot be used and was put aside",
		slog.String("file", bad), slog.Any("error", why))
	return nil
}
