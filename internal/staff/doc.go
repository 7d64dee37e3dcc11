// Package staff knows the people of the property company: who they are, what
// they may do, which work groups and queues they belong to, how they sign in,
// and what they did (audit).
//
// Rights come from one table by role (requirements section 20). A trainee may
// read and note, and nothing that reaches a resident. Passwords are
// argon2id, hashed one at a time; API tokens are kept as digests. Phones and
// tokens never stand in an error or a log line.
//
// It must not know a case: whether a member may touch one is asked by desk.
// Floor 3, on top of company and db.
package staff
