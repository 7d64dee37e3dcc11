package conversation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"guanjia/internal/company"
	"guanjia/internal/conversation"
)

func sealer(t testing.TB, b byte) *company.Sealer {
	t.Helper()
	s, err := company.NewSealer(bytes.Repeat([]byte{b}, company.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openSpool(t testing.TB, dir string, most int64) *conversation.Spool {
	t.Helper()
	s, err := conversation.OpenSpool(dir, sealer(t, 1), slog.New(slog.DiscardHandler), most)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpool(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	s := openSpool(t, dir, 0)
	for i := range 5 {
		if err := s.Put(t.Context(), text("oSecret", fmt.Sprint(i), "电梯困人")); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 5 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil || bytes.Contains(b, []byte("电梯")) || bytes.Contains(b, []byte("oSecret")) {
			t.Errorf("the file shows what was said, %v", err)
		}
	}
	// Another process takes over; the database fails at the third message.
	s = openSpool(t, dir, 0)
	if s.Len() != 5 {
		t.Fatalf("%d messages after a restart", s.Len())
	}
	var got []string
	down := errors.New("down")
	err = s.Replay(t.Context(), func(_ context.Context, in conversation.Inbound) error {
		if len(got) == 2 {
			return down
		}
		got = append(got, in.MsgID)
		if string(in.Raw) != "<xml>"+in.MsgID+"电梯困人</xml>" || in.Text != "电梯困人" || !in.SentAt.Equal(start) {
			t.Errorf("came back as %+v", in)
		}
		return nil
	})
	if !errors.Is(err, down) || s.Len() != 3 {
		t.Errorf("%v, %d left", err, s.Len())
	}
	err = s.Replay(t.Context(), func(_ context.Context, in conversation.Inbound) error {
		got = append(got, in.MsgID)
		return nil
	})
	if err != nil || strings.Join(got, "") != "01234" || s.Len() != 0 {
		t.Errorf("replayed %v, %v, %d left", got, err, s.Len())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%d files left, %v", len(entries), err)
	}
}

func TestSpoolPutsAsideWhatDoesNotOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSpool(t, dir, 0)
	for i := range 4 {
		if err := s.Put(t.Context(), text("oA", fmt.Sprint(i), "a")); err != nil {
			t.Fatal(err)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.msg"))
	if err != nil || len(names) != 4 {
		t.Fatal(names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	for name, content := range map[string][]byte{names[0]: b, names[2]: nil} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A file that was moved to another's place must not open either.
	third, err := os.ReadFile(names[3])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(names[1], third, 0o600); err != nil {
		t.Fatal(err)
	}
	half, fresh := filepath.Join(dir, "half.msg.tmp"), filepath.Join(dir, "fresh.msg.tmp")
	for _, name := range []string{half, fresh} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(half, hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	s = openSpool(t, dir, 0)
	n := 0
	err = s.Replay(t.Context(), func(context.Context, conversation.Inbound) error { n++; return nil })
	if err != nil || n != 1 || s.Bad() != 3 || s.Len() != 0 {
		t.Errorf("%d replayed, %d bad, %d left, %v", n, s.Bad(), s.Len(), err)
	}
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an unfinished file of a dead process stays: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("a file that may still be written is gone: %v", err)
	}
	if s = openSpool(t, dir, 0); s.Bad() != 3 || s.Len() != 0 {
		t.Errorf("after a restart: %d bad, %d waiting", s.Bad(), s.Len())
	}
}

func TestSpoolPutsAsideWhatCannotBeStored(t *testing.T) {
	t.Parallel()
	s := openSpool(t, t.TempDir(), 0)
	for i := range 2 {
		if err := s.Put(t.Context(), text("oA", fmt.Sprint(i), "a")); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err := s.Replay(t.Context(), func(context.Context, conversation.Inbound) error {
		if n++; n == 1 {
			return fmt.Errorf("refused: %w", conversation.ErrPutAside)
		}
		return nil
	})
	if err != nil || n != 2 || s.Bad() != 1 || s.Len() != 0 {
		t.Errorf("%d tried, %d bad, %d left, %v", n, s.Bad(), s.Len(), err)
	}
}

func TestSpoolTriesLater(t *testing.T) {
	t.Parallel()
	s := openSpool(t, t.TempDir(), 0)
	for i := range 3 {
		if err := s.Put(t.Context(), text("oA", fmt.Sprint(i), "a")); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := s.Replay(t.Context(), func(_ context.Context, in conversation.Inbound) error {
		if in.MsgID == "0" {
			return fmt.Errorf("odd: %w", conversation.ErrTryLater)
		}
		got = append(got, in.MsgID)
		return nil
	})
	if !errors.Is(err, conversation.ErrTryLater) || strings.Join(got, "") != "12" || s.Len() != 1 || s.Bad() != 0 {
		t.Errorf("%v, replayed %v, %d left, %d bad", err, got, s.Len(), s.Bad())
	}
}

func TestSpoolIsBounded(t *testing.T) {
	t.Parallel()
	s := openSpool(t, t.TempDir(), 2000)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = s.Put(t.Context(), text("oA", fmt.Sprint(n), "a"))
	}
	if !errors.Is(err, conversation.ErrSpoolFull) || n < 2 {
		t.Fatalf("%v after %d messages", err, n)
	}
	if strings.Contains(err.Error(), "oA") {
		t.Errorf("the error names the sender: %v", err)
	}
	if err := s.Replay(t.Context(), func(context.Context, conversation.Inbound) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), text("oA", "again", "a")); err != nil {
		t.Errorf("after the replay there is room: %v", err)
	}
}

func TestSpoolInParallel(t *testing.T) {
	t.Parallel()
	s := openSpool(t, t.TempDir(), 0)
	const n = 50
	var wg, replays sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	replay := func() {
		err := s.Replay(t.Context(), func(_ context.Context, in conversation.Inbound) error {
			mu.Lock()
			defer mu.Unlock()
			got[in.MsgID]++
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	for i := range n {
		wg.Go(func() {
			if err := s.Put(t.Context(), text("oA", fmt.Sprint(i), "a")); err != nil {
				t.Error(err)
			}
		})
		if i%10 == 0 {
			replays.Go(replay)
		}
	}
	wg.Wait()
	replays.Wait()
	replay()
	if len(got) != n || s.Len() != 0 {
		t.Errorf("%d of %d replayed, %d left", len(got), n, s.Len())
	}
	for id, times := range got {
		if times != 1 {
			t.Errorf("message %s came back %d times", id, times)
		}
	}
}

func TestSpoolFolderCannotBeMade(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := conversation.OpenSpool(filepath.Join(file, "spool"), sealer(t, 1), slog.New(slog.DiscardHandler), 0); err == nil {
		t.Error("a spool inside a file was opened")
	}
}
