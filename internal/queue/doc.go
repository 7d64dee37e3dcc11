// Package queue keeps the staff queues: which cases wait, in which order, and
// who has how many in hand. It is fast and disposable.
//
// The database is the truth, Redis reserves (architecture section 5): a member
// reserves a case here, the row's compare-and-set decides, a loser releases
// his reservation. Every change carries the version of the case's row, so a
// late one never undoes a newer one, whatever the order of arrival.
//
// In Redis a queue is a sorted set ordered by danger, then promise, then age.
// All keys of a company carry its id as hash tag, so one script's keys share a
// slot of a cluster and a member's capacity spans his queues. The scripts are
// the files under lua/. An epoch key says that the company's keys are
// complete: a script that finds none refuses, the queue is rebuilt from the
// rows at once and the call is made again. Run also compares with the rows at
// start, after a reconnect and every minute.
//
// Without Redis every call answers ErrUnavailable at once: a claim goes to the
// row alone, a list is read from the rows.
//
// It must not read or write a case's row; it asks Rows, which desk implements.
// Floor 3, on top of db.
package queue
