package sms

import (
	"strings"
	"time"

	"guanjia/internal/ledger"
)

// codeClass is what a send-time code of the vendor means.
type codeClass string

const (
	classOK       codeClass = "ok"
	classRetry    codeClass = "retry"     // not accepted, transient
	classGateway  codeClass = "gateway"   // the vendor's trouble; may have been accepted
	classThrottle codeClass = "throttle"  // too many calls a second
	classLost     codeClass = "ambiguous" // nobody knows
	classNumber   codeClass = "number"    // this number, for good
	classWait     codeClass = "wait"      // this number, later
	classParam    codeClass = "param"     // this delivery's variables
	classStop     codeClass = "stop"      // settings of the account
	classTemplate codeClass = "template"  // this template, for good
	classQuota    codeClass = "quota"
	classMoney    codeClass = "money"
)

// sendCodes is the vendor's list of codes at the time of sending.
var sendCodes = map[codeClass][]string{
	classOK:       {"OK"},
	classGateway:  {"isp.SYSTEM_ERROR", "isp.GATEWAY_ERROR"},
	classThrottle: {"Throttling", "Throttling.User", "Throttling.Api"},
	classLost:     {"ServiceUnavailable", "InternalError", "SignatureNonceUsed"},
	classNumber: {
		"isv.MOBILE_NUMBER_ILLEGAL", "isv.DOMESTIC_NUMBER_NOT_SUPPORTED", "isv.BLACK_KEY_CONTROL_LIMIT",
		"isv.CUSTOMER_REFUSED",
	},
	classWait: {"isv.BUSINESS_LIMIT_CONTROL"},
	classParam: {
		"isv.TEMPLATE_MISSING_PARAMETERS", "isv.TEMPLATE_PARAMS_ILLEGAL", "isv.PARAM_LENGTH_LIMIT",
		"isv.PARAM_NOT_SUPPORT_URL", "isv.INVALID_JSON_PARAM", "isv.UNSUPPORTED_CONTENT",
	},
	classStop: {
		"isv.MOBILE_COUNT_OVER_LIMIT", "isv.INVALID_PARAMETERS", "isv.SMS_SIGNATURE_ILLEGAL",
		"isv.SMS_SIGN_ILLEGAL", "isv.SMS_SIGN_NAME_ILLEGAL", "isv.SIGN_NAME_ILLEGAL", "isv.SIGN_STATE_ILLEGAL",
		"isv.SIGN_SOURCE_ILLEGAL", "isv.SMS_SIGNATURE_SCENE_ILLEGAL", "SignatureNotFound",
		"isv.EXTEND_CODE_ERROR", "isv.ONE_CODE_MULTIPLE_SIGN", "isv.CODE_EXCEED_LIMIT", "isv.CODE_ERROR",
		"isv.SMS_TEST_NUMBER_LIMIT", "isv.SMS_TEST_SIGN_TEMPLATE_LIMIT", "isv.SMS_TEST_TEMPLATE_PARAMS_ILLEGAL",
		"isv.DENY_IP_RANGE", "isp.RAM_PERMISSION_DENY", "Forbidden.RAM", "NoPermission", "isv.ACCOUNT_NOT_EXISTS",
		"isv.ACCOUNT_ABNORMAL", "isv.PRODUCT_UN_SUBSCRIPT", "isv.PRODUCT_UNSUBSCRIBE",
		"InvalidAccessKeyId.NotFound", "InvalidAccessKeyId.Inactive", "SignatureDoesNotMatch", "IncompleteSignature",
		"InvalidTimeStamp.Expired", "InvalidTimeStamp.Format", "InvalidVersion", "InvalidAction.NotFound",
		"InvalidProduct.NotFound",
	},
	classTemplate: {
		"isv.SMS_TEMPLATE_ILLEGAL", "TemplateNotFound", "isv.SMS_CONTENT_ILLEGAL", "isv.SMS_CONTENT_MISMATCH_TEMPLATE_TYPE",
	},
	classMoney: {"isv.AMOUNT_NOT_ENOUGH", "isv.OUT_OF_SERVICE"},
	classQuota: {"isv.DAY_LIMIT_CONTROL", "isv.MONTH_LIMIT_CONTROL"},
}

