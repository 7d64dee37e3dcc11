// Package embedded gives the program its Redis: an in-process one whose
// time-outs follow the injected clock (the default, nothing to install), or a
// connection to a real one.
//
// The in-process Redis is for one node and one estate. It keeps nothing over a
// restart, which is harmless by design: the database is the truth, and queues
// are rebuilt from rows. It listens on loopback only, behind a random
// password.
//
// The package sits on floor 1. It knows no key and no script.
package embedded
