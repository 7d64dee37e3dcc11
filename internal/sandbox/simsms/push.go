package simsms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"guanjia/internal/sandbox/simcore"
)

const (
	pushBudget  = 700 * time.Millisecond
	pushTime    = "2006-01-02 15:04:05"
	batchMost   = 100
	flushers    = 8 // pushes of one account at once
	deliveredOK = "DELIVERED"
	// defaultFailure is what a failed receipt says unless told otherwise.
	defaultFailure = "MOBILE_NOT_ON_SERVICE"
)

// pushAgain is when a push that was not taken is repeated; then it is lost.
var pushAgain = []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute}

// reportItem is one receipt on its way.
type reportItem struct {
	body      reportBody
	phone     string
	tries     int
	lostReply bool // the answer gets lost, so it is pushed again
}

// reportBody is an element of SmsReport.
type reportBody struct {
	PhoneNumber string `json:"phone_number"`
	SendTime    string `json:"send_time"`
	ReportTime  string `json:"report_time"`
	Success     bool   `json:"success"`
	ErrCode     string `json:"err_code"`
	ErrMsg      string `json:"err_msg"`
	SmsSize     string `json:"sms_size"`
	BizID       string `json:"biz_id"`
	OutID       string `json:"out_id"`
}

// pusher gathers the receipts of one account, which are pushed in lists.
type pusher struct {
	queue   []reportItem
	running int
}

// PushAttempt is one push to a callback address.
type PushAttempt struct {
	Status    int    `json:"status"`
	LatencyMS int64  `json:"latency_ms"`
	Accepted  bool   `json:"accepted"`
	Error     string `json:"error,omitempty"`
}

// receipts decides what became of texts and pushes it.
func (s *Sim) receipts(ctx context.Context, texts []*text) {
	for _, t := range texts {
		failed := s.core.Faults.Take("sms.report", simcore.Match{Phone: t.phone}, simcore.FaultReceipt)
		if failed == nil {
			failed = s.core.Faults.Take("sms.send", simcore.Match{Phone: t.phone}, simcore.FaultReceipt)
		}
		code, ok := deliveredOK, true
		if failed != nil {
			code, ok = failed.Code.String(defaultFailure), false
		}
		s.mu.Lock()
		if t.forgotten || t.byHand {
			s.mu.Unlock()
			continue
		}
		s.settle(t, ok, code)
		s.mu.Unlock()
		if len(t.acct.cfg.ReportURLs) > 0 {
			s.pushReport(ctx, t.acct, reportItem{body: t.report(ok, code, s.core.Now()), phone: t.phone})
		}
	}
}

// settle writes a receipt into the text; s.mu is held.
func (s *Sim) settle(t *text, ok bool, code string) {
	t.state, t.errCode, t.received = stateFailed, code, s.core.Now()
	if ok {
		t.state = stateDelivered
	}
	s.feed.Touch(t.seq, func(it *Item) { it.State, it.ErrCode = t.state, t.errCode })
}

func (t *text) report(ok bool, code string, at time.Time) reportBody {
	words := "用户接收成功"
	if !ok {
		words = "短信发送失败"
	}
	return reportBody{
		PhoneNumber: t.phone, SendTime: t.at.In(china).Format(pushTime), ReportTime: at.In(china).Format(pushTime),
		Success: ok, ErrCode: code, ErrMsg: words, SmsSize: strconv.Itoa(max(t.segments, 1)), BizID: t.bizID, OutID: t.outID,
	}
}

// pushReport puts a receipt on its way under the faults of sms.report.
func (s *Sim) pushReport(ctx context.Context, a *account, item reportItem) {
	copies := 1
	if f := s.core.Faults.Take("sms.report", simcore.Match{Phone: item.phone}); f != nil {
		switch f.Kind {
		case simcore.FaultDrop, simcore.FaultTimeoutBefore:
			s.core.Counters.Call("sms.report", f.Kind)
			return
		case simcore.FaultDelay, simcore.FaultSlow:
			s.core.Timers.After(f.Wait(time.Second), func(ctx context.Context) { s.enqueue(ctx, a, item) })
			return
		case simcore.FaultDuplicate:
			copies = 2
		case simcore.FaultTimeoutAfterAccept, simcore.FaultDisconnect:
			item.lostReply = true
		}
	}
	for range copies {
		s.enqueue(ctx, a, item)
	}
}

