// Package archtest holds the tests that keep the house in shape: which room may
// import which (docs/architecture.md), where vendors' libraries may appear, who
// reads the machine's clock, which room's SQL may name a table.
//
// It has no code of its own and nothing imports it. A rule is broken on purpose
// only by an entry in one of the tables here, with the reason beside it; an
// entry that no longer stands for anything fails too.
package archtest
