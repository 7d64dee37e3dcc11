// Package simwecom is WeCom (企业微信) as a bot, a webhook and a self-built app see
// it: the aibot long connection, the qyapi calls, and the people who sit in the
// group chats.
//
// It checks what the vendor checks and refuses with the vendor's codes: one socket
// a bot, the five-second and 24-hour windows, 30 messages a minute and 1,000 an
// hour in a conversation, pushes only where somebody spoke, exact-case chatids,
// message types, lengths, the schema of cards, tokens and their age. People act
// through the /sim/groups and /sim/staff calls.
//
// Time that a person would see (quotas, the 24 hours, the age of a token) follows
// the injected clock. Waiting for an answer to a click follows the machine's
// clock, and ends at once when the injected clock is moved past it.
//
// The package sits beside simwechat and simsms on simcore and must never learn of
// cases, homes or anything else the product knows.
package simwecom
