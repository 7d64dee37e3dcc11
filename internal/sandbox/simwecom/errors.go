package simwecom

import "fmt"

// Codes the vendor answers. The table of the long connection is not published as a
// whole; those without a source there are the general ones of qyapi.
const (
	codeBusy            = -1     // system busy
	codeBadSecret       = 40001  // wrong corpsecret
	codeBadMsgType      = 40008  // message type not allowed here
	codeBadCorpID       = 40013  // wrong corpid
	codeBadToken        = 40014  // access_token unknown
	codeBadMedia        = 40007  // media_id unknown or too old
	codeBadCode         = 40029  // OAuth code unknown, used or too old
	codeBadAgent        = 40056  // agentid isn't this app's
	codeBadParam        = 40058  // parameter missing, of the wrong type or too long
	codeNoToken         = 41001  // access_token missing
	codeTokenExpired    = 42001  // access_token too old
	codeNoCardAction    = 42045  // card_action missing or invalid
	codeTooLong         = 45002  // content too long
	codeQuota           = 45009  // frequency limit
	codeBadResponseCode = 40201  // response_code unknown, used or too old
	codeNoReceivers     = 81013  // none of the receivers can be reached
	codeNoUser          = 60111  // userid unknown
	codeBadKey          = 93000  // webhook key unknown
	codeNotAllowed      = 93001  // nobody has spoken to the bot there
	codeBadChat         = 93006  // chatid unknown; it is case-sensitive
	codeNotInChat       = 93008  // bot isn't in the group
	codeBadReqID        = 846605 // req_id unknown, of another kind, or too late
	codeStreamOver      = 846608 // stream older than six minutes
	codeNotSubscribed   = 846609 // no subscription on this connection
	codeBadBotSecret    = 853000 // bot_id or secret wrong
	codeChatMissing     = 86003  // appchat: no such chat
	codeChatExists      = 86215  // appchat: chatid taken
	codeChatSize        = 86006  // appchat: too few or too many members
	codeChatMember      = 86216  // appchat: bad member
)

// refusal is an error as the vendor words it.
type refusal struct {
	code int
	msg  string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.code, r.msg) }

func refuse(code int, format string, args ...any) *refusal {
	return &refusal{code: code, msg: fmt.Sprintf(format, args...)}
}

// errmsg is what the vendor writes beside a code that a fault demands.
func errmsg(code int) string {
	if m, ok := messages[code]; ok {
		return m
	}
	return "unspecified error"
}

var messages = map[int]string{
	0:                   "ok",
	codeBusy:            "system busy",
	codeBadSecret:       "invalid credential",
	codeBadMsgType:      "invalid message type",
	codeBadCorpID:       "invalid corpid",
	codeBadToken:        "invalid access_token",
	codeBadMedia:        "invalid media_id",
	codeBadCode:         "invalid oauth_code",
	codeBadAgent:        "invalid agentid",
	codeBadParam:        "invalid Request Parameter",
	codeNoToken:         "access_token missing",
	codeTokenExpired:    "access_token expired",
	codeNoCardAction:    "Template_Card.card_action missing or invalid",
	codeTooLong:         "content size out of limit",
	codeQuota:           "api freq out of limit",
	codeBadResponseCode: "invalid response_code",
	codeNoReceivers:     "user & party & tag all invalid",
	codeNoUser:          "userid not found",
	codeBadKey:          "invalid webhook url",
	codeNotAllowed:      "no permission to send to this chat",
	codeBadChat:         "invalid chatid",
	codeNotInChat:       "bot not in the group",
	codeBadReqID:        "invalid req_id",
	codeStreamOver:      "stream message expired",
	codeNotSubscribed:   "aibot websocket not subscribed",
	codeBadBotSecret:    "invalid bot_id or secret",
	codeChatMissing:     "chatid not found",
	codeChatExists:      "chatid already existed",
	codeChatSize:        "chat member count out of limit",
	codeChatMember:      "chat member invalid",
}
