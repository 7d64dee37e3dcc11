// Package telemetry makes logs and metrics fit to be kept: JSON lines from
// which personal data and secrets are taken out, and a Prometheus registry
// whose series exist from the start.
//
// The handler is the last line, not the first: rooms do not log phones,
// openids, message texts and secrets at all. The package sits on floor 1 and
// imports no other room.
package telemetry
