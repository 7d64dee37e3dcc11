package wecom

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"guanjia/bot/workgroup"
	"guanjia/internal/wecomapi"
	"guanjia/internal/wording"
)

const (
	// maxTries is how often a message is handled before it is given up.
	maxTries = 6
	// maxAge is how old a message may be and still be acted on: later, the
	// member has long done something else.
	maxAge = 10 * time.Minute
	// retryPause is between two tries.
	retryPause = 3 * time.Second
	// keepPause is between two tries to store an answer.
	keepPause = 500 * time.Millisecond
	// maxWaiting bounds what waits to be handled, of all chats of this node.
	maxWaiting = 10_000
	// sweepLimit is how many inputs one look picks up.
	sweepLimit = 50
)

// inbox takes callbacks off the sockets, stores them and has them handled. A
// chat's messages are stored as they come and handled one after another in
// that order; two lines, so that a slow one doesn't keep the next from being
// stored. Clicks are handled at once, since a click has five seconds.
type inbox struct {
	c *Channel

	mu      sync.Mutex
	base    context.Context
	closed  bool
	waiting int
	lines   map[string][]func(context.Context)
	work    sync.WaitGroup
	idle    chan struct{} // closed and replaced whenever nothing waits
}

func newInbox(c *Channel) *inbox {
	return &inbox{c: c, lines: map[string][]func(context.Context){}, idle: make(chan struct{})}
}

func (b *inbox) start(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.base, b.closed = ctx, false
}

// drain waits for what is in hand, at most d. What comes in meanwhile is only
// stored, for the next holder of the socket.
func (b *inbox) drain(d time.Duration) {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		b.mu.Lock()
		idle, waiting := b.idle, b.waiting
		b.mu.Unlock()
		if waiting == 0 {
			return
		}
		select {
		case <-idle:
		case <-timer.C:
			return
		}
	}
}

// wait returns when no goroutine of the inbox is left; the base context must
// have ended.
func (b *inbox) wait() { b.work.Wait() }

// receive takes a callback off a socket. It blocks on nothing.
func (b *inbox) receive(k *keeper, f frame) {
	cb, err := decodeCallback(f.Body)
	if err != nil {
		b.c.metrics.frames.WithLabelValues("bad").Inc()
		return
	}
	switch {
	case f.Cmd == cmdMessage:
		in, ok := b.message(k, f, cb)
		if ok {
			b.put("store/"+chatKey(in.Chat), func(ctx context.Context) { b.take(ctx, k, in) })
		}
	case cb.Event.EventType == eventClick:
		in, ok := b.click(k, f, cb)
		if ok {
			b.put("", func(ctx context.Context) { b.takeClick(ctx, k, in) })
		}
	case cb.Event.EventType == eventEnter:
		b.put("", func(ctx context.Context) { b.welcome(ctx, k, f.Headers.ReqID) })
	default:
		// feedback_event and kinds that don't exist yet: nothing to do.
	}
}

func chatKey(c workgroup.Chat) string { return c.BotID + "/" + c.ID }

func (b *inbox) message(k *keeper, f frame, cb callback) (input, bool) {
	in := b.input(k, f, cb, kindMessage)
	in.Text, in.Images = cb.words()
	in.Text = storable(in.Text)
	if cb.Quote != nil {
		quote, _ := cb.Quote.words()
		in.Quote = storable(quote)
	}
	return in, in.valid()
}

func (b *inbox) click(k *keeper, f frame, cb callback) (input, bool) {
	in := b.input(k, f, cb, kindClick)
	press := cb.click()
	in.TaskID, in.Button = storable(press.TaskID), storable(press.EventKey)
	return in, in.valid()
}

func (b *inbox) input(k *keeper, f frame, cb callback, kind string) input {
	id, single := cb.chat()
	in := input{
		BotID: k.bot.ID, CompanyID: k.bot.CompanyID, Kind: kind, ReqID: storable(f.Headers.ReqID),
		From: storable(cb.From.UserID), MsgID: storable(cb.MsgID),
	}
	if in.MsgID == "" {
		in.MsgID = in.ReqID // events may come without one
	}
	in.Chat = workgroup.Chat{CompanyID: k.bot.CompanyID, BotID: k.bot.ID, ID: storable(id), Single: single}
	return in
}

