package wecom

import (
	"sync"
	"time"
)

// The vendor's allowance for one chat, replies and pushes together (document
// 101463), and for one webhook key (document 91770).
const (
	perMinute        = 30
	perHour          = 1000
	webhookPerMinute = 20
)

// spare is how much of a minute's and an hour's allowance cards and texts
// leave for what cannot wait: answers to members, clicks, emergencies.
const (
	spareMinute = 8
	spareHour   = 100
)

// budget counts what went into each chat during the last minute and hour, by
// the machine's clock. Only the node that has the bot's socket sends for it,
// so counting in the process is enough; after a change of nodes the vendor's
// own count decides (45009), and blocked keeps the chat quiet for a while.
type budget struct {
	now            func() time.Time
	minute, hour   int
	mu             sync.Mutex
	chats          map[string]*usage
	lastForgetting time.Time
}

type usage struct {
	sent    []time.Time // of the last hour, oldest first
	blocked time.Time   // the vendor said that it is too fast
}

func newBudget(now func() time.Time, minute, hour int) *budget {
	return &budget{now: now, minute: minute, hour: hour, chats: map[string]*usage{}}
}

// take spends one of a chat's allowance, unless fewer than the given spares
// would stay. left is how many more the same caller could take at once; wait is
// how long until it may be possible when ok is false.
func (b *budget) take(chat string, spareMinute, spareHour int) (left int, wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.forget(now)
	u := b.chats[chat]
	if u == nil {
		u = &usage{}
		b.chats[chat] = u
	}
	u.prune(now)
	if now.Before(u.blocked) {
		return 0, u.blocked.Sub(now), false
	}
	roomMinute := b.minute - spareMinute - u.since(now.Add(-time.Minute))
	roomHour := b.hour - spareHour - len(u.sent)
	if roomMinute <= 0 {
		oldest := u.sent[len(u.sent)-(b.minute-spareMinute)]
		return 0, max(oldest.Add(time.Minute).Sub(now), time.Millisecond), false
	}
	if roomHour <= 0 {
		oldest := u.sent[len(u.sent)-(b.hour-spareHour)]
		return 0, max(oldest.Add(time.Hour).Sub(now), time.Millisecond), false
	}
	u.sent = append(u.sent, now)
	return min(roomMinute, roomHour) - 1, 0, true
}

// block keeps a chat quiet for d.
func (b *budget) block(chat string, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.chats[chat]
	if u == nil {
		u = &usage{}
		b.chats[chat] = u
	}
	u.blocked = b.now().Add(d)
}

func (u *usage) prune(now time.Time) {
	cut := now.Add(-time.Hour)
	i := 0
	for i < len(u.sent) && !u.sent[i].After(cut) {
		i++
	}
	if i > 0 {
		u.sent = append(u.sent[:0], u.sent[i:]...)
	}
}

// since counts what was sent after t.
func (u *usage) since(t time.Time) int {
	n := 0
	for i := len(u.sent) - 1; i >= 0 && u.sent[i].After(t); i-- {
		n++
	}
	return n
}

// forget drops chats that were quiet for an hour.
func (b *budget) forget(now time.Time) {
	if now.Sub(b.lastForgetting) < 10*time.Minute {
		return
	}
	b.lastForgetting = now
	for id, u := range b.chats {
		u.prune(now)
		if len(u.sent) == 0 && now.After(u.blocked) {
			delete(b.chats, id)
		}
	}
}
