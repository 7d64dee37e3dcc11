// Package simsms simulates Aliyun SMS (dysmsapi 2017-05-25): the signed RPC
// API below /dysmsapi.aliyuncs.com/, the receipts and replies that it pushes,
// and the phones on which the texts arrive.
//
// It verifies signature, timestamp and nonce, knows only registered
// signatures and templates, applies the rules of variables, and controls the
// flow for each phone in clock windows of UTC+8. What a person or a rule sees
// follows the simulated clock; the age of a request and the calls a second
// follow the machine's, because the caller's SDK stamps requests with that.
package simsms
