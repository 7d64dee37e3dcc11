package workgroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/jobs"
	"guanjia/internal/wording"
	"guanjia/notify"
)

// JobNotices looks after the notices of chats: it says what nobody asked for,
// such as that one is through, stopped by itself, or that its call list waits.
const JobNotices = "workgroup.notices"

const (
	// watchEvery is how often notices of chats are looked at.
	watchEvery = 10 * time.Second
	// watchBatch bounds one look.
	watchBatch = 100
	// callsAfter is how long after the end of a notice the first reminder of its
	// call list comes, callsAgain how long after that the next; emergencies
	// don't wait so long.
	callsAfter          = time.Hour
	callsAfterEmergency = 20 * time.Minute
	// callsTold is how many reminders there are at most.
	callsTold = 3
	// draftLives is how long a draft is looked after.
	draftLives = 24 * time.Hour
)

// Handle registers the job.
func (n *NoticeDesk) Handle(r *jobs.Runner) {
	r.Handle(JobNotices, func(ctx context.Context, _ json.RawMessage) error {
		err := n.Watch(ctx)
		return errors.Join(err, n.next(ctx, r))
	})
}

// Ensure starts the chain of the job if it doesn't live.
func (n *NoticeDesk) Ensure(ctx context.Context, r *jobs.Runner) error { return n.next(ctx, r) }

func (n *NoticeDesk) next(ctx context.Context, r *jobs.Runner) error {
	at := n.d.Clock.Now().Add(watchEvery).Truncate(watchEvery)
	return n.d.DB.InTx(ctx, "workgroup.next_notices", func(ctx context.Context, tx *db.Tx) error {
		return r.PutTx(ctx, tx, jobs.Job{Kind: JobNotices, RunAt: at, UniqueKey: at.UTC().Format(time.RFC3339)})
	})
}

// Watch looks once at every notice of a chat that is not over.
func (n *NoticeDesk) Watch(ctx context.Context) error {
	rows, err := n.chats.open(ctx, n.d.Clock.Now(), watchBatch)
	if err != nil {
		return err
	}
	var failed error
	for _, row := range rows {
		if err := n.watch(ctx, row); err != nil {
			failed = errors.Join(failed, fmt.Errorf("notice of a chat: %w", err))
		}
	}
	return failed
}

func (n *NoticeDesk) watch(ctx context.Context, row chatNotice) error {
	x, err := n.d.Notices.ByID(ctx, row.chat.CompanyID, row.noticeID)
	if isRefused(err, notify.RefusedNotFound) {
		return n.chats.close(ctx, row)
	}
	if err != nil {
		return err
	}
	after := row
	after.lookAt = n.d.Clock.Now().Add(watchEvery)
	text, err := n.news(ctx, x, &after)
	if err != nil {
		return err
	}
	return n.d.DB.InTx(ctx, "workgroup.notice_news", func(ctx context.Context, tx *db.Tx) error {
		won, err := n.chats.changeTx(ctx, tx, row, after)
		if err != nil || !won || text.IsZero() {
			return err // another node has said it
		}
		return n.sayTx(ctx, tx, row.chat, row.noticeID, text)
	})
}

// news is what the chat must hear now; it writes into row that it was said. A
// zero text says nothing.
func (n *NoticeDesk) news(ctx context.Context, x notify.Notice, row *chatNotice) (wording.Text, error) {
	bot := row.botName
	switch x.State {
	case notify.Drafted:
		row.done = n.d.Clock.Now().Sub(row.createdAt) > draftLives
		return wording.Text{}, nil
	case notify.Cancelled:
		row.done = true
		return wording.Text{}, nil
	case notify.Paused:
		if x.PausedWhy == "" || x.PausedWhy == "person" || row.told == x.PausedWhy {
			return wording.Text{}, nil
		}
		row.told = x.PausedWhy
		return n.d.Book.Say("group.notice_stopped", varsOf([]string{"no", x.No, "title", titleOf(x), "why", n.why(x.PausedWhy), "bot", bot}))
	case notify.Finished:
		return n.afterwards(ctx, x, row)
	}
	if x.EndorseDue && !row.endorse {
		row.endorse = true
		return n.d.Book.Say("group.notice_endorse_due", varsOf([]string{"no", x.No, "staff", x.ApproverName, "bot", bot}))
	}
	return wording.Text{}, nil
}

// why says why the house itself paused a notice.
func (n *NoticeDesk) why(code string) string {
	kind, detail, _ := strings.Cut(code, ":")
	word := n.d.Book.Label("notice_paused", kind)
	if detail == "" {
		return word
	}
	return word + "（" + detail + "）"
}

// afterwards tells that a notice is through, and reminds of its call list until
// every home is told or nobody listens.
func (n *NoticeDesk) afterwards(ctx context.Context, x notify.Notice, row *chatNotice) (wording.Text, error) {
	now := n.d.Clock.Now()
	p, err := n.d.Notices.Progress(ctx, x.CompanyID, x.ID)
	if err != nil {
		return wording.Text{}, err
	}
	rest, wait := unreached(x, p), callsAfter
	if x.Emergency {
		wait = callsAfterEmergency
	}
	left := ""
	if rest > 0 {
		left = strconv.Itoa(rest)
	}
	switch {
	case row.told != string(notify.Finished):
		row.told, row.lookAt, row.done = string(notify.Finished), now.Add(wait), rest == 0
		texts := &textList{book: n.d.Book}
		texts.add("group.notice_finished", "no", x.No, "title", titleOf(x), "households", strconv.Itoa(p.Reach.Households),
			"reached", strconv.Itoa(p.Reach.Reached), "percent", percent(p.Reach), "left", left, "bot", row.botName)
		if x.EndorseDue && !row.endorse {
			row.endorse = true
			texts.add("group.notice_endorse_due", "no", x.No, "staff", x.ApproverName, "bot", row.botName)
		}
		return texts.join()
	case rest == 0 || row.reminders >= callsTold:
		row.done = true
		return wording.Text{}, nil
	default:
		row.reminders++
		row.lookAt = now.Add(wait)
		return n.d.Book.Say("group.notice_calls_due", varsOf([]string{"no", x.No, "title", titleOf(x), "left", left, "bot", row.botName}))
	}
}
