package wechatapi

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Class says what an error means for the caller, whatever its code.
type Class string

// The classes. Their order here is the order of severity: from "do it again"
// to "a person must act".
const (
	// ClassRetry: transient and provably not accepted; repeat with back-off.
	ClassRetry Class = "retry"
	// ClassToken: the access token was refused again after one refresh.
	ClassToken Class = "token"
	// ClassAmbiguous: the request may have been carried out; its answer is lost.
	ClassAmbiguous Class = "ambiguous"
	// ClassThrottled: too fast; slow down and repeat.
	ClassThrottled Class = "throttled"
	// ClassQuota: this API is used up until its allowance is renewed.
	ClassQuota Class = "quota"
	// ClassWindow: outside the reply window; another channel may still reach.
	ClassWindow Class = "window"
	// ClassRecipient: this user cannot be reached this way.
	ClassRecipient Class = "recipient"
	// ClassOAuth: the sign-in code or refresh token is bad, used or expired.
	ClassOAuth Class = "oauth"
	// ClassDone: the vendor says that it already has this very request.
	ClassDone Class = "done"
	// ClassPermanent: our request is wrong and stays wrong.
	ClassPermanent Class = "permanent"
	// ClassTemplate: this template is gone, banned or not ours.
	ClassTemplate Class = "template"
	// ClassAccount: credentials, permission or punishment; stop and call a person.
	ClassAccount Class = "account"
)

// Codes that callers compare with.
const (
	CodeOK          = 0
	CodeBusy        = -1
	CodeNotFollower = 43004
	CodeBlocked     = 43019
	CodeNoConsent   = 43101
	CodeWindow      = 45015
	CodeAllowance   = 45047
	CodeBadToken    = 40001
)

// Codes of our own, for answers that carry none. The platform's are -1 or
// five digits, so that these cannot collide.
const (
	CodeTransport = -1001 // no connection, time-out, connection lost
	CodeHTTP      = -1002 // status other than 200
	CodeNotJSON   = -1003 // 200 with something that is not the API's JSON
	CodeEmpty     = -1004 // 200 with nothing
	CodeRefused   = -1005 // refused here: inside a transaction, redirect, too large
)

// classes is the error table of the platform, one row a group of codes.
// Sources: the vendor's error pages and WxJava's list; the class is our own
// judgement. Match on code, never on text.
var classes = []struct {
	class Class
	codes []int
	means string
}{
	{ClassRetry, []int{-1}, "system busy"},
	{ClassToken, []int{40001, 40014, 42001}, "access token wrong, malformed or expired"},
	{ClassPermanent, []int{41001}, "access token missing"},
	{ClassAccount, []int{40002, 40013, 40125, 40243, 41002, 41004}, "grant type, AppID or AppSecret wrong, missing or frozen"},
	{ClassAccount, []int{40164, 61004, 45035}, "caller's address is not on the allow-list"},
	{ClassRecipient, []int{40003}, "openid unknown to this account"},
	{ClassRecipient, []int{43004, 50005}, "does not follow"},
	{ClassRecipient, []int{43019}, "is on our own blacklist"},
	{ClassRecipient, []int{43101}, "refused, or no consent left"},
	{ClassRecipient, []int{48002}, "switched messages off"},
	{ClassWindow, []int{45015}, "outside the reply window"},
	{ClassWindow, []int{45047}, "allowance of the reply window used up"},
	{ClassPermanent, []int{45080, 45081, 45072}, "typing state not possible"},
	{ClassQuota, []int{45009, 48006}, "daily or monthly quota used up"},
	{ClassThrottled, []int{45011, 45066}, "too many calls in this minute"},
	{ClassDone, []int{45065}, "client message id seen before"},
	{ClassTemplate, []int{40036, 40037, 43116}, "template unknown, not ours or banned"},
	{ClassAccount, []int{43106, 40200, 48001, 48004, 48008, 50001, 50002}, "no permission, or punished"},
	{ClassPermanent, []int{40249, 45168}, "content refused"},
	{ClassPermanent, []int{47003}, "field value invalid or empty"},
	{ClassPermanent, []int{47001, 44002, 40035, 40033, 43001, 43002, 43003, 40066}, "malformed request"},
	{ClassPermanent, []int{41030, 40165}, "page path wrong"},
	{ClassPermanent, []int{45002, 45003, 45004, 45005, 45006, 45008, 44004, 45067}, "too long, too many or empty"},
	{ClassPermanent, []int{40004, 40005, 40006, 40007, 40008, 40009, 40010, 40011, 40012, 45001, 46001}, "media unknown, expired, too large or of a wrong kind"},
	{ClassPermanent, []int{40053}, "QR action invalid"},
	{ClassOAuth, []int{40029, 40163, 42003, 40030, 42002}, "sign-in code or refresh token bad, used or expired"},
	{ClassPermanent, []int{45103, 45109}, "API retired"},
	{ClassPermanent, []int{61450, 61451, 61452, 61453, 61454, 61455, 61456, 61457}, "agent account"},
	{ClassPermanent, []int{40018, 76003}, "menu name or API path wrong"},
	{ClassRetry, []int{CodeHTTP, CodeNotJSON}, "gateway trouble"},
	{ClassAmbiguous, []int{CodeEmpty, CodeTransport}, "answer lost"},
	{ClassPermanent, []int{CodeRefused}, "refused before it left"},
}

