// Package notify makes notices: what the property company tells many homes at
// once, from the sentence of a duty manager to the last receipt and the last
// door that somebody knocked on.
//
// A notice is drafted (Compose: completed from its kind, checked against what
// the vendors would refuse, counted, priced), approved by who may (Approve),
// frozen to its audience by one statement, handed to the ledger in bulk, and
// followed until every row is final. What it reached is counted from rows,
// never set. What differs between kinds of notice is data
// (templates/notice/kinds.yaml), not branches.
//
// The package must not call a vendor and must not send: the ledger's rows are
// what leaves, notify/deliver sends them. It knows no HTTP, no chat and no
// command line; edges hand it a By and a Draft. Floor 4, on top of estate,
// staff, register and ledger.
package notify
