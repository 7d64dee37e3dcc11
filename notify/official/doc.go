// Package official sends service messages and template messages of a company's
// Official Account for notify/deliver.
//
// It turns a delivery into one call of internal/wechatapi and the answer into
// one of the ledger's outcomes. A service message spends the reply window; one
// that the window does not admit is unreachable this way, and the delivery's
// next hop (a template message that says an answer waits) takes over.
package official
