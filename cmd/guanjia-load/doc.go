// Command guanjia-load drives the product from outside and measures it: it
// pushes callbacks as WeChat would, works the staff queues, and kills nodes
// while people write. Each mode prints one JSON object on stdout; progress goes
// to stderr. It may look anywhere in the module, and nothing imports it.
//
//	inbound   signed, encrypted callbacks; beside them the bare cost of one
//	queue     push and claim in Redis, 64 claimers, double claims
//	crash     kills, emptied and stopped stores, dropped sockets, named kill
//	          points; afterwards lost and doubled by the simulators' counters
package main
