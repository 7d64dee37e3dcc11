// Package onetime issues and redeems the six-digit codes that prove that
// somebody holds a phone: a resident who binds a home, a member of staff who
// binds his WeCom account.
//
// Rules (interfaces section 3): one code at a time for a home or phone; a
// request behind which nobody stands runs through the same motions, so that
// the one who asks cannot tell the difference; a code is stored as a keyed
// digest, compared in constant time, good for a few minutes and a few tries.
//
// It must not send anything nor know what a code is for. Floor 2, part of
// company.
package onetime
