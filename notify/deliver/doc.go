// Package deliver sends what the ledger holds: it claims by lane, keeps the
// rates of the vendors' accounts, writes each attempt before its call, hands
// the call to the channel's Sender and records the classified outcome.
//
// It decides when something is sent and never what follows a result: that is
// the ledger's table. It knows no vendor; senders live in packages of their
// own (notify/official, notify/sms, bot/workgroup/wecom) and speak ledger
// types only. Nothing else in the product calls a vendor's send.
//
// Each lane has workers of its own, so that an emergency never waits behind a
// survey, and a part of every account's rate that others may not use.
//
// The machine's clock drives time-outs, rates and breakers; what is due is
// asked by the product's clock.
package deliver
