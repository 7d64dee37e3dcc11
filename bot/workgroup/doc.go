// Package workgroup is the staff side of the conversation: what a member types
// after the bot's name becomes a command (grammar.go), a command becomes an
// act of the desk and an answer in the group (router.go), and a case becomes a
// card (card.go).
//
// It declares StaffChannel, what it needs of a chat system; bot/workgroup/wecom
// is the one that exists. It must not know frames, tokens or the vendor's JSON,
// and it decides no right and moves no case: internal/desk does, for every way
// in.
//
// Nothing without a case number ever leaves the group (architecture: a slip of
// a staff member must not reach a resident). Floor 5.
package workgroup
