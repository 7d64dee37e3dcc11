// Package jobs runs what must happen later, again, or in the background:
// timers, duties that come round, retries. A job is inserted in the
// transaction of the row it belongs to, so both exist or neither does.
//
// It stands on River and is the only package that imports it. What it adds:
//
//   - due jobs start within a fraction of a second, by the injected clock;
//   - jobs of a process that was killed are taken up again by whoever is
//     alive, without River's long rescue period, which a moved clock would
//     turn into running a job several times at once;
//   - a chain (a duty that inserts its successor) hands over in one
//     transaction, see Runner.PutTx;
//   - Restart and Settle, for a clock that is moved.
//
// There are no periodic jobs of River, since they sleep on the machine's
// clock. One job per recipient is forbidden: fan-out belongs to the ledger.
//
// A job may run more than once (a crash between its work and its completion),
// so a handler must be idempotent, best by compare-and-set on the row that it
// is about. The package sits on floor 1 and imports clock and db.
package jobs
