// Package wechatapi is the door to the WeChat Official Account server API.
//
// It owns the transport (base addresses, time-outs, body limits), the access
// tokens that all nodes share, and the table that says what each error code
// means for the caller. It sends what it is told to send and decides nothing:
// which message goes to whom, and what follows a failure, is the business of
// notify/official and internal/ledger.
//
// The request and answer types are those of silenceper/wechat; its calls are
// not used, because they take no context, share one global client, flatten
// error codes into text and print tokens in errors.
//
// No error of this package contains a token, a secret, an openid or a message.
// A call inside a database transaction is refused: a vendor may take seconds,
// and on SQLite the whole house would wait for it.
package wechatapi
