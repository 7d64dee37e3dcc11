package simcore

import (
	"context"
	"sort"
	"sync"
)

// Feed is a numbered list of things that a person sees: a chat, an inbox.
// Items are numbered from 1. An item that is changed keeps its number and is
// handed out again under `after`, because the change takes a number of its
// own. Only the newest limit items are kept. Safe for concurrent use.
type Feed[T any] struct {
	limit int

	mu     sync.Mutex
	last   int64
	items  map[int64]*feedItem[T]
	order  []feedMark // ascending by at; marks of changed items go stale
	oldest int64      // no item below this number is kept
	wake   chan struct{}
}

type feedItem[T any] struct {
	at    int64
	value T
}

type feedMark struct{ at, seq int64 }

// NewFeed keeps at most limit items.
func NewFeed[T any](limit int) *Feed[T] {
	return &Feed[T]{limit: max(limit, 1), items: map[int64]*feedItem[T]{}, oldest: 1}
}

// Append adds the item that build makes for its number.
func (f *Feed[T]) Append(build func(seq int64) T) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	seq := f.last
	f.items[seq] = &feedItem[T]{at: seq, value: build(seq)}
	f.order = append(f.order, feedMark{seq, seq})
	f.trim()
	f.notify()
	return seq
}

// Update changes an item and lets it appear again; false when it is gone.
func (f *Feed[T]) Update(seq int64, change func(*T)) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	it, ok := f.items[seq]
	if !ok {
		return false
	}
	change(&it.value)
	f.last++
	it.at = f.last
	f.order = append(f.order, feedMark{f.last, seq})
	f.trim()
	f.notify()
	return true
}

// Touch changes an item in place without letting it appear again.
func (f *Feed[T]) Touch(seq int64, change func(*T)) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	it, ok := f.items[seq]
	if ok {
		change(&it.value)
	}
	return ok
}

// Get reads one item.
func (f *Feed[T]) Get(seq int64) (T, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if it, ok := f.items[seq]; ok {
		return it.value, true
	}
	var none T
	return none, false
}

// After answers the items that came or changed after a number (exclusive),
// in that order, and the number to ask with next time.
func (f *Feed[T]) After(after int64) (items []T, last int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.after(after), f.last
}

func (f *Feed[T]) after(after int64) []T {
	from := sort.Search(len(f.order), func(i int) bool { return f.order[i].at > after })
	out := make([]T, 0, len(f.order)-from)
	for _, m := range f.order[from:] {
		if it, ok := f.items[m.seq]; ok && it.at == m.at {
			out = append(out, it.value)
		}
	}
	return out
}

// Wait is After that waits until there is something or ctx ends.
func (f *Feed[T]) Wait(ctx context.Context, after int64) (items []T, last int64) {
	for {
		f.mu.Lock()
		items, last = f.after(after), f.last
		if len(items) > 0 {
			f.mu.Unlock()
			return items, last
		}
		if f.wake == nil {
			f.wake = make(chan struct{})
		}
		wake := f.wake
		f.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return items, last
		}
	}
}

// Last is the highest number given out.
func (f *Feed[T]) Last() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Clear empties the feed and starts at 1 again.
func (f *Feed[T]) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.oldest, f.order = 0, 1, nil
	f.items = map[int64]*feedItem[T]{}
	f.notify()
}

func (f *Feed[T]) notify() {
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

// trim drops the lowest numbers beyond the limit, and from time to time the
// stale marks, so that both stay bounded at constant cost.
func (f *Feed[T]) trim() {
	for len(f.items) > f.limit {
		delete(f.items, f.oldest)
		f.oldest++
	}
	if len(f.order) <= 2*f.limit+16 {
		return
	}
	keep := make([]feedMark, 0, len(f.items))
	for _, m := range f.order {
		if it, ok := f.items[m.seq]; ok && it.at == m.at {
			keep = append(keep, m)
		}
	}
	f.order = keep
}