// enqueue adds a receipt and, while fewer than flushers do so, pushes what
// has gathered. The caller is a timer, so that settling waits for it.
func (s *Sim) enqueue(ctx context.Context, a *account, item reportItem) {
	s.mu.Lock()
	a.pusher.queue = append(a.pusher.queue, item)
	if a.pusher.running >= flushers {
		s.mu.Unlock()
		return
	}
	a.pusher.running++
	for len(a.pusher.queue) > 0 && ctx.Err() == nil {
		n := min(len(a.pusher.queue), batchMost)
		batch := a.pusher.queue[:n:n]
		a.pusher.queue = a.pusher.queue[n:]
		s.mu.Unlock()
		s.pushBatch(ctx, a, batch)
		s.mu.Lock()
	}
	a.pusher.running--
	s.mu.Unlock()
}

func (s *Sim) pushBatch(ctx context.Context, a *account, batch []reportItem) PushAttempt {
	list := make([]reportBody, len(batch))
	for i, it := range batch {
		list[i] = it.body
	}
	at := s.post(ctx, &a.next, a.cfg.ReportURLs, list)
	s.core.Counters.Call("sms.report", pushOutcome(at))
	for _, it := range batch {
		if at.Accepted && !it.lostReply || it.tries >= len(pushAgain) {
			continue
		}
		wait := pushAgain[it.tries]
		it.tries++
		it.lostReply = false
		s.core.Timers.After(wait, func(ctx context.Context) { s.enqueue(ctx, a, it) })
	}
	return at
}

func pushOutcome(a PushAttempt) string {
	switch {
	case a.Accepted:
		return "ok"
	case a.Error != "":
		return a.Error
	default:
		return "http_" + strconv.Itoa(a.Status)
	}
}

type counter interface{ Add(uint64) uint64 }

// post pushes a list to the next address, and to the one after it when that
// refuses the connection. Taken means 200 and a JSON object whose code is a
// number, within 700 milliseconds.
func (s *Sim) post(ctx context.Context, next counter, urls []string, list any) PushAttempt {
	body, err := json.Marshal(list)
	if err != nil {
		return PushAttempt{Error: "internal"}
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return PushAttempt{Error: "stopped"}
	}
	ctx, cancel := context.WithTimeout(ctx, pushBudget)
	defer cancel()
	began := time.Now()
	first := int((next.Add(1) - 1) % uint64(len(urls)))
	var a PushAttempt
	for i := range urls {
		var refused bool
		a, refused = s.postTo(ctx, urls[(first+i)%len(urls)], body)
		if !refused {
			break
		}
	}
	a.LatencyMS = time.Since(began).Milliseconds()
	return a
}

func (s *Sim) postTo(ctx context.Context, address string, body []byte) (a PushAttempt, refused bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return PushAttempt{Error: "bad_url"}, false
	}
	req.Header.Set("Content-Type", "application/json;charset=utf-8")
	resp, err := s.http.Do(req)
	if err != nil {
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return PushAttempt{Error: "refused"}, true
		case errors.Is(err, context.DeadlineExceeded):
			return PushAttempt{Error: "timeout"}, false
		default:
			return PushAttempt{Error: "connection_lost"}, false
		}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	a.Status = resp.StatusCode
	if err != nil {
		a.Error = "timeout"
		return a, false
	}
	if resp.StatusCode != http.StatusOK {
		return a, false
	}
	var reply struct {
		Code *float64 `json:"code"`
	}
	if json.Unmarshal(answer, &reply) != nil || reply.Code == nil {
		a.Error = "bad_reply"
		return a, false
	}
	a.Accepted = true
	return a, false
}
