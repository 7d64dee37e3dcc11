// Package ledger keeps the book of everything that leaves by its own: service
// messages, template messages, SMS, cards and texts into work groups, calls.
//
// A delivery is one row: to whom, on which channel, with what words, in which
// lane, until when. Each call of a vendor is an attempt, a row of its own with
// a unique out-id, written before the call. The ledger decides what state
// follows a result; it is the only writer of these states. What follows a call
// whose result nobody knows is one table (follow.go).
//
// It calls no vendor and runs no loop: notify/deliver claims and sends,
// notify/sms and bot/wechat bring receipts. It takes words only as
// wording.Text, so that nothing leaves that has not passed the guard.
//
// Two clocks: what a person or a rule sees (due, valid until, end of the wait
// for a receipt) goes by the product's clock; leases go by the machine's.
package ledger