// valid tells whether an input names a sender and a way to answer. The vendor
// itself speaks as "sys".
func (in input) valid() bool {
	return in.From != "" && in.From != "sys" && in.ReqID != "" && in.Chat.ID != ""
}

// storable drops what PostgreSQL's text cannot hold.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// put has f run: after all that was put for the same line before, or at once
// when line is empty. Beyond maxWaiting it is left; the vendor lets a member
// have three interactions open, so that many don't occur.
func (b *inbox) put(line string, f func(context.Context)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.base == nil || b.waiting >= maxWaiting {
		b.count("not_stored")
		return
	}
	b.waiting++
	if line == "" {
		ctx := b.base
		b.work.Go(func() {
			defer b.finished()
			f(ctx)
		})
		return
	}
	queue, running := b.lines[line]
	b.lines[line] = append(queue, f)
	if !running {
		b.work.Go(func() { b.serveLine(line) })
	}
}

func (b *inbox) serveLine(line string) {
	for {
		b.mu.Lock()
		queue := b.lines[line]
		if len(queue) == 0 {
			delete(b.lines, line)
			b.mu.Unlock()
			return
		}
		f := queue[0]
		b.lines[line] = queue[1:]
		ctx := b.base
		b.mu.Unlock()
		f(ctx)
		b.finished()
	}
}

func (b *inbox) finished() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting--; b.waiting == 0 {
		close(b.idle)
		b.idle = make(chan struct{})
	}
}

func (b *inbox) count(result string) { b.c.metrics.messages.WithLabelValues(result).Inc() }

// take stores a message and has it handled. What cannot be stored isn't
// handled, and the member is told to say it again.
func (b *inbox) take(ctx context.Context, k *keeper, in input) {
	ctx, cancel := context.WithTimeout(ctx, b.c.o.Timing.Handle)
	defer cancel()
	owner := b.c.o.Owner
	if b.draining() {
		owner = ""
	}
	stored, fresh, err := b.c.o.Store.add(ctx, in, owner, b.lease())
	switch {
	case err != nil:
		b.count("not_stored")
		b.c.o.Log.ErrorContext(ctx, "message of a member not stored", "bot", k.bot.ID, "error", err)
		b.say(ctx, k, in, "group.busy")
	case !fresh:
		b.count("doubled")
	case owner != "":
		b.c.o.Points(PointStored)
		b.put(chatKey(in.Chat), func(ctx context.Context) { b.resume(ctx, k, stored) })
	}
}

func (b *inbox) draining() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// lease is how long an input belongs to the node that took it: long enough to
// wait behind two others of its chat.
func (b *inbox) lease() time.Duration { return 3*b.c.o.Timing.Handle + 10*time.Second }

// handle answers a stored message. After a failure the message stays and is
// tried again; the member is told so at the first.
func (b *inbox) handle(ctx context.Context, k *keeper, in input) {
	if !in.Handled {
		answer, ok := b.answer(ctx, k, in)
		if !ok {
			return
		}
		b.c.o.Points(PointActed)
		if err := b.keep(ctx, in, answer); err != nil {
			b.c.o.Log.WarnContext(ctx, "answer to a member not stored; the message is looked at again", "message", in.ID, "error", err)
			return
		}
		b.c.o.Points(PointHandled)
		in.Answer = answer
	}
	if in.Answer == "" {
		b.count("silent")
		return
	}
	b.deliver(ctx, k, in)
}

// keep stores the answer, trying while ctx lasts: what the message says has
// been done, and only the row knows it.
func (b *inbox) keep(ctx context.Context, in input, answer string) error {
	for {
		err := b.c.o.Store.handled(ctx, in.ID, answer)
		if err == nil || !sleep(ctx, keepPause) {
			return err
		}
	}
}

