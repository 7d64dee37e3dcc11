// Package app is the program as a value: New checks, Start brings it up, Stop
// takes it down in three steps within a budget. It is the only place that
// joins rooms to one another, and the place where demo, seed, migrate and
// doctor are put together from the same parts.
//
// It holds no rules: what a resident is told or who may close a case is decided
// in the rooms. Floor 6.
package app
