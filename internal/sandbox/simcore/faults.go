package simcore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The kinds of fault.
const (
	FaultErrcode            = "errcode"              // the vendor's error code, nothing accepted
	FaultHTTP               = "http"                 // an HTML page with a status (code, default 502), nothing accepted
	FaultTimeoutBefore      = "timeout_before"       // no answer, nothing accepted
	FaultTimeoutAfterAccept = "timeout_after_accept" // accepted, no answer
	FaultSlow               = "slow"                 // answered after ms
	FaultDrop               = "drop"                 // connection closed (or push lost), nothing accepted
	FaultDelay              = "delay"                // as slow; for pushes: delivered ms later
	FaultDuplicate          = "duplicate"            // done twice
	FaultDisconnect         = "disconnect"           // accepted, connection closed instead of an answer
	FaultReceipt            = "receipt"              // the receipt says failed with code
)

var faultKinds = map[string]bool{
	FaultErrcode: true, FaultHTTP: true, FaultTimeoutBefore: true, FaultTimeoutAfterAccept: true, FaultSlow: true,
	FaultDrop: true, FaultDelay: true, FaultDuplicate: true, FaultDisconnect: true, FaultReceipt: true,
}

var faultTargets = map[string]bool{
	"wechat.token": true, "wechat.custom_send": true, "wechat.template_send": true, "wechat.template_result": true,
	"wechat.subscribe_send": true, "wechat.media": true, "wechat.qrcode": true, "wechat.menu": true, "wechat.user": true,
	"wechat.oauth": true, "wechat.callback": true,
	"wecom.socket": true, "wecom.callback": true, "wecom.send": true, "wecom.respond": true, "wecom.update_card": true,
	"wecom.token": true, "wecom.app_send": true, "wecom.webhook": true,
	"sms.send": true, "sms.query": true, "sms.template": true, "sms.report": true, "sms.up": true,
}

// Fault is one element of PUT /sim/faults.
type Fault struct {
	Target string `json:"target"`
	Kind   string `json:"kind"`
	// Share of the matching calls that are struck, 0 to 1. Absent: all.
	// Which ones is fixed by Seed, the subject (phone, openid, chatid) and
	// how often that subject has come, so the order of arrival among
	// subjects does not matter.
	Share *float64 `json:"share,omitempty"`
	// Times is how many calls are struck before the fault is spent; 0: no end.
	Times int    `json:"times,omitempty"`
	Seed  uint64 `json:"seed,omitempty"`
	Match Match  `json:"match,omitzero"`
	// Code is the vendor's code (a number or a word), the HTTP status, or
	// the code of the receipt.
	Code Code `json:"code,omitzero"`
	// MS is the wait in milliseconds of slow, delay and the time-outs.
	MS int64 `json:"ms,omitempty"`
}

// Wait is MS as a duration, or the given default.
func (f *Fault) Wait(def time.Duration) time.Duration {
	if f.MS <= 0 {
		return def
	}
	return time.Duration(f.MS) * time.Millisecond
}

// Match names what a call is about. In a fault, every field that is set must
// agree; a pattern may be a list with commas, and end in * for a prefix.
type Match struct {
	Phone  string `json:"phone,omitempty"`
	OpenID string `json:"openid,omitempty"`
	ChatID string `json:"chatid,omitempty"`
}

// IsZero is for omitzero.
func (m Match) IsZero() bool { return m == Match{} }

// UnmarshalJSON takes each field as a string or a list of strings.
func (m *Match) UnmarshalJSON(b []byte) error {
	var v map[string]json.RawMessage
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	for name, raw := range v {
		s, ok, err := bareString(raw)
		if err != nil {
			return err
		}
		if !ok {
			var list []string
			if err := json.Unmarshal(raw, &list); err != nil {
				return fmt.Errorf("match.%s: %w", name, err)
			}
			s = strings.Join(list, ",")
		}
		switch name {
		case "phone":
			m.Phone = s
		case "openid":
			m.OpenID = s
		case "chatid":
			m.ChatID = s
		default:
			return fmt.Errorf("match.%s: unknown", name)
		}
	}
	return nil
}

func (m Match) covers(call Match) bool {
	return covers(m.Phone, call.Phone) && covers(m.OpenID, call.OpenID) && covers(m.ChatID, call.ChatID)
}

func covers(pattern, value string) bool {
	if pattern == "" {
		return true
	}
	for p := range strings.SplitSeq(pattern, ",") {
		p = strings.TrimSpace(p)
		if prefix, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(value, prefix) || p != "" && p == value {
			return true
		}
	}
	return false
}

