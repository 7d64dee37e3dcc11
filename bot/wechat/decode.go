package wechat

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/conversation"
)

// ErrIncomplete says that a push lacks what every push has: a sender, a time,
// a type.
var ErrIncomplete = errors.New("the push lacks sender, time or type")

const typeEvent = "event"

// maxDedupeKey bounds the unique key; PostgreSQL refuses index rows of more
// than 2,700 bytes, and an event key may be a long address.
const maxDedupeKey = 1024

// maxShort bounds identifiers and other short fields.
const maxShort = 256

// decode turns the (decrypted) XML of a push into an Inbound, without the
// company, account and nonce, which the XML doesn't know. appID only serves
// the dedupe key.
func decode(raw []byte, appID string) (conversation.Inbound, error) {
	x, err := parse(string(raw))
	if err != nil {
		return conversation.Inbound{}, err
	}
	in := conversation.Inbound{
		Kind:   conversation.KindMessage,
		Type:   x.get("MsgType"),
		OpenID: x.get("FromUserName"),
		MsgID:  x.get("MsgId"),
		Raw:    raw,
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(x.get("CreateTime")), 10, 64)
	if err != nil || in.OpenID == "" || in.Type == "" || !short(in.OpenID, in.Type, in.MsgID) {
		return conversation.Inbound{}, ErrIncomplete
	}
	in.SentAt = time.Unix(seconds, 0).UTC()
	in.Detail.ToUserName = x.get("ToUserName")

	if in.Type == typeEvent {
		decodeEvent(x, &in)
		in.DedupeKey = eventKey(appID, x, in)
		return in, nil
	}
	decodeMessage(x, &in)
	in.DedupeKey = messageKey(appID, in)
	return in, nil
}

// undecoded keeps a push that is certainly the platform's but that even the
// tolerant decoder cannot read: the raw body must not be lost.
func undecoded(raw []byte, appID, openID string, now time.Time) conversation.Inbound {
	return conversation.Inbound{
		Kind: conversation.KindMessage, Type: "undecodable", OpenID: openID,
		DedupeKey: rawKey(appID, raw), Raw: raw, Quiet: true, SentAt: now,
	}
}

func decodeMessage(x *element, in *conversation.Inbound) {
	d := &in.Detail
	in.MediaID = x.get("MediaId")
	d.MsgDataID = x.get("MsgDataId")
	d.Idx = number(x.get("Idx"))
	switch in.Type {
	case "text":
		in.Text = x.get("Content")
		in.Clicked = x.child("bizmsgmenuid") != nil
		// Letters in an option's id come back as 0: then there is no id.
		if id := x.get("bizmsgmenuid"); id != "0" {
			in.MenuID = id
		}
	case "image":
		d.PicURL = x.get("PicUrl")
	case "voice":
		d.Format = x.get("Format")
		d.Recognition = x.get("Recognition")
		d.MediaID16K = x.get("MediaId16K")
	case "video", "shortvideo":
		d.ThumbMediaID = x.get("ThumbMediaId")
	case "location":
		d.Place = &conversation.Place{
			Latitude: x.get("Location_X"), Longitude: x.get("Location_Y"),
			Scale: x.get("Scale"), Label: x.get("Label"),
		}
	case "link":
		d.Title, d.Description, d.URL = x.get("Title"), x.get("Description"), x.get("Url")
	case "file":
		d.Title, d.Description = x.get("Title"), x.get("Description")
		d.FileKey, d.FileMD5 = x.get("FileKey"), x.get("FileMd5")
		d.FileSize = int64(number(x.get("FileTotalLen")))
	default:
		in.Quiet = true
	}
}