// answer has the router answer. ok is false when it is to be tried again.
func (b *inbox) answer(ctx context.Context, k *keeper, in input) (text string, ok bool) {
	if in.Tries > maxTries || b.c.o.Store.clock.Now().Sub(in.ReceivedAt) > maxAge {
		b.count("given_up")
		b.c.o.Log.ErrorContext(ctx, "message of a member given up", "message", in.ID, "tries", in.Tries)
		return b.words(k, "group.gave_up"), true
	}
	answer, err := b.c.o.Handler.Message(ctx, workgroup.Message{
		ID: in.ID, Chat: in.Chat, BotName: k.bot.Name, From: in.From, Text: in.Text, Quote: in.Quote, Images: in.Images,
		At: in.ReceivedAt, Again: in.Tries > 1,
	})
	if err == nil {
		return answer.Text, true
	}
	b.count("failed")
	b.c.o.Log.ErrorContext(ctx, "message of a member not handled; tried again", "message", in.ID, "tries", in.Tries, "error", err)
	ctx = context.WithoutCancel(ctx)
	pause := retryPause * time.Duration(in.Tries)
	if err := b.release(ctx, in, pause); err != nil {
		b.c.o.Log.WarnContext(ctx, "message of a member waits for its lease to lapse", "message", in.ID, "error", err)
	}
	if in.Tries == 1 {
		b.say(ctx, k, in, "group.retrying")
	}
	return "", false
}

func (b *inbox) release(ctx context.Context, in input, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return b.c.o.Store.release(ctx, in.ID, d)
}

// deliver sends a stored answer. Until its ack has come the answer stays open
// and is sent again: better twice than a member who doesn't know whether his
// words went out.
func (b *inbox) deliver(ctx context.Context, k *keeper, in input) {
	if err := b.spend(ctx, in.Chat.ID); err != nil {
		b.later(ctx, in, err)
		return
	}
	err := b.c.respond(ctx, k, in, in.Answer)
	switch class := wecomapi.ClassOf(err); {
	case err == nil:
	case class == wecomapi.ClassPermanent, class == wecomapi.ClassUnreachable, in.Tries > maxTries:
		b.c.o.Log.WarnContext(ctx, "answer to a member given up", "message", in.ID, "error", err)
	default:
		b.later(ctx, in, err)
		return
	}
	b.count("answered")
	b.c.o.Points(PointAnswered)
	if err := b.c.o.Store.answered(context.WithoutCancel(ctx), in.ID); err != nil {
		b.c.o.Log.WarnContext(ctx, "sent answer not noted; it may be sent again", "message", in.ID, "error", err)
	}
}

// later leaves an answer for the next look.
func (b *inbox) later(ctx context.Context, in input, cause error) {
	b.c.o.Log.WarnContext(ctx, "answer to a member not sent; tried again", "message", in.ID, "error", cause)
	if err := b.release(context.WithoutCancel(ctx), in, retryPause); err != nil {
		b.c.o.Log.WarnContext(ctx, "answer to a member waits for its lease to lapse", "message", in.ID, "error", err)
	}
}

var errDry = errors.New("the chat's allowance is used up")

// spend takes one of the chat's allowance for an answer, waiting for it while
// ctx lasts.
func (b *inbox) spend(ctx context.Context, chatID string) error {
	for {
		_, wait, ok := b.c.budget.take(chatID, 0, 0)
		if ok {
			return nil
		}
		if deadline, has := ctx.Deadline(); has && time.Until(deadline) < wait {
			return errDry
		}
		if !sleep(ctx, wait) {
			return errDry
		}
	}
}

func (b *inbox) words(k *keeper, key string) string {
	text, err := b.c.o.Book.Say(key, wording.Vars{"bot": k.bot.Name})
	if err != nil {
		b.c.o.Log.Error("words missing", "key", key, "error", err)
		return ""
	}
	return text.String()
}

// say answers without a stored message, as far as it goes.
func (b *inbox) say(ctx context.Context, k *keeper, in input, key string) {
	text := b.words(k, key)
	if text == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.c.o.Timing.Ack)
	defer cancel()
	if err := b.spend(ctx, in.Chat.ID); err != nil {
		return
	}
	if err := b.c.respond(ctx, k, in, text); err != nil {
		b.c.o.Log.WarnContext(ctx, "member not told of a failure", "bot", k.bot.ID, "error", err)
	}
}

