// Package conversation keeps what residents and the account say to each other:
// conversations, messages with their answers, sessions, reply windows, and the
// spool that holds messages while the database is away.
//
// Its promise is that no message is acknowledged before it is a row (or, while
// the database is away, a sealed file that has been synced), that the same
// message pushed again finds the same row and the same answer on every node,
// and that the way an answer travels, in the open exchange or as a service
// message, is decided exactly once by compare-and-set.
//
// It knows nothing of HTTP, of what a message means, or of sending: the edges
// decode (bot/wechat), the dialogue answers (bot), the ledger sends. It is the
// only writer of its tables.
//
// Two clocks: what a rule or a person sees (arrival, reply windows) comes from
// clock.Clock; the leases of the sweeps come from the machine's clock, so that a
// shifted clock does not make every message look abandoned.
package conversation
