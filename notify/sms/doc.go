// Package sms is everything between the ledger and Alibaba Cloud SMS (阿里云短信):
// it sends, looks up what became of a call, takes receipts and residents'
// answers by callback, and compares our catalogue with the registered
// templates.
//
// Only this package imports the vendor's SDK, whose last release it is. It
// tames it: one client a worker with a transport that the SDK cannot rewrite,
// HTTPS unless a simulator is configured, no retries by itself, a guard
// around its panics, and no error text of it ever kept, because those print
// phone numbers, texts and signatures.
//
// Accepted is not delivered. Callbacks are unsigned: they are hints, and a
// failure counts only after the vendor, asked by us, confirms it.
package sms
