package queue

import (
	"strconv"
	"strings"
)

// prefix begins every key; the company's id is the hash tag, so that all keys
// of a company are in one slot of a cluster.
func prefix(companyID string) string { return "gj:{" + companyID + "}:q:" }

// epochKey is there while the keys of the company are complete.
func epochKey(companyID string) string { return prefix(companyID) + "epoch" }

// markKey is there while nothing was lost since a comparison began.
func markKey(companyID, id string) string { return prefix(companyID) + "mark:" + id }

// heldKey is a hash: case -> "version|queue|user" for every case in hand.
func heldKey(companyID string) string { return prefix(companyID) + "held" }

// countKey is a hash of numbers of cases in hand: "u:user" and "q:queue".
func countKey(companyID string) string { return prefix(companyID) + "count" }

// changesKey is the stream of changes.
func changesKey(companyID string) string { return prefix(companyID) + "changes" }

// caseKey is a hash of what is known of one case, kept for a while after it left:
// st (w waiting, h held, g gone), v version, q queue, m member and s score in the
// sorted set, o opened (ms), u user, t time of the last reservation or leave (ms).
func caseKey(companyID, caseID string) string { return prefix(companyID) + "case:" + caseID }

// waitingKey is the sorted set of a queue in claim order.
func waitingKey(companyID, queueID string) string { return prefix(companyID) + "wait:" + queueID }

// ageKey is the sorted set of a queue by age, for the oldest.
func ageKey(companyID, queueID string) string { return prefix(companyID) + "age:" + queueID }

// dangerScore stands before every promise. Milliseconds need 41 bits, so the
// sum stays exact in a double (53 bits).
const dangerScore = 1 << 50

// noPromise stands behind every promise.
const noPromise = 1 << 49

// score orders a queue: danger, then promise. Equal scores are ordered by the
// member's text, which begins with the age.
func score(it Item) int64 {
	s := int64(noPromise)
	if !it.PromisedAt.IsZero() {
		s = it.PromisedAt.UnixMilli()
	}
	if it.Danger {
		s -= dangerScore
	}
	return s
}

// member is a case's entry in the sorted set: age, version, id.
func member(it Item) string {
	return padded(it.OpenedAt.UnixMilli()) + "|" + strconv.FormatInt(it.Version, 10) + "|" + it.CaseID
}

func padded(ms int64) string {
	s := strconv.FormatInt(max(ms, 0), 10)
	return strings.Repeat("0", max(0, 15-len(s))) + s
}

// splitMember reverses member.
func splitMember(m string) (caseID string, version int64) {
	_, rest, _ := strings.Cut(m, "|")
	v, id, _ := strings.Cut(rest, "|")
	version, _ = strconv.ParseInt(v, 10, 64) //nolint:errcheck // a foreign entry has version 0 and is dropped
	return id, version
}

// splitHeld reverses what the scripts write into heldKey.
func splitHeld(caseID, v string) Held {
	h := Held{CaseID: caseID}
	parts := strings.SplitN(v, "|", 3)
	if len(parts) == 3 {
		h.Version, _ = strconv.ParseInt(parts[0], 10, 64) //nolint:errcheck // as above
		h.QueueID, h.UserID = parts[1], parts[2]
	}
	return h
}
