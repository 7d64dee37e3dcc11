package wechat

import (
	"context"
	"log/slog"
	"net/http"
)

// Reasons a callback is refused for: a closed set, the label of the counter.
const (
	reasonMethod     = "method"     // neither GET nor POST
	reasonAccount    = "account"    // no account at this address
	reasonSignature  = "signature"  // missing, malformed or wrong
	reasonStale      = "stale"      // signed too long ago, or in the future
	reasonPlaintext  = "plaintext"  // not encrypted though the account is
	reasonSize       = "size"       // more than 64 KiB
	reasonBody       = "body"       // could not be read to its end in time
	reasonXML        = "xml"        // not a push, or cut off
	reasonDoctype    = "doctype"    // declares entities
	reasonComplex    = "complex"    // deeper or longer than any push
	reasonIncomplete = "incomplete" // lacks sender, time or type
	reasonCipher     = "cipher"     // no key opens it
	reasonAppID      = "appid"      // meant for another account
	reasonReplay     = "replay"     // timestamp and nonce used for another message
	reasonKeys       = "keys"       // our own keys are unusable
	reasonStore      = "store"      // could not be kept, neither row nor file
	reasonPanic      = "panic"      // a fault of ours
)

// refusal is an answer other than 200. The platform tries again; what it says
// is for the log and the counter, the caller only gets the status.
type refusal struct {
	status int
	reason string
	err    error // for the log; never quotes the push
}

// statuses is the one table of what a refusal looks like from outside.
var statuses = map[string]int{
	reasonMethod:     http.StatusMethodNotAllowed,
	reasonAccount:    http.StatusNotFound,
	reasonSignature:  http.StatusForbidden,
	reasonStale:      http.StatusForbidden,
	reasonPlaintext:  http.StatusForbidden,
	reasonSize:       http.StatusRequestEntityTooLarge,
	reasonBody:       http.StatusBadRequest,
	reasonXML:        http.StatusBadRequest,
	reasonDoctype:    http.StatusBadRequest,
	reasonComplex:    http.StatusBadRequest,
	reasonIncomplete: http.StatusBadRequest,
	reasonCipher:     http.StatusForbidden,
	reasonAppID:      http.StatusForbidden,
	reasonReplay:     http.StatusForbidden,
	reasonKeys:       http.StatusInternalServerError,
	reasonStore:      http.StatusServiceUnavailable,
	reasonPanic:      http.StatusInternalServerError,
}

func refuse(reason string, err error) *refusal {
	return &refusal{status: statuses[reason], reason: reason, err: err}
}

// writeRefusal is the only way a request is refused: status, counter, log line.
func (h *Handler) writeRefusal(ctx context.Context, w http.ResponseWriter, accountID string, f *refusal) {
	h.metrics.refusals.WithLabelValues(f.reason).Inc()
	h.metrics.outcomes.WithLabelValues(outcomeRefused).Inc()
	level := slog.LevelWarn
	if f.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.String("reason", f.reason), slog.Int("status", f.status)}
	if accountID != "" {
		attrs = append(attrs, slog.String("account", accountID))
	}
	if f.err != nil {
		attrs = append(attrs, slog.Any("error", f.err))
	}
	h.log.LogAttrs(ctx, level, "callback refused", attrs...)
	http.Error(w, http.StatusText(f.status), f.status)
}

// Outcomes of a callback: a closed set.
const (
	outcomeVerified = "verified" // GET
	outcomeReply    = "reply"    // a passive reply with words
	outcomeNothing  = "nothing"  // stored, nothing to say in the exchange
	outcomeGivenUp  = "given_up" // over the budget: the answer follows by service message
	outcomeFailed   = "failed"   // stored, the turn failed, the sweep tries again
	outcomeAway     = "away"     // database away: spooled, fixed words
	outcomeRefused  = "refused"
)
