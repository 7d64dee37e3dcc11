package wecomapi

import (
	"errors"
	"fmt"
)

// Class says what to do about a failure. It is closed: whoever calls switches
// over all of it.
type Class string

// Classes of failure. ClassNone is that of a nil error.
const (
	ClassNone        Class = ""
	ClassRetry       Class = "retry"       // not accepted; the same again later
	ClassToken       Class = "token"       // not accepted; the access token is stale
	ClassPermanent   Class = "permanent"   // not accepted; the same will never be
	ClassUnreachable Class = "unreachable" // this chat or person cannot be reached this way
	ClassThrottled   Class = "throttled"   // too fast for this chat or key; the same after a pause
	ClassQuota       Class = "quota"       // the day's allowance is used up
	ClassStop        Class = "stop"        // the account is misconfigured: nothing will pass until a person acts
	ClassReconnect   Class = "reconnect"   // the socket only looks open (846609): reconnect, then the same again
	ClassAmbiguous   Class = "ambiguous"   // it isn't known whether the vendor accepted
)

// Error is a failed call. Op names the call, Code is the vendor's errcode (0
// when no answer was understood). The vendor's errmsg is left out: it repeats
// addresses, request ids and parts of what was sent.
type Error struct {
	Op    string
	Code  int
	Class Class
	cause error
}

// Error names the call, the code and the class, nothing that was sent.
func (e *Error) Error() string {
	switch {
	case e.Code != 0:
		return fmt.Sprintf("wecom %s: errcode %d (%s)", e.Op, e.Code, e.Class)
	case e.cause != nil:
		return fmt.Sprintf("wecom %s: %v (%s)", e.Op, e.cause, e.Class)
	default:
		return fmt.Sprintf("wecom %s: %s", e.Op, e.Class)
	}
}

// Unwrap gives the cause, already scrubbed of addresses.
func (e *Error) Unwrap() error { return e.cause }

// Sentinel causes of failures without an errcode.
var (
	ErrInTransaction = errors.New("called inside a database transaction")
	ErrNotJSON       = errors.New("the answer is not the vendor's JSON")
	ErrTooLong       = errors.New("text is longer than the vendor allows")
	ErrNoConnection  = errors.New("no connection to the vendor")
	ErrNoAnswer      = errors.New("no answer in time")
	ErrNotMember     = errors.New("the person is not a member of the corp")
)

// NewError makes the Error of a vendor errcode; nil for 0.
func NewError(op string, code int) error {
	if code == 0 {
		return nil
	}
	return &Error{Op: op, Code: code, Class: Classify(code)}
}

// Fail makes an Error without an errcode. cause must carry nothing that was
// sent: pass one of the sentinels.
func Fail(op string, class Class, cause error) error {
	return &Error{Op: op, Class: class, cause: cause}
}

// ClassOf gives the class of an error that came from this package, and
// ClassAmbiguous for any other: an unknown failure may have been accepted.
func ClassOf(err error) Class {
	if err == nil {
		return ClassNone
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ClassAmbiguous
}

// CodeOf gives the vendor's errcode of an error, 0 when it has none.
func CodeOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// classes is what is known of WeCom's error codes (qyapi and aibot). The
// vendor publishes no whole table, so an unknown code is ClassRetry: tried
// again with growing pauses, and shown to an operator with its number when the
// tries are used up.
var classes = map[int]Class{
	-1:     ClassRetry, // system busy
	40001:  ClassToken, // invalid secret or token of another app
	40014:  ClassToken,
	42001:  ClassToken, // expired
	41001:  ClassToken, // missing
	40013:  ClassStop,  // invalid corpid
	40056:  ClassStop,  // invalid agentid
	40084:  ClassStop,
	60020:  ClassStop, // our address is not on the trusted list
	48002:  ClassStop, // the app may not call this
	48001:  ClassStop,
	50001:  ClassStop, // redirect domain not trusted
	301002: ClassStop, // not allowed to use this agentid

	40003: ClassUnreachable, // invalid userid
	60111: ClassUnreachable, // userid not found
	81013: ClassUnreachable, // none of the receivers is valid
	93000: ClassUnreachable, // webhook key wrong or bot removed from the group
	93001: ClassUnreachable, // nobody has spoken to the bot in this chat
	93004: ClassUnreachable, // bot disabled
	93006: ClassUnreachable, // chatid wrong
	93008: ClassUnreachable, // bot not in the group

	40008:  ClassPermanent, // msgtype
	40029:  ClassPermanent, // OAuth code used or lapsed
	40035:  ClassPermanent,
	40058:  ClassPermanent, // parameter
	42014:  ClassPermanent,
	42045:  ClassPermanent, // card_action missing
	44004:  ClassPermanent, // empty text
	45002:  ClassPermanent, // text too long
	846605: ClassPermanent, // req_id cannot be answered (any more)
	846608: ClassPermanent, // stream lapsed

	45009: ClassThrottled,
	45033: ClassThrottled, // too many at once
	45047: ClassThrottled,

	846609: ClassReconnect,
}

// Classify gives the class of a vendor errcode; 0 is ClassNone.
func Classify(code int) Class {
	if code == 0 {
		return ClassNone
	}
	if c, ok := classes[code]; ok {
		return c
	}
	return ClassRetry
}
