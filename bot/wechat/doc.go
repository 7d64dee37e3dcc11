// Package wechat is the Official Account callback: it verifies, decrypts and
// decodes what the platform pushes, has it stored (conversation.Receive), runs
// the dialogue within the time the platform grants, and answers in the open
// exchange when the answer is ready.
//
// It sits on the edge: outside bytes end here. It decides nothing about what is
// said; that is the Turner. It must not call a vendor, must not acknowledge
// what isn't kept, and must not let a body, an openid or a text into a log line.
package wechat
