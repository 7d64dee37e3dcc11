package official

import (
	"errors"
	"time"

	"guanjia/internal/ledger"
	"guanjia/internal/wechatapi"
)

// outcomes maps the classes of the vendor's errors to what the ledger knows.
var outcomes = map[wechatapi.Class]ledger.OutcomeKind{
	wechatapi.ClassRetry:     ledger.Retry,
	wechatapi.ClassToken:     ledger.RefreshToken,
	wechatapi.ClassAmbiguous: ledger.Ambiguous,
	wechatapi.ClassThrottled: ledger.Throttled,
	wechatapi.ClassQuota:     ledger.Quota,
	wechatapi.ClassWindow:    ledger.Unreachable,
	wechatapi.ClassRecipient: ledger.Unreachable,
	wechatapi.ClassOAuth:     ledger.Permanent,
	wechatapi.ClassDone:      ledger.OK,
	wechatapi.ClassPermanent: ledger.Permanent,
	wechatapi.ClassTemplate:  ledger.Template,
	wechatapi.ClassAccount:   ledger.Stop,
}

// outcomeOf classifies the error of a call; nil is OK.
func outcomeOf(err error, now time.Time) ledger.Outcome {
	if err == nil {
		return ledger.Outcome{Kind: ledger.OK}
	}
	var e *wechatapi.Error
	if !errors.As(err, &e) {
		return ledger.Outcome{Kind: ledger.Ambiguous, Code: "unclassified"}
	}
	kind, ok := outcomes[e.Class]
	if !ok {
		kind = ledger.Ambiguous
	}
	o := ledger.Outcome{Kind: kind, Code: e.Text()}
	switch kind {
	case ledger.Quota:
		o.RetryAfter = untilMidnight(now)
	case ledger.Throttled:
		// The platform counts by the minute.
		o.RetryAfter = time.Minute - time.Duration(now.Second())*time.Second
	case ledger.OK, ledger.Retry, ledger.RefreshToken, ledger.Permanent, ledger.Unreachable,
		ledger.Money, ledger.Stop, ledger.Template, ledger.Ambiguous:
	}
	return o
}

// untilMidnight: daily quotas start anew with the day in China.
func untilMidnight(now time.Time) time.Duration {
	now = now.In(time.FixedZone("CST", 8*3600))
	y, m, d := now.Date()
	return time.Date(y, m, d+1, 0, 0, 30, 0, now.Location()).Sub(now)
}