// takeClick stores a click and replaces the card within the vendor's time. A
// click cannot be answered later, so one that fails is told in words, and what
// the button does is harmless to do again.
func (b *inbox) takeClick(ctx context.Context, k *keeper, in input) {
	ctx, cancel := context.WithTimeout(ctx, b.c.o.Timing.Click)
	defer cancel()
	stored, fresh, err := b.c.o.Store.add(ctx, in, b.c.o.Owner, b.lease())
	if err != nil {
		b.count("not_stored")
		b.c.o.Log.ErrorContext(ctx, "click of a member not stored", "bot", k.bot.ID, "error", err)
		b.lostClick(ctx, k, in, err)
		return
	}
	if !fresh {
		b.count("doubled")
		return
	}
	b.c.o.Points(PointStored)
	if err := b.press(ctx, k, stored); err != nil {
		b.count("failed")
		b.c.o.Log.ErrorContext(ctx, "click of a member not answered", "click", stored.ID, "error", err)
		b.lostClick(ctx, k, stored, err)
	} else {
		b.count("answered")
	}
	if err := b.c.o.Store.handled(context.WithoutCancel(ctx), stored.ID, ""); err != nil {
		b.c.o.Log.WarnContext(ctx, "click of a member not noted as handled", "click", stored.ID, "error", err)
	}
}

func (b *inbox) press(ctx context.Context, k *keeper, in input) error {
	card, err := b.c.o.Handler.Click(ctx, workgroup.Click{
		ID: in.ID, Chat: in.Chat, BotName: k.bot.Name, From: in.From, TaskID: in.TaskID, Key: in.Button, At: in.ReceivedAt,
	})
	if err != nil {
		return err
	}
	// The vendor counts this as a reply, but waiting for room would miss its
	// five seconds: it is sent in any case.
	b.c.budget.take(in.Chat.ID, 0, 0)
	return b.c.update(ctx, k, in, card)
}

// lostClick says in words that a click came to nothing. An answer to an event
// can only be a card, so the words are pushed.
func (b *inbox) lostClick(ctx context.Context, k *keeper, in input, cause error) {
	key := "group.click_lost"
	if errors.Is(cause, workgroup.ErrUnknownCard) {
		key = "group.stale_button"
	}
	text := b.words(k, key)
	if text == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.c.o.Timing.Ack)
	defer cancel()
	if err := b.spend(ctx, in.Chat.ID); err != nil {
		return
	}
	if err := b.c.PushText(ctx, in.Chat, text); err != nil {
		b.c.o.Log.WarnContext(ctx, "member not told of a lost click", "bot", k.bot.ID, "error", err)
	}
}

// welcome greets a member who opens the 1:1 chat; the vendor tells it once a
// day and gives five seconds, so it isn't stored.
func (b *inbox) welcome(ctx context.Context, k *keeper, reqID string) {
	text := b.words(k, "group.help")
	if text == "" || reqID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, b.c.o.Timing.Click)
	defer cancel()
	body := map[string]any{"msgtype": "text", "text": map[string]any{"content": text}}
	if _, err := k.socket.request(ctx, cmdWelcome, reqID, body, 0); err != nil {
		b.c.o.Log.InfoContext(ctx, "member not welcomed", "bot", k.bot.ID, "error", err)
	}
}

// sweep picks up what was left half done, by this node or by one that is gone.
func (b *inbox) sweep(ctx context.Context, bots []string) {
	var up []string
	for _, id := range bots {
		if down, ok := b.c.Down(id); ok && down == 0 {
			up = append(up, id)
		}
	}
	queryCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	found, err := b.c.o.Store.claim(queryCtx, b.c.o.Owner, up, b.lease(), sweepLimit)
	if ctx.Err() == nil {
		b.c.sweeping.note(ctx, b.c.o.Log, "no look for messages left half done", err)
	}
	for _, in := range found {
		k := b.c.keeper(in.BotID)
		if k == nil {
			continue
		}
		b.put(chatKey(in.Chat), func(ctx context.Context) { b.resume(ctx, k, in) })
	}
}

func (b *inbox) resume(ctx context.Context, k *keeper, in input) {
	ctx, cancel := context.WithTimeout(ctx, b.c.o.Timing.Handle)
	defer cancel()
	if in.Kind == kindClick {
		b.lostClick(ctx, k, in, nil)
		if err := b.c.o.Store.handled(ctx, in.ID, ""); err != nil {
			b.c.o.Log.WarnContext(ctx, "click of a member not noted as handled", "click", in.ID, "error", err)
		}
		return
	}
	b.handle(ctx, k, in)
}