func (m Match) subject() string { return m.Phone + "|" + m.OpenID + "|" + m.ChatID }

// Code is a vendor's code: a number for WeChat and WeCom, a word for Aliyun.
type Code string

// IsZero is for omitzero.
func (c Code) IsZero() bool { return c == "" }

// UnmarshalJSON takes a number or a string.
func (c *Code) UnmarshalJSON(b []byte) error {
	if s, ok, err := bareString(b); ok || err != nil {
		*c = Code(s)
		return err
	}
	b = bytes.TrimSpace(b)
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return fmt.Errorf("code: %w", err)
	}
	*c = Code(n.String())
	return nil
}

// MarshalJSON writes a number where it is one.
func (c Code) MarshalJSON() ([]byte, error) {
	if n, err := strconv.ParseInt(string(c), 10, 64); err == nil {
		return strconv.AppendInt(nil, n, 10), nil
	}
	return json.Marshal(string(c))
}

// Int is the number, or def where there is none.
func (c Code) Int(def int) int {
	if n, err := strconv.Atoi(string(c)); err == nil {
		return n
	}
	return def
}

// String is the word, or def where there is none.
func (c Code) String(def string) string {
	if c == "" {
		return def
	}
	return string(c)
}

// Faults holds what PUT /sim/faults asked for. Safe for concurrent use.
type Faults struct {
	armed atomic.Bool // spares the lock on the hot path
	mu    sync.Mutex
	list  []*armedFault
}

type armedFault struct {
	Fault
	struck int
	seen   map[string]uint64
}

// Set replaces all faults. An unknown target or kind is a *BadInput.
func (f *Faults) Set(list []Fault) error {
	armed := make([]*armedFault, 0, len(list))
	for i, x := range list {
		field := fmt.Sprintf("[%d].", i)
		switch {
		case !faultTargets[x.Target]:
			return &BadInput{Field: field + "target", Message: fmt.Sprintf("unknown target %q", x.Target)}
		case !faultKinds[x.Kind]:
			return &BadInput{Field: field + "kind", Message: fmt.Sprintf("unknown kind %q", x.Kind)}
		case x.Share != nil && (*x.Share < 0 || *x.Share > 1 || math.IsNaN(*x.Share)):
			return &BadInput{Field: field + "share", Message: "must be between 0 and 1"}
		case x.Times < 0:
			return &BadInput{Field: field + "times", Message: "must not be negative"}
		case x.MS < 0:
			return &BadInput{Field: field + "ms", Message: "must not be negative"}
		}
		armed = append(armed, &armedFault{Fault: x, seen: map[string]uint64{}})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = armed
	f.armed.Store(len(armed) > 0)
	return nil
}

// Active is a fault and how often it has struck.
type Active struct {
	Fault
	Struck int `json:"struck"`
}

// List is the answer of GET /sim/faults.
func (f *Faults) List() []Active {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Active, 0, len(f.list))
	for _, x := range f.list {
		out = append(out, Active{Fault: x.Fault, Struck: x.struck})
	}
	return out
}

// Take answers the fault that strikes this call, or nil. With kinds, only
// those are looked at; without, every kind but receipt, which belongs to a
// later moment than the call.
func (f *Faults) Take(target string, m Match, kinds ...string) *Fault {
	if !f.armed.Load() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.list {
		if x.Target != target || !wanted(x.Kind, kinds) || !x.Match.covers(m) {
			continue
		}
		if x.Times > 0 && x.struck >= x.Times {
			continue
		}
		if !x.strikes(m.subject()) {
			continue
		}
		x.struck++
		hit := x.Fault
		return &hit
	}
	return nil
}

func wanted(kind string, kinds []string) bool {
	if len(kinds) == 0 {
		return kind != FaultReceipt
	}
	for _, k := range kinds {
		if k == kind {
			return true
		}
	}
	return false
}

func (x *armedFault) strikes(subject string) bool {
	if x.Share == nil || *x.Share >= 1 {
		return true
	}
	nth := x.seen[subject]
	x.seen[subject] = nth + 1
	h := fnv.New64a()
	fmt.Fprintf(h, "%d|%s|%s|%s|%d", x.Seed, x.Target, x.Kind, subject, nth)
	return float64(mix(h.Sum64())>>11)/(1<<53) < *x.Share
}

// mix spreads the low bits of an FNV sum, which differ little for
// neighbouring inputs (phones in sequence), over the whole word.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
