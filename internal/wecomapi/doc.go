// Package wecomapi is the door to WeCom's HTTP interface (qyapi): it owns base
// URLs, time-outs, corp tokens and what an error code means. Through it leave
// group webhook texts and 1:1 app messages, and through it a staff member's
// sign-in code and an encrypted userid become a plain userid.
//
// It also names the address of the aibot socket, which bot/workgroup/wecom
// drives, and shares the table of error classes with it, because both speak to
// the same vendor.
//
// HTTP 200 means nothing here: an answer counts only once its errcode has been
// read. No error carries an address, a token, a secret or a webhook key. A
// context of an open database transaction is refused.
//
// The requests are written by hand instead of going through the work packages
// of github.com/silenceper/wechat/v2: those take no context, return errcode 93000 of a
// webhook as success, print secrets in their errors, send agentid as a
// string, and keep a token until its time is over even when the vendor has
// revoked it.
//
// Floor 2. It must know nothing of cases, deliveries or companies: whoever
// calls hands over the account's identifiers and secrets.
package wecomapi
