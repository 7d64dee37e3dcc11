// Package bot is the conversation with a resident: one message in, one answer
// out. An Engine reads what it needs, decides on one step, and stores the
// step's effects, the answer and the session in one transaction, so that a case
// without its answer, or an answer without its case, cannot exist.
//
// It must not know XML, HTTP or WeChat's limits (bot/wechat), and it must not
// send: answers leave in the open exchange or through internal/ledger. Words
// come from internal/wording. Floor 4.
package bot
