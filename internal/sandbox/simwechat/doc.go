// Package simwechat simulates WeChat for Official Accounts (服务号) in both
// directions: the API below /api.weixin.qq.com/, and the platform that pushes
// what residents do to the account's callback address and shows them what
// comes back.
//
// It enforces tokens, quotas, reply windows and message allowances, field
// types and lengths, template ownership and media lifetimes as production
// does; an account with strictness "test_account" is as lax as WeChat's test
// accounts are. Windows, token lifetimes and media follow the simulated
// clock; the five seconds of a callback are real ones.
package simwechat
