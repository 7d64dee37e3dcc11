// Package clock gives the program its time.
//
// Whatever a person or a rule would see (promises, due dates, validity of a
// code, reply windows, scheduled work) asks a Clock, so that a duty on the
// 30th can be tested today and a trainer can move a demo forwards. Heartbeats,
// leases, time-outs, rate limits and breakers keep using the machine's clock:
// they measure the world, not the story.
//
// The package sits on the lowest floor, imports nothing of this module and
// knows nobody. It must not be reached through a global: a Clock is handed to
// constructors.
package clock
