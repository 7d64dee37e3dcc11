// Package dbtest gives tests real databases: SQLite files, and a PostgreSQL
// that it starts itself from the binaries installed on the machine, once per
// test process, in a temporary folder, reachable on loopback only. Each test
// gets a fresh migrated database, so tests run in parallel.
//
// Where PostgreSQL is missing, its tests are skipped with a reason; with
// CI=true they fail, so that a pipeline cannot quietly test half.
package dbtest
