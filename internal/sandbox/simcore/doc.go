// Package simcore is what the simulators of the three vendors share: the
// world they simulate (PUT /sim/world), injected faults, counters of what
// was accepted, chat feeds, and a scheduler that follows the injected clock.
//
// It imports nothing of this module. The packages simwechat, simwecom and
// simsms stand on it and each implements Module; package sandbox joins them
// behind one listener. It must never learn anything of the product's own
// types: a simulator that knows what it is talking to proves nothing.
package simcore
