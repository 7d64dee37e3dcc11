// Package db is the door to the database: PostgreSQL in production, SQLite in
// one file as the embedded default, one portable SQL text for both.
//
// Its job: open and close, migrate, transactions that mark their context, the
// few functions in which the two dialects differ, and helpers that tell one
// kind of error from another. It holds no rule and no table of the product:
// every room owns its tables and its SQL, db only carries them.
//
// # Writing SQL that runs on both
//
// Parameters are $1, $2 (also reused). Keys are NewID (UUIDv7 as text). Column
// types are text, bigint, boolean and timestamptz; JSON is stored as text.
// Times go in and out as Time and never as time.Time; there is no now() in a
// statement. Works on both: ON CONFLICT DO NOTHING / DO UPDATE with RETURNING,
// partial indexes, CTEs before SELECT and UPDATE, UPDATE ... FROM, DELETE ...
// RETURNING, window functions, FILTER, string_agg, IS DISTINCT FROM, row
// values, NULLS LAST (write it, the defaults differ), -> and ->>.
//
// Different, therefore only through the functions of this package: SkipLocked,
// InStrings, Rows, TimeParam. Avoid: identity columns, intervals, date_trunc,
// greatest, ILIKE, DISTINCT ON, LATERAL, MERGE, casts to timestamptz or jsonb
// (SQLite turns cast('2026-..' as timestamptz) into the number 2026), adding
// two columns in one statement, going on after an error inside a transaction.
//
// # Transactions
//
// A use case owns its transaction (InTx); everything below takes the *Tx or a
// Querier. InTx marks its context, and the methods of DB refuse a marked one,
// because a second connection inside a transaction waits for itself on SQLite
// (one writer) and deadlocks the pool on PostgreSQL. What must follow the
// commit is handed to Tx.AfterCommit.
//
// The package sits on floor 1 and imports no other room.
package db