// classOf looks a code up. An unknown code is permanent: repeating what we do
// not understand is how messages are doubled.
func classOf(code int) (Class, string) {
	for _, row := range classes {
		for _, c := range row.codes {
			if c == code {
				return row.class, row.means
			}
		}
	}
	return ClassPermanent, "unknown code"
}

// isTokenCode tells the codes after which a token is replaced and the call
// repeated once.
func isTokenCode(code int) bool { return code == 40001 || code == 40014 || code == 42001 }

// Error is the only kind of error that calls of this package return. Its text
// is made of our own words and of identifiers that the vendor documents as
// safe to share; the vendor's message is never part of it, since it may repeat
// what we sent.
type Error struct {
	API    string // "custom/send"
	Code   int    // the vendor's errcode, or one of ours below -1000
	Status int    // HTTP status, 0 when there was no answer
	Class  Class
	RID    string // the vendor's request id, for its look-up tool
	Field  string // the field that a 47003 names, e.g. "thing3"
	why    string
	cause  error // only safe causes: context errors and sentinels of this package
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "wechat %s: %s (class %s, code %d", e.API, e.why, e.Class, e.Code)
	if e.Status != 0 && e.Status != 200 {
		fmt.Fprintf(&b, ", http %d", e.Status)
	}
	if e.Field != "" {
		fmt.Fprintf(&b, ", field %s", e.Field)
	}
	if e.RID != "" {
		fmt.Fprintf(&b, ", rid %s", e.RID)
	}
	b.WriteByte(')')
	return b.String()
}

// Unwrap gives the context error behind a call that was given up, if any.
func (e *Error) Unwrap() error { return e.cause }

// Text is the code as it is stored with an attempt.
func (e *Error) Text() string { return strconv.Itoa(e.Code) }

// ClassOf gives the class of any error: ClassAmbiguous for those that are not
// ours, because nothing is known about them.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ClassAmbiguous
}

// ErrInTransaction is the cause when a call was refused because its context
// belongs to an open database transaction.
var ErrInTransaction = errors.New("vendor call inside a database transaction")

// ErrRedirect is the cause when the vendor answered with a redirect, which the
// API never does: following it would hand the token to somebody else.
var ErrRedirect = errors.New("redirect refused")

// ErrTooLarge is the cause when an answer exceeded its limit.
var ErrTooLarge = errors.New("answer too large")

var (
	ridPattern   = regexp.MustCompile(`rid:\s*([0-9a-f]{1,16}-[0-9a-f]{1,16}-[0-9a-f]{1,16})`)
	fieldPattern = regexp.MustCompile(`data\.([a-z_]{1,20}[0-9]{1,3})\.value`)
)

// vendorError builds the error for an errcode. Of the vendor's text only the
// rid and the name of a template field survive.
func vendorError(api string, status, code int, errmsg string) *Error {
	class, means := classOf(code)
	e := &Error{API: api, Code: code, Status: status, Class: class, why: means}
	if m := ridPattern.FindStringSubmatch(errmsg); m != nil {
		e.RID = m[1]
	}
	if m := fieldPattern.FindStringSubmatch(errmsg); m != nil && code == 47003 {
		e.Field = m[1]
	}
	return e
}

func ownError(api string, status, code int, why string, cause error) *Error {
	class, means := classOf(code)
	if why == "" {
		why = means
	}
	return &Error{API: api, Code: code, Status: status, Class: class, why: why, cause: cause}
}