// sendPrefixes decide about codes that the list does not name, first match
// wins. What is left is ambiguous.
var sendPrefixes = []struct {
	prefix string
	class  codeClass
}{
	{"Throttling", classThrottle},
	{"InvalidSecurityToken", classStop},
	{"InvalidAccessKeyId", classStop},
	{"InvalidTimeStamp", classStop},
	{"Forbidden", classStop},
	{"Missing", classStop}, // MissingPhoneNumbers and its like: our bug
	{"isv.", classParam},
	{"isp.", classRetry},
}

func classOf(code string) codeClass {
	for class, codes := range sendCodes {
		for _, c := range codes {
			if c == code {
				return class
			}
		}
	}
	for _, p := range sendPrefixes {
		if strings.HasPrefix(code, p.prefix) {
			return p.class
		}
	}
	return classLost
}

// outcomeOf turns a code into the ledger's outcome. message is looked at only
// for the name of the exhausted window, and kept nowhere.
func outcomeOf(code, message string, class ledger.Class, now time.Time) ledger.Outcome {
	o := ledger.Outcome{Code: code}
	switch classOf(code) {
	case classOK:
		o.Kind = ledger.OK
	case classRetry:
		o.Kind = ledger.Retry
	case classGateway:
		// The vendor's trouble is mostly a refusal. An emergency is tried again
		// at once; everything else is looked up first.
		o.Kind = ledger.Ambiguous
		if class == ledger.ClassDanger {
			o.Kind, o.RetryAfter = ledger.Retry, 5*time.Second
		}
	case classThrottle:
		o.Kind, o.RetryAfter = ledger.Throttled, time.Second
	case classNumber:
		o.Kind = ledger.Unreachable
	case classWait:
		o.Kind, o.RetryAfter = ledger.Retry, window(message, now)
	case classParam:
		o.Kind = ledger.Permanent
	case classTemplate:
		o.Kind = ledger.Template
	case classStop:
		o.Kind = ledger.Stop
	case classQuota:
		o.Kind, o.RetryAfter = ledger.Quota, time.Hour
	case classMoney:
		o.Kind = ledger.Money
	case classLost:
		o.Kind = ledger.Ambiguous
	}
	return o
}

// window is how long a number must rest after the vendor's flow control
// stopped it: to the end of the minute or hour in China, or a day. An unknown
// text counts as a day.
func window(message string, now time.Time) time.Duration {
	now = now.In(chinaTime())
	switch {
	case strings.Contains(message, "分钟"):
		return now.Truncate(time.Minute).Add(time.Minute + time.Second).Sub(now)
	case strings.Contains(message, "小时"):
		return now.Truncate(time.Hour).Add(time.Hour + time.Second).Sub(now)
	}
	return 24 * time.Hour
}

// chinaTime is the vendor's zone; its offset has not changed since 1991.
func chinaTime() *time.Location { return time.FixedZone("CST", 8*3600) }

// receiptClass is what a receipt's code means.
type receiptClass string

const (
	receiptDelivered receiptClass = "delivered"
	receiptPending   receiptClass = "pending"
	receiptTransient receiptClass = "transient" // may work at once
	receiptFailed    receiptClass = "failed"
)

// receiptCodes are those that do not simply mean failed. Carriers rename and
// invent codes, so the list cannot be complete.
var receiptCodes = map[receiptClass][]string{
	receiptDelivered: {"DELIVERED", "DELIVRD"},
	receiptPending:   {"", "REQUEST_SUCCESS"},
	receiptTransient: {"IS_CLOSE", "SP_UNKNOWN_ERROR", "EXPIRED", "UNKNOWN"},
}

func receiptOf(code string) receiptClass {
	for class, codes := range receiptCodes {
		for _, c := range codes {
			if c == code {
				return class
			}
		}
	}
	return receiptFailed
}