// Quiet events are kept and need nobody. The others run a turn, be it only to
// note a result.
func decodeEvent(x *element, in *conversation.Inbound) {
	in.Kind = conversation.KindEvent
	in.Event = x.get("Event")
	in.EventKey = x.get("EventKey")
	d := &in.Detail
	d.Ticket = x.get("Ticket")
	d.MenuID = x.get("MenuId")
	switch in.Event {
	case "subscribe":
		in.EventKey = strings.TrimPrefix(in.EventKey, "qrscene_")
	case "unsubscribe", "SCAN", "CLICK":
	case "VIEW", "view_miniprogram":
		in.Quiet = true
	case "LOCATION":
		in.Quiet = true
		d.Place = &conversation.Place{
			Latitude: x.get("Latitude"), Longitude: x.get("Longitude"), Precision: x.get("Precision"),
		}
	case "scancode_push", "scancode_waitmsg":
		info := x.child("ScanCodeInfo")
		d.ScanType, d.ScanResult = info.get("ScanType"), info.get("ScanResult")
	case "pic_sysphoto", "pic_photo_or_album", "pic_weixin":
		in.Quiet = true // the picture follows as a message of its own
		for _, item := range x.child("SendPicsInfo").child("PicList").all("item") {
			d.PicMD5 = append(d.PicMD5, item.get("PicMd5Sum"))
		}
	case "location_select":
		in.Quiet = true // the place follows as a message of its own
		info := x.child("SendLocationInfo")
		d.Place = &conversation.Place{
			Latitude: info.get("Location_X"), Longitude: info.get("Location_Y"),
			Scale: info.get("Scale"), Label: info.get("Label"), Name: info.get("Poiname"),
		}
	case "TEMPLATESENDJOBFINISH":
		in.MsgID = x.get("MsgID")
		d.Status = x.get("Status")
	case "MASSSENDJOBFINISH":
		in.MsgID = x.get("MsgID")
		d.Status = x.get("Status")
		d.Counts = &conversation.Counts{
			Total:  int64(number(x.get("TotalCount"))),
			Filter: int64(number(x.get("FilterCount"))),
			Sent:   int64(number(x.get("SentCount"))),
			Error:  int64(number(x.get("ErrorCount"))),
		}
	case "subscribe_msg_popup_event":
		d.Consent = subscriptions(x.child("SubscribeMsgPopupEvent"))
	case "subscribe_msg_change_event":
		d.Consent = subscriptions(x.child("SubscribeMsgChangeEvent"))
	case "subscribe_msg_sent_event":
		d.Consent = subscriptions(x.child("SubscribeMsgSentEvent"))
		if len(d.Consent) > 0 {
			in.MsgID = d.Consent[0].MsgID
		}
	case "user_info_modified", "user_authorization_revoke", "user_authorization_cancellation":
		// FromUserName is an account of the platform here.
		d.UnionID, d.AppID, d.RevokeInfo = x.get("UnionID"), x.get("AppID"), x.get("RevokeInfo")
		if id := x.get("OpenID"); id != "" {
			in.OpenID = id
		}
	case "kf_create_session", "kf_close_session", "kf_switch_session":
		in.Quiet = true
		d.KfAccount, d.KfTo = x.get("KfAccount"), x.get("ToKfAccount")
		if d.KfAccount == "" {
			d.KfAccount = x.get("FromKfAccount")
		}
	default:
		in.Quiet = true
	}
}

func subscriptions(e *element) []conversation.Subscription {
	var out []conversation.Subscription
	for _, item := range e.all("List") {
		out = append(out, conversation.Subscription{
			TemplateID: item.get("TemplateId"), Status: item.get("SubscribeStatusString"),
			PopupScene: item.get("PopupScene"), MsgID: item.get("MsgID"),
			ErrorCode: item.get("ErrorCode"), ErrorStatus: item.get("ErrorStatus"),
		})
	}
	return out
}

// messageKey is `appid|msg|MsgId`.
func messageKey(appID string, in conversation.Inbound) string {
	if in.MsgID == "" {
		return rawKey(appID, in.Raw)
	}
	return appID + "|msg|" + in.MsgID
}

// eventKey is `appid|evt|FromUserName|CreateTime|Event|EventKey|MsgID|Ticket`:
// the platform's own (sender, second) is not unique, since two results for one
// resident may share a second. Where the sender is an account of the platform
// the resident is added, or two withdrawals in one second would be one.
func eventKey(appID string, x *element, in conversation.Inbound) string {
	parts := []string{
		appID, "evt", x.get("FromUserName"), strings.TrimSpace(x.get("CreateTime")),
		in.Event, x.get("EventKey"), in.MsgID, in.Detail.Ticket,
	}
	if in.OpenID != x.get("FromUserName") {
		parts = append(parts, in.OpenID, in.Detail.RevokeInfo)
	}
	key := strings.Join(parts, "|")
	if len(key) <= maxDedupeKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return appID + "|evt|" + hex.EncodeToString(sum[:])
}

func rawKey(appID string, raw []byte) string {
	return appID + "|raw|" + hash(raw)
}

func hash(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// number reads a count; what isn't one counts as zero.
func number(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func short(fields ...string) bool {
	for _, f := range fields {
		if len(f) > maxShort {
			return false
		}
	}
	return true
}
