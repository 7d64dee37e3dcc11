package company

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// span is a duration as people write it: 5s, 48h0m0s.
type span time.Duration

func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

func (s *span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration %q: write it as 5s, 30m or 48h", b)
	}
	*s = span(d)
	return nil
}

type plainSettings Settings

// settingsJSON is Settings in a row or a file: the same with durations as text.
type settingsJSON struct {
	*plainSettings
	ReplyHold    span            `json:"reply_hold"`
	CodeInterval span            `json:"code_interval"`
	CodeTTL      span            `json:"code_ttl"`
	ReopenWindow span            `json:"reopen_window"`
	RepeatWindow span            `json:"repeat_window"`
	ChatWindow   span            `json:"chat_window"`
	EventWindow  span            `json:"event_window"`
	NoticeLead   span            `json:"notice_lead"`
	FirstReply   map[string]span `json:"first_reply"`
	AcceptLimit  map[string]span `json:"accept_limit"`
}

// MarshalJSON implements json.Marshaler.
func (s Settings) MarshalJSON() ([]byte, error) {
	return json.Marshal(settingsJSON{
		plainSettings: (*plainSettings)(&s),
		ReplyHold:     span(s.ReplyHold), CodeInterval: span(s.CodeInterval), CodeTTL: span(s.CodeTTL),
		ReopenWindow: span(s.ReopenWindow), RepeatWindow: span(s.RepeatWindow), ChatWindow: span(s.ChatWindow), EventWindow: span(s.EventWindow), NoticeLead: span(s.NoticeLead),
		FirstReply: spans(s.FirstReply), AcceptLimit: spans(s.AcceptLimit),
	})
}

// UnmarshalJSON implements json.Unmarshaler: what is not said keeps its value,
// so defaults survive; unknown names are errors.
func (s *Settings) UnmarshalJSON(b []byte) error {
	v := settingsJSON{
		plainSettings: (*plainSettings)(s),
		ReplyHold:     span(s.ReplyHold), CodeInterval: span(s.CodeInterval), CodeTTL: span(s.CodeTTL),
		ReopenWindow: span(s.ReopenWindow), RepeatWindow: span(s.RepeatWindow), ChatWindow: span(s.ChatWindow), EventWindow: span(s.EventWindow), NoticeLead: span(s.NoticeLead),
		FirstReply: spans(s.FirstReply), AcceptLimit: spans(s.AcceptLimit),
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return fmt.Errorf("company settings: %w", err)
	}
	s.ReplyHold, s.CodeInterval, s.CodeTTL = time.Duration(v.ReplyHold), time.Duration(v.CodeInterval), time.Duration(v.CodeTTL)
	s.ReopenWindow, s.ChatWindow, s.EventWindow = time.Duration(v.ReopenWindow), time.Duration(v.ChatWindow), time.Duration(v.EventWindow)
	s.NoticeLead, s.RepeatWindow = time.Duration(v.NoticeLead), time.Duration(v.RepeatWindow)
	s.FirstReply, s.AcceptLimit = durations(v.FirstReply), durations(v.AcceptLimit)
	return nil
}

func spans(m map[string]time.Duration) map[string]span {
	out := make(map[string]span, len(m))
	for k, v := range m {
		out[k] = span(v)
	}
	return out
}

func durations(m map[string]span) map[string]time.Duration {
	out := make(map[string]time.Duration, len(m))
	for k, v := range m {
		out[k] = time.Duration(v)
	}
	return out
}

// Check refuses settings that would harm: it names the field and the remedy.
func (s Settings) Check() error {
	for _, f := range []struct {
		name      string
		d         time.Duration
		low, high time.Duration
	}{
		{"reply_hold", s.ReplyHold, 0, time.Minute},
		{"code_interval", s.CodeInterval, time.Second, time.Hour},
		{"code_ttl", s.CodeTTL, time.Minute, time.Hour},
		{"reopen_window", s.ReopenWindow, 0, 365 * 24 * time.Hour},
		{"repeat_window", s.RepeatWindow, 0, 30 * 24 * time.Hour},
		{"chat_window", s.ChatWindow, time.Minute, 48 * time.Hour},
		{"event_window", s.EventWindow, time.Second, time.Hour},
		{"notice_lead", s.NoticeLead, 0, 14 * 24 * time.Hour},
	} {
		if f.d < f.low || f.d > f.high {
			return fmt.Errorf("company settings: %s is %s; choose %s to %s", f.name, f.d, f.low, f.high)
		}
	}
	for name, m := range map[string]map[string]time.Duration{"first_reply": s.FirstReply, "accept_limit": s.AcceptLimit} {
		for _, p := range []string{"emergency", "high", "normal", "low"} {
			if d := m[p]; d <= 0 || d > 24*time.Hour {
				return fmt.Errorf("company settings: %s.%s is %s; choose more than 0 and at most 24h", name, p, d)
			}
		}
	}
	for name, v := range map[string]string{"quiet_from": s.QuietFrom, "quiet_to": s.QuietTo, "survey_from": s.SurveyFrom, "survey_to": s.SurveyTo} {
		if _, err := time.Parse("15:04", v); err != nil {
			return fmt.Errorf("company settings: %s is %q; write it as 22:00", name, v)
		}
	}
	if s.SurveyFrom >= s.SurveyTo {
		return fmt.Errorf("company settings: survey_to is %q; choose a time after survey_from", s.SurveyTo)
	}
	for _, f := range []struct {
		name         string
		v, low, high int
	}{
		{"survey_rest_days", s.SurveyRestDays, 0, 365}, {"case_rest_days", s.CaseRestDays, 0, 365},
		{"survey_remind_days", s.SurveyRemindDays, 0, 90}, {"survey_days", s.SurveyDays, 1, 180},
		{"case_ask_days", s.CaseAskDays, 1, 60}, {"low_score", s.LowScore, 0, 4}, {"survey_group", s.SurveyGroup, 5, 1000},
	} {
		if f.v < f.low || f.v > f.high {
			return fmt.Errorf("company settings: %s is %d; choose %d to %d", f.name, f.v, f.low, f.high)
		}
	}
	if s.Capacity < 1 {
		return fmt.Errorf("company settings: capacity is %d; choose at least 1", s.Capacity)
	}
	if s.SMSPriceLi < 0 || s.SMSPriceLi > 10_000 {
		return fmt.Errorf("company settings: sms_price_li is %d; choose 0 to 10000 (a tenth of a fen)", s.SMSPriceLi)
	}
	if s.Canary < 0 || s.Canary > 1000 || s.CanaryFrom < 0 {
		return fmt.Errorf("company settings: canary is %d from %d; choose 0 to 1000, and 0 or more", s.Canary, s.CanaryFrom)
	}
	return s.checkLimits()
}

// checkLimits refuses limits of accounts that cannot be meant.
func (s Settings) checkLimits() error {
	for name, n := range map[string]int64{
		"sms_per_second": int64(s.SMSPerSecond), "template_per_second": int64(s.TemplatePerSecond),
		"sms_per_day": s.SMSPerDay, "template_per_day": s.TemplatePerDay,
	} {
		if n < 0 {
			return fmt.Errorf("company settings: %s is %d; choose 0 for no limit, or more", name, n)
		}
	}
	if s.ReservedPercent < 0 || s.ReservedPercent > 90 {
		return fmt.Errorf("company settings: reserved_percent is %d; choose 0 to 90", s.ReservedPercent)
	}
	return nil
}
