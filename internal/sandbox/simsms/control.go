package simsms

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/sandbox/simcore"
)

// inbox is GET /sim/sms.
func (s *Sim) inbox(w http.ResponseWriter, r *http.Request) {
	phone := r.URL.Query().Get("phone")
	if phone == "" {
		simcore.ServeFeed(w, r, s.feed, nil)
		return
	}
	number, _ := normalPhone(phone)
	simcore.ServeFeed(w, r, s.feed, func(after int64) ([]Item, int64) { return s.itemsOf(number, after) })
}

// itemsOf reads one phone's texts without going through everybody's.
func (s *Sim) itemsOf(phone string, after int64) (items []Item, last int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.byPhone[phone] {
		if t.seq <= after {
			continue
		}
		if it, ok := s.feed.Get(t.seq); ok {
			items = append(items, it)
		}
	}
	return items, s.feed.Last()
}

// reportByHand is POST /sim/sms/{biz_id}/report. It replaces the automatic
// receipt and changes what a query answers, save when it is forged.
func (s *Sim) reportByHand(w http.ResponseWriter, r *http.Request) {
	var in struct {
		OK      *bool  `json:"ok"`
		ErrCode string `json:"err_code"`
		Phone   string `json:"phone"`
		OutID   string `json:"out_id"`
		Forged  bool   `json:"forged"`
	}
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	biz, err := url.PathUnescape(chi.URLParam(r, "biz_id"))
	if err != nil {
		simcore.WriteError(w, http.StatusBadRequest, "bad_request", "is not percent-encoded", "biz_id")
		return
	}
	ok := in.OK == nil || *in.OK
	code := in.ErrCode
	switch {
	case code == "" && ok:
		code = deliveredOK
	case code == "":
		code = defaultFailure
	}
	now := s.core.Now()
	s.mu.Lock()
	texts := s.byBiz[biz]
	var acct *account
	var batch []reportItem
	for _, t := range texts {
		if in.Phone != "" && t.phone != in.Phone {
			continue
		}
		acct = t.acct
		if !in.Forged {
			t.byHand = true
			s.settle(t, ok, code)
		}
		batch = append(batch, reportItem{body: t.report(ok, code, now), phone: t.phone})
	}
	if len(batch) == 0 && in.Forged && in.Phone != "" && len(s.order) > 0 {
		// What an attacker who knows the address would make up.
		acct = s.order[0]
		made := &text{phone: in.Phone, bizID: biz, outID: in.OutID, at: now, segments: 1}
		batch = append(batch, reportItem{body: made.report(ok, code, now), phone: in.Phone, tries: len(pushAgain)})
	}
	s.mu.Unlock()
	if len(batch) == 0 {
		simcore.NotFound(w, "a text with this biz_id")
		return
	}
	attempts := []PushAttempt{}
	if len(acct.cfg.ReportURLs) > 0 {
		attempts = append(attempts, s.pushBatch(s.core.Context(), acct, batch))
	}
	simcore.WriteJSON(w, http.StatusOK, map[string]any{"biz_id": biz, "pushed": len(batch), "attempts": attempts})
}

// reply is POST /sim/sms/up: a person answers a text.
func (s *Sim) reply(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Phone       string `json:"phone"`
		Text        string `json:"text"`
		AccessKeyID string `json:"access_key_id"`
		DestCode    string `json:"dest_code"`
	}
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	phone, ok := normalPhone(in.Phone)
	if !ok {
		simcore.WriteError(w, http.StatusBadRequest, "bad_request", "is no mobile number", "phone")
		return
	}
	s.mu.Lock()
	acct, signName := s.accounts[in.AccessKeyID], ""
	if list := s.byPhone[phone]; acct == nil && len(list) > 0 {
		acct = list[len(list)-1].acct // he answers the last one
	}
	if acct == nil && len(s.order) > 0 {
		acct = s.order[0]
	}
	for _, t := range s.byPhone[phone] {
		if t.acct == acct {
			signName = t.sign
		}
	}
	s.mu.Unlock()
	if acct == nil {
		simcore.WriteError(w, http.StatusConflict, "no_account", "this world has no SMS account", "access_key_id")
		return
	}
	code := in.DestCode
	if code == "" {
		code = "1"
	}
	item := map[string]any{
		"phone_number": phone, "content": in.Text, "send_time": s.core.Now().In(china).Format(pushTime), "dest_code": code,
		"sequence_id": strconv.FormatInt(s.ids.Add(1), 10), "sign_name": signName,
	}
	simcore.WriteJSON(w, http.StatusOK, map[string]any{
		"sequence_id": item["sequence_id"], "attempts": s.pushUp(s.core.Context(), acct, phone, item),
	})
}

func (s *Sim) pushUp(ctx context.Context, a *account, phone string, item map[string]any) []PushAttempt {
	attempts := []PushAttempt{}
	if len(a.cfg.UpURLs) == 0 {
		return attempts
	}
	copies, lost := 1, false
	if f := s.core.Faults.Take("sms.up", simcore.Match{Phone: phone}); f != nil {
		switch f.Kind {
		case simcore.FaultDrop, simcore.FaultTimeoutBefore:
			s.core.Counters.Call("sms.up", f.Kind)
			return attempts
		case simcore.FaultDelay, simcore.FaultSlow:
			s.core.Timers.After(f.Wait(time.Second), func(ctx context.Context) { s.tryUp(ctx, a, item, 0, false) })
			return attempts
		case simcore.FaultDuplicate:
			copies = 2
		case simcore.FaultTimeoutAfterAccept, simcore.FaultDisconnect:
			lost = true
		}
	}
	for range copies {
		attempts = append(attempts, s.tryUp(ctx, a, item, 0, lost))
	}
	return attempts
}

func (s *Sim) tryUp(ctx context.Context, a *account, item map[string]any, tries int, lost bool) PushAttempt {
	at := s.post(ctx, &a.next, a.cfg.UpURLs, []any{item})
	s.core.Counters.Call("sms.up", pushOutcome(at))
	if (!at.Accepted || lost) && tries < len(pushAgain) {
		s.core.Timers.After(pushAgain[tries], func(ctx context.Context) { s.tryUp(ctx, a, item, tries+1, false) })
	}
	return at
}
