// Package desk keeps cases: the record of every matter a resident brings, from
// opening to close. It owns the life cycle (one table, lifecycle.go), the case
// numbers, the append-only events, the clocks that run on an open case, and
// what the resident and the work group are told when a case moves.
//
// Who may do what is decided here, once, for every way in: group, console,
// REST and chat. The row's compare-and-set decides every race; Redis
// (internal/queue) only reserves.
//
// It must not know HTTP, WeChat or WeCom, and must not call a vendor: words
// leave as rows of internal/ledger, put in the transaction that moves the case.
// Floor 3, on top of queue, estate and staff.
package desk
