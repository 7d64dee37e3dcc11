// Package media keeps the pictures and the voice that residents send, as rows,
// so that every node can show them: the platform deletes them after three days.
//
// WantTx writes down, in the transaction of the turn, that a file is wanted, and
// puts the job that fetches it; the job asks the platform again until the file
// is here or gone. What a file is, its bytes say, not its name.
//
// It calls no vendor itself (the program joins it to internal/wechatapi) and
// knows nothing of cases but their id. Floor 2.
package media
